//! What a node counts, under the names that Kafka's metrics have at a Prometheus: folded from notes, frames and the
//! broker's snapshot, in text.
//!
//! Deliberately unknown: the machine's insides, and HTTP.
//!
//! Sources: Kafka's monitoring page and the names that its JMX exporter examples give them; the Prometheus text format.

use bytes::Bytes;
use kafka::broker::{Phase, Snapshot};
use kafka::wire::api;
use kafka::{ConnId, METADATA_PARTITION, Nanos, NodeId, Note, TopicPartition};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

/// Upper bounds of request times, in milliseconds.
const BUCKETS_MS: [f64; 12] = [
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 100.0, 500.0, 1_000.0, 5_000.0,
];

/// Requests of one connection that may have no answer yet: see `gate.rs`.
const MAX_OPEN: usize = 2;

/// How often, and how long, requests of one API took.
#[derive(Clone, Debug, Default)]
struct Requests {
    /// Read.
    count: u64,
    /// Answered, and no more than the bound of each bucket took so many.
    buckets: [u64; BUCKETS_MS.len()],
    answered: u64,
    sum_ms: f64,
    bytes_in: u64,
    bytes_out: u64,
}

/// A request that has no answer yet.
#[derive(Clone, Copy, Debug)]
struct Open {
    api: i16,
    correlation_id: i32,
    since: Nanos,
}

/// The counters of one process.
#[derive(Clone, Debug)]
pub struct Metrics {
    me: NodeId,
    requests: BTreeMap<i16, Requests>,
    open: BTreeMap<ConnId, VecDeque<Open>>,
    isr: BTreeMap<TopicPartition, usize>,
    isr_shrinks: u64,
    isr_expands: u64,
    messages_in: u64,
    bytes_in: u64,
    replicated_bytes_in: u64,
    failed_produces: u64,
    syncs: u64,
    quorum_elections: u64,
    unclean_elections: u64,
}

fn number<const N: usize>(frame: &Bytes, at: usize) -> Option<[u8; N]> {
    frame.get(at..)?.first_chunk::<N>().copied()
}

impl Metrics {
    /// All zero.
    pub fn new(me: NodeId) -> Metrics {
        Metrics {
            me,
            requests: BTreeMap::new(),
            open: BTreeMap::new(),
            isr: BTreeMap::new(),
            isr_shrinks: 0,
            isr_expands: 0,
            messages_in: 0,
            bytes_in: 0,
            replicated_bytes_in: 0,
            failed_produces: 0,
            syncs: 0,
            quorum_elections: 0,
            unclean_elections: 0,
        }
    }

    /// A frame of a client; of our own connections, whose frames are answers, nothing is counted.
    pub fn on_frame_in(&mut self, conn: ConnId, frame: &Bytes, now: Nanos) {
        let (Some(api), Some(correlation_id)) = (number(frame, 4), number(frame, 8)) else {
            return;
        };
        let api = i16::from_be_bytes(api);
        // Only the APIs of the table, or a stranger could name thousands.
        if conn.0.is_multiple_of(2) || api::find(api).is_none() {
            return;
        }
        let requests = self.requests.entry(api).or_default();
        requests.count += 1;
        requests.bytes_in += frame.len() as u64;
        let open = self.open.entry(conn).or_default();
        open.push_back(Open {
            api,
            correlation_id: i32::from_be_bytes(correlation_id),
            since: now,
        });
        // One is being answered and one waits: what is older has no answer (acks=0).
        if open.len() > MAX_OPEN {
            open.pop_front();
        }
    }

