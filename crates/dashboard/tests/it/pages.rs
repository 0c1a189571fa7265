//! Every page: whole, well-formed, and without anything of a stranger's that does something.

use crate::scene::{Home, Judge, addresses, player};
use std::collections::BTreeSet;

/// Elements that have no end.
const VOID: [&str; 3] = ["meta", "link", "input"];

/// Names of all elements of a text, each of which has to be ended in its place, but for some.
fn elements(html: &str, void: &[&str], address: &str) -> BTreeSet<String> {
    let mut open: Vec<&str> = Vec::new();
    let mut found = BTreeSet::new();
    let mut rest = html.trim_start_matches("<!DOCTYPE html>");
    while let Some(at) = rest.find('<') {
        let (tag, after) = rest[at + 1..].split_once('>').unwrap();
        rest = after;
        let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{address}: <{tag}>");
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{address}: <{tag}>");
        found.insert(name.to_owned());
        for part in tag.split('"').step_by(2) {
            let attribute = part.trim().trim_end_matches('=');
            let is_event = attribute.starts_with("on") || attribute.starts_with("style");
            assert!(!is_event, "{address}: <{tag}>");
        }
        if !void.contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new(), "{address}");
    found
}

#[test]
fn every_page_is_whole_and_well_formed() {
    let judge = Judge::of_four_rounds(1);
    let mut home = Home::new();
    home.read(&[&judge]);
    for address in addresses(&judge) {
        let page = home.page(&address);
        let found = elements(&page, &VOID, &address);
        for wanted in ["html", "head", "title", "body", "main", "h1", "nav", "footer"] {
            assert!(found.contains(wanted), "{address}: no {wanted}");
        }
        assert!(!page.contains("Not up to date"), "{address}");
        assert_eq!(page.matches("<script").count(), 1, "{address}");
        assert_eq!(page.matches("<caption>").count(), page.matches("<thead>").count());
        assert_eq!(page.matches("<th ").count(), page.matches("<th scope=\"col\"").count());
    }
}

#[test]
fn pages_say_who_is_champion_since_when_how_sure_and_why() {
    let judge = Judge::of_four_rounds(1);
    let mut home = Home::new();
    home.read(&[&judge]);
    let overview = home.page("/");
    for said in ["miner2/model", "champion since block 1020", "ahead of miner3/model", "1 of 1"] {
        assert!(overview.contains(said), "no {said} in {overview}");
    }
    let competition = home.page("/c/tiny");
    assert_eq!(competition.matches("class=\"crown\"").count(), 2);
    assert!(competition.contains("class=\"threshold\" d=\"M"), "{competition}");
    let picture = "property=\"og:image\" content=\"/c/tiny/chart.svg\"";
    assert!(competition.contains(picture), "nobody said what the address is: {competition}");
    let crown = home.page("/c/tiny/crown/2");
    for said in ["dethroned the champion", "attempt 1", "a new crown", "agon replay 2.json"] {
        assert!(crown.contains(said), "no {said} in {crown}");
    }
    assert!(!crown.contains("do not believe it"), "the duel told again is the one that was fought");
    assert_eq!(crown.matches("class=\"gain\"").count(), 25);
    let root = player(2, 0.1).root().hex();
    let model = home.page(&format!("/model/{root}"));
    assert!(model.contains("unknown: too few documents"), "{model}");
    assert!(model.contains("Loss of the model in tiny"), "{model}");
    let other = player(1, 0.0).root().hex();
    let compared = home.page(&format!("/c/tiny/compare.csv?table=positions&a={other}&b={root}"));
    assert!((2..=11).contains(&compared.lines().count()), "{compared}");
    assert!(compared.lines().skip(1).all(|line| line.ends_with(",1.0")), "{compared}");
    let before = home.page("/?block=1015");
    assert!(before.contains("miner1/model") && !before.contains("miner2/model"), "{before}");
    let round = home.page("/c/tiny/round/2");
    assert_eq!(round.matches("<rect class=\"h").count(), 50);
    assert!(round.contains("verdict derived again"));
    assert_eq!(home.answer("/c/tiny/round/9").status, 404);
    assert_eq!(home.answer("/c/tiny/crown/3").status, 404);
    assert_eq!(home.answer("/c/other").status, 404);
    assert_eq!(home.answer("/nothing").status, 404);
}

