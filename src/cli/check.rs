//! `check`: every state of the specifications, or of the real machines, that scenarios ask for, and the shortest
//! counterexamples.

use super::files::{commit, find, write_whole};
use super::{CheckArgs, Failure};
use crate::exhaustive::{Budget, Found, Judgement, Path, Property, ask, counterexample};
use crate::scenario::{Scenario, SearchQuestion, Subject};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::check::{Limits, Progress};
use reports::searched::{Row, render};
use reports::table::short;
use reports::text::escape;
use serde_json::json;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Version of the JSON lines.
const SCHEMA_VERSION: u32 = 1;

pub(super) fn parse_gib(text: &str) -> Result<f64, String> {
    let gib: f64 = text.parse().map_err(|_| format!("`{text}` is not a number of GiB"))?;
    if gib > 0.0 && gib.is_finite() {
        Ok(gib)
    } else {
        Err("must be more than nothing".to_owned())
    }
}

struct Checked {
    scenario: Arc<Scenario>,
    subject: Subject,
    found: Found,
    judgement: Judgement,
}

impl Checked {
    fn code(&self) -> u8 {
        match self.judgement {
            Judgement::AsExpected => 0,
            Judgement::NotAsExpected(_) => 1,
            Judgement::Inconclusive => 6,
        }
    }

    fn question(&self) -> Option<&SearchQuestion> {
        Some(self.scenario.question(self.subject)?.0)
    }

    /// What was searched, and the bugs that are switched on in it.
    fn asked(&self) -> String {
        let spec = self.question().map(|question| question.spec.as_str()).into_iter();
        let rules = self.scenario.rules.iter().map(String::as_str);
        spec.chain(rules).collect::<Vec<_>>().join(" + ")
    }

    fn bounds(&self) -> String {
        let bounds = self.question().into_iter().flat_map(|question| &question.bounds);
        let bounds = bounds.map(|(name, value)| format!("{name} {value}"));
        bounds.collect::<Vec<_>>().join(", ")
    }

    fn verdict(&self) -> String {
        let broken = |property: &Property| {
            let states = property.states.filter(|_| property.answer == "counterexample")?;
            Some(format!("{} in {states}", property.name))
        };
        let broken: Vec<String> = self.found.properties.iter().filter_map(broken).collect();
        match &self.judgement {
            Judgement::AsExpected if broken.is_empty() => "holds".to_owned(),
            Judgement::AsExpected => format!("broken as expected: {} states", broken.join(", ")),
            Judgement::NotAsExpected(reasons) => format!("NOT AS EXPECTED: {}", reasons.join("; ")),
            Judgement::Inconclusive => format!("INCONCLUSIVE: {}", self.found.summary),
        }
    }
}

pub(super) fn check(args: &CheckArgs) -> Result<u8, Failure> {
    let (subject, directory) = match args.code {
        false => (Subject::Model, "scenarios/model"),
        true => (Subject::Code, "scenarios/code"),
    };
    let field = subject.field();
    if args.list {
        return Ok(list(subject));
    }
    let mut scenarios = find(&args.files, &["scenarios", directory])?;
    scenarios.retain(|(_, scenario)| scenario.question(subject).is_some());
    if scenarios.is_empty() {
        return Err(Failure {
            code: 2,
            text: format!("no scenario here asks for this search: it would have a `{field}`"),
        });
    }
    let budget = Budget {
        workers: args.workers,
        symmetry: args.symmetry.as_deref().map(|symmetry| symmetry == "on"),
        limits: Limits {
            states: args.max_states,
            bytes: Some((args.max_memory * f64::from(1u32 << 30)) as u64),
            depth: args.max_depth,
            time: args.max_time,
        },
    };
    let commit = commit();
    let mut done = Vec::new();
    for (path, scenario) in &scenarios {
        let bar = progress(&scenario.name, args.json);
        let mut told = Instant::now();
        let answer = ask(scenario, subject, &budget, &mut |progress| {
            if told.elapsed() > Duration::from_millis(200) {
                told = Instant::now();
                bar.set_message(line(progress));
            }
        });
        bar.finish_and_clear();
        let Some(answer) = answer else {
            continue;
        };
        let (found, judgement) = answer.map_err(|wrong| Failure {
            code: 2,
            text: format!("{}: {field}.{wrong}", path.display()),
        })?;
        let checked = Checked {
            scenario: Arc::clone(scenario),
            subject,
            found,
            judgement,
        };
        if args.json {
            println!("{}", json_line(&checked, commit.as_deref()));
        }
        done.push(checked);
    }
    if !args.json {
        tell(&done);
    }
    if let Some(path) = &args.junit {
        write_whole(path, &junit(&done))?;
    }
    if let Some(dir) = &args.out {
        write_counterexamples(dir, &done, commit.as_deref())?;
    }
    let codes: Vec<u8> = done.iter().map(Checked::code).collect();
    // What is broken is certain, whatever another search did not come to.
    Ok([1, 6].into_iter().find(|code| codes.contains(code)).unwrap_or(0))
}

fn progress(name: &str, json: bool) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let wanted = std::io::stderr().is_terminal() && !json;
    bar.set_draw_target(if wanted {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    });
    let style = ProgressStyle::with_template("{spinner} {prefix}  {wide_msg}  {elapsed}");
    bar.set_style(style.expect("a constant template"));
    bar.set_prefix(name.to_owned());
    bar
}

fn line(progress: &Progress) -> String {
    format!(
        "depth {}, {} states, {} in the queue, {} states/s, {} MiB",
        progress.depth,
        short(progress.distinct),
        short(progress.queue),
        short(progress.rate() as u64),
        progress.bytes >> 20
    )
}

