//! The metadata quorum: X8, X9, X10, D3, and I4 for its epochs.
//!
//! Its log has a shadow like every other; this file adds votes, leaders, commits and images. A voter that forgets what it
//! had synced may break all of it; what that excuses, and until when, is in damage.rs. A power failure excuses nothing.
//!
//! Deliberately does not know pre-votes, which bind nobody.
//!
//! Sources: KIP-595, KIP-631, KIP-996; Raft (ATC 2014) section 5; KAFKA-12619; Redpanda 9ff1818afd.

use super::ghost::Mask;
use super::report::Check;
use super::{Checks, marks};
use kafka::note::Note;
use kafka::types::{METADATA_PARTITION, Offset};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};

/// How far back liveness looks for what must have been applied by now.
const GRACE_NS: u64 = 2_000_000_000;

/// One node's part.
#[derive(Clone, Debug, Default)]
struct Member {
    epoch: i32,
    votes: BTreeMap<i32, i32>,
    candidate: i32,
    leads: Option<i32>,
    /// Newest epoch whose leader it knows.
    led: i32,
    applied: Offset,
}

/// The quorum, as far as its members' notes tell.
#[derive(Clone, Debug)]
pub(super) struct Quorum {
    members: Vec<Member>,
    leaders: BTreeMap<i32, i32>,
    /// Where the log of each epoch's leader ended when it began: what is below may be inherited.
    starts: BTreeMap<i32, Offset>,
    images: BTreeMap<Offset, (u64, usize)>,
    recent: VecDeque<(u64, Offset)>,
    active: Option<usize>,
    /// Partitions with undecided states.
    pub(super) decided: BTreeSet<usize>,
}

impl Quorum {
    pub(super) fn new(nodes: usize) -> Quorum {
        Quorum {
            members: vec![Member::default(); nodes],
            leaders: BTreeMap::new(),
            starts: BTreeMap::new(),
            images: BTreeMap::new(),
            recent: VecDeque::new(),
            active: None,
            decided: BTreeSet::new(),
        }
    }

    pub(super) fn started(&mut self, node: usize) {
        self.members[node].epoch = -1;
        self.members[node].led = -1;
        self.members[node].applied = 0;
    }

    pub(super) fn stopped(&mut self, node: usize) {
        self.members[node].leads = None;
    }

    /// The epoch that a node is in.
    pub(super) fn epoch(&self, node: usize) -> i32 {
        self.members[node].epoch
    }

    /// The newest epoch that has a leader, and its node id.
    pub(super) fn newest(&self) -> Option<(i32, i32)> {
        self.leaders.last_key_value().map(|(epoch, leader)| (*epoch, *leader))
    }

    /// The leader of an epoch.
    pub(super) fn leader_of(&self, epoch: i32) -> Option<i32> {
        self.leaders.get(&epoch).copied()
    }

    /// Whether a node has left every epoch in which it might still give a vote that it has given before.
    pub(super) fn has_settled(&self, node: usize) -> bool {
        let member = &self.members[node];
        let voted = member.votes.last_key_value().map_or(-1, |(epoch, _)| *epoch);
        let newest = self.newest().map_or(-1, |(epoch, _)| epoch);
        member.epoch >= voted.max(newest) && member.led == member.epoch
    }

    /// Nodes that take themselves for the leader, with their epochs.
    pub(super) fn leading(&self) -> impl Iterator<Item = (usize, i32)> {
        self.members
            .iter()
            .enumerate()
            .filter_map(|(node, member)| Some((node, member.leads?)))
    }

    /// Whether a node takes itself for the leader.
    pub(super) fn leads(&self, node: usize) -> bool {
        self.members[node].leads.is_some()
    }

    /// Where an epoch's leader began; 0 if that is not known.
    pub(super) fn start_of(&self, epoch: i32) -> Offset {
        self.starts.get(&epoch).copied().unwrap_or(0)
    }

