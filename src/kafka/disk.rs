//! The disk as Kafka sees it: the operating system's page cache.
//!
//! Every call is synchronous and fast, as it is to the page cache. Only `sync` is slow, so only `sync` is
//! asynchronous: a machine asks for it with [`crate::Outbox::sync`] and learns of its end through
//! [`crate::Input::SyncDone`]. What was written before the sync was *asked for* is durable when it is done.
//!
//! Paths are relative to the node's root, with `/` between the parts.

use bytes::Bytes;

/// An open file. Valid until the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// What a sync makes durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SyncTarget {
    /// Data and length of a file. Not its name: that belongs to the directory.
    File(FileId),
    /// Creations, renames and removals inside this directory.
    Dir(String),
}

/// Why the operating system refused. A broker whose log directory fails stops, as Kafka does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DiskError {
    /// No such file or directory (ENOENT).
    NotFound,
    /// The medium failed (EIO).
    Io,
    /// No space left (ENOSPC).
    Full,
}

impl std::fmt::Display for DiskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DiskError::NotFound => "no such file or directory",
            DiskError::Io => "input/output error",
            DiskError::Full => "no space left on device",
        })
    }
}

/// The page cache of one node.
pub trait Disk {
    /// Opens a file for reading and writing; creates it if it is missing and `create` is set.
    fn open(&mut self, path: &str, create: bool) -> Result<FileId, DiskError>;
    /// Closes it. Its unsynced data stays in the page cache.
    fn close(&mut self, file: FileId);
    /// Length in bytes.
    fn len(&self, file: FileId) -> u64;
    /// Up to `len` bytes from `offset`; fewer at the end of the file.
    fn read_at(&mut self, file: FileId, offset: u64, len: usize) -> Result<Bytes, DiskError>;
    /// Writes all of `data` at `offset`, or fails; a failed write may have written a prefix.
    fn write_at(&mut self, file: FileId, offset: u64, data: &[u8]) -> Result<(), DiskError>;
    /// Cuts or extends (with zeros) to `len` bytes.
    fn set_len(&mut self, file: FileId, len: u64) -> Result<(), DiskError>;
    /// Moves a file or a directory; replaces a file of that name. Atomic.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError>;
    /// Removes a file, or a directory with all that is in it.
    fn remove(&mut self, path: &str) -> Result<(), DiskError>;
    /// Creates a directory; nothing happens if it exists.
    fn create_dir(&mut self, path: &str) -> Result<(), DiskError>;
    /// Names in a directory, sorted; an empty list if it does not exist.
    fn list(&mut self, dir: &str) -> Result<Vec<String>, DiskError>;
    /// Whether a file or directory of this name exists.
    fn exists(&mut self, path: &str) -> bool;
}
