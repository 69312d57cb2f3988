//! A run as series over time: what charts are made of.

use crate::cluster::Cluster;
use crate::fold;
use crate::history::{History, Outcome as Fate};
use crate::run::{Layout, Observer, Outcome};
use crate::scenario::Scenario;
use crate::topics::Topics;
use kafka::types::METADATA_PARTITION;
use kafka::{Note, TopicPartition, Uuid};
use reports::plot::run::{Band, Partition, Replica, Run, Sent};
use reports::view;
use sim::fault::{Fault, NodeId};
use sim::step::Stepped;
use sim::world::World;
use std::collections::BTreeMap;

const S: f64 = 1e9;

/// A replica as it is, and its lines until now.
#[derive(Debug)]
struct Lines {
    now: view::Replica,
    drawn: Replica,
}

/// Collects the series while a run happens.
#[derive(Debug)]
pub struct Series {
    layout: Layout,
    topics: Topics,
    replicas: BTreeMap<(TopicPartition, u16), Lines>,
    isr: BTreeMap<TopicPartition, Vec<(f64, f64)>>,
    history: History,
    /// Whether each server runs, and since when not.
    down_since: Vec<Option<u64>>,
    /// Faults of links that last, since when.
    links_since: Option<u64>,
    bands: Vec<Band>,
    time_ns: u64,
}

impl Series {
    /// Of this scenario.
    pub fn new(scenario: &Scenario) -> Series {
        let layout = Layout::of(scenario);
        Series {
            down_since: vec![None; layout.servers],
            layout,
            topics: Topics::default(),
            replicas: BTreeMap::new(),
            isr: BTreeMap::new(),
            history: History::default(),
            links_since: None,
            bands: Vec::new(),
            time_ns: 0,
        }
    }

    fn band(&mut self, from_ns: u64, what: String) {
        self.bands.push(Band {
            from_s: from_ns as f64 / S,
            to_s: self.time_ns as f64 / S,
            what,
        });
    }

    fn links_heal(&mut self) {
        if let Some(since) = self.links_since.take() {
            self.band(since, "links cut".to_owned());
        }
    }

    /// The whole run.
    pub fn finish(mut self, scenario: &Scenario, outcome: &Outcome) -> Run {
        self.links_heal();
        for node in 0..self.down_since.len() {
            if let Some(since) = self.down_since[node].take() {
                let what = format!("{} down", self.layout.names[node]);
                self.band(since, what);
            }
        }
        self.bands.sort_by(|a, b| a.from_s.total_cmp(&b.from_s));
        let mut partitions: BTreeMap<String, Partition> = BTreeMap::new();
        for ((partition, _), lines) in self.replicas {
            let name = self.topics.partition(partition);
            let one = partitions.entry(name.clone()).or_insert_with(|| Partition {
                name: name.clone(),
                ..Partition::default()
            });
            one.replicas.push(lines.drawn);
            one.isr = self.isr.get(&partition).cloned().unwrap_or_default();
        }
        let sends = self.history.sends.iter().map(|send| Sent {
            at_s: send.invoked_ns as f64 / S,
            latency_ms: match send.outcome {
                Fate::Acked { time_ns, .. } => Some((time_ns - send.invoked_ns) as f64 / 1e6),
                _ => None,
            },
        });
        Run {
            scenario: scenario.name.clone(),
            seed: outcome.seed,
            verdict: outcome.headline(),
            end_s: outcome.simulated_ns as f64 / S,
            partitions: partitions.into_values().collect(),
            bands: self.bands,
            sends: sends.collect(),
        }
    }
}

impl Observer for Series {
    fn step(&mut self, stepped: &Stepped, world: &World<Cluster>, layout: &Layout) {
        self.time_ns = stepped.time;
        for node in layout.server_nodes() {
            let since = &mut self.down_since[usize::from(node.0)];
            match (world.is_up(node), *since) {
                (false, None) => *since = Some(stepped.time),
                (true, Some(from)) => {
                    *since = None;
                    self.band(from, format!("{} down", layout.names[usize::from(node.0)]));
                }
                _ => {}
            }
        }
    }

    fn topic(&mut self, id: Uuid, name: &str) {
        self.topics.learn(id, name);
    }

    fn fault(&mut self, time_ns: u64, fault: &Fault) {
        self.time_ns = self.time_ns.max(time_ns);
        match fault {
            Fault::Cut { .. } => drop(self.links_since.get_or_insert(time_ns)),
            Fault::HealLinks => self.links_heal(),
            _ => {}
        }
    }

    fn note(&mut self, time_ns: u64, node: NodeId, note: &Note) {
        let at = time_ns as f64 / S;
        if let Note::Client(note) = note {
            self.history.record(time_ns, node.0, note);
            return;
        }
        if let Note::PartitionDecided { partition, state, .. } = note {
            let isr = self.isr.entry(*partition).or_default();
            let size = state.isr.len() as f64;
            if isr.last().is_none_or(|last| last.1 != size) {
                isr.push((at, size));
            }
            return;
        }
        let Some(partition) = fold::partition_of(note).filter(|one| *one != METADATA_PARTITION) else {
            return;
        };
        if !fold::changes_replica(note) {
            return;
        }
        let lines = self.replicas.entry((partition, node.0)).or_insert_with(|| Lines {
            drawn: Replica {
                node: self.layout.names[usize::from(node.0)].clone(),
                ..Replica::default()
            },
            now: view::Replica::default(),
        });
        fold::fold_replica(&mut lines.now, note);
        let extend = |line: &mut Vec<(f64, f64)>, offset: i64| {
            if line.last().is_none_or(|last| last.1 != offset as f64) {
                line.push((at, offset as f64));
            }
        };
        if lines.now.high_watermark != view::UNKNOWN {
            extend(&mut lines.drawn.high_watermark, lines.now.high_watermark);
        }
        extend(&mut lines.drawn.log_end, lines.now.log_end_offset);
    }
}
