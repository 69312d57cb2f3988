//! Settings of a node and of a topic, under Kafka's own property names.
//!
//! Defaults are Kafka's. A property that we do not know, or a value that it cannot have, is an error in words.

use crate::rules::Rules;
use crate::types::NodeId;
use std::collections::BTreeMap;

/// A peer of the metadata quorum: one entry of `controller.quorum.voters`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Voter {
    /// `id` of `id@host:port`.
    pub id: NodeId,
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// What a node is told when its process starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeConfig {
    /// `node.id`.
    pub node_id: NodeId,
    /// `process.roles` has `broker`.
    pub is_broker: bool,
    /// `process.roles` has `controller`.
    pub is_controller: bool,
    /// Advertised listener.
    pub host: String,
    /// Advertised listener.
    pub port: u16,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `controller.quorum.voters`.
    pub voters: Vec<Voter>,
    /// Cluster id that `meta.properties` must agree with.
    pub cluster_id: String,
    /// Everything else, by name; see [`Settings`].
    pub settings: Settings,
    /// Museum.
    pub rules: Rules,
}

/// Words for the values 0 and 1 where a property has no others.
const FLAG: &[&str] = &["false", "true"];

/// The words that stand for a property's numbers, from 0 on; none if it is a number.
pub(crate) const fn words_of(min: i64, max: i64, words: &'static [&'static str]) -> &'static [&'static str] {
    if words.is_empty() && min == 0 && max == 1 {
        FLAG
    } else {
        words
    }
}

/// The number behind a value as a user writes it. The error is a fragment that fits after "property `name`".
pub(crate) fn parse(value: &str, min: i64, max: i64, words: &[&str]) -> Result<i64, String> {
    if let Some(at) = words.iter().position(|word| *word == value) {
        return Ok(min + at as i64);
    }
    if !words.is_empty() && words != FLAG {
        return Err(format!("must be one of {}, not `{value}`", words.join(", ")));
    }
    let number: i64 = value.parse().map_err(|_| match words.is_empty() {
        true => format!("is not a whole number: `{value}`"),
        false => format!("must be {}, not `{value}`", words.join(" or ")),
    })?;
    if (min..=max).contains(&number) {
        Ok(number)
    } else {
        Err(format!("must be between {min} and {max}, not {number}"))
    }
}

macro_rules! settings {
    ($(#[$meta:meta])* $struct:ident { $( $(#[$doc:meta])* $field:ident : $name:literal = $default:expr, $min:expr, $max:expr $(, $word:literal)*; )* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $struct { $( $(#[$doc])* pub $field: i64, )* }

        impl Default for $struct {
            fn default() -> Self { $struct { $( $field: $default, )* } }
        }

        impl $struct {
            /// Kafka's names of all properties, in order.
            pub const NAMES: &'static [&'static str] = &[$($name,)*];

            /// Sets one property by name. The error is a fragment that fits after "property `name`".
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
                match name {
                    $($name => {
                        self.$field = $crate::config::parse(value, $min, $max, Self::words(name))?;
                        Ok(())
                    })*
                    _ => Err(format!("is not known; known are {}", Self::NAMES.join(", "))),
                }
            }

            /// Words of a property's values, by their number; none if it is a number.
            pub fn words(name: &str) -> &'static [&'static str] {
                match name { $($name => { const WORDS: &[&str] = $crate::config::words_of($min, $max, &[$($word),*]); WORDS })* _ => &[] }
            }

            /// The value of a property as a user would write it.
            pub fn text(&self, name: &str) -> Option<String> {
                let number = self.get(name)?;
                let word = Self::words(name).get(usize::try_from(number).unwrap_or(usize::MAX));
                Some(word.map_or_else(|| number.to_string(), |word| (*word).to_owned()))
            }

            /// Least and greatest number of a property.
            pub fn limits(name: &str) -> Option<(i64, i64)> {
                match name { $($name => Some(($min, $max)),)* _ => None }
            }

            /// The value of a property by name.
            pub fn get(&self, name: &str) -> Option<i64> {
                match name { $($name => Some(self.$field),)* _ => None }
            }
        }
    };
}

pub(crate) use settings;

