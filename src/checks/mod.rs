//! What must hold while a whole cluster runs: named checks over facts, never over a broker's insides.
//!
//! The run loop hands every [`Fact`] over in order; one [`ghost`] model is folded from them once, and all checks
//! compare against it. A fact costs what it touched: no check ever walks a whole log, except right after a crash
//! with damage, when the run loop hands over what is on the disk ([`Fact::LogContent`]).
//!
//! ```text
//!   replica.rs     I1 I2 I3 I4 I5 I11 I12     one replica by itself
//!   producers.rs   I6                         what a replica knows of idempotent producers
//!   cross.rs       X1 X2 X4 X6 X11 I9         replicas against each other and the committed log
//!   control.rs     X3 X5 X7 D6                the controller's states, elections
//!   contract.rs    X14, losses                what was promised, what a fault may take
//!   durability.rs  D1 D2 D4 D5                crashes and what comes back
//!   damage.rs      no check: what a disk fault excuses, and until when
//!   quorum.rs      X8 X9 X10 D3               the metadata quorum
//!   client.rs      C1 to C4, C9, C12 to C14, C17  what clients saw
//!   latest.rs      C14                        what clients were told one after the other
//!   connections.rs T1 T2                      what passes between NIC, connection driver and machine
//!   liveness.rs    L1 to L3, L6 to L9         after the faults
//!   topics.rs      what topics are called and promise
//!   marks.rs       what a run should have met at least once
//! ```
//!
//! M2 is made by `conform`, which holds a run against the specification.
//!
//! Guarantees: silent on lawful runs, which includes losses that the promise does not cover ([`Checks::losses`]).
//!
//! Sources: each check names its own, see [`Checks::list`].

pub(crate) mod batch;
mod client;
mod connections;
mod contract;
mod control;
mod cross;
mod damage;
mod digest;
mod durability;
mod fact;
pub(crate) mod ghost;
mod latest;
mod liveness;
mod marks;
pub(crate) mod partition;
mod producers;
mod quorum;
mod replica;
mod report;
mod shadow;
#[cfg(test)]
mod tests;
mod topics;

pub use contract::Loss;
pub use fact::{Context, Fact, StopKind, TopicPromise, Traffic, Violation};
pub use marks::{MarkInfo, Marks};
pub use report::CheckInfo;

use crate::history::History;
use ghost::{Doubt, Ghost};
use kafka::note::Note;
use kafka::types::{METADATA_PARTITION, TopicPartition, Uuid};
use liveness::Liveness;
use quorum::Quorum;
use report::Report;
use std::collections::BTreeMap;

/// Id of the check that `conform` makes.
pub const REFINEMENT: &str = report::LIST[report::Check::M2 as usize].id;

/// All checks of one run.
#[derive(Clone, Debug)]
pub struct Checks {
    context: Context,
    ghost: Ghost,
    report: Report,
    marks: Marks,
    history: History,
    quorum: Quorum,
    liveness: Liveness,
    client: client::Readers,
    latest: latest::Latest,
    connections: connections::Connections,
    losses: Vec<Loss>,
    now: u64,
    step: Option<(u64, u16)>,
    settle: replica::Settle,
    topics: Vec<(String, Uuid)>,
    /// By topic name, of the newest topic that has it.
    terms: BTreeMap<String, topics::Terms>,
    /// Of the newest controller that has written into the metadata log.
    metadata_epoch: i32,
    /// A node that has stopped; it counts after the notes of its last step, in whichever order they come.
    ending: Option<(u16, StopKind)>,
    /// Partition and node of each log whose content is not known.
    doubtful: Vec<(usize, usize)>,
}

impl Checks {
    /// Before the first fact.
    ///
    /// # Panics
    /// With more than 64 brokers, or without an id for each of them.
    pub fn new(context: Context) -> Checks {
        assert!(context.brokers <= 64, "sets of nodes are 64 bits wide");
        assert_eq!(context.brokers, context.node_ids.len(), "every broker has an id");
        Checks {
            ghost: Ghost::new(context.brokers, context.node_ids.clone(), context.brokers),
            report: Report::new(),
            marks: Marks::default(),
            history: History::default(),
            quorum: Quorum::new(context.brokers),
            liveness: Liveness::default(),
            client: client::Readers::default(),
            latest: latest::Latest::default(),
            connections: connections::Connections::default(),
            losses: Vec::new(),
            now: 0,
            step: None,
            settle: replica::Settle::default(),
            topics: Vec::new(),
            terms: BTreeMap::new(),
            metadata_epoch: -1,
            ending: None,
            doubtful: Vec::new(),
            context,
        }
    }

