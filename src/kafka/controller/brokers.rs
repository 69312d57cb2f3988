//! Brokers: registration, heartbeats, fencing, controlled shutdown.
//!
//! ```text
//!   (new) ──register──▶ FENCED ──caught up──▶ UNFENCED ──wants to go, leads──▶ CONTROLLED_SHUTDOWN
//!                         ▲  │                  │ │ silent, or wants it               │ leads nothing, and all
//!                         │  │ wants to go      │ └──────────▶ FENCED                 │ others know that
//!                         │  └────────────▶ SHUTDOWN_NOW ◀────┴───────────────────────┘
//!                         └──register, other incarnation── any state, if the session is over or it was leaving
//! ```
//!
//! Guarantees: a broker that is fenced or leaving is in no ISR; one that came back without saying that it left in
//! order is in no ELR either (KIP-966); an answer to a heartbeat never speaks of another incarnation.
//!
//! Sources: KIP-631, KIP-841, KIP-966; `ClusterControlManager.registerBroker`, `BrokerHeartbeatManager`.

use super::partitions::Departure;
use super::{Batch, Controller};
use crate::metadata::{BrokerRegistration, Record};
use crate::types::{BrokerEpoch, NodeId, Now};
use crate::wire::ErrorCode;
use kafka_protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
};

/// What a broker may do, as far as its heartbeats are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BrokerControlState {
    Fenced,
    Unfenced,
    ControlledShutdown,
    ShutdownNow,
}

impl Controller {
    pub(super) fn register_broker(
        &mut self,
        now: Now,
        request: &BrokerRegistrationRequest,
        batch: &mut Batch<'_>,
    ) -> BrokerRegistrationResponse {
        match self.try_register_broker(now, request, batch) {
            Ok(epoch) => BrokerRegistrationResponse::default().with_broker_epoch(epoch.0),
            Err(code) => BrokerRegistrationResponse::default()
                .with_error_code(code.0)
                .with_broker_epoch(-1),
        }
    }

    fn try_register_broker(
        &mut self,
        now: Now,
        request: &BrokerRegistrationRequest,
        batch: &mut Batch<'_>,
    ) -> Result<BrokerEpoch, ErrorCode> {
        let broker = NodeId(request.broker_id.0);
        if self
            .cluster_id
            .as_ref()
            .is_some_and(|ours| *ours != request.cluster_id.as_str())
        {
            return Err(ErrorCode::INCONSISTENT_CLUSTER_ID);
        }
        if request.is_migrating_zk_broker {
            return Err(ErrorCode::BROKER_ID_NOT_REGISTERED);
        }
        let listener = request.listeners.first().ok_or(ErrorCode::INVALID_REGISTRATION)?;
        if broker.0 < 0 {
            return Err(ErrorCode::INVALID_REGISTRATION);
        }
        let existing = self.image.brokers.get(&broker).cloned();
        let registration = BrokerRegistration {
            id: broker,
            epoch: BrokerEpoch(0),
            incarnation: request.incarnation_id,
            host: listener.host.to_string(),
            port: listener.port,
            rack: request.rack.as_ref().map(|rack| rack.to_string()),
            fenced: true,
            in_controlled_shutdown: false,
        };
        if let Some(existing) = existing
            .as_ref()
            .filter(|existing| existing.incarnation == request.incarnation_id)
        {
            // The same process again: it keeps its epoch and its standing, and may only say more about itself.
            let BrokerRegistration {
                epoch,
                fenced,
                in_controlled_shutdown,
                ..
            } = *existing;
            let amended = BrokerRegistration {
                epoch,
                fenced,
                in_controlled_shutdown,
                ..registration
            };
            if amended != *existing {
                self.write_registration(amended, batch);
            }
            self.sessions.touch(broker, -1, now.mono);
            return Ok(epoch);
        }
        if self.sessions.is_valid(broker, &self.image, now.mono)
            && existing
                .as_ref()
                .is_some_and(|existing| !existing.in_controlled_shutdown)
        {
            return Err(ErrorCode::DUPLICATE_BROKER_REGISTRATION);
        }
        // It left in order if it remembers the epoch that we know last: only then is all on its disk that it had.
        let is_clean = existing.is_some_and(|existing| existing.epoch.0 == request.previous_broker_epoch);
        if is_clean || !self.elr_enabled() {
            let held = self.partitions_where(|state| state.isr.contains(&broker));
            self.update_partitions(&held, Some(Departure::Clean(broker)), batch);
        } else {
            let held = self.partitions_where(|state| state.isr.contains(&broker) || state.elr.contains(&broker));
            self.update_partitions(&held, Some(Departure::Unclean(broker)), batch);
        }
        let epoch = BrokerEpoch(batch.next_offset());
        self.write_registration(BrokerRegistration { epoch, ..registration }, batch);
        self.sessions.open(broker, now.mono);
        Ok(epoch)
    }

    fn write_registration(&mut self, registration: BrokerRegistration, batch: &mut Batch<'_>) {
        let BrokerRegistration {
            id,
            epoch,
            incarnation,
            host,
            port,
            rack,
            fenced,
            in_controlled_shutdown,
        } = registration;
        let record = Record::RegisterBroker {
            broker: id,
            broker_epoch: epoch,
            incarnation,
            host,
            port,
            rack,
            fenced,
            in_controlled_shutdown,
        };
        self.write(record, batch);
    }

