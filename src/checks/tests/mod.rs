//! Small runs told as facts: each check must stay silent on the lawful one and fire on its twin.

mod client;
mod connections;
mod contract;
mod control;
mod cross;
mod damage;
mod damaged_voter;
mod durability;
mod liveness;
mod producers;
mod quorum;
mod replica;
mod topics;

use super::batch::tests::made;
use super::{Checks, Context, Fact, StopKind, TopicPromise};
use bytes::Bytes;
use kafka::note::{ClientNote, Note, PartitionState, TruncateReason};
use kafka::types::{
    BrokerEpoch, LeaderEpoch, METADATA_PARTITION, NodeId, Offset, PartitionEpoch, TopicPartition, Uuid,
};

pub(super) const CLIENT: u16 = 3;
pub(super) const VERIFIER: u16 = 4;
pub(super) const TP: TopicPartition = TopicPartition {
    topic: Uuid::from_u128(7),
    partition: 0,
};

/// A run of three brokers (indices 0 to 2, ids 1 to 3), told step by step.
pub(super) struct Story {
    pub checks: Checks,
    pub time: u64,
    /// Of whoever sends.
    pub idempotent: bool,
}

/// Broker ids of indices.
fn ids(nodes: &[usize]) -> Vec<NodeId> {
    nodes.iter().map(|node| NodeId(*node as i32 + 1)).collect()
}

/// A state of the partition, three replicas, no ELR.
pub(super) fn state(leader: usize, leader_epoch: i32, partition_epoch: i32, isr: &[usize]) -> PartitionState {
    PartitionState {
        leader: Some(NodeId(leader as i32 + 1)),
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch: PartitionEpoch(partition_epoch),
        replicas: ids(&[0, 1, 2]),
        isr: ids(isr),
        elr: Vec::new(),
    }
}

/// The same with an ELR.
pub(super) fn with_elr(mut state: PartitionState, elr: &[usize]) -> PartitionState {
    state.elr = ids(elr);
    state
}

impl Story {
    /// Three brokers that run, `min.insync.replicas` as given.
    pub fn new(min_insync_replicas: u32) -> Story {
        Story::with(TopicPromise {
            min_insync_replicas,
            ..TopicPromise::default()
        })
    }

    pub fn with(promise: TopicPromise) -> Story {
        let mut context = Context::new(3);
        context.topics.insert("t".to_owned(), promise);
        context.verifier = Some(VERIFIER);
        context.lag_bound_ns = 1_000;
        let mut story = Story {
            checks: Checks::new(context),
            time: 1,
            idempotent: true,
        };
        story.checks.fact(Fact::TopicNamed {
            name: "t",
            id: TP.topic,
        });
        for node in 0..3 {
            story.checks.fact(Fact::Started { node, incarnation: 0 });
        }
        story
    }

    /// Logs open, broker 0 leads epoch 0 with all in sync at partition epoch 0.
    pub fn begun(min_insync_replicas: u32) -> Story {
        let mut story = Story::new(min_insync_replicas);
        story.begin();
        story
    }

    pub fn begin(&mut self) {
        for node in 0..3 {
            self.open(node, 0, 0, false);
        }
        self.decide(state(0, 0, 0, &[0, 1, 2]), false);
        self.take_over(0, state(0, 0, 0, &[0, 1, 2]), 0, 0);
    }

    /// One step later.
    pub fn tick(&mut self) {
        self.time += 10;
    }

    /// A note of the present step.
    pub fn note(&mut self, node: usize, note: Note) {
        self.checks.fact(Fact::Note {
            time_ns: self.time,
            node: node as u16,
            note: &note,
        });
    }

    pub fn open(&mut self, node: usize, end: Offset, recovery_point: Offset, clean: bool) {
        self.open_log(node, TP, end, recovery_point, clean);
    }

    /// The log of any partition, from 0 on.
    pub fn open_log(
        &mut self,
        node: usize,
        partition: TopicPartition,
        end: Offset,
        recovery_point: Offset,
        clean: bool,
    ) {
        self.tick();
        self.note(
            node,
            Note::LogOpened {
                partition,
                log_start_offset: 0,
                log_end_offset: end,
                recovery_point,
                clean,
            },
        );
    }

