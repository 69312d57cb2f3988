//! The bytes on disk, against Kafka's layout computed by hand.

use super::*;

#[test]
fn segment_indexes_and_epoch_file_are_kafkas() {
    let mut f = Fixture::new(&[("index.interval.bytes", "100"), ("segment.bytes", "400")]);
    // A batch with one record is 61 + 8 bytes, with two 61 + 16.
    for (epoch, count, timestamp) in [(0, 1, 10), (0, 2, 30), (3, 1, 20), (3, 1, 40), (3, 1, 35)] {
        f.lead_at(epoch, count, timestamp);
    }
    assert_eq!(f.segments(), [0]);
    let name = |suffix| format!("t-0/00000000000000000000.{suffix}");
    let log = f.disk.content(&name("log")).unwrap();
    assert_eq!(log.len(), 69 + 77 + 69 + 69 + 69);
    assert_eq!(log[..21 - 4], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 57, 0, 0, 0, 0, 2]);
    assert_eq!(log[69..69 + 17], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 65, 0, 0, 0, 0, 2]);
    assert_eq!(log[146..146 + 17], [0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 57, 0, 0, 0, 3, 2]);
    // More than 100 bytes have passed before the third batch (offset 3, at 146) and before the fifth (5, at 284).
    assert_eq!(
        f.disk.content(&name("index")).unwrap(),
        [0, 0, 0, 3, 0, 0, 0, 146, 0, 0, 0, 5, 0, 0, 1, 28]
    );
    // By then the largest timestamps were 30 at offset 2 and 40 at offset 4.
    let expected = [0, 0, 0, 0, 0, 0, 0, 30, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0, 4];
    assert_eq!(f.disk.content(&name("timeindex")).unwrap(), expected);
    assert_eq!(
        f.disk.content("t-0/leader-epoch-checkpoint").unwrap(),
        b"0\n2\n0 0\n3 3\n"
    );
    // The sixth rolls: its base names the files; the time index of the old segment has its largest timestamp already.
    f.lead_at(3, 1, 50);
    assert_eq!(f.segments(), [0, 6]);
    assert_eq!(f.disk.content(&name("timeindex")).unwrap(), expected);
    let files = [
        "00000000000000000000.index",
        "00000000000000000000.log",
        "00000000000000000000.timeindex",
    ];
    let more = [
        "00000000000000000006.index",
        "00000000000000000006.log",
        "00000000000000000006.snapshot",
        "00000000000000000006.timeindex",
    ];
    let names: Vec<String> = files
        .iter()
        .chain(&more)
        .chain(&["leader-epoch-checkpoint"])
        .map(|n| format!("t-0/{n}"))
        .collect();
    assert_eq!(f.disk.paths(), names);
}

#[test]
fn a_closed_segment_ends_its_time_index_with_its_largest_timestamp() {
    let mut f = Fixture::new(&[("segment.bytes", "256")]);
    for timestamp in [10, 99, 50, 60] {
        f.lead_at(0, 1, timestamp);
    }
    assert_eq!(f.segments(), [0, 3]);
    let index = f.disk.content("t-0/00000000000000000000.timeindex").unwrap();
    assert_eq!(index, [0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0, 1]);
    assert_eq!(f.disk.content("t-0/00000000000000000003.timeindex").unwrap(), []);
}
