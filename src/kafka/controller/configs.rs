//! Properties of topics and of the cluster.
//!
//! Guarantees: a value that a topic cannot have is never written; a lower `min.insync.replicas` takes effect on the ELR
//! in the same decision.
//! Deliberately not here: properties of single brokers, lists (no property of ours is one), AlterConfigs.
//!
//! Sources: KIP-339; `ConfigurationControlManager`; KIP-966 for the ELR.

use super::{Batch, Controller, Refusal};
use crate::config::TopicConfig;
use crate::metadata::Record;
use crate::wire::ErrorCode;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use std::collections::BTreeSet;

const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Refuses what a topic cannot have.
pub(super) fn validate(name: &str, value: Option<&str>) -> Result<(), Refusal> {
    let refuse = |why: String| Refusal::new(ErrorCode::INVALID_CONFIG, why);
    let value = value.ok_or_else(|| refuse(format!("Null value not supported for topic configs: {name}")))?;
    TopicConfig::default()
        .set(name, value)
        .map_err(|why| refuse(format!("property `{name}` {why}")))
}

impl Controller {
    pub(super) fn alter_configs(
        &mut self,
        request: &IncrementalAlterConfigsRequest,
        batch: &mut Batch<'_>,
    ) -> IncrementalAlterConfigsResponse {
        let mut seen = BTreeSet::new();
        let mut responses = Vec::with_capacity(request.resources.len());
        for resource in &request.resources {
            let is_first = seen.insert((resource.resource_type, resource.resource_name.clone()));
            let response = AlterConfigsResourceResponse::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            let result = if is_first {
                self.alter_resource(resource, request.validate_only, batch)
            } else {
                Err(Refusal::new(
                    ErrorCode::INVALID_REQUEST,
                    "Each resource must appear at most once.",
                ))
            };
            responses.push(match result {
                Ok(()) => response.with_error_message(None),
                Err(refusal) => response
                    .with_error_code(refusal.code.0)
                    .with_error_message(refusal.message()),
            });
        }
        IncrementalAlterConfigsResponse::default().with_responses(responses)
    }

    fn alter_resource(
        &mut self,
        resource: &AlterConfigsResource,
        validate_only: bool,
        batch: &mut Batch<'_>,
    ) -> Result<(), Refusal> {
        let topic = resource.resource_name.as_str();
        match (resource.resource_type, topic.is_empty()) {
            (RESOURCE_BROKER, true) => {}
            (RESOURCE_TOPIC, _) if self.image.topic_ids.contains_key(topic) => {}
            (RESOURCE_TOPIC, _) => {
                let message = format!("The topic '{topic}' does not exist.");
                return Err(Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message));
            }
            _ => {
                let message = "Only topics and the cluster's default have properties that can be altered.";
                return Err(Refusal::new(ErrorCode::INVALID_REQUEST, message));
            }
        }
        let mut names = BTreeSet::new();
        let mut records = Vec::new();
        for config in &resource.configs {
            if !names.insert(config.name.as_str()) {
                return Err(Refusal::new(
                    ErrorCode::INVALID_REQUEST,
                    "Error due to duplicate config keys.",
                ));
            }
            let value = new_value(config)?;
            let current = self
                .image
                .configs
                .get(topic)
                .and_then(|configs| configs.get(config.name.as_str()));
            if current != value.as_ref() {
                records.push(Record::Config {
                    topic: topic.to_owned(),
                    name: config.name.to_string(),
                    value,
                });
            }
        }
        if validate_only {
            return Ok(());
        }
        for record in records {
            self.write(record, batch);
        }
        if names.contains("min.insync.replicas") {
            self.update_eligible_replicas(topic, batch);
        }
        Ok(())
    }

    /// Where the ISR has become large enough, nobody outside is eligible any more.
    fn update_eligible_replicas(&mut self, topic: &str, batch: &mut Batch<'_>) {
        let only = self.image.topic_ids.get(topic).copied();
        let mut eligible = self.partitions_where(|state| !state.elr.is_empty());
        eligible.retain(|partition| only.is_none_or(|only| partition.topic == only));
        self.update_partitions(&eligible, None, batch);
    }
}

/// What a property becomes; none if it is removed.
fn new_value(config: &AlterableConfig) -> Result<Option<String>, Refusal> {
    let name = config.name.as_str();
    match config.config_operation {
        SET => {
            validate(name, config.value.as_deref())?;
            Ok(config.value.as_ref().map(|value| value.to_string()))
        }
        DELETE => Ok(None),
        APPEND | SUBTRACT => {
            let message = format!("Can't append to or subtract from {name}, which is no list.");
            Err(Refusal::new(ErrorCode::INVALID_CONFIG, message))
        }
        _ => Err(Refusal::new(ErrorCode::INVALID_REQUEST, "Unknown operation type.")),
    }
}
