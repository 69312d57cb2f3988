//! The log of one partition: batches in segment files, with indexes and a leader-epoch cache.
//!
//! ```text
//!   log_start_offset          recovery_point               log_end_offset
//!        │  segment 0      segment 40  │   segment 95 (active)   │
//!   ─────┼─────────────────┼───────────┼───┼─────────────────────┤
//!        │◀──── readable ──────────────┼────────────────────────▶│
//!        │◀──── durable ──────────────▶│◀── in the page cache ──▶│
//! ```
//!
//! Guarantees: offsets only grow along the log; the epoch cache is the fold of the log's batches (and of the epoch
//! that a leader begins at its end); the bytes on disk are Kafka's; after a power failure the log holds at least
//! what was below the recovery point, and nothing that was never written.
//!
//! Deliberately unknown: who leads, what is committed, records (but for their checks and timestamps).
//! The metadata log and the logs of topics are the same.
//!
//! Sources: Kafka's UnifiedLog, LocalLog, LogSegment, LogLoader; KIP-101, KIP-279, KIP-595.

mod append;
pub mod checkpoint;
pub mod epochs;
mod flush;
pub mod identity;
pub mod index;
pub mod producer_snapshot;
pub mod producer_state;
mod read;
mod recovery;
mod retention;
mod scan;
mod segment;
mod stamp;
mod tail;
mod truncate;

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

use crate::config::TopicConfig;
use crate::disk::{Disk, DiskError};
use crate::machine::Outbox;
use crate::note::Note;
use crate::types::{LeaderEpoch, Now, Offset, TopicPartition};
use epochs::EpochCache;
use flush::Flusher;
use producer_state::Producers;
use retention::Deleted;
use segment::Segment;
use std::collections::{BTreeSet, VecDeque};
use tail::Tail;

/// Why a call on a log failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogError {
    /// The log directory is lost: the broker stops.
    Disk(DiskError),
    /// OFFSET_OUT_OF_RANGE.
    OutOfRange,
    /// CORRUPT_MESSAGE: the producer's (or leader's) bytes are not a batch.
    Corrupt,
    /// MESSAGE_TOO_LARGE.
    TooLarge,
    /// INVALID_RECORD.
    Invalid(&'static str),
    /// OUT_OF_ORDER_SEQUENCE_NUMBER: batches of its producer are missing before it, or it is an old one.
    OutOfOrderSequence,
    /// INVALID_PRODUCER_EPOCH: its producer has gone on in a newer epoch.
    InvalidProducerEpoch,
    /// INVALID_TXN_STATE: it belongs to no transaction that anybody has begun.
    InvalidTransactionState,
    /// INVALID_TIMESTAMP: index and reason of the records.
    InvalidTimestamps(Vec<(i32, String)>),
    /// UNSUPPORTED_COMPRESSION_TYPE.
    UnsupportedCompression,
    /// A follower was sent offsets that do not continue its log.
    NotContiguous {
        /// The log end, or the end of the batch before.
        expected: Offset,
        /// Base offset of the batch that does not fit.
        got: Offset,
    },
}

impl From<DiskError> for LogError {
    fn from(error: DiskError) -> LogError {
        LogError::Disk(error)
    }
}

/// What an append did; of a producer's batch that stood there already, what it did then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Of the first record.
    pub base_offset: Offset,
    /// Of the last record.
    pub last_offset: Offset,
}

/// What is known about a log before it is opened.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub struct OpenWith {
    /// The clean-shutdown marker was there: nothing is scanned.
    pub clean: bool,
    /// From `recovery-point-offset-checkpoint`.
    pub recovery_point: Offset,
    /// From `log-start-offset-checkpoint`.
    pub log_start_offset: Offset,
}

