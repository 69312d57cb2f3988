//! What an exhaustive search answers to a scenario's question, and whether that is expected.
//!
//! A specification, or a group of real machines, is a type of its own; what leaves here is plain data that tables and files are made of.

use crate::scenario::{Scenario, SearchQuestion, Subject};
use model::catalogue::{Visitor, Wrong};
use model::check::{Answer, Limits, Options, Outcome, Progress, Spec, Stop, Trace, Verdict, VerdictOf, check_with};
use serde::Serialize;
use serde_json::{Value, json};
use stateright::Expectation;

/// Version of counterexample files.
pub const COUNTEREXAMPLE_VERSION: u32 = 1;

/// What a search found, whatever was searched.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Distinct states.
    pub distinct: u64,
    /// Generated states.
    pub generated: u64,
    /// States on the longest trace.
    pub depth: u32,
    /// `exhaustive`, `found` or `cut`.
    pub outcome: &'static str,
    /// The outcome in words.
    pub summary: String,
    /// Wall time.
    pub seconds: f64,
    /// Memory for each distinct state, at the peak.
    pub bytes_per_state: f64,
    /// Bound on the probability that two states were taken for one.
    pub collision_bound: f64,
    /// Threads.
    pub workers: usize,
    /// Whether states alike counted as one.
    pub symmetry: bool,
    /// Each property.
    pub properties: Vec<Property>,
}

/// A property and its answer.
#[derive(Clone, Debug, Serialize)]
pub struct Property {
    /// Its name.
    pub name: &'static str,
    /// `always` or `sometimes`.
    pub expectation: &'static str,
    /// `holds`, `counterexample`, `example`, `never_reached` or `undecided`.
    pub answer: &'static str,
    /// States on its trace, the initial one included.
    pub states: Option<usize>,
    /// The trace.
    #[serde(skip)]
    pub path: Option<Path>,
}

/// A trace, told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Path {
    /// The initial state.
    pub initial: String,
    /// What followed.
    pub steps: Vec<Step>,
}

/// A step of a trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// The action with its parameters by name.
    pub action: Value,
    /// What happened, in a sentence.
    pub words: String,
    /// The state after it.
    pub state: String,
}

/// Whether an answer is what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is.
    AsExpected,
    /// It is not, for these reasons.
    NotAsExpected(Vec<String>),
    /// The search was cut before it could be told.
    Inconclusive,
}

/// What of the search the caller decides.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Threads; all cores if `None`.
    pub workers: Option<usize>,
    /// Instead of what the scenario says.
    pub symmetry: Option<bool>,
    /// What it may cost.
    pub limits: Limits,
}

/// Searches. `None` if the scenario has no question to this subject.
pub fn ask(
    scenario: &Scenario,
    subject: Subject,
    budget: &Budget,
    progress: &mut dyn FnMut(&Progress),
) -> Option<Result<(Found, Judgement), Wrong>> {
    let (asked, question) = scenario.question(subject)?;
    let mut options = Options {
        symmetry: budget.symmetry.unwrap_or(asked.symmetry),
        limits: budget.limits,
        stop: stop(asked),
        ..Options::default()
    };
    if let Some(workers) = budget.workers {
        options.workers = workers;
    }
    let searcher = Searcher {
        options: &options,
        progress,
    };
    let found = subject.open(&question, searcher);
    Some(found.map(|found| {
        let judgement = found.judge(asked);
        (found, judgement)
    }))
}

/// Where something is to be broken, seeing it broken is enough, unless states are to be counted.
fn stop(asked: &SearchQuestion) -> Stop {
    if asked.violates.is_empty() || asked.distinct.is_some() {
        Stop::Exhausted
    } else {
        Stop::WhenFound(asked.violates.keys().cloned().collect())
    }
}

struct Searcher<'a> {
    options: &'a Options,
    progress: &'a mut dyn FnMut(&Progress),
}

