//! Deaths: of the process, and of the power.

use super::*;
use crate::fault::Survival;
use std::collections::BTreeSet;

const ALL: [Survival; 5] = [
    Survival::None,
    Survival::All,
    Survival::Subset,
    Survival::Ordered,
    Survival::Prefix,
];

#[test]
fn a_killed_process_loses_nothing_of_the_page_cache() {
    let mut disk = disk(1);
    let file = disk.open("a", true).expect("healthy");
    disk.write_at(file, 0, b"never synced").expect("healthy");
    disk.process_died();
    assert_eq!(disk.durable("a"), None, "nor does it make anything durable");
    let file = disk.open("a", false).expect("still there");
    assert_eq!(read(&mut disk, file).expect("healthy"), b"never synced");
    disk.power_loss(Survival::None, false, false);
    assert_eq!(disk.open("a", false), Err(Errno::NotFound));
}

#[test]
fn nothing_synced_is_ever_lost_and_any_subset_of_the_rest_survives() {
    for survival in ALL {
        let mut seen = BTreeSet::new();
        for seed in 0..300 {
            let mut disk = disk(seed);
            let file = durable_file(&mut disk, "log", &[1; 1024]);
            for sector in 0..3u8 {
                disk.write_at(file, 1024 + u64::from(sector) * 512, &[2 + sector; 512])
                    .expect("healthy");
            }
            disk.power_loss(survival, seed % 2 == 0, seed % 3 == 0);
            let bytes = disk.durable("log").expect("its name was synced");
            assert_eq!(bytes[..1024], [1; 1024], "{survival:?} seed {seed}");
            assert_eq!(
                disk.cached("log"),
                Some(bytes.clone()),
                "cache and platter agree after a start"
            );
            let whole = |sector: u8| {
                let from = 1024 + usize::from(sector) * 512;
                bytes.get(from..from + 512) == Some(&[2 + sector; 512][..])
            };
            seen.insert([whole(0), whole(1), whole(2)]);
        }
        let want: &[[bool; 3]] = match survival {
            Survival::None => &[[false; 3]],
            Survival::All => &[[true; 3]],
            Survival::Ordered | Survival::Prefix => &[[false; 3], [true, false, false], [true, true, false], [true; 3]],
            Survival::Subset => &[],
        };
        if survival == Survival::Subset {
            assert_eq!(seen.len(), 8, "every subset of three sectors");
        } else {
            assert_eq!(seen, want.iter().copied().collect(), "{survival:?}");
        }
    }
}

#[test]
fn an_ordered_loss_keeps_the_order_across_files() {
    for seed in 0..300 {
        let mut disk = disk(seed);
        let first = durable_file(&mut disk, "first", b"");
        let second = durable_file(&mut disk, "second", b"");
        for round in 0..4u64 {
            disk.write_at(first, round * 512, &[1; 512]).expect("healthy");
            disk.write_at(second, round * 512, &[2; 512]).expect("healthy");
        }
        disk.power_loss(Survival::Ordered, false, false);
        let whole = |bytes: Vec<u8>| {
            bytes
                .chunks(512)
                .filter(|sector| sector.len() == 512 && sector[0] != 0)
                .count()
        };
        let (a, b) = (
            whole(disk.durable("first").expect("name")),
            whole(disk.durable("second").expect("name")),
        );
        assert!(a == b || a == b + 1, "seed {seed}: {a} and {b}");
    }
}

#[test]
fn a_file_whose_directory_was_not_synced_may_vanish_and_may_be_empty() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let mut disk = disk(seed);
        disk.create_dir("d").expect("healthy");
        sync_dir(&mut disk, "").expect("healthy");
        let synced = disk.open("d/synced", true).expect("healthy");
        disk.write_at(synced, 0, b"data").expect("healthy");
        sync(&mut disk, synced).expect("healthy");
        let open = disk.open("d/open", true).expect("healthy");
        disk.write_at(open, 0, b"data").expect("healthy");
        disk.power_loss(Survival::Subset, false, false);
        let synced = disk.durable("d/synced");
        assert!(
            synced.as_deref().is_none_or(|bytes| bytes == b"data"),
            "its data was synced"
        );
        seen.insert((synced, disk.durable("d/open")));
    }
    let data = || Some(b"data".to_vec());
    for outcome in [
        (None, None),
        (data(), None),
        (None, data()),
        (data(), data()),
        (data(), Some(Vec::new())),
    ] {
        assert!(seen.contains(&outcome), "{outcome:?} never happened");
    }
}

