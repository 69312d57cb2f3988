//! The clients of the world on real sockets: the machines of `kafka::client`, stepped by the thread of the test.
//!
//! ```text
//!   user ──▶ machine.step ──▶ notes, with their time ──▶ the record
//!               ▲   │
//!               │   └──▶ sockets ──▶ brokers
//!               └── one channel ◀── a thread a connection that reads
//! ```
//!
//! One thread steps them all and writes down what they tell their users before it carries out what they ask for, so what
//! was sent stands before what came of it. It turns events into inputs and outputs into effects, and decides nothing.

use crate::server::PATIENCE;
use bytes::Bytes;
use highwater::serve::notes::machine_time_ns;
use kafka::client::{
    Admin, AdminConfig, ClientInput, Consumer, ConsumerConfig, Endpoint, Op, Producer, ProducerConfig,
};
use kafka::{ClientNote, ConnId, Entropy, Input, Nanos, Note, Now, Outbox, Output};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime};

/// Records of a producer that are on their way at once, while it is busy.
const OUTSTANDING: usize = 20;
/// The pause between two records of a busy producer.
const PAUSE_NS: u64 = 4_000_000;
/// The pause between two questions of a reader for the latest offset.
const ASK_NS: u64 = 100_000_000;
/// How often whoever waits looks again.
const LOOK: Duration = Duration::from_millis(10);

enum Machine {
    Producer(Box<Producer>),
    Consumer(Box<Consumer>),
    Admin(Box<Admin>),
}

/// A machine and its user.
struct Client {
    name: String,
    machine: Machine,
    targets: Vec<(String, i32)>,
    /// Operations begun, and when the next is due.
    operations: u64,
    next_ns: u64,
    outstanding: usize,
}

enum Event {
    Connected(TcpStream),
    Received(Bytes),
    Closed,
}

/// What one client told its user.
pub struct Told {
    pub time_ns: u64,
    /// Index of the client, from 0.
    pub client: usize,
    pub note: Note,
}

/// Producers, consumers, administrators.
pub struct Clients {
    bootstrap: Vec<Endpoint>,
    clients: Vec<Client>,
    /// Made, or being made.
    connections: BTreeMap<(usize, ConnId), Option<TcpStream>>,
    sender: Sender<(usize, ConnId, Event)>,
    events: Receiver<(usize, ConnId, Event)>,
    out: Outbox,
    /// Producers send, and readers ask for the latest offset.
    pub is_busy: bool,
    /// All that was told, in order.
    pub told: Vec<Told>,
    pub acknowledged: usize,
    pub failed: usize,
    /// Connections of producers to brokers that ended by themselves.
    pub broken: usize,
    /// Next offset to read, by client and partition.
    pub positions: BTreeMap<(usize, String, i32), i64>,
    /// Answers to administrators: error codes by operation.
    pub answered: BTreeMap<u64, i16>,
}

impl Clients {
    /// None yet; all of them know these nodes.
    pub fn of(ports: &[u16]) -> Clients {
        let (sender, events) = channel();
        let endpoint = |port: &u16| Endpoint {
            host: "127.0.0.1".to_owned(),
            port: *port,
        };
        Clients {
            bootstrap: ports.iter().map(endpoint).collect(),
            clients: Vec::new(),
            connections: BTreeMap::new(),
            sender,
            events,
            out: Outbox::default(),
            is_busy: false,
            told: Vec::new(),
            acknowledged: 0,
            failed: 0,
            broken: 0,
            positions: BTreeMap::new(),
            answered: BTreeMap::new(),
        }
    }

    /// One that sends to these partitions in turn, with acks=all, while they are busy.
    pub fn producer(&mut self, is_idempotent: bool, targets: &[(String, i32)]) -> usize {
        let name = format!("p{}", self.clients.len());
        let mut config = ProducerConfig::new(&name, self.bootstrap.clone());
        config.settings.enable_idempotence = i64::from(is_idempotent);
        let machine = Machine::Producer(Box::new(Producer::new(config, self.entropy())));
        self.add(name, machine, targets)
    }

