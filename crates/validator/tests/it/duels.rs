//! Rule `duel` with real validators: who fights whom, on how many documents, and what it costs.

use crate::{
    moody::{Mood, Moody},
    network::{Heard, Network, hotkey},
    tapped::TappedHub,
};
use protocol::{
    ReasonCode, Record,
    competition::Seeds,
    duel::{DuelRules, Reign, Verdict},
    record::{verify_chain, verify_duels},
};
use records::Folder;
use std::sync::{Arc, atomic::Ordering};
use validator::{ContestState, RoundSummary, Row, Validator, state::Found};

/// Documents of a round.
pub(crate) const N_DOCUMENTS: usize = 65;
/// Documents that the reference of a crown is measured on.
const N_FIRST: usize = 64;

/// A network by rule `duel` on which `val` has all the stake.
pub(crate) fn network(miners: &[&str]) -> Network {
    Network::new(miners).with_duels(DuelRules::default(), N_DOCUMENTS)
}

/// The same with a hub of moods.
pub(crate) fn moody(miners: &[&str]) -> (Network, Arc<Moody>) {
    let mut network = network(miners);
    let hub = Arc::new(Moody::default());
    network.hub = Arc::new(TappedHub { inner: network.hub.clone(), tap: hub.clone() });
    (network, hub)
}

fn row<'a>(round: &'a RoundSummary, network: &Network, miner: &str) -> &'a Row {
    let uid = network.uid(miner);
    round.rows.iter().find(|row| row.uid == uid).unwrap()
}

/// How a miner's duel stands after a round: documents, and the verdict.
pub(crate) fn duel(round: &RoundSummary, network: &Network, miner: &str) -> (u32, Option<Verdict>) {
    let duel = row(round, network, miner).duel.unwrap();
    (duel.n_documents, duel.verdict)
}

fn n_sequences(network: &Network) -> usize {
    *network.evaluate.n_sequences.lock().unwrap()
}

pub(crate) fn is_crowned(validator: &Validator, miner: &str) -> bool {
    let champion = validator.contest("tiny").unwrap().champion;
    champion.is_some_and(|holder| holder.hotkey == hotkey(miner).public())
}

/// The published records of a validator, each verified by those before it; all that it knows of
/// crown and duels follows from them.
pub(crate) fn verified(network: &Network, name: &str, validator: &Validator) -> Vec<Record> {
    let folder = Folder::new(network.folder.path().join(name).join("records"));
    let (mut reign, mut records) = (Reign::default(), Vec::new());
    for number in folder.list("tiny").unwrap() {
        let signed = folder.read("tiny", number).unwrap().unwrap();
        assert!(signed.is_genuine());
        verify_duels(&signed.record, &network.competition, &reign).unwrap();
        verify_chain(&signed.record, records.last(), &network.competition).unwrap();
        reign.follow(&signed.record);
        records.push(signed.record);
    }
    let contest = validator.contest("tiny").unwrap();
    assert_eq!(contest.reign, reign);
    let written = serde_json::to_string(&contest).unwrap();
    assert_eq!(serde_json::from_str::<ContestState>(&written).unwrap(), contest);
    records
}

