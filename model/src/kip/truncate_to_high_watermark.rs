//! `KafkaTruncateToHighWatermark.tla`: before KIP-101, a replica that became follower truncated its log to its own high
//! watermark, which may be behind what it had acknowledged. Elected right after, it has lost committed records.

use super::base::Revision;
use super::state::{Replica, State};

/// Kafka before KIP-101.
#[derive(Clone, Copy, Debug)]
pub struct TruncateToHighWatermark;

impl Revision for TruncateToHighWatermark {
    fn truncation_offset(state: &State, _leader: Replica, follower: Replica) -> Option<u8> {
        Some(state.of(follower).high_watermark)
    }
}
