//! The sockets of a broker in the world: the connection driver of `serve` over the byte streams of the simulated NIC.
//!
//! ```text
//!   NIC ── pieces ──▶ inbound ── reads ──▶ drive ── frames ──▶ machine
//!   NIC ◀─ pieces ── outbound ◀─ writes ── drive ◀─ frames ─── machine
//! ```
//!
//! Guarantees: the driver and the machine's ends of connections are those of a real process (`connection`), polled by hand
//! in the order in which they were woken, until none is; what a read yields and a write takes is drawn from the node's own
//! stream, so that a seed is a run; what the driver leaves unread holds its peer up, and what the NIC does not take holds
//! the driver up. What passes on both sides of the driver is told in a journal, for the checks.
//!
//! Deliberately unknown: what is in a frame; runtime, threads, clocks (an instant is given with each event).

mod socket;
mod tasks;
#[cfg(test)]
mod tests;

pub use socket::Socket;

use crate::checks::Traffic;
use crate::connection::accept::{self, Accepted};
use crate::connection::gate::{Gate, RequestMemory};
use crate::connection::links::{LINGER, Links};
use crate::connection::{self, Limits, Link, LinkEnd};
use bytes::Bytes;
use kafka::wire::frame::MAX_FRAME_BYTES;
use kafka::{ConnId, Input};
use sim::fault::NodeId;
use sim::program::Effect;
use sim::random::Stream;
use socket::{Buffers, KernelBacklog};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use tasks::{Polled, Task, Woken};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// What passed on both sides of the drivers of all nodes, in order.
pub type Journal = Rc<RefCell<Vec<(NodeId, ConnId, Traffic)>>>;

/// The two ends that a driver is given of a socket.
pub type Ends = (Box<dyn AsyncRead + Unpin>, Box<dyn AsyncWrite + Unpin>);

/// What makes them of it.
pub type Between = fn(Socket) -> Ends;

/// What all processes of a world that drive byte streams share.
#[derive(Clone, Debug)]
pub struct Driven {
    /// Of each server, in the order of the world's nodes.
    chance: Vec<Rc<RefCell<Stream>>>,
    journal: Journal,
    /// What a driver gets of a socket: the socket itself, unless a test puts something between.
    ends: Between,
    max_connections: usize,
}

impl Driven {
    /// Servers that draw from these streams.
    pub fn new(chance: impl Iterator<Item = Stream>) -> Driven {
        Driven {
            chance: chance.map(|stream| Rc::new(RefCell::new(stream))).collect(),
            journal: Journal::default(),
            ends: |socket| (Box::new(socket.clone()), Box::new(socket)),
            max_connections: usize::MAX,
        }
    }

    /// The same with something between driver and sockets.
    #[must_use]
    pub fn between(mut self, ends: Between) -> Driven {
        self.ends = ends;
        self
    }

    /// The same with fewer places for connections at a time.
    #[must_use]
    pub fn places(mut self, max_connections: usize) -> Driven {
        self.max_connections = max_connections;
        self
    }

    /// What passed.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What the servers' streams drew, if they were made to record.
    pub fn recorded(&self) -> Vec<(String, Vec<u64>)> {
        let recorded = |stream: &Rc<RefCell<Stream>>| {
            let stream = stream.borrow();
            stream.recorded().map(|(name, drawn)| (name.to_owned(), drawn.to_vec()))
        };
        self.chance.iter().filter_map(recorded).collect()
    }
}

/// All sockets of one process.
pub struct Sockets {
    node: NodeId,
    driven: Driven,
    limits: Arc<Limits>,
    links: Links,
    /// What the kernel has, accepted or not.
    kernel: BTreeMap<ConnId, Rc<RefCell<Buffers>>>,
    backlog: KernelBacklog,
    accepting: Polled<()>,
    /// Just accepted.
    accepted: Rc<RefCell<VecDeque<Accepted<()>>>>,
    /// Those that are driven.
    drives: BTreeMap<ConnId, Polled<io::Result<()>>>,
    /// Asked for, and not made yet.
    connecting: BTreeMap<ConnId, LinkEnd>,
    /// Let go of by the machine, with the instant (monotonic nanoseconds) at which they are given up.
    lingering: VecDeque<(u64, ConnId, Arc<Gate>)>,
    woken: Woken,
    sender: mpsc::UnboundedSender<connection::Event>,
    events: mpsc::UnboundedReceiver<connection::Event>,
    happened: VecDeque<connection::Event>,
    /// On which something moved in this step.
    moved: BTreeSet<ConnId>,
    /// Of this step.
    effects: Vec<Effect>,
}

async fn accept_all(
    mut backlog: KernelBacklog,
    places: Arc<Semaphore>,
    events: mpsc::UnboundedSender<connection::Event>,
    accepted: Rc<RefCell<VecDeque<Accepted<()>>>>,
) {
    while let Some(one) = accept::accept(&mut backlog, &places, &events).await {
        accepted.borrow_mut().push_back(one);
    }
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets")
            .field("node", &self.node)
            .field("links", &self.links)
            .finish_non_exhaustive()
    }
}

