//! What an exhaustive search relies on: machines that can be copied, and states that know no age.

use super::cluster::{Cluster, How, Letters, Purpose, Travel};
use super::digest::digest;
use super::node::{Machine, NOW, later};
use super::quorum::{QuorumBounds, QuorumSpec};
use super::replication::{ReplicationBounds, ReplicationSpec, ReplicationStep};
use kafka::rules::Rules;
use model::check::{Options, Spec, check, fingerprint};

const LETTERS: Letters = Letters {
    delayed_answers: 2,
    lost_connections: 2,
    late_requests: 2,
};

fn replication() -> ReplicationSpec {
    let bounds = ReplicationBounds {
        brokers: 3,
        min_insync_replicas: 2,
        records: 3,
        decisions: 8,
        session_expiries: 3,
        preferred_elections: 2,
        lag_checks: 3,
        kills: 2,
        power_failures: 2,
        letters: LETTERS,
    };
    ReplicationSpec::new(bounds, Rules::NONE)
}

fn quorum() -> QuorumSpec {
    let bounds = QuorumBounds {
        epochs: 8,
        log_size: 8,
        timeouts: 8,
        kills: 2,
        power_failures: 2,
        letters: LETTERS,
    };
    QuorumSpec::new(bounds, Rules::NONE)
}

/// Walks at random. At each state, all that can happen happens to a copy of it, elsewhere, and must come to the same.
fn walk<S: Spec, M: Machine>(spec: impl Fn() -> S, cluster: impl Fn(&S::State) -> &Cluster<M>) {
    let (here, elsewhere) = (spec(), spec());
    let mut chance = 7_u64;
    let mut states = 0;
    for _ in 0..20 {
        let mut state = here.init_states().remove(0);
        for _ in 0..40 {
            let all = |spec: &S, state: &S::State| {
                let mut next = Vec::new();
                spec.successors(state, &mut |_, state| next.push(state));
                next
            };
            let (copies, nexts) = (all(&elsewhere, &state.clone()), all(&here, &state));
            assert!(copies == nexts, "a copy goes on as its original does");
            for node in &cluster(&state).nodes {
                let now = digest(&(&node.machine, &node.disk));
                assert!(now == node.digest, "what happens to a copy leaves its original alone");
            }
            if nexts.is_empty() {
                break;
            }
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = (chance >> 33) as usize % nexts.len();
            state = nexts.into_iter().nth(at).expect("it is one of them");
            states += 1;
        }
    }
    assert!(states > 200, "only {states} states");
}

#[test]
fn a_copy_of_a_machine_goes_on_as_its_original_and_leaves_it_alone() {
    walk(replication, |state| &state.cluster);
    walk(quorum, |state| &state.cluster);
}

#[test]
fn a_fetch_that_changes_nothing_leads_back_to_the_same_state() {
    let spec = replication();
    let fetch = ReplicationStep::Letter {
        travel: Travel {
            how: How::Exchange,
            from: 1,
            to: 0,
            purpose: Purpose::Fetch,
        },
    };
    let step = |state: &_, action| stateright::Model::next_state(&spec, state, action).expect("it is possible");
    let first = start(&spec);
    // The leader learns where its follower is, and what it gets; after that there is no news.
    let mut state = step(&first, ReplicationStep::Produce { broker: 0 });
    let mut seen = Vec::new();
    for _ in 0..5 {
        state = step(&state, fetch);
        seen.push(fingerprint(&state));
    }
    assert_ne!(seen[0], seen[1]);
    assert_eq!(seen[1..], [seen[1]; 4]);
}

fn start<S: Spec>(spec: &S) -> S::State {
    spec.init_states().remove(0)
}

#[test]
fn a_voter_that_has_waited_longer_is_the_same_voter() {
    let spec = quorum();
    let state = start(&spec);
    let node = &state.cluster.nodes[0];
    let aged = |ms: u64, forgets: bool| {
        let mut quorum = node.machine.clone().expect("it runs");
        quorum.forget_age(later(ms));
        if forgets {
            quorum.forget_age(NOW);
        }
        digest(&quorum)
    };
    assert_ne!(aged(0, false), aged(700, false));
    assert_eq!(aged(0, true), aged(700, true));
}

/// Bounds that are searched in no time.
fn small() -> (ReplicationSpec, QuorumSpec) {
    let replication = ReplicationBounds {
        brokers: 2,
        min_insync_replicas: 1,
        records: 1,
        decisions: 3,
        session_expiries: 1,
        lag_checks: 1,
        kills: 1,
        ..ReplicationBounds::default()
    };
    let quorum = QuorumBounds {
        epochs: 1,
        log_size: 2,
        timeouts: 1,
        kills: 1,
        ..QuorumBounds::default()
    };
    (
        ReplicationSpec::new(replication, Rules::NONE),
        QuorumSpec::new(quorum, Rules::NONE),
    )
}

fn counts<S: Spec>(spec: &S, workers: usize) -> (u64, u64, u32, Vec<String>) {
    let options = Options {
        workers,
        ..Options::default()
    };
    let verdict = check(spec, &options);
    let broken = verdict.properties.iter().filter(|finding| finding.answer.is_failure());
    let broken = broken.map(|finding| finding.name.to_owned()).collect();
    (verdict.distinct, verdict.generated, verdict.depth, broken)
}

#[test]
fn how_many_states_there_are_depends_on_nothing_but_the_bounds() {
    let (replication, quorum) = small();
    for workers in [1, 3] {
        // The same machines again, with all that was remembered the first time.
        let (distinct, generated, depth, broken) = counts(&replication, workers);
        assert_eq!((distinct, generated, depth), (8_908, 33_986, 15), "{workers}");
        assert_eq!(broken, [""; 0]);
        let (distinct, generated, depth, broken) = counts(&quorum, workers);
        assert_eq!((distinct, generated, depth), (5_779, 13_067, 20), "{workers}");
        assert_eq!(broken, ["a truncation happens"], "one epoch has nothing to truncate");
    }
}
