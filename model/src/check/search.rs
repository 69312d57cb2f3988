//! The search by levels.
//!
//! ```text
//! level's queue ──▶ worker: properties, successors ──▶ a batch for each shard ──▶ shard: visited? else next queue
//! ```
//!
//! A worker takes a shard's part of the queue, and hands what it generates to the shards in batches, so that a lock is
//! taken and memory waited for once a batch, not once a state.

use super::options::{Limits, Options, Progress, Stop};
use super::spec::Spec;
use super::trace;
use super::verdict::{Answer, Finding, Limit, Outcome, Verdict, VerdictOf};
use super::visited::{Layout, SHARD_BITS, Slot, Table};
use super::worker::Worker;
use stateright::{Expectation, Property};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// A level of fewer states is not worth starting threads for.
const SMALL_LEVEL: usize = 2_000;
/// Levels that a slot can count.
const DEEPEST: u32 = u16::MAX as u32 - 1;
/// Parts of the visited set.
pub(super) const SHARDS: usize = 1 << SHARD_BITS;

/// Searches a specification.
///
/// # Panics
///
/// If a property is an `eventually`, or if the specification's symmetry or packing is unsound.
pub fn check<S: Spec>(spec: &S, options: &Options) -> VerdictOf<S> {
    check_with(spec, options, &mut |_| {})
}

/// Searches a specification and tells how it goes: at the end of each level, and some five times a second.
pub fn check_with<S: Spec>(spec: &S, options: &Options, progress: &mut dyn FnMut(&Progress)) -> VerdictOf<S> {
    let mut search = Search::new(spec, options);
    let outcome = search.run(progress);
    let seconds = search.started.elapsed().as_secs_f64();
    search.verdict(outcome, seconds)
}

/// States that wait to be expanded; `states` stays empty if keys say it all.
pub(super) struct Queue<State> {
    pub slots: Vec<Slot>,
    pub states: Vec<State>,
}

impl<State> Default for Queue<State> {
    fn default() -> Queue<State> {
        Queue {
            slots: Vec::new(),
            states: Vec::new(),
        }
    }
}

/// A part of the visited set, and what is new in it at this level.
pub(super) struct Shard<State> {
    pub seen: Table,
    pub next: Queue<State>,
}

