//! The lessons: scenarios with a narrator, in the order in which they teach.
//!
//! They are part of the binary, so that one command shows one from any directory. As files they are what every scenario
//! is: `sweep`, `replay` and `lint` take them.

use crate::scenario::{BadInput, Scenario, parse};

macro_rules! lessons {
    ($($name:literal)*) => {
        /// Names and texts.
        const TEXTS: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../scenarios/lessons/", $name, ".json")))),*
        ];
    };
}

lessons! {
    "log"
    "leaders"
    "followers"
    "three-knobs"
    "consistency"
    "truncation"
    "kip-101"
    "kip-279"
    "kip-320"
    "kip-966"
    "ghost-read"
    "power"
    "unclean-election"
}

/// Their names, in order.
pub fn names() -> Vec<&'static str> {
    TEXTS.iter().map(|(name, _)| *name).collect()
}

fn read((name, text): &(&str, &str)) -> Result<Scenario, BadInput> {
    parse(&format!("scenarios/lessons/{name}.json"), text)
}

/// All of them.
pub fn all() -> Result<Vec<Scenario>, BadInput> {
    TEXTS.iter().map(read).collect()
}

/// The one of this name.
pub fn named(name: &str) -> Result<Option<Scenario>, BadInput> {
    TEXTS.iter().find(|(known, _)| *known == name).map(read).transpose()
}
