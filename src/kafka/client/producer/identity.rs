//! The id and epoch of an idempotent producer: asked for, and moved on when a partition cannot go on in the old epoch.
//!
//! ```text
//!   none ─InitProducerId─▶ (id, 0) ─a partition's epoch is over─▶ (id, 1) ... (id, 32767) ─▶ none
//! ```
//!
//! Guarantees: no two epochs of an id are the same; one request at a time; a refusal or a lost answer is followed by
//! another request. The epoch moves on without asking anybody, as in Kafka: the id is this producer's alone.
//!
//! Sources: Kafka 4.1 `TransactionManager.bumpIdempotentEpochAndResetIdIfNeeded`; KIP-360, KAFKA-18660 (last epoch).

use super::sequences::Identity;
use crate::client::backoff::delay_ms;
use crate::client::config::ProducerSettings;
use crate::machine::Entropy;
use crate::types::{Nanos, Now};
use kafka_protocol::messages::{InitProducerIdRequest, RequestKind, ResponseKind};

/// An idempotent producer's.
#[derive(Clone, Debug, Default)]
pub struct ProducerIdentity {
    current: Option<Identity>,
    /// The request under way.
    asked: Option<u64>,
    /// In a row.
    failures: u32,
    retry_at: Nanos,
}

impl ProducerIdentity {
    /// Id and epoch; none before the first answer.
    pub fn current(&self) -> Option<Identity> {
        self.current
    }

    /// When it is to be asked for; none if it is known or has been asked for.
    pub fn due(&self) -> Option<Nanos> {
        (self.current.is_none() && self.asked.is_none()).then_some(self.retry_at)
    }

    /// What to ask.
    pub fn request() -> RequestKind {
        InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(i32::MAX)
            .into()
    }

    /// It was asked.
    pub fn asked(&mut self, tag: u64) {
        self.asked = Some(tag);
    }

    /// Takes the outcome of a request, if it is ours.
    pub fn answered(
        &mut self,
        tag: u64,
        response: Option<&ResponseKind>,
        settings: &ProducerSettings,
        now: Now,
        entropy: &mut Entropy,
    ) -> bool {
        if self.asked != Some(tag) {
            return false;
        }
        self.asked = None;
        match response {
            Some(ResponseKind::InitProducerId(answer)) if answer.error_code == 0 => {
                self.current = Some((answer.producer_id.0, answer.producer_epoch));
                self.failures = 0;
            }
            _ => {
                self.failures += 1;
                let (first, longest) = (settings.retry_backoff_ms, settings.retry_backoff_max_ms);
                self.retry_at = now.mono.plus_ms(delay_ms(first, longest, self.failures, entropy));
            }
        }
        true
    }

    /// A partition cannot go on in this epoch.
    pub fn is_over(&mut self, epoch: Identity) {
        if self.current == Some(epoch) {
            self.current = epoch.1.checked_add(1).map(|next| (epoch.0, next));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_once_and_behind_the_last_one_is_another_id() {
        let mut identity = ProducerIdentity {
            current: Some((7, i16::MAX - 1)),
            ..ProducerIdentity::default()
        };
        identity.is_over((7, i16::MAX - 1));
        identity.is_over((7, i16::MAX - 1));
        assert_eq!(identity.current(), Some((7, i16::MAX)), "told twice, by two partitions");
        identity.is_over((7, i16::MAX));
        assert_eq!((identity.current(), identity.due()), (None, Some(Nanos(0))));
    }
}
