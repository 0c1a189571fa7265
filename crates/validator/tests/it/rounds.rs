//! What rounds come to when all is well, and when miners are not.

use crate::network::{Network, hotkey};
use protocol::{ReasonCode, Record, record};
use std::{collections::BTreeSet, fs};
use validator::{Event, Progress, Stage};

#[test]
fn the_best_model_is_crowned_and_paid() {
    let network = Network::new(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "early", 3.0);
    network.enter("ben", "better", 2.5);
    let heard = network.run_to(&mut validator, 38);
    let rounds = heard.rounds();
    assert_eq!(rounds.len(), 2);
    for round in rounds {
        assert_eq!(round.champion.unwrap().uid, network.uid("ben"));
    }
    assert!(network.incentive("ben") > 0.999, "{}", network.incentive("ben"));
}

#[test]
fn what_is_told_of_rounds_in_numbers_adds_up() {
    let network = Network::new(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "early", 3.0);
    network.enter("ben", "better", 2.5);
    let heard = network.run_to(&mut validator, 38);
    let (mut at, mut stages) = (None, BTreeSet::new());
    let (mut n_bytes_fetched, mut n_tokens_measured, mut n_decided) = (0, 0, 0);
    for event in &heard.0 {
        let Event::Progress { competition, progress } = event else { continue };
        assert_eq!(**competition, *network.competition.name);
        match progress {
            Progress::Began(stage) => assert_eq!(at.replace(*stage), None, "one at a time"),
            Progress::Ended(stage) => {
                assert_eq!(at.take(), Some(*stage));
                stages.insert(*stage);
            }
            Progress::Fetched { n_bytes } => n_bytes_fetched += *n_bytes,
            Progress::Measured { n_tokens } => n_tokens_measured += *n_tokens,
            Progress::Decided { n_models, n_waiting } => {
                n_decided += 1;
                assert_eq!((*n_models, *n_waiting), (2, 0));
            }
            Progress::Failed(_) | Progress::GivenUp => panic!("{progress:?}"),
        }
    }
    use Stage::{Book, Decide, Fetch, Look, Measure, Text};
    assert_eq!(stages, BTreeSet::from([Book, Look, Text, Fetch, Measure, Decide]));
    assert_eq!((at, n_decided), (None, heard.rounds().len()));
    // Both models are measured on the same text.
    assert!(n_tokens_measured > 0 && n_tokens_measured % 2 == 0, "{n_tokens_measured}");
    assert!(n_bytes_fetched > 0);
    let is_set = |event: &Event| matches!(event, Event::WeightsSet { block } if block.0 > 0);
    assert!(heard.0.iter().any(is_set), "the chain took weights");
    assert_eq!(validator.n_unpublished(), 0);
}

#[test]
fn a_model_that_is_better_by_less_than_epsilon_takes_nothing() {
    let network = Network::new(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "early", 3.0);
    network.run_to(&mut validator, 12);
    network.enter("ben", "a-little-better", 2.997);
    let heard = network.run_to(&mut validator, 29);
    assert_eq!(heard.rounds()[0].champion.unwrap().uid, network.uid("ada"));
    assert_eq!(network.incentive("ben"), 0.0);
}

#[test]
fn the_crown_moves_to_a_clearly_better_model_and_the_average_follows() {
    let network = Network::new(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "early", 3.0);
    network.run_to(&mut validator, 22);
    network.enter("ben", "better", 2.5);
    let heard = network.run_to(&mut validator, 41);
    let rounds = heard.rounds();
    assert!(rounds[0].crown_moved);
    let ben = rounds[1].rows.iter().find(|row| row.uid == network.uid("ben")).unwrap();
    assert!(ben.weight > 0.999 && (ben.average - 0.75).abs() < 0.001, "{ben:?}");
}

#[test]
fn a_record_can_be_verified_and_continues_the_one_before() {
    let network = Network::new(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "early", 3.0);
    network.enter("ben", "broken", 1.0);
    let heard = network.run_to(&mut validator, 31);
    let records: Vec<Record> = heard
        .rounds()
        .iter()
        .map(|round| {
            let bytes = network.record(round);
            assert_eq!(protocol::Digest::of(&bytes), round.digest);
            Record::from_json(&bytes).unwrap()
        })
        .collect();
    for record in &records {
        record::verify(record, &network.competition).unwrap();
    }
    record::verify_chain(&records[0], None, &network.competition).unwrap();
    record::verify_chain(&records[1], Some(&records[0]), &network.competition).unwrap();
}

