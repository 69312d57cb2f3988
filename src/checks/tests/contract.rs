//! X5, X14, D6 and the verdict on losses: permitted or a bug.

use super::*;

/// `a` acknowledged with broker 0 as leader and ISR as given; the others have left the ISR before the write.
fn acked_alone(isr: &[usize], min: u32) -> Story {
    acked_alone_with(
        isr,
        TopicPromise {
            min_insync_replicas: min,
            ..TopicPromise::default()
        },
    )
}

fn acked_alone_with(isr: &[usize], promise: TopicPromise) -> Story {
    let mut story = Story::with(promise);
    story.begin();
    let shrunk = state(0, 0, 1, isr);
    story.decide(shrunk.clone(), false);
    story.tick();
    story.note(
        0,
        Note::IsrUpdated {
            partition: TP,
            state: shrunk.clone(),
        },
    );
    story.invoke("a", -1);
    story.append(0, 0, 0, &["a"]);
    for node in isr.iter().filter(|node| **node != 0) {
        story.copy(*node, 0, 0, &["a"], true);
    }
    story.high(0, 1, true, 0);
    story.answer(0, 0, 0, Some(shrunk), 0, 1);
    story.acked("a", Some(0));
    story
}

fn permitted(story: &Story) -> Vec<bool> {
    story
        .checks
        .losses()
        .iter()
        .map(|loss| loss.permitted.is_some())
        .collect()
}

#[test]
fn a_leader_from_outside_the_isr_without_permission() {
    let mut story = acked_alone(&[0], 1);
    story.stop(0, StopKind::Killed);
    let stolen = state(1, 1, 2, &[1]);
    story.decide(stolen.clone(), true);
    story.lead(1, stolen, 0, 0);
    story.finish();
    story.fires(&["C4", "X5"]);
    assert_eq!(permitted(&story), [false]);
}

#[test]
fn an_unclean_election_that_the_topic_permits() {
    let mut story = acked_alone_with(
        &[0],
        TopicPromise {
            unclean_leader_election: true,
            ..TopicPromise::default()
        },
    );
    story.polled(CLIENT, 0, &["a"]);
    story.stop(0, StopKind::Killed);
    let stolen = state(1, 1, 2, &[1]);
    story.decide(stolen.clone(), true);
    story.lead(1, stolen.clone(), 0, 0);
    story.invoke("b", -1);
    story.append(1, 0, 1, &["b"]);
    story.high(1, 1, true, 1);
    story.answer(1, 0, 0, Some(stolen.clone()), 1, 1);
    story.acked("b", Some(0));
    // The old leader returns, with the high watermark of its lost record, and truncates.
    story.start(0);
    story.open(0, 1, 0, false);
    story.follow(0, stolen, 1);
    story.truncate(0, 1, 0);
    story.lower(0, 0);
    story.copy(0, 0, 1, &["b"], true);
    story.high(0, 1, false, 1);
    story.polled(VERIFIER, 0, &["b"]);
    story.finish();
    story.silent(&["X1", "X5", "C1", "C3", "X14"]);
    assert_eq!(permitted(&story), [true]);
    let reason = story.checks.losses()[0].permitted.clone().unwrap();
    assert!(reason.contains("unclean"), "{reason}");
    assert_eq!(
        (
            story.checks.marks().count("unclean_election"),
            story.checks.marks().count("permitted_loss") > 0
        ),
        (1, true)
    );
}

#[test]
fn the_only_copy_is_lost_in_a_power_failure() {
    // min.insync.replicas=1, ISR = {leader}: unsynced data of that leader was all there was.
    let mut story = acked_alone(&[0], 1);
    story.power_cycle(0, 0, &[]);
    story.register(0, 5);
    let again = state(0, 1, 2, &[0]);
    story.decide(again.clone(), true);
    story.lead(0, again, 0, 0);
    story.finish();
    story.silent(&["X5", "C3", "X14", "D1"]);
    assert_eq!(permitted(&story), [true]);
    let reason = story.checks.losses()[0].permitted.clone().unwrap();
    assert!(reason.contains("power failure"), "{reason}");
}

