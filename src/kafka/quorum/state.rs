//! The roles of a quorum member and the only ways from one to another.
//!
//! ```text
//!              from          to            when
//!              ───────────── ───────────── ───────────────────────────────────────────────────────────
//!              any           Unattached    a higher epoch is heard of, its leader is not known
//!              any but Leader Follower     a leader of this epoch (none was known) or a higher one is heard of
//!              Unattached    Prospective   election timeout (voters)
//!              Follower      Prospective   fetch timeout (voters); an observer turns Unattached and looks around
//!              Prospective   Candidate     a majority would vote for us: epoch + 1, our vote is ours
//!              Prospective   Follower      lost or too slow, and the old leader is known; else Unattached
//!              Candidate     Prospective   lost (after a rest) or too slow
//!              Candidate     Leader        a majority voted for us, and our own vote is durable
//!              Leader        Resigned      no majority has fetched for 1.5 fetch timeouts, or shutdown
//!              Resigned      Unattached    election timeout: epoch + 1, so that this epoch never gets a second leader
//! ```
//!
//! Guarantees: the epoch never goes down; an epoch's leader and vote, once known, never change ([`Store::set`] is
//! called here only, and in [`Quorum::grant_vote`]). After a restart nobody leads and nobody goes on as candidate: one
//! life campaigns once in an epoch, so no epoch can get a second first record, whatever the last life had in its page
//! cache. (KRaft goes on as candidate.)
//!
//! [`Store::set`]: super::store::Store::set
//!
//! Sources: KIP-595; KIP-996; Kafka's `QuorumState`; KAFKA-15489.

use super::store::Election;
use super::{Held, Quorum};
use crate::disk::Disk;
use crate::log::LogError;
use crate::machine::Outbox;
use crate::note::Note;
use crate::rules::Rule;
use crate::types::{LeaderEpoch, Nanos, NodeId, Now, Offset};
use std::collections::{BTreeMap, BTreeSet};

/// A timer that is not set.
pub(super) const NEVER: Nanos = Nanos(u64::MAX);
/// First step of the rest after a lost election; doubled by each further loss.
const ELECTION_BACKOFF_MS: u64 = 50;

/// What a node is in the current epoch.
#[derive(Clone, Debug, Hash)]
pub(super) enum Role {
    /// Knows no leader. An observer has no election timer.
    Unattached { deadline: Nanos },
    /// Fetches from the leader. `fetched`: that leader has answered us, so we help nobody against it.
    Follower {
        leader: NodeId,
        deadline: Nanos,
        fetched: bool,
    },
    /// Asks who would vote for it; nothing is promised, no epoch is raised (KIP-996).
    Prospective { deadline: Nanos, ballot: Ballot },
    /// Asks for votes; `resting` after a loss.
    Candidate {
        deadline: Nanos,
        ballot: Ballot,
        resting: bool,
    },
    /// Leads.
    Leader(Box<Leader>),
    /// Led this epoch, or did so before a restart. `told`: who has answered the end of the epoch; `successors`: the
    /// other voters, the longest known log first.
    Resigned {
        deadline: Nanos,
        told: BTreeSet<NodeId>,
        successors: Vec<NodeId>,
    },
}

/// Answers so far, our own included.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Ballot {
    pub granted: BTreeSet<NodeId>,
    pub rejected: BTreeSet<NodeId>,
}

/// What only a leader knows.
#[derive(Clone, Debug, Hash)]
pub(super) struct Leader {
    /// Offset of its LeaderChangeMessage.
    pub epoch_start_offset: Offset,
    /// A record of its own epoch is committed, so its high watermark may be shown.
    pub committed_own: bool,
    /// All that ever fetched in this epoch: voters and observers, without ourselves.
    pub progress: BTreeMap<NodeId, Progress>,
    /// Voters that fetched since the check-quorum timer was set.
    pub heard: BTreeSet<NodeId>,
    /// When a minority has been heard until then, we resign.
    pub check_quorum: Nanos,
    /// When voters that do not fetch are told of us again.
    pub next_begin: Nanos,
    /// Voters to be told now.
    pub to_tell: BTreeSet<NodeId>,
}

/// A replica as its leader sees it.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub(super) struct Progress {
    /// All below is flushed there (voters).
    pub end_offset: Offset,
    /// Its last fetch.
    pub fetched_at: Nanos,
    pub fetched_wall_ms: i64,
    /// The last fetch that asked for our log end.
    pub caught_up_wall_ms: Option<i64>,
    /// High watermark of our last answer.
    pub told: Option<Offset>,
}

