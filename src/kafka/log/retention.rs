//! Moving the log's start up, and the removal of segments.
//!
//! ```text
//!   a segment goes:   renamed to .deleted  ─▶ file.delete.delay.ms ─▶ removed
//! ```
//!
//! Guarantees: a segment goes only if everything in it is below the new start; retention never passes the high
//! watermark (KAFKA-5634). Files stay for a while after they are gone for the log, and are removed at the next start
//! if the process dies before.
//!
//! Sources: Kafka's UnifiedLog.deleteOldSegments, maybeIncrementLogStartOffset; LocalLog.deleteSegmentFiles.

use super::producer_snapshot;
use super::segment::{DELETED, SUFFIXES, Segment, path};
use super::{Log, LogError};
use crate::disk::{Disk, DiskError};
use crate::machine::Outbox;
use crate::note::Note;
use crate::types::{Nanos, Now, Offset};

/// Files that wait for their removal.
#[derive(Clone, Debug, Hash)]
pub struct Deleted {
    due: Nanos,
    base: Offset,
}

impl Deleted {
    pub(super) fn forget_age(&mut self, anew: Nanos, delay_ms: i64) {
        self.due = Nanos(anew.0.saturating_add((delay_ms as u64).saturating_mul(1_000_000)));
    }
}

impl Log {
    /// Moves the start up (DeleteRecords, or a follower hearing its leader's); deletes whole segments below it.
    /// Nothing happens if it is there already. [`LogError::OutOfRange`] above the log end.
    pub fn advance_log_start(
        &mut self,
        to: Offset,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        if to > self.log_end_offset {
            return Err(LogError::OutOfRange);
        }
        if to <= self.log_start_offset {
            return Ok(());
        }
        self.touch(now, disk);
        self.log_start_offset = to;
        if self.epochs.truncate_from_start(to) {
            self.write_epochs(disk)?;
        }
        self.delete_below_start(disk)?;
        out.note(Note::LogStartAdvanced {
            partition: self.partition,
            to,
        });
        Ok(())
    }

    /// Retention by time and size; only segments wholly below `high_watermark` go (KAFKA-5634).
    pub fn retain(
        &mut self,
        high_watermark: Offset,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        self.touch(now, disk);
        let mut excess = match self.config.retention_bytes {
            limit if limit < 0 => -1,
            limit => self
                .segments
                .iter()
                .map(|segment| segment.size as i64)
                .sum::<i64>()
                .saturating_sub(limit),
        };
        let mut goes = 0;
        for (at, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(at + 1).map(|next| next.base);
            let is_old = self.config.retention_ms >= 0
                && now.wall_ms.saturating_sub(segment.retention_time_ms()) > self.config.retention_ms;
            let is_excess = excess >= segment.size as i64;
            let is_below = next.is_some_and(|next| next <= self.log_start_offset);
            let is_last_and_empty = next.is_none() && segment.size == 0;
            if !(is_old || is_excess || is_below)
                || next.unwrap_or(self.log_end_offset) > high_watermark
                || is_last_and_empty
            {
                break;
            }
            excess -= segment.size as i64;
            goes = at + 1;
        }
        if goes == 0 {
            return Ok(());
        }
        if goes == self.segments.len() {
            self.roll(self.log_end_offset, now, disk, out)?;
        }
        let start = self.segments[goes].base;
        if start > self.log_start_offset {
            self.advance_log_start(start, now, disk, out)
        } else {
            self.delete_below_start(disk)
        }
    }

    fn delete_below_start(&mut self, disk: &mut dyn Disk) -> Result<(), LogError> {
        let goes = self.segment_of(self.log_start_offset);
        let gone: Vec<Segment> = self.segments.drain(..goes).collect();
        // Oldest first: whatever is left of this after a crash has no hole.
        gone.iter().try_for_each(|segment| self.delete_segment(segment, disk))
    }

    /// Takes a segment's files out of the log. They are removed later.
    pub(super) fn delete_segment(&mut self, segment: &Segment, disk: &mut dyn Disk) -> Result<(), LogError> {
        for (file, suffix) in segment.files().into_iter().zip(SUFFIXES) {
            let name = path(&self.dir, segment.base, suffix);
            disk.rename(&name, &format!("{name}.{DELETED}"))?;
            self.flusher.close(file, disk);
        }
        if self.snapshots.remove(&segment.base) {
            let name = path(&self.dir, segment.base, producer_snapshot::SUFFIX);
            match disk.rename(&name, &format!("{name}.{DELETED}")) {
                Ok(()) | Err(DiskError::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.flusher.is_dir_dirty = true;
        let delay = (self.config.file_delete_delay_ms as u64).saturating_mul(1_000_000);
        let due = Nanos(self.last_now.mono.0.saturating_add(delay));
        // A segment of the same base that waits has just been overwritten by the rename.
        self.deleted.retain(|waits| waits.base != segment.base);
        self.deleted.push_back(Deleted {
            due,
            base: segment.base,
        });
        Ok(())
    }

    /// When `flush.ms` or the removal of a deleted segment's files is due.
    pub fn next_deadline(&self) -> Option<Nanos> {
        let removal = self.deleted.front().map(|waits| waits.due);
        match (removal, self.flusher.due) {
            (Some(removal), Some(flush)) => Some(removal.min(flush)),
            (removal, flush) => removal.or(flush),
        }
    }

    /// Does what is due.
    pub fn on_deadline(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        self.touch(now, disk);
        if self.flusher.due.is_some_and(|due| due <= now.mono) {
            self.flush(out);
        }
        while self.deleted.front().is_some_and(|waits| waits.due <= now.mono) {
            let waits = self.deleted.pop_front().expect("it was looked at");
            for suffix in SUFFIXES.into_iter().chain([producer_snapshot::SUFFIX]) {
                match disk.remove(&format!("{}.{DELETED}", path(&self.dir, waits.base, suffix))) {
                    Ok(()) | Err(DiskError::NotFound) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}
