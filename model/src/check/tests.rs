//! The checker on a model small enough to know the answers by hand, and against stateright's own search.

use super::{Answer, Limit, Limits, Options, Outcome, Spec, Stop, VerdictOf, check, check_with};
use serde::Serialize;
use stateright::{Checker, Model, Property};

/// Three counters up to `most`, which can be raised by one, or swapped with their neighbour. All must start at zero.
#[derive(Clone, Debug)]
struct Counters<const PACKED: bool> {
    most: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "action")]
enum Move {
    Raise { counter: usize },
    Swap { left: usize },
}

type State = [u8; 3];

impl<const PACKED: bool> Model for Counters<PACKED> {
    type State = State;
    type Action = Move;

    fn init_states(&self) -> Vec<State> {
        vec![[0; 3]]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Move>) {
        actions.extend(
            (0..3)
                .filter(|i| state[*i] < self.most)
                .map(|counter| Move::Raise { counter }),
        );
        actions.extend((0..2).map(|left| Move::Swap { left }));
    }

    fn next_state(&self, state: &State, action: Move) -> Option<State> {
        let mut next = *state;
        match action {
            Move::Raise { counter } => next[counter] += 1,
            Move::Swap { left } => next.swap(left, left + 1),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("sum is never 7", |_, state: &State| state.iter().sum::<u8>() != 7),
            Property::always("sum is never 3", |_, state: &State| state.iter().sum::<u8>() != 3),
            Property::always("no counter beyond", |model: &Self, state: &State| {
                state.iter().all(|n| *n <= model.most)
            }),
            Property::sometimes("all at most", |model: &Self, state: &State| {
                state.iter().all(|n| *n == model.most)
            }),
            Property::sometimes("a hundred", |_, state: &State| state.contains(&100)),
        ]
    }
}

impl<const PACKED: bool> Spec for Counters<PACKED> {
    const PACKED: bool = PACKED;

    fn key(&self, state: &State) -> u128 {
        match PACKED {
            true => state.iter().fold(0, |key, n| key << 8 | u128::from(*n)),
            false => u128::from(super::fingerprint(state)),
        }
    }

    fn unpack(&self, key: u128) -> State {
        [(key >> 16) as u8, (key >> 8) as u8, key as u8]
    }

    fn representative(&self, state: &State) -> Option<State> {
        let mut sorted = *state;
        sorted.sort_unstable();
        Some(sorted)
    }
}

const HASHED: Counters<false> = Counters { most: 20 };
const PACKED: Counters<true> = Counters { most: 20 };

fn plain(workers: usize) -> Options {
    Options {
        workers,
        symmetry: false,
        ..Options::default()
    }
}

fn traces<S: Spec<State = State, Action = Move>>(spec: &S, options: &Options) -> Vec<Option<(Vec<State>, Vec<Move>)>> {
    let verdict = check(spec, options);
    let findings = verdict.properties.into_iter();
    findings
        .map(|finding| {
            let trace = finding.answer.trace()?;
            Some((trace.states.clone(), trace.actions.clone()))
        })
        .collect()
}

fn counts<S: Spec>(verdict: &VerdictOf<S>) -> (u64, u64, u32) {
    (verdict.distinct, verdict.generated, verdict.depth)
}

