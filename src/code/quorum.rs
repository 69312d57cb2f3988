//! Three voters of the metadata quorum: elections, votes, fetches, appends, crashes.
//!
//! The machines are [`Quorum`] as the broker has it, each on its own disk. What happens to them:
//!
//! - a request reaches its peer, and its answer comes back at once, or stays on its way; a waiting fetch is answered
//!   when there is news; a connection is lost, and the request with it or not;
//! - the timer of a role fires: fetch timeout, election timeout, check quorum;
//! - the leader appends a record; the disk of a node ends its syncs; a process is killed, loses power, starts again.
//!
//! Left out: a voter that knows no leader asks nobody around, it hears of one from the leader itself; the rest after a
//! failed call is no time at all; a leader does not tell silent voters of itself again; snapshots; observers; controlled
//! shutdown.

use super::cluster::{self, Change, Cluster, Driver, Event, Letters, SHARED_BYTES, Travel};
use super::disk::PageCache;
use super::letter::Content;
use super::node::{Machine, NOW, Steps, later};
use super::witness::{Mark, Watch, Witness};
use super::words;
use crate::checks::Context;
use kafka::config::{NodeConfig, Settings, Voter};
use kafka::log::{LogError, OpenWith};
use kafka::note::Note;
use kafka::quorum::Quorum;
use kafka::rules::Rules;
use kafka::{Call, CallFailed, CallResult, Entropy, NodeId, Now, Outbox, SyncOwner, SyncTag};
use kafka_protocol::messages::RequestKind;
use model::check::Spec;
use serde::Serialize;
use stateright::{Model, Property};
use std::fmt;

/// How far the search goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuorumBounds {
    /// The highest epoch.
    pub epochs: i32,
    /// The longest log, in records; each epoch with a leader begins with one.
    pub log_size: i64,
    /// Timers of roles that fire.
    pub timeouts: u8,
    /// Processes killed; the page cache stays.
    pub kills: u8,
    /// Power failures; what was not synced is gone. With any, the syncs of logs take time.
    pub power_failures: u8,
    /// Letters that go astray or are overtaken.
    pub letters: Letters,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "action")]
#[allow(missing_docs)] // Each variant is a sentence in `sentence`.
pub enum QuorumStep {
    Letter {
        #[serde(flatten)]
        travel: Travel,
    },
    TimeOut {
        node: u8,
    },
    Append {
        node: u8,
    },
    Sync {
        node: u8,
    },
    Kill {
        node: u8,
    },
    LosePower {
        node: u8,
    },
    Start {
        node: u8,
    },
}

/// What is used up of the bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Spent {
    timeouts: u8,
    kills: u8,
    power_failures: u8,
    letters: Letters,
}

/// The whole quorum.
#[derive(Clone, PartialEq, Hash)]
pub struct QuorumState {
    pub(super) cluster: Cluster<Quorum>,
    spent: Spent,
    /// Nothing has happened yet that concerns n2 or n3: they could change names.
    twins: bool,
}

/// Three voters.
const VOTERS: usize = 3;

/// Longer than every timeout of a role.
const TIMEOUT_MS: u64 = 10_000;
/// A peer that failed is asked again after less than this.
const RETRY_MS: u64 = 60;

/// The quorum within bounds.
pub struct QuorumSpec {
    bounds: QuorumBounds,
    rules: Rules,
    steps: Steps<Quorum>,
    watch: Watch,
}

impl Machine for Quorum {
    fn on_sync_done(&mut self, tag: &SyncTag, disk: &mut PageCache, out: &mut Outbox) -> Result<(), LogError> {
        Quorum::on_sync_done(self, tag, Ok(()), NOW, disk, out)
    }

