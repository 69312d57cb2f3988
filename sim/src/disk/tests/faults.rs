//! Faults of the device.

use super::*;
use crate::fault::{DiskFault, Survival};

#[test]
fn a_failed_sync_reports_once_and_what_it_covered_lasts_until_the_power_fails() {
    let mut disk = disk(1);
    let file = durable_file(&mut disk, "a", b"old");
    disk.write_at(file, 0, b"new").expect("healthy");
    assert!(disk.apply(&DiskFault::FailSync, 0));
    assert_eq!(sync(&mut disk, file), Err(Errno::Io));
    assert_eq!(
        sync(&mut disk, file),
        Ok(()),
        "the pages are clean: nothing to write, nothing to report"
    );
    assert_eq!(read(&mut disk, file).expect("healthy"), b"new");
    pass(&mut disk, 1, 100);
    assert_eq!(
        disk.durable("a").as_deref(),
        Some(&b"old"[..]),
        "no write-back comes to it"
    );
    let mut killed = disk.clone();
    killed.process_died();
    assert_eq!(killed.cached("a").as_deref(), Some(&b"new"[..]), "a kill keeps it");
    disk.power_loss(Survival::All, false, false);
    assert_eq!(disk.cached("a").as_deref(), Some(&b"old"[..]));
}

#[test]
fn a_sync_without_anything_to_write_does_not_fail() {
    let mut disk = disk(1);
    let file = durable_file(&mut disk, "a", b"old");
    disk.apply(&DiskFault::FailSync, 0);
    assert_eq!(sync(&mut disk, file), Ok(()));
    disk.open("b", true).expect("healthy");
    assert_eq!(
        sync_dir(&mut disk, ""),
        Err(Errno::Io),
        "the fault waited for its occasion"
    );
    assert_eq!(sync_dir(&mut disk, ""), Ok(()));
    disk.power_loss(Survival::All, false, false);
    assert!(!disk.exists("b") && disk.exists("a"));
}

#[test]
fn data_written_after_a_failed_sync_becomes_durable_without_what_failed() {
    let mut disk = disk(1);
    let file = durable_file(&mut disk, "a", &[1; 512]);
    disk.write_at(file, 512, &[2; 512]).expect("healthy");
    disk.apply(&DiskFault::FailSync, 0);
    assert_eq!(sync(&mut disk, file), Err(Errno::Io));
    disk.write_at(file, 1024, &[3; 512]).expect("healthy");
    sync(&mut disk, file).expect("once only");
    let want = [[1; 512], [0; 512], [3; 512]].concat();
    assert_eq!(disk.durable("a"), Some(want), "a hole in the middle of the log");
}

#[test]
fn a_lying_sync_says_yes_and_a_power_failure_shows_the_lie() {
    let mut disk = disk(1);
    let file = durable_file(&mut disk, "a", b"old");
    disk.apply(&DiskFault::LyingSync { for_ms: 10_000 }, 0);
    disk.write_at(file, 0, b"new").expect("healthy");
    assert_eq!(sync(&mut disk, file), Ok(()));
    let mut later = disk.clone();
    disk.power_loss(Survival::None, false, false);
    assert_eq!(disk.cached("a").as_deref(), Some(&b"old"[..]));
    later.write_back(10_000_000_000);
    assert_eq!(
        later.durable("a").as_deref(),
        Some(&b"new"[..]),
        "in time it becomes true"
    );
}

#[test]
fn an_honest_sync_after_the_lies_makes_all_durable() {
    let mut disk = disk(1);
    let file = durable_file(&mut disk, "a", b"old");
    disk.apply(&DiskFault::LyingSync { for_ms: 1_000_000 }, 0);
    disk.write_at(file, 0, b"new").expect("healthy");
    disk.open("b", true).expect("healthy");
    sync(&mut disk, file).expect("a lie");
    sync_dir(&mut disk, "").expect("a lie");
    assert_eq!(
        (disk.durable("a").as_deref(), disk.durable("b")),
        (Some(&b"old"[..]), None)
    );
    disk.apply(&DiskFault::Healthy, 0);
    sync(&mut disk, file).expect("healthy");
    sync_dir(&mut disk, "").expect("healthy");
    assert_eq!(
        (disk.durable("a").as_deref(), disk.durable("b")),
        (Some(&b"new"[..]), Some(Vec::new()))
    );
}

