//! From what processes send and read to messages: who sent which at which step, and which step read it.
//!
//! A frame that is read is the oldest one with these very bytes that its sender sent to this node: what is known of
//! connections is not needed, and two frames that are alike in everything are told apart by nobody. An answer is known by
//! the correlation id of a request that was read on the same connection.

use super::words;
use crate::tap::Act;
use bytes::Bytes;
use kafka::wire::frame::{self, Framer};
use kafka_protocol::messages::ApiKey;
use std::collections::{BTreeMap, VecDeque};

/// One frame on its way.
#[derive(Clone, Debug)]
pub struct Frame {
    pub from: u16,
    pub to: u16,
    /// The sender's name of the connection.
    pub conn: u64,
    pub sent: u32,
    pub ended: Option<u32>,
    pub is_lost: bool,
    /// When its sender closed the connection, or ended.
    pub left: Option<u32>,
    pub answers: Option<u32>,
    pub api: Option<ApiKey>,
    pub version: i16,
    pub bytes: Bytes,
}

/// All frames of a run, in the order in which they were sent.
#[derive(Debug, Default)]
pub struct Wire {
    pub frames: Vec<Frame>,
    /// By node and its connection.
    peers: BTreeMap<(u16, u64), u16>,
    sending: BTreeMap<(u16, u64), Framer>,
    reading: BTreeMap<(u16, u64), Framer>,
    /// Not read yet, by sender, receiver and content.
    under_way: BTreeMap<(u16, u16, Bytes), VecDeque<u32>>,
    /// Requests that were read, by reader, connection and correlation id.
    asked: BTreeMap<(u16, u64, i32), u32>,
}

impl Wire {
    /// A connection that somebody else has made.
    pub fn accepted(&mut self, node: u16, conn: u64, from: u16) {
        self.peers.insert((node, conn), from);
    }

    /// A process did something at this step. Gives the frames that it has read by that.
    pub fn passed(&mut self, step: u32, node: u16, conn: u64, what: Act) -> Vec<u32> {
        match what {
            Act::Connects(to) => {
                self.peers.insert((node, conn), to.0);
            }
            Act::Sends(bytes) => {
                for frame in cut(&mut self.sending, (node, conn), bytes) {
                    self.sent(step, node, conn, frame);
                }
            }
            Act::Closes => self.leave(step, |frame| (frame.from, frame.conn) == (node, conn)),
            Act::Reads(bytes) => {
                let frames = cut(&mut self.reading, (node, conn), bytes);
                return frames
                    .into_iter()
                    .filter_map(|frame| self.read(step, node, conn, frame))
                    .collect();
            }
        }
        Vec::new()
    }

    fn sent(&mut self, step: u32, from: u16, conn: u64, bytes: Bytes) {
        let Some(to) = self.peers.get(&(from, conn)).copied() else {
            return;
        };
        let number = self.frames.len() as u32;
        let correlation = frame::peek_correlation_id(&bytes).ok();
        let question = correlation.and_then(|id| self.asked.remove(&(from, conn, id)));
        let (api, version) = match question {
            Some(question) => {
                let question = &self.frames[question as usize];
                (question.api, question.version)
            }
            None => words::api_of(&bytes),
        };
        self.under_way
            .entry((from, to, bytes.clone()))
            .or_default()
            .push_back(number);
        self.frames.push(Frame {
            from,
            to,
            conn,
            sent: step,
            ended: None,
            is_lost: false,
            left: None,
            answers: question,
            api,
            version,
            bytes,
        });
    }

    fn read(&mut self, step: u32, node: u16, conn: u64, bytes: Bytes) -> Option<u32> {
        let from = self.peers.get(&(node, conn)).copied()?;
        let key = (from, node, bytes);
        let waiting = self.under_way.get_mut(&key)?;
        let number = waiting.pop_front()?;
        if waiting.is_empty() {
            self.under_way.remove(&key);
        }
        let frame = &mut self.frames[number as usize];
        frame.ended = Some(step);
        if frame.answers.is_none()
            && let Some(id) = words::correlation_of(&key.2)
        {
            self.asked.insert((node, conn, id), number);
        }
        Some(number)
    }

    /// A process has found its connection ended: what it sent there and nobody has read, nobody will.
    pub fn closed(&mut self, step: u32, node: u16, conn: u64) {
        self.lose(step, |frame| (frame.from, frame.conn) == (node, conn));
        self.forget(|key| *key == (node, conn));
    }

    /// A process has ended: nobody reads what was sent to it.
    pub fn died(&mut self, step: u32, node: u16) {
        self.lose(step, |frame| frame.to == node);
        self.leave(step, |frame| frame.from == node);
        self.forget(|key| key.0 == node);
    }

    /// Nothing more comes from a node that has no process, over a connection that has ended.
    pub fn severed(&mut self, step: u32, from: u16, to: u16) {
        self.lose(step, |frame| (frame.from, frame.to) == (from, to));
    }

    /// The sender of these frames cares no more. They may still be read.
    fn leave(&mut self, step: u32, is_it: impl Fn(&Frame) -> bool) {
        for number in self.under_way.values().flatten() {
            let frame = &mut self.frames[*number as usize];
            if is_it(frame) {
                frame.left.get_or_insert(step);
            }
        }
    }

