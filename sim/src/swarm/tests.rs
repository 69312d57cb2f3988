//! Over many seeds: everything happens, everything ends, no limit is broken.

use super::*;
use crate::fault::Survival;
use crate::random::Streams;
use std::collections::{BTreeMap, BTreeSet};

const SEEDS: u64 = 1000;
const DURATION_NS: u64 = 60_000_000_000;

fn nodes(from: u16, count: u16) -> Vec<NodeId> {
    (from..from + count).map(NodeId).collect()
}

fn planned(config: &SwarmConfig, seed: u64) -> Plan {
    plan(
        config,
        &nodes(0, 5),
        &nodes(5, 2),
        DURATION_NS,
        &mut Streams::new(seed).stream("faults"),
    )
}

fn destructive() -> SwarmConfig {
    SwarmConfig {
        max_down: 2,
        max_lossy: 2,
        ..SwarmConfig::default()
    }
}

fn what(planned: &Planned) -> &Fault {
    match planned {
        Planned::Fault { what } | Planned::AtRole { what, .. } => what,
    }
}

#[test]
fn all_families_and_all_kinds_of_faults_occur() {
    let (mut families, mut kinds) = (BTreeSet::new(), BTreeMap::new());
    for seed in 0..SEEDS {
        let plan = planned(&destructive(), seed);
        assert!(!plan.families.is_empty());
        families.extend(plan.families);
        for (_, action) in &plan.actions {
            *kinds.entry(what(action).kind()).or_insert(0) += 1;
        }
    }
    assert_eq!(families, BTreeSet::from(Family::ALL));
    let missing: Vec<&str> = heal(&nodes(0, 2), &[])
        .iter()
        .map(Fault::kind)
        .filter(|kind| !kinds.contains_key(kind))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(
        kinds.len(),
        39,
        "a kind of fault that no swarm draws, or a new one: {kinds:?}"
    );
}

