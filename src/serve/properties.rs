//! `server.properties`: names and values with the place that each comes from.
//!
//! The format is that of Java's properties as far as Kafka's files use it: `name=value` or `name: value`, `#` and `!`
//! comments, a backslash at the end of a line that goes on. A name that is given twice has its last value.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file, on this line, from 1.
    Line(String, usize),
    /// `--set` on the command line.
    Set,
    /// Nowhere: what `serve` alone stands for.
    Builtin,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(file, line) => write!(f, "{file}:{line}"),
            Place::Set => f.write_str("--set"),
            Place::Builtin => f.write_str("built-in configuration"),
        }
    }
}

/// A configuration that cannot be, in words: where, what, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadProperty(pub String);

impl fmt::Display for BadProperty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// As written, without the blanks around it.
    pub text: String,
    /// By whom.
    pub place: Place,
}

impl Value {
    /// The error that this value is.
    pub fn bad(&self, name: &str, what: impl fmt::Display) -> BadProperty {
        BadProperty(format!("{}: property `{name}` {what}", self.place))
    }
}

/// All properties of a node, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    values: BTreeMap<String, Value>,
    /// The file, for errors about what is missing.
    source: String,
}

impl Properties {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Properties, BadProperty> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| BadProperty(format!("{name}: {error}")))?;
        Properties::parse(&text, &name)
    }

    /// Reads the text of a file of this name.
    pub fn parse(text: &str, source: &str) -> Result<Properties, BadProperty> {
        let mut properties = Properties {
            values: BTreeMap::new(),
            source: source.to_owned(),
        };
        let mut lines = text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            let mut line = line.trim().to_owned();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            while let Some(begun) = line.strip_suffix('\\') {
                let rest = lines.next().map_or("", |(_, rest)| rest.trim());
                line = format!("{begun}{rest}");
            }
            properties.add(&line, Place::Line(source.to_owned(), at + 1))?;
        }
        Ok(properties)
    }

    /// What `serve` alone stands for.
    pub fn builtin(text: &str) -> Properties {
        let mut properties = Properties::parse(text, "built-in configuration").expect("our own text can be read");
        for value in properties.values.values_mut() {
            value.place = Place::Builtin;
        }
        properties
    }

    /// `--set NAME=VALUE`.
    pub fn set(&mut self, assignment: &str) -> Result<(), BadProperty> {
        self.add(assignment, Place::Set)
    }

    fn add(&mut self, line: &str, place: Place) -> Result<(), BadProperty> {
        let Some((name, text)) = line.split_once(['=', ':']) else {
            return Err(BadProperty(format!(
                "{place}: `{line}` is not a property: write NAME=VALUE"
            )));
        };
        let value = Value {
            text: text.trim().to_owned(),
            place,
        };
        self.values.insert(name.trim().to_owned(), value);
        Ok(())
    }

    /// Takes one out.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.values.remove(name)
    }

    /// The first that is left and whose name is such a one.
    pub fn find(&self, is_such: impl Fn(&str) -> bool) -> Option<(&str, &Value)> {
        let mut all = self.values.iter().map(|(name, value)| (name.as_str(), value));
        all.find(|(name, _)| is_such(name))
    }

    /// All names and values that are left.
    pub fn drain(&mut self) -> impl Iterator<Item = (String, Value)> + use<> {
        std::mem::take(&mut self.values).into_iter()
    }

    /// The error that a property is missing.
    pub fn missing(&self, name: &str, what: &str) -> BadProperty {
        BadProperty(format!("{}: property `{name}` is missing: {what}", self.source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_comments_continuations_and_places() {
        let text = "# a comment\n\nnode.id = 3\n! another\nlisteners=PLAINTEXT://127.0.0.1:9092,\\\n   CONTROLLER://127.0.0.1:9093\nbroker.rack: r1\n";
        let mut properties = Properties::parse(text, "a.properties").unwrap();
        let node = properties.take("node.id").unwrap();
        assert_eq!(
            (node.text.as_str(), node.place.to_string()),
            ("3", "a.properties:3".into())
        );
        assert_eq!(
            properties.take("listeners").unwrap().text,
            "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"
        );
        properties.set("broker.rack=r2").unwrap();
        assert_eq!(properties.take("broker.rack").unwrap().text, "r2");
        assert_eq!(properties.find(|_| true), None);
    }

    #[test]
    fn a_line_that_is_no_property_is_refused_with_its_place() {
        let error = Properties::parse("node.id=1\nnonsense\n", "b.properties").unwrap_err();
        assert_eq!(
            error.0,
            "b.properties:2: `nonsense` is not a property: write NAME=VALUE"
        );
    }
}
