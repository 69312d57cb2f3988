//! The protocol of the quorum as one function: may this happen now, and what is the case afterwards.
//!
//! Sources: KIP-595 (Vote, BeginQuorumEpoch, Fetch), KIP-996 (pre-vote); Ongaro, *Consensus*, sections 3.4 to 3.6;
//! KAFKA-10527, KAFKA-10533, KAFKA-12619.

use super::action::Action;
use super::state::{Election, Fetch, History, Message, Node, Role, State, Voter};
use crate::replication::{Epoch, Log, Offset, Run, Set};

/// Why an action is not allowed now, in words.
pub type Refusal = &'static str;

/// A published bug of the quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flaw {
    /// A leader commits records of earlier epochs before one of its own (KAFKA-12619).
    RaftCommitPrevEpoch,
    /// A voter that hears of its own epoch again forgets whom it voted for (Redpanda 9ff1818afd).
    VoteForgottenSameEpoch,
}

impl Flaw {
    /// Both.
    pub const ALL: [Flaw; 2] = [Flaw::RaftCommitPrevEpoch, Flaw::VoteForgottenSameEpoch];

    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            Flaw::RaftCommitPrevEpoch => "raft_commit_prev_epoch",
            Flaw::VoteForgottenSameEpoch => "vote_forgotten_same_epoch",
        }
    }

    /// The flaw of this name.
    pub fn by_name(name: &str) -> Option<Flaw> {
        Flaw::ALL.into_iter().find(|flaw| flaw.name() == name)
    }
}

/// When a vote or a leader's record that was written is durable, and when a vote is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    /// At once.
    Instant,
    /// Later; it is answered then.
    Synced,
    /// Later; it is answered before. Wrong, and here to show that the difference is seen.
    Hasty,
}

/// What holds for the whole of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// How many.
    pub voters: u8,
    /// An election is preceded by a question (KIP-996).
    pub pre_vote: bool,
    /// What becomes of what is written.
    pub syncs: Syncs,
    /// A published bug.
    pub flaw: Option<Flaw>,
    /// Keep account of votes and leaderships; only X9 asks for it.
    pub watch_votes: bool,
}

fn require(holds: bool, refusal: Refusal) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(refusal) }
}

fn last_epoch(log: &Log) -> Epoch {
    log.last_epoch().unwrap_or(0)
}

impl Protocol {
    /// As we hold it to be right.
    pub fn new(voters: u8) -> Protocol {
        assert!(voters <= 5, "more voters than a state has room for");
        Protocol {
            voters,
            pre_vote: false,
            syncs: Syncs::Instant,
            flaw: None,
            watch_votes: true,
        }
    }

    /// Empty logs, epoch 0, nobody leads.
    pub fn initial(&self) -> State {
        let node = Node {
            up: true,
            election: Election::default(),
            durable: Election::default(),
            log: Log::default(),
            synced: 0,
            high_watermark: 0,
            role: Role::Voter,
        };
        State {
            nodes: vec![node; usize::from(self.voters)],
            network: Vec::new(),
            history: History::default(),
        }
    }

    fn majority(&self) -> usize {
        usize::from(self.voters) / 2 + 1
    }

    /// Takes one step, or says why it is not allowed. A refused action has changed nothing.
    pub fn step(&self, state: &mut State, action: &Action) -> Result<(), Refusal> {
        match *action {
            Action::Campaign { voter } => self.campaign(state, voter),
            Action::HandleVote {
                voter,
                candidate,
                epoch,
                pre_vote,
            } => self.handle_vote(state, voter, candidate, epoch, pre_vote),
            Action::SyncVote { voter } => self.sync_vote(state, voter),
            Action::CountVote {
                candidate,
                voter,
                pre_vote,
            } => self.count_vote(state, candidate, voter, pre_vote),
            Action::HandleBegin { voter, leader, epoch } => self.handle_begin(state, voter, leader, epoch),
            Action::Append { leader } => self.append(state, leader),
            Action::HandleFetch { fetch } => self.handle_fetch(state, fetch),
            Action::HandleFetched { fetch, end } => self.handle_fetched(state, fetch, end),
            Action::Flush { leader } => self.flush(state, leader),
            Action::AdvanceHighWatermark { leader, to } => self.advance_high_watermark(state, leader, to),
            Action::Resign { leader } => self.resign(state, leader),
            Action::Kill { voter } => {
                let end = state.nodes[usize::from(voter)].log.end();
                self.stop(state, voter, end, false)
            }
            Action::LosePower { voter, end } => self.stop(state, voter, end, true),
            Action::Start { voter } => self.start(state, voter),
        }
    }

