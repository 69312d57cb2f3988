//! Where a consumer stands in a partition, and whether that place can still be trusted.
//!
//! ```text
//!   AwaitReset ──ListOffsets──▶ Fetching ◀──── validated, or nothing to validate ────┐
//!       ▲  out of range,           │ a new leader or epoch, and the epoch of the     │
//!       │  nothing known           └─ record before is known ──▶ AwaitValidation ────┘
//!       └──────────────────────────────────────────────────────────┘ OffsetForLeaderEpoch
//!   Stopped: auto.offset.reset=none and the position is gone; only a seek leads out.
//! ```
//!
//! Guarantees: no record is handed over between a change of leader and the check that the records before it are still
//! the same (KIP-320). Every change of the position has a new number, so a late answer is known as late.
//! Does not know: requests, buffers, time.
//!
//! Sources: Kafka 4.1 `SubscriptionState`; KIP-320.

use crate::client::config::OffsetReset;
use crate::client::metadata::LeaderAndEpoch;
use crate::types::{LeaderEpoch, Offset};

/// Timestamp of ListOffsets that means the log start.
pub const EARLIEST: i64 = -2;
/// Timestamp of ListOffsets that means the end.
pub const LATEST: i64 = -1;

/// What is to be done before the next fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FetchState {
    /// The position is to be looked up.
    AwaitReset {
        /// [`EARLIEST`] or [`LATEST`].
        timestamp: i64,
        /// The position that was lost; `None` at the first start, which is no reset.
        from: Option<Offset>,
    },
    /// The leader is to be asked whether its log still has what was read.
    AwaitValidation,
    /// Nothing.
    Fetching,
    /// Only a seek helps.
    Stopped,
}

/// The next offset to read, what was read before it, and from whom it is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Next.
    pub offset: Offset,
    /// Epoch of the record before; `None` after a seek or a reset.
    pub offset_epoch: Option<LeaderEpoch>,
    /// As of the newest metadata.
    pub leader: LeaderAndEpoch,
}

/// What a validation said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Validation {
    /// The log has it all.
    Same,
    /// The log parts from what was read.
    Truncated {
        /// Position before.
        position: Offset,
        /// Where they part.
        divergence: Offset,
    },
    /// The leader does not know the epoch: the position is looked up anew, as `auto.offset.reset` says.
    Unknown,
}

/// The state of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartitionPosition {
    state: FetchState,
    position: Position,
    number: u64,
}

impl PartitionPosition {
    /// Begins at an offset.
    pub fn at(offset: Offset, leader: LeaderAndEpoch, number: u64) -> PartitionPosition {
        PartitionPosition {
            state: FetchState::Fetching,
            position: Position {
                offset,
                offset_epoch: None,
                leader,
            },
            number,
        }
    }

    /// Begins where ListOffsets says.
    pub fn looked_up(timestamp: i64, number: u64) -> PartitionPosition {
        let mut this = PartitionPosition::at(-1, LeaderAndEpoch::default(), number);
        this.state = FetchState::AwaitReset { timestamp, from: None };
        this
    }

    /// What is to be done.
    pub fn state(&self) -> FetchState {
        self.state
    }

    /// The place.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Changes whenever an answer to an earlier question must not be used any more.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The user goes elsewhere. There is no epoch to validate by.
    pub fn seek(&mut self, offset: Offset, leader: LeaderAndEpoch) {
        *self = PartitionPosition::at(offset, leader, self.number + 1);
    }

    /// Metadata has a leader. True if that is another, or another epoch: then the position is validated before the next
    /// fetch, if it can be, and a preferred read replica does not hold any more.
    pub fn leader_is(&mut self, leader: LeaderAndEpoch) -> bool {
        let settled = matches!(self.state, FetchState::AwaitReset { .. } | FetchState::Stopped);
        if settled || leader.leader.is_none() || self.position.leader == leader {
            return false;
        }
        self.position.leader = leader;
        self.number += 1;
        self.state = if self.position.offset_epoch.is_some() && leader.epoch.is_some() {
            FetchState::AwaitValidation
        } else {
            FetchState::Fetching
        };
        true
    }

    /// Records up to `next`, exclusive, were handed over; the last has this epoch.
    pub fn consumed(&mut self, next: Offset, epoch: Option<LeaderEpoch>) {
        assert!(next >= self.position.offset, "a consumer reads forward");
        if next != self.position.offset || epoch.is_some() {
            self.position.offset = next;
            self.position.offset_epoch = epoch.or(self.position.offset_epoch);
            self.number += 1;
        }
    }

    /// The position is not in the log any more. False if that ends here: the policy is `none`.
    pub fn reset(&mut self, policy: OffsetReset) -> bool {
        self.number += 1;
        let timestamp = match policy {
            OffsetReset::Earliest => EARLIEST,
            OffsetReset::Latest => LATEST,
            OffsetReset::None => {
                self.state = FetchState::Stopped;
                return false;
            }
        };
        let from = Some(self.position.offset);
        self.state = FetchState::AwaitReset { timestamp, from };
        true
    }

