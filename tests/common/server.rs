//! `highwater serve` as a process, and a client of raw frames.

use bytes::{Bytes, BytesMut};
use kafka::wire::frame::{self, api_key_of};
use kafka::wire::{api, batch};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    CreateTopicsRequest, FetchRequest, MetadataRequest, MetadataResponse, ProduceRequest, RequestKind, ResponseKind,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a machine that is busy with something else.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Ports that are free now.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind(("127.0.0.1", 0)).expect("a free port"));
    held.map(|listener| listener.local_addr().expect("it is bound").port())
}

/// A first port for `nodes` nodes as `serve --cluster` spreads them.
pub fn free_cluster_port(nodes: u16) -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    until("free ports", || {
        let [port] = free_ports();
        let mut all = (0..nodes).flat_map(|at| [port.checked_add(100 * at), port.checked_add(100 * at + 1)]);
        all.all(|port| port.is_some_and(is_free)).then_some(port)
    })
}

/// Asks again until it is so.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process; killed at the end of the test.
pub struct Server {
    pub port: u16,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// One combined node with its data in `dir`; `more` are `--set`s.
    pub fn alone(dir: &Path, more: &[&str]) -> Server {
        // Another port is no other cluster.
        let more: Vec<&str> = ["cluster.id=test"].iter().chain(more).copied().collect();
        Server::alone_as(dir, "1", free_ports().into(), &more)
    }

    /// The same with this `node.id`, listening for clients and for controllers.
    pub fn alone_as(dir: &Path, id: &str, (port, controller): (u16, u16), more: &[&str]) -> Server {
        let mut sets = vec![
            format!("node.id={id}"),
            format!("listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}"),
            format!("controller.quorum.voters={id}@127.0.0.1:{controller}"),
            format!("log.dirs={}", dir.join("data").display()),
        ];
        sets.extend(more.iter().map(|set| (*set).to_owned()));
        let args = sets.iter().flat_map(|set| ["--set", set]);
        Server::start(port, args, dir)
    }

    /// Of a file.
    pub fn of_file(port: u16, file: &Path, dir: &Path) -> Server {
        Server::start(port, ["--config", file.to_str().expect("utf-8")], dir)
    }

    fn start<'a>(port: u16, args: impl IntoIterator<Item = &'a str>, dir: &Path) -> Server {
        let log = dir.join(format!("{port}.log"));
        let out = std::fs::OpenOptions::new().create(true).append(true).open(&log);
        let out = out.expect("a log file");
        let child = Command::new(env!("CARGO_BIN_EXE_highwater"))
            .args(["serve", "--log", "info"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a second handle"))
            .stderr(out)
            .spawn()
            .expect("the binary runs");
        Server { port, child, log }
    }

    /// All that it printed.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(&self.log).expect("its log")
    }

    /// SIGTERM, or whatever `kill` names so.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {name}");
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        until(&format!("the end of {}", self.printed()), || self.ended())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it can be waited for")
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it can be waited for");
    }

    /// As [`Server::stop`], once it serves.
    pub fn stop_when_serving(self) -> String {
        Client::connect(self.port);
        self.stop()
    }

    /// SIGTERM, and exit code 0.
    pub fn stop(mut self) -> String {
        self.signal("-TERM");
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.printed());
        self.printed()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    next: i32,
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

impl Client {
    /// Waits until somebody listens.
    pub fn connect(port: u16) -> Client {
        until("a listener", || Client::try_connect(&[port]))
    }

    /// To the first of several that listens.
    pub fn try_connect(ports: &[u16]) -> Option<Client> {
        let stream = ports
            .iter()
            .find_map(|port| TcpStream::connect(("127.0.0.1", *port)).ok())?;
        Some(Client::on(stream))
    }

    fn on(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("a real socket");
        Client { stream, next: 0 }
    }

    /// To the leader of a partition, if one of these nodes knows it and it listens.
    pub fn leader_of(ports: &[u16], topic: &str, partition: i32) -> Option<Client> {
        let leader = ports.iter().find_map(|port| {
            let mut client = Client::try_connect(&[*port])?;
            client.leader(topic, partition)
        })?;
        Client::try_connect(&[leader])
    }

    pub fn try_call(&mut self, request: impl Into<RequestKind>) -> std::io::Result<ResponseKind> {
        let request = request.into();
        let key = api_key_of(&request);
        self.next += 1;
        let version = api::newest(key);
        self.send(&frame::encode_request(self.next, "test", &request, version))?;
        let answer = self.receive()?;
        let (correlation_id, response) = frame::decode_response(answer, key, version).expect("an answer");
        assert_eq!(correlation_id, self.next, "answers come in the order of requests");
        Ok(response)
    }

    pub fn call(&mut self, request: impl Into<RequestKind>) -> ResponseKind {
        self.try_call(request).expect("the connection holds")
    }

