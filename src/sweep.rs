//! Many seeds on all cores.
//!
//! Every seed runs on a thread of its own inside a simulation runtime that intercepts stray clock and entropy reads, so
//! nothing of one run reaches another. Results are handed over in the order of the seeds, whatever order they end in:
//! a sweep prints the same with one worker and with many.

use crate::conform::Conformed;
use crate::conform::scope::uncovered;
use crate::isolate::isolated;
use crate::run::{self, Options, Outcome};
use crate::scenario::{Expect, Scenario};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

/// Which seeds, and when to stop.
#[derive(Clone, Debug)]
pub struct Plan {
    /// First seed.
    pub from: u64,
    /// How many; the deadline may end the sweep earlier.
    pub seeds: u64,
    /// Every `of`-th seed, beginning with `shard` (from 0).
    pub shard: u64,
    /// Number of shards.
    pub of: u64,
    /// Worker threads.
    pub jobs: usize,
    /// No new seed begins after this.
    pub until: Option<Instant>,
    /// What ends the sweep before its last seed.
    pub stop: Stop,
    /// Every so many-th seed is held against the specification, where that covers the scenario; 0: none.
    pub conform_every: u64,
}

/// What ends the sweep of a scenario before its last seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// The violation that the scenario expects has been found: more seeds would say nothing new.
    #[default]
    Found,
    /// That, or an unexpected outcome.
    Failed,
    /// Nothing: whoever compares digests wants them all.
    Never,
}

impl Plan {
    /// These seeds on two threads, without a deadline.
    pub fn of(seeds: std::ops::Range<u64>) -> Plan {
        Plan {
            from: seeds.start,
            seeds: seeds.end - seeds.start,
            shard: 0,
            of: 1,
            jobs: 2,
            until: None,
            stop: Stop::Found,
            conform_every: 0,
        }
    }

    /// How a seed is run.
    pub fn options(&self, scenario: &Scenario, seed: u64) -> Options {
        let is_drawn = self.conform_every != 0 && seed.is_multiple_of(self.conform_every);
        Options {
            conform: is_drawn && uncovered(scenario).is_none(),
            ..Options::default()
        }
    }
}

/// What a sweep of one scenario came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Seeds that ran.
    pub seeds: u64,
    /// Steps of the world, all seeds.
    pub steps: u64,
    /// Simulated nanoseconds, all seeds.
    pub simulated_ns: u64,
    /// CPU nanoseconds, all seeds.
    pub cpu_ns: u64,
    /// Client operations, all seeds.
    pub operations: u64,
    /// Outages by their length in whole hundredths of a second, all seeds.
    pub outages: BTreeMap<u64, u64>,
    /// Faults by kind, all seeds.
    pub faults: BTreeMap<&'static str, u64>,
    /// Marks, all seeds.
    pub marks: BTreeMap<&'static str, u64>,
    /// How often each check compared something, all seeds.
    pub looked: BTreeMap<&'static str, u64>,
    /// Seeds that were held against the specification.
    pub held: u64,
    /// What they have shown of it.
    pub conformed: Conformed,
    /// Seeds with a permitted loss.
    pub with_permitted_loss: u64,
    /// Seeds that broke a check, in order.
    pub violated: Vec<(u64, String)>,
    /// Seeds that did not converge, in order.
    pub stuck: Vec<(u64, String)>,
    /// Seeds on which the machine failed us.
    pub failed: Vec<(u64, String)>,
    /// First seed that broke the check a scenario expects to be broken.
    pub first_expected: Option<u64>,
}

