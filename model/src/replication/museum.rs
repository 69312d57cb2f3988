//! Each published bug with bounds that show it, and that are exhausted without it.

use super::flaw::Flaw;
use super::limits::Limits;
use super::step::Protocol;
use super::{ALWAYS, Replication};

const REACHES: &[&str] = &["commits", "credits", "fails over", "diverges"];

/// A bug on show.
#[derive(Clone, Copy, Debug)]
pub struct Exhibit {
    /// Which.
    pub flaw: Flaw,
    /// The property that it breaks.
    pub breaks: &'static str,
    /// `replicas`, `min.insync.replicas`.
    pub cluster: (u8, u8),
    /// Where to look.
    pub limits: Limits,
    /// What is possible within these limits, by the names of [`SOMETIMES`](super::SOMETIMES).
    pub reaches: &'static [&'static str],
}

impl Exhibit {
    /// The bug's own.
    pub fn of(flaw: Flaw) -> Exhibit {
        match flaw {
            Flaw::TruncateToHw => Exhibit {
                flaw,
                breaks: "X3",
                cluster: (3, 2),
                limits: Limits {
                    eager: true,
                    false_alarms: true,
                    lag: 1,
                    ..Limits::new(1, 1, 1)
                },
                reaches: REACHES,
            },
            Flaw::EpochEndOffsetV0 => Exhibit {
                flaw,
                breaks: "X1",
                cluster: (2, 1),
                limits: Limits {
                    eager: true,
                    first_leader: 1,
                    acks: [true, false],
                    preferred_elections: true,
                    false_alarms: true,
                    ..Limits::new(3, 3, 2)
                },
                reaches: REACHES,
            },
            Flaw::NoFetchEpochFencing => Exhibit {
                flaw,
                breaks: "X3",
                cluster: (3, 1),
                limits: Limits {
                    eager: true,
                    first_leader: 1,
                    acks: [true, false],
                    preferred_elections: true,
                    false_alarms: true,
                    partition_epochs: 2,
                    ..Limits::new(1, 2, 2)
                },
                reaches: REACHES,
            },
            Flaw::IsrJoinAtLaggingHw => Exhibit {
                flaw,
                breaks: "X3",
                cluster: (3, 2),
                limits: Limits {
                    eager: true,
                    isr_changes: [true, true],
                    faults: [1, 0, 0],
                    lag: 1,
                    ..Limits::new(1, 1, 1)
                },
                reaches: REACHES,
            },
            Flaw::HwFromProposedIsr => Exhibit {
                flaw,
                breaks: "X4",
                cluster: (3, 1),
                limits: Limits {
                    eager: true,
                    isr_changes: [true, true],
                    lag: 1,
                    ..Limits::new(1, 1, 0)
                },
                reaches: &["commits", "credits", "acknowledges"],
            },
            Flaw::AlterPartitionNoBrokerEpoch => Exhibit {
                flaw,
                breaks: "D6",
                cluster: (2, 1),
                limits: Limits {
                    eager: true,
                    isr_changes: [true, true],
                    faults: [0, 1, 0],
                    restarts: true,
                    lag: 1,
                    ..Limits::new(1, 1, 1)
                },
                reaches: &["commits", "credits", "fails over"],
            },
            Flaw::LastReplicaStanding => Exhibit {
                flaw,
                breaks: "X14",
                cluster: (2, 2),
                limits: Limits {
                    eager: true,
                    false_alarms: true,
                    faults: [0, 1, 0],
                    restarts: true,
                    partition_epochs: 3,
                    lag: 1,
                    ..Limits::new(1, 1, 2)
                },
                reaches: REACHES,
            },
            Flaw::CreditDivergingFetch => Exhibit {
                flaw,
                breaks: "X11",
                cluster: (2, 1),
                limits: Limits {
                    eager: true,
                    first_leader: 1,
                    acks: [true, false],
                    preferred_elections: true,
                    ..Limits::new(2, 2, 1)
                },
                reaches: REACHES,
            },
            Flaw::AckWithoutLeadershipRecheck => Exhibit {
                flaw,
                breaks: "I9",
                cluster: (2, 1),
                limits: Limits {
                    eager: true,
                    first_leader: 1,
                    acks: [false, true],
                    preferred_elections: true,
                    ..Limits::new(2, 2, 1)
                },
                reaches: REACHES,
            },
        }
    }

    /// The search for the bug.
    pub fn with_flaw(&self) -> Replication {
        self.search(Some(self.flaw), vec![self.breaks])
    }

    /// The same without it, for all that must hold and be possible.
    pub fn without_flaw(&self) -> Replication {
        let always = ALWAYS.iter().map(|law| law.id);
        self.search(None, always.chain(self.reaches.iter().copied()).collect())
    }

    fn search(&self, flaw: Option<Flaw>, asked: Vec<&'static str>) -> Replication {
        let (replicas, min_isr) = self.cluster;
        let protocol = Protocol {
            flaw,
            ..Protocol::new(replicas, min_isr)
        };
        Replication {
            protocol,
            limits: self.limits,
            asked,
        }
    }
}
