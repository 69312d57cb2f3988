//! What runs on a node, as the world sees it.

use crate::disk::{Disk, Errno, File};
use crate::fault::NodeId;
use bytes::Bytes;

/// An instant as one node sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds of its monotonic clock.
    pub mono: u64,
    /// Milliseconds since the Unix epoch of its wall clock.
    pub wall_ms: i64,
}

/// A connection as one program names it: even names are its own connects, odd ones it accepted.
pub type ConnName = u64;

/// Bytes that a kernel holds of what a connection has to send, before a program that minds is held up [N12].
pub const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// What a program is told.
#[allow(missing_docs)] // The variants say what their fields are.
#[derive(Clone, Debug)]
pub enum Event {
    /// Somebody connected.
    Accepted { conn: ConnName },
    /// An own connect succeeded.
    Connected { conn: ConnName },
    /// Bytes, in order.
    Received { conn: ConnName, bytes: Bytes },
    /// The connection is over: `in_order`, the peer closed it after what it sent; else reset, timed out or refused.
    Closed { conn: ConnName, in_order: bool },
    /// The answer to [`Effect::AwaitRoom`]: half of [`SEND_BUFFER_BYTES`] can be sent without waiting.
    Writable { conn: ConnName },
    /// A sync ended. `token` is the program's own.
    SyncDone { token: u64, result: Result<(), Errno> },
    /// Its deadline has passed.
    Deadline,
    /// SIGTERM.
    Terminate,
}

/// What a program asks for; filled during a step, carried out by the world after it.
#[allow(missing_docs)] // The variants say what their fields are.
#[derive(Debug)]
pub enum Effect {
    /// Open a connection.
    Connect { conn: ConnName, to: NodeId },
    /// Queue bytes. The kernel takes all that it is given; a program that would be held up at [`SEND_BUFFER_BYTES`] holds
    /// itself up, and asks for room.
    Send { conn: ConnName, bytes: Bytes },
    /// Close after what was sent.
    Close { conn: ConnName },
    /// Deliver nothing more on it for now.
    PauseReading { conn: ConnName },
    /// Deliver again.
    ResumeReading { conn: ConnName },
    /// Say once when a good part of what was sent on it has left this host's kernel.
    AwaitRoom { conn: ConnName },
    /// Make a file durable.
    SyncFile { token: u64, file: File },
    /// Make a directory's entries durable.
    SyncDir { token: u64, path: String },
    /// The process ends.
    Exit { clean: bool },
}

/// A process of one node.
pub trait Program {
    /// Handles one event to its end.
    fn step(&mut self, now: Now, event: Event, disk: &mut Disk, effects: &mut Vec<Effect>);
    /// When it wants [`Event::Deadline`], on its monotonic clock.
    fn next_deadline(&self) -> Option<u64>;
}

/// Starts processes.
pub trait Boot {
    /// What it starts.
    type Program: Program;
    /// Starts the process of `node` on its disk; `entropy` is the operating system's random source of this start.
    /// `None` if it could not start and ended at once.
    fn boot(
        &mut self,
        node: NodeId,
        now: Now,
        entropy: u64,
        disk: &mut Disk,
        effects: &mut Vec<Effect>,
    ) -> Option<Self::Program>;
}
