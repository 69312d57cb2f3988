//! The image: the fold of a prefix of the metadata log, and what a batch of records touched.
//!
//! Guarantees: the same records give the same image and the same digest everywhere; `to_records` gives records whose
//! fold is the same image; applying is total: a record about something that does not exist changes nothing, so no
//! bytes on a disk can stop a node here.
//! Deliberately does not know: whether a record is committed, and who may decide what.
//!
//! Sources: KIP-631; `PartitionRegistration.merge`; `TopicsDelta`, `ClusterDelta`, `ConfigurationsDelta`.

use super::{
    digest,
    record::{Reassignment, Record},
};
use crate::note::PartitionState;
use crate::types::{BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch, TopicPartition, Uuid};
use std::collections::{BTreeMap, BTreeSet};

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BrokerRegistration {
    /// `node.id`.
    pub id: NodeId,
    /// Of this incarnation.
    pub epoch: BrokerEpoch,
    /// Drawn by the broker at its start.
    pub incarnation: Uuid,
    /// Advertised listener.
    pub host: String,
    /// Advertised listener.
    pub port: u16,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// May neither lead nor join an ISR.
    pub fenced: bool,
    /// Leaves in order: its leaderships go, and it may not come back into an ISR (KIP-841).
    pub in_controlled_shutdown: bool,
}

impl BrokerRegistration {
    /// Whether it may lead and be in an ISR.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// Unique for ever.
    pub id: Uuid,
    /// Unique among living topics.
    pub name: String,
    /// By index.
    pub partitions: BTreeMap<i32, PartitionState>,
    /// The last leader of partitions whose ISR and ELR are (or just were) empty (KIP-966); never an empty list.
    pub last_known_elr: BTreeMap<i32, Vec<NodeId>>,
    /// By index, where replicas are on their way.
    pub reassignments: BTreeMap<i32, Reassignment>,
}

/// The fold of the metadata log's prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MetadataImage {
    /// Exclusive end of the applied prefix.
    pub offset: Offset,
    /// Epoch of its last record.
    pub epoch: LeaderEpoch,
    /// By node id.
    pub brokers: BTreeMap<NodeId, BrokerRegistration>,
    /// By id.
    pub topics: BTreeMap<Uuid, Topic>,
    /// Id of each living topic's name.
    pub topic_ids: BTreeMap<String, Uuid>,
    /// Topic configs by topic name; the empty name holds the cluster's defaults.
    pub configs: BTreeMap<String, BTreeMap<String, String>>,
    /// Where `min.insync.replicas` was last changed, by topic name as in `configs`; after a snapshot at its end. Whoever
    /// has not applied that record still counts by an older minimum. It depends on the way here: it is not in the digest.
    pub minimum_set_at: BTreeMap<String, Offset>,
    /// The first producer id that no broker has been given; 0: none was ever given out.
    pub next_producer_id: i64,
    /// Sum of the digests of all other entries; kept by `apply`.
    digest: u64,
}

/// What a batch of records touched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MetadataDelta {
    /// Registered, changed or gone.
    pub brokers: BTreeSet<NodeId>,
    /// New or changed; not those of removed topics.
    pub partitions: BTreeSet<TopicPartition>,
    /// Gone.
    pub removed_topics: BTreeSet<Uuid>,
    /// Topic names whose config changed.
    pub configs: BTreeSet<String>,
}

impl MetadataDelta {
    /// What either of the two touched.
    pub fn extend(&mut self, other: &MetadataDelta) {
        self.brokers.extend(&other.brokers);
        self.partitions.extend(&other.partitions);
        self.removed_topics.extend(&other.removed_topics);
        self.configs.extend(other.configs.iter().cloned());
    }
}

