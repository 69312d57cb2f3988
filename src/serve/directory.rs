//! The data directory of a process: one process at a time, and formatted at its first start.
//!
//! Sources: Kafka's LogManager.lockLogDirs (`.lock`), StorageTool.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// Held for the life of the process; the operating system lets go of it, however that ends.
#[derive(Debug)]
pub struct Directory {
    /// Where.
    pub path: PathBuf,
    /// It had no `meta.properties`: the machine writes them at its start.
    pub is_fresh: bool,
    _lock: File,
}

/// Creates the directory if need be and takes it for this process. The error is complete.
pub fn claim(path: &Path) -> Result<Directory, String> {
    let failed = |what: &str, error: std::io::Error| format!("cannot {what} {}: {error}", path.display());
    std::fs::create_dir_all(path).map_err(|error| failed("create", error))?;
    let lock = path.join(".lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(lock);
    let file = file.map_err(|error| failed("write to", error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(format!(
                "{} is in use by another process: stop that one, or give this one a `log.dirs` of its own",
                path.display()
            ));
        }
        Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
    }
    Ok(Directory {
        path: path.to_owned(),
        is_fresh: !path.join(kafka::log::identity::META_PROPERTIES).exists(),
        _lock: file,
    })
}
