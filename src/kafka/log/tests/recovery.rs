//! What is kept of a log after an unclean stop.

use super::*;

/// Twelve batches in four segments, one epoch each three; everything flushed up to the last roll.
fn twelve() -> Fixture {
    let mut f = Fixture::new(&[("segment.bytes", "256"), ("index.interval.bytes", "60")]);
    for n in 0..12 {
        f.lead_at(n / 3, 1, 1_000 + i64::from(n));
    }
    assert_eq!(f.segments(), [0, 3, 6, 9]);
    f.settle();
    assert_eq!(f.log.recovery_point(), 9);
    f
}

const LAST: &str = "t-0/00000000000000000009";

/// What can be seen of a log, its files included.
#[allow(clippy::type_complexity)] // Everything that recovery may change, to compare at once.
fn image(
    f: &mut Fixture,
) -> (
    Vec<(Offset, Offset, i32)>,
    Vec<(i32, Offset)>,
    Offset,
    Vec<(String, Vec<u8>)>,
) {
    let files = f
        .disk
        .paths()
        .into_iter()
        .map(|path| (path.clone(), f.disk.content(&path).unwrap()))
        .collect();
    (f.all(), epochs_of(&f.log), f.log.log_end_offset(), files)
}

#[test]
fn a_whole_log_is_what_it_was_clean_or_not() {
    for clean in [true, false] {
        let mut f = twelve();
        let before = image(&mut f);
        f.disk.crash_process();
        f.reopen(clean, 9);
        assert_eq!(image(&mut f), before, "{clean}");
        let opened = Note::LogOpened {
            partition: PARTITION,
            log_start_offset: 0,
            log_end_offset: 12,
            recovery_point: if clean { 12 } else { 9 },
            clean,
        };
        let loaded = Note::ProducersLoaded {
            partition: PARTITION,
            producers: Vec::new(),
        };
        assert_eq!(f.notes(), [opened, loaded]);
        assert_eq!(f.lead(4, 1).base_offset, 12);
    }
}

#[test]
fn recovered_records_are_durable_only_after_a_flush() {
    let mut f = twelve();
    f.disk.crash_process();
    f.reopen(false, 9);
    assert_eq!((f.log.recovery_point(), f.log.is_flushed()), (9, false));
    while let Some(tag) = f.disk.complete_one() {
        f.log.on_sync_done(&tag, Ok(()), &mut f.out).unwrap();
    }
    assert_eq!((f.log.recovery_point(), f.log.is_flushed()), (12, true));
    f.disk.crash_power();
    f.reopen(false, 12);
    assert_eq!(f.log.log_end_offset(), 12);
}

#[test]
fn a_torn_tail_is_cut_wherever_it_tears() {
    for cut in 0..3 * 69 {
        let mut f = twelve();
        let content = f.disk.content(&format!("{LAST}.log")).unwrap();
        f.disk.put(&format!("{LAST}.log"), &content[..cut]);
        f.disk.crash_process();
        f.reopen(false, 9);
        let whole = 9 + cut as i64 / 69;
        assert_eq!(f.log.log_end_offset(), whole, "{cut}");
        assert_eq!(f.all().len() as i64, whole);
        assert_eq!(f.log.last_epoch(), Some(LeaderEpoch(if whole > 9 { 3 } else { 2 })));
        assert_eq!(f.disk.content(&format!("{LAST}.log")).unwrap().len() % 69, 0);
        assert_eq!(f.lead(4, 1).base_offset, whole);
        assert_eq!(f.all().len() as i64, whole + 1);
    }
}

#[test]
fn zeros_and_garbage_behind_the_tail_go() {
    let other = replicated(1, 1, 500, 9);
    let late = replicated(1, 1, 11, 9);
    let mut nonsense = replicated(1, 1, 12, 3).to_vec();
    nonsense[68] ^= 1;
    let tails: [(&str, &[u8], i64); 5] = [
        ("zeros", &[0; 4_096], 12),
        ("ones", &[0xff; 100], 12),
        ("a bad checksum", &nonsense, 12),
        ("an offset that is taken", &late, 12),
        // A higher one is a gap, which compaction leaves.
        ("a gap", &other, 501),
    ];
    for (why, tail, end) in tails {
        let mut f = twelve();
        let mut content = f.disk.content(&format!("{LAST}.log")).unwrap();
        content.extend_from_slice(tail);
        f.disk.put(&format!("{LAST}.log"), &content);
        f.disk.crash_process();
        f.reopen(false, 9);
        assert_eq!(f.log.log_end_offset(), end, "{why}");
        let cut = f.notes().iter().any(|note| {
            matches!(
                note,
                Note::Truncated {
                    reason: TruncateReason::Recovery,
                    to: 12,
                    ..
                }
            )
        });
        assert_eq!(cut, end == 12, "{why}");
    }
}