    // --- elections -----------------------------------------------------------------------------------------

    fn campaign(&self, state: &mut State, voter: Voter) -> Result<(), Refusal> {
        let node = &mut state.nodes[usize::from(voter)];
        require(node.up, "it is down")?;
        require(!matches!(node.role, Role::Leader { .. }), "a leader does not campaign")?;
        if self.pre_vote {
            node.role = Role::Prospective {
                granted: Set::of(voter),
            };
            let message = Message::Vote {
                candidate: voter,
                epoch: node.election.epoch,
                log: (last_epoch(&node.log), node.log.end()),
                pre_vote: true,
            };
            state.send(message);
        } else {
            self.stand(state, voter);
        }
        self.stop_asking(state, voter);
        Ok(())
    }

    /// Becomes a candidate of the next epoch, with its own vote.
    fn stand(&self, state: &mut State, voter: Voter) {
        let node = &mut state.nodes[usize::from(voter)];
        node.election = Election {
            epoch: node.election.epoch + 1,
            voted: Some(voter),
            leader: None,
        };
        node.role = Role::Candidate {
            granted: Set::of(voter),
        };
        self.written(node);
        self.announce_vote(state, voter);
    }

    /// Whether its epoch and vote may be heard of.
    fn may_tell(&self, node: &Node) -> bool {
        let is_durable = (node.durable.epoch, node.durable.voted) == (node.election.epoch, node.election.voted);
        is_durable || self.syncs != Syncs::Synced
    }

    /// Epoch and vote were written.
    fn written(&self, node: &mut Node) {
        if self.syncs == Syncs::Instant {
            node.durable = node.election;
        }
    }

    /// What is durable may be heard of: its own candidacy, or the vote that it gave.
    fn announce_vote(&self, state: &mut State, voter: Voter) {
        let node = &state.nodes[usize::from(voter)];
        let Election {
            epoch,
            voted: Some(candidate),
            ..
        } = node.election
        else {
            return;
        };
        if !self.may_tell(node) {
            return;
        }
        let message = if candidate == voter {
            Message::Vote {
                candidate,
                epoch,
                log: (last_epoch(&node.log), node.log.end()),
                pre_vote: false,
            }
        } else {
            Message::Granted {
                voter,
                candidate,
                epoch,
                pre_vote: false,
            }
        };
        state.send(message);
        let vote = (epoch, voter, candidate);
        if self.watch_votes
            && let Err(at) = state.history.votes.binary_search(&vote)
        {
            state.history.votes.insert(at, vote);
        }
    }

    /// Every epoch that is heard of is taken over if it is later.
    fn hear_epoch(&self, state: &mut State, voter: Voter, epoch: Epoch) {
        let node = &mut state.nodes[usize::from(voter)];
        if epoch > node.election.epoch {
            node.election = Election {
                epoch,
                voted: None,
                leader: None,
            };
            node.role = Role::Voter;
            self.written(node);
            self.stop_asking(state, voter);
        } else if epoch == node.election.epoch
            && self.flaw == Some(Flaw::VoteForgottenSameEpoch)
            && node.role == Role::Voter
        {
            node.election.voted = None;
            self.written(node);
        }
    }

