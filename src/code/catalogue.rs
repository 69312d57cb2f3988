//! The groups of real machines by name, with the bounds that they take: how scenario files ask for them.

use super::cluster::Letters;
use super::quorum::{QuorumBounds, QuorumSpec};
use super::replication::{ReplicationBounds, ReplicationSpec};
use kafka::rules::{Rule, Rules};
use model::catalogue::{Bound, Bounds, Entry, Question, Visitor, Wrong, read};

/// A bound on how often something happens.
const fn times(name: &'static str) -> Bound {
    Bound {
        name,
        least: 0,
        most: 8,
        default: Some(0),
    }
}

const KILLS: Bound = times("kills");
const POWER_FAILURES: Bound = times("power_failures");
const DELAYED_ANSWERS: Bound = times("delayed_answers");
const LOST_CONNECTIONS: Bound = times("lost_connections");
const LATE_REQUESTS: Bound = times("late_requests");

/// Every group.
pub const ENTRIES: &[Entry] = &[
    Entry {
        name: "replication",
        about: "The replicas of one partition, their fetchers, and the controller of its topic",
        source: "src/kafka/replication, src/kafka/controller",
        bounds: &[
            Bound::given("brokers", 2, 3),
            Bound::given("min_insync_replicas", 1, 3),
            Bound::given("records", 0, 4),
            Bound::given("decisions", 0, 8),
            times("session_expiries"),
            times("preferred_elections"),
            times("lag_checks"),
            KILLS,
            POWER_FAILURES,
            DELAYED_ANSWERS,
            LOST_CONNECTIONS,
            LATE_REQUESTS,
        ],
        rules: &[
            Rule::TruncateToHw.name(),
            Rule::EpochEndOffsetV0.name(),
            Rule::NoFetchEpochFencing.name(),
            Rule::IsrJoinAtLaggingHw.name(),
            Rule::HwFromProposedIsr.name(),
            Rule::AlterPartitionNoBrokerEpoch.name(),
            Rule::LastReplicaStanding.name(),
            Rule::CreditDivergingFetch.name(),
            Rule::AckWithoutLeadershipRecheck.name(),
        ],
    },
    Entry {
        name: "quorum",
        about: "Three voters of the metadata quorum: elections, votes, fetches, appends, crashes",
        source: "src/kafka/quorum",
        bounds: &[
            Bound::given("epochs", 1, 8),
            Bound::given("log_size", 1, 8),
            Bound::given("timeouts", 1, 16),
            KILLS,
            POWER_FAILURES,
            DELAYED_ANSWERS,
            LOST_CONNECTIONS,
            LATE_REQUESTS,
        ],
        rules: &[Rule::RaftCommitPrevEpoch.name(), Rule::VoteForgottenSameEpoch.name()],
    },
];

/// Opens the group that a question asks for.
pub fn open<V: Visitor>(question: &Question, visitor: V) -> Result<V::Output, Wrong> {
    let (name, bounds) = read(ENTRIES, question)?;
    let rules = question.rules.iter().filter_map(|rule| Rule::by_name(rule));
    let rules = rules.fold(Rules::NONE, Rules::with);
    Ok(match name {
        "replication" => visitor.visit(ReplicationSpec::new(replication(&bounds)?, rules)),
        _ => visitor.visit(QuorumSpec::new(quorum(&bounds), rules)),
    })
}

fn letters(bounds: &Bounds) -> Letters {
    Letters {
        delayed_answers: bounds.byte("delayed_answers"),
        lost_connections: bounds.byte("lost_connections"),
        late_requests: bounds.byte("late_requests"),
    }
}

fn replication(bounds: &Bounds) -> Result<ReplicationBounds, Wrong> {
    let (brokers, min_insync_replicas) = (bounds.byte("brokers"), bounds.byte("min_insync_replicas"));
    if min_insync_replicas > brokers {
        return Err(Wrong {
            place: "bounds.min_insync_replicas".to_owned(),
            problem: format!("must not be more than the {brokers} brokers, each of which has a replica"),
        });
    }
    Ok(ReplicationBounds {
        brokers,
        min_insync_replicas,
        records: bounds.byte("records"),
        decisions: bounds.byte("decisions"),
        session_expiries: bounds.byte("session_expiries"),
        preferred_elections: bounds.byte("preferred_elections"),
        lag_checks: bounds.byte("lag_checks"),
        kills: bounds.byte("kills"),
        power_failures: bounds.byte("power_failures"),
        letters: letters(bounds),
    })
}

fn quorum(bounds: &Bounds) -> QuorumBounds {
    QuorumBounds {
        epochs: bounds.byte("epochs").into(),
        log_size: bounds.byte("log_size").into(),
        timeouts: bounds.byte("timeouts"),
        kills: bounds.byte("kills"),
        power_failures: bounds.byte("power_failures"),
        letters: letters(bounds),
    }
}
