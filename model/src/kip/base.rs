//! `KafkaReplication.tla`: the rules that all revisions share, and the actions.
//!
//! A revision is a [`Revision`]: it overrides the rules that its KIP changed and leaves the others as they are here. What
//! the module's base leaves unfenced stays unfenced: presumed leaders, followers of any epoch, replicas that observe any
//! request with a higher epoch than their own, in any order, or never.

use super::Limits;
use super::state::{Record, Replica, Replicas, Request, State};
use serde::Serialize;

/// What can happen. Names are those of `KafkaReplication.tla`; a revision's own action takes the place of the base's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action")]
pub enum Action {
    /// The controller elects a member of the ISR and sends a request with a new epoch.
    ControllerElectLeader {
        /// The new leader.
        leader: Replica,
    },
    /// The controller takes a replica out of the ISR, as upon its failure, and sends a request with a new epoch.
    ControllerShrinkIsr {
        /// The replica; if it leads, nobody does afterwards.
        replica: Replica,
    },
    /// A replica observes the request that makes it leader.
    BecomeLeader {
        /// The replica.
        leader: Replica,
        /// The request's epoch.
        epoch: u8,
    },
    /// A leader adds a follower to the ISR.
    LeaderExpandIsr {
        /// The leader.
        leader: Replica,
        /// The follower.
        follower: Replica,
    },
    /// A leader takes a follower out of the ISR.
    LeaderShrinkIsr {
        /// The leader.
        leader: Replica,
        /// The follower.
        follower: Replica,
    },
    /// A presumed leader appends a producer's record.
    LeaderWrite {
        /// The leader.
        leader: Replica,
    },
    /// A presumed leader advances its high watermark by one.
    LeaderIncHighWatermark {
        /// The leader.
        leader: Replica,
    },
    /// A replica observes a request that names another one as leader, and truncates its log as the revision has it.
    BecomeFollower {
        /// The replica.
        follower: Replica,
        /// The leader that the request names.
        leader: Replica,
        /// The request's epoch.
        epoch: u8,
    },
    /// A follower truncates without a change of leader; only the first try of KIP-320 does.
    FollowerTruncate {
        /// The follower.
        follower: Replica,
        /// The leader that it asks.
        leader: Replica,
    },
    /// A follower copies the next record, and the high watermark, from its leader.
    FollowerReplicate {
        /// The follower.
        follower: Replica,
        /// The leader.
        leader: Replica,
    },
}

/// One published revision of the protocol: what differs from the base. Each rule names the definition that it stands for.
pub trait Revision: Clone + Send + Sync + 'static {
    /// `LeaderExpandIsr`: whether the leader may add this follower. That it is the true leader is asked by the base.
    fn may_expand(state: &State, leader: Replica, follower: Replica) -> bool {
        is_caught_up(state, leader, follower, state.of(leader).high_watermark)
    }

    /// `LeaderShrinkIsr`: for how many reasons the leader may take this follower out. TLC counts each.
    fn reasons_to_shrink(state: &State, leader: Replica, follower: Replica) -> usize {
        usize::from(!is_caught_up(state, leader, follower, state.log(leader).end()))
    }

    /// `LeaderIncHighWatermark`: whether this member of the leader's ISR has the record at an offset.
    fn has_replicated(state: &State, leader: Replica, member: Replica, offset: u8) -> bool {
        state.follows(member) == Some(leader) && state.log(member).has(offset)
    }

    /// `FollowerReplicate`: whether the follower may fetch from whom it follows.
    fn may_fetch(_state: &State, _leader: Replica, _follower: Replica) -> bool {
        true
    }

    /// Whether a leader may be asked where to truncate by a follower that observes a request of this epoch.
    fn answers_for_epoch(_state: &State, _leader: Replica, _epoch: u8) -> bool {
        true
    }

    /// The offset to which a replica truncates its log when it becomes follower; `None` if it leaves its log alone.
    fn truncation_offset(state: &State, leader: Replica, follower: Replica) -> Option<u8>;

    /// In how many ways a replica's log leads to that offset. TLC counts each.
    fn ways_to_truncate(_state: &State, _follower: Replica) -> usize {
        1
    }

    /// Whether a follower may truncate without a change of leader, and to which offset.
    fn truncates_while_following(_state: &State, _leader: Replica, _follower: Replica) -> Option<u8> {
        None
    }
}

