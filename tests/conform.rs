//! Bridge one: real runs are held against the specification. It is silent where the code is right, it sees each published
//! bug that the specification speaks of, and it does not change what it looks at.

use highwater::conform::{CHECK, scope::uncovered};
use highwater::run::{Options, Outcome};
use highwater::scenario::{self, Scenario};
use highwater::sweep::run_one;
use kafka::rules::Rule;
use model::replication::Flaw;
use std::path::Path;
use std::sync::Arc;

fn scenarios() -> Vec<Arc<Scenario>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let paths = scenario::files(&dir).expect("scenarios/");
    let loaded = paths.iter().map(|path| scenario::load(path).expect("a scenario"));
    loaded.filter(Scenario::simulates).map(Arc::new).collect()
}

fn held(scenario: &Arc<Scenario>, seed: u64) -> Outcome {
    let options = Options {
        conform: true,
        ..Options::default()
    };
    run_one(scenario, seed, &options).expect("the machine works")
}

fn without_rules(scenario: &Scenario) -> Arc<Scenario> {
    let mut healthy = scenario.clone();
    healthy.rules.clear();
    Arc::new(healthy)
}

#[test]
fn covered_scenarios_are_steps_of_the_specification_and_run_as_they_do_without_it() {
    let mut covered = 0;
    for scenario in scenarios().iter().filter(|scenario| uncovered(scenario).is_none()) {
        covered += 1;
        for seed in 0..3 {
            let outcome = held(scenario, seed);
            assert!(
                !outcome.violates(CHECK),
                "{} seed {seed}: {}",
                scenario.name,
                outcome.headline()
            );
            let matched = outcome.conformed.expect("it was asked for").matched;
            assert!(
                matched.get("produce").is_some_and(|count| *count > 0),
                "{} seed {seed} matched {matched:?}",
                scenario.name
            );
            let plain = run_one(scenario, seed, &Options::default()).expect("the machine works");
            assert_eq!(plain.digest, outcome.digest, "{} seed {seed}", scenario.name);
            assert!(plain.conformed.is_none());
        }
    }
    assert!(covered >= 20, "{covered} scenarios are covered");
}

/// The specification has no flaw of these; the broker has one switched on.
#[test]
fn each_bug_of_replication_is_a_step_that_the_specification_does_not_allow() {
    let all = scenarios();
    let mut wrong = Vec::new();
    for flaw in Flaw::ALL {
        let rule = Rule::by_name(flaw.name()).expect("the museum and the specification call it the same");
        let shows = |scenario: &&Arc<Scenario>| {
            scenario.faults.script.is_empty() && scenario.rules.iter().any(|name| name == rule.name())
        };
        let scenario = all.iter().find(shows).expect("the museum has one for each");
        let Some(seed) = (0..100).find(|seed| held(scenario, *seed).violates(CHECK)) else {
            wrong.push(format!("{} was not seen in 100 seeds", rule.name()));
            continue;
        };
        let healthy = held(&without_rules(scenario), seed);
        if healthy.violates(CHECK) {
            wrong.push(format!("{} off, seed {seed}: {}", rule.name(), healthy.headline()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_wrong_high_watermark_rule_is_shown_with_what_would_have_been_allowed() {
    let all = scenarios();
    let named = |scenario: &&Arc<Scenario>| scenario.name == "museum-05-proposed-isr-hw";
    let scenario = all.iter().find(named).expect("it is there");
    let mut outcomes = (0..100).map(|seed| held(scenario, seed));
    let found = outcomes.find_map(|outcome| outcome.violations.into_iter().find(|found| found.check == CHECK));
    let text = found.expect("found within a hundred seeds").message;
    for part in [
        "raises its high watermark",
        "not everybody in the maximal ISR is known to hold that much",
        "the specification's state before:",
        "the broker's state after:",
        "what the specification would have allowed:",
    ] {
        assert!(text.contains(part), "`{part}` is missing in\n{text}");
    }
}

#[test]
fn what_is_not_covered_is_read_off_the_scenario() {
    let reason = |edit: &dyn Fn(&mut Scenario)| {
        let all = scenarios();
        let covered = all.iter().find(|scenario| scenario.name == "acks-all");
        let mut scenario = (**covered.expect("it is there")).clone();
        edit(&mut scenario);
        uncovered(&scenario)
    };
    assert_eq!(reason(&|_| ()), None);
    assert!(reason(&|scenario| scenario.rules.push("truncate_to_hw".to_owned())).is_some());
    assert!(
        reason(&|scenario| {
            let swarm = scenario.faults.swarm.as_mut().expect("it has one");
            swarm.families.push("bit_rot".to_owned());
        })
        .is_some()
    );
    assert_eq!(
        reason(&|scenario| {
            let swarm = scenario.faults.swarm.as_mut().expect("it has one");
            swarm.families.push("power_loss".to_owned());
        }),
        None
    );
}

/// Killed in the middle of it, so that nothing was said: the log begins at the leader's log start, and what is below is committed.
#[test]
fn a_log_that_began_anew_in_the_step_that_killed_its_process_says_what_is_committed() {
    let chaos = scenarios()
        .into_iter()
        .find(|scenario| scenario.name == "chaos-replication");
    let outcome = held(&chaos.expect("it is there"), 110_480);
    assert!(!outcome.violates(CHECK), "{}", outcome.headline());
}
