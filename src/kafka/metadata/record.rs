//! Metadata records: what the controller decides, as values and in Kafka's own bytes.
//!
//! Guarantees: `decode(encode(r)) == r`; decoding never panics and never takes more memory than the input justifies.
//! An unknown kind, a version that we do not read and garbage behind the record are errors, as they are in Kafka.
//! Deliberately not here: features, log directories and the recovery state of leaders: written as Kafka's defaults,
//! skipped when read.
//!
//! ```text
//! unsigned varint 1 (frame) │ unsigned varint kind │ unsigned varint version │ fields │ tagged fields
//! ```
//!
//! Sources: KIP-631, KIP-858 (directories), KIP-966 (ELR); `metadata/src/main/resources/common/metadata/*.json`;
//! `AbstractApiMessageSerde` for the frame.

use super::codec::{Reader, Writer, field};
use crate::note::PartitionState;
use crate::types::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, TopicPartition, Uuid};
use bytes::Bytes;
use std::fmt;

const FRAME_VERSION: u32 = 1;

const REGISTER_BROKER: u32 = 0;
const UNREGISTER_BROKER: u32 = 1;
const TOPIC: u32 = 2;
const PARTITION: u32 = 3;
const CONFIG: u32 = 4;
const PARTITION_CHANGE: u32 = 5;
const REMOVE_TOPIC: u32 = 9;
const PRODUCER_IDS: u32 = 15;
const BROKER_REGISTRATION_CHANGE: u32 = 17;
const NO_OP: u32 = 20;

/// Type of a config resource on the wire and in records.
const RESOURCE_TOPIC: i8 = 2;
/// With an empty name: the default of all brokers.
const RESOURCE_BROKER: i8 = 4;

/// Kafka's `DirectoryId.UNASSIGNED`: the replica's log directory is its broker's own business.
const UNASSIGNED: Uuid = Uuid::from_u128(1);

const NO_LEADER: i32 = -1;
const NO_LEADER_CHANGE: i32 = -2;

/// Replicas on their way in and out (KIP-455). Who is added is among the replicas already, who is removed still is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reassignment {
    /// Must be in sync before the others may go.
    pub adding: Vec<NodeId>,
    /// Go when all that stay are in sync.
    pub removing: Vec<NodeId>,
}

impl Reassignment {
    /// Nothing is on its way.
    pub fn is_none(&self) -> bool {
        self.adding.is_empty() && self.removing.is_empty()
    }
}

/// A metadata record (KIP-631), with the fields of Kafka's JSON schemas. More kinds follow the features.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// A broker's process started (or said more about itself: same epoch). Replaces what was known of it.
    RegisterBroker {
        /// `node.id`.
        broker: NodeId,
        /// Offset of this record, or the epoch before if the incarnation is the same.
        broker_epoch: BrokerEpoch,
        /// Drawn by the broker at its start.
        incarnation: Uuid,
        /// Advertised listener.
        host: String,
        /// Advertised listener.
        port: u16,
        /// `broker.rack`.
        rack: Option<String>,
        /// True at first.
        fenced: bool,
        /// False at first.
        in_controlled_shutdown: bool,
    },
    /// A broker is gone for good.
    UnregisterBroker {
        /// Who.
        broker: NodeId,
        /// Which incarnation.
        broker_epoch: BrokerEpoch,
    },
    /// `None` leaves as it is.
    BrokerRegistrationChange {
        /// Who.
        broker: NodeId,
        /// Which incarnation.
        broker_epoch: BrokerEpoch,
        /// May neither lead nor join an ISR.
        fenced: Option<bool>,
        /// Leaves in order. Nothing but a new registration (or fencing) ends that, so `Some(false)` is never written.
        in_controlled_shutdown: Option<bool>,
    },
    /// A topic was created; its partitions follow.
    Topic {
        /// Unique among living topics.
        name: String,
        /// Unique for ever.
        id: Uuid,
    },
    /// A topic, its partitions and its configs are gone.
    RemoveTopic {
        /// Which.
        id: Uuid,
    },
    /// The whole state of a partition.
    Partition {
        /// Which.
        partition: TopicPartition,
        /// All of it.
        state: PartitionState,
        /// The last leader, while ISR and ELR are empty (KIP-966); empty otherwise.
        last_known_elr: Vec<NodeId>,
        /// What is under way.
        reassignment: Reassignment,
    },
    /// `None` leaves as it is. A `leader` (even the same one) bumps the leader epoch, every change the partition epoch.
    PartitionChange {
        /// Which.
        partition: TopicPartition,
        /// `Some(None)`: nobody leads.
        leader: Option<Option<NodeId>>,
        /// In-sync replicas.
        isr: Option<Vec<NodeId>>,
        /// Eligible leader replicas.
        elr: Option<Vec<NodeId>>,
        /// See [`Record::Partition`].
        last_known_elr: Option<Vec<NodeId>>,
        /// Assigned replicas.
        replicas: Option<Vec<NodeId>>,
        /// See [`Reassignment`].
        adding: Option<Vec<NodeId>>,
        /// See [`Reassignment`].
        removing: Option<Vec<NodeId>>,
    },
    /// `value: None` removes it. Empty topic name: default of the cluster.
    Config {
        /// Topic name, or empty.
        topic: String,
        /// Kafka's property name.
        name: String,
        /// As text.
        value: Option<String>,
    },
    /// A block of producer ids went to a broker (KIP-730).
    ProducerIds {
        /// Whom it went to; -1 in a snapshot.
        broker: NodeId,
        /// Which incarnation; -1 in a snapshot.
        broker_epoch: BrokerEpoch,
        /// The first id of the next block.
        next_producer_id: i64,
    },
    /// Nothing; keeps the quorum's high watermark moving.
    NoOp,
}

