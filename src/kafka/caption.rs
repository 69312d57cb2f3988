//! Notes in words: one sentence each, for a log line or a caption.

use crate::note::{ClientNote, Note, PartitionState, TruncateReason};
use crate::types::NodeId;
use crate::wire::ErrorCode;
use std::fmt;

fn ids(nodes: &[NodeId]) -> String {
    let ids: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    format!("{{{}}}", ids.join(","))
}

impl fmt::Display for PartitionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.leader {
            Some(leader) => write!(f, "leader {leader}")?,
            None => f.write_str("no leader")?,
        }
        write!(f, " in epoch {}, ISR {}", self.leader_epoch, ids(&self.isr))?;
        if !self.elr.is_empty() {
            write!(f, ", ELR {}", ids(&self.elr))?;
        }
        write!(f, ", partition epoch {}", self.partition_epoch)
    }
}

impl fmt::Display for TruncateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TruncateReason::Divergence => "the leader's history parts from ours there (KIP-101, KIP-279)",
            TruncateReason::HighWatermark => "that is our high watermark (the rule before KIP-101)",
            TruncateReason::OutOfRange => "the leader's log begins after the end of ours",
            TruncateReason::Recovery => "what follows is not whole: the stop before was not a clean one",
        })
    }
}

impl Note {
    /// Whether a reader wants to see it first: what was decided, not each record that moved.
    pub fn is_decision(&self) -> bool {
        !matches!(
            self,
            Note::Appended { .. }
                | Note::Flushed { .. }
                | Note::HighWatermarkAdvanced { .. }
                | Note::FollowerProgressed { .. }
                | Note::ProduceAnswered { .. }
                | Note::QuorumCommitted { .. }
                | Note::MetadataApplied { .. }
                | Note::Client(_)
        )
    }
}