impl MetadataImage {
    /// Applies one record at `offset`.
    pub fn apply(&mut self, record: &Record, offset: Offset, epoch: LeaderEpoch, delta: &mut MetadataDelta) {
        self.offset = offset + 1;
        self.epoch = epoch;
        match record {
            Record::RegisterBroker {
                broker,
                broker_epoch,
                incarnation,
                host,
                port,
                rack,
                fenced,
                in_controlled_shutdown,
            } => {
                let registration = BrokerRegistration {
                    id: *broker,
                    epoch: *broker_epoch,
                    incarnation: *incarnation,
                    host: host.clone(),
                    port: *port,
                    rack: rack.clone(),
                    fenced: *fenced,
                    in_controlled_shutdown: *in_controlled_shutdown,
                };
                self.add(digest::broker(&registration));
                if let Some(old) = self.brokers.insert(*broker, registration) {
                    self.subtract(digest::broker(&old));
                }
                delta.brokers.insert(*broker);
            }
            Record::UnregisterBroker { broker, broker_epoch } => {
                if self
                    .brokers
                    .get(broker)
                    .is_some_and(|known| known.epoch == *broker_epoch)
                    && let Some(old) = self.brokers.remove(broker)
                {
                    self.subtract(digest::broker(&old));
                    delta.brokers.insert(*broker);
                }
            }
            Record::BrokerRegistrationChange {
                broker,
                broker_epoch,
                fenced,
                in_controlled_shutdown,
            } => {
                if let Some(known) = self.brokers.get_mut(broker)
                    && known.epoch == *broker_epoch
                {
                    let before = digest::broker(known);
                    known.fenced = fenced.unwrap_or(known.fenced);
                    known.in_controlled_shutdown = in_controlled_shutdown.unwrap_or(known.in_controlled_shutdown);
                    let after = digest::broker(known);
                    self.subtract(before);
                    self.add(after);
                    delta.brokers.insert(*broker);
                }
            }
            Record::Topic { name, id } => {
                if self.topics.contains_key(id) || self.topic_ids.contains_key(name) {
                    return;
                }
                self.add(digest::topic(*id, name));
                self.topic_ids.insert(name.clone(), *id);
                let topic = Topic {
                    id: *id,
                    name: name.clone(),
                    partitions: BTreeMap::new(),
                    last_known_elr: BTreeMap::new(),
                    reassignments: BTreeMap::new(),
                };
                self.topics.insert(*id, topic);
            }
            Record::RemoveTopic { id } => self.remove_topic(*id, delta),
            Record::Partition {
                partition,
                state,
                last_known_elr,
                reassignment,
            } => {
                self.set_partition(*partition, state.clone(), Some(last_known_elr), delta);
                self.set_reassignment(*partition, reassignment.clone());
            }
            Record::PartitionChange {
                partition,
                last_known_elr,
                adding,
                removing,
                ..
            } => {
                if let Some(state) = self.partition(*partition).and_then(|state| merge(state, record)) {
                    self.set_partition(*partition, state, last_known_elr.as_deref(), delta);
                    if adding.is_some() || removing.is_some() {
                        let before = self.reassignment(*partition);
                        let reassignment = Reassignment {
                            adding: adding.as_ref().unwrap_or(&before.adding).clone(),
                            removing: removing.as_ref().unwrap_or(&before.removing).clone(),
                        };
                        self.set_reassignment(*partition, reassignment);
                    }
                }
            }
            Record::Config { topic, name, value } => {
                // A new topic's leaders hear of it together with their partitions, which come later.
                let of_topic = |id: &Uuid| !self.topics[id].partitions.is_empty();
                if name == "min.insync.replicas" && self.topic_ids.get(topic).is_none_or(of_topic) {
                    self.minimum_set_at.insert(topic.clone(), offset);
                }
                self.set_config(topic, name, value.as_deref(), delta);
            }
            Record::ProducerIds { next_producer_id, .. } => {
                self.subtract(digest::producer_ids(self.next_producer_id));
                self.next_producer_id = *next_producer_id;
                self.add(digest::producer_ids(self.next_producer_id));
            }
            Record::NoOp => {}
        }
    }

    fn add(&mut self, entry: u64) {
        self.digest = self.digest.wrapping_add(entry);
    }

    fn subtract(&mut self, entry: u64) {
        self.digest = self.digest.wrapping_sub(entry);
    }

    fn set_partition(
        &mut self,
        partition: TopicPartition,
        state: PartitionState,
        last_known_elr: Option<&[NodeId]>,
        delta: &mut MetadataDelta,
    ) {
        let (id, index) = (partition.topic, partition.partition);
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let mut sum = digest::partition(id, index, &state);
        if let Some(old) = topic.partitions.insert(index, state) {
            sum = sum.wrapping_sub(digest::partition(id, index, &old));
        }
        if let Some(nodes) = last_known_elr {
            let old = if nodes.is_empty() {
                topic.last_known_elr.remove(&index)
            } else {
                sum = sum.wrapping_add(digest::last_known_elr(id, index, nodes));
                topic.last_known_elr.insert(index, nodes.to_vec())
            };
            if let Some(old) = old {
                sum = sum.wrapping_sub(digest::last_known_elr(id, index, &old));
            }
        }
        self.add(sum);
        delta.partitions.insert(partition);
    }

