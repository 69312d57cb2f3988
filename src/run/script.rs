//! Carries out a scenario's script: each step once its condition holds.

use super::setup::Layout;
use crate::cluster::Cluster;
use crate::scenario::{Action, Condition, Link, Scenario, ScriptStep};
use kafka::client::Op;
use kafka::{ClientNote, Note, TopicPartition};
use sim::fault::{DiskFault, Fault, NodeId, Survival};
use sim::world::World;
use std::collections::BTreeMap;

/// Where a script stands.
#[derive(Debug)]
pub struct Script {
    steps: Vec<ScriptStep>,
    next: usize,
    /// True time of the step before.
    last_ns: u64,
    /// Good and bad fates told to each producer, read positions of each consumer.
    acknowledged: BTreeMap<NodeId, u64>,
    failed: BTreeMap<NodeId, u64>,
    read: BTreeMap<(NodeId, String, i32), i64>,
    operations: u64,
}

/// What a step does to the world.
#[derive(Debug)]
pub enum Deed {
    /// A fault.
    Fault(Fault),
    /// An operation of a client.
    Operate(NodeId, Op),
    /// A record of the client's own making.
    Send(NodeId, String, i32),
    /// Something about the messages of a link.
    Link(Hand, NodeId, NodeId),
}

/// What a hand does to a link's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// Keeps them back.
    Hold,
    /// Lets the oldest one go.
    LetThrough,
    /// Loses the oldest one, with its connection.
    Drop,
    /// Lets all go, and keeps back no more.
    Release,
}

impl Script {
    /// Of this scenario.
    pub fn new(scenario: &Scenario) -> Script {
        Script {
            steps: scenario.faults.script.clone(),
            next: 0,
            last_ns: 0,
            acknowledged: BTreeMap::new(),
            failed: BTreeMap::new(),
            read: BTreeMap::new(),
            operations: 1 << 32,
        }
    }

    /// Nothing left to do.
    pub fn is_done(&self) -> bool {
        self.next == self.steps.len()
    }

    /// Whether it ever keeps messages back.
    pub fn holds_messages(&self) -> bool {
        let mut actions = self.steps.iter().flat_map(|step| &step.actions);
        actions.any(|action| matches!(action, Action::Hold(_)))
    }

    /// How many steps have been taken.
    pub fn taken(&self) -> usize {
        self.next
    }

    /// What it waits for, in words.
    pub fn waits_for(&self) -> String {
        let step = &self.steps[self.next];
        format!(
            "script step {} still waits for {}",
            self.next + 1,
            serde_json::to_string(&step.when).unwrap_or_default()
        )
    }

    /// Hears what machines say.
    pub fn hear(&mut self, node: NodeId, note: &Note) {
        match note {
            Note::Client(ClientNote::SendAcked { .. }) => *self.acknowledged.entry(node).or_default() += 1,
            Note::Client(ClientNote::SendFailed { .. }) => *self.failed.entry(node).or_default() += 1,
            Note::Client(ClientNote::Polled {
                topic,
                partition,
                records,
                ..
            }) => {
                if let Some((offset, ..)) = records.last() {
                    self.read.insert((node, topic.clone(), *partition), offset + 1);
                }
            }
            _ => {}
        }
    }

    /// The deeds of the next step, if its condition holds. `since_ns` is when traffic began.
    pub fn due(
        &mut self,
        since_ns: u64,
        world: &World<Cluster>,
        layout: &Layout,
        scenario: &Scenario,
    ) -> Option<Vec<Deed>> {
        let step = self.steps.get(self.next)?;
        let now = world.now();
        let holds = match &step.when {
            Condition::Now => true,
            Condition::AtMs(ms) => now >= since_ns + ms * 1_000_000,
            Condition::AfterMs(ms) => now >= self.last_ns.max(since_ns) + ms * 1_000_000,
            Condition::LogEnd { node, partition, is } => replica(world, layout, scenario, node, partition, |replica| {
                replica.log().log_end_offset() == *is
            }),
            Condition::HighWatermark {
                node,
                partition,
                at_least,
            } => replica(world, layout, scenario, node, partition, |replica| {
                replica.high_watermark() >= *at_least
            }),
            Condition::Leads { node, partition } => replica(
                world,
                layout,
                scenario,
                node,
                partition,
                kafka::replication::Partition::is_leader,
            ),
            Condition::Isr { partition, nodes } => layout.names[..layout.brokers].iter().any(|node| {
                replica(world, layout, scenario, node, partition, |replica| {
                    let mut isr: Vec<String> = replica
                        .isr()
                        .iter()
                        .filter_map(|id| layout.server_of(*id))
                        .map(|i| layout.names[i].clone())
                        .collect();
                    let mut wanted = nodes.clone();
                    isr.sort();
                    wanted.sort();
                    replica.is_leader() && isr == wanted
                })
            }),
            Condition::Answered { client, at_least } => {
                told(&self.acknowledged, client, layout) + told(&self.failed, client, layout) >= *at_least
            }
            Condition::Acknowledged { client, at_least } => told(&self.acknowledged, client, layout) >= *at_least,
            Condition::Failed { client, at_least } => told(&self.failed, client, layout) >= *at_least,
            Condition::Read {
                client,
                partition,
                at_least,
            } => self
                .read_to(client, partition, layout, scenario)
                .is_some_and(|offset| offset >= *at_least),
            Condition::ReadIs { client, partition, is } => {
                self.read_to(client, partition, layout, scenario) == Some(*is)
            }
            Condition::Up { node, is } => {
                let node = layout.node(node).expect("validated when it was read");
                let serves = world
                    .program(node)
                    .and_then(|process| process.broker())
                    .is_some_and(|broker| {
                        broker
                            .phase()
                            .is_none_or(|phase| phase == kafka::broker::Phase::Running)
                    });
                if *is { serves } else { world.program(node).is_none() }
            }
        };
        if !holds {
            return None;
        }
        let actions = step.actions.clone();
        self.next += 1;
        self.last_ns = now;
        Some(
            actions
                .iter()
                .flat_map(|action| self.deeds(action, layout, scenario))
                .collect(),
        )
    }

