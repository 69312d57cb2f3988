//! A run as a story: its steps, what was said at each, and the cluster's state at any of them.
//!
//! The state is folded from notes alone; every thousandth is kept, so that going back costs at most a thousand notes'
//! worth of folding.

use crate::cluster::Cluster;
use crate::run::{Layout, Outcome};
use crate::scenario::Scenario;
use kafka::{Note, TopicPartition};
use reports::moment::{Moment, Node, Replica};
use sim::fault::NodeId;
use sim::step::Stepped;
use sim::world::World;
use std::collections::BTreeMap;

const KEEP_EVERY: usize = 1_000;

#[derive(Clone, Debug)]
struct Frame {
    time_ns: u64,
    what: String,
    notes: Vec<(NodeId, Note)>,
    up: Vec<bool>,
    in_flight: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct State {
    replicas: BTreeMap<(u16, TopicPartition), Replica>,
    controller: Option<u16>,
}

/// Writes a film while a run happens.
#[derive(Debug)]
pub struct Recorder {
    names: Vec<String>,
    servers: usize,
    topics: BTreeMap<TopicPartition, String>,
    frames: Vec<Frame>,
}

/// A recorded run.
#[derive(Debug)]
pub struct Film {
    names: Vec<String>,
    servers: usize,
    topics: BTreeMap<TopicPartition, String>,
    frames: Vec<Frame>,
    kept: Vec<State>,
    /// Steps at which something turned: an election, a truncation, an ISR, a death.
    turns: Vec<usize>,
}

impl Recorder {
    /// Of this scenario.
    pub fn new(scenario: &Scenario) -> Recorder {
        let layout = Layout::of(scenario);
        Recorder {
            names: layout.names.clone(),
            servers: layout.servers,
            topics: BTreeMap::new(),
            frames: Vec::new(),
        }
    }

    /// A step was carried out.
    pub fn on_step(&mut self, stepped: &Stepped, world: &World<Cluster>, layout: &Layout) {
        let name = |node: NodeId| layout.names[usize::from(node.0)].as_str();
        let words = stepped.label.words(&|node| name(node).to_owned());
        let what = stepped
            .node
            .map_or_else(|| words.clone(), |node| format!("{} {words}", name(node)));
        let up = layout
            .server_nodes()
            .into_iter()
            .map(|node| world.is_up(node))
            .collect();
        let in_flight = world.in_flight().map(|(from, to, request, bytes)| {
            let api = if request {
                kafka::wire::frame::peek_api(bytes).map(|api| format!("{api:?}"))
            } else {
                Some("answer".to_owned())
            };
            format!(
                "{} → {}  {} ({} bytes)",
                name(from),
                name(to),
                api.unwrap_or_default(),
                bytes.len()
            )
        });
        self.frames.push(Frame {
            time_ns: stepped.time,
            what,
            notes: Vec::new(),
            up,
            in_flight: in_flight.collect(),
        });
        if self.topics.is_empty() || self.frames.len().is_multiple_of(KEEP_EVERY) {
            self.learn_topics(world, layout);
        }
    }

    fn learn_topics(&mut self, world: &World<Cluster>, layout: &Layout) {
        for server in layout.server_nodes() {
            let Some(broker) = world.program(server).and_then(|process| process.broker()) else {
                continue;
            };
            for topic in broker.image().topics.values() {
                for index in topic.partitions.keys() {
                    let partition = TopicPartition {
                        topic: topic.id,
                        partition: *index,
                    };
                    self.topics.insert(partition, format!("{}-{index}", topic.name));
                }
            }
        }
    }

    /// Something was said at the last step.
    pub fn on_note(&mut self, node: NodeId, note: &Note) {
        if self.frames.is_empty() {
            // Said at the very start, before the first step.
            let what = "the nodes start".to_owned();
            self.frames.push(Frame {
                time_ns: 0,
                what,
                notes: Vec::new(),
                up: vec![true; self.servers],
                in_flight: Vec::new(),
            });
        }
        let frame = self.frames.last_mut().expect("pushed above");
        frame.notes.push((node, note.clone()));
    }

