//! What topics are called and what they promise, as the metadata log says.
//!
//! A promise changes while a run goes on: administrators change `min.insync.replicas` and unclean election, and nodes
//! hear of it at different times. Everybody is held to what was in force for *him*: a broker to what the metadata said up
//! to where it had applied it, the controller to what it had written, the decision at hand included ([`Terms`]).
//! Guarantees: a record that is not understood changes nothing; what a replaced controller wrote and nobody committed
//! never counts.
//!
//! Sources: KIP-631 (TopicRecord, ConfigRecord, RemoveTopicRecord), KIP-516, KIP-966.

use super::batch::Batch;
use super::{Checks, TopicPromise};
use kafka::metadata::Record;
use kafka::types::{METADATA_PARTITION, Offset, TopicPartition, Uuid};

/// What a topic's configuration promises, as of each offset of the metadata log.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    first: TopicPromise,
    /// Base offset of the metadata batch that changed them, ascending: a batch takes effect as a whole.
    changes: Vec<(Offset, TopicPromise)>,
}

impl Terms {
    /// These, until something changes.
    pub fn new(first: TopicPromise) -> Terms {
        Terms {
            first,
            changes: Vec::new(),
        }
    }

    /// In force for who knows the metadata log below `end`.
    pub fn below(&self, end: Offset) -> TopicPromise {
        let known = self.changes.iter().rev().find(|(base, _)| *base < end);
        known.map_or(self.first, |(_, promise)| *promise)
    }

    /// The batch at `base` changes something.
    fn change(&mut self, base: Offset, change: impl FnOnce(&mut TopicPromise)) {
        let mut promise = self.below(Offset::MAX);
        change(&mut promise);
        self.changes.push((base, promise));
    }

    /// What stood at `base` and above was never committed.
    fn revoke(&mut self, base: Offset) {
        self.changes.retain(|(at, _)| *at < base);
    }
}

impl Checks {
    /// The place of a partition's ghost, new or known.
    pub(super) fn partition(&mut self, id: TopicPartition) -> usize {
        let (topics, terms, context) = (&self.topics, &self.terms, &self.context);
        self.ghost.partition(id, || {
            let name = topics.iter().find(|(_, known)| *known == id.topic);
            let known = name.and_then(|(name, _)| terms.get(name).cloned());
            known.unwrap_or_else(|| Terms::new(context.default_promise))
        })
    }

    /// A topic has a name, or a name has another topic.
    pub(super) fn topic_named(&mut self, name: &str, id: Uuid) {
        if self.topics.iter().any(|(known, other)| known == name && *other == id) {
            return;
        }
        let again = self.topics.iter().any(|(known, _)| known == name);
        if again {
            self.history.retire(name);
        }
        self.topics.push((name.to_owned(), id));
        // What the first of a name was created with is known beforehand. Another begins without properties.
        let configured = self.context.topics.get(name).copied().filter(|_| !again);
        let first = configured.unwrap_or(self.context.default_promise);
        self.terms.insert(name.to_owned(), Terms::new(first));
        self.spread_terms(name);
    }

    /// The newest topic of this name makes this promise.
    fn spread_terms(&mut self, name: &str) {
        let newest = self.topics.iter().rev().find(|(known, _)| known == name);
        let (Some((_, id)), Some(terms)) = (newest, self.terms.get(name)) else {
            return;
        };
        for partition in self.ghost.partitions.iter_mut().filter(|p| p.id.topic == *id) {
            partition.terms = terms.clone();
        }
    }

    /// The active controller wrote this: names, configurations, removals.
    pub(super) fn metadata_written(&mut self, batch: &Batch<'_>) {
        if batch.epoch < self.metadata_epoch {
            // By a controller that was replaced: it will never be committed.
            return;
        }
        if batch.epoch > self.metadata_epoch {
            self.metadata_epoch = batch.epoch;
            self.revoke(batch.base);
        }
        if batch.control {
            return;
        }
        for (_, value) in batch.raw_values() {
            match Record::decode(value) {
                Ok(Record::Topic { name, id }) => self.topic_named(&name, id),
                Ok(Record::Config { topic, name, value }) => {
                    self.configured(batch.base, &topic, &name, value.as_deref());
                }
                Ok(Record::RemoveTopic { id }) => {
                    let partitions = self.ghost.partitions.iter_mut();
                    for partition in partitions.filter(|p| p.id.topic == id && p.id != METADATA_PARTITION) {
                        partition.deleted.get_or_insert(batch.base);
                    }
                }
                _ => {}
            }
        }
    }

    /// A new controller's log begins at `base`: what the one before had written there and above is gone.
    fn revoke(&mut self, base: Offset) {
        for terms in self.terms.values_mut() {
            terms.revoke(base);
        }
        for partition in &mut self.ghost.partitions {
            partition.terms.revoke(base);
            partition.deleted = partition.deleted.filter(|at| *at < base);
        }
    }

    fn configured(&mut self, base: Offset, topic: &str, name: &str, value: Option<&str>) {
        let default = self.context.default_promise;
        let number = value.and_then(|value| value.parse::<i64>().ok());
        let Some(terms) = self.terms.get_mut(topic) else {
            return;
        };
        terms.change(base, |promise| match name {
            "min.insync.replicas" => {
                let number = number.and_then(|number| u32::try_from(number).ok());
                promise.min_insync_replicas = number.unwrap_or(default.min_insync_replicas);
            }
            "unclean.leader.election.enable" => {
                promise.unclean_leader_election =
                    value.map_or(default.unclean_leader_election, |value| value == "true" || value == "1");
            }
            "flush.messages" => promise.flush_messages = number.unwrap_or(default.flush_messages),
            _ => {}
        });
        self.spread_terms(topic);
    }
}
