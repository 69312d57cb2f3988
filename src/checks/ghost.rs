//! The ghost: what an observer who saw every fact knows of each partition. All checks share it.
//!
//! ```text
//!   notes ──▶ Replica: shadow log, high watermark, role, epochs, what is durable      (one a node)
//!         ──▶ Partition: committed log (fixed when a legitimate leader commits it), leader of each epoch,
//!                        the controller's state, guards: whose copies the promise still counts on
//! ```
//!
//! Deliberately does not know anything that a broker did not say.

use super::partition::{Partition, State};
use super::producers::Producers;
use super::shadow::{Cell, Shadow};
use super::topics::Terms;
use kafka::note::PartitionState;
use kafka::types::{NodeId, Offset, TopicPartition};
use std::collections::BTreeMap;

/// A set of nodes, by index.
pub(crate) type Mask = u64;

/// Has `mask` this node?
pub(crate) fn has(mask: Mask, node: usize) -> bool {
    mask >> node & 1 == 1
}

/// The nodes of a set, ascending.
pub(crate) fn nodes(mut mask: Mask) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let node = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(node)
    })
}

/// What a replica takes itself for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    None,
    Leader,
    Follower,
}

/// How far the shadow of a log can be believed after a stop. In rising order of doubt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Doubt {
    /// Not at all in doubt.
    #[default]
    None,
    /// Killed inside a step: its last changes left no notes.
    MidStep,
    /// Power failed: what was not synced may be gone, or older than it was.
    PowerLost,
    /// A fault hit its files, and it has not been read as a whole since: anything.
    Damaged,
}

/// Which files of a log a fault hit: those that knowing its records says least of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Struck {
    /// None of them.
    #[default]
    None,
    /// `partition.metadata`, which says whose log it is, and nothing of what it holds.
    Identity,
    /// Segments: the records themselves.
    Records,
    /// Any other: knowing the records does not end the doubt.
    Beside,
}

/// One replica, as far as its node's notes tell.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub log: Shadow,
    /// Was ever opened.
    pub known: bool,
    /// Is open in a living process.
    pub open: bool,
    pub agree: Offset,
    /// None from a restart until the replica says it.
    pub high_watermark: Option<Offset>,
    pub role: Role,
    /// Highest epochs this node has obeyed.
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    /// As a leader: the in-sync replicas, and those with the proposed ones.
    pub isr: Mask,
    pub maximal_isr: Mask,
    /// Proposed partition epoch, ISR and time.
    pub proposed: Option<(i32, Mask, u64)>,
    /// Must survive a power failure.
    pub durable: Offset,
    /// At most this is durable. A cut lowers it: a checkpoint from before would take what is written anew for durable.
    pub synced: Offset,
    /// Since its content was last known.
    pub doubt: Doubt,
    /// Its process ended inside a step, which may have cut it unheard.
    pub broken_off: bool,
    /// What a fault hit of it.
    pub struck: Struck,
    /// Opened when the checkpoints that it began with were in doubt.
    pub opened_in_doubt: bool,
    /// It was opened as cleanly stopped, and so it was: the controller learns of no loss from its next registration.
    pub opened_clean: bool,
    /// What stood here before a crash, until the content after it is known.
    pub before: Option<Shadow>,
    /// Of the log before the crash, what must still be there.
    pub floor: Offset,
    /// The content is not known at the moment: comparisons rest.
    pub uncertain: bool,
    /// The fault that put its content in doubt.
    pub fault: Option<Lost>,
    /// Why it lacks records that it held, committed or counted by its leader; until it has all that is committed, and
    /// either its leader or the controller knows of its new incarnation.
    pub lost: Option<Lost>,
    /// A fault took that between a clean stop and a clean start: neither its broker nor the controller could know.
    pub unknowing: bool,
    /// The committed log was reset while it held more, up to this offset: it is not compared before all of that has gone
    /// or is committed again.
    pub suspended: Option<Offset>,
    /// The controller has registered its broker since it was last in doubt.
    pub registered: bool,
    /// When its process last stopped uncleanly.
    pub crashed_at: Option<u64>,
    /// When that, or damage to its disk, last put its copy in doubt: who let it in before did not know.
    pub unguarded_at: Option<u64>,
    /// Everything below was appended, or flushed by an append, while flush.messages=1 was in force here.
    pub flushes: Offset,
    /// Below this, what it flushes was acknowledged while it was in-sync, so it must survive here.
    pub must_hold: Offset,
    /// Epoch cache; only what was learnt since the last opening.
    pub epochs: Vec<(i32, Offset)>,
    /// Offset up to which it equals the leader of this epoch.
    pub matched: (i32, Offset),
    /// Where the log ended when this process opened it, if it was not new.
    pub opened_end: Option<Offset>,
    /// Start and end at the last opening, if nothing has changed since.
    pub opened: Option<(Offset, Offset)>,
    /// What its broker knows of idempotent producers.
    pub producers: Producers,
}

/// A fault took records from a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lost {
    pub what: &'static str,
    /// Injected; else nobody knows why, and nothing excuses it.
    pub injected: bool,
    /// Also what was durable.
    pub destructive: bool,
}