impl Visitor for Searcher<'_> {
    type Output = Found;

    fn visit<S: Spec + 'static>(self, spec: S) -> Found {
        let verdict = check_with(&spec, self.options, self.progress);
        Found::of(&spec, &verdict)
    }
}

impl Found {
    /// A verdict as plain data.
    pub fn of<S: Spec>(spec: &S, verdict: &VerdictOf<S>) -> Found {
        let property = |finding: &model::check::Finding<S::State, S::Action>| Property {
            name: finding.name,
            expectation: match finding.expectation {
                Expectation::Sometimes => "sometimes",
                _ => "always",
            },
            answer: match finding.answer {
                Answer::Holds => "holds",
                Answer::Counterexample(_) => "counterexample",
                Answer::Example(_) => "example",
                Answer::NeverReached => "never_reached",
                Answer::Undecided => "undecided",
            },
            states: finding.answer.trace().map(|trace| trace.states.len()),
            path: finding.answer.trace().map(|trace| told(spec, trace)),
        };
        let Verdict {
            distinct,
            generated,
            depth,
            seconds,
            workers,
            symmetry,
            ..
        } = *verdict;
        Found {
            distinct,
            generated,
            depth,
            outcome: match verdict.outcome {
                Outcome::Exhaustive => "exhaustive",
                Outcome::Found => "found",
                Outcome::Cut { .. } => "cut",
            },
            summary: verdict.to_string(),
            seconds,
            bytes_per_state: verdict.bytes_per_state(),
            collision_bound: verdict.collision_bound(),
            workers,
            symmetry,
            properties: verdict.properties.iter().map(property).collect(),
        }
    }

    /// The properties that are broken, with their traces.
    pub fn counterexamples(&self) -> impl Iterator<Item = (&Property, &Path)> {
        let broken = |property: &&Property| property.answer == "counterexample";
        let broken = self.properties.iter().filter(broken);
        broken.filter_map(|property| Some((property, property.path.as_ref()?)))
    }

    /// Whether it is what the scenario expects. A property that is broken is so, however far the search came.
    fn judge(&self, asked: &SearchQuestion) -> Judgement {
        let mut wrong = Vec::new();
        let mut undecided = self.outcome == "cut";
        for property in &self.properties {
            let name = property.name;
            let expected = asked.violates.get(name).copied();
            match (property.answer, property.states, expected) {
                ("counterexample", Some(states), None) => wrong.push(format!("{name} is broken in {states} states")),
                ("counterexample", Some(states), Some(expected)) if states != expected as usize => {
                    wrong.push(format!("{name} is broken in {states} states, not in {expected}"));
                }
                ("holds", _, Some(expected)) => {
                    wrong.push(format!("{name} holds, but should be broken in {expected} states"));
                }
                ("never_reached", ..) => wrong.push(format!("`{name}` never happens, so the search shows little")),
                ("undecided", _, Some(_)) => undecided = true,
                _ => {}
            }
        }
        // Only states counted alike can be compared.
        let comparable = self.outcome == "exhaustive" && self.symmetry == asked.symmetry;
        if let Some(expected) = asked
            .distinct
            .filter(|expected| comparable && *expected != self.distinct)
        {
            wrong.push(format!("{} distinct states, not {expected}", self.distinct));
        }
        match (wrong.is_empty(), undecided) {
            (false, _) => Judgement::NotAsExpected(wrong),
            (true, true) => Judgement::Inconclusive,
            (true, false) => Judgement::AsExpected,
        }
    }
}

/// The file of a counterexample: `check --out` writes it, [`crate::run::path::Path`] reads it.
pub fn counterexample(
    scenario: &Scenario,
    subject: Subject,
    property: &Property,
    path: &Path,
    commit: Option<&str>,
) -> Value {
    json!({
        "schema_version": COUNTEREXAMPLE_VERSION,
        "scenario": scenario.name,
        "commit": commit,
        subject.field(): scenario.question(subject).map(|(question, _)| question),
        "rules": scenario.rules,
        "property": property.name,
        "states": property.states,
        "initial": path.initial,
        "steps": path.steps,
    })
}

