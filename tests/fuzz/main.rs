//! Hostile and damaged input by chance: frames of strangers, batches of producers, records of the metadata log, and files
//! of a data directory that are not what they were. Whatever comes of an input, nothing panics, and nothing takes more
//! memory than a bound: a length that asks for more than there is would abort the process, which is the alarm.
//!
//! `cargo test --test fuzz` tries some thousands; `cargo test --release --test fuzz -- --ignored` more than ten million.
//! The same inputs each time: chance is a number. Inputs that once did harm, or look as if they could, are kept in
//! `tests/corpus`.

mod node;

use bytes::{Bytes, BytesMut};
use highwater::cluster::SimDisk;
use kafka::client::stranger;
use kafka::metadata::{Reassignment, Record};
use kafka::wire::api::APIS;
use kafka::wire::batch;
use kafka::wire::frame::{self, Framer};
use kafka::wire::schema::sample;
use kafka::{Disk, Entropy, LeaderEpoch, PartitionEpoch, PartitionState, TopicPartition, Uuid};
use std::path::Path;

/// Bytes with one to four things wrong.
fn damage(bytes: &[u8], entropy: &mut Entropy) -> Bytes {
    let mut bytes = Bytes::copy_from_slice(bytes);
    for _ in 0..1 + entropy.below(4) {
        if bytes.is_empty() {
            break;
        }
        bytes = sample::damage(&bytes, entropy);
    }
    bytes
}

