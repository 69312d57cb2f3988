//! The quorum as a whole: many seeds of a hostile world, and small scripted stories.

mod cluster;
pub(super) mod disk;
mod stories;

use super::*;
use crate::rules::Rule;
use cluster::Cluster;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One seed: faults under load, then all is well and all must agree.
fn run(voters: i32, observers: i32, rules: Rules, seed: u64, steps: u32) -> Cluster {
    let mut cluster = Cluster::started(voters, observers, rules, seed);
    for _ in 0..steps {
        cluster.hostile_step();
    }
    cluster.converge();
    cluster
}

#[test]
fn three_voters_and_an_observer_survive_a_hostile_world() {
    let (mut elections, mut committed, mut truncated, mut loaded, mut resigned) = (0, 0, 0, 0, 0);
    for seed in 0..60 {
        let cluster = run(3, 1, Rules::NONE, seed, 3_000);
        committed += cluster.committed_end();
        for (_, note) in &cluster.notes {
            match note {
                Note::BecameQuorumLeader { .. } => elections += 1,
                Note::Truncated { .. } => truncated += 1,
                Note::Restarted { .. } => loaded += 1,
                Note::ResignedQuorumLeader { .. } => resigned += 1,
                _ => {}
            }
        }
    }
    // A world in which nothing happens proves nothing.
    assert!(elections > 300, "{elections} elections");
    assert!(committed > 1_000, "{committed} records committed");
    assert!(truncated > 50, "{truncated} truncations");
    assert!(loaded > 30, "{loaded} snapshots installed");
    assert!(resigned > 50, "{resigned} leaders resigned");
}

#[test]
fn five_voters_survive_a_hostile_world() {
    for seed in 1_000..1_015 {
        run(5, 0, Rules::NONE, seed, 4_000);
    }
}

#[test]
fn a_seed_decides_everything() {
    let notes = |seed| run(3, 1, Rules::NONE, seed, 2_000).notes;
    assert!(notes(7) == notes(7));
    assert!(notes(7) != notes(8));
}

/// The first seed on which the rule breaks something, and what it said.
fn breaks(rule: Rule, seeds: u64) -> (u64, String) {
    let rules = Rules::NONE.with(rule);
    for seed in 0..seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(3, 0, rules, seed, 3_000))) {
            let literal = || panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(literal)
                .expect("a panic with words");
            return (seed, text);
        }
    }
    panic!("{} broke nothing in {seeds} seeds", rule.name());
}

#[test]
fn a_forgotten_vote_is_given_twice() {
    let (seed, text) = breaks(Rule::VoteForgottenSameEpoch, 1_000);
    assert!(text.contains("X9"), "{text}");
    run(3, 0, Rules::NONE, seed, 3_000);
}

#[test]
fn records_of_earlier_epochs_committed_too_early_are_lost() {
    let (seed, text) = breaks(Rule::RaftCommitPrevEpoch, 1_000);
    assert!(
        text.contains("X10") || text.contains("below the high watermark"),
        "{text}"
    );
    run(3, 0, Rules::NONE, seed, 3_000);
}
