//! Bridge two: the shortest counterexample of each switch that the specification knows, followed by the real cluster. With
//! the switch on the same property is broken; with it off a step is refused, or nothing comes of it.

#[path = "common/command.rs"]
mod command;

use command::{code, highwater, out, scratch};
use std::path::Path;

/// Scenario, property, the step that the cluster refuses with the rule off: there the published fix bites.
const PATHS: [(&str, &str, Option<u32>); 11] = [
    ("shortest-01-truncate-to-hw", "X3", Some(10)),
    ("shortest-02-epoch-end-offset-v0", "X1", Some(9)),
    ("shortest-03-no-epoch-fencing", "X3", Some(6)),
    ("shortest-04-lagging-hw-join", "X3", Some(15)),
    ("shortest-05-proposed-isr-hw", "X4", Some(3)),
    ("shortest-06-no-broker-epoch", "D6", Some(15)),
    ("shortest-07-last-replica", "X14", Some(4)),
    ("shortest-08-diverging-credit", "X11", None),
    ("shortest-10-stale-ack", "I9", Some(15)),
    ("shortest-22-prev-epoch-commit", "X10", Some(17)),
    ("shortest-23-forgotten-vote", "X9", Some(8)),
];

/// The verdict in one line, whatever the width.
fn verdict(text: &str) -> String {
    let from = text.find("verdict").expect("a verdict");
    text[from..].split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_switch_breaks_the_cluster_as_it_breaks_the_specification_and_no_longer_when_off() {
    let dir = scratch("paths");
    let files = PATHS.map(|(name, ..)| format!("scenarios/model/{name}.json"));
    let mut check = vec!["check", "--out", dir.to_str().expect("utf-8")];
    check.extend(files.iter().map(String::as_str));
    assert_eq!(
        code(&highwater(&check)),
        0,
        "each is found, in as many states as its file says"
    );
    for ((name, property, refused), file) in PATHS.iter().zip(&files) {
        let path = dir.join(format!("{name}-{property}.json"));
        let path = path.to_str().expect("utf-8");
        let with = highwater(&["replay", file, "--path", path]);
        let text = out(&with);
        assert_eq!(code(&with), 1, "{name}: {text}");
        let same = format!("verdict the cluster breaks {property} too");
        assert!(verdict(&text).starts_with(&same), "{name}: {text}");
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{name}: too wide: {wide:?}");
        let again = out(&highwater(&["replay", file, "--path", path]));
        assert_eq!(text, again, "{name}: the same path, the same seed, the same run");
        let other = highwater(&["replay", file, "--path", path, "--seed", "1"]);
        assert_eq!(
            code(&other),
            1,
            "{name}: a path does not need a lucky seed: {}",
            out(&other)
        );

        let without = highwater(&["replay", file, "--path", path, "--without-rules"]);
        let text = out(&without);
        let (expected, words) = match refused {
            Some(step) => (7, format!("verdict the cluster refuses step {step}, so it is stricter")),
            None => (0, format!("verdict the cluster goes along, and {property} holds")),
        };
        assert_eq!(code(&without), expected, "{name}: {text}");
        assert!(verdict(&text).starts_with(&words), "{name}: {text}");
        assert!(verdict(&text).ends_with("afterwards: holds"), "{name}: {text}");
    }
}

#[test]
fn every_rule_that_a_specification_knows_has_a_path() {
    let rules = ["replication", "quorum"].map(|spec| {
        let entries = model::catalogue::entries();
        let entry = entries.into_iter().find(|entry| entry.name == spec);
        entry.expect("it is in the catalogue").rules.to_vec()
    });
    let load = |name| {
        let file = format!("{}/scenarios/model/{name}.json", env!("CARGO_MANIFEST_DIR"));
        highwater::scenario::load(Path::new(&file)).unwrap_or_else(|error| panic!("{error}"))
    };
    let mut known = rules.concat();
    let mut followed: Vec<String> = PATHS.iter().flat_map(|(name, ..)| load(*name).rules).collect();
    known.sort_unstable();
    followed.sort_unstable();
    assert_eq!(known, followed);
}

#[test]
fn a_bad_path_is_exit_code_2_with_its_place() {
    let dir = scratch("bad_paths");
    let file = dir.join("path.json");
    let path = file.to_str().expect("utf-8");
    std::fs::write(&file, "{ \"model\": }").expect("written");
    let scenario = "scenarios/model/shortest-05-proposed-isr-hw.json";
    for (args, words) in [
        (
            vec!["replay", scenario, "--path", path],
            "path.json: line 1, column 12: not a counterexample",
        ),
        (
            vec!["replay", scenario, "--path", "nowhere.json"],
            "nowhere.json: cannot be read",
        ),
        (
            vec!["replay", scenario, "--path", path, "--step"],
            "cannot be used with",
        ),
        (vec!["replay", scenario, "--seed", "1"], "no seed runs here"),
        (vec!["replay", scenario, "--seed", "1", "--without-rules"], "--path"),
    ] {
        let output = highwater(&args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(code(&output), 2, "{args:?}: {told}");
        assert!(told.contains(words), "{args:?}: {told}");
        assert!(
            output.stdout.is_empty(),
            "nothing is told of a path that cannot be followed"
        );
    }
}
