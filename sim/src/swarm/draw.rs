//! Draws a plan.
//!
//! Faults are drawn in order of time, so that the limits hold at each moment by looking at what is still open: a fault
//! that would break one is not drawn. Two windows of one kind never overlap on one node, as the end of the first would end
//! both. It does not know what a fault does, only how long it lasts and what it costs of the limits.

use super::links::{around_role, both_ways, pairs, partition, shuffle};
use super::{Family, Plan, Planned, ROLE, SwarmConfig};
use crate::fault::{DiskFault, Fault, NodeId, Refusal, Survival};
use crate::random::Stream;
use std::collections::{BTreeMap, BTreeSet};

const NS_PER_MS: u64 = 1_000_000;
/// Faults of one family are at least this far apart on average.
const SHORTEST_GAP_NS: u64 = 300 * NS_PER_MS;
/// One fault in so many of those that could strikes a role.
const ROLE_ONE_IN: u64 = 3;

/// Between the two, small and large values equally likely on a scale of doublings.
pub(super) fn logarithmic((low, high): (u64, u64), stream: &mut Stream) -> u64 {
    let (low, high) = (low.max(1), high.max(low).max(1));
    let doublings = u64::from((high / low).ilog2());
    let from = low << stream.below(doublings + 1);
    stream.between(from, (from.saturating_mul(2) - 1).min(high))
}

/// Draws which families exist, how dense each is, and when what happens, within `config`; `duration_ns` is true time. Servers
/// can stop and lose data; clients only suffer what happens to links, clocks and processors. At least one server.
pub fn plan(
    config: &SwarmConfig,
    servers: &[NodeId],
    clients: &[NodeId],
    duration_ns: u64,
    stream: &mut Stream,
) -> Plan {
    assert!(!servers.is_empty(), "a plan for no server");
    // Few families leave room for what many would hide: the share is drawn too.
    let shares: &[u32] = if config.storm {
        &[1_000_000]
    } else {
        &[80_000, 250_000, 500_000, 1_000_000]
    };
    let share = *stream.pick(shares);
    let mut families: Vec<Family> = config
        .families
        .iter()
        .copied()
        .filter(|_| stream.chance(share))
        .collect();
    if families.is_empty() && !config.families.is_empty() {
        families.push(*stream.pick(&config.families));
    }
    families.sort_unstable();
    families.dedup();
    let mut begins: Vec<(u64, Family)> = Vec::new();
    // The shape of the run: everything rare, or everything dense.
    let (rarest, densest) = if config.storm {
        (16, 64)
    } else {
        (1, logarithmic((2, 64), stream))
    };
    for family in &families {
        let gap = (duration_ns / logarithmic((rarest, densest), stream)).max(SHORTEST_GAP_NS);
        let mut at = stream.below(gap);
        while at < duration_ns / 20 * 19 && begins.len() < config.max_faults.saturating_mul(4) {
            begins.push((at, *family));
            at += stream.exponential(gap).max(1);
        }
    }
    begins.sort_unstable();
    let mut draw = Draw {
        config,
        servers,
        nodes: [servers, clients].concat(),
        clients,
        end_ns: duration_ns.saturating_sub(1),
        down_until: BTreeMap::new(),
        nameless_down: Vec::new(),
        lossy: BTreeSet::new(),
        nameless_lossy: 0,
        open_until: BTreeMap::new(),
        actions: Vec::new(),
    };
    let mut faults = 0;
    for (at, family) in begins {
        if faults < config.max_faults && draw.draw(at, family, stream) {
            faults += 1;
        }
    }
    draw.actions.sort_by_key(|(at, _)| *at);
    Plan {
        families,
        actions: draw.actions,
    }
}

/// What is open on a node; two of the same kind do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Window {
    Links,
    Disk(NodeId),
    Node(Family, NodeId),
    Link(Family, NodeId, NodeId),
}

struct Draw<'a> {
    config: &'a SwarmConfig,
    servers: &'a [NodeId],
    clients: &'a [NodeId],
    nodes: Vec<NodeId>,
    end_ns: u64,
    down_until: BTreeMap<NodeId, u64>,
    /// Ends of the times that a node struck by its role is down: it may be any.
    nameless_down: Vec<u64>,
    lossy: BTreeSet<NodeId>,
    nameless_lossy: usize,
    open_until: BTreeMap<Window, u64>,
    actions: Vec<(u64, Planned)>,
}

