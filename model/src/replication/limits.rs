//! How much of the world a search looks at, and which actions it thinks of.
//!
//! Whatever a limit leaves out is left out of the search only: [`Protocol::step`](super::step::Protocol::step) allows it.

use super::action::{Acks, Action};
use super::log::{Epoch, Offset, Record};
use super::state::{Answer, Fetch, Message, PartitionEpoch, Replica, Role, Set, State};
use super::step::Protocol;

/// Bounds and features. What is not switched on does not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Who leads at the beginning; 0 is the preferred leader.
    pub first_leader: Replica,
    /// Records a log may hold.
    pub log_size: Offset,
    /// Records that producers send.
    pub records: Record,
    /// Largest leader epoch.
    pub leader_epochs: Epoch,
    /// Largest partition epoch.
    pub partition_epochs: PartitionEpoch,
    /// How many versions a broker may be behind when the controller decides the next; 1 is none. It also bounds how many a
    /// broker may skip.
    pub lag: PartitionEpoch,
    /// Which acks producers ask for: one, all.
    pub acks: [bool; 2],
    /// Consumers read.
    pub reads: bool,
    /// The leader keeps fetches that find nothing new.
    pub parks: bool,
    /// Leaders ask for a smaller, a larger ISR.
    pub isr_changes: [bool; 2],
    /// As implementations do where the protocol leaves a choice: what a leader may do by itself it does at once (raise its
    /// high watermark, ask for who is in sync), all that lag leave the ISR together, and the controller elects the first in
    /// the order of the assignment. Else it may be left for later, or for ever, and be any.
    pub eager: bool,
    /// The controller takes living brokers for dead, too.
    pub false_alarms: bool,
    /// The controller gives the leadership back to the preferred replica.
    pub preferred_elections: bool,
    /// How many kills, power failures and orderly stops.
    pub faults: [u8; 3],
    /// Disks are replaced.
    pub wipes: bool,
    /// Stopped brokers start again.
    pub restarts: bool,
    /// Logs are synced; else never, but by an orderly stop.
    pub flushes: bool,
}

impl Limits {
    /// Little logs, nothing goes wrong.
    pub fn new(log_size: Offset, records: Record, leader_epochs: Epoch) -> Limits {
        Limits {
            first_leader: 0,
            log_size,
            records,
            leader_epochs,
            partition_epochs: PartitionEpoch::from(leader_epochs) + 2,
            lag: 2,
            acks: [false, true],
            reads: false,
            parks: false,
            isr_changes: [false, false],
            eager: false,
            false_alarms: false,
            preferred_elections: false,
            faults: [0; 3],
            wipes: false,
            restarts: false,
            flushes: false,
        }
    }

    /// Whether a state is within the bounds.
    pub fn contain(&self, state: &State) -> bool {
        let newest = state.controller.newest();
        newest.leader_epoch <= self.leader_epochs && state.controller.partition_epoch() <= self.partition_epochs
    }

    /// Every action that may be possible; the protocol says which are.
    pub fn propose(&self, protocol: &Protocol, state: &State, actions: &mut Vec<Action>) {
        if self.eager {
            for leader in Set::first(protocol.replicas).iter() {
                let to = protocol.committable(state, leader);
                let before = state.brokers[usize::from(leader)].high_watermark;
                if let Some(to) = to.ok().filter(|to| *to > before) {
                    return actions.push(Action::AdvanceHighWatermark { leader, to });
                }
            }
        }
        for broker in Set::first(protocol.replicas).iter() {
            self.propose_local(protocol, state, broker, actions);
            self.propose_faults(state, broker, actions);
            self.propose_decisions(protocol, state, broker, actions);
        }
        if self.preferred_elections && self.may_decide(state) {
            actions.push(Action::ElectPreferred);
        }
        for message in &state.network {
            self.propose_handling(protocol, state, message, actions);
        }
    }

    /// The controller goes on only when nobody is too far behind.
    fn may_decide(&self, state: &State) -> bool {
        let newest = state.controller.partition_epoch();
        state
            .brokers
            .iter()
            .all(|broker| broker.epoch == 0 || broker.known + self.lag > newest)
    }

    fn propose_local(&self, protocol: &Protocol, state: &State, replica: Replica, actions: &mut Vec<Action>) {
        let broker = &state.brokers[usize::from(replica)];
        if !broker.up {
            return;
        }
        let next = broker.known + PartitionEpoch::from(broker.role != Role::Idle);
        if broker.epoch == 0 {
            return;
        }
        for partition_epoch in next..=state.controller.partition_epoch() {
            actions.push(Action::ApplyMetadata {
                broker: replica,
                partition_epoch,
            });
        }
        for waiting in broker
            .waiting
            .iter()
            .filter(|waiting| waiting.end <= broker.high_watermark)
        {
            actions.push(Action::Acknowledge {
                leader: replica,
                base: waiting.base,
            });
        }
        if self.reads {
            actions.push(Action::Read {
                broker: replica,
                end: broker.high_watermark,
            });
        }
        if self.flushes {
            actions.push(Action::Flush {
                broker: replica,
                end: broker.log.end(),
            });
        }
        let Role::Leader(leadership) = &broker.role else { return };
        if broker.log.end() < self.log_size && state.outside.sent < self.records {
            let acks = [Acks::One, Acks::All].into_iter().zip(self.acks).filter(|(_, on)| *on);
            actions.extend(acks.map(|(acks, _)| Action::Produce {
                leader: replica,
                acks,
                count: 1,
            }));
        }
        if let Ok(to) = protocol.committable(state, replica)
            && to > broker.high_watermark
        {
            actions.push(Action::AdvanceHighWatermark { leader: replica, to });
        }
        if self.isr_changes[0] && leadership.proposal.is_none() {
            let isr = state.view(replica).isr;
            let lags = |other: &Replica| leadership.ends[usize::from(*other)] != Some(broker.log.end());
            let lagging = isr.without(replica).iter().filter(lags);
            if self.eager {
                let isr = lagging.fold(isr, Set::without);
                actions.push(Action::ProposeIsr { leader: replica, isr });
            } else {
                actions.extend(lagging.map(|other| Action::ProposeIsr {
                    leader: replica,
                    isr: isr.without(other),
                }));
            }
        }
    }

