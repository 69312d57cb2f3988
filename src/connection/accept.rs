//! Accepting: no more connections at a time than there are places.
//!
//! Guarantees: whoever is one too many waits where connections come from, as with Kafka, until another one ends; the
//! machine hears of a connection before it hears anything on it.
//!
//! Sources: Kafka's SocketServer (`max.connections`).

use super::{Event, Link, LinkEnd};
use kafka::ConnId;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Where connections come from.
pub trait Backlog {
    /// What a connection is made of.
    type Stream;
    /// The next connection, with its name. What goes wrong with one is no reason not to wait for another.
    fn next(&mut self) -> impl Future<Output = (ConnId, Self::Stream)>;
}

/// A connection that has a place.
#[derive(Debug)]
pub struct Accepted<S> {
    /// Its name.
    pub conn: ConnId,
    /// Its byte streams.
    pub stream: S,
    /// To drive it by.
    pub end: LinkEnd,
    /// To be dropped when it has ended.
    pub place: OwnedSemaphorePermit,
}

/// Places for so many connections at a time.
pub fn places(max_connections: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)))
}

/// Waits for a place, then for a connection. `None` once nobody listens any more.
pub async fn accept<B: Backlog, E: From<Event>>(
    backlog: &mut B,
    places: &Arc<Semaphore>,
    events: &mpsc::UnboundedSender<E>,
) -> Option<Accepted<B::Stream>> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    let (conn, stream) = backlog.next().await;
    let (link, end) = Link::new();
    events.send(Event::Accepted(conn, link).into()).ok()?;
    Some(Accepted {
        conn,
        stream,
        end,
        place,
    })
}
