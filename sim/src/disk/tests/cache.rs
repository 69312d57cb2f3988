//! The page cache at work: names, write-back, memory, counters.

use super::*;
use crate::fault::Survival;

#[test]
fn names_behave_as_the_operating_system_says() {
    let mut disk = disk(1);
    assert_eq!(disk.open("a", false), Err(Errno::NotFound));
    assert_eq!(disk.open("d/a", true), Err(Errno::NotFound));
    assert_eq!(disk.list("d"), Ok(Vec::new()));
    disk.create_dir("d").expect("new");
    disk.create_dir("d").expect("there already");
    assert_eq!(disk.open("d", true), Err(Errno::Io));
    for name in ["d/b", "d/a", "z"] {
        disk.open(name, true).expect("new");
    }
    assert_eq!(disk.list("d"), Ok(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(disk.list(""), Ok(vec!["d".to_owned(), "z".to_owned()]));
    assert_eq!(disk.files(), ["d/a", "d/b", "z"]);
    assert_eq!(disk.rename("nothing", "x"), Err(Errno::NotFound));
    assert_eq!(
        disk.rename("z", "d"),
        Err(Errno::Io),
        "a directory is not replaced by a file"
    );
    assert_eq!(disk.rename("d", "d/inner"), Err(Errno::Io));
    disk.rename("d/a", "z").expect("replaces");
    disk.rename("d", "e").expect("with what is in it");
    assert_eq!(disk.files(), ["e/b", "z"]);
    disk.remove("e").expect("with what is in it");
    assert_eq!(disk.remove("e"), Err(Errno::NotFound));
    assert_eq!(disk.files(), ["z"]);
}

#[test]
fn reads_and_writes_behave_as_those_of_a_plain_vector() {
    for seed in 0..100 {
        let mut disk = disk(seed);
        let mut stream = Streams::new(seed).stream("ops");
        let mut model: Vec<u8> = Vec::new();
        let mut file = durable_file(&mut disk, "a", b"");
        disk.limit_cache((seed % 2 == 0).then_some(8192));
        for round in 0..120u32 {
            let (at, len) = (stream.below(40_000) as usize, stream.below(9000) as usize);
            match stream.below(10) {
                0 => {
                    disk.set_len(file, at as u64).expect("healthy");
                    model.resize(at, 0);
                }
                1 => sync(&mut disk, file).expect("healthy"),
                2 => {
                    disk.power_loss(Survival::All, true, true);
                    file = disk.open("a", false).expect("durable");
                }
                3 => pass(&mut disk, u64::from(round) * 100, u64::from(round) * 100 + 40),
                4..7 => {
                    let want = &model[at.min(model.len())..(at + len).min(model.len())];
                    assert!(
                        disk.read_at(file, at as u64, len).expect("healthy") == want,
                        "seed {seed} round {round}"
                    );
                }
                kind => {
                    let at = if kind == 7 { model.len() } else { at };
                    disk.write_at(file, at as u64, &vec![round as u8; len])
                        .expect("healthy");
                    if len > 0 {
                        model.resize(model.len().max(at + len), 0);
                        model[at..at + len].fill(round as u8);
                    }
                }
            }
            assert_eq!(disk.len(file), model.len() as u64);
        }
        assert!(disk.cached("a").as_deref() == Some(&model[..]), "seed {seed}");
    }
}

#[test]
fn dirty_data_and_names_become_durable_by_themselves_after_half_a_minute() {
    let mut disk = disk(1);
    let file = disk.open("a", true).expect("healthy");
    disk.write_at(file, 0, b"unsynced").expect("healthy");
    pass(&mut disk, 0, 25);
    assert_eq!(disk.durable("a"), None, "too young");
    pass(&mut disk, 30, 90);
    assert_eq!(disk.durable("a").as_deref(), Some(&b"unsynced"[..]));
    assert!(disk.stats().written_back > 0 && disk.stats().synced == 0);
    disk.write_at(file, 8, b" young").expect("healthy");
    pass(&mut disk, 95, 110);
    assert_eq!(disk.durable("a").as_deref(), Some(&b"unsynced"[..]));
}

#[test]
fn a_removed_file_stays_readable_while_open_and_is_not_kept_longer() {
    let mut disk = disk(1);
    let file = durable_file(&mut disk, "a", b"data");
    disk.remove("a").expect("there");
    sync_dir(&mut disk, "").expect("healthy");
    assert_eq!(read(&mut disk, file).expect("open"), b"data");
    disk.close(file);
    disk.close(file);
    disk.open("b", true).expect("healthy");
    sync_dir(&mut disk, "").expect("healthy");
    assert_eq!(
        disk.files.iter().flatten().count(),
        1,
        "the memory of the removed one is free"
    );
    assert_eq!(
        disk.len(
            disk.handles
                .len()
                .checked_sub(1)
                .map(|index| File(index as u32))
                .expect("b")
        ),
        0
    );
}

#[test]
fn a_tail_reader_never_touches_the_platter_and_a_lagging_one_does() {
    let mut disk = disk(1);
    disk.limit_cache(Some(64 * 4096));
    let file = durable_file(&mut disk, "log", b"");
    for n in 0..2000u64 {
        disk.write_at(file, n * 500, &[1; 500]).expect("healthy");
        assert_eq!(disk.read_at(file, n * 500, 500).expect("healthy").len(), 500);
        if n % 50 == 0 {
            sync(&mut disk, file).expect("healthy");
        }
    }
    let tail = disk.stats();
    assert_eq!((tail.read, tail.read_from_platter), (1_000_000, 0));
    assert_eq!((tail.written, tail.written_sequentially), (1_000_000, 1_000_000));
    assert_eq!(tail.read_sequentially, 1_000_000);
    assert!(tail.pages_evicted > 100);
    disk.take_busy();
    disk.read_at(file, 0, 500).expect("healthy");
    let cold = disk.take_busy();
    assert!(disk.stats().read_from_platter >= 4096);
    disk.read_at(file, 0, 500).expect("healthy");
    assert!(cold > 50 * disk.take_busy(), "a miss costs a trip to the device");
    disk.read_at(file, 300_000, 500).expect("healthy");
    assert_eq!(disk.stats().read_sequentially, 1_000_000, "jumps are not sequential");
}

#[test]
fn a_start_after_a_power_failure_is_cold_and_one_after_a_kill_is_warm() {
    let mut disk = disk(1);
    durable_file(&mut disk, "log", &[1; 100_000]);
    disk.process_died();
    let file = disk.open("log", false).expect("there");
    read(&mut disk, file).expect("healthy");
    assert_eq!(disk.stats().read_from_platter, 0);
    disk.power_loss(Survival::None, false, false);
    let file = disk.open("log", false).expect("there");
    read(&mut disk, file).expect("healthy");
    let once = disk.stats().read_from_platter;
    assert!((100_000..=110_000).contains(&once), "{once}");
    read(&mut disk, file).expect("healthy");
    assert_eq!(disk.stats().read_from_platter, once, "now it is cached");
}

#[test]
fn random_writes_are_told_from_appends() {
    let mut disk = disk(1);
    let file = durable_file(&mut disk, "a", &[0; 10_000]);
    disk.write_at(file, 10_000, &[1; 100]).expect("healthy");
    disk.write_at(file, 500, &[1; 10]).expect("healthy");
    disk.write_at(file, 510, &[1; 10]).expect("healthy");
    let stats = disk.stats();
    assert_eq!((stats.written, stats.written_sequentially), (10_120, 10_110));
}

#[test]
fn a_thousand_checkpoints_take_the_memory_of_one() {
    let mut disk = disk(1);
    disk.create_dir("d").expect("healthy");
    for round in 0..1000u64 {
        let file = disk.open("d/c.tmp", true).expect("healthy");
        disk.write_at(file, 0, &round.to_le_bytes()).expect("healthy");
        sync(&mut disk, file).expect("healthy");
        disk.close(file);
        disk.rename("d/c.tmp", "d/c").expect("healthy");
        if round % 3 == 0 {
            sync_dir(&mut disk, "d").expect("healthy");
        }
        assert!(disk.files.iter().flatten().count() <= 5, "round {round}");
    }
    disk.remove("d").expect("healthy");
    sync_dir(&mut disk, "").expect("healthy");
    assert_eq!(disk.files.iter().flatten().count(), 0);
}
