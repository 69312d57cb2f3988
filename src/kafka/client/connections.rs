//! One connection to each broker: made when it is wanted, with frames, correlation ids, limits, timeouts and backoff.
//!
//! ```text
//!   Down ──ready()──▶ Connecting ──Connected──▶ Up ──Closed, bad frame, request timeout──▶ Down (backoff)
//!                         └──Closed, setup timeout──▶ Down (longer backoff)
//! ```
//!
//! Guarantees: every request that was sent ends exactly once, as `Answered` or as `Lost`; answers come in the order of
//! the requests of a connection, anything else closes it; nothing is sent above the in-flight limit.
//! Does not know: what a request means, which broker leads what.
//!
//! Sources: Kafka 4.1 `NetworkClient`, `InFlightRequests`, `ClusterConnectionStates`; KIP-601 (setup timeout), KIP-899
//! (back to the bootstrap servers when no known broker answers).

use super::backoff::{Alarm, after_ms, delay_ms};
use super::config::{Endpoint, NetworkSettings};
use crate::machine::{Entropy, Input, Outbox, Output};
use crate::types::{ConnId, Nanos, NodeId, Now};
use crate::wire::api;
use crate::wire::frame::{self, Framer};
use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use std::collections::{BTreeMap, VecDeque};

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant)] // Read in the step that makes it; a box would cost every answer an allocation.
pub enum Event {
    /// Its answer.
    Answered {
        /// Chosen by the sender.
        tag: u64,
        /// From this broker.
        node: NodeId,
        /// The body.
        response: ResponseKind,
    },
    /// The connection went first; the broker may or may not have acted.
    Lost {
        /// Chosen by the sender.
        tag: u64,
        /// This broker.
        node: NodeId,
    },
    /// A connection was lost or could not be made. Follows the `Lost` of its requests.
    Disconnected {
        /// To this broker.
        node: NodeId,
    },
}

/// All connections of a client.
#[derive(Clone, Debug)]
pub struct Connections {
    client_id: String,
    settings: NetworkSettings,
    entropy: Entropy,
    /// Bootstrap servers have the ids -1, -2 and so on, as in Kafka.
    nodes: BTreeMap<NodeId, Node>,
    /// Even, since we make our connections ourselves.
    next_conn: u64,
    next_correlation_id: i32,
}

#[derive(Clone, Debug)]
struct Node {
    endpoint: Endpoint,
    /// In the newest metadata, or a bootstrap server.
    known: bool,
    link: Link,
    /// In a row.
    failures: u32,
    /// In a row, of making the connection.
    setup_failures: u32,
    /// No connection is tried before.
    retry_at: Nanos,
    /// Somebody waits for `retry_at`.
    wanted: bool,
}

#[derive(Clone, Debug)]
enum Link {
    Down,
    Connecting {
        conn: ConnId,
        deadline: Nanos,
    },
    Up {
        conn: ConnId,
        framer: Framer,
        /// Oldest first; deadlines ascend, since every request has the same timeout.
        in_flight: VecDeque<InFlight>,
    },
}

#[derive(Clone, Debug)]
struct InFlight {
    correlation_id: i32,
    api_key: ApiKey,
    version: i16,
    deadline: Nanos,
    tag: u64,
}

impl Node {
    fn new(endpoint: Endpoint) -> Node {
        Node {
            endpoint,
            known: true,
            link: Link::Down,
            failures: 0,
            setup_failures: 0,
            retry_at: Nanos(0),
            wanted: false,
        }
    }

    fn conn(&self) -> Option<ConnId> {
        match &self.link {
            Link::Down => None,
            Link::Connecting { conn, .. } | Link::Up { conn, .. } => Some(*conn),
        }
    }
}

impl Connections {
    /// Nothing is connected yet.
    pub fn new(client_id: &str, bootstrap: &[Endpoint], settings: NetworkSettings, entropy: Entropy) -> Connections {
        let nodes = bootstrap
            .iter()
            .zip(1..)
            .map(|(endpoint, i)| (NodeId(-i), Node::new(endpoint.clone())))
            .collect();
        Connections {
            client_id: client_id.to_owned(),
            settings,
            entropy,
            nodes,
            next_conn: 2,
            next_correlation_id: 0,
        }
    }

    /// Takes the brokers of new metadata. A broker that moved loses its connection.
    pub fn set_nodes<'a>(
        &mut self,
        nodes: impl Iterator<Item = (NodeId, &'a Endpoint)>,
        now: Now,
        out: &mut Outbox,
        events: &mut Vec<Event>,
    ) {
        for (id, node) in &mut self.nodes {
            node.known = id.0 < 0;
        }
        let mut moved = Vec::new();
        for (id, endpoint) in nodes.filter(|(id, _)| id.0 >= 0) {
            let node = self.nodes.entry(id).or_insert_with(|| Node::new(endpoint.clone()));
            node.known = true;
            if node.endpoint != *endpoint {
                node.endpoint = endpoint.clone();
                moved.push(id);
            }
        }
        for id in moved {
            self.close(id, now, out, events);
        }
        self.nodes
            .retain(|_, node| node.known || !matches!(node.link, Link::Down));
    }

