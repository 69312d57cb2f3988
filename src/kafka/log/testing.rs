//! `MemDisk`: a disk for unit tests, with the page cache and the platter apart.
//!
//! Guarantees: reads see the page cache; [`MemDisk::crash_power`] keeps only what was synced, names included;
//! [`MemDisk::crash_torn`] keeps any sectors of the rest;
//! [`MemDisk::crash_process`] keeps the page cache. A sync covers what was written before it was asked for.
//!
//! Deliberately unknown: time, errors of the medium. The simulated world's disk has those.

use crate::disk::{Disk, DiskError, FileId, SyncTarget};
use crate::machine::{Outbox, Output, SyncTag};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// A file's content, by inode: names come and go, content stays.
#[derive(Clone, Debug, Default)]
struct Inode {
    cache: Vec<u8>,
    durable: Vec<u8>,
}

/// A disk in memory.
#[derive(Clone, Debug, Default)]
pub struct MemDisk {
    inodes: BTreeMap<u32, Inode>,
    next_inode: u32,
    /// Path to inode, as the running system sees it.
    names: BTreeMap<String, u32>,
    /// The same, as a power failure would leave it.
    durable_names: BTreeMap<String, u32>,
    /// Changes of names since the last sync of their directory, in order: the inode that a name has got, or none.
    changed_names: Vec<Change>,
    next_change: u64,
    dirs: BTreeSet<String>,
    durable_dirs: BTreeSet<String>,
    open: BTreeMap<u32, u32>,
    next_file: u32,
    /// Syncs asked for and not yet done: tag, target, content at the time of asking.
    pending: Vec<(SyncTag, Snapshot)>,
    /// Counts down with each changing call; at zero every call fails with this error from then on.
    fail_in: Option<(u64, DiskError)>,
    /// Changing calls so far.
    pub changes: u64,
}

/// One atomic change of names.
#[derive(Clone, Debug)]
struct Change {
    seq: u64,
    names: Vec<(String, Option<u32>)>,
}

/// What a sync will make durable.
#[derive(Clone, Debug)]
enum Snapshot {
    File(u32, Vec<u8>),
    /// Names and directories, and how many changes of names they include.
    Dir(String, BTreeMap<String, u32>, BTreeSet<String>, u64),
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl MemDisk {
    /// An empty one.
    pub fn new() -> MemDisk {
        MemDisk::default()
    }

    /// Takes the syncs out of `out` and leaves them pending.
    pub fn take_syncs(&mut self, out: &mut Outbox) {
        let outputs = std::mem::take(&mut out.outputs);
        for output in outputs {
            match output {
                Output::Sync { tag, target } => {
                    let snapshot = self.snapshot(&target);
                    self.pending.push((tag, snapshot));
                }
                other => out.outputs.push(other),
            }
        }
    }

    /// Completes the oldest pending sync: its content is durable. The tag is for `on_sync_done`.
    pub fn complete_one(&mut self) -> Option<SyncTag> {
        if self.pending.is_empty() {
            return None;
        }
        let (tag, snapshot) = self.pending.remove(0);
        match snapshot {
            Snapshot::File(inode, content) => {
                if let Some(inode) = self.inodes.get_mut(&inode) {
                    inode.durable = content;
                }
            }
            Snapshot::Dir(dir, names, dirs, upto) => {
                let inside = |path: &String| parent(path) == dir;
                self.durable_names.retain(|path, _| !inside(path));
                self.durable_names.extend(names);
                self.durable_dirs.retain(|path| !inside(path));
                self.durable_dirs.extend(dirs);
                self.changed_names
                    .retain(|change| change.seq >= upto || !change.names.iter().any(|(path, _)| inside(path)));
            }
        }
        Some(tag)
    }

    /// Completes all pending syncs; the tags are for `on_sync_done`.
    pub fn complete_all(&mut self) -> Vec<SyncTag> {
        std::iter::from_fn(|| self.complete_one()).collect()
    }

    /// How many syncs are under way.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    fn snapshot(&self, target: &SyncTarget) -> Snapshot {
        match target {
            SyncTarget::File(file) => {
                let inode = self.open[&file.0];
                Snapshot::File(inode, self.inodes[&inode].cache.clone())
            }
            SyncTarget::Dir(dir) => {
                let names = self.names.iter().filter(|(path, _)| parent(path) == dir);
                let dirs = self.dirs.iter().filter(|path| parent(path) == dir);
                Snapshot::Dir(
                    dir.clone(),
                    names.map(|(p, i)| (p.clone(), *i)).collect(),
                    dirs.cloned().collect(),
                    self.next_change,
                )
            }
        }
    }