    /// One that reads these partitions from their begin.
    pub fn consumer(&mut self, targets: &[(String, i32)]) -> usize {
        let name = format!("c{}", self.clients.len());
        let config = ConsumerConfig::new(&name, self.bootstrap.clone());
        let machine = Machine::Consumer(Box::new(Consumer::new(config, self.entropy())));
        let client = self.add(name, machine, targets);
        let (partitions, from) = (targets.to_vec(), kafka::client::StartFrom::Earliest);
        self.operate(client, Op::Assign { partitions, from });
        client
    }

    /// One that does what it is told.
    pub fn admin(&mut self) -> usize {
        let name = format!("a{}", self.clients.len());
        let config = AdminConfig::new(&name, self.bootstrap.clone());
        let machine = Machine::Admin(Box::new(Admin::new(config, self.entropy())));
        self.add(name, machine, &[])
    }

    fn add(&mut self, name: String, machine: Machine, targets: &[(String, i32)]) -> usize {
        self.clients.push(Client {
            name,
            machine,
            targets: targets.to_vec(),
            operations: 0,
            next_ns: 0,
            outstanding: 0,
        });
        self.clients.len() - 1
    }

    fn entropy(&self) -> Entropy {
        Entropy(machine_time_ns() ^ (self.clients.len() as u64) << 56)
    }

    /// The client's user asks something of it.
    pub fn operate(&mut self, client: usize, op: Op) {
        self.step(client, ClientInput::Op(op));
    }

