//! How bytes move once a connection exists: windows, losses, retransmissions, reading.

use super::{Agenda, Arrival, Net, Read};
use crate::connection::{ConnId, Kernel, Payload, Segment, Stall};
use crate::due::{Due, NetDue, Ready};
use crate::link::RETRANSMIT_NS;
use crate::program::{ConnName, SEND_BUFFER_BYTES};
use bytes::{Bytes, BytesMut};

/// Largest piece that travels as one: what Linux hands to a NIC at once.
const MAX_SEGMENT: usize = 64 * 1024;
/// Smallest such piece at a slow NIC: one Ethernet frame.
const MIN_SEGMENT: u64 = 1448;
/// A sender keeps its NIC busy for this long ahead, no longer: the rest waits in the buffers of its connections.
const NIC_QUEUE_NS: u64 = 50_000_000;
/// Longest time that the rest of a cut segment waits for company [N11].
const HOLD_NS: u64 = 2_000_000;

impl Net {
    /// The program of `node` sends at time `at`. Dropped silently if the connection is gone.
    #[inline]
    pub(crate) fn send(&mut self, node: usize, name: ConnName, bytes: Bytes, at: u64, agenda: &mut Agenda) {
        let Some((id, end)) = self.find(node, name) else { return };
        let Some(conn) = self.conns.get_mut(id) else { return };
        if bytes.is_empty() || conn.ends[end].kernel != Kernel::Open || conn.severed {
            return;
        }
        let half = &mut conn.halves[end];
        let len = bytes.len();
        if half.buffer.is_empty()
            && half.stall.is_none()
            && conn.established
            && len <= MAX_SEGMENT
            && half.outstanding() + len as u64 <= self.window
            && self.hosts[node].nic.bytes_per_s == 0
        {
            return self.transmit(id, end, Payload::Data(bytes), at, agenda);
        }
        // After a loss, nothing overtakes what waits to be sent again.
        let waits = half.stall.is_some() && !half.buffer.is_empty();
        half.buffer.push_back(Payload::Data(bytes));
        if !waits {
            self.flush(id, end, at, agenda);
        }
    }

