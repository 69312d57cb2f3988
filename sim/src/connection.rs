//! A connection as the two kernels see it: two ends, two byte streams, and where each byte of them is.
//!
//! ```text
//!   program ── send ──▶ buffer ──▶ flight ──▶ received ── read ──▶ program
//!                       sender      wire      receiver
//!                         ▲           │
//!                         └── lost ───┘   (the link was cut: sent again after a time-out)
//! ```
//!
//! Plain data and its bookkeeping; what moves it is `net`. Invariant: `flight_bytes` and `received_bytes` are the sums of
//! what their queues hold.

use crate::fault::NodeId;
use crate::program::ConnName;
use bytes::Bytes;
use std::collections::VecDeque;

/// A connection: a slot of the slab and the use of that slot that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// What a segment carries.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Data(Bytes),
    /// The last step of the handshake: the acceptor's program may know.
    Hello,
    /// Nothing follows.
    Fin,
}

impl Payload {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Payload::Data(bytes) => bytes.len() as u64,
            Payload::Hello | Payload::Fin => 0,
        }
    }
}

/// Something on its way, or received and not read.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// Unique on its link.
    pub(crate) nth: u32,
    pub(crate) payload: Payload,
}

/// The sender has no acknowledgement and tries again, later and later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stall {
    /// Which one: ticks of earlier ones are void.
    pub(crate) id: u32,
    /// When it began.
    pub(crate) since: u64,
    pub(crate) tries: u32,
}

/// One direction: from end `d` to end `1 - d`.
#[derive(Debug, Default)]
pub(crate) struct Half {
    pub(crate) flight: VecDeque<Segment>,
    pub(crate) flight_bytes: u64,
    /// How many at the head of the flight wait in the receiver's NIC.
    pub(crate) entering: usize,
    pub(crate) buffer: VecDeque<Payload>,
    /// No later segment arrives before this.
    pub(crate) floor: u64,
    pub(crate) stall: Option<Stall>,
    pub(crate) stalls: u32,
    /// Bytes (a FIN is one) that arrived while their acknowledgement could not.
    pub(crate) unacked: u64,
    /// The window was full when there was more to send.
    pub(crate) blocked: bool,
    /// News of the window is under way.
    pub(crate) window_update: bool,
    /// The sending program waits for room.
    pub(crate) room_awaited: bool,

    pub(crate) received: VecDeque<Segment>,
    pub(crate) received_bytes: u64,
    /// Nothing follows; the number under which the reader will learn of it.
    pub(crate) closed: Option<u32>,
    /// The sender closed it, after all that it sent.
    pub(crate) in_order: bool,
    /// The reader's node knows that there is something to read.
    pub(crate) announced: bool,
    /// The rest of a cut segment waits for company [N11].
    pub(crate) held: bool,
}

impl Half {
    /// Bytes that fill the receiver's window.
    pub(crate) fn outstanding(&self) -> u64 {
        self.flight_bytes + self.received_bytes
    }
    /// Bytes that have not left the sender's kernel.
    pub(crate) fn buffered(&self) -> u64 {
        self.buffer.iter().map(Payload::len).sum()
    }
    /// Forgets what has not arrived.
    pub(crate) fn drop_unsent(&mut self) {
        self.buffer.clear();
        self.stall = None;
        self.unacked = 0;
        self.blocked = false;
    }
    /// Everything under way goes back to the head of the buffer, in order.
    pub(crate) fn take_back(&mut self) {
        while let Some(segment) = self.flight.pop_back() {
            self.buffer.push_front(segment.payload);
        }
        self.flight_bytes = 0;
        self.entering = 0;
    }
    fn clear(&mut self) {
        self.flight.clear();
        self.received.clear();
        self.buffer.clear();
        // The queues keep their memory for the next use of the slot.
        *self = Half {
            flight: std::mem::take(&mut self.flight),
            received: std::mem::take(&mut self.received),
            buffer: std::mem::take(&mut self.buffer),
            ..Half::default()
        };
    }
}

/// What the kernel of one end holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    Open,
    /// Closed by the program or left by its exit; what was sent is still being delivered.
    Lingering,
    /// No such connection.
    Gone,
}

/// One end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) node: NodeId,
    pub(crate) name: ConnName,
    pub(crate) kernel: Kernel,
    /// The program knows it and has not let go.
    pub(crate) visible: bool,
    pub(crate) reading: bool,
}

impl End {
    fn new(node: NodeId, name: ConnName, kernel: Kernel, visible: bool) -> End {
        End {
            node,
            name,
            kernel,
            visible,
            reading: true,
        }
    }
}

/// A connection. End 0 connected, end 1 accepted.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) generation: u32,
    pub(crate) ends: [End; 2],
    pub(crate) halves: [Half; 2],
    /// The handshake is done as far as end 0 knows.
    pub(crate) established: bool,
    /// Nothing passes any more and nobody is told [N14].
    pub(crate) dead: bool,
    /// Resets are on their way to both ends; what is sent is lost [N13].
    pub(crate) severed: bool,
    /// When the first SYN left.
    pub(crate) since: u64,
    pub(crate) syns: u32,
}