#[test]
fn behind_the_first_bad_byte_nothing_is_kept() {
    let mut f = twelve();
    let path = "t-0/00000000000000000003.log";
    let mut content = f.disk.content(path).unwrap();
    content[69 + 65] ^= 1;
    f.disk.put(path, &content);
    f.disk.crash_process();
    f.reopen(false, 3);
    assert_eq!((f.log.log_end_offset(), f.segments()), (4, vec![0, 3]));
    assert_eq!(epochs_of(&f.log), [(0, 0), (1, 3)]);
    assert!(
        f.disk
            .paths()
            .iter()
            .all(|path| !path.contains("0006") && !path.contains("0009"))
    );
    assert_eq!(
        f.disk.content("t-0/leader-epoch-checkpoint").unwrap(),
        b"0\n2\n0 0\n1 3\n"
    );
    // Below the recovery point, bytes are not read; a clean stop is believed altogether.
    let mut f = twelve();
    f.disk.put(path, &content);
    for (clean, recovery_point) in [(false, 6), (true, 0)] {
        f.disk.crash_process();
        f.reopen(clean, recovery_point);
        assert_eq!(f.log.log_end_offset(), 12);
    }
}

#[test]
fn indexes_that_are_lost_or_bad_are_built_again() {
    let whole = image(&mut twelve());
    for clean in [true, false] {
        for base in [0, 9] {
            for suffix in ["index", "timeindex"] {
                for bad in [
                    None,
                    Some(&[][..]),
                    Some(&[0; 24][..]),
                    Some(&[1, 2, 3][..]),
                    Some(&[0x7f; 24][..]),
                ] {
                    let mut f = twelve();
                    let path = format!("t-0/{base:020}.{suffix}");
                    match bad {
                        None => f.disk.remove(&path).unwrap(),
                        Some(bad) => f.disk.put(&path, bad),
                    }
                    f.disk.crash_process();
                    f.reopen(clean, 9);
                    let (all, epochs, end, files) = image(&mut f);
                    assert_eq!((all, epochs, end), (whole.0.clone(), whole.1.clone(), whole.2));
                    // An empty index is a valid one: it is only slower.
                    if bad != Some(&[]) {
                        assert_eq!(files, whole.3, "{clean} {path} {bad:?}");
                    }
                    for at in 0..12 {
                        assert_eq!(
                            f.log.offset_for_timestamp(1_000 + at, &mut f.disk).unwrap().unwrap().0,
                            at
                        );
                    }
                    f.lead(7, 1);
                }
            }
        }
    }
}

#[test]
fn the_epoch_cache_is_the_fold_of_the_log_whatever_the_file_says() {
    let good = [(0, 0), (1, 3), (2, 6), (3, 9)];
    let stale = b"0\n1\n0 0\n";
    let future = b"0\n5\n0 0\n1 3\n2 6\n3 9\n8 12\n";
    let wrong = b"0\n2\n0 0\n7 4\n";
    for text in [
        None,
        Some(&b""[..]),
        Some(&b"0\n9\n"[..]),
        Some(&stale[..]),
        Some(&future[..]),
        Some(&wrong[..]),
    ] {
        let mut f = twelve();
        match text {
            None => f.disk.remove("t-0/leader-epoch-checkpoint").unwrap(),
            Some(text) => f.disk.put("t-0/leader-epoch-checkpoint", text),
        }
        f.disk.crash_process();
        f.reopen(false, 9);
        assert_eq!(epochs_of(&f.log), good, "{text:?}");
        assert_eq!(
            f.disk.content("t-0/leader-epoch-checkpoint").unwrap(),
            b"0\n4\n0 0\n1 3\n2 6\n3 9\n"
        );
    }
    // An epoch that began without a record is forgotten, as in Kafka; the first epoch is not (KAFKA-10432).
    let mut f = Fixture::new(&[]);
    f.lead(0, 1);
    f.log.assign_epoch(LeaderEpoch(1), &mut f.disk, &mut f.out).unwrap();
    f.disk.crash_process();
    f.reopen(false, 0);
    assert_eq!(epochs_of(&f.log), [(0, 0)]);
}

