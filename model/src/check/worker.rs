//! One thread's part of a level.

use super::options::Progress;
use super::search::{Queue, SHARDS, Search, locked};
use super::spec::Spec;
use super::visited::Slot;
use stateright::Expectation;
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Successors that wait for their shard.
const BATCH: usize = 64;
/// States between two looks at clock and limits.
const LOOK_EVERY: usize = 256;
const PROGRESS_SECONDS: f64 = 0.2;

/// One thread's part of a level.
pub(super) struct Worker<'a, 's, S: Spec> {
    search: &'a Search<'s, S>,
    batches: Vec<Queue<S::State>>,
    /// The lowest state that decides each property.
    found: Vec<Option<Slot>>,
    generated: u64,
    expanded: u64,
}

impl<'a, 's, S: Spec> Worker<'a, 's, S> {
    pub fn new(search: &'a Search<'s, S>) -> Worker<'a, 's, S> {
        Worker {
            search,
            batches: (0..SHARDS).map(|_| Queue::default()).collect(),
            found: vec![None; search.properties.len()],
            generated: 0,
            expanded: 0,
        }
    }

    /// Takes parts of the level's queue until none is left; gives what it found.
    pub fn work(
        mut self,
        queue: &[Mutex<Queue<S::State>>],
        turn: &AtomicUsize,
        only_look: bool,
        progress: &mut dyn FnMut(&Progress),
    ) -> Vec<Option<Slot>> {
        let mut told = Instant::now();
        let mut until_look = LOOK_EVERY;
        while let Some(part) = queue.get(turn.fetch_add(1, Relaxed)) {
            let part = std::mem::take(&mut *locked(part));
            let mut states = part.states.into_iter();
            for slot in part.slots {
                match states.next() {
                    Some(state) => self.visit(slot, &state, only_look),
                    None => self.visit(slot, &self.search.spec.unpack(self.search.layout.key(slot)), only_look),
                }
                until_look -= 1;
                if until_look == 0 {
                    until_look = LOOK_EVERY;
                    self.publish();
                    if self.search.cut.get().is_some() {
                        return self.finish();
                    }
                    if let Some(limit) = self.search.limit_reached() {
                        self.search.cut.get_or_init(|| limit);
                    }
                    if told.elapsed().as_secs_f64() > PROGRESS_SECONDS {
                        told = Instant::now();
                        progress(&self.search.progress());
                    }
                }
            }
        }
        self.finish()
    }

    /// Judges a state and generates what follows from it.
    #[inline]
    fn visit(&mut self, slot: Slot, state: &S::State, only_look: bool) {
        let search = self.search;
        let (key, level) = (search.layout.key(slot), search.level);
        for (i, property) in search.open_properties() {
            let holds = (property.condition)(search.spec, state);
            if holds == (property.expectation == Expectation::Sometimes) {
                // Without its parent, which another thread may still replace by a lower one.
                let this = search.layout.slot(key, level, 0);
                self.found[i] = Some(self.found[i].map_or(this, |found| found.min(this)));
            }
        }
        if !only_look {
            search.spec.successors(state, &mut |_, next| {
                self.send(search.key(&next), level + 1, key, next);
            });
            self.expanded += 1;
        }
    }

    /// Puts a state into its shard's batch.
    #[inline]
    pub fn send(&mut self, key: u128, level: u32, parent: u128, state: S::State) {
        self.generated += 1;
        let layout = self.search.layout;
        let shard = layout.shard(key);
        let batch = &mut self.batches[shard];
        batch.slots.push(layout.slot(key, level, parent));
        if !S::PACKED {
            batch.states.push(state);
        }
        if batch.slots.len() >= BATCH {
            self.flush(shard);
        }
    }

    fn flush(&mut self, shard: usize) {
        let search = self.search;
        let batch = &mut self.batches[shard];
        let mut shard = locked(&search.shards[shard]);
        let shard = &mut *shard;
        let before = shard.seen.bytes();
        shard.seen.reserve(batch.slots.len());
        // First a read of every place, which the processor does all at once, then the dependent work.
        let mut places = [0; BATCH];
        let mut read = 0;
        for (place, slot) in places.iter_mut().zip(&batch.slots) {
            *place = shard.seen.start(search.layout.key(*slot));
            read ^= shard.seen.touch(*place);
        }
        black_box(read);
        let queued = shard.next.slots.len();
        let mut states = batch.states.drain(..);
        for (slot, place) in batch.slots.drain(..).zip(places) {
            let state = states.next();
            if shard.seen.insert_at(place, slot) {
                shard.next.slots.push(slot);
                shard.next.states.extend(state);
            }
        }
        let fresh = shard.next.slots.len() - queued;
        search.distinct.fetch_add(fresh as u64, Relaxed);
        let grown = shard.seen.bytes() - before;
        if grown > 0 {
            search.table_bytes.fetch_add(grown as u64, Relaxed);
        }
    }

    fn publish(&mut self) {
        self.search
            .generated
            .fetch_add(std::mem::take(&mut self.generated), Relaxed);
        self.search
            .expanded
            .fetch_add(std::mem::take(&mut self.expanded), Relaxed);
        self.search.peak_bytes.fetch_max(self.search.bytes(), Relaxed);
    }

    /// Hands over what waits in the batches.
    pub fn finish(mut self) -> Vec<Option<Slot>> {
        for shard in 0..SHARDS {
            if !self.batches[shard].slots.is_empty() {
                self.flush(shard);
            }
        }
        self.publish();
        self.found
    }
}
