//! One broker of the search: the real replicas of it, and the metadata that it has heard of.
//!
//! Left out of a broker: connections, registration and heartbeats as messages (the controller hears of them at once),
//! its own metadata log.

use crate::code::cluster::Event;
use crate::code::disk::PageCache;
use crate::code::letter::{Content, Letter, Link};
use crate::code::node::{Machine, NOW, later};
use crate::code::replication::metadata::TOPIC;
use bytes::Bytes;
use kafka::config::{NodeConfig, Settings};
use kafka::log::LogError;
use kafka::metadata::{MetadataDelta, MetadataImage};
use kafka::replication::{Partition, ReplicaManager};
use kafka::rules::Rules;
use kafka::wire::batch;
use kafka::{BrokerEpoch, CallResult, Channel, Entropy, NodeId, Note, Now, Outbox, RequestId, SyncTag, TopicPartition};
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_protocol::messages::{RequestKind, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::hash::Hash;
use std::sync::Arc;

/// Fetches of replicas, and what goes with them, have these versions.
const FETCH_VERSION: i16 = 17;
const LIST_OFFSETS_VERSION: i16 = 9;
const PRODUCE_VERSION: i16 = 12;
/// A fetcher that was refused asks again after this; less than any other wait.
const RETRY_MS: u64 = 1_000;

/// Between two steps passes more time than a follower may lag.
fn after_lag() -> Now {
    later(Settings::default().replica_lag_time_max_ms.unsigned_abs() + 1)
}

/// What a broker is told at its start.
pub fn settings(min_insync_replicas: u8) -> Settings {
    Settings {
        // A leader answers at once: what a waiting fetch would be told, the next one is.
        replica_fetch_wait_max_ms: 0,
        replica_fetch_backoff_ms: RETRY_MS as i64,
        // One batch a fetch: followers stand at every offset once.
        replica_fetch_max_bytes: 1,
        replica_high_watermark_checkpoint_interval_ms: i64::MAX,
        metadata_max_idle_interval_ms: 0,
        leader_imbalance_check_interval_ms: 0,
        min_insync_replicas: min_insync_replicas.into(),
        ..Settings::default()
    }
}

/// The replicas of one broker.
#[derive(Clone, Debug, Hash)]
pub struct Broker {
    /// The real ones.
    pub replicas: ReplicaManager,
    image: Arc<MetadataImage>,
}

/// What happens to a broker beside letters and stops.
#[derive(Clone, Debug)]
pub enum Own {
    /// Its process starts as this incarnation, and hears of all metadata at once.
    Open(NodeId, BrokerEpoch, Arc<MetadataImage>, u128),
    /// It hears of metadata, after which the image has this digest.
    Hear(Arc<MetadataImage>, MetadataDelta, u128),
    /// A client's record comes, the nth of all.
    Produce(u8),
    /// It looks for followers that lag.
    LookForLag,
    /// Its disk ends all syncs.
    Sync,
}

impl Hash for Own {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Own::Open(node, epoch, _, digest) => (node, epoch, digest).hash(state),
            Own::Hear(_, delta, digest) => (delta, digest).hash(state),
            Own::Produce(number) => number.hash(state),
            Own::LookForLag | Own::Sync => {}
        }
    }
}

impl Own {
    /// When it happens.
    pub fn now(&self) -> Now {
        match self {
            Own::LookForLag => after_lag(),
            _ => NOW,
        }
    }
}

impl Machine for Broker {
    fn on_sync_done(&mut self, tag: &SyncTag, disk: &mut PageCache, out: &mut Outbox) -> Result<(), LogError> {
        self.replicas.on_sync_done(tag, Ok(()), NOW, disk, out)
    }

    fn rest(&mut self, now: Now, disk: &mut PageCache, out: &mut Outbox) -> Result<(), LogError> {
        self.replicas.forget_age(now.mono, NOW);
        if self
            .replicas
            .next_deadline()
            .is_some_and(|at| at <= later(RETRY_MS).mono)
        {
            self.replicas.on_deadline(later(RETRY_MS), disk, out)?;
        }
        self.replicas.forget_age(after_lag().mono, NOW);
        Ok(())
    }
}

/// What a broker must know to start.
pub struct Birth {
    /// The museum.
    pub rules: Rules,
    /// Its settings.
    pub settings: Settings,
    /// Who the controller is.
    pub controller: NodeId,
}

impl Birth {
    /// A process starts.
    pub fn open(&self, own: &Own, disk: &mut PageCache, out: &mut Outbox) -> Result<Option<Broker>, LogError> {
        let Own::Open(node_id, epoch, image, _) = own else {
            return Ok(None);
        };
        let config = NodeConfig {
            node_id: *node_id,
            is_broker: true,
            is_controller: false,
            host: String::new(),
            port: 0,
            rack: None,
            voters: Vec::new(),
            cluster_id: String::new(),
            settings: self.settings.clone(),
            rules: self.rules,
        };
        let mut replicas = ReplicaManager::new(&config, Entropy(0));
        replicas.open(false, NOW, disk, out)?;
        replicas.set_broker_epoch(*epoch);
        out.note(Note::BrokerRegistered { broker_epoch: *epoch });
        replicas.set_controller(Some(self.controller));
        let mut broker = Broker {
            replicas,
            image: image.clone(),
        };
        broker.hear(image, &everything(image), disk, out)?;
        Ok(Some(broker))
    }
}

