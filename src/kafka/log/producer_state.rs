//! What a log knows of its idempotent producers: for each its epoch and its newest batches (KIP-98).
//!
//! ```text
//!   batches of one producer:   0‥4   5‥5   6‥9   10‥12   13‥13 │ a batch of sequences ...
//!                              ◀────────── the newest five ────▶ │ 14‥     continues                   is appended
//!                                                                │ 6‥9     is one of the five          its old offset
//!                                                                │ 15‥     leaves a gap                OUT_OF_ORDER_SEQUENCE_NUMBER
//!                                                                │ 3‥4     is none of the five, lower  OUT_OF_ORDER_SEQUENCE_NUMBER
//!   of a newer epoch                                             │ 0‥      begins it                   is appended
//!                                                                │ 7‥      does not begin at 0         OUT_OF_ORDER_SEQUENCE_NUMBER
//!   of an older epoch                                            │         comes from a zombie         INVALID_PRODUCER_EPOCH
//!   of a producer that nothing is known of                       │ 42‥     any sequence (KIP-360)      is appended
//! ```
//!
//! Guarantees: the state is the fold of the log's batches; only a leader checks, a follower takes what its leader took.
//! Sequences count to the largest 32-bit number and go on at 0 (KAFKA-7693).
//!
//! Deliberately unknown: transactions, time. Who has written nothing for long is forgotten by [`Producers::expire`].
//!
//! Sources: Kafka's ProducerStateManager, ProducerStateEntry, ProducerAppendInfo; KIP-98, KIP-360, KAFKA-5494.

use crate::types::Offset;
use crate::wire::batch::BatchHeader;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Batches of a producer that are remembered: as many as it may have in flight (KAFKA-5494).
pub const BATCHES_RETAINED: usize = 5;

/// One of the newest batches of a producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BatchMetadata {
    /// Of its last record.
    pub last_sequence: i32,
    /// Of its last record.
    pub last_offset: Offset,
    /// Its records less one.
    pub offset_delta: i32,
    /// Largest timestamp, in milliseconds.
    pub timestamp: i64,
}

impl BatchMetadata {
    fn of(header: &BatchHeader) -> BatchMetadata {
        BatchMetadata {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        }
    }

    /// Of its first record.
    pub fn base_sequence(&self) -> i32 {
        let sequence = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        sequence.rem_euclid(i64::from(i32::MAX) + 1) as i32
    }

    /// Of its first record.
    pub fn base_offset(&self) -> Offset {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// What is known of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProducerState {
    /// Of its newest batch.
    pub epoch: i16,
    /// Of its newest batch, in milliseconds.
    pub last_timestamp: i64,
    len: usize,
    /// The oldest first; what lies behind `len` is empty.
    batches: [BatchMetadata; BATCHES_RETAINED],
}

impl ProducerState {
    /// With no or one batch, as a snapshot has it.
    pub fn new(epoch: i16, last_timestamp: i64, batch: Option<BatchMetadata>) -> ProducerState {
        let mut state = ProducerState {
            epoch,
            last_timestamp,
            len: 0,
            batches: [BatchMetadata::default(); BATCHES_RETAINED],
        };
        if let Some(batch) = batch {
            state.push(batch);
        }
        state
    }

    /// The newest batches of its epoch, the oldest first.
    pub fn batches(&self) -> &[BatchMetadata] {
        &self.batches[..self.len]
    }

    /// Sequence of its last record; -1 if it has none in this epoch.
    pub fn last_sequence(&self) -> i32 {
        self.batches().last().map_or(-1, |batch| batch.last_sequence)
    }

    fn push(&mut self, batch: BatchMetadata) {
        if self.len == BATCHES_RETAINED {
            self.batches.rotate_left(1);
            self.len -= 1;
        }
        self.batches[self.len] = batch;
        self.len += 1;
    }

    fn append(&mut self, header: &BatchHeader) {
        if self.epoch != header.producer_epoch {
            *self = ProducerState::new(header.producer_epoch, header.max_timestamp, None);
        }
        self.push(BatchMetadata::of(header));
        self.last_timestamp = header.max_timestamp;
    }
}

/// What a leader makes of a producer's batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// It continues: it may be appended.
    Next,
    /// It stands in the log already.
    Duplicate(BatchMetadata),
    /// Records before it are missing, or it is older than all that is remembered.
    OutOfOrder,
    /// A newer epoch of its producer has written.
    Fenced,
}

fn follows(last: i32, next: i32) -> bool {
    i64::from(next) == i64::from(last) + 1 || next == 0 && last == i32::MAX
}

/// All producers of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Producers {
    by_id: BTreeMap<i64, ProducerState>,
}

impl Producers {
    /// Judges a client's batch, which has a producer id and a sequence.
    pub fn check(&self, header: &BatchHeader) -> Sequence {
        let Some(state) = self.by_id.get(&header.producer_id) else {
            // Its records may have been deleted, or it was silent for too long: KIP-360 lets it go on.
            return Sequence::Next;
        };
        if header.producer_epoch < state.epoch {
            return Sequence::Fenced;
        }
        if header.producer_epoch > state.epoch {
            return match header.base_sequence {
                0 => Sequence::Next,
                _ => Sequence::OutOfOrder,
            };
        }
        let same = |batch: &&BatchMetadata| {
            batch.base_sequence() == header.base_sequence && batch.last_sequence == header.last_sequence()
        };
        match state.batches().iter().find(same) {
            Some(batch) => Sequence::Duplicate(*batch),
            None if follows(state.last_sequence(), header.base_sequence) => Sequence::Next,
            None => Sequence::OutOfOrder,
        }
    }

