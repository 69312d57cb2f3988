//! All replicas of one broker, and what metadata makes of them.
//!
//! ```text
//!   metadata ──▶ stop, create, lead, follow        client and follower requests ──▶ produce, fetch, offsets, records
//!   fetchers ──▶ append, truncate, high watermark  what waits for others         ──▶ purgatories
//!   ISR changes ──▶ AlterPartition                 high watermarks, log starts   ──▶ checkpoints
//! ```
//!
//! Guarantees: a replica leads or follows only once its identity (`partition.metadata` and the directory that holds
//! it) is durable, so that no later crash can leave data that nobody recognises; it leads only by metadata that knows
//! this incarnation of the broker, so that a broker that lost its tail does not go on in its old epoch. After a cut
//! of its log it writes nothing before the checkpoint of recovery points is durable that knows of it.
//! It deliberately does not know connections, the API table or the metadata log.
//!
//! Sources: Kafka's ReplicaManager, LogManager (stray logs), KIP-516 (topic ids on disk), KIP-631 (broker epochs).

use super::alter::AlterPartitionQueue;
use super::checkpoints::Checkpoints;
use super::cluster::Cluster;
use super::delete_records::WaitingDelete;
use super::fetch::WaitingFetch;
use super::fetcher::Fetcher;
use super::identity::{self, Identities};
use super::partition::{Partition, Transition};
use super::produce::WaitingProduce;
use super::purgatory::Purgatory;
use super::sessions::Sessions;
use super::truncation::Strategy;
use crate::config::{NodeConfig, Settings, TopicConfig};
use crate::disk::Disk;
use crate::log::{Log, LogError, OpenWith};
use crate::machine::{Entropy, Outbox, SyncOwner, SyncTag};
use crate::metadata::{MetadataDelta, MetadataImage};
use crate::note::{Note, PartitionState};
use crate::types::{BrokerEpoch, Nanos, NodeId, Now, RequestId, TopicPartition};
use crate::{DiskError, METADATA_TOPIC};
use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet};

/// The periodic work of a replica manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ticks {
    /// Followers that lag are looked for.
    pub isr: Option<Nanos>,
    /// High watermarks are written.
    pub high_watermarks: Option<Nanos>,
    /// Recovery points and log starts are written.
    pub log_offsets: Option<Nanos>,
    /// Old segments are looked for.
    pub retention: Option<Nanos>,
    /// Expiry of silent producers.
    pub producers: Option<Nanos>,
}

/// How far an orderly stop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stopping {
    /// Not asked for.
    No,
    /// Leaderships are being given away; no fetching for replicas outside the ISR.
    Leaving,
    /// Logs are being synced.
    Flushing,
    /// All logs are synced; the checkpoints are being written.
    Checkpointing,
    /// Everything is on the platter.
    Flushed,
}

/// All replicas of one broker.
#[derive(Clone, Debug, Hash)]
pub struct ReplicaManager {
    pub(super) cluster: Cluster,
    pub(super) settings: Settings,
    pub(super) rack: Option<String>,
    pub(super) partitions: BTreeMap<TopicPartition, Partition>,
    /// Whose directory it is.
    dirs: BTreeMap<String, TopicPartition>,
    /// The newest state of replicas that may not act on it yet.
    deferred: BTreeMap<TopicPartition, PartitionState>,
    identities: Identities,
    pub(super) strategy: Strategy,
    pub(super) fetchers: BTreeMap<NodeId, Fetcher>,
    pub(super) fetch_seq: u64,
    pub(super) produces: Purgatory<WaitingProduce>,
    pub(super) fetches: Purgatory<WaitingFetch>,
    pub(super) deletes: Purgatory<WaitingDelete>,
    pub(super) sessions: Sessions,
    pub(super) alter: AlterPartitionQueue,
    pub(super) checkpoints: Checkpoints,
    pub(super) log_deadlines: BTreeSet<(Nanos, TopicPartition)>,
    pub(super) ticks: Ticks,
    pub(super) stopping: Stopping,
    pub(super) unflushed: BTreeSet<TopicPartition>,
    pub(super) entropy: Entropy,
}