    /// Whether it leads in this epoch.
    pub(super) fn leads_in(&self, node: usize, epoch: i32) -> bool {
        self.members[node].leads == Some(epoch)
    }

    /// How far a node has applied the metadata.
    pub(super) fn applied(&self, node: usize) -> Offset {
        self.members[node].applied
    }

    /// Feeds what later comparisons depend on to `out`; see [`Checks::digest`]. Of votes only the newest counts: one
    /// in an older epoch is a violation whatever it says.
    pub(super) fn digest(&self, out: &mut impl Hasher) {
        for member in &self.members {
            let newest = member.votes.last_key_value();
            (member.epoch, newest, member.leads, member.led, member.applied).hash(out);
        }
        (&self.leaders, &self.starts, &self.images, self.active, &self.decided).hash(out);
    }

    /// What was committed a moment ago, so that everybody can have applied it.
    pub(super) fn settled(&self, now: u64) -> Offset {
        let old = self.recent.iter().rev().find(|(time, _)| time + GRACE_NS <= now);
        old.map_or(0, |(_, offset)| *offset)
    }
}

impl Checks {
    /// Whether no newer quorum leader than this node is known: what a replaced controller decides is never committed.
    pub(super) fn leads_quorum(&self, node: usize) -> bool {
        self.quorum.newest().is_none_or(|(_, leader)| leader == self.name(node))
    }

    pub(super) fn quorum_note(&mut self, node: usize, note: &Note) {
        match note {
            Note::Voted { epoch, candidate } => self.voted(node, epoch.0, candidate.0),
            Note::QuorumEpochStarted { epoch, leader } => {
                let before = self.quorum.members[node].epoch;
                self.report
                    .expect(Check::I4, self.now, Some(node), epoch.0 >= before, || {
                        format!("The quorum's epoch never goes back at a node. It went from {before} to {epoch} here.")
                    });
                self.quorum.members[node].epoch = epoch.0.max(before);
                if let Some(leader) = leader {
                    self.quorum.members[node].led = epoch.0;
                    self.led_by(node, epoch.0, leader.0);
                    self.voter_made_up(node);
                }
            }
            Note::BecameCandidate { epoch } => {
                let member = &mut self.quorum.members[node];
                if member.candidate > 0 && member.candidate + 1 == epoch.0 {
                    self.marks.set(marks::QUORUM_ELECTION_LOST);
                }
                member.candidate = epoch.0;
            }
            Note::BecameQuorumLeader {
                epoch,
                epoch_start_offset,
            } => self.became_quorum_leader(node, epoch.0, *epoch_start_offset),
            Note::ResignedQuorumLeader { .. } => self.quorum.members[node].leads = None,
            Note::QuorumCommitted {
                high_watermark,
                epoch,
                as_leader,
            } => self.quorum_committed(node, *high_watermark, epoch.0, *as_leader),
            Note::SnapshotWritten { end_offset, .. } => {
                self.marks.set(marks::SNAPSHOT_WRITTEN);
                self.snapshot(*end_offset);
            }
            Note::SnapshotLoaded { end_offset, .. } => {
                self.marks.set(marks::SNAPSHOT_LOADED);
                self.snapshot(*end_offset);
            }
            Note::MetadataApplied { offset, image_digest } => self.metadata_applied(node, *offset, *image_digest),
            Note::ControllerActivated { epoch } => {
                if self.quorum.active.replace(node).is_some_and(|before| before != node) {
                    self.marks.set(marks::CONTROLLER_FAILOVER);
                }
                // What the controller before had decided and not committed is gone; what is left is not known.
                for state in &mut self.ghost.nodes {
                    state.decided = None;
                }
                let id = self.name(node);
                self.led_by(node, epoch.0, id);
            }
            _ => {}
        }
    }

