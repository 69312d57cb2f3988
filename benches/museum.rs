//! Each switch of the museum, asked three ways: the specification's shortest way to it, that way on the real cluster with
//! the switch on and off, and how soon a sweep of the real cluster comes upon it. `cargo bench --bench museum` prints the
//! README's table; seconds are wall time on one thread.

use highwater::exhaustive::{Budget, Found, ask, counterexample};
use highwater::run::path::{Answer, Followed, Path, follow};
use highwater::scenario::{self, Expect, Scenario, Subject};
use highwater::sweep::{Plan, sweep};
use model::check::Limits;
use std::sync::Arc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// More than any switch needs.
const SEEDS: u64 = 1_000;

fn load(dir: &str, begins: &str) -> Vec<Scenario> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut paths = scenario::files(&dir).expect("scenarios/");
    paths.retain(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(begins))
    });
    paths
        .iter()
        .map(|path| scenario::load(path).expect("a valid scenario"))
        .collect()
}

fn search(scenario: &Scenario) -> Found {
    let budget = Budget {
        workers: Some(1),
        symmetry: None,
        limits: Limits::default(),
    };
    let asked = ask(scenario, Subject::Model, &budget, &mut |_| {});
    asked.expect("a question").expect("valid").0
}

/// The property, or the step at which the cluster does not go along.
fn told(followed: &Followed, path: &Path) -> String {
    let broken = |check: &&str| followed.outcome.violates(check);
    match followed.answer {
        Answer::SameProperty(step) => {
            let seen = path.checks().into_iter().find(broken).unwrap_or("?");
            let when = step.map_or("when read back".to_owned(), |step| format!("at step {}", step + 1));
            format!("{seen} broken {when}")
        }
        Answer::Refuses(step) => format!("refuses step {}", step + 1),
        Answer::Holds => format!("goes along, {} holds", path.property),
    }
}

fn main() {
    let museum = load("scenarios", "museum-");
    println!(
        "| rule | model: broken | actions | states | seconds | cluster with it | cluster without | sweep | seeds | seconds |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for asked in load("scenarios/model", "shortest-") {
        let found = search(&asked);
        let (property, trace) = found.counterexamples().next().expect("each is broken");
        let text = counterexample(&asked, Subject::Model, property, trace, None).to_string();
        let path = Path::parse(&asked.name, &text).expect("what we write we read");
        let with = follow(&asked, 0, &path);
        let healthy = Scenario {
            rules: Vec::new(),
            ..asked.clone()
        };
        let without = follow(&healthy, 0, &path);
        let by_chance = |scenario: &&Scenario| scenario.rules == asked.rules && scenario.faults.script.is_empty();
        let swept = museum
            .iter()
            .find(by_chance)
            .expect("a scenario without a script")
            .clone();
        let Expect::Violates { check } = swept.expect.clone() else {
            panic!("{}: must expect a violation", swept.name)
        };
        let began = Instant::now();
        let plan = Plan {
            jobs: 1,
            ..Plan::of(0..SEEDS)
        };
        let tally = sweep(&Arc::new(swept), &plan, |_| ());
        let seconds = began.elapsed().as_secs_f64();
        assert!(tally.first_expected.is_some(), "{}: not found", asked.name);
        let number = asked.name.split('-').nth(1).unwrap_or_default();
        println!(
            "| {number} `{}` | {} | {} | {} | {:.2} | {} | {} | {check} | {} | {seconds:.2} |",
            asked.rules.join(", "),
            property.name,
            trace.steps.len(),
            found.distinct,
            found.seconds,
            told(&with, &path),
            told(&without, &path),
            tally.seeds,
        );
    }
}
