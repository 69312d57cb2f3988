//! Settings of clients, under Kafka's own property names and with Kafka's defaults.
//!
//! Guarantees: a property that we do not know, or a value that it cannot have, is an error in words.
//! Does not know: properties of what is left out (security, compression, groups, transactions).
//!
//! Sources: Kafka 4.1 `ProducerConfig`, `ConsumerConfig`, `AdminClientConfig`; KIP-1030 (linger of 5 ms).

use crate::config::settings;

/// A broker's listener as clients know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// What every client needs to talk to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetworkSettings {
    /// `request.timeout.ms`.
    pub request_timeout_ms: i64,
    /// `retry.backoff.ms`.
    pub retry_backoff_ms: i64,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max_ms: i64,
    /// `reconnect.backoff.ms`.
    pub reconnect_backoff_ms: i64,
    /// `reconnect.backoff.max.ms`.
    pub reconnect_backoff_max_ms: i64,
    /// `socket.connection.setup.timeout.ms`.
    pub connection_setup_timeout_ms: i64,
    /// `socket.connection.setup.timeout.max.ms`.
    pub connection_setup_timeout_max_ms: i64,
    /// `metadata.max.age.ms`.
    pub metadata_max_age_ms: i64,
    /// `max.in.flight.requests.per.connection`; of other clients than producers no limit that matters.
    pub max_in_flight: usize,
    /// Whether asking for a topic may create it.
    pub allow_auto_topic_creation: bool,
}

