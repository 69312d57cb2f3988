//! Requests of ours that wait for an answer: at most one for each peer and channel.
//!
//! Guarantees: an answer is handed on only to the question that is still open (KAFKA-10842); a peer that failed is
//! left alone for a short while. Deliberately does not know what is asked.
//!
//! Sources: KIP-595; Kafka's `RequestManager`; KAFKA-10842.

use super::Held;
use crate::machine::Channel;
use crate::types::{LeaderEpoch, Nanos, NodeId, Now, Offset};
use std::collections::{BTreeMap, VecDeque};

/// A peer that failed is not asked again for this long. Kafka's `controller.quorum.retry.backoff.ms` is 20; a dead
/// peer is asked for as long as it is dead, so a little more patience saves many refused connections.
pub(super) const RETRY_BACKOFF_MS: u64 = 50;

/// What a request of ours was about, so that its answer is read in the light of that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Asked {
    Vote { epoch: LeaderEpoch, pre_vote: bool },
    Begin,
    End,
    Fetch { epoch: LeaderEpoch, offset: Offset },
    Piece { epoch: LeaderEpoch, position: i64 },
}

/// All of them.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Calls {
    next_tag: u64,
    open: BTreeMap<(Channel, NodeId), (u64, Asked)>,
    resting: BTreeMap<(Channel, NodeId), Nanos>,
}

impl Calls {
    /// Whether the peer may be asked now.
    pub fn is_ready(&self, channel: Channel, to: NodeId) -> bool {
        !self.open.contains_key(&(channel, to)) && !self.resting.contains_key(&(channel, to))
    }

    /// Whether a fetch of this epoch waits for its answer.
    pub fn is_fetching(&self, current: LeaderEpoch) -> bool {
        self.open
            .values()
            .any(|(_, asked)| matches!(asked, Asked::Fetch { epoch, .. } if *epoch == current))
    }

    /// Whether any peer rests on this channel.
    pub fn is_resting(&self, channel: Channel) -> bool {
        self.resting.keys().any(|(resting, _)| *resting == channel)
    }

    /// Opens a question; its tag.
    pub fn ask(&mut self, channel: Channel, to: NodeId, asked: Asked) -> u64 {
        assert!(self.is_ready(channel, to), "two requests at a time on one connection");
        let tag = self.next_tag;
        self.next_tag += 1;
        self.open.insert((channel, to), (tag, asked));
        tag
    }

    /// Closes a question; None if it is not open any more.
    pub fn take(&mut self, channel: Channel, from: NodeId, tag: u64) -> Option<Asked> {
        let key = (channel, from);
        let (open, asked) = *self.open.get(&key)?;
        (open == tag).then(|| {
            self.open.remove(&key);
            asked
        })
    }

    /// The tag of the question that is open.
    pub fn open_tag(&self, channel: Channel, to: NodeId) -> Option<u64> {
        self.open.get(&(channel, to)).map(|(tag, _)| *tag)
    }

    /// Numbers the open questions from 0 on, those that have not left yet included, and begins every rest anew.
    pub fn forget_age(&mut self, anew: Now, held: &mut VecDeque<(u64, Held)>) {
        for (n, ((channel, to), (tag, _))) in self.open.iter_mut().enumerate() {
            let number = n as u64;
            for (_, held) in held.iter_mut() {
                if let Held::Call(call) = held
                    && (call.channel, call.to, call.tag) == (*channel, *to, *tag)
                {
                    call.tag = number;
                }
            }
            *tag = number;
        }
        self.next_tag = self.open.len() as u64;
        for until in self.resting.values_mut() {
            *until = anew.mono.plus_ms(RETRY_BACKOFF_MS);
        }
    }

    /// Leaves a peer alone for [`RETRY_BACKOFF_MS`].
    pub fn rest(&mut self, channel: Channel, peer: NodeId, now: Now) {
        self.resting.insert((channel, peer), now.mono.plus_ms(RETRY_BACKOFF_MS));
    }

    /// When the first of the resting peers may be asked again.
    pub fn next_retry(&self) -> Option<Nanos> {
        self.resting.values().min().copied()
    }

    /// Wakes the peers that have rested.
    pub fn forget_retries(&mut self, now: Now) {
        self.resting.retain(|_, until| *until > now.mono);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_fits_only_its_own_question() {
        let mut calls = Calls::default();
        let node = NodeId(2);
        let first = calls.ask(Channel::Election, node, Asked::Begin);
        assert_eq!(calls.take(Channel::Quorum, node, first), None);
        assert_eq!(calls.take(Channel::Election, NodeId(3), first), None);
        assert_eq!(calls.take(Channel::Election, node, first), Some(Asked::Begin));
        let second = calls.ask(Channel::Election, node, Asked::End);
        assert_eq!(calls.take(Channel::Election, node, first), None, "an old answer");
        assert_eq!(calls.take(Channel::Election, node, second), Some(Asked::End));
    }

    #[test]
    fn how_many_were_asked_before_and_when_a_rest_began_is_forgotten() {
        let at = |ms| Now {
            mono: Nanos::from_ms(ms),
            wall_ms: 0,
        };
        let after = |answered: u64, ms: u64| {
            let mut calls = Calls::default();
            for _ in 0..answered {
                let tag = calls.ask(Channel::Quorum, NodeId(3), Asked::End);
                calls.take(Channel::Quorum, NodeId(3), tag);
            }
            calls.ask(Channel::Quorum, NodeId(2), Asked::Begin);
            calls.ask(Channel::Election, NodeId(2), Asked::Begin);
            calls.rest(Channel::Quorum, NodeId(1), at(ms));
            calls.forget_age(at(9_000), &mut VecDeque::new());
            calls
        };
        let (young, old) = (after(0, 1), after(7, 5_000));
        assert_eq!(format!("{young:?}"), format!("{old:?}"));
        assert_eq!(old.open_tag(Channel::Election, NodeId(2)), Some(0));
        assert_eq!(old.open_tag(Channel::Quorum, NodeId(2)), Some(1));
    }

    #[test]
    fn a_peer_rests_and_wakes() {
        let mut calls = Calls::default();
        let at = |ms| Now {
            mono: Nanos::from_ms(ms),
            wall_ms: 0,
        };
        calls.rest(Channel::Quorum, NodeId(1), at(0));
        assert!(!calls.is_ready(Channel::Quorum, NodeId(1)));
        assert!(calls.is_ready(Channel::Election, NodeId(1)));
        assert_eq!(calls.next_retry(), Some(Nanos::from_ms(RETRY_BACKOFF_MS)));
        calls.forget_retries(at(RETRY_BACKOFF_MS - 1));
        assert!(!calls.is_ready(Channel::Quorum, NodeId(1)));
        calls.forget_retries(at(RETRY_BACKOFF_MS));
        assert!(calls.is_ready(Channel::Quorum, NodeId(1)));
    }
}