/// The log of one partition.
#[derive(Clone, Debug, Hash)]
pub struct Log {
    partition: TopicPartition,
    /// Path of the directory.
    dir: String,
    config: TopicConfig,
    /// Ascending by base offset, at least one; the last is the active one.
    segments: Vec<Segment>,
    /// At most the log end. May lie inside a batch.
    log_start_offset: Offset,
    /// Above all batches.
    log_end_offset: Offset,
    /// At most the log end.
    recovery_point: Offset,
    /// Durable before the appends that wait for it return, see `flush.rs`.
    awaited: Offset,
    /// The log end before the first of these appends.
    returned: Offset,
    epochs: EpochCache,
    producers: Producers,
    /// Offsets of the producers' snapshots on disk.
    snapshots: BTreeSet<Offset>,
    tail: Tail,
    flusher: Flusher,
    /// Segments whose files are still there, under another name; the oldest first.
    deleted: VecDeque<Deleted>,
    /// How many times the log was cut.
    cuts: u64,
    /// The time of the last call that told it, for those that do not.
    last_now: Now,
}

impl Log {
    /// Opens or creates the log in directory `dir`; recovers it unless the stop before was clean. What recovery
    /// keeps is in the page cache and maybe nowhere else, so a flush is asked for, and the recovery point stays
    /// where it was until that is done.
    pub fn open(
        partition: TopicPartition,
        dir: &str,
        config: TopicConfig,
        with: OpenWith,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Log, LogError> {
        let mut log = Log {
            partition,
            dir: dir.to_string(),
            config,
            segments: Vec::new(),
            log_start_offset: with.log_start_offset.max(0),
            log_end_offset: 0,
            recovery_point: with.recovery_point.max(0),
            awaited: 0,
            returned: 0,
            epochs: EpochCache::default(),
            producers: Producers::default(),
            snapshots: BTreeSet::new(),
            tail: Tail::default(),
            flusher: Flusher::new(now.mono.0 << 16),
            deleted: VecDeque::new(),
            cuts: 0,
            last_now: now,
        };
        log.load(with, disk, out)?;
        assert!(log.log_start_offset <= log.log_end_offset && log.recovery_point <= log.log_end_offset);
        out.note(Note::LogOpened {
            partition,
            log_start_offset: log.log_start_offset,
            log_end_offset: log.log_end_offset,
            recovery_point: log.recovery_point,
            clean: with.clean,
        });
        log.note_opened_producers(out);
        if !with.clean && !log.is_flushed() {
            log.flush(out);
        }
        Ok(log)
    }

    /// Takes over a changed topic configuration; of a log that was recovered, the first that is known. What recovery
    /// found is being flushed then, and with `flush.messages` counts only when it is durable.
    pub fn set_config(&mut self, config: TopicConfig) {
        self.config = config;
        if self.flush_asked() >= self.log_end_offset {
            self.await_flush_from(self.recovery_point);
        }
    }

    /// Whose log it is.
    pub fn partition(&self) -> TopicPartition {
        self.partition
    }

    /// Whether its records have the time of their append, by the leader's clock.
    pub fn stamps_appends(&self) -> bool {
        self.config.message_timestamp_type == 1
    }

    /// First offset.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start_offset
    }