macro_rules! client_settings {
    ($(#[$meta:meta])* $struct:ident { $($own:tt)* }) => {
        settings! {
            $(#[$meta])*
            $struct {
                $($own)*
                /// A request without answer for this long is given up, and its connection closed.
                request_timeout_ms: "request.timeout.ms" = 30_000, 1, i32::MAX as i64;
                /// First pause before a retry.
                retry_backoff_ms: "retry.backoff.ms" = 100, 0, i32::MAX as i64;
                /// Longest pause before a retry.
                retry_backoff_max_ms: "retry.backoff.max.ms" = 1_000, 0, i32::MAX as i64;
                /// First pause before another connection to a broker.
                reconnect_backoff_ms: "reconnect.backoff.ms" = 50, 0, i32::MAX as i64;
                /// Longest pause before another connection to a broker.
                reconnect_backoff_max_ms: "reconnect.backoff.max.ms" = 1_000, 0, i32::MAX as i64;
                /// First limit on making a connection.
                connection_setup_timeout_ms: "socket.connection.setup.timeout.ms" = 10_000, 1, i32::MAX as i64;
                /// Longest limit on making a connection.
                connection_setup_timeout_max_ms: "socket.connection.setup.timeout.max.ms" = 30_000, 1, i32::MAX as i64;
                /// Metadata is asked for again after this long, whatever happens.
                metadata_max_age_ms: "metadata.max.age.ms" = 300_000, 1, i64::MAX;
            }
        }
    };
}

client_settings! {
    /// Properties of a producer that are numbers.
    ProducerSettings {
        /// 0: no answer; 1: the leader has it; -1 (`all`): the in-sync replicas have it.
        acks: "acks" = -1, -1, 1;
        /// 1: no record twice, and none out of order (KIP-98). Kafka's default is 1; here a scenario says so.
        enable_idempotence: "enable.idempotence" = 0, 0, 1;
        /// A batch of this many bytes is sent at once.
        batch_size: "batch.size" = 16_384, 0, i32::MAX as i64;
        /// A batch that is not full is sent after this.
        linger_ms: "linger.ms" = 5, 0, i32::MAX as i64;
        /// Requests on a connection before the first is answered. Above 1 a retry may change the order.
        max_in_flight_requests_per_connection: "max.in.flight.requests.per.connection" = 5, 1, i32::MAX as i64;
        /// A retriable error is retried so many times.
        retries: "retries" = i32::MAX as i64, 0, i32::MAX as i64;
        /// A record that is not acknowledged after this, from the send on, has failed.
        delivery_timeout_ms: "delivery.timeout.ms" = 120_000, 0, i32::MAX as i64;
        /// A send waits this long for metadata and for memory.
        max_block_ms: "max.block.ms" = 60_000, 0, i64::MAX;
        /// Bytes of records that may wait for acknowledgement.
        buffer_memory: "buffer.memory" = 33_554_432, 0, i64::MAX;
        /// Largest request, and so largest record.
        max_request_size: "max.request.size" = 1_048_576, 0, i32::MAX as i64;
    }
}

client_settings! {
    /// Properties of a consumer that are numbers.
    ConsumerSettings {
        /// A fetch waits for this many bytes.
        fetch_min_bytes: "fetch.min.bytes" = 1, 0, i32::MAX as i64;
        /// A fetch waits for that this long.
        fetch_max_wait_ms: "fetch.max.wait.ms" = 500, 0, i32::MAX as i64;
        /// Most bytes of an answer.
        fetch_max_bytes: "fetch.max.bytes" = 52_428_800, 0, i32::MAX as i64;
        /// Most bytes of a partition in an answer.
        max_partition_fetch_bytes: "max.partition.fetch.bytes" = 1_048_576, 0, i32::MAX as i64;
        /// Records handed over at a time.
        max_poll_records: "max.poll.records" = 500, 1, i32::MAX as i64;
        /// An offset query is given up after this.
        default_api_timeout_ms: "default.api.timeout.ms" = 60_000, 0, i32::MAX as i64;
        /// Whether asking for a topic may create it.
        allow_auto_create_topics: "allow.auto.create.topics" = 1, 0, 1;
    }
}

client_settings! {
    /// Properties of an administrator that are numbers.
    AdminSettings {
        /// An operation is given up after this.
        default_api_timeout_ms: "default.api.timeout.ms" = 60_000, 0, i32::MAX as i64;
        /// An operation is retried so many times.
        retries: "retries" = i32::MAX as i64, 0, i32::MAX as i64;
    }
}

macro_rules! network_settings {
    ($settings:expr, $max_in_flight:expr, $auto_create:expr) => {
        NetworkSettings {
            request_timeout_ms: $settings.request_timeout_ms,
            retry_backoff_ms: $settings.retry_backoff_ms,
            retry_backoff_max_ms: $settings.retry_backoff_max_ms,
            reconnect_backoff_ms: $settings.reconnect_backoff_ms,
            reconnect_backoff_max_ms: $settings.reconnect_backoff_max_ms,
            connection_setup_timeout_ms: $settings.connection_setup_timeout_ms,
            connection_setup_timeout_max_ms: $settings.connection_setup_timeout_max_ms,
            metadata_max_age_ms: $settings.metadata_max_age_ms,
            max_in_flight: $max_in_flight,
            allow_auto_topic_creation: $auto_create,
        }
    };
}

/// What a producer is told when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProducerConfig {
    /// `client.id`.
    pub client_id: String,
    /// `bootstrap.servers`.
    pub bootstrap: Vec<Endpoint>,
    /// Everything else.
    pub settings: ProducerSettings,
}

/// What a consumer does when its position is not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OffsetReset {
    /// Go to the log start.
    Earliest,
    /// Go to the end.
    Latest,
    /// Stop, until the user seeks.
    None,
}

/// What a consumer is told when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConsumerConfig {
    /// `client.id`.
    pub client_id: String,
    /// `client.rack`.
    pub client_rack: String,
    /// `bootstrap.servers`.
    pub bootstrap: Vec<Endpoint>,
    /// `auto.offset.reset`.
    pub auto_offset_reset: OffsetReset,
    /// `isolation.level` is `read_committed`.
    pub read_committed: bool,
    /// Everything else.
    pub settings: ConsumerSettings,
}

/// What an administrator is told when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AdminConfig {
    /// `client.id`.
    pub client_id: String,
    /// `bootstrap.servers`.
    pub bootstrap: Vec<Endpoint>,
    /// Everything else.
    pub settings: AdminSettings,
}

impl ProducerConfig {
    /// Kafka's defaults.
    pub fn new(client_id: &str, bootstrap: Vec<Endpoint>) -> ProducerConfig {
        ProducerConfig {
            client_id: client_id.to_owned(),
            bootstrap,
            settings: ProducerSettings::default(),
        }
    }

