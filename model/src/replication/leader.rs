//! What a leader does: append, answer, count, commit, and ask for another ISR.
//!
//! Sources: KIP-101, KIP-279, KIP-320, KIP-497, KIP-595, KIP-903, KIP-966; KAFKA-2960, KAFKA-7128, KAFKA-8836,
//! KAFKA-13141; hachikuji's `Kip320` and `AsyncIsr`, Vanlightly's `kip_966`.

use super::action::Acks;
use super::flaw::Flaw;
use super::log::{Entry, Epoch, Log, Offset, Run};
use super::state::{Answer, Broker, Fetch, Leadership, Message, Proposal, Replica, Role, Set, State, Waiting};
use super::step::{Protocol, Refusal, require};

const NOT_LEADER: Refusal = "it does not lead, by what it knows itself";

pub(super) fn leadership(broker: &Broker) -> Result<&Leadership, Refusal> {
    match &broker.role {
        Role::Leader(leadership) if broker.up => Ok(leadership),
        _ => Err(NOT_LEADER),
    }
}

fn leadership_mut(broker: &mut Broker) -> Result<&mut Leadership, Refusal> {
    match &mut broker.role {
        Role::Leader(leadership) if broker.up => Ok(leadership),
        _ => Err(NOT_LEADER),
    }
}

/// The largest epoch at most this one that a leader knows, and where it ends. Its own epoch counts from its start,
/// with or without records (KAFKA-7415).
fn epoch_end(log: &Log, own: (Epoch, Offset), asked: Epoch) -> (Option<Epoch>, Offset) {
    if asked >= own.0 {
        return (Some(own.0), log.end());
    }
    let end = log.start_above(asked).unwrap_or(own.1).min(own.1);
    (log.epoch_at_most(asked), end)
}

impl Protocol {
    pub(super) fn produce(&self, state: &mut State, leader: Replica, acks: Acks, count: u32) -> Result<(), Refusal> {
        let version = *state.view(leader);
        let record = state.outside.sent;
        let broker = &mut state.brokers[usize::from(leader)];
        leadership(broker)?;
        require(count > 0, "nothing is appended")?;
        require(
            acks == Acks::One || version.isr.len() >= self.min_isr(),
            "with acks=all the ISR must have min.insync.replicas members (NOT_ENOUGH_REPLICAS)",
        )?;
        let base = broker.log.end();
        broker.log.push(Run {
            epoch: version.leader_epoch,
            record,
            len: count,
        });
        state.outside.sent += count;
        let waiting = Waiting {
            base,
            end: base + count,
            epoch: version.leader_epoch,
            record,
        };
        match acks {
            Acks::All => broker.waiting.push(waiting),
            Acks::One if self.observe => tell(state, waiting, false),
            Acks::One => {}
        }
        Ok(())
    }

    pub(super) fn acknowledge(&self, state: &mut State, leader: Replica, base: Offset) -> Result<(), Refusal> {
        let (maximal, epoch) = (state.maximal_isr(leader), state.leader_epoch(leader));
        let broker = &mut state.brokers[usize::from(leader)];
        let at = broker.waiting.iter().position(|waiting| waiting.base == base);
        let at = at.ok_or("nobody waits for that offset")?;
        let waiting = broker.waiting[at];
        require(
            broker.high_watermark >= waiting.end,
            "its high watermark has not passed the records",
        )?;
        if !self.has(Flaw::AckWithoutLeadershipRecheck) {
            leadership(broker)?;
            require(epoch == waiting.epoch, "it appended them in another epoch (KAFKA-2960)")?;
            require(
                maximal.len() >= self.min_isr(),
                "fewer than min.insync.replicas are in sync (NOT_ENOUGH_REPLICAS_AFTER_APPEND)",
            )?;
        }
        broker.waiting.remove(at);
        if self.observe {
            tell(state, waiting, true);
        }
        Ok(())
    }

    /// A failure promises nothing: the records may stay or go.
    pub(super) fn give_up(&self, state: &mut State, leader: Replica, base: Offset) -> Result<(), Refusal> {
        let broker = &mut state.brokers[usize::from(leader)];
        let at = broker.waiting.iter().position(|waiting| waiting.base == base);
        broker.waiting.remove(at.ok_or("nobody waits for that offset")?);
        Ok(())
    }

    pub(super) fn read(&self, state: &mut State, replica: Replica, end: Offset) -> Result<(), Refusal> {
        let broker = &state.brokers[usize::from(replica)];
        let answers = match broker.role {
            Role::Leader(_) => true,
            Role::Follower { leader: Some(_), .. } => self.follower_reads,
            _ => false,
        };
        require(broker.up && answers, "it answers no consumers")?;
        require(
            end <= broker.high_watermark,
            "consumers see nothing above the high watermark",
        )?;
        let from = state.outside.read.end();
        require(from < end, "there is nothing new")?;
        let news = broker.log.slice(from, end);
        state.outside.read.extend(&news);
        Ok(())
    }

