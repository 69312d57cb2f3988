//! Elections: who asks for votes, who gets one, and how the winner and the loser tell.
//!
//! Guarantees: one vote an epoch, only for a log that is at least as long as ours (last epoch first, then end); a
//! pre-vote promises nothing and changes nothing. Deliberately does not know how a ballot is decided (state.rs).
//!
//! Sources: KIP-595 (Vote, BeginQuorumEpoch, EndQuorumEpoch); KIP-996 (pre-vote); KAFKA-17641, KAFKA-16164.

use super::calls::Asked;
use super::message::{self, Sender, metadata_partition};
use super::state::{Ballot, Role};
use super::store::Election;
use super::{Held, Quorum};
use crate::machine::{Call, Channel, Outbox};
use crate::note::Note;
use crate::types::{LeaderEpoch, NodeId, Now, RequestId};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, BrokerId, EndQuorumEpochRequest, EndQuorumEpochResponse,
    RequestKind, VoteRequest, VoteResponse,
};
use kafka_protocol::protocol::StrBytes;

/// A successor that is not the first on the list waits this long for each one before it (doubling).
const SUCCESSION_STEP_MS: u64 = 50;

impl Quorum {
    pub(super) fn is_our_cluster(&self, cluster_id: Option<&StrBytes>) -> bool {
        cluster_id.is_none_or(|id| *id == self.cluster_id)
    }

    fn is_meant_for_us(&self, voter: BrokerId) -> bool {
        voter.0 < 0 || voter.0 == self.me.0
    }

    fn is_in_quorum(&self, node: NodeId) -> bool {
        self.voters.binary_search(&node).is_ok()
    }

    // --- as asked ------------------------------------------------------------------------------------------

    pub(super) fn handle_vote(&mut self, id: RequestId, request: &VoteRequest, now: Now, out: &mut Outbox) {
        if !self.is_our_cluster(request.cluster_id.as_ref()) {
            let error = message::code(Some(ResponseError::InconsistentClusterId));
            return self.reply(id, VoteResponse::default().with_error_code(error), out);
        }
        let outcome = match metadata_partition!(request.topics, topic_name, partition_index) {
            None => Err(ResponseError::InvalidRequest),
            Some(_) if !self.is_meant_for_us(request.voter_id) => Err(ResponseError::InvalidVoterKey),
            Some(asked) => self.decide_vote(
                NodeId(asked.replica_id.0),
                LeaderEpoch(asked.replica_epoch),
                (LeaderEpoch(asked.last_offset_epoch), asked.last_offset),
                asked.pre_vote,
                now,
                out,
            ),
        };
        let response = message::vote_response(outcome.err(), self.store.election(), outcome == Ok(true));
        self.reply(id, response, out);
    }

    fn decide_vote(
        &mut self,
        candidate: NodeId,
        epoch: LeaderEpoch,
        log: (LeaderEpoch, i64),
        pre_vote: bool,
        now: Now,
        out: &mut Outbox,
    ) -> Result<bool, ResponseError> {
        if epoch.0 < 0 || log.0.0 < 0 || log.1 < 0 || candidate == self.me {
            return Err(ResponseError::InvalidRequest);
        }
        if epoch < self.epoch() {
            return Err(ResponseError::FencedLeaderEpoch);
        }
        if !self.is_voter() || !self.is_in_quorum(candidate) {
            return Err(ResponseError::InconsistentVoterSet);
        }
        self.hear_epoch(epoch, None, now, out);
        let is_long_enough = log >= (self.last_epoch(), self.log.log_end_offset());
        if pre_vote {
            return Ok(is_long_enough && self.would_help());
        }
        let election = self.store.election();
        let may_vote = match self.role {
            Role::Unattached { .. } | Role::Prospective { .. } => election.leader.is_none(),
            _ => false,
        };
        let granted = may_vote
            && match election.voted {
                Some(voted) => voted == candidate,
                None => is_long_enough,
            };
        if granted && election.voted.is_none() {
            self.grant_vote(candidate, now, out);
        }
        Ok(granted)
    }

    /// Whether an election would be welcome: nobody leads us, as far as we can see.
    fn would_help(&self) -> bool {
        match self.role {
            Role::Leader(_) | Role::Follower { fetched: true, .. } => false,
            Role::Follower { fetched: false, .. }
            | Role::Unattached { .. }
            | Role::Prospective { .. }
            | Role::Candidate { .. }
            | Role::Resigned { .. } => true,
        }
    }

    fn grant_vote(&mut self, candidate: NodeId, now: Now, out: &mut Outbox) {
        let election = self.store.election();
        assert!(
            election.voted.is_none() && election.leader.is_none(),
            "a second vote in one epoch"
        );
        self.store.set(Election {
            voted: Some(candidate),
            ..election
        });
        self.hold_or(
            Held::Note(Note::Voted {
                epoch: election.epoch,
                candidate,
            }),
            out,
        );
        // The candidate gets time to win.
        let patience = self.election_timeout(now);
        match &mut self.role {
            Role::Unattached { deadline } | Role::Prospective { deadline, .. } => *deadline = patience,
            _ => {}
        }
    }

