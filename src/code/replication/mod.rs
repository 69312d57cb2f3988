//! The replicas of one partition on two or three brokers, their fetchers, and the controller of its topic.
//!
//! The machines are [`ReplicaManager`](kafka::replication::ReplicaManager) and
//! [`Controller`](kafka::controller::Controller) as the broker has them. What happens to them:
//!
//! - a client's record comes to the leader, with acks=all;
//! - a fetch or an ISR proposal reaches, and its answer comes back at once, or stays on its way; a connection is lost;
//!   a request is given up and comes late;
//! - a broker hears of the next decision of the controller, or of all at once;
//! - a leader looks for followers that lag: whoever has not all it has has lagged for too long, since more time than
//!   `replica.lag.time.max.ms` passes between any two steps;
//! - the controller loses sight of a broker, dead or alive, and elects another leader; a living one comes back; the
//!   preferred replica is made the leader again;
//! - a process is killed or loses power, and starts again once the controller has given it up.
//!
//! Left out: a fetch never waits at the leader; high watermarks are not checkpointed, so a process starts without one;
//! registration and heartbeats take no time; a process that starts hears of all metadata at once; failovers of the
//! controller; consumers; retention; controlled shutdown.

mod broker;
mod metadata;
mod step;

use super::cluster::{self, Change, Cluster, Driver, Event, Letters, SHARED_BYTES};
use super::digest::digest;
use super::node::{NOW, Steps};
use super::witness::{Mark, Watch, Witness};
use super::words;
use crate::checks::{Context, Fact, TopicPromise};
use broker::{Birth, Broker, Own};
use kafka::note::Note;
use kafka::replication::Partition;
use kafka::rules::Rules;
use kafka::{NodeId, SyncOwner, SyncTag};
use metadata::{Ask, Decisions, Metadata, TOPIC};
use model::check::Spec;
use stateright::{Model, Property};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};
pub use step::ReplicationStep;
use step::{name, sentence};

/// How far the search goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicationBounds {
    /// Two or three, with a replica each.
    pub brokers: u8,
    /// `min.insync.replicas`.
    pub min_insync_replicas: u8,
    /// Records that clients send.
    pub records: u8,
    /// Decisions of the controller: elections, other ISRs, brokers fenced or not.
    pub decisions: u8,
    /// Brokers that the controller loses sight of.
    pub session_expiries: u8,
    /// Times that the preferred replica is made the leader again.
    pub preferred_elections: u8,
    /// Times that a leader finds followers that lag.
    pub lag_checks: u8,
    /// Processes killed; the page cache stays.
    pub kills: u8,
    /// Power failures; what was not synced is gone. With any, the syncs of logs take time.
    pub power_failures: u8,
    /// Letters that go astray or are overtaken.
    pub letters: Letters,
}

/// What is used up of the bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Spent {
    records: u8,
    session_expiries: u8,
    preferred_elections: u8,
    lag_checks: u8,
    kills: u8,
    power_failures: u8,
    letters: Letters,
}

/// Brokers, controller, and what each broker has heard.
#[derive(Clone)]
pub struct ReplicationState {
    pub(super) cluster: Cluster<Broker>,
    metadata: Arc<Metadata>,
    /// By broker: the newest version that it has heard of.
    heard: [u8; 3],
    spent: Spent,
}

/// The partition within bounds.
pub struct ReplicationSpec {
    bounds: ReplicationBounds,
    birth: Birth,
    steps: Steps<Broker>,
    decisions: Decisions,
    watch: Watch,
}

fn is_slow(tag: &SyncTag) -> bool {
    matches!(tag.owner, SyncOwner::Log(_))
}

fn id(broker: u8) -> NodeId {
    NodeId(i32::from(broker) + 1)
}

/// Whose turn at the controller it is: decisions of one step are made one after the other.
type Turn = Mutex<Arc<Metadata>>;

/// A step under way, with the controller at hand.
struct Step<'a> {
    spec: &'a ReplicationSpec,
    turn: Turn,
}

impl Step<'_> {
    fn metadata(&self) -> Arc<Metadata> {
        self.turn
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// The controller decides; what it says is heard by the checks. Its answer, if somebody asked.
    fn ask(&self, change: &mut Change<'_, Broker>, ask: &Ask) -> Option<super::letter::Letter> {
        let decided = self.spec.decisions.decide(&self.metadata(), ask);
        *self.turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = decided.metadata.clone();
        let (node, after) = (self.spec.bounds.brokers, &mut change.after);
        after.witness = self
            .spec
            .watch
            .notes(&after.witness, node, &decided.notes, decided.notes_digest);
        after.broken = after.broken.take().or_else(|| decided.broken.clone());
        change
            .said
            .extend(decided.notes.iter().map(|note| (node, note.clone())));
        decided.answer.clone()
    }
}

