//! Two or three replica managers wired to each other in memory: the world that the tests of this module share.
//!
//! The test is the controller: it says what the metadata is, who hears of it and when, and what AlterPartition is
//! answered. Links can be cut, brokers can die with or without their page cache, time moves when it is told to.

#![allow(clippy::unwrap_used)] // In a test a panic is the failure that it should be.

mod clients;
mod flush;
mod isr;
mod lifecycle;
mod requests;
mod truncation;

use super::codes;
use super::manager::ReplicaManager;
use super::partition::Partition;
use crate::config::{NodeConfig, Settings};
use crate::log::testing::MemDisk;
use crate::machine::{Call, CallFailed, CallResult, Channel, Entropy, Outbox};
use crate::metadata::{BrokerRegistration, MetadataDelta, MetadataImage, Topic};
use crate::note::{Note, PartitionState};
use crate::rules::{Rule, Rules};
use crate::types::Uuid;
use crate::types::{BrokerEpoch, LeaderEpoch, Nanos, NodeId, Now, Offset, PartitionEpoch, RequestId, TopicPartition};
use crate::wire::batch;
use kafka_protocol::messages::alter_partition_request::AlterPartitionRequest;
use kafka_protocol::messages::alter_partition_response::{self, AlterPartitionResponse};
use kafka_protocol::messages::{BrokerId, RequestKind, ResponseKind, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The partition that all tests are about.
const P: TopicPartition = TopicPartition {
    topic: Uuid::from_u128(0x7),
    partition: 0,
};
/// Fetches of replicas use this version.
const FETCH_VERSION: i16 = 17;

struct Node {
    manager: Option<ReplicaManager>,
    disk: MemDisk,
    config: NodeConfig,
}

struct World {
    nodes: BTreeMap<i32, Node>,
    image: MetadataImage,
    now: Now,
    /// Calls on their way: from, what.
    calls: VecDeque<(i32, Call)>,
    /// Answers on their way: from, to, tag, what.
    answers: VecDeque<(i32, i32, u64, CallResult)>,
    /// AlterPartition that the controller has not answered: from, tag, what.
    alters: VecDeque<(i32, u64, AlterPartitionRequest)>,
    /// Requests of replicas at a server: whose and with what tag.
    asked: BTreeMap<(i32, RequestId), (i32, u64)>,
    replies: BTreeMap<RequestId, ResponseKind>,
    notes: Vec<(i32, Note)>,
    /// What goes from the first to the second waits.
    cut: BTreeSet<(i32, i32)>,
    /// Syncs of these nodes do not end.
    hung_disks: BTreeSet<i32>,
    next_request: u64,
    next_broker_epoch: i64,
}

fn name(text: &str) -> TopicName {
    TopicName(StrBytes::from_string(text.to_owned()))
}

impl World {
    /// Brokers 1 to `n`, registered, and the topic `t` with one partition on all of them, led by 1, all in sync.
    /// Nobody has heard of it yet.
    fn silent(n: i32, rules: Rules, change: impl Fn(&mut Settings)) -> World {
        let mut world = World {
            nodes: BTreeMap::new(),
            image: MetadataImage::default(),
            now: Now {
                mono: Nanos::from_ms(1_000),
                wall_ms: 1_000_000,
            },
            calls: VecDeque::new(),
            answers: VecDeque::new(),
            alters: VecDeque::new(),
            asked: BTreeMap::new(),
            replies: BTreeMap::new(),
            notes: Vec::new(),
            cut: BTreeSet::new(),
            hung_disks: BTreeSet::new(),
            next_request: 0,
            next_broker_epoch: 100,
        };
        let mut settings = Settings {
            replica_fetch_backoff_ms: 100,
            ..Settings::default()
        };
        change(&mut settings);
        for id in 1..=n {
            let config = NodeConfig {
                node_id: NodeId(id),
                is_broker: true,
                is_controller: false,
                host: String::from("localhost"),
                port: 9092,
                rack: Some(format!("r{id}")),
                voters: Vec::new(),
                cluster_id: String::from("c"),
                settings: settings.clone(),
                rules,
            };
            world.nodes.insert(
                id,
                Node {
                    manager: None,
                    disk: MemDisk::new(),
                    config,
                },
            );
        }
        let all: Vec<NodeId> = (1..=n).map(NodeId).collect();
        let state = PartitionState {
            leader: Some(NodeId(1)),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            replicas: all.clone(),
            isr: all,
            elr: Vec::new(),
        };
        world.create_topic(P.topic, state);
        for id in 1..=n {
            world.boot(id, false);
        }
        world
    }

    /// The same, and everybody has heard of it.
    fn new(n: i32, rules: Rules, change: impl Fn(&mut Settings)) -> World {
        let mut world = World::silent(n, rules, change);
        world.publish_all();
        world
    }

    fn with(n: i32, rule: Option<Rule>) -> World {
        World::new(n, rule.map_or(Rules::NONE, |rule| Rules::NONE.with(rule)), |_| {})
    }

    fn create_topic(&mut self, id: Uuid, state: PartitionState) {
        let topic = Topic {
            last_known_elr: BTreeMap::new(),
            reassignments: BTreeMap::new(),
            id,
            name: String::from("t"),
            partitions: BTreeMap::from([(0, state)]),
        };
        self.image.topics.insert(id, topic);
        self.image.topic_ids.insert(String::from("t"), id);
    }

    /// Starts a broker under a new incarnation that the controller knows.
    fn boot(&mut self, id: i32, clean: bool) {
        self.next_broker_epoch += 1;
        let epoch = BrokerEpoch(self.next_broker_epoch);
        let registration = BrokerRegistration {
            id: NodeId(id),
            epoch,
            incarnation: Uuid::from_u128(epoch.0 as u128),
            host: String::from("localhost"),
            port: 9092,
            rack: Some(format!("r{id}")),
            fenced: false,
            in_controlled_shutdown: false,
        };
        self.image.brokers.insert(NodeId(id), registration);
        let node = self.nodes.get_mut(&id).unwrap();
        let mut manager = ReplicaManager::new(&node.config, Entropy(1));
        manager.set_controller(Some(NodeId(9)));
        manager.set_broker_epoch(epoch);
        node.manager = Some(manager);
        self.step(id, |manager, _, now, disk, out| {
            manager.open(clean, now, disk, out).unwrap()
        });
    }

    /// The process is gone, and with `power` all that was not synced. Who waited for it learns that.
    fn kill(&mut self, id: i32, power: bool) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.manager = None;
        if power {
            node.disk.crash_power();
        } else {
            node.disk.crash_process();
        }
        self.calls.retain(|(from, _)| *from != id);
        self.answers.retain(|(from, to, ..)| *from != id && *to != id);
        self.alters.retain(|(from, ..)| *from != id);
        let mut lost = Vec::new();
        self.asked.retain(|(server, _), client| {
            lost.extend((*server == id).then_some((*server, *client)));
            *server != id && client.0 != id
        });
        for (server, (client, tag)) in lost {
            self.answers
                .push_back((server, client, tag, Err(CallFailed::Disconnected)));
        }
    }

    fn restart(&mut self, id: i32) {
        self.kill(id, false);
        self.boot(id, false);
    }

    /// One step of a machine, and what comes out of it. Syncs end at once, unless the disk hangs.
    fn step<R>(
        &mut self,
        id: i32,
        act: impl FnOnce(&mut ReplicaManager, &MetadataImage, Now, &mut MemDisk, &mut Outbox) -> R,
    ) -> R {
        let mut out = Outbox::default();
        let node = self.nodes.get_mut(&id).unwrap();
        let manager = node.manager.as_mut().expect("the broker lives");
        let result = act(manager, &self.image, self.now, &mut node.disk, &mut out);
        node.disk.take_syncs(&mut out);
        assert!(out.outputs.is_empty(), "only syncs: {:?}", out.outputs);
        self.take(id, out);
        if !self.hung_disks.contains(&id) {
            self.complete_syncs(id);
        }
        result
    }

    fn complete_syncs(&mut self, id: i32) {
        loop {
            let node = self.nodes.get_mut(&id).unwrap();
            let (Some(manager), Some(tag)) = (node.manager.as_mut(), node.disk.complete_one()) else {
                return;
            };
            let mut out = Outbox::default();
            manager
                .on_sync_done(&tag, Ok(()), self.now, &mut node.disk, &mut out)
                .unwrap();
            node.disk.take_syncs(&mut out);
            self.take(id, out);
        }
    }

    fn take(&mut self, id: i32, out: Outbox) {
        self.check_bounds(id);
        self.notes.extend(out.notes.into_iter().map(|note| (id, note)));
        for call in out.calls {
            match (call.channel, call.request) {
                (Channel::Controller, RequestKind::AlterPartition(request)) => {
                    self.alters.push_back((id, call.tag, request));
                }
                (_, request) => self.calls.push_back((id, Call { request, ..call })),
            }
        }
        for (request, response) in out.replies {
            match self.asked.remove(&(id, request)) {
                Some((client, tag)) => self.answers.push_back((id, client, tag, Ok(response))),
                None => {
                    let twice = self.replies.insert(request, response);
                    assert!(twice.is_none(), "request {request} was answered twice");
                }
            }
        }
    }

    /// What holds after every step: log start <= high watermark <= log end.
    fn check_bounds(&self, id: i32) {
        let manager = self.nodes[&id].manager.as_ref().unwrap();
        for partition in manager.partitions() {
            let log = partition.log();
            assert!(log.log_start_offset() <= partition.high_watermark(), "{partition:?}");
            assert!(partition.high_watermark() <= log.log_end_offset(), "{partition:?}");
        }
    }

    fn answer_call(&mut self, client: i32, server: i32, tag: u64, result: CallResult) {
        if self.nodes[&client].manager.is_some() {
            self.step(client, |manager, _, now, disk, out| {
                manager
                    .on_fetch_response(NodeId(server), tag, result, now, disk, out)
                    .unwrap();
            });
        }
    }

    /// Delivers one answer or call whose link works. False: there is none.
    fn deliver_one(&mut self) -> bool {
        let cut = &self.cut;
        if let Some(at) = self
            .answers
            .iter()
            .position(|(from, to, ..)| !cut.contains(&(*from, *to)))
        {
            let (server, client, tag, result) = self.answers.remove(at).unwrap();
            self.answer_call(client, server, tag, result);
            return true;
        }
        let Some(at) = self
            .calls
            .iter()
            .position(|(from, call)| !cut.contains(&(*from, call.to.0)))
        else {
            return false;
        };
        let (from, call) = self.calls.remove(at).unwrap();
        let to = call.to.0;
        if self.nodes[&to].manager.is_none() {
            self.answers
                .push_back((to, from, call.tag, Err(CallFailed::Disconnected)));
            return true;
        }
        let id = self.fresh();
        self.asked.insert((to, id), (from, call.tag));
        self.step(to, |manager, image, now, disk, out| match &call.request {
            RequestKind::Fetch(request) => manager
                .fetch(id, request, FETCH_VERSION, image, now, disk, out)
                .unwrap(),
            RequestKind::ListOffsets(request) => {
                manager.list_offsets(id, request, 8, image, now, disk, out).unwrap();
            }
            RequestKind::OffsetForLeaderEpoch(request) => {
                manager
                    .offset_for_leader_epoch(id, request, image, now, disk, out)
                    .unwrap();
            }
            other => panic!("unexpected {other:?}"),
        });
        true
    }

    /// Delivers all that can be delivered.
    fn run(&mut self) {
        for _ in 0..10_000 {
            if !self.deliver_one() {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Time passes; deadlines that are met are served.
    fn advance(&mut self, ms: u64) {
        let end = self.now.mono.plus_ms(ms);
        loop {
            let due = |node: &Node| node.manager.as_ref().and_then(ReplicaManager::next_deadline);
            let next = self.nodes.iter().filter_map(|(id, node)| Some((due(node)?, *id))).min();
            let Some((at, id)) = next.filter(|(at, _)| *at <= end) else {
                break;
            };
            self.set_time(at.max(self.now.mono));
            self.step(id, |manager, _, now, disk, out| {
                manager.on_deadline(now, disk, out).unwrap()
            });
            self.run();
        }
        self.set_time(end);
    }

    fn set_time(&mut self, mono: Nanos) {
        self.now.wall_ms += mono.since(self.now.mono).as_ms() as i64;
        self.now.mono = mono;
    }

    fn fresh(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    // --- metadata ---------------------------------------------------------------------------------------------

    fn state(&self) -> &PartitionState {
        &self.image.topics[&P.topic].partitions[&0]
    }

    fn state_mut(&mut self) -> &mut PartitionState {
        self.image
            .topics
            .get_mut(&P.topic)
            .unwrap()
            .partitions
            .get_mut(&0)
            .unwrap()
    }

    /// The controller decides; nobody hears of it yet.
    fn decide(&mut self, leader: i32, isr: &[i32]) {
        let state = self.state_mut();
        state.leader = Some(NodeId(leader)).filter(|leader| leader.0 > 0);
        state.leader_epoch.0 += 1;
        state.partition_epoch.0 += 1;
        state.isr = isr.iter().copied().map(NodeId).collect();
    }

    /// The controller changes the ISR only.
    fn decide_isr(&mut self, isr: &[i32]) {
        let state = self.state_mut();
        state.partition_epoch.0 += 1;
        state.isr = isr.iter().copied().map(NodeId).collect();
    }

    fn publish(&mut self, id: i32) {
        let delta = MetadataDelta {
            brokers: self.image.brokers.keys().copied().collect(),
            partitions: self
                .image
                .topics
                .keys()
                .map(|topic| TopicPartition {
                    topic: *topic,
                    partition: 0,
                })
                .collect(),
            configs: BTreeSet::from([String::from("t")]),
            removed_topics: BTreeSet::new(),
        };
        self.publish_delta(id, &delta);
    }

    fn publish_delta(&mut self, id: i32, delta: &MetadataDelta) {
        self.step(id, |manager, image, now, disk, out| {
            manager.apply_metadata(image, delta, now, disk, out).unwrap();
        });
    }

    fn publish_all(&mut self) {
        let ids: Vec<i32> = self.nodes.keys().copied().collect();
        for id in ids {
            if self.nodes[&id].manager.is_some() {
                self.publish(id);
            }
        }
        self.run();
    }

    fn elect(&mut self, leader: i32, isr: &[i32]) {
        self.decide(leader, isr);
        self.publish_all();
    }

    fn set_min_isr(&mut self, min_isr: i32) {
        self.set_config("min.insync.replicas", &min_isr.to_string());
    }

    /// The topic has this property, and no other.
    fn set_config(&mut self, name: &str, value: &str) {
        let config = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        self.image.configs.insert(String::from("t"), config);
        self.publish_all();
    }

    /// The controller commits the oldest AlterPartition. Only its sender hears of it.
    fn commit_alter(&mut self) {
        let (_, _, request) = self.alters.front().unwrap();
        let wanted = &request.topics[0].partitions[0];
        let isr: Vec<i32> = wanted
            .new_isr_with_epochs
            .iter()
            .map(|broker| broker.broker_id.0)
            .collect();
        self.decide_isr(&isr);
        self.answer_alter(codes::NONE);
    }

    fn answer_alter(&mut self, code: i16) {
        let (from, tag, _) = self.alters.pop_front().unwrap();
        let state = self.state();
        let data = alter_partition_response::PartitionData::default()
            .with_error_code(code)
            .with_leader_id(BrokerId(state.leader.unwrap().0))
            .with_leader_epoch(state.leader_epoch.0)
            .with_partition_epoch(state.partition_epoch.0)
            .with_isr(state.isr.iter().map(|id| BrokerId(id.0)).collect());
        let topic = alter_partition_response::TopicData::default()
            .with_topic_id(P.topic)
            .with_partitions(vec![data]);
        let response = AlterPartitionResponse::default().with_topics(vec![topic]);
        self.alter_response(from, tag, Ok(ResponseKind::AlterPartition(response)));
    }

    fn alter_response(&mut self, to: i32, tag: u64, result: CallResult) {
        self.step(to, |manager, _, now, disk, out| {
            manager
                .on_alter_partition_response(tag, result, now, disk, out)
                .unwrap();
        });
        self.run();
    }

    /// The ISR that the oldest unanswered AlterPartition asks for.
    fn proposed(&self) -> Option<Vec<(i32, i64)>> {
        let (_, _, request) = self.alters.front()?;
        let brokers = &request.topics[0].partitions[0].new_isr_with_epochs;
        Some(
            brokers
                .iter()
                .map(|broker| (broker.broker_id.0, broker.broker_epoch))
                .collect(),
        )
    }

    fn proposed_ids(&self) -> Option<Vec<i32>> {
        self.proposed()
            .map(|brokers| brokers.into_iter().map(|(id, _)| id).collect())
    }

    fn broker_epoch(&self, id: i32) -> i64 {
        self.image.brokers[&NodeId(id)].epoch.0
    }

    // --- links ------------------------------------------------------------------------------------------------

    /// Nothing comes from or to this node.
    fn isolate(&mut self, id: i32) {
        for other in self.nodes.keys().copied().filter(|other| *other != id) {
            self.cut.insert((id, other));
            self.cut.insert((other, id));
        }
    }

    fn heal(&mut self) {
        self.cut.clear();
        self.run();
    }

    // --- what there is ----------------------------------------------------------------------------------------

    fn partition(&self, id: i32) -> &Partition {
        self.nodes[&id]
            .manager
            .as_ref()
            .expect("the broker lives")
            .partition(P)
            .expect("it has a replica")
    }

    fn high_watermark(&self, id: i32) -> Offset {
        self.partition(id).high_watermark()
    }

    fn end(&self, id: i32) -> Offset {
        self.partition(id).log().log_end_offset()
    }

    /// The whole log: `value@epoch` each.
    fn log(&mut self, id: i32) -> Vec<String> {
        let node = self.nodes.get_mut(&id).unwrap();
        let mut log = node.manager.as_ref().unwrap().partition(P).unwrap().log().clone();
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        if start == end {
            return Vec::new();
        }
        let bytes = log.read(start, end, usize::MAX, true, &mut node.disk).unwrap();
        let mut all = Vec::new();
        for batch in batch::batches(&bytes) {
            let (header, bytes) = batch.unwrap();
            for record in batch::records(&bytes) {
                let value = record.unwrap().value.unwrap();
                all.push(format!(
                    "{}@{}",
                    String::from_utf8_lossy(&value),
                    header.partition_leader_epoch
                ));
            }
        }
        all
    }

    fn noted(&self, matches: impl Fn(i32, &Note) -> bool) -> usize {
        self.notes.iter().filter(|(id, note)| matches(*id, note)).count()
    }
}
