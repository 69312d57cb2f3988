//! Record batch v2 (KIP-98): header, checksum, checked record walker, builder.
//!
//! ```text
//!   0        8       12      16    17   21          23       27        35       43        51       53       57     61
//!   | base   | batch | leader| magic| crc| attributes| last   | base    | max    | producer| producer| base   | record|
//!   | offset | length| epoch | = 2  |    |           | offset | time-   | time-  | id      | epoch   | sequen-| count |
//!   |        |       |       |      |    |           | delta  | stamp   | stamp  |         |         | ce     |       | records
//!                                        `---------------------- covered by the checksum -----------------------------
//! ```
//!
//! Guarantees: no bytes, however hostile, make anything here panic, loop or reserve more than they are long. Slices
//! share the memory of the batch. What a leader changes (offset, epoch) lies outside the checksum.
//!
//! Deliberately unknown: codecs. A compressed batch is a header with opaque bytes behind it; walking it is an error.
//!
//! Sources: KIP-98; KIP-32 (timestamps); Kafka's documentation, "Record Batch".

use crate::types::{LeaderEpoch, Offset};
use bytes::{BufMut, Bytes, BytesMut};
use std::ops::Range;

/// Bytes of a batch header.
pub const HEADER_LEN: usize = 61;
/// Bytes before `batch_length` begins to count.
pub const LOG_OVERHEAD: usize = 12;
/// The only format that is read and written.
pub const MAGIC: i8 = 2;

const LENGTH_AT: usize = 8;
const EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;

const COMPRESSION_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The fields of a batch header. `base_offset` and `partition_leader_epoch` are outside the checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchHeader {
    /// Of the first record that the batch was made with (compaction may have removed it).
    pub base_offset: Offset,
    /// Bytes after this field: the whole batch has 12 more.
    pub batch_length: i32,
    /// Epoch of the leader that appended it; -1 before that.
    pub partition_leader_epoch: LeaderEpoch,
    /// CRC32C of everything from `attributes` to the end.
    pub crc: u32,
    /// Bits 0-2 compression, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon.
    pub attributes: i16,
    /// Of the last record that the batch was made with.
    pub last_offset_delta: i32,
    /// Milliseconds; the records' timestamps are relative to it.
    pub base_timestamp: i64,
    /// Milliseconds; the largest of the records, or the time of the append.
    pub max_timestamp: i64,
    /// -1: none.
    pub producer_id: i64,
    /// -1: none.
    pub producer_epoch: i16,
    /// Sequence of the first record; -1: none.
    pub base_sequence: i32,
    /// Records that are really in it.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads a header; the error says which field cannot be. The bytes of the records need not be there, and the
    /// checksum is not looked at.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let Some(head) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(BatchError::Incomplete);
        };
        let header = BatchHeader {
            base_offset: i64::from_be_bytes(array(head, 0)),
            batch_length: i32::from_be_bytes(array(head, LENGTH_AT)),
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(array(head, EPOCH_AT))),
            crc: u32::from_be_bytes(array(head, CRC_AT)),
            attributes: i16::from_be_bytes(array(head, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(array(head, 23)),
            base_timestamp: i64::from_be_bytes(array(head, 27)),
            max_timestamp: i64::from_be_bytes(array(head, MAX_TIMESTAMP_AT)),
            producer_id: i64::from_be_bytes(array(head, 43)),
            producer_epoch: i16::from_be_bytes(array(head, 51)),
            base_sequence: i32::from_be_bytes(array(head, 53)),
            record_count: i32::from_be_bytes(array(head, 57)),
        };
        if head[MAGIC_AT] != MAGIC as u8 {
            return Err(BatchError::Malformed("magic"));
        }
        if header.batch_length < (HEADER_LEN - LOG_OVERHEAD) as i32 {
            return Err(BatchError::Malformed("batch length"));
        }
        if header.last_offset_delta < 0
            || header
                .base_offset
                .checked_add(header.last_offset_delta.into())
                .is_none()
        {
            return Err(BatchError::Malformed("last offset delta"));
        }
        // Compaction only ever takes records away.
        if header.record_count < 0 || i64::from(header.record_count) > i64::from(header.last_offset_delta) + 1 {
            return Err(BatchError::Malformed("record count"));
        }
        Ok(header)
    }

    /// Whole length of the batch in bytes.
    pub fn size(&self) -> usize {
        self.batch_length as usize + LOG_OVERHEAD
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// The offset after the last record.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().saturating_add(1)
    }

    /// Sequence of the last record, which wraps to 0 after the largest; -1: none.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        let sequence = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        (sequence % (i64::from(i32::MAX) + 1)) as i32
    }

    /// The codec: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub fn compression(&self) -> i16 {
        self.attributes & COMPRESSION_MASK
    }

    /// The timestamps are the broker's, not the client's.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Written by brokers for brokers: never handed to a user.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }
}

