//! The shadow of one log: which batch stands at each offset, without its bytes.
//!
//! Guarantees: a few bytes a batch, however far apart their offsets are (base offsets are not under a batch's checksum,
//! so that a flipped bit of one makes a log of billions of offsets); every operation costs the batches that it touches. An
//! offset of unknown content is a [`Cell::HOLE`], which agrees with everything, so that ignorance never makes a violation.

use kafka::types::Offset;

/// What stands at one offset: the epoch, and the number of the batch in its partition's table of contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub epoch: i32,
    pub batch: u32,
}

impl Cell {
    /// Something unknown.
    pub const HOLE: Cell = Cell {
        epoch: -1,
        batch: u32::MAX,
    };

    /// No record, though there are records behind it.
    pub const NOTHING: Cell = Cell {
        epoch: -1,
        batch: u32::MAX - 1,
    };

    /// Whether both can be the same record.
    pub fn agrees(self, other: Cell) -> bool {
        self == other || self == Cell::HOLE || other == Cell::HOLE
    }
}

/// One log, from `base` on; what lies between `base` and `start` is deleted, but may come back in a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shadow {
    /// First offset that a reader may ask for.
    pub start: Offset,
    base: Offset,
    /// What stands up to an offset (exclusive), from the end of the run before on. Ends ascend, neighbours differ.
    runs: Vec<(Offset, Cell)>,
}

impl Shadow {
    /// Empty, at `at`.
    pub fn at(at: Offset) -> Shadow {
        Shadow {
            start: at,
            base: at,
            runs: Vec::new(),
        }
    }

    /// Next offset.
    pub fn end(&self) -> Offset {
        self.runs.last().map_or(self.base, |run| run.0)
    }

    /// First offset that is not deleted for good, and what stands from there on, each up to an offset.
    pub fn runs(&self) -> (Offset, &[(Offset, Cell)]) {
        (self.base, &self.runs)
    }

    /// What stands at `offset`, if it is in this log or was deleted from its beginning.
    pub fn get(&self, offset: Offset) -> Option<Cell> {
        self.run(offset).0
    }

    /// What stands in it, each run once.
    pub fn cells(&self) -> impl Iterator<Item = Cell> {
        self.runs.iter().map(|run| run.1)
    }

    /// What stands at `offset`, and up to which offset (exclusive) it goes on.
    fn run(&self, offset: Offset) -> (Option<Cell>, Offset) {
        if offset < self.base {
            return (None, self.base);
        }
        let at = self.runs.partition_point(|run| run.0 <= offset);
        self.runs
            .get(at)
            .map_or((None, Offset::MAX), |run| (Some(run.1), run.0))
    }

    /// The first offset of `from..to` where what stands in both logs is as `wanted`.
    pub fn find(
        &self,
        other: &Shadow,
        from: Offset,
        to: Offset,
        wanted: impl Fn(Option<Cell>, Option<Cell>) -> bool,
    ) -> Option<Offset> {
        let mut at = from;
        while at < to {
            let ((ours, our_end), (its, its_end)) = (self.run(at), other.run(at));
            if wanted(ours, its) {
                return Some(at);
            }
            at = our_end.min(its_end);
        }
        None
    }

    /// The first offset of `from..to` where both logs hold something, and not the same.
    pub fn differs(&self, other: &Shadow, from: Offset, to: Offset) -> Option<Offset> {
        self.find(other, from, to, |ours, its| match (ours, its) {
            (Some(ours), Some(its)) => !ours.agrees(its),
            _ => false,
        })
    }

    /// As [`Shadow::put`], but that nothing stands in the gap before it is known.
    pub fn append(&mut self, first: Offset, last: Offset, cell: Cell) {
        if !self.runs.is_empty() {
            self.extend(first, Cell::NOTHING);
        }
        self.put(first, last, cell);
    }

    /// Adds `cell` at `first..=last`. Fills a gap before it with holes, cuts what it overlaps.
    pub fn put(&mut self, first: Offset, last: Offset, cell: Cell) {
        self.truncate(first);
        if self.runs.is_empty() && first > self.base {
            self.base = first;
            self.start = self.start.max(first);
        }
        self.extend(first, Cell::HOLE);
        self.extend(last.saturating_add(1), cell);
    }

    /// Extends with holes up to `end`; an empty log keeps its beginning.
    pub fn fill_holes(&mut self, end: Offset) {
        self.extend(end, Cell::HOLE);
    }

    /// Extends with what stands in `log`, up to `to`; with holes where nothing does.
    pub fn extend_from(&mut self, log: &Shadow, to: Offset) {
        while self.end() < to {
            let (cell, end) = log.run(self.end());
            self.extend(end.min(to), cell.unwrap_or(Cell::HOLE));
        }
    }

