//! Frames: a length, a header, a body; cutting them out of a byte stream, and turning them into messages and back.
//!
//! Guarantees: a frame that lies wholly in one chunk is a slice of that chunk, records included (no copy); any other is
//! copied once, when it is whole; a length
//! that is negative or above the limit is an error before anything is allocated for it; header versions follow the
//! API's version, the answer to ApiVersions always carries header 0.
//! Does not know: what a message means; which connection it is.
//!
//! IMPORTANT: the message library reserves memory for an array length as it stands in the frame. Written by a peer of
//! ill will it asks for more than the machine has, and the process aborts. So [`decode_request`] walks the frame by its
//! shape first (`schema.rs`). Answers are not walked: they come from the nodes that we chose to call.
//!
//! Sources: Kafka protocol guide, KIP-482 (tagged fields, header 2 and 1), KIP-511 (ApiVersions).

use crate::wire::{api, schema};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use std::collections::VecDeque;
use std::fmt;

/// `socket.request.max.bytes`.
pub const MAX_FRAME_BYTES: usize = 104_857_600;

/// Pieces below this are gathered, so that a peer that sends byte by byte does not cost a chunk for each.
const GATHER_BELOW: usize = 512;

/// Cuts a byte stream into frames. After an error the stream is useless and its connection must be closed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Framer {
    /// Bytes that have come and are not part of a frame that was taken, oldest first. None is empty.
    chunks: VecDeque<Bytes>,
    /// Small pieces that follow the chunks in the stream.
    pieces: BytesMut,
    /// Length of both.
    buffered: usize,
    max_frame_bytes: usize,
}

/// Why a byte stream has no next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameError {
    /// The length is below zero.
    NegativeLength(i32),
    /// The length is above the limit.
    TooLarge {
        /// As sent, bytes.
        length: usize,
        /// The limit, bytes.
        max: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::NegativeLength(length) => write!(f, "frame length {length} is negative"),
            FrameError::TooLarge { length, max } => write!(f, "frame length {length} is above the limit {max}"),
        }
    }
}

impl std::error::Error for FrameError {}

impl Default for Framer {
    fn default() -> Self {
        Framer::new(MAX_FRAME_BYTES)
    }
}

impl Framer {
    /// For frames of at most `max_frame_bytes`, the length field itself not counted.
    pub fn new(max_frame_bytes: usize) -> Framer {
        Framer {
            chunks: VecDeque::new(),
            pieces: BytesMut::new(),
            buffered: 0,
            max_frame_bytes,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: Bytes) {
        self.buffered += bytes.len();
        let is_first = self.chunks.is_empty() && self.pieces.is_empty();
        if bytes.len() >= GATHER_BELOW || is_first {
            self.end_pieces();
            self.chunks.extend(Some(bytes).filter(|bytes| !bytes.is_empty()));
        } else {
            self.pieces.extend_from_slice(&bytes);
        }
    }

    /// The next whole frame without its length, or `None` until more bytes come. Nothing is copied before it is whole.
    #[allow(clippy::should_implement_trait)] // The contract's name; an iterator would end at the first `None`.
    pub fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(head) = self.head() else { return Ok(None) };
        let length = self.check_length(head)?;
        if self.buffered < 4 + length {
            return Ok(None);
        }
        self.end_pieces();
        self.take(4);
        Ok(Some(self.take(length)))
    }

    /// Bytes that have come and are not part of a frame that was taken.
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// The length field of the next frame.
    fn head(&self) -> Option<[u8; 4]> {
        // Nearly always.
        if let Some(head) = self.chunks.front().and_then(|chunk| chunk.first_chunk::<4>()) {
            return Some(*head);
        }
        let mut head = [0; 4];
        let chunks = self.chunks.iter().flat_map(|chunk| chunk.iter());
        let mut bytes = chunks.chain(self.pieces.iter());
        for byte in &mut head {
            *byte = *bytes.next()?;
        }
        Some(head)
    }

    fn end_pieces(&mut self) {
        if !self.pieces.is_empty() {
            self.chunks.push_back(self.pieces.split().freeze());
        }
    }

    /// The next `size` bytes, which are there: a slice of the first chunk if it has them all.
    fn take(&mut self, size: usize) -> Bytes {
        self.buffered -= size;
        if self.chunks.front().is_some_and(|chunk| chunk.len() >= size) {
            return self.take_of_first(size);
        }
        let mut joined = BytesMut::with_capacity(size);
        while joined.len() < size {
            let missing = size - joined.len();
            joined.extend_from_slice(&self.take_of_first(missing));
        }
        joined.freeze()
    }

    /// Up to `size` bytes of the first chunk.
    fn take_of_first(&mut self, size: usize) -> Bytes {
        let Some(first) = self.chunks.front_mut() else {
            assert_eq!(size, 0, "as many bytes are taken as there are");
            return Bytes::new();
        };
        if first.len() > size {
            return first.split_to(size);
        }
        self.chunks.pop_front().expect("it was looked at")
    }