    /// The run is over.
    pub fn finish(mut self, outcome: &Outcome) -> Film {
        if let Some(frame) = self.frames.last_mut() {
            frame.what += &format!("; the run is over: {}", outcome.headline());
        }
        let mut kept = Vec::new();
        let mut turns = Vec::new();
        let mut state = State::default();
        let mut up: &[bool] = &[];
        for (i, frame) in self.frames.iter().enumerate() {
            if i % KEEP_EVERY == 0 {
                kept.push(state.clone());
            }
            frame.notes.iter().for_each(|(node, note)| state.fold(*node, note));
            if frame.notes.iter().any(|(_, note)| is_turn(note)) || (!up.is_empty() && up != frame.up) {
                turns.push(i);
            }
            up = &frame.up;
        }
        let Recorder {
            names,
            servers,
            topics,
            frames,
        } = self;
        Film {
            names,
            servers,
            topics,
            frames,
            kept,
            turns,
        }
    }
}

fn is_turn(note: &Note) -> bool {
    matches!(
        note,
        Note::BecameLeader { .. }
            | Note::Truncated { .. }
            | Note::IsrProposed { .. }
            | Note::DivergenceFound { .. }
            | Note::BecameQuorumLeader { .. }
            | Note::ControllerActivated { .. }
            | Note::Restarted { .. }
            | Note::LogDirFailed { .. }
    )
}

impl State {
    fn replica(&mut self, node: NodeId, partition: TopicPartition) -> &mut Replica {
        self.replicas.entry((node.0, partition)).or_default()
    }

    fn fold(&mut self, node: NodeId, note: &Note) {
        match note {
            Note::LogOpened {
                partition,
                log_start_offset,
                log_end_offset,
                recovery_point,
                ..
            } => {
                let replica = self.replica(node, *partition);
                replica.log_start_offset = *log_start_offset;
                replica.log_end_offset = *log_end_offset;
                replica.synced = *recovery_point;
                replica.high_watermark = replica.high_watermark.min(*log_end_offset).max(*log_start_offset);
                replica.epochs.retain(|(_, start)| start < log_end_offset);
                replica.leads = false;
            }
            Note::Appended {
                partition,
                base_offset,
                last_offset,
                leader_epoch,
                ..
            } => {
                let replica = self.replica(node, *partition);
                replica.log_end_offset = last_offset + 1;
                if replica.epochs.last().is_none_or(|(epoch, _)| *epoch < leader_epoch.0) {
                    replica.epochs.push((leader_epoch.0, *base_offset));
                }
            }
            Note::Truncated { partition, to, .. } => {
                let replica = self.replica(node, *partition);
                replica.log_end_offset = *to;
                replica.synced = replica.synced.min(*to);
                replica.epochs.retain(|(_, start)| start < to);
            }
            Note::Restarted { partition, at } => {
                let replica = self.replica(node, *partition);
                (replica.log_start_offset, replica.log_end_offset) = (*at, *at);
                (replica.high_watermark, replica.synced) = (*at, *at);
                replica.epochs.clear();
            }
            Note::LogStartAdvanced { partition, to } => self.replica(node, *partition).log_start_offset = *to,
            Note::Flushed { partition, to } => self.replica(node, *partition).synced = *to,
            Note::BecameLeader {
                partition,
                state,
                high_watermark,
                ..
            } => {
                let replica = self.replica(node, *partition);
                replica.leads = true;
                replica.leader_epoch = state.leader_epoch.0;
                replica.high_watermark = *high_watermark;
                replica.isr = state.isr.iter().map(|id| id.0).collect();
            }
            Note::BecameFollower {
                partition,
                state,
                high_watermark,
            } => {
                let replica = self.replica(node, *partition);
                replica.leads = false;
                replica.leader_epoch = state.leader_epoch.0;
                replica.high_watermark = *high_watermark;
                replica.isr.clear();
            }
            Note::IsrUpdated { partition, state } => {
                self.replica(node, *partition).isr = state.isr.iter().map(|id| id.0).collect();
            }
            Note::HighWatermarkAdvanced { partition, to, .. } | Note::HighWatermarkLowered { partition, to } => {
                self.replica(node, *partition).high_watermark = *to;
            }
            Note::QuorumCommitted { high_watermark, .. } => {
                self.replica(node, kafka::METADATA_PARTITION).high_watermark = *high_watermark;
            }
            Note::BecameQuorumLeader { epoch, .. } => {
                let replica = self.replica(node, kafka::METADATA_PARTITION);
                replica.leads = true;
                replica.leader_epoch = epoch.0;
            }
            Note::QuorumEpochStarted { epoch, leader: _ } => {
                let replica = self.replica(node, kafka::METADATA_PARTITION);
                replica.leads = false;
                replica.leader_epoch = epoch.0;
            }
            Note::ResignedQuorumLeader { .. } => self.replica(node, kafka::METADATA_PARTITION).leads = false,
            Note::ReplicaStopped { partition, .. } => {
                self.replicas.remove(&(node.0, *partition));
            }
            Note::ControllerActivated { .. } => self.controller = Some(node.0),
            Note::ControllerDeactivated { .. } if self.controller == Some(node.0) => self.controller = None,
            _ => {}
        }
    }
}

impl Film {
    /// Number of steps.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The first step at which something turned.
    pub fn first_turn(&self) -> usize {
        self.turns.first().copied().unwrap_or(0)
    }

