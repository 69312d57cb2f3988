//! The shape of each request that a node serves, in all versions of its row in the table of APIs.
//!
//! Guarantees: the message library reads each version to the end of what the shape says, which is tested.
//!
//! Sources: Kafka's message definitions.

use super::{Field, Fields, Kind};

const INT8: Field = Field::of(Kind::Fixed(1));
const INT16: Field = Field::of(Kind::Fixed(2));
const INT32: Field = Field::of(Kind::Fixed(4));
const INT64: Field = Field::of(Kind::Fixed(8));
const UUID: Field = Field::of(Kind::Fixed(16));
const TEXT: Field = Field::of(Kind::Text);
const BLOB: Field = Field::of(Kind::Blob);

const fn many(item: &'static Field) -> Field {
    Field::of(Kind::Many(&item.kind))
}

const fn each(fields: Fields) -> Field {
    Field::of(Kind::Each(fields))
}

const fn part(fields: Fields) -> Field {
    Field::of(Kind::Part(fields))
}

const fn maybe(fields: Fields) -> Field {
    Field::of(Kind::Maybe(fields))
}

/// Produce.
pub const PRODUCE: Fields = &[
    TEXT,
    INT16,
    INT32,
    each(&[TEXT.until(12), UUID.since(13), each(&[INT32, BLOB])]),
];

/// Fetch.
pub const FETCH: Fields = &[
    TEXT.tagged(0, 12),
    INT32.until(14),
    part(&[INT32, INT64]).tagged(1, 15),
    INT32,
    INT32,
    INT32,
    INT8,
    INT32.since(7),
    INT32.since(7),
    each(&[
        TEXT.until(12),
        UUID.since(13),
        each(&[
            INT32,
            INT32.since(9),
            INT64,
            INT32.since(12),
            INT64.since(5),
            INT32,
            UUID.tagged(0, 17),
            INT64.tagged(1, 18),
        ]),
    ]),
    each(&[TEXT.until(12), UUID.since(13), many(&INT32)]).since(7),
    TEXT.since(11),
];

/// ListOffsets.
pub const LIST_OFFSETS: Fields = &[
    INT32,
    INT8.since(2),
    each(&[TEXT, each(&[INT32, INT32.since(4), INT64])]),
    INT32.since(10),
];

/// Metadata.
pub const METADATA: Fields = &[
    each(&[UUID.since(10), TEXT]),
    INT8.since(4),
    INT8.since(8).until(10),
    INT8.since(8),
];

/// ApiVersions.
pub const API_VERSIONS: Fields = &[TEXT.since(3), TEXT.since(3)];

/// CreateTopics.
pub const CREATE_TOPICS: Fields = &[
    each(&[TEXT, INT32, INT16, each(&[INT32, many(&INT32)]), each(&[TEXT, TEXT])]),
    INT32,
    INT8,
];

/// DeleteTopics.
pub const DELETE_TOPICS: Fields = &[each(&[TEXT, UUID]).since(6), many(&TEXT).until(5), INT32];

/// DeleteRecords.
pub const DELETE_RECORDS: Fields = &[each(&[TEXT, each(&[INT32, INT64])]), INT32];

/// InitProducerId.
pub const INIT_PRODUCER_ID: Fields = &[TEXT, INT32, INT64.since(3), INT16.since(3)];

/// OffsetForLeaderEpoch.
pub const OFFSET_FOR_LEADER_EPOCH: Fields = &[INT32.since(3), each(&[TEXT, each(&[INT32, INT32, INT32])])];

/// DescribeConfigs.
pub const DESCRIBE_CONFIGS: Fields = &[each(&[INT8, TEXT, many(&TEXT)]), INT8, INT8.since(3)];

/// AlterConfigs.
pub const ALTER_CONFIGS: Fields = &[each(&[INT8, TEXT, each(&[TEXT, TEXT])]), INT8];

