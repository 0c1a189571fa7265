//! What rounds come to when the trouble is our own: never a score, never a lost decision.

use crate::network::{Formula, N_SET_UP, Network, hotkey};
use chain::Chain as _;
use journal::{Journal, Past};
use protocol::{Block, Digest, Record};
use serde_json::{Value, json};
use std::{
    fs,
    sync::{Arc, atomic::Ordering},
};
use validator::{Cause, Entry, Event, Progress, State, entry::After};

#[test]
fn d2_an_evaluator_that_always_fails_crowns_nobody() {
    let network = Network::new(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "early", 3.0);
    network.enter("ben", "better", 2.5);
    network.evaluate.faults.lock().unwrap().insert("early".to_owned(), usize::MAX);
    network.evaluate.faults.lock().unwrap().insert("better".to_owned(), usize::MAX);
    let heard = network.run_to(&mut validator, 29);
    assert_eq!(heard.rounds()[0].champion, None);
    assert_eq!(network.incentive("ada"), 0.0);
    assert_eq!(network.incentive("ben"), 0.0);
}

#[test]
fn a_source_of_text_that_fails_suspends_the_round_which_is_run_once_it_answers() {
    let network = Network::new(&["ada", "ben"]);
    let source = Arc::new(Formula::default());
    let home = network.home();
    let mut validator = network.validator_on(source.clone(), network.ports(&home), &home);
    network.enter("ada", "early", 3.0);
    network.enter("ben", "better", 2.5);
    source.is_gone.store(true, Ordering::Relaxed);
    let heard = network.run_to(&mut validator, 24);
    assert!(heard.n_suspended() > 0 && heard.rounds().is_empty());
    assert!(validator.contest("tiny").is_none_or(|contest| contest.champion.is_none()));
    source.is_gone.store(false, Ordering::Relaxed);
    let heard = network.run_to(&mut validator, 26);
    let late = heard.rounds()[0];
    assert_eq!((heard.n_suspended(), late.seed.block.0), (0, 20));

    // The same text as for a validator whose source answered in time.
    let punctual_home = network.folder.path().join("punctual");
    let mut punctual = network.validator_with(network.ports(&punctual_home), &punctual_home);
    let heard = network.run_to(&mut punctual, 27);
    assert_eq!(heard.rounds()[0].digest, late.digest);
}

#[test]
fn one_failure_is_tried_again_and_changes_nothing() {
    let network = Network::new(&["ada"]);
    let mut validator = network.validator();
    network.enter("ada", "early", 3.0);
    network.evaluate.faults.lock().unwrap().insert("early".to_owned(), 1);
    let heard = network.run_to(&mut validator, 21);
    assert_eq!(heard.rounds()[0].champion.unwrap().uid, network.uid("ada"));
}

#[test]
fn a_round_without_the_champion_is_given_up_but_not_for_ever() {
    let network = Network::new(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "best", 2.5);
    network.enter("ben", "second", 3.0);
    network.run_to(&mut validator, 22);
    network.evaluate.faults.lock().unwrap().insert("best".to_owned(), usize::MAX);
    let heard = network.run_to(&mut validator, 52);
    assert_eq!((heard.n_suspended(), heard.rounds().len()), (3, 0));
    let ada = validator.contest("tiny").unwrap().champion.unwrap();
    assert_eq!(ada.uid, network.uid("ada"), "the crown must not move for trouble of ours");
    let heard = network.run_to(&mut validator, 62);
    assert_eq!(heard.rounds()[0].champion.unwrap().uid, network.uid("ben"));
}

#[test]
fn a_model_without_weight_that_fails_is_skipped_and_the_round_goes_on() {
    let network = Network::new(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "best", 2.5);
    network.enter("ben", "second", 3.0);
    network.evaluate.faults.lock().unwrap().insert("second".to_owned(), usize::MAX);
    let heard = network.run_to(&mut validator, 21);
    assert!(heard.0.iter().any(|event| matches!(event, Event::Skipped { .. })));
    let failed = Progress::Failed(Cause::Evaluator);
    let is_failure =
        |event: &&Event| matches!(event, Event::Progress { progress, .. } if *progress == failed);
    assert_eq!(heard.0.iter().filter(is_failure).count(), 2, "it was tried again");
    assert_eq!(heard.rounds()[0].rows.len(), 1);
    network.evaluate.faults.lock().unwrap().clear();
    let heard = network.run_to(&mut validator, 31);
    assert_eq!(heard.rounds()[0].rows.len(), 2, "what was skipped stays in the pool");
}