#[test]
fn plans_are_sorted_within_the_run_and_the_same_for_the_same_seed() {
    let mut different = BTreeSet::new();
    let mut sizes = BTreeSet::new();
    for seed in 0..SEEDS {
        let plan = planned(&destructive(), seed);
        assert_eq!(plan, planned(&destructive(), seed));
        assert!(plan.actions.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        assert!(plan.actions.iter().all(|(at, _)| *at < DURATION_NS));
        sizes.insert(plan.actions.len() / 50);
        different.insert(format!("{plan:?}"));
    }
    assert_eq!(different.len() as u64, SEEDS);
    assert!(
        sizes.len() > 5 && sizes.contains(&0),
        "calm runs and stormy ones: {sizes:?}"
    );
}

/// What an entry opens, and what it closes; a name of the window.
fn window(fault: &Fault) -> Option<(String, bool)> {
    Some(match fault {
        Fault::Pause { node, .. } => (format!("pause {node:?}"), true),
        Fault::Resume { node } => (format!("pause {node:?}"), false),
        Fault::SlowCpu { node, factor } => (format!("cpu {node:?}"), *factor != 1),
        Fault::Cut { .. } | Fault::Flap { .. } => ("links".to_owned(), true),
        Fault::HealLinks => ("links".to_owned(), false),
        Fault::Loss { from, to, ppm } => (format!("loss {from:?}{to:?}"), *ppm != 0),
        Fault::SlowLink { from, to, factor } => (format!("slow {from:?}{to:?}"), *factor != 1),
        Fault::Bandwidth { node, bytes_per_s } => (format!("nic {node:?}"), *bytes_per_s != 0),
        Fault::Fragment { node, on } => (format!("fragment {node:?}"), *on),
        Fault::StopReading { node, on } => (format!("window {node:?}"), *on),
        Fault::RefuseConnects { node, how } => (format!("refuse {node:?}"), how.is_some()),
        Fault::ClockOffset { node, offset_ms } => (format!("offset {node:?}"), *offset_ms != 0),
        Fault::ClockDrift { node, ppm } => (format!("drift {node:?}"), *ppm != 0),
        Fault::LateTimers { node, up_to_ms } => (format!("timers {node:?}"), *up_to_ms != 0),
        Fault::Kill { node } | Fault::Terminate { node } => (format!("down {node:?}"), true),
        Fault::CrashAtDiskCall { node, calls } if *calls > 0 => (format!("down {node:?}"), true),
        Fault::CrashInRecovery { node, count, .. } => (format!("recovery {node:?}"), *count > 0),
        Fault::Start { node } => (format!("down {node:?}"), false),
        Fault::Disk { node, disk } => match disk {
            DiskFault::Healthy => (disk_name(node), false),
            DiskFault::BitFlip | DiskFault::UnreadableSector | DiskFault::Snapshot => return None,
            DiskFault::Wipe | DiskFault::Rollback | DiskFault::Swap { .. } => return None,
            _ => (disk_name(node), true),
        },
        _ => return None,
    })
}

fn disk_name(node: &NodeId) -> String {
    format!("disk {node:?}")
}

#[test]
fn every_window_ends_and_every_node_starts() {
    for seed in 0..SEEDS {
        // A role is some node: whichever it is, the ends must cover it.
        for struck in [NodeId(0), NodeId(4)] {
            let mut open = BTreeSet::new();
            for (_, action) in planned(&destructive(), seed).actions {
                let fault = action.at(struck);
                if let Fault::PowerLoss { nodes, .. } = &fault {
                    open.extend(nodes.iter().map(|node| format!("down {node:?}")));
                }
                if let Some((name, begins)) = window(&fault) {
                    if begins {
                        open.insert(name);
                    } else {
                        open.remove(&name);
                    }
                }
            }
            assert!(open.is_empty(), "seed {seed}: never ended: {open:?}");
        }
    }
}

#[test]
fn no_more_servers_are_down_at_once_than_allowed() {
    let mut most = 0;
    for seed in 0..SEEDS {
        for max_down in 0..=2 {
            let config = SwarmConfig {
                max_down,
                ..destructive()
            };
            let mut down = BTreeSet::new();
            for (at, action) in planned(&config, seed).actions {
                match action.at(NodeId(3)) {
                    Fault::PowerLoss { nodes, .. } => down.extend(nodes),
                    Fault::Kill { node } | Fault::Terminate { node } => {
                        down.insert(node);
                    }
                    Fault::CrashAtDiskCall { node, calls: 1.. } => {
                        down.insert(node);
                    }
                    Fault::Start { node } => {
                        down.remove(&node);
                    }
                    _ => {}
                }
                assert!(down.len() <= max_down, "seed {seed} at {at}: {down:?}");
                most = most.max(down.len());
            }
        }
    }
    assert_eq!(most, 2, "the limit is used");
}

#[test]
fn no_more_servers_lose_data_than_allowed() {
    let mut most = 0;
    for seed in 0..SEEDS {
        for max_lossy in 0..=2 {
            let config = SwarmConfig {
                max_lossy,
                ..destructive()
            };
            let (mut lossy, mut nameless) = (BTreeSet::new(), 0);
            for (_, action) in planned(&config, seed).actions {
                match what(&action) {
                    Fault::PowerLoss { survival, .. } if *survival == Survival::All => {}
                    Fault::PowerLoss { nodes, .. } if nodes.contains(&ROLE) => nameless += 1,
                    Fault::PowerLoss { nodes, .. } => lossy.extend(nodes.clone()),
                    Fault::Disk { node, disk } => match disk {
                        DiskFault::Swap { other } => lossy.extend([*node, *other]),
                        DiskFault::Healthy
                        | DiskFault::Slow { .. }
                        | DiskFault::Hung
                        | DiskFault::Full
                        | DiskFault::Snapshot
                        | DiskFault::LyingSync { .. } => {}
                        _ => {
                            lossy.insert(*node);
                        }
                    },
                    _ => {}
                }
            }
            assert!(
                lossy.len() + nameless <= max_lossy,
                "seed {seed}: {lossy:?} and {nameless}"
            );
            most = most.max(lossy.len() + nameless);
        }
    }
    assert_eq!(most, 2, "the limit is used");
}

#[test]
fn who_is_spared_never_stops_and_its_disk_is_well() {
    let spared = nodes(3, 2);
    let config = SwarmConfig {
        spared: spared.clone(),
        ..destructive()
    };
    let (mut struck, mut named) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..SEEDS {
        for (_, action) in planned(&config, seed).actions {
            match what(&action) {
                Fault::PowerLoss { nodes, .. } => struck.extend(nodes.clone()),
                Fault::Disk {
                    node,
                    disk: DiskFault::Swap { other },
                } => struck.extend([*node, *other]),
                Fault::Disk { disk, .. } if *disk == DiskFault::Healthy => {}
                Fault::Kill { node }
                | Fault::Terminate { node }
                | Fault::CrashInRecovery { node, .. }
                | Fault::CrashAtDiskCall { node, .. }
                | Fault::Disk { node, .. } => {
                    assert!(action.at(*node).strikes(), "{action:?}");
                    let off = matches!(
                        what(&action),
                        Fault::CrashAtDiskCall { calls: 0, .. } | Fault::CrashInRecovery { count: 0, .. }
                    );
                    struck.extend((!off).then_some(*node));
                }
                Fault::Cut { from, .. } => named.extend(from.clone()),
                Fault::Pause { node, .. } | Fault::SlowCpu { node, .. } => {
                    named.insert(*node);
                }
                fault => assert!(!fault.strikes(), "{fault:?}"),
            }
        }
    }
    struck.remove(&ROLE);
    assert_eq!(struck, nodes(0, 3).into_iter().collect());
    assert!(
        spared.iter().all(|node| named.contains(node)),
        "links, clocks, processors"
    );
}

#[test]
fn in_a_storm_every_seed_has_all_families_densely() {
    let config = SwarmConfig {
        families: vec![Family::Crash, Family::Partition, Family::SlowLink],
        storm: true,
        window_ms: (100, 1_000),
        ..SwarmConfig::default()
    };
    for seed in 0..SEEDS {
        let plan = planned(&config, seed);
        assert_eq!(plan.families, config.families);
        let cuts = plan
            .actions
            .iter()
            .filter(|(_, action)| matches!(what(action), Fault::HealLinks));
        assert!(cuts.count() >= 3, "seed {seed}");
    }
}

#[test]
fn several_servers_lose_power_at_the_same_instant() {
    let several = (0..SEEDS).flat_map(|seed| planned(&destructive(), seed).actions);
    let sizes: BTreeSet<usize> = several
        .filter_map(|(_, action)| match what(&action) {
            Fault::PowerLoss { nodes, .. } => Some(nodes.len()),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, BTreeSet::from([1, 2]));
}

#[test]
fn a_role_takes_its_place_and_is_never_cut_off_from_itself() {
    let cut = Planned::AtRole {
        role: 0,
        what: Fault::Cut {
            from: vec![ROLE],
            to: nodes(0, 3),
        },
    };
    let want = Fault::Cut {
        from: vec![NodeId(1)],
        to: vec![NodeId(0), NodeId(2)],
    };
    assert_eq!(cut.at(NodeId(1)), want);
    let mut roles = BTreeSet::new();
    for seed in 0..SEEDS {
        for (_, action) in planned(&destructive(), seed).actions {
            let fault = action.at(NodeId(2));
            assert!(!format!("{fault:?}").contains("65535"), "{fault:?}");
            if let Fault::Cut { from, to } = &fault {
                assert!(from.iter().all(|node| !to.contains(node)), "{fault:?}");
            }
            if let Planned::AtRole { role, .. } = action {
                roles.insert(role);
            }
        }
    }
    assert_eq!(roles, BTreeSet::from([0, 1]));
}

#[test]
fn partitions_have_all_shapes() {
    let (servers, clients) = (nodes(0, 5), nodes(5, 2));
    let all = [servers.clone(), clients.clone()].concat();
    let mut shapes: BTreeSet<&str> = BTreeSet::new();
    for seed in 0..500 {
        let mut stream = Streams::new(seed).stream("shape");
        let mut cut = BTreeSet::new();
        for fault in links::partition(&servers, &clients, &mut stream) {
            let Fault::Cut { from, to } = fault else {
                panic!("only cuts")
            };
            for a in &from {
                assert!(!to.is_empty() && !from.is_empty());
                to.iter()
                    .for_each(|b| assert!(cut.insert((*a, *b)), "seed {seed}: twice"));
            }
        }
        let sees = |a: NodeId, b: NodeId| !cut.contains(&(a, b));
        let links = |a: &NodeId| {
            servers
                .iter()
                .filter(|b| *b != a && sees(*a, **b) && sees(**b, *a))
                .count()
        };
        let degrees: Vec<usize> = servers.iter().map(links).collect();
        let symmetric = cut.iter().all(|(a, b)| cut.contains(&(*b, *a)));
        let among_servers = cut
            .iter()
            .filter(|(a, b)| servers.contains(a) && servers.contains(b))
            .count();
        shapes.insert(match () {
            () if !symmetric => "one way",
            () if among_servers == 0 => "clients only",
            () if cut.len() == 2 => "pair",
            () if degrees == [2; 5] => "ring",
            () if degrees.contains(&4)
                && degrees.contains(&2)
                && clients.iter().all(|c| all.iter().all(|n| sees(*c, *n))) =>
            {
                "bridge"
            }
            () if degrees.contains(&0) && clients.iter().any(|c| servers.iter().all(|s| sees(*c, *s))) => {
                "isolated, clients believe"
            }
            () if degrees.contains(&0) => "isolated",
            () => "halves",
        });
    }
    assert_eq!(shapes.len(), 8, "{shapes:?}");
}

#[test]
fn healing_names_every_node_and_link() {
    let healed = heal(&nodes(0, 3), &nodes(3, 1));
    for node in nodes(0, 4) {
        assert!(healed.contains(&Fault::Start { node }) && healed.contains(&Fault::Resume { node }));
    }
    let losses = healed
        .iter()
        .filter(|fault| matches!(fault, Fault::Loss { ppm: 0, .. }))
        .count();
    assert_eq!(losses, 12);
    assert!(
        healed.iter().filter_map(window).all(|(_, begins)| !begins),
        "it begins nothing"
    );
}

#[test]
fn small_clusters_get_plans_too() {
    for seed in 0..200 {
        for servers in 1..=3 {
            let mut stream = Streams::new(seed).stream("faults");
            let plan = plan(&destructive(), &nodes(0, servers), &[], 2_000_000_000, &mut stream);
            assert!(plan.actions.iter().all(|(at, _)| *at < 2_000_000_000));
        }
    }
}

#[test]
fn runs_have_all_lengths() {
    let config = SwarmConfig::default();
    let mut stream = Streams::new(1).stream("run");
    let lengths: Vec<u64> = (0..300).map(|_| config.duration_ns(&mut stream) / 1_000_000).collect();
    assert!(lengths.iter().all(|ms| (10_000..=300_000).contains(ms)));
    assert!(lengths.iter().any(|ms| *ms < 15_000) && lengths.iter().any(|ms| *ms > 200_000));
}
