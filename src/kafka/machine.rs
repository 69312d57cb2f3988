//! What goes into a machine and what comes out: the whole contract between the subject and its drivers.
//!
//! ```text
//!   driver: Input ──▶ machine.step(now, input, disk, out) ──▶ Outbox: outputs for the driver, notes for the reader
//!   driver: machine.next_deadline() ──▶ at that instant of the node's monotonic clock: Input::Deadline
//! ```
//!
//! A machine owns no thread, socket, timer, clock or random source. It may be woken early or late, never told wrong.

use crate::disk::{DiskError, SyncTarget};
use crate::note::Note;
use crate::types::{ConnId, NodeId, RequestId, TopicPartition};
use bytes::Bytes;
use kafka_protocol::messages::{RequestKind, ResponseKind};

/// One thing that happened to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// A peer connected to our listener.
    Accepted {
        /// Fresh name, given by the driver: odd numbers for accepted, even numbers for our own connections.
        conn: ConnId,
    },
    /// Our own [`Output::Connect`] succeeded.
    Connected {
        /// The name we gave it.
        conn: ConnId,
    },
    /// Bytes of the peer, in order, cut anywhere.
    Received {
        /// On this connection.
        conn: ConnId,
        /// At least one byte.
        bytes: Bytes,
    },
    /// The connection is gone, for whatever reason; also the answer to a connect that failed.
    Closed {
        /// No input of this connection follows.
        conn: ConnId,
    },
    /// A sync that was asked for has ended.
    SyncDone {
        /// As it was asked for.
        tag: SyncTag,
        /// On an error the data may be anywhere; it is reported once.
        result: Result<(), DiskError>,
    },
    /// `next_deadline` has passed.
    Deadline,
    /// SIGTERM: leave in order.
    Shutdown,
}

/// Who asked for a sync. Opaque to the driver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyncTag {
    /// Routed by this.
    pub owner: SyncOwner,
    /// Of the owner's own choosing.
    pub seq: u64,
}

/// The part of a broker that a sync belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncOwner {
    /// The log of a partition, the metadata log included.
    Log(TopicPartition),
    /// The quorum's own state (votes).
    Quorum,
    /// Checkpoint files and broker identity.
    Checkpoint,
}

/// One thing a driver must do.
#[derive(Clone, Debug)]
pub enum Output {
    /// Open a connection to a node's listener; answered by `Connected` or `Closed`.
    Connect {
        /// Fresh even name.
        conn: ConnId,
        /// Host name.
        host: String,
        /// Port.
        port: u16,
    },
    /// Queue bytes on a connection; dropped silently if it is gone.
    Send {
        /// On this connection.
        conn: ConnId,
        /// One whole frame.
        bytes: Bytes,
    },
    /// Close a connection after what was sent. No `Closed` follows.
    Close {
        /// This one.
        conn: ConnId,
    },
    /// Do not deliver more bytes of this connection for now (back-pressure).
    PauseReading {
        /// This one.
        conn: ConnId,
    },
    /// Deliver again.
    ResumeReading {
        /// This one.
        conn: ConnId,
    },
    /// Make something durable; answered by `SyncDone`.
    Sync {
        /// Handed back.
        tag: SyncTag,
        /// What.
        target: SyncTarget,
    },
    /// The process ends now. No input follows.
    Exit {
        /// Why, in words fit for a log line.
        reason: String,
        /// Whether it was asked for.
        clean: bool,
    },
}

/// Which of a broker's connections to a peer carries a request. One request at a time is in flight on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Raft: votes, begin and end of epochs. Apart from the fetches, which wait at the leader for new data.
    Election,
    /// Fetches of the metadata log.
    Quorum,
    /// Replica fetcher.
    Fetcher,
    /// Registration and heartbeats to the controller.
    Heartbeat,
    /// AlterPartition to the controller.
    Controller,
    /// Administrators' requests, passed on to the controller.
    Forward,
    /// AllocateProducerIds to the controller.
    ProducerIds,
}

/// A request from one part of a broker to a peer.
#[derive(Clone, Debug)]
pub struct Call {
    /// The peer.
    pub to: NodeId,
    /// The connection.
    pub channel: Channel,
    /// Of the caller's own choosing, handed back with the answer.
    pub tag: u64,
    /// The body; the version is the newest both sides know.
    pub request: RequestKind,
    /// The answer is `Err(CallFailed::TimedOut)` after this, and the connection is closed.
    pub timeout_ms: u64,
}

/// Why a call has no answer. The peer may or may not have acted on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallFailed {
    /// The connection could not be made or was lost.
    Disconnected,
    /// No answer in time.
    TimedOut,
}

/// The answer to a [`Call`].
pub type CallResult = Result<ResponseKind, CallFailed>;

/// What one step produced. Reused between steps: the driver drains it.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    /// For the driver, in order.
    pub outputs: Vec<Output>,
    /// Facts, in order: log lines, captions, food of the checks.
    pub notes: Vec<Note>,
    /// Requests to peers; the broker turns them into frames before the step ends.
    pub calls: Vec<Call>,
    /// Answers; the broker turns them into frames before the step ends.
    pub replies: Vec<(RequestId, ResponseKind)>,
}

impl Outbox {
    /// Says that something happened.
    pub fn note(&mut self, note: Note) {
        self.notes.push(note);
    }
    /// Asks for durability.
    pub fn sync(&mut self, owner: SyncOwner, seq: u64, target: SyncTarget) {
        self.outputs.push(Output::Sync {
            tag: SyncTag { owner, seq },
            target,
        });
    }
    /// Sends a request to a peer.
    pub fn call(&mut self, call: Call) {
        self.calls.push(call);
    }
    /// Answers a request, at once or long after it came.
    pub fn reply(&mut self, id: RequestId, response: impl Into<ResponseKind>) {
        self.replies.push((id, response.into()));
    }
}

/// Deterministic chance for jitter and ids, from the entropy that the driver gave at boot (splitmix64).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entropy(pub u64);

impl Entropy {
    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// Uniform in `0..n`; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.next_u64() % n }
    }
}
