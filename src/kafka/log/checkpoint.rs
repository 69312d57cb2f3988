//! Checkpoint files: Kafka's text format, and a small machine that replaces a file whole or not at all.
//!
//! ```text
//!   0                      version                      idle ─write─▶ path.tmp written, sync of it asked
//!   2                      number of lines                                │ done
//!   orders 0 1532          topic partition offset                    renamed over path, sync of the directory asked
//!   orders 1 1490          (or: epoch start offset)                       │ done
//!                                                       idle ◀────────────┘ or the latest text that waits
//! ```
//!
//! Guarantees: whenever the power fails, the file has the old content or the new one. Of several writes that are
//! asked for while one is under way, the last one wins. A file that is cut, or says another number of lines, is an
//! error and not a shorter list.
//!
//! Deliberately unknown: what the offsets mean, and when they are to be written.
//!
//! Sources: Kafka's CheckpointFile, OffsetCheckpointFile, LeaderEpochCheckpointFile.

use crate::disk::{Disk, DiskError, FileId, SyncTarget};
use crate::machine::{Outbox, SyncOwner};
use crate::types::{LeaderEpoch, Offset};
use std::fmt::Write as _;

/// Recovery points of all logs of a node.
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// Log start offsets that are not the base of a segment.
pub const LOG_STARTS: &str = "log-start-offset-checkpoint";
/// High watermarks.
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";

/// Version of the format.
const VERSION: &str = "0";

/// One line of a checkpoint of offsets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetEntry {
    /// Name.
    pub topic: String,
    /// Number.
    pub partition: i32,
    /// What is remembered of it.
    pub offset: Offset,
}

/// The lines of a checkpoint, after its version and count. The error is a fragment that fits after "failed to read".
fn lines(text: &str) -> Result<impl Iterator<Item = &str>, String> {
    let Some(body) = text.strip_suffix('\n') else {
        return Err("a checkpoint that does not end with a line end".into());
    };
    let mut lines = body.split('\n');
    match lines.next() {
        Some(VERSION) => {}
        version => return Err(format!("a checkpoint of version {version:?}")),
    }
    let count: Option<usize> = lines.next().and_then(|line| line.parse().ok());
    let found = lines.clone().count();
    match count {
        Some(count) if count == found => Ok(lines),
        Some(count) => Err(format!("a checkpoint of {count} lines that has {found}")),
        None => Err("a checkpoint without its number of lines".into()),
    }
}

/// Reads lines of `topic partition offset`.
pub fn parse_offsets(text: &str) -> Result<Vec<OffsetEntry>, String> {
    lines(text)?
        .map(|line| {
            let mut words = line.split(' ');
            let entry = (|| {
                Some(OffsetEntry {
                    topic: words.next().filter(|word| !word.is_empty())?.to_string(),
                    partition: words.next()?.parse().ok()?,
                    offset: words.next()?.parse().ok()?,
                })
            })();
            entry
                .filter(|_| words.next().is_none())
                .ok_or_else(|| format!("the checkpoint line `{line}`"))
        })
        .collect()
}

/// The text of lines of `topic partition offset`.
pub fn offsets_text(entries: &[OffsetEntry]) -> String {
    let mut text = format!("{VERSION}\n{}\n", entries.len());
    for entry in entries {
        let _ = writeln!(text, "{} {} {}", entry.topic, entry.partition, entry.offset);
    }
    text
}

/// Reads lines of `epoch startOffset`.
pub fn parse_epochs(text: &str) -> Result<Vec<(LeaderEpoch, Offset)>, String> {
    lines(text)?
        .map(|line| {
            let entry = line
                .split_once(' ')
                .and_then(|(epoch, offset)| Some((LeaderEpoch(epoch.parse().ok()?), offset.parse().ok()?)));
            entry.ok_or_else(|| format!("the checkpoint line `{line}`"))
        })
        .collect()
}

/// The text of lines of `epoch startOffset`.
pub fn epochs_text(entries: &[(LeaderEpoch, Offset)]) -> String {
    let mut text = format!("{VERSION}\n{}\n", entries.len());
    for (epoch, offset) in entries {
        let _ = writeln!(text, "{epoch} {offset}");
    }
    text
}