#[test]
fn an_unreadable_sector_fails_every_read_until_it_is_written_again() {
    let mut disk = disk(3);
    let file = durable_file(&mut disk, "a", &[1; 4096]);
    assert!(disk.apply(&DiskFault::UnreadableSector, 0));
    assert_eq!(read(&mut disk, file), Err(Errno::Io));
    assert_eq!(read(&mut disk, file), Err(Errno::Io), "a retry does not help");
    assert_eq!(
        disk.write_at(file, 5, b"part"),
        Err(Errno::Io),
        "part of a page needs the rest of it"
    );
    disk.power_loss(Survival::None, false, false);
    let file = disk.open("a", false).expect("its name is fine");
    assert_eq!(read(&mut disk, file), Err(Errno::Io), "nor does a restart");
    disk.write_at(file, 0, &[2; 4096]).expect("a whole page needs nothing");
    sync(&mut disk, file).expect("healthy");
    disk.power_loss(Survival::None, false, false);
    let file = disk.open("a", false).expect("its name is fine");
    assert_eq!(read(&mut disk, file).expect("mended"), [2; 4096]);
}

#[test]
fn a_flipped_bit_is_one_bit_silent_lasting_and_seen_by_the_next_read() {
    for seed in 0..50 {
        let mut disk = disk(seed);
        let file = durable_file(&mut disk, "a", &[0; 10_000]);
        assert!(disk.apply(&DiskFault::BitFlip, 0));
        let bytes = read(&mut disk, file).expect("silent");
        assert_eq!(
            bytes.iter().map(|byte| byte.count_ones()).sum::<u32>(),
            1,
            "seed {seed}"
        );
        assert_eq!(read(&mut disk, file).expect("silent"), bytes);
        disk.power_loss(Survival::None, false, false);
        assert_eq!(disk.cached("a"), Some(bytes));
    }
}

#[test]
fn there_is_nothing_to_damage_on_an_empty_disk() {
    let mut disk = disk(1);
    let file = disk.open("a", true).expect("healthy");
    disk.write_at(file, 0, b"only cached").expect("healthy");
    assert!(!disk.apply(&DiskFault::BitFlip, 0) && !disk.apply(&DiskFault::UnreadableSector, 0));
    assert!(!disk.apply(&DiskFault::Rollback, 0), "nor a snapshot to go back to");
}

#[test]
fn a_lost_write_leaves_one_sector_as_it_was() {
    for seed in 0..50 {
        let mut disk = disk(seed);
        let file = durable_file(&mut disk, "a", &[1; 2048]);
        disk.apply(&DiskFault::LoseWrite, 0);
        disk.write_at(file, 0, &[2; 4096]).expect("healthy");
        assert_eq!(sync(&mut disk, file), Ok(()), "nobody is told");
        let bytes = read(&mut disk, file).expect("silent");
        let lost: Vec<usize> = (0..8).filter(|sector| bytes[sector * 512] != 2).collect();
        assert_eq!(lost.len(), 1, "seed {seed}");
        let old = if lost[0] < 4 { 1 } else { 0 };
        assert!(bytes[lost[0] * 512..][..512].iter().all(|byte| *byte == old));
        assert_eq!(disk.durable("a"), Some(bytes));
    }
}

#[test]
fn a_misdirected_write_spoils_two_places() {
    let mut other_file = 0;
    for seed in 0..50 {
        let mut disk = disk(seed);
        let file = durable_file(&mut disk, "a", &[1; 8192]);
        let victim = durable_file(&mut disk, "b", &[9; 8192]);
        disk.apply(&DiskFault::MisdirectWrite, 0);
        disk.write_at(file, 4096, &[2; 4096]).expect("healthy");
        assert_eq!(sync(&mut disk, file), Ok(()));
        let (a, b) = (
            read(&mut disk, file).expect("silent"),
            read(&mut disk, victim).expect("silent"),
        );
        let sectors = |bytes: &[u8], value| bytes.chunks(512).filter(|sector| sector[0] == value).count();
        assert_eq!(
            sectors(&a[4096..], 1),
            1,
            "seed {seed}: the intended place keeps its bytes"
        );
        let stray = sectors(&a[..4096], 2) + sectors(&b, 2);
        assert_eq!(stray, 1, "seed {seed}: and another place has them");
        other_file += sectors(&b, 2);
    }
    assert!((5..50).contains(&other_file), "{other_file}");
}

