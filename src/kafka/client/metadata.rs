//! What a client knows of the cluster: brokers, and the leader and leader epoch of each partition of its topics.
//!
//! Guarantees: of a partition, an older leader epoch never replaces a newer one, so a client that asked a stale broker
//! does not go back to a deposed leader; a topic with another id is another topic and starts from nothing.
//! One request at a time, never sooner than the backoff after the last.
//! Does not know: what its leaders are asked for.
//!
//! Sources: Kafka 4.1 `Metadata`; KIP-320 (epochs), KIP-516 (topic ids), KIP-951 (leader in the answer).

use super::backoff::{Alarm, after_ms, delay_ms};
use super::config::{Endpoint, NetworkSettings};
use crate::machine::Entropy;
use crate::types::{LeaderEpoch, Nanos, NodeId, Now, Uuid};
use crate::wire::ErrorCode;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet};

/// Who leads a partition, and since which epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LeaderAndEpoch {
    /// `None`: nobody, for now.
    pub leader: Option<NodeId>,
    /// `None`: not told.
    pub epoch: Option<LeaderEpoch>,
}

/// A topic as the newest metadata has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicMetadata {
    /// Nil if not told.
    pub id: Uuid,
    /// What the newest answer said of the topic as a whole. With an error the topic is not usable, but the epochs that
    /// were seen are kept: a broker that is behind must not bring an older leader back.
    pub error: ErrorCode,
    /// By partition.
    pub partitions: BTreeMap<i32, LeaderAndEpoch>,
}

/// The cache, and when it is to be refreshed.
#[derive(Clone, Debug)]
pub struct Metadata {
    settings: NetworkSettings,
    entropy: Entropy,
    brokers: BTreeMap<NodeId, Endpoint>,
    topics: BTreeMap<String, TopicMetadata>,
    wanted: BTreeSet<String>,
    needed: bool,
    in_flight: bool,
    last_success: Option<Nanos>,
    /// No request before.
    next_attempt: Nanos,
    /// Requests in a row that failed or left something unknown.
    failures: u32,
    /// Grows with every change.
    generation: u64,
}

impl Metadata {
    /// Nothing is known, nothing is wanted.
    pub fn new(settings: NetworkSettings, entropy: Entropy) -> Metadata {
        Metadata {
            settings,
            entropy,
            brokers: BTreeMap::new(),
            topics: BTreeMap::new(),
            wanted: BTreeSet::new(),
            needed: false,
            in_flight: false,
            last_success: None,
            next_attempt: Nanos(0),
            failures: 0,
            generation: 0,
        }
    }

    /// Adds a topic to what is asked for. A topic that is not known yet is asked for now.
    pub fn want(&mut self, topic: &str) {
        if !self.wanted.contains(topic) {
            self.wanted.insert(topic.to_owned());
            self.needed = true;
        }
    }

    /// Asks for these topics and no others.
    pub fn want_only(&mut self, topics: impl Iterator<Item = String>) {
        let wanted: BTreeSet<String> = topics.collect();
        self.topics.retain(|topic, _| wanted.contains(topic));
        self.needed |= !wanted.is_subset(&self.wanted);
        self.wanted = wanted;
    }

    /// Something turned out to be stale, or is missing.
    pub fn request_update(&mut self) {
        self.needed = true;
    }

    /// Grows with every change of what is known.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether any answer has come yet.
    pub fn is_known(&self) -> bool {
        self.last_success.is_some()
    }

    /// The brokers.
    pub fn brokers(&self) -> impl Iterator<Item = (NodeId, &Endpoint)> {
        self.brokers.iter().map(|(id, endpoint)| (*id, endpoint))
    }

    /// Whether a broker is among them.
    pub fn has_broker(&self, id: NodeId) -> bool {
        self.brokers.contains_key(&id)
    }

    /// A topic that exists, as far as is known.
    pub fn topic(&self, name: &str) -> Option<&TopicMetadata> {
        self.topics.get(name).filter(|topic| topic.error.is_none())
    }

    /// An error of the topic that waiting does not mend, such as an invalid name.
    pub fn fatal_error(&self, name: &str) -> Option<ErrorCode> {
        let error = self.topics.get(name)?.error;
        (!error.is_none() && !error.retriable()).then_some(error)
    }

    /// The name of a topic.
    pub fn topic_name(&self, id: Uuid) -> Option<&str> {
        let (name, _) = self.topics.iter().find(|(_, topic)| topic.id == id)?;
        Some(name)
    }

