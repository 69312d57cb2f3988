//! Two columns: what one side says, and what the other does.

use crate::text::{hang, wrap};

/// A row: the left text, and lines for the right column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Left.
    pub left: String,
    /// Right, one thing each.
    pub right: Vec<String>,
}

/// Numbered rows; `width` characters for the left column, the same for the right one.
pub fn render(title: (&str, &str), pairs: &[Pair], width: usize) -> String {
    let mut text = format!("      {:<width$} │ {}\n", title.0, title.1);
    text += &format!("      {}─┼─{}\n", "─".repeat(width), "─".repeat(width));
    for (at, pair) in pairs.iter().enumerate() {
        let left = wrap(&pair.left, "", "", width);
        let right: Vec<String> = pair.right.iter().flat_map(|line| wrap(line, "", "  ", width)).collect();
        for row in 0..left.len().max(right.len()).max(1) {
            let number = if row == 0 {
                format!("{:>4}.", at + 1)
            } else {
                String::new()
            };
            let cell = |column: &[String]| column.get(row).cloned().unwrap_or_default();
            let line = format!("{number:<5} {:<width$} │ {}", cell(&left), cell(&right));
            text += line.trim_end();
            text.push('\n');
        }
    }
    text
}

/// A text behind a label, in lines of at most `width` characters; all but the first are indented as far as the label goes.
pub fn paragraph(label: &str, text: &str, width: usize) -> String {
    hang(label, text, width).into_iter().map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::{Pair, paragraph, render};

    #[test]
    fn a_paragraph_hangs_on_its_label() {
        assert_eq!(paragraph("so   ", "one two three", 12), "so   one two\n     three\n");
    }

    #[test]
    fn both_sides_wrap_and_stay_side_by_side() {
        let pairs = [
            Pair {
                left: "one two three".to_owned(),
                right: vec!["four".to_owned(), "five six seven".to_owned()],
            },
            Pair {
                left: "eight".to_owned(),
                right: Vec::new(),
            },
        ];
        let text = render(("left", "right"), &pairs, 9);
        let expected = [
            "      left      │ right",
            "      ──────────┼──────────",
            "   1. one two   │ four",
            "      three     │ five six",
            "                │   seven",
            "   2. eight     │",
            "",
        ];
        assert_eq!(text, expected.join("\n"));
    }
}
