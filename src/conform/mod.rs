//! Every step of the real cluster is a step that the specification allows, or none.
//!
//! ```text
//!   committed metadata records ─▶ cluster.rs decisions.rs ─┐
//!   notes of brokers, deaths   ─▶ steps.rs ────────────────┼─▶ Track: Protocol::step ─▶ refused? a finding
//!   real state after the step  ─▶ projection.rs ───────────┴─▶ differs from the model's? a finding
//! ```
//!
//! The model is `model::replication`, one state for each partition. Nothing is searched for: each note, record or
//! difference of the projected state is one action, with its parameters; where two actions would do (an ISR that the
//! controller wrote: asked for, or an election?) the few that can be meant are tried in turn.
//!
//! What the model abstracts away, or this bridge for it:
//!
//! - *When the controller decides.* A decision happens when its record is committed: one that never is has never
//!   happened, whatever a replaced controller thought. So a failover of the controller is no step.
//! - *When a question is answered.* The answer to a follower's fetch leaves no note. Once the leader has counted the
//!   fetch, the newest thing that it could say is taken to be on the wire; what the follower makes of it is checked.
//!   Questions that the model takes for lost, since their sender has moved on, may still arrive here.
//! - *Refusals.* A leader hears that its ISR is refused; when the controller refused it is not seen. It must have had
//!   a reason at some time since it was asked.
//! - *Time.* Whoever is behind may be called lagging, whoever lives may be taken for dead.
//! - *Producers and consumers.* Records are appended, acknowledged or given up; that a producer sends a batch again is no
//!   step, and an answer to that is held to what an acknowledgement must fulfil, whatever it was answered before; who reads what is for the checks. So no
//!   step is ever matched with `give_up`, `read`, `answer_parked` or `ask_again`.
//! - *Sizes of batches and answers, segments, connections, clocks.* A follower may copy less than there is.
//! - *Deleted records.* The model's logs begin at 0. What some leader has deleted all replicas count as holding alike, and
//!   a follower that begins anew where its leader's log begins gets the rest from it. That only what is below the high
//!   watermark is deleted is checked.
//! - *What a checkpoint remembers.* A follower's high watermark goes back to that of a new leader, which lags; after a crash
//!   its checkpoint may still say what it was.
//! - *What a disk brings back.* A log that was cut and lost power before it was synced may hold again what was cut, and
//!   the step that killed a process has left no notes: such a log is taken over as it is read, if it has kept all
//!   that was synced (after a power failure).
//! - *Unclean elections* are taken to stay allowed once they were.
//!
//! What is not covered, as the model has no word for it, is in [`scope`].
//!
//! Sources: the model's; the published trace validations of MongoDB, CCF and etcd for what goes wrong (another grain,
//! empty traces, traces that change the run).

mod cluster;
pub mod coverage;
mod decisions;
mod finding;
mod metadata;
mod names;
mod projection;
pub mod scope;
mod steps;
mod track;

use crate::checks::{Context, Fact, StopKind, Violation};
use cluster::Standing;
use coverage::Shapes;
use finding::Finding;
use kafka::Note;
use kafka::broker::Broker;
use kafka::types::{BrokerEpoch, METADATA_PARTITION, NodeId, TopicPartition, Uuid};
use metadata::MetadataLog;
use std::collections::{BTreeMap, BTreeSet};
use track::Track;

pub use crate::checks::REFINEMENT as CHECK;

/// What a run has shown of the specification.
#[derive(Clone, Debug, Default)]
pub struct Conformed {
    /// How many steps were matched, by the kind of the model's action.
    pub matched: BTreeMap<&'static str, u64>,
    /// States within small bounds that were visited.
    pub shapes: BTreeSet<coverage::Shape>,
}

impl Conformed {
    /// Adds what another run has shown.
    pub fn add(&mut self, other: &Conformed) {
        add(&mut self.matched, &other.matched);
        self.shapes.extend(&other.shapes);
    }
}

/// The processes of a node.
#[derive(Clone, Debug)]
struct Life {
    up: bool,
    /// The incarnation that the one which runs has heard that it is.
    registered: Option<BrokerEpoch>,
    /// It was told to stop.
    leaving: bool,
    /// The next one finds that this one, or the last one, stopped in order, as the incarnation that is registered. None:
    /// perhaps, as one that was told to stop before it was registered may have written over what it had found.
    clean: Option<bool>,
    /// If it was told to stop and died on the way: whether it is so, if all but the end was done.
    nearly: Option<bool>,
    /// All of them, and what each has found.
    processes: Vec<(Uuid, Option<bool>)>,
}

