//! One replica: its log, its high watermark, and whether it leads or follows.
//!
//! ```text
//!              make_leader (new leader epoch)              AlterPartition
//!   Follower ────────────────────────────────▶ Leader { Committed ⇄ Proposed }
//!            ◀────────────────────────────────
//!              make_follower
//! ```
//!
//! Guarantees: log start <= high watermark <= log end; metadata older than what is known is ignored; a leader's high
//! watermark never goes back in its epoch and passes only what every member of the maximal ISR holds; a follower's
//! moves only after truncation and never beyond its own end.
//! It deliberately does not know requests, responses or fetchers.
//!
//! Sources: Kafka's Partition (KIP-101, KIP-497, KIP-966, KAFKA-7128, KAFKA-7415, KAFKA-13141).

use super::cluster::Cluster;
use super::codes;
use super::epochs::{self, Epochs};
use super::isr::Proposal;
use super::progress::FollowerProgress;
use crate::disk::Disk;
use crate::log::{Log, LogError};
use crate::machine::Outbox;
use crate::note::{Note, PartitionState, TruncateReason};
use crate::rules::Rule;
use crate::types::{BrokerEpoch, LeaderEpoch, Nanos, NodeId, Now, Offset, PartitionEpoch, TopicPartition};
use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

/// What only a leader has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leadership {
    /// The log end when this leader epoch began: nothing below it was written by us in this epoch.
    pub epoch_start_offset: Offset,
    /// All other assigned replicas, by id.
    pub followers: Vec<FollowerProgress>,
    /// An ISR that the controller has been asked for and has not answered.
    pub proposal: Option<Proposal>,
}

/// Leads or follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes writes.
    Leader(Leadership),
    /// Copies a leader, or waits for one.
    Follower,
}

/// What new metadata did to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Older than what is known: ignored.
    Stale,
    /// Same leader epoch.
    SameEpoch,
    /// A new leader epoch.
    NewEpoch,
}

/// One replica on this broker.
#[derive(Clone, Debug, Hash)]
pub struct Partition {
    id: TopicPartition,
    topic: StrBytes,
    dir: String,
    pub(super) log: Log,
    high_watermark: Offset,
    min_insync_replicas: usize,
    state: PartitionState,
    pub(super) role: Role,
    /// The highest recovery point that its checkpoint may say after a crash.
    pub(super) claimed_recovery_point: Offset,
    /// When the manager will look at the log's own deadline.
    pub(super) log_deadline: Option<Nanos>,
}

impl Partition {
    /// A replica whose role is not known yet. The high watermark comes from its checkpoint: no more than a hint, so
    /// it is kept within the log.
    pub fn new(
        id: TopicPartition,
        topic: StrBytes,
        dir: String,
        log: Log,
        checkpoint: Offset,
        min_isr: i64,
    ) -> Partition {
        let high_watermark = checkpoint.clamp(log.log_start_offset(), log.log_end_offset());
        let state = PartitionState {
            leader: None,
            leader_epoch: LeaderEpoch(-1),
            partition_epoch: PartitionEpoch(-1),
            replicas: Vec::new(),
            isr: Vec::new(),
            elr: Vec::new(),
        };
        Partition {
            id,
            topic,
            dir,
            log,
            high_watermark,
            min_insync_replicas: usize::try_from(min_isr).unwrap_or(1),
            state,
            role: Role::Follower,
            claimed_recovery_point: 0,
            log_deadline: None,
        }
    }

