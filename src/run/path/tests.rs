//! What a counterexample must be to be followed, and that following it is a function of it.

use super::{Answer, Path, follow};
use crate::exhaustive::{self, Budget, ask};
use crate::scenario::{self, Controllers, Scenario, Subject};
use model::catalogue::{self, Visitor};
use model::check::{Limits, Spec};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

fn scenario(name: &str) -> Scenario {
    let file = format!("{}/scenarios/model/{name}.json", env!("CARGO_MANIFEST_DIR"));
    scenario::load(std::path::Path::new(&file)).unwrap_or_else(|error| panic!("{error}"))
}

/// What `check --out` writes of it.
fn counterexample(scenario: &Scenario) -> Value {
    let budget = Budget {
        workers: Some(1),
        symmetry: None,
        limits: Limits::default(),
    };
    let (found, _) = ask(scenario, Subject::Model, &budget, &mut |_| {})
        .expect("a question")
        .expect("valid");
    let (property, path) = found.counterexamples().next().expect("it is broken");
    exhaustive::counterexample(scenario, Subject::Model, property, path, None)
}

fn read(file: &Value) -> Path {
    Path::parse("path.json", &file.to_string()).unwrap_or_else(|error| panic!("{error}"))
}

const NAME: &str = "shortest-05-proposed-isr-hw";

#[test]
fn a_path_is_followed_the_same_way_each_time() {
    let scenario = scenario(NAME);
    let path = read(&counterexample(&scenario));
    let [one, two] = [(); 2].map(|()| follow(&scenario, 7, &path));
    assert_eq!(
        one.answer,
        Answer::SameProperty(Some(1)),
        "the cluster does two steps in one"
    );
    assert_eq!(one.outcome.digest, two.outcome.digest);
    let words = |lines: &[super::Line]| lines.iter().map(|line| format!("{line:?}")).collect::<Vec<_>>();
    assert_eq!(words(&one.lines), words(&two.lines));
    assert_ne!(one.outcome.digest, follow(&scenario, 8, &path).outcome.digest);
}

#[test]
fn what_breaks_after_a_refusal_is_broken_all_the_same() {
    let scenario = scenario(NAME);
    let path = read(&counterexample(&scenario));
    let mut followed = follow(&scenario, 0, &path);
    assert_eq!(followed.exit_code(), 1);
    followed.answer = Answer::Refuses(1);
    assert_eq!(followed.exit_code(), 1, "the run is still violated");
    followed.outcome.class = super::Class::Stuck;
    assert_eq!(followed.exit_code(), 4);
    followed.outcome.class = super::Class::Holds;
    assert_eq!(followed.exit_code(), 7);
    followed.answer = Answer::Holds;
    assert_eq!(followed.exit_code(), 0);
}

#[test]
fn what_is_no_path_is_refused_with_its_place() {
    let good = counterexample(&scenario(NAME));
    let refuses = |change: &dyn Fn(&mut Value), place: &str, words: &str| {
        let mut bad = good.clone();
        change(&mut bad);
        let error = Path::parse("path.json", &bad.to_string()).expect_err("it must be refused");
        assert_eq!(error.place, place, "{error}");
        assert!(error.problem.contains(words), "`{words}` is not in: {error}");
    };
    refuses(
        &|path| path["schema_version"] = json!(2),
        "schema_version",
        "reads version 1, not 2",
    );
    refuses(
        &|path| path["model"]["spec"] = json!("kip-320"),
        "model.spec",
        "those of `replication` and `quorum` can",
    );
    refuses(
        &|path| path["model"]["bounds"]["replicas"] = json!(9),
        "model.bounds.replicas",
        "between 2 and 5, not 9",
    );
    refuses(
        &|path| path["model"]["bounds"]["moons"] = json!(9),
        "model.bounds.moons",
        "no such bound",
    );
    refuses(
        &|path| path["rules"] = json!(["truncate_to_low"]),
        "rules",
        "no rule `truncate_to_low`",
    );
    refuses(
        &|path| path["property"] = json!("elects"),
        "property",
        "no check of the cluster is called `elects`",
    );
    refuses(
        &|path| path["steps"][1]["action"]["isr"] = json!(7),
        "steps[1].action",
        r#"does not take {"action":"ProposeIsr","isr":7,"leader":0} here, but {"action":"ProposeIsr","isr":1,"leader":0}"#,
    );
    refuses(
        &|path| path["steps"][0]["action"] = json!("Moon"),
        "steps[0].action",
        r#"does not take "Moon" here, but "#,
    );
    refuses(
        &|path| path["steps"][0]["action"]["leader"] = json!(99),
        "steps[0].action",
        "does not take",
    );
    let error = Path::parse("path.json", "{ no").expect_err("no JSON").to_string();
    assert!(
        error.starts_with("path.json: line 1, column 3: not a counterexample"),
        "{error}"
    );
    let error = Path::parse("path.json", "{}").expect_err("no path").to_string();
    assert!(error.contains("missing field `schema_version`"), "{error}");
    let error = Path::load(std::path::Path::new("nowhere.json")).expect_err("there is none");
    assert_eq!(error.place, "the file itself");
}

