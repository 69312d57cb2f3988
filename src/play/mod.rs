//! `play`: a cluster that one drives by hand, as a page on the loopback interface.
//!
//! ```text
//!   page: a tree of moves ──POST /run [moves up to here]──▶ run from the beginning ──▶ view, checks, who is up
//! ```
//!
//! A run is a function of its script, so nothing is kept of a run but the page that shows it: to undo is to run with one
//! move less, and to branch off is to run with another one. A move is a step of a scenario's script, and what was played
//! is saved as a scenario file.
//!
//! Deliberately unknown: what a move means (the script knows), how a run is drawn (the view knows).

mod http;
mod trial;

use crate::scenario::Scenario;
use http::{Answer, Request};
use serde_json::json;
use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use trial::{Asked, Trial};

/// Pages that can still be fetched: the one that is shown, and those whose windows are slow.
const PAGES: usize = 8;

/// One table to play at.
#[derive(Debug)]
pub struct Play {
    base: Scenario,
    seed: u64,
    pages: VecDeque<(u64, String)>,
    runs: u64,
}

impl Play {
    /// Of a scenario's cluster; its script is the first moves.
    pub fn new(base: Scenario, seed: u64) -> Play {
        Play {
            base,
            seed,
            pages: VecDeque::new(),
            runs: 0,
        }
    }

    /// Answers for ever, one request at a time: a run takes milliseconds.
    pub fn serve(&mut self, listener: &TcpListener) -> io::Result<()> {
        let port = listener.local_addr()?.port();
        loop {
            let (stream, _) = listener.accept()?;
            // A browser that goes away is no reason to end.
            let _ = http::serve_one(stream, port, |request| self.answer(&request));
        }
    }

    fn answer(&mut self, request: &Request) -> Answer {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/") => Answer::page(reports::view::play_page()),
            ("GET", "/base") => Answer::json(&trial::base(&self.base, self.seed)),
            ("GET", path) => match path.strip_prefix("/view/").and_then(|number| number.parse().ok()) {
                Some(number) => self.page(number),
                None => Answer::text(404, "there is no such page here"),
            },
            ("POST", "/run") => self.run(&request.body),
            ("POST", "/scenario") => self.scenario(&request.body),
            _ => Answer::text(405, "only GET and POST are answered"),
        }
    }

    fn page(&self, number: u64) -> Answer {
        let page = self.pages.iter().find(|(known, _)| *known == number);
        match page {
            Some((_, page)) => Answer::page(page.clone()),
            None => Answer::text(410, "that moment has been left; choose it again"),
        }
    }

    fn run(&mut self, body: &[u8]) -> Answer {
        let trial = Asked::read(body).and_then(|asked| Trial::run(&self.base, self.seed, asked));
        match trial {
            Ok(trial) => {
                self.runs += 1;
                let mut told = trial.told;
                told["view"] = json!(format!("/view/{}", self.runs));
                self.pages.push_back((self.runs, trial.page));
                if self.pages.len() > PAGES {
                    self.pages.pop_front();
                }
                Answer::json(&told)
            }
            Err(wrong) => Answer::json(&json!({ "wrong": wrong })),
        }
    }

    fn scenario(&self, body: &[u8]) -> Answer {
        let saved = Asked::read(body).and_then(|asked| trial::saved(&self.base, &asked));
        match saved {
            Ok(text) => Answer::json(&json!({ "scenario": text })),
            Err(wrong) => Answer::json(&json!({ "wrong": wrong })),
        }
    }
}

#[cfg(test)]
mod tests;
