//! What all decisions about partitions share: their effective properties, and changes of many at once.
//!
//! Deliberately does not know: requests.
//!
//! Sources: `ReplicationControlManager.generateLeaderAndIsrUpdates`, `ConfigurationControlManager`.

use super::partition_change::{Assignment, Change, Election, PartitionChangeBuilder};
use super::{Batch, Controller};
use crate::config::TopicConfig;
use crate::note::PartitionState;
use crate::types::{NodeId, TopicPartition, Uuid};
use std::collections::BTreeMap;

/// A node that must go from ISRs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// It may come back with all that it has.
    Clean(NodeId),
    /// It came back and may have lost records: out of the ELR too.
    Unclean(NodeId),
}

impl Departure {
    fn node(self) -> NodeId {
        match self {
            Departure::Clean(node) | Departure::Unclean(node) => node,
        }
    }
}

impl Controller {
    /// A topic's properties: its own, else the cluster's, else the node's.
    pub(super) fn topic_config(&self, own: &BTreeMap<String, String>) -> TopicConfig {
        TopicConfig::in_cluster(&self.settings, &self.image.configs, Some(own))
    }

    fn config_of(&self, topic: Uuid) -> Option<TopicConfig> {
        let name = &self.image.topics.get(&topic)?.name;
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        Some(self.topic_config(self.image.configs.get(name).unwrap_or(&NONE)))
    }

    /// `min.insync.replicas`, but never more than there are replicas.
    pub(super) fn min_isr(&self, topic: Uuid) -> usize {
        let configured = self
            .config_of(topic)
            .map_or(1, |config| config.min_insync_replicas as usize);
        let partitions = self.image.topics.get(&topic).map(|topic| &topic.partitions);
        let replicas = partitions
            .and_then(|partitions| partitions.values().next())
            .map(|state| state.replicas.len());
        configured.min(replicas.unwrap_or(1))
    }

    /// Whether the leader counts by the present `min.insync.replicas`. It hears of it from the metadata log, but of the ISR
    /// that it has asked for already from the answer, so it may commit with an ISR that is below a raised minimum.
    pub(super) fn leader_knows_minimum(&self, partition: TopicPartition) -> bool {
        let (Some(topic), Some(state)) = (self.image.topics.get(&partition.topic), self.image.partition(partition))
        else {
            return false;
        };
        let set = ["", topic.name.as_str()].map(|name| self.image.minimum_set_at.get(name).copied());
        let set = set.into_iter().flatten().max();
        let heard = state.leader.and_then(|leader| self.sessions.metadata_offset(leader));
        set.is_none_or(|set| heard.is_some_and(|heard| heard >= set))
    }

    /// How a leader is looked for when nobody asked for one.
    pub(super) fn usual_election(&self, topic: Uuid) -> Election {
        match self
            .config_of(topic)
            .map_or(0, |config| config.unclean_leader_election_enable)
        {
            0 => Election::Online,
            _ => Election::Unclean,
        }
    }

    pub(super) fn partitions_where(&self, holds: impl Fn(&PartitionState) -> bool) -> Vec<TopicPartition> {
        let topics = self.image.topics.values();
        let all = topics.flat_map(|topic| topic.partitions.iter().map(|(index, state)| (topic.id, *index, state)));
        let wanted = all.filter(|(.., state)| holds(state));
        wanted
            .map(|(topic, partition, _)| TopicPartition { topic, partition })
            .collect()
    }

    /// What a partition becomes with the ISR `target_isr`; `departed` may not lead, whatever the image says. Its leader
    /// hears of it from the metadata log, after all that stands before it.
    pub(super) fn partition_change(
        &self,
        partition: TopicPartition,
        target_isr: Vec<NodeId>,
        election: Election,
        departed: Option<Departure>,
    ) -> Option<Change> {
        self.change_to(partition, target_isr, election, departed, None)
    }

    /// With other replicas, or others on their way, and the ISR `target_isr`.
    pub(super) fn change_of_replicas(
        &self,
        partition: TopicPartition,
        target_isr: Vec<NodeId>,
        election: Election,
        target: Assignment,
    ) -> Option<Change> {
        self.change_to(partition, target_isr, election, None, Some(target))
    }

    fn change_to(
        &self,
        partition: TopicPartition,
        target_isr: Vec<NodeId>,
        election: Election,
        departed: Option<Departure>,
        target_replicas: Option<Assignment>,
    ) -> Option<Change> {
        let gone = departed.map(Departure::node);
        let unclean_shutdown = match departed {
            Some(Departure::Unclean(node)) => Some(node),
            _ => None,
        };
        PartitionChangeBuilder {
            partition,
            state: self.image.partition(partition)?,
            last_known_elr: self.image.last_known_elr(partition),
            min_isr: self.min_isr(partition.topic),
            elr_enabled: self.elr_enabled(),
            election,
            target_isr,
            reassignment: &self.image.reassignment(partition),
            target_replicas,
            unclean_shutdown,
            is_acceptable_leader: &|node| Some(node) != gone && self.is_active(node),
        }
        .build()
    }

    /// Changes whatever of `partitions` must change, because a node departed or because the world looks different.
    pub(super) fn update_partitions(
        &mut self,
        partitions: &[TopicPartition],
        departed: Option<Departure>,
        batch: &mut Batch<'_>,
    ) {
        let gone = departed.map(Departure::node);
        for partition in partitions {
            let Some(state) = self.image.partition(*partition) else {
                continue;
            };
            let target_isr = state
                .isr
                .iter()
                .copied()
                .filter(|replica| Some(*replica) != gone)
                .collect();
            let election = self.usual_election(partition.topic);
            if let Some(change) = self.partition_change(*partition, target_isr, election, departed) {
                self.write_partition(change.record, change.unclean, batch);
            }
        }
    }
}
