//! The shapes of the quorum's messages: one topic, one partition, a lot of wrapping.
//!
//! Guarantees: requests carry the cluster id; answers carry the leader and epoch that their sender knows. Deliberately
//! does not decide anything.
//!
//! Sources: KIP-595, KIP-630, KIP-996; Kafka's `RaftUtil` and message schemas (Vote 2, BeginQuorumEpoch 1,
//! EndQuorumEpoch 1, Fetch 17 and 18, FetchSnapshot 1).

use super::store::Election;
use crate::types::{LeaderEpoch, METADATA_TOPIC, METADATA_TOPIC_ID, NodeId, Offset};
use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

/// A snapshot's name: all records below the offset, the epoch of the last of them.
pub(super) type SnapshotId = (Offset, LeaderEpoch);

/// An error code; 0 is none.
pub(super) fn code(error: Option<ResponseError>) -> i16 {
    error.map_or(0, |error| error.code())
}

/// The metadata topic's name as it stands in requests.
fn topic_name() -> TopicName {
    TopicName(StrBytes::from_static_str(METADATA_TOPIC))
}

/// A leader or nobody (-1).
pub(super) fn node_or_none(node: Option<NodeId>) -> BrokerId {
    BrokerId(node.map_or(-1, |node| node.0))
}

/// Somebody, or nobody (negative).
pub(super) fn node(id: BrokerId) -> Option<NodeId> {
    (id.0 >= 0).then_some(NodeId(id.0))
}

/// The one partition of a request of this shape, if it is the metadata log's.
macro_rules! metadata_partition {
    ($topics:expr, $name:ident, $index:ident) => {
        match $topics.as_slice() {
            [topic] if topic.$name.0 == *crate::types::METADATA_TOPIC => match topic.partitions.as_slice() {
                [partition] if partition.$index == 0 => Some(partition),
                _ => None,
            },
            _ => None,
        }
    };
}
pub(super) use metadata_partition;

/// Who asks and in which epoch.
pub(super) struct Sender<'a> {
    pub cluster_id: &'a StrBytes,
    pub me: NodeId,
    pub epoch: LeaderEpoch,
}

impl Sender<'_> {
    pub fn vote(&self, to: NodeId, last_epoch: LeaderEpoch, end_offset: Offset, pre_vote: bool) -> RequestKind {
        let partition = vote_request::PartitionData::default()
            .with_replica_epoch(self.epoch.0)
            .with_replica_id(BrokerId(self.me.0))
            .with_last_offset_epoch(last_epoch.0)
            .with_last_offset(end_offset)
            .with_pre_vote(pre_vote);
        let topic = vote_request::TopicData::default()
            .with_topic_name(topic_name())
            .with_partitions(vec![partition]);
        RequestKind::Vote(
            VoteRequest::default()
                .with_cluster_id(Some(self.cluster_id.clone()))
                .with_voter_id(BrokerId(to.0))
                .with_topics(vec![topic]),
        )
    }

    pub fn begin(&self, to: NodeId) -> RequestKind {
        let partition = begin_quorum_epoch_request::PartitionData::default()
            .with_leader_id(BrokerId(self.me.0))
            .with_leader_epoch(self.epoch.0);
        let topic = begin_quorum_epoch_request::TopicData::default()
            .with_topic_name(topic_name())
            .with_partitions(vec![partition]);
        RequestKind::BeginQuorumEpoch(
            BeginQuorumEpochRequest::default()
                .with_cluster_id(Some(self.cluster_id.clone()))
                .with_voter_id(BrokerId(to.0))
                .with_topics(vec![topic]),
        )
    }

    /// `successors`: the longest log first.
    pub fn end(&self, successors: &[NodeId]) -> RequestKind {
        let candidate =
            |id: &NodeId| end_quorum_epoch_request::ReplicaInfo::default().with_candidate_id(BrokerId(id.0));
        let partition = end_quorum_epoch_request::PartitionData::default()
            .with_leader_id(BrokerId(self.me.0))
            .with_leader_epoch(self.epoch.0)
            .with_preferred_candidates(successors.iter().map(candidate).collect());
        let topic = end_quorum_epoch_request::TopicData::default()
            .with_topic_name(topic_name())
            .with_partitions(vec![partition]);
        RequestKind::EndQuorumEpoch(
            EndQuorumEpochRequest::default()
                .with_cluster_id(Some(self.cluster_id.clone()))
                .with_topics(vec![topic]),
        )
    }

    /// A negative `high_watermark` means that we know none (KIP-1166).
    pub fn fetch(
        &self,
        offset: Offset,
        last_epoch: LeaderEpoch,
        log_start: Offset,
        high_watermark: Offset,
        max_wait_ms: i32,
        max_bytes: i32,
    ) -> RequestKind {
        let partition = fetch_request::FetchPartition::default()
            .with_current_leader_epoch(self.epoch.0)
            .with_fetch_offset(offset)
            .with_last_fetched_epoch(last_epoch.0)
            .with_log_start_offset(log_start)
            .with_partition_max_bytes(max_bytes)
            .with_high_watermark(high_watermark);
        let topic = fetch_request::FetchTopic::default()
            .with_topic_id(METADATA_TOPIC_ID)
            .with_partitions(vec![partition]);
        let state = fetch_request::ReplicaState::default()
            .with_replica_id(BrokerId(self.me.0))
            .with_replica_epoch(-1);
        RequestKind::Fetch(
            FetchRequest::default()
                .with_cluster_id(Some(self.cluster_id.clone()))
                .with_replica_state(state)
                .with_max_wait_ms(max_wait_ms)
                .with_min_bytes(0)
                .with_max_bytes(max_bytes)
                .with_session_id(0)
                .with_session_epoch(-1)
                .with_topics(vec![topic]),
        )
    }

    pub fn fetch_snapshot(&self, id: SnapshotId, position: i64, max_bytes: i32) -> RequestKind {
        let partition = fetch_snapshot_request::PartitionSnapshot::default()
            .with_current_leader_epoch(self.epoch.0)
            .with_snapshot_id(
                fetch_snapshot_request::SnapshotId::default()
                    .with_end_offset(id.0)
                    .with_epoch(id.1.0),
            )
            .with_position(position);
        let topic = fetch_snapshot_request::TopicSnapshot::default()
            .with_name(topic_name())
            .with_partitions(vec![partition]);
        RequestKind::FetchSnapshot(
            FetchSnapshotRequest::default()
                .with_cluster_id(Some(self.cluster_id.clone()))
                .with_replica_id(BrokerId(self.me.0))
                .with_max_bytes(max_bytes)
                .with_topics(vec![topic]),
        )
    }
}

