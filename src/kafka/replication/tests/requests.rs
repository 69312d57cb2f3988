//! Produce, fetch, offsets and record deletion as clients see them.

use super::{P, World, name};
use crate::note::Note;
use crate::replication::codes;
use crate::rules::{Rule, Rules};
use crate::types::NodeId;
use kafka_protocol::messages::produce_request::{ProduceRequest, TopicProduceData};
use kafka_protocol::messages::{RequestKind, ResponseKind};

#[test]
fn an_acknowledged_record_is_on_all_in_sync_replicas() {
    let mut world = World::with(3, None);
    let id = world.send(1, "a", -1);
    assert_eq!(world.produced(id), None);
    world.run();
    assert_eq!(world.produced(id), Some((codes::NONE, 0)));
    for id in 1..=3 {
        assert_eq!(world.log(id), ["a@0"]);
    }
    assert_eq!((world.high_watermark(1), world.high_watermark(2)), (1, 0));
    // The followers hear of it with the next answer, when their wait is over.
    world.advance(600);
    assert_eq!((world.high_watermark(2), world.high_watermark(3)), (1, 1));
    let answered = |id, note: &Note| {
        let Note::ProduceAnswered {
            error_code,
            base_offset,
            last_offset,
            acks,
            state,
            high_watermark,
            ..
        } = note
        else {
            return false;
        };
        assert_eq!(
            (*error_code, *base_offset, *last_offset, *acks, *high_watermark),
            (0, 0, 0, -1, 1)
        );
        id == 1 && state.as_ref().is_some_and(|state| state.isr.len() == 3)
    };
    assert_eq!(world.noted(answered), 1);
}

#[test]
fn acks_1_is_answered_at_once_and_acks_0_never() {
    let mut world = World::with(2, None);
    world.isolate(2);
    let one = world.send(1, "a", 1);
    assert_eq!(world.produced(one), Some((codes::NONE, 0)));
    let zero = world.send(1, "b", 0);
    world.heal();
    world.advance(60_000);
    assert_eq!(world.produced(zero), None);
    assert_eq!(world.log(2), ["a@0", "b@0"]);
}

#[test]
fn what_cannot_be_produced() {
    let mut world = World::with(2, None);
    let id = world.send(1, "a", 2);
    assert_eq!(world.produced(id), Some((codes::INVALID_REQUIRED_ACKS, -1)));
    let id = world.send(2, "a", 1);
    assert_eq!(world.produced(id), Some((codes::NOT_LEADER_OR_FOLLOWER, -1)));
    let ResponseKind::Produce(response) = &world.replies[&id] else {
        panic!()
    };
    assert_eq!(
        response.responses[0].partition_responses[0].current_leader.leader_id.0, 1,
        "KIP-951"
    );
    let id = world.fresh();
    let topic = TopicProduceData::default()
        .with_name(name("other"))
        .with_partition_data(vec![Default::default()]);
    let request = ProduceRequest::default().with_acks(1).with_topic_data(vec![topic]);
    world.step(1, |manager, image, now, disk, out| {
        manager.produce(id, &request, 12, image, now, disk, out).unwrap()
    });
    assert_eq!(world.produced(id), Some((codes::UNKNOWN_TOPIC_OR_PARTITION, -1)));
}

#[test]
fn a_produce_that_waits_too_long_times_out() {
    let mut world = World::with(2, None);
    world.isolate(2);
    let id = world.send_for(1, "a", -1, 1_000);
    world.advance(999);
    assert_eq!(world.produced(id), None);
    world.advance(1);
    assert_eq!(world.produced(id), Some((codes::REQUEST_TIMED_OUT, -1)));
}

#[test]
fn who_is_gone_is_not_answered() {
    let mut world = World::with(2, None);
    let id = world.send(1, "a", -1);
    world.step(1, |manager, _, _, _, _| manager.on_disconnected_request(id));
    world.run();
    world.advance(60_000);
    assert_eq!((world.produced(id), world.high_watermark(1)), (None, 1));
}