    /// Lets all of them work until it is so.
    ///
    /// # Panics
    /// If that takes longer than anything here takes.
    pub fn until<T>(&mut self, what: &str, mut ask: impl FnMut(&mut Clients) -> Option<T>) -> T {
        let end = machine_time_ns() + PATIENCE.as_nanos() as u64;
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            assert!(machine_time_ns() < end, "{what}: not within {PATIENCE:?}");
            self.work();
        }
    }

    /// Whether every producer waits for answers to as many records as it may have on their way.
    pub fn is_stuck(&self) -> bool {
        let mut producers = self.clients.iter().filter(|client| client.is_producer());
        producers.all(|client| client.outstanding == OUTSTANDING)
    }

    /// How many records are on their way.
    pub fn outstanding(&self) -> usize {
        self.clients.iter().map(|client| client.outstanding).sum()
    }

    /// How many records have been handed to producers.
    pub fn sent(&self) -> usize {
        let producers = self.clients.iter().filter(|client| client.is_producer());
        producers.map(|client| client.operations as usize).sum()
    }

    /// Takes what has come, or waits a little for it.
    fn work(&mut self) {
        if self.is_busy {
            (0..self.clients.len()).for_each(|client| self.act(client));
        }
        match self.events.recv_timeout(LOOK.min(self.until_deadline())) {
            Ok((client, conn, event)) => self.take(client, conn, event),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("one sender is here"),
        }
        while let Ok((client, conn, event)) = self.events.try_recv() {
            self.take(client, conn, event);
        }
        for client in 0..self.clients.len() {
            if self.clients[client]
                .next_deadline()
                .is_some_and(|at| at.0 <= machine_time_ns())
            {
                self.step(client, ClientInput::Net(Input::Deadline));
            }
        }
    }

    fn until_deadline(&self) -> Duration {
        let deadlines = self.clients.iter().filter_map(Client::next_deadline);
        let left = deadlines.map(|at| at.0.saturating_sub(machine_time_ns()));
        Duration::from_nanos(left.min().unwrap_or(u64::MAX))
    }

    /// What the client's user does by itself.
    fn act(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let now = machine_time_ns();
        if now < client.next_ns || client.targets.is_empty() || client.outstanding >= OUTSTANDING {
            return;
        }
        let (topic, partition) = client.targets[client.operations as usize % client.targets.len()].clone();
        let op = match client.machine {
            Machine::Producer(_) => {
                client.next_ns = now + PAUSE_NS;
                Op::Send {
                    topic,
                    partition,
                    key: None,
                    value: Bytes::from(format!("{}-{:08}", client.name, client.operations)),
                }
            }
            Machine::Consumer(_) => {
                client.next_ns = now + ASK_NS;
                Op::ListOffsets {
                    topic,
                    partition,
                    timestamp: -1,
                }
            }
            Machine::Admin(_) => return,
        };
        client.operations += 1;
        self.operate(at, op);
    }

    fn take(&mut self, client: usize, conn: ConnId, event: Event) {
        let Some(connection) = self.connections.get_mut(&(client, conn)) else {
            // The machine has let go of it: what it still says is of no interest.
            if let Event::Connected(stream) = event {
                let _ = stream.shutdown(Shutdown::Both);
            }
            return;
        };
        let input = match event {
            Event::Connected(stream) => {
                *connection = Some(stream);
                Input::Connected { conn }
            }
            Event::Received(bytes) => Input::Received { conn, bytes },
            Event::Closed => {
                let was_made = self.connections.remove(&(client, conn)).flatten().is_some();
                self.broken += usize::from(was_made && self.clients[client].is_producer());
                Input::Closed { conn }
            }
        };
        self.step(client, ClientInput::Net(input));
    }

    fn step(&mut self, client: usize, input: ClientInput) {
        let time_ns = machine_time_ns();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = Now {
            mono: Nanos(time_ns),
            wall_ms: wall.expect("after 1970").as_millis() as i64,
        };
        let mut out = std::mem::take(&mut self.out);
        match &mut self.clients[client].machine {
            Machine::Producer(producer) => producer.step(now, input, &mut out),
            Machine::Consumer(consumer) => consumer.step(now, input, &mut out),
            Machine::Admin(admin) => admin.step(now, input, &mut out),
        }
        for note in out.notes.drain(..) {
            self.hear(client, &note);
            self.told.push(Told { time_ns, client, note });
        }
        for output in out.outputs.drain(..) {
            match output {
                Output::Connect { conn, host, port } => {
                    self.connections.insert((client, conn), None);
                    let sender = self.sender.clone();
                    std::thread::spawn(move || connect(client, conn, (&host, port), &sender));
                }
                Output::Send { conn, bytes } => {
                    if let Some(Some(stream)) = self.connections.get_mut(&(client, conn)) {
                        // Whoever reads it says that it has ended.
                        let _ = stream.write_all(&bytes);
                    }
                }
                Output::Close { conn } => {
                    if let Some(Some(stream)) = self.connections.remove(&(client, conn)) {
                        let _ = stream.shutdown(Shutdown::Both);
                    }
                }
                other => panic!("a client does not ask for {other:?}"),
            }
        }
        self.out = out;
    }

    fn hear(&mut self, client: usize, note: &Note) {
        let Note::Client(note) = note else {
            panic!("a client does not say {note:?}")
        };
        let outstanding = &mut self.clients[client].outstanding;
        match note {
            ClientNote::SendInvoked { .. } => *outstanding += 1,
            ClientNote::SendAcked { .. } => {
                *outstanding -= 1;
                self.acknowledged += 1;
            }
            ClientNote::SendFailed { .. } => {
                *outstanding -= 1;
                self.failed += 1;
            }
            ClientNote::Polled {
                topic,
                partition,
                records,
                ..
            } => {
                if let Some((offset, ..)) = records.last() {
                    self.positions.insert((client, topic.clone(), *partition), offset + 1);
                }
            }
            ClientNote::AdminAnswered { op, error_code, .. } => {
                self.answered.insert(*op, *error_code);
            }
            _ => {}
        }
    }
}

impl Client {
    fn is_producer(&self) -> bool {
        matches!(self.machine, Machine::Producer(_))
    }

    fn next_deadline(&self) -> Option<Nanos> {
        match &self.machine {
            Machine::Producer(producer) => producer.next_deadline(),
            Machine::Consumer(consumer) => consumer.next_deadline(),
            Machine::Admin(admin) => admin.next_deadline(),
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        for stream in self.connections.values().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Makes a connection and reads it to its end.
fn connect(client: usize, conn: ConnId, to: (&str, u16), sender: &Sender<(usize, ConnId, Event)>) {
    // Nobody hears it once the test is over.
    let say = |event| drop(sender.send((client, conn, event)));
    let made = TcpStream::connect(to).and_then(|stream| {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok((stream.try_clone()?, stream))
    });
    if let Ok((mut reader, writer)) = made {
        say(Event::Connected(writer));
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            say(Event::Received(Bytes::copy_from_slice(&buffer[..count])));
        }
    }
    say(Event::Closed);
}
