//! Faults of the NIC as the connection driver meets them: each has its effect, and no check fires.

use super::*;
use crate::checks::{Checks, Context, Fact};
use sim::program::SEND_BUFFER_BYTES;
use sim::random::Streams;

const CONN: ConnId = ConnId(1);

fn frame(body: &[u8]) -> Bytes {
    let length = i32::try_from(body.len()).unwrap();
    [&length.to_be_bytes()[..], body].concat().into()
}

/// One broker's sockets; the test is NIC and machine.
struct Bench {
    sockets: Sockets,
    driven: Driven,
    /// Told to the machine.
    inputs: Vec<Input>,
    /// Asked of the NIC, bytes apart.
    effects: Vec<Effect>,
    /// Bytes that left.
    left: Vec<u8>,
    /// The machine leaves its last frame unread.
    is_busy: bool,
}

impl Bench {
    /// With one connection, accepted.
    fn accepted(seed: u64) -> Bench {
        let mut bench = Bench::new(seed);
        bench.sockets.accepted(CONN);
        bench.run();
        assert!(matches!(bench.inputs[..], [Input::Accepted { .. }]));
        bench.inputs.clear();
        bench
    }

    fn new(seed: u64) -> Bench {
        Bench::with(Driven::new(std::iter::once(Streams::new(seed).stream("driver b1"))))
    }

    fn with(driven: Driven) -> Bench {
        Bench {
            sockets: Sockets::new(NodeId(0), driven.clone()),
            driven,
            inputs: Vec::new(),
            effects: Vec::new(),
            left: Vec::new(),
            is_busy: false,
        }
    }

    /// Until all drivers rest.
    fn run(&mut self) {
        while let Some(input) = self.sockets.next_input() {
            self.inputs.push(input);
            let unread = usize::from(self.is_busy);
            self.sockets.open_gates(|_| unread);
        }
        let mut effects = Vec::new();
        self.sockets.settle(&mut effects);
        for effect in effects {
            match effect {
                Effect::Send { conn: 1, bytes } => self.left.extend_from_slice(&bytes),
                other => self.effects.push(other),
            }
        }
    }

    fn arrive(&mut self, bytes: &[u8]) {
        self.sockets.received(CONN, Bytes::copy_from_slice(bytes));
        self.run();
    }

    fn frames(&self) -> Vec<Bytes> {
        let frame = |input: &Input| match input {
            Input::Received { bytes, .. } => Some(bytes.clone()),
            _ => None,
        };
        self.inputs.iter().filter_map(frame).collect()
    }

    fn is_closed(&self) -> bool {
        matches!(self.inputs.last(), Some(Input::Closed { conn: CONN }))
    }

    /// How often the NIC was asked for this.
    fn asked(&self, what: impl Fn(&Effect) -> bool) -> usize {
        self.effects.iter().filter(|effect| what(effect)).count()
    }

    /// How often a mark was met; no check has fired.
    fn met(&self, mark: &str) -> u64 {
        let mut checks = Checks::new(Context::new(1));
        for (node, conn, what) in self.driven.journal().borrow().iter() {
            checks.fact(Fact::Traffic {
                time_ns: 1,
                node: node.0,
                conn: *conn,
                what,
            });
        }
        assert!(checks.violations().is_empty(), "{:?}", checks.violations());
        checks.marks().count(mark)
    }
}

/// Some are torn.
const SEEDS: std::ops::Range<u64> = 0..20;

#[test]
fn requests_are_whole_and_in_order_however_the_nic_cuts_them() {
    let bodies: [&[u8]; 4] = [b"alpha", b"", &[7; 70_000], b"omega"];
    let stream = bodies.map(frame).concat();
    let mut in_pieces = 0;
    for seed in SEEDS {
        for piece in [1, 3, 1000, stream.len()] {
            if piece == 1 && seed > 2 {
                continue; // Many steps, little news.
            }
            let mut bench = Bench::accepted(seed);
            for bytes in stream.chunks(piece) {
                bench.arrive(bytes);
            }
            assert_eq!(bench.frames(), bodies.map(frame), "seed {seed}, pieces of {piece}");
            in_pieces += bench.met("frame_in_many_pieces");
        }
    }
    assert!(in_pieces > 50, "{in_pieces}");
}

