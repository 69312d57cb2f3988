//! What a disk fault on a voter of the metadata quorum excuses, and until when.

use super::quorum::{committed, flushed, leads, one_entry, voted};
use super::*;

const METADATA_LOG: &str = "__cluster_metadata-0/00000000000000000000.log";
const LOG: &str = "t-0/00000000000000000000.log";

fn metadata_opened(story: &mut Story, node: usize, end: Offset, content: &[Bytes]) {
    story.open_log(node, METADATA_PARTITION, end, 0, false);
    story.content_of(node as u16, METADATA_PARTITION, content);
}

fn led(story: &mut Story, node: usize, epoch: i32, leader: i32) {
    story.tick();
    story.note(
        node,
        Note::QuorumEpochStarted {
            epoch: LeaderEpoch(epoch),
            leader: Some(NodeId(leader)),
        },
    );
}

/// One committed entry on voters 0 and 1; then voter 1 loses its metadata and comes back without any.
fn amnesiac() -> Story {
    let mut story = one_entry();
    story.stop(1, StopKind::Killed);
    story.strike(1, "disk_wiped", None);
    story.start(1);
    metadata_opened(&mut story, 1, 0, &[]);
    story
}

#[test]
fn a_voter_that_forgot_may_vote_twice_and_elect_who_lacks_committed_entries() {
    let mut twice = amnesiac();
    voted(&mut twice, 1, 1, 3);
    twice.silent(&["X9", "D3"]);
    let mut lacking = amnesiac();
    voted(&mut lacking, 1, 2, 3);
    leads(&mut lacking, 2, 2, 0);
    lacking.silent(&["X10"]);
}

#[test]
fn a_voter_that_has_just_started_copies_what_cannot_be_from_a_damaged_leader() {
    let copied = |struck: u16| {
        let mut story = one_entry();
        story.stop(1, StopKind::Killed);
        story.strike(struck, "bit_flip", Some(METADATA_LOG));
        story.start(1);
        metadata_opened(&mut story, 1, 1, &[made(0, 1, &["entry"])]);
        // It has not said in which epoch it is.
        story.tick();
        story.note(
            1,
            Note::Appended {
                partition: METADATA_PARTITION,
                base_offset: 1 << 22,
                last_offset: 1 << 22,
                leader_epoch: LeaderEpoch(1),
                as_leader: false,
                batch: made(1 << 22, 1, &["moved"]),
            },
        );
        story.found()
    };
    assert!(!copied(0).contains(&"I1"));
    assert!(copied(2).contains(&"I1"));
}

#[test]
fn another_voter_may_not_vote_twice_and_others_may_not_truncate_by_themselves() {
    let mut story = amnesiac();
    voted(&mut story, 0, 1, 3);
    story.fires(&["X9"]);
}

#[test]
fn damage_to_a_log_of_a_topic_excuses_nothing_of_the_quorum() {
    for path in [LOG, "t-0"] {
        let mut story = one_entry();
        story.begin();
        story.stop(1, StopKind::Killed);
        story.strike(1, "bit_flip", Some(path));
        story.start(1);
        voted(&mut story, 1, 1, 3);
        story.fires(&["X9"]);
    }
}

#[test]
fn what_rests_on_the_quorum_holds_until_the_quorum_is_seen_to_break() {
    let second_leader = |story: &mut Story| {
        story.begin();
        story.lead(1, state(1, 0, 0, &[0, 1, 2]), 0, 0);
    };
    let mut whole = amnesiac();
    second_leader(&mut whole);
    assert!(whole.found().contains(&"X6"), "{:?}", whole.found());
    let mut broken = amnesiac();
    voted(&mut broken, 1, 1, 3);
    second_leader(&mut broken);
    broken.silent(&["X6"]);
    // What a single log must be rests on nobody.
    broken.append(2, 7, 0, &["gap"]);
    assert!(broken.found().contains(&"I1"));
}

/// The amnesiac voter fetches everything again and flushes it.
fn rebuilt(leader_known: bool, synced: bool) -> Story {
    let mut story = amnesiac();
    if leader_known {
        led(&mut story, 1, 1, 1);
    }
    metadata(&mut story, 1, 0, 1, "m0");
    if synced {
        flushed(&mut story, 1, 1);
    }
    story
}

#[test]
fn the_excuse_ends_when_the_voter_holds_durably_what_is_committed_and_knows_the_leader() {
    for (leader_known, synced, found) in [(true, true, vec!["X10"]), (false, true, vec![]), (true, false, vec![])] {
        let mut story = rebuilt(leader_known, synced);
        leads(&mut story, 2, 2, 0);
        assert_eq!(story.found(), found, "leader known {leader_known}, synced {synced}");
    }
}

#[test]
fn what_the_excuse_has_covered_stays_broken() {
    let mut story = amnesiac();
    voted(&mut story, 1, 1, 3);
    led(&mut story, 1, 1, 1);
    metadata(&mut story, 1, 0, 1, "m0");
    flushed(&mut story, 1, 1);
    leads(&mut story, 2, 2, 0);
    story.silent(&["X10"]);
}

