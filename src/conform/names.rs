//! What stands at an offset in an epoch: the model's name of a record that a real leader has appended.

use model::replication::{Epoch, Log, Offset, Record, Run};
use std::collections::BTreeMap;

/// Records by the leader epoch and offset that they were given.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// By epoch and first offset: how many, and the name of the first.
    runs: BTreeMap<(Epoch, Offset), (u32, Record)>,
}

impl Names {
    /// A leader has appended these.
    pub fn learn(&mut self, base: Offset, run: Run) {
        let before = self.runs.range_mut(..(run.epoch, base)).next_back();
        if let Some(((epoch, first), (len, record))) = before
            && *epoch == run.epoch
            && first + *len == base
            && *record + *len == run.record
        {
            *len += run.len;
            return;
        }
        self.runs.insert((run.epoch, base), (run.len, run.record));
    }

    /// The records of an epoch in `from .. to`, as far as anybody has been seen to append them.
    pub fn find(&self, epoch: Epoch, from: Offset, to: Offset) -> Log {
        let mut log = Log::default();
        let mut at = from;
        while at < to {
            let Some(((_, first), (len, record))) = self.runs.range((epoch, 0)..=(epoch, at)).next_back() else {
                break;
            };
            let end = to.min(first + len);
            if end <= at {
                break;
            }
            log.push(Run {
                epoch,
                record: record + (at - first),
                len: end - at,
            });
            at = end;
        }
        log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_by_epoch_and_offset() {
        let mut names = Names::default();
        let run = |epoch, record, len| Run { epoch, record, len };
        names.learn(0, run(0, 0, 3));
        names.learn(3, run(0, 3, 2));
        names.learn(2, run(1, 9, 4));
        assert_eq!(names.find(0, 1, 5).to_string(), "[1-4@0]");
        assert_eq!(names.find(1, 2, 9).to_string(), "[9-12@1]", "as far as they are known");
        assert!(names.find(2, 0, 1).is_empty());
    }
}
