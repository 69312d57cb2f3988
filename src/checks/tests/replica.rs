//! I1, I2, I3, I4, I5, I11, I12.

use super::*;

#[test]
fn i1_gap_falling_epoch_and_broken_checksum() {
    let mut gap = Story::begun(1);
    gap.append(0, 0, 0, &["a"]);
    gap.append(0, 2, 0, &["b"]);
    gap.fires(&["I1"]);

    let mut crc = Story::begun(1);
    crc.tick();
    let mut batch = made(0, 0, &["a"]).to_vec();
    *batch.last_mut().unwrap() ^= 1;
    crc.note(
        0,
        Note::Appended {
            partition: TP,
            base_offset: 0,
            last_offset: 0,
            leader_epoch: LeaderEpoch(0),
            as_leader: true,
            batch: batch.into(),
        },
    );
    crc.fires(&["I1"]);

    let mut falling = Story::begun(1);
    falling.take_over(0, state(0, 3, 1, &[0, 1, 2]), 0, 0);
    falling.append(0, 0, 3, &["a"]);
    falling.copy(1, 0, 3, &["a"], true);
    falling.tick();
    falling.put(1, 1, 2, &["b"], false);
    assert!(falling.found().contains(&"I1"));
}

#[test]
fn i2_high_watermark_above_the_end_and_start_above_it() {
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.tick();
    story.note(0, Note::LogStartAdvanced { partition: TP, to: 1 });
    story.silent(&["I2"]);
    story.tick();
    story.note(1, Note::LogStartAdvanced { partition: TP, to: 2 });
    story.fires(&["I2"]);

    let mut flushed = Story::begun(1);
    flushed.write(0, "a");
    flushed.flush(0, 1);
    flushed.silent(&["I2"]);
    flushed.flush(0, 2);
    flushed.fires(&["I2"]);
}

#[test]
fn i2_waits_for_the_end_of_the_step() {
    let mut story = Story::begun(1);
    story.append(0, 0, 0, &["a"]);
    story.copy(1, 0, 0, &["a"], true);
    story.high(0, 1, true, 0);
    story.high(1, 1, false, 0);
    // Unclean election of broker 2: broker 1 truncates below its high watermark, which follows in the same step.
    let unclean = state(2, 1, 1, &[2]);
    story.decide(unclean.clone(), true);
    story.lead(2, unclean.clone(), 0, 0);
    let before = story.checks.violations().len();
    story.follow(1, unclean, 1);
    story.truncate(1, 1, 0);
    story.lower(1, 0);
    story.checks.step_ended();
    assert_eq!(story.checks.violations()[before..], []);
    story.tick();
    story.note(
        0,
        Note::Truncated {
            partition: TP,
            from: 1,
            to: 0,
            reason: TruncateReason::Recovery,
        },
    );
    assert!(
        story.found().contains(&"I2"),
        "the high watermark of broker 0 stayed above its end"
    );
}

#[test]
fn i3_epoch_that_the_cache_has_not_learnt() {
    let mut story = Story::begun(1);
    story.append(0, 0, 0, &["a"]);
    story.copy(1, 0, 0, &["a"], true);
    story.silent(&["I3"]);
    story.copy(2, 0, 0, &["a"], false);
    story.fires(&["I3"]);

    // An epoch without records gives way to records of an earlier one.
    let mut empty = Story::begun(1);
    empty.append(0, 0, 0, &["a"]);
    empty.lead(1, state(1, 1, 1, &[0, 1, 2]), 0, 0);
    empty.follow(1, state(2, 2, 2, &[0, 1, 2]), 0);
    empty.copy(1, 0, 0, &["a"], true);
    empty.silent(&["I3"]);
    empty.tick();
    empty.assign(1, 0, 1);
    empty.fires(&["I3"]);
}

#[test]
fn i3_an_empty_log_that_is_opened_again_has_no_epochs() {
    for start in [1, 0] {
        let mut story = Story::begun(1);
        story.write(0, "a");
        story.high(1, 1, false, 0);
        story.tick();
        story.note(
            1,
            Note::LogStartAdvanced {
                partition: TP,
                to: start,
            },
        );
        story.stop(1, StopKind::Killed);
        story.start(1);
        story.note(
            1,
            Note::LogOpened {
                partition: TP,
                log_start_offset: start,
                log_end_offset: 1,
                recovery_point: 0,
                clean: false,
            },
        );
        story.silent(&[]);
        story.tick();
        story.assign(1, 0, 1);
        if start == 1 {
            story.silent(&["I3"]);
        } else {
            // The record before is still there, and with it its epoch.
            story.fires(&["I3"]);
        }
    }
}

#[test]
fn i4_an_older_state_is_obeyed() {
    let mut story = Story::begun(1);
    story.take_over(1, state(1, 1, 1, &[0, 1, 2]), 0, 0);
    story.silent(&["I4"]);
    story.follow(2, state(0, 0, 0, &[0, 1, 2]), 0);
    story.fires(&["I4"]);

    let mut registered = Story::new(1);
    let hears = |story: &mut Story, epoch| {
        story.note(
            0,
            Note::BrokerRegistered {
                broker_epoch: BrokerEpoch(epoch),
            },
        );
    };
    hears(&mut registered, 5);
    hears(&mut registered, 5);
    registered.stop(0, StopKind::Killed);
    registered.start(0);
    hears(&mut registered, 8);
    registered.silent(&["I4"]);
    registered.stop(0, StopKind::Killed);
    registered.start(0);
    hears(&mut registered, 8);
    registered.fires(&["I4"]);
}

