//! Which scenarios the model has words for. Read off the scenario, not off its name.

use crate::scenario::{Action, AdminOp, Scenario};
use sim::swarm::Family;

const DISKS: &str = "disks lose or change what was durable";
const MINIMUM: &str = "min.insync.replicas changes under way";
const MOVES: &str = "replicas move to other brokers";
const BUG: &str = "a bug is switched on";

/// Why a scenario is not covered, as a fragment that fits after "not covered:". None if it is.
pub fn uncovered(scenario: &Scenario) -> Option<&'static str> {
    let by_rule = (!scenario.rules.is_empty()).then_some(BUG);
    let admins = scenario.clients.admins.iter().flat_map(|admin| &admin.does);
    let by_admin = admins.copied().filter_map(|op| match op {
        AdminOp::FlipMinInsyncReplicas => Some(MINIMUM),
        AdminOp::Reassign => Some(MOVES),
        AdminOp::DeleteRecords
        | AdminOp::FlipUncleanElection
        | AdminOp::PreferredElection
        | AdminOp::RecreateTopic
        | AdminOp::GrowTopic => None,
    });
    let families = scenario.faults.swarm.iter().flat_map(|swarm| &swarm.families);
    let by_swarm = families.filter_map(|name| {
        let family = Family::by_name(name).filter(|family| *family != Family::Wipe);
        family.is_some_and(Family::destroys).then_some(DISKS)
    });
    let script = scenario.faults.script.iter().flat_map(|step| &step.actions);
    let by_script = script.filter_map(|action| match action {
        Action::AlterTopic { config, .. } => config.contains_key("min.insync.replicas").then_some(MINIMUM),
        Action::Disk { .. } => Some(DISKS),
        _ => None,
    });
    by_rule
        .into_iter()
        .chain(by_admin)
        .chain(by_swarm)
        .chain(by_script)
        .next()
}
