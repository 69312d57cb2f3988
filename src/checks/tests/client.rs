//! C1 to C4, C12 to C14, C17.

use super::*;
use crate::checks::partition::Drop;

fn asked(story: &mut Story, client: u16, query: u64, timestamp: i64) {
    let (topic, partition) = ("t".into(), 0);
    story.client(
        client,
        ClientNote::OffsetAsked {
            query,
            topic,
            partition,
            timestamp,
        },
    );
}

fn told(story: &mut Story, client: u16, (query, timestamp): (u64, i64), offset: Option<Offset>, epoch: i32) {
    story.client(
        client,
        ClientNote::OffsetListed {
            query,
            topic: "t".into(),
            partition: 0,
            timestamp,
            offset,
            leader_epoch: LeaderEpoch(epoch),
            error_code: if offset.is_none() { 78 } else { 0 },
        },
    );
}

fn listed(story: &mut Story, timestamp: i64, offset: Option<Offset>) {
    asked(story, CLIENT, 7, timestamp);
    told(story, CLIENT, (7, timestamp), offset, 0);
}

#[test]
fn c1_two_values_at_one_offset() {
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.invoke("b", -1);
    story.polled(CLIENT, 0, &["a"]);
    story.polled(VERIFIER, 0, &["a"]);
    story.silent(&["C1"]);
    story.polled(CLIENT, 0, &["b"]);
    story.fires(&["C1"]);
}

#[test]
fn c1_two_acknowledged_at_one_offset() {
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.invoke("b", -1);
    story.acked("b", Some(0));
    assert!(story.found().contains(&"C1"));
}

#[test]
fn c2_a_value_at_two_offsets() {
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.polled(CLIENT, 0, &["a"]);
    story.silent(&["C2"][..0]);
    story.polled(CLIENT, 1, &["a"]);
    story.fires(&["C2"]);
    let mut allowed = Story::begun(1);
    allowed.idempotent = false;
    allowed.write(0, "a");
    allowed.polled(CLIENT, 0, &["a", "a"]);
    allowed.silent(&["C1"]);
}

#[test]
fn c2_excuses_a_copy_of_what_is_deleted_and_no_other() {
    let copied = |deleted_to| {
        let mut story = Story::begun(1);
        story.write(0, "a");
        story.write(1, "b");
        story.polled(CLIENT, 0, &["a", "b"]);
        for node in 0..3 {
            story.note(
                node,
                Note::LogStartAdvanced {
                    partition: TP,
                    to: deleted_to,
                },
            );
        }
        story.polled(CLIENT, 2, &["b"]);
        story
    };
    copied(2).silent(&["C2"]);
    copied(1).fires(&["C2"]);
}

#[test]
fn c3_and_c4_an_acknowledged_value_is_not_read() {
    let mut lost = Story::begun(1);
    lost.write(0, "a");
    lost.write(1, "b");
    let mut unseen = Story {
        checks: lost.checks.clone(),
        time: lost.time,
        idempotent: true,
    };
    lost.polled(VERIFIER, 1, &["b"]);
    lost.finish();
    lost.fires(&["C3"]);
    assert_eq!(lost.checks.losses()[0].value, Bytes::from_static(b"a"));
    unseen.polled(VERIFIER, 0, &["a"]);
    unseen.finish();
    unseen.fires(&["C4"]);
}

#[test]
fn c12_success_elsewhere_failure_read_and_invention() {
    let mut elsewhere = Story::begun(1);
    elsewhere.idempotent = false;
    elsewhere.invoke("a", -1);
    elsewhere.acked("a", Some(5));
    elsewhere.polled(VERIFIER, 0, &["a"]);
    elsewhere.finish();
    assert_eq!(elsewhere.found(), [""; 0], "shown at 5 by its acknowledgement alone");

    let mut failed = Story::begun(1);
    failed.invoke("a", -1);
    failed.failed("a", true);
    failed.silent(&["C12"]);
    failed.polled(CLIENT, 0, &["a"]);
    failed.fires(&["C12"]);

    let mut after = Story::begun(1);
    after.invoke("a", -1);
    after.polled(CLIENT, 0, &["a"]);
    after.failed("a", true);
    after.fires(&["C12"]);

    let mut unknown = Story::begun(1);
    unknown.invoke("a", -1);
    unknown.failed("a", false);
    unknown.polled(VERIFIER, 0, &["a"]);
    unknown.finish();
    unknown.silent(&["C12"]);
    assert_eq!(unknown.checks.marks().count("unknown_send_was_written"), 1);

    let mut invented = Story::begun(1);
    invented.polled(CLIENT, 0, &["never sent"]);
    invented.fires(&["C12"]);
}

#[test]
fn c13_a_later_write_gets_a_lower_offset() {
    let mut story = Story::begun(1);
    story.invoke("early", -1);
    story.invoke("a", -1);
    story.acked("a", Some(5));
    story.acked("early", Some(2));
    story.invoke("b", -1);
    story.silent(&["C13"]);
    story.acked("b", Some(4));
    story.fires(&["C13"]);
}

