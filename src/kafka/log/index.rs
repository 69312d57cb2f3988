//! The sparse indexes of a segment, in Kafka's bytes: offset to position, timestamp to offset.
//!
//! ```text
//!   .index      | relative offset u32 | position u32 |            an entry about every index.interval.bytes
//!   .timeindex  | timestamp i64 | relative offset u32 |           the same, if the largest timestamp grew
//! ```
//!
//! Guarantees: entries only ever grow; an index that is too short, or cut, makes a lookup slower, never wrong.
//! Nothing is held in memory but the last entry: lookups search the file. Files are as long as their entries, as
//! Kafka leaves them when a segment is closed; the zeros that Kafka keeps behind an active index are not written.
//!
//! Deliberately unknown: batches. Who reads a position found here checks what stands there.
//!
//! Sources: Kafka's OffsetIndex, TimeIndex, AbstractIndex; KIP-33.

use crate::disk::{Disk, DiskError, FileId};
use crate::types::Offset;

/// Entries read at once at the end of a search.
const BLOCK: u32 = 64;

/// A file of entries of `WIDTH` bytes.
#[derive(Clone, Debug, Hash)]
struct Entries<const WIDTH: usize> {
    file: FileId,
    count: u32,
}

impl<const WIDTH: usize> Entries<WIDTH> {
    fn get(&self, slot: u32, disk: &mut dyn Disk) -> Result<Option<[u8; WIDTH]>, DiskError> {
        if slot >= self.count {
            return Ok(None);
        }
        let bytes = disk.read_at(self.file, u64::from(slot) * WIDTH as u64, WIDTH)?;
        Ok(bytes.first_chunk::<WIDTH>().copied())
    }

    fn push(&mut self, entry: [u8; WIDTH], disk: &mut dyn Disk) -> Result<(), DiskError> {
        disk.write_at(self.file, u64::from(self.count) * WIDTH as u64, &entry)?;
        self.count += 1;
        Ok(())
    }

    fn cut(&mut self, count: u32, disk: &mut dyn Disk) -> Result<(), DiskError> {
        assert!(count <= self.count, "an index is never cut to more than it has");
        disk.set_len(self.file, u64::from(count) * WIDTH as u64)?;
        self.count = count;
        Ok(())
    }

    /// How many entries, from the first, have `below`.
    fn partition_point(&self, disk: &mut dyn Disk, below: impl Fn(&[u8; WIDTH]) -> bool) -> Result<u32, DiskError> {
        let (mut low, mut high) = (0, self.count);
        while high - low > BLOCK {
            let middle = low + (high - low) / 2;
            match self.get(middle, disk)? {
                Some(entry) if below(&entry) => low = middle + 1,
                _ => high = middle,
            }
        }
        if low < high {
            let bytes = disk.read_at(self.file, u64::from(low) * WIDTH as u64, (high - low) as usize * WIDTH)?;
            let found = bytes
                .chunks_exact(WIDTH)
                .take_while(|entry| entry.first_chunk().is_some_and(&below));
            low += found.count() as u32;
        }
        Ok(low)
    }
}

/// Where a batch stands: an entry of the offset index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OffsetPosition {
    /// Last offset of the batch.
    pub offset: Offset,
    /// Its first byte.
    pub position: u32,
}

/// An entry of the time index: no record up to `offset` has a larger timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimestampOffset {
    /// Milliseconds; -1: none.
    pub timestamp: i64,
    /// Last offset of the batch that has it.
    pub offset: Offset,
}

/// `.index`.
#[derive(Clone, Debug, Hash)]
pub struct OffsetIndex {
    base: Offset,
    entries: Entries<8>,
    last: Option<OffsetPosition>,
}

