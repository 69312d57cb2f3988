//! `lessons`, `lesson`: scenarios with a narrator.

use super::plain::LINE;
use super::{Failure, LessonArgs, html, plain, step};
use crate::lessons;
use crate::run::Options;
use std::io::IsTerminal;

pub(super) fn list() -> Result<u8, Failure> {
    for scenario in lessons::all()? {
        let Some(lesson) = &scenario.lesson else { continue };
        println!("{:<18} {}", scenario.name, lesson.title);
        let sections = crate::story::sections(&lesson.sections);
        let words = format!("{sections} of the notes: {}", scenario.description);
        for line in reports::text::hang("    ", &words, LINE) {
            println!("{line}");
        }
    }
    println!("\nhighwater lesson NAME");
    Ok(0)
}

pub(super) fn run(args: &LessonArgs) -> Result<u8, Failure> {
    let scenario = lessons::named(&args.name)?.ok_or_else(|| Failure {
        code: 2,
        text: format!(
            "there is no lesson `{}`; there are: {}",
            args.name,
            lessons::names().join(", ")
        ),
    })?;
    let options = Options::default();
    if let Some(out) = &args.html {
        let command = format!("highwater lesson {} --seed {}", args.name, args.seed);
        return html::write(&scenario, args.seed, &options, &command, out);
    }
    // Whoever sits before a terminal steps through it; a file or a pipe gets text.
    if args.step || (!args.plain && std::io::stdout().is_terminal()) {
        step::walk(&scenario, args.seed, &options)
    } else {
        plain::print(&scenario, args.seed, &options)
    }
}
