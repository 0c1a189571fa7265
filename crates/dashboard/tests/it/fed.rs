//! Feeds, meters and badges, as the programs read them that they are for.

use crate::{
    scene::{Home, Judge, key, player},
    xml,
};
use dashboard::{Place, feed::badge};
use protocol::{Digest, Uid};
use records::{Error, Head, Index, Signed, Source};
use std::collections::{BTreeMap, BTreeSet};

fn home_of(judges: &[&Judge]) -> Home {
    let mut home = Home::new();
    home.read(judges);
    home
}

/// Whether a text is a time as RFC 3339 has it, in UTC.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00Z"
}

#[test]
fn the_feed_is_one_as_atom_has_it() {
    let judge = Judge::of_four_rounds(1);
    let home = home_of(&[&judge]);
    let feed = xml::parse(&home.page("/crowns.atom"));
    assert_eq!(
        (feed.name.as_str(), feed.get("xmlns")),
        ("feed", Some("http://www.w3.org/2005/Atom"))
    );
    assert!(!feed.child("id").text.is_empty() && !feed.child("title").text.is_empty());
    assert!(is_time(&feed.child("updated").text), "{feed:?}");
    assert!(!feed.child("author").child("name").text.is_empty());
    assert_eq!(feed.child("link").get("href"), Some("/crowns.atom"));
    let entries = feed.named("entry");
    assert_eq!(entries.len(), 2);
    let ids: BTreeSet<&str> = entries.iter().map(|entry| entry.child("id").text.as_str()).collect();
    assert_eq!(ids.len(), 2, "each has an id of its own");
    for entry in &entries {
        assert!(entry.child("id").text.starts_with("urn:sha256:"));
        assert!(is_time(&entry.child("updated").text));
        let why = entry.child("link").get("href").unwrap();
        let page = home.page(why);
        let (_, said) = entry.child("title").text.split_once(": ").unwrap();
        let (to, _) = said.split_once(" took the crown from ").unwrap();
        assert!(page.contains(to), "{why} tells of {to}");
    }
    let newest = entries[0].child("title").text.as_str();
    assert_eq!(newest, "tiny: miner2/model took the crown from miner1/model");
    assert_eq!(entries[1].child("title").text, "tiny: miner1/model took the crown from nobody");
    assert_eq!(entries[0].child("summary").text, "At block 1020, by record 2.");
}

#[test]
fn an_entry_of_the_feed_stays_the_same_as_others_come() {
    let mut judge = Judge::of_four_rounds(1);
    let entries = |home: &Home, address: &str| -> Vec<String> {
        let feed = xml::parse(&home.page(address));
        feed.named("entry").iter().map(|entry| format!("{entry:?}")).collect()
    };
    let before = entries(&home_of(&[&judge]), "/crowns.atom");
    let players = [player(2, 0.1), player(4, 0.3)];
    let is_crowned = (0..20).any(|_| judge.judge(&players).champion == Some(Uid(4)));
    assert!(is_crowned, "what is much better takes the crown");
    let home = home_of(&[&judge]);
    let after = entries(&home, "/crowns.atom");
    assert_eq!(after.len(), 3);
    assert_eq!(after[1..], before, "the newest comes first, the others stay");
    assert_eq!(entries(&home, "/crowns.atom?block=1020"), before, "as of a past block");
    assert_eq!(entries(&home, "/crowns.atom?block=1019"), before[1..]);
    assert!(entries(&home, "/crowns.atom?block=1").is_empty());
}

#[test]
fn attack_nothing_that_a_validator_writes_gets_into_the_feed_as_markup() {
    let mut judge = Judge::new(1);
    judge.text = "]]></summary><entry>&#0;\u{1}\u{ffff}\u{202e}".to_owned();
    judge.judge_four();
    let home = home_of(&[&judge]);
    let feed = xml::parse(&home.page("/crowns.atom"));
    assert_eq!(feed.named("entry").len(), 2);
    for picture in ["/c/tiny/chart.svg", "/c/tiny/badge.svg"] {
        xml::parse(&home.page(picture));
    }
}

#[test]
fn a_feed_without_crowns_is_a_feed() {
    let home = home_of(&[&Judge::new(1)]);
    let feed = xml::parse(&home.page("/crowns.atom"));
    assert!(feed.named("entry").is_empty() && is_time(&feed.child("updated").text));
    let samples = samples(&home.page("/metrics"));
    assert_eq!(samples.len(), 2, "what is of no validator: {samples:?}");
}

/// Samples of Prometheus' text format by name and labels; what is none of it ends the test.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let (mut found, mut family) = (BTreeMap::new(), "");
    assert!(text.ends_with('\n'), "the last line has an end");
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            (family, _) = help.split_once(' ').expect("what it is");
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            assert_eq!(kind, format!("{family} gauge"));
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        assert_eq!(name, family, "each after its family");
        for label in labels.strip_suffix('}').unwrap().split(',').filter(|part| !part.is_empty()) {
            let (name, value) = label.split_once("=\"").expect("a label");
            let value = value.strip_suffix('"').expect("the end of a label");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase()), "{name}");
            assert!(!value.contains(['"', '\\', '\n']), "{value}");
        }
        let value = value.parse().expect("a number");
        assert!(found.insert(sample.to_owned(), value).is_none(), "{sample} twice");
    }
    found
}