impl Sockets {
    /// Of a process that has just begun on this server.
    pub fn new(node: NodeId, driven: Driven) -> Sockets {
        let (sender, events) = mpsc::unbounded_channel();
        let (backlog, accepted) = (KernelBacklog::default(), Rc::default());
        let woken = Woken::default();
        let accepting = accept_all(
            backlog.clone(),
            accept::places(driven.max_connections),
            sender.clone(),
            Rc::clone(&accepted),
        );
        Sockets {
            node,
            driven,
            limits: Arc::new(Limits {
                max_frame_bytes: MAX_FRAME_BYTES,
                memory: RequestMemory::new(None),
            }),
            links: Links::default(),
            kernel: BTreeMap::new(),
            backlog,
            accepting: Polled::new(Task::Accept, &woken, accepting),
            accepted,
            drives: BTreeMap::new(),
            connecting: BTreeMap::new(),
            lingering: VecDeque::new(),
            woken,
            sender,
            events,
            happened: VecDeque::new(),
            moved: BTreeSet::new(),
            effects: Vec::new(),
        }
    }

    fn tell(&self, conn: ConnId, what: Traffic) {
        self.driven.journal.borrow_mut().push((self.node, conn, what));
    }

    // --- what the NIC says ---

    /// A peer connected.
    pub fn accepted(&mut self, conn: ConnId) {
        self.add(conn);
        self.backlog.push(conn);
    }

    /// A connection of ours is made.
    pub fn connected(&mut self, conn: ConnId) {
        // Otherwise the machine has let go of it meanwhile.
        if let Some(end) = self.connecting.remove(&conn) {
            self.add(conn);
            self.happened.push_back(connection::Event::Connected(conn));
            self.drive(conn, end, None);
        }
    }

    fn add(&mut self, conn: ConnId) {
        let chance = Rc::clone(&self.driven.chance[usize::from(self.node.0)]);
        self.kernel.insert(conn, Rc::new(RefCell::new(Buffers::new(chance))));
    }

    fn drive(&mut self, conn: ConnId, end: LinkEnd, place: Option<OwnedSemaphorePermit>) {
        let (reader, writer) = (self.driven.ends)(Socket(Rc::clone(&self.kernel[&conn])));
        let (limits, events) = (Arc::clone(&self.limits), self.sender.clone());
        let drive = async move {
            let ended = connection::drive(conn, reader, writer, end, &limits, &events).await;
            drop(place);
            ended
        };
        self.drives
            .insert(conn, Polled::new(Task::Drive(conn), &self.woken, drive));
    }

    /// Bytes came.
    pub fn received(&mut self, conn: ConnId, bytes: Bytes) {
        let Some(buffers) = self.kernel.get(&conn) else { return };
        self.tell(conn, Traffic::Arrived(bytes.clone()));
        let buffers = &mut *buffers.borrow_mut();
        buffers.inbound.push_back(bytes);
        Buffers::wake(&mut buffers.reader);
        // Also if the driver does not read: what it leaves is then left in the kernel too.
        self.moved.insert(conn);
    }

    /// Nothing comes any more, or the connection could not be made.
    pub fn closed(&mut self, conn: ConnId, in_order: bool) {
        if self.connecting.remove(&conn).is_some() {
            self.happened.push_back(connection::Event::Closed(conn));
        }
        let Some(buffers) = self.kernel.get(&conn) else { return };
        let buffers = &mut *buffers.borrow_mut();
        buffers.ended = Some(in_order);
        Buffers::wake(&mut buffers.reader);
        Buffers::wake(&mut buffers.writer);
    }

    /// The kernel takes more.
    pub fn writable(&mut self, conn: ConnId) {
        let Some(buffers) = self.kernel.get(&conn) else { return };
        let buffers = &mut *buffers.borrow_mut();
        (buffers.room, buffers.asked) = (buffers.more_room, false);
        Buffers::wake(&mut buffers.writer);
    }

    /// Peers that have had their time for the last answers are given up.
    pub fn give_up(&mut self, now: u64) {
        while self.lingering.front().is_some_and(|(at, ..)| *at <= now) {
            let (_, _, gate) = self.lingering.pop_front().expect("looked at");
            gate.give_up();
        }
    }

