//! From a wished ISR to a partition's change: who leads, who stays eligible, which record says so.
//!
//! ```text
//!   wished ISR ──▶ ELR (below the minimum: who leaves the ISR stays eligible) ──▶ election ──▶ record, or nothing
//!
//!   election: the leader, if it may go on ▷ the first replica that lives and is in the ISR (ISR empty: in the ELR)
//!             ▷ ISR and ELR empty: the last known leader ▷ if allowed: any replica that lives
//! ```
//!
//! A reassignment ends with the first change whose wished ISR has all replicas that stay: those that are removed leave
//! replicas and ISR, and a new leader epoch begins.
//!
//! Guarantees: a clean leader comes from the ISR or, if that is empty, from the ELR; an unclean leader is alone in the
//! ISR, and the ELR is empty; whoever left uncleanly is in neither; with enough in-sync replicas the ELR is empty.
//! Without KIP-966 there is no ELR and the ISR never becomes empty.
//! Deliberately does not know: why the ISR is wished so, and which topics allow unclean elections.
//!
//! Sources: KIP-966, KIP-455; `PartitionChangeBuilder` and `PartitionReassignmentReplicas` of Kafka 4; KAFKA-15021 (a shrink alone bumps no leader epoch).

use crate::metadata::{Reassignment, Record};
use crate::note::PartitionState;
use crate::types::{NodeId, TopicPartition};

/// What kind of leader is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Election {
    /// The first replica if it can, else as `Online`.
    Preferred,
    /// From ISR or ELR.
    Online,
    /// As `Online`, and if there is nobody, whoever lives.
    Unclean,
}

/// A record and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Always a [`Record::PartitionChange`].
    pub record: Record,
    /// The leader is new and comes from outside ISR and ELR.
    pub unclean: bool,
}

/// Replicas, and who of them comes and goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    /// All of them, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Of these.
    pub reassignment: Reassignment,
}

impl Assignment {
    /// What it comes to with this ISR: `None` while somebody who stays is not in sync.
    fn completed(&self, isr: &[NodeId]) -> Option<(Vec<NodeId>, Vec<NodeId>)> {
        if self.reassignment.is_none() {
            return None;
        }
        let stays = |replica: &&NodeId| !self.reassignment.removing.contains(replica);
        let isr: Vec<NodeId> = isr.iter().filter(stays).copied().collect();
        let replicas: Vec<NodeId> = self.replicas.iter().filter(stays).copied().collect();
        let is_complete = !replicas.is_empty() && replicas.iter().all(|replica| isr.contains(replica));
        is_complete.then_some((replicas, isr))
    }
}

/// Everything that a change follows from.
pub(super) struct PartitionChangeBuilder<'a> {
    /// Which partition.
    pub partition: TopicPartition,
    /// As it is.
    pub state: &'a PartitionState,
    /// As it is.
    pub last_known_elr: &'a [NodeId],
    /// The smaller of `min.insync.replicas` and the number of replicas.
    pub min_isr: usize,
    /// False only under the museum's `last_replica_standing`.
    pub elr_enabled: bool,
    /// See there.
    pub election: Election,
    /// The wish.
    pub target_isr: Vec<NodeId>,
    /// What is under way.
    pub reassignment: &'a Reassignment,
    /// Other replicas than those that there are.
    pub target_replicas: Option<Assignment>,
    /// Must be in neither ISR nor ELR, since it may have lost records.
    pub unclean_shutdown: Option<NodeId>,
    /// Whether a node may lead: alive, not leaving.
    pub is_acceptable_leader: &'a dyn Fn(NodeId) -> bool,
}

