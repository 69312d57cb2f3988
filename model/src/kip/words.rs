//! Actions in words.

use super::base::Action;
use super::state::{Replica, State};

/// The action and its parameters, short.
pub(super) fn name(action: &Action) -> String {
    match action {
        Action::ControllerElectLeader { leader } => format!("ControllerElectLeader({leader})"),
        Action::ControllerShrinkIsr { replica } => format!("ControllerShrinkIsr({replica})"),
        Action::BecomeLeader { leader, epoch } => format!("BecomeLeader({leader}, e{epoch})"),
        Action::LeaderExpandIsr { leader, follower } => format!("LeaderExpandIsr({leader}, {follower})"),
        Action::LeaderShrinkIsr { leader, follower } => format!("LeaderShrinkIsr({leader}, {follower})"),
        Action::LeaderWrite { leader } => format!("LeaderWrite({leader})"),
        Action::LeaderIncHighWatermark { leader } => format!("LeaderIncHighWatermark({leader})"),
        Action::BecomeFollower {
            follower,
            leader,
            epoch,
        } => format!("BecomeFollower({follower}, of {leader}, e{epoch})"),
        Action::FollowerTruncate { follower, leader } => format!("FollowerTruncate({follower}, of {leader})"),
        Action::FollowerReplicate { follower, leader } => format!("FollowerReplicate({follower}, from {leader})"),
    }
}

/// What happened, in a sentence.
pub(super) fn sentence(before: &State, action: &Action, after: &State) -> String {
    let epoch = before.next_epoch;
    let isr = after.isr;
    match *action {
        Action::ControllerElectLeader { leader } => {
            format!("the controller elects {leader} in leader epoch {epoch}")
        }
        Action::ControllerShrinkIsr { replica } if after.leader().is_none() => {
            format!("the controller sees {replica} fail: nobody leads in leader epoch {epoch}, the ISR is {isr:?}")
        }
        Action::ControllerShrinkIsr { replica } => {
            format!("the controller takes {replica} out of the ISR, now {isr:?}, in leader epoch {epoch}")
        }
        Action::BecomeLeader { leader, epoch } => {
            format!("{leader} observes that it leads in leader epoch {epoch}")
        }
        Action::LeaderExpandIsr { leader, follower } => {
            format!("{leader} adds {follower} to the ISR, now {isr:?}")
        }
        Action::LeaderShrinkIsr { leader, follower } => {
            format!("{leader} takes {follower} out of the ISR, now {isr:?}")
        }
        Action::LeaderWrite { leader } => {
            let log = after.log(leader);
            let record = log.last().map(|record| format!("{record:?}")).unwrap_or_default();
            format!("{leader} appends {record} at offset {}", log.end() - 1)
        }
        Action::LeaderIncHighWatermark { leader } => {
            format!(
                "{leader} advances its high watermark to {}",
                after.of(leader).high_watermark
            )
        }
        Action::BecomeFollower {
            follower,
            leader,
            epoch,
        } => format!(
            "{follower} observes that {leader} leads in leader epoch {epoch}, {}",
            truncation(before, after, follower)
        ),
        Action::FollowerTruncate { follower, leader } => {
            format!(
                "{follower} hears from {leader} that its log diverges, {}",
                truncation(before, after, follower)
            )
        }
        Action::FollowerReplicate { follower, leader } => {
            let of = after.of(follower);
            let record = of.log.last().map(|record| format!("{record:?}")).unwrap_or_default();
            format!(
                "{follower} copies {record} from {leader} to offset {}, its high watermark is {}",
                of.log.end() - 1,
                of.high_watermark
            )
        }
    }
}

fn truncation(before: &State, after: &State, follower: Replica) -> String {
    let (was, is) = (before.log(follower).end(), after.log(follower).end());
    if was == is {
        format!("and keeps its log, which ends at {is}")
    } else {
        format!("and truncates its log from {was} to {is}")
    }
}
