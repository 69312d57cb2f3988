//! A run as text for logs and lecture notes: the script's steps with their words, and what turned between them.

use crate::moment::{LEGEND, Moment, picture};
use crate::text::hang;

/// A question with its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quiz {
    /// What is asked.
    pub question: String,
    /// What may be answered.
    pub choices: Vec<String>,
    /// Number of the right one, from 1.
    pub answer: usize,
    /// Why.
    pub why: String,
}

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
    pub answers: Option<Quiz>,
    /// Asked now, answered at the next step.
    pub asks: Option<Quiz>,
}

/// One sentence of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Who.
    pub who: String,
    /// What.
    pub words: String,
    /// Whether many of the same kind in a row may be told by the first and the last.
    pub is_common: bool,
}

/// One moment that is worth a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stop {
    /// Virtual nanoseconds.
    pub time_ns: u64,
    /// The script's step that was taken.
    pub told: Option<Told>,
    /// What was said.
    pub said: Vec<Said>,
    /// The cluster after it, where that is worth a look.
    pub moment: Option<Moment>,
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
    pub asks: Option<Quiz>,
    /// Moments.
    pub stops: Vec<Stop>,
    /// How the run ended.
    pub ending: Vec<String>,
    /// Paragraphs at the end.
    pub closing: Vec<String>,
}

/// Lines of a question.
pub fn question(quiz: &Quiz, width: usize) -> Vec<String> {
    let mut lines = hang("Question: ", &quiz.question, width);
    for (i, choice) in quiz.choices.iter().enumerate() {
        lines.extend(hang(&format!("  {}. ", i + 1), choice, width));
    }
    lines
}

/// Lines of its answer.
pub fn answer(quiz: &Quiz, width: usize) -> Vec<String> {
    let choice = quiz.answer.checked_sub(1).and_then(|at| quiz.choices.get(at));
    let choice = choice.map_or("", |choice| choice.trim_end_matches('.'));
    let words = format!("{}, {choice}. {}", quiz.answer, quiz.why);
    hang("Answer: ", &words, width)
}

/// A run of sentences of one kind is told by its first and its last.
fn sentences(said: &[Said]) -> Vec<(&str, String)> {
    let mut lines: Vec<(&str, String)> = Vec::new();
    let mut rest = said;
    while let Some(first) = rest.first() {
        let alike = |other: &&Said| first.is_common && other.is_common && other.who == first.who;
        let count = rest.iter().take_while(alike).count().max(1);
        lines.push((&first.who, first.words.clone()));
        if count > 2 {
            lines.push((&first.who, format!("({} more like it)", count - 2)));
        }
        if count > 1 {
            lines.push((&first.who, rest[count - 1].words.clone()));
        }
        rest = &rest[count..];
    }
    lines
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
    for stop in &walk.stops {
        lines.extend(self::stop(stop, width));
    }
    lines.push(String::new());
    let head = "-- the end ";
    lines.push(head.to_owned() + &"-".repeat(width.saturating_sub(head.len())));
    walk.ending.iter().for_each(|text| lines.extend(hang("", text, width)));
    walk.closing.iter().for_each(|text| paragraph(&mut lines, text));
    lines.iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn stop(stop: &Stop, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let time = format!("{:.3} s", stop.time_ns as f64 / 1e9);
    if let Some(told) = &stop.told {
        let head = format!("-- step {} of {} ", told.number, told.of);
        let dashes = width.saturating_sub(head.len() + time.len() + 1);
        lines.push(String::new());
        lines.push(format!("{head}{} {time}", "-".repeat(dashes)));
        if let Some(quiz) = &told.answers {
            lines.extend(answer(quiz, width));
            lines.push(String::new());
        }
        lines.extend(hang("", &told.note, width).into_iter().filter(|line| !line.is_empty()));
        for deed in &told.does {
            lines.extend(hang("  > ", deed, width));
        }
    }
    for (who, words) in sentences(&stop.said) {
        lines.extend(hang(&format!("{time:>11} {who:<3} "), &words, width));
    }
    if let Some(moment) = &stop.moment {
        lines.push(String::new());
        lines.extend(picture(moment, width));
        lines.push(String::new());
    }
    if let Some(told) = &stop.told {
        if !told.expect.is_empty() {
            lines.extend(hang("Expect: ", &told.expect, width));
        }
        if let Some(quiz) = &told.asks {
            lines.extend(question(quiz, width));
        }
        lines.push(String::new());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiz() -> Quiz {
        Quiz {
            question: "Who leads?".to_owned(),
            choices: vec!["b2.".to_owned(), "b3".to_owned()],
            answer: 1,
            why: "It is in sync.".to_owned(),
        }
    }

    fn said(words: &str) -> Said {
        Said {
            who: "p1".to_owned(),
            words: words.to_owned(),
            is_common: true,
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
        let words: Vec<String> = sentences(&all).into_iter().map(|(_, words)| words).collect();
        assert_eq!(words, ["a", "(2 more like it)", "d"]);
        assert_eq!(sentences(&all[..2]).len(), 2);
        let rare = Said {
            is_common: false,
            ..said("x")
        };
        assert_eq!(sentences(&[rare.clone(), rare]).len(), 2);
    }
}