    pub(super) fn handle_begin(
        &mut self,
        id: RequestId,
        request: &BeginQuorumEpochRequest,
        now: Now,
        out: &mut Outbox,
    ) {
        if !self.is_our_cluster(request.cluster_id.as_ref()) {
            let error = message::code(Some(ResponseError::InconsistentClusterId));
            return self.reply(id, BeginQuorumEpochResponse::default().with_error_code(error), out);
        }
        let error = match metadata_partition!(request.topics, topic_name, partition_index) {
            None => Some(ResponseError::InvalidRequest),
            Some(_) if !self.is_meant_for_us(request.voter_id) => Some(ResponseError::InvalidVoterKey),
            Some(told) => self
                .hear_leader(NodeId(told.leader_id.0), LeaderEpoch(told.leader_epoch), now, out)
                .err(),
        };
        let response = message::begin_response(error, self.store.election());
        self.reply(id, response, out);
    }

    /// The leader of an epoch speaks for itself.
    fn hear_leader(
        &mut self,
        leader: NodeId,
        epoch: LeaderEpoch,
        now: Now,
        out: &mut Outbox,
    ) -> Result<(), ResponseError> {
        if epoch < self.epoch() {
            return Err(ResponseError::FencedLeaderEpoch);
        }
        if !self.is_in_quorum(leader) || leader == self.me {
            return Err(ResponseError::InconsistentVoterSet);
        }
        self.hear_epoch(epoch, Some(leader), now, out);
        if self.leader() != Some(leader) {
            return Err(ResponseError::InvalidRequest);
        }
        if matches!(self.role, Role::Prospective { .. }) {
            self.become_follower(epoch, leader, now, out);
        }
        Ok(())
    }

    pub(super) fn handle_end(&mut self, id: RequestId, request: &EndQuorumEpochRequest, now: Now, out: &mut Outbox) {
        if !self.is_our_cluster(request.cluster_id.as_ref()) {
            let error = message::code(Some(ResponseError::InconsistentClusterId));
            return self.reply(id, EndQuorumEpochResponse::default().with_error_code(error), out);
        }
        let error = match metadata_partition!(request.topics, topic_name, partition_index) {
            None => Some(ResponseError::InvalidRequest),
            Some(told) if LeaderEpoch(told.leader_epoch) < self.epoch() => Some(ResponseError::FencedLeaderEpoch),
            Some(told) => {
                let leader = NodeId(told.leader_id.0);
                let successors = told
                    .preferred_candidates
                    .iter()
                    .map(|candidate| candidate.candidate_id.0);
                let place = successors
                    .chain(told.preferred_successors.iter().copied())
                    .position(|id| id == self.me.0);
                self.hear_epoch(LeaderEpoch(told.leader_epoch), Some(leader), now, out);
                self.succeed(leader, place, now);
                None
            }
        };
        let response = message::end_response(error, self.store.election());
        self.reply(id, response, out);
    }

    /// Our leader has stepped down: we help whoever asks, and ask ourselves when it is our turn.
    fn succeed(&mut self, ended: NodeId, place: Option<usize>, now: Now) {
        let voters = self.voters.len();
        let is_voter = self.is_voter();
        let chance = self.entropy.below(SUCCESSION_STEP_MS);
        if let Role::Follower {
            leader,
            deadline,
            fetched,
        } = &mut self.role
            && *leader == ended
        {
            *fetched = false;
            if is_voter {
                let wait = match place.unwrap_or(voters) {
                    0 => 0,
                    place => (SUCCESSION_STEP_MS << place.min(10)) + chance,
                };
                *deadline = (*deadline).min(now.mono.plus_ms(wait));
            }
        }
    }

    // --- as asking -----------------------------------------------------------------------------------------

    /// Sends what the role still has to tell or ask the voters.
    pub(super) fn call_election(&mut self, now: Now, out: &mut Outbox) {
        match &self.role {
            Role::Prospective { ballot, .. } => {
                let asked = Asked::Vote {
                    epoch: self.store.election().epoch,
                    pre_vote: true,
                };
                let to = missing(&self.voters, ballot);
                self.call_voters(&to, asked, out);
            }
            Role::Candidate {
                ballot, resting: false, ..
            } => {
                let asked = Asked::Vote {
                    epoch: self.store.election().epoch,
                    pre_vote: false,
                };
                let to = missing(&self.voters, ballot);
                self.call_voters(&to, asked, out);
            }
            Role::Leader(leader) if !leader.to_tell.is_empty() => {
                let to: Vec<NodeId> = leader.to_tell.iter().copied().collect();
                for to in to {
                    if self.call_voters(&[to], Asked::Begin, out)
                        && let Role::Leader(leader) = &mut self.role
                    {
                        leader.to_tell.remove(&to);
                    }
                }
            }
            Role::Resigned {
                told,
                successors,
                deadline,
            } if *deadline > now.mono => {
                let to: Vec<NodeId> = successors
                    .iter()
                    .copied()
                    .filter(|voter| !told.contains(voter))
                    .collect();
                self.call_voters(&to, Asked::End, out);
            }
            _ => {}
        }
    }

