//! What the page asks, without a browser.

use super::*;
use crate::checks::Checks;

fn table() -> Play {
    Play::new(crate::scenario::playground(), 0)
}

fn ask(play: &mut Play, path: &str, body: serde_json::Value) -> serde_json::Value {
    let request = Request {
        method: "POST".to_owned(),
        path: path.to_owned(),
        body: body.to_string().into_bytes(),
    };
    serde_json::from_str(&play.answer(&request).body).expect("JSON")
}

fn leader(told: &serde_json::Value) -> Option<&str> {
    let nodes = told["nodes"].as_array().expect("nodes");
    let leads = |node: &&serde_json::Value| {
        node["leads"]
            .as_array()
            .is_some_and(|leads| leads.contains(&json!("t-0")))
    };
    nodes.iter().find(leads).and_then(|node| node["name"].as_str())
}

#[test]
fn a_crash_brings_another_leader_and_undo_takes_it_back() {
    let mut play = table();
    let before = json!([{"when": {"after_ms": 500}}]);
    let first = ask(&mut play, "/run", json!({"steps": before}));
    let old = leader(&first).expect("somebody leads").to_owned();
    let crash = json!([{"when": {"after_ms": 500}}, {"do": [{"kill": old}]}, {"when": {"after_ms": 8000}}]);
    let crashed = ask(&mut play, "/run", json!({"steps": crash}));
    let new = leader(&crashed).expect("somebody else leads");
    assert_ne!(new, old);
    let nodes = crashed["nodes"].as_array().expect("nodes");
    assert!(
        nodes
            .iter()
            .any(|node| node["name"] == json!(old) && node["up"] == json!(false))
    );
    let again = ask(&mut play, "/run", json!({"steps": before}));
    assert_eq!(again["digest"], first["digest"], "undone, it is the same run as before");
    assert_eq!(leader(&again), Some(old.as_str()));
}

#[test]
fn every_light_is_there_and_those_that_have_looked_say_so() {
    let mut play = table();
    let steps =
        json!([{"do": [{"send": {"client": "p2", "partition": "t-0", "count": 3}}]}, {"when": {"after_ms": 2000}}]);
    let told = ask(&mut play, "/run", json!({ "steps": steps }));
    let lights = told["lights"].as_array().expect("lights");
    assert_eq!(lights.len(), Checks::list().len());
    assert!(lights.iter().all(|light| light["broken"].is_null()));
    let looked = |id: &str| {
        lights
            .iter()
            .find(|light| light["id"] == json!(id))
            .and_then(|light| light["looked"].as_u64())
    };
    assert!(looked("I9") > Some(0) && looked("C1") > Some(0));
}

#[test]
fn what_cannot_be_is_said_and_changes_nothing() {
    let mut play = table();
    let wrong = |told: serde_json::Value| told["wrong"].as_str().expect("wrong").to_owned();
    let unknown = ask(&mut play, "/run", json!({"steps": [{"do": [{"kill": "b9"}]}]}));
    assert!(wrong(unknown).contains("b9"));
    assert!(wrong(ask(&mut play, "/run", json!({"steps": [{"jump": 1}]}))).contains("no move"));
    let name = ask(&mut play, "/scenario", json!({"steps": [], "name": "../x"}));
    assert!(wrong(name).contains("no name for a scenario"));
    assert!(play.pages.is_empty());
    let far = Request {
        method: "GET".to_owned(),
        path: "/view/7".to_owned(),
        body: Vec::new(),
    };
    assert!(play.answer(&far).body.contains("left"));
}

#[test]
fn what_was_played_is_saved_as_a_scenario_that_runs() {
    let mut play = table();
    let steps = json!([{"do": [{"kill": "b1"}]}, {"when": {"after_ms": 3000}}, {"do": [{"start": "b1"}]}, {"when": {"after_ms": 500}}]);
    let told = ask(&mut play, "/run", json!({ "steps": steps }));
    let saved = ask(
        &mut play,
        "/scenario",
        json!({"steps": steps, "name": "my-game", "played_ms": told["time_ms"]}),
    );
    let text = saved["scenario"].as_str().expect("saved");
    let scenario = crate::scenario::parse("my-game", text).expect("a scenario file");
    let outcome = crate::run::run(&scenario, 0, &crate::run::Options::default());
    assert_eq!(outcome.headline(), "holds");
    assert_eq!(outcome.faults.get("kill"), Some(&1));
}

#[test]
fn the_page_asks_nobody_but_its_own_host() {
    // The name space of drawings is a name, not an address.
    let page = reports::view::play_page().replace("http://www.w3.org/2000/svg", "");
    assert!(page.contains("default-src 'none'") && page.contains("connect-src 'self'"));
    assert!(!page.contains("http://") && !page.contains("https://"));
}

/// Log ends of the three replicas, as the last step of the page's data has them.
fn ends(play: &mut Play, steps: &serde_json::Value) -> Vec<i64> {
    let asked = Asked::read(json!({ "steps": steps }).to_string().as_bytes()).expect("moves");
    let trial = Trial::run(&play.base, play.seed, asked).expect("they can be played");
    let view = reports::view::unpack(&trial.page).expect("a page");
    let state = view.state(view.steps.len() - 1);
    let topic = view
        .partitions
        .iter()
        .position(|name| name == "t-0")
        .expect("it exists") as u16;
    (0..3)
        .map(|node| state.replicas[&(node, topic)].log_end_offset)
        .collect()
}

#[test]
fn messages_of_a_link_wait_go_one_by_one_or_are_lost_with_their_connection() {
    let mut play = table();
    let link = json!({"from": "b1", "to": "b2"});
    let mut steps = vec![
        json!({"when": {"leads": {"node": "b1", "partition": "t-0"}}, "do": [{"hold": link}]}),
        json!({"do": [{"send": {"client": "p1", "partition": "t-0", "count": 3}}]}),
        json!({"when": {"after_ms": 1000}}),
    ];
    let go = |play: &mut Play, steps: &Vec<serde_json::Value>| ends(play, &json!(steps));
    assert_eq!(go(&mut play, &steps), [3, 0, 3], "no answer of the leader reaches b2");
    let held = steps.clone();
    // What waits for b2 is an answer to its fetch, and more.
    for _ in 0..3 {
        steps.push(json!({"do": [{"let_through": link}]}));
        steps.push(json!({"when": {"after_ms": 200}}));
    }
    assert_eq!(go(&mut play, &steps), [3, 3, 3]);

    // Lost, the connection is lost too; what is sent on the next one waits as well.
    let mut lost = held.clone();
    lost.push(json!({"do": [{"drop": link}]}));
    lost.push(json!({"when": {"after_ms": 1000}}));
    assert_eq!(go(&mut play, &lost), [3, 0, 3]);
    lost.push(json!({"do": [{"release": link}]}));
    lost.push(json!({"when": {"after_ms": 8000}}));
    assert_eq!(go(&mut play, &lost), [3, 3, 3]);
}
