//! Fetch, as a leader (or, for consumers of its rack, a follower) answers it.
//!
//! ```text
//!   request ─▶ read all ─▶ credit the follower ─▶ enough, an error, a divergence? ─▶ answer
//!                                                  otherwise ─▶ purgatory ─▶ read again ─▶ answer
//! ```
//!
//! Guarantees: consumers read below the high watermark, followers to the log end; a follower is credited with what it
//! asks for only if its log agrees with ours up to there (KAFKA-13141), once for a request, before it waits; at least
//! one batch is returned whatever the size limits say.
//! It does not know what a client has heard before: that is its session's (`sessions.rs`).
//!
//! Sources: Kafka's ReplicaManager.fetchMessages, Partition.fetchRecords, DelayedFetch; KIP-74, KIP-392, KIP-516,
//! KIP-595, KIP-903, KIP-951.

use super::codes;
use super::manager::ReplicaManager;
use super::partition::Partition;
use super::produce::code_of;
use super::sessions::{Asked, Course};
use crate::disk::Disk;
use crate::log::LogError;
use crate::machine::Outbox;
use crate::metadata::MetadataImage;
use crate::rules::Rule;
use crate::types::{BrokerEpoch, LeaderEpoch, NodeId, Now, Offset, RequestId, TopicPartition, Uuid};
use bytes::Bytes;
use kafka_protocol::messages::fetch_request::FetchRequest;
use kafka_protocol::messages::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::StrBytes;

/// What holds for all partitions of one fetch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Params {
    /// None: a consumer.
    replica: Option<(NodeId, BrokerEpoch)>,
    version: i16,
    max_bytes: usize,
    min_bytes: usize,
    read_committed: bool,
    rack: StrBytes,
    /// Only the leader may answer.
    leader_only: bool,
}

/// One partition of a fetch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Target {
    /// Index into the topics of the request.
    topic: usize,
    index: i32,
    /// Or why there is none.
    id: Result<TopicPartition, i16>,
    fetch_offset: Offset,
    current_leader_epoch: Option<LeaderEpoch>,
    last_fetched_epoch: Option<LeaderEpoch>,
    log_start_offset: Offset,
    max_bytes: usize,
}

/// A fetch that waits for data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WaitingFetch {
    params: Params,
    course: Course,
    topics: Vec<(TopicName, Uuid)>,
    /// As the client, or its session, has named them.
    asked: Vec<Asked>,
    /// One for each of these.
    targets: Vec<Target>,
}

/// What one partition's part of the answer is made of.
enum Read {
    Records(Bytes),
    Diverging(LeaderEpoch, Offset),
    Preferred(NodeId),
}

/// High watermark and log start, as they were before the read.
type Bounds = (Offset, Offset);

/// The answer so far.
struct Answer {
    data: Vec<PartitionData>,
    bytes: usize,
    /// Not to be kept waiting: an error, a divergence, a better replica.
    urgent: bool,
    /// Partitions whose high watermark or low watermark may have moved.
    moved: Vec<TopicPartition>,
}

fn some_epoch(epoch: i32) -> Option<LeaderEpoch> {
    (epoch >= 0).then_some(LeaderEpoch(epoch))
}

fn bytes_of(limit: i32) -> usize {
    usize::try_from(limit).unwrap_or(0)
}

impl ReplicaManager {
    /// A consumer's or a follower's fetch. Answered at once, or later from the purgatory.
    #[allow(clippy::too_many_arguments)] // A request handler: id, request, version, and what every step is given.
    pub fn fetch(
        &mut self,
        id: RequestId,
        request: &FetchRequest,
        version: i16,
        image: &MetadataImage,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let replica = replica_of(request, version);
        let (course, asked) = match self.sessions.enter(request, version, replica.is_some(), now.mono) {
            Ok(entered) => entered,
            Err(code) => {
                out.reply(id, FetchResponse::default().with_error_code(code));
                return Ok(());
            }
        };
        let fetch = self.parse(request, version, replica, course, asked, image);
        let answer = self.read_all(&fetch, true, now, disk, out)?;
        for id in &answer.moved {
            self.complete(*id, now, disk, out)?;
        }
        let enough = answer.urgent || answer.bytes >= fetch.params.min_bytes;
        if enough || request.max_wait_ms <= 0 || fetch.targets.is_empty() {
            let response = self.respond(fetch, answer.data, now);
            out.reply(id, response);
        } else {
            let deadline = now.mono.plus_ms(u64::from(request.max_wait_ms.unsigned_abs()));
            let keys = fetch.targets.iter().filter_map(|target| target.id.ok()).collect();
            self.fetches.insert(id, deadline, keys, fetch);
        }
        self.end_step(now, disk, out)
    }