/// `N` bytes of a header; the position is one of this file's constants.
fn array<const N: usize>(head: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    *head[at..]
        .first_chunk::<N>()
        .expect("every field lies inside the header")
}

/// Why bytes are not a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// Fewer bytes than the header says.
    Incomplete,
    /// A field has a value that it cannot have.
    Malformed(&'static str),
    /// The checksum does not match.
    Corrupt,
}

/// The size that a batch claims, if its first 12 bytes are there and can be the start of one.
fn claimed_size(bytes: &[u8]) -> Result<usize, BatchError> {
    let Some(length) = bytes.get(LENGTH_AT..).and_then(|rest| rest.first_chunk::<4>()) else {
        return Err(BatchError::Incomplete);
    };
    let length = i32::from_be_bytes(*length);
    if length < (HEADER_LEN - LOG_OVERHEAD) as i32 {
        return Err(BatchError::Malformed("batch length"));
    }
    Ok(length as usize + LOG_OVERHEAD)
}

/// The first batch of `bytes`, checked (magic, lengths, CRC), with its header; `bytes` may go on after it.
pub fn check(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let size = claimed_size(bytes)?;
    // The header first: garbage is called what it is, even if the length it claims is longer than the bytes.
    let header = BatchHeader::parse(bytes)?;
    let Some(batch) = bytes.get(..size) else {
        return Err(BatchError::Incomplete);
    };
    if crc32c::crc32c(&batch[ATTRIBUTES_AT..]) != header.crc {
        return Err(BatchError::Corrupt);
    }
    Ok(header)
}

/// The batches of a byte range, each as a zero-copy slice with its header; a partial one at the end is left out
/// (Kafka's fetch may cut there). Checksums are not looked at: [`check`] does that. Ends at the first error.
pub fn batches(bytes: &Bytes) -> impl Iterator<Item = Result<(BatchHeader, Bytes), BatchError>> + use<> {
    let mut rest = bytes.clone();
    std::iter::from_fn(move || {
        let size = match claimed_size(&rest) {
            Ok(size) if size <= rest.len() => size,
            Ok(_) | Err(BatchError::Incomplete) => return None,
            Err(error) => {
                rest.clear();
                return Some(Err(error));
            }
        };
        let batch = rest.split_to(size);
        match BatchHeader::parse(&batch) {
            Ok(header) => Some(Ok((header, batch))),
            Err(error) => {
                rest.clear();
                Some(Err(error))
            }
        }
    })
}

/// One record as it stands in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// In the partition.
    pub offset: Offset,
    /// Milliseconds.
    pub timestamp: i64,
    /// None: a null key, which is not an empty one.
    pub key: Option<Bytes>,
    /// None: a null value (a tombstone where logs are compacted).
    pub value: Option<Bytes>,
    /// In order, with duplicates.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// Walks the records of one uncompressed batch (zero-copy slices); checks every length. Ends at the first error.
