//! From notes to the cluster's state, as pages, the terminal and charts show it.
//!
//! Only what machines say counts here, as in the checks; whether a node runs is for the caller to say.

use kafka::note::PartitionState;
use kafka::{ClientNote, Note, TopicPartition};
use reports::view::{Decided, Replica, State, Turn, UNKNOWN};

fn ids(nodes: &[kafka::NodeId]) -> Vec<i32> {
    nodes.iter().map(|id| id.0).collect()
}

/// What a reader jumps to, as far as one note alone tells.
pub fn turn(note: &Note) -> Option<Turn> {
    match note {
        Note::BecameLeader { .. } | Note::BecameQuorumLeader { .. } => Some(Turn::Election),
        Note::Truncated { .. } | Note::Restarted { .. } => Some(Turn::Truncation),
        Note::IsrUpdated { .. } => Some(Turn::Isr),
        Note::Client(ClientNote::SendAcked { .. }) => Some(Turn::Acknowledgement),
        _ => None,
    }
}

/// The partition that a note is about.
pub fn partition_of(note: &Note) -> Option<TopicPartition> {
    match note {
        Note::LogOpened { partition, .. }
        | Note::Appended { partition, .. }
        | Note::Truncated { partition, .. }
        | Note::Restarted { partition, .. }
        | Note::LogStartAdvanced { partition, .. }
        | Note::Flushed { partition, .. }
        | Note::Rolled { partition, .. }
        | Note::ProducerAdvanced { partition, .. }
        | Note::ProducersLoaded { partition, .. }
        | Note::ProducersExpired { partition, .. }
        | Note::SequenceRefused { partition, .. }
        | Note::DuplicateFound { partition, .. }
        | Note::EpochAssigned { partition, .. }
        | Note::BecameLeader { partition, .. }
        | Note::BecameFollower { partition, .. }
        | Note::ReplicaStopped { partition, .. }
        | Note::HighWatermarkAdvanced { partition, .. }
        | Note::HighWatermarkLowered { partition, .. }
        | Note::FollowerProgressed { partition, .. }
        | Note::IsrProposed { partition, .. }
        | Note::IsrUpdated { partition, .. }
        | Note::ProduceAnswered { partition, .. }
        | Note::DivergenceFound { partition, .. }
        | Note::EpochFenced { partition, .. }
        | Note::PartitionDecided { partition, .. } => Some(*partition),
        Note::Voted { .. }
        | Note::QuorumEpochStarted { .. }
        | Note::BecameCandidate { .. }
        | Note::BecameQuorumLeader { .. }
        | Note::ResignedQuorumLeader { .. }
        | Note::QuorumCommitted { .. }
        | Note::SnapshotWritten { .. }
        | Note::SnapshotLoaded { .. }
        | Note::MetadataApplied { .. }
        | Note::ControllerActivated { .. }
        | Note::ControllerDeactivated { .. } => Some(kafka::METADATA_PARTITION),
        Note::BrokerDecided { .. }
        | Note::BrokerRegistered { .. }
        | Note::BrokerUnfenced { .. }
        | Note::ShutdownStarted
        | Note::ShutdownCompleted
        | Note::LogDirFailed { .. }
        | Note::FrameRefused { .. }
        | Note::Client(_) => None,
    }
}

/// A decision as it stands in a state of a partition.
pub fn decision(state: &PartitionState) -> Decided {
    Decided {
        leader: state.leader.map_or(-1, |leader| leader.0),
        leader_epoch: state.leader_epoch.0,
        partition_epoch: state.partition_epoch.0,
        isr: ids(&state.isr),
        elr: ids(&state.elr),
    }
}

/// The state that a replica has taken over: the controller has decided so, and it is committed.
pub fn committed(note: &Note) -> Option<Decided> {
    match note {
        Note::BecameLeader { state, .. } | Note::BecameFollower { state, .. } | Note::IsrUpdated { state, .. } => {
            Some(decision(state))
        }
        _ => None,
    }
}

fn learn(replica: &mut Replica, state: &PartitionState) {
    replica.leader_epoch = state.leader_epoch.0;
    replica.partition_epoch = state.partition_epoch.0;
    (replica.isr, replica.elr) = (ids(&state.isr), ids(&state.elr));
}

/// Takes one note of a node in; `partition` is the index of [`partition_of`] it.
pub fn fold(state: &mut State, node: u16, partition: u16, note: &Note) {
    if let Note::Client(note) = note {
        return fold_client(state, node, partition, note);
    }
    match note {
        Note::ControllerActivated { .. } => state.nodes.entry(node).or_default().controls = true,
        Note::ControllerDeactivated { .. } => state.nodes.entry(node).or_default().controls = false,
        Note::PartitionDecided { state: decided, .. } => {
            state.decided.insert(partition, decision(decided));
        }
        Note::ReplicaStopped { .. } => {
            state.replicas.remove(&(node, partition));
        }
        _ if changes_replica(note) => fold_replica(state.replicas.entry((node, partition)).or_default(), note),
        _ => {}
    }
}