    fn check_length(&self, head: [u8; 4]) -> Result<usize, FrameError> {
        let length = i32::from_be_bytes(head);
        let size = usize::try_from(length).map_err(|_| FrameError::NegativeLength(length))?;
        if size > self.max_frame_bytes {
            return Err(FrameError::TooLarge {
                length: size,
                max: self.max_frame_bytes,
            });
        }
        Ok(size)
    }
}

/// A request as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Which API.
    pub api_key: ApiKey,
    /// Version of the body; the answer must be of the same.
    pub version: i16,
    /// Chosen by the client; the answer must carry it.
    pub correlation_id: i32,
    /// `client.id`.
    pub client_id: Option<String>,
    /// The message.
    pub body: RequestKind,
}

/// Why bytes are not a message, or a message cannot become bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireError {
    /// No such API, or one that we do not serve. The connection is to be closed, as Kafka does.
    UnknownApi(i16),
    /// We do not serve this version. For ApiVersions the answer is version 0 with UNSUPPORTED_VERSION (KIP-511), for
    /// everything else the connection is to be closed.
    UnsupportedVersion {
        /// Of the request.
        api_key: ApiKey,
        /// Of the request.
        version: i16,
        /// Of the request, for the answer.
        correlation_id: i32,
    },
    /// The bytes do not follow the schema.
    Malformed(String),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::UnknownApi(key) => write!(f, "API {key} is not served"),
            WireError::UnsupportedVersion { api_key, version, .. } => {
                write!(f, "version {version} of {api_key:?} is not served")
            }
            WireError::Malformed(why) => write!(f, "malformed message: {why}"),
        }
    }
}

impl std::error::Error for WireError {}

/// The API of a request body.
pub fn api_key_of(request: &RequestKind) -> ApiKey {
    macro_rules! keys {
        ($($name:ident)*) => { match request { $(RequestKind::$name(_) => ApiKey::$name,)* other => slow_api_key(other) } };
    }
    keys! {
        Produce Fetch ListOffsets Metadata ApiVersions CreateTopics DeleteTopics DeleteRecords OffsetForLeaderEpoch
        DescribeConfigs CreatePartitions ElectLeaders IncrementalAlterConfigs AlterConfigs Vote BeginQuorumEpoch EndQuorumEpoch
        DescribeQuorum AlterPartition FetchSnapshot BrokerRegistration BrokerHeartbeat InitProducerId FindCoordinator
        JoinGroup SyncGroup Heartbeat LeaveGroup OffsetCommit OffsetFetch AddPartitionsToTxn AddOffsetsToTxn EndTxn
        TxnOffsetCommit WriteTxnMarkers DescribeCluster DescribeProducers DescribeGroups ListGroups DeleteGroups
        UnregisterBroker ControllerRegistration AllocateProducerIds UpdateFeatures Envelope
        AlterPartitionReassignments ListPartitionReassignments DescribeLogDirs DescribeTopicPartitions
        ConsumerGroupHeartbeat ConsumerGroupDescribe DescribeTransactions ListTransactions OffsetDelete
    }
}

/// Every variant is named as its API, so the name that `Debug` prints finds it. Only for APIs that this project does
/// not speak.
#[cold]
fn slow_api_key(request: &RequestKind) -> ApiKey {
    let text = format!("{request:?}");
    let name = text.split('(').next().unwrap_or_default();
    ApiKey::iter()
        .find(|key| format!("{key:?}") == name)
        .expect("the library names its request variants and its keys alike")
}

/// A request as one frame, length included. `version` is the body's.
///
/// # Panics
/// If the body cannot be written in that version: our own messages always can.
pub fn encode_request(correlation_id: i32, client_id: &str, request: &RequestKind, version: i16) -> Bytes {
    let api_key = api_key_of(request);
    let mut buffer = BytesMut::with_capacity(96 + client_id.len() + records_size_of_request(request));
    buffer.put_i32(0);
    buffer.put_i16(api_key as i16);
    buffer.put_i16(version);
    buffer.put_i32(correlation_id);
    let client_id_length = i16::try_from(client_id.len()).expect("client.id is far below 32 KiB");
    buffer.put_i16(client_id_length);
    buffer.put_slice(client_id.as_bytes());
    if api_key.request_header_version(version) >= 2 {
        buffer.put_u8(0);
    }
    request
        .encode(&mut buffer, version)
        .unwrap_or_else(|error| panic!("our own {api_key:?} request does not fit version {version}: {error:#}"));
    finish(buffer)
}

/// An answer as one frame, length included. `version` is the request's.
///
/// # Panics
/// If the body cannot be written in that version: our own answers always can.
pub fn encode_response(correlation_id: i32, response: &ResponseKind, api_key: ApiKey, version: i16) -> Bytes {
    let mut buffer = BytesMut::with_capacity(96 + records_size_of_response(response));
    buffer.put_i32(0);
    buffer.put_i32(correlation_id);
    if api_key.response_header_version(version) >= 1 {
        buffer.put_u8(0);
    }
    response
        .encode(&mut buffer, version)
        .unwrap_or_else(|error| panic!("our own {api_key:?} answer does not fit version {version}: {error:#}"));
    finish(buffer)
}

