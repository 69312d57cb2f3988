//! Links and NICs: how long a segment is under way, and whether it gets there at all.
//!
//! A link is directed. Its latency is a base and an exponential tail drawn from its own stream "link a>b"; a lost
//! segment is late by retransmissions, never missing [N6]; a cut link passes nothing [N1 to N5]. A NIC is shared by all
//! connections of its host, each direction by itself [N10]. Links know nothing of connections or bytes.

use crate::random::{Stream, Streams};

/// Retransmission timeout before any back-off, nanoseconds: Linux's minimum.
pub(crate) const RETRANSMIT_NS: u64 = 200_000_000;

/// A number of a segment that carries no data has this bit, so that data segments count by themselves.
pub(crate) const CONTROL: u32 = 1 << 31;

/// One direction between two hosts.
#[derive(Debug)]
pub(crate) struct Link {
    /// Cut while any bit is set: bit 0 by [`Fault::Cut`](crate::fault::Fault::Cut), the others by flaps.
    pub(crate) cuts: u32,
    pub(crate) loss_ppm: u32,
    pub(crate) factor: u32,
    base: u64,
    tail: u64,
    data: u32,
    control: u32,
    /// Made on first use: most pairs never talk.
    stream: Option<Box<Stream>>,
}

impl Link {
    /// Number of the next data segment.
    pub(crate) fn next_data(&mut self) -> u32 {
        self.data += 1;
        self.data
    }
    /// Number of the next other segment.
    pub(crate) fn next_control(&mut self) -> u32 {
        self.control += 1;
        self.control | CONTROL
    }
}

/// All links, by pair.
#[derive(Debug)]
pub(crate) struct Links {
    names: Vec<String>,
    links: Vec<Link>,
    streams: Streams,
}

impl Links {
    pub(crate) fn new(names: Vec<String>, streams: &Streams, base: u64, tail: u64, loopback: u64) -> Links {
        let count = names.len();
        let links = (0..count * count)
            .map(|i| {
                let own = i / count == i % count;
                Link {
                    cuts: 0,
                    loss_ppm: 0,
                    factor: 1,
                    base: if own { loopback } else { base },
                    tail: if own { 0 } else { tail },
                    data: 0,
                    control: 0,
                    stream: None,
                }
            })
            .collect();
        Links {
            names,
            links,
            streams: streams.clone(),
        }
    }
    fn index(&self, from: usize, to: usize) -> usize {
        assert!(from < self.names.len() && to < self.names.len(), "no link {from}>{to}");
        from * self.names.len() + to
    }
    pub(crate) fn get(&self, from: usize, to: usize) -> &Link {
        &self.links[self.index(from, to)]
    }
    pub(crate) fn get_mut(&mut self, from: usize, to: usize) -> &mut Link {
        let index = self.index(from, to);
        &mut self.links[index]
    }
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.links.iter_mut()
    }
    /// Whether nothing passes.
    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.get(from, to).cuts != 0
    }
    pub(crate) fn set_latency(&mut self, from: usize, to: usize, base: u64, tail: u64) {
        let link = self.get_mut(from, to);
        (link.base, link.tail) = (base, tail);
    }
    /// How long the next segment takes, retransmissions after losses included; nanoseconds.
    pub(crate) fn delay(&mut self, from: usize, to: usize) -> u64 {
        let index = self.index(from, to);
        let link = &mut self.links[index];
        if link.tail == 0 && link.loss_ppm == 0 {
            return link.base * u64::from(link.factor);
        }
        let names = &self.names;
        let streams = &self.streams;
        let stream = link
            .stream
            .get_or_insert_with(|| Box::new(streams.stream(&format!("link {}>{}", names[from], names[to]))));
        let mut delay = (link.base + stream.exponential(link.tail)) * u64::from(link.factor);
        let mut timeout = RETRANSMIT_NS;
        // Six losses in a row are late by 12.6 s, just within the timeout of a connection.
        for _ in 0..6 {
            if !stream.chance(link.loss_ppm) {
                break;
            }
            delay += timeout;
            timeout *= 2;
        }
        delay
    }
    /// The streams that were used.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.links.iter().filter_map(|link| link.stream.as_deref())
    }
}

/// One host's network interface.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nic {
    /// Each direction; 0 is unlimited.
    pub(crate) bytes_per_s: u64,
    out_free: u64,
    in_free: u64,
}

impl Nic {
    fn duration(&self, len: u64) -> u64 {
        if self.bytes_per_s == 0 {
            0
        } else {
            (u128::from(len) * 1_000_000_000 / u128::from(self.bytes_per_s)) as u64
        }
    }
    /// When `len` bytes queued at `now` have left.
    pub(crate) fn leave(&mut self, now: u64, len: u64) -> u64 {
        if self.bytes_per_s == 0 {
            return now;
        }
        self.out_free = self.out_free.max(now) + self.duration(len);
        self.out_free
    }
    /// When `len` bytes that reached it at `now` are in.
    pub(crate) fn enter(&mut self, now: u64, len: u64) -> u64 {
        if self.bytes_per_s == 0 {
            return now;
        }
        self.in_free = self.in_free.max(now) + self.duration(len);
        self.in_free
    }
    /// How long what was queued by `now` still takes to leave.
    pub(crate) fn queued(&self, now: u64) -> u64 {
        self.out_free.saturating_sub(now)
    }
    /// A new limit. Both queues are empty: the caller sends again what was in them.
    pub(crate) fn limit(&mut self, bytes_per_s: u64) {
        *self = Nic {
            bytes_per_s,
            ..Nic::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        let names = vec!["a".to_owned(), "b".to_owned()];
        Links::new(names, &Streams::new(1), 100_000, 50_000, 10_000)
    }

    #[test]
    fn latency_is_base_and_tail_times_the_factor() {
        let mut plain = links();
        let mut slow = links();
        slow.get_mut(0, 1).factor = 10;
        for _ in 0..1000 {
            let delay = plain.delay(0, 1);
            assert!((100_000..1_200_000).contains(&delay), "{delay}");
            assert_eq!(slow.delay(0, 1), delay * 10);
        }
        assert_eq!(plain.delay(1, 1), 10_000, "loopback");
    }

    #[test]
    fn loss_is_delay_by_doubling_timeouts() {
        let mut links = links();
        links.get_mut(0, 1).loss_ppm = 500_000;
        let late: Vec<u64> = (0..2000).map(|_| links.delay(0, 1) / RETRANSMIT_NS).collect();
        let share = |rounds: u64| late.iter().filter(|r| **r == rounds).count();
        assert!((900..1100).contains(&share(0)), "no loss: {}", share(0));
        assert!((400..600).contains(&share(1)), "one loss: {}", share(1));
        assert!((180..320).contains(&share(3)), "two losses: {}", share(3));
        assert_eq!(share(2), 0);
        links.get_mut(0, 1).loss_ppm = 1_000_000;
        assert_eq!(links.delay(0, 1) / RETRANSMIT_NS, 63, "bounded");
    }

    #[test]
    fn a_nic_sends_one_thing_after_another() {
        let mut nic = Nic::default();
        assert_eq!(nic.leave(5, 1_000_000), 5, "unlimited");
        nic.limit(1_000_000);
        assert_eq!(nic.leave(0, 1000), 1_000_000);
        assert_eq!(nic.leave(0, 1000), 2_000_000);
        assert_eq!(nic.enter(0, 1000), 1_000_000, "directions are apart");
        assert_eq!(nic.leave(9_000_000, 1000), 10_000_000);
    }
}
