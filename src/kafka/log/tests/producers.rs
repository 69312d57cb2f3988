//! What is known of idempotent producers, in a log that is appended to, cut, rolled, stopped and damaged.

use super::*;

/// First sequence, last sequence, last offset of the batches that are known of producer 7.
fn known(f: &Fixture) -> Vec<(i32, i32, Offset)> {
    let state = f.log.producers().get(7);
    let batches = state.map_or(&[][..], |state| state.batches());
    let batches = batches.iter();
    batches
        .map(|batch| (batch.base_sequence(), batch.last_sequence, batch.last_offset))
        .collect()
}

fn snapshots(f: &Fixture) -> Vec<String> {
    let paths = f.disk.paths();
    paths.into_iter().filter(|path| path.ends_with(".snapshot")).collect()
}

/// `count` batches of one record of producer 7, three in a segment.
fn written(count: i32) -> Fixture {
    let mut f = Fixture::new(&[("segment.bytes", "256")]);
    for sequence in 0..count {
        f.produce(0, &produced(7, 0, sequence, 1)).unwrap();
    }
    f.settle();
    f
}

fn stop_cleanly(f: &mut Fixture) {
    f.log.take_producer_snapshot(&mut f.disk).unwrap();
    f.log.flush_to_stop(&mut f.out);
    f.settle();
    assert!(f.log.is_flushed());
    f.disk.crash_power();
    f.reopen(true, f.log.recovery_point());
}

#[test]
fn a_batch_that_comes_again_is_not_appended_and_has_its_old_offsets() {
    let mut f = Fixture::new(&[]);
    let first = f.produce(0, &produced(7, 0, 0, 3)).unwrap();
    f.produce(0, &produced(7, 0, 3, 1)).unwrap();
    f.notes();
    assert_eq!(f.produce(0, &produced(7, 0, 0, 3)), Ok(first));
    assert_eq!(f.log.log_end_offset(), 4);
    assert!(matches!(
        f.notes()[..],
        [Note::DuplicateFound {
            producer_id: 7,
            base_offset: 0,
            last_offset: 2,
            ..
        }]
    ));
}

#[test]
fn gaps_zombies_and_transactions_are_refused_and_change_nothing() {
    let mut f = Fixture::new(&[]);
    f.produce(0, &produced(7, 1, 0, 1)).unwrap();
    let before = f.log.clone();
    assert_eq!(f.produce(0, &produced(7, 1, 2, 1)), Err(LogError::OutOfOrderSequence));
    assert_eq!(f.produce(0, &produced(7, 2, 1, 1)), Err(LogError::OutOfOrderSequence));
    assert_eq!(f.produce(0, &produced(7, 0, 1, 1)), Err(LogError::InvalidProducerEpoch));
    let mut transactional = produced(7, 1, 1, 1).to_vec();
    transactional[22] |= 0x10;
    let crc = crc32c::crc32c(&transactional[21..]).to_be_bytes();
    transactional[17..21].copy_from_slice(&crc);
    assert_eq!(
        f.produce(0, &transactional.into()),
        Err(LogError::InvalidTransactionState)
    );
    assert_eq!(f.log.log_end_offset(), 1);
    assert_eq!(f.log.producers(), before.producers());
}

#[test]
fn a_cut_takes_the_state_back_and_the_snapshots_above_it_away() {
    let mut f = written(8);
    assert_eq!(snapshots(&f).len(), 2);
    assert_eq!(known(&f).last(), Some(&(7, 7, 7)));
    f.truncate(5);
    // The snapshot at 3 knows one batch, the two behind it are read.
    assert_eq!(known(&f), [(2, 2, 2), (3, 3, 3), (4, 4, 4)]);
    assert_eq!(snapshots(&f), ["t-0/00000000000000000003.snapshot"]);
    assert_eq!(f.produce(1, &produced(7, 0, 6, 1)), Err(LogError::OutOfOrderSequence));
    f.produce(1, &produced(7, 0, 5, 1)).unwrap();
    f.truncate(0);
    assert_eq!(known(&f), []);
    assert_eq!(snapshots(&f), [""; 0]);
}