impl Note {
    /// The KIP behind it, for those whose sentence does not name one itself.
    pub fn source(&self) -> Option<&'static str> {
        Some(match self {
            Note::EpochAssigned { .. } => "KIP-101",
            Note::DivergenceFound { .. } => "KIP-101, KIP-279",
            Note::EpochFenced { .. } => "KIP-320",
            Note::IsrUpdated { .. } => "KIP-497",
            Note::PartitionDecided { unclean: true, .. } => "KIP-106",
            Note::PartitionDecided { state, .. } if !state.elr.is_empty() => "KIP-966",
            Note::PartitionDecided { .. } => "KIP-631",
            Note::ProducerAdvanced { .. } | Note::SequenceRefused { .. } | Note::DuplicateFound { .. } => "KIP-98",
            Note::ProducersExpired { .. } => "KIP-854",
            Note::Voted { .. }
            | Note::QuorumEpochStarted { .. }
            | Note::BecameCandidate { .. }
            | Note::BecameQuorumLeader { .. }
            | Note::ResignedQuorumLeader { .. }
            | Note::QuorumCommitted { .. } => "KIP-595",
            Note::SnapshotWritten { .. } | Note::SnapshotLoaded { .. } => "KIP-630",
            Note::MetadataApplied { .. }
            | Note::ControllerActivated { .. }
            | Note::ControllerDeactivated { .. }
            | Note::BrokerDecided { .. }
            | Note::BrokerRegistered { .. }
            | Note::BrokerUnfenced { .. } => "KIP-631",
            _ => return None,
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::LogOpened {
                partition,
                log_start_offset,
                log_end_offset,
                recovery_point,
                clean,
            } => write!(
                f,
                "opened {partition:?} with offsets {log_start_offset} to {log_end_offset} (exclusive), durable to {recovery_point}, after {} stop",
                if *clean { "a clean" } else { "an unclean" }
            ),
            Note::Appended {
                partition,
                base_offset,
                last_offset,
                leader_epoch,
                as_leader,
                ..
            } => write!(
                f,
                "appended offsets {base_offset} to {last_offset} of epoch {leader_epoch} to {partition:?} as {}",
                if *as_leader { "leader" } else { "follower" }
            ),
            Note::Truncated {
                partition,
                from,
                to,
                reason,
            } => {
                write!(f, "truncated {partition:?} from end {from} to end {to}: {reason}")
            }
            Note::Restarted { partition, at } => write!(f, "emptied {partition:?}; its log begins anew at {at}"),
            Note::LogStartAdvanced { partition, to } => write!(f, "records of {partition:?} before {to} are gone"),
            Note::Flushed { partition, to } => write!(f, "{partition:?} is durable up to {to}"),
            Note::Rolled { partition, base_offset } => write!(f, "began segment {base_offset} of {partition:?}"),
            Note::ProducerAdvanced { partition, producer } => write!(
                f,
                "producer {} is at sequence {} of epoch {} in {partition:?}",
                producer.id,
                producer.state.last_sequence(),
                producer.state.epoch
            ),
            Note::ProducersLoaded { partition, producers } => {
                write!(f, "read the state of {} producer(s) of {partition:?}", producers.len())
            }
            Note::ProducersExpired {
                partition,
                producer_ids,
            } => write!(f, "forgot producers {producer_ids:?} of {partition:?}"),
            Note::SequenceRefused {
                partition,
                producer_id,
                producer_epoch,
                base_sequence,
                error_code,
            } => write!(
                f,
                "refused sequence {base_sequence} of epoch {producer_epoch} of producer {producer_id} for {partition:?}: {:?}",
                ErrorCode(*error_code)
            ),
            Note::DuplicateFound {
                partition,
                producer_id,
                base_sequence,
                base_offset,
                last_offset,
            } => write!(
                f,
                "sequence {base_sequence} of producer {producer_id} stands in {partition:?} already, at {base_offset} to {last_offset}"
            ),
            Note::EpochAssigned {
                partition,
                epoch,
                start_offset,
            } => {
                write!(f, "epoch {epoch} of {partition:?} starts at {start_offset}")
            }
            Note::BecameLeader {
                partition,
                state,
                epoch_start_offset,
                high_watermark,
            } => write!(
                f,
                "leads {partition:?} from offset {epoch_start_offset} on, high watermark {high_watermark}: {state}"
            ),
            Note::BecameFollower {
                partition,
                state,
                high_watermark,
            } => {
                write!(f, "follows {partition:?}, high watermark {high_watermark}: {state}")
            }
            Note::ReplicaStopped { partition, deleted } => {
                write!(
                    f,
                    "no longer a replica of {partition:?}{}",
                    if *deleted { ", its files go" } else { "" }
                )
            }
            Note::HighWatermarkAdvanced {
                partition,
                to,
                as_leader,
                leader_epoch,
            } => write!(
                f,
                "high watermark of {partition:?} is {to} in epoch {leader_epoch}, {}",
                if *as_leader {
                    "held by all in-sync replicas"
                } else {
                    "as its leader says"
                }
            ),
            Note::HighWatermarkLowered { partition, to } => write!(f, "high watermark of {partition:?} falls to {to}"),
            Note::FollowerProgressed {
                partition,
                follower,
                log_end_offset,
                leader_epoch,
            } => write!(
                f,
                "knows that follower {follower} of {partition:?} has everything before {log_end_offset} in epoch {leader_epoch}"
            ),
            Note::IsrProposed {
                partition,
                isr,
                maximal_isr,
                partition_epoch,
            } => write!(
                f,
                "asks for ISR {} of {partition:?} on partition epoch {partition_epoch}; until then {} must hold a record (KIP-497)",
                ids(isr),
                ids(maximal_isr)
            ),
            Note::IsrUpdated { partition, state } => write!(f, "{partition:?} now has {state}"),
            Note::ProduceAnswered {
                partition,
                error_code,
                base_offset,
                last_offset,
                acks,
                ..
            } => {
                if *error_code == 0 {
                    write!(
                        f,
                        "told the producer (acks={acks}) that {base_offset} to {last_offset} of {partition:?} are written"
                    )
                } else {
                    write!(
                        f,
                        "told the producer (acks={acks}) error {error_code} for {partition:?}"
                    )
                }
            }
            Note::DivergenceFound {
                partition,
                epoch,
                end_offset,
            } => write!(
                f,
                "learnt that the leader's epoch {epoch} of {partition:?} ends at {end_offset}: what we have beyond is not its history"
            ),
            Note::EpochFenced {
                partition,
                requested,
                current,
            } => {
                write!(
                    f,
                    "refused a request for {partition:?} of epoch {requested}; it is epoch {current}"
                )
            }
            Note::Voted { epoch, candidate } => write!(f, "voted for {candidate} in quorum epoch {epoch}, for good"),
            Note::QuorumEpochStarted {
                epoch,
                leader: Some(leader),
            } => {
                write!(f, "quorum epoch {epoch} is led by {leader}")
            }
            Note::QuorumEpochStarted { epoch, leader: None } => write!(f, "quorum epoch {epoch} has no leader yet"),
            Note::BecameCandidate { epoch } => write!(f, "stands for election in quorum epoch {epoch}"),
            Note::BecameQuorumLeader {
                epoch,
                epoch_start_offset,
            } => {
                write!(
                    f,
                    "leads the metadata quorum in epoch {epoch}, from offset {epoch_start_offset} on"
                )
            }
            Note::ResignedQuorumLeader { epoch } => write!(f, "no longer leads the metadata quorum of epoch {epoch}"),
            Note::QuorumCommitted {
                high_watermark, epoch, ..
            } => {
                write!(f, "metadata before {high_watermark} is committed (epoch {epoch})")
            }
            Note::SnapshotWritten { end_offset, epoch } => {
                write!(
                    f,
                    "wrote a metadata snapshot of everything before {end_offset} (epoch {epoch})"
                )
            }
            Note::SnapshotLoaded { end_offset, epoch } => {
                write!(
                    f,
                    "loaded a metadata snapshot of everything before {end_offset} (epoch {epoch})"
                )
            }
            Note::MetadataApplied { offset, .. } => write!(f, "applied metadata up to {offset}"),
            Note::ControllerActivated { epoch } => write!(f, "is the active controller in epoch {epoch}"),
            Note::ControllerDeactivated { epoch } => write!(f, "is no longer the active controller of epoch {epoch}"),
            Note::PartitionDecided {
                partition,
                state,
                unclean,
                ..
            } => write!(
                f,
                "decided for {partition:?}: {state}{}",
                if *unclean {
                    "; an unclean election, records may be lost"
                } else {
                    ""
                }
            ),
            Note::BrokerDecided {
                broker,
                broker_epoch,
                fenced,
                in_controlled_shutdown,
            } => write!(
                f,
                "decided that broker {broker} (epoch {broker_epoch}) is {}{}",
                if *fenced { "fenced" } else { "in service" },
                if *in_controlled_shutdown { ", leaving" } else { "" }
            ),
            Note::BrokerRegistered { broker_epoch } => write!(f, "is registered with broker epoch {broker_epoch}"),
            Note::BrokerUnfenced { broker_epoch } => write!(f, "is in service with broker epoch {broker_epoch}"),
            Note::ShutdownStarted => f.write_str("was asked to stop"),
            Note::ShutdownCompleted => f.write_str("stopped in order"),
            Note::LogDirFailed { reason } => write!(f, "stops, its log directory failed: {reason}"),
            Note::FrameRefused { conn, reason } => write!(f, "closed connection {}: {reason}", conn.0),
            Note::Client(note) => note.fmt(f),
        }
    }
}

