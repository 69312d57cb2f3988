//! The state of `KafkaReplication.tla`, and the words in which its rules are put.
//!
//! Two facts make it small. Every LeaderAndIsr request has an epoch of its own, so the set of them is an array. And the
//! quorum's leader and epoch always are those of the last request, as a replica's leader is that of the request with its
//! epoch; only the ISRs go their own ways.

use serde::{Serialize, Serializer};
use std::fmt;

/// Most replicas of a partition.
pub(super) const MOST_REPLICAS: usize = 5;
/// Most records in a log, most records in all, and highest leader epoch.
pub(super) const MOST: usize = 8;

/// A replica, from 0; shown as `r1`, `r2`, ...
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replica(pub u8);

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0 + 1)
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Replica {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A set of replicas.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replicas(pub u8);

impl Replicas {
    /// The first so many.
    pub fn first(count: u8) -> Replicas {
        Replicas((1 << count) - 1)
    }

    /// Whether it is among them.
    #[inline]
    pub fn contains(self, replica: Replica) -> bool {
        self.0 >> replica.0 & 1 == 1
    }

    /// With one more.
    #[inline]
    pub fn with(self, replica: Replica) -> Replicas {
        Replicas(self.0 | 1 << replica.0)
    }

    /// With one fewer.
    #[inline]
    pub fn without(self, replica: Replica) -> Replicas {
        Replicas(self.0 & !(1 << replica.0))
    }

    /// Those of another set that are not in this one.
    #[inline]
    pub fn missing_from(self, all: Replicas) -> Replicas {
        Replicas(all.0 & !self.0)
    }

    /// Each, in order.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = Replica> + Clone {
        (0..MOST_REPLICAS as u8)
            .map(Replica)
            .filter(move |replica| self.contains(*replica))
    }
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for Replicas {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// A record: who it is, and under which leader epoch it was written. Each fits into four bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// From 0 up, in the order of writing.
    pub id: u8,
    /// The leader's when it was written.
    pub epoch: u8,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}@e{}", self.id, self.epoch)
    }
}

/// A log: one byte a record, the first lowest; `id + 1` in the low half, the epoch in the high one. What is not written
/// is zero.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Log(pub u64);

impl Log {
    /// The log end offset: one past the last record.
    #[inline]
    pub fn end(self) -> u8 {
        ((71 - self.0.leading_zeros()) / 8) as u8
    }

    /// Whether there is a record at the offset.
    #[inline]
    pub fn has(self, offset: u8) -> bool {
        offset < self.end()
    }

    /// The record at an offset.
    #[inline]
    pub fn get(self, offset: u8) -> Option<Record> {
        let byte = self.byte(offset);
        (byte != 0).then(|| Record {
            id: (byte & 0xf) - 1,
            epoch: byte >> 4,
        })
    }

    /// The last record.
    #[inline]
    pub fn last(self) -> Option<Record> {
        self.get(self.end().wrapping_sub(1))
    }

    #[inline]
    fn byte(self, offset: u8) -> u8 {
        if usize::from(offset) < MOST {
            (self.0 >> (8 * offset)) as u8
        } else {
            0
        }
    }

    /// With one record more.
    #[inline]
    pub fn appended(self, record: Record) -> Log {
        Log(self.0 | u64::from((record.id + 1) | (record.epoch << 4)) << (8 * self.end()))
    }

    /// Without the records from an offset on.
    #[inline]
    pub fn truncated(self, end: u8) -> Log {
        if usize::from(end) >= MOST {
            self
        } else {
            Log(self.0 & ((1 << (8 * end)) - 1))
        }
    }

    /// Whether both hold the same records below an offset, and hold one at each.
    #[inline]
    pub fn same_below(self, other: Log, end: u8) -> bool {
        self.end() >= end && self.truncated(end) == other.truncated(end)
    }

    /// One past the last offset at which both hold the same record; 0 if there is none.
    #[inline]
    pub fn last_match(self, other: Log) -> u8 {
        let alike = |offset: &u8| self.byte(*offset) != 0 && self.byte(*offset) == other.byte(*offset);
        (0..self.end()).rev().find(alike).map_or(0, |offset| offset + 1)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = (0..self.end()).filter_map(|offset| self.get(offset));
        f.write_str("[")?;
        for (offset, record) in records.enumerate() {
            let gap = if offset == 0 { "" } else { " " };
            write!(f, "{gap}{record:?}")?;
        }
        f.write_str("]")
    }
}

/// What a replica holds and believes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ReplicaState {
    /// Its log.
    pub log: Log,
    /// Its high watermark: the offset below which it holds records to be committed.
    pub high_watermark: u8,
    /// The number of its leader epoch plus one; 0 before the first request that it observed.
    pub epochs: u8,
    /// The ISR as it knows it.
    pub isr: Replicas,
}

/// A LeaderAndIsr request; its epoch is its place.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Request {
    /// Nobody if the partition is offline.
    pub leader: Option<Replica>,
    /// The in-sync replicas at that time.
    pub isr: Replicas,
}

/// The whole state.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// Each replica; those beyond the bounds stay empty.
    pub replicas: [ReplicaState; MOST_REPLICAS],
    /// The request of each epoch.
    pub requests: [Request; MOST + 1],
    /// The next leader epoch: the number of requests.
    pub next_epoch: u8,
    /// The next record.
    pub next_record: u8,
    /// The ISR as the quorum has it.
    pub isr: Replicas,
    /// How many replicas there are.
    pub count: u8,
}

