//! The APIs that a node serves, with their versions: one table for ApiVersions, for decoding and for our own calls.
//!
//! Guarantees: every version in the table can be encoded and decoded by the message library; Produce is advertised
//! from version 0 although it is served from 3, as Kafka 4 does, because librdkafka reads the lower end as a hint.
//! Does not know: who may call what on which listener.
//!
//! Sources: KIP-896 (lowest versions of Kafka 4), KIP-516 (topic ids), KIP-903 (replica epoch in Fetch), KIP-996
//! (pre-vote), KAFKA-18659 (Produce advertised from 0).

use super::schema::{Fields, requests as of};
use kafka_protocol::messages::ApiKey;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    /// Which API.
    pub key: ApiKey,
    /// Lowest version that we serve.
    pub min: i16,
    /// Highest version that we serve, and the one we use for our own calls.
    pub max: i16,
    /// Lowest version that ApiVersions shows.
    pub advertised_min: i16,
    /// Shape of its request.
    pub request: Fields,
}

impl Api {
    /// Whether this version has tagged fields and compact lengths (KIP-482).
    pub fn is_flexible(&self, version: i16) -> bool {
        self.key.request_header_version(version) >= 2
    }
}

const fn api(key: ApiKey, min: i16, max: i16, request: Fields) -> Api {
    Api {
        key,
        min,
        max,
        advertised_min: min,
        request,
    }
}

/// What a node serves, by ascending number.
///
/// Produce ends at 12 and so names topics by name; Fetch names them by id from 13, and a follower gives its broker
/// epoch from 15.
pub const APIS: &[Api] = &[
    Api {
        key: ApiKey::Produce,
        min: 3,
        max: 12,
        advertised_min: 0,
        request: of::PRODUCE,
    },
    api(ApiKey::Fetch, 4, 17, of::FETCH),
    api(ApiKey::ListOffsets, 1, 9, of::LIST_OFFSETS),
    api(ApiKey::Metadata, 0, 13, of::METADATA),
    api(ApiKey::ApiVersions, 0, 4, of::API_VERSIONS),
    api(ApiKey::CreateTopics, 2, 7, of::CREATE_TOPICS),
    api(ApiKey::DeleteTopics, 1, 6, of::DELETE_TOPICS),
    api(ApiKey::DeleteRecords, 0, 2, of::DELETE_RECORDS),
    api(ApiKey::InitProducerId, 0, 5, of::INIT_PRODUCER_ID),
    api(ApiKey::OffsetForLeaderEpoch, 2, 4, of::OFFSET_FOR_LEADER_EPOCH),
    api(ApiKey::DescribeConfigs, 1, 4, of::DESCRIBE_CONFIGS),
    api(ApiKey::AlterConfigs, 0, 2, of::ALTER_CONFIGS),
    api(ApiKey::CreatePartitions, 0, 3, of::CREATE_PARTITIONS),
    api(ApiKey::ElectLeaders, 0, 2, of::ELECT_LEADERS),
    api(ApiKey::IncrementalAlterConfigs, 0, 1, of::INCREMENTAL_ALTER_CONFIGS),
    api(
        ApiKey::AlterPartitionReassignments,
        0,
        1,
        of::ALTER_PARTITION_REASSIGNMENTS,
    ),
    api(
        ApiKey::ListPartitionReassignments,
        0,
        0,
        of::LIST_PARTITION_REASSIGNMENTS,
    ),
    api(ApiKey::Vote, 0, 2, of::VOTE),
    api(ApiKey::BeginQuorumEpoch, 0, 1, of::BEGIN_QUORUM_EPOCH),
    api(ApiKey::EndQuorumEpoch, 0, 1, of::END_QUORUM_EPOCH),
    api(ApiKey::DescribeQuorum, 0, 2, of::DESCRIBE_QUORUM),
    api(ApiKey::AlterPartition, 2, 3, of::ALTER_PARTITION),
    api(ApiKey::FetchSnapshot, 0, 1, of::FETCH_SNAPSHOT),
    api(ApiKey::DescribeCluster, 0, 2, of::DESCRIBE_CLUSTER),
    api(ApiKey::BrokerRegistration, 0, 4, of::BROKER_REGISTRATION),
    api(ApiKey::BrokerHeartbeat, 0, 1, of::BROKER_HEARTBEAT),
    api(ApiKey::AllocateProducerIds, 0, 0, of::ALLOCATE_PRODUCER_IDS),
    api(ApiKey::DescribeTopicPartitions, 0, 0, of::DESCRIBE_TOPIC_PARTITIONS),
];

/// Row of each API by its number: position in [`APIS`], or `NONE`. A request is looked up on every frame.
const ROWS: [u8; 128] = {
    let mut rows = [NONE; 128];
    let mut i = 0;
    while i < APIS.len() {
        rows[APIS[i].key as i16 as usize] = i as u8;
        i += 1;
    }
    rows
};
const NONE: u8 = u8::MAX;

/// The row of an API; `None` if we do not serve it.
pub fn find(key: i16) -> Option<&'static Api> {
    let row = *ROWS.get(usize::try_from(key).ok()?)?;
    APIS.get(usize::from(row))
}

/// Whether we serve this version of this API.
pub fn serves(key: ApiKey, version: i16) -> bool {
    find(key as i16).is_some_and(|api| api.min <= version && version <= api.max)
}

/// The version of our own calls: the newest that we serve, or that the library knows for an API that we do not serve.
pub fn newest(key: ApiKey) -> i16 {
    find(key as i16).map_or_else(|| key.valid_versions().max, |api| api.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_can_do_every_version_of_the_table() {
        for api in APIS {
            let valid = api.key.valid_versions();
            assert!(valid.min <= api.min && api.max <= valid.max, "{api:?} against {valid}");
            assert!(api.min <= api.max && api.advertised_min <= api.min, "{api:?}");
        }
    }

    #[test]
    fn the_table_ascends_and_finds_each_row() {
        assert!(APIS.windows(2).all(|pair| (pair[0].key as i16) < (pair[1].key as i16)));
        for api in APIS {
            assert_eq!(find(api.key as i16), Some(api));
        }
    }

    #[test]
    fn versions_outside_the_table_are_refused() {
        assert!(serves(ApiKey::Produce, 3) && serves(ApiKey::Produce, 12));
        assert!(!serves(ApiKey::Produce, 2) && !serves(ApiKey::Produce, 13));
        assert!(!serves(ApiKey::Fetch, 3) && !serves(ApiKey::Fetch, 18));
        assert!(!serves(ApiKey::JoinGroup, 5));
        assert!(find(-1).is_none() && find(1000).is_none() && find(127).is_none());
    }

    #[test]
    fn our_own_calls_use_the_newest_version() {
        assert_eq!(newest(ApiKey::Fetch), 17);
        assert_eq!(newest(ApiKey::Vote), 2);
        assert_eq!(newest(ApiKey::Heartbeat), ApiKey::Heartbeat.valid_versions().max);
    }
}