#[test]
fn a_duel_goes_on_over_rounds_until_the_crown_moves_and_validators_agree_to_the_bit() {
    let names = ["val", "van", "vic"];
    let network = Network::with_validators(&names, &["ada", "ben"])
        .with_duels(DuelRules::default(), N_DOCUMENTS);
    let mut validators = network.validators();
    network.enter("ada", "first", 3.0);
    network.run_all(&mut validators, 22);
    // By little: it takes more documents than a round has.
    network.enter("ben", "a-little-better", 2.96);
    let heard = network.run_all(&mut validators, 42);
    for (heard, (name, validator)) in heard.iter().zip(names.iter().zip(&validators)) {
        let [first, second] = heard.rounds()[..] else { panic!("{:?}", heard.rounds()) };
        assert_eq!(duel(first, &network, "ben"), (N_DOCUMENTS as u32, None));
        assert!(!first.crown_moved && first.duels.unwrap().n_open == 1);
        let (n_documents, verdict) = duel(second, &network, "ben");
        assert_eq!(verdict, Some(Verdict::Dethroned));
        assert!(n_documents > N_DOCUMENTS as u32 && n_documents < 2 * N_DOCUMENTS as u32);
        assert!(second.crown_moved && second.duels.unwrap().foremost == Some(network.uid("ben")));
        assert!(is_crowned(validator, "ben"));
        let records = verified(&network, name, validator);
        assert_eq!(records.len(), 3);
        // Documents that decided nothing are in no record.
        let used = records[2].models.iter().map(|judged| match &judged.model.finding {
            protocol::record::Finding::Evaluated(losses) => losses.len(),
            other => panic!("{other:?}"),
        });
        let n_used = n_documents as usize - N_DOCUMENTS;
        assert_eq!(used.collect::<Vec<usize>>(), [n_used, n_used.max(N_FIRST)]);
    }
    let contest = |validator: &Validator| validator.contest("tiny").unwrap();
    for other in &validators[1..] {
        assert_eq!(contest(other).reign, contest(&validators[0]).reign);
        assert_eq!(contest(other).average, contest(&validators[0]).average);
    }
}

#[test]
fn attack_a_far_worse_challenger_costs_fifteen_documents_once() {
    let network = network(&["ada", "eve"]);
    let mut validator = network.validator();
    network.enter("ada", "first", 3.0);
    network.run_to(&mut validator, 22);
    assert_eq!(n_sequences(&network), N_DOCUMENTS, "an empty throne is filled by all of them");
    network.enter("eve", "far-worse", 3.5);
    let heard = network.run_to(&mut validator, 32);
    let (n_documents, verdict) = duel(heard.rounds()[0], &network, "eve");
    assert!(verdict == Some(Verdict::Rejected) && n_documents <= 15);
    assert_eq!(n_sequences(&network), N_DOCUMENTS + 2 * 15, "fifteen of each");
    // It is decided: nobody is measured any more, and there is a record all the same.
    let heard = network.run_to(&mut validator, 52);
    assert_eq!(n_sequences(&network), N_DOCUMENTS + 2 * 15);
    for round in heard.rounds() {
        assert_eq!((round.champion_perplexity, round.champion.is_some()), (None, true));
    }
    assert!(is_crowned(&validator, "ada"));
    verified(&network, "val", &validator);
}

#[test]
fn attack_copies_cost_nothing_and_fight_nobody() {
    let network = network(&["ada", "eve", "eva"]);
    let mut validator = network.validator();
    network.enter("ada", "first", 3.0);
    network.run_to(&mut validator, 22);
    let dir = network.model("first", Some(3.0));
    for miner in ["eve", "eva"] {
        network.commit(miner, &network.publish(miner, &dir));
    }
    let heard = network.run_to(&mut validator, 42);
    for miner in ["eve", "eva"] {
        assert_eq!(heard.reason_of(network.uid(miner)), Some(ReasonCode::Duplicate));
        assert_eq!(row(heard.rounds()[0], &network, miner).duel, None);
        assert_eq!(network.incentive(miner), 0.0);
    }
    assert_eq!(n_sequences(&network), N_DOCUMENTS);
    assert!(is_crowned(&validator, "ada"));
    verified(&network, "val", &validator);
}

#[test]
fn an_outage_of_the_hub_moves_nothing_and_the_duel_goes_on_after_it() {
    let (network, hub) = moody(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "first", 3.0);
    network.run_to(&mut validator, 22);
    network.enter("ben", "a-little-better", 2.96);
    network.run_to(&mut validator, 32);
    let before = validator.contest("tiny").unwrap().reign;
    hub.is_out.store(true, Ordering::Relaxed);
    let heard = network.run_to(&mut validator, 92);
    assert!(heard.rounds().is_empty() && heard.n_suspended() >= 5);
    assert_eq!(validator.contest("tiny").unwrap().reign, before);
    hub.is_out.store(false, Ordering::Relaxed);
    // Nobody is fresh by now, and the duel is open all the same.
    let heard = network.run_to(&mut validator, 102);
    let (n_documents, verdict) = duel(heard.rounds()[0], &network, "ben");
    assert!(n_documents > N_DOCUMENTS as u32 && verdict == Some(Verdict::Dethroned));
    assert!(is_crowned(&validator, "ben"));
    verified(&network, "val", &validator);
}

