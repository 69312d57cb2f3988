//! Replication of one partition, as the published protocol has it, with what the published TLA+ leaves out.
//!
//! ```text
//!   Protocol   may this step happen, and what then     step.rs: leader.rs follower.rs controller.rs fault.rs
//!   Limits     which steps a search thinks of          limits.rs
//!   Law        what holds in every state               properties.rs
//!   Flaw       a published bug, one small delta        flaw.rs
//! ```
//!
//! Beyond hachikuji's and Vanlightly's modules: each broker's own stale view of the metadata, fetch and AlterPartition
//! as request and answer, acks and `min.insync.replicas`, what producers were told and consumers read, crashes with and
//! without loss, eligible leader replicas and unclean restarts (KIP-966), incarnations (KIP-903).
//!
//! What it leaves out: retention and DeleteRecords (logs begin at 0), reassignment, changes of configuration, failover
//! of the controller (the metadata log is one, decided and committed at once), time (whoever is behind may be called
//! lagging, whoever lives may be taken for dead), producers that retry, fetches of a process that has died since.
//!
//! [`Protocol::step`] allows more than a search looks at ([`Limits`]): a process may be registered or unfenced after its
//! death, stop in order before the controller lets it go, lose power after it was killed, and be followed by another whose
//! session has merely ended.
//!
//! Sources: KIP-101, 279, 320, 392, 497, 595, 631, 841, 903, 966; hachikuji/kafka-specification (`Kip320`, `AsyncIsr`);
//! Vanlightly/kafka-tlaplus (`kip_966`).

mod action;
mod controller;
pub(crate) mod entries;
mod fault;
mod flaw;
mod follower;
mod leader;
mod limits;
mod log;
mod museum;
mod properties;
mod state;
mod step;
#[cfg(test)]
mod tests;

pub use action::{Acks, Action};
pub use flaw::Flaw;
pub use limits::Limits;
pub use log::{Entry, Epoch, Log, Offset, Record, Run};
pub use museum::Exhibit;
pub use properties::{ALWAYS, Law, SOMETIMES};
pub use state::{
    Answer, Broker, BrokerEpoch, Controller, Fetch, Leadership, MOST_REPLICAS, Message, Outside, PartitionEpoch,
    Proposal, Replica, Role, Set, State, Version, Waiting,
};
pub use step::{Protocol, Refusal};

use crate::check::Spec;
use stateright::{Model, Property};

/// What a search is given.
#[derive(Clone, Debug)]
pub struct Replication {
    /// What may happen.
    pub protocol: Protocol,
    /// How much of it is looked at.
    pub limits: Limits,
    /// Which of [`ALWAYS`] and [`SOMETIMES`] are asked for.
    pub asked: Vec<&'static str>,
}

impl Model for Replication {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.protocol.initial(self.limits.first_leader)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.limits.propose(&self.protocol, state, actions);
    }

    fn next_state(&self, last_state: &State, action: Action) -> Option<State> {
        let mut state = last_state.clone();
        self.protocol.step(&mut state, &action).ok()?;
        Some(state)
    }

    fn format_action(&self, action: &Action) -> String {
        action.to_string()
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! laws {
            ($kind:ident $table:ident $($at:literal)*) => {
                [$(Property::<Self>::$kind($table[$at].id, |model, state| ($table[$at].holds)(&model.protocol, state))),*]
            };
        }
        let always = laws!(always ALWAYS 0 1 2 3 4 5 6 7 8 9 10 11);
        let sometimes = laws!(sometimes SOMETIMES 0 1 2 3 4 5 6 7 8 9);
        let asked = |name: &str| self.asked.contains(&name);
        always
            .into_iter()
            .chain(sometimes)
            .filter(|property| asked(property.name))
            .collect()
    }

    fn within_boundary(&self, state: &State) -> bool {
        self.limits.contain(state)
    }
}

impl Spec for Replication {
    fn successors(&self, state: &State, visit: &mut impl FnMut(Action, State)) {
        let mut actions = Vec::new();
        self.limits.propose(&self.protocol, state, &mut actions);
        for action in actions {
            let mut next = state.clone();
            if self.protocol.step(&mut next, &action).is_ok() && self.limits.contain(&next) {
                visit(action, next);
            }
        }
    }

    fn picture(&self, state: &State) -> String {
        state.to_string()
    }

    fn state_bytes(&self) -> usize {
        // Three brokers with a log each, a few versions and messages.
        size_of::<State>() + usize::from(self.protocol.replicas) * (size_of::<Broker>() + 64) + 512
    }
}
