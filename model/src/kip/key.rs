//! States as exact keys: every field in as many bits as its bounds need, and nothing that follows from the rest.

use super::Limits;
use super::state::{Log, Replica, ReplicaState, Replicas, Request, State};
use crate::check::KEY_BITS;

/// Widths in bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Widths {
    id: u32,
    record_epoch: u32,
    high_watermark: u32,
    epochs: u32,
    leader: u32,
    isr: u32,
}

/// Bits that hold any number up to this.
fn bits(most: u8) -> u32 {
    8 - most.leading_zeros()
}

impl Widths {
    pub fn new(limits: &Limits) -> Widths {
        Widths {
            id: bits(limits.records),
            record_epoch: bits(limits.leader_epochs),
            high_watermark: bits(limits.log_size),
            epochs: bits(limits.leader_epochs + 1),
            leader: bits(limits.replicas),
            isr: u32::from(limits.replicas),
        }
    }

    /// Bits of a whole key.
    pub fn total(&self, limits: &Limits) -> u32 {
        let log = u32::from(limits.log_size) * (self.id + self.record_epoch);
        let replica = log + self.high_watermark + self.epochs + self.isr;
        let requests = u32::from(limits.leader_epochs + 1) * (self.leader + self.isr);
        u32::from(limits.replicas) * replica + requests + self.epochs + self.id + self.isr
    }
}

/// Whether the bounds leave a state that fits a key.
pub(super) fn fits(limits: &Limits) -> Result<(), String> {
    let total = Widths::new(limits).total(limits);
    if total <= KEY_BITS {
        Ok(())
    } else {
        Err(format!(
            "a state within these bounds takes {total} bits, more than the {KEY_BITS} of a key; try smaller ones"
        ))
    }
}

struct Packer(u128);

impl Packer {
    #[inline]
    fn put(&mut self, value: u64, width: u32) {
        debug_assert!(value >> width == 0, "{value} in {width} bits");
        self.0 = self.0 << width | u128::from(value);
    }

    #[inline]
    fn take(&mut self, width: u32) -> u8 {
        let value = self.0 as u8 & ((1u16 << width) - 1) as u8;
        self.0 >>= width;
        value
    }
}

/// The key of a state.
#[inline]
pub(super) fn pack(widths: &Widths, limits: &Limits, state: &State) -> u128 {
    let mut key = Packer(0);
    key.put(state.isr.0.into(), widths.isr);
    key.put(state.next_record.into(), widths.id);
    for request in &state.requests[..=usize::from(limits.leader_epochs)] {
        key.put(request.isr.0.into(), widths.isr);
        key.put(request.leader.map_or(0, |leader| leader.0 + 1).into(), widths.leader);
    }
    for replica in &state.replicas[..usize::from(limits.replicas)] {
        let mut log = replica.log.0;
        for _ in 0..limits.log_size {
            key.put(log >> 4 & 0xf, widths.record_epoch);
            key.put(log & 0xf, widths.id);
            log >>= 8;
        }
        key.put(replica.high_watermark.into(), widths.high_watermark);
        key.put(replica.epochs.into(), widths.epochs);
        key.put(replica.isr.0.into(), widths.isr);
    }
    key.put(state.next_epoch.into(), widths.epochs);
    key.0
}

/// The state of a key: what was put last is taken first.
#[inline]
pub(super) fn unpack(widths: &Widths, limits: &Limits, key: u128) -> State {
    let mut key = Packer(key);
    let mut state = State::initial(limits.replicas);
    state.next_epoch = key.take(widths.epochs);
    for replica in state.replicas[..usize::from(limits.replicas)].iter_mut().rev() {
        let isr = Replicas(key.take(widths.isr));
        let epochs = key.take(widths.epochs);
        let high_watermark = key.take(widths.high_watermark);
        let mut log = 0;
        for _ in 0..limits.log_size {
            let id = u64::from(key.take(widths.id));
            log = log << 8 | u64::from(key.take(widths.record_epoch)) << 4 | id;
        }
        *replica = ReplicaState {
            log: Log(log),
            high_watermark,
            epochs,
            isr,
        };
    }
    for request in state.requests[..=usize::from(limits.leader_epochs)].iter_mut().rev() {
        let leader = key.take(widths.leader);
        *request = Request {
            leader: leader.checked_sub(1).map(Replica),
            isr: Replicas(key.take(widths.isr)),
        };
    }
    state.next_record = key.take(widths.id);
    state.isr = Replicas(key.take(widths.isr));
    state
}
