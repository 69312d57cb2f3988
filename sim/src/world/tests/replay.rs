//! One seed, one run; one script, one run.

use super::*;
use crate::fault::Survival;
use crate::schedule::{Scheduler, Script, ScriptError};
use crate::step::{StepKey, Stepped};

/// Three echoing nodes with faults of many kinds at scheduled times.
fn busy(seed: u64, record: bool, scheduler: Scheduler, until_ms: u64) -> (Lab, Option<ScriptError>) {
    let names = ["a", "b", "c"].map(|name| NodeSpec { name: name.to_owned() });
    let boot = Probes { echo: true, files: 2 };
    let world = World::new(boot, names.to_vec(), &Streams::new(seed), WorldConfig::default());
    let mut lab = Lab { world };
    if record {
        lab.world.trace_mut().record();
    }
    lab.world.set_scheduler(scheduler);
    lab.world.start_all();
    for (from, to) in [(A, B), (B, C), (C, A)] {
        lab.act(from, Effect::Connect { conn: 2, to });
    }
    let plan = [
        (20, Fault::Fragment { node: B, on: true }),
        (30, Fault::SlowCpu { node: C, factor: 30 }),
        (
            40,
            Fault::Cut {
                from: vec![A],
                to: vec![B],
            },
        ),
        (60, Fault::HealLinks),
        (
            70,
            Fault::Pause {
                node: B,
                suspend: false,
            },
        ),
        (90, Fault::Resume { node: B }),
        (
            300,
            Fault::PowerLoss {
                nodes: vec![C],
                survival: Survival::Subset,
                torn_sectors: true,
                garbage_tail: true,
            },
        ),
        (400, Fault::Start { node: C }),
        (450, Fault::Reset { a: A, b: B }),
        (500, Fault::Fragment { node: B, on: false }),
    ];
    for (ms, fault) in plan {
        lab.world.schedule_fault(ms * MS, fault);
    }
    for i in 0..30 {
        lab.world.schedule_marker((5 + i * 20) * MS, i);
    }
    while let Some(step) = lab.world.step() {
        // What the harness does depends on the steps alone.
        if let Label::Marker(id) = step.label {
            let node = NodeId((id % 3) as u16);
            lab.world.poke(node, |probe, now, _, effects| {
                probe.deadline = Some(now.mono + 7 * MS);
                for conn in [1, 2] {
                    let bytes = Bytes::from(pattern(100 + id as usize));
                    effects.push(Effect::Send { conn, bytes });
                }
            });
        }
        if step.time > until_ms * MS {
            break;
        }
    }
    let error = lab.world.script_error().cloned();
    (lab, error)
}

fn keys(steps: &[Stepped]) -> Vec<StepKey> {
    let steps = steps.iter().map(|step| step.key);
    steps
        .filter(|key| !matches!(key.kind, StepKind::Applied | StepKind::Poke))
        .collect()
}

#[test]
fn one_seed_is_one_run_and_looking_does_not_change_it() {
    let digest = |seed, record| busy(seed, record, Scheduler::Seeded, 700).0.world.trace().digest();
    let one = digest(1, false);
    assert_eq!(one, digest(1, false));
    assert_eq!(one, digest(1, true), "recording is free");
    assert_ne!(one, digest(2, false));
}

#[test]
fn the_run_of_this_file_has_something_of_everything() {
    let (lab, _) = busy(1, true, Scheduler::Seeded, 700);
    let steps = lab.world.trace().steps();
    for kind in [
        StepKind::Accepted,
        StepKind::Connected,
        StepKind::Received,
        StepKind::Closed,
        StepKind::SyncDone,
        StepKind::Deadline,
        StepKind::Fault,
        StepKind::Marker,
    ] {
        assert!(steps.iter().any(|step| step.key.kind == kind), "no {kind:?}");
    }
    assert!(steps.len() > 2000, "{} steps", steps.len());
    assert!(
        steps
            .windows(2)
            .all(|pair| pair[0].time <= pair[1].time && pair[0].seq + 1 == pair[1].seq)
    );
    assert_eq!(lab.world.counts().steps, steps.len() as u64);
}

