//! Replicas are alike: no rule and no property of these modules tells them apart by name.
//!
//! Of all states that differ in the names of replicas alone one is chosen: replicas are sorted by what can be said of each
//! without naming another. Where that leaves several alike, every order of those is tried, and the lowest taken.

use super::state::{Replica, ReplicaState, Replicas, State};

/// The state that stands for all that are alike.
pub(super) fn representative(state: &State, key: impl Fn(&State) -> u128) -> State {
    let mut order: Vec<(Traits, Replica)> = state.all().map(|replica| (traits(state, replica), replica)).collect();
    order.sort_unstable();
    if order.windows(2).all(|pair| pair[0].0 != pair[1].0) {
        return renamed(state, order.iter().map(|(_, replica)| *replica));
    }
    let mut lowest: Option<(u128, State)> = None;
    permute_ties(&mut order, 0, &mut |order| {
        let candidate = renamed(state, order.iter().map(|(_, replica)| *replica));
        let key = key(&candidate);
        if lowest.is_none_or(|(lowest, _)| key < lowest) {
            lowest = Some((key, candidate));
        }
    });
    lowest.map_or(*state, |(_, state)| state)
}

/// What can be said of a replica without naming another: its log and numbers, whom it counts (itself, how many), and for
/// each request and the quorum whether it is named there.
type Traits = (u64, u8, u8, u8, bool, bool, u32);

fn traits(state: &State, replica: Replica) -> Traits {
    let ReplicaState {
        log,
        high_watermark,
        epochs,
        isr,
    } = *state.of(replica);
    let named = state.sent().fold(0, |named, (_, request)| {
        let leads = u32::from(request.leader == Some(replica));
        named << 2 | leads << 1 | u32::from(request.isr.contains(replica))
    });
    let counts = isr.0.count_ones() as u8;
    let in_sync = state.isr.contains(replica);
    (
        log.0,
        high_watermark,
        epochs,
        counts,
        isr.contains(replica),
        in_sync,
        named,
    )
}

/// Calls with every order of those that have the same traits.
fn permute_ties(order: &mut [(Traits, Replica)], from: usize, call: &mut impl FnMut(&[(Traits, Replica)])) {
    if from == order.len() {
        return call(order);
    }
    for other in from..order.len() {
        if order[other].0 == order[from].0 {
            order.swap(from, other);
            permute_ties(order, from + 1, call);
            order.swap(from, other);
        }
    }
}

/// The state with its replicas in this order.
fn renamed(state: &State, order: impl Iterator<Item = Replica> + Clone) -> State {
    let mut names = [Replica(0); super::state::MOST_REPLICAS];
    for (new, old) in order.clone().enumerate() {
        names[usize::from(old.0)] = Replica(new as u8);
    }
    let rename = |old: Replica| names[usize::from(old.0)];
    let rename_all = |all: Replicas| all.iter().fold(Replicas::default(), |all, old| all.with(rename(old)));
    let mut renamed = *state;
    for (new, old) in order.enumerate() {
        renamed.replicas[new] = *state.of(old);
        renamed.replicas[new].isr = rename_all(state.of(old).isr);
    }
    for request in &mut renamed.requests[..usize::from(state.next_epoch)] {
        request.leader = request.leader.map(rename);
        request.isr = rename_all(request.isr);
    }
    renamed.isr = rename_all(state.isr);
    renamed
}
