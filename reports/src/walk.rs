//! A run as text for logs and lecture notes: the script's steps with their words, and what turned between them.

use crate::moment::{LEGEND, Moment, picture};
use crate::text::hang;
use crate::view::Question;

/// A step of the script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Its number, from 1.
    pub number: usize,
    /// Steps in all.
    pub of: usize,
    /// What is done, in words.
    pub does: Vec<String>,
    /// What is so now.
    pub note: String,
    /// What to expect.
    pub expect: String,
    /// Asked before this step, answered here.
    pub answers: Option<Question>,
    /// Asked now, answered at the next step.
    pub asks: Option<Question>,
}

/// One sentence of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Virtual nanoseconds.
    pub time_ns: u64,
    /// Who.
    pub who: String,
    /// What.
    pub words: String,
    /// Many of the same kind in a row are told by the first and the last; none if each is worth telling.
    pub kind: Option<&'static str>,
}

/// One moment that is worth a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stop {
    /// Virtual nanoseconds.
    pub time_ns: u64,
    /// The script's step that was taken.
    pub told: Option<Told>,
    /// What was said, then or since the stop before.
    pub said: Vec<Said>,
    /// The cluster after it, where that is worth a look.
    pub moment: Option<Moment>,
}

impl Walk {
    /// Adds a stop. What is not worth a picture is told with what follows it; no picture is shown twice.
    pub fn push(&mut self, mut stop: Stop) {
        if let Some(last) = self.stops.last_mut()
            && last.told.is_none()
        {
            let is_same = matches!((&last.moment, &stop.moment), (Some(a), Some(b)) if a.nodes == b.nodes);
            if is_same && stop.told.is_some() {
                last.moment = None;
            } else if last.moment.is_none() && stop.told.is_none() {
                last.said.append(&mut stop.said);
                last.moment = stop.moment;
                return;
            }
        }
        self.stops.push(stop);
    }
}

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// What it is.
    pub title: String,
    /// The question.
    pub question: String,
    /// Paragraphs before the first step.
    pub opening: Vec<String>,
    /// Asked before the first step.
    pub asks: Option<Question>,
    /// Moments.
    pub stops: Vec<Stop>,
    /// How the run ended.
    pub ending: Vec<String>,
    /// Paragraphs at the end.
    pub closing: Vec<String>,
}

/// Lines of a question.
pub fn question(question: &Question, width: usize) -> Vec<String> {
    let mut lines = hang("Question: ", &question.ask, width);
    for (i, choice) in question.choices.iter().enumerate() {
        lines.extend(hang(&format!("  {}. ", i + 1), choice, width));
    }
    lines
}

/// Lines of its answer.
pub fn answer(question: &Question, width: usize) -> Vec<String> {
    let choice = question.choices.get(question.right);
    let choice = choice.map_or("", |choice| choice.trim_end_matches('.'));
    let words = format!("{}, {choice}. {}", question.number(), question.answer);
    hang("Answer: ", &words, width)
}

/// What was said, with a row of one kind told by its first and its last.
pub fn shortened(said: &[Said]) -> Vec<(&Said, String)> {
    let mut told = Vec::new();
    let mut rest = said;
    while let Some(first) = rest.first() {
        let is_alike = |other: &&Said| first.kind.is_some() && other.kind == first.kind && other.who == first.who;
        let count = rest.iter().take_while(is_alike).count().max(1);
        let last = &rest[count - 1];
        told.push((first, first.words.clone()));
        if count > 2 {
            told.push((last, format!("({} more like it)", count - 2)));
        }
        if count > 1 {
            told.push((last, last.words.clone()));
        }
        rest = &rest[count..];
    }
    told
}

/// Lines of what was said.
fn sentences(said: &[Said], width: usize) -> Vec<String> {
    let line = |(said, words): (&Said, String)| {
        let time = format!("{:.3} s", said.time_ns as f64 / 1e9);
        hang(&format!("{time:>11} {:<3} ", said.who), &words, width)
    };
    shortened(said).into_iter().flat_map(line).collect()
}

