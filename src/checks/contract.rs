//! What was promised, what a fault may take, and the verdict on every acknowledged record: X5, X14, losses.
//!
//! The promise of acks=all (KIP-966): a record that the controller's in-sync and eligible replicas hold is lost only
//! if all of them stop uncleanly or are damaged before others have caught up, and the copy that is then elected was
//! really destroyed by a fault. Those still counted on are the *guards* of a partition:
//!
//! ```text
//!   joins the ISR, holds all that is committed          ──▶ guard
//!   leaves, and at least min.insync.replicas remain     ──▶ no guard any more
//!   leaves, and fewer remain (Kafka's ELR)              ──▶ stays guard
//!   stops uncleanly, loses power, its disk is damaged   ──▶ no guard until it has left and joined again
//! ```
//!
//! How many are enough is what was in force at the controller when it decided, not what an administrator has made of it
//! before or after: a lower `min.insync.replicas` empties Kafka's ELR at once, whatever was acknowledged before. An
//! acknowledgement itself is held to what was in force at its leader (cross.rs).
//!
//! The controller's own ELR plays no part in this, so that a controller which forgets it cannot excuse itself. A stop
//! by kill -9 counts as unclean because no broker can tell it from a power failure, and so does a clean one of a process
//! that had not registered, since its marker names no broker epoch (Kafka's BrokerServer.shutdown); but they destroy
//! nothing: with kills alone no loss is permitted. acks=1 promises only that one leader appended; acks=0 nothing.
//!
//! Sources: KIP-966, sections "Proposed changes" and "Unclean shutdown"; KIP-903; FDB's and TigerBeetle's fault budgets.

use super::control::Decided;
use super::ghost::{Doubt, has, nodes};
use super::partition::{Drop, Partition, Promise, State};
use super::report::Check;
use super::{Checks, marks};
use crate::history::Outcome;
use bytes::Bytes;
use kafka::types::Offset;

/// Who leads is what the quorum says; a voter that forgets may make it say anything.
pub(super) const QUORUM_BROKEN: &str =
    "a fault took durable data from a voter of the metadata quorum, and it has broken its promises since";
/// What a leader serves is what its disk says.
const DAMAGED_LEADER: &str = "a replica led whose files a fault had changed";

/// An acknowledged record that was gone when the run was over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The record's value.
    pub value: Bytes,
    /// Topic and partition.
    pub partition: (String, i32),
    /// Where it was acknowledged; none with acks=0.
    pub offset: Option<Offset>,
    /// Why the promise does not cover it; none: it does, and the loss is a bug.
    pub permitted: Option<String>,
}

impl Checks {
    /// The controller's state has changed: who guards the committed records now. A decision may be committed long after
    /// it was made, and what has happened to a replica since counts.
    pub(super) fn guard(&mut self, at: usize, before: Option<State>, next: State, decided: Decided) {
        let partition = &mut self.ghost.partitions[at];
        let joined = next.isr & !before.map_or(0, |before| before.isr);
        if next.isr.count_ones() >= partition.min_isr(decided.knowing, next.replicas) {
            partition.guards &= next.isr;
        }
        for member in nodes(joined) {
            let replica = &partition.replicas[member];
            let whole = !replica.uncertain && replica.lost.is_none() && replica.doubt == Doubt::None;
            let since = replica.unguarded_at.is_some_and(|at| at >= decided.time_ns);
            if whole && !since && partition.agreed(member) >= partition.committed.end() {
                partition.guards |= 1 << member;
            }
        }
    }

    /// A node stopped uncleanly or its disk was damaged: nothing is promised by its copies any more.
    pub(super) fn unguard(&mut self, node: usize) {
        for partition in &mut self.ghost.partitions {
            partition.guards &= !(1 << node);
            partition.replicas[node].registered = false;
            partition.replicas[node].unguarded_at = Some(self.now);
        }
    }

