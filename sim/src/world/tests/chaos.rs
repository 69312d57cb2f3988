//! All faults at once, many times: whatever happens, a byte stream stays one.

use super::*;
use crate::fault::{DiskFault, Refusal, Survival};
use crate::schedule::{Scheduler, Script};
use crate::step::StepKey;
use std::collections::BTreeMap;

/// Byte `i` of stream `id`; the first eight are the id itself.
fn byte(id: u64, i: u64) -> u8 {
    if i < 8 {
        id.to_le_bytes()[i as usize]
    } else {
        (id.wrapping_mul(0x9E37_79B9).wrapping_add(i * i) >> 3) as u8
    }
}

/// Sends self-describing streams and checks those that it gets.
#[derive(Default)]
struct Talker {
    outgoing: BTreeMap<u64, (u64, u64)>,
    incoming: BTreeMap<u64, (u64, u64)>,
    /// Names whose end was told or asked for.
    over: Vec<u64>,
    next_id: u64,
    next_name: u64,
    deadline: Option<u64>,
    quiet: bool,
    checked: u64,
    heard: u64,
}

impl Talker {
    fn say(&mut self, conn: u64, len: u64, effects: &mut Vec<Effect>) {
        let next_id = &mut self.next_id;
        let (id, said) = self.outgoing.entry(conn).or_insert_with(|| {
            *next_id += 1;
            (*next_id, 0)
        });
        let bytes: Vec<u8> = (*said..*said + len).map(|i| byte(*id, i)).collect();
        *said += len;
        effects.push(Effect::Send {
            conn,
            bytes: bytes.into(),
        });
    }
}

impl Program for Talker {
    fn step(&mut self, now: Now, event: Event, _: &mut Disk, effects: &mut Vec<Effect>) {
        let known = |talker: &Self, conn| assert!(!talker.over.contains(&conn), "event after the end of {conn}");
        match event {
            Event::Accepted { conn } => {
                assert!(conn % 2 == 1 && !self.incoming.contains_key(&conn));
                self.incoming.insert(conn, (0, 0));
                self.say(conn, 30, effects);
            }
            Event::Connected { conn } => {
                known(self, conn);
                self.incoming.insert(conn, (0, 0));
                self.say(conn, 30, effects);
            }
            Event::Received { conn, bytes } => {
                known(self, conn);
                let (id, at) = self.incoming.get_mut(&conn).expect("opened before");
                for got in &bytes {
                    if *at < 8 {
                        *id |= u64::from(*got) << (8 * *at);
                    } else {
                        assert_eq!(*got, byte(*id, *at), "byte {at} of stream {id}");
                    }
                    *at += 1;
                }
                self.checked += bytes.len() as u64;
            }
            Event::Closed { conn, .. } => {
                known(self, conn);
                self.over.push(conn);
                self.outgoing.remove(&conn);
                self.heard += 1;
            }
            Event::Deadline => {
                assert!(self.deadline.take().is_some_and(|at| at <= now.mono), "woken early");
                for conn in self.incoming.keys().copied().collect::<Vec<u64>>() {
                    if !self.over.contains(&conn) {
                        self.say(conn, 100, effects);
                    }
                }
                self.deadline = (!self.quiet).then_some(now.mono + 20 * MS);
            }
            Event::Writable { .. } | Event::SyncDone { .. } | Event::Terminate => {}
        }
    }
    fn next_deadline(&self) -> Option<u64> {
        self.deadline
    }
}

struct Talkers;

impl Boot for Talkers {
    type Program = Talker;
    fn boot(&mut self, _: NodeId, now: Now, entropy: u64, _: &mut Disk, _: &mut Vec<Effect>) -> Option<Talker> {
        Some(Talker {
            next_id: entropy,
            deadline: Some(now.mono),
            ..Talker::default()
        })
    }
}

fn draw_fault(chance: &mut Stream, nodes: u64) -> Fault {
    let node = NodeId(chance.below(nodes) as u16);
    let other = NodeId(chance.below(nodes) as u16);
    let on = chance.chance(300_000);
    match chance.below(28) {
        0 => Fault::Kill { node },
        1 => Fault::PowerLoss {
            nodes: vec![node],
            survival: Survival::Subset,
            torn_sectors: on,
            garbage_tail: on,
        },
        2..=4 => Fault::Start { node },
        5 => Fault::Terminate { node },
        6 => Fault::Pause { node, suspend: on },
        7 | 8 => Fault::Resume { node },
        9 => Fault::SlowCpu {
            node,
            factor: 1 + 50 * u32::from(on),
        },
        10 => Fault::CrashAtDiskCall { node, calls: 1 },
        11 | 12 => Fault::Cut {
            from: vec![node],
            to: vec![other],
        },
        13..=15 => Fault::HealLinks,
        16 => Fault::Flap {
            a: vec![node],
            b: vec![other],
            period_ms: 30,
        },
        17 => Fault::Loss {
            from: node,
            to: other,
            ppm: 200_000 * u32::from(on),
        },
        18 => Fault::SlowLink {
            from: node,
            to: other,
            factor: 1 + 20 * u32::from(on),
        },
        19 => Fault::Bandwidth {
            node,
            bytes_per_s: 20_000 * u64::from(on),
        },
        20 => Fault::Fragment { node, on },
        21 => Fault::StopReading { node, on },
        22 => Fault::Reset { a: node, b: other },
        23 => Fault::HalfOpen { a: node, b: other },
        24 => Fault::RefuseConnects {
            node,
            how: on.then(|| *chance.pick(&[Refusal::Refused, Refusal::BlackHoled, Refusal::AcceptedThenReset])),
        },
        25 => Fault::ClockDrift {
            node,
            ppm: 100_000 * i32::from(on),
        },
        26 => Fault::LateTimers {
            node,
            up_to_ms: 30 * u32::from(on),
        },
        _ => Fault::Disk {
            node,
            disk: DiskFault::Slow { factor: 2 },
        },
    }
}

