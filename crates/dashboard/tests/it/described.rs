//! The description of the API beside the answers of networks of other kinds, and beside itself.

use crate::{
    api::check,
    network::home_with_network,
    scene::{Home, Judge, player, rules_of_succession},
};
use dashboard::api::OPENAPI;
use serde_json::Value;
use std::collections::BTreeSet;

fn whole() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

/// Checks the answer at an address by what is said of its path.
fn checked(home: &Home, whole: &Value, path: &str, address: &str) -> Value {
    let responses = &whole["paths"][path]["get"]["responses"];
    let answer = home.answer(address);
    let status = answer.status.to_string();
    let content = &responses[&status]["content"];
    assert!(content.is_object(), "{address}: {status} is not described");
    assert!(content.get(answer.kind).is_some(), "{address}: {} is not described", answer.kind);
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    check(&said, &content[answer.kind]["schema"], whole, address);
    said
}

#[test]
fn answers_without_duels_and_of_a_whole_network_are_as_they_are_described() {
    let whole = whole();
    let mut judge = Judge::new(1);
    judge.rules = rules_of_succession();
    judge.judge(&[player(1, 0.0)]);
    judge.judge(&[player(1, 0.0), player(2, 0.1)]);
    let mut home = Home::new();
    home.rules = vec![rules_of_succession()];
    home.read(&[&judge]);
    for (path, address) in [
        ("/api/v1/overview", "/api/v1/overview"),
        ("/api/v1/c/{competition}", "/api/v1/c/tiny?sort=-board.loss&q=miner"),
        ("/api/v1/c/{competition}/crown/{number}", "/api/v1/c/tiny/crown/2"),
        ("/api/v1/c/{competition}/crown/{number}", "/api/v1/c/tiny/crown/1"),
        ("/api/v1/c/{competition}/round/{number}", "/api/v1/c/tiny/round/1?block=1010"),
        ("/api/v1/c/{competition}/compare", "/api/v1/c/tiny/compare"),
    ] {
        let said = checked(&home, &whole, path, address);
        assert!(said["tables"].is_object(), "{address}: {said}");
    }
    let network = home_with_network();
    let said = checked(&network, &whole, "/api/v1/network", "/api/v1/network");
    let tables = said["tables"].as_object().unwrap();
    assert!(tables.values().any(|table| table["rows"].as_array().unwrap().len() == 256), "{said}");
    checked(&network, &whole, "/api/v1/overview", "/api/v1/overview");
}

#[test]
fn what_is_missing_is_told_as_it_is_described_and_never_as_a_page() {
    let whole = whole();
    let judge = Judge::of_four_rounds(1);
    let mut home = Home::new();
    home.read(&[&judge]);
    for (path, address) in [
        ("/api/v1/c/{competition}", "/api/v1/c/none"),
        ("/api/v1/c/{competition}", "/api/v1/c/tiny?block=1"),
        ("/api/v1/c/{competition}/rounds", "/api/v1/c/%3Cb%3E/rounds"),
        ("/api/v1/c/{competition}/round/{number}", "/api/v1/c/tiny/round/99"),
        ("/api/v1/c/{competition}/round/{number}", "/api/v1/c/tiny/round/-1"),
        ("/api/v1/c/{competition}/crown/{number}", "/api/v1/c/tiny/crown/3"),
        ("/api/v1/model/{root}", "/api/v1/model/00"),
        ("/api/v1/model/{root}", "/api/v1/model/%F0%9F%91%91"),
        ("/api/v1/miner/{hotkey}", "/api/v1/miner/nobody"),
        ("/api/v1/validator/{hotkey}", "/api/v1/validator/nobody"),
    ] {
        let said = checked(&home, &whole, path, address);
        assert!(!said["error"].as_str().unwrap().is_empty(), "{address}: {said}");
    }
}

#[test]
fn an_answer_says_as_of_which_block_it_is_and_keeps_what_it_is_asked() {
    let whole = whole();
    let judge = Judge::of_four_rounds(1);
    let mut home = Home::new();
    home.read(&[&judge]);
    let path = "/api/v1/c/{competition}/rounds";
    let numbers = |query: &str| -> Vec<u64> {
        let said = checked(&home, &whole, path, &format!("/api/v1/c/tiny/rounds{query}"));
        let rows = said["tables"]["records"]["rows"].as_array().unwrap().clone();
        rows.iter().map(|row| row["number"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(""), [4, 3, 2, 1]);
    assert_eq!(numbers("?block=1020"), [2, 1]);
    assert_eq!(numbers("?sort=records.number"), [1, 2, 3, 4]);
    assert_eq!(numbers("?sort=records.number&block=1030&page=7"), [1, 2, 3], "without pages");
    assert_eq!(numbers("?q=nothing-has-this"), [0_u64; 0]);
    for (query, block) in [("", None), ("?block=1020", Some(1_020)), ("?block=x", None)] {
        let said = checked(&home, &whole, path, &format!("/api/v1/c/tiny/rounds{query}"));
        assert_eq!(said["block"].as_u64(), block, "{query}");
    }
}

/// All values below one, with where they stand.
fn below<'a>(value: &'a Value, at: &str, found: &mut Vec<(String, &'a Value)>) {
    found.push((at.to_owned(), value));
    for (key, value) in value.as_object().into_iter().flatten() {
        below(value, &format!("{at}/{key}"), found);
    }
    for value in value.as_array().into_iter().flatten() {
        below(value, &format!("{at}[]"), found);
    }
}

#[test]
fn the_description_is_whole_in_itself() {
    let whole = whole();
    assert_eq!(whole["openapi"], "3.1.0");
    let mut all = Vec::new();
    below(&whole, "", &mut all);
    let mut named = BTreeSet::new();
    for (at, value) in &all {
        if let Some(name) = value.get("$ref").and_then(Value::as_str) {
            let name = name.strip_prefix('#').expect("of this file");
            assert!(whole.pointer(name).is_some(), "{at}: nothing is called {name}");
            named.insert(name.to_owned());
        }
    }
    for name in whole["components"]["schemas"].as_object().unwrap().keys() {
        let used = named.contains(&format!("/components/schemas/{name}"));
        assert!(used, "{name} is the schema of nothing");
    }
    for (path, methods) in whole["paths"].as_object().unwrap() {
        let parameters = methods["get"]["parameters"].as_array().into_iter().flatten();
        let in_path: BTreeSet<&str> = parameters
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| {
                assert_eq!(parameter["required"], true, "{path}");
                parameter["name"].as_str().unwrap()
            })
            .collect();
        let parts = path.split('/').filter_map(|part| part.strip_prefix('{'));
        let wanted: BTreeSet<&str> = parts.filter_map(|part| part.split('}').next()).collect();
        assert_eq!(in_path, wanted, "{path}");
        assert!(!methods["get"]["summary"].as_str().unwrap().is_empty(), "{path}");
        assert_eq!(methods.as_object().unwrap().len(), 1, "{path}: only GET");
    }
}