/// Why bytes are not a record that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// The frame around the record is of another version.
    Frame(u32),
    /// No kind of ours has this number.
    UnknownKind(u32),
    /// A kind that we know in a version that we do not.
    UnsupportedVersion {
        /// Kafka's `apiKey`.
        kind: u32,
        /// As written.
        version: u32,
    },
    /// It ends in the middle of a field.
    Truncated,
    /// Bytes follow the last field.
    Garbage,
    /// A field has a value that it cannot have.
    Invalid(&'static str),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::Frame(version) => write!(f, "frame version {version} is not known"),
            RecordError::UnknownKind(kind) => write!(f, "kind {kind} is not known"),
            RecordError::UnsupportedVersion { kind, version } => {
                write!(f, "kind {kind} is not read in version {version}")
            }
            RecordError::Truncated => write!(f, "the record ends in the middle of a field"),
            RecordError::Garbage => write!(f, "bytes follow the last field"),
            RecordError::Invalid(what) => write!(f, "the record has {what}"),
        }
    }
}

impl std::error::Error for RecordError {}

fn leader_number(leader: Option<NodeId>) -> i32 {
    leader.map_or(NO_LEADER, |leader| leader.0)
}

fn leader_of(number: i32) -> Result<Option<NodeId>, RecordError> {
    match number {
        NO_LEADER => Ok(None),
        0.. => Ok(Some(NodeId(number))),
        _ => Err(RecordError::Invalid("a negative leader")),
    }
}

impl Record {
    /// The record's number in Kafka and the version that we write.
    fn kind_and_version(&self) -> (u32, u32) {
        match self {
            Record::RegisterBroker { .. } => (REGISTER_BROKER, 3),
            Record::UnregisterBroker { .. } => (UNREGISTER_BROKER, 0),
            Record::Topic { .. } => (TOPIC, 0),
            Record::Partition { .. } => (PARTITION, 2),
            Record::Config { .. } => (CONFIG, 0),
            Record::PartitionChange { .. } => (PARTITION_CHANGE, 2),
            Record::RemoveTopic { .. } => (REMOVE_TOPIC, 0),
            Record::BrokerRegistrationChange {
                in_controlled_shutdown, ..
            } => (BROKER_REGISTRATION_CHANGE, u32::from(in_controlled_shutdown.is_some())),
            Record::ProducerIds { .. } => (PRODUCER_IDS, 0),
            Record::NoOp => (NO_OP, 0),
        }
    }

