//! What is asked of the real machines by scenario files, and that they give the expected answer. The larger searches run
//! in CI, in release: `check --code`.

use highwater::exhaustive::{Budget, Found, Judgement, ask};
use highwater::scenario::{self, Scenario, Subject};
use model::check::Limits;
use std::collections::BTreeSet;
use std::path::Path;

fn questions() -> Vec<Scenario> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/code");
    let load = |path: &std::path::PathBuf| {
        let scenario = scenario::load(path).unwrap_or_else(|error| panic!("{error}"));
        let name = path.file_stem().and_then(|stem| stem.to_str());
        assert_eq!(name, Some(scenario.name.as_str()), "a file is named as its scenario");
        scenario
    };
    scenario::files(&dir)
        .expect("scenarios/code")
        .iter()
        .map(load)
        .collect()
}

fn question(name: &str) -> Scenario {
    let found = questions().into_iter().find(|scenario| scenario.name == name);
    found.unwrap_or_else(|| panic!("there is no {name}"))
}

fn search(scenario: &Scenario, workers: usize, limits: Limits) -> (Found, Judgement) {
    let budget = Budget {
        workers: Some(workers),
        symmetry: None,
        limits,
    };
    let answer = ask(scenario, Subject::Code, &budget, &mut |_| {}).expect("a question");
    answer.unwrap_or_else(|wrong| panic!("{}: {wrong}", scenario.name))
}

/// The same question with the rule off.
fn lawful(mut scenario: Scenario) -> Scenario {
    scenario.rules.clear();
    scenario.code.as_mut().expect("a question").violates.clear();
    scenario
}

fn broken(found: &Found) -> Vec<&str> {
    let properties = found.properties.iter();
    let broken = properties.filter(|property| property.answer == "counterexample");
    broken.map(|property| property.name).collect()
}

const QUICK: [&str; 3] = [
    "code-01-truncate-to-hw",
    "code-05-proposed-isr-hw",
    "code-08-diverging-credit",
];

#[test]
fn rules_of_the_museum_are_found_in_the_code_on_one_thread_and_on_three() {
    for name in QUICK {
        let scenario = question(name);
        let [one, three] = [1, 3].map(|workers| {
            let (found, judgement) = search(&scenario, workers, Limits::default());
            assert_eq!(judgement, Judgement::AsExpected, "{name}");
            let paths: Vec<_> = found.properties.into_iter().map(|property| property.path).collect();
            (found.distinct, found.generated, found.depth, paths)
        });
        assert!(one == three, "{name}: counts and traces depend on threads");
    }
}

#[test]
fn within_the_same_bounds_the_code_without_the_rule_is_lawful() {
    for name in QUICK {
        let (found, _) = search(&lawful(question(name)), 2, Limits::default());
        assert_eq!((found.outcome, broken(&found)), ("exhaustive", vec![]), "{name}");
    }
}

#[test]
fn a_search_of_the_code_that_was_cut_says_so() {
    let limits = Limits {
        depth: Some(4),
        ..Limits::default()
    };
    let (found, judgement) = search(&question("code-quorum"), 2, limits);
    assert_eq!((found.outcome, judgement), ("cut", Judgement::Inconclusive));
    assert!(found.summary.starts_with("cut at depth 4, "), "{}", found.summary);
}

#[test]
fn a_counterexample_in_the_code_is_told_by_what_the_machines_said() {
    let (found, _) = search(&question("code-05-proposed-isr-hw"), 1, Limits::default());
    let property = found.properties.iter().find(|property| property.name == "X4");
    let path = property
        .and_then(|property| property.path.as_ref())
        .expect("it is broken");
    let words: Vec<&str> = path.steps.iter().flat_map(|step| step.words.lines()).collect();
    // Of two shortest traces either may be found: the record comes first, or the look.
    for told in [
        "b1 looks for followers that have lagged",
        "asks for ISR {1}",
        "a client's record comes to b1",
    ] {
        assert!(words.iter().any(|line| line.contains(told)), "{told}: {words:?}");
    }
}

#[test]
fn every_group_is_asked_with_no_rule_and_with_one() {
    let asked: BTreeSet<(String, bool)> = questions()
        .into_iter()
        .map(|scenario| (scenario.code.expect("a question").spec, scenario.rules.is_empty()))
        .collect();
    for entry in Subject::Code.entries() {
        for lawful in [true, false] {
            assert!(
                asked.contains(&(entry.name.to_owned(), lawful)),
                "{} {lawful}",
                entry.name
            );
        }
    }
}
