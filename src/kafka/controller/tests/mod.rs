//! A controller with a log of its own: what it writes goes through Kafka's bytes into a second image, which must be
//! the controller's, after every decision.

mod brokers;
mod configs;
mod elections;
mod failover;
mod isr;
mod producer_ids;
mod reassignments;
mod topics;

use super::*;
use crate::note::PartitionState;
use crate::types::Uuid;
use crate::wire::ErrorCode as E;
use kafka_protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use kafka_protocol::messages::broker_registration_request::Listener;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::*;

const EPOCH: LeaderEpoch = LeaderEpoch(4);
const SESSION_MS: u64 = 9_000;

struct Cluster {
    controller: Controller,
    mirror: MetadataImage,
    now_ms: u64,
    out: Outbox,
    /// Records of the last decision.
    last: Vec<Record>,
    /// Unclean leaders so far, by the notes.
    unclean: usize,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

fn settings() -> Settings {
    // Idle records would only disturb the counting.
    Settings {
        metadata_max_idle_interval_ms: 0,
        ..Settings::default()
    }
}

impl Cluster {
    fn new(rules: Rules, settings: &Settings) -> Cluster {
        let image = MetadataImage::default();
        let now = Now {
            mono: Nanos::from_ms(1_000),
            wall_ms: 0,
        };
        let controller = Controller::activate(image.clone(), settings, rules, Entropy(5), now, EPOCH).of_cluster("c");
        Cluster {
            controller,
            mirror: image,
            now_ms: 1_000,
            out: Outbox::default(),
            last: Vec::new(),
            unclean: 0,
        }
    }

    /// Brokers 1 to 3, alive; one partition of topic `t` on all of them, led by 1, two in-sync replicas at least.
    fn of_three() -> Cluster {
        Cluster::of_three_with(Rules::NONE)
    }

    fn of_three_with(rules: Rules) -> Cluster {
        let mut cluster = Cluster::new(rules, &settings());
        for id in 1..=3 {
            cluster.start(id, -1);
        }
        assert_eq!(
            cluster.create("t", &[&[1, 2, 3]], &[("min.insync.replicas", "2")]),
            E::NONE
        );
        cluster
    }

    /// Another node is the active controller now, with the same metadata.
    fn fail_over(&mut self) {
        let (image, settings) = (self.controller.image().clone(), settings());
        self.controller =
            Controller::activate(image, &settings, Rules::NONE, Entropy(6), self.now(), EPOCH).of_cluster("c");
    }

    fn now(&self) -> Now {
        Now {
            mono: Nanos::from_ms(self.now_ms),
            wall_ms: 0,
        }
    }

    fn accept(&mut self, records: Vec<Record>) {
        for record in &records {
            let record = Record::decode(&record.encode()).unwrap();
            let offset = self.mirror.offset;
            self.mirror.apply(&record, offset, EPOCH, &mut MetadataDelta::default());
        }
        assert_eq!(
            &self.mirror,
            self.controller.image(),
            "the log says something else than the controller thinks"
        );
        let mut again = MetadataImage::default();
        for record in self.mirror.to_records() {
            again.apply(&record, 0, EPOCH, &mut MetadataDelta::default());
        }
        assert_eq!(again.digest(), self.mirror.digest());
        let is_unclean = |note: &&Note| matches!(note, Note::PartitionDecided { unclean: true, .. });
        self.unclean += self.out.notes.iter().filter(is_unclean).count();
        self.last = records;
    }

    fn ask(&mut self, request: impl Into<RequestKind>) -> ResponseKind {
        let (request, now, offset) = (request.into(), self.now(), self.mirror.offset);
        assert!(is_metadata_request(&request));
        self.out.notes.clear();
        let decision = self.controller.decide(now, None, &request, offset, &mut self.out);
        self.accept(decision.records);
        decision.response
    }

    /// Time passes; whatever is due happens.
    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.out.notes.clear();
        let (now, offset) = (self.now(), self.mirror.offset);
        let records = self.controller.on_deadline(now, offset, &mut self.out);
        self.accept(records);
        assert!(
            self.controller
                .next_deadline()
                .is_none_or(|deadline| deadline > self.now().mono),
            "a busy loop"
        );
    }

