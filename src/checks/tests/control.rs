//! X3, X7, D6.

use super::*;

#[test]
fn x7_states_that_are_not_well_formed() {
    let base = || state(0, 0, 1, &[0, 1, 2]);
    let stranger = PartitionState {
        isr: ids(&[0, 1, 2]),
        replicas: ids(&[0, 1]),
        ..base()
    };
    let cases = [
        ("isr outside replicas", stranger),
        ("isr and elr overlap", with_elr(state(0, 0, 1, &[0]), &[0, 1])),
        ("twice", state(0, 0, 1, &[0, 1, 1])),
        ("leader not in isr", state(0, 0, 1, &[1, 2])),
        (
            "elr although the isr is large enough",
            with_elr(state(0, 0, 1, &[0, 1]), &[2]),
        ),
        ("partition epoch skips", state(0, 0, 2, &[0, 1])),
        ("leader epoch falls", state(0, -1, 1, &[0, 1])),
        ("leader changes in its epoch", state(1, 0, 1, &[0, 1])),
    ];
    for (what, next) in cases {
        let mut story = Story::begun(2);
        story.decide(next, false);
        assert_eq!(story.found(), ["X7"], "{what}");
    }
    let mut lawful = Story::begun(2);
    lawful.decide(state(0, 0, 1, &[0, 1]), false);
    lawful.decide(with_elr(state(0, 0, 2, &[0]), &[1]), false);
    lawful.decide(with_elr(state(1, 1, 3, &[1]), &[0]), false);
    lawful.silent(&["X7"]);
}

#[test]
fn x7_a_fenced_broker_is_taken_in() {
    let mut story = Story::begun(1);
    story.decide(state(0, 0, 1, &[0, 1]), false);
    story.tick();
    story.register(2, 7);
    let mut unfenced = Story {
        checks: story.checks.clone(),
        time: story.time,
        idempotent: true,
    };
    story.decide(state(0, 0, 2, &[0, 1, 2]), false);
    story.fires(&["X7"]);
    // Unfenced in the same step, whatever the order.
    unfenced.decide(state(0, 0, 2, &[0, 1, 2]), false);
    unfenced.unfence(2, 7);
    unfenced.silent(&["X7"]);
}

#[test]
fn x7_two_states_of_one_partition_epoch() {
    let mut story = Story::begun(1);
    story.follow(1, state(0, 0, 1, &[0, 1]), 0);
    story.silent(&["X7"]);
    story.follow(2, state(0, 0, 1, &[0, 2]), 0);
    story.fires(&["X7"]);
}

#[test]
fn x7_a_new_controller_builds_on_what_was_committed() {
    let mut story = Story::begun(1);
    // Decided, never committed, lost with its controller.
    story.decide(state(0, 0, 1, &[0, 1]), false);
    story.decide_as(1, 2, state(0, 0, 1, &[0, 2]), false);
    story.tick();
    story.note(
        0,
        Note::IsrUpdated {
            partition: TP,
            state: state(0, 0, 1, &[0, 2]),
        },
    );
    story.silent(&["X7", "X3"]);
}

#[test]
fn x7_what_one_controller_lacks_the_one_after_it_may_have() {
    let begins = |story: &mut Story, node: usize, epoch: i32| {
        story.tick();
        let (epoch, epoch_start_offset) = (LeaderEpoch(epoch), 1);
        story.note(
            node,
            Note::BecameQuorumLeader {
                epoch,
                epoch_start_offset,
            },
        );
    };
    let decided = |before: PartitionState, next: PartitionState| {
        let mut story = Story::begun(1);
        metadata(&mut story, 2, 0, 1, "a decision");
        story.decide(before, false);
        // Controller 1 has not the decision and commits nothing, controller 2 has it.
        begins(&mut story, 1, 2);
        begins(&mut story, 2, 3);
        story.decide_as(2, 3, next, false);
        story
    };
    decided(state(0, 0, 1, &[0, 1]), state(0, 0, 2, &[0])).silent(&["X7"]);
    decided(state(0, 0, 1, &[0, 1]), state(0, 0, 3, &[0])).fires(&["X7"]);
}