    fn rest(&mut self, _now: Now, disk: &mut PageCache, out: &mut Outbox) -> Result<(), LogError> {
        self.forget_age(NOW);
        if self.next_deadline().is_some_and(|at| at <= later(RETRY_MS).mono) {
            self.on_deadline(later(RETRY_MS), disk, out)?;
        }
        while let Some(at) = out.calls.iter().position(is_probe) {
            let Call { to, channel, tag, .. } = out.calls.remove(at);
            self.on_response(to, channel, tag, Err(CallFailed::Disconnected), NOW, disk, out)?;
        }
        self.forget_age(NOW);
        Ok(())
    }
}

/// Whether a voter that knows no leader asks around.
fn is_probe(call: &Call) -> bool {
    matches!(&call.request, RequestKind::Fetch(fetch) if fetch.max_wait_ms == 0)
}

fn id(node: u8) -> NodeId {
    NodeId(i32::from(node) + 1)
}

fn config(node: u8, rules: Rules) -> NodeConfig {
    let voter = |node| Voter {
        id: id(node),
        host: String::new(),
        port: 0,
    };
    NodeConfig {
        node_id: id(node),
        is_broker: false,
        is_controller: true,
        host: String::new(),
        port: 0,
        rack: None,
        voters: (0..VOTERS as u8).map(voter).collect(),
        cluster_id: "code".to_owned(),
        settings: Settings {
            // One batch a fetch: followers stand at every offset once.
            internal_metadata_max_fetch_size_in_bytes: 1,
            ..Settings::default()
        },
        rules,
    }
}

/// What happens to a voter beside letters and stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Own {
    /// Its process starts.
    Open(u8),
    /// The timer of its role fires.
    TimeOut,
    /// A record is written, if it leads.
    Append,
    /// Its disk ends all syncs.
    Sync,
}

fn is_slow(tag: &SyncTag) -> bool {
    matches!(tag.owner, SyncOwner::Log(_))
}

impl Driver for QuorumSpec {
    type Machine = Quorum;
    type Own = Own;

    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn take(&self, change: &mut Change<'_, Quorum>, node: u8, event: &Event<'_, Own>) {
        let (rules, before) = (self.rules, &change.after.nodes[usize::from(node)]);
        let now = match event {
            Event::Own(Own::TimeOut) => later(TIMEOUT_MS),
            _ => NOW,
        };
        let effect = self.steps.take(before, event, now, |machine, disk, out| {
            if let Event::Own(Own::Open(node)) = event {
                let opened = Quorum::open(&config(*node, rules), OpenWith::default(), Entropy(0), NOW, disk, out)?;
                *machine = Some(opened);
                return Ok(());
            }
            match machine {
                Some(quorum) => enter(quorum, event, now, disk, out),
                None => Ok(()),
            }
        });
        let has_started = matches!(event, Event::Own(Own::Open(_)));
        change.apply(node, &effect, &self.watch, has_started);
    }
}

/// What an event is to the machine.
fn enter(
    quorum: &mut Quorum,
    event: &Event<'_, Own>,
    now: Now,
    disk: &mut PageCache,
    out: &mut Outbox,
) -> Result<(), LogError> {
    match event {
        Event::Handle(id, letter) => match letter.content() {
            Content::Request(request) => quorum.handle(*id, request, now, disk, out),
            Content::Response(_) => unreachable!("an answer is no request"),
        },
        Event::Response(link, letter) => {
            let result: CallResult = match letter.map(super::letter::Letter::content) {
                Ok(Content::Response(response)) => Ok(response.clone()),
                Ok(Content::Request(_)) => unreachable!("a request is no answer"),
                Err(failed) => Err(failed),
            };
            match quorum.open_call(link.channel, id(link.to)) {
                Some(tag) => quorum.on_response(id(link.to), link.channel, tag, result, now, disk, out),
                None => Ok(()),
            }
        }
        Event::Disconnected(id) => {
            quorum.on_disconnected_request(*id);
            Ok(())
        }
        Event::Own(Own::TimeOut) => quorum.on_deadline(now, disk, out),
        Event::Own(Own::Append) => quorum
            .append(&[bytes::Bytes::from_static(b"r")], now, disk, out)
            .map(|_| ()),
        Event::Own(Own::Sync) => {
            while let Some(tag) = disk.end_sync(|_| true) {
                Machine::on_sync_done(quorum, &tag, disk, out)?;
            }
            Ok(())
        }
        Event::Stop { .. } | Event::Own(Own::Open(_)) => Ok(()),
    }
}

