//! Connections that others opened to us: frames in, answers out, one request at a time on each.
//!
//! Kafka mutes a connection from the moment it has read a request until that request's answer is sent, so answers
//! leave in the order of their requests and a parked fetch blocks nobody else. Bytes that arrive meanwhile wait, and
//! past a bound the connection is not read at all, so that a fast sender fills its own memory and not ours.

use super::metadata;
use crate::machine::{Outbox, Output};
use crate::note::Note;
use crate::types::{ConnId, RequestId};
use crate::wire::frame::{self, Framer, Request, WireError};
use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use std::collections::BTreeMap;

/// Largest request: `socket.request.max.bytes`.
const MAX_FRAME_BYTES: usize = 100 * 1024 * 1024;
/// Unread bytes above which a connection is not read.
const PAUSE_ABOVE_BYTES: usize = 1024 * 1024;

#[derive(Clone, Debug)]
struct Peer {
    framer: Framer,
    busy: Option<RequestId>,
    paused: bool,
}

#[derive(Clone, Debug)]
struct Open {
    conn: ConnId,
    correlation_id: i32,
    api_key: ApiKey,
    version: i16,
}

/// A request that must be answered.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// To answer it by.
    pub id: RequestId,
    /// Version the client chose.
    pub version: i16,
    /// The request.
    pub body: RequestKind,
}

/// All accepted connections of a node.
#[derive(Clone, Debug, Default)]
pub struct Listener {
    peers: BTreeMap<ConnId, Peer>,
    open: BTreeMap<RequestId, Open>,
    next_request: u64,
}

impl Listener {
    /// Somebody connected.
    pub fn on_accepted(&mut self, conn: ConnId) {
        self.peers.insert(
            conn,
            Peer {
                framer: Framer::new(MAX_FRAME_BYTES),
                busy: None,
                paused: false,
            },
        );
    }

    /// All that are open.
    pub fn connections(&self) -> Vec<ConnId> {
        self.peers.keys().copied().collect()
    }

    /// A name for a request that this node makes to itself. Its answer goes nowhere.
    pub fn own_request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    /// Bytes came in; ask [`Listener::next`] afterwards.
    pub fn on_received(&mut self, conn: ConnId, bytes: Bytes, outputs: &mut Vec<Output>) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.framer.push(bytes);
        if !peer.paused && peer.framer.buffered() > PAUSE_ABOVE_BYTES {
            peer.paused = true;
            outputs.push(Output::PauseReading { conn });
        }
    }

    /// Bytes of this connection that wait behind a request that is not answered yet.
    pub fn unread_bytes(&self, conn: ConnId) -> usize {
        self.peers.get(&conn).map_or(0, |peer| peer.framer.buffered())
    }

    /// The connection is gone; gives the request that it waited for.
    pub fn on_closed(&mut self, conn: ConnId) -> Option<RequestId> {
        let request = self.peers.remove(&conn)?.busy?;
        self.open.remove(&request);
        Some(request)
    }

    /// The next request of this connection, if it is not waiting for an answer. What cannot be read closes it, and
    /// nothing else happens.
    pub fn next(&mut self, conn: ConnId, out: &mut Outbox) -> Option<Incoming> {
        let peer = self.peers.get_mut(&conn)?;
        if peer.busy.is_some() {
            return None;
        }
        let request = loop {
            match peer.framer.next() {
                Ok(None) => return None,
                Ok(Some(frame)) => match frame::decode_request(frame) {
                    Ok(request) => break Ok(request),
                    // The one question that a client may ask before it knows which versions there are.
                    Err(WireError::UnsupportedVersion {
                        api_key: ApiKey::ApiVersions,
                        correlation_id,
                        ..
                    }) => {
                        let answer = metadata::unsupported_version().into();
                        let bytes = frame::encode_response(correlation_id, &answer, ApiKey::ApiVersions, 0);
                        out.outputs.push(Output::Send { conn, bytes });
                    }
                    Err(error) => break Err(error.to_string()),
                },
                Err(error) => break Err(error.to_string()),
            }
        };
        if peer.paused && peer.framer.buffered() <= PAUSE_ABOVE_BYTES / 2 {
            peer.paused = false;
            out.outputs.push(Output::ResumeReading { conn });
        }
        let Request {
            api_key,
            version,
            correlation_id,
            client_id: _,
            body,
        } = match request {
            Ok(request) => request,
            Err(reason) => {
                self.close(conn, &mut out.outputs);
                out.note(Note::FrameRefused { conn, reason });
                return None;
            }
        };
        self.next_request += 1;
        let id = RequestId(self.next_request);
        peer.busy = Some(id);
        self.open.insert(
            id,
            Open {
                conn,
                correlation_id,
                api_key,
                version,
            },
        );
        Some(Incoming { id, version, body })
    }

    /// Sends the answer; gives the connection, which may have its next request waiting.
    pub fn answer(&mut self, id: RequestId, response: &ResponseKind, outputs: &mut Vec<Output>) -> Option<ConnId> {
        let open = self.open.remove(&id)?;
        let bytes = frame::encode_response(open.correlation_id, response, open.api_key, open.version);
        outputs.push(Output::Send { conn: open.conn, bytes });
        self.release(open.conn, id)
    }

    /// This request has no answer (acks=0); gives the connection.
    pub fn forget(&mut self, id: RequestId) -> Option<ConnId> {
        let open = self.open.remove(&id)?;
        self.release(open.conn, id)
    }

    fn release(&mut self, conn: ConnId, id: RequestId) -> Option<ConnId> {
        let peer = self.peers.get_mut(&conn).expect("an open request has its connection");
        assert_eq!(peer.busy, Some(id), "one request at a time on a connection");
        peer.busy = None;
        Some(conn)
    }

    /// Closes the connection on which this request waits: the honest answer when its outcome is unknown.
    pub fn hang_up(&mut self, id: RequestId, outputs: &mut Vec<Output>) {
        if let Some(open) = self.open.get(&id) {
            self.close(open.conn, outputs);
        }
    }

    fn close(&mut self, conn: ConnId, outputs: &mut Vec<Output>) {
        self.on_closed(conn);
        outputs.push(Output::Close { conn });
    }
}
