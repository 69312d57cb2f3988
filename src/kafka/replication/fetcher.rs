//! Copies leaders: one request in flight to each, for all partitions that follow it.
//!
//! Guarantees: an answer changes a replica only if the replica still follows the one who sent it, in the leader epoch
//! in which it was asked, from the offset at which it was asked (KAFKA-13207); truncation comes before the high
//! watermark (KAFKA-14704); batches of a later epoch than the one that was asked in are not appended (KAFKA-18723).
//! It does not know how truncation is decided: that is `truncation`.
//!
//! Sources: Kafka's AbstractFetcherThread, ReplicaFetcherThread; KIP-320, KIP-595, KIP-903, KAFKA-2143, KAFKA-6975,
//! KAFKA-15510.

use super::codes;
use super::manager::ReplicaManager;
use super::offsets::{EARLIEST_TIMESTAMP, LATEST_TIMESTAMP};
use super::partition::Partition;
use super::produce::code_of;
use super::truncation::{Phase, Strategy};
use crate::config::Settings;
use crate::disk::Disk;
use crate::log::LogError;
use crate::machine::{Call, CallResult, Channel, Outbox};
use crate::note::TruncateReason;
use crate::types::{LeaderEpoch, Nanos, NodeId, Now, Offset, TopicPartition};
use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{BrokerId, RequestKind, ResponseKind, TopicName};
use std::collections::BTreeMap;

/// `replica.fetch.response.max.bytes`.
const RESPONSE_MAX_BYTES: i32 = 10 * 1024 * 1024;
/// Never by itself.
const ASLEEP: Nanos = Nanos(u64::MAX);

/// A replica that follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Following {
    leader_epoch: LeaderEpoch,
    phase: Phase,
    /// Rests until then, after an error.
    not_before: Option<Nanos>,
}

impl Following {
    fn is_ready(&self, now: Nanos) -> bool {
        self.phase != Phase::AwaitingMetadata && self.not_before.is_none_or(|at| at <= now)
    }
}

/// What was asked for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Asked {
    leader_epoch: LeaderEpoch,
    phase: Phase,
    offset: Offset,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct InFlight {
    tag: u64,
    asked: BTreeMap<TopicPartition, Asked>,
}

/// All that follow one leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fetcher {
    partitions: BTreeMap<TopicPartition, Following>,
    in_flight: Option<InFlight>,
    /// Nothing to do before; none: now.
    wake_at: Option<Nanos>,
    /// Where the next fetch begins, so that a full answer does not starve the last partitions.
    cursor: Option<TopicPartition>,
}

impl Fetcher {
    /// When it can ask again, if that is known.
    pub fn next_deadline(&self) -> Option<Nanos> {
        let idle = self.in_flight.is_none() && !self.partitions.is_empty();
        self.wake_at.filter(|at| idle && *at != ASLEEP)
    }

    fn is_due(&self, now: Nanos) -> bool {
        self.in_flight.is_none() && !self.partitions.is_empty() && self.wake_at.is_none_or(|at| at <= now)
    }

    /// What rests begins to rest anew.
    fn forget_age(&mut self, now: Nanos, anew: Nanos, backoff_ms: u64) {
        let later = |at: Nanos| (at > now).then(|| anew.plus_ms(backoff_ms));
        self.wake_at = match self.wake_at {
            Some(ASLEEP) => Some(ASLEEP),
            wake_at => wake_at.and_then(later),
        };
        for following in self.partitions.values_mut() {
            following.not_before = following.not_before.and_then(later);
        }
    }

    fn delay(&mut self, id: TopicPartition, until: Nanos) {
        if let Some(following) = self.partitions.get_mut(&id) {
            following.not_before = Some(until);
        }
    }

