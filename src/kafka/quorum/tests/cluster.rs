//! A few quorums in one process, with a network, disks and a clock that a seed decides about.
//!
//! What it checks after every event: one leader an epoch and one vote an epoch and node, restarts included (X9);
//! a committed record is the same everywhere for ever, is in the log of every new leader, and is durable on a majority
//! (X10). Messages are encoded and decoded as they would be on a wire.

use super::disk::{Captured, TestDisk};
use crate::config::{NodeConfig, Settings, Voter};
use crate::log::OpenWith;
use crate::machine::*;
use crate::note::Note;
use crate::quorum::Quorum;
use crate::rules::Rules;
use crate::types::*;
use crate::wire::batch;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub struct Node {
    pub id: NodeId,
    pub config: NodeConfig,
    pub disk: TestDisk,
    pub quorum: Option<Quorum>,
    incarnation: u64,
    syncs: VecDeque<(SyncTag, Captured)>,
    /// All below is durable here, also while the node is down.
    durable_end: Offset,
    /// Committed batches were compared up to here.
    compared: Offset,
    out: Outbox,
}

/// A call on its way, there or back.
#[derive(Clone, Debug)]
struct Flight {
    from: NodeId,
    incarnation: u64,
    to: NodeId,
    channel: Channel,
    tag: u64,
    deadline: Nanos,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    Request(RequestKind),
    /// Handed to the peer's incarnation under this id.
    Handled(u64, RequestId),
    Response(CallResult),
}

pub struct Cluster {
    pub nodes: Vec<Node>,
    pub now: Nanos,
    pub chance: Entropy,
    flights: BTreeMap<u64, Flight>,
    next_id: u64,
    /// Directed links that hold everything back.
    pub cut: BTreeSet<(NodeId, NodeId)>,
    // --- what is known for ever ------------------------------------------------------------------------------
    leaders: BTreeMap<LeaderEpoch, NodeId>,
    votes: BTreeMap<(NodeId, LeaderEpoch), NodeId>,
    committed: BTreeMap<Offset, Bytes>,
    committed_end: Offset,
    pub notes: Vec<(NodeId, Note)>,
}

pub fn config(id: i32, voters: i32, rules: Rules) -> NodeConfig {
    NodeConfig {
        node_id: NodeId(id),
        is_broker: true,
        is_controller: id <= voters,
        host: "h".to_owned(),
        port: 9092,
        rack: None,
        voters: (1..=voters)
            .map(|id| Voter {
                id: NodeId(id),
                host: "h".to_owned(),
                port: 9092,
            })
            .collect(),
        cluster_id: "test-cluster".to_owned(),
        settings: Settings {
            metadata_log_segment_bytes: 600,
            // One batch a fetch: followers stand at every offset once.
            internal_metadata_max_fetch_size_in_bytes: 100,
            ..Settings::default()
        },
        rules,
    }
}

impl Cluster {
    /// Nodes 1 to `voters` vote, the rest observe. Nobody has started.
    pub fn new(voters: i32, observers: i32, rules: Rules, seed: u64) -> Cluster {
        let node = |id| Node {
            id: NodeId(id),
            config: config(id, voters, rules),
            disk: TestDisk::default(),
            quorum: None,
            incarnation: 0,
            syncs: VecDeque::new(),
            durable_end: 0,
            compared: 0,
            out: Outbox::default(),
        };
        Cluster {
            nodes: (1..=voters + observers).map(node).collect(),
            now: Nanos(0),
            chance: Entropy(seed),
            flights: BTreeMap::new(),
            next_id: 0,
            cut: BTreeSet::new(),
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            committed: BTreeMap::new(),
            committed_end: 0,
            notes: Vec::new(),
        }
    }

    pub fn started(voters: i32, observers: i32, rules: Rules, seed: u64) -> Cluster {
        let mut cluster = Cluster::new(voters, observers, rules, seed);
        for at in 0..cluster.nodes.len() {
            cluster.start(at);
        }
        cluster
    }

    fn wall(&self) -> Now {
        Now {
            mono: self.now,
            wall_ms: 1_700_000_000_000 + self.now.as_ms() as i64,
        }
    }

