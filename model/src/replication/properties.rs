//! What must hold in every state, and what must be possible in some.
//!
//! Ids are those of the project's list of checks. They are written here once more from the same sources: nothing is
//! shared with what watches the real cluster. Replicas that lost records in a fault count again from the moment at which
//! the controller has registered their new incarnation: until then nobody can know, and none of them can be elected
//! and act.

use super::state::{Answer, Broker, Message, Replica, Role, Set, State};
use super::step::Protocol;

/// A property, as reports name it.
pub struct Law {
    /// For example `X3`.
    pub id: &'static str,
    /// In one sentence.
    pub title: &'static str,
    /// Whether it holds.
    pub holds: fn(&Protocol, &State) -> bool,
}

/// What always holds.
pub const ALWAYS: &[Law] = &[
    Law {
        id: "X1",
        title: "below their high watermarks all replicas hold the same records",
        holds: committed_logs_match,
    },
    Law {
        id: "X2",
        title: "one epoch and offset name one record, with one history before it",
        holds: epoch_and_offset_name_a_record,
    },
    Law {
        id: "X3",
        title: "every replica that may be elected holds all committed records",
        holds: electable_hold_committed,
    },
    Law {
        id: "X4",
        title: "the high watermark passes only what every member of the controller's ISR holds",
        holds: isr_holds_high_watermark,
    },
    Law {
        id: "X5",
        title: "the leader holds every committed record",
        holds: leader_is_complete,
    },
    Law {
        id: "X6",
        title: "in one leader epoch one replica leads",
        holds: one_leader,
    },
    Law {
        id: "X11",
        title: "a leader never credits a follower with records that it does not hold",
        holds: credit_is_true,
    },
    Law {
        id: "I9",
        title: "what a producer was promised is held by every replica that may be elected",
        holds: promises_are_held,
    },
    Law {
        id: "X14",
        title: "a promised record is on some replica while fewer than min.insync.replicas disks lost data",
        holds: promises_survive,
    },
    Law {
        id: "D6",
        title: "a replica that lost records is neither in sync nor eligible until it is whole again",
        holds: damaged_are_out,
    },
    Law {
        id: "C1",
        title: "what a consumer has read stays where it was read",
        holds: reads_stay,
    },
    Law {
        id: "C2",
        title: "a record that was sent once stands at one offset only",
        holds: no_duplicates,
    },
];

/// What must be possible, each under the features that it needs; without them it is not asked for.
pub const SOMETIMES: &[Law] = &[
    Law {
        id: "commits",
        title: "a record is committed on all replicas, and they know",
        holds: |_, state| state.brokers.iter().all(|broker| broker.high_watermark > 0),
    },
    Law {
        id: "acknowledges",
        title: "a producer is promised a record",
        holds: |_, state| state.outside.acked.iter().any(|(.., all)| *all),
    },
    Law {
        id: "credits",
        title: "a follower is credited with a record",
        holds: |_, state| state.brokers.iter().any(|broker| credited(broker) > 0),
    },
    Law {
        id: "fails over",
        title: "another replica leads with a committed record",
        holds: |_, state| {
            let led = state
                .lawful_leader()
                .is_some_and(|(_, leader)| leader.high_watermark > 0);
            led && state.controller.newest().leader_epoch > 0
        },
    },
    Law {
        id: "has two leaders",
        title: "a replaced leader still takes itself for one",
        holds: |_, state| leaders(state).count() > 1,
    },
    Law {
        id: "diverges",
        title: "a follower is told to truncate",
        holds: |_, state| {
            let truncates = |answer: &Answer| matches!(answer, Answer::Diverging { .. } | Answer::EpochEnd { .. });
            let mut answers = state.network.iter().filter_map(|message| match message {
                Message::Fetched { answer, .. } => Some(answer),
                _ => None,
            });
            answers.any(truncates)
        },
    },
    Law {
        id: "is read",
        title: "a consumer reads a record",
        holds: |_, state| !state.outside.read.is_empty(),
    },
    Law {
        id: "rejoins whole",
        title: "a replica that lost records is in sync again, and holds all",
        holds: |_, state| {
            let back = |replica: Replica| state.outside.damaged.has(replica) && !broker(state, replica).lost;
            state.controller.newest().isr.iter().any(back) && !state.outside.committed.is_empty()
        },
    },
    Law {
        id: "loses a promise",
        title: "after an unclean election a promised record is gone from the leader",
        holds: |_, state| {
            let mut promised = state.outside.acked.iter().filter(|(.., all)| *all);
            let Some((_, leader)) = state.lawful_leader() else {
                return false;
            };
            state.outside.unclean_election && promised.any(|(at, entry, _)| leader.log.get(*at) != Some(*entry))
        },
    },
    Law {
        id: "loses acks=1",
        title: "a record that the leader alone had acknowledged is gone from the next one",
        holds: |_, state| {
            let mut told = state.outside.acked.iter().filter(|(.., all)| !all);
            let leader = state.lawful_leader();
            leader.is_some_and(|(_, leader)| told.any(|(at, entry, _)| leader.log.get(*at) != Some(*entry)))
        },
    },
];

fn credited(broker: &Broker) -> u32 {
    match &broker.role {
        Role::Leader(leadership) => leadership.ends.iter().flatten().copied().max().unwrap_or(0),
        _ => 0,
    }
}

