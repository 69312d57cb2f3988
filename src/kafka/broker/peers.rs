//! The broker's own connections: one for each peer and purpose, one request in flight on each.
//!
//! A call is answered exactly once: with the peer's response, or with the reason why there is none. A call without an
//! answer may or may not have been acted on. This file does not retry; who called knows whether that is safe.

use crate::machine::{Call, CallFailed, CallResult, Channel, Output};
use crate::types::{ConnId, Nanos, NodeId};
use crate::wire::{api, frame};
use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use std::collections::{BTreeMap, VecDeque};

/// A call that has come to its end.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The peer.
    pub from: NodeId,
    /// The connection it used.
    pub channel: Channel,
    /// The caller's tag.
    pub tag: u64,
    /// Response or reason.
    pub result: CallResult,
}

#[derive(Clone, Debug)]
struct Waiting {
    call: Call,
    version: i16,
    deadline: Nanos,
}

#[derive(Clone, Debug)]
struct InFlight {
    tag: u64,
    api_key: ApiKey,
    version: i16,
    correlation_id: i32,
    deadline: Nanos,
}

#[derive(Clone, Debug)]
struct Link {
    conn: ConnId,
    connected: bool,
    framer: frame::Framer,
    in_flight: Option<InFlight>,
    queue: VecDeque<Waiting>,
}

/// All own connections of a node.
#[derive(Clone, Debug)]
pub struct Peers {
    client_id: String,
    next_conn: u64,
    next_correlation: i32,
    links: BTreeMap<(NodeId, Channel), Link>,
    conns: BTreeMap<ConnId, (NodeId, Channel)>,
}

/// Largest answer a peer may send.
const MAX_FRAME_BYTES: usize = 100 * 1024 * 1024;

impl Peers {
    /// No connection yet. `node` is named to the peers as the client id.
    pub fn new(node: NodeId) -> Peers {
        Peers {
            client_id: format!("node-{node}"),
            next_conn: 0,
            next_correlation: 0,
            links: BTreeMap::new(),
            conns: BTreeMap::new(),
        }
    }

    /// Whether this connection is one of ours.
    pub fn owns(&self, conn: ConnId) -> bool {
        self.conns.contains_key(&conn)
    }

    /// Sends a call now or as soon as its connection is free. `endpoint` is where the peer listens; a call to a peer
    /// that nobody knows fails at once. `version` overrides the newest one we speak.
    pub fn send(
        &mut self,
        call: Call,
        version: Option<i16>,
        endpoint: Option<(&str, u16)>,
        now: Nanos,
        outputs: &mut Vec<Output>,
        answered: &mut Vec<Answered>,
    ) {
        let key = (call.to, call.channel);
        if !self.links.contains_key(&key) {
            let Some((host, port)) = endpoint else {
                answered.push(Answered {
                    from: call.to,
                    channel: call.channel,
                    tag: call.tag,
                    result: Err(CallFailed::Disconnected),
                });
                return;
            };
            // Even names are our own connections, odd ones those that we accept.
            self.next_conn += 2;
            let conn = ConnId(self.next_conn);
            outputs.push(Output::Connect {
                conn,
                host: host.to_owned(),
                port,
            });
            self.conns.insert(conn, key);
            let framer = frame::Framer::new(MAX_FRAME_BYTES);
            self.links.insert(
                key,
                Link {
                    conn,
                    connected: false,
                    framer,
                    in_flight: None,
                    queue: VecDeque::new(),
                },
            );
        }
        let version = version.unwrap_or_else(|| api::newest(frame::api_key_of(&call.request)));
        let deadline = now.plus_ms(call.timeout_ms);
        let link = self.links.get_mut(&key).expect("inserted above");
        link.queue.push_back(Waiting {
            call,
            version,
            deadline,
        });
        self.pump(key, outputs);
    }

    /// Sends the next queued call if the connection is up and free.
    fn pump(&mut self, key: (NodeId, Channel), outputs: &mut Vec<Output>) {
        let Some(link) = self.links.get_mut(&key) else { return };
        if !link.connected || link.in_flight.is_some() {
            return;
        }
        let Some(Waiting {
            call,
            version,
            deadline,
        }) = link.queue.pop_front()
        else {
            return;
        };
        self.next_correlation = self.next_correlation.wrapping_add(1);
        let correlation_id = self.next_correlation;
        let bytes = frame::encode_request(correlation_id, &self.client_id, &call.request, version);
        outputs.push(Output::Send { conn: link.conn, bytes });
        link.in_flight = Some(InFlight {
            tag: call.tag,
            api_key: frame::api_key_of(&call.request),
            version,
            correlation_id,
            deadline,
        });
    }

