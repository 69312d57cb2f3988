//! What of a run is told, and in which words: the script's, and the machines' own.

use super::Film;
use crate::run::Outcome;
use crate::scenario::{Expect, Scenario, ScriptStep};
use kafka::{ClientNote, Note};
use reports::view::Question;
use reports::walk::{Said, Stop, Told, Walk};
use sim::fault::NodeId;
use std::collections::BTreeSet;

/// Something turned.
pub(super) fn is_turn(note: &Note) -> bool {
    matches!(
        note,
        Note::BecameLeader { .. }
            | Note::Truncated { .. }
            | Note::IsrProposed { .. }
            | Note::DivergenceFound { .. }
            | Note::BecameQuorumLeader { .. }
            | Note::ControllerActivated { .. }
            | Note::Restarted { .. }
            | Note::LogDirFailed { .. }
    )
}

/// What a step of the script does, in words.
pub(super) fn deeds(step: &ScriptStep) -> Vec<String> {
    step.actions.iter().map(ToString::to_string).collect()
}

/// The first violation of each check, with its time.
pub(super) fn broken(outcome: &Outcome) -> impl Iterator<Item = (u64, String)> {
    let mut seen = BTreeSet::new();
    let firsts = outcome
        .violations
        .iter()
        .filter(move |violation| seen.insert(violation.check));
    firsts.map(|violation| {
        (
            violation.time_ns,
            format!("BROKEN {}: {}", violation.check, violation.message),
        )
    })
}

/// How a run ended: what was lost for each reason, and the verdict.
pub(super) fn ending(scenario: &Scenario, outcome: &Outcome) -> Vec<String> {
    let mut lost: Vec<(&str, Vec<&str>)> = Vec::new();
    for loss in &outcome.permitted {
        let (record, reason) = loss.split_once(": ").unwrap_or((loss, ""));
        match lost.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, records)) => records.push(record),
            None => lost.push((reason, vec![record])),
        }
    }
    let lost = lost.into_iter().map(|(reason, records)| {
        let more = match records.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        format!("lost, as the promise allows: {}{more}: {reason}", records[0])
    });
    let expected = match &scenario.expect {
        Expect::Violates { check } => outcome.violations.iter().find(|violation| violation.check == check),
        Expect::Passes => None,
    };
    let verdict = match expected {
        Some(violation) => format!(
            "verdict: {} is broken, as expected: {}",
            violation.check, violation.message
        ),
        None => format!("verdict: {}", outcome.headline()),
    };
    lost.chain([verdict]).collect()
}

fn quiz(scenario: &Scenario, number: usize) -> Option<Question> {
    let step = scenario.faults.script.get(number)?;
    step.quiz.as_ref().map(Question::from)
}

impl Film {
    pub(super) fn caption(&self, time_ns: u64, node: NodeId, note: &Note) -> Said {
        Said {
            time_ns,
            who: self.layout.names[usize::from(node.0)].clone(),
            words: self.topics.sentence(note),
            kind: match note {
                Note::Client(ClientNote::SendInvoked { .. }) => Some("sent"),
                Note::Client(ClientNote::SendAcked { .. }) => Some("acknowledged"),
                Note::Client(ClientNote::SendFailed { .. }) => Some("failed"),
                Note::EpochFenced { .. } => Some("fenced"),
                Note::ProduceAnswered { .. } => Some("refused"),
                _ => None,
            },
        }
    }

    /// The words of the script's step of this number, from 0.
    pub fn told(&self, number: usize) -> Told {
        let script = &self.scenario.faults.script;
        let step = &script[number];
        Told {
            number: number + 1,
            of: script.len(),
            does: deeds(step),
            note: step.note.clone(),
            expect: step.expect.clone(),
            answers: quiz(&self.scenario, number),
            asks: quiz(&self.scenario, number + 1),
        }
    }

