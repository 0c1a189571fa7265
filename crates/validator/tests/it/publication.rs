//! Whose fault it is that a model cannot be had: its owner's, the hub's, or ours.

use crate::{
    moody::{Mood, Moody},
    network::{Heard, Network, hotkey},
    tapped::TappedHub,
};
use protocol::{Loss, ReasonCode};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::{Arc, atomic::Ordering},
};
use validator::Validator;

/// A network of these miners on three validators, and its hub.
fn network(miners: &[&str]) -> (Network, Arc<Moody>) {
    let mut network = Network::with_validators(&["val", "van", "vic"], miners);
    let hub = Arc::new(Moody::default());
    network.hub = Arc::new(TappedHub { inner: network.hub.clone(), tap: hub.clone() });
    (network, hub)
}

/// Commits to a model in a repo of its own that is in a mood from the start.
fn enter_in(network: &Network, hub: &Moody, who: (&str, &str), loss: f64, mood: Option<Mood>) {
    let (miner, model) = who;
    let dir = network.model(model, Some(loss));
    let repo = format!("{miner}/{model}");
    let commitment = network.publish_in(miner, &repo, &dir);
    hub.set(&repo, mood);
    network.commit(miner, &commitment);
}

fn everybody_crowns(validators: &[Validator], network: &Network, miner: &str) -> bool {
    validators.iter().all(|validator| {
        let champion = validator.contest("tiny").unwrap().champion;
        champion.is_some_and(|champion| champion.uid == network.uid(miner))
    })
}

fn n_suspended(heard: &[Heard]) -> usize {
    heard.iter().map(Heard::n_suspended).sum()
}

#[test]
fn attack_a_falling_champion_that_makes_its_next_model_hard_to_have_earns_no_round() {
    for mood in Mood::BAD {
        let (network, hub) = network(&["ada", "ben", "eve"]);
        let mut validators = network.validators();
        network.enter("eve", "first", 3.0);
        network.run_all(&mut validators, 42);
        assert!(everybody_crowns(&validators, &network, "eve") && network.incentive("eve") > 0.9);
        // A better model comes, and the champion answers.
        network.enter("ada", "better", 2.5);
        enter_in(&network, &hub, ("eve", "unseen"), 2.0, Some(mood));
        let heard = network.run_all(&mut validators, 62);
        assert_eq!(n_suspended(&heard), 0, "{mood:?}: no round is given up");
        assert!(everybody_crowns(&validators, &network, "ada"), "{mood:?}");
        let before = network.earned("eve");
        // Again and again: nothing comes of it for twenty rounds.
        for turn in 0..18 {
            enter_in(&network, &hub, ("eve", &format!("unseen-{turn}")), 2.0, Some(mood));
            let heard = network.run_all(&mut validators, 72 + 10 * turn);
            assert_eq!(n_suspended(&heard), 0, "{mood:?}: no round is given up");
        }
        assert!(everybody_crowns(&validators, &network, "ada"), "{mood:?}");
        // Its average halves with each round: all that is left of it is worth one round.
        let more = network.earned("eve") - before;
        assert!(more <= 1.0, "{mood:?}: {more} rounds");
        assert_eq!(network.incentive("eve"), 0.0, "{mood:?}");
    }
}

#[test]
fn attack_two_keys_that_take_turns_in_being_hard_to_have_stop_no_round() {
    let (network, hub) = network(&["ada", "eve", "eva"]);
    let mut validators = network.validators();
    network.enter("eve", "first", 3.0);
    network.enter("eva", "second", 2.9);
    network.run_all(&mut validators, 42);
    network.enter("ada", "better", 2.5);
    for turn in 0..20_u64 {
        let who = if turn % 2 == 0 { "eve" } else { "eva" };
        let mood = Mood::BAD[turn as usize % Mood::BAD.len()];
        enter_in(&network, &hub, (who, &format!("unseen-{turn}")), 2.0, Some(mood));
        let heard = network.run_all(&mut validators, 52 + 10 * turn);
        assert_eq!(n_suspended(&heard), 0);
        assert!(heard.iter().all(|heard| heard.rounds().len() == 1), "a round each time");
    }
    assert!(everybody_crowns(&validators, &network, "ada"));
    assert_eq!(network.incentive("eve") + network.incentive("eva"), 0.0);
}

