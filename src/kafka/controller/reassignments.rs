//! Moving replicas: other brokers become replicas, catch up, and then those that are to go leave.
//!
//! ```text
//!   asked: replicas = new ones ∪ leaving ones, adding, removing ──▶ the leader takes who has caught up into the ISR
//!      ──▶ all that stay are in sync: replicas and ISR without the leaving ones, a new leader epoch
//!   cancelled: without those that were added, as it was before
//! ```
//!
//! Guarantees: no replica leaves before all that stay are in sync; a reassignment that adds nobody can end at once, as
//! can one that only changes the order; a cancellation takes no leader from outside the ISR unless the topic allows it.
//! Not here: throttles; they are the replicas' business, and there are none.
//!
//! Sources: KIP-455, KIP-860 (the number of replicas may be held fast); `ReplicationControlManager`,
//! `PartitionReassignmentReplicas`, `PartitionReassignmentRevert`.

use super::partition_change::{Assignment, Election};
use super::{Batch, Controller, Refusal};
use crate::metadata::Reassignment;
use crate::types::{NodeId, TopicPartition};
use crate::wire::ErrorCode;
use crate::wire::ids::{broker_ids, node_ids};
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

fn without(nodes: &[NodeId], others: &[NodeId]) -> Vec<NodeId> {
    nodes.iter().copied().filter(|node| !others.contains(node)).collect()
}

impl Controller {
    pub(super) fn alter_reassignments(
        &mut self,
        request: &AlterPartitionReassignmentsRequest,
        batch: &mut Batch<'_>,
    ) -> AlterPartitionReassignmentsResponse {
        let mut responses = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let target = partition.replicas.as_ref();
                let target = target.map(|replicas| node_ids(replicas));
                let may_resize = request.allow_replication_factor_change;
                let result = self.reassign(&topic.name, index, target, may_resize, batch);
                let response = ReassignablePartitionResponse::default().with_partition_index(index);
                partitions.push(match result {
                    Ok(()) => response.with_error_message(None),
                    Err(refusal) => response
                        .with_error_code(refusal.code.0)
                        .with_error_message(refusal.message()),
                });
            }
            let response = ReassignableTopicResponse::default().with_name(topic.name.clone());
            responses.push(response.with_partitions(partitions));
        }
        AlterPartitionReassignmentsResponse::default()
            .with_allow_replication_factor_change(request.allow_replication_factor_change)
            .with_error_message(None)
            .with_responses(responses)
    }

    /// Begins another reassignment, or cancels the one under way.
    fn reassign(
        &mut self,
        topic: &TopicName,
        index: i32,
        target: Option<Vec<NodeId>>,
        may_resize: bool,
        batch: &mut Batch<'_>,
    ) -> Result<(), Refusal> {
        let unknown = |what: String| Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, what);
        let name = topic.as_str();
        let id = self.image.topic_ids.get(name).copied();
        let partition = TopicPartition {
            topic: id.ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?,
            partition: index,
        };
        let state = self.image.partition(partition);
        let state = state.ok_or_else(|| unknown(format!("Unable to find partition {name}:{index}.")))?;
        let ongoing = self.image.reassignment(partition);
        let original = without(&state.replicas, &ongoing.adding);
        let change = match target {
            None if ongoing.is_none() => return Err(ErrorCode::NO_REASSIGNMENT_IN_PROGRESS.into()),
            None => {
                let mut isr = without(&state.isr, &ongoing.adding);
                let election = self.usual_election(partition.topic);
                if isr.is_empty() && !state.isr.is_empty() {
                    if election != Election::Unclean {
                        let message = format!(
                            "Unable to revert partition assignment for {name}:{index} because it would require an \
                             unclean leader election."
                        );
                        return Err(Refusal::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
                    }
                    isr.extend(original.iter().find(|replica| self.is_active(**replica)));
                }
                let target = Assignment {
                    replicas: original,
                    reassignment: Reassignment::default(),
                };
                self.change_of_replicas(partition, isr, election, target)
            }
            Some(target) => {
                self.validate_replicas(&target)?;
                if !may_resize && target.len() != original.len() {
                    let message = format!(
                        "The replication factor is changed from {} to {}",
                        original.len(),
                        target.len()
                    );
                    return Err(Refusal::new(ErrorCode::INVALID_REPLICATION_FACTOR, message));
                }
                let mut removing = without(&state.replicas, &target);
                let mut adding = without(&target, &state.replicas);
                removing.sort_unstable();
                adding.sort_unstable();
                let replicas = target.iter().chain(&removing).copied().collect();
                let isr = state.isr.clone();
                let target = Assignment {
                    replicas,
                    reassignment: Reassignment { adding, removing },
                };
                self.change_of_replicas(partition, isr, Election::Online, target)
            }
        };
        if let Some(change) = change {
            self.write_partition(change.record, change.unclean, batch);
        }
        Ok(())
    }

    pub(super) fn list_reassignments(
        &self,
        request: &ListPartitionReassignmentsRequest,
    ) -> ListPartitionReassignmentsResponse {
        let mut topics = Vec::new();
        for topic in self.image.topics.values() {
            let asked = request.topics.as_ref().map(|topics| {
                let of_this = topics.iter().filter(|asked| asked.name.as_str() == topic.name);
                of_this.flat_map(|asked| &asked.partition_indexes).collect::<Vec<_>>()
            });
            let ongoing = topic.reassignments.iter();
            let ongoing = ongoing.filter(|(index, _)| asked.as_ref().is_none_or(|asked| asked.contains(index)));
            let partitions: Vec<_> = ongoing
                .map(|(index, reassignment)| {
                    OngoingPartitionReassignment::default()
                        .with_partition_index(*index)
                        .with_replicas(broker_ids(&topic.partitions[index].replicas))
                        .with_adding_replicas(broker_ids(&reassignment.adding))
                        .with_removing_replicas(broker_ids(&reassignment.removing))
                })
                .collect();
            if !partitions.is_empty() {
                let name = TopicName(StrBytes::from_string(topic.name.clone()));
                let topic = OngoingTopicReassignment::default().with_name(name);
                topics.push(topic.with_partitions(partitions));
            }
        }
        ListPartitionReassignmentsResponse::default()
            .with_error_message(None)
            .with_topics(topics)
    }
}
