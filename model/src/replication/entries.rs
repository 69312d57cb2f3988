//! The model in the catalogue.

use super::{ALWAYS, Exhibit, Flaw, Limits, Protocol, Replication};
use crate::catalogue::{Bound, Bounds, Entry, Visitor, Wrong};

const fn switch(name: &'static str) -> Bound {
    Bound {
        name,
        least: 0,
        most: 1,
        default: Some(0),
    }
}

const fn count(name: &'static str, most: u32, default: u32) -> Bound {
    Bound {
        name,
        least: 0,
        most,
        default: Some(default),
    }
}

const BOUNDS: &[Bound] = &[
    Bound::given("replicas", 2, 5),
    Bound::given("min_insync_replicas", 1, 5),
    Bound::given("log_size", 1, 8),
    Bound::given("records", 1, 8),
    count("leader_epochs", 8, 1),
    count("partition_epochs", 16, 3),
    count("first_leader", 4, 0),
    Bound {
        name: "lag",
        least: 1,
        most: 8,
        default: Some(1),
    },
    // 1: the leader, 2: all in sync, 3: either.
    Bound {
        name: "acks",
        least: 1,
        most: 3,
        default: Some(2),
    },
    switch("eager"),
    switch("reads"),
    switch("follower_reads"),
    switch("parks"),
    switch("isr_shrinks"),
    switch("isr_grows"),
    switch("false_alarms"),
    switch("preferred_elections"),
    switch("unclean_elections"),
    count("kills", 8, 0),
    count("power_failures", 8, 0),
    count("stops", 8, 0),
    switch("wipes"),
    switch("restarts"),
    switch("flushes"),
];

const RULES: [&str; Flaw::ALL.len()] = {
    let mut names = [""; Flaw::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = Flaw::ALL[at].name();
        at += 1;
    }
    names
};

/// The only one.
pub(crate) const ENTRIES: &[Entry] = &[Entry {
    name: "replication",
    about: "Replication of one partition: stale views, acks, crashes, incarnations, ELR; one rule at a time, and what it breaks",
    source: "KIP-101, 279, 320, 392, 497, 595, 631, 841, 903, 966",
    bounds: BOUNDS,
    rules: &RULES,
}];

/// Opens it. With a rule it is asked what that rule breaks, else for all that must hold.
pub(crate) fn open<V: Visitor>(bounds: &Bounds, rules: &[String], visitor: V) -> Result<V::Output, Wrong> {
    if rules.len() > 1 {
        return Err(Wrong::at("rules", "one rule at a time"));
    }
    let flaw = rules.first().and_then(|rule| Flaw::by_name(rule));
    let number = |name| bounds.get(name);
    let byte = |name| bounds.byte(name);
    let is_on = |name| bounds.get(name) != 0;
    if number("first_leader") >= number("replicas") {
        return Err(Wrong::at("bounds.first_leader", "must be one of the replicas, from 0"));
    }
    let asked = match flaw {
        Some(flaw) => vec![Exhibit::of(flaw).breaks],
        None => ALWAYS.iter().map(|law| law.id).chain(["credits"]).collect(),
    };
    Ok(visitor.visit(Replication {
        protocol: Protocol {
            flaw,
            unclean_election: is_on("unclean_elections"),
            follower_reads: is_on("follower_reads"),
            ..Protocol::new(byte("replicas"), byte("min_insync_replicas"))
        },
        limits: Limits {
            first_leader: byte("first_leader"),
            log_size: number("log_size"),
            records: number("records"),
            leader_epochs: byte("leader_epochs").into(),
            partition_epochs: number("partition_epochs"),
            lag: number("lag"),
            acks: [number("acks") & 1 != 0, number("acks") & 2 != 0],
            reads: is_on("reads"),
            parks: is_on("parks"),
            isr_changes: [is_on("isr_shrinks"), is_on("isr_grows")],
            eager: is_on("eager"),
            false_alarms: is_on("false_alarms"),
            preferred_elections: is_on("preferred_elections"),
            faults: [byte("kills"), byte("power_failures"), byte("stops")],
            wipes: is_on("wipes"),
            restarts: is_on("restarts"),
            flushes: is_on("flushes"),
        },
        asked,
    }))
}
