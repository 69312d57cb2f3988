//! What a disk did, and what its calls cost.
//!
//! The prices are those of a plain NVMe drive behind a warm page cache: a cached byte is nearly free, a missed page costs a
//! trip to the device, a sync a flush of its cache. All in nanoseconds of the node's time. It does not know what is read.
//!
//! Sources: claims N02 and N03 of the doctrine ask for sequential shares and for bytes read from the platter.

/// Counters since the disk was new. Bytes unless the name says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls of the program.
    pub calls: u64,
    /// Bytes that reads returned.
    pub read: u64,
    /// Bytes that came from the platter to serve them, read-ahead included: zero while the page cache serves all.
    pub read_from_platter: u64,
    /// Of the bytes read: those that began where the same handle's last read ended.
    pub read_sequentially: u64,
    /// Bytes written into the page cache.
    pub written: u64,
    /// Of those: appended, or begun where the same handle's last write ended.
    pub written_sequentially: u64,
    /// Bytes that syncs brought to the platter, whole sectors.
    pub synced: u64,
    /// Bytes that background write-back brought to the platter.
    pub written_back: u64,
    /// Syncs of files and directories that succeeded.
    pub syncs: u64,
    /// Syncs that reported an error.
    pub failed_syncs: u64,
    /// Pages dropped because the cache was full.
    pub pages_evicted: u64,
}

/// A call that the page cache serves.
const CALL_NS: u64 = 400;
/// Bytes copied from or into the page cache in a nanosecond.
const COPIED_BYTES_PER_NS: u64 = 8;
/// A change of names.
pub(super) const NAME_NS: u64 = 5_000;
/// A trip to the device that does not continue the last one.
const SEEK_NS: u64 = 80_000;
/// A trip that does.
const FOLLOW_NS: u64 = 5_000;
/// What a read that needs a hung device costs: a program would wait for the end of the fault.
pub(super) const HUNG_READ_NS: u64 = 1_000_000_000;
/// A flush of the device at its best, and the mean of what comes on top.
const FLUSH_NS: u64 = 100_000;
const FLUSH_MORE_NS: u64 = 400_000;
/// One flush in so many stutters, by the factor.
const STUTTER_ONE_IN: u64 = 256;
const STUTTER_FACTOR: u64 = 20;
/// Pages a sequential reader gets ahead of what it asked for: Linux's 128 KiB.
pub(super) const READ_AHEAD_PAGES: u64 = 32;

/// Price of copying.
pub(super) fn copy_ns(bytes: u64) -> u64 {
    CALL_NS + bytes / COPIED_BYTES_PER_NS
}

/// Price of loading pages from the platter.
pub(super) fn load_ns(bytes: u64, sequential: bool) -> u64 {
    (if sequential { FOLLOW_NS } else { SEEK_NS }) + bytes / 2
}

/// Price of a sync that writes so much.
pub(super) fn sync_ns(bytes: u64, stream: &mut crate::random::Stream) -> u64 {
    let flush = FLUSH_NS + stream.exponential(FLUSH_MORE_NS);
    let stutter = if stream.below(STUTTER_ONE_IN) == 0 {
        STUTTER_FACTOR
    } else {
        1
    };
    flush * stutter + bytes
}
