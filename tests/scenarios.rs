//! The scenarios as a whole: every claim of this part of the doctrine is on trial, every scenario gives its expected
//! verdict over some seeds, and a change of one knob changes the verdict where it should.

use highwater::checks::Checks;
use highwater::conform::scope::uncovered;
use highwater::run::{Class, Layout, Observer, Options, observe};
use highwater::scenario::{self, Expect, Scenario};
use highwater::sweep::{Plan, run_one, sweep};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

fn scenarios() -> Vec<Arc<Scenario>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let load = |path: &std::path::PathBuf| {
        let scenario = scenario::load(path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            path.file_stem().and_then(|stem| stem.to_str()),
            Some(scenario.name.as_str()),
            "a file is named as its scenario"
        );
        Arc::new(scenario)
    };
    scenario::files(&dir).expect("scenarios/").iter().map(load).collect()
}

fn named(name: &str) -> Arc<Scenario> {
    scenarios()
        .into_iter()
        .find(|scenario| scenario.name == name)
        .unwrap_or_else(|| panic!("there is no {name}"))
}

#[test]
fn every_claim_about_replication_is_on_trial() {
    let claimed: BTreeSet<String> = scenarios()
        .iter()
        .flat_map(|scenario| scenario.claims.clone())
        .collect();
    let numbers = [1]
        .into_iter()
        .chain(6..=17)
        .chain([19, 20])
        .chain(22..=25)
        .chain(40..=46);
    let missing: Vec<String> = numbers
        .map(|number| format!("N{number:02}"))
        .filter(|id| !claimed.contains(id))
        .collect();
    assert!(missing.is_empty(), "no scenario for {missing:?}");
}

/// Counts which servers are found down, whenever anything happens.
#[derive(Default)]
struct Down(BTreeSet<String>);

impl Observer for Down {
    fn step(
        &mut self,
        _: &sim::step::Stepped,
        world: &sim::world::World<highwater::cluster::Cluster>,
        layout: &Layout,
    ) {
        let down = layout.server_nodes().into_iter().filter(|node| !world.is_up(*node));
        self.0
            .extend(down.map(|node| layout.names[usize::from(node.0)].clone()));
    }
}

#[test]
fn who_is_spared_by_the_swarm_is_always_up() {
    for (name, spared) in [
        ("museum-22-prev-epoch-commit", "b1"),
        ("museum-04-lagging-hw-join", "c1"),
    ] {
        let mut scenario = (*named(name)).clone();
        scenario.rules.clear();
        let mut down = Down::default();
        for seed in 0..10 {
            observe(&scenario, seed, &Options::default(), &mut down);
        }
        let others = scenario.node_names().into_iter().filter(|node| node != spared);
        assert_eq!(down.0, others.collect(), "{name}");
    }
}

#[test]
fn every_healthy_scenario_gives_its_verdict() {
    let mut wrong = Vec::new();
    for scenario in scenarios()
        .into_iter()
        .filter(|scenario| scenario.expect == Expect::Passes)
    {
        let plan = Plan::of(100..108);
        let tally = sweep(&scenario, &plan, |_| ());
        assert_eq!(tally.seeds, 8);
        if let Some((seed, headline)) = tally.first_unexpected(&scenario) {
            wrong.push(format!("{} seed {seed}: {headline}", scenario.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_check_is_blind_over_the_healthy_scenarios() {
    let mut looked: BTreeSet<&'static str> = BTreeSet::new();
    for scenario in scenarios()
        .into_iter()
        .filter(|scenario| scenario.expect == Expect::Passes)
    {
        let options = Options {
            conform: uncovered(&scenario).is_none(),
            ..Options::default()
        };
        let outcome = run_one(&scenario, 3, &options).expect("the machine works");
        looked.extend(
            outcome
                .looked
                .iter()
                .filter(|(_, count)| **count > 0)
                .map(|(id, _)| *id),
        );
    }
    // C2 speaks of idempotent producers, D2 of topics that flush before they acknowledge: no scenario has them.
    let excused = ["C2", "D2"];
    let blind: Vec<_> = Checks::list()
        .iter()
        .map(|check| check.id)
        .filter(|id| !looked.contains(id) && !excused.contains(id))
        .collect();
    assert!(blind.is_empty(), "these checks compared nothing: {blind:?}");
}

#[test]
fn section_17_says_what_every_client_was_told() {
    let outcome = run_one(&named("section-17-timeline"), 0, &Options::default()).expect("the machine works");
    assert_eq!(outcome.class, Class::Holds, "{}", outcome.headline());
    assert!(outcome.marks.contains_key("truncation_happened"), "{:?}", outcome.marks);
    assert_eq!(
        outcome.permitted.len(),
        1,
        "p1 was told that its record is written, and it is gone: {:?}",
        outcome.permitted
    );
    assert!(outcome.permitted[0].contains("p1-00000000"), "{:?}", outcome.permitted);
}

#[test]
fn one_knob_makes_the_difference_between_loss_and_none() {
    let lossy = named("acks-1");
    let safe = named("acks-all");
    let plan = Plan::of(0..30);
    let (mut lost, mut kept) = (0, 0);
    sweep(&lossy, &plan, |outcome| lost += outcome.permitted.len());
    sweep(&safe, &plan, |outcome| kept += outcome.permitted.len());
    assert!(lost > 0, "acks=1 told success for records that are gone");
    assert_eq!(kept, 0, "acks=all did not");
}