    /// Makes everything durable, as a clean stop of the machine does.
    pub fn sync_everything(&mut self) {
        for inode in self.inodes.values_mut() {
            inode.durable = inode.cache.clone();
        }
        self.durable_names = self.names.clone();
        self.durable_dirs = self.dirs.clone();
        self.changed_names.clear();
        self.pending.clear();
    }

    /// The power fails: only synced names with synced content are left. Directories always stay.
    pub fn crash_power(&mut self) {
        self.pending.clear();
        self.open.clear();
        self.names = self.durable_names.clone();
        self.changed_names.clear();
        for inode in self.inodes.values_mut() {
            inode.cache = inode.durable.clone();
        }
        self.dirs.extend(self.durable_dirs.iter().cloned());
        self.fail_in = None;
    }

    /// The power fails in the worst way: of each file any sectors (of 64 bytes, smaller than real ones) of what was
    /// not synced survive, and either length; of the directories' changes a prefix, as journals keep them.
    pub fn crash_torn(&mut self, chance: &mut dyn FnMut() -> u64) {
        let survive = chance() as usize % (self.changed_names.len() + 1);
        let mut names = self.durable_names.clone();
        for (path, inode) in self
            .changed_names
            .drain(..)
            .take(survive)
            .flat_map(|change| change.names)
        {
            match inode {
                Some(inode) => names.insert(path, inode),
                None => names.remove(&path),
            };
        }
        self.names = names;
        self.durable_names = self.names.clone();
        for inode in self.inodes.values_mut() {
            let len = if chance().is_multiple_of(2) {
                inode.cache.len()
            } else {
                inode.durable.len()
            };
            let mut content = inode.durable.clone();
            content.resize(len, 0);
            for (at, sector) in content.chunks_mut(64).enumerate() {
                let cached = inode.cache.get(at * 64..).unwrap_or_default();
                if !cached.is_empty() && chance().is_multiple_of(2) {
                    let len = sector.len().min(cached.len());
                    sector[..len].copy_from_slice(&cached[..len]);
                }
            }
            inode.cache = content.clone();
            inode.durable = content;
        }
        self.pending.clear();
        self.open.clear();
        self.fail_in = None;
    }

    /// The process dies: the page cache stays.
    pub fn crash_process(&mut self) {
        self.pending.clear();
        self.open.clear();
        self.fail_in = None;
    }

    /// After `changes` more changing calls every call fails.
    pub fn fail_after(&mut self, changes: u64, error: DiskError) {
        self.fail_in = Some((changes, error));
    }

    /// A file's content in the page cache.
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        self.names.get(path).map(|inode| self.inodes[inode].cache.clone())
    }

    /// Replaces or creates a file in the page cache.
    pub fn put(&mut self, path: &str, content: &[u8]) {
        let inode = self.create(path);
        self.inodes.get_mut(&inode).expect("just made").cache = content.to_vec();
    }

    /// All paths of files, sorted.
    pub fn paths(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    /// Files that are open: a leak if the machine is closed.
    pub fn open_files(&self) -> usize {
        self.open.len()
    }

    fn create(&mut self, path: &str) -> u32 {
        if let Some(inode) = self.names.get(path) {
            return *inode;
        }
        self.next_inode += 1;
        self.inodes.insert(self.next_inode, Inode::default());
        self.names.insert(path.to_string(), self.next_inode);
        self.changed(vec![(path.to_string(), Some(self.next_inode))]);
        self.next_inode
    }

    fn changed(&mut self, names: Vec<(String, Option<u32>)>) {
        self.changed_names.push(Change {
            seq: self.next_change,
            names,
        });
        self.next_change += 1;
    }

    fn change(&mut self) -> Result<(), DiskError> {
        if let Some((left, error)) = &mut self.fail_in {
            if *left == 0 {
                return Err(error.clone());
            }
            *left -= 1;
        }
        self.changes += 1;
        Ok(())
    }

    fn inode(&mut self, file: FileId) -> &mut Inode {
        let inode = self.open.get(&file.0).expect("the file is open");
        self.inodes.get_mut(inode).expect("an open file has content")
    }
}

