//! Every fault of processes and hosts shows its effect, and nothing of one life reaches the next.

use super::*;
use crate::disk::Errno;
use crate::fault::{DiskFault, Survival};
use crate::step::Stepped;

fn writing() -> Probes {
    Probes { echo: true, files: 3 }
}

#[test]
fn a_process_starts_once_and_with_entropy_of_its_own() {
    let mut lab = Lab::new(2);
    let first = lab.world.program(A).expect("up").entropy;
    assert_ne!(first, lab.world.program(B).expect("up").entropy);
    assert!(!lab.world.apply(&Fault::Start { node: A }), "it runs");
    lab.apply(Fault::Kill { node: A });
    assert!(!lab.world.is_up(A) && !lab.world.apply(&Fault::Kill { node: A }));
    lab.apply(Fault::Start { node: A });
    assert_eq!(lab.world.incarnation(A), 2);
    assert_ne!(first, lab.world.program(A).expect("up").entropy);
    let counts = lab.world.counts();
    assert_eq!((counts.faults["kill"], counts.faults["start"]), (1, 3));
}

#[test]
fn nothing_of_a_dead_process_reaches_the_next() {
    let mut lab = Lab::with(2, 1, writing(), WorldConfig::default());
    let (a, b) = lab.connect(A, 2, B);
    lab.world
        .poke(B, |probe, now, _, effects| {
            probe.deadline = Some(now.mono + SECOND);
            effects.push(Effect::SyncFile {
                token: 7,
                file: probe.file.expect("open"),
            });
        })
        .expect("up");
    lab.send(A, a, b"x");
    lab.apply(Fault::Pause {
        node: B,
        suspend: false,
    });
    lab.run(50 * MS);
    lab.apply(Fault::Kill { node: B });
    lab.apply(Fault::Start { node: B });
    lab.act(B, Effect::Connect { conn: 2, to: A });
    lab.send(B, b, b"a name of the former life");
    lab.run(30 * SECOND);
    let kinds: Vec<_> = lab.log(B).iter().map(|(_, event)| event.clone()).collect();
    assert!(matches!(kinds[..], [Event::Connected { conn: 2 }]), "{kinds:?}");
    assert_eq!(lab.received(A, a), b"");
    assert!(lab.closed(A, a));
}

#[test]
fn a_clean_exit_says_good_bye_and_a_crash_resets() {
    for clean in [true, false] {
        let mut lab = Lab::new(2);
        let (a, b) = lab.connect(A, 2, B);
        lab.cut(A, B);
        lab.send(A, a, b"buffered");
        lab.run(50 * MS);
        lab.act(A, Effect::Exit { clean });
        assert!(!lab.world.is_up(A));
        lab.apply(Fault::HealLinks);
        lab.run(10 * SECOND);
        // The kernel of a clean exit goes on sending; that of a crash drops what it had.
        assert_eq!(lab.received(B, b), if clean { b"buffered".to_vec() } else { vec![] });
        assert!(lab.closed(B, b));
        assert_eq!(lab.world.connections(), 0);
    }
}

#[test]
fn a_terminated_program_decides_itself() {
    let mut lab = Lab::new(1);
    lab.apply(Fault::Terminate { node: A });
    lab.run(SECOND);
    assert!(lab.world.is_up(A) && lab.saw(A, |event| matches!(event, Event::Terminate)));
    lab.world.program_mut(A).expect("up").exit_on_terminate = true;
    lab.apply(Fault::Terminate { node: A });
    lab.run(SECOND);
    assert!(!lab.world.is_up(A));
    let last: Vec<&Stepped> = lab.world.trace().steps().iter().filter(|step| step.ended).collect();
    assert_eq!(last.len(), 1);
    assert_eq!(last[0].label, Label::Terminate);
}