/// Reads a whole small file; `None` if there is none.
pub fn read_file(path: &str, disk: &mut dyn Disk) -> Result<Option<Vec<u8>>, DiskError> {
    let file = match disk.open(path, false) {
        Ok(file) => file,
        Err(DiskError::NotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    let len = disk.len(file) as usize;
    let content = disk.read_at(file, 0, len);
    disk.close(file);
    Ok(Some(content?.to_vec()))
}

/// Writes `text` to `path.tmp` and leaves it open.
pub fn write_temporary(path: &str, text: &str, disk: &mut dyn Disk) -> Result<FileId, DiskError> {
    let file = disk.open(&temporary(path), true)?;
    if disk.len(file) > 0 {
        disk.set_len(file, 0)?;
    }
    disk.write_at(file, 0, text.as_bytes())?;
    Ok(file)
}

/// The name that a file has until it is whole.
pub fn temporary(path: &str) -> String {
    format!("{path}.tmp")
}

fn directory(path: &str) -> String {
    path.rsplit_once('/')
        .map_or(String::new(), |(directory, _)| directory.to_string())
}

#[derive(Clone, Debug, Hash)]
enum Phase {
    Idle,
    /// The temporary file is being made durable.
    Writing(FileId),
    /// The new name is being made durable.
    Renaming,
}

/// Replaces one file durably, again and again. Its syncs have the owner [`SyncOwner::Checkpoint`] and the numbers
/// `seq` and `seq + 1`.
#[derive(Clone, Debug, Hash)]
pub struct CheckpointFile {
    path: String,
    seq: u64,
    phase: Phase,
    waiting: Option<String>,
}

impl CheckpointFile {
    /// The file at `path`; `seq` and the number after it belong to it alone.
    pub fn new(path: &str, seq: u64) -> CheckpointFile {
        CheckpointFile {
            path: path.to_string(),
            seq,
            phase: Phase::Idle,
            waiting: None,
        }
    }

    /// What it is called.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Nothing is under way and nothing waits: the last text is durable.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle) && self.waiting.is_none()
    }

    /// Replaces the content by `text`; if that is under way with another text, right after it.
    pub fn write(&mut self, text: String, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), DiskError> {
        if !matches!(self.phase, Phase::Idle) {
            self.waiting = Some(text);
            return Ok(());
        }
        let file = write_temporary(&self.path, &text, disk)?;
        out.sync(SyncOwner::Checkpoint, self.seq, SyncTarget::File(file));
        self.phase = Phase::Writing(file);
        Ok(())
    }

    /// A sync of [`SyncOwner::Checkpoint`] ended. True if it was one of this file.
    pub fn on_sync_done(
        &mut self,
        seq: u64,
        result: &Result<(), DiskError>,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<bool, DiskError> {
        match self.phase {
            Phase::Writing(file) if seq == self.seq => {
                result.clone()?;
                disk.close(file);
                // IMPORTANT: only now. A rename before the sync can leave an empty file under the final name.
                disk.rename(&temporary(&self.path), &self.path)?;
                out.sync(
                    SyncOwner::Checkpoint,
                    self.seq + 1,
                    SyncTarget::Dir(directory(&self.path)),
                );
                self.phase = Phase::Renaming;
            }
            Phase::Renaming if seq == self.seq + 1 => {
                result.clone()?;
                self.phase = Phase::Idle;
                if let Some(text) = self.waiting.take() {
                    self.write(text, disk, out)?;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::testing::MemDisk;

    #[test]
    fn offsets_are_kafkas_text() {
        let entries = vec![
            OffsetEntry {
                topic: "orders".into(),
                partition: 0,
                offset: 1_532,
            },
            OffsetEntry {
                topic: "a.b_c-d".into(),
                partition: 12,
                offset: 0,
            },
        ];
        let text = offsets_text(&entries);
        assert_eq!(text, "0\n2\norders 0 1532\na.b_c-d 12 0\n");
        assert_eq!(parse_offsets(&text), Ok(entries));
        assert_eq!(parse_offsets("0\n0\n"), Ok(vec![]));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (text, part) in [
            ("", "line end"),
            ("0\n1\nt 0 5", "line end"),
            ("1\n0\n", "version"),
            ("0\n", "number of lines"),
            ("0\n2\nt 0 5\n", "2 lines that has 1"),
            ("0\n1\nt 0\n", "`t 0`"),
            ("0\n1\nt 0 5 6\n", "`t 0 5 6`"),
            ("0\n1\nt x 5\n", "`t x 5`"),
            ("0\n1\n 0 5\n", "` 0 5`"),
        ] {
            let error = parse_offsets(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    /// Lets everything finish that is under way.
    fn settle(file: &mut CheckpointFile, disk: &mut MemDisk, out: &mut Outbox) {
        disk.take_syncs(out);
        while let Some(tag) = disk.complete_one() {
            assert_eq!(file.on_sync_done(tag.seq, &Ok(()), disk, out), Ok(true));
            disk.take_syncs(out);
        }
    }

    #[test]
    fn a_power_failure_at_any_step_leaves_the_old_or_the_new() {
        for steps in 0..=2 {
            let (mut disk, mut out) = (MemDisk::new(), Outbox::default());
            let mut file = CheckpointFile::new("cp", 7);
            file.write("old".into(), &mut disk, &mut out).unwrap();
            settle(&mut file, &mut disk, &mut out);
            file.write("new".into(), &mut disk, &mut out).unwrap();
            disk.take_syncs(&mut out);
            for _ in 0..steps {
                let tag = disk.complete_one().unwrap();
                file.on_sync_done(tag.seq, &Ok(()), &mut disk, &mut out).unwrap();
                disk.take_syncs(&mut out);
            }
            disk.crash_power();
            let expected: &[u8] = if steps < 2 { b"old" } else { b"new" };
            assert_eq!(disk.content("cp").unwrap(), expected, "{steps}");
        }
    }

    #[test]
    fn the_last_of_several_wins() {
        let (mut disk, mut out) = (MemDisk::new(), Outbox::default());
        let mut file = CheckpointFile::new("dir/cp", 7);
        disk.create_dir("dir").unwrap();
        for text in ["one", "a longer two", "3"] {
            file.write(text.into(), &mut disk, &mut out).unwrap();
        }
        assert!(!file.is_idle());
        settle(&mut file, &mut disk, &mut out);
        assert!(file.is_idle());
        disk.sync_everything();
        disk.crash_power();
        assert_eq!(disk.content("dir/cp").unwrap(), b"3");
        assert_eq!(disk.paths(), ["dir/cp"]);
        assert_eq!(disk.open_files(), 0);
    }

    #[test]
    fn a_failed_sync_is_an_error_and_a_foreign_one_is_not_ours() {
        let (mut disk, mut out) = (MemDisk::new(), Outbox::default());
        let mut file = CheckpointFile::new("cp", 7);
        file.write("x".into(), &mut disk, &mut out).unwrap();
        assert_eq!(file.on_sync_done(9, &Ok(()), &mut disk, &mut out), Ok(false));
        assert_eq!(
            file.on_sync_done(7, &Err(DiskError::Io), &mut disk, &mut out),
            Err(DiskError::Io)
        );
        assert_eq!(disk.content("cp"), None);
    }
}