    /// A new leader holds the committed records only below `held`. Permitted or not, its log counts from now on.
    pub(super) fn leader_lacks(&mut self, at: usize, node: usize, held: Offset, end: Offset) {
        let permitted = self.permits(at, node, held, end);
        let partition = &mut self.ghost.partitions[at];
        let epoch = partition.replicas[node].leader_epoch;
        let lost = partition.replicas[node].lost;
        let acked = partition.acked_end > held;
        let copies = partition.copies(held);
        let unguarded = partition.guards == 0;
        if permitted.is_none() {
            let (name, what) = (self.topic_name(at), lost.map_or("", |lost| lost.what));
            let now = self.now;
            self.report.fire(Check::X5, now, Some(node), || {
                let acked = if acked { ", acknowledged ones among them" } else { "" };
                format!("A new leader holds all that is committed. {name} is committed up to {end}{acked}, but the leader of epoch {epoch} holds it only up to {held}.")
            });
            if lost.is_some() && !unguarded {
                self.report.fire(Check::D6, now, Some(node), || {
                    format!("A replica that lost data is not elected while others hold it. This one lost records of {name} ({what}) and leads epoch {epoch} with {held} of {end} committed offsets.")
                });
            }
            if acked && copies == 0 {
                self.no_copy_left(at, node, held);
            }
        } else if acked {
            self.marks.set(marks::PERMITTED_LOSS);
        }
        let partition = &mut self.ghost.partitions[at];
        if permitted.is_some() {
            // Followers begin where their leader's log begins.
            partition.deleted_to = partition.deleted_to.max(partition.replicas[node].log.start);
        }
        // Readers of a leader that had been replaced may have seen more than was committed: the same fault took that too.
        let shown = std::mem::take(&mut partition.superseded_high_watermark);
        let to = if permitted.is_some() { end.max(shown) } else { end };
        partition.drops.push(Drop {
            from: held,
            to,
            permitted,
        });
        partition.reset_epoch = epoch;
        partition.acked_end = partition.acked_end.min(held);
        for promise in partition.promises.iter_mut().filter(|promise| promise.last >= held) {
            // Gone: what is acknowledged at these offsets from now on is something else.
            promise.flushed = 0;
        }
        partition.uncommit(held);
        for (other, replica) in partition.replicas.iter_mut().enumerate() {
            replica.must_hold = replica.must_hold.min(held);
            if other != node && replica.log.end() > held {
                replica.suspended = Some(replica.log.end());
            }
        }
        partition.replicas[node].lost = None;
        partition.replicas[node].suspended = None;
    }

    /// Why `node` may lead with the committed records below `held` of `end` only; none if it may not.
    fn permits(&self, at: usize, node: usize, held: Offset, end: Offset) -> Option<String> {
        let partition = &self.ghost.partitions[at];
        if let Some(why) = self.served_in_doubt(at) {
            return Some(why.to_owned());
        }
        if partition.unclean_epoch > partition.completed_epoch && partition.unclean_allowed {
            return Some(format!(
                "unclean.leader.election.enable was true when epoch {} began with an unclean election",
                partition.unclean_epoch
            ));
        }
        let lost = partition.replicas[node].lost?;
        if partition.replicas[node].unknowing {
            return Some(format!(
                "broker {} lost its copy ({}) after a clean shutdown, so that neither it nor the controller could know",
                self.name(node),
                lost.what
            ));
        }
        if partition.replicas[node].has_hole(held, end) {
            return Some(format!(
                "broker {} lost records before the end of its log ({}), which nobody looks at again",
                self.name(node),
                lost.what
            ));
        }
        // What it had flushed before it was acknowledged no power failure takes.
        let flushed = partition
            .promises
            .iter()
            .any(|p| p.last >= held && has(p.flushed, node));
        if !lost.injected || partition.guards != 0 || (flushed && !lost.destructive) {
            return None;
        }
        Some(format!(
            "every replica that was in sync or eligible had stopped uncleanly or was damaged, and broker {} lost its copy ({})",
            self.name(node),
            lost.what
        ))
    }

