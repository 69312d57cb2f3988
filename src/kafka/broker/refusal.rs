//! The answer to a request that this node cannot even look at, in the shape that the request's API has for errors.
//!
//! Some APIs have no place for an error that concerns the whole request: then the answer is `None` and the connection
//! is closed, which every client takes as "try somewhere else".

use crate::wire::error::ErrorCode;
use kafka_protocol::messages::alter_configs_response;
use kafka_protocol::messages::alter_partition_response::AlterPartitionResponse;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{
    AllocateProducerIdsResponse, AlterConfigsResponse, AlterPartitionReassignmentsResponse, BrokerHeartbeatResponse,
    BrokerRegistrationResponse, CreatePartitionsResponse, CreateTopicsResponse, DeleteTopicsResponse,
    ElectLeadersResponse, IncrementalAlterConfigsResponse, ListPartitionReassignmentsResponse, RequestKind,
    ResponseKind,
};

/// NOT_CONTROLLER for `request`.
pub fn not_controller(request: &RequestKind) -> Option<ResponseKind> {
    let code = ErrorCode::NOT_CONTROLLER.0;
    Some(match request {
        RequestKind::BrokerRegistration(_) => BrokerRegistrationResponse::default().with_error_code(code).into(),
        RequestKind::BrokerHeartbeat(_) => BrokerHeartbeatResponse::default().with_error_code(code).into(),
        RequestKind::AllocateProducerIds(_) => AllocateProducerIdsResponse::default().with_error_code(code).into(),
        RequestKind::AlterPartition(_) => AlterPartitionResponse::default().with_error_code(code).into(),
        RequestKind::ElectLeaders(_) => ElectLeadersResponse::default().with_error_code(code).into(),
        RequestKind::AlterPartitionReassignments(_) => AlterPartitionReassignmentsResponse::default()
            .with_error_code(code)
            .into(),
        RequestKind::ListPartitionReassignments(_) => ListPartitionReassignmentsResponse::default()
            .with_error_code(code)
            .into(),
        RequestKind::CreateTopics(request) => {
            let topics = request.topics.iter();
            let results = topics.map(|topic| {
                CreatableTopicResult::default()
                    .with_name(topic.name.clone())
                    .with_error_code(code)
            });
            CreateTopicsResponse::default().with_topics(results.collect()).into()
        }
        RequestKind::DeleteTopics(request) => {
            let names = request
                .topic_names
                .iter()
                .map(|name| (Some(name.clone()), uuid::Uuid::nil()));
            let ids = request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id));
            let results = names.chain(ids).map(|(name, id)| {
                DeletableTopicResult::default()
                    .with_name(name)
                    .with_topic_id(id)
                    .with_error_code(code)
            });
            DeleteTopicsResponse::default().with_responses(results.collect()).into()
        }
        RequestKind::CreatePartitions(request) => {
            let results = request.topics.iter().map(|topic| {
                CreatePartitionsTopicResult::default()
                    .with_name(topic.name.clone())
                    .with_error_code(code)
            });
            CreatePartitionsResponse::default()
                .with_results(results.collect())
                .into()
        }
        RequestKind::AlterConfigs(request) => {
            let results = request.resources.iter().map(|resource| {
                alter_configs_response::AlterConfigsResourceResponse::default()
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name.clone())
                    .with_error_code(code)
            });
            AlterConfigsResponse::default().with_responses(results.collect()).into()
        }
        RequestKind::IncrementalAlterConfigs(request) => {
            let results = request.resources.iter().map(|resource| {
                AlterConfigsResourceResponse::default()
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name.clone())
                    .with_error_code(code)
            });
            IncrementalAlterConfigsResponse::default()
                .with_responses(results.collect())
                .into()
        }
        _ => return None,
    })
}