#[test]
fn each_property_gets_its_shortest_trace_whatever_the_others_do() {
    fn judge<S: Spec<State = State, Action = Move>>(spec: &S) {
        let verdict = check(spec, &plain(1));
        assert_eq!(verdict.outcome, Outcome::Exhaustive);
        assert_eq!(counts::<S>(&verdict), (9_261, 1 + 2 * 9_261 + 3 * 20 * 441, 61));
        let lengths = verdict.properties.iter().map(|finding| {
            let trace = finding.answer.trace();
            trace.map(|trace| trace.states.len())
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [Some(8), Some(4), None, Some(61), None]);
        assert!(matches!(verdict.properties[2].answer, Answer::Holds));
        assert!(matches!(verdict.properties[3].answer, Answer::Example(_)));
        assert!(
            matches!(verdict.properties[4].answer, Answer::NeverReached),
            "a failure, not a pass"
        );
        assert!(!verdict.holds());
        let sum_of_last = |name| {
            verdict
                .finding(name)
                .unwrap()
                .answer
                .trace()
                .unwrap()
                .last()
                .iter()
                .sum::<u8>()
        };
        assert_eq!(sum_of_last("sum is never 7"), 7);
        for finding in &verdict.properties {
            for (before, action, after) in finding.answer.trace().iter().flat_map(|trace| trace.steps()) {
                assert_eq!(
                    spec.next_state(before, action.clone()).as_ref(),
                    Some(after),
                    "a real step"
                );
            }
        }
    }
    judge(&HASHED);
    judge(&PACKED);
}

#[test]
fn the_same_counts_and_traces_on_any_number_of_threads() {
    for symmetry in [false, true] {
        let options = |workers| Options {
            symmetry,
            ..plain(workers)
        };
        let large = Counters::<false> { most: 30 };
        let packed = Counters::<true> { most: 30 };
        let one = (traces(&large, &options(1)), traces(&packed, &options(1)));
        for workers in [2, 3, 8] {
            assert_eq!(
                counts::<Counters<false>>(&check(&large, &options(1))),
                counts::<Counters<false>>(&check(&large, &options(workers)))
            );
            assert_eq!(traces(&large, &options(workers)), one.0);
            assert_eq!(traces(&packed, &options(workers)), one.1);
        }
    }
}

#[test]
fn stateright_counts_the_same() {
    let ours = check(&HASHED, &plain(2));
    let dfs = HASHED.checker().spawn_dfs().join();
    let bfs = HASHED.checker().spawn_bfs().join();
    for (unique, all) in [
        (dfs.unique_state_count(), dfs.state_count()),
        (bfs.unique_state_count(), bfs.state_count()),
    ] {
        assert_eq!((unique as u64, all as u64), (ours.distinct, ours.generated));
    }
}

#[test]
fn symmetry_counts_states_alike_once_and_its_traces_are_real() {
    for verdict in [check(&HASHED, &Options::default()), check(&PACKED, &Options::default())] {
        // Multisets of three numbers out of twenty-one.
        assert_eq!((verdict.distinct, verdict.depth), (21 * 22 * 23 / 6, 61));
        assert!(verdict.symmetry);
        let example = verdict.finding("all at most").unwrap().answer.trace().unwrap();
        assert_eq!(example.states[0], [0; 3]);
        assert_eq!(example.last(), &[20; 3]);
        for (before, action, after) in example.steps() {
            assert_eq!(HASHED.next_state(before, action.clone()).as_ref(), Some(after));
        }
    }
}

#[test]
fn a_search_that_was_cut_says_so_and_decides_nothing() {
    let limits = |limits| Options { limits, ..plain(2) };
    let depth = check(
        &PACKED,
        &limits(Limits {
            depth: Some(5),
            ..Limits::default()
        }),
    );
    // Fifteen ways to a sum of four: they are looked at, but not expanded.
    let queue = 15;
    assert_eq!(
        depth.outcome,
        Outcome::Cut {
            limit: Limit::Depth(5),
            queue
        }
    );
    assert_eq!(depth.depth, 5);
    assert!(matches!(
        depth.finding("sum is never 3").unwrap().answer,
        Answer::Counterexample(_)
    ));
    assert!(matches!(
        depth.finding("sum is never 7").unwrap().answer,
        Answer::Undecided
    ));
    assert!(matches!(
        depth.finding("no counter beyond").unwrap().answer,
        Answer::Undecided
    ));
    assert!(matches!(depth.finding("a hundred").unwrap().answer, Answer::Undecided));
    assert!(!depth.holds());
    assert!(
        depth
            .to_string()
            .starts_with("cut at depth 5, 35 states, 15 of them not expanded: deeper than 5; try")
    );

    let large = Counters::<false> { most: 250 };
    let states = check(
        &large,
        &limits(Limits {
            states: Some(100_000),
            ..Limits::default()
        }),
    );
    assert!(matches!(states.outcome, Outcome::Cut { limit: Limit::States(100_000), queue } if queue > 0));
    let bytes = check(
        &large,
        &limits(Limits {
            bytes: Some(4 << 20),
            ..Limits::default()
        }),
    );
    assert!(matches!(
        bytes.outcome,
        Outcome::Cut {
            limit: Limit::Bytes(_),
            ..
        }
    ));
    assert!(bytes.peak_bytes < 6 << 20, "{}", bytes.peak_bytes);
    let time = check(
        &large,
        &limits(Limits {
            time: Some(std::time::Duration::ZERO),
            ..Limits::default()
        }),
    );
    assert!(matches!(
        time.outcome,
        Outcome::Cut {
            limit: Limit::Seconds(0),
            ..
        }
    ));
}

#[test]
fn a_limit_that_is_just_enough_cuts_nothing() {
    let options = Options {
        limits: Limits {
            states: Some(9_261),
            depth: Some(62),
            ..Limits::default()
        },
        ..plain(2)
    };
    assert_eq!(check(&PACKED, &options).outcome, Outcome::Exhaustive);
}

#[test]
fn a_search_for_one_thing_ends_with_its_level() {
    let when = |stop| Options { stop, ..plain(2) };
    let first = check(&PACKED, &when(Stop::AtFirstCounterexample));
    assert_eq!((first.outcome, first.depth), (Outcome::Found, 4));
    let seven = check(&PACKED, &when(Stop::WhenFound(vec!["sum is never 7".to_owned()])));
    assert_eq!((seven.outcome, seven.depth), (Outcome::Found, 8));
    assert_eq!(seven.trace_states("sum is never 3"), Some(4));
    assert!(matches!(
        seven.finding("all at most").unwrap().answer,
        Answer::Undecided
    ));
    let never = check(&PACKED, &when(Stop::WhenFound(vec!["a hundred".to_owned()])));
    assert_eq!(never.outcome, Outcome::Exhaustive);
}

#[test]
fn progress_is_told_and_grows() {
    let mut told = Vec::new();
    check_with(&HASHED, &plain(1), &mut |progress| told.push(*progress));
    assert!(
        told.windows(2)
            .all(|pair| pair[0].distinct <= pair[1].distinct && pair[0].depth <= pair[1].depth)
    );
    let last = told.last().unwrap();
    assert_eq!(
        (last.depth, last.distinct, last.generated, last.queue),
        (61, 9_261, 44_983, 0)
    );
}

#[test]
fn the_price_of_a_state_and_the_trust_in_it_are_told() {
    let large = check(&Counters::<true> { most: 100 }, &plain(1));
    assert_eq!(large.distinct, 101 * 101 * 101);
    assert!(large.bytes_per_state() < 40.0, "{}", large.bytes_per_state());
    assert_eq!(large.collision_bound(), 0.0);
    let hashed = check(&HASHED, &plain(1));
    assert!(
        (1e-13..1e-11).contains(&hashed.collision_bound()),
        "{}",
        hashed.collision_bound()
    );
}

/// Says that left and right are alike, though only the left one ever moves.
#[derive(Clone, Debug)]
struct Liar;

impl Model for Liar {
    type State = (u8, u8);
    type Action = ();

    fn init_states(&self) -> Vec<(u8, u8)> {
        vec![(0, 0)]
    }

    fn actions(&self, state: &(u8, u8), actions: &mut Vec<()>) {
        actions.extend((state.0 == 0).then_some(()));
    }

    fn next_state(&self, state: &(u8, u8), _: ()) -> Option<(u8, u8)> {
        Some((1, state.1))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("not both", |_, state: &(u8, u8)| *state != (1, 1))]
    }
}

