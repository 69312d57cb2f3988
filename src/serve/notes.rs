//! The notes of a process in a file, a line of JSON each: what judges a cluster of real processes reads.
//!
//! ```text
//!   {"time_ns":81734,"note":{"HighWatermarkAdvanced":{"partition":"7f3c‥:0","to":12,"as_leader":true,"leader_epoch":3}}}
//!   {"time_ns":90211,"log":{"partition":"7f3c‥:0","batches":"0000‥"}}
//! ```
//!
//! Guarantees: the lines of a step are written with one call, before anything that the step sends leaves the process, so
//! that of a killed one at most the last step is missing. A time is that of the step's begin, on the clock that all
//! processes of a machine share: sorted by it, no effect stands before its cause.
//!
//! Deliberately unknown: what a note means. Not synced: a power failure takes the end of it. Not for every day: what
//! stands in every log is written at every start.

use bytes::Bytes;
use kafka::types::TopicPartition;
use kafka::{Note, text::hex};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line<'a> {
    /// When the step began, in nanoseconds of [`machine_time_ns`].
    pub time_ns: u64,
    /// What was said in it.
    #[serde(flatten)]
    pub said: Said<'a>,
}

/// What a process says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said<'a> {
    /// A note.
    Note(Cow<'a, Note>),
    /// What a log holds that was opened in this step.
    Log {
        /// Whose.
        partition: TopicPartition,
        /// All batches, as they stand in it.
        #[serde(with = "hex")]
        batches: Bytes,
    },
}

impl<'a> Said<'a> {
    /// A note.
    pub fn note(note: &'a Note) -> Said<'a> {
        Said::Note(Cow::Borrowed(note))
    }

    /// The content of a log.
    pub fn log(partition: TopicPartition, batches: Bytes) -> Said<'a> {
        Said::Log { partition, batches }
    }
}

/// A monotonic clock that all processes of this machine share.
pub fn machine_time_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The file of one node.
#[derive(Debug)]
pub struct NoteFile {
    /// None once a write has failed: what is missing must not look like silence.
    file: Option<File>,
    /// Reused between steps.
    lines: Vec<u8>,
}

impl NoteFile {
    /// Goes on where another process of the node ended.
    pub fn append_to(path: &Path) -> io::Result<NoteFile> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let mut last = [b'\n'];
        if file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        if last != [b'\n'] {
            file.write_all(b"\n")?;
        }
        Ok(NoteFile {
            file: Some(file),
            lines: Vec::new(),
        })
    }

    /// Writes what was said in a step.
    pub fn write<'a>(&mut self, time_ns: u64, said: impl Iterator<Item = Said<'a>>) {
        let Some(file) = &mut self.file else { return };
        self.lines.clear();
        for said in said {
            serde_json::to_writer(&mut self.lines, &Line { time_ns, said }).expect("notes of brokers are JSON");
            self.lines.push(b'\n');
        }
        if let Err(error) = file.write_all(&self.lines) {
            tracing::error!("notes are written no more: {error}");
            self.file = None;
        }
    }
}

/// The lines of a file's text. One that cannot be read is the torn end of a process that was killed.
pub fn lines(text: &str) -> impl Iterator<Item = Result<Line<'static>, serde_json::Error>> {
    text.lines().map(serde_json::from_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka::types::{LeaderEpoch, METADATA_PARTITION, NodeId, Uuid};

    fn path(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("highwater-notes-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    #[test]
    fn what_was_written_is_read_back() {
        let path = path("read");
        let partition = TopicPartition {
            topic: Uuid::from_u128(0xabc << 90 | 7),
            partition: 12,
        };
        let notes = [
            Note::Appended {
                partition,
                base_offset: 3,
                last_offset: 4,
                leader_epoch: LeaderEpoch(2),
                as_leader: true,
                batch: Bytes::from_static(&[0, 1, 0xfe, 0xff]),
            },
            Note::MetadataApplied {
                offset: 1,
                image_digest: u64::MAX,
            },
            Note::QuorumEpochStarted {
                epoch: LeaderEpoch(1),
                leader: Some(NodeId(3)),
            },
            Note::ShutdownStarted,
        ];
        let mut file = NoteFile::append_to(&path).unwrap();
        file.write(7, notes.iter().map(Said::note));
        let log = Said::log(METADATA_PARTITION, Bytes::from_static(b"abc"));
        file.write(9, std::iter::once(log));
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Vec<Line<'_>> = lines(&text).map(Result::unwrap).collect();
        let mut expected: Vec<_> = (notes.iter().map(Said::note))
            .map(|said| Line { time_ns: 7, said })
            .collect();
        expected.push(Line {
            time_ns: 9,
            said: Said::log(METADATA_PARTITION, Bytes::from_static(b"abc")),
        });
        assert_eq!(read, expected);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_torn_line_takes_nothing_of_the_next_process_with_it() {
        let path = path("torn");
        std::fs::write(&path, b"{\"time_ns\":1,\"note\":\"Shutdo").unwrap();
        let mut file = NoteFile::append_to(&path).unwrap();
        file.write(2, std::iter::once(Said::note(&Note::ShutdownCompleted)));
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Vec<bool> = lines(&text).map(|line| line.is_ok()).collect();
        assert_eq!(read, [false, true]);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_clock_goes_forward() {
        let before = machine_time_ns();
        assert!(machine_time_ns() >= before && before > 0);
    }
}
