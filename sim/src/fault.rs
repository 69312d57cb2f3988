//! What can go wrong, as values: a script names them, a swarm draws them, the world carries them out.
//!
//! Ids in brackets are the project's names of faults (see ARCHITECTURE.md).

use serde::{Deserialize, Serialize};

/// A node of the world, by its place in the list of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u16);

/// How much of the unsynced data a power failure leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Survival {
    /// Nothing unsynced survives.
    None,
    /// Everything does.
    All,
    /// Each sector by itself; a sector written twice shows any of its versions [D2].
    Subset,
    /// All writes up to a point in time [D2].
    Ordered,
    /// Of each file a prefix of its writes [D2].
    Prefix,
}

/// One disturbance. Those with an end are ended by their counterpart.
#[allow(missing_docs)] // The variants say what their fields are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// kill -9: the page cache stays, peers get a reset [P1, D1].
    Kill { node: NodeId },
    /// The host loses power: unsynced data is resolved, peers hear nothing [P2, P4, D2 to D4, D7, D8]. All at the same instant.
    PowerLoss {
        nodes: Vec<NodeId>,
        survival: Survival,
        torn_sectors: bool,
        garbage_tail: bool,
    },
    /// Starts a stopped node; one that was told to stop is waited for, and started once it has.
    Start { node: NodeId },
    /// SIGTERM [P5]: the process stops in its own time, or not at all.
    Terminate { node: NodeId },
    /// The process is frozen; sockets buffer [P6]. `suspend`: the whole machine, so its monotonic clock rests too [C7].
    Pause { node: NodeId, suspend: bool },
    /// It goes on.
    Resume { node: NodeId },
    /// Every step takes `factor` times as long; 1 ends it [P7].
    SlowCpu { node: NodeId, factor: u32 },
    /// The next `count` starts are killed while they recover, after `calls` disk calls [P3, P10]; a count of 0 calls it off.
    CrashInRecovery { node: NodeId, count: u32, calls: u32 },
    /// The process is killed after this many more disk calls, in the middle of whatever it does [P3]; 0 calls it off.
    CrashAtDiskCall { node: NodeId, calls: u32 },

    /// Nothing from any of `from` to any of `to` arrives. One way [N2]; both ways is two of them [N1, N3, N4].
    Cut { from: Vec<NodeId>, to: Vec<NodeId> },
    /// All cuts end [N1].
    HealLinks,
    /// Links between `a` and `b` are cut and healed in turn, `period_ms` each, until healed [N5].
    Flap {
        a: Vec<NodeId>,
        b: Vec<NodeId>,
        period_ms: u32,
    },
    /// Loss on a directed link: each segment is late by a retransmission with this chance [N6].
    Loss { from: NodeId, to: NodeId, ppm: u32 },
    /// Latency of a directed link is multiplied; 1 ends it [N7].
    SlowLink { from: NodeId, to: NodeId, factor: u32 },
    /// Bytes a second of a node's NIC, each direction; 0 ends the limit [N10].
    Bandwidth { node: NodeId, bytes_per_s: u64 },
    /// Segments to this node arrive cut anywhere and glued together [N11]; false ends it.
    Fragment { node: NodeId, on: bool },
    /// The node's program does not read for a while: windows fill [N12]; false ends it.
    StopReading { node: NodeId, on: bool },
    /// Every connection between the two is reset, in the middle of a frame if one is under way [N13].
    Reset { a: NodeId, b: NodeId },
    /// A connection between the two dies without a word to either [N14].
    HalfOpen { a: NodeId, b: NodeId },
    /// Connects to this node are refused, or vanish [N15]; `None` ends it.
    RefuseConnects { node: NodeId, how: Option<Refusal> },

    /// Wall clock stands this far off [C1].
    ClockOffset { node: NodeId, offset_ms: i64 },
    /// Both clocks run fast (or slow) by parts in a million [C2].
    ClockDrift { node: NodeId, ppm: i32 },
    /// The wall clock jumps [C3].
    ClockStep { node: NodeId, by_ms: i64 },
    /// Timers fire late by up to this much [C8]; 0 ends it.
    LateTimers { node: NodeId, up_to_ms: u32 },

    /// Something about the node's disk.
    Disk { node: NodeId, disk: DiskFault },
}

/// How a connect fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// RST at once.
    Refused,
    /// The SYN vanishes; the connect times out.
    BlackHoled,
    /// Accepted, then reset.
    AcceptedThenReset,
}

/// What can be wrong with a disk. Windows end with [`DiskFault::Healthy`].
#[allow(missing_docs)] // The variants say what their fields are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum DiskFault {
    /// Ends slow, full, failing and lying.
    Healthy,
    /// The next sync fails once, and its dirty pages are marked clean [D5].
    FailSync,
    /// Syncs succeed, but data stays in the device's cache for up to `for_ms` [D6].
    LyingSync { for_ms: u32 },
    /// A sector of a file, drawn from the seed, cannot be read until it is written again [D9].
    UnreadableSector,
    /// A durable bit, drawn from the seed, flips [D10].
    BitFlip,
    /// The next write lands at another aligned place [D12].
    MisdirectWrite,
    /// The next write is acknowledged and never happens on the platter [D14].
    LoseWrite,
    /// Writes and creations fail for want of space [D16].
    Full,
    /// Every call takes `factor` times as long [D18].
    Slow { factor: u32 },
    /// Nothing completes until healthy again [D18].
    Hung,
    /// The disk of a stopped node is replaced by an empty one [D20, P11].
    Wipe,
    /// The disk of a stopped node is set back to the durable image of its last snapshot, taken every `snapshot` fault [D20, P11].
    Rollback,
    /// Takes the image that a later rollback restores.
    Snapshot,
    /// Two stopped nodes exchange disks [D20, P11]. `other` is the second.
    Swap { other: NodeId },
}

