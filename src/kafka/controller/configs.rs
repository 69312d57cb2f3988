//! Properties of topics and of the cluster.
//!
//! Guarantees: a value that a topic cannot have is never written; a lower `min.insync.replicas` takes effect on the ELR
//! in the same decision.
//! Deliberately not here: properties of single brokers, lists (no property of ours is one).
//!
//! Sources: KIP-133 (AlterConfigs replaces them all), KIP-339 (IncrementalAlterConfigs); `ConfigurationControlManager`; KIP-966 for the ELR.

use super::{Batch, Controller, Refusal};
use crate::config::{DEFAULTS_OF_TOPICS, Settings, TopicConfig};
use crate::metadata::Record;
use crate::wire::ErrorCode;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    alter_configs_response,
};
use kafka_protocol::protocol::StrBytes;
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

/// Refuses what the cluster cannot have: a node's property is fixed when its process starts, but for topics' defaults.
fn validate_of_cluster(name: &str, value: &str) -> Result<(), Refusal> {
    if !DEFAULTS_OF_TOPICS.iter().any(|(_, node)| *node == name) {
        let message = format!("Cannot update these configs dynamically: {name}");
        return Err(Refusal::new(ErrorCode::INVALID_REQUEST, message));
    }
    Settings::default()
        .set(name, value)
        .map_err(|why| Refusal::new(ErrorCode::INVALID_REQUEST, format!("property `{name}` {why}")))
}

impl Controller {
    /// The properties that are named are set, all others of the resource are removed.
    pub(super) fn replace_configs(
        &mut self,
        request: &AlterConfigsRequest,
        batch: &mut Batch<'_>,
    ) -> AlterConfigsResponse {
        let resources = request.resources.iter().map(|resource| {
            let set = resource.configs.iter().map(|config| {
                AlterableConfig::default()
                    .with_name(config.name.clone())
                    .with_config_operation(SET)
                    .with_value(config.value.clone())
            });
            let own = self.image.configs.get(resource.resource_name.as_str());
            let gone = own
                .into_iter()
                .flatten()
                .map(|(name, _)| StrBytes::from_string(name.clone()));
            let gone = gone.filter(|name| !resource.configs.iter().any(|config| config.name == *name));
            let delete = gone.map(|name| AlterableConfig::default().with_name(name).with_config_operation(DELETE));
            AlterConfigsResource::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone())
                .with_configs(set.chain(delete).collect())
        });
        let incremental = IncrementalAlterConfigsRequest::default()
            .with_resources(resources.collect())
            .with_validate_only(request.validate_only);
        let responses = self.alter_configs(&incremental, batch).responses.into_iter();
        let responses = responses.map(|response| {
            alter_configs_response::AlterConfigsResourceResponse::default()
                .with_error_code(response.error_code)
                .with_error_message(response.error_message)
                .with_resource_type(response.resource_type)
                .with_resource_name(response.resource_name)
        });
        AlterConfigsResponse::default().with_responses(responses.collect())
    }

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
            let value = new_value(config, resource.resource_type)?;
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
fn new_value(config: &AlterableConfig, resource_type: i8) -> Result<Option<String>, Refusal> {
    let name = config.name.as_str();
    match config.config_operation {
        SET => {
            let value = config.value.as_deref().ok_or_else(|| {
                let message = format!("Null value not supported for : {name}");
                Refusal::new(ErrorCode::INVALID_REQUEST, message)
            })?;
            match resource_type {
                RESOURCE_TOPIC => validate(name, Some(value))?,
                _ => validate_of_cluster(name, value)?,
            }
            Ok(Some(value.to_owned()))
        }
        DELETE => Ok(None),
        APPEND | SUBTRACT => {
            let message = format!("Can't append to or subtract from {name}, which is no list.");
            Err(Refusal::new(ErrorCode::INVALID_CONFIG, message))
        }
        _ => Err(Refusal::new(ErrorCode::INVALID_REQUEST, "Unknown operation type.")),
    }
}
