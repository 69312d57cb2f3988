//! The end of a recording: every step and every message in words, now that all topics have names.

use super::{Folded, Recorder, narrate, wire, words};
use crate::run::Outcome;
use crate::scenario::Scenario;
use kafka::{METADATA_PARTITION, Note};
use reports::view::{Message, Narration, Said, Step, View};

impl Recorder {
    /// The run is over.
    pub fn finish(mut self, scenario: &Scenario, outcome: &Outcome, command: &str) -> View {
        self.close();
        let names: Vec<String> = self
            .partitions
            .iter()
            .map(|partition| self.topics.partition(*partition))
            .collect();
        let messages = self.messages(&names);
        let mut time_ns = 0;
        let mut steps = Vec::new();
        let done = std::mem::take(&mut self.done);
        for folded in &done {
            steps.push(self.spell(folded, time_ns, &names));
            time_ns = folded.seen.time_ns;
        }
        if let (Some(lesson), Some(last)) = (&scenario.lesson, steps.last_mut()) {
            let closing = Narration {
                told: Some(lesson.closing.join("\n")),
                ..Narration::default()
            };
            narrate::join(last.narration.get_or_insert_default(), closing);
        }
        if self.asks() {
            narrate::ask_early(&mut steps, names.iter().position(|name| name == "metadata"));
        }
        let failures = outcome.violations.iter().map(|violation| {
            let upto = done
                .partition_point(|folded| folded.seen.time_ns <= violation.time_ns)
                .max(1)
                - 1;
            let same = (0..=upto)
                .rev()
                .take_while(|at| done[*at].seen.time_ns == done[upto].seen.time_ns);
            let step = same
                .into_iter()
                .find(|at| violation.node.is_some() && done[*at].seen.node == violation.node);
            let step = step.unwrap_or(upto);
            let seconds = violation.time_ns as f64 / 1e9;
            let at = violation
                .node
                .map_or("in the cluster", |node| &self.layout.names[usize::from(node)]);
            let at = if violation.node.is_some() {
                format!("at {at}")
            } else {
                at.to_owned()
            };
            let place = format!("It showed {at}, in step {}, {seconds:.6} s into the run.", step + 1);
            narrate::failure(violation, step as u32, place)
        });
        let mut apis: Vec<String> = Vec::new();
        let messages = messages.into_iter().map(|(mut message, api)| {
            message.api = apis.iter().position(|known| *known == api).unwrap_or_else(|| {
                apis.push(api);
                apis.len() - 1
            }) as u16;
            message
        });
        View {
            messages: messages.collect(),
            failures: failures.collect(),
            title: scenario.name.clone(),
            about: scenario.description.clone(),
            command: command.to_owned(),
            verdict: outcome.headline(),
            digest: format!("{:016x}", outcome.digest),
            asks: scenario.lesson.is_some(),
            lanes: self.lanes,
            partitions: names,
            apis,
            texts: self.texts,
            steps,
            keyframes: self.keyframes,
        }
    }

    /// Whether the script has questions of its own.
    fn asks(&self) -> bool {
        self.script.iter().any(|told| told.question.is_some())
    }

    fn spell(&mut self, folded: &Folded, before_ns: u64, names: &[String]) -> Step {
        let seen = &folded.seen;
        let said = seen.notes.iter().zip(&folded.turns).zip(&folded.partitions);
        let said = said.map(|(((node, note), turn), partition)| {
            let mut text = self.topics.sentence(note);
            if let Some(source) = note.source() {
                text += &format!(" ({source})");
            }
            Said {
                words: self.texts.words(&text),
                partition: *partition,
                node: (Some(*node) != seen.node).then_some(*node),
                turn: *turn,
            }
        });
        let said = said.collect();
        let mut appended = Vec::new();
        for ((node, note), partition) in seen.notes.iter().zip(&folded.partitions) {
            if let (Note::Appended { base_offset, batch, .. }, Some(partition)) = (note, partition)
                && let Ok(batch) = crate::checks::batch::first(batch)
                && names[usize::from(*partition)] != "metadata"
            {
                let values = batch
                    .raw_values()
                    .map(|(_, value)| self.texts.words(&words::value(value)));
                appended.push((*node, *partition, *base_offset, values.collect()));
            }
        }
        let mut causes = seen.causes.clone();
        causes.sort_unstable();
        causes.dedup();
        let mut narration = seen.told.clone();
        // Where somebody asks by himself, nobody else does.
        if !self.asks() {
            narration.question = folded.question.clone();
        }
        Step {
            after_ns: seen.time_ns - before_ns,
            node: seen.node,
            what: self.texts.words(&seen.what),
            is_outside: seen.is_outside,
            said,
            changes: folded.changes.clone(),
            appended,
            causes,
            narration: (narration != Narration::default()).then(|| Box::new(narration)),
        }
    }

    /// Every message, and the name of its API.
    fn messages(&mut self, names: &[String]) -> Vec<(Message, String)> {
        let topics = &self.topics;
        let mut ids: Vec<(String, &str)> = topics.iter().map(|(id, name)| (id.to_string(), name)).collect();
        ids.push((METADATA_PARTITION.topic.to_string(), kafka::types::METADATA_TOPIC));
        let texts = &mut self.texts;
        let message = |frame: wire::Frame| {
            let mut text = words::message(&frame.bytes, frame.api, frame.version, frame.answers.is_some());
            for (id, name) in &ids {
                if text.contains(id) {
                    text = text.replace(id, name);
                }
            }
            let message = Message {
                from: frame.from,
                to: frame.to,
                api: 0,
                answers: frame.answers,
                sent: frame.sent,
                ended: frame.ended,
                is_lost: frame.is_lost,
                bytes: frame.bytes.len() as u32 + 4,
                partitions: words::partitions(&text, names),
                words: texts.words(&text),
            };
            let api = frame.api.map_or("?".to_owned(), |api| format!("{api:?}"));
            (message, api)
        };
        self.wire.finish().into_iter().map(message).collect()
    }
}
