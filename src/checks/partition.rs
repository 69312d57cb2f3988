//! One partition as an observer knows it: its replicas, its batches, what is committed, what the controller decided.
//!
//! Guarantees: a batch is hashed once an append and kept once a partition; comparing a log with the committed one
//! costs what changed since the last time ([`Partition::agreed`]).
//! Deliberately does not know what is lawful: it only keeps what was said.

use super::batch::{Batch, hash};
use super::ghost::{Mask, Replica};
use super::producers::Written;
use super::shadow::{Cell, Shadow};
use super::topics::Terms;
use kafka::types::{METADATA_PARTITION, Offset, TopicPartition};
use std::collections::BTreeMap;

/// One batch, the same wherever it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    pub base: Offset,
    pub last: Offset,
    pub epoch: i32,
    /// First of its values in the partition's list.
    pub(super) values: usize,
    /// What stood before it where it was first seen.
    pub previous: Option<Cell>,
    pub(super) claimed: bool,
    /// Of an idempotent producer's.
    pub producer: Option<Written>,
}

/// Who leads and who is in sync, as sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub leader: Option<usize>,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    pub replicas: Mask,
    pub isr: Mask,
    pub elr: Mask,
    pub preferred: Option<usize>,
}

/// A state that the controller has decided and that may be committed or not.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct Pending {
    pub state: State,
    pub unclean: bool,
    pub time_ns: u64,
    pub controller: usize,
    pub controller_epoch: i32,
    /// The controller's metadata log ended here: once more than this is committed, so is the state.
    pub after: Offset,
}

/// Committed records that a new leader did not have.
#[derive(Clone, Debug)]
pub(crate) struct Drop {
    pub from: Offset,
    pub to: Offset,
    /// Why the promise does not cover them; none if it does.
    pub permitted: Option<String>,
}

/// An acks=all success: who held the records at that moment.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct Promise {
    pub base: Offset,
    pub last: Offset,
    pub held: Mask,
    pub durable: Mask,
    pub isr: Mask,
    pub elr: Mask,
    /// Members of the ISR that had flushed them, as flush.messages=1 was in force where they were appended.
    pub flushed: Mask,
}

/// One partition, the metadata log included.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    pub id: TopicPartition,
    pub terms: Terms,
    /// Its topic is being deleted, by the metadata batch at this offset of this epoch (-1: by a broker's word): its records
    /// are gone for good reason.
    pub deleted: Option<(Offset, i32)>,
    pub replicas: Vec<Replica>,
    pub(super) contents: Vec<Content>,
    pub(super) by_hash: BTreeMap<u64, u32>,
    pub(super) by_place: BTreeMap<(i32, Offset), u32>,
    pub(super) values: Vec<u64>,
    /// The committed log; its end is the highest high watermark of a legitimate leader.
    pub committed: Shadow,
    /// In which leader epoch it was committed, each up to an offset.
    pub committed_in: Vec<(Offset, i32)>,
    /// Records below are legally deleted.
    pub deleted_to: Offset,
    /// No follower may know of a higher one.
    pub highest_high_watermark: Offset,
    /// The highest that a leader gave out which had been replaced and did not know: it counts what followers fetched in
    /// its own epoch, so that the next leader has those records too. Readers believed it; nothing is committed by it.
    pub superseded_high_watermark: Offset,
    pub leaders: BTreeMap<i32, usize>,
    /// The newest state known to be committed.
    pub state: Option<State>,
    /// Decided and not known to be committed, in that order; also what controllers decided that had been replaced.
    pub pending: Vec<Pending>,
    /// An active controller was killed inside a step: what it decided there is in its log, but nobody was told.
    pub unsaid: bool,
    /// Who was elected last, whether it ever led or not.
    pub elected: Option<usize>,
    /// Epoch of the newest unclean election.
    pub unclean_epoch: i32,
    /// Whether the topic allowed it when it was decided.
    pub unclean_allowed: bool,
    /// Epoch of the newest leader that lacked committed records.
    pub reset_epoch: i32,
    /// Epoch of the newest leader whose log was compared with the committed one.
    pub completed_epoch: i32,
    /// One above the highest offset that was acknowledged with acks=all and not lost since.
    pub acked_end: Offset,
    /// Whose copies the promise counts on: in-sync or eligible, and not stopped uncleanly or damaged since.
    pub guards: Mask,
    pub drops: Vec<Drop>,
    pub promises: Vec<Promise>,
    /// Some batch has one.
    pub has_producers: bool,
}

