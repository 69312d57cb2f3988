//! The error codes that replication answers with, under Kafka's names.
//!
//! Sources: Kafka's protocol guide, "Error Codes".

use crate::wire::ErrorCode;

/// No error.
pub const NONE: i16 = ErrorCode::NONE.0;
/// Below the log start or beyond the log end.
pub const OFFSET_OUT_OF_RANGE: i16 = ErrorCode::OFFSET_OUT_OF_RANGE.0;
/// The bytes are not a batch.
pub const CORRUPT_MESSAGE: i16 = ErrorCode::CORRUPT_MESSAGE.0;
/// Nobody knows this partition.
pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
/// What versions before 5 of ListOffsets hear instead of [`OFFSET_NOT_AVAILABLE`].
pub const LEADER_NOT_AVAILABLE: i16 = ErrorCode::LEADER_NOT_AVAILABLE.0;
/// This broker does not lead it, or has no replica of it.
pub const NOT_LEADER_OR_FOLLOWER: i16 = ErrorCode::NOT_LEADER_OR_FOLLOWER.0;
/// The wait ended before enough replicas had it.
pub const REQUEST_TIMED_OUT: i16 = ErrorCode::REQUEST_TIMED_OUT.0;
/// A batch above `max.message.bytes`.
pub const MESSAGE_TOO_LARGE: i16 = ErrorCode::MESSAGE_TOO_LARGE.0;
/// Refused before the append.
pub const NOT_ENOUGH_REPLICAS: i16 = ErrorCode::NOT_ENOUGH_REPLICAS.0;
/// Appended, but the ISR was too small by then.
pub const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i16 = ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND.0;
/// `acks` is neither 0, 1 nor -1.
pub const INVALID_REQUIRED_ACKS: i16 = ErrorCode::INVALID_REQUIRED_ACKS.0;
/// A timestamp out of its topic's bounds.
pub const INVALID_TIMESTAMP: i16 = ErrorCode::INVALID_TIMESTAMP.0;
/// A request that cannot be.
pub const INVALID_REQUEST: i16 = ErrorCode::INVALID_REQUEST.0;
/// Batches of this producer are missing before it, or it is an old one.
pub const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER.0;
/// This producer has gone on in a newer epoch.
pub const INVALID_PRODUCER_EPOCH: i16 = ErrorCode::INVALID_PRODUCER_EPOCH.0;
/// A record of a transaction that nobody has begun.
pub const INVALID_TXN_STATE: i16 = ErrorCode::INVALID_TXN_STATE.0;
/// The controller did nothing, and the partition epoch is right.
pub const OPERATION_NOT_ATTEMPTED: i16 = ErrorCode::OPERATION_NOT_ATTEMPTED.0;
/// No fetch session of this id.
pub const FETCH_SESSION_ID_NOT_FOUND: i16 = ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0;
/// A request of a session whose turn it is not.
pub const INVALID_FETCH_SESSION_EPOCH: i16 = ErrorCode::INVALID_FETCH_SESSION_EPOCH.0;
/// The leader epoch of the request is older than ours.
pub const FENCED_LEADER_EPOCH: i16 = ErrorCode::FENCED_LEADER_EPOCH.0;
/// The leader epoch of the request is newer than ours.
pub const UNKNOWN_LEADER_EPOCH: i16 = ErrorCode::UNKNOWN_LEADER_EPOCH.0;
/// A codec that this version of Produce does not have.
pub const UNSUPPORTED_COMPRESSION_TYPE: i16 = ErrorCode::UNSUPPORTED_COMPRESSION_TYPE.0;
/// The high watermark has not reached the start of the epoch yet (KIP-207).
pub const OFFSET_NOT_AVAILABLE: i16 = ErrorCode::OFFSET_NOT_AVAILABLE.0;
/// A record that its topic cannot take.
pub const INVALID_RECORD: i16 = ErrorCode::INVALID_RECORD.0;
/// The partition epoch is not the controller's.
pub const INVALID_UPDATE_VERSION: i16 = ErrorCode::INVALID_UPDATE_VERSION.0;
/// No topic of this id.
pub const UNKNOWN_TOPIC_ID: i16 = ErrorCode::UNKNOWN_TOPIC_ID.0;
/// A session that names topics by id goes on with names, or the other way round.
pub const FETCH_SESSION_TOPIC_ID_ERROR: i16 = ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR.0;
/// The change was made, and with it the leader went.
pub const NEW_LEADER_ELECTED: i16 = ErrorCode::NEW_LEADER_ELECTED.0;
/// A broker of the new ISR is fenced, leaving, or another incarnation.
pub const INELIGIBLE_REPLICA: i16 = ErrorCode::INELIGIBLE_REPLICA.0;
