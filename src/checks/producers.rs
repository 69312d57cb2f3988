//! What brokers know of idempotent producers, against what their logs say: I6.
//!
//! ```text
//!   batches of a producer in the log     0‥4  5‥5  6‥9  10‥12  13‥13  14‥15
//!   the log says                              5‥5  6‥9  10‥12  13‥13  14‥15      its epoch and newest five
//!   the broker may have read no more than                      13‥13  14‥15      from a snapshot on: the newest, at least
//! ```
//!
//! The fold is made here, from the bytes of the batches. A batch costs one step of it; the whole log is folded again only
//! after a start or a cut. A snapshot holds one batch of a producer, so after those a broker may know fewer than five; how
//! many it then says that it knows, and each one that comes behind them, it must go on knowing.
//!
//! Left out: when a producer is forgotten. Who has said that it forgot one need not know it until it writes again.
//!
//! Sources: KIP-98, KIP-360; Kafka's ProducerStateManager; KAFKA-12153, KAFKA-5494.

use super::batch::Batch;
use super::ghost::{Doubt, Replica};
use super::partition::Partition;
use super::report::Check;
use super::shadow::Cell;
use super::{Checks, marks};
use kafka::note::ProducerEntry;
use kafka::types::Offset;
use std::collections::BTreeMap;

/// Batches that brokers remember.
const REMEMBERED: usize = 5;

/// What the header of a producer's batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Written {
    pub id: i64,
    pub epoch: i16,
    pub base_sequence: i32,
    pub last_sequence: i32,
    pub timestamp: i64,
    pub last_offset: Offset,
}

/// One producer, by the log of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Known {
    epoch: i16,
    timestamp: i64,
    /// First sequence, last sequence, last offset of its newest batches; the oldest first.
    newest: Vec<(i32, i32, Offset)>,
    /// How many of them the broker knows; none if it has not said so yet.
    held: Option<usize>,
}

/// All producers of a replica.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Producers {
    by_id: BTreeMap<i64, Known>,
    /// The log has to be folded again before the next comparison.
    stale: bool,
    /// Behind the last record that a forgotten producer had written by then.
    forgotten: BTreeMap<i64, Offset>,
    /// What the broker read at its start, until the content of its log is known.
    unjudged: Option<Vec<ProducerEntry>>,
}

impl Producers {
    fn append(&mut self, batch: Written) {
        let fresh = Known {
            epoch: batch.epoch,
            timestamp: batch.timestamp,
            newest: Vec::new(),
            held: Some(0),
        };
        let known = self.by_id.entry(batch.id).or_insert_with(|| fresh.clone());
        if known.epoch != batch.epoch {
            *known = fresh;
        }
        known.timestamp = batch.timestamp;
        if known.newest.len() == REMEMBERED {
            known.newest.remove(0);
        }
        known
            .newest
            .push((batch.base_sequence, batch.last_sequence, batch.last_offset));
        known.held = known.held.map(|held| (held + 1).min(REMEMBERED));
    }

    /// From now on another log stands here.
    pub fn doubt(&mut self) {
        self.stale = true;
        self.unjudged = None;
    }

    /// Takes what is not judged yet.
    pub fn take_unjudged(&mut self) -> Option<Vec<ProducerEntry>> {
        self.unjudged.take()
    }

    /// The log is empty.
    pub fn clear(&mut self) {
        *self = Producers::default();
    }
}

impl Known {
    /// Whether a broker that says `told` knows what the log says. It may know batches that are deleted, below `start`.
    fn fits(&self, told: &ProducerEntry, start: Offset) -> bool {
        let state = &told.state;
        let batches = state.batches();
        let agrees = |(ours, theirs): (&(i32, i32, Offset), &kafka::log::producer_state::BatchMetadata)| {
            *ours == (theirs.base_sequence(), theirs.last_sequence, theirs.last_offset)
        };
        state.epoch == self.epoch
            && state.last_timestamp == self.timestamp
            && !batches.is_empty()
            && batches
                .iter()
                .rev()
                .skip(self.newest.len())
                .all(|batch| batch.last_offset < start)
            && self.held.is_none_or(|held| held == batches.len())
            && self.newest.iter().rev().zip(batches.iter().rev()).all(agrees)
    }
}

/// The log of a replica as far as it is known, folded; none if something in it is not.
fn fold(partition: &Partition, replica: &Replica) -> Option<Producers> {
    let mut folded = Producers::default();
    if partition.has_producers {
        for cell in replica.log.cells().filter(|cell| *cell != Cell::NOTHING) {
            if let Some(written) = partition.content(cell)?.producer {
                folded.append(written);
            }
        }
    }
    Some(folded)
}

fn is_known(replica: &Replica) -> bool {
    !replica.uncertain && replica.doubt <= Doubt::MidStep && replica.known
}

impl Checks {
    /// A batch stands in the log: the broker says next what it knows of its producer.
    pub(super) fn producer_wrote(&mut self, at: usize, node: usize, batch: &Batch<'_>) {
        let Some(written) = batch.producer() else { return };
        self.marks.set(marks::IDEMPOTENT_WRITE);
        let producers = &mut self.ghost.partitions[at].replicas[node].producers;
        producers.unjudged = None;
        if !producers.stale {
            producers.append(written);
        }
        self.settle.producers.push((at, node, written.id));
    }

