//! The visited set: open addressing over slots of 16 bytes, nothing else.
//!
//! ```text
//! bit 127      112 111                       64 63                         0
//!     | level     | parent's high 48 bits      | fingerprint               |   hashed
//!     | level     | exact key                                              |   packed
//! ```
//!
//! The level is never 0, so a slot of 0 is free. The same key met again keeps the lower slot: the earlier level, and at
//! the same level the lower parent, whatever thread came first. That is all it takes for traces that do not depend on
//! the number of threads.

use super::fingerprint::spread;
use super::spec::KEY_BITS;

/// Bits of a key's place that choose its shard.
pub(super) const SHARD_BITS: u32 = 6;

const KEY_MASK: u128 = (1 << KEY_BITS) - 1;

/// What is known of a visited state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(pub u128);

/// How slots are made and compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Whether keys are exact.
    pub packed: bool,
}

impl Layout {
    #[inline]
    pub fn mask(self) -> u128 {
        if self.packed { KEY_MASK } else { u64::MAX as u128 }
    }

    /// A slot of a key at a level, reached from another key.
    #[inline]
    pub fn slot(self, key: u128, level: u32, parent: u128) -> Slot {
        debug_assert!(key <= self.mask(), "a key of more bits than there is room for");
        let parent = if self.packed { 0 } else { (parent & PARENT_BITS) << 48 };
        Slot(u128::from(level) << KEY_BITS | parent | key)
    }

    #[inline]
    pub fn key(self, slot: Slot) -> u128 {
        slot.0 & self.mask()
    }

    /// The shard of a key.
    #[inline]
    pub fn shard(self, key: u128) -> usize {
        (self.place(key) >> (64 - SHARD_BITS)) as usize
    }

    /// 64 well-mixed bits of a key: the high ones choose the shard, the next ones the place.
    #[inline]
    fn place(self, key: u128) -> u64 {
        if self.packed { spread(key) } else { key as u64 }
    }
}

/// The bits of a fingerprint that its children remember.
pub(super) const PARENT_BITS: u128 = (u64::MAX as u128) & !0xffff;

impl Slot {
    #[inline]
    pub fn level(self) -> u32 {
        (self.0 >> KEY_BITS) as u32
    }

    /// The high 48 of the parent's 64 bits, in their place. Hashed layout only.
    pub fn parent(self) -> u128 {
        self.0 >> 48 & PARENT_BITS
    }
}

/// One shard of the visited set.
#[derive(Debug)]
pub(super) struct Table {
    layout: Layout,
    slots: Vec<u128>,
    used: usize,
}

impl Table {
    pub fn new(layout: Layout) -> Table {
        Table {
            layout,
            slots: vec![0; 16],
            used: 0,
        }
    }

    pub fn bytes(&self) -> usize {
        self.slots.len() * size_of::<u128>()
    }

    /// Makes room for so many more slots, at most three quarters full. Growing by half instead of doubling keeps the room
    /// that stands empty small.
    pub fn reserve(&mut self, more: usize) {
        let wanted = self.used + more;
        if wanted * 4 <= self.slots.len() * 3 {
            return;
        }
        let length = (self.slots.len() * 3 / 2).max(wanted * 4 / 3 + 1);
        let old = std::mem::replace(&mut self.slots, vec![0; length]);
        self.used = 0;
        for slot in old {
            if slot != 0 {
                self.insert(Slot(slot));
            }
        }
    }

    /// Where a key is looked for first.
    #[inline]
    pub fn start(&self, key: u128) -> usize {
        let place = self.layout.place(key) << SHARD_BITS;
        ((u128::from(place) * self.slots.len() as u128) >> 64) as usize
    }

    /// Reads a place, so that a batch's places are on their way from memory together.
    #[inline]
    pub fn touch(&self, place: usize) -> u64 {
        self.slots[place] as u64
    }

    /// Puts a state in; true if it was not there. Room must have been reserved.
    pub fn insert(&mut self, slot: Slot) -> bool {
        self.insert_at(self.start(self.layout.key(slot)), slot)
    }

    /// The same, from where its key is looked for first.
    #[inline]
    pub fn insert_at(&mut self, start: usize, slot: Slot) -> bool {
        let mask = self.layout.mask();
        let mut at = start;
        loop {
            let there = &mut self.slots[at];
            if *there == 0 {
                *there = slot.0;
                self.used += 1;
                return true;
            }
            if (*there ^ slot.0) & mask == 0 {
                if slot.0 < *there {
                    *there = slot.0;
                }
                return false;
            }
            at += 1;
            if at == self.slots.len() {
                at = 0;
            }
        }
    }

    /// Every slot in use.
    pub fn iter(&self) -> impl Iterator<Item = Slot> {
        self.slots.iter().filter(|slot| **slot != 0).map(|slot| Slot(*slot))
    }

    /// The slot of a key.
    pub fn get(&self, key: u128) -> Option<Slot> {
        let mask = self.layout.mask();
        self.run(self.start(key), self.start(key))
            .find(|slot| slot.0 & mask == key)
    }

    /// The slots whose fingerprint has these high 48 bits. Hashed layout only.
    pub fn with_high_bits(&self, bits: u128) -> impl Iterator<Item = Slot> {
        self.run(self.start(bits), self.start(bits | 0xffff))
            .filter(move |slot| slot.0 & PARENT_BITS == bits)
    }

    /// Slots from a place up to the first free one at or after another place.
    fn run(&self, from: usize, to: usize) -> impl Iterator<Item = Slot> {
        let length = self.slots.len();
        (from..from + length)
            .map(move |at| (at, self.slots[at % length]))
            .take_while(move |(at, slot)| *slot != 0 || *at < to)
            .filter(|(_, slot)| *slot != 0)
            .map(|(_, slot)| Slot(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::{Layout, Table};

    #[test]
    fn a_key_met_again_keeps_its_earlier_level_and_its_lower_parent() {
        let layout = Layout { packed: false };
        let mut table = Table::new(layout);
        let parents = [7u128 << 16, 3 << 16, 9 << 16];
        let fresh = parents.map(|parent| {
            table.reserve(1);
            table.insert(layout.slot(42, 5, parent))
        });
        assert_eq!(fresh, [true, false, false]);
        assert_eq!(table.get(42).map(|slot| slot.parent()), Some(3 << 16));
        assert!(!table.insert(layout.slot(42, 6, 0)));
        assert_eq!(
            table.get(42).map(|slot| (slot.level(), slot.parent())),
            Some((5, 3 << 16))
        );
        assert_eq!(table.get(43), None);
    }

    #[test]
    fn everything_put_in_is_found_again_after_growing() {
        for packed in [false, true] {
            let layout = Layout { packed };
            let mut table = Table::new(layout);
            let keys = || (1..5_000u64).map(|i| u128::from(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            for key in keys() {
                table.reserve(1);
                assert!(table.insert(layout.slot(key, 1, 0)));
            }
            for key in keys() {
                assert_eq!(table.get(key).map(|slot| layout.key(slot)), Some(key));
                if !packed {
                    let bits = key & super::PARENT_BITS;
                    assert!(table.with_high_bits(bits).any(|slot| layout.key(slot) == key));
                }
            }
            assert_eq!(table.iter().count(), 4_999);
            assert!(table.bytes() <= 4_999 * 16 * 2);
        }
    }
}
