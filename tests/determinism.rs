//! Same seed, same digest: alone and in a batch on all cores, here and in another process, with and without an observer.

use highwater::run::{self, Observer, Options};
use highwater::scenario::{self, Scenario};
use highwater::sweep::run_one;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

fn scenarios() -> Vec<(PathBuf, Arc<Scenario>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let load = |path: PathBuf| {
        let scenario = scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
        (path, Arc::new(scenario))
    };
    let paths = scenario::files(&dir).expect("scenarios/ is there");
    paths.into_iter().map(load).collect()
}

/// How many seeds of each scenario; `.ci/digests` compares more of them.
fn seeds() -> u64 {
    std::env::var("DETERMINISM_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(4)
}

/// What another process says of every scenario and seed: a batch on both cores.
fn batch() -> BTreeMap<(String, u64), String> {
    let output = Command::new(env!("CARGO_BIN_EXE_highwater"))
        .args(["sweep", "--every-seed", "--jobs", "2", "--json", "--seeds"])
        .arg(seeds().to_string())
        .env_remove("SIM_SEED")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let parse = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
        let word = |name: &str| line[name].as_str().expect("a word").to_owned();
        let seed = line["seed"].as_u64().expect("a number");
        ((word("scenario"), seed), word("digest"))
    };
    text.lines().map(parse).collect()
}

/// The release build's side of this is `.ci/digests`.
#[test]
fn a_seed_is_the_same_run_alone_here_and_in_a_batch_elsewhere() {
    let batch = batch();
    let scenarios = scenarios();
    assert_eq!(batch.len() as u64, scenarios.len() as u64 * seeds());
    for (path, scenario) in scenarios {
        let mut distinct = BTreeSet::new();
        for seed in 0..seeds() {
            let alone = run_one(&scenario, seed, &Options::default()).expect("the machine works");
            let there = &batch[&(scenario.name.clone(), seed)];
            assert_eq!(
                &format!("{:016x}", alone.digest),
                there,
                "{} seed {seed}",
                path.display()
            );
            distinct.insert(alone.digest);
        }
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
    for name in ["chaos-replication.json", "byte-streams.json"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
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
}
