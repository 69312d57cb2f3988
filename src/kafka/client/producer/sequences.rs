//! What an idempotent producer remembers of one partition, so that each of its records is written once and in order.
//!
//! ```text
//!   order:   ... 7 │ 8 9 │ 10 │ 11 12 │ 13 ...        counts the records of a partition and never wraps
//!                  └─ batches ─┘                       sequence = order less that of the epoch's first, modulo 2^31
//! ```
//!
//! A batch gets its sequence when it is first sent, and keeps it in every retry: that is how a broker knows it again.
//!
//! - At most five batches are unsettled, as many as a broker remembers.
//! - A batch that is sent again waits until no earlier one is under way; new ones wait behind it.
//! - A batch that fails leaves a hole, or nobody knows whether it does. Nothing new is sent then until all that is under
//!   way has ended. If a later batch was acknowledged there is no hole; else the partition goes on in a new epoch, from
//!   sequence 0 (KIP-360). Only what is certainly in no log goes along. What may be in one has failed, and its user is told
//!   that nobody knows.
//!
//! Kafka's client takes the others along too, and writes them twice if they were there (KAFKA-14034).
//!
//! Sources: Kafka 4.1 `TransactionManager`, `TxnPartitionEntry`, `RecordAccumulator.shouldStopDrainBatchesForPartition`;
//! KIP-98, KIP-360, KAFKA-5494, KAFKA-7693, KAFKA-12152.

use std::collections::BTreeSet;

/// Batches of a partition without an answer: what brokers remember.
pub const MAX_UNSETTLED: usize = 5;
/// Sequences below this, then 0 again.
const SEQUENCES: u64 = 1 << 31;

/// Producer id and epoch.
pub type Identity = (i64, i16);

/// A batch's place: as brokers see it, and in the order of its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose it is.
    pub identity: Identity,
    /// Of its first record.
    pub sequence: i32,
    /// Of its first record.
    pub order: u64,
    /// Its records.
    pub count: u64,
}

impl Place {
    /// Behind the last record, by order.
    fn end(self) -> u64 {
        self.order + self.count
    }

    /// The places of the first `count` records and of the rest.
    pub fn split(self, count: usize) -> (Place, Place) {
        let count = count as u64;
        assert!(0 < count && count < self.count, "both parts have records");
        let rest = Place {
            sequence: ((self.sequence as u64 + count) % SEQUENCES) as i32,
            order: self.order + count,
            count: self.count - count,
            ..self
        };
        (Place { count, ..self }, rest)
    }
}

/// Of one partition.
#[derive(Clone, Debug, Default)]
pub struct Sequences {
    /// As its batches carry it.
    identity: Option<Identity>,
    /// Of the next record.
    next: u64,
    /// Of the first record of this epoch.
    epoch_start: u64,
    /// First records of the batches that are in a request.
    in_flight: BTreeSet<u64>,
    /// Behind the last record that was acknowledged.
    acked_end: u64,
    /// A batch that is, or may be, missing.
    hole: Option<Hole>,
}

#[derive(Clone, Copy, Debug)]
struct Hole {
    /// Behind its last record.
    end: u64,
    /// A broker has said so; else its fate is unknown, and what was sent behind it may still be accepted.
    is_certain: bool,
}

impl Sequences {
    /// Whether a batch may be sent now, the first of its queue, in which `waiting` batches have a place. `place`: its own,
    /// if it was sent before.
    pub fn allow(&self, place: Option<Place>, waiting: usize, identity: Option<Identity>) -> bool {
        match place {
            Some(place) => self.in_flight.first().is_none_or(|first| *first > place.order),
            None => {
                let goes_on = self.identity == identity;
                let room = if goes_on { MAX_UNSETTLED } else { 1 };
                identity.is_some() && self.hole.is_none() && self.in_flight.len() + waiting < room
            }
        }
    }

    /// A batch of `count` records is sent, again if it has a place.
    pub fn send(&mut self, place: Option<Place>, count: usize, identity: Identity) -> Place {
        let place = place.unwrap_or_else(|| {
            if self.identity != Some(identity) {
                self.identity = Some(identity);
                self.epoch_start = self.next;
            }
            let order = self.next;
            self.next += count as u64;
            Place {
                identity,
                sequence: ((order - self.epoch_start) % SEQUENCES) as i32,
                order,
                count: count as u64,
            }
        });
        assert!(
            self.in_flight.insert(place.order),
            "a batch is in one request at a time"
        );
        place
    }

    /// A request of this batch has ended.
    pub fn ended(&mut self, place: Place) {
        assert!(self.in_flight.remove(&place.order), "a request ends once");
    }

