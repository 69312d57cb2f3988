//! What can happen in the quorum: one message handled, or one local event, at one node.

use super::state::{Fetch, Voter};
use crate::replication::{Epoch, Offset};
use serde::{Deserialize, Serialize};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "action")]
pub enum Action {
    /// A voter has heard of no leader for too long. With pre-votes it first asks whether an election has a chance.
    Campaign {
        /// Who.
        voter: Voter,
    },
    /// A voter is asked for its vote.
    HandleVote {
        /// Who is asked.
        voter: Voter,
        /// For whom.
        candidate: Voter,
        /// In which epoch.
        epoch: Epoch,
        /// Only whether it would.
        pre_vote: bool,
    },
    /// A voter's epoch and vote become durable.
    SyncVote {
        /// Whose.
        voter: Voter,
    },
    /// A candidate counts a vote; with a majority it wins.
    CountVote {
        /// Who counts.
        candidate: Voter,
        /// Whose.
        voter: Voter,
        /// A pre-vote.
        pre_vote: bool,
    },
    /// A voter hears who leads.
    HandleBegin {
        /// Who hears.
        voter: Voter,
        /// Who leads.
        leader: Voter,
        /// Which epoch.
        epoch: Epoch,
    },
    /// A leader appends a record.
    Append {
        /// Where.
        leader: Voter,
    },
    /// A leader handles a fetch.
    HandleFetch {
        /// As it was sent.
        fetch: Fetch,
    },
    /// A follower handles the answer to its fetch, and makes durable what it copies.
    HandleFetched {
        /// As it was sent.
        fetch: Fetch,
        /// Where its log ends then.
        end: Offset,
    },
    /// A leader's log becomes durable.
    Flush {
        /// Whose.
        leader: Voter,
    },
    /// A leader raises its high watermark.
    AdvanceHighWatermark {
        /// Who.
        leader: Voter,
        /// New value.
        to: Offset,
    },
    /// A leader has heard of no majority for too long.
    Resign {
        /// Who.
        leader: Voter,
    },
    /// kill -9: what was written stays.
    Kill {
        /// Who.
        voter: Voter,
    },
    /// The power fails: what was not synced may be gone.
    LosePower {
        /// Who.
        voter: Voter,
        /// How much of the log is left.
        end: Offset,
    },
    /// A process starts.
    Start {
        /// Who.
        voter: Voter,
    },
}

struct Name(Voter);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "c{}", self.0 + 1)
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fetched = |fetch: &Fetch| {
            format!(
                "{}'s fetch from {} in epoch {}",
                Name(fetch.follower),
                fetch.offset,
                fetch.epoch
            )
        };
        match self {
            Action::Campaign { voter } => write!(f, "{} campaigns", Name(*voter)),
            Action::HandleVote {
                voter,
                candidate,
                epoch,
                pre_vote,
            } => {
                let what = if *pre_vote { "whether it would vote" } else { "to vote" };
                write!(
                    f,
                    "{} is asked {what} for {} in epoch {epoch}",
                    Name(*voter),
                    Name(*candidate)
                )
            }
            Action::SyncVote { voter } => write!(f, "the vote of {} is durable", Name(*voter)),
            Action::CountVote {
                candidate,
                voter,
                pre_vote,
            } => {
                let what = if *pre_vote { "pre-vote" } else { "vote" };
                write!(f, "{} counts the {what} of {}", Name(*candidate), Name(*voter))
            }
            Action::HandleBegin { voter, leader, epoch } => {
                write!(f, "{} hears that {} leads epoch {epoch}", Name(*voter), Name(*leader))
            }
            Action::Append { leader } => write!(f, "{} appends a record", Name(*leader)),
            Action::HandleFetch { fetch } => write!(f, "{} answers {}", Name(fetch.leader), fetched(fetch)),
            Action::HandleFetched { fetch, end } => {
                write!(
                    f,
                    "{} takes the answer to {}: its log to {end}",
                    Name(fetch.follower),
                    fetched(fetch)
                )
            }
            Action::Flush { leader } => write!(f, "{} syncs its log", Name(*leader)),
            Action::AdvanceHighWatermark { leader, to } => {
                write!(f, "{} raises its high watermark to {to}", Name(*leader))
            }
            Action::Resign { leader } => write!(f, "{} resigns", Name(*leader)),
            Action::Kill { voter } => write!(f, "{} is killed", Name(*voter)),
            Action::LosePower { voter, end } => write!(f, "{} loses power; its log ends at {end}", Name(*voter)),
            Action::Start { voter } => write!(f, "{} starts", Name(*voter)),
        }
    }
}
