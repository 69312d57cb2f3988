//! The leader's side of replication: fetches of voters and observers.
//!
//! ```text
//!   fetch (offset, epoch of the record before it)
//!     ├─ below our log start, or of an epoch before it ──▶ id of our newest snapshot
//!     ├─ our log never held that ────────────────────────▶ diverging epoch: where our largest such epoch ends
//!     └─ a prefix of our log: progress counts ───────────▶ records, or wait for news (records, high watermark)
//! ```
//!
//! Guarantees: only an offset that fits our log counts as progress; a waiting fetch is answered when the high watermark
//! moves past what its sender was told, so that followers commit without delay. Deliberately does not know how a
//! follower writes.
//!
//! Sources: KIP-595 (Fetch); KIP-630 (snapshot id in Fetch); KIP-1166 (high watermark in Fetch); Kafka's
//! `ReplicatedLog.validateOffsetAndEpoch`, `KafkaRaftClient.tryCompleteFetchRequest`.

use super::Quorum;
use super::message::{self, SnapshotId};
use super::state::{Progress, Role};
use crate::disk::Disk;
use crate::log::LogError;
use crate::machine::Outbox;
use crate::types::{LeaderEpoch, METADATA_TOPIC, METADATA_TOPIC_ID, Nanos, NodeId, Now, Offset, RequestId};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::{FetchRequest, FetchResponse, fetch_response};

/// A fetch that waits for news.
#[derive(Clone, Debug, Hash)]
pub(super) struct Parked {
    pub id: RequestId,
    pub deadline: Nanos,
    /// The epoch in which it came: when that is over it is answered with an error.
    epoch: LeaderEpoch,
    ask: Ask,
}

/// What a fetch asks for.
#[derive(Clone, Copy, Debug, Hash)]
struct Ask {
    /// None: not a replica; it sees committed records only.
    replica: Option<NodeId>,
    offset: Offset,
    last_epoch: LeaderEpoch,
    max_bytes: usize,
    /// The high watermark that the sender knows, as far as we know.
    knows: Option<Offset>,
}

/// How a fetch position stands to our log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Prefix,
    Diverging(LeaderEpoch, Offset),
    Snapshot(SnapshotId),
}

impl Quorum {
    /// Epoch of the record before our log end; 0 in an empty log without snapshot.
    pub(super) fn last_epoch(&self) -> LeaderEpoch {
        let end = self.log.log_end_offset();
        match self.snapshots.ending_at(end) {
            Some(epoch) if end == self.log.log_start_offset() => epoch,
            _ => self.log.last_epoch().unwrap_or_default(),
        }
    }

    /// First offset that we can replicate; what is below is in the oldest snapshot.
    fn first_offset(&self) -> Offset {
        self.log
            .log_start_offset()
            .max(self.snapshots.oldest().map_or(0, |(end, _)| end))
    }

    /// End of our largest epoch that is at most `epoch`. Below the log's first epoch, the snapshot before it speaks.
    pub(super) fn end_of_epoch(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        let start = self.first_offset();
        match (self.log.end_offset_for_epoch(epoch), self.snapshots.ending_at(start)) {
            (Some((found, end)), _) if end >= start => (found, end),
            (_, Some(before)) if before <= epoch => (before, start),
            _ => (LeaderEpoch(0), start),
        }
    }

    fn fit(&self, offset: Offset, last_epoch: LeaderEpoch) -> Fit {
        let start = self.first_offset();
        if let (Some(oldest), Some(newest)) = (self.snapshots.oldest(), self.snapshots.newest()) {
            let before = self.snapshots.ending_at(start);
            let misses_start = offset == start && before.is_some_and(|before| before != last_epoch);
            if offset < start || misses_start || last_epoch < oldest.1 {
                return Fit::Snapshot(newest);
            }
        }
        let (epoch, end) = self.end_of_epoch(last_epoch);
        if epoch != last_epoch || end < offset {
            Fit::Diverging(epoch, end)
        } else {
            Fit::Prefix
        }
    }

