//! The cluster at one moment, and what changed from one to the next.
//!
//! ```text
//! keyframe = change from nothing        moment(step) = keyframe + changes of the steps up to it
//! ```
//!
//! Guarantees: `a.changes_to(b)` applied to `a` gives `b`; a value that stays as it was costs nothing.

use super::texts::Words;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A struct whose fields change, and the struct that says which did.
macro_rules! tracked {
    ($(#[$doc:meta])* $name:ident by $(#[$change_doc:meta])* $change:ident {
        $($(#[$field_doc:meta])* $field:ident: $kind:ty = $short:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $kind,)* }

        $(#[$change_doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $change {
            $($(#[$field_doc])* #[serde(rename = $short, default, skip_serializing_if = "Option::is_none")]
              pub $field: Option<$kind>,)*
        }

        impl $name {
            fn change_to(&self, next: &$name) -> $change {
                $change { $($field: (self.$field != next.$field).then(|| next.$field.clone()),)* }
            }
            fn apply(&mut self, change: &$change) {
                $(if let Some(value) = &change.$field { self.$field = value.clone(); })*
            }
        }
    };
}

tracked! {
    /// One replica, by its own knowledge. Ends are exclusive: the next offset.
    Replica by
    /// What changed of a replica.
    ReplicaChange {
        /// Whether it leads.
        leads: bool = "l",
        /// Leader epoch it knows.
        leader_epoch: i32 = "e",
        /// Version of the partition's state that it knows (KIP-497).
        partition_epoch: i32 = "v",
        /// First offset.
        log_start_offset: i64 = "s",
        /// Committed below here.
        high_watermark: i64 = "h",
        /// Next offset to be written.
        log_end_offset: i64 = "o",
        /// Durable below here.
        synced: i64 = "d",
        /// Epochs and their first offsets, ascending.
        epochs: Vec<(i32, i64)> = "c",
        /// In-sync replicas as it knows them; empty on a follower.
        isr: Vec<i32> = "i",
        /// Eligible leader replicas (KIP-966), likewise.
        elr: Vec<i32> = "x",
    }
}

tracked! {
    /// One node.
    Node by
    /// What changed of a node.
    NodeChange {
        /// Whether a process runs.
        up: bool = "u",
        /// Whether it is frozen.
        paused: bool = "p",
        /// Whether it is the active controller, by its own knowledge.
        controls: bool = "c",
    }
}

tracked! {
    /// What a client has done and been told.
    Client by
    /// What changed of a client's view.
    ClientChange {
        /// Records handed to it by its user.
        sent: u64 = "s",
        /// Of these, those that it was told are written.
        acked: u64 = "a",
        /// Those that it was told are certainly not.
        refused: u64 = "r",
        /// Those whose fate nobody told it.
        unknown: u64 = "k",
        /// By partition: read up to here, exclusive.
        read: Vec<(u16, i64)> = "d",
    }
}

tracked! {
    /// A partition as the controller has decided it last.
    Decided by
    /// What changed of a decision.
    DecidedChange {
        /// Who leads; -1 where nobody does.
        leader: i32 = "l",
        /// Fences leaders.
        leader_epoch: i32 = "e",
        /// Version.
        partition_epoch: i32 = "v",
        /// In-sync replicas.
        isr: Vec<i32> = "i",
        /// Eligible leader replicas.
        elr: Vec<i32> = "x",
    }
}

/// The cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// By node and partition.
    pub replicas: BTreeMap<(u16, u16), Replica>,
    /// By node.
    pub nodes: BTreeMap<u16, Node>,
    /// By node.
    pub clients: BTreeMap<u16, Client>,
    /// By partition.
    pub decided: BTreeMap<u16, Decided>,
    /// Links that are cut: from, to.
    pub cuts: Vec<(u16, u16)>,
    /// Other faults that last.
    pub faults: Vec<Words>,
}

/// What changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Of replicas: node, partition.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<(u16, u16, ReplicaChange)>,
    /// Replicas that are gone: node, partition.
    #[serde(rename = "g", default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<(u16, u16)>,
    /// Of nodes.
    #[serde(rename = "n", default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<(u16, NodeChange)>,
    /// Of clients: node.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<(u16, ClientChange)>,
    /// Of decisions: partition.
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    pub decided: Vec<(u16, DecidedChange)>,
    /// Decisions that were never committed: partition.
    #[serde(rename = "u", default, skip_serializing_if = "Vec::is_empty")]
    pub undone: Vec<u16>,
    /// The links that are cut from now on.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub cuts: Option<Vec<(u16, u16)>>,
    /// The faults that last from now on.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<Vec<Words>>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }
}

/// Of each key whose value is another one now, the change.
fn changed<K: Ord + Copy, V: Default + PartialEq, C>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    change: impl Fn(&V, &V) -> C,
) -> Vec<(K, C)> {
    let nothing = V::default();
    let entries = after.iter().filter_map(|(key, value)| match before.get(key) {
        Some(old) if old == value => None,
        Some(old) => Some((*key, change(old, value))),
        None => Some((*key, change(&nothing, value))),
    });
    entries.collect()
}

impl State {
    /// What makes `self` into `next`.
    pub fn changes_to(&self, next: &State) -> Changes {
        let replicas = changed(&self.replicas, &next.replicas, Replica::change_to).into_iter();
        let gone = self.replicas.keys().filter(|key| !next.replicas.contains_key(key));
        let undone = self.decided.keys().filter(|key| !next.decided.contains_key(key));
        Changes {
            undone: undone.copied().collect(),
            replicas: replicas
                .map(|((node, partition), change)| (node, partition, change))
                .collect(),
            gone: gone.copied().collect(),
            nodes: changed(&self.nodes, &next.nodes, Node::change_to),
            clients: changed(&self.clients, &next.clients, Client::change_to),
            decided: changed(&self.decided, &next.decided, Decided::change_to),
            cuts: (self.cuts != next.cuts).then(|| next.cuts.clone()),
            faults: (self.faults != next.faults).then(|| next.faults.clone()),
        }
    }

    /// Moves on.
    pub fn apply(&mut self, changes: &Changes) {
        for key in &changes.gone {
            self.replicas.remove(key);
        }
        for key in &changes.undone {
            self.decided.remove(key);
        }
        for (node, partition, change) in &changes.replicas {
            self.replicas.entry((*node, *partition)).or_default().apply(change);
        }
        for (node, change) in &changes.nodes {
            self.nodes.entry(*node).or_default().apply(change);
        }
        for (node, change) in &changes.clients {
            self.clients.entry(*node).or_default().apply(change);
        }
        for (partition, change) in &changes.decided {
            self.decided.entry(*partition).or_default().apply(change);
        }
        if let Some(cuts) = &changes.cuts {
            self.cuts.clone_from(cuts);
        }
        if let Some(faults) = &changes.faults {
            self.faults.clone_from(faults);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_log(end: i64) -> State {
        let mut state = State::default();
        let replica = Replica {
            log_end_offset: end,
            epochs: vec![(0, 0)],
            ..Replica::default()
        };
        state.replicas.insert((0, 0), replica);
        state
    }

    #[test]
    fn a_change_says_what_is_new_and_nothing_else() {
        let changes = with_log(102).changes_to(&with_log(103));
        assert_eq!(
            serde_json::to_string(&changes).unwrap_or_default(),
            r#"{"r":[[0,0,{"o":103}]]}"#
        );
        assert!(with_log(7).changes_to(&with_log(7)).is_empty());
    }

    #[test]
    fn changes_lead_from_any_moment_to_any_other() {
        let mut other = with_log(7);
        other.replicas.insert((1, 0), Replica::default());
        other.nodes.insert(
            1,
            Node {
                up: true,
                ..Node::default()
            },
        );
        other.cuts.push((0, 1));
        let moments = [State::default(), with_log(102), with_log(103), other];
        for before in &moments {
            for after in moments.iter().filter(|after| after.nodes.len() >= before.nodes.len()) {
                let mut state = before.clone();
                state.apply(&before.changes_to(after));
                assert_eq!(state, *after);
            }
        }
    }
}
