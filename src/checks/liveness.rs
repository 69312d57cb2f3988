//! What must be reached once faults have ended: L1, L2, L3, L6 to L9.
//!
//! The run loop asks [`Checks::converged`] now and then and stops when it is; at `Finished` whatever is missing is a
//! violation that says what the cluster waits for. Before `FaultsEnded` nothing is asked.
//!
//! Sources: KIP-497, KIP-595, KIP-631; KAFKA-13091, KAFKA-15021; TigerBeetle's liveness mode.

use super::Checks;
use super::ghost::{Doubt, Mask, Role, has, nodes};
use super::partition::Partition;
use super::report::Check;
use crate::history::Outcome;

/// A proposal may be under way for this long.
const PROPOSAL_NS: u64 = 5_000_000_000;

/// Where the run is.
#[derive(Clone, Debug, Default)]
pub(super) struct Liveness {
    pub(super) faults_ended: Option<u64>,
}

/// Takes one obstacle; false: enough.
type Sink<'a> = &'a mut dyn FnMut(Check, Option<usize>, String) -> bool;

impl Checks {
    /// Whether nothing is left to converge at this moment, which may be later than the last note: what everybody has had
    /// time for is a matter of the clock. If not, the first thing that is missing.
    ///
    /// # Errors
    /// In words, fit for a progress line.
    pub fn converged(&self, now: u64) -> Result<(), String> {
        let mut first = None;
        self.obstacles(now, &mut |check, node, message| {
            let node = node.map_or(String::new(), |node| format!(" at node {}", self.name(node)));
            first = Some(format!("{check:?}{node}: {message}"));
            false
        });
        first.map_or(Ok(()), Err)
    }

    /// Why the cluster need not converge: a disk whose durable data a fault has changed may keep its node down for
    /// good, or leave it with what nobody can repair. None: it must, also where all that was struck is whole again.
    pub fn convergence_excused(&self) -> Option<String> {
        if self.report.is_anything_broken() {
            return Some("what a fault changed on a disk was served".to_owned());
        }
        let (damaged, what) = self.ghost.nodes.iter().enumerate().find_map(|(node, state)| {
            let what = state.struck?;
            let doubtful = |partition: &Partition| {
                let replica = &partition.replicas[node];
                partition.deleted.is_none()
                    && (replica.doubt == Doubt::Damaged || replica.lost.is_some_and(|lost| lost.destructive))
            };
            (!state.up || self.ghost.partitions.iter().any(doubtful)).then_some((node, what))
        })?;
        Some(format!(
            "a fault changed durable data of node {} ({what})",
            self.name(damaged)
        ))
    }