    /// The next such step after `at`; `at` itself if there is none.
    pub fn next_turn(&self, at: usize) -> usize {
        self.turns.iter().copied().find(|turn| *turn > at).unwrap_or(at)
    }

    /// The last such step before `at`; `at` itself if there is none.
    pub fn previous_turn(&self, at: usize) -> usize {
        self.turns.iter().rev().copied().find(|turn| *turn < at).unwrap_or(at)
    }

    /// The cluster after step `at`.
    pub fn moment(&self, at: usize) -> Moment {
        let mut state = self.kept[at / KEEP_EVERY].clone();
        for frame in &self.frames[at / KEEP_EVERY * KEEP_EVERY..=at] {
            frame.notes.iter().for_each(|(node, note)| state.fold(*node, note));
        }
        let frame = &self.frames[at];
        let nodes = (0..self.servers).map(|server| {
            let own = state
                .replicas
                .iter()
                .filter(|((node, _), _)| usize::from(*node) == server);
            let replicas = own.map(|((_, partition), replica)| {
                let name = if *partition == kafka::METADATA_PARTITION {
                    "metadata".to_owned()
                } else {
                    self.topics
                        .get(partition)
                        .cloned()
                        .unwrap_or_else(|| format!("{partition:?}"))
                };
                Replica {
                    partition: name,
                    ..replica.clone()
                }
            });
            let up = frame.up.get(server).copied().unwrap_or(true);
            let controls = up && state.controller.map(usize::from) == Some(server);
            Node {
                name: self.names[server].clone(),
                state: if up { "up" } else { "down" }.to_owned(),
                office: if controls { "controller" } else { "" }.to_owned(),
                replicas: replicas.collect(),
            }
        });
        let notes = frame
            .notes
            .iter()
            .map(|(node, note)| format!("{}: {note}", self.names[usize::from(node.0)]));
        Moment {
            step: at + 1,
            steps: self.frames.len(),
            time_ns: frame.time_ns,
            what: frame.what.clone(),
            notes: notes.collect(),
            nodes: nodes.collect(),
            in_flight: frame.in_flight.clone(),
        }
    }
}
