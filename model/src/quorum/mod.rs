//! The quorum of the metadata log: elections, replication and commit among voters (KRaft).
//!
//! ```text
//!   Protocol   may this step happen, and what then     step.rs
//!   Limits     which steps a search thinks of          below
//!   laws       what holds in every state               properties.rs
//! ```
//!
//! What it leaves out: observers, snapshots, changes of the voters, time (whoever does not lead may campaign), refusals that
//! carry nothing but an epoch (a node hears of a later epoch from requests alone), fetches of a process that has died, and
//! that a voter which has just fetched from its leader grants no pre-vote (KIP-996).
//! A record is named by its offset and epoch, so two records of one leader at one place could not be told apart.
//!
//! Sources: KIP-595, KIP-996; Ongaro, *Consensus: Bridging Theory and Practice*, chapter 3; Vanlightly's `kraft` modules.

mod action;
pub(crate) mod entries;
mod properties;
mod state;
mod step;
#[cfg(test)]
mod tests;

pub use action::Action;
pub use state::{Election, Fetch, History, Message, Node, Role, State, Voter};
pub use step::{Flaw, Protocol, Refusal, Syncs};

use crate::check::Spec;
use crate::replication::{Epoch, Offset, Set};
use stateright::{Model, Property};

/// Bounds. What is not switched on does not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest epoch.
    pub epochs: Epoch,
    /// Who campaigns.
    pub candidates: Set,
    /// Records a log may hold, those that begin an epoch included.
    pub log_size: Offset,
    /// Leaders append more than the record that begins their epoch.
    pub appends: bool,
    /// Leaders resign.
    pub resigns: bool,
    /// How many kills and power failures.
    pub faults: [u8; 2],
}

/// What a search is given.
#[derive(Clone, Debug)]
pub struct Quorum {
    /// What may happen.
    pub protocol: Protocol,
    /// How much of it is looked at.
    pub limits: Limits,
    /// Ids of the properties that are asked for.
    pub asked: Vec<&'static str>,
}

impl Quorum {
    /// A published bug with bounds that show it, and the id of what it breaks.
    pub fn showing(flaw: Flaw) -> (Quorum, &'static str) {
        let (breaks, limits) = match flaw {
            Flaw::RaftCommitPrevEpoch => (
                "X10",
                Limits {
                    epochs: 4,
                    candidates: Set(0b101),
                    log_size: 2,
                    appends: false,
                    resigns: false,
                    faults: [0; 2],
                },
            ),
            Flaw::VoteForgottenSameEpoch => (
                "X9",
                Limits {
                    epochs: 1,
                    candidates: Set(0b111),
                    log_size: 1,
                    appends: false,
                    resigns: false,
                    faults: [0; 2],
                },
            ),
        };
        let quorum = Quorum {
            protocol: Protocol {
                flaw: Some(flaw),
                watch_votes: breaks == "X9",
                ..Protocol::new(3)
            },
            limits,
            asked: vec![breaks],
        };
        (quorum, breaks)
    }

    /// The same bounds without the bug, for all that must hold and be possible.
    pub fn without_flaw(self) -> Quorum {
        Quorum {
            protocol: Protocol {
                flaw: None,
                ..self.protocol
            },
            asked: if self.protocol.watch_votes {
                vec!["X9", "X10", "I11", "elects", "commits"]
            } else {
                vec!["X10", "I11", "elects", "commits"]
            },
            ..self
        }
    }

    fn propose(&self, state: &State, actions: &mut Vec<Action>) {
        let voters = Set::first(self.protocol.voters);
        for voter in voters.iter() {
            let node = &state.nodes[usize::from(voter)];
            if !node.up {
                actions.push(Action::Start { voter });
                continue;
            }
            if self.protocol.syncs != Syncs::Instant {
                actions.push(Action::SyncVote { voter });
            }
            if matches!(node.role, Role::Leader { .. }) {
                self.propose_leading(state, voter, actions);
            } else if node.election.epoch < self.limits.epochs && self.limits.candidates.has(voter) {
                actions.push(Action::Campaign { voter });
            }
            let may = |fault: usize| state.history.faults[fault] < self.limits.faults[fault];
            if may(0) {
                actions.push(Action::Kill { voter });
            }
            if may(1) {
                let ends = node.synced..=node.log.end();
                actions.extend(ends.map(|end| Action::LosePower { voter, end }));
            }
        }
        for message in &state.network {
            propose_handling(state, voters, message, actions);
        }
    }

