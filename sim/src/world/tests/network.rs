//! Every fault of links, NICs and connections shows its effect.

use super::*;
use crate::fault::{Refusal, Survival};

fn power_loss(node: NodeId) -> Fault {
    Fault::PowerLoss {
        nodes: vec![node],
        survival: Survival::All,
        torn_sectors: false,
        garbage_tail: false,
    }
}

#[test]
fn bytes_arrive_in_order_after_a_handshake_of_one_round_trip() {
    let mut lab = Lab::new(2);
    let begun = lab.world.now();
    let (a, b) = lab.connect(A, 2, B);
    assert_eq!((a, b), (2, 1), "own names are even, accepted ones odd");
    let connected = lab.times(A, StepKind::Connected)[0] - begun;
    assert!((200_000..4 * MS).contains(&connected), "{connected} ns");
    assert!(lab.times(B, StepKind::Accepted)[0] > lab.times(A, StepKind::Connected)[0]);
    let text = pattern(300_000);
    for piece in text.chunks(1000) {
        lab.send(A, a, piece);
    }
    lab.run(SECOND);
    assert_eq!(lab.received(B, b), text);
    lab.send(B, b, b"back");
    lab.run(SECOND);
    assert_eq!(lab.received(A, a), b"back");
    assert_eq!(lab.world.counts().bytes, 300_004);
}

#[test]
fn a_large_send_goes_through_the_window_in_order() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.connect(A, 2, B);
    let text = pattern(3_000_000);
    lab.send(A, a, &text);
    lab.act(A, Effect::Close { conn: a });
    lab.run(SECOND);
    assert_eq!(lab.received(B, b), text);
    assert!(lab.closed(B, b) && !lab.closed(A, a));
    assert_eq!(lab.world.connections(), 0, "both kernels have forgotten it");
}

#[test]
fn a_node_can_talk_to_itself() {
    let mut lab = Lab::new(1);
    let (a, b) = lab.connect(A, 2, A);
    assert!(!lab.world.apply(&Fault::Cut {
        from: vec![A],
        to: vec![A]
    }));
    lab.send(A, a, b"echo");
    lab.run(MS);
    assert_eq!(lab.received(A, b), b"echo");
    lab.apply(Fault::Kill { node: A });
    lab.run(SECOND);
    assert_eq!(lab.world.connections(), 0);
}

#[test]
fn a_close_arrives_after_the_bytes_and_nothing_after_it() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.connect(A, 2, B);
    lab.send(A, a, b"last words");
    lab.act(A, Effect::Close { conn: a });
    lab.send(B, b, b"too late");
    lab.run(SECOND);
    assert_eq!(lab.received(B, b), b"last words");
    assert!(matches!(lab.log(B).last(), Some((_, Event::Closed { conn, .. })) if *conn == b));
    assert!(!lab.saw(A, |event| matches!(
        event,
        Event::Received { .. } | Event::Closed { .. }
    )));
    assert_eq!(lab.world.connections(), 0);
}

#[test]
fn connects_are_refused_or_vanish() {
    let mut lab = Lab::new(3);
    lab.apply(Fault::Kill { node: B });
    let begun = lab.world.now();
    lab.start_connect(A, 2, B);
    lab.run(SECOND);
    assert!(lab.closed(A, 2), "no process listens: reset");
    assert!(lab.times(A, StepKind::Closed)[0] - begun < 10 * MS);

    lab.apply(power_loss(C));
    let begun = lab.world.now();
    lab.start_connect(A, 4, C);
    lab.run(10 * SECOND);
    assert_eq!(
        lab.times(A, StepKind::Closed)[1],
        begun + 20_000 + 3 * SECOND,
        "no power: time-out"
    );
}

#[test]
fn a_connect_through_a_partition_times_out_unless_it_heals() {
    for healed in [false, true] {
        for (from, to) in [(A, B), (B, A)] {
            let mut lab = Lab::new(2);
            lab.cut(from, to);
            lab.start_connect(A, 2, B);
            lab.run(500 * MS);
            if healed {
                lab.apply(Fault::HealLinks);
            }
            lab.run(10 * SECOND);
            assert_eq!(lab.closed(A, 2), !healed);
            assert_eq!(lab.times(A, StepKind::Connected).len(), usize::from(healed));
            assert_eq!(
                lab.times(B, StepKind::Accepted).len(),
                usize::from(healed),
                "{from:?}>{to:?}"
            );
        }
    }
}

