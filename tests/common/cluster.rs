//! Three real processes under the load of the world's clients, and the checks of a sweep over what all of them said.

use crate::clients::Clients;
use crate::command::scratch;
use crate::record::{Deed, Heard, Record};
use crate::server::{Client, PATIENCE, Server, free_cluster_port};
use highwater::checks::{Checks, Context, Fact, StopKind, TopicPromise};
use highwater::serve::cluster::properties;
use highwater::serve::notes::machine_time_ns;
use kafka::client::Op;
use std::path::PathBuf;
use std::time::Instant;

/// How many nodes.
const NODES: usize = 3;
/// The topic that all of it is about: three replicas each, two of which must have a record.
pub const TOPIC: &str = "t";
/// Its partitions.
pub const PARTITIONS: i32 = 3;
/// Clients by index, in the order in which they are made.
const ADMIN: usize = 0;
/// A node that is gone for this long is taken out by the controller.
pub const SOON: &str = "broker.session.timeout.ms=2000\nbroker.heartbeat.interval.ms=200\n";

/// Nodes, clients, record.
pub struct Cluster {
    pub dir: PathBuf,
    ports: Vec<u16>,
    more: String,
    servers: Vec<Option<Server>>,
    incarnations: [u32; NODES],
    pub clients: Clients,
    pub record: Record,
    verifier: Option<usize>,
}

impl Cluster {
    /// Three nodes in service, a topic, two producers, of which one is idempotent, and a reader. `more` are properties.
    pub fn start(name: &str, more: &str) -> Cluster {
        let dir = scratch(name);
        let base = free_cluster_port(NODES as u16);
        let ports: Vec<u16> = (0..NODES as u16).map(|at| base + 100 * at).collect();
        let notes = |at: usize| dir.join(format!("node-{}.notes", at + 1));
        let mut cluster = Cluster {
            clients: Clients::of(&ports),
            record: Record::of((0..NODES).map(notes)),
            dir,
            ports,
            more: more.to_owned(),
            servers: (0..NODES).map(|_| None).collect(),
            incarnations: [0; NODES],
            verifier: None,
        };
        (0..NODES).for_each(|at| cluster.start_node(at));
        cluster.ports.iter().for_each(|port| drop(Client::connect(*port)));
        let admin = cluster.clients.admin();
        assert_eq!(admin, ADMIN);
        cluster.clients.operate(
            ADMIN,
            Op::CreateTopic {
                op: 0,
                name: TOPIC.to_owned(),
                partitions: PARTITIONS,
                replication_factor: NODES as i16,
                configs: Vec::new(),
                assignment: Vec::new(),
            },
        );
        let code = cluster
            .clients
            .until("a topic", |clients| clients.answered.get(&0).copied());
        assert_eq!(code, 0, "the topic is created");
        let partitions = partitions();
        cluster.clients.producer(false, &partitions);
        cluster.clients.producer(true, &partitions);
        cluster.clients.consumer(&partitions);
        cluster.all_in_sync();
        cluster
    }

    /// The directory of a node's data.
    pub fn data(&self, at: usize) -> PathBuf {
        self.dir.join(format!("node-{}", at + 1))
    }

    /// A new process.
    pub fn start_node(&mut self, at: usize) {
        assert!(self.servers[at].is_none(), "it runs");
        let id = at + 1;
        let file = self.dir.join(format!("node-{id}.properties"));
        let notes = self.dir.join(format!("node-{id}.notes"));
        let text = properties(id as u16, NODES as u16, self.ports[0], &self.dir);
        let text = format!("{text}{}notes.file={}\n", self.more, notes.display());
        std::fs::write(&file, text).expect("written");
        let incarnation = self.incarnations[at];
        self.incarnations[at] += 1;
        self.record.did(at, Deed::Started { incarnation });
        self.servers[at] = Some(Server::of_file(self.ports[at], &file, &self.dir));
    }

    /// A node hangs.
    pub fn freeze(&self, at: usize) {
        self.servers[at].as_ref().expect("it runs").signal("-STOP");
    }

    /// It goes on, as if no time had passed.
    pub fn thaw(&self, at: usize) {
        self.servers[at].as_ref().expect("it runs").signal("-CONT");
    }

    /// Waits until every producer waits for answers.
    pub fn stall(&mut self) {
        self.clients
            .until("producers that wait", |clients| clients.is_stuck().then_some(()));
    }

    /// Time passes.
    pub fn pass(&mut self, ms: u64) {
        let later = machine_time_ns() + ms * 1_000_000;
        self.clients
            .until("later", |_| (machine_time_ns() >= later).then_some(()));
    }

