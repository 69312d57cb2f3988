//! Bad input gets a clear error: file, place, what is wrong, what would be right.

use super::{Scenario, parse};

const GOOD: &str = r#"{
  "name": "good",
  "description": "A question.",
  "claims": ["N40"],
  "cluster": { "brokers": 3, "properties": { "replica.lag.time.max.ms": "3000" } },
  "topics": [{ "name": "t", "partitions": 1, "replication_factor": 3, "assignment": [[1, 2, 3]], "config": { "min.insync.replicas": "2" } }],
  "clients": { "producers": [{ "topics": ["t"], "records_per_s": 10, "config": { "acks": "all" } }], "consumers": [{ "topics": ["t"] }] },
  "duration_ms": 1000,
  "faults": { "script": [{ "when": { "at_ms": 10 }, "do": [{ "kill": "b1" }] }] },
  "expect": { "verdict": "passes" }
}"#;

fn good() -> Scenario {
    parse("good.json", GOOD).expect("the sample is valid")
}

/// The error of the sample with one piece replaced.
fn error(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "the sample has no `{from}`");
    parse("bad.json", &GOOD.replacen(from, to, 1))
        .expect_err("it must be refused")
        .to_string()
}

fn refuses(from: &str, to: &str, words: &[&str]) {
    let text = error(from, to);
    assert!(text.starts_with("bad.json: "), "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[test]
fn the_sample_is_read_and_written_the_same() {
    let scenario = good();
    assert_eq!(scenario.node_names(), ["b1", "b2", "b3"]);
    assert_eq!(scenario.client_names(), ["p1", "r1"]);
    let text = serde_json::to_string(&scenario).expect("JSON");
    let again = parse("again.json", &text).expect("what we write we read");
    assert_eq!(serde_json::to_string(&again).expect("JSON"), text);
}

#[test]
fn what_is_not_json_is_refused_with_line_and_column() {
    refuses("\"good\",", "\"good\"", &["line 3, column"]);
    let text = parse("x.json", "no").expect_err("not JSON").to_string();
    assert!(text.contains("line 1, column"), "{text}");
    let text = parse("x.json", &format!("{GOOD} more"))
        .expect_err("something follows")
        .to_string();
    assert!(text.contains("nothing may follow"), "{text}");
}

#[test]
fn an_unknown_field_is_named_with_its_place() {
    refuses(
        "\"brokers\": 3",
        "\"borkers\": 3",
        &["line 5", "cluster", "unknown field `borkers`", "expected one of"],
    );
    refuses(
        "\"partitions\": 1",
        "\"partition\": 1",
        &["topics[0]", "unknown field `partition`"],
    );
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    refuses(
        "\"replication_factor\": 3, \"assignment\": [[1, 2, 3]]",
        "\"replication_factor\": 4",
        &[
            "topics[0].replication_factor",
            "is 4, but must be between 1 and the number of brokers, 3",
        ],
    );
    refuses("\"duration_ms\": 1000", "\"duration_ms\": -5", &["duration_ms", "-5"]);
    refuses(
        "\"duration_ms\": 1000",
        "\"duration_ms\": 0",
        &["duration_ms", "between 1 and 86400000"],
    );
    refuses(
        "\"at_ms\": 10",
        "\"at_ms\": 2000",
        &["faults.script[0].when", "after the end of the run"],
    );
    refuses(
        "\"brokers\": 3",
        "\"brokers\": 0",
        &["cluster.brokers", "between 1 and 50"],
    );
    refuses(
        "[[1, 2, 3]]",
        "[[1, 2, 2]]",
        &["topics[0].assignment[0]", "3 different brokers"],
    );
}

#[test]
fn names_that_do_not_exist_are_refused_with_those_that_do() {
    refuses(
        "{ \"kill\": \"b1\" }",
        "{ \"kill\": \"b9\" }",
        &["faults.script[0].do[0]", "no node `b9`", "b1, b2, b3"],
    );
    refuses(
        "\"topics\": [\"t\"], \"records",
        "\"topics\": [\"u\"], \"records",
        &["clients.producers[0].topics[0]", "no topic `u`", "there are: t"],
    );
    for told in ["acknowledged", "failed", "answered"] {
        refuses(
            "\"at_ms\": 10",
            &format!("\"{told}\": {{ \"client\": \"r1\", \"at_least\": 1 }}"),
            &["faults.script[0].when", "no such client as `r1`", "p1"],
        );
    }
    refuses("\"N40\"", "\"N99\"", &["claims[0]", "`N99` is not a claim"]);
    refuses(
        "\"expect\"",
        "\"rules\": [\"truncate_to_low\"], \"expect\"",
        &["rules[0]", "no rule `truncate_to_low`", "truncate_to_hw"],
    );
    refuses(
        "\"verdict\": \"passes\"",
        "\"verdict\": \"violates\", \"check\": \"X99\"",
        &["expect.check", "no check `X99`", "X3"],
    );
    refuses(
        "\"expect\"",
        "\"sometimes\": [{\"mark\": \"moon\"}], \"expect\"",
        &["sometimes[0].mark", "no mark `moon`", "isr_shrank"],
    );
    refuses(
        "\"faults\": {",
        "\"faults\": { \"swarm\": { \"families\": [\"flood\"] },",
        &["families[0]", "`flood`", "crash"],
    );
}

#[test]
fn properties_are_checked_by_name_and_value() {
    refuses(
        "replica.lag.time.max.ms",
        "replica.leg.time.max.ms",
        &[
            "cluster.properties",
            "is not known; known are",
            "replica.lag.time.max.ms",
        ],
    );
    refuses(
        "\"min.insync.replicas\": \"2\"",
        "\"min.insync.replicas\": \"two\"",
        &["topics[0].config", "is not a whole number: `two`"],
    );
    refuses(
        "\"min.insync.replicas\": \"2\"",
        "\"min.insync.replicas\": \"0\"",
        &["must be between 1 and 100, not 0"],
    );
    refuses(
        "\"acks\": \"all\"",
        "\"acks\": \"some\"",
        &["clients.producers[0].config", "acks"],
    );
}

#[test]
fn a_missing_file_is_bad_input_too() {
    let error = super::load(std::path::Path::new("nowhere.json")).expect_err("there is none");
    assert_eq!(error.place, "the file itself");
}

const ASKS_THE_MODEL_ALONE: &str = r#"{
  "name": "good",
  "description": "A question.",
  "model": { "spec": "kip-320", "bounds": { "replicas": 2, "log_size": 2, "records": 2, "leader_epochs": 2 } }
}"#;

#[test]
fn a_scenario_may_ask_the_specification_alone() {
    let scenario = parse("good.json", ASKS_THE_MODEL_ALONE).expect("valid");
    assert!(!scenario.simulates() && good().simulates());
    let text = serde_json::to_string(&scenario).expect("JSON");
    assert!(!text.contains("cluster"), "{text}");
    assert!(!parse("again.json", &text).expect("what we write we read").simulates());
}

#[test]
fn a_cluster_without_a_duration_follows_paths_and_no_seed_runs() {
    let text = ASKS_THE_MODEL_ALONE.replacen("\"model\"", "\"cluster\": { \"brokers\": 2 }, \"model\"", 1);
    let scenario = parse("good.json", &text).expect("valid");
    assert!(scenario.has_cluster() && !scenario.simulates());
    let wrong = text.replacen(
        "\"brokers\": 2",
        "\"brokers\": 2, \"properties\": { \"moon\": \"1\" }",
        1,
    );
    let error = parse("bad.json", &wrong).expect_err("the cluster is looked at all the same");
    assert_eq!(error.place, "cluster.properties[\"moon\"]");
}

#[test]
fn a_question_that_cannot_be_asked_is_refused_with_its_place() {
    let refuses = |from: &str, to: &str, words: &[&str]| {
        assert!(ASKS_THE_MODEL_ALONE.contains(from), "the sample has no `{from}`");
        let text = parse("bad.json", &ASKS_THE_MODEL_ALONE.replacen(from, to, 1))
            .expect_err("it must be refused")
            .to_string();
        for word in words {
            assert!(text.contains(word), "`{word}` is not in: {text}");
        }
    };
    refuses(
        "kip-320",
        "kip-321",
        &["bad.json: model.spec", "no specification `kip-321`", "kip-279"],
    );
    refuses(
        "\"log_size\": 2",
        "\"log_size\": 0",
        &["model.bounds.log_size", "between 1 and 8, not 0"],
    );
    refuses(
        "\"log_size\": 2, ",
        "",
        &["model.bounds.log_size", "asks for this bound"],
    );
    refuses(
        "\"log_size\"",
        "\"logsize\"",
        &["model.bounds.logsize", "no such bound"],
    );
    refuses(
        "\"bounds\"",
        "\"violates\": { \"StrangeIsr\": 3 }, \"bounds\"",
        &[
            "model.violates[\"StrangeIsr\"]",
            "no property `StrangeIsr`",
            "StrongIsr",
        ],
    );
    refuses(
        "\"model\"",
        "\"rules\": [\"truncate_to_hw\"], \"model\"",
        &["model.rules", "knows no rule"],
    );
    refuses("\"spec\"", "\"spek\"", &["model", "unknown field `spek`"]);
    refuses(
        "\"model\"",
        "\"duration_ms\": 5, \"model\"",
        &["duration_ms", "but `cluster` is left out"],
    );
    refuses(
        "\"model\"",
        "\"cluster\": { \"brokers\": 1 }, \"clients\": { \"consumers\": [{ \"topics\": [] }] }, \"model\"",
        &["clients", "but `duration_ms` is left out"],
    );
    let neither = parse("bad.json", r#"{ "name": "x", "description": "" }"#).expect_err("it asks nothing");
    assert!(
        neither
            .to_string()
            .contains("neither a cluster to simulate nor a `model`"),
        "{neither}"
    );
}

#[test]
fn a_swarm_spares_nodes_that_exist_and_not_all_of_them() {
    let script = r#""script": [{ "when": { "at_ms": 10 }, "do": [{ "kill": "b1" }] }]"#;
    let swarm = |more: &str| format!(r#""swarm": {{ "families": ["crash"], {more} }}"#);
    refuses(
        script,
        &swarm(r#""spared": ["b9"]"#),
        &["faults.swarm.spared", "`b9`", "b1, b2, b3"],
    );
    refuses(
        script,
        &swarm(r#""spared": ["b1", "b2", "b3"]"#),
        &["faults.swarm.spared", "somebody"],
    );
    refuses(
        script,
        &swarm(r#""window_ms": [9, 8]"#),
        &["faults.swarm.window_ms", "9 ms", "8 ms"],
    );
    let fine = GOOD.replacen(
        script,
        &swarm(r#""spared": ["b1"], "storm": true, "window_ms": [1, 1]"#),
        1,
    );
    parse("fine.json", &fine).expect("valid");
}

/// The sample as a lesson.
const LESSON: &str = r#""lesson": { "title": "T", "sections": [17], "opening": ["o"], "closing": ["c"] }, "claims""#;
const TOLD: &str = r#"[{ "kill": "b1" }], "note": "b1 dies.", "expect": "An election.",
  "quiz": { "question": "Who?", "choices": ["b2", "b3"], "answer": 1, "why": "It is in sync." } }]"#;

/// What is wrong with the lesson when one piece is replaced; nothing if `from` stays.
fn lesson_problem(from: &str, to: &str) -> Option<String> {
    let text = GOOD
        .replacen("\"claims\"", LESSON, 1)
        .replacen(r#"[{ "kill": "b1" }] }]"#, TOLD, 1);
    assert!(text.contains(from), "the lesson has no `{from}`");
    parse("bad.json", &text.replacen(from, to, 1))
        .err()
        .map(|error| error.to_string())
}

#[test]
fn a_lesson_says_and_asks_something_that_can_be_answered() {
    assert_eq!(lesson_problem("b1 dies.", "b1 dies."), None);
    for (from, to, words) in [
        (
            "[17]",
            "[20]",
            &["lesson.sections[0]", "20 is not a section", "1 to 19"][..],
        ),
        ("[17]", "[]", &["lesson.sections", "must name a section"]),
        ("\"T\"", "\" \"", &["lesson.title", "must say something"]),
        ("[\"c\"]", "[]", &["lesson.closing", "must have paragraphs"]),
        ("b1 dies.", "", &["faults.script[0].note", "at every step"]),
        (
            "\"answer\": 1",
            "\"answer\": 3",
            &["faults.script[0].quiz.answer", "is 3", "from 1 to 2"],
        ),
        ("\"answer\": 1", "\"answer\": 0", &["quiz.answer", "is 0"]),
        (
            "\"answer\": 1,",
            "",
            &["faults.script[0].quiz", "missing field `answer`"],
        ),
        ("[\"b2\", \"b3\"]", "[\"b2\"]", &["quiz.choices", "two to nine, not 1"]),
        (
            "[\"b2\", \"b3\"]",
            "[\"b2\", \"b2\"]",
            &["quiz.choices[1]", "`b2` stands there twice"],
        ),
        ("It is in sync.", "", &["quiz.why", "must say something"]),
        (
            "\"why\"",
            "\"because\"",
            &["faults.script[0].quiz", "unknown field `because`"],
        ),
        (
            "\"expect\": \"An",
            "\"expects\": \"An",
            &["faults.script[0]", "unknown field `expects`"],
        ),
    ] {
        let problem = lesson_problem(from, to).unwrap_or_else(|| panic!("{to} must be refused"));
        assert!(words.iter().all(|word| problem.contains(word)), "{words:?}: {problem}");
    }
    let start = TOLD.find("\"quiz\"").expect("it has one");
    let silent = TOLD[start..].trim_end_matches(" }]");
    let problem = lesson_problem(&format!(",\n  {silent}"), "").expect("it asks nothing");
    assert!(problem.contains("a lesson asks something"), "{problem}");
}
