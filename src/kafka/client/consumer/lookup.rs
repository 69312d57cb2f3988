//! Questions to leaders that are not fetches: offsets by time, for resets and for the user, and ends of epochs.
//!
//! Guarantees: an answer is used only for the position it was asked for; a query of the user ends exactly once, with an
//! answer, a final error, or the time-out.
//! Does not know: when a position needs one of these; `position` does.
//!
//! Sources: Kafka 4.1 `OffsetFetcher`, `OffsetsForLeaderEpochUtils`; KIP-207 (OFFSET_NOT_AVAILABLE), KIP-320.

use super::position::{FetchState, Validation};
use super::{Asked, Consumer, Part};
use crate::client::backoff::{after_ms, delay_ms};
use crate::client::producer::stale_metadata;
use crate::machine::Outbox;
use crate::note::{ClientNote, Note};
use crate::types::{LeaderEpoch, Nanos, NodeId, Now, Offset, Uuid};
use crate::wire::ErrorCode;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsResponse};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::offset_for_leader_epoch_response::EpochEndOffset;
use kafka_protocol::messages::{
    BrokerId, ListOffsetsRequest, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, RequestKind, ResponseKind,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;

/// Replica id of a consumer.
const CONSUMER: BrokerId = BrokerId(-1);

/// A question of the user.
#[derive(Clone, Debug)]
pub(super) struct Query {
    number: u64,
    pub(super) topic: String,
    partition: i32,
    timestamp: i64,
    pub(super) since: Nanos,
    pub(super) retry_at: Nanos,
    failures: u32,
    in_flight: bool,
    /// The last answer; 0 if there was none.
    last_error: ErrorCode,
}

impl Consumer {
    /// Asks where positions are to begin.
    pub(super) fn ask_offsets(&mut self, node: NodeId, partitions: &[usize], now: Now, out: &mut Outbox) {
        let mut topics: Vec<ListOffsetsTopic> = Vec::new();
        let mut parts = Vec::new();
        for at in partitions {
            let assigned = &self.partitions[*at];
            let FetchState::AwaitReset { timestamp, .. } = assigned.position.state() else {
                continue;
            };
            let partition = self.offset_question(&assigned.topic, assigned.partition, timestamp);
            match topics.iter_mut().find(|topic| topic.name == assigned.topic_name) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(
                    ListOffsetsTopic::default()
                        .with_name(assigned.topic_name.clone())
                        .with_partitions(vec![partition]),
                ),
            }
            parts.push(self.part(*at));
        }
        let request = self.offsets_request(topics);
        let tag = self.network.send(node, &request, now, out);
        self.sent(tag, Asked::Offsets(parts));
    }

    /// Asks whether the log is still the one that was read.
    pub(super) fn ask_epochs(&mut self, node: NodeId, partitions: &[usize], now: Now, out: &mut Outbox) {
        let mut topics: Vec<OffsetForLeaderTopic> = Vec::new();
        let mut parts = Vec::new();
        for at in partitions {
            let assigned = &self.partitions[*at];
            let position = assigned.position.position();
            let (Some(current), Some(epoch)) = (position.leader.epoch, position.offset_epoch) else {
                continue;
            };
            let partition = OffsetForLeaderPartition::default()
                .with_partition(assigned.partition)
                .with_current_leader_epoch(current.0)
                .with_leader_epoch(epoch.0);
            match topics.iter_mut().find(|topic| topic.topic == assigned.topic_name) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(
                    OffsetForLeaderTopic::default()
                        .with_topic(assigned.topic_name.clone())
                        .with_partitions(vec![partition]),
                ),
            }
            parts.push(self.part(*at));
        }
        let request = OffsetForLeaderEpochRequest::default()
            .with_replica_id(CONSUMER)
            .with_topics(topics);
        let tag = self
            .network
            .send(node, &RequestKind::OffsetForLeaderEpoch(request), now, out);
        self.sent(tag, Asked::Epochs(parts));
    }

    pub(super) fn offsets_answered(
        &mut self,
        parts: Vec<Part>,
        response: Option<ResponseKind>,
        now: Now,
        out: &mut Outbox,
    ) {
        let answer = match response {
            Some(ResponseKind::ListOffsets(answer)) => Some(answer),
            _ => None,
        };
        for part in parts {
            if !self.is_current(part) {
                continue;
            }
            let assigned = &mut self.partitions[part.partition];
            let found = answer
                .as_ref()
                .and_then(|answer| offset_in(answer, &assigned.topic, assigned.partition));
            let FetchState::AwaitReset { from, .. } = assigned.position.state() else {
                continue;
            };
            match found {
                Some(found) if found.error_code == 0 && found.offset >= 0 => {
                    assigned.failures = 0;
                    let (topic, partition) = (assigned.topic.clone(), assigned.partition);
                    let metadata = &mut self.network.metadata;
                    metadata.learn_epoch(&topic, partition, LeaderEpoch(found.leader_epoch));
                    let leader = metadata.leader(&topic, partition).unwrap_or_default();
                    assigned.position.reset_done(found.offset, leader);
                    if let Some(from) = from {
                        let to = found.offset;
                        out.note(Note::Client(ClientNote::PositionReset {
                            topic,
                            partition,
                            from,
                            to,
                        }));
                    }
                }
                found => self.ask_again(part.partition, found.map(|found| found.error_code), now),
            }
        }
    }

    pub(super) fn epochs_answered(
        &mut self,
        parts: Vec<Part>,
        response: Option<ResponseKind>,
        now: Now,
        out: &mut Outbox,
    ) {
        let answer = match response {
            Some(ResponseKind::OffsetForLeaderEpoch(answer)) => Some(answer),
            _ => None,
        };
        for part in parts {
            if !self.is_current(part) {
                continue;
            }
            let assigned = &mut self.partitions[part.partition];
            let found = answer
                .as_ref()
                .and_then(|answer| epoch_in(answer, &assigned.topic, assigned.partition));
            match found {
                Some(found) if found.error_code == 0 => {
                    assigned.failures = 0;
                    let known = found.leader_epoch >= 0 && found.end_offset >= 0;
                    let end = known.then_some((LeaderEpoch(found.leader_epoch), found.end_offset));
                    let validation = assigned.position.validated(end, self.config.auto_offset_reset);
                    if let Validation::Truncated { position, divergence } = validation {
                        out.note(Note::Client(ClientNote::TruncationDetected {
                            topic: assigned.topic.clone(),
                            partition: assigned.partition,
                            position,
                            divergence,
                        }));
                    }
                }
                found => self.ask_again(part.partition, found.map(|found| found.error_code), now),
            }
        }
    }

    pub(super) fn add_query(&mut self, topic: String, partition: i32, timestamp: i64, now: Now, out: &mut Outbox) {
        self.network.metadata.want(&topic);
        self.next_number += 1 << 32;
        out.note(Note::Client(ClientNote::OffsetAsked {
            query: self.next_number,
            topic: topic.clone(),
            partition,
            timestamp,
        }));
        self.queries.push(Query {
            number: self.next_number,
            topic,
            partition,
            timestamp,
            since: now.mono,
            retry_at: Nanos(0),
            failures: 0,
            in_flight: false,
            last_error: ErrorCode::NONE,
        });
    }

    pub(super) fn ask_queries(&mut self, now: Now, out: &mut Outbox) {
        let timeout_ms = self.config.settings.default_api_timeout_ms;
        let late = |query: &mut Query| after_ms(query.since, timeout_ms) <= now.mono;
        for query in self.queries.extract_if(.., late).collect::<Vec<_>>() {
            let told = if query.last_error.is_none() {
                ErrorCode::REQUEST_TIMED_OUT
            } else {
                query.last_error
            };
            note_listed(&query, None, told, out);
        }
        for i in 0..self.queries.len() {
            let query = &self.queries[i];
            if query.in_flight || now.mono < query.retry_at {
                continue;
            }
            let leader = self.network.metadata.leader(&query.topic, query.partition);
            let Some(node) = leader.and_then(|leader| leader.leader) else {
                self.network.metadata.request_update();
                continue;
            };
            if !self.network.connections.ready(node, now, out) {
                continue;
            }
            let question = self.offset_question(&query.topic, query.partition, query.timestamp);
            let topic = ListOffsetsTopic::default()
                .with_name(TopicName(StrBytes::from_string(query.topic.clone())))
                .with_partitions(vec![question]);
            let number = query.number;
            let request = self.offsets_request(vec![topic]);
            let tag = self.network.send(node, &request, now, out);
            self.queries[i].in_flight = true;
            self.sent(tag, Asked::Query(number));
        }
    }

    pub(super) fn query_answered(&mut self, number: u64, response: Option<ResponseKind>, now: Now, out: &mut Outbox) {
        let Some(i) = self.queries.iter().position(|query| query.number == number) else {
            return;
        };
        let query = &mut self.queries[i];
        query.in_flight = false;
        let found = match &response {
            Some(ResponseKind::ListOffsets(answer)) => offset_in(answer, &query.topic, query.partition),
            _ => None,
        };
        let error = found.map_or(ErrorCode::NETWORK_EXCEPTION, |found| ErrorCode(found.error_code));
        if !error.is_none() && error.retriable() {
            if stale_metadata(error) {
                self.network.metadata.request_update();
            }
            let settings = &self.config.settings;
            query.failures = query.failures.saturating_add(1);
            query.last_error = error;
            let delay = delay_ms(
                settings.retry_backoff_ms,
                settings.retry_backoff_max_ms,
                query.failures,
                &mut self.entropy,
            );
            query.retry_at = now.mono.plus_ms(delay);
            return;
        }
        let query = self.queries.remove(i);
        let found = found
            .filter(|found| error.is_none() && found.offset >= 0)
            .map(|found| (found.offset, LeaderEpoch(found.leader_epoch)));
        note_listed(&query, found, error, out);
    }

    fn part(&self, at: usize) -> Part {
        Part {
            partition: at,
            number: self.partitions[at].position.number(),
            topic_id: Uuid::nil(),
        }
    }

    fn offset_question(&self, topic: &str, partition: i32, timestamp: i64) -> ListOffsetsPartition {
        let epoch = self
            .network
            .metadata
            .leader(topic, partition)
            .and_then(|leader| leader.epoch);
        ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_current_leader_epoch(epoch.map_or(-1, |epoch| epoch.0))
            .with_timestamp(timestamp)
    }

    fn offsets_request(&self, topics: Vec<ListOffsetsTopic>) -> RequestKind {
        let request = ListOffsetsRequest::default()
            .with_replica_id(CONSUMER)
            .with_isolation_level(i8::from(self.config.read_committed))
            .with_topics(topics);
        RequestKind::ListOffsets(request)
    }

    /// A lookup or validation came to nothing: later again, at a leader that is looked up where that may help.
    fn ask_again(&mut self, at: usize, error: Option<i16>, now: Now) {
        let error = error.map_or(ErrorCode::NETWORK_EXCEPTION, ErrorCode);
        if stale_metadata(error) || error == ErrorCode::UNKNOWN_LEADER_EPOCH {
            self.network.metadata.request_update();
        }
        self.back_off(at, now);
    }
}

fn note_listed(query: &Query, found: Option<(Offset, LeaderEpoch)>, error: ErrorCode, out: &mut Outbox) {
    out.note(Note::Client(ClientNote::OffsetListed {
        query: query.number,
        topic: query.topic.clone(),
        partition: query.partition,
        timestamp: query.timestamp,
        offset: found.map(|found| found.0),
        leader_epoch: found.map_or(LeaderEpoch(-1), |found| found.1),
        error_code: error.code(),
    }));
}

fn offset_in<'a>(
    answer: &'a ListOffsetsResponse,
    topic: &str,
    partition: i32,
) -> Option<&'a ListOffsetsPartitionResponse> {
    let topic = answer.topics.iter().find(|found| found.name.as_str() == topic)?;
    topic.partitions.iter().find(|found| found.partition_index == partition)
}

fn epoch_in<'a>(answer: &'a OffsetForLeaderEpochResponse, topic: &str, partition: i32) -> Option<&'a EpochEndOffset> {
    let topic = answer.topics.iter().find(|found| found.topic.as_str() == topic)?;
    topic.partitions.iter().find(|found| found.partition == partition)
}
