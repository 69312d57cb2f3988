//! When the recovery point moves.

use super::*;
use crate::disk::SyncTarget;

fn done(f: &mut Fixture, at: usize) {
    let tag = match &f.out.outputs[at] {
        Output::Sync { tag, .. } => tag.clone(),
        other => panic!("{other:?}"),
    };
    f.log.on_sync_done(&tag, Ok(()), &mut f.out).unwrap();
}

#[test]
fn the_recovery_point_moves_when_all_syncs_are_done() {
    let mut f = Fixture::new(&[]);
    f.lead(0, 5);
    assert!(!f.log.is_flushed());
    f.log.flush(&mut f.out);
    // The batches, the epoch file, the directory that has its name.
    assert_eq!(f.syncs(), 3);
    assert_eq!(f.log.recovery_point(), 0);
    f.lead(0, 5);
    done(&mut f, 2);
    done(&mut f, 0);
    assert_eq!(f.log.recovery_point(), 0);
    done(&mut f, 1);
    assert_eq!(
        f.log.recovery_point(),
        5,
        "what came after the flush was asked for is not in it"
    );
    assert!(f.notes().contains(&Note::Flushed {
        partition: PARTITION,
        to: 5
    }));
    f.out = Outbox::default();
    f.log.flush(&mut f.out);
    assert_eq!(f.syncs(), 1, "only what is new");
    done(&mut f, 0);
    assert_eq!(f.log.recovery_point(), 10);
    assert!(f.log.is_flushed());
    f.out = Outbox::default();
    f.log.flush(&mut f.out);
    assert_eq!(f.syncs(), 0, "nothing is new");
}

#[test]
fn a_later_flush_waits_for_an_earlier_one() {
    let mut f = Fixture::new(&[]);
    f.lead(0, 1);
    f.log.flush(&mut f.out);
    f.lead(0, 1);
    f.log.flush(&mut f.out);
    assert_eq!(f.syncs(), 4);
    done(&mut f, 3);
    assert_eq!(f.log.recovery_point(), 0);
    (0..3).for_each(|at| done(&mut f, at));
    assert_eq!(f.log.recovery_point(), 2);
}

#[test]
fn a_truncation_lowers_flushes_under_way() {
    let mut f = Fixture::new(&[]);
    f.lead(0, 1);
    f.lead(0, 9);
    f.log.flush(&mut f.out);
    f.truncate(1);
    f.lead(1, 1);
    f.settle();
    assert_eq!((f.log.recovery_point(), f.log.log_end_offset()), (1, 2));
    f.log.flush(&mut f.out);
    f.settle();
    assert_eq!(f.log.recovery_point(), 2);
    assert!(f.truncate(1));
    assert_eq!(f.log.recovery_point(), 1);
}

#[test]
fn an_append_returns_when_the_flush_that_it_made_due_is_done() {
    let mut f = Fixture::new(&[("flush.messages", "3")]);
    f.lead(0, 2);
    assert_eq!(f.log.returned_end_offset(), 2, "two are not three");
    f.lead(0, 1);
    assert_eq!((f.log.log_end_offset(), f.log.returned_end_offset()), (3, 2));
    f.lead(0, 1);
    assert_eq!(f.log.returned_end_offset(), 2, "it waits for the lock");
    f.settle();
    assert_eq!((f.log.recovery_point(), f.log.returned_end_offset()), (3, 4));
    f.lead(0, 2);
    assert_eq!((f.log.log_end_offset(), f.log.returned_end_offset()), (6, 4));
    f.truncate(5);
    assert_eq!(f.log.returned_end_offset(), 4);
    f.settle();
    assert_eq!((f.log.recovery_point(), f.log.returned_end_offset()), (4, 4));
    let mut f = Fixture::new(&[]);
    f.lead(0, 1_000);
    assert_eq!(f.log.returned_end_offset(), 1_000, "the operating system decides");
}

#[test]
fn claiming_less_to_be_durable_leaves_no_append_waiting() {
    let mut f = Fixture::new(&[("flush.messages", "1")]);
    f.lead(0, 4);
    f.settle();
    assert_eq!((f.log.recovery_point(), f.log.returned_end_offset()), (4, 4));
    f.log.lower_recovery_point(2);
    // No flush is under way that could end the wait.
    assert_eq!((f.log.recovery_point(), f.log.returned_end_offset()), (2, 4));
}

#[test]
fn a_roll_flushes_the_closed_segment_with_its_indexes() {
    let mut f = Fixture::new(&[("segment.bytes", "256")]);
    for _ in 0..3 {
        let _ = f.lead(0, 1);
    }
    assert_eq!(f.syncs(), 0);
    f.lead(0, 1);
    let targets = f.out.outputs.iter().map(|output| match output {
        Output::Sync { target, .. } => target.clone(),
        other => panic!("{other:?}"),
    });
    let files = targets
        .clone()
        .filter(|target| matches!(target, SyncTarget::File(_)))
        .count();
    assert_eq!(
        (files, targets.len()),
        (5, 6),
        "log, two indexes, epochs, snapshot of producers; directory"
    );
    f.settle();
    assert_eq!(f.log.recovery_point(), 3, "the active segment is not in it");
}

