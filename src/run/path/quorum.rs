//! One arm for each action of the quorum model. The path begins before the first election: in epoch 0, with empty logs.
//!
//! Time passes where the path says: while a voter waits for an election, or gives up leading, the machines of the others
//! sleep, and their clocks rest. Without pre-votes in the path, a campaign is coarse: it has the pre-votes in it that the
//! cluster insists on (KIP-996), and voters that still follow a leader first lose patience with it.
//!
//! A real leader writes more than the record that begins its epoch, so each record of the specification has its counterpart
//! at its offset or above it, and log ends are not compared. Not let through: answers that refuse a vote, which the
//! specification does not have; to their candidate they are lost.

use super::walk::{Arm, LATE_NS, SOON_NS, Walk, refuse};
use crate::run::Ended;
use crate::valve::Frame;
use kafka_protocol::messages::{ApiKey, RequestKind};
use model::check::Trace;
use model::quorum::{Action, Fetch, Role, State, Voter};
use model::replication::Epoch;
use sim::fault::{Fault, NodeId, Survival};
use std::collections::BTreeSet;

/// Long enough for a question and its answer, and too short for a timeout.
const BRIEF_NS: u64 = 500_000_000;

/// Everything that voters say to each other.
const KEPT: [(ApiKey, bool); 8] = [
    (ApiKey::Vote, false),
    (ApiKey::Vote, true),
    (ApiKey::BeginQuorumEpoch, false),
    (ApiKey::BeginQuorumEpoch, true),
    (ApiKey::EndQuorumEpoch, false),
    (ApiKey::EndQuorumEpoch, true),
    (ApiKey::Fetch, false),
    (ApiKey::Fetch, true),
];

/// Why the world has no counterpart for an action, if it has none.
pub(super) fn untranslatable(before: &State, action: &Action) -> Option<&'static str> {
    let Action::LosePower { voter, end } = action else {
        return None;
    };
    let node = &before.nodes[usize::from(*voter)];
    let is_part = *end != node.log.end() && *end != node.synced;
    is_part.then_some("a power failure takes all that is not synced, or nothing, but no part of it")
}

/// A request for a vote, among those that are kept back.
#[derive(Clone, Copy)]
struct Sought {
    pre_vote: bool,
    epoch: Option<Epoch>,
}

impl Walk<'_, '_> {
    /// All of a path.
    pub fn quorum(&mut self, trace: &Trace<State, Action>) -> Result<(), Ended> {
        self.valve.borrow_mut().hold(&KEPT);
        self.boot();
        self.along(&trace.actions, |walk, at, action| {
            walk.quorum_arm(&trace.states[at], &trace.states[at + 1], action)
        })?;
        self.end()
    }

