//! What can happen: one message handled, or one local event, at one node.

use super::log::Offset;
use super::state::{Fetch, PartitionEpoch, Proposal, Replica, Set};
use serde::{Deserialize, Serialize};

/// What a producer wants to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acks {
    /// The leader.
    One,
    /// All in sync.
    All,
}

/// One step. Where a real node has a choice (how much it answers, who is elected) the choice is in the action.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "action")]
pub enum Action {
    /// A leader appends a producer's records.
    Produce {
        /// Where.
        leader: Replica,
        /// What for.
        acks: Acks,
        /// How many records.
        count: u32,
    },
    /// A leader tells a producer that all in sync hold its records.
    Acknowledge {
        /// Where.
        leader: Replica,
        /// The first offset.
        base: Offset,
    },
    /// A producer that waits is told that it failed, or that time is up.
    GiveUp {
        /// Where.
        leader: Replica,
        /// The first offset.
        base: Offset,
    },
    /// A consumer is given what it has not read yet.
    Read {
        /// By this broker.
        broker: Replica,
        /// Up to here.
        end: Offset,
    },
    /// A leader handles a fetch: it counts it and answers it, or keeps it until there is something to say.
    HandleFetch {
        /// As it was sent.
        fetch: Fetch,
        /// Nothing is new: keep it.
        park: bool,
        /// It shows that the follower is in sync: ask the controller at once to take it into the ISR.
        joins: bool,
    },
    /// A leader answers a fetch that it kept.
    AnswerParked {
        /// As it was sent.
        fetch: Fetch,
    },
    /// A follower handles the answer to its fetch.
    HandleFetched {
        /// As it was sent.
        fetch: Fetch,
        /// How far it copies: not beyond the answer.
        end: Offset,
        /// The high watermark that it takes over: not beyond the answer's, nor its own end.
        high_watermark: Offset,
    },
    /// A follower asks again, since no answer came.
    AskAgain {
        /// Who.
        follower: Replica,
    },
    /// A leader raises its high watermark.
    AdvanceHighWatermark {
        /// Who.
        leader: Replica,
        /// New value.
        to: Offset,
    },
    /// A leader asks the controller for an ISR without those that lag.
    ProposeIsr {
        /// Who.
        leader: Replica,
        /// The wish.
        isr: Set,
    },
    /// The controller decides about a proposed ISR.
    HandleAlter {
        /// By whom.
        leader: Replica,
        /// What.
        proposal: Proposal,
        /// Who leads afterwards, if that changes.
        elect: Option<Replica>,
    },
    /// A leader hears what became of its proposal.
    HandleAltered {
        /// Who.
        leader: Replica,
        /// Which.
        proposal: Proposal,
    },
    /// A broker acts on a version of the metadata; it may skip some.
    ApplyMetadata {
        /// Who.
        broker: Replica,
        /// Up to which.
        partition_epoch: PartitionEpoch,
    },
    /// The controller registers a broker that has started, and the broker hears of it.
    Register {
        /// Who.
        broker: Replica,
        /// Who leads afterwards, if that changes.
        elect: Option<Replica>,
    },
    /// The controller lets a broker serve.
    Unfence {
        /// Who.
        broker: Replica,
        /// Who leads afterwards, if that changes.
        elect: Option<Replica>,
    },
    /// The controller takes a broker for dead, or lets it go.
    Fence {
        /// Who.
        broker: Replica,
        /// Who leads afterwards, if that changes.
        elect: Option<Replica>,
    },
    /// The controller gives the leadership back to the preferred replica.
    ElectPreferred,
    /// The controller elects somebody from outside ISR and ELR.
    ElectUnclean {
        /// Whom.
        leader: Replica,
    },
    /// kill -9: the log stays.
    Kill {
        /// Who.
        broker: Replica,
    },
    /// The power fails: what was not synced may be gone.
    LosePower {
        /// Who.
        broker: Replica,
        /// How much of the log is left.
        end: Offset,
    },
    /// An orderly stop.
    Stop {
        /// Who.
        broker: Replica,
    },
    /// A disk is replaced by an empty one while its broker is down.
    Wipe {
        /// Whose.
        broker: Replica,
    },
    /// A process starts.
    Start {
        /// Who.
        broker: Replica,
        /// What its checkpoint says.
        high_watermark: Offset,
    },
    /// A log is made durable.
    Flush {
        /// Whose.
        broker: Replica,
        /// Up to here.
        end: Offset,
    },
}

impl Action {
    /// All kinds.
    pub const KINDS: [&'static str; 24] = [
        "produce",
        "acknowledge",
        "give_up",
        "read",
        "handle_fetch",
        "answer_parked",
        "handle_fetched",
        "ask_again",
        "advance_high_watermark",
        "propose_isr",
        "handle_alter",
        "handle_altered",
        "apply_metadata",
        "register",
        "unfence",
        "fence",
        "elect_preferred",
        "elect_unclean",
        "kill",
        "lose_power",
        "stop",
        "wipe",
        "start",
        "flush",
    ];