fn told<S: Spec>(spec: &S, trace: &Trace<S::State, S::Action>) -> Path {
    let step = |(before, action, after): (&S::State, &S::Action, &S::State)| Step {
        action: serde_json::to_value(action).expect("an action is an enum with named parameters"),
        words: spec.words(before, action, after),
        state: spec.picture(after),
    };
    Path {
        initial: spec.picture(&trace.states[0]),
        steps: trace.steps().map(step).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Found, Judgement, ask};
    use crate::scenario::{Scenario, Subject, parse};
    use model::check::Limits;

    fn scenario(violates: &str, distinct: u64) -> Scenario {
        let text = format!(
            r#"{{"name": "x", "description": "", "model": {{"spec": "kip-101", "symmetry": false,
               "bounds": {{"replicas": 2, "log_size": 2, "records": 2, "leader_epochs": 2}},
               "violates": {{{violates}}}, "distinct": {distinct}}}}}"#
        );
        parse("x.json", &text).expect("valid")
    }

    fn answer(scenario: &Scenario, limits: Limits) -> (Found, Judgement) {
        let budget = Budget {
            workers: Some(1),
            symmetry: None,
            limits,
        };
        let answer = ask(scenario, Subject::Model, &budget, &mut |_| {});
        answer.expect("a question").expect("valid")
    }

    #[test]
    fn an_answer_is_held_against_every_expectation() {
        let judged = |violates, distinct| answer(&scenario(violates, distinct), Limits::default()).1;
        assert_eq!(
            judged(r#""WeakIsr": 12, "StrongIsr": 12"#, 9_045),
            Judgement::AsExpected
        );
        let not = |reason: &str| Judgement::NotAsExpected(vec![reason.to_owned()]);
        assert_eq!(
            judged(r#""WeakIsr": 12"#, 9_045),
            not("StrongIsr is broken in 12 states")
        );
        assert_eq!(
            judged(r#""WeakIsr": 11, "StrongIsr": 12"#, 9_045),
            not("WeakIsr is broken in 12 states, not in 11")
        );
        assert_eq!(
            judged(r#""WeakIsr": 12, "StrongIsr": 12, "LogMatching": 9"#, 9_045),
            not("LogMatching holds, but should be broken in 9 states")
        );
        assert_eq!(
            judged(r#""WeakIsr": 12, "StrongIsr": 12"#, 9_046),
            not("9045 distinct states, not 9046")
        );
    }

    #[test]
    fn a_search_that_was_cut_is_neither_pass_nor_fail() {
        let cut = |depth| Limits {
            depth: Some(depth),
            ..Limits::default()
        };
        let broken = scenario(r#""WeakIsr": 12, "StrongIsr": 12"#, 9_045);
        assert_eq!(answer(&broken, cut(5)).1, Judgement::Inconclusive);
        // Both are found by then, but what else there is was not seen.
        assert_eq!(answer(&broken, cut(12)).1, Judgement::Inconclusive);
        let unexpected = scenario("", 9_045);
        assert!(matches!(answer(&unexpected, cut(12)).1, Judgement::NotAsExpected(_)));
    }

    #[test]
    fn a_counterexample_is_told_with_its_parameters() {
        let (found, _) = answer(&scenario("", 9_045), Limits::default());
        let weak = found.properties.iter().find(|property| property.name == "WeakIsr");
        let path = weak.and_then(|property| property.path.as_ref()).expect("it is broken");
        assert_eq!(path.steps.len(), 11);
        assert_eq!(
            path.steps[0].action,
            serde_json::json!({ "action": "ControllerElectLeader", "leader": "r1" })
        );
        assert!(
            path.steps
                .iter()
                .any(|step| step.words.contains("truncates its log from"))
        );
        assert!(path.initial.starts_with("quorum: nobody leads yet"));
    }
}