impl Role {
    /// When [`Quorum::on_role_deadline`] has something to do.
    pub fn deadline(&self) -> Nanos {
        match self {
            Role::Unattached { deadline }
            | Role::Follower { deadline, .. }
            | Role::Prospective { deadline, .. }
            | Role::Candidate { deadline, .. }
            | Role::Resigned { deadline, .. } => *deadline,
            Role::Leader(leader) => leader.check_quorum.min(leader.next_begin),
        }
    }
}

impl Quorum {
    /// Votes that elect: more than half of all voters.
    pub(super) fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    fn may_campaign(&self) -> bool {
        // The last epoch of all can be heard of, but not left.
        let has_next_epoch = self.epoch().0 < i32::MAX;
        self.is_voter() && !self.leaving && !self.snapshots.is_installing() && has_next_epoch
    }

    pub(super) fn election_timeout(&mut self, now: Now) -> Nanos {
        if !self.is_voter() || self.leaving {
            return NEVER;
        }
        let ms = self.timeouts.election_ms;
        now.mono.plus_ms(ms + self.entropy.below(ms))
    }

    fn is_only_voter(&self) -> bool {
        self.voters == [self.me]
    }

    /// A log that is ahead of `quorum-state` tells the epoch, as in Kafka's `QuorumState.initialize`: the file was lost, and
    /// an epoch below that of our own records would be refused by nobody who has lost it as well.
    pub(super) fn take_initial_role(&mut self, now: Now, out: &mut Outbox) {
        let written = self.last_epoch();
        if written > self.store.election().epoch {
            self.store.set(Election {
                epoch: written,
                leader: None,
                voted: None,
            });
            out.note(Note::QuorumEpochStarted {
                epoch: written,
                leader: None,
            });
        }
        let election = self.store.election();
        match election.leader {
            _ if self.is_only_voter() && self.may_campaign() => self.become_candidate(now, out),
            Some(leader) if leader != self.me => self.follow(leader, now),
            Some(_) => {
                self.store.set(Election {
                    leader: None,
                    ..election
                });
                self.role = self.resigned(now);
            }
            None => {
                self.role = Role::Unattached {
                    deadline: self.election_timeout(now),
                }
            }
        }
    }

    /// Every epoch in every message of a peer comes here first, with the leader that the message knows of.
    pub(super) fn hear_epoch(&mut self, epoch: LeaderEpoch, leader: Option<NodeId>, now: Now, out: &mut Outbox) {
        let election = self.store.election();
        let leader = leader.filter(|leader| self.voters.binary_search(leader).is_ok());
        if epoch > election.epoch {
            match leader {
                Some(leader) if leader != self.me => self.become_follower(epoch, leader, now, out),
                _ => self.become_unattached(epoch, now, out),
            }
        } else if epoch == election.epoch {
            let is_voter_only = matches!(self.role, Role::Unattached { .. } | Role::Follower { .. });
            if is_voter_only && self.rules.has(Rule::VoteForgottenSameEpoch) {
                self.store.set(Election {
                    voted: None,
                    ..election
                });
            }
            if let Some(leader) = leader
                && leader != self.me
                && election.leader.is_none()
                && !self.is_leader()
            {
                self.become_follower(epoch, leader, now, out);
            }
        }
    }

    pub(super) fn become_unattached(&mut self, epoch: LeaderEpoch, now: Now, out: &mut Outbox) {
        let before = self.store.election();
        // A voter that keeps hearing of new epochs must get its turn too: the timer runs on.
        let deadline = match self.role {
            Role::Unattached { deadline } => deadline,
            Role::Follower { deadline, .. } if deadline > now.mono && self.is_voter() && !self.leaving => deadline,
            _ => self.election_timeout(now),
        };
        let voted = before.voted.filter(|_| epoch == before.epoch);
        self.store.set(Election {
            epoch,
            leader: None,
            voted,
        });
        self.leave_role(before.epoch, out);
        self.role = Role::Unattached { deadline };
        if epoch > before.epoch {
            out.note(Note::QuorumEpochStarted { epoch, leader: None });
        }
    }

