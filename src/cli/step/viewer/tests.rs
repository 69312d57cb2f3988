//! The viewer on a terminal of 80 columns and 24 lines.

#[path = "../../../../tests/common/golden.rs"]
mod golden;

use super::*;
use crate::cli::plain::film;
use crate::lessons;
use crate::run::Options;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

const WIDTH: u16 = 80;
const HEIGHT: u16 = 24;

fn lesson(name: &str) -> Film {
    let scenario = lessons::named(name).expect("valid").expect("there is one");
    film(&scenario, 0, &Options::default()).expect("it runs").0
}

fn screen(viewer: &mut Viewer<'_>) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(WIDTH, HEIGHT)).expect("a terminal in memory");
    terminal.draw(|frame| viewer.draw(frame)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let row = |y| (0..WIDTH).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..HEIGHT).map(|y| row(y).trim_end().to_owned()).collect()
}

fn next(viewer: &mut Viewer<'_>) {
    assert!(viewer.press(KeyCode::Char(' ')));
}

/// Goes on until the script's step of this number, answering with `key`.
fn until_step(viewer: &mut Viewer<'_>, number: usize, key: char) {
    for _ in 0..500 {
        if viewer.asking.is_some() {
            viewer.press(KeyCode::Char(key));
        } else if viewer.film.taken()[number] == viewer.at && !viewer.is_cover {
            return;
        } else {
            next(viewer);
        }
    }
    panic!("step {number} is never reached");
}

#[test]
fn the_truncation_stands_on_one_screen() {
    let film = lesson("truncation");
    let mut viewer = Viewer::new(&film);
    let number = film.taken().len() - 3;
    until_step(&mut viewer, number, '1');
    let text = |viewer: &mut Viewer<'_>| screen(viewer).join("\n");
    assert!(
        text(&mut viewer).contains("hw ?  end 103  e?"),
        "b1 is back with its 102"
    );
    next(&mut viewer);
    viewer.press(KeyCode::Char('2'));
    while !text(&mut viewer).contains("truncated t-0 from end 103") {
        assert!(viewer.at < film.taken()[number + 1], "there is no truncation");
        next(&mut viewer);
    }
    let lines = screen(&mut viewer);
    let b1 = lines.iter().find(|line| line.starts_with("  b1 ")).expect("its row");
    assert!(b1.contains("end 102"), "102 has left its log: {b1}");
    assert_eq!(lines[lines.len() - 2..], KEYS, "the keys are shown");
    golden::check("lessons/truncation.screen.txt", &(lines.join("\n") + "\n"));
    until_step(&mut viewer, number + 1, ' ');
    assert!(text(&mut viewer).contains("You said 2: right."));
}

#[test]
fn a_question_comes_before_its_step_and_the_answer_with_it() {
    let film = lesson("truncation");
    let asked = (1..film.taken().len()).find(|number| film.told(*number).answers.is_some());
    let asked = asked.expect("it asks something");
    let quiz = film.told(asked).answers.expect("just found");
    let mut viewer = Viewer::new(&film);
    until_step(&mut viewer, asked - 1, ' ');
    // Not even to the end does one get past it.
    viewer.press(KeyCode::Char('G'));
    assert_eq!((viewer.asking, viewer.at), (Some(asked), film.taken()[asked - 1]));
    let text = screen(&mut viewer).join("\n");
    assert!(text.contains("Question: "), "{text}");
    assert!(text.contains(&format!("1-{} answer", quiz.choices.len())), "{text}");
    assert!(!text.contains(&quiz.answer[..20]), "the answer comes later: {text}");
    // No choice has this number.
    viewer.press(KeyCode::Char('9'));
    assert_eq!(viewer.asking, Some(asked));
    let wrong = if quiz.number() == 1 { '2' } else { '1' };
    viewer.press(KeyCode::Char(wrong));
    assert_eq!(viewer.asking, None);
    let text = screen(&mut viewer).join("\n");
    assert!(text.contains(&format!("You say {wrong}")), "{text}");
    until_step(&mut viewer, asked, ' ');
    let text = screen(&mut viewer).join("\n");
    assert!(text.contains(&format!("You said {wrong}: not so.")), "{text}");
    assert!(text.contains(&format!("Answer: {}", quiz.number())), "{text}");
    // It is asked once.
    viewer.press(KeyCode::Char('g'));
    until_step(&mut viewer, asked, 'q');
}

