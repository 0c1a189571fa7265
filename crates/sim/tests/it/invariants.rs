//! What holds of every season, whoever plays it.

use protocol::Seed;
use sim::{Cabal, Cast, Kind, Scenario, Season, cast::Part, season};

/// A scene of two validators in which models improve fast, with more tables after it.
fn scene(blocks: u64, more: &str) -> Scenario {
    let text = format!(
        "blocks = {blocks}\nvalidators = 2\n[[miners]]\nstrategy = \"idle\"\n\
         [models]\ntraining_blocks = 10\nrate = 0.03\n\
         [competition.evaluation]\nn_batches = 12\nsequences_per_batch = 1\n{more}"
    );
    Scenario::from_toml(&text).unwrap()
}

fn cast(kinds: &[Kind]) -> Cast {
    let players = kinds.iter().map(|kind| Part { kind: *kind, n_slots: 1 }).collect();
    Cast { players, n_validators: 2, cabals: Vec::new() }
}

fn play(scenario: &Scenario, cast: &Cast, seed: u64) -> Season {
    let rules = scenario.all_rules().unwrap();
    season(scenario, &rules[0], cast, seed).unwrap()
}

/// Fails unless the figures of a season are ones.
fn check(season: &Season, scenario: &Scenario, told: &str) {
    for shares in [&season.miners, &season.validators] {
        let sum: f64 = shares.iter().sum();
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{told}: {season:?}");
        assert!(sum == 0.0 || (sum - 1.0).abs() < 1e-9, "{told}: {season:?}");
    }
    for figure in [season.miners_part, season.right, season.agreement, season.hoarded] {
        assert!((0.0..=1.0).contains(&figure), "{told}: {season:?}");
    }
    assert_eq!(season.quality.len() as u64, scenario.blocks, "{told}: a point for each block");
    // A crown may be on junk where there is nothing else; no model is below the floor.
    let floor = scenario.models.floor;
    assert!(season.quality.iter().all(|loss| *loss >= floor && *loss < 10.0), "{told}: {season:?}");
    assert_eq!(season.quality[0], scenario.models.start, "{told}: nobody reigns at first");
    assert!(season.n_models >= season.n_crowns, "{told}: {season:?}");
    assert!(season.end.starts_with("0x") && season.end.len() == 66, "{told}: {season:?}");
}

#[test]
fn figures_of_a_season_of_any_cast_are_shares_of_a_whole() {
    let scenario = scene(60, "");
    for seed in 1..=5 {
        let mut random = Seed::of_number(seed).derive("casts of a test").stream();
        let mut below = |n: usize| {
            usize::try_from(protocol::seed::uniform_below(&mut random, n as u64)).unwrap()
        };
        let kinds: Vec<Kind> = (0..2 + below(4)).map(|_| Kind::ALL[below(21)]).collect();
        let mut cast = cast(&kinds);
        if below(2) == 1 {
            cast.cabals.push(Cabal::ALL[below(3)]);
        }
        let season = play(&scenario, &cast, seed);
        check(&season, &scenario, &format!("seed {seed}, {kinds:?}, {:?}", cast.cabals));
        assert_eq!(season.miners.len(), kinds.len());
        assert_eq!(season.validators.len(), cast.n_all_validators());
        assert!(season.n_rounds > 0, "seed {seed}: {season:?}");
    }
}

#[test]
fn before_the_first_round_nobody_is_crowned_or_paid_for_mining() {
    // The first block that seeds a round comes after the season.
    let scenario = scene(50, "blocks_per_round = 1000\n");
    let season = play(&scenario, &cast(&[Kind::Rebase, Kind::Scratch, Kind::Spam]), 1);
    assert_eq!(season.miners, [0.0; 3]);
    assert_eq!((season.n_rounds, season.n_models, season.n_crowns), (0, 0, 0));
    assert_eq!(season.miners_part, 0.0);
    assert_eq!((season.right, season.agreement), (1.0, 1.0), "nothing to be wrong about");
    assert!(season.quality.iter().all(|loss| *loss == 4.0), "{season:?}");
}

#[test]
fn whoever_enters_nothing_earns_nothing_and_whoever_is_alone_earns_it_all() {
    let scenario = scene(120, "");
    let season = play(&scenario, &cast(&[Kind::Rebase, Kind::Idle]), 2);
    assert_eq!(season.miners, [1.0, 0.0]);
    let season = play(&scenario, &cast(&[Kind::Idle, Kind::Copy, Kind::Noise]), 3);
    assert_eq!(season.miners, [0.0; 3], "there is nothing to copy");
    assert_eq!(season.n_crowns, 0);
}

#[test]
fn the_same_season_is_the_same_to_the_bit_by_every_rule() {
    let duel = "[competition]\ntext = { packing = \"per-document\" }\n\
                scoring = { rule = \"duel\", loss = \"cross-entropy\" }\n";
    let duel = Scenario::from_toml(&format!(
        "blocks = 50\nvalidators = 2\n[[miners]]\nstrategy = \"idle\"\n[models]\n\
         training_blocks = 10\nrate = 0.03\n{duel}evaluation = {{ n_batches = 300, \
         sequences_per_batch = 1 }}\n"
    ))
    .unwrap();
    let by = |rule: &str| scene(50, &format!("[competition.scoring]\nrule = \"{rule}\"\n"));
    let kinds = cast(&[Kind::Rebase, Kind::Scratch, Kind::Withhold, Kind::Noise]);
    let mut ends = Vec::new();
    for scenario in [by("wins"), by("mean"), by("succession"), duel] {
        let first = play(&scenario, &kinds, 5);
        assert_eq!(first, play(&scenario, &kinds, 5));
        ends.push(first.end);
    }
    let other = play(&scene(50, ""), &kinds, 6);
    assert!(!ends.contains(&other.end), "another seed ends elsewhere");
}

#[test]
fn one_validator_alone_agrees_with_itself_and_has_all_that_validators_are_paid() {
    let scenario = scene(60, "");
    let mut cast = cast(&[Kind::Rebase, Kind::Withhold]);
    cast.n_validators = 1;
    let season = play(&scenario, &cast, 8);
    assert_eq!((season.agreement, season.validators.as_slice()), (1.0, &[1.0][..]));
    assert!(season.n_rounds >= 4, "{season:?}");
}

#[test]
fn a_season_of_more_blocks_than_points_has_them_at_equal_distance() {
    for (blocks, n) in [(50, 50), (250, 125)] {
        let scenario = scene(blocks, "blocks_per_round = 1000\n");
        let season = play(&scenario, &cast(&[Kind::Idle]), 9);
        assert_eq!(season.quality.len(), n, "{blocks} blocks");
    }
}
