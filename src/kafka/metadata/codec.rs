//! Kafka's flexible-version encoding: unsigned varints, compact strings and arrays, tagged fields.
//!
//! Guarantees: reading never panics and never allocates more than the input could hold, whatever the bytes are.
//! Does not know: which fields a record has.
//!
//! Sources: KIP-482 (flexible versions), `ByteBufferAccessor` and `ByteUtils` for the order of bytes.

use super::record::RecordError;
use crate::types::{NodeId, Uuid};
use bytes::{BufMut, Bytes, BytesMut};

/// Puts fields one after another.
#[derive(Default)]
pub(super) struct Writer {
    bytes: BytesMut,
}

impl Writer {
    pub fn finish(self) -> Bytes {
        self.bytes.freeze()
    }

    pub fn unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.put_u8(value as u8);
    }

    pub fn bool(&mut self, value: bool) {
        self.bytes.put_u8(u8::from(value));
    }

    pub fn int8(&mut self, value: i8) {
        self.bytes.put_i8(value);
    }

    pub fn int16(&mut self, value: i16) {
        self.bytes.put_i16(value);
    }

    pub fn uint16(&mut self, value: u16) {
        self.bytes.put_u16(value);
    }

    pub fn int32(&mut self, value: i32) {
        self.bytes.put_i32(value);
    }

    pub fn int64(&mut self, value: i64) {
        self.bytes.put_i64(value);
    }

    pub fn uuid(&mut self, value: Uuid) {
        self.bytes.put_slice(value.as_bytes());
    }

    /// The length plus one; zero is null.
    pub fn length(&mut self, length: usize) {
        self.unsigned_varint(u32::try_from(length + 1).expect("a metadata field is far below four gigabytes"));
    }

    pub fn string(&mut self, value: &str) {
        self.length(value.len());
        self.bytes.put_slice(value.as_bytes());
    }

    pub fn nullable_string(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.string(value),
            None => self.unsigned_varint(0),
        }
    }

    pub fn nodes(&mut self, nodes: &[NodeId]) {
        self.length(nodes.len());
        for node in nodes {
            self.int32(node.0);
        }
    }

    /// The section of tagged fields, which ends every structure. Tags must ascend.
    pub fn tagged(&mut self, fields: &[(u32, Bytes)]) {
        assert!(
            fields.is_sorted_by_key(|field| field.0),
            "Kafka writes tagged fields in order"
        );
        self.unsigned_varint(fields.len() as u32);
        for (tag, value) in fields {
            self.unsigned_varint(*tag);
            self.unsigned_varint(value.len() as u32);
            self.bytes.put_slice(value);
        }
    }
}

/// The bytes of one field, for [`Writer::tagged`].
pub(super) fn field(write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut writer = Writer::default();
    write(&mut writer);
    writer.finish()
}

/// Takes fields one after another.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(RecordError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(RecordError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub fn unsigned_varint(&mut self) -> Result<u32, RecordError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            let part = u32::from(byte & 0x7f);
            if shift == 28 && part > 0x0f {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::Invalid("a varint of more than 32 bits"))
    }

    pub fn bool(&mut self) -> Result<bool, RecordError> {
        Ok(self.array::<1>()? != [0])
    }

    pub fn int8(&mut self) -> Result<i8, RecordError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    pub fn int16(&mut self) -> Result<i16, RecordError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub fn uint16(&mut self) -> Result<u16, RecordError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub fn int32(&mut self) -> Result<i32, RecordError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub fn int64(&mut self) -> Result<i64, RecordError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub fn uuid(&mut self) -> Result<Uuid, RecordError> {
        Ok(Uuid::from_bytes(self.array()?))
    }

    /// Number of elements, none for null. Refused if the rest cannot hold them at `least` bytes each.
    pub fn length(&mut self, least: usize) -> Result<Option<usize>, RecordError> {
        let Some(length) = self.unsigned_varint()?.checked_sub(1) else {
            return Ok(None);
        };
        let length = length as usize;
        if length.checked_mul(least).is_none_or(|bytes| bytes > self.rest.len()) {
            return Err(RecordError::Truncated);
        }
        Ok(Some(length))
    }

    pub fn nullable_string(&mut self) -> Result<Option<String>, RecordError> {
        let Some(length) = self.length(1)? else { return Ok(None) };
        let text =
            std::str::from_utf8(self.take(length)?).map_err(|_| RecordError::Invalid("text that is not UTF-8"))?;
        Ok(Some(text.to_owned()))
    }

    pub fn string(&mut self) -> Result<String, RecordError> {
        self.nullable_string()?
            .ok_or(RecordError::Invalid("null where text must be"))
    }

    pub fn nullable_nodes(&mut self) -> Result<Option<Vec<NodeId>>, RecordError> {
        let Some(length) = self.length(4)? else { return Ok(None) };
        (0..length)
            .map(|_| self.int32().map(NodeId))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    pub fn nodes(&mut self) -> Result<Vec<NodeId>, RecordError> {
        self.nullable_nodes()?
            .ok_or(RecordError::Invalid("null where a list must be"))
    }

    /// Hands every tagged field to `read`, which may leave bytes of tags it does not know.
    pub fn tagged(
        &mut self,
        mut read: impl FnMut(u32, &mut Reader<'a>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let fields = self.unsigned_varint()?;
        for _ in 0..fields {
            let tag = self.unsigned_varint()?;
            let length = self.unsigned_varint()? as usize;
            let mut value = Reader::new(self.take(length)?);
            read(tag, &mut value)?;
        }
        Ok(())
    }

    /// Tagged fields of which we know none.
    pub fn skip_tagged(&mut self) -> Result<(), RecordError> {
        self.tagged(|_, _| Ok(()))
    }
}
