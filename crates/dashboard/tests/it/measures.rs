//! Losses in bits per byte, what a text allows, and differences by the length of documents.

use crate::{
    markup::{Element, elements, named},
    reading::read,
    scene::{Home, Judge, OPTIMUM, Player, player, rules_of_succession},
};
use dashboard::figures::{Estimate, decimals, grouped};
use protocol::Record;
use serde_json::Value;

fn home_of(judge: &Judge) -> Home {
    let mut home = Home::new();
    home.rules.push(rules_of_succession());
    home.read(&[judge]);
    home
}

/// What a page says under a name.
fn fact(home: &Home, address: &str, name: &str) -> String {
    let all = elements(&home.page(address));
    let at = all.iter().position(|it| it.name == "dt" && it.text == name).unwrap();
    all[at..].iter().find(|it| it.name == "dd").unwrap().text.clone()
}

/// Bits per byte of the loss of a slot in a record, from its documents.
fn bits_per_byte(record: &Record, uid: u16) -> f64 {
    let judged = record.models.iter().find(|judged| judged.model.uid.0 == uid).unwrap();
    let nats = Estimate::of_losses(judged.model.finding.losses()).unwrap().mean;
    let documents = &record.round.documents;
    let n_tokens: u64 = documents.iter().map(|document| document.n_tokens).sum();
    let n_bytes: u64 = documents.iter().map(|document| document.n_bytes).sum();
    nats / std::f64::consts::LN_2 * n_tokens as f64 / n_bytes as f64
}

fn is_near(value: &Value, wanted: f64) -> bool {
    (value.as_f64().unwrap() - wanted).abs() < 1e-9
}

#[test]
fn losses_are_told_in_bits_per_byte_by_the_text_of_the_round_that_they_are_of() {
    let mut judge = Judge::of_four_rounds(1);
    // A round that measures nobody.
    judge.judge(&[player(2, 0.1)]);
    let record = read(&judge, 4).record;
    let home = home_of(&judge);
    let wanted = bits_per_byte(&record, 2);
    let shown = decimals(Some(wanted), 4);
    let board = home.rows("/c/tiny.json", "board");
    assert!(is_near(&board[0]["bits_per_byte"], wanted), "{board:?}");
    assert_eq!(board[0]["measured_in"], 4);
    assert!(is_near(&home.rows("/overview.json", "competitions")[0]["bits_per_byte"], wanted));
    let overview = home.page("/");
    assert!(overview.contains(&format!("<p>{shown} bits per byte</p>")), "{overview}");
    assert_eq!(fact(&home, "/c/tiny", "Bits per byte"), format!("{shown}, from round 4"));
    for row in home.rows("/c/tiny/round/4.json", "board") {
        let uid = u16::try_from(row["uid"].as_u64().unwrap()).unwrap();
        let record = read(&judge, row["measured_in"].as_u64().unwrap()).record;
        assert!(is_near(&row["bits_per_byte"], bits_per_byte(&record, uid)), "{row}");
    }
    let root = player(2, 0.1).root().hex();
    let outcomes = home.rows(&format!("/model/{root}.json"), "outcomes");
    assert_eq!(outcomes[0]["bits_per_byte"], Value::Null, "round 5 has no loss of it");
    let measured = outcomes.iter().filter(|row| !row["loss"].is_null());
    for row in measured.clone() {
        let record = read(&judge, row["number"].as_u64().unwrap()).record;
        assert!(is_near(&row["bits_per_byte"], bits_per_byte(&record, 2)), "{row}");
    }
    assert!(measured.count() > 1, "{outcomes:?}");
    let model = format!("/model/{root}?block=1040");
    assert_eq!(fact(&home, &model, "Bits per byte"), shown);
}

#[test]
fn a_round_tells_how_long_its_text_is_and_what_it_allows() {
    let judge = Judge::of_four_rounds(1);
    let (home, record) = (home_of(&judge), read(&judge, 2).record);
    let documents = &record.round.documents;
    let n_bytes = documents.iter().map(|document| document.n_bytes).sum();
    let n_tokens = documents.iter().map(|document| document.n_tokens).sum();
    let length = format!("{} bytes, {} tokens", grouped(n_bytes), grouped(n_tokens));
    assert_eq!(fact(&home, "/c/tiny/round/2", "Text of all documents"), length);
    let per_byte = record.round.bits_per_byte(OPTIMUM).unwrap();
    let told = format!("1.5000 nats per token · perplexity 4.482 · {per_byte:.4} bits per byte");
    assert_eq!(fact(&home, "/c/tiny/round/2", "Optimum"), told);
    for (row, document) in home.rows("/c/tiny/round/2.json", "documents").iter().zip(documents) {
        assert_eq!(row["bytes"], document.n_bytes);
        assert_eq!(row["tokens"], document.n_tokens);
    }
    let is_optimum = |it: &&Element| it.get("class") == Some("optimum");
    for address in ["/c/tiny", "/c/tiny/chart.svg"] {
        let all = elements(&home.page(address));
        assert_eq!(all.iter().filter(is_optimum).count(), 1, "{address}");
        let told = named(&all, "text").into_iter().any(|it| it.text == "optimum 1.5000");
        assert!(told, "{address}");
    }
}

