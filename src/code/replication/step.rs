//! What can happen to the replicas of a partition, in words.

use crate::code::cluster::{self, Travel};
use serde::Serialize;

/// One thing that happens. Nodes are named by their index, from 0; the controller is the one after the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "action")]
#[allow(missing_docs)] // Each variant is a sentence in `sentence`.
pub enum ReplicationStep {
    Letter {
        #[serde(flatten)]
        travel: Travel,
    },
    Produce {
        broker: u8,
    },
    Hear {
        broker: u8,
    },
    HearAll {
        broker: u8,
    },
    LookForLag {
        broker: u8,
    },
    Expire {
        broker: u8,
    },
    ComeBack {
        broker: u8,
    },
    ElectPreferred,
    Sync {
        broker: u8,
    },
    Kill {
        broker: u8,
    },
    LosePower {
        broker: u8,
    },
    Start {
        broker: u8,
    },
}

/// What a node is called; the controller is the one after the brokers.
pub fn name(node: u8, brokers: u8) -> String {
    if node == brokers {
        "controller".to_owned()
    } else {
        format!("b{}", node + 1)
    }
}

/// What happens, in a sentence.
pub fn sentence(step: ReplicationStep, brokers: u8) -> String {
    let name = |node| name(node, brokers);
    match step {
        ReplicationStep::Letter { travel } => cluster::sentence(travel, name),
        ReplicationStep::Produce { broker } => format!("a client's record comes to {}", name(broker)),
        ReplicationStep::Hear { broker } => format!("{} hears of the next decision", name(broker)),
        ReplicationStep::HearAll { broker } => format!("{} hears of all decisions at once", name(broker)),
        ReplicationStep::LookForLag { broker } => format!("{} looks for followers that have lagged", name(broker)),
        ReplicationStep::Expire { broker } => format!("the controller loses sight of {}", name(broker)),
        ReplicationStep::ComeBack { broker } => format!("the controller hears of {} again", name(broker)),
        ReplicationStep::ElectPreferred => "the preferred replica is to lead".to_owned(),
        ReplicationStep::Sync { broker } => format!("the disk of {} ends its syncs", name(broker)),
        ReplicationStep::Kill { broker } => format!("{} is killed", name(broker)),
        ReplicationStep::LosePower { broker } => format!("{} loses power", name(broker)),
        ReplicationStep::Start { broker } => format!("{} starts", name(broker)),
    }
}