    fn set_reassignment(&mut self, partition: TopicPartition, reassignment: Reassignment) {
        let (id, index) = (partition.topic, partition.partition);
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let mut sum = 0u64;
        let old = if reassignment.is_none() {
            topic.reassignments.remove(&index)
        } else {
            sum = sum.wrapping_add(digest::reassignment(id, index, &reassignment));
            topic.reassignments.insert(index, reassignment)
        };
        if let Some(old) = old {
            sum = sum.wrapping_sub(digest::reassignment(id, index, &old));
        }
        self.add(sum);
    }

    fn remove_topic(&mut self, id: Uuid, delta: &mut MetadataDelta) {
        let Some(topic) = self.topics.remove(&id) else { return };
        self.subtract(digest::topic(id, &topic.name));
        for (index, state) in &topic.partitions {
            self.subtract(digest::partition(id, *index, state));
            delta.partitions.remove(&TopicPartition {
                topic: id,
                partition: *index,
            });
        }
        for (index, nodes) in &topic.last_known_elr {
            self.subtract(digest::last_known_elr(id, *index, nodes));
        }
        for (index, reassignment) in &topic.reassignments {
            self.subtract(digest::reassignment(id, *index, reassignment));
        }
        for (name, value) in self.configs.remove(&topic.name).unwrap_or_default() {
            self.subtract(digest::config(&topic.name, &name, &value));
            delta.configs.insert(topic.name.clone());
        }
        self.topic_ids.remove(&topic.name);
        self.minimum_set_at.remove(&topic.name);
        delta.removed_topics.insert(id);
    }

    fn set_config(&mut self, topic: &str, name: &str, value: Option<&str>, delta: &mut MetadataDelta) {
        let mut sum = 0u64;
        let old = match value {
            Some(value) => {
                sum = digest::config(topic, name, value);
                self.configs
                    .entry(topic.to_owned())
                    .or_default()
                    .insert(name.to_owned(), value.to_owned())
            }
            None => {
                let Some(configs) = self.configs.get_mut(topic) else {
                    return;
                };
                let old = configs.remove(name);
                if configs.is_empty() {
                    self.configs.remove(topic);
                }
                old
            }
        };
        if let Some(old) = old {
            sum = sum.wrapping_sub(digest::config(topic, name, &old));
        }
        self.add(sum);
        delta.configs.insert(topic.to_owned());
    }

    /// The state of a partition.
    pub fn partition(&self, partition: TopicPartition) -> Option<&PartitionState> {
        self.topics.get(&partition.topic)?.partitions.get(&partition.partition)
    }

    /// The last known leader of a partition without ISR and ELR (KIP-966); a list, as on disk.
    pub fn last_known_elr(&self, partition: TopicPartition) -> &[NodeId] {
        let topic = self.topics.get(&partition.topic);
        topic
            .and_then(|topic| topic.last_known_elr.get(&partition.partition))
            .map_or(&[], Vec::as_slice)
    }

    /// What is under way for a partition.
    pub fn reassignment(&self, partition: TopicPartition) -> Reassignment {
        let topic = self.topics.get(&partition.topic);
        let reassignment = topic.and_then(|topic| topic.reassignments.get(&partition.partition));
        reassignment.cloned().unwrap_or_default()
    }

    /// A topic by name.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(self.topic_ids.get(name)?)
    }

    /// A digest of all content; equal images, equal digests, on every machine. Not of offset and epoch.
    /// Costs nothing: it is kept as records are applied.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Records that build this image from nothing: the content of a snapshot.
    pub fn to_records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for broker in self.brokers.values() {
            records.push(Record::RegisterBroker {
                broker: broker.id,
                broker_epoch: broker.epoch,
                incarnation: broker.incarnation,
                host: broker.host.clone(),
                port: broker.port,
                rack: broker.rack.clone(),
                fenced: broker.fenced,
                in_controlled_shutdown: broker.in_controlled_shutdown,
            });
        }
        for topic in self.topics.values() {
            records.push(Record::Topic {
                name: topic.name.clone(),
                id: topic.id,
            });
            for (index, state) in &topic.partitions {
                records.push(Record::Partition {
                    partition: TopicPartition {
                        topic: topic.id,
                        partition: *index,
                    },
                    state: state.clone(),
                    last_known_elr: topic.last_known_elr.get(index).cloned().unwrap_or_default(),
                    reassignment: topic.reassignments.get(index).cloned().unwrap_or_default(),
                });
            }
        }
        for (topic, configs) in &self.configs {
            for (name, value) in configs {
                records.push(Record::Config {
                    topic: topic.clone(),
                    name: name.clone(),
                    value: Some(value.clone()),
                });
            }
        }
        if self.next_producer_id > 0 {
            // Whom the last block went to is not remembered, as in Kafka.
            records.push(Record::ProducerIds {
                broker: NodeId(-1),
                broker_epoch: BrokerEpoch(-1),
                next_producer_id: self.next_producer_id,
            });
        }
        records
    }
}