#[test]
fn a_peer_that_does_not_read_holds_up_the_driver_and_then_itself() {
    for seed in SEEDS {
        let mut bench = Bench::accepted(seed);
        let mut sent = Vec::new();
        for nth in 0..8 {
            bench.arrive(&frame(&[nth; 10]));
            let handed = bench.frames().len();
            if handed == usize::from(nth) + 1 {
                let answer = frame(&[nth; 300_000]);
                sent.extend_from_slice(&answer);
                bench.sockets.send(CONN, answer);
                bench.run();
            }
        }
        // The NIC has taken its buffer and no more; above 1 MiB of answers no request is taken up.
        assert!(
            (2048..=SEND_BUFFER_BYTES).contains(&bench.left.len()),
            "{}",
            bench.left.len()
        );
        assert_eq!(bench.frames().len(), 4, "seed {seed}");
        assert_eq!(bench.asked(|effect| matches!(effect, Effect::AwaitRoom { .. })), 1);
        assert_eq!(bench.asked(|effect| matches!(effect, Effect::PauseReading { .. })), 1);
        assert_eq!((bench.met("answers_piled_up"), bench.met("left_unread")), (1, 1));
        assert!(bench.met("write_held_up") > 0);
        // It reads again: everything comes, in order, and its requests are taken up.
        while bench.left.len() < sent.len() || bench.frames().len() < 8 {
            let before = bench.left.len();
            bench.sockets.writable(CONN);
            bench.run();
            assert!(bench.left.len() > before || bench.frames().len() == 8, "nothing moves");
        }
        assert_eq!(bench.left, sent);
        assert_eq!(bench.asked(|effect| matches!(effect, Effect::ResumeReading { .. })), 1);
        bench.met("answers_piled_up");
    }
}

#[test]
fn a_reset_or_an_end_in_the_middle_of_a_frame_takes_it_and_the_connection() {
    for seed in SEEDS {
        for (in_order, mark) in [(false, "reset_in_frame"), (true, "end_in_frame")] {
            let mut bench = Bench::accepted(seed);
            bench.arrive(&frame(b"whole"));
            bench.arrive(&frame(b"half of it")[..9]);
            assert!(!bench.is_closed());
            bench.sockets.closed(CONN, in_order);
            bench.run();
            assert!(bench.is_closed());
            assert_eq!(bench.frames(), [frame(b"whole")]);
            assert_eq!(bench.met(mark), 1);
            bench.sockets.send(CONN, frame(b"into the void"));
            bench.run();
            assert!(bench.left.is_empty());
        }
    }
}

#[test]
fn an_end_between_frames_comes_after_what_was_sent() {
    let mut bench = Bench::accepted(3);
    bench.sockets.received(CONN, frame(b"last words"));
    bench.sockets.closed(CONN, true);
    bench.run();
    assert_eq!(bench.frames(), [frame(b"last words")]);
    assert!(bench.is_closed());
    assert_eq!(bench.met("end_in_frame"), 0);
}

#[test]
fn a_half_open_connection_is_held_until_it_is_let_go_of_and_then_given_up() {
    for seed in SEEDS {
        let mut bench = Bench::accepted(seed);
        bench.arrive(&frame(b"half of it")[..9]);
        bench.sockets.send(CONN, frame(&[1; 200_000]));
        bench.run();
        // Nothing comes any more, nobody is told, and what was sent fills the kernel.
        assert!(bench.inputs.is_empty());
        assert_eq!(bench.sockets.next_deadline(), None, "the driver has no clock");
        let second = 1_000_000_000;
        bench.sockets.close(CONN, 5 * second);
        bench.run();
        assert_eq!(bench.asked(|effect| matches!(effect, Effect::Close { .. })), 0);
        assert_eq!(bench.sockets.next_deadline(), Some(15 * second));
        bench.sockets.give_up(15 * second - 1);
        bench.run();
        assert_eq!(bench.asked(|effect| matches!(effect, Effect::Close { .. })), 0);
        bench.sockets.give_up(15 * second);
        bench.run();
        assert_eq!(bench.asked(|effect| matches!(effect, Effect::Close { conn: 1 })), 1);
        assert!(bench.inputs.is_empty(), "the machine has let go of it");
        assert_eq!(bench.sockets.next_deadline(), None);
        assert_eq!(bench.met("peer_given_up"), 1);
    }
}

