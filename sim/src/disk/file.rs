//! One file in three images: what reads return, what was written since it was last made durable, and the platter.
//!
//! Guarantees: a write costs its own bytes and one journal entry, never the size of the file; the image of any moment
//! since the last sync can be rebuilt (the journal keeps what an overwrite covered, so appends keep nothing); a page
//! with unsynced data never leaves the cache. Sectors are worked out only when a sync or a power failure asks.
//! It does not know names, time, chance or which faults exist.
//!
//! ```text
//!   write ──> cache ──(journal)──capture──> Patch ──store──> platter
//!               ^                                               │
//!               └──────────── load (a page that is cold) ───────┘
//! ```
//! Sources: Linux page cache; "All File Systems Are Not Created Equal" (OSDI 2014).

use std::collections::BTreeSet;

/// Bytes the device writes or leaves as one piece.
pub(super) const SECTOR: u64 = 512;
/// Bytes the cache loads and drops as one piece.
pub(super) const PAGE: u64 = 4096;

/// One change since the last sync.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// Place in the order of all changes of the disk.
    pub seq: u64,
    /// First byte written; of a change of length, the new length.
    pub offset: u64,
    /// Bytes written; of a change of length, 0.
    pub len: u64,
    /// Length of the file before it.
    pub before: u64,
    /// Whether it is a change of length.
    pub resize: bool,
    /// The bytes that it covered or cut off.
    pub old: Box<[u8]>,
}

impl Change {
    /// First and one past the last byte that may differ because of it.
    pub fn range(&self) -> (u64, u64) {
        if self.resize {
            (self.offset.min(self.before), self.offset.max(self.before))
        } else {
            (self.offset, self.offset + self.len)
        }
    }
}

/// The dirty sectors of a file as they were at one moment.
#[derive(Clone, Debug)]
pub(super) struct Patch {
    /// The last change it contains.
    pub seq: u64,
    /// Length of the file.
    pub len: u64,
    /// Bytes by their offset, which is a multiple of [`SECTOR`].
    pub pieces: Vec<(u64, Vec<u8>)>,
}

impl Patch {
    /// Bytes that go to the platter.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }
    /// Sectors that go to the platter.
    pub fn sectors(&self) -> u64 {
        self.pieces
            .iter()
            .map(|(_, bytes)| (bytes.len() as u64).div_ceil(SECTOR))
            .sum()
    }
    /// Offset of the `index`th of them.
    pub fn sector(&self, index: u64) -> Option<u64> {
        let mut left = index;
        for (offset, bytes) in &self.pieces {
            let count = (bytes.len() as u64).div_ceil(SECTOR);
            if left < count {
                return Some(offset + left * SECTOR);
            }
            left -= count;
        }
        None
    }
}

/// A file.
#[derive(Clone, Debug)]
pub(super) struct FileImage {
    /// Names this file among all that ever had its place.
    pub identity: u64,
    /// Whether the program sees it under a name.
    pub named: bool,
    /// How many handles are open.
    pub opens: u32,
    /// What reads return, but for pages that are cold.
    pub cache: Vec<u8>,
    /// What is durable.
    pub platter: Vec<u8>,
    /// Changes since the platter was last made equal to the cache, oldest first.
    pub journal: Vec<Change>,
    /// The last change that a lying sync acknowledged, and when the device will have written it [D6].
    pub lied: Option<(u64, u64)>,
    /// A sync has failed: something is taken for clean that is not on the platter.
    pub failed: bool,
    /// Whether the disk has it in its list of dirty files.
    pub listed: bool,
    /// Sectors that cannot be read [D9].
    pub unreadable: BTreeSet<u64>,
    /// The last change that reached the platter.
    synced: u64,
    /// No byte below is dirty.
    dirty_from: u64,
    /// Pages that are not in the cache, one bit each; missing words are pages that are in it.
    cold: Vec<u64>,
    cold_pages: u64,
}

