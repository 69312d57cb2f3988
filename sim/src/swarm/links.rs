//! Shapes of partitions.
//!
//! Guarantees: the cuts of a shape are one-way and hold no pair twice; a node is never cut off from itself. It does not
//! know when, or how they end (`HealLinks` ends all).
//!
//! Sources: FAULTS N1 to N5; Jepsen's nemeses; "Understanding Partial Network Partitions" (OSDI 2020).

use super::ROLE;
use crate::fault::{Fault, NodeId};
use crate::random::Stream;

/// Nobody on one side hears anybody on the other.
pub(super) fn both_ways(a: &[NodeId], b: &[NodeId]) -> Vec<Fault> {
    [one_way(a, b), one_way(b, a)].concat()
}

fn one_way(from: &[NodeId], to: &[NodeId]) -> Vec<Fault> {
    if from.is_empty() || to.is_empty() {
        return Vec::new();
    }
    vec![Fault::Cut {
        from: from.to_vec(),
        to: to.to_vec(),
    }]
}

fn others(nodes: &[NodeId], one: NodeId) -> Vec<NodeId> {
    nodes.iter().copied().filter(|node| *node != one).collect()
}

/// Each node on one of two sides, none of them empty if there are two nodes.
fn halves(nodes: &[NodeId], stream: &mut Stream) -> (Vec<NodeId>, Vec<NodeId>) {
    let mut shuffled = shuffle(nodes, stream);
    let size = stream.between(1, (nodes.len() as u64 - 1).max(1)) as usize;
    let rest = shuffled.split_off(size.min(shuffled.len()));
    (shuffled, rest)
}

/// The same in an order drawn from the seed.
pub(super) fn shuffle<T: Clone>(items: &[T], stream: &mut Stream) -> Vec<T> {
    let mut shuffled = items.to_vec();
    for last in (1..shuffled.len()).rev() {
        shuffled.swap(last, stream.below(last as u64 + 1) as usize);
    }
    shuffled
}

/// A partition that hides the node of a role: from all, or one way only, or from the clients.
pub(super) fn around_role(servers: &[NodeId], clients: &[NodeId], stream: &mut Stream) -> Vec<Fault> {
    let all = [servers, clients].concat();
    match stream.below(5) {
        0 => one_way(&[ROLE], servers),
        1 => one_way(servers, &[ROLE]),
        2 if !clients.is_empty() => both_ways(&[ROLE], clients),
        3 => both_ways(&[ROLE], servers),
        _ => both_ways(&[ROLE], &all),
    }
}

/// A partition of any shape.
pub(super) fn partition(servers: &[NodeId], clients: &[NodeId], stream: &mut Stream) -> Vec<Fault> {
    let all = [servers, clients].concat();
    let one = *stream.pick(servers);
    let rest = others(servers, one);
    match stream.below(8) {
        // Isolated from all, or from the servers only, so that its clients still believe in it.
        0 => both_ways(&[one], &others(&all, one)),
        1 => both_ways(&[one], &rest),
        // Halves, clients anywhere: also on the wrong side.
        2 => {
            let (a, b) = halves(&all, stream);
            both_ways(&a, &b)
        }
        // A bridge: two halves that one node sees both of.
        3 if rest.len() >= 2 => {
            let (a, b) = halves(&rest, stream);
            both_ways(&a, &b)
        }
        // A ring: each server sees its neighbours only; among five each sees a majority, and no two the same one.
        4 if servers.len() >= 4 => {
            let ring = shuffle(servers, stream);
            let mut cuts = Vec::new();
            for (at, node) in ring.iter().enumerate() {
                let far: Vec<NodeId> = (2..ring.len() - 1).map(|step| ring[(at + step) % ring.len()]).collect();
                cuts.extend(one_way(&[*node], &far));
            }
            cuts
        }
        // A pair, both ways or one way.
        5 if !rest.is_empty() => {
            let other = *stream.pick(&rest);
            if stream.below(2) == 0 {
                both_ways(&[one], &[other])
            } else {
                one_way(&[one], &[other])
            }
        }
        // One way: it is not heard, or it hears nothing.
        6 => {
            if stream.below(2) == 0 {
                one_way(&[one], &others(&all, one))
            } else {
                one_way(&others(&all, one), &[one])
            }
        }
        // Clients on the wrong side of one server or of all.
        7 if !clients.is_empty() => {
            let (lost, _) = halves(clients, stream);
            if stream.below(2) == 0 {
                both_ways(&lost, &[one])
            } else {
                both_ways(&lost, servers)
            }
        }
        _ => both_ways(&[one], &others(&all, one)),
    }
}

/// Links of the servers one by one, in the order of cutting.
pub(super) fn pairs(servers: &[NodeId], stream: &mut Stream) -> Vec<(NodeId, NodeId)> {
    let mut pairs = Vec::new();
    for (at, a) in servers.iter().enumerate() {
        pairs.extend(servers[at + 1..].iter().map(|b| (*a, *b)));
    }
    shuffle(&pairs, stream)
}
