//! What a script does and asks, in words.

use super::{Action, Quiz};
use reports::view::Question;
use std::fmt;

impl From<&Quiz> for Question {
    fn from(quiz: &Quiz) -> Question {
        Question {
            ask: quiz.question.clone(),
            choices: quiz.choices.clone(),
            right: quiz.answer - 1,
            answer: quiz.why.clone(),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Send {
                client,
                partition,
                count,
            } => {
                let plural = if *count == 1 { "" } else { "s" };
                write!(f, "{client} sends {count} record{plural} to {partition}")
            }
            Action::Kill(node) => write!(f, "the process of {node} is killed"),
            Action::PowerLoss { nodes, keep } => {
                let nodes = nodes.join(", ");
                match keep.as_str() {
                    "all" => write!(
                        f,
                        "the whole host of {nodes} stops; all that its disk was handed survives"
                    ),
                    "none" => write!(f, "the power of {nodes} fails; only what was synced survives"),
                    other => write!(
                        f,
                        "the power of {nodes} fails; of what was not synced survives: {other}"
                    ),
                }
            }
            Action::Start(node) => write!(f, "{node} is started"),
            Action::Terminate(node) => write!(f, "{node} is asked to stop in order"),
            Action::Pause(node) => write!(f, "the process of {node} freezes"),
            Action::Resume(node) => write!(f, "the process of {node} goes on"),
            Action::Cut { a, b } => write!(f, "the network between {} and {} is cut", a.join(", "), b.join(", ")),
            Action::CutOneWay { from, to } => {
                write!(f, "nothing from {} reaches {} any more", from.join(", "), to.join(", "))
            }
            Action::Hold(link) => write!(f, "messages from {} to {} wait", link.from, link.to),
            Action::LetThrough(link) => write!(f, "one message from {} to {} goes", link.from, link.to),
            Action::Drop(link) => write!(
                f,
                "a message from {} to {} is lost with its connection",
                link.from, link.to
            ),
            Action::Release(link) => write!(f, "messages from {} to {} wait no more", link.from, link.to),
            Action::HealLinks => f.write_str("the network is whole again"),
            Action::SlowLink { from, to, factor } => {
                write!(f, "messages from {from} to {to} take {factor} times as long")
            }
            Action::WipeDisk(node) => write!(f, "the disk of {node} is replaced by an empty one"),
            Action::Disk { node, fault } => write!(f, "the disk of {node} is struck: {fault}"),
            Action::PollEvery { client, ms } => write!(f, "{client} asks for records every {ms} ms"),
            Action::Elect {
                client,
                partition,
                unclean,
            } => {
                let kind = if *unclean { "an unclean" } else { "a preferred" };
                write!(f, "{client} asks for {kind} election of {partition}")
            }
            Action::AlterTopic { client, topic, config } => {
                let properties: Vec<String> = config.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(f, "{client} sets {} of topic {topic}", properties.join(", "))
            }
            Action::StepClock { node, by_ms } => write!(f, "the clock of {node} jumps by {by_ms} ms"),
        }
    }
}
