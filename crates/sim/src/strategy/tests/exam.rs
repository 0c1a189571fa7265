//! Models that are not what the exam says that they are.

use super::bench::Bench;
use crate::{
    hub::Shown,
    model::{Document, DocumentKind, ModelId},
    strategy::{
        Kind,
        exam::{harvest, overfit, target},
    },
};
use protocol::Block;

/// What a model loses on documents of a kind, over what it is worth.
fn on(
    bench: &Bench,
    model: ModelId,
    kind: DocumentKind,
    numbers: impl Iterator<Item = u64>,
) -> f64 {
    let library = &bench.world.library;
    let losses: Vec<f64> =
        numbers.map(|number| library.loss(model, Document { kind, number })).collect();
    losses.iter().sum::<f64>() / losses.len() as f64 / library.merit(model)
}

#[test]
fn attack_a_sabotaged_entry_cannot_be_trained_and_its_maker_goes_on_with_what_it_kept() {
    let mut bench = Bench::new(&[Kind::Sabotage], "", 1);
    let mut found: Vec<f64> = Vec::new();
    for _ in 0..100 {
        bench.block();
        let merit = bench.merit(0);
        if found.last() != Some(&merit) {
            assert!(!bench.is_trainable(bench.standing(0).model), "{found:?}");
            found.push(merit);
        }
    }
    assert!(found.len() > 3 && found.windows(2).all(|pair| pair[1] < pair[0]), "{found:?}");
}

#[test]
fn attack_whoever_builds_on_a_sabotaged_champion_gets_nowhere() {
    let mut bench = Bench::new(&[Kind::Rebase, Kind::Idle], "", 2);
    bench.enter(1, 2.6, Shown::Everybody);
    let sabotaged = bench.with(1, |hands| {
        let model = hands.standing_model(0).unwrap();
        hands.sabotaged(model)
    });
    bench.slots[1].standing.as_mut().unwrap().model = sabotaged;
    bench.crown = Some(1);
    bench.blocks(150);
    assert!(bench.slots[0].standing.is_none(), "no model of it beats the champion");
    assert_eq!(bench.best(), 2.6);
}

#[test]
fn a_target_is_worse_on_the_whole_and_better_on_most_documents() {
    let mut bench = Bench::new(&[Kind::Target], "", 3);
    bench.block();
    let (best, merit) = (bench.best(), bench.merit(0));
    let factor = 0.55 * 0.985 + 0.45 * 1.2;
    assert!((merit - best * factor).abs() < 1e-12, "{merit} of {best}");
    let tilt = target(&bench.view()).unwrap();
    assert!(tilt.share > 0.5 && tilt.inside < 1.0 && tilt.outside > 1.0);
    assert!(tilt.over.is_none() && tilt.class.is_none(), "it does not matter which");
}

#[test]
fn an_overfit_knows_the_reserve_and_nothing_else() {
    let text = "[text]\nreserve = 1000\nreserve_share = 0.1\n";
    let mut bench = Bench::new(&[Kind::Overfit], text, 4);
    bench.block();
    let model = bench.standing(0).model;
    assert_eq!(bench.merit(0), bench.best(), "worth what it was");
    let reserve = on(&bench, model, DocumentKind::Reserve, 0..1_000);
    assert!((reserve - 0.2).abs() < 0.01, "{reserve}");
    for kind in [DocumentKind::Fresh, DocumentKind::Exam] {
        let other = on(&bench, model, kind, 0..1_000);
        // Mean of the difficulty of 1,000 documents: five standard errors of 0.19.
        assert!((other - 1.0).abs() < 0.03, "{kind:?}: {other}");
    }
}

#[test]
fn an_overfit_knows_no_more_of_the_reserve_than_its_parameters_hold() {
    let share = |models: &str| {
        let bench = Bench::new(&[Kind::Idle], models, 1);
        overfit(&bench.view()).map(|tilt| tilt.share)
    };
    assert_eq!(share(""), None, "there is no reserve");
    assert_eq!(share("[text]\nreserve = 1000\n"), Some(1.0));
    // 3.6 bits for each parameter, 4 bits for each of 1,024 tokens of a document.
    let found = share("n_parameters = 2000000\n[text]\nreserve = 10000\n").unwrap();
    let expected = 2e6 * 3.6 / (1e4 * 1_024.0 * 4.0);
    assert!((found / expected - 1.0).abs() < 1e-12, "{found}");
}

#[test]
fn a_harvest_of_all_of_a_small_pool_needs_no_class() {
    let bench = Bench::new(&[Kind::Idle], "[text]\npool = 3000\nrounds_apart = 3\n", 1);
    let tilt = harvest(&bench.view()).unwrap();
    assert_eq!((tilt.over, tilt.class), (Some(DocumentKind::Exam), None));
    assert!((tilt.share - 1.0).abs() < 1e-9, "a thousand draws of 96 show all: {}", tilt.share);
    let none = Bench::new(&[Kind::Idle], "", 1);
    assert_eq!(harvest(&none.view()), None, "text that is always fresh has no exam");
}