    fn parse(
        &self,
        request: &FetchRequest,
        version: i16,
        replica: Option<(NodeId, BrokerEpoch)>,
        course: Course,
        asked: Vec<Asked>,
        image: &MetadataImage,
    ) -> WaitingFetch {
        let from_replicas = self.settings.replica_selector_rack_aware == 1 && version >= 11;
        let params = Params {
            replica,
            version,
            max_bytes: bytes_of(request.max_bytes),
            min_bytes: bytes_of(request.min_bytes),
            read_committed: request.isolation_level == 1,
            rack: request.rack_id.clone(),
            leader_only: replica.is_some() || !from_replicas,
        };
        let mut topics: Vec<(TopicName, Uuid)> = Vec::with_capacity(request.topics.len());
        let mut targets = Vec::with_capacity(asked.len());
        for asked in &asked {
            let is_next = |(name, id): &(TopicName, Uuid)| *name == asked.name && *id == asked.topic_id;
            if !topics.last().is_some_and(is_next) {
                topics.push((asked.name.clone(), asked.topic_id));
            }
            let topic_id = if version >= 13 {
                Some(asked.topic_id)
                    .filter(|id| image.topics.contains_key(id))
                    .ok_or(codes::UNKNOWN_TOPIC_ID)
            } else {
                image
                    .topic_ids
                    .get(asked.name.as_str())
                    .copied()
                    .ok_or(codes::UNKNOWN_TOPIC_OR_PARTITION)
            };
            let id = topic_id.map(|topic| TopicPartition {
                topic,
                partition: asked.index,
            });
            let known = id.and_then(|id| image.partition(id).map(|_| id).ok_or(codes::UNKNOWN_TOPIC_OR_PARTITION));
            targets.push(target(topics.len() - 1, known, asked));
        }
        WaitingFetch {
            params,
            course,
            topics,
            asked,
            targets,
        }
    }

