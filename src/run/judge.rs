//! What the checks are told beyond notes, and the verdict at the end.
//!
//! Notes say what machines did. That a process died, how, and what a fault did to a disk is known only here.

use super::setup::{Layout, voters};
use super::{Class, Ended, Outcome, Run};
use crate::checks::{Context, Fact, StopKind, TopicPromise, Violation};
use crate::cluster::{Cluster, SimDisk};
use crate::conform;
use crate::scenario::{Scenario, Swarm};
use kafka::config::TopicConfig;
use kafka::types::METADATA_PARTITION;
use kafka::{Note, Uuid};
use sim::fault::{Fault, NodeId};
use sim::swarm::{Family, Planned, SwarmConfig};
use sim::world::World;
use std::collections::{BTreeMap, BTreeSet};

fn promise(config: &TopicConfig) -> TopicPromise {
    TopicPromise {
        min_insync_replicas: config.min_insync_replicas as u32,
        unclean_leader_election: config.unclean_leader_election_enable == 1,
        flush_messages: config.flush_messages,
    }
}

/// The cluster as the checks need to know it.
pub fn context(scenario: &Scenario, layout: &Layout) -> Context {
    let ids = |range: std::ops::Range<usize>| range.map(|server| layout.node_id(server).0).collect::<Vec<_>>();
    Context {
        node_ids: ids(0..layout.servers),
        voters: voters(scenario, layout).iter().map(|voter| voter.id.0).collect(),
        controllers_only: ids(layout.brokers..layout.servers),
        topics: scenario
            .topic_configs()
            .iter()
            .map(|(name, config)| (name.clone(), promise(config)))
            .collect(),
        default_promise: promise(&TopicConfig::of(&scenario.settings(), &BTreeMap::new())),
        verifier: Some(layout.verify().0),
        ..Context::new(layout.servers)
    }
}

/// What a seed may draw from.
pub(super) fn swarm_config(swarm: &Swarm, layout: &Layout) -> SwarmConfig {
    let node = |name: &String| layout.node(name).expect("validated when it was read");
    SwarmConfig {
        families: swarm
            .families
            .iter()
            .map(|name| Family::by_name(name).expect("validated when it was read"))
            .collect(),
        max_down: swarm.max_down,
        max_lossy: swarm.max_lossy,
        spared: swarm.spared.iter().map(node).collect(),
        storm: swarm.storm,
        window_ms: swarm.window_ms,
        ..SwarmConfig::default()
    }
}

/// Role numbers of the swarm's plans.
const ROLE_CONTROLLER: u8 = 1;

/// The fault at the node that has the role now: 0 leads most partitions, 1 is the active controller. None if nobody has
/// it, or one that the swarm must not strike.
pub(super) fn aim(planned: &Planned, world: &World<Cluster>, layout: &Layout, swarm: &Swarm) -> Option<Fault> {
    let Planned::AtRole { role, what } = planned else {
        return Some(planned.at(sim::swarm::ROLE));
    };
    let brokers = layout
        .server_nodes()
        .into_iter()
        .filter_map(|node| Some((node, world.program(node)?.broker()?)));
    let target = if *role == ROLE_CONTROLLER {
        brokers
            .filter(|(_, broker)| broker.is_active_controller())
            .map(|(node, _)| node)
            .next()
    } else {
        let busiest = brokers.max_by_key(|(node, broker)| (broker.leaderships(), std::cmp::Reverse(*node)));
        busiest.map(|(node, _)| node)
    };
    let spared = |node: &NodeId| swarm.spared.contains(&layout.names[usize::from(node.0)]);
    let target = target.filter(|node| !(what.strikes() && spared(node)));
    target.map(|node| planned.at(node))
}

/// Before the first word about a topic: what it is called, and so what it promises.
pub(super) fn name_topic<'w>(
    node: NodeId,
    note: &Note,
    world: &'w World<Cluster>,
    named: &BTreeSet<Uuid>,
) -> Option<(Uuid, &'w str)> {
    let (Note::PartitionDecided { partition, .. } | Note::LogOpened { partition, .. }) = note else {
        return None;
    };
    if *partition == METADATA_PARTITION || named.contains(&partition.topic) {
        return None;
    }
    // If it died in this very step, others will tell.
    let broker = world.program(node)?.broker()?;
    let mut images = broker.controller_image().into_iter().chain([broker.image()]);
    let topic = images.find_map(|image| image.topics.get(&partition.topic))?;
    Some((topic.id, &topic.name))
}

/// Tells the checks which processes began and ended since the last step, and whose disks were damaged.
pub(super) fn lifecycle(run: &mut Run<'_>) {
    for server in 0..run.layout.servers {
        let node = NodeId(server as u16);
        let life = (run.world.incarnation(node), run.world.is_up(node));
        let before = std::mem::replace(&mut run.lives[server], life);
        if before == life {
            continue;
        }
        // A process that began and ended within one step was still there.
        let fleeting = life.0 != before.0 && !life.1;
        if fleeting {
            run.tell(Fact::Started {
                node: node.0,
                incarnation: life.0,
            });
        }
        if before.1 || fleeting {
            let how = match run.world.last_death(node) {
                Some(sim::world::Death::Killed) => StopKind::Killed,
                Some(sim::world::Death::MidStep) => StopKind::KilledMidStep,
                Some(sim::world::Death::PowerLost) => StopKind::PowerLost,
                // A broker whose disk failed it gave up in the middle of a step: what it had begun has left no notes.
                Some(sim::world::Death::Exited { clean: false }) => StopKind::KilledMidStep,
                Some(sim::world::Death::Exited { clean }) => StopKind::Exited { clean },
                None => unreachable!("it was up and is not"),
            };
            run.outages.stopped(node.0, run.world.now());
            run.tell(Fact::Stopped { node: node.0, how });
        }
        if life.1 {
            run.tell(Fact::Started {
                node: node.0,
                incarnation: life.0,
            });
        }
    }
}

