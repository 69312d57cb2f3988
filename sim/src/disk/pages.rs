//! Which pages are in memory, and what it costs to bring one in.
//!
//! Guarantees: a page is read from the platter only when it is needed (or read ahead for a sequential reader), and counted;
//! with a limit on memory the clean pages leave it in the order in which they came, and a dirty one never does.
//! It does not know recency of use: a log is read forwards, where order of arrival is the same.
//!
//! Sources: Linux read-ahead and page reclaim; claims N03 and N06 of the doctrine.

use super::file::PAGE;
use super::stats::{HUNG_READ_NS, READ_AHEAD_PAGES, load_ns};
use super::{Disk, Errno};

impl Disk {
    /// Memory the page cache has, in bytes; without it (as at first) it holds everything. Clean pages leave it in the order in
    /// which they came.
    pub fn limit_cache(&mut self, bytes: Option<u64>) {
        self.cache_pages = bytes.map(|bytes| bytes / PAGE);
        self.cached_pages.clear();
        if self.cache_pages.is_none() {
            return;
        }
        for (index, slot) in self.files.iter().enumerate() {
            if let Some(image) = slot {
                let pages = (0..image.len().div_ceil(PAGE)).filter(|page| !image.is_cold(*page));
                self.cached_pages
                    .extend(pages.map(|page| (index as u32, page, image.identity)));
            }
        }
        self.shrink_cache();
    }

    /// Brings pages into the cache; a sequential reader gets some ahead of what it asked for.
    pub(super) fn fault_in(&mut self, file: u32, first: u64, last: u64, sequential: bool) -> Result<(), Errno> {
        let image = self.files[file as usize].as_mut().expect("an open file");
        let Some(first) = (first..=last).find(|page| image.is_cold(*page)) else {
            return Ok(());
        };
        let ahead = if sequential { READ_AHEAD_PAGES } else { 0 };
        let mut loaded = Vec::new();
        let mut failed = false;
        for page in first..=last + ahead {
            if !image.is_cold(page) {
                continue;
            }
            if !image.load(page) {
                // A page that nobody asked for may fail in silence.
                failed |= page <= last;
                break;
            }
            loaded.push(page);
        }
        let bytes = loaded.len() as u64 * PAGE;
        self.stats.read_from_platter += bytes;
        let hung = if self.conditions.hung { HUNG_READ_NS } else { 0 };
        self.busy += load_ns(bytes, sequential) * self.conditions.slow_factor + hung;
        for page in loaded {
            self.note_cached(file, page);
        }
        if failed { Err(Errno::Io) } else { Ok(()) }
    }

    /// Before a write: the pages that it covers in part are needed from the platter, the others only become warm.
    pub(super) fn fault_in_edges(&mut self, file: u32, offset: u64, end: u64) -> Result<(), Errno> {
        let len = self.image(file).len();
        let (first, last) = (offset / PAGE, (end - 1) / PAGE);
        if !offset.is_multiple_of(PAGE) {
            self.fault_in(file, first, first, false)?;
        }
        if !end.is_multiple_of(PAGE) && end < len {
            self.fault_in(file, last, last, false)?;
        }
        for page in first..=last {
            if self.image(file).is_cold(page) {
                self.image_mut(file).warm(page);
                self.note_cached(file, page);
            }
        }
        Ok(())
    }

    pub(super) fn note_cached(&mut self, file: u32, page: u64) {
        if self.cache_pages.is_some() {
            self.cached_pages.push_back((file, page, self.image(file).identity));
        }
    }

    /// Drops the oldest clean pages while there are too many. Dirty ones go to the back of the queue; after a few of those it
    /// gives up until the next call, as most of the cache is dirty.
    ///
    /// IMPORTANT: only at the end of a call. In its middle it would drop a page that the call is about to write.
    pub(super) fn shrink_cache(&mut self) {
        const DIRTY_TRIES: u32 = 8;
        let Some(limit) = self.cache_pages else { return };
        let mut dirty = 0;
        while self.cached_pages.len() as u64 > limit && dirty < DIRTY_TRIES {
            let Some((file, page, identity)) = self.cached_pages.pop_front() else {
                return;
            };
            if let Some(image) = self.files[file as usize].as_mut()
                && image.identity == identity
                && !image.is_cold(page)
                && page * PAGE < image.len()
            {
                if image.evict(page) {
                    self.stats.pages_evicted += 1;
                } else {
                    self.cached_pages.push_back((file, page, identity));
                    dirty += 1;
                }
            }
        }
    }
}