#[test]
fn a_node_refuses_connects_in_three_ways() {
    for how in [Refusal::Refused, Refusal::BlackHoled, Refusal::AcceptedThenReset] {
        let mut lab = Lab::new(2);
        lab.apply(Fault::RefuseConnects {
            node: B,
            how: Some(how),
        });
        let begun = lab.world.now();
        lab.start_connect(A, 2, B);
        lab.run(5 * SECOND);
        assert!(lab.closed(A, 2));
        let took = lab.times(A, StepKind::Closed)[0] - begun;
        assert_eq!(took >= 3 * SECOND, how == Refusal::BlackHoled);
        let accepted = usize::from(how == Refusal::AcceptedThenReset);
        assert_eq!(lab.times(A, StepKind::Connected).len(), accepted);
        assert_eq!(lab.times(B, StepKind::Accepted).len(), accepted);
        assert_eq!(lab.times(B, StepKind::Closed).len(), accepted);
        lab.apply(Fault::RefuseConnects { node: B, how: None });
        lab.connect(A, 4, B);
    }
}

#[test]
fn a_symmetric_partition_stalls_and_what_was_sent_flows_after_the_back_off() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.connect(A, 2, B);
    lab.cut(A, B);
    lab.cut(B, A);
    lab.send(A, a, b"one ");
    lab.run(100 * MS);
    lab.send(A, a, b"two");
    lab.run(900 * MS);
    assert_eq!(lab.received(B, b), b"");
    lab.apply(Fault::HealLinks);
    lab.run(200 * MS);
    assert_eq!(
        lab.received(B, b),
        b"",
        "the next retransmission is 1.4 s after the first"
    );
    lab.run(500 * MS);
    assert_eq!(lab.received(B, b), b"one two");
    assert!(!lab.closed(A, a));
}

#[test]
fn a_one_way_partition_starves_one_side_only() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.connect(A, 2, B);
    lab.cut(A, B);
    lab.send(A, a, b"from a");
    lab.send(B, b, b"from b");
    lab.run(5 * SECOND);
    assert_eq!(lab.received(B, b), b"");
    assert_eq!(lab.received(A, a), b"from b", "the other direction passes");
    assert!(!lab.closed(A, a) && !lab.closed(B, b));
    lab.run(15 * SECOND);
    assert!(lab.closed(A, a), "its bytes were never acknowledged");
    assert!(
        lab.closed(B, b),
        "nor were those of b: the acknowledgements came from a"
    );
}

#[test]
fn without_acknowledgements_a_sender_sends_little_and_gives_up() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.connect(A, 2, B);
    lab.cut(B, A);
    for _ in 0..100 {
        lab.send(A, a, &[1; 10_000]);
        lab.run(10 * MS);
    }
    let got = lab.received(B, b).len();
    assert!((50_000..=64 * 1024).contains(&got), "{got} of a million bytes");
    lab.run(20 * SECOND);
    assert!(lab.closed(A, a), "a timed out");
    assert!(!lab.closed(B, b), "b never learns");
    lab.apply(Fault::HealLinks);
    lab.run(SECOND);
    assert!(!lab.closed(B, b), "it has nothing to say");
    lab.send(B, b, b"hello?");
    lab.run(SECOND);
    assert!(lab.closed(B, b), "a's kernel knows no such connection");
}

#[test]
fn what_passed_without_acknowledgement_is_not_sent_twice() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.connect(A, 2, B);
    let text = pattern(200_000);
    lab.cut(B, A);
    for piece in text.chunks(7000) {
        lab.send(A, a, piece);
    }
    lab.run(2 * SECOND);
    lab.apply(Fault::HealLinks);
    lab.run(5 * SECOND);
    assert_eq!(lab.received(B, b), text);
}

#[test]
fn a_partial_partition_leaves_the_third_connected_to_both() {
    let mut lab = Lab::new(3);
    let (_, b) = lab.connect(A, 2, B);
    let (_, c) = lab.connect(A, 4, C);
    lab.cut(A, B);
    lab.send(A, 2, b"x");
    lab.send(A, 4, b"y");
    lab.run(SECOND);
    assert_eq!((lab.received(B, b), lab.received(C, c)), (vec![], b"y".to_vec()));
}