    /// Why an invariant of the subject's own code need not hold: that of the controller and its image speaks of one history,
    /// and the metadata log is a mixture of several once the quorum has two leaders in an epoch. `words`: with its place.
    pub fn assertion_excused(&self, words: &str) -> Option<&'static str> {
        let places = ["src/kafka/controller/", "src/kafka/metadata/"];
        let speaks_of_metadata = places.iter().any(|place| words.contains(place));
        (speaks_of_metadata && self.report.is_quorum_broken()).then_some(super::contract::QUORUM_BROKEN)
    }

    /// L1 to L9 at the end of a run that had an end of faults.
    pub(super) fn judge_liveness(&mut self) {
        if self.liveness.faults_ended.is_none() || self.convergence_excused().is_some() {
            return;
        }
        let mut found = Vec::new();
        self.obstacles(self.now, &mut |check, node, message| {
            found.push((check, node, message));
            true
        });
        for check in [
            Check::L1,
            Check::L2,
            Check::L3,
            Check::L6,
            Check::L7,
            Check::L8,
            Check::L9,
        ] {
            self.report.look(check);
        }
        for (check, node, message) in found {
            self.report.fire(check, self.now, node, || message);
        }
    }

    fn obstacles(&self, now: u64, sink: Sink<'_>) {
        let _ = self.quorum_obstacles(sink)
            && self.broker_obstacles(now, sink)
            && self.partition_obstacles(now, sink)
            && self.client_obstacles(sink);
    }

    fn quorum_obstacles(&self, sink: Sink<'_>) -> bool {
        let mut leaders = self.quorum.leading();
        let (first, second) = (leaders.next(), leaders.next());
        match (first, second) {
            (None, _) => sink(
                Check::L9,
                None,
                "The quorum elects a leader. Nobody leads it.".to_owned(),
            ),
            (Some((one, epoch)), Some((other, later))) => sink(
                Check::L9,
                Some(one),
                format!(
                    "The quorum has one leader. Nodes {} (epoch {epoch}) and {} (epoch {later}) both lead.",
                    self.name(one),
                    self.name(other)
                ),
            ),
            _ => true,
        }
    }

    fn broker_obstacles(&self, now: u64, sink: Sink<'_>) -> bool {
        let settled = self.quorum.settled(now);
        for (node, state) in self.ghost.nodes.iter().enumerate().take(self.context.brokers) {
            if !state.up {
                continue;
            }
            let applied = self.quorum.applied(node);
            if applied < settled
                && !sink(
                    Check::L6,
                    Some(node),
                    format!(
                        "All nodes apply the committed metadata. This one is at {applied}, committed is {settled}."
                    ),
                )
            {
                return false;
            }
            let serves = !self.context.controllers_only.contains(&self.name(node)) && !state.shutting_down;
            if serves
                && !state.unfenced
                && !sink(
                    Check::L8,
                    Some(node),
                    "A live broker is let in again. This one is still fenced.".to_owned(),
                )
            {
                return false;
            }
        }
        true
    }

    fn partition_obstacles(&self, now: u64, sink: Sink<'_>) -> bool {
        let live = self.ghost.nodes.iter().take(self.context.brokers).enumerate();
        let live = live
            .filter(|(_, state)| state.up)
            .fold(0, |mask: Mask, (node, _)| mask | 1 << node);
        for (at, partition) in self.ghost.partitions.iter().enumerate() {
            let exists = partition.replicas.iter().any(|replica| replica.known);
            if partition.is_metadata() || partition.deleted.is_some() || !exists {
                continue;
            }
            if let Some((check, node, what)) = unsettled(partition, live, now)
                && !sink(check, node, format!("{} {what}", self.topic_name(at)))
            {
                return false;
            }
        }
        true
    }

    fn client_obstacles(&self, sink: Sink<'_>) -> bool {
        let count = self.history.open();
        if count == 0 {
            return true;
        }
        let open = self.history.sends.iter().find(|send| send.outcome == Outcome::Pending);
        let first = open.expect("one that is counted as open");
        sink(
            Check::L3,
            Some(first.client.into()),
            format!(
                "Every send is answered. {count} are not; the first is {} of {} ns.",
                first.name(),
                first.invoked_ns
            ),
        )
    }
}

/// What one partition waits for.
fn unsettled(partition: &Partition, live: Mask, now: u64) -> Option<(Check, Option<usize>, String)> {
    let state = partition.state?;
    let eligible = (state.isr | state.elr) & live;
    if eligible == 0 {
        return None;
    }
    let leader = state.leader.filter(|leader| has(live, *leader));
    let Some(leader) = leader.filter(|leader| {
        let replica = &partition.replicas[*leader];
        replica.role == Role::Leader && replica.leader_epoch == state.leader_epoch
    }) else {
        let epoch = state.leader_epoch;
        return Some((
            Check::L1,
            state.leader,
            format!("has no acting leader in epoch {epoch}, though an eligible replica lives."),
        ));
    };
    let replica = &partition.replicas[leader];
    let wanted = state.replicas & live;
    if state.isr != wanted {
        // A refusal leaves no note, so an old proposal counts only while there is something to propose.
        if let Some((epoch, _, since)) = replica.proposed
            && epoch == state.partition_epoch
            && now > since + PROPOSAL_NS
        {
            return Some((
                Check::L7,
                Some(leader),
                format!(
                    "waits since {since} ns for the controller's word on an ISR proposed on partition epoch {epoch}."
                ),
            ));
        }
        return Some((
            Check::L2,
            Some(leader),
            format!(
                "has {} in-sync replicas, but {} replicas live.",
                state.isr.count_ones(),
                wanted.count_ones()
            ),
        ));
    }
    let end = replica.log.end();
    nodes(wanted).find_map(|node| {
        let replica = &partition.replicas[node];
        let (its, high) = (replica.log.end(), replica.high_watermark.unwrap_or(-1));
        (its != end || high != end).then(|| {
            (
                Check::L2,
                Some(node),
                format!("ends at {its} here with the high watermark {high}, the leader's log ends at {end}."),
            )
        })
    })
}