    fn propose_faults(&self, state: &State, replica: Replica, actions: &mut Vec<Action>) {
        let broker = &state.brokers[usize::from(replica)];
        let may = |fault: usize| state.outside.faults[fault] < self.faults[fault];
        if broker.up {
            if may(0) {
                actions.push(Action::Kill { broker: replica });
            }
            if may(1) {
                let ends = broker.synced..=broker.log.end();
                actions.extend(ends.map(|end| Action::LosePower { broker: replica, end }));
            }
            // An orderly stop waits until the controller has let it go, but not for ever.
            if may(2) && state.controller.fenced.has(replica) {
                actions.push(Action::Stop { broker: replica });
            }
            return;
        }
        if self.wipes {
            actions.push(Action::Wipe { broker: replica });
        }
        if self.restarts {
            // Checkpoints are old or new: the oldest and the newest stand for all.
            actions.push(Action::Start {
                broker: replica,
                high_watermark: 0,
            });
            if broker.high_watermark > 0 {
                actions.push(Action::Start {
                    broker: replica,
                    high_watermark: broker.high_watermark,
                });
            }
        }
    }

    /// An implementation elects the first in the order of the assignment; the protocol leaves the choice.
    fn first_or_all(&self, choices: impl Iterator<Item = Option<Replica>>) -> impl Iterator<Item = Option<Replica>> {
        choices.take(if self.eager { 1 } else { usize::MAX })
    }

    fn propose_decisions(&self, protocol: &Protocol, state: &State, replica: Replica, actions: &mut Vec<Action>) {
        if !self.may_decide(state) {
            return;
        }
        let broker = &state.brokers[usize::from(replica)];
        let fenced = state.controller.fenced.has(replica);
        let isr = state.controller.newest().isr;
        match fenced {
            true if broker.up && broker.epoch == 0 => {
                let choices = protocol.choices(state, isr.without(replica), state.controller.fenced);
                actions.extend(
                    self.first_or_all(choices)
                        .map(|elect| Action::Register { broker: replica, elect }),
                );
            }
            true if broker.up && broker.role != Role::Idle => {
                let choices = protocol.choices(state, isr, state.controller.fenced.without(replica));
                actions.extend(
                    self.first_or_all(choices)
                        .map(|elect| Action::Unfence { broker: replica, elect }),
                );
            }
            false if !broker.up || self.false_alarms || broker.epoch == 0 => {
                let choices = protocol.choices(state, isr.without(replica), state.controller.fenced.with(replica));
                actions.extend(
                    self.first_or_all(choices)
                        .map(|elect| Action::Fence { broker: replica, elect }),
                );
            }
            _ => {}
        }
        if protocol.unclean_election {
            actions.push(Action::ElectUnclean { leader: replica });
        }
    }

    fn propose_handling(&self, protocol: &Protocol, state: &State, message: &Message, actions: &mut Vec<Action>) {
        match message {
            Message::Fetch(fetch) => self.propose_fetch(protocol, state, *fetch, actions),
            Message::Fetched { fetch, parked, answer } => {
                if *parked {
                    actions.push(Action::AnswerParked { fetch: *fetch });
                }
                actions.push(taken_whole(state, *fetch, answer));
            }
            Message::Alter { leader, proposal, .. } => {
                // Whoever asks leads, and goes on leading.
                if self.may_decide(state) {
                    actions.push(Action::HandleAlter {
                        leader: *leader,
                        proposal: *proposal,
                        elect: None,
                    });
                }
            }
            Message::Altered { leader, proposal, .. } => actions.push(Action::HandleAltered {
                leader: *leader,
                proposal: *proposal,
            }),
        }
    }
}

impl Limits {
    fn propose_fetch(&self, protocol: &Protocol, state: &State, fetch: Fetch, actions: &mut Vec<Action>) {
        let joins = self.isr_changes[1] && protocol.may_join(state, &fetch);
        let mut handle = |park: bool, joins: bool| actions.push(Action::HandleFetch { fetch, park, joins });
        if !(joins && self.eager) {
            handle(false, false);
        }
        if joins {
            handle(false, true);
        }
        if self.parks && fetch.offset == state.brokers[usize::from(fetch.leader)].log.end() {
            handle(true, joins && self.eager);
        }
    }
}

/// A follower that takes an answer as a whole.
fn taken_whole(state: &State, fetch: Fetch, answer: &Answer) -> Action {
    let broker = &state.brokers[usize::from(fetch.follower)];
    let (end, high_watermark) = match answer {
        Answer::Records {
            entries,
            high_watermark,
        } => (broker.log.end() + entries.end(), *high_watermark),
        Answer::Diverging { epoch, end } => (
            super::follower::truncation_offset(&broker.log, *epoch, *end),
            broker.high_watermark,
        ),
        Answer::EpochEnd {
            epoch: Some(epoch),
            end,
        } => (
            super::follower::truncation_offset(&broker.log, Some(*epoch), *end),
            broker.high_watermark,
        ),
        Answer::OutOfRange { end } | Answer::EpochEnd { epoch: None, end } => {
            (broker.log.end().min(*end), broker.high_watermark)
        }
    };
    Action::HandleFetched {
        fetch,
        end,
        high_watermark: high_watermark.min(end),
    }
}
