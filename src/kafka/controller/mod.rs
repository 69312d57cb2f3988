//! The active controller: it alone decides which brokers live, who leads, who is in sync, and which topics exist.
//!
//! ```text
//!   request ─▶ brokers │ isr │ topics │ elections │ configs │ producer_ids ─▶ records + response
//!                 └────── partition_change: ISR, ELR, leader ──────┘
//! ```
//!
//! Guarantees: every decision is a list of records, replayed into the controller's own image before the call returns;
//! each touched partition is well-formed afterwards (asserted: ISR and ELR are disjoint sets of replicas, the leader is
//! in the ISR, nobody fenced or leaving is in the ISR, the ELR is empty if the ISR is large enough; each change bumps
//! the partition epoch by one, each new leader the leader epoch).
//! Deliberately does not know: how records are committed. An image with records that were not is thrown away with
//! the controller. All that is not in records are sessions, which start anew after a failover.
//! Not built: features, log directories, quotas.
//!
//! Sources: KIP-631, KIP-497, KIP-841, KIP-903, KIP-966, KIP-455; `QuorumController` and its control managers.

mod brokers;
mod configs;
mod elections;
mod isr;
mod partition_change;
mod partitions;
mod placement;
mod producer_ids;
mod reassignments;
mod sessions;
mod topics;

#[cfg(test)]
mod tests;

use crate::config::Settings;
use crate::coordinator::{self, Coordinator};
use crate::machine::{Entropy, Outbox};
use crate::metadata::{MetadataDelta, MetadataImage, Record};
use crate::note::Note;
use crate::rules::{Rule, Rules};
use crate::types::{LeaderEpoch, Nanos, NodeId, Now, Offset, TopicPartition};
use crate::wire::ErrorCode;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use sessions::{Sessions, after};

/// Records and the answer that waits for them.
pub type Decision = coordinator::Decision<Record, ResponseKind>;

/// Why a part of a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    code: ErrorCode,
    message: Option<String>,
}

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal {
            code,
            message: Some(message.into()),
        }
    }

    fn message(&self) -> Option<StrBytes> {
        self.message.clone().map(StrBytes::from_string)
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Refusal {
        Refusal { code, message: None }
    }
}

/// The records of one decision while it is made.
struct Batch<'a> {
    first_offset: Offset,
    records: Vec<Record>,
    touched: MetadataDelta,
    out: &'a mut Outbox,
}

impl Batch<'_> {
    fn new(first_offset: Offset, out: &mut Outbox) -> Batch<'_> {
        Batch {
            first_offset,
            records: Vec::new(),
            touched: MetadataDelta::default(),
            out,
        }
    }

    /// Where the next record will stand.
    fn next_offset(&self) -> Offset {
        self.first_offset + self.records.len() as Offset
    }
}

/// The active controller, for one quorum epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Controller {
    /// Committed records and our own.
    image: MetadataImage,
    settings: Settings,
    rules: Rules,
    entropy: Entropy,
    epoch: LeaderEpoch,
    /// None: registrations are not checked against it.
    cluster_id: Option<String>,
    sessions: Sessions,
    /// When leaders are next moved back to preferred replicas.
    next_balance: Option<Nanos>,
    /// When a record of nothing is due.
    next_no_op: Option<Nanos>,
    /// The earliest of what time can bring.
    deadline: Option<Nanos>,
}

/// Whether the active controller answers this kind of request.
pub fn is_metadata_request(request: &RequestKind) -> bool {
    matches!(
        request,
        RequestKind::BrokerRegistration(_)
            | RequestKind::BrokerHeartbeat(_)
            | RequestKind::AlterPartition(_)
            | RequestKind::CreateTopics(_)
            | RequestKind::DeleteTopics(_)
            | RequestKind::CreatePartitions(_)
            | RequestKind::ElectLeaders(_)
            | RequestKind::AlterConfigs(_)
            | RequestKind::AlterPartitionReassignments(_)
            | RequestKind::ListPartitionReassignments(_)
            | RequestKind::IncrementalAlterConfigs(_)
            | RequestKind::AllocateProducerIds(_)
    )
}

fn every(interval_ms: i64, now: Now) -> Option<Nanos> {
    (interval_ms > 0).then(|| after(now.mono, interval_ms))
}

impl Controller {
    /// Takes over from `image`, which holds everything that is committed. Every registered broker gets a whole session.
    pub fn activate(
        image: MetadataImage,
        settings: &Settings,
        rules: Rules,
        entropy: Entropy,
        now: Now,
        epoch: LeaderEpoch,
    ) -> Controller {
        let sessions = Sessions::start(&image, settings.broker_session_timeout_ms, now.mono);
        let mut controller = Controller {
            image,
            settings: settings.clone(),
            rules,
            entropy,
            epoch,
            cluster_id: None,
            sessions,
            next_balance: every(settings.leader_imbalance_check_interval_ms, now),
            next_no_op: every(settings.metadata_max_idle_interval_ms, now),
            deadline: None,
        };
        controller.update_deadline();
        controller
    }