#[test]
fn the_log_start_comes_from_its_checkpoint() {
    let mut f = twelve();
    f.disk.crash_process();
    f.reopen_with(OpenWith {
        clean: false,
        recovery_point: 9,
        log_start_offset: 7,
    });
    assert_eq!((f.log.log_start_offset(), f.segments()), (7, vec![6, 9]));
    assert_eq!(epochs_of(&f.log), [(2, 7), (3, 9)]);
    f.disk.crash_process();
    f.reopen_with(OpenWith {
        clean: false,
        recovery_point: 9,
        log_start_offset: 0,
    });
    assert_eq!(f.log.log_start_offset(), 6, "nothing is there below");
    f.disk.crash_process();
    f.reopen_with(OpenWith {
        clean: false,
        recovery_point: 9,
        log_start_offset: 40,
    });
    assert_eq!(
        (f.log.log_start_offset(), f.log.log_end_offset(), f.segments()),
        (40, 40, vec![40])
    );
    assert_eq!(epochs_of(&f.log), []);
}

#[test]
fn leftovers_of_other_work_are_cleared() {
    let mut f = twelve();
    let swap = f.disk.content("t-0/00000000000000000003.log").unwrap();
    let swap = &swap[..2 * 69];
    f.disk.put("t-0/00000000000000000003.log.swap", swap);
    f.disk.put("t-0/00000000000000000003.index.swap", b"x");
    f.disk.put("t-0/00000000000000000009.log.cleaned", b"x");
    f.disk.put("t-0/00000000000000000009.log.swap", b"x");
    f.disk.put("t-0/00000000000000000000.log.deleted", b"x");
    f.disk.put("t-0/00000000000000000077.index", b"12345678");
    f.disk.put("t-0/leader-epoch-checkpoint.tmp", b"x");
    f.disk.put("t-0/partition.metadata", b"x");
    f.disk.crash_process();
    f.reopen(false, 9);
    assert_eq!(
        f.all().iter().map(|batch| batch.0).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    );
    let odd = f
        .disk
        .paths()
        .into_iter()
        .filter(|path| base_name_is_odd(path))
        .collect::<Vec<_>>();
    assert_eq!(odd, ["t-0/partition.metadata"]);
}

fn base_name_is_odd(path: &str) -> bool {
    let suffixes = ["log", "index", "timeindex", "snapshot"];
    let names = suffixes.map(|suffix| [0, 3, 6, 9].map(|base| format!("t-0/{base:020}.{suffix}")));
    !names.concat().contains(&path.to_string()) && path != "t-0/leader-epoch-checkpoint"
}

#[test]
fn a_hole_above_the_recovery_point_ends_the_log_and_one_below_does_not() {
    let mut f = twelve();
    for suffix in ["log", "index", "timeindex"] {
        f.disk.remove(&format!("t-0/00000000000000000006.{suffix}")).unwrap();
    }
    f.disk.crash_process();
    let mut above = Fixture {
        log: f.log.clone(),
        disk: f.disk.clone(),
        out: Outbox::default(),
        now: f.now,
    };
    above.reopen(false, 6);
    assert_eq!((above.log.log_end_offset(), above.segments()), (6, vec![0, 3]));
    f.reopen(false, 9);
    assert_eq!((f.log.log_end_offset(), f.segments()), (12, vec![0, 3, 9]));
}

#[test]
fn hostile_files_never_panic() {
    let mut seed = 7u64;
    let mut noise = move || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    for round in 0..400 {
        let mut f = twelve();
        for _ in 0..=noise() % 4 {
            let paths = f.disk.paths();
            let path = &paths[noise() as usize % paths.len()];
            let mut content = f.disk.content(path).unwrap();
            for _ in 0..noise() % 6 {
                if !content.is_empty() {
                    let at = noise() as usize % content.len();
                    content[at] = noise() as u8;
                }
            }
            if noise() % 3 == 0 {
                content.truncate(noise() as usize % (content.len() + 1));
            }
            f.disk.put(path, &content);
        }
        let recovery_point = noise() as i64 % 14;
        f.disk.crash_process();
        f.reopen(round % 3 == 0, recovery_point);
        // Unread bytes may be bad: a read says so.
        for at in f.log.log_start_offset()..=f.log.log_end_offset() {
            let _ = f.log.read(at, i64::MAX, 10_000, true, &mut f.disk);
            let _ = f.log.offset_for_timestamp(1_000 + at, &mut f.disk);
        }
        f.lead(90, 2);
        f.truncate(noise() as i64 % 14);
        f.lead(91, 2);
        f.settle();
    }
}