    /// The leader of a partition that exists, as far as is known. A leader that is not among the brokers counts as none.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<LeaderAndEpoch> {
        let known = self.topic(topic)?.partitions.get(&partition)?;
        Some(LeaderAndEpoch {
            leader: known.leader.filter(|leader| self.brokers.contains_key(leader)),
            epoch: known.epoch,
        })
    }

    /// An answer named a newer leader (KIP-951). True if that is news.
    pub fn learn_leader(&mut self, topic: &str, partition: i32, leader: NodeId, epoch: LeaderEpoch) -> bool {
        if leader.0 < 0 || !self.brokers.contains_key(&leader) {
            return false;
        }
        let Some(known) = self
            .topics
            .get_mut(topic)
            .and_then(|t| t.partitions.get_mut(&partition))
        else {
            return false;
        };
        let news = known.epoch.is_some_and(|known| known < epoch);
        if news {
            *known = LeaderAndEpoch {
                leader: Some(leader),
                epoch: Some(epoch),
            };
            self.generation += 1;
        }
        news
    }

    /// A broker that an answer named along with a leader (KIP-951). True if it was unknown; one that is known stays as
    /// it is until the next metadata.
    pub fn learn_broker(&mut self, id: NodeId, endpoint: Endpoint) -> bool {
        if id.0 < 0 || self.brokers.contains_key(&id) {
            return false;
        }
        self.brokers.insert(id, endpoint);
        true
    }

    /// An answer spoke of a newer epoch than ours: our leader is stale.
    pub fn learn_epoch(&mut self, topic: &str, partition: i32, epoch: LeaderEpoch) {
        let known = self.leader(topic, partition).and_then(|leader| leader.epoch);
        if known.is_some_and(|known| known < epoch) {
            self.needed = true;
        }
    }

    /// Whether a request is due.
    pub fn is_due(&self, now: Now) -> bool {
        let aged = self
            .last_success
            .is_some_and(|at| !self.wanted.is_empty() && after_ms(at, self.settings.metadata_max_age_ms) <= now.mono);
        (self.needed || aged) && !self.in_flight && now.mono >= self.next_attempt
    }

    /// The request; it counts as sent.
    pub fn request(&mut self, now: Now) -> MetadataRequest {
        assert!(!self.in_flight, "one metadata request at a time");
        self.in_flight = true;
        self.needed = false;
        self.back_off(now);
        let topics = self.wanted.iter().map(|topic| {
            let name = TopicName(StrBytes::from_string(topic.clone()));
            MetadataRequestTopic::default().with_name(Some(name))
        });
        MetadataRequest::default()
            .with_topics(Some(topics.collect()))
            .with_allow_auto_topic_creation(self.settings.allow_auto_topic_creation)
    }

    /// The request has no answer.
    pub fn failed(&mut self, now: Now) {
        self.in_flight = false;
        self.needed = true;
        self.failures = self.failures.saturating_add(1);
        self.back_off(now);
    }

    /// The answer to the request.
    pub fn update(&mut self, response: &MetadataResponse, now: Now) {
        self.in_flight = false;
        self.last_success = Some(now.mono);
        self.generation += 1;
        // A broker that has just started knows nobody yet; what we know is worth more.
        if !response.brokers.is_empty() {
            let brokers = response.brokers.iter();
            self.brokers = brokers
                .map(|broker| (NodeId(*broker.node_id), endpoint(&broker.host, broker.port)))
                .collect();
        }
        let mut complete = !response.brokers.is_empty();
        for topic in &response.topics {
            let Some(name) = topic.name.as_ref().map(|name| name.as_str()) else {
                continue;
            };
            if self.wanted.contains(name) {
                complete &= self.update_topic(name, topic);
            }
        }
        if complete {
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
            self.needed = true;
        }
        self.back_off(now);
    }

    /// Names the instants at which something is to be done here.
    pub fn alarms(&self, alarm: &mut Alarm) {
        if self.in_flight {
            return;
        }
        if self.needed {
            alarm.at(self.next_attempt);
        }
        if let Some(at) = self.last_success.filter(|_| !self.wanted.is_empty()) {
            alarm.at(after_ms(at, self.settings.metadata_max_age_ms));
        }
    }

    fn back_off(&mut self, now: Now) {
        let delay = delay_ms(
            self.settings.retry_backoff_ms,
            self.settings.retry_backoff_max_ms,
            self.failures.max(1),
            &mut self.entropy,
        );
        self.next_attempt = now.mono.plus_ms(delay);
    }

    /// False if something of it is worth asking again for.
    fn update_topic(&mut self, name: &str, new: &MetadataResponseTopic) -> bool {
        let error = ErrorCode(new.error_code);
        if !error.is_none() {
            let topic = self.topics.entry(name.to_owned()).or_insert_with(|| TopicMetadata {
                id: Uuid::nil(),
                error,
                partitions: BTreeMap::new(),
            });
            topic.error = error;
            return !error.retriable();
        }
        let old = self.topics.get(name).filter(|old| old.id == new.topic_id);
        let mut complete = true;
        let mut partitions = BTreeMap::new();
        for partition in &new.partitions {
            let known = old
                .and_then(|old| old.partitions.get(&partition.partition_index))
                .copied();
            let leader = newer(known, leader_and_epoch(partition));
            complete &= leader.leader.is_some() && !ErrorCode(partition.error_code).retriable();
            partitions.insert(partition.partition_index, leader);
        }
        // A broker that is behind may not have heard of the newest partitions.
        if let Some(old) = old {
            for (partition, leader) in &old.partitions {
                partitions.entry(*partition).or_insert(*leader);
            }
        }
        let topic = TopicMetadata {
            id: new.topic_id,
            error,
            partitions,
        };
        self.topics.insert(name.to_owned(), topic);
        complete
    }
}

/// KIP-320: the one with the higher epoch; of equals, the new one.
fn newer(known: Option<LeaderAndEpoch>, new: LeaderAndEpoch) -> LeaderAndEpoch {
    match known {
        Some(known) if known.epoch.is_some() && new.epoch.is_some() && known.epoch > new.epoch => known,
        _ => new,
    }
}

fn leader_and_epoch(partition: &MetadataResponsePartition) -> LeaderAndEpoch {
    LeaderAndEpoch {
        leader: Some(NodeId(*partition.leader_id)).filter(|id| id.0 >= 0),
        epoch: Some(LeaderEpoch(partition.leader_epoch)).filter(|epoch| epoch.0 >= 0),
    }
}

/// A listener as the wire has it. A port that cannot be is 0, which nobody listens on.
pub(super) fn endpoint(host: &StrBytes, port: i32) -> Endpoint {
    Endpoint {
        host: host.as_str().to_owned(),
        port: u16::try_from(port).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
