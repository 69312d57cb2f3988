//! Which records survive an election, under what we hold to be right and under each historical rule.

use super::World;
use crate::note::{Note, TruncateReason};
use crate::rules::Rule;
use crate::types::LeaderEpoch;
use crate::wire::batch;
use bytes::Bytes;
use kafka_protocol::messages::ResponseKind;

/// Both have m, and m is acknowledged; 2 has not heard yet that it is committed. 2 restarts. 1 dies. 2 leads.
fn restarted_before_it_heard(rule: Option<Rule>) -> Vec<String> {
    let mut world = World::with(2, rule);
    world.send_acked(1, "m");
    assert_eq!(
        (world.end(2), world.high_watermark(2)),
        (1, 0),
        "the news comes with the next answer"
    );
    world.restart(2);
    world.isolate(2);
    world.publish(2);
    world.kill(1, false);
    world.elect(2, &[2]);
    world.log(2)
}

#[test]
fn a_follower_keeps_what_it_does_not_know_to_be_committed() {
    assert_eq!(restarted_before_it_heard(None), ["m@0"]);
    assert!(
        restarted_before_it_heard(Some(Rule::TruncateToHw)).is_empty(),
        "KIP-101: the acknowledged record is gone"
    );
}

#[test]
fn a_returning_leader_cuts_to_where_the_logs_part() {
    let mut world = World::with(3, None);
    for value in ["a", "b"] {
        world.send_acked(1, value);
    }
    world.advance(600);
    world.isolate(1);
    world.send(1, "lost", 1);
    world.decide(2, &[2, 3]);
    world.publish(2);
    world.publish(3);
    world.run();
    world.send_acked(2, "c");
    world.send_acked(2, "d");
    world.publish(1);
    world.heal();
    world.advance(1_000);
    assert_eq!(world.log(1), ["a@0", "b@0", "c@1", "d@1"]);
    assert_eq!(world.log(2), world.log(1));
    let cut = |id, note: &Note| {
        id == 1
            && matches!(
                note,
                Note::Truncated {
                    from: 3,
                    to: 2,
                    reason: TruncateReason::Divergence,
                    ..
                }
            )
    };
    assert_eq!(world.noted(cut), 1);
}

/// 1 leads epoch 0 and writes a, which 2 copies. 2, cut off, leads epoch 1 and writes b at 1. 1 leads epoch 2 and
/// writes x at 1 and y at 2. Then 2 follows 1.
fn quick_failovers(rule: Option<Rule>) -> (Vec<String>, Vec<String>) {
    let mut world = World::with(2, rule);
    world.send_acked(1, "a");
    world.isolate(2);
    world.decide(2, &[1, 2]);
    world.publish(2);
    world.send(2, "b", 1);
    world.decide(1, &[1, 2]);
    world.publish(1);
    world.send(1, "x", 1);
    world.send(1, "y", 1);
    // 2 must have truncated nothing on its own while it was cut off.
    assert_eq!(world.log(2), ["a@0", "b@1"]);
    world.publish(2);
    world.heal();
    world.advance(3_000);
    (world.log(1), world.log(2))
}

#[test]
fn two_quick_failovers_leave_no_foreign_record() {
    let (leader, follower) = quick_failovers(None);
    assert_eq!(leader, ["a@0", "x@2", "y@2"]);
    assert_eq!(follower, leader);
    for rule in [Rule::NoFetchEpochFencing, Rule::TruncateToHw] {
        let (leader, follower) = quick_failovers(Some(rule));
        assert_eq!(follower, leader, "{}: not what this rule breaks", rule.name());
    }
}

/// 1 leads epoch 0 with a. 2, cut off with an empty log, leads epoch 1 and writes b at 0. 1 leads epoch 2: x at 1.
/// The leader's log has no epoch 1, so "the end of 1" is the start of 2, which is 1: b would stay.
fn unknown_epoch(rule: Option<Rule>) -> (Vec<String>, Vec<String>) {
    let mut world = World::with(2, rule);
    world.isolate(2);
    world.send(1, "a", 1);
    world.decide(2, &[1, 2]);
    world.publish(2);
    world.send(2, "b", 1);
    world.decide(1, &[1, 2]);
    world.publish(1);
    world.send(1, "x", 1);
    world.publish(2);
    world.heal();
    world.advance(3_000);
    (world.log(1), world.log(2))
}

#[test]
fn an_epoch_that_the_leader_never_had_is_cut_off() {
    let (leader, follower) = unknown_epoch(None);
    assert_eq!(leader, ["a@0", "x@2"]);
    assert_eq!(follower, leader);
    let (leader, follower) = unknown_epoch(Some(Rule::EpochEndOffsetV0));
    assert_eq!(leader, ["a@0", "x@2"]);
    assert_eq!(follower, ["b@1", "x@2"], "KIP-279: one offset, two records, for ever");
}

