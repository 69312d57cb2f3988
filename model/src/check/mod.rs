//! The checker: every state within bounds, level by level, on all cores.
//!
//! It searches anything that implements stateright's `Model` and, for a name, [`Spec`]. It promises
//!
//! - the shortest counterexample (or example) of *each* property, whatever the others do;
//! - the same counts and the same traces on any number of threads: among equally short traces it takes the one through
//!   the lowest keys, not the one that came first;
//! - an honest end: [`Outcome::Exhaustive`] if every reachable state was visited, else what cut it;
//! - that a `sometimes` never reached in an exhaustive search is a failure.
//!
//! It knows nothing of Kafka, files or terminals. A search that was cut by time, memory or number of states has counts
//! that may differ from run to run; one cut by depth has not.
//!
//! Sources: Lamport, *Specifying Systems*, chapter 14 (how TLC searches and counts); stateright 0.31.

mod fingerprint;
mod options;
mod search;
mod spec;
mod trace;
mod verdict;
mod visited;
mod worker;

pub use fingerprint::fingerprint;
pub use options::{Limits, Options, Progress, Stop};
pub use search::{check, check_with};
pub use spec::{KEY_BITS, Spec};
pub use verdict::{Answer, Finding, Limit, Outcome, Trace, Verdict, VerdictOf};

#[cfg(test)]
mod tests;