impl QuorumSpec {
    /// With some rules of the museum on.
    pub fn new(bounds: QuorumBounds, rules: Rules) -> QuorumSpec {
        let slow = bounds.power_failures > 0;
        QuorumSpec {
            bounds,
            rules,
            steps: Steps::new(if slow { is_slow } else { |_| false }),
            watch: Watch::new(),
        }
    }

    fn open(&self, change: &mut Change<'_, Quorum>, node: u8) {
        self.take(change, node, &Event::Own(Own::Open(node)));
        change.show_logs(|quorum, _, disk| quorum.log().clone().read_all(disk));
    }

    fn is_within(&self, state: &QuorumState) -> bool {
        let within =
            |quorum: &Quorum| quorum.epoch().0 <= self.bounds.epochs && quorum.log_end_offset() <= self.bounds.log_size;
        state.cluster.machines().all(within)
    }

    /// The state after a step, if it is within the bounds; what was said on the way is added to `said`.
    fn act(&self, before: &QuorumState, step: QuorumStep, said: &mut Vec<(u8, Note)>) -> Option<QuorumState> {
        let mut change = Change {
            after: before.cluster.clone(),
            said,
        };
        let mut spent = before.spent;
        match step {
            QuorumStep::Letter { travel } => {
                if !self.travel(&mut change, travel, &mut spent.letters) {
                    return None;
                }
            }
            QuorumStep::TimeOut { node } => {
                spent.timeouts += 1;
                self.take(&mut change, node, &Event::Own(Own::TimeOut));
            }
            QuorumStep::Append { node } => self.take(&mut change, node, &Event::Own(Own::Append)),
            QuorumStep::Sync { node } => self.take(&mut change, node, &Event::Own(Own::Sync)),
            QuorumStep::Kill { node } => {
                spent.kills += 1;
                self.stop(&mut change, node, false);
            }
            QuorumStep::LosePower { node } => {
                spent.power_failures += 1;
                self.stop(&mut change, node, true);
            }
            QuorumStep::Start { node } => self.open(&mut change, node),
        }
        let (one, other) = step.nodes();
        let after = QuorumState {
            cluster: change.after,
            spent,
            twins: before.twins && one.max(other) == 0,
        };
        self.is_within(&after).then_some(after)
    }
}

impl QuorumStep {
    /// The nodes that it concerns, maybe the same one.
    fn nodes(self) -> (u8, u8) {
        match self {
            QuorumStep::Letter { travel } => (travel.from, travel.to),
            QuorumStep::TimeOut { node }
            | QuorumStep::Append { node }
            | QuorumStep::Sync { node }
            | QuorumStep::Kill { node }
            | QuorumStep::LosePower { node }
            | QuorumStep::Start { node } => (node, node),
        }
    }
}

impl fmt::Debug for QuorumState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, node) in self.cluster.nodes.iter().enumerate() {
            match &node.machine {
                Some(quorum) => write!(
                    f,
                    "n{}: epoch {}, leader {:?}, log end {}, high watermark {:?}; ",
                    n + 1,
                    quorum.epoch(),
                    quorum.leader().map(|leader| leader.0),
                    quorum.log_end_offset(),
                    quorum.high_watermark()
                )?,
                None => write!(f, "n{}: down; ", n + 1)?,
            }
        }
        f.write_str(&words::net(&self.cluster.net, name))
    }
}

fn name(node: u8) -> String {
    format!("n{}", node + 1)
}

