//! Everything that is the case: voters, what is on the wire, and what must never be undone.

use crate::replication::{Epoch, Log, Offset, Set};
use serde::{Deserialize, Serialize};

/// A voter, from 0.
pub type Voter = u8;

/// Whom a voter has voted for in the epoch that it is in. Durable before anybody hears of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Election {
    /// The latest epoch it has heard of.
    pub epoch: Epoch,
    /// Its vote in it.
    pub voted: Option<Voter>,
    /// Who leads it, once that is known.
    pub leader: Option<Voter>,
}

/// What a voter does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Follows the leader of its epoch, or waits to hear of one.
    Voter,
    /// Asks whether an election has a chance; promises nothing (KIP-996).
    Prospective {
        /// Who would vote for it.
        granted: Set,
    },
    /// Asks for votes.
    Candidate {
        /// Who gave theirs.
        granted: Set,
    },
    /// Takes records.
    Leader {
        /// Its log's end when its epoch began: its own first record stands there.
        epoch_start: Offset,
        /// How far the logs of the others are known to be the beginning of its own.
        ends: [Offset; 5],
    },
}

/// One voter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// A process runs.
    pub up: bool,
    /// As it knows it.
    pub election: Election,
    /// As its disk has it.
    pub durable: Election,
    /// Its log; of a stopped node, what its disk holds.
    pub log: Log,
    /// All below is durable.
    pub synced: Offset,
    /// Committed as far as it knows.
    pub high_watermark: Offset,
    /// What it does.
    pub role: Role,
}

/// A follower's question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fetch {
    /// Who.
    pub follower: Voter,
    /// Whom.
    pub leader: Voter,
    /// In which epoch.
    pub epoch: Epoch,
    /// From where: its log's end, durable by then.
    pub offset: Offset,
    /// Epoch of its last record; 0 if it has none.
    pub last_epoch: Epoch,
}

/// On the wire. Votes are asked for, and leaderships announced, again and again: those messages stay.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// A candidate asks for votes.
    Vote {
        /// Who.
        candidate: Voter,
        /// In which epoch; a pre-vote: the epoch that it is still in.
        epoch: Epoch,
        /// Epoch of its last record and end of its log.
        log: (Epoch, Offset),
        /// Only whether.
        pre_vote: bool,
    },
    /// A vote was given.
    Granted {
        /// By whom.
        voter: Voter,
        /// To whom.
        candidate: Voter,
        /// In which epoch.
        epoch: Epoch,
        /// Only said.
        pre_vote: bool,
    },
    /// A leader says that it leads.
    Begin {
        /// Who.
        leader: Voter,
        /// Which epoch.
        epoch: Epoch,
    },
    /// A follower's fetch.
    Fetch(Fetch),
    /// Records from the fetch's offset on.
    Records {
        /// To this fetch.
        fetch: Fetch,
        /// What.
        entries: Log,
        /// The leader's, none before a record of its own epoch is committed.
        high_watermark: Offset,
    },
    /// The logs part: the leader's largest epoch at most the follower's, and its end.
    Diverging {
        /// To this fetch.
        fetch: Fetch,
        /// The epoch.
        epoch: Epoch,
        /// Its end.
        end: Offset,
    },
}

impl Message {
    /// The epoch that it belongs to.
    pub fn epoch(&self) -> Epoch {
        match self {
            Message::Vote { epoch, .. } | Message::Granted { epoch, .. } | Message::Begin { epoch, .. } => *epoch,
            Message::Fetch(fetch) | Message::Records { fetch, .. } | Message::Diverging { fetch, .. } => fetch.epoch,
        }
    }

    /// The fetch that it is, or answers.
    pub fn fetch(&self) -> Option<Fetch> {
        match self {
            Message::Fetch(fetch) | Message::Records { fetch, .. } | Message::Diverging { fetch, .. } => Some(*fetch),
            _ => None,
        }
    }
}

/// Observed, never asked by the protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct History {
    /// Votes that anybody may have heard of, while they matter: epoch, voter, candidate; in order.
    pub votes: Vec<(Epoch, Voter, Voter)>,
    /// Leaders, while they matter: epoch and voter; in order.
    pub leaders: Vec<(Epoch, Voter)>,
    /// Whatever some leader's high watermark has passed.
    pub committed: Log,
    /// Two leaders committed different records at one offset.
    pub contradicted: bool,
    /// How many kills and power failures there were.
    pub faults: [u8; 2],
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// By voter.
    pub nodes: Vec<Node>,
    /// In order of their contents.
    pub network: Vec<Message>,
    /// What happened.
    pub history: History,
}

impl State {
    /// Puts a message on the wire. Sent twice is sent once.
    pub fn send(&mut self, message: Message) {
        if let Err(at) = self.network.binary_search(&message) {
            self.network.insert(at, message);
        }
    }

    /// Forgets what can change nothing any more: every node knows of a later epoch, durably.
    pub(super) fn prune(&mut self) {
        let epochs = self
            .nodes
            .iter()
            .map(|node| node.durable.epoch.min(node.election.epoch));
        let oldest = epochs.min().unwrap_or(0);
        let nodes = &self.nodes;
        self.network.retain(|message| match message {
            Message::Granted { candidate, epoch, .. } => {
                let candidate = &nodes[usize::from(*candidate)];
                let asks = matches!(candidate.role, Role::Candidate { .. } | Role::Prospective { .. });
                asks && candidate.election.epoch == *epoch
            }
            message => message.epoch() >= oldest,
        });
        self.history.votes.retain(|(epoch, ..)| *epoch >= oldest);
        self.history.leaders.retain(|(epoch, _)| *epoch >= oldest);
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |voter: Voter| format!("c{}", voter + 1);
        for (voter, node) in (0..).zip(&self.nodes) {
            let line = if voter == 0 { "" } else { "\n" };
            let role = match (&node.role, node.election.leader) {
                _ if !node.up => "down".to_owned(),
                (Role::Leader { .. }, _) => "leads".to_owned(),
                (Role::Candidate { granted }, _) => format!("candidate with {} votes", granted.len()),
                (Role::Prospective { granted }, _) => format!("asks whether {} would vote", granted.len()),
                (Role::Voter, Some(leader)) => format!("follows {}", name(leader)),
                (Role::Voter, None) => match node.election.voted {
                    Some(candidate) => format!("voted for {}", name(candidate)),
                    None => "waits".to_owned(),
                },
            };
            write!(
                f,
                "{line}{}: epoch {}, {role}, log {}, high watermark {}",
                name(voter),
                node.election.epoch,
                node.log,
                node.high_watermark
            )?;
        }
        Ok(())
    }
}
