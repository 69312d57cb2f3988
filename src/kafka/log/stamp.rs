//! Timestamps of a client's batch: whose clock they are of, and whether they may be.
//!
//! Guarantees: with `CreateTime` every timestamp of an uncompressed batch lies in the topic's bounds around the
//! leader's clock (of a compressed one the first and the largest, as its header has them); with `LogAppendTime` the
//! records have the time of the append. What is stored says which of the two it is.
//!
//! Sources: KIP-32, KIP-937 (bounds before and after); `LogValidator.validateTimestamp`.

use super::LogError;
use crate::config::TopicConfig;
use crate::wire::batch::{self, BatchHeader};
use bytes::Bytes;

const LOG_APPEND_TIME: i64 = 1;
const NO_TIMESTAMP: i64 = -1;
/// So many records at most are named in a refusal.
const MAX_RECORD_ERRORS: usize = 100;

/// The batch as it is stored, if that is not how it came. `real_max` is its largest timestamp where the header is wrong.
pub(super) fn stamp(
    records: &Bytes,
    header: &BatchHeader,
    real_max: Option<i64>,
    config: &TopicConfig,
    now_ms: i64,
) -> Result<Option<Bytes>, LogError> {
    if config.message_timestamp_type == LOG_APPEND_TIME {
        return Ok(Some(batch::with_max_timestamp(records, now_ms, true)));
    }
    if header.is_log_append_time() {
        let why = "Invalid timestamp type in message. Producer should not set timestamp type to LogAppendTime.";
        return Err(LogError::InvalidTimestamps(vec![(0, why.to_owned())]));
    }
    let earliest = now_ms.saturating_sub(config.message_timestamp_before_max_ms);
    let latest = now_ms.saturating_add(config.message_timestamp_after_max_ms);
    let is_out = |timestamp: i64| timestamp != NO_TIMESTAMP && !(earliest..=latest).contains(&timestamp);
    let max = real_max.unwrap_or(header.max_timestamp);
    // Most topics have no bound behind, and the largest timestamp is known: no record needs to be looked at.
    if is_out(max) || is_out(header.base_timestamp) || config.message_timestamp_before_max_ms != i64::MAX {
        let error = |offset: i64, timestamp: i64| {
            let why = format!(
                "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be within \
                 [{earliest}, {latest}]"
            );
            ((offset - header.base_offset) as i32, why)
        };
        let errors: Vec<(i32, String)> = if header.compression() == 0 {
            let outside = batch::records(records)
                .flatten()
                .filter(|record| is_out(record.timestamp));
            let errors = outside.map(|record| error(record.offset, record.timestamp));
            errors.take(MAX_RECORD_ERRORS).collect()
        } else {
            let ends = [(header.base_offset, header.base_timestamp), (header.last_offset(), max)];
            let outside = ends.into_iter().filter(|(_, timestamp)| is_out(*timestamp));
            outside.map(|(offset, timestamp)| error(offset, timestamp)).collect()
        };
        if !errors.is_empty() {
            return Err(LogError::InvalidTimestamps(errors));
        }
    }
    Ok(real_max.map(|max| batch::with_max_timestamp(records, max, false)))
}
