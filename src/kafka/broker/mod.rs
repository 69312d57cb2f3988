//! One node: a broker, a controller, or both.
//!
//! ```text
//!   frames ──▶ listener ──▶ api ──▶ replication ──▶ log        peers ──▶ frames
//!                            │          ▲                        ▲
//!                            │          │ image, delta           │ calls
//!                            ├──▶ quorum ──▶ committed records ──┤
//!                            └──▶ active controller ─ records ─▶ quorum
//! ```
//!
//! Guarantees: one step handles one input to its end, including everything that follows from it on this node; what
//! is left waits for a peer, a sync or a deadline. A disk that fails ends the process, as Kafka's single log
//! directory does.
//!
//! Knows nothing of sockets, threads or time beyond [`Input`] and [`Now`].

mod active;
mod api;
mod apply;
mod configs;
mod describe_topics;
mod held;
mod identity;
mod lifecycle;
mod listener;
mod metadata;
mod peers;
mod producer_ids;
mod refusal;
mod shutdown;
mod snapshot;
#[cfg(test)]
mod tests;
mod topics;

pub use lifecycle::Phase;
pub use snapshot::{PartitionSnapshot, Snapshot};

use crate::config::NodeConfig;
use crate::disk::{Disk, SyncTarget};
use crate::log::checkpoint::CheckpointFile;
use crate::log::identity::remove_clean_shutdown;
use crate::log::{LogError, OpenWith};
use crate::machine::{Channel, Entropy, Input, Outbox, Output, SyncOwner, SyncTag};
use crate::metadata::{MetadataDelta, MetadataImage};
use crate::note::Note;
use crate::quorum::Quorum;
use crate::replication::ReplicaManager;
use crate::types::{ConnId, METADATA_PARTITION, Nanos, NodeId, Now, Uuid};
use active::Active;
use api::Forwarded;
use identity::LastStop;
use lifecycle::Lifecycle;
use listener::Listener;
use peers::{Answered, Peers};
use producer_ids::ProducerIds;
use std::collections::BTreeMap;

/// The part of a node that is a broker.
#[derive(Clone, Debug)]
struct Serving {
    replicas: ReplicaManager,
    lifecycle: Lifecycle,
    producer_ids: ProducerIds,
}

/// One node.
#[derive(Clone, Debug)]
pub struct Broker {
    config: NodeConfig,
    entropy: Entropy,
    listener: Listener,
    peers: Peers,
    quorum: Quorum,
    /// Fold of the committed metadata.
    image: MetadataImage,
    /// Bytes of metadata applied since the last snapshot.
    since_snapshot: u64,
    /// What the replicas have not been told yet, and whether they are told at once.
    unpublished: MetadataDelta,
    published: bool,
    active: Option<Active>,
    serving: Option<Serving>,
    /// Clients' requests that the controller decides, by the tag of the call that passed them on.
    forwarded: BTreeMap<u64, Forwarded>,
    topics: topics::Topics,
    held: held::Held,
    next_forward: u64,
    shutdown: shutdown::Shutdown,
    meta_properties: CheckpointFile,
    /// The marker of the last clean stop is gone for good.
    prepared: bool,
    /// Syncs of logs and votes that ended before that. Each may let something be written.
    early: Vec<(SyncTag, Result<(), crate::DiskError>)>,
    exited: bool,
    /// Reused between steps.
    answered: Vec<Answered>,
}

/// Sync tags of the broker itself, apart from those of the checkpoint files.
const SEQ_MARKER_REMOVED: u64 = u64::MAX;
const SEQ_META_PROPERTIES: u64 = u64::MAX - 4;

