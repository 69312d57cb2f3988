//! What a disk fault excuses, and until when.
//!
//! ```text
//!   a file is struck ──▶ that log is in doubt at that node; others are not
//!     read whole, all of it known             ──▶ no doubt any more; what is missing is lost, until fetched again
//!     emptied, or deleted                     ──▶ no doubt any more
//!     follower takes from it what cannot be   ──▶ the follower's log is in doubt, too
//!   who is in doubt leads the partition       ──▶ the partition is exposed
//!   a voter's metadata is in doubt            ──▶ the quorum is exposed, until it holds again all that is committed
//!                                                 and has left the epochs in which it may have voted
//!   exposed, and a breach that this explains  ──▶ broken: what rests on it is not promised for the rest of the run
//! ```
//!
//! One voter that forgets is enough for Raft to lose a committed entry (with another one that is behind it makes a
//! majority) or to elect two leaders in an epoch (it votes twice). But then that is seen, at the quorum itself: a leader
//! without a committed entry, a second vote. Until it is, all that rests on the quorum holds; and once the voter has
//! caught up in an epoch that has its leader, there is again a majority for everything. Likewise a damaged copy of a
//! partition changes what is served only if it leads.
//!
//! Base offset and leader epoch of a batch are not under its checksum, so a flipped bit there makes another record that
//! nobody can tell from a real one: Kafka's recovery accepts it, its followers copy it. Such a log stays in doubt.
//!
//! Deliberately does not know the checks: they ask [`Report::gives_way`](super::report::Report::gives_way).
//!
//! Sources: KIP-595; Raft section 5.4; "Protocol-Aware Recovery for Consensus-Based Storage" (FAST 2018); Kafka's
//! `DefaultRecordBatch` (what the CRC covers), `LogSegment.recover`.

use super::ghost::{Doubt, Lost, Role, Struck};
use super::{Checks, marks};
use kafka::types::{METADATA_PARTITION, NodeId, Offset, Uuid};

impl Struck {
    /// By the path of a file in a log's directory; none for the disk as a whole.
    fn at(path: Option<&str>) -> Struck {
        match path {
            Some(path) if path.ends_with("/partition.metadata") => Struck::Identity,
            Some(path) if path.contains('/') && !path.ends_with(".log") => Struck::Beside,
            _ => Struck::Records,
        }
    }
}

impl Checks {
    /// A fault took or changed durable data of a node.
    pub(super) fn disk_damaged(&mut self, node: usize, what: &'static str, path: Option<&str>) {
        if node >= self.context.brokers {
            return;
        }
        let damage = Lost {
            what,
            injected: true,
            destructive: true,
        };
        self.marks.set(marks::REPLICA_DAMAGED);
        let state = &mut self.ghost.nodes[node];
        state.struck.get_or_insert(what);
        // A directory at the top is a log's. What else is there concerns all of them: checkpoints, the node's identity.
        let log = path.and_then(|path| path.split_once('/').map(|(dir, _)| dir));
        let dir = log.or_else(|| path.filter(|path| self.is_log_dir(path)));
        if dir.is_none() {
            let state = &mut self.ghost.nodes[node];
            state.dirty = false;
            state.was_dirty = false;
            state.broker_epoch = 0;
            // Another disk has the marker of another incarnation.
            state.left_clean &= path.is_some();
        }
        let struck = Struck::at(path);
        for at in 0..self.ghost.partitions.len() {
            if dir.is_none_or(|dir| self.may_stand_in(at, dir)) {
                self.log_damaged(at, node, damage, struck);
            }
        }
    }

    fn is_log_dir(&self, path: &str) -> bool {
        (0..self.ghost.partitions.len()).any(|at| self.may_stand_in(at, path))
    }

    /// Whether a directory is that of a log.
    fn may_stand_in(&self, at: usize, dir: &str) -> bool {
        let id = self.ghost.partitions[at].id;
        let real = |(name, _): &(String, Uuid)| dir == format!("{name}-{}", id.partition);
        self.topic_name(at) == dir || self.is_nameless(at) && self.topics.iter().any(real)
    }

    /// A log of a topic that no controller has created: a fault has changed the id in `partition.metadata`. Its directory
    /// is that of a real topic, nobody can say of which.
    fn is_nameless(&self, at: usize) -> bool {
        let id = self.ghost.partitions[at].id;
        id != METADATA_PARTITION && self.topics.iter().all(|(_, known)| *known != id.topic)
    }

    /// A log is opened that was not there before. Without a name, it is the directory of another log whose id was struck,
    /// with all that has struck it since.
    pub(super) fn first_opened(&mut self, at: usize, node: usize) {
        if self.ghost.partitions[at].replicas[node].known || !self.is_nameless(at) {
            return;
        }
        let number = self.ghost.partitions[at].id.partition;
        let struck = self.ghost.partitions.iter().find_map(|real| {
            let replica = &real.replicas[node];
            let same = real.id.partition == number && !real.is_metadata() && replica.struck > Struck::Identity;
            replica.fault.filter(|_| same).map(|damage| (damage, replica.struck))
        });
        if let Some((damage, struck)) = struck {
            self.log_damaged(at, node, damage, struck);
        }
    }

