//! The published specifications of Kafka's replication, revision by revision, ported state for state.
//!
//! `KafkaReplication.tla` and the modules that extend it show how the protocol came to be what it is: each KIP is a small
//! delta on one base, with the failed try beside the fix. Here the base is [`base`], and each revision a file that
//! overrides the rules that its KIP changed. The number of distinct states, of generated ones and the depth equal TLC's
//! for the same constants, and so do the lengths of counterexamples. That is what tests hold them to, and why what is odd
//! in the modules is ported as it is and said where it is.
//!
//! What the modules abstract away: crashes and lost data, what producers were told (acks, `min.insync.replicas`),
//! consumers, delayed metadata, fetch as request and response. ISR changes and the quorum's state are one step.
//!
//! Sources: hachikuji/kafka-specification; KIP-101, KIP-279, KIP-320, KIP-497.

mod async_isr;
mod base;
mod entries;
mod key;
mod kip_101;
mod kip_279;
mod kip_320;
mod kip_320_first_try;
mod properties;
mod state;
mod symmetry;
mod truncate_to_high_watermark;
mod words;

pub use async_isr::AsyncIsr;
pub use base::{Action, Revision};
pub(crate) use entries::{ENTRIES, open};
pub use kip_101::Kip101;
pub use kip_279::Kip279;
pub use kip_320::Kip320;
pub use kip_320_first_try::Kip320FirstTry;
pub use state::{Log, Record, Replica, ReplicaState, Replicas, Request, State};
pub use truncate_to_high_watermark::TruncateToHighWatermark;

use crate::check::Spec;
use key::Widths;
use stateright::{Model, Property};
use std::marker::PhantomData;

/// The constants of the modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `Replicas`: how many, 1 to 5.
    pub replicas: u8,
    /// `LogSize`: records that a log may hold, 1 to 8.
    pub log_size: u8,
    /// `MaxRecords`: records that are ever written, 1 to 8.
    pub records: u8,
    /// `MaxLeaderEpoch`: the highest leader epoch, 1 to 8; the first one is 0.
    pub leader_epochs: u8,
}

/// A revision within its bounds.
#[derive(Clone, Copy, Debug)]
pub struct Published<R> {
    limits: Limits,
    widths: Widths,
    revision: PhantomData<R>,
}

impl<R: Revision> Published<R> {
    /// The revision within these bounds, or why they are too wide.
    pub fn new(limits: Limits) -> Result<Published<R>, String> {
        let Limits {
            replicas,
            log_size,
            records,
            leader_epochs,
        } = limits;
        for (name, value, most) in [
            ("replicas", replicas, state::MOST_REPLICAS),
            ("log_size", log_size, state::MOST),
            ("records", records, state::MOST),
            ("leader_epochs", leader_epochs, state::MOST),
        ] {
            if !(1..=most).contains(&usize::from(value)) {
                return Err(format!("`{name}` must be between 1 and {most}, not {value}"));
            }
        }
        key::fits(&limits)?;
        Ok(Published {
            limits,
            widths: Widths::new(&limits),
            revision: PhantomData,
        })
    }
}

impl<R: Revision> Model for Published<R> {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::initial(self.limits.replicas)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        base::enabled::<R>(&self.limits, state, &mut |action| actions.push(action));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(base::after::<R>(state, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::properties()
    }

    fn format_action(&self, action: &Action) -> String {
        words::name(action)
    }
}

impl<R: Revision> Spec for Published<R> {
    const PACKED: bool = true;

    #[inline]
    fn key(&self, state: &State) -> u128 {
        key::pack(&self.widths, &self.limits, state)
    }

    #[inline]
    fn unpack(&self, key: u128) -> State {
        key::unpack(&self.widths, &self.limits, key)
    }

    #[inline]
    fn successors(&self, state: &State, visit: &mut impl FnMut(Action, State)) {
        base::enabled::<R>(&self.limits, state, &mut |action| {
            visit(action, base::after::<R>(state, action));
        });
    }

    fn representative(&self, state: &State) -> Option<State> {
        Some(symmetry::representative(state, |state| self.key(state)))
    }

    fn words(&self, before: &State, action: &Action, after: &State) -> String {
        words::sentence(before, action, after)
    }
}

#[cfg(test)]
mod tests;