#[test]
fn a_start_waits_for_a_process_that_is_stopping() {
    let mut lab = Lab::new(2);
    let start = Fault::Start { node: A };
    assert!(!lab.world.apply(&start), "up, and nobody told it to stop");
    lab.apply(Fault::Terminate { node: A });
    assert!(!lab.world.apply(&start), "still up");
    lab.run(SECOND);
    assert_eq!(lab.world.incarnation(A), 1, "it takes its time");
    lab.act(A, Effect::Exit { clean: true });
    lab.run(SECOND);
    assert!(lab.world.is_up(A), "started when it was gone");
    assert_eq!(lab.world.incarnation(A), 2);
    lab.act(A, Effect::Exit { clean: true });
    lab.run(SECOND);
    assert!(!lab.world.is_up(A), "once");

    lab.apply(Fault::Terminate { node: B });
    assert!(!lab.world.apply(&Fault::Start { node: B }));
    lab.apply(Fault::Kill { node: B });
    lab.run(SECOND);
    assert!(
        !lab.world.is_up(B),
        "it did not stop, it was killed, and is started when that ends"
    );
}

#[test]
fn a_paused_process_gets_everything_late_and_its_kernel_still_answers() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.connect(A, 2, B);
    lab.world
        .poke(B, |probe, now, _, _| {
            probe.deadline = Some(now.mono + 100 * MS);
            probe.period = Some(100 * MS);
        })
        .expect("up");
    lab.run(10 * MS);
    lab.apply(Fault::Pause {
        node: B,
        suspend: false,
    });
    let paused = lab.world.now();
    assert!(lab.world.poke(B, |_, _, _, _| ()).is_none(), "frozen");
    lab.send(A, a, b"one");
    lab.run(SECOND);
    lab.send(A, a, b"two");
    lab.start_connect(A, 4, B);
    lab.run(20 * SECOND);
    assert!(!lab.closed(A, a), "its kernel acknowledges");
    assert!(
        lab.saw(A, |event| matches!(event, Event::Connected { conn: 4 })),
        "and accepts"
    );
    assert!(
        lab.world
            .trace()
            .steps()
            .iter()
            .all(|step| step.node != Some(B) || step.time <= paused)
    );
    lab.apply(Fault::Resume { node: B });
    let resumed = lab.world.now();
    lab.run(MS);
    let burst: Vec<u64> = lab.times(B, StepKind::Received);
    assert_eq!(lab.received(B, b), b"onetwo");
    assert!(
        burst.iter().all(|time| (resumed..resumed + MS).contains(time)),
        "in a burst"
    );
    let rung = lab.times(B, StepKind::Deadline);
    assert_eq!(rung.len(), 1, "late, once, not early");
    assert!((resumed..resumed + MS).contains(&rung[0]));
    lab.run(SECOND);
    assert_eq!(lab.times(B, StepKind::Deadline).len(), 1 + 10);
}

#[test]
fn a_suspended_machine_answers_nothing() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.connect(A, 2, B);
    lab.apply(Fault::Pause { node: B, suspend: true });
    lab.send(A, a, b"x");
    lab.run(20 * SECOND);
    assert!(lab.closed(A, a), "no acknowledgement for 15 s");
    assert!(!lab.world.apply(&Fault::Kill { node: B }), "nobody can reach into it");
    lab.apply(Fault::Resume { node: B });
    lab.run(SECOND);
    assert!(
        lab.received(B, b).is_empty() && !lab.closed(B, b),
        "it knows nothing of that"
    );
}

#[test]
fn a_slow_processor_makes_events_wait_in_order() {
    let spread = |factor| {
        let mut lab = Lab::new(2);
        let (a, b) = lab.connect(A, 2, B);
        lab.apply(Fault::SlowCpu { node: B, factor });
        for i in 0..10u8 {
            lab.send(A, a, &[i]);
        }
        lab.run(SECOND);
        assert_eq!(lab.received(B, b), (0..10).collect::<Vec<u8>>());
        let times = lab.times(B, StepKind::Received);
        assert!(
            times
                .windows(2)
                .all(|pair| pair[1] - pair[0] >= 20_000 * u64::from(factor))
        );
        times[9] - times[0]
    };
    assert!(spread(1) < 2 * MS);
    assert!(spread(1000) >= 9 * 20 * MS);
}