    /// When that is due next, monotonic nanoseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.lingering.front().map(|(at, ..)| *at)
    }

    // --- what the machine says ---

    /// It asks for a connection.
    pub fn connect(&mut self, conn: ConnId) {
        let (link, end) = Link::new();
        self.links.connecting(conn, link);
        self.connecting.insert(conn, end);
    }

    /// It sends a frame.
    pub fn send(&mut self, conn: ConnId, frame: Bytes) {
        if self.links.is_open(conn) {
            if self.drives.contains_key(&conn) {
                self.tell(conn, Traffic::Queued(frame.clone()));
            }
            self.links.send(conn, frame);
        }
    }

    /// It lets go of a connection.
    pub fn close(&mut self, conn: ConnId, now: u64) {
        let gate = self.links.close(conn);
        if self.connecting.remove(&conn).is_some() {
            self.effects.push(Effect::Close { conn: conn.0 });
        } else if let Some(gate) = gate.filter(|_| self.drives.contains_key(&conn)) {
            self.tell(conn, Traffic::LetGo);
            self.lingering.push_back((now + LINGER.as_nanos() as u64, conn, gate));
        }
    }

    /// It wants no more of a connection for now, or wants more again.
    pub fn pause(&mut self, conn: ConnId, paused: bool) {
        self.links.pause(conn, paused);
    }

    /// It has taken an input; `unread_bytes` says what it has left of a connection's last frame.
    pub fn open_gates(&mut self, unread_bytes: impl Fn(ConnId) -> usize) {
        let mut journal = self.driven.journal.borrow_mut();
        let node = self.node;
        self.links.open_gates(|conn| {
            let unread = unread_bytes(conn);
            if unread == 0 {
                journal.push((node, conn, Traffic::Taken));
            }
            unread
        });
    }

    // --- the driver ---

    /// What the machine is told next; drivers are polled until there is something, or until all of them rest.
    pub fn next_input(&mut self) -> Option<Input> {
        loop {
            while let Some(event) = self.happened.pop_front() {
                let input = self.links.input(event);
                if input.is_some() {
                    return input;
                }
            }
            match self.woken.pop()? {
                Task::Accept => self.poll_accept(),
                Task::Drive(conn) => self.poll_drive(conn),
            }
        }
    }

    fn poll_accept(&mut self) {
        let polled = self.accepting.poll();
        assert!(polled.is_pending(), "connections are accepted for ever");
        self.listen(&mut 0);
        while let Some(accepted) = self.next_accepted() {
            self.drive(accepted.conn, accepted.end, Some(accepted.place));
        }
    }

    fn next_accepted(&self) -> Option<Accepted<()>> {
        self.accepted.borrow_mut().pop_front()
    }

    fn poll_drive(&mut self, conn: ConnId) {
        let Some(drive) = self.drives.get_mut(&conn) else {
            return;
        };
        let polled = drive.poll();
        let buffers = Rc::clone(&self.kernel[&conn]);
        let left = buffers.borrow_mut().outbound.split().freeze();
        if !left.is_empty() {
            self.tell(conn, Traffic::Left(left.clone()));
            self.effects.push(Effect::Send {
                conn: conn.0,
                bytes: left,
            });
        }
        self.listen(&mut buffers.borrow_mut().reads);
        match polled {
            Poll::Pending => {
                self.moved.insert(conn);
            }
            Poll::Ready(ended) => {
                self.drives.remove(&conn);
                self.kernel.remove(&conn);
                self.tell(conn, Traffic::Ended(ended.err().map(|error| error.kind())));
                if buffers.borrow().ended.is_none() {
                    self.effects.push(Effect::Close { conn: conn.0 });
                }
            }
        }
    }

    /// Takes what a task has said; `reads` are those of the next frame.
    fn listen(&mut self, reads: &mut u32) {
        while let Ok(event) = self.events.try_recv() {
            if let connection::Event::Received(conn, frame) = &event {
                let (frame, reads) = (frame.clone(), std::mem::take(reads));
                self.tell(*conn, Traffic::HandedOver { frame, reads });
            }
            self.happened.push_back(event);
        }
    }

    /// The step is over: what came of it for the NIC.
    pub fn settle(&mut self, effects: &mut Vec<Effect>) {
        effects.append(&mut self.effects);
        for conn in std::mem::take(&mut self.moved) {
            let Some(buffers) = self.kernel.get(&conn) else {
                continue;
            };
            let buffers = &mut *buffers.borrow_mut();
            let is_over = buffers.ended.is_some();
            if buffers.room == 0 && !buffers.asked && !is_over {
                buffers.asked = true;
                effects.push(Effect::AwaitRoom { conn: conn.0 });
            }
            let is_left = !buffers.inbound.is_empty();
            if is_left != buffers.paused && !is_over {
                buffers.paused = is_left;
                effects.push(match is_left {
                    true => Effect::PauseReading { conn: conn.0 },
                    false => Effect::ResumeReading { conn: conn.0 },
                });
                if is_left {
                    self.tell(conn, Traffic::LeftUnread);
                }
            }
            // Nobody has promised to do anything for one that waits to be accepted.
            if self.drives.contains_key(&conn) {
                let room = if is_over { usize::MAX } else { buffers.room };
                self.tell(conn, Traffic::Rested { room });
            }
        }
        // Those whose last answers were read need no deadline.
        while self
            .lingering
            .front()
            .is_some_and(|(_, conn, _)| !self.drives.contains_key(conn))
        {
            self.lingering.pop_front();
        }
    }
}
