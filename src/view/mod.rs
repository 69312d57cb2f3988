//! A run as a view: the run loop's observer, and what becomes of what it saw.
//!
//! A step of the view is a step of the world, a fault, or what a user does to a client. The harness's own glances are none.
//! Notes come after the step in which they were said, and after the faults that followed on it, so what happened since the
//! last step of the world is kept open until the next one, and each note goes to the step of its node.

pub(crate) mod faults;
mod narrate;
mod silence;
mod spell;
mod wire;
mod words;

#[cfg(test)]
mod tests;

use crate::cluster::Cluster;
use crate::fold;
use crate::run::{Layout, Observer};
use crate::scenario::Scenario;
use crate::tap::Tap;
use crate::topics::Topics;
use faults::{FLAP, Lasting, Standing};
use kafka::{ClientNote, METADATA_PARTITION, Note, TopicPartition, Uuid};
use reports::view::{Cause, Decided, KEYFRAME_EVERY, Kind, Lane, Narration, Question, State, Texts, Turn};
use silence::Silence;
use sim::disk::Strike;
use sim::fault::{Fault, NodeId};
use sim::step::{Label, Stepped};
use sim::world::World;
use std::collections::BTreeMap;
use wire::Wire;

/// A step as it was seen.
#[derive(Debug, Default)]
struct Seen {
    time_ns: u64,
    node: Option<u16>,
    what: String,
    is_outside: bool,
    notes: Vec<(u16, Note)>,
    causes: Vec<(Cause, u32)>,
    told: Narration,
    /// Nodes whose process began or ended.
    up: Vec<(u16, bool)>,
    paused: Vec<(u16, bool)>,
    cuts: Option<Vec<(u16, u16)>>,
    lasting: Option<(String, Lasting)>,
}

/// A step whose state is known; its words wait for the names of topics.
#[derive(Debug)]
struct Folded {
    seen: Seen,
    turns: Vec<Option<Turn>>,
    partitions: Vec<Option<u16>>,
    changes: reports::view::Changes,
    question: Option<Question>,
}

/// Watches a run.
#[derive(Debug)]
pub struct Recorder {
    layout: Layout,
    lanes: Vec<Lane>,
    tap: Tap,
    wire: Wire,
    /// By name, in the order in which they were first spoken of.
    partitions: Vec<TopicPartition>,
    topics: Topics,
    done: Vec<Folded>,
    /// Since the last step of the world.
    open: Vec<Seen>,
    /// By the script's steps.
    script: Vec<Narration>,
    /// What was said of the script's step at hand.
    told: Option<Narration>,
    /// The last step of each node.
    last: BTreeMap<u16, u32>,
    silence: Silence,
    state: State,
    /// By partition, as replicas have learnt it.
    committed: BTreeMap<u16, Decided>,
    /// As of the last step that is closed, and of now.
    lasting: BTreeMap<String, String>,
    standing: Standing,
    keyframes: Vec<reports::view::Changes>,
    texts: Texts,
    is_running: Vec<bool>,
}

impl Recorder {
    /// Of a run of this scenario.
    pub fn new(scenario: &Scenario) -> Recorder {
        let layout = Layout::of(scenario);
        let testbed = layout.servers + layout.clients;
        let lanes = layout.names.iter().enumerate().map(|(i, name)| Lane {
            name: name.clone(),
            kind: match i {
                _ if i < layout.brokers => Kind::Broker,
                _ if i < layout.servers => Kind::Controller,
                _ if i < testbed => Kind::Client,
                _ => Kind::Testbed,
            },
            id: if i < layout.servers { layout.node_id(i).0 } else { -1 },
        });
        Recorder {
            lanes: lanes.collect(),
            tap: Tap::default(),
            wire: Wire::default(),
            partitions: Vec::new(),
            topics: Topics::default(),
            done: Vec::new(),
            open: Vec::new(),
            script: narrate::script(scenario),
            told: None,
            last: BTreeMap::new(),
            silence: Silence::default(),
            state: State::default(),
            committed: BTreeMap::new(),
            lasting: BTreeMap::new(),
            standing: Standing::default(),
            keyframes: Vec::new(),
            texts: Texts::default(),
            is_running: vec![false; layout.names.len()],
            layout,
        }
    }

    /// Steps so far.
    pub fn len(&self) -> usize {
        self.done.len() + self.open.len()
    }

