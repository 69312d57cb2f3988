//! Produce: append as leader, then answer at once or when enough replicas have it.
//!
//! Guarantees: success for `acks=all` is decided at one instant at which this broker leads in the epoch of the append,
//! the high watermark has passed the records, and the ISR is large enough. `acks=1` waits only for a flush that
//! `flush.messages` makes due. With `acks=0` there is no answer at all:
//! `out.reply` is not called.
//! A batch that a producer sends again is waited for as it was the first time. It does not know producers' sequence
//! numbers: that is the log's.
//!
//! Sources: Kafka's ReplicaManager.appendRecords, DelayedProduce, KAFKA-2960, KIP-951 (the leader in errors).

use super::codes;
use super::manager::ReplicaManager;
use super::partition::Partition;
use crate::disk::Disk;
use crate::log::LogError;
use crate::machine::Outbox;
use crate::metadata::MetadataImage;
use crate::note::{Note, PartitionState};
use crate::rules::Rule;
use crate::types::{LeaderEpoch, Now, Offset, RequestId, TopicPartition, Uuid};
use crate::wire::batch::BatchHeader;
use bytes::Bytes;
use kafka_protocol::messages::produce_request::ProduceRequest;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;

/// What was appended for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Append {
    base_offset: Offset,
    last_offset: Offset,
    leader_epoch: LeaderEpoch,
    log_start_offset: Offset,
    /// Milliseconds, where the topic's timestamps are those of the append.
    append_time: Option<i64>,
}

/// What a refusal says beside its code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Why {
    /// The leader that the client should turn to, and its epoch.
    leader: Option<(i32, i32)>,
    message: Option<String>,
    /// Index in the batch and reason, where single records are at fault (KIP-467).
    records: Vec<(i32, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Progress {
    /// Nothing will change it any more.
    Decided(i16, Option<Append>, Why),
    /// Waits for the high watermark (`acks=all`) or until the append has returned (`acks=1`).
    Waiting(Append),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Part {
    /// Index into the topics of the request.
    topic: usize,
    index: i32,
    /// None if there is no such topic.
    id: Option<TopicPartition>,
    progress: Progress,
}

/// A produce request that waits for replicas.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WaitingProduce {
    acks: i16,
    topics: Vec<(TopicName, Uuid)>,
    parts: Vec<Part>,
}

impl WaitingProduce {
    fn is_decided(&self) -> bool {
        self.parts
            .iter()
            .all(|part| matches!(part.progress, Progress::Decided(..)))
    }

    fn into_response(self) -> ProduceResponse {
        let mut responses: Vec<TopicProduceResponse> = (self.topics.into_iter())
            .map(|(name, id)| TopicProduceResponse::default().with_name(name).with_topic_id(id))
            .collect();
        for part in self.parts {
            let Progress::Decided(error_code, append, why) = part.progress else {
                unreachable!("answered before it was decided");
            };
            let mut response = PartitionProduceResponse::default()
                .with_index(part.index)
                .with_error_code(error_code)
                .with_base_offset(-1);
            if let Some(append) = append.filter(|_| error_code == codes::NONE) {
                response.base_offset = append.base_offset;
                response.log_start_offset = append.log_start_offset;
                response.log_append_time_ms = append.append_time.unwrap_or(-1);
            }
            let error = |(index, message): (i32, String)| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(index)
                    .with_batch_index_error_message(Some(StrBytes::from_string(message)))
            };
            response.record_errors = why.records.into_iter().map(error).collect();
            response.error_message = why.message.map(StrBytes::from_string);
            if let Some((id, epoch)) = why.leader {
                response.current_leader = LeaderIdAndEpoch::default()
                    .with_leader_id(BrokerId(id))
                    .with_leader_epoch(epoch);
            }
            responses[part.topic].partition_responses.push(response);
        }
        ProduceResponse::default().with_responses(responses)
    }
}

