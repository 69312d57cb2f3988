//! What the terminal shows of a film, and what its keys do. Usable on 80 columns and 24 lines.
//!
//! A question stops whoever goes forward at the moment before its step; the answer stands at the step.

use crate::story::Film;
use ratatui::Frame;
use ratatui::crossterm::event::KeyCode;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use reports::moment::{LEGEND, picture};
use reports::text::{cut, hang};
use reports::view::Turn;
use reports::walk::{Told, Walk, answer, question};
use std::collections::BTreeMap;

const KEYS: [&str; 2] = [
    "space next  b back  n/p single step  ]/[ by 100  g/G ends  / search  q quit",
    "t truncation  e election  i ISR  a ack  v violation (capital: back)  ↑/↓ scroll",
];
const KEYS_OF_COVER: &str = "space begin  ↑/↓ scroll  q quit";
/// Letters as in the page; none stands for a broken promise.
const KINDS: [(char, Option<Turn>, &str); 5] = [
    ('t', Some(Turn::Truncation), "truncation"),
    ('e', Some(Turn::Election), "election"),
    ('i', Some(Turn::Isr), "ISR change"),
    ('a', Some(Turn::Acknowledgement), "acknowledgement"),
    ('v', None, "violation"),
];

/// Where a viewer stands in a film.
pub(super) struct Viewer<'f> {
    film: &'f Film,
    head: Walk,
    /// Whether the opening is shown.
    is_cover: bool,
    at: usize,
    scroll: usize,
    /// The script's step whose question is open.
    asking: Option<usize>,
    /// Questions that were asked, by the script's steps, with what was answered.
    asked: BTreeMap<usize, Option<usize>>,
    /// What is typed to be searched for, and what was searched for last.
    typed: Option<String>,
    sought: String,
    /// Said once.
    notice: String,
}

impl<'f> Viewer<'f> {
    pub(super) fn new(film: &'f Film) -> Viewer<'f> {
        Viewer {
            film,
            head: film.head(),
            is_cover: true,
            at: film.first(),
            scroll: 0,
            asking: None,
            asked: BTreeMap::new(),
            typed: None,
            sought: String::new(),
            notice: String::new(),
        }
    }

    /// Takes a key; false means that it is over.
    pub(super) fn press(&mut self, key: KeyCode) -> bool {
        self.notice.clear();
        if let Some(typed) = self.typed.take() {
            self.search(typed, key);
            return true;
        }
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Down => return self.scroll_to(self.scroll + 1),
            KeyCode::Up => return self.scroll_to(self.scroll.saturating_sub(1)),
            _ => {}
        }
        if let Some(number) = self.asking {
            return self.take_answer(number, key);
        }
        if self.is_cover {
            if matches!(key, KeyCode::Char(' ' | 'n') | KeyCode::Enter | KeyCode::Right) {
                self.is_cover = false;
                self.scroll = 0;
                self.ask(0);
            }
            return true;
        }
        let last = self.film.len() - 1;
        let at = self.at;
        let next_turn = match self.film.next_turn(at) {
            turn if turn == at => last,
            turn => turn,
        };
        match key {
            KeyCode::Char(' ') | KeyCode::Enter => self.go(next_turn),
            KeyCode::Char('b') | KeyCode::Backspace => self.go(self.film.previous_turn(at)),
            KeyCode::Right | KeyCode::Char('n') => self.go((at + 1).min(last)),
            KeyCode::Left | KeyCode::Char('p') => self.go(at.saturating_sub(1)),
            KeyCode::Char(']') | KeyCode::PageDown => self.go((at + 100).min(last)),
            KeyCode::Char('[') | KeyCode::PageUp => self.go(at.saturating_sub(100)),
            KeyCode::Char('g') | KeyCode::Home => self.go(self.film.first()),
            KeyCode::Char('G') | KeyCode::End => self.go(last),
            KeyCode::Char('/') => self.typed = Some(String::new()),
            KeyCode::Char(letter) => self.jump(letter),
            _ => {}
        }
        true
    }

    /// To the next of a kind, or with a capital letter to the one before.
    fn jump(&mut self, letter: char) {
        let backward = letter.is_uppercase();
        let known = KINDS.iter().find(|(known, ..)| *known == letter.to_ascii_lowercase());
        let Some((_, kind, name)) = known else { return };
        match self.film.next_of(*kind, self.at, backward) {
            Some(at) => self.go(at),
            None => self.notice = format!("No {} {name}.", if backward { "earlier" } else { "later" }),
        }
    }

    /// Takes a key of what is typed; enter searches, an empty line for the same again.
    fn search(&mut self, mut typed: String, key: KeyCode) {
        match key {
            KeyCode::Esc => return,
            KeyCode::Enter => {
                if !typed.is_empty() {
                    self.sought = typed;
                }
                match self
                    .film
                    .find(&self.sought, self.at)
                    .filter(|_| !self.sought.is_empty())
                {
                    Some(at) => self.go(at),
                    None => self.notice = format!("Nothing says `{}`.", self.sought),
                }
                return;
            }
            KeyCode::Backspace => _ = typed.pop(),
            KeyCode::Char(letter) => typed.push(letter),
            _ => {}
        }
        self.typed = Some(typed);
    }

    fn scroll_to(&mut self, line: usize) -> bool {
        self.scroll = line;
        true
    }

    /// Goes to a moment, or as far as a question lets it.
    fn go(&mut self, target: usize) {
        self.scroll = 0;
        let taken = self.film.taken();
        for (number, step) in taken.iter().enumerate().skip(1) {
            let before = taken[number - 1];
            if *step > self.at && before < target && self.ask(number) {
                self.at = self.at.max(before);
                return;
            }
        }
        self.at = target;
    }