    fn handle_vote(
        &self,
        state: &mut State,
        voter: Voter,
        candidate: Voter,
        epoch: Epoch,
        pre_vote: bool,
    ) -> Result<(), Refusal> {
        let asked = |message: &Message| {
            matches!(message, Message::Vote { candidate: of, epoch: at, pre_vote: only, .. }
                if (*of, *at, *only) == (candidate, epoch, pre_vote))
        };
        let message = state
            .network
            .iter()
            .find(|message| asked(message))
            .ok_or("nobody asked for that vote")?;
        let Message::Vote { log, .. } = *message else {
            unreachable!("that is what was looked for");
        };
        let node = &state.nodes[usize::from(voter)];
        require(node.up, "it is down")?;
        require(voter != candidate, "nobody asks itself")?;
        require(epoch >= node.election.epoch, "a vote of an earlier epoch is fenced")?;
        let is_long_enough = log >= (last_epoch(&node.log), node.log.end());
        if pre_vote {
            require(is_long_enough, "its log is longer than the candidate's")?;
            require(!matches!(node.role, Role::Leader { .. }), "a leader needs no election")?;
            self.hear_epoch(state, voter, epoch);
            state.send(Message::Granted {
                voter,
                candidate,
                epoch,
                pre_vote,
            });
            return Ok(());
        }
        let news = epoch > node.election.epoch || self.flaw == Some(Flaw::VoteForgottenSameEpoch);
        let free = epoch > node.election.epoch || node.election.leader.is_none() && node.role == Role::Voter;
        let voted = node.election.voted.filter(|_| !news);
        let grants = free && (voted == Some(candidate) || voted.is_none() && is_long_enough);
        require(
            grants || epoch > node.election.epoch,
            "it has voted, or its log is longer, or it knows the leader",
        )?;
        self.hear_epoch(state, voter, epoch);
        if grants {
            let node = &mut state.nodes[usize::from(voter)];
            node.election.voted = Some(candidate);
            self.written(node);
            self.announce_vote(state, voter);
        }
        state.prune();
        Ok(())
    }

    fn sync_vote(&self, state: &mut State, voter: Voter) -> Result<(), Refusal> {
        let node = &mut state.nodes[usize::from(voter)];
        let is_durable = (node.durable.epoch, node.durable.voted) == (node.election.epoch, node.election.voted);
        require(node.up && !is_durable, "there is nothing to sync")?;
        node.durable = node.election;
        self.announce_vote(state, voter);
        state.prune();
        Ok(())
    }

    fn count_vote(&self, state: &mut State, candidate: Voter, voter: Voter, pre_vote: bool) -> Result<(), Refusal> {
        let node = &state.nodes[usize::from(candidate)];
        let epoch = node.election.epoch;
        let message = Message::Granted {
            voter,
            candidate,
            epoch,
            pre_vote,
        };
        let at = state
            .network
            .binary_search(&message)
            .map_err(|_| "no such vote was given")?;
        require(node.up, "it is down")?;
        require(
            pre_vote || self.may_tell(node),
            "its own vote does not count before it is durable",
        )?;
        let majority = self.majority();
        let node = &mut state.nodes[usize::from(candidate)];
        match &mut node.role {
            Role::Prospective { granted } if pre_vote => {
                *granted = granted.with(voter);
                if granted.len() >= majority {
                    self.stand(state, candidate);
                }
            }
            Role::Candidate { granted } if !pre_vote => {
                *granted = granted.with(voter);
                if granted.len() >= majority {
                    self.win(state, candidate);
                }
            }
            _ => return Err("it is no candidate any more"),
        }
        state.network.remove(at);
        state.prune();
        Ok(())
    }

    /// Begins to lead, with a record of its own (LeaderChange).
    fn win(&self, state: &mut State, voter: Voter) {
        let node = &mut state.nodes[usize::from(voter)];
        let epoch = node.election.epoch;
        node.election.leader = Some(voter);
        node.durable = node.election;
        node.role = Role::Leader {
            epoch_start: node.log.end(),
            ends: [0; 5],
        };
        if self.watch_votes
            && let Err(at) = state.history.leaders.binary_search(&(epoch, voter))
        {
            state.history.leaders.insert(at, (epoch, voter));
        }
        self.write(state, voter);
        state.send(Message::Begin { leader: voter, epoch });
    }

    /// One leader an epoch: its records are named by their offset.
    fn write(&self, state: &mut State, leader: Voter) {
        let node = &mut state.nodes[usize::from(leader)];
        node.log.push(Run {
            epoch: node.election.epoch,
            record: node.log.end(),
            len: 1,
        });
        if self.syncs == Syncs::Instant {
            node.synced = node.log.end();
        }
    }