    /// X9, D3.
    fn voted(&mut self, node: usize, epoch: i32, candidate: i32) {
        let member = &mut self.quorum.members[node];
        let newest = member.votes.last_key_value().map(|(epoch, _)| *epoch);
        let first = *member.votes.entry(epoch).or_insert(candidate);
        member.epoch = member.epoch.max(epoch);
        let at = self.partition(METADATA_PARTITION);
        let forgot = self.report.is_exposed(at, node);
        let holds = first == candidate || self.report.gives_way(at, 1 << node);
        self.report.expect(Check::X9, self.now, Some(node), holds, || {
            format!("A voter votes once an epoch, for ever. This one voted for {first} and for {candidate} in epoch {epoch}.")
        });
        self.report.expect(
            Check::D3,
            self.now,
            Some(node),
            newest.is_none_or(|newest| newest <= epoch) || forgot,
            || {
                format!(
                    "A vote survives any crash. This node voted in epoch {} before, and in epoch {epoch} now.",
                    newest.unwrap_or(-1)
                )
            },
        );
    }

    /// X9: one leader an epoch.
    fn led_by(&mut self, node: usize, epoch: i32, leader: i32) {
        let first = *self.quorum.leaders.entry(epoch).or_insert(leader);
        let at = self.partition(METADATA_PARTITION);
        let holds = first == leader || self.report.gives_way(at, Mask::MAX);
        self.report.expect(Check::X9, self.now, Some(node), holds, || {
            format!("An epoch has one quorum leader. In epoch {epoch} it was {first}, and is {leader} here.")
        });
    }

    /// X9, X10: the leader has all that was committed in earlier epochs.
    fn became_quorum_leader(&mut self, node: usize, epoch: i32, first: Offset) {
        let id = self.name(node);
        self.led_by(node, epoch, id);
        let before = self.quorum.starts.insert(epoch, first);
        let at = self.partition(METADATA_PARTITION);
        let once = before.is_none() || self.report.gives_way(at, Mask::MAX);
        self.report.expect(Check::X9, self.now, Some(node), once, || {
            let before = before.unwrap_or_default();
            format!("Nobody leads an epoch twice. Leader {id} of epoch {epoch} began at {before}, and begins at {first} again.")
        });
        let member = &mut self.quorum.members[node];
        member.leads = Some(epoch);
        member.epoch = member.epoch.max(epoch);
        let partition = &mut self.ghost.partitions[at];
        // One that is elected late, by votes that were long on their way, knows nothing of the epochs after its own.
        let end = partition.committed_until(if before.is_none() { epoch - 1 } else { epoch });
        if partition.replicas[node].uncertain {
            return;
        }
        let held = partition.agreed(node);
        self.count_what_leader_has(at, node);
        self.report.look(Check::X10);
        if held >= end {
            return;
        }
        if !self.report.gives_way(at, Mask::MAX) {
            self.report.fire(Check::X10, self.now, Some(node), || {
                format!("A quorum leader has all committed metadata. It is committed up to {end}; the leader of epoch {epoch}, which begins at {first}, holds it up to {held}.")
            });
        }
        self.ghost.partitions[at].uncommit(held);
    }

    /// X10; the committed metadata log.
    fn quorum_committed(&mut self, node: usize, to: Offset, epoch: i32, as_leader: bool) {
        let at = self.partition(METADATA_PARTITION);
        let partition = &mut self.ghost.partitions[at];
        let highest = partition.highest_high_watermark;
        let replica = &mut partition.replicas[node];
        let before = replica.high_watermark.unwrap_or(0);
        replica.high_watermark = Some(to);
        replica.open = true;
        let end = replica.log.end();
        let certain = replica.comparable();
        let cell = replica.log.get(to - 1).filter(|cell| cell.epoch >= 0);
        if as_leader {
            partition.highest_high_watermark = highest.max(to);
        }
        let why = if to < before {
            Some(format!("it was {before} here"))
        } else if to > end && certain {
            Some(format!("the log ends at {end}"))
        } else if !as_leader && to > highest {
            Some(format!("no leader has had more than {highest}"))
        } else if as_leader && certain && cell.is_some_and(|cell| cell.epoch != epoch) {
            Some(format!(
                "the entry below it is of epoch {}",
                cell.map_or(-1, |cell| cell.epoch)
            ))
        } else {
            None
        };
        self.report.look(Check::X10);
        if self.report.is_quorum_broken() {
            self.extend_metadata(at, node, (to, epoch), as_leader);
            return;
        }
        if let Some(why) = why {
            self.report.fire(Check::X10, self.now, Some(node), || {
                format!("The quorum's high watermark rises, over what the log holds, and its leader counts an entry of its own epoch first. It went to {to} in epoch {epoch}, but {why}.")
            });
        }
        self.extend_metadata(at, node, (to, epoch), as_leader);
        if as_leader && certain {
            self.held_by_majority(at, node, to);
        }
        self.touch(at, node);
        self.matches_committed(at, node);
        if as_leader {
            self.decisions_committed(node, epoch, to);
        }
    }