#[test]
fn i5_falls_within_a_leadership_or_passes_the_leader() {
    let mut fell = Story::begun(1);
    fell.write(0, "a");
    fell.write(1, "b");
    fell.tick();
    fell.lower(0, 1);
    fell.fires(&["I5"]);

    let mut passed = Story::begun(1);
    passed.append(0, 0, 0, &["a"]);
    passed.copy(1, 0, 0, &["a"], true);
    passed.high(1, 1, false, 0);
    passed.fires(&["I5"]);
}

#[test]
fn i11_a_committed_record_is_truncated() {
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.append(0, 1, 0, &["b"]);
    story.copy(1, 1, 0, &["b"], false);
    story.truncate(1, 2, 1);
    story.silent(&["I11"]);
    story.tick();
    story.note(
        1,
        Note::Truncated {
            partition: TP,
            from: 1,
            to: 0,
            reason: TruncateReason::HighWatermark,
        },
    );
    story.lower(1, 0);
    story.fires(&["I11"]);
}

#[test]
fn i11_what_only_a_later_epoch_committed_may_be_cut_by_whom_nobody_counts() {
    // Broker 2 commits in epoch 2 what broker 1, the leader of epoch 1, never had; broker 0 still follows that one.
    let cut = |isr: &[usize], obeys: bool| {
        let mut story = Story::begun(1);
        story.append(0, 0, 0, &["a"]);
        story.copy(2, 0, 0, &["a"], true);
        story.decide(state(1, 1, 1, &[1, 2]), false);
        story.lead(1, state(1, 1, 1, &[1, 2]), 0, 0);
        story.follow(0, state(1, 1, 1, &[1, 2]), 0);
        story.decide(state(2, 2, 2, isr), false);
        story.lead(2, state(2, 2, 2, isr), 1, 0);
        story.high(2, 1, true, 2);
        if obeys {
            story.follow(0, state(2, 2, 2, isr), 0);
        }
        story.checks.step_ended();
        let before = story.checks.violations().len();
        story.truncate(0, 1, 0);
        story.checks.step_ended();
        let found = story.checks.violations()[before..].iter();
        found.map(|violation| violation.check).collect::<Vec<_>>()
    };
    assert_eq!(cut(&[2], false), [""; 0]);
    assert_eq!(cut(&[2], true), ["I11"]);
    assert_eq!(cut(&[0, 2], false)[0], "I11");
}

#[test]
fn i11_a_follower_begins_anew_though_nothing_was_deleted() {
    let mut lawful = Story::begun(1);
    lawful.write(0, "a");
    lawful.write(1, "b");
    lawful.tick();
    lawful.note(0, Note::LogStartAdvanced { partition: TP, to: 2 });
    lawful.tick();
    lawful.note(1, Note::Restarted { partition: TP, at: 2 });
    lawful.silent(&["I11"]);
    lawful.tick();
    let mut story = Story::begun(1);
    story.write(0, "a");
    story.tick();
    story.note(1, Note::Restarted { partition: TP, at: 0 });
    assert!(story.found().contains(&"I11"));
}

#[test]
fn i12_stale_epochs_change_nothing() {
    let next = state(1, 1, 1, &[0, 1, 2]);
    let mut story = Story::begun(1);
    story.append(0, 0, 0, &["a"]);
    story.copy(1, 0, 0, &["a"], true);
    story.take_over(1, next.clone(), 1, 0);
    story.silent(&["I12"]);
    story.progress(1, 0, 0, 0);
    story.fires(&["I12"]);

    let mut truncated = Story::begun(1);
    truncated.append(0, 0, 0, &["a"]);
    truncated.truncate(0, 1, 0);
    truncated.fires(&["I12"]);

    let mut later = Story::begun(1);
    later.append(0, 0, 0, &["a"]);
    later.copy(1, 0, 7, &["a"], true);
    later.fires(&["I12"]);

    let mut moved = Story::begun(1);
    moved.append(0, 0, 0, &["a"]);
    moved.copy(1, 0, 0, &["a"], true);
    moved.take_over(1, next, 1, 0);
    moved.high(0, 1, true, 0);
    assert!(moved.found().contains(&"I12"));
}

#[test]
fn i11_a_cut_within_what_is_deleted_elsewhere() {
    let mut story = Story::begun(1);
    story.append(0, 0, 0, &["a", "b"]);
    story.copy(1, 0, 0, &["a", "b"], true);
    story.copy(2, 0, 0, &["a", "b"], true);
    story.high(0, 2, true, 0);
    story.tick();
    story.note(0, Note::LogStartAdvanced { partition: TP, to: 2 });
    story.truncate(1, 2, 0);
    story.silent(&["I11"]);
}

#[test]
fn i2_a_process_that_gives_up_in_a_step_leaves_nothing_to_compare() {
    for (gives_up, found) in [(true, vec![]), (false, vec!["I2"])] {
        let mut story = Story::begun(1);
        story.write(0, "a");
        story.write(1, "b");
        story.high(1, 2, false, 0);
        story.tick();
        story.note(
            1,
            Note::Truncated {
                partition: TP,
                from: 2,
                to: 1,
                reason: TruncateReason::Recovery,
            },
        );
        if gives_up {
            let reason = "no space left on device".to_owned();
            story.note(1, Note::LogDirFailed { reason });
        }
        story.tick();
        let found_now: Vec<_> = story.found().into_iter().filter(|check| *check == "I2").collect();
        assert_eq!(found_now, found);
    }
}
