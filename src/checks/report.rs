//! The checks by name, what each has looked at, and what it found.
//!
//! Guarantees: a check that never compared anything is visible ([`Report::looked`]); of each check only the first
//! few violations are kept, since the later ones follow from the first.

use super::Violation;
use super::ghost::{Mask, has};
use std::collections::BTreeMap;

/// A check, as reports and scenario files name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckInfo {
    /// As in reports, for example `X1`.
    pub id: &'static str,
    /// What must hold, in one sentence.
    pub title: &'static str,
    /// Where that is promised, or how its breach became known.
    pub source: &'static str,
}

macro_rules! checks {
    ($($id:ident $title:literal $source:literal)*) => {
        /// Index of a check in [`LIST`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Check { $($id),* }
        /// All checks of a whole cluster run.
        pub(crate) const LIST: &[CheckInfo] = &[$(CheckInfo { id: stringify!($id), title: $title, source: $source }),*];
    };
}

checks! {
    C1 "No offset of a partition ever shows two different values, to readers or to writers who were promised it." "Jepsen inconsistent-offsets; KIP-101"
    C2 "An idempotent producer's value stands at one offset only." "Jepsen duplicate; KIP-98"
    C3 "Every acknowledged value below the last offset read is read." "Jepsen lost-write"
    C4 "After the final reads no acknowledged value is unread." "Jepsen unseen"
    C9 "An idempotent producer's records stand in the order in which they were sent." "Jepsen nonmonotonic-send; KIP-98"
    C12 "Success means readable at exactly that offset, definite failure means never readable, and nothing is read that nobody wrote." "Redpanda #3003; KAFKA-2960"
    C13 "A write that begins after another was acknowledged gets a higher offset." "Linearizability of appends (Herlihy, Wing 1990)"
    C14 "The latest offset that a client is told never goes back, nor below what others were told before it asked in the same or an earlier leader epoch." "KIP-207; KAFKA-2334"
    C17 "Once faults have ended, a reader at the end sees new records within a bound." "KAFKA-13091; Jepsen realtime lag"
    I1 "Offsets in a log follow each other, epochs never fall, checksums hold." "KIP-98; KAFKA-18723"
    I2 "Log start <= high watermark <= log end, and the recovery point <= log end." "KAFKA-5634; KAFKA-9491"
    I3 "The epoch cache says where each epoch of the log begins." "KIP-101; KAFKA-7415"
    I4 "Epochs of leaders, partitions, brokers and the quorum never go back at a node." "KIP-320; KIP-631"
    I5 "The high watermark never falls within one leadership, and a follower's never passes what a leader had." "KAFKA-14704"
    I6 "What a broker knows of producers is what its log says: epoch and newest batches." "KIP-98; KAFKA-5494; KAFKA-12153"
    I9 "An acks=all success is given only by the leader in the epoch of the append, below its high watermark, with enough in-sync replicas." "KAFKA-2960; Redpanda #3003"
    I11 "Committed records are never truncated." "KIP-101; KIP-595; KAFKA-12619"
    I12 "Requests and responses of a stale epoch change nothing." "KIP-320; KAFKA-13207"
    X1 "Below their high watermarks all replicas hold the same records." "KIP-101; KIP-279; Vanlightly, LogMatchingProperty"
    X2 "One epoch and offset name one record, with one history before it." "KIP-320; Raft section 5.3"
    X3 "Every replica that may be elected holds all committed records." "Gustafson, StrongIsr; KAFKA-7128"
    X4 "The high watermark passes only what every in-sync replica of the controller's view holds, and rests below min.insync.replicas." "KIP-497; KAFKA-8836; KIP-966"
    X5 "A new leader holds every committed and acknowledged record." "KIP-101; KIP-966; Raft section 5.4"
    X6 "In one leader epoch one replica acts as leader." "KIP-497; KIP-595"
    X7 "The controller's partition states are well formed and each change bumps its epoch." "KIP-631; KIP-841; KIP-966"
    X8 "At one metadata offset all nodes have the same image, of committed records only." "KIP-631"
    X9 "A voter votes once an epoch, and an epoch has one quorum leader." "KIP-595; Raft section 5.2"
    X10 "The quorum commits what a majority holds durably, with an entry of its own epoch, for ever." "KIP-595; KAFKA-12619; Raft section 5.4.2"
    X11 "A leader never credits a follower with records that it does not hold." "KAFKA-13141"
    X14 "An acknowledged record is on some replica as long as fewer than min.insync.replicas in-sync replicas were lost." "KIP-966"
    D1 "After a crash the log holds all that was durable, and nothing torn." "KAFKA-10471; Kafka log recovery"
    D2 "With flush.messages=1 an acknowledged record survives a power failure on every in-sync replica." "Kafka flush.messages"
    D3 "A vote or an epoch that left the node survives any crash." "KIP-595; Raft section 5.1"
    D4 "Recovery of a recovered log changes nothing." "ALICE (OSDI 2014)"
    D5 "Checkpoints never promise more than is durable or committed, and the clean-shutdown marker means a clean shutdown." "KAFKA-10471"
    D6 "A replica that lost data is neither in-sync nor eligible nor leader until it has caught up again." "KIP-903; KIP-966"
    L1 "Every partition with a live eligible replica has a leader." "KIP-631"
    L2 "The in-sync replicas are the live replicas, their ends are equal and committed." "KAFKA-13091; KAFKA-15021"
    L3 "Every send is answered." "KAFKA-13091"
    L6 "All nodes have applied the committed metadata." "KIP-631"
    L7 "Every proposed ISR is decided." "KIP-497; KAFKA-12686"
    L8 "Every live broker is unfenced." "KIP-631"
    M2 "Every step of a broker or of the controller is a step that the specification allows, or none." "KIP-320, 497, 903, 966 as model::replication has them; sweep --conform"
    T1 "What the connection driver hands over is what arrived, what leaves is what was sent, whole, in order, and without waiting for nothing." "RFC 9293; Kafka protocol guide (order of requests and responses)"
    T2 "Of a connection one request at a time waits for the machine, and none is handed over while more than 1 MiB of answers waits for its peer." "Kafka SocketServer (mute); KIP-72"
    L9 "The quorum has exactly one leader." "KIP-595"
}

