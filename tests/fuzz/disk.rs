//! A disk in memory that keeps everything: files by path, no faults.

use bytes::Bytes;
use kafka::{Disk, DiskError, FileId};
use std::collections::{BTreeMap, BTreeSet};

/// Files and directories.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    files: BTreeMap<String, Vec<u8>>,
    dirs: BTreeSet<String>,
    open: BTreeMap<u32, String>,
    next: u32,
}

impl MemoryDisk {
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    pub fn content(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    pub fn put(&mut self, path: &str, content: &[u8]) {
        self.files.insert(path.to_owned(), content.to_vec());
    }

    pub fn take_away(&mut self, path: &str) {
        self.files.remove(path);
    }

    /// Nobody holds a file open: the process is gone.
    pub fn close_all(&mut self) {
        self.open.clear();
    }

    fn of(&self, file: FileId) -> Option<&Vec<u8>> {
        self.files.get(self.open.get(&file.0)?)
    }

    fn of_mut(&mut self, file: FileId) -> Result<&mut Vec<u8>, DiskError> {
        let path = self.open.get(&file.0).ok_or(DiskError::Io)?;
        self.files.get_mut(path).ok_or(DiskError::Io)
    }
}

impl Disk for MemoryDisk {
    fn open(&mut self, path: &str, create: bool) -> Result<FileId, DiskError> {
        if !self.files.contains_key(path) {
            if !create {
                return Err(DiskError::NotFound);
            }
            self.files.insert(path.to_owned(), Vec::new());
        }
        self.next += 1;
        self.open.insert(self.next, path.to_owned());
        Ok(FileId(self.next))
    }

    fn close(&mut self, file: FileId) {
        self.open.remove(&file.0);
    }

    fn len(&self, file: FileId) -> u64 {
        self.of(file).map_or(0, |content| content.len() as u64)
    }

    fn read_at(&mut self, file: FileId, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let content = self.of(file).ok_or(DiskError::Io)?;
        let from = content.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let to = content.len().min(from.saturating_add(len));
        Ok(Bytes::copy_from_slice(&content[from..to]))
    }

    fn write_at(&mut self, file: FileId, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        // A position out of all measure is a disk that is full.
        let end = usize::try_from(offset)
            .ok()
            .and_then(|from| from.checked_add(data.len()));
        let end = end.filter(|end| *end < 1 << 28).ok_or(DiskError::Full)?;
        let content = self.of_mut(file)?;
        if content.len() < end {
            content.resize(end, 0);
        }
        content[end - data.len()..end].copy_from_slice(data);
        Ok(())
    }

    fn set_len(&mut self, file: FileId, len: u64) -> Result<(), DiskError> {
        let len = usize::try_from(len).ok().filter(|len| *len < 1 << 28);
        let len = len.ok_or(DiskError::Full)?;
        self.of_mut(file)?.resize(len, 0);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let below = |path: &str| {
            path.strip_prefix(from)
                .filter(|rest| rest.is_empty() || rest.starts_with('/'))
                .map(|rest| format!("{to}{rest}"))
        };
        let moved: Vec<(String, String)> = self
            .files
            .keys()
            .filter_map(|path| Some((path.clone(), below(path)?)))
            .collect();
        let dirs: Vec<(String, String)> = self
            .dirs
            .iter()
            .filter_map(|path| Some((path.clone(), below(path)?)))
            .collect();
        if moved.is_empty() && dirs.is_empty() {
            return Err(DiskError::NotFound);
        }
        for (old, new) in moved {
            let content = self.files.remove(&old).expect("just found");
            self.files.insert(new.clone(), content);
            self.open
                .values_mut()
                .filter(|path| **path == old)
                .for_each(|path| *path = new.clone());
        }
        for (old, new) in dirs {
            self.dirs.remove(&old);
            self.dirs.insert(new);
        }
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Result<(), DiskError> {
        let inside = format!("{path}/");
        let was_there = self.exists(path);
        self.files.retain(|file, _| file != path && !file.starts_with(&inside));
        self.dirs.retain(|dir| dir != path && !dir.starts_with(&inside));
        if was_there { Ok(()) } else { Err(DiskError::NotFound) }
    }

    fn create_dir(&mut self, path: &str) -> Result<(), DiskError> {
        self.dirs.insert(path.to_owned());
        Ok(())
    }

    fn list(&mut self, dir: &str) -> Result<Vec<String>, DiskError> {
        let prefix = if dir.is_empty() {
            String::new()
        } else {
            format!("{dir}/")
        };
        let all = self.files.keys().chain(&self.dirs);
        let names = all
            .filter_map(|path| path.strip_prefix(&prefix))
            .filter(|name| !name.is_empty());
        let names: BTreeSet<&str> = names.filter_map(|name| name.split('/').next()).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    fn exists(&mut self, path: &str) -> bool {
        self.files.contains_key(path) || self.dirs.contains(path)
    }
}