    fn extend(&mut self, end: Offset, cell: Cell) {
        if end <= self.end() {
            return;
        }
        match self.runs.last_mut() {
            Some(last) if last.1 == cell => last.0 = end,
            _ => self.runs.push((end, cell)),
        }
    }

    /// The new end is `to`, if that is below the end.
    pub fn truncate(&mut self, to: Offset) {
        if to < self.base {
            self.restart(to);
            return;
        }
        if to < self.end() {
            let at = self.runs.partition_point(|run| run.0 < to);
            self.runs.truncate(at + 1);
            self.runs[at].0 = to;
            if to == self.base {
                self.runs.clear();
            }
        }
        self.start = self.start.min(to);
    }

    /// Empty, at `at`.
    pub fn restart(&mut self, at: Offset) {
        *self = Shadow::at(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(batch: u32) -> Cell {
        Cell { epoch: 0, batch }
    }

    #[test]
    fn keeps_what_stands_where() {
        let mut log = Shadow::at(5);
        log.put(5, 7, cell(0));
        log.put(8, 8, cell(1));
        assert_eq!(
            (log.end(), log.get(7), log.get(8), log.get(4), log.get(9)),
            (9, Some(cell(0)), Some(cell(1)), None, None)
        );
        log.truncate(6);
        assert_eq!((log.end(), log.get(5), log.get(6)), (6, Some(cell(0)), None));
        log.put(8, 8, cell(2));
        assert_eq!((log.get(6), log.get(8)), (Some(Cell::HOLE), Some(cell(2))));
        log.put(7, 7, cell(3));
        assert_eq!((log.end(), log.get(7)), (8, Some(cell(3))));
        log.append(10, 10, cell(4));
        assert_eq!((log.get(9), log.get(10)), (Some(Cell::NOTHING), Some(cell(4))));
        log.truncate(8);
        log.truncate(2);
        assert_eq!((log.start, log.end()), (2, 2));
    }

    #[test]
    fn billions_of_offsets_cost_nothing() {
        let (mut log, mut other) = (Shadow::at(0), Shadow::at(0));
        log.put(0, 1, cell(0));
        other.put(0, 1, cell(0));
        log.put(1 << 40, 1 << 41, cell(1));
        assert_eq!((log.get(5), log.get(1 << 40)), (Some(Cell::HOLE), Some(cell(1))));
        other.extend_from(&log, (1 << 40) + 7);
        assert_eq!(other.end(), (1 << 40) + 7);
        assert_eq!(log.differs(&other, 0, 1 << 41), None);
        other.put((1 << 40) + 3, 1 << 41, cell(2));
        assert_eq!(log.differs(&other, 0, 1 << 41), Some((1 << 40) + 3));
        let missing = log.find(&Shadow::at(9), 0, 1 << 41, |ours, its| ours.is_some() && its.is_none());
        assert_eq!(missing, Some(0));
        assert!(log.runs.len() <= 3 && other.runs.len() <= 4);
    }

    #[test]
    fn is_what_a_plain_list_is() {
        // Puts and cuts at small offsets, against a list with a cell for each offset.
        let mut seed = 1u64;
        let mut below = |n: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((seed >> 33) % n) as Offset
        };
        let (mut log, mut plain) = (Shadow::at(0), Vec::new());
        for number in 0..2_000 {
            let end = plain.len() as u64;
            if end > 40 || below(4) == 0 {
                let to = below(end + 2);
                log.truncate(to);
                plain.truncate(to as usize);
            } else {
                // Not behind an empty log, which would begin anew there.
                let first = if end == 0 { 0 } else { below(end + 3) };
                let last = first + below(3);
                let put = cell(number);
                log.put(first, last, put);
                plain.resize(first as usize, Cell::HOLE);
                plain.resize(last as usize + 1, put);
            }
            assert_eq!(log.end(), plain.len() as Offset);
            for offset in 0..50 {
                assert_eq!(log.get(offset), plain.get(offset as usize).copied());
            }
            assert!(
                log.runs
                    .windows(2)
                    .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1)
            );
        }
    }

    #[test]
    fn a_hole_agrees_with_everything_and_cells_only_with_themselves() {
        assert!(Cell::NOTHING.agrees(Cell::HOLE) && !Cell::NOTHING.agrees(cell(1)));
        assert!(cell(1).agrees(cell(1)) && cell(1).agrees(Cell::HOLE) && Cell::HOLE.agrees(cell(1)));
        assert!(!cell(1).agrees(cell(2)));
        assert!(!cell(1).agrees(Cell { epoch: 1, batch: 1 }));
    }
}