#[test]
fn what_was_sent_leaves_before_the_close() {
    for seed in SEEDS {
        let mut bench = Bench::accepted(seed);
        let answers: Vec<u8> = (0..50_u8).flat_map(|nth| frame(&[nth; 10])).collect();
        for nth in 0..50 {
            bench.sockets.send(CONN, frame(&[nth; 10]));
        }
        bench.sockets.close(CONN, 0);
        bench.run();
        assert_eq!(bench.left, answers);
        assert!(matches!(bench.effects[..], [Effect::Close { conn: 1 }]));
        assert_eq!(bench.sockets.next_deadline(), None, "nothing is left to wait for");
        bench.met("peer_given_up");
    }
}

#[test]
fn a_length_that_no_frame_has_ends_the_connection() {
    for seed in SEEDS {
        for length in [-1, i32::MIN, 104_857_601, i32::MAX] {
            let mut bench = Bench::accepted(seed);
            bench.arrive(&[&length.to_be_bytes()[..], b"rest"].concat());
            assert!(bench.is_closed() && bench.frames().is_empty(), "{length}");
            assert!(matches!(bench.effects.last(), Some(Effect::Close { conn: 1 })));
            assert_eq!(bench.met("length_refused"), 1);
        }
    }
}

#[test]
fn one_request_at_a_time_waits_for_the_machine() {
    let mut bench = Bench::accepted(1);
    bench.is_busy = true;
    for nth in 0..3 {
        bench.arrive(&frame(&[nth; 10]));
    }
    assert_eq!(bench.frames().len(), 1);
    assert_eq!(bench.asked(|effect| matches!(effect, Effect::PauseReading { .. })), 1);
    bench.is_busy = false;
    bench.sockets.open_gates(|_| 0);
    bench.run();
    assert_eq!(bench.frames().len(), 3);
    bench.met("left_unread");
}

#[test]
fn a_connect_that_fails_or_is_taken_back() {
    let own = ConnId(2);
    let mut bench = Bench::new(1);
    bench.sockets.connect(own);
    bench.sockets.closed(own, false);
    bench.run();
    assert!(matches!(bench.inputs[..], [Input::Closed { conn: ConnId(2) }]));
    bench.inputs.clear();
    let own = ConnId(4);
    bench.sockets.connect(own);
    bench.sockets.close(own, 0);
    bench.run();
    assert!(matches!(bench.effects[..], [Effect::Close { conn: 4 }]));
    bench.sockets.connected(own);
    bench.run();
    assert!(bench.inputs.is_empty());
    let own = ConnId(6);
    bench.sockets.connect(own);
    bench.sockets.connected(own);
    bench.run();
    assert!(matches!(bench.inputs[..], [Input::Connected { conn: ConnId(6) }]));
}

#[test]
fn whoever_is_one_too_many_waits_until_another_ends() {
    let stream = Streams::new(1).stream("driver b1");
    let mut bench = Bench::with(Driven::new(std::iter::once(stream)).places(2));
    for conn in [1, 3, 5] {
        bench.sockets.accepted(ConnId(conn));
        bench.sockets.received(ConnId(conn), frame(b"let me in"));
    }
    bench.run();
    let told = |bench: &Bench, conn| {
        let of = |input: &&Input| match input {
            Input::Accepted { conn: of } | Input::Received { conn: of, .. } => *of == ConnId(conn),
            _ => false,
        };
        bench.inputs.iter().filter(of).count()
    };
    assert_eq!([1, 3, 5].map(|conn| told(&bench, conn)), [2, 2, 0]);
    assert!(
        matches!(bench.effects[..], [Effect::PauseReading { conn: 5 }]),
        "{:?}",
        bench.effects
    );
    bench.sockets.closed(ConnId(3), true);
    bench.run();
    assert_eq!(told(&bench, 5), 2);
    assert!(matches!(bench.effects.last(), Some(Effect::ResumeReading { conn: 5 })));
    bench.met("left_unread");
}