    pub(super) fn handle_fetch(&self, state: &mut State, fetch: Fetch, park: bool, joins: bool) -> Result<(), Refusal> {
        let at = state.network.binary_search(&Message::Fetch(fetch));
        let at = at.map_err(|_| "no such fetch was sent")?;
        let answer = self.would_answer(state, &fetch)?;
        let diverges = matches!(answer, Answer::Diverging { .. });
        let counts = match answer {
            Answer::Records { .. } => true,
            Answer::Diverging { .. } => self.has(Flaw::CreditDivergingFetch),
            _ => false,
        };
        require(
            !park || counts && !diverges,
            "a fetch that is answered by a question is not kept",
        )?;
        require(
            !joins || counts,
            "only a fetch that counts shows that its sender is in sync",
        )?;
        if joins {
            self.require_in_sync(state, &fetch)?;
        }
        if counts {
            let leadership = leadership_mut(&mut state.brokers[usize::from(fetch.leader)])?;
            leadership.ends[usize::from(fetch.follower)] = Some(fetch.offset);
            leadership.incarnations[usize::from(fetch.follower)] = fetch.broker_epoch;
        }
        state.network.remove(at);
        state.send(Message::Fetched {
            fetch,
            parked: park,
            answer,
        });
        if joins {
            let isr = state.view(fetch.leader).isr.with(fetch.follower);
            self.propose(state, fetch.leader, isr);
        }
        Ok(())
    }

    /// Whether a fetch shows that its sender is in sync.
    pub(super) fn may_join(&self, state: &State, fetch: &Fetch) -> bool {
        self.require_in_sync(state, fetch).is_ok()
    }

    /// Whoever joins the ISR holds all that may be committed.
    fn require_in_sync(&self, state: &State, fetch: &Fetch) -> Result<(), Refusal> {
        let broker = &state.brokers[usize::from(fetch.leader)];
        let leadership = leadership(broker)?;
        require(leadership.proposal.is_none(), "it has asked already, and waits")?;
        require(!state.view(fetch.leader).isr.has(fetch.follower), "it is in the ISR")?;
        require(
            fetch.offset >= broker.high_watermark,
            "who joins holds all that is committed",
        )?;
        require(
            fetch.offset >= leadership.epoch_start || self.has(Flaw::IsrJoinAtLaggingHw),
            "who joins holds all of the earlier epochs, since some of it may be committed (KAFKA-7128)",
        )
    }

    /// What the leader that a fetch is for would say to it now.
    pub fn would_answer(&self, state: &State, fetch: &Fetch) -> Result<Answer, Refusal> {
        let epoch = state.leader_epoch(fetch.leader);
        let broker = &state.brokers[usize::from(fetch.leader)];
        leadership(broker)?;
        require(
            fetch.leader_epoch == epoch || self.has(Flaw::NoFetchEpochFencing),
            "a fetch of another leader epoch is fenced (KIP-320)",
        )?;
        Ok(self.answer(broker, epoch, fetch))
    }

    /// What a leader says to a fetch now.
    fn answer(&self, broker: &Broker, epoch: Epoch, fetch: &Fetch) -> Answer {
        let epoch_start = match &broker.role {
            Role::Leader(leadership) => leadership.epoch_start,
            _ => unreachable!("only leaders answer"),
        };
        let own = (epoch, epoch_start);
        let end = broker.log.end();
        if fetch.epoch_end {
            // An empty log has no epoch to ask for; it asks for records at once.
            let (epoch, end) = epoch_end(&broker.log, own, fetch.last_epoch.unwrap_or(0));
            let epoch = epoch.filter(|_| !self.has(Flaw::EpochEndOffsetV0));
            return Answer::EpochEnd { epoch, end };
        }
        if let Some(last) = fetch.last_epoch {
            let (known, known_end) = epoch_end(&broker.log, own, last);
            if known != Some(last) || known_end < fetch.offset {
                return Answer::Diverging {
                    epoch: known,
                    end: known_end,
                };
            }
        }
        if fetch.offset > end {
            return Answer::OutOfRange { end };
        }
        Answer::Records {
            entries: broker.log.slice(fetch.offset, end),
            high_watermark: broker.high_watermark,
        }
    }

    pub(super) fn answer_parked(&self, state: &mut State, fetch: Fetch) -> Result<(), Refusal> {
        let kept =
            |message: &Message| matches!(message, Message::Fetched { fetch: of, parked: true, .. } if *of == fetch);
        let at = state.network.iter().position(kept).ok_or("no such fetch is kept")?;
        let epoch = state.leader_epoch(fetch.leader);
        let broker = &state.brokers[usize::from(fetch.leader)];
        leadership(broker)?;
        require(fetch.leader_epoch == epoch, "it has another leader epoch by now")?;
        let answer = self.answer(broker, epoch, &fetch);
        state.network.remove(at);
        state.send(Message::Fetched {
            fetch,
            parked: false,
            answer,
        });
        Ok(())
    }