    /// Why nothing of what a partition serves is promised; none if it is.
    fn served_in_doubt(&self, at: usize) -> Option<&'static str> {
        if self.report.is_quorum_broken() {
            return Some(QUORUM_BROKEN);
        }
        self.report.is_in_doubt(at).then_some(DAMAGED_LEADER)
    }

    /// Whether a partition has no leader because every node that may lead it is down, and a disk fault has hit each. With
    /// nobody in sync or eligible, that is the last one elected (KIP-966).
    fn kept_down(&self, partition: &Partition) -> bool {
        let eligible = match partition.state.map_or(0, |state| state.isr | state.elr) {
            0 => partition.elected.map_or(0, |last| 1 << last),
            eligible => eligible,
        };
        let down = |node: usize| !self.ghost.nodes[node].up && self.ghost.nodes[node].struck.is_some();
        eligible != 0 && nodes(eligible).all(down)
    }

    /// X14.
    pub(super) fn no_copy_left(&mut self, at: usize, node: usize, offset: Offset) {
        let name = self.topic_name(at);
        let promise = self.ghost.partitions[at].promise_of(offset);
        let (held, durable) = promise.map_or((Vec::new(), Vec::new()), |promise| {
            (self.ghost.names(promise.held), self.ghost.names(promise.durable))
        });
        self.report.fire(Check::X14, self.now, Some(node), || {
            format!("An acknowledged record is on some replica while fewer than min.insync.replicas in-sync replicas are lost. No replica of {name} holds offset {offset} any more; when it was acknowledged, brokers {held:?} held it, durably {durable:?}.")
        });
    }

    /// The verdict on one acknowledged send: none if it is still there, or was legally deleted.
    pub(super) fn loss(&self, send: usize) -> Option<Loss> {
        let send = &self.history.sends[send];
        let Outcome::Acked { offset, time_ns } = send.outcome else {
            return None;
        };
        let seen = &self.history.partitions[send.partition as usize];
        let partition = self
            .linked(send.partition as usize)
            .map(|at| &self.ghost.partitions[at]);
        if let (Some(offset), Some(partition)) = (offset, partition)
            && (offset < partition.deleted_to || partition.deleted.is_some())
        {
            return None;
        }
        let hash = super::batch::hash(&send.value);
        let in_log = offset
            .is_some_and(|offset| partition.is_some_and(|partition| partition.committed_value(offset) == Some(hash)));
        let there = match self.context.verifier {
            Some(_) => {
                let unread = offset.is_some_and(|offset| offset >= seen.verified_end);
                send.verified_at.is_some() || (self.client.cut_short && unread && in_log)
            }
            None => in_log || send.read_at.is_some() && offset.is_none(),
        };
        if there {
            return None;
        }
        let permitted = match (send.acks, offset) {
            (0, _) | (_, None) => Some("acks=0 asks for no promise".to_owned()),
            (1, Some(offset)) => partition.and_then(|partition| lost_by_failover(partition, offset, hash, time_ns)),
            (_, Some(offset)) if !in_log => partition
                .and_then(|partition| {
                    partition
                        .drops
                        .iter()
                        .rev()
                        .find(|drop| drop.from <= offset && offset < drop.to)
                })
                .and_then(|drop| drop.permitted.clone()),
            _ => None,
        };
        let unreachable = || {
            let kept_down = partition.is_some_and(|partition| in_log && self.kept_down(partition));
            kept_down.then(|| "disk faults keep every node down whose copy may lead".to_owned())
        };
        let linked = self.linked(send.partition as usize);
        let excused = || linked.and_then(|at| self.served_in_doubt(at)).map(str::to_owned);
        Some(Loss {
            value: send.value.clone(),
            partition: (seen.topic.clone(), seen.partition),
            offset,
            permitted: permitted.or_else(excused).or_else(unreachable),
        })
    }
}

/// acks=1 promises that a leader appended, not that the next one has it.
fn lost_by_failover(partition: &Partition, offset: Offset, hash: u64, acked_ns: u64) -> Option<String> {
    let epoch = partition.epoch_of(offset, hash)?;
    let later = partition.leaders.range(epoch + 1..).next().map(|(later, _)| *later);
    let stop = partition
        .leaders
        .get(&epoch)
        .and_then(|leader| partition.replicas[*leader].crashed_at);
    let crashed = stop.is_some_and(|stop| stop >= acked_ns);
    match later {
        Some(later) => Some(format!(
            "acks=1 promises one leader's append, and leadership went from epoch {epoch} to {later}"
        )),
        None if crashed => Some("acks=1 promises one leader's append, and that leader stopped uncleanly".to_owned()),
        None => None,
    }
}

/// Helpers on a partition that only verdicts need.
impl Partition {
    /// The newest acknowledgement that covers an offset.
    pub(super) fn promise_of(&self, offset: Offset) -> Option<&Promise> {
        self.promises
            .iter()
            .rev()
            .find(|promise| promise.base <= offset && offset <= promise.last)
    }

    /// Hash of the committed value at an offset.
    pub(super) fn committed_value(&self, offset: Offset) -> Option<u64> {
        let cell = self.committed.get(offset)?;
        self.value(cell, offset)
    }

    /// Whether a permitted loss covers an offset.
    pub(super) fn permitted_drop(&self, offset: Offset) -> bool {
        self.drops
            .iter()
            .any(|drop| drop.permitted.is_some() && drop.from <= offset && offset < drop.to)
    }
}