#[test]
fn the_only_copy_survives_a_kill_so_its_loss_is_a_bug() {
    // KIP-966: ISR = {leader}; a kill damages nothing.
    let mut lawful = acked_alone(&[0], 1);
    lawful.stop(0, StopKind::Killed);
    lawful.start(0);
    lawful.open(0, 1, 0, false);
    let again = state(0, 1, 2, &[0]);
    lawful.decide(again.clone(), true);
    lawful.lead(0, again, 1, 1);
    lawful.polled(VERIFIER, 0, &["a"]);
    lawful.finish();
    lawful.silent(&["X5", "C3"]);
    assert!(lawful.checks.losses().is_empty());

    let mut story = acked_alone(&[0], 1);
    story.stop(0, StopKind::Killed);
    story.start(0);
    story.open(0, 0, 0, false);
    story.content(0, &[]);
    let again = state(0, 1, 2, &[0]);
    story.decide(again.clone(), true);
    story.lead(0, again, 0, 0);
    story.finish();
    assert_eq!(permitted(&story), [false]);
    assert!(
        story.found().contains(&"D1") && story.found().contains(&"X14"),
        "{:?}",
        story.found()
    );
}

#[test]
fn last_replica_standing_is_elected_with_a_truncated_log() {
    // KIP-966 without ELR: brokers 1 and 2 left the ISR in good health, so they still guard what they hold.
    let mut story = Story::begun(2);
    story.write(0, "a");
    let alone = state(0, 0, 1, &[0]);
    story.decide(alone.clone(), false);
    story.tick();
    story.note(
        0,
        Note::IsrUpdated {
            partition: TP,
            state: alone,
        },
    );
    story.power_cycle(0, 0, &[]);
    story.register(0, 9);
    let again = state(0, 1, 2, &[0]);
    story.decide(again.clone(), false);
    story.lead(0, again.clone(), 0, 0);
    let found = story.found();
    assert_eq!(found, ["D6", "X5"]);
    story.follow(1, again.clone(), 1);
    story.follow(2, again, 1);
    story.truncate(1, 1, 0);
    story.lower(1, 0);
    story.truncate(2, 1, 0);
    story.lower(2, 0);
    story.finish();
    assert_eq!(permitted(&story), [false]);
    assert!(story.found().contains(&"X14"), "{:?}", story.found());
}

#[test]
fn eligible_replicas_guard_and_are_elected() {
    let mut story = Story::begun(2);
    story.write(0, "a");
    let alone = with_elr(state(0, 0, 1, &[0]), &[1, 2]);
    story.decide(alone.clone(), false);
    story.tick();
    story.note(
        0,
        Note::IsrUpdated {
            partition: TP,
            state: alone,
        },
    );
    story.power_cycle(0, 0, &[]);
    story.register(0, 9);
    let next = with_elr(state(1, 1, 2, &[1]), &[2]);
    story.decide(next.clone(), false);
    story.lead(1, next.clone(), 1, 1);
    story.follow(0, next, 0);
    story.copy(0, 0, 0, &["a"], true);
    story.polled(VERIFIER, 0, &["a"]);
    story.finish();
    story.silent(&["X3", "X5", "X7"]);
    assert_eq!(story.checks.marks().count("elr_used"), 1);
    assert_eq!(story.checks.marks().count("committed_records_lost_on_a_replica"), 1);
}

#[test]
fn all_in_sync_replicas_lose_power_at_once() {
    let mut story = acked_alone(&[0, 1], 2);
    story.stop(0, StopKind::PowerLost);
    story.stop(1, StopKind::PowerLost);
    for node in [0, 1] {
        story.start(node);
        story.open(node.into(), 0, 0, false);
        story.content(node, &[]);
    }
    let again = state(0, 1, 2, &[0]);
    story.decide(again.clone(), true);
    story.lead(0, again, 0, 0);
    story.finish();
    story.silent(&["X5", "X14", "C3"]);
    assert_eq!(permitted(&story), [true]);
}