#[test]
fn trouble_with_the_evaluator_gives_a_round_up_before_it_takes_the_crown() {
    let network = network(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "first", 3.0);
    network.run_to(&mut validator, 22);
    network.enter("ben", "a-little-better", 2.96);
    // Of the champion, twice: the round is given up.
    network.evaluate.faults.lock().unwrap().insert("first".to_owned(), 2);
    let heard = network.run_to(&mut validator, 32);
    assert!(heard.rounds().is_empty() && heard.n_suspended() == 1);
    assert!(is_crowned(&validator, "ada"));
    // Of the challenger: it waits, and the champion stays.
    network.evaluate.faults.lock().unwrap().insert("a-little-better".to_owned(), 2);
    let heard = network.run_to(&mut validator, 42);
    assert_eq!(heard.rounds().len(), 1);
    assert!(is_crowned(&validator, "ada"));
    let heard = network.run_to(&mut validator, 62);
    assert!(heard.rounds().iter().any(|round| round.duels.unwrap().foremost.is_some()));
    verified(&network, "val", &validator);
}

#[test]
fn attack_a_champion_that_closes_its_repo_leaves_the_throne_to_whoever_was_rejected_long_ago() {
    let (network, hub) = moody(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "first", 3.0);
    network.run_to(&mut validator, 22);
    network.enter("ben", "worse", 3.1);
    let heard = network.run_to(&mut validator, 32);
    assert_eq!(duel(heard.rounds()[0], &network, "ben").1, Some(Verdict::Rejected));
    let heard = network.run_to(&mut validator, 92);
    let idle: &RoundSummary = heard.rounds().pop().unwrap();
    assert_eq!(idle.rows.len(), 1, "whoever is rejected and not fresh is asked for nothing");
    let n_before = n_sequences(&network);
    hub.set("ada/model", Some(Mood::Closed));
    let heard = network.run_to(&mut validator, 102);
    assert_eq!(heard.reason_of(network.uid("ada")), Some(ReasonCode::NotPublished));
    assert!(is_crowned(&validator, "ben"));
    assert_eq!(n_sequences(&network), n_before + N_DOCUMENTS);
    assert!(row(heard.rounds()[0], &network, "ben").duel.is_none(), "nobody duels for it");
    verified(&network, "val", &validator);
}

#[test]
fn attack_whoever_does_no_better_than_guessing_never_sits_on_an_empty_throne() {
    let network = network(&["eve", "ada"]);
    let mut validator = network.validator();
    // The table of the text's own frequencies has a loss of 50.
    network.enter("eve", "guessing", 50.0);
    let heard = network.run_to(&mut validator, 22);
    assert_eq!(heard.reason_of(network.uid("eve")), Some(ReasonCode::DegenerateOutput));
    assert_eq!(heard.rounds()[0].champion, None);
    network.enter("ada", "just-better", 49.8);
    network.run_to(&mut validator, 32);
    assert!(is_crowned(&validator, "ada"));
    verified(&network, "val", &validator);
}

#[test]
fn attack_a_model_that_hides_from_a_round_ends_its_duel() {
    let (network, hub) = moody(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "first", 3.0);
    network.run_to(&mut validator, 22);
    network.enter("ben", "a-little-better", 2.96);
    let heard = network.run_to(&mut validator, 32);
    assert_eq!(duel(heard.rounds()[0], &network, "ben").1, None);
    hub.set("ben/model", Some(Mood::Closed));
    let heard = network.run_to(&mut validator, 42);
    assert_eq!(heard.reason_of(network.uid("ben")), Some(ReasonCode::NotPublished));
    hub.set("ben/model", None);
    // In the next round it would have taken the crown.
    let heard = network.run_to(&mut validator, 62);
    assert!(heard.rounds().len() == 2 && is_crowned(&validator, "ada"));
    let records = verified(&network, "val", &validator);
    let attempts = records[2].models.iter().filter_map(|judged| judged.attempts).next();
    assert_eq!(attempts.map(|attempts| attempts.n), Some(2), "hiding is an attempt of its owner");
}

