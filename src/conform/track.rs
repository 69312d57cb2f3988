//! One partition: the model's state beside the real one, and the actions that bring it along.

use super::finding::Finding;
use super::names::Names;
use kafka::types::{BrokerEpoch, NodeId};
use model::replication::{
    Action, Fetch, MOST_REPLICAS, Message, Offset, PartitionEpoch, Proposal, Protocol, Replica, Role, State,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Questions of a follower that may still be on the wire; of older ones only the last of each process to each leader in
/// each epoch.
const REMEMBERED: usize = 256;

/// What a stop leaves open about a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Nothing.
    #[default]
    None,
    /// How much of what was not synced is left.
    Unsynced,
    /// What the step did that killed the process.
    LastStep,
}

/// What the model does not have of a replica.
#[derive(Clone, Debug, Default)]
pub(super) struct Local {
    /// A process has started, and its logs are being opened in the step at hand.
    pub starting: bool,
    /// What its last stop leaves open.
    pub doubt: Doubt,
    /// The follower has taken an answer in the step at hand.
    pub copied: bool,
    /// As a leader, what it knows of the others after the step at hand: their ends, and the incarnations that said so.
    pub seen: [Option<(Offset, u16)>; MOST_REPLICAS],
    /// What it has asked its leaders, the newest last.
    pub asked: VecDeque<Fetch>,
    /// Where its log has begun anew in the step at hand, the lowest.
    pub restarted: Option<u32>,
    /// As a leader: first and last offset of each batch that its producer has sent again, as it was found in the log.
    pub again: Vec<(Offset, Offset)>,
    /// The highest high watermark that it has had. A follower's may go back to that of a new leader, which lags; a
    /// checkpoint may still say what it was.
    pub highest: Offset,
    /// Real epochs of its incarnations, and the version at which each was registered: the first is the model's 1.
    pub incarnations: Vec<(BrokerEpoch, PartitionEpoch)>,
}

/// One partition.
#[derive(Clone, Debug)]
pub(super) struct Track {
    /// For messages.
    pub name: String,
    /// The topic's name.
    pub topic: String,
    /// The real brokers in the order of the assignment, as the model numbers them.
    pub replicas: Vec<NodeId>,
    pub protocol: Protocol,
    pub state: State,
    pub local: Vec<Local>,
    pub names: Names,
    /// The highest log start of any leader. What is below is deleted: all replicas count as holding the same there.
    pub deleted: Offset,
    /// Proposals that some controller may have refused since they were sent.
    pub refusable: BTreeSet<(Replica, Proposal)>,
    /// Actions by kind that real steps were matched with.
    pub matched: BTreeMap<&'static str, u64>,
    /// Something has changed since the state was last counted.
    pub dirty: bool,
}

impl Track {
    /// The model's number of a real broker.
    pub fn replica(&self, node: NodeId) -> Option<Replica> {
        let at = self.replicas.iter().position(|replica| *replica == node)?;
        Some(at as Replica)
    }

    /// The model's number of an incarnation; 0 where it is none that is known.
    pub fn incarnation(&self, replica: Replica, epoch: BrokerEpoch) -> u16 {
        let known = &self.local[usize::from(replica)].incarnations;
        let at = known.iter().position(|(known, _)| *known == epoch);
        at.map_or(0, |at| at as u16 + 1)
    }

    /// A real step is this action of the model.
    pub fn take(&mut self, action: &Action) -> Result<(), Finding> {
        self.assume(action)?;
        *self.matched.entry(action.kind()).or_default() += 1;
        Ok(())
    }

    /// As `take`, of what leaves no trace of its own.
    pub fn assume(&mut self, action: &Action) -> Result<(), Finding> {
        let taken = self.protocol.step(&mut self.state, action);
        taken.map_err(|why| Finding::refused(action, why))?;
        self.dirty = true;
        let asks = match *action {
            Action::ApplyMetadata { broker, .. } => Some(broker),
            Action::HandleFetched { fetch, .. } => Some(fetch.follower),
            _ => None,
        };
        if let Some(follower) = asks {
            self.remember_question(follower);
        }
        Ok(())
    }

    /// Whether the model allows an action, which is then taken.
    pub fn try_take(&mut self, action: &Action) -> bool {
        self.take(action).is_ok()
    }

