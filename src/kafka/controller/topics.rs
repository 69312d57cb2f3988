//! Topics: creation, deletion, more partitions.
//!
//! Guarantees: a topic is created whole or not at all; each new partition has a leader that lives; at most
//! [`MAX_PARTITIONS_PER_REQUEST`] partitions come from one request, so that no request can fill the metadata log.
//!
//! Sources: KIP-4, KIP-195 (CreatePartitions), KIP-516 (topic ids); `ControllerApis`, `ReplicationControlManager`,
//! `Topic.validate`.

use super::{Batch, Controller, Refusal, configs, placement};
use crate::metadata::{Reassignment, Record};
use crate::note::PartitionState;
use crate::types::{LeaderEpoch, METADATA_TOPIC, NodeId, PartitionEpoch, TopicPartition, Uuid, flaw_of_topic_name};
use crate::wire::ErrorCode;
use crate::wire::ids::node_ids;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet};

/// Kafka's `MAX_PARTITIONS_PER_BATCH`.
const MAX_PARTITIONS_PER_REQUEST: i64 = 10_000;

/// Where a property's value comes from, as clients are told.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_DEFAULT: i8 = 5;

fn too_many_partitions() -> Refusal {
    Refusal::new(
        ErrorCode::POLICY_VIOLATION,
        "Excessively large number of partitions per request.",
    )
}

/// Topics whose names differ only in dots and underscores share names of metrics in Kafka, so they may not coexist.
fn unify(name: &str) -> String {
    name.replace('.', "_")
}

fn has_collision_chars(name: &str) -> bool {
    name.contains(['.', '_'])
}

fn validate_name(name: &str) -> Result<(), Refusal> {
    match flaw_of_topic_name(name) {
        None => Ok(()),
        Some(why) => Err(Refusal::new(
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            format!("Topic name is invalid: {why}"),
        )),
    }
}

/// Names that occur more than once.
fn duplicates<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).collect()
}

impl Controller {
    pub(super) fn create_topics(
        &mut self,
        request: &CreateTopicsRequest,
        batch: &mut Batch<'_>,
    ) -> CreateTopicsResponse {
        let duplicates = duplicates(request.topics.iter().map(|topic| topic.name.as_str()));
        let defaults = self.settings.num_partitions;
        let wanted = request.topics.iter().map(|topic| match topic.num_partitions {
            _ if !topic.assignments.is_empty() => topic.assignments.len() as i64,
            -1 => defaults,
            number => i64::from(number.max(0)),
        });
        let is_excessive = wanted.sum::<i64>() > MAX_PARTITIONS_PER_REQUEST;
        let mut results = Vec::with_capacity(request.topics.len());
        let mut refused = BTreeSet::new();
        for topic in &request.topics {
            let name = topic.name.as_str();
            let result = if duplicates.contains(name) {
                if !refused.insert(name) {
                    continue;
                }
                Err(Refusal::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name."))
            } else if is_excessive {
                Err(too_many_partitions())
            } else {
                self.create_topic(topic, request.validate_only, batch)
            };
            results.push(result.unwrap_or_else(|refusal| {
                CreatableTopicResult::default()
                    .with_name(topic.name.clone())
                    .with_error_code(refusal.code.0)
                    .with_error_message(refusal.message())
                    .with_configs(None)
            }));
        }
        CreateTopicsResponse::default().with_topics(results)
    }

    fn create_topic(
        &mut self,
        topic: &CreatableTopic,
        validate_only: bool,
        batch: &mut Batch<'_>,
    ) -> Result<CreatableTopicResult, Refusal> {
        let name = topic.name.as_str();
        self.validate_new_name(name)?;
        let mut own = BTreeMap::new();
        for config in &topic.configs {
            configs::validate(&config.name, config.value.as_deref())?;
            own.insert(
                config.name.to_string(),
                config.value.as_ref().map(ToString::to_string).unwrap_or_default(),
            );
        }
        let partitions = self.assign_new_topic(topic)?;
        let id = self.new_topic_id();
        let replication_factor = partitions[0].replicas.len() as i16;
        let result = CreatableTopicResult::default()
            .with_name(topic.name.clone())
            .with_topic_id(id)
            .with_error_message(None)
            .with_num_partitions(partitions.len() as i32)
            .with_replication_factor(replication_factor)
            .with_configs(Some(self.describe_configs(&own)));
        if !validate_only {
            self.write(
                Record::Topic {
                    name: name.to_owned(),
                    id,
                },
                batch,
            );
            for (property, value) in own {
                let record = Record::Config {
                    topic: name.to_owned(),
                    name: property,
                    value: Some(value),
                };
                self.write(record, batch);
            }
            for (index, state) in partitions.into_iter().enumerate() {
                self.write_new_partition(
                    TopicPartition {
                        topic: id,
                        partition: index as i32,
                    },
                    state,
                    batch,
                );
            }
        }
        Ok(result)
    }

    fn validate_new_name(&self, name: &str) -> Result<(), Refusal> {
        if name == METADATA_TOPIC {
            let message = format!("Creation of internal topic {name} is prohibited.");
            return Err(Refusal::new(ErrorCode::INVALID_REQUEST, message));
        }
        validate_name(name)?;
        if self.image.topic_ids.contains_key(name) {
            return Err(Refusal::new(
                ErrorCode::TOPIC_ALREADY_EXISTS,
                format!("Topic '{name}' already exists."),
            ));
        }
        if has_collision_chars(name) {
            let unified = unify(name);
            let mut existing = self.image.topic_ids.keys();
            if let Some(other) = existing.find(|other| has_collision_chars(other) && unify(other) == unified) {
                let message = format!("Topic '{name}' collides with existing topic: {other}");
                return Err(Refusal::new(ErrorCode::INVALID_TOPIC_EXCEPTION, message));
            }
        }
        Ok(())
    }

    fn new_topic_id(&mut self) -> Uuid {
        loop {
            let (high, low) = (self.entropy.next_u64(), self.entropy.next_u64());
            let bits = u128::from(high) << 64 | u128::from(low);
            let id = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
            if !self.image.topics.contains_key(&id) {
                return id;
            }
        }
    }

    fn describe_configs(&self, own: &BTreeMap<String, String>) -> Vec<CreatableTopicConfigs> {
        let config = self.topic_config(own);
        let mut names = crate::config::TopicConfig::NAMES.to_vec();
        names.sort_unstable();
        let describe = |name: &'static str| {
            CreatableTopicConfigs::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(config.text(name).map(StrBytes::from_string))
                .with_config_source(if own.contains_key(name) {
                    SOURCE_TOPIC
                } else {
                    SOURCE_DEFAULT
                })
        };
        names.into_iter().map(describe).collect()
    }

