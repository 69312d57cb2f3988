//! The table of an exhaustive search: how much there is, and whether it holds.

use crate::table::short;

/// One scenario.
#[derive(Clone, Debug)]
pub struct Row {
    /// Name.
    pub scenario: String,
    /// Specification and bounds.
    pub asked: String,
    /// Distinct states.
    pub distinct: u64,
    /// States on the longest trace.
    pub depth: u32,
    /// Wall time.
    pub seconds: f64,
    /// Verdict against expectation, in words.
    pub verdict: String,
    /// Whether it is as expected.
    pub as_expected: bool,
}

/// The table and a line of totals. Ends with a newline.
pub fn render(rows: &[Row], workers: usize, color: bool) -> String {
    let width = |field: fn(&Row) -> &str, title: &str| {
        let longest = rows.iter().map(|row| field(row).chars().count()).max();
        longest.unwrap_or(0).max(title.len())
    };
    let (name_width, asked_width) = (width(|row| &row.scenario, "scenario"), width(|row| &row.asked, "asked"));
    let mut text = format!(
        "{:<name_width$}  {:<asked_width$} {:>7} {:>5} {:>8}  verdict\n",
        "scenario", "asked", "states", "depth", "time"
    );
    for row in rows {
        let (paint, plain) = match (color, row.as_expected) {
            (false, _) => ("", ""),
            (true, true) => ("\x1b[32m", "\x1b[0m"),
            (true, false) => ("\x1b[31m", "\x1b[0m"),
        };
        text += &format!(
            "{:<name_width$}  {:<asked_width$} {:>7} {:>5} {:>6.2} s  {paint}{}{plain}\n",
            row.scenario,
            row.asked,
            short(row.distinct),
            row.depth,
            row.seconds,
            row.verdict
        );
    }
    let bad = rows.iter().filter(|row| !row.as_expected).count();
    let word = if bad == 0 {
        "all as expected".to_owned()
    } else {
        format!("{bad} of {} NOT as expected", rows.len())
    };
    let states: u64 = rows.iter().map(|row| row.distinct).sum();
    let seconds: f64 = rows.iter().map(|row| row.seconds).sum();
    text + &format!(
        "\n{} scenarios, {word}.\n{} distinct states in {seconds:.1} s on {workers} threads, {} states/s.\n",
        rows.len(),
        short(states),
        short((states as f64 / seconds.max(1e-9)) as u64)
    )
}

#[cfg(test)]
mod tests {
    use super::{Row, render};

    #[test]
    fn a_row_says_what_was_asked_and_the_total_whether_all_is_well() {
        let row = |as_expected| Row {
            scenario: "kip-320".to_owned(),
            asked: "kip-320 N3".to_owned(),
            distinct: 737_794,
            depth: 26,
            seconds: 0.5,
            verdict: if as_expected { "holds" } else { "WeakIsr is broken" }.to_owned(),
            as_expected,
        };
        let text = render(&[row(true)], 2, false);
        assert!(
            text.contains("kip-320   kip-320 N3    737k    26   0.50 s  holds\n"),
            "{text}"
        );
        assert!(text.contains("1 scenarios, all as expected.\n"), "{text}");
        assert!(text.contains("1.4M states/s"), "{text}");
        let text = render(&[row(true), row(false)], 2, true);
        assert!(text.contains("1 of 2 NOT as expected"), "{text}");
        assert!(text.contains("\x1b[31mWeakIsr is broken\x1b[0m"), "{text}");
    }
}