impl PartitionChangeBuilder<'_> {
    /// The change, or none if everything can stay as it is.
    pub fn build(mut self) -> Option<Change> {
        let mut isr = std::mem::take(&mut self.target_isr);
        let mut assignment = self.target_replicas.take().unwrap_or_else(|| Assignment {
            replicas: self.state.replicas.clone(),
            reassignment: self.reassignment.clone(),
        });
        if let Some((replicas, stay)) = assignment.completed(&isr) {
            isr = stay;
            assignment = Assignment {
                replicas,
                reassignment: Reassignment::default(),
            };
        }
        let replicas = &assignment.replicas;
        let mut elr = self.target_elr(&isr, replicas);
        let (leader, unclean) = self.elect(&isr, &elr, replicas);
        let leader_changes = leader != self.state.leader;
        let unclean = unclean && leader_changes;
        if let Some(node) = leader
            && leader_changes
        {
            if unclean {
                // Nobody else can be trusted to have what this one has, nor this one to have what they have.
                isr = vec![node];
                elr.clear();
            } else if elr.contains(&node) {
                isr = vec![node];
                elr.retain(|replica| *replica != node);
                // Where one replica is enough it commits alone from here on, and the others are eligible no more.
                // Only a lowered minimum leads here; Kafka keeps them until the next change.
                if isr.len() >= self.min_isr {
                    elr.clear();
                }
            }
        }
        let isr_changes = isr != self.state.isr && (self.elr_enabled || !isr.is_empty());
        let last_known_elr = self.last_known_elr(isr_changes.then_some(&isr[..]), leader);
        let elr_changes = elr != self.state.elr;
        let replicas_change = *replicas != self.state.replicas;
        let (old, new) = (self.reassignment, &assignment.reassignment);
        let is_moving = replicas_change || old != new;
        if !leader_changes && !isr_changes && !elr_changes && last_known_elr.is_none() && !is_moving {
            return None;
        }
        // Who is no replica any more must not be counted by a leader that has not heard of it.
        let begins_epoch = leader_changes || !self.state.replicas.iter().all(|replica| replicas.contains(replica));
        let record = Record::PartitionChange {
            partition: self.partition,
            leader: begins_epoch.then_some(leader),
            isr: isr_changes.then_some(isr),
            elr: elr_changes.then_some(elr),
            last_known_elr,
            replicas: replicas_change.then(|| replicas.clone()),
            adding: (old.adding != new.adding).then(|| new.adding.clone()),
            removing: (old.removing != new.removing).then(|| new.removing.clone()),
        };
        Some(Change { record, unclean })
    }

    /// Who leaves an ISR that falls below the minimum had everything that was committed, and nothing can be committed
    /// until it is large enough again: so they stay eligible.
    fn target_elr(&self, isr: &[NodeId], replicas: &[NodeId]) -> Vec<NodeId> {
        if !self.elr_enabled || isr.len() >= self.min_isr {
            return Vec::new();
        }
        let mut elr: Vec<NodeId> = self.state.elr.iter().chain(&self.state.isr).copied().collect();
        elr.retain(|replica| {
            replicas.contains(replica) && !isr.contains(replica) && self.unclean_shutdown != Some(*replica)
        });
        elr.sort_unstable();
        elr.dedup();
        elr
    }

    /// The leader, and whether it was taken from outside ISR and ELR.
    fn elect(&self, isr: &[NodeId], elr: &[NodeId], replicas: &[NodeId]) -> (Option<NodeId>, bool) {
        let is_valid = |replica: &NodeId| {
            (isr.contains(replica) || isr.is_empty() && elr.contains(replica)) && (self.is_acceptable_leader)(*replica)
        };
        if self.election == Election::Preferred
            && let Some(preferred) = replicas.first().filter(|replica| is_valid(replica))
        {
            return (Some(*preferred), false);
        }
        if let Some(leader) = self.state.leader.filter(is_valid) {
            return (Some(leader), false);
        }
        if let Some(leader) = replicas.iter().find(|replica| is_valid(replica)) {
            return (Some(*leader), false);
        }
        if let [last] = self.last_known_elr
            && self.elr_enabled
            && isr.is_empty()
            && elr.is_empty()
            && (self.is_acceptable_leader)(*last)
        {
            return (Some(*last), true);
        }
        if self.election == Election::Unclean
            && let Some(leader) = replicas.iter().find(|replica| (self.is_acceptable_leader)(**replica))
        {
            return (Some(*leader), true);
        }
        (None, false)
    }

    /// The last leader is remembered when the ISR becomes empty, and forgotten once there is a leader.
    fn last_known_elr(&self, new_isr: Option<&[NodeId]>, leader: Option<NodeId>) -> Option<Vec<NodeId>> {
        if !self.elr_enabled {
            return None;
        }
        if new_isr.is_some_and(<[NodeId]>::is_empty)
            && let Some(last) = self.state.leader
        {
            return (self.last_known_elr != [last]).then(|| vec![last]);
        }
        (leader.is_some() && !self.last_known_elr.is_empty()).then(Vec::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{LeaderEpoch, PartitionEpoch, Uuid};

    const P0: TopicPartition = TopicPartition {
        topic: Uuid::from_u128(1),
        partition: 0,
    };

    fn nodes(ids: &[i32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    /// The minimum was lowered to one while nobody was in sync and three were eligible.
    #[test]
    fn a_leader_that_suffices_ends_the_eligibility_of_others() {
        let state = PartitionState {
            leader: None,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            replicas: nodes(&[1, 2, 3]),
            isr: vec![],
            elr: nodes(&[1, 2, 3]),
        };
        let elr_with = |min_isr| {
            let builder = PartitionChangeBuilder {
                partition: P0,
                state: &state,
                last_known_elr: &[],
                min_isr,
                elr_enabled: true,
                election: Election::Online,
                target_isr: vec![],
                reassignment: &Reassignment::default(),
                target_replicas: None,
                unclean_shutdown: None,
                is_acceptable_leader: &|_| true,
            };
            match builder.build().unwrap().record {
                Record::PartitionChange { elr, .. } => elr,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(elr_with(1), Some(vec![]));
        assert_eq!(elr_with(2), Some(nodes(&[2, 3])));
    }

    /// `leader/isr/elr/last known` of three replicas, then the wish, who lives, and what comes out of it.
    struct Case {
        leader: i32,
        isr: &'static [i32],
        elr: &'static [i32],
        last: &'static [i32],
        target: &'static [i32],
        live: &'static [i32],
        unclean_shutdown: Option<i32>,
        election: Election,
        elr_enabled: bool,
    }

    const CASE: Case = Case {
        leader: 1,
        isr: &[1, 2, 3],
        elr: &[],
        last: &[],
        target: &[1, 2, 3],
        live: &[1, 2, 3],
        unclean_shutdown: None,
        election: Election::Online,
        elr_enabled: true,
    };

    type Outcome = (
        Option<Option<i32>>,
        Option<Vec<i32>>,
        Option<Vec<i32>>,
        Option<Vec<i32>>,
        bool,
    );

    /// Leader, ISR, ELR, last known leader, unclean; none where it stays. Minimum of two in-sync replicas.
    fn outcome(case: &Case) -> Option<Outcome> {
        let state = PartitionState {
            leader: (case.leader >= 0).then_some(NodeId(case.leader)),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            replicas: nodes(&[1, 2, 3]),
            isr: nodes(case.isr),
            elr: nodes(case.elr),
        };
        let change = PartitionChangeBuilder {
            partition: P0,
            state: &state,
            last_known_elr: &nodes(case.last),
            min_isr: 2,
            elr_enabled: case.elr_enabled,
            election: case.election,
            target_isr: nodes(case.target),
            reassignment: &Reassignment::default(),
            target_replicas: None,
            unclean_shutdown: case.unclean_shutdown.map(NodeId),
            is_acceptable_leader: &|node| case.live.contains(&node.0),
        }
        .build()?;
        let Record::PartitionChange {
            leader,
            isr,
            elr,
            last_known_elr,
            replicas: None,
            adding: None,
            removing: None,
            ..
        } = change.record
        else {
            panic!("{:?}", change.record)
        };
        let ids = |nodes: Option<Vec<NodeId>>| nodes.map(|nodes| nodes.iter().map(|node| node.0).collect());
        let leader = leader.map(|leader| leader.map(|leader| leader.0));
        Some((leader, ids(isr), ids(elr), ids(last_known_elr), change.unclean))
    }

    #[test]
    fn nothing_to_do_is_no_record() {
        assert_eq!(outcome(&CASE), None);
        assert_eq!(
            outcome(&Case {
                election: Election::Unclean,
                ..CASE
            }),
            None
        );
    }

    #[test]
    fn a_shrink_above_the_minimum_leaves_no_elr() {
        assert_eq!(
            outcome(&Case {
                target: &[1, 2],
                ..CASE
            }),
            Some((None, Some(vec![1, 2]), None, None, false))
        );
        let lost_leader = Case {
            target: &[2, 3],
            live: &[2, 3],
            ..CASE
        };
        assert_eq!(
            outcome(&lost_leader),
            Some((Some(Some(2)), Some(vec![2, 3]), None, None, false))
        );
    }

    #[test]
    fn who_leaves_below_the_minimum_stays_eligible() {
        let below = Case {
            isr: &[1, 2],
            target: &[1],
            live: &[1],
            ..CASE
        };
        assert_eq!(outcome(&below), Some((None, Some(vec![1]), Some(vec![2]), None, false)));
        let last = Case {
            isr: &[1],
            elr: &[2],
            target: &[],
            live: &[],
            ..CASE
        };
        assert_eq!(
            outcome(&last),
            Some((Some(None), Some(vec![]), Some(vec![1, 2]), Some(vec![1]), false))
        );
    }

    #[test]
    fn an_eligible_replica_leads_when_the_isr_is_empty() {
        let back = Case {
            leader: -1,
            isr: &[],
            elr: &[1, 2],
            last: &[1],
            target: &[],
            live: &[2],
            ..CASE
        };
        assert_eq!(
            outcome(&back),
            Some((Some(Some(2)), Some(vec![2]), Some(vec![1]), Some(vec![]), false))
        );
        let only_three = Case { live: &[3], ..back };
        assert_eq!(
            outcome(&only_three),
            None,
            "the third replica may lack committed records"
        );
    }

    #[test]
    fn the_isr_comes_before_the_elr() {
        let case = Case {
            leader: -1,
            isr: &[3],
            elr: &[1],
            target: &[3],
            live: &[1],
            ..CASE
        };
        assert_eq!(outcome(&case), None);
        let alive = Case { live: &[1, 3], ..case };
        assert_eq!(outcome(&alive), Some((Some(Some(3)), None, None, None, false)));
    }

    #[test]
    fn enough_replicas_clear_the_elr() {
        let case = Case {
            isr: &[1],
            elr: &[2, 3],
            target: &[1, 2],
            ..CASE
        };
        assert_eq!(
            outcome(&case),
            Some((None, Some(vec![1, 2]), Some(vec![]), None, false))
        );
    }

    #[test]
    fn whoever_left_uncleanly_is_in_neither() {
        let from_isr = Case {
            isr: &[1, 2],
            target: &[2],
            live: &[2, 3],
            unclean_shutdown: Some(1),
            ..CASE
        };
        assert_eq!(
            outcome(&from_isr),
            Some((Some(Some(2)), Some(vec![2]), None, None, false))
        );
        let from_elr = Case {
            leader: -1,
            isr: &[],
            elr: &[1, 2],
            last: &[1],
            target: &[],
            live: &[],
            ..CASE
        };
        let from_elr = Case {
            unclean_shutdown: Some(2),
            ..from_elr
        };
        assert_eq!(outcome(&from_elr), Some((None, None, Some(vec![1]), None, false)));
    }

    #[test]
    fn the_last_known_leader_leads_when_nobody_is_eligible() {
        let case = Case {
            leader: -1,
            isr: &[],
            last: &[2],
            target: &[],
            live: &[3],
            ..CASE
        };
        assert_eq!(outcome(&case), None);
        let back = Case {
            live: &[1, 2, 3],
            ..case
        };
        assert_eq!(
            outcome(&back),
            Some((Some(Some(2)), Some(vec![2]), None, Some(vec![]), true))
        );
    }

    #[test]
    fn an_unclean_leader_is_alone() {
        let case = Case {
            leader: -1,
            isr: &[],
            elr: &[1, 2],
            last: &[1],
            target: &[],
            live: &[3],
            ..CASE
        };
        let unclean = Case {
            election: Election::Unclean,
            ..case
        };
        assert_eq!(
            outcome(&unclean),
            Some((Some(Some(3)), Some(vec![3]), Some(vec![]), Some(vec![]), true))
        );
        let clean_first = Case {
            live: &[2, 3],
            ..unclean
        };
        assert_eq!(
            outcome(&clean_first),
            Some((Some(Some(2)), Some(vec![2]), Some(vec![1]), Some(vec![]), false))
        );
    }

    #[test]
    fn preferred_means_first_if_it_can() {
        let case = Case {
            leader: 2,
            election: Election::Preferred,
            ..CASE
        };
        assert_eq!(outcome(&case), Some((Some(Some(1)), None, None, None, false)));
        assert_eq!(outcome(&Case { live: &[2, 3], ..case }), None);
        let outside = Case {
            isr: &[2, 3],
            target: &[2, 3],
            ..case
        };
        assert_eq!(outcome(&outside), None, "not from outside the ISR");
        assert_eq!(
            outcome(&Case {
                election: Election::Online,
                ..case
            }),
            None,
            "who leads goes on"
        );
    }

    #[test]
    fn without_kip_966_the_last_one_stands() {
        let case = Case {
            isr: &[1],
            target: &[],
            live: &[2, 3],
            elr_enabled: false,
            ..CASE
        };
        assert_eq!(
            outcome(&case),
            Some((Some(None), None, None, None, false)),
            "fenced, and still in the ISR"
        );
        let back = Case {
            leader: -1,
            target: &[1],
            live: &[1, 2, 3],
            ..case
        };
        assert_eq!(
            outcome(&back),
            Some((Some(Some(1)), None, None, None, false)),
            "elected again, whatever it lost"
        );
    }
}
