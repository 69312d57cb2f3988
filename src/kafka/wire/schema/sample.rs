//! Requests by chance that follow their shape, and damage done to them: what strangers may send.
//!
//! Guarantees: the same entropy gives the same bytes; an undamaged sample is a message that the library reads to its
//! end; null strings and arrays do not occur in it.

use super::{Field, Fields, Kind};
use crate::machine::Entropy;
use crate::wire::api::Api;
use bytes::{BufMut, Bytes, BytesMut};

/// A frame without its length: header and body of a request in one of the versions of its row.
pub fn request(api: &Api, version: i16, entropy: &mut Entropy) -> Bytes {
    let mut sample = Sample {
        bytes: BytesMut::with_capacity(256),
        version,
        flexible: api.is_flexible(version),
        entropy,
    };
    sample.bytes.put_i16(api.key as i16);
    sample.bytes.put_i16(version);
    let correlation_id = sample.entropy.next_u64() as i32;
    sample.bytes.put_i32(correlation_id);
    sample.bytes.put_i16(4);
    sample.bytes.put_slice(b"some");
    if sample.flexible {
        sample.bytes.put_u8(0);
    }
    sample.structure(api.request);
    sample.bytes.freeze()
}

/// The same bytes with something wrong: cut off, a byte changed, or four bytes of a hostile length.
pub fn damage(frame: &Bytes, entropy: &mut Entropy) -> Bytes {
    let mut bytes = BytesMut::from(&frame[..]);
    let at = entropy.below(bytes.len() as u64) as usize;
    match entropy.below(4) {
        0 => bytes.truncate(at),
        1 => bytes[at] = entropy.next_u64() as u8,
        2 => bytes[at] ^= 1 << entropy.below(8),
        _ => {
            // As an int32 and as a varint about the largest length that there is.
            let hostile = [[0x7f, 0xff, 0xff, 0xff], [0xff, 0xff, 0xff, 0x0f]][entropy.below(2) as usize];
            let end = bytes.len().min(at + 4);
            bytes[at..end].copy_from_slice(&hostile[..end - at]);
        }
    }
    bytes.freeze()
}

struct Sample<'a> {
    bytes: BytesMut,
    version: i16,
    flexible: bool,
    entropy: &'a mut Entropy,
}

impl Sample<'_> {
    fn structure(&mut self, fields: Fields) {
        let version = self.version;
        for field in fields
            .iter()
            .filter(|field| field.tag.is_none() && field.is_in(version))
        {
            self.value(&field.kind);
        }
        if !self.flexible {
            return;
        }
        let known = fields
            .iter()
            .filter(|field| field.tag.is_some() && field.is_in(version));
        let mut known: Vec<&Field> = known.filter(|_| self.entropy.below(2) == 0).collect();
        known.sort_by_key(|field| field.tag);
        let has_unknown = self.entropy.below(8) == 0;
        self.varint(known.len() as u32 + u32::from(has_unknown));
        for field in known {
            let before = std::mem::take(&mut self.bytes);
            self.value(&field.kind);
            let value = std::mem::replace(&mut self.bytes, before);
            self.varint(field.tag.expect("filtered"));
            self.varint(value.len() as u32);
            self.bytes.put_slice(&value);
        }
        if has_unknown {
            self.varint(77);
            self.varint(3);
            self.bytes.put_slice(b"new");
        }
    }

    fn value(&mut self, kind: &Kind) {
        match kind {
            // One, so that a flag that is read and written again stays what it is.
            Kind::Fixed(1) => self.bytes.put_u8(1),
            Kind::Fixed(size) => {
                let bytes = self.entropy.next_u64().to_be_bytes().repeat(2);
                self.bytes.put_slice(&bytes[..*size]);
            }
            Kind::Text | Kind::Blob => {
                let size = self.entropy.below(6) as usize;
                self.length(size, *kind == Kind::Text);
                self.bytes.put_slice(&b"topic-"[..size]);
            }
            Kind::Many(item) => (0..self.array()).for_each(|_| self.value(item)),
            Kind::Each(fields) => (0..self.array()).for_each(|_| self.structure(fields)),
            Kind::Part(fields) => self.structure(fields),
            Kind::Maybe(fields) => {
                if self.entropy.below(2) == 0 {
                    self.bytes.put_i8(-1);
                } else {
                    self.bytes.put_i8(1);
                    self.structure(fields);
                }
            }
        }
    }

    fn array(&mut self) -> usize {
        let count = self.entropy.below(4) as usize;
        self.length(count, false);
        count
    }

    fn length(&mut self, length: usize, of_text: bool) {
        if self.flexible {
            self.varint(length as u32 + 1);
        } else if of_text {
            self.bytes.put_i16(length as i16);
        } else {
            self.bytes.put_i32(length as i32);
        }
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.put_u8(value as u8);
    }
}