impl Conn {
    /// Neither kernel nor program of either end knows it. An end 1 that waits for the rest of its handshake gives up
    /// when that can no longer come.
    fn is_over(&self) -> bool {
        let [one, two] = &self.ends;
        let waiting = two.kernel == Kernel::Open && !self.halves[0].flight.is_empty();
        one.kernel == Kernel::Gone && !one.visible && !two.visible && two.kernel != Kernel::Lingering && !waiting
    }
    /// The nodes that send and receive in direction `d`.
    pub(crate) fn route(&self, d: usize) -> (usize, usize) {
        (usize::from(self.ends[d].node.0), usize::from(self.ends[1 - d].node.0))
    }
}

/// All connections of the world.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    conns: Vec<Conn>,
    free: Vec<u32>,
}

impl Slab {
    /// A connection that `from` begins under this name.
    pub(crate) fn insert(&mut self, from: NodeId, name: ConnName, to: NodeId, now: u64) -> ConnId {
        let ends = [
            End::new(from, name, Kernel::Open, true),
            End::new(to, 0, Kernel::Gone, false),
        ];
        if let Some(slot) = self.free.pop() {
            let conn = &mut self.conns[slot as usize];
            conn.ends = ends;
            (conn.established, conn.dead, conn.severed) = (false, false, false);
            (conn.since, conn.syns) = (now, 0);
            return ConnId {
                slot,
                generation: conn.generation,
            };
        }
        self.conns.push(Conn {
            generation: 0,
            ends,
            halves: Default::default(),
            established: false,
            dead: false,
            severed: false,
            since: now,
            syns: 0,
        });
        ConnId {
            slot: (self.conns.len() - 1) as u32,
            generation: 0,
        }
    }
    /// The connection, if this use of its slot has not ended.
    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns
            .get_mut(id.slot as usize)
            .filter(|conn| conn.generation == id.generation)
    }
    /// The same, to look at.
    pub(crate) fn get(&self, id: ConnId) -> Option<&Conn> {
        self.conns
            .get(id.slot as usize)
            .filter(|conn| conn.generation == id.generation)
    }
    /// Everything under way: from, to, whether from the end that connected, the bytes.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = (NodeId, NodeId, bool, &bytes::Bytes)> {
        self.conns.iter().flat_map(|conn| {
            (0..2).flat_map(move |d| {
                conn.halves[d]
                    .flight
                    .iter()
                    .filter_map(move |segment| match &segment.payload {
                        Payload::Data(bytes) => Some((conn.ends[d].node, conn.ends[1 - d].node, d == 0, bytes)),
                        _ => None,
                    })
            })
        })
    }
    /// Ids of all in use, by slot.
    pub(crate) fn ids(&self) -> Vec<ConnId> {
        self.conns
            .iter()
            .enumerate()
            .filter(|(_, conn)| !conn.is_over())
            .map(|(slot, conn)| ConnId {
                slot: slot as u32,
                generation: conn.generation,
            })
            .collect()
    }
    /// How many are in use.
    pub(crate) fn len(&self) -> usize {
        self.conns.len() - self.free.len()
    }
    /// Ends the use of a slot once neither kernel nor program of either end knows the connection.
    pub(crate) fn free_if_over(&mut self, id: ConnId) {
        let Some(conn) = self.get_mut(id) else { return };
        if !conn.is_over() {
            return;
        }
        conn.generation = conn.generation.wrapping_add(1);
        conn.halves.iter_mut().for_each(Half::clear);
        self.free.push(id.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_an_earlier_use_of_a_slot_is_void() {
        let mut slab = Slab::default();
        let old = slab.insert(NodeId(0), 2, NodeId(1), 0);
        slab.free_if_over(old);
        assert!(slab.get(old).is_some(), "in use");
        let end = &mut slab.get_mut(old).expect("in use").ends[0];
        (end.kernel, end.visible) = (Kernel::Gone, false);
        slab.free_if_over(old);
        assert!(slab.get(old).is_none());
        let new = slab.insert(NodeId(0), 4, NodeId(1), 0);
        assert_eq!((old.slot, slab.len()), (new.slot, 1));
        assert!(slab.get(old).is_none() && slab.get(new).is_some());
    }

    #[test]
    fn what_was_under_way_goes_back_before_what_was_not_sent() {
        let mut half = Half::default();
        for (nth, text) in [(1, "a"), (2, "b")] {
            half.flight.push_back(Segment {
                nth,
                payload: Payload::Data(Bytes::from_static(text.as_bytes())),
            });
        }
        half.flight_bytes = 2;
        half.buffer.push_back(Payload::Fin);
        half.take_back();
        let texts: Vec<u64> = half.buffer.iter().map(Payload::len).collect();
        assert_eq!((texts, half.outstanding()), (vec![1, 1, 0], 0));
        assert!(matches!(&half.buffer[0], Payload::Data(bytes) if bytes == "a"));
    }
}
