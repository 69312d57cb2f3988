//! The specification: written from the published protocol texts, never from our code.
//!
//! [`check`] visits every state of a specification within bounds; [`kip`] holds the published specifications of Kafka's
//! replication, revision by revision; [`replication`] is the protocol of one partition with what they leave out, [`quorum`]
//! that of the metadata log; [`catalogue`] names them for scenario files.

pub mod catalogue;
pub mod check;
pub mod kip;
pub mod quorum;
pub mod replication;

/// Bounds of an exhaustive search over the replication protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Number of replicas, at least 1.
    pub replicas: u8,
    /// Records a log may hold, at least 1.
    pub log_size: u8,
    /// Distinct records, at least 1.
    pub records: u8,
    /// Largest leader epoch, at least 1.
    pub leader_epochs: u8,
}

impl Bounds {
    /// The bounds, or which of them cannot be and why.
    pub fn new(replicas: u8, log_size: u8, records: u8, leader_epochs: u8) -> Result<Bounds, String> {
        for (name, value, most) in [
            ("replicas", replicas, 5),
            ("log_size", log_size, 8),
            ("records", records, 8),
            ("leader_epochs", leader_epochs, 8),
        ] {
            if !(1..=most).contains(&value) {
                return Err(format!("`{name}` must be between 1 and {most}, not {value}"));
            }
        }
        Ok(Bounds {
            replicas,
            log_size,
            records,
            leader_epochs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Bounds;

    #[test]
    fn bounds_that_cannot_be_searched_are_refused_by_name() {
        assert!(Bounds::new(3, 2, 2, 2).is_ok());
        assert_eq!(
            Bounds::new(3, 0, 2, 2),
            Err("`log_size` must be between 1 and 8, not 0".to_owned())
        );
        assert!(Bounds::new(6, 2, 2, 2).is_err());
    }
}