    pub fn decide(&mut self, state: PartitionState, unclean: bool) {
        self.decide_as(2, 1, state, unclean);
    }

    pub fn decide_as(&mut self, controller: usize, epoch: i32, state: PartitionState, unclean: bool) {
        self.tick();
        self.note(
            controller,
            Note::PartitionDecided {
                partition: TP,
                state,
                unclean,
                epoch: LeaderEpoch(epoch),
            },
        );
    }

    pub fn lead(&mut self, node: usize, state: PartitionState, first: Offset, high_watermark: Offset) {
        self.tick();
        self.assign(node, state.leader_epoch.0, first);
        self.note(
            node,
            Note::BecameLeader {
                partition: TP,
                state,
                epoch_start_offset: first,
                high_watermark,
            },
        );
    }

    pub fn follow(&mut self, node: usize, state: PartitionState, high_watermark: Offset) {
        self.tick();
        self.note(
            node,
            Note::BecameFollower {
                partition: TP,
                state,
                high_watermark,
            },
        );
    }

    /// `node` leads, the two others follow with the same high watermark.
    pub fn take_over(&mut self, node: usize, state: PartitionState, first: Offset, high_watermark: Offset) {
        self.lead(node, state.clone(), first, high_watermark);
        for other in (0..3).filter(|other| *other != node) {
            self.follow(other, state.clone(), high_watermark);
        }
    }

    pub fn assign(&mut self, node: usize, epoch: i32, start_offset: Offset) {
        self.note(
            node,
            Note::EpochAssigned {
                partition: TP,
                epoch: LeaderEpoch(epoch),
                start_offset,
            },
        );
    }

    /// A batch as it is, with nothing around it.
    pub fn put(&mut self, node: usize, base: Offset, epoch: i32, values: &[&str], as_leader: bool) {
        self.note(
            node,
            Note::Appended {
                partition: TP,
                base_offset: base,
                last_offset: base + values.len() as Offset - 1,
                leader_epoch: LeaderEpoch(epoch),
                as_leader,
                batch: made(base, epoch, values),
            },
        );
    }

    pub fn append(&mut self, node: usize, base: Offset, epoch: i32, values: &[&str]) {
        self.tick();
        self.put(node, base, epoch, values, true);
    }

    /// A follower takes the batch; `new_epoch`: the first of its epoch in this log.
    pub fn copy(&mut self, node: usize, base: Offset, epoch: i32, values: &[&str], new_epoch: bool) {
        self.tick();
        if new_epoch {
            self.assign(node, epoch, base);
        }
        self.put(node, base, epoch, values, false);
    }

    pub fn flush(&mut self, node: usize, to: Offset) {
        self.tick();
        self.note(node, Note::Flushed { partition: TP, to });
    }

    pub fn truncate(&mut self, node: usize, from: Offset, to: Offset) {
        self.tick();
        self.note(
            node,
            Note::Truncated {
                partition: TP,
                from,
                to,
                reason: TruncateReason::Divergence,
            },
        );
    }

    pub fn lower(&mut self, node: usize, to: Offset) {
        self.note(node, Note::HighWatermarkLowered { partition: TP, to });
    }

    pub fn progress(&mut self, leader: usize, follower: usize, to: Offset, epoch: i32) {
        self.tick();
        self.note(
            leader,
            Note::FollowerProgressed {
                partition: TP,
                follower: NodeId(follower as i32 + 1),
                log_end_offset: to,
                leader_epoch: LeaderEpoch(epoch),
            },
        );
    }

    pub fn high(&mut self, node: usize, to: Offset, as_leader: bool, epoch: i32) {
        self.tick();
        self.note(
            node,
            Note::HighWatermarkAdvanced {
                partition: TP,
                to,
                as_leader,
                leader_epoch: LeaderEpoch(epoch),
            },
        );
    }

    pub fn answer(
        &mut self,
        node: usize,
        base: Offset,
        last: Offset,
        state: Option<PartitionState>,
        epoch: i32,
        high_watermark: Offset,
    ) {
        self.tick();
        self.note(
            node,
            Note::ProduceAnswered {
                partition: TP,
                error_code: 0,
                base_offset: base,
                last_offset: last,
                acks: -1,
                leader_epoch: LeaderEpoch(epoch),
                state,
                high_watermark,
            },
        );
    }

