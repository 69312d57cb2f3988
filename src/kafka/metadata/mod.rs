//! The cluster's metadata: records in Kafka's own layout, and the image that they add up to.
//!
//! Guarantees: records and image are plain values; equal logs give equal images and equal digests on every node.
//! Deliberately does not know: who decides (the controller) and what is committed (the quorum).
//!
//! Sources: KIP-631, KIP-966.

mod codec;
mod digest;
mod image;
mod record;

pub use image::{BrokerRegistration, MetadataDelta, MetadataImage, Topic, merge};
pub use record::{Reassignment, Record, RecordError};
