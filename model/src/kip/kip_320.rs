//! `Kip320.tla`: fetch, high watermark, ISR and truncation are fenced by the leader epoch.
//!
//! A follower truncates once, upon becoming follower, by asking a leader of the very epoch that it was told of; it fetches
//! only from a leader of its own epoch; and only such followers count. Ported as it is published: whole records are
//! compared where Kafka compares offset and epoch, and a follower may be taken out of the ISR for two reasons at once,
//! which TLC counts.

use super::base::Revision;
use super::kip_279::first_non_matching_offset_from_tail;
use super::kip_320_first_try::has_high_watermark_reached_current_epoch;
use super::state::{Replica, State};

/// Kafka with KIP-320.
#[derive(Clone, Copy, Debug)]
pub struct Kip320;

impl Revision for Kip320 {
    fn may_expand(state: &State, leader: Replica, follower: Replica) -> bool {
        let high_watermark = state.of(leader).high_watermark;
        is_following_leader_epoch(state, leader, follower)
            && (high_watermark == 0 || state.log(follower).has(high_watermark - 1))
            && has_high_watermark_reached_current_epoch(state, leader)
    }

    fn reasons_to_shrink(state: &State, leader: Replica, follower: Replica) -> usize {
        let elsewhere = !is_following_leader_epoch(state, leader, follower);
        let behind = state.log(follower).end() < state.log(leader).end();
        usize::from(elsewhere) + usize::from(behind)
    }

    fn has_replicated(state: &State, leader: Replica, member: Replica, offset: u8) -> bool {
        is_following_leader_epoch(state, leader, member) && state.log(member).has(offset)
    }

    fn may_fetch(state: &State, leader: Replica, follower: Replica) -> bool {
        is_following_leader_epoch(state, leader, follower)
    }

    fn answers_for_epoch(state: &State, leader: Replica, epoch: u8) -> bool {
        state.presumes(leader) && state.of(leader).epochs == epoch + 1
    }

    fn truncation_offset(state: &State, leader: Replica, follower: Replica) -> Option<u8> {
        Some(first_non_matching_offset_from_tail(state, leader, follower))
    }
}

/// `IsFollowingLeaderEpoch`.
fn is_following_leader_epoch(state: &State, leader: Replica, follower: Replica) -> bool {
    state.presumes(leader)
        && state.follows(follower) == Some(leader)
        && state.of(follower).epochs == state.of(leader).epochs
}
