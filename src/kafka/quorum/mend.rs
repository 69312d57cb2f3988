//! After a power failure, deleted segments of the metadata log may be back, and not all of them.
//!
//! ```text
//!   snapshot ends at 20, log began at 15: files 0 5 10 were removed, the directory was not synced yet
//!   found after a power failure:          0 . . 15 20 25     0 is back, 5 and 10 are not
//!   a log is what was written without a hole, so its recovery would cut it at 5, with all that it has acknowledged
//! ```
//!
//! Guarantees: a file goes only if what it holds, and all up to the hole behind it, is in a complete snapshot. Without a
//! power failure there is no such hole, so a snapshot whose own name is not durable yet costs nothing. Deliberately
//! leaves holes above the newest snapshot to the log's recovery: those are records that never became durable.
//!
//! Sources: KIP-630 (the log starts at a snapshot); directories after power loss as in ALICE (OSDI 2014).

use super::METADATA_DIR;
use crate::disk::{Disk, DiskError, FileId};
use crate::types::Offset;
use crate::wire::batch::{self, BatchHeader, HEADER_LEN};

/// Removes segments that end in a hole below `snapshot_end`, and those before them. Runs before the log is opened.
pub(super) fn remove_returned_segments(snapshot_end: Offset, disk: &mut dyn Disk) -> Result<(), DiskError> {
    let names = disk.list(METADATA_DIR)?;
    // Names are sorted, and their numbers have one width: so are the offsets.
    let bases: Vec<Offset> = names
        .iter()
        .filter_map(|name| name.strip_suffix(".log")?.parse().ok())
        .collect();
    let covered = bases.partition_point(|base| *base <= snapshot_end);
    let mut returned = 0;
    for at in 1..covered {
        if end_of_segment(bases[at - 1], disk)? < bases[at] {
            returned = at;
        }
    }
    for base in &bases[..returned] {
        let stem = format!("{base:020}.");
        for name in names.iter().filter(|name| name.starts_with(&stem)) {
            disk.remove(&format!("{METADATA_DIR}/{name}"))?;
        }
    }
    Ok(())
}

/// The offset after the last good batch before the first bad byte.
fn end_of_segment(base: Offset, disk: &mut dyn Disk) -> Result<Offset, DiskError> {
    let file = disk.open(&format!("{METADATA_DIR}/{base:020}.log"), false)?;
    let end = walk(file, base, disk);
    disk.close(file);
    end
}

fn walk(file: FileId, base: Offset, disk: &mut dyn Disk) -> Result<Offset, DiskError> {
    let (mut end, mut position, len) = (base, 0, disk.len(file));
    while position < len {
        let Ok(header) = BatchHeader::parse(&disk.read_at(file, position, HEADER_LEN)?) else {
            break;
        };
        if header.size() as u64 > len - position || header.base_offset < end {
            break;
        }
        if batch::check(&disk.read_at(file, position, header.size())?).is_err() {
            break;
        }
        end = header.next_offset();
        position += header.size() as u64;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::super::tests::disk::TestDisk;
    use super::*;
    use crate::types::LeaderEpoch;
    use bytes::Bytes;

    /// Which of these segments, given as (base, records), are left below a snapshot.
    fn left(segments: &[(Offset, usize)], snapshot_end: Offset) -> Vec<Offset> {
        let mut disk = TestDisk::default();
        disk.create_dir(METADATA_DIR).expect("a test disk");
        for (base, records) in segments {
            let values: Vec<_> = (0..*records).map(|_| (0, None, Some(Bytes::from("v")))).collect();
            let content = match records {
                0 => Bytes::from("torn"),
                _ => batch::assign(&batch::build(&values, None, false), *base, LeaderEpoch(1)),
            };
            for (suffix, content) in [("log", &content), ("index", &Bytes::new())] {
                let file = disk
                    .open(&format!("{METADATA_DIR}/{base:020}.{suffix}"), true)
                    .expect("a test disk");
                disk.write_at(file, 0, content).expect("a test disk");
            }
        }
        remove_returned_segments(snapshot_end, &mut disk).expect("a test disk");
        let names = disk.list(METADATA_DIR).expect("a test disk");
        let bases = |suffix: &str| -> Vec<Offset> {
            names
                .iter()
                .filter_map(|name| name.strip_suffix(suffix)?.parse().ok())
                .collect()
        };
        assert_eq!(bases(".log"), bases(".index"));
        bases(".log")
    }

    #[test]
    fn what_is_before_a_hole_goes_if_a_snapshot_has_it() {
        for (segments, snapshot_end, expected) in [
            (&[(0, 5), (5, 5), (10, 5)][..], 20, &[0, 5, 10][..]),
            (&[(0, 5), (15, 5), (20, 5)], 20, &[15, 20]),
            (&[(0, 5), (5, 5), (15, 5), (20, 5)], 16, &[15, 20]),
            (&[(0, 5), (5, 0), (10, 5)], 10, &[10]),
            (&[(0, 5), (15, 5)], 14, &[0, 15]),
            (&[(0, 5), (15, 2), (20, 5)], 16, &[15, 20]),
            (&[], 20, &[]),
        ] {
            assert_eq!(
                left(segments, snapshot_end),
                expected,
                "{segments:?} below {snapshot_end}"
            );
        }
    }
}
