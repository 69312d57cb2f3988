//! Where replicas of new partitions go: striped over racks and brokers.
//!
//! Guarantees: leaders take turns over racks; the replicas of a partition are in as many racks as there are, on
//! different brokers, fenced ones last; the first replica is never fenced. The starting points are the controller's
//! chance, so two topics do not pile up on the same brokers.
//!
//! Sources: KIP-36 (racks); `StripedReplicaPlacer`.

use super::Refusal;
use crate::machine::Entropy;
use crate::metadata::MetadataImage;
use crate::types::NodeId;
use crate::wire::ErrorCode;
use std::collections::BTreeMap;

/// Brokers of one rack in one state, in an order of chance; each new partition starts one further.
#[derive(Default)]
struct BrokerList {
    brokers: Vec<NodeId>,
    turn: Option<usize>,
    index: usize,
    offset: usize,
}

impl BrokerList {
    /// The next broker for the partition of this turn.
    fn next(&mut self, turn: usize) -> Option<NodeId> {
        let count = self.brokers.len();
        if count == 0 {
            return None;
        }
        if self.turn != Some(turn) {
            (self.turn, self.index, self.offset) = (Some(turn), 0, (self.offset + 1) % count);
        }
        if self.index >= count {
            return None;
        }
        self.index += 1;
        Some(self.brokers[(self.index - 1 + self.offset) % count])
    }
}

#[derive(Default)]
struct Rack {
    fenced: BrokerList,
    unfenced: BrokerList,
}

/// Racks in an order of chance.
struct RackList {
    racks: Vec<Rack>,
    turn: usize,
    offset: usize,
    unfenced: usize,
}

fn shuffle<T>(items: &mut [T], entropy: &mut Entropy) {
    for last in (1..items.len()).rev() {
        items.swap(last, entropy.below(last as u64 + 1) as usize);
    }
}

impl RackList {
    fn shuffle(&mut self, entropy: &mut Entropy) {
        shuffle(&mut self.racks, entropy);
        for rack in &mut self.racks {
            shuffle(&mut rack.unfenced.brokers, entropy);
            shuffle(&mut rack.fenced.brokers, entropy);
        }
    }

    fn place(&mut self, replication_factor: usize, entropy: &mut Entropy) -> Vec<NodeId> {
        // As many partitions as brokers were placed: another order, so that the same assignments do not repeat.
        if self.turn == self.unfenced {
            self.shuffle(entropy);
            self.turn = 0;
            for rack in &mut self.racks {
                (rack.unfenced.turn, rack.fenced.turn) = (None, None);
            }
        }
        let (count, turn) = (self.racks.len(), self.turn);
        self.offset %= count;
        let mut replicas = Vec::with_capacity(replication_factor);
        // The leader is unfenced, in the first rack that has such a broker.
        let mut leaders_rack = None;
        for step in 0..count {
            let rack = (self.offset + step) % count;
            if let Some(broker) = self.racks[rack].unfenced.next(turn) {
                replicas.push(broker);
                leaders_rack = Some(rack);
                break;
            }
        }
        let mut rack = self.offset;
        while replicas.len() < replication_factor {
            // The leader's rack has had its turn in the first round.
            if leaders_rack == Some(rack) {
                leaders_rack = None;
            } else {
                let Rack { unfenced, fenced } = &mut self.racks[rack];
                replicas.extend(unfenced.next(turn).or_else(|| fenced.next(turn)));
            }
            rack = (rack + 1) % count;
        }
        self.turn += 1;
        self.offset += 1;
        replicas
    }
}