impl Tally {
    /// Adds the outcome of one seed.
    pub fn add(&mut self, scenario: &Scenario, outcome: &Outcome) {
        self.seeds += 1;
        self.steps += outcome.steps;
        self.simulated_ns += outcome.simulated_ns;
        self.cpu_ns += outcome.cpu_ns;
        self.operations += outcome.operations;
        let merge = |into: &mut BTreeMap<&'static str, u64>, from: &BTreeMap<&'static str, u64>| {
            from.iter()
                .for_each(|(name, count)| *into.entry(name).or_default() += count);
        };
        for outage_ns in &outcome.outages_ns {
            *self.outages.entry(outage_ns / 10_000_000).or_default() += 1;
        }
        merge(&mut self.faults, &outcome.faults);
        merge(&mut self.marks, &outcome.marks);
        merge(&mut self.looked, &outcome.looked);
        if let Some(conformed) = &outcome.conformed {
            self.held += 1;
            self.conformed.add(conformed);
        }
        self.with_permitted_loss += u64::from(!outcome.permitted.is_empty());
        match outcome.class {
            run::Class::Holds => {}
            run::Class::Violated => self.violated.push((outcome.seed, outcome.headline())),
            run::Class::Stuck => self.stuck.push((outcome.seed, outcome.headline())),
        }
        if let Expect::Violates { check } = &scenario.expect
            && outcome.violates(check)
        {
            self.first_expected.get_or_insert(outcome.seed);
        }
    }

    /// The first seed on which something unexpected happened, and what.
    pub fn first_unexpected(&self, scenario: &Scenario) -> Option<(u64, &str)> {
        let unexpected = match scenario.expect {
            Expect::Passes => self
                .violated
                .first()
                .into_iter()
                .chain(self.stuck.first())
                .min_by_key(|(seed, _)| *seed),
            // Where a bug is switched on, a cluster that gets stuck is one more way to be broken.
            Expect::Violates { .. } => None,
        };
        unexpected.map(|(seed, headline)| (*seed, headline.as_str()))
    }

    /// Duties that a sweep of this size should have met and did not: mark, wanted, reached.
    pub fn unmet(&self, scenario: &Scenario) -> Vec<(String, u64, u64)> {
        let judged = scenario.sometimes.iter().filter(|duty| self.seeds >= duty.in_seeds);
        let reached = judged.map(|duty| {
            // A larger sweep owes proportionally more.
            let wanted = duty.at_least * (self.seeds / duty.in_seeds);
            (
                duty.mark.clone(),
                wanted,
                self.marks.get(duty.mark.as_str()).copied().unwrap_or(0),
            )
        });
        reached.filter(|(_, wanted, reached)| reached < wanted).collect()
    }

    /// The exit code of a sweep over this scenario alone.
    pub fn exit_code(&self, scenario: &Scenario) -> u8 {
        if !self.failed.is_empty() {
            return 6;
        }
        match &scenario.expect {
            Expect::Passes if !self.violated.is_empty() => 1,
            Expect::Passes if !self.stuck.is_empty() => 4,
            Expect::Violates { .. } if self.first_expected.is_none() => 1,
            _ if !self.unmet(scenario).is_empty() => 5,
            _ => 0,
        }
    }
}

/// Runs one seed on a thread of its own. A panic of the subject is a verdict (see [`run::run`]); `Err` is the
/// machine's failure, not the subject's.
pub fn run_one(scenario: &Arc<Scenario>, seed: u64, options: &Options) -> Result<Outcome, String> {
    let scenario = Arc::clone(scenario);
    let options = options.clone();
    let (mut outcome, cpu_ns) = isolated(seed, move || run::run(&scenario, seed, &options))?;
    outcome.cpu_ns = cpu_ns;
    Ok(outcome)
}

