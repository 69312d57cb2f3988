//! `replay --path`: a counterexample of the specification on the real cluster, side by side.

use super::{Failure, ReplayArgs, html};
use crate::isolate::isolated;
use crate::run::path::{Answer, Followed, Line, Path, follow, follow_watched};
use crate::scenario;
use crate::view::Recorder;
use reports::sides::{Pair, paragraph, render};
use std::collections::BTreeSet;

/// Characters a column, so that both fit a terminal of 80.
const COLUMN: usize = 35;
/// Characters of a line.
const LINE: usize = 80;

pub(super) fn replay(args: &ReplayArgs, file: &std::path::Path) -> Result<u8, Failure> {
    let mut scenario = scenario::load(&args.file)?;
    if args.without_rules {
        scenario.rules.clear();
    }
    let path = Path::load(file)?;
    path.fits(&args.file.display().to_string(), &scenario)?;
    let seed = args.seed.unwrap_or(0);
    let rules = scenario.rules.join(", ");
    let watched: Vec<String> = path.checks().into_iter().map(str::to_owned).collect();
    let property = path.property.clone();
    let out = args.html.as_deref();
    let command = again(args, file, seed);
    let is_watched = out.is_some();
    let run = move || {
        if !is_watched {
            return (follow(&scenario, seed, &path), None);
        }
        let mut recorder = Recorder::new(&scenario);
        let followed = follow_watched(&scenario, seed, &path, &mut recorder);
        let view = recorder.finish(&scenario, &followed.outcome, &command);
        (followed, Some(view))
    };
    let ((followed, view), _) = isolated(seed, run).map_err(|text| Failure { code: 6, text })?;
    tell(&followed, &property, &watched, &rules);
    if let (Some(out), Some(view)) = (out, view) {
        html::save(&view, out)?;
    }
    Ok(followed.exit_code())
}

/// What follows the path again and shows it.
fn again(args: &ReplayArgs, path: &std::path::Path, seed: u64) -> String {
    let rules = if args.without_rules { " --without-rules" } else { "" };
    let (file, path) = (args.file.display(), path.display());
    format!("highwater replay {file} --seed {seed} --path {path}{rules} --html path.html")
}

fn tell(followed: &Followed, property: &str, watched: &[String], rules: &str) {
    let pair = |line: &Line| Pair {
        left: line.model.clone(),
        right: line.real.iter().chain(&line.broken).cloned().collect(),
    };
    let pairs: Vec<Pair> = followed.lines.iter().map(pair).collect();
    print!("{}", render(("the specification", "the cluster"), &pairs, COLUMN));
    println!();
    let outcome = &followed.outcome;
    let mut told = BTreeSet::new();
    for violation in &outcome.violations {
        if told.insert(violation.check) {
            let words = format!("{}: {}", violation.check, violation.message);
            print!("{}", paragraph("BROKEN     ", &words, LINE));
        }
    }
    let rules = if rules.is_empty() { "none" } else { rules };
    println!("rules      {rules}");
    println!("digest     {:016x}", outcome.digest);
    let headline = match followed.answer {
        Answer::SameProperty(step) => {
            let seen = watched.iter().find(|check| outcome.violates(check));
            let seen = seen.filter(|check| *check != property);
            let seen = seen.map_or(String::new(), |check| format!(", as {check} sees it"));
            let when = step.map_or("once all is healed and read back".to_owned(), |step| {
                format!("at step {}", step + 1)
            });
            format!("the cluster breaks {property} too, {when}{seen}")
        }
        Answer::Refuses(step) => format!(
            "the cluster refuses step {}, so it is stricter than the specification; afterwards: {}",
            step + 1,
            outcome.headline()
        ),
        Answer::Holds => format!(
            "the cluster goes along, and {property} holds; afterwards: {}",
            outcome.headline()
        ),
    };
    print!("{}", paragraph("verdict    ", &headline, LINE));
}