fn meddle(world: &mut World<Talkers>, chance: &mut Stream) {
    let node = NodeId(chance.below(4) as u16);
    let to = NodeId(chance.below(4) as u16);
    let (what, which, len) = (chance.below(8), chance.next_u64(), chance.below(20_000));
    world.poke(node, |talker, _, _, effects| {
        let open: Vec<u64> = talker.outgoing.keys().copied().collect();
        let conn = open.get((which % open.len().max(1) as u64) as usize).copied();
        match (what, conn) {
            (0 | 1, Some(conn)) => talker.say(conn, len, effects),
            (2, Some(conn)) => {
                effects.push(Effect::Close { conn });
                talker.over.push(conn);
                talker.outgoing.remove(&conn);
            }
            (3, Some(conn)) => effects.push(Effect::PauseReading { conn }),
            (4 | 5, Some(conn)) => effects.push(Effect::ResumeReading { conn }),
            (6, _) if which.is_multiple_of(20) => effects.push(Effect::Exit { clean: len % 2 == 0 }),
            _ => {
                talker.next_name += 2;
                let conn = talker.next_name;
                effects.push(Effect::Connect { conn, to });
            }
        }
    });
}

/// Does something with every connection that a program has.
fn everywhere(world: &mut World<Talkers>, node: NodeId, act: impl Fn(&mut Talker, u64, &mut Vec<Effect>)) {
    let done = world.poke(node, |talker, _, _, effects| {
        for conn in talker.outgoing.keys().copied().collect::<Vec<u64>>() {
            act(talker, conn, effects);
        }
    });
    assert!(done.is_some(), "all run in peace");
}

/// One run: two seconds of trouble, then peace. The chaos is drawn at markers, so that a script repeats it.
fn run(seed: u64, scheduler: Scheduler) -> World<Talkers> {
    let streams = Streams::new(seed);
    let mut chance = streams.stream("chaos");
    let nodes = ["a", "b", "c", "d"].map(|name| NodeSpec { name: name.to_owned() });
    let mut world = World::new(Talkers, nodes.to_vec(), &streams, WorldConfig::default());
    world.trace_mut().record();
    world.set_scheduler(scheduler);
    world.start_all();
    for i in 0..400 {
        world.schedule_marker(i * 5 * MS + 1, i);
    }
    world.schedule_marker(2 * SECOND + 1, 400);
    world.schedule_marker(30 * SECOND, 401);
    world.schedule_marker(60 * SECOND, 500);
    while let Some(step) = world.step() {
        match step.label {
            Label::Marker(500) => break,
            Label::Marker(400) => {
                for i in 0..4 {
                    let node = NodeId(i);
                    for fault in [
                        Fault::HealLinks,
                        Fault::Resume { node },
                        Fault::Start { node },
                        Fault::Bandwidth { node, bytes_per_s: 0 },
                        Fault::StopReading { node, on: false },
                        Fault::SlowCpu { node, factor: 1 },
                    ] {
                        world.apply(&fault);
                    }
                    everywhere(&mut world, node, |_, conn, effects| {
                        effects.push(Effect::ResumeReading { conn })
                    });
                    world.program_mut(node).expect("up").quiet = true;
                }
            }
            // Whoever speaks on a connection that the other end has forgotten hears of it.
            Label::Marker(401) => {
                for node in (0..4).map(NodeId) {
                    everywhere(&mut world, node, |talker, conn, effects| talker.say(conn, 10, effects));
                }
            }
            Label::Marker(i) if i % 4 == 0 => {
                let fault = draw_fault(&mut chance, 4);
                world.apply(&fault);
            }
            Label::Marker(_) => meddle(&mut world, &mut chance),
            _ => {}
        }
    }
    world
}

#[test]
fn whatever_happens_a_byte_stream_stays_one() {
    let (mut checked, mut heard, mut kept) = (0, 0, 0);
    let mut faults = BTreeMap::new();
    for seed in 0..100 {
        let world = run(seed, Scheduler::Seeded);
        for i in 0..4 {
            let talker = world.program(NodeId(i)).expect("started at the end");
            checked += talker.checked;
            heard += talker.heard;
        }
        for (kind, count) in world.counts().faults {
            *faults.entry(kind).or_insert(0) += count;
        }
        // In peace every connection is known to both programs, or to nobody.
        let open: usize = (0..4)
            .map(|i| world.program(NodeId(i)).expect("up").outgoing.len())
            .sum();
        assert_eq!(open, 2 * world.connections(), "seed {seed}");
        kept += open;
    }
    assert!(
        checked > 1_000_000 && heard > 100 && kept > 20,
        "{checked} bytes, {heard} ends, {kept} left"
    );
    assert!(faults.len() >= 22, "{faults:?}");
}

#[test]
fn a_script_repeats_even_this() {
    for seed in 0..30 {
        let first = run(seed, Scheduler::Seeded);
        let keys: Vec<StepKey> = first
            .trace()
            .steps()
            .iter()
            .map(|step| step.key)
            .filter(|key| !matches!(key.kind, StepKind::Applied | StepKind::Poke))
            .collect();
        let again = run(seed, Scheduler::Scripted(Script::new(keys)));
        assert_eq!(again.script_error().map(ToString::to_string), None, "seed {seed}");
        let both = first.trace().steps().iter().zip(again.trace().steps());
        for (one, two) in both {
            assert_eq!(one, two, "seed {seed}");
        }
        assert_eq!(first.trace().digest(), again.trace().digest());
    }
}
