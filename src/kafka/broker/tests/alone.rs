//! A node by itself on a disk in memory.

use crate::broker::*;
use crate::config::{Settings, Voter};
use crate::log::testing::MemDisk;

const METADATA_LOG: &str = "__cluster_metadata-0/00000000000000000000.log";

/// The only node of its cluster.
fn alone() -> NodeConfig {
    NodeConfig {
        node_id: NodeId(1),
        is_broker: true,
        is_controller: true,
        host: "b1".to_owned(),
        port: 9092,
        rack: None,
        voters: vec![Voter {
            id: NodeId(1),
            host: "b1".to_owned(),
            port: 9092,
        }],
        cluster_id: "cluster".to_owned(),
        settings: Settings::default(),
        rules: crate::rules::Rules::default(),
    }
}

fn at(ms: u64) -> Now {
    Now {
        mono: Nanos(ms * 1_000_000),
        wall_ms: 1_000 + ms as i64,
    }
}

#[test]
fn nothing_is_written_before_the_last_clean_stop_is_forgotten_for_good() {
    let (mut disk, mut out) = (MemDisk::new(), Outbox::default());
    let mut broker = Broker::open(alone(), 7, at(0), &mut disk, &mut out).expect("an empty disk");
    disk.take_syncs(&mut out);
    // All syncs but that of the marker's removal come back; a voter that is alone would stand for election.
    let mut marker = None;
    for ms in (0..60_000).step_by(500) {
        while let Some(tag) = disk.complete_one() {
            if tag.owner == SyncOwner::Checkpoint && tag.seq == SEQ_MARKER_REMOVED {
                marker = Some(tag);
                continue;
            }
            let done = Input::SyncDone { tag, result: Ok(()) };
            broker.step(at(ms), done, &mut disk, &mut out);
        }
        broker.step(at(ms), Input::Deadline, &mut disk, &mut out);
        disk.take_syncs(&mut out);
    }
    assert!(out.outputs.is_empty(), "{:?}", out.outputs);
    assert_eq!(disk.content(METADATA_LOG).as_deref(), Some(&[][..]));
    assert!(!broker.is_active_controller());
    let tag = marker.expect("asked for when it was opened");
    let done = Input::SyncDone { tag, result: Ok(()) };
    broker.step(at(60_000), done, &mut disk, &mut out);
    for ms in (60_000..70_000).step_by(500) {
        disk.take_syncs(&mut out);
        while let Some(tag) = disk.complete_one() {
            let done = Input::SyncDone { tag, result: Ok(()) };
            broker.step(at(ms), done, &mut disk, &mut out);
        }
        broker.step(at(ms), Input::Deadline, &mut disk, &mut out);
    }
    assert!(disk.content(METADATA_LOG).is_some_and(|log| !log.is_empty()));
    assert!(broker.is_active_controller());
}
