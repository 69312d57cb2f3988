//! One node that is broker and controller, asked over its listener: what a client of `serve` without configuration gets.

mod alone;
mod describe;
mod listener;
mod produce;

mod topics;

use super::Broker;
use crate::config::{NodeConfig, Settings, Voter};
use crate::log::testing::MemDisk;
use crate::machine::{Input, Outbox, Output};
use crate::note::Note;
use crate::rules::Rules;
use crate::types::{ConnId, Nanos, NodeId, Now};
use crate::wire::api;
use crate::wire::frame::{self, Framer};
use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{CreateTopicsRequest, RequestKind, ResponseKind, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, VecDeque};

/// A test's connection; the node's own to itself are small.
pub(super) const CLIENT: ConnId = ConnId(1_000_001);

pub(super) fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

pub(super) fn name(value: &str) -> TopicName {
    TopicName(text(value))
}

/// A node, its disk and its wires. Syncs are done at once, and what it sends to itself arrives at once.
pub(super) struct Node {
    broker: Broker,
    disk: MemDisk,
    pub now: Now,
    /// Names of both ends of its connections to itself, each way.
    ends: BTreeMap<ConnId, ConnId>,
    pub notes: Vec<Note>,
    /// What clients were sent, by connection.
    sent: BTreeMap<ConnId, Framer>,
    /// Syncs that are asked for stay open.
    pub syncs_rest: bool,
    open_syncs: Vec<crate::SyncTag>,
    pub closed: Vec<ConnId>,
}

impl Node {
    /// In service, with these properties.
    pub fn start(properties: &[(&str, &str)]) -> Node {
        let mut settings = Settings::default();
        for (name, value) in properties {
            settings.set(name, value).unwrap();
        }
        let config = NodeConfig {
            node_id: NodeId(1),
            is_broker: true,
            is_controller: true,
            host: "localhost".to_owned(),
            port: 9092,
            rack: None,
            voters: vec![Voter {
                id: NodeId(1),
                host: "localhost".to_owned(),
                port: 9092,
            }],
            cluster_id: "a-test-cluster".to_owned(),
            settings,
            rules: Rules::default(),
        };
        let (mut disk, mut out) = (MemDisk::new(), Outbox::default());
        let now = Now {
            mono: Nanos::from_ms(1),
            wall_ms: 1_700_000_000_000,
        };
        let broker = Broker::open(config, 7, now, &mut disk, &mut out).unwrap();
        let mut node = Node {
            broker,
            disk,
            now,
            ends: BTreeMap::new(),
            notes: Vec::new(),
            sent: BTreeMap::new(),
            syncs_rest: false,
            open_syncs: Vec::new(),
            closed: Vec::new(),
        };
        node.settle(out);
        node.pass_until(|node| {
            node.notes
                .iter()
                .any(|note| matches!(note, Note::BrokerUnfenced { .. }))
        });
        node.input(Input::Accepted { conn: CLIENT });
        node
    }

    /// Lets deadlines pass until something holds.
    pub fn pass_until(&mut self, holds: impl Fn(&Node) -> bool) {
        for _ in 0..10_000 {
            if holds(self) {
                return;
            }
            self.now.mono = self.broker.next_deadline().unwrap().max(self.now.mono);
            self.input(Input::Deadline);
        }
        panic!("does not come to hold");
    }

    pub fn input(&mut self, input: Input) {
        let mut out = Outbox::default();
        self.broker.step(self.now, input, &mut self.disk, &mut out);
        self.settle(out);
    }

    fn settle(&mut self, mut out: Outbox) {
        let mut inputs: VecDeque<Input> = VecDeque::new();
        loop {
            self.notes.append(&mut out.notes);
            self.disk.take_syncs(&mut out);
            for output in out.outputs.drain(..) {
                self.carry_out(output, &mut inputs);
            }
            if self.syncs_rest {
                let Some(input) = inputs.pop_front() else { return };
                self.broker.step(self.now, input, &mut self.disk, &mut out);
                continue;
            }
            inputs.extend(
                self.disk
                    .complete_all()
                    .into_iter()
                    .map(|tag| Input::SyncDone { tag, result: Ok(()) }),
            );
            let Some(input) = inputs.pop_front() else { return };
            self.broker.step(self.now, input, &mut self.disk, &mut out);
        }
    }