    /// The value of a record of the metadata log.
    pub fn encode(&self) -> Bytes {
        let (kind, version) = self.kind_and_version();
        let mut out = Writer::default();
        out.unsigned_varint(FRAME_VERSION);
        out.unsigned_varint(kind);
        out.unsigned_varint(version);
        self.encode_fields(&mut out);
        out.finish()
    }

    fn encode_fields(&self, out: &mut Writer) {
        match self {
            Record::RegisterBroker {
                broker,
                broker_epoch,
                incarnation,
                host,
                port,
                rack,
                fenced,
                in_controlled_shutdown,
            } => {
                out.int32(broker.0);
                out.bool(false); // IsMigratingZkBroker
                out.uuid(*incarnation);
                out.int64(broker_epoch.0);
                out.length(1); // EndPoints
                out.string("PLAINTEXT");
                out.string(host);
                out.uint16(*port);
                out.int16(0); // SecurityProtocol
                out.tagged(&[]);
                out.length(0); // Features
                out.nullable_string(rack.as_deref());
                out.bool(*fenced);
                out.bool(*in_controlled_shutdown);
                out.tagged(&[]);
            }
            Record::UnregisterBroker { broker, broker_epoch } => {
                out.int32(broker.0);
                out.int64(broker_epoch.0);
                out.tagged(&[]);
            }
            Record::BrokerRegistrationChange {
                broker,
                broker_epoch,
                fenced,
                in_controlled_shutdown,
            } => {
                out.int32(broker.0);
                out.int64(broker_epoch.0);
                let sign = |value: bool| field(|out| out.int8(if value { 1 } else { -1 }));
                let mut fields = Vec::new();
                fields.extend(fenced.map(|fenced| (0, sign(fenced))));
                fields.extend(in_controlled_shutdown.map(|shutdown| (1, sign(shutdown))));
                out.tagged(&fields);
            }
            Record::Topic { name, id } => {
                out.string(name);
                out.uuid(*id);
                out.tagged(&[]);
            }
            Record::RemoveTopic { id } => {
                out.uuid(*id);
                out.tagged(&[]);
            }
            Record::Partition {
                partition,
                state,
                last_known_elr,
                reassignment,
            } => {
                out.int32(partition.partition);
                out.uuid(partition.topic);
                out.nodes(&state.replicas);
                out.nodes(&state.isr);
                out.nodes(&reassignment.removing);
                out.nodes(&reassignment.adding);
                out.int32(leader_number(state.leader));
                out.int32(state.leader_epoch.0);
                out.int32(state.partition_epoch.0);
                out.length(state.replicas.len()); // Directories: all UNASSIGNED
                for _ in &state.replicas {
                    out.uuid(UNASSIGNED);
                }
                let mut fields = Vec::new();
                if !state.elr.is_empty() {
                    fields.push((1, field(|out| out.nodes(&state.elr))));
                }
                if !last_known_elr.is_empty() {
                    fields.push((2, field(|out| out.nodes(last_known_elr))));
                }
                out.tagged(&fields);
            }
            Record::PartitionChange {
                partition,
                leader,
                isr,
                elr,
                last_known_elr,
                replicas,
                adding,
                removing,
            } => {
                out.int32(partition.partition);
                out.uuid(partition.topic);
                let nodes = |nodes: &Vec<NodeId>| field(|out| out.nodes(nodes));
                let mut fields = Vec::new();
                fields.extend(isr.as_ref().map(|isr| (0, nodes(isr))));
                fields.extend(leader.map(|leader| (1, field(|out| out.int32(leader_number(leader))))));
                fields.extend(replicas.as_ref().map(|replicas| (2, nodes(replicas))));
                fields.extend(removing.as_ref().map(|removing| (3, nodes(removing))));
                fields.extend(adding.as_ref().map(|adding| (4, nodes(adding))));
                fields.extend(elr.as_ref().map(|elr| (6, nodes(elr))));
                fields.extend(last_known_elr.as_ref().map(|last| (7, nodes(last))));
                out.tagged(&fields);
            }
            Record::Config { topic, name, value } => {
                out.int8(if topic.is_empty() {
                    RESOURCE_BROKER
                } else {
                    RESOURCE_TOPIC
                });
                out.string(topic);
                out.string(name);
                out.nullable_string(value.as_deref());
                out.tagged(&[]);
            }
            Record::ProducerIds {
                broker,
                broker_epoch,
                next_producer_id,
            } => {
                out.int32(broker.0);
                out.int64(broker_epoch.0);
                out.int64(*next_producer_id);
                out.tagged(&[]);
            }
            Record::NoOp => out.tagged(&[]),
        }
    }

