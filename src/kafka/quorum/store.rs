//! The file `quorum-state`: epoch, leader and vote of this node, in Kafka's JSON, version 0.
//!
//! Guarantees: what [`Store::set`] was told is durable once [`Store::is_durable`]: written to a temporary file, that
//! synced, renamed over the old one, the directory synced. A power failure at any moment leaves the old or the new
//! state, never a mixture. Deliberately does not know what a vote means, nor when one may be given.
//!
//! Sources: KIP-595 (quorum state), Kafka's `QuorumStateData.json`.

use super::{METADATA_DIR, NodeId};
use crate::disk::{Disk, FileId, SyncTarget};
use crate::log::LogError;
use crate::machine::{Outbox, SyncOwner};
use crate::types::LeaderEpoch;
use std::fmt::Write as _;

/// What a node must never forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Election {
    /// Never goes down.
    pub epoch: LeaderEpoch,
    /// Of this epoch, once known; then it never becomes another one.
    pub leader: Option<NodeId>,
    /// Our vote in this epoch, once given; then it never becomes another one.
    pub voted: Option<NodeId>,
}

#[derive(Clone, Copy, Debug, Hash)]
enum Step {
    File(FileId),
    Dir,
}

#[derive(Clone, Copy, Debug, Hash)]
struct Writing {
    version: u64,
    seq: u64,
    step: Step,
}

/// The state in memory and how much of it the disk has.
#[derive(Clone, Debug, Hash)]
pub(super) struct Store {
    cluster_id: String,
    voters: Vec<NodeId>,
    election: Election,
    version: u64,
    durable_version: u64,
    writing: Option<Writing>,
    next_seq: u64,
}

/// Sync sequence numbers of this file are even, those of snapshots odd: both belong to the quorum.
const SEQ_STEP: u64 = 2;

impl Store {
    /// Reads the file; without one, nothing ever happened here.
    pub fn load(cluster_id: &str, voters: &[NodeId], disk: &mut dyn Disk) -> Result<Store, LogError> {
        let mut election = Election::default();
        let path = path();
        if disk.exists(&path) {
            let file = disk.open(&path, false).map_err(LogError::Disk)?;
            let len = disk.len(file);
            let bytes = disk.read_at(file, 0, usize::try_from(len).unwrap_or(usize::MAX));
            disk.close(file);
            election = parse(&bytes.map_err(LogError::Disk)?)?;
        }
        Ok(Store {
            cluster_id: cluster_id.to_owned(),
            voters: voters.to_vec(),
            election,
            version: 0,
            durable_version: 0,
            writing: None,
            next_seq: 0,
        })
    }

    pub fn election(&self) -> Election {
        self.election
    }