    fn read_all(
        &mut self,
        fetch: &WaitingFetch,
        credit: bool,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Answer, LogError> {
        let data = Vec::with_capacity(fetch.targets.len());
        let mut answer = Answer {
            data,
            bytes: 0,
            urgent: false,
            moved: Vec::new(),
        };
        let mut left = fetch.params.max_bytes;
        for target in &fetch.targets {
            let min_one = answer.bytes == 0;
            let read = match target.id {
                Ok(id) => self.read(&fetch.params, target, id, (left, min_one), disk, out)?,
                Err(code) => Err(code),
            };
            let mut data = PartitionData::default().with_partition_index(target.index);
            data.aborted_transactions = fetch.params.read_committed.then(Vec::new);
            let diverges = matches!(read, Ok((_, Read::Diverging(..))));
            let read = match read {
                Ok(read) if credit && (!diverges || self.cluster.rules.has(Rule::CreditDivergingFetch)) => self
                    .credit(&fetch.params, target, now, &mut answer.moved, out)
                    .map(|()| read),
                read => read,
            };
            match read {
                Ok((bounds, read)) => {
                    (data.high_watermark, data.log_start_offset) = bounds;
                    data.last_stable_offset = data.high_watermark;
                    match read {
                        Read::Records(records) => {
                            answer.bytes += records.len();
                            left = left.saturating_sub(records.len());
                            data.records = Some(records);
                        }
                        Read::Diverging(epoch, end) => {
                            answer.urgent = true;
                            data.diverging_epoch = EpochEndOffset::default().with_epoch(epoch.0).with_end_offset(end);
                        }
                        Read::Preferred(replica) => {
                            answer.urgent = true;
                            data.preferred_read_replica = BrokerId(replica.0);
                        }
                    }
                }
                Err(code) => {
                    answer.urgent = true;
                    self.fill_error(&mut data, code, target, fetch.params.version);
                }
            }
            answer.data.push(data);
        }
        Ok(answer)
    }

    /// Reads one partition. The outer error is the disk's, the inner one the client's.
    fn read(
        &mut self,
        params: &Params,
        target: &Target,
        id: TopicPartition,
        (left, min_one): (usize, bool),
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Result<(Bounds, Read), i16>, LogError> {
        let preferred = match params.replica {
            None => self.preferred_read_replica(id, params, target),
            Some(_) => None,
        };
        let Some(partition) = self.partitions.get_mut(&id) else {
            return Ok(Err(codes::NOT_LEADER_OR_FOLLOWER));
        };
        let bounds = (partition.high_watermark(), partition.log.log_start_offset());
        if let Err(code) = partition.check(target.current_leader_epoch, params.leader_only, out) {
            return Ok(Err(code));
        }
        if let Some(replica) = preferred {
            return Ok(Ok((bounds, Read::Preferred(replica))));
        }
        if let Some((replica, _)) = params.replica
            && !partition.followers().iter().any(|f| f.id == replica)
        {
            // With an epoch that matches, the assignment is what one of us has not heard of yet.
            let known_epoch = target.current_leader_epoch.is_some();
            return Ok(Err(if known_epoch {
                codes::UNKNOWN_LEADER_EPOCH
            } else {
                codes::NOT_LEADER_OR_FOLLOWER
            }));
        }
        let (from, start) = (target.fetch_offset, bounds.1);
        let end = partition.log.log_end_offset();
        if let Some(epoch) = target.last_fetched_epoch {
            let Some((found, found_end)) = partition.end_offset_for_epoch(epoch) else {
                return Ok(Err(codes::OFFSET_OUT_OF_RANGE));
            };
            if from < start {
                return Ok(Err(codes::OFFSET_OUT_OF_RANGE));
            }
            if found < epoch || found_end < from {
                return Ok(Ok((bounds, Read::Diverging(found, found_end))));
            }
        }
        if from < start || from > end {
            return Ok(Err(codes::OFFSET_OUT_OF_RANGE));
        }
        let upto = if params.replica.is_some() {
            end
        } else {
            partition.high_watermark()
        };
        let limit = target.max_bytes.min(left);
        if from >= upto || (limit == 0 && !min_one) {
            return Ok(Ok((bounds, Read::Records(Bytes::new()))));
        }
        match partition.log.read(from, upto, limit, min_one, disk) {
            Ok(records) => Ok(Ok((bounds, Read::Records(records)))),
            Err(error) => Ok(Err(code_of(error)?)),
        }
    }

    /// Counts a follower's fetch, and all that follows from it but the answers.
    fn credit(
        &mut self,
        params: &Params,
        target: &Target,
        now: Now,
        moved: &mut Vec<TopicPartition>,
        out: &mut Outbox,
    ) -> Result<(), i16> {
        let (Some((follower, epoch)), Ok(id)) = (params.replica, target.id) else {
            return Ok(());
        };
        let Some(partition) = self.partitions.get_mut(&id) else {
            return Ok(());
        };
        let low_before = self
            .deletes
            .is_watched(id)
            .then(|| partition.low_watermark(&self.cluster));
        let fetched = (target.fetch_offset, target.log_start_offset, epoch);
        let news = partition.record_fetch(follower, fetched, &self.cluster, now.mono, out)?;
        let mut changed = low_before.is_some_and(|before| partition.low_watermark(&self.cluster) > before);
        if !partition.isr().contains(&follower) {
            let number = self.alter.next_number();
            if partition.maybe_expand_isr(follower, number, &self.cluster, out) {
                self.alter.submit(id);
            }
        }
        if news {
            changed |= partition.advance_high_watermark(&self.cluster, now.mono, out);
        }
        if changed {
            moved.push(id);
        }
        Ok(())
    }

    fn fill_error(&self, data: &mut PartitionData, code: i16, target: &Target, version: i16) {
        data.error_code = code;
        data.high_watermark = -1;
        let stale_client = matches!(code, codes::NOT_LEADER_OR_FOLLOWER | codes::FENCED_LEADER_EPOCH);
        if version >= 16
            && stale_client
            && let Some(partition) = target.id.ok().and_then(|id| self.partitions.get(&id))
        {
            let leader = partition.state().leader.map_or(-1, |leader| leader.0);
            data.current_leader = LeaderIdAndEpoch::default()
                .with_leader_id(BrokerId(leader))
                .with_leader_epoch(partition.leader_epoch().0);
        }
    }

    /// A replica in the consumer's rack that is in sync and has what it wants, if the leader is not in that rack
    /// (KIP-392). The most advanced one, then the one that was caught up last, then the highest id.
    fn preferred_read_replica(&self, id: TopicPartition, params: &Params, target: &Target) -> Option<NodeId> {
        let rack = Some(params.rack.as_str()).filter(|rack| !rack.is_empty())?;
        if self.settings.replica_selector_rack_aware != 1 || params.version < 11 || self.rack.as_deref() == Some(rack) {
            return None;
        }
        let partition = self.partitions.get(&id).filter(|partition| partition.is_leader())?;
        let offset = target.fetch_offset;
        let candidates = partition.followers().iter().filter(|f| {
            let in_rack = self
                .cluster
                .broker(f.id)
                .is_some_and(|b| !b.fenced && b.rack.as_deref() == Some(rack));
            let has_it = f.log_end_offset.is_some_and(|end| end >= offset)
                && f.log_start_offset.is_some_and(|start| start <= offset);
            in_rack && has_it && partition.isr().contains(&f.id)
        });
        candidates
            .max_by_key(|f| (f.log_end_offset, f.last_caught_up, f.id))
            .map(|f| f.id)
    }

    /// Looks again at the fetches that wait for this partition.
    pub(super) fn complete_fetches(
        &mut self,
        id: TopicPartition,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        for request in self.fetches.watchers(id) {
            let Some(fetch) = self.fetches.get_mut(request) else {
                continue;
            };
            let partitions = &mut self.partitions;
            let mut bytes = 0;
            let mut ready = false;
            for target in &fetch.targets {
                let partition = target.id.ok().and_then(|id| partitions.get_mut(&id));
                let (urgent, more) = look(&fetch.params, target, partition, disk)?;
                bytes += more;
                if urgent || bytes >= fetch.params.min_bytes.max(1) {
                    ready = true;
                    break;
                }
            }
            if ready {
                self.answer_fetch(request, now, disk, out)?;
            }
        }
        Ok(())
    }

    /// Time is up: whatever there is.
    pub(super) fn expire_fetches(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        while let Some(request) = self.fetches.expired(now.mono) {
            self.answer_fetch(request, now, disk, out)?;
        }
        Ok(())
    }

    fn answer_fetch(
        &mut self,
        request: RequestId,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        if let Some(fetch) = self.fetches.remove(request) {
            let answer = self.read_all(&fetch, false, now, disk, out)?;
            let response = self.respond(fetch, answer.data, now);
            out.reply(request, response);
        }
        Ok(())
    }

    /// The answer, without what the client's session says that it knows.
    fn respond(&mut self, fetch: WaitingFetch, data: Vec<PartitionData>, now: Now) -> FetchResponse {
        let WaitingFetch {
            course,
            topics,
            asked,
            targets,
            ..
        } = fetch;
        let slots = self.settings.max_incremental_fetch_session_cache_slots as usize;
        let data = data.into_iter().map(Some).collect();
        let (mut response, data) = self
            .sessions
            .answer(course, asked, data, slots, &mut self.entropy, now.mono);
        let mut responses: Vec<FetchableTopicResponse> = (topics.into_iter())
            .map(|(name, id)| FetchableTopicResponse::default().with_topic(name).with_topic_id(id))
            .collect();
        for (target, data) in targets.iter().zip(data) {
            responses[target.topic].partitions.extend(data);
        }
        responses.retain(|topic| !topic.partitions.is_empty());
        response.responses = responses;
        response
    }
}

/// The follower that asks, and its incarnation if it says so; none for a consumer.
fn replica_of(request: &FetchRequest, version: i16) -> Option<(NodeId, BrokerEpoch)> {
    let state = &request.replica_state;
    let (replica, epoch) = if version >= 15 {
        (state.replica_id.0, state.replica_epoch)
    } else {
        (request.replica_id.0, -1)
    };
    (replica >= 0).then_some((NodeId(replica), BrokerEpoch(epoch)))
}

fn target(topic: usize, id: Result<TopicPartition, i16>, partition: &Asked) -> Target {
    Target {
        topic,
        index: partition.index,
        id,
        fetch_offset: partition.fetch_offset,
        current_leader_epoch: some_epoch(partition.current_leader_epoch),
        last_fetched_epoch: some_epoch(partition.last_fetched_epoch),
        log_start_offset: partition.log_start_offset,
        max_bytes: bytes_of(partition.max_bytes),
    }
}

/// Whether one partition of a waiting fetch must be answered now, and how many bytes it has to give. The bytes are
/// read only where more than one is asked for.
fn look(
    params: &Params,
    target: &Target,
    partition: Option<&mut Partition>,
    disk: &mut dyn Disk,
) -> Result<(bool, usize), LogError> {
    let Some(partition) = partition else {
        return Ok((true, 0));
    };
    let same_epoch = target
        .current_leader_epoch
        .is_none_or(|epoch| epoch == partition.leader_epoch());
    if !same_epoch || (params.leader_only && !partition.is_leader()) {
        return Ok((true, 0));
    }
    if let Some(epoch) = target.last_fetched_epoch {
        match partition.end_offset_for_epoch(epoch) {
            Some((found, end)) if found == epoch && end >= target.fetch_offset => {}
            _ => return Ok((true, 0)),
        }
    }
    let end = if params.replica.is_some() {
        partition.log.log_end_offset()
    } else {
        partition.high_watermark()
    };
    let from = target.fetch_offset;
    if from > end || from < partition.log.log_start_offset() {
        return Ok((true, 0));
    }
    if from == end {
        return Ok((false, 0));
    }
    if params.min_bytes <= 1 {
        return Ok((false, 1));
    }
    match partition.log.read(from, end, target.max_bytes, true, disk) {
        Ok(records) => Ok((false, records.len())),
        Err(error) => code_of(error).map(|_| (true, 0)),
    }
}
