//! DescribeQuorum: how far everybody is, for `kafka-metadata-quorum`.
//!
//! Guarantees: only the leader answers; offsets and times are those of the last fetches. Deliberately read-only.
//!
//! Sources: KIP-595, KIP-836 (times of fetches).

use super::Quorum;
use super::message::{self, metadata_partition};
use super::state::{Progress, Role};
use crate::machine::Outbox;
use crate::types::{METADATA_TOPIC, NodeId, Now, RequestId};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_quorum_response::{PartitionData, ReplicaState, TopicData};
use kafka_protocol::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

impl Quorum {
    /// As Kafka's metric `current-state` calls it, but for `voted` and `observer`: those are `unattached` and `follower`.
    pub fn current_state(&self) -> &'static str {
        match &self.role {
            Role::Unattached { .. } => "unattached",
            Role::Follower { .. } => "follower",
            Role::Prospective { .. } => "prospective",
            Role::Candidate { .. } => "candidate",
            Role::Leader(_) => "leader",
            Role::Resigned { .. } => "resigned",
        }
    }

    pub(super) fn handle_describe(
        &mut self,
        id: RequestId,
        request: &DescribeQuorumRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        let election = self.store.election();
        let mut partition = PartitionData::default()
            .with_leader_id(message::node_or_none(election.leader))
            .with_leader_epoch(election.epoch.0);
        match &self.role {
            _ if metadata_partition!(request.topics, topic_name, partition_index).is_none() => {
                partition.error_code = ResponseError::UnknownTopicOrPartition.code();
            }
            Role::Leader(leader) => {
                let end = self.log.log_end_offset();
                let state = |id: NodeId, progress: Option<&Progress>| {
                    ReplicaState::default()
                        .with_replica_id(BrokerId(id.0))
                        .with_log_end_offset(progress.map_or(-1, |p| p.end_offset))
                        .with_last_fetch_timestamp(progress.map_or(-1, |p| p.fetched_wall_ms))
                        .with_last_caught_up_timestamp(progress.and_then(|p| p.caught_up_wall_ms).unwrap_or(-1))
                };
                let own = Progress {
                    end_offset: end,
                    fetched_wall_ms: now.wall_ms,
                    caught_up_wall_ms: Some(now.wall_ms),
                    ..Progress::default()
                };
                let voter = |id: &NodeId| {
                    state(
                        *id,
                        if *id == self.me {
                            Some(&own)
                        } else {
                            leader.progress.get(id)
                        },
                    )
                };
                partition.high_watermark = self.high_watermark.unwrap_or(-1);
                partition.current_voters = self.voters.iter().map(voter).collect();
                partition.observers = leader
                    .progress
                    .iter()
                    .filter(|(id, _)| self.voters.binary_search(id).is_err())
                    .map(|(id, progress)| state(*id, Some(progress)))
                    .collect();
            }
            _ => partition.error_code = ResponseError::NotLeaderOrFollower.code(),
        }
        let topic = TopicData::default()
            .with_topic_name(TopicName(StrBytes::from_static_str(METADATA_TOPIC)))
            .with_partitions(vec![partition]);
        self.reply(id, DescribeQuorumResponse::default().with_topics(vec![topic]), out);
    }
}
