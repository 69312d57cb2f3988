//! Records that wait to be sent, in batches, one queue for each partition.
//!
//! ```text
//!   append ─▶ [ sealed ][ sealed ][ open ]   front leaves first; a retried batch comes back to the front
//!             └ sendable: full, or older than linger.ms, or being flushed, and not backing off
//! ```
//!
//! Guarantees: memory above `buffer.memory` is never handed out; records of a batch keep their order.
//! Does not know: leaders, connections, answers.
//!
//! Sources: Kafka 4.1 `RecordAccumulator`, `ProducerBatch`, `BufferPool`.

use crate::client::backoff::{Alarm, after_ms};
use crate::client::config::ProducerSettings;
use crate::types::{Nanos, NodeId};
use crate::wire::batch;
use bytes::Bytes;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most bytes that a record takes besides its key and value, and one header field (Kafka's `MAX_RECORD_OVERHEAD`).
const RECORD_OVERHEAD: usize = 21;

/// A record: timestamp in milliseconds, key, value.
pub type Record = (i64, Option<Bytes>, Option<Bytes>);

/// Records of one partition that are sent together.
#[derive(Clone, Debug)]
pub struct ProducerBatch {
    /// Ascending in order of creation.
    pub id: u64,
    /// In order.
    pub records: Vec<Record>,
    /// Upper bound of the encoded size.
    pub size: usize,
    /// The delivery timeout counts from here.
    pub created: Nanos,
    /// Times it was sent.
    pub attempts: u32,
    /// Not sent again before.
    pub retry_at: Nanos,
    /// Some attempt may have put it into a log. Once true, true for ever.
    pub maybe_appended: bool,
    /// Bytes of `buffer.memory` that it holds.
    pub memory: u64,
    /// The batch as it was sent; a retry sends the same bytes.
    encoded: Option<Bytes>,
}

impl ProducerBatch {
    /// The batch on the wire. No record joins it afterwards.
    pub fn encode(&mut self) -> Bytes {
        let records = &self.records;
        // The producer's id, epoch and sequence come with idempotence (KIP-98).
        let encoded = self.encoded.get_or_insert_with(|| batch::build(records, None, false));
        encoded.clone()
    }
}

/// The queue of one partition.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Topic.
    pub topic: String,
    /// The same, as messages want it.
    pub topic_name: TopicName,
    /// Partition.
    pub partition: i32,
    /// Front leaves first.
    pub batches: VecDeque<ProducerBatch>,
    /// Batches that were sent and are not settled.
    pub in_flight: u32,
    /// Leader as of this generation of the metadata.
    pub leader: (u64, Option<NodeId>),
}

/// All queues.
#[derive(Clone, Debug)]
pub struct Accumulator {
    settings: ProducerSettings,
    queues: Vec<Queue>,
    index: BTreeMap<String, BTreeMap<i32, usize>>,
    /// Queues that are not empty: only these are looked at in a step.
    active: BTreeSet<usize>,
    next_batch_id: u64,
    memory_used: u64,
    /// Batches with a smaller id do not linger.
    flush_before: u64,
}

impl Accumulator {
    /// Empty.
    pub fn new(settings: ProducerSettings) -> Accumulator {
        Accumulator {
            settings,
            queues: Vec::new(),
            index: BTreeMap::new(),
            active: BTreeSet::new(),
            next_batch_id: 0,
            memory_used: 0,
            flush_before: 0,
        }
    }

    /// Upper bound of the size of a batch with this one record.
    pub fn size_of(key: Option<&Bytes>, value: &Bytes) -> usize {
        batch::HEADER_LEN + record_size(key, value)
    }

    /// The queue of a partition.
    pub fn queue_of(&mut self, topic: &str, partition: i32) -> usize {
        if let Some(queue) = self.index.get(topic).and_then(|partitions| partitions.get(&partition)) {
            return *queue;
        }
        let queue = self.queues.len();
        self.queues.push(Queue {
            topic: topic.to_owned(),
            topic_name: TopicName(StrBytes::from_string(topic.to_owned())),
            partition,
            batches: VecDeque::new(),
            in_flight: 0,
            leader: (0, None),
        });
        self.index.entry(topic.to_owned()).or_default().insert(partition, queue);
        queue
    }

    /// Adds a record to the open batch of a queue, or to a new one. False if there is no memory for a new one.
    #[must_use]
    pub fn append(&mut self, queue: usize, record: Record, now: Nanos) -> bool {
        let (_, key, value) = &record;
        let size = key.as_ref().map_or(0, Bytes::len) + value.as_ref().map_or(0, Bytes::len) + RECORD_OVERHEAD;
        let limit = usize::try_from(self.settings.batch_size).unwrap_or(usize::MAX);
        let batches = &mut self.queues[queue].batches;
        if let Some(open) = batches.back_mut()
            && open.attempts == 0
            && open.encoded.is_none()
            && open.size + size <= limit
        {
            open.size += size;
            open.records.push(record);
            return true;
        }
        let size = batch::HEADER_LEN + size;
        let memory = size.max(limit) as u64;
        if self.memory_used + memory > u64::try_from(self.settings.buffer_memory).unwrap_or(0) {
            return false;
        }
        self.memory_used += memory;
        let id = self.next_batch_id;
        self.next_batch_id += 1;
        batches.push_back(ProducerBatch {
            id,
            records: vec![record],
            size,
            created: now,
            attempts: 0,
            retry_at: Nanos(0),
            maybe_appended: false,
            memory,
            encoded: None,
        });
        self.active.insert(queue);
        true
    }

