//! Every switch of the museum is found by its scenario, and the very seed that found it is green with the switch off.
//!
//! How many seeds that takes is bounded here, generously; how long, by the README's bench.

use highwater::run::{Class, Options};
use highwater::scenario::{self, Expect, Scenario};
use highwater::sweep::{Plan, run_one, sweep};
use std::path::Path;
use std::sync::Arc;

/// More than any of them needs; a switch that is not found by then is lost.
const SEEDS: u64 = 2_000;

fn museum() -> Vec<Arc<Scenario>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .expect("scenarios/")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.retain(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("museum-"))
    });
    paths.sort();
    paths
        .iter()
        .map(|path| Arc::new(scenario::load(path).unwrap_or_else(|error| panic!("{error}"))))
        .collect()
}

#[test]
fn every_switch_is_found_and_vanishes_when_it_is_off() {
    let museum = museum();
    assert_eq!(
        museum.len(),
        kafka::rules::Rule::ALL.len(),
        "one scenario for each switch"
    );
    let mut wrong = Vec::new();
    for scenario in museum {
        let Expect::Violates { check } = &scenario.expect else {
            panic!("{}: must expect a violation", scenario.name)
        };
        let plan = Plan::of(0..SEEDS);
        let tally = sweep(&scenario, &plan, |_| ());
        let Some(seed) = tally.first_expected else {
            wrong.push(format!("{}: {check} did not fire in {SEEDS} seeds", scenario.name));
            continue;
        };
        let mut healthy = (*scenario).clone();
        healthy.rules.clear();
        let outcome = run_one(&Arc::new(healthy), seed, &Options::default()).expect("the machine works");
        if outcome.class != Class::Holds {
            wrong.push(format!(
                "{}: seed {seed} fails without the rule too: {}",
                scenario.name,
                outcome.headline()
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
