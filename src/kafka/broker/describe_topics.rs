//! DescribeTopicPartitions: topics page by page, with who may be elected and who could be before.
//!
//! Guarantees: topics in the order of their names, partitions by their index; at most as many partitions as the client
//! and this node allow; the cursor says where the next page begins.
//!
//! Sources: KIP-966; `DescribeTopicPartitionsRequestHandler`, `KRaftMetadataCache`.

use super::metadata::TOPIC_OPERATIONS;
use crate::metadata::{MetadataImage, Topic};
use crate::types::{NodeId, flaw_of_topic_name};
use crate::wire::error::ErrorCode;
use crate::wire::ids::broker_ids;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition as WirePartition,
    DescribeTopicPartitionsResponseTopic as WireTopic,
};
use kafka_protocol::messages::{BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeSet;

/// One page. If the cursor is nonsense every topic that was asked for says so: there is no other place for it.
pub fn describe(
    request: &DescribeTopicPartitionsRequest,
    image: &MetadataImage,
    limit: usize,
) -> DescribeTopicPartitionsResponse {
    let cursor = request.cursor.as_ref();
    let begin = cursor.map_or("", |cursor| cursor.topic_name.as_str());
    let of_all = request.topics.is_empty();
    let mut names: BTreeSet<&str> = if of_all {
        image.topic_ids.keys().map(String::as_str).collect()
    } else {
        request.topics.iter().map(|topic| topic.name.as_str()).collect()
    };
    let is_misplaced = !of_all && !begin.is_empty() && !names.contains(begin);
    if is_misplaced || cursor.is_some_and(|cursor| cursor.partition_index < 0) {
        let topics = request.topics.iter();
        let refused = topics.map(|topic| refused(&topic.name, ErrorCode::INVALID_REQUEST));
        return DescribeTopicPartitionsResponse::default().with_topics(refused.collect());
    }
    names = names.split_off(begin);
    let mut left = usize::try_from(request.response_partition_limit)
        .unwrap_or(0)
        .clamp(1, limit);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        let first = cursor.filter(|cursor| cursor.topic_name.as_str() == name);
        let first = first.map_or(0, |cursor| cursor.partition_index);
        if left == 0 {
            response.next_cursor = Some(cursor_at(name, first));
            break;
        }
        let Some(topic) = image.topic(name) else {
            if !of_all {
                let code = match flaw_of_topic_name(name) {
                    None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    Some(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
                };
                response.topics.push(refused(name, code));
            }
            continue;
        };
        let partitions: Vec<WirePartition> = partitions_of(topic, image, first).take(left).collect();
        left -= partitions.len();
        let next = partitions.last().map(|last| last.partition_index + 1);
        response.topics.push(
            WireTopic::default()
                .with_name(Some(wire_name(name)))
                .with_topic_id(topic.id)
                .with_topic_authorized_operations(TOPIC_OPERATIONS)
                .with_partitions(partitions),
        );
        if let Some(next) = next.filter(|next| topic.partitions.range(next..).next().is_some()) {
            response.next_cursor = Some(cursor_at(name, next));
            break;
        }
    }
    response
}

fn wire_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn cursor_at(name: &str, partition: i32) -> Cursor {
    Cursor::default()
        .with_topic_name(wire_name(name))
        .with_partition_index(partition)
}

fn refused(name: &str, code: ErrorCode) -> WireTopic {
    WireTopic::default()
        .with_name(Some(wire_name(name)))
        .with_error_code(code.0)
}

fn partitions_of<'a>(
    topic: &'a Topic,
    image: &'a MetadataImage,
    first: i32,
) -> impl Iterator<Item = WirePartition> + 'a {
    let lives = |node: &NodeId| image.brokers.get(node).is_some_and(|broker| !broker.fenced);
    topic.partitions.range(first..).map(move |(index, state)| {
        let leader = state.leader.filter(lives);
        let offline: Vec<NodeId> = state.replicas.iter().copied().filter(|node| !lives(node)).collect();
        let last_known = topic.last_known_elr.get(index).map_or(&[][..], Vec::as_slice);
        WirePartition::default()
            .with_partition_index(*index)
            .with_leader_id(BrokerId(leader.map_or(-1, |leader| leader.0)))
            .with_leader_epoch(state.leader_epoch.0)
            .with_replica_nodes(broker_ids(&state.replicas))
            .with_isr_nodes(broker_ids(&state.isr))
            .with_eligible_leader_replicas(Some(broker_ids(&state.elr)))
            .with_last_known_elr(Some(broker_ids(last_known)))
            .with_offline_replicas(broker_ids(&offline))
    })
}