    /// Changes the state in memory. It is written when the entry that did this ends.
    pub fn set(&mut self, election: Election) {
        assert!(
            election.epoch >= self.election.epoch,
            "the epoch of the quorum goes back"
        );
        if election != self.election {
            self.election = election;
            self.version += 1;
        }
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn durable_version(&self) -> u64 {
        self.durable_version
    }

    pub fn is_durable(&self) -> bool {
        self.durable_version == self.version
    }

    pub fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Starts to write, unless a write is under way: the next one follows when that is done.
    pub fn write_if_changed(&mut self, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        if self.is_durable() || self.is_writing() {
            return Ok(());
        }
        let file = disk.open(&temporary(), true).map_err(LogError::Disk)?;
        disk.set_len(file, 0).map_err(LogError::Disk)?;
        disk.write_at(file, 0, self.render().as_bytes())
            .map_err(LogError::Disk)?;
        let seq = self.ask(SyncTarget::File(file), out);
        self.writing = Some(Writing {
            version: self.version,
            seq,
            step: Step::File(file),
        });
        Ok(())
    }

    /// Goes on with the write under way.
    pub fn on_sync_done(&mut self, seq: u64, disk: &mut dyn Disk, out: &mut Outbox) -> Result<(), LogError> {
        let Some(writing) = self.writing.filter(|writing| writing.seq == seq) else {
            return Ok(());
        };
        match writing.step {
            Step::File(file) => {
                // IMPORTANT: renamed only now. Before, a power failure could leave the new name with old or no content.
                disk.close(file);
                disk.rename(&temporary(), &path()).map_err(LogError::Disk)?;
                let seq = self.ask(SyncTarget::Dir(METADATA_DIR.to_owned()), out);
                self.writing = Some(Writing {
                    seq,
                    step: Step::Dir,
                    ..writing
                });
            }
            Step::Dir => {
                assert!(
                    writing.version > self.durable_version,
                    "an older vote became durable after a newer one"
                );
                self.durable_version = writing.version;
                self.writing = None;
            }
        }
        Ok(())
    }

    /// Counts versions and syncs from the beginning, if none is under way.
    pub fn forget_age(&mut self) {
        if self.is_durable() && !self.is_writing() {
            (self.version, self.durable_version, self.next_seq) = (0, 0, 0);
        }
    }

    fn ask(&mut self, target: SyncTarget, out: &mut Outbox) -> u64 {
        let seq = self.next_seq;
        self.next_seq += SEQ_STEP;
        out.sync(SyncOwner::Quorum, seq, target);
        seq
    }

    fn render(&self) -> String {
        let id = |node: Option<NodeId>| node.map_or(-1, |node| node.0);
        let mut text = String::with_capacity(160);
        let _ = write!(text, "{{\"clusterId\":\"{}\",", self.cluster_id.escape_default());
        let _ = write!(text, "\"leaderId\":{},", id(self.election.leader));
        let _ = write!(text, "\"leaderEpoch\":{},", self.election.epoch);
        let _ = write!(
            text,
            "\"votedId\":{},\"appliedOffset\":0,\"currentVoters\":[",
            id(self.election.voted)
        );
        for (i, voter) in self.voters.iter().enumerate() {
            let _ = write!(text, "{}{{\"voterId\":{voter}}}", if i == 0 { "" } else { "," });
        }
        text.push_str("],\"data_version\":0}");
        text
    }
}

fn path() -> String {
    format!("{METADATA_DIR}/quorum-state")
}

fn temporary() -> String {
    format!("{METADATA_DIR}/quorum-state.tmp")
}

/// Reads the three numbers that matter. Anything that is not whole is refused: a node with half a memory of its
/// votes must not vote.
fn parse(bytes: &[u8]) -> Result<Election, LogError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| LogError::Invalid("quorum-state is not text"))?
        .trim();
    if !(text.starts_with('{') && text.ends_with('}')) {
        return Err(LogError::Invalid("quorum-state is cut off"));
    }
    if number(text, "data_version")? != 0 {
        return Err(LogError::Invalid("quorum-state has a version other than 0"));
    }
    let node = |id: i32| (id >= 0).then_some(NodeId(id));
    let epoch = number(text, "leaderEpoch")?;
    if epoch < 0 {
        return Err(LogError::Invalid("quorum-state has a negative epoch"));
    }
    Ok(Election {
        epoch: LeaderEpoch(epoch),
        leader: node(number(text, "leaderId")?),
        voted: node(number(text, "votedId")?),
    })
}

fn number(text: &str, key: &str) -> Result<i32, LogError> {
    let missing = LogError::Invalid("quorum-state lacks a field");
    let quoted = format!("\"{key}\"");
    let at = text.find(&quoted).ok_or(missing.clone())?;
    let rest = text[at + quoted.len()..]
        .trim_start()
        .strip_prefix(':')
        .ok_or(missing.clone())?
        .trim_start();
    let end = rest
        .find(|c: char| c != '-' && !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().map_err(|_| missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(election: Election) -> Store {
        Store {
            cluster_id: "c\"1".to_owned(),
            voters: vec![NodeId(1), NodeId(2)],
            election,
            version: 0,
            durable_version: 0,
            writing: None,
            next_seq: 0,
        }
    }

    #[test]
    fn what_is_written_is_read_and_is_kafkas_json() {
        let election = Election {
            epoch: LeaderEpoch(7),
            leader: None,
            voted: Some(NodeId(2)),
        };
        let text = store(election).render();
        assert_eq!(
            text,
            "{\"clusterId\":\"c\\\"1\",\"leaderId\":-1,\"leaderEpoch\":7,\"votedId\":2,\"appliedOffset\":0,\
             \"currentVoters\":[{\"voterId\":1},{\"voterId\":2}],\"data_version\":0}"
        );
        assert_eq!(parse(text.as_bytes()), Ok(election));
    }

    #[test]
    fn kafkas_pretty_print_is_read_too() {
        let text = "{ \"clusterId\" : \"x\", \"leaderId\" : 3,\n\"leaderEpoch\" : 12, \"votedId\" : -1, \"data_version\" : 0 }\n";
        let expected = Election {
            epoch: LeaderEpoch(12),
            leader: Some(NodeId(3)),
            voted: None,
        };
        assert_eq!(parse(text.as_bytes()), Ok(expected));
    }

    #[test]
    fn half_a_memory_is_refused() {
        let text = store(Election::default()).render();
        for len in 0..text.len() {
            assert!(parse(&text.as_bytes()[..len]).is_err(), "read {len} bytes");
        }
        assert!(parse(text.replace("\"data_version\":0", "\"data_version\":1").as_bytes()).is_err());
    }
}