#[test]
fn what_the_world_has_no_counterpart_for_is_named() {
    let asked = r#"{ "name": "x", "description": "", "model": { "spec": "replication",
        "bounds": { "replicas": 2, "min_insync_replicas": 1, "log_size": 1, "records": 1, "flushes": 1 } } }"#;
    let scenario = scenario::parse("x.json", asked).expect("valid");
    let produce = json!({ "action": { "action": "Produce", "leader": 0, "acks": "all", "count": 1 } });
    let flush = json!({ "action": { "action": "Flush", "broker": 0, "end": 1 } });
    let path = json!({
        "schema_version": 1, "model": scenario.model, "rules": [], "property": "X3", "steps": [produce, flush]
    });
    let error = Path::parse("path.json", &path.to_string()).expect_err("it must be refused");
    assert_eq!(error.place, "steps[1].action");
    assert!(
        error
            .problem
            .contains("has no counterpart in the world: nothing makes a broker sync"),
        "{error}"
    );
}

#[test]
fn a_cluster_that_does_not_fit_is_refused_with_its_place() {
    let good = scenario(NAME);
    let path = read(&counterexample(&good));
    path.fits("x.json", &good).expect("it fits");
    let refuses = |change: &dyn Fn(&mut Scenario), place: &str, words: &str| {
        let mut bad = good.clone();
        change(&mut bad);
        let error = path.fits("x.json", &bad).expect_err("it must be refused");
        assert_eq!((error.file.as_str(), error.place.as_str()), ("x.json", place));
        assert!(error.problem.contains(words), "`{words}` is not in: {error}");
    };
    refuses(
        &|bad| bad.cluster = Default::default(),
        "cluster",
        "nothing that could follow",
    );
    refuses(
        &|bad| bad.cluster.controllers = Controllers::Separate(3),
        "cluster.controllers",
        r#"needs {"separate": 1}"#,
    );
    refuses(&|bad| bad.topics.clear(), "topics", "needs a topic");
    refuses(
        &|bad| bad.topics[0].assignment[0].truncate(2),
        "topics[0].assignment",
        "3 replicas",
    );
    refuses(
        &|bad| {
            bad.topics[0]
                .config
                .insert("min.insync.replicas".to_owned(), "2".to_owned());
        },
        r#"topics[0].config["min.insync.replicas"]"#,
        r#"the path has "1""#,
    );
    let quorum = read(&counterexample(&scenario("shortest-23-forgotten-vote")));
    let error = quorum.fits("x.json", &good).expect_err("a quorum of three is needed");
    assert!(error.problem.contains(r#"needs {"separate": 3}"#), "{error}");
}

/// Wanders through a specification; every other way takes, of what is possible, what was done least.
struct Wander<'a> {
    seed: usize,
    steps: usize,
    done: &'a mut BTreeMap<String, usize>,
}

impl Visitor for Wander<'_> {
    type Output = Vec<Value>;

    fn visit<S: Spec + 'static>(self, spec: S) -> Vec<Value> {
        let mut state = spec.init_states().swap_remove(0);
        let mut steps = Vec::new();
        for at in 0..self.steps {
            let mut choices = Vec::new();
            spec.successors(&state, &mut |action, next| {
                let action = serde_json::to_value(&action).expect("an action is JSON");
                let kind = action["action"].as_str().unwrap_or_default().to_owned();
                choices.push((self.done.get(&kind).copied().unwrap_or(0), kind, action, next));
            });
            let least = choices.iter().map(|choice| choice.0).min();
            choices.retain(|choice| self.seed % 2 == 1 || Some(choice.0) == least);
            if choices.is_empty() {
                break;
            }
            let (_, kind, action, next) = choices.swap_remove((self.seed * 31 + at * 7) % choices.len());
            *self.done.entry(kind).or_default() += 1;
            steps.push(json!({ "action": action }));
            state = next;
        }
        steps
    }
}

