//! The least that a Kafka broker can do for its clients, as a floor under the figures of `serve`: a log for each
//! topic, a thread for each connection; decode the frame, check the CRC, write offset and epoch, write to the page cache, answer.
//!
//! `floor HOST:PORT DIRECTORY [sync] [sendfile]` serves partition 0 of whatever topic is asked for. With `sync`, every
//! produce request waits for a sync of its own; with `sendfile`, the kernel takes the records of a fetch response from the
//! file to the socket. It replicates, checks, indexes and limits nothing: a broker costs more.

use bytes::{Bytes, BytesMut};
use kafka::types::LeaderEpoch;
use kafka::wire::{batch, frame};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, FetchRequest, FetchResponse, InitProducerIdResponse, ListOffsetsRequest,
    ListOffsetsResponse, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, ProducerId, RequestKind,
    ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Answer = Result<Option<ResponseKind>, Box<dyn Error>>;

/// Fetch by name and with the records at the end of its frame, and nothing that needs a broker's state.
const APIS: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Produce, 0, 9),
    (ApiKey::Fetch, 4, 11),
    (ApiKey::ListOffsets, 1, 7),
    (ApiKey::Metadata, 0, 11),
    (ApiKey::ApiVersions, 0, 3),
    (ApiKey::InitProducerId, 0, 4),
];

/// All topics, made when they are first asked for.
struct Logs {
    directory: PathBuf,
    sync: bool,
    sendfile: bool,
    by_topic: Mutex<BTreeMap<String, Arc<Log>>>,
}

impl Logs {
    fn of(&self, topic: &TopicName) -> std::io::Result<Arc<Log>> {
        let mut logs = self.by_topic.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = logs.get(topic.0.as_str()) {
            return Ok(Arc::clone(log));
        }
        let path = self.directory.join(logs.len().to_string());
        let log = Arc::new(Log {
            file: File::options().read(true).write(true).create_new(true).open(path)?,
            sync: self.sync,
            end: Mutex::default(),
            grown: Condvar::new(),
        });
        logs.insert(topic.0.to_string(), Arc::clone(&log));
        Ok(log)
    }
}

struct Log {
    file: File,
    sync: bool,
    end: Mutex<End>,
    grown: Condvar,
}

#[derive(Default)]
struct End {
    offset: i64,
    bytes: u64,
    /// Base offset and place of each batch.
    batches: Vec<(i64, u64)>,
}

impl Log {
    fn append(&self, records: &Bytes) -> Result<i64, Box<dyn Error>> {
        let header = batch::check(records).map_err(|error| format!("{error:?}"))?;
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let base = end.offset;
        // What was assigned goes before what was received, without a copy of the records.
        let mut head = [0; batch::HEADER_LEN];
        head.copy_from_slice(&records[..batch::HEADER_LEN]);
        batch::patch(&mut head, base, LeaderEpoch(0));
        self.file.write_all_at(&head, end.bytes)?;
        self.file
            .write_all_at(&records[head.len()..], end.bytes + head.len() as u64)?;
        let at = (base, end.bytes);
        end.batches.push(at);
        end.offset += i64::from(header.last_offset_delta) + 1;
        end.bytes += records.len() as u64;
        drop(end);
        if self.sync {
            self.file.sync_data()?;
        }
        self.grown.notify_all();
        Ok(base)
    }