    /// An answer. Requests before it that it does not name had none (acks=0).
    pub fn on_frame_out(&mut self, conn: ConnId, frame: &Bytes, now: Nanos) {
        let (Some(open), Some(correlation_id)) = (self.open.get_mut(&conn), number(frame, 4)) else {
            return;
        };
        let correlation_id = i32::from_be_bytes(correlation_id);
        while let Some(request) = open.pop_front() {
            if request.correlation_id != correlation_id {
                continue;
            }
            let requests = self.requests.entry(request.api).or_default();
            let ms = now.since(request.since).0 as f64 / 1e6;
            requests.answered += 1;
            requests.sum_ms += ms;
            requests.bytes_out += frame.len() as u64;
            for (bucket, bound) in requests.buckets.iter_mut().zip(BUCKETS_MS) {
                *bucket += u64::from(ms <= bound);
            }
            return;
        }
    }

    /// A connection is gone.
    pub fn on_closed(&mut self, conn: ConnId) {
        self.open.remove(&conn);
    }

    /// A fact.
    pub fn on_note(&mut self, note: &Note) {
        match note {
            Note::Appended {
                partition,
                as_leader,
                batch,
                base_offset,
                last_offset,
                ..
            } if *partition != METADATA_PARTITION => {
                if *as_leader {
                    self.messages_in += (last_offset - base_offset + 1).unsigned_abs();
                    self.bytes_in += batch.len() as u64;
                } else {
                    self.replicated_bytes_in += batch.len() as u64;
                }
            }
            Note::Flushed { .. } => self.syncs += 1,
            Note::ProduceAnswered { error_code, .. } if *error_code != 0 => self.failed_produces += 1,
            Note::BecameLeader { partition, state, .. } => {
                self.isr.insert(*partition, state.isr.len());
            }
            Note::BecameFollower { partition, .. } | Note::ReplicaStopped { partition, .. } => {
                self.isr.remove(partition);
            }
            Note::IsrUpdated { partition, state } => {
                let before = self.isr.insert(*partition, state.isr.len());
                let before = before.unwrap_or(state.isr.len());
                self.isr_shrinks += u64::from(state.isr.len() < before);
                self.isr_expands += u64::from(state.isr.len() > before);
            }
            Note::BecameQuorumLeader { .. } => self.quorum_elections += 1,
            Note::PartitionDecided { unclean: true, .. } => self.unclean_elections += 1,
            _ => {}
        }
    }

    /// All of it, in Prometheus' text format.
    pub fn text(&self, snapshot: &Snapshot) -> String {
        let mut page = Page::default();
        self.of_requests(&mut page);
        self.of_replicas(snapshot, &mut page);
        self.of_node(snapshot, &mut page);
        page.text
    }

    fn of_requests(&self, page: &mut Page) {
        let named = |(api, requests)| {
            let api: &i16 = api;
            api::find(*api).map(|api| (format!("request=\"{:?}\"", api.key), requests))
        };
        let all: Vec<(String, &Requests)> = self.requests.iter().filter_map(named).collect();
        page.begin(
            "kafka_network_requestmetrics_requests_total",
            "counter",
            "Requests that were read",
        );
        all.iter().for_each(|(label, r)| page.line(label, r.count));
        page.begin(
            "kafka_network_requestmetrics_requestbytes_total",
            "counter",
            "Bytes of requests",
        );
        all.iter().for_each(|(label, r)| page.line(label, r.bytes_in));
        page.begin(
            "kafka_network_requestmetrics_responsebytes_total",
            "counter",
            "Bytes of answers",
        );
        all.iter().for_each(|(label, r)| page.line(label, r.bytes_out));
        page.begin(
            "kafka_network_requestmetrics_totaltimems",
            "histogram",
            "From the last byte of a request to its answer, waiting for replicas or data included, in milliseconds",
        );
        for (label, r) in all {
            for (bucket, bound) in r.buckets.iter().zip(BUCKETS_MS) {
                page.suffixed("_bucket", &format!("{label},le=\"{bound}\""), bucket);
            }
            page.suffixed("_bucket", &format!("{label},le=\"+Inf\""), r.answered);
            page.suffixed("_sum", &label, r.sum_ms);
            page.suffixed("_count", &label, r.answered);
        }
        let counters = [
            (
                "kafka_server_brokertopicmetrics_messagesin_total",
                "Records that producers wrote",
                self.messages_in,
            ),
            (
                "kafka_server_brokertopicmetrics_bytesin_total",
                "Bytes of batches that producers wrote",
                self.bytes_in,
            ),
            (
                "kafka_server_brokertopicmetrics_replicationbytesin_total",
                "Bytes of batches that were copied from leaders",
                self.replicated_bytes_in,
            ),
            (
                "kafka_server_brokertopicmetrics_failedproducerequests_total",
                "Answers to producers that are errors, by partition",
                self.failed_produces,
            ),
            (
                "kafka_log_logflushstats_logflush_total",
                "Syncs of logs that have ended",
                self.syncs,
            ),
        ];
        page.plain("counter", counters);
    }

