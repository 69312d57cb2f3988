//! What can be done to links, NICs and connections from outside.

use super::{Agenda, Net};
use crate::connection::{ConnId, Kernel, Payload};
use crate::due::{Due, NetDue};

impl Net {
    /// Ids of the connections between two nodes that both kernels know.
    fn between(&self, a: usize, b: usize) -> Vec<ConnId> {
        self.conns
            .ids()
            .into_iter()
            .filter(|id| {
                self.conns.get(*id).is_some_and(|conn| {
                    let route = conn.route(0);
                    (route == (a, b) || route == (b, a))
                        && conn.established
                        && !conn.severed
                        && conn.ends.iter().all(|end| end.kernel == Kernel::Open)
                })
            })
            .collect()
    }

    /// Resets all connections between two nodes [N13]. False if there are none.
    pub(crate) fn reset(&mut self, a: usize, b: usize, now: u64, agenda: &mut Agenda) -> bool {
        let ids = self.between(a, b);
        for id in &ids {
            self.sever(*id, now, agenda);
        }
        !ids.is_empty()
    }

    /// Both ends get a reset, each after a part of what is under way to it.
    pub(super) fn sever(&mut self, id: ConnId, now: u64, agenda: &mut Agenda) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.severed = true;
        for half in &mut conn.halves {
            half.drop_unsent();
            let mut left = self.chance.below(half.flight_bytes + 1);
            half.flight_bytes = left;
            for segment in &mut half.flight {
                if let Payload::Data(bytes) = &mut segment.payload {
                    bytes.truncate(left as usize);
                    left -= bytes.len() as u64;
                }
            }
            half.flight.retain(|segment| match &segment.payload {
                Payload::Data(bytes) => !bytes.is_empty(),
                Payload::Hello => true,
                Payload::Fin => false,
            });
            half.entering = half.entering.min(half.flight.len());
        }
        for end in 0..2 {
            self.send_rst(id, end, now, agenda);
        }
    }

    /// One connection between two nodes passes nothing any more [N14]. False if there is none.
    pub(crate) fn half_open(&mut self, a: usize, b: usize) -> bool {
        let ids: Vec<ConnId> = self
            .between(a, b)
            .into_iter()
            .filter(|id| self.conns.get(*id).is_some_and(|conn| !conn.dead))
            .collect();
        if ids.is_empty() {
            return false;
        }
        let id = *self.chance.pick(&ids);
        self.conns.get_mut(id).expect("found above").dead = true;
        true
    }

    /// A new limit of a NIC, 0 for none [N10]; what waits in it leaves at the new rate.
    pub(crate) fn limit(&mut self, node: usize, bytes_per_s: u64, now: u64, agenda: &mut Agenda) {
        self.hosts[node].nic.limit(bytes_per_s);
        for id in self.conns.ids() {
            for d in 0..2 {
                let Some(conn) = self.conns.get_mut(id) else { break };
                let (from, to) = conn.route(d);
                let going = !conn.severed && conn.ends[d].kernel != Kernel::Gone;
                let half = &mut conn.halves[d];
                if from == to || (from != node && to != node) {
                    continue;
                }
                if going {
                    half.take_back();
                    half.floor = now;
                    if half.stall.is_none() {
                        self.flush(id, d, now, agenda);
                    }
                } else if to == node {
                    // Nobody sends these again: they pass at once, in order.
                    let waiting: Vec<u32> = half.flight.iter().take(half.entering).map(|s| s.nth).collect();
                    half.entering = 0;
                    for nth in waiting {
                        let half = d as u8;
                        agenda.push(now, Due::Net(NetDue::Arrive { conn: id, half, nth }));
                    }
                }
            }
        }
    }

    /// The program of a node stops reading, or reads again [N12].
    pub(crate) fn stop_reading(&mut self, node: usize, on: bool) {
        self.hosts[node].stop_reading = on;
        if on {
            return;
        }
        for id in self.conns.ids() {
            for d in 0..2 {
                if self.conns.get(id).is_some_and(|conn| conn.route(d).1 == node) {
                    self.announce(id, d);
                }
            }
        }
    }
}
