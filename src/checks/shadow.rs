//! The shadow of one log: which batch stands at each offset, without its bytes.
//!
//! Guarantees: eight bytes an offset; every operation costs what it touches. An offset of unknown content is a
//! [`Cell::HOLE`], which agrees with everything, so that ignorance never makes a violation.

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
    cells: Vec<Cell>,
}

impl Shadow {
    /// Empty, at `at`.
    pub fn at(at: Offset) -> Shadow {
        Shadow {
            start: at,
            base: at,
            cells: Vec::new(),
        }
    }

    /// Next offset.
    pub fn end(&self) -> Offset {
        self.base + self.cells.len() as Offset
    }

    /// What stands at `offset`, if it is in this log or was deleted from its beginning.
    pub fn get(&self, offset: Offset) -> Option<Cell> {
        self.cells.get(usize::try_from(offset - self.base).ok()?).copied()
    }

    /// Adds `cell` at `first..=last`. Fills a gap before it with holes, cuts what it overlaps.
    pub fn put(&mut self, first: Offset, last: Offset, cell: Cell) {
        self.truncate(first);
        self.fill(first);
        self.cells.resize((last + 1 - self.base).max(0) as usize, cell);
    }

    /// Extends with holes up to `end`.
    pub fn fill(&mut self, end: Offset) {
        if self.cells.is_empty() && end > self.base {
            self.base = end;
            self.start = self.start.max(end);
        } else if end > self.end() {
            self.cells.resize((end - self.base) as usize, Cell::HOLE);
        }
    }

    /// Like [`Shadow::fill`], but an empty log keeps its beginning.
    pub fn fill_holes(&mut self, end: Offset) {
        let len = (end - self.base).max(0) as usize;
        if len > self.cells.len() {
            self.cells.resize(len, Cell::HOLE);
        }
    }

    /// The new end is `to`, if that is below the end.
    pub fn truncate(&mut self, to: Offset) {
        if to < self.base {
            self.restart(to);
        } else {
            self.cells.truncate((to - self.base) as usize);
            self.start = self.start.min(to);
        }
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
        log.truncate(2);
        assert_eq!((log.start, log.end()), (2, 2));
    }

    #[test]
    fn a_hole_agrees_with_everything_and_cells_only_with_themselves() {
        assert!(cell(1).agrees(cell(1)) && cell(1).agrees(Cell::HOLE) && Cell::HOLE.agrees(cell(1)));
        assert!(!cell(1).agrees(cell(2)));
        assert!(!cell(1).agrees(Cell { epoch: 1, batch: 1 }));
    }
}
