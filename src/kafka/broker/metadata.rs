//! Answers about the cluster, from this node's own image of the metadata log.
//!
//! Sources: KIP-516 (topic ids), KIP-412 / KIP-320 (leader epochs in Metadata).

use crate::metadata::{BrokerRegistration, MetadataImage, Topic};
use crate::types::{NodeId, Uuid, flaw_of_topic_name};
use crate::wire::api::{self, Api};
use crate::wire::error::ErrorCode;
use crate::wire::ids::broker_ids;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, BrokerId, DescribeClusterRequest, DescribeClusterResponse,
    MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn wire_id(node: Option<NodeId>) -> BrokerId {
    BrokerId(node.map_or(-1, |node| node.0))
}

/// What a client may do with a topic, bit by bit, by Kafka's numbers of operations: all that there is, since nobody is
/// refused here. READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
pub(super) const TOPIC_OPERATIONS: i32 = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;
/// The same of the cluster: CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE.
const CLUSTER_OPERATIONS: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;

/// Of the cluster, if somebody asks.
fn operations(asked: bool) -> i32 {
    if asked { CLUSTER_OPERATIONS } else { i32::MIN }
}

/// What this broker speaks, or INVALID_REQUEST to a client that says who it is in a way that no log line should show.
pub fn api_versions(request: &ApiVersionsRequest, version: i16) -> ApiVersionsResponse {
    let is_legal = |name: &str| {
        let ends = [name.bytes().next(), name.bytes().last()];
        let is_alphanumeric = |byte: &Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        ends.iter().all(is_alphanumeric)
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
    };
    if version >= 3 && !(is_legal(&request.client_software_name) && is_legal(&request.client_software_version)) {
        return ApiVersionsResponse::default().with_error_code(ErrorCode::INVALID_REQUEST.0);
    }
    ApiVersionsResponse::default().with_api_keys(api::APIS.iter().map(wire_row).collect())
}

/// The answer, in version 0, to ApiVersions in a version that we do not know: which ones we do (KIP-511).
pub fn unsupported_version() -> ApiVersionsResponse {
    let own = api::find(ApiKey::ApiVersions as i16).expect("a row of the table");
    ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UNSUPPORTED_VERSION.0)
        .with_api_keys(vec![wire_row(own)])
}

fn wire_row(row: &Api) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(row.key as i16)
        .with_min_version(row.advertised_min)
        .with_max_version(row.max)
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
    let mut topics: Vec<MetadataResponseTopic> = topics;
    if request.include_topic_authorized_operations {
        for topic in topics.iter_mut().filter(|topic| topic.error_code == 0) {
            topic.topic_authorized_operations = TOPIC_OPERATIONS;
        }
    }
    let cluster_operations = operations(request.include_cluster_authorized_operations);
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_authorized_operations(cluster_operations)
        .with_cluster_id(Some(text(cluster_id)))
        .with_controller_id(wire_id(controller))
        .with_topics(topics)
}

fn describe(topic: &Topic, image: &MetadataImage) -> MetadataResponseTopic {
    let alive = |node: &NodeId| image.brokers.get(node).is_some_and(|broker| !broker.fenced);
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
            .with_replica_nodes(broker_ids(&state.replicas))
            .with_isr_nodes(broker_ids(&state.isr))
            .with_offline_replicas(broker_ids(&offline))
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(&topic.name))))
        .with_topic_id(Uuid::from_u128(topic.id.as_u128()))
        .with_partitions(partitions.collect())
}

/// Endpoint types of DescribeCluster.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// The brokers and who passes on to the controller.
pub fn describe_cluster(
    request: &DescribeClusterRequest,
    image: &MetadataImage,
    cluster_id: &str,
    controller: Option<NodeId>,
) -> DescribeClusterResponse {
    let refuse = |code: ErrorCode, message: &'static str| {
        DescribeClusterResponse::default()
            .with_error_code(code.0)
            .with_error_message(Some(StrBytes::from_static_str(message)))
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let message =
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
            return refuse(ErrorCode::MISMATCHED_ENDPOINT_TYPE, message);
        }
        _ => return refuse(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, "Unsupported endpoint type"),
    }
    let shown = |broker: &&BrokerRegistration| request.include_fenced_brokers || !broker.fenced;
    let brokers = image.brokers.values().filter(shown).map(|broker| {
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(broker.id.0))
            .with_host(text(&broker.host))
            .with_port(i32::from(broker.port))
            .with_rack(broker.rack.as_deref().map(text))
            .with_is_fenced(broker.fenced)
    });
    DescribeClusterResponse::default()
        .with_error_message(None)
        .with_cluster_authorized_operations(operations(request.include_cluster_authorized_operations))
        .with_cluster_id(text(cluster_id))
        .with_controller_id(wire_id(controller))
        .with_brokers(brokers.collect())
}
