//! The controller's states and the elections that follow from them: X3, X5, X7, D6.
//!
//! A decided state counts once a broker obeys it or the metadata beyond it is committed; until then it is pending,
//! and a failover may drop it. Every state is taken in order, so that the guards (contract.rs) see each change.
//!
//! Deliberately does not know why the controller decides, only what.
//!
//! Sources: KIP-497, KIP-631, KIP-841, KIP-903, KIP-966; KAFKA-7128.

use super::ghost::{Role, has, nodes};
use super::partition::{Pending, State};
use super::report::Check;
use super::shadow::Cell;
use super::{Checks, marks};
use kafka::note::PartitionState;
use kafka::types::{METADATA_PARTITION, NodeId, Offset};

/// A comparison that waits for the end of the step, since a controller's notes of one step come in any order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deferred {
    /// These brokers joined an ISR or began to lead: they are neither fenced nor leaving.
    Active { at: usize, broker: usize, leads: bool },
    /// This broker may serve again: it is in no ISR or ELR with less than it must hold.
    Unfenced { broker: usize },
}

/// How a state came to be decided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decided {
    unclean: bool,
    /// With the metadata log below this.
    pub knowing: Offset,
    pub time_ns: u64,
}

impl From<&Pending> for Decided {
    fn from(pending: &Pending) -> Decided {
        Decided {
            unclean: pending.unclean,
            // The batch that decides may have changed the topic's properties as well.
            knowing: pending.after + 1,
            time_ns: pending.time_ns,
        }
    }
}

impl Checks {
    /// A leader begins: I3, I4, X5, X6.
    pub(super) fn became_leader(
        &mut self,
        node: usize,
        at: usize,
        state: &PartitionState,
        first: Offset,
        high: Offset,
    ) {
        let view = self.ghost.state(state);
        self.obey(at, node, view.leader_epoch, view.partition_epoch);
        self.acted_as_leader(at, node, view.leader_epoch);
        self.take_state(at, view);
        let partition = &mut self.ghost.partitions[at];
        partition.highest_high_watermark = partition.highest_high_watermark.max(high);
        let replica = &mut partition.replicas[node];
        let rose = replica.role != Role::Leader || high >= replica.high_watermark.unwrap_or(0);
        replica.role = Role::Leader;
        replica.isr = view.isr;
        replica.maximal_isr = view.isr;
        replica.proposed = None;
        replica.high_watermark = Some(high);
        replica.open = true;
        replica.known = true;
        replica.matched = (-1, 0);
        let (end, uncertain) = (replica.log.end(), replica.uncertain);
        if high < end {
            self.marks.set(marks::ELECTION_ABOVE_HW);
        }
        self.report.look(Check::I3);
        self.report.look(Check::I5);
        if (first > end || !rose) && !uncertain {
            let name = self.topic_name(at);
            let check = if rose { Check::I3 } else { Check::I5 };
            self.report.fire(check, self.now, Some(node), || {
                format!("A leader's epoch begins within its log, and its high watermark does not fall. {name} ends at {end} here, its new epoch begins at {first} with the high watermark {high}.")
            });
        }
        self.touch(at, node);
        self.leads_in_doubt(at, node);
        self.complete_leader(at, node);
        self.commit(at, node, high, view.leader_epoch);
        self.matches_committed(at, node);
    }

    /// X5: a new leader holds all that is committed; what it lacks was lawfully lost, or not.
    pub(super) fn complete_leader(&mut self, at: usize, node: usize) {
        let partition = &mut self.ghost.partitions[at];
        let epoch = partition.replicas[node].leader_epoch;
        if partition.replicas[node].uncertain || !partition.legitimate(node, epoch) {
            return;
        }
        let held = partition.agreed(node);
        let end = partition.committed.end();
        self.report.look(Check::X5);
        if held < end {
            self.leader_lacks(at, node, held, end);
            self.ghost.partitions[at].completed_epoch = epoch;
            return;
        }
        partition.completed_epoch = epoch;
        if partition.acked_end > 0 {
            let crashed = partition
                .leaders
                .range(..epoch)
                .next_back()
                .is_some_and(|(_, leader)| !self.ghost.nodes[*leader].up);
            if crashed {
                self.marks.set(marks::SURVIVED_CRASH);
            }
        }
    }

