//! Which step is next: the earliest, or the one that a script names.
//!
//! A script decides only in which order programs handle what has reached them. What happens below (segments travel,
//! timers of kernels run, disks complete) goes on in time order whoever decides, and no bytes of a connection overtake
//! each other.

use crate::step::StepKey;

/// Decides which pending step is next.
#[derive(Clone, Debug, Default)]
pub enum Scheduler {
    /// The earliest: time comes from the named streams, so the seed decides.
    #[default]
    Seeded,
    /// The steps of a script, whatever their time: the clock moves to the later of now and when the step could happen.
    Scripted(Script),
}

/// A list of steps and how far it has been played.
#[derive(Clone, Debug, Default)]
pub struct Script {
    steps: Vec<StepKey>,
    played: usize,
}

impl Script {
    /// Plays these.
    pub fn new(steps: Vec<StepKey>) -> Script {
        Script { steps, played: 0 }
    }
    /// How many have been played.
    pub fn played(&self) -> usize {
        self.played
    }
    /// Steps that are left.
    pub fn left(&self) -> &[StepKey] {
        &self.steps[self.played..]
    }
}

/// What a scheduler says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Earliest,
    Key(StepKey),
    /// The script has been played.
    End,
}

impl Scheduler {
    /// The choice of the next step; it counts as played when `played` is called.
    pub(crate) fn choose(&self) -> Choice {
        match self {
            Scheduler::Seeded => Choice::Earliest,
            Scheduler::Scripted(script) => script.left().first().map_or(Choice::End, |key| Choice::Key(*key)),
        }
    }
    pub(crate) fn played(&mut self) {
        if let Scheduler::Scripted(script) = self {
            script.played += 1;
        }
    }
}

/// A script asked for a step that is not pending and does not become so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// How many steps had been played before it.
    pub position: usize,
    /// The step.
    pub wanted: StepKey,
    /// True time of the question, nanoseconds.
    pub time: u64,
    /// What was pending then.
    pub pending: Vec<Pending>,
}

/// A step that may be next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// When it is due, true time in nanoseconds; now or earlier if it waits for its node.
    pub time: u64,
    /// Its name.
    pub key: StepKey,
}

impl std::fmt::Display for ScriptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "step {} of the script, {}, is not pending at {} ns; pending are: ",
            self.position + 1,
            self.wanted,
            self.time
        )?;
        if self.pending.is_empty() {
            return write!(f, "nothing");
        }
        for (i, pending) in self.pending.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { ", " }, pending.key)?;
        }
        Ok(())
    }
}

impl std::error::Error for ScriptError {}
