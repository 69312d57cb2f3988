//! The table at the end of a sweep: one screen that says what holds and what does not.

/// One scenario.
#[derive(Clone, Debug)]
pub struct Row {
    /// Name.
    pub scenario: String,
    /// Seeds that ran.
    pub seeds: u64,
    /// Steps of the world.
    pub steps: u64,
    /// Simulated seconds.
    pub simulated_s: u64,
    /// Verdict against expectation, in words.
    pub verdict: String,
    /// Whether it is as expected.
    pub as_expected: bool,
    /// Faults that were carried out, by kind.
    pub faults: Vec<(String, u64)>,
}

/// The whole sweep.
#[derive(Clone, Copy, Debug)]
pub struct Totals {
    /// Wall time in seconds.
    pub elapsed_s: f64,
    /// Worker threads.
    pub jobs: usize,
    /// CPU time of all seeds in seconds.
    pub cpu_s: f64,
    /// Operations of all clients.
    pub operations: u64,
}

/// `1234567` as `1.2M`.
pub fn short(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{}k", number / 1_000),
        1_000_000..1_000_000_000 => format!("{}.{}M", number / 1_000_000, number % 1_000_000 / 100_000),
        _ => format!("{}.{}G", number / 1_000_000_000, number % 1_000_000_000 / 100_000_000),
    }
}

/// The table, the faults by kind, and a line of totals. Ends with a newline.
pub fn render(rows: &[Row], totals: &Totals, color: bool) -> String {
    let name_width = rows
        .iter()
        .map(|row| row.scenario.len())
        .max()
        .unwrap_or(0)
        .max("scenario".len());
    let mut text = format!(
        "{:<name_width$} {:>6} {:>6} {:>6} {:>6}  verdict\n",
        "scenario", "seeds", "steps", "sim s", "faults"
    );
    for row in rows {
        let verdict = &row.verdict;
        let (paint, plain) = match (color, row.as_expected) {
            (false, _) => ("", ""),
            (true, true) => ("\x1b[32m", "\x1b[0m"),
            (true, false) => ("\x1b[31m", "\x1b[0m"),
        };
        let faults: u64 = row.faults.iter().map(|(_, count)| count).sum();
        text += &format!(
            "{:<name_width$} {:>6} {:>6} {:>6} {:>6}  {paint}{verdict}{plain}\n",
            row.scenario,
            short(row.seeds),
            short(row.steps),
            short(row.simulated_s),
            short(faults),
        );
    }
    text += &faults_line(rows);
    let sum = |field: fn(&Row) -> u64| rows.iter().map(field).sum::<u64>();
    let (seeds, steps, simulated) = (sum(|row| row.seeds), sum(|row| row.steps), sum(|row| row.simulated_s));
    let bad = rows.iter().filter(|row| !row.as_expected).count();
    let word = if bad == 0 {
        "all as expected".to_owned()
    } else {
        format!("{bad} of {} NOT as expected", rows.len())
    };
    text += &format!(
        "\n{} scenarios, {word}.\n{} seeds, {} steps, {} client operations in {:.1} s on {} threads:\n\
         {} steps and {} simulated seconds a CPU second, {:.0} seeds a minute.\n",
        rows.len(),
        short(seeds),
        short(steps),
        short(totals.operations),
        totals.elapsed_s,
        totals.jobs,
        short((steps as f64 / totals.cpu_s.max(1e-9)) as u64),
        short((simulated as f64 / totals.cpu_s.max(1e-9)) as u64),
        seeds as f64 * 60.0 / totals.elapsed_s.max(1e-9),
    );
    text
}

/// All faults of the sweep by kind, wrapped at 80 columns.
fn faults_line(rows: &[Row]) -> String {
    let mut kinds = std::collections::BTreeMap::<&str, u64>::new();
    for (kind, count) in rows.iter().flat_map(|row| &row.faults) {
        *kinds.entry(kind).or_default() += count;
    }
    if kinds.is_empty() {
        return String::new();
    }
    let mut text = String::from("\nfaults:");
    let mut width = text.len();
    for (kind, count) in kinds {
        let word = format!(" {kind} {}", short(count));
        if width + word.len() > 79 {
            text += "\n       ";
            width = 7;
        }
        width += word.len() + 1;
        text += &word;
        text.push(',');
    }
    text.pop();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, as_expected: bool) -> Row {
        Row {
            scenario: name.to_owned(),
            seeds: 300,
            steps: 1_234_567,
            simulated_s: 18_000,
            verdict: if as_expected { "holds" } else { "BROKEN 12, first 17" }.to_owned(),
            as_expected,
            faults: vec![("kill".to_owned(), 12), ("power_loss".to_owned(), 3)],
        }
    }

    #[test]
    fn fits_eighty_columns_and_names_the_failing_seed() {
        let totals = Totals {
            elapsed_s: 60.0,
            jobs: 2,
            cpu_s: 118.0,
            operations: 5_000,
        };
        let text = render(
            &[
                row("section-17-timeline", true),
                row("museum-02-epoch-end-offset-v0", false),
            ],
            &totals,
            false,
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("first 17"), "{text}");
        assert!(text.contains("1 of 2 NOT as expected"), "{text}");
        assert!(text.contains("kill 24, power_loss 6"), "{text}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(short(9_999), "9999");
        assert_eq!(short(123_456), "123k");
        assert_eq!(short(1_250_000), "1.2M");
        assert_eq!(short(7_000_000_000), "7.0G");
    }
}
