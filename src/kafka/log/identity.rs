//! What a log directory says of its node: `meta.properties` and the mark of a clean shutdown.
//!
//! Guarantees: a directory of another cluster or node is told apart before anything in it is touched. The mark says
//! that everything was durable when the process ended; it is believed once and removed before the first log is
//! opened, or a crash later would be taken for a clean stop (KAFKA-10471).
//!
//! Sources: Kafka's MetaProperties, PropertiesUtils, CleanShutdownFileHandler; KIP-78, KIP-631, KAFKA-10471.

use super::checkpoint::{read_file, write_temporary};
use crate::disk::{Disk, DiskError};
use crate::types::{NodeId, Uuid};

/// The file of a node's identity.
pub const META_PROPERTIES: &str = "meta.properties";
/// The mark of a clean shutdown.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// Whose directory it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: NodeId,
    /// `directory.id`: unique for ever (KIP-858).
    pub directory_id: Uuid,
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Kafka's text of an id: 22 characters of base64 for URLs.
pub fn id_text(id: Uuid) -> String {
    let bits = id.as_u128();
    // 21 characters of six bits; the last one has two, from the left.
    let full = (0..21).map(|at| bits >> (122 - 6 * at) & 63);
    let codes = full.chain([(bits & 3) << 4]);
    codes.map(|code| char::from(ALPHABET[code as usize])).collect()
}

/// The id of Kafka's text.
pub fn parse_id(text: &str) -> Option<Uuid> {
    let code = |byte: u8| ALPHABET.iter().position(|known| *known == byte).map(|at| at as u128);
    let (last, full) = text.as_bytes().split_last()?;
    if full.len() != 21 {
        return None;
    }
    let bits = full
        .iter()
        .try_fold(0u128, |bits, byte| Some(bits << 6 | code(*byte)?))?;
    let last = code(*last)?;
    (last & 15 == 0).then(|| Uuid::from_u128(bits << 2 | last >> 4))
}

impl MetaProperties {
    /// The file's text.
    pub fn text(&self) -> String {
        format!(
            "cluster.id={}\ndirectory.id={}\nnode.id={}\nversion=1\n",
            self.cluster_id,
            id_text(self.directory_id),
            self.node_id
        )
    }

    /// Reads the file's text; comments and unknown properties are skipped. The error is a fragment that fits after
    /// "failed to read meta.properties:".
    pub fn parse(text: &str) -> Result<MetaProperties, String> {
        let property = |name: &str| {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            let mut values = lines
                .filter_map(|line| line.split_once('='))
                .filter(|(key, _)| key.trim() == name);
            values
                .next()
                .map(|(_, value)| value.trim())
                .ok_or_else(|| format!("there is no property `{name}`"))
        };
        match property("version")? {
            "1" => {}
            version => return Err(format!("version `{version}` is not known")),
        }
        let node_id = property("node.id")?;
        let directory_id = property("directory.id")?;
        Ok(MetaProperties {
            cluster_id: property("cluster.id")?.to_string(),
            node_id: NodeId(node_id.parse().map_err(|_| format!("`{node_id}` is not a node id"))?),
            directory_id: parse_id(directory_id).ok_or_else(|| format!("`{directory_id}` is not a directory id"))?,
        })
    }

    /// Reads the file in `directory`; `None` if there is none.
    pub fn read(path: &str, disk: &mut dyn Disk) -> Result<Option<Result<MetaProperties, String>>, DiskError> {
        let content = read_file(path, disk)?;
        Ok(content.map(|content| {
            let text = std::str::from_utf8(&content).map_err(|_| "it is not text".to_string())?;
            MetaProperties::parse(text)
        }))
    }
}

/// Whether the stop before was clean. The mark stays: see [`remove_clean_shutdown`].
pub fn was_clean_shutdown(disk: &mut dyn Disk) -> bool {
    disk.exists(CLEAN_SHUTDOWN)
}

/// Removes the mark; nothing happens if there is none. The caller then syncs the root directory.
pub fn remove_clean_shutdown(disk: &mut dyn Disk) -> Result<(), DiskError> {
    if disk.exists(CLEAN_SHUTDOWN) {
        disk.remove(CLEAN_SHUTDOWN)
    } else {
        Ok(())
    }
}

/// Writes the mark, only after all logs and checkpoints are durable.
pub fn write_clean_shutdown(disk: &mut dyn Disk) -> Result<(), DiskError> {
    let file = write_temporary(CLEAN_SHUTDOWN, "{\"version\":0,\"brokerEpoch\":-1}", disk)?;
    disk.close(file);
    disk.rename(&super::checkpoint::temporary(CLEAN_SHUTDOWN), CLEAN_SHUTDOWN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::testing::MemDisk;

    #[test]
    fn ids_are_kafkas_base64() {
        // Kafka's Uuid.METADATA_TOPIC_ID and a value whose every bit matters.
        assert_eq!(id_text(Uuid::from_u128(1)), "AAAAAAAAAAAAAAAAAAAAAQ");
        for bits in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0011_2233_4455_6677] {
            assert_eq!(parse_id(&id_text(Uuid::from_u128(bits))), Some(Uuid::from_u128(bits)));
        }
        for bad in [
            "",
            "AAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAAAAAAAAAAAA+Q",
            "ééééééééééé",
        ] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn properties_come_back() {
        let properties = MetaProperties {
            cluster_id: "c1".into(),
            node_id: NodeId(3),
            directory_id: Uuid::from_u128(1),
        };
        let text = properties.text();
        assert_eq!(
            text,
            "cluster.id=c1\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\nnode.id=3\nversion=1\n"
        );
        assert_eq!(
            MetaProperties::parse(&format!("#Mon\n#\n{text}")),
            Ok(properties.clone())
        );
        for (without, part) in [
            ("version=1\n", "`version`"),
            ("node.id=3\n", "`node.id`"),
            ("cluster.id=c1\n", "`cluster.id`"),
        ] {
            assert!(
                MetaProperties::parse(&text.replace(without, ""))
                    .unwrap_err()
                    .contains(part)
            );
        }
        let mut disk = MemDisk::new();
        assert_eq!(MetaProperties::read(META_PROPERTIES, &mut disk), Ok(None));
        disk.put(META_PROPERTIES, text.as_bytes());
        assert_eq!(
            MetaProperties::read(META_PROPERTIES, &mut disk),
            Ok(Some(Ok(properties)))
        );
    }

    #[test]
    fn the_mark_comes_and_goes() {
        let mut disk = MemDisk::new();
        assert!(!was_clean_shutdown(&mut disk));
        remove_clean_shutdown(&mut disk).unwrap();
        write_clean_shutdown(&mut disk).unwrap();
        assert!(was_clean_shutdown(&mut disk));
        remove_clean_shutdown(&mut disk).unwrap();
        assert!(!was_clean_shutdown(&mut disk));
        assert_eq!(disk.paths(), Vec::<String>::new());
    }
}
