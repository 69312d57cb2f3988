//! The pattern of everything that decides through a log: a request gives records and a response, a record replays
//! into state.
//!
//! ```text
//!   request ──▶ decide ──▶ records ──▶ log ──▶ committed ──▶ the response leaves
//!                 │           └──▶ replay (at once: the next decision sees this one)
//!                 └──▶ response, which waits
//! ```
//!
//! Guarantees asked of an implementation: what matters after a failover is in the records alone; `decide` has replayed
//! its records when it returns; replaying the same records gives the same state on any node.
//! Deliberately does not know: how records are appended and when they are committed. If they cannot be, the
//! coordinator has state that never happened and must be thrown away.
//!
//! Sources: Kafka's `CoordinatorResult`, `ControllerResult`.

use crate::machine::Outbox;
use crate::types::{NodeId, Now, Offset};

/// What a request leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<Record, Response> {
    /// To be appended in this order, in one piece; maybe none.
    pub records: Vec<Record>,
    /// To be sent once everything below the end of the log (these records included) is committed.
    pub response: Response,
}

/// Decides through records.
pub trait Coordinator {
    /// What is asked.
    type Request;
    /// What is written.
    type Record;
    /// What is answered.
    type Response;

    /// Decides one request. The records will stand in the log from `next_offset` on; they are already replayed.
    /// `from` is the peer if it is a node of the cluster.
    fn decide(
        &mut self,
        now: Now,
        from: Option<NodeId>,
        request: &Self::Request,
        next_offset: Offset,
        out: &mut Outbox,
    ) -> Decision<Self::Record, Self::Response>;

    /// Takes over a record that stands at `offset`.
    fn replay(&mut self, record: &Self::Record, offset: Offset);
}
