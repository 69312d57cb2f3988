//! What is accepted, and when a new segment begins.

use super::*;
use bytes::BytesMut;

fn reseal(mut raw: Vec<u8>) -> Bytes {
    let crc = crc32c::crc32c(&raw[21..]);
    raw[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(raw)
}

fn twice(records: &Bytes) -> Bytes {
    let mut both = BytesMut::from(&records[..]);
    both.extend_from_slice(records);
    both.freeze()
}

#[test]
fn a_leader_gives_offsets_and_epoch_and_changes_nothing_else() {
    let mut f = Fixture::new(&[]);
    assert_eq!(
        f.lead(5, 3),
        Appended {
            base_offset: 0,
            last_offset: 2
        }
    );
    assert_eq!(
        f.lead(5, 1),
        Appended {
            base_offset: 3,
            last_offset: 3
        }
    );
    assert_eq!((f.log.log_end_offset(), f.log.last_epoch()), (4, Some(LeaderEpoch(5))));
    let stored = f.log.read(3, 4, 1_000, false, &mut f.disk).unwrap();
    let sent = records(1, f.now.wall_ms);
    assert_eq!(stored[16..], sent[16..]);
    let notes = f.notes();
    let expected = Note::Appended {
        partition: PARTITION,
        base_offset: 3,
        last_offset: 3,
        leader_epoch: LeaderEpoch(5),
        as_leader: true,
        batch: stored,
    };
    assert_eq!(notes.last(), Some(&expected));
    assert_eq!(
        notes[0],
        Note::EpochAssigned {
            partition: PARTITION,
            epoch: LeaderEpoch(5),
            start_offset: 0
        }
    );
}

#[test]
fn what_a_client_may_not_send() {
    let mut f = Fixture::new(&[("max.message.bytes", "200")]);
    let good = records(2, 7);
    let with = |at: usize, bytes: &[u8]| {
        let mut raw = good.to_vec();
        raw[at..at + bytes.len()].copy_from_slice(bytes);
        reseal(raw)
    };
    let mut flipped = good.to_vec();
    flipped[70] ^= 1;
    let invalid: [(&str, Bytes); 9] = [
        ("nothing", Bytes::new()),
        ("two batches", twice(&good)),
        ("old magic", with(16, &[1])),
        ("bytes behind", [&good[..], b"x"].concat().into()),
        ("count below the deltas", with(57, &1i32.to_be_bytes())),
        ("no record", with(57, &0i32.to_be_bytes())),
        ("control", with(21, &[0, 0x20])),
        ("producer without sequence", with(43, &7i64.to_be_bytes())),
        ("transaction without producer", with(21, &[0, 0x10])),
    ];
    for (why, records) in invalid {
        let result = f
            .log
            .append_as_leader(&records, LeaderEpoch(0), f.now, &mut f.disk, &mut f.out);
        assert!(matches!(result, Err(LogError::Invalid(_))), "{why}: {result:?}");
    }
    let mut append = |records: Bytes| {
        f.log
            .append_as_leader(&records, LeaderEpoch(0), f.now, &mut f.disk, &mut f.out)
    };
    assert_eq!(append(Bytes::from(flipped)), Err(LogError::Corrupt));
    assert_eq!(append(good.slice(..50)), Err(LogError::Corrupt));
    assert_eq!(append(good.slice(..70)), Err(LogError::Corrupt));
    assert_eq!(append(records(30, 7)), Err(LogError::TooLarge));
    // The second record's offset delta is 0 again; it stands five bytes before the end.
    let mut raw = good.to_vec();
    let at = raw.len() - 5;
    assert_eq!(raw[at], 2);
    raw[at] = 0;
    assert!(matches!(append(reseal(raw)), Err(LogError::Invalid(_))));
    assert_eq!(
        (f.log.log_end_offset(), f.log.size(), f.log.epochs().len()),
        (0, 0, 0),
        "nothing has changed"
    );
    assert!(f.notes().is_empty());
}

#[test]
fn a_wrong_largest_timestamp_is_corrected() {
    let mut f = Fixture::new(&[]);
    let mut raw = records(1, 50).to_vec();
    raw[35..43].copy_from_slice(&i64::MAX.to_be_bytes());
    f.log
        .append_as_leader(&reseal(raw), LeaderEpoch(0), f.now, &mut f.disk, &mut f.out)
        .unwrap();
    let stored = f.log.read(0, 1, 1_000, true, &mut f.disk).unwrap();
    assert_eq!(batch::check(&stored).unwrap().max_timestamp, 50);
}

#[test]
fn the_metadata_log_takes_control_batches_and_several_at_once() {
    let (mut disk, mut out) = (MemDisk::new(), Outbox::default());
    let now = Now::default();
    let with = OpenWith::default();
    let mut log = Log::open(
        crate::types::METADATA_PARTITION,
        "m",
        config(&[]),
        with,
        now,
        &mut disk,
        &mut out,
    )
    .unwrap();
    let control = batch::build(
        &[(0, Some(Bytes::from_static(&[0, 0, 0, 2])), Some(Bytes::new()))],
        None,
        true,
    );
    let both = twice(&control);
    let appended = log
        .append_as_leader(&both, LeaderEpoch(1), now, &mut disk, &mut out)
        .unwrap();
    assert_eq!(
        appended,
        Appended {
            base_offset: 0,
            last_offset: 1
        }
    );
    assert!(
        log.append_as_leader(&Bytes::new(), LeaderEpoch(1), now, &mut disk, &mut out)
            .is_err()
    );
}

#[test]
fn a_follower_takes_what_continues_its_log() {
    let mut f = Fixture::new(&[]);
    assert_eq!(f.follow(&Bytes::new(), 5), Ok(None));
    let both = [&replicated(3, 1, 0, 2)[..], &replicated(2, 1, 3, 4)[..]].concat();
    assert_eq!(
        f.follow(&Bytes::from(both), 5),
        Ok(Some(Appended {
            base_offset: 0,
            last_offset: 4
        }))
    );
    assert_eq!(epochs_of(&f.log), [(2, 0), (4, 3)]);
    let refused = LogError::NotContiguous { expected: 5, got: 4 };
    assert_eq!(f.follow(&replicated(3, 1, 4, 4), 5), Err(refused));
    // Offsets within one call must grow too, and then nothing of it is appended.
    let again = [&replicated(1, 1, 5, 4)[..], &replicated(1, 1, 5, 4)[..]].concat();
    assert!(f.follow(&Bytes::from(again), 5).is_err());
    assert_eq!(f.log.log_end_offset(), 5);
    // Compaction leaves gaps.
    assert_eq!(
        f.follow(&replicated(1, 1, 9, 4), 5),
        Ok(Some(Appended {
            base_offset: 9,
            last_offset: 9
        }))
    );
    assert_eq!(f.all(), [(0, 2, 2), (3, 4, 4), (9, 9, 4)]);
    assert_eq!(f.read(6), [(9, 9)], "a read inside the gap goes on behind it");
    let mut torn = replicated(1, 1, 10, 4).to_vec();
    torn[65] ^= 1;
    assert_eq!(f.follow(&Bytes::from(torn), 5), Err(LogError::Corrupt));
    assert_eq!(f.follow(&replicated(1, 1, 10, -1), 5), Err(LogError::Corrupt));
}

#[test]
fn batches_of_a_future_epoch_are_left_out_with_all_behind_them() {
    let mut f = Fixture::new(&[]);
    let records = [
        &replicated(1, 1, 0, 2)[..],
        &replicated(1, 1, 1, 6)[..],
        &replicated(1, 1, 2, 2)[..],
    ]
    .concat();
    assert_eq!(
        f.follow(&Bytes::from(records), 5),
        Ok(Some(Appended {
            base_offset: 0,
            last_offset: 0
        }))
    );
    assert_eq!(f.follow(&replicated(1, 1, 1, 6), 5), Ok(None));
    assert_eq!(f.log.log_end_offset(), 1);
}

#[test]
fn a_partial_batch_at_the_end_of_a_fetch_is_left_for_the_next() {
    let mut f = Fixture::new(&[]);
    let records = [&replicated(1, 1, 0, 2)[..], &replicated(1, 1, 1, 2)[..100 - 69]].concat();
    assert_eq!(
        f.follow(&Bytes::from(records), 5),
        Ok(Some(Appended {
            base_offset: 0,
            last_offset: 0
        }))
    );
}

#[test]
fn segments_roll_by_size_time_index_and_offset() {
    let mut f = Fixture::new(&[("segment.bytes", "256")]);
    for _ in 0..7 {
        let _ = f.lead(0, 1);
    }
    assert_eq!(f.segments(), [0, 3, 6], "three batches of 69 bytes fit into 256");
    assert_eq!(
        f.notes()
            .iter()
            .filter(|note| matches!(note, Note::Rolled { .. }))
            .count(),
        2
    );

    let mut f = Fixture::new(&[("segment.ms", "1000")]);
    for timestamp in [5_000, 6_000, 6_001, 3_000] {
        f.lead_at(0, 1, timestamp);
    }
    assert_eq!(
        f.segments(),
        [0, 2],
        "by the timestamps, against that of the segment's first batch"
    );

    let mut f = Fixture::new(&[("segment.ms", "1000")]);
    f.lead_at(0, 1, -1);
    f.later(1_001);
    f.lead_at(0, 1, -1);
    assert_eq!(f.segments(), [0, 1], "by the clock, where records have no timestamp");

    let mut f = Fixture::new(&[("segment.index.bytes", "24"), ("index.interval.bytes", "0")]);
    for _ in 0..6 {
        let _ = f.lead_at(0, 1, -1);
    }
    assert_eq!(f.segments(), [0, 4], "three entries, none for the first batch");

    let mut f = Fixture::new(&[]);
    f.follow(&replicated(1, 1, 0, 0), 0).unwrap();
    let far = i64::from(i32::MAX);
    f.follow(&replicated(1, 1, far, 0), 0).unwrap();
    f.follow(&replicated(1, 1, far + 1, 0), 0).unwrap();
    assert_eq!(f.segments(), [0, far + 1]);
    assert_eq!(f.all(), [(0, 0, 0), (far, far, 0), (far + 1, far + 1, 0)]);
}

#[test]
fn an_epoch_without_records_is_known_from_its_start() {
    let mut f = Fixture::new(&[]);
    f.lead(1, 2);
    f.log.assign_epoch(LeaderEpoch(3), &mut f.disk, &mut f.out).unwrap();
    assert_eq!(epochs_of(&f.log), [(1, 0), (3, 2)]);
    assert_eq!(f.log.last_epoch(), Some(LeaderEpoch(3)));
    f.log.assign_epoch(LeaderEpoch(4), &mut f.disk, &mut f.out).unwrap();
    assert_eq!(epochs_of(&f.log), [(1, 0), (4, 2)]);
    assert_eq!(f.log.end_offset_for_epoch(LeaderEpoch(3)), Some((LeaderEpoch(1), 2)));
    assert_eq!(f.log.end_offset_for_epoch(LeaderEpoch(4)), Some((LeaderEpoch(4), 2)));
    assert_eq!(f.log.end_offset_for_epoch(LeaderEpoch(0)), None);
    assert_eq!(
        (f.log.epoch_at(1), f.log.epoch_at(2)),
        (Some(LeaderEpoch(1)), Some(LeaderEpoch(4)))
    );
}

#[test]
fn a_failing_disk_is_said() {
    let mut f = Fixture::new(&[]);
    f.disk.fail_after(0, DiskError::Full);
    let result = f
        .log
        .append_as_leader(&records(1, 1), LeaderEpoch(0), f.now, &mut f.disk, &mut f.out);
    assert_eq!(result, Err(LogError::Disk(DiskError::Full)));
}
