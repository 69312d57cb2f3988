//! What clients saw: C1 to C4, C9, C12 to C14, C17, and the final verdict on every acknowledged record.
//!
//! Guarantees: silent about what the promise does not cover: values changed by a permitted loss (contract.rs), sends
//! of acks=0 and acks=1 that a failover took. Deliberately does not know brokers; a partition is linked to its ghost
//! by the topic's id, or by the first value that both have seen.
//!
//! Sources: Jepsen (Kafka, Redpanda, Bufstream reports), KIP-207, KIP-320.

use super::batch::hash;
use super::latest::Exposed;
use super::report::Check;
use super::{Checks, marks};
use crate::history::Outcome;
use bytes::Bytes;
use kafka::note::ClientNote;
use kafka::types::{LeaderEpoch, METADATA_PARTITION, NodeId, Offset};
use std::collections::BTreeMap;

/// OFFSET_NOT_AVAILABLE.
const OFFSET_NOT_AVAILABLE: i16 = 78;
/// The timestamp that asks for the latest offset.
const LATEST: i64 = -1;

/// One reader of one partition.
#[derive(Clone, Copy, Debug, Default)]
struct Reader {
    /// Next offset, and since when it waits for it.
    next: Offset,
    since: u64,
    latest: Told,
    earliest: Told,
}

/// The highest offset that one client was told.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    offset: Offset,
    /// How often what it depends on had changed by then: dropped records for the latest, leaders for the earliest.
    changes: usize,
}

/// A question under way: what its client had been told when it asked. Answers to questions that overlap come in any
/// order: one may have waited long for a leader that had been replaced meanwhile.
#[derive(Clone, Debug)]
struct Question {
    partition: usize,
    floor: Told,
    /// What anybody had been told (latest.rs).
    exposed: Exposed,
}

/// Everything about readers.
#[derive(Clone, Debug, Default)]
pub(super) struct Readers {
    readers: BTreeMap<(u16, u32), Reader>,
    /// By client and its number.
    questions: BTreeMap<(u16, u64), Question>,
    /// By partition of the history: when the acknowledged end was known to be at least this.
    known: Vec<Vec<(u64, Offset)>>,
    /// By partition of the history: its ghost.
    links: Vec<Option<usize>>,
    /// The final reads ended before the cluster had converged.
    pub(super) cut_short: bool,
}

impl Checks {
    /// A client told its user something.
    pub(super) fn client_said(&mut self, client: u16, note: &ClientNote) {
        let now = self.now;
        let recorded = self.history.record(now, client, note);
        if let ClientNote::SendAcked { value, .. } | ClientNote::SendFailed { value, .. } = note
            && recorded.is_none()
        {
            let client = usize::from(client);
            self.report.fire(Check::C12, now, Some(client), || {
                format!(
                    "A client hears only of what it sent. An outcome was reported for {value:?}, which nobody sent."
                )
            });
        }
        let Some((partition, send)) = recorded else {
            return;
        };
        let at = self.linked(partition);
        self.report.about(at);
        match (note, send) {
            (ClientNote::SendAcked { offset, .. }, Some(send)) => self.acked(partition, send, *offset),
            (ClientNote::SendFailed { definite, .. }, Some(send)) => self.failed(send, *definite),
            (ClientNote::Polled { records, from, .. }, _) => self.polled(client, partition, records, *from),
            (ClientNote::OffsetAsked { query, timestamp, .. }, _) => {
                if let Some(floor) = self.told(client, partition, *timestamp).copied() {
                    let question = Question {
                        partition,
                        floor,
                        exposed: self.exposed(partition),
                    };
                    self.client.questions.insert((client, *query), question);
                }
            }
            (
                ClientNote::OffsetListed {
                    query,
                    timestamp,
                    offset,
                    leader_epoch,
                    error_code,
                    ..
                },
                _,
            ) => {
                if *error_code == OFFSET_NOT_AVAILABLE {
                    self.marks.set(marks::OFFSET_NOT_AVAILABLE);
                }
                let question = self.client.questions.remove(&(client, *query));
                let question = question.filter(|question| question.partition == partition);
                let Some(offset) = *offset else { return };
                if let Some(question) = &question {
                    self.listed(client, partition, question.floor, *timestamp, offset);
                }
                if *timestamp == LATEST {
                    let exposed = question.map(|question| question.exposed);
                    self.latest_told(client, exposed, partition, (offset, *leader_epoch));
                }
            }
            (ClientNote::TruncationDetected { .. }, _) => self.marks.set(marks::TRUNCATION_DETECTED),
            (ClientNote::PositionReset { .. }, _) => self.marks.set(marks::POSITION_RESET),
            _ => {}
        }
    }

