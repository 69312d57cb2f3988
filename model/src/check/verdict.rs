//! What a search found, and how far that can be trusted.

use stateright::{Expectation, Model};
use std::fmt;

/// What a search found.
#[derive(Clone, Debug)]
pub struct Verdict<State, Action> {
    /// Distinct states.
    pub distinct: u64,
    /// Successors that were generated, initial states included, as TLC counts them.
    pub generated: u64,
    /// States on the longest of the shortest traces, the initial one included, as TLC counts them.
    pub depth: u32,
    /// How far the search came.
    pub outcome: Outcome,
    /// Each property of the specification, in its order.
    pub properties: Vec<Finding<State, Action>>,
    /// Wall time of the search, without the traces.
    pub seconds: f64,
    /// The most memory that visited set and queue took.
    pub peak_bytes: u64,
    /// Threads that searched.
    pub workers: usize,
    /// Whether states alike counted as one.
    pub symmetry: bool,
    /// Whether keys were exact, so that no state can have been taken for another.
    pub exact: bool,
}

/// The verdict on a specification.
pub type VerdictOf<S> = Verdict<<S as Model>::State, <S as Model>::Action>;

/// How far a search came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every reachable state was visited.
    Exhaustive,
    /// All that was asked for was found; deeper states were not visited.
    Found,
    /// A limit ended it: what it did not find may exist.
    Cut {
        /// Which.
        limit: Limit,
        /// Distinct states that were never expanded.
        queue: u64,
    },
}

/// What ended a search before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// So many distinct states.
    States(u64),
    /// So many bytes.
    Bytes(u64),
    /// So many states on a trace.
    Depth(u32),
    /// So many seconds.
    Seconds(u64),
}

/// A property and its answer.
#[derive(Clone, Debug)]
pub struct Finding<State, Action> {
    /// Its name.
    pub name: &'static str,
    /// `Always` or `Sometimes`.
    pub expectation: Expectation,
    /// What was found.
    pub answer: Answer<State, Action>,
}

/// What was found about a property.
#[derive(Clone, Debug)]
pub enum Answer<State, Action> {
    /// An `always` that every reachable state keeps.
    Holds,
    /// The shortest trace to a state that breaks an `always`.
    Counterexample(Trace<State, Action>),
    /// The shortest trace to a state that a `sometimes` asks for.
    Example(Trace<State, Action>),
    /// A `sometimes` that no reachable state fulfils: a failure, for what should be tried out never happens.
    NeverReached,
    /// The search did not come far enough to say.
    Undecided,
}

/// A path from an initial state.
#[derive(Clone, Debug)]
pub struct Trace<State, Action> {
    /// The states, the initial one first.
    pub states: Vec<State>,
    /// What led from each to the next: one fewer.
    pub actions: Vec<Action>,
}

impl<State, Action> Trace<State, Action> {
    /// The state that it was drawn for.
    pub fn last(&self) -> &State {
        self.states.last().expect("a trace holds its initial state")
    }

    /// State before, action, state after, in order.
    pub fn steps(&self) -> impl Iterator<Item = (&State, &Action, &State)> {
        let pairs = self.states.iter().zip(&self.states[1..]);
        pairs
            .zip(&self.actions)
            .map(|((before, after), action)| (before, action, after))
    }
}

impl<State, Action> Answer<State, Action> {
    /// The trace, if there is one.
    pub fn trace(&self) -> Option<&Trace<State, Action>> {
        match self {
            Answer::Counterexample(trace) | Answer::Example(trace) => Some(trace),
            _ => None,
        }
    }

    /// Whether a property is known not to be what it should be.
    pub fn is_failure(&self) -> bool {
        matches!(self, Answer::Counterexample(_) | Answer::NeverReached)
    }
}

impl<State, Action> Verdict<State, Action> {
    /// The finding of a property.
    pub fn finding(&self, name: &str) -> Option<&Finding<State, Action>> {
        self.properties.iter().find(|finding| finding.name == name)
    }

    /// States on the trace of a property, if it has one.
    pub fn trace_states(&self, name: &str) -> Option<usize> {
        let trace = self.finding(name)?.answer.trace()?;
        Some(trace.states.len())
    }

    /// True if every state was visited and every property is what it should be.
    pub fn holds(&self) -> bool {
        let decided = |answer: &Answer<State, Action>| matches!(answer, Answer::Holds | Answer::Example(_));
        self.outcome == Outcome::Exhaustive && self.properties.iter().all(|finding| decided(&finding.answer))
    }

    /// An upper bound on the probability that two states were taken for one; zero if keys were exact.
    pub fn collision_bound(&self) -> f64 {
        let states = self.distinct as f64;
        if self.exact {
            0.0
        } else {
            states * states / 2f64.powi(65)
        }
    }

    /// Bytes of memory for each distinct state, at the peak.
    pub fn bytes_per_state(&self) -> f64 {
        self.peak_bytes as f64 / (self.distinct as f64).max(1.0)
    }
}

impl<State, Action> fmt::Display for Verdict<State, Action> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            Outcome::Exhaustive => write!(f, "exhaustive: {} states, depth {}", self.distinct, self.depth),
            Outcome::Found => write!(
                f,
                "found what was asked for: {} states, to depth {}",
                self.distinct, self.depth
            ),
            Outcome::Cut { limit, queue } => {
                write!(
                    f,
                    "cut at depth {}, {} states, {queue} of them not expanded: {limit}",
                    self.depth, self.distinct
                )?;
                let symmetry = if self.symmetry { "" } else { ", symmetry over replicas" };
                write!(f, "; try smaller bounds{symmetry} or a wider limit")
            }
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::States(states) => write!(f, "more than {states} states"),
            Limit::Bytes(bytes) => write!(f, "too large for {:.1} GiB", *bytes as f64 / f64::from(1u32 << 30)),
            Limit::Depth(depth) => write!(f, "deeper than {depth}"),
            Limit::Seconds(seconds) => write!(f, "longer than {seconds} s"),
        }
    }
}
