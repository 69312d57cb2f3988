//! Snapshots of the producers' state, so that a log need not be read from its beginning.
//!
//! ```text
//!   00000000000000000040.snapshot     state after all batches below 40: taken when the segment 40 was begun
//!   00000000000000000095.snapshot     taken at the end by a clean shutdown
//!
//!   int16 version = 1 │ uint32 CRC32C of what follows │ int32 count │ count × 46 bytes
//!     int64 id │ int16 epoch │ int32 last sequence │ int64 last offset │ int32 offset delta │ int64 timestamp │
//!     int32 coordinator epoch = -1 │ int64 first offset of the open transaction = -1
//! ```
//!
//! Guarantees: after every start and every cut the state is the newest legible snapshot at or below the log end, and the
//! fold of the batches behind it. A snapshot that is torn or damaged goes, and an older one, or none, takes its place.
//! A snapshot goes with its segment.
//!
//! A snapshot holds one batch of each producer, not five: who retries an older one after such a start hears
//! OUT_OF_ORDER_SEQUENCE_NUMBER. It is written under its own name and made durable by the flush that makes what it
//! stands for durable. So after an unclean stop none is believed that lies above the base of the first segment that has
//! to be read: such a one may be of records that were cut.
//!
//! Where Kafka removes snapshots at or below the log start, they stay here as long as their segment: producers whose
//! records are deleted are known longer. The metadata log has no producers and no snapshots of them.
//!
//! Sources: Kafka's ProducerStateManager (file format, loadFromSnapshot, removeStraySnapshots),
//! UnifiedLog.rebuildProducerState; KAFKA-12153, KAFKA-9393.

use super::checkpoint::read_file;
use super::producer_state::{BatchMetadata, ProducerState, Producers};
use super::scan::{Found, HeaderScan};
use super::segment::path;
use super::{Log, LogError};
use crate::disk::{Disk, DiskError};
use crate::machine::Outbox;
use crate::note::{Note, ProducerEntry};
use crate::types::{METADATA_PARTITION, Offset};
use bytes::{Buf, BufMut};

/// Suffix of a snapshot's name.
pub const SUFFIX: &str = "snapshot";
const VERSION: i16 = 1;
/// Version and checksum.
const HEAD: usize = 6;
const ENTRY: usize = 46;

/// The file's bytes.
pub fn encode(producers: &Producers) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_i32(producers.iter().count() as i32);
    for (id, state) in producers.iter() {
        let last = state.batches().last();
        body.put_i64(id);
        body.put_i16(state.epoch);
        body.put_i32(state.last_sequence());
        body.put_i64(last.map_or(-1, |batch| batch.last_offset));
        body.put_i32(last.map_or(0, |batch| batch.offset_delta));
        body.put_i64(state.last_timestamp);
        body.put_i32(-1);
        body.put_i64(-1);
    }
    let mut file = Vec::with_capacity(HEAD + body.len());
    file.put_i16(VERSION);
    file.put_u32(crc32c::crc32c(&body));
    file.extend_from_slice(&body);
    file
}

/// The state in a file; `None` if it is torn, damaged or of another version.
pub fn decode(mut file: &[u8]) -> Option<Producers> {
    let version = file.try_get_i16().ok()?;
    let crc = file.try_get_u32().ok()?;
    if version != VERSION || crc32c::crc32c(file) != crc {
        return None;
    }
    let count = usize::try_from(file.try_get_i32().ok()?).ok()?;
    if file.len() != count.checked_mul(ENTRY)? {
        return None;
    }
    let mut producers = Producers::default();
    for mut entry in file.chunks_exact(ENTRY) {
        let id = entry.get_i64();
        let epoch = entry.get_i16();
        let last_sequence = entry.get_i32();
        let last_offset = entry.get_i64();
        let offset_delta = entry.get_i32();
        let timestamp = entry.get_i64();
        let batch = (last_offset >= 0).then_some(BatchMetadata {
            last_sequence,
            last_offset,
            offset_delta,
            timestamp,
        });
        producers.insert(id, ProducerState::new(epoch, timestamp, batch));
    }
    Some(producers)
}

