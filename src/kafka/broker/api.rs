//! Who answers which request: the one place where a request meets its handler.

use super::{Broker, active::Active, configs, describe_topics, listener::Incoming, metadata, refusal, topics};
use crate::disk::Disk;
use crate::log::LogError;
use crate::machine::{Call, CallResult, Channel, Outbox};
use crate::types::{ConnId, METADATA_TOPIC_ID, Now, RequestId};
use kafka_protocol::messages::{FetchRequest, RequestKind, TopicName};

/// How long a request that was passed on to the controller may take.
const FORWARD_TIMEOUT_MS: u64 = 30_000;

/// A request that was passed on to the controller.
#[derive(Clone, Debug)]
pub(super) struct Forwarded {
    id: RequestId,
    /// What its client will look for.
    expected: Vec<(TopicName, i32)>,
}

fn is_metadata_fetch(request: &FetchRequest) -> bool {
    request
        .topics
        .first()
        .is_some_and(|topic| topic.topic_id == METADATA_TOPIC_ID)
}

impl Broker {
    /// Handles one request, now or, if this broker is about to lead what it is for, in a moment.
    pub(super) fn take_up(
        &mut self,
        incoming: Incoming,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Option<ConnId>, LogError> {
        let now_or_never = match &self.serving {
            Some(serving) => self.held.hold(incoming, &serving.replicas, &self.image, now),
            None => Some(incoming),
        };
        match now_or_never {
            Some(incoming) => self.handle(incoming, now, disk, out),
            None => Ok(None),
        }
    }

    /// Handles one request. Gives its connection back if the request has no answer at all.
    pub(super) fn handle(
        &mut self,
        incoming: Incoming,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Option<ConnId>, LogError> {
        let Incoming { id, version, body } = incoming;
        match body {
            RequestKind::ApiVersions(request) => out.reply(id, metadata::api_versions(&request, version)),
            RequestKind::Metadata(request) => {
                let controller = self.passes_on();
                out.reply(
                    id,
                    metadata::metadata(&request, version, &self.image, &self.config.cluster_id, controller),
                );
                self.create_missing(&request, now, disk, out)?;
            }
            RequestKind::DescribeCluster(request) => {
                let controller = self.passes_on();
                out.reply(
                    id,
                    metadata::describe_cluster(&request, &self.image, &self.config.cluster_id, controller),
                );
            }
            RequestKind::DescribeTopicPartitions(request) => {
                let limit = self.config.settings.max_request_partition_size_limit;
                out.reply(id, describe_topics::describe(&request, &self.image, limit as usize));
            }
            RequestKind::DescribeConfigs(request) => {
                out.reply(id, configs::describe(&request, &self.image, &self.config));
            }
            RequestKind::Fetch(ref request) if is_metadata_fetch(request) => {
                self.quorum.handle(id, &body, now, disk, out)?
            }
            RequestKind::Vote(_)
            | RequestKind::BeginQuorumEpoch(_)
            | RequestKind::EndQuorumEpoch(_)
            | RequestKind::FetchSnapshot(_)
            | RequestKind::DescribeQuorum(_) => self.quorum.handle(id, &body, now, disk, out)?,
            RequestKind::Produce(_)
            | RequestKind::Fetch(_)
            | RequestKind::ListOffsets(_)
            | RequestKind::OffsetForLeaderEpoch(_)
            | RequestKind::InitProducerId(_)
            | RequestKind::DeleteRecords(_) => return self.handle_data(id, version, &body, now, disk, out),
            RequestKind::BrokerRegistration(_)
            | RequestKind::BrokerHeartbeat(_)
            | RequestKind::AlterPartition(_)
            | RequestKind::AllocateProducerIds(_) => {
                self.decide(id, &body, now, disk, out)?;
            }
            RequestKind::CreateTopics(_)
            | RequestKind::DeleteTopics(_)
            | RequestKind::CreatePartitions(_)
            | RequestKind::ElectLeaders(_)
            | RequestKind::AlterConfigs(_)
            | RequestKind::AlterPartitionReassignments(_)
            | RequestKind::ListPartitionReassignments(_)
            | RequestKind::IncrementalAlterConfigs(_) => self.decide_or_forward(id, version, body, now, disk, out)?,
            // The API table lets nothing else through.
            _ => self.listener.hang_up(id, &mut out.outputs),
        }
        Ok(None)
    }

    /// Produce, fetch, offsets and producers' ids belong to the part that is a broker.
    fn handle_data(
        &mut self,
        id: RequestId,
        version: i16,
        body: &RequestKind,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Option<ConnId>, LogError> {
        let Some(serving) = &mut self.serving else {
            self.listener.hang_up(id, &mut out.outputs);
            return Ok(None);
        };
        let (replicas, image) = (&mut serving.replicas, &self.image);
        match body {
            RequestKind::Produce(request) => {
                replicas.produce(id, request, version, image, now, disk, out)?;
                if request.acks == 0 {
                    return Ok(self.listener.forget(id));
                }
            }
            RequestKind::Fetch(request) => replicas.fetch(id, request, version, image, now, disk, out)?,
            RequestKind::ListOffsets(request) => replicas.list_offsets(id, request, version, image, now, disk, out)?,
            RequestKind::OffsetForLeaderEpoch(request) => {
                replicas.offset_for_leader_epoch(id, request, image, now, disk, out)?
            }
            RequestKind::DeleteRecords(request) => replicas.delete_records(id, request, image, now, disk, out)?,
            RequestKind::InitProducerId(request) => {
                let (quorum, lifecycle) = (&self.quorum, &serving.lifecycle);
                let controller = quorum.leader().zip(lifecycle.epoch());
                let ids = &mut serving.producer_ids;
                let response = ids.init(request, self.config.node_id, controller, now, out);
                out.reply(id, response);
            }
            _ => unreachable!("called for these six"),
        }
        Ok(None)
    }

    /// The broker to name as "controller" to clients: one that passes on what the controller decides. This one does.
    fn passes_on(&self) -> Option<crate::NodeId> {
        let own = self.config.node_id;
        let lives = |id: &crate::NodeId| self.image.brokers.get(id).is_some_and(|broker| !broker.fenced);
        Some(own)
            .filter(lives)
            .or_else(|| self.image.brokers.keys().copied().find(lives))
    }

    /// The active controller decides; any other node says that it is not the one.
    fn decide(
        &mut self,
        id: RequestId,
        request: &RequestKind,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        if let Some(active) = &mut self.active {
            if active.handle(id, None, request, &mut self.quorum, now, disk, out)? {
                return Ok(());
            }
            self.deactivate(out);
        }
        self.refuse(id, request, out);
        Ok(())
    }

    fn refuse(&mut self, id: RequestId, request: &RequestKind, out: &mut Outbox) {
        match refusal::not_controller(request) {
            Some(response) => out.reply(id, response),
            None => self.hang_up(id, out),
        }
    }

    /// As [`Broker::decide`], but a broker passes the request on for its client (KIP-590).
    pub(super) fn decide_or_forward(
        &mut self,
        id: RequestId,
        version: i16,
        request: RequestKind,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        match self.quorum.leader() {
            Some(leader) if leader != self.config.node_id && self.serving.is_some() => {
                self.next_forward += 1;
                let expected = topics::expected(&request);
                self.forwarded.insert(self.next_forward, Forwarded { id, expected });
                let call = Call {
                    to: leader,
                    channel: Channel::Forward,
                    tag: self.next_forward,
                    request,
                    timeout_ms: FORWARD_TIMEOUT_MS,
                };
                // In the client's version, so that the answer has just the fields that the client can read.
                self.call(call, Some(version), now, out);
                Ok(())
            }
            _ => self.decide(id, &request, now, disk, out),
        }
    }

    /// The controller's answer to a request that was passed on. Without one, nobody knows what became of it.
    pub(super) fn on_forwarded(&mut self, tag: u64, result: CallResult, now: Now, out: &mut Outbox) {
        let Some(Forwarded { id, expected }) = self.forwarded.remove(&tag) else {
            return;
        };
        match result {
            Ok(response) => self.topics.answer(id, response, expected, &self.image, now, out),
            Err(_) => self.hang_up(id, out),
        }
    }

    /// Nobody knows what became of this request: the honest answer is a closed connection.
    fn hang_up(&mut self, id: RequestId, out: &mut Outbox) {
        self.topics.finished(id);
        self.listener.hang_up(id, &mut out.outputs);
    }

    /// This node is no longer the active controller.
    pub(super) fn deactivate(&mut self, out: &mut Outbox) {
        if let Some(active) = self.active.take() {
            for id in active.deactivate(out) {
                self.hang_up(id, out);
            }
        }
    }

    /// Takes office, or leaves it, as the quorum says. A leader is active once it has applied everything that was
    /// committed up to and including the first record of its own epoch.
    pub(super) fn follow_leadership(&mut self, now: Now, out: &mut Outbox) -> Result<(), LogError> {
        let epoch = self.quorum.epoch();
        let leads = self.quorum.is_leader();
        if self
            .active
            .as_ref()
            .is_some_and(|active| !leads || active.epoch() != epoch)
        {
            self.deactivate(out);
        }
        if leads
            && self.active.is_none()
            && self
                .quorum
                .epoch_start_offset()
                .is_some_and(|start| self.image.offset > start)
        {
            let entropy = crate::Entropy(self.entropy.next_u64());
            self.active = Some(Active::activate(&self.config, &self.image, entropy, epoch, now, out)?);
        }
        Ok(())
    }
}
