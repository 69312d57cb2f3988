//! X8, X9, X10, D3.

use super::*;

pub(super) fn voted(story: &mut Story, node: usize, epoch: i32, candidate: i32) {
    story.tick();
    story.note(
        node,
        Note::Voted {
            epoch: LeaderEpoch(epoch),
            candidate: NodeId(candidate),
        },
    );
}

pub(super) fn leads(story: &mut Story, node: usize, epoch: i32, first: Offset) {
    story.tick();
    story.note(
        node,
        Note::BecameQuorumLeader {
            epoch: LeaderEpoch(epoch),
            epoch_start_offset: first,
        },
    );
}

pub(super) fn flushed(story: &mut Story, node: usize, to: Offset) {
    story.tick();
    story.note(
        node,
        Note::Flushed {
            partition: METADATA_PARTITION,
            to,
        },
    );
}

pub(super) fn committed(story: &mut Story, node: usize, to: Offset, epoch: i32, as_leader: bool) {
    story.tick();
    story.note(
        node,
        Note::QuorumCommitted {
            high_watermark: to,
            epoch: LeaderEpoch(epoch),
            as_leader,
        },
    );
}

fn applied(story: &mut Story, node: usize, offset: Offset, image_digest: u64) {
    story.tick();
    story.note(node, Note::MetadataApplied { offset, image_digest });
}

/// Node 0 leads epoch 1 and has committed one entry on nodes 0 and 1.
pub(super) fn one_entry() -> Story {
    let mut story = Story::new(1);
    voted(&mut story, 0, 1, 1);
    voted(&mut story, 1, 1, 1);
    leads(&mut story, 0, 1, 0);
    for node in [0, 1] {
        metadata(&mut story, node, 0, 1, "m0");
        flushed(&mut story, node, 1);
    }
    committed(&mut story, 0, 1, 1, true);
    committed(&mut story, 1, 1, 1, false);
    story
}

#[test]
fn x8_another_image_or_one_of_uncommitted_records() {
    let mut story = one_entry();
    applied(&mut story, 0, 1, 77);
    applied(&mut story, 1, 1, 77);
    story.silent(&["X8", "X10", "X9"]);
    let mut early = Story {
        checks: story.checks.clone(),
        time: story.time,
        idempotent: true,
    };
    applied(&mut story, 2, 1, 78);
    story.fires(&["X8"]);
    applied(&mut early, 0, 2, 79);
    early.fires(&["X8"]);
}

#[test]
fn x9_two_votes_and_two_leaders() {
    let mut votes = one_entry();
    votes.stop(1, StopKind::PowerLost);
    votes.start(1);
    voted(&mut votes, 1, 1, 1);
    votes.silent(&["X9"]);
    voted(&mut votes, 1, 1, 3);
    votes.fires(&["X9"]);

    let mut leaders = one_entry();
    leads(&mut leaders, 1, 1, 1);
    leaders.fires(&["X9"]);

    let mut wiped = one_entry();
    wiped.damage(1, "disk_wiped");
    voted(&mut wiped, 1, 1, 3);
    wiped.silent(&[]);
}

#[test]
fn x10_without_a_majority_that_has_flushed() {
    let mut story = one_entry();
    metadata(&mut story, 0, 1, 1, "m1");
    metadata(&mut story, 1, 1, 1, "m1");
    flushed(&mut story, 0, 2);
    committed(&mut story, 0, 2, 1, true);
    story.fires(&["X10"]);
}

#[test]
fn x10_an_entry_of_an_earlier_epoch() {
    let mut story = one_entry();
    for node in [1, 2] {
        if node == 2 {
            metadata(&mut story, 2, 0, 1, "m0");
        }
        metadata(&mut story, node, 1, 1, "m1");
        flushed(&mut story, node, 2);
    }
    leads(&mut story, 1, 2, 2);
    story.silent(&["X10"]);
    committed(&mut story, 1, 2, 2, true);
    story.fires(&["X10"]);
}

#[test]
fn x10_a_leader_without_committed_entries() {
    let mut story = one_entry();
    leads(&mut story, 2, 2, 0);
    story.fires(&["X10"]);
}

#[test]
fn x10_a_leader_elected_late_need_not_hold_what_later_epochs_committed() {
    let mut story = one_entry();
    leads(&mut story, 1, 3, 1);
    for node in [0, 1] {
        metadata(&mut story, node, 1, 3, "m1");
        flushed(&mut story, node, 2);
    }
    committed(&mut story, 1, 2, 3, true);
    // Node 2 was elected in epoch 2, by votes from before epoch 3.
    metadata(&mut story, 2, 0, 1, "m0");
    leads(&mut story, 2, 2, 1);
    story.silent(&["X10"]);
    leads(&mut story, 2, 4, 1);
    story.fires(&["X10"]);
}

