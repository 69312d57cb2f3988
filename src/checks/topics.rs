//! What topics are called and what they promise, as the metadata log says.
//!
//! A promise changes while a run goes on: administrators change `min.insync.replicas` and unclean election, and nodes
//! hear of it at different times. Everybody is held to what was in force for *him*: a broker to what the metadata said up
//! to where it had applied it, the controller to what it had written, the decision at hand included ([`Terms`]).
//! Guarantees: a record that is not understood changes nothing; what a replaced controller wrote counts only if the log
//! of a later one has it.
//!
//! Sources: KIP-631 (TopicRecord, ConfigRecord, RemoveTopicRecord), KIP-516, KIP-966.

use super::batch::Batch;
use super::shadow::Cell;
use super::{Checks, TopicPromise};
use kafka::metadata::Record;
use kafka::types::{METADATA_PARTITION, Offset, TopicPartition, Uuid};

/// What a topic's configuration promises, as of each offset of the metadata log.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Terms {
    first: TopicPromise,
    /// In the order of writing, which for those that count is that of their offsets.
    changes: Vec<Change>,
}

/// A property that a metadata batch changes. Batches take effect as a whole.
#[derive(Clone, Copy, Debug, Hash)]
struct Change {
    base: Offset,
    epoch: i32,
    /// It stands in the log of the newest controller. One that was replaced may write on, and what it wrote counts again
    /// if it is elected before the log of its successor has reached anybody.
    counts: bool,
    to: Property,
}

#[derive(Clone, Copy, Debug, Hash)]
enum Property {
    MinInsyncReplicas(u32),
    UncleanLeaderElection(bool),
    FlushMessages(i64),
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
        let mut promise = self.first;
        for change in self.changes.iter().filter(|change| change.counts && change.base < end) {
            match change.to {
                Property::MinInsyncReplicas(number) => promise.min_insync_replicas = number,
                Property::UncleanLeaderElection(on) => promise.unclean_leader_election = on,
                Property::FlushMessages(number) => promise.flush_messages = number,
            }
        }
        promise
    }
}

impl Checks {
    /// The place of a partition's ghost, new or known.
    pub(super) fn partition(&mut self, id: TopicPartition) -> usize {
        let (topics, terms, context) = (&self.topics, &self.terms, &self.context);
        let at = self.ghost.partition(id, || {
            let name = topics.iter().find(|(_, known)| *known == id.topic);
            let known = name.and_then(|(name, _)| terms.get(name).cloned());
            known.unwrap_or_else(|| Terms::new(context.default_promise))
        });
        self.report.about(Some(at));
        at
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

    /// A controller wrote this: names, configurations, removals.
    pub(super) fn metadata_written(&mut self, batch: &Batch<'_>) {
        let counts = batch.epoch >= self.metadata_epoch;
        self.metadata_epoch = self.metadata_epoch.max(batch.epoch);
        if batch.control {
            return;
        }
        for (_, value) in batch.raw_values() {
            match Record::decode(value) {
                Ok(Record::Topic { name, id }) => self.topic_named(&name, id),
                Ok(Record::Config { topic, name, value }) => {
                    if let Some(to) = self.property(&name, value.as_deref())
                        && let Some(terms) = self.terms.get_mut(&topic)
                    {
                        let (base, epoch) = (batch.base, batch.epoch);
                        terms.changes.push(Change {
                            base,
                            epoch,
                            counts,
                            to,
                        });
                        self.spread_terms(&topic);
                    }
                }
                // Where it comes to be committed after all, the brokers that delete their replicas say so.
                Ok(Record::RemoveTopic { id }) if counts => {
                    let partitions = self.ghost.partitions.iter_mut();
                    for partition in partitions.filter(|p| p.id.topic == id && p.id != METADATA_PARTITION) {
                        partition.deleted.get_or_insert((batch.base, batch.epoch));
                    }
                }
                _ => {}
            }
        }
    }

    fn property(&self, name: &str, value: Option<&str>) -> Option<Property> {
        let default = self.context.default_promise;
        let number = value.and_then(|value| value.parse::<i64>().ok());
        Some(match name {
            "min.insync.replicas" => {
                let number = number.and_then(|number| u32::try_from(number).ok());
                Property::MinInsyncReplicas(number.unwrap_or(default.min_insync_replicas))
            }
            "unclean.leader.election.enable" => {
                let on = value.map(|value| value == "true" || value == "1");
                Property::UncleanLeaderElection(on.unwrap_or(default.unclean_leader_election))
            }
            "flush.messages" => Property::FlushMessages(number.unwrap_or(default.flush_messages)),
            _ => return None,
        })
    }

    /// A new controller's log says which of all that was ever written counts.
    pub(super) fn count_what_leader_has(&mut self, metadata: usize, leader: usize) {
        let log = &self.ghost.partitions[metadata].replicas[leader].log;
        let stands = |base: Offset, epoch: i32| match log.get(base) {
            // In its snapshot, or not known: as before.
            None if base < log.start => None,
            Some(Cell::HOLE) => None,
            found => Some(found.is_some_and(|cell| cell.epoch == epoch)),
        };
        for change in self.terms.values_mut().flat_map(|terms| &mut terms.changes) {
            change.counts = stands(change.base, change.epoch).unwrap_or(change.counts);
        }
        let gone: Vec<usize> = (0..self.ghost.partitions.len())
            .filter(|at| {
                let deleted = self.ghost.partitions[*at].deleted.filter(|(base, _)| *base >= 0);
                deleted.is_some_and(|(base, epoch)| stands(base, epoch) == Some(false))
            })
            .collect();
        for at in gone {
            self.ghost.partitions[at].deleted = None;
        }
        let names: Vec<String> = self.terms.keys().cloned().collect();
        names.iter().for_each(|name| self.spread_terms(name));
    }
}
