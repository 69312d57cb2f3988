//! Each fault shows its effect, and only that.
//!
//! Every test that concerns chance runs over many seeds and says both what must be seen and what never may.

mod cache;
mod faults;
mod power;

use super::{Disk, Errno, File};
use crate::random::Streams;

/// An empty disk of a seed.
fn disk(seed: u64) -> Disk {
    Disk::new(Streams::new(seed).stream("disk"))
}

fn sync(disk: &mut Disk, file: File) -> Result<(), Errno> {
    let (pending, takes) = disk.begin_sync_file(file);
    assert!(takes.is_some_and(|ns| ns > 0), "a healthy disk ends its syncs");
    disk.finish_sync(pending)
}

fn sync_dir(disk: &mut Disk, path: &str) -> Result<(), Errno> {
    let (pending, _) = disk.begin_sync_dir(path);
    disk.finish_sync(pending)
}

/// A durable file of these bytes in the directory at the top, open.
fn durable_file(disk: &mut Disk, path: &str, bytes: &[u8]) -> File {
    let file = disk.open(path, true).expect("healthy");
    disk.write_at(file, 0, bytes).expect("healthy");
    sync(disk, file).expect("healthy");
    sync_dir(disk, "").expect("healthy");
    assert_eq!(disk.durable(path).as_deref(), Some(bytes));
    file
}

/// What reads of the whole file return.
fn read(disk: &mut Disk, file: File) -> Result<Vec<u8>, Errno> {
    disk.read_at(file, 0, disk.len(file) as usize)
        .map(|bytes| bytes.to_vec())
}

/// Lets so many seconds pass, with the flusher awake every five.
fn pass(disk: &mut Disk, from_s: u64, to_s: u64) {
    for second in (from_s..=to_s).step_by(5) {
        disk.write_back(second * 1_000_000_000);
    }
}
