//! Every specification by its name, with the bounds that it takes: how scenario files ask.
//!
//! A specification is a type of its own, so whoever wants to do something with it, whichever it is, hands over a
//! [`Visitor`].

use crate::check::Spec;
use crate::{kip, quorum, replication};
use std::collections::BTreeMap;
use std::fmt;

/// A specification that can be asked for.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name in scenario files.
    pub name: &'static str,
    /// What it describes, in a sentence.
    pub about: &'static str,
    /// Where it is published.
    pub source: &'static str,
    /// The bounds that it takes, all of them.
    pub bounds: &'static [Bound],
    /// The rules of the museum that it knows.
    pub rules: &'static [&'static str],
}

/// A bound of a search.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Its name in scenario files.
    pub name: &'static str,
    /// The least that it may be.
    pub least: u32,
    /// The most that it may be.
    pub most: u32,
    /// Its value where a question does not say.
    pub default: Option<u32>,
}

impl Bound {
    /// A bound that must be given.
    pub const fn given(name: &'static str, least: u32, most: u32) -> Bound {
        Bound {
            name,
            least,
            most,
            default: None,
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Name of the specification.
    pub spec: String,
    /// Its bounds by name.
    pub bounds: BTreeMap<String, u32>,
    /// Published bugs that are switched on, by the names of the museum's rules.
    pub rules: Vec<String>,
}

/// What is wrong with a question, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The field, such as `bounds.log_size`.
    pub place: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl std::error::Error for Wrong {}

impl Wrong {
    pub(crate) fn at(place: impl Into<String>, problem: impl Into<String>) -> Wrong {
        Wrong {
            place: place.into(),
            problem: problem.into(),
        }
    }
}

/// Something that can be done with any specification.
pub trait Visitor {
    /// What comes of it.
    type Output;

    /// Does it.
    fn visit<S: Spec + 'static>(self, spec: S) -> Self::Output;
}

/// Bounds that have been looked at: each is there, and within its own.
#[derive(Clone, Debug)]
pub struct Bounds(BTreeMap<&'static str, u32>);

impl Bounds {
    /// A bound of the entry that they were read for.
    pub fn get(&self, name: &str) -> u32 {
        *self.0.get(name).expect("an entry names each bound that it asks for")
    }

    /// The same, where it fits a byte, as the entry's own limit on it must see to.
    pub fn byte(&self, name: &str) -> u8 {
        u8::try_from(self.get(name)).expect("an entry limits this bound to a byte")
    }
}

/// Every specification.
pub fn entries() -> Vec<Entry> {
    [kip::ENTRIES, replication::entries::ENTRIES, quorum::entries::ENTRIES].concat()
}

/// Opens the specification that a question asks for.
pub fn open<V: Visitor>(question: &Question, visitor: V) -> Result<V::Output, Wrong> {
    let (name, bounds) = read(&entries(), question)?;
    match name {
        "replication" => replication::entries::open(&bounds, &question.rules, visitor),
        "quorum" => quorum::entries::open(&bounds, &question.rules, visitor),
        name => kip::open(name, &bounds, &question.rules, visitor),
    }
}

/// Names the properties of a specification.
#[derive(Clone, Copy, Debug)]
pub struct Properties;

impl Visitor for Properties {
    type Output = Vec<&'static str>;

    fn visit<S: Spec + 'static>(self, spec: S) -> Self::Output {
        spec.properties().iter().map(|property| property.name).collect()
    }
}

/// Which of the entries a question is for, and its bounds.
pub fn read(entries: &[Entry], question: &Question) -> Result<(&'static str, Bounds), Wrong> {
    let asked = &question.spec;
    let Some(entry) = entries.iter().find(|entry| entry.name == asked) else {
        let known: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
        let problem = format!("there is no specification `{asked}`; there are: {}", known.join(", "));
        return Err(Wrong::at("spec", problem));
    };
    let known: Vec<&str> = entry.bounds.iter().map(|bound| bound.name).collect();
    let unknown = question.bounds.keys().find(|name| !known.contains(&name.as_str()));
    if let Some(name) = unknown {
        let problem = format!("`{}` has no such bound; it has: {}", entry.name, known.join(", "));
        return Err(Wrong::at(format!("bounds.{name}"), problem));
    }
    let unknown = question.rules.iter().find(|rule| !entry.rules.contains(&rule.as_str()));
    if let Some(rule) = unknown {
        let problem = match entry.rules {
            [] => format!("`{}` knows no rule, and so not `{rule}`", entry.name),
            rules => format!("`{}` has no rule `{rule}`; it has: {}", entry.name, rules.join(", ")),
        };
        return Err(Wrong::at("rules", problem));
    }
    let value = |bound: &Bound| {
        let place = format!("bounds.{}", bound.name);
        let value = question.bounds.get(bound.name).copied().or(bound.default);
        let value = value.ok_or_else(|| Wrong::at(place.clone(), format!("`{}` asks for this bound", entry.name)))?;
        if (bound.least..=bound.most).contains(&value) {
            Ok((bound.name, value))
        } else {
            let problem = format!("must be between {} and {}, not {value}", bound.least, bound.most);
            Err(Wrong::at(place, problem))
        }
    };
    let bounds = entry.bounds.iter().map(value);
    Ok((entry.name, Bounds(bounds.collect::<Result<_, _>>()?)))
}

#[cfg(test)]
mod tests {
    use super::{Properties, Question, entries, open};

    fn question(spec: &str, bounds: &[(&str, u32)], rules: &[&str]) -> Question {
        Question {
            spec: spec.to_owned(),
            bounds: bounds
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect(),
            rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
        }
    }

    #[test]
    fn every_entry_opens_with_its_least_bounds() {
        for entry in entries() {
            let least: Vec<_> = entry.bounds.iter().map(|bound| (bound.name, bound.least)).collect();
            let known = open(&question(entry.name, &least, &[]), Properties).expect(entry.name);
            assert!(known.len() > 2, "{}", entry.name);
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_its_place() {
        const BOUNDS: [(&str, u32); 4] = [("replicas", 3), ("log_size", 2), ("records", 2), ("leader_epochs", 2)];
        let refused = |question| open(&question, Properties).expect_err("it must be refused").to_string();
        let text = refused(question("kip-321", &BOUNDS, &[]));
        assert!(
            text.starts_with("spec: there is no specification `kip-321`; there are: "),
            "{text}"
        );
        let text = refused(question("kip-320", &BOUNDS[1..], &[]));
        assert_eq!(text, "bounds.replicas: `kip-320` asks for this bound");
        let text = refused(question("kip-320", &[BOUNDS.as_slice(), &[("moons", 1)]].concat(), &[]));
        assert!(
            text.starts_with("bounds.moons: `kip-320` has no such bound; it has: replicas, "),
            "{text}"
        );
        let text = refused(question(
            "kip-320",
            &[&BOUNDS[..3], &[("leader_epochs", 9)]].concat(),
            &[],
        ));
        assert_eq!(text, "bounds.leader_epochs: must be between 1 and 8, not 9");
        let text = refused(question("kip-320", &BOUNDS, &["truncate_to_hw"]));
        assert_eq!(text, "rules: `kip-320` knows no rule, and so not `truncate_to_hw`");
        let wide = [("replicas", 5), ("log_size", 8), ("records", 8), ("leader_epochs", 8)];
        let text = refused(question("kip-320", &wide, &[]));
        assert!(text.contains("bits, more than the 112 of a key"), "{text}");
    }
}
