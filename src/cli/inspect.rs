//! `lint`, `schema`, `checks`, `man`: what needs no simulation.

use super::Failure;
use super::files::expanded;
use crate::checks::Checks;
use crate::scenario;
use std::path::PathBuf;

/// Validates files; all of them are read, the first error of each is printed.
pub fn lint(files: &[PathBuf]) -> Result<u8, Failure> {
    let mut bad = 0;
    for file in &expanded(files)? {
        match scenario::load(file) {
            Ok(scenario) => println!("{}: ok ({})", file.display(), scenario.name),
            Err(error) => {
                eprintln!("highwater: {error}");
                bad += 1;
            }
        }
    }
    Ok(if bad == 0 { 0 } else { 2 })
}

/// The JSON Schema, as committed in `scenarios/schema.json`.
pub fn schema_text() -> String {
    let schema = schemars::schema_for!(scenario::Scenario);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}

pub(super) fn schema() -> Result<u8, Failure> {
    print!("{}", schema_text());
    Ok(0)
}

pub(super) fn checks() -> Result<u8, Failure> {
    for check in Checks::list() {
        println!("{:<4} {}\n     {}", check.id, check.title, check.source);
    }
    Ok(0)
}

pub(super) fn man(command: clap::Command) -> Result<u8, Failure> {
    let mut page = Vec::new();
    let failed = |error: std::io::Error| Failure::machine("cannot print the man page", &error);
    clap_mangen::Man::new(command).render(&mut page).map_err(failed)?;
    print!("{}", String::from_utf8_lossy(&page));
    Ok(0)
}
