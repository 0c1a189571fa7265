//! Scores of whole rounds on small examples; `tests/it` has their invariants.

use super::*;
use crate::{Digest, Loss, Seniority, competition::LossKind};

const EPSILON: Epsilon = Epsilon::Linear { start: 0.005, end: 0.0001, blocks: 2000 };

fn rules(rule: Rule) -> ScoringRules {
    let loss = LossKind::CrossEntropy;
    let (temperature, alpha) = (0.01, 0.5);
    ScoringRules { rule, loss, epsilon: EPSILON, temperature, alpha, duel: None }
}

fn entry(uid: u16, block: u64, losses: &[f64]) -> Entry {
    let seniority = Seniority { block: Block(block), tie_break: Digest([uid as u8; 32]) };
    let losses: Vec<Loss> = losses.iter().map(|loss| Loss::new(*loss).unwrap()).collect();
    Entry { uid: Uid(uid), seniority, losses }
}

/// The uids that survive the filter, in order of rank.
fn kept(entries: &[Entry]) -> Vec<u16> {
    let rules = rules(Rule::Mean);
    let verdicts = score(&rules, Block(2001), 1, entries);
    let counts = verdicts.iter().filter(|verdict| verdict.merit == Merit::Counts);
    let mut kept: Vec<(Seniority, u16)> = counts
        .filter_map(|verdict| entries.iter().find(|entry| entry.uid == verdict.uid))
        .map(|entry| (entry.seniority, entry.uid.0))
        .collect();
    kept.sort_unstable();
    kept.into_iter().map(|(_, uid)| uid).collect()
}

#[test]
fn the_filter_keeps_what_the_reference_keeps() {
    let a = [entry(100, 1000, &[0.5]), entry(50, 2000, &[0.5]), entry(75, 2001, &[0.499])];
    assert_eq!(kept(&a), [100, 75]);
    let b = [entry(100, 1000, &[0.5]), entry(50, 2000, &[0.499]), entry(75, 2001, &[0.499])];
    assert_eq!(kept(&b), [100, 50]);
    assert_eq!(kept(&[entry(1, 1000, &[0.5]), entry(2, 1000, &[0.4])]), [2]);
}

#[test]
fn of_a_near_tie_within_a_block_the_filter_keeps_the_better() {
    assert_eq!(kept(&[entry(1, 1000, &[0.5]), entry(2, 1000, &[0.499_99])]), [2]);
    assert_eq!(kept(&[entry(1, 1000, &[0.5]), entry(2, 1000, &[0.5])]), [1]);
}

#[test]
fn under_mean_there_is_one_comparison_per_pair_of_competitive_models() {
    let entries = [
        entry(100, 1000, &[0.6, 0.4]),
        entry(50, 2000, &[0.5, 0.5]),
        entry(75, 2001, &[0.499, 0.499]),
    ];
    let verdicts = score(&rules(Rule::Mean), Block(2001), 2, &entries);
    let wins: Vec<(u64, f64)> = verdicts.iter().map(|v| (v.wins, v.win_rate)).collect();
    assert_eq!(wins, [(1, 1.0), (0, 0.0), (0, 0.0)]);
    assert!(verdicts[1].weight > 0.0, "who is not competitive is still in the softmax");
}

#[test]
fn a_lone_competitive_model_has_win_rate_one() {
    let entries = [entry(1, 10, &[2.0]), entry(2, 20, &[2.0])];
    let verdicts = score(&rules(Rule::Mean), Block(2001), 1, &entries);
    assert_eq!((verdicts[0].wins, verdicts[0].win_rate), (0, 1.0));
    assert_eq!((verdicts[1].wins, verdicts[1].win_rate), (0, 0.0));
}

#[test]
fn a_round_without_batches_has_nobody_present() {
    let verdicts = score(&rules(Rule::Wins), Block(1), 0, &[entry(1, 0, &[])]);
    assert!(!verdicts[0].present && verdicts[0].weight == 0.0);
    assert!(score(&rules(Rule::Wins), Block(1), 3, &[]).is_empty());
}

#[test]
fn the_best_of_many_models_gets_the_share_that_the_paper_names() {
    // The i-th of 31 models wins every batch against those before it.
    let entries: Vec<Entry> = (0..31).map(|i| entry(i, 10, &[3.0 - f64::from(i) * 0.05])).collect();
    let verdicts = score(&rules(Rule::Wins), Block(20), 1, &entries);
    let weight = |uid: usize| verdicts[uid].weight;
    assert!((weight(30) - 0.9643).abs() < 5e-5, "{}", weight(30));
    assert!((weight(29) - 0.0344).abs() < 5e-5, "{}", weight(29));
    assert!((weight(28) - 0.0012).abs() < 5e-5, "{}", weight(28));
}