    /// A follower begins: I4.
    pub(super) fn became_follower(&mut self, node: usize, at: usize, state: &PartitionState, high: Offset) {
        let view = self.ghost.state(state);
        self.obey(at, node, view.leader_epoch, view.partition_epoch);
        self.take_state(at, view);
        let partition = &mut self.ghost.partitions[at];
        let highest = partition.highest_high_watermark;
        let replica = &mut partition.replicas[node];
        let fresh = replica.high_watermark.is_none();
        replica.role = Role::Follower;
        replica.isr = 0;
        replica.maximal_isr = 0;
        replica.proposed = None;
        replica.high_watermark = Some(high);
        replica.open = true;
        replica.known = true;
        let doubtful = fresh && replica.opened_in_doubt;
        let passed = high > highest && replica.comparable() && !doubtful && high > 0;
        self.report.look(if fresh { Check::D5 } else { Check::I5 });
        if passed {
            let name = self.topic_name(at);
            let check = if fresh { Check::D5 } else { Check::I5 };
            self.report.fire(check, self.now, Some(node), || {
                format!("A follower's high watermark, also one that it reads from its disk, comes from a leader. That of {name} is {high}, while no leader has had more than {highest}.")
            });
        }
        self.touch(at, node);
        self.matches_committed(at, node);
    }

    /// The leader took over a state of its own epoch.
    pub(super) fn isr_updated(&mut self, node: usize, at: usize, state: &PartitionState) {
        let view = self.ghost.state(state);
        self.obey(at, node, view.leader_epoch, view.partition_epoch);
        let replica = &mut self.ghost.partitions[at].replicas[node];
        replica.isr = view.isr;
        replica.maximal_isr = view.isr;
        replica.proposed = None;
        self.take_state(at, view);
    }

    /// The leader asks for another ISR: X4.
    pub(super) fn isr_proposed(&mut self, node: usize, at: usize, isr: &[NodeId], maximal: &[NodeId], epoch: i32) {
        self.marks.set(marks::ISR_PROPOSED);
        let (isr, maximal) = (self.ghost.mask(isr), self.ghost.mask(maximal));
        let partition = &mut self.ghost.partitions[at];
        let state = partition.state;
        let replica = &mut partition.replicas[node];
        replica.maximal_isr = maximal;
        replica.proposed = Some((epoch, isr, self.now));
        let committed = replica.isr
            | state
                .filter(|state| state.partition_epoch == epoch)
                .map_or(0, |state| state.isr);
        self.report.look(Check::X4);
        if maximal & (isr | committed) != isr | committed {
            let name = self.topic_name(at);
            let missing = self.ghost.names((isr | committed) & !maximal);
            self.report.fire(Check::X4, self.now, Some(node), || {
                format!("While an ISR is proposed, the high watermark waits for the committed and the proposed one together. In {name} it does not wait for {missing:?}.")
            });
        }
    }