impl ReplicaManager {
    /// A client's records. Answered at once, or later from the purgatory, or never (`acks=0`).
    #[allow(clippy::too_many_arguments)] // A request handler: id, request, version, and what every step is given.
    pub fn produce(
        &mut self,
        id: RequestId,
        request: &ProduceRequest,
        version: i16,
        image: &MetadataImage,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let acks = request.acks;
        let mut waiting = WaitingProduce {
            acks,
            topics: Vec::with_capacity(request.topic_data.len()),
            parts: Vec::with_capacity(request.topic_data.len()),
        };
        for (topic, data) in request.topic_data.iter().enumerate() {
            waiting.topics.push((data.name.clone(), data.topic_id));
            let topic_id = if data.topic_id.is_nil() {
                image.topic_ids.get(data.name.as_str()).copied()
            } else {
                Some(data.topic_id).filter(|id| image.topics.contains_key(id))
            };
            for partition in &data.partition_data {
                let id = topic_id.map(|topic| TopicPartition {
                    topic,
                    partition: partition.index,
                });
                let progress = match id {
                    None if data.topic_id.is_nil() => {
                        Progress::Decided(codes::UNKNOWN_TOPIC_OR_PARTITION, None, Why::default())
                    }
                    None => Progress::Decided(codes::UNKNOWN_TOPIC_ID, None, Why::default()),
                    Some(_) if !(-1..=1).contains(&acks) => {
                        Progress::Decided(codes::INVALID_REQUIRED_ACKS, None, Why::default())
                    }
                    Some(_) if version < ZSTD_SINCE && is_zstd(partition.records.as_ref()) => {
                        Progress::Decided(codes::UNSUPPORTED_COMPRESSION_TYPE, None, Why::default())
                    }
                    Some(id) => match self.append(id, partition.records.as_ref(), acks, now, disk, out)? {
                        Ok(append) if acks == 0 => Progress::Decided(codes::NONE, Some(append), Why::default()),
                        Ok(append) => Progress::Waiting(append),
                        Err((code, why)) => refusal(code, why, id, image),
                    },
                };
                let part = Part {
                    topic,
                    index: partition.index,
                    id,
                    progress,
                };
                if acks != 0 && matches!(part.progress, Progress::Decided(..)) {
                    note_answer(&part, acks, &self.partitions, out);
                }
                waiting.parts.push(part);
            }
        }
        let appended: Vec<TopicPartition> = waiting.parts.iter().filter_map(appended_to).collect();
        for id in appended {
            self.after_append(id, now, disk, out)?;
        }
        if acks == 0 {
            return self.end_step(now, disk, out);
        }
        self.decide(&mut waiting, out);
        if waiting.is_decided() {
            out.reply(id, waiting.into_response());
        } else {
            let watched = waiting
                .parts
                .iter()
                .filter(|part| matches!(part.progress, Progress::Waiting(_)));
            let keys = watched.filter_map(|part| part.id).collect();
            let deadline = now.mono.plus_ms(u64::from(request.timeout_ms.max(0).unsigned_abs()));
            self.produces.insert(id, deadline, keys, waiting);
        }
        self.end_step(now, disk, out)
    }

