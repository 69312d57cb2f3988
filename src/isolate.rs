//! A simulation's own thread and runtime.
//!
//! Inside, every stray clock and entropy read, also in libraries, is answered from the seed; a fresh thread keeps what
//! one run left in thread-locals from the next.

/// Runs `f` on a thread of its own; also its CPU time in nanoseconds. `Err` is the machine's failure or a panic of the
/// testbed, in words.
pub fn isolated<T: Send + 'static>(seed: u64, f: impl FnOnce() -> T + Send + 'static) -> Result<(T, u64), String> {
    let thread = std::thread::Builder::new()
        .name(format!("seed-{seed}"))
        .stack_size(4 << 20)
        .spawn(move || {
            // Outside the runtime: inside it even the thread's clock is not real.
            let cpu = cpu_time::ThreadTime::now();
            let runtime = madsim::runtime::Runtime::with_seed_and_config(seed, madsim::Config::default());
            let result = runtime.block_on(async move { f() });
            drop(runtime);
            (result, cpu.elapsed().as_nanos() as u64)
        })
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    thread.join().map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without words".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::isolated;

    #[test]
    fn stray_clocks_and_entropy_come_from_the_seed() {
        let stray = |seed| {
            let read = || {
                let now = std::time::SystemTime::now();
                let hasher = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 1);
                (now, hasher)
            };
            isolated(seed, read).expect("the machine works").0
        };
        assert_eq!(stray(1), stray(1));
        assert_ne!(stray(1), stray(2));
    }
}