#[test]
fn a_removed_file_may_come_back_until_its_directory_is_synced() {
    let mut back = 0;
    for seed in 0..100 {
        let mut disk = disk(seed);
        durable_file(&mut disk, "segment", b"records");
        disk.remove("segment").expect("it is there");
        assert!(!disk.exists("segment"));
        let mut synced = disk.clone();
        sync_dir(&mut synced, "").expect("healthy");
        synced.power_loss(Survival::Subset, false, false);
        assert!(!synced.exists("segment"), "its removal was synced");
        disk.power_loss(Survival::Subset, false, false);
        if disk.exists("segment") {
            back += 1;
            assert_eq!(disk.cached("segment").as_deref(), Some(&b"records"[..]));
        }
    }
    assert!((10..90).contains(&back), "{back} of 100");
}

#[test]
fn a_directory_is_renamed_with_what_is_in_it_or_not_at_all() {
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let mut disk = disk(seed);
        disk.create_dir("queue-0").expect("healthy");
        disk.open("queue-0/log", true).expect("healthy");
        sync_dir(&mut disk, "").expect("healthy");
        sync_dir(&mut disk, "queue-0").expect("healthy");
        disk.rename("queue-0", "queue-0-delete").expect("healthy");
        assert_eq!(disk.files(), ["queue-0-delete/log"]);
        disk.power_loss(Survival::Subset, false, false);
        seen.insert(disk.files());
    }
    let want = [vec!["queue-0-delete/log".to_owned()], vec!["queue-0/log".to_owned()]];
    assert_eq!(seen, BTreeSet::from(want));
}

/// D24: a checkpoint is written beside its name, synced, renamed, and the directory synced; cut at each step.
#[test]
fn a_checkpoint_cut_at_each_step_is_old_or_new_and_half_only_without_its_sync() {
    for data_synced in [true, false] {
        let mut half = 0;
        for steps in 0..=5 {
            let mut seen = BTreeSet::new();
            for seed in 0..200 {
                let mut disk = disk(seed);
                durable_file(&mut disk, "checkpoint", b"old");
                let mut file = None;
                for step in 0..steps {
                    match step {
                        0 => file = Some(disk.open("checkpoint.tmp", true).expect("healthy")),
                        1 => disk.write_at(file.expect("open"), 0, b"new").expect("healthy"),
                        2 if data_synced => sync(&mut disk, file.expect("open")).expect("healthy"),
                        3 => disk.rename("checkpoint.tmp", "checkpoint").expect("healthy"),
                        4 => sync_dir(&mut disk, "").expect("healthy"),
                        _ => {}
                    }
                }
                disk.power_loss(Survival::Subset, false, false);
                seen.insert(disk.cached("checkpoint").expect("never without any"));
            }
            let (old, new) = (b"old".to_vec(), b"new".to_vec());
            half += seen.iter().filter(|bytes| **bytes != old && **bytes != new).count();
            assert_eq!(seen.contains(&old), steps < 5, "after {steps} steps");
            assert_eq!(seen.contains(&new), steps > 3, "after {steps} steps");
        }
        assert_eq!(
            half > 0,
            !data_synced,
            "an unsynced checkpoint may be empty or zeros after its renaming"
        );
    }
}

#[test]
fn a_sync_covers_what_was_written_before_it_and_nothing_after() {
    let mut disk = disk(1);
    let file = durable_file(&mut disk, "a", b"");
    disk.write_at(file, 0, b"before").expect("healthy");
    let (pending, _) = disk.begin_sync_file(file);
    disk.write_at(file, 0, b"AFTER!").expect("healthy");
    disk.write_at(file, 6, b"more").expect("healthy");
    assert_eq!(disk.durable("a").as_deref(), Some(&b""[..]), "not yet");
    disk.finish_sync(pending).expect("healthy");
    assert_eq!(disk.durable("a").as_deref(), Some(&b"before"[..]));
    assert_eq!(disk.cached("a").as_deref(), Some(&b"AFTER!more"[..]));
    sync(&mut disk, file).expect("healthy");
    assert_eq!(disk.durable("a"), disk.cached("a"));
}

