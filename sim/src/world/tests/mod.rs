//! A laboratory: programs that do what a test pokes them to do and remember what they were told.

mod chaos;
mod clock;
mod network;
mod process;
mod replay;

use super::*;
use crate::disk::File;
use crate::program::{Event, Program};
use crate::step::{Label, StepKind};
use bytes::Bytes;

pub(super) const MS: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1000 * MS;
pub(super) const A: NodeId = NodeId(0);
pub(super) const B: NodeId = NodeId(1);
pub(super) const C: NodeId = NodeId(2);

/// A program without a will of its own.
#[derive(Default)]
pub(super) struct Probe {
    pub(super) log: Vec<(Now, Event)>,
    pub(super) deadline: Option<u64>,
    /// Asks to be woken this long after every deadline.
    pub(super) period: Option<u64>,
    pub(super) echo: bool,
    pub(super) file: Option<File>,
    pub(super) entropy: u64,
    pub(super) exit_on_terminate: bool,
}

impl Program for Probe {
    fn step(&mut self, now: Now, event: Event, disk: &mut Disk, effects: &mut Vec<Effect>) {
        match &event {
            Event::Received { conn, bytes } if self.echo => {
                if let Some(file) = self.file {
                    let end = disk.len(file);
                    let _ = disk.write_at(file, end, bytes);
                    effects.push(Effect::SyncFile { token: end, file });
                }
                let (conn, bytes) = (*conn, bytes.clone());
                effects.push(Effect::Send { conn, bytes });
            }
            Event::Deadline => self.deadline = self.period.map(|period| now.mono + period),
            Event::Terminate if self.exit_on_terminate => effects.push(Effect::Exit { clean: true }),
            _ => {}
        }
        self.log.push((now, event));
    }
    fn next_deadline(&self) -> Option<u64> {
        self.deadline
    }
}

/// Starts probes.
#[derive(Default)]
pub(super) struct Probes {
    pub(super) echo: bool,
    /// Every start makes this many disk calls, and appends with a file open.
    pub(super) files: u32,
}

impl Boot for Probes {
    type Program = Probe;
    fn boot(&mut self, _: NodeId, _: Now, entropy: u64, disk: &mut Disk, _: &mut Vec<Effect>) -> Option<Probe> {
        let mut file = None;
        for i in 0..self.files {
            file = Some(disk.open(&format!("f{i}"), true).ok()?);
        }
        Some(Probe {
            echo: self.echo,
            entropy,
            file,
            ..Probe::default()
        })
    }
}

/// A world of probes.
pub(super) struct Lab {
    pub(super) world: World<Probes>,
}

impl Lab {
    pub(super) fn with(nodes: usize, seed: u64, boot: Probes, config: WorldConfig) -> Lab {
        let names = ["a", "b", "c", "d"][..nodes].iter();
        let nodes = names.map(|name| NodeSpec {
            name: (*name).to_owned(),
        });
        let mut world = World::new(boot, nodes.collect(), &Streams::new(seed), config);
        world.trace_mut().record();
        world.start_all();
        Lab { world }
    }
    pub(super) fn new(nodes: usize) -> Lab {
        Lab::with(nodes, 1, Probes::default(), WorldConfig::default())
    }
    /// Lets this much true time pass.
    pub(super) fn run(&mut self, ns: u64) {
        let until = self.world.now() + ns;
        self.world.schedule_marker(until, 99);
        while self
            .world
            .step()
            .is_some_and(|step| step.label != Label::Marker(99) || step.time < until)
        {}
        assert_eq!(self.world.now(), until);
    }
    pub(super) fn apply(&mut self, fault: Fault) {
        assert!(self.world.apply(&fault), "{fault:?} does nothing");
    }
    pub(super) fn act(&mut self, node: NodeId, effect: Effect) {
        self.world
            .poke(node, |_, _, _, effects| effects.push(effect))
            .expect("a process");
    }
    pub(super) fn send(&mut self, node: NodeId, conn: u64, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.act(node, Effect::Send { conn, bytes });
    }
    pub(super) fn start_connect(&mut self, from: NodeId, conn: u64, to: NodeId) {
        self.act(from, Effect::Connect { conn, to });
    }
    /// Connects and waits; the names at both ends.
    pub(super) fn connect(&mut self, from: NodeId, conn: u64, to: NodeId) -> (u64, u64) {
        self.start_connect(from, conn, to);
        self.run(10 * MS);
        assert!(self.saw(
            from,
            |event| matches!(event, Event::Connected { conn: c } if *c == conn)
        ));
        let accepted = self.log(to).iter().rev().find_map(|(_, event)| match event {
            Event::Accepted { conn } => Some(*conn),
            _ => None,
        });
        (conn, accepted.expect("accepted"))
    }
    pub(super) fn log(&self, node: NodeId) -> &[(Now, Event)] {
        &self.world.program(node).expect("a process").log
    }
    pub(super) fn saw(&self, node: NodeId, what: impl Fn(&Event) -> bool) -> bool {
        self.log(node).iter().any(|(_, event)| what(event))
    }
    pub(super) fn closed(&self, node: NodeId, conn: u64) -> bool {
        self.saw(
            node,
            |event| matches!(event, Event::Closed { conn: c, .. } if *c == conn),
        )
    }
    /// All bytes that the node read on a connection.
    pub(super) fn received(&self, node: NodeId, conn: u64) -> Vec<u8> {
        let mut all = Vec::new();
        for (_, event) in self.log(node) {
            if let Event::Received { conn: c, bytes } = event
                && *c == conn
            {
                all.extend_from_slice(bytes);
            }
        }
        all
    }
    /// True times of the steps of a kind at a node.
    pub(super) fn times(&self, node: NodeId, kind: StepKind) -> Vec<u64> {
        let steps = self.world.trace().steps().iter();
        steps
            .filter(|step| step.node == Some(node) && step.key.kind == kind)
            .map(|step| step.time)
            .collect()
    }
    pub(super) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.apply(Fault::Cut {
            from: vec![from],
            to: vec![to],
        });
    }
}

/// Bytes that tell where they belong.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 251) as u8).collect()
}
