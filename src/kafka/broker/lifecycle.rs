//! How a broker joins the cluster, stays and leaves: registration, heartbeats, controlled shutdown.
//!
//! ```text
//!   Preparing ──marker gone for good──▶ Registering ──epoch──▶ Fenced ──caught up──▶ Running
//!                                            ▲                    │                     │ SIGTERM
//!                                            └── stale epoch ─────┴─────────────────────┤
//!                                                                        Leaving ◀──────┘
//!                                                                           │ leaderships moved, or too late
//!                                                                           ▼
//!                                                            Syncing ──everything durable──▶ exit
//! ```
//!
//! Knows the controller only as somebody who answers; never moves a leadership itself.
//!
//! Sources: KIP-631 (registration, heartbeats, fencing), KIP-841 (no leader in controlled shutdown), KIP-966
//! (`previous_broker_epoch` tells a clean restart from an unclean one), KAFKA-10471 (the marker goes before anything is
//! written).

use crate::config::NodeConfig;
use crate::machine::{Call, CallResult, Channel, Outbox};
use crate::note::Note;
use crate::types::{BrokerEpoch, Nanos, NodeId, Now, Offset, Uuid};
use crate::wire::error::ErrorCode;
use kafka_protocol::messages::broker_registration_request::Listener;
use kafka_protocol::messages::{BrokerHeartbeatRequest, BrokerId, BrokerRegistrationRequest, ResponseKind};
use kafka_protocol::protocol::StrBytes;

/// Where a broker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The removal of the clean-shutdown marker is not durable yet.
    Preparing,
    /// Nobody knows this incarnation.
    Registering,
    /// Registered; catching up with the metadata log.
    Fenced,
    /// Serving.
    Running,
    /// Controlled shutdown: the controller moves our leaderships away.
    Leaving,
    /// Writing everything down.
    Syncing,
}

/// The lifecycle of one incarnation of a broker.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    phase: Phase,
    incarnation: Uuid,
    directory: Uuid,
    epoch: Option<BrokerEpoch>,
    previous_epoch: Option<BrokerEpoch>,
    /// The next heartbeat or registration; none while one is under way.
    next_beat: Option<Nanos>,
    leave_by: Option<Nanos>,
    /// Requests since the last success that found no controller, or failed.
    failures: u32,
}

/// While something is about to change, or after failures, the controller is asked no later than this, which is sooner
/// than the next interval.
const RETRY_MAX_MS: u64 = 200;
/// After a first failure; doubled with each further one. Mostly the controller has just been elected and is not active
/// yet: Kafka asks such a one again at once, and a node without one is in service all the sooner.
const RETRY_MIN_MS: u64 = 10;

impl Lifecycle {
    /// A broker that starts. `previous_epoch` is what the clean-shutdown marker held: none after an unclean stop.
    pub fn new(incarnation: Uuid, directory: Uuid, previous_epoch: Option<BrokerEpoch>) -> Lifecycle {
        Lifecycle {
            phase: Phase::Preparing,
            incarnation,
            directory,
            epoch: None,
            previous_epoch,
            next_beat: None,
            leave_by: None,
            failures: 0,
        }
    }