    /// Whether nothing has happened yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn name(&self, node: NodeId) -> String {
        self.layout.names[usize::from(node.0)].clone()
    }

    /// A step begins; it follows what its node did before.
    /// `by_hand`: it is what somebody does to the cluster, of which a script or a path may have told.
    fn begin(&mut self, mut seen: Seen, by_hand: bool) -> u32 {
        let index = self.len() as u32;
        if let Some(node) = seen.node
            && let Some(before) = self.last.insert(node, index)
        {
            // What its user does to a client is no fault.
            let is_fault = self.at(before).is_outside && self.lanes[usize::from(node)].id >= 0;
            seen.causes.extend(is_fault.then_some((Cause::Fault, before)));
        }
        if by_hand && let Some(told) = self.told.take() {
            if let Some(before) = index.checked_sub(1)
                && !seen.causes.iter().any(|(_, step)| *step == before)
            {
                seen.causes.push((Cause::Script, before));
            }
            seen.told = told;
        }
        for (node, up) in &seen.up {
            self.silence.up(index, *node, *up);
        }
        for (node, paused) in &seen.paused {
            self.silence.paused(index, *node, *paused);
        }
        if let Some(cuts) = &seen.cuts {
            self.silence.cuts(index, cuts);
        }
        self.open.push(seen);
        index
    }

    /// The next step from outside is told so.
    fn tell(&mut self, told: Narration) {
        if told != Narration::default()
            && let Some(before) = self.told.replace(told)
            && let Some(seen) = self.open.last_mut()
        {
            narrate::join(&mut seen.told, before);
        }
    }

    fn at(&self, index: u32) -> &Seen {
        let index = index as usize;
        match self.done.get(index) {
            Some(folded) => &folded.seen,
            None => &self.open[index - self.done.len()],
        }
    }

    /// The open step of a node, made if there is none: its user has done something to it.
    fn of_node(&mut self, time_ns: u64, node: u16) -> usize {
        if let Some(at) = self.open.iter().rposition(|seen| seen.node == Some(node)) {
            return at;
        }
        let is_client = usize::from(node) >= self.layout.servers;
        let what = if is_client {
            "is used by its user"
        } else {
            "is made to act by hand"
        };
        let seen = Seen {
            time_ns,
            node: Some(node),
            what: what.to_owned(),
            is_outside: is_client,
            ..Seen::default()
        };
        self.begin(seen, true);
        self.open.len() - 1
    }

    /// What processes have sent and read: by the node at hand in the newest step, by others because of their users.
    fn drain(&mut self, time_ns: u64, but: Option<u16>) {
        let passed = self.tap.take();
        let (later, now): (Vec<_>, Vec<_>) = passed.into_iter().partition(|passed| Some(passed.node.0) == but);
        for passed in now {
            let node = passed.node.0;
            let at = self.of_node(time_ns, node);
            let step = (self.done.len() + at) as u32;
            for number in self.wire.passed(step, node, passed.conn, passed.what) {
                let sent = self.wire.frames[number as usize].sent;
                self.open[at].causes.push((Cause::Message, sent));
            }
        }
        self.tap.borrow_mut().extend(later);
    }

    fn close(&mut self) {
        if let Some(told) = self.told.take()
            && let Some(seen) = self.open.last_mut()
        {
            narrate::join(&mut seen.told, told);
        }
        for seen in std::mem::take(&mut self.open) {
            if self.done.len().is_multiple_of(KEYFRAME_EVERY) {
                self.keyframes.push(State::default().changes_to(&self.state));
            }
            let folded = self.fold(seen);
            self.done.push(folded);
        }
    }

    fn fold(&mut self, mut seen: Seen) -> Folded {
        let at = self.done.len() as u32;
        let before = self.state.clone();
        for (node, up) in &seen.up {
            let node = self.state.nodes.entry(*node).or_default();
            node.up = *up;
            node.controls &= up;
            node.paused &= up;
        }
        for (node, paused) in &seen.paused {
            self.state.nodes.entry(*node).or_default().paused = *paused;
        }
        if let Some(cuts) = &seen.cuts {
            self.state.cuts.clone_from(cuts);
        }
        match seen.lasting.take() {
            Some((place, Lasting::Begins(words))) => _ = self.lasting.insert(place, words),
            Some((place, _)) => _ = self.lasting.remove(&place),
            None => {}
        }
        self.state.faults = self.lasting.values().map(|words| self.texts.words(words)).collect();
        let (mut turns, mut partitions) = (Vec::new(), Vec::new());
        let mut question = None;
        for (node, note) in &seen.notes {
            let partition = self.partition_of(note);
            let index = partition.unwrap_or(u16::MAX);
            let asked = self.question(*node, index, note);
            self.explain(*node, index, note, at, &mut seen.causes);
            question = question.or(asked);
            let decided = self.state.decided.get(&index).cloned();
            self.settle(index, note);
            fold::fold(&mut self.state, *node, index, note);
            turns.push(turn(note, decided.as_ref(), self.state.decided.get(&index)));
            partitions.push(partition);
        }
        let changes = before.changes_to(&self.state);
        Folded {
            seen,
            turns,
            partitions,
            changes,
            question,
        }
    }

    /// The faults behind what a node concludes from silence.
    fn explain(&mut self, node: u16, partition: u16, note: &Note, at: u32, causes: &mut Vec<(Cause, u32)>) {
        let silent = self.silence.concluded(node, partition, note, &self.state, &self.lanes);
        for peer in silent {
            let fault = self.silence.between(node, peer).filter(|step| *step < at);
            let cause = fault.map(|step| (Cause::Fault, step));
            causes.extend(cause.filter(|cause| !causes.contains(cause)));
        }
        if let Note::BecameQuorumLeader { .. } = note {
            self.silence.leads(node);
        }
    }

    /// What a controller had decided and not committed when another took over was never decided.
    fn settle(&mut self, partition: u16, note: &Note) {
        if let Note::ControllerActivated { .. } = note {
            self.state.decided.clone_from(&self.committed);
        }
        if let Some(learnt) = fold::committed(note) {
            let age = |decided: &Decided| (decided.leader_epoch, decided.partition_epoch);
            let is_new = |known: Option<&Decided>| known.is_none_or(|known| age(known) < age(&learnt));
            if is_new(self.state.decided.get(&partition)) {
                self.state.decided.insert(partition, learnt.clone());
            }
            if is_new(self.committed.get(&partition)) {
                self.committed.insert(partition, learnt);
            }
        }
    }

    fn question(&self, node: u16, partition: u16, note: &Note) -> Option<Question> {
        let name = |partition: &TopicPartition| self.topics.partition(*partition);
        match note {
            Note::PartitionDecided {
                partition: id,
                state,
                unclean,
                ..
            } => {
                let before = self.state.decided.get(&partition)?;
                let after = fold::decision(state);
                let brokers = self.lanes.iter().filter(|lane| lane.kind == Kind::Broker);
                let brokers: Vec<_> = brokers.map(|lane| (lane.id, lane.name.clone())).collect();
                narrate::who_leads(&name(id), before, &after, *unclean, &brokers)
            }
            Note::Truncated {
                partition: id,
                to,
                reason,
                ..
            } => {
                let replica = self.state.replicas.get(&(node, partition))?;
                let lane = &self.lanes[usize::from(node)].name;
                let reason = reason.to_string();
                (*id != METADATA_PARTITION).then(|| narrate::what_is_cut(lane, &name(id), replica, *to, &reason))
            }
            _ => None,
        }
    }

    fn partition_of(&mut self, note: &Note) -> Option<u16> {
        let partition = match note {
            Note::Client(note) => {
                let (topic, partition) = client_partition(note)?;
                // The newest topic of that name.
                let is_it = |known: &&TopicPartition| {
                    known.partition == partition && self.topics.name(known.topic) == Some(topic)
                };
                *self.partitions.iter().rfind(is_it)?
            }
            note => fold::partition_of(note)?,
        };
        let known = self.partitions.iter().position(|known| *known == partition);
        Some(known.unwrap_or_else(|| {
            self.partitions.push(partition);
            self.partitions.len() - 1
        }) as u16)
    }
}

