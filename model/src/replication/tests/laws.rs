//! Every law fires: by a published bug, or on a state that is wrong by hand.

use super::*;
use crate::check::{Answer as Found, Stop};

fn law(id: &str) -> &'static Law {
    ALWAYS.iter().find(|law| law.id == id).expect("a law of this name")
}

/// Searches for a state in which a flaw breaks a law.
fn breaks(id: &'static str, model: Replication) {
    let model = Replication {
        asked: vec![id],
        ..model
    };
    let options = Options {
        stop: Stop::AtFirstCounterexample,
        ..Options::default()
    };
    let verdict = check(&model, &options);
    let finding = verdict.finding(id).expect("it was asked for");
    assert!(
        matches!(finding.answer, Found::Counterexample(_)),
        "{id} never fires: {verdict}"
    );
}

fn shown(flaw: Flaw) -> Replication {
    Exhibit::of(flaw).with_flaw()
}

#[test]
fn laws_fire_on_the_bugs_that_break_them() {
    breaks(
        "X5",
        shown(Flaw::IsrJoinAtLaggingHw)
            .with(|limits| limits.faults = [2, 0, 0])
            .with(|limits| {
                limits.leader_epochs = 2;
                limits.partition_epochs = 4;
            }),
    );
    breaks(
        "C1",
        shown(Flaw::TruncateToHw).with(|limits| {
            limits.reads = true;
            limits.leader_epochs = 2;
        }),
    );
}

impl Replication {
    fn with(mut self, change: impl FnOnce(&mut Limits)) -> Replication {
        change(&mut self.limits);
        self
    }
}

fn run(epoch: Epoch, record: Record) -> Run {
    Run { epoch, record, len: 1 }
}

#[test]
fn one_epoch_and_offset_with_two_records() {
    let protocol = Protocol::new(2, 1);
    let mut state = protocol.initial(0);
    state.brokers[0].log.push(run(0, 0));
    state.brokers[1].log.push(run(1, 1));
    assert!(
        (law("X2").holds)(&protocol, &state),
        "different epochs may hold different records"
    );
    state.brokers[0].log.push(run(2, 2));
    state.brokers[1].log.push(run(2, 2));
    assert!(
        !(law("X2").holds)(&protocol, &state),
        "the same record with two histories"
    );
}

#[test]
fn two_leaders_of_one_epoch() {
    let protocol = Protocol::new(2, 1);
    let mut state = protocol.initial(0);
    state.brokers[1].role = state.brokers[0].role.clone();
    assert!(!(law("X6").holds)(&protocol, &state));
}

#[test]
fn a_record_twice() {
    let protocol = Protocol::new(2, 1);
    let mut state = protocol.initial(0);
    state.brokers[0].log.push(run(0, 0));
    state.brokers[0].log.push(run(1, 1));
    assert!((law("C2").holds)(&protocol, &state));
    state.brokers[0].log.push(run(2, 0));
    assert!(!(law("C2").holds)(&protocol, &state));
}