/// Whether [`fold_replica`] has something to do.
pub fn changes_replica(note: &Note) -> bool {
    matches!(
        note,
        Note::LogOpened { .. }
            | Note::Appended { .. }
            | Note::Truncated { .. }
            | Note::Restarted { .. }
            | Note::LogStartAdvanced { .. }
            | Note::Flushed { .. }
            | Note::BecameLeader { .. }
            | Note::BecameFollower { .. }
            | Note::IsrUpdated { .. }
            | Note::HighWatermarkAdvanced { .. }
            | Note::HighWatermarkLowered { .. }
            | Note::QuorumCommitted { .. }
            | Note::BecameQuorumLeader { .. }
            | Note::QuorumEpochStarted { .. }
            | Note::ResignedQuorumLeader { .. }
    )
}

/// Takes one note of a replica's node in.
///
/// # Panics
/// If the note [changes no replica](changes_replica).
pub fn fold_replica(replica: &mut Replica, note: &Note) {
    match note {
        Note::LogOpened {
            log_start_offset,
            log_end_offset,
            recovery_point,
            ..
        } => {
            replica.log_start_offset = *log_start_offset;
            replica.log_end_offset = *log_end_offset;
            replica.synced = *recovery_point;
            replica.epochs.retain(|(_, start)| start < log_end_offset);
            replica.leads = false;
            // A process that begins knows nothing of the others yet; of its checkpoint it tells when it knows its role.
            (replica.high_watermark, replica.leader_epoch) = (UNKNOWN, UNKNOWN as i32);
            replica.isr.clear();
            replica.elr.clear();
        }
        Note::Appended {
            base_offset,
            last_offset,
            leader_epoch,
            ..
        } => {
            replica.log_end_offset = last_offset + 1;
            if replica.epochs.last().is_none_or(|(epoch, _)| *epoch < leader_epoch.0) {
                replica.epochs.push((leader_epoch.0, *base_offset));
            }
        }
        Note::Truncated { to, .. } => {
            replica.log_end_offset = *to;
            replica.synced = replica.synced.min(*to);
            replica.epochs.retain(|(_, start)| start < to);
        }
        Note::Restarted { at, .. } => {
            (replica.log_start_offset, replica.log_end_offset) = (*at, *at);
            (replica.high_watermark, replica.synced) = (*at, *at);
            replica.epochs.clear();
        }
        Note::LogStartAdvanced { to, .. } => replica.log_start_offset = *to,
        Note::Flushed { to, .. } => replica.synced = *to,
        Note::BecameLeader {
            state, high_watermark, ..
        } => {
            learn(replica, state);
            replica.leads = true;
            replica.high_watermark = *high_watermark;
        }
        Note::BecameFollower {
            state, high_watermark, ..
        } => {
            learn(replica, state);
            replica.leads = false;
            replica.high_watermark = *high_watermark;
            replica.isr.clear();
            replica.elr.clear();
        }
        Note::IsrUpdated { state, .. } => learn(replica, state),
        Note::HighWatermarkAdvanced { to, .. } | Note::HighWatermarkLowered { to, .. } => replica.high_watermark = *to,
        Note::QuorumCommitted { high_watermark, .. } => replica.high_watermark = *high_watermark,
        Note::BecameQuorumLeader { epoch, .. } => (replica.leads, replica.leader_epoch) = (true, epoch.0),
        Note::QuorumEpochStarted { epoch, .. } => (replica.leads, replica.leader_epoch) = (false, epoch.0),
        Note::ResignedQuorumLeader { .. } => replica.leads = false,
        _ => unreachable!("the caller has asked changes_replica"),
    }
}

fn fold_client(state: &mut State, node: u16, partition: u16, note: &ClientNote) {
    let client = state.clients.entry(node).or_default();
    let to = match note {
        ClientNote::SendInvoked { .. } => return client.sent += 1,
        ClientNote::SendAcked { .. } => return client.acked += 1,
        ClientNote::SendFailed { definite: true, .. } => return client.refused += 1,
        ClientNote::SendFailed { definite: false, .. } => return client.unknown += 1,
        ClientNote::Polled { records, .. } => match records.last() {
            Some((offset, ..)) => offset + 1,
            None => return,
        },
        ClientNote::PositionReset { to, .. } => *to,
        _ => return,
    };
    match client.read.iter_mut().find(|(known, _)| *known == partition) {
        Some((_, offset)) => *offset = to,
        None => client.read.push((partition, to)),
    }
}
