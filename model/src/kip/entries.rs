//! The published specifications in the catalogue.

use super::{AsyncIsr, Kip101, Kip279, Kip320, Kip320FirstTry, Limits, Published, Revision, TruncateToHighWatermark};
use crate::catalogue::{Bound, Bounds, Entry, Visitor, Wrong};

const BOUNDS: &[Bound] = &[
    Bound::given("replicas", 2, 5),
    Bound::given("log_size", 1, 8),
    Bound::given("records", 1, 8),
    Bound::given("leader_epochs", 1, 8),
];

const ASYNC_BOUNDS: &[Bound] = &[
    Bound::given("replicas", 2, 5),
    Bound::given("max_offset", 1, 200),
    Bound::given("max_version", 1, 8),
];

const HW_FROM_PROPOSED_ISR: &str = "hw_from_proposed_isr";

const fn published(name: &'static str, about: &'static str, source: &'static str) -> Entry {
    Entry {
        name,
        about,
        source,
        bounds: BOUNDS,
        rules: &[],
    }
}

/// Each of them.
pub(crate) const ENTRIES: &[Entry] = &[
    published(
        "truncate-to-high-watermark",
        "A replica that becomes follower truncates its log to its own high watermark",
        "KafkaTruncateToHighWatermark.tla",
    ),
    published(
        "kip-101",
        "It truncates to where the leader's log leaves the epoch that its own ends with",
        "Kip101.tla, KIP-101",
    ),
    published(
        "kip-279",
        "It truncates to the last record that the leader has too",
        "Kip279.tla, KIP-279",
    ),
    published(
        "kip-320-first-try",
        "It truncates whenever the leader finds that the epoch of its last record does not match",
        "Kip320FirstTry.tla",
    ),
    published(
        "kip-320",
        "Fetch, truncation, high watermark and ISR are fenced by the leader epoch",
        "Kip320.tla, KIP-320",
    ),
    Entry {
        name: "async-isr",
        about: "The leader asks for a new ISR, learns of it later, and counts both until then",
        source: "AsyncIsr.tla, KIP-497",
        bounds: ASYNC_BOUNDS,
        rules: &[HW_FROM_PROPOSED_ISR],
    },
];

/// Opens one of them.
pub(crate) fn open<V: Visitor>(name: &str, bounds: &Bounds, rules: &[String], visitor: V) -> Result<V::Output, Wrong> {
    match name {
        "truncate-to-high-watermark" => revision::<TruncateToHighWatermark, V>(bounds, visitor),
        "kip-101" => revision::<Kip101, V>(bounds, visitor),
        "kip-279" => revision::<Kip279, V>(bounds, visitor),
        "kip-320-first-try" => revision::<Kip320FirstTry, V>(bounds, visitor),
        "kip-320" => revision::<Kip320, V>(bounds, visitor),
        _ => {
            let byte = |name| bounds.byte(name);
            let spec = AsyncIsr::new(byte("replicas"), byte("max_offset"), byte("max_version"));
            let spec = spec.map_err(|problem| Wrong::at("bounds", problem))?;
            let proposed_alone = rules.iter().any(|rule| rule == HW_FROM_PROPOSED_ISR);
            let spec = if proposed_alone {
                spec.with_proposed_isr_alone()
            } else {
                spec
            };
            Ok(visitor.visit(spec))
        }
    }
}

fn revision<R: Revision, V: Visitor>(bounds: &Bounds, visitor: V) -> Result<V::Output, Wrong> {
    let spec = Published::<R>::new(Limits {
        replicas: bounds.byte("replicas"),
        log_size: bounds.byte("log_size"),
        records: bounds.byte("records"),
        leader_epochs: bounds.byte("leader_epochs"),
    });
    Ok(visitor.visit(spec.map_err(|problem| Wrong::at("bounds", problem))?))
}
