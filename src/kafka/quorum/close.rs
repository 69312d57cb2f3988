//! What a clean stop needs, and who wants to see the whole log.
//!
//! Guarantees: once [`Quorum::is_flushed`], a power failure finds log, vote and snapshots as they are. Deliberately does
//! not know what a clean stop is (the broker does).

use super::Quorum;
use crate::disk::Disk;
use crate::log::LogError;
use crate::machine::Outbox;
use bytes::Bytes;

impl Quorum {
    /// Asks for the whole log to be made durable. A voter's always is, soon; an observer's only so.
    pub fn flush(&mut self, out: &mut Outbox) {
        self.flush_asked = self.log.log_end_offset();
        self.log.flush_to_stop(out);
    }

    /// Whether log, vote and snapshots are durable.
    pub fn is_flushed(&self) -> bool {
        self.log.is_flushed() && self.store.is_durable() && !self.snapshots.is_saving()
    }

    /// All batches of the log, uncommitted ones included.
    pub fn read_log(&mut self, disk: &mut dyn Disk) -> Result<Bytes, LogError> {
        self.log.read_all(disk)
    }
}