pub fn records(batch: &Bytes) -> impl Iterator<Item = Result<Record, BatchError>> + use<> {
    let batch = batch.clone();
    let mut failed = None;
    let mut walker = match Walker::new(&batch) {
        Ok(walker) => Some(walker),
        Err(error) => {
            failed = Some(error);
            None
        }
    };
    std::iter::from_fn(move || {
        if let Some(error) = failed.take() {
            return Some(Err(error));
        }
        let raw = match walker.as_mut()?.next(&batch)? {
            Ok(raw) => raw,
            Err(error) => {
                walker = None;
                return Some(Err(error));
            }
        };
        let mut cursor = raw.headers_at;
        // Every header is at least two bytes, and the walker has already seen all of them.
        let mut headers = Vec::with_capacity(raw.header_count);
        for _ in 0..raw.header_count {
            let (key, value) = match read_header(&batch, &mut cursor) {
                Ok(header) => header,
                Err(error) => return Some(Err(error)),
            };
            headers.push((batch.slice(key), value.map(|range| batch.slice(range))));
        }
        Some(Ok(Record {
            offset: raw.offset,
            timestamp: raw.timestamp,
            key: raw.key.map(|range| batch.slice(range)),
            value: raw.value.map(|range| batch.slice(range)),
            headers,
        }))
    })
}

/// What walking a whole batch told, without keeping a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Largest timestamp of a record; -1 if there is none.
    pub max_timestamp: i64,
    /// Whether the offset deltas are 0, 1, 2 and so on up to the header's last.
    pub contiguous: bool,
}

/// Walks an uncompressed batch without allocating: every length, count and delta is checked.
pub fn walk(batch: &[u8]) -> Result<Walked, BatchError> {
    let mut walker = Walker::new(batch)?;
    let mut walked = Walked {
        max_timestamp: -1,
        contiguous: walker.header.record_count == walker.header.last_offset_delta.saturating_add(1),
    };
    let mut expected = walker.header.base_offset;
    while let Some(raw) = walker.next(batch) {
        let raw = raw?;
        walked.max_timestamp = walked.max_timestamp.max(raw.timestamp);
        walked.contiguous &= raw.offset == expected;
        expected = expected.saturating_add(1);
    }
    Ok(walked)
}

/// The first record with a timestamp of at least `timestamp` and an offset of at least `from`: (offset, timestamp).
pub fn find_timestamp(batch: &[u8], timestamp: i64, from: Offset) -> Result<Option<(Offset, i64)>, BatchError> {
    let mut walker = Walker::new(batch)?;
    while let Some(raw) = walker.next(batch) {
        let raw = raw?;
        if raw.timestamp >= timestamp && raw.offset >= from {
            return Ok(Some((raw.offset, raw.timestamp)));
        }
    }
    Ok(None)
}

/// A record as positions in its batch.
struct RawRecord {
    offset: Offset,
    timestamp: i64,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    header_count: usize,
    headers_at: usize,
}

/// Steps through the records of one batch. Holds positions only, so it borrows nothing between two steps.
struct Walker {
    header: BatchHeader,
    at: usize,
    left: i32,
    last_delta: i64,
}

impl Walker {
    fn new(batch: &[u8]) -> Result<Walker, BatchError> {
        let header = BatchHeader::parse(batch)?;
        if batch.len() < header.size() {
            return Err(BatchError::Incomplete);
        }
        if header.compression() != 0 {
            return Err(BatchError::Malformed("records are compressed"));
        }
        Ok(Walker {
            header,
            at: HEADER_LEN,
            left: header.record_count,
            last_delta: -1,
        })
    }

    fn next(&mut self, batch: &[u8]) -> Option<Result<RawRecord, BatchError>> {
        let end = self.header.size();
        if self.left == 0 {
            // Said once: bytes that belong to no record.
            let rest = end - self.at;
            self.at = end;
            return (rest > 0).then_some(Err(BatchError::Malformed("bytes after the last record")));
        }
        self.left -= 1;
        let result = self.read(&batch[..end]);
        if result.is_err() {
            self.left = 0;
            self.at = end;
        }
        Some(result)
    }