    pub fn remember_question(&mut self, follower: Replica) {
        let Some(question) = self.protocol.question(&self.state, follower) else {
            return;
        };
        let asked = &mut self.local[usize::from(follower)].asked;
        if asked.back() != Some(&question) {
            asked.push_back(question);
            if asked.len() > REMEMBERED {
                // What a process asked a leader last in an epoch may still be on its way there, however much was asked since.
                let way = |i: usize| (asked[i].leader, asked[i].leader_epoch, asked[i].broker_epoch);
                let same = |i: &usize| way(*i) == way(i + 1);
                let oldest = (0..REMEMBERED).find(same).unwrap_or(0);
                asked.remove(oldest);
            }
        }
    }

    /// Puts a question on the wire that the follower asks, or has asked. Of a question that it has moved on from the
    /// model thinks that it will never arrive; a real network may still deliver it.
    fn put(&mut self, fetch: Fetch) -> Result<(), Finding> {
        let message = Message::Fetch(fetch);
        if self.state.network.binary_search(&message).is_ok() {
            return Ok(());
        }
        if self.protocol.question(&self.state, fetch.follower) == Some(fetch) {
            let follower = fetch.follower;
            return self.assume(&Action::AskAgain { follower });
        }
        self.state.send(message);
        Ok(())
    }

    /// Where nothing is left of a leader's log, a follower's may be another one: what is deleted nobody compares.
    fn level(&mut self, leader: Replica, follower: Replica) -> Result<(), Finding> {
        let (ours, theirs) = (
            &self.state.brokers[usize::from(leader)].log,
            &self.state.brokers[usize::from(follower)].log,
        );
        let upto = self.deleted.min(ours.end()).min(theirs.end());
        if upto == 0 || ours.common_prefix(theirs) >= upto {
            return Ok(());
        }
        let asks = self.protocol.question(&self.state, follower);
        if asks.is_none_or(|fetch| fetch.leader != leader || fetch.offset < self.deleted) {
            return Ok(());
        }
        let mut log = ours.slice(0, upto);
        log.extend(&theirs.slice(upto, theirs.end()));
        self.state.brokers[usize::from(follower)].log = log;
        self.state
            .network
            .retain(|message| message.fetch().is_none_or(|fetch| Some(fetch) != asks));
        if self.protocol.question(&self.state, follower) != asks {
            self.assume(&Action::AskAgain { follower })?;
            self.remember_question(follower);
        }
        Ok(())
    }

    /// A leader has counted a fetch: the follower's log ends at `end`.
    pub fn count(
        &mut self,
        leader: Replica,
        follower: Replica,
        end: u32,
        incarnation: Option<u16>,
        joins: bool,
    ) -> Result<(), Finding> {
        self.level(leader, follower)?;
        let epoch = self.state.leader_epoch(leader);
        let fits = |fetch: &&Fetch| {
            fetch.leader == leader
                && fetch.leader_epoch == epoch
                && fetch.offset == end
                && incarnation.is_none_or(|incarnation| incarnation == fetch.broker_epoch)
        };
        let current = self.protocol.question(&self.state, follower);
        let asked = &self.local[usize::from(follower)].asked;
        let mut fitting = current.iter().chain(asked.iter().rev()).filter(fits);
        let counts = |fetch: &&Fetch| {
            let answer = self.protocol.would_answer(&self.state, fetch);
            matches!(answer, Ok(model::replication::Answer::Records { .. }))
        };
        let fetch = fitting.clone().find(counts).or_else(|| fitting.next()).copied();
        let Some(fetch) = fetch else {
            return Err(Finding::unexplained(
                format!("b{} counts b{} up to offset {end}", leader + 1, follower + 1),
                format!("that follower has never asked for that offset in leader epoch {epoch}"),
                Some(leader),
            ));
        };
        self.put(fetch)?;
        let handled = self.take(&Action::HandleFetch {
            fetch,
            park: false,
            joins,
        });
        if current != Some(fetch) {
            let is_late = |message: &Message| message.fetch() == Some(fetch);
            self.state.network.retain(|message| !is_late(message));
        }
        handled
    }

