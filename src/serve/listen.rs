//! Listeners: accepts connections, no more at a time than `max.connections`.

use super::event::Event;
use crate::connection::accept::{self, Accepted, Backlog};
use crate::connection::{self, Limits};
use kafka::ConnId;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
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
    next_conn: Arc<AtomicU64>,
    events: mpsc::UnboundedSender<Event>,
}

impl Acceptor {
    /// For at most so many connections at a time.
    pub fn new(limits: Arc<Limits>, max_connections: usize, events: mpsc::UnboundedSender<Event>) -> Acceptor {
        Acceptor {
            limits,
            places: accept::places(max_connections),
            next_conn: Arc::new(AtomicU64::new(1)),
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
        let mut sockets = Sockets {
            listener,
            next_conn: Arc::clone(&self.next_conn),
        };
        while let Some(accepted) = accept::accept(&mut sockets, &self.places, &self.events).await {
            let Accepted {
                conn,
                stream: (stream, peer),
                end,
                place,
            } = accepted;
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

/// The operating system's backlog of one listener.
struct Sockets {
    listener: TcpListener,
    next_conn: Arc<AtomicU64>,
}

impl Backlog for Sockets {
    type Stream = (TcpStream, SocketAddr);

    async fn next(&mut self) -> (ConnId, Self::Stream) {
        loop {
            match self.listener.accept().await {
                Ok(stream) => return (ConnId(self.next_conn.fetch_add(2, Relaxed)), stream),
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(REST).await;
                }
            }
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
