//! Figures over many seasons: what is told, in what order, and how it is drawn.

use sim::{
    Attack, Cabal, Effort, Interval, Kind, Scenario,
    report::{Payoff, Summary, gain_chart, quality_chart},
    svg::Chart,
};
use std::{collections::BTreeMap, sync::Mutex};

const ONE: Effort = Effort { seeds: 1, threads: 1 };

fn quiet(_: usize, _: usize) {}

/// A scene of some miners, with more tables after it.
fn scene(more: &str) -> Scenario {
    let text = format!(
        "blocks = 50\nvalidators = 1\n[[miners]]\nstrategy = \"rebase\"\n\
         [[miners]]\nstrategy = \"noise\"\nslots = 1\n[[miners]]\nstrategy = \"idle\"\n\
         [models]\ntraining_blocks = 10\n\
         [competition.evaluation]\nn_batches = 4\nsequences_per_batch = 1\n{more}"
    );
    Scenario::from_toml(&text).unwrap()
}

fn exactly(mean: f64) -> Interval {
    Interval::of(&[mean; 4])
}

/// A summary that nobody played.
fn summary(rules: &str, quality: &[f64]) -> Summary {
    Summary {
        rules: rules.to_owned(),
        right: exactly(1.0),
        agreement: exactly(1.0),
        crowns: exactly(2.0),
        hoarded: exactly(0.0),
        paid_to_attackers: exactly(0.0),
        final_loss: exactly(3.0),
        strategies: BTreeMap::from([("rebase", exactly(1.0))]),
        quality: quality.to_vec(),
        n_rounds: 3,
        n_models: 9,
        n_suspended: 0,
    }
}

#[test]
fn a_summary_has_the_shares_of_all_strategies_and_can_be_read_back() {
    let scenario = scene("[rules.first.scoring]\n[rules.second.scoring]\nalpha = 0.0\n");
    let rules = scenario.all_rules().unwrap();
    let effort = Effort { seeds: 2, threads: 1 };
    let summaries = sim::run(&scenario, &rules, effort, &quiet).unwrap();
    let names: Vec<&str> = summaries.iter().map(|summary| summary.rules.as_str()).collect();
    assert_eq!(names, ["first", "second"]);
    for summary in &summaries {
        let strategies: Vec<&str> = summary.strategies.keys().copied().collect();
        assert_eq!(strategies, ["idle", "noise", "rebase"]);
        let sum: f64 = summary.strategies.values().map(|share| share.mean).sum();
        assert!(sum <= 1.0 + 1e-9, "{summary:?}");
        let attackers = summary.paid_to_attackers.mean;
        assert!((attackers - summary.strategies["noise"].mean).abs() < 1e-12, "{summary:?}");
        assert_eq!((summary.right.n, summary.quality.len()), (2, 50));
        let last = summary.quality[49];
        assert!((summary.final_loss.mean - last).abs() < 1e-12, "{summary:?}");
        let json: serde_json::Value =
            serde_json::from_str(&serde_json::to_string(summary).unwrap()).unwrap();
        assert_eq!(json["rules"], summary.rules.as_str());
        assert_eq!(json["strategies"]["noise"]["mean"], summary.strategies["noise"].mean);
        assert_eq!(json["quality"].as_array().unwrap().len(), 50);
        assert_eq!(json["n_rounds"], summary.n_rounds);
        assert_eq!(json.as_object().unwrap().len(), 12, "{json}");
    }
}

#[test]
fn progress_counts_every_season_once_up_to_all_of_them() {
    let scenario = scene("[rules.first.scoring]\n[rules.second.scoring]\n");
    let told = Mutex::new(Vec::new());
    let progress = |done: usize, all: usize| told.lock().unwrap().push((done, all));
    let rules = scenario.all_rules().unwrap();
    let effort = Effort { seeds: 2, threads: 3 };
    sim::run(&scenario, &rules, effort, &progress).unwrap();
    let mut told = told.into_inner().unwrap();
    told.sort_unstable();
    assert_eq!(told, [(1, 4), (2, 4), (3, 4), (4, 4)]);
}

