//! Facts: what a machine says it did.
//!
//! A note is at once the log line of `serve`, what checks read, the caption of a step and the mark that a test
//! demands. Past participles, values only, no references into a machine. A note is pushed after the change it
//! names has been made.

use crate::log::producer_state::ProducerState;
use crate::types::{BrokerEpoch, ConnId, LeaderEpoch, NodeId, Offset, PartitionEpoch, TopicPartition};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Why a log lost its tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TruncateReason {
    /// The leader's epochs say that ours diverged there (KIP-101, KIP-595).
    Divergence,
    /// Only under the museum's `truncate_to_hw`.
    HighWatermark,
    /// The leader's log starts above our end: all of ours is gone.
    OutOfRange,
    /// Recovery after an unclean stop found garbage.
    Recovery,
}

/// Who leads, who follows, as the controller's metadata says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PartitionState {
    /// None while nobody can.
    pub leader: Option<NodeId>,
    /// Fences leaders.
    pub leader_epoch: LeaderEpoch,
    /// Version of this state.
    pub partition_epoch: PartitionEpoch,
    /// All assigned replicas, preferred leader first.
    pub replicas: Vec<NodeId>,
    /// In-sync replicas.
    pub isr: Vec<NodeId>,
    /// Eligible leader replicas (KIP-966).
    pub elr: Vec<NodeId>,
}

