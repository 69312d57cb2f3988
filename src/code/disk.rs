//! The disk of one node in an exhaustive search: the page cache and the platter apart, nothing else.
//!
//! Guarantees: cheap to clone; two disks are equal if and only if nobody can tell them apart, so file numbers follow
//! from paths and inodes are numbered in the order of the names that lead to them. A process that dies leaves the page
//! cache; a power failure leaves exactly what was synced, names and contents.
//!
//! Deliberately does not know sectors, write-back, errors or time: the world's disk has those. A power failure here is
//! the worst one.

use kafka::{Disk, DiskError, FileId, SyncTag, SyncTarget};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Path = Arc<str>;

/// A file's content, by inode: names come and go, content stays.
#[derive(Clone, Debug, Default, Hash)]
struct File {
    cache: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
}

/// What a sync will make durable: what was there when it was asked for.
#[derive(Clone, Debug, Hash)]
enum Captured {
    File(u32, Arc<Vec<u8>>),
    Dir(Path, BTreeMap<Path, u32>, BTreeSet<Path>),
}

/// The page cache of one node, and the platter below it.
#[derive(Clone, Debug, Default, Hash)]
pub struct PageCache {
    files: Vec<File>,
    names: BTreeMap<Path, u32>,
    durable_names: BTreeMap<Path, u32>,
    dirs: BTreeSet<Path>,
    durable_dirs: BTreeSet<Path>,
    open: BTreeMap<FileId, u32>,
    /// Syncs under way, in the order in which they were asked for.
    syncs: Vec<(SyncTag, Captured)>,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl PageCache {
    /// A sync begins.
    pub fn ask_sync(&mut self, tag: SyncTag, target: &SyncTarget) {
        let captured = match target {
            SyncTarget::File(file) => {
                let inode = self.open[file];
                Captured::File(inode, self.files[inode as usize].cache.clone())
            }
            SyncTarget::Dir(dir) => {
                let inside = |path: &&Path| parent(path) == dir;
                let names = self.names.iter().filter(|(path, _)| inside(path));
                Captured::Dir(
                    Path::from(dir.as_str()),
                    names.map(|(path, inode)| (path.clone(), *inode)).collect(),
                    self.dirs.iter().filter(inside).cloned().collect(),
                )
            }
        };
        self.syncs.push((tag, captured));
    }

    /// Whether a sync is under way.
    pub fn is_syncing(&self) -> bool {
        !self.syncs.is_empty()
    }

    /// The oldest sync of those that `picks` picks ends well.
    pub fn end_sync(&mut self, picks: impl Fn(&SyncTag) -> bool) -> Option<SyncTag> {
        let at = self.syncs.iter().position(|(tag, _)| picks(tag))?;
        let (tag, captured) = self.syncs.remove(at);
        match captured {
            Captured::File(inode, content) => self.files[inode as usize].durable = content,
            Captured::Dir(dir, names, dirs) => {
                let inside = |path: &Path| parent(path) == &*dir;
                self.durable_names.retain(|path, _| !inside(path));
                self.durable_names.extend(names);
                self.durable_dirs.retain(|path| !inside(path));
                self.durable_dirs.extend(dirs);
            }
        }
        Some(tag)
    }

    /// The process is gone; what it wrote is not.
    pub fn crash(&mut self) {
        self.open.clear();
        self.syncs.clear();
    }

    /// What was not synced is gone.
    pub fn lose_power(&mut self) {
        self.crash();
        self.dirs = self.durable_dirs.clone();
        let dirs = &self.dirs;
        let reachable = |path: &Path| parent(path).is_empty() || dirs.contains(parent(path));
        self.durable_names.retain(|path, _| reachable(path));
        self.names = self.durable_names.clone();
        for file in &mut self.files {
            file.cache = file.durable.clone();
        }
    }

    /// Numbers inodes by the names and handles that lead to them; what nothing leads to is gone.
    pub fn renumber(&mut self) {
        let mut order = Vec::with_capacity(self.files.len());
        let mut number = vec![u32::MAX; self.files.len()];
        let mut visit = |inode: &mut u32| {
            let known = &mut number[*inode as usize];
            if *known == u32::MAX {
                *known = order.len() as u32;
                order.push(*inode);
            }
            *inode = *known;
        };
        self.names.values_mut().for_each(&mut visit);
        self.durable_names.values_mut().for_each(&mut visit);
        self.open.values_mut().for_each(&mut visit);
        for (_, captured) in &mut self.syncs {
            match captured {
                Captured::File(inode, _) => visit(inode),
                Captured::Dir(_, names, _) => names.values_mut().for_each(&mut visit),
            }
        }
        let files = order.iter().map(|old| std::mem::take(&mut self.files[*old as usize]));
        self.files = files.collect();
    }

    fn file(&mut self, file: FileId) -> Result<&mut File, DiskError> {
        let inode = self.open.get(&file).ok_or(DiskError::NotFound)?;
        Ok(&mut self.files[*inode as usize])
    }
}

/// The number of a newly opened file follows from its path, and from how often it is open.
fn number(path: &str) -> u32 {
    let hash = path.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash & !0xf
}

impl Disk for PageCache {
    fn open(&mut self, path: &str, create: bool) -> Result<FileId, DiskError> {
        let inode = match self.names.get(path) {
            Some(inode) => *inode,
            None if create => {
                let inode = self.files.len() as u32;
                self.files.push(File::default());
                self.names.insert(Path::from(path), inode);
                inode
            }
            None => return Err(DiskError::NotFound),
        };
        let mut file = FileId(number(path));
        while self.open.contains_key(&file) {
            file.0 = file.0.wrapping_add(1);
        }
        self.open.insert(file, inode);
        Ok(file)
    }