    /// X7, and what the state will mean once it is committed.
    pub(super) fn partition_decided(
        &mut self,
        node: usize,
        at: usize,
        state: &PartitionState,
        unclean: bool,
        epoch: i32,
    ) {
        let next = self.ghost.state(state);
        let stale = self.quorum.newest().is_some_and(|(newest, _)| newest > epoch);
        let metadata_end = self.metadata_end(node);
        let partition = &self.ghost.partitions[at];
        let before = partition
            .pending
            .iter()
            .rev()
            .find(|pending| pending.controller_epoch == epoch)
            .map(|pending| pending.state);
        // The first decision of a controller builds on whatever was committed, which may be any pending one.
        let candidates = partition
            .pending
            .iter()
            .map(|pending| pending.state)
            .chain(partition.state);
        let follows = |known: &State| next.partition_epoch == known.partition_epoch + 1;
        let before = before
            .or_else(|| candidates.clone().rfind(follows))
            .or_else(|| candidates.clone().next_back());
        // Its creation may have been decided before, by a controller that was replaced before anybody knew.
        let created = next.partition_epoch == 0 && partition.state.is_none();
        let needed = partition.min_isr(metadata_end + 1, next.replicas);
        let distinct = |ids: &[NodeId]| ids.iter().enumerate().all(|(n, id)| !ids[..n].contains(id));
        let mut why = None;
        if next.isr & !next.replicas != 0 || next.elr & !next.replicas != 0 {
            why = Some("a member of ISR or ELR is no replica".to_owned());
        } else if next.isr & next.elr != 0 {
            why = Some("ISR and ELR overlap".to_owned());
        } else if !(distinct(&state.isr) && distinct(&state.elr) && distinct(&state.replicas)) {
            why = Some("a broker is named twice".to_owned());
        } else if next.leader.is_some_and(|leader| !has(next.isr, leader)) {
            why = Some("the leader is not in the ISR".to_owned());
        } else if !stale && next.isr.count_ones() >= needed && next.elr != 0 {
            // What a replaced controller had written about min.insync.replicas is taken back, but it still obeys it.
            why = Some("the ELR is not empty although the ISR is large enough".to_owned());
        } else if let Some(before) = before.filter(|_| !stale && !created) {
            let unsaid = partition.unsaid && next.partition_epoch > before.partition_epoch;
            if !follows(&before) && !unsaid {
                why = Some(format!("the partition epoch before was {}", before.partition_epoch));
            } else if next.leader_epoch < before.leader_epoch {
                why = Some(format!("the leader epoch before was {}", before.leader_epoch));
            } else if next.leader != before.leader && next.leader_epoch <= before.leader_epoch {
                why = Some("the leader changed without a new leader epoch".to_owned());
            }
        }
        self.report.look(Check::X7);
        if let Some(why) = why {
            let name = self.topic_name(at);
            self.report.fire(Check::X7, self.now, Some(node), || {
                format!("The controller's states are well formed. For {name} it decided {state:?}, but {why}.")
            });
        }
        let decision = Pending {
            state: next,
            unclean,
            time_ns: self.now,
            controller: node,
            controller_epoch: epoch,
            after: metadata_end,
        };
        if stale {
            // Nobody acts on it, unless the newest controller commits nothing and a later one has this in its log.
            self.ghost.partitions[at].pending.push(decision);
            return;
        }
        if before.is_some_and(|before| before.replicas != next.replicas) {
            self.marks.set(marks::REASSIGNED);
        }
        let (joined, leads) = match before {
            Some(before) => (
                next.isr & !before.isr,
                next.leader.filter(|leader| before.leader != Some(*leader)),
            ),
            None => (0, next.leader),
        };
        for broker in nodes(joined) {
            self.settle.states.push(Deferred::Active {
                at,
                broker,
                leads: false,
            });
        }
        if let Some(broker) = leads {
            self.settle.states.push(Deferred::Active {
                at,
                broker,
                leads: true,
            });
        }
        let eligible = next.isr | next.elr;
        let known = before.map_or(0, |before| before.isr | before.elr);
        for member in nodes(eligible & !known) {
            self.returned(at, member, next, unclean);
        }
        self.quorum.decided.insert(at);
        self.ghost.partitions[at].unsaid = false;
        self.ghost.partitions[at].pending.push(decision);
    }

