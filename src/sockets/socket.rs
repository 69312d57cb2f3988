//! One socket: what lies between the kernel and the driver, and the byte streams that the driver has of it.
//!
//! Guarantees: bytes keep their order; a read yields and a write takes any number of them, drawn where the connection is
//! torn; without any to read, or room to write, the driver waits.

use crate::connection::accept::Backlog;
use bytes::{Buf, Bytes, BytesMut};
use kafka::ConnId;
use sim::program::SEND_BUFFER_BYTES;
use sim::random::Stream;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Least send buffer of a socket that is given little, bytes.
const LEAST_ROOM: u64 = 1024;
/// Chances in a million: a connection is torn; and on such, a piece is one byte, and nothing moves at once though it could.
const TORN_PPM: u32 = 350_000;
const ONE_BYTE_PPM: u32 = 125_000;
const HESITATES_PPM: u32 = 125_000;

/// Between kernel and driver, of one connection.
#[derive(Debug)]
pub(super) struct Buffers {
    chance: Rc<RefCell<Stream>>,
    /// Reads and writes come in pieces, and late.
    is_torn: bool,
    pub(super) inbound: VecDeque<Bytes>,
    /// Of the next frame.
    pub(super) reads: u32,
    /// Nothing comes any more: after an end in order, or else after a reset.
    pub(super) ended: Option<bool>,
    /// Written since the driver was polled.
    pub(super) outbound: BytesMut,
    /// The kernel takes so many bytes more.
    pub(super) room: usize,
    /// How many it takes when it says that it takes more.
    pub(super) more_room: usize,
    /// The kernel was asked to say so.
    pub(super) asked: bool,
    pub(super) paused: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    hesitated: bool,
}

impl Buffers {
    /// Of a new connection.
    pub(super) fn new(chance: Rc<RefCell<Stream>>) -> Buffers {
        let (is_torn, more_room) = {
            let mut chance = chance.borrow_mut();
            let half = SEND_BUFFER_BYTES as u64 / 2;
            match chance.chance(TORN_PPM) {
                true => (true, chance.between(LEAST_ROOM, half) as usize),
                false => (false, half as usize),
            }
        };
        Buffers {
            chance,
            is_torn,
            inbound: VecDeque::new(),
            reads: 0,
            ended: None,
            outbound: BytesMut::new(),
            room: 2 * more_room,
            more_room,
            asked: false,
            paused: false,
            reader: None,
            writer: None,
            hesitated: false,
        }
    }

    /// How many of so many bytes move at once.
    fn piece(&self, most: usize) -> usize {
        let mut chance = self.chance.borrow_mut();
        if !self.is_torn {
            most
        } else if chance.chance(ONE_BYTE_PPM) {
            most.min(1)
        } else {
            1 + chance.below(most as u64) as usize
        }
    }

    /// Whether this time nothing moves though it could; the driver is woken at once.
    fn hesitates(&mut self, context: &Context<'_>) -> bool {
        self.hesitated = self.is_torn && !self.hesitated && self.chance.borrow_mut().chance(HESITATES_PPM);
        if self.hesitated {
            context.waker().wake_by_ref();
        }
        self.hesitated
    }

    /// Lets whoever waits go on.
    pub(super) fn wake(waker: &mut Option<Waker>) {
        if let Some(waker) = waker.take() {
            waker.wake();
        }
    }
}

/// One socket; its clones are the same one.
#[derive(Clone, Debug)]
pub struct Socket(pub(super) Rc<RefCell<Buffers>>);

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.0.borrow_mut();
        let Some(waiting) = state.inbound.front().map(Bytes::len) else {
            return match state.ended {
                Some(true) => Poll::Ready(Ok(())),
                Some(false) => Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
                None => {
                    state.reader = Some(context.waker().clone());
                    Poll::Pending
                }
            };
        };
        if state.hesitates(context) {
            return Poll::Pending;
        }
        let size = state.piece(waiting.min(buf.remaining()));
        let front = state.inbound.front_mut().expect("looked at above");
        buf.put_slice(&front[..size]);
        front.advance(size);
        if front.is_empty() {
            state.inbound.pop_front();
        }
        state.reads += 1;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.0.borrow_mut();
        let room = match state.ended {
            Some(false) => return Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
            // The peer has closed it: the kernel takes what it can only throw away.
            Some(true) => usize::MAX,
            None => state.room,
        };
        if room == 0 {
            state.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        if state.hesitates(context) {
            return Poll::Pending;
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let size = state.piece(offered.min(room));
        let mut left = size;
        for slice in slices {
            let taken = left.min(slice.len());
            state.outbound.extend_from_slice(&slice[..taken]);
            left -= taken;
        }
        state.room = state.room.saturating_sub(size);
        Poll::Ready(Ok(size))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Connections that the kernel has and the process has not accepted yet.
#[derive(Clone, Debug, Default)]
pub(super) struct KernelBacklog(Rc<RefCell<(VecDeque<ConnId>, Option<Waker>)>>);

impl KernelBacklog {
    pub(super) fn push(&self, conn: ConnId) {
        let mut inner = self.0.borrow_mut();
        inner.0.push_back(conn);
        Buffers::wake(&mut inner.1);
    }
}

impl Backlog for KernelBacklog {
    type Stream = ();

    async fn next(&mut self) -> (ConnId, ()) {
        let conn = poll_fn(|context| {
            let mut inner = self.0.borrow_mut();
            match inner.0.pop_front() {
                Some(conn) => Poll::Ready(conn),
                None => {
                    inner.1 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        });
        (conn.await, ())
    }
}