impl OffsetIndex {
    /// Takes over a file. `None`: its content cannot be an index of a segment of `size` bytes.
    pub fn load(base: Offset, file: FileId, size: u64, disk: &mut dyn Disk) -> Result<Option<OffsetIndex>, DiskError> {
        let len = disk.len(file);
        let mut index = OffsetIndex::empty(base, file);
        let Ok(count) = u32::try_from(len / 8) else {
            return Ok(None);
        };
        index.entries.count = count;
        index.reload_last(disk)?;
        let fits = match index.last {
            // The first batch of a segment has no entry, so no position is 0: a tail of zeros does not pass.
            Some(last) => last.position > 0 && u64::from(last.position) < size && last.offset >= base,
            None => count == 0,
        };
        Ok((len.is_multiple_of(8) && fits).then_some(index))
    }

    /// An index without entries; the file has none yet, or is about to be [`OffsetIndex::clear`]ed.
    pub fn empty(base: Offset, file: FileId) -> OffsetIndex {
        OffsetIndex {
            base,
            entries: Entries { file, count: 0 },
            last: None,
        }
    }

    /// The file.
    pub fn file(&self) -> FileId {
        self.entries.file
    }

    /// Entries.
    pub fn count(&self) -> u32 {
        self.entries.count
    }

    /// The last entry.
    pub fn last(&self) -> Option<OffsetPosition> {
        self.last
    }

    fn decode(&self, entry: [u8; 8]) -> OffsetPosition {
        let [a, b, c, d, e, f, g, h] = entry;
        OffsetPosition {
            offset: self.base.saturating_add(u32::from_be_bytes([a, b, c, d]).into()),
            position: u32::from_be_bytes([e, f, g, h]),
        }
    }

    fn reload_last(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.last = match self.entries.count.checked_sub(1) {
            Some(slot) => self.entries.get(slot, disk)?.map(|entry| self.decode(entry)),
            None => None,
        };
        Ok(())
    }

    /// Adds an entry behind the others.
    ///
    /// # Errors
    /// It is not behind them; see [`TimeIndex::maybe_push`].
    pub fn push(&mut self, offset: Offset, position: u32, disk: &mut dyn Disk) -> Result<(), DiskError> {
        if self
            .last
            .is_some_and(|last| last.offset >= offset || last.position >= position)
        {
            return Err(DiskError::Io);
        }
        let relative = u32::try_from(offset - self.base).expect("a segment is rolled before its offsets overflow");
        let entry = u64::from(relative) << 32 | u64::from(position);
        self.entries.push(entry.to_be_bytes(), disk)?;
        self.last = Some(OffsetPosition { offset, position });
        Ok(())
    }

    /// The last entry whose offset is at most `offset`.
    pub fn lookup(&self, offset: Offset, disk: &mut dyn Disk) -> Result<Option<OffsetPosition>, DiskError> {
        match self.last {
            None => Ok(None),
            Some(last) if last.offset <= offset => Ok(Some(last)),
            Some(_) => {
                let upto = self
                    .entries
                    .partition_point(disk, |entry| self.decode(*entry).offset <= offset)?;
                match upto.checked_sub(1) {
                    Some(slot) => Ok(self.entries.get(slot, disk)?.map(|entry| self.decode(entry))),
                    None => Ok(None),
                }
            }
        }
    }

    /// Keeps the entries below `offset` that point below `position`.
    pub fn truncate(&mut self, offset: Offset, position: u64, disk: &mut dyn Disk) -> Result<(), DiskError> {
        if self
            .last
            .is_some_and(|last| last.offset >= offset || u64::from(last.position) >= position)
        {
            let below = |entry: &[u8; 8]| {
                let entry = self.decode(*entry);
                entry.offset < offset && u64::from(entry.position) < position
            };
            let count = self.entries.partition_point(disk, below)?;
            self.entries.cut(count, disk)?;
            self.reload_last(disk)?;
        }
        Ok(())
    }

    /// Empties the file, whatever was in it.
    pub fn clear(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.last = None;
        self.entries.count = 0;
        self.entries.cut(0, disk)
    }
}

