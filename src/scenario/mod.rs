//! A scenario: one JSON file, one question, one expected verdict.
//!
//! The same file drives the simulated cluster, the model's bounds and the lessons. Reading is strict: an unknown field,
//! a node that does not exist or a number that cannot be is an error with its place. Property names are Kafka's.

mod lesson;
mod read;
mod script;
#[cfg(test)]
mod tests;
mod words;

pub use lesson::{Lesson, Quiz};
pub use read::{BadInput, files, load, parse};
pub use script::{Action, Condition, Link, ScriptStep};

use model::catalogue::{Entry, Question, Visitor, Wrong};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Name in tables and commands; the file's name without `.json`.
    pub name: String,
    /// The question, in a sentence or two.
    pub description: String,
    /// What makes it a lesson (`highwater lessons`), if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lesson: Option<Lesson>,
    /// Claims about Kafka that it puts on trial, by their ids (`N01` ...).
    #[serde(default)]
    pub claims: Vec<String>,
    /// Brokers and controllers; left out if the scenario asks the specification alone. Without `duration_ms`, a cluster
    /// that follows the specification's counterexamples (`replay --path`) and has no run of its own.
    #[serde(default, skip_serializing_if = "Cluster::is_absent")]
    pub cluster: Cluster,
    /// Topics that exist from the start.
    #[serde(default)]
    pub topics: Vec<Topic>,
    /// Who uses the cluster.
    #[serde(default)]
    pub clients: Clients,
    /// Simulated milliseconds of traffic and faults.
    #[serde(default)]
    pub duration_ms: u64,
    /// Simulated milliseconds that the healed cluster has to converge.
    #[serde(default = "default_heal_ms")]
    pub heal_ms: u64,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Faults,
    /// Published bugs that are switched on.
    #[serde(default)]
    pub rules: Vec<String>,
    /// What the specification is asked, and what we hold to be its answer.
    #[serde(default)]
    pub model: Option<SearchQuestion>,
    /// What the real machines are asked, every schedule of them, and what we hold to be their answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<SearchQuestion>,
    /// What must have happened at least now and then for a green sweep to mean something.
    #[serde(default)]
    pub sometimes: Vec<Duty>,
    /// What we hold to be the answer of the simulated cluster.
    #[serde(default)]
    pub expect: Expect,
}

/// Three brokers and nobody who disturbs them: what is played where no file is named.
pub fn playground() -> Scenario {
    let text = include_str!("../../scenarios/playground.json");
    parse("scenarios/playground.json", text).expect("a file of this checkout, which the tests read")
}

impl Scenario {
    /// Whether seeds run; if not, the specification alone is asked, and the cluster, if there is one, follows its paths.
    pub fn simulates(&self) -> bool {
        self.has_cluster() && self.duration_ms > 0
    }

    /// Whether there is a cluster.
    pub fn has_cluster(&self) -> bool {
        !self.cluster.is_absent()
    }
}

/// What an exhaustive search goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A specification.
    Model,
    /// The real machines.
    Code,
}

impl Subject {
    /// Both.
    pub const ALL: [Subject; 2] = [Subject::Model, Subject::Code];

    /// Where a scenario asks it.
    pub const fn field(self) -> &'static str {
        match self {
            Subject::Model => "model",
            Subject::Code => "code",
        }
    }

    /// All that can be asked.
    pub fn entries(self) -> Vec<Entry> {
        match self {
            Subject::Model => model::catalogue::entries(),
            Subject::Code => crate::code::catalogue::ENTRIES.to_vec(),
        }
    }

    /// Opens what a question asks for.
    pub fn open<V: Visitor>(self, question: &Question, visitor: V) -> Result<V::Output, Wrong> {
        match self {
            Subject::Model => model::catalogue::open(question, visitor),
            Subject::Code => crate::code::catalogue::open(question, visitor),
        }
    }
}

fn default_heal_ms() -> u64 {
    120_000
}

/// Brokers and controllers.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Brokers, named b1, b2, ... with node ids 1, 2, ...
    #[serde(deserialize_with = "some_brokers")]
    pub brokers: u16,
    /// `combined`: the first three brokers are the controllers too. A number: that many controllers of their own, named
    /// c1, c2, ... with node ids 101, 102, ...
    #[serde(default)]
    pub controllers: Controllers,
    /// Racks, given to the brokers in turn; none if empty.
    #[serde(default)]
    pub racks: Vec<String>,
    /// Properties of every node.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// In so many of a hundred seeds the connections of brokers go through the connection driver of a real process, over
    /// byte streams: partial reads and writes, back-pressure, its limits. Which, the seed draws.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub driver_percent: u32,
}

/// No brokers is what a cluster that was left out has, so nobody may write it.
fn some_brokers<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let brokers = u16::deserialize(deserializer)?;
    match brokers {
        1..=50 => Ok(brokers),
        _ => Err(serde::de::Error::custom(format!(
            "must be between 1 and 50, not {brokers}"
        ))),
    }
}

impl Cluster {
    fn is_absent(&self) -> bool {
        self.brokers == 0
    }
}

/// Where the metadata quorum lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Controllers {
    /// In the first three brokers (or in all, if there are fewer).
    #[default]
    Combined,
    /// On this many nodes of their own.
    Separate(u16),
}

/// A topic.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Name.
    pub name: String,
    /// Number of partitions.
    #[serde(default = "one")]
    pub partitions: i32,
    /// Replicas of each.
    pub replication_factor: i16,
    /// Node ids of the replicas of each partition, preferred leader first; the controller chooses if empty.
    #[serde(default)]
    pub assignment: Vec<Vec<i32>>,
    /// Properties of the topic.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

fn one() -> i32 {
    1
}

