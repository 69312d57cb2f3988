//! `Kip320FirstTry.tla`: followers send the epoch of their last record with each fetch, and truncate whenever the leader
//! finds that it does not match, instead of once upon becoming follower.
//!
//! It is not enough: a leader may count a follower of an older epoch towards the high watermark, and that follower
//! truncates what was committed when it catches up with the epoch.

use super::base::Revision;
use super::kip_279::first_non_matching_offset_from_tail;
use super::state::{Replica, State};

/// The first try of KIP-320.
#[derive(Clone, Copy, Debug)]
pub struct Kip320FirstTry;

impl Revision for Kip320FirstTry {
    fn may_expand(state: &State, leader: Replica, follower: Replica) -> bool {
        let high_watermark = state.of(leader).high_watermark;
        is_caught_up_to_epoch(state, leader, follower, high_watermark)
            && has_high_watermark_reached_current_epoch(state, leader)
    }

    fn reasons_to_shrink(state: &State, leader: Replica, follower: Replica) -> usize {
        usize::from(!is_caught_up_to_epoch(state, leader, follower, state.log(leader).end()))
    }

    fn has_replicated(state: &State, leader: Replica, member: Replica, offset: u8) -> bool {
        is_caught_up_to_epoch(state, leader, member, offset + 1)
    }

    fn may_fetch(state: &State, leader: Replica, follower: Replica) -> bool {
        is_caught_up_to_epoch(state, leader, follower, state.log(follower).end())
    }

    fn truncation_offset(_state: &State, _leader: Replica, _follower: Replica) -> Option<u8> {
        None
    }

    fn truncates_while_following(state: &State, leader: Replica, follower: Replica) -> Option<u8> {
        let (ours, theirs) = (state.log(follower), state.log(leader));
        let last = ours.end().wrapping_sub(1);
        let other_epoch = ours
            .last()
            .zip(theirs.get(last))
            .is_some_and(|(ours, theirs)| ours.epoch != theirs.epoch);
        let needs_truncation = ours.end() > theirs.end() || other_epoch;
        needs_truncation.then(|| first_non_matching_offset_from_tail(state, leader, follower))
    }
}

/// `IsFollowerCaughtUpToLeaderEpoch`: both have a record before the offset, of the same epoch.
fn is_caught_up_to_epoch(state: &State, leader: Replica, follower: Replica, end: u8) -> bool {
    let epoch = |replica| state.log(replica).get(end.wrapping_sub(1)).map(|record| record.epoch);
    state.presumes(leader)
        && state.follows(follower) == Some(leader)
        && (end == 0 || epoch(leader).is_some() && epoch(leader) == epoch(follower))
}

/// `HasHighWatermarkReachedCurrentEpoch`: a new leader does not know how far its predecessor had committed, so it must
/// not admit a replica before it has committed something of its own epoch, or all it has.
pub(super) fn has_high_watermark_reached_current_epoch(state: &State, leader: Replica) -> bool {
    let replica = state.of(leader);
    match replica.log.get(replica.high_watermark) {
        None => replica.high_watermark == replica.log.end(),
        Some(record) => record.epoch + 1 == replica.epochs,
    }
}