    /// True if somebody of `to` could be asked.
    fn call_voters(&mut self, to: &[NodeId], asked: Asked, out: &mut Outbox) -> bool {
        let mut called = false;
        for &to in to {
            if !self.calls.is_ready(Channel::Election, to) {
                continue;
            }
            let sender = Sender {
                cluster_id: &self.cluster_id,
                me: self.me,
                epoch: self.epoch(),
            };
            let request = match asked {
                Asked::Vote { pre_vote, .. } => sender.vote(to, self.last_epoch(), self.log.log_end_offset(), pre_vote),
                Asked::Begin => sender.begin(to),
                _ => match &self.role {
                    Role::Resigned { successors, .. } => sender.end(successors),
                    _ => unreachable!("only a node that has resigned ends an epoch"),
                },
            };
            let timeout_ms = self.timeouts.request_ms.min(self.timeouts.election_ms);
            self.send(to, Channel::Election, asked, request, timeout_ms, out);
            called = true;
        }
        called
    }

    /// Opens a call and lets it go when the vote file allows.
    pub(super) fn send(
        &mut self,
        to: NodeId,
        channel: Channel,
        asked: Asked,
        request: RequestKind,
        timeout_ms: u64,
        out: &mut Outbox,
    ) {
        let tag = self.calls.ask(channel, to, asked);
        self.hold_or(
            Held::Call(Call {
                to,
                channel,
                tag,
                request,
                timeout_ms,
            }),
            out,
        );
    }

    pub(super) fn on_call_failed(&mut self, from: NodeId, channel: Channel, asked: Asked, now: Now) {
        self.calls.rest(channel, from, now);
        match (asked, &mut self.role) {
            // Told again at the next round, or at once when it fetches.
            (Asked::Begin, Role::Leader(leader)) => {
                leader.to_tell.insert(from);
            }
            (Asked::Piece { .. }, _) => self.drop_download(),
            _ => {}
        }
    }

    pub(super) fn on_vote_response(
        &mut self,
        from: NodeId,
        asked: Asked,
        response: &VoteResponse,
        now: Now,
        out: &mut Outbox,
    ) {
        let Some(answer) = metadata_partition!(response.topics, topic_name, partition_index) else {
            return self.calls.rest(Channel::Election, from, now);
        };
        self.hear_epoch(
            LeaderEpoch(answer.leader_epoch),
            message::node(answer.leader_id),
            now,
            out,
        );
        let Asked::Vote { epoch, pre_vote } = asked else {
            return self.calls.rest(Channel::Election, from, now);
        };
        let current = self.epoch();
        let ballot = match &mut self.role {
            Role::Prospective { ballot, .. } if pre_vote && epoch == current => ballot,
            Role::Candidate { ballot, .. } if !pre_vote && epoch == current => ballot,
            _ => return,
        };
        if answer.error_code != 0 {
            return self.calls.rest(Channel::Election, from, now);
        }
        if answer.vote_granted {
            ballot.granted.insert(from);
        } else {
            ballot.rejected.insert(from);
        }
        assert!(
            ballot.granted.is_disjoint(&ballot.rejected),
            "a voter that answered one question twice"
        );
    }

    pub(super) fn on_begin_response(&mut self, response: &BeginQuorumEpochResponse, now: Now, out: &mut Outbox) {
        if let Some(answer) = metadata_partition!(response.topics, topic_name, partition_index) {
            self.hear_epoch(
                LeaderEpoch(answer.leader_epoch),
                message::node(answer.leader_id),
                now,
                out,
            );
        }
    }

    pub(super) fn on_end_response(
        &mut self,
        from: NodeId,
        response: &EndQuorumEpochResponse,
        now: Now,
        out: &mut Outbox,
    ) {
        if let Some(answer) = metadata_partition!(response.topics, topic_name, partition_index) {
            self.hear_epoch(
                LeaderEpoch(answer.leader_epoch),
                message::node(answer.leader_id),
                now,
                out,
            );
        }
        if let Role::Resigned { told, .. } = &mut self.role {
            told.insert(from);
        }
    }
}

/// Voters that have not answered yet.
fn missing(voters: &[NodeId], ballot: &Ballot) -> Vec<NodeId> {
    voters
        .iter()
        .copied()
        .filter(|voter| !ballot.granted.contains(voter) && !ballot.rejected.contains(voter))
        .collect()
}
