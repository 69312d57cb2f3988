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

/// Writes a file so that it is there whole or not at all.
pub(super) fn write_whole(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::machine(&format!("cannot write {}", path.display()), &error);
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let mut file = std::fs::File::create(&temporary).map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}
