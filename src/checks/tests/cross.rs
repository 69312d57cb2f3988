//! X1, X2, X4, X6, X11, I9.

use super::*;

#[test]
fn x1_a_diverged_record_below_the_high_watermark() {
    // KAFKA-14704: the follower takes the new high watermark before it truncates.
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.append(0, 1, 0, &["b"]);
    let next = state(1, 1, 1, &[1, 2]);
    story.decide(next.clone(), false);
    story.lead(1, next.clone(), 1, 1);
    story.follow(2, next.clone(), 1);
    story.append(1, 1, 1, &["c"]);
    story.copy(2, 1, 1, &["c"], true);
    story.high(1, 2, true, 1);
    story.follow(0, next, 1);
    story.silent(&["X1"]);
    story.high(0, 2, false, 1);
    story.fires(&["X1"]);
}

#[test]
fn x2_one_epoch_and_offset_two_records_or_two_histories() {
    let mut story = Story::begun(1);
    story.append(0, 0, 0, &["a"]);
    story.copy(1, 0, 0, &["a"], true);
    story.silent(&["X2"]);
    story.copy(2, 0, 0, &["b"], true);
    story.fires(&["X2"]);

    let mut history = Story::begun(1);
    history.append(0, 0, 0, &["a"]);
    history.copy(1, 0, 0, &["a"], true);
    let next = state(1, 1, 1, &[0, 1, 2]);
    history.lead(1, next.clone(), 1, 0);
    history.append(1, 1, 1, &["c"]);
    history.append(0, 1, 0, &["b"]);
    history.follow(0, next, 0);
    // Broker 0 keeps b instead of truncating and puts what follows c after it.
    history.append(1, 2, 1, &["d"]);
    history.copy(0, 2, 1, &["d"], true);
    history.fires(&["X2"]);
}

#[test]
fn x2_what_is_deleted_is_no_history() {
    // Broker 1 leads epoch 1 from offset 1 on; broker 0 comes back with a tail of epoch 0 and is cut to offset 2.
    let diverged = |deleted_to: Offset| {
        let mut story = Story::begun(1);
        for (offset, value) in [(0, "a"), (1, "b"), (2, "x")] {
            story.append(0, offset, 0, &[value]);
        }
        story.copy(1, 0, 0, &["a"], true);
        let next = state(1, 1, 1, &[1]);
        story.lead(1, next.clone(), 1, 0);
        story.append(1, 1, 1, &["c"]);
        story.append(1, 2, 1, &["d"]);
        story.high(1, 3, true, 1);
        story.tick();
        story.note(
            1,
            Note::LogStartAdvanced {
                partition: TP,
                to: deleted_to,
            },
        );
        story.follow(0, next, 0);
        story.truncate(0, 3, 2);
        story.copy(0, 2, 1, &["d"], true);
        story
    };
    diverged(2).silent(&["X2"]);
    diverged(1).fires(&["X2"]);
}

#[test]
fn x4_high_watermark_over_a_proposed_isr() {
    // KIP-497: broker 0 proposes to drop broker 2 and does not wait for the answer.
    let mut story = Story::begun(1);
    story.append(0, 0, 0, &["a"]);
    story.copy(1, 0, 0, &["a"], true);
    story.tick();
    story.note(
        0,
        Note::IsrProposed {
            partition: TP,
            isr: ids(&[0, 1]),
            maximal_isr: ids(&[0, 1, 2]),
            partition_epoch: PartitionEpoch(0),
        },
    );
    story.silent(&["X4"]);
    story.high(0, 1, true, 0);
    story.fires(&["X4"]);
}

#[test]
fn x4_is_silent_once_the_shrink_is_committed() {
    let mut story = Story::begun(1);
    story.append(0, 0, 0, &["a"]);
    story.copy(1, 0, 0, &["a"], true);
    story.decide(state(0, 0, 1, &[0, 1]), false);
    story.tick();
    story.note(
        0,
        Note::IsrUpdated {
            partition: TP,
            state: state(0, 0, 1, &[0, 1]),
        },
    );
    story.high(0, 1, true, 0);
    story.silent(&["X4", "X3"]);
    assert_eq!(story.checks.marks().count("isr_shrank"), 1);
}

