//! Swarm testing: a seed first draws which families of faults exist and how dense they are, then a plan of them.
//!
//! Guarantees: the plan is a plain list in order of time; every window gets its end and every node that stops gets its start
//! before the run is over; no more nodes are down at once, and no more lose data over the run, than the configuration
//! allows; each entry is harmless without its counterpart, so a shrinker may leave out any. It does not know what runs on
//! the nodes: who leads is a role, a number that whoever carries out the plan translates when its time has come.
//!
//! | family | begins | ends |
//! | --- | --- | --- |
//! | crash, power loss, terminate, crash at call, crash loop, wipe, rollback, swap | stopped node | its start |
//! | disk slow, hung, full, sync fail, sync lie, misdirect, lost write | condition | `Healthy` |
//! | partition, flap | cuts | `HealLinks` |
//! | reset, half open, clock step, bit rot, unreadable | at once | nothing to end |
//! | all others | a value | the same fault with its neutral value |
//!
//! Sources: "Swarm Testing" (ISSTA 2012); FoundationDB's simulated faults and swizzle clogging; "An Analysis of
//! Network-Partitioning Failures in Cloud Systems" (OSDI 2018); "Correlated Crash Vulnerabilities" (OSDI 2016).

mod draw;
mod links;
#[cfg(test)]
mod tests;

pub use draw::plan;

use crate::fault::{DiskFault, Fault, NodeId};
use crate::random::Stream;
use serde::{Deserialize, Serialize};

/// Faults that exist in a run together or not at all. In brackets their names among all faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Kill -9, and a start after a while [P1].
    Crash,
    /// Power failure of one node, or of several at the same instant [P2, P4].
    PowerLoss,
    /// Frozen process or machine, clients too [P6, C7].
    Pause,
    /// [P7]
    SlowCpu,
    /// In all shapes: isolated node, halves, bridge, ring, pair, one way, clients on the wrong side [N1 to N4].
    Partition,
    /// Periodic cuts, and links cut one by one and healed in another order [N5].
    Flap,
    /// [N6]
    Loss,
    /// [N7]
    SlowLink,
    /// [N10]
    Bandwidth,
    /// [N11]
    Fragment,
    /// [N12]
    Window,
    /// [N13]
    Reset,
    /// [N14]
    HalfOpen,
    /// [N15]
    Refuse,
    /// [C1, C9]
    ClockOffset,
    /// [C2]
    ClockDrift,
    /// [C3]
    ClockStep,
    /// [C8]
    LateTimers,
    /// [D18]
    DiskSlow,
    /// [D18]
    DiskHung,
    /// [D16]
    DiskFull,
    /// [D5]
    SyncFail,
    /// [D6]
    SyncLie,
    /// [D10]
    BitRot,
    /// [D12]
    Misdirect,
    /// [D14]
    LostWrite,
    /// [D9]
    Unreadable,
    /// Empty disk at the next start [D20, P11].
    Wipe,
    /// Older disk at the next start [D20, P11].
    Rollback,
    /// Two nodes start on each other's disk [D20, P11].
    Swap,
    /// Killed in the middle of a disk call [P3].
    CrashAtCall,
    /// Killed again while it recovers, several times [P3, P10].
    CrashLoop,
    /// SIGTERM, and a kill if it takes too long [P5].
    Terminate,
}