#[test]
fn tables_come_as_csv_and_feeds_as_xml() {
    let judge = Judge::of_four_rounds(1);
    let mut home = Home::new();
    home.read(&[&judge]);
    let csv = home.page("/c/tiny.csv?table=board&sort=board.loss");
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("uid,repo,miner,") && lines[1].starts_with("2,miner2/model,"));
    assert_eq!(home.answer("/c/tiny.csv?table=none").status, 404);
    let feed = home.page("/crowns.atom");
    elements(feed.trim_start_matches("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"), &[], "feed");
    assert_eq!(feed.matches("<entry>").count(), 2);
    assert!(feed.contains("miner2/model took the crown from miner1/model"));
    for picture in ["/c/tiny/chart.svg", "/c/tiny/badge.svg"] {
        let svg = home.page(picture);
        assert!(svg.starts_with("<svg ") && svg.contains("xmlns=\"http://www.w3.org/2000/svg\""));
        elements(&svg.replace("<style>", "<g>").replace("</style>", "</g>"), &[], picture);
    }
    assert!(home.page("/metrics").contains("agon_dashboard_records{competition=\"tiny\""));
    let validator = judge.key.public();
    let record = home.answer(&format!("/record/{validator}/tiny/2.json"));
    assert_eq!(record.body, std::fs::read(judge.path(2)).unwrap(), "the bytes as published");
}

#[test]
fn attack_whatever_a_stranger_writes_is_shown_and_does_nothing() {
    const HOSTILE: [&str; 4] = [
        "\"><script>alert(1)</script>",
        "'><img src=x onerror=alert(1)>",
        "</title></style></svg><svg onload=alert(1)>",
        "<!--&lt;]]>{{7*7}}",
    ];
    let mut judge = Judge::new(1);
    judge.text = HOSTILE.concat();
    judge.architecture = HOSTILE.concat();
    judge.judge_four();
    let mut home = Home::new();
    home.read(&[&judge]);
    for address in addresses(&judge) {
        let page = home.page(&address);
        let found = elements(&page, &VOID, &address);
        assert!(!found.contains("img"), "{address}");
        assert_eq!(page.matches("<script").count(), 1, "{address}");
        for hostile in HOSTILE {
            assert!(!page.contains(hostile), "{address}: {hostile}");
        }
    }
    assert!(home.page("/c/tiny/round/2").contains("&lt;script&gt;"), "it is shown");
    let model = format!("/model/{}", player(2, 0.1).root().hex());
    for address in ["/c/tiny", model.as_str()] {
        let page = home.page(address);
        assert!(page.contains("<td class=\"\">&quot;&gt;&lt;script&gt;"), "{address}: {page}");
    }
    judge.architecture = "a\u{202e}b\n\u{0}".to_owned();
    let record = judge.judge(&[player(1, 0.0), player(2, 0.1)]);
    assert!(record.models.iter().all(|judged| judged.model.card.is_some()));
    home.read(&[&judge]);
    for address in ["/c/tiny", model.as_str()] {
        let page = home.page(address);
        assert!(page.contains("<td class=\"\">a\u{fffd}b\u{fffd}\u{fffd}</td>"), "{page}");
    }
    let asked = home.page("/c/tiny?q=%22%3E%3Cscript%3E&sort=%3Cb%3E&block=2000");
    assert!(!asked.contains("\"><script>") && !asked.contains("<b>"), "nor is an address");
    let csv = home.page("/c/tiny/round/2.csv?table=documents");
    assert!(csv.contains("\"\"\"><script>"), "quoted");
}

#[test]
fn pages_without_records_say_what_is_missing() {
    let judge = Judge::new(1);
    let mut home = Home::new();
    home.read(&[&judge]);
    let page = home.page("/");
    assert!(page.contains("No validator has published a record yet"), "{page}");
    assert!(page.contains("no records are there yet"), "{page}");
    assert!(home.page("/network").contains("has not been read yet"));
    assert_eq!(home.answer("/c/tiny").status, 404);
    let mut judge = judge;
    judge.judge(&[player(1, 0.0)]);
    home.read(&[&judge]);
    let crown = home.page("/c/tiny/crown/1");
    assert!(crown.contains("The throne was empty"), "{crown}");
    assert!(home.page("/c/tiny").contains("no other model was measured"));
}