#[test]
fn a_sync_that_a_power_failure_overtook_does_nothing() {
    let mut disk = disk(1);
    let file = durable_file(&mut disk, "a", b"old");
    disk.write_at(file, 0, b"new").expect("healthy");
    let (pending, _) = disk.begin_sync_file(file);
    disk.power_loss(Survival::None, false, false);
    assert_eq!(disk.finish_sync(pending), Err(Errno::Io));
    assert_eq!(disk.durable("a").as_deref(), Some(&b"old"[..]));
}

#[test]
fn durable_says_what_a_failure_without_survivors_would_leave() {
    for seed in 0..200 {
        let mut disk = disk(seed);
        let mut stream = Streams::new(seed).stream("ops");
        let names = ["a", "b", "d/a", "d/b"];
        disk.create_dir("d").expect("healthy");
        for _ in 0..40 {
            let (name, other) = (*stream.pick(&names), *stream.pick(&names));
            match stream.below(8) {
                0 => drop(disk.remove(name)),
                1 => drop(disk.rename(name, other)),
                2 => sync_dir(&mut disk, "").expect("healthy"),
                3 => sync_dir(&mut disk, "d").expect("healthy"),
                4 => pass(&mut disk, 1, 35),
                kind => {
                    let file = disk.open(name, true).expect("healthy");
                    let (at, len) = (stream.below(3000), stream.below(3000) as usize);
                    disk.write_at(file, at, &vec![seed as u8 | 1; len]).expect("healthy");
                    if kind == 5 {
                        sync(&mut disk, file).expect("healthy");
                    } else if kind == 6 {
                        disk.set_len(file, at / 2).expect("healthy");
                    }
                    disk.close(file);
                }
            }
        }
        let durable = names.map(|name| disk.durable(name));
        let cached = names.map(|name| disk.cached(name));
        let mut kept = disk.clone();
        disk.power_loss(Survival::None, true, true);
        assert!(names.map(|name| disk.cached(name)) == durable, "seed {seed}");
        kept.power_loss(Survival::All, true, true);
        for (name, want) in names.iter().zip(cached) {
            let got = kept.cached(name);
            if got != want {
                let at = got
                    .iter()
                    .flatten()
                    .zip(want.iter().flatten())
                    .position(|(a, b)| a != b);
                panic!(
                    "seed {seed}: {name} differs at {at:?} of {:?} {:?}",
                    got.map(|b| b.len()),
                    want.map(|b| b.len())
                );
            }
        }
    }
}

#[test]
fn the_same_seed_loses_the_same() {
    let run = |seed| {
        let mut disk = disk(seed);
        let file = durable_file(&mut disk, "a", &[1; 5000]);
        (0..40).for_each(|n| disk.write_at(file, n * 130, &[n as u8; 200]).expect("healthy"));
        disk.power_loss(Survival::Subset, true, true);
        disk.durable("a")
    };
    assert_eq!(run(5), run(5));
    assert!((0..20).map(run).collect::<BTreeSet<_>>().len() > 5);
}

#[test]
fn a_process_dies_in_the_middle_of_its_nth_call() {
    let mut lengths = BTreeSet::new();
    for seed in 0..200 {
        let mut disk = disk(seed);
        let file = disk.open("a", true).expect("healthy");
        disk.die_after_calls(Some(2));
        disk.write_at(file, 0, &[1; 10]).expect("the first call is whole");
        assert!(!disk.died());
        assert_eq!(disk.write_at(file, 10, &[2; 1500]), Err(Errno::Io));
        assert!(disk.died());
        assert_eq!(disk.write_at(file, 0, &[3; 10]), Err(Errno::Io));
        assert!(!disk.exists("a") && disk.list("").is_err() && disk.remove("a").is_err());
        disk.process_died();
        assert!(!disk.died());
        let bytes = disk.cached("a").expect("there");
        assert!(bytes[..10] == [1; 10] && bytes[10..].iter().all(|byte| *byte == 2));
        lengths.insert(bytes.len() - 10);
    }
    assert_eq!(lengths, BTreeSet::from([0, 512, 1024, 1500]));
}

#[test]
fn a_name_changes_whole_or_not_in_the_call_that_dies() {
    let mut seen = BTreeSet::new();
    for seed in 0..50 {
        let mut disk = disk(seed);
        durable_file(&mut disk, "from", b"x");
        disk.die_after_calls(Some(1));
        assert_eq!(disk.rename("from", "to"), Err(Errno::Io));
        disk.process_died();
        seen.insert(disk.files());
    }
    assert_eq!(seen, BTreeSet::from([vec!["from".to_owned()], vec!["to".to_owned()]]));
}
