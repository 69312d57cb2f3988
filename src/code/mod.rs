//! The real machines of `src/kafka` inside an exhaustive search: `check --code`.
//!
//! ```text
//!   Spec (highwater-model) ◀── quorum.rs        three voters of the metadata quorum
//!                          ◀── replication/     the replicas of one partition, their fetchers, and the controller
//!                                 │
//!   node.rs    one machine and its disk (disk.rs), stepped by memo.rs ◀── letter.rs   what is on its way
//!   witness.rs the checks of the world, as part of the state
//! ```
//!
//! Guarantees: every schedule within the bounds is tried, and every step is one of the real code; time is abstracted
//! away, so a timer may fire at any moment, and what takes time may take for ever.
//! Deliberately does not know: connections, frames, whole brokers. What each group leaves out stands at its head.

pub mod catalogue;
mod cluster;
mod digest;
mod disk;
mod letter;
mod memo;
mod node;
mod quorum;
mod replication;
mod witness;
mod words;

/// The properties of a group: an `always` for each check, one for the code's own assertions, a `sometimes` for each mark.
macro_rules! properties {
    ([$($check:literal),*], [$(($mark:literal, $reached:expr)),* $(,)?]) => {
        vec![
            $(stateright::Property::always($check, |_: &Self, state: &Self::State| {
                state.cluster.witness.broken().all(|(check, _)| check != $check)
            }),)*
            stateright::Property::always("other checks", |_: &Self, state: &Self::State| {
                state.cluster.witness.broken().all(|(check, _)| [$($check),*].contains(&check))
            }),
            stateright::Property::always("assertions of the code", |_: &Self, state: &Self::State| state.cluster.broken.is_none()),
            $(stateright::Property::sometimes($mark, |_: &Self, state: &Self::State| ($reached)(state)),)*
        ]
    };
}
use properties;

#[cfg(test)]
mod tests;
