//! Fetching: which partition is asked of whom, and what the answers mean.
//!
//! Guarantees: one fetch at a time to a broker, of all partitions that are idle and read from it; a follower that is
//! preferred by the leader is asked until it fails, its lease ends or the leader changes, then the leader is asked again.
//! Does not know: sessions (KIP-227); every fetch names all its partitions.
//!
//! Sources: Kafka 4.1 `AbstractFetch`, `FetchCollector.handleInitializeErrors`; KIP-392, KIP-516, KIP-951.

use super::fetched::Fetched;
use super::position::FetchState;
use super::{Asked, Assigned, Consumer, Part};
use crate::client::backoff::after_ms;
use crate::client::network::listener_of;
use crate::machine::Outbox;
use crate::types::{LeaderEpoch, NodeId, Now, Uuid};
use crate::wire::ErrorCode;
use crate::wire::api;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use kafka_protocol::messages::{ApiKey, FetchRequest, RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;

/// Last version that names topics by name.
const LAST_VERSION_BY_NAME: i16 = 12;
/// A fetch outside any session (KIP-227).
const NO_SESSION_EPOCH: i32 = -1;

impl Consumer {
    /// Sends what idle partitions need next: a lookup, a validation, or a fetch.
    pub(super) fn ask(&mut self, now: Now, out: &mut Outbox) {
        if self.idle.is_empty() {
            return;
        }
        let mut resets: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        let mut validations: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        let mut fetches: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        for at in self.idle.clone() {
            let assigned = &mut self.partitions[at];
            if now.mono < assigned.retry_at {
                continue;
            }
            let (groups, node) = match assigned.position.state() {
                FetchState::Stopped => continue,
                FetchState::AwaitReset { .. } => {
                    let leader = self.network.metadata.leader(&assigned.topic, assigned.partition);
                    (&mut resets, leader.and_then(|leader| leader.leader))
                }
                FetchState::AwaitValidation => (&mut validations, assigned.position.position().leader.leader),
                FetchState::Fetching => (&mut fetches, assigned.read_from(now)),
            };
            match node.filter(|node| self.network.metadata.has_broker(*node)) {
                Some(node) => groups.entry(node).or_default().push(at),
                None => {
                    assigned.preferred = None;
                    self.network.metadata.request_update();
                }
            }
        }
        for (node, partitions) in resets {
            if self.network.connections.ready(node, now, out) {
                self.ask_offsets(node, &partitions, now, out);
            }
        }
        for (node, partitions) in validations {
            if self.network.connections.ready(node, now, out) {
                self.ask_epochs(node, &partitions, now, out);
            }
        }
        for (node, partitions) in fetches {
            if !self.fetching.contains(&node) && self.network.connections.ready(node, now, out) {
                self.fetch(node, &partitions, now, out);
            }
        }
    }

    fn fetch(&mut self, node: NodeId, partitions: &[usize], now: Now, out: &mut Outbox) {
        let settings = &self.config.settings;
        let topic_id = |assigned: &Assigned| {
            self.network
                .metadata
                .topic(&assigned.topic)
                .map_or(Uuid::nil(), |t| t.id)
        };
        let by_id = partitions.iter().all(|at| !topic_id(&self.partitions[*at]).is_nil());
        let mut topics: Vec<FetchTopic> = Vec::new();
        let mut parts = Vec::with_capacity(partitions.len());
        for at in partitions {
            let assigned = &self.partitions[*at];
            let id = if by_id { topic_id(assigned) } else { Uuid::nil() };
            let position = assigned.position.position();
            let partition = FetchPartition::default()
                .with_partition(assigned.partition)
                .with_current_leader_epoch(position.leader.epoch.map_or(-1, |epoch| epoch.0))
                .with_fetch_offset(position.offset)
                .with_partition_max_bytes(settings.max_partition_fetch_bytes as i32);
            let same = |topic: &&mut FetchTopic| {
                if by_id {
                    topic.topic_id == id
                } else {
                    topic.topic == assigned.topic_name
                }
            };
            match topics.iter_mut().find(same) {
                Some(topic) => topic.partitions.push(partition),
                None if by_id => {
                    topics.push(FetchTopic::default().with_topic_id(id).with_partitions(vec![partition]));
                }
                None => {
                    let name = assigned.topic_name.clone();
                    topics.push(FetchTopic::default().with_topic(name).with_partitions(vec![partition]));
                }
            }
            parts.push(Part {
                partition: *at,
                number: assigned.position.number(),
                topic_id: id,
            });
        }
        let request = FetchRequest::default()
            .with_max_wait_ms(settings.fetch_max_wait_ms as i32)
            .with_min_bytes(settings.fetch_min_bytes as i32)
            .with_max_bytes(settings.fetch_max_bytes as i32)
            .with_isolation_level(i8::from(self.config.read_committed))
            .with_session_epoch(NO_SESSION_EPOCH)
            .with_topics(topics)
            .with_rack_id(StrBytes::from_string(self.config.client_rack.clone()));
        let version = if by_id {
            api::newest(ApiKey::Fetch)
        } else {
            LAST_VERSION_BY_NAME
        };
        let tag = self
            .network
            .send_version(node, &RequestKind::Fetch(request), version, now, out);
        self.fetching.insert(node);
        self.sent(tag, Asked::Fetch(parts));
    }

    pub(super) fn fetch_answered(
        &mut self,
        parts: Vec<Part>,
        node: NodeId,
        response: Option<ResponseKind>,
        now: Now,
        out: &mut Outbox,
    ) {
        let answer = match response {
            Some(ResponseKind::Fetch(answer)) if ErrorCode(answer.error_code).is_none() => Some(answer),
            _ => None,
        };
        for part in parts {
            if !self.is_current(part) {
                continue;
            }
            let assigned = &mut self.partitions[part.partition];
            let Some((answer, data)) = answer
                .as_ref()
                .and_then(|answer| Some((answer, assigned.data_in(answer, part.topic_id)?)))
            else {
                // The broker may be gone, or not be a replica any more: ask the leader next.
                assigned.preferred = None;
                self.back_off(part.partition, now);
                continue;
            };
            let error = ErrorCode(data.error_code);
            if error.is_none() {
                self.fetched(part.partition, node, data, now);
            } else {
                self.learn(part.partition, answer, data, now, out);
                self.fetch_failed(part.partition, error, now);
            }
        }
    }

    fn fetched(&mut self, at: usize, node: NodeId, data: &PartitionData, now: Now) {
        let assigned = &mut self.partitions[at];
        assigned.failures = 0;
        let preferred = NodeId(*data.preferred_read_replica);
        if preferred.0 >= 0 {
            let lease_ms = self.config.settings.metadata_max_age_ms;
            assigned.preferred = Some((preferred, after_ms(now.mono, lease_ms)));
        }
        let Some(records) = data.records.as_ref().filter(|records| !records.is_empty()) else {
            return;
        };
        match Fetched::read(assigned.position.position().offset, records, node) {
            Ok(mut fetched) => {
                fetched.high_watermark = data.high_watermark;
                fetched.log_start_offset = data.log_start_offset;
                if fetched.end_epoch.is_some() {
                    assigned.fetched = Some(fetched);
                    self.idle.remove(&at);
                    self.buffered.insert(at);
                }
            }
            // Damaged on its way or in that replica's log. Nothing of it is handed over; the position stays.
            Err(_) => self.back_off(at, now),
        }
    }

    fn fetch_failed(&mut self, at: usize, error: ErrorCode, now: Now) {
        let assigned = &mut self.partitions[at];
        match error {
            // A follower may be behind or ahead of the leader: only the leader's word counts (KIP-392).
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                if assigned.preferred.take().is_none() {
                    assigned.position.reset(self.config.auto_offset_reset);
                }
                return;
            }
            ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::REPLICA_NOT_AVAILABLE
            | ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::FENCED_LEADER_EPOCH
            | ErrorCode::OFFSET_NOT_AVAILABLE
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::INCONSISTENT_TOPIC_ID => {
                assigned.preferred = None;
                self.network.metadata.request_update();
            }
            // UNKNOWN_LEADER_EPOCH: the broker is behind our metadata and will catch up.
            _ => {}
        }
        self.back_off(at, now);
    }

    fn learn(&mut self, at: usize, answer: &FetchResponse, data: &PartitionData, now: Now, out: &mut Outbox) {
        let leader = NodeId(*data.current_leader.leader_id);
        let epoch = LeaderEpoch(data.current_leader.leader_epoch);
        if leader.0 >= 0 && epoch.0 >= 0 {
            let nodes = answer.node_endpoints.iter();
            let listener = listener_of(leader, nodes, |node| (*node.node_id, &node.host, node.port));
            let assigned = &self.partitions[at];
            let partition = (assigned.topic.as_str(), assigned.partition);
            self.network
                .learn_leader(partition, (leader, epoch), listener, now, out);
        }
    }
}

impl Assigned {
    /// The broker to read from: the preferred replica while its lease lasts, else the leader.
    fn read_from(&mut self, now: Now) -> Option<NodeId> {
        match self.preferred {
            Some((node, until)) if now.mono < until => Some(node),
            _ => {
                self.preferred = None;
                self.position.position().leader.leader
            }
        }
    }

    /// Its part of an answer.
    fn data_in<'a>(&self, answer: &'a FetchResponse, topic_id: Uuid) -> Option<&'a PartitionData> {
        let mut topics = answer.responses.iter();
        let topic = match topic_id.is_nil() {
            true => topics.find(|topic| topic.topic == self.topic_name),
            false => topics.find(|topic| topic.topic_id == topic_id),
        }?;
        topic
            .partitions
            .iter()
            .find(|data| data.partition_index == self.partition)
    }
}