    /// One log of a node is in doubt.
    fn log_damaged(&mut self, at: usize, node: usize, damage: Lost, struck: Struck) {
        let up = self.ghost.nodes[node].up;
        let partition = &mut self.ghost.partitions[at];
        partition.guards &= !(1 << node);
        let metadata = partition.is_metadata();
        let replica = &mut partition.replicas[node];
        if replica.fault.is_none_or(|known| !known.destructive) {
            replica.fault = Some(damage);
        }
        replica.doubt = Doubt::Damaged;
        replica.struck = replica.struck.max(struck);
        replica.durable = 0;
        replica.must_hold = 0;
        replica.registered = false;
        let leads = replica.open && replica.role == Role::Leader;
        if metadata && !up {
            self.forget_obeyed(node);
        }
        if metadata && self.context.voters.contains(&self.name(node)) {
            self.report.expose(at, node, true);
        } else if !metadata && leads {
            self.report.expose(at, node, false);
        }
    }

    /// Its metadata may be older than it was, and so what it obeys.
    pub(super) fn forget_obeyed(&mut self, node: usize) {
        for partition in &mut self.ghost.partitions {
            partition.replicas[node].leader_epoch = -1;
            partition.replicas[node].partition_epoch = -1;
        }
    }

    /// A replica leads: if it is in doubt, so is what it serves.
    pub(super) fn leads_in_doubt(&mut self, at: usize, node: usize) {
        let replica = &self.ghost.partitions[at].replicas[node];
        if replica.doubt == Doubt::Damaged && replica.role == Role::Leader {
            self.report.expose(at, node, false);
        }
    }

    /// What explains that a log gets what cannot be: its own damage, or that of the leader whose log it copies.
    pub(super) fn damage_behind(&self, at: usize, node: usize) -> Option<Lost> {
        if self.ghost.nodes.iter().all(|state| state.struck.is_none()) {
            return None;
        }
        let partition = &self.ghost.partitions[at];
        let in_doubt = |node: usize| {
            let replica = &partition.replicas[node];
            replica.fault.filter(|_| replica.doubt == Doubt::Damaged)
        };
        if !partition.is_metadata() {
            let source = partition.leaders.get(&partition.replicas[node].leader_epoch);
            return in_doubt(node).or_else(|| source.and_then(|source| in_doubt(*source)));
        }
        // An epoch may have had another leader before, which a voter has forgotten. A node that has just started fetches in
        // the epoch that its disk names, and does not tell.
        let epoch = Some(self.quorum.epoch(node)).filter(|epoch| *epoch >= 0);
        let first = match epoch {
            Some(epoch) => self.quorum.leader_of(epoch),
            None => self.quorum.newest().map(|(_, leader)| leader),
        };
        let first = first.and_then(|first| self.ghost.node(NodeId(first)));
        let leads = |node: &usize| match epoch {
            Some(epoch) => self.quorum.leads_in(*node, epoch),
            None => self.quorum.leads(*node),
        };
        let now = (0..self.context.brokers).filter(leads);
        [node].into_iter().chain(first).chain(now).find_map(in_doubt)
    }

    /// A log has got what only damage explains: it is in doubt itself from now on. False: nothing explains it.
    pub(super) fn inherit(&mut self, at: usize, node: usize, behind: Option<Lost>) -> bool {
        if let Some(damage) = behind
            && self.ghost.partitions[at].replicas[node].doubt < Doubt::Damaged
        {
            self.log_damaged(at, node, damage, Struck::Records);
        }
        behind.is_some()
    }

    /// What a log holds is known again.
    pub(super) fn doubt_ended(&mut self, at: usize, node: usize) {
        let replica = &mut self.ghost.partitions[at].replicas[node];
        replica.doubt = Doubt::None;
        replica.fault = None;
        replica.struck = Struck::None;
        if self.ghost.partitions[at].is_metadata() {
            self.voter_made_up(node);
        } else {
            self.report.conceal(at, node);
        }
    }

    /// A voter whose metadata a fault had hit may hold again all that is committed, in an epoch that has its leader and in
    /// which it has no vote left to give: from then on it is as good as it was.
    pub(super) fn voter_made_up(&mut self, node: usize) {
        let Some(at) = self.ghost.find(&METADATA_PARTITION) else {
            return;
        };
        if !self.report.is_exposed(at, node) {
            return;
        }
        let partition = &mut self.ghost.partitions[at];
        let committed: Offset = partition.committed.end();
        let replica = &partition.replicas[node];
        let whole = replica.open && replica.doubt == Doubt::None && !replica.uncertain && replica.lost.is_none();
        let synced = replica.durable >= committed.min(replica.log.end());
        if whole && synced && partition.agreed(node) >= committed && self.quorum.has_settled(node) {
            self.report.conceal(at, node);
        }
    }
}
