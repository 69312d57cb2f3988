//! `AsyncIsr.tla`: the leader asks for a new ISR and learns of it later (KIP-497). Until then its high watermark takes the
//! members of the ISR it asked for into account too, which is what keeps the true ISR safe.
//!
//! The module has no bound on offsets and versions; here no step is taken that leaves them. Its set of requests is one
//! bit for each ISR and version, its set of updates one ISR for each version, for the controller never uses one twice.
//!
//! Sources: hachikuji/kafka-specification, `AsyncIsr.tla`; KIP-497.

use super::state::{Replica, Replicas};
use crate::check::Spec;
use serde::Serialize;
use stateright::{Model, Property};

/// Most replicas, so that a set of sets fits 32 bits.
const MOST_REPLICAS: usize = 5;
/// Highest version of the ISR.
const MOST_VERSIONS: usize = 8;
const LEADER: Replica = Replica(0);

/// The module within bounds.
#[derive(Clone, Copy, Debug)]
pub struct AsyncIsr {
    replicas: u8,
    max_offset: u8,
    max_version: u8,
    proposed_alone: bool,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action")]
pub enum Action {
    /// The controller takes a replica out of the ISR, as upon its failure.
    ControllerShrinkIsr {
        /// The replica.
        replica: Replica,
    },
    /// The controller accepts a request that was made of its current version.
    ControllerHandleRequest {
        /// The ISR that is asked for.
        isr: Replicas,
        /// The version that it replaces.
        version: u8,
    },
    /// The leader asks for an ISR without a replica.
    LeaderRequestShrinkIsr {
        /// The replica.
        replica: Replica,
    },
    /// The leader asks for an ISR with one replica more.
    LeaderRequestExpandIsr {
        /// The replica.
        replica: Replica,
    },
    /// The leader appends a record.
    LeaderWrite,
    /// The leader learns of a version, not necessarily of each.
    LeaderHandleUpdate {
        /// The version.
        version: u8,
    },
    /// A follower copies a record.
    FollowerReplicate {
        /// The follower.
        replica: Replica,
    },
}

/// The state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The true ISR and its version.
    pub controller_isr: Replicas,
    /// Its version.
    pub controller_version: u8,
    /// The ISR as the leader knows it.
    pub isr: Replicas,
    /// Its version.
    pub version: u8,
    /// All that the leader asked for of that version.
    pub pending_isr: Replicas,
    /// The version that it asked to replace.
    pub pending_version: Option<u8>,
    /// Log end offsets, the leader's first.
    pub offsets: [u8; MOST_REPLICAS],
    /// For each version the ISRs that were asked for, one bit each.
    pub requests: [u32; MOST_VERSIONS + 1],
    /// For each version its ISR, the leader being in all of them; empty if there is none yet.
    pub updates: [Replicas; MOST_VERSIONS + 1],
}

impl AsyncIsr {
    /// The module within these bounds, or why they cannot be.
    pub fn new(replicas: u8, max_offset: u8, max_version: u8) -> Result<AsyncIsr, String> {
        for (name, value, most) in [
            ("replicas", replicas, MOST_REPLICAS),
            ("max_offset", max_offset, 200),
            ("max_version", max_version, MOST_VERSIONS),
        ] {
            if !(1..=most).contains(&usize::from(value)) {
                return Err(format!("`{name}` must be between 1 and {most}, not {value}"));
            }
        }
        Ok(AsyncIsr {
            replicas,
            max_offset,
            max_version,
            proposed_alone: false,
        })
    }

    /// The module without its point: while a request is pending, the high watermark looks at the ISR that the leader asked
    /// for alone.
    pub fn with_proposed_isr_alone(self) -> AsyncIsr {
        AsyncIsr {
            proposed_alone: true,
            ..self
        }
    }

    /// `HighWatermark`: what the ISR and all that was asked for have in common.
    fn high_watermark(&self, state: &State) -> u8 {
        let pending = state.pending_isr.0;
        let known = if self.proposed_alone && pending != 0 {
            0
        } else {
            state.isr.0
        };
        let counted = Replicas(known | pending).iter();
        counted.map(|replica| offset(state, replica)).min().unwrap_or(0)
    }

    fn controller_accepts(&self, next: &mut State, isr: Replicas) {
        next.controller_version += 1;
        next.controller_isr = isr;
        next.updates[usize::from(next.controller_version)] = isr;
    }
}

fn offset(state: &State, replica: Replica) -> u8 {
    state.offsets[usize::from(replica.0)]
}

fn request(next: &mut State, isr: Replicas) {
    next.requests[usize::from(next.version)] |= 1 << isr.0;
    next.pending_isr = Replicas(next.pending_isr.0 | isr.0);
    next.pending_version = Some(next.version);
}