impl Broker {
    /// Starts a node on its disk: recovers what an unclean stop left behind. `entropy` is fresh at every start.
    pub fn open(
        config: NodeConfig,
        entropy: u64,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Broker, LogError> {
        let mut entropy = Entropy(entropy);
        let mut meta_properties = CheckpointFile::new(identity::META_PROPERTIES, SEQ_META_PROPERTIES);
        let directory = identity::claim(&config, &mut entropy, &mut meta_properties, disk, out)?;
        let last_stop = identity::last_stop(disk).map_err(LogError::Disk)?;
        let clean = last_stop != LastStop::Unclean;
        let previous_epoch = match last_stop {
            LastStop::Clean(epoch) => epoch,
            LastStop::Unclean => None,
        };
        // IMPORTANT: the marker goes, for good, before anything is written: a crash from here on must be seen as one
        // (KAFKA-10471). Its removal is in the directory, so that is what must be synced; until then a power failure may
        // bring it back, to vouch for what was torn. Kafka removes it without a sync.
        if !config.rules.has(crate::rules::Rule::CleanMarkerSurvives) {
            remove_clean_shutdown(disk).map_err(LogError::Disk)?;
        }
        out.sync(
            SyncOwner::Checkpoint,
            SEQ_MARKER_REMOVED,
            SyncTarget::Dir(String::new()),
        );
        let seed = Entropy(entropy.next_u64());
        let with = OpenWith {
            clean,
            ..OpenWith::default()
        };
        let quorum = Quorum::open(&config, with, seed, now, disk, out)?;
        let serving = if config.is_broker {
            let mut replicas = ReplicaManager::new(&config, Entropy(entropy.next_u64()));
            replicas.open(clean, now, disk, out)?;
            let incarnation = Uuid::from_u64_pair(entropy.next_u64(), entropy.next_u64());
            Some(Serving {
                replicas,
                lifecycle: Lifecycle::new(incarnation, directory, previous_epoch),
                producer_ids: ProducerIds::default(),
            })
        } else {
            None
        };
        let mut broker = Broker {
            peers: Peers::new(config.node_id),
            listener: Listener::default(),
            quorum,
            image: MetadataImage::default(),
            since_snapshot: 0,
            unpublished: MetadataDelta::default(),
            published: false,
            active: None,
            serving,
            forwarded: BTreeMap::new(),
            topics: topics::Topics::default(),
            held: held::Held::default(),
            next_forward: 0,
            shutdown: shutdown::Shutdown::default(),
            meta_properties,
            prepared: false,
            early: Vec::new(),
            exited: false,
            answered: Vec::new(),
            entropy,
            config,
        };
        broker.settle(Vec::new(), now, disk, out)?;
        Ok(broker)
    }

    /// Handles one input to its end.
    pub fn step(&mut self, now: Now, input: Input, disk: &mut dyn Disk, out: &mut Outbox) {
        // Once the marker is being written nothing may change any more that it vouches for.
        let closing = self.shutdown.is_closing() && !matches!(input, Input::SyncDone { .. });
        if self.exited || closing {
            return;
        }
        if let Err(error) = self.advance(input, now, disk, out) {
            let reason = error.to_string();
            out.note(Note::LogDirFailed { reason: reason.clone() });
            out.outputs.push(Output::Exit { reason, clean: false });
            self.exited = true;
        }
    }

    fn advance(&mut self, input: Input, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        let was_prepared = self.prepared;
        let touched = self.dispatch(input, now, disk, out)?;
        if !self.prepared || self.shutdown.is_closing() {
            // It hears, but takes nothing up.
            return self.advance_shutdown(now, disk, out);
        }
        let ready = if was_prepared {
            touched.into_iter().collect()
        } else {
            self.listener.connections()
        };
        self.settle(ready, now, disk, out)
    }

    /// Takes the input in; gives the connection on which a request may wait now.
    fn dispatch(
        &mut self,
        input: Input,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Option<ConnId>, LogError> {
        match input {
            Input::Accepted { conn } => self.listener.on_accepted(conn),
            Input::Connected { conn } => self.peers.on_connected(conn, &mut out.outputs),
            Input::Received { conn, bytes } if self.peers.owns(conn) => {
                self.peers
                    .on_received(conn, bytes, &mut out.outputs, &mut self.answered);
            }
            Input::Received { conn, bytes } => {
                self.listener.on_received(conn, bytes, &mut out.outputs);
                return Ok(Some(conn));
            }
            Input::Closed { conn } if self.peers.owns(conn) => self.peers.on_closed(conn, &mut self.answered),
            Input::Closed { conn } => {
                if let Some(request) = self.listener.on_closed(conn) {
                    self.quorum.on_disconnected_request(request);
                    if let Some(serving) = &mut self.serving {
                        serving.replicas.on_disconnected_request(request);
                    }
                }
            }
            Input::SyncDone { tag, result } => self.on_sync_done(&tag, result, now, disk, out)?,
            Input::Deadline if self.prepared => self.on_deadline(now, disk, out)?,
            Input::Deadline => {}
            Input::Shutdown => self.on_terminate(now, disk, out)?,
        }
        Ok(None)
    }

    fn on_sync_done(
        &mut self,
        tag: &SyncTag,
        result: Result<(), crate::DiskError>,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        match (tag.owner, &mut self.serving) {
            (SyncOwner::Quorum | SyncOwner::Log(_), _) if !self.prepared => {
                self.early.push((tag.clone(), result));
                Ok(())
            }
            (SyncOwner::Quorum, _) | (SyncOwner::Log(METADATA_PARTITION), _) => {
                self.quorum.on_sync_done(tag, result, now, disk, out)
            }
            (SyncOwner::Checkpoint, serving) if tag.seq == SEQ_MARKER_REMOVED => {
                result.map_err(LogError::Disk)?;
                self.prepared = true;
                if let Some(serving) = serving {
                    serving.lifecycle.on_prepared(now);
                }
                let early = std::mem::take(&mut self.early);
                early
                    .into_iter()
                    .try_for_each(|(tag, result)| self.on_sync_done(&tag, result, now, disk, out))
            }
            (SyncOwner::Checkpoint, _) if [SEQ_META_PROPERTIES, SEQ_META_PROPERTIES + 1].contains(&tag.seq) => self
                .meta_properties
                .on_sync_done(tag.seq, &result, disk, out)
                .map(drop)
                .map_err(LogError::Disk),
            (SyncOwner::Checkpoint, _) if self.shutdown.owns(tag) => self.shutdown.on_sync_done(result, disk, out),
            (SyncOwner::Log(_) | SyncOwner::Checkpoint, Some(serving)) => {
                serving.replicas.on_sync_done(tag, result, now, disk, out)
            }
            (_, None) => result.map_err(LogError::Disk),
        }
    }

    /// When the node wants to be woken.
    pub fn next_deadline(&self) -> Option<Nanos> {
        if self.exited || self.shutdown.is_closing() || !self.prepared {
            return None;
        }
        let serving = self.serving.as_ref();
        [
            self.peers.next_deadline(),
            self.topics.next_deadline(),
            self.held.next_deadline(),
            self.quorum.next_deadline(),
            self.active.as_ref().and_then(Active::next_deadline),
            serving.and_then(|serving| serving.replicas.next_deadline()),
            serving.and_then(|serving| serving.lifecycle.next_deadline()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn on_deadline(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        let due = |at: Option<Nanos>| at.is_some_and(|at| at <= now.mono);
        if due(self.peers.next_deadline()) {
            self.peers.on_deadline(now.mono, &mut out.outputs, &mut self.answered);
        }
        if due(self.quorum.next_deadline()) {
            self.quorum.on_deadline(now, disk, out)?;
        }
        if let Some(active) = &mut self.active
            && due(active.next_deadline())
            && !active.on_deadline(&mut self.quorum, now, disk, out)?
        {
            self.deactivate(out);
        }
        let controller = self.quorum.leader();
        if let Some(serving) = &mut self.serving {
            if due(serving.replicas.next_deadline()) {
                serving.replicas.on_deadline(now, disk, out)?;
            }
            if due(serving.lifecycle.next_deadline()) {
                serving
                    .lifecycle
                    .on_deadline(&self.config, controller, self.image.offset, now, out);
            }
        }
        Ok(())
    }

    /// Follows up until nothing is left to do here: calls leave, answers leave, committed metadata is applied, requests
    /// that waited behind an answer are taken up.
    fn settle(
        &mut self,
        mut ready: Vec<ConnId>,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        loop {
            for call in std::mem::take(&mut out.calls) {
                self.call(call, None, now, out);
            }
            let replies = std::mem::take(&mut out.replies);
            for (id, response) in &replies {
                self.topics.finished(*id);
                ready.extend(self.listener.answer(*id, response, &mut out.outputs));
            }
            let answered = std::mem::take(&mut self.answered);
            for answer in answered {
                self.on_answer(answer, now, disk, out)?;
            }
            self.apply_committed(now, disk, out)?;
            self.topics.release(&self.image, now, out);
            if let Some(serving) = &self.serving {
                for held in self.held.release(&serving.replicas, &self.image, now) {
                    ready.extend(self.handle(held, now, disk, out)?);
                }
            }
            while let Some(conn) = ready.pop() {
                if let Some(request) = self.listener.next(conn, out) {
                    ready.extend(self.take_up(request, now, disk, out)?);
                }
            }
            if out.calls.is_empty() && out.replies.is_empty() && self.answered.is_empty() {
                break;
            }
        }
        self.advance_shutdown(now, disk, out)
    }

    /// Puts a call on its connection.
    fn call(&mut self, call: crate::machine::Call, version: Option<i16>, now: Now, out: &mut Outbox) {
        let to = call.to;
        let voter = self
            .config
            .voters
            .iter()
            .find(|voter| voter.id == to)
            .map(|voter| (voter.host.as_str(), voter.port));
        let endpoint = voter.or_else(|| {
            self.image
                .brokers
                .get(&to)
                .map(|broker| (broker.host.as_str(), broker.port))
        });
        self.peers
            .send(call, version, endpoint, now.mono, &mut out.outputs, &mut self.answered);
    }

    /// Hands a peer's answer to whoever asked.
    fn on_answer(&mut self, answer: Answered, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        let Answered {
            from,
            channel,
            tag,
            result,
        } = answer;
        match (channel, &mut self.serving) {
            (Channel::Election | Channel::Quorum, _) => {
                self.quorum.on_response(from, channel, tag, result, now, disk, out)
            }
            (Channel::Forward, _) => {
                self.on_forwarded(tag, result, now, out);
                Ok(())
            }
            (Channel::Fetcher, Some(serving)) => serving.replicas.on_fetch_response(from, tag, result, now, disk, out),
            (Channel::Controller, Some(serving)) => serving
                .replicas
                .on_alter_partition_response(tag, result, now, disk, out),
            (Channel::ProducerIds, Some(serving)) => {
                serving.producer_ids.on_response(result, now);
                Ok(())
            }
            (Channel::Heartbeat, Some(serving)) => {
                let before = serving.lifecycle.phase();
                if serving.lifecycle.on_response(&self.config, result, now, out) {
                    let epoch = serving.lifecycle.epoch().expect("just registered");
                    serving.replicas.set_broker_epoch(epoch);
                    return self.publish(now, disk, out);
                }
                // In service for the first time: the image is as new as our registration, so what it does not give us
                // is not ours any more.
                if before != Phase::Running && serving.lifecycle.phase() == Phase::Running {
                    serving.replicas.remove_strays(&self.image, now, disk, out)?;
                }
                Ok(())
            }
            (Channel::Fetcher | Channel::Controller | Channel::Heartbeat | Channel::ProducerIds, None) => {
                unreachable!("only brokers use these channels")
            }
        }
    }

    /// Its id.
    pub fn node_id(&self) -> NodeId {
        self.config.node_id
    }

    /// The committed metadata as this node knows it.
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }
}
