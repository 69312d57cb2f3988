//! The consumer: assigned partitions in, their records out, and what it finds out about its position.
//!
//! ```text
//!   Assign ─▶ position (AwaitReset, AwaitValidation, Fetching) ─▶ one fetch a broker ─▶ fetched ─▶ poll ─▶ Polled
//! ```
//!
//! Guarantees: records of a partition are handed over in order and without gap, from the position on; a change of
//! leader or epoch is followed by a validation before anything more is handed over (KIP-320).
//! Does not know: groups, commits, transactions (a read_committed fetch asks for it; nothing is filtered here yet).
//!
//! Sources: Kafka 4.1 `AbstractFetch`, `FetchCollector`, `OffsetFetcher`, `OffsetsForLeaderEpochClient`; KIP-320, KIP-392.

pub mod fetch;
pub mod fetched;
pub mod lookup;
pub mod position;

use self::fetched::Fetched;
use self::lookup::Query;
use self::position::{EARLIEST, LATEST, PartitionPosition};
use super::backoff::{Alarm, after_ms, delay_ms};
use super::config::ConsumerConfig;
use super::network::{Network, Outcome};
use super::{ClientInput, Op, StartFrom};
use crate::machine::{Entropy, Input, Outbox, Output};
use crate::note::{ClientNote, Note};
use crate::types::{Nanos, NodeId, Now, Offset, Uuid};
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet};

/// A consumer.
#[derive(Clone, Debug)]
pub struct Consumer {
    config: ConsumerConfig,
    entropy: Entropy,
    network: Network,
    partitions: Vec<Assigned>,
    index: BTreeMap<String, BTreeMap<i32, usize>>,
    /// Partitions without request and without records to hand over: only these are looked at in a step.
    idle: BTreeSet<usize>,
    /// Partitions with records to hand over.
    buffered: BTreeSet<usize>,
    /// Brokers with a fetch in flight: one at a time, as in Kafka.
    fetching: BTreeSet<NodeId>,
    requests: BTreeMap<u64, Asked>,
    queries: Vec<Query>,
    /// Metadata that positions were last compared with.
    generation: u64,
    polling: Polling,
    /// Numbers of positions go on over all assignments, so that answers to earlier ones are known as late.
    next_number: u64,
    deadline: Option<Nanos>,
}

/// An assigned partition.
#[derive(Clone, Debug)]
struct Assigned {
    topic: String,
    topic_name: TopicName,
    partition: i32,
    position: PartitionPosition,
    /// Read from here instead of from the leader, until then (KIP-392).
    preferred: Option<(NodeId, Nanos)>,
    fetched: Option<Fetched>,
    /// Nothing is asked before.
    retry_at: Nanos,
    /// In a row.
    failures: u32,
    /// The request that its next step waits for.
    asked: Option<u64>,
}

/// A request in flight.
#[derive(Clone, Debug)]
enum Asked {
    Fetch(Vec<Part>),
    Offsets(Vec<Part>),
    Epochs(Vec<Part>),
    Query(u64),
}

/// One partition of a request: which, and at which number of its position.
#[derive(Clone, Copy, Debug)]
struct Part {
    partition: usize,
    number: u64,
    /// In fetches; nil where topics go by name.
    topic_id: Uuid,
}

/// When the user takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Polling {
    AtOnce,
    Every { ms: u64, next: Nanos },
    Paused,
}

impl Consumer {
    /// Not connected, nothing assigned.
    pub fn new(config: ConsumerConfig, mut entropy: Entropy) -> Consumer {
        let of_network = Entropy(entropy.next_u64());
        Consumer {
            network: Network::new(&config.client_id, &config.bootstrap, config.network(), of_network),
            config,
            entropy,
            partitions: Vec::new(),
            index: BTreeMap::new(),
            idle: BTreeSet::new(),
            buffered: BTreeSet::new(),
            fetching: BTreeSet::new(),
            requests: BTreeMap::new(),
            queries: Vec::new(),
            generation: 0,
            polling: Polling::AtOnce,
            next_number: 0,
            deadline: None,
        }
    }

