//! Same seed, same digest: alone, in a batch on all cores, twice in a row, with and without an observer, and in another
//! process.

use highwater::run::{self, Observer, Options};
use highwater::scenario::{self, Scenario};
use highwater::sweep::{Plan, run_one, sweep};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn scenarios() -> Vec<(PathBuf, Arc<Scenario>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = std::fs::read_dir(dir)
        .expect("scenarios/ is there")
        .flatten()
        .map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|ending| ending == "json") && !path.ends_with("schema.json"))
        .collect();
    paths.sort();
    let load = |path: PathBuf| {
        let scenario = scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
        (path, Arc::new(scenario))
    };
    paths.into_iter().map(load).collect()
}

/// How many seeds of each scenario; the release build of CI does the whole duty.
fn seeds() -> u64 {
    std::env::var("DETERMINISM_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(4)
}

fn digests(scenario: &Arc<Scenario>, jobs: usize) -> Vec<u64> {
    let plan = Plan {
        from: 0,
        seeds: seeds(),
        shard: 0,
        of: 1,
        jobs,
        until: None,
        fail_fast: false,
    };
    let mut scenario = (**scenario).clone();
    // A sweep that looks for a violation ends when it has found one; here every seed counts.
    scenario.expect = scenario::Expect::Passes;
    let mut digests = Vec::new();
    sweep(&Arc::new(scenario), &plan, |outcome| digests.push(outcome.digest));
    digests
}

#[test]
fn a_seed_is_the_same_run_alone_and_in_a_batch() {
    for (path, scenario) in scenarios() {
        let batch = digests(&scenario, 2);
        assert_eq!(batch.len() as u64, seeds(), "{}", path.display());
        for (seed, digest) in batch.iter().enumerate() {
            let alone = run_one(&scenario, seed as u64, &Options::default()).expect("the machine works");
            assert_eq!(alone.digest, *digest, "{} seed {seed}", path.display());
        }
        let distinct: std::collections::BTreeSet<_> = batch.iter().collect();
        assert!(
            distinct.len() > 1,
            "{}: all seeds gave one digest: it looks at nothing",
            path.display()
        );
    }
}

struct Looks(u64);
impl Observer for Looks {
    fn note(&mut self, _: u64, _: sim::fault::NodeId, _: &kafka::Note) {
        self.0 += 1;
    }
}

#[test]
fn recording_and_watching_change_nothing_and_a_recording_replays_under_another_seed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/chaos-replication.json");
    let scenario = scenario::load(&path).expect("valid");
    let plain = run::run(&scenario, 7, &Options::default());
    let options = Options {
        record: true,
        ..Options::default()
    };
    let mut looks = Looks(0);
    let (recorded, tape) = run::observe(&scenario, 7, &options, &mut looks);
    assert_eq!(plain.digest, recorded.digest);
    assert!(looks.0 > 1_000, "the observer saw the run");
    assert!(tape.streams.len() > 10, "the streams were recorded");
    let options = Options {
        tape: Some(Arc::new(tape)),
        ..Options::default()
    };
    let replayed = run::run(&scenario, 8, &options);
    assert_eq!(replayed.digest, plain.digest, "the choices make the run, not the seed");
}

#[test]
fn another_process_gives_the_same_digest() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/chaos-replication.json");
    let scenario = Arc::new(scenario::load(&path).expect("valid"));
    for seed in 0..2 {
        let here = run_one(&scenario, seed, &Options::default())
            .expect("the machine works")
            .digest;
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_highwater"))
            .args(["replay", path.to_str().expect("utf-8"), "--seed", &seed.to_string()])
            .output()
            .expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains(&format!("{here:016x}")),
            "seed {seed}: {here:016x} is not in\n{text}"
        );
    }
}
