//! Opening a log: what is on disk becomes segments, offsets and the epoch cache.
//!
//! ```text
//!   1 leftovers       .deleted .cleaned removed, .swap completed, indexes without a log removed
//!   2 start           segments wholly below the checkpointed log start removed
//!   3 each segment    clean, or below the recovery point: its end is found from its last index entry;
//!                     else every batch is read: checksum, structure, order; indexes are built again
//!   4 the first bad byte: later segments removed, newest first, and then the file is cut there
//!   5 epoch cache     the file's entries below what was read, if the batches agree; the rest is folded from the log
//!   6 producers       the newest snapshot below what was read, and the batches behind it (producer_snapshot.rs)
//! ```
//!
//! Guarantees: the result depends only on what is on disk, so recovering twice gives the same, also if the process or
//! the power failed in the middle. Bytes from disk never end in a panic. The recovery point is never moved up by an
//! unclean start.
//!
//! What the process before did is in the page cache, durable or not. So a log that was not stopped cleanly is flushed, and
//! until that is done its end counts as just cut: an append begins a new segment (`truncate.rs`).
//!
//! Three things that only a power failure leaves, and that Kafka does not look for: a batch that belongs to the next
//! segment by its offset (a cut that did not reach the platter; the next segment has the newer data, so the batch
//! goes); a hole between two segments above the recovery point (the names of the ones between were lost; all behind
//! the hole goes, since a log is what was written without a hole); a segment above the recovery point that begins in
//! an older epoch than the one before it ends in (its removal was lost, it goes again).
//!
//! A restart of the log that was cut short leaves such a hole too, before the new and empty segment (`truncate.rs`).
//!
//! What is left open: the changes of a directory are taken to survive in their order, as journals keep them. If the
//! removals of a restart survive and the creation before them does not, the log is empty.
//!
//! Sources: Kafka's LogLoader, LogSegment.recover; KAFKA-10432, KAFKA-12520, KAFKA-16541.

use super::checkpoint::{read_file, temporary};
use super::epochs::{self, EpochCache};
use super::scan::{Found, HeaderScan};
use super::segment::{DELETED, SUFFIXES, Segment, path};
use super::{Log, OpenWith};
use crate::disk::{Disk, DiskError};
use crate::machine::Outbox;
use crate::note::{Note, TruncateReason};
use crate::types::{LeaderEpoch, Offset};
use crate::wire::batch::{self, BatchHeader};

/// What looking through a segment told.
struct Examined {
    /// Its next offset.
    end: Offset,
    /// Where its batches end in the file.
    position: u64,
    /// Why they end there.
    stop: Stop,
    /// Epochs of its batches with the base offset of the first batch of each run, as far as they were looked at.
    epochs: Vec<(LeaderEpoch, Offset)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The file ends.
    End,
    /// Something that is not a batch, or not one that may follow.
    Garbage,
    /// A batch that belongs to the next segment.
    Overlap,
}

/// How closely a segment is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    /// The headers behind the last index entry.
    Tail,
    /// All headers; indexes are built again.
    Headers,
    /// All bytes; indexes are built again.
    Bytes,
}

