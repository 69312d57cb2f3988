//! D1, D2, D4, D5.

use super::*;

fn batches(values: &[&str]) -> Vec<Bytes> {
    values
        .iter()
        .enumerate()
        .map(|(n, value)| made(n as Offset, 0, &[value]))
        .collect()
}

/// Three records everywhere, the first flushed on broker 1.
fn flushed() -> Story {
    let mut story = Story::begun(1);
    for (offset, value) in ["a", "b", "c"].into_iter().enumerate() {
        story.write(offset as Offset, value);
    }
    story.flush(1, 1);
    story
}

#[test]
fn d1_what_was_flushed_comes_back() {
    for (end, values, found) in [
        (3, vec!["a", "b", "c"], vec![]),
        (1, vec!["a"], vec![]),
        (2, vec!["a", "other"], vec![]),
        (0, vec![], vec!["D1"]),
        (1, vec!["z"], vec!["D1"]),
    ] {
        let mut story = flushed();
        story.power_cycle(1, end, &batches(&values));
        assert_eq!(story.found(), found, "{end} {values:?}");
    }
}

#[test]
fn d1_a_kill_takes_nothing() {
    let mut story = flushed();
    story.stop(1, StopKind::Killed);
    story.start(1);
    story.open(1, 3, 1, false);
    story.silent(&["D1"]);
    story.stop(1, StopKind::Killed);
    story.start(1);
    story.open(1, 2, 1, false);
    assert!(story.found().contains(&"D1"));
}

#[test]
fn d1_a_kill_in_a_step_may_hide_an_append_but_takes_nothing_committed() {
    let mut story = flushed();
    story.stop(1, StopKind::KilledMidStep);
    story.start(1);
    story.open(1, 4, 1, false);
    assert_eq!(story.checks.wanted_logs(), [(1, TP)]);
    story.content(1, &batches(&["a", "b", "c", "d"]));
    assert!(story.checks.wanted_logs().is_empty());
    story.silent(&["D1"]);
    story.stop(1, StopKind::KilledMidStep);
    story.start(1);
    story.open(1, 2, 1, false);
    story.fires(&["D1"]);
}

#[test]
fn d1_a_process_that_gives_up_in_a_step_may_hide_a_cut_of_what_is_not_committed() {
    // `d` is flushed here, and on nobody else's disk.
    let stopped = |how: StopKind, end: Offset| {
        let mut story = flushed();
        story.copy(1, 3, 0, &["d"], false);
        story.flush(1, 4);
        story.stop(1, how);
        story.stop(1, StopKind::PowerLost);
        story.start(1);
        story.open(1, end, 0, false);
        story.found().contains(&"D1")
    };
    let gave_up = StopKind::Exited { clean: false };
    assert!(!stopped(gave_up, 3) && !stopped(StopKind::KilledMidStep, 3));
    assert!(stopped(gave_up, 2), "committed");
    assert!(stopped(StopKind::Killed, 3), "nothing was broken off");
}

#[test]
fn d1_garbage_after_recovery() {
    let mut story = flushed();
    let mut content = batches(&["a", "b"]);
    content[1] = content[1].slice(..content[1].len() - 1);
    story.power_cycle(1, 2, &content);
    story.fires(&["D1"]);
}

#[test]
fn d1_is_silent_about_damage() {
    let mut story = flushed();
    story.stop(1, StopKind::Killed);
    story.damage(1, "bit_flip");
    story.start(1);
    story.open(1, 0, 0, false);
    story.content(1, &[]);
    story.silent(&["D1"]);
}

#[test]
fn d1_the_platter_after_a_crash() {
    let mut story = flushed();
    story.stop(1, StopKind::PowerLost);
    let durable = |story: &mut Story, values: &[&str]| {
        story.checks.fact(Fact::DurableLog {
            node: 1,
            partition: TP,
            batches: Bytes::from(batches(values).concat()),
        });
    };
    durable(&mut story, &["a"]);
    story.silent(&["D1"]);
    durable(&mut story, &[]);
    story.fires(&["D1"]);
}

#[test]
fn d2_flush_before_ack() {
    let promise = TopicPromise {
        flush_messages: 1,
        ..TopicPromise::default()
    };
    let mut story = Story::with(promise);
    story.begin();
    story.write(0, "a");
    story.power_cycle(1, 1, &batches(&["a"]));
    story.silent(&["D1"]);
    story.power_cycle(2, 0, &[]);
    story.fires(&["D2"]);
}

#[test]
fn d4_recovery_twice() {
    let mut story = flushed();
    story.power_cycle(1, 2, &batches(&["a", "b"]));
    story.stop(1, StopKind::Killed);
    story.start(1);
    story.open(1, 2, 0, false);
    story.silent(&["D4"]);
    story.stop(1, StopKind::Killed);
    story.start(1);
    story.open(1, 1, 0, false);
    assert!(story.found().contains(&"D4"));
}

#[test]
fn d5_a_recovery_point_above_what_was_synced() {
    let mut story = flushed();
    story.stop(1, StopKind::Killed);
    story.start(1);
    story.open(1, 3, 2, false);
    story.fires(&["D5"]);
}

#[test]
fn d5_a_recovery_point_from_before_a_cut() {
    for (recovery_point, found) in [(1, vec![]), (2, vec!["D5"])] {
        let mut story = Story::begun(1);
        story.write(0, "a");
        story.append(0, 1, 0, &["b"]);
        story.copy(1, 1, 0, &["b"], false);
        story.flush(1, 2);
        story.truncate(1, 2, 1);
        story.copy(1, 1, 0, &["b"], false);
        story.stop(1, StopKind::Killed);
        story.start(1);
        story.open(1, 2, recovery_point, false);
        assert_eq!(story.found(), found, "{recovery_point}");
    }
}