    /// D6: a replica that lost data comes back into ISR, ELR or leadership only when it has caught up.
    fn returned(&mut self, at: usize, member: usize, state: State, unclean: bool) {
        let partition = &mut self.ghost.partitions[at];
        self.report.about(Some(at));
        if partition.guards == 0 || unclean {
            // Nobody else holds what is lost: somebody has to begin again.
            return;
        }
        let held = partition.agreed(member);
        let end = partition.committed.end();
        let replica = &partition.replicas[member];
        let (lost, registered) = (replica.lost, replica.registered);
        self.report.look(Check::D6);
        if let Some(lost) = lost
            && registered
            && !replica.uncertain
            && replica.doubt < super::Doubt::Damaged
            && held < end
            && !replica.has_hole(held, end)
        {
            let (name, member, epoch) = (self.topic_name(at), self.name(member), state.partition_epoch);
            self.report.fire(Check::D6, self.now, None, || {
                format!("A replica that lost data is not in sync until it has fetched again what is committed. Broker {member} lost records of {name} ({}) and holds them only up to {held} of {end}, but the controller took it in with partition epoch {epoch}.", lost.what)
            });
        }
    }

    /// The last decided state that the newest quorum leader has in its log. One that only a controller before it has is
    /// not forgotten, for it may be committed yet: a later leader may have it, if this one commits nothing.
    /// With it, whether that was an unclean election.
    pub(super) fn in_force(&self, at: usize) -> Option<(State, bool)> {
        let committed = self.ghost.partitions[at].state.map(|state| (state, false));
        let last = self.inherited(at).last();
        last.map(|pending| (pending.state, pending.unclean)).or(committed)
    }

    /// The committed state, and those decided since that the newest quorum leader has in its log.
    pub(super) fn standing(&self, at: usize) -> impl Iterator<Item = State> {
        let committed = self.ghost.partitions[at].state;
        self.inherited(at).map(|pending| pending.state).chain(committed)
    }

    /// Decisions that the newest quorum leader has in its log.
    fn inherited(&self, at: usize) -> impl Iterator<Item = &Pending> {
        let newest = self.quorum.newest();
        let leader = newest.and_then(|(epoch, id)| Some((epoch, self.ghost.node(NodeId(id))?)));
        let stands = move |pending: &&Pending| leader.is_none_or(|(epoch, node)| self.builds_on(node, epoch, pending));
        self.ghost.partitions[at].pending.iter().filter(stands)
    }

    /// Whether a decision is one of the controller `node` of this epoch, or of one before it and in its log.
    fn builds_on(&self, node: usize, epoch: i32, pending: &Pending) -> bool {
        let written = |cell: Cell| cell == Cell::HOLE || cell.epoch == pending.controller_epoch;
        let inherited = |metadata: usize| {
            let metadata = &self.ghost.partitions[metadata];
            let log = &metadata.replicas[node].log;
            if pending.after < log.start {
                // Its own records went into a snapshot, so they were committed.
                metadata.committed.get(pending.after).is_none_or(written)
            } else {
                log.get(pending.after).is_some_and(written)
            }
        };
        let before = pending.after < self.quorum.start_of(epoch);
        pending.controller_epoch >= epoch || before && self.ghost.find(&METADATA_PARTITION).is_some_and(inherited)
    }

    /// What waited for the end of the step: X7, D6.
    pub(super) fn settle_state(&mut self, deferred: Deferred) {
        match deferred {
            Deferred::Active { at, broker, leads } => {
                self.report.look(Check::X7);
                let last = self.in_force(at);
                // Several brokers may be fenced in one step, each a leader for a moment until its own turn.
                let stays = |(state, _): (State, bool)| {
                    if leads {
                        state.leader == Some(broker)
                    } else {
                        has(state.isr, broker)
                    }
                };
                if !last.is_some_and(stays) {
                    return;
                }
                let Some((_, fenced, leaving)) = self.ghost.nodes[broker].decided else {
                    return;
                };
                if fenced || leaving {
                    let (name, broker) = (self.topic_name(at), self.name(broker));
                    self.report.fire(Check::X7, self.now, None, || {
                        let how = if fenced { "is fenced" } else { "is leaving" };
                        let what = if leads { "made the leader" } else { "taken into the ISR" };
                        format!("A broker that is fenced or leaving neither leads nor joins an ISR (KIP-841). Broker {broker} {how} and was {what} of {name}.")
                    });
                }
            }
            Deferred::Unfenced { broker } => {
                for at in 0..self.ghost.partitions.len() {
                    let unknowing = self.ghost.partitions[at].replicas[broker].unknowing;
                    let stays = |(state, _): &(State, bool)| has(state.isr | state.elr, broker) && !unknowing;
                    if let Some((state, unclean)) = self.in_force(at).filter(stays) {
                        self.returned(at, broker, state, unclean);
                    }
                }
            }
        }
    }

