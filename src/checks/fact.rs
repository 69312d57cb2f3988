//! What goes into the checks and what comes out: facts in the order in which they happened, the cluster as it is set
//! up, violations.
//!
//! Deliberately does not know any check.

use bytes::Bytes;
use kafka::note::Note;
use kafka::types::{ConnId, TopicPartition, Uuid};
use std::collections::BTreeMap;
use std::io::ErrorKind;

/// How a node stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopKind {
    /// kill -9 between two steps: the page cache stays, all that the process did has left notes.
    Killed,
    /// kill -9 in the middle of a step: the page cache stays, but what the last step did has left no notes.
    KilledMidStep,
    /// Power failure: what was not synced may be gone.
    PowerLost,
    /// The process ended by itself.
    Exited {
        /// It was asked to.
        clean: bool,
    },
}

/// What the run loop tells the checks, in the order in which it happened. Nodes are indices; those below
/// [`Context::brokers`] run the subject, the others are clients.
#[derive(Clone, Debug)]
pub enum Fact<'a> {
    /// A machine said something.
    Note {
        /// Simulated time.
        time_ns: u64,
        /// Who.
        node: u16,
        /// What.
        note: &'a Note,
    },
    /// Something happened on a connection of a node whose connections are driven over byte streams.
    Traffic {
        /// Simulated time.
        time_ns: u64,
        /// Whose end of it.
        node: u16,
        /// The node's own name for it.
        conn: ConnId,
        /// What.
        what: &'a Traffic,
    },
    /// A process began.
    Started {
        /// Where.
        node: u16,
        /// From 0, counted by the run loop.
        incarnation: u32,
    },
    /// A process ended.
    Stopped {
        /// Where.
        node: u16,
        /// How.
        how: StopKind,
    },
    /// An injected fault has taken or changed data of a node that was durable, or that a sync had called so; told when
    /// it did. A power failure by itself needs no such fact.
    DiskDamaged {
        /// Whose disk.
        node: u16,
        /// Name of the fault, for messages.
        what: &'static str,
        /// The file, or the directory whose names went; none: the whole disk.
        path: Option<&'a str>,
    },
    /// What a log really holds now: all its batches from its first segment on. Due for each of
    /// [`super::Checks::wanted_logs`].
    LogContent {
        /// Whose.
        node: u16,
        /// Which.
        partition: TopicPartition,
        /// In order.
        batches: Bytes,
    },
    /// After a crash, what the disk of a stopped node holds durably of a log.
    DurableLog {
        /// Whose.
        node: u16,
        /// Which.
        partition: TopicPartition,
        /// In order; a torn end is allowed.
        batches: Bytes,
    },
    /// A topic has this id. Only for runs without a metadata log, which says so itself.
    TopicNamed {
        /// Name.
        name: &'a str,
        /// Id.
        id: Uuid,
    },
    /// All faults are healed; the cluster must converge now.
    FaultsEnded {
        /// Simulated time.
        time_ns: u64,
    },
    /// The run is over: final reads are done, or there is no more time for them.
    Finished {
        /// Simulated time.
        time_ns: u64,
    },
}

/// What passes between the NIC, the connection driver and the machine, in the order in which it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Bytes came from the NIC.
    Arrived(Bytes),
    /// The driver gave the machine a frame, its length included.
    HandedOver {
        /// All of it.
        frame: Bytes,
        /// How many reads of the stream it took.
        reads: u32,
    },
    /// The machine has taken all that it was given.
    Taken,
    /// The machine gave the driver a frame for the peer.
    Queued(Bytes),
    /// Bytes went to the NIC.
    Left(Bytes),
    /// The driver does not read what has come: the peer's window fills.
    LeftUnread,
    /// The machine wants to hear of it no more; what was queued is still to leave.
    LetGo,
    /// The driver waits for something to happen; the NIC would take so many bytes more.
    Rested {
        /// Bytes.
        room: usize,
    },
    /// The driver has ended: by itself, or with this error.
    Ended(Option<ErrorKind>),
}

/// What a topic promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicPromise {
    /// `min.insync.replicas`.
    pub min_insync_replicas: u32,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election: bool,
    /// `flush.messages`; 1 means that nothing is acknowledged before it is durable.
    pub flush_messages: i64,
}

impl Default for TopicPromise {
    fn default() -> TopicPromise {
        TopicPromise {
            min_insync_replicas: 1,
            unclean_leader_election: false,
            flush_messages: i64::MAX,
        }
    }
}

/// The cluster as it is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// How many nodes run the subject; they are the first ones. At most 64.
    pub brokers: usize,
    /// `node.id` of each of them.
    pub node_ids: Vec<i32>,
    /// Node ids of the quorum's voters.
    pub voters: Vec<i32>,
    /// Node ids of those that are controllers only.
    pub controllers_only: Vec<i32>,
    /// By topic name.
    pub topics: BTreeMap<String, TopicPromise>,
    /// Of every other topic.
    pub default_promise: TopicPromise,
    /// Node index of the client that reads everything after the faults.
    pub verifier: Option<u16>,
    /// After the faults, a reader at the end sees a new record within this time.
    pub lag_bound_ns: u64,
}

impl Context {
    /// Nodes with ids from 1, all of them brokers and voters, with Kafka's defaults.
    pub fn new(brokers: usize) -> Context {
        let node_ids: Vec<i32> = (1..=brokers as i32).collect();
        Context {
            brokers,
            voters: node_ids.clone(),
            node_ids,
            controllers_only: Vec::new(),
            topics: BTreeMap::new(),
            default_promise: TopicPromise::default(),
            verifier: None,
            lag_bound_ns: 60_000_000_000,
        }
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Id of the check, for example `X1`.
    pub check: &'static str,
    /// Simulated time.
    pub time_ns: u64,
    /// Index of the node where it showed, if it was one.
    pub node: Option<u16>,
    /// What was promised to whom, what happened instead, where: at most three sentences.
    pub message: String,
}