    pub(super) fn become_follower(&mut self, epoch: LeaderEpoch, leader: NodeId, now: Now, out: &mut Outbox) {
        let before = self.store.election();
        let voted = before.voted.filter(|_| epoch == before.epoch);
        self.store.set(Election {
            epoch,
            leader: Some(leader),
            voted,
        });
        self.leave_role(before.epoch, out);
        self.follow(leader, now);
        self.elections_lost = 0;
        if before.leader != Some(leader) || before.epoch != epoch {
            out.note(Note::QuorumEpochStarted {
                epoch,
                leader: Some(leader),
            });
        }
    }

    fn follow(&mut self, leader: NodeId, now: Now) {
        self.role = Role::Follower {
            leader,
            deadline: now.mono.plus_ms(self.timeouts.fetch_ms),
            fetched: false,
        };
    }

    fn become_prospective(&mut self, now: Now) {
        let mut ballot = Ballot::default();
        ballot.granted.insert(self.me);
        self.role = Role::Prospective {
            deadline: self.election_timeout(now),
            ballot,
        };
    }

    fn become_candidate(&mut self, now: Now, out: &mut Outbox) {
        let epoch = LeaderEpoch(self.epoch().0 + 1);
        let mut ballot = Ballot::default();
        ballot.granted.insert(self.me);
        self.store.set(Election {
            epoch,
            leader: None,
            voted: Some(self.me),
        });
        self.role = Role::Candidate {
            deadline: self.election_timeout(now),
            ballot,
            resting: false,
        };
        out.note(Note::QuorumEpochStarted { epoch, leader: None });
        out.note(Note::BecameCandidate { epoch });
        self.hold_or(
            Held::Note(Note::Voted {
                epoch,
                candidate: self.me,
            }),
            out,
        );
    }

    fn become_leader(
        &mut self,
        granting: &BTreeSet<NodeId>,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let election = self.store.election();
        assert!(election.voted == Some(self.me), "elected without its own vote");
        let epoch_start_offset = self.log.log_end_offset();
        self.store.set(Election {
            leader: Some(self.me),
            ..election
        });
        self.elections_lost = 0;
        self.role = Role::Leader(Box::new(Leader {
            epoch_start_offset,
            committed_own: false,
            progress: BTreeMap::new(),
            heard: BTreeSet::new(),
            check_quorum: self.check_quorum_deadline(now),
            next_begin: self.next_begin(now),
            to_tell: self.voters.iter().copied().filter(|voter| *voter != self.me).collect(),
        }));
        out.note(Note::QuorumEpochStarted {
            epoch: election.epoch,
            leader: Some(self.me),
        });
        out.note(Note::BecameQuorumLeader {
            epoch: election.epoch,
            epoch_start_offset,
        });
        let message = super::control::leader_change(self.me, &self.voters, granting, now);
        self.log.append_as_leader(&message, election.epoch, now, disk, out)?;
        self.log_grew();
        Ok(())
    }

    pub(super) fn check_quorum_deadline(&self, now: Now) -> Nanos {
        if self.is_only_voter() {
            NEVER
        } else {
            now.mono.plus_ms(self.timeouts.fetch_ms * 3 / 2)
        }
    }

    fn next_begin(&self, now: Now) -> Nanos {
        if self.is_only_voter() {
            NEVER
        } else {
            now.mono.plus_ms(self.timeouts.fetch_ms / 2)
        }
    }

    pub(super) fn become_resigned(&mut self, now: Now, out: &mut Outbox) {
        let election = self.store.election();
        let resigned = self.resigned(now);
        self.store.set(Election {
            leader: None,
            ..election
        });
        self.leave_role(election.epoch, out);
        self.role = resigned;
    }

    fn resigned(&mut self, now: Now) -> Role {
        let mut successors: Vec<NodeId> = self.voters.iter().copied().filter(|voter| *voter != self.me).collect();
        if let Role::Leader(leader) = &self.role {
            let end = |voter: &NodeId| leader.progress.get(voter).map_or(0, |progress| progress.end_offset);
            successors.sort_by_key(|voter| std::cmp::Reverse(end(voter)));
        }
        Role::Resigned {
            deadline: self.election_timeout(now),
            told: BTreeSet::new(),
            successors,
        }
    }

    fn leave_role(&mut self, epoch: LeaderEpoch, out: &mut Outbox) {
        if self.is_leader() {
            out.note(Note::ResignedQuorumLeader { epoch });
        }
        // Waiting fetches are answered with the news of who leads.
        self.parked_stale = true;
        self.drop_download();
    }