/// What a broker that knew nothing hears.
fn everything(image: &MetadataImage) -> MetadataDelta {
    let mut delta = MetadataDelta::default();
    delta.brokers.extend(image.brokers.keys());
    for topic in image.topics.values() {
        let partitions = topic.partitions.keys();
        delta.partitions.extend(partitions.map(|partition| TopicPartition {
            topic: topic.id,
            partition: *partition,
        }));
    }
    delta.configs.extend(image.configs.keys().cloned());
    delta
}

impl Broker {
    /// Its only replica.
    pub fn partition(&self) -> Option<&Partition> {
        self.replicas.partitions().next()
    }

    fn hear(
        &mut self,
        image: &Arc<MetadataImage>,
        delta: &MetadataDelta,
        disk: &mut PageCache,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        self.image = image.clone();
        self.replicas.apply_metadata(image, delta, NOW, disk, out)
    }

    /// One event.
    pub fn enter(&mut self, event: &Event<'_, Own>, disk: &mut PageCache, out: &mut Outbox) -> Result<(), LogError> {
        match event {
            Event::Handle(id, letter) => self.handle(*id, letter, disk, out),
            Event::Response(link, letter) => {
                let result: CallResult = match letter.map(Letter::content) {
                    Ok(Content::Response(response)) => Ok(response.clone()),
                    Ok(Content::Request(_)) => unreachable!("a request is no answer"),
                    Err(failed) => Err(failed),
                };
                self.on_response(*link, result, disk, out)
            }
            Event::Disconnected(id) => {
                self.replicas.on_disconnected_request(*id);
                Ok(())
            }
            Event::Own(Own::Hear(image, delta, _)) => self.hear(image, delta, disk, out),
            Event::Own(Own::Produce(number)) => {
                let id = RequestId(FIRST_PRODUCE + u64::from(*number));
                let request = self.produce_request(*number);
                self.replicas
                    .produce(id, &request, PRODUCE_VERSION, &self.image, NOW, disk, out)
            }
            Event::Own(own @ Own::LookForLag) => self.replicas.on_deadline(own.now(), disk, out),
            Event::Own(Own::Sync) => {
                while let Some(tag) = disk.end_sync(|_| true) {
                    Machine::on_sync_done(self, &tag, disk, out)?;
                }
                Ok(())
            }
            Event::Stop { .. } | Event::Own(Own::Open(..)) => Ok(()),
        }
    }

    fn handle(
        &mut self,
        id: RequestId,
        letter: &Letter,
        disk: &mut PageCache,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let Content::Request(request) = letter.content() else {
            unreachable!("an answer is no request");
        };
        let (replicas, image) = (&mut self.replicas, &*self.image);
        match request {
            RequestKind::Fetch(request) => replicas.fetch(id, request, FETCH_VERSION, image, NOW, disk, out),
            RequestKind::ListOffsets(request) => {
                replicas.list_offsets(id, request, LIST_OFFSETS_VERSION, image, NOW, disk, out)
            }
            RequestKind::OffsetForLeaderEpoch(request) => {
                replicas.offset_for_leader_epoch(id, request, image, NOW, disk, out)
            }
            other => unreachable!("no replica asks another one for {other:?}"),
        }
    }

    fn on_response(
        &mut self,
        link: Link,
        result: CallResult,
        disk: &mut PageCache,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let replicas = &mut self.replicas;
        if link.channel == Channel::Controller {
            return match replicas.open_alter() {
                Some(tag) => replicas.on_alter_partition_response(tag, result, NOW, disk, out),
                None => Ok(()),
            };
        }
        let from = NodeId(i32::from(link.to) + 1);
        match replicas.open_fetch(from) {
            Some(tag) => replicas.on_fetch_response(from, tag, result, NOW, disk, out),
            None => Ok(()),
        }
    }

    fn produce_request(&self, number: u8) -> ProduceRequest {
        let value = Bytes::copy_from_slice(format!("r{number}").as_bytes());
        let records = batch::build(&[(NOW.wall_ms, None, Some(value))], None, false);
        let data = PartitionProduceData::default()
            .with_index(0)
            .with_records(Some(records));
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
            .with_topic_id(
                self.partition()
                    .map(|partition| partition.id().topic)
                    .unwrap_or_default(),
            )
            .with_partition_data(vec![data]);
        ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(i32::MAX)
            .with_topic_data(vec![topic])
    }
}

/// Ids of clients' requests; those of replicas are below.
pub const FIRST_PRODUCE: u64 = 1 << 20;
