//! The leader-epoch cache: which leader epoch begins at which offset.
//!
//! Guarantees: epochs and offsets both strictly ascend. A new entry that does not fit removes the old ones that it
//! contradicts, never the other way round. Its file is `leader-epoch-checkpoint` in Kafka's text format.
//!
//! The file is written at every change, to a temporary name that is renamed over, without waiting for the platter;
//! the next flush of the log makes it durable before the recovery point moves. So after a power failure the file may
//! be old or gone, but never older than the recovery point: recovery keeps its entries below the part that it scans,
//! if they agree with the batches there, and folds the rest from the log (KAFKA-16541).
//!
//! ```text
//!   assigned as leader at the log end:   (5, 100)        100 = log end, no record yet        (KAFKA-7415)
//!   truncated to 100:                    gone            even if no record was cut           (KAFKA-10706)
//!   log start moves to 40 in (2, 30):    (2, 40)         the epoch that is valid there stays
//! ```
//!
//! Sources: Kafka's LeaderEpochFileCache; KIP-101, KIP-279, KAFKA-7415, KAFKA-10706, KAFKA-10432, KAFKA-16541.

use super::checkpoint;
use crate::types::{LeaderEpoch, Offset};

/// The file's name in the directory of a log.
pub const FILE: &str = "leader-epoch-checkpoint";

