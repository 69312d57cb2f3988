//! One replica by itself: I1, I2, I3, I4, I5, I11, I12.
//!
//! Notes of one step may come in an order of the broker's own, so what relates two numbers (high watermark and log
//! end, epoch cache and log) is compared when the step is over ([`Settle`]).
//!
//! Deliberately does not know what other replicas hold, except for the committed log (I11).
//!
//! Sources: KIP-101, KIP-320, KIP-595; KAFKA-5634, KAFKA-7415, KAFKA-9491, KAFKA-13207, KAFKA-14704, KAFKA-18723.

use super::ghost::{Doubt, Role, has};
use super::report::Check;
use super::shadow::Cell;
use super::{Checks, batch, control, marks};
use kafka::note::TruncateReason;
use kafka::types::Offset;

/// What is to be compared when the step is over.
#[derive(Clone, Debug, Default)]
pub(super) struct Settle {
    replicas: Vec<(usize, usize)>,
    /// New epoch in a log: partition, node, epoch, first offset.
    epochs: Vec<(usize, usize, i32, Offset)>,
    pub(super) states: Vec<control::Deferred>,
    /// Partition, node and producer whose batch was added, until its broker says what it knows of it.
    pub(super) producers: Vec<(usize, usize, i64)>,
}

impl Checks {
    /// The step of one node is over: what it left must be consistent.
    pub(super) fn step_ended(&mut self) {
        let (replicas, epochs) = (&self.settle.replicas, &self.settle.epochs);
        let producers = &self.settle.producers;
        if replicas.is_empty() && epochs.is_empty() && producers.is_empty() && self.settle.states.is_empty() {
            return;
        }
        let mut settle = std::mem::take(&mut self.settle);
        for (at, node) in settle.replicas.drain(..) {
            self.report.about(Some(at));
            self.settle_bounds(at, node);
        }
        for (at, node, epoch, first) in settle.epochs.drain(..) {
            self.report.about(Some(at));
            self.settle_epoch(at, node, epoch, first);
        }
        for (at, node, id) in settle.producers.drain(..) {
            self.report.about(Some(at));
            self.settle_producer(at, node, id);
        }
        for deferred in settle.states.drain(..) {
            self.settle_state(deferred);
        }
        self.settle = settle;
    }

    pub(super) fn touch(&mut self, at: usize, node: usize) {
        if self.settle.replicas.last() != Some(&(at, node)) {
            self.settle.replicas.push((at, node));
        }
    }

    /// A process gives up inside a step: what it leaves half done ends with it.
    pub(super) fn gave_up(&mut self, node: usize) {
        self.settle.replicas.retain(|(_, whose)| *whose != node);
        self.settle.epochs.retain(|(_, whose, ..)| *whose != node);
        self.settle.producers.retain(|(_, whose, _)| *whose != node);
    }

    /// I2.
    fn settle_bounds(&mut self, at: usize, node: usize) {
        let replica = &self.ghost.partitions[at].replicas[node];
        let (start, end, high) = (replica.log.start, replica.log.end(), replica.high_watermark);
        if !replica.open || replica.uncertain || replica.doubt == Doubt::Damaged {
            return;
        }
        let holds = start <= end && high.is_none_or(|high| start <= high && high <= end);
        if holds {
            self.report.look(Check::I2);
            return;
        }
        let name = self.topic_name(at);
        self.report.fire(Check::I2, self.now, Some(node), || {
            let high = high.unwrap_or(-1);
            format!("A log start, a high watermark and a log end must stand in this order. In {name} they are {start}, {high}, {end}.")
        });
    }

    /// I3: the log's new epoch must be in the cache, where it begins.
    fn settle_epoch(&mut self, at: usize, node: usize, epoch: i32, first: Offset) {
        let replica = &self.ghost.partitions[at].replicas[node];
        let known = replica
            .epochs
            .iter()
            .rev()
            .find(|(known, _)| *known == epoch)
            .map(|(_, start)| *start);
        let cut = replica.log.get(first).is_none_or(|cell| cell.epoch != epoch);
        let doubtful = replica.uncertain || replica.doubt == Doubt::Damaged;
        if cut || known == Some(first) || doubtful {
            self.report.look(Check::I3);
            return;
        }
        let name = self.topic_name(at);
        self.report.fire(Check::I3, self.now, Some(node), || match known {
            Some(known) => format!("The epoch cache must say where an epoch begins. In {name} epoch {epoch} begins at {first}, the cache says {known}."),
            None => format!("The epoch cache must know every epoch of the log. {name} has epoch {epoch} from {first} on, the cache has not learnt it."),
        });
    }

