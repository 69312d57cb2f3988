//! T1, T2.

use super::*;
use crate::checks::Traffic;
use kafka::types::ConnId;
use std::io::ErrorKind;

const CONN: ConnId = ConnId(1);
const MIB: usize = 1024 * 1024;

fn frame(body: &[u8]) -> Bytes {
    let length = i32::try_from(body.len()).unwrap();
    [&length.to_be_bytes()[..], body].concat().into()
}

fn handed(frame: &Bytes) -> Traffic {
    Traffic::HandedOver {
        frame: frame.clone(),
        reads: 1,
    }
}

/// Which checks fire, and what was met.
fn judge(history: impl IntoIterator<Item = Traffic>) -> (Vec<&'static str>, Vec<&'static str>) {
    let mut checks = Checks::new(Context::new(3));
    for what in history {
        checks.fact(Fact::Traffic {
            time_ns: 1,
            node: 0,
            conn: CONN,
            what: &what,
        });
    }
    let fired = checks.violations().iter().map(|violation| violation.check).collect();
    let met = checks.marks().all().into_iter().filter(|(_, count)| *count > 0);
    (fired, met.map(|(name, _)| name).collect())
}

fn fired(history: impl IntoIterator<Item = Traffic>) -> Vec<&'static str> {
    judge(history).0
}

#[test]
fn t1_frames_are_what_arrived_whatever_the_pieces() {
    let (one, two) = (frame(b"one"), frame(b"second"));
    let stream = Bytes::from([&one[..], &two[..]].concat());
    let arrived = |at: usize| {
        [
            Traffic::Arrived(stream.slice(..at)),
            Traffic::Arrived(stream.slice(at..)),
        ]
    };
    let lawful = [
        handed(&one),
        Traffic::Taken,
        handed(&two),
        Traffic::Taken,
        Traffic::Rested { room: 1 },
    ];
    for at in 0..stream.len() {
        assert!(
            fired(arrived(at).into_iter().chain(lawful.clone())).is_empty(),
            "cut at {at}"
        );
    }
    let swapped = [handed(&two), Traffic::Taken, handed(&one)];
    assert_eq!(fired(arrived(3).into_iter().chain(swapped))[0], "T1");
    // Bytes of the right number, one of them another.
    let other = [handed(&frame(b"ony"))];
    assert_eq!(fired(arrived(3).into_iter().chain(other)), ["T1"]);
    // Two frames in one, or none of what came.
    assert_eq!(fired(arrived(3).into_iter().chain([handed(&stream)])), ["T1"]);
    assert_eq!(fired([handed(&one)]), ["T1"]);
}

#[test]
fn t1_what_leaves_is_what_was_sent() {
    let (one, two) = (frame(b"one"), frame(b"second"));
    let queued = [Traffic::Queued(one.clone()), Traffic::Queued(two.clone())];
    let left = |bytes: &[u8]| Traffic::Left(Bytes::copy_from_slice(bytes));
    let whole = [&one[..], &two[..]].concat();
    let pieces = [left(&whole[..5]), left(&whole[5..9]), left(&whole[9..])];
    assert!(fired(queued.clone().into_iter().chain(pieces)).is_empty());
    assert_eq!(fired(queued.clone().into_iter().chain([left(&two)])), ["T1"]);
    assert_eq!(fired(queued.clone().into_iter().chain([left(&whole[1..])])), ["T1"]);
    assert_eq!(fired(queued.into_iter().chain([left(&whole), left(b"more")])), ["T1"]);
}

