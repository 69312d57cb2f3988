//! What a leader must know of the other brokers: who lives, in which incarnation, in which rack.
//!
//! Guarantees: agrees with the last metadata applied. Kept apart from the image so that a step that has no image at
//! hand (a response, a deadline) decides by the same facts.
//!
//! Sources: KIP-841 (fenced and leaving brokers stay out of the ISR), KIP-903 (broker epochs), KIP-392 (racks).

use crate::metadata::MetadataImage;
use crate::rules::Rules;
use crate::types::{BrokerEpoch, Nanos, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// One broker, as the metadata has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BrokerStanding {
    /// The registered incarnation.
    pub epoch: BrokerEpoch,
    /// May not lead or join an ISR.
    pub fenced: bool,
    /// In controlled shutdown.
    pub leaving: bool,
    /// `broker.rack`.
    pub rack: Option<String>,
}

/// The brokers, and the settings that decide about them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// This node.
    pub me: NodeId,
    /// Our own incarnation; none before the registration.
    pub my_epoch: Option<BrokerEpoch>,
    /// `replica.lag.time.max.ms`.
    pub lag_time_max: Nanos,
    /// The museum.
    pub rules: Rules,
    brokers: BTreeMap<NodeId, BrokerStanding>,
}

impl Cluster {
    /// Nobody is known yet.
    pub fn new(me: NodeId, lag_time_max: Nanos, rules: Rules) -> Cluster {
        Cluster {
            me,
            my_epoch: None,
            lag_time_max,
            rules,
            brokers: BTreeMap::new(),
        }
    }

    /// Takes over what changed.
    pub fn update(&mut self, image: &MetadataImage, changed: &BTreeSet<NodeId>) {
        for id in changed {
            match image.brokers.get(id) {
                Some(broker) => {
                    let standing = BrokerStanding {
                        epoch: broker.epoch,
                        fenced: broker.fenced,
                        leaving: broker.in_controlled_shutdown,
                        rack: broker.rack.clone(),
                    };
                    self.brokers.insert(*id, standing);
                }
                None => {
                    self.brokers.remove(id);
                }
            }
        }
    }

    /// A broker by id.
    pub fn broker(&self, id: NodeId) -> Option<&BrokerStanding> {
        self.brokers.get(&id)
    }

    /// The incarnation of a broker that is not fenced.
    pub fn alive_epoch(&self, id: NodeId) -> Option<BrokerEpoch> {
        self.brokers.get(&id).filter(|b| !b.fenced).map(|b| b.epoch)
    }

    /// Whether a follower whose last fetch named this incarnation may join an ISR. -1 is a fetch of a version
    /// that cannot name one: it passes (KIP-903).
    pub fn is_isr_eligible(&self, id: NodeId, fetched_as: Option<BrokerEpoch>) -> bool {
        let Some(broker) = self.brokers.get(&id) else {
            return false;
        };
        let same = fetched_as.is_some_and(|epoch| epoch == BrokerEpoch(-1) || epoch == broker.epoch);
        !broker.fenced && !broker.leaving && same
    }
}
