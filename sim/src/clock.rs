//! The two clocks of a host: monotonic and wall.
//!
//! Both are piecewise linear functions of true time, in integer arithmetic only, so that they read the same on every
//! machine. Guarantees: the monotonic clock never goes back, and a deadline is never reported as reached before the
//! clock shows it. They know nothing of timers, programs or faults by name; [C1], [C2], [C3] and [C7] are the four ways
//! to bend them.

use crate::program::Now;

/// Wall time at true time 0, in milliseconds since the Unix epoch.
pub const WALL_EPOCH_MS: i64 = 1_700_000_000_000;

const MILLION: u64 = 1_000_000;

/// Slowest and fastest drift that a clock takes, in parts in a million.
pub const MAX_DRIFT_PPM: i32 = 900_000;

/// The clocks of one host.
#[derive(Clone, Debug)]
pub struct Clock {
    /// True time at which the other values hold; nanoseconds.
    base: u64,
    mono: u64,
    wall_ns: i64,
    /// Local nanoseconds in a million true ones.
    rate: u64,
    suspended: bool,
}

impl Clock {
    /// Right clocks; the monotonic one shows `mono` nanoseconds at true time 0.
    pub fn new(mono: u64) -> Clock {
        Clock {
            base: 0,
            mono,
            wall_ns: WALL_EPOCH_MS * 1_000_000,
            rate: MILLION,
            suspended: false,
        }
    }

    fn elapsed(&self, time: u64) -> u64 {
        assert!(time >= self.base, "true time goes back: {time} after {}", self.base);
        let elapsed = time - self.base;
        if self.rate == MILLION {
            elapsed
        } else {
            (u128::from(elapsed) * u128::from(self.rate) / u128::from(MILLION)) as u64
        }
    }

    /// What they show at this true time (nanoseconds, not before the last change).
    pub fn now(&self, time: u64) -> Now {
        let elapsed = self.elapsed(time);
        Now {
            mono: self.mono + if self.suspended { 0 } else { elapsed },
            wall_ms: (self.wall_ns + elapsed as i64).div_euclid(1_000_000),
        }
    }

    /// First true time at which the monotonic clock shows `mono` or more; `None` while it rests.
    /// Not after the last change if it shows it already.
    pub fn true_time(&self, mono: u64) -> Option<u64> {
        let ahead = mono.saturating_sub(self.mono);
        if ahead == 0 {
            return Some(self.base);
        }
        if self.suspended {
            return None;
        }
        let ahead = if self.rate == MILLION {
            u128::from(ahead)
        } else {
            (u128::from(ahead) * u128::from(MILLION)).div_ceil(u128::from(self.rate))
        };
        Some(u64::try_from(u128::from(self.base) + ahead).unwrap_or(u64::MAX))
    }

    fn rebase(&mut self, time: u64) {
        let elapsed = self.elapsed(time);
        self.wall_ns += elapsed as i64;
        if !self.suspended {
            self.mono += elapsed;
        }
        self.base = time;
    }

    /// The wall clock stands `offset_ms` from the truth from now on [C1].
    pub fn set_offset(&mut self, time: u64, offset_ms: i64) {
        self.rebase(time);
        self.wall_ns = (WALL_EPOCH_MS + offset_ms) * 1_000_000 + time as i64;
    }

    /// Both clocks run `ppm` parts in a million fast from now on, within [`MAX_DRIFT_PPM`] either way [C2].
    pub fn set_drift(&mut self, time: u64, ppm: i32) {
        assert!((-MAX_DRIFT_PPM..=MAX_DRIFT_PPM).contains(&ppm), "drift of {ppm} ppm");
        self.rebase(time);
        self.rate = (MILLION as i64 + i64::from(ppm)) as u64;
    }

    /// The wall clock jumps [C3].
    pub fn step_wall(&mut self, time: u64, by_ms: i64) {
        self.rebase(time);
        self.wall_ns += by_ms * 1_000_000;
    }

    /// The monotonic clock rests from now on, or runs again [C7].
    pub fn set_suspended(&mut self, time: u64, suspended: bool) {
        self.rebase(time);
        self.suspended = suspended;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_right_clock_shows_true_time() {
        let clock = Clock::new(7);
        let now = clock.now(3 * SECOND);
        assert_eq!((now.mono, now.wall_ms), (3 * SECOND + 7, WALL_EPOCH_MS + 3000));
        assert_eq!(clock.true_time(SECOND + 7), Some(SECOND));
    }

    #[test]
    fn offset_and_step_move_the_wall_clock_only() {
        let mut clock = Clock::new(0);
        clock.set_offset(SECOND, -5000);
        assert_eq!(clock.now(2 * SECOND).wall_ms, WALL_EPOCH_MS + 2000 - 5000);
        clock.step_wall(2 * SECOND, 9000);
        assert_eq!(clock.now(2 * SECOND).wall_ms, WALL_EPOCH_MS + 2000 + 4000);
        assert_eq!(clock.now(2 * SECOND).mono, 2 * SECOND);
        clock.set_offset(3 * SECOND, 0);
        assert_eq!(
            clock.now(3 * SECOND).wall_ms,
            WALL_EPOCH_MS + 3000,
            "an offset is from the truth"
        );
    }

    #[test]
    fn drift_bends_both_clocks_and_a_deadline_is_never_early() {
        for ppm in [-MAX_DRIFT_PPM, -100_000, -333, -1, 1, 7, 500, 100_000, MAX_DRIFT_PPM] {
            let mut clock = Clock::new(11);
            clock.set_drift(SECOND, ppm);
            let expected = (SECOND as i64 + SECOND as i64 * i64::from(ppm) / 1_000_000) as u64;
            let now = clock.now(2 * SECOND);
            assert_eq!(now.mono, 11 + SECOND + expected);
            assert_eq!(now.wall_ms, WALL_EPOCH_MS + 1000 + (expected / 1_000_000) as i64);
            for ahead in [1, 2, 999, 1_000_003, 77 * SECOND + 5] {
                let deadline = 11 + SECOND + ahead;
                let time = clock.true_time(deadline).expect("running");
                assert!(clock.now(time).mono >= deadline, "early at {ppm} ppm");
                assert!(clock.now(time - 1).mono < deadline, "late at {ppm} ppm");
            }
        }
    }

    #[test]
    fn suspended_the_monotonic_clock_rests_and_the_wall_clock_does_not() {
        let mut clock = Clock::new(0);
        clock.set_suspended(SECOND, true);
        assert_eq!(clock.true_time(SECOND + 1), None);
        let now = clock.now(4 * SECOND);
        assert_eq!((now.mono, now.wall_ms), (SECOND, WALL_EPOCH_MS + 4000));
        clock.set_suspended(4 * SECOND, false);
        let now = clock.now(5 * SECOND);
        assert_eq!((now.mono, now.wall_ms), (2 * SECOND, WALL_EPOCH_MS + 5000));
        assert_eq!(clock.true_time(2 * SECOND), Some(5 * SECOND));
    }
}
