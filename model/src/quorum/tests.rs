//! The quorum searched: each published bug by its shortest counterexample, and nothing without it.

use super::*;
use crate::check::{Options, Stop, VerdictOf, check};
use expect_test::{Expect, expect};

fn failures(verdict: &VerdictOf<Quorum>) -> String {
    let failed = verdict.properties.iter().filter(|finding| finding.answer.is_failure());
    let told = failed.map(|finding| {
        let actions = finding.answer.trace().map_or(&[][..], |trace| &trace.actions);
        let steps: String = actions.iter().map(|action| format!("  {action}\n")).collect();
        format!("\n{}:\n{steps}", finding.name)
    });
    told.collect()
}

/// The steps of the counterexample; then states, generated states and depth of the search without the flaw.
fn exhibit(flaw: Flaw, expected: &Expect) {
    let (quorum, breaks) = Quorum::showing(flaw);
    let options = Options {
        stop: Stop::AtFirstCounterexample,
        ..Options::default()
    };
    let found = check(&quorum, &options);
    let trace = found
        .finding(breaks)
        .and_then(|finding| finding.answer.trace())
        .expect("the flaw shows");
    let steps: String = trace.actions.iter().map(|action| format!("{action}\n")).collect();
    let clean = check(&quorum.without_flaw(), &Options::default());
    assert!(clean.holds(), "without {}: {clean}{}", flaw.name(), failures(&clean));
    let counts = format!(
        "{} states, {} generated, depth {}",
        clean.distinct, clean.generated, clean.depth
    );
    expected.assert_eq(&format!(
        "{breaks} after {} steps:\n{steps}without: {counts}\n",
        trace.actions.len()
    ));
}

#[test]
fn committing_records_of_earlier_epochs() {
    exhibit(
        Flaw::RaftCommitPrevEpoch,
        &expect![[r#"
        X10 after 19 steps:
        c1 campaigns
        c3 is asked to vote for c1 in epoch 1
        c1 counts the vote of c3
        c3 campaigns
        c2 is asked to vote for c3 in epoch 2
        c1 is asked to vote for c3 in epoch 2
        c1 campaigns
        c2 is asked to vote for c1 in epoch 3
        c1 counts the vote of c2
        c2 hears that c1 leads epoch 3
        c1 answers c2's fetch from 0 in epoch 3
        c2 takes the answer to c2's fetch from 0 in epoch 3: its log to 1
        c1 answers c2's fetch from 1 in epoch 3
        c3 counts the vote of c2
        c3 is asked to vote for c1 in epoch 3
        c3 campaigns
        c1 raises its high watermark to 1
        c2 is asked to vote for c3 in epoch 4
        c3 counts the vote of c2
        without: 120931 states, 526715 generated, depth 35
    "#]],
    );
}

#[test]
fn a_forgotten_vote() {
    exhibit(
        Flaw::VoteForgottenSameEpoch,
        &expect![[r#"
            X9 after 4 steps:
            c3 campaigns
            c2 is asked to vote for c3 in epoch 1
            c1 campaigns
            c2 is asked to vote for c1 in epoch 1
            without: 1838 states, 4333 generated, depth 18
        "#]],
    );
}

fn crashing(syncs: Syncs) -> Quorum {
    let (quorum, _) = Quorum::showing(Flaw::VoteForgottenSameEpoch);
    let quorum = quorum.without_flaw();
    Quorum {
        protocol: Protocol {
            syncs,
            ..quorum.protocol
        },
        limits: Limits {
            faults: [0, 1],
            ..quorum.limits
        },
        ..quorum
    }
}

#[test]
fn a_vote_that_is_answered_when_durable_is_given_once() {
    let verdict = check(&crashing(Syncs::Synced), &Options::default());
    assert!(verdict.holds(), "{verdict}{}", failures(&verdict));
}

#[test]
fn a_vote_that_is_answered_before_is_given_twice() {
    let options = Options {
        stop: Stop::AtFirstCounterexample,
        ..Options::default()
    };
    let verdict = check(&crashing(Syncs::Hasty), &options);
    assert!(
        verdict.finding("X9").is_some_and(|finding| finding.answer.is_failure()),
        "{verdict}"
    );
}

#[test]
fn pre_votes_and_resignations_break_nothing() {
    let (quorum, _) = Quorum::showing(Flaw::VoteForgottenSameEpoch);
    let quorum = quorum.without_flaw();
    let quorum = Quorum {
        protocol: Protocol {
            pre_vote: true,
            ..quorum.protocol
        },
        limits: Limits {
            epochs: 2,
            candidates: Set(0b011),
            log_size: 1,
            resigns: true,
            ..quorum.limits
        },
        ..quorum
    };
    let verdict = check(&quorum, &Options::default());
    assert!(verdict.holds(), "{verdict}{}", failures(&verdict));
}

/// Each law fires on a state that is wrong by hand; X9 and X10 do on the bugs above.
#[test]
fn a_high_watermark_beyond_what_was_committed() {
    let (quorum, _) = Quorum::showing(Flaw::RaftCommitPrevEpoch);
    let mut state = quorum.protocol.initial();
    assert!(properties::high_watermark_within_committed(&quorum, &state));
    state.nodes[0].log.push(crate::replication::Run {
        epoch: 1,
        record: 0,
        len: 1,
    });
    state.nodes[0].high_watermark = 1;
    assert!(!properties::high_watermark_within_committed(&quorum, &state));
}
