//! The operating system's files as the subject's disk.
//!
//! Guarantees: every call is one or two system calls on the page cache and returns when they have; a file that is
//! closed while a sync of it is under way stays open until that ends. What the operating system said of a failure is
//! logged here, since the subject knows only three kinds.
//!
//! Deliberately unknown: what the files mean; threads (a sync is handed out as a value, to be run anywhere).

use bytes::Bytes;
use kafka::{Disk, DiskError, FileId, SyncTarget};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open file and its length, which nobody else changes.
#[derive(Debug)]
struct Open {
    file: Arc<File>,
    len: u64,
}

/// All files of a node, below one directory.
#[derive(Debug)]
pub struct FileDisk {
    root: PathBuf,
    /// By file id; closed ones leave a hole that the next takes.
    files: Vec<Option<Open>>,
    holes: Vec<u32>,
}

/// One sync, to be run on a thread that may block.
#[derive(Debug)]
pub enum Sync {
    /// Data and length of a file.
    File(Arc<File>),
    /// Names in a directory.
    Dir(PathBuf),
}

impl Sync {
    /// Returns when the medium has it.
    pub fn run(self) -> Result<(), DiskError> {
        match self {
            Sync::File(file) => file.sync_data().map_err(|error| refused("sync of a file", &error)),
            Sync::Dir(path) => File::open(&path)
                .and_then(|dir| dir.sync_all())
                .map_err(|error| refused(&format!("sync of {}", path.display()), &error)),
        }
    }
}

fn refused(what: &str, error: &io::Error) -> DiskError {
    match error.kind() {
        io::ErrorKind::NotFound => return DiskError::NotFound,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            tracing::error!("{what}: {error}");
            return DiskError::Full;
        }
        _ => tracing::error!("{what}: {error}"),
    }
    DiskError::Io
}

impl FileDisk {
    /// Below this directory, which exists.
    pub fn new(root: PathBuf) -> FileDisk {
        FileDisk {
            root,
            files: Vec::new(),
            holes: Vec::new(),
        }
    }

