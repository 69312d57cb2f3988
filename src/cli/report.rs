//! `report`: charts of what a sweep or a replay left in a directory.

use super::files::{read_json, write_whole};
use super::{Failure, sweep};
use reports::plot::{self, Figure, run, sweep as swept};
use serde::de::DeserializeOwned;
use std::path::Path;

/// What `replay --out` leaves in its directory.
pub(super) const RUN: &str = "run.json";
const PAGE: &str = "report.html";

/// None if there is no such file.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    match path.try_exists() {
        Ok(false) => Ok(None),
        _ => read_json(path, "not what this version of highwater writes").map(Some),
    }
}

pub(super) fn report(dir: &Path) -> Result<u8, Failure> {
    let sweep: Option<swept::Sweep> = read(&dir.join(sweep::SUMMARY))?;
    let run: Option<run::Run> = read(&dir.join(RUN))?;
    let mut words: Vec<String> = Vec::new();
    let mut figures: Vec<Figure> = Vec::new();
    let mut titles: Vec<String> = Vec::new();
    if let Some(run) = &run {
        titles.push(format!("{}, seed {}", run.scenario, run.seed));
        words.push(format!("{}, seed {}: {}.", run.scenario, run.seed, run.verdict));
        figures.extend(run::figures(run));
    }
    if let Some(sweep) = &sweep {
        let seeds: u64 = sweep.scenarios.iter().map(|one| one.seeds).sum();
        let commit = sweep
            .commit
            .as_ref()
            .map_or(String::new(), |commit| format!(" of {commit}"));
        titles.push(format!("a sweep{commit}"));
        let plural = if sweep.scenarios.len() == 1 { "" } else { "s" };
        words.push(format!("{} scenario{plural}, {seeds} seeds.", sweep.scenarios.len()));
        words.extend(
            sweep
                .scenarios
                .iter()
                .filter(|one| one.code != 0)
                .map(|one| format!("{}: {}.", one.scenario, one.verdict)),
        );
        figures.extend(swept::figures(sweep));
    }
    if figures.is_empty() {
        return Err(Failure {
            code: 2,
            text: format!(
                "{0}: holds neither {1} nor {2}; `sweep --out {0}` or `replay FILE --seed S --out {0}` writes them",
                dir.display(),
                sweep::SUMMARY,
                RUN
            ),
        });
    }
    let page = dir.join(PAGE);
    write_whole(
        &page,
        &plot::page(&format!("highwater: {}", titles.join(", ")), &words, &figures),
    )?;
    println!("{}", page.display());
    Ok(0)
}
