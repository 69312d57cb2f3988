//! How connections end: FIN, reset, time-out, or silence.

use super::{Agenda, Net};
use crate::connection::{ConnId, Kernel, Payload};
use crate::due::{Due, NetDue};
use crate::program::ConnName;

/// How often a severed connection of a suspended host is looked at.
const RST_AGAIN_NS: u64 = 1_000_000_000;

/// How a process ended, as its connections notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It closed everything in order: what was sent arrives, then the end.
    Clean,
    /// Killed or crashed: peers get a reset after what is under way [P1].
    Killed,
    /// The host lost power: peers hear nothing [P2, N14].
    PowerLost,
}

impl Net {
    /// The program of `node` closes a connection at time `at`: what it sent arrives first.
    pub(crate) fn close(&mut self, node: usize, name: ConnName, at: u64, agenda: &mut Agenda) {
        let Some((id, end)) = self.find(node, name) else { return };
        self.close_end(id, end, at, agenda);
    }

    fn close_end(&mut self, id: ConnId, end: usize, at: u64, agenda: &mut Agenda) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.ends[end].kernel == Kernel::Open && conn.established && !conn.severed {
            let waits = conn.halves[end].stall.is_some() && !conn.halves[end].buffer.is_empty();
            conn.halves[end].buffer.push_back(Payload::Fin);
            conn.ends[end].kernel = Kernel::Lingering;
            if !waits {
                self.flush(id, end, at, agenda);
            }
        }
        self.let_go(id, end);
        self.conns.free_if_over(id);
    }

    /// The program at `end` hears of the connection no more; its kernel only finishes what it was asked to send.
    pub(super) fn let_go(&mut self, id: ConnId, end: usize) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let inbound = &mut conn.halves[1 - end];
        inbound.received.clear();
        inbound.received_bytes = 0;
        let side = &mut conn.ends[end];
        let was_visible = std::mem::take(&mut side.visible);
        let (node, name) = (usize::from(side.node.0), side.name);
        if side.kernel == Kernel::Open {
            side.kernel = Kernel::Gone;
            conn.halves[end].drop_unsent();
            if end == 0 && !conn.established {
                // The other kernel may have answered the SYN, but no program there knows.
                conn.ends[1 - end].kernel = Kernel::Gone;
            }
        }
        if was_visible {
            self.unname(node, name);
        }
    }

    /// The connection is over at `end`; its program learns of it under this number.
    pub(super) fn end_gone(&mut self, id: ConnId, end: usize, nth: u32) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let side = &mut conn.ends[end];
        side.kernel = Kernel::Gone;
        let (visible, reading) = (side.visible, side.reading);
        conn.halves[end].drop_unsent();
        let inbound = &mut conn.halves[1 - end];
        inbound.closed.get_or_insert(nth);
        if !reading {
            // A program that does not read is told of a reset all the same, and can read nothing after it.
            inbound.received.clear();
            inbound.received_bytes = 0;
        }
        if visible {
            self.announce(id, 1 - end);
        } else {
            self.conns.free_if_over(id);
        }
    }

    /// A reset leaves for `end`; it comes after what is under way to there.
    pub(super) fn send_rst(&mut self, id: ConnId, end: usize, now: u64, agenda: &mut Agenda) {
        let Some(conn) = self.conns.get(id) else { return };
        let (from, to) = conn.route(1 - end);
        let floor = conn.halves[1 - end].floor;
        let nth = self.links.get_mut(from, to).next_control();
        let arrival = (now + self.links.delay(from, to)).max(floor);
        let end = end as u8;
        agenda.push(arrival, Due::Net(NetDue::Rst { conn: id, end, nth }));
    }

    pub(super) fn rst_arrives(&mut self, id: ConnId, end: usize, nth: u32, now: u64, agenda: &mut Agenda) {
        let Some(conn) = self.conns.get(id) else { return };
        let (from, to) = conn.route(1 - end);
        if conn.ends[end].kernel == Kernel::Gone {
            return;
        }
        if conn.severed {
            // Both ends of a severed connection hear of it, whatever else is cut, a suspended one when it is back.
            if self.hosts[to].suspended {
                let end = end as u8;
                agenda.push(now + RST_AGAIN_NS, Due::Net(NetDue::Rst { conn: id, end, nth }));
                return;
            }
        } else if conn.dead || self.links.is_cut(from, to) || !self.hosts[to].reachable() {
            if !conn.established {
                // Still without an answer to its SYN.
                self.handshake_lost(id, now, agenda);
            }
            return;
        }
        self.end_gone(id, end, nth);
    }

    pub(super) fn fin_arrives(&mut self, id: ConnId, d: usize, nth: u32) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let inbound = &mut conn.halves[d];
        inbound.in_order = inbound.closed.is_none();
        inbound.closed.get_or_insert(nth);
        // The sender's kernel was waiting for nothing else.
        conn.ends[d].kernel = Kernel::Gone;
        conn.halves[d].drop_unsent();
        self.announce(id, d);
        self.conns.free_if_over(id);
    }

    /// A segment of direction `d` reached a host that knows no such connection (any more).
    pub(super) fn unknown(&mut self, id: ConnId, d: usize, payload: &Payload, now: u64, agenda: &mut Agenda) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        match conn.ends[d].kernel {
            Kernel::Gone => {}
            Kernel::Lingering if matches!(payload, Payload::Fin) => {
                conn.ends[d].kernel = Kernel::Gone;
                self.conns.free_if_over(id);
            }
            Kernel::Open | Kernel::Lingering => self.send_rst(id, d, now, agenda),
        }
    }

    /// The process of `node` is gone.
    pub(crate) fn process_gone(&mut self, node: usize, ending: Ending, now: u64, agenda: &mut Agenda) {
        self.hosts[node].listening = false;
        if ending == Ending::PowerLost {
            self.hosts[node].up = false;
            self.hosts[node].suspended = false;
        }
        for id in self.conns.ids() {
            for end in 0..2 {
                let Some(conn) = self.conns.get_mut(id) else { break };
                let side = conn.ends[end];
                if usize::from(side.node.0) == node {
                    self.leave(id, end, ending, now, agenda);
                }
            }
        }
        assert!(
            self.hosts[node].names.is_empty(),
            "no name of a process outlives it: {:?}",
            self.hosts[node].names
        );
    }

    fn leave(&mut self, id: ConnId, end: usize, ending: Ending, now: u64, agenda: &mut Agenda) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        // An end 0 that still waits for its handshake hears of the acceptor's death; nobody hears of its own.
        let heard = !conn.severed && (conn.established || end == 1);
        match (ending, conn.ends[end].kernel) {
            (Ending::Clean, Kernel::Open) if conn.established => return self.close_end(id, end, now, agenda),
            (Ending::Clean | Ending::Killed, Kernel::Open) if heard => {
                conn.ends[end].kernel = Kernel::Gone;
                conn.halves[end].drop_unsent();
                self.send_rst(id, 1 - end, now, agenda);
            }
            // A lingering kernel goes on by itself when only its process is gone.
            (Ending::PowerLost, Kernel::Lingering) => {
                conn.ends[end].kernel = Kernel::Gone;
                conn.halves[end].drop_unsent();
            }
            _ => {}
        }
        self.let_go(id, end);
        self.conns.free_if_over(id);
    }
}