    /// A whole acks=all write of one record: leader 0 of epoch 0, all three in sync.
    pub fn write(&mut self, offset: Offset, value: &'static str) {
        self.invoke(value, -1);
        self.append(0, offset, 0, &[value]);
        for follower in [1, 2] {
            self.copy(follower, offset, 0, &[value], offset == 0);
            self.progress(0, follower, offset + 1, 0);
        }
        self.high(0, offset + 1, true, 0);
        self.answer(0, offset, offset, Some(state(0, 0, 0, &[0, 1, 2])), 0, offset + 1);
        self.acked(value, Some(offset));
        for follower in [1, 2] {
            self.high(follower, offset + 1, false, 0);
        }
    }

    pub fn client(&mut self, node: u16, note: ClientNote) {
        self.tick();
        self.note(node.into(), Note::Client(note));
    }

    pub fn invoke(&mut self, value: &'static str, acks: i16) {
        self.client(
            CLIENT,
            ClientNote::SendInvoked {
                topic: "t".into(),
                partition: 0,
                value: Bytes::from_static(value.as_bytes()),
                acks,
                idempotent: self.idempotent,
            },
        );
    }

    pub fn acked(&mut self, value: &'static str, offset: Option<Offset>) {
        self.client(
            CLIENT,
            ClientNote::SendAcked {
                topic: "t".into(),
                partition: 0,
                value: Bytes::from_static(value.as_bytes()),
                offset,
            },
        );
    }

    pub fn failed(&mut self, value: &'static str, definite: bool) {
        self.client(
            CLIENT,
            ClientNote::SendFailed {
                topic: "t".into(),
                partition: 0,
                value: Bytes::from_static(value.as_bytes()),
                definite,
                error_code: 0,
            },
        );
    }

