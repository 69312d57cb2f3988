//! What the controller decides: who is fenced, who is in sync, who leads.
//!
//! ```text
//!   wished ISR ──▶ ELR ──▶ election ──▶ the next version, or nothing
//! ```
//!
//! Elections leave a choice among the valid replicas, and so does the action that causes one.
//!
//! Sources: KIP-497, KIP-631, KIP-841, KIP-903, KIP-966; KAFKA-14617.

use super::flaw::Flaw;
use super::state::{BrokerEpoch, Controller, MOST_REPLICAS, Message, Proposal, Replica, Set, State, Version};
use super::step::{Protocol, Refusal, require};

impl Protocol {
    /// Members of an ISR that falls below the minimum had everything that is committed, and nothing is committed
    /// until it is large enough again: they stay eligible.
    fn eligible(&self, before: &Version, isr: Set, unclean: Set) -> Set {
        if isr.len() >= self.min_isr() || self.has(Flaw::LastReplicaStanding) {
            return Set::default();
        }
        before.elr.union(before.isr).minus(isr).minus(unclean)
    }

    /// Writes the next version: this ISR, and whom `elect` names if the leader cannot stay. `unclean` may have lost
    /// records and is in neither ISR nor ELR.
    fn change(&self, state: &mut State, wish: Set, unclean: Set, elect: Option<Replica>) -> Result<(), Refusal> {
        let controller = &state.controller;
        let before = *controller.newest();
        let keeps_last = self.has(Flaw::LastReplicaStanding) && wish.is_empty();
        let isr = if keeps_last { before.isr } else { wish };
        let elr = self.eligible(&before, isr, unclean);
        let eligible = if isr.is_empty() { elr } else { isr };
        let valid = eligible.minus(controller.fenced);
        let mut next = Version { isr, elr, ..before };
        next.leader = match before.leader.filter(|leader| valid.has(*leader)) {
            Some(leader) => {
                require(elect.is_none(), "the leader can stay")?;
                Some(leader)
            }
            None if !valid.is_empty() => {
                let leader = elect.ok_or("there is somebody who can lead")?;
                require(
                    valid.has(leader),
                    "a leader is alive and from the ISR, or from the ELR if that is empty",
                )?;
                Some(leader)
            }
            None => {
                let last = controller.last_known_leader.filter(|_| eligible.is_empty());
                let last = last.filter(|last| !controller.fenced.has(*last));
                let is_unclean = elect.is_some_and(|leader| self.unclean_election && !controller.fenced.has(leader));
                require(
                    elect == last || is_unclean,
                    "nobody can lead but the last known leader (KIP-966)",
                )?;
                elect
            }
        };
        if next.leader != before.leader {
            next.leader_epoch += 1;
        }
        if let Some(leader) = next.leader.filter(|leader| !isr.has(*leader)) {
            if !elr.has(leader) {
                state.outside.unclean_election = true;
            }
            next.isr = Set::of(leader);
            next.elr = if next.isr.len() >= self.min_isr() || !elr.has(leader) {
                Set::default()
            } else {
                elr.without(leader)
            };
        }
        if next.leader.is_some() {
            state.controller.last_known_leader = None;
        } else if next.isr.is_empty() && before.leader.is_some() && !self.has(Flaw::LastReplicaStanding) {
            state.controller.last_known_leader = before.leader;
        }
        if next != before {
            state.controller.versions.push(next);
            state.prune();
        }
        Ok(())
    }

    /// Who may be elected if the ISR is to be this, and these are fenced: nobody if the leader stays or nobody can lead.
    pub(super) fn choices(&self, state: &State, isr: Set, fenced: Set) -> impl Iterator<Item = Option<Replica>> {
        let before = state.controller.newest();
        let isr = if self.has(Flaw::LastReplicaStanding) && isr.is_empty() {
            before.isr
        } else {
            isr
        };
        let eligible = if isr.is_empty() {
            self.eligible(before, isr, Set::default())
        } else {
            isr
        };
        let valid = eligible.minus(fenced);
        let stays = before.leader.is_some_and(|leader| valid.has(leader));
        let nobody = stays || valid.is_empty();
        let elected = if nobody { Set::default() } else { valid };
        let last = state.controller.last_known_leader.filter(|_| !stays);
        nobody
            .then_some(None)
            .into_iter()
            .chain(elected.iter().map(Some))
            .chain(last.map(Some))
    }

    /// Whether all of an ISR may be in it: alive, and the incarnations that its leader has seen fetching (KIP-903).
    pub fn is_eligible(&self, controller: &Controller, isr: Set, incarnations: &[BrokerEpoch; MOST_REPLICAS]) -> bool {
        isr.iter().all(|replica| {
            let seen = incarnations[usize::from(replica)];
            let registered = controller.broker_epochs[usize::from(replica)];
            let same = seen == 0 || seen == registered || self.has(Flaw::AlterPartitionNoBrokerEpoch);
            same && !controller.fenced.has(replica)
        })
    }