    fn close(&mut self, file: FileId) {
        self.open.remove(&file);
    }

    fn len(&self, file: FileId) -> u64 {
        let inode = self.open.get(&file);
        inode.map_or(0, |inode| self.files[*inode as usize].cache.len() as u64)
    }

    fn read_at(&mut self, file: FileId, offset: u64, len: usize) -> Result<bytes::Bytes, DiskError> {
        let content = &self.file(file)?.cache;
        let from = content.len().min(offset as usize);
        let to = content.len().min(from.saturating_add(len));
        Ok(bytes::Bytes::copy_from_slice(&content[from..to]))
    }

    fn write_at(&mut self, file: FileId, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        let content = Arc::make_mut(&mut self.file(file)?.cache);
        let (from, to) = (offset as usize, offset as usize + data.len());
        if content.len() < to {
            content.resize(to, 0);
        }
        content[from..to].copy_from_slice(data);
        Ok(())
    }

    fn set_len(&mut self, file: FileId, len: u64) -> Result<(), DiskError> {
        Arc::make_mut(&mut self.file(file)?.cache).resize(len as usize, 0);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let inode = self.names.remove(from).ok_or(DiskError::NotFound)?;
        self.names.insert(Path::from(to), inode);
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Result<(), DiskError> {
        if self.names.remove(path).is_some() {
            return Ok(());
        }
        if !self.dirs.remove(path) {
            return Err(DiskError::NotFound);
        }
        let below = format!("{path}/");
        self.names.retain(|name, _| !name.starts_with(&below));
        self.dirs.retain(|name| !name.starts_with(&below));
        Ok(())
    }

    fn create_dir(&mut self, path: &str) -> Result<(), DiskError> {
        self.dirs.insert(Path::from(path));
        Ok(())
    }

    fn list(&mut self, dir: &str) -> Result<Vec<String>, DiskError> {
        let prefix = if dir.is_empty() {
            String::new()
        } else {
            format!("{dir}/")
        };
        let inside = |path: &&Path| parent(path) == dir && !path.is_empty();
        let names = self.names.keys().chain(&self.dirs).filter(inside);
        let mut names: Vec<String> = names.map(|path| path[prefix.len()..].to_owned()).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn exists(&mut self, path: &str) -> bool {
        self.names.contains_key(path) || self.dirs.contains(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::digest::digest;
    use kafka::SyncOwner;

    fn tag(seq: u64) -> SyncTag {
        SyncTag {
            owner: SyncOwner::Quorum,
            seq,
        }
    }

    fn content(disk: &mut PageCache, path: &str) -> Option<Vec<u8>> {
        let file = disk.open(path, false).ok()?;
        let bytes = disk.read_at(file, 0, 100).expect("it is open").to_vec();
        disk.close(file);
        Some(bytes)
    }

    #[test]
    fn a_process_leaves_the_page_cache_and_a_power_failure_what_was_synced_when_it_was_asked_for() {
        let mut disk = PageCache::default();
        disk.create_dir("d").expect("it can be made");
        let file = disk.open("d/f", true).expect("it can be made");
        disk.write_at(file, 0, b"one").expect("it is open");
        disk.ask_sync(tag(0), &SyncTarget::File(file));
        disk.ask_sync(tag(1), &SyncTarget::Dir("d".to_owned()));
        disk.ask_sync(tag(2), &SyncTarget::Dir(String::new()));
        disk.write_at(file, 0, b"two").expect("it is open");
        while disk.end_sync(|_| true).is_some() {}
        let mut killed = disk.clone();
        killed.crash();
        assert_eq!(content(&mut killed, "d/f").as_deref(), Some(&b"two"[..]));
        disk.lose_power();
        assert_eq!(content(&mut disk, "d/f").as_deref(), Some(&b"one"[..]));
    }

    #[test]
    fn a_name_is_lost_unless_its_directory_and_that_of_it_were_synced() {
        for dirs in [&[][..], &["d"], &[""]] {
            let mut disk = PageCache::default();
            disk.create_dir("d").expect("it can be made");
            let file = disk.open("d/f", true).expect("it can be made");
            disk.ask_sync(tag(0), &SyncTarget::File(file));
            for dir in dirs {
                disk.ask_sync(tag(1), &SyncTarget::Dir((*dir).to_owned()));
            }
            while disk.end_sync(|_| true).is_some() {}
            disk.lose_power();
            assert_eq!(content(&mut disk, "d/f"), None, "{dirs:?}");
        }
    }

    #[test]
    fn disks_that_nobody_can_tell_apart_are_equal() {
        let write = |names: &[&str]| {
            let mut disk = PageCache::default();
            for name in names {
                let file = disk.open(name, true).expect("it can be made");
                disk.write_at(file, 0, name.as_bytes()).expect("it is open");
            }
            disk.open("gone", true).expect("it can be made");
            disk.remove("gone").expect("it is there");
            disk.crash();
            disk.renumber();
            digest(&disk)
        };
        assert_eq!(write(&["a", "b"]), write(&["b", "a"]));
        assert_ne!(write(&["a", "b"]), write(&["a", "c"]));
    }
}
