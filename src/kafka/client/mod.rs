//! The clients: producer, consumer and administrator, as the synchronous machines that a scenario or a program drives.
//!
//! ```text
//!   Op, Input ──▶ Producer | Consumer | Admin .step(now, input, out) ──▶ Outbox: Connect, Send, Close; ClientNote
//!                    │
//!                    └── Network: connections (frames, correlation, timeouts, backoff) and metadata (leaders, epochs)
//! ```
//!
//! Guarantees: what a client tells its user in a `ClientNote` is what Kafka's Java client would tell it, and no more than
//! is known: a failed send is definite only if no broker can have the record.
//! Does not know: what the cluster looks like from inside; a client sees answers and lost connections.
//!
//! Left out on purpose: no ApiVersions exchange on connect (clients and brokers of one build share `wire::api`), no
//! fetch sessions (KIP-227, every fetch is a full one), no compression, no group membership, no transactions.
//!
//! Sources: Kafka 4.1 `NetworkClient`, `Metadata`, `RecordAccumulator`, `Sender`, `SubscriptionState`, `KafkaAdminClient`;
//! KIP-91 (delivery timeout), KIP-320 (truncation), KIP-392 (nearest replica), KIP-580 (exponential backoff), KIP-951
//! (leader in the answer).

pub mod admin;
pub mod backoff;
pub mod config;
pub mod connections;
pub mod consumer;
pub mod metadata;
pub mod network;
pub mod producer;
pub mod stranger;
#[cfg(test)]
mod testing;

pub use admin::Admin;
pub use config::{AdminConfig, ConsumerConfig, Endpoint, ProducerConfig};
pub use consumer::Consumer;
pub use producer::Producer;
pub use stranger::{Manner, Stranger};

use crate::machine::Input;
use crate::types::Offset;
use bytes::Bytes;

/// One thing that happened to a client.
#[derive(Clone, Debug)]
pub enum ClientInput {
    /// From the network or the clock. `Accepted` and `SyncDone` never come: a client listens to nobody and has no disk.
    Net(Input),
    /// From its user.
    Op(Op),
}

/// What a user asks of a client. Each kind of client takes its own; another's is a mistake of the program that drives
/// it, and ends it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Producer: send a record.
    Send {
        /// To this topic.
        topic: String,
        /// To this partition.
        partition: i32,
        /// Content.
        value: Bytes,
        /// Key; does not choose the partition.
        key: Option<Bytes>,
    },
    /// Producer: send everything that waits, without lingering.
    Flush,
    /// Consumer: read these partitions, and no others, from here.
    Assign {
        /// Topic and partition of each.
        partitions: Vec<(String, i32)>,
        /// Where to begin; a partition that was assigned before begins again.
        from: StartFrom,
    },
    /// Consumer: go on at another offset. Ignored if the partition is not assigned, as a late call may find it.
    Seek {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Next offset to read.
        offset: Offset,
    },
    /// Consumer: the user stops polling; what is fetched waits.
    Pause,
    /// Consumer: the user polls again.
    ResumePolling {
        /// Once in so many milliseconds (a slow consumer), `max.poll.records` at a time; 0: at once, everything.
        every_ms: u64,
    },
    /// Consumer: look an offset up.
    ListOffsets {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// -1 latest, -2 earliest, else the first record of at least this time, milliseconds.
        timestamp: i64,
    },
    /// Administrator.
    CreateTopic {
        /// Number of the operation, given back with its answer.
        op: u64,
        /// Topic.
        name: String,
        /// -1: the broker's default; also where an assignment is given.
        partitions: i32,
        /// -1: the broker's default; also where an assignment is given.
        replication_factor: i16,
        /// Topic properties.
        configs: Vec<(String, String)>,
        /// Replicas of each partition from 0, the preferred leader first; empty: the controller chooses.
        assignment: Vec<Vec<i32>>,
    },
    /// Administrator.
    DeleteTopic {
        /// Number of the operation.
        op: u64,
        /// Topic.
        name: String,
    },
    /// Administrator.
    CreatePartitions {
        /// Number of the operation.
        op: u64,
        /// Topic.
        name: String,
        /// Partitions that the topic shall have in all.
        count: i32,
    },
    /// Administrator: one property of a topic.
    AlterConfig {
        /// Number of the operation.
        op: u64,
        /// Topic.
        topic: String,
        /// Property.
        name: String,
        /// `None` takes the topic's own value away.
        value: Option<String>,
    },
    /// Administrator: records below an offset go.
    DeleteRecords {
        /// Number of the operation.
        op: u64,
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// New log start; -1 is the high watermark.
        before: Offset,
    },
    /// Administrator.
    ElectLeaders {
        /// Number of the operation.
        op: u64,
        /// True: any replica may lead if no other can; false: the preferred one.
        unclean: bool,
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
    },
    /// Administrator: a partition moves to other brokers.
    Reassign {
        /// Number of the operation.
        op: u64,
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// The preferred leader first; `None` takes back what is under way.
        replicas: Option<Vec<i32>>,
    },
    /// Administrator: brokers, controller and one topic, or all topics.
    DescribeMetadata {
        /// Number of the operation.
        op: u64,
        /// `None`: all.
        topic: Option<String>,
    },
    /// Stranger: connect to somebody and do its worst there, or go on with it.
    Trespass,
}

/// Where a consumer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StartFrom {
    /// At the log start.
    Earliest,
    /// At the end.
    Latest,
    /// Here.
    Offset(Offset),
}
