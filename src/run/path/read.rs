//! Reading a counterexample: a file as `check --out` writes it, in which each step is one that its specification takes there.
//!
//! The specification is walked along while reading, so whoever follows the path has its states beside the actions, and never
//! meets a step that means nothing. What the world has no counterpart for is refused here too.

use super::{arms, quorum as quorum_arms};
use crate::checks::Checks;
use crate::exhaustive::COUNTEREXAMPLE_VERSION;
use crate::scenario::{BadInput, Controllers, Scenario};
use model::catalogue::{self, Question, Visitor};
use model::check::{Spec, Trace};
use model::quorum::{self, Quorum};
use model::replication::{self, Replication};
use serde::Deserialize;
use std::any::Any;
use std::collections::BTreeMap;

/// A counterexample.
#[derive(Clone, Debug)]
pub struct Path {
    /// The property that is broken at its end; the check of the same id watches the cluster.
    pub property: String,
    /// Which specification, what happens, and its states.
    pub(super) way: Way,
}

/// A specification, and the way through its states.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Replication(Replication, Trace<replication::State, replication::Action>),
    Quorum(Quorum, Trace<quorum::State, quorum::Action>),
}

/// What of the file is read; the rest is there for people.
#[derive(Deserialize)]
struct Written {
    schema_version: u32,
    model: Asked,
    rules: Vec<String>,
    property: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Asked {
    spec: String,
    bounds: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
struct Step {
    action: serde_json::Value,
}

/// What is wrong, and where.
type Wrong = (String, String);

impl Path {
    /// Reads a file.
    pub fn load(path: &std::path::Path) -> Result<Path, BadInput> {
        let text = std::fs::read_to_string(path).map_err(|error| BadInput::unread(path, &error))?;
        Path::parse(&path.display().to_string(), &text)
    }

    /// Reads a text; `file` names it in errors.
    pub fn parse(file: &str, text: &str) -> Result<Path, BadInput> {
        let written: Written = serde_json::from_str(text).map_err(|error| {
            let problem = format!("not a counterexample as `check --out` writes it: {error}");
            BadInput::json(file, &error, problem)
        })?;
        Path::of(written).map_err(|(place, problem)| BadInput {
            file: file.to_owned(),
            place,
            problem,
        })
    }

    fn of(written: Written) -> Result<Path, Wrong> {
        let Written {
            schema_version,
            model: Asked { spec, bounds },
            rules,
            property,
            steps,
        } = written;
        if schema_version != COUNTEREXAMPLE_VERSION {
            let problem = format!("this reads version {COUNTEREXAMPLE_VERSION}, not {schema_version}");
            return Err(("schema_version".to_owned(), problem));
        }
        if !["replication", "quorum"].contains(&spec.as_str()) {
            let problem = format!("a path of `{spec}` cannot be followed; those of `replication` and `quorum` can");
            return Err(("model.spec".to_owned(), problem));
        }
        if !Checks::list().iter().any(|check| check.id == property) {
            let problem = format!("no check of the cluster is called `{property}`; `highwater checks` lists them");
            return Err(("property".to_owned(), problem));
        }
        let question = Question { spec, bounds, rules };
        let found = catalogue::open(&question, Retrace(&steps)).map_err(|wrong| {
            let inside = if wrong.place == "rules" { "" } else { "model." };
            (format!("{inside}{}", wrong.place), wrong.problem)
        })??;
        let way = match found.downcast() {
            Ok(found) => {
                let (spec, trace) = *found;
                Way::Replication(spec, trace)
            }
            Err(found) => {
                let found = found
                    .downcast()
                    .expect("there are two specifications that can be followed");
                let (spec, trace) = *found;
                Way::Quorum(spec, trace)
            }
        };
        way.translatable()?;
        Ok(Path { property, way })
    }

    /// The checks that watch the cluster for the property: that of its name, and what says the same at another moment.
    pub fn checks(&self) -> Vec<&str> {
        match self.property.as_str() {
            // Who is in sync holds what is committed: X3 looks when the controller decides who is, I11 when a replica cuts.
            "X3" => vec!["X3", "I11"],
            property => vec![property],
        }
    }

    /// Whether a scenario has the cluster that the path moves; what is wrong is wrong in that file.
    pub fn fits(&self, file: &str, scenario: &Scenario) -> Result<(), BadInput> {
        let (spec, controllers) = match &self.way {
            Way::Replication(..) => ("replication", 1),
            Way::Quorum(spec, _) => ("quorum", u16::from(spec.protocol.voters)),
        };
        let bad = |place: &str, problem: String| {
            Err(BadInput {
                file: file.to_owned(),
                place: place.to_owned(),
                problem,
            })
        };
        if !scenario.has_cluster() {
            return bad(
                "cluster",
                "is left out: there is nothing that could follow the path".to_owned(),
            );
        }
        if scenario.cluster.controllers != Controllers::Separate(controllers) {
            let problem = format!("a path of `{spec}` needs {{\"separate\": {controllers}}} here");
            return bad("cluster.controllers", problem);
        }
        let Way::Replication(spec, _) = &self.way else {
            return Ok(());
        };
        let Some(topic) = scenario.topics.first() else {
            return bad("topics", "a path of `replication` needs a topic".to_owned());
        };
        let replicas = usize::from(spec.protocol.replicas);
        if topic.assignment.first().map(Vec::len) != Some(replicas) {
            let problem = format!("the path has {replicas} replicas, which the first partition must name, as [1, 2]");
            return bad("topics[0].assignment", problem);
        }
        let least = spec.protocol.min_insync_replicas.to_string();
        if topic.config.get("min.insync.replicas") != Some(&least) {
            let problem = format!("the path has \"{least}\", and so must the topic");
            return bad("topics[0].config[\"min.insync.replicas\"]", problem);
        }
        Ok(())
    }
}

impl Way {
    /// Whether the world has a counterpart for each action.
    fn translatable(&self) -> Result<(), Wrong> {
        let whys: Vec<(String, Option<&str>)> = match self {
            Way::Replication(_, trace) => trace
                .steps()
                .map(|(before, action, _)| (action.to_string(), arms::untranslatable(before, action)))
                .collect(),
            Way::Quorum(_, trace) => trace
                .steps()
                .map(|(before, action, _)| (action.to_string(), quorum_arms::untranslatable(before, action)))
                .collect(),
        };
        for (at, (action, why)) in whys.into_iter().enumerate() {
            if let Some(why) = why {
                let problem = format!("`{action}` has no counterpart in the world: {why}");
                return Err((format!("steps[{at}].action"), problem));
            }
        }
        Ok(())
    }
}

/// Takes the steps in a specification, whichever it is.
struct Retrace<'a>(&'a [Step]);

impl Visitor for Retrace<'_> {
    /// The specification and its trace.
    type Output = Result<Box<dyn Any>, Wrong>;

