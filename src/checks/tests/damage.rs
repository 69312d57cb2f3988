//! What a disk fault excuses, and what it does not.

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
fn a_log_that_misses_its_beginning_is_not_read_whole() {
    // A flipped bit in a base offset moves the first batch behind the others; a cut takes it away.
    let story = |content: &[Bytes]| {
        let mut story = two_records();
        story.strike(0, "bit_flip", Some(LOG));
        story.stop(0, StopKind::Killed);
        story.start(0);
        story.open(0, 2, 0, false);
        story.content(0, content);
        story.take_over(0, state(0, 1, 1, &[0, 1, 2]), 2, 2);
        story.append(0, 2, 1, &["c"]);
        story.note(1, Note::Restarted { partition: TP, at: 0 });
        // A follower that begins anew gets the second record for the first.
        story.copy(1, 1, 0, &["b"], false);
        story
    };
    assert!(!story(&batches()[1..]).found().contains(&"I1"));
    assert!(story(&batches()).found().contains(&"I1"));
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
fn a_log_under_an_id_that_a_fault_made_up_is_the_log_that_was_struck() {
    let ghost = TopicPartition {
        topic: Uuid::from_u128(99),
        partition: TP.partition,
    };
    let opened_as_ghost = |struck: u16| {
        let mut story = two_records();
        story.strike(struck, "bit_flip", Some("t-0/partition.metadata"));
        story.stop(1, StopKind::Killed);
        story.strike(struck, "bit_flip", Some(LOG));
        story.start(1);
        story.open_log(1, ghost, 2, 0, false);
        story.content_of(1, ghost, &[batches()[0].slice(..60)]);
        story
    };
    opened_as_ghost(1).silent(&["D1"]);
    assert_eq!(
        opened_as_ghost(2).found(),
        ["D1"],
        "another node's disk explains nothing here"
    );
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

/// Broker 1, which the controller knows or not, is stopped and comes back without its records.
fn comes_back_without(struck: Option<&str>, clean: bool, registered: bool) -> Story {
    let mut story = two_records();
    story.tick();
    if registered {
        registered_as(&mut story, 1, 5);
    }
    story.note(1, Note::ShutdownCompleted);
    story.stop(1, StopKind::Exited { clean });
    story.strike(1, "lost_write", struck);
    story.start(1);
    story.open(1, 0, 0, clean);
    story.content(1, &[]);
    story
}

fn registered_as(story: &mut Story, node: usize, epoch: i64) {
    let broker_epoch = BrokerEpoch(epoch);
    story.note(node, Note::BrokerRegistered { broker_epoch });
}

#[test]
fn a_lost_copy_serves_again_only_if_nobody_could_know() {
    // A marker without a broker epoch, or of a disk that was another one, is none to the controller.
    for (struck, clean, registered, found) in [
        (Some(LOG), true, true, vec![]),
        (Some(LOG), false, true, vec!["D6"]),
        (Some(LOG), true, false, vec!["D6"]),
        (None, true, true, vec!["D6"]),
    ] {
        let mut story = comes_back_without(struck, clean, registered);
        story.tick();
        story.register(1, 6);
        story.tick();
        story.unfence(1, 6);
        assert_eq!(story.found(), found, "{struck:?} {clean} {registered}");
    }
}

#[test]
fn a_log_that_begins_anew_after_a_clean_start_is_lost_unseen() {
    let begun_anew = |clean: bool| {
        let mut story = two_records();
        registered_as(&mut story, 1, 5);
        story.strike(1, "bit_flip", Some("t-0/partition.metadata"));
        story.note(1, Note::ShutdownCompleted);
        story.stop(1, StopKind::Exited { clean: true });
        story.start(1);
        story.open_log(1, METADATA_PARTITION, 0, 0, clean);
        story.register(1, 6);
        // Its directory is another topic's now.
        story.open(1, 0, 0, false);
        story.content(1, &[]);
        story.tick();
        story.unfence(1, 6);
        story.found()
    };
    assert_eq!(begun_anew(true), Vec::<&str>::new());
    assert_eq!(begun_anew(false), ["D6"], "the controller was told");
}

#[test]
fn a_loss_that_nobody_knew_of_is_known_after_the_next_unclean_stop_and_excuses_no_leader() {
    let mut again = comes_back_without(Some(LOG), true, true);
    again.tick();
    registered_as(&mut again, 1, 6);
    again.stop(1, StopKind::Killed);
    again.start(1);
    again.open(1, 0, 0, false);
    again.register(1, 7);
    again.tick();
    again.unfence(1, 7);
    again.fires(&["D6"]);
    // Its leader knows what it has fetched.
    let mut joined = comes_back_without(Some(LOG), true, true);
    joined.tick();
    joined.register(1, 6);
    joined.tick();
    joined.unfence(1, 6);
    joined.decide(state(0, 0, 1, &[0, 2]), false);
    joined.silent(&[]);
    joined.decide(state(0, 0, 2, &[0, 1, 2]), false);
    joined.fires(&["D6"]);
}

#[test]
fn a_lost_copy_may_lead_only_if_nobody_could_know() {
    let elected = |clean: bool| {
        let mut story = comes_back_without(Some(LOG), clean, true);
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
fn what_an_older_disk_brings_back_is_compared_once_it_has_gone_or_is_committed_again() {
    // An unclean election has lost "a" and "b"; nothing is committed when broker 1 comes back with them.
    let returned = |what: Option<&'static str>| {
        let mut story = Story::with(TopicPromise {
            unclean_leader_election: true,
            ..TopicPromise::default()
        });
        story.begin();
        story.write(0, "a");
        story.write(1, "b");
        story.stop(0, StopKind::Killed);
        story.power_cycle(2, 0, &[]);
        story.stop(1, StopKind::PowerLost);
        let stolen = state(2, 1, 1, &[2]);
        story.decide(stolen.clone(), true);
        story.lead(2, stolen.clone(), 0, 0);
        if let Some(what) = what {
            story.strike(1, what, None);
        }
        story.start(1);
        story.open(1, 2, 0, false);
        story.content(1, &batches());
        story.append(2, 0, 1, &["z"]);
        story.high(2, 1, true, 1);
        story.follow(1, stolen, 1);
        story
    };
    let mut older = returned(Some("disk_rolled_back"));
    older.silent(&["X1"]);
    older.truncate(1, 2, 0);
    older.lower(1, 0);
    older.copy(1, 0, 1, &["y"], true);
    older.high(1, 1, false, 1);
    assert!(older.found().contains(&"X1"), "{:?}", older.found());
}

#[test]
fn what_a_fault_took_before_the_end_of_a_log_nobody_asks_for_again() {
    // A flipped bit in the base offset of "a" hides "b"; cut where its leader says, the log goes on at 2.
    let joined = |what: &'static str, kept: &[Bytes], next: Offset| {
        let mut story = two_records();
        story.stop(1, StopKind::PowerLost);
        story.strike(1, what, Some(LOG));
        story.start(1);
        story.open(1, kept.len() as Offset, 0, false);
        story.content(1, kept);
        story.register(1, 6);
        story.decide(state(0, 0, 1, &[0, 2]), false);
        story.follow(1, state(0, 0, 1, &[0, 2]), 0);
        if next > 0 {
            story.note(
                1,
                Note::Restarted {
                    partition: TP,
                    at: next,
                },
            );
        }
        story.append(0, 2, 0, &["c"]);
        story.copy(2, 2, 0, &["c"], false);
        story.high(0, 3, true, 0);
        if next > 0 {
            story.copy(1, next, 0, &["c"], true);
        }
        story.tick();
        story.unfence(1, 6);
        story.decide(state(0, 0, 2, &[0, 1, 2]), false);
        story
    };
    let mut holed = joined("bit_flip", &[], 2);
    holed.silent(&["D6"]);
    let next = state(1, 1, 3, &[1, 2]);
    holed.decide(next.clone(), false);
    holed.lead(1, next, 3, 3);
    holed.silent(&["X5"]);
    let mut short = joined("bit_flip", &batches()[..1], 0);
    short.fires(&["D6"]);
}

#[test]
fn a_cut_takes_what_is_committed_only_where_that_is_known() {
    // Broker 2 is back with a record that nobody had; the leader of the next epoch, whose damaged log was not read, has
    // committed another one there.
    let cut = |known: bool| {
        let mut story = two_records();
        story.append(0, 2, 0, &["c"]);
        story.copy(2, 2, 0, &["c"], false);
        story.stop(0, StopKind::Killed);
        story.stop(2, StopKind::Killed);
        story.strike(1, "bit_flip", Some(LOG));
        story.stop(1, StopKind::Killed);
        story.start(1);
        story.open(1, 2, 2, false);
        if known {
            story.content(1, &batches());
        }
        let next = state(1, 1, 1, &[1]);
        story.decide(next.clone(), false);
        story.lead(1, next.clone(), 2, 2);
        story.append(1, 2, 1, &["d"]);
        story.high(1, 3, true, 1);
        story.start(2);
        story.open(2, 3, 0, false);
        story.follow(2, next, 2);
        let to = if known { 1 } else { 2 };
        story.truncate(2, 3, to);
        story.lower(2, to);
        story
    };
    cut(false).silent(&["I11"]);
    cut(true).fires(&["I11"]);
}

#[test]
fn an_older_disk_is_held_to_what_was_never_lost() {
    // Broker 1 is set back to a tail that nobody had committed: no leader can have told it a high watermark above it.
    for (high, found) in [(1, vec![]), (2, vec!["X1"])] {
        let mut story = Story::begun(1);
        story.write(0, "a");
        story.append(0, 1, 0, &["b"]);
        story.copy(1, 1, 0, &["b"], false);
        story.stop(0, StopKind::Killed);
        story.stop(1, StopKind::Killed);
        let next = state(2, 1, 1, &[2]);
        story.decide(next.clone(), false);
        story.lead(2, next.clone(), 1, 1);
        story.append(2, 1, 1, &["c"]);
        story.high(2, 2, true, 1);
        story.strike(1, "disk_rolled_back", None);
        story.start(1);
        story.open(1, 2, 0, false);
        story.content(1, &batches());
        story.follow(1, next, high);
        assert_eq!(story.found(), found, "{high}");
    }
}

#[test]
fn a_log_of_a_topic_that_nobody_created_is_in_the_directory_of_a_real_one() {
    // A flipped bit in `partition.metadata` has made the topic's id.
    let id = TopicPartition {
        topic: Uuid::from_u128(TP.topic.as_u128() ^ 1 << 40),
        ..TP
    };
    let opened = |story: &mut Story, end: Offset| {
        story.start(1);
        story.open_log(1, id, end, 0, false);
        story.content_of(1, id, &batches()[..end as usize]);
    };
    for (struck, found) in [
        (LOG, vec![]),
        ("t-0", vec![]),
        ("t-1/00000000000000000000.log", vec!["D1", "D4"]),
        ("u-0/00000000000000000000.log", vec!["D1", "D4"]),
        (METADATA_LOG, vec!["D1", "D4"]),
    ] {
        let mut story = two_records();
        story.stop(1, StopKind::Killed);
        story.strike(1, "bit_flip", Some("t-0/partition.metadata"));
        opened(&mut story, 2);
        story.stop(1, StopKind::Killed);
        story.strike(1, "bit_flip", Some(struck));
        opened(&mut story, 1);
        assert_eq!(story.found(), found, "{struck}");
    }
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
