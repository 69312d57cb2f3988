//! A valve between the processes of the simulated cluster and its network: it keeps frames back until they are asked for.
//!
//! Closed, it lets a path of the specification decide in which order messages are handled, or a script which messages of a
//! link go and which are lost. It also carries a hand: requests that no client sent, put into a process as if they had
//! come in, and their answers. It looks at frames, never into machines. A run whose script keeps nothing back has none.

use bytes::Bytes;
use kafka::wire::{api, frame};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use sim::fault::NodeId;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Shared by all processes.
pub type SharedValve = Rc<RefCell<Valve>>;

/// Connections from here on are the hand's; odd, as accepted ones are.
const HAND: u64 = (1 << 60) + 1;

/// A frame that is kept back.
#[derive(Clone, Debug)]
pub struct Frame {
    /// In the order in which they were sent.
    pub number: u64,
    /// Who sent it.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// On which of the sender's connections.
    pub conn: u64,
    /// What it is, or answers.
    pub api: ApiKey,
    /// Whether it is an answer.
    pub is_answer: bool,
    /// The whole frame.
    pub bytes: Bytes,
}

impl Frame {
    /// The request in it.
    pub fn request(&self) -> Option<RequestKind> {
        if self.is_answer {
            return None;
        }
        frame::decode_request(self.bytes.slice(4..))
            .ok()
            .map(|request| request.body)
    }
}

/// Keeps frames back.
#[derive(Debug, Default)]
pub struct Valve {
    /// Requests of these kinds, and answers of these.
    holds: BTreeSet<(i16, bool)>,
    /// Links of which everything is kept back: from, to.
    links: BTreeSet<(NodeId, NodeId)>,
    /// Whose heartbeats are kept back.
    silent: BTreeSet<NodeId>,
    held: Vec<Frame>,
    numbers: u64,
    connects: BTreeMap<(NodeId, u64), NodeId>,
    accepted: BTreeMap<(NodeId, u64), NodeId>,
    asked: BTreeMap<(NodeId, i32), ApiKey>,
    hands: u64,
    answered: BTreeMap<u64, Bytes>,
}

impl Valve {
    /// From now on these are kept back: kind, and whether it is an answer.
    pub fn hold(&mut self, kinds: &[(ApiKey, bool)]) {
        self.holds
            .extend(kinds.iter().map(|(api, answer)| (*api as i16, *answer)));
    }

    /// Nothing more is kept back. What was is for the caller to release.
    pub fn open(&mut self) {
        self.holds.clear();
        self.links.clear();
        self.silent.clear();
    }

    /// Keeps a node's heartbeats back, or lets them go again.
    pub fn silence(&mut self, node: NodeId, silent: bool) {
        if silent {
            self.silent.insert(node);
        } else {
            self.silent.remove(&node);
        }
    }

    /// Keeps back everything that one node sends to another, or no more; what was is for the caller to release.
    pub fn hold_link(&mut self, from: NodeId, to: NodeId, holds: bool) {
        if holds {
            self.links.insert((from, to));
        } else {
            self.links.remove(&(from, to));
        }
    }

    /// The oldest frame of a link that is kept back.
    pub fn oldest(&self, from: NodeId, to: NodeId) -> Option<u64> {
        let frame = self.held.iter().find(|frame| (frame.from, frame.to) == (from, to));
        frame.map(|frame| frame.number)
    }

    /// What is kept back, oldest first.
    pub fn held(&self) -> &[Frame] {
        &self.held
    }

    /// Takes a frame out.
    pub fn take(&mut self, number: u64) -> Option<Frame> {
        let at = self.held.iter().position(|frame| frame.number == number)?;
        Some(self.held.remove(at))
    }

    /// The number that the next frame will have: later ones are younger.
    pub fn next_number(&self) -> u64 {
        self.numbers
    }

    /// A process connects.
    pub fn connecting(&mut self, node: NodeId, conn: u64, to: NodeId) {
        self.connects.insert((node, conn), to);
    }

    /// Somebody has connected.
    pub fn accepted(&mut self, node: NodeId, conn: u64, from: NodeId) {
        self.accepted.insert((node, conn), from);
    }

    /// A connection has ended: what was to be sent on it has nowhere to go.
    pub fn closed(&mut self, node: NodeId, conn: u64) {
        self.held.retain(|frame| (frame.from, frame.conn) != (node, conn));
    }

    /// A process has ended, and what it had not sent.
    pub fn died(&mut self, node: NodeId) {
        self.held.retain(|frame| frame.from != node);
    }

