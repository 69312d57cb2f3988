//! `replay`: the same run again, with its digest, its story, or step by step.

use super::{Failure, ReplayArgs, files, html, plain, report, step, sweep};
use crate::checks::Violation;
use crate::cluster::Cluster;
use crate::isolate::isolated;
use crate::run::{self, Class, Layout, Observer, Options, Outcome, Until};
use crate::scenario::{self, BadInput, Expect, Scenario};
use crate::series::Series;
use crate::topics::Topics;
use crate::view::faults::Standing;
use kafka::{Note, Uuid};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sim::disk::Strike;
use sim::fault::{Fault, NodeId};
use sim::random::Tape;
use sim::step::Stepped;
use sim::world::World;
use std::io::{BufWriter, Write};
use std::sync::Arc;

pub(super) fn replay(args: &ReplayArgs) -> Result<u8, Failure> {
    if let Some(path) = &args.path {
        return super::path::replay(args, path);
    }
    let scenario = scenario::load(&args.file)?;
    if !scenario.simulates() {
        return Err(Failure::only_model());
    }
    let recording = args.play.as_deref().map(|path| read(path, &scenario)).transpose()?;
    let seed = args.seed.or(recording.as_ref().map(|recording| recording.seed));
    let seed = seed.expect("the command line asks for it");
    let tape = recording.map(|recording| Arc::new(recording.tape));
    let options = Options {
        record: args.record.is_some(),
        tape,
        until: args.until,
        conform: args.conform,
        script_only: false,
    };
    let mut command = sweep::replay_command(&args.file, seed);
    if let Some(path) = &args.play {
        command += &format!(" --play {}", path.display());
    }
    if args.step {
        return step::walk(&scenario, seed, &options);
    }
    if let Some(out) = &args.html {
        return html::write(&scenario, seed, &options, &command, out);
    }
    if args.plain {
        return plain::print(&scenario, seed, &options);
    }
    eprintln!("{command}");
    let writing = args.trace.clone();
    let mut observer = Teller {
        out: None,
        series: args.out.is_some().then(|| Series::new(&scenario)),
        log: args.log.clone(),
        layout: Layout::of(&scenario),
        topics: Topics::default(),
        standing: Standing::default(),
        index: 0,
        failed: None,
    };
    if let Some(path) = &writing {
        let file = std::fs::File::create(path)
            .map_err(|error| Failure::machine(&format!("cannot write {}", path.display()), &error))?;
        observer.out = Some(BufWriter::new(file));
    }
    let shared = Arc::new(scenario);
    let for_thread = Arc::clone(&shared);
    let run = move || {
        let (outcome, tape) = run::observe(&for_thread, seed, &options, &mut observer);
        (outcome, tape, observer)
    };
    let ((outcome, tape, mut observer), _) = isolated(seed, run).map_err(|text| Failure { code: 6, text })?;
    let flushed = observer.out.as_mut().map_or(Ok(()), |out| out.flush());
    if let Some(error) = observer.failed.take().or(flushed.err()) {
        let path = writing.unwrap_or_default();
        // Half a trace is worse than none.
        let _ = std::fs::remove_file(&path);
        return Err(Failure::machine(&format!("cannot write {}", path.display()), &error));
    }
    if let (Some(dir), Some(series)) = (&args.out, observer.series.take()) {
        let run = series.finish(&shared, &outcome);
        std::fs::create_dir_all(dir)
            .map_err(|error| Failure::machine(&format!("cannot create {}", dir.display()), &error))?;
        files::write_whole(
            &dir.join(report::RUN),
            &serde_json::to_string(&run).expect("series are JSON"),
        )?;
    }
    if let Some(path) = &args.record {
        let recording = Recording {
            scenario: shared.name.clone(),
            seed,
            tape,
        };
        files::write_whole(path, &serde_json::to_string(&recording).expect("a recording is JSON"))?;
        eprintln!("what it drew is in {}", path.display());
    }
    tell(&outcome, &shared.expect);
    if outcome.class == Class::Violated && args.log.is_none() {
        eprintln!("the story in sentences: --log info; step by step: --step; in a browser: --html FILE");
    }
    Ok(exit_code(&shared.expect, &outcome))
}

/// Of a run of one seed.
pub(super) fn exit_code(expect: &Expect, outcome: &Outcome) -> u8 {
    match (expect, outcome.class) {
        (Expect::Violates { check }, _) if outcome.violates(check) => 0,
        // Neither pass nor fail.
        (_, Class::Holds) if outcome.is_cut => 6,
        (_, Class::Holds) => 0,
        (_, Class::Violated) => 1,
        (_, Class::Stuck) => 4,
    }
}

/// `580` or `7.3065s`.
pub(super) fn parse_until(text: &str) -> Result<Until, String> {
    let wrong = || format!("`{text}` is neither a step such as 580 nor a time such as 7.3065s");
    match text.strip_suffix('s') {
        Some(seconds) => {
            let seconds: f64 = seconds.parse().map_err(|_| wrong())?;
            // What is printed is rounded to microseconds.
            let ns = (seconds * 1e9).round();
            (ns >= 0.0 && ns < u64::MAX as f64)
                .then_some(Until::Time(ns as u64))
                .ok_or_else(wrong)
        }
        None => text.parse().map(Until::Step).map_err(|_| wrong()),
    }
}

/// What a run drew, and which run.
#[derive(Serialize, Deserialize)]
struct Recording {
    scenario: String,
    seed: u64,
    #[serde(flatten)]
    tape: Tape,
}

