//! A disk in memory with a page cache, a platter, and a power switch.
//!
//! Guarantees: a sync makes durable exactly what was there when it was asked for. Power loss keeps, file by file and
//! name by name, either what was durable or what was cached: any mixture.

use crate::disk::{Disk, DiskError, FileId, SyncTarget};
use crate::machine::Entropy;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// Number of the newest sync that reached the platter.
    synced: u64,
}

/// What a sync will make durable.
#[derive(Clone, Debug)]
pub enum Captured {
    File {
        inode: u64,
        content: Vec<u8>,
        number: u64,
    },
    Dir {
        dir: String,
        names: BTreeMap<String, u64>,
        number: u64,
    },
    Nothing,
}

#[derive(Clone, Debug, Default)]
pub struct TestDisk {
    inodes: BTreeMap<u64, Inode>,
    cached: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    dirs: BTreeSet<String>,
    open: BTreeMap<u32, u64>,
    dir_synced: BTreeMap<String, u64>,
    next_inode: u64,
    next_file: u32,
    next_sync: u64,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl TestDisk {
    pub fn capture(&mut self, target: &SyncTarget) -> Captured {
        self.next_sync += 1;
        let number = self.next_sync;
        match target {
            SyncTarget::File(file) => match self.open.get(&file.0) {
                Some(&inode) => Captured::File {
                    inode,
                    content: self.inodes[&inode].cached.clone(),
                    number,
                },
                None => Captured::Nothing,
            },
            SyncTarget::Dir(dir) => {
                let names = self.cached.iter().filter(|(path, _)| parent(path) == dir);
                Captured::Dir {
                    dir: dir.clone(),
                    names: names.map(|(p, i)| (p.clone(), *i)).collect(),
                    number,
                }
            }
        }
    }

    pub fn make_durable(&mut self, captured: Captured) {
        match captured {
            Captured::File { inode, content, number } => {
                let inode = self.inodes.get_mut(&inode).expect("inodes stay");
                if number > inode.synced {
                    inode.synced = number;
                    inode.durable = content;
                }
            }
            Captured::Dir { dir, names, number } => {
                let synced = self.dir_synced.entry(dir.clone()).or_default();
                if number > *synced {
                    *synced = number;
                    self.durable.retain(|path, _| parent(path) != dir);
                    self.durable.extend(names);
                }
            }
            Captured::Nothing => {}
        }
    }

    /// The process is gone, the page cache stays.
    pub fn crash(&mut self) {
        self.open.clear();
    }

    pub fn lose_power(&mut self, chance: &mut Entropy) {
        self.open.clear();
        for inode in self.inodes.values_mut() {
            if chance.below(2) == 0 {
                inode.cached = inode.durable.clone();
            } else if inode.cached.len() > inode.durable.len() && inode.cached.starts_with(&inode.durable) {
                // A prefix of what was appended since.
                let more = (inode.cached.len() - inode.durable.len()) as u64;
                inode
                    .cached
                    .truncate(inode.durable.len() + chance.below(more + 1) as usize);
            }
            inode.durable = inode.cached.clone();
        }
        let all: BTreeSet<String> = self.cached.keys().chain(self.durable.keys()).cloned().collect();
        for path in all {
            let pick = if chance.below(2) == 0 {
                self.durable.get(&path)
            } else {
                self.cached.get(&path)
            }
            .copied();
            match pick {
                Some(inode) => self.cached.insert(path, inode),
                None => self.cached.remove(&path),
            };
        }
        self.durable = self.cached.clone();
    }

    fn inode(&self, file: FileId) -> u64 {
        *self.open.get(&file.0).expect("an open file")
    }
}

impl Disk for TestDisk {
    fn open(&mut self, path: &str, create: bool) -> Result<FileId, DiskError> {
        let inode = match self.cached.get(path) {
            Some(inode) => *inode,
            None if !create => return Err(DiskError::NotFound),
            None => {
                self.next_inode += 1;
                self.inodes.insert(self.next_inode, Inode::default());
                self.cached.insert(path.to_owned(), self.next_inode);
                self.next_inode
            }
        };
        self.next_file += 1;
        self.open.insert(self.next_file, inode);
        Ok(FileId(self.next_file))
    }
    fn close(&mut self, file: FileId) {
        assert!(self.open.remove(&file.0).is_some(), "closed twice");
    }
    fn len(&self, file: FileId) -> u64 {
        self.inodes[&self.inode(file)].cached.len() as u64
    }
    fn read_at(&mut self, file: FileId, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let content = &self.inodes[&self.inode(file)].cached;
        let start = (offset as usize).min(content.len());
        let end = start.saturating_add(len).min(content.len());
        Ok(Bytes::copy_from_slice(&content[start..end]))
    }
    fn write_at(&mut self, file: FileId, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        let inode = self.inode(file);
        let content = &mut self.inodes.get_mut(&inode).expect("open").cached;
        let end = offset as usize + data.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[offset as usize..end].copy_from_slice(data);
        Ok(())
    }
    fn set_len(&mut self, file: FileId, len: u64) -> Result<(), DiskError> {
        let inode = self.inode(file);
        self.inodes
            .get_mut(&inode)
            .expect("open")
            .cached
            .resize(len as usize, 0);
        Ok(())
    }
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let inode = self.cached.remove(from).ok_or(DiskError::NotFound)?;
        self.cached.insert(to.to_owned(), inode);
        Ok(())
    }
    fn remove(&mut self, path: &str) -> Result<(), DiskError> {
        let prefix = format!("{path}/");
        let before = self.cached.len();
        self.cached.retain(|name, _| name != path && !name.starts_with(&prefix));
        if before == self.cached.len() && !self.dirs.remove(path) {
            return Err(DiskError::NotFound);
        }
        Ok(())
    }
    fn create_dir(&mut self, path: &str) -> Result<(), DiskError> {
        self.dirs.insert(path.to_owned());
        Ok(())
    }
    fn list(&mut self, dir: &str) -> Result<Vec<String>, DiskError> {
        let of = |path: &String| (parent(path) == dir).then(|| path.rsplit('/').next().unwrap_or(path).to_owned());
        let names: BTreeSet<String> = self.cached.keys().chain(self.dirs.iter()).filter_map(of).collect();
        Ok(names.into_iter().collect())
    }
    fn exists(&mut self, path: &str) -> bool {
        self.cached.contains_key(path) || self.dirs.contains(path)
    }
}