    /// A process sends a frame; gives it back if it may go.
    pub fn pass(&mut self, from: NodeId, conn: u64, bytes: Bytes) -> Option<Bytes> {
        if conn >= HAND {
            self.answered.insert(conn, bytes);
            return None;
        }
        let is_answer = conn % 2 == 1;
        let peers = if is_answer { &self.accepted } else { &self.connects };
        let Some(to) = peers.get(&(from, conn)).copied() else {
            return Some(bytes);
        };
        let Some(api) = self.kind(from, to, is_answer, &bytes) else {
            return Some(bytes);
        };
        let silenced = api == ApiKey::BrokerHeartbeat && !is_answer && self.silent.contains(&from);
        let is_held = self.links.contains(&(from, to)) || self.holds.contains(&(api as i16, is_answer));
        if !silenced && !is_held {
            return Some(bytes);
        }
        self.numbers += 1;
        self.held.push(Frame {
            number: self.numbers - 1,
            from,
            to,
            conn,
            api,
            is_answer,
            bytes,
        });
        None
    }

    /// What a frame is: a request says so itself, an answer by the number of its request.
    fn kind(&mut self, from: NodeId, to: NodeId, is_answer: bool, bytes: &Bytes) -> Option<ApiKey> {
        if is_answer {
            let correlation = frame::peek_correlation_id(&bytes.slice(4..)).ok()?;
            return self.asked.get(&(to, correlation)).copied();
        }
        let api = frame::peek_api(bytes)?;
        let correlation = i32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?);
        self.asked.insert((from, correlation), api);
        Some(api)
    }

    /// A new connection of the hand, and the request as a frame.
    pub fn hand(&mut self, request: &RequestKind) -> (u64, Bytes) {
        self.hands += 1;
        let version = api::newest(frame::api_key_of(request));
        let frame = frame::encode_request(self.hands as i32, "hand", request, version);
        (HAND + 2 * self.hands, frame)
    }

    /// The answer to a request of the hand, once it is there.
    pub fn answer(&self, conn: u64, key: ApiKey) -> Option<ResponseKind> {
        let bytes = self.answered.get(&conn)?.slice(4..);
        let (_, response) = frame::decode_response(bytes, key, api::newest(key)).ok()?;
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::FetchRequest;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);

    fn fetch(correlation: i32) -> Bytes {
        frame::encode_request(correlation, "a", &RequestKind::Fetch(FetchRequest::default()), 17)
    }

    #[test]
    fn what_is_held_waits_and_the_rest_passes() {
        let mut valve = Valve::default();
        valve.connecting(A, 2, B);
        assert!(valve.pass(A, 2, fetch(1)).is_some(), "an open valve keeps nothing");
        valve.hold(&[(ApiKey::Fetch, false)]);
        assert!(valve.pass(A, 2, fetch(2)).is_none());
        let held = &valve.held()[0];
        assert_eq!(
            (held.from, held.to, held.api, held.is_answer),
            (A, B, ApiKey::Fetch, false)
        );
        let number = held.number;
        assert!(valve.take(number).is_some() && valve.held().is_empty());
    }

    #[test]
    fn a_link_is_kept_back_in_one_direction_and_its_oldest_frame_comes_first() {
        let mut valve = Valve::default();
        valve.connecting(A, 2, B);
        valve.accepted(B, 1, A);
        valve.hold_link(A, B, true);
        assert!(valve.pass(A, 2, fetch(1)).is_none() && valve.pass(A, 2, fetch(2)).is_none());
        assert_eq!((valve.oldest(A, B), valve.oldest(B, A)), (Some(0), None));
        valve.take(0);
        assert_eq!(valve.oldest(A, B), Some(1));
        valve.hold_link(A, B, false);
        assert!(valve.pass(A, 2, fetch(3)).is_some());
        assert_eq!(valve.held().len(), 1, "what waits is the caller's");
        valve.died(A);
        assert_eq!(valve.oldest(A, B), None);
    }

    #[test]
    fn an_answer_is_known_by_the_request_that_it_answers() {
        let mut valve = Valve::default();
        valve.connecting(A, 2, B);
        valve.accepted(B, 1, A);
        valve.hold(&[(ApiKey::Fetch, true)]);
        assert!(valve.pass(A, 2, fetch(7)).is_some());
        let answer = |correlation: i32| {
            let mut bytes = vec![0, 0, 0, 4];
            bytes.extend(correlation.to_be_bytes());
            Bytes::from(bytes)
        };
        assert!(valve.pass(B, 1, answer(8)).is_some(), "nobody asked that");
        assert!(valve.pass(B, 1, answer(7)).is_none());
        valve.closed(B, 1);
        assert!(valve.held().is_empty(), "there is nowhere to send it");
    }
}