/// What all workers of a search share.
pub(super) struct Search<'a, S: Spec> {
    pub spec: &'a S,
    pub layout: Layout,
    pub workers: usize,
    pub properties: Vec<Property<S>>,
    pub shards: Vec<Mutex<Shard<S::State>>>,
    /// The level that is being expanded; the initial states are level 1.
    pub level: u32,
    pub generated: AtomicU64,
    pub distinct: AtomicU64,
    pub expanded: AtomicU64,
    pub table_bytes: AtomicU64,
    pub peak_bytes: AtomicU64,
    /// The limit that ended it.
    pub cut: OnceLock<Limit>,
    symmetry: bool,
    limits: Limits,
    stop: &'a Stop,
    started: Instant,
    /// The first state that decides each property.
    found: Vec<Option<Slot>>,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a, S: Spec> Search<'a, S> {
    fn new(spec: &'a S, options: &'a Options) -> Search<'a, S> {
        let properties = spec.properties();
        for property in &properties {
            assert!(
                property.expectation != Expectation::Eventually,
                "`{}` is an `eventually`, which a search by levels cannot judge",
                property.name
            );
        }
        let layout = Layout { packed: S::PACKED };
        let initial = spec.init_states();
        let offers_symmetry = initial.iter().any(|state| spec.representative(state).is_some());
        let shard = || Shard {
            seen: Table::new(layout),
            next: Queue::default(),
        };
        Search {
            spec,
            symmetry: options.symmetry && offers_symmetry,
            layout,
            workers: options.workers.max(1),
            limits: options.limits,
            stop: &options.stop,
            found: vec![None; properties.len()],
            properties,
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
            level: 1,
            started: Instant::now(),
            generated: AtomicU64::new(0),
            distinct: AtomicU64::new(0),
            expanded: AtomicU64::new(0),
            table_bytes: AtomicU64::new((SHARDS * shard().seen.bytes()) as u64),
            peak_bytes: AtomicU64::new(0),
            cut: OnceLock::new(),
        }
    }

    /// The key by which a state is known.
    #[inline]
    pub fn key(&self, state: &S::State) -> u128 {
        match self.symmetry.then(|| self.spec.representative(state)).flatten() {
            Some(representative) => self.spec.key(&representative),
            None => self.spec.key(state),
        }
    }

    fn run(&mut self, progress: &mut dyn FnMut(&Progress)) -> Outcome {
        let mut first = Worker::new(self);
        let initial = self.spec.init_states().into_iter();
        for state in initial.filter(|state| self.spec.within_boundary(state)) {
            first.send(self.key(&state), 1, 0, state);
        }
        first.finish();
        loop {
            let queue = self.take_queue();
            let states: usize = queue.iter().map(|part| locked(part).slots.len()).sum();
            if states == 0 {
                self.level -= 1;
                return Outcome::Exhaustive;
            }
            let only_look = self.limits.depth.is_some_and(|depth| self.level >= depth) || self.level >= DEEPEST;
            let found = self.expand(&queue, states, only_look, progress);
            for (known, found) in self.found.iter_mut().zip(found) {
                *known = known.or(found);
            }
            progress(&self.progress());
            if let Some(limit) = self.cut.get() {
                return self.cut(*limit);
            }
            if only_look && self.queued() > 0 {
                return self.cut(Limit::Depth(self.level));
            }
            if self.enough() {
                return if self.queued() == 0 {
                    Outcome::Exhaustive
                } else {
                    Outcome::Found
                };
            }
            self.level += 1;
        }
    }

    fn cut(&self, limit: Limit) -> Outcome {
        Outcome::Cut {
            limit,
            queue: self.queued(),
        }
    }

    /// Expands one level; gives the lowest state at it that decides each property.
    fn expand(
        &self,
        queue: &[Mutex<Queue<S::State>>],
        states: usize,
        only_look: bool,
        progress: &mut dyn FnMut(&Progress),
    ) -> Vec<Option<Slot>> {
        let turn = AtomicUsize::new(0);
        let helpers = if states < SMALL_LEVEL { 0 } else { self.workers - 1 };
        let mut found = vec![None; self.properties.len()];
        let mut merge = |theirs: Vec<Option<Slot>>| {
            for (found, theirs) in found.iter_mut().zip(theirs) {
                *found = (*found).into_iter().chain(theirs).min();
            }
        };
        std::thread::scope(|scope| {
            let helpers: Vec<_> = (0..helpers)
                .map(|_| scope.spawn(|| Worker::new(self).work(queue, &turn, only_look, &mut |_| {})))
                .collect();
            merge(Worker::new(self).work(queue, &turn, only_look, progress));
            for helper in helpers {
                match helper.join() {
                    Ok(theirs) => merge(theirs),
                    // A specification that panics is a bug in it: it must not look like an empty level.
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        found
    }

    fn take_queue(&self) -> Vec<Mutex<Queue<S::State>>> {
        let take = |shard: &Mutex<Shard<S::State>>| Mutex::new(std::mem::take(&mut locked(shard).next));
        self.shards.iter().map(take).collect()
    }

    fn enough(&self) -> bool {
        match self.stop {
            Stop::Exhausted => false,
            Stop::AtFirstCounterexample => {
                let mut pairs = self.properties.iter().zip(&self.found);
                pairs.any(|(property, found)| property.expectation == Expectation::Always && found.is_some())
            }
            Stop::WhenFound(names) => {
                let found = |name: &String| {
                    let mut pairs = self.properties.iter().zip(&self.found);
                    pairs.any(|(property, found)| property.name == name && found.is_some())
                };
                names.iter().all(found)
            }
        }
    }

    fn queued(&self) -> u64 {
        self.distinct.load(Relaxed) - self.expanded.load(Relaxed)
    }

    pub fn bytes(&self) -> u64 {
        let state = if S::PACKED { 0 } else { self.spec.state_bytes() };
        self.table_bytes.load(Relaxed) + self.queued() * (size_of::<Slot>() + state) as u64
    }

    pub fn limit_reached(&self) -> Option<Limit> {
        let limits = &self.limits;
        let states = limits.states.filter(|states| self.distinct.load(Relaxed) > *states);
        let bytes = limits.bytes.filter(|bytes| self.bytes() > *bytes);
        let time = limits.time.filter(|time| self.started.elapsed() > *time);
        states
            .map(Limit::States)
            .or(bytes.map(Limit::Bytes))
            .or(time.map(|time| Limit::Seconds(time.as_secs())))
    }

    /// Where the search is.
    pub fn progress(&self) -> Progress {
        Progress {
            depth: self.level,
            distinct: self.distinct.load(Relaxed),
            generated: self.generated.load(Relaxed),
            queue: self.queued(),
            bytes: self.bytes(),
            seconds: self.started.elapsed().as_secs_f64(),
        }
    }

    /// Properties that earlier levels did not decide.
    #[inline]
    pub fn open_properties(&self) -> impl Iterator<Item = (usize, &Property<S>)> {
        let open = self.properties.iter().enumerate().zip(&self.found);
        open.filter(|(_, found)| found.is_none()).map(|(numbered, _)| numbered)
    }

    fn verdict(self, outcome: Outcome, seconds: f64) -> VerdictOf<S> {
        let traces = trace::draw(&self, &self.found);
        let exhaustive = outcome == Outcome::Exhaustive;
        let answer = |expectation: &Expectation, trace| match (expectation, trace) {
            (Expectation::Sometimes, Some(trace)) => Answer::Example(trace),
            (_, Some(trace)) => Answer::Counterexample(trace),
            (_, None) if !exhaustive => Answer::Undecided,
            (Expectation::Sometimes, None) => Answer::NeverReached,
            (_, None) => Answer::Holds,
        };
        let properties = self.properties.iter().zip(traces);
        Verdict {
            distinct: self.distinct.load(Relaxed),
            generated: self.generated.load(Relaxed),
            depth: self.level,
            outcome,
            properties: properties
                .map(|(property, trace)| Finding {
                    name: property.name,
                    answer: answer(&property.expectation, trace),
                    expectation: property.expectation.clone(),
                })
                .collect(),
            seconds,
            peak_bytes: self.peak_bytes.load(Relaxed).max(self.bytes()),
            workers: self.workers,
            symmetry: self.symmetry,
            exact: S::PACKED,
        }
    }
}
