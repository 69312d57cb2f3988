//! The lessons: what they print is held in files, every step that is told happens, and the words change nothing.

#[path = "common/command.rs"]
mod command;
#[path = "common/golden.rs"]
mod golden;

use command::{code, highwater, out, scratch};
use highwater::isolate::isolated;
use highwater::lessons;
use highwater::run::{Class, Options, Outcome, observe, run};
use highwater::scenario::{Expect, Scenario, load};
use highwater::story::{Film, Recorder};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/lessons/{name}.json"))
}

fn film(scenario: &Scenario, seed: u64) -> (Film, Outcome) {
    let scenario = scenario.clone();
    let record = move || {
        let mut recorder = Recorder::new(&scenario);
        let (outcome, _) = observe(&scenario, seed, &Options::default(), &mut recorder);
        (recorder.finish(&outcome), outcome)
    };
    isolated(seed, record).expect("the machine works").0
}

#[test]
fn every_lesson_prints_what_is_held() {
    for name in lessons::names() {
        let output = highwater(&["lesson", name, "--plain"]);
        assert_eq!(code(&output), 0, "{name}");
        let text = out(&output);
        let wide = text.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None, "{name}: a line of more than 80 columns");
        golden::check(&format!("lessons/{name}.txt"), &text);
    }
}

#[test]
fn every_step_of_a_lesson_is_taken_whatever_the_seed_draws() {
    for scenario in lessons::all().expect("they are valid") {
        for seed in 0..6 {
            let (film, outcome) = film(&scenario, seed);
            let script = &scenario.faults.script;
            assert_eq!(film.taken().len(), script.len(), "{} seed {seed}", scenario.name);
            let walk = film.walk();
            let told: Vec<_> = walk.stops.iter().filter_map(|stop| stop.told.as_ref()).collect();
            assert_eq!(told.len(), script.len(), "{} seed {seed}", scenario.name);
            assert!(told.iter().zip(script).all(|(told, step)| told.note == step.note));
            match &scenario.expect {
                Expect::Passes => assert_eq!(outcome.class, Class::Holds, "{}: {}", scenario.name, outcome.headline()),
                Expect::Violates { check } => {
                    assert!(outcome.violates(check), "{} seed {seed}: {check}", scenario.name);
                }
            }
        }
    }
}

#[test]
fn what_a_lesson_calls_the_repair_repairs() {
    let mut old_bugs = 0;
    for mut scenario in lessons::all().expect("they are valid") {
        let Expect::Violates { check } = scenario.expect.clone() else {
            continue;
        };
        assert!(!scenario.rules.is_empty(), "{}", scenario.name);
        scenario.rules.clear();
        for seed in 0..4 {
            // It may be stuck: its script waits for what the bug does.
            let (_, outcome) = film(&scenario, seed);
            assert!(!outcome.violates(&check), "{} seed {seed}: {check}", scenario.name);
            assert_ne!(
                outcome.class,
                Class::Violated,
                "{} seed {seed}: {}",
                scenario.name,
                outcome.headline()
            );
        }
        old_bugs += 1;
    }
    assert_eq!(old_bugs, 4, "KIP-101, 279, 320 and 966");
}

#[test]
fn every_file_is_a_lesson_and_every_section_about_the_log_has_one() {
    let dir = file("x").with_file_name("");
    let files = highwater::scenario::files(&dir).expect("scenarios/lessons/");
    let known: BTreeSet<PathBuf> = lessons::names().into_iter().map(file).collect();
    assert_eq!(files.into_iter().collect::<BTreeSet<_>>(), known);
    let all = lessons::all().expect("they are valid");
    assert!(
        all.iter()
            .zip(lessons::names())
            .all(|(scenario, name)| scenario.name == name)
    );
    let taught = all
        .iter()
        .flat_map(|scenario| scenario.lesson.as_ref().expect("it is one").sections.clone());
    let taught: BTreeSet<u32> = taught.collect();
    let missing: Vec<u32> = (1..=12)
        .chain([14, 17])
        .filter(|section| !taught.contains(section))
        .collect();
    assert!(missing.is_empty(), "no lesson for the sections {missing:?}");
}

