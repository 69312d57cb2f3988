//! How a path moves the cluster: until something has come about, with everything else kept back.

use super::Line;
use crate::checks::Violation;
use crate::run::{Ended, Observer, Run};
use crate::valve::{Frame, SharedValve};
use kafka::{Note, TopicPartition, Uuid};
use kafka_protocol::messages::ApiKey;
use sim::disk::Strike;
use sim::fault::{Fault, NodeId};
use sim::step::Stepped;
use sim::world::World;

/// Long enough for any chain of messages.
pub(super) const SOON_NS: u64 = 3_000_000_000;
/// Long enough for anything that waits for a timeout of the cluster.
pub(super) const LATE_NS: u64 = 120_000_000_000;

/// Why a path does not go on.
pub(super) enum Stop {
    /// The run has ended.
    Ended(Ended),
    /// The cluster does not do what the step says.
    Refused(String),
}

impl From<Ended> for Stop {
    fn from(ended: Ended) -> Stop {
        Stop::Ended(ended)
    }
}

/// What comes of a step.
pub(super) type Arm = Result<(), Stop>;

pub(super) fn refuse<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Refused(why.into()))
}

/// Listens while the cluster moves, and passes on what it hears.
struct Watch<'r> {
    said: Vec<(NodeId, Note)>,
    also: &'r mut dyn Observer,
}

impl Observer for Watch<'_> {
    fn step(&mut self, stepped: &Stepped, world: &World<crate::cluster::Cluster>, layout: &crate::run::Layout) {
        self.also.step(stepped, world, layout);
    }
    fn fault(&mut self, time_ns: u64, fault: &Fault) {
        self.also.fault(time_ns, fault);
    }
    fn strike(&mut self, time_ns: u64, node: NodeId, strike: &Strike) {
        self.also.strike(time_ns, node, strike);
    }
    fn topic(&mut self, id: Uuid, name: &str) {
        self.also.topic(id, name);
    }
    fn broken(&mut self, violation: &Violation) {
        self.also.broken(violation);
    }
    fn note(&mut self, time_ns: u64, node: NodeId, note: &Note) {
        self.also.note(time_ns, node, note);
        self.said.push((node, note.clone()));
    }
}

/// A walk along a path.
pub(super) struct Walk<'r, 's> {
    pub run: &'r mut Run<'s>,
    pub valve: SharedValve,
    watch: Watch<'r>,
    pub sent: Vec<super::hand::Sent>,
    pub lines: Vec<Line>,
    /// The step that the cluster refused.
    pub refused: Option<usize>,
    /// The step at which the path's property broke.
    pub broken: Option<usize>,
    /// Violations that were told already.
    told: usize,
    /// The checks that watch for the path's property.
    watched: Vec<&'r str>,
}

impl<'r, 's> Walk<'r, 's> {
    pub fn new(run: &'r mut Run<'s>, watched: Vec<&'r str>, also: &'r mut dyn Observer) -> Walk<'r, 's> {
        let valve = run.add_valve();
        if let Some(tap) = also.tap() {
            run.world.boot_mut().set_tap(tap);
        }
        Walk {
            watch: Watch { said: Vec::new(), also },
            valve,
            run,
            sent: Vec::new(),
            lines: Vec::new(),
            refused: None,
            broken: None,
            told: 0,
            watched,
        }
    }

    /// The only controller, a node of its own.
    pub fn controller(&self) -> NodeId {
        NodeId(self.run.layout.brokers as u16)
    }

    /// Boots the cluster.
    pub fn boot(&mut self) {
        self.run.boot(&mut self.watch);
    }

    /// Boots the cluster and makes its topics.
    pub fn begin(&mut self) -> Result<(), Ended> {
        self.boot();
        self.run.create_topics(&mut self.watch)
    }

    /// Whether a node was heard to vote so in this step.
    pub fn has_voted(&self, node: NodeId, epoch: u16, whom: kafka::NodeId) -> bool {
        let is_it = |note: &Note| matches!(note, Note::Voted { epoch: at, candidate } if at.0 == i32::from(epoch) && *candidate == whom);
        self.watch.said.iter().any(|(said, note)| *said == node && is_it(note))
    }

    /// Lets everything go; heals, comes to rest, reads back.
    pub fn end(&mut self) -> Result<(), Ended> {
        self.run.open_valve();
        // Whoever still waits is answered soon, or never: then nobody knows.
        self.until(LATE_NS, |walk| {
            walk.tell_fates();
            walk.sent.is_empty()
        })?;
        self.forget_fates();
        self.run.heal(&mut self.watch)?;
        self.run.verify(&mut self.watch)
    }

