//! A connection driver that is wrong is found: something between it and its sockets does what a bug would do.

use super::*;
use crate::sockets::{Between, Ends, Socket};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the driver under test does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Nothing,
    /// A piece of a frame is dropped.
    Forgets,
    /// A piece of a frame comes twice.
    Repeats,
    /// What is sent later leaves before.
    Overtakes,
    /// It does not hear that something has come.
    Sleeps,
    /// It does not hear that there is room.
    Stalls,
}

/// A read or a write in so many goes wrong.
const ONE_IN: u32 = 400;

struct Wrong {
    socket: Socket,
    flaw: Flaw,
    calls: u32,
    again: Vec<u8>,
    kept_back: Vec<u8>,
}

impl Wrong {
    fn ends(socket: &Socket, flaw: Flaw) -> Ends {
        let wrong = || Wrong {
            socket: socket.clone(),
            flaw,
            calls: 0,
            again: Vec::new(),
            kept_back: Vec::new(),
        };
        (Box::new(wrong()), Box::new(wrong()))
    }

    fn goes_wrong(&mut self, flaw: Flaw) -> bool {
        self.calls += u32::from(self.flaw == flaw);
        self.calls == ONE_IN
    }
}

impl AsyncRead for Wrong {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.again.is_empty() {
            let again = std::mem::take(&mut self.again);
            buf.put_slice(&again);
            return Poll::Ready(Ok(()));
        }
        if self.goes_wrong(Flaw::Sleeps) {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buf);
        if buf.filled().len() > before {
            if self.goes_wrong(Flaw::Forgets) {
                buf.set_filled(before);
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.goes_wrong(Flaw::Repeats) && buf.remaining() >= buf.filled().len() - before {
                self.again = buf.filled()[before..].to_vec();
            }
        }
        read
    }
}

impl AsyncWrite for Wrong {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.goes_wrong(Flaw::Overtakes) {
            self.kept_back = buf.to_vec();
            return Poll::Ready(Ok(buf.len()));
        }
        if self.goes_wrong(Flaw::Stalls) {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.socket).poll_write(context, buf);
        if written.is_ready() && !self.kept_back.is_empty() {
            let kept_back = std::mem::take(&mut self.kept_back);
            let _ = Pin::new(&mut self.socket).poll_write(context, &kept_back);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

fn outcome(scenario: &Scenario, ends: Between) -> Outcome {
    let mut run = Run::new(scenario, 1, &Options::default());
    let driven = run.driven.take().expect("every seed of it is driven").between(ends);
    run.world.boot_mut().set_driven(driven.clone());
    run.driven = Some(driven);
    let caught = panics::catch(|| run.all(&mut Nobody));
    let ended = caught.unwrap_or_else(Ended::Panicked);
    run.outcome(1, ended)
}

#[test]
fn a_driver_that_is_wrong_is_found() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/byte-streams.json");
    let scenario = crate::scenario::load(&path).expect("valid");
    let flaws: [(Between, Flaw); 6] = [
        (|socket| Wrong::ends(&socket, Flaw::Nothing), Flaw::Nothing),
        (|socket| Wrong::ends(&socket, Flaw::Forgets), Flaw::Forgets),
        (|socket| Wrong::ends(&socket, Flaw::Repeats), Flaw::Repeats),
        (|socket| Wrong::ends(&socket, Flaw::Overtakes), Flaw::Overtakes),
        (|socket| Wrong::ends(&socket, Flaw::Sleeps), Flaw::Sleeps),
        (|socket| Wrong::ends(&socket, Flaw::Stalls), Flaw::Stalls),
    ];
    for (ends, flaw) in flaws {
        let outcome = outcome(&scenario, ends);
        let found = outcome.violates("T1");
        assert_eq!(found, flaw != Flaw::Nothing, "{flaw:?}: {}", outcome.headline());
        if flaw == Flaw::Nothing {
            assert_eq!(outcome.class, Class::Holds, "{}", outcome.headline());
        }
    }
}

#[test]
fn seeds_that_are_not_driven_run_as_if_nobody_had_asked() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/append-only.json");
    let scenario = crate::scenario::load(&path).expect("valid");
    let mut never = scenario.clone();
    never.cluster.driver_percent = 0;
    let mut half = scenario;
    half.cluster.driver_percent = 50;
    let digest = |scenario: &Scenario, seed| run(scenario, seed, &Options::default());
    let mut driven = 0;
    for seed in 0..12 {
        let (without, with) = (digest(&never, seed), digest(&half, seed));
        let is_driven = with.marks.contains_key("frame_in_pieces");
        assert_eq!(without.digest == with.digest, !is_driven, "seed {seed}");
        driven += u32::from(is_driven);
    }
    assert!((2..=10).contains(&driven), "{driven} of 12");
}
