//! The world: the one place where anything happens, time included.
//!
//! ```text
//!             ┌───────────────── queue: (time, order) ◀──────────────┐
//!             ▼                                                      │
//!   below the programs: segments, timers, disks ──▶ inbox ──▶ one step of one program ──▶ effects
//!   (net, carried out as their time comes)         (while the node is busy or paused)
//! ```
//!
//! It guarantees that a run is a function of the programs, the nodes, the settings, the streams and the calls made; that
//! a step is carried out to its end before the next; that true time never goes back. A step costs its node processor
//! time, and a busy node handles its next event when it is free; what a step sends leaves at its end.
//! It deliberately does not know what the programs are, nor which faults to carry out.

mod fault;
mod life;
mod named;
mod turn;

pub use life::Death;

#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::due::Due;
use crate::fault::{Fault, NodeId};
use crate::host::Node;
use crate::net::{Agenda, Net};
use crate::program::{Boot, Effect, Now};
use crate::random::{Stream, Streams, Tape};
use crate::schedule::{Choice, Scheduler, ScriptError};
use crate::step::Stepped;
use crate::trace::Trace;
use std::collections::BTreeMap;

/// A node to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Part of the names of its streams: "disk b1", "link b1>b2".
    pub name: String,
}

/// Settings of a world. Times in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldConfig {
    /// Least latency between two hosts, one way.
    pub latency_base_ns: u64,
    /// Mean of the exponential part on top of it.
    pub latency_tail_ns: u64,
    /// Latency of a connection of a host with itself.
    pub loopback_ns: u64,
    /// Processor time of a step.
    pub step_ns: u64,
    /// Bytes a second of every NIC, each direction; 0 is unlimited.
    pub nic_bytes_per_s: u64,
    /// Bytes that a receiver's kernel takes before its program reads.
    pub window_bytes: u64,
    /// Bytes that a sender sends while no acknowledgement comes back.
    pub blind_window_bytes: u64,
    /// An unanswered connect ends after this.
    pub connect_timeout_ns: u64,
    /// A connection whose bytes are not acknowledged for this long ends.
    pub retransmission_timeout_ns: u64,
    /// How often an operating system writes back; 0 is never.
    pub write_back_ns: u64,
    /// Monotonic clocks show something below this at true time 0, each its own.
    pub mono_spread_ns: u64,
    /// How long a script waits, in true time, for a step that is not pending yet.
    pub script_patience_ns: u64,
}

impl Default for WorldConfig {
    fn default() -> Self {
        WorldConfig {
            latency_base_ns: 100_000,
            latency_tail_ns: 50_000,
            loopback_ns: 10_000,
            step_ns: 20_000,
            nic_bytes_per_s: 0,
            window_bytes: 256 * 1024,
            blind_window_bytes: 64 * 1024,
            connect_timeout_ns: 3_000_000_000,
            retransmission_timeout_ns: 15_000_000_000,
            write_back_ns: 5_000_000_000,
            mono_spread_ns: 3_600_000_000_000,
            script_patience_ns: 60_000_000_000,
        }
    }
}

/// What a world has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Steps of all kinds.
    pub steps: u64,
    /// Bytes that programs received.
    pub bytes: u64,
    /// Faults that did something, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Steps of each node's programs, by node.
    pub node_steps: Vec<u64>,
    /// Bytes that each node's programs received, by node.
    pub node_bytes: Vec<u64>,
}

/// Something that the harness asked for in advance.
#[derive(Debug)]
enum Plan {
    Fault(Fault),
    Marker(u64),
}

/// Links that are cut and healed in turn.
#[derive(Debug)]
struct Flap {
    pairs: Vec<(usize, usize)>,
    bit: u32,
    period: u64,
    /// Entries of the queue with another number are void.
    round: u32,
    down: bool,
}