    /// Whether a request may be sent to `node` now. If it is not connected, this begins to connect as soon as the
    /// backoff allows.
    pub fn ready(&mut self, id: NodeId, now: Now, out: &mut Outbox) -> bool {
        let Some(node) = self.nodes.get_mut(&id) else {
            return false;
        };
        match &node.link {
            Link::Up { in_flight, .. } => in_flight.len() < self.settings.max_in_flight,
            Link::Connecting { .. } => false,
            Link::Down if now.mono < node.retry_at => {
                node.wanted = true;
                false
            }
            Link::Down => {
                let conn = ConnId(self.next_conn);
                self.next_conn += 2;
                let timeout_ms = delay_ms(
                    self.settings.connection_setup_timeout_ms,
                    self.settings.connection_setup_timeout_max_ms,
                    node.setup_failures + 1,
                    &mut self.entropy,
                );
                node.wanted = false;
                node.link = Link::Connecting {
                    conn,
                    deadline: now.mono.plus_ms(timeout_ms),
                };
                out.outputs.push(Output::Connect {
                    conn,
                    host: node.endpoint.host.clone(),
                    port: node.endpoint.port,
                });
                false
            }
        }
    }

    /// The broker to ask when any will do: connected and least busy, else being connected, else one that may be tried.
    /// Bootstrap servers only when no known broker is any of these.
    pub fn least_loaded(&mut self, now: Now) -> Option<NodeId> {
        let draw = self.entropy.next_u64();
        let chosen = self
            .pick(draw, now, |id| id.0 >= 0)
            .or_else(|| self.pick(draw, now, |id| id.0 < 0));
        if chosen.is_none() {
            for node in self.nodes.values_mut().filter(|node| node.known) {
                node.wanted = true;
            }
        }
        chosen
    }

