//! Snapshots of the metadata, and the log that may begin after them.
//!
//! ```text
//!   00000000000000000120-0000000003.checkpoint     all records below 120, the last of them of epoch 3
//!   ..checkpoint.part ──sync──▶ rename ──sync of the directory──▶ complete ──▶ the log may forget what is below
//! ```
//!
//! Guarantees: a file without `.part` is whole; the log gives up records only after a durable snapshot has them; the
//! log begins at the end of the older of the two that are kept, so a follower that is a little behind still finds
//! records. Deliberately does not know what is inside, nor when one is due (the broker does).
//!
//! Sources: KIP-630.

use super::message::SnapshotId;
use super::{METADATA_DIR, Quorum, control};
use crate::disk::{Disk, FileId, SyncTarget};
use crate::log::LogError;
use crate::machine::{Outbox, SyncOwner};
use crate::note::Note;
use crate::types::{LeaderEpoch, Now, Offset};
use crate::wire::batch;
use bytes::{Bytes, BytesMut};

/// Snapshots that are kept.
const KEPT: usize = 2;
/// Records are cut into batches of about this size.
const BATCH_BYTES: usize = 512 * 1024;
/// Sync sequence numbers here are odd, those of the vote file even.
const SEQ_STEP: u64 = 2;

#[derive(Clone, Copy, Debug, Hash)]
enum Step {
    File(FileId),
    Dir,
}

/// One on its way to durability.
#[derive(Clone, Debug, Hash)]
struct Saving {
    id: SnapshotId,
    step: Step,
    seq: u64,
    /// It came from the leader, because our log lacks what is in it; or a restart found it so.
    install: bool,
}

/// All complete ones, and those under way.
#[derive(Clone, Debug, Hash)]
pub(super) struct Snapshots {
    /// Ascending.
    complete: Vec<SnapshotId>,
    saving: Vec<Saving>,
    next_seq: u64,
}

impl Snapshots {
    /// Finds the complete ones; what was under way when the process died is removed.
    pub fn load(disk: &mut dyn Disk) -> Result<Snapshots, LogError> {
        let mut complete = Vec::new();
        for name in disk.list(METADATA_DIR).map_err(LogError::Disk)? {
            if let Some(id) = parse_name(&name) {
                complete.push(id);
            } else if name.ends_with(".checkpoint.part") {
                disk.remove(&format!("{METADATA_DIR}/{name}")).map_err(LogError::Disk)?;
            }
        }
        complete.sort_unstable();
        Ok(Snapshots {
            complete,
            saving: Vec::new(),
            next_seq: 1,
        })
    }

    pub fn newest(&self) -> Option<SnapshotId> {
        self.complete.last().copied()
    }

    pub fn oldest(&self) -> Option<SnapshotId> {
        self.complete.first().copied()
    }

    pub fn has(&self, id: SnapshotId) -> bool {
        self.complete.binary_search(&id).is_ok()
    }

    /// Epoch of the snapshot with this end.
    pub fn ending_at(&self, end: Offset) -> Option<LeaderEpoch> {
        self.complete
            .iter()
            .find(|(offset, _)| *offset == end)
            .map(|(_, epoch)| *epoch)
    }

    /// The log is about to restart: nothing is fetched, nobody becomes candidate.
    pub fn is_installing(&self) -> bool {
        self.saving.iter().any(|saving| saving.install)
    }

    /// Something is not durable yet.
    pub fn is_saving(&self) -> bool {
        !self.saving.is_empty()
    }

    /// Counts syncs from the beginning, if none is under way.
    pub fn forget_age(&mut self) {
        if self.saving.is_empty() {
            self.next_seq = 1;
        }
    }

    fn ask(&mut self, target: SyncTarget, out: &mut Outbox) -> u64 {
        let seq = self.next_seq;
        self.next_seq += SEQ_STEP;
        out.sync(SyncOwner::Quorum, seq, target);
        seq
    }