    pub(super) fn handle_fetch(
        &mut self,
        id: RequestId,
        request: &FetchRequest,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        if !self.is_our_cluster(request.cluster_id.as_ref()) {
            let error = message::code(Some(ResponseError::InconsistentClusterId));
            self.reply(id, FetchResponse::default().with_error_code(error), out);
            return Ok(());
        }
        let Some(partition) = partition(request) else {
            return self.refuse_fetch(id, ResponseError::InvalidRequest, out);
        };
        if partition.fetch_offset < 0 || partition.last_fetched_epoch < 0 || request.max_wait_ms < 0 {
            return self.refuse_fetch(id, ResponseError::InvalidRequest, out);
        }
        if let Err(error) = self.check_leads(LeaderEpoch(partition.current_leader_epoch)) {
            return self.refuse_fetch(id, error, out);
        }
        let replica = message::node(request.replica_state.replica_id).or(message::node(request.replica_id));
        let mut ask = Ask {
            replica,
            offset: partition.fetch_offset,
            last_epoch: LeaderEpoch(partition.last_fetched_epoch),
            max_bytes: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
            knows: None,
        };
        let fit = self.fit(ask.offset, ask.last_epoch);
        let told = self.note_fetch(replica, (fit == Fit::Prefix).then_some(ask.offset), now);
        ask.knows = match partition.high_watermark {
            Offset::MAX => told,
            known => (known >= 0).then_some(known),
        };
        // The high watermark may move by this very fetch; then there is news for its sender.
        self.advance_high_watermark(out);
        if fit != Fit::Prefix || request.max_wait_ms == 0 || self.has_news(&ask) {
            return self.answer_fetch(id, ask, disk, out);
        }
        let deadline = now.mono.plus_ms(request.max_wait_ms.unsigned_abs().into());
        self.parked.push(Parked {
            id,
            deadline,
            epoch: self.epoch(),
            ask,
        });
        Ok(())
    }

    fn refuse_fetch(&mut self, id: RequestId, error: ResponseError, out: &mut Outbox) -> Result<(), LogError> {
        let partition = message::fetch_partition(Some(error), self.store.election());
        self.reply(id, message::fetch_response(partition), out);
        Ok(())
    }

    /// Whether we lead `epoch`.
    pub(super) fn check_leads(&self, epoch: LeaderEpoch) -> Result<(), ResponseError> {
        if epoch < self.epoch() {
            Err(ResponseError::FencedLeaderEpoch)
        } else if epoch > self.epoch() {
            Err(ResponseError::UnknownLeaderEpoch)
        } else if !self.is_leader() {
            Err(ResponseError::NotLeaderOrFollower)
        } else {
            Ok(())
        }
    }

    /// A replica lives; if its log is a prefix of ours, all below `reached` is flushed there. Returns the high
    /// watermark that it was last told.
    pub(super) fn note_fetch(&mut self, replica: Option<NodeId>, reached: Option<Offset>, now: Now) -> Option<Offset> {
        let log_end = self.log.log_end_offset();
        let majority = self.majority();
        let quorum_again = self.check_quorum_deadline(now);
        let replica = replica.filter(|replica| *replica != self.me)?;
        let is_voter = self.voters.binary_search(&replica).is_ok();
        let Role::Leader(leader) = &mut self.role else {
            return None;
        };
        let progress = leader.progress.entry(replica).or_insert_with(Progress::default);
        progress.fetched_at = now.mono;
        progress.fetched_wall_ms = now.wall_ms;
        if let Some(reached) = reached {
            assert!(
                reached <= log_end,
                "a follower's log is longer than the leader's, and a prefix of it"
            );
            self.commit_stale |= is_voter && progress.end_offset != reached;
            progress.end_offset = reached;
            if reached == log_end {
                progress.caught_up_wall_ms = Some(now.wall_ms);
            }
        }
        let told = progress.told;
        if is_voter {
            leader.to_tell.remove(&replica);
            leader.heard.insert(replica);
            if leader.heard.len() + 1 >= majority {
                leader.heard.clear();
                leader.check_quorum = quorum_again;
            }
        }
        told
    }

