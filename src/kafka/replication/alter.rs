//! The queue of ISR changes to the controller: AlterPartition, one request in flight, all that waits in one.
//!
//! Guarantees: what was proposed is asked for until it is answered, settled or overtaken; an answer to a request that
//! was given up is ignored. It does not decide what an answer means: that is `isr`.
//!
//! Sources: KIP-497, Kafka's AlterPartitionManager.

use super::cluster::Cluster;
use super::codes;
use super::isr::{AlterAnswer, Outcome, Proposal};
use super::manager::ReplicaManager;
use super::partition::Partition;
use crate::disk::Disk;
use crate::log::LogError;
use crate::machine::{Call, CallResult, Channel, Outbox};
use crate::types::{LeaderEpoch, Nanos, NodeId, Now, PartitionEpoch, TopicPartition};
use crate::wire::ids::node_ids;
use kafka_protocol::messages::alter_partition_request::{AlterPartitionRequest, BrokerState, PartitionData, TopicData};
use kafka_protocol::messages::{BrokerId, RequestKind, ResponseKind};
use std::collections::{BTreeMap, BTreeSet};

/// Tags of our calls on [`Channel::Controller`] are from here on; other parts of a broker use smaller ones.
pub const FIRST_ALTER_TAG: u64 = 1 << 62;
/// After an error of the whole request, and before a refused change is asked for again, in ms.
const RETRY_MS: u64 = 50;
/// A request without answer for this long is sent again, in ms.
const TIMEOUT_MS: u64 = 30_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct InFlight {
    tag: u64,
    items: Vec<(TopicPartition, u64)>,
}

/// What waits for the controller, and what is on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AlterPartitionQueue {
    controller: Option<NodeId>,
    unsent: BTreeSet<TopicPartition>,
    in_flight: Option<InFlight>,
    /// Nothing is sent before.
    not_before: Option<Nanos>,
    issued: u64,
    proposals: u64,
}

impl AlterPartitionQueue {
    /// A number for a new proposal.
    pub fn next_number(&mut self) -> u64 {
        self.proposals += 1;
        self.proposals
    }

    /// A partition has a new proposal.
    pub fn submit(&mut self, id: TopicPartition) {
        self.unsent.insert(id);
    }

    /// Another controller: what the old one was asked for is asked again. Whether it acted is for the partition
    /// epoch to tell.
    pub fn set_controller(&mut self, controller: Option<NodeId>) {
        if controller == self.controller {
            return;
        }
        self.controller = controller;
        self.give_up();
        self.not_before = None;
    }

    fn give_up(&mut self) {
        if let Some(in_flight) = self.in_flight.take() {
            self.unsent.extend(in_flight.items.iter().map(|(id, _)| *id));
        }
    }

    /// Numbers proposals, those of `partitions` included, and requests from the beginning.
    pub fn forget_age(&mut self, partitions: &mut BTreeMap<TopicPartition, Partition>, anew: Nanos) {
        self.proposals = 0;
        for (id, partition) in partitions {
            let open = partition.proposal_mut();
            let number = open.as_ref().map(|proposal| proposal.number);
            for (asked, item) in self.in_flight.iter_mut().flat_map(|in_flight| &mut in_flight.items) {
                if asked == id {
                    // 0: overtaken.
                    *item = if number == Some(*item) { self.proposals + 1 } else { 0 };
                }
            }
            if let Some(proposal) = open {
                self.proposals += 1;
                proposal.number = self.proposals;
            }
        }
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.tag = FIRST_ALTER_TAG;
        }
        self.issued = u64::from(self.in_flight.is_some());
        self.not_before = self.not_before.map(|_| anew.plus_ms(RETRY_MS));
    }

    /// The tag of the request that waits for its answer.
    pub fn open_tag(&self) -> Option<u64> {
        self.in_flight.as_ref().map(|in_flight| in_flight.tag)
    }

    /// When to send, if something waits for that.
    pub fn next_deadline(&self) -> Option<Nanos> {
        let idle = self.controller.is_some() && self.in_flight.is_none() && !self.unsent.is_empty();
        idle.then(|| self.not_before.unwrap_or_default())
    }

    /// Sends all that waits, unless a request is in flight.
    pub fn send(
        &mut self,
        partitions: &BTreeMap<TopicPartition, Partition>,
        cluster: &Cluster,
        now: Nanos,
        out: &mut Outbox,
    ) {
        let (Some(to), Some(my_epoch)) = (self.controller, cluster.my_epoch) else {
            return;
        };
        if self.unsent.is_empty() || self.in_flight.is_some() || self.not_before.is_some_and(|at| now < at) {
            return;
        }
        self.not_before = None;
        let mut items = Vec::with_capacity(self.unsent.len());
        let mut topics: Vec<TopicData> = Vec::new();
        for id in std::mem::take(&mut self.unsent) {
            let leadership = partitions.get(&id).and_then(Partition::leadership);
            let Some(proposal) = leadership.and_then(|leadership| leadership.proposal.as_ref()) else {
                continue;
            };
            items.push((id, proposal.number));
            let data = encode(id, proposal);
            match topics.last_mut().filter(|topic| topic.topic_id == id.topic) {
                Some(topic) => topic.partitions.push(data),
                None => topics.push(TopicData::default().with_topic_id(id.topic).with_partitions(vec![data])),
            }
        }
        if items.is_empty() {
            return;
        }
        let request = AlterPartitionRequest::default()
            .with_broker_id(BrokerId(cluster.me.0))
            .with_broker_epoch(my_epoch.0)
            .with_topics(topics);
        let tag = FIRST_ALTER_TAG + self.issued;
        self.issued += 1;
        self.in_flight = Some(InFlight { tag, items });
        let request = RequestKind::AlterPartition(request);
        out.call(Call {
            to,
            channel: Channel::Controller,
            tag,
            request,
            timeout_ms: TIMEOUT_MS,
        });
    }
}