/// The world.
#[derive(Debug)]
pub struct World<B: Boot> {
    config: WorldConfig,
    boot: B,
    nodes: Vec<Node<B::Program>>,
    net: Net,
    agenda: Agenda,
    /// How many entries of the queue only keep themselves alive (write-back, flaps).
    background: usize,
    now: u64,
    steps: u64,
    bytes: u64,
    trace: Trace,
    scheduler: Scheduler,
    /// A script plays: what programs are to be told waits until it is named.
    scripted: bool,
    script_error: Option<ScriptError>,
    faults: BTreeMap<&'static str, u64>,
    applied: u32,
    pokes: u32,
    /// All that was ever scheduled, with its number among its kind; `None` once it has happened.
    plans: Vec<(Option<Plan>, u32)>,
    /// How many faults and markers were.
    planned: (u32, u32),
    /// Scheduled things whose time has come while a script plays.
    held: Vec<u32>,
    flaps: Vec<Flap>,
    /// Of the step under way; kept for its memory.
    effects: Vec<Effect>,
}

impl<B: Boot> World<B> {
    /// A world at true time 0 in which every host has power and no process runs.
    pub fn new(boot: B, nodes: Vec<NodeSpec>, streams: &Streams, config: WorldConfig) -> World<B> {
        assert!(
            nodes.len() < usize::from(u16::MAX),
            "{} nodes are too many",
            nodes.len()
        );
        let names: Vec<String> = nodes.into_iter().map(|spec| spec.name).collect();
        let mut agenda = Agenda::new();
        let mut background = 0;
        let mut net = Net::new(names.clone(), streams, &config);
        let nodes = names
            .iter()
            .enumerate()
            .map(|(i, name)| {
                let mut timers = streams.stream(&format!("clock {name}"));
                let clock = Clock::new(timers.below(config.mono_spread_ns));
                let disk = Disk::new(streams.stream(&format!("disk {name}")));
                if config.write_back_ns > 0 {
                    // Not all hosts at the same instant.
                    let first = config.write_back_ns * (i as u64 + 1) / (names.len() as u64 + 1);
                    agenda.push(first, Due::WriteBack { node: i as u16 });
                    background += 1;
                }
                net.hosts[i].nic.limit(config.nic_bytes_per_s);
                Node::new(disk, clock, streams.stream(&format!("boot {name}")), timers)
            })
            .collect();
        World {
            config,
            boot,
            nodes,
            net,
            agenda,
            background,
            now: 0,
            steps: 0,
            bytes: 0,
            trace: Trace::new(),
            scheduler: Scheduler::Seeded,
            scripted: false,
            script_error: None,
            faults: BTreeMap::new(),
            applied: 0,
            pokes: 0,
            plans: Vec::new(),
            planned: (0, 0),
            held: Vec::new(),
            flaps: Vec::new(),
            effects: Vec::new(),
        }
    }

    // --- moving on ---

    /// Carries out the next step. `None` if nothing will ever happen again by itself, if the script has been played, or
    /// if it cannot go on ([`script_error`](World::script_error)).
    #[inline]
    pub fn step(&mut self) -> Option<Stepped> {
        match self.scheduler.choose() {
            Choice::Earliest => self.step_earliest(),
            Choice::Key(key) => self.step_named(key),
            Choice::End => None,
        }
    }

    #[inline]
    fn step_earliest(&mut self) -> Option<Stepped> {
        while self.agenda.len() > self.background {
            let (time, due) = self.agenda.pop()?;
            self.now = self.now.max(time);
            let stepped = self.carry_out(due);
            if stepped.is_some() {
                return stepped;
            }
        }
        None
    }

    /// Carries a fault out now, as a step. False if there was nothing to apply it to.
    pub fn apply(&mut self, fault: &Fault) -> bool {
        self.applied += 1;
        let key = Self::applied_key(self.applied);
        self.carry_out_fault(fault, key).1
    }

    /// Carries a fault out at this true time (now, if it has passed), as a step.
    pub fn schedule_fault(&mut self, time: u64, fault: Fault) {
        self.plan(time, Plan::Fault(fault));
    }

    /// Makes a step that does nothing at this true time (now, if it has passed).
    pub fn schedule_marker(&mut self, time: u64, id: u64) {
        self.plan(time, Plan::Marker(id));
    }

