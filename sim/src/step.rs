//! One step of the world: its place in the run, what it was, and a name that stays the same in another run.
//!
//! A step is one event handled to its end by one program, or one fault, or one mark of the harness. What happens
//! between steps (a handshake, a retransmission, bytes that wait in a kernel buffer) has no name here: it follows from
//! the steps and from the named streams.

use crate::fault::NodeId;
use crate::program::ConnName;
use serde::{Deserialize, Serialize};

/// What kind of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// A program learns that somebody connected.
    Accepted,
    /// A program learns that its connect succeeded.
    Connected,
    /// A program reads bytes.
    Received,
    /// A program learns that a connection ended.
    Closed,
    /// A program learns that there is room for what it has to send.
    Writable,
    /// A program learns that a sync ended.
    SyncDone,
    /// A program is woken at its deadline.
    Deadline,
    /// A program is asked to end.
    Terminate,
    /// A fault that was scheduled.
    Fault,
    /// A mark that the harness scheduled.
    Marker,
    /// A fault that the harness carried out at once; never pending.
    Applied,
    /// An operation that the harness put into a program; never pending.
    Poke,
}

/// Names a step so that a script can ask for it in another run of the same world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepKey {
    /// What happens.
    pub kind: StepKind,
    /// The node it comes from: the peer of a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<NodeId>,
    /// The node at which it happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<NodeId>,
    /// Counted from 1. Bytes received: the segment's number among all data segments sent from `from` to `to`. Accepted,
    /// connected, closed and writable share one count for each such pair. Others: among those of their kind at the node, or in the
    /// world. In a script 0 stands for whichever is first in line.
    pub nth: u32,
}

impl StepKey {
    /// Whether `self`, as a script says it, means `other`.
    pub fn means(&self, other: &StepKey) -> bool {
        self.kind == other.kind
            && self.from == other.from
            && self.to == other.to
            && (self.nth == 0 || self.nth == other.nth)
    }
}

impl std::fmt::Display for StepKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.kind)?;
        match (self.from, self.to) {
            (Some(from), Some(to)) => write!(f, " {}>{}", from.0, to.0)?,
            (None, Some(to)) => write!(f, " {}", to.0)?,
            _ => {}
        }
        match self.nth {
            0 => write!(f, " (next)"),
            nth => write!(f, " #{nth}"),
        }
    }
}

/// What a step was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Somebody connected.
    Accepted {
        /// Its name at the node of this step.
        conn: ConnName,
        /// Who.
        from: NodeId,
    },
    /// A connect succeeded.
    Connected {
        /// Its name at the node of this step.
        conn: ConnName,
        /// To whom.
        to: NodeId,
    },
    /// Bytes were read.
    Received {
        /// Its name at the node of this step.
        conn: ConnName,
        /// Who sent them.
        from: NodeId,
        /// How many.
        len: u32,
    },
    /// A connection ended.
    Closed {
        /// Its name at the node of this step.
        conn: ConnName,
        /// With whom.
        peer: NodeId,
    },
    /// There is room for what it has to send.
    Writable {
        /// Its name at the node of this step.
        conn: ConnName,
        /// To whom.
        peer: NodeId,
    },
    /// A sync ended.
    SyncDone {
        /// The program's own.
        token: u64,
        /// Whether it succeeded.
        ok: bool,
    },
    /// A deadline had passed.
    Deadline,
    /// SIGTERM.
    Terminate,
    /// A process was started.
    Boot {
        /// Which life of the node this is, from 1.
        incarnation: u32,
    },
    /// Another fault, by its kind; `applied` is false if there was nothing to apply it to.
    Fault {
        /// As in [`Fault::kind`](crate::fault::Fault::kind).
        kind: &'static str,
        /// Whether it did anything.
        applied: bool,
    },
    /// A mark of the harness.
    Marker(u64),
    /// An operation that the harness put into a program.
    Poke,
}

impl Label {
    /// In words; `name` says what a node is called.
    pub fn words(&self, name: &dyn Fn(NodeId) -> String) -> String {
        match *self {
            Label::Accepted { from, .. } => format!("accepts a connection of {}", name(from)),
            Label::Connected { to, .. } => format!("is connected to {}", name(to)),
            Label::Received { from, len, .. } => format!("reads {len} bytes of {}", name(from)),
            Label::Closed { peer, .. } => format!("finds its connection with {} ended", name(peer)),
            Label::Writable { peer, .. } => format!("has room for what it sends to {}", name(peer)),
            Label::SyncDone { ok: true, .. } => "has synced".to_owned(),
            Label::SyncDone { ok: false, .. } => "fails to sync".to_owned(),
            Label::Deadline => "wakes at its deadline".to_owned(),
            Label::Terminate => "is told to stop".to_owned(),
            Label::Boot { incarnation } => format!("starts, for the {incarnation}. time"),
            Label::Fault { kind, applied: true } => format!("fault: {kind}"),
            Label::Fault { kind, applied: false } => format!("fault: {kind}, without effect"),
            Label::Marker(_) => "the testbed looks".to_owned(),
            Label::Poke => "is used by its user".to_owned(),
        }
    }
}

/// One step that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// From 1.
    pub seq: u64,
    /// True time at which it began, nanoseconds.
    pub time: u64,
    /// Where; `None` if at no single node.
    pub node: Option<NodeId>,
    /// What.
    pub label: Label,
    /// Its name.
    pub key: StepKey,
    /// The process of the node ended in this step: killed, exited, crashed at a disk call, or could not start.
    pub ended: bool,
}