/// Broker 1 has record b and its leader knows; then a power failure takes b, which nobody has committed yet, from it.
fn counted_and_lost() -> Story {
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.append(0, 1, 0, &["b"]);
    story.copy(1, 1, 0, &["b"], false);
    story.progress(0, 1, 2, 0);
    story.power_cycle(1, 1, &[made(0, 0, &["a"])]);
    story
}

/// The controller decides another ISR, and broker 0 leads on with it.
fn resize(story: &mut Story, partition_epoch: i32, isr: &[usize]) {
    story.decide(state(0, 0, partition_epoch, isr), false);
    story.tick();
    let state = state(0, 0, partition_epoch, isr);
    story.note(0, Note::IsrUpdated { partition: TP, state });
}

/// The controller's registration is committed, and broker 1 hears of it.
fn registered(story: &mut Story) {
    story.tick();
    story.register(1, 6);
    story.tick();
    let broker_epoch = BrokerEpoch(6);
    story.note(1, Note::BrokerRegistered { broker_epoch });
}

#[test]
fn x4_a_leader_may_count_what_a_power_failure_took_until_the_incarnation_is_registered() {
    // KIP-966: neither the leader nor the controller can know of it before.
    let mut story = counted_and_lost();
    resize(&mut story, 1, &[0, 1]);
    story.high(0, 2, true, 0);
    resize(&mut story, 2, &[0]);
    registered(&mut story);
    story.unfence(1, 6);
    story.follow(1, state(0, 0, 2, &[0]), 1);
    story.copy(1, 1, 0, &["b"], false);
    story.progress(0, 1, 2, 0);
    resize(&mut story, 3, &[0, 1]);
    story.silent(&["X3", "X4"]);
}

#[test]
fn x4_and_x3_a_registered_incarnation_is_still_counted_for_what_the_one_before_held() {
    let mut story = counted_and_lost();
    registered(&mut story);
    resize(&mut story, 1, &[0, 1]);
    story.silent(&["X3"]);
    story.high(0, 2, true, 0);
    story.fires(&["X4"]);
    resize(&mut story, 2, &[0, 1]);
    story.fires(&["X3", "X4"]);
}

#[test]
fn x4_only_a_fault_excuses() {
    // The same loss, but nothing has struck the disk: a process that is killed in a step loses nothing that it held.
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.append(0, 1, 0, &["b"]);
    story.copy(1, 1, 0, &["b"], false);
    story.progress(0, 1, 2, 0);
    story.stop(1, StopKind::KilledMidStep);
    story.start(1);
    story.open(1, 1, 0, false);
    story.content(1, &[made(0, 0, &["a"])]);
    resize(&mut story, 1, &[0, 1]);
    story.high(0, 2, true, 0);
    story.fires(&["X4"]);
}

#[test]
fn x4_the_union_is_not_waited_for_and_too_few_replicas() {
    let mut story = Story::begun(1);
    story.tick();
    story.note(
        0,
        Note::IsrProposed {
            partition: TP,
            isr: ids(&[0, 1]),
            maximal_isr: ids(&[0, 1]),
            partition_epoch: PartitionEpoch(0),
        },
    );
    story.fires(&["X4"]);

    let mut few = Story::begun(2);
    few.append(0, 0, 0, &["a"]);
    let alone = with_elr(state(0, 0, 1, &[0]), &[1, 2]);
    few.decide(alone.clone(), false);
    few.tick();
    few.note(
        0,
        Note::IsrUpdated {
            partition: TP,
            state: alone,
        },
    );
    few.silent(&[]);
    few.high(0, 1, true, 0);
    few.fires(&["X4"]);
}

#[test]
fn x6_two_leaders_of_one_epoch() {
    let mut story = Story::begun(1);
    story.append(0, 0, 0, &["a"]);
    story.silent(&["X6"]);
    story.lead(1, state(1, 0, 1, &[0, 1, 2]), 0, 0);
    assert!(story.found().contains(&"X6"));
}

#[test]
fn x11_credit_for_a_diverging_fetch() {
    // KAFKA-13141: broker 0 still has b where the new leader has c.
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.append(0, 1, 0, &["b"]);
    let next = state(1, 1, 1, &[0, 1, 2]);
    story.take_over(1, next, 1, 1);
    story.append(1, 1, 1, &["c"]);
    story.copy(2, 1, 1, &["c"], true);
    story.progress(1, 2, 2, 1);
    story.silent(&["X11"]);
    story.progress(1, 0, 2, 1);
    story.fires(&["X11"]);
}