    /// Takes one fact in.
    pub fn fact(&mut self, fact: Fact<'_>) {
        if let Fact::Traffic {
            time_ns,
            node,
            conn,
            what,
        } = fact
        {
            // No word about replication: it neither begins nor ends a step of the machine.
            return self.traffic(time_ns, node.into(), conn, what);
        }
        if let Some((stopped, how)) = self.ending
            && !matches!(fact, Fact::Note { node, .. } if node == stopped)
        {
            self.ending = None;
            self.step_ended();
            self.stopped(stopped.into(), how);
        }
        match fact {
            Fact::Note { time_ns, node, note } => {
                if self.step != Some((time_ns, node)) {
                    self.step_ended();
                    self.step = Some((time_ns, node));
                    self.now = time_ns;
                }
                if let Note::Client(said) = note {
                    self.client_said(node, said);
                } else if usize::from(node) < self.context.brokers {
                    self.note(usize::from(node), note);
                }
                return;
            }
            _ => self.step_ended(),
        }
        self.step = None;
        self.report.about(None);
        match fact {
            Fact::Note { .. } | Fact::Traffic { .. } => {}
            Fact::Started { node, .. } => self.started(node.into()),
            Fact::Stopped { node, how } => self.ending = Some((node, how)),
            Fact::DiskDamaged { node, what, path } => self.disk_damaged(node.into(), what, path),
            Fact::LogContent {
                node,
                partition,
                batches,
            } => self.log_content(node.into(), partition, &batches),
            Fact::DurableLog {
                node,
                partition,
                batches,
            } => self.durable_log(node.into(), partition, &batches),
            Fact::TopicNamed { name, id } => self.topic_named(name, id),
            Fact::FaultsEnded { time_ns } => {
                self.now = time_ns;
                self.liveness.faults_ended = Some(time_ns);
            }
            Fact::Finished { time_ns } => {
                self.now = time_ns;
                self.judge_liveness();
                self.judge_history();
            }
        }
    }

    fn note(&mut self, node: usize, note: &Note) {
        match note {
            Note::LogOpened {
                partition,
                log_start_offset,
                log_end_offset,
                recovery_point,
                clean,
            } => self.log_opened(
                node,
                *partition,
                *log_start_offset,
                *log_end_offset,
                *recovery_point,
                *clean,
            ),
            Note::Appended {
                partition,
                base_offset,
                last_offset,
                leader_epoch,
                as_leader,
                batch,
            } => {
                let at = self.partition(*partition);
                self.appended(
                    node,
                    at,
                    (*base_offset, *last_offset, leader_epoch.0),
                    *as_leader,
                    batch,
                );
            }
            Note::Truncated {
                partition,
                from,
                to,
                reason,
            } => {
                let at = self.partition(*partition);
                self.truncated(node, at, *from, *to, *reason);
            }
            Note::Restarted { partition, at: offset } => {
                let at = self.partition(*partition);
                self.restarted(node, at, *offset);
            }
            Note::LogStartAdvanced { partition, to } => {
                let at = self.partition(*partition);
                self.log_start_advanced(node, at, *to);
            }
            Note::Flushed { partition, to } => {
                let at = self.partition(*partition);
                self.flushed(node, at, *to);
            }
            Note::Rolled { .. } => {}
            Note::ProducerAdvanced { partition, producer } => {
                let at = self.partition(*partition);
                self.producer_advanced(node, at, producer);
            }
            Note::ProducersLoaded { partition, producers } => {
                let at = self.partition(*partition);
                self.producers_loaded(node, at, producers);
            }
            Note::ProducersExpired {
                partition,
                producer_ids,
            } => {
                let at = self.partition(*partition);
                self.producers_expired(node, at, producer_ids);
            }
            Note::DuplicateFound { .. } => self.marks.set(marks::DUPLICATE_FOUND),
            Note::SequenceRefused { .. } => self.marks.set(marks::SEQUENCE_REFUSED),
            Note::EpochAssigned {
                partition,
                epoch,
                start_offset,
            } => {
                let at = self.partition(*partition);
                self.epoch_assigned(node, at, epoch.0, *start_offset);
            }
            Note::BecameLeader {
                partition,
                state,
                epoch_start_offset,
                high_watermark,
            } => {
                let at = self.partition(*partition);
                self.became_leader(node, at, state, *epoch_start_offset, *high_watermark);
            }
            Note::BecameFollower {
                partition,
                state,
                high_watermark,
            } => {
                let at = self.partition(*partition);
                self.became_follower(node, at, state, *high_watermark);
            }
            Note::ReplicaStopped { partition, deleted } => {
                let at = self.partition(*partition);
                self.replica_stopped(node, at, *deleted);
            }
            Note::HighWatermarkAdvanced {
                partition,
                to,
                as_leader,
                leader_epoch,
            } => {
                let at = self.partition(*partition);
                self.high_watermark_advanced(node, at, *to, *as_leader, leader_epoch.0);
            }
            Note::HighWatermarkLowered { partition, to } => {
                let at = self.partition(*partition);
                self.high_watermark_lowered(node, at, *to);
            }
            Note::FollowerProgressed {
                partition,
                follower,
                log_end_offset,
                leader_epoch,
            } => {
                let at = self.partition(*partition);
                if let Some(follower) = self.ghost.node(*follower) {
                    self.follower_progressed(node, at, follower, *log_end_offset, leader_epoch.0);
                }
            }
            Note::IsrProposed {
                partition,
                isr,
                maximal_isr,
                partition_epoch,
            } => {
                let at = self.partition(*partition);
                self.isr_proposed(node, at, isr, maximal_isr, partition_epoch.0);
            }
            Note::IsrUpdated { partition, state } => {
                let at = self.partition(*partition);
                self.isr_updated(node, at, state);
            }
            Note::ProduceAnswered {
                partition,
                error_code,
                base_offset,
                last_offset,
                acks,
                leader_epoch,
                state,
                high_watermark,
            } => {
                let at = self.partition(*partition);
                let answer = cross::Answer {
                    error_code: *error_code,
                    base: *base_offset,
                    last: *last_offset,
                    acks: *acks,
                    epoch: leader_epoch.0,
                    high_watermark: *high_watermark,
                };
                self.produce_answered(node, at, answer, state.as_ref());
            }
            Note::DivergenceFound { .. } => self.marks.set(marks::DIVERGENCE_FOUND),
            Note::EpochFenced {
                partition,
                requested,
                current,
            } => {
                let at = self.partition(*partition);
                self.epoch_fenced(node, at, requested.0, current.0);
            }
            Note::PartitionDecided {
                partition,
                state,
                unclean,
                epoch,
            } => {
                let at = self.partition(*partition);
                self.partition_decided(node, at, state, *unclean, epoch.0);
            }
            Note::BrokerDecided {
                broker,
                broker_epoch,
                fenced,
                in_controlled_shutdown,
            } => {
                if let Some(broker) = self.ghost.node(*broker).filter(|_| self.leads_quorum(node)) {
                    self.broker_decided(broker, broker_epoch.0, *fenced, *in_controlled_shutdown);
                }
            }
            Note::BrokerRegistered { broker_epoch } => self.broker_registered(node, broker_epoch.0),
            Note::BrokerUnfenced { .. } => self.ghost.nodes[node].unfenced = true,
            Note::FrameRefused { .. } => self.marks.set(marks::FRAME_REFUSED),
            Note::ShutdownStarted => self.ghost.nodes[node].shutting_down = true,
            Note::ShutdownCompleted => self.ghost.nodes[node].dirty = false,
            Note::LogDirFailed { .. } => {
                self.marks.set(marks::LOG_DIR_FAILED);
                self.gave_up(node);
            }
            quorum => self.quorum_note(node, quorum),
        }
    }

