//! The protocol searched: each published bug by its shortest counterexample, and nothing without it.

mod laws;
mod museum;

use super::*;
use crate::check::{Options, VerdictOf, check};

/// The whole search.
fn exhaust(model: &Replication) -> VerdictOf<Replication> {
    check(model, &Options::default())
}

/// Every law that must hold, and what must be possible.
fn asked(reaches: &[&'static str]) -> Vec<&'static str> {
    ALWAYS.iter().map(|law| law.id).chain(reaches.iter().copied()).collect()
}

/// What was not as it should be, with the steps that lead there.
fn failures(verdict: &VerdictOf<Replication>) -> String {
    let failed = verdict.properties.iter().filter(|finding| finding.answer.is_failure());
    let told = failed.map(|finding| {
        let actions = finding.answer.trace().map_or(&[][..], |trace| &trace.actions);
        let steps: String = actions.iter().map(|action| format!("  {action}\n")).collect();
        format!("\n{}:\n{steps}", finding.name)
    });
    told.collect()
}

#[test]
fn crashes_reads_and_orderly_stops_break_nothing() {
    let model = Replication {
        protocol: Protocol {
            follower_reads: true,
            ..Protocol::new(2, 1)
        },
        limits: Limits {
            faults: [1, 1, 1],
            restarts: true,
            flushes: true,
            reads: true,
            acks: [true, true],
            isr_changes: [false, true],
            partition_epochs: 2,
            lag: 1,
            ..Limits::new(1, 1, 1)
        },
        asked: asked(&["commits", "credits", "acknowledges", "fails over", "is read"]),
    };
    let verdict = exhaust(&model);
    assert!(verdict.holds(), "{verdict}{}", failures(&verdict));
}

#[test]
fn fetches_that_wait_at_their_leader_break_nothing() {
    let model = Replication {
        protocol: Protocol::new(2, 1),
        limits: Limits {
            parks: true,
            false_alarms: true,
            faults: [1, 0, 0],
            restarts: true,
            partition_epochs: 2,
            ..Limits::new(1, 1, 1)
        },
        asked: asked(&["commits", "credits", "acknowledges", "fails over", "has two leaders"]),
    };
    let verdict = exhaust(&model);
    assert!(verdict.holds(), "{verdict}{}", failures(&verdict));
}

#[test]
fn a_replica_that_lost_its_log_comes_back_whole() {
    let model = Replication {
        protocol: Protocol::new(2, 1),
        limits: Limits {
            faults: [0, 1, 0],
            restarts: true,
            isr_changes: [false, true],
            partition_epochs: 2,
            lag: 1,
            ..Limits::new(1, 1, 1)
        },
        asked: asked(&["rejoins whole"]),
    };
    let verdict = exhaust(&model);
    assert!(verdict.holds(), "{verdict}{}", failures(&verdict));
}

#[test]
fn unclean_elections_lose_promises_and_acks_of_one_lose_without() {
    let lossy = Replication {
        protocol: Protocol {
            unclean_election: true,
            ..Protocol::new(2, 1)
        },
        limits: Limits {
            faults: [2, 0, 0],
            restarts: true,
            partition_epochs: 4,
            lag: 1,
            ..Limits::new(1, 1, 2)
        },
        asked: vec!["loses a promise"],
    };
    assert!(exhaust(&lossy).holds(), "an unclean election is what it is called");
    let alone = Replication {
        protocol: Protocol::new(2, 1),
        limits: Limits {
            acks: [true, false],
            faults: [1, 0, 0],
            ..Limits::new(1, 1, 1)
        },
        asked: asked(&["loses acks=1"]),
    };
    assert!(exhaust(&alone).holds(), "acks=1 promises nothing beyond the leader");
}

/// Walks every state of a search and tries, in each, actions that were thought of in others.
#[test]
fn a_refused_step_changes_nothing() {
    let model = Exhibit::of(Flaw::CreditDivergingFetch).without_flaw();
    let (mut seen, mut known) = (vec![model.protocol.initial(1)], Vec::new());
    let mut at = 0;
    while at < seen.len() {
        let state = seen[at].clone();
        at += 1;
        model.successors(&state, &mut |action, next| {
            if !seen.contains(&next) {
                seen.push(next);
            }
            if !known.contains(&action) {
                known.push(action);
            }
        });
    }
    let (mut refused, mut taken) = (0, 0);
    for state in &seen {
        for action in &known {
            let mut next = state.clone();
            match model.protocol.step(&mut next, action) {
                Ok(()) => taken += 1,
                Err(why) => {
                    refused += 1;
                    assert_eq!(next, *state, "{action} was refused ({why}) and did something");
                }
            }
        }
    }
    assert!(refused > 1000 && taken > 500, "{refused} refused, {taken} taken");
}

#[test]
fn long_logs_cost_what_a_step_changes() {
    let protocol = Protocol {
        observe: false,
        ..Protocol::new(2, 1)
    };
    let mut state = protocol.initial(0);
    let mut take = |action: Action| protocol.step(&mut state, &action).expect("lawful");
    for round in 0..1000 {
        take(Action::Produce {
            leader: 0,
            acks: Acks::One,
            count: 1000,
        });
        let fetch = Fetch {
            follower: 1,
            leader: 0,
            broker_epoch: 1,
            leader_epoch: 0,
            offset: round * 1000,
            last_epoch: (round > 0).then_some(0),
            epoch_end: false,
        };
        take(Action::HandleFetch {
            fetch,
            park: false,
            joins: false,
        });
        take(Action::HandleFetched {
            fetch,
            end: (round + 1) * 1000,
            high_watermark: 0,
        });
    }
    assert_eq!(state.brokers[1].log.end(), 1_000_000);
    assert_eq!(state.brokers[1].log.runs().len(), 1);
}

#[test]
fn actions_survive_a_file() {
    let fetch = Fetch {
        follower: 1,
        leader: 0,
        broker_epoch: 1,
        leader_epoch: 0,
        offset: 3,
        last_epoch: None,
        epoch_end: false,
    };
    let actions = vec![
        Action::ElectPreferred,
        Action::HandleFetch {
            fetch,
            park: true,
            joins: true,
        },
        Action::ProposeIsr {
            leader: 0,
            isr: Set::first(2),
        },
    ];
    let text = serde_json::to_string(&actions).expect("plain data");
    let back: Vec<Action> = serde_json::from_str(&text).expect("as written");
    assert_eq!(back, actions);
}
