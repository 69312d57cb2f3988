//! What committed metadata records make of partitions and brokers: partitions that begin and end, brokers that stand
//! otherwise than before, and what of it each partition must hear.

use super::Conform;
use super::decisions::Decision;
use super::track::{Local, Track};
use kafka::PartitionState;
use kafka::metadata::Record;
use kafka::types::{BrokerEpoch, TopicPartition};
use model::replication::{Protocol, Role, Set, Version};
use std::collections::{BTreeMap, BTreeSet};

/// Where a broker stands, by the committed metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub epoch: BrokerEpoch,
    fenced: bool,
    leaving: bool,
}

impl Conform {
    /// A batch of records of the controller is committed.
    pub(super) fn decided(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::Topic { name, id } => {
                    self.topics.insert(*id, name.clone());
                }
                Record::Config { topic, name, value } if name == "min.insync.replicas" => {
                    let value = value.as_ref().and_then(|value| value.parse().ok());
                    self.min_insync_replicas.insert(topic.clone(), value.unwrap_or(1));
                }
                Record::Config { topic, name, value }
                    if name == "unclean.leader.election.enable" && value.as_deref() == Some("true") =>
                {
                    // Once it was allowed it is taken to stay so: brokers and controller hear of the end at other times.
                    self.unclean.insert(topic.clone());
                    let of = |track: &&mut Track| track.topic == *topic || topic.is_empty();
                    let tracks = self.tracks.values_mut().filter(of);
                    tracks.for_each(|track| track.protocol.unclean_election = true);
                }
                Record::RemoveTopic { id } => {
                    let gone = self.tracks.keys().filter(|partition| partition.topic == *id);
                    gone.copied()
                        .collect::<Vec<_>>()
                        .into_iter()
                        .for_each(|gone| self.retire(gone));
                }
                Record::RegisterBroker {
                    broker,
                    broker_epoch,
                    fenced,
                    in_controlled_shutdown,
                    ..
                } => {
                    let standing = Standing {
                        epoch: *broker_epoch,
                        fenced: *fenced,
                        leaving: *in_controlled_shutdown,
                    };
                    self.standings.insert(*broker, standing);
                }
                _ => {}
            }
        }
        let mut changes = Vec::new();
        for record in records {
            match record {
                Record::Partition { partition, state, .. } => self.create(*partition, state),
                Record::BrokerRegistrationChange {
                    broker,
                    fenced,
                    in_controlled_shutdown,
                    ..
                } => {
                    if let Some(standing) = self.standings.get_mut(broker) {
                        standing.fenced = fenced.unwrap_or(standing.fenced);
                        standing.leaving = in_controlled_shutdown.unwrap_or(standing.leaving);
                        changes.push((*broker, *standing, Some(false)));
                    }
                }
                Record::RegisterBroker {
                    broker, incarnation, ..
                } => {
                    let life = self.life(*broker);
                    let processes = life.map(|life| &life.processes[..]).unwrap_or_default();
                    let asked = processes.iter().find(|(process, _)| process == incarnation);
                    let clean = asked.map_or(Some(false), |(_, clean)| *clean);
                    changes.push((*broker, self.standings[broker], clean));
                }
                _ => {}
            }
        }
        for (partition, track) in &mut self.tracks {
            let mut stands = changes.iter();
            let decisions = records.iter().filter_map(|record| match record {
                Record::PartitionChange {
                    partition: of,
                    leader,
                    isr,
                    elr,
                    ..
                } if of == partition => Some(Decision::Change {
                    leader: *leader,
                    isr: isr.clone(),
                    elr: elr.clone(),
                }),
                Record::BrokerRegistrationChange { .. } | Record::RegisterBroker { .. } => {
                    let (broker, standing, clean) = stands.next()?;
                    Some(Decision::Broker {
                        replica: track.replica(*broker)?,
                        epoch: standing.epoch,
                        clean: *clean,
                        out: standing.fenced || standing.leaving,
                    })
                }
                _ => None,
            });
            let decisions: Vec<Decision> = decisions.collect();
            if !decisions.is_empty()
                && let Err(finding) = track.decide(&decisions)
                && self.found.is_none()
            {
                self.found = Some((*partition, finding));
            }
        }
    }

    /// A partition begins, with empty logs.
    fn create(&mut self, partition: TopicPartition, state: &PartitionState) {
        let name = self.topics.get(&partition.topic).cloned().unwrap_or_default();
        let default = self.context.default_promise.min_insync_replicas as u8;
        let min_isr = self.min_insync_replicas.get(&name).copied().unwrap_or(default);
        let replicas = state.replicas.clone();
        let mut protocol = Protocol::new(replicas.len() as u8, min_isr);
        protocol.observe = false;
        protocol.unclean_election = self.unclean.contains(&name) || self.unclean.contains("");
        let mut track = Track {
            name: format!("{name}-{}", partition.partition),
            topic: name,
            state: protocol.initial(0),
            local: vec![Local::default(); replicas.len()],
            replicas,
            protocol,
            names: Default::default(),
            deleted: 0,
            refusable: BTreeSet::new(),
            matched: BTreeMap::new(),
            dirty: false,
        };
        let version = Version {
            leader: state.leader.and_then(|leader| track.replica(leader)),
            leader_epoch: state.leader_epoch.0.max(0) as u16,
            isr: track.set(&state.isr),
            elr: track.set(&state.elr),
        };
        let first = state.partition_epoch.0.max(0) as u32;
        let model = &mut track.state;
        model.network.clear();
        model.controller.versions = vec![version];
        model.controller.first = first;
        model.controller.fenced = Set::default();
        for (at, id) in track.replicas.iter().enumerate() {
            let standing = self.standings.get(id);
            if standing.is_none_or(|standing| standing.fenced || standing.leaving) {
                model.controller.fenced = model.controller.fenced.with(at as u8);
            }
            let epoch = standing.map_or(BrokerEpoch(-1), |standing| standing.epoch);
            track.local[at].incarnations.push((epoch, first));
            let life = self.life(*id);
            let broker = &mut model.brokers[at];
            broker.role = Role::Idle;
            (broker.known, broker.since) = (first, first);
            broker.up = life.is_some_and(|life| life.up);
            broker.clean = life.is_some_and(|life| life.clean != Some(false));
            broker.epoch = u16::from(life.is_some_and(|life| life.registered == Some(epoch)));
        }
        self.tracks.insert(partition, track);
    }
}