    /// kill -9.
    pub fn kill(&mut self, at: usize) {
        self.servers[at].take().expect("it runs").kill();
        // What its last step did may have left no notes.
        self.record.did(at, Deed::Stopped(StopKind::KilledMidStep));
    }

    /// SIGTERM while clients work; it must exit with 0.
    pub fn stop(&mut self, at: usize) {
        let mut server = self.servers[at].take().expect("it runs");
        server.signal("-TERM");
        let status = self.clients.until("the end of a process", |_| server.ended());
        assert_eq!(status.code(), Some(0), "{}", server.printed());
        self.record.did(at, Deed::Stopped(StopKind::Exited { clean: true }));
    }

    /// A stopped node comes to lose all that it has.
    pub fn wipe(&mut self, at: usize) {
        assert!(self.servers[at].is_none(), "it runs");
        std::fs::remove_dir_all(self.data(at)).expect("its data");
        self.record.did(at, Deed::Wiped);
    }

    /// Which node leads a partition.
    pub fn leader(&mut self, partition: i32) -> usize {
        let ports = self.ports.clone();
        let leader = self
            .clients
            .until("a leader", |_| Client::try_connect(&ports)?.leader(TOPIC, partition));
        let at = ports.iter().position(|port| *port == leader);
        at.expect("one of the three")
    }

    /// Waits until all replicas are in sync, under load.
    pub fn all_in_sync(&mut self) {
        let ports = self.ports.clone();
        self.clients.until("all replicas in sync", |_| {
            let mut client = Client::try_connect(&ports)?;
            let mut is_whole = |partition| Some(client.isr(TOPIC, partition)?.len() == NODES);
            (0..PARTITIONS)
                .all(|partition| is_whole(partition) == Some(true))
                .then_some(())
        });
    }

    /// Waits until so many more records are acknowledged.
    pub fn acknowledge(&mut self, count: usize) {
        let wanted = self.clients.acknowledged + count;
        self.clients.until("acknowledgements", |clients| {
            (clients.acknowledged >= wanted).then_some(())
        });
    }

    /// Nothing more is done to the nodes: load goes on for a while and ends.
    pub fn heal(&mut self) {
        self.all_in_sync();
        self.record.healed_ns = Some(machine_time_ns());
        self.acknowledge(100);
        self.end_load();
        self.come_to_rest();
    }

    /// Every send has its answer, and no more are made.
    pub fn end_load(&mut self) {
        self.clients.is_busy = false;
        self.clients.until("an answer to every send", |clients| {
            (clients.outstanding() == 0).then_some(())
        });
    }

    /// Waits until the checks say that nothing is left to be done: leaders, in-sync replicas, equal ends, metadata.
    pub fn come_to_rest(&mut self) {
        let start = Instant::now();
        loop {
            let (checks, now) = self.fold(Heard::All);
            let Err(unrest) = checks.converged(now) else { break };
            assert!(start.elapsed() < PATIENCE, "not converged: {unrest}");
            self.pass(100);
        }
    }

    /// A new consumer reads all partitions to their ends.
    pub fn read_back(&mut self) {
        let verifier = self.clients.consumer(&partitions());
        self.verifier = Some(verifier);
        let ends = self.ends();
        self.clients.until("all of it read back", |clients| {
            let is_read = |(partition, end): (usize, &i64)| {
                let key = (verifier, TOPIC.to_owned(), partition as i32);
                *end == 0 || clients.positions.get(&key).is_some_and(|next| next >= end)
            };
            ends.iter().enumerate().all(is_read).then_some(())
        });
    }

    /// The end of each partition, as its leader says.
    fn ends(&mut self) -> Vec<i64> {
        let ports = self.ports.clone();
        let end = |partition| {
            let read = || Client::leader_of(&ports, TOPIC, partition)?.read(TOPIC, partition).ok();
            let read = crate::server::until("a leader's log", read);
            read.last().map_or(0, |(offset, _)| offset + 1)
        };
        (0..PARTITIONS).map(end).collect()
    }

    /// The verdict of all checks on all that has happened.
    pub fn judge(&mut self, heard: Heard) -> Checks {
        let (mut checks, time_ns) = self.fold(heard);
        checks.fact(Fact::Finished { time_ns });
        checks
    }

    fn fold(&mut self, heard: Heard) -> (Checks, u64) {
        let context = Context {
            default_promise: TopicPromise {
                min_insync_replicas: 2,
                ..TopicPromise::default()
            },
            verifier: self.verifier.map(|client| (NODES + client) as u16),
            ..Context::new(NODES)
        };
        self.record.fold(context, &self.clients.told, heard)
    }
}

/// All partitions of the topic.
fn partitions() -> Vec<(String, i32)> {
    (0..PARTITIONS).map(|partition| (TOPIC.to_owned(), partition)).collect()
}
