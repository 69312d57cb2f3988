//! What of a log is durable, and the syncs that make it so.
//!
//! ```text
//!   flush to 100 asked ─▶ syncs 1 2 3 ─┐
//!   flush to 250 asked ─▶ syncs 4      ─┴▶ the recovery point moves when the oldest flush has all of its syncs
//! ```
//!
//! Guarantees: a flush that ends before an older one waits for it, since each syncs only what had been written since
//! the one before. A cut of the log lowers every flush that is under way, so the recovery point never passes the end.
//! A file is not closed while a sync of it is under way.
//!
//! What a flush covers: batches; the indexes of segments that are closed (recovery builds those of the active one
//! again, so that only a clean stop syncs them); the leader-epoch file and the producers' snapshots; the directory, if a
//! name in it changed (KAFKA-3968).
//!
//! Kafka's flush inside an append is a call that blocks. Here it is asked for and the log goes on, so what such a call
//! would hold back is held back by [`Log::returned_end_offset`].
//!
//! Sources: Kafka's UnifiedLog.append and flush, LogManager.flushDirtyLogs; KAFKA-3968, KAFKA-16541.

use super::{Log, LogError};
use crate::disk::{Disk, DiskError, FileId, SyncTarget};
use crate::machine::{Outbox, SyncOwner, SyncTag};
use crate::note::Note;
use crate::types::{Nanos, Now, Offset};
use std::collections::{BTreeMap, VecDeque};

/// One flush under way.
#[derive(Clone, Debug, Hash)]
struct Flush {
    /// The recovery point when it is done.
    to: Offset,
    /// Syncs that have not ended.
    waits: usize,
    /// Cuts that it makes durable: base of the segment, number of the cut.
    cuts: Vec<(Offset, u64)>,
}

/// The syncs of one log.
#[derive(Clone, Debug, Default, Hash)]
pub struct Flusher {
    /// Number of the next sync.
    next_seq: u64,
    /// Oldest first.
    flushes: VecDeque<Flush>,
    /// Number of the oldest flush.
    first: u64,
    /// Sync to flush and file.
    syncs: BTreeMap<u64, (u64, Option<FileId>)>,
    /// Closed as soon as no sync of them is under way.
    closing: Vec<FileId>,
    /// A name in the directory changed since a sync of it was asked for.
    pub is_dir_dirty: bool,
    /// The directory itself is new.
    pub is_parent_dirty: bool,
    /// The sync under way that makes its name durable.
    naming: Option<u64>,
    /// The leader-epoch file, if it was written since a sync of it was asked for.
    pub epoch_file: Option<FileId>,
    /// Snapshots of the producers' state, likewise.
    pub snapshot_files: Vec<FileId>,
    /// When `flush.ms` wants the next flush.
    pub due: Option<Nanos>,
}

impl Flusher {
    /// Numbers of syncs begin at `seq`: they differ from those of an earlier log of the same partition, whose syncs
    /// may end after this one is opened.
    pub fn new(seq: u64) -> Flusher {
        Flusher {
            next_seq: seq,
            ..Flusher::default()
        }
    }

    /// Closes a file now, or when its last sync ends and a disk is at hand.
    pub fn close(&mut self, file: FileId, disk: &mut dyn Disk) {
        if self.is_busy(file) {
            self.closing.push(file);
        } else {
            disk.close(file);
        }
    }

    fn is_busy(&self, file: FileId) -> bool {
        self.syncs.values().any(|sync| sync.1 == Some(file))
    }

    /// Closes what can be closed by now.
    pub fn sweep(&mut self, disk: &mut dyn Disk) {
        if !self.closing.is_empty() {
            let (busy, idle) = self
                .closing
                .drain(..)
                .partition(|file| self.syncs.values().any(|sync| sync.1 == Some(*file)));
            self.closing = busy;
            let idle: Vec<FileId> = idle;
            idle.into_iter().for_each(|file| disk.close(file));
        }
    }

    /// Closes what still waits, whatever is under way.
    pub fn close_all(&mut self, disk: &mut dyn Disk) {
        let files = self.closing.drain(..).chain(self.snapshot_files.drain(..));
        files.for_each(|file| disk.close(file));
        if let Some(file) = self.epoch_file.take() {
            disk.close(file);
        }
    }

