//! Cuts and restarts.

use super::*;
use crate::disk::DiskError;

#[test]
fn a_cut_across_segments_takes_batches_indexes_and_epochs() {
    let mut f = Fixture::new(&[("segment.bytes", "256"), ("index.interval.bytes", "60")]);
    for epoch in 0..12 {
        f.lead_at(epoch, 1, 1_000 + i64::from(epoch));
    }
    assert_eq!(f.segments(), [0, 3, 6, 9]);
    f.settle();
    f.notes();
    assert!(f.truncate(5));
    assert_eq!(f.segments(), [0, 3]);
    assert_eq!(f.log.log_end_offset(), 5);
    assert_eq!(f.all(), [(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4)]);
    assert_eq!(epochs_of(&f.log), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]);
    assert_eq!(
        f.disk.content("t-0/leader-epoch-checkpoint").unwrap(),
        b"0\n5\n0 0\n1 1\n2 2\n3 3\n4 4\n"
    );
    assert_eq!(f.disk.content("t-0/00000000000000000003.log").unwrap().len(), 2 * 69);
    assert_eq!(
        f.disk.content("t-0/00000000000000000003.index").unwrap(),
        [0, 0, 0, 1, 0, 0, 0, 69]
    );
    assert_eq!(f.log.recovery_point(), 5);
    assert_eq!(f.log.offset_for_timestamp(1_004, &mut f.disk).unwrap().unwrap().0, 4);
    assert_eq!(f.log.offset_for_timestamp(1_005, &mut f.disk), Ok(None));
    let cut = Note::Truncated {
        partition: PARTITION,
        from: 12,
        to: 5,
        reason: TruncateReason::Divergence,
    };
    assert!(f.notes().contains(&cut));
    assert_eq!(f.lead(20, 1).base_offset, 5);
}

#[test]
fn at_or_above_the_end_only_epochs_are_cut() {
    let mut f = Fixture::new(&[]);
    f.lead(1, 5);
    f.log.assign_epoch(LeaderEpoch(2), &mut f.disk, &mut f.out).unwrap();
    f.notes();
    assert!(!f.truncate(6));
    assert_eq!(epochs_of(&f.log), [(1, 0), (2, 5)]);
    assert!(!f.truncate(5));
    assert_eq!(epochs_of(&f.log), [(1, 0)]);
    assert_eq!(f.disk.content("t-0/leader-epoch-checkpoint").unwrap(), b"0\n1\n1 0\n");
    assert!(f.notes().is_empty());
}

#[test]
fn a_batch_goes_whole() {
    let mut f = Fixture::new(&[]);
    f.lead(0, 4);
    f.lead(1, 4);
    assert!(f.truncate(6));
    assert_eq!((f.log.log_end_offset(), f.all()), (4, vec![(0, 3, 0)]));
    assert_eq!(epochs_of(&f.log), [(0, 0)]);
}

#[test]
fn below_the_start_the_log_begins_anew() {
    let mut f = Fixture::new(&[("segment.bytes", "256")]);
    for epoch in 0..9 {
        f.lead(epoch, 1);
    }
    f.log.advance_log_start(4, f.now, &mut f.disk, &mut f.out).unwrap();
    f.notes();
    assert!(f.truncate(2));
    assert_eq!(
        (f.log.log_start_offset(), f.log.log_end_offset(), f.segments()),
        (2, 2, vec![2])
    );
    assert_eq!((epochs_of(&f.log), f.all()), (vec![], vec![]));
    assert_eq!(
        f.notes(),
        [Note::Restarted {
            partition: PARTITION,
            at: 2
        }]
    );
    assert_eq!(f.lead(9, 1).base_offset, 2);
}

#[test]
fn to_the_very_start_everything_goes_and_the_start_stays() {
    let mut f = Fixture::new(&[("segment.bytes", "256")]);
    for _ in 0..9 {
        let _ = f.lead(3, 1);
    }
    assert!(f.truncate(0));
    assert_eq!(
        (f.log.log_start_offset(), f.log.log_end_offset(), f.log.size()),
        (0, 0, 0)
    );
    assert_eq!(epochs_of(&f.log), []);
    assert_eq!(f.lead(4, 1).base_offset, 0);
    assert_eq!(f.all(), [(0, 0, 4)]);
}

#[test]
fn a_start_inside_a_batch_survives_a_cut_of_that_batch() {
    let mut f = Fixture::new(&[]);
    f.lead(0, 10);
    f.log.advance_log_start(5, f.now, &mut f.disk, &mut f.out).unwrap();
    assert!(f.truncate(7));
    assert_eq!((f.log.log_start_offset(), f.log.log_end_offset()), (7, 7));
}