#[test]
fn words_change_nothing_of_a_run() {
    let scenario = lessons::named("truncation").expect("valid").expect("there is one");
    let mut silent = scenario.clone();
    silent.lesson = None;
    for step in &mut silent.faults.script {
        (step.note, step.expect, step.quiz) = (String::new(), String::new(), None);
    }
    let digest = |scenario: Scenario| {
        let ran = isolated(3, move || run(&scenario, 3, &Options::default()).digest);
        ran.expect("the machine works").0
    };
    let watched = film(&scenario, 3).1.digest;
    assert_eq!(digest(scenario), watched);
    assert_eq!(digest(silent), watched);
}

#[test]
fn a_lesson_is_found_from_anywhere_and_is_a_scenario_like_others() {
    let from_anywhere = Command::new(env!("CARGO_BIN_EXE_highwater"))
        .args(["lesson", "log"])
        .current_dir(scratch("lesson_from_anywhere"))
        .output()
        .expect("the binary runs");
    assert_eq!(code(&from_anywhere), 0);
    let path = file("log");
    let path = path.to_str().expect("utf-8");
    let replayed = highwater(&["replay", path, "--seed", "0", "--plain"]);
    assert_eq!(
        out(&replayed),
        out(&from_anywhere),
        "where there is no terminal, it is text"
    );
    assert!(load(Path::new(path)).is_ok());
    let swept = highwater(&["sweep", path, "--seeds", "2"]);
    assert_eq!(code(&swept), 0);
}

#[test]
fn a_lesson_as_a_page_has_its_words_and_questions() {
    let page = scratch("lesson_page").join("log.html");
    let output = highwater(&["lesson", "log", "--html", page.to_str().expect("utf-8")]);
    assert_eq!(code(&output), 0);
    let page = std::fs::read_to_string(page).expect("a page");
    let view = reports::view::unpack(&page).expect("it holds a run");
    let narrations: Vec<_> = view.steps.iter().filter_map(|step| step.narration.as_ref()).collect();
    let scenario = lessons::named("log").expect("valid").expect("there is one");
    for step in &scenario.faults.script {
        let is_told = |words: &Option<String>| words.as_ref().is_some_and(|words| words.contains(&step.note));
        assert!(narrations.iter().any(|told| is_told(&told.told)), "{}", step.note);
        if let Some(quiz) = &step.quiz {
            let asks = |asked: &reports::view::Question| asked.ask == quiz.question;
            let is_asked = narrations.iter().any(|told| told.question.as_ref().is_some_and(asks));
            assert!(is_asked, "{}", quiz.question);
        }
    }
}

#[test]
fn a_lesson_that_does_not_exist_is_refused_with_those_that_do() {
    let output = highwater(&["lesson", "moon"]);
    assert_eq!(code(&output), 2);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains("no lesson `moon`") && text.contains("truncation"),
        "{text}"
    );
    let listed = out(&highwater(&["lessons"]));
    for name in lessons::names() {
        assert!(
            listed.lines().any(|line| line.starts_with(name)),
            "{name} is not in {listed}"
        );
    }
    assert!(listed.lines().all(|line| line.chars().count() <= 80), "{listed}");
}

#[test]
fn a_run_without_words_is_told_by_its_turns() {
    let path = "scenarios/museum-01-truncate-to-hw.json";
    let output = highwater(&["replay", path, "--seed", "0", "--plain"]);
    assert_eq!(code(&output), 0, "its check is broken, as it expects");
    let text = out(&output);
    for words in ["leads t-0", "truncated t-", "!!! BROKEN X3", "hw ", "verdict: X3"] {
        assert!(text.contains(words), "`{words}` is not in {text}");
    }
    assert!(text.lines().count() < 3_000, "not every step: {}", text.lines().count());
}

#[test]
fn the_readme_shows_what_is_printed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(path).expect("the README");
    let section = text.split("\n## Lessons").nth(1).expect("its section");
    let section = section.split("\n## ").next().expect("up to the next");
    let blocks: Vec<&str> = section.split("```\n").skip(1).step_by(2).collect();
    assert_eq!(blocks.len(), 3, "commands, the list, an excerpt");
    let listed = out(&highwater(&["lessons"]));
    assert!(listed.contains(blocks[1]), "the list is now:\n{listed}");
    let shown = out(&highwater(&["lesson", "truncation", "--plain"]));
    assert!(
        shown.contains(blocks[2].trim_end()),
        "the excerpt is not in what `lesson truncation --plain` prints"
    );
}