#[test]
fn t1_nothing_waits_without_a_reason() {
    let one = frame(b"one");
    let rested = |room| Traffic::Rested { room };
    let arrived = Traffic::Arrived(one.clone());
    let queued = Traffic::Queued(one.clone());
    assert_eq!(fired([arrived.clone(), rested(0)]), ["T1"], "a frame is there");
    assert!(
        fired([Traffic::Arrived(one.slice(..6)), rested(0)]).is_empty(),
        "not all of it"
    );
    let second = [arrived.clone(), handed(&one), arrived.clone(), rested(0)];
    assert!(fired(second).is_empty(), "the machine has not taken the one before");
    assert!(
        fired([Traffic::LetGo, arrived, rested(0)]).is_empty(),
        "nobody wants it"
    );
    assert_eq!(fired([queued.clone(), rested(1)]), ["T1"], "the NIC would take it");
    let (fired, met) = judge([queued, rested(0)]);
    assert!(fired.is_empty());
    assert_eq!(met, ["write_held_up"]);
}

#[test]
fn t2_one_request_at_a_time_and_none_while_answers_pile_up() {
    let one = frame(b"one");
    let twice = Traffic::Arrived([&one[..], &one[..]].concat().into());
    assert!(fired([twice.clone(), handed(&one), Traffic::Taken, handed(&one)]).is_empty());
    assert_eq!(fired([twice.clone(), handed(&one), handed(&one)]), ["T2"]);
    let answer = |bytes| Traffic::Queued(frame(&vec![1; bytes - 4]));
    assert!(fired([twice.clone(), answer(MIB), handed(&one)]).is_empty());
    let (fired, met) = judge([twice.clone(), answer(MIB + 1), handed(&one)]);
    assert_eq!(fired, ["T2"]);
    assert_eq!(met, ["answers_piled_up"]);
    let read = Traffic::Left(Bytes::copy_from_slice(&frame(&vec![1; MIB - 3])[..1]));
    assert!(self::fired([twice, answer(MIB + 1), read, handed(&one)]).is_empty());
}

#[test]
fn ends_are_told_apart() {
    let met = |history: Vec<Traffic>| judge(history).1;
    let half = Traffic::Arrived(frame(b"half a frame").slice(..7));
    let ended = |how| Traffic::Ended(Some(how));
    assert_eq!(
        met(vec![half.clone(), ended(ErrorKind::ConnectionReset)]),
        ["reset_in_frame"]
    );
    assert!(met(vec![ended(ErrorKind::ConnectionReset)]).is_empty());
    assert_eq!(
        met(vec![half.clone(), ended(ErrorKind::UnexpectedEof)]),
        ["end_in_frame"]
    );
    assert_eq!(
        met(vec![half.clone(), ended(ErrorKind::InvalidData)]),
        ["frame_refused", "length_refused"]
    );
    assert_eq!(met(vec![ended(ErrorKind::TimedOut)]), ["peer_given_up"]);
    assert!(met(vec![half, Traffic::Ended(None)]).is_empty());
    let pieces = |reads| Traffic::HandedOver {
        frame: frame(b"one"),
        reads,
    };
    assert_eq!(
        met(vec![Traffic::Arrived(frame(b"one")), pieces(2)]),
        ["frame_in_pieces"]
    );
    let many = met(vec![Traffic::Arrived(frame(b"one")), pieces(8)]);
    assert_eq!(many, ["frame_in_many_pieces", "frame_in_pieces"]);
}

#[test]
fn another_process_has_other_connections_of_the_same_name() {
    let mut checks = Checks::new(Context::new(3));
    let one = frame(b"one");
    let mut tell = |node, what: &Traffic| {
        checks.fact(Fact::Traffic {
            time_ns: 1,
            node,
            conn: CONN,
            what,
        });
    };
    tell(0, &Traffic::Arrived(one.slice(..3)));
    tell(1, &Traffic::Arrived(one.clone()));
    tell(1, &handed(&one));
    checks.fact(Fact::Started {
        node: 0,
        incarnation: 2,
    });
    for what in [Traffic::Arrived(one.clone()), handed(&one)] {
        checks.fact(Fact::Traffic {
            time_ns: 1,
            node: 0,
            conn: CONN,
            what: &what,
        });
    }
    assert!(checks.violations().is_empty(), "{:?}", checks.violations());
}