#[test]
fn flapping_links_pass_bytes_now_and_then_until_healed() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.connect(A, 2, B);
    lab.apply(Fault::Flap {
        a: vec![A],
        b: vec![B],
        period_ms: 50,
    });
    let mut late = 0;
    for i in 0..20u8 {
        lab.send(A, a, &[i]);
        lab.run(25 * MS);
        late += usize::from(lab.received(B, b).len() <= usize::from(i));
    }
    assert!((5..=20).contains(&late), "{late} of 20 late");
    lab.apply(Fault::HealLinks);
    lab.run(5 * SECOND);
    assert_eq!(lab.received(B, b), (0..20).collect::<Vec<u8>>());
    lab.send(A, a, b"!");
    lab.run(10 * MS);
    assert_eq!(lab.received(B, b).len(), 21, "healed for good");
}

#[test]
fn loss_delays_and_holds_up_what_comes_after_on_the_same_connection_only() {
    let mut lab = Lab::new(2);
    let (_, b1) = lab.connect(A, 2, B);
    let (_, b2) = lab.connect(A, 4, B);
    lab.apply(Fault::Loss {
        from: A,
        to: B,
        ppm: 1_000_000,
    });
    lab.send(A, 2, b"lost ");
    lab.apply(Fault::Loss { from: A, to: B, ppm: 0 });
    lab.send(A, 2, b"behind");
    lab.send(A, 4, b"beside");
    lab.run(100 * MS);
    assert_eq!(lab.received(B, b1), b"");
    assert_eq!(lab.received(B, b2), b"beside");
    lab.run(13 * SECOND);
    assert_eq!(lab.received(B, b1), b"lost behind");
}

#[test]
fn a_slow_link_is_slow_in_its_direction() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.connect(A, 2, B);
    lab.apply(Fault::SlowLink {
        from: A,
        to: B,
        factor: 1000,
    });
    lab.send(A, a, b"x");
    lab.send(B, b, b"y");
    lab.run(50 * MS);
    assert_eq!((lab.received(B, b), lab.received(A, a)), (vec![], b"y".to_vec()));
    lab.run(2 * SECOND);
    assert_eq!(lab.received(B, b), b"x");
}

#[test]
fn connections_share_the_bandwidth_of_a_nic() {
    let time = |connections: u64| {
        let mut lab = Lab::new(3);
        for i in 0..connections {
            lab.connect(A, 2 + 2 * i, if i == 0 { B } else { C });
        }
        lab.apply(Fault::Bandwidth {
            node: A,
            bytes_per_s: 1_000_000,
        });
        let begun = lab.world.now();
        for i in 0..connections {
            lab.send(A, 2 + 2 * i, &pattern(500_000));
        }
        lab.run(10 * SECOND);
        let got = lab.received(B, 1);
        assert_eq!(got, pattern(500_000));
        lab.times(B, StepKind::Received).last().expect("some") - begun
    };
    let (alone, shared) = (time(1), time(2));
    assert!((480 * MS..600 * MS).contains(&alone), "{alone}");
    assert!((900 * MS..1100 * MS).contains(&shared), "{shared}");
}

#[test]
fn the_receivers_nic_is_a_queue_too_and_its_limit_ends() {
    let mut lab = Lab::new(3);
    let (_, b1) = lab.connect(A, 2, B);
    let (_, b2) = lab.connect(C, 2, B);
    lab.apply(Fault::Bandwidth {
        node: B,
        bytes_per_s: 100_000,
    });
    lab.send(A, 2, &pattern(100_000));
    lab.send(C, 2, &pattern(100_000));
    lab.run(SECOND);
    let got = lab.received(B, b1).len() + lab.received(B, b2).len();
    assert!(got <= 110_000, "{got} bytes in a second");
    lab.apply(Fault::Bandwidth {
        node: B,
        bytes_per_s: 0,
    });
    lab.run(100 * MS);
    assert_eq!(lab.received(B, b1), pattern(100_000));
    assert_eq!(lab.received(B, b2), pattern(100_000));
}