/// The cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EpochCache {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl EpochCache {
    /// From the file's text. `None`: not legible, or not ascending.
    pub fn parse(text: &[u8]) -> Option<EpochCache> {
        let entries = checkpoint::parse_epochs(std::str::from_utf8(text).ok()?).ok()?;
        let ascending = entries
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        let real = entries.iter().all(|(epoch, offset)| epoch.0 >= 0 && *offset >= 0);
        (ascending && real).then_some(EpochCache { entries })
    }

    /// The file's text.
    pub fn text(&self) -> String {
        checkpoint::epochs_text(&self.entries)
    }

    /// (epoch, start offset), ascending.
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// The last epoch.
    pub fn last(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.0)
    }

    /// `epoch` starts at `start`, at the latest. True if that is news.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        assert!(epoch.0 >= 0 && start >= 0, "an epoch that is assigned is a real one");
        if self
            .entries
            .last()
            .is_some_and(|last| last.0 == epoch && last.1 <= start)
        {
            return false;
        }
        while self
            .entries
            .last()
            .is_some_and(|last| last.0 >= epoch || last.1 >= start)
        {
            self.entries.pop();
        }
        self.entries.push((epoch, start));
        true
    }

    /// Forgets epochs that start at `end` or later. True if there were any.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let keep = self.entries.partition_point(|entry| entry.1 < end);
        let changed = keep < self.entries.len();
        self.entries.truncate(keep);
        changed
    }

    /// Forgets epochs that are over before `start`; the one that is valid there then begins there. True if
    /// something changed.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let older = self.entries.partition_point(|entry| entry.1 <= start);
        let Some(valid) = older.checked_sub(1) else {
            return false;
        };
        if valid == 0 && self.entries[0].1 == start {
            return false;
        }
        self.entries[valid].1 = start;
        self.entries.drain(..valid);
        true
    }

    /// Forgets everything. True if there was something.
    pub fn clear(&mut self) -> bool {
        let changed = !self.entries.is_empty();
        self.entries.clear();
        changed
    }

    /// The largest epoch that is at most `epoch`, and where it ends.
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let above = self.entries.partition_point(|entry| entry.0 <= epoch);
        let found = self.entries.get(above.checked_sub(1)?)?.0;
        Some((found, self.entries.get(above).map_or(log_end, |next| next.1)))
    }

    /// The epoch that is valid at `offset`.
    pub fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.1 <= offset);
        Some(self.entries.get(after.checked_sub(1)?)?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, Offset)]) -> EpochCache {
        let mut cache = EpochCache::default();
        for (epoch, start) in entries {
            assert!(cache.assign(LeaderEpoch(*epoch), *start));
        }
        cache
    }

    fn list(cache: &EpochCache) -> Vec<(i32, Offset)> {
        cache.entries().iter().map(|entry| (entry.0.0, entry.1)).collect()
    }

    #[test]
    fn a_new_entry_removes_what_it_contradicts() {
        let base = cache(&[(1, 0), (3, 10), (5, 20)]);
        let with = |epoch, start| {
            let mut cache = base.clone();
            let news = cache.assign(LeaderEpoch(epoch), start);
            (news, list(&cache))
        };
        assert_eq!(with(5, 25), (false, vec![(1, 0), (3, 10), (5, 20)]));
        assert_eq!(with(5, 15), (true, vec![(1, 0), (3, 10), (5, 15)]));
        assert_eq!(with(6, 20), (true, vec![(1, 0), (3, 10), (6, 20)]));
        assert_eq!(with(6, 10), (true, vec![(1, 0), (6, 10)]));
        assert_eq!(with(4, 30), (true, vec![(1, 0), (3, 10), (4, 30)]));
        assert_eq!(with(0, 0), (true, vec![(0, 0)]));
    }

    #[test]
    fn truncation_from_both_ends() {
        let base = cache(&[(1, 0), (3, 10), (5, 20)]);
        let end = |at| {
            let mut cache = base.clone();
            (cache.truncate_from_end(at), list(&cache))
        };
        assert_eq!(end(21), (false, vec![(1, 0), (3, 10), (5, 20)]));
        assert_eq!(end(20), (true, vec![(1, 0), (3, 10)]));
        assert_eq!(end(0), (true, vec![]));
        let start = |at| {
            let mut cache = base.clone();
            (cache.truncate_from_start(at), list(&cache))
        };
        assert_eq!(start(0), (false, vec![(1, 0), (3, 10), (5, 20)]));
        assert_eq!(start(5), (true, vec![(1, 5), (3, 10), (5, 20)]));
        assert_eq!(start(10), (true, vec![(3, 10), (5, 20)]));
        assert_eq!(start(99), (true, vec![(5, 99)]));
    }

    #[test]
    fn end_of_an_epoch_and_of_one_that_never_was() {
        let cache = cache(&[(1, 0), (3, 10), (5, 20)]);
        let end = |epoch| {
            cache
                .end_offset_for(LeaderEpoch(epoch), 30)
                .map(|found| (found.0.0, found.1))
        };
        assert_eq!(end(0), None);
        assert_eq!(end(1), Some((1, 10)));
        assert_eq!(end(2), Some((1, 10)), "the answer names the epoch it is about");
        assert_eq!(end(3), Some((3, 20)));
        assert_eq!(end(5), Some((5, 30)));
        assert_eq!(end(9), Some((5, 30)));
        assert_eq!(EpochCache::default().end_offset_for(LeaderEpoch(1), 30), None);
    }

    #[test]
    fn epoch_at_an_offset() {
        let cache = cache(&[(1, 5), (3, 10)]);
        let at = |offset| cache.at(offset).map(|epoch| epoch.0);
        assert_eq!(
            [at(4), at(5), at(9), at(10), at(99)],
            [None, Some(1), Some(1), Some(3), Some(3)]
        );
    }

    #[test]
    fn text_is_kafkas_and_comes_back() {
        let base = cache(&[(0, 0), (3, 10)]);
        assert_eq!(base.text(), "0\n2\n0 0\n3 10\n");
        assert_eq!(EpochCache::parse(base.text().as_bytes()), Some(base));
        for bad in [
            "",
            "1\n0\n",
            "0\n2\n0 0\n",
            "0\n1\n0 0\n1 1\n",
            "0\n1\nx 0\n",
            "0\n2\n1 5\n2 5\n",
            "0\n1\n-1 0\n",
            "0\n1\n0",
        ] {
            assert_eq!(EpochCache::parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(EpochCache::parse(&[0; 20]), None);
    }
}
