//! `replay --html`: a run as one file that a browser opens, now or years later, without a network.

use super::{Failure, files, replay};
use crate::isolate::isolated;
use crate::run::{self, Options};
use crate::scenario::Scenario;
use crate::view::Recorder;
use reports::view::View;
use std::path::Path;

pub(super) fn write(
    scenario: &Scenario,
    seed: u64,
    options: &Options,
    command: &str,
    out: &Path,
) -> Result<u8, Failure> {
    let (for_thread, options) = (scenario.clone(), options.clone());
    // Where the file lies is no part of what it says: the same run gives the same bytes.
    let again = format!("{command} --html {}.html", scenario.name);
    let run = move || {
        let mut recorder = Recorder::new(&for_thread);
        let (outcome, _) = run::observe(&for_thread, seed, &options, &mut recorder);
        let view = recorder.finish(&for_thread, &outcome, &again);
        (outcome, view)
    };
    let ((outcome, view), _) = isolated(seed, run).map_err(|text| Failure { code: 6, text })?;
    save(&view, out)?;
    Ok(replay::exit_code(&scenario.expect, &outcome))
}

/// Writes a view as a page, whole or not at all.
pub(super) fn save(view: &View, out: &Path) -> Result<(), Failure> {
    if view.steps.is_empty() {
        return Err(Failure {
            code: 6,
            text: "the run has no step".to_owned(),
        });
    }
    let page = reports::view::page(view);
    files::write_whole(out, &page)?;
    let (steps, megabytes) = (view.steps.len(), page.len() as f64 / 1e6);
    println!("{}: {steps} steps, {megabytes:.1} MB; {}", out.display(), view.verdict);
    Ok(())
}
