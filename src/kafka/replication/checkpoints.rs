//! What is written down now and then, so that a restart need not guess: high watermarks, recovery points, log starts.
//!
//! Guarantees: an illegible file counts as empty, which is always safe (a high watermark starts low, a recovery
//! starts at the beginning). A file is written only if it would change. What the recovery points on the disk may still
//! claim after a crash is known at any time, whatever has been asked for since.
//! It does not know how a file is replaced durably: that is `log::checkpoint`.
//!
//! Sources: Kafka's OffsetCheckpointFile, ReplicaManager.checkpointHighWatermarks, LogManager.

use super::identity::FIRST_CHECKPOINT_SEQ;
use crate::disk::Disk;
use crate::log::LogError;
use crate::log::checkpoint::{
    CheckpointFile, HIGH_WATERMARKS, LOG_STARTS, OffsetEntry, RECOVERY_POINTS, offsets_text, parse_offsets, read_file,
};
use crate::machine::Outbox;
use crate::types::Offset;
use std::collections::BTreeMap;

/// What the files say of one partition; 0 where they say nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Known {
    /// Committed below.
    pub high_watermark: Offset,
    /// Durable below.
    pub recovery_point: Offset,
    /// First offset.
    pub log_start_offset: Offset,
}

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `replication-offset-checkpoint`.
    HighWatermarks,
    /// `recovery-point-offset-checkpoint`.
    RecoveryPoints,
    /// `log-start-offset-checkpoint`.
    LogStarts,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::HighWatermarks, Kind::RecoveryPoints, Kind::LogStarts];

    fn path(self) -> &'static str {
        match self {
            Kind::HighWatermarks => HIGH_WATERMARKS,
            Kind::RecoveryPoints => RECOVERY_POINTS,
            Kind::LogStarts => LOG_STARTS,
        }
    }
}

/// The three files.
#[derive(Clone, Debug, Hash)]
pub struct Checkpoints {
    known: BTreeMap<(String, i32), Known>,
    /// The highest recovery points that the file may say, whenever the power fails.
    claimed: BTreeMap<(String, i32), Offset>,
    files: [CheckpointFile; 3],
    /// What the last write began with.
    last: [Option<Vec<OffsetEntry>>; 3],
}

impl Default for Checkpoints {
    fn default() -> Self {
        let seqs = (FIRST_CHECKPOINT_SEQ..).step_by(2);
        let mut files = Kind::ALL
            .into_iter()
            .zip(seqs)
            .map(|(kind, seq)| CheckpointFile::new(kind.path(), seq));
        let mut next = || files.next().expect("one for each kind");
        Checkpoints {
            known: BTreeMap::new(),
            claimed: BTreeMap::new(),
            files: [next(), next(), next()],
            last: [None, None, None],
        }
    }
}

impl Checkpoints {
    /// Reads the files.
    pub fn load(&mut self, disk: &mut dyn Disk) -> Result<(), LogError> {
        for kind in Kind::ALL {
            let content = read_file(kind.path(), disk)
                .map_err(LogError::Disk)?
                .unwrap_or_default();
            let entries = std::str::from_utf8(&content)
                .ok()
                .and_then(|text| parse_offsets(text).ok());
            for entry in entries.into_iter().flatten() {
                let known = self.known.entry((entry.topic, entry.partition)).or_default();
                let offset = entry.offset.max(0);
                match kind {
                    Kind::HighWatermarks => known.high_watermark = offset,
                    Kind::RecoveryPoints => known.recovery_point = offset,
                    Kind::LogStarts => known.log_start_offset = offset,
                }
            }
        }
        let recovery_points = self.known.iter().map(|(id, known)| (id.clone(), known.recovery_point));
        self.claimed = recovery_points.collect();
        Ok(())
    }

    /// The highest recovery point that the file may say of a partition of this name, after a crash at any time.
    pub fn claimed_recovery_point(&self, topic: &str, partition: i32) -> Offset {
        let claimed = self.claimed.get(&(topic.to_owned(), partition));
        claimed.copied().unwrap_or_default()
    }

    /// What was known of a partition at the start.
    pub fn of(&self, topic: &str, partition: i32) -> Known {
        self.known
            .get(&(topic.to_owned(), partition))
            .copied()
            .unwrap_or_default()
    }

    /// The replica was deleted: another one of that name knows nothing of it.
    pub fn forget(&mut self, topic: &str, partition: i32) {
        self.known.remove(&(topic.to_owned(), partition));
    }

    /// Writes one of the files, unless it says just that.
    pub fn write(
        &mut self,
        kind: Kind,
        entries: Vec<OffsetEntry>,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let last = &mut self.last[kind as usize];
        if last.as_ref() == Some(&entries) {
            return Ok(());
        }
        if kind == Kind::RecoveryPoints {
            for entry in &entries {
                let claimed = self.claimed.entry((entry.topic.clone(), entry.partition)).or_default();
                *claimed = entry.offset.max(*claimed);
            }
        }
        let text = offsets_text(&entries);
        *last = Some(entries);
        self.files[kind as usize].write(text, disk, out).map_err(LogError::Disk)
    }

