//! Who must hold a record before it counts as committed, and who may lead next.

use super::{P, World};
use crate::machine::CallFailed;
use crate::note::Note;
use crate::replication::codes;
use crate::rules::{Rule, Rules};
use crate::types::{NodeId, PartitionEpoch};

const LAG_MS: u64 = 30_000;

/// 3 of {1, 2, 3} falls silent for long enough to be dropped. Writes go on, or 3 would be at the log end for ever.
fn lag_behind(world: &mut World) {
    world.isolate(3);
    world.send(1, "beyond", 1);
    world.run();
    for _ in 0..20 {
        world.advance(LAG_MS / 10);
    }
}

#[test]
fn a_lagging_follower_is_proposed_out_and_still_counts_until_the_controller_agrees() {
    let mut world = World::with(3, None);
    world.send_acked(1, "a");
    lag_behind(&mut world);
    assert_eq!(world.proposed_ids(), Some(vec![1, 2]));
    assert_eq!(world.end(2), 2);
    assert_eq!(world.high_watermark(1), 1, "3 is still in the controller's ISR");
    world.commit_alter();
    // KAFKA-13091: nothing else happens, and yet the high watermark moves.
    assert_eq!(world.high_watermark(1), 2);
    assert_eq!(world.partition(1).isr(), [NodeId(1), NodeId(2)]);
}

#[test]
fn with_the_proposed_isr_alone_a_record_counts_as_committed_that_an_electable_replica_lacks() {
    let mut world = World::with(3, Some(Rule::HwFromProposedIsr));
    world.send_acked(1, "a");
    lag_behind(&mut world);
    assert_eq!(world.proposed_ids(), Some(vec![1, 2]));
    assert_eq!((world.high_watermark(1), world.end(3)), (2, 1), "KIP-497");
}

#[test]
fn a_follower_that_fetches_in_time_stays() {
    let mut world = World::with(3, None);
    for value in ["a", "b", "c"] {
        world.send_acked(1, value);
        world.advance(LAG_MS);
    }
    assert_eq!(world.proposed(), None);
}

#[test]
fn who_has_caught_up_is_proposed_in_and_counts_at_once() {
    let mut world = World::with(3, None);
    lag_behind(&mut world);
    world.commit_alter();
    assert_eq!(world.high_watermark(1), 1);
    world.heal();
    world.advance(1_000);
    let (one, two, three) = (world.broker_epoch(1), world.broker_epoch(2), world.broker_epoch(3));
    assert_eq!(world.proposed(), Some(vec![(1, one), (2, two), (3, three)]));
    // The controller may have added 3 already: from now on nothing is committed without it, however long it is silent.
    world.isolate(3);
    world.advance(LAG_MS + 1);
    let waiting = world.send(1, "b", -1);
    world.run();
    assert_eq!(world.end(2), 2);
    assert_eq!((world.high_watermark(1), world.produced(waiting)), (1, None));
    world.commit_alter();
    assert_eq!(world.high_watermark(1), 1);
    world.heal();
    assert_eq!(world.produced(waiting), Some((codes::NONE, 1)));
}

#[test]
fn the_echo_of_an_answered_change_does_not_forget_the_next_proposal() {
    let mut world = World::with(3, None);
    lag_behind(&mut world);
    world.commit_alter();
    world.heal();
    world.advance(1_000);
    assert_eq!(world.proposed_ids(), Some(vec![1, 2, 3]));
    // Metadata with the very version that the answer to the shrink had, late.
    assert_eq!(world.state().partition_epoch, PartitionEpoch(1));
    world.publish(1);
    assert!(world.partition(1).maximal_isr().contains(&NodeId(3)));
    world.commit_alter();
    assert_eq!(world.partition(1).isr(), [NodeId(1), NodeId(2), NodeId(3)]);
}

#[test]
fn metadata_that_overtakes_an_answer_wins() {
    let mut world = World::with(3, None);
    lag_behind(&mut world);
    world.decide_isr(&[1, 3]);
    world.publish(1);
    assert_eq!(world.partition(1).isr(), [NodeId(1), NodeId(3)]);
    // The answer to the proposal of before, with the version of before.
    let state = world.state_mut();
    state.partition_epoch.0 -= 1;
    state.isr = vec![NodeId(1), NodeId(2)];
    world.answer_alter(codes::NONE);
    assert_eq!(world.partition(1).isr(), [NodeId(1), NodeId(3)]);
}

#[test]
fn the_answer_to_an_overtaken_proposal_does_not_settle_the_next_one() {
    let mut world = World::with(3, None);
    lag_behind(&mut world);
    assert_eq!(world.proposed_ids(), Some(vec![1, 2]));
    // Metadata overtakes it, and 3 still lags: there is another proposal, which waits for the answer to the first.
    world.decide_isr(&[1, 2, 3]);
    world.publish(1);
    world.advance(LAG_MS);
    assert_eq!(world.alters.len(), 1);
    assert!(world.partition(1).leadership().unwrap().proposal.is_some());
    world.answer_alter(codes::NONE);
    assert!(world.partition(1).leadership().unwrap().proposal.is_some());
    assert_eq!(world.high_watermark(1), 0, "3 still counts");
    assert_eq!(world.proposed_ids(), Some(vec![1, 2]));
    world.commit_alter();
    assert_eq!(world.high_watermark(1), 1);
}

