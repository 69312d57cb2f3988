//! Reads by offset and by timestamp.

use super::*;

#[test]
fn every_offset_is_found_near_the_end_and_far_from_it() {
    let mut f = Fixture::new(&[("segment.bytes", "2000"), ("index.interval.bytes", "150")]);
    for n in 0..300 {
        f.lead(0, 1 + n % 3);
    }
    let batches = f.all();
    assert_eq!(batches.len(), 300);
    assert!(f.segments().len() > 10);
    for at in 0..f.log.log_end_offset() {
        let first = f.read(at)[0];
        assert!(first.0 <= at && at <= first.1, "{at}: {first:?}");
    }
    // The same without what is remembered in memory.
    f.log.tail.clear();
    for at in 0..f.log.log_end_offset() {
        let first = f.read(at)[0];
        assert!(first.0 <= at && at <= first.1, "{at}: {first:?}");
    }
}

#[test]
fn limits_are_kept() {
    for remembers in [true, false] {
        let mut f = Fixture::new(&[]);
        for _ in 0..10 {
            let _ = f.lead(0, 2);
        }
        if !remembers {
            f.log.tail.clear();
        }
        let mut read = |from, upto, max, one| {
            f.log
                .read(from, upto, max, one, &mut f.disk)
                .map(|bytes| bytes.len() / 77)
        };
        assert_eq!(read(0, 20, 1_000_000, false), Ok(10));
        assert_eq!(
            read(3, 20, 1_000_000, false),
            Ok(9),
            "the whole batch that holds the offset"
        );
        assert_eq!(read(0, 20, 77 * 3 + 76, false), Ok(3));
        assert_eq!(read(0, 20, 10, false), Ok(0));
        assert_eq!(read(0, 20, 10, true), Ok(1));
        assert_eq!(read(0, 6, 1_000_000, true), Ok(3));
        assert_eq!(
            read(0, 7, 1_000_000, true),
            Ok(3),
            "no batch that ends at the bound or above"
        );
        assert_eq!(read(0, 1, 1_000_000, true), Ok(0));
        assert_eq!(read(6, 6, 1_000_000, true), Ok(0));
        assert_eq!(read(20, 99, 1_000_000, true), Ok(0));
        assert_eq!(read(19, 99, 1_000_000, true), Ok(1));
        assert_eq!(read(21, 99, 1_000_000, true), Err(LogError::OutOfRange));
        assert_eq!(read(-1, 99, 1_000_000, true), Err(LogError::OutOfRange));
    }
}

#[test]
fn a_lying_index_is_not_believed() {
    let mut f = Fixture::new(&[("index.interval.bytes", "100")]);
    for _ in 0..10 {
        let _ = f.lead(0, 1);
    }
    let mut index = f.disk.content("t-0/00000000000000000000.index").unwrap();
    index.chunks_mut(8).for_each(|entry| entry[7] ^= 0x15);
    let file = f.log.segments[0].offsets.file();
    f.disk.write_at(file, 0, &index).unwrap();
    f.log.tail.clear();
    for at in 0..8 {
        assert_eq!(f.read(at)[0], (at, at));
    }
}

#[test]
fn garbage_in_the_middle_is_corrupt_and_not_a_panic() {
    let mut f = Fixture::new(&[]);
    for _ in 0..3 {
        let _ = f.lead(0, 1);
    }
    f.disk.write_at(f.log.segments[0].log, 69, &[0xee; 30]).unwrap();
    f.log.tail.clear();
    assert_eq!(f.log.read(2, 3, 1_000, true, &mut f.disk), Err(LogError::Corrupt));
    assert_eq!(
        f.log.offset_for_timestamp(0, &mut f.disk).unwrap().map(|found| found.0),
        Some(0)
    );
    assert_eq!(f.log.offset_for_timestamp(i64::MAX, &mut f.disk), Ok(None));
}

#[test]
fn the_first_record_at_or_after_a_timestamp() {
    let mut f = Fixture::new(&[("segment.bytes", "300"), ("index.interval.bytes", "80")]);
    let value = || Some(Bytes::from_static(b"v"));
    // Timestamps 100 200 | 150 | 300 250 | ... out of order within and between batches.
    let groups: [&[i64]; 6] = [&[100, 200], &[150], &[300, 250], &[220], &[400], &[390, 500]];
    for group in groups {
        let records: Vec<_> = group.iter().map(|timestamp| (*timestamp, None, value())).collect();
        let records = batch::build(&records, None, false);
        f.log
            .append_as_leader(&records, LeaderEpoch(7), f.now, &mut f.disk, &mut f.out)
            .unwrap();
    }
    let flat: Vec<i64> = groups.concat();
    assert!(f.segments().len() > 1);
    let check = |f: &mut Fixture, start: i64| {
        for timestamp in [0, 100, 101, 150, 200, 201, 250, 300, 301, 395, 400, 401, 500, 501] {
            let expected = (start as usize..flat.len())
                .find(|at| flat[*at] >= timestamp)
                .map(|at| (at as i64, flat[at], LeaderEpoch(7)));
            assert_eq!(
                f.log.offset_for_timestamp(timestamp, &mut f.disk),
                Ok(expected),
                "{timestamp} from {start}"
            );
        }
    };
    check(&mut f, 0);
    f.log.advance_log_start(1, f.now, &mut f.disk, &mut f.out).unwrap();
    check(&mut f, 1);
    f.reopen(false, 0);
    check(&mut f, 1);
    f.log.advance_log_start(4, f.now, &mut f.disk, &mut f.out).unwrap();
    check(&mut f, 4);
}

#[test]
fn a_damaged_offset_does_not_make_reading_everything_endless() {
    let mut f = Fixture::new(&[]);
    for _ in 0..3 {
        let _ = f.lead(0, 1);
    }
    let paths = f.disk.paths();
    let path = paths.iter().find(|path| path.ends_with(".log")).expect("a segment");
    let mut content = f.disk.content(path).expect("it is there");
    // The base offset of the last of three batches becomes 0: no checksum covers it.
    let at = content.len() / 3 * 2 + 7;
    assert_eq!(content[at], 2);
    content[at] = 0;
    f.disk.put(path, &content);
    let all = f.log.read_all(&mut f.disk).expect("healthy");
    assert_eq!(all.len(), content.len(), "what is there, once");
}
