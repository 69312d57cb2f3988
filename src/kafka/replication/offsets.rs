//! Questions about offsets: ListOffsets and OffsetForLeaderEpoch.
//!
//! Guarantees: what a client is told as the latest offset never goes back across an election: while the high watermark
//! has not reached the start of the leader's epoch, the answer is OFFSET_NOT_AVAILABLE (KIP-207).
//!
//! Sources: Kafka's ReplicaManager.fetchOffset, Partition.fetchOffsetForTimestamp; KIP-79, KIP-101, KIP-207, KIP-279,
//! KIP-320, KIP-734 (the record with the largest timestamp).

use super::codes;
use super::epochs;
use super::manager::ReplicaManager;
use super::partition::Role;
use super::produce::code_of;
use crate::disk::Disk;
use crate::log::LogError;
use crate::machine::Outbox;
use crate::metadata::MetadataImage;
use crate::rules::Rule;
use crate::types::{LeaderEpoch, Now, Offset, RequestId, TopicPartition};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

/// The end of what may be read.
pub const LATEST_TIMESTAMP: i64 = -1;
/// The log start.
pub const EARLIEST_TIMESTAMP: i64 = -2;
/// The record with the largest timestamp.
const MAX_TIMESTAMP: i64 = -3;
/// The same as the earliest where nothing is tiered.
const EARLIEST_LOCAL_TIMESTAMP: i64 = -4;
/// A tool that may ask any replica.
const DEBUGGING_REPLICA: i32 = -2;

/// Offset, timestamp (-1: none), epoch.
type Found = (Offset, i64, Option<LeaderEpoch>);

fn some_epoch(epoch: i32) -> Option<LeaderEpoch> {
    (epoch >= 0).then_some(LeaderEpoch(epoch))
}

