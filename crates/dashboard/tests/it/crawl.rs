//! Every page that can be reached: where its links lead, and what it is made of.

use crate::{
    markup::{Element, elements, inside, named},
    scene::{Home, Judge, addresses, key, player, rules, subnet},
};
use dashboard::feed::file;
use protocol::AccountId;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A judge of four rounds in a subnet, and a home that has read both.
fn scene() -> (Judge, Home) {
    let judge = Judge::of_four_rounds(1);
    let mut home = Home::new();
    home.read(&[&judge]);
    let miner = AccountId([2; 32]);
    home.note(&subnet(1_041, &[(judge.key.public(), 7_000_000_000, true), (miner, 0, false)]));
    (judge, home)
}

/// Follows all links from an address that are to be followed, of which each has to lead to
/// something; the paths of what was there. What sorts a table and what is a table alone is looked
/// at elsewhere.
fn crawled(home: &Home, start: &str, follows: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut wanted = vec![(start.to_owned(), "the reader".to_owned())];
    let (mut seen, mut paths) = (BTreeSet::new(), BTreeSet::new());
    while let Some((address, from)) = wanted.pop() {
        let (address, fragment) = address.split_once('#').unwrap_or((address.as_str(), ""));
        let path = address.split('?').next().unwrap();
        if !seen.insert(address.to_owned()) {
            continue;
        }
        if file(path).is_some() {
            continue;
        }
        let answer = home.answer(address);
        let body = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 200, "{from} leads to {address}: {body}");
        paths.insert(path.to_owned());
        if !answer.kind.starts_with("text/html") {
            continue;
        }
        let all = elements(&body);
        let is_there = |id: &str| all.iter().any(|element| element.get("id") == Some(id));
        assert!(fragment.is_empty() || is_there(fragment), "{address} has no {fragment}");
        for element in &all {
            let Some(to) = element.leads_to() else { continue };
            if let Some(id) = to.strip_prefix('#') {
                assert!(is_there(id), "{address} has no {id}");
                continue;
            }
            if !to.starts_with('/') {
                assert!(to.starts_with("https://hub.example/"), "{address} leads to {to}");
                continue;
            }
            let is_table = to.split('?').next().is_some_and(|path| path.ends_with(".csv"));
            if element.get("rel") != Some("nofollow") && !is_table && follows(to) {
                wanted.push((to.to_owned(), address.to_owned()));
            }
        }
    }
    paths
}

#[test]
fn every_link_leads_to_something_and_every_page_is_reached_from_the_first() {
    let (judge, home) = scene();
    let is_page = |to: &str| {
        let path = to.split('?').next().unwrap();
        !path.ends_with(".json") || path.starts_with("/record/") || path.starts_with("/api/")
    };
    let paths = crawled(&home, "/", is_page);
    for address in addresses(&judge) {
        let path = address.split('?').next().unwrap();
        assert!(paths.contains(path), "nothing leads to {path}: {paths:?}");
    }
    for path in ["/crowns.atom", "/c/tiny/chart.svg", "/c/tiny/round/4/losses"] {
        assert!(paths.contains(path), "nothing leads to {path}: {paths:?}");
    }
    assert!(!paths.iter().any(|path| path.ends_with("/round/5")), "{paths:?}");
}

#[test]
fn links_of_a_page_of_the_past_lead_to_pages_of_then_that_are_there() {
    let mut later = Judge::new(1);
    later.rules.name = "later".to_owned();
    later.begins = 1_100;
    later.judge(&[player(1, 0.0)]);
    let mut home = Home::new();
    home.rules = vec![rules(), later.rules.clone()];
    home.read(&[&Judge::of_four_rounds(1), &later]);
    let is_of_then = |to: &str| to.contains("block=1025") && !to.contains(".json");
    let paths = crawled(&home, "/?block=1025", is_of_then);
    for path in ["/c/tiny", "/c/tiny/round/2", "/c/tiny/crown/2", "/network"] {
        assert!(paths.contains(path), "nothing leads to {path}: {paths:?}");
    }
    for path in ["/c/later", "/c/tiny/round/3", "/c/tiny/round/4"] {
        assert!(!paths.contains(path), "{path} was not there yet");
    }
}