#[test]
fn a_script_taken_from_a_run_repeats_it() {
    for seed in 0..5 {
        let (first, _) = busy(seed, true, Scheduler::Seeded, 700);
        let script = Script::new(keys(first.world.trace().steps()));
        let (again, error) = busy(seed, true, Scheduler::Scripted(script), 700);
        assert_eq!(error.map(|error| error.to_string()), None);
        let pairs = first.world.trace().steps().iter().zip(again.world.trace().steps());
        for (one, two) in pairs {
            assert_eq!(one, two, "seed {seed}");
        }
        assert_eq!(first.world.trace().digest(), again.world.trace().digest());
    }
}

fn received(from: NodeId, to: NodeId, nth: u32) -> StepKey {
    StepKey {
        kind: StepKind::Received,
        from: Some(from),
        to: Some(to),
        nth,
    }
}

/// Two connections from `a`, a segment on its way on each, and a script.
fn two_under_way(steps: Vec<StepKey>) -> Lab {
    let mut lab = Lab::new(2);
    lab.connect(A, 2, B);
    lab.connect(A, 4, B);
    lab.world.set_scheduler(Scheduler::Scripted(Script::new(steps)));
    lab.send(A, 2, b"first");
    lab.send(A, 4, b"second");
    lab
}

#[test]
fn a_script_decides_between_connections_and_moves_the_clock() {
    for (script, expected) in [([1, 2], ["first", "second"]), ([2, 1], ["second", "first"])] {
        let mut lab = two_under_way(script.map(|nth| received(A, B, nth)).to_vec());
        let pending: Vec<StepKey> = lab.world.pending().iter().map(|pending| pending.key).collect();
        let (one, two) = (received(A, B, 1), received(A, B, 2));
        assert!(pending.contains(&one) && pending.contains(&two), "{pending:?}");
        let times: Vec<u64> = std::iter::from_fn(|| lab.world.step()).map(|step| step.time).collect();
        assert!(times.len() == 2 && times[0] < times[1]);
        let texts = lab.log(B).iter().filter_map(|(_, event)| match event {
            Event::Received { bytes, .. } => Some(bytes.clone()),
            _ => None,
        });
        assert_eq!(texts.collect::<Vec<Bytes>>(), expected);
        assert_eq!(lab.world.script_error(), None, "it has been played");
    }
}

#[test]
fn a_script_may_ask_for_whichever_is_next() {
    let mut lab = two_under_way(vec![received(A, B, 0)]);
    let step = lab.world.step().expect("pending");
    assert!(step.key.nth == 1 || step.key.nth == 2);
    assert!(lab.world.step().is_none());
    lab.world.set_scheduler(Scheduler::Seeded);
    lab.run(SECOND);
    assert_eq!(
        lab.times(B, StepKind::Received).len(),
        2,
        "the seed goes on where the script ended"
    );
}

#[test]
fn a_script_that_cannot_go_on_says_what_it_wanted_and_what_there_is() {
    let mut lab = two_under_way(vec![received(A, B, 1), received(B, A, 1)]);
    assert!(lab.world.step().is_some() && lab.world.step().is_none());
    let error = lab.world.script_error().expect("stuck").clone();
    assert_eq!((error.position, error.wanted), (1, received(B, A, 1)));
    let pending: Vec<StepKey> = error.pending.iter().map(|pending| pending.key).collect();
    assert_eq!(pending, [received(A, B, 2)]);
    let text = error.to_string();
    assert!(text.contains("step 2") && text.contains("Received 1>0 #1"), "{text}");
    assert!(text.ends_with("pending are: Received 0>1 #2"), "{text}");
}

#[test]
fn a_paused_node_cannot_be_scripted_to_act() {
    let mut lab = two_under_way(vec![received(A, B, 1)]);
    lab.apply(Fault::Pause {
        node: B,
        suspend: false,
    });
    assert!(lab.world.step().is_none() && lab.world.script_error().is_some());
}

#[test]
fn what_is_pending_is_what_happens() {
    let (mut lab, _) = busy(3, true, Scheduler::Seeded, 100);
    let mut checked = 0;
    for _ in 0..200 {
        let pending = lab.world.pending();
        let Some(step) = lab.world.step() else { break };
        // A handshake may end in a step that no entry of the queue foretells.
        if step.key.kind == StepKind::Received {
            assert!(
                pending.iter().any(|pending| pending.key == step.key),
                "{step:?} in {pending:?}"
            );
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked} steps checked");
}
