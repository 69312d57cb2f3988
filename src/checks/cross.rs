//! Replicas against each other and against the committed log: X1, X2, X4, X6, X11, I9.
//!
//! The committed log of a partition is what its legitimate leaders committed: fixed once, compared for ever, except
//! where a new leader lawfully lacked some of it (contract.rs). A leader that the controller has replaced commits
//! nothing here, unless it acknowledges.
//!
//! Sources: KIP-101, KIP-279, KIP-320, KIP-497, KIP-966; KAFKA-8836, KAFKA-13141; Redpanda #3003.

use super::batch::Batch;
use super::ghost::{Mask, Role, nodes};
use super::partition::{Drop, Promise};
use super::report::Check;
use super::shadow::Cell;
use super::{Checks, marks};
use kafka::note::PartitionState;
use kafka::types::Offset;

/// The answer to a produce request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub error_code: i16,
    pub base: Offset,
    pub last: Offset,
    pub acks: i16,
    pub epoch: i32,
    pub high_watermark: Offset,
}

impl Checks {
    /// X2: the batch's cell; one (epoch, offset) names one batch, with one history before it. What is deleted is no
    /// history: a leader that knows no epoch below its log start says that they all end there (KAFKA-7415), and a follower
    /// keeps what it has below until it learns of that start. `claims`: no damage explains the batch.
    pub(super) fn identify(&mut self, at: usize, node: usize, batch: &Batch<'_>, claims: bool) -> Cell {
        let partition = &mut self.ghost.partitions[at];
        let replica = &partition.replicas[node];
        let known = replica.comparable()
            && replica.log.end() == batch.base
            && batch.base > partition.compared_from(replica.log.start);
        let previous = if known {
            replica.log.get(batch.base - 1).filter(|cell| *cell != Cell::HOLE)
        } else {
            None
        };
        let cell = partition.intern(batch, previous);
        self.report.look(Check::X2);
        if !claims {
            return cell;
        }
        if let Some(other) = partition.claim(cell) {
            let name = self.topic_name(at);
            self.report.fire(Check::X2, self.now, Some(node), || {
                format!(
                    "An epoch and an offset name one record. In {name} epoch {} wrote one batch at {} to {} and another at {} to {}.",
                    batch.epoch, other.base, other.last, batch.base, batch.last
                )
            });
        } else if let (Some(ours), Some(first)) =
            (previous, partition.content(cell).and_then(|content| content.previous))
            && !ours.agrees(first)
        {
            let name = self.topic_name(at);
            self.report.fire(Check::X2, self.now, Some(node), || {
                format!(
                    "Two logs with the same record have the same history before it. {name} has the batch at {} of epoch {} here after a record of epoch {}, elsewhere after another of epoch {}.",
                    batch.base, batch.epoch, ours.epoch, first.epoch
                )
            });
        }
        cell
    }

    /// X6.
    pub(super) fn acted_as_leader(&mut self, at: usize, node: usize, epoch: i32) {
        let partition = &mut self.ghost.partitions[at];
        let leader = *partition.leaders.entry(epoch).or_insert(node);
        self.report.look(Check::X6);
        if leader != node {
            let (name, first) = (self.topic_name(at), self.name(leader));
            self.report.fire(Check::X6, self.now, Some(node), || {
                format!("One replica leads in an epoch. Of {name} broker {first} led epoch {epoch} already.")
            });
        }
    }

    /// A leader's high watermark (or acknowledgement) commits its log below `to`.
    pub(super) fn commit(&mut self, at: usize, node: usize, to: Offset, epoch: i32) {
        let partition = &mut self.ghost.partitions[at];
        if !partition.legitimate(node, epoch) || epoch < partition.reset_epoch {
            return;
        }
        self.extend_committed(at, node, to, epoch);
    }

