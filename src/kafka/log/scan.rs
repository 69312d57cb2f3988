//! Walks the batch headers of a segment file, a window at a time.
//!
//! Guarantees: ends; says where the bytes stop being batches. Checksums are not looked at, records are not read.

use crate::disk::{Disk, DiskError, FileId};
use crate::types::Offset;
use crate::wire::batch::{BatchHeader, HEADER_LEN};
use bytes::Bytes;

/// Bytes read at once: an index interval, about.
const WINDOW: u64 = 4_096;

/// What stands at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A whole batch, by its header.
    Batch(BatchHeader, u64),
    /// The end of the file, exactly.
    End,
    /// Something else from this position on: a torn batch, zeros, garbage.
    Garbage(u64),
}

/// The walk.
#[derive(Clone, Debug)]
pub struct HeaderScan {
    file: FileId,
    at: u64,
    end: u64,
    window: Bytes,
    window_at: u64,
}

impl HeaderScan {
    /// From the batch at `from` to the end of the file at `end`.
    pub fn new(file: FileId, from: u64, end: u64) -> HeaderScan {
        HeaderScan {
            file,
            at: from,
            end,
            window: Bytes::new(),
            window_at: from,
        }
    }

    /// The next batch.
    pub fn next(&mut self, disk: &mut dyn Disk) -> Result<Found, DiskError> {
        let left = self.end.saturating_sub(self.at);
        if left == 0 {
            return Ok(Found::End);
        }
        if left < HEADER_LEN as u64 {
            return Ok(Found::Garbage(self.at));
        }
        let mut inside = (self.at - self.window_at) as usize;
        if self.window.len() < inside + HEADER_LEN {
            self.window = disk.read_at(self.file, self.at, WINDOW.min(left) as usize)?;
            self.window_at = self.at;
            inside = 0;
        }
        let header = self
            .window
            .get(inside..)
            .and_then(|bytes| BatchHeader::parse(bytes).ok());
        match header {
            Some(header) if header.size() as u64 <= left => {
                let position = self.at;
                self.at += header.size() as u64;
                Ok(Found::Batch(header, position))
            }
            _ => Ok(Found::Garbage(self.at)),
        }
    }

    /// Goes on to the first batch that ends at `offset` or later.
    pub fn find(&mut self, offset: Offset, disk: &mut dyn Disk) -> Result<Found, DiskError> {
        loop {
            match self.next(disk)? {
                Found::Batch(header, _) if header.last_offset() < offset => {}
                found => return Ok(found),
            }
        }
    }
}
