//! One run of what was played so far.

use crate::checks::Checks;
use crate::isolate::isolated;
use crate::run::{self, Options, Outcome};
use crate::scenario::{self, Expect, Faults, Scenario, ScriptStep};
use crate::view::Recorder;
use reports::view::{Kind, View};
use serde::Deserialize;
use serde_json::{Value, json};

/// Nobody plays longer; a step that waits for what never comes ends here.
const LONGEST_MS: u64 = 600_000;
/// How long a saved scenario goes on after its last move.
const AFTER_MS: u64 = 2_000;

/// What the page asks for.
#[derive(Debug, Deserialize)]
pub struct Asked {
    steps: Vec<ScriptStep>,
    /// Of a scenario that is to be saved.
    #[serde(default)]
    name: String,
    /// How long the run was, for the same.
    #[serde(default)]
    played_ms: u64,
}

impl Asked {
    /// From the body of a request.
    pub fn read(body: &[u8]) -> Result<Asked, String> {
        serde_json::from_slice(body).map_err(|error| format!("that is no move: {error}"))
    }
}

/// What the page must know to begin.
pub fn base(base: &Scenario, seed: u64) -> Value {
    json!({
        "name": base.name,
        "about": base.description,
        "seed": seed,
        "steps": base.faults.script,
        "nodes": base.node_names(),
        "producers": named(base, 'p'),
        "consumers": named(base, 'r'),
        "admins": named(base, 'a'),
        "partitions": partitions(base),
        "topics": base.topics.iter().map(|topic| topic.name.clone()).collect::<Vec<_>>(),
    })
}

fn named(base: &Scenario, letter: char) -> Vec<String> {
    let names = base.client_names().into_iter();
    names.filter(|name| name.starts_with(letter)).collect()
}

fn partitions(base: &Scenario) -> Vec<String> {
    let of = |topic: &scenario::Topic| {
        let name = topic.name.clone();
        (0..topic.partitions).map(move |partition| format!("{name}-{partition}"))
    };
    base.topics.iter().flat_map(of).collect()
}

/// The base with these moves, checked as a file would be.
fn with_moves(base: &Scenario, steps: &[ScriptStep], duration_ms: u64) -> Result<Scenario, String> {
    let mut scenario = base.clone();
    scenario.faults = Faults {
        script: steps.to_vec(),
        ..Faults::default()
    };
    scenario.duration_ms = duration_ms;
    // What was played has no duties, and nothing is known of how it must end.
    scenario.sometimes = Vec::new();
    scenario.expect = Expect::Passes;
    let text = serde_json::to_string(&scenario).expect("a scenario is JSON");
    scenario::parse(&scenario.name, &text).map_err(|wrong| wrong.to_string())
}

/// The scenario file that plays this again.
pub fn saved(base: &Scenario, asked: &Asked) -> Result<String, String> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if !is_name(&asked.name) {
        return Err(format!(
            "`{}` is no name for a scenario: write small letters, digits and hyphens",
            asked.name
        ));
    }
    let mut scenario = base.clone();
    scenario.name = asked.name.clone();
    scenario.description = format!("Played by hand on {}.", base.name);
    scenario.claims = Vec::new();
    scenario.model = None;
    let scenario = with_moves(&scenario, &asked.steps, asked.played_ms + AFTER_MS)?;
    let mut text = serde_json::to_string_pretty(&scenario).expect("a scenario is JSON");
    text.push('\n');
    Ok(text)
}

/// A run and what is shown of it.
pub struct Trial {
    /// For the page's own parts.
    pub told: Value,
    /// The run, to walk through.
    pub page: String,
}

impl Trial {
    /// Plays these moves from the beginning.
    pub fn run(base: &Scenario, seed: u64, asked: Asked) -> Result<Trial, String> {
        let scenario = with_moves(base, &asked.steps, LONGEST_MS)?;
        let options = Options {
            script_only: true,
            ..Options::default()
        };
        let for_thread = scenario.clone();
        let run = move || {
            let mut recorder = Recorder::new(&for_thread);
            let (outcome, _) = run::observe(&for_thread, seed, &options, &mut recorder);
            let view = recorder.finish(&for_thread, &outcome, "highwater play");
            (outcome, view)
        };
        let ((outcome, view), _) = isolated(seed, run)?;
        Ok(Trial {
            told: told(&outcome, &view),
            page: reports::view::page(&view),
        })
    }
}

fn told(outcome: &Outcome, view: &View) -> Value {
    let last = view.steps.len().saturating_sub(1);
    let state = view.state(last);
    let nodes = view
        .lanes
        .iter()
        .enumerate()
        .filter(|(_, lane)| lane.kind != Kind::Testbed);
    let nodes: Vec<Value> = nodes
        .map(|(at, lane)| {
            let node = state.nodes.get(&(at as u16)).cloned().unwrap_or_default();
            let leads = state
                .replicas
                .iter()
                .filter(|((of, _), replica)| usize::from(*of) == at && replica.leads && node.up);
            let leads: Vec<&str> = leads
                .map(|((_, partition), _)| view.partitions[usize::from(*partition)].as_str())
                .collect();
            json!({"name": lane.name, "client": lane.kind == Kind::Client, "up": node.up, "paused": node.paused,
                   "controls": node.controls && node.up, "leads": leads})
        })
        .collect();
    let lights: Vec<Value> = Checks::list()
        .iter()
        .map(|check| {
            let broken = outcome.violations.iter().find(|violation| violation.check == check.id);
            json!({
                "id": check.id, "title": check.title,
                "looked": outcome.looked.get(check.id).copied().unwrap_or(0),
                "broken": broken.map(|violation| violation.message.clone()),
            })
        })
        .collect();
    // What is no check of the list: an assertion of the subject's own, or of ours.
    let asserted = outcome
        .violations
        .iter()
        .find(|violation| Checks::list().iter().all(|check| check.id != violation.check));
    let stuck = asserted.map_or(outcome.reason.as_str(), |violation| violation.message.as_str());
    json!({
        "steps": view.steps.len(),
        "time_ms": outcome.simulated_ns / 1_000_000,
        "digest": format!("{:016x}", outcome.digest),
        "stuck": stuck,
        "nodes": nodes,
        "lights": lights,
    })
}