impl Replica {
    pub fn new() -> Replica {
        Replica {
            log: Shadow::at(0),
            known: false,
            open: false,
            agree: 0,
            high_watermark: None,
            role: Role::None,
            leader_epoch: -1,
            partition_epoch: -1,
            isr: 0,
            maximal_isr: 0,
            proposed: None,
            durable: 0,
            synced: 0,
            doubt: Doubt::None,
            struck: Struck::None,
            opened_in_doubt: false,
            opened_clean: false,
            before: None,
            floor: 0,
            uncertain: false,
            fault: None,
            lost: None,
            unknowing: false,
            broken_off: false,
            suspended: None,
            registered: true,
            crashed_at: None,
            unguarded_at: None,
            flushes: 0,
            must_hold: 0,
            epochs: Vec::new(),
            matched: (-1, 0),
            opened_end: None,
            opened: None,
            producers: Producers::default(),
        }
    }

    /// Its shadow can be compared: nothing about it is in doubt, and no fault took anything from it.
    pub fn comparable(&self) -> bool {
        !self.uncertain && self.doubt <= Doubt::MidStep && self.lost.is_none() && self.suspended.is_none()
    }

    /// It lacks records, if that is not known already.
    pub fn lose(&mut self, lost: Lost) {
        if self.lost.is_none() {
            self.lost = Some(lost);
            self.unknowing = lost.destructive && self.opened_clean;
        }
    }

    /// A fault took the record at `offset`, while the log goes on up to `end`: a follower asks for what comes behind its
    /// log, so neither it nor its leader can know.
    pub fn has_hole(&self, offset: Offset, end: Offset) -> bool {
        let gone = matches!(self.log.get(offset), None | Some(Cell::NOTHING));
        self.lost.is_some_and(|lost| lost.destructive) && gone && self.log.end() >= end
    }

    /// The next comparison with the committed log begins at the beginning.
    pub fn forget_agreement(&mut self) {
        self.agree = 0;
    }

    /// The log was cut or replaced from `to` on.
    pub fn cut(&mut self, to: Offset) {
        self.agree = self.agree.min(to);
        self.durable = self.durable.min(to);
        self.matched.1 = self.matched.1.min(to);
        self.flushes = self.flushes.min(to);
        self.must_hold = self.must_hold.min(to);
        self.opened = None;
        self.suspended = self.suspended.map(|until| until.min(to));
        self.epochs.retain(|(_, start)| *start < to);
    }
}

/// One node.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct NodeState {
    pub up: bool,
    pub started: bool,
    /// The last stop was a power failure.
    pub power_lost: bool,
    /// Its last clean stop left a marker that names the incarnation which the controller knows.
    pub left_clean: bool,
    /// Its first destructive disk fault.
    pub struck: Option<&'static str>,
    /// Something was written since the last clean shutdown.
    pub dirty: bool,
    /// Something had been when the process started.
    pub was_dirty: bool,
    pub broker_epoch: i64,
    /// Has heard of its registration since it started.
    pub registered: bool,
    /// Newest incarnation that the controller has named.
    pub registered_epoch: i64,
    pub unfenced: bool,
    /// As the controller decided last: epoch, fenced, in controlled shutdown; unknown after a failover.
    pub decided: Option<(i64, bool, bool)>,
    pub shutting_down: bool,
}

/// Everything.
#[derive(Clone, Debug)]
pub(crate) struct Ghost {
    pub partitions: Vec<Partition>,
    index: BTreeMap<TopicPartition, usize>,
    latest: Option<(TopicPartition, usize)>,
    pub nodes: Vec<NodeState>,
    node_ids: Vec<i32>,
    brokers: usize,
}

impl Ghost {
    /// Before the first fact.
    pub fn new(brokers: usize, node_ids: Vec<i32>, all: usize) -> Ghost {
        Ghost {
            partitions: Vec::new(),
            index: BTreeMap::new(),
            latest: None,
            nodes: vec![NodeState::default(); all.max(brokers)],
            node_ids,
            brokers,
        }
    }

    /// The place of a partition in [`Ghost::partitions`].
    pub fn partition(&mut self, id: TopicPartition, terms: impl FnOnce() -> Terms) -> usize {
        if let Some((latest, index)) = self.latest
            && latest == id
        {
            return index;
        }
        let next = self.partitions.len();
        let index = *self.index.entry(id).or_insert(next);
        if index == next {
            self.partitions.push(Partition::new(id, self.brokers, terms()));
        }
        self.latest = Some((id, index));
        index
    }

    /// The place of a partition that is known already.
    pub fn find(&self, id: &TopicPartition) -> Option<usize> {
        self.index.get(id).copied()
    }

    /// The index of a node.
    pub fn node(&self, id: NodeId) -> Option<usize> {
        self.node_ids.iter().position(|known| *known == id.0)
    }

    /// A set of nodes; ids that nobody has are left out.
    pub fn mask(&self, ids: &[NodeId]) -> Mask {
        ids.iter()
            .filter_map(|id| self.node(*id))
            .fold(0, |mask, node| mask | 1 << node)
    }

    /// A state as sets.
    pub fn state(&self, state: &PartitionState) -> State {
        State {
            leader: state.leader.and_then(|leader| self.node(leader)),
            leader_epoch: state.leader_epoch.0,
            partition_epoch: state.partition_epoch.0,
            replicas: self.mask(&state.replicas),
            isr: self.mask(&state.isr),
            elr: self.mask(&state.elr),
            preferred: state.replicas.first().and_then(|id| self.node(*id)),
        }
    }

    /// Node ids of a set, for messages.
    pub fn names(&self, mask: Mask) -> Vec<i32> {
        nodes(mask)
            .filter_map(|node| self.node_ids.get(node).copied())
            .collect()
    }
}