#[test]
fn x10_falls_or_passes_the_leader() {
    let mut falls = one_entry();
    committed(&mut falls, 0, 0, 1, true);
    falls.fires(&["X10"]);
    let mut passes = one_entry();
    metadata(&mut passes, 1, 1, 1, "m1");
    committed(&mut passes, 1, 2, 1, false);
    passes.fires(&["X10"]);
}

#[test]
fn i11_a_committed_entry_is_truncated() {
    let mut story = one_entry();
    story.tick();
    story.note(
        1,
        Note::Truncated {
            partition: METADATA_PARTITION,
            from: 1,
            to: 0,
            reason: TruncateReason::Divergence,
        },
    );
    assert!(story.found().contains(&"I11"));
}

#[test]
fn i11_below_the_end_of_a_snapshot_only_what_was_committed_is_missed() {
    let truncated = |story: &mut Story, node: usize| {
        story.tick();
        story.note(
            node,
            Note::Truncated {
                partition: METADATA_PARTITION,
                from: 2,
                to: 1,
                reason: TruncateReason::Divergence,
            },
        );
    };
    // Node 0 writes one more entry that nobody else gets; epoch 2 commits another one there, and snapshots it.
    let mut story = one_entry();
    metadata(&mut story, 0, 1, 1, "m1");
    metadata(&mut story, 2, 0, 1, "m0");
    leads(&mut story, 1, 2, 1);
    for node in [1, 2] {
        metadata(&mut story, node, 1, 2, "other");
        flushed(&mut story, node, 2);
    }
    committed(&mut story, 1, 2, 2, true);
    committed(&mut story, 2, 2, 2, false);
    story.tick();
    story.note(
        1,
        Note::SnapshotWritten {
            end_offset: 2,
            epoch: LeaderEpoch(2),
        },
    );
    truncated(&mut story, 0);
    story.silent(&["I11", "X10"]);
    truncated(&mut story, 2);
    story.fires(&["I11", "I2"]);
}

#[test]
fn d3_an_older_vote_after_a_crash() {
    let mut story = one_entry();
    voted(&mut story, 1, 4, 1);
    story.stop(1, StopKind::PowerLost);
    story.start(1);
    voted(&mut story, 1, 5, 1);
    story.silent(&["D3"]);
    voted(&mut story, 1, 3, 2);
    assert!(story.found().contains(&"D3"));
}

#[test]
fn i4_the_epoch_of_a_node_goes_back() {
    let mut story = Story::new(1);
    let started = |story: &mut Story, epoch| {
        story.tick();
        story.note(
            2,
            Note::QuorumEpochStarted {
                epoch: LeaderEpoch(epoch),
                leader: Some(NodeId(epoch)),
            },
        );
    };
    started(&mut story, 1);
    started(&mut story, 3);
    story.silent(&["I4"]);
    started(&mut story, 2);
    story.fires(&["I4"]);
}

#[test]
fn decisions_count_once_the_metadata_behind_them_is_committed() {
    let mut story = one_entry();
    story.begin();
    story.write(0, "a");
    story.tick();
    // Node 0 is the controller here: it decides, writes and commits, and nobody has obeyed yet.
    let lagging = state(0, 0, 1, &[0, 1]);
    story.note(
        0,
        Note::PartitionDecided {
            partition: TP,
            state: lagging,
            unclean: false,
            epoch: LeaderEpoch(1),
        },
    );
    for node in [0, 1] {
        metadata(&mut story, node, 1, 1, "m1");
        flushed(&mut story, node, 2);
    }
    assert_eq!(story.checks.marks().count("isr_shrank"), 0);
    committed(&mut story, 0, 2, 1, true);
    assert_eq!(story.checks.marks().count("isr_shrank"), 1);
}

#[test]
fn a_new_controller_is_a_failover() {
    let mut story = one_entry();
    for (node, epoch) in [(0, 1), (0, 3), (2, 4)] {
        story.tick();
        story.note(
            node,
            Note::ControllerActivated {
                epoch: LeaderEpoch(epoch),
            },
        );
    }
    story.silent(&["X9"]);
    assert_eq!(story.checks.marks().count("controller_failover"), 1);
}

#[test]
fn x9_nobody_leads_an_epoch_twice() {
    let again = |first: Offset| {
        let mut story = one_entry();
        leads(&mut story, 0, 1, first);
        story.found().contains(&"X9")
    };
    assert!(again(1), "a leader that has started again does not go on");
    let mut next = one_entry();
    leads(&mut next, 0, 2, 1);
    next.silent(&["X9"]);
}
