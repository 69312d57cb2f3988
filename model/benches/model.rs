//! What a state costs: Kip320 with N3 L2 M2 E2, all its properties and shortest traces, beside stateright's own searches.
//!
//! `cargo bench -p highwater-model` prints one table. Each row is a process of its own, so that memory is the peak of that
//! search alone; rows take turns, and the best of three is printed. On a busy machine wall time says little: the last but
//! one column divides by CPU time instead, and by it a search on two threads that wastes nothing costs what one costs.

use cpu_time::ProcessTime;
use model::check::{Options, check};
use model::kip::{Kip320, Limits, Published};
use stateright::{Checker, Model};
use std::process::Command;
use std::time::Instant;

const ROUNDS: usize = 3;
/// Says to the process what to search with.
const ROLE: &str = "HIGHWATER_BENCH_ROLE";
const STATES: usize = 737_794;

fn spec() -> Published<Kip320> {
    let limits = Limits {
        replicas: 3,
        log_size: 2,
        records: 2,
        leader_epochs: 2,
    };
    Published::new(limits).expect("bounds that fit a key")
}

/// Peak resident bytes of this process; 0 where that is not told.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}

/// Searches, and prints states, seconds, CPU seconds and bytes.
fn search(role: &str) {
    let (kind, threads) = role.split_once(' ').expect("a kind and a number");
    let threads: usize = threads.parse().expect("a number of threads");
    let spec = spec();
    let (before, started, cpu) = (peak_bytes(), Instant::now(), ProcessTime::now());
    let distinct = match kind {
        "ours" | "ours-symmetric" => {
            let options = Options {
                workers: threads,
                symmetry: kind == "ours-symmetric",
                ..Options::default()
            };
            let verdict = check(&spec, &options);
            assert!(verdict.holds(), "{verdict}");
            verdict.distinct as usize
        }
        "stateright-bfs" => spec.checker().threads(threads).spawn_bfs().join().unique_state_count(),
        "stateright-dfs" => spec.checker().threads(threads).spawn_dfs().join().unique_state_count(),
        _ => panic!("no such kind of search: {kind}"),
    };
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
    assert!(kind == "ours-symmetric" || distinct == STATES, "{distinct} states");
    println!("{distinct} {seconds} {cpu} {}", peak_bytes() - before);
}

/// States, seconds, CPU seconds, bytes.
type Measured = [f64; 4];

fn measure(role: &str) -> Measured {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).env(ROLE, role).output().expect("it runs again");
    assert!(
        output.status.success(),
        "{role}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().expect("four numbers")
}

fn main() {
    if let Ok(role) = std::env::var(ROLE) {
        return search(&role);
    }
    let kinds = ["ours", "ours-symmetric", "stateright-bfs", "stateright-dfs"];
    let both = |kind: &&str| [1, 2].map(|threads| format!("{kind} {threads}"));
    let roles: Vec<String> = kinds.iter().flat_map(both).collect();
    let mut best: Vec<Option<Measured>> = vec![None; roles.len()];
    for _ in 0..ROUNDS {
        for (role, best) in roles.iter().zip(&mut best) {
            let measured = measure(role);
            *best = best.filter(|best| best[2] < measured[2]).or(Some(measured));
        }
    }
    println!(
        "{:<15} {:>7} {:>8} {:>8} {:>9} {:>14} {:>12}",
        "search", "threads", "states", "seconds", "states/s", "states/CPU s", "bytes/state"
    );
    for (role, best) in roles.iter().zip(best) {
        let (kind, threads) = role.split_once(' ').expect("a kind and a number");
        let [states, seconds, cpu, bytes] = best.expect("it was measured");
        println!(
            "{kind:<15} {threads:>7} {states:>8} {seconds:>8.3} {:>9.0} {:>14.0} {:>12.1}",
            states / seconds,
            states / cpu,
            bytes / states
        );
    }
}
