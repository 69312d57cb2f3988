//! Cutting a log's end, and emptying it.
//!
//! A cut is a change of a file's length, and it is durable only after a sync. Were new batches written behind it
//! before that, a power failure could leave new ones followed by old ones at the same places, each with a good
//! checksum. So until the cut is durable the next append begins a new segment; recovery then finds the old batches
//! overlapped by the base of the next segment, and cuts them there.
//!
//! Emptying a log takes several changes of names, and the process may end between any two of them. Their order makes
//! every state in between a log that recovery opens with records that were there before, and without a hole:
//!
//! ```text
//!   restart at 90     0‥39  40‥79             what is at or above the new start goes first, newest first
//!                     0‥39  40‥79  90‥        the new segment (90‥ is behind a hole: recovery drops it)
//!                           40‥79  90‥        then the rest, oldest first, as if its retention had ended
//!                                  90‥        done
//! ```
//!
//! Sources: Kafka's UnifiedLog.truncateTo, LocalLog.truncateFullyAndStartAt and createAndDeleteSegment (the new segment
//! first, so that one is never missing); KAFKA-10706, KAFKA-9491.

use super::{Log, LogError};
use crate::disk::Disk;
use crate::machine::Outbox;
use crate::note::{Note, TruncateReason};
use crate::types::Offset;

impl Log {
    /// Cuts the log: `to` is the new end. Below the start: everything goes and the log restarts at `to`. A batch that
    /// holds `to` goes whole, and the log ends where it began. At or above the end only the epoch cache is cut.
    /// True if something was cut.
    pub fn truncate_to(
        &mut self,
        to: Offset,
        reason: TruncateReason,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<bool, LogError> {
        self.flusher.sweep(disk);
        if to >= self.log_end_offset {
            if self.epochs.truncate_from_end(to) {
                self.write_epochs(disk)?;
            }
            return Ok(false);
        }
        if to < self.log_start_offset || to < self.segments[0].base {
            self.restart_at(to, disk, out)?;
            return Ok(true);
        }
        let keep = self.segment_of(to) + 1;
        // Newest first: whatever is left of this after a crash has no hole.
        while self.segments.len() > keep {
            let segment = self.segments.pop().expect("there are more than are kept");
            self.delete_segment(&segment, disk)?;
            self.tail.clear();
        }
        self.cuts += 1;
        let active = self.segments.last_mut().expect("one is kept");
        let gone = active.cut(to, self.cuts, disk)?;
        let end = gone.map_or(to, |base| base.min(to));
        if end < self.log_start_offset {
            self.restart_at(to, disk, out)?;
            return Ok(true);
        }
        let from = self.log_end_offset;
        self.tail.truncate(end);
        self.lower_end(end);
        // It is done, whatever becomes of the epoch cache.
        out.note(Note::Truncated {
            partition: self.partition,
            from,
            to: end,
            reason,
        });
        if self.epochs.truncate_from_end(end) {
            self.write_epochs(disk)?;
        }
        self.roll_back_producers(disk, out)?;
        self.flush(out);
        Ok(true)
    }

    /// Empties the log; it then starts and ends at `at`.
    pub fn restart_at(&mut self, at: Offset, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        if at < 0 {
            return Err(LogError::OutOfRange);
        }
        self.flusher.sweep(disk);
        self.tail.clear();
        let below = self.segments.partition_point(|segment| segment.base < at);
        for segment in self.segments.split_off(below).iter().rev() {
            self.delete_segment(segment, disk)?;
        }
        let below = std::mem::take(&mut self.segments);
        // IMPORTANT: before the others go. A full disk, or the end of the process, would leave a log that ends at 0.
        self.create_segment(at, disk)?;
        below
            .iter()
            .try_for_each(|segment| self.delete_segment(segment, disk))?;
        self.log_start_offset = at;
        self.lower_end(at);
        if self.epochs.clear() {
            self.write_epochs(disk)?;
        }
        out.note(Note::Restarted {
            partition: self.partition,
            at,
        });
        self.forget_producers(disk, out)?;
        self.flush(out);
        Ok(())
    }

    fn lower_end(&mut self, end: Offset) {
        self.log_end_offset = end;
        self.lower_recovery_point(end);
    }

    /// Claims less to be durable than is.
    pub fn lower_recovery_point(&mut self, to: Offset) {
        self.recovery_point = self.recovery_point.min(to);
        self.flusher.lower(to);
        // No append waits for what is claimed no longer: it is gone, or about to be.
        self.awaited = self.awaited.min(to);
        self.returned = self.returned.min(to);
    }
}
