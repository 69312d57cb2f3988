//! T1, T2: what passes between NIC, connection driver and machine, as the driver's two neighbours see it.
//!
//! Guarantees: nothing of how the driver works is used; the bytes on one side of it are compared with those on the other.
//! Deliberately unknown: what is in a frame but its length.

use super::marks;
use super::report::Check;
use super::{Checks, Traffic};
use bytes::{Buf, Bytes};
use kafka::types::ConnId;
use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;

/// Answers that may wait for a peer before its next request is taken up, bytes.
const MAX_WAITING_ANSWER_BYTES: usize = 1024 * 1024;
/// Pieces that are many.
const MANY: u32 = 8;

/// All connections of all nodes that have not ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(BTreeMap<(usize, ConnId), Connection>);

impl Connections {
    /// Names of connections begin anew.
    pub(super) fn process_began(&mut self, node: usize) {
        self.0.retain(|(of, _), _| *of != node);
    }
}

#[derive(Clone, Debug, Default)]
struct Connection {
    /// Arrived and not handed over.
    inbound: Waiting,
    /// Queued and not left.
    outbound: Waiting,
    /// The machine has not taken the last frame.
    untaken: bool,
    let_go: bool,
    piled_up: bool,
}

/// Bytes in order.
#[derive(Clone, Debug, Default)]
struct Waiting {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Waiting {
    fn push(&mut self, piece: &Bytes) {
        self.bytes += piece.len();
        self.pieces.push_back(piece.clone());
    }

    /// Takes as many bytes as `found` has; whether they are the same.
    fn take(&mut self, found: &Bytes) -> bool {
        let mut found = found.clone();
        while !found.is_empty() {
            let Some(front) = self.pieces.front_mut() else {
                return false;
            };
            let both = front.len().min(found.len());
            if front[..both] != found[..both] {
                return false;
            }
            front.advance(both);
            found.advance(both);
            self.bytes -= both;
            if front.is_empty() {
                self.pieces.pop_front();
            }
        }
        true
    }

    /// The length of the frame that begins here, its length field included, if that is there and not negative.
    fn frame_bytes(&self) -> Option<usize> {
        let mut head = [0; 4];
        let mut bytes = self.pieces.iter().flat_map(|piece| piece.iter());
        for byte in &mut head {
            *byte = *bytes.next()?;
        }
        usize::try_from(i32::from_be_bytes(head)).ok().map(|length| 4 + length)
    }

    fn has_whole_frame(&self) -> bool {
        self.frame_bytes().is_some_and(|size| size <= self.bytes)
    }
}

impl Checks {
    /// Something happened on a connection.
    pub(super) fn traffic(&mut self, time_ns: u64, node: usize, conn: ConnId, what: &Traffic) {
        let name = self.name(node);
        let at = self.connections.0.entry((node, conn)).or_default();
        let (report, marks) = (&mut self.report, &mut self.marks);
        match what {
            Traffic::Arrived(bytes) => at.inbound.push(bytes),
            Traffic::HandedOver { frame, reads } => {
                let is_frame = at.inbound.frame_bytes() == Some(frame.len());
                report.expect(
                    Check::T1,
                    time_ns,
                    Some(node),
                    is_frame && at.inbound.take(frame),
                    || {
                        let len = frame.len();
                        format!(
                            "node {name} was given {len} bytes as a frame of connection {} that are not what came next",
                            conn.0
                        )
                    },
                );
                let (untaken, waiting) = (at.untaken, at.outbound.bytes);
                let holds = !untaken && waiting <= MAX_WAITING_ANSWER_BYTES;
                report.expect(Check::T2, time_ns, Some(node), holds, || {
                    let before = if untaken { "had not taken the one before" } else { "had taken all" };
                    format!(
                        "node {name} was given a frame of connection {}: it {before}, and {waiting} bytes of answers waited",
                        conn.0
                    )
                });
                at.untaken = true;
                if *reads > 1 {
                    marks.set(marks::FRAME_IN_PIECES);
                }
                if *reads >= MANY {
                    marks.set(marks::FRAME_IN_MANY_PIECES);
                }
            }
            Traffic::Taken => at.untaken = false,
            Traffic::Queued(frame) => {
                at.outbound.push(frame);
                if at.outbound.bytes > MAX_WAITING_ANSWER_BYTES && !at.piled_up {
                    at.piled_up = true;
                    marks.set(marks::ANSWERS_PILED_UP);
                }
            }
            Traffic::Left(bytes) => {
                report.expect(Check::T1, time_ns, Some(node), at.outbound.take(bytes), || {
                    let len = bytes.len();
                    format!(
                        "{len} bytes left node {name} on connection {} that are not what it sent next",
                        conn.0
                    )
                });
                at.piled_up &= at.outbound.bytes > MAX_WAITING_ANSWER_BYTES;
            }
            Traffic::LeftUnread => marks.set(marks::LEFT_UNREAD),
            Traffic::LetGo => at.let_go = true,
            Traffic::Rested { room } => {
                if at.outbound.bytes > 0 && *room == 0 {
                    marks.set(marks::WRITE_HELD_UP);
                }
                let is_shut = at.let_go || at.untaken || at.outbound.bytes > MAX_WAITING_ANSWER_BYTES;
                let (in_bytes, out_bytes) = (at.inbound.bytes, at.outbound.bytes);
                let owes_frame = !is_shut && at.inbound.has_whole_frame();
                let owes_bytes = out_bytes > 0 && *room > 0;
                report.expect(Check::T1, time_ns, Some(node), !owes_frame && !owes_bytes, || {
                    format!(
                        "connection {} of node {name} rests: {in_bytes} bytes have come, with a whole frame: {owes_frame}; \
                         {out_bytes} are to leave, and there is room for {room}",
                        conn.0
                    )
                });
            }
            Traffic::Ended(how) => {
                let in_frame = at.inbound.bytes > 0 && !at.inbound.has_whole_frame();
                self.connections.0.remove(&(node, conn));
                match how {
                    Some(ErrorKind::InvalidData) => {
                        marks.set(marks::LENGTH_REFUSED);
                        marks.set(marks::FRAME_REFUSED);
                    }
                    Some(ErrorKind::ConnectionReset) if in_frame => marks.set(marks::RESET_IN_FRAME),
                    Some(ErrorKind::UnexpectedEof) => marks.set(marks::END_IN_FRAME),
                    Some(ErrorKind::TimedOut) => marks.set(marks::GIVEN_UP),
                    _ => {}
                }
            }
        }
    }
}
