//! Producer ids that this broker hands out to idempotent producers, out of blocks that the controller gives it.
//!
//! ```text
//!   InitProducerId ─▶ an id is at hand ───────────────────────────────▶ the id, epoch 0
//!                     └▶ none is: AllocateProducerIds to the controller ▶ COORDINATOR_LOAD_IN_PROGRESS, try again
//! ```
//!
//! Guarantees: each id is handed out once. The next block is asked for when the last tenth of the current one begins, one
//! request at a time, and after a failure not again for a moment. What is left of a block dies with the process.
//!
//! Deliberately unknown: transactional ids. There is no coordinator for them here, and that is what they are told.
//!
//! Sources: KIP-730; Kafka's RPCProducerIdManager, TransactionCoordinator.handleInitProducerId.

use crate::machine::{Call, CallResult, Channel, Outbox};
use crate::types::{BrokerEpoch, Nanos, NodeId, Now};
use crate::wire::ErrorCode;
use kafka_protocol::messages::{
    AllocateProducerIdsRequest, BrokerId, InitProducerIdRequest, InitProducerIdResponse, ProducerId, ResponseKind,
};

/// A failed request for a block is followed by another one after this.
const RETRY_MS: u64 = 50;
/// A request for a block without answer for this long is given up.
const TIMEOUT_MS: u64 = 30_000;

/// Ids from `next` to `end`, exclusive.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    next: i64,
    end: i64,
    /// The id at which the block after this one is asked for.
    prefetch_at: i64,
}

impl Block {
    /// `None` if there can be no such block.
    fn new(first: i64, len: i32) -> Option<Block> {
        let end = first.checked_add(len.into())?;
        (first >= 0 && len > 0).then_some(Block {
            next: first,
            end,
            prefetch_at: first + i64::from(len) * 9 / 10,
        })
    }
}

/// The ids at hand.
#[derive(Clone, Debug, Default)]
pub struct ProducerIds {
    current: Block,
    following: Option<Block>,
    is_asked: bool,
    retry_at: Option<Nanos>,
}

/// Who gives blocks, and to which incarnation of ours.
pub type Controller = (NodeId, BrokerEpoch);

impl ProducerIds {
    /// The answer to a client. `controller`: none if there is none, or if it does not know us yet.
    pub fn init(
        &mut self,
        request: &InitProducerIdRequest,
        node: NodeId,
        controller: Option<Controller>,
        now: Now,
        out: &mut Outbox,
    ) -> InitProducerIdResponse {
        let refused = |code: ErrorCode| {
            InitProducerIdResponse::default()
                .with_error_code(code.0)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1)
        };
        if (request.producer_id.0 == -1) != (request.producer_epoch == -1) {
            return refused(ErrorCode::INVALID_REQUEST);
        }
        match &request.transactional_id {
            Some(id) if id.is_empty() => return refused(ErrorCode::INVALID_REQUEST),
            Some(_) => return refused(ErrorCode::NOT_COORDINATOR),
            None => {}
        }
        match self.generate(node, controller, now, out) {
            Some(id) => InitProducerIdResponse::default()
                .with_producer_id(ProducerId(id))
                .with_producer_epoch(0),
            None => refused(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
        }
    }

    fn generate(&mut self, node: NodeId, controller: Option<Controller>, now: Now, out: &mut Outbox) -> Option<i64> {
        if self.current.next >= self.current.end
            && let Some(following) = self.following.take()
        {
            self.current = following;
        }
        let id = (self.current.next < self.current.end).then_some(self.current.next);
        self.current.next += i64::from(id.is_some());
        let is_due = id.is_none_or(|id| id == self.current.prefetch_at) && self.following.is_none();
        if is_due
            && !self.is_asked
            && self.retry_at.is_none_or(|at| at <= now.mono)
            && let Some((to, broker_epoch)) = controller
        {
            (self.is_asked, self.retry_at) = (true, None);
            let request = AllocateProducerIdsRequest::default()
                .with_broker_id(BrokerId(node.0))
                .with_broker_epoch(broker_epoch.0);
            out.call(Call {
                to,
                channel: Channel::ProducerIds,
                tag: 0,
                request: request.into(),
                timeout_ms: TIMEOUT_MS,
            });
        }
        id
    }

