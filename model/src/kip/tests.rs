//! Golden numbers: what TLC says of the published modules, and what this port of them says.

use super::{AsyncIsr, Kip101, Kip279, Kip320, Kip320FirstTry, Limits, Published, Revision, TruncateToHighWatermark};
use crate::check::{Options, Outcome, Spec, check};
use stateright::{Checker, Model};
use std::hash::Hash;

fn published<R: Revision>(constants: Constants) -> Published<R> {
    let (replicas, log_size, records, leader_epochs) = constants;
    Published::new(Limits {
        replicas,
        log_size,
        records,
        leader_epochs,
    })
    .unwrap()
}

fn options(workers: usize, symmetry: bool) -> Options {
    Options {
        workers,
        symmetry,
        ..Options::default()
    }
}

/// N, L, M, E.
type Constants = (u8, u8, u8, u8);
/// Constants; generated and distinct states and depth; states on the traces that break WeakIsr, StrongIsr, LogMatching.
type Golden = (Constants, (u64, u64, u32), [Option<usize>; 3]);

fn agrees_with_tlc<R: Revision>(goldens: &[Golden]) {
    for (constants, counts, traces) in goldens {
        let spec = published::<R>(*constants);
        let verdict = check(&spec, &options(2, false));
        assert_eq!(verdict.outcome, Outcome::Exhaustive);
        let ours = (verdict.generated, verdict.distinct, verdict.depth);
        assert_eq!(ours, *counts, "{constants:?}");
        let ours = ["WeakIsr", "StrongIsr", "LogMatching"].map(|name| verdict.trace_states(name));
        assert_eq!(ours, *traces, "{constants:?}");
        for name in ["TypeOk", "LeaderInIsr"] {
            assert!(
                !verdict.finding(name).unwrap().answer.is_failure(),
                "{name} {constants:?}"
            );
        }
        let examples = verdict
            .properties
            .iter()
            .filter(|finding| finding.answer.trace().is_some());
        let broken = traces.iter().flatten().count();
        assert_eq!(examples.count(), 3 + broken, "each `sometimes` has its example");
    }
}

#[test]
fn truncate_to_high_watermark_loses_what_it_acknowledged() {
    agrees_with_tlc::<TruncateToHighWatermark>(&[
        ((2, 2, 2, 1), (2_691, 1_251, 16), [Some(9), Some(10), None]),
        ((2, 2, 2, 2), (24_459, 10_131, 20), [Some(9), Some(10), None]),
        ((2, 2, 3, 2), (39_227, 16_949, 21), [Some(9), Some(10), Some(13)]),
        ((2, 3, 3, 2), (96_117, 37_667, 25), [Some(9), Some(10), Some(13)]),
        ((2, 3, 2, 3), (168_409, 62_855, 23), [Some(9), Some(10), None]),
        ((3, 2, 2, 1), (222_712, 67_807, 21), [Some(9), Some(9), None]),
        ((3, 2, 2, 2), (7_491_589, 1_988_158, 28), [Some(9), Some(9), None]),
    ]);
}

#[test]
fn kip_101_diverges_after_fast_leader_changes() {
    agrees_with_tlc::<Kip101>(&[
        ((2, 2, 2, 1), (2_483, 1_177, 15), [None, None, None]),
        ((2, 2, 2, 2), (21_447, 9_045, 18), [Some(12), Some(12), None]),
        ((2, 2, 3, 2), (34_265, 15_055, 19), [Some(12), Some(12), Some(12)]),
        ((2, 3, 3, 2), (81_253, 32_933, 21), [Some(12), Some(12), Some(12)]),
        ((2, 3, 2, 3), (141_211, 53_413, 21), [Some(12), Some(12), None]),
        ((3, 2, 2, 1), (187_996, 59_788, 22), [None, Some(12), None]),
        ((3, 2, 2, 2), (5_796_838, 1_613_089, 26), [Some(11), Some(11), None]),
    ]);
}

#[test]
fn kip_279_holds_with_two_replicas_only() {
    agrees_with_tlc::<Kip279>(&[
        ((2, 2, 2, 1), (2_753, 1_177, 15), [None, None, None]),
        ((2, 2, 2, 2), (23_425, 9_027, 18), [None, None, None]),
        ((2, 2, 3, 2), (36_369, 14_915, 19), [None, None, None]),
        ((2, 3, 3, 2), (86_831, 32_713, 21), [None, None, None]),
        ((2, 3, 2, 3), (152_513, 53_099, 21), [None, None, None]),
        ((3, 2, 2, 1), (220_384, 60_106, 22), [None, Some(12), None]),
        ((3, 2, 2, 2), (6_718_690, 1_616_461, 26), [Some(11), Some(11), None]),
    ]);
}

#[test]
fn the_first_try_of_kip_320_commits_what_a_follower_then_truncates() {
    agrees_with_tlc::<Kip320FirstTry>(&[
        ((2, 2, 2, 1), (2_399, 1_165, 15), [None, None, None]),
        ((2, 2, 2, 2), (19_387, 8_429, 18), [None, None, None]),
        ((2, 2, 3, 2), (33_495, 15_107, 20), [None, None, None]),
        ((2, 3, 3, 2), (73_715, 30_737, 22), [None, None, None]),
        ((2, 3, 2, 3), (118_881, 46_465, 21), [None, None, None]),
        ((3, 2, 2, 1), (179_830, 59_092, 22), [None, None, None]),
        ((3, 2, 2, 2), (4_966_921, 1_437_076, 28), [Some(12), Some(13), None]),
    ]);
}