impl Model for AsyncIsr {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let all = Replicas::first(self.replicas);
        vec![State {
            controller_isr: all,
            controller_version: 0,
            isr: all,
            version: 0,
            pending_isr: Replicas::default(),
            pending_version: None,
            offsets: [0; MOST_REPLICAS],
            requests: [0; MOST_VERSIONS + 1],
            updates: [Replicas::default(); MOST_VERSIONS + 1],
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let all = Replicas::first(self.replicas);
        let followers = || all.without(LEADER).iter();
        if state.controller_version < self.max_version {
            let shrunk = followers().filter(|replica| state.controller_isr.contains(*replica));
            actions.extend(shrunk.map(|replica| Action::ControllerShrinkIsr { replica }));
            let version = state.controller_version;
            let asked = state.requests[usize::from(version)];
            let isrs = (0..32).filter(|isr| asked >> isr & 1 == 1).map(Replicas);
            actions.extend(isrs.map(|isr| Action::ControllerHandleRequest { isr, version }));
        }
        for replica in followers() {
            if state.isr.contains(replica) {
                actions.push(Action::LeaderRequestShrinkIsr { replica });
            } else if offset(state, replica) >= self.high_watermark(state) {
                actions.push(Action::LeaderRequestExpandIsr { replica });
            }
            if offset(state, replica) < offset(state, LEADER) {
                actions.push(Action::FollowerReplicate { replica });
            }
        }
        if offset(state, LEADER) < self.max_offset {
            actions.push(Action::LeaderWrite);
        }
        let news = state.version + 1..=state.controller_version;
        actions.extend(news.map(|version| Action::LeaderHandleUpdate { version }));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        match action {
            Action::ControllerShrinkIsr { replica } => {
                self.controller_accepts(&mut next, state.controller_isr.without(replica));
            }
            Action::ControllerHandleRequest { isr, .. } => self.controller_accepts(&mut next, isr),
            Action::LeaderRequestShrinkIsr { replica } => request(&mut next, state.isr.without(replica)),
            Action::LeaderRequestExpandIsr { replica } => request(&mut next, state.isr.with(replica)),
            Action::LeaderWrite => next.offsets[0] += 1,
            Action::LeaderHandleUpdate { version } => {
                next.isr = state.updates[usize::from(version)];
                next.version = version;
                next.pending_isr = Replicas::default();
                next.pending_version = None;
            }
            Action::FollowerReplicate { replica } => next.offsets[usize::from(replica.0)] += 1,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("TypeOk", |spec: &AsyncIsr, state: &State| {
                state.version <= state.controller_version
                    && state.controller_version <= spec.max_version
                    && state.offsets.iter().all(|offset| *offset <= spec.max_offset)
            }),
            Property::always("ValidHighWatermark", |spec: &AsyncIsr, state: &State| {
                let high_watermark = spec.high_watermark(state);
                let mut isr = state.controller_isr.iter();
                isr.all(|replica| offset(state, replica) >= high_watermark)
            }),
            Property::sometimes("the leader's ISR is not the true one", |_, state: &State| {
                state.isr != state.controller_isr
            }),
            Property::sometimes("an expansion is pending", |_, state: &State| {
                state.pending_isr.0 & !state.isr.0 != 0
            }),
            Property::sometimes("a record is committed", |spec: &AsyncIsr, state: &State| {
                spec.high_watermark(state) > 0
            }),
        ]
    }
}

impl Spec for AsyncIsr {
    fn words(&self, before: &State, action: &Action, after: &State) -> String {
        match *action {
            Action::ControllerShrinkIsr { replica } => format!(
                "the controller takes {replica} out of the ISR, now {:?} in version {}",
                after.controller_isr, after.controller_version
            ),
            Action::ControllerHandleRequest { isr, .. } => format!(
                "the controller accepts the ISR {isr:?} as version {}",
                after.controller_version
            ),
            Action::LeaderRequestShrinkIsr { replica } => {
                format!(
                    "the leader asks for an ISR without {replica} in place of version {}",
                    before.version
                )
            }
            Action::LeaderRequestExpandIsr { replica } => {
                format!(
                    "the leader asks for an ISR with {replica} in place of version {}",
                    before.version
                )
            }
            Action::LeaderWrite => format!("the leader appends a record, its log ends at {}", after.offsets[0]),
            Action::LeaderHandleUpdate { version } => {
                format!("the leader learns of version {version}, the ISR {:?}", after.isr)
            }
            Action::FollowerReplicate { replica } => {
                format!("{replica} copies a record, its log ends at {}", offset(after, replica))
            }
        }
    }
}