/// KAFKA-6880: 2 copies a and b from 1 in epoch 0 and is cut off. 3, without b, leads epoch 1 and writes c at 1;
/// 1 truncates b and copies c. 1 leads epoch 2 and writes d. Only then is 2 back: same leader, epoch 2.
fn zombie_fetcher(rule: Option<Rule>) -> (Vec<String>, Vec<String>) {
    let mut world = World::with(3, rule);
    world.send_acked(1, "a");
    world.isolate(3);
    world.send(1, "b", 1);
    world.run();
    world.cut.clear();
    world.isolate(2);
    assert_eq!((world.end(2), world.end(3)), (2, 1));
    world.decide(3, &[1, 3]);
    world.publish(3);
    world.publish(1);
    world.run();
    world.advance(1_000);
    world.send(3, "c", 1);
    world.run();
    world.advance(1_000);
    assert_eq!(world.log(1), ["a@0", "c@1"]);
    world.decide(1, &[1, 3]);
    world.publish(1);
    world.publish(3);
    world.run();
    world.send(1, "d", 1);
    world.publish(2);
    world.heal();
    world.advance(3_000);
    (world.log(1), world.log(2))
}

#[test]
fn a_fetch_of_an_earlier_epoch_is_fenced() {
    let (leader, follower) = zombie_fetcher(None);
    assert_eq!(leader, ["a@0", "c@1", "d@2"]);
    assert_eq!(follower, leader);
    let (leader, follower) = zombie_fetcher(Some(Rule::NoFetchEpochFencing));
    assert_eq!(leader, ["a@0", "c@1", "d@2"]);
    assert_eq!(follower, ["a@0", "b@0", "d@2"], "KAFKA-6880: it went on where it was");
}

/// All have a. 1, cut off, writes x and y; 2 leads and writes b, c and d in one batch, and deletes b, so that its log starts
/// inside the batch. The logs part below that: 1 cuts to the leader's log start and is sent the whole batch.
#[test]
fn a_follower_cut_to_a_log_start_inside_a_batch_begins_where_the_batch_does() {
    let mut world = World::with(3, None);
    world.send_acked(1, "a");
    world.advance(600);
    world.isolate(1);
    world.send(1, "x", 1);
    world.send(1, "y", 1);
    world.decide(2, &[2, 3]);
    world.publish(2);
    world.publish(3);
    world.run();
    let sent = world.send_batch(2, &["b", "c", "d"], -1, 30_000);
    world.run();
    assert_eq!(world.produced(sent), Some((0, 1)));
    world.delete_records(2, 2, 1);
    world.publish(1);
    world.heal();
    world.advance(1_000);
    let cut = |id, note: &Note| id == 1 && matches!(note, Note::Truncated { from: 3, to: 2, .. });
    assert_eq!(
        world.noted(cut),
        1,
        "what is below the leader's log start does not matter"
    );
    let restarted = |id, note: &Note| id == 1 && matches!(note, Note::Restarted { at: 1, .. });
    assert_eq!(world.noted(restarted), 1);
    let log = world.partition(1).log();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (2, 4));
    assert_eq!(world.log(1), world.log(2));
    assert_eq!(world.proposed_ids(), Some(vec![2, 3, 1]), "it can join again");
}

/// A batch that overlaps what the leader still has is refused, not begun anew with.
#[test]
fn a_follower_that_holds_something_of_its_leaders_log_never_begins_anew() {
    let mut world = World::with(2, None);
    world.send_acked(1, "a");
    world.advance(600);
    world.cut.insert((1, 2));
    world.send(1, "b", 1);
    world.run();
    let mut overlapping = 0;
    for (_, to, _, answer) in &mut world.answers {
        if let (2, Ok(ResponseKind::Fetch(response))) = (*to, answer) {
            let data = &mut response.responses[0].partitions[0];
            assert_eq!(data.log_start_offset, 0);
            let values = ["p", "q"].map(|value| (0, None, Some(Bytes::from_static(value.as_bytes()))));
            let records = batch::build(&values, None, false);
            data.records = Some(batch::assign(&records, 0, LeaderEpoch(0)));
            overlapping += 1;
        }
    }
    assert_eq!(overlapping, 1);
    world.heal();
    assert_eq!(world.log(2), ["a@0"], "refused");
    world.advance(1_000);
    assert_eq!(world.log(2), ["a@0", "b@0"], "and asked for again");
    assert_eq!(world.noted(|_, note| matches!(note, Note::Restarted { .. })), 0);
}

#[test]
fn an_epoch_without_a_record_is_forgotten_by_a_leader_that_follows() {
    let mut world = World::with(2, None);
    world.send_acked(1, "a");
    // 1 leads epoch 1, in which it writes nothing; 2 never hears of it.
    world.isolate(2);
    world.decide(1, &[1, 2]);
    world.publish(1);
    world.decide(2, &[1, 2]);
    world.publish(2);
    world.publish(1);
    // KAFKA-10706: cutting at the very end must cut the epoch too, or it would diverge for ever.
    world.heal();
    world.advance(1_000);
    world.send_acked(2, "b");
    assert_eq!(world.log(1), ["a@0", "b@2"]);
}