impl Driver for Step<'_> {
    type Machine = Broker;
    type Own = Own;

    fn watch(&self) -> &Watch {
        &self.spec.watch
    }

    fn take(&self, change: &mut Change<'_, Broker>, node: u8, event: &Event<'_, Own>) {
        if node == self.spec.bounds.brokers {
            if let Event::Handle(id, letter) = event
                && let Some(answer) = self.ask(change, &Ask::Letter((*letter).clone()))
            {
                change.reply(node, *id, &answer);
            }
            return;
        }
        let before = &change.after.nodes[usize::from(node)];
        let now = match event {
            Event::Own(own) => own.now(),
            _ => NOW,
        };
        let effect = self
            .spec
            .steps
            .take(before, event, now, |machine, disk, out| match (event, &mut *machine) {
                (Event::Own(own @ Own::Open(..)), _) => {
                    *machine = self.spec.birth.open(own, disk, out)?;
                    Ok(())
                }
                (_, Some(broker)) => broker.enter(event, disk, out),
                (_, None) => Ok(()),
            });
        let has_started = matches!(event, Event::Own(Own::Open(..)));
        change.apply(node, &effect, &self.spec.watch, has_started);
    }
}

impl ReplicationSpec {
    /// With some rules of the museum on.
    pub fn new(bounds: ReplicationBounds, rules: Rules) -> ReplicationSpec {
        let settings = broker::settings(bounds.min_insync_replicas);
        let slow = bounds.power_failures > 0;
        ReplicationSpec {
            bounds,
            decisions: Decisions::new(settings.clone()),
            birth: Birth {
                rules,
                settings,
                controller: id(bounds.brokers),
            },
            steps: Steps::new(if slow { is_slow } else { |_| false }),
            watch: Watch::new(),
        }
    }

    /// A process starts: it is registered, and hears of all metadata.
    fn open(&self, step: &Step<'_>, change: &mut Change<'_, Broker>, broker: u8, heard: &mut [u8; 3]) {
        let metadata = step.metadata();
        let version = &metadata.versions[metadata.last()];
        let epoch = metadata.epoch_of(id(broker));
        let open = Own::Open(id(broker), epoch, version.image.clone(), version.digest);
        step.take(change, broker, &Event::Own(open));
        heard[usize::from(broker)] = metadata.last() as u8;
        change.show_logs(|broker, partition, disk| broker.replicas.clone().read_log(partition, disk));
    }

    fn hear(&self, step: &Step<'_>, change: &mut Change<'_, Broker>, broker: u8, (from, to): (u8, u8)) {
        let metadata = step.metadata();
        let mut delta = kafka::metadata::MetadataDelta::default();
        for version in &metadata.versions[usize::from(from) + 1..=usize::from(to)] {
            delta.extend(&version.delta);
        }
        let version = &metadata.versions[usize::from(to)];
        let hear = Own::Hear(version.image.clone(), delta, version.digest);
        step.take(change, broker, &Event::Own(hear));
    }