#[test]
fn meters_count_what_is_believed_and_what_is_false_of_each_validator() {
    let (good, bad) = (Judge::of_four_rounds(1), Judge::of_four_rounds(2));
    let mut record = crate::reading::read(&bad, 3).record;
    record.models[0].verdict.weight = 0.5;
    std::fs::write(bad.path(3), Signed::sign(record, &bad.key).to_json()).unwrap();
    let home = home_of(&[&good, &bad]);
    let samples = samples(&home.page("/metrics"));
    let of = |name: &str, judge: &Judge| {
        let key = judge.key.public();
        samples[&format!("agon_dashboard_{name}{{competition=\"tiny\",validator=\"{key}\"}}")]
    };
    assert_eq!([of("records", &good), of("records", &bad)], [4.0, 2.0]);
    assert_eq!([of("record_block", &good), of("record_block", &bad)], [1_040.0, 1_020.0]);
    assert_eq!([of("flaws", &good), of("flaws", &bad)], [0.0, 1.0]);
    assert_eq!(samples["agon_dashboard_chain_block"], 0.0, "no chain is read");
    assert!(samples["agon_dashboard_troubles"] <= 1.0);
}

/// A place with one record, of a competition of any name.
struct Named(String, Signed);

impl Source for Named {
    fn index(&self) -> Result<Option<Index>, Error> {
        let round = &self.1.record.round;
        let mut index = Index::new(round.validator, round.genesis, round.netuid);
        let head = Head { n_records: 1, digest: self.1.digest() };
        index.competitions.insert(self.0.clone(), head);
        // As every place reads what a stranger wrote.
        Index::from_json(&index.to_json()).map(Some)
    }

    fn record(&self, _: &str, number: u64) -> Result<Option<Vec<u8>>, Error> {
        Ok((number == 1).then(|| self.1.to_json()))
    }
}

#[test]
fn attack_a_competition_of_a_stranger_breaks_no_line_of_the_meters() {
    let mut judge = Judge::new(1);
    judge.judge(&[player(1, 0.0)]);
    let genuine = crate::reading::read(&judge, 1).record;
    for name in ["buy\"} 1\nevil 2", "a,b=\"c", "\u{202e}x", "a b", "../x", "UPPER", "", "buy-this"]
    {
        let mut record = genuine.clone();
        record.round.competition = name.to_owned();
        record.round.competition_digest = Digest::of(b"rules of a stranger");
        let source = Box::new(Named(name.to_owned(), Signed::sign(record, &judge.key)));
        let place = Place { name: "a stranger".to_owned(), source };
        let mut home = Home::new();
        home.read_places(|reader| reader, vec![place, judge.place()], &|| false);
        let samples = samples(&home.page("/metrics"));
        let own = samples.keys().any(|sample| sample.contains("records{competition=\"tiny\""));
        assert!(own, "{name:?}: the other place is read all the same: {samples:?}");
        let feed = xml::parse(&home.page("/crowns.atom"));
        assert_eq!(feed.named("entry").len(), 1, "{name:?}");
        let is_refused = home.page("/").contains("Not up to date: a stranger");
        assert_eq!(is_refused, name != "buy-this", "{name:?}");
    }
}

#[test]
fn a_badge_has_room_for_its_words_and_they_do_nothing() {
    for (left, right) in [
        ("tiny", "miner1/model · 20.09"),
        ("", ""),
        ("<script>", "\" onload=\"alert(1)"),
        ("a-rather-long-name-of-a-competition", "owner-of-a-model/with-a-name-without-an-end"),
        ("日本", "\u{202e}x"),
    ] {
        let root = xml::parse(&badge(left, right).into_string());
        assert_eq!(root.get("xmlns"), Some("http://www.w3.org/2000/svg"));
        assert_eq!(root.get("aria-label"), Some(format!("{left}: {right}").as_str()));
        assert_eq!(root.child("title").text, format!("{left}: {right}"));
        assert!(root.attributes.iter().all(|(name, _)| !name.starts_with("on")));
        let (fields, words) = (root.named("rect"), root.named("text"));
        let [a, b] = fields[..] else { panic!("{fields:?}") };
        assert_eq!(b.number("x"), a.number("width"), "beside each other");
        assert_eq!(root.number("width"), a.number("width") + b.number("width"));
        let starts = [0.0, b.number("x")];
        for ((field, start), (word, said)) in
            fields.iter().zip(starts).zip(words.iter().zip([left, right]))
        {
            assert_eq!(word.text, said);
            let room = 6.5 * said.chars().count() as f64;
            assert!(field.number("width") >= room, "{said} is cut");
            let middle = start + field.number("width") / 2.0;
            assert!((word.number("x") - middle).abs() <= 1.0, "{said} is in the middle");
        }
    }
}

#[test]
fn a_badge_says_who_is_champion_and_how_good_now_and_then() {
    let judge = Judge::of_four_rounds(1);
    let home = home_of(&[&judge]);
    let said = |address: &str| xml::parse(&home.page(address)).child("title").text.clone();
    let now = said("/c/tiny/badge.svg");
    assert!(now.starts_with("tiny: miner2/model · "), "{now}");
    let perplexity: f64 = now.rsplit(' ').next().unwrap().parse().unwrap();
    let record = crate::reading::read(&judge, 4).record;
    let champion = &record.models[1].model;
    let losses = champion.finding.losses();
    let mean = losses.iter().map(|loss| loss.value()).sum::<f64>() / losses.len() as f64;
    assert!((perplexity - mean.exp()).abs() <= 0.005 + 1e-9, "{perplexity} of {mean} nats");
    let before = said("/c/tiny/badge.svg?block=1015");
    assert!(before.starts_with("tiny: miner1/model · "), "{before}");
    let of_key = said(&format!("/c/tiny/badge.svg?validator={}", judge.key.public()));
    assert_eq!(of_key, now);
    let nobody = format!("/c/tiny/badge.svg?validator={}", key(77).public());
    assert_eq!(home.answer(&nobody).status, 404, "who has no record tells nothing");
}