    /// Makes a written `.part` file durable under its final name.
    pub fn save(&mut self, id: SnapshotId, file: FileId, install: bool, out: &mut Outbox) {
        let seq = self.ask(SyncTarget::File(file), out);
        self.saving.push(Saving {
            id,
            step: Step::File(file),
            seq,
            install,
        });
    }
}

/// Path of a complete snapshot.
pub(super) fn path(id: SnapshotId) -> String {
    format!("{METADATA_DIR}/{:020}-{:010}.checkpoint", id.0, id.1.0)
}

/// Path of one that is not complete.
pub(super) fn part_path(id: SnapshotId) -> String {
    format!("{}.part", path(id))
}

fn parse_name(name: &str) -> Option<SnapshotId> {
    let (end, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
    (end.len() == 20 && epoch.len() == 10).then_some(())?;
    Some((end.parse().ok()?, LeaderEpoch(epoch.parse().ok()?)))
}

impl Quorum {
    /// The newest complete snapshot: its end offset (exclusive) and epoch.
    pub fn latest_snapshot(&self) -> Option<SnapshotId> {
        self.snapshots.newest()
    }

    /// Its record batches, from the header record to the footer record.
    ///
    /// Errors: `OutOfRange` if there is no such snapshot.
    pub fn read_snapshot(&mut self, id: SnapshotId, disk: &mut dyn Disk) -> Result<Bytes, LogError> {
        if !self.snapshots.has(id) {
            return Err(LogError::OutOfRange);
        }
        let file = disk.open(&path(id), false).map_err(LogError::Disk)?;
        let len = usize::try_from(disk.len(file)).unwrap_or(usize::MAX);
        let bytes = disk.read_at(file, 0, len);
        disk.close(file);
        bytes.map_err(LogError::Disk)
    }

    /// Writes a snapshot: `values` are the state after all records below `end_offset`, which must be committed;
    /// `epoch` is that of the last of them. [`Note::SnapshotWritten`] tells of its completion, after which the log may
    /// begin there. Nothing happens if one that is as new exists or is under way.
    pub fn write_snapshot(
        &mut self,
        end_offset: Offset,
        epoch: LeaderEpoch,
        values: &[Bytes],
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let newest = self
            .snapshots
            .newest()
            .into_iter()
            .chain(self.snapshots.saving.iter().map(|saving| saving.id))
            .max();
        if newest.is_some_and(|newest| newest.0 >= end_offset) {
            return Ok(());
        }
        assert!(
            self.high_watermark.is_some_and(|committed| end_offset <= committed),
            "a snapshot of records that are not committed"
        );
        let id = (end_offset, epoch);
        let content = render(epoch, values, now);
        let file = disk.open(&part_path(id), true).map_err(LogError::Disk)?;
        disk.set_len(file, 0).map_err(LogError::Disk)?;
        disk.write_at(file, 0, &content).map_err(LogError::Disk)?;
        self.snapshots.save(id, file, false, out);
        self.pump(now, disk, out)
    }

    /// At the start: a snapshot that was found may have a name that is not durable yet, and a log that does not know
    /// of it. Both are put in order when the directory is synced.
    pub(super) fn adopt_snapshots_at_open(&mut self, out: &mut Outbox) -> Result<(), LogError> {
        let Some(newest) = self.snapshots.newest() else {
            return if self.log.log_start_offset() == 0 {
                Ok(())
            } else {
                Err(LogError::Invalid(
                    "the metadata log starts after a snapshot that is not there",
                ))
            };
        };
        if newest.0 < self.log.log_start_offset() {
            return Err(LogError::Invalid("the metadata log starts after its newest snapshot"));
        }
        let install = self.is_ahead_of_log(newest);
        if !install {
            self.high_watermark = Some(newest.0.min(self.log.log_end_offset()));
        }
        let seq = self.snapshots.ask(SyncTarget::Dir(METADATA_DIR.to_owned()), out);
        self.snapshots.saving.push(Saving {
            id: newest,
            step: Step::Dir,
            seq,
            install,
        });
        Ok(())
    }

    /// Whether the log lacks what the snapshot has.
    pub(super) fn is_ahead_of_log(&self, id: SnapshotId) -> bool {
        (id.1, id.0) > (self.last_epoch(), self.log.log_end_offset())
    }

    pub(super) fn on_snapshot_synced(
        &mut self,
        seq: u64,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let Some(at) = self.snapshots.saving.iter().position(|saving| saving.seq == seq) else {
            return Ok(());
        };
        let saving = self.snapshots.saving[at].clone();
        match saving.step {
            Step::File(file) => {
                disk.close(file);
                disk.rename(&part_path(saving.id), &path(saving.id))
                    .map_err(LogError::Disk)?;
                let seq = self.snapshots.ask(SyncTarget::Dir(METADATA_DIR.to_owned()), out);
                self.snapshots.saving[at] = Saving {
                    seq,
                    step: Step::Dir,
                    ..saving
                };
                Ok(())
            }
            Step::Dir => {
                self.snapshots.saving.remove(at);
                self.complete_snapshot(saving.id, saving.install, now, disk, out)
            }
        }
    }

    fn complete_snapshot(
        &mut self,
        id: SnapshotId,
        install: bool,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let is_new = !self.snapshots.has(id);
        // Decided before it is listed: an empty log must not borrow the epoch of this very snapshot.
        let ahead = self.is_ahead_of_log(id);
        if is_new {
            self.snapshots.complete.push(id);
            self.snapshots.complete.sort_unstable();
        }
        if install && ahead {
            assert!(
                self.high_watermark.is_none_or(|committed| committed <= id.0),
                "a snapshot that ends at {} replaces a log that is committed up to {:?}",
                id.0,
                self.high_watermark,
            );
            self.log.restart_at(id.0, disk, out)?;
            self.flush_asked = self.log.recovery_point().min(self.log.log_end_offset());
        }
        if install {
            self.learn_high_watermark(id.0, out);
        } else if is_new {
            out.note(Note::SnapshotWritten {
                end_offset: id.0,
                epoch: id.1,
            });
        }
        self.clean(now, disk, out)
    }

    /// Forgets snapshots and records that nobody needs.
    fn clean(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        let excess = self.snapshots.complete.len().saturating_sub(KEPT);
        for id in self.snapshots.complete.drain(..excess) {
            disk.remove(&path(id)).map_err(LogError::Disk)?;
        }
        if let Some((end, _)) = self.snapshots.oldest()
            && end > self.log.log_start_offset()
            && end <= self.log.log_end_offset()
        {
            self.log.advance_log_start(end, now, disk, out)?;
        }
        self.parked_stale = true;
        Ok(())
    }
}

/// Header record, the state in batches, footer record; offsets count from 0, the epoch is the snapshot's.
fn render(epoch: LeaderEpoch, values: &[Bytes], now: Now) -> Bytes {
    let mut content = BytesMut::new();
    let mut next_offset = 0;
    let mut put = |batch: &Bytes, records: usize| {
        content.extend_from_slice(&batch::assign(batch, next_offset, epoch));
        next_offset += records as Offset;
    };
    put(&control::snapshot_header(now), 1);
    let mut records = Vec::new();
    let mut bytes = 0;
    for value in values {
        bytes += value.len();
        records.push((now.wall_ms, None, Some(value.clone())));
        if bytes >= BATCH_BYTES {
            put(&batch::build(&records, None, false), records.len());
            records.clear();
            bytes = 0;
        }
    }
    if !records.is_empty() {
        put(&batch::build(&records, None, false), records.len());
    }
    put(&control::snapshot_footer(now), 1);
    content.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let id = (120, LeaderEpoch(3));
        assert_eq!(
            path(id),
            "__cluster_metadata-0/00000000000000000120-0000000003.checkpoint"
        );
        assert_eq!(parse_name("00000000000000000120-0000000003.checkpoint"), Some(id));
        for other in [
            "00000000000000000120-0000000003.checkpoint.part",
            "120-3.checkpoint",
            "00000000000000000120.log",
            "quorum-state",
        ] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