    /// The ghost of a partition that clients name.
    pub(super) fn linked(&self, partition: usize) -> Option<usize> {
        self.client.links.get(partition).copied().flatten()
    }

    /// Finds the ghost by the topic's id, or by a value that stands at this offset.
    pub(super) fn link(&mut self, partition: usize, seen: Option<(Offset, u64)>) -> Option<usize> {
        if let Some(known) = self.linked(partition) {
            return Some(known);
        }
        let named = &self.history.partitions[partition];
        let by_id = self
            .topics
            .iter()
            .rev()
            .filter(|(name, _)| *name == named.topic)
            .find_map(|(_, id)| {
                self.ghost.find(&kafka::types::TopicPartition {
                    topic: *id,
                    partition: named.partition,
                })
            });
        let by_value = || {
            let (offset, hash) = seen?;
            self.ghost.partitions.iter().position(|ghost| {
                let holds = |log: &super::shadow::Shadow| {
                    log.get(offset)
                        .is_some_and(|cell| ghost.value(cell, offset) == Some(hash))
                };
                ghost.id != METADATA_PARTITION
                    && ghost.id.partition == named.partition
                    && ghost.replicas.iter().any(|replica| holds(&replica.log))
            })
        };
        let found = by_id.or_else(by_value)?;
        self.client
            .links
            .resize(self.client.links.len().max(partition + 1), None);
        self.client.links[partition] = Some(found);
        self.report.about(Some(found));
        Some(found)
    }

    /// C1, C12, C13.
    fn acked(&mut self, partition: usize, send: usize, offset: Option<Offset>) {
        let (acks, client) = (
            self.history.sends[send].acks,
            usize::from(self.history.sends[send].client),
        );
        let Some(offset) = offset.filter(|_| acks != 0) else {
            return;
        };
        let value = hash(&self.history.sends[send].value);
        let at = self.link(partition, Some((offset, value)));
        if acks != -1 {
            return;
        }
        self.shown(partition, client, offset, value);
        let floor = self.history.sends[send].floor;
        let excused = floor > 0 && at.is_some_and(|at| !self.ghost.partitions[at].drops.is_empty());
        self.report.look(Check::C13);
        if offset < floor && !excused {
            let name = self.history.sends[send].name();
            self.report.fire(Check::C13, self.now, Some(client), || {
                format!("A write that begins after another was acknowledged comes after it. {name} got offset {offset}, though {} was acknowledged before it was sent.", floor - 1)
            });
        }
        let seen = &mut self.history.partitions[partition];
        if offset >= seen.acked_end {
            seen.acked_end = offset + 1;
            self.client
                .known
                .resize(self.client.known.len().max(partition + 1), Vec::new());
            self.client.known[partition].push((self.now, offset + 1));
        }
    }

    /// C12.
    fn failed(&mut self, send: usize, definite: bool) {
        if !definite {
            self.marks.set(marks::SEND_UNKNOWN);
            return;
        }
        let sent = &self.history.sends[send];
        let (client, read) = (usize::from(sent.client), sent.read_at);
        let name = sent.name();
        self.report.expect(Check::C12, self.now, Some(client), read.is_none(), || {
            format!("A definite failure means that the record is not in the log. {name} was read at {} and then reported as failed.", read.unwrap_or(-1))
        });
    }