#[test]
fn a_log_that_restarts_knows_nobody() {
    let mut f = written(8);
    f.log.restart_at(100, &mut f.disk, &mut f.out).unwrap();
    assert!(f.log.producers().is_empty() && snapshots(&f).is_empty());
    f.settle();
    f.disk.crash_power();
    f.reopen(false, 100);
    assert!(f.log.producers().is_empty());
}

#[test]
fn a_clean_stop_leaves_the_newest_batch_and_an_unclean_one_what_stands_behind_the_last_snapshot() {
    let mut f = written(8);
    let mut unclean = written(8);
    stop_cleanly(&mut f);
    assert_eq!(known(&f), [(7, 7, 7)]);
    unclean.disk.crash_process();
    unclean.reopen(false, 7);
    assert_eq!(known(&unclean), [(5, 5, 5), (6, 6, 6), (7, 7, 7)]);
    // With an older recovery point more is read again.
    unclean.disk.crash_process();
    unclean.reopen(false, 0);
    assert_eq!(known(&unclean).len(), 5);
}

#[test]
fn a_damaged_snapshot_goes_and_an_older_one_is_read() {
    for damage in [0, 1, 5, 20] {
        let mut f = written(8);
        stop_cleanly(&mut f);
        let name = "t-0/00000000000000000008.snapshot";
        let mut content = f.disk.content(name).unwrap();
        match damage {
            0 => content.clear(),
            1 => content.truncate(30),
            at => content[at] ^= 1,
        }
        f.disk.put(name, &content);
        f.disk.crash_process();
        f.reopen(true, f.log.recovery_point());
        assert_eq!(known(&f), [(5, 5, 5), (6, 6, 6), (7, 7, 7)], "damage {damage}");
        assert!(!snapshots(&f).contains(&name.to_string()));
    }
}

#[test]
fn a_snapshot_of_records_that_were_cut_is_not_believed_after_an_unclean_stop() {
    let mut f = written(8);
    let old = f.disk.content("t-0/00000000000000000006.snapshot").unwrap();
    f.truncate(4);
    for sequence in 4..7 {
        f.produce(1, &produced(9, 0, sequence, 1)).unwrap();
    }
    // What a power failure brings back.
    f.disk.put("t-0/00000000000000000006.snapshot", &old);
    f.disk.crash_process();
    f.reopen(false, 4);
    assert_eq!(known(&f).last(), Some(&(3, 3, 3)));
    assert_eq!(f.log.producers().get(9).unwrap().last_sequence(), 6);
}

#[test]
fn a_snapshot_goes_with_its_segment_and_deleted_records_leave_their_producer_known() {
    let mut f = written(8);
    f.log.advance_log_start(7, f.now, &mut f.disk, &mut f.out).unwrap();
    assert_eq!(snapshots(&f), ["t-0/00000000000000000006.snapshot"]);
    f.later(60_000);
    f.log.on_deadline(f.now, &mut f.disk, &mut f.out).unwrap();
    assert!(f.disk.paths().iter().all(|path| !path.ends_with(".deleted")));
    f.log.advance_log_start(8, f.now, &mut f.disk, &mut f.out).unwrap();
    stop_cleanly(&mut f);
    assert_eq!(known(&f), [(7, 7, 7)], "though its last record is deleted");
}

#[test]
fn who_was_silent_for_long_may_begin_anywhere() {
    let mut f = written(2);
    f.notes();
    f.log.expire_producers(500, 1_499, &mut f.out);
    assert!(f.notes().is_empty() && !known(&f).is_empty());
    f.log.expire_producers(500, 1_500, &mut f.out);
    assert!(matches!(f.notes()[..], [Note::ProducersExpired { .. }]));
    f.produce(0, &produced(7, 0, 44, 1)).unwrap();
}

#[test]
fn a_follower_learns_what_its_leader_lets_pass() {
    let mut f = Fixture::new(&[]);
    for (base, sequence) in [(0, 0), (1, 1), (2, 17)] {
        let batch = batch::assign(&produced(7, 0, sequence, 1), base, LeaderEpoch(0));
        f.follow(&batch, 0).unwrap();
    }
    assert_eq!(known(&f), [(0, 0, 0), (1, 1, 1), (17, 17, 2)]);
    assert_eq!(f.produce(1, &produced(7, 0, 17, 1)).unwrap().base_offset, 2);
}