/// `.timeindex`.
#[derive(Clone, Debug, Hash)]
pub struct TimeIndex {
    base: Offset,
    entries: Entries<12>,
    last: Option<TimestampOffset>,
}

impl TimeIndex {
    /// Takes over a file. `None`: its content cannot be a time index of this segment.
    pub fn load(base: Offset, file: FileId, disk: &mut dyn Disk) -> Result<Option<TimeIndex>, DiskError> {
        let len = disk.len(file);
        let mut index = TimeIndex::empty(base, file);
        let Ok(count) = u32::try_from(len / 12) else {
            return Ok(None);
        };
        index.entries.count = count;
        index.reload_last(disk)?;
        let first = index.entries.get(0, disk)?.map(|entry| index.decode(entry));
        let fits = match (first, index.last) {
            (Some(first), Some(last)) => count == 1 || first.timestamp < last.timestamp && first.offset < last.offset,
            _ => count == 0,
        };
        Ok((len.is_multiple_of(12) && fits).then_some(index))
    }

    /// An index without entries; see [`OffsetIndex::empty`].
    pub fn empty(base: Offset, file: FileId) -> TimeIndex {
        TimeIndex {
            base,
            entries: Entries { file, count: 0 },
            last: None,
        }
    }

    /// The file.
    pub fn file(&self) -> FileId {
        self.entries.file
    }

    /// Entries.
    pub fn count(&self) -> u32 {
        self.entries.count
    }

    /// The last entry.
    pub fn last(&self) -> Option<TimestampOffset> {
        self.last
    }

    fn decode(&self, entry: [u8; 12]) -> TimestampOffset {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = entry;
        TimestampOffset {
            timestamp: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            offset: self.base.saturating_add(u32::from_be_bytes([i, j, k, l]).into()),
        }
    }

    fn reload_last(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.last = match self.entries.count.checked_sub(1) {
            Some(slot) => self.entries.get(slot, disk)?.map(|entry| self.decode(entry)),
            None => None,
        };
        Ok(())
    }