impl Draw<'_> {
    /// One fault of a family at a time, with its end. False if nothing was possible.
    fn draw(&mut self, at: u64, family: Family, stream: &mut Stream) -> bool {
        let until = self.until(at, stream);
        if until <= at {
            return false;
        }
        match family {
            Family::Crash
            | Family::PowerLoss
            | Family::Terminate
            | Family::CrashAtCall
            | Family::CrashLoop
            | Family::Wipe
            | Family::Rollback
            | Family::Swap => self.stop(at, until, family, stream),
            Family::Partition | Family::Flap => self.cut(at, until, family, stream),
            Family::Loss | Family::SlowLink | Family::Reset | Family::HalfOpen => self.link(at, until, family, stream),
            Family::DiskSlow
            | Family::DiskHung
            | Family::DiskFull
            | Family::SyncFail
            | Family::SyncLie
            | Family::BitRot
            | Family::Misdirect
            | Family::LostWrite
            | Family::Unreadable => self.disk(at, until, family, stream),
            _ => self.node(at, until, family, stream),
        }
    }

    fn until(&self, at: u64, stream: &mut Stream) -> u64 {
        let length = logarithmic(self.config.window_ms, stream) * NS_PER_MS + stream.below(NS_PER_MS);
        (at + length).min(self.end_ns)
    }
    fn push(&mut self, at: u64, what: Fault) {
        self.actions.push((at, Planned::Fault { what }));
    }
    fn push_at_role(&mut self, at: u64, role: u8, what: Fault) {
        self.actions.push((at, Planned::AtRole { role, what }));
    }
    /// Opens a window unless one of its kind is open.
    fn open(&mut self, window: Window, at: u64, until: u64) -> bool {
        if self.open_until.get(&window).is_some_and(|end| *end >= at) {
            return false;
        }
        self.open_until.insert(window, until);
        true
    }
    fn role(&self, stream: &mut Stream) -> Option<u8> {
        let strikes = self.config.roles > 0 && stream.below(ROLE_ONE_IN) == 0;
        strikes.then(|| stream.below(u64::from(self.config.roles)) as u8)
    }

    // --- limits ---

    fn down_now(&self, at: u64) -> usize {
        let ends = self.down_until.values().chain(&self.nameless_down);
        ends.filter(|until| **until >= at).count()
    }
    fn may_stop(&self, at: u64) -> usize {
        self.config.max_down.saturating_sub(self.down_now(at))
    }
    /// Servers that may be struck.
    fn targets(&self) -> impl Iterator<Item = NodeId> {
        let spared = |node: &NodeId| self.config.spared.contains(node);
        self.servers.iter().copied().filter(move |node| !spared(node))
    }
    /// Targets that are up, in an order drawn from the seed.
    fn up(&self, at: u64, stream: &mut Stream) -> Vec<NodeId> {
        let up: Vec<NodeId> = self
            .targets()
            .filter(|node| self.down_until.get(node).is_none_or(|until| *until < at))
            .collect();
        shuffle(&up, stream)
    }
    fn may_lose(&self, nodes: &[NodeId]) -> bool {
        let more = nodes.iter().filter(|node| !self.lossy.contains(node)).count();
        self.lossy.len() + self.nameless_lossy + more <= self.config.max_lossy
    }

    // --- families ---

    fn stop(&mut self, at: u64, until: u64, family: Family, stream: &mut Stream) -> bool {
        let room = self.may_stop(at);
        if room == 0 {
            return false;
        }
        if matches!(
            family,
            Family::Crash | Family::PowerLoss | Family::Terminate | Family::CrashAtCall
        ) && let Some(role) = self.role(stream)
        {
            self.stop_role(at, until, family, role, stream);
            return true;
        }
        let mut nodes = self.up(at, stream);
        let wanted = match family {
            Family::Swap => 2,
            Family::PowerLoss => stream.between(1, room as u64) as usize,
            _ => 1,
        };
        nodes.truncate(wanted);
        if nodes.is_empty() || (family == Family::Swap && (nodes.len() < 2 || room < 2)) {
            return false;
        }
        if family.destroys() && !self.may_lose(&nodes) {
            return false;
        }
        let node = nodes[0];
        match family {
            Family::PowerLoss => {
                let may_lose = self.may_lose(&nodes);
                let loss = self.power_loss(nodes.clone(), may_lose, stream);
                if may_lose && !keeps_all(&loss) {
                    self.lossy.extend(&nodes);
                }
                self.push(at, loss);
            }
            Family::Terminate => self.push(at, Fault::Terminate { node }),
            Family::CrashAtCall => {
                let calls = logarithmic((1, 1000), stream) as u32;
                self.push(at, Fault::CrashAtDiskCall { node, calls });
            }
            Family::CrashLoop => {
                let count = stream.between(1, 4) as u32;
                let calls = logarithmic((1, 300), stream) as u32;
                self.push(at, Fault::Kill { node });
                self.push(at, Fault::CrashInRecovery { node, count, calls });
                let step = (until - at) / u64::from(count + 1);
                (1..=u64::from(count)).for_each(|n| self.push(at + n * step, Fault::Start { node }));
                // Those that did not get so far in time are called off.
                let off = Fault::CrashInRecovery {
                    node,
                    count: 0,
                    calls: 0,
                };
                self.push(until, off);
            }
            Family::Swap => {
                nodes.iter().for_each(|node| self.push(at, Fault::Kill { node: *node }));
                let disk = DiskFault::Swap { other: nodes[1] };
                self.push(at, Fault::Disk { node, disk });
            }
            Family::Wipe | Family::Rollback => {
                if family == Family::Rollback {
                    // The snapshot is from somewhere before.
                    let earlier = stream.below(at + 1);
                    let disk = DiskFault::Snapshot;
                    self.push(earlier, Fault::Disk { node, disk });
                }
                self.push(at, Fault::Kill { node });
                let disk = if family == Family::Wipe {
                    DiskFault::Wipe
                } else {
                    DiskFault::Rollback
                };
                self.push(at, Fault::Disk { node, disk });
            }
            _ => self.push(at, Fault::Kill { node }),
        }
        if family.destroys() {
            self.lossy.extend(&nodes);
        }
        for node in nodes {
            self.down_until.insert(node, until);
            if ends_by_itself(family) {
                // Whatever it is doing by now: it is to be down before it starts.
                self.push(until, Fault::Kill { node });
            }
            self.push(until, Fault::Start { node });
        }
        true
    }

    fn stop_role(&mut self, at: u64, until: u64, family: Family, role: u8, stream: &mut Stream) {
        let node = ROLE;
        let what = match family {
            Family::PowerLoss => {
                // Each time it may be another node that loses data.
                let may_lose = self.lossy.len() + self.nameless_lossy < self.config.max_lossy;
                let loss = self.power_loss(vec![node], may_lose, stream);
                self.nameless_lossy += usize::from(!keeps_all(&loss));
                loss
            }
            Family::Terminate => Fault::Terminate { node },
            Family::CrashAtCall => Fault::CrashAtDiskCall {
                node,
                calls: logarithmic((1, 1000), stream) as u32,
            },
            _ => Fault::Kill { node },
        };
        self.push_at_role(at, role, what);
        self.nameless_down.push(until);
        // Nobody knows who it was: all that are down start. Calling off what has not happened is all that is safe to do.
        for &node in self.servers {
            if family == Family::CrashAtCall {
                self.push(until, Fault::CrashAtDiskCall { node, calls: 0 });
            }
            self.push(until, Fault::Start { node });
        }
    }

    fn power_loss(&self, nodes: Vec<NodeId>, may_lose: bool, stream: &mut Stream) -> Fault {
        let some = [
            Survival::None,
            Survival::All,
            Survival::Subset,
            Survival::Subset,
            Survival::Ordered,
            Survival::Prefix,
        ];
        let survival = if may_lose { *stream.pick(&some) } else { Survival::All };
        Fault::PowerLoss {
            nodes,
            survival,
            torn_sectors: stream.below(2) == 0,
            garbage_tail: stream.below(2) == 0,
        }
    }

    fn cut(&mut self, at: u64, until: u64, family: Family, stream: &mut Stream) -> bool {
        // All cuts heal together, so there is one partition at a time.
        if self.nodes.len() < 2 || !self.open(Window::Links, at, until) {
            return false;
        }
        let role = self.role(stream);
        match (family, role) {
            (Family::Partition, Some(role)) => {
                let cuts = around_role(self.servers, self.clients, stream);
                cuts.into_iter().for_each(|cut| self.push_at_role(at, role, cut));
            }
            (Family::Partition, None) => {
                let cuts = partition(self.servers, self.clients, stream);
                cuts.into_iter().for_each(|cut| self.push(at, cut));
            }
            _ if self.servers.len() > 2 && stream.below(2) == 0 => return self.swizzle(at, until, stream),
            _ => {
                let a = *stream.pick(self.servers);
                let all = self.nodes.iter().copied().filter(|node| *node != a);
                let b: Vec<NodeId> = all.filter(|_| stream.below(2) == 0).collect();
                let flap = Fault::Flap {
                    a: vec![a],
                    b: if b.is_empty() {
                        self.nodes.iter().copied().filter(|node| *node != a).collect()
                    } else {
                        b
                    },
                    period_ms: logarithmic((10, 10_000), stream) as u32,
                };
                self.push(at, flap);
            }
        }
        self.push(until, Fault::HealLinks);
        true
    }

    /// Links cut one by one and healed in another order [N5]. There is no healing of one link, so each healing is one of all
    /// with the others cut again at the same instant.
    fn swizzle(&mut self, at: u64, until: u64, stream: &mut Stream) -> bool {
        let mut cut = pairs(self.servers, stream);
        cut.truncate(stream.between(2, cut.len().max(2) as u64) as usize);
        let steps = 2 * cut.len() as u64;
        let step = ((until - at) / steps).max(1);
        for (n, (a, b)) in cut.iter().enumerate() {
            let when = (at + n as u64 * step).min(until);
            both_ways(&[*a], &[*b])
                .into_iter()
                .for_each(|fault| self.push(when, fault));
        }
        let mut left = shuffle(&cut, stream);
        for n in cut.len() as u64..steps - 1 {
            left.pop();
            let when = (at + n * step).min(until);
            self.push(when, Fault::HealLinks);
            for (a, b) in &left {
                both_ways(&[*a], &[*b])
                    .into_iter()
                    .for_each(|fault| self.push(when, fault));
            }
        }
        self.push(until, Fault::HealLinks);
        true
    }

    fn link(&mut self, at: u64, until: u64, family: Family, stream: &mut Stream) -> bool {
        let from = *stream.pick(&self.nodes);
        let others: Vec<NodeId> = self.nodes.iter().copied().filter(|node| *node != from).collect();
        if others.is_empty() {
            return false;
        }
        let to = *stream.pick(&others);
        match family {
            Family::Reset => self.push(at, Fault::Reset { a: from, b: to }),
            Family::HalfOpen => self.push(at, Fault::HalfOpen { a: from, b: to }),
            _ => {
                // One directed link, or all from one node.
                let reach = if stream.below(2) == 0 { vec![to] } else { others };
                let ppm = logarithmic((100, 500_000), stream) as u32;
                let factor = logarithmic((2, 1000), stream) as u32;
                let mut any = false;
                for to in reach {
                    if !self.open(Window::Link(family, from, to), at, until) {
                        continue;
                    }
                    any = true;
                    let (begin, end) = if family == Family::Loss {
                        (Fault::Loss { from, to, ppm }, Fault::Loss { from, to, ppm: 0 })
                    } else {
                        (
                            Fault::SlowLink { from, to, factor },
                            Fault::SlowLink { from, to, factor: 1 },
                        )
                    };
                    self.push(at, begin);
                    self.push(until, end);
                }
                return any;
            }
        }
        true
    }

    fn disk(&mut self, at: u64, until: u64, family: Family, stream: &mut Stream) -> bool {
        if family == Family::DiskSlow
            && let Some(role) = self.role(stream)
        {
            if self
                .servers
                .iter()
                .any(|node| self.open_until.get(&Window::Disk(*node)) >= Some(&at))
            {
                return false;
            }
            let factor = logarithmic((2, 1000), stream) as u32;
            let disk = DiskFault::Slow { factor };
            self.push_at_role(at, role, Fault::Disk { node: ROLE, disk });
            for &node in self.servers {
                self.open(Window::Disk(node), at, until);
                let disk = DiskFault::Healthy;
                self.push(until, Fault::Disk { node, disk });
            }
            return true;
        }
        let mut nodes = shuffle(&self.targets().collect::<Vec<_>>(), stream);
        nodes.retain(|node| !family.destroys() || self.may_lose(&[*node]));
        let Some(&node) = nodes.first() else { return false };
        let lasts = !matches!(family, Family::BitRot | Family::Unreadable);
        if lasts && !self.open(Window::Disk(node), at, until) {
            return false;
        }
        if family.destroys() {
            self.lossy.insert(node);
        }
        let disk = match family {
            Family::DiskSlow => DiskFault::Slow {
                factor: logarithmic((2, 1000), stream) as u32,
            },
            Family::DiskHung => DiskFault::Hung,
            Family::DiskFull => DiskFault::Full,
            Family::SyncFail => DiskFault::FailSync,
            Family::SyncLie => DiskFault::LyingSync {
                for_ms: logarithmic((10, 60_000), stream) as u32,
            },
            Family::BitRot => DiskFault::BitFlip,
            Family::Misdirect => DiskFault::MisdirectWrite,
            Family::LostWrite => DiskFault::LoseWrite,
            _ => DiskFault::UnreadableSector,
        };
        self.push(at, Fault::Disk { node, disk });
        if lasts {
            let disk = DiskFault::Healthy;
            self.push(until, Fault::Disk { node, disk });
        }
        true
    }

    fn node(&mut self, at: u64, until: u64, family: Family, stream: &mut Stream) -> bool {
        if matches!(family, Family::Pause | Family::SlowCpu)
            && let Some(role) = self.role(stream)
        {
            let (begin, _) = of_node(family, ROLE, stream);
            self.push_at_role(at, role, begin);
            for &node in self.servers {
                let end = of_node(family, node, stream).1;
                end.into_iter().for_each(|end| self.push(until, end));
            }
            return true;
        }
        let node = *stream.pick(&self.nodes);
        if !self.open(Window::Node(family, node), at, until) {
            return false;
        }
        let (begin, end) = of_node(family, node, stream);
        self.push(at, begin);
        end.into_iter().for_each(|end| self.push(until, end));
        true
    }
}

