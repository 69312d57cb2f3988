//! From committed metadata records to the controller's actions.
//!
//! ```text
//!   fence, register, leave   [change of the partition] broker record
//!   unfence                  broker record [change of the partition]
//!   an ISR, an election      change of the partition
//! ```

use super::finding::Finding;
use super::track::Track;
use kafka::types::{BrokerEpoch, NodeId};
use model::replication::{Action, Message, Replica, Set, Version};

/// What a committed record says, as far as a partition is concerned.
#[derive(Clone, Debug)]
pub(super) enum Decision {
    /// The partition's next version.
    Change {
        leader: Option<Option<NodeId>>,
        isr: Option<Vec<NodeId>>,
        elr: Option<Vec<NodeId>>,
    },
    /// Where one of its brokers stands now.
    Broker {
        replica: Replica,
        epoch: BrokerEpoch,
        /// Where it is a new one: whether it had found that the one before it stopped in order; none where that is not to be
        /// known.
        clean: Option<bool>,
        /// Fenced, or leaving in order.
        out: bool,
    },
}

impl Track {
    /// A set of real brokers.
    pub fn set(&self, nodes: &[NodeId]) -> Set {
        let replicas = nodes.iter().filter_map(|node| self.replica(*node));
        replicas.fold(Set::default(), Set::with)
    }

    /// One batch of records was committed.
    pub fn decide(&mut self, decisions: &[Decision]) -> Result<(), Finding> {
        let is_open = |decision: &Decision| matches!(decision, Decision::Broker { clean: None, .. });
        if decisions.iter().any(is_open) {
            let with = |found: bool| {
                let mut decisions = decisions.to_vec();
                for decision in &mut decisions {
                    if let Decision::Broker { clean, .. } = decision {
                        clean.get_or_insert(found);
                    }
                }
                decisions
            };
            let mut other = self.clone();
            if other.decide(&with(true)).is_ok() {
                *self = other;
                return Ok(());
            }
            return self.decide(&with(false));
        }
        let mut at = 0;
        while let Some(decision) = decisions.get(at) {
            at += match decision {
                Decision::Change { .. } => {
                    let next = self.next_version(decision);
                    match decisions.get(at + 1).and_then(|decision| self.standing(decision)) {
                        Some(action) => {
                            let elect = self.elected(&next);
                            self.stand(&decisions[at + 1], &action(elect))?;
                            self.is_newest(&next, &action(elect))?;
                            2
                        }
                        None => {
                            self.decide_alone(&next)?;
                            1
                        }
                    }
                }
                Decision::Broker { .. } => match self.standing(decision) {
                    Some(action) => {
                        let next = decisions
                            .get(at + 1)
                            .filter(|decision| matches!(decision, Decision::Change { .. }));
                        let next = next.map(|decision| self.next_version(decision));
                        let before = self.state.controller.partition_epoch();
                        let elect = next.as_ref().and_then(|next| self.elected(next));
                        let action = if elect.is_some() && self.stand(decision, &action(elect)).is_ok() {
                            action(elect)
                        } else {
                            self.stand(decision, &action(None))?;
                            action(None)
                        };
                        let changed = self.state.controller.partition_epoch() != before;
                        if changed {
                            let next = next.ok_or_else(|| {
                                Finding::refused(&action, "it changes the partition, and the controller did not")
                            })?;
                            self.is_newest(&next, &action)?;
                        }
                        1 + usize::from(changed)
                    }
                    None => 1,
                },
            };
        }
        self.watch_proposals();
        self.tidy_up()
    }

    /// The version that a change makes of the newest one.
    fn next_version(&self, decision: &Decision) -> Version {
        let mut next = *self.state.controller.newest();
        if let Decision::Change { leader, isr, elr } = decision {
            if let Some(leader) = leader {
                next.leader = leader.and_then(|leader| self.replica(leader));
                next.leader_epoch += 1;
            }
            next.isr = isr.as_ref().map_or(next.isr, |isr| self.set(isr));
            next.elr = elr.as_ref().map_or(next.elr, |elr| self.set(elr));
        }
        next
    }