fn encode(id: TopicPartition, proposal: &Proposal) -> PartitionData {
    let broker = |(id, epoch): (&NodeId, &crate::types::BrokerEpoch)| {
        BrokerState::default()
            .with_broker_id(BrokerId(id.0))
            .with_broker_epoch(epoch.0)
    };
    PartitionData::default()
        .with_partition_index(id.partition)
        .with_leader_epoch(proposal.leader_epoch.0)
        .with_partition_epoch(proposal.partition_epoch.0)
        .with_new_isr_with_epochs(proposal.isr.iter().zip(&proposal.epochs).map(broker).collect())
}

impl ReplicaManager {
    /// The controller answered, or nobody did.
    pub fn on_alter_partition_response(
        &mut self,
        tag: u64,
        result: CallResult,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        if self
            .alter
            .in_flight
            .as_ref()
            .is_none_or(|in_flight| in_flight.tag != tag)
        {
            return Ok(());
        }
        let answered = match result {
            Ok(ResponseKind::AlterPartition(response)) if response.error_code == codes::NONE => Some(response),
            _ => None,
        };
        let Some(response) = answered else {
            self.alter.give_up();
            self.alter.not_before = Some(now.mono.plus_ms(RETRY_MS));
            return self.end_step(now, disk, out);
        };
        let mut answers = BTreeMap::new();
        for topic in response.topics {
            for data in topic.partitions {
                let id = TopicPartition {
                    topic: topic.topic_id,
                    partition: data.partition_index,
                };
                let answer = AlterAnswer {
                    error_code: data.error_code,
                    leader_epoch: LeaderEpoch(data.leader_epoch),
                    partition_epoch: PartitionEpoch(data.partition_epoch),
                    isr: node_ids(&data.isr),
                };
                answers.insert(id, answer);
            }
        }
        let items = self
            .alter
            .in_flight
            .take()
            .map(|in_flight| in_flight.items)
            .unwrap_or_default();
        for (id, number) in items {
            let Some(partition) = self.partitions.get_mut(&id) else {
                continue;
            };
            // A partition that the answer forgot is asked for again.
            let outcome = match answers.get(&id) {
                Some(answer) => partition.on_alter_answer(number, answer, out),
                None => Outcome::Retry,
            };
            match outcome {
                Outcome::Settled => {
                    self.moves_on(id, now, disk, out)?;
                }
                Outcome::Resting => {}
                Outcome::Retry => {
                    self.alter.submit(id);
                    self.alter.not_before = Some(now.mono.plus_ms(RETRY_MS));
                }
            }
        }
        self.end_step(now, disk, out)
    }

    /// Looks for followers that have lagged for too long.
    pub(super) fn shrink_isrs(&mut self, now: Now, out: &mut Outbox) {
        for (id, partition) in &mut self.partitions {
            if !partition.is_leader() {
                continue;
            }
            let number = self.alter.next_number();
            if partition.maybe_shrink_isr(number, &self.cluster, now.mono, out) {
                self.alter.submit(*id);
            }
        }
    }
}
