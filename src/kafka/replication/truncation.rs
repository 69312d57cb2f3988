//! How a follower makes its log a prefix of its leader's before it copies on. The one place that knows the museum's
//! ways to get it wrong.
//!
//! ```text
//!   OnFetch          Fetch(offset, last epoch) ─▶ diverging epoch ─▶ cut ─▶ Fetch ...     what we hold to be right
//!   ToHighWatermark  cut to the own high watermark ─▶ Fetch                               before KIP-101
//!   OneStep          OffsetForLeaderEpoch ─▶ cut to the offset alone ─▶ Fetch             before KIP-279
//!   Rounds           OffsetForLeaderEpoch ─▶ cut ─▶ again until agreed ─▶ Fetch, no epoch before KIP-320
//! ```
//!
//! Sources: KIP-101, KIP-279, KIP-320, KIP-595 and KAFKA-10435 (truncation on fetch).

use super::epochs;
use super::partition::Partition;
use crate::disk::Disk;
use crate::log::LogError;
use crate::machine::Outbox;
use crate::note::{Note, TruncateReason};
use crate::rules::{Rule, Rules};
use crate::types::{LeaderEpoch, Offset};

/// A way to truncate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// The leader checks every fetch.
    OnFetch,
    /// Museum: `truncate_to_hw`.
    ToHighWatermark,
    /// Museum: `epoch_end_offset_v0`.
    OneStep,
    /// Museum: `no_fetch_epoch_fencing`. Truncates rightly, but only when it turns to another leader.
    Rounds,
}

/// What a follower does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Copies.
    Fetching,
    /// Asks where its last epoch ends at the leader.
    AskingEpochEnd,
    /// Was out of range: asks where the leader's log ends.
    AskingLatest,
    /// And then where it starts.
    AskingEarliest,
    /// Its leader is ahead of its metadata.
    AwaitingMetadata,
}

impl Strategy {
    /// The one that the rules want.
    pub fn of(rules: Rules) -> Strategy {
        match () {
            () if rules.has(Rule::TruncateToHw) => Strategy::ToHighWatermark,
            () if rules.has(Rule::EpochEndOffsetV0) => Strategy::OneStep,
            () if rules.has(Rule::NoFetchEpochFencing) => Strategy::Rounds,
            () => Strategy::OnFetch,
        }
    }

    /// Whether a fetch names the last epoch, so that the leader can find a divergence.
    pub fn checks_divergence(self) -> bool {
        self == Strategy::OnFetch
    }

    /// Whether fetches name the leader epoch, and answers to an earlier one are dropped.
    pub fn fences(self) -> bool {
        self != Strategy::Rounds
    }

    /// The first thing to do under a new leader epoch.
    pub fn begin(self, partition: &mut Partition, disk: &mut dyn Disk, out: &mut Outbox) -> Result<Phase, LogError> {
        let has_epochs = partition.log().last_epoch().is_some();
        match self {
            Strategy::OnFetch if has_epochs => Ok(Phase::Fetching),
            Strategy::OneStep | Strategy::Rounds if has_epochs => Ok(Phase::AskingEpochEnd),
            // Without any epoch there is nothing to compare but the high watermark. A log that has records has one.
            _ => {
                let to = partition.high_watermark();
                if to < partition.log().log_end_offset() {
                    partition.truncate_to(to, TruncateReason::HighWatermark, disk, out)?;
                }
                Ok(Phase::Fetching)
            }
        }
    }

    /// The leader answered where our last epoch ends, or that a fetch diverges. -1 where it does not know.
    pub fn on_epoch_end(
        self,
        partition: &mut Partition,
        leader: (LeaderEpoch, Offset),
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Phase, LogError> {
        let end = partition.log().log_end_offset();
        let (epoch, end_offset) = leader;
        if end_offset < 0 {
            let to = partition.high_watermark();
            partition.truncate_to(to, TruncateReason::HighWatermark, disk, out)?;
            return Ok(Phase::Fetching);
        }
        let (to, done) = match self {
            Strategy::OneStep => (end_offset.min(end), true),
            _ if epoch < LeaderEpoch(0) => (end_offset.min(end), true),
            _ => epochs::truncation_offset(partition.epochs(), end, leader),
        };
        if to < end || self == Strategy::OnFetch {
            out.note(Note::DivergenceFound {
                partition: partition.id(),
                epoch,
                end_offset,
            });
        }
        // Also at the very end: the epoch cache may hold an epoch of ours that never got a record (KAFKA-10706).
        partition.truncate_to(to, TruncateReason::Divergence, disk, out)?;
        let ask_again = self == Strategy::Rounds && !done && partition.log().last_epoch().is_some();
        Ok(if ask_again {
            Phase::AskingEpochEnd
        } else {
            Phase::Fetching
        })
    }
}
