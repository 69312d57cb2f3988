//! The first step that the specification does not allow: what really happened, and what would have been allowed.

use model::replication::{Action, Limits, Protocol, Replica, State};
use std::fmt::Write;

/// Why a step does not refine one of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// What the real cluster did, as the model's action or in words.
    pub step: String,
    /// Why the model does not allow it, or where the two states differ after it.
    pub why: String,
    /// Where it happened.
    pub replica: Option<Replica>,
}

impl Finding {
    /// The model refuses this.
    pub fn refused(action: &Action, why: &str) -> Finding {
        Finding {
            step: action.to_string(),
            why: format!("the specification does not allow it: {why}"),
            replica: actor(action),
        }
    }

    /// The model has nothing like it.
    pub fn unexplained(step: impl Into<String>, why: impl Into<String>, replica: Option<Replica>) -> Finding {
        Finding {
            step: step.into(),
            why: why.into(),
            replica,
        }
    }

    /// In full: step, state before, state after, what would have been allowed.
    pub fn text(&self, told: &str, before: &State, after: Option<String>, protocol: &Protocol) -> String {
        let mut text = format!("{told}: {}, but {}.", self.step, self.why);
        let _ = write!(
            text,
            "\n  the specification's state before:{}",
            indented(&before.to_string())
        );
        if let Some(after) = after {
            let _ = write!(text, "\n  the broker's state after:{}", indented(&after));
        }
        let allowed = allowed(protocol, before, self.replica);
        let _ = write!(text, "\n  what the specification would have allowed:");
        if allowed.is_empty() {
            text += " nothing";
        }
        text += &indented(&allowed.join("\n"));
        text
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("\n    {line}")).collect()
}

/// Where an action happens.
pub(super) fn actor(action: &Action) -> Option<Replica> {
    match *action {
        Action::Produce { leader, .. }
        | Action::Acknowledge { leader, .. }
        | Action::GiveUp { leader, .. }
        | Action::AdvanceHighWatermark { leader, .. }
        | Action::ProposeIsr { leader, .. }
        | Action::HandleAltered { leader, .. } => Some(leader),
        Action::HandleFetch { fetch, .. } | Action::AnswerParked { fetch } => Some(fetch.leader),
        Action::HandleFetched { fetch, .. } => Some(fetch.follower),
        Action::AskAgain { follower } => Some(follower),
        Action::Read { broker, .. }
        | Action::ApplyMetadata { broker, .. }
        | Action::Kill { broker }
        | Action::LosePower { broker, .. }
        | Action::Stop { broker }
        | Action::Wipe { broker }
        | Action::Start { broker, .. }
        | Action::Flush { broker, .. } => Some(broker),
        Action::HandleAlter { .. }
        | Action::Register { .. }
        | Action::Unfence { .. }
        | Action::Fence { .. }
        | Action::ElectPreferred
        | Action::ElectUnclean { .. } => None,
    }
}

/// What the model allows at a broker, or, for none, to the controller.
fn allowed(protocol: &Protocol, state: &State, replica: Option<Replica>) -> Vec<String> {
    let everything = Limits {
        lag: u32::MAX / 2,
        acks: [true, true],
        isr_changes: [true, true],
        false_alarms: true,
        preferred_elections: true,
        restarts: true,
        ..Limits::new(u32::MAX, u32::MAX, u16::MAX)
    };
    let mut actions = Vec::new();
    everything.propose(protocol, state, &mut actions);
    let at_hand = |action: &&Action| actor(action) == replica;
    let possible = |action: &&Action| protocol.step(&mut state.clone(), action).is_ok();
    let allowed = actions.iter().filter(at_hand).filter(possible);
    allowed.map(Action::to_string).collect()
}