    /// Its name.
    pub fn id(&self) -> TopicPartition {
        self.id
    }
    /// Name of its topic.
    pub fn topic(&self) -> &StrBytes {
        &self.topic
    }
    /// Directory of its files.
    pub fn dir(&self) -> &str {
        &self.dir
    }
    /// Its log.
    pub fn log(&self) -> &Log {
        &self.log
    }
    /// The checkpoint claims more to be durable than is: the log was cut, or is another one of that name. IMPORTANT:
    /// nothing may be appended then, or the recovery after a crash would take over unread what stands below the claim.
    pub fn is_overclaimed(&self) -> bool {
        self.log.recovery_point() < self.claimed_recovery_point
    }
    /// All below it is committed, as far as this replica knows.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }
    /// Leads or follows.
    pub fn role(&self) -> &Role {
        &self.role
    }
    /// Whether this broker leads it.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }
    /// The last committed state that is known; -1 epochs before the first.
    pub fn state(&self) -> &PartitionState {
        &self.state
    }
    /// The leader epoch that it is in.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.state.leader_epoch
    }
    /// The committed ISR.
    pub fn isr(&self) -> &[NodeId] {
        &self.state.isr
    }
    /// What only a leader has.
    pub fn leadership(&self) -> Option<&Leadership> {
        match &self.role {
            Role::Leader(leadership) => Some(leadership),
            Role::Follower => None,
        }
    }
    /// The followers as their leader sees them; nothing if this is not the leader.
    pub fn followers(&self) -> &[FollowerProgress] {
        self.leadership().map_or(&[], |leadership| &leadership.followers)
    }
    /// The committed ISR and who is proposed on top of it (KIP-497).
    pub fn maximal_isr(&self) -> Vec<NodeId> {
        let mut isr = self.state.isr.clone();
        if let Some(proposal) = self.leadership().and_then(|leadership| leadership.proposal.as_ref()) {
            isr.extend(proposal.isr.iter().filter(|id| !self.state.isr.contains(id)));
        }
        isr
    }
    /// How many are in it.
    pub fn maximal_isr_size(&self) -> usize {
        let proposal = self.leadership().and_then(|leadership| leadership.proposal.as_ref());
        let joining = proposal.map_or(0, |p| p.isr.iter().filter(|id| !self.state.isr.contains(id)).count());
        self.state.isr.len() + joining
    }
    /// `min.insync.replicas`, but never more than there are replicas.
    pub fn effective_min_isr(&self) -> usize {
        self.min_insync_replicas.min(self.followers().len() + 1)
    }
    /// Too few in-sync replicas for `acks=all`.
    pub fn is_under_min_isr(&self) -> bool {
        self.state.isr.len() < self.effective_min_isr()
    }
    /// Takes over a changed topic configuration.
    pub(super) fn set_min_insync_replicas(&mut self, min_isr: i64) {
        self.min_insync_replicas = usize::try_from(min_isr).unwrap_or(1);
    }

    /// The log, if the request's idea of the leader epoch is ours and, where asked for, we lead.
    pub(super) fn check(&self, requested: Option<LeaderEpoch>, leader_only: bool, out: &mut Outbox) -> Result<(), i16> {
        let current = self.leader_epoch();
        if let Some(requested) = requested
            && requested != current
        {
            out.note(Note::EpochFenced {
                partition: self.id,
                requested,
                current,
            });
            return Err(if requested < current {
                codes::FENCED_LEADER_EPOCH
            } else {
                codes::UNKNOWN_LEADER_EPOCH
            });
        }
        if leader_only && !self.is_leader() {
            return Err(codes::NOT_LEADER_OR_FOLLOWER);
        }
        Ok(())
    }

    /// The largest epoch at most `requested` and its end, by our cache.
    pub fn end_offset_for_epoch(&self, requested: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        epochs::end_offset_for_epoch(self.epochs(), self.log.log_end_offset(), requested)
    }
    /// Our epoch cache.
    pub fn epochs(&self) -> Epochs<'_> {
        self.log.epochs()
    }

    /// Leads from now on, or goes on leading in another state.
    pub(super) fn make_leader(
        &mut self,
        state: &PartitionState,
        cluster: &Cluster,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Transition, LogError> {
        if state.partition_epoch < self.state.partition_epoch || state.leader_epoch < self.state.leader_epoch {
            return Ok(Transition::Stale);
        }
        let new_epoch = state.leader_epoch > self.state.leader_epoch || !self.is_leader();
        // IMPORTANT: the same version again is the echo of an answer that we already took. A proposal made on top of it
        // is in flight: forgetting it here would let the high watermark pass a replica that is just joining.
        if !new_epoch && state.partition_epoch == self.state.partition_epoch {
            self.state = state.clone();
            return Ok(Transition::SameEpoch);
        }
        self.state = state.clone();
        let others = state.replicas.iter().copied().filter(|id| *id != cluster.me);
        if let (Role::Leader(leadership), false) = (&mut self.role, new_epoch) {
            leadership.proposal = None;
            let mut known = std::mem::take(&mut leadership.followers);
            leadership.followers = others
                .map(|id| match known.iter().position(|f| f.id == id) {
                    Some(at) => known.swap_remove(at),
                    None => FollowerProgress::new(id, state.isr.contains(&id), now.mono),
                })
                .collect();
            leadership.followers.sort_by_key(|f| f.id);
            out.note(Note::IsrUpdated {
                partition: self.id,
                state: state.clone(),
            });
            return Ok(Transition::SameEpoch);
        }
        let epoch_start_offset = self.log.log_end_offset();
        // After quick elections a follower may hold an epoch later than any in our log. It must find one above it
        // here, or it would take our end for the end of its own epoch (KAFKA-7415).
        if self.log.last_epoch().is_none_or(|last| last < state.leader_epoch) {
            self.log.assign_epoch(state.leader_epoch, disk, out)?;
        }
        let mut followers: Vec<_> = others
            .map(|id| FollowerProgress::new(id, state.isr.contains(&id), now.mono))
            .collect();
        followers.sort_by_key(|f| f.id);
        self.role = Role::Leader(Leadership {
            epoch_start_offset,
            followers,
            proposal: None,
        });
        out.note(Note::BecameLeader {
            partition: self.id,
            state: state.clone(),
            epoch_start_offset,
            high_watermark: self.high_watermark,
        });
        Ok(Transition::NewEpoch)
    }

    /// Follows from now on, maybe nobody.
    pub(super) fn make_follower(&mut self, state: &PartitionState, out: &mut Outbox) -> Transition {
        if state.partition_epoch < self.state.partition_epoch || state.leader_epoch < self.state.leader_epoch {
            return Transition::Stale;
        }
        let new_epoch = state.leader_epoch > self.state.leader_epoch || self.is_leader();
        self.state = state.clone();
        self.role = Role::Follower;
        if !new_epoch {
            return Transition::SameEpoch;
        }
        let high_watermark = self.high_watermark;
        out.note(Note::BecameFollower {
            partition: self.id,
            state: state.clone(),
            high_watermark,
        });
        Transition::NewEpoch
    }

    /// Recomputes the leader's high watermark; true if it moved.
    ///
    /// It is the smallest log end of the maximal ISR, and of replicas outside that are caught up and about to join:
    /// they could never join if it ran away from them. Below `min.insync.replicas` it rests (KIP-966).
    pub(super) fn advance_high_watermark(&mut self, cluster: &Cluster, now: Nanos, out: &mut Outbox) -> bool {
        let Role::Leader(leadership) = &self.role else {
            return false;
        };
        if self.is_under_min_isr() && !cluster.rules.has(Rule::LastReplicaStanding) {
            return false;
        }
        let end = self.log.log_end_offset();
        // Ours counts like everybody's: with flush.messages only what is durable.
        let own = self.log.returned_end_offset();
        let proposed = leadership.proposal.as_ref().map(|proposal| &proposal.isr);
        let mut lowest = own;
        for follower in &leadership.followers {
            let theirs = follower.log_end_offset.unwrap_or(-1);
            if theirs >= lowest {
                continue;
            }
            let counts = match proposed {
                Some(isr) if cluster.rules.has(Rule::HwFromProposedIsr) => isr.contains(&follower.id),
                Some(isr) => isr.contains(&follower.id) || self.state.isr.contains(&follower.id),
                None => self.state.isr.contains(&follower.id),
            };
            if counts
                || (follower.is_caught_up(end, now, cluster.lag_time_max)
                    && cluster.is_isr_eligible(follower.id, follower.broker_epoch))
            {
                lowest = theirs;
            }
        }
        if lowest <= self.high_watermark {
            return false;
        }
        assert!(lowest <= end, "a follower is credited with more than the leader has");
        self.high_watermark = lowest;
        out.note(Note::HighWatermarkAdvanced {
            partition: self.id,
            to: lowest,
            as_leader: true,
            leader_epoch: self.state.leader_epoch,
        });
        true
    }

    /// Takes over the high watermark that a leader sent, within our own log; true if it changed.
    pub(super) fn follow_high_watermark(&mut self, leaders: Offset, out: &mut Outbox) -> bool {
        assert!(!self.is_leader(), "a leader is told its high watermark by nobody");
        let to = leaders.clamp(self.log.log_start_offset(), self.log.log_end_offset());
        self.set_follower_high_watermark(to, out)
    }

    /// Cuts the log; the high watermark follows it down.
    pub(super) fn truncate_to(
        &mut self,
        to: Offset,
        reason: TruncateReason,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        assert!(!self.is_leader(), "a leader never truncates");
        self.log.truncate_to(to, reason, disk, out)?;
        self.bound_high_watermark(out);
        Ok(())
    }

    /// Empties the log: it starts and ends at `at`.
    pub(super) fn restart_at(&mut self, at: Offset, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        assert!(!self.is_leader(), "a leader never truncates");
        self.log.restart_at(at, disk, out)?;
        self.bound_high_watermark(out);
        Ok(())
    }

    /// Keeps the high watermark within the log after its bounds moved.
    fn bound_high_watermark(&mut self, out: &mut Outbox) {
        let to = self
            .high_watermark
            .clamp(self.log.log_start_offset(), self.log.log_end_offset());
        self.set_follower_high_watermark(to, out);
    }

    /// True if it changed.
    fn set_follower_high_watermark(&mut self, to: Offset, out: &mut Outbox) -> bool {
        if to == self.high_watermark {
            return false;
        }
        let up = to > self.high_watermark;
        self.high_watermark = to;
        out.note(if up {
            let leader_epoch = self.state.leader_epoch;
            Note::HighWatermarkAdvanced {
                partition: self.id,
                to,
                as_leader: false,
                leader_epoch,
            }
        } else {
            Note::HighWatermarkLowered { partition: self.id, to }
        });
        true
    }

    /// Counts a follower's fetch. True if its log end is news.
    ///
    /// Errors: a replica that is not assigned, or an incarnation older than the one that lives (KIP-903).
    pub(super) fn record_fetch(
        &mut self,
        follower: NodeId,
        fetch: (Offset, Offset, BrokerEpoch),
        cluster: &Cluster,
        now: Nanos,
        out: &mut Outbox,
    ) -> Result<bool, i16> {
        let leader_end = self.log.log_end_offset();
        let (offset, log_start, epoch) = fetch;
        let (id, leader_epoch) = (self.id, self.state.leader_epoch);
        let Role::Leader(leadership) = &mut self.role else {
            return Err(codes::NOT_LEADER_OR_FOLLOWER);
        };
        let Some(progress) = leadership.followers.iter_mut().find(|f| f.id == follower) else {
            return Err(codes::UNKNOWN_LEADER_EPOCH);
        };
        if epoch != BrokerEpoch(-1) && cluster.alive_epoch(follower).is_some_and(|alive| alive > epoch) {
            return Err(codes::NOT_LEADER_OR_FOLLOWER);
        }
        let news = progress.record_fetch(offset, log_start, leader_end, epoch, now);
        if news {
            out.note(Note::FollowerProgressed {
                partition: id,
                follower,
                log_end_offset: offset,
                leader_epoch,
            });
        }
        Ok(news)
    }

    /// Moves the leader's log start up, within the high watermark.
    pub(super) fn advance_log_start(
        &mut self,
        to: Offset,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        if to > self.high_watermark {
            return Err(LogError::OutOfRange);
        }
        if to > self.log.log_start_offset() {
            self.log.advance_log_start(to, now, disk, out)?;
        }
        Ok(())
    }

    /// All batches of the log.
    pub fn read_log(&mut self, disk: &mut dyn Disk) -> Result<Bytes, LogError> {
        self.log.read_all(disk)
    }

    /// The smallest log start of all living replicas; an unknown one counts as none at all.
    pub fn low_watermark(&self, cluster: &Cluster) -> Offset {
        let living = self.followers().iter().filter(|f| cluster.alive_epoch(f.id).is_some());
        let theirs = living.map(|f| f.log_start_offset.unwrap_or(-1)).min();
        theirs.unwrap_or(Offset::MAX).min(self.log.log_start_offset())
    }

    /// What the controller has been asked for.
    pub(super) fn proposal_mut(&mut self) -> Option<&mut Proposal> {
        match &mut self.role {
            Role::Leader(leadership) => leadership.proposal.as_mut(),
            Role::Follower => None,
        }
    }

    /// See [`ReplicaManager::forget_age`](super::ReplicaManager::forget_age).
    pub(super) fn forget_age(&mut self, now: Nanos, anew: Now, lag_max: Nanos) {
        self.log.forget_age(anew);
        if let Role::Leader(leadership) = &mut self.role {
            for follower in &mut leadership.followers {
                follower.forget_age(now, anew.mono, lag_max);
            }
        }
    }

    pub(super) fn state_mut(&mut self) -> &mut PartitionState {
        &mut self.state
    }
}