impl Model for QuorumSpec {
    type State = QuorumState;
    type Action = QuorumStep;

    fn init_states(&self) -> Vec<QuorumState> {
        let mut said = Vec::new();
        let mut change = Change {
            after: Cluster::new(VOTERS, Witness::new(Context::new(VOTERS))),
            said: &mut said,
        };
        for node in 0..VOTERS as u8 {
            self.open(&mut change, node);
        }
        vec![QuorumState {
            cluster: change.after,
            spent: Spent::default(),
            twins: true,
        }]
    }

    fn actions(&self, state: &QuorumState, actions: &mut Vec<QuorumStep>) {
        let (bounds, spent, cluster) = (&self.bounds, &state.spent, &state.cluster);
        if cluster.is_over() {
            return;
        }
        let is_up = |node: u8| cluster.machine(node).is_some();
        let travels = cluster::travels(cluster, is_up, (spent.letters, bounds.letters));
        actions.extend(travels.into_iter().map(|travel| QuorumStep::Letter { travel }));
        for node in 0..VOTERS as u8 {
            let Some(quorum) = cluster.machine(node) else {
                actions.push(QuorumStep::Start { node });
                continue;
            };
            if spent.timeouts < bounds.timeouts {
                actions.push(QuorumStep::TimeOut { node });
            }
            if quorum.is_leader() {
                actions.push(QuorumStep::Append { node });
            }
            if cluster.nodes[usize::from(node)].disk.is_syncing() {
                actions.push(QuorumStep::Sync { node });
            }
            if spent.kills < bounds.kills {
                actions.push(QuorumStep::Kill { node });
            }
            if spent.power_failures < bounds.power_failures {
                actions.push(QuorumStep::LosePower { node });
            }
        }
        // All voters are alike at the beginning: the first timer is that of n1, and what happens first to one of the
        // others happens to n2. Every other schedule is one of these under other names.
        let is_renamed = |step: &QuorumStep| {
            let (one, other) = step.nodes();
            spent.timeouts == 0 && one > 0 || state.twins && one.max(other) == 2
        };
        actions.retain(|step| !is_renamed(step));
    }

    fn next_state(&self, state: &QuorumState, action: QuorumStep) -> Option<QuorumState> {
        self.act(state, action, &mut Vec::new())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        super::properties!(
            [
                "X9", "X10", "D3", "I1", "I2", "I3", "I4", "I11", "I12", "X2", "D1", "D4"
            ],
            [
                ("a leader is elected", |state: &QuorumState| {
                    state.cluster.machines().any(Quorum::is_leader)
                }),
                ("a record is committed", |state: &QuorumState| {
                    let mut machines = state.cluster.machines();
                    machines.any(|quorum| quorum.high_watermark() > Some(0))
                }),
                ("a truncation happens", |state: &QuorumState| {
                    state.cluster.witness.has_met(Mark::TruncationHappened)
                }),
            ]
        )
    }
}

impl Spec for QuorumSpec {
    fn words(&self, before: &QuorumState, action: &QuorumStep, _after: &QuorumState) -> String {
        let mut said = Vec::new();
        self.act(before, *action, &mut said);
        words::step(&sentence(*action), &said, name)
    }

    fn state_bytes(&self) -> usize {
        size_of::<QuorumState>() + SHARED_BYTES
    }
}

fn sentence(step: QuorumStep) -> String {
    match step {
        QuorumStep::Letter { travel } => cluster::sentence(travel, name),
        QuorumStep::TimeOut { node } => format!("the timer of {} fires", name(node)),
        QuorumStep::Append { node } => format!("a record is written at {}", name(node)),
        QuorumStep::Sync { node } => format!("the disk of {} ends its syncs", name(node)),
        QuorumStep::Kill { node } => format!("{} is killed", name(node)),
        QuorumStep::LosePower { node } => format!("{} loses power", name(node)),
        QuorumStep::Start { node } => format!("{} starts", name(node)),
    }
}
