//! What metadata keeps, and when it asks.

use super::*;
use crate::client::config::ProducerConfig;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::metadata_response::MetadataResponseBroker;

fn at(ms: u64) -> Now {
    Now {
        mono: Nanos::from_ms(ms),
        wall_ms: 0,
    }
}

fn metadata() -> Metadata {
    let mut metadata = Metadata::new(ProducerConfig::new("p", Vec::new()).network(), Entropy(1));
    metadata.want("t");
    metadata
}

/// Of partition 0, with brokers 1 and 2.
fn answer(id: u128, leader: i32, epoch: i32) -> MetadataResponse {
    let partition = MetadataResponsePartition::default()
        .with_leader_id(BrokerId(leader))
        .with_leader_epoch(epoch);
    let topic = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str("t"))))
        .with_topic_id(Uuid::from_u128(id))
        .with_partitions(vec![partition]);
    let brokers = [1, 2].map(|id| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(id))
            .with_port(id)
    });
    MetadataResponse::default()
        .with_brokers(brokers.to_vec())
        .with_topics(vec![topic])
}

fn leader(metadata: &Metadata) -> Option<(i32, i32)> {
    let leader = metadata.leader("t", 0)?;
    Some((leader.leader?.0, leader.epoch?.0))
}

#[test]
fn an_older_epoch_never_replaces_a_newer_one() {
    let mut metadata = metadata();
    metadata.update(&answer(9, 1, 5), at(0));
    metadata.update(&answer(9, 2, 4), at(0));
    assert_eq!(leader(&metadata), Some((1, 5)));
    metadata.update(&answer(9, 2, 5), at(0));
    assert_eq!(leader(&metadata), Some((2, 5)), "the same epoch is news");
    metadata.update(&answer(9, 1, 6), at(0));
    assert_eq!(leader(&metadata), Some((1, 6)));
}

#[test]
fn a_topic_with_another_id_starts_from_nothing() {
    let mut metadata = metadata();
    metadata.update(&answer(9, 1, 5), at(0));
    metadata.update(&answer(10, 2, 0), at(0));
    assert_eq!(leader(&metadata), Some((2, 0)));
}

#[test]
fn a_broker_that_does_not_know_the_topic_hides_it_but_keeps_the_epoch() {
    let mut metadata = metadata();
    metadata.update(&answer(9, 1, 5), at(0));
    let mut unknown = answer(9, 1, 5);
    unknown.topics[0].error_code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.code();
    unknown.topics[0].partitions.clear();
    metadata.update(&unknown, at(0));
    assert_eq!(leader(&metadata), None);
    metadata.update(&answer(9, 2, 4), at(0));
    assert_eq!(leader(&metadata), Some((1, 5)));
}

#[test]
fn a_leader_that_is_no_known_broker_counts_as_none() {
    let mut metadata = metadata();
    metadata.update(&answer(9, 7, 5), at(0));
    let known = metadata.leader("t", 0).expect("the partition exists");
    assert_eq!((known.leader, known.epoch), (None, Some(LeaderEpoch(5))));
}

#[test]
fn one_request_at_a_time_and_a_pause_between() {
    let mut metadata = metadata();
    assert!(metadata.is_due(at(0)), "a new topic is wanted");
    metadata.request(at(0));
    metadata.request_update();
    assert!(!metadata.is_due(at(50_000)), "the first is not answered");
    metadata.update(&answer(9, 1, 5), at(100));
    assert!(!metadata.is_due(at(150)));
    assert!(metadata.is_due(at(220)), "asked for while the first was on its way");
    metadata.request(at(220));
    metadata.update(&answer(9, 1, 5), at(221));
    assert!(!metadata.is_due(at(1_000)), "nothing is missing");
    assert!(metadata.is_due(at(221 + 300_000)), "metadata.max.age.ms");
}

#[test]
fn failures_and_gaps_wait_longer_each_time() {
    let mut metadata = metadata();
    let mut now = 0;
    for least in [80, 160, 320, 640, 800] {
        metadata.request(at(now));
        metadata.failed(at(now));
        assert!(!metadata.is_due(at(now + least - 1)), "{least}");
        now += least * 3 / 2;
        assert!(metadata.is_due(at(now)), "{least}");
    }
    let mut no_leader = answer(9, -1, 5);
    no_leader.topics[0].partitions[0].error_code = ErrorCode::LEADER_NOT_AVAILABLE.code();
    metadata.request(at(now));
    metadata.update(&no_leader, at(now));
    assert!(
        metadata.is_due(at(now + 1_200)),
        "a partition without leader is asked for again"
    );
}

#[test]
fn a_fatal_error_of_a_topic_is_told_and_not_asked_again() {
    let mut metadata = metadata();
    let mut invalid = answer(9, 1, 5);
    invalid.topics[0].error_code = ErrorCode::INVALID_TOPIC_EXCEPTION.code();
    metadata.request(at(0));
    metadata.update(&invalid, at(0));
    assert_eq!(metadata.fatal_error("t"), Some(ErrorCode::INVALID_TOPIC_EXCEPTION));
    assert!(!metadata.is_due(at(10_000)));
}

#[test]
fn a_leader_in_an_answer_counts_only_if_it_is_newer_and_a_known_broker() {
    let mut metadata = metadata();
    metadata.update(&answer(9, 1, 5), at(0));
    assert!(!metadata.learn_leader("t", 0, NodeId(2), LeaderEpoch(5)));
    assert!(!metadata.learn_leader("t", 0, NodeId(8), LeaderEpoch(6)));
    assert!(metadata.learn_leader("t", 0, NodeId(2), LeaderEpoch(6)));
    assert_eq!(leader(&metadata), Some((2, 6)));
}
