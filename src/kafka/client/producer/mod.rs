//! The producer: records in, acknowledgements or failures out.
//!
//! ```text
//!   Send ─▶ blocked (metadata, memory; max.block.ms) ─▶ accumulator (linger, batch.size) ─▶ in flight ─▶ SendAcked
//!                │                                            ▲   │ delivery.timeout.ms        │
//!                ▼                                            │   ▼                            ▼
//!            SendFailed                                    retry  SendFailed ◀────────────── error
//! ```
//!
//! Guarantees: every `Send` ends exactly once, as `SendAcked` or `SendFailed`, within `max.block.ms` plus
//! `delivery.timeout.ms`; a failure is definite only if no attempt can have reached a log (see [`fate`]).
//! As in Kafka, without `enable.idempotence` a retry may duplicate, and with more than one request in flight reorder. With
//! it neither happens (see [`sequences`]).
//! Does not know: keys to partitions, the user names the partition.
//!
//! Sources: Kafka 4.1 `KafkaProducer`, `Sender`, `TransactionManager`; KIP-91 (delivery timeout), KIP-98 and KIP-360
//! (idempotence), KIP-951 (leader in the answer).

pub mod accumulator;
mod answers;
pub mod fate;
pub mod identity;
pub mod sequences;

use self::accumulator::{Accumulator, ProducerBatch};
use self::identity::ProducerIdentity;
use self::sequences::Place;
use super::backoff::{Alarm, after_ms};
use super::config::ProducerConfig;
use super::network::Network;
use super::{ClientInput, Op};
use crate::machine::{Entropy, Input, Outbox, Output};
use crate::note::{ClientNote, Note};
use crate::types::{Nanos, NodeId, Now};
use crate::wire::ErrorCode;
use bytes::Bytes;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, RequestKind};
use std::collections::{BTreeMap, VecDeque};

/// A producer.
#[derive(Clone, Debug)]
pub struct Producer {
    config: ProducerConfig,
    entropy: Entropy,
    network: Network,
    accumulator: Accumulator,
    /// Of an idempotent producer.
    identity: ProducerIdentity,
    /// What the user has called and what cannot begin yet, in order: a user's thread would hang in the first.
    blocked: VecDeque<Blocked>,
    /// Somebody waits for memory.
    exhausted: bool,
    /// Produce requests by tag.
    in_flight: BTreeMap<u64, Vec<Sent>>,
    /// Which queue goes first, so that a small request does not starve the last ones.
    turn: usize,
    closing: bool,
    deadline: Option<Nanos>,
}

#[derive(Clone, Debug)]
enum Blocked {
    Send {
        topic: String,
        partition: i32,
        value: Bytes,
        key: Option<Bytes>,
        /// `max.block.ms` ends.
        deadline: Nanos,
    },
    Flush,
}

/// A batch in a request.
#[derive(Clone, Debug)]
struct Sent {
    queue: usize,
    /// Of an idempotent producer's batch.
    place: Option<Place>,
    /// `None`: its delivery timeout passed and its user was told; the answer changes nothing any more.
    batch: Option<ProducerBatch>,
}