    /// C1: the value at an offset never changes.
    fn shown(&mut self, partition: usize, client: usize, offset: Offset, value: u64) {
        self.report.look(Check::C1);
        let Some(before) = self.history.show(partition, offset, value) else {
            return;
        };
        let at = self.linked(partition);
        if at.is_some_and(|at| self.ghost.partitions[at].permitted_drop(offset)) {
            return;
        }
        let name = |hash| {
            self.history
                .send_of(hash)
                .map_or_else(|| format!("#{hash:016x}"), |send| self.history.sends[send].name())
        };
        let (old, new) = (name(before), name(value));
        let seen = &self.history.partitions[partition];
        let place = format!("{}-{}", seen.topic, seen.partition);
        self.report.fire(Check::C1, self.now, Some(client), || {
            format!(
                "An offset holds one value for ever. {place} showed {old} at offset {offset} before, and {new} now."
            )
        });
    }

    /// C1, C2, C12, C17.
    fn polled(&mut self, client: u16, partition: usize, records: &[(Offset, LeaderEpoch, Bytes)], from: NodeId) {
        let Some((first, _, value)) = records.first() else {
            return;
        };
        let at = self.link(partition, Some((*first, hash(value))));
        if let Some(at) = at
            && let Some(state) = self.ghost.partitions[at].state
            && let Some(server) = self.ghost.node(from)
            && state.leader.is_some_and(|leader| leader != server)
        {
            self.marks.set(marks::READ_FROM_FOLLOWER);
        }
        self.waited(client, partition, *first);
        let verifies = self.context.verifier == Some(client);
        for (offset, _, value) in records {
            let value = hash(value);
            let known = usize::try_from(*offset)
                .ok()
                .and_then(|at| self.history.partitions[partition].values.get(at));
            if known == Some(&value) && !verifies {
                self.report.look(Check::C1);
                continue;
            }
            self.shown(partition, client.into(), *offset, value);
            self.read(client, partition, *offset, value, verifies);
        }
        let last = records.last().map_or(*first, |record| record.0);
        if verifies {
            let seen = &mut self.history.partitions[partition];
            seen.verified_end = seen.verified_end.max(last + 1);
        }
        let reader = self.client.readers.entry((client, partition as u32)).or_default();
        reader.next = last + 1;
        reader.since = self.now;
    }

    /// One value was read: C2, C12.
    fn read(&mut self, client: u16, partition: usize, offset: Offset, value: u64, verifies: bool) {
        let client = usize::from(client);
        self.report.look(Check::C12);
        let Some(send) = self
            .history
            .send_of(value)
            .filter(|send| self.history.sends[*send].partition as usize == partition)
        else {
            let seen = &self.history.partitions[partition];
            let place = format!("{}-{}", seen.topic, seen.partition);
            self.report.fire(Check::C12, self.now, Some(client), || {
                format!("Nothing is read that nobody wrote there. {place} showed a value at {offset} (#{value:016x}) that was never sent to it.")
            });
            return;
        };
        let sent = &mut self.history.sends[send];
        let before = *sent.read_at.get_or_insert(offset);
        if verifies {
            sent.verified_at = Some(offset);
        }
        let outcome = sent.outcome;
        let other = if before != offset {
            Some(before)
        } else {
            sent.acked_at().filter(|acked| *acked != offset && sent.acks == -1)
        };
        if let Outcome::Failed { definite, .. } = outcome {
            if definite {
                let name = self.history.sends[send].name();
                self.report.fire(Check::C12, self.now, Some(client), || {
                    format!("A definite failure means that the record is never readable. {name} failed and was read at {offset}.")
                });
            } else {
                self.marks.set(marks::UNKNOWN_SEND_FOUND);
            }
        }
        let sent = &self.history.sends[send];
        if !sent.idempotent {
            if other.is_some_and(|_| sent.acks == -1) {
                self.marks.set(marks::DUPLICATE_WRITTEN);
            }
            return;
        }
        self.report.look(Check::C2);
        let excused = |offset| {
            self.linked(partition).is_some_and(|at| {
                !self.ghost.partitions[at].drops.is_empty()
                    && self.ghost.partitions[at].committed_value(offset) != Some(value)
            })
        };
        // Who copies a log that begins above the deleted records learns nothing of their producers, and takes any sequence
        // of one that it does not know (KIP-360): a batch whose answer was lost before may then be written again.
        let is_deleted = |offset| {
            let at = self.linked(partition);
            at.is_some_and(|at| offset < self.ghost.partitions[at].deleted_to)
        };
        let broken = |other: &Offset| !excused(*other) && !is_deleted(offset.min(*other));
        if let Some(other) = other.filter(broken) {
            let name = self.history.sends[send].name();
            self.report.fire(Check::C2, self.now, Some(client), || {
                format!("An idempotent producer's record is written once. {name} stands at {other} and at {offset}.")
            });
        }
    }