impl ReplicaManager {
    /// Knows nothing yet; [`ReplicaManager::open`] comes first.
    pub fn new(config: &NodeConfig, entropy: Entropy) -> ReplicaManager {
        let lag_time_max = Nanos::from_ms(config.settings.replica_lag_time_max_ms.unsigned_abs());
        ReplicaManager {
            cluster: Cluster::new(config.node_id, lag_time_max, config.rules),
            settings: config.settings.clone(),
            rack: config.rack.clone(),
            partitions: BTreeMap::new(),
            dirs: BTreeMap::new(),
            deferred: BTreeMap::new(),
            identities: Identities::default(),
            strategy: Strategy::of(config.rules),
            fetchers: BTreeMap::new(),
            fetch_seq: 0,
            produces: Purgatory::default(),
            fetches: Purgatory::default(),
            deletes: Purgatory::default(),
            sessions: Sessions::default(),
            alter: AlterPartitionQueue::default(),
            checkpoints: Checkpoints::default(),
            log_deadlines: BTreeSet::new(),
            ticks: Ticks::default(),
            stopping: Stopping::No,
            unflushed: BTreeSet::new(),
            entropy,
        }
    }

    /// Opens and, after an unclean stop, recovers every log on the disk. All of them, whether metadata will name them
    /// or not: a clean stop after this start vouches for all of them. A directory without a legible
    /// `partition.metadata` never held durable data and is removed.
    pub fn open(&mut self, clean: bool, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        self.checkpoints.load(disk)?;
        // Brokers that start together do not tick together.
        let jitter = |entropy: &mut Entropy, ms: i64| {
            let ms = ms.unsigned_abs().max(1);
            Some(
                now.mono
                    .plus_ms(ms.saturating_sub(entropy.below(ms / 10 + 1)).min(u64::from(u32::MAX))),
            )
        };
        self.ticks.isr = jitter(&mut self.entropy, (self.settings.replica_lag_time_max_ms / 2).max(1));
        let settings = &self.settings;
        self.ticks.high_watermarks = jitter(
            &mut self.entropy,
            settings.replica_high_watermark_checkpoint_interval_ms,
        );
        self.ticks.log_offsets = jitter(&mut self.entropy, settings.log_flush_offset_checkpoint_interval_ms);
        self.ticks.retention = jitter(&mut self.entropy, settings.log_retention_check_interval_ms);
        self.ticks.producers = jitter(&mut self.entropy, settings.producer_id_expiration_check_interval_ms);
        for dir in disk.list("").map_err(LogError::Disk)? {
            let Some((topic, index)) = identity::parse_dir(&dir) else {
                continue;
            };
            if topic == METADATA_TOPIC {
                continue;
            }
            let Some(topic_id) = identity::read(&dir, disk)? else {
                self.remove_dir(&dir, disk, out)?;
                continue;
            };
            let id = TopicPartition {
                topic: topic_id,
                partition: index,
            };
            let config = TopicConfig::of(&self.settings, &BTreeMap::new());
            self.open_log(id, topic, &dir, config, clean, now, disk, out)?;
            if !clean {
                self.identities.sync(id, &dir, disk, out)?;
            }
        }
        Ok(())
    }

    /// The incarnation that the controller registered. Before it, and before metadata that knows it, nothing leads.
    pub fn set_broker_epoch(&mut self, epoch: BrokerEpoch) {
        self.cluster.my_epoch = Some(epoch);
    }

    /// Who the active controller is, or that nobody knows.
    pub fn set_controller(&mut self, controller: Option<NodeId>) {
        self.alter.set_controller(controller);
    }

    /// Acts on committed metadata: `image` is the state after it, `delta` what it touched; after a snapshot, all that
    /// differs, brokers included. The first one after a start should take in all that is known to be committed, at
    /// once: replaying it record by record would live through every former leadership.
    pub fn apply_metadata(
        &mut self,
        image: &MetadataImage,
        delta: &MetadataDelta,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        self.cluster.update(image, &delta.brokers);
        for topic in &delta.removed_topics {
            for id in self.hosted(*topic) {
                self.stop(id, true, now, disk, out)?;
            }
        }
        self.apply_configs(image, delta);
        for id in &delta.partitions {
            match image.partition(*id) {
                Some(state) if state.replicas.contains(&self.cluster.me) => {
                    self.ensure_replica(*id, image, now, disk, out)?;
                    self.deferred.insert(*id, state.clone());
                }
                _ => self.stop(*id, true, now, disk, out)?,
            }
        }
        self.settle_deferred(now, disk, out)?;
        if !delta.brokers.is_empty() || !delta.configs.is_empty() {
            // A fenced follower no longer holds the high watermark back, nor does a smaller minimum.
            self.advance_all(now, disk, out)?;
            for id in self.deletes.watched() {
                self.complete_deletes(id, out);
            }
        }
        self.end_step(now, disk, out)
    }

