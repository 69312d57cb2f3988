//! `Kip101.tla`: a replica that becomes follower asks the leader for the end offset of the epoch of its last record.
//!
//! Ported as it is published: the answer may lie beyond the follower's own end, where Kafka takes the minimum of both; in
//! the module such a replica cannot become follower. The leader answers from its log whether or not it leads.

use super::base::Revision;
use super::state::{Replica, State};

/// Kafka with KIP-101.
#[derive(Clone, Copy, Debug)]
pub struct Kip101;

impl Revision for Kip101 {
    fn truncation_offset(state: &State, leader: Replica, follower: Replica) -> Option<u8> {
        let offset = match state.log(follower).last() {
            None => 0,
            Some(last) => {
                end_offset_for_epoch(state, leader, last.epoch).unwrap_or_else(|| state.of(follower).high_watermark)
            }
        };
        Some(offset)
    }
}

/// `LookupOffsetForEpoch`: the end of the leader's log if that is the epoch it ends with, else the first offset of a
/// larger epoch; `None` if the leader does not know.
fn end_offset_for_epoch(state: &State, leader: Replica, epoch: u8) -> Option<u8> {
    let log = state.log(leader);
    if log.last()?.epoch == epoch {
        return Some(log.end());
    }
    (0..log.end()).find(|offset| log.get(*offset).is_some_and(|record| record.epoch > epoch))
}
