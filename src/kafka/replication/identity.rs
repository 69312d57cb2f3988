//! Whose log a directory holds: the file `partition.metadata`, and that it is durable before the log is used.
//!
//! A topic that is deleted and created again has the same directory name and another id, so the name alone proves
//! nothing (KIP-516). Kafka writes the file out before the first append; here the sync is asynchronous, so a replica
//! waits until the file, its directory and the directory's own name are on the platter.
//!
//! Sources: Kafka's PartitionMetadataFile, KAFKA-14616, KAFKA-16157.

use crate::disk::{Disk, DiskError, FileId, SyncTarget};
use crate::log::LogError;
use crate::log::identity::{id_text, parse_id};
use crate::machine::{Outbox, SyncOwner};
use crate::types::{TopicPartition, Uuid};
use std::collections::BTreeMap;

/// Sync numbers of [`SyncOwner::Checkpoint`] from here on belong to the replica manager; below, to the broker.
pub const FIRST_SYNC_SEQ: u64 = 1 << 32;
/// Of these, from here on to checkpoint files.
pub const FIRST_CHECKPOINT_SEQ: u64 = 1 << 48;

const FILE: &str = "partition.metadata";

/// `topic-3` is partition 3 of `topic`.
pub fn parse_dir(dir: &str) -> Option<(&str, i32)> {
    let (topic, index) = dir.rsplit_once('-')?;
    let plain = !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
    (plain && !topic.is_empty()).then_some(())?;
    Some((topic, index.parse().ok()?))
}

/// Writes the file, and the directory if there is none.
pub fn write(dir: &str, topic: Uuid, disk: &mut dyn Disk) -> Result<(), LogError> {
    disk.create_dir(dir).map_err(LogError::Disk)?;
    let file = disk.open(&format!("{dir}/{FILE}"), true).map_err(LogError::Disk)?;
    let text = format!("version: 0\ntopic_id: {}\n", id_text(topic));
    let written = disk
        .set_len(file, 0)
        .and_then(|()| disk.write_at(file, 0, text.as_bytes()));
    disk.close(file);
    written.map_err(LogError::Disk)
}

/// The topic id of a directory; none if the file is missing or is not legible.
pub fn read(dir: &str, disk: &mut dyn Disk) -> Result<Option<Uuid>, LogError> {
    let path = format!("{dir}/{FILE}");
    if !disk.exists(&path) {
        return Ok(None);
    }
    let file = disk.open(&path, false).map_err(LogError::Disk)?;
    let text = disk.read_at(file, 0, 256);
    disk.close(file);
    let text = text.map_err(LogError::Disk)?;
    let Ok(text) = std::str::from_utf8(&text) else {
        return Ok(None);
    };
    let mut lines = text.lines();
    let version = lines.next() == Some("version: 0");
    let id = lines
        .next()
        .and_then(|line| line.strip_prefix("topic_id: "))
        .and_then(parse_id);
    Ok(id.filter(|_| version))
}

/// The identities that are being made durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identities {
    issued: u64,
    /// By sync: whose, and the file to close after it.
    syncs: BTreeMap<u64, (TopicPartition, Option<FileId>)>,
    pending: BTreeMap<TopicPartition, u32>,
}

impl Identities {
    /// Asks for the file, its directory and the directory's name to be made durable.
    pub fn sync(
        &mut self,
        id: TopicPartition,
        dir: &str,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let file = disk.open(&format!("{dir}/{FILE}"), false).map_err(LogError::Disk)?;
        for target in [
            SyncTarget::File(file),
            SyncTarget::Dir(dir.to_owned()),
            SyncTarget::Dir(String::new()),
        ] {
            let seq = self.next();
            let close = matches!(target, SyncTarget::File(_)).then_some(file);
            self.syncs.insert(seq, (id, close));
            *self.pending.entry(id).or_default() += 1;
            out.sync(SyncOwner::Checkpoint, seq, target);
        }
        Ok(())
    }

