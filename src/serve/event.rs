//! What reaches the task that owns the machine, in one channel, so that its order is the order of things.

use crate::connection::Link;
use bytes::Bytes;
use kafka::{ConnId, DiskError, SyncTag};
use tokio::sync::oneshot;

/// One thing that happened.
#[derive(Debug)]
pub enum Event {
    /// A peer connected to a listener.
    Accepted(ConnId, Link),
    /// A connection of ours is made.
    Connected(ConnId),
    /// A whole frame, its length included.
    Received(ConnId, Bytes),
    /// Nothing of this connection follows.
    Closed(ConnId),
    /// A sync has ended.
    Synced(SyncTag, Result<(), DiskError>),
    /// SIGTERM or SIGINT.
    Shutdown,
    /// Somebody asks for the metrics.
    Scrape(oneshot::Sender<String>),
}
