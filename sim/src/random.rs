//! Chance, and the only place it comes from.
//!
//! Every purpose has a stream of its own, named ("link b1>b2", "disk b2", "workload p0", "faults"), derived from the
//! one seed: a new draw in one place does not move the others. What a stream draws can be recorded and played back by
//! name and position, so that a run can be replayed by its choices after the code around them has changed; past the
//! end of a recording the stream goes on with its seed.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What the streams of a run drew, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tape {
    /// Outcomes in the order they were drawn.
    pub streams: BTreeMap<String, Vec<u64>>,
}

/// Makes the streams of one run.
#[derive(Clone, Debug)]
pub struct Streams {
    seed: u64,
    record: bool,
    tape: Option<Arc<Tape>>,
}

impl Streams {
    /// Streams of this seed.
    pub fn new(seed: u64) -> Streams {
        Streams {
            seed,
            record: false,
            tape: None,
        }
    }
    /// The same, remembering every draw.
    #[must_use]
    pub fn recording(mut self) -> Streams {
        self.record = true;
        self
    }
    /// The same, playing `tape` first.
    #[must_use]
    pub fn playing(mut self, tape: Arc<Tape>) -> Streams {
        self.tape = Some(tape);
        self
    }
    /// The stream of this name. Ask for each name once: two streams of one name draw the same.
    pub fn stream(&self, name: &str) -> Stream {
        let mut key = [0u8; 32];
        for (i, part) in key.chunks_exact_mut(8).enumerate() {
            part.copy_from_slice(&xxh3_64_with_seed(name.as_bytes(), self.seed ^ (i as u64) << 56).to_le_bytes());
        }
        key[..8]
            .iter_mut()
            .zip(self.seed.to_le_bytes())
            .for_each(|(k, s)| *k ^= s);
        Stream {
            name: name.to_owned(),
            rng: ChaCha8Rng::from_seed(key),
            record: self.record.then(Vec::new),
            tape: self.tape.clone().filter(|tape| tape.streams.contains_key(name)),
            drawn: 0,
        }
    }
}

/// One named source of chance.
#[derive(Clone, Debug)]
pub struct Stream {
    name: String,
    rng: ChaCha8Rng,
    record: Option<Vec<u64>>,
    tape: Option<Arc<Tape>>,
    drawn: usize,
}

impl Stream {
    fn draw(&mut self, limit: u64, fresh: impl FnOnce(&mut ChaCha8Rng) -> u64) -> u64 {
        // The seed's own draw is always made, so that a miss on the tape falls back to what the seed would say here.
        let seeded = fresh(&mut self.rng);
        let played = self
            .tape
            .as_ref()
            .and_then(|tape| tape.streams[&self.name].get(self.drawn).copied());
        self.drawn += 1;
        let value = played.filter(|value| *value <= limit).unwrap_or(seeded);
        if let Some(record) = &mut self.record {
            record.push(value);
        }
        value
    }
    /// 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.draw(u64::MAX, |rng| rng.next_u64())
    }
    /// Uniform in `0..n`; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n < 2 {
            return 0;
        }
        self.draw(n - 1, |rng| ((u128::from(rng.next_u64()) * u128::from(n)) >> 64) as u64)
    }
    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "empty range {low}..={high}");
        low + self.below((high - low).saturating_add(1))
    }
    /// True `ppm` times in a million.
    pub fn chance(&mut self, ppm: u32) -> bool {
        match ppm {
            0 => false,
            1_000_000.. => true,
            _ => self.below(1_000_000) < u64::from(ppm),
        }
    }
    /// Exponential with this mean, cut at 20 times the mean. Integer arithmetic only, so it is the same on every machine.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        // Inverse of the geometric distribution by its binary expansion: the number of leading zeros of a uniform draw
        // gives the integer part in halvings, the following bits the position between two halvings.
        let bits = self.next_u64() | 1;
        let halvings = u64::from(bits.leading_zeros().min(28));
        let fraction = (bits << halvings << 1) >> 48;
        // ln 2 = 45426 / 65536; linear between two halvings.
        let scaled = (halvings << 16) + (65_536 - fraction);
        ((u128::from(mean) * u128::from(scaled) * 45_426) >> 32) as u64
    }
    /// One of `items`; they must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
    /// Name and recording, when it was made to record.
    pub fn recorded(&self) -> Option<(&str, &[u64])> {
        self.record
            .as_ref()
            .map(|record| (self.name.as_str(), record.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_independent_of_each_other() {
        let streams = Streams::new(7);
        let (mut a, mut b) = (streams.stream("a"), streams.stream("b"));
        let alone: Vec<u64> = (0..10).map(|_| a.next_u64()).collect();
        let mut a = streams.stream("a");
        let mixed: Vec<u64> = (0..10)
            .map(|_| {
                b.next_u64();
                a.next_u64()
            })
            .collect();
        assert_eq!(alone, mixed);
        assert_ne!(alone[0], streams.stream("b").next_u64());
        assert_ne!(alone[0], Streams::new(8).stream("a").next_u64());
    }

    #[test]
    fn a_tape_overrides_the_seed_and_falls_back_to_it() {
        let mut recorded = Streams::new(1).recording().stream("x");
        let drawn: Vec<u64> = (0..5).map(|_| recorded.below(1000)).collect();
        let (name, values) = recorded.recorded().expect("recording");
        let tape = Arc::new(Tape {
            streams: BTreeMap::from([(name.to_owned(), values.to_vec())]),
        });
        let mut played = Streams::new(2).playing(tape).stream("x");
        let again: Vec<u64> = (0..5).map(|_| played.below(1000)).collect();
        assert_eq!(drawn, again);
        let mut seeded = Streams::new(2).stream("x");
        (0..5).for_each(|_| {
            seeded.below(1000);
        });
        assert_eq!(played.below(1000), seeded.below(1000), "past its end the seed goes on");
    }

    #[test]
    fn exponential_has_the_mean_it_is_asked_for() {
        let mut stream = Streams::new(3).stream("e");
        let sum: u64 = (0..100_000).map(|_| stream.exponential(1000)).sum();
        assert!((950..1080).contains(&(sum / 100_000)), "mean {}", sum / 100_000);
    }
}