    /// Next offset.
    pub fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    /// Everything before it is durable.
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// Bytes of all batches.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// Epoch of the last record, or of the last entry of the epoch cache.
    pub fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.last()
    }

    /// The epoch cache: (epoch, start offset), ascending.
    pub fn epochs(&self) -> &[(LeaderEpoch, Offset)] {
        self.epochs.entries()
    }

    /// The end of the largest epoch at most `epoch`: its epoch and end offset (KIP-101, KIP-279). `None` if there is
    /// no such epoch. An epoch above all known ones ends the log; that Kafka's OffsetForLeaderEpoch says "unknown"
    /// there is the caller's to decide.
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.end_offset_for(epoch, self.log_end_offset)
    }

    /// Epoch of the record at `offset`, or of the last record before it.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.at(offset)
    }

    /// Begins every wait anew at `anew` and counts syncs and cuts from the beginning: two logs that differ only in
    /// how long they have been open become equal.
    pub fn forget_age(&mut self, anew: Now) {
        self.last_now = anew;
        self.flusher.forget_age(anew.mono, self.config.flush_ms);
        for waits in &mut self.deleted {
            waits.forget_age(anew.mono, self.config.file_delete_delay_ms);
        }
        let cut = self.segments.iter().map(|segment| segment.cut);
        let mut cuts: Vec<u64> = cut.chain(self.flusher.cuts()).filter(|cut| *cut > 0).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let number = |cut: u64| cuts.binary_search(&cut).map_or(0, |at| at as u64 + 1);
        for segment in &mut self.segments {
            segment.cut = number(segment.cut);
        }
        self.flusher.rename_cuts(number);
        self.cuts = cuts.len() as u64;
    }

    /// Closes all files.
    pub fn close(&mut self, disk: &mut dyn Disk) {
        self.flusher.close_all(disk);
        for segment in self.segments.drain(..) {
            segment.files().into_iter().for_each(|file| disk.close(file));
        }
    }

    fn active(&self) -> &Segment {
        self.segments.last().expect("an open log has an active segment")
    }

    /// Index of the segment that `offset` belongs to.
    fn segment_of(&self, offset: Offset) -> usize {
        let above = self.segments.partition_point(|segment| segment.base <= offset);
        above.saturating_sub(1)
    }

    /// At the head of every call that is told the time.
    fn touch(&mut self, now: Now, disk: &mut dyn Disk) {
        self.last_now = now;
        self.flusher.sweep(disk);
    }

    /// Begins a new segment at `base`; the one before is flushed.
    fn roll(&mut self, base: Offset, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        assert!(base >= self.log_end_offset, "a new segment begins behind all batches");
        self.last_now = now;
        let active = self.segments.last_mut().expect("an open log has an active segment");
        if active.size == 0 {
            // It was emptied, or begins too far below. Not used again: see `truncate.rs`.
            let active = self.segments.pop().expect("it was looked at");
            self.delete_segment(&active, disk)?;
        } else {
            active.seal(disk)?;
        }
        self.create_segment(base, disk)?;
        self.write_producer_snapshot(base, disk)?;
        self.tail.clear();
        out.note(Note::Rolled {
            partition: self.partition,
            base_offset: base,
        });
        self.flush_to(self.log_end_offset, out);
        Ok(())
    }

    fn create_segment(&mut self, base: Offset, disk: &mut dyn Disk) -> Result<(), DiskError> {
        let segment = Segment::create(&self.dir, base, self.last_now.wall_ms, disk)?;
        self.segments.push(segment);
        self.flusher.is_dir_dirty = true;
        Ok(())
    }

    /// Writes the epoch file. It is durable with the next flush; see `epochs.rs`.
    fn write_epochs(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        let name = format!("{}/{}", self.dir, epochs::FILE);
        let file = checkpoint::write_temporary(&name, &self.epochs.text(), disk)?;
        disk.rename(&checkpoint::temporary(&name), &name)?;
        if let Some(older) = self.flusher.epoch_file.replace(file) {
            disk.close(older);
        }
        self.flusher.is_dir_dirty = true;
        Ok(())
    }
}

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LogError::Disk(error) => write!(f, "{error}"),
            LogError::OutOfRange => f.write_str("an offset is out of range"),
            LogError::Corrupt => f.write_str("a record batch is corrupt"),
            LogError::TooLarge => f.write_str("a record batch is too large"),
            LogError::Invalid(what) => f.write_str(what),
            LogError::OutOfOrderSequence => f.write_str("a producer's sequence is out of order"),
            LogError::InvalidProducerEpoch => f.write_str("a producer's epoch is old"),
            LogError::InvalidTransactionState => f.write_str("there is no such transaction"),
            LogError::InvalidTimestamps(_) => {
                f.write_str("One or more records have been rejected due to invalid timestamp")
            }
            LogError::UnsupportedCompression => f.write_str("this compression is not known in this version"),
            LogError::NotContiguous { expected, got } => {
                write!(f, "offset {got} does not follow; expected was {expected}")
            }
        }
    }
}
