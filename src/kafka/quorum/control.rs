//! Control batches of the metadata log: who leads from here on, where a snapshot begins and ends.
//!
//! Guarantees: keys and values as Kafka writes them (key: version 0 and type, two big-endian i16). Deliberately does
//! not know where the batches go.
//!
//! Sources: KIP-595 (LeaderChangeMessage), KIP-630 (SnapshotHeaderRecord, SnapshotFooterRecord); Kafka's
//! `ControlRecordType`.

use crate::types::{NodeId, Now};
use crate::wire::batch;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::leader_change_message::{LeaderChangeMessage, Voter};
use kafka_protocol::messages::{BrokerId, SnapshotFooterRecord, SnapshotHeaderRecord};
use kafka_protocol::protocol::Encodable;
use std::collections::BTreeSet;

const LEADER_CHANGE: i16 = 2;
const SNAPSHOT_HEADER: i16 = 3;
const SNAPSHOT_FOOTER: i16 = 4;

fn control(kind: i16, value: &impl Encodable, now: Now) -> Bytes {
    let mut key = BytesMut::with_capacity(4);
    key.put_i16(0);
    key.put_i16(kind);
    let mut body = BytesMut::new();
    value
        .encode(&mut body, 0)
        .expect("version 0 of a control record has all of its fields");
    batch::build(&[(now.wall_ms, Some(key.freeze()), Some(body.freeze()))], None, true)
}

/// The first record of every epoch: it is what lets the high watermark move (KAFKA-12619).
pub(super) fn leader_change(leader: NodeId, voters: &[NodeId], granting: &BTreeSet<NodeId>, now: Now) -> Bytes {
    let voter = |id: &NodeId| Voter::default().with_voter_id(id.0);
    let message = LeaderChangeMessage::default()
        .with_leader_id(BrokerId(leader.0))
        .with_voters(voters.iter().map(voter).collect())
        .with_granting_voters(granting.iter().map(voter).collect());
    control(LEADER_CHANGE, &message, now)
}

/// Opens a snapshot.
pub(super) fn snapshot_header(now: Now) -> Bytes {
    control(
        SNAPSHOT_HEADER,
        &SnapshotHeaderRecord::default().with_last_contained_log_timestamp(now.wall_ms),
        now,
    )
}

/// Closes a snapshot: one without it is not whole.
pub(super) fn snapshot_footer(now: Now) -> Bytes {
    control(SNAPSHOT_FOOTER, &SnapshotFooterRecord::default(), now)
}
