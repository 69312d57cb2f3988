//! Steps that were taken before.
//!
//! A machine's step is a function of its state and of what happens to it. The same few thousand states of one node stand
//! in millions of states of a cluster, so most steps were taken before, and looking one up costs a tenth of taking it.
//!
//! Guarantees: bounded; forgetting costs time, never a result, so counts do not depend on it.

use std::sync::{Arc, Mutex, PoisonError};

/// A place, and what fell on it last.
type Slot<T> = Mutex<Option<(u128, Arc<T>)>>;

/// What was computed last, by digest.
pub struct Memo<T> {
    slots: Vec<Slot<T>>,
}

impl<T> Memo<T> {
    /// With 2 to the `bits` places.
    pub fn new(bits: u32) -> Memo<T> {
        Memo {
            slots: (0..1_usize << bits).map(|_| Mutex::new(None)).collect(),
        }
    }

    /// What was computed for `key`, or what `compute` gives now.
    pub fn get_or(&self, key: u128, compute: impl FnOnce() -> T) -> Arc<T> {
        let slot = &self.slots[(key >> 64) as usize & (self.slots.len() - 1)];
        let lock = || slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, value)) = &*lock()
            && *known == key
        {
            return value.clone();
        }
        let value = Arc::new(compute());
        *lock() = Some((key, value.clone()));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::Memo;

    #[test]
    fn knows_what_it_computed_last_at_a_place_and_computes_the_rest() {
        let memo = Memo::new(0);
        let mut computed = Vec::new();
        for key in [7_u128, 7, 9, 9, 7] {
            let value = memo.get_or(key, || {
                computed.push(key);
                key * 2
            });
            assert_eq!(*value, key * 2);
        }
        assert_eq!(computed, [7, 9, 7]);
    }
}