    /// Sets one property by name. The error is a fragment that fits after "property `name`".
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match (name, value) {
            ("acks", "all") => self.settings.set("acks", "-1"),
            _ => self.settings.set(name, value),
        }
    }

    /// Whether the properties go together. The error is a fragment that fits after "a producer whose".
    pub fn check(&self) -> Result<(), String> {
        let settings = &self.settings;
        let wrong = match () {
            () if settings.enable_idempotence == 0 => return Ok(()),
            () if settings.acks != -1 => "acks must be all",
            () if settings.retries == 0 => "retries must be above 0",
            () if settings.max_in_flight_requests_per_connection > 5 => {
                "max.in.flight.requests.per.connection must be at most 5"
            }
            () => return Ok(()),
        };
        Err(format!("{wrong} with enable.idempotence"))
    }

    pub(crate) fn network(&self) -> NetworkSettings {
        let max = usize::try_from(self.settings.max_in_flight_requests_per_connection).unwrap_or(usize::MAX);
        network_settings!(self.settings, max, true)
    }
}

impl ConsumerConfig {
    /// Kafka's defaults.
    pub fn new(client_id: &str, bootstrap: Vec<Endpoint>) -> ConsumerConfig {
        ConsumerConfig {
            client_id: client_id.to_owned(),
            client_rack: String::new(),
            bootstrap,
            auto_offset_reset: OffsetReset::Latest,
            read_committed: false,
            settings: ConsumerSettings::default(),
        }
    }

    /// Sets one property by name. The error is a fragment that fits after "property `name`".
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "client.rack" => self.client_rack = value.to_owned(),
            "auto.offset.reset" => {
                self.auto_offset_reset = match value {
                    "earliest" => OffsetReset::Earliest,
                    "latest" => OffsetReset::Latest,
                    "none" => OffsetReset::None,
                    _ => return Err(format!("must be earliest, latest or none, not `{value}`")),
                }
            }
            "isolation.level" => {
                self.read_committed = match value {
                    "read_committed" => true,
                    "read_uncommitted" => false,
                    _ => return Err(format!("must be read_committed or read_uncommitted, not `{value}`")),
                }
            }
            _ => return self.settings.set(name, value),
        }
        Ok(())
    }

    pub(crate) fn network(&self) -> NetworkSettings {
        network_settings!(self.settings, usize::MAX, self.settings.allow_auto_create_topics == 1)
    }
}

impl AdminConfig {
    /// Kafka's defaults.
    pub fn new(client_id: &str, bootstrap: Vec<Endpoint>) -> AdminConfig {
        AdminConfig {
            client_id: client_id.to_owned(),
            bootstrap,
            settings: AdminSettings::default(),
        }
    }

    /// Sets one property by name. The error is a fragment that fits after "property `name`".
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        self.settings.set(name, value)
    }

    pub(crate) fn network(&self) -> NetworkSettings {
        network_settings!(self.settings, usize::MAX, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_are_set_by_kafkas_names() {
        let mut producer = ProducerConfig::new("p", Vec::new());
        producer.set("acks", "1").expect("a number");
        assert_eq!(producer.settings.acks, 1);
        producer.set("acks", "all").expect("Kafka's word");
        assert_eq!(producer.settings.acks, -1);
        producer.set("request.timeout.ms", "7").expect("shared by all clients");
        assert_eq!(producer.network().request_timeout_ms, 7);

        let mut consumer = ConsumerConfig::new("c", Vec::new());
        consumer.set("auto.offset.reset", "none").expect("Kafka's word");
        consumer.set("isolation.level", "read_committed").expect("Kafka's word");
        consumer.set("client.rack", "r1").expect("any text");
        assert_eq!(consumer.auto_offset_reset, OffsetReset::None);
        assert!(consumer.read_committed && consumer.client_rack == "r1");
    }

    #[test]
    fn what_cannot_be_is_refused_in_words() {
        let mut producer = ProducerConfig::new("p", Vec::new());
        assert!(
            producer
                .set("acks", "2")
                .expect_err("out of range")
                .contains("between -1 and 1")
        );
        assert!(
            producer
                .set("linger", "2")
                .expect_err("no such name")
                .contains("linger.ms")
        );
        let mut consumer = ConsumerConfig::new("c", Vec::new());
        assert!(
            consumer
                .set("auto.offset.reset", "soon")
                .expect_err("no such word")
                .contains("earliest")
        );
    }
}
