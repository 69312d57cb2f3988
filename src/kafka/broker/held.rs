//! Clients' requests to a leader that is about to lead: they wait for it instead of being sent away.
//!
//! A broker leads a new partition once the partition's own file is durable, a moment after its Metadata has named it
//! as the leader. Kafka's does not make that difference, and clients complain of it on every new topic.
//!
//! Guarantees: a request is held for [`HOLD_MS`] at most, and then answered as it is; requests of one connection stay in
//! their order, since its next one is read after the answer.
//! Does not know: followers' fetches, which are never held.

use super::listener::Incoming;
use crate::metadata::MetadataImage;
use crate::replication::ReplicaManager;
use crate::types::{Nanos, Now, TopicPartition};
use kafka_protocol::messages::RequestKind;

/// Longest wait: a sync of a small file takes milliseconds.
const HOLD_MS: u64 = 1_000;

/// Requests that wait, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    waiting: Vec<(Nanos, Incoming)>,
}

impl Held {
    /// Takes the request if one of its partitions will be led here in a moment; else gives it back.
    pub fn hold(
        &mut self,
        incoming: Incoming,
        replicas: &ReplicaManager,
        image: &MetadataImage,
        now: Now,
    ) -> Option<Incoming> {
        if !replicas.expects_to_lead() || !is_early(&incoming.body, replicas, image) {
            return Some(incoming);
        }
        self.waiting.push((now.mono.plus_ms(HOLD_MS), incoming));
        None
    }

    /// Requests whose wait is over.
    pub fn release(&mut self, replicas: &ReplicaManager, image: &MetadataImage, now: Now) -> Vec<Incoming> {
        let is_over =
            |(until, held): &mut (Nanos, Incoming)| *until <= now.mono || !is_early(&held.body, replicas, image);
        self.waiting.extract_if(.., is_over).map(|(_, held)| held).collect()
    }

    /// When a wait is over at the latest.
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.waiting.first().map(|(until, _)| *until)
    }
}

fn is_early(body: &RequestKind, replicas: &ReplicaManager, image: &MetadataImage) -> bool {
    let of = |name: &str, partition: i32| {
        let topic = image.topic_ids.get(name).copied();
        topic.is_some_and(|topic| replicas.will_lead(TopicPartition { topic, partition }))
    };
    match body {
        RequestKind::Produce(request) => request.topic_data.iter().any(|topic| {
            let mut partitions = topic.partition_data.iter();
            partitions.any(|partition| of(&topic.name, partition.index))
        }),
        RequestKind::ListOffsets(request) => request.topics.iter().any(|topic| {
            let mut partitions = topic.partitions.iter();
            partitions.any(|partition| of(&topic.name, partition.partition_index))
        }),
        RequestKind::Fetch(request) if request.replica_id.0 < 0 && request.replica_state.replica_id.0 < 0 => {
            request.topics.iter().any(|topic| {
                let by_id = |partition| {
                    let topic = topic.topic_id;
                    replicas.will_lead(TopicPartition { topic, partition })
                };
                let is_early = |index| {
                    if topic.topic_id.is_nil() {
                        of(&topic.topic, index)
                    } else {
                        by_id(index)
                    }
                };
                topic.partitions.iter().any(|partition| is_early(partition.partition))
            })
        }
        _ => false,
    }
}
