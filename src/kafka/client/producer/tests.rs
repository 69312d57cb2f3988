//! A producer against brokers that answer as a test says.

use super::*;
use crate::client::testing::{Bench, Seen, bootstrap, topic_name};
use crate::wire::batch;
use kafka_protocol::messages::produce_response::{LeaderIdAndEpoch, PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{BrokerId, InitProducerIdResponse, ProduceResponse, ProducerId};

fn bench(settings: &[(&str, &str)]) -> Bench<Producer> {
    let mut config = ProducerConfig::new("p", bootstrap());
    for (name, value) in settings {
        config.set(name, value).expect("a good setting");
    }
    Bench::new(Producer::new(config, Entropy(1)))
}

fn send(bench: &mut Bench<Producer>, partition: i32, value: &str) {
    bench.op(Op::Send {
        topic: "t".to_owned(),
        partition,
        value: Bytes::from(value.to_owned()),
        key: None,
    });
}

/// Values of each partition of a request.
fn values(seen: &Seen) -> Vec<(i32, Vec<String>)> {
    let RequestKind::Produce(produce) = &seen.request.body else {
        panic!("produce expected: {seen:?}")
    };
    let data = produce.topic_data.iter().flat_map(|topic| &topic.partition_data);
    data.map(|data| {
        let batches = data.records.as_ref().expect("records");
        batch::check(batches).expect("a good batch");
        let records = batch::records(batches).map(|record| {
            let value = record.expect("a good record").value.expect("a value");
            String::from_utf8(value.to_vec()).expect("text")
        });
        (data.index, records.collect())
    })
    .collect()
}

fn response(partition: i32, error: ErrorCode, base_offset: i64) -> ProduceResponse {
    let partition = PartitionProduceResponse::default()
        .with_index(partition)
        .with_error_code(error.code())
        .with_base_offset(base_offset);
    let topic = TopicProduceResponse::default()
        .with_name(topic_name("t"))
        .with_partition_responses(vec![partition]);
    ProduceResponse::default().with_responses(vec![topic])
}

/// Everything told but the invocations: `a@7` acknowledged at 7, `a!` certainly failed, `a?` perhaps, with the code.
fn told(bench: &mut Bench<Producer>) -> Vec<String> {
    let text = |value: Bytes| String::from_utf8(value.to_vec()).expect("text");
    let told = bench.notes().into_iter().filter_map(|note| match note {
        ClientNote::SendAcked { value, offset, .. } => Some(format!(
            "{}@{}",
            text(value),
            offset.map_or("-".to_owned(), |o| o.to_string())
        )),
        ClientNote::SendFailed {
            value,
            definite,
            error_code,
            ..
        } => Some(format!(
            "{}{}{error_code}",
            text(value),
            if definite { '!' } else { '?' }
        )),
        _ => None,
    });
    told.collect()
}

#[test]
fn records_linger_and_leave_together() {
    let mut bench = bench(&[("linger.ms", "10")]);
    for value in ["a", "b", "c"] {
        send(&mut bench, 0, value);
    }
    bench.advance(9);
    assert!(bench.seen().is_empty(), "they linger");
    bench.advance(1);
    let seen = bench.one();
    assert_eq!(values(&seen), [(0, vec!["a".to_owned(), "b".into(), "c".into()])]);
    assert_eq!(seen.broker, 1, "the leader");
    bench.answer(&seen, response(0, ErrorCode::NONE, 40));
    assert_eq!(told(&mut bench), ["a@40", "b@41", "c@42"]);
    assert_eq!(bench.machine.unsettled(), 0);
}

#[test]
fn a_full_batch_does_not_linger() {
    let mut bench = bench(&[("linger.ms", "1000"), ("batch.size", "200")]);
    for i in 0..6 {
        send(&mut bench, 0, &format!("{i}-{}", "x".repeat(40)));
    }
    let seen = bench.seen();
    let sent: Vec<usize> = seen.iter().map(|seen| values(seen)[0].1.len()).collect();
    assert_eq!(sent, [2, 2], "two fit into 200 bytes; the third pair is the open batch");
    bench.op(Op::Flush);
    assert_eq!(values(&bench.one())[0].1.len(), 2, "a flush ends the lingering");
}

#[test]
fn a_request_has_batches_of_one_leader_only() {
    let mut bench = bench(&[]);
    bench.lead(2, 1, 5);
    send(&mut bench, 0, "a");
    send(&mut bench, 1, "b");
    send(&mut bench, 2, "c");
    bench.advance(5);
    let mut seen = bench.seen();
    seen.sort_by_key(|seen| seen.broker);
    let [one, two] = &seen[..] else {
        panic!("two requests expected: {seen:#?}")
    };
    assert_eq!(values(one), [(0, vec!["a".to_owned()]), (2, vec!["c".to_owned()])]);
    assert_eq!(values(two), [(1, vec!["b".to_owned()])]);
}

#[test]
fn at_most_so_many_requests_are_in_flight() {
    let mut bench = bench(&[
        ("batch.size", "0"),
        ("linger.ms", "0"),
        ("max.in.flight.requests.per.connection", "2"),
    ]);
    for value in ["a", "b", "c", "d"] {
        send(&mut bench, 0, value);
    }
    let seen = bench.seen();
    assert_eq!(seen.len(), 2);
    bench.answer(&seen[0], response(0, ErrorCode::NONE, 0));
    assert_eq!(values(&bench.one()), [(0, vec!["c".to_owned()])]);
}

#[test]
fn one_in_flight_keeps_the_order_through_a_retry() {
    let mut bench = bench(&[
        ("batch.size", "0"),
        ("linger.ms", "0"),
        ("max.in.flight.requests.per.connection", "1"),
    ]);
    send(&mut bench, 0, "a");
    send(&mut bench, 0, "b");
    let first = bench.one();
    bench.answer(&first, response(0, ErrorCode::NOT_ENOUGH_REPLICAS, -1));
    assert!(bench.seen().is_empty(), "nothing overtakes what backs off");
    bench.advance(150);
    let again = bench.one();
    assert_eq!(values(&again), [(0, vec!["a".to_owned()])]);
    bench.answer(&again, response(0, ErrorCode::NONE, 0));
    let second = bench.one();
    assert_eq!(values(&second), [(0, vec!["b".to_owned()])]);
    bench.answer(&second, response(0, ErrorCode::NONE, 1));
    assert_eq!(told(&mut bench), ["a@0", "b@1"]);
}

#[test]
fn one_in_flight_holds_a_partition_also_when_its_leader_moves() {
    let mut bench = bench(&[
        ("batch.size", "0"),
        ("linger.ms", "0"),
        ("max.in.flight.requests.per.connection", "1"),
        ("metadata.max.age.ms", "500"),
    ]);
    send(&mut bench, 0, "a");
    let first = bench.one();
    bench.lead(0, 3, 6);
    bench.advance(1_000);
    send(&mut bench, 0, "b");
    assert!(bench.seen().is_empty(), "broker 3 is free, but `a` has no answer");
    bench.answer(&first, response(0, ErrorCode::NONE, 0));
    assert_eq!(bench.one().broker, 3);
}

#[test]
fn several_in_flight_may_reorder_as_kafka_does() {
    let mut bench = bench(&[("batch.size", "0"), ("linger.ms", "0")]);
    send(&mut bench, 0, "a");
    send(&mut bench, 0, "b");
    let seen = bench.seen();
    bench.answer(&seen[0], response(0, ErrorCode::NOT_ENOUGH_REPLICAS, -1));
    bench.answer(&seen[1], response(0, ErrorCode::NONE, 0));
    bench.advance(150);
    let again = bench.one();
    bench.answer(&again, response(0, ErrorCode::NONE, 1));
    assert_eq!(told(&mut bench), ["b@0", "a@1"]);
}

#[test]
fn a_new_leader_is_looked_up_and_asked() {
    let mut bench = bench(&[("linger.ms", "0")]);
    send(&mut bench, 0, "a");
    let seen = bench.one();
    bench.lead(0, 2, 6);
    bench.answer(&seen, response(0, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1));
    bench.advance(300);
    let again = bench.one();
    assert_eq!(again.broker, 2);
    bench.answer(&again, response(0, ErrorCode::NONE, 3));
    assert_eq!(told(&mut bench), ["a@3"]);
}

#[test]
fn the_leader_in_an_answer_is_asked_without_new_metadata() {
    let mut bench = bench(&[("linger.ms", "0")]);
    send(&mut bench, 0, "a");
    let seen = bench.one();
    bench.answers_metadata = false;
    let mut answer = response(0, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1);
    answer.responses[0].partition_responses[0].current_leader = LeaderIdAndEpoch::default()
        .with_leader_id(BrokerId(3))
        .with_leader_epoch(9);
    bench.answer(&seen, answer);
    bench.advance(150);
    let seen = bench.seen();
    assert!(
        seen.iter()
            .any(|seen| seen.broker == 3 && seen.request.api_key as i16 == 0),
        "{seen:#?}"
    );
}

#[test]
fn an_unanswered_attempt_makes_a_failure_indefinite() {
    let mut bench = bench(&[("linger.ms", "0"), ("retries", "0")]);
    send(&mut bench, 0, "a");
    assert_eq!(values(&bench.one()).len(), 1);
    bench.lose(1);
    assert_eq!(told(&mut bench), ["a?0"]);
}

#[test]
fn a_refusal_before_the_append_is_definite() {
    let mut bench = bench(&[("linger.ms", "0"), ("retries", "1")]);
    send(&mut bench, 0, "a");
    let first = bench.one();
    bench.answer(&first, response(0, ErrorCode::NOT_ENOUGH_REPLICAS, -1));
    bench.advance(150);
    let second = bench.one();
    bench.answer(&second, response(0, ErrorCode::NOT_ENOUGH_REPLICAS, -1));
    assert_eq!(told(&mut bench), ["a!19"]);
}

#[test]
fn one_doubtful_attempt_spoils_all_later_refusals() {
    let mut bench = bench(&[("linger.ms", "0"), ("retries", "1")]);
    send(&mut bench, 0, "a");
    let first = bench.one();
    bench.answer(&first, response(0, ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, 3));
    bench.advance(150);
    let second = bench.one();
    bench.answer(&second, response(0, ErrorCode::NOT_ENOUGH_REPLICAS, -1));
    assert_eq!(told(&mut bench), ["a?19"]);
}

#[test]
fn lost_leadership_is_doubtful_with_acks_all_and_not_with_acks_1() {
    for (acks, expected) in [("all", "a?6"), ("1", "a!6")] {
        let mut bench = bench(&[("linger.ms", "0"), ("retries", "0"), ("acks", acks)]);
        send(&mut bench, 0, "a");
        let seen = bench.one();
        bench.answer(&seen, response(0, ErrorCode::NOT_LEADER_OR_FOLLOWER, -1));
        assert_eq!(told(&mut bench), [expected]);
    }
}

#[test]
fn the_delivery_timeout_covers_everything() {
    let settings = [
        ("linger.ms", "0"),
        ("delivery.timeout.ms", "5000"),
        ("request.timeout.ms", "60000"),
    ];
    let mut bench = bench(&settings);
    send(&mut bench, 0, "a");
    let seen = bench.one();
    bench.advance(4_999);
    assert!(told(&mut bench).is_empty());
    bench.advance(1);
    assert_eq!(told(&mut bench), ["a?0"], "it is in flight: nobody knows");
    bench.answer(&seen, response(0, ErrorCode::NONE, 0));
    assert!(told(&mut bench).is_empty(), "told once");
    assert_eq!(bench.machine.unsettled(), 0);
}

#[test]
fn what_was_never_sent_fails_definitely() {
    let mut bench = bench(&[("linger.ms", "0"), ("delivery.timeout.ms", "5000")]);
    bench.down.insert(1);
    send(&mut bench, 0, "a");
    bench.advance(5_000);
    assert_eq!(told(&mut bench), ["a!0"]);
    let tries = bench.connects.iter().filter(|(_, broker)| *broker == 1).count();
    assert!((5..=20).contains(&tries), "backoff from 50 ms to 1 s: {tries}");
}

#[test]
fn a_request_without_answer_is_given_up_and_sent_again() {
    let mut bench = bench(&[("linger.ms", "0"), ("request.timeout.ms", "1000")]);
    send(&mut bench, 0, "a");
    let first = bench.one();
    bench.advance(1_500);
    let second = bench.one();
    assert_ne!(second.conn, first.conn, "the connection was closed");
    bench.answer(&second, response(0, ErrorCode::NONE, 8));
    assert_eq!(told(&mut bench), ["a@8"]);
}

#[test]
fn an_unknown_topic_blocks_for_a_while_and_fails() {
    let mut bench = bench(&[("max.block.ms", "2000")]);
    bench.op(Op::Send {
        topic: "missing".to_owned(),
        partition: 0,
        value: Bytes::from_static(b"a"),
        key: None,
    });
    send(&mut bench, 0, "b");
    bench.advance(1_999);
    assert!(
        told(&mut bench).is_empty() && bench.seen().is_empty(),
        "the user hangs in the first call"
    );
    assert!(
        (3..=25).contains(&bench.metadata_requests),
        "{}",
        bench.metadata_requests
    );
    bench.advance(1);
    assert_eq!(told(&mut bench)[0], "a!0");
}

#[test]
fn memory_is_bounded_and_given_back() {
    let mut bench = bench(&[("batch.size", "100"), ("linger.ms", "0"), ("buffer.memory", "300")]);
    for value in ["a", "b", "c", "d", "e", "f", "g"] {
        send(&mut bench, 0, &value.repeat(30));
    }
    let seen = bench.seen();
    assert_eq!(seen.len(), 2, "112 bytes each, 300 in all");
    assert_eq!(bench.machine.unsettled(), 7);
    bench.answer(&seen[0], response(0, ErrorCode::NONE, 0));
    assert_eq!(bench.seen().len(), 1);
}

#[test]
fn a_record_above_the_limits_is_refused_by_the_client() {
    let mut bench = bench(&[("max.request.size", "100")]);
    send(&mut bench, 0, &"x".repeat(100));
    assert_eq!(told(&mut bench), [format!("{}!10", "x".repeat(100))]);
}

#[test]
fn a_batch_that_is_too_large_is_split() {
    let mut bench = bench(&[("linger.ms", "1")]);
    for value in ["a", "b", "c"] {
        send(&mut bench, 0, value);
    }
    bench.advance(1);
    let whole = bench.one();
    bench.answer(&whole, response(0, ErrorCode::MESSAGE_TOO_LARGE, -1));
    bench.advance(200);
    let halves = bench.seen();
    let sent: Vec<_> = halves.iter().flat_map(values).flat_map(|(_, values)| values).collect();
    assert_eq!(sent, ["a", "b", "c"]);
    bench.answer(&halves[0], response(0, ErrorCode::NONE, 0));
    assert_eq!(told(&mut bench), ["a@0"]);
    bench.answer(&halves[1], response(0, ErrorCode::MESSAGE_TOO_LARGE, -1));
    bench.advance(200);
    for quarter in bench.seen() {
        bench.answer(&quarter, response(0, ErrorCode::MESSAGE_TOO_LARGE, -1));
    }
    assert_eq!(told(&mut bench), ["b!10", "c!10"]);
    assert_eq!(bench.machine.unsettled(), 0);
}

#[test]
fn without_acks_success_is_told_at_once_and_without_offset() {
    let mut bench = bench(&[("acks", "0"), ("linger.ms", "0")]);
    send(&mut bench, 0, "a");
    assert_eq!(values(&bench.one()), [(0, vec!["a".to_owned()])]);
    assert_eq!(told(&mut bench), ["a@-"]);
    assert_eq!(bench.machine.unsettled(), 0);
    bench.advance(60_000);
    assert!(told(&mut bench).is_empty());
}

#[test]
fn an_answer_that_leaves_a_batch_out_settles_nothing() {
    let mut bench = bench(&[("linger.ms", "0"), ("retries", "0")]);
    send(&mut bench, 0, "a");
    let seen = bench.one();
    bench.answer(&seen, response(7, ErrorCode::NONE, 3));
    assert_eq!(told(&mut bench), ["a?0"]);
}

#[test]
fn a_shutdown_sends_what_waits_and_then_ends() {
    let mut bench = bench(&[("linger.ms", "1000")]);
    send(&mut bench, 0, "a");
    bench.net(Input::Shutdown);
    let seen = bench.one();
    assert!(!bench.exited);
    bench.answer(&seen, response(0, ErrorCode::NONE, 0));
    assert!(bench.exited);
    assert_eq!(told(&mut bench), ["a@0"]);
}

/// An idempotent producer that has id 7, and one record in a batch.
fn idempotent(settings: &[(&str, &str)]) -> Bench<Producer> {
    let all = [("enable.idempotence", "true"), ("batch.size", "0"), ("linger.ms", "0")];
    let mut bench = bench(&[&all[..], settings].concat());
    send(&mut bench, 1, "first");
    let asked = bench.one();
    assert!(
        matches!(asked.request.body, RequestKind::InitProducerId(_)),
        "{asked:?}"
    );
    bench.answer(&asked, identity(7, ErrorCode::NONE));
    let first = bench.one();
    assert_eq!(placed(&first), [(7, 0, 0, "first".to_owned())]);
    bench.answer(&first, response(1, ErrorCode::NONE, 0));
    assert_eq!(told(&mut bench), ["first@0"]);
    bench
}

fn identity(id: i64, error: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_producer_id(ProducerId(id))
        .with_error_code(error.code())
}

/// Producer id, epoch, sequence and first value of each batch of a request.
fn placed(seen: &Seen) -> Vec<(i64, i16, i32, String)> {
    let RequestKind::Produce(produce) = &seen.request.body else {
        panic!("produce expected: {seen:?}")
    };
    let data = produce.topic_data.iter().flat_map(|topic| &topic.partition_data);
    data.zip(values(seen))
        .map(|(data, (_, values))| {
            let header = batch::BatchHeader::parse(data.records.as_ref().expect("records")).expect("a header");
            let value = values[0].clone();
            (header.producer_id, header.producer_epoch, header.base_sequence, value)
        })
        .collect()
}

#[test]
fn an_idempotent_producer_asks_for_an_id_until_it_has_one_and_sends_nothing_before() {
    let mut bench = bench(&[("enable.idempotence", "true"), ("linger.ms", "0")]);
    send(&mut bench, 0, "a");
    let asked = bench.one();
    bench.answer(&asked, identity(-1, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    assert!(bench.seen().is_empty(), "it backs off");
    bench.advance(150);
    let again = bench.one();
    bench.lose(again.broker);
    bench.advance(1_500);
    let third = bench.one();
    bench.answer(&third, identity(9, ErrorCode::NONE));
    bench.advance(100);
    assert_eq!(placed(&bench.one()), [(9, 0, 0, "a".to_owned())]);
}

#[test]
fn a_retry_carries_the_sequence_that_it_had_and_goes_before_all_that_came_later() {
    let mut bench = idempotent(&[]);
    for value in ["a", "b", "c", "d", "e", "f"] {
        send(&mut bench, 0, value);
    }
    let seen = bench.seen();
    let sent: Vec<_> = seen.iter().flat_map(placed).map(|(.., sequence, _)| sequence).collect();
    assert_eq!(sent, [0, 1, 2, 3, 4], "five in flight");
    bench.answer(&seen[0], response(0, ErrorCode::NOT_ENOUGH_REPLICAS, -1));
    for seen in &seen[1..] {
        bench.answer(seen, response(0, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    }
    assert!(told(&mut bench).is_empty());
    // One after the other, since nothing may overtake; behind the last of them new ones go along.
    bench.advance(3_000);
    for (sequence, value) in ["a", "b", "c", "d"].iter().enumerate() {
        let again = bench.one();
        assert_eq!(placed(&again), [(7, 0, sequence as i32, (*value).to_owned())]);
        bench.answer(&again, response(0, ErrorCode::NONE, sequence as i64));
    }
    assert_eq!(told(&mut bench), ["a@0", "b@1", "c@2", "d@3"]);
    let last: Vec<_> = bench.seen().iter().flat_map(placed).collect();
    assert_eq!(last, [(7, 0, 4, "e".to_owned()), (7, 0, 5, "f".to_owned())]);
}

#[test]
fn a_lost_answer_is_asked_for_again_and_the_old_offset_is_told() {
    let mut bench = idempotent(&[]);
    send(&mut bench, 0, "a");
    let first = bench.one();
    bench.lose(first.broker);
    bench.advance(1_500);
    let again = bench.one();
    assert_eq!(placed(&again), placed(&first));
    bench.answer(&again, response(0, ErrorCode::NONE, 12));
    assert_eq!(told(&mut bench), ["a@12"]);
}

#[test]
fn a_gap_that_nothing_can_fill_ends_the_epoch_and_what_is_in_no_log_goes_along() {
    let mut bench = idempotent(&[]);
    for value in ["a", "b"] {
        send(&mut bench, 0, value);
    }
    let seen = bench.seen();
    bench.answer(&seen[0], response(0, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    bench.answer(&seen[1], response(0, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    bench.advance(3_000);
    let again = bench.seen();
    let sent: Vec<_> = again.iter().flat_map(placed).collect();
    assert_eq!(sent, [(7, 1, 0, "a".to_owned()), (7, 1, 1, "b".to_owned())]);
    for (seen, offset) in again.iter().zip(4..) {
        bench.answer(seen, response(0, ErrorCode::NONE, offset));
    }
    assert_eq!(told(&mut bench), ["a@4", "b@5"]);
    // The other partition begins anew too, since the epoch is the producer's (KAFKA-12152).
    send(&mut bench, 1, "other");
    assert_eq!(placed(&bench.one()), [(7, 1, 0, "other".to_owned())]);
}

#[test]
fn what_may_be_in_a_log_is_never_sent_under_another_sequence() {
    let mut bench = idempotent(&[]);
    for value in ["a", "b", "c"] {
        send(&mut bench, 0, value);
    }
    let seen = bench.seen();
    bench.answer(&seen[0], response(0, ErrorCode::NOT_ENOUGH_REPLICAS, -1));
    bench.lose(1);
    bench.advance(1_500);
    // `a` is certainly in no log, `b` and `c` may be; the broker has forgotten the producer's newest batches.
    let again = bench.one();
    assert_eq!(placed(&again), [(7, 0, 0, "a".to_owned())]);
    bench.answer(&again, response(0, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    assert_eq!(told(&mut bench), ["b?45", "c?45"]);
    bench.advance(1_500);
    let last = bench.one();
    assert_eq!(placed(&last), [(7, 1, 0, "a".to_owned())]);
    bench.answer(&last, response(0, ErrorCode::NONE, 3));
    assert_eq!(told(&mut bench), ["a@3"]);
}

#[test]
fn a_batch_that_is_given_up_leaves_no_hole_if_the_next_one_is_taken() {
    let settings = [("delivery.timeout.ms", "3000"), ("request.timeout.ms", "60000")];
    let mut bench = idempotent(&settings);
    send(&mut bench, 0, "a");
    let first = bench.one();
    bench.advance(2_000);
    send(&mut bench, 0, "b");
    let second = bench.one();
    bench.advance(1_000);
    assert_eq!(told(&mut bench), ["a?0"]);
    send(&mut bench, 0, "c");
    assert!(bench.seen().is_empty(), "what became of `a` is not known");
    bench.answer(&first, response(0, ErrorCode::NONE, 0));
    bench.answer(&second, response(0, ErrorCode::NONE, 1));
    assert_eq!(told(&mut bench), ["b@1"]);
    assert_eq!(placed(&bench.one()), [(7, 0, 2, "c".to_owned())]);
}

#[test]
fn a_batch_that_is_given_up_for_good_ends_the_epoch() {
    let mut bench = idempotent(&[("delivery.timeout.ms", "3000"), ("request.timeout.ms", "60000")]);
    send(&mut bench, 0, "a");
    let first = bench.one();
    bench.advance(3_000);
    assert_eq!(told(&mut bench), ["a?0"]);
    send(&mut bench, 0, "b");
    assert!(bench.seen().is_empty());
    bench.lose(first.broker);
    bench.advance(1_000);
    assert_eq!(placed(&bench.one()), [(7, 1, 0, "b".to_owned())]);
}

#[test]
fn idempotence_wants_properties_that_go_with_it() {
    let check = |name, value| {
        let mut config = ProducerConfig::new("p", bootstrap());
        config.set("enable.idempotence", "true").expect("a good setting");
        config.set(name, value).expect("a good setting");
        config.check()
    };
    assert_eq!(check("acks", "all"), Ok(()));
    for (name, value) in [
        ("acks", "1"),
        ("retries", "0"),
        ("max.in.flight.requests.per.connection", "6"),
    ] {
        assert!(check(name, value).is_err(), "{name}={value}");
    }
}