    /// Fixes the log of `node` below `to` as committed in this epoch, where nothing is committed yet.
    pub(super) fn extend_committed(&mut self, at: usize, node: usize, to: Offset, epoch: i32) {
        let partition = &mut self.ghost.partitions[at];
        let before = partition.committed.end();
        if to <= before {
            return;
        }
        if partition.replicas[node].comparable()
            && partition.agreed(node) < before.min(partition.replicas[node].log.end())
        {
            // What is committed differs already; that is said where it is found, and must not be made to fit.
            return;
        }
        let replica = &partition.replicas[node];
        if replica.uncertain {
            partition.committed.fill_holes(to);
        } else {
            partition.committed.extend_from(&replica.log, to);
        }
        match partition.committed_in.last_mut() {
            Some((end, last)) if *last == epoch => *end = to,
            _ => partition.committed_in.push((to, epoch)),
        }
        for other in 0..partition.replicas.len() {
            if other != node
                && self.ghost.partitions[at].replicas[other]
                    .high_watermark
                    .is_some_and(|high| high > before)
            {
                self.matches_committed(at, other);
            }
        }
    }

    /// A log that had to lose its tail first may be comparable again.
    pub(super) fn resume(&mut self, at: usize, node: usize) {
        let partition = &mut self.ghost.partitions[at];
        if partition.replicas[node].suspended.is_some() {
            partition.agreed(node);
        }
    }

    /// X1: below its high watermark a replica holds the committed records.
    pub(super) fn matches_committed(&mut self, at: usize, node: usize) {
        self.resume(at, node);
        let partition = &mut self.ghost.partitions[at];
        let replica = &partition.replicas[node];
        if !replica.comparable() || replica.leader_epoch < partition.reset_epoch {
            return;
        }
        let high = replica
            .high_watermark
            .unwrap_or(0)
            .min(replica.log.end())
            .min(partition.committed.end());
        let held = partition.agreed(node);
        self.report.look(Check::X1);
        if held >= high {
            return;
        }
        let partition = &self.ghost.partitions[at];
        let (ours, committed) = (partition.replicas[node].log.get(held), partition.committed.get(held));
        let epoch = |cell: Option<Cell>| cell.map_or(-1, |cell| cell.epoch);
        let (ours, committed, name) = (epoch(ours), epoch(committed), self.topic_name(at));
        self.report.fire(Check::X1, self.now, Some(node), || {
            format!(
                "Below the high watermark all replicas hold the same records. {name} has a record of epoch {ours} here at {held}, below its high watermark {high}; the committed one is of epoch {committed}."
            )
        });
    }

    /// X4: the leader's high watermark went to `to`; who is in sync by the controller's word holds all below.
    pub(super) fn held_by_all(&mut self, at: usize, node: usize, to: Offset) {
        let partition = &mut self.ghost.partitions[at];
        let Some(state) = partition.state.filter(|state| state.leader == Some(node)) else {
            return;
        };
        if state.leader_epoch != partition.replicas[node].leader_epoch || !partition.replicas[node].comparable() {
            return;
        }
        let leader = &partition.replicas[node];
        let needed = partition.min_isr(self.quorum.applied(node), state.replicas);
        let maximal = leader.maximal_isr | leader.isr;
        self.report.look(Check::X4);
        if maximal.count_ones() < needed {
            let name = self.topic_name(at);
            let count = maximal.count_ones();
            self.report.fire(Check::X4, self.now, Some(node), || {
                format!("With fewer than min.insync.replicas the high watermark rests (KIP-966). That of {name} went to {to} with {count} of {needed} in-sync replicas.")
            });
        }
        let partition = &mut self.ghost.partitions[at];
        for member in nodes(state.isr) {
            if member == node
                || !partition.replicas[member].comparable()
                || partition.replicas[member].doubt > super::Doubt::None
            {
                continue;
            }
            let end = partition.replicas[member].log.end();
            let held = partition.agreed(member);
            if held < to.min(partition.committed.end()) {
                let (name, member, epoch) = (self.topic_name(at), self.name(member), state.partition_epoch);
                self.report.fire(Check::X4, self.now, Some(node), || {
                    format!(
                        "The high watermark passes only what every in-sync replica holds. That of {name} went to {to}, but broker {member}, in sync by the controller's partition epoch {epoch}, holds the committed records only up to {held} (its log ends at {end})."
                    )
                });
                return;
            }
        }
    }