    /// What is told before the first step: a title, the question, paragraphs, and what is asked then.
    pub fn head(&self) -> Walk {
        let scenario = &self.scenario;
        let head = Walk {
            title: scenario.name.clone(),
            question: scenario.description.clone(),
            asks: quiz(scenario, 0),
            ..Walk::default()
        };
        let Some(lesson) = &scenario.lesson else {
            return head;
        };
        Walk {
            title: format!(
                "{}: {} ({} of the notes)",
                scenario.name,
                lesson.title,
                sections(&lesson.sections)
            ),
            opening: lesson.opening.clone(),
            closing: lesson.closing.clone(),
            ..head
        }
    }

    /// What is worth a look, in order: the script's steps, and what turned between them. Where only the script sends, each
    /// record's way is told too.
    pub fn walk(&self) -> Walk {
        let is_quiet = self
            .scenario
            .clients
            .producers
            .iter()
            .all(|producer| producer.records_per_s == 0);
        let begin = self.taken().first().copied().unwrap_or(0);
        let mut walk = Walk {
            ending: self.ending.clone(),
            ..self.head()
        };
        for at in begin..self.len() {
            let frame = &self.frames[at];
            let by = |who: &str, words: &String| Said {
                time_ns: frame.time_ns,
                who: who.to_owned(),
                words: words.clone(),
                kind: None,
            };
            let faults = frame.faults.iter().map(|fault| by("world", fault));
            let notes = (frame.notes.iter()).filter(|(node, note)| self.is_told(*node, note, is_quiet));
            let notes = notes.map(|(node, note)| self.caption(frame.time_ns, *node, note));
            let broken = self.broken.iter().filter(|(when, _)| *when == at);
            let broken = broken.map(|(_, words)| by("!!!", words));
            let said: Vec<Said> = faults.chain(notes).chain(broken).collect();
            let told = frame.script.map(|number| self.told(number));
            if told.is_none() && said.is_empty() {
                continue;
            }
            let is_decisive = |(_, note): &(NodeId, Note)| match note {
                Note::Truncated { partition, .. } | Note::BecameLeader { partition, .. } => self.is_topic(*partition),
                _ => false,
            };
            let is_shown = told.is_some() || frame.notes.iter().any(is_decisive);
            walk.push(Stop {
                time_ns: frame.time_ns,
                told,
                said,
                moment: is_shown.then(|| self.moment(at)),
            });
        }
        walk
    }

    fn is_topic(&self, partition: kafka::TopicPartition) -> bool {
        partition != kafka::METADATA_PARTITION
    }

    fn is_told(&self, node: NodeId, note: &Note, is_quiet: bool) -> bool {
        let is_verifying = node == self.layout.verify();
        match note {
            Note::LogOpened { partition, .. }
            | Note::Truncated { partition, .. }
            | Note::Restarted { partition, .. }
            | Note::BecameLeader { partition, .. }
            | Note::IsrProposed { partition, .. }
            | Note::IsrUpdated { partition, .. }
            | Note::DivergenceFound { partition, .. }
            | Note::EpochFenced { partition, .. }
            | Note::HighWatermarkLowered { partition, .. }
            | Note::PartitionDecided { partition, .. } => self.is_topic(*partition),
            Note::BrokerDecided { .. } | Note::ControllerActivated { .. } | Note::LogDirFailed { .. } => true,
            Note::Appended { partition, .. }
            | Note::Flushed { partition, .. }
            | Note::HighWatermarkAdvanced { partition, .. } => is_quiet && self.is_topic(*partition),
            Note::ProduceAnswered { error_code, .. } => is_quiet && *error_code != 0,
            Note::Client(ClientNote::Polled { .. }) => is_quiet || is_verifying,
            Note::Client(ClientNote::TruncationDetected { .. } | ClientNote::PositionReset { .. }) => true,
            Note::Client(ClientNote::SendAcked { .. } | ClientNote::SendFailed { .. }) => is_quiet,
            _ => false,
        }
    }
}

/// `sections 1 to 3, 5`.
pub fn sections(numbers: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let words = runs.iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first} to {last}"),
    });
    let plural = if numbers.len() == 1 { "" } else { "s" };
    format!("section{plural} {}", words.collect::<Vec<_>>().join(", "))
}