impl Spec for Liar {
    const PACKED: bool = true;

    fn key(&self, state: &(u8, u8)) -> u128 {
        u128::from(state.0) << 8 | u128::from(state.1)
    }

    fn unpack(&self, key: u128) -> (u8, u8) {
        ((key >> 8) as u8, key as u8)
    }

    fn representative(&self, state: &(u8, u8)) -> Option<(u8, u8)> {
        Some((state.0.min(state.1), state.0.max(state.1)))
    }
}

#[test]
#[should_panic(expected = "its `representative` is not sound")]
fn a_symmetry_that_is_none_is_noticed_when_a_trace_is_drawn() {
    check(&Liar, &Options::default());
}

#[test]
#[should_panic(expected = "an `eventually`")]
fn what_cannot_be_judged_is_refused() {
    #[derive(Clone, Debug)]
    struct Hopeful;
    impl Model for Hopeful {
        type State = u8;
        type Action = ();
        fn init_states(&self) -> Vec<u8> {
            vec![0]
        }
        fn actions(&self, _: &u8, _: &mut Vec<()>) {}
        fn next_state(&self, _: &u8, _: ()) -> Option<u8> {
            None
        }
        fn properties(&self) -> Vec<Property<Self>> {
            vec![Property::eventually("one", |_, state| *state == 1)]
        }
    }
    impl Spec for Hopeful {}
    check(&Hopeful, &Options::default());
}