#[test]
fn fragments_are_cut_anywhere_and_glued_together() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.connect(A, 2, B);
    lab.apply(Fault::Fragment { node: B, on: true });
    let text = pattern(20_000);
    for piece in text.chunks(100) {
        lab.send(A, a, piece);
        lab.run(50_000);
    }
    lab.act(A, Effect::Close { conn: a });
    lab.run(SECOND);
    assert_eq!(lab.received(B, b), text);
    assert!(lab.closed(B, b));
    let mut offset = 0;
    let (mut cut, mut glued) = (0, 0);
    for (_, event) in lab.log(B) {
        if let Event::Received { bytes, .. } = event {
            cut += usize::from(offset % 100 != 0);
            glued += usize::from(offset / 100 != (offset + bytes.len() - 1) / 100);
            offset += bytes.len();
        }
    }
    assert!(cut > 20 && glued > 10, "{cut} cut, {glued} glued");
}

#[test]
fn a_program_that_does_not_read_fills_the_window_and_then_the_sender() {
    for by_itself in [true, false] {
        let mut lab = Lab::new(2);
        let (a, b) = lab.connect(A, 2, B);
        if by_itself {
            lab.act(B, Effect::PauseReading { conn: b });
        } else {
            lab.apply(Fault::StopReading { node: B, on: true });
        }
        let text = pattern(1_000_000);
        for piece in text.chunks(10_000) {
            lab.send(A, a, piece);
        }
        lab.run(60 * SECOND);
        assert_eq!(lab.received(B, b), b"");
        assert!(!lab.closed(A, a), "a full window is no reason to give up");
        let taken = lab.world.net.unread(B.0.into());
        assert!((240_000..=256 * 1024).contains(&taken), "{taken} bytes in the kernel");
        if by_itself {
            lab.act(B, Effect::ResumeReading { conn: b });
        } else {
            lab.apply(Fault::StopReading { node: B, on: false });
        }
        lab.run(SECOND);
        assert_eq!(lab.received(B, b), text);
    }
}

#[test]
fn whoever_asks_for_room_is_told_once_when_the_kernel_has_passed_things_on() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.connect(A, 2, B);
    let told = |lab: &Lab| lab.times(A, StepKind::Writable).len();
    lab.act(A, Effect::AwaitRoom { conn: a });
    lab.run(MS);
    assert_eq!(told(&lab), 1, "at once where nothing waits");
    lab.apply(Fault::StopReading { node: B, on: true });
    lab.send(A, a, &pattern(1_000_000));
    lab.act(A, Effect::AwaitRoom { conn: a });
    lab.run(60 * SECOND);
    assert_eq!(told(&lab), 1, "nobody reads");
    lab.apply(Fault::StopReading { node: B, on: false });
    lab.run(SECOND);
    assert_eq!(told(&lab), 2);
    assert_eq!(lab.received(B, b).len(), 1_000_000);
    lab.send(A, a, b"more");
    lab.run(SECOND);
    assert_eq!(told(&lab), 2, "nobody asked");
    lab.cut(A, B);
    lab.send(A, a, &pattern(1_000_000));
    lab.act(A, Effect::AwaitRoom { conn: a });
    lab.run(60 * SECOND);
    assert!(lab.closed(A, a), "it timed out");
    assert_eq!(told(&lab), 2, "the end is the news");
}

#[test]
fn a_program_knows_an_end_in_order_from_one_that_is_not() {
    let in_order = |end: &dyn Fn(&mut Lab, u64)| {
        let mut lab = Lab::new(2);
        let (a, _) = lab.connect(A, 2, B);
        lab.send(A, a, b"half a frame");
        end(&mut lab, a);
        lab.run(SECOND);
        match lab.log(B).last() {
            Some((_, Event::Closed { in_order, .. })) => *in_order,
            other => panic!("{other:?}"),
        }
    };
    assert!(in_order(&|lab, a| lab.act(A, Effect::Close { conn: a })));
    assert!(!in_order(&|lab, _| lab.apply(Fault::Kill { node: A })));
    assert!(!in_order(&|lab, _| lab.apply(Fault::Reset { a: A, b: B })));
    // A reset that comes after the end of what was sent takes nothing back.
    assert!(in_order(&|lab, a| {
        lab.act(A, Effect::Close { conn: a });
        lab.apply(Fault::Kill { node: A });
    }));
}