/// Violations kept of one check.
const KEPT: u32 = 4;

/// What the checks found, and how much they looked at.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// In the order in which they were found.
    pub violations: Vec<Violation>,
    looked: [u64; LIST.len()],
    fired: [u32; LIST.len()],
    /// Of partitions with copies in doubt.
    trust: BTreeMap<usize, Trust>,
    /// The metadata, once a voter's copy was in doubt.
    quorum: Option<usize>,
    /// The partition that the present fact is about.
    subject: Option<usize>,
}

/// How far a partition can be trusted (damage.rs).
#[derive(Clone, Copy, Debug, Default)]
struct Trust {
    /// Nodes whose copies count, and are in doubt.
    exposed: Mask,
    /// Something was found that they explain.
    broken: bool,
}

/// Rest on the bytes of one partition's leader.
const RESTS_ON_LOG: [Check; 20] = [
    Check::C1,
    Check::C2,
    Check::C3,
    Check::C4,
    Check::C9,
    Check::C12,
    Check::C13,
    Check::C14,
    Check::C17,
    Check::I5,
    Check::I9,
    Check::I11,
    Check::X1,
    Check::X2,
    Check::X3,
    Check::X4,
    Check::X5,
    Check::X11,
    Check::X14,
    Check::D6,
];

/// Rest on what the metadata quorum has committed.
const RESTS_ON_QUORUM: [Check; 25] = [
    Check::C1,
    // Two leaders take the same batch, and two producers may have one id.
    Check::C2,
    Check::C9,
    Check::C13,
    Check::C14,
    Check::I4,
    Check::I5,
    Check::I9,
    Check::I11,
    Check::I12,
    Check::X1,
    Check::X2,
    Check::X3,
    Check::X4,
    Check::X5,
    Check::X6,
    Check::X7,
    Check::X8,
    Check::X9,
    Check::X10,
    Check::X11,
    Check::X14,
    Check::D3,
    Check::D5,
    Check::D6,
];

impl Report {
    /// Nothing yet.
    pub fn new() -> Report {
        Report {
            violations: Vec::new(),
            looked: [0; LIST.len()],
            fired: [0; LIST.len()],
            trust: BTreeMap::new(),
            quorum: None,
            subject: None,
        }
    }