/// Links of what a page says of the record that it is told by.
fn told_by(page: &str) -> Vec<String> {
    let all = elements(page);
    let is_it =
        |it: &Element| it.get("class") == Some("from") && it.text.starts_with("From record ");
    let at = all.iter().position(is_it).unwrap();
    let links = named(inside(&all, at), "a").into_iter();
    links.map(|link| link.get("href").unwrap().to_owned()).collect()
}

#[test]
fn the_record_that_a_page_is_told_by_is_that_of_its_validator_whoever_others_are_told_by() {
    let judges = [1, 2].map(Judge::of_four_rounds);
    let mut home = Home::new();
    home.read(&[&judges[0], &judges[1]]);
    let first = home.index().heads().unwrap()[0].validator;
    for address in ["/", "/c/tiny", "/c/tiny/round/2", "/c/tiny/crown/2", "/c/tiny/rounds"] {
        let wanted =
            |number: u64, key: AccountId| format!("/c/tiny/round/{number}?validator={key}");
        let number = if address.ends_with("/2") { 2 } else { 4 };
        assert_eq!(told_by(&home.page(address))[0], wanted(number, first), "{address}");
        for judge in &judges {
            let key = judge.key.public();
            let page = home.page(&format!("{address}?validator={key}"));
            let links = told_by(&page);
            assert_eq!(links[0], wanted(number, key), "{address}");
            assert!(links[1].starts_with(&format!("/validator/{key}")), "{address}: {links:?}");
            let record = home.page(&links[0]);
            assert_eq!(told_by(&record)[0], links[0], "it is the record itself");
        }
    }
    let then = told_by(&home.page("/c/tiny?block=1025"));
    assert_eq!(then[0], format!("/c/tiny/round/2?validator={first}&block=1025"));
}

/// The elements of the pages of the scene, by address.
fn pages() -> BTreeMap<String, Vec<Element>> {
    let (judge, home) = scene();
    let read = |address: String| (address.clone(), elements(&home.page(&address)));
    addresses(&judge).into_iter().map(read).collect()
}

/// Whether a page is one that everybody can find the way in, with a keyboard or a screen reader.
fn check_names(address: &str, all: &[Element]) {
    let only = |name: &str| -> Element {
        let found = named(all, name);
        let heads: Vec<&&Element> = found.iter().filter(|it| !it.is_in("svg")).collect();
        assert_eq!(heads.len(), 1, "{address}: {name}");
        (**heads[0]).clone()
    };
    assert_eq!(only("html").get("lang"), Some("en"), "{address}");
    let (title, heading, main) = (only("title"), only("h1"), only("main"));
    assert_eq!(title.text, format!("{} – agon", heading.text), "{address}");
    assert_eq!(main.get("id"), Some("content"), "{address}");
    let lead = all.iter().find(|it| it.get("class") == Some("lead")).unwrap();
    let says = |it: &&Element| it.get("name") == Some("description");
    let description = all.iter().find(says).unwrap().get("content");
    assert_eq!(description, Some(lead.text.as_str()), "{address}");
    assert!(lead.text.ends_with('.'), "{address}: {}", lead.text);
    let mut ids = BTreeSet::new();
    for element in all {
        let name = element.name.as_str();
        if let Some(id) = element.get("id") {
            assert!(ids.insert(id), "{address}: {id} twice");
        }
        let is_hidden = element.get("type") == Some("hidden");
        let is_field = ["select", "input"].contains(&name) && !is_hidden;
        assert!(!is_field || element.is_in("label"), "{address}: {element:?}");
        let is_named = element.get("aria-label").is_some_and(|label| !label.is_empty());
        let wants_name = ["nav", "svg"].contains(&name) || element.get("role") == Some("region");
        assert!(!wants_name || is_named, "{address}: {element:?}");
        let is_spoken = ["a", "button", "h2", "th", "caption", "option", "dt"].contains(&name);
        assert!(!is_spoken || !element.text.trim().is_empty(), "{address}: {element:?}");
        assert!(name != "time" || element.get("datetime").is_some(), "{address}: {element:?}");
    }
    let scrolls: Vec<&Element> =
        all.iter().filter(|element| element.get("class") == Some("table")).collect();
    assert!(scrolls.iter().all(|it| it.get("tabindex") == Some("0")), "{address}: no keyboard");
}

#[test]
fn every_page_has_names_for_all_that_is_looked_for_by_name() {
    for (address, all) in pages() {
        check_names(&address, &all);
    }
}

