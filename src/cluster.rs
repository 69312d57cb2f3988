//! The subject as nodes of the world: brokers and clients on simulated disks, NICs and clocks.
//!
//! This file is the whole difference between the simulated world and the real one, together with `run.rs`: it turns
//! the world's events into the machines' inputs and their outputs into the world's effects, and decides nothing.

use crate::sockets::{Driven, Sockets};
use crate::tap::{Act, Passed, Tap};
use crate::valve::SharedValve;
use bytes::Bytes;
use kafka::broker::Broker;
use kafka::client::{Admin, ClientInput, Consumer, Endpoint, Manner, Op, Producer, Stranger};
use kafka::config::NodeConfig;
use kafka::{ConnId, DiskError, Entropy, FileId, Input, Nanos, Note, Outbox, Output, SyncTag, SyncTarget};
use sim::disk::{Disk, Errno, File};
use sim::fault::NodeId;
use sim::program::{Boot, Effect, Event, Now, Program};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What machines said during a step, and which of them.
pub type Notes = Rc<RefCell<Vec<(NodeId, Note)>>>;

/// How to start the process of a node.
#[derive(Clone, Debug)]
pub enum Role {
    /// A broker, a controller or both.
    Broker(Box<NodeConfig>),
    /// A producer.
    Producer(kafka::client::ProducerConfig),
    /// A consumer with assigned partitions.
    Consumer(kafka::client::ConsumerConfig),
    /// An administrator.
    Admin(kafka::client::AdminConfig),
    /// Somebody who found these listeners.
    Stranger(Vec<Endpoint>, Manner),
}

/// Starts processes, and knows who is called what.
#[derive(Debug)]
pub struct Cluster {
    roles: Vec<Role>,
    hosts: Rc<BTreeMap<String, NodeId>>,
    notes: Notes,
    valve: Option<SharedValve>,
    driven: Option<Driven>,
    tap: Option<Tap>,
}

impl Cluster {
    /// One role for each node of the world, in its order; `hosts` gives the node of each host name.
    pub fn new(roles: Vec<Role>, hosts: BTreeMap<String, NodeId>, notes: Notes) -> Cluster {
        Cluster {
            roles,
            hosts: Rc::new(hosts),
            notes,
            valve: None,
            driven: None,
            tap: None,
        }
    }

    /// From the next start on, the connections of brokers go through the driver of a real process, over byte streams.
    pub fn set_driven(&mut self, driven: Driven) {
        self.driven = Some(driven);
    }

    /// From the next start on, processes send through a valve.
    pub fn set_valve(&mut self, valve: SharedValve) {
        self.valve = Some(valve);
    }

    /// From the next start on, somebody sees what processes send and read.
    pub fn set_tap(&mut self, tap: Tap) {
        self.tap = Some(tap);
    }
}

/// The machine inside a process.
#[derive(Debug)]
pub enum Machine {
    /// A broker, a controller or both.
    Broker(Box<Broker>),
    /// A producer.
    Producer(Box<Producer>),
    /// A consumer.
    Consumer(Box<Consumer>),
    /// An administrator.
    Admin(Box<Admin>),
    /// A stranger.
    Stranger(Box<Stranger>),
}

/// A process of the simulated cluster.
#[derive(Debug)]
pub struct Process {
    node: NodeId,
    machine: Machine,
    hosts: Rc<BTreeMap<String, NodeId>>,
    notes: Notes,
    /// Reused between steps.
    out: Outbox,
    syncs: BTreeMap<u64, SyncTag>,
    next_sync: u64,
    valve: Option<SharedValve>,
    /// If its connections are driven; if not, the machine is given whatever pieces come.
    sockets: Option<Box<Sockets>>,
    /// It ends with this step.
    exit: Option<Effect>,
    tap: Option<Tap>,
}

fn at(now: Now) -> kafka::Now {
    kafka::Now {
        mono: Nanos(now.mono),
        wall_ms: now.wall_ms,
    }
}

impl Boot for Cluster {
    type Program = Process;