    /// A batch was added: I1, I12; its identity is compared in [`Checks::identify`].
    pub(super) fn appended(
        &mut self,
        node: usize,
        at: usize,
        (base, last, epoch): (Offset, Offset, i32),
        as_leader: bool,
        bytes: &[u8],
    ) {
        self.ghost.nodes[node].dirty = true;
        let partition = &mut self.ghost.partitions[at];
        let metadata = partition.is_metadata();
        let replica = &mut partition.replicas[node];
        let end = replica.log.end();
        let last_cell = replica.log.get(end - 1);
        let tail = last_cell.filter(|cell| *cell != Cell::HOLE);
        // The cache may know of an epoch without records where the log was opened; nobody says so.
        let begins =
            last_cell.is_none_or(|last| last != Cell::HOLE && last.epoch != epoch) && replica.opened_end != Some(base);
        let read = batch::first(bytes);
        let falls = tail.is_some_and(|tail| tail.epoch > epoch);
        let fault = match read {
            Err(why) => Some(format!("the batch {why}")),
            Ok(batch) if (batch.base, batch.last, batch.epoch) != (base, last, epoch) => Some(format!(
                "the batch says offsets {} to {} of epoch {}, the broker {base} to {last} of epoch {epoch}",
                batch.base, batch.last, batch.epoch
            )),
            Ok(_) if base != end && !replica.uncertain => Some(format!("the log ended at {end}")),
            Ok(_) if falls => Some(format!(
                "the record before is of epoch {}",
                tail.map_or(-1, |tail| tail.epoch)
            )),
            Ok(_) => None,
        };
        self.report.look(Check::I1);
        let behind = self.damage_behind(at, node).filter(|_| {
            let strange = |batch: &batch::Batch<'_>| self.ghost.partitions[at].is_strange(batch);
            fault.is_some() || !as_leader && read.as_ref().is_ok_and(strange)
        });
        let inherited = self.inherit(at, node, behind);
        // That epochs rise in every copy rests on one leader an epoch, so on a quorum whose voters do not forget. Only the
        // quorum's own leader sees to it by itself: others are given their epoch.
        let given = !as_leader || !metadata;
        let mixed = base == end && falls && given && self.report.is_quorum_broken();
        if let Some(fault) = fault.filter(|_| !inherited && !mixed) {
            let name = self.topic_name(at);
            self.report.fire(Check::I1, self.now, Some(node), || {
                format!("A log continues without a gap, in rising epochs, with whole batches. {name} got a batch of epoch {epoch} at {base}, but {fault}.")
            });
        }
        let partition = &mut self.ghost.partitions[at];
        let replica = &partition.replicas[node];
        let stale = !metadata
            && match replica.role {
                Role::Leader => !as_leader || epoch != replica.leader_epoch,
                Role::Follower => as_leader || epoch > replica.leader_epoch,
                Role::None => as_leader,
            };
        self.report.look(Check::I12);
        if stale {
            let (role, ours) = (replica.role, replica.leader_epoch);
            let name = self.topic_name(at);
            self.report.fire(Check::I12, self.now, Some(node), || {
                let how = if as_leader { "as leader" } else { "as follower" };
                format!("Only the leader of an epoch writes in it, and a follower takes nothing of a later epoch than its own. {name} took a batch of epoch {epoch} {how} at {base}, while the replica was {role:?} in epoch {ours}.")
            });
        }
        if as_leader && !metadata {
            self.acted_as_leader(at, node, epoch);
        }
        if let Ok(batch) = &read
            && metadata
            && as_leader
        {
            self.metadata_written(batch);
        }
        let cell = match &read {
            Ok(batch) => self.identify(at, node, batch, as_leader || !inherited),
            Err(_) => Cell::HOLE,
        };
        let applied = self.quorum.applied(node);
        let partition = &mut self.ghost.partitions[at];
        let flushes = partition.terms.below(applied).flush_messages == 1;
        let replica = &mut partition.replicas[node];
        if base < end {
            replica.cut(base);
        }
        if flushes {
            replica.flushes = last + 1;
        }
        if replica.uncertain {
            replica.log.put(base, last.max(base), cell);
        } else {
            replica.log.append(base, last.max(base), cell);
        }
        replica.opened = None;
        replica.known = true;
        replica.open = true;
        if begins && !replica.uncertain {
            self.settle.epochs.push((at, node, epoch, base));
        }
        if let Ok(batch) = &read {
            self.producer_wrote(at, node, batch);
        }
        self.resume(at, node);
        self.caught_up(at, node);
    }