settings! {
    /// Properties of a node that are numbers (booleans are 0 and 1). Also the defaults of topics.
    Settings {
        /// A follower that has not caught up to the leader's log end for this long leaves the ISR.
        replica_lag_time_max_ms: "replica.lag.time.max.ms" = 30_000, 1, i64::MAX;
        /// The longest a follower's fetch waits at the leader.
        replica_fetch_wait_max_ms: "replica.fetch.wait.max.ms" = 500, 0, i64::MAX;
        /// Bytes a follower asks for, for each partition.
        replica_fetch_max_bytes: "replica.fetch.max.bytes" = 1_048_576, 1, i32::MAX as i64;
        /// A fetcher rests this long after an error.
        replica_fetch_backoff_ms: "replica.fetch.backoff.ms" = 1_000, 0, i64::MAX;
        /// A fetch without answer for this long is given up.
        replica_socket_timeout_ms: "replica.socket.timeout.ms" = 30_000, 1, i64::MAX;
        /// High watermarks are written to disk this often.
        replica_high_watermark_checkpoint_interval_ms: "replica.high.watermark.checkpoint.interval.ms" = 5_000, 1, i64::MAX;
        /// Default of `min.insync.replicas` for topics.
        min_insync_replicas: "min.insync.replicas" = 1, 1, 100;
        /// Default of the topic property of the same name.
        unclean_leader_election_enable: "unclean.leader.election.enable" = 0, 0, 1;
        /// 1 where consumers may fetch from a replica of their own rack (`replica.selector.class`, KIP-392).
        replica_selector_rack_aware: "replica.selector.rack.aware" = 0, 0, 1;
        /// A broker says that it lives this often.
        broker_heartbeat_interval_ms: "broker.heartbeat.interval.ms" = 2_000, 1, i64::MAX;
        /// A broker that has not said so for this long is fenced.
        broker_session_timeout_ms: "broker.session.timeout.ms" = 9_000, 1, i64::MAX;
        /// A follower of the quorum that hears nothing for this long becomes a candidate; a leader that hears no majority for this long resigns.
        controller_quorum_fetch_timeout_ms: "controller.quorum.fetch.timeout.ms" = 2_000, 1, i64::MAX;
        /// A candidate that has no majority by then tries again.
        controller_quorum_election_timeout_ms: "controller.quorum.election.timeout.ms" = 1_000, 1, i64::MAX;
        /// Longest pause after a lost election.
        controller_quorum_election_backoff_max_ms: "controller.quorum.election.backoff.max.ms" = 1_000, 1, i64::MAX;
        /// A quorum request without answer for this long is given up.
        controller_quorum_request_timeout_ms: "controller.quorum.request.timeout.ms" = 2_000, 1, i64::MAX;
        /// A metadata snapshot is written after this many bytes of new records.
        metadata_log_max_record_bytes_between_snapshots: "metadata.log.max.record.bytes.between.snapshots" = 20_971_520, 1, i64::MAX;
        /// Bytes of a segment of the metadata log. Whole segments below the snapshots are deleted.
        metadata_log_segment_bytes: "metadata.log.segment.bytes" = 1_073_741_824, 256, i32::MAX as i64;
        /// Bytes that one fetch of the metadata log or of a snapshot asks for; at least one batch always comes.
        internal_metadata_max_fetch_size_in_bytes: "internal.metadata.max.fetch.size.in.bytes" = 8_388_608, 1, i32::MAX as i64;
        /// The active controller writes a record of nothing when it has written nothing for this long; 0 means never.
        metadata_max_idle_interval_ms: "metadata.max.idle.interval.ms" = 500, 0, i64::MAX;
        /// The active controller moves leadership back to preferred replicas this often; 0 means never.
        leader_imbalance_check_interval_ms: "leader.imbalance.check.interval.ms" = 300_000, 0, i64::MAX;
        /// 1: a topic that a client asks for by name is created if it does not exist.
        auto_create_topics_enable: "auto.create.topics.enable" = 1, 0, 1;
        /// Most fetch sessions at once (KIP-227).
        max_incremental_fetch_session_cache_slots: "max.incremental.fetch.session.cache.slots" = 1_000, 0, i32::MAX as i64;
        /// Partitions that one answer to DescribeTopicPartitions holds at most.
        max_request_partition_size_limit: "max.request.partition.size.limit" = 2_000, 1, i32::MAX as i64;
        /// Partitions of a topic that is created without a number.
        num_partitions: "num.partitions" = 1, 1, 10_000;
        /// Replicas of a topic that is created without a number.
        default_replication_factor: "default.replication.factor" = 1, 1, 100;
        /// Segments older than their retention are looked for this often.
        log_retention_check_interval_ms: "log.retention.check.interval.ms" = 300_000, 1, i64::MAX;
        /// Recovery points and log starts are written to disk this often.
        log_flush_offset_checkpoint_interval_ms: "log.flush.offset.checkpoint.interval.ms" = 60_000, 1, i64::MAX;
        /// An idempotent producer that has written nothing to a partition for this long is forgotten there.
        producer_id_expiration_ms: "producer.id.expiration.ms" = 86_400_000, 1, i32::MAX as i64;
        /// Such producers are looked for this often.
        producer_id_expiration_check_interval_ms: "producer.id.expiration.check.interval.ms" = 600_000, 1, i32::MAX as i64;
        /// Default of `message.timestamp.type` for topics.
        log_message_timestamp_type: "log.message.timestamp.type" = 0, 0, 1, "CreateTime", "LogAppendTime";
        /// Default of `message.timestamp.before.max.ms` for topics.
        log_message_timestamp_before_max_ms: "log.message.timestamp.before.max.ms" = i64::MAX, 0, i64::MAX;
        /// Default of `message.timestamp.after.max.ms` for topics.
        log_message_timestamp_after_max_ms: "log.message.timestamp.after.max.ms" = 3_600_000, 0, i64::MAX;
        /// A broker gives up a controlled shutdown after this long.
        controlled_shutdown_timeout_ms: "controlled.shutdown.timeout.ms" = 30_000, 1, i64::MAX;
        /// Default of `segment.bytes` for topics.
        log_segment_bytes: "log.segment.bytes" = 1_073_741_824, 256, i32::MAX as i64;
        /// Default of `segment.ms` for topics.
        log_roll_ms: "log.roll.ms" = 604_800_000, 1, i64::MAX;
        /// Default of `retention.ms` for topics.
        log_retention_ms: "log.retention.ms" = 604_800_000, -1, i64::MAX;
        /// Default of `retention.bytes` for topics.
        log_retention_bytes: "log.retention.bytes" = -1, -1, i64::MAX;
        /// Default of `index.interval.bytes` for topics.
        log_index_interval_bytes: "log.index.interval.bytes" = 4_096, 0, i32::MAX as i64;
        /// Default of `segment.index.bytes` for topics.
        log_index_size_max_bytes: "log.index.size.max.bytes" = 10_485_760, 16, i32::MAX as i64;
        /// Default of `flush.messages` for topics.
        log_flush_interval_messages: "log.flush.interval.messages" = i64::MAX, 1, i64::MAX;
        /// Default of `flush.ms` for topics.
        log_flush_interval_ms: "log.flush.interval.ms" = i64::MAX, 0, i64::MAX;
        /// Default of `max.message.bytes` for topics.
        message_max_bytes: "message.max.bytes" = 1_048_588, 0, i32::MAX as i64;
        /// Default of `file.delete.delay.ms` for topics.
        log_segment_delete_delay_ms: "log.segment.delete.delay.ms" = 60_000, 0, i64::MAX;
    }
}

