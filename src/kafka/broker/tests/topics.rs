//! Topics that come into being because somebody asks for them.

use super::*;
use crate::broker::topics::{Topics, expected};
use crate::metadata::{MetadataDelta, MetadataImage, Record};
use crate::note::PartitionState;
use crate::types::{LeaderEpoch, PartitionEpoch, TopicPartition, Uuid};
use crate::wire::ErrorCode;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{CreateTopicsResponse, MetadataRequest};

fn asks_for(topics: &[&str]) -> MetadataRequest {
    let topics = topics
        .iter()
        .map(|topic| MetadataRequestTopic::default().with_name(Some(name(topic))));
    MetadataRequest::default()
        .with_topics(Some(topics.collect()))
        .with_allow_auto_topic_creation(true)
}

/// Error and number of partitions of each topic.
fn found(response: ResponseKind) -> Vec<(ErrorCode, usize)> {
    let ResponseKind::Metadata(response) = response else {
        panic!("another answer")
    };
    let topics = response.topics.into_iter();
    topics
        .map(|topic| (ErrorCode(topic.error_code), topic.partitions.len()))
        .collect()
}

const UNKNOWN: (ErrorCode, usize) = (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, 0);

#[test]
fn who_asks_twice_finds_the_topic() {
    let mut node = Node::start(&[("num.partitions", "4")]);
    assert_eq!(found(node.ask(asks_for(&["new"]))), [UNKNOWN]);
    assert_eq!(found(node.ask(asks_for(&["new"]))), [(ErrorCode::NONE, 4)]);
    assert_eq!(found(node.ask_in(1, asks_for(&["newer", "newer"]))), [UNKNOWN, UNKNOWN]);
    assert_eq!(found(node.ask_in(0, asks_for(&["newer"]))), [(ErrorCode::NONE, 4)]);
}

#[test]
fn nothing_is_created_where_the_client_or_the_broker_does_not_want_it() {
    let mut node = Node::start(&[]);
    for _ in 0..2 {
        assert_eq!(
            found(node.ask(asks_for(&["no"]).with_allow_auto_topic_creation(false))),
            [UNKNOWN]
        );
    }
    let mut node = Node::start(&[("auto.create.topics.enable", "false")]);
    for _ in 0..2 {
        assert_eq!(found(node.ask(asks_for(&["no"]))), [UNKNOWN]);
    }
}

#[test]
fn names_that_no_topic_can_have_are_refused() {
    let mut node = Node::start(&[]);
    let long = "x".repeat(250);
    let refused = (ErrorCode::INVALID_TOPIC_EXCEPTION, 0);
    let names = ["", ".", "..", "a b", "ä", long.as_str()];
    assert_eq!(found(node.ask(asks_for(&names))), [refused; 6]);
    // A collision is known to the controller alone: the client goes on hearing that there is no such topic.
    node.create("a.b", &[]);
    for _ in 0..2 {
        assert_eq!(found(node.ask(asks_for(&["a_b"]))), [UNKNOWN]);
    }
}

/// The controller says that a topic exists, before this broker has heard of it.
#[test]
fn an_answer_waits_until_metadata_can_show_it() {
    let topic = CreatableTopic::default().with_name(name("t"));
    let request = CreateTopicsRequest::default().with_topics(vec![topic]);
    let result = CreatableTopicResult::default().with_name(name("t"));
    let response = ResponseKind::from(CreateTopicsResponse::default().with_topics(vec![result.clone()]));
    let (mut topics, mut image, mut out) = (Topics::default(), MetadataImage::default(), Outbox::default());
    let mut now = Now::default();
    let wanted = expected(&request.clone().into());
    topics.answer(
        crate::RequestId(1),
        response.clone(),
        wanted.clone(),
        &image,
        now,
        &mut out,
    );
    topics.answer(
        crate::RequestId(2),
        response.clone(),
        wanted.clone(),
        &image,
        now,
        &mut out,
    );
    topics.release(&image, now, &mut out);
    assert!(out.replies.is_empty() && topics.next_deadline() == Some(Nanos::from_ms(1_000)));

    let partition = TopicPartition {
        topic: Uuid::from_u128(9),
        partition: 0,
    };
    let state = PartitionState {
        leader: None,
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        replicas: vec![],
        isr: vec![],
        elr: vec![],
    };
    let records = [
        Record::Topic {
            name: "t".to_owned(),
            id: partition.topic,
        },
        Record::Partition {
            partition,
            state,
            last_known_elr: vec![],
            reassignment: crate::metadata::Reassignment::default(),
        },
    ];
    for record in &records {
        image.apply(record, 0, LeaderEpoch(0), &mut MetadataDelta::default());
    }
    topics.release(&image, now, &mut out);
    assert_eq!(out.replies.len(), 2, "both, now that it is here");

    // A refusal shows nothing, and neither does a creation that is only tried.
    let empty = MetadataImage::default();
    let refused = CreateTopicsResponse::default().with_topics(vec![result.with_error_code(36)]);
    topics.answer(
        crate::RequestId(3),
        refused.into(),
        wanted.clone(),
        &empty,
        now,
        &mut out,
    );
    assert_eq!(expected(&request.with_validate_only(true).into()), []);
    assert_eq!(out.replies.len(), 3);

    // A broker that learns nothing does not keep its client for ever.
    topics.answer(crate::RequestId(4), response, wanted, &empty, now, &mut out);
    now.mono = Nanos::from_ms(1_000);
    topics.release(&empty, now, &mut out);
    assert_eq!((out.replies.len(), topics.next_deadline()), (4, None));
}

/// The topic is there, but its file is not durable yet: the first record waits for that, and is not sent away.
#[test]
fn who_comes_before_the_leader_is_ready_waits_for_it() {
    let mut node = Node::start(&[]);
    node.syncs_rest = true;
    node.create_unheard("t");
    for _ in 0..20 {
        // The quorum's own syncs go on, or nothing would be committed.
        node.complete_syncs(|tag| matches!(tag.owner, crate::SyncOwner::Log(crate::METADATA_PARTITION)));
    }
    node.frame().expect("the topic exists");
    let early = super::produce::batch_at(&[0]);
    node.send_produce("t", &early);
    assert_eq!(node.frame(), None, "not yet");
    node.syncs_rest = false;
    node.complete_syncs(|_| true);
    let answer = node.frame().expect("it leads");
    let (_, response) = frame::decode_response(answer, kafka_protocol::messages::ApiKey::Produce, 12).unwrap();
    let ResponseKind::Produce(response) = response else {
        panic!("another answer")
    };
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}
