//! What of a sweep was held against the specification, and how much of the specification that has visited.

use crate::table::short;

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Conformance {
    /// Seeds that were held against the specification.
    pub seeds: u64,
    /// Seeds that ran.
    pub of_seeds: u64,
    /// Steps that were matched, by the kind of the specification's action.
    pub matched: Vec<(String, u64)>,
    /// Kinds of actions that no step was matched with.
    pub unmatched: Vec<String>,
    /// States within the bounds that were visited.
    pub visited: usize,
    /// States within the bounds that can be reached.
    pub reachable: usize,
    /// Which bounds.
    pub bounds: String,
    /// Scenarios that the specification does not cover, by the reason.
    pub uncovered: Vec<(String, Vec<String>)>,
}

/// A paragraph; nothing if no seed was held against the specification. Ends with a newline.
pub fn render(conformance: &Conformance) -> String {
    if conformance.seeds == 0 {
        return String::new();
    }
    let steps: u64 = conformance.matched.iter().map(|(_, count)| count).sum();
    let mut text = format!(
        "\nspecification: {} of {} seeds held against it, {} steps matched\n",
        short(conformance.seeds),
        short(conformance.of_seeds),
        short(steps)
    );
    let matched = conformance.matched.iter();
    let matched = matched.map(|(kind, count)| format!("{kind} {}", short(*count)));
    text += &wrapped("", matched);
    if !conformance.unmatched.is_empty() {
        text += &wrapped("never: ", conformance.unmatched.iter().cloned());
    }
    let states = format!(
        "{} of {} states ({} %) within ",
        conformance.visited,
        conformance.reachable,
        conformance.visited * 100 / conformance.reachable.max(1),
    );
    text += &wrapped(&states, conformance.bounds.split(", ").map(str::to_owned));
    for (reason, scenarios) in &conformance.uncovered {
        text += &wrapped(&format!("not covered, since {reason}: "), scenarios.iter().cloned());
    }
    text
}

/// Words with commas, wrapped at 80 columns.
fn wrapped(head: &str, words: impl Iterator<Item = String>) -> String {
    let mut text = format!("  {head}");
    let mut width = text.len();
    let mut gap = "";
    for word in words {
        if width + gap.len() + word.len() > 79 {
            text += if gap.is_empty() { "\n    " } else { ",\n    " };
            width = 4;
        } else {
            text += gap;
            width += gap.len();
        }
        text += &word;
        width += word.len();
        gap = ", ";
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_held_and_what_was_not_within_eighty_columns() {
        let conformance = Conformance {
            seeds: 12,
            of_seeds: 100,
            matched: (0..12).map(|at| (format!("handle_fetched_{at}"), 1_000_000)).collect(),
            unmatched: vec!["read".to_owned()],
            visited: 500,
            reachable: 1_407,
            bounds: "3 replicas".to_owned(),
            uncovered: vec![(
                "a bug is switched on".to_owned(),
                (0..9).map(|at| format!("museum-0{at}-timeline")).collect(),
            )],
        };
        let text = render(&conformance);
        assert!(text.contains("12 of 100 seeds held against it, 12.0M steps"), "{text}");
        assert!(text.contains("500 of 1407 states (35 %) within 3 replicas"), "{text}");
        assert!(
            text.contains("not covered, since a bug is switched on: museum-00"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(render(&Conformance::default()), "");
    }
}