    /// Its kind, for counting.
    pub const fn kind(&self) -> &'static str {
        match self {
            Action::Produce { .. } => "produce",
            Action::Acknowledge { .. } => "acknowledge",
            Action::GiveUp { .. } => "give_up",
            Action::Read { .. } => "read",
            Action::HandleFetch { .. } => "handle_fetch",
            Action::AnswerParked { .. } => "answer_parked",
            Action::HandleFetched { .. } => "handle_fetched",
            Action::AskAgain { .. } => "ask_again",
            Action::AdvanceHighWatermark { .. } => "advance_high_watermark",
            Action::ProposeIsr { .. } => "propose_isr",
            Action::HandleAlter { .. } => "handle_alter",
            Action::HandleAltered { .. } => "handle_altered",
            Action::ApplyMetadata { .. } => "apply_metadata",
            Action::Register { .. } => "register",
            Action::Unfence { .. } => "unfence",
            Action::Fence { .. } => "fence",
            Action::ElectPreferred => "elect_preferred",
            Action::ElectUnclean { .. } => "elect_unclean",
            Action::Kill { .. } => "kill",
            Action::LosePower { .. } => "lose_power",
            Action::Stop { .. } => "stop",
            Action::Wipe { .. } => "wipe",
            Action::Start { .. } => "start",
            Action::Flush { .. } => "flush",
        }
    }
}

/// `b1` for replica 0.
struct Name(Replica);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b{}", self.0 + 1)
    }
}

/// `, b2 leads`.
struct Elected(Option<Replica>);

impl std::fmt::Display for Elected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |leader| write!(f, ", {} leads", Name(leader)))
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Action::Produce { leader, acks, count } => {
                let acks = if *acks == Acks::All { "all" } else { "1" };
                let records = if *count == 1 { "record" } else { "records" };
                write!(f, "{} appends {count} {records}, acks={acks}", Name(*leader))
            }
            Action::Acknowledge { leader, base } => write!(f, "{} acknowledges offset {base}", Name(*leader)),
            Action::GiveUp { leader, base } => write!(f, "{} answers for offset {base}: failed", Name(*leader)),
            Action::Read { broker, end } => write!(f, "a consumer reads from {} up to {end}", Name(*broker)),
            Action::HandleFetch { fetch, park, joins } => {
                let verb = if *park { "keeps" } else { "answers" };
                write!(f, "{} {verb} {fetch}", Name(fetch.leader))?;
                if *joins {
                    write!(f, " and asks to take {} into the ISR", Name(fetch.follower))?;
                }
                Ok(())
            }
            Action::AnswerParked { fetch } => write!(f, "{} now answers {fetch}", Name(fetch.leader)),
            Action::HandleFetched {
                fetch,
                end,
                high_watermark,
            } => write!(
                f,
                "{} takes the answer to {fetch}: its log to {end}, its high watermark to {high_watermark}",
                Name(fetch.follower)
            ),
            Action::AskAgain { follower } => write!(f, "{} asks again", Name(*follower)),
            Action::AdvanceHighWatermark { leader, to } => {
                write!(f, "{} raises its high watermark to {to}", Name(*leader))
            }
            Action::ProposeIsr { leader, isr } => write!(f, "{} asks for the ISR {isr}", Name(*leader)),
            Action::HandleAlter {
                leader,
                proposal,
                elect,
            } => write!(
                f,
                "the controller decides about the ISR {} that {} wants on top of partition epoch {}{}",
                proposal.isr,
                Name(*leader),
                proposal.partition_epoch,
                Elected(*elect)
            ),
            Action::HandleAltered { leader, proposal } => {
                write!(f, "{} hears what became of the ISR {}", Name(*leader), proposal.isr)
            }
            Action::ApplyMetadata {
                broker,
                partition_epoch,
            } => write!(f, "{} learns of partition epoch {partition_epoch}", Name(*broker)),
            Action::Register { broker, elect } => {
                write!(f, "the controller registers {}{}", Name(*broker), Elected(*elect))
            }
            Action::Unfence { broker, elect } => {
                write!(f, "the controller unfences {}{}", Name(*broker), Elected(*elect))
            }
            Action::Fence { broker, elect } => {
                write!(f, "the controller fences {}{}", Name(*broker), Elected(*elect))
            }
            Action::ElectPreferred => write!(f, "the controller elects the preferred leader {}", Name(0)),
            Action::ElectUnclean { leader } => write!(f, "the controller elects {} uncleanly", Name(*leader)),
            Action::Kill { broker } => write!(f, "{} is killed", Name(*broker)),
            Action::LosePower { broker, end } => {
                write!(f, "{} loses power; its log ends at {end}", Name(*broker))
            }
            Action::Stop { broker } => write!(f, "{} stops in order", Name(*broker)),
            Action::Wipe { broker } => write!(f, "{} gets an empty disk", Name(*broker)),
            Action::Start { broker, high_watermark } => {
                write!(f, "{} starts with high watermark {high_watermark}", Name(*broker))
            }
            Action::Flush { broker, end } => write!(f, "{} syncs its log to {end}", Name(*broker)),
        }
    }
}

impl std::fmt::Display for Fetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = if self.epoch_end { "epoch question" } else { "fetch" };
        write!(
            f,
            "{}'s {what} from {} in epoch {}",
            Name(self.follower),
            self.offset,
            self.leader_epoch
        )
    }
}
