//! Recovery that is itself interrupted, at every change it makes.

use super::*;

/// A log with everything to do: a bad batch in the middle, lost and bad indexes, a stale epoch file, leftovers.
fn wounded() -> Fixture {
    let mut f = Fixture::new(&[("segment.bytes", "256"), ("index.interval.bytes", "60")]);
    for n in 0..15 {
        f.lead_at(n / 2, 1, 1_000 + i64::from(n));
    }
    f.settle();
    assert_eq!(f.segments(), [0, 3, 6, 9, 12]);
    let mut content = f.disk.content("t-0/00000000000000000006.log").unwrap();
    content[69 + 66] ^= 4;
    f.disk.put("t-0/00000000000000000006.log", &content);
    f.disk.remove("t-0/00000000000000000000.timeindex").unwrap();
    f.disk.put("t-0/00000000000000000003.index", &[0; 16]);
    f.disk.put("t-0/leader-epoch-checkpoint", b"0\n1\n0 0\n");
    f.disk.put("t-0/00000000000000000000.log.deleted", b"x");
    let swap = f.disk.content("t-0/00000000000000000003.log").unwrap();
    f.disk.put("t-0/00000000000000000003.log.swap", &swap);
    f.disk.sync_everything();
    f.disk.crash_process();
    f
}

fn chance(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    }
}

type Seen = (Vec<(Offset, Offset, i32)>, Vec<(i32, Offset)>, Vec<(String, Vec<u8>)>);

fn recover(disk: &mut MemDisk, f: &Fixture) -> Result<Seen, LogError> {
    let with = OpenWith {
        clean: false,
        recovery_point: 5,
        log_start_offset: 0,
    };
    let mut out = Outbox::default();
    let log = Log::open(PARTITION, "t-0", f.log.config.clone(), with, f.now, disk, &mut out)?;
    disk.take_syncs(&mut out);
    let mut opened = Fixture {
        log,
        disk: disk.clone(),
        out,
        now: f.now,
    };
    let files = disk
        .paths()
        .into_iter()
        .map(|path| (path.clone(), disk.content(&path).unwrap()))
        .collect();
    let seen = (opened.all(), epochs_of(&opened.log), files);
    assert_eq!(opened.log.recovery_point(), 5);
    Ok(seen)
}

#[test]
fn a_crash_at_any_change_of_recovery_changes_nothing() {
    let f = wounded();
    let expected = recover(&mut f.disk.clone(), &f).unwrap();
    assert_eq!(expected.0.len(), 7);
    assert_eq!(expected.1, [(0, 0), (1, 2), (2, 4), (3, 6)]);
    let mut interrupted = 0;
    for changes in 0.. {
        let mut disk = f.disk.clone();
        disk.fail_after(changes, DiskError::Io);
        if let Ok(seen) = recover(&mut disk, &f) {
            assert_eq!(seen, expected);
            break;
        }
        interrupted += 1;
        let mut power = disk.clone();
        power.crash_power();
        assert_eq!(recover(&mut power, &f).unwrap(), expected, "power at {changes}");
        for torn in 0..20 {
            let mut power = disk.clone();
            power.crash_torn(&mut chance(changes * 1_000 + torn));
            let seen = recover(&mut power, &f).unwrap();
            assert_eq!((&seen.0, &seen.1), (&expected.0, &expected.1), "torn at {changes}");
        }
        disk.crash_process();
        assert_eq!(recover(&mut disk, &f).unwrap(), expected, "process at {changes}");
        // Recovered, it is recovered.
        disk.crash_process();
        assert_eq!(recover(&mut disk, &f).unwrap(), expected, "again at {changes}");
    }
    assert!(interrupted > 20, "there was something to do: {interrupted}");
}

/// A cut that only the page cache knows, a process that dies before it is synced, and then the power.
#[test]
fn a_cut_of_the_process_before_never_lets_old_batches_follow_new_ones() {
    let mut came_back = 0;
    for torn in 0..200 {
        let mut f = Fixture::new(&[]);
        (0..12).for_each(|n| drop(f.follow(&replicated(8, 1_000, n * 8, 1), 1)));
        f.log.flush(&mut f.out);
        f.settle();
        assert!(f.truncate(24));
        f.disk.crash_process();
        f.reopen(false, 24);
        // Of the size of the one that stood there, so that the next old one would fit behind it.
        f.follow(&replicated(8, 1_000, 24, 2), 2).unwrap();
        f.disk.take_syncs(&mut f.out);
        f.disk.crash_torn(&mut chance(torn));
        f.reopen(false, 24);
        let epochs: Vec<i32> = f.all().iter().map(|batch| batch.2).collect();
        assert!(epochs.is_sorted(), "torn by {torn}: {:?}", f.all());
        assert!(
            !(epochs.contains(&2) && epochs.len() > 4),
            "torn by {torn}: {:?}",
            f.all()
        );
        came_back += usize::from(epochs.len() == 12);
    }
    assert!(came_back > 10, "the cut is lost with the power: {came_back}");
}