    fn plan(&mut self, time: u64, plan: Plan) {
        let count = match plan {
            Plan::Fault(_) => &mut self.planned.0,
            Plan::Marker(_) => &mut self.planned.1,
        };
        *count += 1;
        self.plans.push((Some(plan), *count));
        let index = (self.plans.len() - 1) as u32;
        self.agenda.push(time.max(self.now), Due::Scheduled { index });
    }

    /// Who decides which step is next, from now on.
    pub fn set_scheduler(&mut self, scheduler: Scheduler) {
        self.scripted = matches!(scheduler, Scheduler::Scripted(_));
        self.scheduler = scheduler;
        self.script_error = None;
        if !self.scripted {
            for index in std::mem::take(&mut self.held) {
                self.agenda.push(self.now, Due::Scheduled { index });
            }
            for node in 0..self.nodes.len() {
                self.arm_wake(node);
            }
        }
    }

    /// Who decides.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Why the script could not go on.
    pub fn script_error(&self) -> Option<&ScriptError> {
        self.script_error.as_ref()
    }

    /// Latency of a directed link from now on: least, and mean of the exponential part; nanoseconds.
    pub fn set_link_latency(&mut self, from: NodeId, to: NodeId, base_ns: u64, tail_ns: u64) {
        self.net.links.set_latency(from.0.into(), to.0.into(), base_ns, tail_ns);
    }

    // --- looking ---

    /// True time, nanoseconds.
    pub fn now(&self) -> u64 {
        self.now
    }
    /// What the node's clocks show.
    pub fn node_now(&self, node: NodeId) -> Now {
        self.nodes[usize::from(node.0)].clock.now(self.now)
    }
    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }
    /// Whether a process runs (or is paused) on the node.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.program(node).is_some()
    }
    /// Whether its process is frozen.
    pub fn is_paused(&self, node: NodeId) -> bool {
        self.nodes.get(usize::from(node.0)).is_some_and(|node| node.paused)
    }
    /// How many processes have been started on the node.
    pub fn incarnation(&self, node: NodeId) -> u32 {
        self.nodes[usize::from(node.0)].incarnation
    }
    /// The program of the node's process.
    pub fn program(&self, node: NodeId) -> Option<&B::Program> {
        self.nodes.get(usize::from(node.0))?.program.as_ref()
    }
    /// The same, to take what it says of itself; to let it act, use [`poke`](World::poke).
    pub fn program_mut(&mut self, node: NodeId) -> Option<&mut B::Program> {
        self.nodes.get_mut(usize::from(node.0))?.program.as_mut()
    }
    /// What starts the programs.
    pub fn boot(&self) -> &B {
        &self.boot
    }
    /// The same, to change what the next start gets.
    pub fn boot_mut(&mut self) -> &mut B {
        &mut self.boot
    }
    /// The node's disk.
    pub fn disk(&self, node: NodeId) -> &Disk {
        &self.nodes[usize::from(node.0)].disk
    }
    /// The same, to furnish it before the first start.
    pub fn disk_mut(&mut self, node: NodeId) -> &mut Disk {
        &mut self.nodes[usize::from(node.0)].disk
    }
    /// Digest and recording.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }
    /// The same, to record or to put facts in.
    pub fn trace_mut(&mut self) -> &mut Trace {
        &mut self.trace
    }
    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        Counts {
            steps: self.steps,
            bytes: self.bytes,
            faults: self.faults.clone(),
            node_steps: self.nodes.iter().map(|node| node.steps).collect(),
            node_bytes: self.nodes.iter().map(|node| node.bytes).collect(),
        }
    }
    /// How many steps there were: [`Counts::steps`] without the rest.
    pub fn steps(&self) -> u64 {
        self.steps
    }
    /// How many connections some kernel or program knows.
    pub fn connections(&self) -> usize {
        self.net.connections()
    }
    /// What the world's own streams drew, if they were made to record (disks apart).
    pub fn tape(&self) -> Tape {
        let own = self
            .nodes
            .iter()
            .flat_map(|node| [&node.entropy, &node.timers, node.disk.stream()]);
        let recorded = self.net.streams().chain(own).filter_map(Stream::recorded);
        Tape {
            streams: recorded
                .map(|(name, drawn)| (name.to_owned(), drawn.to_vec()))
                .collect(),
        }
    }
}