    /// The controller's answer, or that there is none.
    pub fn on_response(&mut self, result: CallResult, now: Now) {
        self.is_asked = false;
        self.following = match result {
            Ok(ResponseKind::AllocateProducerIds(response)) if response.error_code == 0 => {
                // One that lies below what we have is not ours to hand out.
                let block = Block::new(response.producer_id_start.0, response.producer_id_len);
                block.filter(|block| block.next >= self.current.end)
            }
            _ => None,
        };
        if self.following.is_none() {
            self.retry_at = Some(now.mono.plus_ms(RETRY_MS));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::CallFailed;
    use kafka_protocol::messages::{AllocateProducerIdsResponse, RequestKind, TransactionalId};
    use kafka_protocol::protocol::StrBytes;

    const CONTROLLER: Controller = (NodeId(2), BrokerEpoch(8));

    fn at(ms: u64) -> Now {
        Now {
            mono: Nanos::from_ms(ms),
            wall_ms: 0,
        }
    }

    /// The error and the id that a producer gets, and whether a block was asked for.
    fn init(ids: &mut ProducerIds, ms: u64) -> (ErrorCode, i64, bool) {
        let mut out = Outbox::default();
        let request = InitProducerIdRequest::default().with_transactional_id(None);
        let response = ids.init(&request, NodeId(1), Some(CONTROLLER), at(ms), &mut out);
        for call in &out.calls {
            let RequestKind::AllocateProducerIds(request) = &call.request else {
                panic!("{call:?}")
            };
            assert_eq!((call.to, request.broker_id.0, request.broker_epoch), (NodeId(2), 1, 8));
        }
        (
            ErrorCode(response.error_code),
            response.producer_id.0,
            !out.calls.is_empty(),
        )
    }

    fn give(ids: &mut ProducerIds, first: i64, len: i32) {
        let response = AllocateProducerIdsResponse::default()
            .with_producer_id_start(ProducerId(first))
            .with_producer_id_len(len);
        ids.on_response(Ok(response.into()), at(0));
    }

    const LOADING: ErrorCode = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;

    #[test]
    fn ids_come_from_blocks_each_once_and_the_next_block_is_asked_for_in_time() {
        let mut ids = ProducerIds::default();
        assert_eq!(init(&mut ids, 0), (LOADING, -1, true));
        assert_eq!(init(&mut ids, 0), (LOADING, -1, false), "it has been asked for");
        give(&mut ids, 3_000, 10);
        for id in 3_000..3_009 {
            assert_eq!(init(&mut ids, 0), (ErrorCode::NONE, id, false));
        }
        assert_eq!(init(&mut ids, 0), (ErrorCode::NONE, 3_009, true));
        assert_eq!(init(&mut ids, 0), (LOADING, -1, false));
        give(&mut ids, 5_000, 10);
        assert_eq!(init(&mut ids, 0), (ErrorCode::NONE, 5_000, false));
    }

    #[test]
    fn after_a_failure_there_is_a_pause_and_what_cannot_be_is_not_taken() {
        let mut ids = ProducerIds::default();
        init(&mut ids, 0);
        ids.on_response(Err(CallFailed::Disconnected), at(10));
        assert_eq!(init(&mut ids, 59), (LOADING, -1, false));
        assert_eq!(init(&mut ids, 60), (LOADING, -1, true));
        for (first, len) in [(-5, 10), (0, 0), (0, -1), (i64::MAX, 10)] {
            give(&mut ids, first, len);
            assert_eq!(init(&mut ids, 10_000).0, LOADING, "{first} and {len} more");
        }
        give(&mut ids, 100, 1);
        assert_eq!(init(&mut ids, 20_000).1, 100);
        give(&mut ids, 90, 5);
        assert_eq!(init(&mut ids, 30_000).1, -1, "below what was given before");
    }

    #[test]
    fn without_a_controller_nobody_is_asked() {
        let (mut ids, mut out) = (ProducerIds::default(), Outbox::default());
        let request = InitProducerIdRequest::default().with_transactional_id(None);
        let response = ids.init(&request, NodeId(1), None, at(0), &mut out);
        assert_eq!((ErrorCode(response.error_code), out.calls.len()), (LOADING, 0));
    }

    #[test]
    fn transactional_ids_and_half_an_identity_are_refused() {
        let (mut ids, mut out) = (ProducerIds::default(), Outbox::default());
        give(&mut ids, 0, 10);
        let mut ask = |id: Option<&'static str>, producer_id, epoch| {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(id.map(|id| TransactionalId(StrBytes::from_static_str(id))))
                .with_producer_id(ProducerId(producer_id))
                .with_producer_epoch(epoch);
            let response = ids.init(&request, NodeId(1), Some(CONTROLLER), at(0), &mut out);
            (ErrorCode(response.error_code), response.producer_id.0)
        };
        assert_eq!(ask(Some("t"), -1, -1), (ErrorCode::NOT_COORDINATOR, -1));
        assert_eq!(ask(Some(""), -1, -1), (ErrorCode::INVALID_REQUEST, -1));
        assert_eq!(ask(None, 5, -1), (ErrorCode::INVALID_REQUEST, -1));
        assert_eq!(ask(None, -1, 5), (ErrorCode::INVALID_REQUEST, -1));
        // Who had an id before gets another one.
        assert_eq!(ask(None, 5, 5), (ErrorCode::NONE, 0));
    }
}
