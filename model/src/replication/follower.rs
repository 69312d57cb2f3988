//! What a follower does: ask, copy, cut; and what metadata makes of a broker.
//!
//! Sources: KIP-101, KIP-279, KIP-320, KIP-595, KIP-903; KAFKA-13207, KAFKA-14704, KAFKA-18723.

use super::flaw::Flaw;
use super::log::{Epoch, Log, Offset};
use super::state::{Answer, Fetch, Message, PartitionEpoch, Replica, Role, State};
use super::step::{Protocol, Refusal, require};

impl Protocol {
    pub(super) fn apply_metadata(
        &self,
        state: &mut State,
        replica: Replica,
        to: PartitionEpoch,
    ) -> Result<(), Refusal> {
        let version = *state.controller.version(to).ok_or("there is no such version")?;
        let before = state
            .controller
            .version(state.brokers[usize::from(replica)].known)
            .copied();
        let broker = &mut state.brokers[usize::from(replica)];
        require(broker.up, "it is down")?;
        let idle = broker.role == Role::Idle;
        require(to > broker.known || idle && to == broker.known, "it knows that already")?;
        let leads = version.leader == Some(replica);
        require(
            broker.epoch != 0 && to >= broker.since,
            "it acts only on metadata that knows its incarnation: older may be what its last one has already obeyed (KIP-631)",
        )?;
        broker.known = to;
        let new_epoch = idle || before.is_none_or(|before| before.leader_epoch < version.leader_epoch);
        if leads {
            match &mut broker.role {
                Role::Leader(leadership) if !new_epoch => leadership.proposal = None,
                _ => {
                    Self::lead(broker);
                    self.end_waiting(state, replica);
                    self.stop_asking(state, replica);
                }
            }
        } else if new_epoch {
            self.follow(state, replica, version.leader);
            self.end_waiting(state, replica);
            self.ask(state, replica);
        }
        state.prune();
        Ok(())
    }

    /// Producers that wait are told that this is no leader any more, or that it leads anew.
    fn end_waiting(&self, state: &mut State, replica: Replica) {
        if !self.has(Flaw::AckWithoutLeadershipRecheck) {
            state.brokers[usize::from(replica)].waiting.clear();
        }
    }

    /// Turns to a leader.
    fn follow(&self, state: &mut State, replica: Replica, leader: Option<Replica>) {
        let broker = &mut state.brokers[usize::from(replica)];
        if self.has(Flaw::TruncateToHw) && leader.is_some() {
            broker.log.truncate(broker.high_watermark);
            broker.synced = broker.synced.min(broker.log.end());
        }
        let asks = match (self.flaw, &broker.role) {
            (Some(Flaw::EpochEndOffsetV0), _) => true,
            // The same leader under another epoch is not worth a question (KAFKA-6880).
            (
                Some(Flaw::NoFetchEpochFencing),
                Role::Follower {
                    leader: before,
                    asks_epoch_end,
                },
            ) if *before == leader => *asks_epoch_end,
            (Some(Flaw::NoFetchEpochFencing), _) => true,
            _ => false,
        };
        broker.role = Role::Follower {
            leader,
            asks_epoch_end: asks && !broker.log.is_empty(),
        };
    }

    /// The question that a follower would send now.
    pub fn question(&self, state: &State, replica: Replica) -> Option<Fetch> {
        let broker = &state.brokers[usize::from(replica)];
        let Role::Follower {
            leader: Some(leader),
            asks_epoch_end,
        } = broker.role
        else {
            return None;
        };
        let names_epoch = asks_epoch_end
            || !matches!(
                self.flaw,
                Some(Flaw::TruncateToHw | Flaw::EpochEndOffsetV0 | Flaw::NoFetchEpochFencing)
            );
        broker.up.then(|| Fetch {
            follower: replica,
            leader,
            broker_epoch: broker.epoch,
            leader_epoch: state.leader_epoch(replica),
            offset: broker.log.end(),
            last_epoch: broker.log.last_epoch().filter(|_| names_epoch),
            epoch_end: asks_epoch_end,
        })
    }

    /// Asks its leader. What it asked before is of no interest any more: the answer would be ignored (KAFKA-13207).
    fn ask(&self, state: &mut State, replica: Replica) {
        self.stop_asking(state, replica);
        if let Some(fetch) = self.question(state, replica) {
            state.send(Message::Fetch(fetch));
        }
    }

    /// Waits for no answer. Questions that were sent may still arrive, but they are fenced wherever it matters.
    pub(super) fn stop_asking(&self, state: &mut State, replica: Replica) {
        state.network.retain(|message| match message {
            Message::Fetch(fetch) | Message::Fetched { fetch, .. } => fetch.follower != replica,
            _ => true,
        });
    }

