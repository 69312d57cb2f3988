//! The metadata log as the nodes have it, and what of it is committed: what the controller has really decided.
//!
//! ```text
//!   a node's notes: appended, truncated ──▶ its copy of the log
//!   its note that metadata is applied    ──▶ all of its copy below is committed ──▶ decided batches, each once
//! ```
//!
//! A decision that is never committed never happened: whoever was told of it was told after the commit.
//!
//! Sources: KIP-595, KIP-631.

use bytes::Bytes;
use kafka::metadata::Record;
use kafka::types::Offset;
use kafka::wire::batch;

/// Bit of a batch's attributes that marks control records.
const CONTROL_BIT: i16 = 0x20;

#[derive(Clone, Debug)]
struct Batch {
    base: Offset,
    last: Offset,
    bytes: Bytes,
}

/// Copies of the metadata log above what is committed.
#[derive(Clone, Debug)]
pub(super) struct MetadataLog {
    copies: Vec<Vec<Batch>>,
    committed: Offset,
}

impl MetadataLog {
    /// Empty copies on so many nodes.
    pub fn new(nodes: usize) -> MetadataLog {
        MetadataLog {
            copies: vec![Vec::new(); nodes],
            committed: 0,
        }
    }

    /// A node has added a batch to its copy.
    pub fn appended(&mut self, node: usize, base: Offset, last: Offset, bytes: &Bytes) {
        self.truncated(node, base);
        if last >= self.committed {
            let bytes = bytes.clone();
            self.copies[node].push(Batch { base, last, bytes });
        }
    }

    /// A node has cut its copy.
    pub fn truncated(&mut self, node: usize, to: Offset) {
        self.copies[node].retain(|batch| batch.base < to);
    }

    /// A node's copy was read again from its disk.
    pub fn read_again(&mut self, node: usize, batches: &Bytes) {
        self.copies[node].clear();
        for batch in batch::batches(batches) {
            let Ok((header, bytes)) = batch else { return };
            self.appended(node, header.base_offset, header.last_offset(), &bytes);
        }
    }

    /// A node has applied all below `end`: the batches that are committed by that and were not before, each with its
    /// records. Where its copy has a gap, since a step of it was never told, others will say what is there.
    pub fn applied(&mut self, node: usize, end: Offset) -> Vec<Vec<Record>> {
        let mut decided = Vec::new();
        for batch in &self.copies[node] {
            if batch.base != self.committed || batch.last >= end {
                continue;
            }
            self.committed = batch.last + 1;
            decided.push(records(&batch.bytes));
        }
        if !decided.is_empty() {
            let committed = self.committed;
            self.copies
                .iter_mut()
                .for_each(|copy| copy.retain(|batch| batch.last >= committed));
        }
        decided
    }
}

fn records(bytes: &Bytes) -> Vec<Record> {
    let header = batch::BatchHeader::parse(bytes);
    if header.is_ok_and(|header| header.attributes & CONTROL_BIT != 0) {
        return Vec::new();
    }
    let values = batch::records(bytes).filter_map(|record| record.ok()?.value);
    values.filter_map(|value| Record::decode(&value).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(log: &mut MetadataLog, node: usize, base: Offset, what: &'static [u8]) {
        log.appended(node, base, base, &Bytes::from_static(what));
    }

    #[test]
    fn what_is_cut_before_it_is_committed_was_never_decided() {
        let mut log = MetadataLog::new(2);
        at(&mut log, 0, 0, b"a");
        at(&mut log, 0, 1, b"lost");
        at(&mut log, 1, 0, b"a");
        at(&mut log, 1, 1, b"b");
        assert_eq!(log.applied(1, 1).len(), 1);
        assert_eq!(log.applied(0, 1).len(), 0, "each once");
        assert_eq!(log.applied(1, 2).len(), 1);
        log.truncated(0, 1);
        at(&mut log, 0, 1, b"b");
        at(&mut log, 0, 2, b"c");
        assert_eq!(log.applied(0, 3).len(), 1);
    }

    #[test]
    fn a_gap_waits_for_a_node_that_has_none() {
        let mut log = MetadataLog::new(2);
        at(&mut log, 0, 1, b"b");
        assert_eq!(log.applied(0, 2).len(), 0);
        at(&mut log, 1, 0, b"a");
        at(&mut log, 1, 1, b"b");
        assert_eq!(log.applied(1, 2).len(), 2);
    }
}