/// The walk in lines of at most `width` characters.
pub fn plain(walk: &Walk, width: usize) -> String {
    let mut lines = hang("", &walk.title, width);
    lines.push("=".repeat(width));
    lines.extend(hang("", &walk.question, width));
    let paragraph = |lines: &mut Vec<String>, text: &str| {
        lines.push(String::new());
        lines.extend(hang("", text, width));
    };
    walk.opening.iter().for_each(|text| paragraph(&mut lines, text));
    if walk.stops.iter().any(|stop| stop.moment.is_some()) {
        paragraph(&mut lines, &format!("How to read the pictures: {LEGEND}"));
    }
    if let Some(quiz) = &walk.asks {
        lines.push(String::new());
        lines.extend(question(quiz, width));
    }
    let mut shown: Option<&Moment> = None;
    for stop in &walk.stops {
        lines.extend(self::stop(stop, shown, width));
        shown = stop.moment.as_ref().or(shown);
    }
    lines.push(String::new());
    let head = "-- the end ";
    lines.push(head.to_owned() + &"-".repeat(width.saturating_sub(head.len())));
    walk.ending.iter().for_each(|text| lines.extend(hang("", text, width)));
    walk.closing.iter().for_each(|text| paragraph(&mut lines, text));
    lines.iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn stop(stop: &Stop, shown: Option<&Moment>, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(told) = &stop.told {
        let time = format!("{:.3} s", stop.time_ns as f64 / 1e9);
        let head = format!("-- step {} of {} ", told.number, told.of);
        let dashes = width.saturating_sub(head.len() + time.len() + 1);
        lines.push(String::new());
        lines.push(format!("{head}{} {time}", "-".repeat(dashes)));
        if let Some(quiz) = &told.answers {
            lines.extend(answer(quiz, width));
            lines.push(String::new());
        }
        if !told.note.is_empty() {
            lines.extend(hang("", &told.note, width));
        }
        for deed in &told.does {
            lines.extend(hang("  > ", deed, width));
        }
    } else {
        lines.push(String::new());
    }
    lines.extend(sentences(&stop.said, width));
    if let Some(moment) = &stop.moment {
        lines.push(String::new());
        if shown.is_some_and(|shown| shown.nodes == moment.nodes) {
            lines.push("  (the logs are as before)".to_owned());
        } else {
            lines.extend(picture(moment, width));
        }
    }
    if let Some(told) = &stop.told {
        if !told.expect.is_empty() || told.asks.is_some() {
            lines.push(String::new());
        }
        if !told.expect.is_empty() {
            lines.extend(hang("Expect: ", &told.expect, width));
        }
        if let Some(quiz) = &told.asks {
            lines.extend(question(quiz, width));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiz() -> Question {
        Question {
            ask: "Who leads?".to_owned(),
            choices: vec!["b2.".to_owned(), "b3".to_owned()],
            right: 0,
            answer: "It is in sync.".to_owned(),
        }
    }

    fn said(words: &str) -> Said {
        Said {
            time_ns: 0,
            who: "p1".to_owned(),
            words: words.to_owned(),
            kind: Some("acked"),
        }
    }

    #[test]
    fn a_question_comes_before_its_step_and_the_answer_with_it() {
        let told = |number, asks, answers| Stop {
            told: Some(Told {
                number,
                of: 2,
                note: format!("note {number}"),
                asks,
                answers,
                ..Told::default()
            }),
            ..Stop::default()
        };
        let walk = Walk {
            title: "T".to_owned(),
            stops: vec![told(1, Some(quiz()), None), told(2, None, Some(quiz()))],
            ..Walk::default()
        };
        let text = plain(&walk, 80);
        let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("`{words}` is not in {text}"));
        assert!(at("note 1") < at("Question: Who leads?") && at("  2. b3") < at("step 2 of 2"));
        assert!(at("step 2 of 2") < at("Answer: 1, b2. It is in sync.") && at("Answer") < at("note 2"));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn many_of_a_kind_are_told_by_the_first_and_the_last() {
        let all: Vec<Said> = ["a", "b", "c", "d"].map(said).to_vec();
        let lines = sentences(&all, 80);
        let ends: Vec<&str> = lines
            .iter()
            .map(|line| line.split("p1  ").last().expect("words"))
            .collect();
        assert_eq!(ends, ["a", "(2 more like it)", "d"]);
        assert_eq!(sentences(&all[..2], 80).len(), 2);
        let rare = Said {
            kind: None,
            ..said("x")
        };
        assert_eq!(sentences(&[rare.clone(), rare.clone(), rare], 80).len(), 3);
    }

    fn stop(words: &str, nodes: Option<usize>, is_told: bool) -> Stop {
        let moment = |count| Moment {
            nodes: vec![Default::default(); count],
            ..Moment::default()
        };
        Stop {
            told: is_told.then(Told::default),
            said: vec![said(words)],
            moment: nodes.map(moment),
            ..Stop::default()
        }
    }

    #[test]
    fn what_has_no_picture_is_told_with_what_follows_and_no_picture_comes_twice() {
        let mut walk = Walk::default();
        walk.push(stop("a", None, false));
        walk.push(stop("b", Some(1), false));
        walk.push(stop("c", Some(1), true));
        walk.push(stop("d", Some(1), true));
        assert_eq!(walk.stops.len(), 3, "{walk:#?}");
        assert_eq!(walk.stops[0].said.len(), 2);
        assert!(walk.stops[0].moment.is_none(), "the step of the script shows it");
        let text = plain(&walk, 80);
        assert_eq!(text.matches("as before").count(), 1, "{text}");
    }
}
