//! Listeners: accepts connections, no more at a time than `max.connections`.

use super::event::Event;
use crate::connection::{self, Limits, Link};
use kafka::ConnId;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, mpsc};

/// Rest after a failed accept: the machine is out of something, and asking again at once would not help.
const REST: Duration = Duration::from_millis(100);

/// Connections that the operating system holds until they are accepted.
const BACKLOG: u32 = 1024;

/// A port that is taken, on which nobody listens yet: connections are refused.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<TcpSocket>,
}

/// Takes a port on every address that the name has; an empty name is every interface.
pub async fn bind(host: &str, port: u16) -> io::Result<Bound> {
    let host = if host.is_empty() { "::" } else { host };
    let mut sockets = Vec::new();
    for address in tokio::net::lookup_host((host, port)).await? {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // Without it a restart would wait for the connections of the process before.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        sockets.push(socket);
    }
    Ok(Bound { sockets })
}

impl Bound {
    /// Connections are taken from now on.
    pub fn listen(self) -> io::Result<Vec<TcpListener>> {
        self.sockets.into_iter().map(|socket| socket.listen(BACKLOG)).collect()
    }
}

/// What all listeners of a process share.
#[derive(Debug)]
pub struct Acceptor {
    limits: Arc<Limits>,
    places: Arc<Semaphore>,
    /// Accepted connections have odd numbers.
    next_conn: AtomicU64,
    events: mpsc::UnboundedSender<Event>,
}

impl Acceptor {
    /// For at most so many connections at a time.
    pub fn new(limits: Arc<Limits>, max_connections: usize, events: mpsc::UnboundedSender<Event>) -> Acceptor {
        Acceptor {
            limits,
            places: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            next_conn: AtomicU64::new(1),
            events,
        }
    }

    /// Listens, and accepts for ever.
    pub fn start(self: &Arc<Self>, bound: Bound) -> io::Result<()> {
        for listener in bound.listen()? {
            tokio::spawn(Arc::clone(self).accept(listener));
        }
        Ok(())
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            // Whoever is one too many waits in the listener's backlog, as with Kafka.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                return;
            };
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            let conn = ConnId(self.next_conn.fetch_add(2, Relaxed));
            let (link, end) = Link::new();
            if self
                .events
                .send(connection::Event::Accepted(conn, link).into())
                .is_err()
            {
                return;
            }
            let acceptor = Arc::clone(&self);
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let (reader, writer) = stream.into_split();
                let ended = connection::drive(conn, reader, writer, end, &acceptor.limits, &acceptor.events).await;
                say_end(peer, ended);
                drop(place);
            });
        }
    }
}

/// Bytes that are no frames are worth a line; that peers come and go is not.
fn say_end(peer: SocketAddr, ended: io::Result<()>) {
    match ended {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!("closed the connection of {peer}: {error}");
        }
        Err(error) => tracing::debug!("connection of {peer} ended: {error}"),
        Ok(()) => tracing::debug!("connection of {peer} ended"),
    }
}
