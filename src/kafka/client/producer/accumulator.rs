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

use super::sequences::{Identity, Place, Sequences};
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
    /// Of an idempotent producer's batch, from the first time it is sent on.
    pub place: Option<Place>,
    /// The batch as it was sent; a retry sends the same bytes.
    encoded: Option<Bytes>,
}

impl ProducerBatch {
    /// The batch on the wire. No record joins it afterwards.
    pub fn encode(&mut self) -> Bytes {
        let records = &self.records;
        let place = self.place;
        let producer = place.map(|place| (place.identity.0, place.identity.1, place.sequence));
        let encoded = self
            .encoded
            .get_or_insert_with(|| batch::build(records, producer, false));
        encoded.clone()
    }

    /// Takes its place away: it will be sent in a new epoch.
    fn displace(&mut self) {
        assert!(
            !self.maybe_appended,
            "what may be in a log is not written a second time"
        );
        self.place = None;
        self.encoded = None;
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
    /// Of an idempotent producer.
    pub sequences: Sequences,
}

impl Queue {
    /// Batches that were sent before and wait to be sent again. They stand in front, in order.
    fn placed(&self) -> usize {
        self.batches.iter().take_while(|batch| batch.place.is_some()).count()
    }
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
            sequences: Sequences::default(),
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
            place: None,
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
    /// `identity`: none if an idempotent producer has none yet.
    pub fn sendable(&self, queue: usize, exhausted: bool, identity: Option<Identity>, now: Nanos) -> bool {
        let queue = &self.queues[queue];
        // Order can be promised only if nothing overtakes: with one request in flight a partition waits for its last.
        if self.settings.max_in_flight_requests_per_connection == 1 && queue.in_flight > 0 {
            return false;
        }
        let Some(front) = queue.batches.front() else {
            return false;
        };
        if self.settings.enable_idempotence == 1 && !queue.sequences.allow(front.place, queue.placed(), identity) {
            return false;
        }
        if front.attempts > 0 {
            return now >= front.retry_at;
        }
        queue.batches.len() > 1
            || front.size as i64 >= self.settings.batch_size
            || exhausted
            || front.id < self.flush_before
            || after_ms(front.created, self.settings.linger_ms) <= now
    }

    /// Takes the front of a queue; it counts as in flight until [`Accumulator::ended`]. An idempotent producer's gets its
    /// place in the partition, if it has none yet.
    pub fn take(&mut self, queue: usize, identity: Option<Identity>) -> ProducerBatch {
        let mut batch = self.pop(queue);
        let queue = &mut self.queues[queue];
        queue.in_flight += 1;
        if let Some(identity) = identity {
            batch.place = Some(queue.sequences.send(batch.place, batch.records.len(), identity));
        }
        batch
    }

    /// A request of a batch is over.
    pub fn ended(&mut self, queue: usize, place: Option<Place>) {
        let queue = &mut self.queues[queue];
        assert!(queue.in_flight > 0, "a batch ends once for each time it is taken");
        queue.in_flight -= 1;
        if let Some(place) = place {
            queue.sequences.ended(place);
        }
    }

    /// Whether an earlier batch of its partition is not settled.
    pub fn is_behind_another(&self, queue: usize, place: Place) -> bool {
        let queue = &self.queues[queue];
        let front = queue.batches.front().and_then(|front| front.place);
        queue.sequences.is_behind_another(place) || front.is_some_and(|front| front.order < place.order)
    }

    /// Where a batch is missing and nothing is under way any more: what was sent before, and is certainly in no log,
    /// will be sent in a new epoch. Gives the epoch that is over, and what may be in a log: that is not sent again.
    pub fn resolve(&mut self, queue: usize) -> Option<(Identity, Vec<ProducerBatch>)> {
        let placed = self.queues[queue].placed();
        let identity = self.queues[queue].sequences.resolve(placed)?;
        let mut doubtful = Vec::new();
        let (mut kept, rest) = (VecDeque::new(), self.queues[queue].batches.split_off(placed));
        for mut batch in std::mem::replace(&mut self.queues[queue].batches, rest) {
            if batch.maybe_appended {
                self.release(batch.memory);
                doubtful.push(batch);
            } else {
                batch.displace();
                kept.push_back(batch);
            }
        }
        let batches = &mut self.queues[queue].batches;
        kept.append(batches);
        *batches = kept;
        if batches.is_empty() {
            self.active.remove(&queue);
        }
        Some((identity, doubtful))
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

    /// The batch is over.
    pub fn release(&mut self, memory: u64) {
        assert!(self.memory_used >= memory, "memory is given back once");
        self.memory_used -= memory;
    }

    /// The batch goes again, before everything that waits but for earlier ones with a place.
    pub fn put_back(&mut self, queue: usize, batch: ProducerBatch) {
        let batches = &mut self.queues[queue].batches;
        let earlier = |other: &ProducerBatch| other.place.zip(batch.place).is_some_and(|(a, b)| a.order < b.order);
        let at = batches.iter().take_while(|other| earlier(other)).count();
        batches.insert(at, batch);
        self.active.insert(queue);
    }

    /// The batch was too large for the broker and goes again in two halves.
    pub fn split(&mut self, queue: usize, mut batch: ProducerBatch) {
        assert!(batch.records.len() > 1, "one record cannot be split");
        let records = batch.records.split_off(batch.records.len() / 2);
        batch.encoded = None;
        let mut second = batch.clone();
        let places = batch.place.map(|place| place.split(batch.records.len()));
        (batch.place, second.place) = (places.map(|places| places.0), places.map(|places| places.1));
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
        self.put_back(queue, second);
        self.put_back(queue, batch);
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