    fn handle_begin(&self, state: &mut State, voter: Voter, leader: Voter, epoch: Epoch) -> Result<(), Refusal> {
        let message = Message::Begin { leader, epoch };
        state
            .network
            .binary_search(&message)
            .map_err(|_| "nobody said that it leads")?;
        let node = &state.nodes[usize::from(voter)];
        require(node.up && voter != leader, "it does not hear that")?;
        require(epoch >= node.election.epoch, "a leader of an earlier epoch is fenced")?;
        require(
            epoch > node.election.epoch || node.election.leader.is_none(),
            "it knows the leader",
        )?;
        self.hear_epoch(state, voter, epoch);
        let node = &mut state.nodes[usize::from(voter)];
        if node.election.leader.is_none() {
            node.election.leader = Some(leader);
            node.role = Role::Voter;
        }
        // Who leads need not survive a crash: it can be heard again.
        self.ask(state, voter);
        state.prune();
        Ok(())
    }

    fn resign(&self, state: &mut State, leader: Voter) -> Result<(), Refusal> {
        let node = &mut state.nodes[usize::from(leader)];
        require(node.up && matches!(node.role, Role::Leader { .. }), "it does not lead")?;
        node.role = Role::Voter;
        node.election.leader = None;
        Ok(())
    }

    // --- the log -------------------------------------------------------------------------------------------

    fn append(&self, state: &mut State, leader: Voter) -> Result<(), Refusal> {
        let node = &state.nodes[usize::from(leader)];
        require(node.up && matches!(node.role, Role::Leader { .. }), "it does not lead")?;
        self.write(state, leader);
        Ok(())
    }

    fn question(state: &State, voter: Voter) -> Option<Fetch> {
        let node = &state.nodes[usize::from(voter)];
        let leader = node.election.leader.filter(|leader| *leader != voter)?;
        (node.up && node.role == Role::Voter).then(|| Fetch {
            follower: voter,
            leader,
            epoch: node.election.epoch,
            offset: node.log.end(),
            last_epoch: last_epoch(&node.log),
        })
    }

    fn ask(&self, state: &mut State, voter: Voter) {
        self.stop_asking(state, voter);
        if let Some(fetch) = Self::question(state, voter) {
            state.send(Message::Fetch(fetch));
        }
    }

    fn stop_asking(&self, state: &mut State, voter: Voter) {
        state
            .network
            .retain(|message| message.fetch().is_none_or(|fetch| fetch.follower != voter));
    }

    fn handle_fetch(&self, state: &mut State, fetch: Fetch) -> Result<(), Refusal> {
        let at = state.network.binary_search(&Message::Fetch(fetch));
        let at = at.map_err(|_| "no such fetch was sent")?;
        let node = &mut state.nodes[usize::from(fetch.leader)];
        require(
            node.up && node.election.epoch == fetch.epoch,
            "a fetch of another epoch is fenced",
        )?;
        let Role::Leader { epoch_start, ends } = &mut node.role else {
            return Err("it does not lead");
        };
        let own = fetch.last_epoch >= fetch.epoch;
        let (epoch, end) = match own {
            true => (fetch.epoch, node.log.end()),
            false => (
                node.log.epoch_at_most(fetch.last_epoch).unwrap_or(0),
                node.log.start_above(fetch.last_epoch).unwrap_or(*epoch_start),
            ),
        };
        let answer = if epoch != fetch.last_epoch || end < fetch.offset {
            Message::Diverging { fetch, epoch, end }
        } else {
            ends[usize::from(fetch.follower)] = fetch.offset;
            Message::Records {
                fetch,
                entries: node.log.slice(fetch.offset, node.log.end()),
                high_watermark: node.high_watermark,
            }
        };
        state.network.remove(at);
        state.send(answer);
        Ok(())
    }