    /// The high watermark that we show: none before a record of our own epoch is committed.
    fn shown_high_watermark(&self) -> Option<Offset> {
        match &self.role {
            Role::Leader(leader) if leader.committed_own => self.high_watermark,
            _ => None,
        }
    }

    fn has_news(&self, ask: &Ask) -> bool {
        let shown = self.shown_high_watermark();
        let end = if ask.replica.is_some() {
            self.log.log_end_offset()
        } else {
            shown.unwrap_or(0)
        };
        ask.offset < end || (ask.replica.is_some() && shown > ask.knows)
    }

    fn answer_fetch(&mut self, id: RequestId, ask: Ask, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        let shown = self.shown_high_watermark();
        let mut partition = message::fetch_partition(None, self.store.election())
            .with_high_watermark(shown.unwrap_or(-1))
            .with_log_start_offset(self.log.log_start_offset());
        match self.fit(ask.offset, ask.last_epoch) {
            Fit::Prefix => {
                let upto = if ask.replica.is_some() {
                    self.log.log_end_offset()
                } else {
                    shown.unwrap_or(0)
                };
                if ask.offset < upto {
                    match self.log.read(ask.offset, upto, ask.max_bytes, true, disk) {
                        Ok(records) => partition.records = Some(records),
                        Err(LogError::Disk(error)) => return Err(LogError::Disk(error)),
                        Err(_) => return self.refuse_fetch(id, ResponseError::OffsetOutOfRange, out),
                    }
                }
            }
            Fit::Diverging(epoch, end) => {
                partition.diverging_epoch = fetch_response::EpochEndOffset::default()
                    .with_epoch(epoch.0)
                    .with_end_offset(end);
            }
            Fit::Snapshot((end, epoch)) => {
                partition.snapshot_id = fetch_response::SnapshotId::default()
                    .with_end_offset(end)
                    .with_epoch(epoch.0);
            }
        }
        if let Role::Leader(leader) = &mut self.role
            && let Some(progress) = ask.replica.and_then(|replica| leader.progress.get_mut(&replica))
        {
            progress.told = shown;
        }
        self.reply(id, message::fetch_response(partition), out);
        Ok(())
    }

    /// After news: answers the waiting fetches that it concerns.
    pub(super) fn answer_parked(&mut self, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        if !std::mem::take(&mut self.parked_stale) || self.parked.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.parked);
        for parked in waiting {
            if let Err(error) = self.check_leads(parked.epoch) {
                self.refuse_fetch(parked.id, error, out)?;
            } else if self.has_news(&parked.ask) || self.fit(parked.ask.offset, parked.ask.last_epoch) != Fit::Prefix {
                self.answer_fetch(parked.id, parked.ask, disk, out)?;
            } else {
                self.parked.push(parked);
            }
        }
        Ok(())
    }

    /// Waiting fetches whose time is over get what there is.
    pub(super) fn answer_expired(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        while let Some(at) = self.parked.iter().position(|parked| parked.deadline <= now.mono) {
            let parked = self.parked.remove(at);
            match self.check_leads(parked.epoch) {
                Ok(()) => self.answer_fetch(parked.id, parked.ask, disk, out)?,
                Err(error) => self.refuse_fetch(parked.id, error, out)?,
            }
        }
        Ok(())
    }
}

/// The metadata partition of a fetch, if it is the only one in it.
fn partition(request: &FetchRequest) -> Option<&FetchPartition> {
    let [topic] = request.topics.as_slice() else {
        return None;
    };
    let [partition] = topic.partitions.as_slice() else {
        return None;
    };
    let is_metadata = topic.topic_id == METADATA_TOPIC_ID || topic.topic.0 == *METADATA_TOPIC;
    (is_metadata && partition.partition == 0).then_some(partition)
}