/// What a log knows of one of its idempotent producers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProducerEntry {
    /// The producer's id.
    pub id: i64,
    /// Its epoch and newest batches.
    pub state: ProducerState,
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Note {
    // --- storage -------------------------------------------------------------------------------------------
    /// A log was opened: created, loaded after a clean stop, or recovered after an unclean one.
    LogOpened {
        /// Of this partition.
        partition: TopicPartition,
        /// First offset.
        log_start_offset: Offset,
        /// Next offset.
        log_end_offset: Offset,
        /// Known to be durable up to here.
        recovery_point: Offset,
        /// Whether the shutdown before was clean, so nothing was scanned.
        clean: bool,
    },
    /// A batch was added at the end.
    Appended {
        /// To this partition.
        partition: TopicPartition,
        /// Offset of the first record.
        base_offset: Offset,
        /// Offset of the last record.
        last_offset: Offset,
        /// Epoch in the batch header.
        leader_epoch: LeaderEpoch,
        /// As leader, or copied from one.
        as_leader: bool,
        /// The whole batch as it stands in the log.
        #[serde(with = "crate::text::hex")]
        batch: Bytes,
    },
    /// The log was cut: `to` is the new end.
    Truncated {
        /// This log.
        partition: TopicPartition,
        /// End before.
        from: Offset,
        /// End after.
        to: Offset,
        /// Why.
        reason: TruncateReason,
    },
    /// The log was emptied and now begins (and ends) at `at`.
    Restarted {
        /// This log.
        partition: TopicPartition,
        /// Start and end.
        at: Offset,
    },
    /// Records before this offset are gone, by retention, DeleteRecords or the leader's word.
    LogStartAdvanced {
        /// Of this log.
        partition: TopicPartition,
        /// New start.
        to: Offset,
    },
    /// Everything before this offset is durable.
    Flushed {
        /// Of this log.
        partition: TopicPartition,
        /// The recovery point.
        to: Offset,
    },
    /// The log was closed and a new segment begun.
    Rolled {
        /// Of this log.
        partition: TopicPartition,
        /// Base of the new segment.
        base_offset: Offset,
    },
    /// A producer's state follows its batch, the one noted before.
    ProducerAdvanced {
        /// In this log.
        partition: TopicPartition,
        /// As it is now.
        producer: Box<ProducerEntry>,
    },
    /// The state of all producers was read again: at a start, after a cut.
    ProducersLoaded {
        /// In this log.
        partition: TopicPartition,
        /// All that are known, by ascending id.
        producers: Vec<ProducerEntry>,
    },
    /// Producers that had been silent for long were forgotten.
    ProducersExpired {
        /// In this log.
        partition: TopicPartition,
        /// Their ids.
        producer_ids: Vec<i64>,
    },
    /// A producer's batch was refused: its sequence is out of order, or its epoch is old.
    SequenceRefused {
        /// By this log.
        partition: TopicPartition,
        /// Whose.
        producer_id: i64,
        /// The epoch that it carried.
        producer_epoch: i16,
        /// Sequence of its first record.
        base_sequence: i32,
        /// Kafka's error code.
        error_code: i16,
    },
    /// A producer's batch stood in the log already: it will be acknowledged with its old offsets.
    DuplicateFound {
        /// This log.
        partition: TopicPartition,
        /// Whose.
        producer_id: i64,
        /// Sequence of its first record.
        base_sequence: i32,
        /// Offset of its first record.
        base_offset: Offset,
        /// Offset of its last record.
        last_offset: Offset,
    },
    /// The epoch cache learnt where an epoch starts.
    EpochAssigned {
        /// Of this log.
        partition: TopicPartition,
        /// The epoch.
        epoch: LeaderEpoch,
        /// Its first offset.
        start_offset: Offset,
    },
    // --- replication ---------------------------------------------------------------------------------------
    /// This broker leads.
    BecameLeader {
        /// This partition.
        partition: TopicPartition,
        /// From this state on.
        state: PartitionState,
        /// Its log end at that moment.
        epoch_start_offset: Offset,
        /// The high watermark it starts with.
        high_watermark: Offset,
    },
    /// This broker follows.
    BecameFollower {
        /// This partition.
        partition: TopicPartition,
        /// From this state on.
        state: PartitionState,
        /// The high watermark it keeps.
        high_watermark: Offset,
    },
    /// This broker no longer has a replica.
    ReplicaStopped {
        /// Of this partition.
        partition: TopicPartition,
        /// The files go too.
        deleted: bool,
    },
    /// The high watermark moved up.
    HighWatermarkAdvanced {
        /// Of this partition.
        partition: TopicPartition,
        /// New value; the next offset, exclusive.
        to: Offset,
        /// As leader (by the maximal ISR) or as told by one.
        as_leader: bool,
        /// The epoch in which.
        leader_epoch: LeaderEpoch,
    },
    /// The high watermark moved down, with a truncation or a restart of the log.
    HighWatermarkLowered {
        /// Of this partition.
        partition: TopicPartition,
        /// New value.
        to: Offset,
    },
    /// The leader recorded how far a follower is.
    FollowerProgressed {
        /// Of this partition.
        partition: TopicPartition,
        /// Who.
        follower: NodeId,
        /// Its log end.
        log_end_offset: Offset,
        /// In which epoch of ours.
        leader_epoch: LeaderEpoch,
    },
    /// The leader asked the controller for another ISR.
    IsrProposed {
        /// Of this partition.
        partition: TopicPartition,
        /// The one it wants.
        isr: Vec<NodeId>,
        /// The union with the committed one: what must hold a record before the high watermark passes it.
        maximal_isr: Vec<NodeId>,
        /// On top of this state.
        partition_epoch: PartitionEpoch,
    },
    /// The leader took over a new state of its partition (same leader epoch).
    IsrUpdated {
        /// Of this partition.
        partition: TopicPartition,
        /// The new state.
        state: PartitionState,
    },
    /// A produce request to one partition was answered.
    ProduceAnswered {
        /// This partition.
        partition: TopicPartition,
        /// Kafka's error code; 0 is success.
        error_code: i16,
        /// Base offset; -1 on failure.
        base_offset: Offset,
        /// Last offset; -1 on failure.
        last_offset: Offset,
        /// As the client asked: 0, 1 or -1 (all).
        acks: i16,
        /// Epoch in which it was appended.
        leader_epoch: LeaderEpoch,
        /// This broker's view at the moment of the answer: none if it does not lead any more.
        state: Option<PartitionState>,
        /// High watermark at the moment of the answer.
        high_watermark: Offset,
    },
    /// A follower learnt from its leader that its log diverges.
    DivergenceFound {
        /// In this partition.
        partition: TopicPartition,
        /// The largest common epoch, by the leader.
        epoch: LeaderEpoch,
        /// Where the leader's ends.
        end_offset: Offset,
    },
    /// A request was refused because it carried an old or a future epoch.
    EpochFenced {
        /// In this partition.
        partition: TopicPartition,
        /// The epoch it carried.
        requested: LeaderEpoch,
        /// Ours.
        current: LeaderEpoch,
    },
    // --- metadata quorum -----------------------------------------------------------------------------------
    /// The vote is durable and may be answered.
    Voted {
        /// In this epoch.
        epoch: LeaderEpoch,
        /// For this candidate (maybe ourselves).
        candidate: NodeId,
    },
    /// A new epoch began here.
    QuorumEpochStarted {
        /// The epoch.
        epoch: LeaderEpoch,
        /// Its leader, if known.
        leader: Option<NodeId>,
    },
    /// This node asks for votes, after enough pre-votes.
    BecameCandidate {
        /// In this epoch.
        epoch: LeaderEpoch,
    },
    /// This node leads the quorum.
    BecameQuorumLeader {
        /// In this epoch.
        epoch: LeaderEpoch,
        /// Its log end at that moment.
        epoch_start_offset: Offset,
    },
    /// This node leads no more.
    ResignedQuorumLeader {
        /// The epoch it led.
        epoch: LeaderEpoch,
    },
    /// Metadata records below this offset are committed.
    QuorumCommitted {
        /// Exclusive.
        high_watermark: Offset,
        /// In this epoch.
        epoch: LeaderEpoch,
        /// As the leader, or as told by it.
        as_leader: bool,
    },
    /// A metadata snapshot is complete.
    SnapshotWritten {
        /// Exclusive: the state after all records below it.
        end_offset: Offset,
        /// Epoch of the last of them.
        epoch: LeaderEpoch,
    },
    /// The metadata image was loaded from a snapshot, own or fetched.
    SnapshotLoaded {
        /// Exclusive.
        end_offset: Offset,
        /// Epoch of the last record in it.
        epoch: LeaderEpoch,
    },
    /// Committed metadata records were applied to this node's image.
    MetadataApplied {
        /// Exclusive end.
        offset: Offset,
        /// A digest of the whole image after it.
        image_digest: u64,
    },
    // --- controller ----------------------------------------------------------------------------------------
    /// This node is the active controller.
    ControllerActivated {
        /// In this quorum epoch.
        epoch: LeaderEpoch,
    },
    /// It is no more.
    ControllerDeactivated {
        /// The epoch it was active in.
        epoch: LeaderEpoch,
    },
    /// The active controller decided a partition's state (not committed yet).
    PartitionDecided {
        /// This partition.
        partition: TopicPartition,
        /// Its new state.
        state: PartitionState,
        /// The leader was taken from outside ISR and ELR: records may be lost.
        unclean: bool,
        /// Controller epoch.
        epoch: LeaderEpoch,
    },
    /// The active controller decided that a broker is fenced or not, or leaving (not committed yet).
    BrokerDecided {
        /// Who.
        broker: NodeId,
        /// Which incarnation.
        broker_epoch: BrokerEpoch,
        /// May not lead or join an ISR.
        fenced: bool,
        /// In controlled shutdown.
        in_controlled_shutdown: bool,
    },
    // --- life of a broker ----------------------------------------------------------------------------------
    /// The controller knows this incarnation.
    BrokerRegistered {
        /// Its epoch.
        broker_epoch: BrokerEpoch,
    },
    /// The controller lets it serve.
    BrokerUnfenced {
        /// Its epoch.
        broker_epoch: BrokerEpoch,
    },
    /// SIGTERM was heard.
    ShutdownStarted,
    /// All leaderships are gone; everything is synced; the marker is written.
    ShutdownCompleted,
    /// The log directory failed; the broker stops.
    LogDirFailed {
        /// What the disk said.
        reason: String,
    },
    // --- connections --------------------------------------------------------------------------------------
    /// A connection was closed because its bytes are no request that this node serves.
    FrameRefused {
        /// The connection. The driver knows who is at its other end.
        conn: ConnId,
        /// Why, in words.
        reason: String,
    },
    // --- clients -------------------------------------------------------------------------------------------
    /// A client told its user something.
    #[serde(skip)]
    Client(ClientNote),
}

