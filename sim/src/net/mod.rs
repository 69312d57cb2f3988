//! TCP between hosts, as programs notice it: byte streams that stall, break, and lie in buffers.
//!
//! Guarantees: bytes of a connection arrive in order, once, or not at all; nothing arrives over a cut link or at a host
//! without power; after a connection was closed, here or there, its name is never heard of again in this life of the
//! program. An undisturbed send is one entry of the queue and copies no byte.
//!
//! ```text
//!   connect:  Syn ──▶ SynAck ──▶ Connected, Hello ──▶ Accepted     (refused: Rst; no answer: SynRetry … ConnectTimeout)
//!   send:     Arrive ──▶ read                                      (lost: back to the buffer, Tick … Arrive | time-out)
//!   end:      Fin (after all data) | Rst (after what is under way) | silence (power loss, half-open)
//! ```
//!
//! Acknowledgements are not events: whether one could have come back is looked up when the data arrives. Congestion
//! control, window scaling and TIME_WAIT are left out: no program can tell.
//!
//! Sources: RFC 9293 (states, resets), RFC 6298 (back-off), tcp(7) (`tcp_retries2`, `tcp_syn_retries`).

mod ending;
mod fault;
mod flow;
mod handshake;

use crate::connection::{ConnId, Kernel, Segment, Slab};
use crate::due::{Due, NetDue, Ready};
use crate::fault::{NodeId, Refusal};
use crate::link::{Links, Nic};
use crate::program::ConnName;
use crate::queue::Queue;
use crate::random::{Stream, Streams};
use crate::world::WorldConfig;
use bytes::Bytes;

pub(crate) use ending::Ending;

/// The queue of the world.
pub(crate) type Agenda = Queue<Due>;

/// One host as the network sees it.
#[derive(Debug)]
pub(crate) struct Host {
    /// It has power.
    pub(crate) up: bool,
    /// The whole machine rests: its kernel answers nothing [C7].
    pub(crate) suspended: bool,
    /// A process accepts connections.
    pub(crate) listening: bool,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) stop_reading: bool,
    pub(crate) fragment: bool,
    pub(crate) nic: Nic,
    next_accepted: ConnName,
    /// Connections that the process knows, by name: few, and new names are mostly the largest.
    names: Vec<(ConnName, ConnId, u8)>,
    cutter: Stream,
}

impl Host {
    fn reachable(&self) -> bool {
        self.up && !self.suspended
    }
}

/// Bytes that have just reached the kernel of `node`.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) node: usize,
    pub(crate) conn: ConnId,
    pub(crate) half: u8,
    pub(crate) nth: u32,
    pub(crate) name: ConnName,
    pub(crate) from: NodeId,
    pub(crate) bytes: Bytes,
    /// The program may have them at once if it is free.
    pub(crate) direct: bool,
}

/// What a program reads.
#[derive(Debug)]
pub(crate) enum Read {
    Data {
        name: ConnName,
        from: NodeId,
        nth: u32,
        bytes: Bytes,
    },
    Closed {
        name: ConnName,
        from: NodeId,
        nth: u32,
        in_order: bool,
    },
    Nothing,
}

/// The network.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) links: Links,
    pub(crate) hosts: Vec<Host>,
    conns: Slab,
    /// What programs are to be told, in order; the world empties it after every call.
    pub(crate) ready: Vec<(NodeId, Ready)>,
    /// Where resets cut, and which connection goes half-open.
    chance: Stream,
    window: u64,
    blind_window: u64,
    connect_timeout: u64,
    retransmission_timeout: u64,
}

impl Net {
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = (NodeId, NodeId, bool, &bytes::Bytes)> {
        self.conns.in_flight()
    }

    pub(crate) fn new(names: Vec<String>, streams: &Streams, config: &WorldConfig) -> Net {
        let hosts = names
            .iter()
            .map(|name| Host {
                up: true,
                suspended: false,
                listening: false,
                refusal: None,
                stop_reading: false,
                fragment: false,
                nic: Nic::default(),
                next_accepted: 1,
                names: Vec::new(),
                cutter: streams.stream(&format!("fragment {name}")),
            })
            .collect();
        Net {
            links: Links::new(
                names,
                streams,
                config.latency_base_ns,
                config.latency_tail_ns,
                config.loopback_ns,
            ),
            hosts,
            conns: Slab::default(),
            ready: Vec::new(),
            chance: streams.stream("net"),
            window: config.window_bytes,
            blind_window: config.blind_window_bytes,
            connect_timeout: config.connect_timeout_ns,
            retransmission_timeout: config.retransmission_timeout_ns,
        }
    }

