//! A run as plain data: what the page, the terminal and a lesson show. Knows nothing of simulator or broker.
//!
//! A view is a list of steps. Each says where and when it happened, what was said, what changed, and what it followed
//! from; the cluster at any step is the keyframe before it and the changes up to it. Indices name nodes, partitions,
//! steps and messages. A lesson hangs its words on steps ([`Narration`]); what is told elsewhere leaves them empty.
//!
//! Short names in the JSON, long ones here: a run has a hundred thousand steps.

mod page;
mod state;
mod texts;

pub use page::{page, play_page, unpack};
pub use state::{Changes, Client, Decided, Node, Replica, State};
pub use texts::{Texts, Words};

use serde::{Deserialize, Serialize};

/// Steps between two keyframes: so many changes are applied at most to get anywhere.
pub const KEYFRAME_EVERY: usize = 500;

/// High watermark and leader epoch of a replica whose process has begun and does not know its role yet.
pub const UNKNOWN: i64 = -1;

/// A recorded run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Name of what was run.
    pub title: String,
    /// The question that it asks.
    pub about: String,
    /// What makes the same page again.
    pub command: String,
    /// How it ended, in words.
    pub verdict: String,
    /// Identifies the run, in hexadecimal.
    pub digest: String,
    /// It is a lesson, which asks before it shows.
    pub asks: bool,
    /// Where things happen.
    pub lanes: Vec<Lane>,
    /// `topic-partition`; the metadata log is one of them.
    pub partitions: Vec<String>,
    /// Names of APIs.
    pub apis: Vec<String>,
    /// Every sentence's template.
    pub texts: Texts,
    /// The run.
    pub steps: Vec<Step>,
    /// What was sent.
    pub messages: Vec<Message>,
    /// The cluster before step 0, [`KEYFRAME_EVERY`], and so on, as changes from nothing.
    pub keyframes: Vec<Changes>,
    /// The promises that were broken.
    pub failures: Vec<Failure>,
}

/// What a lane stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Keeps logs.
    Broker,
    /// A controller that is no broker.
    Controller,
    /// Sends or reads.
    Client,
    /// Sets up and reads back; no part of what is tried.
    Testbed,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// `node.id`, by which in-sync replicas are named; -1 for clients.
    pub id: i32,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Nanoseconds since the step before.
    #[serde(rename = "t", default, skip_serializing_if = "is_zero")]
    pub after_ns: u64,
    /// Its lane; none if it was at no single node.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u16>,
    /// What it was.
    #[serde(rename = "w")]
    pub what: Words,
    /// Whether somebody did it to the cluster: a fault, a start, a user.
    #[serde(rename = "f", default, skip_serializing_if = "is_false")]
    pub is_outside: bool,
    /// What machines said.
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
    /// What changed.
    #[serde(rename = "c", default, skip_serializing_if = "Changes::is_empty")]
    pub changes: Changes,
    /// Records that were added to logs.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub appended: Vec<Appended>,
    /// What it followed from, directly, beside the step before on its own node ([`View::causes`]).
    #[serde(rename = "y", default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<(Cause, u32)>,
    /// What a narrator says here.
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    pub narration: Option<Box<Narration>>,
}

/// Why a step happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// That step sent the message that was read here.
    #[serde(rename = "m")]
    Message,
    /// That fault made it happen.
    #[serde(rename = "f")]
    Fault,
    /// The script waited for that.
    #[serde(rename = "s")]
    Script,
}

/// What a reader jumps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Turn {
    /// Somebody leads from now on.
    #[serde(rename = "e")]
    Election,
    /// A log lost its tail.
    #[serde(rename = "t")]
    Truncation,
    /// Other replicas are in sync.
    #[serde(rename = "i")]
    Isr,
    /// A producer was told that its record is written.
    #[serde(rename = "a")]
    Acknowledgement,
}

