//! Whose disk this is, and how it was left: `meta.properties` and the clean-shutdown marker.
//!
//! Sources: KIP-858 (directory ids), KIP-966 (the marker holds the broker epoch), KAFKA-10471.

use crate::config::NodeConfig;
use crate::disk::{Disk, DiskError, FileId};
use crate::log::LogError;
use crate::log::checkpoint::{CheckpointFile, read_file, temporary, write_temporary};
use crate::log::identity::{CLEAN_SHUTDOWN, MetaProperties};
use crate::machine::{Entropy, Outbox};
use crate::types::{BrokerEpoch, Uuid};

/// File name.
pub(super) const META_PROPERTIES: &str = "meta.properties";

/// How the process before ended on this disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastStop {
    /// The marker is there; it may name the broker epoch of that life.
    Clean(Option<BrokerEpoch>),
    /// It is not.
    Unclean,
}

/// Reads whose disk it is, or begins to write it at the first start; gives the directory's id. `file` carries the
/// write to its end.
pub(super) fn claim(
    config: &NodeConfig,
    entropy: &mut Entropy,
    file: &mut CheckpointFile,
    disk: &mut dyn Disk,
    out: &mut Outbox,
) -> Result<Uuid, LogError> {
    let known = MetaProperties::read(META_PROPERTIES, disk).map_err(LogError::Disk)?;
    match known {
        Some(Ok(meta)) if meta.cluster_id != config.cluster_id => {
            Err(LogError::Invalid("meta.properties names another cluster"))
        }
        Some(Ok(meta)) if meta.node_id != config.node_id => {
            Err(LogError::Invalid("meta.properties names another node"))
        }
        Some(Ok(meta)) => Ok(meta.directory_id),
        Some(Err(_)) => Err(LogError::Invalid("meta.properties cannot be read")),
        None => {
            let directory_id = Uuid::from_u64_pair(entropy.next_u64(), entropy.next_u64());
            let meta = MetaProperties {
                cluster_id: config.cluster_id.clone(),
                node_id: config.node_id,
                directory_id,
            };
            file.write(meta.text(), disk, out).map_err(LogError::Disk)?;
            Ok(directory_id)
        }
    }
}

/// How the last process ended.
pub(super) fn last_stop(disk: &mut dyn Disk) -> Result<LastStop, DiskError> {
    let Some(content) = read_file(CLEAN_SHUTDOWN, disk)? else {
        return Ok(LastStop::Unclean);
    };
    let text = String::from_utf8_lossy(&content);
    let number = text
        .split("\"brokerEpoch\":")
        .nth(1)
        .map(|rest| rest.trim_end_matches('}').trim());
    let epoch = number
        .and_then(|number| number.parse::<i64>().ok())
        .filter(|epoch| *epoch >= 0);
    Ok(LastStop::Clean(epoch.map(BrokerEpoch)))
}

/// Writes the marker; the caller syncs the file, then the root directory.
pub(super) fn write_marker(epoch: Option<BrokerEpoch>, disk: &mut dyn Disk) -> Result<FileId, DiskError> {
    let epoch = epoch.map_or(-1, |epoch| epoch.0);
    let file = write_temporary(
        CLEAN_SHUTDOWN,
        &format!("{{\"version\":0,\"brokerEpoch\":{epoch}}}"),
        disk,
    )?;
    disk.rename(&temporary(CLEAN_SHUTDOWN), CLEAN_SHUTDOWN)?;
    Ok(file)
}