#[test]
fn errors_of_the_whole_request_are_retried_and_refusals_rest() {
    let mut world = World::with(3, None);
    lag_behind(&mut world);
    let (from, tag, request) = world.alters.pop_front().unwrap();
    world.alter_response(from, tag, Err(CallFailed::TimedOut));
    assert_eq!(world.proposed(), None);
    world.advance(50);
    let again = world.alters.front().unwrap();
    assert_eq!((again.2.clone(), again.1 == tag), (request, false));
    // The version is not the controller's: only metadata can help.
    world.answer_alter(codes::INVALID_UPDATE_VERSION);
    world.advance(5_000);
    assert_eq!(world.proposed(), None);
    assert!(world.partition(1).leadership().unwrap().proposal.is_some());
    world.decide_isr(&[1, 2, 3]);
    world.publish(1);
    assert!(world.partition(1).leadership().unwrap().proposal.is_none());
}

#[test]
fn an_ineligible_replica_puts_the_committed_state_back() {
    let mut world = World::with(3, None);
    lag_behind(&mut world);
    world.commit_alter();
    world.heal();
    world.advance(1_000);
    assert_eq!(world.partition(1).maximal_isr().len(), 3);
    world.isolate(3);
    world.answer_alter(codes::INELIGIBLE_REPLICA);
    assert_eq!(world.partition(1).maximal_isr().len(), 2);
    assert!(world.partition(1).leadership().unwrap().proposal.is_none());
}

#[test]
fn a_new_controller_is_asked_what_the_old_one_was() {
    let mut world = World::with(3, None);
    lag_behind(&mut world);
    let (_, tag, request) = world.alters.pop_front().unwrap();
    world.step(1, |manager, _, _, _, _| manager.set_controller(Some(NodeId(8))));
    world.advance(0);
    let (_, again, same) = world.alters.front().unwrap();
    assert_eq!((same, *again != tag), (&request, true));
    // The old one answers after all: nobody listens.
    world.alter_response(1, tag, Err(CallFailed::Disconnected));
    world.advance(1_000);
    assert_eq!(world.alters.len(), 1);
}

#[test]
fn fenced_leaving_and_former_brokers_do_not_join() {
    for case in 0..4 {
        let mut world = World::with(3, None);
        lag_behind(&mut world);
        world.commit_alter();
        let broker = world.image.brokers.get_mut(&NodeId(3)).unwrap();
        match case {
            0 => broker.fenced = true,
            1 => broker.in_controlled_shutdown = true,
            2 => broker.epoch.0 += 1_000,
            // It has restarted, and our metadata has not heard of it.
            _ => broker.epoch.0 -= 1,
        }
        world.publish(1);
        world.heal();
        world.advance(2_000);
        assert_eq!(world.proposed(), None, "case {case}");
    }
}

#[test]
fn a_fetch_of_an_earlier_incarnation_is_not_counted() {
    let mut world = World::with(2, None);
    world.send_acked(1, "a");
    world.image.brokers.get_mut(&NodeId(2)).unwrap().epoch.0 += 1_000;
    world.publish(1);
    let waiting = world.send(1, "b", -1);
    world.run();
    world.advance(2_000);
    assert_eq!(world.end(2), 2, "the answer to the parked fetch had it");
    assert_eq!((world.high_watermark(1), world.produced(waiting)), (1, None), "KIP-903");
    world.kill(2, false);
    world.boot(2, false);
    world.image.brokers.get_mut(&NodeId(2)).unwrap().epoch.0 += 2_000;
    let epoch = world.image.brokers[&NodeId(2)].epoch;
    world.step(2, |manager, _, _, _, _| manager.set_broker_epoch(epoch));
    world.publish_all();
    world.advance(1_000);
    assert_eq!(world.produced(waiting), Some((codes::NONE, 1)));
}

#[test]
fn the_museum_names_brokers_without_their_incarnation() {
    let mut world = World::with(3, Some(Rule::AlterPartitionNoBrokerEpoch));
    lag_behind(&mut world);
    assert_eq!(world.proposed(), Some(vec![(1, -1), (2, -1)]));
}

/// KAFKA-7128: m is committed by {1, 2}; 2 does not know it. 1 dies, 2 leads with the high watermark at 0. 3 has
/// nothing, which is no less than the high watermark.
fn joins_at_lagging_high_watermark(rule: Option<Rule>) -> Option<Vec<i32>> {
    let mut world = World::with(3, rule);
    world.isolate(3);
    world.decide_isr(&[1, 2]);
    world.publish(1);
    world.advance(LAG_MS + 1);
    world.send_acked(1, "m");
    assert_eq!(world.high_watermark(2), 0);
    world.kill(1, false);
    world.decide(2, &[1, 2]);
    world.publish(2);
    world.run();
    assert_eq!((world.end(2), world.high_watermark(2)), (1, 0));
    // One fetch of 3 from offset 0 arrives.
    world.publish(3);
    world.cut.clear();
    world.cut.insert((2, 3));
    world.run();
    world.proposed_ids()
}

