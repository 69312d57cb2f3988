//! `Kip279.tla`: a replica that becomes follower goes back from the end of its log to the last record that the leader
//! holds too, which closes a hole of KIP-101 after fast leader changes.
//!
//! Ported as it is published: it compares whole records where Kafka compares offset and epoch, and a replica with an
//! empty log becomes follower in two ways, which TLC counts.

use super::base::Revision;
use super::state::{Replica, State};

/// Kafka with KIP-279.
#[derive(Clone, Copy, Debug)]
pub struct Kip279;

impl Revision for Kip279 {
    fn truncation_offset(state: &State, leader: Replica, follower: Replica) -> Option<u8> {
        Some(first_non_matching_offset_from_tail(state, leader, follower))
    }

    fn ways_to_truncate(state: &State, follower: Replica) -> usize {
        if state.log(follower).end() == 0 { 2 } else { 1 }
    }
}

/// `FirstNonMatchingOffsetFromTail`.
pub(super) fn first_non_matching_offset_from_tail(state: &State, leader: Replica, follower: Replica) -> u8 {
    state.log(follower).last_match(state.log(leader))
}