    /// Refuses brokers of any other cluster.
    #[must_use]
    pub fn of_cluster(mut self, cluster_id: &str) -> Controller {
        self.cluster_id = Some(cluster_id.to_owned());
        self
    }

    /// What the controller goes by: committed records and its own.
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// When [`Controller::on_deadline`] has something to do.
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.deadline
    }

    /// Decides one request, of which [`is_metadata_request`] must hold. The records will stand in the log from
    /// `next_offset` on and are already part of the image; the response may leave once they are committed.
    pub fn decide(
        &mut self,
        now: Now,
        _from: Option<NodeId>,
        request: &RequestKind,
        next_offset: Offset,
        out: &mut Outbox,
    ) -> Decision {
        assert!(next_offset >= self.image.offset, "the image is ahead of the log");
        let mut batch = Batch::new(next_offset, out);
        let response: ResponseKind = match request {
            RequestKind::BrokerRegistration(request) => self.register_broker(now, request, &mut batch).into(),
            RequestKind::BrokerHeartbeat(request) => self.heartbeat(now, request, &mut batch).into(),
            RequestKind::AlterPartition(request) => self.alter_partition(request, &mut batch).into(),
            RequestKind::CreateTopics(request) => self.create_topics(request, &mut batch).into(),
            RequestKind::DeleteTopics(request) => self.delete_topics(request, &mut batch).into(),
            RequestKind::CreatePartitions(request) => self.create_partitions(request, &mut batch).into(),
            RequestKind::ElectLeaders(request) => self.elect_leaders(request, &mut batch).into(),
            RequestKind::AlterPartitionReassignments(request) => self.alter_reassignments(request, &mut batch).into(),
            RequestKind::ListPartitionReassignments(request) => self.list_reassignments(request).into(),
            RequestKind::AlterConfigs(request) => self.replace_configs(request, &mut batch).into(),
            RequestKind::IncrementalAlterConfigs(request) => self.alter_configs(request, &mut batch).into(),
            RequestKind::AllocateProducerIds(request) => self.allocate_producer_ids(request, &mut batch).into(),
            _ => unreachable!("the caller asks is_metadata_request first"),
        };
        Decision {
            records: self.finish(now, batch),
            response,
        }
    }

    /// Fences the silent, moves leaders back, keeps an idle log moving: whatever is due. Records as in `decide`.
    pub fn on_deadline(&mut self, now: Now, next_offset: Offset, out: &mut Outbox) -> Vec<Record> {
        assert!(next_offset >= self.image.offset, "the image is ahead of the log");
        let mut batch = Batch::new(next_offset, out);
        for broker in self.sessions.expired(&self.image, now.mono) {
            self.fence(broker, &mut batch);
        }
        if self.next_balance.is_some_and(|due| due <= now.mono) {
            self.next_balance = every(self.settings.leader_imbalance_check_interval_ms, now);
            self.balance_leaders(&mut batch);
        }
        if self.next_no_op.is_some_and(|due| due <= now.mono) && batch.records.is_empty() {
            self.write(Record::NoOp, &mut batch);
        }
        self.finish(now, batch)
    }

    /// Begins every wait anew at `anew`: two controllers that differ only in how long they have lived become equal.
    pub fn forget_age(&mut self, anew: Now) {
        self.sessions.forget_age(anew.mono);
        self.next_balance = every(self.settings.leader_imbalance_check_interval_ms, anew);
        self.next_no_op = every(self.settings.metadata_max_idle_interval_ms, anew);
        self.entropy = Entropy(0);
        self.update_deadline();
    }

    fn finish(&mut self, now: Now, batch: Batch<'_>) -> Vec<Record> {
        self.assert_well_formed(&batch.touched);
        if !batch.records.is_empty() {
            self.next_no_op = every(self.settings.metadata_max_idle_interval_ms, now);
        }
        self.update_deadline();
        batch.records
    }

    fn update_deadline(&mut self) {
        let deadlines = [
            self.sessions.next_expiry(&self.image),
            self.next_balance,
            self.next_no_op,
        ];
        self.deadline = deadlines.into_iter().flatten().min();
    }

    /// Adds a record to the decision and replays it.
    fn write(&mut self, record: Record, batch: &mut Batch<'_>) {
        self.write_partition(record, false, batch);
    }

    /// As `write`; `unclean`: the record names a leader from outside ISR and ELR.
    fn write_partition(&mut self, record: Record, unclean: bool, batch: &mut Batch<'_>) {
        let before = match &record {
            Record::PartitionChange { partition, .. } => self.image.partition(*partition).cloned(),
            _ => None,
        };
        self.image
            .apply(&record, batch.next_offset(), self.epoch, &mut batch.touched);
        match &record {
            Record::Partition { partition, .. } | Record::PartitionChange { partition, .. } => {
                let state = self.image.partition(*partition).expect("just written").clone();
                if let Some(before) = before {
                    assert_eq!(
                        state.partition_epoch.0,
                        before.partition_epoch.0 + 1,
                        "each change counts once"
                    );
                    let bumped = state.leader_epoch.0 - before.leader_epoch.0;
                    assert!(
                        bumped == 1 || bumped == 0 && state.leader == before.leader,
                        "a new leader, an old epoch"
                    );
                }
                batch.out.note(Note::PartitionDecided {
                    partition: *partition,
                    state,
                    unclean,
                    epoch: self.epoch,
                });
            }
            Record::RegisterBroker { broker, .. } | Record::BrokerRegistrationChange { broker, .. } => {
                let registration = &self.image.brokers[broker];
                batch.out.note(Note::BrokerDecided {
                    broker: *broker,
                    broker_epoch: registration.epoch,
                    fenced: registration.fenced,
                    in_controlled_shutdown: registration.in_controlled_shutdown,
                });
            }
            _ => {}
        }
        batch.records.push(record);
    }

    /// The last replica of an ISR stays in it and nobody is eligible outside: how it was before KIP-966.
    fn elr_enabled(&self) -> bool {
        !self.rules.has(Rule::LastReplicaStanding)
    }

    fn is_active(&self, broker: NodeId) -> bool {
        self.image.brokers.get(&broker).is_some_and(|broker| broker.is_active())
    }

    fn assert_well_formed(&self, touched: &MetadataDelta) {
        let flaw = self.flaw_among(touched.partitions.iter().copied(), touched.brokers.iter().copied());
        assert!(flaw.is_none(), "{}", flaw.unwrap_or_default());
    }

    /// What the metadata says that no controller decides; none if it is sound. A disk that lies can bring it about.
    pub fn flaw(&self) -> Option<String> {
        self.flaw_among(
            self.partitions_where(|_| true).into_iter(),
            self.image.brokers.keys().copied(),
        )
    }

    fn flaw_among(
        &self,
        mut partitions: impl Iterator<Item = TopicPartition>,
        mut brokers: impl Iterator<Item = NodeId>,
    ) -> Option<String> {
        let of_partition = partitions.find_map(|partition| self.flaw_of_partition(partition));
        if of_partition.is_some() || !self.elr_enabled() {
            return of_partition;
        }
        brokers.find_map(|broker| {
            let holds = |state: &crate::note::PartitionState| state.isr.contains(&broker);
            let wrong = !self.is_active(broker) && !self.partitions_where(holds).is_empty();
            wrong.then(|| format!("broker {broker} may not be in an ISR"))
        })
    }

    fn flaw_of_partition(&self, partition: TopicPartition) -> Option<String> {
        let state = self.image.partition(partition)?;
        let mut holders = state.isr.iter().chain(&state.elr);
        if let Some(replica) = holders.find(|replica| !state.replicas.contains(replica)) {
            return Some(format!("{partition:?}: {replica} is no replica"));
        }
        if state.isr.iter().any(|replica| state.elr.contains(replica)) {
            return Some(format!("{partition:?}: ISR and ELR overlap"));
        }
        if state.leader.is_some_and(|leader| !state.isr.contains(&leader)) {
            return Some(format!("{partition:?}: a leader out of sync"));
        }
        if !self.elr_enabled() {
            return None;
        }
        if let Some(idle) = state.isr.iter().find(|replica| !self.is_active(**replica)) {
            return Some(format!("{partition:?}: {idle:?} is fenced or leaving and in the ISR"));
        }
        let enough = state.isr.len() >= self.min_isr(partition.topic);
        (enough && !state.elr.is_empty()).then(|| format!("{partition:?}: an ELR beside a sufficient ISR"))
    }
}

impl Coordinator for Controller {
    type Request = RequestKind;
    type Record = Record;
    type Response = ResponseKind;

    fn decide(
        &mut self,
        now: Now,
        from: Option<NodeId>,
        request: &RequestKind,
        next_offset: Offset,
        out: &mut Outbox,
    ) -> Decision {
        Controller::decide(self, now, from, request, next_offset, out)
    }

    fn replay(&mut self, record: &Record, offset: Offset) {
        self.image
            .apply(record, offset, self.epoch, &mut MetadataDelta::default());
    }
}