    fn visit<S: Spec + 'static>(self, spec: S) -> Self::Output {
        let trace = retrace(&spec, self.0)?;
        Ok(Box::new((spec, trace)))
    }
}

fn retrace<S: Spec>(spec: &S, steps: &[Step]) -> Result<Trace<S::State, S::Action>, Wrong> {
    let mut trace = Trace {
        states: spec.init_states(),
        actions: Vec::new(),
    };
    trace.states.truncate(1);
    for (at, step) in steps.iter().enumerate() {
        let mut taken = None;
        let mut others = Vec::new();
        spec.successors(trace.last(), &mut |action, state| {
            let value = serde_json::to_value(&action).expect("an action is an enum with named parameters");
            if value == step.action {
                taken = Some((action, state));
            } else {
                others.push(value);
            }
        });
        let Some((action, state)) = taken else {
            return Err((format!("steps[{at}].action"), stray(&step.action, others)));
        };
        trace.actions.push(action);
        trace.states.push(state);
    }
    Ok(trace)
}

/// A step that the specification does not take, and what it does take there: the like first.
fn stray(step: &serde_json::Value, mut others: Vec<serde_json::Value>) -> String {
    const SHOWN: usize = 3;
    others.sort_by_key(|other| other["action"] != step["action"]);
    let more = match others.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let shown: Vec<String> = others.iter().take(SHOWN).map(ToString::to_string).collect();
    match shown.as_slice() {
        [] => format!("the specification does not take {step} here; within these bounds nothing more can happen"),
        _ => format!(
            "the specification does not take {step} here, but {}{more}",
            shown.join(", ")
        ),
    }
}