/// What a client tells its user: the raw material of the history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientNote {
    /// The user handed a record to the producer.
    SendInvoked {
        /// To this partition of this topic.
        topic: String,
        /// Chosen by the user.
        partition: i32,
        /// The record's value; unique in a run.
        value: Bytes,
        /// The producer's `acks`.
        acks: i16,
        /// Whether the producer promises one copy, in order.
        idempotent: bool,
    },
    /// The producer reported success.
    SendAcked {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// The record's value.
        value: Bytes,
        /// Where it is; none with acks=0.
        offset: Option<Offset>,
    },
    /// The producer reported failure.
    SendFailed {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// The record's value.
        value: Bytes,
        /// True: it is certainly not in the log. False: nobody knows (a timeout, a lost connection).
        definite: bool,
        /// Kafka's error code; 0 where the failure is the client's own (delivery timeout).
        error_code: i16,
    },
    /// The consumer handed records to its user.
    Polled {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset, leader epoch and value of each, in order.
        records: Vec<(Offset, LeaderEpoch, Bytes)>,
        /// High watermark that came with them.
        high_watermark: Offset,
        /// Log start that came with them.
        log_start_offset: Offset,
        /// The broker that served them.
        from: NodeId,
    },
    /// The consumer found that the log it had read from was truncated (KIP-320).
    TruncationDetected {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Its position before.
        position: Offset,
        /// Where the logs part.
        divergence: Offset,
    },
    /// The consumer's position was reset because it was out of range.
    PositionReset {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Before.
        from: Offset,
        /// After.
        to: Offset,
    },
    /// The user asked for an offset by time.
    OffsetAsked {
        /// Number of the query, of this client.
        query: u64,
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// -1 latest, -2 earliest, else a time.
        timestamp: i64,
    },
    /// The answer to an offset query.
    OffsetListed {
        /// Number of the query.
        query: u64,
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// -1 latest, -2 earliest, else a time.
        timestamp: i64,
        /// None: OFFSET_NOT_AVAILABLE or another error.
        offset: Option<Offset>,
        /// For the latest the epoch in which the leader answered, else that of the record; -1 where there is none.
        leader_epoch: LeaderEpoch,
        /// Kafka's error code.
        error_code: i16,
    },
    /// An administrator's request was answered.
    AdminAnswered {
        /// Number of the operation, given by its user.
        op: u64,
        /// Kafka's error code; 0 is success; -1 where the client gave up without an answer.
        error_code: i16,
        /// Name of the API.
        api: &'static str,
        /// Topic, or empty.
        topic: String,
        /// For DeleteRecords: partition and new log start.
        low_watermark: Option<(i32, Offset)>,
    },
}
