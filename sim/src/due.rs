//! What waits in the queue, and what waits at a node: small values, no bytes.

use crate::connection::ConnId;
use crate::disk::Errno;

/// An entry of the queue of the world.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    /// Something happens below the programs.
    Net(NetDue),
    /// A busy node is free.
    Wake { node: u16, wake: u32 },
    /// A node's wake-up for its program's deadline; void if the node has armed another.
    Deadline { node: u16, arming: u32 },
    /// A sync of a node's process ends.
    Sync { node: u16, nth: u32 },
    /// A node's operating system writes back.
    WriteBack { node: u16 },
    /// A flap toggles.
    Flap { index: u16, round: u32 },
    /// A scheduled fault or mark, by its place in the world's list.
    Scheduled { index: u32 },
}

/// What happens between kernels.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NetDue {
    /// A segment of direction `half` reaches the receiver's NIC.
    Arrive { conn: ConnId, half: u8, nth: u32 },
    /// It has passed the receiver's limited NIC.
    Entered { conn: ConnId, half: u8, nth: u32 },
    /// A SYN reaches the host.
    Syn { conn: ConnId },
    /// Its answer reaches the other one.
    SynAck { conn: ConnId, nth: u32 },
    /// No answer came: once more.
    SynRetry { conn: ConnId },
    /// No answer came in time.
    ConnectTimeout { conn: ConnId },
    /// A reset reaches `end`.
    Rst { conn: ConnId, end: u8, nth: u32 },
    /// The sender of direction `half` tries again.
    Tick { conn: ConnId, half: u8, stall: u32 },
    /// The sender of direction `half` may find room.
    Window { conn: ConnId, half: u8 },
    /// The reader of direction `half` looks at what was held back.
    Reread { conn: ConnId, half: u8 },
}

// The queue moves entries by value; sixteen bytes are two entries a cache line.
const _: () = assert!(size_of::<Due>() <= 16, "an entry has grown");

/// Something that a program is to be told, when its node is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    Accepted {
        conn: ConnId,
        nth: u32,
    },
    Connected {
        conn: ConnId,
        nth: u32,
    },
    /// There is something to read, or an end to notice.
    Readable {
        conn: ConnId,
        half: u8,
    },
    /// There is room for what it has to send.
    Writable {
        conn: ConnId,
        half: u8,
        nth: u32,
    },
    Sync {
        nth: u32,
        token: u64,
        result: Result<(), Errno>,
    },
    Deadline,
    Terminate {
        nth: u32,
    },
}