/// The offset in the name of a snapshot.
fn offset_of(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(SUFFIX)?.strip_suffix('.')?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

impl Log {
    /// Of all producers.
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// Forgets the producers that have written nothing for `expiration_ms` (`producer.id.expiration.ms`).
    pub fn expire_producers(&mut self, expiration_ms: i64, now_ms: i64, out: &mut Outbox) {
        let gone = self.producers.expire(now_ms.saturating_sub(expiration_ms));
        if !gone.is_empty() {
            out.note(Note::ProducersExpired {
                partition: self.partition,
                producer_ids: gone,
            });
        }
    }

    /// Writes the state at the log end, unless that has been done. The next flush makes it durable.
    pub fn take_producer_snapshot(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.write_producer_snapshot(self.log_end_offset, disk)
    }

    /// The same, as the state below `at`, where the next batch will stand.
    pub(super) fn write_producer_snapshot(&mut self, at: Offset, disk: &mut dyn Disk) -> Result<(), DiskError> {
        if self.partition == METADATA_PARTITION || at == 0 || self.snapshots.contains(&at) {
            return Ok(());
        }
        let file = disk.open(&path(&self.dir, at, SUFFIX), true)?;
        if disk.len(file) > 0 {
            disk.set_len(file, 0)?;
        }
        disk.write_at(file, 0, &encode(&self.producers))?;
        self.snapshots.insert(at);
        self.flusher.snapshot_files.push(file);
        self.flusher.is_dir_dirty = true;
        Ok(())
    }

    /// The log has been cut: the state goes back to what it was at the new end.
    pub(super) fn roll_back_producers(&mut self, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        self.remove_snapshots(disk, |at, log| at > log.log_end_offset)?;
        // Nobody had written above the new end, so nobody has below it; or was forgotten long ago.
        if !self.producers.is_empty() {
            self.fold_producers(disk)?;
            self.note_producers(out);
        }
        Ok(())
    }

    /// The log has been emptied.
    pub(super) fn forget_producers(&mut self, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        self.remove_snapshots(disk, |_, _| true)?;
        if !self.producers.is_empty() {
            self.producers.clear();
            self.note_producers(out);
        }
        Ok(())
    }

    /// The log has been opened. `read_from`: base of the first segment whose bytes were not trusted.
    pub(super) fn load_producers(&mut self, read_from: Option<Offset>, disk: &mut dyn Disk) -> Result<(), DiskError> {
        if self.partition == METADATA_PARTITION {
            return Ok(());
        }
        let names = disk.list(&self.dir)?;
        self.snapshots = names.iter().filter_map(|name| offset_of(name)).collect();
        let trusted = read_from.unwrap_or(Offset::MAX).min(self.log_end_offset);
        self.remove_snapshots(disk, |at, _| at > trusted)?;
        let newest = self.snapshots.last().copied();
        let is_base = |log: &Log, at| log.segments.binary_search_by_key(&at, |segment| segment.base).is_ok();
        self.remove_snapshots(disk, |at, log| Some(at) != newest && !is_base(log, at))?;
        self.fold_producers(disk)
    }

    fn note_producers(&self, out: &mut Outbox) {
        let entries = self
            .producers
            .iter()
            .map(|(id, state)| ProducerEntry { id, state: *state });
        out.note(Note::ProducersLoaded {
            partition: self.partition,
            producers: entries.collect(),
        });
    }

    /// After [`Note::LogOpened`].
    pub(super) fn note_opened_producers(&self, out: &mut Outbox) {
        if self.partition != METADATA_PARTITION {
            self.note_producers(out);
        }
    }

    /// The newest legible snapshot, and the batches behind it.
    fn fold_producers(&mut self, disk: &mut dyn Disk) -> Result<(), DiskError> {
        self.producers.clear();
        let mut from = self.segments[0].base;
        while let Some(at) = self.snapshots.last().copied() {
            let file = read_file(&path(&self.dir, at, SUFFIX), disk)?;
            if let Some(producers) = file.as_deref().and_then(decode) {
                self.producers = producers;
                from = from.max(at);
                break;
            }
            self.remove_snapshots(disk, |other, _| other == at)?;
        }
        if from >= self.log_end_offset {
            return Ok(());
        }
        for segment in &self.segments[self.segment_of(from)..] {
            let mut scan = match from <= segment.base {
                true => HeaderScan::new(segment.log, 0, segment.size),
                false => segment.scan_from(from, disk)?,
            };
            while let Found::Batch(header, _) = scan.next(disk)? {
                if header.base_offset >= from {
                    self.producers.append(&header);
                }
            }
        }
        Ok(())
    }

    fn remove_snapshots(&mut self, disk: &mut dyn Disk, goes: impl Fn(Offset, &Log) -> bool) -> Result<(), DiskError> {
        let gone: Vec<Offset> = self.snapshots.iter().copied().filter(|at| goes(*at, self)).collect();
        for at in gone {
            match disk.remove(&path(&self.dir, at, SUFFIX)) {
                Ok(()) | Err(DiskError::NotFound) => {}
                Err(error) => return Err(error),
            }
            self.snapshots.remove(&at);
            self.flusher.is_dir_dirty = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LeaderEpoch;
    use crate::wire::batch::{self, BatchHeader};
    use bytes::Bytes;

    fn sample() -> Producers {
        let mut producers = Producers::default();
        for (id, sequence, offset) in [(3, 0, 10), (3, 2, 12), (9, i32::MAX, 20)] {
            let records = vec![(77, None, Some(Bytes::from_static(b"v"))); 2];
            let built = batch::build(&records, Some((id, 4, sequence)), false);
            let header = BatchHeader::parse(&batch::assign(&built, offset, LeaderEpoch(0)));
            producers.append(&header.unwrap());
        }
        producers
    }

    #[test]
    fn layout_is_kafkas_byte_for_byte() {
        let mut producers = Producers::default();
        let batch = BatchMetadata {
            last_sequence: 6,
            last_offset: 0x0102,
            offset_delta: 2,
            timestamp: 0x0304,
        };
        producers.insert(5, ProducerState::new(1, 0x0304, Some(batch)));
        let file = encode(&producers);
        let body = [
            &[0, 0, 0, 1][..],
            &[0, 0, 0, 0, 0, 0, 0, 5],
            &[0, 1],
            &[0, 0, 0, 6],
            &[0, 0, 0, 0, 0, 0, 1, 2],
            &[0, 0, 0, 2],
            &[0, 0, 0, 0, 0, 0, 3, 4],
            &[255; 4],
            &[255; 8],
        ]
        .concat();
        assert_eq!(file[..2], [0, 1]);
        assert_eq!(file[2..6], crc32c::crc32c(&body).to_be_bytes());
        assert_eq!(file[6..], body);
    }

    #[test]
    fn the_newest_batch_of_each_producer_comes_back() {
        let back = decode(&encode(&sample())).unwrap();
        for (id, state) in sample().iter() {
            let known = back.get(id).unwrap();
            assert_eq!((known.epoch, known.last_timestamp), (state.epoch, state.last_timestamp));
            assert_eq!(known.batches(), &state.batches()[state.batches().len() - 1..]);
        }
        assert_eq!(decode(&encode(&Producers::default())), Some(Producers::default()));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_seen() {
        let file = encode(&sample());
        for len in 0..file.len() {
            assert_eq!(decode(&file[..len]), None, "length {len}");
        }
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None, "bit {bit}");
        }
        let mut counted = file[..HEAD].to_vec();
        counted.extend_from_slice(&i32::MAX.to_be_bytes());
        let crc = crc32c::crc32c(&counted[HEAD..]).to_be_bytes();
        counted[2..HEAD].copy_from_slice(&crc);
        assert_eq!(
            decode(&counted),
            None,
            "a count that nothing stands behind reserves nothing"
        );
    }
}
