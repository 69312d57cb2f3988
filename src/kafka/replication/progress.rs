//! What a leader knows of one follower: how far it is, when it was last caught up, which incarnation fetched.
//!
//! Guarantees: only a fetch of the current leader epoch moves it; nothing that the follower may not hold is counted.
//! It does not know what the ISR is.
//!
//! Sources: KIP-16 (lag is a time), KIP-903 (the incarnation that fetched), KAFKA-9672, KAFKA-15221.

use crate::types::{BrokerEpoch, Nanos, NodeId, Offset};

/// A follower in the eyes of its leader. Everything but the id is unknown until it fetches in this leader epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FollowerProgress {
    /// Who.
    pub id: NodeId,
    /// First offset of its log.
    pub log_start_offset: Option<Offset>,
    /// Its log end: everything below is equal to the leader's.
    pub log_end_offset: Option<Offset>,
    /// The leader's log end when it last fetched.
    leader_end_at_last_fetch: Option<Offset>,
    last_fetch: Option<Nanos>,
    /// The latest moment at which it had all that the leader had then.
    pub last_caught_up: Option<Nanos>,
    /// The incarnation that fetched.
    pub broker_epoch: Option<BrokerEpoch>,
}

impl FollowerProgress {
    /// At the start of a leader epoch. A member of the ISR gets a full lag time to show up; anybody else counts as
    /// lagging until it fetches, so that it does not hold the high watermark back.
    pub fn new(id: NodeId, in_sync: bool, now: Nanos) -> FollowerProgress {
        FollowerProgress {
            id,
            log_start_offset: None,
            log_end_offset: None,
            leader_end_at_last_fetch: None,
            last_fetch: None,
            last_caught_up: in_sync.then_some(now),
            broker_epoch: None,
        }
    }

    /// A fetch from `offset` was accepted while the leader's log ended at `leader_end`. True if the log end is news.
    ///
    /// A follower that asks for what was the leader's end one fetch ago was caught up one fetch ago: under steady
    /// small writes it would otherwise never be.
    pub fn record_fetch(
        &mut self,
        offset: Offset,
        log_start: Offset,
        leader_end: Offset,
        epoch: BrokerEpoch,
        now: Nanos,
    ) -> bool {
        if offset >= leader_end {
            self.last_caught_up = self.last_caught_up.max(Some(now));
        } else if self.leader_end_at_last_fetch.is_some_and(|end| offset >= end) {
            self.last_caught_up = self.last_caught_up.max(self.last_fetch);
        }
        let news = self.log_end_offset != Some(offset);
        self.log_start_offset = Some(log_start);
        self.log_end_offset = Some(offset);
        self.leader_end_at_last_fetch = self.leader_end_at_last_fetch.max(Some(leader_end));
        self.last_fetch = Some(now);
        self.broker_epoch = Some(epoch);
        news
    }

    /// What was not longer ago than the lag limit was at `anew`; what was is forgotten, which is the same.
    pub fn forget_age(&mut self, now: Nanos, anew: Nanos, lag_max: Nanos) {
        let fresh = |then: &Nanos| now.since(*then) <= lag_max;
        self.last_fetch = self.last_fetch.filter(fresh).map(|_| anew);
        // It only says when the follower was caught up, and that is too long ago.
        self.leader_end_at_last_fetch = self.leader_end_at_last_fetch.filter(|_| self.last_fetch.is_some());
        self.last_caught_up = self.last_caught_up.filter(fresh).map(|_| anew);
    }

    /// At the leader's end now, or some time within the lag limit.
    pub fn is_caught_up(&self, leader_end: Offset, now: Nanos, lag_max: Nanos) -> bool {
        self.log_end_offset == Some(leader_end) || self.last_caught_up.is_some_and(|then| now.since(then) <= lag_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG: Nanos = Nanos(100);

    fn fetched(progress: &mut FollowerProgress, offset: Offset, leader_end: Offset, now: u64) {
        progress.record_fetch(offset, 0, leader_end, BrokerEpoch(1), Nanos(now));
    }

    #[test]
    fn a_stranger_is_not_caught_up_even_when_the_clock_is_young() {
        assert!(!FollowerProgress::new(NodeId(2), false, Nanos(5)).is_caught_up(0, Nanos(5), LAG));
    }

    #[test]
    fn a_member_of_the_isr_has_a_lag_time_to_show_up() {
        let progress = FollowerProgress::new(NodeId(2), true, Nanos(5));
        assert!(progress.is_caught_up(7, Nanos(105), LAG));
        assert!(!progress.is_caught_up(7, Nanos(106), LAG));
    }

    #[test]
    fn one_fetch_behind_under_steady_writes_is_caught_up() {
        let mut progress = FollowerProgress::new(NodeId(2), false, Nanos(0));
        fetched(&mut progress, 0, 10, 1000);
        assert!(!progress.is_caught_up(10, Nanos(1000), LAG));
        fetched(&mut progress, 10, 20, 1050);
        assert_eq!(progress.last_caught_up, Some(Nanos(1000)));
        fetched(&mut progress, 15, 30, 1060);
        assert_eq!(
            progress.last_caught_up,
            Some(Nanos(1000)),
            "15 < 20: it did not reach the end of one fetch ago"
        );
    }

    #[test]
    fn of_the_past_only_whether_it_was_within_the_lag_limit_is_remembered() {
        let after = |then: u64, now: u64| {
            let mut progress = FollowerProgress::new(NodeId(2), false, Nanos(0));
            fetched(&mut progress, 10, 10, then);
            progress.forget_age(Nanos(now), Nanos(500), LAG);
            progress
        };
        assert_eq!(after(10, 20), after(700, 800));
        assert_eq!(after(10, 111), after(10, 9_000));
        assert!(after(10, 110).is_caught_up(11, Nanos(510), LAG));
        assert!(!after(10, 111).is_caught_up(11, Nanos(510), LAG));
    }

    #[test]
    fn at_the_end_is_caught_up_however_long_ago() {
        let mut progress = FollowerProgress::new(NodeId(2), false, Nanos(0));
        fetched(&mut progress, 10, 10, 1);
        assert!(progress.is_caught_up(10, Nanos(1_000_000), LAG));
        assert!(!progress.is_caught_up(11, Nanos(1_000_000), LAG));
    }
}