    /// A batch was added to the log; its producer's state, if it has one. Markers of transactions have none.
    pub fn append(&mut self, header: &BatchHeader) -> Option<&ProducerState> {
        if header.producer_id < 0 || header.is_control() {
            return None;
        }
        let begin = || ProducerState::new(header.producer_epoch, header.max_timestamp, None);
        let state = self.by_id.entry(header.producer_id).or_insert_with(begin);
        state.append(header);
        Some(state)
    }

    /// Of this producer.
    pub fn get(&self, producer_id: i64) -> Option<&ProducerState> {
        self.by_id.get(&producer_id)
    }

    /// By ascending id.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &ProducerState)> {
        self.by_id.iter().map(|(id, state)| (*id, state))
    }

    /// Whether nothing is known of anybody.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Takes over what a snapshot says of a producer.
    pub fn insert(&mut self, producer_id: i64, state: ProducerState) {
        self.by_id.insert(producer_id, state);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.by_id.clear();
    }

    /// Forgets who has written nothing since `before`, in milliseconds of the records' own time. Their ids.
    pub fn expire(&mut self, before: i64) -> Vec<i64> {
        let old = |(_, state): &(&i64, &ProducerState)| state.last_timestamp <= before;
        let gone: Vec<i64> = self.by_id.iter().filter(old).map(|(id, _)| *id).collect();
        for id in &gone {
            self.by_id.remove(id);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LeaderEpoch;
    use crate::wire::batch;
    use bytes::Bytes;

    fn header(id: i64, epoch: i16, base_sequence: i32, count: usize, base_offset: Offset) -> BatchHeader {
        let records = vec![(7, None, Some(Bytes::from_static(b"v"))); count];
        let built = batch::build(&records, Some((id, epoch, base_sequence)), false);
        BatchHeader::parse(&batch::assign(&built, base_offset, LeaderEpoch(0))).unwrap()
    }

    /// Batches of one record with these sequences, of producer 1 in epoch 0, at offsets 100, 101 and so on.
    fn after(sequences: &[i32]) -> Producers {
        let mut producers = Producers::default();
        for (at, sequence) in sequences.iter().enumerate() {
            producers.append(&header(1, 0, *sequence, 1, 100 + at as i64));
        }
        producers
    }

    fn check(producers: &Producers, epoch: i16, base_sequence: i32, count: usize) -> Sequence {
        producers.check(&header(1, epoch, base_sequence, count, 0))
    }

    #[test]
    fn only_the_next_sequence_is_appended_and_each_of_the_newest_five_is_known_again() {
        let producers = after(&[0, 1, 2, 3, 4, 5]);
        assert_eq!(check(&producers, 0, 6, 3), Sequence::Next);
        assert_eq!(check(&producers, 0, 7, 1), Sequence::OutOfOrder);
        for (sequence, offset) in (1..=5).zip(101..) {
            let Sequence::Duplicate(found) = check(&producers, 0, sequence, 1) else {
                panic!("sequence {sequence} is remembered");
            };
            assert_eq!((found.base_offset(), found.last_offset), (offset, offset));
        }
        assert_eq!(check(&producers, 0, 0, 1), Sequence::OutOfOrder, "older than the five");
        // The same first record, but not the same batch.
        assert_eq!(check(&producers, 0, 5, 2), Sequence::OutOfOrder);
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_fences_the_old_one() {
        let mut producers = after(&[0, 1]);
        assert_eq!(check(&producers, 1, 2, 1), Sequence::OutOfOrder);
        assert_eq!(check(&producers, 1, 0, 1), Sequence::Next);
        producers.append(&header(1, 1, 0, 1, 102));
        assert_eq!(check(&producers, 0, 2, 1), Sequence::Fenced);
        assert_eq!(
            check(&producers, 0, 1, 1),
            Sequence::Fenced,
            "a duplicate, but of a zombie"
        );
        assert_eq!(
            producers.get(1).unwrap().batches().len(),
            1,
            "the old epoch's batches are gone"
        );
    }

    #[test]
    fn a_producer_that_is_not_known_may_begin_anywhere() {
        let producers = after(&[]);
        assert_eq!(check(&producers, 3, 42, 2), Sequence::Next);
    }

    #[test]
    fn sequences_go_on_at_zero_behind_the_largest() {
        let mut producers = Producers::default();
        producers.append(&header(1, 0, i32::MAX - 1, 2, 0));
        assert_eq!(producers.get(1).unwrap().last_sequence(), i32::MAX);
        assert_eq!(check(&producers, 0, 0, 4), Sequence::Next);
        // Within a batch too.
        let mut producers = Producers::default();
        let wrapping = header(1, 0, i32::MAX - 1, 4, 0);
        producers.append(&wrapping);
        assert_eq!(producers.get(1).unwrap().last_sequence(), 1);
        let known = producers.get(1).unwrap().batches()[0];
        assert_eq!(known.base_sequence(), i32::MAX - 1);
        assert_eq!(producers.check(&wrapping), Sequence::Duplicate(known));
        assert_eq!(check(&producers, 0, 2, 1), Sequence::Next);
    }

    #[test]
    fn a_follower_takes_what_its_leader_took() {
        let mut producers = after(&[0, 1]);
        // Its leader knew nothing of this producer any more, and an older epoch was the newest that it had.
        producers.append(&header(1, 0, 9, 1, 102));
        producers.append(&header(1, -1, 5, 1, 103));
        assert_eq!(producers.get(1).unwrap().epoch, -1);
        assert_eq!(producers.get(1).unwrap().last_sequence(), 5);
    }

    #[test]
    fn who_is_silent_for_long_is_forgotten() {
        let mut producers = after(&[0]);
        assert_eq!(producers.expire(6), Vec::<i64>::new());
        assert_eq!(producers.expire(7), vec![1]);
        assert!(producers.is_empty());
    }
}
