//! Charts of a sweep.

use super::Figure;
use super::chart::{Bar, TEXT, bars, legend, line, svg};
use plotters::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What of a sweep's summary is drawn.
#[derive(Clone, Debug, Deserialize)]
pub struct Sweep {
    /// The commit of the checkout.
    pub commit: Option<String>,
    /// In the order in which they ran.
    pub scenarios: Vec<Scenario>,
}

/// One scenario.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Scenario {
    /// Its name.
    pub scenario: String,
    /// Seeds that ran.
    pub seeds: u64,
    /// Seeds that were asked for; none: as many as the time allowed.
    pub budget: Option<u64>,
    /// Steps of the world.
    pub steps: u64,
    /// CPU milliseconds.
    pub cpu_ms: u64,
    /// In words.
    pub verdict: String,
    /// 0: as expected.
    pub code: u8,
    /// Injected, by kind.
    pub faults: BTreeMap<String, u64>,
    /// How often each check compared something.
    pub looked: BTreeMap<String, u64>,
    /// Outages by their length in whole hundredths of a second.
    pub outages: BTreeMap<u64, u64>,
    /// Seeds that broke a check or did not converge.
    pub failures: Vec<Failure>,
}

/// A seed that failed.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Failure {
    /// Its number.
    pub seed: u64,
}

/// Lines of the chart of outages: more cannot be told apart.
const LINES: usize = 6;

/// All its charts.
pub fn figures(sweep: &Sweep) -> Vec<Figure> {
    let scenarios = &sweep.scenarios;
    let per_cpu_s = |what: fn(&Scenario) -> u64| {
        move |scenario: &Scenario| what(scenario) as f64 * 1e3 / scenario.cpu_ms.max(1) as f64
    };
    vec![
        Figure {
            title: "Without a leader".to_owned(),
            caption: format!(
                "From the end of a leader's process to the next leader's beginning: the share of these outages that was \
                 over within so many seconds, for the {LINES} scenarios with most of them. Each has a colour and a dash \
                 of its own."
            ),
            svg: outages(scenarios),
        },
        counted(
            "Seeds a CPU second",
            "Whole runs, with every check, for each second of CPU time.",
            "seeds a CPU second",
            scenarios
                .iter()
                .map(|one| (one.scenario.clone(), per_cpu_s(|one| one.seeds)(one))),
        ),
        counted(
            "Steps a CPU second",
            "Steps of the world, with every check, for each second of CPU time.",
            "steps a CPU second",
            scenarios
                .iter()
                .map(|one| (one.scenario.clone(), per_cpu_s(|one| one.steps)(one))),
        ),
        counted(
            "Faults",
            "How often each kind of fault was carried out, all scenarios.",
            "faults",
            summed(scenarios, |one| &one.faults),
        ),
        counted(
            "Checks that looked",
            "How often each check really compared something, all scenarios. One that never looks would prove nothing.",
            "comparisons",
            summed(scenarios, |one| &one.looked),
        ),
        Figure {
            title: "First failing seed against the budget".to_owned(),
            caption:
                "For scenarios in which a bug is switched on, or something failed: how many seeds it took. For the \
                      others all their seeds were silent."
                    .to_owned(),
            svg: first_failures(scenarios),
        },
    ]
}

fn summed(scenarios: &[Scenario], of: fn(&Scenario) -> &BTreeMap<String, u64>) -> impl Iterator<Item = (String, f64)> {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for (name, count) in scenarios.iter().flat_map(of) {
        *sums.entry(name.clone()).or_default() += count;
    }
    sums.into_iter().map(|(name, count)| (name, count as f64))
}

fn counted(title: &str, caption: &str, axis: &str, values: impl Iterator<Item = (String, f64)>) -> Figure {
    let rows: Vec<Bar> = values
        .map(|(label, value)| Bar {
            label,
            value,
            words: match value {
                100.0.. => crate::table::short(value as u64),
                _ => format!("{value:.1}").trim_end_matches(".0").to_owned(),
            },
        })
        .collect();
    Figure {
        title: title.to_owned(),
        caption: format!("{caption} The axis is logarithmic."),
        svg: bars(&rows, axis),
    }
}

