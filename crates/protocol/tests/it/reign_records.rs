//! Records of duels: whoever changes a number in one is found out.

use protocol::{
    Loss, Record, Uid,
    duel::{Reign, Verdict},
    record::{Card, Finding, Mismatch, verify, verify_chain, verify_duels},
};
use serde_json::{Number, Value};

use crate::{
    duel::number,
    reign::{Player, Scene, few, fight, player},
};

/// A scene after a crown has changed hands, and the record of the next round: the predecessor is
/// there, one duel is open, one is decided now and one was before, one model hides, another is
/// skipped, and the chain pays the champion.
fn scene() -> (Scene, Record) {
    let mut scene = Scene::new(25, few());
    let (old, next) = (player(1, 0.0), player(2, 0.1));
    let near = Player { luck: 30, ..player(3, 0.106) };
    scene.round(&[old]);
    scene.round(&[old, next]);
    scene.round(&[old, next]);
    (scene.paid, scene.settling_blocks) = (Some(Uid(2)), 10);
    (scene.hidden, scene.skipped) = (vec![player(5, 0.0)], vec![player(7, 0.0)]);
    let before = scene.clone();
    let record = scene.round(&[old, next, near, player(4, 0.0)]);
    (before, record)
}

fn check(record: &Record, before: &Scene) -> Result<(), Mismatch> {
    verify_duels(record, &before.competition, &before.reign)?;
    verify_chain(record, before.last.as_ref(), &before.competition)
}

fn card() -> Card {
    Card {
        architecture: "llama".to_owned(),
        n_parameters: 1_000,
        size_bytes: 2_000,
        vocabulary: 100,
        context: 64,
        n_vanishing: 0,
        n_exploding: 1,
    }
}

/// A number that differs in its last digit, a double in its last bit.
fn changed(number: &Number) -> Number {
    if let Some(whole) = number.as_u64() {
        let other = if whole % 10 == 9 { whole - 1 } else { whole + 1 };
        return Number::from(other);
    }
    let bits = number.as_f64().unwrap().to_bits() ^ 1;
    Number::from_f64(f64::from_bits(bits)).unwrap()
}

/// A loss that differs in the last of its four decimals: a bit may be lost in a sum.
fn changed_loss(number: &Number) -> Number {
    Number::from_f64(number.as_f64().unwrap() + 1e-4).unwrap()
}