    fn propose_leading(&self, state: &State, leader: Voter, actions: &mut Vec<Action>) {
        let node = &state.nodes[usize::from(leader)];
        if self.limits.appends && node.log.end() < self.limits.log_size {
            actions.push(Action::Append { leader });
        }
        if node.synced < node.log.end() {
            actions.push(Action::Flush { leader });
        }
        if let Ok(to) = self.protocol.committable(state, leader)
            && to > node.high_watermark
        {
            actions.push(Action::AdvanceHighWatermark { leader, to });
        }
        if self.limits.resigns {
            actions.push(Action::Resign { leader });
        }
    }
}

fn propose_handling(state: &State, voters: Set, message: &Message, actions: &mut Vec<Action>) {
    match message {
        Message::Vote {
            candidate,
            epoch,
            pre_vote,
            ..
        } => {
            let others = voters.without(*candidate).iter();
            actions.extend(others.map(|voter| Action::HandleVote {
                voter,
                candidate: *candidate,
                epoch: *epoch,
                pre_vote: *pre_vote,
            }));
        }
        Message::Granted {
            voter,
            candidate,
            pre_vote,
            ..
        } => actions.push(Action::CountVote {
            candidate: *candidate,
            voter: *voter,
            pre_vote: *pre_vote,
        }),
        Message::Begin { leader, epoch } => {
            let others = voters.without(*leader).iter();
            actions.extend(others.map(|voter| Action::HandleBegin {
                voter,
                leader: *leader,
                epoch: *epoch,
            }));
        }
        Message::Fetch(fetch) => actions.push(Action::HandleFetch { fetch: *fetch }),
        Message::Records { fetch, entries, .. } => {
            // One record or all: a fetch has a size.
            let first = fetch.offset + entries.end().min(1);
            let all = fetch.offset + entries.end();
            actions.push(Action::HandleFetched {
                fetch: *fetch,
                end: first,
            });
            if all > first {
                actions.push(Action::HandleFetched {
                    fetch: *fetch,
                    end: all,
                });
            }
        }
        Message::Diverging { fetch, epoch, end } => {
            let log = &state.nodes[usize::from(fetch.follower)].log;
            actions.push(Action::HandleFetched {
                fetch: *fetch,
                end: step::cut_at(log, *epoch, *end),
            });
        }
    }
}

impl Model for Quorum {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.protocol.initial()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.propose(state, actions);
    }

    fn next_state(&self, last_state: &State, action: Action) -> Option<State> {
        let mut state = last_state.clone();
        self.protocol.step(&mut state, &action).ok()?;
        Some(state)
    }

    fn format_action(&self, action: &Action) -> String {
        action.to_string()
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let all = vec![
            Property::always("X9", properties::one_vote_and_one_leader_an_epoch),
            Property::always("X10", properties::committed_for_ever),
            Property::always("I11", properties::high_watermark_within_committed),
            Property::sometimes("elects", properties::elects),
            Property::sometimes("commits", properties::commits),
        ];
        all.into_iter()
            .filter(|property| self.asked.contains(&property.name))
            .collect()
    }

    fn within_boundary(&self, state: &State) -> bool {
        let fits = |node: &Node| node.log.end() <= self.limits.log_size && node.election.epoch <= self.limits.epochs;
        state.nodes.iter().all(fits)
    }
}

impl Spec for Quorum {
    fn picture(&self, state: &State) -> String {
        state.to_string()
    }

    fn state_bytes(&self) -> usize {
        size_of::<State>() + usize::from(self.protocol.voters) * (size_of::<Node>() + 48) + 512
    }
}