    /// The controller knows whether a broker may serve.
    pub(super) fn broker_decided(&mut self, broker: usize, epoch: i64, fenced: bool, leaving: bool) {
        let known = self.ghost.nodes[broker].decided.replace((epoch, fenced, leaving));
        if fenced && known.is_some_and(|(known, was, _)| known == epoch && !was) {
            self.marks.set(marks::BROKER_FENCED);
        }
        if leaving {
            self.marks.set(marks::CONTROLLED_SHUTDOWN);
        }
        if epoch > self.ghost.nodes[broker].registered_epoch {
            self.ghost.nodes[broker].registered_epoch = epoch;
            for partition in &mut self.ghost.partitions {
                partition.replicas[broker].registered = true;
            }
        }
        if !fenced && known.is_none_or(|(known, was, _)| was || known != epoch) {
            self.settle.states.push(Deferred::Unfenced { broker });
        }
    }

    /// I4: broker epochs rise.
    pub(super) fn broker_registered(&mut self, node: usize, epoch: i64) {
        let state = &mut self.ghost.nodes[node];
        let before = std::mem::replace(&mut state.broker_epoch, epoch);
        state.left_clean = false;
        let again = std::mem::replace(&mut state.registered, true);
        state.unfenced &= again && epoch == before;
        // The same incarnation may hear of its registration twice.
        let holds = epoch > before || (epoch == before && (again || before == 0));
        self.report.expect(Check::I4, self.now, Some(node), holds, || {
            format!("Each incarnation of a broker has a higher broker epoch than the one before. This one has {epoch}, the one before had {before}.")
        });
        // From here on the controller's ISR speaks of this incarnation.
        for at in 0..self.ghost.partitions.len() {
            self.caught_up(at, node);
        }
    }

    /// A state that some broker obeys, which is therefore committed, and all that it builds on.
    pub(super) fn take_state(&mut self, at: usize, obeyed: State) {
        let known = self.ghost.partitions[at].state;
        // A leader that hears of its new ISR in the controller's answer does not hear the ELR with it.
        let same = |other: &State| {
            State {
                elr: obeyed.elr,
                ..*other
            } == obeyed
        };
        let next = obeyed;
        if let Some(known) = known
            && known.partition_epoch >= next.partition_epoch
        {
            self.report.look(Check::X7);
            if known.partition_epoch == next.partition_epoch && !same(&known) {
                let name = self.topic_name(at);
                self.report.fire(Check::X7, self.now, None, || {
                    format!("A partition epoch names one state. {name} has two of partition epoch {}: {known:?} and {next:?}.", next.partition_epoch)
                });
            }
            return;
        }
        let pending = &self.ghost.partitions[at].pending;
        // Two controllers may have decided the same: the later one builds on the earlier one's, not the other way round.
        let alike = (0..pending.len()).filter(|i| same(&pending[*i].state));
        let this = alike.max_by_key(|i| pending[*i].controller_epoch);
        let found = this.map(|this| pending[this]);
        let next = found.map_or(next, |found| found.state);
        // Also what the controllers before it had decided, if it found that in its log.
        let builds_on = |pending: &&Pending| {
            found.is_some_and(|found| {
                pending.controller_epoch <= found.controller_epoch
                    && self.builds_on(found.controller, found.controller_epoch, pending)
            })
        };
        let earlier: Vec<Pending> = pending
            .iter()
            .take(this.unwrap_or(0))
            .filter(builds_on)
            .filter(|pending| known.is_none_or(|known| pending.state.partition_epoch > known.partition_epoch))
            .copied()
            .collect();
        let unseen = Decided {
            unclean: false,
            knowing: Offset::MAX,
            time_ns: self.now,
        };
        let decided = found.as_ref().map_or(unseen, Decided::from);
        for pending in earlier {
            self.enter_state(at, pending.state, Decided::from(&pending));
        }
        self.enter_state(at, next, decided);
        let partition = &mut self.ghost.partitions[at];
        partition
            .pending
            .retain(|pending| pending.state.partition_epoch > next.partition_epoch);
    }