impl ReplicaManager {
    /// Where is this time? `version` decides how "not yet" is said.
    #[allow(clippy::too_many_arguments)] // A request handler: id, request, version, and what every step is given.
    pub fn list_offsets(
        &mut self,
        id: RequestId,
        request: &ListOffsetsRequest,
        version: i16,
        image: &MetadataImage,
        _now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let topic_id = image.topic_ids.get(topic.name.as_str()).copied();
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for (at, asked) in topic.partitions.iter().enumerate() {
                let index = asked.partition_index;
                let id = topic_id.map(|topic| TopicPartition {
                    topic,
                    partition: index,
                });
                let twice = topic.partitions[..at]
                    .iter()
                    .any(|other| other.partition_index == index);
                let found = match id.filter(|id| image.partition(*id).is_some()) {
                    None => Err(codes::UNKNOWN_TOPIC_OR_PARTITION),
                    Some(_) if twice => Err(codes::INVALID_REQUEST),
                    Some(id) => self.find_offset(id, request.replica_id.0, asked, disk, out)?,
                };
                let mut response = ListOffsetsPartitionResponse::default().with_partition_index(index);
                match found {
                    Ok(Some((offset, timestamp, epoch))) => {
                        response.offset = offset;
                        response.timestamp = timestamp;
                        if version >= 4 {
                            response.leader_epoch = epoch.map_or(-1, |epoch| epoch.0);
                        }
                    }
                    Ok(None) => {}
                    Err(codes::OFFSET_NOT_AVAILABLE) if version < 5 => {
                        response.error_code = codes::LEADER_NOT_AVAILABLE;
                    }
                    Err(code) => response.error_code = code,
                }
                partitions.push(response);
            }
            topics.push(
                ListOffsetsTopicResponse::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions),
            );
        }
        out.reply(id, ListOffsetsResponse::default().with_topics(topics));
        Ok(())
    }

    /// None: there is no record so late.
    fn find_offset(
        &mut self,
        id: TopicPartition,
        replica: i32,
        asked: &ListOffsetsPartition,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Result<Option<Found>, i16>, LogError> {
        let Some(partition) = self.partitions.get_mut(&id) else {
            return Ok(Err(codes::NOT_LEADER_OR_FOLLOWER));
        };
        let leader_only = replica != DEBUGGING_REPLICA;
        if let Err(code) = partition.check(some_epoch(asked.current_leader_epoch), leader_only, out) {
            return Ok(Err(code));
        }
        let from_client = replica == -1;
        let high_watermark = partition.high_watermark();
        let limit = if from_client {
            high_watermark
        } else {
            partition.log.log_end_offset()
        };
        let lagging = match &partition.role {
            Role::Leader(leadership) => from_client && leadership.epoch_start_offset > high_watermark,
            Role::Follower => false,
        };
        let found = match asked.timestamp {
            LATEST_TIMESTAMP if lagging => return Ok(Err(codes::OFFSET_NOT_AVAILABLE)),
            LATEST_TIMESTAMP => return Ok(Ok(Some((limit, -1, Some(partition.leader_epoch()))))),
            EARLIEST_TIMESTAMP | EARLIEST_LOCAL_TIMESTAMP => {
                let start = partition.log.log_start_offset();
                // An epoch that begins at the start, or reaches over it; none for an empty log.
                let epoch = partition
                    .epochs()
                    .iter()
                    .rev()
                    .find(|(_, first)| *first <= start)
                    .map(|(epoch, _)| *epoch);
                return Ok(Ok(Some((start, -1, epoch))));
            }
            MAX_TIMESTAMP => max_timestamp(&mut partition.log, disk),
            timestamp if timestamp < 0 => return Ok(Err(codes::INVALID_REQUEST)),
            timestamp => partition.log.offset_for_timestamp(timestamp, disk),
        };
        match found {
            Err(error) => Ok(Err(code_of(error)?)),
            // Beyond what may be read: as good as nothing, unless it is about to become readable.
            Ok(Some((offset, _, _))) if offset >= limit && lagging => Ok(Err(codes::OFFSET_NOT_AVAILABLE)),
            Ok(Some((offset, _, _))) if offset >= limit => Ok(Ok(None)),
            Ok(Some((offset, timestamp, epoch))) => Ok(Ok(Some((offset, timestamp, Some(epoch))))),
            Ok(None) if lagging => Ok(Err(codes::OFFSET_NOT_AVAILABLE)),
            Ok(None) => Ok(Ok(None)),
        }
    }

    /// Where does this epoch end?
    pub fn offset_for_leader_epoch(
        &mut self,
        id: RequestId,
        request: &OffsetForLeaderEpochRequest,
        image: &MetadataImage,
        _now: Now,
        _disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let topic_id = image.topic_ids.get(topic.topic.as_str()).copied();
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in &topic.partitions {
                let id = topic_id.map(|topic| TopicPartition {
                    topic,
                    partition: asked.partition,
                });
                let end = match id.filter(|id| image.partition(*id).is_some()) {
                    None => Err(codes::UNKNOWN_TOPIC_OR_PARTITION),
                    Some(id) => self.epoch_end(id, asked, out),
                };
                let mut response = EpochEndOffset::default().with_partition(asked.partition);
                match end {
                    Ok((epoch, end)) => {
                        response.leader_epoch = epoch.map_or(-1, |epoch| epoch.0);
                        response.end_offset = end.unwrap_or(-1);
                    }
                    Err(code) => response.error_code = code,
                }
                partitions.push(response);
            }
            let result = OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone());
            topics.push(result.with_partitions(partitions));
        }
        out.reply(id, OffsetForLeaderEpochResponse::default().with_topics(topics));
        Ok(())
    }

    fn epoch_end(
        &self,
        id: TopicPartition,
        asked: &OffsetForLeaderPartition,
        out: &mut Outbox,
    ) -> Result<(Option<LeaderEpoch>, Option<Offset>), i16> {
        let partition = self.partitions.get(&id).ok_or(codes::NOT_LEADER_OR_FOLLOWER)?;
        partition.check(some_epoch(asked.current_leader_epoch), true, out)?;
        let requested = LeaderEpoch(asked.leader_epoch);
        if self.cluster.rules.has(Rule::EpochEndOffsetV0) {
            let end = partition.log.log_end_offset();
            return Ok((
                None,
                epochs::end_offset_before_kip_279(partition.epochs(), end, requested),
            ));
        }
        let found = partition.end_offset_for_epoch(requested);
        Ok((found.map(|(epoch, _)| epoch), found.map(|(_, end)| end)))
    }
}

/// The first record with the largest timestamp, found by halving: the log knows only "the first at or after".
fn max_timestamp(
    log: &mut crate::log::Log,
    disk: &mut dyn Disk,
) -> Result<Option<(Offset, i64, LeaderEpoch)>, LogError> {
    let mut best = log.offset_for_timestamp(0, disk)?;
    let Some((_, first, _)) = best else {
        return Ok(None);
    };
    let (mut low, mut high) = (first, i64::MAX);
    while low < high {
        let middle = low + (high - low) / 2 + 1;
        match log.offset_for_timestamp(middle, disk)? {
            Some(found) => {
                low = found.1.max(middle);
                best = Some(found);
            }
            None => high = middle - 1,
        }
    }
    Ok(best)
}
