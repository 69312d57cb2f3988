//! FetchSnapshot: a snapshot travels in pieces, from the leader to a replica whose log would start too late.
//!
//! Guarantees: what is installed has been checked batch by batch and ends with its last byte; a piece that does not
//! continue what is there ends the download, and the next fetch starts over. Deliberately does not know how a snapshot
//! becomes durable (snapshot.rs).
//!
//! Sources: KIP-630 (FetchSnapshot).

use super::calls::Asked;
use super::message::{self, SnapshotId, metadata_partition};
use super::state::Role;
use super::{Quorum, snapshot};
use crate::disk::{Disk, FileId};
use crate::log::LogError;
use crate::machine::{Channel, Outbox};
use crate::types::{LeaderEpoch, NodeId, Now, RequestId};
use crate::wire::batch;
use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{FetchSnapshotRequest, FetchSnapshotResponse, fetch_snapshot_response};

/// A snapshot on its way to us.
#[derive(Clone, Debug, Hash)]
pub(super) struct Download {
    pub id: SnapshotId,
    file: FileId,
    /// Bytes so far.
    pub position: i64,
}

impl Quorum {
    // --- leader ----------------------------------------------------------------------------------------------

    pub(super) fn handle_fetch_snapshot(
        &mut self,
        id: RequestId,
        request: &FetchSnapshotRequest,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        if !self.is_our_cluster(request.cluster_id.as_ref()) {
            let error = message::code(Some(ResponseError::InconsistentClusterId));
            self.reply(id, FetchSnapshotResponse::default().with_error_code(error), out);
            return Ok(());
        }
        let Some(asked) = metadata_partition!(request.topics, name, partition) else {
            let error = message::code(Some(ResponseError::InvalidRequest));
            self.reply(id, FetchSnapshotResponse::default().with_error_code(error), out);
            return Ok(());
        };
        let wanted = (asked.snapshot_id.end_offset, LeaderEpoch(asked.snapshot_id.epoch));
        let known = self.store.election();
        let partition = match self.check_leads(LeaderEpoch(asked.current_leader_epoch)) {
            Err(error) => message::piece(Some(error), known, wanted),
            Ok(()) => {
                self.note_fetch(message::node(request.replica_id), None, now);
                match self.read_piece(wanted, asked.position, request.max_bytes, disk)? {
                    Err(error) => message::piece(Some(error), known, wanted),
                    Ok((bytes, size)) => message::piece(None, known, wanted)
                        .with_size(size)
                        .with_position(asked.position)
                        .with_unaligned_records(bytes),
                }
            }
        };
        self.reply(id, message::fetch_snapshot_response(partition), out);
        Ok(())
    }

    /// Bytes from `position`, and the size of the whole.
    fn read_piece(
        &mut self,
        id: SnapshotId,
        position: i64,
        max_bytes: i32,
        disk: &mut dyn Disk,
    ) -> Result<Result<(Bytes, i64), ResponseError>, LogError> {
        if !self.snapshots.has(id) {
            return Ok(Err(ResponseError::SnapshotNotFound));
        }
        let file = disk.open(&snapshot::path(id), false).map_err(LogError::Disk)?;
        let size = i64::try_from(disk.len(file)).unwrap_or(i64::MAX);
        if !(0..size).contains(&position) {
            disk.close(file);
            return Ok(Err(ResponseError::PositionOutOfRange));
        }
        let max_bytes = usize::try_from(max_bytes).unwrap_or(0).max(1);
        let bytes = disk.read_at(file, position.unsigned_abs(), max_bytes);
        disk.close(file);
        Ok(Ok((bytes.map_err(LogError::Disk)?, size)))
    }

    // --- follower --------------------------------------------------------------------------------------------

    pub(super) fn start_download(
        &mut self,
        from: NodeId,
        id: SnapshotId,
        now: Now,
        disk: &mut dyn Disk,
    ) -> Result<(), LogError> {
        if !self.is_ahead_of_log(id) || self.snapshots.has(id) {
            self.calls.rest(Channel::Quorum, from, now);
            return Ok(());
        }
        let file = disk.open(&snapshot::part_path(id), true).map_err(LogError::Disk)?;
        disk.set_len(file, 0).map_err(LogError::Disk)?;
        self.download = Some(Download { id, file, position: 0 });
        Ok(())
    }

    /// The `.part` file stays until it is written anew or the process starts again.
    pub(super) fn drop_download(&mut self) {
        self.unused.extend(self.download.take().map(|download| download.file));
    }

    pub(super) fn on_piece_response(
        &mut self,
        from: NodeId,
        asked: Asked,
        mut response: FetchSnapshotResponse,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let Some(piece) = take_piece(&mut response) else {
            self.drop_download();
            self.calls.rest(Channel::Quorum, from, now);
            return Ok(());
        };
        let epoch = LeaderEpoch(piece.current_leader.leader_epoch);
        self.hear_epoch(epoch, message::node(piece.current_leader.leader_id), now, out);
        let Asked::Piece {
            epoch: asked_epoch,
            position,
        } = asked
        else {
            self.calls.rest(Channel::Quorum, from, now);
            return Ok(());
        };
        let patience = now.mono.plus_ms(self.timeouts.fetch_ms);
        let current = self.epoch();
        match &mut self.role {
            Role::Follower {
                leader,
                deadline,
                fetched,
            } if *leader == from && asked_epoch == current && epoch == current => {
                *deadline = patience;
                *fetched = true;
            }
            _ => return Ok(()),
        }
        let Some(download) = &mut self.download else {
            return Ok(());
        };
        let fits = piece.error_code == 0
            && (piece.snapshot_id.end_offset, LeaderEpoch(piece.snapshot_id.epoch)) == download.id
            && piece.position == download.position
            && position == download.position
            && !piece.unaligned_records.is_empty();
        if !fits {
            self.drop_download();
            self.calls.rest(Channel::Quorum, from, now);
            return Ok(());
        }
        disk.write_at(
            download.file,
            download.position.unsigned_abs(),
            &piece.unaligned_records,
        )
        .map_err(LogError::Disk)?;
        download.position += piece.unaligned_records.len() as i64;
        if download.position >= piece.size {
            self.finish_download(from, now, disk, out)?;
        }
        Ok(())
    }

    fn finish_download(
        &mut self,
        from: NodeId,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let Some(download) = self.download.take() else {
            return Ok(());
        };
        let len = usize::try_from(download.position).unwrap_or(0);
        let content = disk.read_at(download.file, 0, len).map_err(LogError::Disk)?;
        if is_whole(&content) {
            self.snapshots.save(download.id, download.file, true, out);
        } else {
            disk.close(download.file);
            self.calls.rest(Channel::Quorum, from, now);
        }
        Ok(())
    }
}

fn take_piece(response: &mut FetchSnapshotResponse) -> Option<fetch_snapshot_response::PartitionSnapshot> {
    match response.topics.as_mut_slice() {
        [topic] if response.error_code == 0 => match topic.partitions.as_mut_slice() {
            [piece] if piece.index == 0 => Some(std::mem::take(piece)),
            _ => None,
        },
        _ => None,
    }
}

/// Every byte belongs to a batch with a good checksum, and there is one.
fn is_whole(content: &[u8]) -> bool {
    let mut rest = content;
    while !rest.is_empty() {
        match batch::check(rest) {
            Ok(header) if header.size() <= rest.len() => rest = &rest[header.size()..],
            _ => return false,
        }
    }
    !content.is_empty()
}