impl Partition {
    pub fn new(id: TopicPartition, brokers: usize, terms: Terms) -> Partition {
        Partition {
            id,
            terms,
            deleted: None,
            replicas: vec![Replica::new(); brokers],
            contents: Vec::new(),
            by_hash: BTreeMap::new(),
            by_place: BTreeMap::new(),
            values: Vec::new(),
            committed: Shadow::at(0),
            committed_in: Vec::new(),
            deleted_to: 0,
            highest_high_watermark: 0,
            superseded_high_watermark: 0,
            leaders: BTreeMap::new(),
            state: None,
            pending: Vec::new(),
            unsaid: false,
            elected: None,
            unclean_epoch: -1,
            unclean_allowed: false,
            reset_epoch: -1,
            completed_epoch: -1,
            acked_end: 0,
            guards: 0,
            drops: Vec::new(),
            promises: Vec::new(),
            has_producers: false,
        }
    }

    /// Whether this is the metadata log.
    pub fn is_metadata(&self) -> bool {
        self.id == METADATA_PARTITION
    }

    /// `min.insync.replicas` for who knows the metadata log below `end`, but never more than there are replicas.
    pub fn min_isr(&self, end: Offset, replicas: Mask) -> u32 {
        let min_isr = self.terms.below(end).min_insync_replicas;
        min_isr.min(replicas.count_ones().max(1))
    }

    /// The cell of a batch, new or known.
    pub fn intern(&mut self, batch: &Batch<'_>, previous: Option<Cell>) -> Cell {
        let key = hash(batch.bytes);
        if let Some(&known) = self.by_hash.get(&key) {
            let content = &mut self.contents[known as usize];
            if content.previous.is_none() {
                content.previous = previous;
            }
            return Cell {
                epoch: batch.epoch,
                batch: known,
            };
        }
        let number = self.contents.len() as u32;
        let values = self.values.len();
        if self.id != METADATA_PARTITION && !batch.control {
            self.values
                .resize(values + (batch.last - batch.base + 1).min(1 << 20) as usize, 0);
            for (offset, value) in batch.values() {
                if let Some(slot) = usize::try_from(offset - batch.base)
                    .ok()
                    .and_then(|n| self.values.get_mut(values + n))
                {
                    *slot = value;
                }
            }
        }
        self.contents.push(Content {
            base: batch.base,
            last: batch.last,
            epoch: batch.epoch,
            values,
            previous,
            claimed: false,
            producer: batch.producer(),
        });
        self.has_producers |= batch.producer().is_some();
        self.by_hash.insert(key, number);
        Cell {
            epoch: batch.epoch,
            batch: number,
        }
    }

    /// Whether a broker has said of all batches of a log that it appended them: none was made by a flipped bit.
    pub fn knows(&self, log: &Shadow) -> bool {
        log.cells()
            .all(|cell| self.content(cell).is_some_and(|content| content.claimed))
    }

    /// Whether no broker has said of a batch that it appended it.
    pub fn is_strange(&self, batch: &Batch<'_>) -> bool {
        let known = self.by_hash.get(&hash(batch.bytes));
        known.is_none_or(|known| !self.contents[*known as usize].claimed)
    }

    /// Claims (epoch, offsets) for a batch that a broker appends; another that has claimed some of them before is returned.
    pub fn claim(&mut self, cell: Cell) -> Option<Content> {
        let content = self.contents[cell.batch as usize];
        if std::mem::replace(&mut self.contents[cell.batch as usize].claimed, true) {
            return None;
        }
        let before = self.by_place.range(..=(content.epoch, content.last)).next_back();
        let clash = before
            .filter(|((epoch, _), _)| *epoch == content.epoch)
            .map(|(_, number)| self.contents[*number as usize])
            .filter(|other| other.last >= content.base);
        self.by_place.entry((content.epoch, content.base)).or_insert(cell.batch);
        clash
    }

