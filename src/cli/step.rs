//! `replay --step`: a run in the terminal, a step at a time, forward and back.
//!
//! The run is made once and its moments are folded from what the machines said; going back is looking at an earlier
//! moment, so it costs no second run.

use super::Failure;
use crate::cluster::Cluster;
use crate::isolate::isolated;
use crate::run::{self, Layout, Observer, Options};
use crate::scenario::Scenario;
use crate::story::{Film, Recorder};
use kafka::Note;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use sim::fault::NodeId;
use sim::step::Stepped;
use sim::world::World;

impl Observer for Recorder {
    fn step(&mut self, stepped: &Stepped, world: &World<Cluster>, layout: &Layout) {
        self.on_step(stepped, world, layout);
    }
    fn note(&mut self, _time_ns: u64, node: NodeId, note: &Note) {
        self.on_note(node, note);
    }
}

/// Records a run.
fn film(scenario: &Scenario, seed: u64, options: &Options) -> Result<Film, Failure> {
    let scenario = scenario.clone();
    let options = options.clone();
    let run = move || {
        let mut recorder = Recorder::new(&scenario);
        let (outcome, _) = run::observe(&scenario, seed, &options, &mut recorder);
        recorder.finish(&outcome)
    };
    isolated(seed, run)
        .map(|(film, _)| film)
        .map_err(|text| Failure { code: 6, text })
}

const KEYS: &str = "→/n next  ←/p back  ]/[ 100  t next turn  T turn back  g/G first/last  q quit";

pub(super) fn walk(scenario: &Scenario, seed: u64, options: &Options) -> Result<u8, Failure> {
    let film = film(scenario, seed, options)?;
    if film.is_empty() {
        return Err(Failure {
            code: 6,
            text: "the run has no step".to_owned(),
        });
    }
    let mut terminal = ratatui::try_init().map_err(|error| Failure::machine("cannot use the terminal", &error))?;
    let result = interact(&film, &mut terminal);
    ratatui::restore();
    result.map_err(|error| Failure::machine("cannot use the terminal", &error))?;
    Ok(0)
}

fn interact(film: &Film, terminal: &mut ratatui::DefaultTerminal) -> std::io::Result<()> {
    let last = film.len() - 1;
    let mut at = film.first_turn();
    loop {
        let moment = film.moment(at);
        terminal.draw(|frame| {
            let width = usize::from(frame.area().width);
            let mut lines: Vec<Line<'_>> = vec![Line::from(KEYS)];
            lines.extend(reports::moment::lines(&moment, width).into_iter().map(Line::from));
            frame.render_widget(Paragraph::new(lines), frame.area());
        })?;
        let Event::Key(key) = event::read()? else { continue };
        if key.kind != KeyEventKind::Press {
            continue;
        }
        at = match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
            KeyCode::Right | KeyCode::Char('n' | ' ') => (at + 1).min(last),
            KeyCode::Left | KeyCode::Char('p') => at.saturating_sub(1),
            KeyCode::Char(']') | KeyCode::PageDown => (at + 100).min(last),
            KeyCode::Char('[') | KeyCode::PageUp => at.saturating_sub(100),
            KeyCode::Char('t') => film.next_turn(at),
            KeyCode::Char('T') => film.previous_turn(at),
            KeyCode::Char('g') | KeyCode::Home => 0,
            KeyCode::Char('G') | KeyCode::End => last,
            _ => at,
        };
    }
}
