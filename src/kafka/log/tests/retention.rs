//! The start of the log, and what is removed.

use super::*;

fn nine(settings: &[(&str, &str)]) -> Fixture {
    let mut all = vec![("segment.bytes", "256")];
    all.extend(settings);
    let mut f = Fixture::new(&all);
    for n in 0..9 {
        f.lead_at(n, 1, 1_000 + 100 * i64::from(n));
    }
    assert_eq!(f.segments(), [0, 3, 6]);
    f.settle();
    f.notes();
    f
}

fn retain(f: &mut Fixture, high_watermark: Offset) {
    f.log.retain(high_watermark, f.now, &mut f.disk, &mut f.out).unwrap();
}

#[test]
fn by_time_whole_segments_below_the_high_watermark() {
    let mut f = nine(&[("retention.ms", "500")]);
    // The largest timestamps of the segments are 1200, 1500 and 1800.
    f.now.wall_ms = 1_700;
    retain(&mut f, 9);
    assert_eq!(f.segments(), [0, 3, 6], "500 ms are not more than 500 ms");
    f.now.wall_ms = 2_001;
    retain(&mut f, 5);
    assert_eq!(
        (f.segments(), f.log.log_start_offset()),
        (vec![3, 6], 3),
        "the second one holds uncommitted records"
    );
    assert_eq!(
        f.notes(),
        [Note::LogStartAdvanced {
            partition: PARTITION,
            to: 3
        }]
    );
    retain(&mut f, 6);
    assert_eq!(f.segments(), [6]);
    assert_eq!(epochs_of(&f.log), [(6, 6), (7, 7), (8, 8)]);
    f.now.wall_ms = 9_999;
    retain(&mut f, 9);
    assert_eq!(
        (f.segments(), f.log.log_start_offset(), f.log.log_end_offset()),
        (vec![9], 9, 9)
    );
    assert_eq!(epochs_of(&f.log), [(8, 9)]);
    retain(&mut f, 9);
    assert_eq!(f.segments(), [9], "an empty log is left alone");
    assert_eq!(f.lead(9, 1).base_offset, 9);
}

#[test]
fn by_size_only_what_is_too_much() {
    let mut f = nine(&[("retention.bytes", "415")]);
    retain(&mut f, 9);
    assert_eq!(
        f.segments(),
        [0, 3, 6],
        "621 bytes less one segment of 207 are less than the limit"
    );
    let mut f = nine(&[("retention.bytes", "414")]);
    retain(&mut f, 9);
    assert_eq!(f.segments(), [3, 6]);
    let mut f = nine(&[("retention.bytes", "0")]);
    retain(&mut f, 9);
    assert_eq!(f.segments(), [9]);
    let mut f = nine(&[("retention.ms", "-1")]);
    f.now.wall_ms = i64::MAX;
    retain(&mut f, 9);
    assert_eq!(f.segments(), [0, 3, 6]);
}

#[test]
fn deleted_records_are_not_readable_and_their_segments_go() {
    let mut f = nine(&[]);
    let now = f.now;
    let advance = |f: &mut Fixture, to| f.log.advance_log_start(to, now, &mut f.disk, &mut f.out);
    advance(&mut f, 4).unwrap();
    assert_eq!((f.segments(), f.log.log_start_offset()), (vec![3, 6], 4));
    assert_eq!(f.log.read(3, 9, 1_000, true, &mut f.disk), Err(LogError::OutOfRange));
    assert_eq!(f.read(4)[0], (4, 4));
    assert_eq!(epochs_of(&f.log)[0], (4, 4));
    advance(&mut f, 2).unwrap();
    assert_eq!(f.log.log_start_offset(), 4, "never back");
    assert_eq!(advance(&mut f, 10), Err(LogError::OutOfRange));
    advance(&mut f, 9).unwrap();
    assert_eq!((f.segments(), f.log.log_start_offset()), (vec![6], 9));
    f.reopen(false, 9);
    assert_eq!((f.log.log_start_offset(), f.log.log_end_offset()), (9, 9));
}

#[test]
fn files_go_after_their_delay() {
    let mut f = nine(&[("file.delete.delay.ms", "60000")]);
    let due = f.now.mono.plus_ms(60_000);
    f.log.advance_log_start(4, f.now, &mut f.disk, &mut f.out).unwrap();
    assert!(f.disk.content("t-0/00000000000000000000.log").is_none());
    assert!(f.disk.content("t-0/00000000000000000000.log.deleted").is_some());
    assert_eq!(f.log.next_deadline(), Some(due));
    f.later(59_999);
    f.log.on_deadline(f.now, &mut f.disk, &mut f.out).unwrap();
    assert!(f.disk.content("t-0/00000000000000000000.index.deleted").is_some());
    f.later(1);
    f.log.on_deadline(f.now, &mut f.disk, &mut f.out).unwrap();
    assert!(f.disk.paths().iter().all(|path| !path.ends_with(".deleted")));
    assert_eq!(f.log.next_deadline(), None);
}

#[test]
fn a_base_that_is_deleted_twice_is_removed_once() {
    let mut f = nine(&[]);
    for epoch in 20..23 {
        f.log.restart_at(0, &mut f.disk, &mut f.out).unwrap();
        f.lead(epoch, 1);
    }
    f.later(60_000);
    f.log.on_deadline(f.now, &mut f.disk, &mut f.out).unwrap();
    assert_eq!(f.log.next_deadline(), None);
    assert_eq!(f.all(), [(0, 0, 22)]);
}