    /// Counts from the beginning what nobody outside waits for, and lets `flush.ms` begin anew.
    pub fn forget_age(&mut self, anew: Nanos, flush_ms: i64) {
        if self.syncs.is_empty() && self.flushes.is_empty() {
            (self.next_seq, self.first) = (0, 0);
        }
        self.due = self
            .due
            .map(|_| Nanos(anew.0.saturating_add((flush_ms as u64).saturating_mul(1_000_000))));
    }

    /// Numbers of the cuts that flushes under way make durable.
    pub fn cuts(&self) -> impl Iterator<Item = u64> {
        let cuts = self.flushes.iter().flat_map(|flush| &flush.cuts);
        cuts.map(|(_, number)| *number)
    }

    /// Gives the cuts other numbers.
    pub fn rename_cuts(&mut self, number: impl Fn(u64) -> u64) {
        let cuts = self.flushes.iter_mut().flat_map(|flush| &mut flush.cuts);
        cuts.for_each(|(_, cut)| *cut = number(*cut));
    }

    /// Flushes under way end at `end` at the latest.
    pub fn lower(&mut self, end: Offset) {
        self.flushes.iter_mut().for_each(|flush| flush.to = flush.to.min(end));
    }
}

impl Log {
    /// Asks for everything up to the log end to be made durable; `recovery_point` follows when it is.
    pub fn flush(&mut self, out: &mut Outbox) {
        self.flusher.due = None;
        self.flush_to(self.log_end_offset, out);
    }

    /// As [`Log::flush`], for a clean stop, after which nothing is looked at again: all files of the active segment,
    /// its indexes too, and though only the process before may have cut it.
    pub fn flush_to_stop(&mut self, out: &mut Outbox) {
        self.flusher.due = None;
        let active = self.segments.last_mut().expect("an open log has an active segment");
        (active.is_dirty, active.is_index_dirty) = (true, true);
        self.flush_segments(self.log_end_offset, self.segments.len(), out);
    }

    /// The end of what is durable or being made so.
    pub(super) fn flush_asked(&self) -> Offset {
        self.flusher
            .flushes
            .back()
            .map_or(self.recovery_point, |flush| flush.to.max(self.recovery_point))
    }

    /// Whether nothing is written that is not durable: records, cuts and names. Before it is true a clean shutdown
    /// must not be claimed.
    pub fn is_flushed(&self) -> bool {
        let flusher = &self.flusher;
        let names = flusher.is_dir_dirty || flusher.is_parent_dirty;
        let files = flusher.epoch_file.is_some() || !flusher.snapshot_files.is_empty();
        let segments = self
            .segments
            .iter()
            .rev()
            .any(|segment| segment.is_dirty && segment.size > 0 || segment.cut > 0);
        self.recovery_point >= self.log_end_offset && flusher.flushes.is_empty() && !names && !files && !segments
    }

    /// Asks for the segments that begin below `to`; the recovery point becomes `to`.
    pub(super) fn flush_to(&mut self, to: Offset, out: &mut Outbox) {
        self.flush_segments(to, self.segments.len() - 1, out);
    }

    /// With the indexes of the first `indexed` segments.
    fn flush_segments(&mut self, to: Offset, indexed: usize, out: &mut Outbox) {
        assert!(to <= self.log_end_offset, "only what is written can be made durable");
        let flusher = &mut self.flusher;
        let number = flusher.first + flusher.flushes.len() as u64;
        let mut flush = Flush {
            to,
            waits: 0,
            cuts: Vec::new(),
        };
        let owner = SyncOwner::Log(self.partition);
        let mut ask = |target: SyncTarget, file: Option<FileId>| {
            let seq = flusher.next_seq;
            flusher.syncs.insert(seq, (number, file));
            out.sync(owner, seq, target);
            flusher.next_seq += 1;
            flush.waits += 1;
            seq
        };
        let active = self.segments.len() - 1;
        for (at, segment) in self.segments.iter_mut().enumerate() {
            // An empty active segment has nothing yet, unless it was emptied.
            let was_emptied = at == active && segment.size == 0 && segment.cut > 0;
            if segment.base >= to && !was_emptied && at >= indexed {
                continue;
            }
            if segment.is_dirty {
                ask(SyncTarget::File(segment.log), Some(segment.log));
                segment.is_dirty = false;
            }
            if segment.is_index_dirty && at < indexed {
                for file in [segment.offsets.file(), segment.times.file()] {
                    ask(SyncTarget::File(file), Some(file));
                }
                segment.is_index_dirty = false;
            }
            if segment.cut > 0 {
                flush.cuts.push((segment.base, segment.cut));
            }
        }
        let snapshots = std::mem::take(&mut flusher.snapshot_files);
        for file in flusher.epoch_file.take().into_iter().chain(snapshots) {
            ask(SyncTarget::File(file), Some(file));
            flusher.closing.push(file);
        }
        if std::mem::take(&mut flusher.is_dir_dirty) {
            ask(SyncTarget::Dir(self.dir.clone()), None);
        }
        if std::mem::take(&mut flusher.is_parent_dirty) {
            let parent = self.dir.rsplit_once('/').map_or("", |(parent, _)| parent);
            flusher.naming = Some(ask(SyncTarget::Dir(parent.to_string()), None));
        }
        if flush.waits > 0 || to > self.flush_asked() {
            self.flusher.flushes.push_back(flush);
            self.finish_flushes(out);
        }
    }

