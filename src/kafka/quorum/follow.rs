//! The follower's side of replication: fetch, append, flush, fetch again.
//!
//! Guarantees: a voter's fetch goes out only when all of its log is flushed, since the fetch offset tells the leader
//! that it is; an answer counts only in the epoch, from the leader and at the log end that it was asked for; the log is
//! never cut below the high watermark (KAFKA-12460). Deliberately does not know why the leader answers as it does.
//!
//! Sources: KIP-595; KAFKA-10533 (flush before fetch), KAFKA-10842 (stale answers), KAFKA-18723 (epochs above the
//! leader's are refused); Kafka's `ReplicatedLog.truncateToEndOffset`.

use super::Quorum;
use super::calls::Asked;
use super::message::{self, Sender};
use super::state::Role;
use crate::disk::Disk;
use crate::log::LogError;
use crate::machine::{Channel, Outbox};
use crate::note::{Note, TruncateReason};
use crate::types::{LeaderEpoch, METADATA_PARTITION, NodeId, Now, Offset};
use kafka_protocol::messages::{FetchResponse, fetch_response};

/// The longest a fetch waits at the leader (Kafka's `MAX_FETCH_WAIT_MS`).
pub(super) const MAX_FETCH_WAIT_MS: u64 = 500;
/// Patience with somebody who may not know the leader either.
const PROBE_TIMEOUT_MS: u64 = 500;

impl Quorum {
    /// Fetches from the leader; without one, asks around.
    pub(super) fn call_leader(&mut self, out: &mut Outbox) {
        if self.snapshots.is_installing() || (self.is_voter() && self.log.recovery_point() < self.log.log_end_offset())
        {
            return;
        }
        let (to, wait_ms) = match &self.role {
            // Half of our patience, so that a quiet leader is not taken for a dead one.
            Role::Follower { leader, .. } => (*leader, MAX_FETCH_WAIT_MS.min(self.timeouts.fetch_ms / 2)),
            Role::Unattached { .. } => match self.somebody() {
                Some(node) => (node, 0),
                None => return,
            },
            _ => return,
        };
        if !self.calls.is_ready(Channel::Quorum, to) {
            return;
        }
        let timeout_ms = if wait_ms == 0 {
            self.timeouts.request_ms.min(PROBE_TIMEOUT_MS)
        } else {
            self.timeouts.request_ms
        };
        let max_bytes = self.max_fetch_bytes;
        let sender = Sender {
            cluster_id: &self.cluster_id,
            me: self.me,
            epoch: self.epoch(),
        };
        let (asked, request) = match &self.download {
            Some(download) => {
                let asked = Asked::Piece {
                    epoch: sender.epoch,
                    position: download.position,
                };
                (asked, sender.fetch_snapshot(download.id, download.position, max_bytes))
            }
            None => {
                let offset = self.log.log_end_offset();
                let request = sender.fetch(
                    offset,
                    self.last_epoch(),
                    self.log.log_start_offset(),
                    self.high_watermark.unwrap_or(-1),
                    i32::try_from(wait_ms).expect("at most 500"),
                    max_bytes,
                );
                (
                    Asked::Fetch {
                        epoch: sender.epoch,
                        offset,
                    },
                    request,
                )
            }
        };
        self.send(to, Channel::Quorum, asked, request, timeout_ms, out);
    }

    /// A voter to ask who leads; None while another one is being asked.
    fn somebody(&mut self) -> Option<NodeId> {
        // One at a time, and with a rest between two.
        if self.calls.is_fetching(self.epoch()) || self.calls.is_resting(Channel::Quorum) {
            return None;
        }
        let ready: Vec<NodeId> = self
            .voters
            .iter()
            .copied()
            .filter(|voter| *voter != self.me && self.calls.is_ready(Channel::Quorum, *voter))
            .collect();
        let chosen = self.entropy.below(ready.len() as u64);
        ready.get(usize::try_from(chosen).expect("below a length")).copied()
    }