fn leaders(state: &State) -> impl Iterator<Item = (Replica, &Broker)> {
    let all = (0..).zip(&state.brokers);
    all.filter(|(_, broker)| broker.up && matches!(broker.role, Role::Leader(_)))
}

/// Whether what it lost counts: not before its new incarnation is registered.
fn counts(state: &State, replica: Replica) -> bool {
    let broker = &state.brokers[usize::from(replica)];
    let registered = state.controller.broker_epochs[usize::from(replica)];
    !broker.lost || broker.up && broker.epoch == registered
}

/// Who may be elected, as far as the controller can know.
fn electable(state: &State) -> Vec<Replica> {
    let newest = state.controller.newest();
    let members: Set = newest.isr.union(newest.elr);
    members.iter().filter(|replica| counts(state, *replica)).collect()
}

fn broker(state: &State, replica: Replica) -> &Broker {
    &state.brokers[usize::from(replica)]
}

fn committed_logs_match(_: &Protocol, state: &State) -> bool {
    if state.outside.unclean_election {
        return true;
    }
    state.brokers.iter().enumerate().all(|(i, ours)| {
        state.brokers[..i].iter().all(|theirs| {
            let high = ours.high_watermark.min(theirs.high_watermark);
            let both = high.min(ours.log.end()).min(theirs.log.end());
            ours.log.common_prefix(&theirs.log) >= both
        })
    })
}

fn epoch_and_offset_name_a_record(_: &Protocol, state: &State) -> bool {
    state.brokers.iter().enumerate().all(|(i, ours)| {
        state.brokers[..i].iter().all(|theirs| {
            let same = ours.log.common_prefix(&theirs.log);
            let both = ours.log.end().min(theirs.log.end());
            (same..both).all(|offset| {
                let epoch = |broker: &Broker| broker.log.get(offset).map(|entry| entry.epoch);
                epoch(ours) != epoch(theirs)
            })
        })
    })
}

fn electable_hold_committed(_: &Protocol, state: &State) -> bool {
    let holds = |replica: Replica| broker(state, replica).log.starts_with(&state.outside.committed);
    state.outside.unclean_election || electable(state).into_iter().all(holds)
}

fn isr_holds_high_watermark(_: &Protocol, state: &State) -> bool {
    let Some((_, leader)) = state.lawful_leader() else {
        return true;
    };
    let mut members = state
        .controller
        .newest()
        .isr
        .iter()
        .filter(|member| counts(state, *member));
    members.all(|member| leader.log.common_prefix(&broker(state, member).log) >= leader.high_watermark)
}

fn leader_is_complete(_: &Protocol, state: &State) -> bool {
    let leader = state.lawful_leader();
    state.outside.unclean_election || leader.is_none_or(|(_, leader)| leader.log.starts_with(&state.outside.committed))
}

fn one_leader(_: &Protocol, state: &State) -> bool {
    leaders(state).all(|(one, _)| {
        leaders(state).all(|(other, _)| one == other || state.leader_epoch(one) != state.leader_epoch(other))
    })
}

/// Followers that have moved on to a later epoch, or are another incarnation by now, are none of its business.
fn credit_is_true(_: &Protocol, state: &State) -> bool {
    leaders(state).all(|(leader, ours)| {
        let Role::Leader(leadership) = &ours.role else {
            return true;
        };
        let epoch = state.leader_epoch(leader);
        (0..).zip(&state.brokers).all(|(follower, theirs)| {
            let at = usize::from(follower);
            let same = theirs.up && theirs.epoch == leadership.incarnations[at] && theirs.role != Role::Idle;
            let credit = leadership.ends[at].unwrap_or(0);
            !same || state.leader_epoch(follower) > epoch || ours.log.common_prefix(&theirs.log) >= credit
        })
    })
}

fn promises_are_held(_: &Protocol, state: &State) -> bool {
    if state.outside.unclean_election {
        return true;
    }
    let electable = electable(state);
    let mut promised = state.outside.acked.iter().filter(|(.., all)| *all);
    promised.all(|(offset, entry, _)| {
        let holds = |replica: &Replica| broker(state, *replica).log.get(*offset) == Some(*entry);
        electable.iter().all(holds)
    })
}

fn promises_survive(protocol: &Protocol, state: &State) -> bool {
    if state.outside.unclean_election || state.outside.damaged.len() >= protocol.min_isr() {
        return true;
    }
    let mut promised = state.outside.acked.iter().filter(|(.., all)| *all);
    promised.all(|(offset, entry, _)| {
        let mut brokers = state.brokers.iter();
        brokers.any(|broker| broker.log.get(*offset) == Some(*entry))
    })
}

fn damaged_are_out(_: &Protocol, state: &State) -> bool {
    let in_or_eligible = |replica: Replica| {
        let broker = broker(state, replica);
        broker.lost && !broker.log.starts_with(&state.outside.committed)
    };
    !electable(state).into_iter().any(in_or_eligible)
}

fn reads_stay(_: &Protocol, state: &State) -> bool {
    let leader = state.lawful_leader();
    state.outside.unclean_election || leader.is_none_or(|(_, leader)| leader.log.starts_with(&state.outside.read))
}

fn no_duplicates(_: &Protocol, state: &State) -> bool {
    state.brokers.iter().all(|broker| {
        let mut records: Vec<_> = broker.log.runs().iter().map(|run| (run.record, run.len)).collect();
        records.sort_unstable();
        records.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0)
    })
}
