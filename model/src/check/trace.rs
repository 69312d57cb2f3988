//! Traces: from the state that decides a property back to an initial one, then forward again.
//!
//! Backward gives the keys on the way. Hashed slots remember the high bits of their parent; packed ones remember nothing,
//! so each level before is searched for the lowest key that leads to the one known. Forward then takes the first
//! successor with the next key, which is a real path also where keys stand for states alike.

use super::search::{Search, Shard, locked};
use super::spec::Spec;
use super::verdict::Trace;
use super::visited::{Slot, Table};
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

type TraceOf<S> = Trace<<S as stateright::Model>::State, <S as stateright::Model>::Action>;

/// The trace to each state that was found.
pub(super) fn draw<S: Spec>(search: &Search<'_, S>, found: &[Option<Slot>]) -> Vec<Option<TraceOf<S>>> {
    let shards: Vec<MutexGuard<'_, Shard<S::State>>> = search.shards.iter().map(locked).collect();
    let tables: Vec<&Table> = shards.iter().map(|shard| &shard.seen).collect();
    let traces = if S::PACKED {
        let chains = chains_of_keys(search, &tables, found);
        let trace = |keys: Option<Vec<u128>>| keys.map(|keys| forward(search, &keys));
        chains.into_iter().map(trace).collect::<Vec<_>>()
    } else {
        let trace = |slot: &Option<Slot>| slot.map(|slot| by_parents(search, &tables, slot));
        found.iter().map(trace).collect()
    };
    let real = |trace| match trace {
        Some(None) => panic!(
            "a trace could not be drawn again: the specification's successors depend on more than the state, its \
             `representative` is not sound, its `unpack` is not the inverse of `key`, or two states share a fingerprint"
        ),
        Some(trace) => trace,
        None => None,
    };
    traces.into_iter().map(real).collect()
}

/// From an initial state along the keys.
fn forward<S: Spec>(search: &Search<'_, S>, keys: &[u128]) -> Option<TraceOf<S>> {
    let (first, rest) = keys.split_first()?;
    let initial = search.spec.init_states();
    let initial = initial.into_iter().find(|state| search.key(state) == *first)?;
    let mut trace = Trace {
        states: vec![initial],
        actions: Vec::new(),
    };
    for key in rest {
        let mut step = None;
        search.spec.successors(trace.last(), &mut |action, next| {
            if step.is_none() && search.key(&next) == *key {
                step = Some((action, next));
            }
        });
        let (action, next) = step?;
        trace.actions.push(action);
        trace.states.push(next);
    }
    Some(trace)
}

/// Along the parents that hashed slots remember. They remember 48 bits, so now and then there are several to try.
fn by_parents<S: Spec>(search: &Search<'_, S>, tables: &[&Table], end: Slot) -> Option<TraceOf<S>> {
    let table = |place: u128| tables[search.layout.shard(place)];
    let parents = |slot: Slot| -> Vec<Slot> {
        let before = slot.level() - 1;
        let candidates = table(slot.parent()).with_high_bits(slot.parent());
        let mut parents: Vec<Slot> = candidates.filter(|parent| parent.level() == before).collect();
        parents.sort_unstable_by(|a, b| b.cmp(a));
        parents
    };
    let end = table(search.layout.key(end)).get(search.layout.key(end))?;
    // Each slot with the parents of it that were not tried yet.
    let mut path = vec![(end, parents(end))];
    while let Some((slot, untried)) = path.last_mut() {
        if slot.level() == 1 {
            let keys: Vec<u128> = path.iter().rev().map(|(slot, _)| search.layout.key(*slot)).collect();
            if let Some(trace) = forward(search, &keys) {
                return Some(trace);
            }
            path.pop();
        } else if let Some(parent) = untried.pop() {
            path.push((parent, parents(parent)));
        } else {
            path.pop();
        }
    }
    None
}

/// Keys from an initial state to each that was found, all in one pass over the levels.
fn chains_of_keys<S: Spec>(
    search: &Search<'_, S>,
    tables: &[&Table],
    found: &[Option<Slot>],
) -> Vec<Option<Vec<u128>>> {
    let mut chains: Vec<Option<Vec<u128>>> = found
        .iter()
        .map(|slot| slot.map(|slot| vec![search.layout.key(slot)]))
        .collect();
    let deepest = found.iter().flatten().map(|slot| slot.level()).max().unwrap_or(0);
    for level in (1..deepest).rev() {
        let begun = |(i, slot): (usize, &Option<Slot>)| slot.filter(|slot| slot.level() > level).map(|_| i);
        let begun: Vec<usize> = found.iter().enumerate().filter_map(begun).collect();
        let wanted: Vec<u128> = begun
            .iter()
            .filter_map(|i| chains[*i].as_ref()?.last().copied())
            .collect();
        for (i, before) in begun.iter().zip(lowest_before(search, tables, level, &wanted)) {
            if let (Some(chain), Some(before)) = (&mut chains[*i], before) {
                chain.push(before);
            }
        }
    }
    for chain in chains.iter_mut().flatten() {
        chain.reverse();
    }
    chains
}

/// The lowest key of a level that leads to each of these.
fn lowest_before<S: Spec>(search: &Search<'_, S>, tables: &[&Table], level: u32, wanted: &[u128]) -> Vec<Option<u128>> {
    let turn = AtomicUsize::new(0);
    let work = || {
        let mut lowest: Vec<Option<u128>> = vec![None; wanted.len()];
        while let Some(table) = tables.get(turn.fetch_add(1, Relaxed)) {
            for slot in table.iter().filter(|slot| slot.level() == level) {
                let key = search.layout.key(slot);
                search.spec.successors(&search.spec.unpack(key), &mut |_, next| {
                    let next = search.key(&next);
                    for (lowest, _) in lowest.iter_mut().zip(wanted).filter(|(_, wanted)| **wanted == next) {
                        *lowest = Some(lowest.map_or(key, |lowest| lowest.min(key)));
                    }
                });
            }
        }
        lowest
    };
    let merge = |mut ours: Vec<Option<u128>>, theirs: Vec<Option<u128>>| {
        for (ours, theirs) in ours.iter_mut().zip(theirs) {
            *ours = (*ours).into_iter().chain(theirs).min();
        }
        ours
    };
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..search.workers).map(|_| scope.spawn(work)).collect();
        let ours = work();
        helpers.into_iter().fold(ours, |ours, helper| match helper.join() {
            Ok(theirs) => merge(ours, theirs),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}