#[test]
fn a_committed_entry_that_a_damaged_voter_had_counted_for() {
    let mut story = one_entry();
    for node in [0, 1] {
        metadata(&mut story, node, 1, 1, "m1");
        flushed(&mut story, node, 2);
    }
    let mut untouched = Story {
        checks: story.checks.clone(),
        time: story.time,
        idempotent: true,
    };
    story.strike(1, "lost_write", Some(METADATA_LOG));
    committed(&mut story, 0, 2, 1, true);
    story.silent(&["X10"]);
    // Damage on one voter's disk is not damage on two.
    metadata(&mut untouched, 0, 2, 1, "m2");
    flushed(&mut untouched, 0, 3);
    committed(&mut untouched, 0, 3, 1, true);
    untouched.fires(&["X10"]);
}

#[test]
fn a_voter_with_a_hole_in_its_log_does_not_hold_what_is_committed() {
    // A flipped bit in a base offset: the log of voter 2 is the longest, and lacks what was committed in between.
    let elected = |struck: bool| {
        let mut story = one_entry();
        metadata(&mut story, 2, 0, 1, "m0");
        for node in [0, 1] {
            metadata(&mut story, node, 1, 1, "m1");
            flushed(&mut story, node, 2);
        }
        committed(&mut story, 0, 2, 1, true);
        story.stop(2, StopKind::PowerLost);
        if struck {
            story.strike(2, "bit_flip", Some(METADATA_LOG));
        }
        story.start(2);
        let content = [made(0, 1, &["m0"]), made((1 << 30) - 1, 1, &["m1"])];
        metadata_opened(&mut story, 2, 1 << 30, &content);
        leads(&mut story, 2, 2, 1 << 30);
        story
    };
    let mut struck = elected(true);
    struck.silent(&["X10"]);
    struck.begin();
    struck.lead(1, state(1, 0, 0, &[0, 1, 2]), 0, 0);
    struck.silent(&["X6"]);
    assert_eq!(elected(false).found(), ["X10"]);
}

#[test]
fn epochs_rise_in_every_copy_while_an_epoch_of_the_quorum_has_one_leader() {
    let copied = |partition: TopicPartition, broken: bool, as_leader: bool| {
        let mut story = amnesiac();
        if broken {
            voted(&mut story, 1, 1, 3);
        }
        for (base, epoch) in [(0, 5), (1, 3)] {
            story.tick();
            story.note(
                1,
                Note::EpochAssigned {
                    partition,
                    epoch: LeaderEpoch(epoch),
                    start_offset: base,
                },
            );
            story.note(
                1,
                Note::Appended {
                    partition,
                    base_offset: base,
                    last_offset: base,
                    leader_epoch: LeaderEpoch(epoch),
                    as_leader,
                    batch: made(base, epoch, &["m"]),
                },
            );
        }
        story
    };
    copied(METADATA_PARTITION, true, false).silent(&["I1", "I3"]);
    assert_eq!(copied(METADATA_PARTITION, false, false).found(), ["I1", "I3"]);
    // The quorum's leader begins above all epochs of its log. That of a partition is given its epoch by the controller.
    assert!(copied(METADATA_PARTITION, true, true).found().contains(&"I1"));
    copied(TP, true, true).silent(&["I1", "I3"]);
    assert!(copied(TP, false, true).found().contains(&"I1"));
}

#[test]
fn an_invariant_of_the_controller_rests_on_one_history_of_the_metadata() {
    let controller = "somebody is in the ISR (src/kafka/controller/mod.rs:337)";
    let whole = amnesiac();
    assert_eq!(whole.checks.assertion_excused(controller), None);
    let mut broken = amnesiac();
    voted(&mut broken, 1, 1, 3);
    broken.silent(&[]);
    assert!(broken.checks.assertion_excused(controller).is_some());
    let log = "offsets only grow (src/kafka/log/append.rs:185)";
    assert_eq!(broken.checks.assertion_excused(log), None);
}

#[test]
fn damage_comes_from_who_leads_now_also_where_a_voter_has_forgotten_an_earlier_leader_of_the_epoch() {
    // Voter 0 led epoch 1. Voter 1, which forgot that, stands for it again and leads, on a disk that then changes.
    let copied = |struck: &'static str| {
        let mut story = amnesiac();
        voted(&mut story, 1, 1, 3);
        story.tick();
        leads(&mut story, 1, 1, 0);
        led(&mut story, 2, 1, 2);
        metadata(&mut story, 1, 0, 1, "m0");
        story.strike(1, "bit_flip", Some(struck));
        metadata(&mut story, 2, 1 << 20, 1, "m0");
        story.found().contains(&"I1")
    };
    assert!(!copied(METADATA_LOG));
    assert!(copied(LOG));
}