    /// The state after a step, if it is within the bounds; what was said on the way is added to `said`.
    fn act(
        &self,
        before: &ReplicationState,
        step: ReplicationStep,
        said: &mut Vec<(u8, Note)>,
    ) -> Option<ReplicationState> {
        let mut change = Change {
            after: before.cluster.clone(),
            said,
        };
        let (mut spent, mut heard) = (before.spent, before.heard);
        let driver = Step {
            spec: self,
            turn: Mutex::new(before.metadata.clone()),
        };
        let last = before.metadata.last() as u8;
        match step {
            ReplicationStep::Letter { travel } => {
                if !driver.travel(&mut change, travel, &mut spent.letters) {
                    return None;
                }
            }
            ReplicationStep::Produce { broker } => {
                spent.records += 1;
                driver.take(&mut change, broker, &Event::Own(Own::Produce(spent.records)));
            }
            ReplicationStep::Hear { broker } => {
                let heard = &mut heard[usize::from(broker)];
                self.hear(&driver, &mut change, broker, (*heard, *heard + 1));
                *heard += 1;
            }
            ReplicationStep::HearAll { broker } => {
                let heard = &mut heard[usize::from(broker)];
                self.hear(&driver, &mut change, broker, (*heard, last));
                *heard = last;
            }
            ReplicationStep::LookForLag { broker } => {
                spent.lag_checks += 1;
                driver.take(&mut change, broker, &Event::Own(Own::LookForLag));
            }
            ReplicationStep::Expire { broker } => {
                spent.session_expiries += 1;
                driver.ask(&mut change, &Ask::Expire(id(broker)));
            }
            ReplicationStep::ComeBack { broker } => {
                driver.ask(&mut change, &Ask::Unfence(id(broker)));
            }
            ReplicationStep::ElectPreferred => {
                spent.preferred_elections += 1;
                driver.ask(&mut change, &Ask::ElectPreferred);
                if driver.metadata().last() == before.metadata.last() {
                    return None;
                }
            }
            ReplicationStep::Sync { broker } => driver.take(&mut change, broker, &Event::Own(Own::Sync)),
            ReplicationStep::Kill { broker } => {
                spent.kills += 1;
                driver.stop(&mut change, broker, false);
            }
            ReplicationStep::LosePower { broker } => {
                spent.power_failures += 1;
                driver.stop(&mut change, broker, true);
            }
            ReplicationStep::Start { broker } => {
                driver.ask(&mut change, &Ask::Register(id(broker)));
                self.open(&driver, &mut change, broker, &mut heard);
            }
        }
        let metadata = driver.metadata();
        (metadata.last() <= usize::from(self.bounds.decisions)).then_some(ReplicationState {
            cluster: change.after,
            metadata,
            heard,
            spent,
        })
    }

    fn replica<'a>(&self, state: &'a ReplicationState, broker: u8) -> Option<&'a Partition> {
        state.cluster.machine(broker)?.partition()
    }
}

impl ReplicationState {
    /// What brokers will still hear, after the first version that not all living ones know.
    fn unheard(&self) -> impl Iterator<Item = u128> {
        let most = self.behind().into_iter().max().unwrap_or(0);
        let oldest = self.metadata.last() - usize::from(most);
        let versions = self.metadata.versions[oldest + 1..].iter();
        versions.map(|version| version.digest)
    }

    /// How many decisions each broker has not heard of; a dead one will hear of all at once when it starts.
    fn behind(&self) -> [u8; 3] {
        let last = self.metadata.last() as u8;
        std::array::from_fn(|broker| match self.cluster.machine(broker as u8) {
            Some(_) => last - self.heard[broker],
            None => 0,
        })
    }
}

impl Hash for ReplicationState {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.cluster, self.metadata.digest, self.metadata.last()).hash(state);
        (self.behind(), self.spent).hash(state);
        self.unheard().for_each(|version| version.hash(state));
    }
}

impl PartialEq for ReplicationState {
    fn eq(&self, other: &ReplicationState) -> bool {
        self.cluster == other.cluster
            && (self.metadata.digest, self.metadata.last()) == (other.metadata.digest, other.metadata.last())
            && (self.behind(), self.spent) == (other.behind(), other.spent)
            && self.unheard().eq(other.unheard())
    }
}

impl fmt::Debug for ReplicationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, node) in self.cluster.nodes.iter().enumerate() {
            let Some(broker) = &node.machine else {
                write!(f, "b{}: down; ", n + 1)?;
                continue;
            };
            if let Some(partition) = broker.partition() {
                write!(
                    f,
                    "b{}: {} in epoch {}, ISR {:?}, log {:?} to {}, high watermark {}",
                    n + 1,
                    if partition.is_leader() { "leads" } else { "follows" },
                    partition.leader_epoch(),
                    partition.isr().iter().map(|id| id.0).collect::<Vec<_>>(),
                    partition
                        .epochs()
                        .iter()
                        .map(|(epoch, at)| (epoch.0, *at))
                        .collect::<Vec<_>>(),
                    partition.log().log_end_offset(),
                    partition.high_watermark()
                )?;
            }
            match self.behind()[n] {
                0 => write!(f, "; ")?,
                behind => write!(f, ", {behind} decision(s) behind; ")?,
            }
        }
        let brokers = self.cluster.nodes.len() as u8;
        f.write_str(&words::net(&self.cluster.net, |node| name(node, brokers)))
    }
}

impl Model for ReplicationSpec {
    type State = ReplicationState;
    type Action = ReplicationStep;