    /// What the high watermark may rise to: the least log end in the maximal ISR (KIP-497).
    pub fn committable(&self, state: &State, leader: Replica) -> Result<Offset, Refusal> {
        let version = state.view(leader);
        let broker = &state.brokers[usize::from(leader)];
        let leadership = leadership(broker)?;
        require(
            version.isr.len() >= self.min_isr() || self.has(Flaw::LastReplicaStanding),
            "with fewer than min.insync.replicas the high watermark rests (KIP-966)",
        )?;
        let holders = match leadership.proposal {
            Some(proposal) if self.has(Flaw::HwFromProposedIsr) => proposal.isr,
            Some(proposal) => version.isr.union(proposal.isr),
            None => version.isr,
        };
        let others = holders.without(leader).iter();
        let least = others
            .map(|other| leadership.ends[usize::from(other)].unwrap_or(0))
            .min();
        Ok(least.unwrap_or(Offset::MAX).min(broker.log.end()))
    }

    pub(super) fn advance_high_watermark(&self, state: &mut State, leader: Replica, to: Offset) -> Result<(), Refusal> {
        let most = self.committable(state, leader)?;
        let broker = &mut state.brokers[usize::from(leader)];
        require(to > broker.high_watermark, "a leader's high watermark only rises")?;
        require(
            to <= most,
            "not everybody in the maximal ISR is known to hold that much",
        )?;
        broker.high_watermark = to;
        if self.observe {
            observe_committed(state, leader);
        }
        Ok(())
    }

    pub(super) fn propose_isr(&self, state: &mut State, leader: Replica, isr: Set) -> Result<(), Refusal> {
        let version = *state.view(leader);
        let broker = &state.brokers[usize::from(leader)];
        let leadership = leadership(broker)?;
        require(leadership.proposal.is_none(), "it has asked already, and waits")?;
        require(isr != version.isr, "that is the ISR")?;
        require(isr.has(leader), "a leader is in its ISR")?;
        require(
            isr.minus(version.isr).is_empty(),
            "who joins is asked for when it fetches",
        )?;
        let at_end = |other: &Replica| leadership.ends[usize::from(*other)] == Some(broker.log.end());
        let mut leaving = version.isr.minus(isr).iter();
        require(
            !leaving.any(|other| at_end(&other)),
            "who is at the leader's end does not leave",
        )?;
        self.propose(state, leader, isr);
        Ok(())
    }

    fn propose(&self, state: &mut State, leader: Replica, isr: Set) {
        let leader_epoch = state.leader_epoch(leader);
        let broker = &mut state.brokers[usize::from(leader)];
        let proposal = Proposal {
            partition_epoch: broker.known,
            isr,
        };
        let Role::Leader(leadership) = &mut broker.role else {
            unreachable!("only a leader proposes");
        };
        leadership.proposal = Some(proposal);
        let mut incarnations = leadership.incarnations;
        incarnations[usize::from(leader)] = broker.epoch;
        for other in Set::first(self.replicas).minus(isr).iter() {
            incarnations[usize::from(other)] = 0;
        }
        let broker_epoch = broker.epoch;
        state.send(Message::Alter {
            leader,
            broker_epoch,
            leader_epoch,
            proposal,
            incarnations,
        });
    }

    pub(super) fn handle_altered(&self, state: &mut State, leader: Replica, proposal: Proposal) -> Result<(), Refusal> {
        let of = |message: &Message| matches!(message, Message::Altered { leader: to, proposal: about, .. } if *to == leader && *about == proposal);
        let at = state.network.iter().position(of).ok_or("no such answer was sent")?;
        let Message::Altered {
            leader_epoch, accepted, ..
        } = state.network[at]
        else {
            unreachable!("that is what was looked for");
        };
        let ours = state.leader_epoch(leader);
        let broker = &mut state.brokers[usize::from(leader)];
        let known = broker.known;
        let waits = leadership(broker).is_ok_and(|leadership| leadership.proposal == Some(proposal));
        if waits && leader_epoch == ours {
            match accepted {
                Some(version) if version < known => {}
                settled => {
                    broker.known = settled.unwrap_or(known);
                    leadership_mut(broker)?.proposal = None;
                }
            }
        }
        state.network.remove(at);
        state.prune();
        Ok(())
    }

    /// Begins to lead.
    pub(super) fn lead(broker: &mut Broker) {
        broker.role = Role::Leader(Leadership {
            epoch_start: broker.log.end(),
            ends: Default::default(),
            incarnations: Default::default(),
            proposal: None,
        });
    }
}

/// A success was told.
fn tell(state: &mut State, waiting: Waiting, all: bool) {
    for n in 0..waiting.end - waiting.base {
        let entry = Entry {
            epoch: waiting.epoch,
            record: waiting.record + n,
        };
        state.outside.acked.push((waiting.base + n, entry, all));
    }
    state.outside.acked.sort_unstable();
}

/// What a lawful leader's high watermark has passed is committed; what was before is not overwritten.
fn observe_committed(state: &mut State, leader: Replica) {
    let Some((lawful, broker)) = state.lawful_leader() else {
        return;
    };
    let committed = &state.outside.committed;
    if lawful == leader && broker.high_watermark > committed.end() && broker.log.starts_with(committed) {
        let news = broker.log.slice(committed.end(), broker.high_watermark);
        state.outside.committed.extend(&news);
    }
}