#[test]
fn what_a_busy_step_sends_leaves_at_its_end() {
    let mut lab = Lab::with(2, 1, writing(), WorldConfig::default());
    let (a, _) = lab.connect(A, 2, B);
    lab.apply(Fault::SlowCpu {
        node: B,
        factor: 10_000,
    });
    lab.send(A, a, b"x");
    lab.run(SECOND);
    let answered = lab.times(A, StepKind::Received)[0] - lab.times(B, StepKind::Received)[0];
    assert!(answered >= 200 * MS, "{answered}");
}

#[test]
fn a_crash_at_a_disk_call_discards_the_step() {
    let mut lab = Lab::with(2, 1, writing(), WorldConfig::default());
    let (a, _) = lab.connect(A, 2, B);
    lab.world.program_mut(A).expect("up").echo = false;
    lab.apply(Fault::CrashAtDiskCall { node: B, calls: 2 });
    lab.send(A, a, b"first");
    lab.run(SECOND);
    assert!(lab.world.is_up(B) && lab.received(A, a) == b"first");
    lab.send(A, a, b"second");
    lab.run(SECOND);
    assert!(!lab.world.is_up(B));
    assert_eq!(lab.received(A, a), b"first", "the echo of the fatal step never left");
    assert!(lab.closed(A, a), "its kernel lives");
    lab.apply(Fault::Start { node: B });
    lab.connect(A, 4, B);
}

#[test]
fn crashes_at_disk_calls_are_called_off() {
    let mut lab = Lab::with(2, 1, writing(), WorldConfig::default());
    let (a, _) = lab.connect(A, 2, B);
    lab.world.program_mut(A).expect("up").echo = false;
    lab.apply(Fault::CrashAtDiskCall { node: B, calls: 1 });
    lab.apply(Fault::CrashAtDiskCall { node: B, calls: 0 });
    lab.send(A, a, b"x");
    lab.run(SECOND);
    assert_eq!(lab.received(A, a), b"x");
    lab.apply(Fault::Kill { node: B });
    let crashes = |count| Fault::CrashInRecovery {
        node: B,
        count,
        calls: 4,
    };
    lab.apply(crashes(1));
    lab.apply(Fault::Start { node: B });
    assert!(lab.world.is_up(B), "it has recovered with three calls");
    lab.apply(crashes(0));
    let (a, _) = lab.connect(A, 4, B);
    lab.send(A, a, b"y");
    lab.run(SECOND);
    assert!(lab.world.is_up(B));
}

#[test]
fn starts_crash_in_recovery_as_often_as_asked() {
    let mut lab = Lab::with(1, 1, writing(), WorldConfig::default());
    lab.apply(Fault::Kill { node: A });
    lab.apply(Fault::CrashInRecovery {
        node: A,
        count: 2,
        calls: 2,
    });
    for _ in 0..2 {
        lab.apply(Fault::Start { node: A });
        assert!(!lab.world.is_up(A));
        assert!(lab.world.trace().steps().last().expect("boot").ended);
    }
    lab.apply(Fault::Start { node: A });
    assert!(lab.world.is_up(A));
    assert_eq!(lab.world.incarnation(A), 4);
}

/// Appends and asks for a sync; the token is 5.
fn append(lab: &mut Lab, text: &'static [u8]) {
    lab.world
        .poke(A, |probe, _, disk, effects| {
            let file = probe.file.expect("open");
            let end = disk.len(file);
            disk.write_at(file, end, text).expect("space");
            effects.push(Effect::SyncFile { token: 5, file });
            effects.push(Effect::SyncDir {
                token: 6,
                path: String::new(),
            });
        })
        .expect("up");
}

fn results(lab: &Lab) -> Vec<(u64, Result<(), Errno>)> {
    let events = lab.log(A).iter().filter_map(|(_, event)| match event {
        Event::SyncDone { token, result } => Some((*token, *result)),
        _ => None,
    });
    events.collect()
}

fn all_power_lost(lab: &mut Lab, survival: Survival) {
    lab.apply(Fault::PowerLoss {
        nodes: vec![A],
        survival,
        torn_sectors: false,
        garbage_tail: false,
    });
    lab.apply(Fault::Start { node: A });
}

