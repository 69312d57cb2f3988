//! Digests of 128 bits, so that states are compared without being kept.

use std::hash::{Hash, Hasher};
use xxhash_rust::xxh3::Xxh3Default;

/// Collects what is hashed.
#[derive(Default)]
pub struct Digester(Xxh3Default);

impl Hasher for Digester {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.digest()
    }
}

impl Digester {
    /// All that came in.
    pub fn all(&self) -> u128 {
        self.0.digest128()
    }
}

/// The digest of one value.
pub fn digest(value: &impl Hash) -> u128 {
    let mut digester = Digester::default();
    value.hash(&mut digester);
    digester.all()
}