    /// First states of all partitions, by index; at least one.
    fn assign_new_topic(&mut self, topic: &CreatableTopic) -> Result<Vec<PartitionState>, Refusal> {
        if !topic.assignments.is_empty() {
            return self.assign_by_hand(topic);
        }
        let replication_factor = match i64::from(topic.replication_factor) {
            -1 => self.settings.default_replication_factor,
            ..=0 => {
                let message = "Replication factor must be larger than 0, or -1 to use the default value.";
                return Err(Refusal::new(ErrorCode::INVALID_REPLICATION_FACTOR, message));
            }
            number => number,
        };
        let partitions = match i64::from(topic.num_partitions) {
            -1 => self.settings.num_partitions,
            ..=0 => {
                let message = "Number of partitions was set to an invalid non-positive value.";
                return Err(Refusal::new(ErrorCode::INVALID_PARTITIONS, message));
            }
            number => number,
        };
        self.assign_by_chance(partitions as usize, replication_factor as usize)
    }

    fn assign_by_chance(&mut self, partitions: usize, factor: usize) -> Result<Vec<PartitionState>, Refusal> {
        let assignments = placement::place(&self.image, partitions, factor, &mut self.entropy)?;
        let states = assignments.into_iter().map(|replicas| self.first_state(replicas));
        states.collect::<Option<_>>().ok_or_else(|| {
            let message = format!(
                "Unable to replicate the partition {factor} time(s): All brokers are currently fenced or in \
                 controlled shutdown."
            );
            Refusal::new(ErrorCode::INVALID_REPLICATION_FACTOR, message)
        })
    }