    /// Whether an earlier batch than this is under way; those that wait for a retry are the queue's to know.
    pub fn is_behind_another(&self, place: Place) -> bool {
        self.in_flight.first().is_some_and(|first| *first < place.order)
    }

    /// A batch stands in the log.
    pub fn acked(&mut self, place: Place) {
        self.acked_end = self.acked_end.max(place.end());
    }

    /// A batch is not in the log, nor will it be in this epoch (`is_certain`), or nobody knows.
    pub fn failed(&mut self, place: Place, is_certain: bool) {
        let end = place.end();
        let before = self.hole.unwrap_or(Hole { end, is_certain });
        self.hole = Some(Hole {
            end: before.end.max(end),
            is_certain: before.is_certain || is_certain,
        });
    }

    /// Gives the epoch that is over for this partition, once nothing of it is under way. `waiting`: batches of its queue
    /// that have a place.
    #[must_use]
    pub fn resolve(&mut self, waiting: usize) -> Option<Identity> {
        let hole = self.hole?;
        if self.acked_end >= hole.end {
            // What came behind it was accepted, so it was there.
            self.hole = None;
            return None;
        }
        if !self.in_flight.is_empty() || waiting > 0 && !hole.is_certain {
            return None;
        }
        self.hole = None;
        self.identity.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Identity = (7, 0);

    fn sent(sequences: &mut Sequences, count: usize) -> Place {
        assert!(sequences.allow(None, 0, Some(ME)));
        sequences.send(None, count, ME)
    }

    #[test]
    fn sequences_count_records_and_go_on_at_zero() {
        let mut sequences = Sequences::default();
        assert_eq!(sent(&mut sequences, 3).sequence, 0);
        assert_eq!(sent(&mut sequences, 1).sequence, 3);
        sequences.next = SEQUENCES - 2;
        let wrapping = sent(&mut sequences, 4);
        assert_eq!(wrapping.sequence, i32::MAX - 1);
        assert_eq!(sent(&mut sequences, 1).sequence, 2);
        assert_eq!(wrapping.split(2).1.sequence, 0);
    }

    #[test]
    fn five_are_unsettled_at_most_those_that_wait_for_a_retry_included() {
        let mut sequences = Sequences::default();
        let places: Vec<Place> = (0..5).map(|_| sent(&mut sequences, 1)).collect();
        assert!(!sequences.allow(None, 0, Some(ME)));
        sequences.ended(places[0]);
        assert!(sequences.allow(None, 0, Some(ME)) && !sequences.allow(None, 1, Some(ME)));
        sequences.ended(places[2]);
        assert!(sequences.allow(Some(places[0]), 2, Some(ME)));
        assert!(
            !sequences.allow(Some(places[2]), 1, Some(ME)),
            "an earlier one is under way"
        );
    }

    #[test]
    fn without_an_identity_and_behind_a_hole_nothing_new_is_sent() {
        let mut sequences = Sequences::default();
        assert!(!sequences.allow(None, 0, None));
        let (first, second) = (sent(&mut sequences, 1), sent(&mut sequences, 1));
        sequences.ended(first);
        sequences.failed(first, false);
        assert!(!sequences.allow(None, 0, Some(ME)));
        assert_eq!(sequences.resolve(0), None, "the second may be answered yet");
        sequences.ended(second);
        assert_eq!(sequences.clone().resolve(1), None, "it waits for a retry");
        sequences.acked(second);
        assert_eq!(sequences.resolve(0), None, "and was accepted, so there is no hole");
        assert_eq!(sent(&mut sequences, 1).sequence, 2);
    }

    #[test]
    fn a_hole_ends_the_epoch_and_the_next_begins_at_zero() {
        let mut sequences = Sequences::default();
        let first = sent(&mut sequences, 2);
        sequences.ended(first);
        sequences.failed(first, true);
        assert_eq!(sequences.resolve(1), Some(ME));
        let place = sequences.send(None, 1, (7, 1));
        assert_eq!((place.identity, place.sequence), ((7, 1), 0));
    }

    #[test]
    fn a_new_epoch_waits_for_all_of_the_old_one() {
        let mut sequences = Sequences::default();
        let first = sent(&mut sequences, 1);
        assert!(!sequences.allow(None, 0, Some((7, 1))));
        sequences.ended(first);
        assert!(!sequences.allow(None, 1, Some((7, 1))), "it waits for a retry");
        assert!(sequences.allow(None, 0, Some((7, 1))));
        assert_eq!(sequences.send(None, 1, (7, 1)).sequence, 0);
    }
}