/// Sweeps one scenario; `each` sees every outcome in the order of the seeds.
pub fn sweep(scenario: &Arc<Scenario>, plan: &Plan, mut each: impl FnMut(&Outcome)) -> Tally {
    let total = plan.seeds;
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let (sender, receiver) = mpsc::sync_channel::<(u64, Result<Outcome, String>)>(plan.jobs * 4);
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            let sender = sender.clone();
            let (next, stop) = (&next, &stop);
            scope.spawn(move || {
                loop {
                    let late = plan.until.is_some_and(|until| Instant::now() >= until);
                    if late || stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= total {
                        break;
                    }
                    if index % plan.of != plan.shard {
                        continue;
                    }
                    let seed = plan.from + index;
                    if sender
                        .send((seed, run_one(scenario, seed, &plan.options(scenario, seed))))
                        .is_err()
                    {
                        break;
                    }
                }
            });
        }
        drop(sender);
        // Workers take seeds in order, so what is missing before a finished one is still under way.
        let mut early: BTreeMap<u64, Result<Outcome, String>> = BTreeMap::new();
        let mut expected = (plan.from..)
            .filter(|seed| (seed - plan.from) % plan.of == plan.shard)
            .peekable();
        for (seed, result) in receiver {
            early.insert(seed, result);
            // What comes after the seed that ended the sweep does not count: how much of it there is depends on luck.
            while !stop.load(Ordering::Relaxed)
                && let Some(result) = expected.peek().and_then(|seed| early.remove(seed))
            {
                let seed = expected.next().expect("peeked");
                match result {
                    Ok(outcome) => {
                        tally.add(scenario, &outcome);
                        each(&outcome);
                    }
                    Err(error) => tally.failed.push((seed, error)),
                }
                let found = tally.first_expected.is_some();
                let failed = tally.first_unexpected(scenario).is_some();
                let over = match plan.stop {
                    Stop::Found => found,
                    Stop::Failed => found || failed,
                    Stop::Never => false,
                };
                if over {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        }
    });
    tally
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Duty;

    fn tally(seeds: u64, marks: &[(&'static str, u64)]) -> Tally {
        Tally {
            seeds,
            marks: marks.iter().copied().collect(),
            ..Tally::default()
        }
    }

    fn scenario(expect: Expect, sometimes: Vec<Duty>) -> Scenario {
        let text =
            r#"{"name":"x","description":"","cluster":{"brokers":1},"duration_ms":1,"expect":{"verdict":"passes"}}"#;
        let mut scenario = crate::scenario::parse("x", text).expect("valid");
        scenario.expect = expect;
        scenario.sometimes = sometimes;
        scenario
    }

    #[test]
    fn an_unmet_duty_is_not_green_but_only_in_a_sweep_that_is_large_enough() {
        let duty = Duty {
            mark: "isr_shrank".to_owned(),
            at_least: 2,
            in_seeds: 100,
        };
        let scenario = scenario(Expect::Passes, vec![duty]);
        assert_eq!(tally(99, &[]).exit_code(&scenario), 0);
        assert_eq!(tally(100, &[("isr_shrank", 1)]).exit_code(&scenario), 5);
        assert_eq!(tally(100, &[("isr_shrank", 2)]).exit_code(&scenario), 0);
        assert_eq!(tally(300, &[("isr_shrank", 5)]).exit_code(&scenario), 5);
    }

    #[test]
    fn an_expected_violation_that_is_not_found_is_a_failure() {
        let scenario = scenario(Expect::Violates { check: "X3".to_owned() }, Vec::new());
        assert_eq!(tally(10, &[]).exit_code(&scenario), 1);
        let found = Tally {
            first_expected: Some(3),
            ..tally(10, &[])
        };
        assert_eq!(found.exit_code(&scenario), 0);
    }

    #[test]
    fn the_class_of_a_failure_is_the_exit_code() {
        let scenario = scenario(Expect::Passes, Vec::new());
        let violated = Tally {
            violated: vec![(1, String::new())],
            stuck: vec![(0, String::new())],
            ..tally(2, &[])
        };
        assert_eq!(violated.exit_code(&scenario), 1);
        assert_eq!(violated.first_unexpected(&scenario).map(|(seed, _)| seed), Some(0));
        let stuck = Tally {
            stuck: vec![(0, String::new())],
            ..tally(2, &[])
        };
        assert_eq!(stuck.exit_code(&scenario), 4);
        let failed = Tally {
            failed: vec![(0, String::new())],
            ..tally(2, &[])
        };
        assert_eq!(failed.exit_code(&scenario), 6);
    }
}