/// The base offset in the name of a `.log` file.
fn base_of(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

fn remove_if_there(path: &str, disk: &mut dyn Disk) -> Result<(), DiskError> {
    match disk.remove(path) {
        Ok(()) | Err(DiskError::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes a segment's files. Its log first: indexes without a log are leftovers, a log without indexes is a segment.
fn remove_files(dir: &str, base: Offset, disk: &mut dyn Disk) -> Result<(), DiskError> {
    SUFFIXES
        .iter()
        .try_for_each(|suffix| remove_if_there(&path(dir, base, suffix), disk))
}

impl Log {
    /// Fills an empty `Log` from its directory.
    pub(super) fn load(&mut self, with: OpenWith, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), DiskError> {
        if !disk.exists(&self.dir) {
            disk.create_dir(&self.dir)?;
            self.flusher.is_parent_dirty = true;
        }
        if !with.clean {
            // What the process before has written may be in the page cache only, names included.
            self.flusher.is_dir_dirty = true;
            self.flusher.is_parent_dirty |= with.recovery_point <= 0;
        }
        let bases = self.clear_leftovers(disk)?;
        let bases = self.remove_below_start(bases, disk)?;
        let indexed = self.open_segments(&bases, disk)?;
        let fold = self.examine_segments(&bases, &indexed, with, disk, out)?;
        let read_from = fold.from;
        match self.settle_ends(with, disk)? {
            // Nothing is left that could have an epoch.
            true => self.store_epochs(EpochCache::default(), None, disk)?,
            false => {
                self.distrust_end(with);
                self.load_epochs(fold, disk)?;
            }
        }
        self.load_producers(read_from, disk)?;
        let epoch_file = format!("{}/{}", self.dir, epochs::FILE);
        if !with.clean && self.flusher.epoch_file.is_none() && disk.exists(&epoch_file) {
            self.flusher.epoch_file = Some(disk.open(&epoch_file, false)?);
        }
        Ok(())
    }

    /// Step 1. Base offsets of the segments, ascending.
    fn clear_leftovers(&mut self, disk: &mut dyn Disk) -> Result<Vec<Offset>, DiskError> {
        let dir = self.dir.clone();
        let names = disk.list(&dir)?;
        let swapped = |name: &String| base_of(name.strip_suffix(".swap")?);
        let cleaned = |name: &String| base_of(name.strip_suffix(".cleaned")?);
        // A cleaning that was not finished: what it has swapped in from there on is not whole either.
        let unfinished = names.iter().filter_map(cleaned).min().unwrap_or(Offset::MAX);
        for name in &names {
            let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind);
            if kind == DELETED || kind == "cleaned" {
                disk.remove(&format!("{dir}/{name}"))?;
                self.flusher.is_dir_dirty = true;
            }
        }
        remove_if_there(&temporary(&format!("{dir}/{}", epochs::FILE)), disk)?;
        for base in names.iter().filter_map(swapped) {
            if base < unfinished {
                self.complete_swap(base, disk)?;
            }
            self.flusher.is_dir_dirty = true;
        }
        for name in disk.list(&dir)? {
            let is_swap = name.ends_with(".swap");
            let is_index = name.ends_with(".index") || name.ends_with(".timeindex");
            let stem = name.split('.').next().unwrap_or_default();
            if is_swap || is_index && !disk.exists(&format!("{dir}/{stem}.log")) {
                disk.remove(&format!("{dir}/{name}"))?;
            }
        }
        let mut bases: Vec<Offset> = disk.list(&dir)?.iter().filter_map(|name| base_of(name)).collect();
        bases.sort_unstable();
        bases.dedup();
        Ok(bases)
    }

    /// A cleaned segment that was about to replace those whose records it holds.
    fn complete_swap(&mut self, base: Offset, disk: &mut dyn Disk) -> Result<(), DiskError> {
        let swap = format!("{}.swap", path(&self.dir, base, "log"));
        let file = disk.open(&swap, false)?;
        let mut scan = HeaderScan::new(file, 0, disk.len(file));
        let mut end = base;
        while let Found::Batch(header, _) = scan.next(disk)? {
            end = header.next_offset();
        }
        disk.close(file);
        let replaced: Vec<Offset> = disk.list(&self.dir)?.iter().filter_map(|name| base_of(name)).collect();
        for old in replaced.into_iter().filter(|old| (base..end).contains(old)) {
            remove_files(&self.dir, old, disk)?;
        }
        disk.rename(&swap, &path(&self.dir, base, "log"))
    }

    /// Step 2. The bases that are left.
    fn remove_below_start(&mut self, bases: Vec<Offset>, disk: &mut dyn Disk) -> Result<Vec<Offset>, DiskError> {
        let below = bases
            .partition_point(|base| *base <= self.log_start_offset)
            .saturating_sub(1);
        for base in &bases[..below] {
            remove_files(&self.dir, *base, disk)?;
            self.flusher.is_dir_dirty = true;
        }
        Ok(bases[below..].to_vec())
    }

    /// Whether each has its indexes.
    fn open_segments(&mut self, bases: &[Offset], disk: &mut dyn Disk) -> Result<Vec<bool>, DiskError> {
        let mut indexed = Vec::with_capacity(bases.len());
        for base in bases {
            let (segment, is_indexed) = Segment::open(&self.dir, *base, self.last_now.wall_ms, disk)?;
            self.flusher.is_dir_dirty |= !is_indexed;
            self.segments.push(segment);
            indexed.push(is_indexed);
        }
        Ok(indexed)
    }

    /// Steps 3 and 4. The epochs of the log from the returned offset on.
    fn examine_segments(
        &mut self,
        bases: &[Offset],
        indexed: &[bool],
        with: OpenWith,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Fold, DiskError> {
        let first_read = if with.clean {
            self.segments.len()
        } else {
            self.segment_of(with.recovery_point)
        };
        let mut is_reading = false;
        let mut last_epoch = None;
        let mut fold = Fold::new(self);
        let mut at = 0;
        while at < self.segments.len() {
            is_reading |= at >= first_read;
            let next = bases.get(at + 1).copied();
            let mut examined = match (is_reading, with.clean) {
                (true, _) => self.examine(at, Care::Bytes, next, disk)?,
                (false, clean) => {
                    let care = if indexed[at] { Care::Tail } else { Care::Headers };
                    let quick = self.examine(at, care, next, disk)?;
                    if quick.stop == Stop::Garbage && !clean {
                        // Below the recovery point, and yet not whole: from here on nothing is trusted.
                        is_reading = true;
                        self.examine(at, Care::Bytes, next, disk)?
                    } else {
                        quick
                    }
                }
            };
            let first_epoch = examined.epochs.first().map(|first| first.0);
            if first_epoch < last_epoch
                && first_epoch.is_some()
                && self.segments[at].base > with.recovery_point
                && !with.clean
            {
                self.remove_from(at, disk)?;
                self.note_cut(self.log_end_offset, false, bases, out);
                break;
            }
            last_epoch = examined.epochs.last().map(|last| last.0).or(last_epoch);
            if is_reading {
                fold.read(self.segments[at].base, std::mem::take(&mut examined.epochs));
            } else {
                fold.trust(examined.epochs.as_slice());
            }
            if examined.position < self.segments[at].size {
                self.cuts += 1;
                let number = self.cuts;
                let goes_on = examined.stop == Stop::Overlap;
                if !goes_on {
                    self.remove_from(at + 1, disk)?;
                }
                self.segments[at].cut_at(examined.position, number, disk)?;
                self.note_cut(examined.end, goes_on, bases, out);
            }
            self.log_end_offset = examined.end;
            let has_hole = next.is_some_and(|next| examined.end < next && next > with.recovery_point);
            if has_hole && !with.clean && at + 1 < self.segments.len() {
                self.remove_from(at + 1, disk)?;
                self.note_cut(examined.end, false, bases, out);
            }
            at += 1;
        }
        Ok(fold)
    }

    fn note_cut(&mut self, to: Offset, goes_on: bool, bases: &[Offset], out: &mut Outbox) {
        if !goes_on {
            let from = bases.last().copied().unwrap_or(to).max(to);
            out.note(Note::Truncated {
                partition: self.partition,
                from,
                to,
                reason: TruncateReason::Recovery,
            });
        }
    }

    /// Removes segments from index `from` on, newest first, so that a crash leaves no hole.
    fn remove_from(&mut self, from: usize, disk: &mut dyn Disk) -> Result<(), DiskError> {
        while self.segments.len() > from {
            let segment = self.segments.pop().expect("there are more than stay");
            segment.files().into_iter().for_each(|file| disk.close(file));
            remove_files(&self.dir, segment.base, disk)?;
            self.flusher.is_dir_dirty = true;
        }
        Ok(())
    }

    /// Step 3 for one segment. `next` is the base of the segment behind it.
    fn examine(
        &mut self,
        at: usize,
        care: Care,
        next: Option<Offset>,
        disk: &mut dyn Disk,
    ) -> Result<Examined, DiskError> {
        if care == Care::Tail {
            let segment = &mut self.segments[at];
            let quick = examine_tail(segment, next, disk)?;
            if let Some(quick) = quick {
                segment.learn_largest(quick.end, disk)?;
                // An index that knows more than the log would make the next entry impossible; one of a closed segment
                // that does not know the largest timestamp was being built when the process ended.
                let knows_more = segment.times.last().is_some_and(|last| last.offset >= quick.end);
                let knows_less = next.is_some()
                    && segment.times.last().map_or(-1, |last| last.timestamp) < segment.largest.timestamp;
                if !knows_more && !knows_less {
                    return Ok(quick);
                }
            }
            return self.examine(at, Care::Headers, next, disk);
        }
        let config = self.config.clone();
        let segment = &mut self.segments[at];
        segment.forget(disk)?;
        let mut scan = HeaderScan::new(segment.log, 0, segment.size);
        let mut examined = Examined {
            end: segment.base,
            position: 0,
            stop: Stop::End,
            epochs: Vec::new(),
        };
        loop {
            let (header, position) = match scan.next(disk)? {
                Found::Batch(header, position) => (header, position),
                Found::End => break,
                Found::Garbage(_) => {
                    examined.stop = Stop::Garbage;
                    break;
                }
            };
            if next.is_some_and(|next| header.last_offset() >= next) && header.base_offset >= examined.end {
                examined.stop = Stop::Overlap;
                break;
            }
            if !may_follow(&header, segment.base, examined.end)
                || care == Care::Bytes && !is_whole(&header, &disk.read_at(segment.log, position, header.size())?)
            {
                examined.stop = Stop::Garbage;
                break;
            }
            segment.learn(&header, position, &config, disk)?;
            examined.take(&header, position);
        }
        // Also of the active segment, as Kafka does: the result does not depend on what stands behind.
        segment.seal(disk)?;
        if care == Care::Bytes {
            segment.is_dirty |= segment.size > 0;
        }
        Ok(examined)
    }

    /// The log's ends, and a segment if there is none. True if nothing is left.
    fn settle_ends(&mut self, with: OpenWith, disk: &mut dyn Disk) -> Result<bool, DiskError> {
        let start = self.log_start_offset;
        let is_gone = self.segments.is_empty() || self.log_end_offset < start;
        if is_gone {
            // Records below the start are gone for good, so a log that ends there is empty.
            self.remove_from(0, disk)?;
            self.create_segment(start, disk)?;
            self.log_end_offset = start;
        }
        self.log_start_offset = start.max(self.segments[0].base);
        self.recovery_point = match with.clean && self.cuts == 0 {
            true => self.log_end_offset,
            false => with.recovery_point.clamp(0, self.log_end_offset),
        };
        Ok(is_gone)
    }

    /// The process before may have cut the active segment, and died before that was durable: nobody can tell.
    fn distrust_end(&mut self, with: OpenWith) {
        let active = self.segments.last_mut().expect("it was settled");
        if !with.clean && active.cut == 0 {
            self.cuts += 1;
            active.cut = self.cuts;
            active.is_dirty = true;
        }
    }

    /// Step 5.
    fn load_epochs(&mut self, fold: Fold, disk: &mut dyn Disk) -> Result<(), DiskError> {
        let text = read_file(&format!("{}/{}", self.dir, epochs::FILE), disk)?;
        let stored = text.as_deref().and_then(EpochCache::parse);
        let trusted = stored.clone().filter(|stored| fold.agrees(stored));
        let (mut cache, read) = match trusted {
            Some(mut stored) => {
                if let Some(from) = fold.from {
                    stored.truncate_from_end(from);
                }
                (stored, fold.read)
            }
            None => (EpochCache::default(), self.fold_all(disk)?),
        };
        for (epoch, start) in read {
            if epoch.0 >= 0 && start >= 0 && cache.last() != Some(epoch) {
                cache.assign(epoch, start);
            }
        }
        cache.truncate_from_end(self.log_end_offset);
        cache.truncate_from_start(self.log_start_offset);
        self.store_epochs(cache, stored, disk)
    }

    /// Takes over a cache, and writes its file if that says something else.
    fn store_epochs(
        &mut self,
        cache: EpochCache,
        stored: Option<EpochCache>,
        disk: &mut dyn Disk,
    ) -> Result<(), DiskError> {
        let has_file = stored.is_some() || disk.exists(&format!("{}/{}", self.dir, epochs::FILE));
        self.epochs = cache;
        if stored.as_ref() != Some(&self.epochs) && (has_file || !self.epochs.entries().is_empty()) {
            self.write_epochs(disk)?;
        }
        Ok(())
    }

    /// The epochs of all batches, by their headers.
    fn fold_all(&self, disk: &mut dyn Disk) -> Result<Vec<(LeaderEpoch, Offset)>, DiskError> {
        let mut epochs = Vec::new();
        for segment in &self.segments {
            let mut scan = HeaderScan::new(segment.log, 0, segment.size);
            while let Found::Batch(header, _) = scan.next(disk)? {
                note_epoch(&mut epochs, &header);
            }
        }
        Ok(epochs)
    }
}

/// The epochs that were seen while segments were looked through.
struct Fold {
    /// Of segments that were not read: epochs at offsets, which the file must agree with.
    seen: Vec<(LeaderEpoch, Offset)>,
    /// Base of the first segment that was read.
    from: Option<Offset>,
    /// Epochs from there on, complete.
    read: Vec<(LeaderEpoch, Offset)>,
    /// Entries below begin later in the cache than in the batches.
    start: Offset,
}

impl Fold {
    fn new(log: &Log) -> Fold {
        Fold {
            seen: Vec::new(),
            from: None,
            read: Vec::new(),
            start: log.log_start_offset,
        }
    }

    fn read(&mut self, base: Offset, epochs: Vec<(LeaderEpoch, Offset)>) {
        self.from.get_or_insert(base);
        self.read.extend(epochs);
    }

    fn trust(&mut self, epochs: &[(LeaderEpoch, Offset)]) {
        self.seen.extend(epochs);
    }

    fn agrees(&self, stored: &EpochCache) -> bool {
        self.seen
            .iter()
            .all(|(epoch, offset)| *offset < self.start || stored.at(*offset) == Some(*epoch))
    }
}

fn note_epoch(epochs: &mut Vec<(LeaderEpoch, Offset)>, header: &BatchHeader) {
    if epochs.last().is_none_or(|last| last.0 != header.partition_leader_epoch) {
        epochs.push((header.partition_leader_epoch, header.base_offset));
    }
}

impl Examined {
    fn take(&mut self, header: &BatchHeader, position: u64) {
        self.end = header.next_offset();
        self.position = position + header.size() as u64;
        note_epoch(&mut self.epochs, header);
    }
}

/// Whether a batch may stand behind `end` in the segment of `base`.
fn may_follow(header: &BatchHeader, base: Offset, end: Offset) -> bool {
    header.base_offset >= end
        && header.last_offset() < Offset::MAX
        && header.last_offset() - base <= i64::from(i32::MAX)
        && header.partition_leader_epoch.0 >= 0
}

fn is_whole(header: &BatchHeader, bytes: &[u8]) -> bool {
    batch::check(bytes).as_ref() == Ok(header)
}

/// Finds a segment's end behind its last index entry, and the epochs at its two ends. `None`: the index does not fit.
fn examine_tail(
    segment: &mut Segment,
    next: Option<Offset>,
    disk: &mut dyn Disk,
) -> Result<Option<Examined>, DiskError> {
    let mut examined = Examined {
        end: segment.base,
        position: 0,
        stop: Stop::End,
        epochs: Vec::new(),
    };
    if let Found::Batch(header, _) = HeaderScan::new(segment.log, 0, segment.size).next(disk)? {
        segment.first_timestamp = Some(header.max_timestamp);
        note_epoch(&mut examined.epochs, &header);
    }
    let entry = segment.offsets.last();
    let from = entry.map_or(0, |entry| u64::from(entry.position));
    let mut scan = HeaderScan::new(segment.log, from, segment.size);
    let mut is_first = true;
    loop {
        match scan.next(disk)? {
            Found::Batch(header, position) => {
                if is_first && entry.is_some_and(|entry| entry.offset != header.last_offset()) {
                    return Ok(None);
                }
                if next.is_some_and(|next| header.last_offset() >= next) {
                    // The index goes too, so that no entry points behind the cut.
                    return Ok(None);
                }
                if !may_follow(&header, segment.base, examined.end) {
                    examined.stop = Stop::Garbage;
                    return Ok(Some(examined));
                }
                examined.take(&header, position);
                is_first = false;
            }
            Found::End => return Ok(Some(examined)),
            Found::Garbage(_) if is_first && entry.is_some() => return Ok(None),
            Found::Garbage(_) => {
                examined.stop = Stop::Garbage;
                return Ok(Some(examined));
            }
        }
    }
}
