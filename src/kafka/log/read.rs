//! Reading batches back, by offset and by timestamp.
//!
//! Guarantees: whole batches, as they stand in the log; a read near the end searches nothing; any other reads an
//! index and the headers of about one index interval.
//!
//! Sources: Kafka's LocalLog.read, LogSegment.read, LogSegment.findOffsetByTimestamp.

use super::scan::Found;
use super::segment::Segment;
use super::{Log, LogError};
use crate::disk::Disk;
use crate::types::{LeaderEpoch, Offset};
use crate::wire::batch::{self, BatchHeader};
use bytes::{Bytes, BytesMut};

impl Log {
    /// Whole batches from the one that holds `from`, only those that end below `upto` (exclusive), about `max_bytes`
    /// but at least one batch if `min_one`. Of one segment only, as in Kafka: a reader asks again.
    /// [`LogError::Corrupt`] if what stands there is not a batch.
    pub fn read(
        &mut self,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
        min_one: bool,
        disk: &mut dyn Disk,
    ) -> Result<Bytes, LogError> {
        if from < self.log_start_offset || from > self.log_end_offset {
            return Err(LogError::OutOfRange);
        }
        let upto = upto.min(self.log_end_offset);
        if from >= upto {
            return Ok(Bytes::new());
        }
        if let Some(extent) = self.tail.find(from, upto, max_bytes, min_one) {
            return match extent.len {
                0 => Ok(Bytes::new()),
                len => disk
                    .read_at(self.active().log, extent.position, len)
                    .map_err(LogError::Disk),
            };
        }
        for segment in &self.segments[self.segment_of(from)..] {
            // What holds `from` may be in the next segment, if there is a gap between the two.
            if let Some(bytes) = read_segment(segment, from, upto, max_bytes, min_one, disk)? {
                return Ok(bytes);
            }
        }
        Ok(Bytes::new())
    }

    /// All batches from the log start to the end, of all segments; up to the first that a damaged disk has put out of order.
    pub fn read_all(&mut self, disk: &mut dyn Disk) -> Result<Bytes, LogError> {
        let (mut from, end) = (self.log_start_offset, self.log_end_offset);
        let mut all = BytesMut::new();
        while from < end {
            let bytes = self.read(from, end, usize::MAX, true, disk)?;
            let Some(last) = batch::batches(&bytes).last() else {
                break;
            };
            let next = last?.0.next_offset();
            if next <= from {
                break;
            }
            from = next;
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }

    /// First record with a timestamp of at least `timestamp`: (offset, timestamp, epoch). Of a compressed batch, which
    /// is not opened here, it is the first offset and the largest timestamp.
    pub fn offset_for_timestamp(
        &mut self,
        timestamp: i64,
        disk: &mut dyn Disk,
    ) -> Result<Option<(Offset, i64, LeaderEpoch)>, LogError> {
        let start = self.log_start_offset;
        for segment in &self.segments[self.segment_of(start)..] {
            if segment.size == 0 || segment.largest.timestamp < timestamp {
                continue;
            }
            let entry = segment.times.lookup(timestamp, disk)?;
            let from = entry.map_or(segment.base, |entry| entry.offset).max(start);
            let mut scan = segment.scan_from(from, disk)?;
            loop {
                match scan.next(disk)? {
                    Found::End => break,
                    Found::Garbage(_) => return Err(LogError::Corrupt),
                    Found::Batch(header, position) => {
                        if header.max_timestamp < timestamp || header.last_offset() < start {
                            continue;
                        }
                        if let Some((offset, found)) =
                            find_in_batch(segment, &header, position, timestamp, start, disk)?
                        {
                            return Ok(Some((offset, found, header.partition_leader_epoch)));
                        }
                    }
                }
            }
        }
        Ok(None)
    }
}

fn find_in_batch(
    segment: &Segment,
    header: &BatchHeader,
    position: u64,
    timestamp: i64,
    start: Offset,
    disk: &mut dyn Disk,
) -> Result<Option<(Offset, i64)>, LogError> {
    if header.compression() != 0 {
        return Ok(Some((header.base_offset.max(start), header.max_timestamp)));
    }
    let batch = disk.read_at(segment.log, position, header.size())?;
    Ok(batch::find_timestamp(&batch, timestamp, start)?)
}

/// As [`Log::read`], of one segment. `None`: it ends before `from`.
fn read_segment(
    segment: &Segment,
    from: Offset,
    upto: Offset,
    max_bytes: usize,
    min_one: bool,
    disk: &mut dyn Disk,
) -> Result<Option<Bytes>, LogError> {
    let mut scan = segment.scan_from(from, disk)?;
    let (header, position) = match scan.find(from, disk)? {
        Found::Batch(header, position) => (header, position),
        Found::End => return Ok(None),
        Found::Garbage(_) => return Err(LogError::Corrupt),
    };
    if header.last_offset() >= upto || header.size() > max_bytes && !min_one {
        return Ok(Some(Bytes::new()));
    }
    let len = (header.size().max(max_bytes) as u64).min(segment.size - position) as usize;
    let bytes = disk.read_at(segment.log, position, len)?;
    let mut end = 0;
    for next in batch::batches(&bytes) {
        let (header, batch) = next?;
        if header.last_offset() >= upto {
            break;
        }
        end += batch.len();
    }
    Ok(Some(bytes.slice(..end)))
}