    fn boot(
        &mut self,
        node: NodeId,
        now: Now,
        entropy: u64,
        disk: &mut Disk,
        effects: &mut Vec<Effect>,
    ) -> Option<Process> {
        if let Some(valve) = &self.valve {
            // What the process before had not sent is gone with it.
            valve.borrow_mut().died(node);
        }
        let mut out = Outbox::default();
        let machine = match &self.roles[usize::from(node.0)] {
            Role::Broker(config) => {
                match Broker::open((**config).clone(), entropy, at(now), &mut SimDisk(disk), &mut out) {
                    Ok(broker) => Some(Machine::Broker(Box::new(broker))),
                    Err(error) => {
                        out.notes.push(Note::LogDirFailed {
                            reason: error.to_string(),
                        });
                        None
                    }
                }
            }
            Role::Producer(config) => Some(Machine::Producer(Box::new(Producer::new(
                config.clone(),
                Entropy(entropy),
            )))),
            Role::Consumer(config) => Some(Machine::Consumer(Box::new(Consumer::new(
                config.clone(),
                Entropy(entropy),
            )))),
            Role::Admin(config) => Some(Machine::Admin(Box::new(Admin::new(config.clone(), Entropy(entropy))))),
            Role::Stranger(listeners, manner) => Some(Machine::Stranger(Box::new(Stranger::new(
                listeners.clone(),
                *manner,
                Entropy(entropy),
            )))),
        };
        let Some(machine) = machine else {
            self.notes
                .borrow_mut()
                .extend(out.notes.drain(..).map(|note| (node, note)));
            return None;
        };
        let hosts = Rc::clone(&self.hosts);
        // A valve sees frames, which a driver would cut.
        let driven = self.driven.as_ref().filter(|_| self.valve.is_none());
        let driven = driven.filter(|_| matches!(machine, Machine::Broker(_)));
        let sockets = driven.map(|driven| Box::new(Sockets::new(node, driven.clone())));
        let mut process = Process {
            node,
            machine,
            hosts,
            notes: Rc::clone(&self.notes),
            out,
            syncs: BTreeMap::new(),
            next_sync: 0,
            valve: self.valve.clone(),
            sockets,
            exit: None,
            tap: self.tap.clone(),
        };
        process.flush(now, effects);
        process.settle(effects);
        Some(process)
    }
}

impl Process {
    /// The broker, if it is one.
    pub fn broker(&self) -> Option<&Broker> {
        match &self.machine {
            Machine::Broker(broker) => Some(broker),
            _ => None,
        }
    }

    /// The broker, if it is one.
    pub fn broker_mut(&mut self) -> Option<&mut Broker> {
        match &mut self.machine {
            Machine::Broker(broker) => Some(broker),
            _ => None,
        }
    }

    /// What its user does.
    pub fn operate(&mut self, now: Now, op: Op, effects: &mut Vec<Effect>) {
        let input = ClientInput::Op(op);
        match &mut self.machine {
            Machine::Broker(_) => unreachable!("brokers have no user"),
            Machine::Producer(producer) => producer.step(at(now), input, &mut self.out),
            Machine::Consumer(consumer) => consumer.step(at(now), input, &mut self.out),
            Machine::Admin(admin) => admin.step(at(now), input, &mut self.out),
            Machine::Stranger(stranger) => stranger.step(input, &mut self.out),
        }
        self.flush(now, effects);
        self.settle(effects);
    }

    /// A request that no client sent, as if it had come in on a connection of its own.
    pub fn by_hand(&mut self, now: Now, conn: u64, request: Bytes, disk: &mut Disk, effects: &mut Vec<Effect>) {
        let conn = ConnId(conn);
        let Machine::Broker(broker) = &mut self.machine else {
            unreachable!("only brokers are asked by hand");
        };
        broker.step(at(now), Input::Accepted { conn }, &mut SimDisk(disk), &mut self.out);
        let received = Input::Received { conn, bytes: request };
        broker.step(at(now), received, &mut SimDisk(disk), &mut self.out);
        self.flush(now, effects);
        self.settle(effects);
    }

    /// Sends a frame that a valve has kept back.
    pub fn let_go(&mut self, conn: u64, bytes: Bytes, effects: &mut Vec<Effect>) {
        pass(&self.tap, self.node, conn, || Act::Sends(bytes.clone()));
        effects.push(Effect::Send { conn, bytes });
    }

    /// An event as the machine's input.
    fn input(&mut self, event: Event) -> Option<Input> {
        Some(match event {
            Event::Accepted { conn } => Input::Accepted { conn: ConnId(conn) },
            Event::Connected { conn } => Input::Connected { conn: ConnId(conn) },
            Event::Received { conn, bytes } => Input::Received {
                conn: ConnId(conn),
                bytes,
            },
            Event::Closed { conn, .. } => {
                if let Some(valve) = &self.valve {
                    valve.borrow_mut().closed(self.node, conn);
                }
                Input::Closed { conn: ConnId(conn) }
            }
            // Only a driver asks for it.
            Event::Writable { .. } => return None,
            Event::SyncDone { token, result } => {
                let tag = self.syncs.remove(&token).expect("a sync ends once");
                Input::SyncDone {
                    tag,
                    result: result.map_err(disk_error),
                }
            }
            Event::Deadline => Input::Deadline,
            Event::Terminate => Input::Shutdown,
        })
    }

