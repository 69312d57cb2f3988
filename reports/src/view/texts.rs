//! Sentences without their numbers: a run says the same few hundred things over and over, with other numbers in them.
//!
//! A [`Words`] is a template and what fills its gaps, so that a sentence costs a few bytes in the page and still reads as
//! it was said. The templates are stored once, as the pieces between the gaps.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What fills a gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fill {
    /// A number as it is usually written.
    Number(u64),
    /// Digits that are no such number: leading zeros, or more than a script can count.
    Digits(String),
}

/// A sentence: the index of its template and what fills its gaps. With more than [`SHORT`] gaps: a gap's index and what
/// fills it, for each that is not filled as in the first sentence of this template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words(u32, Vec<Fill>);

/// Pieces of a sentence, and what stood between them when it was first said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Template(Vec<String>, Vec<Fill>);

/// Up to so many gaps are all filled; longer sentences, such as messages, repeat most of their numbers.
const SHORT: usize = 6;

/// All templates of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Texts {
    templates: Vec<Template>,
    #[serde(skip)]
    known: BTreeMap<Vec<String>, u32>,
}

/// More digits than this are not exact in every reader of JSON.
const EXACT_DIGITS: usize = 15;

impl Texts {
    /// Takes a sentence in.
    pub fn words(&mut self, text: &str) -> Words {
        let mut pieces = vec![String::new()];
        let mut fills = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let (piece, from) = rest.split_at(start);
            let length = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
            let (digits, after) = from.split_at(length);
            pieces.last_mut().expect("there is always one").push_str(piece);
            pieces.push(String::new());
            let plain = digits.len() <= EXACT_DIGITS && (digits == "0" || !digits.starts_with('0'));
            fills.push(match digits.parse() {
                Ok(number) if plain => Fill::Number(number),
                _ => Fill::Digits(digits.to_owned()),
            });
            rest = after;
        }
        pieces.last_mut().expect("there is always one").push_str(rest);
        let next = self.templates.len() as u32;
        let index = *self.known.entry(pieces).or_insert_with_key(|pieces| {
            let usual = if fills.len() > SHORT { fills.clone() } else { Vec::new() };
            self.templates.push(Template(pieces.clone(), usual));
            next
        });
        if fills.len() > SHORT {
            let usual = &self.templates[index as usize].1;
            let differ = fills
                .iter()
                .zip(usual)
                .enumerate()
                .filter(|(_, (fill, usual))| fill != usual);
            let pairs = differ.flat_map(|(gap, (fill, _))| [Fill::Number(gap as u64), fill.clone()]);
            return Words(index, pairs.collect());
        }
        Words(index, fills)
    }

    /// A sentence as it was taken in.
    pub fn text(&self, words: &Words) -> String {
        let Some(Template(pieces, usual)) = self.templates.get(words.0 as usize) else {
            return String::new();
        };
        let mut fills = usual.clone();
        if usual.is_empty() {
            fills.clone_from(&words.1);
        }
        for pair in words.1.chunks_exact(2).filter(|_| !usual.is_empty()) {
            if let Fill::Number(gap) = pair[0]
                && let Some(fill) = fills.get_mut(gap as usize)
            {
                *fill = pair[1].clone();
            }
        }
        let mut text = String::new();
        for (at, piece) in pieces.iter().enumerate() {
            text += piece;
            match fills.get(at) {
                Some(Fill::Number(number)) => text += &number.to_string(),
                Some(Fill::Digits(digits)) => text += digits,
                None => {}
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_read_again_to_the_letter() {
        let mut texts = Texts::default();
        for text in [
            "",
            "no number",
            "7",
            "appended offsets 100 to 102 of epoch 0 to t-0",
            "`p1-00000042` is at offset 007",
            "an id of 170141183460469231731687303715884105727 and 9007199254740993",
            "ends with ü 3",
            "a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8",
            "a 1 b 2 c 007 d 4 e 5 f 6 g 7 h 9",
        ] {
            let words = texts.words(text);
            assert_eq!(texts.text(&words), text);
        }
    }

    #[test]
    fn sentences_that_differ_in_numbers_share_a_template() {
        let mut texts = Texts::default();
        let (one, two) = (texts.words("high watermark 1"), texts.words("high watermark 23"));
        assert_eq!(one.0, two.0);
        assert_ne!(one, two);
        assert_eq!(serde_json::to_string(&two).unwrap_or_default(), "[0,[23]]");
    }
}