#[test]
fn x11_credit_beyond_the_followers_end() {
    let mut story = Story::begun(1);
    story.append(0, 0, 0, &["a", "b"]);
    story.progress(0, 1, 0, 0);
    story.silent(&["X11"]);
    story.progress(0, 1, 1, 0);
    story.fires(&["X11"]);
}

#[test]
fn x11_is_silent_about_a_follower_that_a_power_failure_has_cut() {
    let mut story = Story::begun(1);
    story.append(0, 0, 0, &["a"]);
    story.copy(1, 0, 0, &["a"], true);
    story.stop(1, StopKind::PowerLost);
    story.progress(0, 1, 1, 0);
    story.silent(&[]);
}

/// A fetch is under way when its sender moves away: it held what it asked to go on from. Once it is back with nothing,
/// it holds nothing.
#[test]
fn i4_a_replica_that_comes_back_obeyed_no_controller_that_was_replaced() {
    let returned = |leader_epoch: i32| {
        let mut story = Story::begun(1);
        story.tick();
        story.note(
            1,
            Note::BecameQuorumLeader {
                epoch: LeaderEpoch(3),
                epoch_start_offset: 0,
            },
        );
        let moved = |leader_epoch: i32| PartitionState {
            replicas: ids(&[0, 2]),
            ..state(0, leader_epoch, 1, &[0, 2])
        };
        story.decide_as(0, 2, moved(5), false);
        story.decide_as(1, 3, moved(1), false);
        story.tick();
        story.note(
            1,
            Note::ReplicaStopped {
                partition: TP,
                deleted: true,
            },
        );
        story.decide_as(1, 3, state(0, 1, 2, &[0, 2]), false);
        story.open(1, 0, 0, false);
        story.follow(1, state(0, leader_epoch, 2, &[0, 2]), 0);
        story.found()
    };
    assert!(!returned(1).contains(&"I4"));
    assert!(returned(0).contains(&"I4"));
}

#[test]
fn x11_lets_a_fetch_be_late_and_not_false() {
    let mut story = Story::begun(1);
    story.append(0, 0, 0, &["a"]);
    story.copy(1, 0, 0, &["a"], true);
    story.progress(0, 1, 1, 0);
    let mut moved = state(0, 1, 1, &[0, 2]);
    moved.replicas = ids(&[0, 2]);
    story.decide(moved.clone(), false);
    story.tick();
    story.note(
        1,
        Note::ReplicaStopped {
            partition: TP,
            deleted: true,
        },
    );
    story.progress(0, 1, 1, 0);
    story.silent(&["X11"]);
    let back = state(0, 1, 2, &[0, 2]);
    story.decide(back.clone(), false);
    story.take_over(0, moved, 1, 0);
    story.open(1, 0, 0, false);
    story.follow(1, back, 0);
    story.progress(0, 1, 1, 1);
    story.fires(&["X11"]);
}

#[test]
fn i9_success_without_leadership_epoch_watermark_or_replicas() {
    let full = || Some(state(0, 0, 0, &[0, 1, 2]));
    let cases: [(Option<PartitionState>, i32, Offset); 5] = [
        (None, 0, 1),
        (Some(state(1, 1, 1, &[0, 1, 2])), 0, 1),
        (Some(state(0, 2, 1, &[0, 1, 2])), 0, 1),
        (full(), 0, 0),
        (Some(with_elr(state(0, 0, 1, &[0]), &[1, 2])), 0, 1),
    ];
    for (n, (view, epoch, high)) in cases.into_iter().enumerate() {
        let mut story = Story::begun(2);
        story.append(0, 0, 0, &["a"]);
        story.copy(1, 0, 0, &["a"], true);
        story.copy(2, 0, 0, &["a"], true);
        story.high(0, 1, true, 0);
        story.answer(0, 0, 0, view, epoch, high);
        assert_eq!(story.found(), ["I9"], "case {n}");
    }
    let mut lawful = Story::begun(2);
    lawful.write(0, "a");
    lawful.silent(&["I9"]);
}