    /// Compares: fires unless `holds`. The message is made only then.
    pub fn expect(
        &mut self,
        check: Check,
        time_ns: u64,
        node: Option<usize>,
        holds: bool,
        message: impl FnOnce() -> String,
    ) {
        self.looked[check as usize] += 1;
        if !holds {
            self.fire(check, time_ns, node, message);
        }
    }

    /// What is found next concerns this partition.
    pub fn about(&mut self, at: Option<usize>) {
        self.subject = at;
    }

    /// A copy that counts is in doubt: a leader's, or a voter's of the metadata.
    pub fn expose(&mut self, at: usize, node: usize, quorum: bool) {
        self.trust.entry(at).or_default().exposed |= 1 << node;
        if quorum {
            self.quorum = Some(at);
        }
    }

    /// The copy is not in doubt any more.
    pub fn conceal(&mut self, at: usize, node: usize) {
        if let Some(trust) = self.trust.get_mut(&at) {
            trust.exposed &= !(1 << node);
        }
    }

    /// Whether a node's copy counts and is in doubt.
    pub fn is_exposed(&self, at: usize, node: usize) -> bool {
        self.trust.get(&at).is_some_and(|trust| has(trust.exposed, node))
    }

    /// Whether a breach is explained by a copy in doubt of one of `who`, or by what such copies have done before.
    pub fn gives_way(&mut self, at: usize, who: Mask) -> bool {
        let Some(trust) = self.trust.get_mut(&at) else {
            return false;
        };
        trust.broken |= trust.exposed & who != 0;
        trust.broken
    }

    /// Whether copies in doubt have or may have changed what a partition serves.
    pub fn is_in_doubt(&self, at: usize) -> bool {
        self.trust
            .get(&at)
            .is_some_and(|trust| trust.broken || trust.exposed != 0)
    }

    /// Whether the quorum has broken a promise, and a voter in doubt explains it: nothing that rests on it is promised.
    pub fn is_quorum_broken(&self) -> bool {
        self.quorum.is_some_and(|at| self.trust[&at].broken)
    }

    /// Whether anything is.
    pub fn is_anything_broken(&self) -> bool {
        self.trust.values().any(|trust| trust.broken)
    }

    fn is_excused(&mut self, check: Check) -> bool {
        if self.is_quorum_broken() && RESTS_ON_QUORUM.contains(&check) {
            return true;
        }
        match self.subject {
            Some(at) if RESTS_ON_LOG.contains(&check) => self.gives_way(at, Mask::MAX),
            _ => false,
        }
    }

    /// A violation whose comparison has been counted.
    pub fn fire(&mut self, check: Check, time_ns: u64, node: Option<usize>, message: impl FnOnce() -> String) {
        if self.is_excused(check) {
            return;
        }
        self.fired[check as usize] += 1;
        if self.fired[check as usize] <= KEPT {
            self.violations.push(Violation {
                check: LIST[check as usize].id,
                time_ns,
                node: node.map(|node| node as u16),
                message: message(),
            });
        }
    }

    /// A comparison that held.
    pub fn look(&mut self, check: Check) {
        self.looked[check as usize] += 1;
    }

    /// How often each check compared something.
    pub fn looked(&self) -> BTreeMap<&'static str, u64> {
        LIST.iter()
            .zip(self.looked)
            .map(|(info, looked)| (info.id, looked))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_every_look_and_keeps_the_first_few() {
        let mut report = Report::new();
        report.look(Check::X1);
        for n in 0..10 {
            report.expect(Check::X2, n, None, n == 0, || format!("{n}"));
        }
        assert_eq!((report.looked()["X1"], report.looked()["X2"]), (1, 10));
        let kept: Vec<_> = report.violations.iter().map(|v| v.message.as_str()).collect();
        assert_eq!(kept, ["1", "2", "3", "4"]);
    }

    #[test]
    fn ids_are_unique_and_titles_are_sentences() {
        for (n, info) in LIST.iter().enumerate() {
            assert!(LIST[..n].iter().all(|other| other.id != info.id));
            assert!(info.title.ends_with('.') && !info.source.is_empty());
        }
    }
}
