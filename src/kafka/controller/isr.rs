//! AlterPartition: a leader proposes another ISR, the controller takes it or says why not.
//!
//! Guarantees: only the leader of the current leader epoch changes the ISR, from the state that it has seen, and only
//! to replicas that live, do not leave, and are the incarnation that caught up; while it has not told that it has heard
//! of the present `min.insync.replicas`, it gets no ISR below that: it may commit with it by an older minimum, without
//! those whom the present one makes eligible (Kafka does not look, and can elect who lacks committed records then).
//! Deliberately not here: the recovery state of leaders (KIP-704); every leader counts as recovered.
//!
//! Sources: KIP-497, KIP-841 (fenced and leaving brokers), KIP-903 (broker epochs);
//! `ReplicationControlManager.alterPartition`.

use super::{Batch, Controller};
use crate::note::PartitionState;
use crate::rules::Rule;
use crate::types::{NodeId, TopicPartition};
use crate::wire::ErrorCode;
use crate::wire::ids::broker_ids;
use kafka_protocol::messages::alter_partition_request::{PartitionData, TopicData};
use kafka_protocol::messages::alter_partition_response::{
    PartitionData as PartitionResponse, TopicData as TopicResponse,
};
use kafka_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse, BrokerId};

/// On the wire: the leader does not know the incarnation.
const UNKNOWN_BROKER_EPOCH: i64 = -1;

/// The proposed ISR; with broker epochs from version 3 on.
fn proposed_isr(data: &PartitionData) -> Vec<(NodeId, i64)> {
    if data.new_isr_with_epochs.is_empty() {
        data.new_isr
            .iter()
            .map(|broker| (NodeId(broker.0), UNKNOWN_BROKER_EPOCH))
            .collect()
    } else {
        data.new_isr_with_epochs
            .iter()
            .map(|state| (NodeId(state.broker_id.0), state.broker_epoch))
            .collect()
    }
}

impl Controller {
    pub(super) fn alter_partition(
        &mut self,
        request: &AlterPartitionRequest,
        batch: &mut Batch<'_>,
    ) -> AlterPartitionResponse {
        let broker = NodeId(request.broker_id.0);
        if self.check_broker_epoch(broker, request.broker_epoch).is_none() {
            return AlterPartitionResponse::default().with_error_code(ErrorCode::STALE_BROKER_EPOCH.0);
        }
        let topics = request
            .topics
            .iter()
            .map(|topic| self.alter_topic(broker, topic, batch))
            .collect();
        AlterPartitionResponse::default().with_topics(topics)
    }

    fn alter_topic(&mut self, broker: NodeId, data: &TopicData, batch: &mut Batch<'_>) -> TopicResponse {
        let mut partitions = Vec::with_capacity(data.partitions.len());
        for partition in &data.partitions {
            let response = PartitionResponse::default().with_partition_index(partition.partition_index);
            partitions.push(match self.alter_one(broker, data.topic_id, partition, batch) {
                Err(code) => response.with_error_code(code.0),
                Ok(state) => response
                    .with_leader_id(BrokerId(state.leader.map_or(-1, |leader| leader.0)))
                    .with_leader_epoch(state.leader_epoch.0)
                    .with_isr(broker_ids(&state.isr))
                    .with_partition_epoch(state.partition_epoch.0),
            });
        }
        TopicResponse::default()
            .with_topic_id(data.topic_id)
            .with_partitions(partitions)
    }

    fn alter_one(
        &mut self,
        broker: NodeId,
        topic: crate::types::Uuid,
        data: &PartitionData,
        batch: &mut Batch<'_>,
    ) -> Result<PartitionState, ErrorCode> {
        if !self.image.topics.contains_key(&topic) {
            return Err(ErrorCode::UNKNOWN_TOPIC_ID);
        }
        let partition = TopicPartition {
            topic,
            partition: data.partition_index,
        };
        let state = self
            .image
            .partition(partition)
            .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let isr = proposed_isr(data);
        validate(broker, state, data, &isr)?;
        if !isr.iter().all(|(replica, epoch)| self.is_eligible(*replica, *epoch)) {
            return Err(ErrorCode::INELIGIBLE_REPLICA);
        }
        let target_isr: Vec<NodeId> = isr.into_iter().map(|(replica, _)| replica).collect();
        if target_isr.len() < self.min_isr(topic) && !self.leader_knows_minimum(partition) {
            // It asks again; its next heartbeat says how far it has come.
            return Err(ErrorCode::OPERATION_NOT_ATTEMPTED);
        }
        let election = self.usual_election(topic);
        if let Some(change) = self.partition_change(partition, target_isr, election, None) {
            self.write_partition(change.record, change.unclean, batch);
        }
        let state = self.image.partition(partition).expect("it was there above").clone();
        // The change may cost the leader its office; then it learns the rest from the metadata log.
        if state.leader == Some(broker) {
            Ok(state)
        } else {
            Err(ErrorCode::NEW_LEADER_ELECTED)
        }
    }

    /// Whether a replica may be in an ISR. `epoch` is the incarnation that the leader saw catching up.
    fn is_eligible(&self, replica: NodeId, epoch: i64) -> bool {
        let is_incarnation = |current: i64| match epoch {
            UNKNOWN_BROKER_EPOCH => true,
            _ if self.rules.has(Rule::AlterPartitionNoBrokerEpoch) => true,
            _ => epoch == current,
        };
        let registration = self.image.brokers.get(&replica);
        registration.is_some_and(|broker| broker.is_active() && is_incarnation(broker.epoch.0))
    }
}

/// Everything that the partition's own state can say about a proposal, in Kafka's order.
fn validate(
    broker: NodeId,
    state: &PartitionState,
    data: &PartitionData,
    isr: &[(NodeId, i64)],
) -> Result<(), ErrorCode> {
    // Whoever knows more than the active controller is not talking to the active controller.
    if data.leader_epoch > state.leader_epoch.0 || data.partition_epoch > state.partition_epoch.0 {
        return Err(ErrorCode::NOT_CONTROLLER);
    }
    if data.leader_epoch < state.leader_epoch.0 {
        return Err(ErrorCode::FENCED_LEADER_EPOCH);
    }
    if state.leader != Some(broker) {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    if data.partition_epoch < state.partition_epoch.0 {
        return Err(ErrorCode::INVALID_UPDATE_VERSION);
    }
    let is_duplicate = |at: usize| isr[..at].iter().any(|(earlier, _)| *earlier == isr[at].0);
    if isr.len() > state.replicas.len() || (0..isr.len()).any(is_duplicate) {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    if !isr.iter().all(|(replica, _)| state.replicas.contains(replica)) {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    if !isr.iter().any(|(replica, _)| *replica == broker) || data.leader_recovery_state != 0 {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    Ok(())
}
