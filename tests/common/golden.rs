//! Text that is held in a file.

use std::path::Path;

/// Holds `text` against a file below `tests/`; with `UPDATE_GOLDEN=1` in the environment it is written there instead.
pub fn check(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("below tests/")).expect("a directory");
        std::fs::write(&path, text).expect("written");
        return;
    }
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    if held == text {
        return;
    }
    let at = held.lines().zip(text.lines()).take_while(|(a, b)| a == b).count();
    let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
    panic!(
        "tests/{file} is not what is shown now, from line {} on.\n  held: {}\n  now:  {}\nIf the new text is right: \
         UPDATE_GOLDEN=1 cargo test lesson",
        at + 1,
        line(&held),
        line(text)
    );
}
