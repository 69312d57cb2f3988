//! Files in and out, as every command treats them.

use super::Failure;
use crate::scenario::{self, BadInput, Scenario};
use serde::de::DeserializeOwned;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Scenario files of the arguments, directories expanded, in the order of their names.
pub(super) fn find(files: &[PathBuf], defaults: &[&str]) -> Result<Vec<(PathBuf, Arc<Scenario>)>, Failure> {
    let defaults: Vec<PathBuf> = defaults.iter().map(PathBuf::from).collect();
    let files = if files.is_empty() { &defaults } else { files };
    let mut found = Vec::new();
    for path in expanded(files)? {
        let scenario = scenario::load(&path)?;
        found.push((path, Arc::new(scenario)));
    }
    Ok(found)
}

/// Files, and the scenario files of directories.
pub(super) fn expanded(files: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let bad = |file: &Path, what: String| Failure {
        code: 2,
        text: format!("{}: {what}", file.display()),
    };
    let mut paths = Vec::new();
    for file in files {
        if !file.is_dir() {
            paths.push(file.clone());
            continue;
        }
        let within = scenario::files(file).map_err(|error| bad(file, format!("cannot be listed: {error}")))?;
        if within.is_empty() {
            return Err(bad(file, "holds no scenario (*.json)".to_owned()));
        }
        paths.extend(within);
    }
    Ok(paths)
}

/// A file of JSON; `wrong` says what it is not if it cannot be one.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path, wrong: &str) -> Result<T, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| BadInput::unread(path, &error))?;
    let read = serde_json::from_str(&text);
    let bad = |error| BadInput::json(&path.display().to_string(), &error, format!("{wrong}: {error}"));
    Ok(read.map_err(bad)?)
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