    /// Whatever a leader may have answered by now is on the wire: an answer leaves no note, and the newest one says more
    /// than those before it.
    pub fn refresh_answers(&mut self, leader: Replica) -> Result<(), Finding> {
        for follower in 0..self.protocol.replicas {
            let Some(fetch) = self.protocol.question(&self.state, follower) else {
                continue;
            };
            let Role::Leader(leadership) = &self.state.brokers[usize::from(leader)].role else {
                return Ok(());
            };
            if fetch.leader != leader {
                continue;
            }
            let Ok(answer) = self.protocol.would_answer(&self.state, &fetch) else {
                continue;
            };
            let said = |message: &Message| matches!(message, Message::Fetched { fetch: to, .. } if *to == fetch);
            if let Some(at) = self.state.network.iter().position(said) {
                // As if it had been kept until now.
                let newest = Message::Fetched {
                    fetch,
                    parked: false,
                    answer,
                };
                if self.state.network[at] != newest {
                    self.state.network.remove(at);
                    self.state.send(newest);
                }
                continue;
            }
            let at = usize::from(follower);
            let counted =
                leadership.ends[at] == Some(fetch.offset) && leadership.incarnations[at] == fetch.broker_epoch;
            if matches!(answer, model::replication::Answer::Records { .. }) && !counted {
                // It would count now, but the real leader has not.
                continue;
            }
            self.put(fetch)?;
            self.assume(&Action::HandleFetch {
                fetch,
                park: false,
                joins: false,
            })?;
        }
        Ok(())
    }

    /// Forgets requests and answers that change nothing any more.
    pub fn tidy_up(&mut self) -> Result<(), Finding> {
        let newest = self.state.controller.partition_epoch();
        let waits = |leader: Replica, proposal: Proposal| match &self.state.brokers[usize::from(leader)].role {
            Role::Leader(leadership) => leadership.proposal == Some(proposal),
            _ => false,
        };
        let done = self.state.network.iter().filter_map(|message| match message {
            Message::Alter { leader, proposal, .. } if proposal.partition_epoch < newest => Some(Action::HandleAlter {
                leader: *leader,
                proposal: *proposal,
                elect: None,
            }),
            Message::Altered { leader, proposal, .. } if !waits(*leader, *proposal) => Some(Action::HandleAltered {
                leader: *leader,
                proposal: *proposal,
            }),
            _ => None,
        });
        let done: Vec<Action> = done.collect();
        done.iter().try_for_each(|action| self.assume(action))
    }

    /// Proposals that the controller would refuse as things are now.
    pub fn watch_proposals(&mut self) {
        let controller = &self.state.controller;
        let refused = self.state.network.iter().filter_map(|message| match message {
            Message::Alter {
                leader,
                proposal,
                incarnations,
                ..
            } if !self.protocol.is_eligible(controller, proposal.isr, incarnations) => Some((*leader, *proposal)),
            _ => None,
        });
        self.refusable.extend(refused.collect::<Vec<_>>());
        let newest = controller.partition_epoch();
        self.refusable
            .retain(|(_, proposal)| proposal.partition_epoch >= newest);
    }

    /// What a leader waits for.
    pub fn proposal(&self, leader: Replica) -> Option<Proposal> {
        match &self.state.brokers[usize::from(leader)].role {
            Role::Leader(leadership) => leadership.proposal,
            _ => None,
        }
    }

    /// The controller has refused what a leader asked for. When it did so is not seen: at some time since it was asked.
    pub fn refuse(&mut self, leader: Replica, proposal: Proposal) -> Result<(), Finding> {
        let of = |message: &Message| matches!(message, Message::Alter { leader: from, proposal: wish, .. } if *from == leader && *wish == proposal);
        if let Some(at) = self.state.network.iter().position(of) {
            if !self.refusable.contains(&(leader, proposal)) {
                return Err(Finding::unexplained(
                    format!("the controller refuses the ISR {} of b{}", proposal.isr, leader + 1),
                    "all its members have been alive, in the incarnations that were seen fetching, ever since it was proposed",
                    Some(leader),
                ));
            }
            let leader_epoch = self.state.leader_epoch(leader);
            self.state.network.remove(at);
            self.state.send(Message::Altered {
                leader,
                leader_epoch,
                proposal,
                accepted: None,
            });
        }
        self.take(&Action::HandleAltered { leader, proposal })
    }
}