/// Reads a frame without its length, as [`Framer::next`] gives it. Records are slices of it.
pub fn decode_request(mut frame: Bytes) -> Result<Request, WireError> {
    if frame.len() < 8 {
        return Err(malformed("request header is cut off"));
    }
    let number = frame.get_i16();
    let version = frame.get_i16();
    let correlation_id = frame.get_i32();
    let Some(api) = api::find(number) else {
        return Err(WireError::UnknownApi(number));
    };
    let api_key = api.key;
    if version < api.min || version > api.max {
        return Err(WireError::UnsupportedVersion {
            api_key,
            version,
            correlation_id,
        });
    }
    let client_id = take_client_id(&mut frame)?;
    let flexible = api.is_flexible(version);
    if flexible {
        skip_tagged_fields(&mut frame)?;
    }
    schema::check(api.request, version, flexible, &frame).map_err(malformed)?;
    let body = RequestKind::decode(api_key, &mut frame, version).map_err(|error| malformed(format!("{error:#}")))?;
    Ok(Request {
        api_key,
        version,
        correlation_id,
        client_id,
        body,
    })
}

/// The API of a request frame, its length included; `None` if it is not whole enough to tell.
pub fn peek_api(frame: &Bytes) -> Option<ApiKey> {
    let key = i16::from_be_bytes([*frame.get(4)?, *frame.get(5)?]);
    ApiKey::try_from(key).ok()
}

/// The correlation id of an answer, without decoding the rest: it says which request, and so which API and version.
pub fn peek_correlation_id(frame: &Bytes) -> Result<i32, WireError> {
    let head = frame
        .first_chunk::<4>()
        .ok_or_else(|| malformed("response header is cut off"))?;
    Ok(i32::from_be_bytes(*head))
}

/// Reads an answer: a frame without its length, of a request that was sent with this API and version.
pub fn decode_response(mut frame: Bytes, api_key: ApiKey, version: i16) -> Result<(i32, ResponseKind), WireError> {
    let correlation_id = peek_correlation_id(&frame)?;
    frame.advance(4);
    if api_key.response_header_version(version) >= 1 {
        skip_tagged_fields(&mut frame)?;
    }
    let body = ResponseKind::decode(api_key, &mut frame, version).map_err(|error| malformed(format!("{error:#}")))?;
    Ok((correlation_id, body))
}

fn finish(mut buffer: BytesMut) -> Bytes {
    let length = i32::try_from(buffer.len() - 4).expect("a frame of ours is far below 2 GiB");
    buffer[..4].copy_from_slice(&length.to_be_bytes());
    buffer.freeze()
}

fn malformed(why: impl Into<String>) -> WireError {
    WireError::Malformed(why.into())
}

fn take_client_id(frame: &mut Bytes) -> Result<Option<String>, WireError> {
    if frame.len() < 2 {
        return Err(malformed("client.id is cut off"));
    }
    let length = frame.get_i16();
    let Ok(length) = usize::try_from(length) else {
        return if length == -1 {
            Ok(None)
        } else {
            Err(malformed("client.id has a negative length"))
        };
    };
    if frame.len() < length {
        return Err(malformed("client.id is cut off"));
    }
    let text = std::str::from_utf8(&frame[..length]).map_err(|_| malformed("client.id is not UTF-8"))?;
    let text = text.to_owned();
    frame.advance(length);
    Ok(Some(text))
}

fn skip_tagged_fields(frame: &mut Bytes) -> Result<(), WireError> {
    let count = take_varint(frame)?;
    for _ in 0..count {
        let _tag = take_varint(frame)?;
        let size = take_varint(frame)? as usize;
        if frame.len() < size {
            return Err(malformed("tagged field is cut off"));
        }
        frame.advance(size);
    }
    Ok(())
}

pub(super) fn take_varint(frame: &mut impl Buf) -> Result<u32, WireError> {
    let mut value: u32 = 0;
    for shift in [0, 7, 14, 21, 28] {
        if !frame.has_remaining() {
            return Err(malformed("varint is cut off"));
        }
        let byte = frame.get_u8();
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed("varint is longer than five bytes"))
}

/// Records are most of a big message: knowing them avoids growing the buffer, and copying it, again and again.
fn records_size_of_request(request: &RequestKind) -> usize {
    let RequestKind::Produce(produce) = request else {
        return 0;
    };
    let partitions = produce.topic_data.iter().flat_map(|topic| &topic.partition_data);
    partitions
        .map(|data| 32 + data.records.as_ref().map_or(0, Bytes::len))
        .sum()
}

fn records_size_of_response(response: &ResponseKind) -> usize {
    match response {
        ResponseKind::Fetch(fetch) => {
            let partitions = fetch.responses.iter().flat_map(|topic| &topic.partitions);
            partitions
                .map(|data| 96 + data.records.as_ref().map_or(0, Bytes::len))
                .sum()
        }
        ResponseKind::FetchSnapshot(fetch) => {
            let partitions = fetch.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.map(|data| 96 + data.unaligned_records.len()).sum()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