    /// C17: how long a reader at the end waited for `first`.
    fn waited(&mut self, client: u16, partition: usize, first: Offset) {
        let Some(healed) = self.liveness.faults_ended else {
            return;
        };
        let Some(reader) = self
            .client
            .readers
            .get(&(client, partition as u32))
            .filter(|reader| reader.next == first)
        else {
            return;
        };
        let Some(known) = self.client.known.get(partition) else {
            return;
        };
        let known = known
            .get(known.partition_point(|(_, end)| *end <= first))
            .map(|(time, _)| *time);
        let Some(known) = known else {
            return;
        };
        let since = known.max(reader.since).max(healed);
        let waited = self.now.saturating_sub(since);
        let bound = self.context.lag_bound_ns;
        self.report
            .expect(Check::C17, self.now, Some(client.into()), waited <= bound, || {
                format!(
                    "A reader at the end sees a new record soon. It waited {} ms for offset {first}, {} are allowed.",
                    waited / 1_000_000,
                    bound / 1_000_000
                )
            });
    }

    /// What a client was told of the latest or earliest offset since the last change; none for other times.
    fn told(&mut self, client: u16, partition: usize, timestamp: i64) -> Option<&mut Told> {
        let ghost = self.link(partition, None).map(|at| &self.ghost.partitions[at]);
        let (drops, leaders) = ghost.map_or((0, 0), |ghost| (ghost.drops.len(), ghost.leaders.len()));
        let reader = self.client.readers.entry((client, partition as u32)).or_default();
        let (told, changes) = match timestamp {
            LATEST => (&mut reader.latest, drops),
            // Log starts are not replicated: a new leader may still have what the old one had deleted.
            -2 => (&mut reader.earliest, leaders),
            _ => return None,
        };
        if told.changes != changes {
            *told = Told { offset: 0, changes };
        }
        Some(told)
    }

    /// C14.
    fn listed(&mut self, client: u16, partition: usize, floor: Told, timestamp: i64, offset: Offset) {
        let Some(told) = self.told(client, partition, timestamp) else {
            return;
        };
        if told.changes != floor.changes {
            // Whether it was answered before or after the change is not known.
            return;
        }
        told.offset = told.offset.max(offset);
        let what = if timestamp == LATEST { "latest" } else { "earliest" };
        let (before, seen) = (floor.offset, &self.history.partitions[partition]);
        self.report
            .expect(Check::C14, self.now, Some(client.into()), offset >= before, || {
                format!(
                    "The {what} offset never goes back for one client. For {}-{} it was {before}, and then {offset}.",
                    seen.topic, seen.partition
                )
            });
    }

