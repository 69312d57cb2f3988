//! Rules of style that a compiler does not know: walls by words, sizes of files, forbidden leftovers.

use std::path::{Path, PathBuf};

fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut left = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory of the checkout") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).expect("readable");
                found.push((path, text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{dir} has no source file");
    found
}

fn complain(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Lines outside tests, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(i, line)| (i + 1, line))
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
}

#[test]
fn the_world_has_no_word_of_the_subject() {
    let words = ["kafka", "broker", "topic", "replica", "watermark", "kraft"];
    let mut wrong = Vec::new();
    for (path, text) in sources("sim") {
        for (number, line) in text.lines().enumerate() {
            let line = line.to_lowercase();
            if let Some(word) = words.iter().find(|word| line.contains(*word)) {
                wrong.push(format!("{}:{}: `{word}`", path.display(), number + 1));
            }
        }
    }
    complain(&wrong);
}

#[test]
fn the_subject_uses_no_clock_no_chance_and_no_order_of_its_own() {
    let words = [
        "std::time",
        "std::thread",
        "std::net",
        "std::fs",
        "HashMap",
        "HashSet",
        "rand::",
        "madsim",
        "tokio",
    ];
    let mut wrong = Vec::new();
    for dir in ["src/kafka", "sim/src"] {
        for (path, text) in sources(dir) {
            for (number, line) in code(&text) {
                if line.trim_start().starts_with("//") {
                    continue;
                }
                if let Some(word) = words.iter().find(|word| line.contains(*word)) {
                    wrong.push(format!("{}:{number}: `{word}`", path.display()));
                }
            }
        }
    }
    complain(&wrong);
}

#[test]
fn checks_and_controller_keep_to_their_walls() {
    let mut wrong = Vec::new();
    for (dir, walls) in [
        (
            "src/checks",
            &[
                "kafka::broker",
                "kafka::replication",
                "kafka::quorum",
                "kafka::controller",
                "crate::run",
            ][..],
        ),
        // It sees replicas and records, and nothing of how they came about.
        ("src/conform", &["kafka::quorum", "kafka::controller", "crate::run"][..]),
        (
            "src/kafka/controller",
            &["crate::replication", "crate::broker", "crate::quorum"][..],
        ),
        (
            "src/kafka/replication",
            &["crate::controller", "crate::broker", "crate::quorum"][..],
        ),
        (
            "src/kafka/log",
            &[
                "crate::replication",
                "crate::broker",
                "crate::quorum",
                "crate::controller",
            ][..],
        ),
        (
            "src/kafka/client",
            &["crate::replication", "crate::broker", "crate::log", "crate::quorum"][..],
        ),
    ] {
        for (path, text) in sources(dir) {
            for (number, line) in code(&text) {
                if let Some(wall) = walls.iter().find(|wall| line.contains(*wall)) {
                    wrong.push(format!("{}:{number}: `{wall}`", path.display()));
                }
            }
        }
    }
    complain(&wrong);
}

#[test]
fn files_open_with_what_they_are_and_are_not_too_long() {
    let mut wrong = Vec::new();
    for dir in ["src", "sim", "model", "reports", "tests"] {
        for (path, text) in sources(dir) {
            if !text.starts_with("//!") {
                wrong.push(format!("{}: does not open with what it is (//!)", path.display()));
            }
            let lines = code(&text).count();
            if lines > 700 {
                wrong.push(format!("{}: {lines} lines without its tests", path.display()));
            }
        }
    }
    complain(&wrong);
}

#[test]
fn nothing_unfinished_or_silenced_is_left() {
    let words = [
        "todo!(",
        "unimplemented!(",
        "FIXME",
        "XXX",
        "HACK",
        "#[ignore",
        "allow(dead_code",
        "allow(unused",
    ];
    let mut wrong = Vec::new();
    for dir in ["src", "sim", "model", "reports"] {
        for (path, text) in sources(dir) {
            for (number, line) in text.lines().enumerate() {
                if let Some(word) = words.iter().find(|word| line.contains(*word)) {
                    wrong.push(format!("{}:{}: `{word}`", path.display(), number + 1));
                }
            }
        }
    }
    complain(&wrong);
}
