//! `--plain`: a run as text of 80 columns, for logs and lecture notes.

use super::{Failure, replay};
use crate::isolate::isolated;
use crate::run::{self, Options, Outcome};
use crate::scenario::Scenario;
use crate::story::{Film, Recorder};

/// Characters of a line.
pub(super) const LINE: usize = 80;

/// Records a run.
pub(super) fn film(scenario: &Scenario, seed: u64, options: &Options) -> Result<(Film, Outcome), Failure> {
    let scenario = scenario.clone();
    let options = options.clone();
    let run = move || {
        let mut recorder = Recorder::new(&scenario);
        let (outcome, _) = run::observe(&scenario, seed, &options, &mut recorder);
        (recorder.finish(&outcome), outcome)
    };
    let ((film, outcome), _) = isolated(seed, run).map_err(|text| Failure { code: 6, text })?;
    if film.is_empty() {
        return Err(Failure {
            code: 6,
            text: "the run has no step".to_owned(),
        });
    }
    Ok((film, outcome))
}

pub(super) fn print(scenario: &Scenario, seed: u64, options: &Options) -> Result<u8, Failure> {
    let (film, outcome) = film(scenario, seed, options)?;
    print!("{}", reports::walk::plain(&film.walk(), LINE));
    Ok(replay::exit_code(&scenario.expect, &outcome))
}
