//! Adding batches: what a leader accepts from a client, what a follower accepts from its leader.
//!
//! Guarantees: a call that fails with anything but a disk error has changed nothing. Batches are stored as they came,
//! but for offset and epoch (and timestamps of the append, or a wrong maximal one, which Kafka's leader corrects too).
//! Compressed records are not looked into.
//!
//! Deliberately unknown: who leads.
//!
//! Sources: Kafka's UnifiedLog.append, LogValidator, ProduceRequest.validateRecords; KIP-98, KAFKA-18723.

use super::producer_state::Sequence;
use super::stamp::stamp;
use super::{Appended, Log, LogError};
use crate::disk::Disk;
use crate::machine::Outbox;
use crate::note::{Note, ProducerEntry};
use crate::types::{LeaderEpoch, METADATA_PARTITION, Now, Offset};
use crate::wire::ErrorCode;
use crate::wire::batch::{self, BatchError, BatchHeader};
use bytes::Bytes;

/// The last of the codecs: gzip 1, snappy 2, lz4 3, zstd 4.
const ZSTD: i16 = 4;

impl From<BatchError> for LogError {
    fn from(error: BatchError) -> LogError {
        match error {
            BatchError::Malformed("magic") => LogError::Invalid("only record batches of magic 2 are accepted"),
            BatchError::Incomplete | BatchError::Malformed(_) | BatchError::Corrupt => LogError::Corrupt,
        }
    }
}

/// The one batch of a client, checked. The second value is its real largest timestamp, if the header is wrong.
fn check_client(records: &Bytes, max_message_bytes: i64) -> Result<(BatchHeader, Option<i64>), LogError> {
    if records.is_empty() {
        return Err(LogError::Invalid(
            "a produce request must have exactly one record batch for a partition",
        ));
    }
    if BatchHeader::parse(records)?.size() as i64 > max_message_bytes {
        return Err(LogError::TooLarge);
    }
    let header = batch::check(records)?;
    if header.size() != records.len() {
        return Err(LogError::Invalid(
            "a produce request must have exactly one record batch for a partition",
        ));
    }
    if header.record_count == 0 || header.record_count - 1 != header.last_offset_delta {
        return Err(LogError::Invalid(
            "the record count does not match the last offset delta",
        ));
    }
    if header.is_control() {
        return Err(LogError::Invalid("clients may not write control records"));
    }
    if header.producer_id >= 0 && header.base_sequence < 0 {
        return Err(LogError::Invalid("a producer id comes with a sequence number"));
    }
    if header.is_transactional() && header.producer_id < 0 {
        return Err(LogError::Invalid("a transaction comes with a producer id"));
    }
    if header.compression() > ZSTD {
        return Err(LogError::UnsupportedCompression);
    }
    if header.compression() != 0 {
        return Ok((header, None));
    }
    let walked = batch::walk(records).map_err(|_| LogError::Invalid("the records do not fill their batch"))?;
    if !walked.contiguous {
        return Err(LogError::Invalid("offset deltas are not 0, 1, 2 and so on"));
    }
    Ok((
        header,
        (walked.max_timestamp != header.max_timestamp).then_some(walked.max_timestamp),
    ))
}