#[test]
fn flush_messages_and_flush_ms() {
    let mut f = Fixture::new(&[("flush.messages", "4")]);
    f.lead(0, 3);
    assert_eq!(f.syncs(), 0);
    f.lead(0, 1);
    assert!(f.syncs() > 0);
    let asked = f.syncs();
    f.lead(0, 3);
    assert_eq!(
        f.syncs(),
        asked,
        "counted from what was asked for, not from what is done"
    );

    let mut f = Fixture::new(&[("flush.ms", "500")]);
    assert_eq!(f.log.next_deadline(), None);
    f.lead(0, 1);
    let due = f.now.mono.plus_ms(500);
    f.later(100);
    f.lead(0, 1);
    assert_eq!(f.log.next_deadline(), Some(due));
    f.log.on_deadline(f.now, &mut f.disk, &mut f.out).unwrap();
    assert_eq!(f.syncs(), 0, "woken early");
    f.later(400);
    f.log.on_deadline(f.now, &mut f.disk, &mut f.out).unwrap();
    f.settle();
    assert_eq!((f.log.recovery_point(), f.log.next_deadline()), (2, None));
}

#[test]
fn an_error_of_a_sync_is_the_logs() {
    let mut f = Fixture::new(&[]);
    f.lead(0, 1);
    f.log.flush(&mut f.out);
    let Output::Sync { tag, .. } = f.out.outputs[0].clone() else {
        panic!()
    };
    assert_eq!(
        f.log.on_sync_done(&tag, Err(DiskError::Io), &mut f.out),
        Err(LogError::Disk(DiskError::Io))
    );
    assert_eq!(f.log.recovery_point(), 0);
}

#[test]
fn syncs_of_an_earlier_log_are_not_taken_for_ones_of_this() {
    let mut f = Fixture::new(&[]);
    f.lead(0, 1);
    f.log.flush(&mut f.out);
    let old: Vec<_> = f.out.outputs.clone();
    f.log.close(&mut f.disk);
    assert_eq!(f.disk.open_files(), 0);
    f.later(1);
    f.reopen(false, 0);
    for output in old {
        let Output::Sync { tag, .. } = output else { panic!() };
        f.log.on_sync_done(&tag, Ok(()), &mut f.out).unwrap();
    }
    assert_eq!(f.log.recovery_point(), 0);
}

#[test]
fn all_files_are_closed_in_the_end() {
    let mut f = Fixture::new(&[("segment.bytes", "256")]);
    for n in 0..20 {
        f.lead(n, 1);
        f.log.flush(&mut f.out);
        f.disk.take_syncs(&mut f.out);
    }
    f.truncate(11);
    f.log.restart_at(50, &mut f.disk, &mut f.out).unwrap();
    f.lead(30, 1);
    f.log.flush(&mut f.out);
    f.settle();
    f.lead(30, 1);
    assert_eq!(f.disk.open_files(), 3, "the active segment's");
    f.log.close(&mut f.disk);
    assert_eq!(f.disk.open_files(), 0);
}

#[test]
fn a_clean_stop_makes_the_active_segments_indexes_durable_too() {
    let mut f = Fixture::new(&[("index.interval.bytes", "0")]);
    f.lead(0, 1);
    f.lead(0, 1);
    let name = "t-0/00000000000000000000.timeindex";
    let index = f.disk.content(name).unwrap();
    assert_eq!(index.len(), 12);
    let mut flushed = f.disk.clone();
    let mut log = f.log.clone();
    log.flush(&mut f.out);
    flushed.take_syncs(&mut f.out);
    flushed.complete_all();
    flushed.crash_power();
    assert_eq!(flushed.content(name).unwrap(), [], "recovery builds it again");
    f.log.flush_to_stop(&mut f.out);
    f.settle();
    assert!(f.log.is_flushed());
    f.disk.crash_power();
    assert_eq!(f.disk.content(name).unwrap(), index);
}

#[test]
fn a_clean_stop_makes_a_cut_durable_that_the_process_before_has_made() {
    let mut f = Fixture::new(&[]);
    f.lead(0, 1);
    f.log.flush(&mut f.out);
    f.settle();
    f.truncate(0);
    f.disk.crash_process();
    f.reopen(false, 0);
    f.log.flush_to_stop(&mut f.out);
    f.settle();
    f.disk.crash_power();
    f.reopen(true, f.log.recovery_point());
    assert_eq!(f.all(), []);
}
