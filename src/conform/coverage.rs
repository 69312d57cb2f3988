//! How much of the specification random runs have visited, within small bounds.
//!
//! A real state is as large as its logs. Its *shape* is what is left of it without what everybody holds and knows to be
//! committed, and without names: epochs by their distance from the newest, replicas in any order. Shapes of a search within
//! small bounds and shapes of real runs are the same kind of thing, so the share of the former among the latter can be
//! counted. Messages, incarnations and what is synced have no shape.

use model::replication::{Limits, Protocol, Role, Set, State};
use std::collections::{BTreeSet, HashSet};
use xxhash_rust::xxh3::xxh3_64;

/// Replicas of the small search.
const REPLICAS: u8 = 3;
/// Their `min.insync.replicas`.
const MIN_INSYNC_REPLICAS: u8 = 2;
/// Records beyond what all hold.
const RECORDS: u32 = 1;
/// Elections that somebody has not heard of, or has records from before.
const EPOCHS: u16 = 1;

/// Within which bounds, in words.
pub const BOUNDS: &str = "3 replicas, min.insync.replicas 2, 1 record, 1 crash and what follows from it";

/// A shape, by its hash.
pub type Shape = u64;

/// Shapes that were met.
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    canonical: BTreeSet<Shape>,
    /// With the replicas in their own order: to find the canonical one takes all orders.
    met: HashSet<u64>,
}

impl Shapes {
    /// A state was met.
    pub fn meet(&mut self, protocol: &Protocol, state: &State) {
        let Some((base, replicas)) = pieces(protocol, state) else {
            return;
        };
        let own = bytes(state, base, &replicas, ORDERS[0]);
        if self.met.insert(xxh3_64(&own)) {
            self.canonical.insert(canonical(state, base, &replicas));
        }
    }

    /// All of them.
    pub fn all(&self) -> &BTreeSet<Shape> {
        &self.canonical
    }
}

/// What all hold and know to be committed ends here, and what is left of each replica; none beyond the bounds.
fn pieces(protocol: &Protocol, state: &State) -> Option<(u32, Vec<Vec<u8>>)> {
    if protocol.replicas != REPLICAS || protocol.min_insync_replicas != MIN_INSYNC_REPLICAS {
        return None;
    }
    let mut base = state.brokers.iter().map(|broker| broker.high_watermark).min()?;
    let (first, others) = state.brokers.split_first()?;
    for other in others {
        base = base.min(first.log.common_prefix(&other.log));
    }
    let largest = state.brokers.iter().map(|broker| broker.log.end()).max()?;
    if largest - base > RECORDS {
        return None;
    }
    let newest = state.controller.newest();
    let age = |epoch: u16| u8::try_from(newest.leader_epoch.saturating_sub(epoch)).ok();
    let mut replicas = Vec::with_capacity(usize::from(REPLICAS));
    for (replica, broker) in (0..).zip(&state.brokers) {
        let mut own = vec![u8::from(broker.up), (broker.high_watermark - base) as u8];
        let records = (base..broker.log.end()).filter_map(|offset| broker.log.get(offset));
        for record in records {
            own.push(age(record.epoch).filter(|age| u16::from(*age) <= EPOCHS)? + 1);
        }
        own.resize(2 + RECORDS as usize, 0);
        let epoch = age(state.leader_epoch(replica));
        let epoch = || epoch.filter(|age| u16::from(*age) <= EPOCHS);
        own.extend(match &broker.role {
            Role::Idle => [0, 0, 0, 0],
            Role::Follower { .. } => [1, epoch()?, 0, 0],
            Role::Leader(leadership) => [
                2,
                epoch()?,
                leadership.epoch_start.saturating_sub(base) as u8,
                leadership.proposal.is_some().into(),
            ],
        });
        replicas.push(own);
    }
    Some((base, replicas))
}

