//! The world: nodes, disks, NICs and links, clocks, faults; one seed decides everything, one schedule replays it.
//!
//! Nothing moves, time included, but through [`World`](world::World). There is no word of the subject in here.
pub mod clock;
mod connection;
pub mod disk;
mod due;
pub mod fault;
mod host;
mod link;
mod net;
pub mod program;
mod queue;
pub mod random;
pub mod schedule;
pub mod step;
pub mod swarm;
pub mod trace;
pub mod world;
