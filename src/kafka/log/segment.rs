//! One segment of a log: a file of batches with its two indexes.
//!
//! Guarantees: batches are only ever added at `size`. Everything about a segment that is not its bytes can be
//! computed again from them.
//!
//! Deliberately unknown: other segments, durability (it only remembers what it has written since the last sync).
//!
//! Sources: Kafka's LogSegment.

use super::index::{OffsetIndex, TimeIndex, TimestampOffset};
use super::scan::{Found, HeaderScan};
use crate::config::TopicConfig;
use crate::disk::{Disk, DiskError, FileId};
use crate::types::Offset;
use crate::wire::batch::BatchHeader;

/// Suffixes of a segment's three files.
pub const SUFFIXES: [&str; 3] = ["log", "index", "timeindex"];
/// Appended to the name of a file that is to be removed.
pub const DELETED: &str = "deleted";
/// The timestamp of a segment without one.
const NO_TIMESTAMP: i64 = -1;

/// A file of the segment that begins at `base`.
pub fn path(dir: &str, base: Offset, suffix: &str) -> String {
    format!("{dir}/{base:020}.{suffix}")
}

/// One segment.
#[derive(Clone, Debug, Hash)]
pub struct Segment {
    /// No batch in it begins below.
    pub base: Offset,
    /// `.log`.
    pub log: FileId,
    /// Bytes of batches: where the next one goes.
    pub size: u64,
    /// `.index`.
    pub offsets: OffsetIndex,
    /// `.timeindex`.
    pub times: TimeIndex,
    /// The largest timestamp and where it is.
    pub largest: TimestampOffset,
    /// Largest timestamp of the first batch: the age of a segment counts from it.
    pub first_timestamp: Option<i64>,
    /// Wall clock at the creation, in milliseconds: the age of a segment whose records have no timestamps.
    pub created_ms: i64,
    /// Bytes since the last index entry.
    since_entry: u64,
    /// The log file was written or cut since a sync of it was asked for.
    pub is_dirty: bool,
    /// The same, of the indexes.
    pub is_index_dirty: bool,
    /// Number of the last cut that is not known to be durable; 0: none. What is behind such a cut may come back
    /// after a power failure, so nothing is appended there: see `truncate.rs`.
    pub cut: u64,
}

impl Segment {
    fn with_files(base: Offset, files: [FileId; 3], now_ms: i64) -> Segment {
        let [log, index, time_index] = files;
        Segment {
            base,
            log,
            size: 0,
            offsets: OffsetIndex::empty(base, index),
            times: TimeIndex::empty(base, time_index),
            largest: TimestampOffset {
                timestamp: NO_TIMESTAMP,
                offset: base,
            },
            first_timestamp: None,
            created_ms: now_ms,
            since_entry: 0,
            is_dirty: true,
            is_index_dirty: true,
            cut: 0,
        }
    }

    /// An empty segment; whatever stood under its names is emptied.
    pub fn create(dir: &str, base: Offset, now_ms: i64, disk: &mut dyn Disk) -> Result<Segment, DiskError> {
        let mut files = [FileId(0); 3];
        for (file, suffix) in files.iter_mut().zip(SUFFIXES) {
            *file = disk.open(&path(dir, base, suffix), true)?;
            if disk.len(*file) > 0 {
                disk.set_len(*file, 0)?;
            }
        }
        Ok(Segment::with_files(base, files, now_ms))
    }

    /// Opens the files of a segment that is on disk. Its indexes are empty if there were none, or if what there was
    /// cannot be; then the second value is false, and [`Segment::rebuild`] must follow.
    pub fn open(dir: &str, base: Offset, now_ms: i64, disk: &mut dyn Disk) -> Result<(Segment, bool), DiskError> {
        let log = disk.open(&path(dir, base, "log"), false)?;
        let has_indexes = SUFFIXES[1..].iter().all(|suffix| disk.exists(&path(dir, base, suffix)));
        let index = disk.open(&path(dir, base, "index"), true)?;
        let time_index = disk.open(&path(dir, base, "timeindex"), true)?;
        let mut segment = Segment::with_files(base, [log, index, time_index], now_ms);
        segment.size = disk.len(log);
        segment.is_dirty = false;
        segment.is_index_dirty = !has_indexes;
        let offsets = OffsetIndex::load(base, index, segment.size, disk)?;
        let times = TimeIndex::load(base, time_index, disk)?;
        match (offsets, times) {
            (Some(offsets), Some(times)) if has_indexes => {
                segment.offsets = offsets;
                segment.times = times;
                Ok((segment, true))
            }
            _ => Ok((segment, false)),
        }
    }

    /// The files, in the order of [`SUFFIXES`].
    pub fn files(&self) -> [FileId; 3] {
        [self.log, self.offsets.file(), self.times.file()]
    }

    /// Adds a batch.
    pub fn append(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        config: &TopicConfig,
        disk: &mut dyn Disk,
    ) -> Result<(), DiskError> {
        assert_eq!(header.size(), batch.len(), "one whole batch");
        disk.write_at(self.log, self.size, batch)?;
        let position = self.size;
        self.size += batch.len() as u64;
        self.is_dirty = true;
        self.learn(header, position, config, disk)
    }

