//! Each strategy does what it says, on a scene small enough to see it.

use sim::{Cabal, Cast, Kind, Rules, Scenario, Season, cast::Part, season};

/// A scene of so many blocks in which models improve fast.
fn scene(blocks: u64, more: &str) -> Scenario {
    let text = format!(
        "blocks = {blocks}\nvalidators = 3\n[[miners]]\nstrategy = \"idle\"\n\
         [models]\ntraining_blocks = 20\n\
         [competition.evaluation]\nsequences_per_batch = 1\n{more}"
    );
    Scenario::from_toml(&text).unwrap()
}

fn cast(kinds: &[Kind]) -> Cast {
    let players = kinds.iter().map(|kind| Part { kind: *kind, n_slots: kind.slots() }).collect();
    Cast { players, n_validators: 3, cabals: Vec::new() }
}

fn play_with(scenario: &Scenario, cast: &Cast, seed: u64) -> Season {
    let rules: Vec<Rules> = scenario.all_rules().unwrap();
    let season = season(scenario, &rules[0], cast, seed).unwrap();
    eprintln!("seed {seed}: {season:?}");
    season
}

/// A season of some strategies on the plain scene.
fn play(kinds: &[Kind], seed: u64) -> Season {
    play_with(&scene(300, ""), &cast(kinds), seed)
}

#[test]
fn attack_copies_repacked_ones_and_intercepted_ones_earn_nothing() {
    use Kind::{Copy, Hoard, Intercept, Noise, Repack, Spam};
    for seed in 1..=2 {
        // A hoarder that nobody challenges publishes once: its model is there for all to copy.
        let season = play(&[Hoard, Copy, Repack, Intercept], seed);
        assert_eq!(season.miners, [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(season.n_crowns, 1);
    }
    let season = play(&[Hoard, Spam, Noise], 3);
    assert!(season.miners[0] > 0.9, "{season:?}");
}

#[test]
fn hoarding_publishes_only_when_challenged() {
    let alone = play(&[Kind::Hoard], 4);
    assert_eq!(alone.n_crowns, 1);
    let honest = play(&[Kind::Rebase], 4);
    assert!(alone.hoarded > 2.0 * honest.hoarded, "{} {}", alone.hoarded, honest.hoarded);
    let last = |season: &Season| season.quality[season.quality.len() - 1];
    assert!(last(&alone) > last(&honest), "nobody made it publish");
    let challenged = play(&[Kind::Hoard, Kind::Rebase], 4);
    assert!(last(&challenged) < last(&alone), "somebody did");
}

#[test]
fn sniping_publishes_less_than_it_has() {
    let snipe = play(&[Kind::Snipe, Kind::Scratch], 5);
    let honest = play(&[Kind::Rebase, Kind::Scratch], 5);
    assert!(snipe.hoarded > honest.hoarded, "{} {}", snipe.hoarded, honest.hoarded);
}

#[test]
fn attack_hiding_the_bytes_loses_the_crown() {
    for kind in [Kind::Gate, Kind::Desert] {
        let season = play(&[Kind::Rebase, kind], 6);
        assert!(season.miners[1] < 0.75, "{kind}: {season:?}");
        assert!(season.n_crowns > 1, "{kind}: {season:?}");
    }
}

#[test]
fn bytes_that_some_validators_do_not_see_split_them() {
    let season = play(&[Kind::Scratch, Kind::Withhold, Kind::Withhold], 7);
    assert!(season.agreement < 1.0, "{season:?}");
    let open = play(&[Kind::Scratch, Kind::Rebase, Kind::Rebase], 7);
    assert_eq!(open.agreement, 1.0, "{open:?}");
}

#[test]
fn attack_models_that_nobody_can_train_are_refused_by_rules_for_parameters() {
    let with_rules = scene(300, "[competition.model.health]\n");
    let season = play_with(&with_rules, &cast(&[Kind::Rebase, Kind::Sabotage]), 8);
    assert_eq!(season.miners[1], 0.0, "{season:?}");
    let without = play(&[Kind::Rebase, Kind::Sabotage], 8);
    assert!(without.miners[1] > 0.0, "{without:?}");
}

#[test]
fn a_harvest_pays_where_a_model_can_hold_the_exam() {
    let text = "[text]\npool = 3000\nrounds_apart = 3\n";
    let kinds = cast(&[Kind::Rebase, Kind::Harvest]);
    let small = play_with(&scene(300, text), &kinds, 9);
    assert!(small.miners[1] > 0.7, "{small:?}");
    let large = play_with(&scene(300, ""), &kinds, 9);
    assert!(large.miners[1] < small.miners[1], "{large:?}");
}

#[test]
fn variants_under_many_keys_and_late_bytes_are_seasons_like_any_other() {
    use Kind::{Ladder, Late, Noise, Overfit, Rebase, Recommit, Sybil, Target};
    let kinds = [Rebase, Sybil, Ladder, Noise, Late, Recommit, Target, Overfit];
    let season = play_with(&scene(150, ""), &cast(&kinds), 10);
    assert!((season.miners.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{season:?}");
    assert!(season.agreement > 0.9, "{season:?}");
}

#[test]
fn attack_a_cabal_of_less_than_half_of_the_stake_pays_its_miner_next_to_nothing() {
    let scenario = scene(300, "");
    for cabal in Cabal::ALL {
        let mut cast = cast(&[Kind::Rebase, Kind::Rebase, Kind::Idle]);
        cast.cabals = vec![cabal];
        let season = play_with(&scenario, &cast, 11);
        assert!(season.miners[2] < 0.02, "{cabal}: {season:?}");
        assert_eq!(season.agreement, 1.0, "{cabal}: {season:?}");
        assert!(season.validators[..3].iter().all(|paid| *paid > 0.0), "{cabal}: {season:?}");
    }
}