    /// Carries out one entry of the queue.
    #[inline]
    pub(crate) fn handle(&mut self, due: NetDue, now: u64, agenda: &mut Agenda) -> Option<Arrival> {
        match due {
            NetDue::Arrive { conn, half, nth } => return self.arrive(conn, half.into(), nth, false, now, agenda),
            NetDue::Entered { conn, half, nth } => return self.arrive(conn, half.into(), nth, true, now, agenda),
            NetDue::Syn { conn } => self.syn_arrives(conn, now, agenda),
            NetDue::SynAck { conn, nth } => self.syn_ack_arrives(conn, nth, now, agenda),
            NetDue::SynRetry { conn } => self.syn_again(conn, now, agenda),
            NetDue::ConnectTimeout { conn } => self.connect_timed_out(conn, now, agenda),
            NetDue::Rst { conn, end, nth } => self.rst_arrives(conn, end.into(), nth, now, agenda),
            NetDue::Tick { conn, half, stall } => self.tick(conn, half.into(), stall, now, agenda),
            NetDue::Window { conn, half } => self.window_opens(conn, half.into(), now, agenda),
            NetDue::Reread { conn, half } => self.reread(conn, half.into()),
        }
        None
    }

    /// The connection of a program's name, and which end of it the program has.
    #[inline]
    fn find(&self, node: usize, name: ConnName) -> Option<(ConnId, usize)> {
        let names = &self.hosts[node].names;
        let at = names.binary_search_by_key(&name, |entry| entry.0).ok()?;
        Some((names[at].1, usize::from(names[at].2)))
    }

    /// The program of `node` knows the connection from now on.
    fn name(&mut self, node: usize, name: ConnName, conn: ConnId, end: usize) {
        let names = &mut self.hosts[node].names;
        let at = names.partition_point(|entry| entry.0 < name);
        assert!(
            names.get(at).is_none_or(|entry| entry.0 != name),
            "connection {name} of node {node} exists already"
        );
        names.insert(at, (name, conn, end as u8));
    }

    fn unname(&mut self, node: usize, name: ConnName) {
        let names = &mut self.hosts[node].names;
        if let Ok(at) = names.binary_search_by_key(&name, |entry| entry.0) {
            names.remove(at);
        }
    }

    /// Name and peer of a connection at its `end`, if the program there knows it.
    pub(crate) fn visible(&self, id: ConnId, end: usize) -> Option<(ConnName, NodeId)> {
        let conn = self.conns.get(id)?;
        conn.ends[end]
            .visible
            .then(|| (conn.ends[end].name, conn.ends[1 - end].node))
    }

    /// The node at an `end` whose program knows the connection.
    pub(crate) fn visible_at(&self, id: ConnId, end: usize) -> Option<NodeId> {
        let side = self.conns.get(id)?.ends[end];
        side.visible.then_some(side.node)
    }

    /// What the next read of direction `half` would yield: the sender, the reader, the number, and whether it is data.
    pub(crate) fn peek(&self, id: ConnId, half: usize) -> Option<(NodeId, NodeId, u32, bool)> {
        let conn = self.conns.get(id)?;
        let (from, to) = (conn.ends[half].node, &conn.ends[1 - half]);
        let inbound = &conn.halves[half];
        if !to.visible {
            None
        } else if let Some(segment) = inbound.received.front() {
            self.can_read(id, half).then_some((from, to.node, segment.nth, true))
        } else {
            inbound.closed.map(|nth| (from, to.node, nth, false))
        }
    }

    /// What an entry of the queue will be to a program if nothing comes between.
    pub(crate) fn foresee(&self, id: ConnId, half: usize, nth: u32) -> Option<(NodeId, NodeId, &Segment)> {
        let conn = self.conns.get(id)?;
        if conn.ends[1 - half].kernel == Kernel::Gone {
            return None;
        }
        let segment = conn.halves[half].flight.iter().find(|segment| segment.nth == nth)?;
        Some((conn.ends[half].node, conn.ends[1 - half].node, segment))
    }

    /// How many connections some kernel or program knows.
    pub(crate) fn connections(&self) -> usize {
        self.conns.len()
    }

    /// Bytes that the kernel of a node holds for its program.
    #[cfg(test)]
    pub(crate) fn unread(&self, node: usize) -> u64 {
        let conns = self.conns.ids().into_iter().filter_map(|id| self.conns.get(id));
        conns
            .flat_map(|conn| (0..2).map(move |d| (conn.route(d).1, conn.halves[d].received_bytes)))
            .filter(|(to, _)| *to == node)
            .map(|(_, bytes)| bytes)
            .sum()
    }

    /// All streams, for a recording.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.links
            .streams()
            .chain(self.hosts.iter().map(|host| &host.cutter))
            .chain(std::iter::once(&self.chance))
    }
}
