//! `sweep`: scenarios over many seeds, one screen at the end.

use super::files::{can_write, commit, find, write_whole};
use super::{Failure, SweepArgs};
use crate::conform::{Conformed, coverage, scope};
use crate::run::{Class, Options, Outcome};
use crate::scenario::{Expect, Scenario};
use crate::sweep::{Plan, Stop, Tally, run_one, sweep as run_sweep};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::replication::Action;
use reports::conform::Conformance;
use reports::text::escape;
use serde_json::json;
use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a sweep leaves in its directory, for machines and for `report`.
pub(super) const SUMMARY: &str = "summary.json";
/// Version of the JSON lines.
const SCHEMA_VERSION: u32 = 1;
/// Unless it is asked for, every so many-th seed is held against the specification.
const CONFORM_EVERY: u64 = 8;
/// Budget of a sweep that was given neither time nor seeds.
const DEFAULT_TIME: Duration = Duration::from_secs(60);

pub(super) fn parse_time(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("`{text}` is not a time such as 90s, 10m or 2h"))?;
    let seconds = match unit {
        "s" | "" => number,
        "m" => number * 60,
        "h" => number * 3_600,
        _ => return Err(format!("`{unit}` is not a unit of time; use s, m or h")),
    };
    if seconds == 0 {
        Err("must be longer than nothing".to_owned())
    } else {
        Ok(Duration::from_secs(seconds))
    }
}