    pub fn step(&mut self) -> Result<(), Ended> {
        self.run.step(&mut self.watch).map(|_| ())
    }

    /// Moves the cluster until something holds; false if it does not in this time.
    pub fn until(&mut self, within_ns: u64, mut holds: impl FnMut(&mut Walk<'r, 's>) -> bool) -> Result<bool, Ended> {
        let end = self.run.world.now() + within_ns;
        loop {
            if holds(self) {
                return Ok(true);
            }
            if self.run.world.now() >= end {
                return Ok(false);
            }
            self.step()?;
        }
    }

    pub fn apply(&mut self, fault: &Fault) {
        self.run.apply(fault);
        self.hear();
    }

    /// Takes in what was said outside of steps.
    pub fn hear(&mut self) {
        self.run.hear(&mut self.watch);
    }

    /// The youngest frame of a kind that is kept back.
    pub fn held(&self, api: ApiKey, is_answer: bool, from: NodeId, to: NodeId) -> Option<u64> {
        let like = |frame: &&Frame| (frame.api, frame.is_answer, frame.from, frame.to) == (api, is_answer, from, to);
        self.valve
            .borrow()
            .held()
            .iter()
            .rev()
            .find(like)
            .map(|frame| frame.number)
    }

    /// A frame that is kept back.
    pub fn frame(&self, number: u64) -> Option<Frame> {
        let valve = self.valve.borrow();
        valve.held().iter().find(|frame| frame.number == number).cloned()
    }

    /// Waits until a frame is kept back.
    pub fn await_held(
        &mut self,
        within_ns: u64,
        api: ApiKey,
        is_answer: bool,
        from: NodeId,
        to: NodeId,
    ) -> Result<Option<u64>, Ended> {
        self.until(within_ns, |walk| walk.held(api, is_answer, from, to).is_some())?;
        Ok(self.held(api, is_answer, from, to))
    }

    /// Lets a frame go.
    pub fn release(&mut self, number: u64) {
        self.run.let_go(number);
    }

    /// The topic's first partition.
    pub fn partition(&self) -> Option<TopicPartition> {
        let broker = self.run.world.program(self.controller())?.broker()?;
        let topic = broker
            .controller_image()?
            .topic(&self.run.scenario.topics.first()?.name)?;
        Some(TopicPartition {
            topic: topic.id,
            partition: 0,
        })
    }

    /// Goes along a path, one arm a step; what comes of each is written down. Ends early where the property is broken.
    pub fn along<A: std::fmt::Display>(
        &mut self,
        actions: &[A],
        mut arm: impl FnMut(&mut Walk<'r, 's>, usize, &A) -> Arm,
    ) -> Result<(), Ended> {
        self.told = self.run.checks.violations().len();
        for (at, action) in actions.iter().enumerate() {
            self.watch.said.clear();
            self.watch
                .also
                .told(&format!("Step {} of the specification: {action}.", at + 1));
            let stopped = arm(self, at, action);
            self.tell_fates();
            let mut line = self.line(action.to_string());
            match stopped {
                Ok(()) => self.lines.push(line),
                Err(Stop::Refused(why)) => {
                    line.real.push(format!("refused: {why}"));
                    self.lines.push(line);
                    self.refused = Some(at);
                    break;
                }
                Err(Stop::Ended(ended)) => {
                    self.lines.push(line);
                    return Err(ended);
                }
            }
            let mut violations = self.run.checks.violations().iter();
            if violations.any(|violation| self.watched.contains(&violation.check)) {
                self.broken = Some(at);
                break;
            }
        }
        Ok(())
    }

    /// What nodes said of the partition since the last step, and which checks fired.
    fn line(&mut self, model: String) -> Line {
        let names = &self.run.layout.names;
        let real = self.watch.said.drain(..).filter(|(_, note)| is_telling(note));
        let real = real
            .map(|(node, note)| format!("{}: {note}", names[usize::from(node.0)]))
            .collect();
        let violations = self.run.checks.violations();
        let broken = violations[self.told..].iter();
        let broken = broken
            .map(|violation| format!("{}: {}", violation.check, violation.message))
            .collect();
        self.told = violations.len();
        Line { model, real, broken }
    }
}

/// Notes that are about what a path is about.
fn is_telling(note: &Note) -> bool {
    match note {
        Note::Appended { partition, .. } | Note::FollowerProgressed { partition, .. } => {
            *partition != kafka::METADATA_PARTITION
        }
        Note::Flushed { .. }
        | Note::MetadataApplied { .. }
        | Note::QuorumCommitted { .. }
        | Note::Rolled { .. }
        | Note::Client(_) => false,
        _ => true,
    }
}