/// 1 appends x, which nobody copies. 2 leads the next epoch and commits y at the same offset.
fn leadership_lost(rule: Option<Rule>) -> (Option<(i16, i64)>, Vec<String>) {
    let mut world = World::with(3, rule);
    world.isolate(1);
    let waiting = world.send(1, "x", -1);
    world.decide(2, &[1, 2, 3]);
    for id in [2, 3, 1] {
        world.publish(id);
    }
    world.send(2, "y", -1);
    world.heal();
    world.advance(2_000);
    (world.produced(waiting), world.log(1))
}

#[test]
fn who_leads_no_more_acknowledges_nothing() {
    let (answer, log) = leadership_lost(None);
    assert_eq!(answer, Some((codes::NOT_LEADER_OR_FOLLOWER, -1)));
    assert_eq!(log, ["y@1"]);
    let (answer, log) = leadership_lost(Some(Rule::AckWithoutLeadershipRecheck));
    assert_eq!(answer, Some((codes::NONE, 0)), "KAFKA-2960");
    assert_eq!(log, ["y@1"], "and x is nowhere");
}

#[test]
fn the_same_leader_in_another_epoch_does_not_answer_for_the_one_before() {
    let mut world = World::with(2, None);
    world.isolate(2);
    let waiting = world.send(1, "x", -1);
    world.decide(1, &[1, 2]);
    world.publish(1);
    assert_eq!(world.produced(waiting), Some((codes::NOT_LEADER_OR_FOLLOWER, -1)));
}

#[test]
fn consumers_stop_at_the_high_watermark() {
    let mut world = World::with(2, None);
    world.send_acked(1, "a");
    world.isolate(2);
    world.send(1, "b", 1);
    let data = world.consume(1, 0, "");
    assert_eq!(
        (data.error_code, data.high_watermark, data.last_stable_offset),
        (0, 1, 1)
    );
    assert_eq!(
        data.records.as_ref().map(|records| records.len()),
        Some(69 + "a".len() - 1)
    );
    let data = world.consume(1, 1, "");
    assert_eq!(
        (data.error_code, data.records.map(|records| records.len())),
        (0, Some(0)),
        "empty, not null"
    );
    assert_eq!(world.consume(1, 3, "").error_code, codes::OFFSET_OUT_OF_RANGE);
    assert_eq!(world.consume(2, 0, "").error_code, codes::NOT_LEADER_OR_FOLLOWER);
}

#[test]
fn a_fetch_waits_for_enough_bytes_or_its_time() {
    let mut world = World::with(1, None);
    let one = world.fetch(1, &World::fetch_request(0, "", 500, 1));
    let more = world.fetch(1, &World::fetch_request(0, "", 500, 100));
    assert!(world.fetched(one).is_none() && world.fetched(more).is_none());
    world.send(1, "a", 1);
    assert!(!world.fetched(one).unwrap().records.as_ref().unwrap().is_empty());
    assert!(world.fetched(more).is_none(), "69 bytes are not 100");
    world.send(1, "b", 1);
    assert!(world.fetched(more).is_some());
    let idle = world.fetch(1, &World::fetch_request(2, "", 500, 1));
    world.advance(499);
    assert!(world.fetched(idle).is_none());
    world.advance(1);
    assert!(world.fetched(idle).unwrap().records.as_ref().unwrap().is_empty());
}

#[test]
fn one_batch_is_returned_whatever_the_limits() {
    let mut world = World::with(1, None);
    world.send(1, "a", 1);
    world.send(1, "b", 1);
    let mut request = World::fetch_request(0, "", 0, 1);
    request.max_bytes = 1;
    let id = world.fetch(1, &request);
    assert_eq!(
        world.fetched(id).unwrap().records.as_ref().map(|records| records.len()),
        Some(69)
    );
}