#[test]
fn c14_offsets_go_back() {
    let mut story = Story::begun(1);
    listed(&mut story, -1, Some(5));
    listed(&mut story, -1, None);
    listed(&mut story, -1, Some(5));
    listed(&mut story, -2, Some(1));
    story.silent(&["C14"]);
    assert_eq!(story.checks.marks().count("offset_not_available_answered"), 1);
    listed(&mut story, -1, Some(3));
    story.fires(&["C14"]);
    let mut earliest = Story::begun(1);
    listed(&mut earliest, -2, Some(4));
    listed(&mut earliest, -2, Some(2));
    earliest.fires(&["C14"]);
}

/// Another client than [`CLIENT`].
const OTHER: u16 = 5;

#[test]
fn c14_who_asks_later_is_told_less() {
    let after = |asks_first: bool, then: (Offset, i32), now: (Offset, i32)| {
        let mut story = Story::begun(1);
        if asks_first {
            asked(&mut story, OTHER, 7, -1);
        }
        asked(&mut story, CLIENT, 7, -1);
        told(&mut story, CLIENT, (7, -1), Some(then.0), then.1);
        if !asks_first {
            asked(&mut story, OTHER, 7, -1);
        }
        told(&mut story, OTHER, (7, -1), Some(now.0), now.1);
        story
    };
    after(false, (5, 0), (5, 0)).silent(&["C14"]);
    after(false, (5, 0), (4, 0)).fires(&["C14"]);
    after(false, (5, 0), (4, 1)).fires(&["C14"]);
    after(true, (5, 0), (4, 0)).silent(&["C14"]);
    // A leader that was replaced and does not know it: nothing is promised to whoever asks it.
    after(false, (5, 1), (4, 0)).silent(&["C14"]);

    let mut lost = Story::begun(1);
    told(&mut lost, CLIENT, (7, -1), Some(5), 0);
    let at = lost.checks.partition(TP);
    lost.checks.ghost.partitions[at].drops.push(Drop {
        from: 3,
        to: 5,
        permitted: Some("as promised".into()),
    });
    asked(&mut lost, OTHER, 7, -1);
    told(&mut lost, OTHER, (7, -1), Some(3), 1);
    lost.silent(&["C14"]);
    asked(&mut lost, CLIENT, 8, -1);
    told(&mut lost, CLIENT, (8, -1), Some(2), 1);
    lost.fires(&["C14"]);
}

#[test]
fn c14_questions_that_overlap_are_answered_in_any_order() {
    let mut story = Story::begun(1);
    // The first one waits for a leader that is cut off, while the next one finds its successor.
    asked(&mut story, CLIENT, 1, -1);
    asked(&mut story, CLIENT, 2, -1);
    told(&mut story, CLIENT, (2, -1), Some(5), 0);
    asked(&mut story, CLIENT, 3, -1);
    told(&mut story, CLIENT, (1, -1), Some(3), 0);
    story.silent(&["C14"]);
    // The third was asked when 5 was known.
    told(&mut story, CLIENT, (3, -1), Some(4), 0);
    story.fires(&["C14"]);
}

#[test]
fn c17_a_reader_at_the_end_waits_too_long() {
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.polled(CLIENT, 0, &["a"]);
    story.checks.fact(Fact::FaultsEnded { time_ns: story.time });
    story.write(1, "b");
    story.time += 500;
    story.polled(CLIENT, 1, &["b"]);
    story.silent(&["C17"]);
    story.write(2, "c");
    story.time += 5_000;
    story.polled(CLIENT, 2, &["c"]);
    story.fires(&["C17"]);
}

#[test]
fn an_unnamed_topic_is_linked_by_its_values() {
    let mut story = Story::begun(1);
    story.checks.topics.clear();
    story.write(0, "a");
    assert_eq!(story.checks.linked(0), Some(0));
}

#[test]
fn an_outcome_that_nobody_waits_for() {
    let mut story = Story::begun(1);
    story.acked("a", Some(0));
    story.fires(&["C12"]);
}

#[test]
fn c4_is_left_to_the_liveness_checks_while_the_cluster_is_stuck() {
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.checks.fact(Fact::FaultsEnded { time_ns: story.time });
    story.finish();
    let found = story.found();
    assert!(!found.contains(&"C4") && found.contains(&"L9"), "{found:?}");
    assert!(story.checks.losses().is_empty());
}

#[test]
fn a_topic_that_is_created_again_begins_anew() {
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.polled(CLIENT, 0, &["a"]);
    story.checks.fact(Fact::TopicNamed {
        name: "t",
        id: Uuid::from_u128(8),
    });
    story.invoke("b", 1);
    story.polled(CLIENT, 0, &["b"]);
    story.silent(&["C1"]);
}

#[test]
fn c9_a_later_record_stands_before_an_earlier_one() {
    let sent = |idempotent| {
        let mut story = Story::begun(1);
        story.idempotent = idempotent;
        story.invoke("a", -1);
        story.invoke("b", -1);
        story.append(0, 0, 0, &["b", "a"]);
        for follower in [1, 2] {
            story.copy(follower, 0, 0, &["b", "a"], true);
            story.progress(0, follower, 2, 0);
        }
        story.high(0, 2, true, 0);
        story.polled(VERIFIER, 0, &["b", "a"]);
        story.finish();
        story
    };
    sent(true).fires(&["C9"]);
    assert!(!sent(false).found().contains(&"C9"), "it has promised nothing");
    let mut ordered = Story::begun(1);
    ordered.write(0, "a");
    ordered.write(1, "b");
    ordered.polled(VERIFIER, 0, &["a", "b"]);
    ordered.finish();
    ordered.silent(&["C9"]);
}