    fn assign_by_hand(&self, topic: &CreatableTopic) -> Result<Vec<PartitionState>, Refusal> {
        let refuse = |code, what: &str| {
            let message = format!("A manual partition assignment was specified, but {what} was not set to -1.");
            Err(Refusal::new(code, message))
        };
        if topic.replication_factor != -1 {
            return refuse(ErrorCode::INVALID_REQUEST, "replication factor");
        }
        if topic.num_partitions != -1 {
            return refuse(ErrorCode::INVALID_REQUEST, "numPartitions");
        }
        let mut states = BTreeMap::new();
        let mut factor = None;
        for assignment in &topic.assignments {
            let index = assignment.partition_index;
            let state = self.state_by_hand(index, node_ids(&assignment.broker_ids), &mut factor)?;
            if states.insert(index, state).is_some() {
                let message = format!("Found multiple manual partition assignments for partition {index}");
                return Err(Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
            }
        }
        if !states.keys().copied().eq(0..states.len() as i32) {
            let message = "partitions should be a consecutive 0-based integer sequence";
            return Err(Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
        }
        Ok(states.into_values().collect())
    }

    /// Refuses replicas that somebody chose and no partition can have.
    pub(super) fn validate_replicas(&self, replicas: &[NodeId]) -> Result<(), Refusal> {
        let refuse = |why: String| Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why);
        if replicas.is_empty() {
            return Err(refuse(
                "The manual partition assignment includes an empty replica list.".into(),
            ));
        }
        let mut seen = BTreeSet::new();
        for replica in replicas {
            if !self.image.brokers.contains_key(replica) {
                let message = format!(
                    "The manual partition assignment includes broker {replica}, but no such broker is registered."
                );
                return Err(refuse(message));
            }
            if !seen.insert(*replica) {
                let message = format!("The manual partition assignment includes the broker {replica} more than once.");
                return Err(refuse(message));
            }
        }
        Ok(())
    }

    /// The first state of a partition whose replicas were chosen by somebody; `factor` is that of earlier partitions.
    fn state_by_hand(
        &self,
        index: i32,
        replicas: Vec<NodeId>,
        factor: &mut Option<usize>,
    ) -> Result<PartitionState, Refusal> {
        let refuse = |why: String| Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why);
        self.validate_replicas(&replicas)?;
        let expected = *factor.get_or_insert(replicas.len());
        if replicas.len() != expected {
            return Err(refuse(format!(
                "The manual partition assignment includes a partition with {} replica(s), but this is not consistent \
                 with previous partitions, which have {expected} replica(s).",
                replicas.len()
            )));
        }
        self.first_state(replicas).ok_or_else(|| {
            refuse(format!(
                "All brokers specified in the manual partition assignment for partition {index} are fenced or in \
                 controlled shutdown."
            ))
        })
    }

    /// All replicas that live are in sync, since there is nothing yet; the first of them leads. None if none lives.
    fn first_state(&self, replicas: Vec<NodeId>) -> Option<PartitionState> {
        let isr: Vec<NodeId> = replicas
            .iter()
            .copied()
            .filter(|replica| self.is_active(*replica))
            .collect();
        Some(PartitionState {
            leader: Some(*isr.first()?),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            replicas,
            isr,
            elr: Vec::new(),
        })
    }

    fn write_new_partition(&mut self, partition: TopicPartition, state: PartitionState, batch: &mut Batch<'_>) {
        self.write(
            Record::Partition {
                partition,
                state,
                last_known_elr: Vec::new(),
                reassignment: Reassignment::default(),
            },
            batch,
        );
    }

    pub(super) fn delete_topics(
        &mut self,
        request: &DeleteTopicsRequest,
        batch: &mut Batch<'_>,
    ) -> DeleteTopicsResponse {
        // Names up to version 5, names or ids from version 6 on.
        let by_name = request.topic_names.iter().map(|name| (Some(name), Uuid::nil()));
        let by_either = request.topics.iter().map(|topic| (topic.name.as_ref(), topic.topic_id));
        let wanted: Vec<(Option<&TopicName>, Uuid)> = by_name.chain(by_either).collect();
        let resolved: Vec<_> = wanted.iter().map(|(name, id)| self.find_topic(*name, *id)).collect();
        let mut times: BTreeMap<Uuid, usize> = BTreeMap::new();
        for found in resolved.iter().flatten() {
            *times.entry(*found).or_default() += 1;
        }
        let mut responses = Vec::with_capacity(wanted.len());
        let mut refused = BTreeSet::new();
        for ((name, id), found) in wanted.iter().zip(&resolved) {
            let response = DeletableTopicResult::default()
                .with_name(name.cloned())
                .with_topic_id(*id);
            let response = match found {
                Err(refusal) => response
                    .with_error_code(refusal.code.0)
                    .with_error_message(refusal.message()),
                Ok(found) if times[found] > 1 => {
                    // Asked for twice: nobody knows what was meant, so nothing is deleted, and it is said once.
                    if !refused.insert(*found) {
                        continue;
                    }
                    let message = StrBytes::from_static_str("Duplicate topic name or id.");
                    response
                        .with_error_code(ErrorCode::INVALID_REQUEST.0)
                        .with_error_message(Some(message))
                }
                Ok(found) => {
                    let name = TopicName(StrBytes::from_string(self.image.topics[found].name.clone()));
                    self.write(Record::RemoveTopic { id: *found }, batch);
                    response
                        .with_name(Some(name))
                        .with_topic_id(*found)
                        .with_error_message(None)
                }
            };
            responses.push(response);
        }
        DeleteTopicsResponse::default().with_responses(responses)
    }

