//! Records that were fetched and wait for the user's poll.
//!
//! Guarantees: only records at or after the asked offset, in order, none of a control batch; a batch that is cut off at
//! the end of the answer is left for the next fetch; a batch whose checksum does not match is an error.
//! Does not know: whether the position they were fetched at still holds; the owner drops them when it does not.
//!
//! Sources: Kafka 4.1 `CompletedFetch`; `check.crcs`.

use crate::types::{LeaderEpoch, NodeId, Offset};
use crate::wire::batch::{self, BatchError, BatchHeader};
use bytes::Bytes;
use std::collections::VecDeque;

/// Offset, leader epoch and value of a record.
pub type Polled = (Offset, LeaderEpoch, Bytes);

/// One partition's part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Not yet handed over.
    pub records: VecDeque<Polled>,
    /// Position when all are handed over: after the last batch, also where its last records are compacted away.
    pub end: Offset,
    /// Epoch of the last batch; `None` if there was none.
    pub end_epoch: Option<LeaderEpoch>,
    /// As the answer says.
    pub high_watermark: Offset,
    /// As the answer says.
    pub log_start_offset: Offset,
    /// The broker that answered.
    pub from: NodeId,
}

impl Fetched {
    /// Reads the batches of an answer to a fetch at `position`.
    pub fn read(position: Offset, records: &Bytes, from: NodeId) -> Result<Fetched, BatchError> {
        let mut fetched = Fetched {
            records: VecDeque::new(),
            end: position,
            end_epoch: None,
            high_watermark: -1,
            log_start_offset: -1,
            from,
        };
        for next in batch::batches(records) {
            match next.and_then(|(header, bytes)| fetched.add(position, header, &bytes)) {
                Ok(()) => {}
                // What came before the damage is good; the next fetch begins at the damage and fails.
                Err(_) if fetched.end_epoch.is_some() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(fetched)
    }

    fn add(&mut self, position: Offset, header: BatchHeader, bytes: &Bytes) -> Result<(), BatchError> {
        // The broker answers with the whole batch that holds the offset, perhaps with whole batches before it.
        if header.last_offset() < position {
            return Ok(());
        }
        batch::check(bytes)?;
        let epoch = header.partition_leader_epoch;
        let before = self.records.len();
        if !header.is_control() {
            for record in batch::records(bytes) {
                match record {
                    Ok(record) if record.offset < position => {}
                    Ok(record) => self
                        .records
                        .push_back((record.offset, epoch, record.value.unwrap_or_default())),
                    Err(error) => {
                        self.records.truncate(before);
                        return Err(error);
                    }
                }
            }
        }
        self.end = header.next_offset();
        self.end_epoch = Some(epoch);
        Ok(())
    }

    /// The next records, at most so many, and where the position is after them.
    pub fn take(&mut self, max: usize) -> (Vec<Polled>, Offset, Option<LeaderEpoch>) {
        let records: Vec<Polled> = self.records.drain(..max.min(self.records.len())).collect();
        match records.last() {
            // Some are left: the position is after the last that is handed over.
            Some((offset, epoch, _)) if !self.records.is_empty() => {
                let (next, epoch) = (offset + 1, *epoch);
                (records, next, Some(epoch))
            }
            _ => (records, self.end, self.end_epoch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(base_offset: Offset, epoch: i32, values: &[&'static str], control: bool) -> Bytes {
        let records: Vec<_> = values
            .iter()
            .map(|value| (0, None, Some(Bytes::from(*value))))
            .collect();
        batch::assign(&batch::build(&records, None, control), base_offset, LeaderEpoch(epoch))
    }

    fn read(position: Offset, batches: &[Bytes]) -> Result<Fetched, BatchError> {
        Fetched::read(position, &Bytes::from(batches.concat()), NodeId(1))
    }

    fn offsets(fetched: &Fetched) -> Vec<Offset> {
        fetched.records.iter().map(|(offset, ..)| *offset).collect()
    }

    #[test]
    fn records_below_the_position_and_of_control_batches_are_left_out() {
        let batches = [
            batch(0, 1, &["a", "b"], false),
            batch(2, 1, &["c", "d", "e"], false),
            batch(5, 2, &["marker"], true),
        ];
        let fetched = read(3, &batches).expect("good batches");
        assert_eq!(offsets(&fetched), [3, 4]);
        assert_eq!((fetched.end, fetched.end_epoch), (6, Some(LeaderEpoch(2))));
    }

    #[test]
    fn a_batch_that_is_cut_off_waits_for_the_next_fetch() {
        let second = batch(1, 1, &["b"], false);
        let cut = second.slice(..second.len() - 1);
        let fetched = read(0, &[batch(0, 1, &["a"], false), cut]).expect("a good batch");
        assert_eq!((offsets(&fetched), fetched.end), (vec![0], 1));
    }

    #[test]
    fn damage_hides_nothing_that_came_before_it() {
        let mut damaged = batch(1, 1, &["b"], false).to_vec();
        *damaged.last_mut().expect("not empty") ^= 1;
        let damaged = Bytes::from(damaged);
        let fetched = read(0, &[batch(0, 1, &["a"], false), damaged.clone()]).expect("a good batch");
        assert_eq!((offsets(&fetched), fetched.end), (vec![0], 1));
        assert_eq!(read(1, &[damaged]), Err(BatchError::Corrupt));
    }

    #[test]
    fn a_part_moves_the_position_after_its_last_record_the_rest_after_the_batch() {
        let batches = [batch(0, 1, &["a", "b"], false), batch(2, 4, &["m"], true)];
        let mut fetched = read(0, &batches).expect("good batches");
        let (records, next, epoch) = fetched.take(1);
        assert_eq!((records.len(), next, epoch), (1, 1, Some(LeaderEpoch(1))));
        let (records, next, epoch) = fetched.take(5);
        assert_eq!((records.len(), next, epoch), (1, 3, Some(LeaderEpoch(4))));
    }
}
