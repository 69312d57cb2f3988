//! Replication: replicas that lead and follow, the in-sync set, the high watermark, and the requests that touch them.
//!
//! ```text
//!   manager     all replicas; metadata          produce, fetch, offsets, delete_records   requests
//!   partition   one replica, its high watermark purgatory                                 what waits
//!   progress    a follower in its leader's eyes fetcher, truncation, epochs               copying a leader
//!   isr, alter  who is in sync; AlterPartition  checkpoints, identity, deadlines          disk and clock
//! ```
//!
//! A synchronous machine: requests, responses, completed syncs and deadlines in; answers, calls, syncs and notes out.
//! It speaks to the controller through AlterPartition and metadata only.

mod alter;
mod checkpoints;
mod cluster;
mod codes;
mod deadlines;
mod delete_records;
mod epochs;
mod fetch;
mod fetcher;
mod identity;
mod isr;
mod manager;
mod offsets;
mod partition;
mod produce;
mod progress;
mod purgatory;
mod sessions;
#[cfg(test)]
mod tests;
mod truncation;

pub use alter::FIRST_ALTER_TAG;
pub use identity::FIRST_SYNC_SEQ;
pub use isr::Proposal;
pub use manager::ReplicaManager;
pub use partition::{Leadership, Partition, Role};
pub use progress::FollowerProgress;