    /// How long to wait after one more failure.
    fn backoff_ms(&mut self) -> u64 {
        let wait_ms = RETRY_MIN_MS << self.failures.min(RETRY_MAX_MS.ilog2());
        self.failures += 1;
        wait_ms.min(RETRY_MAX_MS)
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Drawn at the start of the process.
    pub fn incarnation(&self) -> Uuid {
        self.incarnation
    }

    /// The epoch the controller gave this incarnation.
    pub fn epoch(&self) -> Option<BrokerEpoch> {
        self.epoch
    }

    /// The marker's removal is durable: register.
    pub fn on_prepared(&mut self, now: Now) {
        // A SIGTERM may have come first: then nobody registers any more.
        if self.phase == Phase::Preparing {
            self.phase = Phase::Registering;
            self.next_beat = Some(now.mono);
        }
    }

    /// SIGTERM.
    pub fn on_terminate(&mut self, config: &NodeConfig, now: Now, out: &mut Outbox) {
        out.note(Note::ShutdownStarted);
        match self.phase {
            Phase::Running | Phase::Fenced => {
                self.phase = Phase::Leaving;
                self.leave_by = Some(now.mono.plus_ms(config.settings.controlled_shutdown_timeout_ms as u64));
                // At once, not at the next interval; a heartbeat under way is followed by another one.
                if self.next_beat.is_some() {
                    self.next_beat = Some(now.mono);
                }
            }
            Phase::Preparing | Phase::Registering => self.phase = Phase::Syncing,
            Phase::Leaving | Phase::Syncing => {}
        }
    }

    /// When it has something to do.
    pub fn next_deadline(&self) -> Option<Nanos> {
        if matches!(self.phase, Phase::Preparing | Phase::Syncing) {
            return None;
        }
        [self.next_beat, self.leave_by].into_iter().flatten().min()
    }

    /// Does what is due; the controller's id is where to.
    pub fn on_deadline(
        &mut self,
        config: &NodeConfig,
        controller: Option<NodeId>,
        applied: Offset,
        now: Now,
        out: &mut Outbox,
    ) {
        if self.leave_by.is_some_and(|by| by <= now.mono) && self.phase == Phase::Leaving {
            // Kafka goes on with the shutdown: whoever led here is found dead instead of gone.
            self.phase = Phase::Syncing;
        }
        if matches!(self.phase, Phase::Preparing | Phase::Syncing) || self.next_beat.is_none_or(|at| at > now.mono) {
            return;
        }
        let Some(controller) = controller else {
            self.next_beat = Some(now.mono.plus_ms(self.backoff_ms()));
            return;
        };
        self.next_beat = None;
        let timeout_ms = config.settings.broker_session_timeout_ms as u64 / 2;
        let request = match self.epoch {
            None => self.registration(config).into(),
            Some(epoch) => BrokerHeartbeatRequest::default()
                .with_broker_id(BrokerId(config.node_id.0))
                .with_broker_epoch(epoch.0)
                // The offset of the last applied record, as Kafka's brokers report it.
                .with_current_metadata_offset(applied - 1)
                .with_want_shut_down(self.phase == Phase::Leaving)
                .into(),
        };
        out.call(Call {
            to: controller,
            channel: Channel::Heartbeat,
            tag: 0,
            request,
            timeout_ms,
        });
    }

    fn registration(&self, config: &NodeConfig) -> BrokerRegistrationRequest {
        let listener = Listener::default()
            .with_name(StrBytes::from_static_str("PLAINTEXT"))
            .with_host(StrBytes::from_string(config.host.clone()))
            .with_port(config.port);
        BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(config.node_id.0))
            .with_cluster_id(StrBytes::from_string(config.cluster_id.clone()))
            .with_incarnation_id(self.incarnation)
            .with_listeners(vec![listener])
            .with_rack(config.rack.clone().map(StrBytes::from_string))
            .with_log_dirs(vec![self.directory])
            .with_previous_broker_epoch(self.previous_epoch.map_or(-1, |epoch| epoch.0))
    }

    /// The controller answered, or did not. True if the broker just got a new epoch.
    pub fn on_response(&mut self, config: &NodeConfig, result: CallResult, now: Now, out: &mut Outbox) -> bool {
        let interval = config.settings.broker_heartbeat_interval_ms as u64;
        let mut registered = false;
        let again_in = match result {
            Ok(ResponseKind::BrokerRegistration(response)) if response.error_code == 0 => {
                let epoch = BrokerEpoch(response.broker_epoch);
                self.epoch = Some(epoch);
                self.failures = 0;
                registered = true;
                if self.phase == Phase::Registering {
                    self.phase = Phase::Fenced;
                }
                out.note(Note::BrokerRegistered { broker_epoch: epoch });
                0
            }
            Ok(ResponseKind::BrokerHeartbeat(response)) if response.error_code == 0 => {
                let epoch = self.epoch.expect("a heartbeat carries an epoch");
                self.failures = 0;
                match self.phase {
                    Phase::Fenced if !response.is_fenced => {
                        self.phase = Phase::Running;
                        out.note(Note::BrokerUnfenced { broker_epoch: epoch });
                    }
                    Phase::Running if response.is_fenced => self.phase = Phase::Fenced,
                    Phase::Leaving if response.should_shut_down => self.phase = Phase::Syncing,
                    _ => {}
                }
                // While something is about to change, look soon.
                if self.phase == Phase::Running {
                    interval
                } else {
                    interval.min(RETRY_MAX_MS)
                }
            }
            Ok(ResponseKind::BrokerHeartbeat(response))
                if [ErrorCode::STALE_BROKER_EPOCH.0, ErrorCode::BROKER_ID_NOT_REGISTERED.0]
                    .contains(&response.error_code) =>
            {
                // The controller forgot us or knows a later incarnation: ask for an epoch again.
                self.epoch = None;
                match self.phase {
                    Phase::Leaving => self.phase = Phase::Syncing,
                    _ => self.phase = Phase::Registering,
                }
                RETRY_MAX_MS
            }
            _ => self.backoff_ms(),
        };
        self.next_beat = Some(now.mono.plus_ms(again_in));
        registered
    }
}