    /// X11 and I12: the leader has recorded how far a follower is.
    pub(super) fn follower_progressed(&mut self, node: usize, at: usize, follower: usize, to: Offset, epoch: i32) {
        let metadata = self.ghost.partitions[at].is_metadata();
        let partition = &mut self.ghost.partitions[at];
        let leader = &partition.replicas[node];
        self.report.look(Check::I12);
        if !metadata && (leader.role != Role::Leader || leader.leader_epoch != epoch) {
            let (role, ours, name) = (leader.role, leader.leader_epoch, self.topic_name(at));
            self.report.fire(Check::I12, self.now, Some(node), || {
                format!("Progress counts only in the leader's own epoch. {name} recorded a fetch in epoch {epoch}, while this replica was {role:?} in epoch {ours}.")
            });
            return;
        }
        let (copied, theirs) = (
            &partition.replicas[follower],
            if metadata {
                self.quorum.epoch(follower)
            } else {
                partition.replicas[follower].leader_epoch
            },
        );
        if theirs > epoch || !copied.comparable() || copied.doubt > super::Doubt::None || !leader.comparable() {
            // It has moved on, or a fault took what the leader has rightly counted.
            return;
        }
        let end = copied.log.end();
        let (known_epoch, known) = copied.matched;
        let mut same = if known_epoch == epoch { known } else { 0 };
        if same < to {
            let committed = partition.agreed(node).min(partition.agreed(follower));
            same = same.max(committed);
        }
        let (ours, copy) = (&partition.replicas[node].log, &partition.replicas[follower].log);
        same = same.max(ours.start).max(copy.start);
        let unlike = |ours: Option<Cell>, copy: Option<Cell>| match (ours, copy) {
            (Some(ours), Some(copy)) => !ours.agrees(copy),
            _ => true,
        };
        let end_of_both = to.min(end);
        same = ours
            .find(copy, same, end_of_both, unlike)
            .unwrap_or(same.max(end_of_both));
        partition.replicas[follower].matched = (epoch, same.min(end));
        self.report.look(Check::X11);
        if same < to {
            let (name, follower) = (self.topic_name(at), self.name(follower));
            self.report.fire(Check::X11, self.now, Some(node), || {
                format!(
                    "A leader credits a follower only with what it holds. In {name} broker {follower} was credited up to {to} in epoch {epoch}; its log ends at {end} and equals the leader's only up to {same}."
                )
            });
        }
    }

    /// I9; an acks=all success is a promise.
    pub(super) fn produce_answered(&mut self, node: usize, at: usize, answer: Answer, state: Option<&PartitionState>) {
        match answer.error_code {
            0 => {}
            // NOT_ENOUGH_REPLICAS and NOT_ENOUGH_REPLICAS_AFTER_APPEND.
            19 | 20 => return self.marks.set(marks::NOT_ENOUGH_REPLICAS),
            6 => return self.marks.set(marks::NOT_LEADER),
            _ => return,
        }
        if answer.acks != -1 {
            return;
        }
        let view = state.map(|state| {
            (
                self.ghost.state(state),
                self.ghost.node(state.leader.unwrap_or(kafka::types::NodeId(-1))),
            )
        });
        let partition = &self.ghost.partitions[at];
        let replica = &partition.replicas[node];
        let why = match view {
            None => Some("it did not lead any more".to_owned()),
            Some((view, leader)) => {
                let in_sync = view.isr
                    | if replica.proposed.is_some() {
                        replica.maximal_isr
                    } else {
                        0
                    };
                let needed = partition.min_isr(self.quorum.applied(node), view.replicas);
                if leader != Some(node) {
                    Some("another broker led".to_owned())
                } else if view.leader_epoch != answer.epoch {
                    Some(format!("it led epoch {}", view.leader_epoch))
                } else if answer.high_watermark <= answer.last {
                    Some(format!("its high watermark was {}", answer.high_watermark))
                } else if in_sync.count_ones() < needed {
                    Some(format!("it had {} of {needed} in-sync replicas", in_sync.count_ones()))
                } else {
                    None
                }
            }
        };
        self.report.look(Check::I9);
        if let Some(why) = why {
            let name = self.topic_name(at);
            self.report.fire(Check::I9, self.now, Some(node), || {
                format!(
                    "An acks=all success needs leadership in the epoch of the append, a high watermark above the record and min.insync.replicas. {name} acknowledged offsets {} to {} of epoch {}, but {why}.",
                    answer.base, answer.last, answer.epoch
                )
            });
        }
        self.promised(
            node,
            at,
            answer,
            view.map_or(0, |(view, _)| view.isr),
            view.map_or(0, |(view, _)| view.elr),
        );
    }