/// What turned by a note, if anything did.
fn turn(note: &Note, before: Option<&Decided>, after: Option<&Decided>) -> Option<Turn> {
    match note {
        Note::PartitionDecided { .. } => {
            let (before, after) = (before?, after?);
            match (before.leader == after.leader, before.isr == after.isr) {
                (false, _) => Some(Turn::Election),
                (true, false) => Some(Turn::Isr),
                _ => None,
            }
        }
        _ => fold::turn(note),
    }
}

fn client_partition(note: &ClientNote) -> Option<(&str, i32)> {
    match note {
        ClientNote::SendInvoked { topic, partition, .. }
        | ClientNote::SendAcked { topic, partition, .. }
        | ClientNote::SendFailed { topic, partition, .. }
        | ClientNote::Polled { topic, partition, .. }
        | ClientNote::TruncationDetected { topic, partition, .. }
        | ClientNote::PositionReset { topic, partition, .. }
        | ClientNote::OffsetAsked { topic, partition, .. }
        | ClientNote::OffsetListed { topic, partition, .. } => Some((topic, *partition)),
        ClientNote::AdminAnswered { .. } => None,
    }
}

impl Observer for Recorder {
    fn tap(&self) -> Option<Tap> {
        Some(Tap::clone(&self.tap))
    }

