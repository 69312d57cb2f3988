//! Where requests wait for something to happen to a partition, or for their time to run out.
//!
//! Guarantees: an event on a partition costs what waits for it, not what waits; everything leaves by `remove`, in
//! the order of request ids. It does not know what the requests want.
//!
//! Sources: Kafka's DelayedOperationPurgatory (watch lists by key, a timer beside them).

use crate::types::{Nanos, RequestId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiting<T> {
    deadline: Nanos,
    keys: Vec<TopicPartition>,
    operation: T,
}

/// Requests that wait.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Purgatory<T> {
    waiting: BTreeMap<RequestId, Waiting<T>>,
    watchers: BTreeMap<TopicPartition, BTreeSet<RequestId>>,
    deadlines: BTreeSet<(Nanos, RequestId)>,
}

impl<T> Default for Purgatory<T> {
    fn default() -> Self {
        Purgatory {
            waiting: BTreeMap::new(),
            watchers: BTreeMap::new(),
            deadlines: BTreeSet::new(),
        }
    }
}

impl<T> Purgatory<T> {
    /// Lets a request wait until `deadline`, watched by these partitions.
    pub fn insert(&mut self, id: RequestId, deadline: Nanos, keys: Vec<TopicPartition>, operation: T) {
        for key in &keys {
            self.watchers.entry(*key).or_default().insert(id);
        }
        self.deadlines.insert((deadline, id));
        let before = self.waiting.insert(
            id,
            Waiting {
                deadline,
                keys,
                operation,
            },
        );
        assert!(before.is_none(), "request {id} waits twice");
    }

    /// Takes a request out.
    pub fn remove(&mut self, id: RequestId) -> Option<T> {
        let waiting = self.waiting.remove(&id)?;
        for key in &waiting.keys {
            // A request may name a partition twice: the second time there is nothing left to do.
            if let Some(ids) = self.watchers.get_mut(key) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.watchers.remove(key);
                }
            }
        }
        let timed = self.deadlines.remove(&(waiting.deadline, id));
        assert!(timed, "request {id} had no deadline");
        Some(waiting.operation)
    }

    /// The operation of a waiting request.
    pub fn get_mut(&mut self, id: RequestId) -> Option<&mut T> {
        self.waiting.get_mut(&id).map(|waiting| &mut waiting.operation)
    }

    /// Who waits for this partition. A copy: completing changes the list.
    pub fn watchers(&self, partition: TopicPartition) -> Vec<RequestId> {
        self.watchers
            .get(&partition)
            .map(|ids| ids.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Whether anybody waits for this partition.
    pub fn is_watched(&self, partition: TopicPartition) -> bool {
        self.watchers.contains_key(&partition)
    }

    /// The first request whose time is up.
    pub fn expired(&self, now: Nanos) -> Option<RequestId> {
        self.deadlines
            .first()
            .filter(|(deadline, _)| *deadline <= now)
            .map(|(_, id)| *id)
    }

    /// When the next request's time is up.
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Everybody's time is up at `deadline`.
    pub fn forget_age(&mut self, deadline: Nanos) {
        for waiting in self.waiting.values_mut() {
            waiting.deadline = deadline;
        }
        self.deadlines = self.waiting.keys().map(|id| (deadline, *id)).collect();
    }

    /// All partitions that anybody waits for.
    pub fn watched(&self) -> Vec<TopicPartition> {
        self.watchers.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Uuid;

    fn partition(index: i32) -> TopicPartition {
        TopicPartition {
            topic: Uuid::from_u128(7),
            partition: index,
        }
    }

    #[test]
    fn an_event_finds_only_its_own_watchers() {
        let mut purgatory = Purgatory::default();
        purgatory.insert(RequestId(1), Nanos(30), vec![partition(0), partition(1)], "both");
        purgatory.insert(RequestId(2), Nanos(20), vec![partition(1)], "one");
        assert_eq!(purgatory.watchers(partition(0)), [RequestId(1)]);
        assert_eq!(purgatory.watchers(partition(1)), [RequestId(1), RequestId(2)]);
        assert_eq!(purgatory.remove(RequestId(1)), Some("both"));
        assert!(!purgatory.is_watched(partition(0)));
        assert_eq!(purgatory.watchers(partition(1)), [RequestId(2)]);
        assert_eq!(purgatory.remove(RequestId(1)), None);
    }

    #[test]
    fn when_the_wait_began_is_forgotten_and_the_rest_is_not() {
        let since = |deadline| {
            let mut purgatory = Purgatory::default();
            purgatory.insert(RequestId(1), Nanos(deadline), vec![partition(0)], "one");
            purgatory.forget_age(Nanos(900));
            purgatory
        };
        assert_eq!(since(30), since(40));
        let mut purgatory = since(30);
        assert_eq!(
            (purgatory.next_deadline(), purgatory.remove(RequestId(1))),
            (Some(Nanos(900)), Some("one"))
        );
    }

    #[test]
    fn deadlines_come_in_order() {
        let mut purgatory = Purgatory::default();
        purgatory.insert(RequestId(1), Nanos(30), vec![partition(0), partition(0)], ());
        purgatory.insert(RequestId(2), Nanos(20), vec![], ());
        assert_eq!(purgatory.next_deadline(), Some(Nanos(20)));
        assert_eq!(purgatory.expired(Nanos(19)), None);
        assert_eq!(purgatory.expired(Nanos(20)), Some(RequestId(2)));
        purgatory.remove(RequestId(2));
        assert_eq!(purgatory.expired(Nanos(20)), None);
        purgatory.remove(RequestId(1));
        assert!(purgatory.watched().is_empty() && purgatory.next_deadline().is_none());
    }
}
