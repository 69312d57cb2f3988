//! What a disk fault excuses, and what it does not.

use super::quorum::{committed, flushed, leads, one_entry, voted};
use super::*;

const METADATA_LOG: &str = "__cluster_metadata-0/00000000000000000000.log";
const LOG: &str = "t-0/00000000000000000000.log";

/// Two records on all three brokers, of which broker 0 leads.
fn two_records() -> Story {
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.write(1, "b");
    story
}

fn batches() -> [Bytes; 2] {
    [made(0, 0, &["a"]), made(1, 0, &["b"])]
}

fn metadata_opened(story: &mut Story, node: usize, end: Offset, content: &[Bytes]) {
    story.tick();
    story.note(
        node,
        Note::LogOpened {
            partition: METADATA_PARTITION,
            log_start_offset: 0,
            log_end_offset: end,
            recovery_point: 0,
            clean: false,
        },
    );
    story.checks.fact(Fact::LogContent {
        node: node as u16,
        partition: METADATA_PARTITION,
        batches: Bytes::from(content.concat()),
    });
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
fn a_follower_takes_what_cannot_be_from_a_damaged_leader_only() {
    let mut from_damaged = two_records();
    from_damaged.strike(0, "bit_flip", Some(LOG));
    from_damaged.copy(1, 1 << 40, 0, &["c"], false);
    from_damaged.silent(&["I1"]);
    for (node, path) in [(0, METADATA_LOG), (2, LOG)] {
        let mut story = two_records();
        story.strike(node, "bit_flip", Some(path));
        story.copy(1, 7, 0, &["c"], false);
        assert_eq!(story.found(), ["I1"], "{node} {path}");
    }
}

#[test]
fn a_batch_that_nobody_wrote_is_damage_that_has_travelled() {
    // The leader's disk turned epoch 1 of a batch into epoch 0; the follower copies it, and its log is in doubt with it.
    let copied = |damaged: bool| {
        let mut story = two_records();
        story.take_over(0, state(0, 1, 1, &[0, 1, 2]), 2, 2);
        story.append(0, 2, 1, &["c"]);
        if damaged {
            story.strike(0, "bit_flip", Some(LOG));
        }
        story.copy(1, 2, 0, &["c"], false);
        story.stop(1, StopKind::Killed);
        story.start(1);
        story.open(1, 0, 0, false);
        story
    };
    copied(true).silent(&["D1"]);
    assert_eq!(copied(false).found(), ["D1"]);
}

#[test]
fn a_log_that_is_read_whole_again_is_held_to_it() {
    let reopened = |content: &[Bytes]| {
        let mut story = two_records();
        story.strike(1, "lost_write", Some(LOG));
        story.stop(1, StopKind::Killed);
        story.start(1);
        story.open(1, 2, 0, false);
        story.content(1, content);
        story.stop(1, StopKind::Killed);
        story.start(1);
        story.open(1, 0, 0, false);
        story
    };
    let mut whole = reopened(&batches());
    whole.fires(&["D1"]);
    let mut torn = reopened(&batches()[..1]);
    torn.silent(&["D1"]);
    let mut strange = reopened(&[made(0, 0, &["a"]), made(1, 3, &["b"])]);
    strange.silent(&["D1"]);
}

#[test]
fn knowing_the_records_says_nothing_of_a_damaged_index() {
    let mut story = two_records();
    story.strike(1, "bit_flip", Some("t-0/00000000000000000000.index"));
    story.stop(1, StopKind::Killed);
    story.start(1);
    story.open(1, 2, 0, false);
    story.content(1, &batches());
    story.stop(1, StopKind::Killed);
    story.start(1);
    story.open(1, 0, 0, false);
    story.silent(&["D1"]);
}

#[test]
fn another_log_of_the_same_disk_is_not_excused() {
    let mut story = two_records();
    story.strike(1, "bit_flip", Some(METADATA_LOG));
    story.strike(1, "bit_flip", Some("u-0/00000000000000000000.log"));
    story.stop(1, StopKind::Killed);
    story.start(1);
    story.open(1, 0, 0, false);
    story.fires(&["D1"]);
}

#[test]
fn what_a_damaged_leader_serves_is_not_promised_and_what_a_damaged_follower_holds_is_not_served() {
    let changed = |node: u16| {
        let mut story = two_records();
        story.polled(CLIENT, 0, &["a", "b"]);
        story.strike(node, "misdirected_write", Some(LOG));
        story.polled(CLIENT, 0, &["a", "z"]);
        story
    };
    changed(0).silent(&["C1"]);
    assert!(changed(1).found().contains(&"C1"));
}

#[test]
fn a_lost_copy_may_lead_only_if_nobody_could_know() {
    let elected = |clean: bool| {
        let mut story = two_records();
        story.strike(1, "sync_lied", Some(LOG));
        story.tick();
        story.note(1, Note::ShutdownCompleted);
        story.stop(1, StopKind::Exited { clean });
        story.start(1);
        story.open(1, 0, 0, clean);
        story.content(1, &[]);
        let next = state(1, 1, 1, &[0, 1, 2]);
        story.decide(next.clone(), false);
        story.lead(1, next, 0, 0);
        story
    };
    elected(true).silent(&["X5"]);
    assert_eq!(elected(false).found(), ["D6", "X5"]);
}

#[test]
fn a_cluster_that_is_whole_again_must_converge() {
    let mut story = two_records();
    assert_eq!(story.checks.convergence_excused(), None);
    story.strike(1, "bit_flip", Some(LOG));
    assert!(story.checks.convergence_excused().unwrap().contains("bit_flip"));
    story.stop(1, StopKind::Killed);
    story.start(1);
    story.open(1, 2, 0, false);
    story.content(1, &batches());
    assert_eq!(story.checks.convergence_excused(), None);
}

#[test]
fn a_record_is_out_of_reach_while_a_disk_fault_keeps_down_who_may_lead() {
    let down = |struck: u16, stopped: &[u16]| {
        let mut story = two_records();
        story.decide(state(1, 1, 1, &[1]), false);
        story.follow(2, state(1, 1, 1, &[1]), 2);
        story.strike(struck, "unreadable_sector", Some("meta.properties"));
        for node in stopped {
            story.stop(*node, StopKind::Killed);
        }
        story.finish();
        story
    };
    down(1, &[1]).silent(&["C4"]);
    assert_eq!(down(2, &[1]).found(), ["C4"], "no fault has hit who may lead");
    assert_eq!(down(1, &[]).found(), ["C4"], "it is up");
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
fn who_was_elected_last_keeps_a_partition_without_eligible_replicas_down() {
    let down = |struck: u16| {
        let mut story = two_records();
        let nobody = PartitionState {
            leader: None,
            ..state(0, 1, 1, &[])
        };
        story.decide(nobody.clone(), false);
        story.follow(2, nobody, 2);
        story.strike(struck, "unreadable_sector", Some("meta.properties"));
        story.stop(struck, StopKind::Killed);
        story.finish();
        story
    };
    down(0).silent(&["C4"]);
    assert!(down(1).found().contains(&"C4"));
}

#[test]
fn an_older_disk_brings_back_what_was_lost_lawfully_since_then() {
    // Broker 1 is set back to before an unclean election; what it holds goes when it follows again.
    let returned = |what: Option<&'static str>| {
        let mut story = Story::with(TopicPromise {
            unclean_leader_election: true,
            ..TopicPromise::default()
        });
        story.begin();
        story.write(0, "a");
        let stolen = state(2, 1, 1, &[2]);
        story.stop(0, StopKind::Killed);
        story.power_cycle(2, 0, &[]);
        story.decide(stolen.clone(), true);
        story.lead(2, stolen.clone(), 0, 0);
        story.append(2, 0, 1, &["z"]);
        story.high(2, 1, true, 1);
        story.follow(1, stolen.clone(), 1);
        story.truncate(1, 1, 0);
        story.lower(1, 0);
        story.stop(1, StopKind::PowerLost);
        if let Some(what) = what {
            story.strike(1, what, None);
        }
        story.start(1);
        story.open(1, 1, 0, false);
        story.content(1, &batches()[..1]);
        story.follow(1, stolen, 1);
        story
    };
    returned(Some("disk_rolled_back")).silent(&["X1"]);
    assert_eq!(returned(None).found(), ["X1"]);
}

#[test]
fn an_older_disk_brings_its_own_recovery_point_with_it() {
    // Set back to a disk that was synced up to 1; the next stop must find that recovery point, or a lower one.
    let again = |recovery_point: Offset| {
        let mut story = two_records();
        story.stop(1, StopKind::Killed);
        story.strike(1, "disk_rolled_back", None);
        story.start(1);
        story.open(1, 2, 1, false);
        story.content(1, &batches());
        story.stop(1, StopKind::Killed);
        story.start(1);
        story.open(1, 2, recovery_point, false);
        story
    };
    again(1).silent(&["D5"]);
    assert!(again(2).found().contains(&"D5"));
}