    /// Appends, or says why not. The outer error is the disk's.
    fn append(
        &mut self,
        id: TopicPartition,
        records: Option<&Bytes>,
        acks: i16,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Result<Append, (i16, Why)>, LogError> {
        let takes_records = self.takes_records();
        let partition = self.partitions.get_mut(&id);
        let Some(partition) = partition.filter(|partition| partition.is_leader() && takes_records) else {
            return Ok(Err((codes::NOT_LEADER_OR_FOLLOWER, Why::default())));
        };
        if acks == -1 && partition.is_under_min_isr() {
            return Ok(Err((codes::NOT_ENOUGH_REPLICAS, Why::default())));
        }
        let Some(records) = records else {
            return Ok(Err((codes::INVALID_RECORD, Why::default())));
        };
        let leader_epoch = partition.leader_epoch();
        match partition.log.append_as_leader(records, leader_epoch, now, disk, out) {
            Ok(appended) => Ok(Ok(Append {
                base_offset: appended.base_offset,
                last_offset: appended.last_offset,
                leader_epoch,
                log_start_offset: partition.log.log_start_offset(),
                append_time: partition.log.stamps_appends().then_some(now.wall_ms),
            })),
            Err(LogError::InvalidTimestamps(records)) => {
                let message = LogError::InvalidTimestamps(Vec::new()).to_string();
                let message = Some(message);
                Ok(Err((
                    codes::INVALID_TIMESTAMP,
                    Why {
                        message,
                        records,
                        leader: None,
                    },
                )))
            }
            Err(error) => {
                let message = Some(error.to_string());
                Ok(Err((
                    code_of(error)?,
                    Why {
                        message,
                        ..Why::default()
                    },
                )))
            }
        }
    }

    /// The leader's log has grown: followers may be waiting for it, and a lone leader's high watermark moves.
    fn after_append(
        &mut self,
        id: TopicPartition,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        self.watch_log(id);
        if self.moves_on(id, now, disk, out)? {
            return Ok(());
        }
        self.complete_fetches(id, now, disk, out)
    }

    /// A flush that appends waited for is done: a leader answers and moves on, a follower fetches again.
    pub(super) fn appends_returned(
        &mut self,
        id: TopicPartition,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        self.wake_fetcher_of(id);
        if !self.moves_on(id, now, disk, out)? {
            self.complete_produces(id, out);
        }
        Ok(())
    }

    /// The high watermark moves if it can, and all who waited for it are answered. False: it stays where it is.
    pub(super) fn moves_on(
        &mut self,
        id: TopicPartition,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<bool, LogError> {
        let Some(partition) = self.partitions.get_mut(&id) else {
            // Whoever waited for a partition that is gone was answered when it went.
            return Ok(true);
        };
        let moves = partition.advance_high_watermark(&self.cluster, now.mono, out);
        if moves {
            self.complete(id, now, disk, out)?;
        }
        Ok(moves)
    }

    /// Decides what can be decided, and notes it at that very moment.
    fn decide(&self, waiting: &mut WaitingProduce, out: &mut Outbox) {
        let recheck = !self.cluster.rules.has(Rule::AckWithoutLeadershipRecheck);
        for part in &mut waiting.parts {
            let (Progress::Waiting(append), Some(id)) = (&part.progress, part.id) else {
                continue;
            };
            let required = append.last_offset + 1;
            let partition = self.partitions.get(&id);
            let leads = |p: &Partition| p.is_leader() && p.leader_epoch() == append.leader_epoch;
            let code = match partition {
                // It is in the log, which is all that was asked for; what a new leader makes of it does not matter.
                Some(p) if waiting.acks == 1 && leads(p) && p.log().returned_end_offset() < required => continue,
                _ if waiting.acks == 1 => codes::NONE,
                None => codes::NOT_LEADER_OR_FOLLOWER,
                Some(p) if recheck && !leads(p) => codes::NOT_LEADER_OR_FOLLOWER,
                Some(p) if p.high_watermark() < required => continue,
                Some(p) if recheck && p.maximal_isr_size() < p.effective_min_isr() => {
                    codes::NOT_ENOUGH_REPLICAS_AFTER_APPEND
                }
                Some(_) => codes::NONE,
            };
            part.progress = Progress::Decided(code, Some(*append), Why::default());
            note_answer(part, waiting.acks, &self.partitions, out);
        }
    }

    /// Looks again at what waits for this partition.
    pub(super) fn complete_produces(&mut self, id: TopicPartition, out: &mut Outbox) {
        for request in self.produces.watchers(id) {
            let Some(mut waiting) = self.produces.get_mut(request).map(std::mem::take) else {
                continue;
            };
            self.decide(&mut waiting, out);
            if waiting.is_decided() {
                self.produces.remove(request);
                out.reply(request, waiting.into_response());
            } else if let Some(place) = self.produces.get_mut(request) {
                *place = waiting;
            }
        }
    }

    /// Time is up: what is not decided has timed out.
    pub(super) fn expire_produces(&mut self, now: Now, out: &mut Outbox) {
        while let Some(request) = self.produces.expired(now.mono) {
            let Some(mut waiting) = self.produces.remove(request) else {
                return;
            };
            for part in &mut waiting.parts {
                if let Progress::Waiting(append) = part.progress {
                    part.progress = Progress::Decided(codes::REQUEST_TIMED_OUT, Some(append), Why::default());
                    note_answer(part, waiting.acks, &self.partitions, out);
                }
            }
            out.reply(request, waiting.into_response());
        }
    }
}

impl Default for WaitingProduce {
    /// Of nothing: what stands in the purgatory while the request is looked at.
    fn default() -> Self {
        WaitingProduce {
            acks: 0,
            topics: Vec::new(),
            parts: Vec::new(),
        }
    }
}

/// The first version of Produce whose clients may compress with zstd (KIP-110).
const ZSTD_SINCE: i16 = 7;
const ZSTD: i16 = 4;

fn is_zstd(records: Option<&Bytes>) -> bool {
    let header = records.and_then(|records| BatchHeader::parse(records).ok());
    header.is_some_and(|header| header.compression() == ZSTD)
}

fn appended_to(part: &Part) -> Option<TopicPartition> {
    match part.progress {
        Progress::Waiting(_) | Progress::Decided(_, Some(_), _) => part.id,
        Progress::Decided(_, None, _) => None,
    }
}

/// An error, with the leader that the client should turn to.
fn refusal(code: i16, mut why: Why, id: TopicPartition, image: &MetadataImage) -> Progress {
    let Some(state) = image.partition(id) else {
        return Progress::Decided(codes::UNKNOWN_TOPIC_OR_PARTITION, None, Why::default());
    };
    why.leader = (code == codes::NOT_LEADER_OR_FOLLOWER)
        .then_some((state.leader.map_or(-1, |leader| leader.0), state.leader_epoch.0));
    Progress::Decided(code, None, why)
}

fn note_answer(part: &Part, acks: i16, partitions: &BTreeMap<TopicPartition, Partition>, out: &mut Outbox) {
    let (Some(id), Progress::Decided(error_code, append, _)) = (part.id, &part.progress) else {
        return;
    };
    let partition = partitions.get(&id);
    let success = append.filter(|_| *error_code == codes::NONE);
    let leading = |partition: &&Partition| partition.is_leader();
    let state: Option<PartitionState> = partition.filter(leading).map(|partition| partition.state().clone());
    let epoch_now = partition.map_or(LeaderEpoch(-1), Partition::leader_epoch);
    out.note(Note::ProduceAnswered {
        partition: id,
        error_code: *error_code,
        base_offset: success.map_or(-1, |append| append.base_offset),
        last_offset: success.map_or(-1, |append| append.last_offset),
        acks,
        leader_epoch: append.map_or(epoch_now, |append| append.leader_epoch),
        state,
        high_watermark: partition.map_or(-1, Partition::high_watermark),
    });
}

/// The error code of a refused call on a log; the disk's failure stays an error.
pub(super) fn code_of(error: LogError) -> Result<i16, LogError> {
    Ok(match error {
        LogError::Disk(_) => return Err(error),
        LogError::OutOfRange => codes::OFFSET_OUT_OF_RANGE,
        LogError::Corrupt => codes::CORRUPT_MESSAGE,
        LogError::TooLarge => codes::MESSAGE_TOO_LARGE,
        LogError::Invalid(_) => codes::INVALID_RECORD,
        LogError::InvalidTimestamps(_) => codes::INVALID_TIMESTAMP,
        LogError::UnsupportedCompression => codes::UNSUPPORTED_COMPRESSION_TYPE,
        LogError::NotContiguous { .. } => codes::INVALID_RECORD,
        LogError::OutOfOrderSequence => codes::OUT_OF_ORDER_SEQUENCE_NUMBER,
        LogError::InvalidProducerEpoch => codes::INVALID_PRODUCER_EPOCH,
        LogError::InvalidTransactionState => codes::INVALID_TXN_STATE,
    })
}