    /// The next request: first the questions that hold partitions up, then a fetch.
    fn next_request(
        &mut self,
        world: &World<'_>,
        now: Nanos,
    ) -> Option<(RequestKind, BTreeMap<TopicPartition, Asked>)> {
        // A fetch tells the leader what is here. Kafka's fetcher is still in an append that flushes.
        let in_append = |id| {
            let log = world.partitions.get(id).map(Partition::log);
            log.is_some_and(|log| log.returned_end_offset() < log.log_end_offset())
        };
        if self.partitions.keys().any(in_append) {
            return None;
        }
        for kind in [Kind::EpochEnd, Kind::Offsets, Kind::Fetch] {
            let order = match (kind, self.cursor) {
                (Kind::Fetch, Some(cursor)) => {
                    let rest = self.partitions.range(cursor..);
                    rest.chain(self.partitions.range(..cursor)).collect::<Vec<_>>()
                }
                _ => self.partitions.iter().collect(),
            };
            let ready = order
                .into_iter()
                .filter(|(_, f)| kind.serves(f.phase) && f.is_ready(now));
            let mut asked = BTreeMap::new();
            let mut picked = Vec::new();
            for (id, following) in ready {
                let Some(partition) = world.partitions.get(id).filter(|p| !p.is_overclaimed()) else {
                    continue;
                };
                let (leader_epoch, phase) = (following.leader_epoch, following.phase);
                let offset = partition.log().log_end_offset();
                asked.insert(
                    *id,
                    Asked {
                        leader_epoch,
                        phase,
                        offset,
                    },
                );
                picked.push((partition, leader_epoch, phase));
            }
            if picked.is_empty() {
                continue;
            }
            let request = match kind {
                Kind::EpochEnd => RequestKind::OffsetForLeaderEpoch(world.epoch_end_request(&picked)),
                Kind::Offsets => RequestKind::ListOffsets(world.offsets_request(&picked)),
                Kind::Fetch => {
                    self.cursor = picked.get(1).map(|(partition, ..)| partition.id());
                    RequestKind::Fetch(world.fetch_request(&picked))
                }
            };
            return Some((request, asked));
        }
        None
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    EpochEnd,
    Offsets,
    Fetch,
}

impl Kind {
    fn serves(self, phase: Phase) -> bool {
        match phase {
            Phase::AskingEpochEnd => self == Kind::EpochEnd,
            Phase::AskingLatest | Phase::AskingEarliest => self == Kind::Offsets,
            Phase::Fetching => self == Kind::Fetch,
            Phase::AwaitingMetadata => false,
        }
    }
}

type Picked<'a> = (&'a Partition, LeaderEpoch, Phase);

/// What requests are built from.
struct World<'a> {
    me: NodeId,
    my_epoch: i64,
    strategy: Strategy,
    settings: &'a Settings,
    partitions: &'a BTreeMap<TopicPartition, Partition>,
}