    /// The metadata that this controller has written below `committed` is committed, and its decisions with it.
    pub(super) fn decisions_committed(&mut self, controller: usize, epoch: i32, committed: Offset) {
        if self.quorum.decided.is_empty() {
            return;
        }
        for at in std::mem::take(&mut self.quorum.decided) {
            let last = self.ghost.partitions[at]
                .pending
                .iter()
                .rev()
                .find(|pending| {
                    pending.controller == controller && pending.controller_epoch == epoch && pending.after < committed
                })
                .map(|pending| pending.state);
            if let Some(state) = last
                && self.ghost.partitions[at]
                    .state
                    .is_none_or(|known| known.partition_epoch < state.partition_epoch)
            {
                self.take_state(at, state);
            }
            if !self.ghost.partitions[at].pending.is_empty() {
                self.quorum.decided.insert(at);
            }
        }
    }

    fn enter_state(&mut self, at: usize, next: State, decided: Decided) {
        self.report.about(Some(at));
        let partition = &mut self.ghost.partitions[at];
        let before = partition.state.replace(next);
        partition.elected = next.leader.or(partition.elected);
        if decided.unclean {
            self.marks.set(marks::UNCLEAN_ELECTION);
            partition.unclean_epoch = partition.unclean_epoch.max(next.leader_epoch);
            partition.unclean_allowed = partition.terms.below(decided.knowing).unclean_leader_election;
        }
        if let Some(before) = before {
            if before.isr & !next.isr != 0 {
                self.marks.set(marks::ISR_SHRANK);
            }
            if next.isr & !before.isr != 0 {
                self.marks.set(marks::ISR_EXPANDED);
            }
            if next.elr & !before.elr != 0 {
                self.marks.set(marks::ELR_FILLED);
            }
            if let Some(leader) = next.leader.filter(|leader| before.leader != Some(*leader)) {
                self.marks.set(marks::LEADER_CHANGED);
                if has(before.elr, leader) {
                    self.marks.set(marks::ELR_USED);
                }
                if next.preferred == Some(leader) && before.leader.is_some_and(|old| has(next.isr, old)) {
                    self.marks.set(marks::PREFERRED_ELECTION);
                }
            }
        }
        self.guard(at, before, next, decided);
        self.eligible_are_complete(at, next);
    }

    /// X3: who may be elected holds what is committed.
    fn eligible_are_complete(&mut self, at: usize, state: State) {
        for member in nodes(state.isr | state.elr) {
            let partition = &mut self.ghost.partitions[at];
            let replica = &partition.replicas[member];
            let known = !replica.uncertain && replica.lost.is_none() && replica.doubt == super::Doubt::None;
            if !known || partition.unclean_epoch > partition.completed_epoch {
                continue;
            }
            let held = partition.agreed(member);
            let end = partition.committed.end();
            self.report.look(Check::X3);
            if held < end {
                let (name, member) = (self.topic_name(at), self.name(member));
                self.report.fire(Check::X3, self.now, None, || {
                    format!("Who is in sync or eligible holds all that is committed. {name} is committed up to {end}, broker {member} holds it up to {held}, and partition epoch {} makes it eligible.", state.partition_epoch)
                });
            }
        }
    }
}
