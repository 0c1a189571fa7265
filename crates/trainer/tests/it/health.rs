//! Models that nobody could train further are told from honest ones: section 3.4.3 of the paper.
//!
//! `cargo bench -p trainer --bench health` does the same with 200 honest models and every strength.

mod zoo;

use protocol::competition::HealthLimits;
use trainer::Probe;

/// Honest models; the seed of each is its number.
const N_HONEST: u64 = 24;
/// Strengths of each kind that are tried here.
const STRENGTHS: [usize; 4] = [1, 4, 6, 9];

#[test]
fn honest_models_pass_the_rules_and_the_probe() {
    let limits = HealthLimits::default();
    for number in 0..N_HONEST {
        let dir = zoo::honest(number);
        let judged = zoo::judge(&zoo::model(&dir), &limits);
        assert!(!judged.is_refused(), "honest model {number}: {judged:?}");
        assert!(!judged.is_spoilt(&limits), "honest model {number}: {judged:?}");
        assert!(judged.farthest.abs() < 1.9, "honest model {number}: {judged:?}");
    }
}

#[test]
fn honest_models_in_half_precision_pass_the_rules() {
    for number in 0..4 {
        let dir = zoo::in_half_precision(&zoo::model(&zoo::honest(number)));
        let scan = engine::scan(&zoo::model(&dir), &engine::no_limits()).unwrap().unwrap();
        assert!(scan.tensors.iter().any(|tensor| tensor.n_subnormal > 0), "{:?}", scan.tensors);
        assert_eq!(scan.findings, [], "honest model {number}");
    }
}

#[test]
fn attack_neurons_strong_by_both_sides_are_found_by_the_product_alone() {
    let honest = zoo::honest(2);
    // A hundred times as strong, ten times on each side.
    let dir = zoo::sabotaged(&zoo::model(&honest), 7, 3);
    let scan = engine::scan(&zoo::model(&dir), &engine::no_limits()).unwrap().unwrap();
    let rules: Vec<&str> = scan.findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["the strongest input over the median"]);
}

#[test]
fn attack_obfuscated_parameters_are_found_wherever_they_spoil_training() {
    let limits = HealthLimits::default();
    let honest = zoo::honest(5);
    let mut n_spoilt = 0;
    for (kind, name) in zoo::KINDS.iter().enumerate() {
        for strength in STRENGTHS {
            let dir = zoo::sabotaged(&zoo::model(&honest), kind, strength);
            let judged = zoo::judge(&zoo::model(&dir), &limits);
            if judged.is_spoilt(&limits) {
                n_spoilt += 1;
                assert!(judged.is_refused(), "{name}, strength {strength}: {judged:?}");
            }
        }
    }
    assert!(n_spoilt >= STRENGTHS.len(), "only {n_spoilt} sabotages spoil anything");
}

#[test]
fn attack_gains_and_matrices_that_cancel_out_are_found_by_the_rules_alone() {
    let honest = zoo::honest(2);
    for kind in [0, 1] {
        for strength in [7, 9] {
            let dir = zoo::sabotaged(&zoo::model(&honest), kind, strength);
            let scan = engine::scan(&zoo::model(&dir), &engine::no_limits()).unwrap().unwrap();
            let n_gains = scan.findings.iter().filter(|f| f.tensor.contains("norm")).count();
            let n_matrices = scan.findings.iter().filter(|f| f.rule.contains("gains")).count();
            assert!(n_gains > 0 && n_matrices > 0, "kind {kind}, strength {strength}");
        }
    }
}

#[test]
fn a_probe_is_the_same_twice_and_stops_when_it_is_told() {
    let dir = zoo::honest(1);
    let batches = vec![zoo::text(1, 4), zoo::text(2, 4)];
    let held_out = zoo::text(3, 4);
    let run = |progress: &dyn Fn(usize) -> bool| {
        Probe::run(&zoo::model(&dir), (&batches, &held_out), 1e-3, progress)
    };
    let (first, second) = (run(&|_| true).unwrap(), run(&|_| true).unwrap());
    assert_eq!(first, second);
    assert_eq!(first.n_steps, 2);
    assert!(first.tensors.iter().all(|tensor| tensor.decades.abs() < 2.0), "{:?}", first.tensors);
    assert!(matches!(run(&|done| done < 1), Err(trainer::Error::Stopped)));
}