#[test]
fn pages_have_nothing_that_their_policy_forbids() {
    for (address, all) in pages() {
        let scripts = named(&all, "script");
        let sources: Vec<Option<&str>> = scripts.iter().map(|script| script.get("src")).collect();
        assert_eq!(sources, [Some("/live.js")], "{address}");
        assert_eq!(scripts[0].text, "", "{address}: a script in the page");
        for name in ["style", "iframe", "object", "embed", "base", "img", "foreignObject"] {
            assert!(named(&all, name).is_empty(), "{address}: {name}");
        }
        for element in &all {
            let to = element.leads_to().unwrap_or_default();
            let is_plain = to.is_empty() || to.starts_with(['/', '#']) || to.starts_with("https:");
            assert!(is_plain && !to.starts_with("//"), "{address}: {element:?}");
            let is_kept = element.name != "link" || to.starts_with('/');
            assert!(is_kept, "{address}: {to} is another's");
        }
    }
}

/// The JSON of a page, and the address of one of its tables as CSV.
fn forms(address: &str) -> (String, impl Fn(&str) -> String) {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let path = if path == "/" { "/overview" } else { path };
    let (path, query) = (path.to_owned(), query.to_owned());
    let json = format!("{path}.json?{query}");
    (json, move |table: &str| format!("{path}.csv?{query}&table={table}"))
}

/// Compares a table of a page with the same one as JSON and CSV.
fn check_table(name: &str, json: &Value, csv: &str, all: &[Element]) {
    let at = all.iter().position(|element| element.get("id") == Some(name)).unwrap();
    let table = inside(all, at);
    let rows = json["rows"].as_array().unwrap();
    let keys: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    assert_eq!(csv.lines().count(), 1 + rows.len(), "{name}");
    let caption = json["caption"].as_str().unwrap();
    assert_eq!(all[at].get("aria-label"), Some(caption), "{name}");
    assert!(named(table, "caption")[0].text.starts_with(caption), "{name}");
    let heads = named(table, "th");
    assert_eq!(heads.len(), keys.len(), "{name}");
    for (head, key) in heads.iter().zip(&keys) {
        let unit = json["units"][key].as_str().unwrap_or_default();
        assert_eq!(head.get("scope"), Some("col"), "{name}");
        assert!(head.text.ends_with(unit), "{name}: {} in {unit}", head.text);
    }
    let cells: Vec<&Element> = named(table, "td");
    if rows.is_empty() {
        let n_columns = keys.len().to_string();
        assert_eq!(cells.len(), 1, "{name}");
        assert_eq!(cells[0].get("colspan"), Some(n_columns.as_str()), "{name}");
        return;
    }
    assert_eq!(cells.len(), rows.len() * keys.len(), "{name}");
    for (row, shown) in rows.iter().zip(cells.chunks(keys.len())) {
        let fields = row.as_object().unwrap();
        assert_eq!(fields.len(), keys.len(), "{name}");
        for (key, shown) in keys.iter().zip(shown) {
            match &fields[*key] {
                Value::Null => assert_eq!(shown.text, "–", "{name}.{key}"),
                Value::String(text) if !shown.text.contains('…') => {
                    assert_eq!(&shown.text, text, "{name}.{key}");
                }
                _ => assert!(!shown.text.is_empty(), "{name}.{key}"),
            }
        }
    }
}

#[test]
fn a_table_is_the_same_in_a_page_in_json_and_in_csv() {
    let (judge, home) = scene();
    let mut n_tables = 0;
    for address in addresses(&judge) {
        let (json, csv_of) = forms(&address);
        let json: Value = serde_json::from_str(&home.page(&json)).unwrap();
        let all = elements(&home.page(&address));
        let heading = &named(&all, "h1")[0].text;
        assert_eq!(json["title"].as_str(), Some(heading.as_str()), "{address}");
        for (name, table) in json["tables"].as_object().unwrap() {
            check_table(name, table, &home.page(&csv_of(name)), &all);
            n_tables += 1;
        }
    }
    assert!(n_tables > 25, "{n_tables}");
}