    fn init_states(&self) -> Vec<ReplicationState> {
        let brokers = self.bounds.brokers;
        let min_isr = self.bounds.min_insync_replicas;
        let (metadata, notes) = Metadata::new(brokers.into(), min_isr, &self.birth.settings, self.birth.rules);
        let mut context = Context::new(usize::from(brokers) + 1);
        context.voters = vec![id(brokers).0];
        context.controllers_only = context.voters.clone();
        let promise = TopicPromise {
            min_insync_replicas: min_isr.into(),
            ..TopicPromise::default()
        };
        context.topics.insert(TOPIC.to_owned(), promise);
        let topic = metadata.partition().topic;
        let witness = Witness::new(context).told([Fact::TopicNamed { name: TOPIC, id: topic }]);
        let mut said = Vec::new();
        let mut change = Change {
            after: Cluster::new(brokers.into(), witness),
            said: &mut said,
        };
        change.after.witness = self.watch.notes(&change.after.witness, brokers, &notes, digest(&notes));
        let step = Step {
            spec: self,
            turn: Mutex::new(Arc::new(metadata)),
        };
        let mut heard = [0; 3];
        for broker in 0..brokers {
            self.open(&step, &mut change, broker, &mut heard);
        }
        vec![ReplicationState {
            cluster: change.after,
            metadata: step.metadata(),
            heard,
            spent: Spent::default(),
        }]
    }

    fn actions(&self, state: &ReplicationState, actions: &mut Vec<ReplicationStep>) {
        let (bounds, spent, cluster) = (&self.bounds, &state.spent, &state.cluster);
        if cluster.is_over() {
            return;
        }
        let is_up = |node: u8| node == bounds.brokers || cluster.machine(node).is_some();
        let travels = cluster::travels(cluster, is_up, (spent.letters, bounds.letters));
        actions.extend(travels.into_iter().map(|travel| ReplicationStep::Letter { travel }));
        for broker in 0..bounds.brokers {
            let is_fenced = state.metadata.is_fenced(id(broker));
            if !is_fenced && spent.session_expiries < bounds.session_expiries {
                actions.push(ReplicationStep::Expire { broker });
            }
            if cluster.machine(broker).is_none() {
                if is_fenced {
                    actions.push(ReplicationStep::Start { broker });
                }
                continue;
            }
            let behind = state.behind()[usize::from(broker)];
            if behind > 0 {
                actions.push(ReplicationStep::Hear { broker });
            }
            if behind > 1 {
                actions.push(ReplicationStep::HearAll { broker });
            }
            if is_fenced {
                actions.push(ReplicationStep::ComeBack { broker });
            }
            if self.replica(state, broker).is_some_and(Partition::is_leader) {
                if spent.records < bounds.records {
                    actions.push(ReplicationStep::Produce { broker });
                }
                if spent.lag_checks < bounds.lag_checks {
                    actions.push(ReplicationStep::LookForLag { broker });
                }
            }
            if cluster.nodes[usize::from(broker)].disk.is_syncing() {
                actions.push(ReplicationStep::Sync { broker });
            }
            if spent.kills < bounds.kills {
                actions.push(ReplicationStep::Kill { broker });
            }
            if spent.power_failures < bounds.power_failures {
                actions.push(ReplicationStep::LosePower { broker });
            }
        }
        if spent.preferred_elections < bounds.preferred_elections {
            actions.push(ReplicationStep::ElectPreferred);
        }
    }

    fn next_state(&self, state: &ReplicationState, action: ReplicationStep) -> Option<ReplicationState> {
        self.act(state, action, &mut Vec::new())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        super::properties!(
            [
                "X1", "X2", "X3", "X4", "X5", "X6", "X7", "X11", "X14", "D1", "D4", "D5", "D6", "I1", "I2", "I3", "I4",
                "I5", "I9", "I11", "I12"
            ],
            [
                ("a leader is elected", |state: &ReplicationState| {
                    state.cluster.witness.has_met(Mark::LeaderChanged)
                }),
                ("a record is committed", |state: &ReplicationState| {
                    let mut partitions = state.cluster.machines().filter_map(Broker::partition);
                    partitions.any(|partition| partition.high_watermark() > 0)
                }),
                ("a truncation happens", |state: &ReplicationState| {
                    state.cluster.witness.has_met(Mark::TruncationHappened)
                }),
                ("a replica joins the ISR", |state: &ReplicationState| {
                    state.cluster.witness.has_met(Mark::IsrExpanded)
                }),
            ]
        )
    }
}

impl Spec for ReplicationSpec {
    fn words(&self, before: &ReplicationState, action: &ReplicationStep, _after: &ReplicationState) -> String {
        let mut said = Vec::new();
        self.act(before, *action, &mut said);
        let brokers = self.bounds.brokers;
        words::step(&sentence(*action, brokers), &said, |node| name(node, brokers))
    }

    fn state_bytes(&self) -> usize {
        size_of::<ReplicationState>() + SHARED_BYTES
    }
}
