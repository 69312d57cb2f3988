//! Tests of whole logs on a disk in memory.

mod append;
mod crash;
mod flush;
mod format;
mod producers;
mod random;
mod read;
mod recovery;
mod retention;
mod truncate;

use super::testing::MemDisk;
use super::*;
use crate::machine::Output;
use crate::note::TruncateReason;
use crate::types::{Nanos, Uuid};
use crate::wire::batch;
use bytes::Bytes;

/// A partition of a topic.
const PARTITION: TopicPartition = TopicPartition {
    topic: Uuid::from_u128(0x77 << 96),
    partition: 0,
};

/// A log with all that it needs.
struct Fixture {
    log: Log,
    disk: MemDisk,
    out: Outbox,
    now: Now,
}

fn config(settings: &[(&str, &str)]) -> TopicConfig {
    let mut config = TopicConfig::default();
    for (name, value) in settings {
        config.set(name, value).unwrap();
    }
    config
}

/// `count` records of one byte of value, at timestamp `at`.
fn records(count: usize, at: i64) -> Bytes {
    batch::build(&vec![(at, None, Some(Bytes::from_static(b"v"))); count], None, false)
}

/// `count` records of a producer's, from sequence `base_sequence` on.
fn produced(id: i64, epoch: i16, base_sequence: i32, count: usize) -> Bytes {
    let records = vec![(1_000, None, Some(Bytes::from_static(b"v"))); count];
    batch::build(&records, Some((id, epoch, base_sequence)), false)
}

/// As a leader would send it.
fn replicated(count: usize, at: i64, base: Offset, epoch: i32) -> Bytes {
    batch::assign(&records(count, at), base, LeaderEpoch(epoch))
}

fn epochs_of(log: &Log) -> Vec<(i32, Offset)> {
    log.epochs().iter().map(|entry| (entry.0.0, entry.1)).collect()
}

impl Fixture {
    fn new(settings: &[(&str, &str)]) -> Fixture {
        let (mut disk, mut out) = (MemDisk::new(), Outbox::default());
        let now = Now {
            mono: Nanos::from_ms(1_000),
            wall_ms: 1_000_000,
        };
        let log = Log::open(
            PARTITION,
            "t-0",
            config(settings),
            OpenWith::default(),
            now,
            &mut disk,
            &mut out,
        )
        .unwrap();
        let mut fixture = Fixture { log, disk, out, now };
        fixture.settle();
        fixture.out = Outbox::default();
        fixture
    }

    /// Lets all syncs end.
    fn settle(&mut self) {
        self.disk.take_syncs(&mut self.out);
        while let Some(tag) = self.disk.complete_one() {
            self.log.on_sync_done(&tag, Ok(()), &mut self.out).unwrap();
            self.disk.take_syncs(&mut self.out);
        }
    }

    fn lead(&mut self, epoch: i32, count: usize) -> Appended {
        self.lead_at(epoch, count, self.now.wall_ms)
    }

    fn lead_at(&mut self, epoch: i32, count: usize, timestamp: i64) -> Appended {
        self.produce(epoch, &records(count, timestamp)).unwrap()
    }

    fn produce(&mut self, epoch: i32, records: &Bytes) -> Result<Appended, LogError> {
        self.log
            .append_as_leader(records, LeaderEpoch(epoch), self.now, &mut self.disk, &mut self.out)
    }

    fn follow(&mut self, records: &Bytes, max_epoch: i32) -> Result<Option<Appended>, LogError> {
        self.log
            .append_as_follower(records, LeaderEpoch(max_epoch), self.now, &mut self.disk, &mut self.out)
    }

    fn truncate(&mut self, to: Offset) -> bool {
        self.log
            .truncate_to(to, TruncateReason::Divergence, &mut self.disk, &mut self.out)
            .unwrap()
    }

    fn read(&mut self, from: Offset) -> Vec<(Offset, Offset)> {
        let end = self.log.log_end_offset();
        let bytes = self.log.read(from, end, 1 << 20, true, &mut self.disk).unwrap();
        batch::batches(&bytes)
            .map(|next| {
                next.map(|(header, _)| (header.base_offset, header.last_offset()))
                    .unwrap()
            })
            .collect()
    }

    /// (base, last, epoch) of every batch, each checked, by reading the log from start to end.
    fn all(&mut self) -> Vec<(Offset, Offset, i32)> {
        let (mut at, end) = (self.log.log_start_offset(), self.log.log_end_offset());
        let mut found = Vec::new();
        while at < end {
            let bytes = self.log.read(at, end, 1_000, true, &mut self.disk).unwrap();
            if bytes.is_empty() {
                break;
            }
            for next in batch::batches(&bytes) {
                let (header, bytes) = next.unwrap();
                batch::check(&bytes).unwrap();
                found.push((
                    header.base_offset,
                    header.last_offset(),
                    header.partition_leader_epoch.0,
                ));
                at = header.next_offset();
            }
        }
        found
    }

    /// Another process opens what is on the disk.
    fn reopen(&mut self, clean: bool, recovery_point: Offset) {
        let with = OpenWith {
            clean,
            recovery_point,
            log_start_offset: self.log.log_start_offset(),
        };
        self.reopen_with(with);
    }

    fn reopen_with(&mut self, with: OpenWith) {
        self.out = Outbox::default();
        let config = self.log.config.clone();
        self.log = Log::open(PARTITION, "t-0", config, with, self.now, &mut self.disk, &mut self.out).unwrap();
        self.disk.take_syncs(&mut self.out);
    }

    fn segments(&self) -> Vec<Offset> {
        self.log.segments.iter().map(|segment| segment.base).collect()
    }

    fn later(&mut self, ms: u64) {
        self.now.mono = self.now.mono.plus_ms(ms);
        self.now.wall_ms += ms as i64;
    }

    fn notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.out.notes)
    }

    fn syncs(&self) -> usize {
        self.out
            .outputs
            .iter()
            .filter(|output| matches!(output, Output::Sync { .. }))
            .count()
    }
}