    /// I6: what the broker knows of a producer behind its newest batch.
    pub(super) fn producer_advanced(&mut self, node: usize, at: usize, told: &ProducerEntry) {
        self.settle.producers.retain(|awaited| *awaited != (at, node, told.id));
        if !self.fold_again(at, node) {
            return;
        }
        let replica = &mut self.ghost.partitions[at].replicas[node];
        let start = replica.log.start;
        let known = replica.producers.by_id.get_mut(&told.id);
        let fits = known.as_ref().is_some_and(|known| known.fits(told, start));
        if let Some(known) = known {
            known.held = Some(told.state.batches().len());
        }
        self.judge_producer(at, node, told, fits);
    }

    /// I6: what the broker has read of all producers, at its start or after a cut.
    pub(super) fn producers_loaded(&mut self, node: usize, at: usize, told: &[ProducerEntry]) {
        if !told.is_empty() {
            self.marks.set(marks::PRODUCERS_LOADED);
        }
        self.ghost.partitions[at].replicas[node].producers.stale = true;
        if !self.fold_again(at, node) {
            self.ghost.partitions[at].replicas[node].producers.unjudged = Some(told.to_vec());
            return;
        }
        let replica = &mut self.ghost.partitions[at].replicas[node];
        let start = replica.log.start;
        let mut wrong = Vec::new();
        for entry in told {
            let batches = entry.state.batches();
            match replica.producers.by_id.get_mut(&entry.id) {
                Some(known) if known.fits(entry, start) => known.held = Some(batches.len()),
                // Its records are deleted, and it is known from a snapshot.
                None if batches.last().is_some_and(|last| last.last_offset < start) => {
                    let newest = batches.iter();
                    let newest = newest.map(|batch| (batch.base_sequence(), batch.last_sequence, batch.last_offset));
                    let known = Known {
                        epoch: entry.state.epoch,
                        timestamp: entry.state.last_timestamp,
                        newest: newest.collect(),
                        held: Some(batches.len()),
                    };
                    replica.producers.by_id.insert(entry.id, known);
                }
                _ => wrong.push(*entry),
            }
        }
        let producers = &mut replica.producers;
        let is_told = |id: &i64| told.binary_search_by_key(id, |entry| entry.id).is_ok();
        let last = |known: &Known| known.newest.last().map_or(-1, |last| last.2);
        let may_go = |id: &i64, known: &Known| {
            last(known) < start || producers.forgotten.get(id).is_some_and(|end| last(known) < *end)
        };
        let absent = producers.by_id.iter().filter(|(id, _)| !is_told(id));
        let missing: Vec<i64> = (absent.filter(|(id, known)| !may_go(id, known)))
            .map(|(id, _)| *id)
            .collect();
        producers.by_id.retain(|id, _| is_told(id));
        self.report.look(Check::I6);
        for entry in &wrong {
            self.judge_producer(at, node, entry, false);
        }
        if let Some(id) = missing.first() {
            let name = self.topic_name(at);
            self.report.fire(Check::I6, self.now, Some(node), || {
                format!("What a broker knows of producers is what its log says. {name} has batches of producer {id}, of whom nothing was read back.")
            });
        }
    }

    /// The content of a log that was opened in doubt is known: now what was read with it can be judged.
    pub(super) fn judge_loaded(&mut self, node: usize, at: usize, told: Option<Vec<ProducerEntry>>) {
        if let Some(told) = told {
            self.producers_loaded(node, at, &told);
        }
    }

    /// Silent producers were forgotten: they may begin anywhere.
    pub(super) fn producers_expired(&mut self, node: usize, at: usize, ids: &[i64]) {
        let producers = &mut self.ghost.partitions[at].replicas[node].producers;
        for id in ids {
            if let Some(known) = producers.by_id.remove(id) {
                let end = known.newest.last().map_or(0, |last| last.2 + 1);
                producers.forgotten.insert(*id, end);
            }
        }
    }

    /// I6: a step is over in which a producer's batch was added.
    pub(super) fn settle_producer(&mut self, at: usize, node: usize, id: i64) {
        let name = self.topic_name(at);
        self.report.fire(Check::I6, self.now, Some(node), || {
            format!("A broker takes note of each batch of a producer. {name} got one of producer {id}, and nothing is known of it.")
        });
    }

    /// Makes the fold what the log says now. False if that is not known.
    fn fold_again(&mut self, at: usize, node: usize) -> bool {
        let partition = &mut self.ghost.partitions[at];
        if !is_known(&partition.replicas[node]) {
            partition.replicas[node].producers.stale = true;
            return false;
        }
        if partition.replicas[node].producers.stale {
            let Some(mut folded) = fold(partition, &partition.replicas[node]) else {
                return false;
            };
            folded.by_id.values_mut().for_each(|known| known.held = None);
            let replica = &mut partition.replicas[node];
            folded.forgotten = std::mem::take(&mut replica.producers.forgotten);
            replica.producers = folded;
        }
        true
    }

    fn judge_producer(&mut self, at: usize, node: usize, told: &ProducerEntry, fits: bool) {
        if fits {
            self.report.look(Check::I6);
            return;
        }
        let name = self.topic_name(at);
        let ours = self.ghost.partitions[at].replicas[node].producers.by_id.get(&told.id);
        let ours = ours.map_or_else(
            || "nothing of it".to_owned(),
            |known| {
                format!(
                    "epoch {} and batches (first and last sequence, last offset) {:?}",
                    known.epoch, known.newest
                )
            },
        );
        let batches = told.state.batches().iter();
        let theirs: Vec<_> = batches
            .map(|batch| (batch.base_sequence(), batch.last_sequence, batch.last_offset))
            .collect();
        self.report.fire(Check::I6, self.now, Some(node), || {
            format!(
                "What a broker knows of producers is what its log says. For producer {} in {name} the log says {ours}, the broker epoch {} and batches {theirs:?}.",
                told.id, told.state.epoch
            )
        });
    }
}
