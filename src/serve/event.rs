//! What reaches the task that owns the machine, in one channel, so that its order is the order of things.

use crate::connection;
use kafka::{DiskError, SyncTag};
use tokio::sync::oneshot;

/// One thing that happened.
#[derive(Debug)]
pub enum Event {
    /// On a connection.
    Connection(connection::Event),
    /// A sync has ended.
    Synced(SyncTag, Result<(), DiskError>),
    /// SIGTERM or SIGINT.
    Shutdown,
    /// Somebody asks for the metrics.
    Scrape(oneshot::Sender<String>),
}

impl From<connection::Event> for Event {
    fn from(event: connection::Event) -> Event {
        Event::Connection(event)
    }
}