impl FileImage {
    /// An empty file.
    pub fn new(identity: u64) -> FileImage {
        FileImage {
            identity,
            named: false,
            opens: 0,
            cache: Vec::new(),
            platter: Vec::new(),
            journal: Vec::new(),
            lied: None,
            failed: false,
            listed: false,
            unreadable: BTreeSet::new(),
            synced: 0,
            dirty_from: u64::MAX,
            cold: Vec::new(),
            cold_pages: 0,
        }
    }
    /// A file of which only the platter has anything.
    pub fn stored(identity: u64, platter: Vec<u8>) -> FileImage {
        let mut file = FileImage::new(identity);
        file.platter = platter;
        file.restart();
        file
    }
    /// Length that the program sees.
    pub fn len(&self) -> u64 {
        self.cache.len() as u64
    }
    /// Writes into the cache. Pages it covers in part must be warm.
    pub fn write(&mut self, seq: u64, offset: u64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let (before, len) = (self.len(), data.len() as u64);
        let end = offset + len;
        let old = if offset < before {
            self.cache[offset as usize..end.min(before) as usize].into()
        } else {
            Box::default()
        };
        if offset == before {
            self.cache.extend_from_slice(data);
        } else {
            if end > before {
                self.cache.resize(end as usize, 0);
            }
            self.cache[offset as usize..end as usize].copy_from_slice(data);
        }
        self.record(Change {
            seq,
            offset,
            len,
            before,
            resize: false,
            old,
        });
    }
    /// Cuts or extends with zeros. The page of the cut must be warm.
    pub fn resize(&mut self, seq: u64, len: u64) {
        let before = self.len();
        if len == before {
            return;
        }
        let old = if len < before {
            self.cache[len as usize..].into()
        } else {
            Box::default()
        };
        self.cache.resize(len as usize, 0);
        for page in len.div_ceil(PAGE)..before.div_ceil(PAGE) {
            self.warm(page);
        }
        self.record(Change {
            seq,
            offset: len,
            len: 0,
            before,
            resize: true,
            old,
        });
    }
    fn record(&mut self, change: Change) {
        debug_assert!(
            self.journal.last().is_none_or(|last| last.seq < change.seq),
            "order of changes"
        );
        self.dirty_from = self.dirty_from.min(change.range().0);
        self.journal.push(change);
    }
    /// The dirty sectors as they are now; `None` if nothing is dirty.
    pub fn capture(&self) -> Option<Patch> {
        let seq = self.journal.last()?.seq;
        let len = self.len();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for change in &self.journal {
            let (from, to) = change.range();
            let (from, to) = (from / SECTOR * SECTOR, (to.div_ceil(SECTOR) * SECTOR).min(len));
            match ranges.last_mut() {
                _ if from >= to => {}
                // An append: the common case needs no sorting.
                Some(last) if last.0 <= from && from <= last.1 => last.1 = last.1.max(to),
                _ => ranges.push((from, to)),
            }
        }
        ranges.sort_unstable();
        let mut pieces: Vec<(u64, Vec<u8>)> = Vec::with_capacity(ranges.len());
        let mut done = 0;
        for (from, to) in ranges {
            let from = from.max(done);
            if from < to {
                pieces.push((from, self.cache[from as usize..to as usize].to_vec()));
                done = to.div_ceil(SECTOR) * SECTOR;
            }
        }
        Some(Patch { seq, len, pieces })
    }
    /// Whether a patch would change anything: a later one may have overtaken it.
    pub fn wants(&self, patch: &Patch) -> bool {
        patch.seq > self.synced && self.journal.first().is_some_and(|change| change.seq <= patch.seq)
    }
    /// Puts a patch on the platter; what it contains is dirty no more.
    pub fn store(&mut self, patch: &Patch) {
        assert!(patch.seq > self.synced, "a patch stored after a later one");
        self.platter.resize(patch.len as usize, 0);
        for (offset, bytes) in &patch.pieces {
            let from = *offset as usize;
            self.platter[from..from + bytes.len()].copy_from_slice(bytes);
        }
        if !self.unreadable.is_empty() {
            let len = patch.len;
            self.unreadable.retain(|sector| {
                let at = sector * SECTOR;
                at < len && !patch.pieces.iter().any(|(o, b)| *o <= at && at < *o + b.len() as u64)
            });
        }
        self.synced = patch.seq;
        if self.lied.is_some_and(|(seq, _)| seq <= patch.seq) {
            self.lied = None;
        }
        self.forget(0, patch.seq);
    }
    /// Takes changes after `after` up to `seq` for clean, whether or not they are durable.
    pub fn forget(&mut self, after: u64, seq: u64) {
        let from = self.journal.partition_point(|change| change.seq <= after);
        let to = self.journal.partition_point(|change| change.seq <= seq);
        if to == self.journal.len() && from == 0 {
            self.journal.clear();
            if self.journal.capacity() > 4096 {
                self.journal = Vec::new();
            }
            self.dirty_from = u64::MAX;
        } else {
            self.journal.drain(from..to);
            let lowest = self.journal.iter().map(|change| change.range().0).min();
            self.dirty_from = lowest.unwrap_or(u64::MAX);
        }
    }
    /// Everything cached is gone: what is on the platter is the file, and no page is in memory.
    pub fn restart(&mut self) {
        self.failed = false;
        self.journal = Vec::new();
        self.dirty_from = u64::MAX;
        self.lied = None;
        self.listed = false;
        self.opens = 0;
        self.cache.clone_from(&self.platter);
        self.cold_pages = (self.platter.len() as u64).div_ceil(PAGE);
        self.cold = vec![u64::MAX; self.cold_pages.div_ceil(64) as usize];
        if !self.cold_pages.is_multiple_of(64)
            && let Some(last) = self.cold.last_mut()
        {
            *last = (1 << (self.cold_pages % 64)) - 1;
        }
    }
    /// Whether any page is not in the cache.
    #[inline]
    pub fn has_cold(&self) -> bool {
        self.cold_pages > 0
    }
    /// Whether this one is not.
    pub fn is_cold(&self, page: u64) -> bool {
        self.cold
            .get((page / 64) as usize)
            .is_some_and(|word| word >> (page % 64) & 1 == 1)
    }
    /// Takes a page for cached, with whatever the cache has in its place.
    pub fn warm(&mut self, page: u64) {
        if self.is_cold(page) {
            self.cold[(page / 64) as usize] &= !(1 << (page % 64));
            self.cold_pages -= 1;
        }
    }
    /// Whether a page could be dropped: it is cached and nothing in it (or near it) is dirty.
    pub fn can_evict(&self, page: u64) -> bool {
        page * PAGE < self.len() && (page + 1) * PAGE <= self.dirty_from / PAGE * PAGE && !self.is_cold(page)
    }
    /// Drops a page, if it can be dropped. The next read sees the platter.
    pub fn evict(&mut self, page: u64) -> bool {
        if !self.can_evict(page) {
            return false;
        }
        let word = (page / 64) as usize;
        if self.cold.len() <= word {
            self.cold.resize(word + 1, 0);
        }
        self.cold[word] |= 1 << (page % 64);
        self.cold_pages += 1;
        true
    }
    /// Reads a page from the platter into the cache. False if a sector of it cannot be read.
    pub fn load(&mut self, page: u64) -> bool {
        let sectors = PAGE / SECTOR;
        if self
            .unreadable
            .range(page * sectors..(page + 1) * sectors)
            .next()
            .is_some()
        {
            return false;
        }
        self.copy_page(page);
        self.warm(page);
        true
    }
    fn copy_page(&mut self, page: u64) {
        let from = (page * PAGE).min(self.len());
        let to = (from + PAGE).min(self.len());
        let stored = (self.platter.len() as u64).clamp(from, to);
        if from < stored {
            self.cache[from as usize..stored as usize].copy_from_slice(&self.platter[from as usize..stored as usize]);
        }
        self.cache[stored as usize..to as usize].fill(0);
    }
    /// Bytes that reads would return (those of unreadable sectors as they were).
    pub fn contents(&self) -> Vec<u8> {
        if !self.has_cold() {
            return self.cache.clone();
        }
        let mut copy = self.clone();
        for page in 0..self.len().div_ceil(PAGE) {
            if copy.is_cold(page) {
                copy.copy_page(page);
            }
        }
        copy.cache
    }
    /// Bytes of the platter that the program would see soon: those below the first dirty page.
    pub fn settled(&self) -> u64 {
        (self.platter.len() as u64)
            .min(self.len())
            .min(self.dirty_from / PAGE * PAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_has_whole_sectors_once_each_and_is_cut_at_the_end() {
        let mut file = FileImage::new(1);
        file.write(1, 0, &[1; 700]);
        file.write(2, 700, &[2; 1000]);
        file.write(3, 10, &[3; 10]);
        let patch = file.capture().expect("dirty");
        assert_eq!(patch.pieces.len(), 1);
        assert_eq!((patch.pieces[0].0, patch.pieces[0].1.len(), patch.len), (0, 1700, 1700));
        assert_eq!(
            (patch.sectors(), patch.sector(3), patch.sector(4)),
            (4, Some(1536), None)
        );
        file.store(&patch);
        assert_eq!(file.platter, file.cache);
        assert!(file.capture().is_none());
        file.write(4, 1690, &[4; 20]);
        let patch = file.capture().expect("dirty");
        assert_eq!(patch.pieces[0].0, 1536, "only the last sector");
    }

    #[test]
    fn an_overtaken_patch_is_not_wanted() {
        let mut file = FileImage::new(1);
        file.write(1, 0, b"one");
        let first = file.capture().expect("dirty");
        file.write(2, 0, b"two");
        let second = file.capture().expect("dirty");
        assert!(file.wants(&first) && file.wants(&second));
        file.store(&second);
        assert!(!file.wants(&first));
        assert_eq!(file.platter, b"two");
    }

    #[test]
    fn a_page_with_unsynced_bytes_stays_and_a_clean_one_shows_the_platter_again() {
        let mut file = FileImage::new(1);
        file.write(1, 0, &[7; 5000]);
        assert!(!file.evict(0), "dirty");
        let patch = file.capture().expect("dirty");
        file.store(&patch);
        file.write(2, 5000, &[8; 10]);
        file.platter[3] = 99;
        assert!(file.evict(0) && !file.evict(0), "once");
        assert!(!file.evict(1), "its tail is dirty");
        assert_eq!(file.contents()[3], 99);
        assert!(file.load(0) && !file.has_cold());
        assert_eq!(file.cache[3], 99);
    }

    #[test]
    fn a_cut_and_a_growth_leave_zeros_on_the_platter() {
        let mut file = FileImage::new(1);
        file.write(1, 0, &[7; 3000]);
        let patch = file.capture().expect("dirty");
        file.store(&patch);
        file.resize(2, 100);
        file.resize(3, 2000);
        file.write(4, 2500, &[1; 1]);
        let patch = file.capture().expect("dirty");
        file.store(&patch);
        assert_eq!(file.platter, file.cache);
        assert!(file.platter[100..2500].iter().all(|byte| *byte == 0));
    }
}
