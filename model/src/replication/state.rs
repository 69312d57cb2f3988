//! Everything that is the case: brokers, controller, what is on the wire, and what the outside was told.

use super::log::{Entry, Epoch, Log, Offset, Record};
use serde::{Deserialize, Serialize};

/// A replica, and the broker that has it; from 0, in the order of the assignment, so 0 is the preferred leader.
pub type Replica = u8;
/// Number of an incarnation of a broker, from 1; 0 is none or unknown (KIP-903).
pub type BrokerEpoch = u16;
/// Version of a partition's state.
pub type PartitionEpoch = u32;
/// Most replicas that a state has room for.
pub const MOST_REPLICAS: usize = 5;

/// A set of replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Set(pub u8);

impl Set {
    /// Of one.
    pub fn of(replica: Replica) -> Set {
        Set(1 << replica)
    }
    /// The first `count` replicas.
    pub fn first(count: u8) -> Set {
        Set(((1u16 << count) - 1) as u8)
    }
    /// Whether it is in.
    pub fn has(self, replica: Replica) -> bool {
        self.0 & 1 << replica != 0
    }
    /// How many.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }
    /// Nobody.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// With it.
    #[must_use]
    pub fn with(self, replica: Replica) -> Set {
        Set(self.0 | 1 << replica)
    }
    /// Without it.
    #[must_use]
    pub fn without(self, replica: Replica) -> Set {
        Set(self.0 & !(1 << replica))
    }
    /// In either.
    #[must_use]
    pub fn union(self, other: Set) -> Set {
        Set(self.0 | other.0)
    }
    /// In the first, not in the second.
    #[must_use]
    pub fn minus(self, other: Set) -> Set {
        Set(self.0 & !other.0)
    }
    /// Its members in order.
    pub fn iter(self) -> impl Iterator<Item = Replica> {
        (0..8).filter(move |replica| self.has(*replica))
    }
}

impl std::fmt::Display for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<String> = self.iter().map(|replica| format!("b{}", replica + 1)).collect();
        write!(f, "{{{}}}", names.join(" "))
    }
}

/// One version of the partition's state in the metadata log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// None while nobody can.
    pub leader: Option<Replica>,
    /// Fences leaders.
    pub leader_epoch: Epoch,
    /// In-sync replicas.
    pub isr: Set,
    /// Eligible leader replicas (KIP-966).
    pub elr: Set,
}

/// The active controller and the committed metadata log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Controller {
    /// The versions that somebody may still learn of; the last one is the newest.
    pub versions: Vec<Version>,
    /// Partition epoch of the first of them.
    pub first: PartitionEpoch,
    /// Brokers that may neither lead nor join an ISR.
    pub fenced: Set,
    /// The registered incarnations.
    pub broker_epochs: [BrokerEpoch; MOST_REPLICAS],
    /// Who led when the ISR became empty.
    pub last_known_leader: Option<Replica>,
}

impl Controller {
    /// The newest version.
    pub fn newest(&self) -> &Version {
        self.versions.last().expect("there is always a version")
    }
    /// Its number.
    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.first + self.versions.len() as PartitionEpoch - 1
    }
    /// The version of this number, if it is still of interest.
    pub fn version(&self, epoch: PartitionEpoch) -> Option<&Version> {
        self.versions.get(epoch.checked_sub(self.first)? as usize)
    }
}

/// An ISR that the controller was asked for (KIP-497).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Proposal {
    /// On top of this version.
    pub partition_epoch: PartitionEpoch,
    /// The wish.
    pub isr: Set,
}

/// What only a leader has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leadership {
    /// Its log's end when its epoch began.
    pub epoch_start: Offset,
    /// Log ends of the others, as they said in this epoch.
    pub ends: [Option<Offset>; MOST_REPLICAS],
    /// The incarnation that said so.
    pub incarnations: [BrokerEpoch; MOST_REPLICAS],
    /// Asked for and not answered.
    pub proposal: Option<Proposal>,
}

/// What a broker does with its replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Has just started and knows of no metadata that it may act on.
    Idle,
    /// Copies, or waits for a leader.
    Follower {
        /// Whom.
        leader: Option<Replica>,
        /// Asks first where its last epoch ends. Only before KIP-320.
        asks_epoch_end: bool,
    },
    /// Takes writes.
    Leader(Leadership),
}

/// A producer waits for these records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiting {
    /// First offset.
    pub base: Offset,
    /// End, exclusive.
    pub end: Offset,
    /// Epoch of the append.
    pub epoch: Epoch,
    /// The first record.
    pub record: Record,
}