/// How many seeds it took to find what fails, or how many were silent.
fn first_failures(scenarios: &[Scenario]) -> String {
    let rows: Vec<Bar> = scenarios
        .iter()
        .map(|one| {
            let first = one.failures.iter().map(|failure| failure.seed).min();
            let budget = one.budget.map_or(String::new(), |budget| format!(" of {budget}"));
            Bar {
                label: one.scenario.clone(),
                value: first.map_or(one.seeds as f64, |seed| (seed + 1) as f64),
                words: match first {
                    Some(seed) => format!("fails at seed {seed}{budget}"),
                    None => format!("{} silent", one.seeds),
                },
            }
        })
        .collect();
    bars(&rows, "seeds")
}

/// The share of the outages that was over by then: (seconds, percent).
fn over_by(outages: &BTreeMap<u64, u64>) -> Vec<(f64, f64)> {
    let all: u64 = outages.values().sum();
    let mut over = 0;
    let mut line = vec![(0.0, 0.0)];
    for (hundredths, count) in outages {
        let at = (*hundredths + 1) as f64 / 100.0;
        line.push((at, 100.0 * over as f64 / all as f64));
        over += count;
        line.push((at, 100.0 * over as f64 / all as f64));
    }
    line
}

fn outages(scenarios: &[Scenario]) -> String {
    let count = |scenario: &Scenario| scenario.outages.values().sum::<u64>();
    let mut most: Vec<&Scenario> = scenarios.iter().filter(|one| count(one) > 0).collect();
    most.sort_by_key(|one| std::cmp::Reverse(count(one)));
    most.truncate(LINES);
    let longest = most.iter().filter_map(|one| one.outages.keys().last()).max();
    let end = longest.map_or(1.0, |hundredths| (*hundredths + 2) as f64 / 100.0);
    svg(420, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(42)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..end, 0.0..104.0)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("simulated seconds")
            .y_desc("% over")
            .label_style(TEXT)
            .draw()?;
        for (at, one) in most.iter().enumerate() {
            let mut points = over_by(&one.outages);
            points.push((end, 100.0));
            let label = format!("{} ({})", one.scenario, count(one));
            line(&mut chart, at, 2, points, Some(label))?;
        }
        if most.is_empty() {
            let words = Text::new("no leader's process ended", (0, 0), TEXT);
            chart.draw_series([EmptyElement::at((end / 3.0, 50.0)) + words])?;
            return Ok(());
        }
        legend(&mut chart)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(name: &str) -> Scenario {
        Scenario {
            scenario: name.to_owned(),
            seeds: 90,
            budget: Some(90),
            steps: 1_000_000,
            cpu_ms: 2_000,
            faults: BTreeMap::from([("kill".to_owned(), 7), ("pause".to_owned(), 2)]),
            looked: BTreeMap::from([("X3".to_owned(), 12_000)]),
            outages: BTreeMap::from([(10, 3), (250, 1)]),
            ..Scenario::default()
        }
    }

    #[test]
    fn outages_add_up_to_all_of_them() {
        let line = over_by(&BTreeMap::from([(10, 3), (250, 1)]));
        assert_eq!(
            line,
            [(0.0, 0.0), (0.11, 0.0), (0.11, 75.0), (2.51, 75.0), (2.51, 100.0)]
        );
    }

    #[test]
    fn a_sweep_shows_what_looked_what_struck_and_what_failed() {
        let failing = Scenario {
            failures: vec![Failure { seed: 40 }, Failure { seed: 7 }],
            ..scenario("red")
        };
        let sweep = Sweep {
            commit: None,
            scenarios: vec![scenario("green"), failing],
        };
        let figures = figures(&sweep);
        let text = |at: usize| figures[at].svg.as_str();
        assert!(text(0).contains("green (4)") && text(0).contains("red (4)"));
        assert!(text(1).contains("45"), "seeds a CPU second");
        assert!(text(2).contains("500k"), "steps a CPU second");
        assert!(text(3).contains("kill") && text(3).contains("14"));
        assert!(text(4).contains("X3") && text(4).contains("24k"));
        assert!(text(5).contains("90 silent") && text(5).contains("fails at seed 7 of 90"));
        let quiet = Sweep {
            commit: None,
            scenarios: vec![Scenario::default()],
        };
        assert!(super::figures(&quiet)[0].svg.contains("no leader"));
    }
}
