//! DeleteRecords: move a leader's log start up, then wait until every living replica has followed.
//!
//! Guarantees: never beyond the high watermark; the low watermark that is answered is the smallest log start of all
//! replicas whose broker lives. Followers hear of the leader's log start in their fetches.
//!
//! Sources: KIP-107, Kafka's DelayedDeleteRecords, Partition.lowWatermarkIfLeader.

use super::codes;
use super::manager::ReplicaManager;
use super::produce::code_of;
use crate::disk::Disk;
use crate::log::LogError;
use crate::machine::Outbox;
use crate::metadata::MetadataImage;
use crate::types::{Now, Offset, RequestId, TopicPartition};
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::delete_records_request::DeleteRecordsRequest;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Part {
    topic: usize,
    index: i32,
    id: Option<TopicPartition>,
    /// Waits until the low watermark is there.
    required: Option<Offset>,
    error_code: i16,
    low_watermark: Offset,
}

/// A request that waits for followers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct WaitingDelete {
    topics: Vec<TopicName>,
    parts: Vec<Part>,
}

impl WaitingDelete {
    fn is_done(&self) -> bool {
        self.parts.iter().all(|part| part.required.is_none())
    }

    fn into_response(self) -> DeleteRecordsResponse {
        let mut topics: Vec<DeleteRecordsTopicResult> = self
            .topics
            .into_iter()
            .map(|name| DeleteRecordsTopicResult::default().with_name(name))
            .collect();
        for part in self.parts {
            let result = DeleteRecordsPartitionResult::default()
                .with_partition_index(part.index)
                .with_error_code(part.error_code)
                .with_low_watermark(part.low_watermark);
            topics[part.topic].partitions.push(result);
        }
        DeleteRecordsResponse::default().with_topics(topics)
    }
}

impl ReplicaManager {
    /// An administrator wants records gone. Answered when all living replicas have followed, or in time.
    pub fn delete_records(
        &mut self,
        id: RequestId,
        request: &DeleteRecordsRequest,
        image: &MetadataImage,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let mut waiting = WaitingDelete::default();
        for (topic, data) in request.topics.iter().enumerate() {
            waiting.topics.push(data.name.clone());
            let topic_id = image.topic_ids.get(data.name.as_str()).copied();
            for partition in &data.partitions {
                let index = partition.partition_index;
                let id = topic_id.map(|topic| TopicPartition {
                    topic,
                    partition: index,
                });
                let id = id.filter(|id| image.partition(*id).is_some());
                let required = match id {
                    None => Err(codes::UNKNOWN_TOPIC_OR_PARTITION),
                    Some(id) => self.delete_before(id, partition.offset, now, disk, out)?,
                };
                waiting.parts.push(Part {
                    topic,
                    index,
                    id,
                    required: required.ok(),
                    error_code: required.err().unwrap_or(codes::NONE),
                    low_watermark: -1,
                });
            }
        }
        let touched: Vec<_> = waiting
            .parts
            .iter()
            .filter(|p| p.required.is_some())
            .filter_map(|p| p.id)
            .collect();
        for id in &touched {
            self.watch_log(*id);
            self.complete(*id, now, disk, out)?;
        }
        self.settle_delete(&mut waiting);
        if waiting.is_done() {
            out.reply(id, waiting.into_response());
        } else {
            let deadline = now.mono.plus_ms(u64::from(request.timeout_ms.max(0).unsigned_abs()));
            self.deletes.insert(id, deadline, touched, waiting);
        }
        self.end_step(now, disk, out)
    }

    /// Moves the leader's log start; the offset that the low watermark must reach. -1 asks for the high watermark.
    fn delete_before(
        &mut self,
        id: TopicPartition,
        offset: Offset,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Result<Offset, i16>, LogError> {
        let Some(partition) = self.partitions.get_mut(&id).filter(|partition| partition.is_leader()) else {
            return Ok(Err(codes::NOT_LEADER_OR_FOLLOWER));
        };
        let offset = if offset == -1 {
            partition.high_watermark()
        } else {
            offset
        };
        if offset < 0 {
            return Ok(Err(codes::OFFSET_OUT_OF_RANGE));
        }
        match partition.advance_log_start(offset, now, disk, out) {
            Ok(()) => Ok(Ok(offset)),
            Err(error) => Ok(Err(code_of(error)?)),
        }
    }

    fn settle_delete(&self, waiting: &mut WaitingDelete) {
        for part in &mut waiting.parts {
            let (Some(required), Some(id)) = (part.required, part.id) else {
                continue;
            };
            match self.partitions.get(&id).filter(|partition| partition.is_leader()) {
                None => {
                    part.required = None;
                    part.error_code = codes::NOT_LEADER_OR_FOLLOWER;
                }
                Some(partition) => {
                    let low = partition.low_watermark(&self.cluster);
                    if low >= required {
                        part.required = None;
                        part.low_watermark = low;
                    }
                }
            }
        }
    }

    /// Looks again at the deletions that wait for this partition.
    pub(super) fn complete_deletes(&mut self, id: TopicPartition, out: &mut Outbox) {
        for request in self.deletes.watchers(id) {
            let Some(mut waiting) = self.deletes.get_mut(request).map(std::mem::take) else {
                continue;
            };
            self.settle_delete(&mut waiting);
            if waiting.is_done() {
                self.deletes.remove(request);
                out.reply(request, waiting.into_response());
            } else if let Some(place) = self.deletes.get_mut(request) {
                *place = waiting;
            }
        }
    }

    /// Time is up.
    pub(super) fn expire_deletes(&mut self, now: Now, out: &mut Outbox) {
        while let Some(request) = self.deletes.expired(now.mono) {
            let Some(mut waiting) = self.deletes.remove(request) else {
                return;
            };
            for part in waiting.parts.iter_mut().filter(|part| part.required.is_some()) {
                part.required = None;
                part.error_code = codes::REQUEST_TIMED_OUT;
            }
            out.reply(request, waiting.into_response());
        }
    }
}