#[test]
fn a_full_disk_refuses_new_pages_and_names_until_there_is_space() {
    let mut disk = disk(1);
    let file = durable_file(&mut disk, "a", &[1; 4000]);
    disk.apply(&DiskFault::Full, 0);
    assert_eq!(disk.write_at(file, 4000, &[2; 200]), Err(Errno::NoSpace));
    assert_eq!(disk.len(file), 4096, "the last page was allocated");
    assert_eq!(disk.write_at(file, 0, &[3; 4096]), Ok(()), "and stays writable");
    assert_eq!(disk.open("b", true), Err(Errno::NoSpace));
    assert_eq!(disk.create_dir("d"), Err(Errno::NoSpace));
    disk.apply(&DiskFault::Healthy, 0);
    assert_eq!(disk.write_at(file, 4096, &[2; 200]), Ok(()));
    assert!(disk.open("b", true).is_ok() && disk.create_dir("d").is_ok());
}

#[test]
fn a_slow_disk_takes_its_time_and_a_hung_one_does_not_end() {
    let sync_ns = |factor| {
        let mut disk = disk(9);
        disk.apply(&DiskFault::Slow { factor }, 0);
        let file = disk.open("a", true).expect("slow is not broken");
        disk.write_at(file, 0, &[1; 4096]).expect("slow is not broken");
        let (_, takes) = disk.begin_sync_file(file);
        (takes.expect("not hung"), disk.take_busy())
    };
    let (healthy, slow) = (sync_ns(1), sync_ns(50));
    assert_eq!((healthy.0 * 50, healthy.1 * 50), slow);
    let mut disk = disk(9);
    let file = durable_file(&mut disk, "a", b"old");
    disk.apply(&DiskFault::Hung, 0);
    disk.write_at(file, 0, b"new").expect("the page cache still works");
    assert!(disk.begin_sync_file(file).1.is_none() && disk.begin_sync_dir("").1.is_none());
    pass(&mut disk, 1, 100);
    assert_eq!(disk.durable("a").as_deref(), Some(&b"old"[..]), "no write-back either");
    disk.apply(&DiskFault::Healthy, 0);
    sync(&mut disk, file).expect("healthy");
    assert_eq!(disk.durable("a").as_deref(), Some(&b"new"[..]));
}

#[test]
fn a_disk_goes_back_to_its_snapshot_or_is_new_but_never_under_open_files() {
    let mut disk = disk(1);
    disk.create_dir("d").expect("healthy");
    let file = durable_file(&mut disk, "a", b"then");
    disk.write_at(file, 0, b"cach").expect("healthy");
    assert!(disk.apply(&DiskFault::Snapshot, 0));
    disk.write_at(file, 0, b"now!").expect("healthy");
    sync(&mut disk, file).expect("healthy");
    durable_file(&mut disk, "b", b"later");
    assert!(
        !disk.apply(&DiskFault::Wipe, 0) && !disk.apply(&DiskFault::Rollback, 0),
        "in use"
    );
    disk.process_died();
    assert!(disk.apply(&DiskFault::Rollback, 0));
    assert_eq!(
        (disk.files(), disk.cached("a").as_deref()),
        (vec!["a".to_owned()], Some(&b"then"[..]))
    );
    assert!(disk.exists("d") && disk.durable("a").is_some());
    assert!(disk.apply(&DiskFault::Wipe, 0));
    assert!(disk.files().is_empty() && !disk.exists("d"));
    let file = disk.open("a", true).expect("it is a working disk");
    disk.write_at(file, 0, b"new").expect("healthy");
}

