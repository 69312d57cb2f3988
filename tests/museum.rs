//! Every switch of the museum is found by faults that a seed draws, not only by a timeline written for it, and the very
//! seed that found it is green with the switch off.
//!
//! How many seeds that takes is bounded here; how long, by the README's bench.

use highwater::run::{Class, Options};
use highwater::scenario::{self, Expect, Scenario};
use highwater::sweep::{Plan, run_one, sweep};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Random schedules find each of them once in twenty seeds at least; one that needs more than this is lost.
const SEEDS: u64 = 300;

fn museum() -> Vec<Arc<Scenario>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut paths = scenario::files(&dir).expect("scenarios/");
    paths.retain(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("museum-"))
    });
    paths
        .iter()
        .map(|path| Arc::new(scenario::load(path).unwrap_or_else(|error| panic!("{error}"))))
        .collect()
}

#[test]
fn every_switch_is_found_and_vanishes_when_it_is_off() {
    let museum = museum();
    let by_chance = museum.iter().filter(|scenario| scenario.faults.script.is_empty());
    let found: BTreeSet<&str> = by_chance
        .flat_map(|scenario| scenario.rules.iter().map(String::as_str))
        .collect();
    let all: BTreeSet<&str> = kafka::rules::Rule::ALL.iter().map(|rule| rule.name()).collect();
    assert_eq!(found, all, "a scenario without a script for each switch");
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