    /// What a driver has for the machine.
    fn next_input(&mut self) -> Option<Input> {
        // A process that ends hears nothing more.
        let sockets = self.sockets.as_mut()?;
        std::iter::from_fn(|| sockets.next_input()).find(|_| self.exit.is_none())
    }

    /// One input, and what comes of it. False if the process was killed in the middle of it.
    fn take(&mut self, now: Now, input: Input, disk: &mut Disk, effects: &mut Vec<Effect>) -> bool {
        if let Input::Received { conn, bytes } = &input {
            pass(&self.tap, self.node, conn.0, || Act::Reads(bytes.clone()));
        }
        match &mut self.machine {
            Machine::Broker(broker) => {
                broker.step(at(now), input, &mut SimDisk(disk), &mut self.out);
                if disk.died() {
                    // Killed in the middle of a call: what was meant to be said and sent is not.
                    self.out = Outbox::default();
                    return false;
                }
            }
            Machine::Producer(producer) => producer.step(at(now), ClientInput::Net(input), &mut self.out),
            Machine::Consumer(consumer) => consumer.step(at(now), ClientInput::Net(input), &mut self.out),
            Machine::Admin(admin) => admin.step(at(now), ClientInput::Net(input), &mut self.out),
            Machine::Stranger(stranger) => stranger.step(ClientInput::Net(input), &mut self.out),
        }
        self.flush(now, effects);
        if let (Some(sockets), Machine::Broker(broker)) = (&mut self.sockets, &self.machine) {
            sockets.open_gates(|conn| broker.unread_bytes(conn));
        }
        true
    }

    /// What a step ends with.
    fn settle(&mut self, effects: &mut Vec<Effect>) {
        if let Some(sockets) = &mut self.sockets {
            sockets.settle(effects);
        }
        effects.extend(self.exit.take());
    }

    /// Turns outputs into effects.
    fn flush(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for output in self.out.outputs.drain(..) {
            let output = match &mut self.sockets {
                Some(sockets) => {
                    if let Output::Send { conn, bytes } = &output {
                        pass(&self.tap, self.node, conn.0, || Act::Sends(bytes.clone()));
                    }
                    match by_driver(sockets, now, output) {
                        Some(other) => other,
                        None => continue,
                    }
                }
                None => output,
            };
            effects.push(match output {
                Output::Connect { conn, host, port: _ } => {
                    // A name that nobody has resolves to this very node, where nobody listens for it.
                    let to = self.hosts.get(&host).copied().unwrap_or(self.node);
                    if let Some(valve) = &self.valve {
                        valve.borrow_mut().connecting(self.node, conn.0, to);
                    }
                    if let Some(sockets) = &mut self.sockets {
                        sockets.connect(conn);
                    }
                    pass(&self.tap, self.node, conn.0, || Act::Connects(to));
                    Effect::Connect { conn: conn.0, to }
                }
                Output::Send { conn, bytes } => {
                    let passed = match &self.valve {
                        Some(valve) => valve.borrow_mut().pass(self.node, conn.0, bytes),
                        None => Some(bytes),
                    };
                    let Some(bytes) = passed else { continue };
                    pass(&self.tap, self.node, conn.0, || Act::Sends(bytes.clone()));
                    Effect::Send { conn: conn.0, bytes }
                }
                Output::Close { conn } => {
                    pass(&self.tap, self.node, conn.0, || Act::Closes);
                    Effect::Close { conn: conn.0 }
                }
                Output::PauseReading { conn } => Effect::PauseReading { conn: conn.0 },
                Output::ResumeReading { conn } => Effect::ResumeReading { conn: conn.0 },
                Output::Sync { tag, target } => {
                    self.next_sync += 1;
                    self.syncs.insert(self.next_sync, tag);
                    match target {
                        SyncTarget::File(file) => Effect::SyncFile {
                            token: self.next_sync,
                            file: File(file.0),
                        },
                        SyncTarget::Dir(path) => Effect::SyncDir {
                            token: self.next_sync,
                            path,
                        },
                    }
                }
                Output::Exit { reason: _, clean } => {
                    // Connections may have something left to say.
                    self.exit = Some(Effect::Exit { clean });
                    break;
                }
            });
        }
        if !self.out.notes.is_empty() {
            let node = self.node;
            self.notes
                .borrow_mut()
                .extend(self.out.notes.drain(..).map(|note| (node, note)));
        }
    }
}