impl Disk for MemDisk {
    fn open(&mut self, path: &str, create: bool) -> Result<FileId, DiskError> {
        if !self.names.contains_key(path) {
            if !create || self.dirs.contains(path) {
                return Err(DiskError::NotFound);
            }
            let dir = parent(path);
            if !dir.is_empty() && !self.dirs.contains(dir) {
                return Err(DiskError::NotFound);
            }
            self.change()?;
        }
        let inode = self.create(path);
        self.next_file += 1;
        self.open.insert(self.next_file, inode);
        Ok(FileId(self.next_file))
    }
    fn close(&mut self, file: FileId) {
        self.open.remove(&file.0).expect("a file is closed once");
    }
    fn len(&self, file: FileId) -> u64 {
        self.inodes[&self.open[&file.0]].cache.len() as u64
    }
    fn read_at(&mut self, file: FileId, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let cache = &self.inode(file).cache;
        let start = (offset as usize).min(cache.len());
        let end = start.saturating_add(len).min(cache.len());
        Ok(Bytes::copy_from_slice(&cache[start..end]))
    }
    fn write_at(&mut self, file: FileId, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.change()?;
        let cache = &mut self.inode(file).cache;
        let (start, end) = (offset as usize, offset as usize + data.len());
        if cache.len() < end {
            cache.resize(end, 0);
        }
        cache[start..end].copy_from_slice(data);
        Ok(())
    }
    fn set_len(&mut self, file: FileId, len: u64) -> Result<(), DiskError> {
        self.change()?;
        self.inode(file).cache.resize(len as usize, 0);
        Ok(())
    }
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.change()?;
        if let Some(inode) = self.names.remove(from) {
            self.names.insert(to.to_string(), inode);
            self.changed(vec![(from.to_string(), None), (to.to_string(), Some(inode))]);
            return Ok(());
        }
        if !self.dirs.remove(from) {
            return Err(DiskError::NotFound);
        }
        self.dirs.insert(to.to_string());
        let prefix = format!("{from}/");
        let moved: Vec<String> = self
            .names
            .keys()
            .filter(|path| path.starts_with(&prefix))
            .cloned()
            .collect();
        let mut changes = Vec::new();
        for path in moved {
            let inode = self.names.remove(&path).expect("just listed");
            let new = format!("{to}/{}", &path[prefix.len()..]);
            self.names.insert(new.clone(), inode);
            changes.extend([(path, None), (new, Some(inode))]);
        }
        self.changed(changes);
        Ok(())
    }
    fn remove(&mut self, path: &str) -> Result<(), DiskError> {
        self.change()?;
        if self.names.remove(path).is_some() {
            self.changed(vec![(path.to_string(), None)]);
            return Ok(());
        }
        let prefix = format!("{path}/");
        let gone: Vec<String> = self
            .names
            .keys()
            .filter(|name| name.starts_with(&prefix))
            .cloned()
            .collect();
        for name in gone {
            self.names.remove(&name);
            self.changed(vec![(name, None)]);
        }
        self.dirs.retain(|name| !name.starts_with(&prefix));
        if self.dirs.remove(path) {
            Ok(())
        } else {
            Err(DiskError::NotFound)
        }
    }
    fn create_dir(&mut self, path: &str) -> Result<(), DiskError> {
        self.change()?;
        self.dirs.insert(path.to_string());
        Ok(())
    }
    fn list(&mut self, dir: &str) -> Result<Vec<String>, DiskError> {
        let all = self.names.keys().chain(self.dirs.iter());
        let inside = all.filter(|path| parent(path) == dir && path.as_str() != dir);
        let mut names: Vec<String> = inside
            .map(|path| path.rsplit('/').next().unwrap_or(path).to_string())
            .collect();
        names.sort();
        Ok(names)
    }
    fn exists(&mut self, path: &str) -> bool {
        self.names.contains_key(path) || self.dirs.contains(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::SyncOwner;

    #[test]
    fn power_failure_keeps_what_was_synced_before_it_was_asked() {
        let mut disk = MemDisk::new();
        disk.create_dir("d").unwrap();
        let file = disk.open("d/f", true).unwrap();
        disk.write_at(file, 0, b"one").unwrap();
        let mut out = Outbox::default();
        out.sync(SyncOwner::Quorum, 1, SyncTarget::File(file));
        out.sync(SyncOwner::Quorum, 2, SyncTarget::Dir("d".into()));
        disk.take_syncs(&mut out);
        disk.write_at(file, 3, b"two").unwrap();
        let mut half = disk.clone();
        half.complete_one().unwrap();
        half.crash_power();
        assert_eq!(half.content("d/f"), None, "the name needs the directory");
        assert_eq!(disk.complete_all().len(), 2);
        assert_eq!(disk.content("d/f").unwrap(), b"onetwo");
        disk.crash_power();
        assert_eq!(disk.content("d/f").unwrap(), b"one");
    }

    #[test]
    fn rename_without_directory_sync_is_lost_with_the_power() {
        let mut disk = MemDisk::new();
        disk.put("a", b"1");
        disk.sync_everything();
        disk.rename("a", "b").unwrap();
        assert_eq!(disk.list("").unwrap(), vec!["b".to_string()]);
        disk.crash_power();
        assert_eq!(disk.list("").unwrap(), vec!["a".to_string()]);
    }
}