/// A partition after a [`Record::PartitionChange`]; none for any other record.
pub fn merge(state: &PartitionState, change: &Record) -> Option<PartitionState> {
    let Record::PartitionChange {
        leader,
        isr,
        elr,
        replicas,
        ..
    } = change
    else {
        return None;
    };
    // A record that names a leader bumps the leader epoch even if it is the same one: so a bump can be asked for.
    // Saturating, since the numbers come from a disk.
    Some(PartitionState {
        leader: leader.unwrap_or(state.leader),
        leader_epoch: LeaderEpoch(state.leader_epoch.0.saturating_add(i32::from(leader.is_some()))),
        partition_epoch: PartitionEpoch(state.partition_epoch.0.saturating_add(1)),
        replicas: replicas.as_ref().unwrap_or(&state.replicas).clone(),
        isr: isr.as_ref().unwrap_or(&state.isr).clone(),
        elr: elr.as_ref().unwrap_or(&state.elr).clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Uuid = Uuid::from_u128(7);
    const P0: TopicPartition = TopicPartition {
        topic: TOPIC,
        partition: 0,
    };

    fn nodes(ids: &[i32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn register(id: i32, epoch: i64) -> Record {
        Record::RegisterBroker {
            broker: NodeId(id),
            broker_epoch: BrokerEpoch(epoch),
            incarnation: Uuid::from_u128(epoch as u128),
            host: format!("b{id}"),
            port: 9092,
            rack: None,
            fenced: true,
            in_controlled_shutdown: false,
        }
    }

    fn change(leader: Option<Option<i32>>, isr: Option<&[i32]>) -> Record {
        Record::PartitionChange {
            partition: P0,
            leader: leader.map(|leader| leader.map(NodeId)),
            isr: isr.map(nodes),
            elr: None,
            last_known_elr: None,
            replicas: None,
            adding: None,
            removing: None,
        }
    }

    fn partition() -> Record {
        Record::Partition {
            partition: P0,
            state: PartitionState {
                leader: Some(NodeId(1)),
                leader_epoch: LeaderEpoch(0),
                partition_epoch: PartitionEpoch(0),
                replicas: nodes(&[1, 2]),
                isr: nodes(&[1, 2]),
                elr: vec![],
            },
            last_known_elr: vec![],
            reassignment: Reassignment::default(),
        }
    }

    fn config(topic: &str, value: Option<&str>) -> Record {
        Record::Config {
            topic: topic.into(),
            name: "retention.ms".into(),
            value: value.map(Into::into),
        }
    }

    fn fold(records: &[Record]) -> (MetadataImage, MetadataDelta) {
        let (mut image, mut delta) = (MetadataImage::default(), MetadataDelta::default());
        for (offset, record) in records.iter().enumerate() {
            image.apply(record, offset as Offset, LeaderEpoch(3), &mut delta);
        }
        (image, delta)
    }

    fn history() -> Vec<Record> {
        vec![
            register(1, 0),
            register(2, 1),
            Record::BrokerRegistrationChange {
                broker: NodeId(1),
                broker_epoch: BrokerEpoch(0),
                fenced: Some(false),
                in_controlled_shutdown: None,
            },
            Record::Topic {
                name: "t".into(),
                id: TOPIC,
            },
            config("t", Some("1")),
            config("", Some("2")),
            partition(),
            change(Some(Some(2)), Some(&[2])),
            config("t", Some("3")),
            Record::PartitionChange {
                partition: P0,
                leader: Some(None),
                isr: Some(vec![]),
                elr: Some(nodes(&[2])),
                last_known_elr: Some(nodes(&[2])),
                replicas: None,
                adding: None,
                removing: None,
            },
            register(2, 10),
            Record::ProducerIds {
                broker: NodeId(1),
                broker_epoch: BrokerEpoch(5),
                next_producer_id: 1_000,
            },
            Record::NoOp,
        ]
    }

    #[test]
    fn a_snapshot_folds_to_the_same_image_at_every_prefix() {
        let records = history();
        for end in 0..=records.len() {
            let (image, _) = fold(&records[..end]);
            let (mut again, _) = fold(&image.to_records());
            assert_eq!(image.digest(), again.digest());
            (again.offset, again.epoch) = (image.offset, image.epoch);
            assert_eq!(image, again);
        }
    }

    #[test]
    fn the_digest_sees_every_change_and_forgets_what_is_undone() {
        let records = history();
        let mut seen = BTreeSet::new();
        for end in 0..records.len() {
            assert!(
                seen.insert(fold(&records[..end]).0.digest()),
                "record {end} did not show"
            );
        }
        let with = fold(&[
            register(1, 0),
            Record::Topic {
                name: "t".into(),
                id: TOPIC,
            },
            partition(),
            config("t", Some("1")),
        ]);
        assert_ne!(with.0.digest(), 0);
        let mut image = with.0;
        let mut delta = MetadataDelta::default();
        image.apply(&Record::RemoveTopic { id: TOPIC }, 4, LeaderEpoch(3), &mut delta);
        assert_eq!(image.digest(), fold(&[register(1, 0)]).0.digest());
        assert!(
            image.configs.is_empty() && image.topic_ids.is_empty(),
            "a removed topic takes its configs along"
        );
        assert_eq!(delta.removed_topics, BTreeSet::from([TOPIC]));
        let gone = Record::UnregisterBroker {
            broker: NodeId(1),
            broker_epoch: BrokerEpoch(0),
        };
        image.apply(&gone, 5, LeaderEpoch(3), &mut delta);
        assert_eq!(image.digest(), 0);
    }

    #[test]
    fn epochs_move_as_kafkas_do() {
        let topic = Record::Topic {
            name: "t".into(),
            id: TOPIC,
        };
        let epochs = |changes: &[Record]| {
            let records = [&[topic.clone(), partition()], changes].concat();
            let state = fold(&records).0.partition(P0).cloned().unwrap();
            (
                state.leader.map(|leader| leader.0),
                state.leader_epoch.0,
                state.partition_epoch.0,
            )
        };
        assert_eq!(epochs(&[change(None, Some(&[1]))]), (Some(1), 0, 1));
        assert_eq!(epochs(&[change(Some(Some(2)), None)]), (Some(2), 1, 1));
        assert_eq!(
            epochs(&[change(Some(Some(1)), None)]),
            (Some(1), 1, 1),
            "a named leader bumps, even the same"
        );
        assert_eq!(
            epochs(&[change(Some(None), None), change(None, Some(&[1]))]),
            (None, 1, 2)
        );
    }

    #[test]
    fn records_about_nothing_change_nothing() {
        let stale = Record::BrokerRegistrationChange {
            broker: NodeId(1),
            broker_epoch: BrokerEpoch(99),
            fenced: Some(false),
            in_controlled_shutdown: None,
        };
        for record in [
            change(Some(None), None),
            partition(),
            Record::RemoveTopic { id: TOPIC },
            stale,
            Record::UnregisterBroker {
                broker: NodeId(1),
                broker_epoch: BrokerEpoch(99),
            },
            config("nothing", None),
        ] {
            let (mut image, _) = fold(&[register(1, 0)]);
            let (before, mut delta) = (image.clone(), MetadataDelta::default());
            image.apply(&record, 1, LeaderEpoch(3), &mut delta);
            (image.offset, delta.configs) = (before.offset, BTreeSet::new());
            assert_eq!((image, delta), (before, MetadataDelta::default()), "{record:?}");
        }
    }

    #[test]
    fn a_delta_names_what_was_touched() {
        let (image, delta) = fold(&history());
        assert_eq!(delta.brokers, nodes(&[1, 2]).into_iter().collect());
        assert_eq!(delta.partitions, BTreeSet::from([P0]));
        assert_eq!(delta.configs, ["", "t"].map(String::from).into());
        assert_eq!((image.offset, image.epoch), (13, LeaderEpoch(3)));
        assert_eq!(image.last_known_elr(P0), nodes(&[2]));
        assert_eq!(image.topic("t").unwrap().id, TOPIC);
        assert_eq!(image.configs["t"]["retention.ms"], "3");
    }
}
