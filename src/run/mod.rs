//! `run(scenario, seed) -> Outcome`: the only run loop.
//!
//! ```text
//!   boot ─▶ topics exist ─▶ traffic and faults ─▶ heal ─▶ converged? ─▶ read everything back ─▶ verdict
//!          (no faults)      (safety)                     (liveness, bounded)
//! ```
//!
//! Guarantees: everything that happens is a step of the world; the digest covers every step and every note. The run
//! itself reads no clock and draws no number but from the streams of its seed.
//!
//! Sources: the two phases are those of TigerBeetle's VOPR; the final reads those of Jepsen's Kafka workload.

mod held;
mod judge;
mod outages;
mod outcome;
pub(crate) mod panics;
pub mod path;
mod script;
mod setup;
#[cfg(test)]
mod tests;
mod workload;

pub use judge::context;
pub use outcome::{Class, Outcome};
pub use setup::Layout;

use crate::checks::{Checks, Fact, Violation};
use crate::cluster::{Cluster, Notes};
use crate::conform::Conform;
use crate::scenario::Scenario;
use crate::sockets::Driven;
use crate::tap::Tap;
use crate::valve::SharedValve;
use kafka::client::{Op, StartFrom};
use kafka::{ClientNote, Note, Uuid};
use outages::Outages;
use script::{Deed, Script};
use sim::disk::Strike;
use sim::fault::{Fault, NodeId};
use sim::random::{Stream, Streams, Tape};
use sim::step::{Label, Stepped};
use sim::swarm::{self, Planned};
use sim::world::{NodeSpec, World, WorldConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use workload::User;

/// Where to stop before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After this step of the world.
    Step(u64),
    /// After the first step at this time or later, in simulated nanoseconds.
    Time(u64),
}

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Remember what every stream drew.
    pub record: bool,
    /// Play these draws first.
    pub tape: Option<Arc<Tape>>,
    /// Stop there.
    pub until: Option<Until>,
    /// Hold every step against the specification.
    pub conform: bool,
    /// Stop where the script is done.
    pub script_only: bool,
}

/// Sees a run as it happens. Must not influence it.
pub trait Observer {
    /// A step has been carried out; its notes follow.
    fn step(&mut self, _stepped: &Stepped, _world: &World<Cluster>, _layout: &Layout) {}
    /// A fault was injected.
    fn fault(&mut self, _time_ns: u64, _fault: &Fault) {}
    /// A fault has taken or changed durable data, now or long after it was injected.
    fn strike(&mut self, _time_ns: u64, _node: NodeId, _strike: &Strike) {}
    /// What happens next, in the words of whoever arranged it.
    fn told(&mut self, _words: &str) {}
    /// The script's step of this number, from 0, is about to be carried out.
    fn scripted(&mut self, _number: usize) {}
    /// Where it wants to see what goes over the wire.
    fn tap(&self) -> Option<Tap> {
        None
    }
    /// The script's step of this number, from 0, has been carried out; its notes follow.
    fn script(&mut self, _number: usize, _world: &World<Cluster>, _layout: &Layout) {}
    /// A topic is called so: said before the first note about it.
    fn topic(&mut self, _id: Uuid, _name: &str) {}
    /// A machine said something.
    fn note(&mut self, _time_ns: u64, _node: NodeId, _note: &Note) {}
    /// A check has fired, by what has been said so far.
    fn broken(&mut self, _violation: &Violation) {}
}

/// Sees nothing.
#[derive(Debug)]
pub struct Nobody;
impl Observer for Nobody {}

/// Runs one seed.
pub fn run(scenario: &Scenario, seed: u64, options: &Options) -> Outcome {
    observe(scenario, seed, options, &mut Nobody).0
}

/// Runs one seed before an observer; also gives what the streams drew, if that was asked for.
pub fn observe(scenario: &Scenario, seed: u64, options: &Options, observer: &mut dyn Observer) -> (Outcome, Tape) {
    let mut run = Run::new(scenario, seed, options);
    if let Some(tap) = observer.tap() {
        run.world.boot_mut().set_tap(tap);
    }
    let caught = panics::catch(|| run.all(observer));
    let ended = caught.unwrap_or_else(Ended::Panicked);
    (run.outcome(seed, ended), run.tape())
}