    /// The lookup has an answer.
    pub fn reset_done(&mut self, offset: Offset, leader: LeaderAndEpoch) {
        assert!(
            matches!(self.state, FetchState::AwaitReset { .. }),
            "the caller compares numbers"
        );
        self.seek(offset, leader);
    }

    /// The leader's answer: the largest epoch up to ours, and where it ends; `None` if it has no such epoch.
    pub fn validated(&mut self, end: Option<(LeaderEpoch, Offset)>, policy: OffsetReset) -> Validation {
        assert_eq!(self.state, FetchState::AwaitValidation, "the caller compares numbers");
        self.number += 1;
        match end {
            None => {
                self.reset(policy);
                Validation::Unknown
            }
            Some((epoch, end)) if end < self.position.offset => {
                let position = self.position.offset;
                self.position.offset = end;
                self.position.offset_epoch = Some(epoch);
                self.state = if policy == OffsetReset::None {
                    FetchState::Stopped
                } else {
                    FetchState::Fetching
                };
                Validation::Truncated {
                    position,
                    divergence: end,
                }
            }
            Some(_) => {
                self.state = FetchState::Fetching;
                Validation::Same
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NodeId;

    fn leader(id: i32, epoch: i32) -> LeaderAndEpoch {
        LeaderAndEpoch {
            leader: Some(NodeId(id)),
            epoch: Some(LeaderEpoch(epoch)),
        }
    }

    fn read_up_to_ten() -> PartitionPosition {
        let mut position = PartitionPosition::at(0, leader(1, 3), 0);
        position.consumed(10, Some(LeaderEpoch(3)));
        position
    }

    #[test]
    fn a_new_epoch_is_validated_the_same_is_not() {
        let mut position = read_up_to_ten();
        assert!(!position.leader_is(leader(1, 3)));
        assert_eq!(position.state(), FetchState::Fetching);
        let before = position.number();
        assert!(position.leader_is(leader(1, 4)), "a new epoch alone is enough");
        assert_eq!(position.state(), FetchState::AwaitValidation);
        assert_ne!(position.number(), before, "answers from before are late");
    }

    #[test]
    fn a_position_without_epoch_has_nothing_to_validate() {
        let mut position = PartitionPosition::at(10, leader(1, 3), 0);
        assert!(position.leader_is(leader(2, 4)));
        assert_eq!(position.state(), FetchState::Fetching);
        assert_eq!(position.position().leader, leader(2, 4));
    }

    #[test]
    fn a_partition_without_leader_keeps_the_last_one() {
        let mut position = read_up_to_ten();
        assert!(!position.leader_is(LeaderAndEpoch::default()));
        assert_eq!(position.position().leader, leader(1, 3));
    }

    #[test]
    fn an_end_at_or_after_the_position_is_the_same_log() {
        for end in [10, 11] {
            let mut position = read_up_to_ten();
            position.leader_is(leader(2, 4));
            let answer = Some((LeaderEpoch(3), end));
            assert_eq!(position.validated(answer, OffsetReset::Latest), Validation::Same);
            assert_eq!(
                (position.state(), position.position().offset),
                (FetchState::Fetching, 10)
            );
        }
    }

    #[test]
    fn an_end_before_the_position_is_a_truncation() {
        let mut position = read_up_to_ten();
        position.leader_is(leader(2, 4));
        let truncated = Validation::Truncated {
            position: 10,
            divergence: 7,
        };
        let answer = Some((LeaderEpoch(2), 7));
        assert_eq!(position.clone().validated(answer, OffsetReset::None), truncated);
        assert_eq!(position.validated(answer, OffsetReset::Earliest), truncated);
        assert_eq!(position.position().offset, 7);
        assert_eq!(position.position().offset_epoch, Some(LeaderEpoch(2)));
    }

    #[test]
    fn an_unknown_epoch_resets_or_stops_by_policy() {
        let mut position = read_up_to_ten();
        position.leader_is(leader(2, 4));
        let mut other = position.clone();
        assert_eq!(position.validated(None, OffsetReset::Latest), Validation::Unknown);
        let from = Some(10);
        assert_eq!(
            position.state(),
            FetchState::AwaitReset {
                timestamp: LATEST,
                from
            }
        );
        assert_eq!(other.validated(None, OffsetReset::None), Validation::Unknown);
        assert_eq!(other.state(), FetchState::Stopped);
        assert!(!other.leader_is(leader(3, 5)), "only a seek leads out");
        other.seek(0, leader(3, 5));
        assert_eq!(other.state(), FetchState::Fetching);
    }
}