    pub fn polled(&mut self, client: u16, first: Offset, values: &[&'static str]) {
        let records = values
            .iter()
            .enumerate()
            .map(|(n, value)| {
                (
                    first + n as Offset,
                    LeaderEpoch(0),
                    Bytes::from_static(value.as_bytes()),
                )
            })
            .collect();
        self.client(
            client,
            ClientNote::Polled {
                topic: "t".into(),
                partition: 0,
                records,
                high_watermark: 0,
                log_start_offset: 0,
                from: NodeId(1),
            },
        );
    }

    pub fn stop(&mut self, node: u16, how: StopKind) {
        self.tick();
        self.checks.fact(Fact::Stopped { node, how });
    }

    pub fn start(&mut self, node: u16) {
        self.checks.fact(Fact::Started { node, incarnation: 1 });
    }

    /// The whole disk is hit.
    pub fn damage(&mut self, node: u16, what: &'static str) {
        self.strike(node, what, None);
    }

    pub fn strike(&mut self, node: u16, what: &'static str, path: Option<&str>) {
        self.tick();
        self.checks.fact(Fact::DiskDamaged { node, what, path });
    }

    pub fn content(&mut self, node: u16, batches: &[Bytes]) {
        self.content_of(node, TP, batches);
    }

    pub fn content_of(&mut self, node: u16, partition: TopicPartition, batches: &[Bytes]) {
        self.checks.fact(Fact::LogContent {
            node,
            partition,
            batches: Bytes::from(batches.concat()),
        });
    }

    /// Power failure; afterwards the log ends at `end` with this content, and the broker is registered anew.
    pub fn power_cycle(&mut self, node: u16, end: Offset, batches: &[Bytes]) {
        self.stop(node, StopKind::PowerLost);
        self.start(node);
        self.open(node.into(), end, 0, false);
        self.content(node, batches);
    }

    pub fn register(&mut self, node: usize, epoch: i64) {
        self.note(
            2,
            Note::BrokerDecided {
                broker: NodeId(node as i32 + 1),
                broker_epoch: BrokerEpoch(epoch),
                fenced: true,
                in_controlled_shutdown: false,
            },
        );
    }

    pub fn unfence(&mut self, node: usize, epoch: i64) {
        self.note(
            2,
            Note::BrokerDecided {
                broker: NodeId(node as i32 + 1),
                broker_epoch: BrokerEpoch(epoch),
                fenced: false,
                in_controlled_shutdown: false,
            },
        );
    }

    pub fn finish(&mut self) {
        self.tick();
        self.checks.fact(Fact::Finished { time_ns: self.time });
    }

    /// Ids of what was found so far, each once, in order.
    pub fn found(&mut self) -> Vec<&'static str> {
        if let Some((node, how)) = self.checks.ending.take() {
            self.checks.stopped(node.into(), how);
        }
        self.checks.step_ended();
        let mut ids: Vec<_> = self
            .checks
            .violations()
            .iter()
            .map(|violation| violation.check)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Nothing was found, and these checks have looked.
    pub fn silent(&mut self, looked: &[&str]) {
        assert_eq!(self.found(), [""; 0], "{:#?}", self.checks.violations());
        let counts = self.checks.looked();
        for id in looked {
            assert!(counts[id] > 0, "{id} has not looked");
        }
    }

    /// Exactly this was found.
    pub fn fires(&mut self, ids: &[&str]) {
        assert_eq!(self.found(), ids, "{:#?}", self.checks.violations());
        for violation in self.checks.violations() {
            assert!(violation.message.matches(". ").count() <= 3, "{}", violation.message);
        }
    }
}

/// The metadata log of a node gets an entry.
pub(super) fn metadata(story: &mut Story, node: usize, base: Offset, epoch: i32, name: &str) {
    story.tick();
    let at = story.checks.partition(METADATA_PARTITION);
    let tail = story.checks.ghost.partitions[at].replicas[node].log.get(base - 1);
    if tail.is_none_or(|tail| tail.epoch != epoch) {
        story.note(
            node,
            Note::EpochAssigned {
                partition: METADATA_PARTITION,
                epoch: LeaderEpoch(epoch),
                start_offset: base,
            },
        );
    }
    story.note(
        node,
        Note::Appended {
            partition: METADATA_PARTITION,
            base_offset: base,
            last_offset: base,
            leader_epoch: LeaderEpoch(epoch),
            as_leader: true,
            batch: made(base, epoch, &[name]),
        },
    );
}

#[test]
fn a_lawful_run_of_writes_reads_and_an_election_is_silent() {
    let mut story = Story::begun(2);
    story.write(0, "a");
    story.write(1, "b");
    // A record of the old leader that nobody has.
    story.invoke("lost", -1);
    story.append(0, 2, 0, &["lost"]);
    story.stop(0, StopKind::Killed);
    let two = state(1, 1, 1, &[1, 2]);
    story.decide(two.clone(), false);
    story.lead(1, two.clone(), 2, 2);
    story.follow(2, two.clone(), 2);
    story.failed("lost", false);
    story.invoke("c", -1);
    story.append(1, 2, 1, &["c"]);
    story.copy(2, 2, 1, &["c"], true);
    story.progress(1, 2, 3, 1);
    story.high(1, 3, true, 1);
    story.answer(1, 2, 2, Some(two.clone()), 1, 3);
    story.acked("c", Some(2));
    story.start(0);
    story.open(0, 3, 0, false);
    story.follow(0, two, 2);
    story.truncate(0, 3, 2);
    story.copy(0, 2, 1, &["c"], true);
    story.progress(1, 0, 3, 1);
    story.high(0, 3, false, 1);
    story.polled(VERIFIER, 0, &["a", "b", "c"]);
    story.finish();
    story.silent(&[
        "C1", "C3", "C4", "C12", "C13", "I1", "I2", "I3", "I4", "I5", "I9", "I11", "I12", "X1", "X2", "X3", "X4", "X5",
        "X6", "X7", "X11", "X14", "D1",
    ]);
    assert!(story.checks.losses().is_empty());
    for mark in [
        "truncation_happened",
        "leader_changed",
        "isr_shrank",
        "acked_record_survived_leader_crash",
        "send_of_unknown_fate",
    ] {
        assert!(story.checks.marks().count(mark) > 0, "{mark}");
    }
}