    /// Raw bytes.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// One frame without its length.
    pub fn receive(&mut self) -> std::io::Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).expect("a length");
        let mut frame = BytesMut::zeroed(length);
        self.stream.read_exact(&mut frame)?;
        Ok(frame.freeze())
    }

    /// Creates a topic, and waits until all of its partitions have leaders that answer.
    pub fn create(&mut self, topic: &str, partitions: i32, replicas: i16) {
        let asked = CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(replicas);
        until("the topic", || {
            let request = CreateTopicsRequest::default().with_topics(vec![asked.clone()]);
            let ResponseKind::CreateTopics(response) = self.call(request.with_timeout_ms(10_000)) else {
                panic!("another answer");
            };
            // 36: an attempt before this one has made it.
            matches!(response.topics[0].error_code, 0 | 36).then_some(())
        });
    }

    fn partition(&mut self, topic: &str, partition: i32) -> Option<(MetadataResponse, MetadataResponsePartition)> {
        let ResponseKind::Metadata(metadata) = self.try_call(MetadataRequest::default().with_topics(None)).ok()? else {
            panic!("another answer");
        };
        let is_it = |found: &&MetadataResponseTopic| found.name.as_ref().is_some_and(|name| name.as_str() == topic);
        let found = metadata.topics.iter().find(is_it)?;
        let found = found
            .partitions
            .iter()
            .find(|p| p.partition_index == partition)?
            .clone();
        Some((metadata, found))
    }

    /// The port of the partition's leader, as this broker knows it.
    pub fn leader(&mut self, topic: &str, partition: i32) -> Option<u16> {
        let (metadata, found) = self.partition(topic, partition)?;
        let broker = metadata
            .brokers
            .iter()
            .find(|broker| broker.node_id == found.leader_id)?;
        u16::try_from(broker.port).ok()
    }

    /// The partition's in-sync replicas, as this broker knows them.
    pub fn isr(&mut self, topic: &str, partition: i32) -> Option<Vec<i32>> {
        let (_, found) = self.partition(topic, partition)?;
        Some(found.isr_nodes.iter().map(|node| node.0).collect())
    }

    /// One batch; its base offset, or the error code.
    pub fn produce(&mut self, topic: &str, partition: i32, acks: i16, values: &[String]) -> Result<i64, i16> {
        let records: Vec<_> = (values.iter())
            .map(|value| (1_000, None, Some(Bytes::from(value.clone()))))
            .collect();
        let data = PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(batch::build(&records, None, false)));
        let topic = TopicProduceData::default()
            .with_name(name(topic))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(acks)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![topic]);
        let Ok(response) = self.try_call(request) else {
            return Err(-1);
        };
        let ResponseKind::Produce(response) = response else {
            panic!("another answer");
        };
        let answer = &response.responses[0].partition_responses[0];
        match answer.error_code {
            0 => Ok(answer.base_offset),
            code => Err(code),
        }
    }

    /// As [`Client::produce`], again until the partition has a leader that takes it.
    pub fn produce_all(&mut self, topic: &str, values: &[String]) -> i64 {
        until("success", || self.produce(topic, 0, -1, values).ok())
    }

    /// All committed values of a partition, with their offsets, in the order of the log.
    pub fn read(&mut self, topic: &str, partition: i32) -> Result<Vec<(i64, String)>, i16> {
        let ResponseKind::Metadata(metadata) = self.call(MetadataRequest::default().with_topics(None)) else {
            panic!("another answer");
        };
        let found = metadata
            .topics
            .iter()
            .find(|t| t.name.as_ref().is_some_and(|n| n.as_str() == topic));
        let topic_id = found.ok_or(3i16)?.topic_id;
        let mut all: Vec<(i64, String)> = Vec::new();
        loop {
            let from = all.last().map_or(0, |(offset, _)| offset + 1);
            let asked = FetchPartition::default()
                .with_partition(partition)
                .with_fetch_offset(from)
                .with_partition_max_bytes(1 << 20);
            let asked = FetchTopic::default()
                .with_topic(name(topic))
                .with_topic_id(topic_id)
                .with_partitions(vec![asked]);
            let request = FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![asked]);
            let ResponseKind::Fetch(response) = self.call(request) else {
                panic!("another answer");
            };
            let data = &response.responses[0].partitions[0];
            if data.error_code != 0 {
                return Err(data.error_code);
            }
            let records = data.records.clone().unwrap_or_default();
            let before = all.len();
            for batch in batch::batches(&records) {
                let (_, bytes) = batch.expect("whole batches");
                for record in batch::records(&bytes) {
                    let record = record.expect("whole records");
                    let value = record.value.expect("every record of a test has a value");
                    if record.offset >= from {
                        all.push((record.offset, String::from_utf8_lossy(&value).into_owned()));
                    }
                }
            }
            if all.len() == before {
                return Ok(all);
            }
        }
    }
}

/// `prefix-0` and so on.
pub fn values(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|at| format!("{prefix}-{at}")).collect()
}