#[test]
fn attack_trouble_of_our_own_empties_no_throne_however_long_it_lasts() {
    let network = network(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "first", 3.0);
    network.run_to(&mut validator, 22);
    network.enter("ben", "a-little-better", 2.96);
    network.evaluate.faults.lock().unwrap().insert("first".to_owned(), usize::MAX);
    let heard = network.run_to(&mut validator, 92);
    assert!(heard.rounds().is_empty() && heard.n_suspended() >= 7, "{}", heard.n_suspended());
    network.evaluate.faults.lock().unwrap().clear();
    let heard = network.run_to(&mut validator, 102);
    assert_eq!(duel(heard.rounds()[0], &network, "ben"), (N_DOCUMENTS as u32, None));
    assert!(is_crowned(&validator, "ada"));
    verified(&network, "val", &validator);
}

#[test]
fn a_loss_that_is_not_finite_is_remembered_of_the_commitment() {
    let network = network(&["ada", "eve"]);
    let mut validator = network.validator();
    network.enter("ada", "first", 3.0);
    network.run_to(&mut validator, 22);
    let dir = network.model("not-finite", None);
    network.commit("eve", &network.publish("eve", &dir));
    let heard = network.run_to(&mut validator, 42);
    assert_eq!(heard.rounds().len(), 2);
    assert_eq!(heard.reason_of(network.uid("eve")), Some(ReasonCode::NonFiniteLoss));
    let contest = validator.contest("tiny").unwrap();
    let found = &contest.verdicts[&hotkey("eve").public()].found;
    assert!(matches!(found, Found::Refused(reason) if reason.code == ReasonCode::NonFiniteLoss));
    verified(&network, "val", &validator);
}

#[test]
fn a_validator_without_a_past_seats_whom_the_chain_pays_and_hears_the_rest_in_duels() {
    let network = network(&["ada", "ben"]);
    let mut validator = network.validator();
    network.enter("ada", "first", 3.0);
    // Whatever its slot was paid for before is forgotten.
    network.run_to(&mut validator, 352);
    assert!(network.incentive("ada") > 0.0);
    // By the line the other would sit there.
    network.enter("ben", "better", 2.5);
    network.run_to(&mut validator, 362);
    assert!(is_crowned(&validator, "ben"), "the chain will pay it later");
    // Its journal is lost.
    drop(validator);
    let home = network.folder.path().join("anew");
    let mut validator = network.validator_with(network.ports(&home), &home);
    let heard = network.run_to(&mut validator, 364);
    assert!(is_crowned(&validator, "ada"));
    assert_eq!(row(heard.rounds()[0], &network, "ben").duel, None, "nobody duels for it");
    network.run_to(&mut validator, 382);
    assert!(is_crowned(&validator, "ben"));
    let records = verified(&network, "anew", &validator);
    assert_eq!(records[0].crown.unwrap().paid, Some(network.uid("ada")));
}

#[test]
fn seeds_of_their_own_give_each_validator_other_documents_and_records_that_verify() {
    let names = ["val", "van"];
    let mut network = Network::with_validators(&names, &["ada", "ben"])
        .with_duels(DuelRules::default(), N_DOCUMENTS);
    network.competition.evaluation.seeds = Seeds::Own;
    let mut validators = network.validators();
    network.enter("ada", "first", 3.0);
    network.run_all(&mut validators, 22);
    network.enter("ben", "better", 2.5);
    let heard: Vec<Heard> = network.run_all(&mut validators, 42);
    assert!(heard.iter().all(|heard| heard.rounds().len() == 2));
    let [val, van] = [0, 1].map(|i| verified(&network, names[i], &validators[i]));
    assert_eq!((val.len(), van.len()), (3, 3));
    for (one, other) in val.iter().zip(&van) {
        let (one, other) = (&one.round, &other.round);
        assert_eq!((one.block, one.block_hash), (other.block, other.block_hash), "the true hash");
        let is_shared = one.documents.iter().any(|document| other.documents.contains(document));
        assert!(!is_shared && one.batches != other.batches);
    }
    assert!(validators.iter().all(|validator| is_crowned(validator, "ben")));
}
