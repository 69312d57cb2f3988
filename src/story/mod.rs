//! A run as a story: its steps, what was said at each, and the cluster's state at any of them.
//!
//! The state is folded from notes alone; every thousandth is kept, so that going back costs at most a thousand notes'
//! worth of folding. A step of the script is a moment of its own, so that its words stand at the right place.

mod film;
mod narrate;

pub use film::Film;
pub use narrate::sections;

use crate::cluster::Cluster;
use crate::fold;
use crate::run::{Layout, Observer, Outcome};
use crate::scenario::Scenario;
use crate::topics::Topics;
use kafka::{Note, TopicPartition, Uuid};
use reports::view::Replica;
use sim::fault::{Fault, NodeId};
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
    /// The script's step that this is.
    script: Option<usize>,
    /// What the seed did to the cluster.
    faults: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct State {
    replicas: BTreeMap<(u16, TopicPartition), Replica>,
    controller: Option<u16>,
}

/// Writes a film while a run happens.
#[derive(Debug)]
pub struct Recorder {
    scenario: Scenario,
    layout: Layout,
    topics: Topics,
    frames: Vec<Frame>,
}

impl Recorder {
    /// Of this scenario.
    pub fn new(scenario: &Scenario) -> Recorder {
        Recorder {
            scenario: scenario.clone(),
            layout: Layout::of(scenario),
            topics: Topics::default(),
            frames: Vec::new(),
        }
    }

    fn push(&mut self, time_ns: u64, what: String, script: Option<usize>, world: &World<Cluster>) {
        let name = |node: NodeId| self.layout.names[usize::from(node.0)].as_str();
        let servers = self.layout.server_nodes().into_iter();
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
        let frame = Frame {
            time_ns,
            what,
            notes: Vec::new(),
            up: servers.map(|node| world.is_up(node)).collect(),
            in_flight: in_flight.collect(),
            script,
            faults: Vec::new(),
        };
        self.frames.push(frame);
    }

    /// The run is over.
    pub fn finish(self, outcome: &Outcome) -> Film {
        Film::new(self, outcome)
    }
}

impl Observer for Recorder {
    fn step(&mut self, stepped: &Stepped, world: &World<Cluster>, _layout: &Layout) {
        let name = |node: NodeId| self.layout.names[usize::from(node.0)].clone();
        let words = stepped.label.words(&name);
        let what = stepped
            .node
            .map_or_else(|| words.clone(), |node| format!("{} {words}", name(node)));
        self.push(stepped.time, what, None, world);
    }

    fn script(&mut self, number: usize, world: &World<Cluster>, _layout: &Layout) {
        let does = narrate::deeds(&self.scenario.faults.script[number]);
        let colon = if does.is_empty() { "" } else { ": " };
        let what = format!("step {} of the script{colon}{}", number + 1, does.join("; "));
        self.push(world.now(), what, Some(number), world);
    }

    fn fault(&mut self, _time_ns: u64, fault: &Fault) {
        // What a step of the script does is told in its own words.
        if let Some(frame) = self.frames.last_mut().filter(|frame| frame.script.is_none())
            && fault.disturbs()
        {
            frame.faults.push(self.layout.named(fault));
        }
    }

    fn topic(&mut self, id: Uuid, name: &str) {
        self.topics.learn(id, name);
    }

    fn note(&mut self, _time_ns: u64, node: NodeId, note: &Note) {
        if self.frames.is_empty() {
            // Said at the very start, before the first step.
            self.frames.push(Frame {
                time_ns: 0,
                what: "the nodes start".to_owned(),
                notes: Vec::new(),
                up: vec![true; self.layout.servers],
                in_flight: Vec::new(),
                script: None,
                faults: Vec::new(),
            });
        }
        let frame = self.frames.last_mut().expect("pushed above");
        frame.notes.push((node, note.clone()));
    }
}

impl State {
    fn fold(&mut self, node: NodeId, note: &Note) {
        match note {
            Note::ControllerActivated { .. } => self.controller = Some(node.0),
            Note::ControllerDeactivated { .. } if self.controller == Some(node.0) => self.controller = None,
            Note::ReplicaStopped { partition, .. } => {
                self.replicas.remove(&(node.0, *partition));
            }
            _ if fold::changes_replica(note) => {
                let partition = fold::partition_of(note).expect("a replica is one of a partition");
                fold::fold_replica(self.replicas.entry((node.0, partition)).or_default(), note);
            }
            _ => {}
        }
    }
}