/// Broker 1 joins the ISR {0, 2}, by a decision that is committed only when all three have stopped uncleanly: it with its
/// data, the others without, and one of the others is elected.
#[test]
fn a_join_that_was_decided_before_the_stop_guards_nothing_after_it() {
    let story = |join_first: bool| {
        let mut story = acked_alone(&[0, 2], 2);
        story.copy(1, 0, 0, &["a"], true);
        let joined = state(0, 0, 2, &[0, 1, 2]);
        if join_first {
            story.decide(joined.clone(), false);
        }
        story.stop(1, StopKind::Killed);
        story.start(1);
        story.open(1, 1, 0, false);
        if !join_first {
            story.decide(joined.clone(), false);
        }
        story.follow(1, joined, 0);
        story.power_cycle(0, 0, &[]);
        story.power_cycle(2, 0, &[]);
        let again = state(0, 1, 3, &[0]);
        story.decide(again.clone(), true);
        story.lead(0, again, 0, 0);
        story
    };
    story(true).silent(&["X5"]);
    assert!(story(false).found().contains(&"X5"));
}

#[test]
fn one_of_two_in_sync_replicas_loses_power_and_leads() {
    let mut story = acked_alone(&[0, 1], 2);
    story.power_cycle(0, 0, &[]);
    let again = state(0, 1, 2, &[0, 1]);
    story.decide(again.clone(), false);
    story.lead(0, again, 0, 0);
    story.finish();
    assert_eq!(story.found(), ["C4", "D6", "X5"]);
    assert_eq!(permitted(&story), [false]);
}

#[test]
fn a_clean_stop_vouches_for_a_copy_only_if_the_broker_was_registered() {
    // Broker 1 holds the record and restarts cleanly; broker 0 loses its copy in a power failure and leads.
    let restarted = |registered: bool| {
        let mut story = acked_alone(&[0, 1], 2);
        if registered {
            story.tick();
            story.note(
                1,
                Note::BrokerRegistered {
                    broker_epoch: BrokerEpoch(3),
                },
            );
        }
        story.flush(1, 1);
        story.note(1, Note::ShutdownCompleted);
        story.stop(1, StopKind::Exited { clean: true });
        story.start(1);
        story.open(1, 1, 1, true);
        story.power_cycle(0, 0, &[]);
        let again = state(0, 1, 2, &[0]);
        story.decide(again.clone(), true);
        story.lead(0, again, 0, 0);
        story
    };
    restarted(false).silent(&["X5"]);
    assert_eq!(restarted(true).found(), ["D6", "X5"]);
}

#[test]
fn flush_before_ack_does_not_permit_what_kafkas_default_does() {
    let mut story = acked_alone_with(
        &[0],
        TopicPromise {
            flush_messages: 1,
            ..TopicPromise::default()
        },
    );
    story.power_cycle(0, 0, &[]);
    let again = state(0, 1, 2, &[0]);
    story.decide(again.clone(), true);
    story.lead(0, again, 0, 0);
    story.finish();
    assert_eq!(story.found(), ["C4", "D2", "X14", "X5"]);
    assert_eq!(permitted(&story), [false]);
}

#[test]
fn a_wiped_disk_permits_what_no_policy_covers() {
    let mut story = acked_alone_with(
        &[0],
        TopicPromise {
            flush_messages: 1,
            ..TopicPromise::default()
        },
    );
    // Only brokers, so that the quorum's own promise is not touched.
    story.checks.context.voters = vec![3];
    story.stop(0, StopKind::Killed);
    story.damage(0, "disk_wiped");
    story.start(0);
    story.open(0, 0, 0, false);
    story.content(0, &[]);
    let again = state(0, 1, 2, &[0]);
    story.decide(again.clone(), true);
    story.lead(0, again, 0, 0);
    story.finish();
    story.silent(&["X5"]);
    let reason = story.checks.losses()[0].permitted.clone().unwrap();
    assert!(reason.contains("disk_wiped"), "{reason}");
}

#[test]
fn acks_1_is_lost_by_failover_only() {
    let mut story = Story::begun(1);
    story.invoke("a", 1);
    story.append(0, 0, 0, &["a"]);
    story.acked("a", Some(0));
    let mut stays = Story {
        checks: story.checks.clone(),
        time: story.time,
        idempotent: true,
    };
    stays.finish();
    stays.fires(&["C4"]);
    assert_eq!(permitted(&stays), [false]);
    story.stop(0, StopKind::Killed);
    let next = state(1, 1, 1, &[1, 2]);
    story.decide(next.clone(), false);
    story.lead(1, next, 0, 0);
    story.finish();
    story.silent(&["X5", "C4"]);
    assert_eq!(permitted(&story), [true]);
}