    /// A new process: what it takes itself for begins anew.
    fn started(&mut self, node: usize) {
        if node >= self.context.brokers {
            return;
        }
        self.connections.process_began(node);
        let state = &mut self.ghost.nodes[node];
        state.up = true;
        state.was_dirty = state.dirty;
        state.started = true;
        state.unfenced = false;
        state.registered = false;
        state.shutting_down = false;
        self.quorum.started(node);
    }

    /// Messages name a node by its id and a partition by its topic.
    fn name(&self, node: usize) -> i32 {
        self.context.node_ids.get(node).copied().unwrap_or(-1)
    }

    fn topic_name(&self, at: usize) -> String {
        let id = self.ghost.partitions[at].id;
        if id == METADATA_PARTITION {
            return "__cluster_metadata-0".to_owned();
        }
        match self.topics.iter().find(|(_, known)| *known == id.topic) {
            Some((name, _)) => format!("{name}-{}", id.partition),
            None => format!("{id:?}"),
        }
    }

    /// Logs that were opened after a stop that leaves their content in doubt: the run loop hands over
    /// [`Fact::LogContent`] for each, after the step in which they were opened. Until then their comparisons rest.
    pub fn wanted_logs(&self) -> Vec<(u16, TopicPartition)> {
        let open = |(at, node): &&(usize, usize)| self.ghost.partitions[*at].replicas[*node].open;
        let name = |(at, node): &(usize, usize)| (*node as u16, self.ghost.partitions[*at].id);
        self.doubtful.iter().filter(open).map(name).collect()
    }

    /// What was found, in the order of finding.
    pub fn violations(&self) -> &[Violation] {
        &self.report.violations
    }

    /// How often each check compared something; one at 0 has not watched this run.
    pub fn looked(&self) -> BTreeMap<&'static str, u64> {
        self.report.looked()
    }

    /// What happened at least once.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Acknowledged records that were gone at the end, with the reason that permits it; known after `Finished`.
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// What clients saw.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// All checks, with their sources.
    pub fn list() -> &'static [CheckInfo] {
        report::LIST
    }
}