#[test]
fn x7_a_replaced_controller_obeys_what_is_taken_back() {
    let elr = |newest: i32| {
        let mut story = Story::begun(2);
        story.tick();
        let (epoch, epoch_start_offset) = (LeaderEpoch(newest), 0);
        story.note(
            0,
            Note::BecameQuorumLeader {
                epoch,
                epoch_start_offset,
            },
        );
        let mut large_enough = state(0, 0, 1, &[0, 1]);
        large_enough.elr = vec![NodeId(3)];
        story.decide(large_enough, false);
        story
    };
    elr(2).silent(&["X7"]);
    elr(1).fires(&["X7"]);
}

#[test]
fn x3_a_lagging_replica_joins() {
    // KAFKA-7128: broker 2 joins at a lagging high watermark.
    let mut story = Story::begun(1);
    story.decide(state(0, 0, 1, &[0, 1]), false);
    story.tick();
    story.note(
        0,
        Note::IsrUpdated {
            partition: TP,
            state: state(0, 0, 1, &[0, 1]),
        },
    );
    story.append(0, 0, 0, &["a"]);
    story.copy(1, 0, 0, &["a"], true);
    story.high(0, 1, true, 0);
    story.stop(0, StopKind::Killed);
    story.lead(1, state(1, 1, 2, &[1]), 1, 0);
    story.silent(&["X3"]);
    story.decide(state(1, 1, 3, &[1, 2]), false);
    story.tick();
    story.note(
        1,
        Note::IsrUpdated {
            partition: TP,
            state: state(1, 1, 3, &[1, 2]),
        },
    );
    story.fires(&["X3"]);
}

/// Broker 1 was in sync, lost its records in a power failure and is known to the controller again.
fn reincarnated() -> Story {
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.stop(1, StopKind::PowerLost);
    story.decide(state(0, 0, 1, &[0, 2]), false);
    story.tick();
    story.note(
        0,
        Note::IsrUpdated {
            partition: TP,
            state: state(0, 0, 1, &[0, 2]),
        },
    );
    story.start(1);
    story.open(1, 0, 0, false);
    story.content(1, &[]);
    story
}

#[test]
fn d6_an_empty_reincarnation_joins_the_isr() {
    // KIP-903: a delayed AlterPartition names broker 1 without its epoch.
    let mut story = reincarnated();
    story.tick();
    story.register(1, 6);
    story.silent(&["D6"][..0]);
    story.decide(state(0, 0, 2, &[0, 1, 2]), false);
    assert!(story.found().contains(&"D6"), "{:?}", story.found());
}

#[test]
fn d6_is_silent_when_it_has_caught_up_or_the_controller_cannot_know() {
    let mut caught_up = reincarnated();
    caught_up.tick();
    caught_up.register(1, 6);
    caught_up.tick();
    caught_up.unfence(1, 6);
    caught_up.follow(1, state(0, 0, 1, &[0, 2]), 0);
    caught_up.copy(1, 0, 0, &["a"], true);
    caught_up.decide(state(0, 0, 2, &[0, 1, 2]), false);
    caught_up.silent(&["D6", "X7"]);
    let mut unknown = reincarnated();
    unknown.decide(state(0, 0, 2, &[0, 1, 2]), false);
    unknown.silent(&["D6"]);
}

#[test]
fn d6_let_in_again_and_still_in_the_isr() {
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.power_cycle(1, 0, &[]);
    story.register(1, 6);
    story.silent(&[]);
    story.tick();
    story.unfence(1, 6);
    story.fires(&["D6"]);
}

/// Broker 1 is in the ISR by decisions of controller 2, loses its records, and is let in again under controller 0.
fn let_in_by_the_next_controller(inherited: bool) -> Story {
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.decide(state(0, 0, 1, &[0, 1]), false);
    story.decide(state(0, 0, 2, &[0, 1, 2]), false);
    if inherited {
        metadata(&mut story, 0, 0, 1, "both decisions");
    }
    story.power_cycle(1, 0, &[]);
    story.tick();
    story.note(
        0,
        Note::BecameQuorumLeader {
            epoch: LeaderEpoch(2),
            epoch_start_offset: i64::from(inherited),
        },
    );
    story
}

/// Controller 0 knows the new incarnation of broker 1, and lets it in.
fn let_in(story: &mut Story) {
    for fenced in [true, false] {
        story.tick();
        story.note(
            0,
            Note::BrokerDecided {
                broker: NodeId(2),
                broker_epoch: BrokerEpoch(6),
                fenced,
                in_controlled_shutdown: false,
            },
        );
    }
}

