//! The real controller, and the metadata log that carries its decisions to the brokers: committed at once, heard of late.
//!
//! Guarantees: every broker hears of the decisions in their order, one by one or several at once, whenever it does.
//! Deliberately leaves out: failovers of the controller, uncommitted decisions (the quorum has its own search).

use crate::code::digest::{Digester, digest};
use crate::code::letter::{Content, Letter};
use crate::code::memo::Memo;
use crate::code::node::{NOW, later};
use kafka::config::Settings;
use kafka::controller::Controller;
use kafka::metadata::{MetadataDelta, MetadataImage, Record};
use kafka::note::Note;
use kafka::rules::Rules;
use kafka::{BrokerEpoch, Entropy, LeaderEpoch, NodeId, Outbox, TopicPartition, Uuid};
use kafka_protocol::messages::broker_registration_request::Listener;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::{
    BrokerHeartbeatRequest, BrokerId, BrokerRegistrationRequest, CreateTopicsRequest, ElectLeadersRequest, RequestKind,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;
use std::hash::Hash;
use std::sync::Arc;

/// Name of the topic.
pub const TOPIC: &str = "t";

/// One decision, as brokers hear of it.
#[derive(Clone, Debug)]
pub struct Version {
    /// All metadata after it.
    pub image: Arc<MetadataImage>,
    /// What it touched.
    pub delta: MetadataDelta,
    /// Of the image.
    pub digest: u128,
}

/// The controller and what it decided.
#[derive(Clone, Debug)]
pub struct Metadata {
    controller: Controller,
    /// In order; the first one holds all that was set up before the search.
    pub versions: Vec<Version>,
    /// Of the controller.
    pub digest: u128,
}

/// What a request to the controller led to.
pub struct Decided {
    /// After it.
    pub metadata: Arc<Metadata>,
    /// The answer; none where nobody asked.
    pub answer: Option<Letter>,
    /// What the controller said.
    pub notes: Vec<Note>,
    /// Of the notes.
    pub notes_digest: u128,
    /// An assertion that broke.
    pub broken: Option<Arc<str>>,
}

/// What the controller is asked, or what time brings.
#[derive(Clone, Debug, Hash)]
pub enum Ask {
    /// A broker asks for another ISR.
    Letter(Letter),
    /// The process of a broker begins.
    Register(NodeId),
    /// A fenced broker has caught up.
    Unfence(NodeId),
    /// Nothing was heard of a broker for too long; of all others something was.
    Expire(NodeId),
    /// The preferred replica is to lead.
    ElectPreferred,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl Metadata {
    /// Brokers 1 to `brokers` are registered and serve; one partition, led by broker 1, has a replica on each.
    pub fn new(brokers: i32, min_insync_replicas: u8, settings: &Settings, rules: Rules) -> (Metadata, Vec<Note>) {
        let image = MetadataImage::default();
        let controller = Controller::activate(image, settings, rules, Entropy(0), NOW, LeaderEpoch(1));
        let mut metadata = Metadata {
            controller,
            versions: Vec::new(),
            digest: 0,
        };
        let mut out = Outbox::default();
        for id in 1..=brokers {
            metadata.ask(&registration(NodeId(id), 0), &mut out);
            let heartbeat = metadata.heartbeat(NodeId(id));
            metadata.ask(&heartbeat, &mut out);
        }
        let replicas = CreatableReplicaAssignment::default()
            .with_partition_index(0)
            .with_broker_ids((1..=brokers).map(BrokerId).collect());
        let config = CreatableTopicConfig::default()
            .with_name(text("min.insync.replicas"))
            .with_value(Some(text(&min_insync_replicas.to_string())));
        let topic = CreatableTopic::default()
            .with_name(TopicName(text(TOPIC)))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments(vec![replicas])
            .with_configs(vec![config]);
        let create = CreateTopicsRequest::default().with_topics(vec![topic]);
        metadata.ask(&RequestKind::CreateTopics(create), &mut out);
        let mut all = MetadataDelta::default();
        for version in &metadata.versions {
            all.extend(&version.delta);
        }
        metadata.versions.drain(..metadata.versions.len() - 1);
        metadata.versions[0].delta = all;
        metadata.settle();
        (metadata, out.notes)
    }

    /// The partition.
    pub fn partition(&self) -> TopicPartition {
        TopicPartition {
            topic: self.image().topic_ids.get(TOPIC).copied().unwrap_or(Uuid::nil()),
            partition: 0,
        }
    }

    /// All that was decided.
    pub fn image(&self) -> &MetadataImage {
        self.controller.image()
    }

    /// The newest one.
    pub fn last(&self) -> usize {
        self.versions.len() - 1
    }

    /// The incarnation of a broker that is registered.
    pub fn epoch_of(&self, broker: NodeId) -> BrokerEpoch {
        let known = self.image().brokers.get(&broker);
        known.map_or(BrokerEpoch(-1), |broker| broker.epoch)
    }

    /// Whether a broker may not lead or join an ISR.
    pub fn is_fenced(&self, broker: NodeId) -> bool {
        self.image().brokers.get(&broker).is_none_or(|broker| broker.fenced)
    }

    fn heartbeat(&self, broker: NodeId) -> RequestKind {
        RequestKind::BrokerHeartbeat(
            BrokerHeartbeatRequest::default()
                .with_broker_id(BrokerId(broker.0))
                .with_broker_epoch(self.epoch_of(broker).0)
                .with_current_metadata_offset(i64::MAX),
        )
    }

    fn ask(&mut self, request: &RequestKind, out: &mut Outbox) -> kafka_protocol::messages::ResponseKind {
        let offset = self.image().offset;
        let decision = self.controller.decide(NOW, None, request, offset, out);
        self.write(&decision.records);
        decision.response
    }

    fn write(&mut self, records: &[Record]) {
        if records.is_empty() {
            return;
        }
        let before = self.versions.last().map(|version| version.image.clone());
        let mut image = before.as_deref().cloned().unwrap_or_default();
        let mut delta = MetadataDelta::default();
        for record in records {
            let offset = image.offset;
            image.apply(record, offset, LeaderEpoch(1), &mut delta);
        }
        assert!(image == *self.image(), "brokers hear what the controller decided");
        self.versions.push(Version {
            digest: digest(&image),
            image: Arc::new(image),
            delta,
        });
    }

    fn settle(&mut self) {
        self.controller.forget_age(NOW);
        self.digest = digest(&self.controller);
    }

    fn decide(&self, ask: &Ask, settings: &Settings) -> Decided {
        let mut after = self.clone();
        let mut out = Outbox::default();
        let result = crate::run::panics::catch(|| match ask {
            Ask::Letter(letter) => match letter.content() {
                Content::Request(request) => Some(after.ask(request, &mut out)),
                Content::Response(_) => unreachable!("an answer is no request"),
            },
            Ask::Register(broker) => {
                // Every process draws its own id.
                let incarnation = after.image().offset as u128;
                Some(after.ask(&registration(*broker, incarnation), &mut out))
            }
            Ask::Unfence(broker) => {
                let heartbeat = after.heartbeat(*broker);
                Some(after.ask(&heartbeat, &mut out))
            }
            Ask::Expire(broker) => {
                let others = after
                    .image()
                    .brokers
                    .values()
                    .filter(|other| !other.fenced && other.id != *broker);
                let heartbeats: Vec<_> = others.map(|other| after.heartbeat(other.id)).collect();
                for heartbeat in heartbeats {
                    let offset = after.image().offset;
                    let decision = after.controller.decide(later(1), None, &heartbeat, offset, &mut out);
                    after.write(&decision.records);
                }
                let end = later(settings.broker_session_timeout_ms.unsigned_abs());
                let offset = after.image().offset;
                let records = after.controller.on_deadline(end, offset, &mut out);
                after.write(&records);
                None
            }
            Ask::ElectPreferred => {
                let all = ElectLeadersRequest::default().with_topic_partitions(None);
                Some(after.ask(&RequestKind::ElectLeaders(all), &mut out))
            }
        });
        after.settle();
        let (answer, broken) = match result {
            Ok(answer) => (answer.map(Letter::response), None),
            Err(panic) => (None, Some(Arc::from(panic))),
        };
        Decided {
            metadata: Arc::new(after),
            answer,
            notes_digest: digest(&out.notes),
            notes: out.notes,
            broken,
        }
    }
}

fn registration(broker: NodeId, incarnation: u128) -> RequestKind {
    let listener = Listener::default()
        .with_name(text("PLAINTEXT"))
        .with_host(text("h"))
        .with_port(9092);
    RequestKind::BrokerRegistration(
        BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(broker.0))
            .with_incarnation_id(Uuid::from_u128(1 + incarnation))
            .with_listeners(vec![listener])
            .with_previous_broker_epoch(-1),
    )
}

/// Decisions that were made before.
pub struct Decisions {
    memo: Memo<Decided>,
    settings: Settings,
}

impl Decisions {
    /// None yet.
    pub fn new(settings: Settings) -> Decisions {
        let memo = Memo::new(14);
        Decisions { memo, settings }
    }

    /// One decision. The versions are part of the key: what is handed back holds them.
    pub fn decide(&self, metadata: &Arc<Metadata>, ask: &Ask) -> Arc<Decided> {
        let mut key = Digester::default();
        (metadata.digest, ask).hash(&mut key);
        for version in &metadata.versions {
            version.digest.hash(&mut key);
        }
        self.memo.get_or(key.all(), || metadata.decide(ask, &self.settings))
    }
}
