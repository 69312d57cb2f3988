//! What specifications are asked by scenario files, and that each gives the expected answer.

use highwater::exhaustive::{Budget, Judgement, ask};
use highwater::scenario::{self, Scenario, Subject};
use model::check::Limits;
use std::collections::BTreeSet;
use std::path::Path;

fn questions() -> Vec<Scenario> {
    let mut found = Vec::new();
    for dir in ["scenarios", "scenarios/model"] {
        let paths = scenario::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)).expect(dir);
        for path in paths {
            let scenario = scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
            let name = path.file_stem().and_then(|stem| stem.to_str());
            assert_eq!(name, Some(scenario.name.as_str()), "a file is named as its scenario");
            found.extend(scenario.model.is_some().then_some(scenario));
        }
    }
    found
}

#[test]
fn every_question_gets_its_answer_on_one_thread_and_on_three() {
    for scenario in questions() {
        let answers = [1, 3].map(|workers| {
            let budget = Budget {
                workers: Some(workers),
                symmetry: None,
                limits: Limits::default(),
            };
            let answer = ask(&scenario, Subject::Model, &budget, &mut |_| {}).expect("a question");
            let (found, judgement) = answer.unwrap_or_else(|wrong| panic!("{}: {wrong}", scenario.name));
            assert_eq!(judgement, Judgement::AsExpected, "{}", scenario.name);
            found
        });
        let [one, three] = answers.map(|found| {
            let paths: Vec<_> = found.properties.into_iter().map(|property| property.path).collect();
            (found.distinct, found.generated, found.depth, paths)
        });
        assert!(one == three, "{}: counts and traces depend on threads", scenario.name);
    }
}

#[test]
fn every_specification_is_asked() {
    let asked: BTreeSet<String> = questions()
        .into_iter()
        .filter_map(|scenario| Some(scenario.model?.spec))
        .collect();
    let missing: Vec<&str> = model::catalogue::entries()
        .iter()
        .map(|entry| entry.name)
        .filter(|name| !asked.contains(*name))
        .collect();
    assert!(missing.is_empty(), "no scenario asks {missing:?}");
}