/// Tells the checks what passed between NICs, connection drivers and machines.
pub(super) fn traffic(run: &mut Run<'_>) {
    let Some(driven) = &run.driven else { return };
    let time_ns = run.world.now();
    for (node, conn, what) in driven.journal().borrow_mut().drain(..) {
        run.checks.fact(Fact::Traffic {
            time_ns,
            node: node.0,
            conn,
            what: &what,
        });
    }
}

/// Tells the checks of power failures, also of hosts whose process is gone.
pub(super) fn power_lost(run: &mut Run<'_>, fault: &Fault) {
    let servers = run.layout.servers;
    if let Fault::PowerLoss { nodes, .. } = fault {
        // The page cache was still there.
        for node in nodes.iter().filter(|node| usize::from(node.0) < servers) {
            run.tell(Fact::Stopped {
                node: node.0,
                how: StopKind::PowerLost,
            });
        }
    }
}

/// Tells the checks what of durable data faults have taken or changed, so that it is not held against the brokers.
pub(super) fn strikes(run: &mut Run<'_>) {
    for node in run.layout.server_nodes() {
        for strike in run.world.disk_mut(node).take_strikes() {
            run.tell(Fact::DiskDamaged {
                node: node.0,
                what: strike.what,
                path: strike.path.as_deref(),
            });
            run.struck.push((node, strike));
        }
    }
}

/// After the step in which logs were opened: what they really hold, where that is in doubt.
pub(super) fn resolve_recoveries(run: &mut Run<'_>) {
    for (node, partition) in run.checks.wanted_logs() {
        let read = |process: &mut crate::cluster::Process, disk: &mut sim::disk::Disk| {
            process.broker_mut()?.read_log(partition, &mut SimDisk(disk)).ok()
        };
        if let Some(batches) = run.world.peek(NodeId(node), read).flatten() {
            run.tell(Fact::LogContent {
                node,
                partition,
                batches,
            });
        }
    }
}

/// After each step: the real state held against the specification's.
pub(super) fn settle_conform(run: &mut Run<'_>) {
    let Some(conform) = &mut run.conform else { return };
    let (world, layout, stepped) = (&run.world, &run.layout, run.stepped);
    let name = |node: NodeId| layout.names[usize::from(node.0)].clone();
    let told = || {
        let Some(stepped) = stepped else {
            return "the nodes start".to_owned();
        };
        let at = stepped.node.map(|node| name(node) + " ").unwrap_or_default();
        format!("step {}, {at}{}", stepped.seq, stepped.label.words(&name))
    };
    let real = |node| world.program(NodeId(node))?.broker();
    let node = stepped.and_then(|stepped| Some(stepped.node?.0));
    conform.settle(world.now(), node, &real, &told);
}

/// The verdict and everything beside it.
pub(super) fn outcome(run: &mut Run<'_>, seed: u64, ended: Ended) -> Outcome {
    let mut violations: Vec<Violation> = run.checks.violations().to_vec();
    let mut reason = String::new();
    let mut class = Class::Holds;
    let is_cut = matches!(ended, Ended::Until) && !run.script_only;
    match ended {
        Ended::Whole => violations.extend(
            run.conform
                .as_ref()
                .and_then(|conform| conform.seen_nothing(run.world.now())),
        ),
        Ended::Until => {}
        // A disk whose durable data a fault has changed may keep a node down for good.
        Ended::Stuck(why) => match run.checks.convergence_excused() {
            Some(excuse) => reason = format!("{why}; excused: {excuse}"),
            None => {
                reason = why;
                class = Class::Stuck;
            }
        },
        Ended::Panicked(words) => match run.checks.assertion_excused(&words) {
            Some(excuse) => reason = format!("{words}; excused: {excuse}"),
            None => violations.push(Violation {
                check: "ASSERT",
                time_ns: run.world.now(),
                node: None,
                message: format!("An invariant of the subject's own code is broken: {words}"),
            }),
        },
    }
    let conformed = run.conform.as_ref().map(|conform| conform.conformed());
    violations.extend(run.conform.as_ref().and_then(|conform| conform.violation().cloned()));
    let mut looked = run.checks.looked();
    let matched = conformed.iter().flat_map(|conformed| conformed.matched.values());
    looked.insert(conform::CHECK, matched.sum());
    if !violations.is_empty() {
        class = Class::Violated;
    }
    let permitted = run.checks.losses().iter().filter_map(|loss| {
        let value = String::from_utf8_lossy(&loss.value);
        let (topic, partition) = &loss.partition;
        loss.permitted
            .as_ref()
            .map(|why| format!("`{}` of {topic}-{partition}: {why}", value.trim_end_matches('.')))
    });
    Outcome {
        seed,
        digest: run.world.trace().digest(),
        class,
        reason,
        is_cut,
        violations,
        steps: run.steps,
        simulated_ns: run.world.now(),
        cpu_ns: 0,
        outages_ns: run.outages.lasted_ns.clone(),
        operations: run.users.iter().map(|user| user.operations).sum(),
        faults: run.faults.clone(),
        marks: run
            .checks
            .marks()
            .all()
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect(),
        looked,
        conformed,
        permitted: permitted.collect(),
    }
}
