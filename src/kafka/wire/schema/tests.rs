//! The shapes against the message library, and what a stranger may send.

use super::*;
use crate::machine::Entropy;
use crate::wire::api::{APIS, Api};
use crate::wire::frame::{self, WireError};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind};

fn each_version(mut test: impl FnMut(&Api, i16)) {
    for api in APIS {
        (api.min..=api.max).for_each(|version| test(api, version));
    }
}

fn header_size(api: &Api, version: i16) -> usize {
    8 + 2 + 4 + usize::from(api.is_flexible(version))
}

#[test]
fn the_library_reads_what_the_shape_says_to_its_end_and_writes_it_again() {
    let mut entropy = Entropy(1);
    each_version(|api, version| {
        for _ in 0..200 {
            let frame = sample::request(api, version, &mut entropy);
            let mut body = frame.slice(header_size(api, version)..);
            check(api.request, version, api.is_flexible(version), &body).unwrap();
            let sent = body.clone();
            let message = RequestKind::decode(api.key, &mut body, version)
                .unwrap_or_else(|error| panic!("{:?} {version}: {error:#} in {sent:?}", api.key));
            assert!(body.is_empty(), "{:?} {version} leaves {body:?} of {sent:?}", api.key);
            let mut again = BytesMut::new();
            message.encode(&mut again, version).unwrap();
            let read = RequestKind::decode(api.key, &mut again.freeze(), version).unwrap();
            assert_eq!(read, message, "{:?} {version}", api.key);
        }
    });
}

#[test]
fn a_frame_that_is_cut_off_anywhere_is_refused() {
    let mut entropy = Entropy(2);
    each_version(|api, version| {
        let frame = sample::request(api, version, &mut entropy);
        for end in 0..frame.len() {
            let refused = frame::decode_request(frame.slice(..end));
            assert!(
                matches!(refused, Err(WireError::Malformed(_))),
                "{:?} {version} {end}",
                api.key
            );
        }
        assert!(frame::decode_request(frame).is_ok());
    });
}

/// Overwrites every place of every request with the largest lengths: without the walk the first of them aborts.
#[test]
fn a_hostile_length_at_any_place_reserves_nothing() {
    let mut entropy = Entropy(3);
    each_version(|api, version| {
        let frame = sample::request(api, version, &mut entropy);
        for at in header_size(api, version)..frame.len() {
            for hostile in [
                &[0x7f, 0xff, 0xff, 0xff][..],
                &[0xff, 0xff, 0xff, 0xff, 0x0f],
                &[0x80, 0x80, 0x80, 0x80, 0x08],
            ] {
                let mut bytes = BytesMut::from(&frame[..at]);
                bytes.put_slice(hostile);
                bytes.extend_from_slice(frame.get(at + hostile.len()..).unwrap_or_default());
                // Whatever comes of it, the process lives, and says so within its memory.
                drop(frame::decode_request(bytes.freeze()));
            }
        }
    });
}

#[test]
fn four_bytes_are_refused_in_words() {
    let refused = |key: ApiKey, version: i16, body: &[u8]| {
        let api = crate::wire::api::find(key as i16).unwrap();
        check(api.request, version, api.is_flexible(version), body).unwrap_err()
    };
    assert_eq!(
        refused(ApiKey::Metadata, 0, &[0x7f, 0xff, 0xff, 0xff]),
        "2147483647 elements in 0 bytes"
    );
    assert_eq!(refused(ApiKey::Metadata, 0, &[0xff, 0xff, 0xff, 0xfe]), "length -2");
    assert_eq!(
        refused(ApiKey::Metadata, 12, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        "4294967294 elements in 0 bytes"
    );
    assert_eq!(
        refused(ApiKey::Metadata, 12, &[0xff; 6]),
        "malformed message: varint is longer than five bytes"
    );
    assert_eq!(refused(ApiKey::CreateTopics, 2, &[0, 0, 0, 1, 0, 9]), "cut off");
}

#[test]
fn elements_that_are_there_are_too_many_beyond_a_bound() {
    let body = |count: i32| {
        let mut body = BytesMut::new();
        body.put_i32(count);
        (0..count).for_each(|_| body.put_i16(0));
        Bytes::from(body)
    };
    let metadata = crate::wire::api::find(ApiKey::Metadata as i16).unwrap();
    assert!(check(metadata.request, 0, false, &body(MAX_ELEMENTS as i32)).is_ok());
    let error = check(metadata.request, 0, false, &body(MAX_ELEMENTS as i32 + 1)).unwrap_err();
    assert_eq!(error, "more than 250000 elements");
}

#[test]
fn a_known_tag_is_read_by_its_type_and_must_be_of_its_size() {
    // Fetch 12: cluster id under tag 0, in a field of two bytes and in one of three.
    let body = |size: u8| {
        let mut body = BytesMut::new();
        body.put_slice(&[0; 4 + 4 + 4 + 4 + 1 + 4 + 4]);
        body.put_slice(&[1, 1, 1]);
        body.put_slice(&[1, 0, size, 2, b'x']);
        Bytes::from(body)
    };
    let fetch = crate::wire::api::find(ApiKey::Fetch as i16).unwrap();
    assert!(check(fetch.request, 12, true, &body(2)).is_ok());
    assert_eq!(
        check(fetch.request, 12, true, &body(3)).unwrap_err(),
        "tagged field 0 is not of its size 3"
    );
}
