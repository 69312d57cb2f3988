//! A log directory is the same bytes in the world and on a real disk: either opens what the other wrote.

use crate::command::{code, highwater, out, scratch};
use crate::server::{Client, Server, free_ports, until, values};
use bytes::Bytes;
use highwater::cluster::{Cluster, SimDisk};
use highwater::run::{Layout, Observer, Options, Until, observe};
use highwater::scenario;
use highwater::serve::disk::FileDisk;
use kafka::broker::Broker;
use kafka::config::{NodeConfig, Settings, Voter};
use kafka::rules::Rules;
use kafka::wire::batch;
use kafka::{Disk, NodeId, Now, Outbox};
use sim::random::Streams;
use sim::step::Stepped;
use sim::world::World;
use std::path::Path;

/// All files below a directory, as paths relative to it.
fn files(root: &Path, below: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root.join(below)).expect("a directory") {
        let name = entry.expect("readable").file_name().into_string().expect("utf-8");
        let path = if below.is_empty() {
            name
        } else {
            format!("{below}/{name}")
        };
        if root.join(&path).is_dir() {
            found.extend(files(root, &path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The node whose directory this is, of the cluster `test`.
fn node() -> NodeConfig {
    let voter = Voter {
        id: NodeId(1),
        host: "127.0.0.1".to_owned(),
        port: 1,
    };
    NodeConfig {
        node_id: NodeId(1),
        is_broker: true,
        is_controller: true,
        host: "127.0.0.1".to_owned(),
        port: 1,
        rack: None,
        voters: vec![voter],
        cluster_id: "test".to_owned(),
        settings: Settings::default(),
        rules: Rules::default(),
    }
}

/// Opens the directory on this disk; the values of the only partition of a topic's log that is not the metadata's.
fn open(disk: &mut dyn Disk) -> (Vec<String>, Vec<String>) {
    let mut out = Outbox::default();
    let mut broker = Broker::open(node(), 7, Now::default(), disk, &mut out).expect("it opens");
    let notes = out.notes.iter().map(ToString::to_string).collect();
    let partition = broker.snapshot().partitions[0].partition;
    let log = broker.read_log(partition, disk).expect("it can be read");
    let mut values = Vec::new();
    for batch in batch::batches(&log) {
        for record in batch::records(&batch.expect("whole").1) {
            let value = record.expect("whole").value.expect("a value");
            values.push(String::from_utf8_lossy(&value).into_owned());
        }
    }
    (values, notes)
}

#[test]
fn the_world_opens_what_serve_wrote() {
    let dir = scratch("interchange_real");
    let server = Server::alone(&dir, &[]);
    let mut client = Client::connect(server.port);
    client.create("t", 1, 1);
    for at in 0..50 {
        client.produce_all("t", &values(&format!("r{at}"), 20));
    }
    // Not in order: what is read is found by recovery.
    server.kill();
    let root = dir.join("data");
    let mut simulated = sim::disk::Disk::new(Streams::new(1).stream("disk"));
    {
        let mut disk = SimDisk(&mut simulated);
        for path in files(&root, "") {
            if let Some((parent, _)) = path.rsplit_once('/') {
                disk.create_dir(parent).expect("created");
            }
            let file = disk.open(&path, true).expect("created");
            let content = std::fs::read(root.join(&path)).expect("readable");
            disk.write_at(file, 0, &content).expect("written");
            disk.close(file);
        }
    }
    let (values, simulated_notes) = open(&mut SimDisk(&mut simulated));
    assert_eq!(values.len(), 1_000);
    assert_eq!((values[0].as_str(), values[999].as_str()), ("r0-0", "r49-19"));
    // The real disk, opened by the same code, gives the same and says the same.
    assert_eq!(open(&mut FileDisk::new(root)), (values, simulated_notes));
}

/// Takes a node's disk out of the world at a certain step.
struct TakeDisk {
    at: u64,
    seen: u64,
    files: Vec<(String, Vec<u8>)>,
}

impl Observer for TakeDisk {
    fn step(&mut self, _: &Stepped, world: &World<Cluster>, _: &Layout) {
        self.seen += 1;
        if self.seen == self.at {
            let disk = world.disk(sim::fault::NodeId(0));
            let cached = disk
                .files()
                .into_iter()
                .filter_map(|path| disk.cached(&path).map(|content| (path, content)));
            self.files = cached.collect();
        }
    }
}

const ONE_NODE: &str = r#"{
  "name": "one-node",
  "description": "A single node whose disk is taken out of the world.",
  "cluster": { "brokers": 1 },
  "topics": [ { "name": "t", "partitions": 1, "replication_factor": 1 } ],
  "clients": { "producers": [ { "topics": ["t"], "records_per_s": 50, "config": { "acks": "all" } } ] },
  "duration_ms": 20000,
  "expect": { "verdict": "passes" }
}"#;

#[test]
fn serve_opens_what_the_world_wrote() {
    let scenario = scenario::parse("one-node.json", ONE_NODE).expect("a scenario");
    const STEPS: u64 = 2_500;
    let mut taken = TakeDisk {
        at: STEPS,
        seen: 0,
        files: Vec::new(),
    };
    let options = Options {
        until: Some(Until::Step(STEPS + 1)),
        ..Options::default()
    };
    let (mut taken, _) = highwater::isolate::isolated(1, move || {
        observe(&scenario, 1, &options, &mut taken);
        taken
    })
    .expect("the machine works");
    let log = taken
        .files
        .iter()
        .position(|(path, _)| path == "t-0/00000000000000000000.log");
    let log = Bytes::from(taken.files.remove(log.expect("the topic's log")).1);
    let written: usize = batch::batches(&log)
        .map(|batch| batch.expect("whole").0.record_count as usize)
        .sum();
    assert!(written > 100, "only {written} records");
    taken
        .files
        .push(("t-0/00000000000000000000.log".to_owned(), log.to_vec()));

    let dir = scratch("interchange_world");
    for (path, content) in &taken.files {
        let path = dir.join("data").join(path);
        std::fs::create_dir_all(path.parent().expect("below the directory")).expect("created");
        std::fs::write(path, content).expect("written");
    }
    let meta = std::fs::read_to_string(dir.join("data/meta.properties")).expect("whose it is");
    let property = |name: &str| {
        meta.lines()
            .find_map(|line| line.strip_prefix(name))
            .expect("it is there")
    };
    let (cluster, id) = (property("cluster.id="), property("node.id="));
    let [port, controller] = free_ports();
    let server = Server::alone_as(&dir, id, (port, controller), &[&format!("cluster.id={cluster}")]);
    let mut client = Client::connect(server.port);
    let read = until("the log", || {
        client.read("t", 0).ok().filter(|read| read.len() == written)
    });
    assert_eq!(read.last().map(|(offset, _)| *offset), Some(written as i64 - 1));
    let printed = server.stop();
    assert!(printed.contains("opened, cluster"), "{printed}");
}

#[test]
fn a_directory_of_another_cluster_is_refused() {
    let dir = scratch("interchange_other");
    Server::alone(&dir, &[]).stop_when_serving();
    let data = format!("log.dirs={}", dir.join("data").display());
    let [port, controller] = free_ports();
    let listeners = format!("listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}");
    let voters = format!("controller.quorum.voters=1@127.0.0.1:{controller}");
    let output = highwater(&["serve", "--set", &data, "--set", &listeners, "--set", &voters]);
    assert_eq!(code(&output), 6);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains("meta.properties names another cluster"),
        "{}{text}",
        out(&output)
    );
}