#[test]
fn d5_a_high_watermark_from_disk_that_no_leader_had() {
    let mut story = flushed();
    story.append(0, 3, 0, &["d"]);
    story.copy(1, 3, 0, &["d"], false);
    story.stop(1, StopKind::Killed);
    story.start(1);
    story.open(1, 4, 1, false);
    story.follow(1, state(0, 0, 0, &[0, 1, 2]), 4);
    story.fires(&["D5"]);
}

#[test]
fn d5_the_clean_marker_survives() {
    let mut story = flushed();
    story.tick();
    story.note(1, Note::ShutdownCompleted);
    story.stop(1, StopKind::Exited { clean: true });
    story.start(1);
    story.open(1, 3, 1, true);
    story.follow(1, state(0, 0, 0, &[0, 1, 2]), 3);
    story.write_more(3, "d");
    story.silent(&["D5"]);
    story.stop(1, StopKind::Killed);
    story.start(1);
    story.open(1, 4, 1, true);
    story.fires(&["D5"]);
}

#[test]
fn d5_a_power_failure_brings_the_clean_marker_back() {
    // It was removed, but not for good, when the next process recovered the logs and gave up.
    let marked = |written: bool| {
        let mut story = flushed();
        story.tick();
        story.note(1, Note::ShutdownCompleted);
        story.stop(1, StopKind::Exited { clean: true });
        story.start(1);
        let cut = Note::Truncated {
            partition: METADATA_PARTITION,
            from: 1,
            to: 1,
            reason: TruncateReason::Recovery,
        };
        story.note(1, cut);
        if written {
            metadata(&mut story, 1, 0, 1, "m0");
        }
        story.stop(1, StopKind::KilledMidStep);
        story.stop(1, StopKind::PowerLost);
        story.start(1);
        story.open(1, 3, 3, true);
        story
    };
    marked(false).silent(&["D5"]);
    marked(true).fires(&["D5"]);
}

#[test]
fn content_is_wanted_after_a_power_failure_and_not_after_a_kill() {
    let mut story = flushed();
    story.stop(1, StopKind::Killed);
    story.start(1);
    story.open(1, 3, 1, false);
    assert!(story.checks.wanted_logs().is_empty());
    story.stop(2, StopKind::PowerLost);
    story.start(2);
    assert!(story.checks.wanted_logs().is_empty());
    story.open(2, 1, 0, false);
    assert_eq!(story.checks.wanted_logs(), [(2, TP)]);
}

impl Story {
    /// A record on brokers 0 and 1.
    fn write_more(&mut self, offset: Offset, value: &'static str) {
        self.append(0, offset, 0, &[value]);
        self.tick();
        self.put(1, offset, 0, &[value], false);
    }
}

#[test]
fn d5_a_process_that_was_leaving_may_have_written_its_marker() {
    let mut story = flushed();
    story.tick();
    story.note(1, Note::ShutdownStarted);
    story.stop(1, StopKind::Killed);
    story.start(1);
    story.open(1, 3, 1, true);
    story.silent(&["D5"]);
}

#[test]
fn a_host_that_loses_power_after_its_process_has_ended() {
    let mut story = flushed();
    story.stop(1, StopKind::Exited { clean: false });
    story.stop(1, StopKind::PowerLost);
    story.start(1);
    story.open(1, 1, 0, false);
    story.content(1, &batches(&["a"]));
    story.silent(&["D1"]);
}

#[test]
fn a_failed_sync_takes_what_a_later_one_called_durable_when_the_power_fails() {
    let stopped = |how: StopKind, struck: bool| {
        let mut story = flushed();
        story.flush(1, 3);
        story.stop(1, how);
        if struck {
            story.strike(1, "sync_failed", Some("t-0/00000000000000000000.log"));
        }
        story.start(1);
        story.open(1, 1, 0, false);
        story.content(1, &batches(&["a"]));
        story
    };
    stopped(StopKind::PowerLost, true).silent(&["D1"]);
    stopped(StopKind::PowerLost, false).fires(&["D1"]);
}

#[test]
fn a_stop_inside_the_recovery_does_not_hide_the_power_failure_before_it() {
    for (again, found) in [(true, vec!["D6"]), (false, vec![])] {
        let mut story = flushed();
        if again {
            story.stop(1, StopKind::PowerLost);
            story.start(1);
        }
        story.stop(1, StopKind::KilledMidStep);
        story.start(1);
        let (end, left) = if again {
            (1, &["a"][..])
        } else {
            (3, &["a", "b", "c"][..])
        };
        story.open(1, end, 1, false);
        story.content(1, &batches(left));
        story.register(1, 6);
        story.tick();
        story.unfence(1, 6);
        story.fires(&found);
        let told = |violation: &super::super::Violation| violation.message.contains("(power failure)");
        assert!(story.checks.violations().iter().all(told));
    }
}

#[test]
fn d1_nobody_can_say_what_a_step_that_was_broken_off_has_cut_below_what_is_deleted() {
    let reopened = |deleted: Offset| {
        let mut story = flushed();
        story.stop(1, StopKind::KilledMidStep);
        story.tick();
        story.note(
            0,
            Note::LogStartAdvanced {
                partition: TP,
                to: deleted,
            },
        );
        story.start(1);
        story.open(1, 2, 1, false);
        story.found().contains(&"D1")
    };
    assert!(!reopened(3));
    assert!(reopened(1));
}