/// One broker and its replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Broker {
    /// Its log; of a stopped broker, what its disk holds.
    pub log: Log,
    /// All below is durable.
    pub synced: Offset,
    /// Committed as far as it knows; of a stopped broker, the most that its checkpoint may say.
    pub high_watermark: Offset,
    /// A process runs.
    pub up: bool,
    /// Its last stop was orderly.
    pub clean: bool,
    /// Its incarnation, once the controller has registered it; else 0.
    pub epoch: BrokerEpoch,
    /// It acts only on versions from here on: those that know its incarnation.
    pub since: PartitionEpoch,
    /// The version it acts on. After a start: the oldest that it may act on.
    pub known: PartitionEpoch,
    /// What it does.
    pub role: Role,
    /// Producers that wait here for acks=all.
    pub waiting: Vec<Waiting>,
    /// A fault took records, and it has not been a whole copy since.
    pub lost: bool,
}

/// A follower's question, as it was when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fetch {
    /// Who asks.
    pub follower: Replica,
    /// Whom.
    pub leader: Replica,
    /// Which incarnation asks.
    pub broker_epoch: BrokerEpoch,
    /// In which leader epoch it is.
    pub leader_epoch: Epoch,
    /// From where: its log's end.
    pub offset: Offset,
    /// Epoch of its last record.
    pub last_epoch: Option<Epoch>,
    /// Asks where that epoch ends instead of for records. Only before KIP-320.
    pub epoch_end: bool,
}

/// What a leader says to a fetch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// What stands there.
    Records {
        /// From the fetch's offset on.
        entries: Log,
        /// The leader's.
        high_watermark: Offset,
    },
    /// Your log and mine part: the largest epoch at most yours, and where mine ends (KIP-595).
    Diverging {
        /// None: I have none that old.
        epoch: Option<Epoch>,
        /// Its end.
        end: Offset,
    },
    /// You are beyond my end.
    OutOfRange {
        /// My end.
        end: Offset,
    },
    /// Where the epoch asked for ends.
    EpochEnd {
        /// The largest epoch at most the one asked for, if the protocol says it (KIP-279).
        epoch: Option<Epoch>,
        /// Its end.
        end: Offset,
    },
}

/// On the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// A follower's fetch.
    Fetch(Fetch),
    /// The answer.
    Fetched {
        /// To this one.
        fetch: Fetch,
        /// Not sent yet: nothing was there, so the leader waits for something.
        parked: bool,
        /// What.
        answer: Answer,
    },
    /// A leader asks for another ISR (KIP-497).
    Alter {
        /// Who.
        leader: Replica,
        /// Which incarnation.
        broker_epoch: BrokerEpoch,
        /// In which leader epoch.
        leader_epoch: Epoch,
        /// What, on top of which version.
        proposal: Proposal,
        /// The incarnations it has seen fetching; 0 where none yet (KIP-903).
        incarnations: [BrokerEpoch; MOST_REPLICAS],
    },
    /// The controller's answer.
    Altered {
        /// To this leader.
        leader: Replica,
        /// In this leader epoch.
        leader_epoch: Epoch,
        /// To this proposal.
        proposal: Proposal,
        /// The version that says so, or none: a member may not be in an ISR.
        accepted: Option<PartitionEpoch>,
    },
}

