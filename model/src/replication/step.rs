//! The protocol as one function: may this happen now, and what is the case afterwards.
//!
//! [`Protocol::step`] is the whole specification. The search asks it for every action that it can think of, `conform`
//! for the one that a real cluster has just taken. It knows no bounds. A refused action has changed nothing.

use super::action::Action;
use super::flaw::Flaw;
use super::state::{Broker, Controller, MOST_REPLICAS, Outside, Replica, Role, Set, State, Version};

/// Why an action is not allowed now, in words.
pub type Refusal = &'static str;

/// What holds for the whole of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// How many.
    pub replicas: u8,
    /// `min.insync.replicas`.
    pub min_insync_replicas: u8,
    /// `unclean.leader.election.enable`.
    pub unclean_election: bool,
    /// Followers answer consumers too (KIP-392).
    pub follower_reads: bool,
    /// A published bug.
    pub flaw: Option<Flaw>,
    /// Keep account of what the outside was told. Grows with the run; only properties ask for it.
    pub observe: bool,
}

impl Protocol {
    /// As we hold it to be right.
    pub fn new(replicas: u8, min_insync_replicas: u8) -> Protocol {
        assert!(
            usize::from(replicas) <= MOST_REPLICAS,
            "more replicas than a state has room for"
        );
        Protocol {
            replicas,
            min_insync_replicas,
            unclean_election: false,
            follower_reads: false,
            flaw: None,
            observe: true,
        }
    }

    /// All replicas empty, in sync and aware of it: the leader has heard of everybody.
    pub fn initial(&self, leader: Replica) -> State {
        let version = Version {
            leader: Some(leader),
            leader_epoch: 0,
            isr: Set::first(self.replicas),
            elr: Set::default(),
        };
        let broker = Broker {
            log: Default::default(),
            synced: 0,
            high_watermark: 0,
            up: true,
            clean: false,
            epoch: 1,
            since: 0,
            known: 0,
            role: Role::Idle,
            waiting: Vec::new(),
            lost: false,
        };
        let mut broker_epochs = [0; MOST_REPLICAS];
        broker_epochs[..usize::from(self.replicas)].fill(1);
        let mut state = State {
            brokers: vec![broker; usize::from(self.replicas)],
            controller: Controller {
                versions: vec![version],
                first: 0,
                fenced: Set::default(),
                broker_epochs,
                last_known_leader: None,
            },
            network: Vec::new(),
            outside: Outside::default(),
        };
        let all = Set::first(self.replicas);
        for replica in all.iter() {
            self.apply_metadata(&mut state, replica, 0)
                .expect("the first version is for everybody");
        }
        if let Role::Leader(leadership) = &mut state.brokers[usize::from(leader)].role {
            for follower in all.without(leader).iter() {
                leadership.ends[usize::from(follower)] = Some(0);
                leadership.incarnations[usize::from(follower)] = 1;
            }
        }
        state
    }

    /// Whether the museum's switch is on.
    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// `min.insync.replicas`, but never more than there are replicas.
    pub(super) fn min_isr(&self) -> usize {
        usize::from(self.min_insync_replicas.min(self.replicas))
    }

    /// Takes one step, or says why it is not allowed.
    pub fn step(&self, state: &mut State, action: &Action) -> Result<(), Refusal> {
        match *action {
            Action::Produce { leader, acks, count } => self.produce(state, leader, acks, count),
            Action::Acknowledge { leader, base } => self.acknowledge(state, leader, base),
            Action::GiveUp { leader, base } => self.give_up(state, leader, base),
            Action::Read { broker, end } => self.read(state, broker, end),
            Action::HandleFetch { fetch, park, joins } => self.handle_fetch(state, fetch, park, joins),
            Action::AnswerParked { fetch } => self.answer_parked(state, fetch),
            Action::HandleFetched {
                fetch,
                end,
                high_watermark,
            } => self.handle_fetched(state, fetch, end, high_watermark),
            Action::AskAgain { follower } => self.ask_again(state, follower),
            Action::AdvanceHighWatermark { leader, to } => self.advance_high_watermark(state, leader, to),
            Action::ProposeIsr { leader, isr } => self.propose_isr(state, leader, isr),
            Action::HandleAlter {
                leader,
                proposal,
                elect,
            } => self.handle_alter(state, leader, proposal, elect),
            Action::HandleAltered { leader, proposal } => self.handle_altered(state, leader, proposal),
            Action::ApplyMetadata {
                broker,
                partition_epoch,
            } => self.apply_metadata(state, broker, partition_epoch),
            Action::Register { broker, elect } => self.register(state, broker, elect),
            Action::Unfence { broker, elect } => self.unfence(state, broker, elect),
            Action::Fence { broker, elect } => self.fence(state, broker, elect),
            Action::ElectPreferred => self.elect_preferred(state),
            Action::ElectUnclean { leader } => self.elect_unclean(state, leader),
            Action::Kill { broker } => self.kill(state, broker),
            Action::LosePower { broker, end } => self.lose_power(state, broker, end),
            Action::Stop { broker } => self.stop(state, broker),
            Action::Wipe { broker } => self.wipe(state, broker),
            Action::Start { broker, high_watermark } => self.start(state, broker, high_watermark),
            Action::Flush { broker, end } => self.flush(state, broker, end),
        }
    }
}

/// The guard of a step, said as what must hold.
pub(super) fn require(holds: bool, refusal: Refusal) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(refusal) }
}
