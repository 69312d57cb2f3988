//! The quorum in the catalogue.

use super::{Flaw, Limits, Protocol, Quorum, Syncs};
use crate::catalogue::{Bound, Bounds, Entry, Visitor, Wrong};
use crate::replication::Set;

const fn count(name: &'static str, most: u32) -> Bound {
    Bound {
        name,
        least: 0,
        most,
        default: Some(0),
    }
}

const BOUNDS: &[Bound] = &[
    Bound::given("voters", 1, 5),
    Bound::given("epochs", 1, 8),
    Bound::given("log_size", 1, 8),
    // How many of the voters campaign, the first and then every other one; 0: all.
    count("candidates", 3),
    count("appends", 1),
    count("resigns", 1),
    count("pre_vote", 1),
    // Syncs take time, and answers wait for them.
    count("syncs", 1),
    count("kills", 8),
    count("power_failures", 8),
];

/// The only one.
pub(crate) const ENTRIES: &[Entry] = &[Entry {
    name: "quorum",
    about: "The quorum of the metadata log: votes, epochs, fetches, commit, durable votes; one rule at a time, and what it breaks",
    source: "KIP-595, KIP-996; Ongaro, Consensus, chapter 3",
    bounds: BOUNDS,
    rules: &[Flaw::RaftCommitPrevEpoch.name(), Flaw::VoteForgottenSameEpoch.name()],
}];

/// Opens it. With a rule it is asked what that rule breaks, else for all that must hold.
pub(crate) fn open<V: Visitor>(bounds: &Bounds, rules: &[String], visitor: V) -> Result<V::Output, Wrong> {
    if rules.len() > 1 {
        return Err(Wrong::at("rules", "one rule at a time"));
    }
    let flaw = rules.first().and_then(|rule| Flaw::by_name(rule));
    let is_on = |name| bounds.get(name) != 0;
    let voters = bounds.byte("voters");
    let asked = match flaw {
        Some(Flaw::RaftCommitPrevEpoch) => vec!["X10"],
        Some(Flaw::VoteForgottenSameEpoch) => vec!["X9"],
        None => vec!["X9", "X10", "I11", "elects"],
    };
    let candidates = match bounds.get("candidates") {
        0 => Set::first(voters),
        count => Set((0..count).fold(0, |set, n| set | 1 << (2 * n))),
    };
    Ok(visitor.visit(Quorum {
        protocol: Protocol {
            pre_vote: is_on("pre_vote"),
            syncs: if is_on("syncs") { Syncs::Synced } else { Syncs::Instant },
            flaw,
            watch_votes: asked.contains(&"X9"),
            ..Protocol::new(voters)
        },
        limits: Limits {
            epochs: bounds.byte("epochs").into(),
            candidates,
            log_size: bounds.get("log_size"),
            appends: is_on("appends"),
            resigns: is_on("resigns"),
            faults: [bounds.byte("kills"), bounds.byte("power_failures")],
        },
        asked,
    }))
}