#[test]
fn an_outage_of_the_hub_moves_nothing_however_long_it_lasts() {
    let (network, hub) = network(&["ada", "ben"]);
    let mut validators = network.validators();
    network.enter("ada", "best", 2.5);
    network.enter("ben", "second", 3.0);
    network.run_all(&mut validators, 32);
    let before: Vec<_> = validators.iter().map(|v| v.contest("tiny").unwrap().average).collect();
    hub.is_out.store(true, Ordering::Relaxed);
    let heard = network.run_all(&mut validators, 132);
    assert!(heard.iter().all(|heard| heard.rounds().is_empty() && heard.n_suspended() >= 9));
    let after: Vec<_> = validators.iter().map(|v| v.contest("tiny").unwrap().average).collect();
    assert_eq!(before, after);
    assert!(everybody_crowns(&validators, &network, "ada"));
    hub.is_out.store(false, Ordering::Relaxed);
    let heard = network.run_all(&mut validators, 142);
    assert!(heard.iter().all(|heard| heard.rounds().len() == 1));
    assert!(everybody_crowns(&validators, &network, "ada"));
}

#[test]
fn attack_a_repo_that_is_closed_again_is_absent_and_its_seniority_lapses() {
    let (network, hub) = network(&["eve", "ada"]);
    let mut validators = network.validators();
    network.enter("eve", "first", 3.0);
    network.run_all(&mut validators, 32);
    // A model as good, junior to it: it cannot take the crown while eve is there.
    network.enter("ada", "as-good", 3.0);
    network.run_all(&mut validators, 42);
    assert!(everybody_crowns(&validators, &network, "eve"));
    hub.set("eve/model", Some(Mood::Closed));
    let heard = network.run_all(&mut validators, 52);
    for heard in &heard {
        assert_eq!(heard.reason_of(network.uid("eve")), Some(ReasonCode::NotPublished));
    }
    assert!(everybody_crowns(&validators, &network, "ada"));
    // It is seen again when it opens, and counts from then on.
    hub.set("eve/model", None);
    let heard = network.run_all(&mut validators, 72);
    assert!(heard.iter().all(|heard| heard.reason_of(network.uid("eve")).is_none()));
    assert!(everybody_crowns(&validators, &network, "ada"), "its seniority lapsed");
    let record = network.record(heard[0].rounds()[1]);
    let record = protocol::Record::from_json(&record).unwrap();
    let eve = record.models.iter().find(|m| m.model.uid == network.uid("eve")).unwrap();
    assert_eq!(eve.model.since.map(|block| block.0), Some(60));
    protocol::record::verify(&record, &network.competition).unwrap();
}

#[test]
fn validators_that_looked_at_different_times_agree_once_both_have_seen_it() {
    let (network, hub) = network(&["eve", "ada"]);
    let mut validators = network.validators();
    network.enter("ada", "first", 3.0);
    network.run_all(&mut validators, 22);
    enter_in(&network, &hub, ("eve", "better"), 2.5, None);
    // The first looks while it is closed, the others after it opened.
    let (early, late) = validators.split_at_mut(1);
    for block in 24..=42 {
        network.chain.produce_block().unwrap();
        hub.set("eve/better", (block < 31).then_some(Mood::Closed));
        network.act(early);
        if block % 10 > 1 || block > 31 {
            hub.set("eve/better", None);
            network.act(late);
        }
    }
    network.run_all(&mut validators, 52);
    assert!(everybody_crowns(&validators, &network, "eve"));
    let weights: Vec<_> = validators
        .iter()
        .map(|v| {
            let contest = v.contest("tiny").unwrap();
            (contest.champion.unwrap().uid, contest.seed_block)
        })
        .collect();
    assert!(weights.windows(2).all(|pair| pair[0] == pair[1]), "{weights:?}");
}