    /// The log was cut: I11, I12.
    pub(super) fn truncated(&mut self, node: usize, at: usize, from: Offset, to: Offset, reason: TruncateReason) {
        // Recovery leaves a log that needs none, also where a power failure undoes the cut and brings the marker back.
        self.ghost.nodes[node].dirty |= reason != TruncateReason::Recovery;
        match reason {
            TruncateReason::Divergence => self.marks.set(marks::TRUNCATION),
            TruncateReason::HighWatermark => self.marks.set(marks::TRUNCATION_TO_HW),
            TruncateReason::OutOfRange => self.marks.set(marks::LOG_RESTARTED),
            // What recovery finds is judged when the log is open.
            TruncateReason::Recovery => {
                self.marks.set(marks::TORN_TAIL);
                if !self.ghost.partitions[at].replicas[node].open {
                    return;
                }
            }
        }
        let role = self.ghost.partitions[at].replicas[node].role;
        let metadata = self.ghost.partitions[at].is_metadata();
        self.report.look(Check::I12);
        if role == Role::Leader && !metadata {
            let name = self.topic_name(at);
            self.report.fire(Check::I12, self.now, Some(node), || {
                format!("A leader never truncates its own log. {name} was cut from {from} to {to} ({reason:?}) while this replica led it.")
            });
        }
        self.committed_truncated(at, node, to);
        let replica = &mut self.ghost.partitions[at].replicas[node];
        replica.cut(to);
        replica.synced = replica.synced.min(to);
        replica.log.truncate(to);
        replica.producers.doubt();
        self.after_truncation(at, node);
    }

    /// The log was emptied: I11.
    pub(super) fn restarted(&mut self, node: usize, at: usize, offset: Offset) {
        self.ghost.nodes[node].dirty = true;
        self.marks.set(marks::LOG_RESTARTED);
        let partition = &self.ghost.partitions[at];
        let kept = partition.deleted_to.max(partition.replicas[node].log.start);
        self.committed_truncated(at, node, kept);
        let replica = &mut self.ghost.partitions[at].replicas[node];
        replica.cut(Offset::MIN);
        replica.durable = 0;
        replica.synced = 0;
        replica.must_hold = 0;
        replica.matched = (-1, 0);
        replica.log.restart(offset);
        replica.producers.clear();
        let damaged = replica.doubt == Doubt::Damaged;
        // A log that begins above its high watermark takes its beginning for it, as Kafka's does.
        replica.high_watermark = replica.high_watermark.map(|high| high.max(offset));
        self.ghost.partitions[at].reset_agreement(node);
        if damaged {
            self.doubt_ended(at, node);
        }
        self.touch(at, node);
        self.after_truncation(at, node);
    }

    /// I11: committed records at and above `to` are about to go.
    ///
    /// A leader that has been replaced may answer a follower that does not know it either: what only later epochs
    /// committed may not be in its history. The follower may cut it, for nobody counts on its copy: it is not in-sync,
    /// nor eligible, and before it is it obeys the newer leader, whose log it has to follow up to the committed end.
    fn committed_truncated(&mut self, at: usize, node: usize, to: Offset) {
        if !self.ghost.partitions[at].replicas[node].comparable() {
            return;
        }
        let partition = &mut self.ghost.partitions[at];
        // What is deleted cannot be cut; below, every log agrees.
        let to = if partition.is_metadata() {
            to
        } else {
            to.max(partition.deleted_to)
        };
        let held = partition.agreed(node);
        let obeyed = partition.replicas[node].leader_epoch;
        let counted = partition.state.is_some_and(|state| has(state.isr | state.elr, node));
        let later = !partition.is_metadata() && partition.committed_in(to).is_some_and(|epoch| epoch > obeyed);
        let stale = obeyed < partition.reset_epoch || later && !counted;
        let own = if partition.is_metadata() {
            partition.replicas[node].high_watermark.unwrap_or(0)
        } else {
            0
        };
        // Where one of both is not known, nobody can say that what goes was committed.
        let goes = |ours: Option<Cell>, its: Option<Cell>| ours == its && ours.is_some_and(|cell| cell != Cell::HOLE);
        let cut = partition.committed.find(&partition.replicas[node].log, to, held, goes);
        self.report.look(Check::I11);
        if stale || own <= to && cut.is_none() {
            return;
        }
        let name = self.topic_name(at);
        let lost = held.max(own) - to;
        self.report.fire(Check::I11, self.now, Some(node), || {
            format!("A replica never cuts what is committed. {name} is committed and held here up to {held}, but it was cut to {to}, which takes {lost} committed record(s).")
        });
        let others = (0..self.ghost.partitions[at].replicas.len()).filter(|other| *other != node);
        let mut copies = 0;
        for other in others {
            let partition = &mut self.ghost.partitions[at];
            copies += u32::from(partition.replicas[other].known && partition.agreed(other) > to);
        }
        if copies == 0 && self.ghost.partitions[at].acked_below(held) > to {
            self.no_copy_left(at, node, to);
        }
    }