fn read(path: &std::path::Path, scenario: &Scenario) -> Result<Recording, Failure> {
    let recording: Recording = files::read_json(path, "not a recording")?;
    if recording.scenario != scenario.name {
        return Err(Failure::from(BadInput {
            file: path.display().to_string(),
            place: "scenario".to_owned(),
            problem: format!("is what {} drew, not {}", recording.scenario, scenario.name),
        }));
    }
    Ok(recording)
}

/// Losses that are listed one by one.
const LISTED: usize = 3;

fn tell(outcome: &Outcome, expect: &Expect) {
    println!("digest     {:016x}", outcome.digest);
    println!("steps      {}", outcome.steps);
    println!("simulated  {:.3} s", outcome.simulated_ns as f64 / 1e9);
    let list = |counts: &std::collections::BTreeMap<&'static str, u64>| {
        counts
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    println!("faults     {}", list(&outcome.faults));
    println!("marks      {}", list(&outcome.marks));
    if let Some(conformed) = &outcome.conformed {
        println!("matched    {}", list(&conformed.matched));
    }
    for violation in &outcome.violations {
        println!(
            "BROKEN     {} at {:.6} s: {}",
            violation.check,
            violation.time_ns as f64 / 1e9,
            violation.message
        );
    }
    for loss in outcome.permitted.iter().take(LISTED) {
        println!("permitted  {loss}");
    }
    if outcome.permitted.len() > LISTED {
        println!("permitted  and {} more", outcome.permitted.len() - LISTED);
    }
    let expected = match expect {
        Expect::Violates { check } if outcome.violates(check) => ", as expected",
        _ => "",
    };
    println!("verdict    {}{expected}", outcome.headline());
}

/// Writes the story down while it happens.
struct Teller {
    out: Option<BufWriter<std::fs::File>>,
    series: Option<Series>,
    log: Option<String>,
    layout: Layout,
    topics: Topics,
    standing: Standing,
    index: u64,
    failed: Option<std::io::Error>,
}

impl Teller {
    /// What the world does, in every trace.
    fn world(&mut self, time_ns: u64, kind: &str, words: &str) {
        if self.out.is_some() {
            self.write(&json!({"step": self.index, "time_ns": time_ns, kind: words}));
        }
    }

    /// A line of the log.
    fn say(&self, time_ns: u64, who: &str, words: &str) {
        if self.log.is_some() {
            println!("{:>10.6} {who:<6} {words}", time_ns as f64 / 1e9);
        }
    }

    fn write(&mut self, line: &serde_json::Value) {
        if let Some(out) = &mut self.out
            && let Err(error) = writeln!(out, "{line}")
        {
            self.failed.get_or_insert(error);
        }
    }
}

impl Observer for Teller {
    fn step(&mut self, stepped: &Stepped, world: &World<Cluster>, layout: &Layout) {
        self.index += 1;
        if let Some(series) = &mut self.series {
            series.step(stepped, world, layout);
        }
        if self.out.is_some() {
            let node = stepped.node.map(|node| self.layout.names[usize::from(node.0)].clone());
            let line = json!({"step": self.index, "time_ns": stepped.time, "node": node, "what": format!("{:?}", stepped.label)});
            self.write(&line);
        }
        if self.log.as_deref() == Some("trace") {
            let node = stepped.node.map_or("-", |node| &self.layout.names[usize::from(node.0)]);
            println!("{:>10.6} {node:<6} {:?}", stepped.time as f64 / 1e9, stepped.label);
        }
    }

    fn fault(&mut self, time_ns: u64, fault: &Fault) {
        if let Some(series) = &mut self.series {
            series.fault(time_ns, fault);
        }
        if self.out.is_none() && self.log.is_none() {
            return;
        }
        let words = self.layout.named(fault);
        self.world(time_ns, "fault", &words);
        let names = self.layout.names.clone();
        let name = |node: NodeId| names[usize::from(node.0)].clone();
        if let Some((node, words)) = self.standing.news(fault, &name) {
            let subject = node.map_or_else(String::new, |node| name(node) + " ");
            self.say(time_ns, "world", &(subject + &words));
        }
    }

    fn strike(&mut self, time_ns: u64, node: NodeId, strike: &Strike) {
        let place = strike.path.as_deref().unwrap_or("the whole disk");
        let words = format!(
            "{} struck {place} of {}",
            strike.what,
            self.layout.names[usize::from(node.0)]
        );
        self.world(time_ns, "strike", &words);
        self.say(time_ns, "world", &words);
    }

    fn note(&mut self, time_ns: u64, node: NodeId, note: &Note) {
        if let Some(series) = &mut self.series {
            series.note(time_ns, node, note);
        }
        let name = self.layout.names[usize::from(node.0)].clone();
        if self.out.is_some() {
            self.write(&json!({"step": self.index, "time_ns": time_ns, "node": name, "note": format!("{note:?}")}));
        }
        let show = match self.log.as_deref() {
            Some("info") => note.is_decision(),
            Some(_) => true,
            None => false,
        };
        if show {
            let words = self.topics.sentence(note);
            self.say(time_ns, &name, &words);
        }
    }

    fn topic(&mut self, id: Uuid, name: &str) {
        self.topics.learn(id, name);
        if let Some(series) = &mut self.series {
            series.topic(id, name);
        }
    }

    fn broken(&mut self, violation: &Violation) {
        let node = violation.node.map(|node| self.layout.names[usize::from(node)].clone());
        let words = format!("!!! BROKEN {}: {}", violation.check, violation.message);
        self.say(violation.time_ns, node.as_deref().unwrap_or("world"), &words);
    }
}