    fn elected(&self, next: &Version) -> Option<Replica> {
        let before = self.state.controller.newest();
        next.leader.filter(|_| next.leader_epoch != before.leader_epoch)
    }

    /// What makes of a broker what a record says of it: an action, given who is elected with it.
    fn standing(&self, decision: &Decision) -> Option<impl Fn(Option<Replica>) -> Action + use<>> {
        let Decision::Broker {
            replica, epoch, out, ..
        } = *decision
        else {
            return None;
        };
        let known = self.local[usize::from(replica)].incarnations.last();
        let is_new = known.is_none_or(|(known, _)| *known != epoch);
        let is_out = self.state.controller.fenced.has(replica);
        (is_new || out != is_out).then_some(move |elect| match () {
            () if is_new => Action::Register { broker: replica, elect },
            () if out => Action::Fence { broker: replica, elect },
            () => Action::Unfence { broker: replica, elect },
        })
    }

    /// Takes what a record says of a broker. A process that is registered has asked for that some time ago, and may have
    /// died since; the one that runs hears of its own registration later.
    fn stand(&mut self, decision: &Decision, action: &Action) -> Result<(), Finding> {
        let (
            Decision::Broker {
                replica, epoch, clean, ..
            },
            Action::Register { .. },
        ) = (decision, action)
        else {
            return self.take(action);
        };
        let at = usize::from(*replica);
        let broker = &self.state.brokers[at];
        let before = (broker.epoch, broker.since, broker.clean);
        self.state.brokers[at].clean = *clean == Some(true);
        let taken = self.take(action);
        let broker = &mut self.state.brokers[at];
        (broker.epoch, broker.since, broker.clean) = before;
        taken?;
        let since = self.state.controller.partition_epoch();
        self.local[at].incarnations.push((*epoch, since));
        Ok(())
    }

    fn is_newest(&self, next: &Version, action: &Action) -> Result<(), Finding> {
        let newest = self.state.controller.newest();
        if newest == next {
            return Ok(());
        }
        let why = format!(
            "the specification makes of it {}, the controller {}",
            words(newest),
            words(next)
        );
        Err(Finding::unexplained(action.to_string(), why, None))
    }

    /// A change that no broker's standing explains: an ISR that a leader asked for, or an election.
    fn decide_alone(&mut self, next: &Version) -> Result<(), Finding> {
        let elect = self.elected(next);
        let asked = self.state.network.iter().filter_map(|message| match message {
            Message::Alter { leader, proposal, .. } if proposal.isr == next.isr => Some(Action::HandleAlter {
                leader: *leader,
                proposal: *proposal,
                elect,
            }),
            _ => None,
        });
        let mut candidates: Vec<Action> = asked.collect();
        if let Some(leader) = elect {
            candidates.push(Action::ElectPreferred);
            candidates.push(Action::ElectUnclean { leader });
        }
        let mut why = "no leader has asked for it, and no broker's standing has changed".to_owned();
        for action in candidates {
            let mut state = self.state.clone();
            match self.protocol.step(&mut state, &action) {
                Ok(()) if state.controller.newest() == next => return self.take(&action),
                Ok(()) => why = format!("{action} would make of it {}", words(state.controller.newest())),
                Err(refusal) => why = format!("{action} is not allowed: {refusal}"),
            }
        }
        Err(Finding::unexplained(
            format!("the controller decides {}", words(next)),
            why,
            None,
        ))
    }
}

/// A version in words.
pub(super) fn words(version: &Version) -> String {
    let leader = version
        .leader
        .map_or("no leader".to_owned(), |leader| format!("leader b{}", leader + 1));
    format!(
        "{leader} in leader epoch {}, ISR {}, ELR {}",
        version.leader_epoch, version.isr, version.elr
    )
}
