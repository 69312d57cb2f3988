//! The error codes that replication answers with, under Kafka's names.
//!
//! Sources: Kafka's protocol guide, "Error Codes".

/// No error.
pub const NONE: i16 = 0;
/// Below the log start or beyond the log end.
pub const OFFSET_OUT_OF_RANGE: i16 = 1;
/// The bytes are not a batch.
pub const CORRUPT_MESSAGE: i16 = 2;
/// Nobody knows this partition.
pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
/// What versions before 5 of ListOffsets hear instead of [`OFFSET_NOT_AVAILABLE`].
pub const LEADER_NOT_AVAILABLE: i16 = 5;
/// This broker does not lead it, or has no replica of it.
pub const NOT_LEADER_OR_FOLLOWER: i16 = 6;
/// The wait ended before enough replicas had it.
pub const REQUEST_TIMED_OUT: i16 = 7;
/// A batch above `max.message.bytes`.
pub const MESSAGE_TOO_LARGE: i16 = 10;
/// Refused before the append.
pub const NOT_ENOUGH_REPLICAS: i16 = 19;
/// Appended, but the ISR was too small by then.
pub const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i16 = 20;
/// `acks` is neither 0, 1 nor -1.
pub const INVALID_REQUIRED_ACKS: i16 = 21;
/// A request that cannot be.
pub const INVALID_REQUEST: i16 = 42;
/// Batches of this producer are missing before it, or it is an old one.
pub const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
/// This producer has gone on in a newer epoch.
pub const INVALID_PRODUCER_EPOCH: i16 = 47;
/// A record of a transaction that nobody has begun.
pub const INVALID_TXN_STATE: i16 = 48;
/// The controller did nothing, and the partition epoch is right.
pub const OPERATION_NOT_ATTEMPTED: i16 = 55;
/// No fetch session of this id.
pub const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
/// The leader epoch of the request is older than ours.
pub const FENCED_LEADER_EPOCH: i16 = 74;
/// The leader epoch of the request is newer than ours.
pub const UNKNOWN_LEADER_EPOCH: i16 = 75;
/// The high watermark has not reached the start of the epoch yet (KIP-207).
pub const OFFSET_NOT_AVAILABLE: i16 = 78;
/// A record that its topic cannot take.
pub const INVALID_RECORD: i16 = 87;
/// The partition epoch is not the controller's.
pub const INVALID_UPDATE_VERSION: i16 = 95;
/// No topic of this id.
pub const UNKNOWN_TOPIC_ID: i16 = 100;
/// The change was made, and with it the leader went.
pub const NEW_LEADER_ELECTED: i16 = 106;
/// A broker of the new ISR is fenced, leaving, or another incarnation.
pub const INELIGIBLE_REPLICA: i16 = 107;