impl World<'_> {
    fn current_epoch(&self, epoch: LeaderEpoch) -> i32 {
        if self.strategy.fences() { epoch.0 } else { -1 }
    }

    fn fetch_request(&self, picked: &[Picked<'_>]) -> FetchRequest {
        let max_bytes = i32::try_from(self.settings.replica_fetch_max_bytes).unwrap_or(i32::MAX);
        let mut topics: Vec<FetchTopic> = Vec::new();
        for (partition, epoch, _) in picked {
            let log = partition.log();
            let last_epoch = log.last_epoch().filter(|_| self.strategy.checks_divergence());
            let data = FetchPartition::default()
                .with_partition(partition.id().partition)
                .with_current_leader_epoch(self.current_epoch(*epoch))
                .with_fetch_offset(log.log_end_offset())
                .with_last_fetched_epoch(last_epoch.map_or(-1, |epoch| epoch.0))
                .with_log_start_offset(log.log_start_offset())
                .with_partition_max_bytes(max_bytes);
            let topic_id = partition.id().topic;
            match topics.last_mut().filter(|topic| topic.topic_id == topic_id) {
                Some(topic) => topic.partitions.push(data),
                None => topics.push(
                    FetchTopic::default()
                        .with_topic_id(topic_id)
                        .with_partitions(vec![data]),
                ),
            }
        }
        let replica = ReplicaState::default()
            .with_replica_id(BrokerId(self.me.0))
            .with_replica_epoch(self.my_epoch);
        FetchRequest::default()
            .with_replica_state(replica)
            .with_max_wait_ms(i32::try_from(self.settings.replica_fetch_wait_max_ms).unwrap_or(i32::MAX))
            .with_min_bytes(1)
            .with_max_bytes(RESPONSE_MAX_BYTES)
            .with_session_epoch(-1)
            .with_topics(topics)
    }

    fn epoch_end_request(&self, picked: &[Picked<'_>]) -> OffsetForLeaderEpochRequest {
        let mut topics: Vec<OffsetForLeaderTopic> = Vec::new();
        for (partition, epoch, _) in picked {
            let last = partition.log().last_epoch().map_or(-1, |epoch| epoch.0);
            let data = OffsetForLeaderPartition::default()
                .with_partition(partition.id().partition)
                .with_current_leader_epoch(self.current_epoch(*epoch))
                .with_leader_epoch(last);
            let name = TopicName(partition.topic().clone());
            match topics.last_mut().filter(|topic| topic.topic == name) {
                Some(topic) => topic.partitions.push(data),
                None => topics.push(
                    OffsetForLeaderTopic::default()
                        .with_topic(name)
                        .with_partitions(vec![data]),
                ),
            }
        }
        OffsetForLeaderEpochRequest::default()
            .with_replica_id(BrokerId(self.me.0))
            .with_topics(topics)
    }

    fn offsets_request(&self, picked: &[Picked<'_>]) -> ListOffsetsRequest {
        let mut topics: Vec<ListOffsetsTopic> = Vec::new();
        for (partition, epoch, phase) in picked {
            let timestamp = if *phase == Phase::AskingLatest {
                LATEST_TIMESTAMP
            } else {
                EARLIEST_TIMESTAMP
            };
            let data = ListOffsetsPartition::default()
                .with_partition_index(partition.id().partition)
                .with_current_leader_epoch(self.current_epoch(*epoch))
                .with_timestamp(timestamp);
            let name = TopicName(partition.topic().clone());
            match topics.last_mut().filter(|topic| topic.name == name) {
                Some(topic) => topic.partitions.push(data),
                None => topics.push(ListOffsetsTopic::default().with_name(name).with_partitions(vec![data])),
            }
        }
        ListOffsetsRequest::default()
            .with_replica_id(BrokerId(self.me.0))
            .with_topics(topics)
    }
}

impl ReplicaManager {
    /// Turns a replica to its leader, in the leader epoch that it is in.
    pub(super) fn follow(
        &mut self,
        id: TopicPartition,
        leader: Option<NodeId>,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let me = self.cluster.me;
        let Some(leader) = leader.filter(|leader| *leader != me && self.takes_records()) else {
            self.unfollow(id);
            return Ok(());
        };
        let Some(partition) = self.partitions.get_mut(&id) else {
            return Ok(());
        };
        let leader_epoch = partition.leader_epoch();
        if self.strategy == Strategy::Rounds
            && let Some(fetcher) = self.fetchers.get_mut(&leader)
            && let Some(following) = fetcher.partitions.get_mut(&id)
        {
            // Museum: the same leader under another epoch is not worth a truncation (KAFKA-6880).
            following.leader_epoch = leader_epoch;
            return Ok(());
        }
        let phase = self.strategy.begin(partition, disk, out)?;
        self.unfollow(id);
        self.watch_log(id);
        let fetcher = self.fetchers.entry(leader).or_default();
        fetcher.partitions.insert(
            id,
            Following {
                leader_epoch,
                phase,
                not_before: None,
            },
        );
        fetcher.wake_at = Some(now.mono);
        Ok(())
    }

    /// An append of this replica has returned.
    pub(super) fn wake_fetcher_of(&mut self, id: TopicPartition) {
        let fetcher = self.fetchers.values_mut().find(|f| f.partitions.contains_key(&id));
        if let Some(fetcher) = fetcher {
            fetcher.wake_at = None;
        }
    }

    /// Follows nobody.
    pub(super) fn unfollow(&mut self, id: TopicPartition) {
        for fetcher in self.fetchers.values_mut() {
            if fetcher.partitions.remove(&id).is_some() {
                // It may be what the others had to wait for.
                fetcher.wake_at = None;
            }
        }
    }

    /// All look again for something to ask.
    pub(super) fn wake_fetchers(&mut self) {
        self.fetchers.values_mut().for_each(|fetcher| fetcher.wake_at = None);
    }

    /// Sends what can be sent.
    pub(super) fn pump_fetchers(&mut self, now: Nanos, out: &mut Outbox) {
        let takes_records = self.takes_records();
        for (leader, fetcher) in &mut self.fetchers {
            if !fetcher.is_due(now) || !takes_records {
                continue;
            }
            let world = World {
                me: self.cluster.me,
                my_epoch: self.cluster.my_epoch.map_or(-1, |epoch| epoch.0),
                strategy: self.strategy,
                settings: &self.settings,
                partitions: &self.partitions,
            };
            let Some((request, asked)) = fetcher.next_request(&world, now) else {
                let next = fetcher
                    .partitions
                    .values()
                    .filter_map(|f| f.not_before)
                    .filter(|at| *at > now)
                    .min();
                fetcher.wake_at = Some(next.unwrap_or(ASLEEP));
                continue;
            };
            self.fetch_seq += 1;
            let tag = self.fetch_seq;
            fetcher.in_flight = Some(InFlight { tag, asked });
            let timeout_ms = self.settings.replica_socket_timeout_ms.unsigned_abs();
            out.call(Call {
                to: *leader,
                channel: Channel::Fetcher,
                tag,
                request,
                timeout_ms,
            });
        }
    }

    /// A leader answered one of our requests, or did not.
    pub fn on_fetch_response(
        &mut self,
        from: NodeId,
        tag: u64,
        result: CallResult,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let Some(fetcher) = self.fetchers.get_mut(&from) else {
            return Ok(());
        };
        let Some(InFlight { asked, .. }) = fetcher.in_flight.take_if(|in_flight| in_flight.tag == tag) else {
            return Ok(());
        };
        fetcher.wake_at = None;
        match result {
            Ok(ResponseKind::Fetch(response)) if response.error_code == codes::NONE => {
                for topic in response.responses {
                    for data in topic.partitions {
                        let id = TopicPartition {
                            topic: topic.topic_id,
                            partition: data.partition_index,
                        };
                        self.on_fetched(from, id, &asked, data, now, disk, out)?;
                    }
                }
            }
            Ok(ResponseKind::OffsetForLeaderEpoch(response)) => {
                for topic in response.topics {
                    for data in topic.partitions {
                        let id = find(&self.partitions, &asked, topic.topic.as_str(), data.partition);
                        let answer = (data.error_code, LeaderEpoch(data.leader_epoch), data.end_offset);
                        self.on_question_answered(from, id, &asked, answer, now, disk, out)?;
                    }
                }
            }
            Ok(ResponseKind::ListOffsets(response)) => {
                for topic in response.topics {
                    for data in topic.partitions {
                        let id = find(&self.partitions, &asked, topic.name.as_str(), data.partition_index);
                        let answer = (data.error_code, LeaderEpoch(data.leader_epoch), data.offset);
                        self.on_question_answered(from, id, &asked, answer, now, disk, out)?;
                    }
                }
            }
            _ => self.back_off(from, asked.keys().copied(), now.mono),
        }
        self.end_step(now, disk, out)
    }

    /// The tag of the request to a leader that waits for its answer.
    pub fn open_fetch(&self, leader: NodeId) -> Option<u64> {
        let fetcher = self.fetchers.get(&leader)?;
        fetcher.in_flight.as_ref().map(|in_flight| in_flight.tag)
    }

    pub(super) fn forget_age_of_fetchers(&mut self, now: Nanos, anew: Nanos) {
        let backoff_ms = self.settings.replica_fetch_backoff_ms.unsigned_abs();
        self.fetchers
            .retain(|_, fetcher| fetcher.in_flight.is_some() || !fetcher.partitions.is_empty());
        for (n, fetcher) in self.fetchers.values_mut().enumerate() {
            fetcher.forget_age(now, anew, backoff_ms);
            if let Some(in_flight) = &mut fetcher.in_flight {
                in_flight.tag = n as u64 + 1;
            }
        }
        self.fetch_seq = self.fetchers.len() as u64;
    }

    fn back_off(&mut self, leader: NodeId, ids: impl Iterator<Item = TopicPartition>, now: Nanos) {
        let until = now.plus_ms(self.settings.replica_fetch_backoff_ms.unsigned_abs());
        if let Some(fetcher) = self.fetchers.get_mut(&leader) {
            for id in ids {
                fetcher.delay(id, until);
            }
        }
    }

    /// Whether an answer still concerns the replica: same leader, same leader epoch, same question.
    fn is_current(&self, leader: NodeId, id: TopicPartition, asked: &Asked) -> bool {
        let Some(following) = self
            .fetchers
            .get(&leader)
            .and_then(|fetcher| fetcher.partitions.get(&id))
        else {
            return false;
        };
        let same_epoch = following.leader_epoch == asked.leader_epoch || !self.strategy.fences();
        let same_end = self
            .partitions
            .get(&id)
            .is_some_and(|p| p.log().log_end_offset() == asked.offset);
        same_epoch && same_end && following.phase == asked.phase
    }

    fn set_phase(&mut self, leader: NodeId, id: TopicPartition, phase: Phase) {
        let fetcher = self.fetchers.get_mut(&leader);
        if let Some(following) = fetcher.and_then(|fetcher| fetcher.partitions.get_mut(&id)) {
            following.phase = phase;
        }
    }

    #[allow(clippy::too_many_arguments)] // One partition's part of an answer, with what every step is given.
    fn on_fetched(
        &mut self,
        leader: NodeId,
        id: TopicPartition,
        asked: &BTreeMap<TopicPartition, Asked>,
        data: PartitionData,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let Some(asked) = asked.get(&id).filter(|asked| self.is_current(leader, id, asked)) else {
            return Ok(());
        };
        let strategy = self.strategy;
        let Some(partition) = self.partitions.get_mut(&id) else {
            return Ok(());
        };
        match data.error_code {
            codes::NONE if strategy.checks_divergence() && data.diverging_epoch.epoch >= 0 => {
                let end = (LeaderEpoch(data.diverging_epoch.epoch), data.diverging_epoch.end_offset);
                strategy.on_epoch_end(partition, end, disk, out)?;
                self.watch_log(id);
            }
            codes::NONE => {
                let max_epoch = if strategy.fences() {
                    asked.leader_epoch
                } else {
                    LeaderEpoch(i32::MAX)
                };
                if let Some(records) = data.records.filter(|records| !records.is_empty())
                    && !append(partition, &records, (max_epoch, data.log_start_offset), now, disk, out)?
                {
                    self.watch_log(id);
                    self.back_off(leader, std::iter::once(id), now.mono);
                    return Ok(());
                }
                let moved = partition.follow_high_watermark(data.high_watermark, out);
                let start = data.log_start_offset.min(partition.high_watermark());
                partition.advance_log_start(start, now, disk, out)?;
                self.watch_log(id);
                if moved {
                    self.complete(id, now, disk, out)?;
                }
            }
            codes::OFFSET_OUT_OF_RANGE => self.set_phase(leader, id, Phase::AskingLatest),
            code => self.on_error(leader, id, code, now.mono),
        }
        Ok(())
    }

    fn on_error(&mut self, leader: NodeId, id: TopicPartition, code: i16, now: Nanos) {
        match code {
            // In the very epoch that we are in: only metadata can help.
            codes::FENCED_LEADER_EPOCH => self.set_phase(leader, id, Phase::AwaitingMetadata),
            _ => self.back_off(leader, std::iter::once(id), now),
        }
    }

    /// The answer to a question about epochs or offsets: (error, epoch, offset).
    #[allow(clippy::too_many_arguments)] // One partition's part of an answer, with what every step is given.
    fn on_question_answered(
        &mut self,
        leader: NodeId,
        id: Option<TopicPartition>,
        asked: &BTreeMap<TopicPartition, Asked>,
        (code, epoch, offset): (i16, LeaderEpoch, Offset),
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let Some((id, asked)) = id.and_then(|id| Some((id, asked.get(&id)?))) else {
            return Ok(());
        };
        if !self.is_current(leader, id, asked) {
            return Ok(());
        }
        if code != codes::NONE {
            self.on_error(leader, id, code, now.mono);
            return Ok(());
        }
        let strategy = self.strategy;
        let Some(partition) = self.partitions.get_mut(&id) else {
            return Ok(());
        };
        let end = partition.log().log_end_offset();
        let next = match asked.phase {
            Phase::AskingEpochEnd => strategy.on_epoch_end(partition, (epoch, offset), disk, out)?,
            Phase::AskingLatest if offset < end => {
                partition.truncate_to(offset.max(0), TruncateReason::Divergence, disk, out)?;
                Phase::Fetching
            }
            Phase::AskingLatest => Phase::AskingEarliest,
            Phase::AskingEarliest if offset > end => {
                // Only here, where all of ours is truly below the leader's log (KAFKA-2143).
                partition.restart_at(offset, disk, out)?;
                Phase::Fetching
            }
            // Neither below nor above: it was out of range for a moment only.
            _ => {
                self.back_off(leader, std::iter::once(id), now.mono);
                Phase::Fetching
            }
        };
        self.set_phase(leader, id, next);
        self.watch_log(id);
        Ok(())
    }
}

/// Appends what a leader sent, whose log starts at `leader_start`. False: refused, try again later.
fn append(
    partition: &mut Partition,
    records: &Bytes,
    (max_epoch, leader_start): (LeaderEpoch, Offset),
    now: Now,
    disk: &mut dyn Disk,
    out: &mut Outbox,
) -> Result<bool, LogError> {
    let (start, end) = (partition.log().log_start_offset(), partition.log().log_end_offset());
    // Either nothing is ours yet, or all of it was deleted by the leader. The second is what truncation leaves where
    // the logs part below the leader's log start; Kafka knows only the first, and such a follower never joins again.
    let nothing_to_keep = start == end || end <= leader_start;
    let mut result = partition.log.append_as_follower(records, max_epoch, now, disk, out);
    if let Err(LogError::NotContiguous { expected, got }) = result
        && nothing_to_keep
        && got < expected
    {
        // The leader's log start is inside a batch, and batches come whole: begin where the batch does (KAFKA-6975).
        partition.log.lower_recovery_point(got);
        if partition.is_overclaimed() {
            return Ok(false);
        }
        partition.restart_at(got, disk, out)?;
        result = partition.log.append_as_follower(records, max_epoch, now, disk, out);
    }
    match result {
        Ok(_) => Ok(true),
        Err(error) => code_of(error).map(|_| false),
    }
}

fn find(
    partitions: &BTreeMap<TopicPartition, Partition>,
    asked: &BTreeMap<TopicPartition, Asked>,
    topic: &str,
    index: i32,
) -> Option<TopicPartition> {
    let named = |id: &&TopicPartition| {
        id.partition == index
            && partitions
                .get(id)
                .is_some_and(|partition| partition.topic().as_str() == topic)
    };
    asked.keys().find(named).copied()
}
