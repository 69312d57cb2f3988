//! What frames look like byte for byte, and what is refused.

use super::*;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchResponse, HeartbeatRequest, MetadataRequest, MetadataResponse,
    ProduceRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;

fn frame(body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as i32).to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

fn drain(framer: &mut Framer) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(frame) = framer.next().expect("no bad length") {
        frames.push(frame.to_vec());
    }
    frames
}

#[test]
fn any_cut_of_the_stream_gives_the_same_frames() {
    let stream = [frame(b"alpha"), frame(b""), frame(b"b"), frame(&[7; 300])].concat();
    let whole = vec![b"alpha".to_vec(), b"".to_vec(), b"b".to_vec(), vec![7; 300]];
    for size in 1..=stream.len() {
        let mut framer = Framer::default();
        let mut frames = Vec::new();
        for chunk in stream.chunks(size) {
            framer.push(Bytes::copy_from_slice(chunk));
            frames.extend(drain(&mut framer));
        }
        assert_eq!(frames, whole, "chunks of {size}");
        assert_eq!(framer.buffered(), 0);
    }
}

#[test]
fn pushes_without_taking_keep_the_order() {
    let stream = [frame(b"alpha"), frame(b"beta")].concat();
    let mut framer = Framer::default();
    for chunk in stream.chunks(3) {
        framer.push(Bytes::copy_from_slice(chunk));
    }
    assert_eq!(drain(&mut framer), vec![b"alpha".to_vec(), b"beta".to_vec()]);
}

#[test]
fn a_whole_frame_is_a_slice_of_its_chunk() {
    let chunk = Bytes::from([frame(b"alpha"), frame(b"beta")].concat());
    let mut framer = Framer::default();
    framer.push(chunk.clone());
    let first = framer.next().expect("good").expect("whole");
    let second = framer.next().expect("good").expect("whole");
    assert_eq!(first.as_ptr(), chunk[4..].as_ptr());
    assert_eq!(second.as_ptr(), chunk[13..].as_ptr());
}

#[test]
fn bad_lengths_are_errors_at_once_and_also_across_chunks() {
    let mut framer = Framer::new(10);
    framer.push(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff]));
    assert_eq!(framer.next(), Err(FrameError::NegativeLength(-1)));
    let mut framer = Framer::new(10);
    framer.push(Bytes::from_static(&[0, 0]));
    assert_eq!(framer.next(), Ok(None));
    framer.push(Bytes::from_static(&[0, 11]));
    assert_eq!(framer.next(), Err(FrameError::TooLarge { length: 11, max: 10 }));
    let mut framer = Framer::new(10);
    framer.push(Bytes::from(frame(&[1; 10])));
    assert_eq!(drain(&mut framer).len(), 1, "the limit itself is allowed");
}

#[test]
fn a_frame_in_many_chunks_is_copied_once_and_not_before_it_is_whole() {
    let stream = Bytes::from([frame(&[1; 1 << 20]), frame(b"next")].concat());
    let mut framer = Framer::default();
    let mut at = 0;
    while at + 65_536 < stream.len() {
        framer.push(stream.slice(at..at + 65_536));
        assert_eq!(framer.next(), Ok(None));
        let last = framer.chunks.back().expect("kept as it came");
        assert_eq!(last.as_ptr(), stream[at..].as_ptr());
        at += 65_536;
    }
    framer.push(stream.slice(at..));
    assert_eq!(drain(&mut framer), vec![vec![1; 1 << 20], b"next".to_vec()]);
    assert_eq!(framer.buffered(), 0);
}

#[test]
fn a_claimed_length_reserves_nothing_and_single_bytes_are_gathered() {
    let mut framer = Framer::default();
    framer.push(Bytes::from_static(&[0x06]));
    for _ in 0..100_000 {
        framer.push(Bytes::from_static(&[0]));
        assert_eq!(framer.next(), Ok(None));
    }
    assert_eq!(framer.chunks.len(), 1);
    assert!(framer.pieces.capacity() <= 1 << 18);
}

fn produce(records: &'static [u8]) -> RequestKind {
    let partition = PartitionProduceData::default()
        .with_index(2)
        .with_records(Some(Bytes::from_static(records)));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_static_str("orders")))
        .with_partition_data(vec![partition]);
    RequestKind::Produce(ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]))
}

/// A frame without the length that its sender put before it.
fn without_length(bytes: Bytes) -> Bytes {
    let mut framer = Framer::default();
    framer.push(bytes);
    framer.next().expect("good length").expect("whole frame")
}

#[test]
fn every_served_version_of_a_request_comes_back() {
    for version in 3..=12 {
        let body = produce(b"records");
        let frame = without_length(encode_request(77, "c1", &body, version));
        let request = decode_request(frame).expect("our own request");
        assert_eq!((request.api_key, request.version), (ApiKey::Produce, version));
        assert_eq!((request.correlation_id, request.client_id.as_deref()), (77, Some("c1")));
        assert_eq!(request.body, body);
    }
}