    pub(super) fn heartbeat(
        &mut self,
        now: Now,
        request: &BrokerHeartbeatRequest,
        batch: &mut Batch<'_>,
    ) -> BrokerHeartbeatResponse {
        use BrokerControlState::*;
        let broker = NodeId(request.broker_id.0);
        let Some(epoch) = self.check_broker_epoch(broker, request.broker_epoch) else {
            return BrokerHeartbeatResponse::default().with_error_code(ErrorCode::STALE_BROKER_EPOCH.0);
        };
        let next = self.next_state(now, broker, epoch, request);
        match next {
            Fenced | ShutdownNow => self.fence(broker, batch),
            Unfenced => self.unfence(broker, epoch, batch),
            ControlledShutdown => self.start_controlled_shutdown(now, broker, epoch, batch),
        }
        let is_fenced = matches!(next, Fenced | ShutdownNow);
        self.sessions.touch(broker, request.current_metadata_offset, now.mono);
        BrokerHeartbeatResponse::default()
            .with_is_caught_up(request.current_metadata_offset >= epoch.0)
            .with_is_fenced(is_fenced)
            .with_should_shut_down(next == ShutdownNow)
    }

    /// The epoch, if the broker is registered with it.
    pub(super) fn check_broker_epoch(&self, broker: NodeId, epoch: i64) -> Option<BrokerEpoch> {
        self.image
            .brokers
            .get(&broker)
            .map(|broker| broker.epoch)
            .filter(|known| known.0 == epoch)
    }

    fn next_state(
        &mut self,
        now: Now,
        broker: NodeId,
        epoch: BrokerEpoch,
        request: &BrokerHeartbeatRequest,
    ) -> BrokerControlState {
        use BrokerControlState::*;
        let shutdown_offset = self.sessions.get_mut(broker, now.mono).controlled_shutdown_offset;
        if let Some(offset) = shutdown_offset {
            // The others must know their new leaderships, or partitions would be without one for a while.
            let may_go = !self.has_leaderships(broker) && offset <= self.sessions.lowest_active_offset(&self.image);
            return if may_go { ShutdownNow } else { ControlledShutdown };
        }
        if self.image.brokers[&broker].fenced {
            return match (request.want_shut_down, request.want_fence) {
                (true, _) => ShutdownNow,
                (false, false) if request.current_metadata_offset >= epoch.0 => Unfenced,
                _ => Fenced,
            };
        }
        match (request.want_fence, request.want_shut_down) {
            (true, true) => ShutdownNow,
            (true, false) => Fenced,
            (false, true) if self.has_leaderships(broker) => ControlledShutdown,
            (false, true) => ShutdownNow,
            (false, false) => Unfenced,
        }
    }

    fn has_leaderships(&self, broker: NodeId) -> bool {
        let mut partitions = self.image.topics.values().flat_map(|topic| topic.partitions.values());
        partitions.any(|state| state.leader == Some(broker))
    }

    /// Out of every ISR, then fenced. Nothing if it is.
    pub(super) fn fence(&mut self, broker: NodeId, batch: &mut Batch<'_>) {
        let Some(registration) = self.image.brokers.get(&broker).filter(|broker| !broker.fenced) else {
            return;
        };
        let broker_epoch = registration.epoch;
        let held = self.partitions_where(|state| state.isr.contains(&broker));
        self.update_partitions(&held, Some(Departure::Clean(broker)), batch);
        let fenced = Some(true);
        let record = Record::BrokerRegistrationChange {
            broker,
            broker_epoch,
            fenced,
            in_controlled_shutdown: None,
        };
        self.write(record, batch);
        self.sessions.fence(broker);
    }

    /// Unfenced, then leader of whatever waited for it. Nothing if it is.
    fn unfence(&mut self, broker: NodeId, broker_epoch: BrokerEpoch, batch: &mut Batch<'_>) {
        if !self.image.brokers[&broker].fenced {
            return;
        }
        let fenced = Some(false);
        let record = Record::BrokerRegistrationChange {
            broker,
            broker_epoch,
            fenced,
            in_controlled_shutdown: None,
        };
        self.write(record, batch);
        let leaderless = self.partitions_where(|state| state.leader.is_none() && state.replicas.contains(&broker));
        self.update_partitions(&leaderless, None, batch);
    }

    fn start_controlled_shutdown(
        &mut self,
        now: Now,
        broker: NodeId,
        broker_epoch: BrokerEpoch,
        batch: &mut Batch<'_>,
    ) {
        if !self.image.brokers[&broker].in_controlled_shutdown {
            let in_controlled_shutdown = Some(true);
            let record = Record::BrokerRegistrationChange {
                broker,
                broker_epoch,
                fenced: None,
                in_controlled_shutdown,
            };
            self.write(record, batch);
        }
        let held = self.partitions_where(|state| state.isr.contains(&broker));
        self.update_partitions(&held, Some(Departure::Clean(broker)), batch);
        let last = batch.next_offset() - 1;
        self.sessions
            .get_mut(broker, now.mono)
            .controlled_shutdown_offset
            .get_or_insert(last);
    }
}
