//! Back-pressure between a connection and the machine, both ways, and the bound on memory for requests.
//!
//! ```text
//!   frame handed over ─▶ closed ─ taken by the machine, answers not piling up, not paused ─▶ open: the next frame
//! ```
//!
//! Guarantees: of one connection at most one frame waits in the machine, and none is handed over while more than
//! [`MAX_QUEUED_ANSWER_BYTES`] of answers wait for a peer that reads slowly. Kafka mutes a connection for the same end.
//!
//! Sources: Kafka's SocketServer (mute), KIP-72 (`queued.max.request.bytes`).

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst};
use tokio::sync::Notify;

/// Answers that may wait for the peer before its next request is taken up.
pub const MAX_QUEUED_ANSWER_BYTES: usize = 1024 * 1024;

/// Of one connection.
#[derive(Debug, Default)]
pub struct Gate {
    handed_over: AtomicBool,
    paused: AtomicBool,
    queued: AtomicUsize,
    changed: Notify,
    given_up: Notify,
}

impl Gate {
    /// A frame goes to the machine; shut until [`Gate::taken`].
    pub fn hand_over(&self) {
        self.handed_over.store(true, SeqCst);
    }

    /// The machine has taken all that it was given.
    pub fn taken(&self) {
        self.handed_over.store(false, SeqCst);
        self.changed.notify_one();
    }

    /// The machine has not taken all that it was given.
    pub fn is_waiting(&self) -> bool {
        self.handed_over.load(SeqCst)
    }

    /// The machine wants no more of this connection, or wants more again.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, SeqCst);
        self.changed.notify_one();
    }

    /// Bytes wait for the peer.
    pub fn queue(&self, bytes: usize) {
        self.queued.fetch_add(bytes, SeqCst);
    }

    /// The peer's side has them.
    pub fn sent(&self, bytes: usize) {
        self.queued.fetch_sub(bytes, SeqCst);
        self.changed.notify_one();
    }

    /// What is still queued need not be written: the connection ends now.
    pub fn give_up(&self) {
        self.given_up.notify_one();
    }

    /// Waits for [`Gate::give_up`].
    pub async fn until_given_up(&self) {
        self.given_up.notified().await;
    }

    /// Waits until the machine has taken the last frame.
    pub async fn until_taken(&self) {
        while self.is_waiting() {
            self.changed.notified().await;
        }
    }

    /// Waits until the next frame may be handed over.
    pub async fn until_open(&self) {
        while self.is_waiting() || self.paused.load(SeqCst) || self.queued.load(SeqCst) > MAX_QUEUED_ANSWER_BYTES {
            self.changed.notified().await;
        }
    }
}

/// `queued.max.request.bytes`: frames that are being read, or wait for the machine, of all connections together.
#[derive(Debug)]
pub struct RequestMemory {
    left: AtomicI64,
    is_bounded: bool,
    freed: Notify,
}

/// Memory that one frame occupies.
#[derive(Debug)]
pub struct Occupied<'a> {
    memory: &'a RequestMemory,
    bytes: i64,
}

impl RequestMemory {
    /// Of so many bytes; `None` is without a bound.
    pub fn new(bytes: Option<i64>) -> RequestMemory {
        RequestMemory {
            left: AtomicI64::new(bytes.unwrap_or(0)),
            is_bounded: bytes.is_some(),
            freed: Notify::new(),
        }
    }

    /// Waits until anything is left. The frame itself may go below, or one that is larger than what is left would
    /// wait for ever behind smaller ones.
    pub async fn occupy(&self, bytes: usize) -> Occupied<'_> {
        let bytes = if self.is_bounded { bytes as i64 } else { 0 };
        while bytes > 0 && self.left.load(SeqCst) <= 0 {
            self.freed.notified().await;
        }
        if self.left.fetch_sub(bytes, SeqCst) > bytes && bytes > 0 {
            // More than one may have been waiting for what was freed at once.
            self.freed.notify_one();
        }
        Occupied { memory: self, bytes }
    }
}

impl Drop for Occupied<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.memory.left.fetch_add(self.bytes, SeqCst);
            self.memory.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    fn is_ready<F: Future>(future: Pin<&mut F>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn one_frame_at_a_time_and_none_while_answers_pile_up() {
        let gate = Gate::default();
        assert!(is_ready(pin!(gate.until_open())));
        gate.hand_over();
        let mut open = pin!(gate.until_open());
        assert!(!is_ready(open.as_mut()));
        gate.queue(MAX_QUEUED_ANSWER_BYTES + 1);
        gate.taken();
        assert!(is_ready(pin!(gate.until_taken())));
        assert!(!is_ready(open.as_mut()), "the peer does not read");
        gate.sent(1);
        assert!(is_ready(open.as_mut()));
        gate.pause(true);
        assert!(!is_ready(pin!(gate.until_open())));
        gate.pause(false);
        assert!(is_ready(pin!(gate.until_open())));
    }

    #[test]
    fn memory_for_requests_is_bounded_and_given_back() {
        let memory = RequestMemory::new(Some(100));
        let occupy = |bytes| {
            let mut future = Box::pin(memory.occupy(bytes));
            match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(occupied) => Ok(occupied),
                Poll::Pending => Err(future),
            }
        };
        let first = occupy(150).unwrap_or_else(|_| panic!("all is left"));
        let Err(mut second) = occupy(1) else {
            panic!("nothing is left")
        };
        let Err(mut third) = occupy(1) else {
            panic!("nothing is left")
        };
        drop(first);
        assert!(is_ready(second.as_mut()));
        assert!(is_ready(third.as_mut()), "whoever is served wakes the next");
        assert_eq!(memory.left.load(SeqCst), 100, "given back");
        let unbounded = RequestMemory::new(None);
        for _ in 0..3 {
            assert!(is_ready(pin!(unbounded.occupy(usize::MAX / 2))));
        }
    }
}