/// The table, then the counterexamples: all of them for one scenario, else those that nobody expected.
fn tell(done: &[Checked]) {
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let row = |checked: &Checked| Row {
        scenario: checked.scenario.name.clone(),
        asked: checked.asked(),
        distinct: checked.found.distinct,
        depth: checked.found.depth,
        seconds: checked.found.seconds,
        verdict: checked.verdict(),
        as_expected: checked.judgement == Judgement::AsExpected,
    };
    let workers = done.iter().map(|checked| checked.found.workers).max().unwrap_or(0);
    print!("{}", render(&done.iter().map(row).collect::<Vec<_>>(), workers, color));
    for checked in done {
        if done.len() == 1 {
            details(checked);
        }
        if done.len() == 1 || checked.code() == 1 {
            let mut printed: Vec<(&str, &Path)> = Vec::new();
            for (property, path) in checked.found.counterexamples() {
                let name = property.name;
                println!("\n{}: {name} is broken.", checked.scenario.name);
                match printed.iter().find(|(_, printed)| *printed == path) {
                    Some((same, _)) => println!("  by the very steps that break {same}"),
                    None => print!("{}", steps(path)),
                }
                printed.push((name, path));
            }
        }
    }
}

/// What a single scenario has room for.
fn details(checked: &Checked) {
    let found = &checked.found;
    let trust = if found.collision_bound == 0.0 {
        "keys are exact".to_owned()
    } else {
        format!(
            "two states were taken for one with a probability below {:.0e}",
            found.collision_bound
        )
    };
    let symmetry = if found.symmetry {
        ", states alike counted once"
    } else {
        ""
    };
    println!(
        "\n{} within {}.\n{}{symmetry}.\n{} generated states, {:.1} bytes a state, {trust}.",
        checked.asked(),
        checked.bounds(),
        found.summary,
        found.generated,
        found.bytes_per_state
    );
    for property in &found.properties {
        let answer = property.answer.replace('_', " ");
        let states = property
            .states
            .map(|states| format!(" of {states} states"))
            .unwrap_or_default();
        println!("  {} {}: {answer}{states}", property.expectation, property.name);
    }
}

/// A trace as numbered sentences, between its first and its last state.
fn steps(path: &Path) -> String {
    let indented = |state: &str| state.lines().map(|line| format!("      {line}\n")).collect::<String>();
    let mut text = format!("   0. at first\n{}", indented(&path.initial));
    for (i, step) in path.steps.iter().enumerate() {
        text += &format!("{:>4}. {}\n", i + 1, step.words);
    }
    if let Some(last) = path.steps.last() {
        text += &format!("      and then\n{}", indented(&last.state));
    }
    text
}

fn json_line(checked: &Checked, commit: Option<&str>) -> serde_json::Value {
    let reasons = match &checked.judgement {
        Judgement::NotAsExpected(reasons) => reasons.clone(),
        Judgement::AsExpected | Judgement::Inconclusive => Vec::new(),
    };
    json!({
        "schema_version": SCHEMA_VERSION,
        "scenario": checked.scenario.name,
        "commit": commit,
        checked.subject.field(): checked.question(),
        "rules": checked.scenario.rules,
        "found": checked.found,
        "verdict": match checked.judgement {
            Judgement::AsExpected => "as_expected",
            Judgement::NotAsExpected(_) => "not_as_expected",
            Judgement::Inconclusive => "inconclusive",
        },
        "class": checked.code(),
        "reasons": reasons,
    })
}

/// One file for each counterexample, named after scenario and property.
fn write_counterexamples(dir: &std::path::Path, done: &[Checked], commit: Option<&str>) -> Result<(), Failure> {
    std::fs::create_dir_all(dir)
        .map_err(|error| Failure::machine(&format!("cannot create {}", dir.display()), &error))?;
    for checked in done {
        for (property, path) in checked.found.counterexamples() {
            let file = counterexample(&checked.scenario, checked.subject, property, path, commit);
            let mut text = serde_json::to_string_pretty(&file).expect("a counterexample is JSON");
            text.push('\n');
            let name = format!("{}-{}.json", checked.scenario.name, file_name(property.name));
            write_whole(&dir.join(name), &text)?;
        }
    }
    Ok(())
}

/// A property's name as it may stand in a file's.
fn file_name(property: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    property.chars().map(plain).collect()
}

fn junit(done: &[Checked]) -> String {
    let count = |code: u8| done.iter().filter(|checked| checked.code() == code).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"highwater check\" tests=\"{}\" failures=\"{}\" \
         errors=\"{}\">\n",
        done.len(),
        count(1),
        count(6)
    );
    for checked in done {
        text += &format!(
            "  <testcase classname=\"scenarios\" name=\"{}\" time=\"{:.3}\">",
            escape(&checked.scenario.name),
            checked.found.seconds
        );
        let verdict = escape(&checked.verdict());
        let detail: String = checked
            .found
            .counterexamples()
            .map(|(property, path)| format!("{}\n{}", property.name, steps(path)))
            .collect();
        match checked.code() {
            0 => {}
            6 => text += &format!("<error message=\"{verdict}\"/>"),
            _ => text += &format!("<failure message=\"{verdict}\">{}</failure>", escape(&detail)),
        }
        text += "</testcase>\n";
    }
    text + "</testsuite>\n"
}

fn list(subject: Subject) -> u8 {
    for entry in subject.entries() {
        println!("{}\n     {}. {}", entry.name, entry.about, entry.source);
        for bound in entry.bounds {
            let default = bound
                .default
                .map(|value| format!(", {value} if left out"))
                .unwrap_or_default();
            println!("     {:<19} {} to {}{default}", bound.name, bound.least, bound.most);
        }
        if !entry.rules.is_empty() {
            println!("     rules: {}", entry.rules.join(", "));
        }
    }
    0
}