    /// Opens the question of a step, if it has one that was not asked yet.
    fn ask(&mut self, number: usize) -> bool {
        let is_new = !self.asked.contains_key(&number)
            && number < self.film.taken().len()
            && self.film.told(number).answers.is_some();
        if is_new {
            self.asking = Some(number);
        }
        is_new
    }

    fn take_answer(&mut self, number: usize, key: KeyCode) -> bool {
        let choices = self.film.told(number).answers.map_or(0, |quiz| quiz.choices.len());
        let chosen = match key {
            KeyCode::Char(digit) => digit.to_digit(10).map(|digit| digit as usize),
            _ => None,
        };
        let chosen = chosen.filter(|digit| (1..=choices).contains(digit));
        if chosen.is_some() || matches!(key, KeyCode::Char(' ') | KeyCode::Enter) {
            self.asked.insert(number, chosen);
            self.asking = None;
            self.scroll = 0;
        }
        true
    }

    /// The last step of the script at or before the moment.
    fn told(&self) -> Option<(usize, Told)> {
        let number = self.film.taken().partition_point(|at| *at <= self.at).checked_sub(1)?;
        Some((number, self.film.told(number)))
    }

    fn keys(&self) -> [String; 2] {
        if let Some(typed) = &self.typed {
            let lead = format!("search: {typed}_");
            return [lead, "enter find  esc leave it".to_owned()];
        }
        let one = |text: &str| [String::new(), text.to_owned()];
        match self.asking {
            Some(number) => {
                let choices = self.film.told(number).answers.map_or(0, |quiz| quiz.choices.len());
                one(&format!(
                    "1-{choices} answer  space without an answer  ↑/↓ scroll  q quit"
                ))
            }
            None if self.is_cover => one(KEYS_OF_COVER),
            None => KEYS.map(str::to_owned),
        }
    }

    fn lines(&self, width: usize) -> Vec<String> {
        if self.is_cover {
            return self.cover(width);
        }
        let moment = self.film.moment(self.at);
        let seconds = moment.time_ns as f64 / 1e9;
        let lead = format!("{}/{}  {seconds:.6} s  ", moment.step, moment.steps);
        let mut lines = hang(&lead, &moment.what, width);
        lines.extend(picture(&moment, width));
        lines.push(String::new());
        if let Some(number) = self.asking {
            let told = self.film.told(number);
            lines.extend(told.answers.iter().flat_map(|quiz| question(quiz, width)));
            return lines;
        }
        if self.at + 1 == self.film.len() {
            self.head.closing.iter().for_each(|text| {
                lines.extend(hang("", text, width));
                lines.push(String::new());
            });
        } else if let Some((number, told)) = self.told() {
            lines.extend(self.narration(number, &told, width));
        }
        let notes = moment.notes.iter().flat_map(|note| hang("  > ", note, width));
        lines.extend(notes);
        if !moment.in_flight.is_empty() {
            lines.push(String::new());
            lines.push("in flight:".to_owned());
            lines.extend(
                moment
                    .in_flight
                    .iter()
                    .map(|message| cut(&format!("  {message}"), width)),
            );
        }
        lines
    }

    fn narration(&self, number: usize, told: &Told, width: usize) -> Vec<String> {
        let mut lines = Vec::new();
        if self.film.taken()[number] == self.at
            && let Some(quiz) = &told.answers
        {
            if let Some(Some(chosen)) = self.asked.get(&number) {
                let verdict = if *chosen == quiz.number() { "right" } else { "not so" };
                lines.push(format!("You said {chosen}: {verdict}."));
            }
            lines.extend(answer(quiz, width));
        }
        if !told.note.is_empty() {
            let lead = format!("[{}/{}] ", told.number, told.of);
            lines.extend(hang(&lead, &told.note, width));
        }
        if !told.expect.is_empty() {
            lines.extend(hang("Expect: ", &told.expect, width));
        }
        if let Some(Some(chosen)) = self.asked.get(&(number + 1)) {
            lines.push(format!("You say {chosen}. Go on and see."));
        }
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines
    }

    fn cover(&self, width: usize) -> Vec<String> {
        let legend = format!("How to read the pictures: {LEGEND}");
        let texts = [&self.head.title, &self.head.question].into_iter();
        let texts = texts.chain(&self.head.opening).chain([&legend]);
        texts
            .flat_map(|text| hang("", text, width).into_iter().chain([String::new()]))
            .collect()
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let [body, more, keys] =
            Layout::vertical([Constraint::Min(1), Constraint::Length(1), Constraint::Length(2)]).areas(frame.area());
        let lines = self.lines(usize::from(body.width));
        let hidden = lines.len().saturating_sub(usize::from(body.height));
        self.scroll = self.scroll.min(hidden);
        let below = hidden - self.scroll;
        let shown = lines.into_iter().skip(self.scroll).map(Line::from);
        frame.render_widget(Paragraph::new(shown.collect::<Vec<_>>()), body);
        if !self.notice.is_empty() {
            frame.render_widget(Line::from(self.notice.as_str()), more);
        } else if below > 0 {
            frame.render_widget(Line::from(format!("({below} more lines: ↓)")), more);
        }
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let rows = self.keys().map(|row| Line::from(row).style(bold));
        frame.render_widget(Paragraph::new(rows.to_vec()), keys);
    }
}

#[cfg(test)]
mod tests;
