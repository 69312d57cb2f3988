//! The task that owns the machine: events in, steps, outputs out.
//!
//! This file is to a real process what `src/cluster.rs` is to a simulated one. It turns events into inputs and outputs
//! into effects, and decides nothing.

use super::clock::Clock;
use super::disk::FileDisk;
use super::event::Event;
use super::idle::Idle;
use super::metrics::Metrics;
use super::notes::{NoteFile, Said, machine_time_ns};
use crate::connection::links::{LINGER, Links};
use crate::connection::{self, Limits, Link};
use kafka::broker::Broker;
use kafka::config::NodeConfig;
use kafka::log::LogError;
use kafka::{ConnId, Input, Note, Outbox, Output};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

/// Events that are taken from the channel at once.
const BATCH: usize = 256;

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// For the log.
    pub reason: String,
    /// Whether it was asked for.
    pub clean: bool,
}

/// One node of a real cluster.
pub struct Node {
    broker: Broker,
    disk: FileDisk,
    clock: Clock,
    /// Reused between steps.
    out: Outbox,
    links: Links,
    limits: Arc<Limits>,
    sender: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
    metrics: Metrics,
    idle: Idle,
    notes: Option<NoteFile>,
    /// Told once, when the broker is in service.
    in_service: Option<oneshot::Sender<()>>,
    exit: Option<Exit>,
}

impl Node {
    /// Opens the disk, and recovers what an unclean stop left behind.
    pub fn open(
        config: NodeConfig,
        entropy: u64,
        disk: FileDisk,
        limits: Arc<Limits>,
        clock: Clock,
        notes: Option<NoteFile>,
    ) -> Result<Node, LogError> {
        let mut disk = disk;
        let mut notes = notes;
        let mut out = Outbox::default();
        let metrics = Metrics::new(config.node_id);
        let time_ns = machine_time_ns();
        let mut broker = Broker::open(config, entropy, clock.now(), &mut disk, &mut out)?;
        if let Some(file) = &mut notes {
            write(file, time_ns, &out.notes, &mut broker, &mut disk);
        }
        let (sender, events) = mpsc::unbounded_channel();
        Ok(Node {
            broker,
            disk,
            clock,
            out,
            links: Links::default(),
            limits,
            sender,
            events,
            metrics,
            idle: Idle::new(-1),
            notes,
            in_service: None,
            exit: None,
        })
    }

    /// From now on, connections that are idle for so long are closed; below 0 none is.
    pub fn close_idle(&mut self, max_ms: i64) {
        self.idle = Idle::new(max_ms);
    }

    /// Ends once the broker is in service: before, clients would be told of a cluster without brokers.
    pub fn in_service(&mut self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.in_service = Some(sender);
        receiver
    }

    /// Where events go.
    pub fn sender(&self) -> mpsc::UnboundedSender<Event> {
        self.sender.clone()
    }

    /// Runs until the machine ends.
    pub async fn run(mut self) -> Exit {
        let mut batch = Vec::with_capacity(BATCH);
        self.flush();
        loop {
            if let Some(exit) = self.exit.take() {
                return exit;
            }
            let now = self.clock.now().mono;
            while let Some(conn) = self.idle.expired(now) {
                tracing::debug!("closed connection {conn}, which was idle");
                self.take(connection::Event::Closed(conn).into());
            }
            let deadline = self.broker.next_deadline();
            if deadline.is_some_and(|at| at <= now) {
                self.step(Input::Deadline);
            } else {
                let wake = deadline.into_iter().chain(self.idle.deadline()).min();
                let wake = wake.map(|at| tokio::time::Instant::from_std(self.clock.instant(at)));
                tokio::select! {
                    biased;
                    _ = self.events.recv_many(&mut batch, BATCH) => {}
                    () = sleep_until(wake) => continue,
                }
            }
            for event in batch.drain(..) {
                self.take(event);
            }
            // Connections go on whose frames the machine has taken.
            self.links.open_gates(|conn| self.broker.unread_bytes(conn));
        }
    }