    fn after_truncation(&mut self, at: usize, node: usize) {
        self.touch(at, node);
        self.resume(at, node);
    }

    /// Records below `to` are deleted: the beginning of every later comparison.
    pub(super) fn log_start_advanced(&mut self, node: usize, at: usize, to: Offset) {
        self.marks.set(marks::LOG_START_ADVANCED);
        let partition = &mut self.ghost.partitions[at];
        partition.deleted_to = partition.deleted_to.max(to);
        let replica = &mut partition.replicas[node];
        replica.log.start = replica.log.start.max(to);
        replica.opened = None;
        self.touch(at, node);
    }

    /// Everything below `to` is durable; I2.
    pub(super) fn flushed(&mut self, node: usize, at: usize, to: Offset) {
        let replica = &mut self.ghost.partitions[at].replicas[node];
        let end = replica.log.end();
        replica.durable = replica.durable.max(to.min(end));
        replica.synced = replica.synced.max(to);
        let metadata = self.ghost.partitions[at].is_metadata();
        let replica = &self.ghost.partitions[at].replicas[node];
        let holds = to <= end || replica.uncertain || replica.doubt == Doubt::Damaged;
        self.report.look(Check::I2);
        if !holds {
            let name = self.topic_name(at);
            self.report.fire(Check::I2, self.now, Some(node), || {
                format!(
                    "A recovery point never passes the log end. That of {name} went to {to}, the log ends at {end}."
                )
            });
        }
        if metadata {
            self.voter_made_up(node);
        }
    }

    /// I3: an epoch begins at the end of the log, after records of earlier ones only.
    pub(super) fn epoch_assigned(&mut self, node: usize, at: usize, epoch: i32, start: Offset) {
        let replica = &mut self.ghost.partitions[at].replicas[node];
        // The epochs of records that are deleted are forgotten, at the latest when an empty log is opened again.
        let before = (start > replica.log.start)
            .then(|| replica.log.get(start - 1))
            .flatten()
            .map_or(-1, |cell| cell.epoch);
        let end = replica.log.end();
        let rises = before < epoch || self.report.is_quorum_broken();
        let holds = (start == end && rises) || replica.uncertain || !replica.known;
        // An epoch without records gives way to what comes to stand in its place.
        replica
            .epochs
            .retain(|(known, known_start)| *known < epoch && *known_start < start);
        replica.epochs.push((epoch, start));
        self.report.look(Check::I3);
        if holds {
            return;
        }
        let behind = self.damage_behind(at, node);
        if !self.inherit(at, node, behind) {
            let name = self.topic_name(at);
            self.report.fire(Check::I3, self.now, Some(node), || {
                format!("In the epoch cache an epoch begins at the log's end, after records of earlier epochs. That of {name} got epoch {epoch} at {start}, where the log ends at {end} and the record before is of epoch {before}.")
            });
        }
    }

    /// I4: a node never obeys an older state than before.
    pub(super) fn obey(&mut self, at: usize, node: usize, leader_epoch: i32, partition_epoch: i32) {
        let replica = &mut self.ghost.partitions[at].replicas[node];
        let (known, known_partition) = (replica.leader_epoch, replica.partition_epoch);
        if leader_epoch > known {
            replica.proposed = None;
        }
        replica.leader_epoch = leader_epoch.max(known);
        replica.partition_epoch = partition_epoch.max(known_partition);
        let holds = leader_epoch >= known && partition_epoch >= known_partition;
        self.report.look(Check::I4);
        if !holds {
            let name = self.topic_name(at);
            self.report.fire(Check::I4, self.now, Some(node), || {
                format!("A replica never goes back to an older state of its partition. {name} went from leader epoch {known} and partition epoch {known_partition} to {leader_epoch} and {partition_epoch}.")
            });
        }
    }