    /// The batch of a cell.
    pub fn content(&self, cell: Cell) -> Option<&Content> {
        self.contents.get(cell.batch as usize)
    }

    /// Hash of the value at an offset of a batch.
    pub fn value(&self, cell: Cell, offset: Offset) -> Option<u64> {
        let content = self.content(cell)?;
        self.values
            .get(content.values + usize::try_from(offset - content.base).ok()?)
            .copied()
    }

    /// Where a log that begins at `start` can be compared from. What is deleted is gone from every log, however it still
    /// looks there; but a snapshot of the metadata stands for the log of its holder only, and who has not loaded it yet
    /// may have an uncommitted tail of an earlier epoch below its end (KIP-630).
    pub fn compared_from(&self, start: Offset) -> Offset {
        if self.is_metadata() {
            start
        } else {
            start.max(self.deleted_to)
        }
    }

    /// Up to which offset (exclusive) the log of `node` holds the committed records.
    pub fn agreed(&mut self, node: usize) -> Offset {
        let from = self.compared_from(self.replicas[node].log.start);
        let committed = &self.committed;
        let replica = &mut self.replicas[node];
        let end = committed.end().min(replica.log.end());
        if replica.log.start > self.deleted_to && committed.end() > self.deleted_to {
            return self.deleted_to;
        }
        let at = replica.agree.max(from).min(committed.end());
        let at = committed.differs(&replica.log, at, end).unwrap_or(at.max(end));
        let at = at.min(replica.log.end());
        replica.agree = at;
        replica.suspended = replica.suspended.filter(|until| *until > at || replica.uncertain);
        at
    }

    /// What no cut takes, also one that nobody has heard of: what is committed. Of what is deleted nobody can say any more
    /// whether this copy was it.
    pub fn never_cut(&mut self, node: usize) -> Offset {
        let committed = self.agreed(node);
        if committed > self.deleted_to { committed } else { 0 }
    }

    /// The leader epoch in which the committed record at `offset` was committed.
    pub fn committed_in(&self, offset: Offset) -> Option<i32> {
        let at = self.committed_in.partition_point(|(end, _)| *end <= offset);
        self.committed_in.get(at).map(|(_, epoch)| *epoch)
    }

    /// How far the log was committed in this epoch or before: what a leader of the next one must hold.
    pub fn committed_until(&self, epoch: i32) -> Offset {
        let until = self.committed_in.iter().take_while(|(_, known)| *known <= epoch);
        until.last().map_or(0, |(end, _)| *end)
    }

    /// The committed log ends at `to` from now on.
    pub fn uncommit(&mut self, to: Offset) {
        self.committed.truncate(to);
        self.committed_in.iter_mut().for_each(|(end, _)| *end = to.min(*end));
        self.committed_in.dedup_by_key(|(end, _)| *end);
        for replica in &mut self.replicas {
            replica.agree = replica.agree.min(to);
        }
    }

    /// How many replicas hold the committed record at `offset`.
    pub fn copies(&mut self, offset: Offset) -> usize {
        (0..self.replicas.len())
            .filter(|&node| {
                let replica = &self.replicas[node];
                replica.known
                    && match (replica.log.get(offset), self.committed.get(offset)) {
                        (Some(its), Some(ours)) => its.agrees(ours),
                        (None, _) => replica.uncertain,
                        (_, None) => true,
                    }
            })
            .count()
    }

    /// The part of what is acknowledged that lies below `offset`.
    pub fn acked_below(&self, offset: Offset) -> Offset {
        self.acked_end.min(offset)
    }

    /// Whether `node` leads by the newest committed state that is known.
    pub fn legitimate(&self, node: usize, epoch: i32) -> bool {
        self.state.is_none_or(|state| {
            epoch > state.leader_epoch || (epoch == state.leader_epoch && state.leader == Some(node))
        })
    }
}