    /// What a sync has to do. It covers what was written before this call.
    pub fn sync(&self, target: &SyncTarget) -> Sync {
        match target {
            SyncTarget::File(file) => Sync::File(Arc::clone(&self.open_file(*file).file)),
            SyncTarget::Dir(path) => Sync::Dir(self.path(path)),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn open_file(&self, file: FileId) -> &Open {
        let open = self.files.get(file.0 as usize).and_then(Option::as_ref);
        open.expect("the subject names open files only")
    }

    fn open_file_mut(&mut self, file: FileId) -> &mut Open {
        let open = self.files.get_mut(file.0 as usize).and_then(Option::as_mut);
        open.expect("the subject names open files only")
    }
}

/// What a call did, for the log line of its failure.
fn doing<T>(verb: &str, path: &Path, result: io::Result<T>) -> Result<T, DiskError> {
    result.map_err(|error| refused(&format!("{verb} {}", path.display()), &error))
}

impl Disk for FileDisk {
    fn open(&mut self, path: &str, create: bool) -> Result<FileId, DiskError> {
        let path = self.path(path);
        let opened = OpenOptions::new().read(true).write(true).create(create).open(&path);
        let file = doing("open", &path, opened)?;
        let len = doing("open", &path, file.metadata())?.len();
        let open = Some(Open {
            file: Arc::new(file),
            len,
        });
        let id = match self.holes.pop() {
            Some(id) => {
                self.files[id as usize] = open;
                id
            }
            None => {
                self.files.push(open);
                u32::try_from(self.files.len() - 1).expect("far fewer files are open than that")
            }
        };
        Ok(FileId(id))
    }

    fn close(&mut self, file: FileId) {
        let open = self.files[file.0 as usize].take();
        assert!(open.is_some(), "a file is closed once");
        self.holes.push(file.0);
    }

    fn len(&self, file: FileId) -> u64 {
        self.open_file(file).len
    }

    fn read_at(&mut self, file: FileId, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let open = self.open_file(file);
        let available = usize::try_from(open.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = len.min(available);
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = offset + bytes.len() as u64;
            // Into memory that nobody has set to zero before: half of the cost of a large read.
            match rustix::io::pread(&open.file, rustix::buffer::spare_capacity(&mut bytes), at) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(refused("read", &error.into())),
            }
        }
        bytes.truncate(len);
        Ok(bytes.into())
    }

    fn write_at(&mut self, file: FileId, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        let open = self.open_file_mut(file);
        let written = open.file.write_all_at(data, offset);
        // A failed write may have grown the file too.
        open.len = match &written {
            Ok(()) => open.len.max(offset + data.len() as u64),
            Err(_) => open.file.metadata().map_or(open.len, |metadata| metadata.len()),
        };
        written.map_err(|error| refused("write", &error))
    }

    fn set_len(&mut self, file: FileId, len: u64) -> Result<(), DiskError> {
        let open = self.open_file_mut(file);
        open.file
            .set_len(len)
            .map_err(|error| refused("set the length of a file", &error))?;
        open.len = len;
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let (from, to) = (self.path(from), self.path(to));
        doing("rename", &from, fs::rename(&from, &to))
    }

    fn remove(&mut self, path: &str) -> Result<(), DiskError> {
        let path = self.path(path);
        let is_dir = doing("remove", &path, fs::symlink_metadata(&path))?.is_dir();
        let removed = if is_dir {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        doing("remove", &path, removed)
    }

    fn create_dir(&mut self, path: &str) -> Result<(), DiskError> {
        let path = self.path(path);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            created => doing("create", &path, created),
        }
    }

    fn list(&mut self, dir: &str) -> Result<Vec<String>, DiskError> {
        let path = self.path(dir);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => doing("list", &path, entries)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is not text is none of ours.
            names.extend(doing("list", &path, entry)?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn exists(&mut self, path: &str) -> bool {
        self.path(path).exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> FileDisk {
        let root = std::env::temp_dir().join(format!("highwater-disk-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        FileDisk::new(root)
    }

    impl Drop for FileDisk {
        fn drop(&mut self) {
            if self.root.starts_with(std::env::temp_dir()) {
                let _ = fs::remove_dir_all(&self.root);
            }
        }
    }

    #[test]
    fn files_are_those_of_the_contract() {
        let mut disk = scratch("files");
        assert_eq!(
            disk.open("t-0/log", true),
            Err(DiskError::NotFound),
            "no such directory"
        );
        disk.create_dir("t-0").unwrap();
        disk.create_dir("t-0").unwrap();
        assert_eq!(disk.open("t-0/log", false), Err(DiskError::NotFound));
        let file = disk.open("t-0/log", true).unwrap();
        disk.write_at(file, 0, b"hello").unwrap();
        disk.write_at(file, 7, b"!").unwrap();
        assert_eq!(disk.len(file), 8);
        assert_eq!(disk.read_at(file, 0, 100).unwrap(), &b"hello\0\0!"[..]);
        assert_eq!(disk.read_at(file, 3, 2).unwrap(), &b"lo"[..]);
        assert_eq!(disk.read_at(file, 8, 2).unwrap(), &b""[..]);
        assert_eq!(disk.read_at(file, u64::MAX, 2).unwrap(), &b""[..]);
        disk.set_len(file, 4).unwrap();
        disk.set_len(file, 6).unwrap();
        assert_eq!(disk.read_at(file, 0, 100).unwrap(), &b"hell\0\0"[..]);
        disk.close(file);
        let again = disk.open("t-0/log", false).unwrap();
        assert_eq!((again, disk.len(again)), (file, 6), "a hole is taken");
    }

    #[test]
    fn names_are_those_of_the_contract() {
        let mut disk = scratch("names");
        assert_eq!(disk.list("none").unwrap(), Vec::<String>::new());
        for name in ["b", "a"] {
            let file = disk.open(name, true).unwrap();
            disk.write_at(file, 0, name.as_bytes()).unwrap();
        }
        disk.create_dir("dir").unwrap();
        disk.open("dir/inside", true).unwrap();
        assert_eq!(disk.list("").unwrap(), ["a", "b", "dir"]);
        disk.rename("a", "b").unwrap();
        let file = disk.open("b", false).unwrap();
        assert_eq!(disk.read_at(file, 0, 9).unwrap(), &b"a"[..], "the other is replaced");
        disk.rename("dir", "dir-delete").unwrap();
        assert!(disk.exists("dir-delete/inside") && !disk.exists("dir"));
        disk.remove("dir-delete").unwrap();
        disk.remove("b").unwrap();
        assert_eq!(disk.remove("b"), Err(DiskError::NotFound));
        assert_eq!(disk.list("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_sync_outlives_the_closing_of_its_file() {
        let mut disk = scratch("sync");
        let file = disk.open("f", true).unwrap();
        disk.write_at(file, 0, b"x").unwrap();
        let sync = disk.sync(&SyncTarget::File(file));
        disk.close(file);
        assert_eq!(sync.run(), Ok(()));
        assert_eq!(disk.sync(&SyncTarget::Dir(String::new())).run(), Ok(()));
        assert_eq!(
            disk.sync(&SyncTarget::Dir("none".into())).run(),
            Err(DiskError::NotFound)
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_operating_system_refuses_is_told() {
        // A device that is always full, and cannot be synced.
        let mut disk = FileDisk::new(PathBuf::from("/"));
        let file = disk.open("dev/full", false).unwrap();
        assert_eq!(disk.write_at(file, 0, b"x"), Err(DiskError::Full));
        assert_eq!(disk.sync(&SyncTarget::File(file)).run(), Err(DiskError::Io));
        assert_eq!(disk.open("dev", false), Err(DiskError::Io), "a directory is no file");
    }
}