impl Default for Life {
    fn default() -> Life {
        Life {
            up: false,
            registered: None,
            leaving: false,
            clean: Some(false),
            nearly: None,
            processes: Vec::new(),
        }
    }
}

/// The model beside a run.
#[derive(Debug)]
pub struct Conform {
    context: Context,
    metadata: MetadataLog,
    standings: BTreeMap<NodeId, Standing>,
    topics: BTreeMap<Uuid, String>,
    min_insync_replicas: BTreeMap<String, u8>,
    /// Topics whose leaders may be elected uncleanly; the empty name is all.
    unclean: BTreeSet<String>,
    tracks: BTreeMap<TopicPartition, Track>,
    /// By node.
    lives: Vec<Life>,
    /// Notes of the step at hand, by node, until the end of the step.
    heard: Vec<(u16, Note)>,
    touched: BTreeSet<u16>,
    ending: Vec<(u16, StopKind)>,
    /// Steps that were matched in partitions that are gone.
    retired: BTreeMap<&'static str, u64>,
    shapes: Shapes,
    found: Option<(TopicPartition, Finding)>,
    violation: Option<Violation>,
}

impl Conform {
    /// Beside a cluster that is about to start.
    pub fn new(context: Context) -> Conform {
        let nodes = context.brokers;
        Conform {
            metadata: MetadataLog::new(nodes),
            standings: BTreeMap::new(),
            topics: BTreeMap::new(),
            min_insync_replicas: BTreeMap::new(),
            unclean: BTreeSet::new(),
            tracks: BTreeMap::new(),
            lives: vec![Life::default(); nodes],
            heard: Vec::new(),
            touched: BTreeSet::new(),
            ending: Vec::new(),
            retired: BTreeMap::new(),
            shapes: Shapes::default(),
            found: None,
            violation: None,
            context,
        }
    }

    /// The first step that is none of the model's.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// What was shown so far.
    pub fn conformed(&self) -> Conformed {
        let mut matched = self.retired.clone();
        self.tracks.values().for_each(|track| add(&mut matched, &track.matched));
        let shapes = self.shapes.all().clone();
        Conformed { matched, shapes }
    }

    /// A run in which no step was matched has shown nothing, which is no pass.
    pub fn seen_nothing(&self, time_ns: u64) -> Option<Violation> {
        self.conformed().matched.is_empty().then(|| Violation {
            check: CHECK,
            time_ns,
            node: None,
            message: "No step of the run was matched with one of the specification.".to_owned(),
        })
    }

    /// Takes one fact in.
    pub fn fact(&mut self, fact: &Fact<'_>) {
        if self.violation.is_some() {
            return;
        }
        match fact {
            Fact::Note { node, note, .. } if usize::from(*node) < self.context.brokers => {
                self.touched.insert(*node);
                self.heard.push((*node, (*note).clone()));
            }
            Fact::Started { node, .. } => {
                self.end();
                let life = &mut self.lives[usize::from(*node)];
                (life.up, life.registered, life.leaving) = (true, None, false);
                self.touched.insert(*node);
                self.each_replica(*node, |track, replica| {
                    track.local[usize::from(replica)].starting = true;
                    track.local[usize::from(replica)].again.clear();
                    Ok(())
                });
            }
            Fact::Stopped { node, how } => {
                self.ending.push((*node, *how));
                if matches!(how, StopKind::Killed | StopKind::PowerLost) {
                    self.end();
                }
            }
            // Any other damage is out of scope.
            Fact::DiskDamaged {
                node,
                what: "disk_wiped",
                ..
            } => self.each_replica(*node, Track::wiped),
            Fact::LogContent {
                node,
                partition,
                batches,
            } if *partition == METADATA_PARTITION => self.metadata.read_again(usize::from(*node), batches),
            _ => {}
        }
    }

