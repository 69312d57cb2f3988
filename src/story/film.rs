//! A recorded run, and the cluster at any of its moments.

use super::{Frame, KEEP_EVERY, Recorder, State, narrate};
use crate::fold;
use crate::run::{Layout, Outcome};
use crate::scenario::Scenario;
use crate::topics::Topics;
use kafka::TopicPartition;
use reports::moment::{Moment, Node, Replica};
use reports::view::Turn;
use reports::walk::shortened;
use std::collections::BTreeMap;

/// A recorded run.
#[derive(Debug)]
pub struct Film {
    pub(super) scenario: Scenario,
    pub(super) layout: Layout,
    pub(super) topics: Topics,
    pub(super) frames: Vec<Frame>,
    kept: Vec<State>,
    /// Moments at which something turned: a step of the script, a fault, an election, a truncation, an ISR, a death.
    turns: Vec<usize>,
    /// Moments of each kind, in order, those of the metadata log left out; of broken promises for none.
    kinds: BTreeMap<Option<Turn>, Vec<usize>>,
    /// The moment of each step of the script that was taken.
    taken: Vec<usize>,
    /// Broken promises: when, and in words.
    pub(super) broken: Vec<(usize, String)>,
    /// How it ended.
    pub(super) ending: Vec<String>,
}

impl Film {
    pub(super) fn new(recorder: Recorder, outcome: &Outcome) -> Film {
        let Recorder {
            scenario,
            layout,
            topics,
            mut frames,
        } = recorder;
        if let Some(frame) = frames.last_mut() {
            frame.what += &format!("; the run is over: {}", outcome.headline());
        }
        let mut kept = Vec::new();
        let mut turns = Vec::new();
        let mut kinds: BTreeMap<Option<Turn>, Vec<usize>> = BTreeMap::new();
        let mut state = State::default();
        let mut up: &[bool] = &[];
        for (i, frame) in frames.iter().enumerate() {
            if i % KEEP_EVERY == 0 {
                kept.push(state.clone());
            }
            frame.notes.iter().for_each(|(node, note)| state.fold(*node, note));
            let is_struck = frame.script.is_some() || !frame.faults.is_empty();
            let is_turn = is_struck || frame.notes.iter().any(|(_, note)| narrate::is_turn(note));
            if is_turn || (!up.is_empty() && up != frame.up) {
                turns.push(i);
            }
            for (_, note) in &frame.notes {
                let is_upkeep = fold::partition_of(note) == Some(kafka::METADATA_PARTITION);
                let turn = fold::turn(note).filter(|_| !is_upkeep);
                if turn.is_some() {
                    kinds.entry(turn).or_default().push(i);
                }
            }
            up = &frame.up;
        }
        let taken = (0..frames.len()).filter(|at| frames[*at].script.is_some());
        let place = |time_ns| frames.partition_point(|frame| frame.time_ns <= time_ns).max(1) - 1;
        let broken: Vec<(usize, String)> = narrate::broken(outcome)
            .map(|(time_ns, words)| (place(time_ns), words))
            .collect();
        let mut breaches: Vec<usize> = broken.iter().map(|(at, _)| *at).collect();
        breaches.sort_unstable();
        kinds.insert(None, breaches);
        Film {
            taken: taken.collect(),
            broken,
            ending: narrate::ending(&scenario, outcome),
            scenario,
            layout,
            topics,
            frames,
            kept,
            turns,
            kinds,
        }
    }

    /// Number of moments.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Where a viewer begins: at the script's first step, or else where something turned first.
    pub fn first(&self) -> usize {
        let first = self.taken.first().or(self.turns.first());
        first.copied().unwrap_or(0)
    }

    /// The next turn after `at`; `at` itself if there is none.
    pub fn next_turn(&self, at: usize) -> usize {
        self.turns.iter().copied().find(|turn| *turn > at).unwrap_or(at)
    }

    /// The last turn before `at`; `at` itself if there is none.
    pub fn previous_turn(&self, at: usize) -> usize {
        self.turns.iter().rev().copied().find(|turn| *turn < at).unwrap_or(at)
    }

    /// The next moment of a kind after `at`, or the last before it; of a broken promise for no kind.
    pub fn next_of(&self, kind: Option<Turn>, at: usize, backward: bool) -> Option<usize> {
        let mut moments = self.kinds.get(&kind).into_iter().flatten().copied();
        match backward {
            false => moments.find(|moment| *moment > at),
            true => moments.rfind(|moment| *moment < at),
        }
    }

    /// The next moment after `at`, and around the end, at which something says this.
    pub fn find(&self, text: &str, at: usize) -> Option<usize> {
        let text = text.to_lowercase();
        let says = |moment: &usize| {
            let frame = &self.frames[*moment];
            let captions = frame.notes.iter().map(|(node, note)| {
                let said = self.caption(frame.time_ns, *node, note);
                format!("{}: {}", said.who, said.words)
            });
            let mut all = captions.chain(frame.faults.clone()).chain([frame.what.clone()]);
            all.any(|own| own.to_lowercase().contains(&text))
        };
        (at + 1..self.frames.len()).chain(0..=at).find(says)
    }

    /// The moment of each step of the script that was taken, in order.
    pub fn taken(&self) -> &[usize] {
        &self.taken
    }

    /// The cluster at moment `at`. The metadata log is left out.
    pub fn moment(&self, at: usize) -> Moment {
        let mut state = self.kept[at / KEEP_EVERY].clone();
        for frame in &self.frames[at / KEEP_EVERY * KEEP_EVERY..=at] {
            frame.notes.iter().for_each(|(node, note)| state.fold(*node, note));
        }
        let frame = &self.frames[at];
        let nodes = (0..self.layout.servers).map(|server| {
            let is_shown =
                |(node, id): &(u16, TopicPartition)| usize::from(*node) == server && *id != kafka::METADATA_PARTITION;
            let own = state.replicas.iter().filter(|(key, _)| is_shown(key));
            let replicas =
                own.map(|((_, partition), replica)| Replica::of(self.topics.partition(*partition), replica.clone()));
            let up = frame.up.get(server).copied().unwrap_or(true);
            Node {
                name: self.layout.names[server].clone(),
                up,
                controls: up && state.controller.map(usize::from) == Some(server),
                replicas: replicas.collect(),
            }
        });
        let said = frame
            .notes
            .iter()
            .map(|(node, note)| self.caption(frame.time_ns, *node, note));
        let said: Vec<_> = said.collect();
        let broken = self.broken.iter().filter(|(when, _)| *when == at);
        let broken = broken.map(|(_, words)| words.clone());
        Moment {
            step: at + 1,
            steps: self.frames.len(),
            time_ns: frame.time_ns,
            what: frame.what.clone(),
            notes: (frame.faults.iter().map(|fault| format!("world: {fault}")))
                .chain(
                    shortened(&said)
                        .into_iter()
                        .map(|(said, words)| format!("{}: {words}", said.who)),
                )
                .chain(broken)
                .collect(),
            nodes: nodes.collect(),
            in_flight: frame.in_flight.clone(),
        }
    }
}