impl State {
    /// Before anything happened: everyone is in the ISR, nobody leads.
    pub fn initial(count: u8) -> State {
        State {
            replicas: Default::default(),
            requests: Default::default(),
            next_epoch: 0,
            next_record: 0,
            isr: Replicas::first(count),
            count,
        }
    }

    /// Every replica.
    #[inline]
    pub fn all(&self) -> impl Iterator<Item = Replica> + Clone + use<> {
        (0..self.count).map(Replica)
    }

    /// A replica's own state.
    #[inline]
    pub fn of(&self, replica: Replica) -> &ReplicaState {
        &self.replicas[usize::from(replica.0)]
    }

    /// To change it.
    #[inline]
    pub fn of_mut(&mut self, replica: Replica) -> &mut ReplicaState {
        &mut self.replicas[usize::from(replica.0)]
    }

    /// A replica's log.
    #[inline]
    pub fn log(&self, replica: Replica) -> Log {
        self.of(replica).log
    }

    /// The requests that were sent, with their epochs.
    #[inline]
    pub fn sent(&self) -> impl Iterator<Item = (u8, &Request)> {
        (0..self.next_epoch).zip(&self.requests)
    }

    /// The leader that the quorum names.
    #[inline]
    pub fn leader(&self) -> Option<Replica> {
        self.leader_of(self.next_epoch)
    }

    #[inline]
    fn leader_of(&self, epochs: u8) -> Option<Replica> {
        let request = self.requests.get(usize::from(epochs.wrapping_sub(1)))?;
        request.leader
    }

    /// `ReplicaIsFollowing`: whom a replica takes for the leader; itself, if it presumes leadership.
    #[inline]
    pub fn follows(&self, replica: Replica) -> Option<Replica> {
        self.leader_of(self.of(replica).epochs)
    }

    /// `ReplicaPresumesLeadership`.
    #[inline]
    pub fn presumes(&self, replica: Replica) -> bool {
        self.follows(replica) == Some(replica)
    }

    /// `IsTrueLeader`: it presumes, the quorum agrees, and on the epoch too.
    #[inline]
    pub fn is_true_leader(&self, replica: Replica) -> bool {
        self.presumes(replica) && self.of(replica).epochs == self.next_epoch
    }

    /// Every replica that presumes leadership, zombies included.
    #[inline]
    pub fn presumed_leaders(&self) -> impl Iterator<Item = Replica> + '_ {
        self.all().filter(|replica| self.presumes(*replica))
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = |epochs: u8| format!("e{}", epochs - 1);
        let leader = |leader: Option<Replica>| leader.map_or("nobody".to_owned(), |leader| leader.to_string());
        let quorum = match self.next_epoch {
            0 => "nobody leads yet".to_owned(),
            epochs => format!("{} leads {}", leader(self.leader()), epoch(epochs)),
        };
        writeln!(f, "quorum: {quorum}, isr {:?}", self.isr)?;
        for replica in self.all() {
            let ReplicaState {
                log,
                high_watermark,
                epochs,
                isr,
            } = self.of(replica);
            let role = match self.follows(replica) {
                None => "follows nobody".to_owned(),
                Some(leader) if leader == replica => format!("leads {}, isr {isr:?}", epoch(*epochs)),
                Some(leader) => format!("follows {leader} in {}, isr {isr:?}", epoch(*epochs)),
            };
            writeln!(f, "{replica}: {log:?} hw {high_watermark}, {role}")?;
        }
        let sent = self
            .sent()
            .map(|(epoch, request)| format!("e{epoch} {} {:?}", leader(request.leader), request.isr))
            .collect::<Vec<_>>();
        let sent = if sent.is_empty() {
            "none".to_owned()
        } else {
            sent.join(", ")
        };
        write!(f, "requests: {sent}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Log, MOST, Record};

    fn log(records: &[(u8, u8)]) -> Log {
        let records = records.iter().map(|(id, epoch)| Record { id: *id, epoch: *epoch });
        records.fold(Log::default(), Log::appended)
    }

    #[test]
    fn a_log_ends_where_its_records_do() {
        let mut grown = Log::default();
        for end in 0..=MOST as u8 {
            assert_eq!(grown.end(), end);
            assert!(!grown.has(end));
            assert_eq!(grown.get(end), None);
            if usize::from(end) < MOST {
                grown = grown.appended(Record { id: 7, epoch: 8 });
                assert_eq!(grown.last(), Some(Record { id: 7, epoch: 8 }));
            }
        }
        assert_eq!(Log::default().last(), None);
    }

    #[test]
    fn truncation_and_comparison_go_by_offset_identity_and_epoch() {
        let (ours, theirs) = (log(&[(0, 0), (1, 1), (2, 1)]), log(&[(0, 0), (3, 1), (2, 1)]));
        assert_eq!(ours.truncated(2), log(&[(0, 0), (1, 1)]));
        assert_eq!(ours.truncated(8), ours);
        assert!(ours.same_below(theirs, 1) && !ours.same_below(theirs, 2));
        assert!(!log(&[]).same_below(log(&[]), 1), "nothing is not a record");
        assert_eq!(ours.last_match(theirs), 3, "from the tail, gaps or not");
        assert_eq!(ours.last_match(log(&[(5, 0)])), 0);
    }
}
