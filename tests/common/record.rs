//! What real processes and their clients said, when, and what was done to them: the facts that the checks of a sweep fold.
//!
//! Every note has a time of the one clock of this machine. A node writes its notes of a step before anything of that step
//! is sent, so whatever follows from a note has a later time; and all that is older than the begin of a reading holds no
//! effect whose cause is not there. That is where a fold ends.

use crate::clients::Told;
use highwater::checks::{Checks, Context, Fact, StopKind};
use highwater::serve::notes::{self, Line, Said};
use kafka::Note;
use std::path::PathBuf;

/// What the test did to a node, and when it was done.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    Started { incarnation: u32 },
    Stopped(StopKind),
    Wiped,
}

/// Whose word counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Brokers' and clients', as in a sweep.
    All,
    /// Clients' alone.
    Clients,
}

/// The notes of one node, of all its processes.
struct NoteText {
    path: PathBuf,
    read: usize,
    lines: Vec<Line<'static>>,
    torn: usize,
}

impl NoteText {
    /// What was written since.
    fn read(&mut self) {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in notes::lines(&text[self.read..whole]) {
            match line {
                Ok(line) => self.lines.push(line),
                Err(_) => self.torn += 1,
            }
        }
        self.read = whole;
    }
}

/// Everything.
pub struct Record {
    nodes: Vec<NoteText>,
    deeds: Vec<(u64, u16, Deed)>,
    /// From when on all nodes are there and nothing more is done to them.
    pub healed_ns: Option<u64>,
}

/// One thing, for the order of things.
enum What<'a> {
    Note(&'a Note),
    Log(&'a Said<'static>),
    Deed(Deed),
    Healed,
}

impl Record {
    /// Of nodes that write their notes into these files.
    pub fn of(files: impl Iterator<Item = PathBuf>) -> Record {
        let text = |path| NoteText {
            path,
            read: 0,
            lines: Vec::new(),
            torn: 0,
        };
        Record {
            nodes: files.map(text).collect(),
            deeds: Vec::new(),
            healed_ns: None,
        }
    }

    /// Something was done to a node.
    pub fn did(&mut self, node: usize, deed: Deed) {
        self.deeds.push((notes::machine_time_ns(), node as u16, deed));
    }

    /// All notes of brokers until now, in the order of time.
    pub fn notes(&self) -> Vec<(u64, usize, &Note)> {
        let mut all = Vec::new();
        for (node, text) in self.nodes.iter().enumerate() {
            all.extend(text.lines.iter().filter_map(|line| match &line.said {
                Said::Note(note) => Some((line.time_ns, node, note.as_ref())),
                Said::Log { .. } => None,
            }));
        }
        all.sort_by_key(|(time_ns, ..)| *time_ns);
        all
    }

    /// The checks after all that has happened until now.
    ///
    /// # Panics
    /// If more lines of notes are torn than processes were killed.
    pub fn fold(&mut self, context: Context, told: &[Told], heard: Heard) -> (Checks, u64) {
        let end_ns = notes::machine_time_ns();
        self.nodes.iter_mut().for_each(NoteText::read);
        let kills = (self.deeds.iter()).filter(|(.., deed)| matches!(deed, Deed::Stopped(StopKind::KilledMidStep)));
        let torn: usize = self.nodes.iter().map(|text| text.torn).sum();
        assert!(torn <= kills.count(), "{torn} lines of notes cannot be read");

        let first_client = self.nodes.len();
        let mut all: Vec<(u64, u16, What<'_>)> = Vec::new();
        if heard == Heard::All {
            for (node, text) in self.nodes.iter().enumerate() {
                all.extend(text.lines.iter().map(|line| match &line.said {
                    Said::Note(note) => (line.time_ns, node as u16, What::Note(note)),
                    log => (line.time_ns, node as u16, What::Log(log)),
                }));
            }
            all.extend(
                self.deeds
                    .iter()
                    .map(|(at, node, deed)| (*at, *node, What::Deed(*deed))),
            );
            all.extend(self.healed_ns.map(|at| (at, 0, What::Healed)));
        }
        all.extend(told.iter().map(|told| {
            let client = (first_client + told.client) as u16;
            (told.time_ns, client, What::Note(&told.note))
        }));
        all.retain(|(time_ns, ..)| *time_ns < end_ns);
        all.sort_by_key(|(time_ns, ..)| *time_ns);

        let mut checks = Checks::new(context);
        for (time_ns, node, what) in all {
            match what {
                What::Note(note) => checks.fact(Fact::Note { time_ns, node, note }),
                What::Log(Said::Log { partition, batches }) => checks.fact(Fact::LogContent {
                    node,
                    partition: *partition,
                    batches: batches.clone(),
                }),
                What::Log(Said::Note(_)) => unreachable!("told apart above"),
                What::Deed(Deed::Started { incarnation }) => checks.fact(Fact::Started { node, incarnation }),
                What::Deed(Deed::Stopped(how)) => checks.fact(Fact::Stopped { node, how }),
                What::Deed(Deed::Wiped) => checks.fact(Fact::DiskDamaged {
                    node,
                    what: "its data directory was emptied",
                    path: None,
                }),
                What::Healed => checks.fact(Fact::FaultsEnded { time_ns }),
            }
        }
        (checks, end_ns)
    }
}
