//! Questions before decisive steps, what a script says of its own, and broken promises in three sentences.

use crate::checks::{Checks, Violation};
use crate::scenario::{Scenario, ScriptStep};
use reports::view::{Decided, Failure, Narration, Question, Replica, Step};

/// Who will lead? Asked before the controller decides.
pub fn who_leads(
    partition: &str,
    before: &Decided,
    after: &Decided,
    unclean: bool,
    brokers: &[(i32, String)],
) -> Option<Question> {
    if before.leader == after.leader {
        return None;
    }
    let nobody = "nobody".to_owned();
    let called = |id: i32| {
        brokers
            .iter()
            .find(|(known, _)| *known == id)
            .map(|(_, name)| name.clone())
    };
    let names = |ids: &[i32]| ids.iter().filter_map(|id| called(*id)).collect::<Vec<_>>().join(", ");
    let mut choices: Vec<String> = brokers.iter().map(|(_, name)| name.clone()).collect();
    choices.push(nobody.clone());
    let next = called(after.leader).unwrap_or(nobody);
    let eligible = if before.elr.is_empty() {
        String::new()
    } else {
        format!(", eligible are {}", names(&before.elr))
    };
    let was = called(before.leader).unwrap_or_else(|| "nobody".to_owned());
    Some(Question {
        ask: format!(
            "The controller is about to decide again who leads {partition}. So far it is {was}; in sync are {}{eligible}. \
             Who will lead?",
            names(&before.isr)
        ),
        right: choices.iter().position(|choice| *choice == next)?,
        choices,
        answer: format!(
            "{next} leads in epoch {}, in sync are {}. {}",
            after.leader_epoch,
            names(&after.isr),
            match unclean {
                false =>
                    "A leader is taken from the in-sync replicas that are alive (or, with KIP-966, the eligible ones), \
                     never for the length of its log.",
                true =>
                    "Nobody who is in sync or eligible is alive, so another replica leads: an unclean election. The \
                     length of its log was not asked for either.",
            }
        ),
    })
}

/// What is cut? Asked before a replica truncates its log from one end to another.
pub fn what_is_cut(node: &str, partition: &str, replica: &Replica, to: i64, reason: &str) -> Question {
    let from = replica.log_end_offset;
    let mut firsts = vec![to, replica.high_watermark, from - 1, to - 1];
    firsts.retain(|first| *first >= replica.log_start_offset && *first < from);
    firsts.sort_unstable();
    firsts.dedup();
    let mut choices: Vec<String> = firsts.iter().map(|first| format!("offset {first}")).collect();
    choices.push("none: it keeps everything".to_owned());
    Question {
        ask: format!(
            "{node} is about to bring its log of {partition} into line with the leader's. Its last record is at offset {}, its \
             high watermark is {} (the next offset; the last committed one is {}). Which is the first offset that it loses?",
            from - 1,
            replica.high_watermark,
            replica.high_watermark - 1,
        ),
        right: firsts.iter().position(|first| *first == to).unwrap_or(firsts.len()),
        choices,
        answer: format!("Its log ended at {from} and ends at {to} now: {reason}."),
    }
}

/// What was promised to whom, what happened instead, and where.
pub fn failure(violation: &Violation, step: u32, place: String) -> Failure {
    let info = Checks::list().iter().find(|info| info.id == violation.check);
    let whom = match violation.check.chars().next() {
        Some('C') => "every client",
        Some('L') => "everybody who waits for a healed cluster",
        Some('M') => "whoever trusts the specification",
        Some('D') => "everybody who counts on a disk",
        _ => "everybody who was told that a record is committed",
    };
    let (title, source) = info.map_or(("", ""), |info| (info.title, info.source));
    // Most messages say first what should be.
    let (promised, happened) = match violation.message.split_once(". ") {
        Some((promised, happened)) => (promised, happened),
        None => (title.trim_end_matches('.'), violation.message.as_str()),
    };
    Failure {
        check: violation.check.to_owned(),
        step,
        promised: format!("{} promises {whom}: {promised} ({source}).", violation.check),
        happened: happened.to_owned(),
        place,
    }
}

/// What a scenario's script says, a narration for each of its steps; a lesson's opening stands with the first.
pub(super) fn script(scenario: &Scenario) -> Vec<Narration> {
    let mut script: Vec<Narration> = scenario.faults.script.iter().map(told).collect();
    let Some(lesson) = &scenario.lesson else { return script };
    let paragraphs = |parts: &[String], told: Option<String>| parts.iter().cloned().chain(told).collect::<Vec<_>>();
    if let Some(first) = script.first_mut() {
        first.told = Some(paragraphs(&lesson.opening, first.told.take()).join("\n"));
    }
    script
}

/// Moves each question to where its answer cannot be seen yet: the first step that says something after the script's
/// step before.
pub(super) fn ask_early(steps: &mut [Step], metadata: Option<usize>) {
    let metadata = metadata.map(|index| index as u16);
    let mut since = 0;
    for at in 0..steps.len() {
        let is_told = steps[at]
            .narration
            .as_ref()
            .is_some_and(|narration| narration.told.is_some());
        let question = steps[at]
            .narration
            .as_mut()
            .and_then(|narration| narration.question.take());
        if let Some(question) = question {
            let says = |step: &Step| {
                step.is_outside
                    || step
                        .said
                        .iter()
                        .any(|said| said.partition.is_none() || said.partition != metadata)
            };
            let to = (since..at).find(|earlier| says(&steps[*earlier])).unwrap_or(at);
            steps[to].narration.get_or_insert_default().question = Some(question);
        }
        if is_told {
            since = at + 1;
        }
    }
}

/// What a script says of one of its steps.
fn told(step: &ScriptStep) -> Narration {
    let words = |text: &String| (!text.is_empty()).then(|| text.clone());
    Narration {
        expect: words(&step.expect),
        told: words(&step.note),
        question: step.quiz.as_ref().map(Question::from),
    }
}

/// Two steps of a script at one moment: both are told.
pub(super) fn join(to: &mut Narration, next: Narration) {
    let words = |a: Option<String>, b: Option<String>| match (a, b) {
        (Some(a), Some(b)) => Some(a + " " + &b),
        (a, b) => a.or(b),
    };
    to.told = words(to.told.take(), next.told);
    to.expect = words(to.expect.take(), next.expect);
    to.question = to.question.take().or(next.question);
}