/// `IsFollowerCaughtUp`: the follower acknowledges the leader and has a record, any record, below the offset.
pub(super) fn is_caught_up(state: &State, leader: Replica, follower: Replica, end: u8) -> bool {
    let both_have = |offset| state.log(leader).has(offset) && state.log(follower).has(offset);
    state.follows(follower) == Some(leader) && (end == 0 || both_have(end - 1))
}

/// Every action that is possible, as often as `Next` is satisfied by it.
#[inline]
pub(super) fn enabled<R: Revision>(limits: &Limits, state: &State, possible: &mut impl FnMut(Action)) {
    controller(limits, state, possible);
    for leader in state.presumed_leaders() {
        if state.next_record < limits.records && state.log(leader).end() < limits.log_size {
            possible(Action::LeaderWrite { leader });
        }
        let offset = state.of(leader).high_watermark;
        let mut isr = state.of(leader).isr.iter();
        if state.log(leader).has(offset) && isr.all(|member| R::has_replicated(state, leader, member, offset)) {
            possible(Action::LeaderIncHighWatermark { leader });
        }
        let followers = state.all().filter(|follower| state.follows(*follower) == Some(leader));
        for follower in followers.filter(|follower| *follower != leader) {
            if let Some(end) = R::truncates_while_following(state, leader, follower) {
                debug_assert!(end <= state.log(follower).end(), "truncation does not grow a log");
                possible(Action::FollowerTruncate { follower, leader });
            }
            let missing = state.log(follower).end() < state.log(leader).end();
            if missing && R::may_fetch(state, leader, follower) {
                possible(Action::FollowerReplicate { follower, leader });
            }
        }
        if state.is_true_leader(leader) {
            true_leader::<R>(state, leader, possible);
        }
    }
    observe::<R>(state, possible);
}

/// `ControllerElectLeader` and `ControllerShrinkIsr`. With no leader, the latter may empty the ISR.
fn controller(limits: &Limits, state: &State, possible: &mut impl FnMut(Action)) {
    if state.next_epoch > limits.leader_epochs {
        return;
    }
    let leader = state.leader();
    for replica in state.all() {
        let (leads, in_sync) = (leader == Some(replica), state.isr.contains(replica));
        if in_sync && !leads {
            possible(Action::ControllerElectLeader { leader: replica });
        }
        if in_sync || leads {
            possible(Action::ControllerShrinkIsr { replica });
        }
    }
}

/// What only the leader that the quorum knows may do, for the quorum fences the others.
fn true_leader<R: Revision>(state: &State, leader: Replica, possible: &mut impl FnMut(Action)) {
    let isr = state.of(leader).isr;
    for follower in isr.without(leader).iter() {
        for _ in 0..R::reasons_to_shrink(state, leader, follower) {
            possible(Action::LeaderShrinkIsr { leader, follower });
        }
    }
    for follower in isr.missing_from(Replicas::first(state.count)).iter() {
        if R::may_expand(state, leader, follower) {
            possible(Action::LeaderExpandIsr { leader, follower });
        }
    }
}