    fn read(&mut self, batch: &[u8]) -> Result<RawRecord, BatchError> {
        let mut at = self.at;
        let length = read_length(batch, &mut at)?.ok_or(BatchError::Malformed("record length"))?;
        // Nothing below may look past this record's own end.
        let record = &batch[..at + length];
        if length == 0 {
            return Err(BatchError::Malformed("record length"));
        }
        at += 1; // Attributes: no bit is in use.
        let timestamp_delta = read_varint(record, &mut at)?;
        let offset_delta = read_varint(record, &mut at)?;
        if offset_delta <= self.last_delta || offset_delta > i64::from(self.header.last_offset_delta) {
            return Err(BatchError::Malformed("offset delta"));
        }
        let key = read_bytes(record, &mut at)?;
        let value = read_bytes(record, &mut at)?;
        let header_count = read_length_of_many(record, &mut at)?;
        let headers_at = at;
        for _ in 0..header_count {
            read_header(record, &mut at)?;
        }
        if at != record.len() {
            return Err(BatchError::Malformed("record length"));
        }
        let timestamp = if self.header.is_log_append_time() {
            self.header.max_timestamp
        } else {
            let sum = self.header.base_timestamp.checked_add(timestamp_delta);
            sum.ok_or(BatchError::Malformed("timestamp delta"))?
        };
        self.at = at;
        self.last_delta = offset_delta;
        let offset = self.header.base_offset + offset_delta;
        Ok(RawRecord {
            offset,
            timestamp,
            key,
            value,
            header_count,
            headers_at,
        })
    }
}

/// A header's key and value.
fn read_header(record: &[u8], at: &mut usize) -> Result<(Range<usize>, Option<Range<usize>>), BatchError> {
    let key = read_bytes(record, at)?.ok_or(BatchError::Malformed("header key"))?;
    Ok((key, read_bytes(record, at)?))
}

/// A nullable byte string; its range lies inside `bytes`.
fn read_bytes(bytes: &[u8], at: &mut usize) -> Result<Option<Range<usize>>, BatchError> {
    let Some(length) = read_length(bytes, at)? else {
        return Ok(None);
    };
    let start = *at;
    *at += length;
    Ok(Some(start..*at))
}

/// A length that is not longer than what is left; none for -1.
fn read_length(bytes: &[u8], at: &mut usize) -> Result<Option<usize>, BatchError> {
    match read_varint(bytes, at)? {
        -1 => Ok(None),
        length if length >= 0 && length as u64 <= (bytes.len() - *at) as u64 => Ok(Some(length as usize)),
        _ => Err(BatchError::Malformed("length")),
    }
}

/// A count of things of at least two bytes each.
fn read_length_of_many(bytes: &[u8], at: &mut usize) -> Result<usize, BatchError> {
    let count = read_varint(bytes, at)?;
    if count < 0 || count as u64 > (bytes.len() - *at) as u64 / 2 {
        return Err(BatchError::Malformed("header count"));
    }
    Ok(count as usize)
}

/// A zigzag variable-length number of at most ten bytes.
fn read_varint(bytes: &[u8], at: &mut usize) -> Result<i64, BatchError> {
    let mut raw = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at).ok_or(BatchError::Malformed("variable-length number"))?;
        *at += 1;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((raw >> 1) as i64 ^ -((raw & 1) as i64));
        }
    }
    Err(BatchError::Malformed("variable-length number"))
}

fn varint_len(value: i64) -> usize {
    let raw = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (raw | 1).leading_zeros() as usize).div_ceil(7)
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        out.put_u8(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.put_u8(raw as u8);
}

fn bytes_len(bytes: Option<&Bytes>) -> usize {
    bytes.map_or(1, |bytes| varint_len(bytes.len() as i64) + bytes.len())
}