#[test]
fn what_a_record_does_not_tell_is_a_dash_and_nothing_else_is_another() {
    let (mut judge, mut other) = (Judge::new(1), Judge::new(1));
    judge.is_terse = true;
    judge.judge_four();
    other.judge_four();
    let (home, told) = (home_of(&judge), home_of(&other));
    for (address, table) in [
        ("/overview.json", "competitions"),
        ("/c/tiny.json", "board"),
        ("/c/tiny/round/4.json", "board"),
    ] {
        for (row, told) in home.rows(address, table).iter().zip(told.rows(address, table)) {
            assert_eq!(row["bits_per_byte"], Value::Null, "{address}");
            assert!(told["bits_per_byte"].is_f64(), "{address}");
            assert_eq!(row["loss"], told["loss"], "{address}");
        }
    }
    for row in home.rows("/c/tiny/round/4.json", "documents") {
        assert_eq!((&row["bytes"], &row["tokens"]), (&Value::Null, &Value::Null));
    }
    for name in ["Text of all documents", "Optimum"] {
        assert_eq!(fact(&home, "/c/tiny/round/4", name), "–");
    }
    assert_eq!(fact(&home, "/c/tiny", "Bits per byte"), "–");
    assert!(!home.page("/c/tiny").contains("class=\"optimum\""));
    let [a, b] = [1, 2].map(|uid| player(uid, 0.0).root().hex());
    let address = format!("/c/tiny/compare.json?a={a}&b={b}");
    assert!(home.rows(&address, "lengths").is_empty());
    assert_eq!(home.rows(&address, "positions"), told.rows(&address, "positions"));
}

#[test]
fn two_models_are_compared_by_the_length_of_documents() {
    let mut judge = Judge::new(1);
    judge.rules = rules_of_succession();
    judge.judge_four();
    let (home, record) = (home_of(&judge), read(&judge, 4).record);
    let [a, b] = [1, 2].map(|uid| player(uid, 0.0).root().hex());
    let classes = home.rows(&format!("/c/tiny/compare.json?a={a}&b={b}"), "lengths");
    assert_eq!(classes.len(), 5);
    let losses = |at: usize| record.models[at].model.finding.losses();
    let pairs = losses(0).iter().zip(losses(1)).map(|(a, b)| a.value() - b.value());
    let gains: Vec<(u64, f64)> =
        record.round.documents.iter().map(|document| document.n_bytes).zip(pairs).collect();
    let (mut n_all, mut last) = (0, 0);
    for class in &classes {
        let number = |key: &str| class[key].as_u64().unwrap();
        let (from, to) = (number("from_bytes"), number("to_bytes"));
        assert!(last < from && from <= to, "{class}");
        let inside = gains.iter().filter(|(n_bytes, _)| (from..=to).contains(n_bytes));
        let inside: Vec<f64> = inside.map(|(_, gain)| *gain).collect();
        let mean = Estimate::of(&inside).unwrap();
        assert_eq!(number("documents"), inside.len() as u64);
        assert_eq!(class["difference"].as_f64(), Some(mean.mean));
        let (low, high) = mean.interval();
        assert_eq!((class["low"].as_f64(), class["high"].as_f64()), (Some(low), Some(high)));
        assert_eq!(class["better"], 1.0, "the second is much better");
        (n_all, last) = (n_all + inside.len(), to);
    }
    assert_eq!(n_all, gains.len());
}

#[test]
fn where_losses_are_of_batches_nothing_is_told_by_the_length_of_documents() {
    let mut judge = Judge::new(1);
    judge.rules = rules_of_succession();
    judge.rules.evaluation.sequences_per_batch = 2;
    judge.rules.check().unwrap();
    let players: [Player; 2] = [player(1, 0.0), player(2, 0.1)];
    judge.judge(&players);
    let mut home = Home::new();
    home.rules.push(judge.rules.clone());
    home.read(&[&judge]);
    let [a, b] = players.map(|player| player.root().hex());
    let address = format!("/c/tiny/compare.json?a={a}&b={b}");
    assert!(home.rows(&address, "lengths").is_empty());
    assert!(!home.rows(&address, "differences").is_empty());
}