const ORDERS: [[u8; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// The same for all orders of the replicas: the smallest of all.
fn canonical(state: &State, base: u32, replicas: &[Vec<u8>]) -> Shape {
    let smallest = ORDERS
        .into_iter()
        .map(|order| bytes(state, base, replicas, order))
        .min();
    xxh3_64(&smallest.unwrap_or_default())
}

fn bytes(state: &State, base: u32, replicas: &[Vec<u8>], order: [u8; 3]) -> Vec<u8> {
    let newest = state.controller.newest();
    let place = |set: Set| {
        let places = (0..).zip(order).filter(|(_, replica)| set.has(*replica));
        places.fold(0u8, |all, (place, _): (u8, u8)| all | 1 << place)
    };
    let mut bytes = Vec::with_capacity(64);
    bytes.extend([
        newest.leader.map_or(0, |leader| place(Set::of(leader))),
        place(newest.isr),
        place(newest.elr),
        place(state.controller.fenced),
    ]);
    for replica in order {
        bytes.extend(&replicas[usize::from(replica)]);
        if let Role::Leader(leadership) = &state.brokers[usize::from(replica)].role {
            let end = |other: u8| leadership.ends[usize::from(other)];
            bytes.extend(order.map(|other| end(other).map_or(0, |end| end.saturating_sub(base) as u8 + 1)));
            bytes.push(leadership.proposal.map_or(0, |proposal| place(proposal.isr)));
            bytes.push(place(state.view(replica).isr));
        }
    }
    bytes
}

/// All shapes that the specification can reach within the bounds.
pub fn reachable() -> BTreeSet<Shape> {
    let protocol = Protocol::new(REPLICAS, MIN_INSYNC_REPLICAS);
    let limits = Limits {
        isr_changes: [true, true],
        faults: [1, 0, 0],
        // As our leaders do.
        eager: true,
        lag: 1,
        ..Limits::new(RECORDS, RECORDS, EPOCHS)
    };
    let mut shapes = Shapes::default();
    let mut seen = HashSet::new();
    let mut left = vec![protocol.initial(0)];
    let mut actions = Vec::new();
    while let Some(state) = left.pop() {
        shapes.meet(&protocol, &state);
        actions.clear();
        limits.propose(&protocol, &state, &mut actions);
        for action in &actions {
            let mut next = state.clone();
            if protocol.step(&mut next, action).is_ok() && limits.contain(&next) && seen.insert(fingerprint(&next)) {
                left.push(next);
            }
        }
    }
    shapes.canonical
}

fn fingerprint(state: &State) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    state.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::replication::{Acks, Action};

    #[test]
    fn the_search_has_as_many_shapes_as_ever() {
        assert_eq!(reachable().len(), 1_131);
    }

    #[test]
    fn a_shape_forgets_what_all_hold_and_who_is_who() {
        let protocol = Protocol::new(REPLICAS, MIN_INSYNC_REPLICAS);
        let shape_of = |state: &State| {
            let (base, replicas) = pieces(&protocol, state)?;
            Some(canonical(state, base, &replicas))
        };
        let (one, other) = (protocol.initial(0), protocol.initial(2));
        assert_eq!(shape_of(&one), shape_of(&other), "any leader");
        let mut grown = one.clone();
        for broker in &mut grown.brokers {
            broker.log.push(model::replication::Run {
                epoch: 0,
                record: 0,
                len: 70,
            });
            broker.high_watermark = 70;
        }
        let Role::Leader(leadership) = &mut grown.brokers[0].role else {
            panic!("it leads");
        };
        leadership.epoch_start = 70;
        assert_eq!(shape_of(&one), shape_of(&grown), "any length");
        let produce = |count| Action::Produce {
            leader: 0,
            acks: Acks::One,
            count,
        };
        let mut next = grown.clone();
        protocol.step(&mut next, &produce(1)).expect("it leads");
        assert!(shape_of(&next).is_some_and(|next| Some(next) != shape_of(&grown)));
        protocol.step(&mut next, &produce(1)).expect("it leads");
        assert_eq!(shape_of(&next), None, "beyond the bounds");
    }
}