pub(super) fn parse_shard(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("`{text}` is not a shard such as 2/8, with the first number from 1 up to the second");
    let (part, of) = text.split_once('/').ok_or_else(wrong)?;
    let (part, of): (u64, u64) = (part.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
    if (1..=of).contains(&part) {
        Ok((part - 1, of))
    } else {
        Err(wrong())
    }
}

/// The exact command that runs a seed again.
pub(super) fn replay_command(path: &Path, seed: u64) -> String {
    // As this very process was called, so that the line can be pasted back.
    let program = std::env::args().next().unwrap_or_else(|| "highwater".to_owned());
    format!("{program} replay {} --seed {seed}", path.display())
}

struct Swept {
    path: PathBuf,
    scenario: Arc<Scenario>,
    tally: Tally,
    differing: Vec<u64>,
}

impl Swept {
    fn code(&self) -> u8 {
        if self.differing.is_empty() {
            self.tally.exit_code(&self.scenario)
        } else {
            3
        }
    }
}

pub(super) fn sweep(args: &SweepArgs) -> Result<u8, Failure> {
    let mut scenarios = find(&args.files, &["scenarios"])?;
    let found = scenarios.len();
    scenarios.retain(|(_, scenario)| scenario.simulates());
    if scenarios.is_empty() {
        return Err(Failure::only_model());
    }
    if scenarios.len() < found {
        eprintln!(
            "{} scenarios ask the specification alone: `highwater check`",
            found - scenarios.len()
        );
    }
    let jobs = args.jobs.map_or_else(
        || std::thread::available_parallelism().map_or(1, usize::from),
        usize::from,
    );
    let (shard, of) = args.shard.unwrap_or((0, 1));
    let time = args.time.or_else(|| args.seeds.is_none().then_some(DEFAULT_TIME));
    let started = Instant::now();
    let commit = commit();
    if let Some(dir) = &args.out {
        std::fs::create_dir_all(dir)
            .map_err(|error| Failure::machine(&format!("cannot create {}", dir.display()), &error))?;
    }
    if let Some(path) = &args.junit {
        // Before anything is run, not after all of it.
        can_write(path)?;
    }
    let bar = progress(scenarios.len(), args);
    let mut done: Vec<Swept> = Vec::new();
    for (index, (path, scenario)) in scenarios.iter().enumerate() {
        // What is left of the time is shared by the scenarios that are left.
        let until = time.map(|time| {
            let left = time.saturating_sub(started.elapsed());
            Instant::now() + left / (scenarios.len() - index) as u32
        });
        let plan = Plan {
            from: args.seed.unwrap_or(0),
            seeds: args.seeds.unwrap_or(u64::MAX / 2),
            shard,
            of,
            jobs,
            until,
            stop: match (args.fail_fast, args.every_seed) {
                (true, _) => Stop::Failed,
                (_, true) => Stop::Never,
                _ => Stop::Found,
            },
            conform_every: if args.conform { 1 } else { CONFORM_EVERY },
        };
        let mut differing = Vec::new();
        let began = Instant::now();
        bar.set_message(scenario.name.clone());
        let mut seen = 0u64;
        let tally = run_sweep(scenario, &plan, |outcome| {
            seen += 1;
            let rate = seen as f64 / began.elapsed().as_secs_f64().max(0.001);
            bar.set_message(format!("{} {seen} seeds, {rate:.0} seeds/s", scenario.name));
            if args.json {
                println!("{}", json_line(path, scenario, outcome, commit.as_deref()));
            }
            let unexpected = scenario.expect == Expect::Passes && outcome.class != Class::Holds;
            if unexpected {
                bar.suspend(|| {
                    eprintln!(
                        "FAIL {}\n     {}",
                        replay_command(path, outcome.seed),
                        outcome.headline()
                    )
                });
            }
            if args.twice {
                let again = run_one(scenario, outcome.seed, &Options::default());
                if again.map(|again| again.digest) != Ok(outcome.digest) {
                    differing.push(outcome.seed);
                    bar.suspend(|| eprintln!("FAIL two digests: {}", replay_command(path, outcome.seed)));
                }
            }
        });
        bar.inc(1);
        if bar.is_hidden() && !args.json {
            let verdict = verdict(scenario, &tally);
            eprintln!(
                "[{}/{}] {}: {} seeds, {verdict}",
                index + 1,
                scenarios.len(),
                scenario.name,
                tally.seeds
            );
        }
        done.push(Swept {
            path: path.clone(),
            scenario: Arc::clone(scenario),
            tally,
            differing,
        });
    }
    bar.finish_and_clear();
    let elapsed = started.elapsed();
    // Comparing it takes a search, which nobody pays for who is not shown it.
    let conformance = LazyCell::new(|| conformance(&done));
    if !args.json {
        print_table(&done, &conformance, elapsed, jobs);
    }
    if let Some(path) = &args.junit {
        write_whole(path, &junit(&done))?;
    }
    if let Some(dir) = &args.out {
        write_whole(
            &dir.join(SUMMARY),
            &summary(&done, args.seeds, &conformance, commit.as_deref()),
        )?;
    }
    for swept in &done {
        report_failure(swept);
    }
    // The gravest class wins: a machine that failed, a digest that differs, then what is wrong with the subject.
    let codes: Vec<u8> = done.iter().map(Swept::code).collect();
    Ok([6, 3, 1, 4, 5]
        .into_iter()
        .find(|code| codes.contains(code))
        .unwrap_or(0))
}

fn progress(scenarios: usize, args: &SweepArgs) -> ProgressBar {
    let bar = ProgressBar::new(scenarios as u64);
    let wanted = std::io::stderr().is_terminal() && !args.json;
    bar.set_draw_target(if wanted {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    });
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} scenarios  {wide_msg}  {elapsed}");
    bar.set_style(style.expect("a constant template"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Verdict against expectation, in a few words that fit the table.
fn verdict(scenario: &Scenario, tally: &Tally) -> String {
    let first = tally
        .first_unexpected(scenario)
        .map(|(seed, _)| seed)
        .unwrap_or_default();
    match &scenario.expect {
        _ if !tally.failed.is_empty() => "MACHINE FAILED".to_owned(),
        Expect::Passes if !tally.violated.is_empty() => format!("BROKEN {}, first {first}", tally.violated.len()),
        Expect::Passes if !tally.stuck.is_empty() => format!("STUCK {}, first {first}", tally.stuck.len()),
        Expect::Violates { check } => match tally.first_expected {
            None => format!("{check} NOT FOUND"),
            Some(seed) => format!("{check} found, seed {seed}"),
        },
        Expect::Passes if !tally.unmet(scenario).is_empty() => "TOO QUIET".to_owned(),
        Expect::Passes => "holds".to_owned(),
    }
}

/// What of all scenarios was held against the specification.
fn conformance(done: &[Swept]) -> Conformance {
    let mut all = Conformed::default();
    let mut uncovered: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for swept in done {
        all.add(&swept.tally.conformed);
        if let Some(reason) = scope::uncovered(&swept.scenario) {
            uncovered.entry(reason).or_default().push(swept.scenario.name.clone());
        }
    }
    let seeds = done.iter().map(|swept| swept.tally.held).sum();
    // Searched only if there is anything to compare.
    let reachable = if seeds > 0 {
        coverage::reachable()
    } else {
        BTreeSet::new()
    };
    let unmatched = Action::KINDS.iter().filter(|kind| !all.matched.contains_key(*kind));
    Conformance {
        seeds,
        of_seeds: done.iter().map(|swept| swept.tally.seeds).sum(),
        unmatched: unmatched.map(|kind| (*kind).to_owned()).collect(),
        matched: all
            .matched
            .iter()
            .map(|(kind, count)| ((*kind).to_owned(), *count))
            .collect(),
        visited: all.shapes.intersection(&reachable).count(),
        reachable: reachable.len(),
        bounds: coverage::BOUNDS.to_owned(),
        uncovered: uncovered
            .into_iter()
            .map(|(reason, names)| (reason.to_owned(), names))
            .collect(),
    }
}

fn print_table(done: &[Swept], conformance: &Conformance, elapsed: Duration, jobs: usize) {
    let rows = done.iter().map(|swept| reports::table::Row {
        scenario: swept.scenario.name.clone(),
        seeds: swept.tally.seeds,
        steps: swept.tally.steps,
        simulated_s: swept.tally.simulated_ns / 1_000_000_000,
        verdict: verdict(&swept.scenario, &swept.tally),
        as_expected: swept.code() == 0,
        faults: swept
            .tally
            .faults
            .iter()
            .map(|(kind, count)| ((*kind).to_owned(), *count))
            .collect(),
    });
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let totals = reports::table::Totals {
        elapsed_s: elapsed.as_secs_f64(),
        jobs,
        cpu_s: done.iter().map(|swept| swept.tally.cpu_ns).sum::<u64>() as f64 / 1e9,
        operations: done.iter().map(|swept| swept.tally.operations).sum(),
    };
    let rows: Vec<_> = rows.collect();
    print!("{}", reports::table::render(&rows, &totals, color));
    print!("{}", reports::conform::render(conformance));
}

/// What a failing scenario needs said after the table; the replay command comes first and last.
fn report_failure(swept: &Swept) {
    let Swept {
        path,
        scenario,
        tally,
        differing,
    } = swept;
    if let Some((seed, error)) = tally.failed.first() {
        eprintln!(
            "{}: seed {seed}: the machine failed us, this is neither pass nor fail: {error}",
            scenario.name
        );
    }
    if let Some(seed) = differing.first() {
        eprintln!(
            "{}: seed {seed} gave two digests: {}",
            scenario.name,
            replay_command(path, *seed)
        );
    }
    if let (Expect::Violates { check }, None) = (&scenario.expect, tally.first_expected) {
        eprintln!(
            "{}: no seed of {} broke {check}; try more seeds",
            scenario.name, tally.seeds
        );
    }
    for (mark, wanted, reached) in tally.unmet(scenario) {
        eprintln!(
            "{}: mark `{mark}` was reached {reached} times in {} seeds, its duty is {wanted}",
            scenario.name, tally.seeds
        );
    }
    if let Some((seed, headline)) = tally.first_unexpected(scenario) {
        eprintln!(
            "\n{}\n  {headline}\n{}",
            replay_command(path, seed),
            replay_command(path, seed)
        );
    }
}

fn json_line(path: &Path, scenario: &Scenario, outcome: &Outcome, commit: Option<&str>) -> serde_json::Value {
    json!({
        "schema_version": SCHEMA_VERSION,
        "scenario": scenario.name,
        "scenario_digest": format!("{:016x}", scenario_digest(scenario)),
        "commit": commit,
        "seed": outcome.seed,
        "verdict": outcome.class,
        "class": match outcome.class { Class::Holds => 0, Class::Violated => 1, Class::Stuck => 4 },
        "check": outcome.violations.first().map(|violation| violation.check),
        "message": (outcome.class != Class::Holds).then(|| outcome.headline()),
        "steps": outcome.steps,
        "simulated_ms": outcome.simulated_ns / 1_000_000,
        "cpu_us": outcome.cpu_ns / 1_000,
        "operations": outcome.operations,
        "digest": format!("{:016x}", outcome.digest),
        "marks": outcome.marks,
        "faults": outcome.faults,
        "matched": outcome.conformed.as_ref().map(|conformed| &conformed.matched),
        "permitted_losses": outcome.permitted.len(),
        "replay": replay_command(path, outcome.seed),
    })
}

/// Identifies a scenario's content, however it is formatted.
pub(super) fn scenario_digest(scenario: &Scenario) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&serde_json::to_vec(scenario).expect("a scenario is JSON"))
}

fn summary(done: &[Swept], budget: Option<u64>, conformance: &Conformance, commit: Option<&str>) -> String {
    let scenarios: Vec<_> = done
        .iter()
        .map(|swept| {
            json!({
                "scenario": swept.scenario.name,
                "seeds": swept.tally.seeds,
                "budget": budget,
                "steps": swept.tally.steps,
                "simulated_ms": swept.tally.simulated_ns / 1_000_000,
                "cpu_ms": swept.tally.cpu_ns / 1_000_000,
                "verdict": verdict(&swept.scenario, &swept.tally),
                "code": swept.code(),
                "faults": swept.tally.faults,
                "outages": swept.tally.outages,
                "marks": swept.tally.marks,
                "looked": swept.tally.looked,
                "held_against_specification": swept.tally.held,
                "matched": swept.tally.conformed.matched,
                "not_covered_since": scope::uncovered(&swept.scenario),
                "seeds_with_permitted_loss": swept.tally.with_permitted_loss,
                "failures": swept.tally.violated.iter().chain(&swept.tally.stuck).map(|(seed, headline)| json!({
                    "seed": seed, "headline": headline, "replay": replay_command(&swept.path, *seed),
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    let specification = json!({
        "seeds": conformance.seeds,
        "never": conformance.unmatched,
        "states_visited": conformance.visited,
        "states_reachable": conformance.reachable,
        "bounds": conformance.bounds,
    });
    let summary = json!({
        "schema_version": SCHEMA_VERSION,
        "commit": commit,
        "specification": specification,
        "scenarios": scenarios,
    });
    let mut text = serde_json::to_string_pretty(&summary).expect("a summary is JSON");
    text.push('\n');
    text
}

fn junit(done: &[Swept]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let failures = done.iter().filter(|swept| ![0, 6].contains(&swept.code())).count();
    let errors = done.iter().filter(|swept| swept.code() == 6).count();
    text += &format!(
        "<testsuite name=\"highwater sweep\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\">\n",
        done.len()
    );
    for swept in done {
        let seconds = swept.tally.cpu_ns as f64 / 1e9;
        text += &format!(
            "  <testcase classname=\"scenarios\" name=\"{}\" time=\"{seconds:.3}\">",
            escape(&swept.scenario.name)
        );
        let verdict = escape(&verdict(&swept.scenario, &swept.tally));
        let detail = swept
            .tally
            .first_unexpected(&swept.scenario)
            .map(|(seed, headline)| format!("{headline}\n{}", replay_command(&swept.path, seed)))
            .unwrap_or_default();
        match swept.code() {
            0 => {}
            6 => text += &format!("<error message=\"{verdict}\">{}</error>", escape(&detail)),
            _ => text += &format!("<failure message=\"{verdict}\">{}</failure>", escape(&detail)),
        }
        text += "</testcase>\n";
    }
    text + "</testsuite>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_shards_are_read_strictly() {
        assert_eq!(parse_time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_time("10m"), Ok(Duration::from_secs(600)));
        assert!(parse_time("10 m").is_err());
        assert!(parse_time("0s").is_err());
        assert!(parse_time("-1s").is_err());
        assert_eq!(parse_shard("2/8"), Ok((1, 8)));
        assert!(parse_shard("0/8").is_err());
        assert!(parse_shard("9/8").is_err());
        assert!(parse_shard("x").is_err());
    }
}