#[test]
fn leader_epochs_of_clients_are_checked() {
    let mut world = World::with(2, None);
    world.elect(1, &[1, 2]);
    world.notes.clear();
    for (epoch, code) in [
        (0, codes::FENCED_LEADER_EPOCH),
        (1, 0),
        (2, codes::UNKNOWN_LEADER_EPOCH),
    ] {
        let mut request = World::fetch_request(0, "", 0, 1);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        let id = world.fetch(1, &request);
        assert_eq!(world.fetched(id).unwrap().error_code, code, "epoch {epoch}");
    }
    let fenced = |id, note: &Note| id == 1 && matches!(note, Note::EpochFenced { .. });
    assert_eq!(world.noted(fenced), 2);
}

#[test]
fn a_consumer_learns_of_a_divergence_too() {
    let mut world = World::with(1, None);
    world.send(1, "a", 1);
    world.elect(1, &[1]);
    world.send(1, "b", 1);
    let mut request = World::fetch_request(2, "", 0, 1);
    request.topics[0].partitions[0].last_fetched_epoch = 0;
    let id = world.fetch(1, &request);
    let data = world.fetched(id).unwrap();
    assert_eq!((data.diverging_epoch.epoch, data.diverging_epoch.end_offset), (0, 1));
}

#[test]
fn a_fetch_session_is_unknown_and_an_unknown_topic_too() {
    let mut world = World::with(1, None);
    let mut request = World::fetch_request(0, "", 0, 1);
    request.topics[0].topic_id = uuid::Uuid::from_u128(99);
    let id = world.fetch(1, &request);
    assert_eq!(world.fetched(id).unwrap().error_code, codes::UNKNOWN_TOPIC_ID);
    request.session_id = 5;
    request.session_epoch = 3;
    let id = world.fetch(1, &request);
    let ResponseKind::Fetch(response) = &world.replies[&id] else {
        panic!()
    };
    assert_eq!(response.error_code, codes::FETCH_SESSION_ID_NOT_FOUND);
}

#[test]
fn a_consumer_is_sent_to_the_replica_of_its_rack() {
    let mut world = World::new(3, Rules::NONE, |settings| settings.replica_selector_rack_aware = 1);
    world.send_acked(1, "a");
    world.advance(600);
    let data = world.consume(1, 0, "r2");
    assert_eq!(
        (data.preferred_read_replica.0, data.records.map(|records| records.len())),
        (2, Some(0))
    );
    assert_eq!(
        world.consume(1, 0, "r1").preferred_read_replica.0,
        -1,
        "the leader's own"
    );
    assert_eq!(world.consume(1, 0, "r9").preferred_read_replica.0, -1, "nobody's");
    // The follower serves up to its own high watermark.
    world.isolate(2);
    assert_eq!(world.consume(2, 0, "r2").records.map(|records| records.len()), Some(69));
    world.cut.clear();
    let waiting = world.fetch(2, &World::fetch_request(1, "r2", 5_000, 1));
    world.send_acked(1, "b");
    assert!(
        world.fetched(waiting).is_none(),
        "2 has it, and does not know that it is committed"
    );
    world.advance(600);
    assert!(world.fetched(waiting).is_some_and(|data| data.high_watermark == 2));
    // Out of the ISR: not sent there.
    world.decide_isr(&[1, 3]);
    world.publish_all();
    assert_eq!(world.consume(1, 0, "r2").preferred_read_replica.0, -1);
}

