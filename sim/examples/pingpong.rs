//! What a step of the world costs by itself: three nodes that do nothing but answer each other.
//!
//! `cargo run --release -p highwater-sim --example pingpong`

use bytes::Bytes;
use sim::disk::Disk;
use sim::fault::NodeId;
use sim::program::{Boot, Effect, Event, Now, Program};
use sim::random::Streams;
use sim::world::{NodeSpec, World, WorldConfig};
// The one place here that measures real time.
#[allow(clippy::disallowed_types)]
use std::time::Instant;

/// Connects to its successor and sends back whatever it gets.
struct Ponger {
    /// On its monotonic clock; moved by every message, as that of a session is.
    deadline: u64,
}

impl Program for Ponger {
    fn step(&mut self, now: Now, event: Event, _: &mut Disk, effects: &mut Vec<Effect>) {
        self.deadline = now.mono + 10_000_000_000;
        match event {
            Event::Connected { conn } => effects.push(Effect::Send {
                conn,
                bytes: Bytes::from_static(&[7; 100]),
            }),
            Event::Received { conn, bytes } => effects.push(Effect::Send { conn, bytes }),
            _ => {}
        }
    }
    fn next_deadline(&self) -> Option<u64> {
        Some(self.deadline)
    }
}

struct Pongers;

impl Boot for Pongers {
    type Program = Ponger;
    fn boot(&mut self, node: NodeId, now: Now, _: u64, _: &mut Disk, effects: &mut Vec<Effect>) -> Option<Ponger> {
        let to = NodeId((node.0 + 1) % 3);
        effects.push(Effect::Connect { conn: 2, to });
        Some(Ponger { deadline: now.mono })
    }
}

fn main() {
    const STEPS: u64 = 5_000_000;
    let nodes = ["a", "b", "c"].map(|name| NodeSpec { name: name.to_owned() });
    let mut world = World::new(Pongers, nodes.to_vec(), &Streams::new(1), WorldConfig::default());
    world.start_all();
    #[allow(clippy::disallowed_methods, clippy::disallowed_types)] // See above.
    let begun = Instant::now();
    while world.steps() < STEPS && world.step().is_some() {}
    let took = begun.elapsed().as_nanos() as u64;
    println!(
        "{} steps, {} bytes, {} s of true time: {} ns of wall time a step, digest {:016x}",
        world.steps(),
        world.counts().bytes,
        world.now() / 1_000_000_000,
        took / world.steps(),
        world.trace().digest()
    );
}