#[test]
fn attack_a_copied_commitment_names_another_hotkey_and_is_refused() {
    let network = Network::new(&["ada", "eve"]);
    let mut validator = network.validator();
    let dir = network.model("early", Some(3.0));
    let commitment = network.publish("ada", &dir);
    network.commit("ada", &commitment);
    network.commit("eve", &commitment);
    let heard = network.run_to(&mut validator, 29);
    assert_eq!(heard.reason_of(network.uid("eve")), Some(ReasonCode::HashMismatch));
    assert_eq!(heard.rounds()[0].champion.unwrap().uid, network.uid("ada"));
}

#[test]
fn attack_copies_of_a_model_are_measured_once_and_earn_nothing() {
    let copiers = ["eve", "eva", "evi", "evo"];
    let network = Network::new(&["ada", "ben", "eve", "eva", "evi", "evo"]);
    let mut validator = network.validator();
    network.enter("ada", "good", 2.5);
    network.enter("ben", "second", 2.6);
    network.run_to(&mut validator, 12);
    let dir = network.model("good", Some(2.5));
    copiers.iter().for_each(|miner| network.commit(miner, &network.publish(miner, &dir)));
    let heard = network.run_to(&mut validator, 48);
    let rounds = heard.rounds();
    assert_eq!(rounds.len(), 3);
    for round in &rounds {
        assert_eq!(round.champion.unwrap().uid, network.uid("ada"));
        let weight = |miner: &str| {
            let uid = network.uid(miner);
            round.rows.iter().find(|row| row.uid == uid).map_or(0.0, |row| row.weight)
        };
        assert!(weight("ada") > 0.999);
        assert!(copiers.iter().all(|miner| weight(miner) == 0.0));
        let record = Record::from_json(&network.record(round)).unwrap();
        record::verify(&record, &network.competition).unwrap();
    }
    for miner in copiers {
        assert_eq!(heard.reason_of(network.uid(miner)), Some(ReasonCode::Duplicate));
        assert_eq!(network.incentive(miner), 0.0);
    }
    assert_eq!(network.evaluate.n_evaluated.lock().unwrap()["good"], rounds.len());
}

#[test]
fn a_copy_is_measured_when_its_original_is_given_up() {
    let network = Network::new(&["ada", "eve"]);
    let mut validator = network.validator();
    network.enter("ada", "good", 2.5);
    network.run_to(&mut validator, 12);
    let dir = network.model("good", Some(2.5));
    network.commit("eve", &network.publish("eve", &dir));
    network.run_to(&mut validator, 22);
    network.enter("ada", "worse", 2.7);
    let heard = network.run_to(&mut validator, 32);
    assert_eq!(heard.rounds()[0].champion.unwrap().uid, network.uid("eve"));
}

#[test]
fn attack_a_model_committed_to_in_one_block_by_two_is_nobodys() {
    let network = Network::new(&["ada", "eve", "ben"]);
    let mut validator = network.validator();
    let dir = network.model("good", Some(2.5));
    let commitments = ["ada", "eve"].map(|miner| network.publish(miner, &dir));
    network.commit("ada", &commitments[0]);
    network.commit("eve", &commitments[1]);
    network.enter("ben", "second", 2.6);
    let heard = network.run_to(&mut validator, 29);
    for miner in ["ada", "eve"] {
        assert_eq!(heard.reason_of(network.uid(miner)), Some(ReasonCode::Duplicate));
    }
    assert_eq!(heard.rounds()[0].champion.unwrap().uid, network.uid("ben"));
}

#[test]
fn d1_a_model_whose_loss_is_not_a_number_neither_wins_nor_shields() {
    let network = Network::new(&["eve", "ada", "ben"]);
    let mut validator = network.validator();
    let dir = network.model("nan", None);
    let commitment = network.publish("eve", &dir);
    network.commit("eve", &commitment);
    network.run_to(&mut validator, 12);
    network.enter("ada", "early", 3.0);
    network.run_to(&mut validator, 13);
    network.enter("ben", "better", 2.5);
    let heard = network.run_to(&mut validator, 29);
    let round = heard.rounds()[0];
    assert_eq!(round.champion.unwrap().uid, network.uid("ben"));
    let eve = round.rows.iter().find(|row| row.uid == network.uid("eve")).unwrap();
    assert_eq!((eve.weight, eve.win_rate), (0.0, 0.0));
}