#[test]
fn d6_does_not_believe_decisions_that_the_next_controller_never_saw() {
    let mut story = let_in_by_the_next_controller(false);
    story.note(
        0,
        Note::PartitionDecided {
            partition: TP,
            state: state(0, 0, 1, &[0, 2]),
            unclean: false,
            epoch: LeaderEpoch(2),
        },
    );
    story.tick();
    story.note(
        0,
        Note::IsrUpdated {
            partition: TP,
            state: state(0, 0, 1, &[0, 2]),
        },
    );
    let_in(&mut story);
    story.silent(&[]);
    let mut inherited = let_in_by_the_next_controller(true);
    let_in(&mut inherited);
    inherited.fires(&["D6"]);
}

#[test]
fn d6_an_unclean_election_takes_who_is_there() {
    // Broker 2 holds everything, but is fenced. What the election loses is judged when broker 1 leads (X5).
    for (unclean, found) in [(true, vec![]), (false, vec!["D6"])] {
        let mut story = Story::begun(1);
        story.write(0, "a");
        story.stop(0, StopKind::Killed);
        story.power_cycle(1, 0, &[]);
        story.register(1, 6);
        story.decide(state(1, 1, 1, &[1]), unclean);
        story.unfence(1, 6);
        assert_eq!(story.found(), found, "{unclean}");
    }
}

/// Two are in sync by a decision of controller 2, and only one by the next, of controller 0. Then both lose everything,
/// and the last leader leads again. Broker 2 still holds what they had committed.
fn both_lose_all(inherited: bool) -> Story {
    let mut story = Story::begun(2);
    story.write(0, "a");
    story.decide(state(0, 0, 1, &[0, 1]), false);
    let next = if inherited {
        metadata(&mut story, 0, 0, 1, "the decision");
        with_elr(state(0, 0, 2, &[0]), &[1])
    } else {
        with_elr(state(0, 0, 1, &[0]), &[1, 2])
    };
    story.tick();
    story.note(
        0,
        Note::BecameQuorumLeader {
            epoch: LeaderEpoch(2),
            epoch_start_offset: i64::from(inherited),
        },
    );
    story.decide_as(0, 2, next.clone(), false);
    story.tick();
    story.note(
        0,
        Note::IsrUpdated {
            partition: TP,
            state: next.clone(),
        },
    );
    story.power_cycle(1, 0, &[]);
    story.power_cycle(0, 0, &[]);
    let again = PartitionState {
        leader_epoch: LeaderEpoch(1),
        partition_epoch: PartitionEpoch(next.partition_epoch.0 + 1),
        elr: Vec::new(),
        ..next
    };
    story.decide_as(0, 2, again.clone(), false);
    story.lead(0, again, 0, 0);
    story
}

/// Controller 2 resigned before it could write what it had decided; its successor has snapshotted since.
#[test]
fn a_decision_that_was_never_written_is_not_inherited_though_the_log_there_is_gone() {
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.decide(with_elr(state(0, 0, 1, &[0]), &[1]), false);
    story.tick();
    story.note(
        0,
        Note::BecameQuorumLeader {
            epoch: LeaderEpoch(2),
            epoch_start_offset: 0,
        },
    );
    metadata(&mut story, 0, 0, 2, "its own");
    story.tick();
    story.note(
        0,
        Note::LogStartAdvanced {
            partition: METADATA_PARTITION,
            to: 1,
        },
    );
    let at = story.checks.partition(TP);
    assert_eq!(story.checks.ghost.partitions[at].pending.len(), 1);
    assert_eq!(
        story.checks.in_force(at).map(|(state, _)| state.partition_epoch),
        Some(0)
    );
}

/// What a controller decided is written where another one's record was committed; a third has snapshotted since.
#[test]
fn a_decision_in_whose_place_another_record_was_committed_is_not_inherited() {
    let in_force = |writes: i32| {
        let mut story = Story::begun(1);
        story.write(0, "a");
        story.decide(with_elr(state(0, 0, 1, &[0]), &[1]), false);
        metadata(&mut story, 1, 0, writes, "at its place");
        for (epoch, epoch_start_offset) in [(2, 0), (3, 1)] {
            story.tick();
            story.note(
                1,
                Note::BecameQuorumLeader {
                    epoch: LeaderEpoch(epoch),
                    epoch_start_offset,
                },
            );
        }
        story.tick();
        story.note(
            1,
            Note::QuorumCommitted {
                high_watermark: 1,
                epoch: LeaderEpoch(3),
                as_leader: true,
            },
        );
        story.note(
            1,
            Note::LogStartAdvanced {
                partition: METADATA_PARTITION,
                to: 1,
            },
        );
        let at = story.checks.partition(TP);
        story.checks.in_force(at).map(|(state, _)| state.partition_epoch)
    };
    assert_eq!(in_force(1), Some(1), "its own record");
    assert_eq!(in_force(2), Some(0), "another's");
}

