//! Facts as text: bytes as hexadecimal digits, a partition as its topic's id and its number.
//!
//! Guarantees: what was written is read back as it was. Deliberately unknown: files, and which format it is.

use crate::types::{TopicPartition, Uuid};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

impl Serialize for TopicPartition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}:{}", self.topic, self.partition))
    }
}

impl<'de> Deserialize<'de> for TopicPartition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TopicPartition, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = text.split_once(':').and_then(|(topic, partition)| {
            Some(TopicPartition {
                topic: Uuid::parse_str(topic).ok()?,
                partition: partition.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| D::Error::custom(format!("`{text}` is no partition: write ID:NUMBER")))
    }
}

/// Two digits a byte, for `#[serde(with)]`.
pub mod hex {
    use super::*;
    use bytes::Bytes;

    const DIGITS: &[u8; 16] = b"0123456789abcdef";

    /// Writes bytes.
    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let text: String = digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect();
        serializer.serialize_str(&text)
    }

    /// Reads them back.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        let bytes = bytes.ok_or_else(|| D::Error::custom("these are no pairs of hexadecimal digits"))?;
        Ok(Bytes::from(bytes))
    }
}