#[test]
fn acks_1_that_was_never_appended_is_no_failover() {
    let mut story = Story::begun(1);
    story.invoke("a", 1);
    story.acked("a", Some(0));
    story.lead(1, state(1, 1, 1, &[0, 1, 2]), 0, 0);
    story.finish();
    assert_eq!(permitted(&story), [false]);
}

#[test]
fn acks_0_promises_nothing() {
    let mut story = Story::begun(1);
    story.invoke("a", 0);
    story.acked("a", None);
    story.finish();
    story.silent(&["C3"]);
    assert_eq!(permitted(&story), [true]);
}

#[test]
fn an_old_leader_acknowledges_what_the_new_one_lacks() {
    let mut story = Story::begun(1);
    story.append(0, 0, 0, &["a"]);
    let next = state(1, 1, 1, &[1, 2]);
    story.decide(next.clone(), false);
    story.lead(1, next, 0, 0);
    story.answer(0, 0, 0, Some(state(0, 0, 0, &[0, 1, 2])), 0, 1);
    story.fires(&["X5"]);
}

#[test]
fn deleted_records_are_no_loss() {
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.write(1, "b");
    story.tick();
    story.note(0, Note::LogStartAdvanced { partition: TP, to: 1 });
    story.polled(VERIFIER, 1, &["b"]);
    story.finish();
    story.silent(&["C3"]);
    assert!(story.checks.losses().is_empty());
}

#[test]
fn a_deleted_topic_loses_its_records_lawfully() {
    let mut story = Story::begun(1);
    story.write(0, "a");
    for node in 0..3 {
        story.tick();
        story.note(
            node,
            Note::ReplicaStopped {
                partition: TP,
                deleted: true,
            },
        );
    }
    story.finish();
    story.silent(&["C3"]);
    assert!(story.checks.losses().is_empty());
}

/// A replica that moves away takes its files with it, and nothing else: who is left must have everything.
#[test]
fn a_replica_that_moved_away_excuses_no_loss() {
    let mut story = Story::begun(1);
    story.write(0, "a");
    let mut moved = state(1, 1, 1, &[1, 2]);
    moved.replicas = ids(&[1, 2]);
    story.decide(moved, false);
    story.tick();
    story.note(
        0,
        Note::ReplicaStopped {
            partition: TP,
            deleted: true,
        },
    );
    story.finish();
    assert_eq!(story.checks.losses().len(), 1, "nobody has read it at the end");
}

#[test]
fn what_a_replaced_leader_still_showed_is_lost_with_the_rest() {
    // The record at 1 is on all three; the leader that readers ask does not know yet that broker 1 leads, and alone.
    let lost = |shows: bool| {
        let mut story = Story::begun(2);
        story.write(0, "a");
        story.invoke("b", 1);
        story.append(0, 1, 0, &["b"]);
        for follower in [1, 2] {
            story.copy(follower, 1, 0, &["b"], false);
        }
        let alone = with_elr(state(1, 1, 1, &[1]), &[0, 2]);
        story.decide(alone.clone(), false);
        story.lead(1, alone, 2, 1);
        for follower in [1, 2] {
            story.progress(0, follower, 2, 0);
        }
        if shows {
            story.high(0, 2, true, 0);
        }
        story.polled(CLIENT, 0, &["a", "b"]);
        // Nobody can tell a kill from what takes the data, and broker 1 has lost all of its own.
        story.stop(0, StopKind::Killed);
        story.stop(2, StopKind::Killed);
        story.power_cycle(1, 0, &[]);
        story.register(1, 5);
        let again = state(1, 2, 2, &[1]);
        story.decide(again.clone(), true);
        story.lead(1, again, 0, 0);
        for value in ["c", "d"] {
            story.invoke(value, 1);
        }
        story.append(1, 0, 2, &["c", "d"]);
        story.polled(CLIENT, 0, &["c", "d"]);
        story
    };
    lost(true).silent(&["C1", "X5"]);
    lost(false).fires(&["C1"]);
}