    /// A sync of this log ended.
    pub fn on_sync_done(
        &mut self,
        tag: &SyncTag,
        result: Result<(), DiskError>,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        assert_eq!(
            tag.owner,
            SyncOwner::Log(self.partition),
            "syncs are routed by their owner"
        );
        let Some((number, _)) = self.flusher.syncs.remove(&tag.seq) else {
            return Ok(()); // Of an earlier log of this partition.
        };
        result?;
        if self.flusher.naming == Some(tag.seq) {
            self.flusher.naming = None;
        }
        let at = (number - self.flusher.first) as usize;
        let flush = self
            .flusher
            .flushes
            .get_mut(at)
            .expect("a flush waits for each of its syncs");
        flush.waits -= 1;
        self.finish_flushes(out);
        Ok(())
    }

    fn finish_flushes(&mut self, out: &mut Outbox) {
        while self.flusher.flushes.front().is_some_and(|flush| flush.waits == 0) {
            let flush = self.flusher.flushes.pop_front().expect("it was looked at");
            self.flusher.first += 1;
            for (base, number) in flush.cuts {
                if let Ok(at) = self.segments.binary_search_by_key(&base, |segment| segment.base)
                    && self.segments[at].cut == number
                {
                    self.segments[at].cut = 0;
                }
            }
            if flush.to > self.recovery_point {
                self.recovery_point = flush.to;
                out.note(Note::Flushed {
                    partition: self.partition,
                    to: flush.to,
                });
            }
        }
        assert!(
            self.recovery_point <= self.log_end_offset,
            "nothing behind the end is durable"
        );
    }

    /// Whether the directory's own name is durable. Before, a power failure takes all that is in it, synced or not.
    pub fn is_named(&self) -> bool {
        !self.flusher.is_parent_dirty && self.flusher.naming.is_none()
    }

    /// Where Kafka's appends would have returned: an append that makes `flush.messages` due returns only when all of
    /// the log is durable, and until then nobody is told of it, neither the client nor, by the next fetch, the leader.
    /// Otherwise this is the log end.
    pub fn returned_end_offset(&self) -> Offset {
        if self.awaited <= self.recovery_point {
            self.log_end_offset
        } else {
            self.returned.max(self.recovery_point)
        }
    }

    /// The flush that was asked for last is waited for by whoever wrote behind `from`. Those who come meanwhile wait
    /// with it, as they would for Kafka's lock on the log.
    pub(super) fn await_flush_from(&mut self, from: Offset) {
        if self.log_end_offset - self.recovery_point >= self.config.flush_messages {
            if self.awaited <= self.recovery_point {
                self.returned = from;
            }
            self.awaited = self.log_end_offset;
        }
    }

    /// After an append that began at `from`: `flush.messages` and `flush.ms`.
    pub(super) fn flush_if_due(&mut self, from: Offset, now: Now, out: &mut Outbox) {
        if self.log_end_offset - self.flush_asked() >= self.config.flush_messages {
            self.flush(out);
            self.await_flush_from(from);
        } else if self.config.flush_ms < i64::MAX && self.flusher.due.is_none() {
            let due = now
                .mono
                .0
                .saturating_add((self.config.flush_ms as u64).saturating_mul(1_000_000));
            self.flusher.due = Some(Nanos(due));
        }
    }
}
