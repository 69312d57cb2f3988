//! What happened, as a rolling digest and, when asked for, in full.
//!
//! Two runs are the same run exactly when their digests are equal: time, node, kind, connection, lengths and bytes of
//! every step go in. Recording steps only reads, so it cannot change the digest.

use crate::step::{Label, Stepped};
use xxhash_rust::xxh3::xxh3_64;

/// Digest and recording of a run.
#[derive(Clone, Debug)]
pub struct Trace {
    digest: u64,
    recorded: Option<Vec<Stepped>>,
}

/// Odd, with well mixed bits: 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

impl Default for Trace {
    fn default() -> Self {
        Trace::new()
    }
}

impl Trace {
    /// Of nothing yet.
    pub fn new() -> Trace {
        Trace {
            digest: FACTOR,
            recorded: None,
        }
    }
    /// Keeps all steps from now on.
    pub fn record(&mut self) {
        self.recorded.get_or_insert_default();
    }
    /// The steps kept so far; empty unless [`record`](Trace::record) was called.
    pub fn steps(&self) -> &[Stepped] {
        self.recorded.as_deref().unwrap_or_default()
    }
    /// Identifies everything that happened so far.
    pub fn digest(&self) -> u64 {
        self.digest
    }
    /// Puts a fact of the harness into the digest.
    pub fn mix(&mut self, value: u64) {
        // A 128-bit product folded to 64 bits; the addition keeps a zero product from forgetting the value.
        let product = u128::from(self.digest ^ value) * u128::from(FACTOR);
        self.digest = (product as u64 ^ (product >> 64) as u64).wrapping_add(value.rotate_left(32));
    }
    /// Puts a step in; `payload` is the hash of the bytes it carried, 0 for none.
    #[inline]
    pub(crate) fn step(&mut self, step: &Stepped, payload: u64) {
        let (code, a, b) = match step.label {
            Label::Accepted { conn, from } => (1, conn, u64::from(from.0)),
            Label::Connected { conn, to } => (2, conn, u64::from(to.0)),
            Label::Received { conn, from, len } => (3, conn, u64::from(from.0) << 32 | u64::from(len)),
            Label::Closed { conn, peer } => (4, conn, u64::from(peer.0)),
            Label::SyncDone { token, ok } => (5, token, u64::from(ok)),
            Label::Deadline => (6, 0, 0),
            Label::Terminate => (7, 0, 0),
            Label::Boot { incarnation } => (8, u64::from(incarnation), 0),
            Label::Fault { kind, applied } => (9, xxh3_64(kind.as_bytes()), u64::from(applied)),
            Label::Marker(id) => (10, id, 0),
            Label::Poke => (11, 0, 0),
            Label::Writable { conn, peer } => (12, conn, u64::from(peer.0)),
        };
        let node = step.node.map_or(u64::from(u16::MAX), |node| u64::from(node.0));
        self.mix(step.time);
        self.mix(node << 16 | code << 8 | u64::from(step.ended));
        self.mix(a);
        self.mix(b);
        if payload != 0 {
            self.mix(payload);
        }
        if let Some(recorded) = &mut self.recorded {
            recorded.push(*step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::NodeId;
    use crate::step::{StepKey, StepKind};

    fn received(len: u32) -> Stepped {
        Stepped {
            seq: 1,
            time: 5,
            node: Some(NodeId(1)),
            label: Label::Received {
                conn: 2,
                from: NodeId(0),
                len,
            },
            key: StepKey {
                kind: StepKind::Received,
                from: Some(NodeId(0)),
                to: Some(NodeId(1)),
                nth: 1,
            },
            ended: false,
        }
    }

    fn digest(steps: &[(Stepped, &[u8])]) -> u64 {
        let mut trace = Trace::new();
        steps
            .iter()
            .for_each(|(step, payload)| trace.step(step, xxh3_64(payload)));
        trace.digest()
    }

    #[test]
    fn every_part_of_a_step_and_its_bytes_count() {
        let base = digest(&[(received(1), b"x")]);
        assert_eq!(base, digest(&[(received(1), b"x")]));
        assert_ne!(base, digest(&[(received(1), b"y")]));
        assert_ne!(base, digest(&[(received(2), b"x")]));
        assert_ne!(base, digest(&[(Stepped { time: 6, ..received(1) }, b"x")]));
        assert_ne!(
            base,
            digest(&[(
                Stepped {
                    node: Some(NodeId(2)),
                    ..received(1)
                },
                b"x"
            )])
        );
        assert_ne!(
            base,
            digest(&[(
                Stepped {
                    ended: true,
                    ..received(1)
                },
                b"x"
            )])
        );
        assert_ne!(
            digest(&[(received(1), b"x"), (received(1), b"y")]),
            digest(&[(received(1), b"y"), (received(1), b"x")]),
            "order counts"
        );
    }

    #[test]
    fn facts_of_the_harness_count_zero_included() {
        let mut trace = Trace::new();
        let before = trace.digest();
        trace.mix(0);
        assert_ne!(before, trace.digest());
    }

    #[test]
    fn recording_does_not_change_the_digest() {
        let mut trace = Trace::new();
        trace.record();
        trace.step(&received(1), xxh3_64(b"x"));
        assert_eq!(trace.steps().len(), 1);
        assert_eq!(trace.digest(), digest(&[(received(1), b"x")]));
    }
}
