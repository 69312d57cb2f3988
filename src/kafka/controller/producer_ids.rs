//! Producer ids, given out to brokers in blocks, each id once.
//!
//! Guarantees: a block begins where the one before ended, whoever asks and whoever decides: the record is committed before
//! the answer leaves. A block whose answer was lost is lost with it. Only the current incarnation of a broker gets one.
//!
//! Sources: KIP-730; Kafka's ProducerIdControlManager, ProducerIdsBlock.

use super::{Batch, Controller};
use crate::metadata::Record;
use crate::types::NodeId;
use crate::wire::ErrorCode;
use kafka_protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse, ProducerId};

/// Ids in a block.
const BLOCK_SIZE: i32 = 1_000;

impl Controller {
    pub(super) fn allocate_producer_ids(
        &mut self,
        request: &AllocateProducerIdsRequest,
        batch: &mut Batch<'_>,
    ) -> AllocateProducerIdsResponse {
        let refused = |code: ErrorCode| AllocateProducerIdsResponse::default().with_error_code(code.0);
        let broker = NodeId(request.broker_id.0);
        let Some(broker_epoch) = self.check_broker_epoch(broker, request.broker_epoch) else {
            return refused(ErrorCode::STALE_BROKER_EPOCH);
        };
        let first = self.image.next_producer_id;
        let Some(next_producer_id) = first.checked_add(BLOCK_SIZE.into()) else {
            return refused(ErrorCode::UNKNOWN_SERVER_ERROR);
        };
        let record = Record::ProducerIds {
            broker,
            broker_epoch,
            next_producer_id,
        };
        self.write(record, batch);
        AllocateProducerIdsResponse::default()
            .with_producer_id_start(ProducerId(first))
            .with_producer_id_len(BLOCK_SIZE)
    }
}
