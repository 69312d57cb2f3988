//! The metadata quorum: KRaft, that is Raft whose followers fetch.
//!
//! ```text
//!            Vote, BeginQuorumEpoch, EndQuorumEpoch            Fetch, FetchSnapshot
//!   peers ────────────────▶ vote.rs ─────────────┐   ┌─ fetch.rs (leader) / follow.rs (follower) ◀──── peers
//!                                                ▼   ▼
//!                        state.rs: role, transitions       commit.rs: high watermark
//!                               │                                │
//!                 store.rs: `quorum-state`          log of `__cluster_metadata-0`, snapshot.rs, mend.rs
//!                               ▼                                ▼
//!                     nothing leaves before its vote is durable; nothing counts before it is flushed
//! ```
//!
//! Guarantees: one vote for each epoch, for ever, restarts included; a message that tells of an epoch or a vote
//! leaves only when that is durable; the high watermark covers what a majority has flushed, only after a record of
//! the leader's own epoch, and never goes back; a follower never cuts its log below its high watermark.
//!
//! Deliberately does not know: what the records mean (the controller does), how bytes travel, who else shares the
//! node. Voters are fixed by configuration (no KIP-853).
//!
//! Sources: KIP-595 (quorum), KIP-630 (snapshots), KIP-996 (pre-vote), KAFKA-15489 (check quorum), KAFKA-12619 and
//! KAFKA-12460 (commit and truncation bounds), KAFKA-10842 (answers matched to their requests).

mod calls;
mod close;
mod commit;
mod control;
mod describe;
mod download;
mod fetch;
mod follow;
mod mend;
mod message;
mod snapshot;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod vote;

use crate::config::{NodeConfig, TopicConfig};
use crate::disk::{Disk, DiskError, FileId};
use crate::log::{Log, LogError, OpenWith};
use crate::machine::{Call, CallResult, Channel, Entropy, Outbox, SyncOwner, SyncTag};
use crate::note::Note;
use crate::rules::Rules;
use crate::types::*;
use crate::wire::batch;
use bytes::Bytes;
use calls::Calls;
use download::Download;
use fetch::Parked;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use snapshot::Snapshots;
use state::{NEVER, Role};
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use store::Store;

/// Where the metadata log, its snapshots and the vote live.
pub const METADATA_DIR: &str = "__cluster_metadata-0";
/// Largest batch of the metadata log (Kafka's `MAX_BATCH_SIZE_BYTES`).
const MAX_BATCH_BYTES: i64 = 8 * 1024 * 1024;

/// Spans that the quorum lives by.
#[derive(Clone, Copy, Debug, Hash)]
struct Timeouts {
    /// A follower without its leader for this long asks for pre-votes.
    fetch_ms: u64,
    /// An election that takes longer (up to twice, by chance) is over.
    election_ms: u64,
    /// Longest rest after a lost election.
    backoff_max_ms: u64,
    /// A request without answer for this long is given up.
    request_ms: u64,
}

/// Something that must not leave before the vote file is durable.
#[derive(Clone, Debug)]
enum Held {
    Call(Call),
    Reply(RequestId, ResponseKind),
    Note(Note),
}

/// One node's part in the metadata quorum.
#[derive(Clone, Debug, Hash)]
pub struct Quorum {
    me: NodeId,
    cluster_id: StrBytes,
    /// Sorted, without duplicates.
    voters: Vec<NodeId>,
    rules: Rules,
    timeouts: Timeouts,
    /// Bytes that a fetch asks for.
    max_fetch_bytes: i32,
    entropy: Entropy,
    log: Log,
    /// A flush was asked for up to here; never above the log end.
    flush_asked: Offset,
    snapshots: Snapshots,
    store: Store,
    role: Role,
    /// Known committed, exclusive. Never goes back while this process lives.
    high_watermark: Option<Offset>,
    /// Log end or progress changed since the high watermark was last computed.
    commit_stale: bool,
    /// Log end or high watermark changed since the waiting fetches were last looked at.
    parked_stale: bool,
    parked: Vec<Parked>,
    calls: Calls,
    download: Option<Download>,
    /// Files of downloads that were given up, to be closed.
    unused: Vec<FileId>,
    held: VecDeque<(u64, Held)>,
    /// Elections lost in a row: stretches the rest after the next one.
    elections_lost: u32,
    /// In controlled shutdown: never a candidate again.
    leaving: bool,
}