    /// Reads the value of a record of the metadata log, in any version that Kafka 4 reads.
    pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
        let mut input = Reader::new(bytes);
        let frame = input.unsigned_varint()?;
        if frame != FRAME_VERSION {
            return Err(RecordError::Frame(frame));
        }
        let kind = input.unsigned_varint()?;
        let version = input.unsigned_varint()?;
        let newest = match kind {
            REGISTER_BROKER => 3,
            PARTITION | PARTITION_CHANGE | BROKER_REGISTRATION_CHANGE => 2,
            UNREGISTER_BROKER | TOPIC | CONFIG | REMOVE_TOPIC | PRODUCER_IDS | NO_OP => 0,
            _ => return Err(RecordError::UnknownKind(kind)),
        };
        if version > newest {
            return Err(RecordError::UnsupportedVersion { kind, version });
        }
        let record = match kind {
            REGISTER_BROKER => decode_register_broker(&mut input, version)?,
            UNREGISTER_BROKER => {
                let record = Record::UnregisterBroker {
                    broker: NodeId(input.int32()?),
                    broker_epoch: BrokerEpoch(input.int64()?),
                };
                input.skip_tagged()?;
                record
            }
            TOPIC => {
                let record = Record::Topic {
                    name: input.string()?,
                    id: input.uuid()?,
                };
                input.skip_tagged()?;
                record
            }
            PARTITION => decode_partition(&mut input, version)?,
            CONFIG => decode_config(&mut input)?,
            PARTITION_CHANGE => decode_partition_change(&mut input)?,
            REMOVE_TOPIC => {
                let record = Record::RemoveTopic { id: input.uuid()? };
                input.skip_tagged()?;
                record
            }
            BROKER_REGISTRATION_CHANGE => decode_registration_change(&mut input)?,
            PRODUCER_IDS => {
                let record = Record::ProducerIds {
                    broker: NodeId(input.int32()?),
                    broker_epoch: BrokerEpoch(input.int64()?),
                    next_producer_id: input.int64()?,
                };
                input.skip_tagged()?;
                record
            }
            _ => {
                input.skip_tagged()?;
                Record::NoOp
            }
        };
        if input.is_empty() {
            Ok(record)
        } else {
            Err(RecordError::Garbage)
        }
    }
}

fn decode_register_broker(input: &mut Reader<'_>, version: u32) -> Result<Record, RecordError> {
    let broker = NodeId(input.int32()?);
    if version >= 2 {
        input.bool()?;
    }
    let incarnation = input.uuid()?;
    let broker_epoch = BrokerEpoch(input.int64()?);
    let listeners = input
        .length(7)?
        .ok_or(RecordError::Invalid("null where listeners must be"))?;
    let mut listener = None;
    for _ in 0..listeners {
        input.string()?;
        let (host, port) = (input.string()?, input.uint16()?);
        input.int16()?;
        input.skip_tagged()?;
        listener = listener.or(Some((host, port)));
    }
    let features = input
        .length(6)?
        .ok_or(RecordError::Invalid("null where features must be"))?;
    for _ in 0..features {
        input.string()?;
        input.int16()?;
        input.int16()?;
        input.skip_tagged()?;
    }
    let rack = input.nullable_string()?;
    let fenced = input.bool()?;
    let in_controlled_shutdown = version >= 1 && input.bool()?;
    input.skip_tagged()?;
    let (host, port) = listener.ok_or(RecordError::Invalid("a broker without a listener"))?;
    Ok(Record::RegisterBroker {
        broker,
        broker_epoch,
        incarnation,
        host,
        port,
        rack,
        fenced,
        in_controlled_shutdown,
    })
}

