//! Waiting longer after each failure, and finding the next instant at which a machine has something to do.
//!
//! Guarantees: integers only; jitter comes from the entropy of the machine. Does not know what is retried.
//!
//! Sources: KIP-580 (exponential backoff with 20 % jitter).

use crate::machine::Entropy;
use crate::types::Nanos;

/// Jitter of Kafka's clients: a fifth, in thousandths.
const JITTER_PERMILLE: u64 = 200;

/// Milliseconds to wait after the `failures`-th failure in a row (from 1): doubling from `initial_ms`, at most `max_ms`.
pub fn delay_ms(initial_ms: i64, max_ms: i64, failures: u32, entropy: &mut Entropy) -> u64 {
    let initial = u64::try_from(initial_ms).unwrap_or(0);
    let max = u64::try_from(max_ms).unwrap_or(0).max(initial);
    let doublings = failures.saturating_sub(1).min(32);
    let term = initial.saturating_mul(1 << doublings).min(max);
    let permille = 1000 - JITTER_PERMILLE + entropy.below(2 * JITTER_PERMILLE + 1);
    // Jitter may not carry a term of one millisecond down to none: a retry without pause would spin.
    (term.saturating_mul(permille) / 1000).clamp(initial.min(1), max)
}

/// The earliest of many instants that are still to come.
///
/// An instant that has passed is not taken: what was due has been done in this step, or waits for the network, which
/// will wake the machine. So a machine never asks to be woken for nothing, again and again.
#[derive(Clone, Copy, Debug)]
pub struct Alarm {
    now: Nanos,
    at: Option<Nanos>,
}

impl Alarm {
    /// Nothing to do yet.
    pub fn new(now: Nanos) -> Alarm {
        Alarm { now, at: None }
    }

    /// Something is to be done then.
    pub fn at(&mut self, instant: Nanos) {
        if instant > self.now && self.at.is_none_or(|at| instant < at) {
            self.at = Some(instant);
        }
    }

    /// The result.
    pub fn earliest(self) -> Option<Nanos> {
        self.at
    }
}

/// `ms` milliseconds after `instant`; a configured number may be "never".
pub fn after_ms(instant: Nanos, ms: i64) -> Nanos {
    let span = u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000);
    Nanos(instant.0.saturating_add(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_within_the_jitter() {
        let mut entropy = Entropy(1);
        for (failures, expected) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (60, 1000)] {
            for _ in 0..50 {
                let delay = delay_ms(100, 1000, failures, &mut entropy);
                assert!(
                    delay >= expected * 8 / 10 && delay <= (expected * 12 / 10).min(1000),
                    "{failures}: {delay}"
                );
            }
        }
        assert_eq!(delay_ms(0, 0, 3, &mut entropy), 0);
        assert!((0..50).all(|_| delay_ms(1, 1, 1, &mut entropy) == 1));
    }

    #[test]
    fn jitter_differs_from_draw_to_draw() {
        let mut entropy = Entropy(1);
        let first = delay_ms(100, 1000, 3, &mut entropy);
        assert!((0..20).any(|_| delay_ms(100, 1000, 3, &mut entropy) != first));
    }

    #[test]
    fn an_alarm_takes_the_earliest_instant_to_come() {
        let mut alarm = Alarm::new(Nanos(10));
        assert_eq!(alarm.earliest(), None);
        for instant in [5, 10, 30, 20, 40] {
            alarm.at(Nanos(instant));
        }
        assert_eq!(alarm.earliest(), Some(Nanos(20)));
    }

    #[test]
    fn never_does_not_overflow() {
        assert_eq!(after_ms(Nanos(5), i64::MAX), Nanos(u64::MAX));
    }
}
