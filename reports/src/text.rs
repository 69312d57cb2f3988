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

/// The words of a text in lines of at most `width` characters, the first after `lead`, the others as far to the right.
/// A word that is longer than a line is broken.
pub fn hang(lead: &str, text: &str, width: usize) -> Vec<String> {
    let indent = lead.chars().count();
    let room = width.saturating_sub(indent).max(1);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        for piece in pieces(word, room) {
            let line = lines.last_mut().expect("there is always one");
            let used = line.chars().count();
            if used == 0 {
                line.push_str(&piece);
            } else if used + 1 + piece.chars().count() > room {
                lines.push(piece);
            } else {
                line.push(' ');
                line.push_str(&piece);
            }
        }
    }
    let first = |i: usize| if i == 0 { lead.to_owned() } else { " ".repeat(indent) };
    let hung = lines.iter().enumerate().map(|(i, line)| first(i) + line);
    hung.map(|line| line.trim_end().to_owned()).collect()
}

fn pieces(word: &str, room: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    letters.chunks(room).map(|piece| piece.iter().collect()).collect()
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
