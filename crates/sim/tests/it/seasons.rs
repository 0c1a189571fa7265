//! Seasons as a whole: determinism, the right crown, agreement, figures.

use sim::{Attack, Cast, Effort, Kind, Scenario, season};

fn quiet(_: usize, _: usize) {}

#[test]
fn a_season_depends_on_its_seed_alone() {
    let mut scenario = Scenario::builtin("short").unwrap();
    scenario.blocks = 120;
    let (rules, cast) = (scenario.all_rules().unwrap(), Cast::of(&scenario));
    let play = |seed| season(&scenario, &rules[0], &cast, seed).unwrap();
    let first = play(7);
    assert_eq!(first, play(7));
    assert_ne!(first.end, play(8).end);
    assert!(first.n_rounds > 0 && first.n_models > first.n_rounds, "{first:?}");
    assert_eq!(first.n_suspended, 0);
}

#[test]
fn honest_seasons_crown_the_best_and_all_validators_agree() {
    let scenario = Scenario::builtin("short").unwrap();
    let rules = scenario.all_rules().unwrap();
    let effort = Effort { seeds: 3, threads: 2 };
    let summaries = sim::run(&scenario, &rules, effort, &quiet).unwrap();
    for summary in &summaries {
        assert!(summary.right.mean >= 0.95, "{summary:?}");
        assert!(summary.agreement.mean >= 0.999, "{summary:?}");
        assert!(summary.crowns.mean >= 1.0, "{summary:?}");
        let (first, last) = (summary.quality[0], summary.quality[summary.quality.len() - 1]);
        assert!(last < first, "models get better: {summary:?}");
    }
}

#[test]
fn duels_crown_the_best_and_all_validators_agree_where_they_draw_the_same_text() {
    let text = "blocks = 240\nvalidators = 3\n[[miners]]\nstrategy = \"rebase\"\ncount = 4\n\
                [models]\ntraining_blocks = 20\nrate = 0.03\n\
                [competition]\ntext = { packing = \"per-document\" }\n\
                evaluation = { n_batches = 300, sequences_per_batch = 1 }\n\
                scoring = { rule = \"duel\", loss = \"cross-entropy\" }\n";
    let scenario = Scenario::from_toml(text).unwrap();
    let rules = scenario.all_rules().unwrap();
    for seed in 1..=2 {
        let season = season(&scenario, &rules[0], &Cast::of(&scenario), seed).unwrap();
        eprintln!("seed {seed}: {season:?}");
        assert!(season.right >= 0.95 && season.agreement >= 0.999, "{season:?}");
        assert_eq!(season.n_suspended, 0);
        assert!(season.n_crowns > 1, "{season:?}");
    }
}

#[test]
fn figures_do_not_depend_on_the_number_of_threads() {
    let mut scenario = Scenario::builtin("short").unwrap();
    scenario.blocks = 80;
    let rules = scenario.all_rules().unwrap();
    let told = |threads| {
        let effort = Effort { seeds: 3, threads };
        let summaries = sim::run(&scenario, &rules, effort, &quiet).unwrap();
        serde_json::to_string(&summaries).unwrap()
    };
    assert_eq!(told(1), told(3));
}

#[test]
fn a_zoo_pairs_each_attack_with_honest_play_of_the_same_seeds() {
    let mut scenario = Scenario::builtin("short").unwrap();
    scenario.blocks = 120;
    let rules = scenario.all_rules().unwrap();
    let attacks = [Attack::Miner(Kind::Copy), Attack::named("pay-own").unwrap()];
    let effort = Effort { seeds: 2, threads: 2 };
    let payoffs = sim::zoo(&scenario, &rules, &attacks, effort, &quiet).unwrap();
    assert_eq!(payoffs.iter().map(|p| p.attack).collect::<Vec<_>>(), ["copy", "pay-own"]);
    let copy = &payoffs[0];
    assert!((copy.gain.mean - (copy.earned.mean - copy.honest.mean)).abs() < 1e-12, "{copy:?}");
    assert_eq!(Attack::named("hoarding"), Err(Some("hoard")));
}

#[test]
fn a_sweep_plays_every_epsilon_by_every_set_of_rules() {
    let mut scenario = Scenario::builtin("short").unwrap();
    scenario.blocks = 60;
    let rules = scenario.all_rules().unwrap();
    let effort = Effort { seeds: 1, threads: 1 };
    let swept = sim::sweep(&scenario, &rules, &[0.001, 0.01], effort, &quiet).unwrap();
    let names: Vec<&str> = swept.iter().map(|summary| summary.rules.as_str()).collect();
    assert_eq!(names, ["succession 0.10 %", "succession 1.00 %"]);
    let svg = sim::report::quality_chart(&scenario, &swept).to_svg();
    assert!(svg.contains("succession 0.10 %"), "{svg}");
}