impl Quorum {
    /// Opens log, snapshots and vote. A node that is not among `config.voters` is an observer: it fetches, and
    /// neither votes nor counts. The only voter of its quorum starts an election at once.
    ///
    /// Errors: the disk's, and `Invalid` where the directory is not a quorum's (unreadable vote, log without the
    /// snapshot that it starts after).
    pub fn open(
        config: &NodeConfig,
        with: OpenWith,
        entropy: Entropy,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Quorum, LogError> {
        let settings = &config.settings;
        let log_config = TopicConfig {
            segment_bytes: settings.metadata_log_segment_bytes,
            max_message_bytes: MAX_BATCH_BYTES,
            retention_ms: -1,
            retention_bytes: -1,
            ..TopicConfig::default()
        };
        let snapshots = Snapshots::load(disk)?;
        if let Some((end, _)) = snapshots.newest().filter(|_| !with.clean) {
            mend::remove_returned_segments(end, disk).map_err(LogError::Disk)?;
        }
        let with = OpenWith {
            // A directory that is gone was not closed by anybody: its new name is to become durable at once.
            clean: with.clean && disk.exists(METADATA_DIR),
            ..with
        };
        let log = Log::open(METADATA_PARTITION, METADATA_DIR, log_config, with, now, disk, out)?;
        let mut voters: Vec<NodeId> = config.voters.iter().map(|voter| voter.id).collect();
        voters.sort_unstable();
        voters.dedup();
        let positive = |ms: i64| u64::try_from(ms).unwrap_or(1).max(1);
        let mut quorum = Quorum {
            me: config.node_id,
            cluster_id: StrBytes::from_string(config.cluster_id.clone()),
            store: Store::load(&config.cluster_id, &voters, disk)?,
            voters,
            rules: config.rules,
            timeouts: Timeouts {
                fetch_ms: positive(settings.controller_quorum_fetch_timeout_ms),
                election_ms: positive(settings.controller_quorum_election_timeout_ms),
                backoff_max_ms: positive(settings.controller_quorum_election_backoff_max_ms),
                request_ms: positive(settings.controller_quorum_request_timeout_ms),
            },
            max_fetch_bytes: i32::try_from(settings.internal_metadata_max_fetch_size_in_bytes).unwrap_or(i32::MAX),
            entropy,
            flush_asked: log.recovery_point().min(log.log_end_offset()),
            log,
            snapshots,
            role: Role::Unattached { deadline: NEVER },
            high_watermark: None,
            commit_stale: true,
            parked_stale: false,
            parked: Vec::new(),
            calls: Calls::default(),
            download: None,
            unused: Vec::new(),
            held: VecDeque::new(),
            elections_lost: 0,
            leaving: false,
        };
        quorum.adopt_snapshots_at_open(out)?;
        quorum.take_initial_role(now, out);
        quorum.pump(now, disk, out)?;
        Ok(quorum)
    }

    /// The leader of the current epoch, if known.
    pub fn leader(&self) -> Option<NodeId> {
        self.store.election().leader
    }

    /// The current epoch; 0 before the first election.
    pub fn epoch(&self) -> LeaderEpoch {
        self.store.election().epoch
    }

    /// Whether this node leads the current epoch.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Whether this node votes.
    pub fn is_voter(&self) -> bool {
        self.voters.binary_search(&self.me).is_ok()
    }

    /// The voters, sorted.
    pub fn voters(&self) -> &[NodeId] {
        &self.voters
    }

    /// Records below it are committed. None until the first news after a start.
    pub fn high_watermark(&self) -> Option<Offset> {
        self.high_watermark
    }

    /// Next offset of our log.
    pub fn log_end_offset(&self) -> Offset {
        self.log.log_end_offset()
    }

    /// The log, for checkpoints.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// When leader: offset of the first record of our epoch. Everything before it is committed once the high
    /// watermark is above it.
    pub fn epoch_start_offset(&self) -> Option<Offset> {
        match &self.role {
            Role::Leader(leader) => Some(leader.epoch_start_offset),
            _ => None,
        }
    }

    /// Appends metadata record values in one batch: all or none of them are ever committed. Returns the offsets of
    /// the first and the last, or None if this node does not lead.
    ///
    /// Errors: `TooLarge` above 8 MiB; the disk's.
    pub fn append(
        &mut self,
        values: &[Bytes],
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<Option<(Offset, Offset)>, LogError> {
        assert!(!values.is_empty(), "an append of no records has no offsets");
        if !self.is_leader() {
            return Ok(None);
        }
        let records: Vec<_> = values
            .iter()
            .map(|value| (now.wall_ms, None, Some(value.clone())))
            .collect();
        let batch = batch::build(&records, None, false);
        if batch.len() as i64 > MAX_BATCH_BYTES {
            return Err(LogError::TooLarge);
        }
        let appended = self.log.append_as_leader(&batch, self.epoch(), now, disk, out)?;
        self.log_grew();
        self.pump(now, disk, out)?;
        Ok(Some((appended.base_offset, appended.last_offset)))
    }

    /// Whole committed batches from the one that holds `from`, control batches included; empty if there are none.
    ///
    /// Errors: `OutOfRange` below the log start: load a snapshot first.
    pub fn read_committed(&mut self, from: Offset, max_bytes: usize, disk: &mut dyn Disk) -> Result<Bytes, LogError> {
        let upto = self.high_watermark.unwrap_or(0).min(self.log_end_offset());
        if from >= upto {
            return Ok(Bytes::new());
        }
        self.log.read(from, upto, max_bytes, true, disk)
    }

    /// A request of a peer (Vote, BeginQuorumEpoch, EndQuorumEpoch, Fetch, FetchSnapshot) or of an admin
    /// (DescribeQuorum). It is answered through `out.reply`, possibly much later. Other requests are ignored.
    pub fn handle(
        &mut self,
        id: RequestId,
        request: &RequestKind,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        match request {
            RequestKind::Vote(request) => self.handle_vote(id, request, now, out),
            RequestKind::BeginQuorumEpoch(request) => self.handle_begin(id, request, now, out),
            RequestKind::EndQuorumEpoch(request) => self.handle_end(id, request, now, out),
            RequestKind::Fetch(request) => self.handle_fetch(id, request, now, disk, out)?,
            RequestKind::FetchSnapshot(request) => self.handle_fetch_snapshot(id, request, now, disk, out)?,
            RequestKind::DescribeQuorum(request) => self.handle_describe(id, request, now, out),
            _ => {}
        }
        self.pump(now, disk, out)
    }

    /// The answer to a call of ours on [`Channel::Election`] or [`Channel::Quorum`]. Answers that nobody waits
    /// for any more are dropped (KAFKA-10842).
    #[expect(clippy::too_many_arguments, reason = "one call's whole fate, as the broker has it")]
    pub fn on_response(
        &mut self,
        from: NodeId,
        channel: Channel,
        tag: u64,
        result: CallResult,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        if let Some(asked) = self.calls.take(channel, from, tag) {
            match result {
                Err(_) => self.on_call_failed(from, channel, asked, now),
                Ok(ResponseKind::Vote(response)) => self.on_vote_response(from, asked, &response, now, out),
                Ok(ResponseKind::BeginQuorumEpoch(response)) => self.on_begin_response(&response, now, out),
                Ok(ResponseKind::EndQuorumEpoch(response)) => self.on_end_response(from, &response, now, out),
                Ok(ResponseKind::Fetch(response)) => self.on_fetch_response(from, asked, response, now, disk, out)?,
                Ok(ResponseKind::FetchSnapshot(response)) => {
                    self.on_piece_response(from, asked, response, now, disk, out)?
                }
                Ok(_) => self.calls.rest(channel, from, now),
            }
        }
        self.pump(now, disk, out)
    }

    /// A sync ended: of [`SyncOwner::Quorum`] or of the metadata log.
    pub fn on_sync_done(
        &mut self,
        tag: &SyncTag,
        result: Result<(), DiskError>,
        now: Now,
        disk: &mut dyn Disk,
        out: &mut Outbox,
    ) -> Result<(), LogError> {
        match tag.owner {
            SyncOwner::Quorum => {
                result.map_err(LogError::Disk)?;
                self.store.on_sync_done(tag.seq, disk, out)?;
                self.release_held(out);
                self.on_snapshot_synced(tag.seq, now, disk, out)?;
            }
            _ => {
                self.log.on_sync_done(tag, result, out)?;
                self.release_held(out);
                self.commit_stale = true;
            }
        }
        self.pump(now, disk, out)
    }

    /// When to call [`Quorum::on_deadline`].
    pub fn next_deadline(&self) -> Option<Nanos> {
        let mut next = self.role.deadline();
        for parked in &self.parked {
            next = next.min(parked.deadline);
        }
        if let Some(retry) = self.calls.next_retry() {
            next = next.min(retry);
        }
        if let Some(log) = self.log.next_deadline() {
            next = next.min(log);
        }
        (next != NEVER).then_some(next)
    }

    /// Does what is due.
    pub fn on_deadline(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        self.calls.forget_retries(now);
        if self.role.deadline() <= now.mono {
            self.on_role_deadline(now, out);
        }
        self.answer_expired(now, disk, out)?;
        if self.log.next_deadline().is_some_and(|due| due <= now.mono) {
            self.log.on_deadline(now, disk, out)?;
        }
        self.pump(now, disk, out)
    }

    /// Controlled shutdown: a leader tells the others, best successor first; nobody here becomes candidate again.
    pub fn resign(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        self.leaving = true;
        match self.role {
            Role::Leader(_) => self.become_resigned(now, out),
            Role::Prospective { .. } | Role::Candidate { .. } => self.become_unattached(self.epoch(), now, out),
            _ => {}
        }
        self.pump(now, disk, out)
    }

    /// The connection of a waiting fetch is gone.
    pub fn on_disconnected_request(&mut self, id: RequestId) {
        self.parked.retain(|parked| parked.id != id);
    }

    /// The tag of our request to a peer that waits for its answer.
    pub fn open_call(&self, channel: Channel, to: NodeId) -> Option<u64> {
        self.calls.open_tag(channel, to)
    }

    /// Begins every wait anew at `anew` and counts every name from the beginning: two nodes that differ only in how
    /// long they have lived become equal. The next step must not be told of an earlier time than `anew`.
    pub fn forget_age(&mut self, anew: Now) {
        self.log.forget_age(anew);
        self.store.forget_age();
        self.snapshots.forget_age();
        self.calls.forget_age(anew, &mut self.held);
        self.forget_waits(anew);
        let longest = follow::MAX_FETCH_WAIT_MS;
        for parked in &mut self.parked {
            parked.deadline = anew.mono.plus_ms(longest);
        }
        self.entropy = Entropy(0);
        self.elections_lost = 0;
    }

    /// Closes the files of the log.
    pub fn close(&mut self, disk: &mut dyn Disk) {
        self.log.close(disk);
    }

    /// Everything that follows from a change, whatever the change was. Runs at the end of every entry.
    fn pump(&mut self, now: Now, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        self.settle_election(now, disk, out)?;
        self.ask_flush(out);
        self.store.write_if_changed(disk, out)?;
        self.advance_high_watermark(out);
        self.call_election(now, out);
        self.call_leader(out);
        self.answer_parked(disk, out)?;
        for file in self.unused.drain(..) {
            disk.close(file);
        }
        self.check();
        Ok(())
    }

    /// Voters flush all that they append: a follower's next fetch says that it did, and the leader counts itself
    /// only as far as it did (KAFKA-10533). In shutdown observers flush too, so that the stop is a clean one.
    fn ask_flush(&mut self, out: &mut Outbox) {
        let end = self.log.log_end_offset();
        self.flush_asked = self.flush_asked.min(end);
        if (self.is_voter() || self.leaving) && self.flush_asked < end {
            self.flush_asked = end;
            self.log.flush(out);
        }
    }

    fn log_grew(&mut self) {
        self.commit_stale = true;
        self.parked_stale = true;
    }

    /// Sends now, or when the vote file says what the message tells.
    fn hold_or(&mut self, held: Held, out: &mut Outbox) {
        if self.is_vote_durable() {
            held.leave(out);
        } else {
            self.held.push_back((self.store.version(), held));
        }
    }

    /// The vote file lies in the directory of the log, whose name the log makes durable when it is opened.
    fn is_vote_durable(&self) -> bool {
        self.store.is_durable() && self.log.is_named()
    }

    fn release_held(&mut self, out: &mut Outbox) {
        if !self.log.is_named() {
            return;
        }
        while self
            .held
            .front()
            .is_some_and(|(version, _)| *version <= self.store.durable_version())
        {
            let (_, held) = self.held.pop_front().expect("just looked at");
            held.leave(out);
        }
    }

    fn reply(&mut self, id: RequestId, response: impl Into<ResponseKind>, out: &mut Outbox) {
        self.hold_or(Held::Reply(id, response.into()), out);
    }

    /// What must be true between any two inputs.
    fn check(&self) {
        let election = self.store.election();
        match &self.role {
            Role::Leader(leader) => {
                assert!(
                    election.leader == Some(self.me),
                    "a leader that believes in another leader"
                );
                assert!(election.voted == Some(self.me), "a leader that did not vote for itself");
                assert!(
                    leader.epoch_start_offset < self.log_end_offset(),
                    "a leader without a record of its epoch"
                );
            }
            Role::Follower { leader, .. } => {
                assert!(
                    election.leader == Some(*leader) && *leader != self.me,
                    "a follower of nobody, or of itself"
                );
            }
            Role::Candidate { .. } => assert!(election.leader.is_none(), "a candidate that knows a leader"),
            Role::Unattached { .. } | Role::Prospective { .. } | Role::Resigned { .. } => {}
        }
        assert!(
            self.store.is_durable() || self.store.is_writing(),
            "a vote that nobody makes durable"
        );
    }
}

/// The library's message types cannot be hashed; their debug text names every field.
impl Hash for Held {
    fn hash<H: Hasher>(&self, state: &mut H) {
        format!("{self:?}").hash(state);
    }
}

impl Held {
    fn leave(self, out: &mut Outbox) {
        match self {
            Held::Call(call) => out.call(call),
            Held::Reply(id, response) => out.reply(id, response),
            Held::Note(note) => out.note(note),
        }
    }
}