    /// A sync of ours has ended well. True if the recovery points on the disk are now the last that were written.
    pub fn on_sync_done(&mut self, seq: u64, disk: &mut dyn Disk, out: &mut Outbox) -> Result<bool, LogError> {
        for kind in Kind::ALL {
            let file = &mut self.files[kind as usize];
            if file.on_sync_done(seq, &Ok(()), disk, out).map_err(LogError::Disk)? {
                let settled = kind == Kind::RecoveryPoints && file.is_idle();
                if settled {
                    let last = self.last[kind as usize].iter().flatten();
                    let claimed = last.map(|entry| ((entry.topic.clone(), entry.partition), entry.offset));
                    self.claimed = claimed.collect();
                }
                return Ok(settled);
            }
        }
        Ok(false)
    }

    /// Nothing is being written.
    pub fn is_idle(&self) -> bool {
        self.files.iter().all(CheckpointFile::is_idle)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // In a test a panic is the failure that it should be.
mod tests {
    use super::*;
    use crate::log::testing::MemDisk;

    fn entry(offset: Offset) -> OffsetEntry {
        OffsetEntry {
            topic: String::from("t"),
            partition: 3,
            offset,
        }
    }

    #[test]
    fn what_was_written_is_known_after_a_restart_and_forgotten_with_its_topic() {
        let (mut disk, mut out) = (MemDisk::new(), Outbox::default());
        let mut checkpoints = Checkpoints::default();
        for (kind, offset) in Kind::ALL.into_iter().zip(5..) {
            checkpoints
                .write(kind, vec![entry(offset)], &mut disk, &mut out)
                .unwrap();
        }
        disk.take_syncs(&mut out);
        while let Some(tag) = disk.complete_one() {
            checkpoints.on_sync_done(tag.seq, &mut disk, &mut out).unwrap();
            disk.take_syncs(&mut out);
        }
        assert!(checkpoints.is_idle());
        disk.crash_power();
        let mut again = Checkpoints::default();
        again.load(&mut disk).unwrap();
        let known = Known {
            high_watermark: 5,
            recovery_point: 6,
            log_start_offset: 7,
        };
        assert_eq!((again.of("t", 3), again.of("t", 4)), (known, Known::default()));
        again.forget("t", 3);
        assert_eq!(again.of("t", 3), Known::default());
    }

    #[test]
    fn a_recovery_point_is_claimed_until_a_lower_one_is_durable() {
        let (mut disk, mut out) = (MemDisk::new(), Outbox::default());
        disk.put(RECOVERY_POINTS, b"0\n1\nt 3 9\n");
        let mut checkpoints = Checkpoints::default();
        checkpoints.load(&mut disk).unwrap();
        checkpoints.forget("t", 3);
        let mut claimed = Vec::new();
        checkpoints
            .write(Kind::RecoveryPoints, vec![entry(5)], &mut disk, &mut out)
            .unwrap();
        // Another one waits for it.
        checkpoints
            .write(Kind::RecoveryPoints, vec![entry(2)], &mut disk, &mut out)
            .unwrap();
        disk.take_syncs(&mut out);
        while let Some(tag) = disk.complete_one() {
            claimed.push(checkpoints.claimed_recovery_point("t", 3));
            let settled = checkpoints.on_sync_done(tag.seq, &mut disk, &mut out).unwrap();
            assert_eq!(settled, disk.pending() == 0 && out.outputs.is_empty());
            disk.take_syncs(&mut out);
        }
        assert_eq!(claimed, [9; 4], "file, name, file, name");
        assert_eq!(checkpoints.claimed_recovery_point("t", 3), 2);
    }

    #[test]
    fn the_same_content_is_not_written_again() {
        let (mut disk, mut out) = (MemDisk::new(), Outbox::default());
        let mut checkpoints = Checkpoints::default();
        for _ in 0..2 {
            checkpoints
                .write(Kind::HighWatermarks, vec![entry(5)], &mut disk, &mut out)
                .unwrap();
            disk.take_syncs(&mut out);
            while let Some(tag) = disk.complete_one() {
                checkpoints.on_sync_done(tag.seq, &mut disk, &mut out).unwrap();
                disk.take_syncs(&mut out);
            }
        }
        let changes = disk.changes;
        checkpoints
            .write(Kind::HighWatermarks, vec![entry(5)], &mut disk, &mut out)
            .unwrap();
        assert_eq!(disk.changes, changes);
        checkpoints
            .write(Kind::HighWatermarks, vec![entry(6)], &mut disk, &mut out)
            .unwrap();
        assert!(disk.changes > changes);
    }

    #[test]
    fn an_illegible_file_knows_nothing() {
        let mut disk = MemDisk::new();
        disk.put(HIGH_WATERMARKS, b"0\n2\nt 3 5\n");
        disk.put(LOG_STARTS, &[0xff, 0xfe]);
        let mut checkpoints = Checkpoints::default();
        checkpoints.load(&mut disk).unwrap();
        assert_eq!(checkpoints.of("t", 3), Known::default());
    }
}
