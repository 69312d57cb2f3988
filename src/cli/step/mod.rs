//! `replay --step`, `lesson --step`: a run in the terminal, forward and back, with the script's words and questions.
//!
//! The run is made once and its moments are folded from what the machines said; going back is looking at an earlier
//! moment, so it costs no second run.

mod viewer;

use super::Failure;
use super::plain::film;
use crate::run::Options;
use crate::scenario::Scenario;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use std::io::IsTerminal;
use viewer::Viewer;

pub(super) fn walk(scenario: &Scenario, seed: u64, options: &Options) -> Result<u8, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failure {
            code: 2,
            text: "steps are walked in a terminal, and this is none: --plain prints the same as text".to_owned(),
        });
    }
    let (film, _) = film(scenario, seed, options)?;
    let mut terminal = ratatui::try_init().map_err(|error| Failure::machine("cannot use the terminal", &error))?;
    let result = interact(Viewer::new(&film), &mut terminal);
    ratatui::restore();
    result.map_err(|error| Failure::machine("cannot use the terminal", &error))?;
    Ok(0)
}

fn interact(mut viewer: Viewer<'_>, terminal: &mut ratatui::DefaultTerminal) -> std::io::Result<()> {
    loop {
        terminal.draw(|frame| viewer.draw(frame))?;
        let Event::Key(key) = event::read()? else { continue };
        if key.kind == KeyEventKind::Press && !viewer.press(key.code) {
            return Ok(());
        }
    }
}
