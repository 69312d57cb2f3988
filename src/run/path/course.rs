//! Where a path of the replication model stands: the specification's state beside the cluster it is held against.
//!
//! Epochs of the specification begin at 0, those of the cluster where its topic stands once it is there: the difference is
//! the path's base. Replicas are counted in the order of the assignment.

use super::walk::{LATE_NS, Walk};
use crate::run::Ended;
use kafka::PartitionState;
use kafka_protocol::messages::ApiKey;
use model::check::Trace;
use model::replication::{Action, Message, Replica, Replication, Role, Set, State};
use sim::fault::NodeId;

/// Requests whose handling is an action of the specification.
const REQUESTS: [(ApiKey, bool); 4] = [
    (ApiKey::Fetch, false),
    (ApiKey::OffsetForLeaderEpoch, false),
    (ApiKey::AlterPartition, false),
    (ApiKey::BrokerRegistration, false),
];
/// And answers.
const ANSWERS: [(ApiKey, bool); 3] = [
    (ApiKey::Fetch, true),
    (ApiKey::OffsetForLeaderEpoch, true),
    (ApiKey::AlterPartition, true),
];

/// See above.
pub(super) struct Course<'p> {
    trace: &'p Trace<State, Action>,
    /// The step that is being taken, from 0.
    pub at: usize,
    /// Nodes of the world, by replica.
    pub nodes: Vec<NodeId>,
    /// Partition epoch of the cluster at the specification's 0.
    pub base: i32,
    /// Records that wait for an answer: replica, offset, question.
    pub questions: Vec<(Replica, u32, u64)>,
}

impl Course<'_> {
    /// The specification's state before the step.
    pub fn before(&self) -> &State {
        &self.trace.states[self.at]
    }

    /// And after.
    pub fn after(&self) -> &State {
        &self.trace.states[self.at + 1]
    }

    pub fn node(&self, replica: Replica) -> NodeId {
        self.nodes[usize::from(replica)]
    }

    pub fn id(&self, walk: &Walk<'_, '_>, replica: Replica) -> kafka::NodeId {
        walk.run.layout.node_id(usize::from(self.node(replica).0))
    }

    pub fn ids(&self, walk: &Walk<'_, '_>, set: Set) -> Vec<kafka::NodeId> {
        let ids: Vec<_> = set.iter().map(|replica| self.id(walk, replica)).collect();
        sorted(&ids)
    }

    /// The hand's question about records that were appended there.
    pub fn question(&self, leader: Replica, base: u32) -> Option<u64> {
        let of = |(at, offset, _): &&(Replica, u32, u64)| (*at, *offset) == (leader, base);
        self.questions.iter().rev().find(of).map(|(.., question)| *question)
    }

    /// The version that a broker is to learn of next, after this step.
    pub fn next_version(&self, replica: Replica) -> Option<u32> {
        self.trace.actions[self.at + 1..]
            .iter()
            .find_map(|action| match action {
                Action::ApplyMetadata {
                    broker,
                    partition_epoch,
                } if *broker == replica => Some(*partition_epoch),
                _ => None,
            })
    }

    /// Partition epoch of the cluster that the specification's broker acts on after the step.
    pub fn known(&self, replica: Replica) -> i32 {
        self.base + self.after().brokers[usize::from(replica)].known as i32
    }

    /// Whether a leader waits for the answer to a proposal, after the step.
    pub fn waits(&self, replica: Replica) -> bool {
        let broker = &self.after().brokers[usize::from(replica)];
        let proposes = matches!(&broker.role, Role::Leader(leadership) if leadership.proposal.is_some());
        let is_answer = |message: &Message| matches!(message, Message::Altered { leader, .. } if *leader == replica);
        proposes || self.after().network.iter().any(is_answer)
    }
}

pub(super) fn sorted(ids: &[kafka::NodeId]) -> Vec<kafka::NodeId> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

impl Walk<'_, '_> {
    /// All of a path.
    pub fn replication(&mut self, spec: &Replication, trace: &Trace<State, Action>) -> Result<(), Ended> {
        self.begin()?;
        let Some(mut course) = self.set_out(spec, trace)? else {
            let why = "the cluster cannot be brought to where the path begins";
            return Err(Ended::Stuck(why.to_owned()));
        };
        self.along(&trace.actions, |walk, at, action| {
            course.at = at;
            walk.arm(&mut course, action)
        })?;
        self.end()
    }