/// Replicas for `partitions` new partitions. Brokers in controlled shutdown get none.
pub(super) fn place(
    image: &MetadataImage,
    partitions: usize,
    replication_factor: usize,
    entropy: &mut Entropy,
) -> Result<Vec<Vec<NodeId>>, Refusal> {
    let mut racks: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
    let (mut total, mut unfenced) = (0, 0);
    for broker in image.brokers.values().filter(|broker| !broker.in_controlled_shutdown) {
        let rack = racks.entry(broker.rack.as_deref()).or_default();
        let list = if broker.fenced {
            &mut rack.fenced
        } else {
            &mut rack.unfenced
        };
        list.brokers.push(broker.id);
        total += 1;
        unfenced += usize::from(!broker.fenced);
    }
    let refuse = |why: String| {
        let message = format!("Unable to replicate the partition {replication_factor} time(s): {why}");
        Err(Refusal::new(ErrorCode::INVALID_REPLICATION_FACTOR, message))
    };
    if replication_factor > total {
        return refuse(format!(
            "The target replication factor of {replication_factor} cannot be reached because only {total} broker(s) \
             are registered."
        ));
    }
    if unfenced == 0 {
        return refuse("All brokers are currently fenced.".into());
    }
    assert!(replication_factor > 0, "checked by the caller");
    let mut list = RackList {
        racks: racks.into_values().collect(),
        turn: 0,
        offset: 0,
        unfenced,
    };
    list.shuffle(entropy);
    list.offset = entropy.below(list.racks.len() as u64) as usize;
    Ok((0..partitions)
        .map(|_| list.place(replication_factor, entropy))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{MetadataDelta, Record};
    use crate::types::{BrokerEpoch, LeaderEpoch, Uuid};
    use std::collections::BTreeSet;

    /// Brokers as (id, rack, fenced).
    fn image(brokers: &[(i32, &str, bool)]) -> MetadataImage {
        let mut image = MetadataImage::default();
        for (offset, (id, rack, fenced)) in brokers.iter().enumerate() {
            let record = Record::RegisterBroker {
                broker: NodeId(*id),
                broker_epoch: BrokerEpoch(offset as i64),
                incarnation: Uuid::from_u128(1),
                host: "h".into(),
                port: 1,
                rack: (!rack.is_empty()).then(|| (*rack).into()),
                fenced: *fenced,
                in_controlled_shutdown: false,
            };
            image.apply(&record, offset as i64, LeaderEpoch(0), &mut MetadataDelta::default());
        }
        image
    }

    #[test]
    fn leaders_and_followers_are_spread() {
        let image = image(&[(1, "", false), (2, "", false), (3, "", false)]);
        let placed = place(&image, 3, 2, &mut Entropy(7)).unwrap();
        let leaders: BTreeSet<_> = placed.iter().map(|replicas| replicas[0]).collect();
        let followers: BTreeSet<_> = placed.iter().map(|replicas| replicas[1]).collect();
        assert_eq!((leaders.len(), followers.len()), (3, 3), "{placed:?}");
    }

    #[test]
    fn every_placement_is_sound() {
        let brokers = [
            (1, "a", false),
            (2, "a", false),
            (3, "b", false),
            (4, "b", true),
            (5, "c", false),
            (6, "", true),
        ];
        let image = image(&brokers);
        let rack = |node: &NodeId| brokers.iter().find(|broker| broker.0 == node.0).unwrap().1;
        for seed in 0..200 {
            for factor in 1..=6 {
                for replicas in place(&image, 9, factor, &mut Entropy(seed)).unwrap() {
                    let distinct: BTreeSet<_> = replicas.iter().collect();
                    assert_eq!((replicas.len(), distinct.len()), (factor, factor));
                    assert!(
                        !brokers.iter().any(|broker| broker.0 == replicas[0].0 && broker.2),
                        "a fenced leader"
                    );
                    let racks: BTreeSet<_> = replicas.iter().map(rack).collect();
                    assert_eq!(racks.len(), factor.min(4), "{replicas:?}");
                }
            }
        }
    }

    #[test]
    fn chance_decides_and_is_repeatable() {
        let image = image(&[(1, "", false), (2, "", false), (3, "", false)]);
        let first = |seed| place(&image, 1, 3, &mut Entropy(seed)).unwrap();
        assert_eq!(first(3), first(3));
        assert!((0..20).map(first).collect::<BTreeSet<_>>().len() > 1);
    }

    #[test]
    fn too_few_brokers_are_refused() {
        let refused = |image: &MetadataImage, factor| place(image, 1, factor, &mut Entropy(1)).unwrap_err().code;
        let code = ErrorCode::INVALID_REPLICATION_FACTOR;
        assert_eq!(refused(&image(&[(1, "", false)]), 2), code);
        assert_eq!(refused(&image(&[(1, "", true)]), 1), code);
        assert_eq!(refused(&MetadataImage::default(), 1), code);
    }
}