fn put_bytes(out: &mut BytesMut, bytes: Option<&Bytes>) {
    match bytes {
        Some(bytes) => {
            put_varint(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}

/// Builds an uncompressed batch at offset 0, epoch -1: `(timestamp, key, value)` each, at least one. `producer` is
/// (id, epoch, base sequence); the fields are -1 where there is none.
pub fn build(
    records: &[(i64, Option<Bytes>, Option<Bytes>)],
    producer: Option<(i64, i16, i32)>,
    control: bool,
) -> Bytes {
    assert!(!records.is_empty(), "a batch has at least one record");
    assert!(records.len() <= i32::MAX as usize, "offset deltas are 32 bits");
    let base_timestamp = records[0].0;
    let max_timestamp = records.iter().map(|record| record.0).max().unwrap_or(base_timestamp);
    let sizes = records.iter().enumerate().map(|(delta, (timestamp, key, value))| {
        // Attributes and the count of headers are a byte each.
        2 + varint_len(timestamp - base_timestamp)
            + varint_len(delta as i64)
            + bytes_len(key.as_ref())
            + bytes_len(value.as_ref())
    });
    let body: usize = sizes.clone().map(|size| varint_len(size as i64) + size).sum();
    let (producer_id, producer_epoch, base_sequence) = producer.unwrap_or((-1, -1, -1));
    let mut out = BytesMut::with_capacity(HEADER_LEN + body);
    out.put_i64(0);
    out.put_i32((HEADER_LEN - LOG_OVERHEAD + body) as i32);
    out.put_i32(-1);
    out.put_i8(MAGIC);
    out.put_u32(0);
    out.put_i16(if control { CONTROL } else { 0 });
    out.put_i32(records.len() as i32 - 1);
    out.put_i64(base_timestamp);
    out.put_i64(max_timestamp);
    out.put_i64(producer_id);
    out.put_i16(producer_epoch);
    out.put_i32(base_sequence);
    out.put_i32(records.len() as i32);
    for ((delta, (timestamp, key, value)), size) in records.iter().enumerate().zip(sizes) {
        put_varint(&mut out, size as i64);
        out.put_u8(0);
        put_varint(&mut out, timestamp - base_timestamp);
        put_varint(&mut out, delta as i64);
        put_bytes(&mut out, key.as_ref());
        put_bytes(&mut out, value.as_ref());
        out.put_u8(0);
    }
    assert_eq!(
        out.len(),
        HEADER_LEN + body,
        "the sizes were computed from the same fields"
    );
    seal(&mut out);
    out.freeze()
}

/// Writes the checksum.
fn seal(batch: &mut BytesMut) {
    let crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
}

/// A copy with offsets and epoch set, the only change a leader makes. No new checksum is needed.
pub fn assign(batch: &Bytes, base_offset: Offset, epoch: LeaderEpoch) -> Bytes {
    let mut out = BytesMut::from(&batch[..]);
    patch(&mut out, base_offset, epoch);
    out.freeze()
}

/// Sets offsets and epoch in place.
pub fn patch(batch: &mut [u8], base_offset: Offset, epoch: LeaderEpoch) {
    assert!(batch.len() >= HEADER_LEN, "only a checked batch gets an offset");
    batch[..LENGTH_AT].copy_from_slice(&base_offset.to_be_bytes());
    batch[EPOCH_AT..MAGIC_AT].copy_from_slice(&epoch.0.to_be_bytes());
}

/// A copy whose header has this largest timestamp, which is that of all records if it is the time of the append, with a
/// new checksum. Kafka's leader corrects a client's header in the same way instead of refusing it.
pub fn with_max_timestamp(batch: &Bytes, max_timestamp: i64, is_append_time: bool) -> Bytes {
    assert!(batch.len() >= HEADER_LEN, "only a checked batch is corrected");
    let mut out = BytesMut::from(&batch[..]);
    out[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&max_timestamp.to_be_bytes());
    // The type is a bit of the attributes' lower byte.
    let attributes = &mut out[ATTRIBUTES_AT + 1];
    *attributes &= !(LOG_APPEND_TIME as u8);
    *attributes |= if is_append_time { LOG_APPEND_TIME as u8 } else { 0 };
    seal(&mut out);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Option<Bytes> {
        Some(Bytes::from_static(text.as_bytes()))
    }

    fn sample() -> Bytes {
        build(
            &[
                (1_000, bytes("k"), bytes("value-1")),
                (1_005, None, bytes("")),
                (990, bytes("k2"), None),
            ],
            Some((77, 3, 12)),
            false,
        )
    }

    /// Deterministic noise for the hostile tests.
    struct Noise(u64);
    impl Noise {
        fn next(&mut self) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            self.0 >> 33
        }
    }

    fn reseal(batch: &mut [u8]) {
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }

    #[test]
    fn layout_is_kafkas_byte_for_byte() {
        let batch = build(&[(5, bytes("k"), bytes("v"))], None, false);
        let mut expected = vec![
            0, 0, 0, 0, 0, 0, 0, 0, // base offset
            0, 0, 0, 58, // 49 and a record of 9 bytes
            0xff, 0xff, 0xff, 0xff, // epoch
            2, 0, 0, 0, 0, // magic, checksum
            0, 0, 0, 0, 0, 0, // attributes, last offset delta
            0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 5, // timestamps
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // producer
            0, 0, 0, 1, // count
            16, 0, 0, 0, 2, b'k', 2, b'v', 0, // length 8 as zigzag, attributes, deltas, key, value, no headers
        ];
        reseal(&mut expected);
        assert_eq!(&batch[..], &expected[..]);
    }

    #[test]
    fn checksum_is_castagnoli() {
        // RFC 3720, B.4: the 32 bytes of ones.
        assert_eq!(crc32c::crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn header_and_records_come_back() {
        let batch = assign(&sample(), 100, LeaderEpoch(4));
        let header = check(&batch).unwrap();
        assert_eq!(
            (header.base_offset, header.last_offset(), header.next_offset()),
            (100, 102, 103)
        );
        assert_eq!(header.partition_leader_epoch, LeaderEpoch(4));
        assert_eq!((header.base_timestamp, header.max_timestamp), (1_000, 1_005));
        assert_eq!(
            (header.producer_id, header.producer_epoch, header.base_sequence),
            (77, 3, 12)
        );
        assert_eq!((header.last_sequence(), header.size()), (14, batch.len()));
        let got: Vec<Record> = records(&batch).map(Result::unwrap).collect();
        assert_eq!(got.len(), 3);
        assert_eq!(
            (got[0].offset, got[0].timestamp, &got[0].key, &got[0].value),
            (100, 1_000, &bytes("k"), &bytes("value-1"))
        );
        assert_eq!(
            (got[1].offset, got[1].timestamp, &got[1].key, &got[1].value),
            (101, 1_005, &None, &bytes(""))
        );
        assert_eq!(
            (got[2].offset, got[2].timestamp, &got[2].key, &got[2].value),
            (102, 990, &bytes("k2"), &None)
        );
        assert_eq!(
            walk(&batch),
            Ok(Walked {
                max_timestamp: 1_005,
                contiguous: true
            })
        );
    }

    #[test]
    fn offset_and_epoch_are_outside_the_checksum_and_all_else_is_inside() {
        let batch = sample();
        for at in 0..batch.len() {
            let mut changed = batch.to_vec();
            changed[at] ^= 0x10;
            let outside = at < 8 || (12..16).contains(&at);
            assert_eq!(check(&changed).is_ok(), outside, "byte {at}");
        }
    }

    #[test]
    fn sequence_wraps_to_zero() {
        let batch = build(&[(0, None, None), (0, None, None)], Some((1, 0, i32::MAX)), false);
        assert_eq!(check(&batch).unwrap().last_sequence(), 0);
    }

    #[test]
    fn partial_batch_at_the_end_is_left_out() {
        let one = sample();
        let mut two = BytesMut::from(&one[..]);
        two.extend_from_slice(&one);
        let two = two.freeze();
        for cut in one.len()..two.len() {
            assert_eq!(batches(&two.slice(..cut)).count(), 1, "{cut}");
        }
        assert_eq!(batches(&two).filter(Result::is_ok).count(), 2);
        let zeros = Bytes::from(vec![0; 100]);
        assert_eq!(
            batches(&zeros).collect::<Vec<_>>(),
            vec![Err(BatchError::Malformed("batch length"))]
        );
    }

    #[test]
    fn headers_keep_order_and_duplicates() {
        let plain = build(&[(0, None, None)], None, false);
        let mut raw = plain[..HEADER_LEN].to_vec();
        // Two headers of the same key "h": values "1" and null.
        let record = [0, 0, 0, 1, 1, 4, 2, b'h', 2, b'1', 2, b'h', 1];
        raw.push(record.len() as u8 * 2);
        raw.extend_from_slice(&record);
        let length = (raw.len() - 12) as i32;
        raw[8..12].copy_from_slice(&length.to_be_bytes());
        reseal(&mut raw);
        check(&raw).unwrap();
        let got = records(&Bytes::from(raw)).next().unwrap().unwrap();
        assert_eq!(
            got.headers,
            vec![(bytes("h").unwrap(), bytes("1")), (bytes("h").unwrap(), None)]
        );
    }

    #[test]
    fn hostile_headers_are_named() {
        let cases: [(usize, &[u8], &str); 6] = [
            (8, &(-1i32).to_be_bytes(), "batch length"),
            (8, &48i32.to_be_bytes(), "batch length"),
            (16, &[1], "magic"),
            (23, &(-1i32).to_be_bytes(), "last offset delta"),
            (57, &i32::MAX.to_be_bytes(), "record count"),
            (0, &i64::MAX.to_be_bytes(), "last offset delta"),
        ];
        for (at, with, field) in cases {
            let mut raw = sample().to_vec();
            raw[at..at + with.len()].copy_from_slice(with);
            reseal(&mut raw);
            assert_eq!(check(&raw), Err(BatchError::Malformed(field)));
        }
        assert_eq!(check(&sample()[..60]), Err(BatchError::Incomplete));
        assert_eq!(check(&[]), Err(BatchError::Incomplete));
    }

    #[test]
    fn lying_counts_end_in_an_error_not_in_an_allocation() {
        let mut raw = sample().to_vec();
        raw[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
        raw[57..61].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
        reseal(&mut raw);
        let batch = Bytes::from(raw);
        check(&batch).unwrap();
        let got: Vec<_> = records(&batch).collect();
        assert_eq!(got.len(), 4);
        assert!(got[3].is_err() && walk(&batch).is_err());
    }

    #[test]
    fn bytes_after_the_last_record_are_an_error() {
        let mut raw = sample().to_vec();
        raw[57..61].copy_from_slice(&2i32.to_be_bytes());
        reseal(&mut raw);
        let got: Vec<_> = records(&Bytes::from(raw)).collect();
        assert_eq!(got.len(), 3);
        assert_eq!(got[2], Err(BatchError::Malformed("bytes after the last record")));
    }

    #[test]
    fn compressed_records_are_refused_by_the_walker() {
        let mut raw = sample().to_vec();
        raw[22] |= 4;
        reseal(&mut raw);
        let batch = Bytes::from(raw);
        assert_eq!(check(&batch).unwrap().compression(), 4);
        assert!(records(&batch).next().unwrap().is_err());
    }

    #[test]
    fn noise_never_panics_and_always_ends() {
        let mut noise = Noise(42);
        let batch = sample();
        let mut bad = 0;
        for _ in 0..20_000 {
            let mut raw = batch.to_vec();
            for _ in 0..1 + noise.next() % 4 {
                let at = (noise.next() as usize) % raw.len();
                raw[at] = noise.next() as u8;
            }
            raw.truncate(
                (noise.next() as usize) % (raw.len() + 1) + if noise.next().is_multiple_of(2) { 0 } else { 60 },
            );
            if raw.len() > 21 {
                reseal(&mut raw);
            }
            let _ = check(&raw);
            let _ = walk(&raw);
            let _ = find_timestamp(&raw, 995, 1);
            let raw = Bytes::from(raw);
            assert!(batches(&raw).count() <= 2);
            let walked: Vec<_> = records(&raw).collect();
            assert!(walked.len() <= raw.len() + 1);
            assert!(
                walked.iter().rev().skip(1).all(Result::is_ok),
                "nothing follows an error"
            );
            bad += usize::from(walked.iter().any(Result::is_err));
        }
        assert!(bad > 1_000, "the noise does hit");
    }

    #[test]
    fn corrected_timestamp_has_a_good_checksum() {
        let batch = with_max_timestamp(&sample(), 7, false);
        assert_eq!(check(&batch).unwrap().max_timestamp, 7);
    }

    #[test]
    fn varints_of_all_sizes() {
        for value in [
            0,
            -1,
            1,
            63,
            64,
            -64,
            -65,
            8191,
            8192,
            i64::from(i32::MAX),
            i64::MAX,
            i64::MIN,
        ] {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
            let mut at = 0;
            assert_eq!(read_varint(&out, &mut at), Ok(value));
            assert_eq!(at, out.len());
        }
        assert!(read_varint(&[0xff; 11], &mut 0).is_err());
    }
}
