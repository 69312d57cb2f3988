//! Reads record batches as the checks need them: header, checksum, offsets and a hash of each value.
//!
//! Guarantees: never panics on any bytes; allocates nothing; knows nothing of the broker's own reader, so a fault
//! there cannot hide itself. Deliberately does not know: compression, keys, headers of records.
//!
//! Sources: KIP-98 (message format v2).

use super::producers::Written;
use kafka::types::Offset;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a batch header.
const HEADER: usize = 61;

/// What the checks want to know of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch<'a> {
    /// Offset of the first record.
    pub base: Offset,
    /// Offset of the last record.
    pub last: Offset,
    /// Epoch in the header.
    pub epoch: i32,
    /// Set for markers and other records that no user wrote.
    pub control: bool,
    /// Whole, with header.
    pub bytes: &'a [u8],
    count: i32,
}

/// The 64-bit hash by which values and batches are told apart.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

fn int32(bytes: &[u8], at: usize) -> i32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    i32::from_be_bytes(four)
}

/// The first batch of `bytes`, its checksum verified. The error is a fragment that fits after "the batch".
pub(crate) fn first(bytes: &[u8]) -> Result<Batch<'_>, &'static str> {
    if bytes.len() < HEADER {
        return Err("is shorter than a header");
    }
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[..8]);
    let base = i64::from_be_bytes(eight);
    let size = i64::from(int32(bytes, 8)) + 12;
    if size < HEADER as i64 || size > bytes.len() as i64 {
        return Err("has a length that cannot be");
    }
    if bytes[16] != 2 {
        return Err("is not of format 2");
    }
    let bytes = &bytes[..size as usize];
    if crc32c::crc32c(&bytes[21..]) != int32(bytes, 17) as u32 {
        return Err("does not match its checksum");
    }
    let delta = int32(bytes, 23);
    let count = int32(bytes, 57);
    if base < 0 || delta < 0 || count < 0 || base.checked_add(i64::from(delta)).is_none() {
        return Err("has offsets that cannot be");
    }
    Ok(Batch {
        base,
        last: base + i64::from(delta),
        epoch: int32(bytes, 12),
        control: bytes[22] & 0x20 != 0,
        bytes,
        count,
    })
}

impl<'a> Batch<'a> {
    /// What it says of the idempotent producer that wrote it; none if none did.
    pub fn producer(&self) -> Option<Written> {
        let int64 = |at: usize| i64::from(int32(self.bytes, at)) << 32 | i64::from(int32(self.bytes, at + 4) as u32);
        let id = int64(43);
        let base_sequence = int32(self.bytes, 53);
        if self.control || id < 0 {
            return None;
        }
        // Sequences count from 0 to the largest of 31 bits, and then again.
        let last_sequence = (i64::from(base_sequence) + (self.last - self.base)) & 0x7fff_ffff;
        Some(Written {
            id,
            epoch: i16::from_be_bytes([self.bytes[51], self.bytes[52]]),
            base_sequence,
            last_sequence: last_sequence as i32,
            timestamp: int64(35),
            last_offset: self.last,
        })
    }

    /// Offset and hash of the value of each record; stops at the first that cannot be read. Compressed: none.
    pub fn values(&self) -> impl Iterator<Item = (Offset, u64)> + use<'a> {
        self.raw_values().map(|(offset, value)| (offset, hash(value)))
    }

    /// Offset and value of each record, likewise.
    pub fn raw_values(&self) -> impl Iterator<Item = (Offset, &'a [u8])> + use<'a> {
        let compressed = self.bytes[22] & 0x07 != 0;
        let mut left = if compressed { 0 } else { self.count };
        let mut rest = &self.bytes[HEADER..];
        let base = self.base;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            left -= 1;
            let length = usize::try_from(varint(&mut rest)?).ok()?;
            if length > rest.len() {
                return None;
            }
            let (mut record, after) = rest.split_at(length);
            rest = after;
            record = record.get(1..)?;
            varint(&mut record)?;
            let delta = varint(&mut record)?;
            if let Ok(key) = usize::try_from(varint(&mut record)?) {
                record = record.get(key..)?;
            }
            let value = match usize::try_from(varint(&mut record)?) {
                Ok(length) => record.get(..length)?,
                Err(_) => &[],
            };
            Some((base.checked_add(delta)?, value))
        })
    }
}

