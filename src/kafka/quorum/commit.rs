//! The high watermark: what a majority of the voters has flushed.
//!
//! ```text
//!   flushed, descending:  n2: 9   n1 (leader): 8   n3: 5      majority of 3 = 2  ──▶  8 is held by two
//!   epoch of the leader starts at 8: 8 is not above it  ──▶  nothing new is committed (Raft, figure 8)
//! ```
//!
//! Guarantees: it never goes back; it moves only over a record of the leader's own epoch. Deliberately does not know
//! how offsets became known.
//!
//! Sources: KIP-595; KAFKA-12619 (a record of the own epoch must be below it); KAFKA-10533 (flushed, not written);
//! Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", 5.4.2.

use super::Quorum;
use super::state::Role;
use crate::machine::Outbox;
use crate::note::Note;
use crate::rules::Rule;
use crate::types::Offset;

/// The largest offset that a majority has reached. `reached` has one entry a voter, in any order.
fn held_by_majority(reached: &mut [Offset]) -> Offset {
    assert!(!reached.is_empty(), "a quorum without voters");
    reached.sort_unstable_by(|a, b| b.cmp(a));
    reached[reached.len() / 2]
}

impl Quorum {
    /// As leader: takes over what followers and our own flush have reached.
    pub(super) fn advance_high_watermark(&mut self, out: &mut Outbox) {
        if !std::mem::take(&mut self.commit_stale) {
            return;
        }
        let own = self.log.recovery_point().min(self.log.log_end_offset());
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let mut reached: Vec<Offset> = self
            .voters
            .iter()
            .map(|voter| {
                if *voter == self.me {
                    own
                } else {
                    leader.progress.get(voter).map_or(0, |p| p.end_offset)
                }
            })
            .collect();
        let held = held_by_majority(&mut reached);
        // Records of earlier epochs may be held by a majority and still lose to a candidate that lacks them; with
        // one of our own above them, such a candidate finds no majority.
        if held <= leader.epoch_start_offset && !self.rules.has(Rule::RaftCommitPrevEpoch) {
            return;
        }
        if self.high_watermark.is_none_or(|current| held > current) {
            leader.committed_own = true;
            self.high_watermark = Some(held);
            self.parked_stale = true;
            out.note(Note::QuorumCommitted {
                high_watermark: held,
                epoch: self.epoch(),
                as_leader: true,
            });
        }
    }

    /// As follower: takes over the leader's word, as far as our log goes.
    pub(super) fn learn_high_watermark(&mut self, told: Offset, out: &mut Outbox) {
        let reached = told.min(self.log.log_end_offset());
        if reached >= 0 && self.high_watermark.is_none_or(|current| reached > current) {
            self.high_watermark = Some(reached);
            out.note(Note::QuorumCommitted {
                high_watermark: reached,
                epoch: self.epoch(),
                as_leader: false,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::held_by_majority;

    #[test]
    fn the_majority_holds_the_middle() {
        for (mut reached, expected) in [
            (vec![7], 7),
            (vec![7, 3], 3),
            (vec![5, 9, 8], 8),
            (vec![5, 5, 9], 5),
            (vec![1, 2, 3, 4], 2),
            (vec![0, 4, 0, 9, 2], 2),
        ] {
            let voters = reached.clone();
            assert_eq!(held_by_majority(&mut reached), expected, "{voters:?}");
        }
    }
}