#[test]
fn a_restart_leaves_nothing_but_its_offset() {
    let mut f = Fixture::new(&[("segment.bytes", "256")]);
    for _ in 0..9 {
        let _ = f.lead(3, 1);
    }
    f.settle();
    f.log.restart_at(100, &mut f.disk, &mut f.out).unwrap();
    assert_eq!(f.log.recovery_point(), 6, "not durable yet");
    f.settle();
    assert_eq!(
        (f.log.log_start_offset(), f.log.log_end_offset(), f.log.recovery_point()),
        (100, 100, 100)
    );
    assert_eq!(f.log.last_epoch(), None);
    assert_eq!(f.log.read(99, 200, 1_000, true, &mut f.disk), Err(LogError::OutOfRange));
    f.disk.crash_power();
    f.reopen(false, 100);
    assert_eq!((f.log.log_start_offset(), f.log.log_end_offset()), (100, 100));
    assert_eq!(f.log.restart_at(-1, &mut f.disk, &mut f.out), Err(LogError::OutOfRange));
}

/// Nine batches in three segments, durable.
fn nine() -> Fixture {
    let mut f = Fixture::new(&[("segment.bytes", "256")]);
    for _ in 0..9 {
        let _ = f.lead(3, 1);
    }
    f.log.flush(&mut f.out);
    f.settle();
    f
}

#[test]
fn a_restart_that_is_cut_short_leaves_the_old_log_or_its_end_or_the_new_one() {
    let mut ends = Vec::new();
    for steps in 0.. {
        let mut f = nine();
        f.disk.fail_after(steps, DiskError::Full);
        let done = f.log.restart_at(100, &mut f.disk, &mut f.out);
        f.disk.crash_process();
        f.reopen(false, 9);
        let (start, end) = (f.log.log_start_offset(), f.log.log_end_offset());
        let kept: Vec<Offset> = f.all().iter().map(|batch| batch.0).collect();
        assert_eq!(kept, (start..end).collect::<Vec<_>>(), "{steps}: without a hole");
        assert_eq!(f.lead(4, 1).base_offset, end);
        ends.push((start, end));
        if done.is_ok() {
            break;
        }
    }
    ends.dedup();
    assert_eq!(ends, [(0, 9), (3, 9), (6, 9), (100, 100)]);
}

#[test]
fn a_restart_within_the_log_that_is_cut_short_leaves_its_beginning_or_the_new_one() {
    for steps in 0.. {
        let mut f = nine();
        f.disk.fail_after(steps, DiskError::Full);
        let done = f.log.restart_at(5, &mut f.disk, &mut f.out);
        f.disk.crash_process();
        f.reopen(false, 0);
        let (start, end) = (f.log.log_start_offset(), f.log.log_end_offset());
        let kept: Vec<Offset> = f.all().iter().map(|batch| batch.0).collect();
        assert_eq!(kept, (start..end).collect::<Vec<_>>(), "{steps}: without a hole");
        assert!(
            end >= 5,
            "{steps}: what is below the new start may go, but the end does not pass it"
        );
        if done.is_ok() {
            assert_eq!((start, end), (5, 5));
            break;
        }
    }
}

#[test]
fn nothing_is_written_behind_a_cut_that_is_not_durable() {
    let mut f = Fixture::new(&[]);
    for _ in 0..4 {
        let _ = f.lead(0, 1);
    }
    f.log.flush(&mut f.out);
    f.settle();
    f.truncate(2);
    f.disk.take_syncs(&mut f.out);
    f.lead(1, 1);
    assert_eq!(f.segments(), [0, 2]);
    // The old batches come back, the new one is lost: that is an old state, not a mixture.
    let mut lost = MemDisk::clone(&f.disk);
    lost.crash_power();
    let mut without = Fixture {
        log: f.log.clone(),
        disk: lost,
        out: Outbox::default(),
        now: f.now,
    };
    without.reopen(false, 2);
    assert_eq!(without.all(), [(0, 0, 0), (1, 1, 0), (2, 2, 0), (3, 3, 0)]);
    // Once the cut is durable the file is used again.
    f.settle();
    f.truncate(2);
    f.settle();
    f.truncate(1);
    f.settle();
    f.lead(2, 1);
    f.lead(2, 1);
    assert_eq!(f.all(), [(0, 0, 0), (1, 1, 2), (2, 2, 2)]);
    assert_eq!(f.segments(), [0]);
}

#[test]
fn a_cut_is_told_though_the_disk_fails_right_after_it() {
    for steps in 0.. {
        let mut f = nine();
        f.out.notes.clear();
        f.disk.fail_after(steps, DiskError::Full);
        let reason = TruncateReason::Divergence;
        let done = f.log.truncate_to(2, reason, &mut f.disk, &mut f.out);
        let told = f
            .out
            .notes
            .iter()
            .any(|note| matches!(note, Note::Truncated { to: 2, .. }));
        assert_eq!(told, f.log.log_end_offset() == 2, "{steps}");
        if done.is_ok() {
            break;
        }
    }
}