/// Follows ways of a specification without a bug; gives the kinds of actions that the cluster went along with.
fn wander(scenario: &Scenario, ways: usize, steps: usize) -> BTreeSet<String> {
    let (mut done, mut taken) = (BTreeMap::new(), BTreeSet::new());
    for seed in 0..ways {
        let wander = Wander {
            seed,
            steps,
            done: &mut done,
        };
        let (_, question) = scenario.question(Subject::Model).expect("a question");
        let mut way = catalogue::open(&question, wander).expect("valid");
        let path = loop {
            let file = json!({
                "schema_version": 1, "model": scenario.model, "rules": [], "property": "X3", "steps": way
            });
            match Path::parse("path.json", &file.to_string()) {
                Ok(path) => break path,
                Err(error) => {
                    assert!(error.problem.contains("no counterpart"), "{error}");
                    let at = error.place.trim_start_matches("steps[").split(']').next();
                    way.truncate(at.and_then(|at| at.parse().ok()).expect("the place of a step"));
                }
            }
        };
        let followed = follow(scenario, 0, &path);
        let last = followed.lines.last().map(|line| format!("{line:?}"));
        assert_eq!(
            followed.exit_code() % 7,
            0,
            "way {seed}: {}: {last:?}",
            followed.outcome.headline()
        );
        let along = match followed.answer {
            Answer::Refuses(step) => step,
            _ => way.len(),
        };
        let kind = |step: &Value| step["action"]["action"].as_str().unwrap_or_default().to_owned();
        taken.extend(way[..along].iter().map(kind));
    }
    taken
}

#[test]
fn what_the_specification_allows_without_a_bug_breaks_nothing() {
    let mut scenario = scenario("shortest-01-truncate-to-hw");
    scenario.rules.clear();
    let asked = scenario.model.as_mut().expect("a question");
    for (bound, value) in [
        ("log_size", 2),
        ("records", 2),
        ("leader_epochs", 4),
        ("partition_epochs", 10),
        ("lag", 4),
        ("reads", 1),
        ("parks", 1),
        ("isr_shrinks", 1),
        ("isr_grows", 1),
        ("preferred_elections", 1),
        ("unclean_elections", 1),
        ("kills", 1),
        ("power_failures", 1),
        ("stops", 1),
        ("wipes", 1),
        ("restarts", 1),
    ] {
        asked.bounds.insert(bound.to_owned(), value);
    }
    let taken = wander(&scenario, 80, 24);
    for kind in [
        "Acknowledge",
        "AdvanceHighWatermark",
        "AnswerParked",
        "ApplyMetadata",
        "ElectUnclean",
        "Fence",
        "HandleAlter",
        "HandleAltered",
        "HandleFetch",
        "HandleFetched",
        "Kill",
        "LosePower",
        "Produce",
        "ProposeIsr",
        "Read",
        "Register",
        "Start",
        "Stop",
        "Unfence",
        "Wipe",
    ] {
        assert!(
            taken.contains(kind),
            "the cluster never goes along with {kind}: {taken:?}"
        );
    }
}

#[test]
fn what_the_quorum_allows_without_a_bug_breaks_nothing() {
    let mut scenario = scenario("shortest-22-prev-epoch-commit");
    scenario.rules.clear();
    let mut taken = BTreeSet::new();
    for pre_vote in [0, 1] {
        let asked = scenario.model.as_mut().expect("a question");
        for (bound, value) in [
            ("epochs", 4),
            ("candidates", 0),
            ("log_size", 4),
            ("appends", 1),
            ("resigns", 1),
            ("kills", 1),
            ("power_failures", 1),
            ("pre_vote", pre_vote),
        ] {
            asked.bounds.insert(bound.to_owned(), value);
        }
        taken.extend(wander(&scenario, 40, 24));
    }
    for kind in [
        "Append",
        "Campaign",
        "CountVote",
        "HandleBegin",
        "HandleFetch",
        "HandleVote",
        "Kill",
        "LosePower",
        "Resign",
        "Start",
    ] {
        assert!(
            taken.contains(kind),
            "the cluster never goes along with {kind}: {taken:?}"
        );
    }
}
