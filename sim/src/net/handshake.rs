//! How connections begin: three segments, a round trip and a half, and the ways it can fail [N15].

use super::{Agenda, Net};
use crate::connection::{ConnId, Kernel, Payload};
use crate::due::{Due, NetDue, Ready};
use crate::fault::{NodeId, Refusal};
use crate::program::ConnName;

/// First wait for the answer to a SYN; it doubles. Linux's.
const SYN_RETRY_NS: u64 = 1_000_000_000;

impl Net {
    /// The program of `node` opens a connection at time `at`.
    pub(crate) fn connect(&mut self, node: usize, name: ConnName, to: NodeId, at: u64, agenda: &mut Agenda) {
        assert!(name.is_multiple_of(2), "own connects have even names, not {name}");
        let id = self.conns.insert(NodeId(node as u16), name, to, at);
        self.name(node, name, id, 0);
        if usize::from(to.0) >= self.hosts.len() {
            // Nobody has that address.
            agenda.push(at + self.connect_timeout, Due::Net(NetDue::ConnectTimeout { conn: id }));
        } else {
            self.send_syn(id, at, agenda);
        }
    }

    fn send_syn(&mut self, id: ConnId, at: u64, agenda: &mut Agenda) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.syns += 1;
        let (from, to) = conn.route(0);
        let arrival = at + self.links.delay(from, to);
        agenda.push(arrival, Due::Net(NetDue::Syn { conn: id }));
    }

    /// SYN or its answer was lost.
    pub(super) fn handshake_lost(&mut self, id: ConnId, now: u64, agenda: &mut Agenda) {
        let Some(conn) = self.conns.get(id) else { return };
        let deadline = conn.since + self.connect_timeout;
        let retry = now + (SYN_RETRY_NS << (conn.syns - 1).min(8));
        if retry < deadline {
            agenda.push(retry, Due::Net(NetDue::SynRetry { conn: id }));
        } else {
            agenda.push(deadline.max(now), Due::Net(NetDue::ConnectTimeout { conn: id }));
        }
    }

    /// Whether end 0 still waits for its connect.
    fn connecting(&self, id: ConnId) -> bool {
        self.conns
            .get(id)
            .is_some_and(|conn| !conn.established && conn.ends[0].kernel == Kernel::Open)
    }

    pub(super) fn syn_arrives(&mut self, id: ConnId, now: u64, agenda: &mut Agenda) {
        if !self.connecting(id) {
            return;
        }
        let Some(conn) = self.conns.get_mut(id) else { return };
        let (from, to) = conn.route(0);
        let host = &self.hosts[to];
        if self.links.is_cut(from, to) || !host.reachable() || host.refusal == Some(Refusal::BlackHoled) {
            return self.handshake_lost(id, now, agenda);
        }
        if !host.listening || host.refusal == Some(Refusal::Refused) {
            return self.send_rst(id, 0, now, agenda);
        }
        conn.ends[1].kernel = Kernel::Open;
        let nth = self.links.get_mut(to, from).next_control();
        let arrival = now + self.links.delay(to, from);
        agenda.push(arrival, Due::Net(NetDue::SynAck { conn: id, nth }));
    }

    pub(super) fn syn_ack_arrives(&mut self, id: ConnId, nth: u32, now: u64, agenda: &mut Agenda) {
        if !self.connecting(id) {
            return;
        }
        let Some(conn) = self.conns.get_mut(id) else { return };
        let (from, to) = conn.route(0);
        if self.links.is_cut(to, from) || !self.hosts[from].reachable() {
            return self.handshake_lost(id, now, agenda);
        }
        if conn.ends[1].kernel == Kernel::Gone {
            // The acceptor died after it answered: what follows meets a reset, or silence.
            return if self.hosts[to].reachable() {
                self.send_rst(id, 0, now, agenda);
            } else {
                self.handshake_lost(id, now, agenda);
            };
        }
        conn.established = true;
        self.ready
            .push((NodeId(from as u16), Ready::Connected { conn: id, nth }));
        self.transmit(id, 0, Payload::Hello, now, agenda);
        self.flush(id, 0, now, agenda);
    }

    pub(super) fn syn_again(&mut self, id: ConnId, now: u64, agenda: &mut Agenda) {
        if !self.connecting(id) {
            return;
        }
        let Some(conn) = self.conns.get_mut(id) else { return };
        if self.hosts[usize::from(conn.ends[0].node.0)].suspended {
            conn.since += SYN_RETRY_NS;
            agenda.push(now + SYN_RETRY_NS, Due::Net(NetDue::SynRetry { conn: id }));
        } else {
            self.send_syn(id, now, agenda);
        }
    }

    pub(super) fn connect_timed_out(&mut self, id: ConnId, now: u64, agenda: &mut Agenda) {
        if !self.connecting(id) {
            return;
        }
        let Some(conn) = self.conns.get(id) else { return };
        let (node, to) = (usize::from(conn.ends[0].node.0), usize::from(conn.ends[1].node.0));
        if self.hosts[node].suspended {
            agenda.push(now + SYN_RETRY_NS, Due::Net(NetDue::ConnectTimeout { conn: id }));
            return;
        }
        let nth = if to < self.hosts.len() {
            self.links.get_mut(to, node).next_control()
        } else {
            self.links.get_mut(node, node).next_control()
        };
        self.end_gone(id, 0, nth);
    }

    /// The handshake is complete at the acceptor's kernel: its program may know.
    pub(super) fn hello_arrives(&mut self, id: ConnId, nth: u32, now: u64, agenda: &mut Agenda) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        assert!(!conn.ends[1].visible, "a connection is accepted once");
        let node = usize::from(conn.ends[1].node.0);
        let host = &mut self.hosts[node];
        let name = host.next_accepted;
        host.next_accepted += 2;
        let refusal = host.refusal;
        (conn.ends[1].name, conn.ends[1].visible) = (name, true);
        self.name(node, name, id, 1);
        self.ready
            .push((NodeId(node as u16), Ready::Accepted { conn: id, nth }));
        if refusal == Some(Refusal::AcceptedThenReset) {
            self.sever(id, now, agenda);
        }
    }
}