    /// Begins every wait of the role anew, as if it had been entered at `anew`.
    pub(super) fn forget_waits(&mut self, anew: Now) {
        let after = |at: Nanos, ms: u64| if at == NEVER { NEVER } else { anew.mono.plus_ms(ms) };
        let (fetch_ms, election_ms) = (self.timeouts.fetch_ms, self.timeouts.election_ms);
        match &mut self.role {
            Role::Unattached { deadline }
            | Role::Prospective { deadline, .. }
            | Role::Candidate { deadline, .. }
            | Role::Resigned { deadline, .. } => *deadline = after(*deadline, election_ms),
            Role::Follower { deadline, .. } => *deadline = after(*deadline, fetch_ms),
            Role::Leader(leader) => {
                leader.check_quorum = after(leader.check_quorum, fetch_ms * 3 / 2);
                leader.next_begin = after(leader.next_begin, fetch_ms / 2);
                for progress in leader.progress.values_mut() {
                    progress.fetched_at = anew.mono;
                    progress.fetched_wall_ms = anew.wall_ms;
                    progress.caught_up_wall_ms = progress.caught_up_wall_ms.map(|_| anew.wall_ms);
                }
            }
        }
    }

    /// A ballot may be decided: by an answer, or because our own vote became durable.
    pub(super) fn settle_election(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        let majority = self.majority();
        let lost = |ballot: &Ballot, voters: usize| ballot.rejected.len() > voters - majority;
        let is_vote_durable = self.is_vote_durable();
        match &mut self.role {
            Role::Prospective { ballot, .. } => {
                if ballot.granted.len() >= majority {
                    self.become_candidate(now, out);
                } else if lost(ballot, self.voters.len()) {
                    self.lose_pre_vote(now);
                }
                Ok(())
            }
            Role::Candidate {
                deadline,
                ballot,
                resting,
            } => {
                if ballot.granted.len() >= majority && is_vote_durable {
                    let granting = std::mem::take(&mut ballot.granted);
                    return self.become_leader(&granting, now, disk, out);
                }
                if !*resting && lost(ballot, self.voters.len()) {
                    *resting = true;
                    self.elections_lost += 1;
                    let longest = ELECTION_BACKOFF_MS << self.elections_lost.min(10);
                    let rest = 1 + self.entropy.below(longest.min(self.timeouts.backoff_max_ms));
                    *deadline = now.mono.plus_ms(rest);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Back to the leader that we know, or to nobody. The epoch is as it was.
    fn lose_pre_vote(&mut self, now: Now) {
        match self.leader() {
            Some(leader) => self.follow(leader, now),
            None => {
                self.role = Role::Unattached {
                    deadline: self.election_timeout(now),
                }
            }
        }
    }

    pub(super) fn on_role_deadline(&mut self, now: Now, out: &mut Outbox) {
        let epoch = self.epoch();
        let may_campaign = self.may_campaign();
        let is_only_voter = self.is_only_voter();
        let is_installing = self.snapshots.is_installing();
        let wait = self.election_timeout(now);
        match &mut self.role {
            Role::Unattached { .. } if may_campaign && is_only_voter => self.become_candidate(now, out),
            Role::Unattached { .. } if may_campaign => self.become_prospective(now),
            Role::Unattached { deadline } => *deadline = wait,
            Role::Follower { .. } if may_campaign => {
                self.drop_download();
                self.become_prospective(now);
            }
            Role::Follower { deadline, .. } if is_installing => {
                *deadline = now.mono.plus_ms(self.timeouts.fetch_ms);
            }
            Role::Follower { .. } => self.become_unattached(epoch, now, out),
            Role::Prospective { .. } => self.lose_pre_vote(now),
            Role::Candidate { .. } if may_campaign => self.become_prospective(now),
            Role::Candidate { .. } => self.become_unattached(epoch, now, out),
            Role::Resigned { .. } => self.become_unattached(LeaderEpoch(epoch.0.saturating_add(1)), now, out),
            Role::Leader(leader) => {
                if leader.check_quorum <= now.mono {
                    self.become_resigned(now, out);
                } else {
                    let silent_since = Nanos(now.mono.0.saturating_sub(self.timeouts.fetch_ms * 500_000));
                    leader.to_tell = self
                        .voters
                        .iter()
                        .copied()
                        .filter(|voter| *voter != self.me)
                        .filter(|voter| leader.progress.get(voter).is_none_or(|p| p.fetched_at <= silent_since))
                        .collect();
                    leader.next_begin = now.mono.plus_ms(self.timeouts.fetch_ms / 2);
                }
            }
        }
    }
}