    /// A connect of ours succeeded.
    pub fn on_connected(&mut self, conn: ConnId, outputs: &mut Vec<Output>) {
        let Some(&key) = self.conns.get(&conn) else { return };
        self.links
            .get_mut(&key)
            .expect("conns and links name each other")
            .connected = true;
        self.pump(key, outputs);
    }

    /// Bytes of a peer.
    pub fn on_received(&mut self, conn: ConnId, bytes: Bytes, outputs: &mut Vec<Output>, answered: &mut Vec<Answered>) {
        let Some(&key) = self.conns.get(&conn) else { return };
        let link = self.links.get_mut(&key).expect("conns and links name each other");
        link.framer.push(bytes);
        loop {
            let link = self.links.get_mut(&key).expect("only dropped below");
            let frame = match link.framer.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(_) => return self.drop_link(conn, CallFailed::Disconnected, outputs, answered),
            };
            // An answer nobody asked for, or one that cannot be read: the peer is confused, so start afresh.
            let Some(waiting) = link.in_flight.take() else {
                return self.drop_link(conn, CallFailed::Disconnected, outputs, answered);
            };
            match frame::decode_response(frame, waiting.api_key, waiting.version) {
                Ok((correlation_id, response)) if correlation_id == waiting.correlation_id => {
                    answered.push(Answered {
                        from: key.0,
                        channel: key.1,
                        tag: waiting.tag,
                        result: Ok(response),
                    });
                    self.pump(key, outputs);
                }
                _ => {
                    link.in_flight = Some(waiting);
                    return self.drop_link(conn, CallFailed::Disconnected, outputs, answered);
                }
            }
        }
    }

    /// The connection is gone: everything on it fails.
    pub fn on_closed(&mut self, conn: ConnId, answered: &mut Vec<Answered>) {
        let Some(key) = self.conns.remove(&conn) else { return };
        let link = self.links.remove(&key).expect("conns and links name each other");
        Self::fail(key, link, CallFailed::Disconnected, answered);
    }

    fn drop_link(&mut self, conn: ConnId, why: CallFailed, outputs: &mut Vec<Output>, answered: &mut Vec<Answered>) {
        let key = self.conns.remove(&conn).expect("called for a known connection");
        let link = self.links.remove(&key).expect("conns and links name each other");
        outputs.push(Output::Close { conn });
        Self::fail(key, link, why, answered);
    }

    fn fail(key: (NodeId, Channel), link: Link, why: CallFailed, answered: &mut Vec<Answered>) {
        let in_flight = link.in_flight.map(|call| call.tag);
        let tags = in_flight
            .into_iter()
            .chain(link.queue.into_iter().map(|waiting| waiting.call.tag));
        answered.extend(tags.map(|tag| Answered {
            from: key.0,
            channel: key.1,
            tag,
            result: Err(why),
        }));
    }

    /// When the next call times out.
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.links
            .values()
            .flat_map(|link| {
                link.in_flight
                    .as_ref()
                    .map(|call| call.deadline)
                    .into_iter()
                    .chain(link.queue.front().map(|w| w.deadline))
            })
            .min()
    }

    /// Fails what has timed out. A connection whose request has no answer is closed: a late answer must not be taken
    /// for that of another request.
    pub fn on_deadline(&mut self, now: Nanos, outputs: &mut Vec<Output>, answered: &mut Vec<Answered>) {
        let late = |link: &Link| {
            link.in_flight.as_ref().is_some_and(|call| call.deadline <= now)
                || link.queue.front().is_some_and(|waiting| waiting.deadline <= now)
        };
        let conns: Vec<ConnId> = self
            .links
            .values()
            .filter(|link| late(link))
            .map(|link| link.conn)
            .collect();
        for conn in conns {
            self.drop_link(conn, CallFailed::TimedOut, outputs, answered);
        }
    }
}
