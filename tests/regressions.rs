//! Seeds that once failed, each with what was wrong; all of them hold now.
//!
//! A file of `tests/regressions/` names a scenario and a seed, and may change the scenario. They are run first in every
//! test run: a seed that failed once is the cheapest test there is.

use highwater::run::{Class, Options};
use highwater::scenario::{Expect, files, parse};
use highwater::sweep::run_one;
use std::path::Path;
use std::sync::Arc;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Regression {
    /// What was wrong, and where it was mended.
    story: String,
    /// A scenario as it was then, whole: scenario files may change, this must not.
    scenario: serde_json::Value,
    /// The seed.
    seed: u64,
    /// Whether it was the specification that it was held against.
    #[serde(default)]
    conform: bool,
}

#[test]
fn what_once_failed_holds() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions");
    let paths = files(&dir).expect("tests/regressions/");
    let mut wrong = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("readable");
        let name = path.display().to_string();
        let regression: Regression = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!regression.story.is_empty(), "{name}: tell what was wrong");
        let scenario = parse(&name, &regression.scenario.to_string()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(scenario.expect, Expect::Passes, "{name}: a regression holds now");
        let options = Options {
            conform: regression.conform,
            ..Options::default()
        };
        let outcome = run_one(&Arc::new(scenario), regression.seed, &options).expect("the machine works");
        if outcome.class != Class::Holds {
            wrong.push(format!("{name}: {}", outcome.headline()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
