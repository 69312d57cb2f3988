//! A consumer against brokers that answer as a test says.

use super::*;
use crate::client::config::OffsetReset;
use crate::client::testing::{Bench, Seen, bootstrap, topic_id, topic_name};
use crate::types::LeaderEpoch;
use crate::wire::{ErrorCode, batch};
use bytes::Bytes;
use kafka_protocol::messages::fetch_response::{
    FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{ApiKey, BrokerId, RequestKind};

fn bench_with(settings: &[(&str, &str)]) -> Bench<Consumer> {
    let mut config = ConsumerConfig::new("c", bootstrap());
    config.auto_offset_reset = OffsetReset::Earliest;
    for (name, value) in settings {
        config.set(name, value).expect("a good setting");
    }
    Bench::new(Consumer::new(config, Entropy(1)))
}

/// A consumer that has sent its first fetch, of partition 0 at an offset.
fn bench_at(offset: Offset, settings: &[(&str, &str)]) -> (Bench<Consumer>, Seen) {
    let mut bench = bench_with(settings);
    assign(&mut bench, &[0], StartFrom::Offset(offset));
    let seen = bench.one();
    (bench, seen)
}

fn assign(bench: &mut Bench<Consumer>, partitions: &[i32], from: StartFrom) {
    let partitions = partitions
        .iter()
        .map(|partition| ("t".to_owned(), *partition))
        .collect();
    bench.op(Op::Assign { partitions, from });
}

/// Broker, and of each partition: number, offset, current leader epoch.
fn fetch_of(seen: &Seen) -> (i32, Vec<(i32, Offset, i32)>) {
    let RequestKind::Fetch(fetch) = &seen.request.body else {
        panic!("fetch expected: {seen:?}")
    };
    assert!(fetch.topics.iter().all(|topic| topic.topic_id == topic_id("t")));
    let partitions = fetch.topics.iter().flat_map(|topic| &topic.partitions);
    let of = partitions.map(|p| (p.partition, p.fetch_offset, p.current_leader_epoch));
    (seen.broker, of.collect())
}

fn records(base_offset: Offset, epoch: i32, values: &[&'static str]) -> Bytes {
    let records: Vec<_> = values
        .iter()
        .map(|value| (0, None, Some(Bytes::from(*value))))
        .collect();
    batch::assign(&batch::build(&records, None, false), base_offset, LeaderEpoch(epoch))
}

fn data(partition: i32, error: ErrorCode, records: Bytes) -> PartitionData {
    PartitionData::default()
        .with_partition_index(partition)
        .with_error_code(error.code())
        .with_high_watermark(100)
        .with_log_start_offset(2)
        .with_records(Some(records))
}

fn fetched(partitions: Vec<PartitionData>) -> FetchResponse {
    let topic = FetchableTopicResponse::default()
        .with_topic_id(topic_id("t"))
        .with_partitions(partitions);
    FetchResponse::default().with_responses(vec![topic])
}

fn failed(error: ErrorCode) -> FetchResponse {
    fetched(vec![data(0, error, Bytes::new())])
}

fn listed(error: ErrorCode, offset: Offset) -> ListOffsetsResponse {
    let partition = ListOffsetsPartitionResponse::default()
        .with_partition_index(0)
        .with_error_code(error.code())
        .with_offset(offset)
        .with_leader_epoch(5);
    let topic = ListOffsetsTopicResponse::default()
        .with_name(topic_name("t"))
        .with_partitions(vec![partition]);
    ListOffsetsResponse::default().with_topics(vec![topic])
}

fn epoch_ends(error: ErrorCode, epoch: i32, end: Offset) -> OffsetForLeaderEpochResponse {
    let partition = EpochEndOffset::default()
        .with_partition(0)
        .with_error_code(error.code())
        .with_leader_epoch(epoch)
        .with_end_offset(end);
    let topic = OffsetForLeaderTopicResult::default()
        .with_topic(topic_name("t"))
        .with_partitions(vec![partition]);
    OffsetForLeaderEpochResponse::default().with_topics(vec![topic])
}

/// Offsets of each hand-over, `trunc 9>7` and `reset 9>2`; of queries the number, the offset, the error.
fn told(bench: &mut Bench<Consumer>) -> Vec<String> {
    let told = bench.notes().into_iter().map(|note| match note {
        ClientNote::Polled { records, .. } => {
            let offsets: Vec<String> = records.iter().map(|(offset, ..)| offset.to_string()).collect();
            offsets.join(" ")
        }
        ClientNote::TruncationDetected {
            position, divergence, ..
        } => format!("trunc {position}>{divergence}"),
        ClientNote::PositionReset { from, to, .. } => format!("reset {from}>{to}"),
        ClientNote::OffsetAsked { query, .. } => format!("asked {}", query >> 32),
        ClientNote::OffsetListed {
            query,
            offset,
            error_code,
            ..
        } => format!("listed {} {offset:?} {error_code}", query >> 32),
        other => panic!("a consumer says {other:?}"),
    });
    told.collect()
}

/// Reads three records of epoch 5 at 10, and gives back the fetch that follows.
fn read_up_to_13(bench: &mut Bench<Consumer>, fetch: &Seen) -> Seen {
    bench.answer(
        fetch,
        fetched(vec![data(0, ErrorCode::NONE, records(10, 5, &["a", "b", "c"]))]),
    );
    assert_eq!(told(bench), ["10 11 12"]);
    bench.one()
}

#[test]
fn records_are_handed_over_and_the_next_are_asked_for() {
    let (mut bench, fetch) = bench_at(11, &[("client.rack", "r"), ("isolation.level", "read_committed")]);
    assert_eq!(fetch_of(&fetch), (1, vec![(0, 11, 5)]));
    let RequestKind::Fetch(body) = &fetch.request.body else {
        panic!("fetch expected")
    };
    assert_eq!((body.min_bytes, body.max_wait_ms, body.isolation_level), (1, 500, 1));
    assert_eq!((body.rack_id.as_str(), body.session_epoch), ("r", -1));
    bench.answer(
        &fetch,
        fetched(vec![data(0, ErrorCode::NONE, records(10, 4, &["a", "b", "c"]))]),
    );
    let notes = bench.notes();
    assert_eq!(
        notes,
        [ClientNote::Polled {
            topic: "t".to_owned(),
            partition: 0,
            records: vec![
                (11, LeaderEpoch(4), Bytes::from_static(b"b")),
                (12, LeaderEpoch(4), Bytes::from_static(b"c")),
            ],
            high_watermark: 100,
            log_start_offset: 2,
            from: NodeId(1),
        }]
    );
    assert_eq!(fetch_of(&bench.one()), (1, vec![(0, 13, 5)]));
}

#[test]
fn partitions_of_a_broker_share_a_fetch_and_brokers_do_not() {
    let mut bench = bench_with(&[]);
    bench.lead(2, 1, 7);
    assign(&mut bench, &[0, 1, 2], StartFrom::Offset(0));
    let mut fetches: Vec<_> = bench.seen().iter().map(fetch_of).collect();
    fetches.sort();
    assert_eq!(fetches, [(1, vec![(0, 0, 5), (2, 0, 7)]), (2, vec![(1, 0, 5)])]);
}

#[test]
fn the_first_position_is_looked_up() {
    for (from, timestamp) in [(StartFrom::Earliest, -2), (StartFrom::Latest, -1)] {
        let mut bench = bench_with(&[]);
        assign(&mut bench, &[0], from);
        let seen = bench.one();
        let RequestKind::ListOffsets(question) = &seen.request.body else {
            panic!("ListOffsets expected")
        };
        let partition = &question.topics[0].partitions[0];
        assert_eq!((partition.timestamp, partition.current_leader_epoch), (timestamp, 5));
        bench.answer(&seen, listed(ErrorCode::OFFSET_NOT_AVAILABLE, -1));
        bench.advance(200);
        let again = bench.one();
        bench.answer(&again, listed(ErrorCode::NONE, 4));
        assert_eq!(fetch_of(&bench.one()), (1, vec![(0, 4, 5)]));
        assert!(told(&mut bench).is_empty(), "a first position is no reset");
    }
}

#[test]
fn a_new_leader_is_asked_whether_the_log_is_still_the_same() {
    let (mut bench, fetch) = bench_at(10, &[]);
    let fetch = read_up_to_13(&mut bench, &fetch);
    bench.lead(0, 2, 6);
    bench.answer(&fetch, failed(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    bench.advance(150);
    let seen = bench.one();
    let RequestKind::OffsetForLeaderEpoch(question) = &seen.request.body else {
        panic!("{seen:?}")
    };
    let partition = &question.topics[0].partitions[0];
    assert_eq!(seen.broker, 2);
    assert_eq!((partition.current_leader_epoch, partition.leader_epoch), (6, 5));
    assert_eq!(*question.replica_id, -1);
    bench.answer(&seen, epoch_ends(ErrorCode::NONE, 5, 13));
    assert_eq!(fetch_of(&bench.one()), (2, vec![(0, 13, 6)]));
    assert!(told(&mut bench).is_empty());
}

#[test]
fn a_log_that_ends_before_the_position_is_a_truncation() {
    for error in [ErrorCode::FENCED_LEADER_EPOCH, ErrorCode::NOT_LEADER_OR_FOLLOWER] {
        let (mut bench, fetch) = bench_at(10, &[]);
        let fetch = read_up_to_13(&mut bench, &fetch);
        bench.lead(0, 2, 6);
        bench.answer(&fetch, failed(error));
        bench.advance(150);
        let seen = bench.one();
        bench.answer(&seen, epoch_ends(ErrorCode::NONE, 5, 11));
        assert_eq!(told(&mut bench), ["trunc 13>11"]);
        assert_eq!(fetch_of(&bench.one()), (2, vec![(0, 11, 6)]));
    }
}

#[test]
fn records_that_wait_are_dropped_when_the_leader_changes() {
    let (mut bench, fetch) = bench_at(10, &[("metadata.max.age.ms", "1000")]);
    let fetch = read_up_to_13(&mut bench, &fetch);
    bench.op(Op::Pause);
    bench.answer(&fetch, fetched(vec![data(0, ErrorCode::NONE, records(13, 5, &["d"]))]));
    bench.lead(0, 2, 6);
    bench.advance(1_100);
    bench.op(Op::ResumePolling { every_ms: 0 });
    assert!(told(&mut bench).is_empty(), "13 may not be in the log any more");
    let seen = bench.one();
    assert_eq!(seen.request.api_key, ApiKey::OffsetForLeaderEpoch);
    bench.answer(&seen, epoch_ends(ErrorCode::NONE, 5, 12));
    assert_eq!(told(&mut bench), ["trunc 13>12"]);
}

#[test]
fn an_answer_to_a_fetch_of_before_the_change_is_dropped() {
    let mut bench = bench_with(&[]);
    assign(&mut bench, &[0, 1], StartFrom::Offset(10));
    let mut fetches = bench.seen();
    fetches.sort_by_key(|fetch| fetch.broker);
    let late = read_up_to_13(&mut bench, &fetches[0]);
    bench.lead(0, 3, 6);
    let stale = fetched(vec![data(1, ErrorCode::NOT_LEADER_OR_FOLLOWER, Bytes::new())]);
    bench.advance(150); // The pause after the last metadata is over.
    bench.answer(&fetches[1], stale);
    let validation = bench.one();
    assert_eq!(
        (validation.broker, validation.request.api_key),
        (3, ApiKey::OffsetForLeaderEpoch)
    );
    bench.answer(&late, fetched(vec![data(0, ErrorCode::NONE, records(13, 5, &["d"]))]));
    assert!(told(&mut bench).is_empty());
    bench.answer(&validation, epoch_ends(ErrorCode::NONE, 5, 20));
    assert_eq!(fetch_of(&bench.one()), (3, vec![(0, 13, 6)]));
}

#[test]
fn validation_errors_are_retried_at_the_newest_leader() {
    let (mut bench, fetch) = bench_at(10, &[]);
    let fetch = read_up_to_13(&mut bench, &fetch);
    bench.lead(0, 2, 6);
    bench.answer(&fetch, failed(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    bench.advance(150);
    let seen = bench.one();
    bench.lead(0, 3, 7);
    bench.answer(&seen, epoch_ends(ErrorCode::FENCED_LEADER_EPOCH, -1, -1));
    bench.advance(300);
    let seen = bench.one();
    assert_eq!((seen.broker, seen.request.api_key), (3, ApiKey::OffsetForLeaderEpoch));
}

#[test]
fn an_epoch_that_the_leader_does_not_know_resets_the_position() {
    let (mut bench, fetch) = bench_at(10, &[]);
    let fetch = read_up_to_13(&mut bench, &fetch);
    bench.lead(0, 2, 6);
    bench.answer(&fetch, failed(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    bench.advance(150);
    let seen = bench.one();
    bench.answer(&seen, epoch_ends(ErrorCode::NONE, -1, -1));
    let seen = bench.one();
    assert_eq!(seen.request.api_key, ApiKey::ListOffsets);
    bench.answer(&seen, listed(ErrorCode::NONE, 2));
    assert_eq!(told(&mut bench), ["reset 13>2"]);
}

#[test]
fn an_old_epoch_does_not_bring_the_old_leader_back() {
    let (mut bench, fetch) = bench_at(10, &[("metadata.max.age.ms", "1000")]);
    bench.lead(0, 2, 6);
    bench.answer(&fetch, failed(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    bench.advance(150);
    let fetch = bench.one();
    assert_eq!(fetch.broker, 2);
    bench.lead(0, 1, 5);
    bench.advance(1_100);
    bench.answer(&fetch, fetched(vec![data(0, ErrorCode::NONE, Bytes::new())]));
    assert_eq!(
        fetch_of(&bench.one()),
        (2, vec![(0, 10, 6)]),
        "a stale broker answered the metadata"
    );
}

#[test]
fn out_of_range_resets_as_the_policy_says() {
    for (policy, timestamp) in [("earliest", -2), ("latest", -1)] {
        let (mut bench, fetch) = bench_at(50, &[("auto.offset.reset", policy)]);
        bench.answer(&fetch, failed(ErrorCode::OFFSET_OUT_OF_RANGE));
        let seen = bench.one();
        let RequestKind::ListOffsets(question) = &seen.request.body else {
            panic!("ListOffsets expected")
        };
        assert_eq!(question.topics[0].partitions[0].timestamp, timestamp);
        bench.answer(&seen, listed(ErrorCode::NONE, 7));
        assert_eq!(told(&mut bench), ["reset 50>7"]);
        assert_eq!(fetch_of(&bench.one()).1, [(0, 7, 5)]);
    }
}

#[test]
fn without_policy_out_of_range_stops_until_a_seek() {
    let (mut bench, fetch) = bench_at(50, &[("auto.offset.reset", "none")]);
    bench.answer(&fetch, failed(ErrorCode::OFFSET_OUT_OF_RANGE));
    bench.advance(10_000);
    assert!(bench.seen().is_empty() && told(&mut bench).is_empty());
    bench.op(Op::Seek {
        topic: "t".to_owned(),
        partition: 0,
        offset: 3,
    });
    assert_eq!(fetch_of(&bench.one()).1, [(0, 3, 5)]);
}

#[test]
fn a_preferred_replica_is_read_until_it_is_out_of_range() {
    let (mut bench, fetch) = bench_at(10, &[]);
    let mut go_to_3 = data(0, ErrorCode::NONE, Bytes::new());
    go_to_3.preferred_read_replica = BrokerId(3);
    bench.answer(&fetch, fetched(vec![go_to_3]));
    let fetch = bench.one();
    assert_eq!(fetch_of(&fetch), (3, vec![(0, 10, 5)]));
    bench.answer(&fetch, fetched(vec![data(0, ErrorCode::NONE, records(10, 5, &["a"]))]));
    assert_eq!(told(&mut bench), ["10"]);
    let fetch = bench.one();
    assert_eq!(fetch.broker, 3, "it stays");
    bench.answer(&fetch, failed(ErrorCode::OFFSET_OUT_OF_RANGE));
    assert_eq!(
        fetch_of(&bench.one()),
        (1, vec![(0, 11, 5)]),
        "the leader has the last word"
    );
    assert!(told(&mut bench).is_empty());
}

#[test]
fn a_preferred_replica_that_is_lost_is_left() {
    let (mut bench, fetch) = bench_at(10, &[]);
    let mut go_to_3 = data(0, ErrorCode::NONE, Bytes::new());
    go_to_3.preferred_read_replica = BrokerId(3);
    bench.answer(&fetch, fetched(vec![go_to_3]));
    assert_eq!(bench.one().broker, 3);
    bench.down.insert(3);
    bench.lose(3);
    bench.advance(200);
    assert_eq!(bench.one().broker, 1);
}

#[test]
fn errors_back_off_and_never_skip() {
    for error in [
        ErrorCode::OFFSET_NOT_AVAILABLE,
        ErrorCode::UNKNOWN_LEADER_EPOCH,
        ErrorCode::UNKNOWN_TOPIC_ID,
        ErrorCode::UNKNOWN_SERVER_ERROR,
    ] {
        let (mut bench, fetch) = bench_at(10, &[]);
        bench.answer(&fetch, failed(error));
        assert!(bench.seen().is_empty(), "{error:?} is not asked again at once");
        bench.advance(150);
        assert_eq!(fetch_of(&bench.one()).1, [(0, 10, 5)], "{error:?}");
        assert!(told(&mut bench).is_empty());
    }
}

#[test]
fn the_leader_in_an_answer_is_validated_without_new_metadata() {
    let (mut bench, fetch) = bench_at(10, &[]);
    let fetch = read_up_to_13(&mut bench, &fetch);
    bench.answers_metadata = false;
    let mut answer = failed(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    answer.responses[0].partitions[0].current_leader = LeaderIdAndEpoch::default()
        .with_leader_id(BrokerId(3))
        .with_leader_epoch(9);
    bench.answer(&fetch, answer);
    bench.advance(150);
    let seen = bench.seen();
    let validated = |seen: &&Seen| seen.request.api_key == ApiKey::OffsetForLeaderEpoch && seen.broker == 3;
    assert!(seen.iter().any(|seen| validated(&seen)), "{seen:#?}");
}

#[test]
fn damaged_records_are_fetched_again_and_not_handed_over() {
    let (mut bench, fetch) = bench_at(10, &[]);
    let mut bytes = records(10, 5, &["a"]).to_vec();
    *bytes.last_mut().expect("not empty") ^= 1;
    bench.answer(&fetch, fetched(vec![data(0, ErrorCode::NONE, Bytes::from(bytes))]));
    assert!(told(&mut bench).is_empty());
    bench.advance(150);
    assert_eq!(fetch_of(&bench.one()).1, [(0, 10, 5)]);
}

#[test]
fn a_slow_consumer_takes_so_many_at_its_times() {
    let (mut bench, fetch) = bench_at(10, &[("max.poll.records", "2")]);
    bench.op(Op::ResumePolling { every_ms: 100 });
    bench.answer(
        &fetch,
        fetched(vec![data(0, ErrorCode::NONE, records(10, 5, &["a", "b", "c"]))]),
    );
    assert!(told(&mut bench).is_empty());
    bench.advance(99);
    assert!(told(&mut bench).is_empty());
    bench.advance(1);
    assert_eq!(told(&mut bench), ["10 11"]);
    assert!(bench.seen().is_empty(), "one is left");
    bench.advance(100);
    assert_eq!(told(&mut bench), ["12"]);
    assert_eq!(fetch_of(&bench.one()).1, [(0, 13, 5)]);
}

#[test]
fn a_lost_fetch_is_sent_again() {
    let (mut bench, _) = bench_at(10, &[]);
    bench.lose(1);
    bench.advance(300);
    assert_eq!(fetch_of(&bench.one()), (1, vec![(0, 10, 5)]));
}

#[test]
fn a_seek_makes_the_answer_on_its_way_worthless() {
    let (mut bench, fetch) = bench_at(10, &[]);
    bench.op(Op::Seek {
        topic: "t".to_owned(),
        partition: 0,
        offset: 40,
    });
    assert!(bench.seen().is_empty(), "one fetch at a time to a broker");
    bench.answer(&fetch, fetched(vec![data(0, ErrorCode::NONE, records(10, 5, &["a"]))]));
    assert!(told(&mut bench).is_empty());
    assert_eq!(fetch_of(&bench.one()).1, [(0, 40, 5)]);
}

#[test]
fn another_assignment_ends_the_first() {
    let (mut bench, fetch) = bench_at(10, &[]);
    assign(&mut bench, &[1], StartFrom::Offset(0));
    assert_eq!(fetch_of(&bench.one()), (2, vec![(1, 0, 5)]));
    bench.answer(&fetch, fetched(vec![data(0, ErrorCode::NONE, records(10, 5, &["a"]))]));
    assert!(told(&mut bench).is_empty() && bench.seen().is_empty());
}

fn list(bench: &mut Bench<Consumer>, timestamp: i64) {
    bench.op(Op::ListOffsets {
        topic: "t".to_owned(),
        partition: 0,
        timestamp,
    });
}

#[test]
fn an_offset_query_is_retried_and_answered_once() {
    let mut bench = bench_with(&[]);
    list(&mut bench, -1);
    let seen = bench.one();
    bench.answer(&seen, listed(ErrorCode::OFFSET_NOT_AVAILABLE, -1));
    assert_eq!(told(&mut bench), ["asked 1"]);
    bench.advance(200);
    let again = bench.one();
    bench.answer(&again, listed(ErrorCode::NONE, 42));
    assert_eq!(told(&mut bench), ["listed 1 Some(42) 0"]);
    list(&mut bench, 99);
    let seen = bench.one();
    bench.answer(&seen, listed(ErrorCode::NONE, -1));
    assert_eq!(
        told(&mut bench),
        ["asked 2", "listed 2 None 0"],
        "no record of that time"
    );
}

#[test]
fn an_offset_query_gives_up_with_the_last_error() {
    let mut bench = bench_with(&[("default.api.timeout.ms", "300")]);
    list(&mut bench, -1);
    let seen = bench.one();
    bench.answer(&seen, listed(ErrorCode::OFFSET_NOT_AVAILABLE, -1));
    bench.advance(300);
    assert_eq!(told(&mut bench), ["asked 1", "listed 1 None 78"]);
    let late = bench.one();
    bench.answer(&late, listed(ErrorCode::NONE, 42));
    assert!(told(&mut bench).is_empty());
}