    /// Where in the file whole batches lie from the one that has the offset, waiting for one; the end offset.
    fn find(&self, offset: i64, max: usize, wait: Duration) -> (Range<u64>, i64) {
        let until = Instant::now() + wait;
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        while end.offset <= offset {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return (0..0, end.offset);
            }
            end = self
                .grown
                .wait_timeout(end, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let first = end.batches.partition_point(|(base, _)| *base <= offset).max(1) - 1;
        let place = |batch: usize| end.batches.get(batch).map_or(end.bytes, |(_, at)| *at);
        let from = place(first);
        let limit = from + max as u64;
        let past = end.batches.partition_point(|(_, at)| *at <= limit);
        let whole = if place(past) <= limit { past } else { past - 1 };
        (from..place(whole.max(first + 1)), end.offset)
    }

    fn read(&self, place: &Range<u64>) -> Result<Bytes, Box<dyn Error>> {
        let length = usize::try_from(place.end - place.start)?;
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = place.start + bytes.len() as u64;
            if rustix::io::pread(&self.file, rustix::buffer::spare_capacity(&mut bytes), at)? == 0 {
                return Err("the file ends before its log".into());
            }
        }
        bytes.truncate(length);
        Ok(bytes.into())
    }

    fn send(&self, place: Range<u64>, stream: &TcpStream) -> std::io::Result<()> {
        let mut at = place.start;
        while at < place.end {
            let left = (place.end - at) as usize;
            // It moves the offset by what it has sent.
            rustix::fs::sendfile(stream, &self.file, Some(&mut at), left)?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, address, directory, rest @ ..] = &args[..] else {
        return Err("floor HOST:PORT DIRECTORY [sync] [sendfile]".into());
    };
    let address = address.parse()?;
    let logs = Arc::new(Logs {
        directory: directory.into(),
        sync: rest.iter().any(|word| word == "sync"),
        sendfile: rest.iter().any(|word| word == "sendfile"),
        by_topic: Mutex::default(),
    });
    for stream in TcpListener::bind(address)?.incoming() {
        let (stream, logs) = (stream?, Arc::clone(&logs));
        std::thread::spawn(move || {
            if let Err(error) = serve(&stream, address, &logs) {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

fn serve(mut stream: &TcpStream, address: SocketAddr, logs: &Logs) -> Result<(), Box<dyn Error>> {
    stream.set_nodelay(true)?;
    let mut head = [0; 4];
    // A peer that leaves between two frames is no error.
    while stream.read_exact(&mut head).is_ok() {
        let length = usize::try_from(i32::from_be_bytes(head))?;
        let mut body = BytesMut::zeroed(length);
        stream.read_exact(&mut body)?;
        let request = frame::decode_request(body.freeze())?;
        let mut in_file = None;
        let answer = match request.body {
            RequestKind::ApiVersions(_) => Some(ResponseKind::ApiVersions(versions())),
            RequestKind::Metadata(request) => Some(ResponseKind::Metadata(metadata(&request, address))),
            RequestKind::InitProducerId(_) => Some(ResponseKind::InitProducerId(producer_id())),
            RequestKind::Produce(request) => produce(&request, logs)?,
            RequestKind::ListOffsets(request) => Some(ResponseKind::ListOffsets(list_offsets(&request, logs)?)),
            RequestKind::Fetch(request) => Some(fetch(&request, logs, &mut in_file)?),
            _ => return Err(format!("{:?} is not served", request.api_key).into()),
        };
        if let Some(answer) = answer {
            let frame = frame::encode_response(request.correlation_id, &answer, request.api_key, request.version);
            match in_file {
                None => stream.write_all(&frame)?,
                Some((log, place)) => {
                    stream.write_all(&lengthened(&frame, place.end - place.start)?)?;
                    log.send(place, stream)?;
                }
            }
        }
    }
    Ok(())
}

/// A frame that ends with no records, as the beginning of one that ends with so many bytes of them.
fn lengthened(frame: &[u8], records: u64) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut frame = frame.to_vec();
    let (length, records) = (
        u32::try_from(frame.len() as u64 - 4 + records)?,
        u32::try_from(records)?,
    );
    frame[..4].copy_from_slice(&length.to_be_bytes());
    let end = frame.len();
    frame[end - 4..].copy_from_slice(&records.to_be_bytes());
    Ok(frame)
}

fn versions() -> ApiVersionsResponse {
    let row = |&(key, min, max): &(ApiKey, i16, i16)| {
        ApiVersion::default()
            .with_api_key(key as i16)
            .with_min_version(min)
            .with_max_version(max)
    };
    ApiVersionsResponse::default().with_api_keys(APIS.iter().map(row).collect())
}

fn metadata(request: &MetadataRequest, address: SocketAddr) -> MetadataResponse {
    let me = BrokerId(1);
    let broker = MetadataResponseBroker::default()
        .with_node_id(me)
        .with_host(StrBytes::from_string(address.ip().to_string()))
        .with_port(address.port().into());
    let partition = MetadataResponsePartition::default()
        .with_leader_id(me)
        .with_leader_epoch(0)
        .with_replica_nodes(vec![me])
        .with_isr_nodes(vec![me]);
    let asked = request.topics.iter().flatten();
    let topics = asked.map(|topic| {
        MetadataResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(vec![partition.clone()])
    });
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_controller_id(me)
        .with_topics(topics.collect())
}

fn producer_id() -> InitProducerIdResponse {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    InitProducerIdResponse::default().with_producer_id(ProducerId(NEXT.fetch_add(1, Ordering::Relaxed)))
}

fn produce(request: &ProduceRequest, logs: &Logs) -> Answer {
    let mut responses = Vec::new();
    for topic in &request.topic_data {
        let mut partitions = Vec::new();
        for partition in &topic.partition_data {
            let records = partition.records.as_ref().ok_or("no records")?;
            let base = logs.of(&topic.name)?.append(records)?;
            partitions.push(
                PartitionProduceResponse::default()
                    .with_index(partition.index)
                    .with_base_offset(base)
                    .with_log_append_time_ms(-1),
            );
        }
        responses.push(
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_partition_responses(partitions),
        );
    }
    let answer = ResponseKind::Produce(ProduceResponse::default().with_responses(responses));
    Ok((request.acks != 0).then_some(answer))
}

fn list_offsets(request: &ListOffsetsRequest, logs: &Logs) -> std::io::Result<ListOffsetsResponse> {
    let mut topics = Vec::new();
    for topic in &request.topics {
        let log = logs.of(&topic.name)?;
        let end = log.end.lock().unwrap_or_else(PoisonError::into_inner).offset;
        let partitions = topic.partitions.iter().map(|partition| {
            let offset = if partition.timestamp == -2 { 0 } else { end };
            ListOffsetsPartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_offset(offset)
                .with_leader_epoch(0)
        });
        topics.push(
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect()),
        );
    }
    Ok(ListOffsetsResponse::default().with_topics(topics))
}

/// The answer; with `sendfile` and one partition its records stay in their file, and `in_file` says where.
fn fetch(
    request: &FetchRequest,
    logs: &Logs,
    in_file: &mut Option<(Arc<Log>, Range<u64>)>,
) -> Result<ResponseKind, Box<dyn Error>> {
    let stays = logs.sendfile && matches!(&request.topics[..], [topic] if topic.partitions.len() == 1);
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms)?);
    let mut responses = Vec::new();
    for topic in &request.topics {
        let mut partitions = Vec::new();
        for partition in &topic.partitions {
            let max = usize::try_from(partition.partition_max_bytes.min(request.max_bytes))?;
            let log = logs.of(&topic.topic)?;
            let (place, end) = log.find(partition.fetch_offset, max, wait);
            let records = match stays {
                true => Bytes::new(),
                false => log.read(&place)?,
            };
            if stays {
                *in_file = Some((log, place));
            }
            partitions.push(
                PartitionData::default()
                    .with_partition_index(partition.partition)
                    .with_high_watermark(end)
                    .with_last_stable_offset(end)
                    .with_log_start_offset(0)
                    .with_records(Some(records)),
            );
        }
        responses.push(
            FetchableTopicResponse::default()
                .with_topic(topic.topic.clone())
                .with_partitions(partitions),
        );
    }
    Ok(ResponseKind::Fetch(FetchResponse::default().with_responses(responses)))
}
