//! The clocks of a real machine.

use kafka::{Nanos, Now};
use std::time::{Duration, Instant, SystemTime};

/// Monotonic time since the start, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Begins now.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// This instant.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Now {
            mono: Nanos(u64::try_from(self.start.elapsed().as_nanos()).expect("a process lives less than 584 years")),
            wall_ms: wall.map_or(0, |since| since.as_millis() as i64),
        }
    }

    /// When this is.
    pub fn instant(&self, at: Nanos) -> Instant {
        // A deadline that is never is in a year.
        const YEAR: Duration = Duration::from_secs(365 * 86_400);
        self.start + Duration::from_nanos(at.0).min(self.start.elapsed() + YEAR)
    }
}
