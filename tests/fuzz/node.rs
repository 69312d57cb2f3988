//! A node that is broker and controller, and its data directory.

use bytes::Bytes;
use highwater::cluster::SimDisk;
use kafka::broker::Broker;
use kafka::config::{NodeConfig, Settings, Voter};
use kafka::wire::{batch, frame};
use kafka::{ConnId, Input, Nanos, NodeId, Note, Now, Outbox, Output};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{CreateTopicsRequest, ProduceRequest, RequestKind, TopicName};
use kafka_protocol::protocol::StrBytes;
use sim::disk::Disk;
use sim::random::Streams;
use std::collections::{BTreeMap, VecDeque};

const CLIENT: ConnId = ConnId(1_000_001);

fn config() -> NodeConfig {
    let voter = Voter {
        id: NodeId(1),
        host: "localhost".to_owned(),
        port: 9092,
    };
    let mut settings = Settings::default();
    // Several segments, and snapshots of the metadata, in a small directory.
    for (name, value) in [
        ("log.segment.bytes", "300"),
        ("metadata.log.max.record.bytes.between.snapshots", "600"),
    ] {
        settings.set(name, value).expect("a property");
    }
    NodeConfig {
        node_id: NodeId(1),
        is_broker: true,
        is_controller: true,
        host: voter.host.clone(),
        port: voter.port,
        rack: None,
        voters: vec![voter],
        cluster_id: "a-fuzzed-cluster".to_owned(),
        settings,
        rules: kafka::rules::Rules::default(),
    }
}

struct Node {
    broker: Broker,
    disk: Disk,
    now: Now,
    ends: BTreeMap<ConnId, ConnId>,
    exited: Option<String>,
    in_service: bool,
}

impl Node {
    fn open(mut disk: Disk) -> Result<Node, String> {
        let now = Now {
            mono: Nanos::from_ms(1),
            wall_ms: 1_700_000_000_000,
        };
        let mut out = Outbox::default();
        let broker =
            Broker::open(config(), 7, now, &mut SimDisk(&mut disk), &mut out).map_err(|error| error.to_string())?;
        let mut node = Node {
            broker,
            disk,
            now,
            ends: BTreeMap::new(),
            exited: None,
            in_service: false,
        };
        node.settle(out);
        Ok(node)
    }

    fn input(&mut self, input: Input) {
        let mut out = Outbox::default();
        self.broker
            .step(self.now, input, &mut SimDisk(&mut self.disk), &mut out);
        self.settle(out);
    }

    /// Syncs are done at once, and what the node sends to itself arrives at once.
    fn settle(&mut self, mut out: Outbox) {
        let mut inputs: VecDeque<Input> = VecDeque::new();
        loop {
            let served = |note: Note| matches!(note, Note::BrokerUnfenced { .. });
            self.in_service |= out.notes.drain(..).any(served);
            for output in out.outputs.drain(..) {
                match output {
                    Output::Connect { conn, .. } => {
                        let other = ConnId(conn.0 + 1);
                        self.ends.extend([(conn, other), (other, conn)]);
                        inputs.extend([Input::Accepted { conn: other }, Input::Connected { conn }]);
                    }
                    Output::Send { conn, bytes } => {
                        let other = self.ends.get(&conn).copied();
                        inputs.extend(other.map(|conn| Input::Received { conn, bytes }));
                    }
                    Output::Close { conn } => {
                        let other = self.ends.remove(&conn);
                        inputs.extend(other.map(|conn| Input::Closed { conn }));
                    }
                    Output::Sync { tag, .. } => inputs.push_back(Input::SyncDone { tag, result: Ok(()) }),
                    Output::Exit { reason, .. } => self.exited = Some(reason),
                    Output::PauseReading { .. } | Output::ResumeReading { .. } => {}
                }
            }
            let Some(input) = inputs.pop_front() else { return };
            self.broker
                .step(self.now, input, &mut SimDisk(&mut self.disk), &mut out);
        }
    }

    /// Some deadlines pass.
    fn pass(&mut self, deadlines: usize) {
        for _ in 0..deadlines {
            if self.exited.is_some() || self.in_service {
                return;
            }
            let Some(at) = self.broker.next_deadline() else { return };
            self.now.mono = at.max(self.now.mono);
            self.input(Input::Deadline);
        }
    }

    fn ask(&mut self, request: impl Into<RequestKind>, version: i16) {
        let bytes = frame::encode_request(1, "fuzz", &request.into(), version);
        self.input(Input::Received { conn: CLIENT, bytes });
    }
}

/// What a node leaves behind that was killed: topics, segments, indexes, checkpoints, the metadata log, a snapshot.
pub fn written_directory() -> Disk {
    let mut node = Node::open(Disk::new(Streams::new(1).stream("disk"))).expect("an empty directory");
    node.pass(10_000);
    assert!(node.in_service, "it did not come into service");
    node.input(Input::Accepted { conn: CLIENT });
    let name = TopicName(StrBytes::from_static_str("t"));
    let topic = CreatableTopic::default()
        .with_name(name.clone())
        .with_num_partitions(2)
        .with_replication_factor(1);
    node.ask(CreateTopicsRequest::default().with_topics(vec![topic]), 7);
    for at in 0..12 {
        let records = [(
            1_700_000_000_000 + at,
            None,
            Some(Bytes::from_static(b"a value of some length")),
        )];
        let partition = PartitionProduceData::default()
            .with_index((at % 2) as i32)
            .with_records(Some(batch::build(&records, None, false)));
        let topic = TopicProduceData::default()
            .with_name(name.clone())
            .with_partition_data(vec![partition]);
        let request = ProduceRequest::default()
            .with_acks(1)
            .with_timeout_ms(1_000)
            .with_topic_data(vec![topic]);
        node.ask(request, 12);
    }
    // Checkpoints are written now and then.
    node.in_service = false;
    node.pass(300);
    let mut disk = node.disk;
    disk.process_died();
    let segment = |path: &&String| path.starts_with("t-0/") && path.ends_with(".log");
    assert!(disk.files().iter().filter(segment).count() > 1, "{:?}", disk.files());
    disk
}

/// Starts a node on this directory and lets it come into service, if it can.
pub fn open_and_settle(disk: Disk) -> Result<(), String> {
    let mut node = Node::open(disk)?;
    node.pass(60);
    node.exited.map_or(Ok(()), Err)
}
