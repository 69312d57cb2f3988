//! What a specification adds to stateright's `Model` so that it can be searched here.

use super::fingerprint::fingerprint;
use serde::Serialize;
use stateright::Model;
use std::fmt::Debug;
use std::hash::Hash;

/// Bits of an exact key: what a slot of the visited set has beside the level.
pub const KEY_BITS: u32 = 112;

/// A model that the checker can search. Everything has a default: `impl Spec for MyModel {}` works.
///
/// An action's serialized form is what a counterexample's file holds, so an action is an enum whose variants name their
/// parameters: `LeaderWrite { leader: Replica }`.
///
/// Properties are stateright's: `always` and `sometimes`. `eventually` is refused, for a search by levels cannot judge it.
pub trait Spec:
    Model<
        State: Clone + Debug + PartialEq + Hash + Send + Sync,
        Action: Clone + Debug + PartialEq + Serialize + Send + Sync,
    > + Send
    + Sync
{
    /// True if [`Spec::key`] is bijective and [`Spec::unpack`] its inverse. Then the search keeps keys alone: no state
    /// is ever mistaken for another, and neither queue nor traces cost memory beyond a key.
    const PACKED: bool = false;

    /// The key of a state: below 2^112 if packed, else a fingerprint below 2^64.
    fn key(&self, state: &Self::State) -> u128 {
        u128::from(fingerprint(state))
    }

    /// The state of a key. Called only if packed.
    fn unpack(&self, key: u128) -> Self::State {
        unreachable!("this specification does not pack its states, but was asked for key {key:#x}")
    }

    /// Hands over each successor with its action, in an order that depends on the state alone. One call for each action
    /// that is enabled, also where two lead to the same state: that is how generated states are counted.
    fn successors(&self, state: &Self::State, visit: &mut impl FnMut(Self::Action, Self::State)) {
        let mut actions = Vec::new();
        self.actions(state, &mut actions);
        for action in actions {
            if let Some(next) = self.next_state(state, action.clone())
                && self.within_boundary(&next)
            {
                visit(action, next);
            }
        }
    }

    /// The one of all states alike up to the names of replicas that stands for them, or `None` if states of this
    /// specification are never alike.
    ///
    /// Sound only if actions and properties treat all replicas the same, and if states alike have the same one.
    fn representative(&self, _state: &Self::State) -> Option<Self::State> {
        None
    }

    /// A step of a trace in a sentence.
    fn words(&self, _before: &Self::State, action: &Self::Action, _after: &Self::State) -> String {
        self.format_action(action)
    }

    /// A state of a trace in a line or a few.
    fn picture(&self, state: &Self::State) -> String {
        format!("{state:?}")
    }

    /// Bytes of a state in the queue, what it holds on the heap included: for the bound on memory.
    fn state_bytes(&self) -> usize {
        size_of::<Self::State>()
    }
}