/// Tells the driver what is for it; gives back what is for the machine.
fn heard(sockets: &mut Sockets, now: Now, event: Event) -> Option<Event> {
    match event {
        Event::Accepted { conn } => sockets.accepted(ConnId(conn)),
        Event::Connected { conn } => sockets.connected(ConnId(conn)),
        Event::Received { conn, bytes } => sockets.received(ConnId(conn), bytes),
        Event::Closed { conn, in_order } => sockets.closed(ConnId(conn), in_order),
        Event::Writable { conn } => sockets.writable(ConnId(conn)),
        Event::Deadline => {
            sockets.give_up(now.mono);
            return Some(event);
        }
        Event::SyncDone { .. } | Event::Terminate => return Some(event),
    }
    None
}

/// Hands the driver what is for it; gives back what is not.
fn by_driver(sockets: &mut Sockets, now: Now, output: Output) -> Option<Output> {
    match output {
        Output::Send { conn, bytes } => sockets.send(conn, bytes),
        Output::Close { conn } => sockets.close(conn, now.mono),
        Output::PauseReading { conn } => sockets.pause(conn, true),
        Output::ResumeReading { conn } => sockets.pause(conn, false),
        other => return Some(other),
    }
    None
}

/// Shows an act to whoever looks.
#[inline]
fn pass(tap: &Option<Tap>, node: NodeId, conn: u64, what: impl FnOnce() -> Act) {
    if let Some(tap) = tap {
        let what = what();
        tap.borrow_mut().push(Passed { node, conn, what });
    }
}

impl Program for Process {
    fn step(&mut self, now: Now, event: Event, disk: &mut Disk, effects: &mut Vec<Effect>) {
        let mut next = match &mut self.sockets {
            Some(sockets) => match heard(sockets, now, event) {
                Some(event) => self.input(event),
                None => self.next_input(),
            },
            None => self.input(event),
        };
        while let Some(input) = next {
            if !self.take(now, input, disk, effects) {
                return;
            }
            next = self.next_input();
        }
        self.settle(effects);
    }

    fn next_deadline(&self) -> Option<u64> {
        let deadline = match &self.machine {
            Machine::Broker(broker) => broker.next_deadline(),
            Machine::Producer(producer) => producer.next_deadline(),
            Machine::Consumer(consumer) => consumer.next_deadline(),
            Machine::Admin(admin) => admin.next_deadline(),
            Machine::Stranger(_) => None,
        };
        let lingering = self.sockets.as_ref().and_then(|sockets| sockets.next_deadline());
        deadline.map(|at| at.0).into_iter().chain(lingering).min()
    }
}

fn disk_error(errno: Errno) -> DiskError {
    match errno {
        Errno::NotFound => DiskError::NotFound,
        Errno::Io => DiskError::Io,
        Errno::NoSpace => DiskError::Full,
    }
}

/// The world's disk as the subject's.
pub struct SimDisk<'a>(pub &'a mut Disk);

impl kafka::Disk for SimDisk<'_> {
    fn open(&mut self, path: &str, create: bool) -> Result<FileId, DiskError> {
        self.0.open(path, create).map(|file| FileId(file.0)).map_err(disk_error)
    }
    fn close(&mut self, file: FileId) {
        self.0.close(File(file.0));
    }
    fn len(&self, file: FileId) -> u64 {
        self.0.len(File(file.0))
    }
    fn read_at(&mut self, file: FileId, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        self.0.read_at(File(file.0), offset, len).map_err(disk_error)
    }
    fn write_at(&mut self, file: FileId, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.0.write_at(File(file.0), offset, data).map_err(disk_error)
    }
    fn set_len(&mut self, file: FileId, len: u64) -> Result<(), DiskError> {
        self.0.set_len(File(file.0), len).map_err(disk_error)
    }
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.0.rename(from, to).map_err(disk_error)
    }
    fn remove(&mut self, path: &str) -> Result<(), DiskError> {
        self.0.remove(path).map_err(disk_error)
    }
    fn create_dir(&mut self, path: &str) -> Result<(), DiskError> {
        self.0.create_dir(path).map_err(disk_error)
    }
    fn list(&mut self, dir: &str) -> Result<Vec<String>, DiskError> {
        self.0.list(dir).map_err(disk_error)
    }
    fn exists(&mut self, path: &str) -> bool {
        self.0.exists(path)
    }
}