    fn fresh(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub fn quorum(&mut self, at: usize) -> &mut Quorum {
        self.nodes[at].quorum.as_mut().expect("a running node")
    }

    pub fn leader(&self) -> Option<usize> {
        let leads = |at: &usize| self.nodes[*at].quorum.as_ref().is_some_and(Quorum::is_leader);
        (0..self.nodes.len())
            .filter(leads)
            .max_by_key(|at| self.nodes[*at].quorum.as_ref().map(Quorum::epoch))
    }

    pub fn committed_end(&self) -> Offset {
        self.committed_end
    }

    pub fn start(&mut self, at: usize) {
        let now = self.wall();
        let entropy = Entropy(self.chance.next_u64());
        let node = &mut self.nodes[at];
        assert!(node.quorum.is_none());
        node.incarnation += 1;
        node.compared = 0;
        let mut out = std::mem::take(&mut node.out);
        let opened = Quorum::open(
            &node.config,
            OpenWith::default(),
            entropy,
            now,
            &mut node.disk,
            &mut out,
        );
        node.out = out;
        node.quorum = Some(opened.expect("a healthy disk opens"));
        self.settle(at);
    }

    pub fn stop(&mut self, at: usize, power: bool) {
        let id = self.nodes[at].id;
        let node = &mut self.nodes[at];
        node.quorum = None;
        node.syncs.clear();
        node.out = Outbox::default();
        if power {
            node.disk.lose_power(&mut self.chance);
        } else {
            node.disk.crash();
        }
        self.flights.retain(|_, flight| flight.from != id);
        for flight in self.flights.values_mut().filter(|flight| flight.to == id) {
            if !matches!(flight.stage, Stage::Response(_)) {
                flight.stage = Stage::Response(Err(CallFailed::Disconnected));
            }
        }
    }

    /// Runs one entry of a node's machine and everything that follows for the harness.
    pub fn enter<T>(&mut self, at: usize, enter: impl FnOnce(&mut Quorum, Now, &mut TestDisk, &mut Outbox) -> T) -> T {
        let now = self.wall();
        let node = &mut self.nodes[at];
        let quorum = node.quorum.as_mut().expect("a running node");
        let result = enter(quorum, now, &mut node.disk, &mut node.out);
        self.settle(at);
        result
    }

    fn settle(&mut self, at: usize) {
        let id = self.nodes[at].id;
        let incarnation = self.nodes[at].incarnation;
        let mut out = std::mem::take(&mut self.nodes[at].out);
        for output in out.outputs.drain(..) {
            if let Output::Sync { tag, target } = output {
                let captured = self.nodes[at].disk.capture(&target);
                self.nodes[at].syncs.push_back((tag, captured));
            }
        }
        for call in out.calls.drain(..) {
            let open = |f: &&Flight| f.from == id && f.to == call.to && f.channel == call.channel;
            assert!(
                self.flights.values().find(open).is_none(),
                "two calls at a time on one channel"
            );
            assert_ne!(call.to, id, "a call to itself");
            let flight = Flight {
                from: id,
                incarnation,
                to: call.to,
                channel: call.channel,
                tag: call.tag,
                deadline: self.now.plus_ms(call.timeout_ms),
                stage: Stage::Request(through_wire(&call.request)),
            };
            let key = self.fresh();
            self.flights.insert(key, flight);
        }
        for (request, response) in out.replies.drain(..) {
            let answered =
                |f: &&mut Flight| matches!(f.stage, Stage::Handled(i, r) if i == incarnation && r == request);
            // The caller may have given up.
            if let Some(flight) = self.flights.values_mut().filter(|f| f.to == id).find(answered) {
                flight.stage = Stage::Response(Ok(response));
            }
        }
        let notes: Vec<Note> = out.notes.drain(..).collect();
        self.nodes[at].out = out;
        for note in notes {
            self.check(at, &note);
            self.notes.push((id, note));
        }
        self.check_committed(at);
    }

    // --- checks ------------------------------------------------------------------------------------------------

    fn check(&mut self, at: usize, note: &Note) {
        let id = self.nodes[at].id;
        match note {
            Note::BecameQuorumLeader {
                epoch,
                epoch_start_offset,
            } => {
                let known = *self.leaders.entry(*epoch).or_insert(id);
                assert_eq!(known, id, "X9: two leaders in epoch {epoch}");
                assert!(
                    *epoch_start_offset >= self.committed_end,
                    "X10: the leader of epoch {epoch} lacks committed records"
                );
            }
            Note::Voted { epoch, candidate } => {
                let known = *self.votes.entry((id, *epoch)).or_insert(*candidate);
                assert_eq!(known, *candidate, "X9: node {id} voted twice in epoch {epoch}");
            }
            Note::Truncated { to, .. } => {
                let node = &mut self.nodes[at];
                node.durable_end = node.durable_end.min(*to);
            }
            _ => {}
        }
    }

    fn check_committed(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let Some(quorum) = node.quorum.as_mut() else { return };
        node.durable_end = node.durable_end.max(quorum.log().recovery_point());
        let Some(high_watermark) = quorum.high_watermark() else {
            return;
        };
        assert!(
            high_watermark <= quorum.log_end_offset(),
            "a high watermark above the log end"
        );
        node.compared = node.compared.max(quorum.log().log_start_offset());
        while node.compared < high_watermark {
            let bytes = quorum
                .read_committed(node.compared, 1 << 20, &mut node.disk)
                .expect("committed records");
            assert!(!bytes.is_empty(), "committed records that cannot be read");
            for found in batch::batches(&bytes) {
                let (header, batch) = found.expect("whole batches");
                let known = self
                    .committed
                    .entry(header.base_offset)
                    .or_insert_with(|| batch.clone());
                assert!(
                    *known == batch,
                    "X10: the committed batch at {} changed",
                    header.base_offset
                );
                node.compared = header.last_offset() + 1;
            }
        }
        if high_watermark > self.committed_end {
            self.committed_end = high_watermark;
            let voters = self.nodes[0].config.voters.len();
            let held = self.nodes[..voters]
                .iter()
                .filter(|node| node.durable_end >= high_watermark)
                .count();
            assert!(
                held > voters / 2,
                "X10: {high_watermark} is committed and durable on {held} of {voters} only"
            );
        }
    }

    // --- events ------------------------------------------------------------------------------------------------

    fn deliverable(&self) -> Vec<u64> {
        let moves = |flight: &Flight| match flight.stage {
            Stage::Request(_) => !self.cut.contains(&(flight.from, flight.to)),
            Stage::Response(Err(_)) => true,
            Stage::Response(Ok(_)) => !self.cut.contains(&(flight.to, flight.from)),
            Stage::Handled(..) => false,
        };
        self.flights
            .iter()
            .filter(|(_, flight)| moves(flight))
            .map(|(key, _)| *key)
            .collect()
    }

    fn at(&self, id: NodeId) -> usize {
        (id.0 - 1) as usize
    }

    fn deliver(&mut self, key: u64, lose: bool) {
        let mut flight = self.flights.remove(&key).expect("a known flight");
        let at = self.at(flight.to);
        match flight.stage {
            Stage::Request(_) | Stage::Response(Ok(_)) if lose => {
                flight.stage = Stage::Response(Err(CallFailed::Disconnected));
                self.flights.insert(key, flight);
            }
            Stage::Request(request) => {
                if self.nodes[at].quorum.is_none() {
                    flight.stage = Stage::Response(Err(CallFailed::Disconnected));
                    self.flights.insert(key, flight);
                    return;
                }
                let id = RequestId(self.fresh());
                flight.stage = Stage::Handled(self.nodes[at].incarnation, id);
                self.flights.insert(key, flight);
                self.enter(at, |q, now, disk, out| q.handle(id, &request, now, disk, out))
                    .expect("a healthy disk");
            }
            Stage::Response(result) => {
                let (from, channel, tag) = (flight.to, flight.channel, flight.tag);
                let at = self.at(flight.from);
                assert_eq!(self.nodes[at].incarnation, flight.incarnation);
                let result = result.map(|response| response_through_wire(&response));
                self.enter(at, |q, now, disk, out| {
                    q.on_response(from, channel, tag, result, now, disk, out)
                })
                .expect("a healthy disk");
            }
            Stage::Handled(..) => unreachable!("not deliverable"),
        }
    }

    pub fn finish_sync(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let Some((tag, captured)) = node.syncs.pop_front() else {
            return;
        };
        node.disk.make_durable(captured);
        self.enter(at, |q, now, disk, out| q.on_sync_done(&tag, Ok(()), now, disk, out))
            .expect("a healthy disk");
    }

    /// The next instant at which something is due, or None.
    fn next_instant(&self) -> Option<Nanos> {
        let machines = self
            .nodes
            .iter()
            .filter_map(|node| node.quorum.as_ref()?.next_deadline());
        machines
            .chain(self.flights.values().map(|flight| flight.deadline))
            .min()
    }

    /// Time goes on to the next deadline.
    pub fn advance(&mut self) {
        let Some(next) = self.next_instant() else { return };
        self.now = self.now.max(next);
        let late = |flight: &Flight| flight.deadline <= self.now;
        let late: Vec<u64> = self
            .flights
            .iter()
            .filter(|(_, flight)| late(flight))
            .map(|(key, _)| *key)
            .collect();
        for key in late {
            let Some(mut flight) = self.flights.remove(&key) else {
                continue;
            };
            let to = self.at(flight.to);
            if let Stage::Handled(incarnation, request) = flight.stage
                && self.nodes[to].incarnation == incarnation
                && let Some(quorum) = self.nodes[to].quorum.as_mut()
            {
                quorum.on_disconnected_request(request);
            }
            flight.stage = Stage::Response(Err(CallFailed::TimedOut));
            self.flights.insert(key, flight);
            self.deliver(key, false);
        }
        for at in 0..self.nodes.len() {
            let due = self.nodes[at].quorum.as_ref().and_then(Quorum::next_deadline);
            if due.is_some_and(|due| due <= self.now) {
                self.enter(at, |q, now, disk, out| q.on_deadline(now, disk, out))
                    .expect("a healthy disk");
                let next = self.quorum(at).next_deadline();
                assert!(
                    next.is_none_or(|next| next > self.now),
                    "a deadline that stays due: the node would spin"
                );
            }
        }
    }

    /// One event without faults: a message, a sync, or time.
    pub fn step(&mut self) {
        let ready = self.deliverable();
        let syncing: Vec<usize> = (0..self.nodes.len())
            .filter(|at| !self.nodes[*at].syncs.is_empty())
            .collect();
        let choices = (ready.len() + syncing.len()) as u64;
        // Mostly the world is faster than timers.
        if choices == 0 || self.chance.below(30) == 0 {
            return self.advance();
        }
        let pick = self.chance.below(choices) as usize;
        match ready.get(pick) {
            Some(key) => self.deliver(*key, false),
            None => self.finish_sync(syncing[pick - ready.len()]),
        }
    }

    /// Runs without faults until `done`, at most `virtual_ms` long. False if it never came to be.
    pub fn run_until(&mut self, virtual_ms: u64, mut done: impl FnMut(&mut Cluster) -> bool) -> bool {
        let end = self.now.plus_ms(virtual_ms);
        while self.now < end {
            if done(self) {
                return true;
            }
            self.step();
        }
        false
    }

    /// Appends a record at whoever leads; its offset.
    pub fn append(&mut self, bytes: usize) -> Option<Offset> {
        let at = self.leader()?;
        let mut value = vec![0_u8; bytes.max(8)];
        let unique = self.fresh();
        value[..8].copy_from_slice(&unique.to_be_bytes());
        let values = [Bytes::from(value)];
        self.enter(at, |q, now, disk, out| q.append(&values, now, disk, out))
            .expect("a healthy disk")
            .map(|(_, last)| last)
    }

    /// A snapshot of all that is committed at this node, with a value that says so.
    pub fn snapshot(&mut self, at: usize) {
        let Some(quorum) = self.nodes[at].quorum.as_ref() else {
            return;
        };
        let Some(end) = quorum
            .high_watermark()
            .filter(|end| *end > quorum.log().log_start_offset())
        else {
            return;
        };
        let epoch = quorum.log().epoch_at(end - 1).expect("a committed record has an epoch");
        let values = [Bytes::from(format!("all below {end}"))];
        self.enter(at, |q, now, disk, out| {
            q.write_snapshot(end, epoch, &values, now, disk, out)
        })
        .expect("a healthy disk");
    }

    /// One event of a hostile world.
    pub fn hostile_step(&mut self) {
        let nodes = self.nodes.len() as u64;
        match self.chance.below(1000) {
            0..=29 => {
                let ready = self.deliverable();
                if !ready.is_empty() {
                    let pick = self.chance.below(ready.len() as u64) as usize;
                    self.deliver(ready[pick], true);
                }
            }
            30..=37 => {
                let at = self.chance.below(nodes) as usize;
                if self.nodes[at].quorum.is_some() {
                    let power = self.chance.below(2) == 0;
                    self.stop(at, power);
                }
            }
            38..=62 => {
                let at = self.chance.below(nodes) as usize;
                if self.nodes[at].quorum.is_none() {
                    self.start(at);
                }
            }
            63..=72 => {
                // Somebody is alone, often the leader; in one direction or both.
                let at = match self.leader() {
                    Some(at) if self.chance.below(2) == 0 => at,
                    _ => self.chance.below(nodes) as usize,
                };
                let (alone, both) = (self.nodes[at].id, self.chance.below(3) > 0);
                for other in 1..=nodes as i32 {
                    self.cut.insert((alone, NodeId(other)));
                    if both {
                        self.cut.insert((NodeId(other), alone));
                    }
                }
            }
            73..=80 => self.cut.clear(),
            81..=110 => {
                self.append(10);
            }
            111..=114 => {
                let at = self.chance.below(nodes) as usize;
                self.snapshot(at);
            }
            115..=129 => self.advance(),
            _ => self.step(),
        }
    }

    /// Heals everything and demands that all agree again.
    pub fn converge(&mut self) {
        self.cut.clear();
        for at in 0..self.nodes.len() {
            if self.nodes[at].quorum.is_none() {
                self.start(at);
            }
        }
        let agreed = self.run_until(60_000, |cluster| {
            let Some(at) = cluster.leader() else { return false };
            let leader = cluster.nodes[at].quorum.as_ref().expect("it leads");
            let (epoch, end) = (leader.epoch(), leader.log_end_offset());
            cluster
                .nodes
                .iter()
                .filter_map(|node| node.quorum.as_ref())
                .all(|quorum| {
                    quorum.epoch() == epoch && quorum.log_end_offset() == end && quorum.high_watermark() == Some(end)
                })
        });
        if !agreed {
            for node in &self.nodes {
                if let Some(q) = &node.quorum {
                    eprintln!(
                        "{}: epoch {} leader {:?} end {} hw {:?} {:?}",
                        node.id,
                        q.epoch(),
                        q.leader(),
                        q.log_end_offset(),
                        q.high_watermark(),
                        q.role
                    );
                }
            }
        }
        assert!(agreed, "L9: no agreement a minute after all is well");
    }
}

/// Encodes and decodes as the broker would, so that no message needs a field its version does not have.
fn through_wire(request: &RequestKind) -> RequestKind {
    fn copy<T: Encodable + Decodable>(message: &T, version: i16) -> T {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes, version).expect("a message of this version");
        T::decode(&mut bytes.freeze(), version).expect("what was encoded")
    }
    match request {
        RequestKind::Vote(m) => RequestKind::Vote(copy(m, 2)),
        RequestKind::BeginQuorumEpoch(m) => RequestKind::BeginQuorumEpoch(copy(m, 1)),
        RequestKind::EndQuorumEpoch(m) => RequestKind::EndQuorumEpoch(copy(m, 1)),
        RequestKind::Fetch(m) => RequestKind::Fetch(copy(m, 17)),
        RequestKind::FetchSnapshot(m) => RequestKind::FetchSnapshot(copy(m, 1)),
        other => panic!("not a quorum's request: {other:?}"),
    }
}

fn response_through_wire(response: &ResponseKind) -> ResponseKind {
    fn copy<T: Encodable + Decodable>(message: &T, version: i16) -> T {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes, version).expect("a message of this version");
        T::decode(&mut bytes.freeze(), version).expect("what was encoded")
    }
    match response {
        ResponseKind::Vote(m) => ResponseKind::Vote(copy(m, 2)),
        ResponseKind::BeginQuorumEpoch(m) => ResponseKind::BeginQuorumEpoch(copy(m, 1)),
        ResponseKind::EndQuorumEpoch(m) => ResponseKind::EndQuorumEpoch(copy(m, 1)),
        ResponseKind::Fetch(m) => ResponseKind::Fetch(copy(m, 17)),
        ResponseKind::FetchSnapshot(m) => ResponseKind::FetchSnapshot(copy(m, 1)),
        other => panic!("not a quorum's response: {other:?}"),
    }
}