    /// I5, and what the new high watermark covers (X1, X4).
    pub(super) fn high_watermark_advanced(&mut self, node: usize, at: usize, to: Offset, as_leader: bool, epoch: i32) {
        let partition = &mut self.ghost.partitions[at];
        let highest = partition.highest_high_watermark;
        let replica = &mut partition.replicas[node];
        let before = replica.high_watermark.unwrap_or(0);
        let (role, ours) = (replica.role, replica.leader_epoch);
        replica.high_watermark = Some(to);
        let fell = to < before;
        let passed = !as_leader && to > highest && replica.comparable();
        let stale = epoch != ours || as_leader != (role == Role::Leader);
        if as_leader {
            partition.highest_high_watermark = highest.max(to);
            if !partition.legitimate(node, epoch) {
                partition.superseded_high_watermark = partition.superseded_high_watermark.max(to);
            }
        }
        self.report.look(Check::I5);
        self.report.look(Check::I12);
        if fell || passed || stale {
            let name = self.topic_name(at);
            let now = self.now;
            if fell {
                self.report.fire(Check::I5, now, Some(node), || {
                    format!("A high watermark rises within one leadership. That of {name} went from {before} to {to} in epoch {epoch}.")
                });
            }
            if passed {
                self.report.fire(Check::I5, now, Some(node), || {
                    format!("A follower learns its high watermark from a leader. That of {name} went to {to}, while no leader has had more than {highest}.")
                });
            }
            if stale {
                self.report.fire(Check::I12, now, Some(node), || {
                    format!("A stale epoch moves no high watermark. That of {name} went to {to} in epoch {epoch}, while this replica was {role:?} in epoch {ours}.")
                });
            }
        }
        self.touch(at, node);
        if as_leader {
            self.acted_as_leader(at, node, epoch);
            self.commit(at, node, to, epoch);
            self.held_by_all(at, node, to);
        }
        self.matches_committed(at, node);
    }

    /// I5: only a follower's falls, and only to where its log was cut.
    pub(super) fn high_watermark_lowered(&mut self, node: usize, at: usize, to: Offset) {
        let replica = &mut self.ghost.partitions[at].replicas[node];
        let before = replica.high_watermark;
        let epoch = replica.leader_epoch;
        replica.high_watermark = Some(to);
        let leads = replica.role == Role::Leader;
        self.report.look(Check::I5);
        if leads {
            let name = self.topic_name(at);
            self.report.fire(Check::I5, self.now, Some(node), || {
                format!(
                    "A leader's high watermark never falls. That of {name} went from {} to {to} in epoch {epoch}.",
                    before.unwrap_or(-1)
                )
            });
        }
        self.touch(at, node);
    }

    /// I12: a request of our own epoch is not refused for its epoch.
    pub(super) fn epoch_fenced(&mut self, node: usize, at: usize, requested: i32, current: i32) {
        self.marks.set(marks::EPOCH_FENCED);
        self.report.look(Check::I12);
        if requested == current {
            let name = self.topic_name(at);
            self.report.fire(Check::I12, self.now, Some(node), || {
                format!(
                    "Only another epoch is refused. {name} refused a request of epoch {requested}, which is its own."
                )
            });
        }
    }

    /// The replica is gone.
    pub(super) fn replica_stopped(&mut self, node: usize, at: usize, deleted: bool) {
        // It goes because it is no replica any more, by a decision of this epoch; or because the topic goes.
        let moved = self
            .standing(at)
            .filter(|state| !has(state.replicas, node))
            .map(|state| state.leader_epoch)
            .max();
        let partition = &mut self.ghost.partitions[at];
        let replica = &mut partition.replicas[node];
        replica.open = false;
        replica.role = Role::None;
        replica.high_watermark = None;
        if deleted {
            match moved {
                // What it has asked a leader for in an older epoch, it held when it asked.
                Some(epoch) => partition.replicas[node].leader_epoch = epoch,
                None => {
                    partition.deleted.get_or_insert((-1, -1));
                }
            }
            let replica = &mut partition.replicas[node];
            replica.cut(Offset::MIN);
            replica.durable = 0;
            replica.synced = 0;
            replica.must_hold = 0;
            replica.log.restart(0);
            replica.producers.clear();
            replica.known = false;
            partition.reset_agreement(node);
            if has(partition.guards, node) {
                partition.guards &= !(1 << node);
            }
            if partition.replicas[node].doubt == Doubt::Damaged {
                self.doubt_ended(at, node);
            }
        }
    }
}
