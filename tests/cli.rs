//! The command line as a user meets it: exit codes, where output goes, nothing half-written.

#[path = "common/command.rs"]
mod command;

use command::{code, highwater, out, scratch};
use highwater::scenario::files;
use std::path::Path;
use std::process::Output;

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
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
fn a_run_is_one_page_or_none() {
    let dir = scratch("page");
    let (page, nowhere) = (dir.join("run.html"), dir.join("no/such/directory/run.html"));
    let write = |scenario: &str, to: &Path| {
        highwater(&["replay", scenario, "--seed", "0", "--html", &to.display().to_string()])
    };
    let output = write("scenarios/museum-02-timeline.json", &page);
    assert_eq!(code(&output), 0, "its violation is expected: {}", err(&output));
    let told = out(&output);
    let steps = told
        .split("run.html: ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse().ok());
    assert!(steps.is_some_and(|steps: u64| steps > 1_000), "{told}");
    let text = std::fs::read_to_string(&page).expect("it is there");
    assert!(text.starts_with("<!doctype html>") && text.ends_with("</html>\n"));
    let view = reports::view::unpack(&text).expect("it holds a run");
    assert!(
        view.command
            .contains("replay scenarios/museum-02-timeline.json --seed 0 --html"),
        "it says what makes it again"
    );
    let left: Vec<_> = std::fs::read_dir(&dir).expect("listed").collect();
    assert_eq!(left.len(), 1, "nothing half-written stays: {left:?}");
    let output = write("scenarios/museum-02-timeline.json", &nowhere);
    assert_eq!(code(&output), 6, "{}", err(&output));
    assert!(
        err(&output).contains("cannot write") && err(&output).contains("run.html"),
        "{}",
        err(&output)
    );
    let output = write("scenarios/model/kip-101.json", &page);
    assert_eq!(code(&output), 2, "no seed runs there: {}", err(&output));
    assert_eq!(std::fs::read_to_string(&page).ok(), Some(text), "what was there stays");
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths = ["scenarios", "scenarios/model", "scenarios/code"].map(|dir| files(&root.join(dir)).expect(dir));
    let files: Vec<String> = paths.iter().flatten().map(|path| path.display().to_string()).collect();
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
fn a_report_draws_what_a_sweep_and_a_replay_left() {
    let dir = scratch("report");
    let at = dir.to_str().expect("utf-8");
    let nothing = highwater(&["report", at]);
    assert_eq!(code(&nothing), 2, "{}", err(&nothing));
    assert!(
        err(&nothing).contains("holds neither summary.json nor run.json"),
        "{}",
        err(&nothing)
    );
    std::fs::write(dir.join("run.json"), "{").expect("written");
    let broken = highwater(&["report", at]);
    assert_eq!(code(&broken), 2);
    assert!(err(&broken).contains("run.json: line 1, column 1"), "{}", err(&broken));
    assert!(!dir.join("report.html").exists(), "nothing is half written");

    let file = "scenarios/section-17-timeline.json";
    assert_eq!(code(&highwater(&["sweep", file, "--seeds", "3", "--out", at])), 0);
    assert_eq!(code(&highwater(&["replay", file, "--seed", "1", "--out", at])), 0);
    let report = highwater(&["report", at]);
    assert_eq!(code(&report), 0, "{}", err(&report));
    let html = std::fs::read_to_string(dir.join("report.html")).expect("written");
    // The leader loses its power in every seed, and somebody else leads after it.
    for words in [
        "section-17-timeline (3)",
        "3 silent",
        "t-0: size of the ISR",
        "high watermark of b3",
        "b1 down",
        "links cut",
    ] {
        assert!(html.contains(words), "{words} is not drawn");
    }
    assert_eq!(html.matches("<figure>").count(), 11);
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
    assert_eq!(code(&output), 6, "{}", err(&output));
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

#[test]
fn a_check_tells_a_counterexample_in_words_and_writes_it() {
    let dir = scratch("check");
    let (junit, results) = (dir.join("junit.xml"), dir.join("results"));
    let (junit_text, results_text) = (junit.to_str().expect("utf-8"), results.to_str().expect("utf-8"));
    let file = "scenarios/model/kip-101.json";
    let output = highwater(&["check", file, "--out", results_text, "--junit", junit_text]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let text = out(&output);
    for words in [
        "exhaustive: 9045 states, depth 18",
        "kip-101: WeakIsr is broken.",
        "\n  11. ",
        "truncates its log from 2 to 0",
        "1 scenarios, all as expected",
    ] {
        assert!(text.contains(words), "`{words}` is not in: {text}");
    }
    let written = std::fs::read_to_string(results.join("kip-101-WeakIsr.json")).expect("a counterexample");
    let written: serde_json::Value = serde_json::from_str(&written).expect("JSON");
    assert_eq!(written["schema_version"], 1);
    assert_eq!(written["model"]["spec"], "kip-101");
    assert_eq!(written["steps"].as_array().map(Vec::len), Some(11));
    assert_eq!(written["steps"][0]["action"]["action"], "ControllerElectLeader");
    let junit = std::fs::read_to_string(junit).expect("a report");
    assert!(junit.contains("tests=\"1\" failures=\"0\" errors=\"0\""), "{junit}");
}

#[test]
fn a_check_says_what_is_not_as_expected_and_what_was_cut() {
    let dir = scratch("check_unexpected");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/model/kip-101.json"));
    let text = text
        .expect("there is one")
        .replace("\"WeakIsr\": 12,", "")
        .replace("9045", "9044");
    let file = dir.join("wrong.json");
    std::fs::write(&file, text).expect("written");
    let file = file.to_str().expect("utf-8");
    let output = highwater(&["check", file]);
    assert_eq!(code(&output), 1);
    let words = "NOT AS EXPECTED: WeakIsr is broken in 12 states; 9045 distinct states, not 9044";
    assert!(out(&output).contains(words), "{}", out(&output));

    let cut = ["check", "scenarios/model/kip-320.json", "--max-depth", "9", "--json"];
    let output = highwater(&cut);
    assert_eq!(code(&output), 6, "neither pass nor fail");
    let line: serde_json::Value = serde_json::from_str(&out(&output)).expect("a JSON line");
    assert_eq!(line["verdict"], "inconclusive");
    assert_eq!(line["found"]["outcome"], "cut");
    assert_eq!(line["found"]["depth"], 9);
}

#[test]
fn a_check_of_the_code_tells_its_counterexample_and_writes_it() {
    let dir = scratch("check_code");
    let results = dir.join("results");
    let results_text = results.to_str().expect("utf-8");
    let file = "scenarios/code/code-05-proposed-isr-hw.json";
    let output = highwater(&["check", "--code", file, "--out", results_text]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let text = out(&output);
    for words in [
        "broken as expected: X4 in 3 states",
        "code-05-proposed-isr-hw: X4 is broken.",
        "b1 looks for followers that have lagged",
    ] {
        assert!(text.contains(words), "`{words}` is not in: {text}");
    }
    let written = std::fs::read_to_string(results.join("code-05-proposed-isr-hw-X4.json")).expect("a counterexample");
    let written: serde_json::Value = serde_json::from_str(&written).expect("JSON");
    assert_eq!(written["code"]["spec"], "replication");
    // Of two shortest traces either may be found: the record comes first, or the look.
    let steps = written["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 2);
    assert!(steps.iter().any(|step| step["action"]["action"] == "LookForLag"));
}

#[test]
fn bounds_of_the_code_that_cannot_be_are_exit_code_2() {
    let dir = scratch("code_bounds");
    let file = dir.join("bad.json");
    let question = |bounds: &str| {
        let text = format!(
            r#"{{"name": "bad", "description": "", "code": {{"spec": "replication", "bounds": {{"records": 1, "decisions": 1, {bounds}}}}}}}"#
        );
        std::fs::write(&file, text).expect("written");
        let output = highwater(&["check", "--code", file.to_str().expect("utf-8")]);
        assert_eq!(code(&output), 2);
        err(&output)
    };
    let text = question(r#""brokers": 4, "min_insync_replicas": 1"#);
    assert!(
        text.contains("code.bounds.brokers: must be between 2 and 3, not 4"),
        "{text}"
    );
    let text = question(r#""brokers": 2, "min_insync_replicas": 3"#);
    assert!(
        text.contains("code.bounds.min_insync_replicas: must not be more than the 2 brokers"),
        "{text}"
    );
    let text = question(r#""brokers": 2"#);
    assert!(
        text.contains("code.bounds.min_insync_replicas: `replication` asks for this bound"),
        "{text}"
    );
}

#[test]
fn a_file_that_asks_the_model_alone_is_not_swept_and_one_without_a_model_is_not_checked() {
    for args in [
        &["sweep", "scenarios/model/kip-320.json", "--seeds", "1"][..],
        &["replay", "scenarios/model/kip-320.json", "--seed", "1"],
        &["check", "scenarios/acks-1.json"],
        &["check", "--code", "scenarios/model/kip-320.json"],
        &["sweep", "scenarios/code/code-replication.json", "--seeds", "1"],
        &["explore", "scenarios/acks-1.json"],
    ] {
        let output = highwater(args);
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(out(&output).is_empty(), "{args:?}: {}", out(&output));
    }
}

/// What the command tells on standard error, and its code, with standard output going there.
fn into(stdout: impl Into<std::process::Stdio>, command: &str) -> (String, i32) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_highwater"))
        .args(command.split(' '))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(stdout)
        .output()
        .expect("the binary runs");
    (String::from_utf8_lossy(&output.stderr).into_owned(), code(&output))
}

#[test]
fn a_reader_that_has_seen_enough_is_told_nothing() {
    for command in [
        "lessons",
        "lesson truncation --plain",
        "check --list",
        "man",
        "completions bash",
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        assert_eq!(into(writer, command), (String::new(), 6), "{command}");
    }
}

#[test]
fn a_full_device_is_told_in_one_line() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("it is there");
    let (told, code) = into(full, "lessons");
    assert_eq!((told.lines().count(), code), (1, 6), "{told}");
    assert!(told.starts_with("highwater: cannot print: "), "{told}");
}

#[test]
fn a_run_that_is_cut_is_neither_pass_nor_fail() {
    let file = "scenarios/museum-02-timeline.json";
    let cut = |until: &str| highwater(&["replay", file, "--seed", "0", "--until", until]);
    for until in ["100", "2s"] {
        let output = cut(until);
        assert_eq!(code(&output), 6, "{}", out(&output));
        assert!(out(&output).contains("stopped after step ") && out(&output).contains("nothing broken so far"));
    }
    let broken = cut("5s");
    assert!(out(&broken).contains("BROKEN     X11"), "it was broken before that");
    assert_eq!(code(&broken), 0, "as expected");
    assert!(out(&broken).contains(", as expected"));
    assert!(out(&cut("999999")).contains("as expected"), "the end comes first");
    assert_eq!(code(&cut("soon")), 2);
}

#[test]
fn a_recording_is_played_with_its_own_seed_and_in_its_own_scenario() {
    let dir = scratch("recording");
    let path = dir.join("drawn.json");
    let path = path.to_str().expect("utf-8");
    let file = "scenarios/museum-10-stale-ack.json";
    let digest = |output: &std::process::Output| out(output).lines().next().map(str::to_owned);
    let recorded = highwater(&["replay", file, "--seed", "3", "--record", path]);
    let played = highwater(&["replay", file, "--play", path]);
    assert_eq!(digest(&recorded), digest(&played));
    let told = String::from_utf8_lossy(&played.stderr).into_owned();
    assert!(told.contains(&format!("--seed 3 --play {path}")), "{told}");
    let other = highwater(&["replay", "scenarios/acks-all.json", "--play", path]);
    assert_eq!(code(&other), 2);
    assert!(String::from_utf8_lossy(&other.stderr).contains("is what museum-10-stale-ack drew, not acks-all"));
}

#[test]
fn a_log_tells_a_broken_promise_in_its_place_and_topics_by_name() {
    let output = highwater(&[
        "replay",
        "scenarios/museum-02-timeline.json",
        "--seed",
        "0",
        "--log",
        "info",
    ]);
    let text = out(&output);
    let place = |words: &str| text.find(words).unwrap_or_else(|| panic!("`{words}` is not in {text}"));
    assert!(place("!!! BROKEN X11") < place("digest "));
    assert!(place("leads t-0") < place("!!! BROKEN X11"));
    assert!(text.contains("world  b1 is killed (kill -9)"), "{text}");
    assert!(!text.contains("Kill {"), "{text}");
}

#[test]
fn a_sweep_of_nothing_and_a_report_that_cannot_be_written_are_told_at_once() {
    for args in [["--seeds", "0"], ["--jobs", "0"]] {
        assert_eq!(
            code(&highwater(&[&["sweep", "scenarios/acks-all.json"][..], &args].concat())),
            2
        );
    }
    let began = std::time::Instant::now();
    let output = highwater(&[
        "sweep",
        "scenarios/acks-all.json",
        "--time",
        "1h",
        "--junit",
        "/proc/none.xml",
    ]);
    assert_eq!(code(&output), 6);
    assert!(began.elapsed().as_secs() < 60, "before anything is run");
}
