//! Connections and metadata together: what every client has under it.
//!
//! Guarantees: metadata is asked for when it is due and a broker is there to ask; a lost connection asks for it, since
//! a broker that is gone may lead no more.
//! Does not know: the requests of the client above, whose tags it hands back.

use super::backoff::Alarm;
use super::config::{Endpoint, NetworkSettings};
use super::connections::{Connections, Event};
use super::metadata::{Metadata, endpoint};
use crate::machine::{Entropy, Input, Outbox};
use crate::types::{LeaderEpoch, NodeId, Now};
use kafka_protocol::messages::{RequestKind, ResponseKind};
use std::collections::VecDeque;

/// Tag of our own metadata requests; clients number theirs from 0.
const METADATA_TAG: u64 = u64::MAX;

/// The part that all clients share.
#[derive(Clone, Debug)]
pub struct Network {
    /// To brokers.
    pub connections: Connections,
    /// Of the client's topics.
    pub metadata: Metadata,
    events: Vec<Event>,
    next_tag: u64,
}

/// What became of a request of the client above.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// From [`Network::send`].
    pub tag: u64,
    /// The broker that was asked.
    pub node: NodeId,
    /// `None`: the connection went first.
    pub response: Option<ResponseKind>,
}

impl Network {
    /// Nothing is connected.
    pub fn new(client_id: &str, bootstrap: &[Endpoint], settings: NetworkSettings, mut entropy: Entropy) -> Network {
        let of_metadata = Entropy(entropy.next_u64());
        Network {
            connections: Connections::new(client_id, bootstrap, settings, entropy),
            metadata: Metadata::new(settings, of_metadata),
            events: Vec::new(),
            next_tag: 0,
        }
    }

    /// Takes an input, gives up what is late, and says what became of the client's requests, in order.
    pub fn input(&mut self, input: Option<Input>, now: Now, out: &mut Outbox) -> VecDeque<Outcome> {
        if let Some(input) = input {
            self.connections.input(input, now, out, &mut self.events);
        }
        self.connections.expire(now, out, &mut self.events);
        let mut outcomes = VecDeque::new();
        while !self.events.is_empty() {
            for event in std::mem::take(&mut self.events) {
                self.event(event, now, out, &mut outcomes);
            }
        }
        outcomes
    }

    /// Asks for metadata if that is due.
    pub fn poll(&mut self, now: Now, out: &mut Outbox) {
        if !self.metadata.is_due(now) {
            return;
        }
        let Some(node) = self.connections.least_loaded(now) else {
            return;
        };
        if self.connections.ready(node, now, out) {
            let request = RequestKind::Metadata(self.metadata.request(now));
            self.connections.send(node, &request, METADATA_TAG, true, now, out);
        }
    }

    /// Sends to a broker that is ready; the tag comes back with the outcome.
    pub fn send(&mut self, node: NodeId, request: &RequestKind, now: Now, out: &mut Outbox) -> u64 {
        let tag = self.take_tag();
        self.connections.send(node, request, tag, true, now, out);
        tag
    }

    /// As [`Network::send`], in a given version.
    pub fn send_version(
        &mut self,
        node: NodeId,
        request: &RequestKind,
        version: i16,
        now: Now,
        out: &mut Outbox,
    ) -> u64 {
        let tag = self.take_tag();
        let connections = &mut self.connections;
        connections.send_version(node, request, version, tag, true, now, out);
        tag
    }

    /// Sends what is never answered.
    pub fn send_unanswered(&mut self, node: NodeId, request: &RequestKind, now: Now, out: &mut Outbox) {
        self.connections.send(node, request, 0, false, now, out);
    }

    /// An answer named a leader, perhaps with its listener (KIP-951). True if that was news.
    pub fn learn_leader(
        &mut self,
        (topic, partition): (&str, i32),
        (leader, epoch): (NodeId, LeaderEpoch),
        listener: Option<Endpoint>,
        now: Now,
        out: &mut Outbox,
    ) -> bool {
        if listener.is_some_and(|endpoint| self.metadata.learn_broker(leader, endpoint)) {
            self.connections
                .set_nodes(self.metadata.brokers(), now, out, &mut self.events);
        }
        self.metadata.learn_leader(topic, partition, leader, epoch)
    }

    /// Names the instants at which something is to be done here.
    pub fn alarms(&self, alarm: &mut Alarm) {
        self.connections.alarms(alarm);
        self.metadata.alarms(alarm);
    }

    fn take_tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.next_tag
    }

    fn event(&mut self, event: Event, now: Now, out: &mut Outbox, outcomes: &mut VecDeque<Outcome>) {
        match event {
            Event::Answered {
                tag: METADATA_TAG,
                response,
                ..
            } => match response {
                ResponseKind::Metadata(response) => {
                    self.metadata.update(&response, now);
                    self.connections
                        .set_nodes(self.metadata.brokers(), now, out, &mut self.events);
                }
                _ => self.metadata.failed(now),
            },
            Event::Lost { tag: METADATA_TAG, .. } => self.metadata.failed(now),
            Event::Answered { tag, node, response } => outcomes.push_back(Outcome {
                tag,
                node,
                response: Some(response),
            }),
            Event::Lost { tag, node } => outcomes.push_back(Outcome {
                tag,
                node,
                response: None,
            }),
            Event::Disconnected { .. } => self.metadata.request_update(),
        }
    }
}

/// The listener of a broker among those that an answer names (KIP-951).
pub(super) fn listener_of<'a, N: 'a>(
    leader: NodeId,
    mut nodes: impl Iterator<Item = &'a N>,
    parts: impl Fn(&'a N) -> (i32, &'a kafka_protocol::protocol::StrBytes, i32),
) -> Option<Endpoint> {
    nodes.find_map(|node| {
        let (id, host, port) = parts(node);
        (id == leader.0).then(|| endpoint(host, port))
    })
}