    fn registration(id: i32, incarnation: u128, previous: i64) -> BrokerRegistrationRequest {
        let listener = Listener::default()
            .with_name(text("PLAINTEXT"))
            .with_host(text("h"))
            .with_port(9092);
        BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(id))
            .with_cluster_id(text("c"))
            .with_incarnation_id(Uuid::from_u128(incarnation))
            .with_listeners(vec![listener])
            .with_previous_broker_epoch(previous)
    }

    fn register(&mut self, request: BrokerRegistrationRequest) -> Result<i64, E> {
        let ResponseKind::BrokerRegistration(response) = self.ask(request) else {
            panic!()
        };
        if response.error_code == 0 {
            Ok(response.broker_epoch)
        } else {
            Err(E(response.error_code))
        }
    }

    fn broker_epoch(&self, id: i32) -> i64 {
        self.mirror.brokers[&NodeId(id)].epoch.0
    }

    /// A heartbeat from the registered incarnation, which has applied everything.
    fn heartbeat_request(&self, id: i32) -> BrokerHeartbeatRequest {
        BrokerHeartbeatRequest::default()
            .with_broker_id(BrokerId(id))
            .with_broker_epoch(self.broker_epoch(id))
            .with_current_metadata_offset(self.mirror.offset - 1)
    }

    fn heartbeat(&mut self, request: BrokerHeartbeatRequest) -> BrokerHeartbeatResponse {
        let ResponseKind::BrokerHeartbeat(response) = self.ask(request) else {
            panic!()
        };
        response
    }

    fn beat(&mut self, id: i32) -> BrokerHeartbeatResponse {
        self.heartbeat(self.heartbeat_request(id))
    }

    fn want_shutdown(&mut self, id: i32) -> BrokerHeartbeatResponse {
        self.heartbeat(self.heartbeat_request(id).with_want_shut_down(true))
    }

    /// A new incarnation registers and is unfenced. `previous`: the epoch of the incarnation that left in order.
    fn start(&mut self, id: i32, previous: i64) {
        let incarnation = 1_000 + self.mirror.offset as u128;
        self.register(Cluster::registration(id, incarnation, previous)).unwrap();
        assert!(!self.beat(id).is_fenced);
    }

    /// All but the silent ones speak in time; the silent ones are fenced.
    fn silence(&mut self, silent: &[i32]) {
        let speakers: Vec<i32> = self
            .mirror
            .brokers
            .values()
            .filter(|b| !b.fenced)
            .map(|b| b.id.0)
            .collect();
        for ms in [0, SESSION_MS - 1, 1] {
            self.pass(ms);
            for id in speakers.iter().filter(|id| !silent.contains(id)) {
                self.beat(*id);
            }
        }
        for id in silent {
            assert!(self.mirror.brokers[&NodeId(*id)].fenced);
        }
    }

    fn topic_request(name: &str, replicas: &[&[i32]], configs: &[(&str, &str)]) -> CreatableTopic {
        let by_hand = |(index, brokers): (usize, &&[i32])| {
            CreatableReplicaAssignment::default()
                .with_partition_index(index as i32)
                .with_broker_ids(brokers.iter().map(|id| BrokerId(*id)).collect())
        };
        let config = |(name, value): &(&str, &str)| {
            CreatableTopicConfig::default()
                .with_name(text(name))
                .with_value(Some(text(value)))
        };
        CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments(replicas.iter().enumerate().map(by_hand).collect())
            .with_configs(configs.iter().map(config).collect())
    }

    fn create_topics(
        &mut self,
        topics: Vec<CreatableTopic>,
        validate_only: bool,
    ) -> Vec<create_topics_response::CreatableTopicResult> {
        let request = CreateTopicsRequest::default()
            .with_topics(topics)
            .with_validate_only(validate_only);
        let ResponseKind::CreateTopics(response) = self.ask(request) else {
            panic!()
        };
        response.topics
    }

    fn create(&mut self, name: &str, replicas: &[&[i32]], configs: &[(&str, &str)]) -> E {
        let results = self.create_topics(vec![Cluster::topic_request(name, replicas, configs)], false);
        E(results[0].error_code)
    }

    fn id(&self, topic: &str, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: self.mirror.topic_ids[topic],
            partition,
        }
    }

    fn state(&self) -> &PartitionState {
        self.state_of("t", 0)
    }

    fn state_of(&self, topic: &str, partition: i32) -> &PartitionState {
        self.mirror.partition(self.id(topic, partition)).unwrap()
    }

    /// Leader (-1: none), ISR and ELR of `t-0`.
    fn view(&self) -> (i32, Vec<i32>, Vec<i32>) {
        let state = self.state();
        (
            state.leader.map_or(-1, |leader| leader.0),
            ids(&state.isr),
            ids(&state.elr),
        )
    }

    /// An AlterPartition of `t-0` by its leader, from its current state, with the current broker epochs.
    fn proposal(&self, isr: &[i32]) -> (i32, PartitionData) {
        let state = self.state();
        let member = |id: &i32| {
            let epoch = self
                .mirror
                .brokers
                .get(&NodeId(*id))
                .map_or(-1, |broker| broker.epoch.0);
            BrokerState::default()
                .with_broker_id(BrokerId(*id))
                .with_broker_epoch(epoch)
        };
        let data = PartitionData::default()
            .with_partition_index(0)
            .with_leader_epoch(state.leader_epoch.0)
            .with_partition_epoch(state.partition_epoch.0)
            .with_new_isr_with_epochs(isr.iter().map(member).collect());
        (state.leader.unwrap_or(NodeId(1)).0, data)
    }

    fn alter_request(&self, from: i32, topic: Uuid, data: PartitionData) -> AlterPartitionRequest {
        AlterPartitionRequest::default()
            .with_broker_id(BrokerId(from))
            .with_broker_epoch(self.broker_epoch(from))
            .with_topics(vec![
                TopicData::default().with_topic_id(topic).with_partitions(vec![data]),
            ])
    }

    fn alter(&mut self, (from, data): (i32, PartitionData)) -> E {
        let request = self.alter_request(from, self.id("t", 0).topic, data);
        let ResponseKind::AlterPartition(response) = self.ask(request) else {
            panic!()
        };
        assert_eq!(response.error_code, 0);
        let partition = &response.topics[0].partitions[0];
        if partition.error_code == 0 {
            let state = self.state();
            let isr: Vec<i32> = partition.isr.iter().map(|id| id.0).collect();
            assert_eq!((isr, partition.leader_id.0), (ids(&state.isr), from));
            assert_eq!(partition.leader_epoch, state.leader_epoch.0);
            assert_eq!(partition.partition_epoch, state.partition_epoch.0);
        }
        E(partition.error_code)
    }

    fn propose(&mut self, isr: &[i32]) -> E {
        self.alter(self.proposal(isr))
    }

    fn set_config(&mut self, topic: &str, name: &str, value: Option<&str>) -> E {
        configs::alter(
            self,
            if topic.is_empty() { 4 } else { 2 },
            topic,
            &[(name, i8::from(value.is_none()), value)],
            false,
        )
    }
}