fn decode_registration_change(input: &mut Reader<'_>) -> Result<Record, RecordError> {
    let broker = NodeId(input.int32()?);
    let broker_epoch = BrokerEpoch(input.int64()?);
    let (mut fenced, mut in_controlled_shutdown) = (None, None);
    input.tagged(|tag, value| {
        let sign = |value: &mut Reader<'_>| match value.int8()? {
            0 => Ok(None),
            1 => Ok(Some(true)),
            -1 => Ok(Some(false)),
            _ => Err(RecordError::Invalid("a change that is neither -1, 0 nor 1")),
        };
        match tag {
            0 => fenced = sign(value)?,
            1 => in_controlled_shutdown = sign(value)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(Record::BrokerRegistrationChange {
        broker,
        broker_epoch,
        fenced,
        in_controlled_shutdown,
    })
}

fn decode_partition(input: &mut Reader<'_>, version: u32) -> Result<Record, RecordError> {
    let index = input.int32()?;
    let topic = input.uuid()?;
    let replicas = input.nodes()?;
    let isr = input.nodes()?;
    let removing = input.nodes()?;
    let adding = input.nodes()?;
    let leader = leader_of(input.int32()?)?;
    let leader_epoch = LeaderEpoch(input.int32()?);
    let partition_epoch = PartitionEpoch(input.int32()?);
    if version >= 1 {
        let directories = input
            .length(16)?
            .ok_or(RecordError::Invalid("null where directories must be"))?;
        for _ in 0..directories {
            input.uuid()?;
        }
    }
    let (mut elr, mut last_known_elr) = (Vec::new(), Vec::new());
    input.tagged(|tag, value| {
        match tag {
            1 => elr = value.nullable_nodes()?.unwrap_or_default(),
            2 => last_known_elr = value.nullable_nodes()?.unwrap_or_default(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(Record::Partition {
        partition: TopicPartition {
            topic,
            partition: index,
        },
        state: PartitionState {
            leader,
            leader_epoch,
            partition_epoch,
            replicas,
            isr,
            elr,
        },
        last_known_elr,
        reassignment: Reassignment { adding, removing },
    })
}

fn decode_partition_change(input: &mut Reader<'_>) -> Result<Record, RecordError> {
    let index = input.int32()?;
    let topic = input.uuid()?;
    let (mut leader, mut isr, mut elr, mut last_known_elr, mut replicas) = (None, None, None, None, None);
    let (mut adding, mut removing) = (None, None);
    input.tagged(|tag, value| {
        match tag {
            0 => isr = value.nullable_nodes()?,
            1 => {
                leader = match value.int32()? {
                    NO_LEADER_CHANGE => None,
                    number => Some(leader_of(number)?),
                }
            }
            2 => replicas = value.nullable_nodes()?,
            3 => removing = value.nullable_nodes()?,
            4 => adding = value.nullable_nodes()?,
            6 => elr = value.nullable_nodes()?,
            7 => last_known_elr = value.nullable_nodes()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(Record::PartitionChange {
        partition: TopicPartition {
            topic,
            partition: index,
        },
        leader,
        isr,
        elr,
        last_known_elr,
        replicas,
        adding,
        removing,
    })
}

fn decode_config(input: &mut Reader<'_>) -> Result<Record, RecordError> {
    let resource = input.int8()?;
    let topic = input.string()?;
    let name = input.string()?;
    let value = input.nullable_string()?;
    input.skip_tagged()?;
    match (resource, topic.is_empty()) {
        (RESOURCE_TOPIC, false) | (RESOURCE_BROKER, true) => Ok(Record::Config { topic, name, value }),
        _ => Err(RecordError::Invalid(
            "a config of something that is neither a topic nor the cluster",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(index: i32) -> TopicPartition {
        TopicPartition {
            topic: Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
            partition: index,
        }
    }

    fn nodes(ids: &[i32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn all() -> Vec<Record> {
        let state = PartitionState {
            leader: Some(NodeId(2)),
            leader_epoch: LeaderEpoch(7),
            partition_epoch: PartitionEpoch(9),
            replicas: nodes(&[1, 2, 3]),
            isr: nodes(&[2]),
            elr: nodes(&[3]),
        };
        let change = |leader, isr: Option<&[i32]>| Record::PartitionChange {
            partition: partition(1),
            leader,
            isr: isr.map(nodes),
            elr: None,
            last_known_elr: None,
            replicas: None,
            adding: None,
            removing: None,
        };
        vec![
            Record::RegisterBroker {
                broker: NodeId(1),
                broker_epoch: BrokerEpoch(42),
                incarnation: Uuid::from_u128(3),
                host: "b1".into(),
                port: 9092,
                rack: Some("r1".into()),
                fenced: true,
                in_controlled_shutdown: false,
            },
            Record::UnregisterBroker {
                broker: NodeId(1),
                broker_epoch: BrokerEpoch(42),
            },
            Record::BrokerRegistrationChange {
                broker: NodeId(1),
                broker_epoch: BrokerEpoch(42),
                fenced: Some(false),
                in_controlled_shutdown: None,
            },
            Record::BrokerRegistrationChange {
                broker: NodeId(1),
                broker_epoch: BrokerEpoch(42),
                fenced: None,
                in_controlled_shutdown: Some(true),
            },
            Record::Topic {
                name: "t".into(),
                id: Uuid::from_u128(5),
            },
            Record::RemoveTopic { id: Uuid::from_u128(5) },
            Record::Partition {
                partition: partition(0),
                state: state.clone(),
                last_known_elr: vec![],
                reassignment: Reassignment::default(),
            },
            Record::Partition {
                partition: partition(0),
                state: PartitionState {
                    leader: None,
                    isr: vec![],
                    elr: vec![],
                    ..state
                },
                last_known_elr: nodes(&[2]),
                reassignment: Reassignment::default(),
            },
            change(None, Some(&[])),
            change(Some(None), None),
            change(Some(Some(NodeId(3))), Some(&[3, 1])),
            Record::PartitionChange {
                partition: partition(300),
                leader: Some(Some(NodeId(1))),
                isr: Some(nodes(&[1])),
                elr: Some(nodes(&[2])),
                last_known_elr: Some(nodes(&[])),
                replicas: Some(nodes(&[1, 2])),
                adding: None,
                removing: None,
            },
            Record::Config {
                topic: "t".into(),
                name: "retention.ms".into(),
                value: Some("1".into()),
            },
            Record::Config {
                topic: String::new(),
                name: "min.insync.replicas".into(),
                value: None,
            },
            Record::ProducerIds {
                broker: NodeId(3),
                broker_epoch: BrokerEpoch(42),
                next_producer_id: 2_000,
            },
            Record::NoOp,
        ]
    }

    #[test]
    fn every_record_survives_its_bytes() {
        for record in all() {
            assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }

    /// Bytes worked out by hand from Kafka's schemas.
    #[test]
    fn bytes_are_kafkas() {
        let topic = [1u8, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let golden = |record: &Record, expected: &[u8]| assert_eq!(&record.encode()[..], expected, "{record:?}");
        golden(&Record::NoOp, &[1, 20, 0, 0]);
        golden(
            &Record::ProducerIds {
                broker: NodeId(5),
                broker_epoch: BrokerEpoch(258),
                next_producer_id: 1_000,
            },
            &[
                1, 15, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 3, 232, 0,
            ],
        );
        golden(
            &Record::Topic {
                name: "foo".into(),
                id: Uuid::from_bytes(topic),
            },
            &[&[1, 2, 0, 4, b'f', b'o', b'o'][..], &topic, &[0]].concat(),
        );
        golden(
            &Record::BrokerRegistrationChange {
                broker: NodeId(5),
                broker_epoch: BrokerEpoch(258),
                fenced: Some(false),
                in_controlled_shutdown: Some(true),
            },
            &[1, 17, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 1, 2, 2, 0, 1, 0xff, 1, 1, 1],
        );
        golden(
            &Record::PartitionChange {
                partition: partition(2),
                leader: Some(None),
                isr: Some(nodes(&[1])),
                elr: Some(nodes(&[])),
                last_known_elr: None,
                replicas: None,
                adding: None,
                removing: None,
            },
            &[
                &[1, 5, 2, 0, 0, 0, 2][..],
                &topic,
                &[3, 0, 5, 2, 0, 0, 0, 1, 1, 4, 0xff, 0xff, 0xff, 0xff, 6, 1, 1],
            ]
            .concat(),
        );
        golden(
            &Record::Partition {
                partition: partition(2),
                state: PartitionState {
                    leader: Some(NodeId(1)),
                    leader_epoch: LeaderEpoch(3),
                    partition_epoch: PartitionEpoch(4),
                    replicas: nodes(&[1]),
                    isr: nodes(&[1]),
                    elr: nodes(&[]),
                },
                last_known_elr: vec![],
                reassignment: Reassignment::default(),
            },
            &[
                &[1, 3, 2, 0, 0, 0, 2][..],
                &topic,
                &[
                    2, 0, 0, 0, 1, 2, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 4, 2,
                ],
                &[0; 15],
                &[1, 0],
            ]
            .concat(),
        );
        golden(
            &Record::Config {
                topic: "t".into(),
                name: "a".into(),
                value: Some("b".into()),
            },
            &[1, 4, 0, 2, 2, b't', 2, b'a', 2, b'b', 0],
        );
        golden(
            &Record::RegisterBroker {
                broker: NodeId(1),
                broker_epoch: BrokerEpoch(2),
                incarnation: Uuid::from_bytes(topic),
                host: "h".into(),
                port: 9092,
                rack: None,
                fenced: true,
                in_controlled_shutdown: false,
            },
            &[
                &[1, 0, 3, 0, 0, 0, 1, 0][..],
                &topic,
                &[0, 0, 0, 0, 0, 0, 0, 2, 2, 10],
                b"PLAINTEXT",
                &[2, b'h', 0x23, 0x84, 0, 0, 0, 1, 0, 1, 0, 0],
            ]
            .concat(),
        );
    }

    #[test]
    fn older_versions_are_read() {
        // PartitionRecord version 0: no directories.
        let mut bytes = vec![1, 3, 0, 0, 0, 0, 2];
        bytes.extend([7; 16]);
        bytes.extend([
            2, 0, 0, 0, 1, 2, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 4, 0,
        ]);
        let Ok(Record::Partition { state, .. }) = Record::decode(&bytes) else {
            panic!("refused")
        };
        assert_eq!(
            (state.leader_epoch, state.partition_epoch),
            (LeaderEpoch(3), PartitionEpoch(4))
        );
        // An unknown tag is skipped.
        assert_eq!(Record::decode(&[1, 20, 0, 1, 9, 2, 0, 0]), Ok(Record::NoOp));
    }

    #[test]
    fn strangers_are_error_values() {
        assert_eq!(Record::decode(&[]), Err(RecordError::Truncated));
        assert_eq!(Record::decode(&[0, 20, 0, 0]), Err(RecordError::Frame(0)));
        assert_eq!(Record::decode(&[1, 99, 0, 0]), Err(RecordError::UnknownKind(99)));
        assert_eq!(
            Record::decode(&[1, 20, 1, 0]),
            Err(RecordError::UnsupportedVersion { kind: 20, version: 1 })
        );
        assert_eq!(Record::decode(&[1, 20, 0, 0, 0]), Err(RecordError::Garbage));
        // A list of four billion nodes in a few bytes.
        let mut bytes = vec![1, 3, 2, 0, 0, 0, 0];
        bytes.extend([0; 16]);
        bytes.extend([0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]);
        assert_eq!(Record::decode(&bytes), Err(RecordError::Truncated));
    }

    /// Every prefix and every flipped byte of every record, and noise: a value or an error, never a panic.
    #[test]
    fn hostile_bytes_never_panic() {
        let mut entropy = crate::machine::Entropy(1);
        for record in all() {
            let bytes = record.encode();
            for end in 0..bytes.len() {
                assert!(Record::decode(&bytes[..end]).is_err(), "a prefix of {record:?} passed");
            }
            for at in 0..bytes.len() {
                for flip in 1..=255u8 {
                    let mut bytes = bytes.to_vec();
                    bytes[at] ^= flip;
                    if let Ok(other) = Record::decode(&bytes) {
                        assert_eq!(Record::decode(&other.encode()), Ok(other));
                    }
                }
            }
        }
        for _ in 0..20_000 {
            let noise: Vec<u8> = (0..entropy.below(60)).map(|_| entropy.next_u64() as u8).collect();
            let _ = Record::decode(&[&[1, entropy.below(21) as u8, entropy.below(4) as u8][..], &noise].concat());
        }
    }
}
