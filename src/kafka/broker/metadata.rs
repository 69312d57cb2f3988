//! Answers about the cluster, from this node's own image of the metadata log.
//!
//! Sources: KIP-516 (topic ids), KIP-412 / KIP-320 (leader epochs in Metadata).

use crate::metadata::{MetadataImage, Topic};
use crate::types::{NodeId, Uuid, flaw_of_topic_name};
use crate::wire::api;
use crate::wire::error::ErrorCode;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, DescribeClusterResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn wire_id(node: Option<NodeId>) -> BrokerId {
    BrokerId(node.map_or(-1, |node| node.0))
}

/// What this broker speaks.
pub fn api_versions() -> ApiVersionsResponse {
    let keys = api::APIS.iter().map(|row| {
        ApiVersion::default()
            .with_api_key(row.key as i16)
            .with_min_version(row.advertised_min)
            .with_max_version(row.max)
    });
    ApiVersionsResponse::default().with_api_keys(keys.collect())
}

/// Brokers that live, topics with their leaders. `controller` is a broker that passes requests on to the controller.
pub fn metadata(
    request: &MetadataRequest,
    version: i16,
    image: &MetadataImage,
    cluster_id: &str,
    controller: Option<NodeId>,
) -> MetadataResponse {
    let brokers = image.brokers.values().filter(|broker| !broker.fenced).map(|broker| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(broker.id.0))
            .with_host(text(&broker.host))
            .with_port(i32::from(broker.port))
            .with_rack(broker.rack.as_deref().map(text))
    });
    let topics = match &request.topics {
        None => image.topics.values().map(|topic| describe(topic, image)).collect(),
        // Version 0 asks for all topics with an empty list.
        Some(topics) if topics.is_empty() && version == 0 => {
            image.topics.values().map(|topic| describe(topic, image)).collect()
        }
        Some(topics) => topics
            .iter()
            .map(|asked| match &asked.name {
                Some(name) if asked.topic_id.is_nil() => image.topic(name).map_or_else(
                    || {
                        let code = match flaw_of_topic_name(name) {
                            None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                            Some(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
                        };
                        MetadataResponseTopic::default()
                            .with_name(Some(name.clone()))
                            .with_error_code(code.0)
                    },
                    |topic| describe(topic, image),
                ),
                _ => image.topics.get(&asked.topic_id).map_or_else(
                    || {
                        MetadataResponseTopic::default()
                            .with_name((version < 12).then(TopicName::default))
                            .with_topic_id(asked.topic_id)
                            .with_error_code(ErrorCode::UNKNOWN_TOPIC_ID.0)
                    },
                    |topic| describe(topic, image),
                ),
            })
            .collect(),
    };
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(text(cluster_id)))
        .with_controller_id(wire_id(controller))
        .with_topics(topics)
}

fn describe(topic: &Topic, image: &MetadataImage) -> MetadataResponseTopic {
    let alive = |node: &NodeId| image.brokers.get(node).is_some_and(|broker| !broker.fenced);
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| BrokerId(node.0)).collect::<Vec<_>>();
    let partitions = topic.partitions.iter().map(|(index, state)| {
        let leader = state.leader.filter(alive);
        let offline: Vec<NodeId> = state.replicas.iter().copied().filter(|node| !alive(node)).collect();
        MetadataResponsePartition::default()
            .with_error_code(if leader.is_some() {
                0
            } else {
                ErrorCode::LEADER_NOT_AVAILABLE.0
            })
            .with_partition_index(*index)
            .with_leader_id(wire_id(leader))
            .with_leader_epoch(state.leader_epoch.0)
            .with_replica_nodes(ids(&state.replicas))
            .with_isr_nodes(ids(&state.isr))
            .with_offline_replicas(ids(&offline))
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(&topic.name))))
        .with_topic_id(Uuid::from_u128(topic.id.as_u128()))
        .with_partitions(partitions.collect())
}

/// The brokers and who passes on to the controller.
pub fn describe_cluster(
    image: &MetadataImage,
    cluster_id: &str,
    controller: Option<NodeId>,
) -> DescribeClusterResponse {
    let brokers = image.brokers.values().filter(|broker| !broker.fenced).map(|broker| {
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(broker.id.0))
            .with_host(text(&broker.host))
            .with_port(i32::from(broker.port))
            .with_rack(broker.rack.as_deref().map(text))
    });
    DescribeClusterResponse::default()
        .with_cluster_id(text(cluster_id))
        .with_controller_id(wire_id(controller))
        .with_brokers(brokers.collect())
}

/// Type of a topic in config requests.
const RESOURCE_TOPIC: i8 = 2;
/// `DYNAMIC_TOPIC_CONFIG` and `DEFAULT_CONFIG` of DescribeConfigs.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_DEFAULT: i8 = 5;

/// The properties of topics, own ones and defaults.
pub fn describe_configs(
    request: &DescribeConfigsRequest,
    image: &MetadataImage,
    settings: &crate::config::Settings,
) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        if resource.resource_type != RESOURCE_TOPIC {
            return result.with_error_code(ErrorCode::INVALID_REQUEST.0);
        }
        if image.topic(&resource.resource_name).is_none() {
            return result.with_error_code(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
        }
        let own = image
            .configs
            .get(resource.resource_name.as_str())
            .cloned()
            .unwrap_or_default();
        let config = crate::config::TopicConfig::of(settings, &own);
        let configs = crate::config::TopicConfig::NAMES.iter().filter(|name| {
            resource
                .configuration_keys
                .as_ref()
                .is_none_or(|keys| keys.iter().any(|key| key.as_str() == **name))
        });
        result.with_configs(
            configs
                .map(|name| {
                    let value = config.get(name).expect("a name of the list");
                    DescribeConfigsResourceResult::default()
                        .with_name(StrBytes::from_static_str(name))
                        .with_value(Some(StrBytes::from_string(value.to_string())))
                        .with_config_source(if own.contains_key(*name) {
                            SOURCE_TOPIC
                        } else {
                            SOURCE_DEFAULT
                        })
                })
                .collect(),
        )
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}