    pub(super) fn on_fetch_response(
        &mut self,
        from: NodeId,
        asked: Asked,
        mut response: FetchResponse,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let partition = match response.responses.as_mut_slice() {
            [topic] if response.error_code == 0 => match topic.partitions.as_mut_slice() {
                [partition] if partition.partition_index == 0 => std::mem::take(partition),
                _ => {
                    self.calls.rest(Channel::Quorum, from, now);
                    return Ok(());
                }
            },
            _ => {
                self.calls.rest(Channel::Quorum, from, now);
                return Ok(());
            }
        };
        let known = &partition.current_leader;
        let (epoch, leader) = (LeaderEpoch(known.leader_epoch), message::node(known.leader_id));
        let leader_before = self.leader();
        self.hear_epoch(epoch, leader, now, out);
        if partition.error_code != 0 {
            // With a new leader to turn to there is nothing to wait for.
            if self.leader() == leader_before || self.leader().is_none() {
                self.calls.rest(Channel::Quorum, from, now);
            }
            return Ok(());
        }
        let Asked::Fetch {
            epoch: asked_epoch,
            offset,
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
            } if *leader == from && epoch == current && asked_epoch == current => {
                *deadline = patience;
                *fetched = true;
            }
            _ => return Ok(()),
        }
        if offset != self.log.log_end_offset() || self.snapshots.is_installing() || self.download.is_some() {
            return Ok(());
        }
        self.take_fetched(from, partition, now, disk, out)
    }

    fn take_fetched(
        &mut self,
        from: NodeId,
        partition: fetch_response::PartitionData,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let diverging = &partition.diverging_epoch;
        let snapshot = &partition.snapshot_id;
        if diverging.epoch >= 0 && diverging.end_offset >= 0 {
            return self.truncate_to_leader(LeaderEpoch(diverging.epoch), diverging.end_offset, disk, out);
        }
        if snapshot.epoch >= 0 && snapshot.end_offset >= 0 {
            return self.start_download(from, (snapshot.end_offset, LeaderEpoch(snapshot.epoch)), now, disk);
        }
        if let Some(records) = partition.records.filter(|records| !records.is_empty()) {
            match self.log.append_as_follower(&records, self.epoch(), now, disk, out) {
                Ok(_) => {}
                Err(LogError::Disk(error)) => return Err(LogError::Disk(error)),
                // Bad bytes on the way: what was good of them is in the log, the rest is asked for again.
                Err(_) => self.calls.rest(Channel::Quorum, from, now),
            }
        }
        self.learn_high_watermark(partition.high_watermark, out);
        Ok(())
    }

    /// Our log is not a prefix of the leader's: cuts it where the two last agree, or at least further down.
    fn truncate_to_leader(
        &mut self,
        epoch: LeaderEpoch,
        end: Offset,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        out.note(Note::DivergenceFound {
            partition: METADATA_PARTITION,
            epoch,
            end_offset: end,
        });
        let (own_epoch, own_end) = self.end_of_epoch(epoch);
        let to = if own_epoch == epoch { own_end.min(end) } else { own_end };
        let to = to.min(self.log.log_end_offset());
        // IMPORTANT: what is committed is on a majority, and so in the log of every leader. A leader that lacks it owes
        // its office to a disk that forgot; Kafka's nodes stop here, and so does this one, with its log untouched.
        let below = |end: Offset| self.high_watermark.is_some_and(|committed| end < committed);
        if below(to) {
            return Err(LogError::Invalid(
                "the quorum's leader wants the log cut below the high watermark",
            ));
        }
        self.log.truncate_to(to, TruncateReason::Divergence, disk, out)?;
        // A batch goes whole, and no committed one holds the cut, unless a disk has changed it.
        if below(self.log.log_end_offset()) {
            return Err(LogError::Invalid(
                "a batch of the metadata log holds the high watermark",
            ));
        }
        // A flush under way may or may not count after a truncation: what is not durable yet is asked for again.
        self.flush_asked = self.log.recovery_point().min(to);
        Ok(())
    }
}
