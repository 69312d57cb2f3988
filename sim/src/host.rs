//! One node: a host (disk, clocks, processor) and the process that runs on it, if one does.
//!
//! Plain state and what can be said of it alone; what moves it is `world`. Invariant: without a process nothing waits
//! for one (empty inbox, no syncs, no armed deadline).

use crate::clock::Clock;
use crate::disk::{Disk, PendingSync};
use crate::due::Ready;
use crate::random::Stream;
use std::collections::VecDeque;

/// A sync under way.
#[derive(Debug)]
pub(crate) struct Sync {
    /// Counted over all lives of the node.
    pub(crate) nth: u32,
    pub(crate) token: u64,
    pub(crate) pending: PendingSync,
    /// It waits for a hung disk.
    pub(crate) hung: bool,
}

/// When its program wants to be woken, and what is done about it.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    /// What the program asked for last; on its monotonic clock.
    pub(crate) wanted: Option<u64>,
    /// When the queue will look at it; true time, not after the time of `wanted`.
    pub(crate) scheduled: Option<u64>,
    /// Entries of the queue with another number are void.
    pub(crate) arming: u32,
    /// It has passed and waits in the inbox.
    pub(crate) rung: bool,
    /// The deadline whose lateness has been drawn [C8].
    pub(crate) late_for: Option<u64>,
    /// How often the program was woken.
    pub(crate) count: u32,
}

/// Whether its process was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// Nobody told it.
    No,
    /// It is on its way, or takes no notice.
    Told,
    /// The same, and whoever wants the node up waits for it to be gone: a start that comes while a process is still
    /// stopping is not lost.
    ToStartAgain,
}

/// A node.
#[derive(Debug)]
pub(crate) struct Node<P> {
    pub(crate) disk: Disk,
    pub(crate) disk_hung: bool,
    pub(crate) clock: Clock,
    pub(crate) program: Option<P>,
    /// How many processes have been started.
    pub(crate) incarnation: u32,
    /// How the last of them ended.
    pub(crate) last_death: Option<crate::world::Death>,
    pub(crate) paused: bool,
    /// The processor is taken until then.
    pub(crate) busy_until: u64,
    pub(crate) cpu_factor: u64,
    /// What the program is to be told when the processor is free.
    pub(crate) inbox: VecDeque<Ready>,
    /// The queue will say when that is; entries with another number are void.
    pub(crate) wake: u32,
    pub(crate) wake_armed: bool,
    pub(crate) alarm: Alarm,
    pub(crate) late_ms: u32,
    pub(crate) syncs: Vec<Sync>,
    pub(crate) sync_count: u32,
    pub(crate) terminates: u32,
    pub(crate) stopping: Stopping,
    /// How many of the next starts are killed, and after how many disk calls [P10].
    pub(crate) crash_in_recovery: (u32, u32),
    pub(crate) entropy: Stream,
    pub(crate) timers: Stream,
    pub(crate) steps: u64,
    pub(crate) bytes: u64,
}

impl<P> Node<P> {
    pub(crate) fn new(disk: Disk, clock: Clock, entropy: Stream, timers: Stream) -> Node<P> {
        Node {
            disk,
            disk_hung: false,
            clock,
            program: None,
            incarnation: 0,
            last_death: None,
            paused: false,
            busy_until: 0,
            cpu_factor: 1,
            inbox: VecDeque::new(),
            wake: 0,
            wake_armed: false,
            alarm: Alarm::default(),
            late_ms: 0,
            syncs: Vec::new(),
            sync_count: 0,
            terminates: 0,
            stopping: Stopping::No,
            crash_in_recovery: (0, 0),
            entropy,
            timers,
            steps: 0,
            bytes: 0,
        }
    }

    /// The program can handle an event at this instant.
    #[inline]
    pub(crate) fn is_free(&self, now: u64) -> bool {
        self.busy_until <= now && !self.paused && self.inbox.is_empty() && self.program.is_some()
    }

    /// The process is gone; nothing of its life reaches the next one.
    pub(crate) fn forget_process(&mut self) {
        self.program = None;
        self.stopping = Stopping::No;
        self.paused = false;
        self.inbox.clear();
        self.syncs.clear();
        self.wake += 1;
        self.wake_armed = false;
        self.alarm = Alarm {
            arming: self.alarm.arming + 1,
            count: self.alarm.count,
            ..Alarm::default()
        };
        self.disk.process_died();
    }
}
