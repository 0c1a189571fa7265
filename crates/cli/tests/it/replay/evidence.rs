//! `agon evidence` on what demos have left: as it is, and changed by strangers.

use super::{Home, Ran, Replayed, agon, duels, key};
use records::Signed;
use serde_json::Value;
use std::fs;

#[test]
fn evidence_on_the_same_documents_is_not_multiplied() {
    let home = duels();
    let [one, two] = [1, 2].map(|n| home.path(&format!("validator-{n}/records")));
    let rules = home.path("competition.toml");
    let Ran { code, out, err, .. } =
        agon(&["evidence", "--json", &one, &two, "--competition", &rules]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    let told: Value = serde_json::from_str(&out).unwrap();
    let refused = told["refused"].as_array().unwrap();
    let is_shared = |refused: &Value| refused["why"].as_str().unwrap().contains("not independent");
    assert!(refused.iter().any(is_shared), "{told}");
    // One alone has nothing to multiply.
    let ran = agon(&["evidence", &one, "--competition", &rules]);
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("fewer than two validators"), "{}", ran.out);
}

/// Evidence of one validator's records, with the exit code.
fn evidence(home: &Home, records: &[&str]) -> Replayed {
    let rules = home.path("competition.toml");
    let args = ["evidence", "--json", "--competition", &rules];
    Replayed::of(&[&args[..], records].concat())
}

#[test]
fn attack_wealth_that_its_losses_do_not_give_is_refused() {
    let home = duels();
    let wealth = |signed: &mut Signed| {
        let mut record = serde_json::to_value(&signed.record).unwrap();
        let models = record["models"].as_array_mut().unwrap();
        let judged = models.iter_mut().find(|judged| judged["fight"].is_object()).unwrap();
        let reject = &mut judged["fight"]["evidence"]["reject"][0];
        assert!(reject.is_number(), "a duel has wealth");
        *reject = serde_json::json!(123.5);
        signed.record = serde_json::from_value(record).unwrap();
    };
    let has_fight = |number: u64| {
        let signed = Signed::from_json(&fs::read(home.record(1, number)).unwrap()).unwrap();
        signed.record.models.iter().any(|judged| judged.fight.is_some())
    };
    let number = (1..=3).find(|number| has_fight(*number)).expect("no duel in three rounds");
    home.sign(number, &key(1), wealth);
    let told = evidence(&home, &[&home.path("validator-1/records")]);
    assert_eq!(told.code, 1, "{}", told.report);
    let why = told.report["refused"][0]["why"].as_str().unwrap();
    assert!(why.contains("evidence DIFFERS") && why.contains("reject"), "{why}");
}

#[test]
fn evidence_from_before_the_records_that_are_given_is_told_as_stated() {
    let home = duels();
    let last = home.record(1, 3);
    let told = evidence(&home, &[last.to_str().unwrap()]);
    assert_eq!(told.code, 3, "{}", told.report);
    assert_eq!(told.report["stated"][0]["from"], 3, "{}", told.report);
    let whole = evidence(&home, &[&home.path("validator-1/records")]);
    assert_eq!(whole.report["stated"].as_array().unwrap().len(), 0, "{}", whole.report);
}

#[test]
fn attack_more_documents_than_a_round_has_are_refused_before_they_are_gathered() {
    let home = duels();
    home.sign(1, &key(1), |signed| {
        let documents = &mut signed.record.round.documents;
        let more = documents.clone();
        documents.extend(more);
    });
    let told = evidence(&home, &[&home.path("validator-1/records")]);
    assert_eq!(told.code, 1, "{}", told.report);
    let why = told.report["refused"][0]["why"].as_str().unwrap();
    assert!(why.contains("documents, and its rules ask for 60"), "{why}");
}
