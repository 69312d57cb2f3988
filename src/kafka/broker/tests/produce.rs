//! What a leader takes from producers, and what it says of what it does not take.

use super::*;
use crate::wire::ErrorCode as E;
use crate::wire::batch::{self, BatchHeader};
use bytes::BytesMut;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{FetchRequest, ProduceRequest};

const NOW_MS: i64 = 1_700_000_000_000;

/// A batch with records of these timestamps.
pub(super) fn batch_at(timestamps: &[i64]) -> Bytes {
    let record = |timestamp: &i64| (*timestamp, None, Some(Bytes::from_static(b"value")));
    let records: Vec<_> = timestamps.iter().map(record).collect();
    batch::build(&records, None, false)
}

/// The same with other attributes, and the right checksum.
fn with_attributes(batch: &Bytes, attributes: i16) -> Bytes {
    let mut bytes = BytesMut::from(&batch[..]);
    bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.freeze()
}

pub(super) fn request_of(topic: &str, records: &Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_records(Some(records.clone()));
    let data = TopicProduceData::default()
        .with_name(name(topic))
        .with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(1_000)
        .with_topic_data(vec![data])
}

fn produce_in(node: &mut Node, version: i16, topic: &str, records: &Bytes) -> PartitionProduceResponse {
    let ResponseKind::Produce(mut response) = node.ask_in(version, request_of(topic, records)) else {
        panic!("another answer")
    };
    response.responses[0].partition_responses.remove(0)
}

fn produce(node: &mut Node, topic: &str, records: &Bytes) -> PartitionProduceResponse {
    produce_in(node, 12, topic, records)
}

fn code(response: &PartitionProduceResponse) -> E {
    E(response.error_code)
}

/// What the log of a topic holds.
fn stored(node: &mut Node, topic: &str) -> Bytes {
    let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(name(topic))
        .with_partitions(vec![partition]);
    let request = FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![topic]);
    let ResponseKind::Fetch(response) = node.ask_in(12, request) else {
        panic!("another answer")
    };
    response.responses[0].partitions[0].records.clone().unwrap()
}

#[test]
fn each_codec_is_stored_as_it_was_sent() {
    let mut node = Node::start(&[]);
    node.create("t", &[]);
    let mut sent = BytesMut::new();
    for codec in 0..=4 {
        let mut batch = BytesMut::from(&with_attributes(&batch_at(&[NOW_MS, NOW_MS]), codec)[..]);
        assert_eq!(
            code(&produce(&mut node, "t", &batch.clone().freeze())),
            E::NONE,
            "{codec}"
        );
        batch::patch(&mut batch, i64::from(codec) * 2, crate::types::LeaderEpoch(0));
        sent.extend_from_slice(&batch);
    }
    assert_eq!(stored(&mut node, "t"), sent);
    let unknown = with_attributes(&batch_at(&[NOW_MS]), 5);
    assert_eq!(
        code(&produce(&mut node, "t", &unknown)),
        E::UNSUPPORTED_COMPRESSION_TYPE
    );
    let zstd = with_attributes(&batch_at(&[NOW_MS]), 4);
    assert_eq!(
        code(&produce_in(&mut node, 6, "t", &zstd)),
        E::UNSUPPORTED_COMPRESSION_TYPE
    );
    assert_eq!(code(&produce_in(&mut node, 7, "t", &zstd)), E::NONE);
}

#[test]
fn what_is_no_batch_or_more_than_one_is_refused_in_words() {
    let mut node = Node::start(&[]);
    node.create("t", &[("max.message.bytes", "100")]);
    let good = batch_at(&[NOW_MS]);
    let mut torn = BytesMut::from(&good[..]);
    *torn.last_mut().unwrap() ^= 1;
    let refused = produce(&mut node, "t", &torn.freeze());
    assert_eq!(
        (code(&refused), refused.error_message.as_deref()),
        (E::CORRUPT_MESSAGE, Some("a record batch is corrupt"))
    );
    let refused = produce(&mut node, "t", &Bytes::from([&good[..], &good[..]].concat()));
    let one = "a produce request must have exactly one record batch for a partition";
    assert_eq!(
        (code(&refused), refused.error_message.as_deref()),
        (E::INVALID_RECORD, Some(one))
    );
    assert_eq!(
        code(&produce(&mut node, "t", &batch_at(&[NOW_MS; 9]))),
        E::MESSAGE_TOO_LARGE
    );
    assert_eq!(code(&produce(&mut node, "x", &good)), E::UNKNOWN_TOPIC_OR_PARTITION);
    let taken = produce(&mut node, "t", &good);
    assert_eq!(
        (code(&taken), taken.base_offset, taken.error_message),
        (E::NONE, 0, None)
    );
}

#[test]
fn timestamps_out_of_bounds_are_named_one_by_one() {
    let mut node = Node::start(&[]);
    let bounds = [
        ("message.timestamp.before.max.ms", "1000"),
        ("message.timestamp.after.max.ms", "2000"),
    ];
    node.create("t", &bounds);
    let edges = batch_at(&[NOW_MS - 1_000, NOW_MS + 2_000, -1]);
    assert_eq!(code(&produce(&mut node, "t", &edges)), E::NONE);
    let refused = produce(
        &mut node,
        "t",
        &batch_at(&[NOW_MS, NOW_MS - 1_001, NOW_MS, NOW_MS + 2_001]),
    );
    assert_eq!(code(&refused), E::INVALID_TIMESTAMP);
    let indexes: Vec<i32> = refused.record_errors.iter().map(|error| error.batch_index).collect();
    assert_eq!(indexes, [1, 3]);
    let why = refused.record_errors[1].batch_index_error_message.as_deref().unwrap();
    assert_eq!(
        why,
        "Timestamp 1700000002001 of message with offset 3 is out of range. The timestamp should be within \
         [1699999999000, 1700000002000]"
    );
    // Of compressed records only the header's word is known.
    let late = with_attributes(&batch_at(&[NOW_MS, NOW_MS + 2_001]), 1);
    assert_eq!(code(&produce(&mut node, "t", &late)), E::INVALID_TIMESTAMP);
    node.create("u", &[]);
    assert_eq!(
        code(&produce(&mut node, "u", &batch_at(&[0]))),
        E::NONE,
        "there is no bound behind by default"
    );
    assert_eq!(
        code(&produce(&mut node, "u", &batch_at(&[NOW_MS + 3_600_001]))),
        E::INVALID_TIMESTAMP
    );
    let stamped = with_attributes(&batch_at(&[NOW_MS]), 8);
    assert_eq!(
        code(&produce(&mut node, "u", &stamped)),
        E::INVALID_TIMESTAMP,
        "producers do not append"
    );
}

#[test]
fn the_time_of_the_append_is_stored_and_told() {
    let mut node = Node::start(&[]);
    node.create("t", &[("message.timestamp.type", "LogAppendTime")]);
    let taken = produce(&mut node, "t", &batch_at(&[1, 2, i64::MAX]));
    assert_eq!((code(&taken), taken.log_append_time_ms), (E::NONE, NOW_MS));
    let log = stored(&mut node, "t");
    let header = batch::check(&log).unwrap();
    assert!(header.is_log_append_time() && header.max_timestamp == NOW_MS);
    assert!(batch::records(&log).all(|record| record.unwrap().timestamp == NOW_MS));
    node.create("u", &[]);
    let taken = produce(&mut node, "u", &batch_at(&[NOW_MS]));
    assert_eq!(
        (
            taken.log_append_time_ms,
            BatchHeader::parse(&stored(&mut node, "u")).unwrap().attributes
        ),
        (-1, 0)
    );
}