    fn of_replicas(&self, snapshot: &Snapshot, page: &mut Page) {
        let replicas = &snapshot.partitions;
        let led = || replicas.iter().filter(|replica| replica.leads);
        let under = led().filter(|replica| replica.isr.len() < replica.replicas.len());
        let gauges = [
            (
                "kafka_server_replicamanager_underreplicatedpartitions",
                "Partitions that this node leads with fewer in-sync replicas than are assigned",
                under.count(),
            ),
            (
                "kafka_server_replicamanager_leadercount",
                "Partitions that this node leads",
                led().count(),
            ),
            (
                "kafka_server_replicamanager_partitioncount",
                "Replicas of this node",
                replicas.len(),
            ),
        ];
        page.plain("gauge", gauges);
        page.plain(
            "counter",
            [
                (
                    "kafka_server_replicamanager_isrshrinks_total",
                    "ISRs of partitions that this node leads became smaller",
                    self.isr_shrinks,
                ),
                (
                    "kafka_server_replicamanager_isrexpands_total",
                    "ISRs of partitions that this node leads became larger",
                    self.isr_expands,
                ),
            ],
        );
        type Value = fn(&kafka::broker::PartitionSnapshot) -> i64;
        let by_partition: [(&'static str, &str, Value); 5] = [
            ("kafka_log_log_logstartoffset", "First offset", |r| r.log_start_offset),
            ("kafka_log_log_logendoffset", "Next offset", |r| r.log_end_offset),
            (
                "kafka_log_log_recoverypoint",
                "Everything before this offset is durable",
                |r| r.recovery_point,
            ),
            (
                "kafka_cluster_partition_highwatermark",
                "Consumers read below this offset",
                |r| r.high_watermark,
            ),
            ("kafka_cluster_partition_insyncreplicascount", "In-sync replicas", |r| {
                r.isr.len() as i64
            }),
        ];
        for (name, help, value) in by_partition {
            page.begin(name, "gauge", help);
            for replica in replicas {
                let (topic, partition) = (escape(&replica.topic), replica.partition.partition);
                page.line(&format!("topic=\"{topic}\",partition=\"{partition}\""), value(replica));
            }
        }
    }

    fn of_node(&self, snapshot: &Snapshot, page: &mut Page) {
        let state = match snapshot.phase {
            Some(Phase::Preparing | Phase::Registering | Phase::Fenced) => 1,
            Some(Phase::Running) => 3,
            Some(Phase::Leaving) => 6,
            Some(Phase::Syncing) => 7,
            None => 0,
        };
        let leader = snapshot.quorum_leader.map_or(-1, |leader| leader.0);
        let committed = snapshot.metadata_high_watermark.unwrap_or(-1);
        page.plain(
            "gauge",
            [
                (
                    "kafka_server_kafkaserver_brokerstate",
                    "0 not a broker, 1 starting, 3 running, 6 pending controlled shutdown, 7 shutting down",
                    state,
                ),
                (
                    "kafka_controller_kafkacontroller_activecontrollercount",
                    "1 on the active controller",
                    i64::from(snapshot.active_controller),
                ),
                (
                    "kafka_server_raft_metrics_current_leader",
                    "Leader of the quorum, or -1",
                    i64::from(leader),
                ),
                (
                    "kafka_server_raft_metrics_current_epoch",
                    "Epoch of the quorum",
                    i64::from(snapshot.quorum_epoch.0),
                ),
                (
                    "kafka_server_raft_metrics_high_watermark",
                    "Metadata committed",
                    committed,
                ),
                (
                    "kafka_server_broker_metadata_metrics_last_applied_record_offset",
                    "Metadata applied",
                    snapshot.metadata_applied - 1,
                ),
            ],
        );
        page.plain(
            "counter",
            [
                (
                    "kafka_server_raft_metrics_elections_total",
                    "Times that this node became leader of the quorum",
                    self.quorum_elections,
                ),
                (
                    "kafka_controller_controllerstats_uncleanleaderelections_total",
                    "Leaders that this node, as controller, took from outside ISR and ELR",
                    self.unclean_elections,
                ),
            ],
        );
        page.begin("highwater_build_info", "gauge", "Which program this is");
        let (version, id) = (env!("CARGO_PKG_VERSION"), self.me);
        page.line(&format!("version=\"{version}\",node_id=\"{id}\""), 1);
    }
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The text, metric by metric.
#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    fn begin(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        let _ = writeln!(self.text, "# HELP {name} {help}.\n# TYPE {name} {kind}");
    }