#[test]
fn the_latest_offset_is_not_told_until_the_epoch_is_committed() {
    let mut world = World::with(3, None);
    world.send_acked(1, "a");
    world.send_acked(1, "b");
    assert_eq!(world.high_watermark(2), 1);
    assert_eq!(world.list_offsets(1, -1, 8).offset, 2);
    world.kill(1, false);
    world.isolate(3);
    world.decide(2, &[2, 3]);
    world.publish(2);
    let answer = world.list_offsets(2, -1, 8);
    assert_eq!(
        (answer.error_code, answer.offset),
        (codes::OFFSET_NOT_AVAILABLE, -1),
        "KIP-207: it would be 1 after 2"
    );
    assert_eq!(world.list_offsets(2, -1, 4).error_code, codes::LEADER_NOT_AVAILABLE);
    assert_eq!(world.list_offsets(2, -2, 8).offset, 0);
    assert_eq!(
        world.list_offsets(2, i64::MAX, 8).error_code,
        codes::OFFSET_NOT_AVAILABLE
    );
    world.publish(3);
    world.heal();
    world.advance(1_000);
    let answer = world.list_offsets(2, -1, 8);
    assert_eq!((answer.error_code, answer.offset, answer.leader_epoch), (0, 2, 1));
}

#[test]
fn offsets_by_time() {
    let mut world = World::with(1, None);
    let start = world.now.wall_ms;
    for value in ["a", "b", "c"] {
        world.send(1, value, 1);
        world.advance(10);
    }
    let at = |world: &mut World, timestamp| {
        let answer = world.list_offsets(1, timestamp, 8);
        assert_eq!(answer.error_code, 0);
        (answer.offset, answer.timestamp)
    };
    assert_eq!(at(&mut world, start), (0, start));
    assert_eq!(at(&mut world, start + 1), (1, start + 10));
    assert_eq!(at(&mut world, start + 21), (-1, -1));
    assert_eq!(at(&mut world, -3), (2, start + 20), "the largest timestamp");
    assert_eq!(at(&mut world, -2), (0, -1));
    assert_eq!(world.list_offsets(1, -9, 8).error_code, codes::INVALID_REQUEST);
}

#[test]
fn deleted_records_are_gone_on_all_living_replicas_before_the_answer() {
    let mut world = World::with(3, None);
    for value in ["a", "b", "c"] {
        world.send_acked(1, value);
    }
    world.advance(600);
    world.isolate(3);
    let id = world.delete_records(1, 2, 30_000);
    world.advance(2_000);
    assert_eq!(world.partition(2).log().log_start_offset(), 2);
    assert!(world.deleted(id).is_none(), "3 has not heard");
    world.heal();
    world.advance(2_000);
    assert_eq!(world.partition(3).log().log_start_offset(), 2);
    let result = world.deleted(id).unwrap();
    assert_eq!((result.error_code, result.low_watermark), (0, 2));
    assert_eq!(world.consume(1, 1, "").error_code, codes::OFFSET_OUT_OF_RANGE);
}

#[test]
fn a_fenced_broker_does_not_hold_a_deletion_up() {
    let mut world = World::with(3, None);
    world.send_acked(1, "a");
    world.advance(600);
    world.isolate(3);
    let id = world.delete_records(1, -1, 30_000);
    world.advance(2_000);
    assert!(world.deleted(id).is_none());
    world.image.brokers.get_mut(&NodeId(3)).unwrap().fenced = true;
    world.publish(1);
    assert_eq!(
        world
            .deleted(id)
            .map(|result| (result.error_code, result.low_watermark)),
        Some((0, 1))
    );
}

#[test]
fn what_cannot_be_deleted() {
    let mut world = World::with(2, None);
    world.isolate(2);
    world.send(1, "a", 1);
    let beyond = world.delete_records(1, 1, 1_000);
    assert_eq!(
        world.deleted(beyond).unwrap().error_code,
        codes::OFFSET_OUT_OF_RANGE,
        "above the high watermark"
    );
    let elsewhere = world.delete_records(2, 0, 1_000);
    assert_eq!(
        world.deleted(elsewhere).unwrap().error_code,
        codes::NOT_LEADER_OR_FOLLOWER
    );
    world.heal();
    world.advance(1_000);
    world.isolate(2);
    let slow = world.delete_records(1, 1, 1_000);
    world.advance(1_000);
    assert_eq!(world.deleted(slow).unwrap().error_code, codes::REQUEST_TIMED_OUT);
}

