//! Strangers at the door.

use super::*;
use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::MetadataRequest;

/// A frame with a header of Metadata in version 1 and this body.
fn metadata_v1(body: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i32(10 + body.len() as i32);
    bytes.put_slice(&[0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xff]);
    bytes.put_slice(body);
    bytes.freeze()
}

#[test]
fn four_bytes_close_a_connection_and_nothing_else() {
    let mut node = Node::start(&[]);
    let stranger = ConnId(2_000_001);
    node.input(Input::Accepted { conn: stranger });
    let bytes = metadata_v1(&[0x7f, 0xff, 0xff, 0xff]);
    node.input(Input::Received { conn: stranger, bytes });
    assert_eq!(node.closed, [stranger]);
    let refused = Note::FrameRefused {
        conn: stranger,
        reason: "malformed message: 2147483647 elements in 0 bytes".to_owned(),
    };
    assert!(node.notes.contains(&refused), "{:?}", node.notes.last());
    node.ask(MetadataRequest::default());
}

#[test]
fn what_follows_a_bad_frame_is_not_looked_at() {
    let mut node = Node::start(&[]);
    let mut bytes = BytesMut::new();
    bytes.put_slice(&metadata_v1(&[0, 0, 0, 9]));
    bytes.put_slice(&metadata_v1(&[0, 0, 0, 0]));
    node.send(bytes.freeze());
    assert_eq!((node.closed.len(), node.frame()), (1, None));
}