#[test]
fn records_of_a_request_are_slices_of_the_frame() {
    let frame = without_length(encode_request(1, "c", &produce(b"0123456789"), 9));
    let range = frame.as_ptr_range();
    let RequestKind::Produce(produce) = decode_request(frame.clone()).expect("our own").body else {
        panic!("produce expected");
    };
    let records = produce.topic_data[0].partition_data[0]
        .records
        .as_ref()
        .expect("records");
    assert!(range.contains(&records.as_ptr()));
}

#[test]
fn headers_are_byte_for_byte_kafkas() {
    let request = RequestKind::ApiVersions(ApiVersionsRequest::default());
    let bytes = encode_request(5, "ab", &request, 0);
    assert_eq!(&bytes[..], [0, 0, 0, 12, 0, 18, 0, 0, 0, 0, 0, 5, 0, 2, b'a', b'b']);
    let flexible = encode_request(5, "ab", &request, 3);
    assert_eq!(flexible[16], 0, "header 2 ends with no tagged fields");

    let response = ResponseKind::ApiVersions(ApiVersionsResponse::default());
    let bytes = encode_response(5, &response, ApiKey::ApiVersions, 3);
    assert_eq!(
        &bytes[4..11],
        [0, 0, 0, 5, 0, 0, 1],
        "header 0, error 0, empty compact array"
    );
    let response = ResponseKind::Metadata(MetadataResponse::default());
    let bytes = encode_response(5, &response, ApiKey::Metadata, 9);
    assert_eq!(bytes[8], 0, "header 1 ends with no tagged fields");
}

#[test]
fn answers_come_back_in_every_version() {
    let partition = PartitionData::default()
        .with_partition_index(3)
        .with_records(Some(Bytes::from_static(b"batch")));
    for version in 4..=17 {
        let mut topic = FetchableTopicResponse::default().with_partitions(vec![partition.clone()]);
        if version < 13 {
            topic = topic.with_topic(TopicName(StrBytes::from_static_str("t")));
        } else {
            topic = topic.with_topic_id(uuid::Uuid::from_u128(9));
        }
        let body = ResponseKind::Fetch(FetchResponse::default().with_responses(vec![topic]));
        let frame = without_length(encode_response(9, &body, ApiKey::Fetch, version));
        assert_eq!(peek_correlation_id(&frame), Ok(9));
        let (correlation_id, ResponseKind::Fetch(fetch)) =
            decode_response(frame, ApiKey::Fetch, version).expect("our own answer")
        else {
            panic!("fetch expected");
        };
        assert_eq!(correlation_id, 9);
        let data = &fetch.responses[0].partitions[0];
        assert_eq!(
            (data.partition_index, data.records.as_deref()),
            (3, Some(&b"batch"[..]))
        );
    }
}

#[test]
fn what_we_do_not_serve_is_named() {
    let mut unknown = BytesMut::new();
    unknown.put_i16(999);
    unknown.put_i16(0);
    unknown.put_i32(4);
    unknown.put_i16(-1);
    assert_eq!(decode_request(unknown.freeze()), Err(WireError::UnknownApi(999)));

    let mut future = BytesMut::new();
    future.put_i16(ApiKey::ApiVersions as i16);
    future.put_i16(99);
    future.put_i32(4);
    assert_eq!(
        decode_request(future.freeze()),
        Err(WireError::UnsupportedVersion {
            api_key: ApiKey::ApiVersions,
            version: 99,
            correlation_id: 4
        })
    );
}

#[test]
fn every_cut_of_a_request_is_malformed_and_nothing_worse() {
    let frame = without_length(encode_request(1, "client", &produce(b"records"), 9));
    for length in 0..frame.len() {
        let cut = decode_request(frame.slice(..length));
        assert!(matches!(cut, Err(WireError::Malformed(_))), "{length}: {cut:?}");
    }
    assert!(decode_request(frame).is_ok());
}

#[test]
fn tagged_fields_of_a_header_are_skipped() {
    let plain = without_length(encode_request(
        1,
        "",
        &RequestKind::Metadata(MetadataRequest::default()),
        12,
    ));
    let mut tagged = BytesMut::new();
    tagged.put_slice(&plain[..10]);
    tagged.put_slice(&[1, 5, 2, 0xaa, 0xbb]);
    tagged.put_slice(&plain[11..]);
    assert_eq!(decode_request(tagged.freeze()), decode_request(plain));
}

#[test]
fn a_null_client_id_is_none() {
    let mut bytes = BytesMut::new();
    bytes.put_i16(ApiKey::ApiVersions as i16);
    bytes.put_i16(0);
    bytes.put_i32(4);
    bytes.put_i16(-1);
    assert_eq!(decode_request(bytes.freeze()).expect("good").client_id, None);
}

#[test]
fn keys_of_bodies_also_of_those_we_do_not_speak() {
    assert_eq!(api_key_of(&produce(b"")), ApiKey::Produce);
    assert_eq!(
        api_key_of(&RequestKind::Heartbeat(HeartbeatRequest::default())),
        ApiKey::Heartbeat
    );
    let rare = RequestKind::SaslHandshake(Default::default());
    assert_eq!(api_key_of(&rare), ApiKey::SaslHandshake);
}