/// DescribeLogDirs.
pub const DESCRIBE_LOG_DIRS: Fields = &[each(&[TEXT, many(&INT32)])];

/// CreatePartitions.
pub const CREATE_PARTITIONS: Fields = &[each(&[TEXT, INT32, each(&[many(&INT32)])]), INT32, INT8];

/// ElectLeaders.
pub const ELECT_LEADERS: Fields = &[INT8.since(1), each(&[TEXT, many(&INT32)]), INT32];

/// IncrementalAlterConfigs.
pub const INCREMENTAL_ALTER_CONFIGS: Fields = &[each(&[INT8, TEXT, each(&[TEXT, INT8, TEXT])]), INT8];

/// AlterPartitionReassignments.
pub const ALTER_PARTITION_REASSIGNMENTS: Fields = &[INT32, INT8.since(1), each(&[TEXT, each(&[INT32, many(&INT32)])])];

/// ListPartitionReassignments.
pub const LIST_PARTITION_REASSIGNMENTS: Fields = &[INT32, each(&[TEXT, many(&INT32)])];

/// Vote.
pub const VOTE: Fields = &[
    TEXT,
    INT32.since(1),
    each(&[
        TEXT,
        each(&[
            INT32,
            INT32,
            INT32,
            UUID.since(1),
            UUID.since(1),
            INT32,
            INT64,
            INT8.since(2),
        ]),
    ]),
];

/// BeginQuorumEpoch.
pub const BEGIN_QUORUM_EPOCH: Fields = &[
    TEXT,
    INT32.since(1),
    each(&[TEXT, each(&[INT32, UUID.since(1), INT32, INT32])]),
    each(&[TEXT, TEXT, INT16]).since(1),
];

/// EndQuorumEpoch.
pub const END_QUORUM_EPOCH: Fields = &[
    TEXT,
    each(&[
        TEXT,
        each(&[
            INT32,
            INT32,
            INT32,
            many(&INT32).until(0),
            each(&[INT32, UUID]).since(1),
        ]),
    ]),
    each(&[TEXT, TEXT, INT16]).since(1),
];

/// DescribeQuorum.
pub const DESCRIBE_QUORUM: Fields = &[each(&[TEXT, each(&[INT32])])];

/// AlterPartition.
pub const ALTER_PARTITION: Fields = &[
    INT32,
    INT64,
    each(&[
        UUID,
        each(&[
            INT32,
            INT32,
            many(&INT32).until(2),
            each(&[INT32, INT64]).since(3),
            INT8,
            INT32,
        ]),
    ]),
];

/// FetchSnapshot.
pub const FETCH_SNAPSHOT: Fields = &[
    TEXT.tagged(0, 0),
    INT32,
    INT32,
    each(&[
        TEXT,
        each(&[INT32, INT32, part(&[INT64, INT32]), INT64, UUID.tagged(0, 1)]),
    ]),
];

/// DescribeCluster.
pub const DESCRIBE_CLUSTER: Fields = &[INT8, INT8.since(1), INT8.since(2)];

/// BrokerRegistration.
pub const BROKER_REGISTRATION: Fields = &[
    INT32,
    TEXT,
    UUID,
    each(&[TEXT, TEXT, INT16, INT16]),
    each(&[TEXT, INT16, INT16]),
    TEXT,
    INT8.since(1),
    many(&UUID).since(2),
    INT64.since(3),
];

/// BrokerHeartbeat.
pub const BROKER_HEARTBEAT: Fields = &[INT32, INT64, INT64, INT8, INT8, many(&UUID).tagged(0, 1)];

/// AllocateProducerIds.
pub const ALLOCATE_PRODUCER_IDS: Fields = &[INT32, INT64];

/// DescribeTopicPartitions.
pub const DESCRIBE_TOPIC_PARTITIONS: Fields = &[each(&[TEXT]), INT32, maybe(&[TEXT, INT32])];