settings! {
    /// Properties of a topic.
    TopicConfig {
        /// With fewer in-sync replicas an acks=all write is refused and the high watermark rests (KIP-966).
        min_insync_replicas: "min.insync.replicas" = 1, 1, 100;
        /// 1: a replica outside the ISR may lead when nobody else lives.
        unclean_leader_election_enable: "unclean.leader.election.enable" = 0, 0, 1;
        /// Bytes of a segment.
        segment_bytes: "segment.bytes" = 1_073_741_824, 256, i32::MAX as i64;
        /// Age of a segment's first record at which it is closed.
        segment_ms: "segment.ms" = 604_800_000, 1, i64::MAX;
        /// Bytes of log between two index entries.
        index_interval_bytes: "index.interval.bytes" = 4_096, 0, i32::MAX as i64;
        /// Size limit of an index file.
        segment_index_bytes: "segment.index.bytes" = 10_485_760, 16, i32::MAX as i64;
        /// Age at which records may go; -1 means never.
        retention_ms: "retention.ms" = 604_800_000, -1, i64::MAX;
        /// Size of a log above which the oldest segments go; -1 means no limit.
        retention_bytes: "retention.bytes" = -1, -1, i64::MAX;
        /// Records after which the log is synced.
        flush_messages: "flush.messages" = i64::MAX, 1, i64::MAX;
        /// Time after which the log is synced.
        flush_ms: "flush.ms" = i64::MAX, 0, i64::MAX;
        /// Largest batch.
        max_message_bytes: "max.message.bytes" = 1_048_588, 0, i32::MAX as i64;
        /// Whose clock the records' timestamps are of: the producer's, or the leader's when it appends.
        message_timestamp_type: "message.timestamp.type" = 0, 0, 1, "CreateTime", "LogAppendTime";
        /// How far behind the leader's clock a producer's timestamp may be.
        message_timestamp_before_max_ms: "message.timestamp.before.max.ms" = i64::MAX, 0, i64::MAX;
        /// How far ahead of it.
        message_timestamp_after_max_ms: "message.timestamp.after.max.ms" = 3_600_000, 0, i64::MAX;
        /// Batches are stored as producers compressed them; there is no other way here.
        compression_type: "compression.type" = 0, 0, 0, "producer";
        /// Old segments are deleted; logs are not compacted here.
        cleanup_policy: "cleanup.policy" = 0, 0, 0, "delete";
        /// How long a segment file stays after its deletion.
        file_delete_delay_ms: "file.delete.delay.ms" = 60_000, 0, i64::MAX;
    }
}

