//! What a probe measures, and where it draws the line.

use super::*;
use crate::checkpoint;
use protocol::Seed;
use std::{cell::RefCell, path::PathBuf, slice::from_ref};
use tempfile::TempDir;

fn config() -> ModelConfig {
    ModelConfig {
        vocabulary: 11,
        hidden: 8,
        intermediate: 10,
        n_layers: 2,
        n_heads: 2,
        n_kv_heads: 1,
        context: 9,
        rope_theta: 100.0,
        rms_norm_eps: 1e-5,
        tied: false,
    }
}

/// A folder with a fresh model.
fn model() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("model");
    let trainer = Trainer::new(config(), Recipe::default(), Seed::of_number(1)).unwrap();
    trainer.save_model(&dir).unwrap();
    (home, dir)
}

/// Sequences in which each token follows from the one before.
fn text(first: u32, n_sequences: u32) -> Vec<Vec<u32>> {
    let sequence =
        |start: u32| -> Vec<u32> { (0..9).map(|i| (first + 3 * start + 2 * i) % 11).collect() };
    (0..n_sequences).map(sequence).collect()
}

/// A probe that found so much of an increase and gradients so far from the others.
fn probe(increase: f64, decades: &[f64]) -> Probe {
    let tensor =
        |decades: &f64| TensorGradient { name: decades.to_string(), ratio: 1.0, decades: *decades };
    Probe {
        loss_before: 2.0,
        loss_after: 2.0 + increase,
        n_steps: 1,
        gradient_norm: 1.0,
        tensors: decades.iter().map(tensor).collect(),
    }
}

#[test]
fn a_probe_passes_up_to_its_limits_and_no_further() {
    let limits =
        HealthLimits { probe_increase_max: 0.5, probe_decades_max: 2.0, ..HealthLimits::default() };
    for passed in [probe(0.5, &[2.0, -2.0]), probe(-1.5, &[0.0]), probe(0.0, &[])] {
        assert!(passed.is_passed(&limits), "{passed:?}");
    }
    for refused in [
        probe(0.500_001, &[0.0]),
        probe(0.0, &[0.0, 2.000_001]),
        probe(0.0, &[-2.000_001, 0.0]),
        probe(f64::INFINITY, &[0.0]),
        probe(f64::NAN, &[0.0]),
        probe(0.0, &[0.0, f64::NAN]),
    ] {
        assert!(!refused.is_passed(&limits), "{refused:?}");
    }
}

#[test]
fn the_farthest_gradient_may_be_too_small_or_too_large() {
    let farthest = |decades: &[f64]| probe(0.0, decades).farthest().map(|tensor| tensor.decades);
    assert_eq!(farthest(&[0.5, -1.5, 1.0]), Some(-1.5));
    assert_eq!(farthest(&[0.5, -1.5, 1.75]), Some(1.75));
    assert_eq!(farthest(&[]), None);
}

#[test]
fn every_tensor_is_compared_with_the_median_of_its_kind() {
    let (_home, dir) = model();
    let batches = [text(1, 4)];
    let probe = Probe::run(&dir, (&batches, &text(2, 4)), 1e-3, &|_| true).unwrap();
    let names: Vec<&str> = probe.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let slots = parameters::slots(&config());
    let expected: Vec<&str> = slots.iter().flat_map(Slot::tensors).map(|(name, _)| name).collect();
    assert_eq!(names, expected);
    type IsMeant = fn(&str) -> bool;
    let kinds: [(&str, IsMeant); 3] = [
        ("gains", |name| name.contains("norm")),
        ("tables", |name| name.contains("embed_tokens")),
        ("matrices", |name| !name.contains("norm") && !name.contains("embed_tokens")),
    ];
    for (kind, is_meant) in kinds {
        let of_kind = probe.tensors.iter().filter(|tensor| is_meant(&tensor.name));
        let mut tensors: Vec<&TensorGradient> = of_kind.collect();
        tensors.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
        let median = tensors[tensors.len() / 2];
        assert_eq!(median.decades, 0.0, "{kind}");
        for tensor in tensors {
            assert!(tensor.ratio > 0.0, "{kind}: {tensor:?}");
            let decades = (tensor.ratio / median.ratio).log10();
            assert!((tensor.decades - decades).abs() < 1e-12, "{kind}: {tensor:?}");
        }
    }
}