    /// A step of the world is over, and all that was said in it has been heard. `real` shows a replica as it is now,
    /// `told` says what the step was.
    pub fn settle<'w>(
        &mut self,
        time_ns: u64,
        stepped: Option<u16>,
        real: &dyn Fn(u16) -> Option<&'w Broker>,
        told: &dyn Fn() -> String,
    ) {
        if self.violation.is_some() {
            return;
        }
        let heard = std::mem::take(&mut self.heard);
        self.look_ahead(&heard, real);
        for (at, (node, note)) in heard.iter().enumerate() {
            let of = partition_of(note);
            let next = heard.get(at + 1);
            let next = next.filter(|(other, next)| other == node && partition_of(next) == of);
            self.note(*node, note, next.map(|(_, note)| note));
        }
        self.end();
        let mut noted = std::mem::take(&mut self.touched);
        for node in stepped.into_iter().chain(noted.clone()) {
            if usize::from(node) < self.context.brokers && self.found.is_none() {
                let was_noted = noted.remove(&node);
                self.settle_node(node, was_noted, real);
            }
        }
        let Some((partition, finding)) = self.found.take() else {
            return;
        };
        let track = &self.tracks[&partition];
        let node = finding
            .replica
            .and_then(|replica| self.node(track.replicas[usize::from(replica)]));
        let after = node
            .and_then(|node| real(node)?.replica(partition))
            .map(|real| track.picture(real));
        let brokers: Vec<String> = track.replicas.iter().map(NodeId::to_string).collect();
        let said = heard.iter().filter(|(_, note)| partition_of(note) == Some(partition));
        let said: Vec<String> = said.map(|(_, note)| note.to_string()).collect();
        let told = format!(
            "{} (whose replicas b1.. are on brokers {}): {} [{}]",
            track.name,
            brokers.join(", "),
            told(),
            said.join("; ")
        );
        self.violation = Some(Violation {
            check: CHECK,
            time_ns,
            node,
            message: finding.text(&told, &track.state, after, &track.protocol),
        });
    }

    /// What notes do not say, and what must be known to understand them: which incarnations have fetched, and that an ISR
    /// is refused. That comes before all that the leader does next: its high watermark may move on.
    fn look_ahead<'w>(&mut self, heard: &[(u16, Note)], real: &dyn Fn(u16) -> Option<&'w Broker>) {
        for (node, note) in heard {
            let Some(partition) = partition_of(note) else { continue };
            let id = NodeId(self.context.node_ids[usize::from(*node)]);
            let Some(track) = self.tracks.get_mut(&partition) else {
                continue;
            };
            let settles = |(other, note): &(u16, Note)| {
                other == node
                    && matches!(note, Note::IsrUpdated { partition: of, .. } | Note::BecameLeader { partition: of, .. }
                        | Note::BecameFollower { partition: of, .. } if *of == partition)
            };
            let leadership = real(*node).and_then(|broker| broker.replica(partition)?.leadership());
            let (Some(replica), Some(leadership)) = (track.replica(id), leadership) else {
                continue;
            };
            track.see(replica, leadership);
            if let Some(proposal) = track.proposal(replica)
                && leadership.proposal.is_none()
                && !heard.iter().any(settles)
                && let Err(finding) = track.refuse(replica, proposal)
            {
                self.found = Some((partition, finding));
                return;
            }
        }
    }

    /// Processes that have ended by themselves are heard of before the notes of their last step, and end after them.
    fn end(&mut self) {
        for (node, how) in std::mem::take(&mut self.ending) {
            let known = self.context.node_ids.get(usize::from(node)).map(|id| NodeId(*id));
            let registered = known
                .and_then(|id| self.standings.get(&id))
                .map(|standing| standing.epoch);
            let Some(life) = self.lives.get_mut(usize::from(node)) else {
                continue;
            };
            if std::mem::take(&mut life.up) {
                let is_registered = life.registered.is_some() && life.registered == registered;
                if life.leaving || life.registered.is_some() {
                    life.nearly = life.leaving.then_some(is_registered);
                }
                life.clean = match how {
                    StopKind::Exited { clean: true } => Some(is_registered),
                    _ if life.registered.is_some() => Some(false),
                    _ if life.leaving && life.clean == Some(true) => None,
                    // One that dies before it registers may not have removed yet what its last orderly stop wrote down.
                    _ => life.clean,
                };
            }
            let clean = life.clean != Some(false);
            self.each_replica(node, |track, replica| track.stopped(replica, how, clean));
        }
    }

    fn settle_node<'w>(&mut self, node: u16, was_noted: bool, real: &dyn Fn(u16) -> Option<&'w Broker>) {
        let id = self.context.node_ids[usize::from(node)];
        let broker = real(node);
        let life = &mut self.lives[usize::from(node)];
        let process = broker.and_then(Broker::incarnation);
        if let Some(process) = process.filter(|process| life.processes.last().is_none_or(|(last, _)| last != process)) {
            life.processes.push((process, life.clean));
        }
        let clean = life.clean != Some(false);
        for (partition, track) in &mut self.tracks {
            let Some(replica) = track.replica(NodeId(id)) else {
                continue;
            };
            let real = broker.and_then(|broker| broker.replica(*partition));
            if !was_noted && track.is_quiet(replica, real) {
                continue;
            }
            if let Err(finding) = track.settle(replica, clean, real) {
                self.found = Some((*partition, finding));
                return;
            }
            if std::mem::take(&mut track.dirty) {
                self.shapes.meet(&track.protocol, &track.state);
            }
        }
    }

    fn node(&self, id: NodeId) -> Option<u16> {
        let at = self.context.node_ids.iter().position(|known| *known == id.0)?;
        Some(at as u16)
    }

    fn life(&self, id: NodeId) -> Option<&Life> {
        self.lives.get(usize::from(self.node(id)?))
    }

    fn each_replica(&mut self, node: u16, mut act: impl FnMut(&mut Track, u8) -> Result<(), Finding>) {
        let Some(id) = self.context.node_ids.get(usize::from(node)) else {
            return;
        };
        for (partition, track) in &mut self.tracks {
            if let Some(replica) = track.replica(NodeId(*id))
                && let Err(finding) = act(track, replica)
                && self.found.is_none()
            {
                self.found = Some((*partition, finding));
            }
        }
    }

    fn note(&mut self, node: u16, note: &Note, next: Option<&Note>) {
        if self.found.is_some() {
            return;
        }
        let at = usize::from(node);
        match note {
            Note::Appended {
                partition: METADATA_PARTITION,
                base_offset,
                last_offset,
                batch,
                ..
            } => self.metadata.appended(at, *base_offset, *last_offset, batch),
            Note::Truncated {
                partition: METADATA_PARTITION,
                to,
                ..
            }
            | Note::Restarted {
                partition: METADATA_PARTITION,
                at: to,
            } => self.metadata.truncated(at, *to),
            Note::MetadataApplied { offset, .. } => {
                for batch in self.metadata.applied(at, *offset) {
                    self.decided(&batch);
                }
            }
            Note::LogOpened {
                partition: METADATA_PARTITION,
                log_end_offset,
                clean,
                ..
            } => {
                self.metadata.truncated(at, *log_end_offset);
                let life = &mut self.lives[at];
                let is_told = life.clean != Some(false) || life.nearly.is_some();
                life.clean = match (*clean, life.nearly) {
                    (false, _) => Some(false),
                    (true, Some(nearly)) if life.clean == Some(false) => Some(nearly),
                    (true, _) => life.clean,
                };
                if *clean && !is_told {
                    self.each_replica(node, |_, replica| {
                        let step = format!("b{} starts as after an orderly stop", replica + 1);
                        let why = "its last process was not told to stop (KAFKA-10471)";
                        Err(Finding::unexplained(step, why, Some(replica)))
                    });
                }
            }
            Note::BrokerRegistered { broker_epoch } => {
                self.lives[at].registered = Some(*broker_epoch);
                let epoch = *broker_epoch;
                self.each_replica(node, |track, replica| {
                    track.registered(replica, epoch);
                    Ok(())
                });
            }
            Note::ShutdownStarted => self.lives[at].leaving = true,
            Note::ReplicaStopped {
                partition,
                deleted: true,
            } => self.retire(*partition),
            _ => {
                let id = NodeId(self.context.node_ids[at]);
                let track =
                    partition_of(note).and_then(|partition| Some((partition, self.tracks.get_mut(&partition)?)));
                if let Some((partition, track)) = track
                    && let Some(replica) = track.replica(id)
                    && let Err(finding) = track.note(replica, note, next)
                {
                    self.found = Some((partition, finding));
                }
            }
        }
    }

    fn retire(&mut self, partition: TopicPartition) {
        if let Some(track) = self.tracks.remove(&partition) {
            add(&mut self.retired, &track.matched);
        }
    }
}

fn add(into: &mut BTreeMap<&'static str, u64>, from: &BTreeMap<&'static str, u64>) {
    from.iter()
        .for_each(|(kind, count)| *into.entry(kind).or_default() += count);
}

/// The partition of which a note of a broker speaks.
fn partition_of(note: &Note) -> Option<TopicPartition> {
    match note {
        Note::LogOpened { partition, .. }
        | Note::Appended { partition, .. }
        | Note::Truncated { partition, .. }
        | Note::Restarted { partition, .. }
        | Note::Flushed { partition, .. }
        | Note::LogStartAdvanced { partition, .. }
        | Note::BecameLeader { partition, .. }
        | Note::BecameFollower { partition, .. }
        | Note::HighWatermarkAdvanced { partition, .. }
        | Note::HighWatermarkLowered { partition, .. }
        | Note::FollowerProgressed { partition, .. }
        | Note::IsrProposed { partition, .. }
        | Note::IsrUpdated { partition, .. }
        | Note::DuplicateFound { partition, .. }
        | Note::ProduceAnswered { partition, .. } => Some(*partition),
        _ => None,
    }
}
