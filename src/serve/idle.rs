//! `connections.max.idle.ms`: which connection has neither said nor heard anything for so long.
//!
//! As in Kafka, a request that waits for its answer is no activity. Whoever is expired is looked for at the instant at
//! which the first of those known at the last search may be, so a frame costs no more than noting its time.
//!
//! Sources: Kafka's Selector.IdleExpiryManager.

use kafka::{ConnId, Nanos};
use std::collections::BTreeMap;

/// Last activity of every connection.
#[derive(Debug)]
pub struct Idle {
    /// None: nobody ever is.
    max: Option<Nanos>,
    active: BTreeMap<ConnId, Nanos>,
    /// Nobody is expired before.
    search: Nanos,
}

impl Idle {
    /// Milliseconds; below 0 nobody ever is.
    pub fn new(max_ms: i64) -> Idle {
        Idle {
            max: u64::try_from(max_ms).ok().map(|ms| Nanos(ms.saturating_mul(1_000_000))),
            active: BTreeMap::new(),
            search: Nanos(0),
        }
    }

    /// A frame went in or out, or the connection is new.
    pub fn touch(&mut self, conn: ConnId, now: Nanos) {
        let Some(max) = self.max else { return };
        if self.active.is_empty() {
            self.search = Nanos(now.0.saturating_add(max.0));
        }
        self.active.insert(conn, now);
    }

    /// The connection is gone.
    pub fn forget(&mut self, conn: ConnId) {
        self.active.remove(&conn);
    }

    /// When somebody may be.
    pub fn deadline(&self) -> Option<Nanos> {
        (!self.active.is_empty()).then_some(self.search)
    }

    /// One that is, if any.
    pub fn expired(&mut self, now: Nanos) -> Option<ConnId> {
        let max = self.max.filter(|_| now >= self.search)?;
        let (conn, last) = self.active.iter().min_by_key(|(_, last)| **last)?;
        let (conn, end) = (*conn, Nanos(last.0.saturating_add(max.0)));
        if end > now {
            self.search = end;
            return None;
        }
        self.active.remove(&conn);
        Some(conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ConnId = ConnId(1);
    const OTHER: ConnId = ConnId(3);

    #[test]
    fn who_says_nothing_for_long_is_found_and_nobody_else() {
        let mut idle = Idle::new(10);
        assert_eq!(idle.deadline(), None);
        idle.touch(ONE, Nanos::from_ms(100));
        idle.touch(OTHER, Nanos::from_ms(104));
        assert_eq!(idle.deadline(), Some(Nanos::from_ms(110)));
        idle.touch(ONE, Nanos::from_ms(109));
        assert_eq!(idle.expired(Nanos::from_ms(109)), None);
        assert_eq!(idle.expired(Nanos::from_ms(110)), None);
        assert_eq!(idle.deadline(), Some(Nanos::from_ms(114)));
        assert_eq!(idle.expired(Nanos::from_ms(114)), Some(OTHER));
        assert_eq!(idle.expired(Nanos::from_ms(114)), None);
        idle.forget(ONE);
        assert_eq!((idle.deadline(), idle.expired(Nanos::from_ms(500))), (None, None));
    }

    #[test]
    fn without_a_limit_nobody_is() {
        let mut idle = Idle::new(-1);
        idle.touch(ONE, Nanos(0));
        assert_eq!((idle.deadline(), idle.expired(Nanos(u64::MAX))), (None, None));
        let mut idle = Idle::new(i64::MAX);
        idle.touch(ONE, Nanos::from_ms(1));
        assert_eq!(idle.expired(Nanos::from_ms(1 << 40)), None);
    }
}