#[test]
fn a_probe_that_hardly_learns_finds_what_was_there() {
    let (_home, dir) = model();
    let (batches, held_out) = ([text(1, 4), text(5, 4)], text(2, 4));
    let probe = Probe::run(&dir, (&batches, &held_out), 1e-30, &|_| true).unwrap();
    assert_eq!((probe.increase(), probe.n_steps), (0.0, 2));
    let trainer = Trainer::from_model(&dir, Recipe::default()).unwrap();
    assert_eq!(probe.loss_before, trainer.loss(&held_out).unwrap());
}

#[test]
fn whoever_watches_is_told_the_steps_made_and_may_stop_them() {
    let (_home, dir) = model();
    let (batches, held_out) = ([text(1, 2), text(2, 2), text(3, 2)], text(4, 2));
    for n_allowed in 0..=3 {
        let told = RefCell::new(Vec::new());
        let watch = |n_made: usize| {
            told.borrow_mut().push(n_made);
            n_made < n_allowed
        };
        let result = Probe::run(&dir, (&batches, &held_out), 1e-3, &watch);
        match result {
            Ok(probe) => assert_eq!((n_allowed, probe.n_steps), (3, 3)),
            Err(error) => {
                assert!(matches!(error, Error::Stopped), "{error}");
                assert!(n_allowed < 3);
            }
        }
        let n_told = (n_allowed + 1).min(3);
        assert_eq!(told.into_inner(), (0..n_told).collect::<Vec<_>>(), "{n_allowed} allowed");
    }
}

#[test]
fn text_that_no_probe_can_use_is_an_error() {
    let (_home, dir) = model();
    let good = text(1, 2);
    let refusal = |batches: &[Vec<Vec<u32>>], held_out: &[Vec<u32>]| {
        Probe::run(&dir, (batches, held_out), 1e-3, &|_| true).unwrap_err().to_string()
    };
    assert!(refusal(&[], &good).contains("no batches"));
    assert!(refusal(&[vec![]], &good).contains("`sequences_per_batch`"));
    let unequal = [text(1, 2), text(1, 3)];
    assert!(refusal(&unequal, &good).contains("3 sequences where the recipe says 2"));
    assert!(refusal(from_ref(&good), &[]).contains("no sequences"));
    assert!(refusal(from_ref(&good), &[vec![1, 11]]).contains("token 11"));
    let error = Probe::run(&dir, (from_ref(&good), &good), f64::NAN, &|_| true).unwrap_err();
    assert!(matches!(error, Error::Recipe(_)), "{error}");
}

#[test]
fn a_model_whose_loss_overflows_is_as_bad_as_can_be() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("model");
    let config = config();
    let mut values = parameters::first_values(&config, &Seed::of_number(1));
    // Finite gains and a finite projection whose logits are not.
    let [.., gain, projection] = &mut values[..] else { panic!("a head of its own") };
    gain.fill(3e38);
    projection.iter_mut().for_each(|x| *x *= 1e3);
    checkpoint::write_model(&dir, &config, &values).unwrap();
    let batches = [text(1, 4), text(2, 4)];
    let probe = Probe::run(&dir, (&batches, &text(3, 4)), 1e-3, &|_| true).unwrap();
    assert_eq!((probe.n_steps, probe.loss_after), (0, f64::INFINITY));
    assert_eq!(probe.gradient_norm, f64::INFINITY);
    let anything = HealthLimits {
        probe_increase_max: f64::MAX,
        probe_decades_max: f64::INFINITY,
        ..HealthLimits::default()
    };
    assert!(!probe.is_passed(&anything), "{probe:?}");
}