/// A zigzag varint, taken off the front.
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut raw = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((raw >> 1) as i64 ^ -((raw & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use bytes::Bytes;

    fn put_varint(out: &mut Vec<u8>, value: i64) {
        let mut raw = ((value << 1) ^ (value >> 63)) as u64;
        while raw >= 0x80 {
            out.push(raw as u8 | 0x80);
            raw >>= 7;
        }
        out.push(raw as u8);
    }

    /// A batch of these values, written by hand.
    pub(crate) fn made(base: Offset, epoch: i32, values: &[&str]) -> Bytes {
        made_by((-1, -1, -1), base, epoch, values)
    }

    /// The same, of a producer: id, epoch, sequence of the first record.
    pub(crate) fn made_by(producer: (i64, i16, i32), base: Offset, epoch: i32, values: &[&str]) -> Bytes {
        let mut records = Vec::new();
        for (delta, value) in values.iter().enumerate() {
            let mut record = vec![0];
            put_varint(&mut record, 0);
            put_varint(&mut record, delta as i64);
            put_varint(&mut record, -1);
            put_varint(&mut record, value.len() as i64);
            record.extend_from_slice(value.as_bytes());
            put_varint(&mut record, 0);
            put_varint(&mut records, record.len() as i64);
            records.extend_from_slice(&record);
        }
        let mut tail = Vec::new();
        tail.extend_from_slice(&0_i16.to_be_bytes());
        tail.extend_from_slice(&(values.len() as i32 - 1).to_be_bytes());
        tail.extend_from_slice(&[0; 16]);
        tail.extend_from_slice(&producer.0.to_be_bytes());
        tail.extend_from_slice(&producer.1.to_be_bytes());
        tail.extend_from_slice(&producer.2.to_be_bytes());
        tail.extend_from_slice(&(values.len() as i32).to_be_bytes());
        tail.extend_from_slice(&records);
        let mut out = Vec::new();
        out.extend_from_slice(&base.to_be_bytes());
        out.extend_from_slice(&((tail.len() + 9) as i32).to_be_bytes());
        out.extend_from_slice(&epoch.to_be_bytes());
        out.push(2);
        out.extend_from_slice(&crc32c::crc32c(&tail).to_be_bytes());
        out.extend_from_slice(&tail);
        Bytes::from(out)
    }

    #[test]
    fn reads_what_was_written() {
        let bytes = made(7, 3, &["a", "a longer value of more than a few bytes", ""]);
        let batch = first(&bytes).unwrap();
        assert_eq!((batch.base, batch.last, batch.epoch, batch.control), (7, 9, 3, false));
        let values: Vec<_> = batch.values().collect();
        assert_eq!(values[0], (7, hash(b"a")));
        assert_eq!(values[2], (9, hash(b"")));
        assert_eq!(values.len(), 3);
    }

    #[test]
    fn a_producer_is_read_and_its_sequence_goes_on_at_zero() {
        let bytes = made_by((7, 3, i32::MAX), 5, 0, &["a", "b"]);
        let written = first(&bytes).unwrap().producer().unwrap();
        assert_eq!((written.id, written.epoch, written.last_offset), (7, 3, 6));
        assert_eq!((written.base_sequence, written.last_sequence), (i32::MAX, 0));
        assert_eq!(first(&made(5, 0, &["a"])).unwrap().producer(), None);
    }

    #[test]
    fn refuses_every_flipped_byte_behind_the_checksum_and_every_cut() {
        let bytes = made(7, 3, &["a", "b"]);
        for at in 17..bytes.len() {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 0x10;
            assert!(first(&flipped).is_err(), "byte {at}");
        }
        for len in 0..bytes.len() {
            assert!(first(&bytes[..len]).is_err(), "length {len}");
        }
    }
}
