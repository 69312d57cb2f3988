//! A 64-bit digest of a set of entries that follows one change in one entry's time.
//!
//! Guarantees: the digest of an image is the wrapping sum of its entries' digests, so the order of changes does not
//! matter and an entry can be taken out again; the same on every machine. Not made to resist an adversary.

use super::image::BrokerRegistration;
use super::record::Reassignment;
use crate::note::PartitionState;
use crate::types::{NodeId, Uuid};

/// Collects the words of one entry.
struct Entry(u64);

impl Entry {
    fn word(mut self, word: u64) -> Entry {
        // The round of splitmix64, with the word fed in before each.
        let mut z = (self.0 ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.0 = z ^ (z >> 31);
        self
    }

    fn text(self, text: &str) -> Entry {
        let mut entry = self.word(text.len() as u64);
        for chunk in text.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            entry = entry.word(u64::from_le_bytes(word));
        }
        entry
    }

    fn uuid(self, id: Uuid) -> Entry {
        let (high, low) = id.as_u64_pair();
        self.word(high).word(low)
    }

    fn nodes(self, nodes: &[NodeId]) -> Entry {
        nodes
            .iter()
            .fold(self.word(nodes.len() as u64), |entry, node| entry.word(node.0 as u64))
    }
}

pub(super) fn broker(broker: &BrokerRegistration) -> u64 {
    let entry = Entry(1)
        .word(broker.id.0 as u64)
        .word(broker.epoch.0 as u64)
        .uuid(broker.incarnation)
        .text(&broker.host)
        .word(u64::from(broker.port))
        .word(u64::from(broker.fenced) << 1 | u64::from(broker.in_controlled_shutdown));
    match &broker.rack {
        Some(rack) => entry.word(1).text(rack).0,
        None => entry.word(0).0,
    }
}

pub(super) fn topic(id: Uuid, name: &str) -> u64 {
    Entry(2).uuid(id).text(name).0
}

pub(super) fn partition(topic: Uuid, index: i32, state: &PartitionState) -> u64 {
    Entry(3)
        .uuid(topic)
        .word(index as u64)
        .word(state.leader.map_or(u64::MAX, |leader| leader.0 as u64))
        .word((state.leader_epoch.0 as u64) << 32 | u64::from(state.partition_epoch.0 as u32))
        .nodes(&state.replicas)
        .nodes(&state.isr)
        .nodes(&state.elr)
        .0
}

pub(super) fn last_known_elr(topic: Uuid, index: i32, nodes: &[NodeId]) -> u64 {
    Entry(4).uuid(topic).word(index as u64).nodes(nodes).0
}

pub(super) fn producer_ids(next: i64) -> u64 {
    match next {
        0 => 0,
        next => Entry(6).word(next as u64).0,
    }
}

pub(super) fn config(topic: &str, name: &str, value: &str) -> u64 {
    Entry(5).text(topic).text(name).text(value).0
}

pub(super) fn reassignment(topic: Uuid, index: i32, reassignment: &Reassignment) -> u64 {
    Entry(6)
        .uuid(topic)
        .word(index as u64)
        .nodes(&reassignment.adding)
        .nodes(&reassignment.removing)
        .0
}