    /// The run is over: what was left by its sender and never read is lost since then.
    pub fn finish(&mut self) -> Vec<Frame> {
        for frame in self.frames.iter_mut().filter(|frame| frame.ended.is_none()) {
            (frame.ended, frame.is_lost) = (frame.left, frame.left.is_some());
        }
        std::mem::take(&mut self.frames)
    }

    fn forget(&mut self, is_it: impl Fn(&(u16, u64)) -> bool) {
        self.sending.retain(|key, _| !is_it(key));
        self.reading.retain(|key, _| !is_it(key));
        self.peers.retain(|key, _| !is_it(key));
    }

    fn lose(&mut self, step: u32, is_it: impl Fn(&Frame) -> bool) {
        let frames = &mut self.frames;
        self.under_way.retain(|_, waiting| {
            waiting.retain(|number| {
                let frame = &mut frames[*number as usize];
                if is_it(frame) {
                    (frame.ended, frame.is_lost) = (Some(step), true);
                }
                !frame.is_lost
            });
            !waiting.is_empty()
        });
    }
}

/// The frames that are whole by these bytes.
fn cut(framers: &mut BTreeMap<(u16, u64), Framer>, key: (u16, u64), bytes: Bytes) -> Vec<Bytes> {
    let framer = framers.entry(key).or_default();
    framer.push(bytes);
    // What is no frame is no message; its connection will be closed.
    std::iter::from_fn(|| framer.next().ok().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{FetchRequest, FetchResponse, RequestKind, ResponseKind};
    use sim::fault::NodeId;

    fn fetch(correlation: i32) -> Bytes {
        frame::encode_request(correlation, "a", &RequestKind::Fetch(FetchRequest::default()), 17)
    }

    /// Node 0 has connected to node 1: connection 2 here, 1 there.
    fn connected() -> Wire {
        let mut wire = Wire::default();
        wire.passed(0, 0, 2, Act::Connects(NodeId(1)));
        wire.accepted(1, 1, 0);
        wire
    }

    #[test]
    fn a_frame_that_comes_in_pieces_is_read_with_its_last() {
        let mut wire = connected();
        let frame = fetch(7);
        wire.passed(1, 0, 2, Act::Sends(frame.clone()));
        assert!(wire.passed(2, 1, 1, Act::Reads(frame.slice(..9))).is_empty());
        assert_eq!(wire.passed(3, 1, 1, Act::Reads(frame.slice(9..))), [0]);
        assert_eq!((wire.frames[0].sent, wire.frames[0].ended), (1, Some(3)));
    }

    #[test]
    fn an_answer_has_the_api_of_its_question() {
        let mut wire = connected();
        wire.passed(1, 0, 2, Act::Sends(fetch(7)));
        wire.passed(2, 1, 1, Act::Reads(fetch(7)));
        let answer = frame::encode_response(7, &ResponseKind::Fetch(FetchResponse::default()), ApiKey::Fetch, 17);
        wire.passed(3, 1, 1, Act::Sends(answer.clone()));
        assert_eq!(wire.passed(4, 0, 2, Act::Reads(answer)), [1]);
        let answer = &wire.frames[1];
        assert_eq!(
            (answer.answers, answer.api, answer.version),
            (Some(0), Some(ApiKey::Fetch), 17)
        );
    }

    #[test]
    fn frames_that_are_alike_are_read_in_the_order_in_which_they_were_sent() {
        let mut wire = connected();
        wire.passed(1, 0, 2, Act::Sends(fetch(7)));
        wire.passed(2, 0, 2, Act::Sends(fetch(7)));
        assert_eq!(wire.passed(3, 1, 1, Act::Reads(fetch(7))), [0]);
        assert_eq!(wire.passed(4, 1, 1, Act::Reads(fetch(7))), [1]);
        assert!(
            wire.passed(5, 1, 1, Act::Reads(fetch(7))).is_empty(),
            "nobody sent a third"
        );
    }

    #[test]
    fn what_was_sent_to_a_dead_process_is_lost() {
        let mut wire = connected();
        wire.passed(1, 0, 2, Act::Sends(fetch(7)));
        wire.died(2, 1);
        assert!(wire.frames[0].is_lost && wire.frames[0].ended == Some(2));
        wire.passed(3, 0, 2, Act::Sends(fetch(8)));
        wire.closed(4, 0, 2);
        assert!(wire.frames[1].is_lost && wire.frames[1].ended == Some(4));
    }

    #[test]
    fn what_is_under_way_when_its_sender_closes_may_still_be_read() {
        let mut wire = connected();
        wire.passed(1, 0, 2, Act::Sends(fetch(7)));
        wire.passed(1, 0, 2, Act::Sends(fetch(8)));
        wire.passed(2, 0, 2, Act::Closes);
        assert_eq!(wire.passed(3, 1, 1, Act::Reads(fetch(7))), [0]);
        let frames = wire.finish();
        assert_eq!((frames[0].is_lost, frames[0].ended), (false, Some(3)));
        assert_eq!((frames[1].is_lost, frames[1].ended), (true, Some(2)));
    }
}