fn value(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('.').to_owned()
}

impl fmt::Display for ClientNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientNote::SendInvoked {
                topic,
                partition,
                value: sent,
                acks,
                ..
            } => {
                write!(f, "sends `{}` to {topic}-{partition} with acks={acks}", value(sent))
            }
            ClientNote::SendAcked {
                topic,
                partition,
                value: sent,
                offset: Some(offset),
            } => {
                write!(
                    f,
                    "was told: `{}` is at offset {offset} of {topic}-{partition}",
                    value(sent)
                )
            }
            ClientNote::SendAcked {
                topic,
                partition,
                value: sent,
                offset: None,
            } => {
                write!(
                    f,
                    "was told nothing and takes it that `{}` is in {topic}-{partition} (acks=0)",
                    value(sent)
                )
            }
            ClientNote::SendFailed {
                topic,
                partition,
                value: sent,
                definite,
                error_code,
            } => write!(
                f,
                "was told: `{}` is {} in {topic}-{partition} (error {error_code})",
                value(sent),
                if *definite { "not" } else { "perhaps" }
            ),
            ClientNote::Polled {
                topic,
                partition,
                records,
                high_watermark,
                from,
                ..
            } => {
                let first = records.first().map_or(-1, |(offset, ..)| *offset);
                let last = records.last().map_or(-1, |(offset, ..)| *offset);
                write!(
                    f,
                    "read offsets {first} to {last} of {topic}-{partition} from broker {from}, high watermark {high_watermark}"
                )
            }
            ClientNote::TruncationDetected {
                topic,
                partition,
                position,
                divergence,
            } => write!(
                f,
                "found that {topic}-{partition} was truncated: it had read to {position}, the logs part at {divergence} (KIP-320)"
            ),
            ClientNote::PositionReset {
                topic,
                partition,
                from,
                to,
            } => {
                write!(f, "moved its position in {topic}-{partition} from {from} to {to}")
            }
            ClientNote::OffsetAsked {
                topic,
                partition,
                timestamp,
                ..
            } => {
                write!(f, "asks for the offset of time {timestamp} of {topic}-{partition}")
            }
            ClientNote::OffsetListed {
                topic,
                partition,
                timestamp,
                offset,
                error_code,
                ..
            } => match offset {
                Some(offset) => write!(
                    f,
                    "was told offset {offset} for time {timestamp} of {topic}-{partition}"
                ),
                None => write!(
                    f,
                    "was told error {error_code} for time {timestamp} of {topic}-{partition}"
                ),
            },
            ClientNote::AdminAnswered {
                op,
                error_code,
                api,
                topic,
                ..
            } => {
                write!(f, "{api} (operation {op}) for `{topic}` ended with error {error_code}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::METADATA_PARTITION;

    #[test]
    fn a_truncation_is_a_sentence_with_its_reason() {
        let note = Note::Truncated {
            partition: METADATA_PARTITION,
            from: 103,
            to: 102,
            reason: TruncateReason::Divergence,
        };
        let text = note.to_string();
        assert!(text.contains("from end 103 to end 102"), "{text}");
        assert!(text.contains("KIP-101"), "{text}");
    }
}