#[test]
fn a_full_disk_pauses_new_models_and_nothing_else() {
    let network = Network::new(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "known", 3.0);
    network.run_to(&mut validator, 21);
    drop(validator);
    let home = network.home();
    let full = network.models(Arc::clone(&network.hub), &home).with_reserve(u64::MAX / 2);
    let mut validator = network.validator_with(network.ports_with(full, &home), &home);
    network.enter("ben", "better", 2.5);
    let heard = network.run_to(&mut validator, 31);
    let told = |event: &Event| match event {
        Event::Skipped { uid, error } if *uid == network.uid("ben") => Some(error.clone()),
        _ => None,
    };
    let told = heard.0.iter().find_map(told).unwrap();
    let store = network.folder.path().join("val/models");
    assert!(told.contains(&store.display().to_string()) && told.contains("bytes free"), "{told}");
    assert_eq!(heard.rounds()[0].champion.unwrap().uid, network.uid("ada"));
    assert_eq!(heard.rounds()[0].rows.len(), 1);
    assert!(heard.0.iter().any(|event| matches!(event, Event::WeightsSubmitted(_))));

    drop(validator);
    let mut validator = network.validator();
    let heard = network.run_to(&mut validator, 41);
    assert_eq!(heard.rounds()[0].rows.len(), 2, "who was kept out by our trouble is heard later");
    assert_eq!(heard.rounds()[0].champion.unwrap().uid, network.uid("ben"));
}

#[test]
fn a_restarted_validator_goes_on_where_it_stopped() {
    let network = Network::new(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "early", 3.0);
    network.run_to(&mut validator, 21);
    drop(validator);
    let mut validator = network.validator();
    network.enter("ben", "better", 2.5);
    let heard = network.run_to(&mut validator, 31);
    let round = heard.rounds()[0];
    assert_eq!(round.round, 2);
    let ben = round.rows.iter().find(|row| row.uid == network.uid("ben")).unwrap();
    assert!((ben.average - 0.5).abs() < 1e-3, "the old average must still count: {ben:?}");
    let inspected = network.evaluate.n_inspected.lock().unwrap();
    assert_eq!(inspected.get("early"), Some(&1), "a verdict at rest is remembered");
}

#[test]
fn a_validator_that_comes_late_finds_what_a_punctual_one_found() {
    let network = Network::new(&["ada", "ben"]);
    let mut punctual = network.validator();
    network.enter("ada", "early", 3.0);
    network.enter("ben", "better", 2.5);
    let on_time = network.run_to(&mut punctual, 20);
    // After the seed the leader commits to something else; a late reader must not see that.
    network.enter("ben", "worse", 9.0);
    while network.chain.head().unwrap().block.0 < 27 {
        network.chain.produce_block().unwrap();
    }
    let home = network.folder.path().join("late");
    let mut late = network.validator_with(network.ports(&home), &home);
    let heard = network.run_to(&mut late, 28);
    assert_eq!(heard.rounds()[0].digest, on_time.rounds()[0].digest);
}

#[test]
fn no_round_runs_before_the_competition_does() {
    let network = Network::new(&["ada"]);
    let mut validator = network.validator();
    network.enter("ada", "early", 3.0);
    let heard = network.run_to(&mut validator, N_SET_UP + 9);
    assert!(heard.rounds().is_empty());
}

#[test]
fn the_state_of_an_earlier_version_is_taken_over_once() {
    let network = Network::new(&["ada"]);
    let ada = hotkey("ada").public();
    let (uid, root) = (network.uid("ada").0, "ab".repeat(32));
    let average = format!(r#"[{{"uid":{uid},"hotkey":"{ada}","weight":0.25}}]"#);
    let old = format!(
        r#"{{"contests":{{"tiny":{{"seed_block":10,"n_rounds":7,"n_suspended":0,"suspended":0,
        "record":"sha256:{root}","average":{average},"champion":{{"uid":{uid},"hotkey":"{ada}"}},
        "kept":["{ada}"],"verdicts":{{}}}}}},"weights_due":false}}"#
    );
    let home = network.home();
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("state.json"), old).unwrap();
    drop(validator::legacy::open_journal(&home).unwrap());
    assert!(!home.join("state.json").exists() && home.join("state.json.taken-over").exists());
    let mut validator = network.validator();
    network.enter("ada", "first", 3.0);
    let heard = network.run_to(&mut validator, 21);
    let round = heard.rounds()[0];
    assert_eq!(round.round, 8);
    assert_eq!(round.rows[0].average, 0.625, "the old average counts");
    let record = Record::from_json(&network.record(round)).unwrap();
    assert_eq!(record.round.previous.unwrap().hex(), root);

    fs::write(home.join("state.json"), "{}").unwrap();
    drop(validator);
    drop(validator::legacy::open_journal(&home).unwrap());
    assert_eq!(network.validator().contest("tiny").unwrap().n_rounds, 8);
}

/// What a validator knows, as a version wrote it that knew no cards.
fn without_cards(state: &State) -> State {
    let mut state = serde_json::to_value(state).unwrap();
    let verdicts = state["contests"]["tiny"]["verdicts"].as_object_mut().unwrap();
    for verdict in verdicts.values_mut() {
        let admitted = verdict["found"]["admitted"].as_object_mut().unwrap();
        assert!(admitted.remove("card").is_some(), "a version of now keeps it");
    }
    serde_json::from_str(&state.to_string()).unwrap()
}

