//! When duels begin, end and begin anew: windows, ages, rules that change.

use protocol::{
    Block,
    competition::Epsilon,
    duel::{DuelRules, Verdict},
    loss::mean,
};

use crate::reign::{Player, Scene, fight, n_losses, player};

#[test]
fn evidence_expires_and_a_second_duel_of_a_coldkey_has_less_to_spend() {
    // Three rounds.
    let rules = DuelRules { window_blocks: 30, ..DuelRules::default() };
    let mut scene = Scene::new(70, rules);
    let (first, near) = (player(1, 0.0), player(2, 0.006));
    let also = Player { coldkey: near.coldkey, ..player(3, 0.006) };
    scene.round(&[first]);
    let record = scene.round(&[first, near, also]);
    assert_eq!(fight(&record, 3), None, "of one owner one is heard");
    assert_eq!(fight(&record, 2).unwrap().terms.alpha, rules.alpha / 2.0);
    let began = record.round.block;
    let kept = fight(&record, 2).unwrap();
    assert_eq!((kept.began, kept.until), (began, Block(began.0 + 30)));
    scene.round(&[first, near]);
    let record = scene.round(&[first, near]);
    assert_eq!(fight(&record, 2).unwrap().evidence.n_documents(), 210);
    let record = scene.round(&[first, near]);
    let anew = fight(&record, 2).unwrap();
    assert_eq!((anew.began, anew.evidence.n_documents()), (Block(began.0 + 30), 70));
    assert_eq!((anew.attempts.n, anew.terms.alpha), (1, rules.alpha / 2.0));
    assert_eq!(anew.attempts.window, anew.began.0 / 30);
}

#[test]
fn a_duel_that_is_not_decided_in_time_is_closed_until_it_expires() {
    let rules = DuelRules { n_documents_max: 100, ..DuelRules::default() };
    let mut scene = Scene::new(70, rules);
    let players = [player(1, 0.0), player(2, 0.006)];
    scene.round(&players[..1]);
    scene.round(&players);
    let record = scene.round(&players);
    let of = fight(&record, 2).unwrap();
    assert_eq!((of.verdict, of.evidence.n_documents()), (Some(Verdict::Undecided), 100));
    assert_eq!((n_losses(&record, 1), n_losses(&record, 2)), (30, 30));
    let later = scene.round(&players);
    assert_eq!((fight(&later, 2), n_losses(&later, 2)), (Some(of), 0));
}

#[test]
fn epsilon_is_that_of_the_age_of_the_reign_and_frozen_when_a_duel_begins() {
    let mut scene = Scene::new(70, DuelRules::default());
    let linear = Epsilon::Linear { start: 0.02, end: 0.0, blocks: 40 };
    scene.competition.scoring.epsilon = linear;
    scene.competition.check().unwrap();
    let (first, near) = (player(1, 0.0), player(2, 0.015));
    // Committed to long before: its age is not that of its reign.
    scene.round(&[first]);
    let record = scene.round(&[first, near]);
    assert_eq!(fight(&record, 2).unwrap().terms.epsilon, linear.at(Block(10), Block(0)));
    let later = scene.round(&[first, near]);
    assert_eq!(fight(&later, 2).unwrap().terms, fight(&record, 2).unwrap().terms);
}

#[test]
fn rules_that_change_measure_the_champion_anew_and_void_all_duels() {
    let mut scene = Scene::new(70, DuelRules::default());
    let players = [player(1, 0.0), player(2, 0.006)];
    scene.round(&players[..1]);
    scene.round(&players);
    let before = *scene.reign.champion().unwrap();
    scene.competition.scoring.duel = Some(DuelRules { n_bets: 12, ..DuelRules::default() });
    let record = scene.round(&players);
    assert_eq!((n_losses(&record, 1), n_losses(&record, 2)), (64, 0));
    assert_eq!((fight(&record, 2), scene.reign.fights().count()), (None, 0), "nobody duels");
    let champion = *scene.reign.champion().unwrap();
    assert_eq!((champion.root, champion.since), (before.root, before.since));
    assert_eq!(champion.rules, scene.competition.digest());
    assert_eq!(champion.reference, mean(&players[0].losses(2_000..2_064)));
    let record = scene.round(&players);
    let anew = fight(&record, 2).unwrap();
    assert_eq!((anew.began, anew.attempts.n), (record.round.block, 2));
    assert_eq!((anew.evidence.n_documents(), anew.terms.reference), (70, champion.reference));
}
