//! A bench for one client: brokers that do what a test says, over real frames, on a clock that the test moves.
//!
//! Guarantees: what a client sends is decoded as a broker decodes it; after every step the client's deadline lies in
//! the future, so no client can spin.

use super::{Admin, ClientInput, Consumer, Endpoint, Op, Producer};
use crate::machine::{Input, Outbox, Output};
use crate::note::{ClientNote, Note};
use crate::types::{ConnId, Nanos, Now, Uuid};
use crate::wire::api;
use crate::wire::frame::{self, Framer, Request};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{ApiKey, BrokerId, MetadataResponse, RequestKind, ResponseKind, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What all three clients have in common.
pub trait Machine {
    fn step(&mut self, now: Now, input: ClientInput, out: &mut Outbox);
    fn next_deadline(&self) -> Option<Nanos>;
}

macro_rules! machine {
    ($($name:ident)*) => { $(
        impl Machine for $name {
            fn step(&mut self, now: Now, input: ClientInput, out: &mut Outbox) { $name::step(self, now, input, out) }
            fn next_deadline(&self) -> Option<Nanos> { $name::next_deadline(self) }
        }
    )* };
}
machine!(Producer Consumer Admin);

/// A request that waits for the test's answer.
#[derive(Clone, Debug)]
pub struct Seen {
    pub broker: i32,
    pub conn: ConnId,
    pub request: Request,
}

/// The bench. Brokers are 1, 2, 3, on ports 9001 and so on.
pub struct Bench<M> {
    pub machine: M,
    pub now_ms: u64,
    /// Topic, partition: leader and epoch. Metadata requests are answered from here at once.
    pub leaders: BTreeMap<(&'static str, i32), (i32, i32)>,
    /// These refuse connections.
    pub down: BTreeSet<i32>,
    /// These never say whether a connection is made.
    pub silent: BTreeSet<i32>,
    pub answers_metadata: bool,
    pub metadata_requests: usize,
    pub connects: Vec<(u64, i32)>,
    conns: BTreeMap<ConnId, (i32, Framer)>,
    /// What each connection's broker has still to answer, in order: a broker answers one after the other. `Some`: by
    /// the bench, as soon as its turn comes.
    turns: BTreeMap<ConnId, VecDeque<Option<Request>>>,
    seen: Vec<Seen>,
    notes: Vec<ClientNote>,
    pub exited: bool,
}

pub fn bootstrap() -> Vec<Endpoint> {
    (1..=3)
        .map(|id| Endpoint {
            host: format!("b{id}"),
            port: 9000 + id,
        })
        .collect()
}

pub fn topic_id(topic: &str) -> Uuid {
    Uuid::from_u128(topic.bytes().fold(7, |id, byte| id * 256 + u128::from(byte)))
}

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn topic_name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

impl<M: Machine> Bench<M> {
    pub fn new(machine: M) -> Bench<M> {
        Bench {
            machine,
            now_ms: 1_000,
            leaders: BTreeMap::from([(("t", 0), (1, 5)), (("t", 1), (2, 5))]),
            down: BTreeSet::new(),
            silent: BTreeSet::new(),
            answers_metadata: true,
            metadata_requests: 0,
            connects: Vec::new(),
            conns: BTreeMap::new(),
            turns: BTreeMap::new(),
            seen: Vec::new(),
            notes: Vec::new(),
            exited: false,
        }
    }

    pub fn op(&mut self, op: Op) {
        self.step(ClientInput::Op(op));
    }

    pub fn net(&mut self, input: Input) {
        self.step(ClientInput::Net(input));
    }

    /// Moves the clock, waking the machine whenever it wants to be woken.
    pub fn advance(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        for _ in 0..100_000 {
            match self.machine.next_deadline() {
                Some(at) if at <= Nanos::from_ms(end) => {
                    // Deadlines have a finer grain than this clock: late is allowed, early is not.
                    self.now_ms = at.0.div_ceil(1_000_000);
                    self.net(Input::Deadline);
                }
                _ => {
                    self.now_ms = end;
                    return;
                }
            }
        }
        panic!("the machine spins");
    }

    /// Requests that wait for an answer, oldest first.
    pub fn seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    /// The only request that waits.
    #[track_caller]
    pub fn one(&mut self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:#?}");
        seen.remove(0)
    }

    pub fn notes(&mut self) -> Vec<ClientNote> {
        std::mem::take(&mut self.notes)
    }

    pub fn answer(&mut self, seen: &Seen, response: impl Into<ResponseKind>) {
        let request = &seen.request;
        let bytes = frame::encode_response(
            request.correlation_id,
            &response.into(),
            request.api_key,
            request.version,
        );
        let conn = seen.conn;
        if let Some(turns) = self.turns.get_mut(&conn) {
            turns.pop_front();
        }
        self.net(Input::Received { conn, bytes });
        while let Some(bytes) = self.metadata_in_turn(conn) {
            self.net(Input::Received { conn, bytes });
        }
    }

    /// All connections to a broker are lost.
    pub fn lose(&mut self, broker: i32) {
        let lost: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, (b, _))| *b == broker)
            .map(|(conn, _)| *conn)
            .collect();
        for conn in lost {
            self.conns.remove(&conn);
            self.net(Input::Closed { conn });
        }
    }

    pub fn lead(&mut self, partition: i32, leader: i32, epoch: i32) {
        self.leaders.insert(("t", partition), (leader, epoch));
    }

    fn step(&mut self, input: ClientInput) {
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            for input in std::mem::take(&mut inputs) {
                let mut out = Outbox::default();
                let now = Now {
                    mono: Nanos::from_ms(self.now_ms),
                    wall_ms: 1_700_000_000_000 + self.now_ms as i64,
                };
                self.machine.step(now, input, &mut out);
                if let Some(at) = self.machine.next_deadline() {
                    assert!(at > now.mono, "a deadline in the past would be a busy loop");
                }
                for output in out.outputs {
                    inputs.extend(self.output(output).map(ClientInput::Net));
                }
                self.notes.extend(out.notes.into_iter().map(|note| match note {
                    Note::Client(note) => note,
                    other => panic!("a client says {other:?}"),
                }));
            }
        }
    }

    fn output(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Connect { conn, port, .. } => {
                let broker = i32::from(port) - 9000;
                self.connects.push((self.now_ms, broker));
                if self.silent.contains(&broker) {
                    return None;
                }
                if self.down.contains(&broker) {
                    return Some(Input::Closed { conn });
                }
                self.conns.insert(conn, (broker, Framer::default()));
                Some(Input::Connected { conn })
            }
            Output::Close { conn } => {
                self.conns.remove(&conn);
                None
            }
            Output::Send { conn, bytes } => {
                let (broker, framer) = self.conns.get_mut(&conn).expect("sent on an open connection");
                let broker = *broker;
                framer.push(bytes);
                let frame = framer.next().expect("good").expect("one whole frame");
                let request = frame::decode_request(frame).expect("a request that brokers serve");
                assert!(api::serves(request.api_key, request.version));
                let turns = self.turns.entry(conn).or_default();
                if request.api_key == ApiKey::Metadata && self.answers_metadata {
                    self.metadata_requests += 1;
                    turns.push_back(Some(request));
                    return self.metadata_in_turn(conn).map(|bytes| Input::Received { conn, bytes });
                }
                if !matches!(&request.body, RequestKind::Produce(produce) if produce.acks == 0) {
                    turns.push_back(None);
                }
                self.seen.push(Seen { broker, conn, request });
                None
            }
            Output::Exit { clean, .. } => {
                assert!(clean);
                self.exited = true;
                None
            }
            other => panic!("a client asks for {other:?}"),
        }
    }

    fn metadata_in_turn(&mut self, conn: ConnId) -> Option<bytes::Bytes> {
        let request = self.turns.get_mut(&conn)?.pop_front_if(|turn| turn.is_some())??;
        Some(self.metadata(&request))
    }

    fn metadata(&self, request: &Request) -> bytes::Bytes {
        let RequestKind::Metadata(body) = &request.body else {
            panic!("metadata expected")
        };
        let topics = body.topics.iter().flatten().map(|topic| {
            let name = topic.name.clone().expect("by name");
            let mut answer = MetadataResponseTopic::default().with_name(Some(name.clone()));
            for ((_, partition), (leader, epoch)) in self.leaders.iter().filter(|((t, _), _)| *t == name.as_str()) {
                answer.topic_id = topic_id(&name);
                answer.partitions.push(
                    MetadataResponsePartition::default()
                        .with_partition_index(*partition)
                        .with_leader_id(BrokerId(*leader))
                        .with_leader_epoch(*epoch),
                );
            }
            if answer.partitions.is_empty() {
                answer.error_code = 3;
            }
            answer
        });
        let brokers = (1..=3).map(|id| {
            let broker = MetadataResponseBroker::default().with_node_id(BrokerId(id));
            broker.with_host(text(&format!("b{id}"))).with_port(9000 + id)
        });
        let body = MetadataResponse::default()
            .with_brokers(brokers.collect())
            .with_topics(topics.collect());
        frame::encode_response(
            request.correlation_id,
            &ResponseKind::Metadata(body),
            ApiKey::Metadata,
            request.version,
        )
    }
}