/// Who uses the cluster.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Clients {
    /// Named p1, p2, ... unless they say otherwise.
    #[serde(default)]
    pub producers: Vec<Producer>,
    /// Named r1, r2, ... (readers).
    #[serde(default)]
    pub consumers: Vec<Consumer>,
    /// How many administrators change things at random; they are named a1, a2, ...
    #[serde(default)]
    pub admins: Vec<Admin>,
    /// Named s1, s2, ...: they find the listeners of brokers and send what is no request.
    #[serde(default)]
    pub strangers: Vec<Stranger>,
}

/// A producer and its user.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Producer {
    /// Topics it writes to, in turn; their partitions too.
    pub topics: Vec<String>,
    /// Records a second of simulated time, at random moments; 0 if only the script sends.
    #[serde(default)]
    pub records_per_s: u32,
    /// Bytes of a record's value, at least 12.
    #[serde(default = "default_value_bytes")]
    pub value_bytes: usize,
    /// Properties: `acks`, `linger.ms`, ...
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// In so many of a hundred seeds it has `enable.idempotence` too; which, the seed draws. Its properties must go with it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub idempotent_percent: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn default_value_bytes() -> usize {
    100
}

/// A consumer with assigned partitions and its user.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// Topics whose partitions it reads, all of them.
    pub topics: Vec<String>,
    /// Asks for the latest offset this often; 0 means never.
    #[serde(default)]
    pub list_offsets_every_ms: u32,
    /// Properties: `isolation.level`, `auto.offset.reset`, `client.rack`, ...
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

/// An administrator and what it does at random.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Mean time between two operations.
    pub every_ms: u32,
    /// What it does, each as likely as the others.
    pub does: Vec<AdminOp>,
}

/// Somebody who found the listeners.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stranger {
    /// Mean time between two connections.
    pub every_ms: u32,
    /// What it does on them.
    #[serde(default)]
    pub does: Trespass,
}

/// What a stranger does on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trespass {
    /// Sends what is no request.
    #[default]
    Garbage,
    /// Asks for much at once and does not read the answers until the next time.
    Hoard,
    /// Begins a frame and never ends it.
    HalfFrame,
}

/// What an administrator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdminOp {
    /// Preferred leader election of a partition.
    PreferredElection,
    /// `min.insync.replicas` of a topic goes to a value between 1 and its replication factor, and back.
    FlipMinInsyncReplicas,
    /// `unclean.leader.election.enable` of a topic flips.
    FlipUncleanElection,
    /// A topic of its own is created, later deleted, and created again under the same name.
    RecreateTopic,
    /// A topic of its own gets one partition more.
    GrowTopic,
    /// Records below the high watermark of a partition are deleted.
    DeleteRecords,
    /// A partition moves to other brokers, or what is under way is taken back.
    Reassign,
}

/// What goes wrong.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// Drawn by the seed; none if it is left out.
    #[serde(default)]
    pub swarm: Option<Swarm>,
    /// Written by hand: each step in its turn.
    #[serde(default)]
    pub script: Vec<ScriptStep>,
}

/// What a seed may draw from.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Swarm {
    /// Families of faults; a seed draws which of them exist in its run.
    pub families: Vec<String>,
    /// How many nodes may be down at once.
    #[serde(default = "one_node")]
    pub max_down: usize,
    /// How many nodes may lose data of their disks in a run. Beyond `min.insync.replicas` - 1, loss is permitted.
    #[serde(default)]
    pub max_lossy: usize,
    /// Nodes that never stop and whose disks are well; their links, clocks and processors suffer like those of others.
    #[serde(default)]
    pub spared: Vec<String>,
    /// Every seed draws all families, and all of them densely. For a question that takes several of them together.
    #[serde(default)]
    pub storm: bool,
    /// Shortest and longest milliseconds that a fault lasts or a node is down.
    #[serde(default = "twenty_seconds")]
    pub window_ms: (u64, u64),
}

fn twenty_seconds() -> (u64, u64) {
    (20, 20_000)
}

fn one_node() -> usize {
    1
}

/// A question to an exhaustive search. The rules that are switched on in it are the scenario's.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchQuestion {
    /// Name of the specification, or of the group of machines; `highwater check --list` lists those, `check --code --list`
    /// these, with their bounds.
    pub spec: String,
    /// Its bounds by name.
    #[serde(default)]
    pub bounds: BTreeMap<String, u32>,
    /// Whether states that are alike up to the names of replicas count as one, where the specification knows such.
    #[serde(default = "yes")]
    pub symmetry: bool,
    /// The properties that are broken, each with the number of states on its shortest trace, the initial one included. If
    /// none is, every property must hold in every reachable state.
    #[serde(default)]
    pub violates: BTreeMap<String, u32>,
    /// How many distinct states there are. Where properties are broken, the search goes on to the end only if this is
    /// given.
    #[serde(default)]
    pub distinct: Option<u64>,
}

fn yes() -> bool {
    true
}

/// A mark that must be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Duty {
    /// Name of the mark.
    pub mark: String,
    /// At least this often ...
    #[serde(default = "one_u64")]
    pub at_least: u64,
    /// ... in this many seeds. A sweep of fewer seeds does not judge it.
    #[serde(default = "default_duty_seeds")]
    pub in_seeds: u64,
}

fn one_u64() -> u64 {
    1
}

fn default_duty_seeds() -> u64 {
    200
}

/// The expected answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "verdict", deny_unknown_fields)]
pub enum Expect {
    /// No check fires, every run converges.
    #[default]
    Passes,
    /// Some seed of the sweep breaks this check.
    Violates {
        /// Its id. Another check may fire on the way; this one must.
        check: String,
    },
}