#[test]
fn every_number_that_is_measured_has_its_unit() {
    /// Ratios, and counts of things that their headings name.
    const BARE: [&str; 1] = ["perplexity"];
    let (judge, home) = scene();
    for address in addresses(&judge) {
        let json: Value = serde_json::from_str(&home.page(&forms(&address).0)).unwrap();
        for (name, table) in json["tables"].as_object().unwrap() {
            let rows = table["rows"].as_array().unwrap();
            for (key, value) in rows.iter().flat_map(|row| row.as_object().unwrap()) {
                let unit = table["units"][key].as_str().unwrap_or_default();
                let is_whole = value.is_u64() || !value.is_number();
                let is_bare = BARE.contains(&key.as_str());
                assert!(is_whole || is_bare || !unit.is_empty(), "{address}: {name}.{key}");
                if key == "block" || key.ends_with("_block") {
                    assert_eq!(unit, "block", "{address}: {name}.{key}");
                }
                if key == "rao" || key.ends_with("_rao") {
                    assert_eq!(unit, "TAO, rao in data", "{address}: {name}.{key}");
                }
            }
        }
    }
}

#[test]
fn what_is_not_there_is_said_to_be_missing() {
    let (judge, home) = scene();
    let (own, other) = (judge.key.public(), key(9).public());
    let root = "0".repeat(64);
    let no_competition = "no validator has published a record of this competition";
    let no_model = "no record that is believed has this model";
    for (address, said) in [
        ("/c/none".to_owned(), no_competition),
        ("/c/none/rounds".to_owned(), no_competition),
        ("/c/none/round/1".to_owned(), no_competition),
        ("/c/none/crown/1".to_owned(), no_competition),
        ("/c/none/compare".to_owned(), no_competition),
        ("/c/none/chart.svg".to_owned(), no_competition),
        ("/c/none/badge.svg".to_owned(), no_competition),
        ("/c/tiny?block=1009".to_owned(), no_competition),
        (format!("/c/tiny?validator={other}"), no_competition),
        (format!("/c/tiny/round/2?validator={other}"), no_competition),
        ("/c/tiny/round/0".to_owned(), "no record of this number"),
        ("/c/tiny/round/5".to_owned(), "no record of this number"),
        ("/c/tiny/round/5/losses".to_owned(), "no record of this number"),
        ("/c/tiny/round/-1".to_owned(), "a round has a number"),
        ("/c/tiny/round/18446744073709551616".to_owned(), "a round has a number"),
        ("/c/tiny/crown/3".to_owned(), "the crown did not change in this round"),
        ("/c/tiny/compare?a=x&b=y".to_owned(), no_model),
        (format!("/model/{root}"), no_model),
        (format!("/model/{}?block=1015", player(2, 0.1).root().hex()), no_model),
        ("/model/x".to_owned(), "the 64 hexadecimal digits of its tensor root"),
        ("/miner/x".to_owned(), "a miner is named by the address of its hotkey"),
        ("/validator/x".to_owned(), "a validator is named by the address of its hotkey"),
        (format!("/record/{own}/tiny/5"), "this record is not in the index"),
        (format!("/record/{other}/tiny/1"), "this record is not in the index"),
        ("/record/x/tiny/1".to_owned(), "expected /record/"),
        ("/c".to_owned(), "nothing is at this address"),
        ("/c/tiny/round/2/nothing".to_owned(), "nothing is at this address"),
    ] {
        let answer = home.answer(&address);
        let all = elements(&String::from_utf8(answer.body).unwrap());
        assert_eq!(answer.status, 404, "{address}");
        assert_eq!(named(&all, "h1")[0].text, "Not here", "{address}");
        let lead = all.iter().find(|it| it.get("class") == Some("lead")).unwrap();
        assert!(lead.text.contains(said), "{address}: {}", lead.text);
        assert!(named(&all, "a").iter().any(|it| it.get("href") == Some("/")), "{address}");
        let (path, query) = address.split_once('?').unwrap_or((address.as_str(), ""));
        let answer = home.answer(&format!("/api/v1{path}?{query}"));
        let json: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.status, 404, "{address}");
        assert!(json["error"].as_str().unwrap().contains(said), "{address}: {json}");
    }
    let miner = home.page(&format!("/miner/{other}"));
    assert!(miner.contains("No record has measured a model of this key"), "{miner}");
    let validator = home.page(&format!("/validator/{other}"));
    assert!(validator.contains("It has records of 0 competitions."), "{validator}");
    assert!(validator.contains("The subnet has no slot with this key."), "{validator}");
}