impl Log {
    /// Validates the batch of a client, gives it offsets and the epoch, appends. The metadata log takes several
    /// batches at once, and control batches, from the quorum itself.
    pub fn append_as_leader(
        &mut self,
        records: &Bytes,
        epoch: LeaderEpoch,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Appended, LogError> {
        assert!(epoch.0 >= 0, "a leader has an epoch");
        let base_offset = self.log_end_offset;
        if self.partition == METADATA_PARTITION {
            let mut at = 0;
            while at < records.len() || at == 0 {
                at += batch::check(&records[at..])?.size();
            }
            self.touch(now, disk);
            for next in batch::batches(records) {
                self.append_assigned(&next?.1, epoch, now, disk, out)?;
            }
        } else {
            let (header, real_max) = check_client(records, self.config.max_message_bytes)?;
            if header.size() as i64 > self.config.segment_bytes {
                return Err(LogError::TooLarge);
            }
            let stamped = stamp(records, &header, real_max, &self.config, now.wall_ms)?;
            if header.producer_id >= 0
                && let Some(known) = self.check_producer(&header, out)?
            {
                return Ok(known);
            }
            self.touch(now, disk);
            self.append_assigned(stamped.as_ref().unwrap_or(records), epoch, now, disk, out)?;
        }
        self.flush_if_due(base_offset, now, out);
        Ok(Appended {
            base_offset,
            last_offset: self.log_end_offset - 1,
        })
    }

    /// What a client's batch has been appended as before; `None`: it is to be appended now.
    fn check_producer(&self, header: &BatchHeader, out: &mut Outbox) -> Result<Option<Appended>, LogError> {
        if header.is_transactional() {
            // Nobody coordinates transactions here, so none has begun.
            return Err(LogError::InvalidTransactionState);
        }
        let (refused, code) = match self.producers.check(header) {
            Sequence::Next => return Ok(None),
            Sequence::Duplicate(known) => {
                let (base_offset, last_offset) = (known.base_offset(), known.last_offset);
                out.note(Note::DuplicateFound {
                    partition: self.partition,
                    producer_id: header.producer_id,
                    base_sequence: header.base_sequence,
                    base_offset,
                    last_offset,
                });
                return Ok(Some(Appended {
                    base_offset,
                    last_offset,
                }));
            }
            Sequence::OutOfOrder => (LogError::OutOfOrderSequence, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
            Sequence::Fenced => (LogError::InvalidProducerEpoch, ErrorCode::INVALID_PRODUCER_EPOCH),
        };
        out.note(Note::SequenceRefused {
            partition: self.partition,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            error_code: code.code(),
        });
        Err(refused)
    }

    fn append_assigned(
        &mut self,
        batch: &Bytes,
        epoch: LeaderEpoch,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let batch = batch::assign(batch, self.log_end_offset, epoch);
        let header = BatchHeader::parse(&batch)?;
        self.append_batch(header, batch, true, now, disk, out)
    }

    /// Appends batches as the leader sent them, whole ones only. The first batch of an epoch above `max_epoch`, and
    /// all behind it, are left out (KAFKA-18723). `None`: nothing to append.
    pub fn append_as_follower(
        &mut self,
        records: &Bytes,
        max_epoch: LeaderEpoch,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Option<Appended>, LogError> {
        let mut expected = self.log_end_offset;
        let mut first = None;
        let mut accepted = 0;
        for next in batch::batches(records) {
            let (header, bytes) = next?;
            if header.partition_leader_epoch > max_epoch {
                break;
            }
            batch::check(&bytes)?;
            if header.partition_leader_epoch.0 < 0 || header.last_offset() == Offset::MAX {
                return Err(LogError::Corrupt);
            }
            // Above is allowed: compaction leaves gaps.
            if header.base_offset < expected {
                return Err(LogError::NotContiguous {
                    expected,
                    got: header.base_offset,
                });
            }
            first.get_or_insert(header.base_offset);
            expected = header.next_offset();
            accepted += 1;
        }
        let Some(base_offset) = first else { return Ok(None) };
        self.touch(now, disk);
        for next in batch::batches(records).take(accepted) {
            let (header, batch) = next?;
            self.append_batch(header, batch, false, now, disk, out)?;
        }
        self.flush_if_due(base_offset, now, out);
        assert_eq!(self.log_end_offset, expected, "what was accepted was appended");
        Ok(Some(Appended {
            base_offset,
            last_offset: expected - 1,
        }))
    }

    fn append_batch(
        &mut self,
        header: BatchHeader,
        batch: Bytes,
        as_leader: bool,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        assert!(header.base_offset >= self.log_end_offset, "offsets only grow");
        let active = self.active();
        if active.cut > 0 || active.should_roll(&header, &self.config, now.wall_ms) {
            self.roll(header.base_offset, now, disk, out)?;
        }
        let epoch = header.partition_leader_epoch;
        if self.epochs.last() != Some(epoch) {
            self.learn_epoch(epoch, header.base_offset, disk, out)?;
        }
        let active = self.segments.last_mut().expect("a log has an active segment");
        let position = active.size;
        active.append(&header, &batch, &self.config, disk)?;
        self.tail.push(&header, position);
        self.log_end_offset = header.next_offset();
        let producer = self.producers.append(&header).copied();
        out.note(Note::Appended {
            partition: self.partition,
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            leader_epoch: epoch,
            as_leader,
            batch,
        });
        if let Some(state) = producer {
            out.note(Note::ProducerAdvanced {
                partition: self.partition,
                producer: Box::new(ProducerEntry {
                    id: header.producer_id,
                    state,
                }),
            });
        }
        Ok(())
    }

    /// The log gets a new leader epoch that starts at its end (KAFKA-7415).
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        self.learn_epoch(epoch, self.log_end_offset, disk, out)
    }

    fn learn_epoch(
        &mut self,
        epoch: LeaderEpoch,
        start_offset: Offset,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        if self.epochs.assign(epoch, start_offset) {
            self.write_epochs(disk)?;
            out.note(Note::EpochAssigned {
                partition: self.partition,
                epoch,
                start_offset,
            });
        }
        Ok(())
    }
}
