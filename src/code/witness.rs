//! The checks of the world, at every state of an exhaustive search.
//!
//! What the checks know is part of the state: two paths to the same machines are one only if what was committed,
//! promised and voted on them is the same too. Guarantees: no second version of any check.

use super::digest::{Digester, digest};
use super::memo::Memo;
use crate::checks::{Checks, Context, Fact, StopKind};
use kafka::note::Note;
use std::hash::Hash;
use std::sync::Arc;

/// What must happen now and then for a search to show anything. Part of the state, for whether it has happened must not
/// depend on which of two paths was seen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A partition got another leader.
    LeaderChanged,
    /// A log was cut.
    TruncationHappened,
    /// A replica joined the ISR.
    IsrExpanded,
}

impl Mark {
    const ALL: [Mark; 3] = [Mark::LeaderChanged, Mark::TruncationHappened, Mark::IsrExpanded];

    /// Its name among the marks of the checks.
    const fn name(self) -> &'static str {
        match self {
            Mark::LeaderChanged => "leader_changed",
            Mark::TruncationHappened => "truncation_happened",
            Mark::IsrExpanded => "isr_expanded",
        }
    }
}

/// What the checks know after a path.
#[derive(Clone, Debug)]
pub struct Witness {
    checks: Checks,
    /// Of all that later comparisons depend on, and of what was broken.
    pub digest: u128,
}

impl Witness {
    /// Before anything happened.
    pub fn new(context: Context) -> Arc<Witness> {
        Arc::new(Witness::of(Checks::new(context)))
    }

    fn of(mut checks: Checks) -> Witness {
        checks.end_step();
        let mut digester = Digester::default();
        checks.digest(&mut digester);
        let mut witness = Witness { checks, digest: 0 };
        witness.broken().for_each(|(check, _)| check.hash(&mut digester));
        Mark::ALL.map(|mark| witness.has_met(mark)).hash(&mut digester);
        witness.digest = digester.all();
        witness
    }

    /// The checks that are broken, with what they say.
    pub fn broken(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let violations = self.checks.violations().iter();
        violations.map(|violation| (violation.check, violation.message.as_str()))
    }

    /// Whether a mark was met on the way.
    pub fn has_met(&self, mark: Mark) -> bool {
        self.checks.marks().count(mark.name()) > 0
    }

    /// Takes facts in.
    pub fn told<'a>(&self, facts: impl IntoIterator<Item = Fact<'a>>) -> Arc<Witness> {
        let mut checks = self.checks.clone();
        facts.into_iter().for_each(|fact| checks.fact(fact));
        Arc::new(Witness::of(checks))
    }

    /// Logs whose content the checks want to see.
    pub fn wanted_logs(&self) -> Vec<(u16, kafka::TopicPartition)> {
        self.checks.wanted_logs()
    }
}

/// Takes steps in, and remembers what it learnt from them.
pub struct Watch {
    memo: Memo<Witness>,
}

fn note_of(node: u16, note: &Note) -> Fact<'_> {
    Fact::Note { time_ns: 0, node, note }
}

impl Watch {
    /// Nothing is remembered.
    pub fn new() -> Watch {
        Watch { memo: Memo::new(16) }
    }

    /// What a node said in one step.
    pub fn notes(&self, witness: &Arc<Witness>, node: u8, notes: &[Note], digest_of_notes: u128) -> Arc<Witness> {
        if notes.is_empty() {
            return witness.clone();
        }
        self.memo.get_or(digest(&(witness.digest, node, digest_of_notes)), || {
            let mut checks = witness.checks.clone();
            for note in notes {
                checks.fact(note_of(node.into(), note));
            }
            Witness::of(checks)
        })
    }

    /// A process ended.
    pub fn stopped(&self, witness: &Arc<Witness>, node: u8, how: StopKind) -> Arc<Witness> {
        let node = node.into();
        witness.told([Fact::Stopped { node, how }])
    }

    /// A process began, and said this while it opened its logs.
    pub fn started(&self, witness: &Arc<Witness>, node: u8, notes: &[Note]) -> Arc<Witness> {
        let started = Fact::Started {
            node: node.into(),
            incarnation: 0,
        };
        witness.told(std::iter::once(started).chain(notes.iter().map(|note| note_of(node.into(), note))))
    }
}