#[test]
fn a_sync_takes_time_and_then_survives_a_power_loss() {
    for synced in [false, true] {
        let mut lab = Lab::with(1, 1, writing(), WorldConfig::default());
        append(&mut lab, b"early");
        lab.run(SECOND);
        assert!(results(&lab).contains(&(5, Ok(()))));
        append(&mut lab, b" late");
        if synced {
            lab.run(SECOND);
        }
        all_power_lost(&mut lab, Survival::None);
        lab.run(SECOND);
        let expected: &[u8] = if synced { b"early late" } else { b"early" };
        assert_eq!(lab.world.disk(A).cached("f2").as_deref(), Some(expected));
        assert!(results(&lab).is_empty(), "the sync of the former life is not reported");
    }
}

#[test]
fn a_kill_keeps_the_page_cache() {
    let mut lab = Lab::with(1, 1, writing(), WorldConfig::default());
    append(&mut lab, b"cached");
    lab.apply(Fault::Kill { node: A });
    lab.apply(Fault::Start { node: A });
    assert_eq!(lab.world.disk(A).cached("f2").as_deref(), Some(&b"cached"[..]));
}

#[test]
fn a_hung_disk_completes_nothing_until_it_is_healthy() {
    let mut lab = Lab::with(1, 1, writing(), WorldConfig::default());
    append(&mut lab, b"under way");
    let disk = |disk| Fault::Disk { node: A, disk };
    lab.apply(disk(DiskFault::Hung));
    append(&mut lab, b" and later");
    lab.run(60 * SECOND);
    assert_eq!(results(&lab), []);
    lab.apply(disk(DiskFault::Healthy));
    lab.run(SECOND);
    assert_eq!(results(&lab).len(), 4);
    assert!(results(&lab).iter().all(|(_, result)| result.is_ok()));
}

#[test]
fn a_failed_sync_is_told() {
    let mut lab = Lab::with(1, 1, writing(), WorldConfig::default());
    lab.apply(Fault::Disk {
        node: A,
        disk: DiskFault::FailSync,
    });
    append(&mut lab, b"x");
    lab.run(SECOND);
    assert_eq!(results(&lab).iter().filter(|(_, result)| result.is_err()).count(), 1);
}

#[test]
fn disks_of_stopped_nodes_only_are_wiped_and_swapped() {
    let mut lab = Lab::with(2, 1, writing(), WorldConfig::default());
    append(&mut lab, b"a's");
    lab.run(SECOND);
    let disk = |node, disk| Fault::Disk { node, disk };
    let swap = disk(A, DiskFault::Swap { other: B });
    assert!(!lab.world.apply(&swap) && !lab.world.apply(&disk(A, DiskFault::Wipe)));
    lab.apply(Fault::Kill { node: A });
    assert!(!lab.world.apply(&swap), "b runs");
    lab.apply(Fault::Kill { node: B });
    lab.apply(swap);
    assert_eq!(lab.world.disk(B).cached("f2").as_deref(), Some(&b"a's"[..]));
    lab.apply(disk(B, DiskFault::Wipe));
    assert_eq!(lab.world.disk(B).cached("f2"), None);
    assert_eq!(lab.world.counts().faults["disk_swapped"], 1);
}

#[test]
fn the_operating_system_writes_back_after_a_while() {
    let mut lab = Lab::with(1, 1, writing(), WorldConfig::default());
    lab.world
        .poke(A, |probe, _, disk, _| {
            disk.write_at(probe.file.expect("open"), 0, b"unsynced").expect("space");
        })
        .expect("up");
    lab.run(SECOND);
    assert_eq!(lab.world.disk(A).durable("f2"), None);
    lab.run(120 * SECOND);
    assert_eq!(lab.world.disk(A).durable("f2").as_deref(), Some(&b"unsynced"[..]));
}

#[test]
fn a_world_in_which_nothing_will_happen_says_so() {
    let mut lab = Lab::new(2);
    lab.run(SECOND);
    assert_eq!(lab.world.step(), None);
    assert!(!lab.world.apply(&Fault::Kill { node: NodeId(9) }), "an unknown node");
}