    /// Puts one segment of direction `d` on the wire.
    #[inline]
    pub(super) fn transmit(&mut self, id: ConnId, d: usize, payload: Payload, at: u64, agenda: &mut Agenda) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let (from, to) = conn.route(d);
        let len = payload.len();
        let left = if from == to {
            at
        } else {
            self.hosts[from].nic.leave(at, len)
        };
        let arrival = left + self.links.delay(from, to);
        let link = self.links.get_mut(from, to);
        let nth = match payload {
            Payload::Data(_) => link.next_data(),
            Payload::Hello | Payload::Fin => link.next_control(),
        };
        let half = &mut conn.halves[d];
        half.floor = half.floor.max(arrival);
        half.flight_bytes += len;
        half.flight.push_back(Segment { nth, payload });
        let due = NetDue::Arrive {
            conn: id,
            half: d as u8,
            nth,
        };
        agenda.push(half.floor, Due::Net(due));
    }

    /// Sends what the buffer of direction `d` holds, as far as window and NIC allow.
    pub(super) fn flush(&mut self, id: ConnId, d: usize, at: u64, agenda: &mut Agenda) {
        self.empty_buffer(id, d, at, agenda);
        self.tell_of_room(id, d);
    }

    /// The program of `node` wants to know when it can send more.
    pub(crate) fn await_room(&mut self, node: usize, name: ConnName) {
        let Some((id, end)) = self.find(node, name) else { return };
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.halves[end].room_awaited = true;
        self.tell_of_room(id, end);
    }

    fn tell_of_room(&mut self, id: ConnId, d: usize) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let (from, to) = conn.route(d);
        let (end, half) = (conn.ends[d], &mut conn.halves[d]);
        // Of a connection that is over, its end is the news.
        let is_open = end.visible && end.kernel == Kernel::Open && !conn.severed;
        if half.room_awaited && is_open && half.buffered() <= SEND_BUFFER_BYTES as u64 / 2 {
            half.room_awaited = false;
            let nth = self.links.get_mut(to, from).next_control();
            let half = d as u8;
            self.ready.push((end.node, Ready::Writable { conn: id, half, nth }));
        }
    }

    fn empty_buffer(&mut self, id: ConnId, d: usize, at: u64, agenda: &mut Agenda) {
        loop {
            let Some(conn) = self.conns.get_mut(id) else { return };
            if !conn.established || conn.severed || conn.ends[d].kernel == Kernel::Gone {
                return;
            }
            let (from, to) = conn.route(d);
            let half = &mut conn.halves[d];
            let Some(front) = half.buffer.front_mut() else { return };
            let nic = &self.hosts[from].nic;
            let limited = from != to && nic.bytes_per_s != 0;
            if limited && half.window_update {
                return; // Its turn comes.
            }
            if limited && nic.queued(at) > NIC_QUEUE_NS {
                half.window_update = true;
                let half = d as u8;
                let free = at + nic.queued(at) - NIC_QUEUE_NS / 2;
                agenda.push(free, Due::Net(NetDue::Window { conn: id, half }));
                return;
            }
            let most = if limited {
                (nic.bytes_per_s / 100).clamp(MIN_SEGMENT, MAX_SEGMENT as u64)
            } else {
                MAX_SEGMENT as u64
            };
            let (used, limit) = if half.stall.is_some() {
                (half.unacked + half.flight_bytes, self.blind_window)
            } else {
                (half.flight_bytes + half.received_bytes, self.window)
            };
            let len = front.len().min(most).min(limit);
            if used > 0 && used + len > limit {
                half.blocked = true;
                return;
            }
            let payload = match front {
                Payload::Data(bytes) if (bytes.len() as u64) > len => Payload::Data(bytes.split_to(len as usize)),
                _ => half.buffer.pop_front().expect("there is a front"),
            };
            let more = !half.buffer.is_empty();
            if limited && more {
                // One segment a turn: connections share the NIC.
                half.window_update = true;
                self.transmit(id, d, payload, at, agenda);
                let half = d as u8;
                agenda.push(at, Due::Net(NetDue::Window { conn: id, half }));
                return;
            }
            self.transmit(id, d, payload, at, agenda);
        }
    }

    /// A segment of direction `d` reaches the receiver; `entered`: it has passed its limited NIC.
    #[inline]
    pub(super) fn arrive(
        &mut self,
        id: ConnId,
        d: usize,
        nth: u32,
        entered: bool,
        now: u64,
        agenda: &mut Agenda,
    ) -> Option<Arrival> {
        let conn = self.conns.get_mut(id)?;
        let (from, to) = conn.route(d);
        let half = &mut conn.halves[d];
        let place = if entered { 0 } else { half.entering };
        let segment = half.flight.get(place).filter(|segment| segment.nth == nth)?;
        let host = &mut self.hosts[to];
        if conn.dead || self.links.is_cut(from, to) || !host.reachable() {
            self.lost(id, d, now, agenda);
            return None;
        }
        if !entered && from != to && (host.nic.bytes_per_s != 0 || half.entering > 0) {
            half.entering += 1;
            let in_at = host.nic.enter(now, segment.payload.len());
            let half = d as u8;
            agenda.push(in_at, Due::Net(NetDue::Entered { conn: id, half, nth }));
            return None;
        }
        let segment = half.flight.pop_front().expect("looked at above");
        half.entering = half.entering.saturating_sub(usize::from(entered));
        half.flight_bytes -= segment.payload.len();
        if conn.ends[1 - d].kernel == Kernel::Gone {
            self.unknown(id, d, &segment.payload, now, agenda);
            return None;
        }
        let acked = !self.links.is_cut(to, from);
        if !acked || half.stall.is_some() || half.blocked {
            self.acknowledge(id, d, &segment.payload, acked, now, agenda);
        }
        match segment.payload {
            Payload::Data(bytes) => {
                let conn = self.conns.get(id)?;
                let end = &conn.ends[1 - d];
                let inbound = &conn.halves[d];
                // A kernel that lingers for its own last bytes takes these and has nobody to give them to.
                (end.kernel == Kernel::Open).then(|| Arrival {
                    node: to,
                    conn: id,
                    half: d as u8,
                    nth,
                    name: end.name,
                    from: conn.ends[d].node,
                    bytes,
                    direct: end.reading
                        && inbound.received.is_empty()
                        && !inbound.announced
                        && !self.hosts[to].stop_reading
                        && !self.hosts[to].fragment,
                })
            }
            Payload::Hello => {
                // A process that ended in between has left its kernel to say so; the next one must not hear of it.
                if self.conns.get(id)?.ends[1].kernel == Kernel::Open {
                    self.hello_arrives(id, nth, now, agenda);
                }
                None
            }
            Payload::Fin => {
                self.fin_arrives(id, d, nth);
                None
            }
        }
    }

    /// Everything under way in direction `d` is lost; its sender will try again.
    fn lost(&mut self, id: ConnId, d: usize, now: u64, agenda: &mut Agenda) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let half = &mut conn.halves[d];
        half.take_back();
        if conn.ends[d].kernel == Kernel::Gone || conn.severed {
            half.buffer.clear();
            self.conns.free_if_over(id);
        } else {
            self.stall(id, d, now, agenda);
        }
    }

    fn stall(&mut self, id: ConnId, d: usize, now: u64, agenda: &mut Agenda) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let half = &mut conn.halves[d];
        if half.stall.is_some() || conn.ends[d].kernel == Kernel::Gone {
            return;
        }
        half.stalls += 1;
        let stall = half.stalls;
        half.stall = Some(Stall {
            id: stall,
            since: now,
            tries: 0,
        });
        let half = d as u8;
        agenda.push(now + RETRANSMIT_NS, Due::Net(NetDue::Tick { conn: id, half, stall }));
    }

    /// A segment has arrived; `acked`: its acknowledgement can go back.
    fn acknowledge(&mut self, id: ConnId, d: usize, payload: &Payload, acked: bool, now: u64, agenda: &mut Agenda) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let half = &mut conn.halves[d];
        if !acked {
            // Nobody waits for the acknowledgement of an acknowledgement.
            if !matches!(payload, Payload::Hello) {
                half.unacked += payload.len().max(1);
                self.stall(id, d, now, agenda);
            }
            return;
        }
        if half.stall.take().is_some() {
            half.unacked = 0;
            self.flush(id, d, now, agenda);
        }
        self.update_window(id, d, now, agenda);
    }

    /// Tells a blocked sender of direction `d` that there is room.
    fn update_window(&mut self, id: ConnId, d: usize, now: u64, agenda: &mut Agenda) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let (from, to) = conn.route(d);
        let half = &mut conn.halves[d];
        // Half a window at a time, so that slow readers do not cause a flood of small segments.
        if !half.blocked || half.window_update || half.outstanding() > self.window / 2 {
            return;
        }
        half.window_update = true;
        let half = d as u8;
        agenda.push(
            now + self.links.delay(to, from),
            Due::Net(NetDue::Window { conn: id, half }),
        );
    }

    pub(super) fn window_opens(&mut self, id: ConnId, d: usize, now: u64, agenda: &mut Agenda) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let (from, to) = conn.route(d);
        let half = &mut conn.halves[d];
        let news = half.blocked;
        (half.window_update, half.blocked) = (false, false);
        if half.stall.is_some() {
            return;
        }
        if news && (conn.dead || self.links.is_cut(to, from) || !self.hosts[from].reachable()) {
            // The news is lost; the sender probes.
            return self.stall(id, d, now, agenda);
        }
        self.flush(id, d, now, agenda);
    }

    /// The retransmission timer of direction `d` fires.
    pub(super) fn tick(&mut self, id: ConnId, d: usize, stall: u32, now: u64, agenda: &mut Agenda) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let (from, to) = conn.route(d);
        let receiver = conn.ends[1 - d].kernel;
        let half = &mut conn.halves[d];
        let Some(running) = half.stall.as_mut().filter(|running| running.id == stall) else {
            return;
        };
        let due = Due::Net(NetDue::Tick {
            conn: id,
            half: d as u8,
            stall,
        });
        if self.hosts[from].suspended {
            running.since += RETRANSMIT_NS;
            agenda.push(now + RETRANSMIT_NS, due);
            return;
        }
        let there = !conn.dead && !self.links.is_cut(from, to) && self.hosts[to].reachable();
        let back = !self.links.is_cut(to, from);
        if there && back {
            half.stall = None;
            let unacked = std::mem::take(&mut half.unacked);
            if unacked > 0 && half.buffer.is_empty() && receiver == Kernel::Gone {
                // What is sent again meets a host that knows no such connection.
                return self.send_rst(id, d, now, agenda);
            }
            return self.flush(id, d, now, agenda);
        }
        let deadline = running.since + self.retransmission_timeout;
        if now >= deadline {
            let nth = self.links.get_mut(to, from).next_control();
            return self.end_gone(id, d, nth);
        }
        running.tries += 1;
        let next = now + (RETRANSMIT_NS << running.tries.min(16));
        agenda.push(next.min(deadline), due);
        if there {
            self.flush(id, d, now, agenda);
        }
    }

    // --- the reading side ---

    /// Whether the program at the receiving end of direction `d` takes bytes.
    pub(super) fn can_read(&self, id: ConnId, d: usize) -> bool {
        self.conns.get(id).is_some_and(|conn| {
            let end = &conn.ends[1 - d];
            end.visible && end.reading && !self.hosts[usize::from(end.node.0)].stop_reading
        })
    }

    /// Bytes that the program cannot take at this instant wait in the kernel.
    pub(crate) fn keep(&mut self, arrival: Arrival) {
        let Some(conn) = self.conns.get_mut(arrival.conn) else {
            return;
        };
        let half = &mut conn.halves[usize::from(arrival.half)];
        half.received_bytes += arrival.bytes.len() as u64;
        half.received.push_back(Segment {
            nth: arrival.nth,
            payload: Payload::Data(arrival.bytes),
        });
        self.announce(arrival.conn, arrival.half.into());
    }

    /// Lets the reader of direction `d` know that there is something, unless it knows or does not want to.
    pub(super) fn announce(&mut self, id: ConnId, d: usize) {
        let can_read = self.can_read(id, d);
        let Some(conn) = self.conns.get_mut(id) else { return };
        let half = &mut conn.halves[d];
        let end = &conn.ends[1 - d];
        let something = if half.received.is_empty() {
            half.closed.is_some()
        } else {
            can_read
        };
        if something && end.visible && !half.announced && !half.held {
            half.announced = true;
            let half = d as u8;
            self.ready.push((end.node, Ready::Readable { conn: id, half }));
        }
    }

    pub(super) fn reread(&mut self, id: ConnId, d: usize) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.halves[d].held = false;
            self.announce(id, d);
        }
    }

    /// The program at the receiving end of direction `d` reads.
    pub(crate) fn read(&mut self, id: ConnId, d: usize, now: u64, agenda: &mut Agenda) -> Read {
        let can_read = self.can_read(id, d);
        let Some(conn) = self.conns.get_mut(id) else {
            return Read::Nothing;
        };
        let (from, end) = (conn.ends[d].node, conn.ends[1 - d]);
        let half = &mut conn.halves[d];
        half.announced = false;
        if !end.visible {
            return Read::Nothing;
        }
        if half.received.is_empty() {
            let Some(nth) = half.closed else { return Read::Nothing };
            let in_order = half.in_order;
            self.let_go(id, 1 - d);
            self.conns.free_if_over(id);
            return Read::Closed {
                name: end.name,
                from,
                nth,
                in_order,
            };
        }
        if !can_read {
            return Read::Nothing;
        }
        let node = usize::from(end.node.0);
        let (nth, bytes) = if self.hosts[node].fragment {
            self.read_piece(id, d, now, agenda)
        } else {
            let segment = half.received.pop_front().expect("looked at above");
            let Payload::Data(bytes) = segment.payload else {
                unreachable!("only data waits to be read")
            };
            (segment.nth, bytes)
        };
        let Some(conn) = self.conns.get_mut(id) else {
            return Read::Nothing;
        };
        let half = &mut conn.halves[d];
        half.received_bytes -= bytes.len() as u64;
        if half.blocked {
            self.update_window(id, d, now, agenda);
        }
        self.announce(id, d);
        Read::Data {
            name: end.name,
            from,
            nth,
            bytes,
        }
    }

    /// Some of the bytes that wait, cut where chance says, glued where they were apart [N11].
    fn read_piece(&mut self, id: ConnId, d: usize, now: u64, agenda: &mut Agenda) -> (u32, Bytes) {
        let conn = self.conns.get_mut(id).expect("the caller has looked it up");
        let (_, to) = conn.route(d);
        let cutter = &mut self.hosts[to].cutter;
        let half = &mut conn.halves[d];
        let mut left = 1 + cutter.below(half.received_bytes.min(MAX_SEGMENT as u64)) as usize;
        let nth = half.received.front().expect("there is something").nth;
        let mut piece = BytesMut::with_capacity(left);
        while left > 0 {
            let front = half.received.front_mut().expect("within what was received");
            let Payload::Data(bytes) = &mut front.payload else {
                unreachable!("only data waits to be read")
            };
            let taken = bytes.split_to(left.min(bytes.len()));
            left -= taken.len();
            piece.extend_from_slice(&taken);
            if bytes.is_empty() {
                half.received.pop_front();
            }
        }
        if !half.received.is_empty() && cutter.chance(500_000) {
            half.held = true;
            let at = now + 1 + cutter.below(HOLD_NS);
            let half = d as u8;
            agenda.push(at, Due::Net(NetDue::Reread { conn: id, half }));
        }
        (nth, piece.freeze())
    }

    /// The program of `node` wants no more bytes of a connection for now, or wants them again.
    pub(crate) fn set_reading(&mut self, node: usize, name: ConnName, reading: bool) {
        let Some((id, end)) = self.find(node, name) else { return };
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.ends[end].reading = reading;
        if reading {
            self.announce(id, 1 - end);
        }
    }
}
