//! The queue of what is going to happen: ordered by time, then by the order of asking.
//!
//! It guarantees that two entries of one instant leave in the order in which they came, so that a run is a function of
//! its seed. Entries are never searched for on the fast path: what was cancelled stays in the queue and is recognised as
//! stale by its generation when its time comes. It does not know what its entries mean.

/// A heap of four children a node: half as deep as a binary one, and the four keys share two cache lines.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: Vec<Entry<T>>,
    asked: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    time: u64,
    seq: u64,
    what: T,
}

impl<T> Entry<T> {
    fn key(&self) -> u128 {
        u128::from(self.time) << 64 | u128::from(self.seq)
    }
}

impl<T: Copy> Queue<T> {
    /// An empty queue.
    pub(crate) fn new() -> Queue<T> {
        Queue {
            heap: Vec::with_capacity(64),
            asked: 0,
        }
    }
    /// How many entries there are, stale ones included.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
    /// When the next entry is due, in nanoseconds of true time.
    pub(crate) fn next_time(&self) -> Option<u64> {
        self.heap.first().map(|entry| entry.time)
    }
    /// All entries, in no particular order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, u64, &T)> {
        self.heap.iter().map(|entry| (entry.time, entry.seq, &entry.what))
    }
    /// Adds an entry.
    pub(crate) fn push(&mut self, time: u64, what: T) {
        self.asked += 1;
        let entry = Entry {
            time,
            seq: self.asked,
            what,
        };
        let key = entry.key();
        let mut hole = self.heap.len();
        self.heap.push(entry);
        while hole > 0 {
            let parent = (hole - 1) / 4;
            if self.heap[parent].key() <= key {
                break;
            }
            self.heap[hole] = self.heap[parent];
            hole = parent;
        }
        self.heap[hole] = entry;
    }
    /// Takes the earliest entry.
    pub(crate) fn pop(&mut self) -> Option<(u64, T)> {
        let last = self.heap.pop()?;
        let Some(first) = self.heap.first().copied() else {
            return Some((last.time, last.what));
        };
        let key = last.key();
        let mut hole = 0;
        loop {
            let child = hole * 4 + 1;
            let Some(children) = self.heap.get(child..self.heap.len().min(child + 4)) else {
                break;
            };
            let mut least = 0;
            let mut least_key = u128::MAX;
            for (i, entry) in children.iter().enumerate() {
                if entry.key() < least_key {
                    least = i;
                    least_key = entry.key();
                }
            }
            if key <= least_key {
                break;
            }
            self.heap[hole] = self.heap[child + least];
            hole = child + least;
        }
        self.heap[hole] = last;
        Some((first.time, first.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Streams;

    #[test]
    fn entries_leave_by_time_and_then_by_age() {
        let mut stream = Streams::new(1).stream("queue");
        let mut queue = Queue::new();
        let mut expected = Vec::new();
        for i in 0..2000u64 {
            let time = stream.below(50);
            queue.push(time, i);
            expected.push((time, i));
            // Mixed with removals, so that the heap is also right while it shrinks.
            if stream.chance(300_000) {
                let (least, _) = expected.iter().enumerate().min_by_key(|(_, e)| **e).expect("one");
                assert_eq!(queue.pop(), Some(expected.remove(least)));
            }
        }
        expected.sort_unstable();
        for entry in expected {
            assert_eq!(queue.next_time(), Some(entry.0));
            assert_eq!(queue.pop(), Some(entry));
        }
        assert_eq!(queue.pop(), None);
        assert_eq!(queue.len(), 0);
    }
}
