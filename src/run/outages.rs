//! How long partitions were led by nobody: from the end of a leader's process to the next leader's beginning.
//!
//! Deliberately not counted: a leader that runs and is cut off. What clients see of that is in their histories.

use kafka::{Note, TopicPartition};
use std::collections::BTreeMap;

/// Leaders as they say so themselves, and how long there was none.
#[derive(Debug, Default)]
pub(super) struct Outages {
    leaders: BTreeMap<TopicPartition, u16>,
    dark_since: BTreeMap<TopicPartition, u64>,
    /// Lengths of those that are over, nanoseconds.
    pub(super) lasted_ns: Vec<u64>,
}

impl Outages {
    /// The process at this node is gone.
    pub(super) fn stopped(&mut self, node: u16, time_ns: u64) {
        let led = self.leaders.iter().filter(|(_, leader)| **leader == node);
        for (partition, _) in led {
            self.dark_since.entry(*partition).or_insert(time_ns);
        }
    }

    /// A node said something.
    pub(super) fn heard(&mut self, node: u16, note: &Note, time_ns: u64) {
        match note {
            Note::BecameLeader { partition, .. } => {
                self.leaders.insert(*partition, node);
                if let Some(since) = self.dark_since.remove(partition) {
                    self.lasted_ns.push(time_ns - since);
                }
            }
            // Its topic is gone, or it leads here no more: whoever leads now has said so, or will.
            Note::ReplicaStopped { partition, .. } if self.leaders.get(partition) == Some(&node) => {
                self.leaders.remove(partition);
                self.dark_since.remove(partition);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka::note::PartitionState;
    use kafka::{LeaderEpoch, PartitionEpoch, Uuid};

    const PARTITION: TopicPartition = TopicPartition {
        topic: Uuid::from_u128(7),
        partition: 0,
    };

    fn leads() -> Note {
        let state = PartitionState {
            leader: None,
            leader_epoch: LeaderEpoch(1),
            partition_epoch: PartitionEpoch(1),
            replicas: Vec::new(),
            isr: Vec::new(),
            elr: Vec::new(),
        };
        Note::BecameLeader {
            partition: PARTITION,
            state,
            epoch_start_offset: 0,
            high_watermark: 0,
        }
    }

    #[test]
    fn an_outage_lasts_from_the_leaders_end_to_the_next_leaders_beginning() {
        let mut outages = Outages::default();
        outages.heard(0, &leads(), 5);
        outages.stopped(1, 10);
        outages.stopped(0, 20);
        // It comes and goes again before anybody leads.
        outages.stopped(0, 30);
        outages.heard(1, &leads(), 50);
        outages.stopped(0, 60);
        outages.heard(1, &leads(), 70);
        assert_eq!(outages.lasted_ns, [30]);
        outages.stopped(1, 80);
        outages.heard(
            1,
            &Note::ReplicaStopped {
                partition: PARTITION,
                deleted: true,
            },
            90,
        );
        outages.heard(0, &leads(), 100);
        assert_eq!(outages.lasted_ns, [30], "the topic was gone");
    }
}