/// How the loop came to its end.
enum Ended {
    /// All phases.
    Whole,
    /// As asked for.
    Until,
    /// With this reason.
    Stuck(String),
    /// A broken invariant of the subject.
    Panicked(String),
}

/// What a marker step of the world is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    /// The harness looks.
    Tick,
    /// The user of this client acts.
    User(u32),
    /// This entry of the swarm's plan.
    Planned(u32),
}

impl Marker {
    fn id(self) -> u64 {
        match self {
            Marker::Tick => 0,
            Marker::User(i) => 1 << 32 | u64::from(i),
            Marker::Planned(i) => 2 << 32 | u64::from(i),
        }
    }
    fn of(id: u64) -> Marker {
        match (id >> 32, id as u32) {
            (0, _) => Marker::Tick,
            (1, i) => Marker::User(i),
            (_, i) => Marker::Planned(i),
        }
    }
}

const MS: u64 = 1_000_000;
/// A run that takes more steps spins: the busiest scenario needs a hundredth.
const MAX_STEPS: u64 = 20_000_000;
/// The harness looks this often.
const TICK_NS: u64 = 100 * MS;
/// A cluster without faults that has no topics by then is stuck.
const SETUP_NS: u64 = 60_000 * MS;
/// The final reads must be over by then.
const VERIFY_NS: u64 = 60_000 * MS;

struct Run<'s> {
    scenario: &'s Scenario,
    layout: Layout,
    world: World<Cluster>,
    notes: Notes,
    /// Reused: what was said in the step at hand.
    heard: Vec<(NodeId, Note)>,
    /// Injected, and what they struck, since the last time that somebody listened.
    injected: Vec<Fault>,
    struck: Vec<(NodeId, Strike)>,
    checks: Checks,
    conform: Option<Box<Conform>>,
    /// The last step of the world, for whoever asks what it was.
    stepped: Option<Stepped>,
    users: Vec<User>,
    plan: Vec<(u64, Planned)>,
    script: Script,
    /// Keeps messages back, if a script or a path does.
    valve: Option<SharedValve>,
    /// Topics whose names the checks know.
    named: BTreeSet<Uuid>,
    /// Incarnation of each server and whether it is up, as the checks know it.
    lives: Vec<(u32, bool)>,
    outages: Outages,
    faults: BTreeMap<&'static str, u64>,
    /// Answers to the testbed's own administrator: operation and error code.
    created: BTreeMap<u64, i16>,
    /// Next offset that the testbed's consumer will read.
    verified: BTreeMap<(String, i32), i64>,
    until: Option<Until>,
    /// Broken promises that the observer knows.
    told: usize,
    script_only: bool,
    steps: u64,
    traffic: bool,
    plan_stream: Stream,
    setup_stream: Stream,
    driver_stream: Stream,
    /// The connections of brokers are driven over byte streams.
    driven: Option<Driven>,
}

