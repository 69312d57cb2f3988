//! Every fault of clocks and timers shows its effect.

use super::*;
use crate::clock::WALL_EPOCH_MS;

fn wake_every(lab: &mut Lab, node: NodeId, period: u64) {
    lab.world
        .poke(node, |probe, now, _, _| {
            probe.deadline = Some(now.mono + period);
            probe.period = Some(period);
        })
        .expect("up");
}

/// Every deadline was told when the node's own clock had reached it.
fn periods(lab: &Lab, node: NodeId) -> Vec<u64> {
    let rung = lab
        .log(node)
        .iter()
        .filter(|(_, event)| matches!(event, Event::Deadline));
    let at: Vec<u64> = rung.map(|(now, _)| now.mono).collect();
    at.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn monotonic_clocks_of_nodes_have_nothing_to_do_with_each_other() {
    let lab = Lab::new(2);
    let (a, b) = (lab.world.node_now(A), lab.world.node_now(B));
    assert_ne!(a.mono, b.mono);
    assert_eq!((a.wall_ms, b.wall_ms), (WALL_EPOCH_MS, WALL_EPOCH_MS));
}

#[test]
fn a_deadline_is_told_on_time_and_again_only_when_asked() {
    let mut lab = Lab::new(1);
    let begun = lab.world.now();
    wake_every(&mut lab, A, 100 * MS);
    lab.run(SECOND + MS);
    let times = lab.times(A, StepKind::Deadline);
    assert_eq!(times, (1..=10).map(|i| begun + i * 100 * MS).collect::<Vec<u64>>());
    lab.world.program_mut(A).expect("up").period = None;
    lab.run(SECOND);
    assert_eq!(lab.times(A, StepKind::Deadline).len(), 11);
}

#[test]
fn a_deadline_that_moves_is_told_where_it_stands() {
    let mut lab = Lab::new(1);
    wake_every(&mut lab, A, SECOND);
    for _ in 0..10 {
        lab.run(500 * MS);
        let begun = lab.world.now();
        lab.world
            .poke(A, |probe, now, _, _| probe.deadline = Some(now.mono + SECOND))
            .expect("up");
        assert_eq!(lab.world.now(), begun);
    }
    assert_eq!(lab.times(A, StepKind::Deadline), [], "always put off");
    let entries = lab.world.agenda.len();
    assert!(entries <= 3, "{entries} entries for one deadline");
    lab.world
        .poke(A, |probe, now, _, _| probe.deadline = Some(now.mono + MS))
        .expect("up");
    let begun = lab.world.now();
    lab.run(10 * MS);
    assert_eq!(lab.times(A, StepKind::Deadline), [begun + MS], "brought forward");
    lab.world.poke(A, |probe, _, _, _| probe.deadline = None).expect("up");
    lab.run(10 * SECOND);
    assert_eq!(lab.times(A, StepKind::Deadline).len(), 1, "called off");
}

#[test]
fn a_fast_clock_makes_timers_early_in_true_time_and_a_slow_one_late() {
    for (ppm, expected) in [(100_000, 11), (-100_000, 9), (0, 10)] {
        let mut lab = Lab::new(1);
        wake_every(&mut lab, A, SECOND);
        // Armed by the right clock, told by the wrong one.
        lab.apply(Fault::ClockDrift { node: A, ppm });
        lab.run(10 * SECOND + MS);
        assert_eq!(lab.times(A, StepKind::Deadline).len(), expected, "at {ppm} ppm");
        assert!(
            periods(&lab, A).iter().all(|period| *period >= SECOND),
            "never early by its own clock"
        );
        let wall = lab.world.node_now(A).wall_ms - WALL_EPOCH_MS;
        assert_eq!(wall, 10_001 * (1_000_000 + i64::from(ppm)) / 1_000_000);
    }
    assert!(!Lab::new(1).world.apply(&Fault::ClockDrift {
        node: A,
        ppm: -1_000_000
    }));
}

#[test]
fn wall_clocks_stand_off_and_jump_and_timers_do_not_care() {
    let mut lab = Lab::new(1);
    wake_every(&mut lab, A, SECOND);
    lab.apply(Fault::ClockOffset {
        node: A,
        offset_ms: -60_000,
    });
    lab.run(2 * SECOND);
    lab.apply(Fault::ClockStep { node: A, by_ms: 5000 });
    lab.run(2 * SECOND + MS);
    assert_eq!(lab.world.node_now(A).wall_ms, WALL_EPOCH_MS + 4001 - 60_000 + 5000);
    assert_eq!(lab.times(A, StepKind::Deadline).len(), 4);
}

#[test]
fn late_timers_are_late_and_never_early() {
    let mut lab = Lab::new(1);
    lab.apply(Fault::LateTimers { node: A, up_to_ms: 50 });
    wake_every(&mut lab, A, 100 * MS);
    lab.run(10 * SECOND);
    let periods = periods(&lab, A);
    assert!(periods.iter().all(|period| (100 * MS..=151 * MS).contains(period)));
    let mean = periods.iter().sum::<u64>() / periods.len() as u64;
    assert!((115 * MS..135 * MS).contains(&mean), "mean {mean}");
    lab.apply(Fault::LateTimers { node: A, up_to_ms: 0 });
    lab.run(SECOND);
    let before = lab.times(A, StepKind::Deadline).len();
    lab.run(SECOND);
    assert_eq!(lab.times(A, StepKind::Deadline).len() - before, 10);
}

#[test]
fn a_suspend_stops_the_monotonic_clock_and_the_wall_clock_jumps() {
    for suspend in [true, false] {
        let mut lab = Lab::new(1);
        wake_every(&mut lab, A, SECOND);
        lab.run(500 * MS);
        let before = lab.world.node_now(A);
        lab.apply(Fault::Pause { node: A, suspend });
        lab.run(10 * SECOND);
        lab.apply(Fault::Resume { node: A });
        let after = lab.world.node_now(A);
        assert_eq!(after.wall_ms - before.wall_ms, 10_000);
        assert_eq!(after.mono - before.mono, if suspend { 0 } else { 10 * SECOND });
        let resumed = lab.world.now();
        lab.run(SECOND);
        let first = lab.times(A, StepKind::Deadline)[0] - resumed;
        assert_eq!(first, if suspend { 500 * MS } else { 0 }, "half a second was left");
    }
}
