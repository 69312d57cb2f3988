//! The subject: a Kafka-compatible broker and its clients as synchronous state machines.
//!
//! Guarantees: no thread, socket, timer, clock or random source in here; the same inputs give the same outputs,
//! notes and bytes on disk. `highwater serve` and the simulated world drive the very same code.

pub mod broker;
mod caption;
pub mod client;
pub mod config;
pub mod controller;
pub mod coordinator;
pub mod disk;
pub mod log;
pub mod machine;
pub mod metadata;
pub mod note;
pub mod quorum;
pub mod replication;
pub mod rules;
pub mod text;
pub mod types;
pub mod wire;

pub use disk::{Disk, DiskError, FileId, SyncTarget};
pub use machine::{Call, CallFailed, CallResult, Channel, Entropy, Input, Outbox, Output, SyncOwner, SyncTag};
pub use note::{ClientNote, Note, PartitionState};
pub use types::*;