    /// Asks for the removal of a directory to be made durable. Nobody waits for it: should it come back, it is
    /// recognised by its id.
    pub fn sync_root(&mut self, out: &mut Outbox) {
        let seq = self.next();
        out.sync(SyncOwner::Checkpoint, seq, SyncTarget::Dir(String::new()));
    }

    /// Counts syncs from the beginning, if none is under way.
    pub fn forget_age(&mut self) {
        if self.syncs.is_empty() {
            self.issued = 0;
        }
    }

    fn next(&mut self) -> u64 {
        self.issued += 1;
        FIRST_SYNC_SEQ + self.issued
    }

    /// One sync is done. True if it was one of these.
    pub fn on_sync_done(
        &mut self,
        seq: u64,
        result: Result<(), DiskError>,
        disk: &mut dyn Disk,
    ) -> Result<bool, DiskError> {
        let ours = self.syncs.remove(&seq);
        match result {
            // Its directory went while the sync was on its way.
            Err(DiskError::NotFound) if ours.is_some_and(|(id, _)| !self.is_pending(id)) => {}
            result => result?,
        }
        if let Some((id, file)) = ours {
            if let Some(file) = file {
                disk.close(file);
            }
            if let Some(left) = self.pending.get_mut(&id) {
                *left -= 1;
                if *left == 0 {
                    self.pending.remove(&id);
                }
            }
        }
        Ok((FIRST_SYNC_SEQ..FIRST_CHECKPOINT_SEQ).contains(&seq))
    }

    /// Whether a replica must wait.
    pub fn is_pending(&self, id: TopicPartition) -> bool {
        self.pending.contains_key(&id)
    }

    /// The replica is gone. Its syncs still end, and matter to nobody: a topic id is never used again.
    pub fn forget(&mut self, id: TopicPartition) {
        self.pending.remove(&id);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // In a test a panic is the failure that it should be.
mod tests {
    use super::*;
    use crate::log::testing::MemDisk;

    #[test]
    fn a_directory_says_whose_it_is() {
        let mut disk = MemDisk::new();
        write("t-0", Uuid::from_u128(1), &mut disk).unwrap();
        let text = disk.content("t-0/partition.metadata").unwrap();
        assert_eq!(
            text, b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n",
            "as Kafka writes it"
        );
        assert_eq!(read("t-0", &mut disk), Ok(Some(Uuid::from_u128(1))));
        for bad in [
            &b""[..],
            b"version: 1\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n",
            b"version: 0\ntopic_id: x\n",
            b"\xff",
        ] {
            disk.put("t-0/partition.metadata", bad);
            assert_eq!(read("t-0", &mut disk), Ok(None));
        }
    }

    #[test]
    fn a_topic_may_have_dashes() {
        assert_eq!(parse_dir("a-b-12"), Some(("a-b", 12)));
        assert_eq!(parse_dir("a-"), None);
        assert_eq!(parse_dir("-1"), None);
        assert_eq!(parse_dir("meta.properties"), None);
        assert_eq!(parse_dir("t-0-stray"), None);
        assert_eq!(parse_dir("t-99999999999"), None);
    }

    #[test]
    fn a_sync_that_finds_no_directory_is_no_failure_once_the_replica_is_gone() {
        let id = TopicPartition {
            topic: Uuid::from_u128(1),
            partition: 0,
        };
        let begun = || {
            let (mut disk, mut out) = (MemDisk::new(), Outbox::default());
            let mut identities = Identities::default();
            write("t-0", id.topic, &mut disk).unwrap();
            identities.sync(id, "t-0", &mut disk, &mut out).unwrap();
            (identities, disk)
        };
        let seq = FIRST_SYNC_SEQ + 2;
        for (gone, error, expected) in [
            (true, DiskError::NotFound, Ok(true)),
            (false, DiskError::NotFound, Err(DiskError::NotFound)),
            (true, DiskError::Io, Err(DiskError::Io)),
        ] {
            let (mut identities, mut disk) = begun();
            if gone {
                identities.forget(id);
            }
            assert_eq!(identities.on_sync_done(seq, Err(error), &mut disk), expected);
        }
    }
}