#[test]
fn attack_a_model_that_does_no_better_than_guessing_is_disqualified_by_the_round() {
    let network = Network::new(&["eve", "ada"]);
    let mut validator = network.validator();
    // The table of the text's own frequencies has a loss of 50.
    network.enter("eve", "guessing", 50.0);
    network.enter("ada", "just-better", 49.8);
    let heard = network.run_to(&mut validator, 29);
    assert_eq!(heard.reason_of(network.uid("eve")), Some(ReasonCode::DegenerateOutput));
    assert_eq!(heard.rounds()[0].champion.unwrap().uid, network.uid("ada"));
}

#[test]
fn d5_a_champion_that_commits_to_another_model_is_judged_anew() {
    let network = Network::new(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "good", 2.5);
    network.enter("ben", "second", 3.0);
    network.run_to(&mut validator, 21);
    let dir = network.model("broken-now", Some(1.0));
    let commitment = network.publish("ada", &dir);
    network.commit("ada", &commitment);
    let heard = network.run_to(&mut validator, 31);
    assert_eq!(heard.reason_of(network.uid("ada")), Some(ReasonCode::ConfigRefused));
    assert_eq!(heard.rounds()[0].champion.unwrap().uid, network.uid("ben"));
}

#[test]
fn attack_refused_content_under_a_second_key_is_neither_fetched_nor_read_again() {
    let network = Network::new(&["ada", "eve"]);
    let mut validator = network.validator();
    let dir = network.model("broken", Some(1.0));
    network.commit("ada", &network.publish("ada", &dir));
    let heard = network.run_to(&mut validator, 22);
    assert_eq!(heard.reason_of(network.uid("ada")), Some(ReasonCode::ConfigRefused));
    let store = network.folder.path().join("val/models");
    let n_stored = |part: &str| fs::read_dir(store.join(part)).unwrap().count();
    assert_eq!(["models", "files", "quarantine"].map(n_stored), [0; 3], "only the reason stays");

    network.commit("eve", &network.publish("eve", &dir));
    // Whoever asked for a byte of it would not get one.
    for blob in fs::read_dir(network.folder.path().join("hub/blobs")).unwrap() {
        fs::remove_file(blob.unwrap().path()).unwrap();
    }
    let heard = network.run_to(&mut validator, 32);
    assert_eq!(heard.reason_of(network.uid("eve")), Some(ReasonCode::ConfigRefused));
    assert_eq!(network.evaluate.n_inspected.lock().unwrap()["broken"], 1);
}

#[test]
fn d7_a_commitment_that_could_not_be_fetched_reserves_no_seniority() {
    let network = Network::new(&["eve", "ada"]);
    let mut validator = network.validator();
    // The hoarder knows its hash before it publishes; nothing of it is on the hub yet.
    let dir = network.model("hoarded", Some(2.9));
    let other = Network::new(&["eve"]);
    let commitment = other.publish("eve", &dir);
    network.commit("eve", &commitment);
    network.run_to(&mut validator, 12);
    network.enter("ada", "published", 2.9);
    let heard = network.run_to(&mut validator, 22);
    assert_eq!(heard.reason_of(network.uid("eve")), Some(ReasonCode::NotPublished));
    network.publish("eve", &dir);
    let heard = network.run_to(&mut validator, 32);
    assert_eq!(heard.rounds()[0].champion.unwrap().uid, network.uid("ada"));
}

#[test]
fn a_slot_that_changed_hands_inherits_no_weight() {
    let network = Network::new(&["ada"]);
    let mut validator = network.validator();
    network.enter("ada", "early", 3.0);
    network.run_to(&mut validator, 21);
    let average = &validator.contest("tiny").unwrap().average;
    let uid = network.uid("ada");
    let holder = |name: &str| protocol::weights::Miner { uid, hotkey: hotkey(name).public() };
    assert_eq!(average.of(&holder("ada")), 1.0);
    assert_eq!(average.of(&holder("somebody else")), 0.0);
}