    fn pick(&self, draw: u64, now: Now, among: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let candidates: Vec<(NodeId, &Node)> = self
            .nodes
            .iter()
            .map(|(id, node)| (*id, node))
            .filter(|(id, node)| node.known && among(*id))
            .collect();
        if candidates.is_empty() {
            return None;
        }
        let first = (draw % candidates.len() as u64) as usize;
        let order = candidates[first..].iter().chain(&candidates[..first]);
        order
            .filter_map(|(id, node)| {
                let rank = match &node.link {
                    Link::Up { in_flight, .. } if in_flight.len() < self.settings.max_in_flight => (0, in_flight.len()),
                    Link::Up { .. } => return None,
                    Link::Connecting { .. } => (1, 0),
                    Link::Down if now.mono >= node.retry_at => (2, 0),
                    Link::Down => return None,
                };
                Some((rank, *id))
            })
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, id)| id)
    }

    /// Sends a request to a broker that is [`Connections::ready`]. `answered` is false only for Produce with acks=0.
    pub fn send(&mut self, id: NodeId, request: &RequestKind, tag: u64, answered: bool, now: Now, out: &mut Outbox) {
        let api_key = frame::api_key_of(request);
        self.send_version(id, request, api::newest(api_key), tag, answered, now, out);
    }

    /// As [`Connections::send`], in a given version.
    #[allow(clippy::too_many_arguments)] // One more than `send`, for the two callers that choose a version.
    pub fn send_version(
        &mut self,
        id: NodeId,
        request: &RequestKind,
        version: i16,
        tag: u64,
        answered: bool,
        now: Now,
        out: &mut Outbox,
    ) {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = correlation_id.wrapping_add(1) & i32::MAX;
        let node = self.nodes.get_mut(&id).expect("ready() said so");
        let Link::Up { conn, in_flight, .. } = &mut node.link else {
            panic!("ready() says whether a connection is up");
        };
        assert!(in_flight.len() < self.settings.max_in_flight, "ready() keeps the limit");
        if answered {
            in_flight.push_back(InFlight {
                correlation_id,
                api_key: frame::api_key_of(request),
                version,
                deadline: after_ms(now.mono, self.settings.request_timeout_ms),
                tag,
            });
        }
        out.outputs.push(Output::Send {
            conn: *conn,
            bytes: frame::encode_request(correlation_id, &self.client_id, request, version),
        });
    }

    /// Takes what the network says. Inputs of connections that are gone are ignored.
    pub fn input(&mut self, input: Input, now: Now, out: &mut Outbox, events: &mut Vec<Event>) {
        match input {
            Input::Connected { conn } => {
                if let Some((_, node)) = self.nodes.iter_mut().find(|(_, node)| node.conn() == Some(conn)) {
                    node.failures = 0;
                    node.setup_failures = 0;
                    node.link = Link::Up {
                        conn,
                        framer: Framer::default(),
                        in_flight: VecDeque::new(),
                    };
                }
            }
            Input::Received { conn, bytes } => self.received(conn, bytes, now, out, events),
            Input::Closed { conn } => {
                if let Some(id) = self.find(conn) {
                    self.down(id, now, events);
                }
            }
            Input::Accepted { .. } | Input::SyncDone { .. } | Input::Deadline | Input::Shutdown => {}
        }
    }

    /// Gives up what has waited too long. To be called at the beginning of every step.
    pub fn expire(&mut self, now: Now, out: &mut Outbox, events: &mut Vec<Event>) {
        let mut expired = Vec::new();
        for (id, node) in &mut self.nodes {
            let late = match &node.link {
                Link::Down => false,
                Link::Connecting { deadline, .. } => *deadline <= now.mono,
                Link::Up { in_flight, .. } => in_flight.front().is_some_and(|first| first.deadline <= now.mono),
            };
            if late {
                expired.push(*id);
            }
        }
        for id in expired {
            self.close(id, now, out, events);
        }
    }

    /// Closes everything; nothing is reported.
    pub fn close_all(&mut self, out: &mut Outbox) {
        for node in self.nodes.values_mut() {
            if let Some(conn) = node.conn() {
                out.outputs.push(Output::Close { conn });
            }
            node.link = Link::Down;
        }
    }

    /// Names the instants at which something is to be done here.
    pub fn alarms(&self, alarm: &mut Alarm) {
        for node in self.nodes.values() {
            match &node.link {
                Link::Down if node.wanted => alarm.at(node.retry_at),
                Link::Down => {}
                Link::Connecting { deadline, .. } => alarm.at(*deadline),
                Link::Up { in_flight, .. } => {
                    if let Some(first) = in_flight.front() {
                        alarm.at(first.deadline);
                    }
                }
            }
        }
    }

    fn find(&self, conn: ConnId) -> Option<NodeId> {
        self.nodes
            .iter()
            .find(|(_, node)| node.conn() == Some(conn))
            .map(|(id, _)| *id)
    }

    fn received(&mut self, conn: ConnId, bytes: Bytes, now: Now, out: &mut Outbox, events: &mut Vec<Event>) {
        let Some(id) = self.find(conn) else { return };
        let node = self.nodes.get_mut(&id).expect("just found");
        let Link::Up { framer, in_flight, .. } = &mut node.link else {
            return;
        };
        framer.push(bytes);
        // `None`: the peer does not speak our protocol, or answered what was not asked.
        let good = loop {
            match framer.next() {
                Ok(None) => break true,
                Err(_) => break false,
                Ok(Some(bytes)) => match answer_of(bytes, in_flight) {
                    Some((tag, response)) => events.push(Event::Answered {
                        tag,
                        node: id,
                        response,
                    }),
                    None => break false,
                },
            }
        };
        if !good {
            self.close(id, now, out, events);
        }
    }

    /// We end a connection.
    fn close(&mut self, id: NodeId, now: Now, out: &mut Outbox, events: &mut Vec<Event>) {
        if let Some(conn) = self.nodes.get(&id).and_then(Node::conn) {
            out.outputs.push(Output::Close { conn });
            self.down(id, now, events);
        }
    }

    /// A connection has ended.
    fn down(&mut self, id: NodeId, now: Now, events: &mut Vec<Event>) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        match std::mem::replace(&mut node.link, Link::Down) {
            Link::Down => return,
            Link::Connecting { .. } => node.setup_failures = node.setup_failures.saturating_add(1),
            Link::Up { in_flight, .. } => {
                events.extend(in_flight.into_iter().map(|request| Event::Lost {
                    tag: request.tag,
                    node: id,
                }));
            }
        }
        node.failures = node.failures.saturating_add(1);
        let delay = delay_ms(
            self.settings.reconnect_backoff_ms,
            self.settings.reconnect_backoff_max_ms,
            node.failures,
            &mut self.entropy,
        );
        node.retry_at = now.mono.plus_ms(delay);
        events.push(Event::Disconnected { node: id });
        if !node.known {
            self.nodes.remove(&id);
        }
    }
}

/// Matches an answer with the oldest request. `None` if it is not its answer, or not readable.
fn answer_of(bytes: Bytes, in_flight: &mut VecDeque<InFlight>) -> Option<(u64, ResponseKind)> {
    let correlation_id = frame::peek_correlation_id(&bytes).ok()?;
    let first = in_flight.front()?;
    if first.correlation_id != correlation_id {
        return None;
    }
    let (_, response) = frame::decode_response(bytes, first.api_key, first.version).ok()?;
    let first = in_flight.pop_front().expect("looked at above");
    Some((first.tag, response))
}

#[cfg(test)]
mod tests;
