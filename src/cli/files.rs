//! Files in and out, as every command treats them.

use super::Failure;
use crate::scenario::{self, Scenario};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Scenario files of the arguments, directories expanded, in the order of their names.
pub(super) fn find(files: &[PathBuf], defaults: &[&str]) -> Result<Vec<(PathBuf, Arc<Scenario>)>, Failure> {
    let defaults: Vec<PathBuf> = defaults.iter().map(PathBuf::from).collect();
    let files = if files.is_empty() { &defaults } else { files };
    let mut found = Vec::new();
    for file in files {
        let paths = if file.is_dir() {
            let paths = scenario::files(file).map_err(|error| Failure {
                code: 2,
                text: format!("{}: cannot be listed: {error}", file.display()),
            })?;
            if paths.is_empty() {
                return Err(Failure {
                    code: 2,
                    text: format!("{}: holds no scenario (*.json)", file.display()),
                });
            }
            paths
        } else {
            vec![file.clone()]
        };
        for path in paths {
            let scenario = scenario::load(&path)?;
            found.push((path, Arc::new(scenario)));
        }
    }
    Ok(found)
}

/// The commit of the checkout, if there is one.
pub(super) fn commit() -> Option<String> {
    let head = std::process::Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()?;
    head.status
        .success()
        .then(|| String::from_utf8_lossy(&head.stdout).trim().to_owned())
}

/// Whether a file could be written there; leaves nothing.
pub(super) fn can_write(path: &Path) -> Result<(), Failure> {
    let temporary = beside(path);
    std::fs::File::create(&temporary)
        .and_then(|_| std::fs::remove_file(&temporary))
        .map_err(cannot_write(path))
}

fn cannot_write(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    let what = format!("cannot write {}", path.display());
    move |error| Failure::machine(&what, &error)
}

/// What is written here becomes the file when it is whole.
fn beside(path: &Path) -> PathBuf {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    PathBuf::from(temporary)
}

/// Writes a file so that it is there whole or not at all.
pub(super) fn write_whole(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = cannot_write(path);
    let temporary = beside(path);
    let mut file = std::fs::File::create(&temporary).map_err(&failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(&failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}