impl Family {
    /// Its name in configurations: that of serde.
    pub fn name(self) -> String {
        let debug = format!("{self:?}");
        let mut name = String::new();
        for (i, letter) in debug.chars().enumerate() {
            if letter.is_uppercase() && i > 0 {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }

    /// The family of this name.
    pub fn by_name(name: &str) -> Option<Family> {
        Family::ALL.into_iter().find(|family| family.name() == name)
    }

    /// All of them.
    pub const ALL: [Family; 33] = [
        Family::Crash,
        Family::PowerLoss,
        Family::Pause,
        Family::SlowCpu,
        Family::Partition,
        Family::Flap,
        Family::Loss,
        Family::SlowLink,
        Family::Bandwidth,
        Family::Fragment,
        Family::Window,
        Family::Reset,
        Family::HalfOpen,
        Family::Refuse,
        Family::ClockOffset,
        Family::ClockDrift,
        Family::ClockStep,
        Family::LateTimers,
        Family::DiskSlow,
        Family::DiskHung,
        Family::DiskFull,
        Family::SyncFail,
        Family::SyncLie,
        Family::BitRot,
        Family::Misdirect,
        Family::LostWrite,
        Family::Unreadable,
        Family::Wipe,
        Family::Rollback,
        Family::Swap,
        Family::CrashAtCall,
        Family::CrashLoop,
        Family::Terminate,
    ];

    /// Whether a node that it strikes may lose what its disk had durable. A power failure destroys only what was not synced;
    /// it counts too, unless all survives, as programs that rely on copies elsewhere do not sync.
    pub fn destroys(self) -> bool {
        matches!(
            self,
            Family::SyncFail
                | Family::BitRot
                | Family::Misdirect
                | Family::LostWrite
                | Family::Unreadable
                | Family::Wipe
                | Family::Rollback
                | Family::Swap
        )
    }
}

/// What a swarm may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SwarmConfig {
    /// Families that a seed chooses from.
    pub families: Vec<Family>,
    /// How many of the servers may be down at once. 0: none ever stops.
    pub max_down: usize,
    /// How many of the servers may lose disk data over the run. 0: nothing destructive, and power failures keep all data.
    pub max_lossy: usize,
    /// Servers that never stop and whose disks are well. Whoever has a role is struck all the same: whoever carries out
    /// the plan leaves those faults out that [`Fault::strikes`].
    pub spared: Vec<NodeId>,
    /// All families exist in every run, and all are dense. For a question that takes several of them together.
    pub storm: bool,
    /// Roles that may be struck instead of a fixed node: `0..roles`. What each number means is not the world's business.
    pub roles: u8,
    /// Shortest and longest time in milliseconds that a window is open or a node is down.
    pub window_ms: (u64, u64),
    /// Shortest and longest run in milliseconds, for [`SwarmConfig::duration_ns`].
    pub run_ms: (u64, u64),
    /// Most faults of a plan, ends not counted.
    pub max_faults: usize,
}

impl Default for SwarmConfig {
    fn default() -> SwarmConfig {
        SwarmConfig {
            families: Family::ALL.to_vec(),
            max_down: 1,
            max_lossy: 0,
            spared: Vec::new(),
            storm: false,
            roles: 2,
            window_ms: (20, 20_000),
            run_ms: (10_000, 300_000),
            max_faults: 200,
        }
    }
}

impl SwarmConfig {
    /// Draws how long a run is, in nanoseconds: short and long ones are equally likely on a scale of doublings.
    pub fn duration_ns(&self, stream: &mut Stream) -> u64 {
        draw::logarithmic(self.run_ms, stream) * 1_000_000
    }
}

/// Stands for the node that has the role, in the fault of [`Planned::AtRole`].
pub const ROLE: NodeId = NodeId(u16::MAX);

/// An entry of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "planned", rename_all = "snake_case", deny_unknown_fields)]
pub enum Planned {
    /// As it stands.
    Fault {
        /// What happens.
        what: Fault,
    },
    /// Strikes the node that has a role when the time has come: [`Planned::at`] puts it in the place of [`ROLE`]. If no
    /// node has the role then, nothing happens.
    AtRole {
        /// Below [`SwarmConfig::roles`].
        role: u8,
        /// What happens to it.
        what: Fault,
    },
}

impl Planned {
    /// The fault for a node that has the role, and for anybody if it is not about a role. In lists that hold all others
    /// it leaves the node out.
    pub fn at(&self, node: NodeId) -> Fault {
        let put = |place: NodeId| if place == ROLE { node } else { place };
        let (role, mut what) = match self {
            Planned::Fault { what } => (false, what.clone()),
            Planned::AtRole { what, .. } => (true, what.clone()),
        };
        if !role {
            return what;
        }
        match &mut what {
            Fault::PowerLoss { nodes, .. } => nodes.iter_mut().for_each(|node| *node = put(*node)),
            Fault::Cut { from: a, to: b } | Fault::Flap { a, b, .. } => {
                let (in_a, in_b) = (a.contains(&ROLE), b.contains(&ROLE));
                a.retain(|place| !in_b || *place != node);
                b.retain(|place| !in_a || *place != node);
                a.iter_mut().chain(b).for_each(|place| *place = put(*place));
            }
            Fault::Loss { from: a, to: b, .. }
            | Fault::SlowLink { from: a, to: b, .. }
            | Fault::Reset { a, b }
            | Fault::HalfOpen { a, b } => (*a, *b) = (put(*a), put(*b)),
            other => other.node_mut().into_iter().for_each(|place| *place = put(*place)),
        }
        what
    }
}

/// What will go wrong in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The families that the seed chose, sorted.
    pub families: Vec<Family>,
    /// True time in nanoseconds and what happens then, in this order.
    pub actions: Vec<(u64, Planned)>,
}

/// Everything that ends all windows and starts all nodes. Done to a healthy world it changes nothing but that clocks go back to
/// true time. Steps of a wall clock stay, and so does damage.
pub fn heal(servers: &[NodeId], clients: &[NodeId]) -> Vec<Fault> {
    let nodes: Vec<NodeId> = servers.iter().chain(clients).copied().collect();
    let mut faults = vec![Fault::HealLinks];
    for &from in &nodes {
        for &to in nodes.iter().filter(|to| **to != from) {
            faults.push(Fault::Loss { from, to, ppm: 0 });
            faults.push(Fault::SlowLink { from, to, factor: 1 });
        }
    }
    for &node in &nodes {
        faults.extend([
            Fault::SlowCpu { node, factor: 1 },
            Fault::Bandwidth { node, bytes_per_s: 0 },
            Fault::Fragment { node, on: false },
            Fault::StopReading { node, on: false },
            Fault::RefuseConnects { node, how: None },
            Fault::ClockOffset { node, offset_ms: 0 },
            Fault::ClockDrift { node, ppm: 0 },
            Fault::LateTimers { node, up_to_ms: 0 },
            Fault::Disk {
                node,
                disk: DiskFault::Healthy,
            },
            Fault::CrashInRecovery {
                node,
                count: 0,
                calls: 0,
            },
            Fault::CrashAtDiskCall { node, calls: 0 },
            Fault::Resume { node },
            Fault::Start { node },
        ]);
    }
    faults
}