#[test]
fn without_seeds_rules_or_attacks_there_is_nothing_to_tell() {
    let scenario = scene("");
    let rules = scenario.all_rules().unwrap();
    let none = Effort { seeds: 0, threads: 1 };
    let attacks = [Attack::Miner(Kind::Copy)];
    assert!(sim::run(&scenario, &rules, none, &quiet).unwrap().is_empty());
    assert!(sim::run(&scenario, &[], ONE, &quiet).unwrap().is_empty());
    assert!(sim::sweep(&scenario, &rules, &[], ONE, &quiet).unwrap().is_empty());
    assert!(sim::zoo(&scenario, &rules, &attacks, none, &quiet).unwrap().is_empty());
    assert!(sim::zoo(&scenario, &rules, &[], ONE, &quiet).unwrap().is_empty());
}

#[test]
fn a_zoo_tells_each_attack_by_each_set_of_rules_and_honest_play_gains_nothing() {
    let scenario = scene("[rules.first.scoring]\n[rules.second.scoring]\nalpha = 0.0\n");
    let rules = scenario.all_rules().unwrap();
    let attacks = [Attack::Miner(Kind::Late), Attack::Cabal(Cabal::Censor)];
    let told = Mutex::new(0);
    let progress = |_: usize, all: usize| *told.lock().unwrap() = all;
    let payoffs = sim::zoo(&scenario, &rules, &attacks, ONE, &progress).unwrap();
    let found: Vec<(&str, &str)> =
        payoffs.iter().map(|payoff| (payoff.rules.as_str(), payoff.attack)).collect();
    assert_eq!(
        found,
        [("first", "late"), ("first", "censor"), ("second", "late"), ("second", "censor")]
    );
    // One validator has nobody to make a cabal with: what is left of it is a miner that is honest,
    // whose season is that of honest play. So each set of rules takes two seasons and not four.
    assert_eq!(*told.lock().unwrap(), 4);
    for payoff in &payoffs {
        let gain = payoff.earned.mean - payoff.honest.mean;
        assert!((payoff.gain.mean - gain).abs() < 1e-12, "{payoff:?}");
        let json = serde_json::to_value(payoff).unwrap();
        assert_eq!(json["attack"], payoff.attack);
        assert_eq!(json["gain"]["n"], 1);
    }
    assert_eq!((payoffs[1].gain.mean, payoffs[3].gain.mean), (0.0, 0.0));
}

#[test]
fn a_zoo_refuses_a_scenario_that_has_cabals_already() {
    let scenario = scene("[[cabals]]\ncabal = \"censor\"\n");
    let rules = scenario.all_rules().unwrap();
    let error = sim::zoo(&scenario, &rules, &Attack::all(), ONE, &quiet).unwrap_err();
    assert!(error.to_string().contains("its scenario has none"), "{error}");
}

#[test]
fn an_epsilon_out_of_range_is_refused_before_any_season() {
    let scenario = scene("");
    let rules = scenario.all_rules().unwrap();
    let told = Mutex::new(0);
    let progress = |_: usize, _: usize| *told.lock().unwrap() += 1;
    for epsilon in [-0.1, 1.0, f64::NAN] {
        let swept = sim::sweep(&scenario, &rules, &[0.001, epsilon], ONE, &progress);
        let error = swept.unwrap_err().to_string();
        assert!(error.contains("scoring.epsilon.value"), "{epsilon}: {error}");
    }
    assert_eq!(*told.lock().unwrap(), 0);
}

#[test]
fn a_chart_of_quality_has_its_points_over_the_blocks_of_the_season() {
    let mut scenario = scene("");
    scenario.blocks = 200;
    let summaries = [summary("duel", &[4.0, 3.5, 3.0, 2.75]), summary("none", &[])];
    let Chart::Curves { curves, .. } = quality_chart(&scenario, &summaries) else {
        panic!("quality is drawn as curves");
    };
    assert_eq!(curves[0].points, [(50.0, 4.0), (100.0, 3.5), (150.0, 3.0), (200.0, 2.75)]);
    assert_eq!((curves[1].name.as_str(), curves[1].points.len()), ("none", 0));
}

#[test]
fn a_chart_of_gains_is_in_percent_with_the_interval_of_each() {
    let payoff = Payoff {
        attack: "copy",
        rules: "duel".to_owned(),
        earned: exactly(0.25),
        honest: exactly(0.5),
        gain: Interval { mean: -0.25, half_width: 0.125, n: 4 },
        right: exactly(1.0),
        agreement: exactly(1.0),
    };
    let Chart::Bars { bars, .. } = gain_chart(&[payoff]) else {
        panic!("gains are drawn as bars");
    };
    assert_eq!(bars[0].name, "copy, duel");
    assert_eq!((bars[0].value, bars[0].half_width), (-25.0, 12.5));
}