    /// Metrics of one line each: name, what it is, value.
    fn plain<'a, V: std::fmt::Display>(
        &mut self,
        kind: &str,
        metrics: impl IntoIterator<Item = (&'static str, &'a str, V)>,
    ) {
        for (name, help, value) in metrics {
            self.begin(name, kind, help);
            self.line("", value);
        }
    }

    fn line(&mut self, labels: &str, value: impl std::fmt::Display) {
        self.suffixed("", labels, value);
    }

    fn suffixed(&mut self, suffix: &str, labels: &str, value: impl std::fmt::Display) {
        let name = self.name;
        let _ = match labels {
            "" => writeln!(self.text, "{name}{suffix} {value}"),
            _ => writeln!(self.text, "{name}{suffix}{{{labels}}} {value}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(api: i16, correlation_id: i32) -> Bytes {
        let mut bytes = vec![0, 0, 0, 8];
        bytes.extend(api.to_be_bytes());
        bytes.extend([0, 3]);
        bytes.extend(correlation_id.to_be_bytes());
        bytes.into()
    }

    fn answer(correlation_id: i32) -> Bytes {
        let mut bytes = vec![0, 0, 0, 4];
        bytes.extend(correlation_id.to_be_bytes());
        bytes.into()
    }

    #[test]
    fn requests_are_timed_and_those_without_answer_are_forgotten() {
        let mut metrics = Metrics::new(NodeId(1));
        let (produce, metadata, conn) = (0, 3, ConnId(7));
        for at in 0..1_000 {
            metrics.on_frame_in(conn, &frame(produce, at), Nanos::from_ms(1));
        }
        assert_eq!(metrics.open[&conn].len(), MAX_OPEN);
        metrics.on_frame_in(conn, &frame(metadata, 5_000), Nanos::from_ms(2));
        metrics.on_frame_out(conn, &answer(5_000), Nanos::from_ms(5));
        assert_eq!(metrics.open[&conn].len(), 0);
        // What is not in the API table, and what is on our own connections, is not counted.
        metrics.on_frame_in(conn, &frame(12_345, 1), Nanos::from_ms(6));
        metrics.on_frame_in(ConnId(8), &frame(metadata, 1), Nanos::from_ms(6));
        let found: Vec<_> = metrics
            .requests
            .iter()
            .map(|(api, r)| (*api, r.count, r.answered))
            .collect();
        assert_eq!(found, [(produce, 1_000, 0), (metadata, 1, 1)]);
        let of_metadata = &metrics.requests[&metadata];
        assert_eq!(of_metadata.sum_ms, 3.0);
        assert_eq!(of_metadata.buckets, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]);
    }
}