#[test]
fn a_model_that_an_earlier_version_found_is_inspected_once_more_and_has_a_card_then() {
    let network = Network::new(&["ada"]);
    let mut validator = network.validator();
    network.enter("ada", "early", 3.0);
    network.run_to(&mut validator, 21);
    let state = without_cards(&validator.state());
    drop(validator);
    let mut past = Past::<State>::open(Journal::open(&network.home()).unwrap()).unwrap();
    past.learn(&Entry::TakenOver(Box::new(state)), Block(21)).unwrap();
    drop(past);
    let mut validator = network.validator();
    let heard = network.run_to(&mut validator, 41);
    assert_eq!(heard.rounds().len(), 2);
    for round in heard.rounds() {
        let record = Record::from_json(&network.record(round)).unwrap();
        let card = record.models[0].model.card.as_ref().unwrap();
        assert_eq!(card.architecture, "written", "record {}", round.round);
    }
    let inspected = network.evaluate.n_inspected.lock().unwrap();
    assert_eq!(inspected["early"], 2, "once by each version");
}

#[test]
fn a_model_that_an_earlier_version_measured_has_a_card_in_the_record_of_that_round() {
    let network = Network::new(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "early", 3.0);
    network.enter("ben", "late", 2.9);
    network.run_to(&mut validator, 21);
    // It dies once one of them was measured on all eight sequences, and the other on some.
    *network.evaluate.dies_after.lock().unwrap() = Some(12);
    assert!(network.run_to(&mut validator, 31).rounds().is_empty());
    let state = without_cards(&validator.state());
    drop(validator);
    *network.evaluate.dies_after.lock().unwrap() = None;
    let mut past = Past::<State>::open(Journal::open(&network.home()).unwrap()).unwrap();
    past.learn(&Entry::TakenOver(Box::new(state)), Block(31)).unwrap();
    drop(past);
    let mut validator = network.validator();
    let heard = network.run_to(&mut validator, 33);
    let record = Record::from_json(&network.record(heard.rounds()[0])).unwrap();
    assert_eq!((record.round.number, record.models.len()), (2, 2));
    for judged in &record.models {
        assert!(judged.model.card.is_some(), "uid {} was measured", judged.model.uid);
    }
    let measured = network.evaluate.n_sequences.lock().unwrap();
    assert!(*measured <= 2 * 16 + 1, "{measured}: what was measured is not measured again");
}

#[test]
fn a_record_of_an_earlier_format_that_was_not_published_is_lost_and_keeps_no_later_one() {
    let network = Network::new(&["ada"]);
    let mut validator = network.validator();
    network.enter("ada", "early", 3.0);
    let heard = network.run_to(&mut validator, 21);
    let mut old: Value = serde_json::from_slice(&network.record(heard.rounds()[0])).unwrap();
    drop(validator);
    // The next one, as a version decided it that was killed before it was published.
    old["format"] = json!(4);
    (old["round"]["number"], old["round"]["block"]) = (json!(2), json!(22));
    for document in old["round"]["documents"].as_array_mut().unwrap() {
        let document = document.as_object_mut().unwrap();
        document.remove("n_bytes").and(document.remove("n_tokens")).unwrap();
    }
    let mut past = Past::<State>::open(Journal::open(&network.home()).unwrap()).unwrap();
    let decided = json!({ "decided": {
        "competition": "tiny",
        "record": old.to_string(),
        "after": After::default(),
    }});
    let decided: Entry = serde_json::from_str(&decided.to_string()).unwrap();
    past.learn(&decided, Block(22)).unwrap();
    drop(past);
    let mut validator = network.validator();
    let heard = network.run_to(&mut validator, 31);
    let lost = |event: &Event| match event {
        Event::RecordsLost { first, last, .. } => Some((*first, *last)),
        _ => None,
    };
    assert_eq!(heard.0.iter().filter_map(lost).collect::<Vec<_>>(), [(2, 2)]);
    assert_eq!(validator.lost_before("tiny"), Some(3), "whoever publishes elsewhere goes on");
    let record = Record::from_json(&network.record(heard.rounds()[0])).unwrap();
    assert_eq!(record.round.number, 3);
    assert_eq!(record.round.previous, Some(Digest::of(old.to_string().as_bytes())));
}

#[test]
fn d9_a_torn_state_is_an_error_and_never_a_fresh_start() {
    let network = Network::new(&["ada"]);
    let mut validator = network.validator();
    network.enter("ada", "early", 3.0);
    network.run_to(&mut validator, 21);
    drop(validator);
    let path = network.home().join("journal.db");
    let mut torn = fs::read(&path).unwrap();
    torn[100..].iter_mut().step_by(7).for_each(|byte| *byte ^= 0x5a);
    fs::write(&path, &torn).unwrap();
    let home = network.home();
    let opened = network.try_open(Arc::default(), network.ports(&home), &home, None);
    let error = opened.err().unwrap();
    assert!(format!("{error:#}").contains("journal.db"), "{error:#}");
}
