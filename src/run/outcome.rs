//! What a run came to.

use crate::checks::Violation;
use crate::conform::Conformed;
use std::collections::BTreeMap;

/// The class of a run; also the exit code of a command that ran it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Every check held and the cluster converged.
    Holds,
    /// A check was broken.
    Violated,
    /// The healed cluster did not converge, or the script did not get on.
    Stuck,
}

/// Everything that is worth knowing about a run once it is over.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Identifies the run: same scenario, same seed, same code, same digest, on any machine.
    pub digest: u64,
    /// How it ended.
    pub class: Class,
    /// Why, if it is stuck.
    pub reason: String,
    /// It was told to stop before its end.
    pub is_cut: bool,
    /// The checks that fired, in order.
    pub violations: Vec<Violation>,
    /// Steps of the world.
    pub steps: u64,
    /// Simulated nanoseconds.
    pub simulated_ns: u64,
    /// CPU nanoseconds of the thread.
    pub cpu_ns: u64,
    /// Operations that clients began.
    pub operations: u64,
    /// How long partitions were without a leader whose process ran, each time that it ended.
    pub outages_ns: Vec<u64>,
    /// Faults that were carried out, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Marks that were reached, and how often.
    pub marks: BTreeMap<&'static str, u64>,
    /// How often each check really compared something.
    pub looked: BTreeMap<&'static str, u64>,
    /// What it has shown of the specification; none if it was not held against it.
    pub conformed: Option<Conformed>,
    /// Losses that the promise did not cover, with their reasons.
    pub permitted: Vec<String>,
}

impl Outcome {
    /// The first violation's check, or the class.
    pub fn headline(&self) -> String {
        match (self.class, self.violations.first()) {
            (Class::Violated, Some(violation)) => format!("{}: {}", violation.check, violation.message),
            (Class::Stuck, _) => format!("stuck: {}", self.reason),
            _ if self.is_cut => format!(
                "stopped after step {} at {:.6} s, nothing broken so far",
                self.steps,
                self.simulated_ns as f64 / 1e9
            ),
            _ => "holds".to_owned(),
        }
    }

    /// Whether this check fired.
    pub fn violates(&self, check: &str) -> bool {
        self.violations.iter().any(|violation| violation.check == check)
    }
}