    /// Everything appended so far stops lingering.
    pub fn flush(&mut self) {
        self.flush_before = self.next_batch_id;
    }

    /// A queue.
    pub fn queue(&self, queue: usize) -> &Queue {
        &self.queues[queue]
    }

    /// A queue.
    pub fn queue_mut(&mut self, queue: usize) -> &mut Queue {
        &mut self.queues[queue]
    }

    /// Queues with batches.
    pub fn active(&self) -> impl Iterator<Item = usize> + '_ {
        self.active.iter().copied()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Whether the front of a queue may be sent now. `exhausted`: somebody waits for memory, so nothing lingers.
    pub fn sendable(&self, queue: usize, exhausted: bool, now: Nanos) -> bool {
        let queue = &self.queues[queue];
        // Order can be promised only if nothing overtakes: with one request in flight a partition waits for its last.
        if self.settings.max_in_flight_requests_per_connection == 1 && queue.in_flight > 0 {
            return false;
        }
        let Some(front) = queue.batches.front() else {
            return false;
        };
        if front.attempts > 0 {
            return now >= front.retry_at;
        }
        queue.batches.len() > 1
            || front.size as i64 >= self.settings.batch_size
            || exhausted
            || front.id < self.flush_before
            || after_ms(front.created, self.settings.linger_ms) <= now
    }

    /// Takes the front of a queue; it counts as in flight until [`Accumulator::settled`] or [`Accumulator::put_back`].
    pub fn take(&mut self, queue: usize) -> ProducerBatch {
        let batch = self.pop(queue);
        self.queues[queue].in_flight += 1;
        batch
    }

    /// Takes the front of a queue if it is older than the delivery timeout.
    pub fn take_expired(&mut self, queue: usize, now: Nanos) -> Option<ProducerBatch> {
        let front = self.queues[queue].batches.front()?;
        if after_ms(front.created, self.settings.delivery_timeout_ms) > now {
            return None;
        }
        let batch = self.pop(queue);
        self.memory_used -= batch.memory;
        Some(batch)
    }

    /// The attempt is over and the batch with it.
    pub fn settled(&mut self, queue: usize, memory: u64) {
        let queue = &mut self.queues[queue];
        assert!(queue.in_flight > 0, "a batch is settled once for each time it is taken");
        queue.in_flight -= 1;
        self.release(memory);
    }

    /// The batch is over, its attempt is not: an answer may still come, and counts as settled without memory.
    pub fn release(&mut self, memory: u64) {
        assert!(self.memory_used >= memory, "memory is given back once");
        self.memory_used -= memory;
    }

    /// The attempt is over, the batch goes again, before everything that waits.
    pub fn put_back(&mut self, queue: usize, batch: ProducerBatch) {
        assert!(self.queues[queue].in_flight > 0, "only what was taken comes back");
        self.queues[queue].in_flight -= 1;
        self.queues[queue].batches.push_front(batch);
        self.active.insert(queue);
    }

    /// The attempt is over; the batch was too large for the broker and goes again in two halves.
    pub fn split(&mut self, queue: usize, mut batch: ProducerBatch) {
        assert!(batch.records.len() > 1, "one record cannot be split");
        let records = batch.records.split_off(batch.records.len() / 2);
        batch.encoded = None;
        let mut second = batch.clone();
        second.records = records;
        for half in [&mut batch, &mut second] {
            let sizes = half.records.iter().map(|(_, key, value)| {
                key.as_ref().map_or(0, Bytes::len) + value.as_ref().map_or(0, Bytes::len) + RECORD_OVERHEAD
            });
            half.size = batch::HEADER_LEN + sizes.sum::<usize>();
        }
        // The halves share the memory of the whole.
        second.memory = batch.memory / 2;
        batch.memory -= second.memory;
        second.id = self.next_batch_id;
        self.next_batch_id += 1;
        self.queues[queue].in_flight -= 1;
        self.queues[queue].batches.push_front(second);
        self.queues[queue].batches.push_front(batch);
        self.active.insert(queue);
    }

    /// Names the instants at which something is to be done here.
    pub fn alarms(&self, alarm: &mut Alarm) {
        for queue in &self.active {
            let Some(front) = self.queues[*queue].batches.front() else {
                continue;
            };
            alarm.at(after_ms(front.created, self.settings.delivery_timeout_ms));
            if front.attempts > 0 {
                alarm.at(front.retry_at);
            } else {
                alarm.at(after_ms(front.created, self.settings.linger_ms));
            }
        }
    }

    fn pop(&mut self, queue: usize) -> ProducerBatch {
        let batches = &mut self.queues[queue].batches;
        let batch = batches.pop_front().expect("the caller has looked at the front");
        if batches.is_empty() {
            self.active.remove(&queue);
        }
        batch
    }
}

fn record_size(key: Option<&Bytes>, value: &Bytes) -> usize {
    key.map_or(0, Bytes::len) + value.len() + RECORD_OVERHEAD
}