    fn take(&mut self, event: Event) {
        let input = match event {
            Event::Connection(event) => {
                if let connection::Event::Closed(conn) = &event {
                    self.metrics.on_closed(*conn);
                    self.idle.forget(*conn);
                }
                let Some(input) = self.links.input(event) else { return };
                let now = self.clock.now().mono;
                match &input {
                    Input::Accepted { conn } => self.idle.touch(*conn, now),
                    Input::Received { conn, bytes } => {
                        self.metrics.on_frame_in(*conn, bytes, now);
                        self.idle.touch(*conn, now);
                    }
                    _ => {}
                }
                input
            }
            Event::Synced(tag, result) => Input::SyncDone { tag, result },
            Event::Shutdown => Input::Shutdown,
            Event::Scrape(answer) => {
                // Whoever asked may be gone.
                let _ = answer.send(self.metrics.text(&self.broker.snapshot()));
                return;
            }
        };
        self.step(input);
    }

    fn step(&mut self, input: Input) {
        let now = self.clock.now();
        let began_ns = self.notes.as_ref().map(|_| machine_time_ns());
        self.broker.step(now, input, &mut self.disk, &mut self.out);
        // IMPORTANT: before anything of this step is sent. Else a peer could be seen to act upon what never happened.
        if let (Some(file), Some(time_ns)) = (&mut self.notes, began_ns) {
            write(file, time_ns, &self.out.notes, &mut self.broker, &mut self.disk);
        }
        self.flush();
    }

    /// Turns outputs into effects.
    fn flush(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        for note in out.notes.drain(..) {
            self.metrics.on_note(&note);
            if matches!(note, Note::BrokerUnfenced { .. })
                && let Some(in_service) = self.in_service.take()
            {
                // Nobody hears it once the process is ending.
                let _ = in_service.send(());
            }
            say(&note);
        }
        for output in out.outputs.drain(..) {
            match output {
                Output::Connect { conn, host, port } => self.connect(conn, host, port),
                Output::Send { conn, bytes } if self.links.is_open(conn) => {
                    let now = self.clock.now().mono;
                    self.metrics.on_frame_out(conn, &bytes, now);
                    self.idle.touch(conn, now);
                    self.links.send(conn, bytes);
                }
                Output::Send { .. } => {}
                Output::Close { conn } => {
                    self.metrics.on_closed(conn);
                    self.idle.forget(conn);
                    if let Some(gate) = self.links.close(conn) {
                        tokio::spawn(async move {
                            tokio::time::sleep(LINGER).await;
                            gate.give_up();
                        });
                    }
                }
                Output::PauseReading { conn } => self.links.pause(conn, true),
                Output::ResumeReading { conn } => self.links.pause(conn, false),
                Output::Sync { tag, target } => {
                    let sync = self.disk.sync(&target);
                    let events = self.sender.clone();
                    tokio::task::spawn_blocking(move || {
                        let result = sync.run();
                        // Nobody hears it once the process is ending.
                        let _ = events.send(Event::Synced(tag, result));
                    });
                }
                Output::Exit { reason, clean } => self.exit = Some(Exit { reason, clean }),
            }
        }
        self.out = out;
    }

    fn connect(&mut self, conn: ConnId, host: String, port: u16) {
        let (link, end) = Link::new();
        self.links.connecting(conn, link);
        let (events, limits) = (self.sender.clone(), Arc::clone(&self.limits));
        tokio::spawn(async move {
            match TcpStream::connect((host.as_str(), port)).await {
                Ok(stream) => {
                    let _ = events.send(connection::Event::Connected(conn).into());
                    let _ = stream.set_nodelay(true);
                    let (reader, writer) = stream.into_split();
                    if let Err(error) = connection::drive(conn, reader, writer, end, &limits, &events).await {
                        tracing::debug!("connection to {host}:{port} ended: {error}");
                    }
                }
                Err(error) => {
                    tracing::debug!("cannot connect to {host}:{port}: {error}");
                    let _ = events.send(connection::Event::Closed(conn).into());
                }
            }
        });
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What was said in a step, and what the logs hold that were opened in it: only the process itself can say that between
/// its recovery and its next step.
fn write(file: &mut NoteFile, time_ns: u64, notes: &[Note], broker: &mut Broker, disk: &mut FileDisk) {
    let opened = notes.iter().filter_map(|note| match note {
        Note::LogOpened { partition, .. } => Some(*partition),
        _ => None,
    });
    let logs = opened.filter_map(|partition| Some(Said::log(partition, broker.read_log(partition, disk).ok()?)));
    file.write(time_ns, notes.iter().map(Said::note).chain(logs));
}

/// A note is a log line.
fn say(note: &Note) {
    if matches!(note, Note::LogDirFailed { .. }) {
        tracing::error!("{note}");
    } else if note.is_decision() {
        tracing::info!("{note}");
    } else {
        tracing::debug!("{note}");
    }
}