/// Kind and path of what was struck since the last question.
fn strikes(disk: &mut Disk) -> Vec<(&'static str, Option<String>)> {
    let strikes = disk.take_strikes().into_iter();
    strikes.map(|strike| (strike.what, strike.path)).collect()
}

#[test]
fn what_a_fault_strikes_is_told_when_it_does() {
    let mut disk = disk(1);
    disk.create_dir("d").expect("healthy");
    sync_dir(&mut disk, "").expect("healthy");
    let file = disk.open("d/a", true).expect("healthy");
    disk.write_at(file, 0, &[1; 512]).expect("healthy");
    sync(&mut disk, file).expect("healthy");
    sync_dir(&mut disk, "d").expect("healthy");
    let at = |what: &'static str, path: &str| (what, Some(path.to_owned()));
    for fault in [DiskFault::BitFlip, DiskFault::UnreadableSector] {
        disk.apply(&fault, 0);
        assert_eq!(strikes(&mut disk), [at(fault.kind(), "d/a")]);
    }
    disk.apply(&DiskFault::LoseWrite, 0);
    assert_eq!(strikes(&mut disk), [], "it waits for its occasion");
    disk.write_at(file, 0, &[2; 512]).expect("a whole page needs nothing");
    sync(&mut disk, file).expect("healthy");
    assert_eq!(strikes(&mut disk), [at("lost_write", "d/a")]);
    let other = durable_file(&mut disk, "b", &[1; 512]);
    disk.apply(&DiskFault::MisdirectWrite, 0);
    for byte in 3..20 {
        disk.write_at(other, 0, &[byte; 512]).expect("healthy");
        sync(&mut disk, other).expect("healthy");
    }
    let mut both = strikes(&mut disk);
    both.sort_unstable();
    assert_eq!(both, [at("misdirected_write", "b"), at("misdirected_write", "d/a")]);
    disk.process_died();
    disk.apply(&DiskFault::Wipe, 0);
    assert_eq!(strikes(&mut disk), [("disk_wiped", None)]);
}

#[test]
fn a_lie_strikes_what_it_was_about_and_only_when_the_power_fails() {
    let mut disk = disk(1);
    disk.create_dir("d").expect("healthy");
    durable_file(&mut disk, "b", b"untouched");
    let file = durable_file(&mut disk, "a", b"old");
    disk.apply(&DiskFault::LyingSync { for_ms: 1_000_000 }, 0);
    disk.write_at(file, 0, b"new").expect("healthy");
    disk.open("d/c", true).expect("healthy");
    let mut unasked = disk.clone();
    sync(&mut disk, file).expect("a lie");
    sync_dir(&mut disk, "d").expect("a lie");
    let mut mended = disk.clone();
    assert_eq!(strikes(&mut disk), []);
    disk.power_loss(Survival::None, false, false);
    let struck: Vec<_> = strikes(&mut disk).into_iter().filter_map(|(_, path)| path).collect();
    assert_eq!(struck, ["a", "d"]);
    unasked.power_loss(Survival::None, false, false);
    assert_eq!(strikes(&mut unasked), [], "nobody had been promised anything");
    mended.apply(&DiskFault::Healthy, 0);
    sync(&mut mended, file).expect("healthy");
    sync_dir(&mut mended, "d").expect("healthy");
    mended.power_loss(Survival::None, false, false);
    assert_eq!(strikes(&mut mended), []);
}

#[test]
fn what_a_failed_sync_has_left_undone_is_told_when_the_power_fails() {
    let mut disk = disk(1);
    let file = durable_file(&mut disk, "a", b"old");
    durable_file(&mut disk, "b", b"untouched");
    disk.write_at(file, 0, b"new").expect("healthy");
    disk.apply(&DiskFault::FailSync, 0);
    assert_eq!(sync(&mut disk, file), Err(Errno::Io));
    sync(&mut disk, file).expect("the pages are clean");
    assert_eq!(strikes(&mut disk), []);
    disk.power_loss(Survival::All, false, false);
    assert_eq!(strikes(&mut disk), [("sync_failed", Some("a".to_owned()))]);
    disk.power_loss(Survival::All, false, false);
    assert_eq!(strikes(&mut disk), [], "once");
}