/// The node of a fault that names a single one, to be read or changed.
macro_rules! single_node {
    ($fault:expr) => {
        match $fault {
            Fault::Kill { node }
            | Fault::Start { node }
            | Fault::Terminate { node }
            | Fault::Pause { node, .. }
            | Fault::Resume { node }
            | Fault::SlowCpu { node, .. }
            | Fault::CrashInRecovery { node, .. }
            | Fault::CrashAtDiskCall { node, .. }
            | Fault::Bandwidth { node, .. }
            | Fault::Fragment { node, .. }
            | Fault::StopReading { node, .. }
            | Fault::RefuseConnects { node, .. }
            | Fault::ClockOffset { node, .. }
            | Fault::ClockDrift { node, .. }
            | Fault::ClockStep { node, .. }
            | Fault::LateTimers { node, .. }
            | Fault::Disk { node, .. } => Some(node),
            _ => None,
        }
    };
}

impl Fault {
    /// The node that it strikes, if it names a single one.
    pub fn node(&self) -> Option<NodeId> {
        single_node!(self).copied()
    }

    pub(crate) fn node_mut(&mut self) -> Option<&mut NodeId> {
        single_node!(self)
    }

    /// Whether it disturbs anything: false for what ends another one.
    pub fn disturbs(&self) -> bool {
        match self {
            Fault::Start { .. } | Fault::Resume { .. } | Fault::HealLinks => false,
            Fault::SlowCpu { factor, .. } | Fault::SlowLink { factor, .. } => *factor > 1,
            Fault::CrashInRecovery { count, .. } => *count > 0,
            Fault::CrashAtDiskCall { calls, .. } => *calls > 0,
            Fault::Loss { ppm, .. } => *ppm > 0,
            Fault::Bandwidth { bytes_per_s, .. } => *bytes_per_s > 0,
            Fault::Fragment { on, .. } | Fault::StopReading { on, .. } => *on,
            Fault::RefuseConnects { how, .. } => how.is_some(),
            Fault::ClockOffset { offset_ms, .. } => *offset_ms != 0,
            Fault::ClockDrift { ppm, .. } => *ppm != 0,
            Fault::LateTimers { up_to_ms, .. } => *up_to_ms > 0,
            Fault::Disk { disk, .. } => !matches!(disk, DiskFault::Healthy | DiskFault::Snapshot),
            _ => true,
        }
    }

    /// Whether it stops a node, or makes it stop, or concerns its disk.
    pub fn strikes(&self) -> bool {
        matches!(
            self,
            Fault::Kill { .. }
                | Fault::PowerLoss { .. }
                | Fault::Terminate { .. }
                | Fault::CrashInRecovery { .. }
                | Fault::CrashAtDiskCall { .. }
                | Fault::Disk { .. }
        )
    }

    /// Name of its kind, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Kill { .. } => "kill",
            Fault::PowerLoss { .. } => "power_loss",
            Fault::Start { .. } => "start",
            Fault::Terminate { .. } => "terminate",
            Fault::Pause { suspend: false, .. } => "pause",
            Fault::Pause { suspend: true, .. } => "suspend",
            Fault::Resume { .. } => "resume",
            Fault::SlowCpu { .. } => "slow_cpu",
            Fault::CrashInRecovery { .. } => "crash_in_recovery",
            Fault::CrashAtDiskCall { .. } => "crash_at_disk_call",
            Fault::Cut { .. } => "cut",
            Fault::HealLinks => "heal_links",
            Fault::Flap { .. } => "flap",
            Fault::Loss { .. } => "loss",
            Fault::SlowLink { .. } => "slow_link",
            Fault::Bandwidth { .. } => "bandwidth",
            Fault::Fragment { .. } => "fragment",
            Fault::StopReading { .. } => "stop_reading",
            Fault::Reset { .. } => "reset",
            Fault::HalfOpen { .. } => "half_open",
            Fault::RefuseConnects { .. } => "refuse_connects",
            Fault::ClockOffset { .. } => "clock_offset",
            Fault::ClockDrift { .. } => "clock_drift",
            Fault::ClockStep { .. } => "clock_step",
            Fault::LateTimers { .. } => "late_timers",
            Fault::Disk { disk, .. } => disk.kind(),
        }
    }
}

impl DiskFault {
    /// Name of its kind, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            DiskFault::Healthy => "disk_healthy",
            DiskFault::FailSync => "sync_failed",
            DiskFault::LyingSync { .. } => "sync_lied",
            DiskFault::UnreadableSector => "unreadable_sector",
            DiskFault::BitFlip => "bit_flip",
            DiskFault::MisdirectWrite => "misdirected_write",
            DiskFault::LoseWrite => "lost_write",
            DiskFault::Full => "disk_full",
            DiskFault::Slow { .. } => "disk_slow",
            DiskFault::Hung => "disk_hung",
            DiskFault::Wipe => "disk_wiped",
            DiskFault::Rollback => "disk_rolled_back",
            DiskFault::Snapshot => "disk_snapshot",
            DiskFault::Swap { .. } => "disk_swapped",
        }
    }
}
