//! Who is in sync: when a leader asks the controller for another ISR, and what it does with the answer.
//!
//! ```text
//!   Committed ──propose──▶ Proposed ──same or newer version──▶ Committed (as answered)
//!       ▲                     │ ├─ INELIGIBLE_REPLICA, OPERATION_NOT_ATTEMPTED ─▶ Committed (as before)
//!       │                     │ ├─ fenced, unknown, stale version ─▶ rests until metadata comes
//!       └────newer metadata───┘ └─ anything else ─▶ asked again
//! ```
//!
//! Guarantees: at most one proposal at a time; while there is one, the high watermark must be held by everybody in
//! the committed ISR and in the proposed one, since either may be the controller's. An answer is matched by the
//! proposal's number, so one that was overtaken by metadata changes nothing.
//!
//! Sources: KIP-497, KIP-841, KIP-903, KAFKA-7128, KAFKA-8836, KAFKA-12686, KAFKA-13091, KAFKA-15221.

use super::cluster::Cluster;
use super::codes;
use super::partition::{Partition, Role};
use crate::machine::Outbox;
use crate::note::Note;
use crate::rules::Rule;
use crate::types::{BrokerEpoch, LeaderEpoch, Nanos, NodeId, PartitionEpoch};

/// An ISR that the controller has been asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// Unique on this broker.
    pub number: u64,
    /// The wanted ISR.
    pub isr: Vec<NodeId>,
    /// The incarnations that were seen fetching when it was proposed; -1 where none was yet. Taken once, so that a
    /// broker that restarts meanwhile is not sent in under its new name (KAFKA-15221).
    pub epochs: Vec<BrokerEpoch>,
    /// On top of this version.
    pub partition_epoch: PartitionEpoch,
    /// In this epoch.
    pub leader_epoch: LeaderEpoch,
}

/// The controller's answer for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterAnswer {
    /// Kafka's error code.
    pub error_code: i16,
    /// The controller's leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// The version after it.
    pub partition_epoch: PartitionEpoch,
    /// The committed ISR.
    pub isr: Vec<NodeId>,
}

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a committed state again.
    Settled,
    /// Nothing to do: overtaken, or waiting for metadata.
    Resting,
    /// To be asked again.
    Retry,
}

impl Partition {
    /// Proposes a follower for the ISR if it has all that may be committed. True if so.
    pub(super) fn maybe_expand_isr(
        &mut self,
        follower: NodeId,
        number: u64,
        cluster: &Cluster,
        out: &mut Outbox,
    ) -> bool {
        let Role::Leader(leadership) = &self.role else {
            return false;
        };
        if leadership.proposal.is_some() || self.isr().contains(&follower) {
            return false;
        }
        let Some(progress) = leadership.followers.iter().find(|f| f.id == follower) else {
            return false;
        };
        let end = progress.log_end_offset.unwrap_or(-1);
        // Right after an election the high watermark lags: what is between it and the start of the epoch may be
        // committed already, so a replica without it must not become electable (KAFKA-7128).
        let has_earlier_epochs = cluster.rules.has(Rule::IsrJoinAtLaggingHw) || end >= leadership.epoch_start_offset;
        let in_sync = end >= self.high_watermark() && has_earlier_epochs;
        if !in_sync || !cluster.is_isr_eligible(follower, progress.broker_epoch) {
            return false;
        }
        let mut isr = self.isr().to_vec();
        isr.push(follower);
        self.propose(isr, number, cluster, out);
        true
    }

    /// Proposes an ISR without those that have lagged for too long. True if there are any.
    pub(super) fn maybe_shrink_isr(&mut self, number: u64, cluster: &Cluster, now: Nanos, out: &mut Outbox) -> bool {
        let Role::Leader(leadership) = &self.role else {
            return false;
        };
        if leadership.proposal.is_some() {
            return false;
        }
        let end = self.log.log_end_offset();
        let in_sync = |id: &NodeId| {
            let progress = leadership.followers.iter().find(|f| f.id == *id);
            *id == cluster.me || progress.is_some_and(|f| f.is_caught_up(end, now, cluster.lag_time_max))
        };
        let isr: Vec<NodeId> = self.isr().iter().copied().filter(in_sync).collect();
        if isr.len() == self.isr().len() {
            return false;
        }
        self.propose(isr, number, cluster, out);
        true
    }

    fn propose(&mut self, isr: Vec<NodeId>, number: u64, cluster: &Cluster, out: &mut Outbox) {
        let (partition_epoch, leader_epoch) = (self.state().partition_epoch, self.leader_epoch());
        let Role::Leader(leadership) = &mut self.role else {
            unreachable!("only a leader proposes");
        };
        assert!(leadership.proposal.is_none(), "one proposal at a time");
        let epoch_of = |id: &NodeId| match cluster.rules.has(Rule::AlterPartitionNoBrokerEpoch) {
            true => BrokerEpoch(-1),
            false if *id == cluster.me => cluster.my_epoch.unwrap_or(BrokerEpoch(-1)),
            false => {
                let progress = leadership.followers.iter().find(|f| f.id == *id);
                progress.and_then(|f| f.broker_epoch).unwrap_or(BrokerEpoch(-1))
            }
        };
        let epochs = isr.iter().map(epoch_of).collect();
        leadership.proposal = Some(Proposal {
            number,
            isr: isr.clone(),
            epochs,
            partition_epoch,
            leader_epoch,
        });
        out.note(Note::IsrProposed {
            partition: self.id(),
            isr,
            maximal_isr: self.maximal_isr(),
            partition_epoch,
        });
    }

    /// The controller answered. The caller looks at the high watermark again: a shrunk ISR may let it move without
    /// any fetch to come (KAFKA-13091).
    pub(super) fn on_alter_answer(&mut self, number: u64, answer: &AlterAnswer, out: &mut Outbox) -> Outcome {
        let (leader_epoch, partition_epoch) = (self.leader_epoch(), self.state().partition_epoch);
        let Role::Leader(leadership) = &mut self.role else {
            return Outcome::Resting;
        };
        if leadership
            .proposal
            .as_ref()
            .is_none_or(|proposal| proposal.number != number)
        {
            return Outcome::Resting;
        }
        match answer.error_code {
            codes::NONE => {
                if answer.leader_epoch != leader_epoch || answer.partition_epoch < partition_epoch {
                    return Outcome::Resting;
                }
                leadership.proposal = None;
                let state = self.state_mut();
                state.isr.clone_from(&answer.isr);
                state.elr.retain(|id| !answer.isr.contains(id));
                state.partition_epoch = answer.partition_epoch;
                let state = state.clone();
                out.note(Note::IsrUpdated {
                    partition: self.id(),
                    state,
                });
                Outcome::Settled
            }
            // The controller says that our version is right and that nothing was done: no past or future controller
            // can have done it, so the committed state stands alone again.
            codes::OPERATION_NOT_ATTEMPTED | codes::INELIGIBLE_REPLICA => {
                leadership.proposal = None;
                Outcome::Settled
            }
            codes::UNKNOWN_TOPIC_OR_PARTITION
            | codes::UNKNOWN_TOPIC_ID
            | codes::FENCED_LEADER_EPOCH
            | codes::INVALID_UPDATE_VERSION
            | codes::INVALID_REQUEST
            | codes::NEW_LEADER_ELECTED => Outcome::Resting,
            _ => Outcome::Retry,
        }
    }
}
