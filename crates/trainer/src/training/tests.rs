//! Gradients against finite differences.

use super::*;
use crate::ModelConfig;
use rand_chacha::rand_core::RngCore;

/// Grouped queries, a width that fills no vector, and a head of its own or not.
fn config(tied: bool) -> ModelConfig {
    ModelConfig {
        vocabulary: 19,
        hidden: 24,
        intermediate: 20,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        context: 81,
        rope_theta: 100.0,
        rms_norm_eps: 1e-5,
        tied,
    }
}

/// Sequences of unequal lengths, one of them longer than a block of queries.
fn batch(config: &ModelConfig) -> Batch {
    let mut stream = Seed::of_number(9).stream();
    let mut sequence = |n: usize| -> Vec<u32> {
        (0..n).map(|_| stream.next_u32() % config.vocabulary as u32).collect()
    };
    Batch::new(config, &[sequence(81), sequence(2), sequence(30)]).unwrap()
}

/// A trainer whose gains are not all one, so that mistakes in them show.
fn trainer(tied: bool) -> Trainer {
    let trainer = Trainer::new(config(tied), Recipe::default(), Seed::of_number(5)).unwrap();
    for (slot, variable) in trainer.slots.iter().zip(&trainer.variables) {
        if slot.kind == Kind::Gain {
            let gain: Vec<f32> = (0..slot.len()).map(|i| 0.7 + 0.03 * i as f32).collect();
            set(variable, &gain);
        }
        if slot.kind == Kind::Embedding {
            // Residual rows as wide as what the blocks add, so that every path matters.
            let values = value(variable).iter().map(|x| x * 20.0).collect::<Vec<_>>();
            set(variable, &values);
        }
    }
    trainer
}

fn value(variable: &Var) -> Vec<f32> {
    with_floats([variable.as_tensor()], |[v]| v.to_vec()).unwrap()
}

fn set(variable: &Var, values: &[f32]) {
    let tensor = Tensor::from_slice(values, variable.shape(), &Device::Cpu).unwrap();
    variable.set(&tensor).unwrap();
}

fn loss(trainer: &Trainer, batch: &Batch) -> f64 {
    let slots: Vec<&Tensor> = trainer.variables.iter().map(Var::as_tensor).collect();
    let sum = trainer
        .threads
        .install(|| model::cross_entropy_sum(&trainer.config, &slots, batch))
        .unwrap();
    sum / batch.n_tokens() as f64
}

/// The derivative of the loss when one slot moves along `direction`.
fn slope(trainer: &Trainer, batch: &Batch, variable: &Var, direction: &[f32], step: f32) -> f64 {
    let before = value(variable);
    let at = |sign: f32| {
        let moved: Vec<f32> =
            before.iter().zip(direction).map(|(x, d)| x + sign * step * d).collect();
        set(variable, &moved);
        loss(trainer, batch)
    };
    let slope = (at(1.0) - at(-1.0)) / (2.0 * f64::from(step));
    set(variable, &before);
    slope
}

#[test]
fn the_gradient_of_every_parameter_agrees_with_finite_differences() {
    for tied in [false, true] {
        let trainer = trainer(tied);
        let batch = batch(&trainer.config);
        let (mean, gradients) = trainer.threads.install(|| trainer.gradients(&batch)).unwrap();
        assert!((mean - loss(&trainer, &batch)).abs() < 1e-6);
        let mut stream = Seed::of_number(6).stream();
        for (i, slot) in trainer.slots.iter().enumerate() {
            let name = &slot.parts[0].0;
            let (variable, gradient) = (&trainer.variables[i], &gradients[i]);
            let norm = adamw::norm(std::iter::once(gradient.as_slice()));
            assert!(norm > 1e-4, "{name} has no gradient: {norm}");
            // Along the gradient, and along random signs: every element takes part.
            let along: Vec<f32> = gradient.iter().map(|x| x / norm as f32).collect();
            let root = (slot.len() as f32).sqrt();
            let signs: Vec<f32> =
                (0..slot.len())
                    .map(|_| {
                        if stream.next_u32().is_multiple_of(2) {
                            root.recip()
                        } else {
                            -root.recip()
                        }
                    })
                    .collect();
            for direction in [along, signs] {
                let exact: f64 =
                    gradient.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
                let measured = slope(&trainer, &batch, variable, &direction, 3e-3);
                let error = (measured - exact).abs();
                assert!(error < 4e-3 * norm, "{name}: {measured} for {exact}, norm {norm}");
            }
        }
    }
}

#[test]
fn a_token_sees_no_later_token() {
    let trainer = trainer(false);
    let mut sequence: Vec<u32> = (0..60).map(|i| (i * i) % 19).collect();
    let losses = |sequence: &[u32]| -> Vec<f64> {
        let lengths = [10, 30, 60];
        lengths.iter().map(|n| trainer.loss(&[sequence[..*n].to_vec()]).unwrap()).collect()
    };
    let before = losses(&sequence);
    sequence[45] = (sequence[45] + 1) % 19;
    let after = losses(&sequence);
    assert_eq!(before[..2], after[..2]);
    assert_ne!(before[2], after[2]);
}