    /// The next offset that a consumer has not read.
    fn read_to(&self, client: &str, partition: &str, layout: &Layout, scenario: &Scenario) -> Option<i64> {
        let node = layout.node(client).expect("validated when it was read");
        let (topic, index) = scenario.split_partition(partition).expect("validated when it was read");
        self.read.get(&(node, topic.to_owned(), index)).copied()
    }

    fn deeds(&mut self, action: &Action, layout: &Layout, scenario: &Scenario) -> Vec<Deed> {
        let node = |name: &String| layout.node(name).expect("validated when it was read");
        let nodes = |names: &[String]| names.iter().map(node).collect::<Vec<_>>();
        let split = |partition: &String| {
            let (topic, index) = scenario.split_partition(partition).expect("validated when it was read");
            (topic.to_owned(), index)
        };
        self.operations += 1;
        let op = self.operations;
        let one = |fault: Fault| vec![Deed::Fault(fault)];
        let hand = |hand, link: &Link| vec![Deed::Link(hand, node(&link.from), node(&link.to))];
        match action {
            Action::Send {
                client,
                partition,
                count,
            } => {
                let (topic, index) = split(partition);
                (0..*count)
                    .map(|_| Deed::Send(node(client), topic.clone(), index))
                    .collect()
            }
            Action::Kill(name) => one(Fault::Kill { node: node(name) }),
            Action::PowerLoss { nodes: names, keep } => {
                let survival = match keep.as_str() {
                    "all" => Survival::All,
                    "subset" => Survival::Subset,
                    "ordered" => Survival::Ordered,
                    "prefix" => Survival::Prefix,
                    _ => Survival::None,
                };
                one(Fault::PowerLoss {
                    nodes: nodes(names),
                    survival,
                    torn_sectors: false,
                    garbage_tail: false,
                })
            }
            Action::Start(name) => one(Fault::Start { node: node(name) }),
            Action::Terminate(name) => one(Fault::Terminate { node: node(name) }),
            Action::Pause(name) => one(Fault::Pause {
                node: node(name),
                suspend: false,
            }),
            Action::Resume(name) => one(Fault::Resume { node: node(name) }),
            Action::Cut { a, b } => vec![
                Deed::Fault(Fault::Cut {
                    from: nodes(a),
                    to: nodes(b),
                }),
                Deed::Fault(Fault::Cut {
                    from: nodes(b),
                    to: nodes(a),
                }),
            ],
            Action::CutOneWay { from, to } => one(Fault::Cut {
                from: nodes(from),
                to: nodes(to),
            }),
            Action::Hold(link) => hand(Hand::Hold, link),
            Action::LetThrough(link) => hand(Hand::LetThrough, link),
            Action::Drop(link) => hand(Hand::Drop, link),
            Action::Release(link) => hand(Hand::Release, link),
            Action::HealLinks => one(Fault::HealLinks),
            Action::SlowLink { from, to, factor } => one(Fault::SlowLink {
                from: node(from),
                to: node(to),
                factor: *factor,
            }),
            Action::WipeDisk(name) => one(Fault::Disk {
                node: node(name),
                disk: DiskFault::Wipe,
            }),
            Action::Disk { node: name, fault } => {
                let disk = serde_json::from_value(fault.clone()).expect("validated when it was read");
                one(Fault::Disk { node: node(name), disk })
            }
            Action::StepClock { node: name, by_ms } => one(Fault::ClockStep {
                node: node(name),
                by_ms: *by_ms,
            }),
            Action::PollEvery { client, ms } => vec![Deed::Operate(node(client), Op::ResumePolling { every_ms: *ms })],
            Action::Elect {
                client,
                partition,
                unclean,
            } => {
                let (topic, partition) = split(partition);
                vec![Deed::Operate(
                    node(client),
                    Op::ElectLeaders {
                        op,
                        unclean: *unclean,
                        topic,
                        partition,
                    },
                )]
            }
            Action::AlterTopic { client, topic, config } => {
                let alter = |(name, value): (&String, &String)| Op::AlterConfig {
                    op,
                    topic: topic.clone(),
                    name: name.clone(),
                    value: Some(value.clone()),
                };
                config
                    .iter()
                    .map(|property| Deed::Operate(node(client), alter(property)))
                    .collect()
            }
        }
    }
}

/// How many fates a producer was told.
fn told(counts: &BTreeMap<NodeId, u64>, client: &str, layout: &Layout) -> u64 {
    let node = layout.node(client).expect("validated when it was read");
    counts.get(&node).copied().unwrap_or(0)
}

/// Whether something holds of a replica that is up.
fn replica(
    world: &World<Cluster>,
    layout: &Layout,
    scenario: &Scenario,
    node: &str,
    partition: &str,
    holds: impl Fn(&kafka::replication::Partition) -> bool,
) -> bool {
    let node = layout.node(node).expect("validated when it was read");
    let (topic, index) = scenario.split_partition(partition).expect("validated when it was read");
    world
        .program(node)
        .and_then(|process| process.broker())
        .is_some_and(|broker| {
            let Some(topic) = broker.image().topic(topic) else {
                return false;
            };
            broker
                .replica(TopicPartition {
                    topic: topic.id,
                    partition: index,
                })
                .is_some_and(holds)
        })
}