    /// Removes replicas on the disk that metadata does not give us. To be called once when the broker has caught up
    /// with the metadata log: before, a topic may merely be too new for the image.
    pub fn remove_strays(
        &mut self,
        image: &MetadataImage,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let me = self.cluster.me;
        let assigned = |id: TopicPartition| image.partition(id).is_some_and(|state| state.replicas.contains(&me));
        let strays: Vec<_> = self.partitions.keys().copied().filter(|id| !assigned(*id)).collect();
        for id in strays {
            self.stop(id, true, now, disk, out)?;
        }
        Ok(())
    }

    /// Every replica on this broker, by topic id and index.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.values()
    }

    /// One replica.
    pub fn partition(&self, id: TopicPartition) -> Option<&Partition> {
        self.partitions.get(&id)
    }

    /// All batches of a replica's log, uncommitted ones included; nothing if there is no such replica.
    pub fn read_log(&mut self, id: TopicPartition, disk: &mut dyn Disk) -> Result<Bytes, LogError> {
        let Some(partition) = self.partitions.get_mut(&id) else {
            return Ok(Bytes::new());
        };
        partition.read_log(disk)
    }

    /// A client is gone: nobody waits for these answers any more.
    pub fn on_disconnected_request(&mut self, id: RequestId) {
        self.produces.remove(id);
        self.fetches.remove(id);
        self.deletes.remove(id);
    }

    /// A sync of a log, or one of ours with [`SyncOwner::Checkpoint`], has ended.
    pub fn on_sync_done(
        &mut self,
        tag: &SyncTag,
        result: Result<(), DiskError>,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        match tag.owner {
            SyncOwner::Log(id) => {
                if let Some(partition) = self.partitions.get_mut(&id) {
                    let before = partition.log.returned_end_offset();
                    partition.log.on_sync_done(tag, result, out)?;
                    let returned = partition.log.returned_end_offset() > before;
                    self.watch_log(id);
                    if returned {
                        self.appends_returned(id, now, disk, out)?;
                    }
                    self.on_log_flushed(id, disk, out)?;
                }
            }
            SyncOwner::Checkpoint => {
                let identity = self.identities.on_sync_done(tag.seq, result, disk);
                if identity.map_err(LogError::Disk)? {
                    self.settle_deferred(now, disk, out)?;
                } else {
                    if self.checkpoints.on_sync_done(tag.seq, disk, out)? {
                        self.on_recovery_points_written(now, disk, out)?;
                    }
                    self.on_checkpoints_written();
                }
            }
            SyncOwner::Quorum => {}
        }
        self.end_step(now, disk, out)
    }

    pub(super) fn forget_age_of_identities(&mut self) {
        self.identities.forget_age();
        self.entropy = Entropy(0);
    }

    /// The tag of our AlterPartition that waits for its answer.
    pub fn open_alter(&self) -> Option<u64> {
        self.alter.open_tag()
    }

    fn hosted(&self, topic: uuid::Uuid) -> Vec<TopicPartition> {
        let first = TopicPartition {
            topic,
            partition: i32::MIN,
        };
        let last = TopicPartition {
            topic,
            partition: i32::MAX,
        };
        self.partitions.range(first..=last).map(|(id, _)| *id).collect()
    }

    fn apply_configs(&mut self, image: &MetadataImage, delta: &MetadataDelta) {
        if delta.configs.is_empty() {
            return;
        }
        let defaults = delta.configs.contains("");
        for partition in self.partitions.values_mut() {
            let name: &str = partition.topic();
            if defaults || delta.configs.contains(name) {
                let config = topic_config(&self.settings, image, name);
                partition.set_min_insync_replicas(config.min_insync_replicas);
                partition.log.set_config(config);
            }
        }
    }

    /// Opens the replica if it is new here. A directory of the same name that belongs to another topic id is of a
    /// topic that was deleted: it goes.
    fn ensure_replica(
        &mut self,
        id: TopicPartition,
        image: &MetadataImage,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let Some(topic) = image.topics.get(&id.topic) else {
            return Ok(());
        };
        let config = topic_config(&self.settings, image, &topic.name);
        if let Some(partition) = self.partitions.get_mut(&id) {
            if partition.state().replicas.is_empty() {
                // Found on the disk at start, with the defaults.
                partition.set_min_insync_replicas(config.min_insync_replicas);
                partition.log.set_config(config);
            }
            return Ok(());
        }
        let dir = format!("{}-{}", topic.name, id.partition);
        if let Some(other) = self.dirs.get(&dir).copied() {
            self.stop(other, true, now, disk, out)?;
        } else if disk.exists(&dir) {
            self.remove_dir(&dir, disk, out)?;
        }
        identity::write(&dir, id.topic, disk)?;
        self.identities.sync(id, &dir, disk, out)?;
        self.open_log(id, &topic.name, &dir, config, false, now, disk, out)
    }

    #[allow(clippy::too_many_arguments)] // One call that gathers what is known of a log before it is opened.
    fn open_log(
        &mut self,
        id: TopicPartition,
        topic: &str,
        dir: &str,
        config: TopicConfig,
        clean: bool,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let known = self.checkpoints.of(topic, id.partition);
        let with = OpenWith {
            clean,
            recovery_point: known.recovery_point,
            log_start_offset: known.log_start_offset,
        };
        let min_isr = config.min_insync_replicas;
        let log = Log::open(id, dir, config, with, now, disk, out)?;
        let name = StrBytes::from_string(topic.to_owned());
        let mut partition = Partition::new(id, name, dir.to_owned(), log, known.high_watermark, min_isr);
        partition.claimed_recovery_point = self.checkpoints.claimed_recovery_point(topic, id.partition);
        self.dirs.insert(dir.to_owned(), id);
        self.partitions.insert(id, partition);
        self.watch_log(id);
        Ok(())
    }

    /// What the disk claims to be durable is known anew: who had to wait for it may go on.
    fn on_recovery_points_written(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        for partition in self.partitions.values_mut() {
            let (topic, index) = (partition.topic(), partition.id().partition);
            partition.claimed_recovery_point = self.checkpoints.claimed_recovery_point(topic, index);
        }
        self.wake_fetchers();
        self.settle_deferred(now, disk, out)
    }

    /// Whether there are partitions that this broker will lead once their own file is durable.
    pub fn expects_to_lead(&self) -> bool {
        self.deferred.keys().any(|id| self.will_lead(*id))
    }

    /// Whether this partition is one of them.
    pub fn will_lead(&self, id: TopicPartition) -> bool {
        let state = self.deferred.get(&id);
        state.is_some_and(|state| state.leader == Some(self.cluster.me)) && self.identities.is_pending(id)
    }

    /// Acts on states whose replica may act now: leaders first, as they are waited for.
    fn settle_deferred(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        let me = self.cluster.me;
        let registered = self.cluster.my_epoch.is_some_and(|epoch| {
            let broker = self.cluster.broker(me);
            broker.is_some_and(|broker| broker.epoch == epoch)
        });
        let leads = |state: &PartitionState| state.leader == Some(me);
        let ready = |id: &TopicPartition, state: &PartitionState| {
            let overclaimed = self.partitions.get(id).is_some_and(Partition::is_overclaimed);
            !self.identities.is_pending(*id) && (registered && !overclaimed || !leads(state))
        };
        let mut ids: Vec<_> = self
            .deferred
            .iter()
            .filter(|(id, s)| ready(id, s))
            .map(|(id, s)| (!leads(s), *id))
            .collect();
        ids.sort_unstable();
        for (_, id) in ids {
            if let Some(state) = self.deferred.remove(&id) {
                self.transition(id, &state, now, disk, out)?;
            }
        }
        Ok(())
    }

    fn transition(
        &mut self,
        id: TopicPartition,
        state: &PartitionState,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        let Some(partition) = self.partitions.get_mut(&id) else {
            return Ok(());
        };
        if state.leader == Some(self.cluster.me) {
            let transition = partition.make_leader(state, &self.cluster, now, disk, out)?;
            if transition == Transition::Stale {
                return Ok(());
            }
            partition.advance_high_watermark(&self.cluster, now.mono, out);
            self.unfollow(id);
            self.watch_log(id);
        } else {
            let leaving = self.stopping != Stopping::No;
            let left_behind = leaving && (state.leader.is_none() || !state.isr.contains(&self.cluster.me));
            match partition.make_follower(state, out) {
                Transition::Stale => return Ok(()),
                _ if left_behind => {
                    self.unfollow(id);
                    out.note(Note::ReplicaStopped {
                        partition: id,
                        deleted: false,
                    });
                }
                Transition::SameEpoch => {}
                Transition::NewEpoch => self.follow(id, state.leader, now, disk, out)?,
            }
        }
        self.complete(id, now, disk, out)
    }

    /// Ends a replica; with `delete` its files go too.
    fn stop(
        &mut self,
        id: TopicPartition,
        delete: bool,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        self.deferred.remove(&id);
        self.unfollow(id);
        let Some(mut partition) = self.partitions.remove(&id) else {
            return Ok(());
        };
        if let Some(deadline) = partition.log_deadline {
            self.log_deadlines.remove(&(deadline, id));
        }
        self.identities.forget(id);
        self.unflushed.remove(&id);
        self.dirs.remove(partition.dir());
        partition.log.close(disk);
        if delete {
            // A topic of that name may come again: its recovery must not trust what was written of this one.
            self.checkpoints.forget(partition.topic(), id.partition);
            self.ticks.log_offsets = Some(now.mono);
            self.ticks.high_watermarks = Some(now.mono);
            self.remove_dir(partition.dir(), disk, out)?;
        }
        out.note(Note::ReplicaStopped {
            partition: id,
            deleted: delete,
        });
        self.complete(id, now, disk, out)
    }

    fn remove_dir(&mut self, dir: &str, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        disk.remove(dir).map_err(LogError::Disk)?;
        self.identities.sync_root(out);
        Ok(())
    }

    pub(super) fn advance_all(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        let mut moved = Vec::new();
        for (id, partition) in &mut self.partitions {
            if partition.advance_high_watermark(&self.cluster, now.mono, out) {
                moved.push(*id);
            }
        }
        for id in moved {
            self.complete(id, now, disk, out)?;
        }
        Ok(())
    }

    /// Something happened to a partition that requests may wait for.
    pub(super) fn complete(
        &mut self,
        id: TopicPartition,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        self.complete_produces(id, out);
        self.complete_deletes(id, out);
        self.complete_fetches(id, now, disk, out)
    }

    /// What every step ends with: requests of this step that can share a frame are sent.
    pub(super) fn end_step(&mut self, now: Now, _disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        self.pump_fetchers(now.mono, out);
        self.alter.send(&self.partitions, &self.cluster, now.mono, out);
        Ok(())
    }

    /// Keeps the heap of log deadlines, and the checkpoint of its recovery point, in step with one log.
    pub(super) fn watch_log(&mut self, id: TopicPartition) {
        let Some(partition) = self.partitions.get_mut(&id) else {
            return;
        };
        if partition.is_overclaimed() {
            self.ticks.log_offsets = Some(Nanos(0));
        }
        let deadline = partition.log.next_deadline();
        if deadline == partition.log_deadline {
            return;
        }
        if let Some(before) = partition.log_deadline {
            self.log_deadlines.remove(&(before, id));
        }
        if let Some(after) = deadline {
            self.log_deadlines.insert((after, id));
        }
        partition.log_deadline = deadline;
    }
}

/// A topic's configuration: its own, else the cluster's defaults, else the node's.
fn topic_config(settings: &Settings, image: &MetadataImage, topic: &str) -> TopicConfig {
    TopicConfig::in_cluster(settings, &image.configs, image.configs.get(topic))
}