    fn quorum_arm(&mut self, before: &State, after: &State, action: &Action) -> Arm {
        match action {
            Action::Campaign { voter } => {
                let node = self.voter(*voter);
                match after.nodes[usize::from(*voter)].role {
                    Role::Prospective { .. } => match self.lose_patience(node)? {
                        true => Ok(()),
                        false => refuse("it does not campaign"),
                    },
                    _ => self.campaign(node, after.nodes[usize::from(*voter)].election.epoch),
                }
            }
            Action::HandleVote {
                voter,
                candidate,
                epoch,
                pre_vote,
            } => {
                let (from, to) = (self.voter(*candidate), self.voter(*voter));
                let sought = Sought {
                    pre_vote: *pre_vote,
                    epoch: Some(*epoch),
                };
                self.until(SOON_NS, |walk| walk.held_vote(from, to, sought).is_some())?;
                match self.held_vote(from, to, sought) {
                    Some(request) => self.release(request),
                    None => return refuse("the candidate does not ask it"),
                }
                if self.await_held(SOON_NS, ApiKey::Vote, true, to, from)?.is_none() {
                    return refuse("it does not answer");
                }
                let grants = !pre_vote && after.nodes[usize::from(*voter)].election.voted == Some(*candidate);
                match !grants || self.has_voted(to, *epoch, self.id_of(from)) {
                    true => Ok(()),
                    false => refuse("it does not vote for that candidate"),
                }
            }
            // Durable before it is answered: there is nothing to wait for.
            Action::SyncVote { .. } | Action::Flush { .. } => Ok(()),
            Action::CountVote { candidate, voter, .. } => {
                let (from, to) = (self.voter(*voter), self.voter(*candidate));
                match self.await_held(SOON_NS, ApiKey::Vote, true, from, to)? {
                    Some(answer) => self.release(answer),
                    None => return refuse("there is no such vote"),
                }
                let node = &after.nodes[usize::from(*candidate)];
                let wins = matches!(node.role, Role::Leader { .. });
                let epoch = i32::from(node.election.epoch);
                let id = self.id_of(to);
                let has = |walk: &mut Walk<'_, '_>| {
                    walk.quorum_epoch(to) == Some(epoch) && (!wins || walk.follows(to) == Some(id))
                };
                match self.until(SOON_NS, has)? {
                    true => Ok(()),
                    false => refuse("it does not win"),
                }
            }
            Action::HandleBegin { voter, leader, .. } => {
                let (from, to) = (self.voter(*leader), self.voter(*voter));
                match self.await_held(LATE_NS, ApiKey::BeginQuorumEpoch, false, from, to)? {
                    Some(request) => self.release(request),
                    None => return refuse("the leader does not say so"),
                }
                let id = self.id_of(from);
                match self.until(SOON_NS, |walk| walk.follows(to) == Some(id))? {
                    true => Ok(()),
                    false => refuse("it does not follow"),
                }
            }
            // What a leader of the cluster writes by itself stands for it.
            Action::Append { .. } => Ok(()),
            Action::HandleFetch { fetch } => self.pass_fetch(fetch),
            Action::HandleFetched { fetch, .. } => self.pass_fetched(fetch),
            // The cluster does it in the step that makes it possible.
            Action::AdvanceHighWatermark { leader, to } => {
                let node = self.voter(*leader);
                let commits = |walk: &mut Walk<'_, '_>| {
                    let broker = walk.run.world.program(node).and_then(|process| process.broker());
                    let high = broker.and_then(|broker| broker.snapshot().metadata_high_watermark);
                    high >= Some(i64::from(*to))
                };
                match self.until(SOON_NS, commits)? {
                    true => Ok(()),
                    false => refuse("it does not commit that"),
                }
            }
            // It hears of no majority for one and a half fetch timeouts.
            Action::Resign { leader } => {
                let node = self.voter(*leader);
                let id = self.id_of(node);
                match self.alone(node, |walk| walk.follows(node) != Some(id))? {
                    true => Ok(()),
                    false => refuse("it goes on leading"),
                }
            }
            Action::Kill { voter } => {
                let node = self.voter(*voter);
                self.take_down(node, &Fault::Kill { node });
                Ok(())
            }
            Action::LosePower { voter, end } => {
                let node = self.voter(*voter);
                let survival = match *end == before.nodes[usize::from(*voter)].synced {
                    true => Survival::None,
                    false => Survival::All,
                };
                self.cut_power(node, survival);
                Ok(())
            }
            Action::Start { voter } => {
                let node = self.voter(*voter);
                self.apply(&Fault::Start { node });
                Ok(())
            }
        }
    }

    fn voter(&self, voter: Voter) -> NodeId {
        NodeId(self.run.layout.brokers as u16 + u16::from(voter))
    }

    fn id_of(&self, node: NodeId) -> kafka::NodeId {
        self.run.layout.node_id(usize::from(node.0))
    }

    /// All voters but one.
    fn others(&self, node: NodeId) -> Vec<NodeId> {
        let nodes = self.run.layout.brokers..self.run.layout.servers;
        let nodes = nodes.map(|other| NodeId(other as u16));
        nodes.filter(|other| *other != node).collect()
    }

    /// Whom a node takes for the quorum's leader.
    fn follows(&self, node: NodeId) -> Option<kafka::NodeId> {
        let broker = self.run.world.program(node).and_then(|process| process.broker())?;
        broker.snapshot().quorum_leader
    }

    fn quorum_epoch(&self, node: NodeId) -> Option<i32> {
        let broker = self.run.world.program(node).and_then(|process| process.broker())?;
        Some(broker.snapshot().quorum_epoch.0)
    }

    /// Time passes at one voter alone, until something holds; the machines of the others sleep.
    fn alone(&mut self, node: NodeId, holds: impl FnMut(&mut Self) -> bool) -> Result<bool, Ended> {
        let others = self.others(node);
        for other in &others {
            let (node, suspend) = (*other, true);
            self.apply(&Fault::Pause { node, suspend });
        }
        let came = self.until(LATE_NS, holds)?;
        for other in others {
            self.apply(&Fault::Resume { node: other });
        }
        Ok(came)
    }

    /// It hears of no leader for so long that it asks the others, anew, whether an election has a chance.
    fn lose_patience(&mut self, node: NodeId) -> Result<bool, Ended> {
        let mut has_rested = false;
        self.alone(node, |walk| {
            let broker = walk.run.world.program(node).and_then(|process| process.broker());
            let asks = broker.is_some_and(|broker| broker.snapshot().quorum_state == "prospective");
            has_rested |= !asks;
            has_rested && asks
        })
    }