    /// The final verdict on every send: C3, C4, C9, C12, X14, losses.
    pub(super) fn judge_history(&mut self) {
        self.judge_order();
        // What a stuck cluster does not serve is not lost: that it is stuck is said by the L checks.
        self.client.cut_short = self.liveness.faults_ended.is_some() && self.converged(self.now).is_err();
        for send in 0..self.history.sends.len() {
            let sent = &self.history.sends[send];
            let Outcome::Acked { offset, .. } = sent.outcome else {
                continue;
            };
            let (client, acks, read) = (usize::from(sent.client), sent.acks, sent.verified_at.or(sent.read_at));
            let partition = sent.partition as usize;
            let at = self.linked(partition);
            self.report.about(at);
            for check in [Check::C3, Check::C4, Check::C12, Check::X14] {
                self.report.look(check);
            }
            if let Some(loss) = self.loss(send) {
                if loss.permitted.is_some() {
                    if acks != 0 {
                        self.marks.set(marks::PERMITTED_LOSS);
                    }
                } else {
                    self.lost(send, partition, client, offset);
                }
                self.losses.push(loss);
                continue;
            }
            let (Some(offset), Some(read)) = (offset, read) else {
                continue;
            };
            let shown = usize::try_from(offset)
                .ok()
                .and_then(|at| self.history.partitions[partition].values.get(at));
            let value = hash(&self.history.sends[send].value);
            let lawful = acks != -1
                || self
                    .linked(partition)
                    .is_some_and(|at| self.ghost.partitions[at].permitted_drop(offset));
            if read != offset && shown != Some(&value) && !lawful {
                let name = self.history.sends[send].name();
                self.report.fire(Check::C12, self.now, Some(client), || {
                    format!("Success means readable at exactly that offset. {name} was acknowledged at {offset} and read at {read}.")
                });
            }
        }
    }

    /// C9.
    fn judge_order(&mut self) {
        // Of each producer and partition: the last offset, and which send stands there.
        let mut last: BTreeMap<(u16, u32), (Offset, usize)> = BTreeMap::new();
        for (at, send) in self.history.sends.iter().enumerate() {
            // Where it stands, and not where it was acknowledged: what has gone is in no order.
            let stands = match self.context.verifier {
                Some(_) => send.verified_at,
                None => send.read_at,
            };
            let Some(offset) = stands.filter(|_| send.idempotent) else {
                continue;
            };
            let before = last.insert((send.client, send.partition), (offset, at));
            self.report
                .about(self.client.links.get(send.partition as usize).copied().flatten());
            let holds = before.is_none_or(|(before, _)| before < offset);
            self.report
                .expect(Check::C9, self.now, Some(send.client.into()), holds, || {
                    let (earlier, first) = before.map_or((0, at), |before| before);
                    let (first, second) = (self.history.sends[first].name(), send.name());
                    format!("An idempotent producer's records stand in the order in which they were sent. {first} was sent before {second}, and stands at {earlier}, behind {offset}.")
                });
        }
    }

    /// A loss that the promise forbids: C3 or C4, and X14 if no replica has it.
    fn lost(&mut self, send: usize, partition: usize, client: usize, offset: Option<Offset>) {
        let name = self.history.sends[send].name();
        let acks = self.history.sends[send].acks;
        let seen = &self.history.partitions[partition];
        let place = format!("{}-{}", seen.topic, seen.partition);
        let below = self.context.verifier.is_none() || offset.is_some_and(|offset| offset < seen.verified_end);
        let check = if below { Check::C3 } else { Check::C4 };
        let offset = offset.unwrap_or(-1);
        let held = self.linked(partition).map(|at| {
            let promise = self.ghost.partitions[at].promise_of(offset);
            promise.map_or_else(String::new, |promise| {
                let who = |mask| self.ghost.names(mask);
                format!(
                    " At its acknowledgement brokers {:?} held it ({:?} durably), in sync were {:?}, eligible {:?}.",
                    who(promise.held),
                    who(promise.durable),
                    who(promise.isr),
                    who(promise.elr)
                )
            })
        });
        let held = held.unwrap_or_default();
        self.report.fire(check, self.now, Some(client), || {
            format!("An acknowledged record is there to be read. {name} was acknowledged with acks={acks} at offset {offset} of {place}, and the final reads do not have it.{held}")
        });
        let value = hash(&self.history.sends[send].value);
        let gone = acks == -1
            && self.linked(partition).is_some_and(|at| {
                let ghost = &self.ghost.partitions[at];
                let holds = |log: &super::shadow::Shadow| {
                    log.get(offset)
                        .is_some_and(|cell| ghost.value(cell, offset) == Some(value))
                };
                ghost
                    .replicas
                    .iter()
                    .all(|replica| !replica.uncertain && !holds(&replica.log))
            });
        if gone && let Some(at) = self.linked(partition) {
            self.no_copy_left(at, client, offset);
        }
    }
}
