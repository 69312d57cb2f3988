//! How far to search, and what is told on the way.

use std::time::Duration;

/// How to search. The default: all cores, symmetry where the specification offers it, to the end.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads, at least 1.
    pub workers: usize,
    /// Whether states that are alike up to the names of replicas count as one. Without effect on a specification that
    /// offers no representative.
    pub symmetry: bool,
    /// When there is nothing more to learn.
    pub stop: Stop,
    /// What a search may cost; beyond it, it is cut and says so.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            symmetry: true,
            stop: Stop::Exhausted,
            limits: Limits::default(),
        }
    }
}

/// When a search may end before every state was visited. It always ends the level first, so that what it found does not
/// depend on the number of threads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// Never.
    #[default]
    Exhausted,
    /// Once an `always` is broken.
    AtFirstCounterexample,
    /// Once each of these properties has its counterexample or example.
    WhenFound(Vec<String>),
}

/// What a search may cost; `None` is no bound.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Distinct states.
    pub states: Option<u64>,
    /// Bytes of memory.
    pub bytes: Option<u64>,
    /// States on the longest trace, the initial one included.
    pub depth: Option<u32>,
    /// Time.
    pub time: Option<Duration>,
}

/// Where a search is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The level that is being expanded; the initial states are level 1.
    pub depth: u32,
    /// Distinct states so far.
    pub distinct: u64,
    /// Generated states so far, initial ones included.
    pub generated: u64,
    /// Distinct states that wait to be expanded.
    pub queue: u64,
    /// Bytes in use by the search.
    pub bytes: u64,
    /// Since the beginning.
    pub seconds: f64,
}

impl Progress {
    /// Distinct states a second.
    pub fn rate(&self) -> f64 {
        self.distinct as f64 / self.seconds.max(1e-9)
    }
}