#[test]
fn attack_a_lone_miner_that_leaves_its_competition_is_paid_nothing_in_it() {
    let network = Network::new(&["ada"]);
    let mut validator = network.validator();
    network.enter("ada", "first", 3.0);
    network.run_to(&mut validator, 42);
    assert!(network.incentive("ada") > 0.9);
    // To a competition that does not run; the text is valid and none of ours.
    let dir = network.model("first", Some(3.0));
    let mut commitment = network.publish("ada", &dir);
    commitment.competition = protocol::CompetitionId(65_535);
    network.commit("ada", &commitment);
    let heard = network.run_to(&mut validator, 72);
    assert_eq!(heard.rounds().len(), 3);
    let ada = protocol::weights::Miner { uid: network.uid("ada"), hotkey: hotkey("ada").public() };
    let average = validator.contest("tiny").unwrap().average.of(&ada);
    assert_eq!(average, 0.125, "it decays, be there others or not");
    assert_eq!(validator.contest("tiny").unwrap().champion, None);
    assert_eq!(network.incentive("ada"), 0.0);
}

#[test]
fn attack_a_bit_that_flips_on_our_disk_between_two_rounds_never_reaches_a_record() {
    let network = Network::new(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "first", 2.5);
    network.enter("ben", "second", 3.0);
    let heard = network.run_to(&mut validator, 22);
    let before = heard.rounds()[0].champion_perplexity.unwrap();
    let mut n_flipped = 0;
    for model in fs::read_dir(network.home().join("models/models")).unwrap() {
        let path = model.unwrap().path().join("config.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        // One bit: 2.5 becomes 2.4, 3.0 becomes 3.1.
        fs::write(&path, text.replace("2.5", "2.4").replace("3.0", "3.1")).unwrap();
        n_flipped += 1;
    }
    assert_eq!(n_flipped, 2);
    let heard = network.run_to(&mut validator, 32);
    let round = heard.rounds()[0];
    assert_eq!(round.champion.unwrap().uid, network.uid("ada"));
    let after = round.champion_perplexity.unwrap();
    // The texts of two rounds differ by at most 0.1 nats; a loss of 2.4 would be far below.
    let mean = |perplexity: Loss| perplexity.value().ln();
    assert!((mean(after) - mean(before)).abs() < 0.05, "{before:?} and {after:?}");
    for row in &round.rows {
        let loss = mean(row.perplexity.unwrap());
        let honest = if row.uid == network.uid("ada") { 2.5 } else { 3.0 };
        assert!((honest..honest + 0.1).contains(&loss), "{loss} of {honest}");
    }
}

#[test]
fn attack_a_commitment_lapses_with_the_slot_that_it_was_made_in() {
    let network = Network::new(&["ada", "eve"]);
    let mut validator = network.validator();
    network.enter("eve", "stored", 3.0);
    network.run_to(&mut validator, 12);
    network.lose_slot("eve");
    network.enter("ada", "as-good", 3.0);
    network.run_to(&mut validator, 22);
    network.register("eve");
    let heard = network.run_to(&mut validator, 52);
    for round in heard.rounds() {
        assert_eq!(round.champion.unwrap().uid, network.uid("ada"));
        assert!(round.rows.iter().all(|row| row.hotkey != hotkey("eve").public()));
    }
    network.enter("eve", "stored-again", 2.5);
    let heard = network.run_to(&mut validator, 62);
    assert_eq!(heard.rounds()[0].champion.unwrap().uid, network.uid("eve"), "by a new one it is");
}
