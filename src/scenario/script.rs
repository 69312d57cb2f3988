//! A script: faults and client operations, each at a time or when something has come true.
//!
//! Steps are taken in order: a step waits until its condition holds and all steps before it have been taken. A step
//! whose condition never comes true within the run is a failure of the run, with that reason.

use super::Quiz;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One step.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScriptStep {
    /// When; at once after the step before it if left out.
    #[serde(default)]
    pub when: Condition,
    /// What. Several things happen at the same instant.
    #[serde(rename = "do", default)]
    pub actions: Vec<Action>,
    /// What is so now, in a sentence or two for whoever watches.
    #[serde(default)]
    pub note: String,
    /// What to expect of the steps that follow.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub expect: String,
    /// Asked before this step is shown, answered with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiz: Option<Quiz>,
}

/// What must have come true.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Nothing.
    #[default]
    Now,
    /// Simulated time since the traffic began.
    AtMs(u64),
    /// Simulated time since the step before was taken.
    AfterMs(u64),
    /// The log end offset of a replica is this.
    LogEnd {
        /// Node.
        node: String,
        /// `topic-partition`.
        partition: String,
        /// Offset, exclusive.
        is: i64,
    },
    /// The high watermark of a replica is at least this.
    HighWatermark {
        /// Node.
        node: String,
        /// `topic-partition`.
        partition: String,
        /// Offset, exclusive.
        at_least: i64,
    },
    /// A node leads a partition, by its own knowledge.
    Leads {
        /// Node.
        node: String,
        /// `topic-partition`.
        partition: String,
    },
    /// The in-sync replicas of a partition, as its leader knows them, are exactly these nodes.
    Isr {
        /// `topic-partition`.
        partition: String,
        /// Node names, in any order.
        nodes: Vec<String>,
    },
    /// A producer was told the fate of this many records, good or bad.
    Answered {
        /// Producer.
        client: String,
        /// How many since the run began.
        at_least: u64,
    },
    /// A producer was told success for this many records.
    Acknowledged {
        /// Producer.
        client: String,
        /// How many since the run began.
        at_least: u64,
    },
    /// A producer was told of this many records that they are not written, or perhaps.
    Failed {
        /// Producer.
        client: String,
        /// How many since the run began.
        at_least: u64,
    },
    /// A consumer has read up to this offset.
    Read {
        /// Consumer.
        client: String,
        /// `topic-partition`.
        partition: String,
        /// Next offset.
        at_least: i64,
    },
    /// A consumer has read up to exactly this offset, no further.
    ReadIs {
        /// Consumer.
        client: String,
        /// `topic-partition`.
        partition: String,
        /// Next offset.
        is: i64,
    },
    /// A node serves (it is up and unfenced), or is down.
    Up {
        /// Node.
        node: String,
        /// Down if false.
        is: bool,
    },
}

/// What is done.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A producer sends this many records to a partition.
    Send {
        /// Producer.
        client: String,
        /// `topic-partition`.
        partition: String,
        /// Records.
        count: u32,
    },
    /// kill -9.
    Kill(String),
    /// Power failure of these nodes at the same instant; nothing unsynced survives, unless `keep` names another way.
    PowerLoss {
        /// Nodes.
        nodes: Vec<String>,
        /// `none`, `all`, `subset`, `ordered`, `prefix`.
        #[serde(default = "keep_none")]
        keep: String,
    },
    /// Starts a stopped node.
    Start(String),
    /// SIGTERM.
    Terminate(String),
    /// Freezes a process.
    Pause(String),
    /// It goes on.
    Resume(String),
    /// Nothing between these two arrives, either way. Clients have links too.
    Cut {
        /// One side.
        a: Vec<String>,
        /// Other side.
        b: Vec<String>,
    },
    /// Nothing from one side to the other arrives.
    CutOneWay {
        /// Senders.
        from: Vec<String>,
        /// Receivers.
        to: Vec<String>,
    },
    /// From now on what a node sends to another waits, message by message, for `let_through`, `drop` or `release`.
    Hold(Link),
    /// The oldest message that waits goes.
    LetThrough(Link),
    /// The oldest message that waits is lost, and with it its connection: TCP loses nothing within a living one.
    Drop(Link),
    /// All that waits goes, and nothing waits any more.
    Release(Link),
    /// All cuts end.
    HealLinks,
    /// Latency from one node to another is multiplied.
    SlowLink {
        /// Sender.
        from: String,
        /// Receiver.
        to: String,
        /// 1 is normal.
        factor: u32,
    },
    /// The disk of a stopped node is replaced by an empty one.
    WipeDisk(String),
    /// Another fault, as the world names it, on a node: `{"node": "b1", "disk": {"kind": "fail_sync"}}`.
    Disk {
        /// Node.
        node: String,
        /// Fault of the disk.
        fault: serde_json::Value,
    },
    /// A producer, consumer or administrator stops asking, or a consumer reads slowly.
    PollEvery {
        /// Consumer.
        client: String,
        /// Pause between two fetches.
        ms: u64,
    },
    /// An election of the preferred replica of a partition, or an unclean one.
    Elect {
        /// Administrator.
        client: String,
        /// `topic-partition`.
        partition: String,
        /// Unclean instead of preferred.
        #[serde(default)]
        unclean: bool,
    },
    /// A topic's property changes.
    AlterTopic {
        /// Administrator.
        client: String,
        /// Topic.
        topic: String,
        /// New values.
        config: BTreeMap<String, String>,
    },
    /// A node's wall clock jumps.
    StepClock {
        /// Node.
        node: String,
        /// Forward or back.
        by_ms: i64,
    },
}

/// From one node to another. Clients are nodes too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Sender.
    pub from: String,
    /// Receiver.
    pub to: String,
}

fn keep_none() -> String {
    "none".to_owned()
}