fn keeps_all(loss: &Fault) -> bool {
    matches!(loss, Fault::PowerLoss { survival, .. } if *survival == Survival::All)
}

/// Families whose node stops in its own time, or not at all.
fn ends_by_itself(family: Family) -> bool {
    matches!(family, Family::Terminate | Family::CrashAtCall | Family::CrashLoop)
}

/// Beginning and end of what happens to one node alone.
fn of_node(family: Family, node: NodeId, stream: &mut Stream) -> (Fault, Option<Fault>) {
    let sign = |stream: &mut Stream| if stream.below(2) == 0 { 1 } else { -1 };
    match family {
        Family::Pause => {
            let suspend = stream.below(3) == 0;
            (Fault::Pause { node, suspend }, Some(Fault::Resume { node }))
        }
        Family::SlowCpu => {
            let factor = logarithmic((2, 200), stream) as u32;
            (
                Fault::SlowCpu { node, factor },
                Some(Fault::SlowCpu { node, factor: 1 }),
            )
        }
        Family::Bandwidth => {
            let bytes_per_s = logarithmic((2_000, 50_000_000), stream);
            let end = Fault::Bandwidth { node, bytes_per_s: 0 };
            (Fault::Bandwidth { node, bytes_per_s }, Some(end))
        }
        Family::Fragment => (
            Fault::Fragment { node, on: true },
            Some(Fault::Fragment { node, on: false }),
        ),
        Family::Window => (
            Fault::StopReading { node, on: true },
            Some(Fault::StopReading { node, on: false }),
        ),
        Family::Refuse => {
            let how = *stream.pick(&[Refusal::Refused, Refusal::BlackHoled, Refusal::AcceptedThenReset]);
            let begin = Fault::RefuseConnects { node, how: Some(how) };
            (begin, Some(Fault::RefuseConnects { node, how: None }))
        }
        Family::ClockOffset => {
            let offset_ms = sign(stream) * logarithmic((1, 7_200_000), stream) as i64;
            let end = Fault::ClockOffset { node, offset_ms: 0 };
            (Fault::ClockOffset { node, offset_ms }, Some(end))
        }
        Family::ClockDrift => {
            // Up to what quartz does, or a tenth: no timer may rely on more.
            let most = *stream.pick(&[500u64, 100_000]);
            let ppm = sign(stream) as i32 * logarithmic((10, most), stream) as i32;
            (
                Fault::ClockDrift { node, ppm },
                Some(Fault::ClockDrift { node, ppm: 0 }),
            )
        }
        Family::ClockStep => {
            let by_ms = sign(stream) * logarithmic((1, 3_600_000), stream) as i64;
            (Fault::ClockStep { node, by_ms }, None)
        }
        Family::LateTimers => {
            let up_to_ms = logarithmic((1, 2_000), stream) as u32;
            let end = Fault::LateTimers { node, up_to_ms: 0 };
            (Fault::LateTimers { node, up_to_ms }, Some(end))
        }
        _ => unreachable!("a family with a function of its own: {family:?}"),
    }
}