impl<'s> Run<'s> {
    fn new(scenario: &'s Scenario, seed: u64, options: &Options) -> Run<'s> {
        Run::within(scenario, seed, options, WorldConfig::default())
    }

    fn within(scenario: &'s Scenario, seed: u64, options: &Options, config: WorldConfig) -> Run<'s> {
        let mut streams = Streams::new(seed);
        if options.record {
            streams = streams.recording();
        }
        if let Some(tape) = &options.tape {
            streams = streams.playing(Arc::clone(tape));
        }
        let layout = Layout::of(scenario);
        let notes = Notes::default();
        let mut setup_stream = streams.stream("setup");
        let mut cluster = setup::cluster(scenario, &layout, Notes::clone(&notes), &mut setup_stream);
        let nodes = layout
            .names
            .iter()
            .map(|name| NodeSpec { name: name.clone() })
            .collect();
        // By scenario, so that a short sweep of all of them has some seeds of each kind.
        let mut driver_stream = streams.stream(&format!("driver of {}", scenario.name));
        let driven = setup::driven(scenario, &layout, &streams, &mut driver_stream);
        if let Some(driven) = &driven {
            cluster.set_driven(driven.clone());
        }
        let world = World::new(cluster, nodes, &streams, config);
        Run {
            checks: Checks::new(judge::context(scenario, &layout)),
            conform: options
                .conform
                .then(|| Box::new(Conform::new(judge::context(scenario, &layout)))),
            stepped: None,
            users: workload::users(scenario, &streams),
            plan: Vec::new(),
            script: Script::new(scenario),
            valve: None,
            named: BTreeSet::new(),
            lives: vec![(0, false); layout.servers],
            outages: Outages::default(),
            faults: BTreeMap::new(),
            created: BTreeMap::new(),
            verified: BTreeMap::new(),
            heard: Vec::new(),
            injected: Vec::new(),
            struck: Vec::new(),
            until: options.until,
            told: 0,
            script_only: options.script_only,
            steps: 0,
            traffic: false,
            plan_stream: streams.stream("faults"),
            setup_stream,
            driver_stream,
            driven,
            scenario,
            layout,
            world,
            notes,
        }
    }

    /// All phases.
    fn all(&mut self, observer: &mut dyn Observer) -> Ended {
        match self.phases(observer) {
            Ok(()) => Ended::Whole,
            Err(ended) => ended,
        }
    }

    fn phases(&mut self, observer: &mut dyn Observer) -> Result<(), Ended> {
        self.boot(observer);
        self.create_topics(observer)?;
        self.traffic(observer)?;
        self.heal(observer)?;
        self.verify(observer)
    }

    /// Starts every node.
    fn boot(&mut self, observer: &mut dyn Observer) {
        if self.script.holds_messages() {
            self.add_valve();
        }
        for node in 0..self.layout.names.len() {
            self.apply(&Fault::Start {
                node: NodeId(node as u16),
            });
        }
        self.hear(observer);
        self.world.schedule_marker(TICK_NS, Marker::Tick.id());
    }

    /// Creates the scenario's topics and waits until every broker leads and follows what it should.
    fn create_topics(&mut self, observer: &mut dyn Observer) -> Result<(), Ended> {
        let setup = self.layout.setup();
        let brokers_run =
            |run: &Run<'_>| run.all_brokers(|broker| broker.phase() == Some(kafka::broker::Phase::Running));
        self.until(SETUP_NS, observer, brokers_run, |_| {
            "the brokers did not all join the cluster".to_owned()
        })?;
        for (i, topic) in self.scenario.topics.iter().enumerate() {
            let op = Op::CreateTopic {
                op: i as u64,
                name: topic.name.clone(),
                partitions: topic.partitions,
                replication_factor: topic.replication_factor,
                configs: topic.config.clone().into_iter().collect(),
                assignment: topic.assignment.clone(),
            };
            self.operate(setup, op);
        }
        let wanted = self.scenario.topics.len();
        self.until(
            SETUP_NS,
            observer,
            |run| run.created.len() == wanted,
            |_| "topics were not created".to_owned(),
        )?;
        if let Some((op, code)) = self.created.iter().find(|(_, code)| **code != 0) {
            let name = &self.scenario.topics[*op as usize].name;
            return Err(Ended::Stuck(format!(
                "topic `{name}` could not be created: error {code}"
            )));
        }
        let ready = |run: &Run<'_>| run.checks.converged(run.world.now()).is_ok();
        self.until(SETUP_NS, observer, ready, |run| {
            format!(
                "the new topics did not settle: {}",
                run.checks.converged(run.world.now()).err().unwrap_or_default()
            )
        })
    }

    /// Traffic and faults.
    fn traffic(&mut self, observer: &mut dyn Observer) -> Result<(), Ended> {
        self.traffic = true;
        let began = self.world.now();
        let duration = self.scenario.duration_ms * MS;
        for i in 0..self.users.len() {
            let node = NodeId((self.layout.servers + i) as u16);
            if let Some(op) = self.users[i].first() {
                self.operate(node, op);
            }
            if let Some(pause) = self.users[i].pause() {
                self.world.schedule_marker(began + pause, Marker::User(i as u32).id());
            }
        }
        if let Some(swarm) = &self.scenario.faults.swarm {
            let config = judge::swarm_config(swarm, &self.layout);
            let (servers, clients) = (self.layout.server_nodes(), self.layout.client_nodes());
            self.plan = swarm::plan(&config, &servers, &clients, duration, &mut self.plan_stream).actions;
        }
        for (i, (at, _)) in self.plan.iter().enumerate() {
            self.world.schedule_marker(began + at, Marker::Planned(i as u32).id());
        }
        let end = began + duration;
        while self.world.now() < end {
            self.step(observer)?;
            self.follow_script(began, observer);
            if self.script_only && self.script.is_done() {
                return Err(Ended::Until);
            }
        }
        if !self.script.is_done() {
            return Err(Ended::Stuck(self.script.waits_for()));
        }
        Ok(())
    }

    fn follow_script(&mut self, began: u64, observer: &mut dyn Observer) {
        while !self.script.is_done() {
            let number = self.script.taken();
            let due = self.script.due(began, &self.world, &self.layout, self.scenario);
            let Some(deeds) = due else { return };
            observer.scripted(number);
            for deed in deeds {
                match deed {
                    Deed::Fault(fault) => self.apply(&fault),
                    Deed::Operate(node, op) => self.operate(node, op),
                    Deed::Link(hand, from, to) => self.handle(hand, from, to),
                    Deed::Send(node, topic, partition) => {
                        let user = usize::from(node.0) - self.layout.servers;
                        let op = self.users[user].send(&topic, partition);
                        self.operate(node, op);
                    }
                }
            }
            observer.script(number, &self.world, &self.layout);
            self.hear(observer);
        }
    }

    /// Everything that was done to the cluster ends; it has a bounded time to come to rest.
    fn heal(&mut self, observer: &mut dyn Observer) -> Result<(), Ended> {
        self.traffic = false;
        let (servers, clients) = (self.layout.server_nodes(), self.layout.client_nodes());
        for fault in swarm::heal(&servers, &clients) {
            self.apply(&fault);
        }
        self.open_valve();
        self.hear(observer);
        let time_ns = self.world.now();
        self.checks.fact(Fact::FaultsEnded { time_ns });
        let bound = self.scenario.heal_ms * MS;
        self.until(
            bound,
            observer,
            |run| run.unrest().is_none(),
            |run| format!("not converged: {}", run.unrest().unwrap_or_default()),
        )
    }

    /// What a healed cluster waits for. A server that is down has nobody who waits for it in the checks, so that it is
    /// up is asked for here, unless a fault has changed what is on a disk.
    fn unrest(&self) -> Option<String> {
        let mut servers = self.layout.server_nodes().into_iter();
        let down = servers.find(|node| !self.world.is_up(*node));
        match down.filter(|_| self.checks.convergence_excused().is_none()) {
            Some(node) => Some(format!("{} does not run", self.layout.names[usize::from(node.0)])),
            None => self.checks.converged(self.world.now()).err(),
        }
    }

    /// Reads every partition from its start to its end, as a new consumer would, and waits for the cluster to be at rest
    /// again: what the last fault did may come to light only now, as a follower that is found to lag does.
    fn verify(&mut self, observer: &mut dyn Observer) -> Result<(), Ended> {
        let ends = self.log_ends();
        let targets: Vec<(String, i32)> = ends.keys().cloned().collect();
        if !targets.is_empty() {
            self.operate(
                self.layout.verify(),
                Op::Assign {
                    partitions: targets,
                    from: StartFrom::Earliest,
                },
            );
        }
        // A deletion that was asked for before may still take records or the topic away; what is gone need not be read.
        let missing = |run: &Run<'_>| {
            let now = run.log_ends();
            let is_missing = |(partition, (_, end)): &(&(String, i32), &(i64, i64))| {
                let is_deleted = now.get(*partition).is_none_or(|(start, _)| start >= end);
                let is_read = run.verified.get(*partition).is_some_and(|next| next >= end);
                !is_deleted && !is_read
            };
            let found = ends.iter().find(is_missing);
            found.map(|(partition, (_, end))| (partition.clone(), *end))
        };
        let at_rest = |run: &Run<'_>| missing(run).is_none() && run.unrest().is_none();
        self.until(VERIFY_NS, observer, at_rest, |run| {
            let Some(((topic, partition), end)) = missing(run) else {
                return format!("converged, and then not: {}", run.unrest().unwrap_or_default());
            };
            let next = run.verified.get(&(topic.clone(), partition));
            format!("a new consumer could not read {topic}-{partition} to its end {end}, it came to {next:?}")
        })?;
        let time_ns = self.world.now();
        self.checks.fact(Fact::Finished { time_ns });
        Ok(())
    }

    /// Start and end of every partition's log, by the leader.
    fn log_ends(&self) -> BTreeMap<(String, i32), (i64, i64)> {
        let mut ends = BTreeMap::new();
        for server in self.layout.server_nodes() {
            let Some(broker) = self.world.program(server).and_then(|process| process.broker()) else {
                continue;
            };
            for partition in broker
                .snapshot()
                .partitions
                .into_iter()
                .filter(|partition| partition.leads)
            {
                let key = (partition.topic, partition.partition.partition);
                ends.insert(key, (partition.log_start_offset, partition.log_end_offset));
            }
        }
        ends
    }

    /// Steps until something holds; looks at every tick.
    fn until(
        &mut self,
        bound_ns: u64,
        observer: &mut dyn Observer,
        holds: impl Fn(&Run<'s>) -> bool,
        reason: impl Fn(&Run<'s>) -> String,
    ) -> Result<(), Ended> {
        let end = self.world.now() + bound_ns;
        loop {
            if self.step(observer)? == Some(Marker::Tick) && holds(self) {
                return Ok(());
            }
            if self.world.now() >= end {
                return Err(Ended::Stuck(format!(
                    "after {} s: {}",
                    bound_ns / 1_000_000_000,
                    reason(self)
                )));
            }
        }
    }

    /// One step of the world, and everything that listens to it.
    fn step(&mut self, observer: &mut dyn Observer) -> Result<Option<Marker>, Ended> {
        if self.steps >= MAX_STEPS {
            return Err(Ended::Stuck(format!(
                "after {MAX_STEPS} steps the run is still not over: something spins"
            )));
        }
        let is_there = |until| match until {
            Until::Step(step) => self.steps >= step,
            Until::Time(time_ns) => self.world.now() >= time_ns,
        };
        if self.until.is_some_and(is_there) {
            return Err(Ended::Until);
        }
        let Some(stepped) = self.world.step() else {
            return Err(Ended::Stuck("nothing is left to happen".to_owned()));
        };
        self.steps += 1;
        self.stepped = Some(stepped);
        let marker = match stepped.label {
            Label::Marker(id) => Some(Marker::of(id)),
            _ => None,
        };
        if let (Some(valve), Some(node), Label::Accepted { conn, from }) = (&self.valve, stepped.node, stepped.label) {
            valve.borrow_mut().accepted(node, conn, from);
        }
        observer.step(&stepped, &self.world, &self.layout);
        match marker {
            Some(Marker::Tick) => self
                .world
                .schedule_marker(self.world.now() + TICK_NS, Marker::Tick.id()),
            Some(Marker::User(i)) => self.user_acts(i as usize),
            Some(Marker::Planned(i)) => self.carry_out(i as usize),
            None => {}
        }
        self.hear(observer);
        Ok(marker)
    }

    fn user_acts(&mut self, i: usize) {
        if !self.traffic {
            return;
        }
        let node = NodeId((self.layout.servers + i) as u16);
        if let Some(op) = self.users[i].act() {
            self.operate(node, op);
        }
        if let Some(pause) = self.users[i].pause() {
            self.world
                .schedule_marker(self.world.now() + pause, Marker::User(i as u32).id());
        }
    }

    fn operate(&mut self, node: NodeId, op: Op) {
        // A client that is paused or down hears nothing of its user.
        self.world
            .poke(node, |process, now, _disk, effects| process.operate(now, op, effects));
    }

    /// Carries out an entry of the swarm's plan.
    fn carry_out(&mut self, i: usize) {
        let swarm = self.scenario.faults.swarm.as_ref().expect("its plan is carried out");
        let fault = judge::aim(&self.plan[i].1, &self.world, &self.layout, swarm);
        if let Some(fault) = fault {
            self.apply(&fault);
        }
    }

    fn tell(&mut self, fact: Fact<'_>) {
        if let Some(conform) = &mut self.conform {
            conform.fact(&fact);
        }
        self.checks.fact(fact);
    }

    fn apply(&mut self, fault: &Fault) {
        if !self.world.apply(fault) {
            // Links that come and go may be there at this very instant, and from now on they stay.
            if matches!(fault, Fault::HealLinks) {
                self.injected.push(fault.clone());
            }
            return;
        }
        judge::power_lost(self, fault);
        judge::strikes(self);
        self.injected.push(fault.clone());
        if fault.disturbs() {
            *self.faults.entry(fault.kind()).or_default() += 1;
        }
    }

    /// Hands what was said, and what happened to nodes and disks, to whoever listens.
    fn hear(&mut self, observer: &mut dyn Observer) {
        let time_ns = self.world.now();
        judge::strikes(self);
        for fault in self.injected.drain(..) {
            observer.fault(time_ns, &fault);
        }
        for (node, strike) in self.struck.drain(..) {
            observer.strike(time_ns, node, &strike);
        }
        judge::lifecycle(self);
        judge::traffic(self);
        std::mem::swap(&mut *self.notes.borrow_mut(), &mut self.heard);
        for (node, note) in &self.heard {
            if let Some((id, name)) = judge::name_topic(*node, note, &self.world, &self.named) {
                observer.topic(id, name);
                self.checks.fact(Fact::TopicNamed { name, id });
                self.named.insert(id);
            }
            observer.note(time_ns, *node, note);
            let fact = Fact::Note {
                time_ns,
                node: node.0,
                note,
            };
            if let Some(conform) = &mut self.conform {
                conform.fact(&fact);
            }
            self.checks.fact(fact);
            self.outages.heard(node.0, note, time_ns);
            if !self.script.is_done() {
                self.script.hear(*node, note);
            }
            if *node == self.layout.setup()
                && let Note::Client(ClientNote::AdminAnswered { op, error_code, .. }) = note
            {
                self.created.insert(*op, *error_code);
            }
            if *node == self.layout.verify()
                && let Note::Client(ClientNote::Polled {
                    topic,
                    partition,
                    records,
                    ..
                }) = note
                && let Some((offset, ..)) = records.last()
            {
                self.verified.insert((topic.clone(), *partition), offset + 1);
            }
        }
        self.world.trace_mut().mix(self.heard.len() as u64);
        self.heard.clear();
        judge::resolve_recoveries(self);
        judge::settle_conform(self);
        for violation in &self.checks.violations()[self.told..] {
            observer.broken(violation);
        }
        self.told = self.checks.violations().len();
    }

    fn all_brokers(&self, holds: impl Fn(&kafka::broker::Broker) -> bool) -> bool {
        (0..self.layout.brokers).all(|i| {
            self.world
                .program(NodeId(i as u16))
                .and_then(|process| process.broker())
                .is_some_and(&holds)
        })
    }

    fn outcome(&mut self, seed: u64, ended: Ended) -> Outcome {
        judge::outcome(self, seed, ended)
    }

    fn tape(&self) -> Tape {
        let mut tape = self.world.tape();
        for stream in
            self.users
                .iter()
                .map(User::stream)
                .chain([&self.plan_stream, &self.setup_stream, &self.driver_stream])
        {
            tape.streams
                .extend(stream.recorded().map(|(name, drawn)| (name.to_owned(), drawn.to_vec())));
        }
        tape.streams
            .extend(self.driven.iter().flat_map(|driven| driven.recorded()));
        tape
    }
}