impl Producer {
    /// Not connected; the first send connects.
    pub fn new(config: ProducerConfig, mut entropy: Entropy) -> Producer {
        let of_network = Entropy(entropy.next_u64());
        Producer {
            network: Network::new(&config.client_id, &config.bootstrap, config.network(), of_network),
            accumulator: Accumulator::new(config.settings.clone()),
            identity: ProducerIdentity::default(),
            config,
            entropy,
            blocked: VecDeque::new(),
            exhausted: false,
            in_flight: BTreeMap::new(),
            turn: 0,
            closing: false,
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
                self.closing = true;
                self.blocked.push_back(Blocked::Flush);
                None
            }
            ClientInput::Net(input) => Some(input),
            ClientInput::Op(op) => {
                self.operate(op, now, out);
                None
            }
        };
        for outcome in self.network.input(input, now, out) {
            self.answered(outcome, now, out);
        }
        self.unblock(now, out);
        self.expire(now, out);
        self.identify(now, out);
        self.drain(now, out);
        self.network.poll(now, out);
        self.close_when_done(out);
        self.deadline = self.alarms(now);
    }

    /// When the machine wants to be woken.
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.deadline
    }

    /// Records whose fate the user does not know yet.
    pub fn unsettled(&self) -> usize {
        let sends = self
            .blocked
            .iter()
            .filter(|blocked| matches!(blocked, Blocked::Send { .. }));
        let active = self.accumulator.active();
        let waiting = active.flat_map(|queue| self.accumulator.queue(queue).batches.iter());
        let sent = self.in_flight.values().flatten().filter_map(|sent| sent.batch.as_ref());
        sends.count() + waiting.chain(sent).map(|batch| batch.records.len()).sum::<usize>()
    }

    fn operate(&mut self, op: Op, now: Now, out: &mut Outbox) {
        match op {
            Op::Send {
                topic,
                partition,
                value,
                key,
            } => {
                out.note(Note::Client(ClientNote::SendInvoked {
                    topic: topic.clone(),
                    partition,
                    value: value.clone(),
                    acks: self.config.settings.acks as i16,
                    idempotent: self.config.settings.enable_idempotence == 1,
                }));
                let deadline = after_ms(now.mono, self.config.settings.max_block_ms);
                self.blocked.push_back(Blocked::Send {
                    topic,
                    partition,
                    value,
                    key,
                    deadline,
                });
            }
            Op::Flush => self.blocked.push_back(Blocked::Flush),
            other => panic!("a producer cannot do {other:?}"),
        }
    }

    /// Lets calls begin, the oldest first, until one has to wait.
    fn unblock(&mut self, now: Now, out: &mut Outbox) {
        self.exhausted = false;
        while let Some(blocked) = self.blocked.pop_front() {
            let Blocked::Send {
                topic,
                partition,
                value,
                key,
                deadline,
            } = blocked
            else {
                self.accumulator.flush();
                continue;
            };
            match self.admit(&topic, partition, &value, &key, now) {
                Admission::Done => {}
                Admission::Refused(error) => fail(&topic, partition, value, true, error, out),
                // Nothing was sent, so it is certainly nowhere.
                Admission::Wait if now.mono >= deadline => {
                    fail(&topic, partition, value, true, ErrorCode::NONE, out);
                }
                Admission::Wait => {
                    self.blocked.push_front(Blocked::Send {
                        topic,
                        partition,
                        value,
                        key,
                        deadline,
                    });
                    return;
                }
            }
        }
    }

    fn admit(&mut self, topic: &str, partition: i32, value: &Bytes, key: &Option<Bytes>, now: Now) -> Admission {
        let settings = &self.config.settings;
        let size = Accumulator::size_of(key.as_ref(), value) as i64;
        if size > settings.max_request_size || size > settings.buffer_memory {
            return Admission::Refused(ErrorCode::MESSAGE_TOO_LARGE);
        }
        self.network.metadata.want(topic);
        if let Some(error) = self.network.metadata.fatal_error(topic) {
            return Admission::Refused(error);
        }
        if self.network.metadata.leader(topic, partition).is_none() {
            self.network.metadata.request_update();
            return Admission::Wait;
        }
        let queue = self.accumulator.queue_of(topic, partition);
        let record = (now.wall_ms, key.clone(), Some(value.clone()));
        if self.accumulator.append(queue, record, now.mono) {
            Admission::Done
        } else {
            self.exhausted = true;
            Admission::Wait
        }
    }

    /// Fails what is older than `delivery.timeout.ms`.
    fn expire(&mut self, now: Now, out: &mut Outbox) {
        let mut expired = Vec::new();
        for queue in self.accumulator.active().collect::<Vec<_>>() {
            while let Some(batch) = self.accumulator.take_expired(queue, now.mono) {
                expired.push((queue, batch));
            }
        }
        let timeout_ms = self.config.settings.delivery_timeout_ms;
        for sent in self.in_flight.values_mut().flatten() {
            let late = |batch: &mut ProducerBatch| after_ms(batch.created, timeout_ms) <= now.mono;
            if let Some(mut batch) = sent.batch.take_if(late) {
                // Its last request is not answered: the broker may append it yet.
                batch.maybe_appended = true;
                self.accumulator.release(batch.memory);
                expired.push((sent.queue, batch));
            }
        }
        for (queue, batch) in expired {
            self.fail_batch(queue, batch, ErrorCode::NONE, out);
            self.resolve(queue, out);
        }
    }

    /// An idempotent producer that has something to send, and no identity, asks any broker for one.
    fn identify(&mut self, now: Now, out: &mut Outbox) {
        let wanted = self.config.settings.enable_idempotence == 1 && !self.accumulator.is_empty();
        if !wanted || self.identity.due().is_none_or(|due| due > now.mono) {
            return;
        }
        let Some(node) = self.network.connections.least_loaded(now) else {
            return;
        };
        if self.network.connections.ready(node, now, out) {
            let tag = self.network.send(node, &ProducerIdentity::request(), now, out);
            self.identity.asked(tag);
        }
    }

    /// Where a batch is missing, and nothing that was sent before it is under way: the partition goes on in a new epoch.
    fn resolve(&mut self, queue: usize, out: &mut Outbox) {
        if let Some((epoch, doubtful)) = self.accumulator.resolve(queue) {
            self.identity.is_over(epoch);
            for batch in doubtful {
                self.tell_failure(queue, batch, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, out);
            }
        }
    }

    /// Sends what is ready to whoever leads it.
    fn drain(&mut self, now: Now, out: &mut Outbox) {
        if self.accumulator.is_empty() {
            return;
        }
        let active: Vec<usize> = self.accumulator.active().collect();
        let identity = self.identity.current();
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % active.len();
        let mut ready: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        for queue in active[first..].iter().chain(&active[..first]) {
            if self.accumulator.sendable(*queue, self.exhausted, identity, now.mono) {
                match self.leader_of(*queue) {
                    Some(leader) => ready.entry(leader).or_default().push(*queue),
                    None => self.network.metadata.request_update(),
                }
            }
        }
        for (leader, queues) in ready {
            while self.network.connections.ready(leader, now, out) {
                let batches = self.take_request(&queues, now);
                if batches.is_empty() {
                    break;
                }
                self.send(leader, batches, now, out);
            }
        }
    }

    /// One batch of each queue that has one to send, as many as fit into a request; the first always does.
    fn take_request(&mut self, queues: &[usize], now: Now) -> Vec<Sent> {
        let limit = usize::try_from(self.config.settings.max_request_size).unwrap_or(usize::MAX);
        let identity = self.identity.current();
        let mut batches: Vec<Sent> = Vec::new();
        let mut size = 0;
        for queue in queues {
            if !self.accumulator.sendable(*queue, self.exhausted, identity, now.mono) {
                continue;
            }
            let front = self.accumulator.queue(*queue).batches.front();
            let front_size = front.expect("a sendable queue has a front").size;
            if !batches.is_empty() && size + front_size > limit {
                continue;
            }
            size += front_size;
            let batch = self.accumulator.take(*queue, identity);
            batches.push(Sent {
                queue: *queue,
                place: batch.place,
                batch: Some(batch),
            });
        }
        batches
    }

    fn leader_of(&mut self, queue: usize) -> Option<NodeId> {
        let generation = self.network.metadata.generation();
        let queue = self.accumulator.queue_mut(queue);
        if queue.leader.0 != generation {
            let known = self.network.metadata.leader(&queue.topic, queue.partition);
            queue.leader = (generation, known.and_then(|known| known.leader));
        }
        queue.leader.1
    }

    fn send(&mut self, leader: NodeId, mut batches: Vec<Sent>, now: Now, out: &mut Outbox) {
        // Queues are numbered as they were created, so topics must be brought together.
        batches.sort_by(|a, b| {
            let [a, b] = [a, b].map(|sent| self.accumulator.queue(sent.queue));
            (&a.topic, a.partition).cmp(&(&b.topic, b.partition))
        });
        let mut topics: Vec<TopicProduceData> = Vec::new();
        for sent in &mut batches {
            let queue = self.accumulator.queue(sent.queue);
            let batch = sent.batch.as_mut().expect("just taken");
            batch.attempts += 1;
            let data = PartitionProduceData::default()
                .with_index(queue.partition)
                .with_records(Some(batch.encode()));
            match topics.last_mut().filter(|topic| topic.name == queue.topic_name) {
                Some(topic) => topic.partition_data.push(data),
                None => topics.push(
                    TopicProduceData::default()
                        .with_name(queue.topic_name.clone())
                        .with_partition_data(vec![data]),
                ),
            }
        }
        let settings = &self.config.settings;
        let request = ProduceRequest::default()
            .with_acks(settings.acks as i16)
            .with_timeout_ms(settings.request_timeout_ms as i32)
            .with_topic_data(topics);
        let request = RequestKind::Produce(request);
        if settings.acks == 0 {
            // The user is told when the bytes are handed to the connection; what becomes of them nobody ever knows.
            self.network.send_unanswered(leader, &request, now, out);
            for sent in batches {
                let batch = sent.batch.expect("just sent");
                self.accumulator.ended(sent.queue, sent.place);
                self.accumulator.release(batch.memory);
                self.ack_batch(sent.queue, batch, None, out);
            }
            return;
        }
        let tag = self.network.send(leader, &request, now, out);
        self.in_flight.insert(tag, batches);
    }

    fn close_when_done(&mut self, out: &mut Outbox) {
        if self.closing && self.unsettled() == 0 {
            self.network.connections.close_all(out);
            out.outputs.push(Output::Exit {
                reason: "producer closed".to_owned(),
                clean: true,
            });
        }
    }

    fn alarms(&self, now: Now) -> Option<Nanos> {
        let mut alarm = Alarm::new(now.mono);
        self.network.alarms(&mut alarm);
        self.accumulator.alarms(&mut alarm);
        if let Some(Blocked::Send { deadline, .. }) = self.blocked.front() {
            alarm.at(*deadline);
        }
        if self.config.settings.enable_idempotence == 1 && !self.accumulator.is_empty() {
            self.identity.due().into_iter().for_each(|due| alarm.at(due));
        }
        for batch in self.in_flight.values().flatten().filter_map(|sent| sent.batch.as_ref()) {
            alarm.at(after_ms(batch.created, self.config.settings.delivery_timeout_ms));
        }
        alarm.earliest()
    }
}

/// Whether a send can begin.
enum Admission {
    Done,
    Wait,
    Refused(ErrorCode),
}

/// Errors after which the leader is looked up again (Kafka's `InvalidMetadataException`), lost connections included.
pub(super) fn stale_metadata(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::REPLICA_NOT_AVAILABLE
            | ErrorCode::NETWORK_EXCEPTION
            | ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::LISTENER_NOT_FOUND
            | ErrorCode::FENCED_LEADER_EPOCH
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::INCONSISTENT_TOPIC_ID
    )
}

fn fail(topic: &str, partition: i32, value: Bytes, definite: bool, error: ErrorCode, out: &mut Outbox) {
    out.note(Note::Client(ClientNote::SendFailed {
        topic: topic.to_owned(),
        partition,
        value,
        definite,
        error_code: error.code(),
    }));
}

#[cfg(test)]
mod tests;