/// All numbers of a value with the way to them.
fn numbers(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Number(_) => found.push(path.to_owned()),
        Value::Array(list) => {
            for (place, value) in list.iter().enumerate() {
                numbers(value, &format!("{path}/{place}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                numbers(value, &format!("{path}/{name}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[test]
fn attack_no_number_of_a_record_can_be_changed_by_a_digit() {
    let (before, mut record) = scene();
    record.round.optimum = Some(Loss::new(1.9).unwrap());
    record.models[0].model.card = Some(card());
    assert_eq!(check(&record, &before), Ok(()));
    let verdicts = [1, 3, 4].map(|uid| fight(&record, uid).unwrap().verdict);
    assert_eq!(verdicts, [Some(Verdict::Rejected), None, Some(Verdict::Rejected)]);
    assert_eq!(record.crown.unwrap().predecessor.map(|former| former.root), Some(number(1)));
    let value = serde_json::to_value(&record).unwrap();
    let mut found = Vec::new();
    numbers(&value, "", &mut found);
    assert!(found.len() > 120, "{}", found.len());
    let kinds = ["evidence/crown", "alpha", "epsilon", "attempts/n", "champion", "weight"];
    let others = ["evaluated", "netuid", "n_repeated", "aged_from", "crown/paid", "4/attempts/n"];
    for kind in kinds.into_iter().chain(others) {
        assert!(found.iter().any(|path| path.contains(kind)), "{kind}");
    }
    for path in &found {
        // Which block holds a commitment, in which slot a skipped model is, whom the chain pays and
        // how long it takes to only the chain tells; `agon replay` asks it.
        let of_chain = ["/commit_block", "/skipped/0/uid", "/crown/paid", "/crown/settling_blocks"];
        if of_chain.iter().any(|end| path.ends_with(end)) {
            continue;
        }
        // What documents and models are is told to people, and has no weight in what is decided.
        let of_people = ["/n_bytes", "/n_tokens", "/optimum"];
        let is_of_people =
            of_people.iter().any(|end| path.ends_with(end)) || path.contains("/card/");
        let mut other = value.clone();
        let place = other.pointer_mut(path).unwrap();
        let Value::Number(number) = &*place else { panic!("{path}") };
        let is_loss = path.contains("/evaluated/");
        let number = if is_loss { changed_loss(number) } else { changed(number) };
        *place = Value::Number(number);
        assert_ne!(other, value, "{path}");
        if let Ok(other) = serde_json::from_value::<Record>(other) {
            assert_eq!(check(&other, &before).is_ok(), is_of_people, "{path}");
        }
    }
    let rootless = record.models.iter().position(|judged| judged.model.tensor_root.is_none());
    record.models[rootless.unwrap()].model.card = Some(card());
    assert_eq!(check(&record, &before), Err(Mismatch::Card(Uid(5))), "of what was never read");
}

#[test]
fn whoever_tells_other_losses_than_a_round_looks_at_is_found_out() {
    let (before, record) = scene();
    let changed = |change: &dyn Fn(&mut Record)| {
        let mut record = record.clone();
        change(&mut record);
        check(&record, &before).unwrap_err()
    };
    let losses = |record: &mut Record, place: usize, change: &dyn Fn(&mut Vec<Loss>)| {
        let Finding::Evaluated(losses) = &mut record.models[place].model.finding else {
            panic!("{place}")
        };
        change(losses);
    };
    // In order of uid: the predecessor, the champion, two challengers.
    let fewer = changed(&|r| losses(r, 2, &|losses| losses.truncate(20)));
    assert_eq!(fewer, Mismatch::Wanted { uid: Uid(3), n_documents: 25 });
    let more = changed(&|r| losses(r, 3, &|losses| losses.push(Loss::new(3.0).unwrap())));
    assert!(matches!(more, Mismatch::Used { uid: Uid(4), .. }), "{more}");
    let far_more = changed(&|r| losses(r, 3, &|losses| losses.resize(26, Loss::INFINITE)));
    assert_eq!(far_more, Mismatch::Batches(Uid(4)));
    let infinite = changed(&|r| losses(r, 2, &|losses| losses[3] = Loss::INFINITE));
    assert_eq!(infinite, Mismatch::NotFinite(Uid(3)));
    let shorter = changed(&|r| r.round.documents.truncate(20));
    assert_eq!(shorter, Mismatch::Documents { recorded: 20, expected: 25 });
    let document = changed(&|r| r.round.documents[3] = r.round.documents[2].clone());
    assert!(matches!(document, Mismatch::Wanted { .. } | Mismatch::Fight(_)), "{document}");
    assert_eq!(changed(&|r| r.models[2].model.coldkey = None), Mismatch::Coldkey(Uid(3)));
    assert_eq!(changed(&|r| r.models[2].model.tensor_root = None), Mismatch::Root(Uid(3)));
    assert_eq!(changed(&|r| r.models[2].fight = None), Mismatch::Fight(Uid(3)));
    assert_eq!(changed(&|r| r.crown = None), Mismatch::Crown);
    let copied = changed(&|r| r.models[3].model.tensor_root = r.models[2].model.tensor_root);
    assert_eq!(copied, Mismatch::Duplicate(Uid(4)));
    // Of one owner one is heard.
    let shared = changed(&|r| r.models[3].model.coldkey = r.models[2].model.coldkey);
    assert!(matches!(shared, Mismatch::Used { uid: Uid(4), derived: 0, .. }), "{shared}");
}

#[test]
fn a_record_of_duels_is_verified_by_those_before_it_alone() {
    let (before, record) = scene();
    assert_eq!(verify(&record, &before.competition), Err(Mismatch::Past));
    let nothing = verify_duels(&record, &before.competition, &Reign::default());
    assert!(nothing.is_err());
    let last = before.last.as_ref().unwrap();
    let mut reign = before.reign.clone();
    // The same record twice, or another validator's in between, is another past.
    reign.follow(&record);
    assert!(verify_duels(&record, &before.competition, &reign).is_err());
    assert!(verify_chain(last, Some(&record), &before.competition).is_err());
}

#[test]
fn a_record_of_another_rule_leaves_an_empty_throne() {
    let (mut before, record) = scene();
    assert!(before.reign.champion().is_some());
    let other = Record { crown: None, models: Vec::new().into(), champion: None, ..record };
    before.reign.follow(&other);
    assert_eq!((before.reign.champion(), before.reign.fights().count()), (None, 0));
}

#[test]
fn whoever_believes_a_record_goes_on_from_it_to_the_same_duels() {
    let mut scene = Scene::new(25, few());
    let (old, next) = (player(1, 0.0), player(2, 0.1));
    let near = Player { luck: 30, ..player(3, 0.106) };
    let others = [old, next, near, player(4, 0.0)];
    let rounds: [&[Player]; 5] = [&[old], &[old, next], &[old, next], &others, &others];
    let records: Vec<Record> = rounds.iter().map(|players| scene.round(players)).collect();
    for pair in records.windows(2) {
        let believed = Reign::believed(&pair[0]);
        let found = verify_duels(&pair[1], &scene.competition, &believed);
        assert_eq!(found, Ok(()), "record {}", pair[1].round.number);
    }
    // One of them goes on with evidence of which the documents are not known.
    let goes_on = records[4].models.iter().filter_map(|judged| judged.fight.as_ref());
    let mut goes_on = goes_on.filter(|fight| fight.began < records[4].round.block);
    assert!(goes_on.any(|fight| fight.evidence.n_documents() > 25));
    let nothing = verify_duels(&records[4], &scene.competition, &Reign::default());
    assert!(nothing.is_err());
}

#[test]
fn attack_a_duel_that_nobody_verified_keeps_no_more_documents_than_it_may_have() {
    let (before, mut record) = scene();
    for judged in &mut record.models {
        let Some(fight) = &mut judged.fight else { continue };
        (fight.verdict, fight.terms.n_documents_max) = (None, 3);
    }
    let mut reign = before.reign;
    // The champion has been there before, so that duels go on.
    reign.follow(&record);
    let stored = serde_json::to_value(&reign).unwrap();
    let fights = stored["fights"].as_object().unwrap();
    assert!(!fights.is_empty());
    for kept in fights.values() {
        let n_documents = kept["documents"].as_array().unwrap().len();
        assert!(n_documents <= 3, "{n_documents}");
    }
}

#[test]
fn attack_evidence_that_counts_more_documents_than_any_duel_has_fills_no_memory() {
    let (_, mut record) = scene();
    for judged in &mut record.models {
        let Some(fight) = judged.fight.take() else { continue };
        let mut lie = serde_json::to_value(fight).unwrap();
        lie["evidence"]["n_documents"] = u32::MAX.into();
        lie["verdict"] = Value::Null;
        judged.fight = Some(serde_json::from_value(lie).unwrap());
    }
    assert_eq!(Reign::believed(&record).fights().count(), 0, "no duel has so many");
}