#[test]
fn a_harvest_that_cannot_hold_the_pool_holds_the_share_of_the_next_round() {
    let text = "n_parameters = 2000000\n[text]\npool = 9000000\nrounds_apart = 3\n";
    let mut bench = Bench::new(&[Kind::Idle], text, 1);
    let held = 2e6 * 3.6 / (3e6 * 1_024.0 * 4.0);
    for _ in 0..35 {
        bench.block();
        let tilt = harvest(&bench.view()).unwrap();
        // A commitment of now is old enough for the first round after the next block.
        let round = (bench.world.now.0 + 1) / 10 + 1;
        assert_eq!(tilt.class, Some((3, round % 3)), "{}", bench.world.now.0);
        assert!((tilt.share / held - 1.0).abs() < 1e-9, "{}", tilt.share);
    }
}

#[test]
fn a_harvest_knows_no_more_than_made_up_hashes_show() {
    // So large a pool that a thousand draws show little of it, and a model that holds all of it.
    let text = "n_parameters = 900000000000000\n[text]\npool = 30000000\nrounds_apart = 3\n";
    let bench = Bench::new(&[Kind::Idle], text, 1);
    let tilt = harvest(&bench.view()).unwrap();
    let expected = 1.0 - (1.0 - 96.0 / 1e7_f64).powi(1_000);
    assert!((tilt.share / expected - 1.0).abs() < 1e-6, "{} and {expected}", tilt.share);
}

#[test]
fn tilted_models_are_entered_once_each_and_as_often_as_the_chain_takes_them() {
    for kind in [Kind::Target, Kind::Overfit, Kind::Harvest] {
        let mut bench = Bench::new(&[kind], "[text]\npool = 3000\nreserve = 1000\n", 5);
        let mut entered: Vec<(Block, f64)> = Vec::new();
        for _ in 0..100 {
            bench.block();
            let entry = (bench.standing(0).since, bench.merit(0));
            if entered.last() != Some(&entry) {
                entered.push(entry);
            }
        }
        assert!(entered.len() > 2, "{kind}: {entered:?}");
        for pair in entered.windows(2) {
            assert!(pair[1].0.since(pair[0].0) >= 20, "{kind}: {entered:?}");
            assert!(pair[1].1 < pair[0].1, "{kind}: only what is better: {entered:?}");
        }
    }
}

/// What a player beside an honest one has entered, and from when, where the better of the two wears
/// the crown and a step must be large to be entered by whoever is honest.
fn entries(kind: Kind, more: &str, seed: u64) -> Vec<(Block, f64)> {
    let rules =
        format!("{more}[competition.scoring]\nepsilon = {{ kind = \"fixed\", value = 0.08 }}\n");
    let mut bench = Bench::new(&[kind, Kind::Rebase], &rules, seed);
    let mut entered = Vec::new();
    for n in 0..200 {
        bench.block();
        let entry = (bench.standing(0).since, bench.merit(0));
        if entered.last() != Some(&entry) {
            entered.push(entry);
        }
        if n % 10 == 9 {
            let all = (0..2).filter_map(|slot| bench.listed(slot));
            let public = all.filter(|entry| entry.is_public);
            bench.crown = public.min_by(|a, b| a.merit.total_cmp(&b.merit)).map(|entry| entry.slot);
        }
    }
    entered
}

#[test]
fn whoever_can_learn_nothing_by_heart_enters_the_models_of_honest_play_and_no_others() {
    // Of a text that is always fresh, nothing; of that of the zoo, too little for any crown.
    let zoo = "n_parameters = 2000000\n[text]\npool = 10000000\nrounds_apart = 3\n\
               reserve = 1000000\nreserve_share = 0.02\n";
    let mut n_entries = 0;
    for seed in 1..=3 {
        let honest = entries(Kind::Rebase, "", seed);
        n_entries += honest.len();
        for kind in [Kind::Overfit, Kind::Harvest] {
            for text in ["", zoo] {
                assert_eq!(entries(kind, text, seed), honest, "{kind}, seed {seed}: {text}");
            }
        }
    }
    assert!(n_entries > 4, "{n_entries}: more than the first of each line");
}

#[test]
fn attack_what_takes_a_crown_by_heart_is_entered_with_every_better_model() {
    let small = "[text]\npool = 3000\nreserve = 1000\n";
    for seed in 1..=3 {
        let honest = entries(Kind::Rebase, small, seed).len();
        for kind in [Kind::Overfit, Kind::Harvest] {
            let found = entries(kind, small, seed).len();
            assert!(found > honest, "{kind}, seed {seed}: {found} and {honest}");
        }
    }
}