#[test]
fn nothing_is_cut_on_any_screen_of_any_lesson() {
    for name in lessons::names() {
        let film = lesson(name);
        let mut viewer = Viewer::new(&film);
        let mut screens = 0;
        loop {
            let lines = screen(&mut viewer);
            let text = lines.join("\n");
            assert!(!text.contains('…'), "{name}: cut: {text}");
            let keys = &lines[lines.len() - 2..];
            assert!(
                keys.iter().any(|line| line.contains("q quit")),
                "{name}: no keys: {text}"
            );
            let all = viewer.lines(usize::from(WIDTH));
            assert!(all.iter().all(|line| line.chars().count() <= 80), "{name}: {all:#?}");
            if all.len() > usize::from(HEIGHT) - 3 {
                assert!(text.contains("more lines: ↓"), "{name}: {text}");
                viewer.scroll = usize::MAX;
                let end = screen(&mut viewer);
                let last = all.iter().rfind(|line| !line.is_empty()).expect("it has some");
                assert!(end.contains(&last.trim_end().to_owned()), "{name}: {end:#?}");
                viewer.scroll = 0;
            }
            screens += 1;
            if viewer.at + 1 == film.len() && viewer.asking.is_none() {
                break;
            }
            next(&mut viewer);
        }
        assert!(screens > film.taken().len(), "{name}");
        let closing = screen(&mut viewer).join("\n");
        let words = film.head().closing[0][..20].to_owned();
        assert!(
            closing.contains(&words),
            "{name}: the end says what to remember: {closing}"
        );
    }
}

#[test]
fn one_goes_back_as_one_goes_forward() {
    let film = lesson("log");
    let mut viewer = Viewer::new(&film);
    assert!(screen(&mut viewer)[0].starts_with("log: "), "the cover");
    next(&mut viewer);
    let first = viewer.at;
    viewer.press(KeyCode::Char('n'));
    assert_eq!(viewer.at, first + 1);
    viewer.press(KeyCode::Char('p'));
    assert_eq!(viewer.at, first);
    next(&mut viewer);
    assert!(viewer.at > first);
    viewer.press(KeyCode::Char('b'));
    assert_eq!(viewer.at, first);
    assert!(!viewer.press(KeyCode::Char('q')), "over");
}

#[test]
fn letters_go_to_what_turned_and_a_search_to_what_is_said() {
    let scenario = crate::scenario::load(std::path::Path::new("scenarios/museum-02-timeline.json")).expect("valid");
    let film = film(&scenario, 0, &Options::default()).expect("it runs").0;
    let mut viewer = Viewer::new(&film);
    next(&mut viewer);
    let start = viewer.at;
    let text = |viewer: &mut Viewer<'_>| screen(viewer).join("\n");
    for (letter, said) in [
        ('e', "leads t-0"),
        ('i', "now has leader"),
        ('a', "was told"),
        ('v', "BROKEN X11"),
    ] {
        viewer.at = start;
        viewer.press(KeyCode::Char(letter));
        assert!(viewer.at > start, "{letter}");
        assert!(text(&mut viewer).contains(said), "{letter}: {}", text(&mut viewer));
        let first = viewer.at;
        viewer.press(KeyCode::Char(letter));
        assert!(viewer.at > first, "another {letter}");
        viewer.press(KeyCode::Char(letter.to_ascii_uppercase()));
        assert_eq!(viewer.at, first, "{letter} and back");
    }
    viewer.press(KeyCode::Char('t'));
    assert!(
        text(&mut viewer).contains("No later truncation."),
        "the bug cuts nothing"
    );
    let type_in = |viewer: &mut Viewer<'_>, words: &str| {
        viewer.press(KeyCode::Char('/'));
        words.chars().for_each(|letter| _ = viewer.press(KeyCode::Char(letter)));
        assert!(text(viewer).contains(&format!("search: {words}_")));
        viewer.press(KeyCode::Enter);
    };
    viewer.at = start;
    type_in(&mut viewer, "STANDS for election");
    assert!(text(&mut viewer).contains("stands for election"));
    let found = viewer.at;
    type_in(&mut viewer, "quit, said nobody");
    assert_eq!(viewer.at, found);
    assert!(text(&mut viewer).contains("Nothing says `quit, said nobody`."));
    viewer.press(KeyCode::Char('/'));
    viewer.press(KeyCode::Esc);
    assert_eq!((viewer.at, viewer.typed.clone()), (found, None));
}

#[test]
fn many_sends_at_once_are_told_by_the_first_and_the_last() {
    let film = lesson("truncation");
    let mut viewer = Viewer::new(&film);
    next(&mut viewer);
    let text = screen(&mut viewer).join("\n");
    assert!(text.contains("more like it)"), "{text}");
    assert!(!text.contains("more lines: ↓"), "it fits: {text}");
}
