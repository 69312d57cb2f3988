//! What the README says of the code, held against the code.

use kafka::wire::api::APIS;
use std::path::Path;

#[test]
fn the_table_of_apis_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(path).expect("the README");
    let section = text.split("## What a node serves").nth(1).expect("its section");
    let section = section.split("\n## ").next().expect("up to the next");
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    let shown: Vec<(String, String)> = rows
        .map(|row| {
            let mut cells = row.trim_matches('|').split('|').map(str::trim);
            let name = cells.next().unwrap_or_default();
            let versions = cells.next().unwrap_or_default();
            assert!(cells.next().is_some_and(|who| !who.is_empty()), "who needs {name}?");
            (name.to_owned(), versions.to_owned())
        })
        .collect();
    let served: Vec<(String, String)> = APIS
        .iter()
        .map(|api| {
            let mut versions = format!("{}-{}", api.min, api.max);
            if api.advertised_min != api.min {
                versions.push_str(&format!(" (shown from {})", api.advertised_min));
            }
            (format!("{:?}", api.key), versions)
        })
        .collect();
    assert_eq!(shown, served);
}