/// One sentence of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The sentence.
    #[serde(rename = "w")]
    pub words: Words,
    /// What it is about, if it is one partition.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u16>,
    /// Who said it, if it was not the step's own node.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u16>,
    /// Whether something turned.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
}

/// Records at the end of a log: node, partition, first offset, their values.
pub type Appended = (u16, u16, i64, Vec<Words>);

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Row", into = "Row")]
pub struct Message {
    /// Lane of the sender.
    pub from: u16,
    /// Lane of the receiver.
    pub to: u16,
    /// Its API: index of a name.
    pub api: u16,
    /// Bytes on the wire.
    pub bytes: u32,
    /// All of it, decoded.
    pub words: Words,
    /// The partitions that it names.
    pub partitions: Vec<u16>,
    /// The step that sent it.
    pub sent: u32,
    /// The step at which it was read, or at which nobody was left to read it.
    pub ended: Option<u32>,
    /// The message that it answers.
    pub answers: Option<u32>,
    /// It was never read.
    pub is_lost: bool,
}

/// A message in the order of its fields; -1 is none.
type Row = (u16, u16, u16, u32, Words, Vec<u16>, u32, i64, i64, u8);

impl From<Row> for Message {
    fn from((from, to, api, bytes, words, partitions, sent, ended, answers, is_lost): Row) -> Message {
        Message {
            from,
            to,
            api,
            bytes,
            words,
            partitions,
            sent,
            ended: u32::try_from(ended).ok(),
            answers: u32::try_from(answers).ok(),
            is_lost: is_lost != 0,
        }
    }
}

impl From<Message> for Row {
    fn from(message: Message) -> Row {
        let Message {
            from,
            to,
            api,
            bytes,
            words,
            partitions,
            sent,
            ended,
            answers,
            is_lost,
        } = message;
        let number = |index: Option<u32>| index.map_or(-1, i64::from);
        (
            from,
            to,
            api,
            bytes,
            words,
            partitions,
            sent,
            number(ended),
            number(answers),
            is_lost.into(),
        )
    }
}

/// A narrator's words at one step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Narration {
    /// What to expect of the steps that follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// What the step shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<String>,
    /// A question before the step is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Question>,
}

/// A question with its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// What is asked.
    pub ask: String,
    /// What may be answered.
    pub choices: Vec<String>,
    /// Index of the right one.
    pub right: usize,
    /// Why it is right.
    pub answer: String,
}

impl Question {
    /// Number of the right choice, as it is shown: from 1.
    pub fn number(&self) -> usize {
        self.right + 1
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Id of the check.
    pub check: String,
    /// The step at which it showed.
    pub step: u32,
    /// What was promised to whom.
    pub promised: String,
    /// What happened instead.
    pub happened: String,
    /// Where.
    pub place: String,
}

impl View {
    /// What step `at` followed from, directly: what it names, and the step before on its own node.
    pub fn causes(&self, at: usize) -> Vec<(Option<Cause>, usize)> {
        let Some(step) = self.steps.get(at) else {
            return Vec::new();
        };
        let named = step.causes.iter().map(|(cause, step)| (Some(*cause), *step as usize));
        let mut causes: Vec<_> = named.collect();
        let before = (0..at)
            .rev()
            .find(|before| step.node.is_some() && self.steps[*before].node == step.node);
        let before = before.filter(|before| causes.iter().all(|(_, known)| known != before));
        causes.extend(before.map(|before| (None, before)));
        causes
    }

    /// The cluster after step `at`.
    pub fn state(&self, at: usize) -> State {
        let mut state = State::default();
        let first = at / KEYFRAME_EVERY * KEYFRAME_EVERY;
        if let Some(keyframe) = self.keyframes.get(at / KEYFRAME_EVERY) {
            state.apply(keyframe);
        }
        for step in self.steps.iter().take(at + 1).skip(first) {
            state.apply(&step.changes);
        }
        state
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !*flag
}
