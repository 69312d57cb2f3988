//! What makes a scenario a lesson: words for whoever watches, and questions before the decisive steps.
//!
//! The words change nothing of a run. They hang on the script's steps, so that each is said when the run has come that far.

use super::{Scenario, ScriptStep};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A lesson's frame; its words are the notes of the script's steps.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lesson {
    /// A few words.
    pub title: String,
    /// Sections of the notes that it teaches: `1` to `19`.
    pub sections: Vec<u32>,
    /// Said before the first step: what the words mean, and who takes part. Paragraphs.
    pub opening: Vec<String>,
    /// Said after the last step: what to remember. Paragraphs.
    pub closing: Vec<String>,
}

/// A question. It is asked when the step before has been shown, and answered when this one is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quiz {
    /// What is asked.
    pub question: String,
    /// What may be answered: two to nine.
    pub choices: Vec<String>,
    /// Number of the right choice, from 1.
    pub answer: usize,
    /// Why it is the right one.
    pub why: String,
}

/// Sections that the notes have.
const SECTIONS: std::ops::RangeInclusive<u32> = 1..=19;

/// What is wrong, and where.
type Wrong = (String, String);

fn ensure(holds: bool, place: impl Into<String>, problem: impl Into<String>) -> Result<(), Wrong> {
    if holds {
        Ok(())
    } else {
        Err((place.into(), problem.into()))
    }
}

/// Validates a scenario's words.
pub(super) fn check(scenario: &Scenario) -> Result<(), Wrong> {
    let script = &scenario.faults.script;
    for (i, step) in script.iter().enumerate() {
        quiz(step, &format!("faults.script[{i}].quiz"))?;
    }
    let Some(lesson) = &scenario.lesson else {
        return Ok(());
    };
    ensure(!lesson.title.trim().is_empty(), "lesson.title", "must say something")?;
    ensure(
        !lesson.sections.is_empty(),
        "lesson.sections",
        "must name a section of the notes",
    )?;
    for (i, section) in lesson.sections.iter().enumerate() {
        let place = format!("lesson.sections[{i}]");
        ensure(
            SECTIONS.contains(section),
            place,
            format!("{section} is not a section; they are 1 to 19"),
        )?;
    }
    for (field, paragraphs) in [("opening", &lesson.opening), ("closing", &lesson.closing)] {
        let is_said = !paragraphs.is_empty() && paragraphs.iter().all(|paragraph| !paragraph.trim().is_empty());
        ensure(
            is_said,
            format!("lesson.{field}"),
            "must have paragraphs, none of them empty",
        )?;
    }
    for (i, step) in script.iter().enumerate() {
        ensure(
            !step.note.trim().is_empty(),
            format!("faults.script[{i}].note"),
            "a lesson says something at every step",
        )?;
    }
    ensure(
        script.iter().any(|step| step.quiz.is_some()),
        "faults.script",
        "a lesson asks something: no step has a `quiz`",
    )
}

fn quiz(step: &ScriptStep, place: &str) -> Result<(), Wrong> {
    let Some(quiz) = &step.quiz else {
        return Ok(());
    };
    for (field, text) in [("question", &quiz.question), ("why", &quiz.why)] {
        ensure(
            !text.trim().is_empty(),
            format!("{place}.{field}"),
            "must say something",
        )?;
    }
    let choices = quiz.choices.len();
    ensure(
        (2..=9).contains(&choices),
        format!("{place}.choices"),
        format!("must be two to nine, not {choices}"),
    )?;
    for (i, choice) in quiz.choices.iter().enumerate() {
        let place = format!("{place}.choices[{i}]");
        ensure(!choice.trim().is_empty(), &place, "must say something")?;
        ensure(
            !quiz.choices[..i].contains(choice),
            &place,
            format!("`{choice}` stands there twice"),
        )?;
    }
    ensure(
        (1..=choices).contains(&quiz.answer),
        format!("{place}.answer"),
        format!(
            "is {}, but must be the number of a choice, from 1 to {choices}",
            quiz.answer
        ),
    )
}