/// `BecomeLeader` and the revision's becoming follower. A request that names nobody is never observed, for the modules
/// take the leader from the set of replicas.
fn observe<R: Revision>(state: &State, possible: &mut impl FnMut(Action)) {
    for (epoch, request) in state.sent() {
        let Some(leader) = request.leader else { continue };
        for replica in state.all().filter(|replica| state.of(*replica).epochs <= epoch) {
            if replica == leader {
                possible(Action::BecomeLeader { leader, epoch });
                continue;
            }
            let end = state.log(replica).end();
            let possible_offset = R::truncation_offset(state, leader, replica).is_none_or(|offset| offset <= end);
            if possible_offset && R::answers_for_epoch(state, leader, epoch) {
                for _ in 0..R::ways_to_truncate(state, replica) {
                    let follower = replica;
                    possible(Action::BecomeFollower {
                        follower,
                        leader,
                        epoch,
                    });
                }
            }
        }
    }
}

/// The state after an action that is possible.
#[inline]
pub(super) fn after<R: Revision>(state: &State, action: Action) -> State {
    let mut next = *state;
    match action {
        Action::ControllerElectLeader { leader } => send(&mut next, Some(leader), state.isr),
        Action::ControllerShrinkIsr { replica } => {
            let leads = state.leader() == Some(replica);
            let only = state.isr == Replicas::default().with(replica);
            // The last replica stays in the ISR, or nobody could be elected again.
            let isr = if leads && only {
                state.isr
            } else {
                state.isr.without(replica)
            };
            send(&mut next, state.leader().filter(|_| !leads), isr);
        }
        Action::BecomeLeader { leader, epoch } => observe_request(&mut next, leader, epoch),
        Action::LeaderExpandIsr { leader, follower } => {
            let isr = state.of(leader).isr.with(follower);
            set_isr(&mut next, leader, isr);
        }
        Action::LeaderShrinkIsr { leader, follower } => {
            let isr = state.of(leader).isr.without(follower);
            set_isr(&mut next, leader, isr);
        }
        Action::LeaderWrite { leader } => {
            let record = Record {
                id: state.next_record,
                epoch: state.of(leader).epochs - 1,
            };
            next.next_record += 1;
            let replica = next.of_mut(leader);
            replica.log = replica.log.appended(record);
        }
        Action::LeaderIncHighWatermark { leader } => next.of_mut(leader).high_watermark += 1,
        Action::BecomeFollower {
            follower,
            leader,
            epoch,
        } => {
            observe_request(&mut next, follower, epoch);
            if let Some(end) = R::truncation_offset(state, leader, follower) {
                truncate(&mut next, follower, end);
            }
        }
        Action::FollowerTruncate { follower, leader } => {
            if let Some(end) = R::truncates_while_following(state, leader, follower) {
                truncate(&mut next, follower, end);
            }
        }
        Action::FollowerReplicate { follower, leader } => {
            let (log, of_leader) = (state.log(follower), state.of(leader));
            if let Some(record) = of_leader.log.get(log.end()) {
                let replica = next.of_mut(follower);
                replica.log = log.appended(record);
                replica.high_watermark = of_leader.high_watermark.min(replica.log.end());
            }
        }
    }
    next
}

/// `ControllerUpdateIsr`.
fn send(next: &mut State, leader: Option<Replica>, isr: Replicas) {
    next.requests[usize::from(next.next_epoch)] = Request { leader, isr };
    next.next_epoch += 1;
    next.isr = isr;
}

fn observe_request(next: &mut State, replica: Replica, epoch: u8) {
    let isr = next.requests[usize::from(epoch)].isr;
    let replica = next.of_mut(replica);
    (replica.epochs, replica.isr) = (epoch + 1, isr);
}

/// `QuorumUpdateLeaderAndIsr`: the quorum and the leader learn of it in one step.
fn set_isr(next: &mut State, leader: Replica, isr: Replicas) {
    next.isr = isr;
    next.of_mut(leader).isr = isr;
}

fn truncate(next: &mut State, replica: Replica, end: u8) {
    let replica = next.of_mut(replica);
    replica.log = replica.log.truncated(end);
    replica.high_watermark = replica.high_watermark.min(end);
}
