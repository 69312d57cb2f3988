//! Each published bug: its shortest counterexample word by word, and the same bounds clean without it.

use super::*;
use crate::check::Stop;
use expect_test::{Expect, expect};

/// The steps of the counterexample; then states, generated states and depth of the search without the flaw.
fn exhibit(flaw: Flaw, expected: &Expect) {
    let exhibit = Exhibit::of(flaw);
    let options = Options {
        stop: Stop::AtFirstCounterexample,
        ..Options::default()
    };
    let found = check(&exhibit.with_flaw(), &options);
    let finding = found.finding(exhibit.breaks).expect("it was asked for");
    let trace = finding.answer.trace().expect("the flaw shows");
    let steps: String = trace.actions.iter().map(|action| format!("{action}\n")).collect();
    let clean = exhaust(&exhibit.without_flaw());
    assert!(clean.holds(), "without {}: {clean}{}", flaw.name(), failures(&clean));
    let counts = format!(
        "{} states, {} generated, depth {}",
        clean.distinct, clean.generated, clean.depth
    );
    expected.assert_eq(&format!(
        "{} after {} steps:\n{steps}without: {counts}\n",
        exhibit.breaks,
        trace.actions.len()
    ));
}

#[test]
fn a_follower_that_cuts_at_its_own_high_watermark() {
    exhibit(
        Flaw::TruncateToHw,
        &expect![[r#"
            X3 after 10 steps:
            b1 appends 1 record, acks=all
            b1 answers b2's fetch from 0 in epoch 0
            b2 takes the answer to b2's fetch from 0 in epoch 0: its log to 1, its high watermark to 0
            b1 answers b2's fetch from 1 in epoch 0
            b1 answers b3's fetch from 0 in epoch 0
            b3 takes the answer to b3's fetch from 0 in epoch 0: its log to 1, its high watermark to 0
            b1 answers b3's fetch from 1 in epoch 0
            b1 raises its high watermark to 1
            the controller fences b1, b2 leads
            b3 learns of partition epoch 1
            without: 29618 states, 110147 generated, depth 31
        "#]],
    );
}

#[test]
fn an_offset_without_its_epoch() {
    exhibit(
        Flaw::EpochEndOffsetV0,
        &expect![[r#"
            X1 after 12 steps:
            the controller elects the preferred leader b1
            the controller fences b1, b2 leads
            b1 learns of partition epoch 1
            b1 appends 1 record, acks=1
            b2 appends 1 record, acks=1
            b2 learns of partition epoch 2
            b2 raises its high watermark to 1
            b1 learns of partition epoch 2
            b2 answers b1's epoch question from 1 in epoch 2
            b1 takes the answer to b1's epoch question from 1 in epoch 2: its log to 1, its high watermark to 0
            b2 answers b1's fetch from 1 in epoch 2
            b1 takes the answer to b1's fetch from 1 in epoch 2: its log to 1, its high watermark to 1
            without: 66052 states, 196099 generated, depth 26
        "#]],
    );
}

#[test]
fn fetches_without_an_epoch() {
    exhibit(
        Flaw::NoFetchEpochFencing,
        &expect![[r#"
            X3 after 12 steps:
            the controller elects the preferred leader b1
            the controller fences b1, b2 leads
            b2 learns of partition epoch 2
            b2 appends 1 record, acks=1
            b2 answers b3's fetch from 0 in epoch 0
            b3 takes the answer to b3's fetch from 0 in epoch 0: its log to 1, its high watermark to 0
            b2 answers b3's fetch from 1 in epoch 0
            b2 raises its high watermark to 1
            b3 learns of partition epoch 1
            b1 learns of partition epoch 1
            b1 answers b3's epoch question from 1 in epoch 1
            b3 takes the answer to b3's epoch question from 1 in epoch 1: its log to 0, its high watermark to 0
            without: 121176 states, 549911 generated, depth 29
        "#]],
    );
}

#[test]
fn joining_at_a_lagging_high_watermark() {
    exhibit(
        Flaw::IsrJoinAtLaggingHw,
        &expect![[r#"
            X3 after 16 steps:
            b1 appends 1 record, acks=all
            b1 answers b3's fetch from 0 in epoch 0
            b3 takes the answer to b3's fetch from 0 in epoch 0: its log to 1, its high watermark to 0
            b1 answers b3's fetch from 1 in epoch 0
            b1 asks for the ISR {b1 b3}
            the controller decides about the ISR {b1 b3} that b1 wants on top of partition epoch 0
            b2 learns of partition epoch 1
            b1 hears what became of the ISR {b1 b3}
            b1 raises its high watermark to 1
            b1 is killed
            b3 learns of partition epoch 1
            the controller fences b1, b3 leads
            b3 learns of partition epoch 2
            b2 learns of partition epoch 2
            b3 answers b2's fetch from 0 in epoch 1 and asks to take b2 into the ISR
            the controller decides about the ISR {b2 b3} that b3 wants on top of partition epoch 2
            without: 202124 states, 919965 generated, depth 33
        "#]],
    );
}

#[test]
fn a_high_watermark_over_a_proposed_isr() {
    exhibit(
        Flaw::HwFromProposedIsr,
        &expect![[r#"
            X4 after 3 steps:
            b1 appends 1 record, acks=all
            b1 asks for the ISR {b1}
            b1 raises its high watermark to 1
            without: 11302 states, 50117 generated, depth 24
        "#]],
    );
}

#[test]
fn an_isr_that_names_no_incarnations() {
    exhibit(
        Flaw::AlterPartitionNoBrokerEpoch,
        &expect![[r#"
            D6 after 15 steps:
            b1 appends 1 record, acks=all
            b1 asks for the ISR {b1}
            the controller decides about the ISR {b1} that b1 wants on top of partition epoch 0
            b1 learns of partition epoch 1
            b1 raises its high watermark to 1
            b1 answers b2's fetch from 0 in epoch 0
            b2 takes the answer to b2's fetch from 0 in epoch 0: its log to 1, its high watermark to 1
            b1 answers b2's fetch from 1 in epoch 0 and asks to take b2 into the ISR
            b2 loses power; its log ends at 0
            b2 starts with high watermark 0
            the controller fences b2
            the controller registers b2
            b2 learns of partition epoch 1
            the controller unfences b2
            the controller decides about the ISR {b1 b2} that b1 wants on top of partition epoch 1
            without: 5874 states, 16607 generated, depth 27
        "#]],
    );
}

#[test]
fn the_last_replica_standing() {
    exhibit(
        Flaw::LastReplicaStanding,
        &expect![[r#"
            X14 after 19 steps:
            b1 appends 1 record, acks=all
            b1 answers b2's fetch from 0 in epoch 0
            b2 takes the answer to b2's fetch from 0 in epoch 0: its log to 1, its high watermark to 0
            the controller fences b2
            b1 answers b2's fetch from 1 in epoch 0
            b1 raises its high watermark to 1
            b1 acknowledges offset 0
            b1 loses power; its log ends at 0
            b2 learns of partition epoch 1
            the controller fences b1
            b1 starts with high watermark 0
            b2 learns of partition epoch 2
            the controller registers b1
            b1 learns of partition epoch 2
            the controller unfences b1, b1 leads
            b1 learns of partition epoch 3
            b2 learns of partition epoch 3
            b1 answers b2's fetch from 1 in epoch 2
            b2 takes the answer to b2's fetch from 1 in epoch 2: its log to 0, its high watermark to 0
            without: 10350 states, 23116 generated, depth 25
        "#]],
    );
}

#[test]
fn a_diverging_fetch_that_counts() {
    exhibit(
        Flaw::CreditDivergingFetch,
        &expect![[r#"
            X11 after 5 steps:
            the controller elects the preferred leader b1
            b2 appends 1 record, acks=1
            b1 learns of partition epoch 1
            b2 learns of partition epoch 1
            b1 answers b2's fetch from 1 in epoch 1
            without: 409 states, 692 generated, depth 18
        "#]],
    );
}

#[test]
fn an_acknowledgement_by_high_watermark_alone() {
    exhibit(
        Flaw::AckWithoutLeadershipRecheck,
        &expect![[r#"
            I9 after 15 steps:
            the controller elects the preferred leader b1
            b2 appends 1 record, acks=all
            b1 learns of partition epoch 1
            b1 appends 1 record, acks=all
            b2 learns of partition epoch 1
            b1 answers b2's fetch from 1 in epoch 1
            b2 takes the answer to b2's fetch from 1 in epoch 1: its log to 0, its high watermark to 0
            b1 answers b2's fetch from 0 in epoch 1
            b2 takes the answer to b2's fetch from 0 in epoch 1: its log to 1, its high watermark to 0
            b1 answers b2's fetch from 1 in epoch 1
            b1 raises its high watermark to 1
            b2 takes the answer to b2's fetch from 1 in epoch 1: its log to 1, its high watermark to 0
            b1 answers b2's fetch from 1 in epoch 1
            b2 takes the answer to b2's fetch from 1 in epoch 1: its log to 1, its high watermark to 1
            b2 acknowledges offset 0
            without: 924 states, 1860 generated, depth 21
        "#]],
    );
}
