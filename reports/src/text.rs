//! Words in lines of a given width.

/// Cuts a line at `width` characters, showing that it was cut.
pub fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let mut text: String = line.chars().take(width.saturating_sub(1)).collect();
    text.push('…');
    text
}

/// The words of a text in lines of at most `width` characters, the first after `first`, the others after `rest`. A word that
/// is longer than a line is broken.
pub fn wrap(text: &str, first: &str, rest: &str, width: usize) -> Vec<String> {
    let room = |lead: &str| width.saturating_sub(lead.chars().count()).max(1);
    let mut lines = vec![first.to_owned()];
    let mut left = room(first);
    let mut is_fresh = true;
    for piece in text
        .split_whitespace()
        .flat_map(|word| pieces(word, room(first).min(room(rest))))
    {
        let length = piece.chars().count();
        if !is_fresh && length + 1 > left {
            lines.push(rest.to_owned());
            (left, is_fresh) = (room(rest), true);
        }
        let line = lines.last_mut().expect("there is always one");
        if !is_fresh {
            line.push(' ');
            left -= 1;
        }
        line.push_str(&piece);
        (left, is_fresh) = (left - length, false);
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// A text behind a label, all lines as far to the right.
pub fn hang(label: &str, text: &str, width: usize) -> Vec<String> {
    wrap(text, label, &" ".repeat(label.chars().count()), width)
}

fn pieces(word: &str, room: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    letters.chunks(room).map(|piece| piece.iter().collect()).collect()
}

/// Text as it may stand in HTML and XML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_on_in_the_next_line_below_the_first() {
        let lines = hang("  > ", "one two three four five six seven", 24);
        assert_eq!(lines, ["  > one two three four", "    five six seven"]);
    }

    #[test]
    fn a_word_that_is_too_long_is_broken() {
        assert_eq!(hang("- ", "a abcdefgh", 6), ["- a", "  abcd", "  efgh"]);
    }

    #[test]
    fn a_cut_is_shown() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
    }
}