    /// Remembers who held the records of an acknowledgement, and holds the present leader to it (X5).
    fn promised(&mut self, node: usize, at: usize, answer: Answer, isr: Mask, elr: Mask) {
        let partition = &mut self.ghost.partitions[at];
        let cell = partition.replicas[node].log.get(answer.last);
        let (mut held, mut durable) = (0, 0);
        for (other, replica) in partition.replicas.iter().enumerate() {
            if cell.is_some() && replica.log.get(answer.last) == cell {
                held |= 1 << other;
                if replica.durable > answer.last {
                    durable |= 1 << other;
                }
            }
        }
        partition.acked_end = partition.acked_end.max(answer.last + 1);
        let mut flushed = 0;
        for member in nodes(held & partition.state.map_or(isr, |state| state.isr & isr)) {
            let replica = &mut partition.replicas[member];
            if replica.flushes > answer.last && replica.comparable() {
                replica.must_hold = replica.must_hold.max(answer.last + 1);
                flushed |= 1 << member;
            }
        }
        partition.promises.push(Promise {
            base: answer.base,
            last: answer.last,
            held,
            durable,
            isr,
            elr,
            flushed,
        });
        if answer.epoch < partition.unclean_epoch.max(partition.reset_epoch) {
            // A leader that does not know yet that it was replaced: what it acknowledges may be lost with the rest.
            let unclean = partition.unclean_epoch > answer.epoch && partition.unclean_allowed;
            let permitted = partition.drops.last().and_then(|drop| drop.permitted.clone());
            partition.drops.push(Drop {
                from: answer.base,
                to: answer.last + 1,
                permitted: permitted.or_else(|| unclean.then(|| "unclean.leader.election.enable was true, and a leader that did not know of the election acknowledged".to_owned())),
            });
            return;
        }
        self.extend_committed(at, node, answer.last + 1, answer.epoch);
        let partition = &mut self.ghost.partitions[at];
        let needed = (answer.last + 1).min(partition.committed.end());
        let own = partition.replicas[node].comparable().then(|| partition.agreed(node));
        let present = partition.state.and_then(|state| state.leader).filter(|leader| {
            *leader != node
                && partition.replicas[*leader].role == Role::Leader
                && partition.replicas[*leader].leader_epoch > answer.epoch
        });
        let theirs = present.map(|leader| {
            (
                leader,
                partition.agreed(leader),
                partition.replicas[leader].comparable(),
            )
        });
        self.report.look(Check::X5);
        if own.is_some_and(|own| own < needed)
            || theirs.is_some_and(|(_, held, comparable)| comparable && held < needed)
        {
            let leader = theirs.map_or(node, |(leader, ..)| leader);
            let (name, leader) = (self.topic_name(at), self.name(leader));
            self.report.fire(Check::X5, self.now, Some(node), || {
                format!(
                    "An acknowledged record is held by the leader of every later epoch. Offsets {} to {} of {name} were acknowledged here in epoch {}, but broker {leader} leads now and does not hold them.",
                    answer.base, answer.last, answer.epoch
                )
            });
        }
    }
}
