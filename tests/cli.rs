//! The command line as a user meets it: exit codes, where output goes, nothing half-written.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn highwater(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_highwater"))
        .args(args)
        .env_remove("SIM_SEED")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the binary runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A directory of its own for each test.
fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a scratch directory");
    dir
}

#[test]
fn bad_input_is_exit_code_2_and_writes_nothing() {
    let dir = scratch("bad_input");
    let file = dir.join("bad.json");
    std::fs::write(&file, "{ \"name\": }").expect("written");
    let (file, results) = (file.to_str().expect("utf-8"), dir.join("results"));
    for args in [
        vec!["lint", file],
        vec!["replay", file, "--seed", "1"],
        vec!["sweep", file, "--seeds", "1", "--out", results.to_str().expect("utf-8")],
    ] {
        let output = highwater(&args);
        assert_eq!(code(&output), 2, "{args:?}: {}", err(&output));
        assert!(err(&output).contains("bad.json: line 1, column 11"), "{}", err(&output));
    }
    assert!(!results.exists(), "nothing is written for bad input");
}

#[test]
fn usage_errors_are_exit_code_2() {
    for args in [
        &["nonsense"][..],
        &["sweep", "--time", "soon"],
        &["sweep", "--shard", "3/2"],
        &["replay", "x.json"],
    ] {
        assert_eq!(code(&highwater(args)), 2, "{args:?}");
    }
    assert_eq!(code(&highwater(&["--help"])), 0);
}

#[test]
fn the_committed_schema_is_what_the_code_reads() {
    let committed = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/schema.json"));
    let printed = out(&highwater(&["schema"]));
    assert!(
        committed.is_ok_and(|text| text == printed),
        "cargo run --release -- schema > scenarios/schema.json"
    );
}

#[test]
fn every_scenario_is_valid() {
    let mut files: Vec<String> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios"))
        .expect("scenarios/")
        .flatten()
        .map(|entry| entry.path().display().to_string())
        .filter(|path| path.ends_with(".json") && !path.ends_with("schema.json"))
        .collect();
    files.sort();
    let mut args = vec!["lint"];
    args.extend(files.iter().map(String::as_str));
    let output = highwater(&args);
    assert_eq!(code(&output), 0, "{}", err(&output));
}

#[test]
fn a_sweep_writes_json_lines_junit_and_a_summary() {
    let dir = scratch("sweep");
    let (junit, results) = (dir.join("junit.xml"), dir.join("results"));
    let (junit_text, results_text) = (junit.to_str().expect("utf-8"), results.to_str().expect("utf-8"));
    let scenario = "scenarios/section-17-timeline.json";
    let args = [
        "sweep",
        scenario,
        "--seeds",
        "3",
        "--json",
        "--junit",
        junit_text,
        "--out",
        results_text,
        "--twice",
    ];
    let output = highwater(&args);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let lines: Vec<serde_json::Value> = out(&output)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect();
    assert_eq!(
        lines.iter().map(|line| line["seed"].as_u64()).collect::<Vec<_>>(),
        [Some(0), Some(1), Some(2)]
    );
    for line in &lines {
        assert_eq!(line["schema_version"], 1);
        assert_eq!(line["class"], 0);
        assert!(line["steps"].as_u64().is_some_and(|steps| steps > 100));
        assert!(
            line["replay"]
                .as_str()
                .is_some_and(|command| command.contains("--seed"))
        );
    }
    assert!(
        std::fs::read_to_string(junit)
            .expect("written")
            .contains("failures=\"0\"")
    );
    let summary = std::fs::read_to_string(results.join("summary.json")).expect("written");
    assert!(serde_json::from_str::<serde_json::Value>(&summary).expect("JSON")["scenarios"].is_array());
}

#[test]
fn shards_share_the_seeds_without_overlap() {
    let seeds = |shard: &str| -> Vec<u64> {
        let scenario = "scenarios/section-17-timeline.json";
        let output = highwater(&["sweep", scenario, "--seeds", "5", "--json", "--shard", shard]);
        let parse = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["seed"].as_u64();
        out(&output).lines().filter_map(parse).collect()
    };
    assert_eq!(seeds("1/2"), [0, 2, 4]);
    assert_eq!(seeds("2/2"), [1, 3]);
}

#[test]
fn a_trace_is_whole_lines_of_json_and_until_cuts_it() {
    let dir = scratch("trace");
    let trace = dir.join("trace.jsonl");
    let path = trace.to_str().expect("utf-8");
    let output = highwater(&[
        "replay",
        "scenarios/section-17-timeline.json",
        "--seed",
        "1",
        "--until",
        "200",
        "--trace",
        path,
    ]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let text = std::fs::read_to_string(&trace).expect("written");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect();
    assert_eq!(lines.iter().filter(|line| line.get("what").is_some()).count(), 200);
}

#[test]
fn the_story_of_section_17_is_told_in_sentences() {
    let output = highwater(&[
        "replay",
        "scenarios/section-17-timeline.json",
        "--seed",
        "1",
        "--log",
        "info",
    ]);
    let text = out(&output);
    assert_eq!(code(&output), 0, "{text}{}", err(&output));
    assert!(
        text.contains("truncated") && text.contains("from end 103 to end 102"),
        "{text}"
    );
}
