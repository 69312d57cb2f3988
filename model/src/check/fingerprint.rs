//! 64-bit fingerprints of states: the same on every machine, so that traces chosen by them are too.
//!
//! Two lanes of folded multiplication (a 64 by 64 bit product, its halves xored), joined by a third at the end. With one
//! lane each word of a long state would add its own chance of a collision; with two, only the joining does, and the bound
//! printed with a verdict is honest.

use std::hash::{Hash, Hasher};

const LANE_A: u64 = 0x9e37_79b9_7f4a_7c15;
const LANE_B: u64 = 0xd6e8_feb8_6659_fd93;
const JOIN_A: u64 = 0xa076_1d64_78bd_642f;
const JOIN_B: u64 = 0xe703_7ed1_a0b4_28db;

/// The fingerprint of a state.
pub fn fingerprint<T: Hash>(value: &T) -> u64 {
    let mut lanes = Lanes { a: JOIN_B, b: JOIN_A };
    value.hash(&mut lanes);
    lanes.finish()
}

/// Spreads an exact key over 64 bits: two multiplications.
#[inline]
pub(super) fn spread(key: u128) -> u64 {
    let (low, high) = (key as u64, (key >> 64) as u64);
    fold(low ^ high.wrapping_mul(LANE_B), LANE_A)
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

struct Lanes {
    a: u64,
    b: u64,
}

impl Hasher for Lanes {
    fn finish(&self) -> u64 {
        fold(self.a ^ JOIN_A, self.b ^ JOIN_B)
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.write_u64(u64::from_le_bytes(chunk.try_into().expect("a chunk of eight")));
        }
        let rest = chunks.remainder();
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            // The length is not written by all callers of `write`, so the tail carries its own.
            self.write_u64(u64::from_le_bytes(word) ^ ((rest.len() as u64) << 56));
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.a = fold(self.a ^ word, LANE_A);
        self.b = fold(self.b.rotate_left(23) ^ word, LANE_B);
    }

    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    #[inline]
    fn write_u16(&mut self, number: u16) {
        self.write_u64(u64::from(number));
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::{fingerprint, spread};
    use std::collections::BTreeSet;

    #[test]
    fn near_values_differ_and_so_do_lengths() {
        let mut seen = BTreeSet::new();
        for a in 0..200u8 {
            for b in 0..200u32 {
                assert!(seen.insert(fingerprint(&(a, b))));
            }
        }
        assert_ne!(fingerprint(&vec![0u8; 3]), fingerprint(&vec![0u8; 4]));
        assert_ne!(fingerprint(&[1u64, 0]), fingerprint(&[0u64, 1]));
    }

    #[test]
    fn a_fingerprint_is_the_same_in_every_process() {
        assert_eq!(fingerprint(&(1u64, 2u8, "three")), 16_187_041_027_488_607_084);
    }

    #[test]
    fn keys_that_differ_in_one_bit_are_spread_over_the_high_bits() {
        let shards: BTreeSet<u64> = (0..112).map(|bit| spread(1 << bit) >> 58).collect();
        assert!(shards.len() > 40, "{} of 64", shards.len());
    }
}
