//! Steps and states of a trace in words.

use super::letter::{Net, Stage};
use kafka::note::Note;
use std::fmt::Write;

/// What happened, and what the machines said.
pub fn step(sentence: &str, said: &[(u8, Note)], name: impl Fn(u8) -> String) -> String {
    let mut text = sentence.to_owned();
    for (node, note) in said {
        let _ = write!(text, "\n    {}: {note}", name(*node));
    }
    text
}

/// What is on its way.
pub fn net(net: &Net, name: impl Fn(u8) -> String) -> String {
    let mut text = String::new();
    for (link, stage) in net.links() {
        let stage = match stage {
            Stage::Asked(_) => "on its way",
            Stage::Taken => "waiting",
            Stage::Answered(_) => "answered",
        };
        let (from, to, channel) = (name(link.from), name(link.to), link.channel);
        let _ = write!(text, "{channel:?} request of {from} to {to} {stage}; ");
    }
    for (link, _) in net.late() {
        let (from, to, channel) = (name(link.from), name(link.to), link.channel);
        let _ = write!(text, "{channel:?} request of {from} to {to} given up; ");
    }
    text
}
