//! What a node shows of itself: plain values for viewers and tests, no way back into the machine.

use super::{Broker, Phase};
use crate::disk::Disk;
use crate::log::LogError;
use crate::types::{BrokerEpoch, ConnId, LeaderEpoch, NodeId, Offset, TopicPartition, Uuid};
use bytes::Bytes;

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionSnapshot {
    /// Its partition.
    pub partition: TopicPartition,
    /// Topic name as the image has it; empty if it has gone.
    pub topic: String,
    /// Whether it leads.
    pub leads: bool,
    /// As last heard.
    pub leader_epoch: LeaderEpoch,
    /// First offset.
    pub log_start_offset: Offset,
    /// Exclusive.
    pub high_watermark: Offset,
    /// Exclusive.
    pub log_end_offset: Offset,
    /// Durable up to here.
    pub recovery_point: Offset,
    /// All that are assigned, as this replica knows it.
    pub replicas: Vec<NodeId>,
    /// As this replica knows it.
    pub isr: Vec<NodeId>,
    /// The epoch cache: first offset of each epoch.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id.
    pub node_id: NodeId,
    /// Where its broker stands; none for a controller alone.
    pub phase: Option<Phase>,
    /// The incarnation's epoch.
    pub broker_epoch: Option<BrokerEpoch>,
    /// Leader of the quorum as this node knows it.
    pub quorum_leader: Option<NodeId>,
    /// Epoch of the quorum.
    pub quorum_epoch: LeaderEpoch,
    /// Where it stands in the quorum (see [`Quorum::current_state`](crate::quorum::Quorum::current_state)).
    pub quorum_state: &'static str,
    /// Whether it is the active controller.
    pub active_controller: bool,
    /// Metadata committed, as far as it knows.
    pub metadata_high_watermark: Option<Offset>,
    /// Metadata applied.
    pub metadata_applied: Offset,
    /// Its replicas.
    pub partitions: Vec<PartitionSnapshot>,
}

impl Broker {
    /// Everything about the node at once.
    pub fn snapshot(&self) -> Snapshot {
        let replicas = self.serving.iter().flat_map(|serving| serving.replicas.partitions());
        let partitions = replicas.map(|replica| PartitionSnapshot {
            partition: replica.id(),
            topic: self
                .image
                .topics
                .get(&replica.id().topic)
                .map(|topic| topic.name.clone())
                .unwrap_or_default(),
            leads: replica.is_leader(),
            leader_epoch: replica.leader_epoch(),
            log_start_offset: replica.log().log_start_offset(),
            high_watermark: replica.high_watermark(),
            log_end_offset: replica.log().log_end_offset(),
            recovery_point: replica.log().recovery_point(),
            replicas: replica.state().replicas.clone(),
            isr: replica.isr().to_vec(),
            epochs: replica.log().epochs().to_vec(),
        });
        Snapshot {
            node_id: self.config.node_id,
            phase: self.serving.as_ref().map(|serving| serving.lifecycle.phase()),
            broker_epoch: self.serving.as_ref().and_then(|serving| serving.lifecycle.epoch()),
            quorum_leader: self.quorum.leader(),
            quorum_epoch: self.quorum.epoch(),
            quorum_state: self.quorum.current_state(),
            active_controller: self.active.is_some(),
            metadata_high_watermark: self.quorum.high_watermark(),
            metadata_applied: self.image.offset,
            partitions: partitions.collect(),
        }
    }

    /// Where the broker stands; none for a controller alone.
    pub fn phase(&self) -> Option<Phase> {
        self.serving.as_ref().map(|serving| serving.lifecycle.phase())
    }

    /// What this process has called itself to the controller; none for a controller alone.
    pub fn incarnation(&self) -> Option<Uuid> {
        self.serving.as_ref().map(|serving| serving.lifecycle.incarnation())
    }

    /// Bytes that came on a connection and wait, because the request before them is not answered yet: until there are
    /// none, a driver need not read more of it.
    pub fn unread_bytes(&self, conn: ConnId) -> usize {
        self.listener.unread_bytes(conn)
    }

    /// Whether this node decides for the cluster.
    pub fn is_active_controller(&self) -> bool {
        self.active.is_some()
    }

    /// The metadata as the active controller has decided it, what is not committed yet included.
    pub fn controller_image(&self) -> Option<&crate::metadata::MetadataImage> {
        self.active.as_ref().map(super::active::Active::image)
    }

    /// How many partitions it leads.
    pub fn leaderships(&self) -> usize {
        self.serving
            .iter()
            .flat_map(|serving| serving.replicas.partitions())
            .filter(|replica| replica.is_leader())
            .count()
    }

    /// A replica of this broker.
    pub fn replica(&self, partition: TopicPartition) -> Option<&crate::replication::Partition> {
        self.serving
            .as_ref()
            .and_then(|serving| serving.replicas.partition(partition))
    }

    /// All batches of a replica's log, the metadata log's too, as reads return them.
    pub fn read_log(&mut self, partition: TopicPartition, disk: &mut dyn Disk) -> Result<Bytes, LogError> {
        if partition == crate::METADATA_PARTITION {
            return self.quorum.read_log(disk);
        }
        let Some(serving) = &mut self.serving else {
            return Ok(Bytes::new());
        };
        serving.replicas.read_log(partition, disk)
    }
}