/// Properties by the topic that they belong to; those of the cluster under the empty name.
pub type Configs = BTreeMap<String, BTreeMap<String, String>>;

/// Properties of topics whose default is a property of the node, and that one's name.
pub const DEFAULTS_OF_TOPICS: &[(&str, &str)] = &[
    ("min.insync.replicas", "min.insync.replicas"),
    ("unclean.leader.election.enable", "unclean.leader.election.enable"),
    ("segment.bytes", "log.segment.bytes"),
    ("segment.ms", "log.roll.ms"),
    ("index.interval.bytes", "log.index.interval.bytes"),
    ("segment.index.bytes", "log.index.size.max.bytes"),
    ("retention.ms", "log.retention.ms"),
    ("retention.bytes", "log.retention.bytes"),
    ("flush.messages", "log.flush.interval.messages"),
    ("flush.ms", "log.flush.interval.ms"),
    ("max.message.bytes", "message.max.bytes"),
    ("file.delete.delay.ms", "log.segment.delete.delay.ms"),
    ("message.timestamp.type", "log.message.timestamp.type"),
    ("message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms"),
    ("message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms"),
];

impl TopicConfig {
    /// The node's defaults, overridden by the topic's own properties; values that do not fit are ignored, since
    /// the controller has already refused them.
    pub fn of(settings: &Settings, overrides: &BTreeMap<String, String>) -> TopicConfig {
        let mut config = TopicConfig {
            min_insync_replicas: settings.min_insync_replicas,
            unclean_leader_election_enable: settings.unclean_leader_election_enable,
            segment_bytes: settings.log_segment_bytes,
            segment_ms: settings.log_roll_ms,
            index_interval_bytes: settings.log_index_interval_bytes,
            segment_index_bytes: settings.log_index_size_max_bytes,
            retention_ms: settings.log_retention_ms,
            retention_bytes: settings.log_retention_bytes,
            flush_messages: settings.log_flush_interval_messages,
            flush_ms: settings.log_flush_interval_ms,
            max_message_bytes: settings.message_max_bytes,
            file_delete_delay_ms: settings.log_segment_delete_delay_ms,
            message_timestamp_type: settings.log_message_timestamp_type,
            message_timestamp_before_max_ms: settings.log_message_timestamp_before_max_ms,
            message_timestamp_after_max_ms: settings.log_message_timestamp_after_max_ms,
            ..TopicConfig::default()
        };
        for (name, value) in overrides {
            let _ = config.set(name, value);
        }
        config
    }

    /// As [`TopicConfig::of`], with the cluster's own defaults between the two: `configs` by resource, as in the metadata,
    /// where the cluster is the empty name and its properties are named as a node's.
    pub fn in_cluster(settings: &Settings, configs: &Configs, own: Option<&BTreeMap<String, String>>) -> TopicConfig {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        let own = own.unwrap_or(&NONE);
        let Some(cluster) = configs.get("") else {
            return TopicConfig::of(settings, own);
        };
        let mut settings = settings.clone();
        for (name, value) in cluster {
            let _ = settings.set(name, value);
        }
        TopicConfig::of(&settings, own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_numbers_and_flags() {
        let mut config = TopicConfig::default();
        config.set("message.timestamp.type", "LogAppendTime").unwrap();
        config.set("unclean.leader.election.enable", "true").unwrap();
        config.set("retention.ms", "-1").unwrap();
        let text = |name| config.text(name).unwrap();
        assert_eq!(text("message.timestamp.type"), "LogAppendTime");
        assert_eq!(
            (text("unclean.leader.election.enable"), text("retention.ms")),
            ("true".into(), "-1".into())
        );
        assert_eq!(text("compression.type"), "producer");
        let error = config.clone().set("compression.type", "gzip").unwrap_err();
        assert_eq!(error, "must be one of producer, not `gzip`");
        assert!(config.clone().set("cleanup.policy", "0").is_err() && config.text("nonsense").is_none());
    }

    /// What a node's property of that name says is what its topics get.
    #[test]
    fn each_default_of_topics_reaches_them() {
        for (topic, node) in DEFAULTS_OF_TOPICS {
            let mut settings = Settings::default();
            let plain = TopicConfig::of(&settings, &BTreeMap::new());
            let value = match plain.get(topic).unwrap() {
                i64::MAX => 7,
                number => number + 1,
            };
            let words = Settings::words(node);
            let value = words
                .get(value as usize)
                .map_or_else(|| value.to_string(), |word| (*word).to_owned());
            settings.set(node, &value).unwrap_or_else(|why| panic!("{node} {why}"));
            assert_eq!(
                TopicConfig::of(&settings, &BTreeMap::new()).text(topic),
                Some(value),
                "{topic}"
            );
        }
    }
}
