//! What a seed costs, in CPU time, with every check on: steps, simulated seconds, seeds, client operations and faults.
//!
//! `cargo bench --bench world` prints one table. Figures are CPU time of the simulating thread, so that a busy neighbour
//! does not count; a run of each kind is done before the clock starts, and kinds are interleaved.

use highwater::checks::{Checks, Fact};
use highwater::isolate::isolated;
use highwater::run::{self, Layout, Observer, Options};
use highwater::scenario;
use highwater::sweep::run_one;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Default)]
struct Sum {
    seeds: u64,
    cpu_ns: u64,
    steps: u64,
    simulated_ns: u64,
    operations: u64,
    faults: u64,
}

impl Sum {
    fn add(&mut self, outcome: &run::Outcome) {
        self.seeds += 1;
        self.cpu_ns += outcome.cpu_ns;
        self.steps += outcome.steps;
        self.simulated_ns += outcome.simulated_ns;
        self.operations += outcome.operations;
        self.faults += outcome.faults.values().sum::<u64>();
    }

    fn print(&self, name: &str) {
        let cpu_s = self.cpu_ns as f64 / 1e9;
        let per_cpu_s = |count: u64| count as f64 / cpu_s;
        println!(
            "{name:<34} {:>6} {:>10.0} {:>9.0} {:>11.0} {:>8.0} {:>8.0}",
            self.seeds,
            per_cpu_s(self.steps),
            self.simulated_ns as f64 / 1e9 / cpu_s,
            per_cpu_s(self.seeds) * 3_600.0,
            per_cpu_s(self.operations),
            per_cpu_s(self.faults),
        );
    }
}

/// Writes down everything that the checks are told by machines.
#[derive(Default)]
struct Notes(Vec<(u64, u16, kafka::Note)>);
impl Observer for Notes {
    fn note(&mut self, time_ns: u64, node: sim::fault::NodeId, note: &kafka::Note) {
        self.0.push((time_ns, node.0, note.clone()));
    }
}

/// What the checks alone cost: the notes of whole runs, fed to fresh checks. Nanoseconds of CPU: the runs, the checks.
fn cost_of_checks(scenario: &Arc<highwater::scenario::Scenario>, seeds: u64) -> (u64, u64) {
    let (mut whole, mut checks_only) = (0, 0);
    for seed in 0..seeds {
        whole += run_one(scenario, seed, &Options::default())
            .expect("the machine works")
            .cpu_ns;
        let shared = Arc::clone(scenario);
        let record = move || {
            let mut notes = Notes::default();
            run::observe(&shared, seed, &Options::default(), &mut notes);
            notes.0
        };
        let (notes, _) = isolated(seed, record).expect("the machine works");
        let mut checks = Checks::new(run::context(scenario, &Layout::of(scenario)));
        let cpu = cpu_time::ThreadTime::now();
        for (time_ns, node, note) in &notes {
            checks.fact(Fact::Note {
                time_ns: *time_ns,
                node: *node,
                note,
            });
        }
        checks_only += cpu.elapsed().as_nanos() as u64;
    }
    (whole, checks_only)
}

/// Resident set now, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap_or("VmRSS: 0 kB");
    line.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or(0)
}

/// Largest resident set so far, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap_or("VmHWM: 0 kB");
    line.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}

fn scenarios() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    scenario::files(&dir).expect("scenarios/")
}

fn main() {
    let rounds: u64 = std::env::var("BENCH_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(40);
    let loaded: Vec<_> = scenarios()
        .iter()
        .map(|path| Arc::new(scenario::load(path).expect("valid")))
        .collect();
    let mut sums: Vec<Sum> = loaded.iter().map(|_| Sum::default()).collect();
    for scenario in &loaded {
        run_one(scenario, 1_000_000, &Options::default()).expect("the machine works");
    }
    for seed in 0..rounds {
        for (scenario, sum) in loaded.iter().zip(&mut sums) {
            sum.add(&run_one(scenario, seed, &Options::default()).expect("the machine works"));
        }
    }
    println!(
        "{:<34} {:>6} {:>10} {:>9} {:>11} {:>8} {:>8}",
        "scenario", "seeds", "steps/s", "sim s/s", "seeds/hour", "ops/s", "faults/s"
    );
    println!("{:<34} {:>6} (a second, an hour: of CPU time)", "", "");
    let mut all = Sum::default();
    for (scenario, sum) in loaded.iter().zip(&sums) {
        sum.print(&scenario.name);
        all.seeds += sum.seeds;
        all.cpu_ns += sum.cpu_ns;
        all.steps += sum.steps;
        all.simulated_ns += sum.simulated_ns;
        all.operations += sum.operations;
        all.faults += sum.faults;
    }
    all.print("all");
    let chaos = loaded
        .iter()
        .find(|scenario| scenario.name == "chaos-replication")
        .expect("it is there");
    let (whole, checks) = cost_of_checks(chaos, rounds.min(20));
    println!(
        "checks: {:.1} % of a chaos-replication seed",
        checks as f64 * 100.0 / whole as f64
    );
    let before = resident_kib();
    let many = rounds * 10;
    for seed in 0..many {
        run_one(
            &loaded[(seed % loaded.len() as u64) as usize],
            seed,
            &Options::default(),
        )
        .expect("the machine works");
    }
    println!(
        "memory: peak {} MiB; {} KiB more after {many} further seeds",
        peak_mib(),
        resident_kib().saturating_sub(before)
    );
}
