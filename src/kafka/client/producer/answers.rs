//! What becomes of a request that was sent: each of its batches is acknowledged, tried again, split, or has failed.
//!
//! Guarantees: a batch is tried again only where that neither duplicates nor reorders what an idempotent producer has
//! written; a failure is definite only if no attempt can have reached a log.
//!
//! Sources: Kafka 4.1 `Sender.completeBatch`, `TransactionManager.canRetry`; KIP-360, KIP-951.

use super::accumulator::ProducerBatch;
use super::{Producer, fail, fate, stale_metadata};
use crate::client::backoff::{after_ms, delay_ms};
use crate::client::network::{Outcome, listener_of};
use crate::machine::Outbox;
use crate::note::{ClientNote, Note};
use crate::types::{LeaderEpoch, NodeId, Now, Offset};
use crate::wire::ErrorCode;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ProduceResponse, ResponseKind};

impl Producer {
    pub(super) fn answered(&mut self, outcome: Outcome, now: Now, out: &mut Outbox) {
        let settings = &self.config.settings;
        let (tag, response) = (outcome.tag, outcome.response.as_ref());
        if (self.identity).answered(tag, response, settings, now, &mut self.entropy) {
            return;
        }
        let batches = self
            .in_flight
            .remove(&outcome.tag)
            .expect("a request ends once, and only produce requests are sent from here");
        let answer = match outcome.response {
            Some(ResponseKind::Produce(answer)) => Some(answer),
            _ => None,
        };
        for sent in batches {
            let queue = self.accumulator.queue(sent.queue);
            let partition = answer
                .as_ref()
                .and_then(|answer| partition_of(answer, &queue.topic, queue.partition));
            // An answer that leaves a batch out says nothing of it: as good as none.
            let (error, base_offset) = partition.map_or((ErrorCode::NETWORK_EXCEPTION, -1), |partition| {
                (ErrorCode(partition.error_code), partition.base_offset)
            });
            if let (Some(answer), Some(partition)) = (&answer, partition) {
                self.learn(sent.queue, answer, partition, now, out);
            }
            self.accumulator.ended(sent.queue, sent.place);
            match sent.batch {
                Some(batch) => self.complete(sent.queue, batch, error, base_offset, now, out),
                // What its user was told stays, but what comes behind it may go on.
                None => {
                    if let Some(place) = sent.place.filter(|_| error.is_none()) {
                        self.accumulator.queue_mut(sent.queue).sequences.acked(place);
                    }
                }
            }
            self.resolve(sent.queue, out);
        }
    }

    /// One attempt of a batch is over.
    fn complete(
        &mut self,
        queue: usize,
        mut batch: ProducerBatch,
        error: ErrorCode,
        base_offset: Offset,
        now: Now,
        out: &mut Outbox,
    ) {
        // A broker that remembers that it has it, and not where (Kafka before 1.0).
        let is_known = error == ErrorCode::DUPLICATE_SEQUENCE_NUMBER && batch.place.is_some();
        if error.is_none() || is_known {
            self.accumulator.release(batch.memory);
            if let Some(place) = batch.place {
                let sequences = &mut self.accumulator.queue_mut(queue).sequences;
                sequences.acked(place);
            }
            self.ack_batch(queue, batch, Some(base_offset), out);
            return;
        }
        let is_gap = [ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode::UNKNOWN_PRODUCER_ID].contains(&error);
        if let Some(place) = batch.place
            && is_gap
            && !self.accumulator.is_behind_another(queue, place)
            && !batch.maybe_appended
        {
            // Nothing of ours can fill the gap before it. It is certainly in no log, so it may go on in a new epoch.
            self.accumulator.queue_mut(queue).sequences.failed(place, true);
            self.retry(queue, batch, now);
            return;
        }
        let settings = &self.config.settings;
        batch.maybe_appended |= !fate::nothing_appended(error, settings.acks);
        if stale_metadata(error) {
            self.network.metadata.request_update();
        }
        let expired = after_ms(batch.created, settings.delivery_timeout_ms) <= now.mono;
        let retries_left = i64::from(batch.attempts) <= settings.retries;
        // A part of what may be in a log would not be known again.
        let splits = batch.records.len() > 1 && (batch.place.is_none() || !batch.maybe_appended);
        let waits = is_gap && (batch.place).is_some_and(|place| self.accumulator.is_behind_another(queue, place));
        if error == ErrorCode::MESSAGE_TOO_LARGE && splits && !expired {
            self.accumulator.split(queue, batch);
        } else if (error.retriable() || waits) && retries_left && !expired {
            self.retry(queue, batch, now);
        } else {
            self.accumulator.release(batch.memory);
            // A lost connection is the client's own finding, not a broker's answer.
            let told = if error == ErrorCode::NETWORK_EXCEPTION {
                ErrorCode::NONE
            } else {
                error
            };
            self.fail_batch(queue, batch, told, out);
        }
    }