    fn find_topic(&self, name: Option<&TopicName>, id: Uuid) -> Result<Uuid, Refusal> {
        match (name, id.is_nil()) {
            (Some(name), true) => {
                let id = self.image.topic_ids.get(name.as_str());
                id.copied().ok_or_else(|| ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.into())
            }
            (None, false) if self.image.topics.contains_key(&id) => Ok(id),
            (None, false) => Err(ErrorCode::UNKNOWN_TOPIC_ID.into()),
            (Some(_), false) => {
                let message = "You may not specify both topic name and topic id.";
                Err(Refusal::new(ErrorCode::INVALID_REQUEST, message))
            }
            (None, true) => Err(Refusal::new(
                ErrorCode::INVALID_REQUEST,
                "Neither topic name nor id were specified.",
            )),
        }
    }

    pub(super) fn create_partitions(
        &mut self,
        request: &CreatePartitionsRequest,
        batch: &mut Batch<'_>,
    ) -> CreatePartitionsResponse {
        let duplicates = duplicates(request.topics.iter().map(|topic| topic.name.as_str()));
        let mut results = Vec::with_capacity(request.topics.len());
        let mut refused = BTreeSet::new();
        let mut budget = MAX_PARTITIONS_PER_REQUEST;
        for topic in &request.topics {
            let name = topic.name.as_str();
            let result = if duplicates.contains(name) {
                if !refused.insert(name) {
                    continue;
                }
                Err(Refusal::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name."))
            } else {
                self.add_partitions(topic, request.validate_only, &mut budget, batch)
            };
            let response = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
            results.push(match result {
                Ok(()) => response.with_error_message(None),
                Err(refusal) => response
                    .with_error_code(refusal.code.0)
                    .with_error_message(refusal.message()),
            });
        }
        CreatePartitionsResponse::default().with_results(results)
    }

    fn add_partitions(
        &mut self,
        topic: &CreatePartitionsTopic,
        validate_only: bool,
        budget: &mut i64,
        batch: &mut Batch<'_>,
    ) -> Result<(), Refusal> {
        let name = topic.name.as_str();
        let known = self.image.topic(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let (id, start) = (known.id, known.partitions.len() as i32);
        let factor = known.partitions.values().next().map(|state| state.replicas.len());
        let factor = factor.ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)?;
        if topic.count <= start {
            let message = format!(
                "The topic {name} currently has {start} partition(s); {} would not be an increase.",
                topic.count
            );
            return Err(Refusal::new(ErrorCode::INVALID_PARTITIONS, message));
        }
        let additional = topic.count - start;
        *budget -= i64::from(additional);
        if *budget < 0 {
            return Err(too_many_partitions());
        }
        let states = match &topic.assignments {
            None => self.assign_by_chance(additional as usize, factor)?,
            Some(assignments) if assignments.len() != additional as usize => {
                let message = format!(
                    "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                    assignments.len()
                );
                return Err(Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
            }
            Some(assignments) => {
                let by_hand = |(at, assignment): (usize, &_)| {
                    let assignment: &kafka_protocol::messages::create_partitions_request::CreatePartitionsAssignment =
                        assignment;
                    self.state_by_hand(start + at as i32, node_ids(&assignment.broker_ids), &mut Some(factor))
                };
                assignments
                    .iter()
                    .enumerate()
                    .map(by_hand)
                    .collect::<Result<Vec<_>, _>>()?
            }
        };
        if !validate_only {
            for (at, state) in states.into_iter().enumerate() {
                self.write_new_partition(
                    TopicPartition {
                        topic: id,
                        partition: start + at as i32,
                    },
                    state,
                    batch,
                );
            }
        }
        Ok(())
    }
}
