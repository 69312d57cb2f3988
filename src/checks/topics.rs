//! What topics are called and what they promise, as the metadata log says.
//!
//! A promise changes while a run goes on: administrators change `min.insync.replicas` and unclean election, and brokers
//! hear of it at different times. So a topic is held to the weakest promise that it has made so far, and the
//! controller's ELR to the strongest. Guarantees: a record that is not understood changes nothing.
//!
//! Sources: KIP-631 (TopicRecord, ConfigRecord, RemoveTopicRecord), KIP-516.

use super::batch::Batch;
use super::{Checks, TopicPromise};
use kafka::metadata::Record;
use kafka::types::{METADATA_PARTITION, TopicPartition, Uuid};

impl Checks {
    /// The place of a partition's ghost, new or known.
    pub(super) fn partition(&mut self, id: TopicPartition) -> usize {
        let (topics, promises, context) = (&self.topics, &self.promises, &self.context);
        self.ghost.partition(id, || {
            let name = topics
                .iter()
                .find(|(_, known)| *known == id.topic)
                .map(|(name, _)| name);
            name.and_then(|name| promises.get(name).copied()).unwrap_or_else(|| {
                let configured = name.and_then(|name| context.topics.get(name).copied());
                let promise = configured.unwrap_or(context.default_promise);
                (promise, promise.min_insync_replicas)
            })
        })
    }

    /// A topic has a name, or a name has another topic.
    pub(super) fn topic_named(&mut self, name: &str, id: Uuid) {
        if self.topics.iter().any(|(known, other)| known == name && *other == id) {
            return;
        }
        if self.topics.iter().any(|(known, _)| known == name) {
            self.history.retire(name);
        }
        self.topics.push((name.to_owned(), id));
        if let Some(promise) = self.context.topics.get(name).copied() {
            self.promise_changed(name, promise, promise.min_insync_replicas);
        }
    }

    /// The weakest promise of a topic so far, and the highest `min.insync.replicas`.
    fn promise_changed(&mut self, name: &str, promise: TopicPromise, highest: u32) {
        self.promises.insert(name.to_owned(), (promise, highest));
        let topics = &self.topics;
        let named = |id: &TopicPartition| topics.iter().any(|(known, topic)| known == name && *topic == id.topic);
        for partition in self
            .ghost
            .partitions
            .iter_mut()
            .filter(|partition| named(&partition.id))
        {
            partition.promise = promise;
            partition.highest_min_isr = highest;
        }
    }

    /// The active controller wrote this: names, configurations, removals.
    pub(super) fn metadata_written(&mut self, batch: &Batch<'_>) {
        if batch.control {
            return;
        }
        for (_, value) in batch.raw_values() {
            match Record::decode(value) {
                Ok(Record::Topic { name, id }) => self.topic_named(&name, id),
                Ok(Record::Config { topic, name, value }) => self.configured(&topic, &name, value.as_deref()),
                Ok(Record::RemoveTopic { id }) => {
                    for partition in self
                        .ghost
                        .partitions
                        .iter_mut()
                        .filter(|partition| partition.id.topic == id)
                    {
                        partition.deleted = partition.id != METADATA_PARTITION;
                    }
                }
                _ => {}
            }
        }
    }

    fn configured(&mut self, topic: &str, name: &str, value: Option<&str>) {
        if topic.is_empty() {
            return;
        }
        let default = self.context.default_promise;
        let known = self.promises.get(topic).copied();
        let (mut promise, mut highest) = known.unwrap_or_else(|| {
            let promise = self.context.topics.get(topic).copied().unwrap_or(default);
            (promise, promise.min_insync_replicas)
        });
        match name {
            "min.insync.replicas" => {
                let number = value
                    .and_then(|value| value.parse().ok())
                    .unwrap_or(default.min_insync_replicas);
                promise.min_insync_replicas = promise.min_insync_replicas.min(number);
                highest = highest.max(number);
            }
            "unclean.leader.election.enable" => {
                promise.unclean_leader_election |= value == Some("true") || value == Some("1")
            }
            "flush.messages" => {
                let number = value
                    .and_then(|value| value.parse().ok())
                    .unwrap_or(default.flush_messages);
                promise.flush_messages = promise.flush_messages.max(number);
            }
            _ => return,
        }
        self.promise_changed(topic, promise, highest);
    }
}
