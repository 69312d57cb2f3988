//! A log as runs: consecutive records that one leader epoch wrote one after the other.
//!
//! A log of a million records of one epoch is one run, so real traces cost what they change and not what they hold. The
//! form is canonical: neighbours that could be one run are one, so equal logs compare and hash as equal.

/// Number of a leader epoch.
pub type Epoch = u16;
/// Place in a log; as an end it is exclusive.
pub type Offset = u32;
/// Identity of a record: the order in which producers handed them over.
pub type Record = u32;

/// Records `record .. record + len`, all of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    /// Written in this leader epoch.
    pub epoch: Epoch,
    /// The first of them.
    pub record: Record,
    /// How many, at least 1.
    pub len: u32,
}

/// What stands at one offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Written in this leader epoch.
    pub epoch: Epoch,
    /// Which record.
    pub record: Record,
}

/// A log from offset 0, or a piece of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Log(Vec<Run>);

impl Log {
    /// The next offset.
    pub fn end(&self) -> Offset {
        self.0.iter().map(|run| run.len).sum()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its runs in order.
    pub fn runs(&self) -> &[Run] {
        &self.0
    }

    /// What stands there.
    pub fn get(&self, offset: Offset) -> Option<Entry> {
        let mut start = 0;
        for run in &self.0 {
            if offset < start + run.len {
                return Some(Entry {
                    epoch: run.epoch,
                    record: run.record + (offset - start),
                });
            }
            start += run.len;
        }
        None
    }

    /// Adds a run at the end.
    pub fn push(&mut self, run: Run) {
        assert!(run.len > 0, "a run holds something");
        match self.0.last_mut() {
            Some(last) if last.epoch == run.epoch && last.record + last.len == run.record => last.len += run.len,
            _ => self.0.push(run),
        }
    }

    /// Adds another log at the end.
    pub fn extend(&mut self, other: &Log) {
        other.0.iter().for_each(|run| self.push(*run));
    }

    /// Cuts everything from `to` on.
    pub fn truncate(&mut self, to: Offset) {
        let mut left = to;
        let mut keep = 0;
        for run in &mut self.0 {
            if left == 0 {
                break;
            }
            run.len = run.len.min(left);
            left -= run.len;
            keep += 1;
        }
        self.0.truncate(keep);
    }

    /// The records in `from .. to`.
    pub fn slice(&self, from: Offset, to: Offset) -> Log {
        let mut piece = Log::default();
        let mut start = 0;
        for run in &self.0 {
            let (first, last) = (from.max(start), to.min(start + run.len));
            if first < last {
                piece.push(Run {
                    epoch: run.epoch,
                    record: run.record + (first - start),
                    len: last - first,
                });
            }
            start += run.len;
        }
        piece
    }

    /// Epoch of the last record.
    pub fn last_epoch(&self) -> Option<Epoch> {
        self.0.last().map(|run| run.epoch)
    }

    /// Where the first record of an epoch above this one stands, if there is one.
    pub fn start_above(&self, epoch: Epoch) -> Option<Offset> {
        let mut start = 0;
        for run in &self.0 {
            if run.epoch > epoch {
                return Some(start);
            }
            start += run.len;
        }
        None
    }

    /// The largest epoch of a record that is not above this one.
    pub fn epoch_at_most(&self, epoch: Epoch) -> Option<Epoch> {
        self.0.iter().map(|run| run.epoch).filter(|known| *known <= epoch).max()
    }

    /// How far two logs are the same.
    pub fn common_prefix(&self, other: &Log) -> Offset {
        let mut same = 0;
        for (ours, theirs) in self.0.iter().zip(&other.0) {
            if ours.epoch != theirs.epoch || ours.record != theirs.record {
                break;
            }
            same += ours.len.min(theirs.len);
            if ours.len != theirs.len {
                break;
            }
        }
        same
    }

    /// Whether all of `other` is the beginning of it.
    pub fn starts_with(&self, other: &Log) -> bool {
        self.common_prefix(other) == other.end()
    }
}

impl std::fmt::Display for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[")?;
        for (i, run) in self.0.iter().enumerate() {
            let gap = if i == 0 { "" } else { " " };
            match run.len {
                1 => write!(f, "{gap}{}@{}", run.record, run.epoch)?,
                len => write!(f, "{gap}{}-{}@{}", run.record, run.record + len - 1, run.epoch)?,
            }
        }
        write!(f, "]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(runs: &[(Epoch, Record, u32)]) -> Log {
        let mut log = Log::default();
        for (epoch, record, len) in runs {
            log.push(Run {
                epoch: *epoch,
                record: *record,
                len: *len,
            });
        }
        log
    }

    #[test]
    fn neighbours_that_could_be_one_run_are_one() {
        assert_eq!(log(&[(0, 0, 2), (0, 2, 3)]), log(&[(0, 0, 5)]));
        assert_ne!(log(&[(0, 0, 2), (1, 2, 3)]), log(&[(0, 0, 5)]));
        let mut cut = log(&[(0, 0, 5), (2, 9, 1)]);
        cut.truncate(3);
        assert_eq!(cut, log(&[(0, 0, 3)]));
        cut.truncate(0);
        assert!(cut.is_empty());
    }

    #[test]
    fn offsets_find_their_entries() {
        let log = log(&[(0, 0, 2), (1, 7, 2)]);
        let at = |offset| log.get(offset).map(|entry| (entry.epoch, entry.record));
        assert_eq!(
            [at(0), at(1), at(2), at(3), at(4)],
            [Some((0, 0)), Some((0, 1)), Some((1, 7)), Some((1, 8)), None]
        );
        assert_eq!(log.slice(1, 3).to_string(), "[1@0 7@1]");
        assert_eq!((log.start_above(0), log.start_above(1)), (Some(2), None));
        assert_eq!((log.epoch_at_most(5), log.epoch_at_most(0)), (Some(1), Some(0)));
    }

    #[test]
    fn a_common_prefix_ends_where_epoch_or_record_differ() {
        let ours = log(&[(0, 0, 3)]);
        assert_eq!(ours.common_prefix(&log(&[(0, 0, 2), (1, 2, 1)])), 2);
        assert_eq!(ours.common_prefix(&log(&[(0, 0, 2), (0, 5, 1)])), 2);
        assert_eq!(ours.common_prefix(&log(&[(0, 0, 7)])), 3);
        assert!(ours.starts_with(&log(&[(0, 0, 2)])));
        assert!(!ours.starts_with(&log(&[(0, 0, 4)])));
    }
}