    /// Everybody in sync and aware of it, the first leader leads, and what comes next is kept back.
    fn set_out<'p>(
        &mut self,
        spec: &Replication,
        trace: &'p Trace<State, Action>,
    ) -> Result<Option<Course<'p>>, Ended> {
        let first = spec.limits.first_leader;
        let assigned = self.decided().map(|state| state.replicas).unwrap_or_default();
        let node = |id: &kafka::NodeId| self.run.layout.server_of(*id).map(|server| NodeId(server as u16));
        let nodes: Vec<NodeId> = assigned.iter().filter_map(node).collect();
        if nodes.len() != usize::from(spec.protocol.replicas) {
            return Ok(None);
        }
        let mut course = Course {
            trace,
            at: 0,
            nodes,
            base: 0,
            questions: Vec::new(),
        };
        if !self.pass_leadership(&course, first)? || !self.keep_back(&course, first)? {
            return Ok(None);
        }
        let Some(state) = self.decided() else { return Ok(None) };
        course.base = state.partition_epoch.0;
        Ok(Some(course))
    }

    /// Whoever is before the first leader in the assignment is taken for dead for a while, so that the leadership passes on.
    fn pass_leadership(&mut self, course: &Course<'_>, first: Replica) -> Result<bool, Ended> {
        for other in 0..first {
            let (node, id) = (course.node(other), course.id(self, other));
            self.valve.borrow_mut().silence(node, true);
            let left = |walk: &mut Walk<'_, '_>| walk.decided().is_some_and(|state| !state.isr.contains(&id));
            if !self.until(LATE_NS, left)? {
                return Ok(false);
            }
            self.silence(course, other, false);
        }
        let leader = course.id(self, first);
        self.until(LATE_NS, |walk| {
            let Some(state) = walk.decided() else { return false };
            let know = |node: &NodeId| walk.known(*node) == Some(state.partition_epoch.0);
            state.isr.len() == course.nodes.len() && state.leader == Some(leader) && course.nodes.iter().all(know)
        })
    }

    /// First requests alone: what leaders keep for later is answered, and then nothing is on its way.
    fn keep_back(&mut self, course: &Course<'_>, first: Replica) -> Result<bool, Ended> {
        self.valve.borrow_mut().hold(&REQUESTS);
        let (leader, controller) = (course.node(first), self.controller());
        let quiet = |walk: &mut Walk<'_, '_>| {
            let asks = |node: NodeId, whom: NodeId| walk.held(ApiKey::Fetch, false, node, whom).is_some();
            let mut nodes = course.nodes.iter();
            nodes.all(|node| asks(*node, controller) && (*node == leader || asks(*node, leader)))
        };
        let is_quiet = self.until(LATE_NS, quiet)?;
        self.valve.borrow_mut().hold(&ANSWERS);
        Ok(is_quiet)
    }

    // --- looking ---

    /// The newest state of the partition.
    pub fn decided(&self) -> Option<PartitionState> {
        let image = self
            .run
            .world
            .program(self.controller())?
            .broker()?
            .controller_image()?;
        image.partition(self.partition()?).cloned()
    }

    /// The partition epoch of what the controller has committed: only that is told to brokers.
    pub fn committed(&self) -> Option<i32> {
        let image = self.run.world.program(self.controller())?.broker()?.image();
        Some(image.partition(self.partition()?)?.partition_epoch.0)
    }

    pub fn is_fenced(&self, id: kafka::NodeId) -> bool {
        let controller = self.run.world.program(self.controller());
        let image = controller
            .and_then(|process| process.broker())
            .and_then(|broker| broker.controller_image());
        image
            .and_then(|image| image.brokers.get(&id))
            .is_none_or(|broker| broker.fenced)
    }

    pub fn replica<T>(&self, node: NodeId, look: impl FnOnce(&kafka::replication::Partition) -> T) -> Option<T> {
        let broker = self.run.world.program(node)?.broker()?;
        broker.replica(self.partition()?).map(look)
    }

    /// The partition epoch that a node acts on.
    pub fn known(&self, node: NodeId) -> Option<i32> {
        let epoch = self.replica(node, |replica| replica.state().partition_epoch.0);
        epoch.filter(|epoch| *epoch >= 0)
    }

    /// Log end and high watermark.
    pub fn ends(&self, node: NodeId) -> Option<(i64, i64)> {
        self.replica(node, |replica| {
            (replica.log().log_end_offset(), replica.high_watermark())
        })
    }
}