/// Answer to Vote.
pub(super) fn vote_response(error: Option<ResponseError>, known: Election, granted: bool) -> VoteResponse {
    let partition = vote_response::PartitionData::default()
        .with_error_code(code(error))
        .with_leader_id(node_or_none(known.leader))
        .with_leader_epoch(known.epoch.0)
        .with_vote_granted(granted);
    let topic = vote_response::TopicData::default()
        .with_topic_name(topic_name())
        .with_partitions(vec![partition]);
    VoteResponse::default().with_topics(vec![topic])
}

/// Answer to BeginQuorumEpoch.
pub(super) fn begin_response(error: Option<ResponseError>, known: Election) -> BeginQuorumEpochResponse {
    let partition = begin_quorum_epoch_response::PartitionData::default()
        .with_error_code(code(error))
        .with_leader_id(node_or_none(known.leader))
        .with_leader_epoch(known.epoch.0);
    let topic = begin_quorum_epoch_response::TopicData::default()
        .with_topic_name(topic_name())
        .with_partitions(vec![partition]);
    BeginQuorumEpochResponse::default().with_topics(vec![topic])
}

/// Answer to EndQuorumEpoch.
pub(super) fn end_response(error: Option<ResponseError>, known: Election) -> EndQuorumEpochResponse {
    let partition = end_quorum_epoch_response::PartitionData::default()
        .with_error_code(code(error))
        .with_leader_id(node_or_none(known.leader))
        .with_leader_epoch(known.epoch.0);
    let topic = end_quorum_epoch_response::TopicData::default()
        .with_topic_name(topic_name())
        .with_partitions(vec![partition]);
    EndQuorumEpochResponse::default().with_topics(vec![topic])
}

/// Answer to Fetch without records; the caller adds what it has.
pub(super) fn fetch_partition(error: Option<ResponseError>, known: Election) -> fetch_response::PartitionData {
    fetch_response::PartitionData::default()
        .with_error_code(code(error))
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_records(Some(Bytes::new()))
        .with_current_leader(
            fetch_response::LeaderIdAndEpoch::default()
                .with_leader_id(node_or_none(known.leader))
                .with_leader_epoch(known.epoch.0),
        )
}

/// Wraps it. Both ways of naming the topic are filled; the version decides which one travels.
pub(super) fn fetch_response(partition: fetch_response::PartitionData) -> FetchResponse {
    let topic = fetch_response::FetchableTopicResponse::default()
        .with_topic(topic_name())
        .with_topic_id(METADATA_TOPIC_ID)
        .with_partitions(vec![partition]);
    FetchResponse::default().with_responses(vec![topic])
}

/// Answer to FetchSnapshot without bytes.
pub(super) fn piece(
    error: Option<ResponseError>,
    known: Election,
    id: SnapshotId,
) -> fetch_snapshot_response::PartitionSnapshot {
    fetch_snapshot_response::PartitionSnapshot::default()
        .with_error_code(code(error))
        .with_snapshot_id(
            fetch_snapshot_response::SnapshotId::default()
                .with_end_offset(id.0)
                .with_epoch(id.1.0),
        )
        .with_current_leader(
            fetch_snapshot_response::LeaderIdAndEpoch::default()
                .with_leader_id(node_or_none(known.leader))
                .with_leader_epoch(known.epoch.0),
        )
}

/// Wraps it.
pub(super) fn fetch_snapshot_response(partition: fetch_snapshot_response::PartitionSnapshot) -> FetchSnapshotResponse {
    let topic = fetch_snapshot_response::TopicSnapshot::default()
        .with_name(topic_name())
        .with_partitions(vec![partition]);
    FetchSnapshotResponse::default().with_topics(vec![topic])
}
