//! `play`: a cluster to drive by hand, on the loopback interface.

use super::Failure;
use crate::play::Play;
use crate::scenario;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

pub(super) fn play(file: Option<&Path>, seed: u64, port: u16) -> Result<u8, Failure> {
    let base = match file {
        Some(file) => scenario::load(file)?,
        None => scenario::playground(),
    };
    if !base.simulates() {
        return Err(Failure::only_model());
    }
    let failed = |error: std::io::Error| Failure::machine(&format!("cannot listen on 127.0.0.1:{port}"), &error);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    println!("http://{address}/ plays {}, seed {seed}; end it with Ctrl-C", base.name);
    Play::new(base, seed).serve(&listener).map_err(failed)?;
    Ok(0)
}