#[test]
fn a_replica_must_reach_the_start_of_the_epoch_to_join() {
    assert_eq!(joins_at_lagging_high_watermark(None), None);
    assert_eq!(
        joins_at_lagging_high_watermark(Some(Rule::IsrJoinAtLaggingHw)),
        Some(vec![1, 2, 3])
    );
}

/// 1 and 2 are in sync, with a and b; 2 leads the next epoch having only a, and appends x. 1 asks from 2.
fn diverging_fetch(rule: Option<Rule>) -> i64 {
    let mut world = World::with(2, rule);
    world.send_acked(1, "a");
    world.isolate(2);
    world.send(1, "b", 1);
    world.decide(2, &[1, 2]);
    world.publish(2);
    world.send(2, "x", -1);
    world.publish(1);
    // 1 asks; the answer does not come.
    world.cut.clear();
    world.cut.insert((2, 1));
    world.run();
    assert_eq!(world.log(1), ["a@0", "b@0"]);
    world.high_watermark(2)
}

#[test]
fn a_fetch_that_diverges_is_not_progress() {
    assert_eq!(diverging_fetch(None), 0);
    assert_eq!(
        diverging_fetch(Some(Rule::CreditDivergingFetch)),
        2,
        "KAFKA-13141: x is committed, 1 does not have it"
    );
}

/// Of two in-sync replicas, where two are demanded, one is dropped. A write with acks=1.
fn below_the_minimum(rule: Option<Rule>) -> (World, i64) {
    let mut world = World::with(3, rule);
    world.set_min_isr(2);
    world.send_acked(1, "a");
    world.advance(1_000);
    world.decide_isr(&[1]);
    world.publish_all();
    world.isolate(2);
    world.isolate(3);
    world.advance(2 * LAG_MS);
    world.send(1, "b", 1);
    let high_watermark = world.high_watermark(1);
    (world, high_watermark)
}

#[test]
fn below_the_minimum_the_high_watermark_rests() {
    let (mut world, high_watermark) = below_the_minimum(None);
    assert_eq!(high_watermark, 1, "KIP-966");
    let refused = world.send(1, "c", -1);
    assert_eq!(world.produced(refused), Some((codes::NOT_ENOUGH_REPLICAS, -1)));
    assert_eq!(world.end(1), 2, "refused before the append");
    assert_eq!(below_the_minimum(Some(Rule::LastReplicaStanding)).1, 2);
}

#[test]
fn the_minimum_is_never_more_than_there_are_replicas() {
    let mut world = World::with(2, None);
    world.set_min_isr(3);
    assert_eq!(world.send_acked(1, "a"), 0);
}

#[test]
fn what_was_appended_before_the_isr_shrank_is_told_so() {
    let rules = Rules::NONE.with(Rule::LastReplicaStanding);
    let mut world = World::new(3, rules, |settings| settings.min_insync_replicas = 2);
    world.send_acked(1, "a");
    world.isolate(2);
    world.isolate(3);
    let waiting = world.send(1, "b", -1);
    for other in [2, 3] {
        world.image.brokers.get_mut(&NodeId(other)).unwrap().fenced = true;
    }
    world.decide_isr(&[1]);
    world.publish(1);
    assert_eq!(
        world.produced(waiting),
        Some((codes::NOT_ENOUGH_REPLICAS_AFTER_APPEND, -1))
    );
}

#[test]
fn a_caught_up_replica_about_to_join_holds_the_high_watermark() {
    let mut world = World::with(2, None);
    world.decide_isr(&[1]);
    world.publish_all();
    world.send(1, "a", 1);
    // 2 fetched a moment ago: the high watermark waits for it, so that it can join.
    assert_eq!(world.high_watermark(1), 0);
    world.run();
    assert_eq!(world.high_watermark(1), 1);
    // Fenced, it will not join (KAFKA-15021).
    world.isolate(2);
    world.image.brokers.get_mut(&NodeId(2)).unwrap().fenced = true;
    world.publish(1);
    world.answer_alter(codes::INELIGIBLE_REPLICA);
    world.send(1, "b", 1);
    assert_eq!(world.high_watermark(1), 2);
}

#[test]
fn proposals_are_noted_with_what_must_hold() {
    let mut world = World::with(3, None);
    lag_behind(&mut world);
    let shrink = |id, note: &Note| {
        let Note::IsrProposed {
            partition,
            isr,
            maximal_isr,
            ..
        } = note
        else {
            return false;
        };
        id == 1 && *partition == P && isr.len() == 2 && maximal_isr.len() == 3
    };
    assert_eq!(world.noted(shrink), 1);
}