#[test]
fn a_follower_below_the_leaders_start_begins_anew() {
    let mut world = World::with(3, None);
    world.isolate(3);
    world.decide_isr(&[1, 2]);
    world.publish(1);
    world.advance(30_001);
    for value in ["a", "b", "c"] {
        world.send_acked(1, value);
    }
    world.delete_records(1, 2, 1);
    world.publish_all();
    world.heal();
    world.advance(3_000);
    assert_eq!(world.log(3), ["c@0"]);
    assert_eq!(
        (world.partition(3).log().log_start_offset(), world.high_watermark(3)),
        (2, 3)
    );
}

#[test]
fn the_fetches_of_replicas_name_epochs_and_incarnation() {
    let mut world = World::silent(2, Rules::NONE, |_| {});
    world.publish(1);
    world.send(1, "a", 1);
    world.publish(2);
    let RequestKind::Fetch(request) = &world.calls[0].1.request else {
        panic!()
    };
    let epoch = world.broker_epoch(2);
    assert_eq!(
        (request.replica_state.replica_id.0, request.replica_state.replica_epoch),
        (2, epoch)
    );
    assert_eq!(request.topics[0].topic_id, P.topic);
    let partition = &request.topics[0].partitions[0];
    assert_eq!(
        (
            partition.current_leader_epoch,
            partition.last_fetched_epoch,
            partition.fetch_offset
        ),
        (0, -1, 0)
    );
    world.run();
    // KAFKA-15510: the epoch of what it has stays in the fetch, also after an empty answer.
    world.cut.insert((2, 1));
    world.advance(600);
    let RequestKind::Fetch(request) = &world.calls[0].1.request else {
        panic!()
    };
    let partition = &request.topics[0].partitions[0];
    assert_eq!((partition.last_fetched_epoch, partition.fetch_offset), (0, 1));
}

#[test]
fn a_batch_that_comes_again_waits_for_replicas_as_it_did_the_first_time() {
    let mut world = World::with(3, None);
    world.isolate(2);
    let first = world.send_sequence(1, &["a", "b"], 0);
    let again = world.send_sequence(1, &["a", "b"], 0);
    assert_eq!((world.produced(first), world.produced(again)), (None, None));
    world.heal();
    world.run();
    assert_eq!(world.produced(first), Some((codes::NONE, 0)));
    assert_eq!(world.produced(again), Some((codes::NONE, 0)));
    assert_eq!(world.log(3), ["a@0", "b@0"]);
    let late = world.send_sequence(1, &["a", "b"], 0);
    assert_eq!(world.produced(late), Some((codes::NONE, 0)), "it has been replicated");
    let gap = world.send_sequence(1, &["d"], 3);
    assert_eq!(world.produced(gap), Some((codes::OUT_OF_ORDER_SEQUENCE_NUMBER, -1)));
}

#[test]
fn a_new_leader_knows_what_it_has_copied_and_takes_what_it_has_not() {
    let mut world = World::with(3, None);
    world.send_sequence(1, &["a"], 0);
    world.run();
    world.isolate(1);
    let lost = world.send_sequence(1, &["b"], 1);
    world.decide(2, &[1, 2, 3]);
    for id in [2, 3] {
        world.publish(id);
    }
    let known = world.send_sequence(2, &["a"], 0);
    let taken = world.send_sequence(2, &["b"], 1);
    world.publish(1);
    world.heal();
    world.advance(2_000);
    assert_eq!(world.produced(lost), Some((codes::NOT_LEADER_OR_FOLLOWER, -1)));
    assert_eq!(world.produced(known), Some((codes::NONE, 0)));
    assert_eq!(world.produced(taken), Some((codes::NONE, 1)));
    for id in 1..=3 {
        assert_eq!(world.log(id), ["a@0", "b@1"]);
        let state = world.partition(id).log().producers().get(7).copied();
        let batches = state.unwrap();
        assert_eq!(batches.batches().len(), 2, "at {id}: the cut took the first b back");
    }
}