    fn retry(&mut self, queue: usize, mut batch: ProducerBatch, now: Now) {
        let settings = &self.config.settings;
        let (first, longest) = (settings.retry_backoff_ms, settings.retry_backoff_max_ms);
        let delay = delay_ms(first, longest, batch.attempts, &mut self.entropy);
        batch.retry_at = now.mono.plus_ms(delay);
        self.accumulator.put_back(queue, batch);
    }

    fn learn(
        &mut self,
        queue: usize,
        answer: &ProduceResponse,
        partition: &PartitionProduceResponse,
        now: Now,
        out: &mut Outbox,
    ) {
        let leader = NodeId(*partition.current_leader.leader_id);
        let epoch = LeaderEpoch(partition.current_leader.leader_epoch);
        if leader.0 >= 0 && epoch.0 >= 0 {
            let nodes = answer.node_endpoints.iter();
            let listener = listener_of(leader, nodes, |node| (*node.node_id, &node.host, node.port));
            let queue = self.accumulator.queue(queue);
            let partition = (queue.topic.as_str(), queue.partition);
            self.network
                .learn_leader(partition, (leader, epoch), listener, now, out);
        }
    }

    pub(super) fn ack_batch(&self, queue: usize, batch: ProducerBatch, base_offset: Option<Offset>, out: &mut Outbox) {
        let queue = self.accumulator.queue(queue);
        for ((_, _, value), index) in batch.records.into_iter().zip(0..) {
            out.note(Note::Client(ClientNote::SendAcked {
                topic: queue.topic.clone(),
                partition: queue.partition,
                value: value.unwrap_or_default(),
                offset: base_offset.filter(|base| *base >= 0).map(|base| base + index),
            }));
        }
    }

    /// A batch that was sent leaves a hole, or nobody knows whether it does.
    pub(super) fn fail_batch(&mut self, queue: usize, batch: ProducerBatch, error: ErrorCode, out: &mut Outbox) {
        if let Some(place) = batch.place {
            let sequences = &mut self.accumulator.queue_mut(queue).sequences;
            sequences.failed(place, !batch.maybe_appended);
        }
        self.tell_failure(queue, batch, error, out);
    }

    pub(super) fn tell_failure(&self, queue: usize, batch: ProducerBatch, error: ErrorCode, out: &mut Outbox) {
        let queue = self.accumulator.queue(queue);
        let definite = !batch.maybe_appended;
        for (_, _, value) in batch.records {
            fail(
                &queue.topic,
                queue.partition,
                value.unwrap_or_default(),
                definite,
                error,
                out,
            );
        }
    }
}

fn partition_of<'a>(answer: &'a ProduceResponse, topic: &str, partition: i32) -> Option<&'a PartitionProduceResponse> {
    let topic = answer
        .responses
        .iter()
        .find(|response| response.name.as_str() == topic)?;
    topic
        .partition_responses
        .iter()
        .find(|response| response.index == partition)
}