    /// Adds an entry if its timestamp is larger than all before it. True if it was added.
    ///
    /// # Errors
    /// Its offset is not larger. Damage alone brings that about: of a batch's header that was recovered, or of this file.
    /// Kafka throws an `InvalidOffsetException`, and at each later append again.
    pub fn maybe_push(&mut self, entry: TimestampOffset, disk: &mut dyn Disk) -> Result<bool, DiskError> {
        let last = self.last.unwrap_or(TimestampOffset {
            timestamp: -1,
            offset: self.base - 1,
        });
        if entry.timestamp <= last.timestamp {
            return Ok(false);
        }
        if entry.offset <= last.offset {
            return Err(DiskError::Io);
        }
        let relative =
            u32::try_from(entry.offset - self.base).expect("a segment is rolled before its offsets overflow");
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&entry.timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&relative.to_be_bytes());
        self.entries.push(bytes, disk)?;
        self.last = Some(entry);
        Ok(true)
    }

    /// The last entry whose timestamp is at most `timestamp`.
    pub fn lookup(&self, timestamp: i64, disk: &mut dyn Disk) -> Result<Option<TimestampOffset>, DiskError> {
        let upto = self
            .entries
            .partition_point(disk, |entry| self.decode(*entry).timestamp <= timestamp)?;
        match upto.checked_sub(1) {
            Some(slot) => Ok(self.entries.get(slot, disk)?.map(|entry| self.decode(entry))),
            None => Ok(None),
        }
    }

    /// Keeps the entries below `offset`.
    pub fn truncate(&mut self, offset: Offset, disk: &mut dyn Disk) -> Result<(), DiskError> {
        if self.last.is_some_and(|last| last.offset >= offset) {
            let count = self
                .entries
                .partition_point(disk, |entry| self.decode(*entry).offset < offset)?;
            self.entries.cut(count, disk)?;
            self.reload_last(disk)?;
        }
        Ok(())
    }

    /// Empties the file, whatever was in it.
    pub fn clear(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.last = None;
        self.entries.count = 0;
        self.entries.cut(0, disk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::testing::MemDisk;

    #[test]
    fn offset_lookup_finds_the_floor_in_a_long_index() {
        let mut disk = MemDisk::new();
        let file = disk.open("i", true).unwrap();
        let mut index = OffsetIndex::empty(1_000, file);
        for n in 1..=500u32 {
            index.push(1_000 + i64::from(n) * 10, n * 100, &mut disk).unwrap();
        }
        assert_eq!(index.lookup(1_009, &mut disk), Ok(None));
        for (offset, position) in [
            (1_010, 100),
            (1_019, 100),
            (2_345, 13_400),
            (5_999, 49_900),
            (9_999, 50_000),
        ] {
            assert_eq!(index.lookup(offset, &mut disk).unwrap().unwrap().position, position);
        }
        let loaded = OffsetIndex::load(1_000, file, 60_000, &mut disk).unwrap().unwrap();
        assert_eq!((loaded.count(), loaded.last()), (500, index.last()));
        index.truncate(2_000, u64::MAX, &mut disk).unwrap();
        assert_eq!(
            index.last(),
            Some(OffsetPosition {
                offset: 1_990,
                position: 9_900
            })
        );
        assert_eq!(disk.len(file), 99 * 8);
        index.truncate(9_000, 9_900, &mut disk).unwrap();
        assert_eq!(index.count(), 98);
        let last = index.last().unwrap();
        for (offset, position) in [(last.offset, last.position + 1), (last.offset + 1, last.position)] {
            assert_eq!(index.push(offset, position, &mut disk), Err(DiskError::Io));
        }
    }

    #[test]
    fn an_index_that_cannot_be_is_not_loaded() {
        let mut disk = MemDisk::new();
        let mut load = |content: &[u8]| {
            disk.put("i", content);
            let file = disk.open("i", false).unwrap();
            OffsetIndex::load(0, file, 1_000, &mut disk).unwrap().is_some()
        };
        assert!(load(&[]));
        assert!(load(&[0, 0, 0, 5, 0, 0, 0, 9]));
        assert!(!load(&[0, 0, 0, 5, 0, 0, 0]), "a torn entry");
        assert!(!load(&[0; 8]), "zeros");
        assert!(
            !load(&[0, 0, 0, 5, 0, 0, 3, 232]),
            "a position behind the end of the segment"
        );
    }

    #[test]
    fn time_index_takes_larger_timestamps_only() {
        let mut disk = MemDisk::new();
        let file = disk.open("t", true).unwrap();
        let mut index = TimeIndex::empty(10, file);
        let entry = |timestamp, offset| TimestampOffset { timestamp, offset };
        assert!(!index.maybe_push(entry(-1, 10), &mut disk).unwrap());
        assert!(index.maybe_push(entry(100, 12), &mut disk).unwrap());
        assert!(!index.maybe_push(entry(100, 14), &mut disk).unwrap());
        assert!(index.maybe_push(entry(150, 20), &mut disk).unwrap());
        assert_eq!(disk.content("t").unwrap()[..12], [0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 2]);
        assert_eq!(index.lookup(99, &mut disk), Ok(None));
        assert_eq!(index.lookup(149, &mut disk), Ok(Some(entry(100, 12))));
        let loaded = TimeIndex::load(10, file, &mut disk).unwrap().unwrap();
        assert_eq!((loaded.count(), loaded.last()), (2, Some(entry(150, 20))));
        assert_eq!(
            index.maybe_push(entry(200, 20), &mut disk),
            Err(DiskError::Io),
            "a later time at no later offset"
        );
        assert_eq!(index.count(), 2);
        index.truncate(20, &mut disk).unwrap();
        assert_eq!(index.last(), Some(entry(100, 12)));
        disk.set_len(file, 24).unwrap();
        assert!(
            TimeIndex::load(10, file, &mut disk).unwrap().is_none(),
            "a tail of zeros"
        );
    }
}
