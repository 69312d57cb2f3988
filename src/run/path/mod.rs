//! A path of the specification, followed by the real cluster: is what breaks there broken here too?
//!
//! ```text
//!   counterexample ─▶ one arm an action ─▶ frames let through, faults, requests by hand ─▶ the same checks
//!                          │
//!                          └─ the specification goes along, step by step, and says what should have come of it
//! ```
//!
//! A valve keeps back every frame whose handling is an action of the specification, so each step has one way to go. The
//! cluster may be stricter than the specification: then a step does not happen, and that is the answer. Afterwards all is
//! let go, healed, brought to rest and read back, as after any run.
//!
//! Steps are not of one size. What waits for a timeout, or takes several messages, is coarse: its arm says so. What the
//! cluster does within another step (a parked fetch is answered, a high watermark rises, a follower asks again) is only
//! looked for. A refusal says what came instead: time passes for all while a coarse step waits, so of two brokers that are
//! down the first to fall silent is fenced first, whatever the path would have.
//!
//! Deliberately not translated: a sync at a given moment, and a power failure that takes a part of what is not synced; a
//! path that needs them is refused when it is read. Consumers do not read on the way: whether they could is the high
//! watermark's to say.

mod arms;
mod course;
mod hand;
mod quorum;
mod read;
#[cfg(test)]
mod tests;
mod walk;

pub use read::Path;

use super::{Class, Ended, Options, Outcome, Run};
use crate::scenario::Scenario;
use read::Way;
use sim::world::WorldConfig;
use walk::Walk;

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The same property is broken: at this step, from 0, or only once all is healed and read back.
    SameProperty(Option<usize>),
    /// The cluster refuses this step, from 0: it is stricter than the specification.
    Refuses(usize),
    /// The cluster goes along, and the property holds.
    Holds,
}

/// A step, and what came of it.
#[derive(Clone, Debug)]
pub struct Line {
    /// The specification's words.
    pub model: String,
    /// What the nodes said; then, if it did not go on, why.
    pub real: Vec<String>,
    /// Checks that it broke.
    pub broken: Vec<String>,
}

/// A path that was followed.
#[derive(Clone, Debug)]
pub struct Followed {
    /// The answer.
    pub answer: Answer,
    /// Step by step, as far as it went.
    pub lines: Vec<Line>,
    /// The whole run.
    pub outcome: Outcome,
}

impl Followed {
    /// The answer as an exit code. What is broken is broken, also where it is another property or comes after a refusal.
    pub fn exit_code(&self) -> u8 {
        match (self.answer, self.outcome.class) {
            (Answer::SameProperty(_), _) | (_, Class::Violated) => 1,
            (_, Class::Stuck) => 4,
            (Answer::Refuses(_), Class::Holds) => 7,
            (Answer::Holds, Class::Holds) => 0,
        }
    }
}

/// Follows a path. The scenario gives the cluster, its topic and the rules that are on in the broker; the path must fit it
/// (see [`Path::fits`]).
pub fn follow(scenario: &Scenario, seed: u64, path: &Path) -> Followed {
    follow_watched(scenario, seed, path, &mut super::Nobody)
}

/// The same before an observer; it is told each step of the specification before the cluster is asked for it.
pub fn follow_watched(scenario: &Scenario, seed: u64, path: &Path, observer: &mut dyn super::Observer) -> Followed {
    // Nothing becomes durable by itself: what a power failure takes is the path's to say.
    let config = WorldConfig {
        write_back_ns: 0,
        ..WorldConfig::default()
    };
    let mut run = Run::within(scenario, seed, &Options::default(), config);
    let mut walk = Walk::new(&mut run, path.checks(), observer);
    let caught = super::panics::catch(|| match &path.way {
        Way::Replication(spec, trace) => walk.replication(spec, trace),
        Way::Quorum(_, trace) => walk.quorum(trace),
    });
    let (lines, broken, refused) = (std::mem::take(&mut walk.lines), walk.broken, walk.refused);
    let ended = match caught {
        Ok(Ok(())) => Ended::Whole,
        Ok(Err(ended)) => ended,
        Err(words) => Ended::Panicked(words),
    };
    let outcome = run.outcome(seed, ended);
    let answer = match refused {
        // What breaks once the path has been left is not the path's doing.
        Some(step) => Answer::Refuses(step),
        None if path.checks().iter().any(|check| outcome.violates(check)) => Answer::SameProperty(broken),
        None => Answer::Holds,
    };
    Followed { answer, lines, outcome }
}
