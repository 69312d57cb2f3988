//! One connection, of any pair of byte streams: whole frames in, whole frames out, back-pressure both ways.
//!
//! Guarantees: a frame is read into one buffer of its size, so it is not copied between socket and machine; a length
//! above the limit ends the connection before anything is allocated for it; what was queued before the end is written.
//! It ends when the peer ends, when the machine lets go of its [`Link`], or when the stream fails.
//!
//! Deliberately unknown: sockets, runtime and clocks (it is made of futures alone), and what is in a frame.

pub mod accept;
pub mod gate;
pub mod links;

use bytes::{Buf, Bytes, BytesMut};
use gate::{Gate, RequestMemory};
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

/// What happens on connections, for whoever runs the machine: in one channel, so that its order is the order of things.
#[derive(Debug)]
pub enum Event {
    /// A peer connected to a listener.
    Accepted(ConnId, Link),
    /// A connection of ours is made.
    Connected(ConnId),
    /// A whole frame, its length included.
    Received(ConnId, Bytes),
    /// Nothing of this connection follows.
    Closed(ConnId),
}

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
pub async fn drive<R, W, E>(
    conn: ConnId,
    reader: R,
    writer: W,
    end: LinkEnd,
    limits: &Limits,
    events: &mpsc::UnboundedSender<E>,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    E: From<Event>,
{
    let LinkEnd { gate, frames } = end;
    let reading = pin!(read(conn, reader, &gate, limits, events));
    let writing = pin!(write(writer, frames, &gate));
    let ended = tokio::select! {
        biased;
        written = writing => written,
        read = reading => read,
        () = gate.until_given_up() => Err(io::ErrorKind::TimedOut.into()),
    };
    let _ = events.send(Event::Closed(conn).into());
    ended
}

async fn read<R: AsyncRead + Unpin, E: From<Event>>(
    conn: ConnId,
    reader: R,
    gate: &Gate,
    limits: &Limits,
    events: &mpsc::UnboundedSender<E>,
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
        if events.send(Event::Received(conn, frame).into()).is_err() {
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

#[cfg(test)]
mod tests {
    use super::gate::MAX_QUEUED_ANSWER_BYTES;
    use super::*;
    use std::future::Future;
    use std::task::{Context, Poll, Waker};
    use tokio::io::{DuplexStream, duplex};

    fn frame(body: &[u8]) -> Vec<u8> {
        let length = i32::try_from(body.len()).unwrap();
        [&length.to_be_bytes()[..], body].concat()
    }

    fn limits(max_frame_bytes: usize) -> Limits {
        Limits {
            max_frame_bytes,
            memory: RequestMemory::new(None),
        }
    }

    /// A connection without a runtime: polled by hand until nothing moves.
    struct Bench<'a> {
        peer: DuplexStream,
        link: Option<Link>,
        events: mpsc::UnboundedReceiver<Event>,
        drive: std::pin::Pin<Box<dyn Future<Output = io::Result<()>> + 'a>>,
        ended: Option<io::Result<()>>,
    }

    impl<'a> Bench<'a> {
        fn new(limits: &'a Limits, socket_bytes: usize) -> Bench<'a> {
            let (peer, stream) = duplex(socket_bytes);
            let (reader, writer) = tokio::io::split(stream);
            let (link, end) = Link::new();
            let (sender, events) = mpsc::unbounded_channel();
            let drive = async move { drive(ConnId(1), reader, writer, end, limits, &sender).await };
            Bench {
                peer,
                link: Some(link),
                events,
                drive: Box::pin(drive),
                ended: None,
            }
        }

        fn run(&mut self) {
            for _ in 0..8 {
                if self.ended.is_none()
                    && let Poll::Ready(ended) = self.drive.as_mut().poll(&mut Context::from_waker(Waker::noop()))
                {
                    self.ended = Some(ended);
                }
            }
        }

        /// The peer writes as much as it can.
        fn write(&mut self, mut bytes: &[u8]) -> usize {
            let before = bytes.len();
            let mut stuck = 0;
            while !bytes.is_empty() && stuck < 3 {
                let mut writing = pin!(self.peer.write_buf(&mut bytes));
                match writing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(written) => {
                        written.unwrap();
                        stuck = 0;
                    }
                    Poll::Pending => stuck += 1,
                }
                self.run();
            }
            before - bytes.len()
        }

        /// The peer reads what has come.
        fn read(&mut self, size: usize) -> Vec<u8> {
            let mut bytes = Vec::with_capacity(size);
            for _ in 0..1_000 {
                let mut peer = (&mut self.peer).take((size - bytes.len()) as u64);
                let mut reading = pin!(peer.read_buf(&mut bytes));
                let _ = reading.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                self.run();
                if bytes.len() == size {
                    break;
                }
            }
            bytes
        }

        fn frames(&mut self) -> Vec<Bytes> {
            let mut frames = Vec::new();
            while let Ok(Event::Received(_, bytes)) = self.events.try_recv() {
                frames.push(bytes);
            }
            frames
        }

        fn link(&self) -> &Link {
            self.link.as_ref().unwrap()
        }
    }

    #[test]
    fn one_frame_at_a_time_whatever_the_pieces() {
        let limits = limits(1 << 20);
        let stream = [frame(b"alpha"), frame(b""), frame(&[7; 100_000])].concat();
        for piece in [1, 3, 5, 4096, 1 << 20] {
            let mut bench = Bench::new(&limits, 1 << 20);
            let mut found = Vec::new();
            for bytes in stream.chunks(piece) {
                assert_eq!(bench.write(bytes), bytes.len());
                let mut frames = bench.frames();
                assert!(frames.len() <= 1, "the machine has not taken the one before");
                while !frames.is_empty() {
                    found.append(&mut frames);
                    bench.link().gate.taken();
                    bench.run();
                    frames = bench.frames();
                }
            }
            assert_eq!(found.concat(), stream, "pieces of {piece}");
            assert_eq!(found.len(), 3);
        }
    }

    #[test]
    fn a_peer_that_does_not_read_is_not_read() {
        let limits = limits(1 << 20);
        let mut bench = Bench::new(&limits, 64 * 1024);
        let answer = Bytes::from(vec![1; 300_000]);
        let mut handed_over = 0;
        for _ in 0..20 {
            bench.write(&frame(b"again"));
            for _ in bench.frames() {
                handed_over += 1;
                bench.link().send(answer.clone());
                bench.link().gate.taken();
            }
            bench.run();
        }
        // The answers above the bound wait in memory, and no more are asked for.
        assert_eq!(handed_over, 1 + (MAX_QUEUED_ANSWER_BYTES + 64 * 1024) / answer.len());
        let mut read = 0;
        while handed_over < 20 {
            read += bench.read(answer.len()).len();
            for _ in bench.frames() {
                handed_over += 1;
                bench.link().send(answer.clone());
                bench.link().gate.taken();
            }
            bench.run();
        }
        assert_eq!(read % answer.len(), 0);
    }

    #[test]
    fn what_was_queued_is_written_before_the_end() {
        let limits = limits(1 << 20);
        let mut bench = Bench::new(&limits, 100);
        for at in 0..50_u8 {
            bench.link().send(Bytes::from(vec![at; 10]));
        }
        bench.link = None;
        bench.run();
        assert!(bench.ended.is_none(), "the peer has not read yet");
        let expected: Vec<u8> = (0..50_u8).flat_map(|at| [at; 10]).collect();
        assert_eq!(bench.read(500), expected);
        assert!(matches!(bench.ended, Some(Ok(()))));
        assert!(matches!(bench.events.try_recv(), Ok(Event::Closed(_))));
    }

    #[test]
    fn a_peer_that_never_reads_is_given_up() {
        let limits = limits(1 << 20);
        let mut bench = Bench::new(&limits, 100);
        bench.link().send(Bytes::from(vec![1; 1000]));
        let gate = Arc::clone(&bench.link().gate);
        bench.link = None;
        bench.run();
        assert!(bench.ended.is_none());
        gate.give_up();
        bench.run();
        assert!(matches!(bench.ended, Some(Err(_))));
    }

    #[test]
    fn bad_lengths_and_cut_frames_end_it() {
        let limits = limits(10);
        for (bytes, expected) in [
            (&[0xff, 0xff, 0xff, 0xff][..], io::ErrorKind::InvalidData),
            (&[0, 0, 0, 11], io::ErrorKind::InvalidData),
            (&[0, 0, 0, 10, 1, 2], io::ErrorKind::UnexpectedEof),
            (&[0, 0], io::ErrorKind::UnexpectedEof),
        ] {
            let mut bench = Bench::new(&limits, 1024);
            bench.write(bytes);
            let mut shutdown = pin!(bench.peer.shutdown());
            let _ = shutdown.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            bench.run();
            let Some(Err(error)) = &bench.ended else {
                panic!("{bytes:?} goes on")
            };
            assert_eq!(error.kind(), expected, "{bytes:?}");
            assert!(bench.frames().is_empty());
        }
    }

    #[test]
    fn memory_of_a_claimed_length_comes_with_its_bytes() {
        let limits = limits(1 << 30);
        let (mut peer, stream) = duplex(1024);
        let mut frames = FrameReader {
            reader: stream,
            buffer: BytesMut::new(),
        };
        let mut claim = &[0x3f, 0xff, 0xff, 0xff, 1, 2][..];
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(peer.write_buf(&mut claim)).poll(&mut context).is_ready());
        let Poll::Ready(Ok(Some(length))) = pin!(frames.length(limits.max_frame_bytes)).poll(&mut context) else {
            panic!("the length is there");
        };
        assert!(pin!(frames.frame(length)).poll(&mut context).is_pending());
        assert!(frames.buffer.capacity() <= 2 * RESERVE_AT_ONCE);
    }
}