    /// Takes note of a batch that stands at `position`, behind all others.
    pub fn learn(
        &mut self,
        header: &BatchHeader,
        position: u64,
        config: &TopicConfig,
        disk: &mut dyn Disk,
    ) -> Result<(), DiskError> {
        if position == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        let here = TimestampOffset {
            timestamp: header.max_timestamp,
            offset: header.last_offset(),
        };
        if here.timestamp > self.largest.timestamp {
            self.largest = here;
        }
        if self.since_entry > config.index_interval_bytes as u64 && position > 0 {
            let position = u32::try_from(position).expect("a segment is rolled before its positions overflow");
            self.offsets.push(header.last_offset(), position, disk)?;
            self.times.maybe_push(self.largest, disk)?;
            self.since_entry = 0;
            self.is_index_dirty = true;
        }
        self.since_entry += header.size() as u64;
        Ok(())
    }

    /// Nothing will be appended any more: the time index gets the largest timestamp.
    pub fn seal(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.is_index_dirty |= self.times.maybe_push(self.largest, disk)?;
        Ok(())
    }

    /// Empties the indexes, and what was learnt, before all batches are learnt again.
    pub fn forget(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.offsets.clear(disk)?;
        self.times.clear(disk)?;
        self.largest = TimestampOffset {
            timestamp: NO_TIMESTAMP,
            offset: self.base,
        };
        self.first_timestamp = None;
        self.since_entry = 0;
        self.is_index_dirty = true;
        Ok(())
    }

    /// A walk that begins at or before the batch that holds `offset`. An index entry that does not point to a
    /// batch is not believed.
    pub fn scan_from(&self, offset: Offset, disk: &mut dyn Disk) -> Result<HeaderScan, DiskError> {
        if let Some(entry) = self.offsets.lookup(offset, disk)? {
            let scan = HeaderScan::new(self.log, entry.position.into(), self.size);
            if let Found::Batch(header, _) = scan.clone().next(disk)?
                && header.base_offset >= self.base
                && header.last_offset() == entry.offset
            {
                return Ok(scan);
            }
        }
        Ok(HeaderScan::new(self.log, 0, self.size))
    }

    /// Cuts the batch that holds `offset` and all behind it. `None` if there is no such batch; else the base offset
    /// of the first batch that went. `number` names the cut.
    pub fn cut(&mut self, offset: Offset, number: u64, disk: &mut dyn Disk) -> Result<Option<Offset>, DiskError> {
        let (base, position) = match self.scan_from(offset, disk)?.find(offset, disk)? {
            Found::Batch(header, position) => (header.base_offset.max(self.base), position),
            Found::End => return Ok(None),
            Found::Garbage(position) => (offset, position),
        };
        self.cut_at(position, number, disk)?;
        self.offsets.truncate(offset.min(base), position, disk)?;
        self.times.truncate(offset.min(base), disk)?;
        self.is_index_dirty = true;
        self.since_entry = 0;
        self.learn_largest(offset.min(base), disk)?;
        if position == 0 {
            self.first_timestamp = None;
        }
        Ok(Some(base))
    }

    /// Cuts the file at `position`, which is the end of a batch, and nothing else.
    pub fn cut_at(&mut self, position: u64, number: u64, disk: &mut dyn Disk) -> Result<(), DiskError> {
        assert!(position <= self.size && number > 0, "a cut shortens the file");
        disk.set_len(self.log, position)?;
        self.size = position;
        self.cut = number;
        self.is_dirty = true;
        Ok(())
    }

    /// Finds the largest timestamp below `end` again: the time index knows it up to its last entry.
    pub fn learn_largest(&mut self, end: Offset, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.largest = self.times.last().unwrap_or(TimestampOffset {
            timestamp: NO_TIMESTAMP,
            offset: self.base,
        });
        let mut scan = self.scan_from(self.largest.offset, disk)?;
        while let Found::Batch(header, _) = scan.next(disk)? {
            // Headers are not checked here, so none is believed that does not lie between the two.
            if header.max_timestamp > self.largest.timestamp && (self.base..end).contains(&header.last_offset()) {
                self.largest = TimestampOffset {
                    timestamp: header.max_timestamp,
                    offset: header.last_offset(),
                };
            }
        }
        Ok(())
    }

    /// Whether a batch needs a new segment, by Kafka's rule.
    pub fn should_roll(&self, header: &BatchHeader, config: &TopicConfig, now_ms: i64) -> bool {
        let size = header.size() as u64;
        // The time that passed in the records, or on the clock where they do not say.
        let waited = match self.first_timestamp {
            Some(first) if first >= 0 => header.max_timestamp.saturating_sub(first),
            _ => now_ms.saturating_sub(self.created_ms),
        };
        let index_limit = (config.segment_index_bytes / 8) as u32;
        let time_index_limit = (config.segment_index_bytes / 12 - 1).max(1) as u32;
        let is_full = self.size + size > config.segment_bytes as u64
            || waited > config.segment_ms
            || self.offsets.count() >= index_limit
            || self.times.count() >= time_index_limit;
        // An empty segment takes anything, but for an offset that is too far from its base.
        self.size > 0 && is_full || header.last_offset().saturating_sub(self.base) > i64::from(i32::MAX)
    }

    /// The time by which the segment's retention counts, in milliseconds.
    pub fn retention_time_ms(&self) -> i64 {
        if self.largest.timestamp >= 0 {
            self.largest.timestamp
        } else {
            self.created_ms
        }
    }
}