    fn extend_metadata(&mut self, at: usize, node: usize, (to, epoch): (Offset, i32), as_leader: bool) {
        if as_leader {
            self.extend_committed(at, node, to, epoch);
            let recent = &mut self.quorum.recent;
            recent.push_back((self.now, to));
            while recent.get(1).is_some_and(|(time, _)| time + GRACE_NS <= self.now) {
                recent.pop_front();
            }
        }
    }

    /// X10: a majority of the voters has flushed it.
    fn held_by_majority(&mut self, at: usize, node: usize, to: Offset) {
        let mut count = 0;
        let mut who = 0;
        for voter in 0..self.context.brokers {
            if !self.context.voters.contains(&self.context.node_ids[voter]) {
                continue;
            }
            let partition = &mut self.ghost.partitions[at];
            let held = partition.replicas[voter].uncertain || partition.agreed(voter) >= to;
            // What it has lost since may have counted before.
            let counted = self.report.is_exposed(at, voter);
            if counted || held && partition.replicas[voter].durable >= to {
                count += 1;
                who |= 1 << voter;
            }
        }
        let needed = self.context.voters.len() / 2 + 1;
        self.report.look(Check::X10);
        if count < needed {
            let who = self.ghost.names(who);
            self.report.fire(Check::X10, self.now, Some(node), || {
                format!("Metadata is committed when a majority of the voters holds it durably. It was committed up to {to} with {count} of {needed}: {who:?}.")
            });
        }
    }

    /// X8.
    fn metadata_applied(&mut self, node: usize, offset: Offset, digest: u64) {
        self.quorum.members[node].applied = offset;
        let at = self.partition(METADATA_PARTITION);
        let committed = self.ghost.partitions[at]
            .highest_high_watermark
            .max(self.ghost.partitions[at].deleted_to);
        if self.report.is_quorum_broken() {
            return;
        }
        let (first, by) = *self.quorum.images.entry(offset).or_insert((digest, node));
        let same = first == digest || self.report.gives_way(at, 1 << node | 1 << by);
        self.report.expect(Check::X8, self.now, Some(node), same, || {
            format!("At one metadata offset all nodes have the same image. At {offset} this one has {digest:016x}, node index {by} had {first:016x}.")
        });
        let known = offset <= committed || self.report.gives_way(at, 1 << node);
        self.report.expect(Check::X8, self.now, Some(node), known, || {
            format!(
                "Only committed metadata is applied. This node applied it up to {offset}, committed is {committed}."
            )
        });
    }

    /// A snapshot stands for the log below it.
    fn snapshot(&mut self, end: Offset) {
        let at = self.partition(METADATA_PARTITION);
        let partition = &mut self.ghost.partitions[at];
        partition.deleted_to = partition.deleted_to.max(end);
    }

    /// Where a node's metadata log ends.
    pub(super) fn metadata_end(&self, node: usize) -> Offset {
        let at = self.ghost.find(&METADATA_PARTITION);
        at.map_or(0, |at| self.ghost.partitions[at].replicas[node].log.end())
    }
}
