//! `replay`: the same run again, with its digest, its story, or step by step.

use super::{Failure, ReplayArgs, files, html, plain, report, step, sweep};
use crate::cluster::Cluster;
use crate::isolate::isolated;
use crate::run::{self, Class, Layout, Observer, Options, Outcome};
use crate::scenario::{self, Expect};
use crate::series::Series;
use kafka::Note;
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
    let seed = args.seed.expect("the command line asks for it");
    let scenario = scenario::load(&args.file)?;
    if !scenario.simulates() {
        return Err(Failure::only_model());
    }
    let tape = args.play.as_deref().map(read_tape).transpose()?;
    let options = Options {
        record: args.record.is_some(),
        tape,
        until: args.until,
        conform: args.conform,
        script_only: false,
    };
    let command = sweep::replay_command(&args.file, seed);
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
        let text = serde_json::to_string(&tape).expect("a tape is JSON");
        files::write_whole(path, &text)?;
    }
    tell(&outcome);
    if outcome.class != Class::Holds {
        eprintln!("{command}");
    }
    Ok(exit_code(&shared.expect, &outcome))
}

/// Of a run of one seed.
pub(super) fn exit_code(expect: &Expect, outcome: &Outcome) -> u8 {
    match (expect, outcome.class) {
        (Expect::Violates { check }, _) if outcome.violates(check) => 0,
        (Expect::Violates { .. }, Class::Holds) => 0,
        (_, Class::Holds) => 0,
        (_, Class::Violated) => 1,
        (_, Class::Stuck) => 4,
    }
}

fn read_tape(path: &std::path::Path) -> Result<Arc<Tape>, Failure> {
    let bad = |place: String, problem: String| Failure {
        code: 2,
        text: format!("{}: {place}: {problem}", path.display()),
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| bad("the file itself".to_owned(), format!("cannot be read: {error}")))?;
    let tape: Tape = serde_json::from_str(&text).map_err(|error| {
        bad(
            format!("line {}, column {}", error.line(), error.column()),
            format!("not a recording: {error}"),
        )
    })?;
    Ok(Arc::new(tape))
}

fn tell(outcome: &Outcome) {
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
    for loss in &outcome.permitted {
        println!("permitted  {loss}");
    }
    for violation in &outcome.violations {
        println!(
            "BROKEN     {} at {:.6} s: {}",
            violation.check,
            violation.time_ns as f64 / 1e9,
            violation.message
        );
    }
    println!("verdict    {}", outcome.headline());
}

/// Writes the story down while it happens.
struct Teller {
    out: Option<BufWriter<std::fs::File>>,
    series: Option<Series>,
    log: Option<String>,
    layout: Layout,
    index: u64,
    failed: Option<std::io::Error>,
}

impl Teller {
    /// What the world does, in every log.
    fn world(&mut self, time_ns: u64, kind: &str, words: &str) {
        if self.out.is_some() {
            self.write(&json!({"step": self.index, "time_ns": time_ns, kind: words}));
        }
        if self.log.is_some() {
            println!("{:>10.6} {:<6} {words}", time_ns as f64 / 1e9, "world");
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
    }

    fn strike(&mut self, time_ns: u64, node: NodeId, strike: &Strike) {
        let place = strike.path.as_deref().unwrap_or("the whole disk");
        let words = format!(
            "{} struck {place} of {}",
            strike.what,
            self.layout.names[usize::from(node.0)]
        );
        self.world(time_ns, "strike", &words);
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
            println!("{:>10.6} {name:<6} {note}", time_ns as f64 / 1e9);
        }
    }
}
