//! The testbed: the only place where the subject, the world, the specification and the page meet.
//!
//! A run is a function of a scenario and a seed; it leaves a trace; everything else reads the trace.

#[cfg(not(madsim))]
compile_error!(
    "highwater must be built with `--cfg madsim`: build inside the checkout, where .cargo/config.toml sets it, and \
     without a RUSTFLAGS variable, which would replace it (or add `--cfg madsim` to that variable)"
);

pub mod checks;
pub mod cli;
pub mod cluster;
pub mod code;
pub mod conform;
pub mod connection;
pub mod exhaustive;
pub mod fold;
pub mod history;
pub mod isolate;
pub mod lessons;
pub mod play;
pub mod run;
pub mod scenario;
pub mod series;
pub mod serve;
pub mod sockets;
pub mod story;
pub mod sweep;
pub mod tap;
pub mod topics;
pub mod valve;
pub mod view;
