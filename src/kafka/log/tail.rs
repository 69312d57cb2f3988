//! Where the newest batches of the active segment stand, so that a read near the end searches nothing.
//!
//! Guarantees: bounded; what it says is so. What it does not know, the index and a scan find.

use crate::types::Offset;
use crate::wire::batch::BatchHeader;
use std::collections::VecDeque;

/// Batches that are remembered.
const LIMIT: usize = 128;

#[derive(Clone, Copy, Debug, Hash)]
struct Entry {
    last: Offset,
    position: u32,
    size: u32,
}

/// The newest batches, ascending and without a gap in their positions.
#[derive(Clone, Debug, Default, Hash)]
pub struct Tail {
    entries: VecDeque<Entry>,
    /// Base offset of the first of them.
    base: Offset,
}

/// Bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub position: u64,
    /// How many.
    pub len: usize,
}

impl Tail {
    /// A batch was added at `position`.
    pub fn push(&mut self, header: &BatchHeader, position: u64) {
        if self.entries.is_empty() {
            self.base = header.base_offset;
        } else if self.entries.len() == LIMIT
            && let Some(gone) = self.entries.pop_front()
        {
            self.base = gone.last + 1;
        }
        let (position, size) = (position as u32, header.size() as u32);
        self.entries.push_back(Entry {
            last: header.last_offset(),
            position,
            size,
        });
    }

    /// Forgets the batches that end at `end` or later.
    pub fn truncate(&mut self, end: Offset) {
        while self.entries.back().is_some_and(|entry| entry.last >= end) {
            self.entries.pop_back();
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Whole batches from the one that holds `from`, that end below `upto`, within `max_bytes` (but one at least if
    /// `min_one`). `None`: not known here.
    pub fn find(&self, from: Offset, upto: Offset, max_bytes: usize, min_one: bool) -> Option<Extent> {
        if self.entries.is_empty() || from < self.base {
            return None;
        }
        let first = self.entries.partition_point(|entry| entry.last < from);
        let position = u64::from(self.entries.get(first)?.position);
        let mut len = 0;
        for entry in self.entries.range(first..) {
            let with = len + entry.size as usize;
            if entry.last >= upto || with > max_bytes && !(min_one && len == 0) {
                break;
            }
            len = with;
        }
        Some(Extent { position, len })
    }
}
