//! Whether a failed record is certainly in no log: the line between "it failed" and "nobody knows".
//!
//! Guarantees: "certainly not" is said only of an answer that Kafka's broker can give only before the append, at the
//! `acks` of the request; everything else, lost connections and timeouts above all, counts as "may be there".
//! Does not know: which attempt it was; a record's fate is the worst of its attempts.
//!
//! | code | when a broker says so | |
//! | --- | --- | --- |
//! | CORRUPT_MESSAGE, INVALID_RECORD, INVALID_TIMESTAMP, MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, UNSUPPORTED_* | validation in `UnifiedLog.append`, before the write | not there |
//! | NOT_ENOUGH_REPLICAS | `Partition.appendRecordsToLeader`, before the append | not there |
//! | INVALID_REQUIRED_ACKS, INVALID_TOPIC_EXCEPTION, *_AUTHORIZATION_FAILED | before `ReplicaManager.appendToLocalLog` | not there |
//! | INVALID_PRODUCER_EPOCH, PRODUCER_FENCED, OUT_OF_ORDER_SEQUENCE_NUMBER, UNKNOWN_PRODUCER_ID, INVALID_TXN_STATE | `ProducerAppendInfo`, before the append | not there |
//! | NOT_LEADER_OR_FOLLOWER, UNKNOWN_TOPIC_OR_PARTITION | before the append; with acks=all also by `DelayedProduce`, when leadership or the partition went while it waited | with acks=all it may be there |
//! | NOT_ENOUGH_REPLICAS_AFTER_APPEND, REQUEST_TIMED_OUT | `DelayedProduce` | may be there |
//! | KAFKA_STORAGE_ERROR | before, in, or after a write that failed | may be there |
//! | UNKNOWN_SERVER_ERROR and all others | anywhere | may be there |
//!
//! Sources: Kafka 4.1 `ReplicaManager.appendRecords`, `Partition.appendRecordsToLeader`, `UnifiedLog.append`, `DelayedProduce`.

use crate::wire::ErrorCode;

/// `acks=all`.
pub const ACKS_ALL: i64 = -1;

/// Whether an answer with this error says that the broker has not appended the batch of this request, and never will.
pub fn nothing_appended(error: ErrorCode, acks: i64) -> bool {
    match error {
        ErrorCode::CORRUPT_MESSAGE
        | ErrorCode::INVALID_RECORD
        | ErrorCode::INVALID_TIMESTAMP
        | ErrorCode::MESSAGE_TOO_LARGE
        | ErrorCode::RECORD_LIST_TOO_LARGE
        | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT
        | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
        | ErrorCode::NOT_ENOUGH_REPLICAS
        | ErrorCode::INVALID_REQUIRED_ACKS
        | ErrorCode::INVALID_TOPIC_EXCEPTION
        | ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        | ErrorCode::INVALID_PRODUCER_EPOCH
        | ErrorCode::PRODUCER_FENCED
        | ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
        | ErrorCode::UNKNOWN_PRODUCER_ID
        | ErrorCode::INVALID_TXN_STATE => true,
        ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => acks != ACKS_ALL,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_after_the_append_is_never_definite() {
        for error in [
            ErrorCode::NONE,
            ErrorCode::UNKNOWN_SERVER_ERROR,
            ErrorCode::REQUEST_TIMED_OUT,
            ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            ErrorCode::KAFKA_STORAGE_ERROR,
            ErrorCode::NETWORK_EXCEPTION,
            ErrorCode::DUPLICATE_SEQUENCE_NUMBER,
            ErrorCode(999),
        ] {
            for acks in [-1, 0, 1] {
                assert!(!nothing_appended(error, acks), "{error:?} with acks={acks}");
            }
        }
    }

    #[test]
    fn lost_leadership_is_definite_only_without_waiting() {
        for error in [ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION] {
            assert!(nothing_appended(error, 1));
            assert!(!nothing_appended(error, ACKS_ALL));
        }
        assert!(nothing_appended(ErrorCode::NOT_ENOUGH_REPLICAS, ACKS_ALL));
        assert!(nothing_appended(ErrorCode::MESSAGE_TOO_LARGE, ACKS_ALL));
    }
}