    fn step(&mut self, stepped: &Stepped, world: &World<Cluster>, _layout: &Layout) {
        let node = stepped.node.map(|node| node.0);
        self.drain(stepped.time, node);
        self.close();
        if matches!(stepped.label, Label::Marker(_)) {
            return;
        }
        let what = stepped.label.words(&|node| self.name(node));
        let mut seen = Seen {
            time_ns: stepped.time,
            node,
            what,
            ..Seen::default()
        };
        let index = self.len() as u32;
        for i in 0..self.layout.names.len() {
            let (id, at) = (NodeId(i as u16), i as u16);
            let is_up = world.is_up(id);
            if self.is_running[i] != is_up {
                self.is_running[i] = is_up;
                seen.up.push((at, is_up));
            }
            let is_paused = world.is_paused(id);
            if self.state.nodes.get(&at).is_some_and(|node| node.paused) != is_paused {
                seen.paused.push((at, is_paused));
            }
        }
        match stepped.label {
            Label::Accepted { conn, from } => {
                if let Some(node) = node {
                    self.wire.accepted(node, conn, from.0);
                }
            }
            Label::Closed { conn, peer } => {
                if let Some(node) = node {
                    self.wire.closed(index, node, conn);
                    if !world.is_up(peer) {
                        self.wire.severed(index, peer.0, node);
                    }
                    let fault = self.silence.between(node, peer.0);
                    seen.causes.extend(fault.map(|step| (Cause::Fault, step)));
                }
            }
            _ => {}
        }
        let died: Vec<u16> = seen.up.iter().filter(|(_, up)| !up).map(|(node, _)| *node).collect();
        let is_fault = matches!(
            stepped.label,
            Label::Fault { .. } | Label::Boot { .. } | Label::Terminate
        );
        seen.is_outside = is_fault;
        self.begin(seen, false);
        self.drain(stepped.time, None);
        for node in died {
            self.wire.died(index, node);
        }
    }

    fn fault(&mut self, time_ns: u64, fault: &Fault) {
        let name = |node: NodeId| self.layout.names[usize::from(node.0)].clone();
        let Some((_, what)) = self.standing.news(fault, &name) else {
            return;
        };
        let heals = matches!(fault, Fault::HealLinks);
        let cuts = self.open.iter().rev().find_map(|seen| seen.cuts.clone());
        let mut cuts = cuts.unwrap_or_else(|| self.state.cuts.clone());
        if heals && !self.standing.steadies() && cuts.is_empty() {
            return;
        }
        if heals {
            cuts.clear();
        }
        if let Fault::Cut { from, to } = fault {
            cuts.extend(from.iter().flat_map(|from| to.iter().map(|to| (from.0, to.0))));
            cuts.sort_unstable();
            cuts.dedup();
        }
        let (mut up, mut paused) = (Vec::new(), Vec::new());
        match fault {
            Fault::Kill { node } => up.push((node.0, false)),
            Fault::PowerLoss { nodes, .. } => up.extend(nodes.iter().map(|node| (node.0, false))),
            Fault::Start { node } => up.push((node.0, true)),
            Fault::Pause { node, .. } => paused.push((node.0, true)),
            Fault::Resume { node } => paused.push((node.0, false)),
            _ => {}
        }
        let lasting = match heals {
            true => Some((FLAP.to_owned(), Lasting::Ends)),
            false => faults::lasting(fault, &name),
        };
        let seen = Seen {
            time_ns,
            node: faults::node_of(fault).map(|node| node.0),
            what,
            is_outside: true,
            cuts: (heals || matches!(fault, Fault::Cut { .. })).then_some(cuts),
            lasting,
            up: up.clone(),
            paused,
            ..Seen::default()
        };
        let index = self.begin(seen, true);
        for (node, up) in up {
            self.is_running[usize::from(node)] = up;
            if !up {
                self.wire.died(index, node);
            }
        }
    }

    fn strike(&mut self, time_ns: u64, node: NodeId, strike: &Strike) {
        let place = strike.path.as_deref().unwrap_or("the whole disk");
        let what = format!("has {place} struck by a fault of its disk: {}", strike.what);
        let seen = Seen {
            time_ns,
            node: Some(node.0),
            what,
            is_outside: true,
            ..Seen::default()
        };
        self.begin(seen, true);
    }

    fn told(&mut self, words: &str) {
        self.tell(Narration {
            told: Some(words.to_owned()),
            ..Narration::default()
        });
    }

    fn scripted(&mut self, number: usize) {
        self.tell(self.script[number].clone());
    }

    fn topic(&mut self, id: Uuid, name: &str) {
        self.topics.learn(id, name);
    }

    fn note(&mut self, time_ns: u64, node: NodeId, note: &Note) {
        self.drain(time_ns, None);
        let at = self.of_node(time_ns, node.0);
        self.open[at].notes.push((node.0, note.clone()));
    }
}
