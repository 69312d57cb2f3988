//! What must hold in every state of the quorum, and what must be possible in some.

use super::Quorum;
use super::state::{Node, Role, State};

/// X9: a voter votes once an epoch, and an epoch has one leader.
pub(super) fn one_vote_and_one_leader_an_epoch(_: &Quorum, state: &State) -> bool {
    let votes = state.history.votes.windows(2);
    let leaders = state.history.leaders.windows(2);
    votes
        .into_iter()
        .all(|pair| (pair[0].0, pair[0].1) != (pair[1].0, pair[1].1))
        && leaders.into_iter().all(|pair| pair[0].0 != pair[1].0)
}

/// X10: what was committed once is in the log of the latest leader, and nobody commits anything else there.
pub(super) fn committed_for_ever(_: &Quorum, state: &State) -> bool {
    let leads = |node: &&Node| node.up && matches!(node.role, Role::Leader { .. });
    let latest = state.nodes.iter().filter(leads).max_by_key(|node| node.election.epoch);
    let newest = state.nodes.iter().map(|node| node.election.epoch).max();
    let complete = latest
        .is_none_or(|leader| Some(leader.election.epoch) != newest || leader.log.starts_with(&state.history.committed));
    complete && !state.history.contradicted
}

/// I11: whoever holds something for committed, holds what was committed.
pub(super) fn high_watermark_within_committed(_: &Quorum, state: &State) -> bool {
    state.nodes.iter().all(|node| {
        let held = node.high_watermark.min(node.log.end());
        node.high_watermark <= node.log.end() && node.log.common_prefix(&state.history.committed) >= held
    })
}

/// Somebody leads, and another one follows.
pub(super) fn elects(_: &Quorum, state: &State) -> bool {
    let leads = state.nodes.iter().any(|node| matches!(node.role, Role::Leader { .. }));
    leads
        && state
            .nodes
            .iter()
            .any(|node| node.role == Role::Voter && node.election.leader.is_some())
}

/// A follower knows that something is committed.
pub(super) fn commits(_: &Quorum, state: &State) -> bool {
    state
        .nodes
        .iter()
        .any(|node| node.role == Role::Voter && node.high_watermark > 0)
}