impl std::fmt::Display for State {
    /// One line for the metadata, one for each broker, one for what is on the wire.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let newest = self.controller.newest();
        let name = |replica: Replica| format!("b{}", replica + 1);
        let leader = newest.leader.map_or("nobody".to_owned(), name);
        write!(
            f,
            "partition epoch {}: {leader} leads epoch {}, ISR {}, ELR {}, fenced {}",
            self.controller.partition_epoch(),
            newest.leader_epoch,
            newest.isr,
            newest.elr,
            self.controller.fenced
        )?;
        for (replica, broker) in (0..).zip(&self.brokers) {
            let role = match &broker.role {
                _ if !broker.up => "down".to_owned(),
                Role::Idle => "idle".to_owned(),
                Role::Leader(leadership) => {
                    let proposed = leadership
                        .proposal
                        .map_or(String::new(), |wish| format!(", wants ISR {}", wish.isr));
                    format!("leads epoch {}{proposed}", self.leader_epoch(replica))
                }
                Role::Follower { leader, .. } => {
                    let leader = leader.map_or("nobody".to_owned(), name);
                    format!("follows {leader} in epoch {}", self.leader_epoch(replica))
                }
            };
            write!(
                f,
                "\n{}: {role}, log {}, high watermark {}",
                name(replica),
                broker.log,
                broker.high_watermark
            )?;
        }
        let wire: Vec<String> = self.network.iter().map(Message::to_string).collect();
        if !wire.is_empty() {
            write!(f, "\non the wire: {}", wire.join("; "))?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Message::Fetch(fetch) => write!(f, "{fetch}"),
            Message::Fetched {
                fetch, parked: true, ..
            } => write!(f, "{fetch}, kept by its leader"),
            Message::Fetched { fetch, answer, .. } => match answer {
                Answer::Records {
                    entries,
                    high_watermark,
                } => write!(f, "answer to {fetch}: {entries}, high watermark {high_watermark}"),
                Answer::Diverging { end, .. } => write!(f, "answer to {fetch}: diverging, at most to {end}"),
                Answer::OutOfRange { end } => write!(f, "answer to {fetch}: my log ends at {end}"),
                Answer::EpochEnd { end, .. } => write!(f, "answer to {fetch}: that epoch ends at {end}"),
            },
            Message::Alter { leader, proposal, .. } => write!(f, "b{} wants the ISR {}", leader + 1, proposal.isr),
            Message::Altered {
                leader,
                proposal,
                accepted,
                ..
            } => {
                let what = if accepted.is_some() { "accepted" } else { "refused" };
                write!(f, "to b{}: the ISR {} is {what}", leader + 1, proposal.isr)
            }
        }
    }
}

impl Message {
    /// The fetch that it is, or answers.
    pub fn fetch(&self) -> Option<Fetch> {
        match self {
            Message::Fetch(fetch) | Message::Fetched { fetch, .. } => Some(*fetch),
            _ => None,
        }
    }
}

/// What producers were told and consumers were shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Outside {
    /// How many records producers have sent.
    pub sent: Record,
    /// Success was told: where, what, and whether it was promised by all in sync.
    pub acked: Vec<(Offset, Entry, bool)>,
    /// What consumers were shown, by offset.
    pub read: Log,
    /// Whatever a lawful leader's high watermark has passed.
    pub committed: Log,
    /// Brokers that lost records to a fault.
    pub damaged: Set,
    /// A leader was taken from outside ISR and ELR.
    pub unclean_election: bool,
    /// How many faults happened: kills, power failures, orderly stops.
    pub faults: [u8; 3],
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// By replica.
    pub brokers: Vec<Broker>,
    /// The controller.
    pub controller: Controller,
    /// In order of their contents, so that equal sets are equal.
    pub network: Vec<Message>,
    /// Observed, never asked by the protocol.
    pub outside: Outside,
}

impl State {
    /// Puts a message on the wire. Sent twice is sent once.
    pub fn send(&mut self, message: Message) {
        if let Err(at) = self.network.binary_search(&message) {
            self.network.insert(at, message);
        }
    }

    /// The leader by the newest metadata, if it knows and leads.
    pub fn lawful_leader(&self) -> Option<(Replica, &Broker)> {
        let newest = self.controller.newest();
        let leader = newest.leader?;
        let broker = &self.brokers[usize::from(leader)];
        let leads = matches!(broker.role, Role::Leader(_)) && self.leader_epoch(leader) == newest.leader_epoch;
        (broker.up && leads).then_some((leader, broker))
    }

    /// The version that a broker acts on.
    pub fn view(&self, replica: Replica) -> &Version {
        let known = self.brokers[usize::from(replica)].known;
        self.controller.version(known).expect("known versions are kept")
    }

    /// The leader epoch that a broker is in.
    pub fn leader_epoch(&self, replica: Replica) -> Epoch {
        self.view(replica).leader_epoch
    }

    /// Committed and proposed ISR of a leader (KIP-497).
    pub fn maximal_isr(&self, leader: Replica) -> Set {
        let isr = self.view(leader).isr;
        match &self.brokers[usize::from(leader)].role {
            Role::Leader(Leadership {
                proposal: Some(proposal),
                ..
            }) => isr.union(proposal.isr),
            _ => isr,
        }
    }

    /// Forgets versions that nobody will act on any more.
    pub(super) fn prune(&mut self) {
        let oldest = self
            .brokers
            .iter()
            .map(|broker| broker.known)
            .min()
            .unwrap_or(self.controller.first);
        let forget = oldest.saturating_sub(self.controller.first) as usize;
        if forget > 0 {
            self.controller.versions.drain(..forget);
            self.controller.first = oldest;
        }
    }
}