#[test]
fn kip_320_holds() {
    agrees_with_tlc::<Kip320>(&[
        ((2, 2, 2, 1), (1_819, 957, 15), [None, None, None]),
        ((2, 2, 2, 2), (11_839, 5_973, 18), [None, None, None]),
        ((2, 2, 3, 2), (20_601, 10_595, 19), [None, None, None]),
        ((2, 3, 3, 2), (45_141, 21_493, 22), [None, None, None]),
        ((2, 3, 2, 3), (59_571, 28_939, 22), [None, None, None]),
        ((3, 2, 2, 1), (104_488, 39_619, 22), [None, None, None]),
        ((3, 2, 2, 2), (1_967_560, 737_794, 26), [None, None, None]),
    ]);
}

/// The second checker: stateright's own, which knows neither packing nor levels.
fn agrees_with_stateright<S>(spec: S)
where
    S: Spec<State: Hash + Send + Sync> + Clone + 'static,
{
    let ours = check(&spec, &options(2, false));
    let theirs = spec.checker().spawn_dfs().join();
    let counts = (theirs.unique_state_count() as u64, theirs.state_count() as u64);
    assert_eq!(counts, (ours.distinct, ours.generated));
    for finding in ours.properties {
        let theirs = theirs.discovery(finding.name).is_some();
        assert_eq!(finding.answer.trace().is_some(), theirs, "{}", finding.name);
    }
}

#[test]
fn stateright_counts_the_same() {
    for constants in [(2, 2, 3, 2), (3, 2, 2, 1)] {
        agrees_with_stateright(published::<TruncateToHighWatermark>(constants));
        agrees_with_stateright(published::<Kip101>(constants));
        agrees_with_stateright(published::<Kip279>(constants));
        agrees_with_stateright(published::<Kip320FirstTry>(constants));
        agrees_with_stateright(published::<Kip320>(constants));
    }
    agrees_with_stateright(AsyncIsr::new(3, 1, 2).unwrap());
}

#[test]
fn a_key_is_the_whole_state_and_nothing_else() {
    fn turns_back<R: Revision>(constants: Constants) {
        let spec = published::<R>(constants);
        let mut state = spec.init_states()[0];
        // A walk that prefers what is rare: the last successor, then the one before it, and so on.
        for step in 0..200 {
            assert_eq!(spec.unpack(spec.key(&state)), state);
            let mut next = Vec::new();
            spec.successors(&state, &mut |_, after| next.push(after));
            match next.len() {
                0 => return,
                len => state = next[len - 1 - step % len],
            }
        }
    }
    for constants in [(2, 2, 2, 1), (3, 2, 2, 2), (3, 3, 4, 3), (2, 4, 8, 2), (5, 1, 1, 1)] {
        turns_back::<TruncateToHighWatermark>(constants);
        turns_back::<Kip320FirstTry>(constants);
        turns_back::<Kip320>(constants);
    }
}

#[test]
fn bounds_that_cannot_be_searched_are_refused_by_name() {
    let refused = |replicas, log_size| {
        let limits = Limits {
            replicas,
            log_size,
            records: 8,
            leader_epochs: 8,
        };
        Published::<Kip320>::new(limits).unwrap_err()
    };
    assert_eq!(refused(3, 0), "`log_size` must be between 1 and 8, not 0");
    assert!(refused(6, 1).starts_with("`replicas`"));
    assert!(
        refused(5, 8).contains("bits, more than the 112 of a key"),
        "{}",
        refused(5, 8)
    );
}

#[test]
fn states_alike_are_counted_once_and_nothing_is_missed() {
    fn judge<R: Revision>(factor: u64) {
        let spec = published::<R>((3, 2, 2, 1));
        let all = check(&spec, &options(2, false));
        let alike = check(&spec, &options(2, true));
        assert!(alike.symmetry && !all.symmetry);
        assert_eq!(alike.depth, all.depth);
        for (all, alike) in all.properties.iter().zip(&alike.properties) {
            let states = |answer: &crate::check::Answer<_, _>| answer.trace().map(|trace| trace.states.len());
            assert_eq!(states(&all.answer), states(&alike.answer), "{}", all.name);
            for (before, action, after) in alike.answer.trace().iter().flat_map(|trace| trace.steps()) {
                assert_eq!(spec.next_state(before, *action).as_ref(), Some(after));
            }
        }
        assert!(alike.distinct * factor > all.distinct, "never more than 3! alike");
        assert!(
            alike.distinct * (factor - 1) < all.distinct,
            "{} of {}",
            alike.distinct,
            all.distinct
        );
    }
    judge::<Kip320>(6);
    judge::<Kip279>(6);
}

#[test]
fn an_asynchronous_isr_is_safe_only_if_what_is_pending_counts() {
    let counts = |replicas, max_offset, max_version| {
        let verdict = check(
            &AsyncIsr::new(replicas, max_offset, max_version).unwrap(),
            &options(2, false),
        );
        assert!(verdict.holds(), "{verdict}");
        (verdict.generated, verdict.distinct, verdict.depth)
    };
    for ((replicas, max_offset, max_version), tlc) in [
        ((2, 1, 1), (54, 24, 7)),
        ((2, 2, 2), (217, 84, 12)),
        ((2, 2, 3), (469, 168, 15)),
        ((3, 1, 2), (4_937, 1_460, 14)),
        ((3, 2, 2), (15_597, 4_088, 17)),
        ((3, 1, 3), (27_401, 8_020, 18)),
    ] {
        assert_eq!(counts(replicas, max_offset, max_version), tlc);
    }
    let verdict = check(
        &AsyncIsr::new(3, 1, 2).unwrap().with_proposed_isr_alone(),
        &options(2, false),
    );
    assert_eq!(verdict.trace_states("ValidHighWatermark"), Some(4));
}
