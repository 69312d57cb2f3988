//! A tap on the processes of the simulated cluster: it sees what each puts on the wire and takes off it.
//!
//! It copies no byte, holds nothing back and decides nothing, so a run with a tap is the run without it. Runs that nobody
//! looks at have none. It knows connections by the names that their own processes give them, and no frame.

use bytes::Bytes;
use sim::fault::NodeId;
use std::cell::RefCell;
use std::rc::Rc;

/// Shared by all processes and whoever looks; he takes out what he has seen.
pub type Tap = Rc<RefCell<Vec<Passed>>>;

/// What a process did on the wire.
#[derive(Clone, Debug)]
pub struct Passed {
    /// Who.
    pub node: NodeId,
    /// On which of its connections.
    pub conn: u64,
    /// What.
    pub what: Act,
}

/// An act on a connection.
#[derive(Clone, Debug)]
pub enum Act {
    /// It connects to that node.
    Connects(NodeId),
    /// It sends these bytes.
    Sends(Bytes),
    /// It reads these bytes.
    Reads(Bytes),
    /// It wants no more of it.
    Closes,
}
