//! The numbers of a replicated log, one type for each kind that must never be mixed up.
//!
//! On the wire -1 means none; inside it is `Option`. An offset is a plain `i64` because it is
//! counted, compared and subtracted everywhere; epochs and ids are never added to anything.

use serde::{Deserialize, Serialize};
use std::fmt;

pub use uuid::Uuid;

/// Position of a record in a partition. Ends (`log_end_offset`, `high_watermark`) are exclusive:
/// the next offset, not the last one.
pub type Offset = i64;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number!(
    /// `node.id`: a broker, a controller or both.
    NodeId(i32)
);
number!(
    /// Fences leaders of a partition; bumped at every leader change. In the metadata quorum: the raft term.
    LeaderEpoch(i32)
);
number!(
    /// Version of a partition's registration (leader and ISR); bumped at every change (KIP-497).
    PartitionEpoch(i32)
);
number!(
    /// One incarnation of a broker: the offset of its registration record (KIP-631).
    BrokerEpoch(i64)
);
number!(
    /// A connection, named by the program that sees it; unique for the life of that program.
    ConnId(u64)
);
number!(
    /// A request that a broker has read and not answered yet.
    RequestId(u64)
);

/// A partition, by the topic's id: a topic that is deleted and created again is another topic (KIP-516).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Unique for ever.
    pub topic: Uuid,
    /// From 0.
    pub partition: i32,
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.topic.as_u128() >> 96, self.partition)
    }
}

/// Kafka's fixed id of the topic `__cluster_metadata`.
pub const METADATA_TOPIC_ID: Uuid = Uuid::from_u128(1);
/// The topic of the metadata log; its only partition is 0.
pub const METADATA_TOPIC: &str = "__cluster_metadata";
/// The metadata log itself.
pub const METADATA_PARTITION: TopicPartition = TopicPartition {
    topic: METADATA_TOPIC_ID,
    partition: 0,
};

/// Longest name of a topic, so that its directory's name fits any file system.
const MAX_TOPIC_NAME_LENGTH: usize = 249;

/// Why a topic cannot have this name, as Kafka words it; none if it can.
///
/// Sources: `org.apache.kafka.common.internals.Topic.validate`.
pub fn flaw_of_topic_name(name: &str) -> Option<&'static str> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match name {
        "" => Some("the empty string is not allowed"),
        "." | ".." => Some("'.' or '..' is not allowed"),
        _ if name.len() > MAX_TOPIC_NAME_LENGTH => Some("the length is longer than the max allowed length 249"),
        _ if !name.bytes().all(is_legal) => {
            Some("it contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
        }
        _ => None,
    }
}

/// An instant as one node sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Now {
    /// Nanoseconds of the node's monotonic clock. Timers, timeouts and lag use this one.
    pub mono: Nanos,
    /// Milliseconds since the Unix epoch by the node's wall clock; may step back. Timestamps of records and retention use this one.
    pub wall_ms: i64,
}

/// Nanoseconds on a monotonic clock, or a span of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// `ms` milliseconds.
    pub const fn from_ms(ms: u64) -> Nanos {
        Nanos(ms * 1_000_000)
    }
    /// Whole milliseconds, rounded down.
    pub const fn as_ms(self) -> u64 {
        self.0 / 1_000_000
    }
    /// This instant plus `ms` milliseconds.
    pub const fn plus_ms(self, ms: u64) -> Nanos {
        Nanos(self.0 + ms * 1_000_000)
    }
    /// The span since `earlier`; zero if that is later.
    pub const fn since(self, earlier: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}