/// Requests of every API and version, whole and damaged, and what strangers send.
fn frames(inputs: u64) {
    let mut entropy = Entropy(1);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..inputs {
        let api = &APIS[entropy.below(APIS.len() as u64) as usize];
        let version = api.min + entropy.below((api.max - api.min) as u64 + 1) as i16;
        let request = sample::request(api, version, &mut entropy);
        let request = match entropy.below(8) {
            0 => request,
            1 => {
                let mut framer = Framer::default();
                framer.push(stranger::garbage(&mut entropy));
                while let Ok(Some(frame)) = framer.next() {
                    assert!(frame::decode_request(frame).is_err(), "a stranger was understood");
                }
                continue;
            }
            _ => damage(&request, &mut entropy),
        };
        match frame::decode_request(request) {
            Ok(_) => read += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(
        read > inputs / 10 && refused > inputs / 10,
        "{read} read, {refused} refused"
    );
}

/// A byte stream of frames cut anywhere, lengths wrong now and then.
fn streams(inputs: u64) {
    let mut entropy = Entropy(2);
    let mut framer = Framer::new(512);
    let mut ends = 0;
    for _ in 0..inputs {
        let size = entropy.below(40) as usize;
        let mut chunk = BytesMut::zeroed(size);
        for byte in chunk.iter_mut() {
            // Small numbers, so that lengths are often possible.
            *byte = (entropy.below(8) * entropy.below(3) * entropy.below(3)) as u8;
        }
        framer.push(chunk.freeze());
        loop {
            match framer.next() {
                Ok(Some(frame)) => assert!(frame.len() <= 512),
                Ok(None) => break,
                Err(_) => {
                    ends += 1;
                    framer = Framer::new(512);
                    break;
                }
            }
        }
        assert!(
            framer.buffered() <= 512 + 4 + 40,
            "it keeps what is unfinished, and no more"
        );
    }
    assert!(ends > 0, "no length was impossible");
}

fn a_batch(entropy: &mut Entropy) -> Bytes {
    let count = 1 + entropy.below(5);
    let records: Vec<_> = (0..count)
        .map(|_| {
            let key = (entropy.below(2) == 0).then(|| Bytes::from_static(b"key"));
            let value = (entropy.below(4) > 0).then(|| Bytes::from_static(b"some value"));
            (entropy.below(1 << 40) as i64, key, value)
        })
        .collect();
    let producer = (entropy.below(2) == 0).then_some((7, 1, 40));
    batch::build(&records, producer, entropy.below(8) == 0)
}

/// Batches as a leader meets them, and as a follower, a consumer and recovery walk them, checksum or not.
fn batches(inputs: u64) {
    let mut entropy = Entropy(3);
    let (mut whole, mut corrupt) = (0u64, 0u64);
    for _ in 0..inputs {
        let good = a_batch(&mut entropy);
        let bytes = if entropy.below(8) == 0 {
            good
        } else {
            damage(&good, &mut entropy)
        };
        match batch::check(&bytes) {
            Ok(_) => whole += 1,
            Err(_) => corrupt += 1,
        }
        for next in batch::batches(&bytes) {
            let Ok((header, one)) = next else { break };
            assert_eq!(header.size(), one.len());
            let _ = batch::walk(&one);
            let _ = batch::find_timestamp(&one, 1 << 39, 0);
            let records = batch::records(&one).take_while(Result::is_ok).count();
            assert!(records <= one.len(), "more records than bytes");
        }
    }
    assert!(
        whole > inputs / 20 && corrupt > inputs / 2,
        "{whole} whole, {corrupt} corrupt"
    );
}

fn some_records() -> Vec<Record> {
    let partition = TopicPartition {
        topic: Uuid::from_u128(9),
        partition: 3,
    };
    let nodes: Vec<_> = [1, 2, 3].map(kafka::NodeId).to_vec();
    let state = PartitionState {
        leader: Some(nodes[0]),
        leader_epoch: LeaderEpoch(4),
        partition_epoch: PartitionEpoch(5),
        replicas: nodes.clone(),
        isr: nodes.clone(),
        elr: nodes.clone(),
    };
    vec![
        Record::Topic {
            name: "orders".to_owned(),
            id: partition.topic,
        },
        Record::Partition {
            partition,
            state,
            last_known_elr: nodes.clone(),
            reassignment: Reassignment {
                adding: nodes.clone(),
                removing: nodes,
            },
        },
        Record::Config {
            topic: "orders".to_owned(),
            name: "retention.ms".to_owned(),
            value: Some("7".to_owned()),
        },
        Record::RegisterBroker {
            broker: kafka::NodeId(1),
            broker_epoch: kafka::BrokerEpoch(8),
            incarnation: Uuid::from_u128(77),
            host: "localhost".to_owned(),
            port: 9092,
            rack: Some("a".to_owned()),
            fenced: true,
            in_controlled_shutdown: false,
        },
    ]
}

/// Metadata records, which a controller takes from its peers.
fn metadata(inputs: u64) {
    let mut entropy = Entropy(4);
    let encoded: Vec<Bytes> = some_records().iter().map(Record::encode).collect();
    let mut refused = 0;
    for _ in 0..inputs {
        let record = &encoded[entropy.below(encoded.len() as u64) as usize];
        refused += u64::from(Record::decode(&damage(record, &mut entropy)).is_err());
    }
    assert!(refused > inputs / 3, "{refused} refused");
}

/// A file is something else, or gone.
fn replace(disk: &mut dyn Disk, path: &str, content: Option<&[u8]>) {
    disk.remove(path).expect("it is there");
    if let Some(content) = content {
        let file = disk.open(path, true).expect("created");
        disk.write_at(file, 0, content).expect("written");
        disk.close(file);
    }
}

/// A data directory with one or two files damaged, truncated, emptied, grown or gone: the node opens, or says why not.
fn directories(inputs: u64) {
    let whole = node::written_directory();
    let paths = whole.files();
    let mut entropy = Entropy(5);
    let (mut opened, mut refused) = (0, 0);
    for _ in 0..inputs {
        let mut disk = whole.clone();
        for _ in 0..1 + entropy.below(2) {
            let path = &paths[entropy.below(paths.len() as u64) as usize];
            let Some(content) = disk.cached(path) else { continue };
            let content = match entropy.below(8) {
                0 => None,
                1 => Some(Bytes::new()),
                2 => Some([&content[..], &[0; 64]].concat().into()),
                3 => Some([&content[..], &content].concat().into()),
                _ => Some(damage(&content, &mut entropy)),
            };
            replace(&mut SimDisk(&mut disk), path, content.as_deref());
        }
        match node::open_and_settle(disk) {
            Ok(()) => opened += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused");
}

/// Lines of hexadecimal bytes, each with a remark after `#`.
fn corpus(name: &str) -> Vec<Bytes> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let digits = lines.map(|line| line.split_whitespace().collect::<String>());
    let whole = digits.filter(|digits| !digits.is_empty());
    whole
        .map(|digits| {
            let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
            (0..digits.len()).step_by(2).map(byte).collect()
        })
        .collect()
}

#[test]
fn what_once_did_harm_is_refused() {
    let frames = corpus("frames.txt");
    assert!(frames.len() >= 8);
    for frame in frames {
        assert!(frame::decode_request(frame.clone()).is_err(), "{frame:02x?}");
    }
    let batches = corpus("batches.txt");
    assert!(batches.len() >= 4);
    for bytes in batches {
        let is_whole = batch::check(&bytes).is_ok() && batch::walk(&bytes).is_ok();
        assert!(!is_whole, "{bytes:02x?}");
    }
}

#[test]
fn thousands_of_each() {
    frames(40_000);
    streams(40_000);
    batches(40_000);
    metadata(40_000);
    directories(300);
}

#[test]
#[ignore = "minutes: cargo test --release --test fuzz -- --ignored"]
fn more_than_ten_million_frames_batches_records_and_files() {
    frames(4_000_000);
    streams(2_000_000);
    batches(3_000_000);
    metadata(2_000_000);
    directories(20_000);
}
