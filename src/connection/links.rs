//! All connections as whoever runs the machine has them: what they say becomes inputs, what the machine says goes out.
//!
//! Guarantees: of a connection that the machine has let go of, or that is over, no input follows; a connection goes on
//! reading once the machine has taken what it was given.
//!
//! Deliberately unknown: what drives a connection, and the machine but for how much it has left unread.

use super::gate::Gate;
use super::{Event, Link};
use bytes::Bytes;
use kafka::{ConnId, Input};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What a peer has to read the last answers before its connection is closed: [`Gate::give_up`] is due then.
pub const LINGER: Duration = Duration::from_secs(10);

/// The machine's ends of all connections.
#[derive(Debug, Default)]
pub struct Links {
    links: BTreeMap<ConnId, Link>,
    /// Connections whose last frame the machine has not taken yet.
    waiting: BTreeSet<ConnId>,
}

impl Links {
    /// The machine has asked for this connection, which is being made.
    pub fn connecting(&mut self, conn: ConnId, link: Link) {
        self.links.insert(conn, link);
    }

    /// What the machine is told; nothing of a connection that it has let go of.
    pub fn input(&mut self, event: Event) -> Option<Input> {
        match event {
            Event::Accepted(conn, link) => {
                self.links.insert(conn, link);
                Some(Input::Accepted { conn })
            }
            Event::Connected(conn) => self.is_open(conn).then_some(Input::Connected { conn }),
            Event::Received(conn, bytes) => self.is_open(conn).then(|| {
                self.waiting.insert(conn);
                Input::Received { conn, bytes }
            }),
            Event::Closed(conn) => {
                self.waiting.remove(&conn);
                self.links.remove(&conn).map(|_| Input::Closed { conn })
            }
        }
    }

    /// Whether the machine has it.
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.links.contains_key(&conn)
    }

    /// Queues a frame; dropped silently if the connection is gone.
    pub fn send(&self, conn: ConnId, frame: Bytes) {
        if let Some(link) = self.links.get(&conn) {
            link.send(frame);
        }
    }

    /// The machine wants no more of it, or wants more again.
    pub fn pause(&self, conn: ConnId, paused: bool) {
        if let Some(link) = self.links.get(&conn) {
            link.gate.pause(paused);
        }
    }

    /// The machine lets go of it: it ends after what was sent, or when it is given up, which is due after [`LINGER`].
    pub fn close(&mut self, conn: ConnId) -> Option<Arc<Gate>> {
        self.waiting.remove(&conn);
        self.links.remove(&conn).map(|link| link.gate)
    }

    /// Lets connections go on whose frames the machine has taken; `unread_bytes` says what it has left of one.
    pub fn open_gates(&mut self, mut unread_bytes: impl FnMut(ConnId) -> usize) {
        let links = &self.links;
        self.waiting.retain(|conn| {
            let waits = unread_bytes(*conn) > 0;
            if let Some(link) = links.get(conn).filter(|_| !waits) {
                link.gate.taken();
            }
            waits
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_of_a_connection_that_was_let_go_of() {
        let (link, _end) = Link::new();
        let mut links = Links::default();
        let conn = ConnId(1);
        assert!(links.input(Event::Accepted(conn, link)).is_some());
        assert!(links.input(Event::Received(conn, Bytes::new())).is_some());
        assert!(links.close(conn).is_some());
        assert!(links.input(Event::Received(conn, Bytes::new())).is_none());
        assert!(links.input(Event::Closed(conn)).is_none());
        links.open_gates(|_| panic!("it waits for nothing"));
        assert!(links.close(conn).is_none());
    }

    #[test]
    fn a_connection_waits_until_its_frame_is_taken() {
        let (link, end) = Link::new();
        let mut links = Links::default();
        let conn = ConnId(1);
        links.input(Event::Accepted(conn, link));
        end.gate.hand_over();
        links.input(Event::Received(conn, Bytes::new()));
        links.open_gates(|_| 1);
        assert!(end.gate.is_waiting());
        links.open_gates(|_| 0);
        assert!(!end.gate.is_waiting());
    }
}
