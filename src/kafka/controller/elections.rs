//! Elections that somebody asks for, and leaders that go home.
//!
//! Sources: KIP-460 (ElectLeaders), `ReplicationControlManager.electLeaders`, `maybeBalancePartitionLeaders`.

use super::partition_change::Election;
use super::{Batch, Controller, Refusal};
use crate::types::TopicPartition;
use crate::wire::ErrorCode;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

impl Controller {
    pub(super) fn elect_leaders(
        &mut self,
        request: &ElectLeadersRequest,
        batch: &mut Batch<'_>,
    ) -> ElectLeadersResponse {
        let election = match request.election_type {
            PREFERRED => Election::Preferred,
            UNCLEAN => Election::Unclean,
            _ => return ElectLeadersResponse::default().with_error_code(ErrorCode::INVALID_REQUEST.0),
        };
        let (topics, is_all) = match &request.topic_partitions {
            Some(topics) => (topics.clone(), false),
            None => (self.all_partitions(), true),
        };
        let mut results = Vec::with_capacity(topics.len());
        for topic in topics {
            let mut partitions = Vec::new();
            for partition in &topic.partitions {
                let result = PartitionResult::default().with_partition_id(*partition);
                match self.elect_leader(&topic.topic, *partition, election, batch) {
                    Ok(()) => partitions.push(result),
                    // Who asks for all is told only of those where there was something to do.
                    Err(refusal) if is_all && refusal.code == ErrorCode::ELECTION_NOT_NEEDED => {}
                    Err(refusal) => partitions.push(
                        result
                            .with_error_code(refusal.code.0)
                            .with_error_message(refusal.message()),
                    ),
                }
            }
            results.push(
                ReplicaElectionResult::default()
                    .with_topic(topic.topic)
                    .with_partition_result(partitions),
            );
        }
        ElectLeadersResponse::default().with_replica_election_results(results)
    }

    fn all_partitions(&self) -> Vec<TopicPartitions> {
        let topics = self.image.topic_ids.iter();
        let of = |(name, id): (&String, _)| {
            TopicPartitions::default()
                .with_topic(TopicName(StrBytes::from_string(name.clone())))
                .with_partitions(self.image.topics[id].partitions.keys().copied().collect())
        };
        topics.map(of).collect()
    }

    fn elect_leader(
        &mut self,
        topic: &TopicName,
        index: i32,
        election: Election,
        batch: &mut Batch<'_>,
    ) -> Result<(), Refusal> {
        let unknown = |what: String| Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, what);
        let id = self.image.topic_ids.get(topic.as_str());
        let id = *id.ok_or_else(|| unknown(format!("No such topic as {}", topic.as_str())))?;
        let partition = TopicPartition {
            topic: id,
            partition: index,
        };
        let state = self.image.partition(partition);
        let state = state.ok_or_else(|| unknown(format!("No such partition as {}-{index}", topic.as_str())))?;
        let (is_needed, refusal) = match election {
            Election::Unclean => (state.leader.is_none(), ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE),
            _ => (
                state.leader != state.replicas.first().copied(),
                ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE,
            ),
        };
        if !is_needed {
            return Err(ErrorCode::ELECTION_NOT_NEEDED.into());
        }
        let change = self
            .partition_change(partition, state.isr.clone(), election, None)
            .ok_or(refusal)?;
        self.write_partition(change.record, change.unclean, batch);
        Ok(())
    }

    /// Gives every leadership back to its preferred replica, where that lives and is in sync.
    pub(super) fn balance_leaders(&mut self, batch: &mut Batch<'_>) {
        let away = self.partitions_where(|state| {
            state.leader != state.replicas.first().copied()
                && state
                    .replicas
                    .first()
                    .is_some_and(|preferred| self.is_active(*preferred))
        });
        for partition in away {
            let isr = self.image.partition(partition).expect("just found").isr.clone();
            if let Some(change) = self.partition_change(partition, isr, Election::Preferred, None) {
                self.write_partition(change.record, change.unclean, batch);
            }
        }
    }
}