    pub(super) fn handle_alter(
        &self,
        state: &mut State,
        leader: Replica,
        proposal: Proposal,
        elect: Option<Replica>,
    ) -> Result<(), Refusal> {
        let of = |message: &Message| matches!(message, Message::Alter { leader: from, proposal: wish, .. } if *from == leader && *wish == proposal);
        let at = state.network.iter().position(of).ok_or("no such request was sent")?;
        let Message::Alter {
            broker_epoch,
            leader_epoch,
            incarnations,
            ..
        } = state.network[at]
        else {
            unreachable!("that is what was looked for");
        };
        let controller = &state.controller;
        let current = *controller.newest();
        let stale = controller.broker_epochs[usize::from(leader)] != broker_epoch
            || current.leader != Some(leader)
            || current.leader_epoch != leader_epoch
            || controller.partition_epoch() != proposal.partition_epoch;
        let eligible = self.is_eligible(&state.controller, proposal.isr, &incarnations);
        if stale {
            // The leader learns the rest from the metadata.
            require(elect.is_none(), "a stale request changes nothing")?;
        } else if eligible {
            self.change(state, proposal.isr, Set::default(), elect)?;
        } else {
            require(elect.is_none(), "a refused request changes nothing")?;
        }
        state.network.remove(at);
        if !stale {
            let changed = state.controller.newest().isr == proposal.isr;
            let accepted = changed.then_some(state.controller.partition_epoch());
            state.send(Message::Altered {
                leader,
                leader_epoch,
                proposal,
                accepted,
            });
        }
        Ok(())
    }

    pub(super) fn fence(&self, state: &mut State, broker: Replica, elect: Option<Replica>) -> Result<(), Refusal> {
        require(!state.controller.fenced.has(broker), "it is fenced")?;
        let isr = state.controller.newest().isr.without(broker);
        let fenced = state.controller.fenced;
        state.controller.fenced = fenced.with(broker);
        let changed = self.change(state, isr, Set::default(), elect);
        if changed.is_err() {
            state.controller.fenced = fenced;
        }
        changed
    }

    /// The heartbeat that asked for it may be of a process that has died since.
    pub(super) fn unfence(&self, state: &mut State, replica: Replica, elect: Option<Replica>) -> Result<(), Refusal> {
        let fenced = state.controller.fenced;
        require(fenced.has(replica), "it is not fenced")?;
        state.controller.fenced = fenced.without(replica);
        let isr = state.controller.newest().isr;
        let changed = match state.controller.newest().leader {
            Some(_) => require(elect.is_none(), "there is a leader"),
            None => self.change(state, isr, Set::default(), elect),
        };
        if changed.is_err() {
            state.controller.fenced = fenced;
        }
        changed
    }

    /// A new process takes the place of the last one, whose session is over or will never be heard of again: until it is
    /// unfenced it may neither lead nor be in sync. It may have died before it hears of that.
    pub(super) fn register(&self, state: &mut State, replica: Replica, elect: Option<Replica>) -> Result<(), Refusal> {
        let at = usize::from(replica);
        let broker = &state.brokers[at];
        let unclean = !broker.clean && !self.has(Flaw::LastReplicaStanding);
        let leaves = if unclean { Set::of(replica) } else { Set::default() };
        let isr = state.controller.newest().isr;
        let stays = if self.has(Flaw::LastReplicaStanding) {
            isr
        } else {
            isr.without(replica)
        };
        let fenced = state.controller.fenced;
        state.controller.fenced = fenced.with(replica);
        let changed = self.change(state, stays, leaves, elect);
        if changed.is_err() {
            state.controller.fenced = fenced;
            return changed;
        }
        state.controller.broker_epochs[at] += 1;
        let since = state.controller.partition_epoch();
        let broker = &mut state.brokers[at];
        if broker.up && broker.epoch == 0 {
            broker.epoch = state.controller.broker_epochs[at];
            broker.since = since;
        }
        Ok(())
    }

    pub(super) fn elect_preferred(&self, state: &mut State) -> Result<(), Refusal> {
        let controller = &mut state.controller;
        let newest = *controller.newest();
        require(newest.leader != Some(0), "the preferred replica leads")?;
        require(
            newest.isr.has(0) && !controller.fenced.has(0),
            "the preferred replica is not in sync",
        )?;
        controller.versions.push(Version {
            leader: Some(0),
            leader_epoch: newest.leader_epoch + 1,
            ..newest
        });
        Ok(())
    }

    pub(super) fn elect_unclean(&self, state: &mut State, leader: Replica) -> Result<(), Refusal> {
        let controller = &mut state.controller;
        let newest = *controller.newest();
        require(self.unclean_election, "unclean.leader.election.enable is false")?;
        require(newest.leader.is_none(), "there is a leader")?;
        require(!controller.fenced.has(leader), "it is fenced")?;
        let clean = if newest.isr.is_empty() { newest.elr } else { newest.isr };
        require(
            clean.minus(controller.fenced).is_empty(),
            "somebody can lead who lost nothing",
        )?;
        controller.versions.push(Version {
            leader: Some(leader),
            leader_epoch: newest.leader_epoch + 1,
            isr: Set::of(leader),
            elr: Set::default(),
        });
        controller.last_known_leader = None;
        state.outside.unclean_election = true;
        Ok(())
    }
}