#[test]
fn a_reset_lets_a_prefix_through_and_ends_both() {
    let mut partial = 0;
    for seed in 0..20 {
        let mut lab = Lab::with(2, seed, Probes::default(), WorldConfig::default());
        let (a, b) = lab.connect(A, 2, B);
        let text = pattern(1000);
        for piece in text.chunks(250) {
            lab.send(A, a, piece);
        }
        lab.apply(Fault::Reset { a: B, b: A });
        lab.send(A, a, b"into the void");
        lab.run(SECOND);
        let got = lab.received(B, b);
        assert!(text.starts_with(&got), "a prefix");
        partial += usize::from(!got.is_empty() && !got.len().is_multiple_of(250));
        assert!(lab.closed(A, a) && lab.closed(B, b));
        assert!(
            matches!(lab.log(B).last(), Some((_, Event::Closed { .. }))),
            "then the end"
        );
        assert_eq!(lab.world.connections(), 0);
        assert!(
            !lab.world.apply(&Fault::Reset { a: A, b: B }),
            "nothing is left to reset"
        );
    }
    assert!(partial > 10, "cut in the middle {partial} times of 20");
}

#[test]
fn a_half_open_connection_is_silent_until_somebody_speaks() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.connect(A, 2, B);
    lab.apply(Fault::HalfOpen { a: A, b: B });
    lab.run(60 * SECOND);
    assert!(!lab.closed(A, a) && !lab.closed(B, b));
    lab.send(A, a, b"anybody?");
    lab.run(14 * SECOND);
    assert!(!lab.closed(A, a));
    lab.run(3 * SECOND);
    assert!(lab.closed(A, a) && !lab.closed(B, b));
    lab.connect(A, 4, B);
    assert!(!lab.world.apply(&Fault::HalfOpen { a: B, b: C_OF_NOBODY }));
}

const C_OF_NOBODY: NodeId = NodeId(7);

#[test]
fn a_kill_is_heard_and_a_power_loss_is_not() {
    let mut lab = Lab::new(3);
    let (a, b) = lab.connect(A, 2, B);
    let (_, c) = lab.connect(A, 4, C);
    lab.send(B, b, b"under way");
    lab.apply(Fault::Kill { node: B });
    lab.apply(power_loss(C));
    lab.run(10 * SECOND);
    assert_eq!(lab.received(A, a), b"under way", "what had left arrives");
    assert!(lab.closed(A, a), "the kernel of b says so");
    assert!(!lab.closed(A, 4), "nobody is left at c to say anything");
    let _ = c;
    lab.send(A, 4, b"hello?");
    lab.run(10 * SECOND);
    assert!(!lab.closed(A, 4));
    lab.run(10 * SECOND);
    assert!(lab.closed(A, 4), "no acknowledgement in 15 s");
}

#[test]
fn a_host_that_is_back_resets_what_it_does_not_know() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.connect(A, 2, B);
    lab.apply(power_loss(B));
    lab.run(SECOND);
    lab.send(A, a, b"hello?");
    lab.run(500 * MS);
    lab.apply(Fault::Start { node: B });
    lab.run(5 * SECOND);
    assert!(lab.closed(A, a));
    let heard = lab.times(A, StepKind::Closed)[0];
    assert!(
        heard < lab.world.now() - 3 * SECOND,
        "at the next retransmission, not at the time-out"
    );
    assert!(lab.log(B).is_empty(), "the new process hears nothing of it");
}

#[test]
fn a_process_that_exits_in_a_handshake_leaves_nothing_to_the_next() {
    let mut lab = Lab::new(2);
    for (from, to) in [(A, B), (B, A)] {
        lab.world.set_link_latency(from, to, 10 * MS, 0);
    }
    lab.start_connect(A, 2, B);
    lab.run(25 * MS);
    assert_eq!(lab.times(A, StepKind::Connected).len(), 1);
    assert_eq!(lab.times(B, StepKind::Accepted).len(), 0, "the last part is under way");
    lab.act(B, Effect::Exit { clean: true });
    lab.apply(Fault::Start { node: B });
    lab.run(SECOND);
    assert!(lab.closed(A, 2));
    assert!(lab.log(B).is_empty());
    assert_eq!(lab.world.connections(), 0);
}

#[test]
fn a_refusal_that_is_lost_is_no_answer() {
    let mut lab = Lab::new(2);
    lab.apply(Fault::Kill { node: B });
    lab.cut(B, A);
    lab.start_connect(A, 2, B);
    lab.run(2900 * MS);
    assert!(!lab.closed(A, 2));
    lab.run(200 * MS);
    assert!(lab.closed(A, 2), "time-out");
    assert_eq!(lab.world.connections(), 0);
}