    fn carry_out(&mut self, output: Output, inputs: &mut VecDeque<Input>) {
        match output {
            Output::Connect { conn, .. } => {
                let other = ConnId(conn.0 + 1);
                self.ends.extend([(conn, other), (other, conn)]);
                inputs.extend([Input::Accepted { conn: other }, Input::Connected { conn }]);
            }
            Output::Send { conn, bytes } => match self.ends.get(&conn) {
                Some(other) => inputs.push_back(Input::Received { conn: *other, bytes }),
                None => self.sent.entry(conn).or_default().push(bytes),
            },
            Output::Close { conn } => match self.ends.remove(&conn) {
                Some(other) => inputs.push_back(Input::Closed { conn: other }),
                None => self.closed.push(conn),
            },
            Output::PauseReading { .. } | Output::ResumeReading { .. } => {}
            Output::Sync { .. } => unreachable!("taken by the disk"),
            Output::Exit { reason, .. } => panic!("{reason}"),
        }
    }

    /// Of the syncs that are open, those are done; the others stay open.
    pub fn complete_syncs(&mut self, which: impl Fn(&crate::SyncTag) -> bool) {
        let mut open = Vec::new();
        while let Some(tag) = self.disk.complete_one() {
            open.push(tag);
        }
        open.append(&mut self.open_syncs);
        let (done, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(which);
        self.open_syncs = rest;
        for tag in done {
            self.input(Input::SyncDone { tag, result: Ok(()) });
        }
    }

    /// Bytes of a client.
    pub fn send(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        self.input(Input::Received { conn: CLIENT, bytes });
    }

    /// The next frame for the client, without its length.
    pub fn frame(&mut self) -> Option<Bytes> {
        self.sent.get_mut(&CLIENT)?.next().unwrap()
    }

    /// Asks in a version and gives the answer.
    pub fn ask_in(&mut self, version: i16, request: impl Into<RequestKind>) -> ResponseKind {
        let request = request.into();
        self.send(frame::encode_request(5, "test", &request, version));
        let key = frame::api_key_of(&request);
        let answer = self.frame().unwrap_or_else(|| panic!("no answer to {request:?}"));
        let (correlation_id, response) = frame::decode_response(answer, key, version).unwrap();
        assert_eq!(correlation_id, 5);
        response
    }

    /// Asks in the newest version that the node serves.
    pub fn ask(&mut self, request: impl Into<RequestKind>) -> ResponseKind {
        let request = request.into();
        self.ask_in(api::newest(frame::api_key_of(&request)), request)
    }

    /// Asks for a topic of one partition; the answer comes when it comes.
    pub fn create_unheard(&mut self, topic: &str) {
        let request = Node::creation_of(topic, &[]).into();
        self.send(frame::encode_request(5, "test", &request, 7));
    }

    /// Sends a batch; the answer comes when it comes.
    pub fn send_produce(&mut self, topic: &str, records: &Bytes) {
        let request = produce::request_of(topic, records).into();
        self.send(frame::encode_request(5, "test", &request, 12));
    }

    /// A topic of one partition with these properties.
    pub fn create(&mut self, topic: &str, configs: &[(&str, &str)]) {
        let request = Node::creation_of(topic, configs);
        let ResponseKind::CreateTopics(response) = self.ask(request) else {
            panic!("another answer")
        };
        assert_eq!(response.topics[0].error_code, 0, "{response:?}");
    }

    fn creation_of(topic: &str, configs: &[(&str, &str)]) -> CreateTopicsRequest {
        let configs = configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(text(name))
                .with_value(Some(text(value)))
        });
        let creatable = CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(1)
            .with_replication_factor(1)
            .with_configs(configs.collect());
        CreateTopicsRequest::default().with_topics(vec![creatable])
    }
}
