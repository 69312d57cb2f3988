//! Connections against a network that does what a test says.

use super::*;
use crate::client::config::ProducerConfig;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, HeartbeatResponse};

const B1: NodeId = NodeId(-1);

struct Rig {
    connections: Connections,
    now_ms: u64,
    out: Outbox,
    events: Vec<Event>,
}

impl Rig {
    fn new(brokers: u16) -> Rig {
        let bootstrap: Vec<Endpoint> = (1..=brokers).map(endpoint).collect();
        let settings = ProducerConfig::new("p", Vec::new()).network();
        Rig {
            connections: Connections::new("p", &bootstrap, settings, Entropy(1)),
            now_ms: 0,
            out: Outbox::default(),
            events: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now {
            mono: Nanos::from_ms(self.now_ms),
            wall_ms: 0,
        }
    }

    fn ready(&mut self, node: NodeId) -> bool {
        self.connections.ready(node, self.now(), &mut self.out)
    }

    fn input(&mut self, input: Input) {
        self.connections
            .input(input, self.now(), &mut self.out, &mut self.events);
    }

    /// Wants a connection and makes it; gives its name.
    fn connect(&mut self, node: NodeId) -> ConnId {
        assert!(!self.ready(node));
        let Some(Output::Connect { conn, .. }) = self.out.outputs.pop() else {
            panic!("connect expected")
        };
        self.input(Input::Connected { conn });
        assert!(self.ready(node));
        conn
    }

    fn send(&mut self, node: NodeId, tag: u64) -> i32 {
        let request = RequestKind::ApiVersions(ApiVersionsRequest::default());
        self.connections
            .send(node, &request, tag, true, self.now(), &mut self.out);
        let Some(Output::Send { bytes, .. }) = self.out.outputs.pop() else {
            panic!("send expected")
        };
        let request = frame::decode_request(bytes.slice(4..)).expect("our own request");
        request.correlation_id
    }

    fn answer(&mut self, conn: ConnId, correlation_id: i32) {
        let body = ResponseKind::ApiVersions(ApiVersionsResponse::default());
        let bytes = frame::encode_response(
            correlation_id,
            &body,
            ApiKey::ApiVersions,
            api::newest(ApiKey::ApiVersions),
        );
        self.input(Input::Received { conn, bytes });
    }

    fn expire(&mut self) {
        self.connections.expire(self.now(), &mut self.out, &mut self.events);
    }

    /// Tags that were answered (positive) and lost (negative), 0 for a disconnect.
    fn tags(&mut self) -> Vec<i64> {
        let events = std::mem::take(&mut self.events).into_iter();
        events
            .map(|event| match event {
                Event::Answered { tag, .. } => tag as i64,
                Event::Lost { tag, .. } => -(tag as i64),
                Event::Disconnected { .. } => 0,
            })
            .collect()
    }
}

fn endpoint(id: u16) -> Endpoint {
    Endpoint {
        host: format!("b{id}"),
        port: 9000 + id,
    }
}

#[test]
fn answers_come_back_by_tag() {
    let mut rig = Rig::new(1);
    let conn = rig.connect(B1);
    let ids = [rig.send(B1, 7), rig.send(B1, 8)];
    assert_ne!(ids[0], ids[1]);
    rig.answer(conn, ids[0]);
    rig.answer(conn, ids[1]);
    assert_eq!(rig.tags(), [7, 8]);
}

#[test]
fn an_answer_to_another_question_closes_the_connection() {
    let mut rig = Rig::new(1);
    let conn = rig.connect(B1);
    let id = rig.send(B1, 7);
    rig.answer(conn, id + 1);
    assert_eq!(rig.tags(), [-7, 0]);
    assert!(matches!(rig.out.outputs.pop(), Some(Output::Close { conn: closed }) if closed == conn));
    rig.answer(conn, id);
    assert!(rig.tags().is_empty(), "what comes on a closed connection is nobody's");
}

#[test]
fn an_answer_that_cannot_be_read_closes_the_connection() {
    let mut rig = Rig::new(1);
    let conn = rig.connect(B1);
    let id = rig.send(B1, 7);
    let body = ResponseKind::Heartbeat(HeartbeatResponse::default());
    let bytes = frame::encode_response(id, &body, ApiKey::Heartbeat, 0);
    rig.input(Input::Received { conn, bytes });
    assert_eq!(rig.tags(), [-7, 0]);
    let bytes = Bytes::from_static(&[0xff; 8]);
    rig.now_ms = 10_000;
    let conn = rig.connect(B1);
    rig.input(Input::Received { conn, bytes });
    assert_eq!(rig.tags(), [0]);
}

#[test]
fn the_in_flight_limit_holds() {
    let mut rig = Rig::new(1);
    let conn = rig.connect(B1);
    let first = rig.send(B1, 1);
    for tag in 2..=5 {
        assert!(rig.ready(B1));
        rig.send(B1, tag);
    }
    assert!(!rig.ready(B1));
    assert_eq!(rig.connections.least_loaded(rig.now()), None);
    rig.answer(conn, first);
    assert!(rig.ready(B1));
}

#[test]
fn a_late_answer_loses_everything_on_its_connection() {
    let mut rig = Rig::new(1);
    rig.connect(B1);
    rig.send(B1, 1);
    rig.now_ms = 20_000;
    rig.send(B1, 2);
    rig.now_ms = 29_999;
    rig.expire();
    assert!(rig.tags().is_empty());
    rig.now_ms = 30_000;
    rig.expire();
    assert_eq!(rig.tags(), [-1, -2, 0]);
}

#[test]
fn reconnects_wait_longer_each_time_until_one_succeeds() {
    let mut rig = Rig::new(1);
    for least in [40, 80, 160, 320, 640, 800] {
        assert!(!rig.ready(B1));
        let Some(Output::Connect { conn, .. }) = rig.out.outputs.pop() else {
            panic!("connect expected")
        };
        rig.input(Input::Closed { conn });
        rig.now_ms += least - 1;
        assert!(!rig.ready(B1));
        assert!(rig.out.outputs.is_empty(), "too early after {least}");
        let mut alarm = Alarm::new(rig.now().mono);
        rig.connections.alarms(&mut alarm);
        let at = alarm.earliest().expect("somebody waits for it");
        rig.now_ms = at.0.div_ceil(1_000_000);
    }
    let conn = rig.connect(B1);
    rig.input(Input::Closed { conn });
    rig.now_ms += 60;
    rig.connect(B1);
}

#[test]
fn a_connection_that_is_never_made_is_given_up() {
    let mut rig = Rig::new(1);
    assert!(!rig.ready(B1));
    rig.now_ms = 7_999;
    rig.expire();
    assert!(rig.tags().is_empty());
    rig.now_ms = 12_001;
    rig.expire();
    assert_eq!(rig.tags(), [0], "10 s and up to a fifth of it");
}

#[test]
fn known_brokers_are_asked_before_bootstrap_servers_while_there_is_hope() {
    let mut rig = Rig::new(1);
    let (one, two) = (endpoint(1), endpoint(2));
    let brokers = [(NodeId(1), &one), (NodeId(2), &two)];
    let now = rig.now();
    rig.connections
        .set_nodes(brokers.into_iter(), now, &mut rig.out, &mut rig.events);
    for _ in 0..20 {
        assert!(rig.connections.least_loaded(now).is_some_and(|id| id.0 > 0));
    }
    for node in [NodeId(1), NodeId(2)] {
        assert!(!rig.ready(node));
        let Some(Output::Connect { conn, .. }) = rig.out.outputs.pop() else {
            panic!("connect expected")
        };
        rig.input(Input::Closed { conn });
    }
    assert_eq!(rig.connections.least_loaded(now), Some(B1));
    rig.connect(B1);
    rig.now_ms = 5_000;
    assert_eq!(rig.connections.least_loaded(rig.now()).map(|id| id.0 > 0), Some(true));
}

#[test]
fn the_least_loaded_connection_is_chosen() {
    let mut rig = Rig::new(2);
    rig.connect(NodeId(-1));
    rig.connect(NodeId(-2));
    rig.send(NodeId(-1), 1);
    for _ in 0..20 {
        assert_eq!(rig.connections.least_loaded(rig.now()), Some(NodeId(-2)));
    }
}

#[test]
fn a_broker_that_moved_is_connected_anew() {
    let mut rig = Rig::new(0);
    let (old, new) = (endpoint(1), endpoint(9));
    let now = rig.now();
    rig.connections
        .set_nodes([(NodeId(1), &old)].into_iter(), now, &mut rig.out, &mut rig.events);
    rig.connect(NodeId(1));
    rig.send(NodeId(1), 4);
    rig.connections
        .set_nodes([(NodeId(1), &new)].into_iter(), now, &mut rig.out, &mut rig.events);
    assert_eq!(rig.tags(), [-4, 0]);
    rig.now_ms = 1_000;
    assert!(matches!(rig.out.outputs.pop(), Some(Output::Close { .. })));
    assert!(!rig.ready(NodeId(1)));
    assert!(matches!(
        rig.out.outputs.pop(),
        Some(Output::Connect { port: 9009, .. })
    ));
}