    /// An election timeout, and pre-votes. Who has just fetched from a leader grants none: then its patience ends first.
    fn campaign(&mut self, node: NodeId, epoch: Epoch) -> Arm {
        if !self.lose_patience(node)? {
            return refuse("it does not campaign");
        }
        if !self.pass_pre_votes(node, epoch)? {
            let is_led =
                |walk: &Self, other: &NodeId| walk.follows(*other).is_some_and(|leader| leader != walk.id_of(*other));
            let led: Vec<NodeId> = self
                .others(node)
                .into_iter()
                .filter(|other| is_led(self, other))
                .collect();
            for other in led {
                self.lose_patience(other)?;
            }
            self.lose_patience(node)?;
            self.pass_pre_votes(node, epoch)?;
        }
        match self.quorum_epoch(node) {
            Some(real) if real == i32::from(epoch) => Ok(()),
            Some(real) => refuse(format!("that leaves it in epoch {real}")),
            None => refuse("it is down"),
        }
    }

    /// Lets a voter's questions through, and what is answered to them.
    fn pass_pre_votes(&mut self, node: NodeId, epoch: Epoch) -> Result<bool, Ended> {
        let (since, others) = (self.valve.borrow().next_number(), self.others(node));
        let sought = Sought {
            pre_vote: true,
            epoch: None,
        };
        let mut unanswered = BTreeSet::new();
        self.until(BRIEF_NS, |walk| {
            for other in &others {
                let answer = walk.held(ApiKey::Vote, true, *other, node);
                if let Some(answer) = answer.filter(|number| *number >= since && unanswered.remove(other)) {
                    walk.release(answer);
                } else if let Some(question) = walk.held_vote(node, *other, sought) {
                    unanswered.insert(*other);
                    walk.release(question);
                }
            }
            unanswered.is_empty() && walk.quorum_epoch(node) == Some(i32::from(epoch))
        })
    }

    /// The youngest request of one node to another that is kept back and is meant.
    fn held_request(&self, from: NodeId, to: NodeId, is_meant: impl Fn(&RequestKind) -> bool) -> Option<u64> {
        let valve = self.valve.borrow();
        let is_it =
            |frame: &&Frame| (frame.from, frame.to) == (from, to) && frame.request().as_ref().is_some_and(&is_meant);
        valve.held().iter().rev().find(is_it).map(|frame| frame.number)
    }

    /// A request for a vote.
    fn held_vote(&self, from: NodeId, to: NodeId, sought: Sought) -> Option<u64> {
        self.held_request(from, to, |request| {
            let RequestKind::Vote(vote) = request else {
                return false;
            };
            let of = vote.topics.first().and_then(|topic| topic.partitions.first());
            of.is_some_and(|of| {
                let is_epoch = |epoch| of.replica_epoch == i32::from(epoch);
                of.pre_vote == sought.pre_vote && sought.epoch.is_none_or(is_epoch)
            })
        })
    }

    /// A fetch of this epoch: one that looked for a leader before may be on a connection that is dead.
    fn held_fetch(&self, from: NodeId, to: NodeId, epoch: Epoch) -> Option<u64> {
        self.held_request(from, to, |request| {
            let RequestKind::Fetch(fetch) = request else {
                return false;
            };
            let of = fetch.topics.first().and_then(|topic| topic.partitions.first());
            of.is_some_and(|of| of.current_leader_epoch == i32::from(epoch))
        })
    }

    fn pass_fetch(&mut self, fetch: &Fetch) -> Arm {
        let (from, to) = (self.voter(fetch.follower), self.voter(fetch.leader));
        self.until(LATE_NS, |walk| walk.held_fetch(from, to, fetch.epoch).is_some())?;
        match self.held_fetch(from, to, fetch.epoch) {
            Some(request) => self.release(request),
            None => return refuse("the follower has not asked that leader"),
        }
        match self.await_held(SOON_NS, ApiKey::Fetch, true, to, from)? {
            Some(_) => Ok(()),
            None => refuse("the leader does not answer"),
        }
    }

    fn pass_fetched(&mut self, fetch: &Fetch) -> Arm {
        let (from, to) = (self.voter(fetch.leader), self.voter(fetch.follower));
        match self.await_held(SOON_NS, ApiKey::Fetch, true, from, to)? {
            Some(answer) => self.release(answer),
            None => return refuse("the leader has not answered"),
        }
        match self.await_held(SOON_NS, ApiKey::Fetch, false, to, from)? {
            Some(_) => Ok(()),
            None => refuse("the follower does not go on"),
        }
    }
}
