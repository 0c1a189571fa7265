//! Attacks on rounds of duels, and what must not cost a challenger its turn, with real validators.

use crate::{
    duels::{N_DOCUMENTS, duel, is_crowned, moody, network, verified},
    moody::Mood,
    network::{Formula, GENESIS, NETUID, hotkey},
};
use journal::Journal;
use protocol::{ReasonCode, duel::Verdict};
use std::sync::{Arc, atomic::Ordering};
use validator::{Config, Contest, Fought, RoundSummary, Validator};

#[test]
fn d2_by_duels_an_evaluator_that_always_fails_crowns_nobody() {
    let network = network(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "early", 3.0);
    network.enter("ben", "better", 2.5);
    network.evaluate.faults.lock().unwrap().insert("early".to_owned(), usize::MAX);
    network.evaluate.faults.lock().unwrap().insert("better".to_owned(), usize::MAX);
    let heard = network.run_to(&mut validator, 42);
    assert!(!heard.rounds().is_empty());
    assert!(heard.rounds().iter().all(|round| round.champion.is_none()));
    assert_eq!((network.incentive("ada"), network.incentive("ben")), (0.0, 0.0));
}

#[test]
fn d5_by_duels_a_champion_that_commits_to_another_model_holds_no_crown_with_it() {
    let network = network(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "good", 2.5);
    network.enter("ben", "second", 3.0);
    network.run_to(&mut validator, 22);
    assert!(is_crowned(&validator, "ada"));
    let dir = network.model("broken-now", Some(1.0));
    network.commit("ada", &network.publish("ada", &dir));
    let heard = network.run_to(&mut validator, 32);
    assert_eq!(heard.reason_of(network.uid("ada")), Some(ReasonCode::ConfigRefused));
    assert!(is_crowned(&validator, "ben"));
    verified(&network, "val", &validator);
}

#[test]
fn d7_by_duels_a_commitment_that_is_published_late_goes_before_nobody() {
    let (network, hub) = moody(&["bea", "eve", "ada"]);
    let mut validator = network.validator();
    network.enter("bea", "first", 3.0);
    network.run_to(&mut validator, 22);
    let dir = network.model("hoarded", Some(2.5));
    let commitment = network.publish_in("eve", "eve/hoarded", &dir);
    hub.set("eve/hoarded", Some(Mood::Closed));
    network.commit("eve", &commitment);
    network.run_to(&mut validator, 24);
    network.enter("ada", "published", 2.5);
    let heard = network.run_to(&mut validator, 32);
    assert_eq!(heard.reason_of(network.uid("eve")), Some(ReasonCode::NotPublished));
    assert!(is_crowned(&validator, "ada"));
    hub.set("eve/hoarded", None);
    network.run_to(&mut validator, 62);
    assert!(is_crowned(&validator, "ada"), "what is as good takes no crown");
    verified(&network, "val", &validator);
}

#[test]
fn a_duel_that_is_open_goes_on_by_rules_that_changed_meanwhile() {
    let (network, hub) = moody(&["ada", "ben"]);
    let before = network.competition.clone();
    let mut after = before.clone();
    (after.from_block, after.scoring.alpha) = (95, 0.4);
    let text = Arc::new(Formula::default());
    let contests = [before, after].map(|rules| Contest::new(rules, text.clone()));
    let (home, config) = (network.home(), Config::new(NETUID, GENESIS));
    let (ports, journal) = (network.ports(&home), Journal::open(&home).unwrap());
    let mut validator =
        Validator::open(config, ports, contests.into(), hotkey("val"), journal).unwrap();
    network.enter("ada", "first", 3.0);
    network.run_to(&mut validator, 22);
    network.enter("ben", "a-little-better", 2.96);
    let heard = network.run_to(&mut validator, 32);
    assert_eq!(duel(heard.rounds()[0], &network, "ben"), (N_DOCUMENTS as u32, None));
    // Nobody is fresh any more when the new rules hold.
    hub.is_out.store(true, Ordering::Relaxed);
    network.run_to(&mut validator, 92);
    hub.is_out.store(false, Ordering::Relaxed);
    let heard = network.run_to(&mut validator, 102);
    let round = heard.rounds().pop().unwrap();
    assert_eq!(round.seed.block.0, 100);
    let (n_documents, verdict) = duel(round, &network, "ben");
    assert!(n_documents > N_DOCUMENTS as u32 && verdict == Some(Verdict::Dethroned));
}

#[test]
fn a_round_without_challengers_forgives_no_trouble_that_the_champion_makes() {
    let network = network(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "first", 3.0);
    network.run_to(&mut validator, 22);
    network.enter("ben", "a-little-better", 2.96);
    network.evaluate.faults.lock().unwrap().insert("first".to_owned(), 2);
    let heard = network.run_to(&mut validator, 32);
    assert_eq!(heard.n_suspended(), 1);
    let spared = validator.contest("tiny").unwrap().spared;
    assert_eq!(spared.get(&hotkey("ada").public()), Some(&1));
    let dir = network.model("broken-now", Some(1.0));
    network.commit("ben", &network.publish("ben", &dir));
    let heard = network.run_to(&mut validator, 42);
    assert_eq!(heard.rounds().len(), 1);
    assert_eq!(validator.contest("tiny").unwrap().spared, spared, "nobody looked at it");
}

#[test]
fn of_the_models_of_one_owner_the_second_waits_for_the_first_and_loses_no_turn() {
    let network = network(&["ada", "ben"]);
    let mut validator = network.validator();
    network.register_under("bob", "ben");
    network.enter("ada", "first", 3.0);
    network.run_to(&mut validator, 22);
    // Better by less than epsilon, for several rounds.
    network.enter("ben", "hardly-better", 2.988);
    network.run_to(&mut validator, 23);
    network.enter("bob", "far-better", 2.5);
    let heard = network.run_to(&mut validator, 122);
    let of = |miner: &str| -> Vec<Option<Fought>> {
        let uid = network.uid(miner);
        let duel = |round: &RoundSummary| round.rows.iter().find(|row| row.uid == uid)?.duel;
        heard.rounds().into_iter().map(duel).collect()
    };
    let (ben, bob) = (of("ben"), of("bob"));
    let is_open = |duel: &&Option<Fought>| duel.is_some_and(|duel| duel.verdict.is_none());
    let n_open = ben.iter().take_while(is_open).count();
    // By then its commitment is not fresh any more.
    assert!(n_open >= 4, "{n_open}");
    assert!(bob[..=n_open].iter().all(Option::is_none), "one at a time");
    assert_eq!(ben[n_open].unwrap().verdict, Some(Verdict::Rejected));
    assert_eq!(bob[n_open + 1].unwrap().verdict, Some(Verdict::Dethroned));
    assert!(is_crowned(&validator, "bob"));
    verified(&network, "val", &validator);
}