    /// Takes one input.
    ///
    /// # Panics
    /// On an operation of another kind of client.
    pub fn step(&mut self, now: Now, input: ClientInput, out: &mut Outbox) {
        let input = match input {
            ClientInput::Net(Input::Shutdown) => {
                self.network.connections.close_all(out);
                out.outputs.push(Output::Exit {
                    reason: "consumer closed".to_owned(),
                    clean: true,
                });
                self.deadline = None;
                return;
            }
            ClientInput::Net(input) => Some(input),
            ClientInput::Op(op) => {
                self.operate(op, now, out);
                None
            }
        };
        self.poll_on_time(now, out);
        for outcome in self.network.input(input, now, out) {
            self.answered(outcome, now, out);
        }
        self.compare_leaders();
        if self.polling == Polling::AtOnce {
            self.hand_over(usize::MAX, out);
        }
        self.ask(now, out);
        self.ask_queries(now, out);
        self.network.poll(now, out);
        self.deadline = self.alarms(now);
    }

    /// When the machine wants to be woken.
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.deadline
    }

    /// Next offset that the user will read of a partition; `None` if that is not known, or not assigned.
    pub fn position(&self, topic: &str, partition: i32) -> Option<Offset> {
        let partition = self.find(topic, partition)?;
        let offset = self.partitions[partition].position.position().offset;
        (offset >= 0).then_some(offset)
    }

    fn operate(&mut self, op: Op, now: Now, out: &mut Outbox) {
        match op {
            Op::Assign { partitions, from } => self.assign(partitions, from),
            Op::Seek {
                topic,
                partition,
                offset,
            } => {
                if let Some(at) = self.find(&topic, partition) {
                    let leader = self.network.metadata.leader(&topic, partition).unwrap_or_default();
                    self.partitions[at].position.seek(offset, leader);
                    self.partitions[at].retry_at = Nanos(0);
                    self.start_over(at);
                }
            }
            Op::Pause => self.polling = Polling::Paused,
            Op::ResumePolling { every_ms: 0 } => self.polling = Polling::AtOnce,
            Op::ResumePolling { every_ms } => {
                let next = now.mono;
                self.polling = Polling::Every { ms: every_ms, next };
            }
            Op::ListOffsets {
                topic,
                partition,
                timestamp,
            } => self.add_query(topic, partition, timestamp, now, out),
            other => panic!("a consumer cannot do {other:?}"),
        }
    }

    fn assign(&mut self, partitions: Vec<(String, i32)>, from: StartFrom) {
        self.partitions.clear();
        self.index.clear();
        self.idle.clear();
        self.buffered.clear();
        for (topic, partition) in partitions {
            if self.find(&topic, partition).is_some() {
                continue;
            }
            // Leaves room for every change of an earlier position: no number is ever used twice.
            self.next_number += 1 << 32;
            let number = self.next_number;
            let position = match from {
                StartFrom::Earliest => PartitionPosition::looked_up(EARLIEST, number),
                StartFrom::Latest => PartitionPosition::looked_up(LATEST, number),
                StartFrom::Offset(offset) => {
                    let leader = self.network.metadata.leader(&topic, partition).unwrap_or_default();
                    PartitionPosition::at(offset, leader, number)
                }
            };
            let at = self.partitions.len();
            self.index.entry(topic.clone()).or_default().insert(partition, at);
            self.idle.insert(at);
            self.partitions.push(Assigned {
                topic_name: TopicName(StrBytes::from_string(topic.clone())),
                topic,
                partition,
                position,
                preferred: None,
                fetched: None,
                retry_at: Nanos(0),
                failures: 0,
                asked: None,
            });
        }
        let queried = self.queries.iter().map(|query| query.topic.clone());
        let topics = self.index.keys().cloned().chain(queried);
        self.network.metadata.want_only(topics);
    }

    fn find(&self, topic: &str, partition: i32) -> Option<usize> {
        self.index.get(topic)?.get(&partition).copied()
    }

    /// What was fetched or asked at the old position is of no use any more.
    fn start_over(&mut self, at: usize) {
        let assigned = &mut self.partitions[at];
        assigned.fetched = None;
        assigned.asked = None;
        self.buffered.remove(&at);
        self.idle.insert(at);
    }

    /// Compares each position with the leaders of new metadata.
    fn compare_leaders(&mut self) {
        let generation = self.network.metadata.generation();
        if self.generation == generation {
            return;
        }
        self.generation = generation;
        for at in 0..self.partitions.len() {
            let assigned = &mut self.partitions[at];
            let leader = self.network.metadata.leader(&assigned.topic, assigned.partition);
            if leader.is_some_and(|leader| assigned.position.leader_is(leader)) {
                assigned.preferred = None;
                assigned.retry_at = Nanos(0);
                self.start_over(at);
            }
        }
    }

    /// A slow user polls at his own times: what has come by then he takes, what comes now waits for the next time.
    fn poll_on_time(&mut self, now: Now, out: &mut Outbox) {
        let Polling::Every { ms, next } = self.polling else {
            return;
        };
        if now.mono < next {
            return;
        }
        let missed = now.mono.since(next).as_ms() / ms;
        let next = next.plus_ms((missed + 1) * ms);
        self.polling = Polling::Every { ms, next };
        let max = usize::try_from(self.config.settings.max_poll_records).unwrap_or(usize::MAX);
        self.hand_over(max, out);
    }

    /// Gives records to the user, at most so many.
    fn hand_over(&mut self, max: usize, out: &mut Outbox) {
        let mut left = max;
        for at in self.buffered.clone() {
            if left == 0 {
                break;
            }
            let assigned = &mut self.partitions[at];
            let fetched = assigned
                .fetched
                .as_mut()
                .expect("buffered means that something is there");
            let (records, next, epoch) = fetched.take(left);
            left -= records.len();
            assigned.position.consumed(next, epoch);
            if !records.is_empty() {
                out.note(Note::Client(ClientNote::Polled {
                    topic: assigned.topic.clone(),
                    partition: assigned.partition,
                    records,
                    high_watermark: fetched.high_watermark,
                    log_start_offset: fetched.log_start_offset,
                    from: fetched.from,
                }));
            }
            if fetched.records.is_empty() {
                assigned.fetched = None;
                self.buffered.remove(&at);
                self.idle.insert(at);
            }
        }
    }

    fn answered(&mut self, outcome: Outcome, now: Now, out: &mut Outbox) {
        let asked = self.requests.remove(&outcome.tag).expect("a request ends once");
        match asked {
            Asked::Fetch(parts) => {
                self.fetching.remove(&outcome.node);
                self.fetch_answered(parts, outcome.node, outcome.response, now, out);
            }
            Asked::Offsets(parts) => self.offsets_answered(parts, outcome.response, now, out),
            Asked::Epochs(parts) => self.epochs_answered(parts, outcome.response, now, out),
            Asked::Query(number) => self.query_answered(number, outcome.response, now, out),
        }
    }

    /// Whether the position of an answer is still the one that was asked for. If so, the partition may be asked again.
    fn is_current(&mut self, part: Part) -> bool {
        let Some(assigned) = self.partitions.get_mut(part.partition) else {
            return false;
        };
        let current = assigned.position.number() == part.number && assigned.asked.is_some();
        if current {
            assigned.asked = None;
            self.idle.insert(part.partition);
        }
        current
    }

    /// Something went wrong with this partition: ask again later.
    fn back_off(&mut self, at: usize, now: Now) {
        let settings = &self.config.settings;
        let assigned = &mut self.partitions[at];
        assigned.failures = assigned.failures.saturating_add(1);
        let delay = delay_ms(
            settings.retry_backoff_ms,
            settings.retry_backoff_max_ms,
            assigned.failures,
            &mut self.entropy,
        );
        assigned.retry_at = now.mono.plus_ms(delay);
    }

    fn sent(&mut self, tag: u64, asked: Asked) {
        let (Asked::Fetch(parts) | Asked::Offsets(parts) | Asked::Epochs(parts)) = &asked else {
            self.requests.insert(tag, asked);
            return;
        };
        for part in parts {
            self.partitions[part.partition].asked = Some(tag);
            self.idle.remove(&part.partition);
        }
        self.requests.insert(tag, asked);
    }

    fn alarms(&self, now: Now) -> Option<Nanos> {
        let mut alarm = Alarm::new(now.mono);
        self.network.alarms(&mut alarm);
        for at in &self.idle {
            alarm.at(self.partitions[*at].retry_at);
        }
        if let Polling::Every { next, .. } = self.polling
            && !self.buffered.is_empty()
        {
            alarm.at(next);
        }
        for query in &self.queries {
            alarm.at(after_ms(query.since, self.config.settings.default_api_timeout_ms));
            alarm.at(query.retry_at);
        }
        alarm.earliest()
    }
}

#[cfg(test)]
mod tests;