#[test]
fn what_the_next_controller_has_inherited_decides_who_guards() {
    both_lose_all(true).silent(&["X5"]);
    both_lose_all(false).fires(&["D6", "X5"]);
}

/// Node 1 is elected and dies before anybody hears of it. Node 2, which it had replaced, decides, is elected again with
/// what it wrote, and builds on that.
#[test]
fn x7_what_a_replaced_controller_decided_stands_if_it_is_elected_again() {
    let decided_in = |heard: bool| {
        let mut story = Story::begun(1);
        for (node, epoch) in [(2, 1), (1, 2)] {
            story.tick();
            story.note(
                node,
                Note::BecameQuorumLeader {
                    epoch: LeaderEpoch(epoch),
                    epoch_start_offset: 0,
                },
            );
        }
        if heard {
            story.decide(state(0, 0, 1, &[0, 1]), false);
        }
        story.tick();
        story.note(
            2,
            Note::BecameQuorumLeader {
                epoch: LeaderEpoch(3),
                epoch_start_offset: 0,
            },
        );
        story.decide_as(2, 3, state(0, 0, 2, &[0]), false);
        story
    };
    decided_in(true).silent(&["X7"]);
    decided_in(false).fires(&["X7"]);
}

/// The active controller, node 2, stops, and the next one, node 1, decides on top of a partition epoch nobody heard of.
fn decided_after(stop: StopKind, partition_epoch: i32) -> Story {
    let mut story = Story::begun(1);
    story.tick();
    for (node, epoch) in [(2, 1), (1, 2)] {
        if node == 1 {
            story.stop(2, stop);
        }
        story.note(
            node,
            Note::BecameQuorumLeader {
                epoch: LeaderEpoch(epoch),
                epoch_start_offset: 0,
            },
        );
    }
    story.decide_as(1, 2, state(0, 0, partition_epoch, &[0, 1]), false);
    story
}

#[test]
fn x7_what_a_controller_decided_in_the_step_that_killed_it_nobody_was_told() {
    decided_after(StopKind::KilledMidStep, 2).silent(&["X7"]);
    decided_after(StopKind::KilledMidStep, 0).fires(&["X7"]);
    decided_after(StopKind::Killed, 2).fires(&["X7"]);
    // Once for a partition: the next decision follows the one that was heard.
    let mut again = decided_after(StopKind::KilledMidStep, 2);
    again.decide_as(1, 2, state(0, 0, 4, &[0]), false);
    again.fires(&["X7"]);
}

#[test]
fn x7_an_answer_does_not_carry_the_elr() {
    let mut story = Story::begun(2);
    let shrunk = with_elr(state(0, 0, 1, &[0]), &[1, 2]);
    story.decide(shrunk.clone(), false);
    story.tick();
    story.note(
        0,
        Note::IsrUpdated {
            partition: TP,
            state: state(0, 0, 1, &[0]),
        },
    );
    story.follow(1, shrunk, 0);
    story.silent(&["X7"]);
    let at = story.checks.partition(TP);
    assert_eq!(story.checks.ghost.partitions[at].state.unwrap().elr, 0b110);
}

#[test]
fn x7_several_brokers_are_fenced_in_one_step() {
    let mut story = Story::begun(1);
    story.tick();
    for (node, epoch) in [(0, 1), (1, 2)] {
        story.register(node, 7);
        story.note(
            2,
            Note::PartitionDecided {
                partition: TP,
                state: state(node + 1, epoch, epoch, &[1, 2][node..]),
                unclean: false,
                epoch: LeaderEpoch(1),
            },
        );
    }
    story.silent(&["X7"]);
}

#[test]
fn x7_a_creation_is_decided_again_by_the_next_controller() {
    let mut story = Story::new(1);
    story.decide(state(0, 0, 0, &[0, 1, 2]), false);
    story.decide_as(1, 2, state(0, 0, 0, &[0, 1]), false);
    story.silent(&["X7"]);
}
