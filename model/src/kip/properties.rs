//! What the modules claim, and what must be possible for the claims to mean anything.
//!
//! `LeaderInIsr` as it is published is false of the initial state, where nobody leads; here it speaks of leaders only.
//! `TypeOk` as it is published cannot be evaluated by TLC, for it compares -1 with a record; here it says that every
//! number is within its bounds and every log without a gap.

use super::base::Revision;
use super::state::{Replica, State};
use super::{Limits, Published};
use stateright::Property;

pub(super) fn properties<R: Revision>() -> Vec<Property<Published<R>>> {
    vec![
        Property::always("TypeOk", |spec: &Published<R>, state| type_ok(&spec.limits, state)),
        Property::always("WeakIsr", |_, state| weak_isr(state)),
        Property::always("StrongIsr", |_, state| strong_isr(state)),
        Property::always("LeaderInIsr", |_, state: &State| {
            state.leader().is_none_or(|leader| state.isr.contains(leader))
        }),
        Property::always("LogMatching", |_, state| log_matching(state)),
        Property::sometimes("a record is committed", |_, state: &State| {
            state
                .presumed_leaders()
                .any(|leader| state.of(leader).high_watermark > 0)
        }),
        Property::sometimes("two presume leadership", |_, state: &State| {
            state.presumed_leaders().nth(1).is_some()
        }),
        Property::sometimes("logs diverge", |_, state: &State| {
            pairs(state).any(|(one, other)| {
                let end = state.log(one).end().min(state.log(other).end());
                !state.log(one).same_below(state.log(other), end)
            })
        }),
    ]
}

fn type_ok(limits: &Limits, state: &State) -> bool {
    let within = |replica: Replica| {
        let of = state.of(replica);
        let written = |offset| {
            of.log
                .get(offset)
                .is_some_and(|record| record.id < limits.records && record.epoch <= limits.leader_epochs)
        };
        of.high_watermark <= limits.log_size
            && of.epochs <= state.next_epoch
            && of.log.end() <= limits.log_size
            && (0..of.log.end()).all(written)
    };
    state.next_epoch <= limits.leader_epochs + 1 && state.next_record <= limits.records && state.all().all(within)
}

/// Whatever a presumed leader takes for committed, each member of the ISR *as it knows it* holds.
fn weak_isr(state: &State) -> bool {
    let holds = |leader: Replica| {
        let of = state.of(leader);
        let mut isr = of.isr.iter();
        isr.all(|member| of.log.same_below(state.log(member), of.high_watermark))
    };
    state.presumed_leaders().all(holds)
}

/// Whatever a presumed leader takes for committed, each member of the *true* ISR holds: whoever is elected next has it.
fn strong_isr(state: &State) -> bool {
    let holds = |leader: Replica| {
        let of = state.of(leader);
        let mut isr = state.isr.iter();
        isr.all(|member| of.log.same_below(state.log(member), of.high_watermark))
    };
    state.presumed_leaders().all(holds)
}

/// Two logs that hold a record of the same epoch at the same offset are the same up to it (Raft's log matching, which
/// KIP-101, 279 and 320 build on when they compare epochs instead of records).
fn log_matching(state: &State) -> bool {
    pairs(state).all(|(one, other)| {
        let (one, other) = (state.log(one), state.log(other));
        let epoch = |record: super::state::Record| record.epoch;
        let same_epoch = |offset: &u8| one.has(*offset) && one.get(*offset).map(epoch) == other.get(*offset).map(epoch);
        let last = (0..one.end()).rev().find(same_epoch);
        last.is_none_or(|last| one.same_below(other, last + 1))
    })
}

fn pairs(state: &State) -> impl Iterator<Item = (Replica, Replica)> + '_ {
    let others = |one: Replica| {
        state
            .all()
            .filter(move |other| *other > one)
            .map(move |other| (one, other))
    };
    state.all().flat_map(others)
}
