//! One connection, of any pair of byte streams: whole frames in, whole frames out, back-pressure both ways.
//!
//! Guarantees: a frame is read into one buffer of its size, so it is not copied between socket and machine; a length
//! above the limit ends the connection before anything is allocated for it; what was queued before the end is written.
//! It ends when the peer ends, when the machine lets go of its [`Link`], or when the stream fails.
//!
//! Deliberately unknown: sockets, runtime and clocks (it is made of futures alone), and what is in a frame.

use super::event::Event;
use super::gate::{Gate, RequestMemory};
use bytes::{Buf, Bytes, BytesMut};
use kafka::ConnId;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Read at once where no frame is under way.
const IDLE_READ_BYTES: usize = 16 * 1024;
/// Memory that the length of an unfinished frame may reserve at once; the rest grows with the bytes that come.
const RESERVE_AT_ONCE: usize = 2 * 1024 * 1024;
/// Frames that are written with one call.
const GATHER: usize = 16;

/// The machine's end of a connection. Dropped, it closes the connection after what was sent.
#[derive(Debug)]
pub struct Link {
    /// Back-pressure.
    pub gate: Arc<Gate>,
    frames: mpsc::UnboundedSender<Bytes>,
}

/// The connection's end of a [`Link`].
#[derive(Debug)]
pub struct LinkEnd {
    gate: Arc<Gate>,
    frames: mpsc::UnboundedReceiver<Bytes>,
}

impl Link {
    /// Both ends.
    pub fn new() -> (Link, LinkEnd) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let gate = Arc::new(Gate::default());
        let link = Link {
            gate: Arc::clone(&gate),
            frames: sender,
        };
        (link, LinkEnd { gate, frames: receiver })
    }

    /// Queues a frame; dropped silently if the peer is gone.
    pub fn send(&self, frame: Bytes) {
        self.gate.queue(frame.len());
        // The only failure is that the connection has ended; its `Closed` is on its way.
        let _ = self.frames.send(frame);
    }
}

/// What a connection may cost.
#[derive(Debug)]
pub struct Limits {
    /// `socket.request.max.bytes`.
    pub max_frame_bytes: usize,
    /// `queued.max.request.bytes`.
    pub memory: RequestMemory,
}

/// Runs a connection to its end. Says `Closed` last, unless the machine has let go of it before.
pub async fn drive<R, W>(
    conn: ConnId,
    reader: R,
    writer: W,
    end: LinkEnd,
    limits: &Limits,
    events: &mpsc::UnboundedSender<Event>,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let LinkEnd { gate, frames } = end;
    let reading = pin!(read(conn, reader, &gate, limits, events));
    let writing = pin!(write(writer, frames, &gate));
    let ended = tokio::select! {
        biased;
        written = writing => written,
        read = reading => read,
    };
    let _ = events.send(Event::Closed(conn));
    ended
}

async fn read<R: AsyncRead + Unpin>(
    conn: ConnId,
    reader: R,
    gate: &Gate,
    limits: &Limits,
    events: &mpsc::UnboundedSender<Event>,
) -> io::Result<()> {
    let mut frames = FrameReader {
        reader,
        buffer: BytesMut::new(),
    };
    while let Some(length) = frames.length(limits.max_frame_bytes).await? {
        let occupied = limits.memory.occupy(4 + length).await;
        let Some(frame) = frames.frame(length).await? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        gate.until_open().await;
        gate.hand_over();
        if events.send(Event::Received(conn, frame)).is_err() {
            break;
        }
        gate.until_taken().await;
        drop(occupied);
    }
    Ok(())
}

/// Cuts frames, reading each into a buffer that ends where it ends.
struct FrameReader<R> {
    reader: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// The length of the next frame; `None` at the end of the stream.
    async fn length(&mut self, max: usize) -> io::Result<Option<usize>> {
        while self.buffer.len() < 4 {
            self.buffer.reserve(IDLE_READ_BYTES);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.len() {
                    0 => Ok(None),
                    _ => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
        let head = self.buffer.first_chunk::<4>().expect("filled above");
        let length = i32::from_be_bytes(*head);
        match usize::try_from(length) {
            Ok(length) if length <= max => Ok(Some(length)),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("frame length {length} is not between 0 and {max}"),
            )),
        }
    }

    /// The next frame with its length, which is known; `None` if the stream ends before.
    async fn frame(&mut self, length: usize) -> io::Result<Option<Bytes>> {
        let size = 4 + length;
        while self.buffer.len() < size {
            let missing = size - self.buffer.len();
            self.buffer.reserve(missing.min(RESERVE_AT_ONCE.max(self.buffer.len())));
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
        Ok(Some(self.buffer.split_to(size).freeze()))
    }
}

async fn write<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut frames: mpsc::UnboundedReceiver<Bytes>,
    gate: &Gate,
) -> io::Result<()> {
    let mut queue: VecDeque<Bytes> = VecDeque::with_capacity(GATHER);
    while let Some(first) = frames.recv().await {
        queue.push_back(first);
        while !queue.is_empty() {
            while queue.len() < GATHER {
                match frames.try_recv() {
                    Ok(frame) => queue.push_back(frame),
                    Err(_) => break,
                }
            }
            let written = match queue.len() {
                1 => writer.write(&queue[0]).await?,
                _ => {
                    let mut slices = [IoSlice::new(&[]); GATHER];
                    for (slice, frame) in slices.iter_mut().zip(&queue) {
                        *slice = IoSlice::new(frame);
                    }
                    writer.write_vectored(&slices[..queue.len()]).await?
                }
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            advance(&mut queue, written);
            gate.sent(written);
        }
        writer.flush().await?;
    }
    writer.shutdown().await
}

fn advance(queue: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = queue.front_mut() {
        if written < front.len() {
            front.advance(written);
            return;
        }
        written -= front.len();
        queue.pop_front();
    }
}