    fn handle_fetched(&self, state: &mut State, fetch: Fetch, end: Offset) -> Result<(), Refusal> {
        let answers = |message: &Message| !matches!(message, Message::Fetch(_)) && message.fetch() == Some(fetch);
        let at = state
            .network
            .iter()
            .position(answers)
            .ok_or("no such answer was sent")?;
        require(
            Self::question(state, fetch.follower) == Some(fetch),
            "it answers what the follower does not ask any more",
        )?;
        let node = &mut state.nodes[usize::from(fetch.follower)];
        let ours = node.log.end();
        match &state.network[at] {
            Message::Records {
                entries,
                high_watermark,
                ..
            } => {
                require(
                    ours <= end && end <= ours + entries.end(),
                    "it copies what the answer holds",
                )?;
                let high_watermark = (*high_watermark).min(end);
                node.log.extend(&entries.slice(0, end - ours));
                // IMPORTANT: before its next fetch says that it has them (KAFKA-10533).
                node.synced = end;
                node.high_watermark = node.high_watermark.max(high_watermark);
            }
            Message::Diverging { epoch, end: theirs, .. } => {
                let to = cut_at(&node.log, *epoch, *theirs);
                require(
                    end == to,
                    "it cuts its log where the leader's epochs say that they part",
                )?;
                require(
                    to >= node.high_watermark,
                    "what is committed is never cut (KAFKA-12460)",
                )?;
                node.log.truncate(to);
                node.synced = node.synced.min(to);
            }
            _ => unreachable!("that is what was looked for"),
        }
        self.ask(state, fetch.follower);
        Ok(())
    }

    fn flush(&self, state: &mut State, leader: Voter) -> Result<(), Refusal> {
        let node = &mut state.nodes[usize::from(leader)];
        require(node.up && node.synced < node.log.end(), "there is nothing to sync")?;
        node.synced = node.log.end();
        Ok(())
    }

    /// What the high watermark may rise to: what a majority holds, durably.
    pub fn committable(&self, state: &State, leader: Voter) -> Result<Offset, Refusal> {
        let node = &state.nodes[usize::from(leader)];
        let Role::Leader { epoch_start, ends } = &node.role else {
            return Err("it does not lead");
        };
        require(node.up, "it is down")?;
        let mut held: Vec<Offset> = ends[..usize::from(self.voters)].to_vec();
        held[usize::from(leader)] = node.synced;
        held.sort_unstable();
        let held = held[held.len() - self.majority()];
        require(
            held > *epoch_start || self.flaw == Some(Flaw::RaftCommitPrevEpoch),
            "records of earlier epochs are committed by one of its own above them (KAFKA-12619)",
        )?;
        Ok(held)
    }

    fn advance_high_watermark(&self, state: &mut State, leader: Voter, to: Offset) -> Result<(), Refusal> {
        let most = self.committable(state, leader)?;
        let node = &mut state.nodes[usize::from(leader)];
        require(
            to > node.high_watermark && to <= most,
            "no majority holds that much, or it is committed already",
        )?;
        node.high_watermark = to;
        let committed = &mut state.history.committed;
        let now = node.log.slice(0, to);
        if !committed.starts_with(&now) {
            state.history.contradicted |= !now.starts_with(committed);
            *committed = now;
        }
        Ok(())
    }

    // --- faults --------------------------------------------------------------------------------------------

    fn stop(&self, state: &mut State, voter: Voter, end: Offset, power: bool) -> Result<(), Refusal> {
        let node = &mut state.nodes[usize::from(voter)];
        require(node.up, "it is down")?;
        require(
            node.synced <= end && end <= node.log.end(),
            "what is synced stays, and nothing is added",
        )?;
        node.up = false;
        node.role = Role::Voter;
        // A process that is killed leaves its files as it wrote them.
        node.durable = if power { node.durable } else { node.election };
        node.election = node.durable;
        node.election.leader = node.election.leader.filter(|leader| *leader != voter);
        node.durable = node.election;
        node.log.truncate(end);
        node.synced = node.synced.min(end);
        node.high_watermark = 0;
        state.history.faults[usize::from(power)] += 1;
        self.stop_asking(state, voter);
        Ok(())
    }

    /// A leader that comes back does not go on leading: its log may have lost its end (KAFKA-10527).
    fn start(&self, state: &mut State, voter: Voter) -> Result<(), Refusal> {
        let node = &mut state.nodes[usize::from(voter)];
        require(!node.up, "it is running")?;
        node.up = true;
        self.ask(state, voter);
        Ok(())
    }
}

/// Where a log must be cut, if the leader's largest common epoch is this one and ends there.
pub(super) fn cut_at(log: &Log, leaders: Epoch, leaders_end: Offset) -> Offset {
    let ours = log.start_above(leaders).unwrap_or(log.end());
    match log.epoch_at_most(leaders) {
        Some(epoch) if epoch == leaders => ours.min(leaders_end),
        _ => ours,
    }
}
