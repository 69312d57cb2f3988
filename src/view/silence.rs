//! What keeps a node from being heard. A machine that concludes something from silence got no message that could be
//! shown as its cause; the fault behind the silence is.

use kafka::{NodeId, Note};
use reports::view::{Lane, State};
use std::collections::BTreeMap;

/// Faults that last, each with the step in which it struck, and whom voters listen to. Nodes are lanes.
#[derive(Debug, Default)]
pub struct Silence {
    dead: BTreeMap<u16, u32>,
    paused: BTreeMap<u16, u32>,
    /// From, to.
    cuts: BTreeMap<(u16, u16), u32>,
    /// Who led the metadata quorum last.
    leader: Option<u16>,
}

impl Silence {
    /// A process began or ended in this step.
    pub fn up(&mut self, step: u32, node: u16, up: bool) {
        set(&mut self.dead, node, step, !up);
    }

    /// It was stopped or went on.
    pub fn paused(&mut self, step: u32, node: u16, paused: bool) {
        set(&mut self.paused, node, step, paused);
    }

    /// It leads the metadata quorum.
    pub fn leads(&mut self, node: u16) {
        self.leader = Some(node);
    }

    /// All links that are cut from now on.
    pub fn cuts(&mut self, step: u32, cuts: &[(u16, u16)]) {
        self.cuts.retain(|link, _| cuts.contains(link));
        for link in cuts {
            self.cuts.entry(*link).or_insert(step);
        }
    }

    /// The fault that came last of those that keep `peer` from being heard at `node`.
    pub fn between(&self, node: u16, peer: u16) -> Option<u32> {
        let of_peer = [self.dead.get(&peer), self.paused.get(&peer)];
        let of_links = [self.cuts.get(&(peer, node)), self.cuts.get(&(node, peer))];
        of_peer.into_iter().chain(of_links).flatten().copied().max()
    }

    /// Of whom a node concludes with this note that they are silent; `partition` is the note's, in a state that does not
    /// know of the note yet.
    pub fn concluded(&self, node: u16, partition: u16, note: &Note, state: &State, lanes: &[Lane]) -> Vec<u16> {
        let lane_of = |id: i32| lanes.iter().position(|lane| lane.id == id).map(|lane| lane as u16);
        match note {
            Note::BrokerDecided {
                broker, fenced: true, ..
            } => lane_of(broker.0).into_iter().collect(),
            Note::IsrProposed { isr, .. } => {
                let known = state.replicas.get(&(node, partition));
                let known = known.map_or(&[][..], |replica| &replica.isr);
                let left = known.iter().filter(|id| !isr.contains(&NodeId(**id)));
                left.filter_map(|id| lane_of(*id)).collect()
            }
            Note::BecameCandidate { .. } => self.leader.into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

fn set(steps: &mut BTreeMap<u16, u32>, node: u16, step: u32, holds: bool) {
    if holds {
        steps.entry(node).or_insert(step);
    } else {
        steps.remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use super::Silence;

    #[test]
    fn the_last_fault_between_two_nodes_is_the_reason_while_it_lasts() {
        let mut silence = Silence::default();
        silence.cuts(3, &[(1, 2)]);
        silence.cuts(5, &[(1, 2), (0, 1)]);
        assert_eq!(silence.between(2, 1), Some(3));
        assert_eq!(silence.between(1, 2), Some(3), "an answer cannot come either");
        assert_eq!(silence.between(0, 2), None);
        silence.up(7, 1, false);
        silence.paused(8, 0, true);
        assert_eq!((silence.between(2, 1), silence.between(1, 0)), (Some(7), Some(8)));
        silence.up(9, 1, true);
        silence.cuts(10, &[]);
        silence.paused(11, 0, false);
        assert_eq!((silence.between(2, 1), silence.between(1, 0)), (None, None));
    }
}