    pub(super) fn ask_again(&self, state: &mut State, replica: Replica) -> Result<(), Refusal> {
        let fetch = self.question(state, replica).ok_or("it follows nobody")?;
        require(
            state.network.binary_search(&Message::Fetch(fetch)).is_err(),
            "that question is on its way",
        )?;
        self.ask(state, replica);
        Ok(())
    }

    pub(super) fn handle_fetched(
        &self,
        state: &mut State,
        fetch: Fetch,
        end: Offset,
        high_watermark: Offset,
    ) -> Result<(), Refusal> {
        let of = |message: &Message| matches!(message, Message::Fetched { fetch: to, .. } if *to == fetch);
        let at = state.network.iter().position(of).ok_or("no such answer was sent")?;
        let Message::Fetched { answer, .. } = &state.network[at] else {
            unreachable!("that is what was looked for");
        };
        require(
            self.question(state, fetch.follower) == Some(fetch),
            "it answers what the follower does not ask any more (KAFKA-13207)",
        )?;
        let leader_epoch = state.leader_epoch(fetch.follower);
        let broker = &state.brokers[usize::from(fetch.follower)];
        let ours = broker.log.end();
        let bounded = broker.high_watermark.min(end);
        let mut asks_again = false;
        match answer {
            Answer::Records {
                entries,
                high_watermark: leaders,
            } => {
                require(
                    ours <= end && end <= ours + entries.end(),
                    "it copies what the answer holds, from its own end on",
                )?;
                let taken = entries.slice(0, end - ours);
                require(
                    taken
                        .runs()
                        .iter()
                        .all(|run| run.epoch <= leader_epoch || self.has(Flaw::NoFetchEpochFencing)),
                    "records of a later epoch than it asked in are not copied (KAFKA-18723)",
                )?;
                require(
                    high_watermark <= (*leaders).min(end),
                    "a follower's high watermark is its leader's, within its own log",
                )?;
                let broker = &mut state.brokers[usize::from(fetch.follower)];
                broker.log.extend(&taken);
                broker.high_watermark = high_watermark;
            }
            Answer::Diverging { epoch, end: theirs } => {
                let to = truncation_offset(&broker.log, *epoch, *theirs);
                require(
                    end == to,
                    "a follower cuts its log where the leader's epochs say that they part (KIP-320)",
                )?;
                require(high_watermark == bounded, "its high watermark follows its log down")?;
                self.cut(state, fetch.follower, to);
            }
            Answer::OutOfRange { end: theirs } => {
                let to = ours.min(*theirs);
                require(end == to, "a follower that is beyond its leader's end cuts there")?;
                require(high_watermark == bounded, "its high watermark follows its log down")?;
                self.cut(state, fetch.follower, to);
            }
            Answer::EpochEnd { epoch, end: theirs } => {
                let to = match epoch {
                    Some(epoch) => truncation_offset(&broker.log, Some(*epoch), *theirs),
                    None => ours.min(*theirs),
                };
                let agreed = *epoch == broker.log.last_epoch();
                require(
                    end == to,
                    "a follower cuts its log where it is told that its epoch ends (KIP-101)",
                )?;
                require(high_watermark == bounded, "its high watermark follows its log down")?;
                asks_again = self.has(Flaw::NoFetchEpochFencing) && !agreed && to > 0;
                self.cut(state, fetch.follower, to);
            }
        }
        let broker = &mut state.brokers[usize::from(fetch.follower)];
        if broker.lost && broker.log.starts_with(&state.outside.committed) {
            broker.lost = false;
        }
        broker.role = Role::Follower {
            leader: Some(fetch.leader),
            asks_epoch_end: asks_again,
        };
        self.ask(state, fetch.follower);
        Ok(())
    }

    fn cut(&self, state: &mut State, replica: Replica, to: Offset) {
        let broker = &mut state.brokers[usize::from(replica)];
        broker.log.truncate(to);
        broker.high_watermark = broker.high_watermark.min(to);
        broker.synced = broker.synced.min(to);
    }
}

/// Where a log must be cut, if the leader's largest common epoch is this one and ends there (KIP-279).
pub(super) fn truncation_offset(log: &Log, leaders: Option<Epoch>, leaders_end: Offset) -> Offset {
    let Some(leaders) = leaders else {
        return log.end().min(leaders_end);
    };
    let ours = log.start_above(leaders).unwrap_or(log.end());
    match log.epoch_at_most(leaders) {
        Some(epoch) if epoch == leaders => ours.min(leaders_end),
        _ => ours,
    }
}
