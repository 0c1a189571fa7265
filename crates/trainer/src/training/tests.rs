//! Gradients against finite differences, steps against their equations, runs against themselves.

use super::*;
use crate::{ModelConfig, tests::Random};
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

/// A trainer of [`config`] that is [`uneven`].
fn trainer(tied: bool) -> Trainer {
    uneven(config(tied))
}

/// A trainer whose gains are not all one, so that mistakes in them show.
fn uneven(config: ModelConfig) -> Trainer {
    let trainer = Trainer::new(config, Recipe::default(), Seed::of_number(5)).unwrap();
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

#[test]
fn gradients_of_random_shapes_agree_with_finite_differences() {
    for seed in 0..12 {
        let mut random = Random::new(seed);
        // So large an epsilon that narrow rows do not bend the loss within a step.
        let trainer = uneven(ModelConfig { rms_norm_eps: 0.01, ..random.config() });
        let sequences = random.batch(&trainer.config, 5);
        let batch = Batch::new(&trainer.config, &sequences).unwrap();
        let (_, gradients) = trainer.threads.install(|| trainer.gradients(&batch)).unwrap();
        for (i, gradient) in gradients.iter().enumerate() {
            let name = &trainer.slots[i].parts[0].0;
            let norm = adamw::norm(std::iter::once(gradient.as_slice()));
            let along: Vec<f32> = gradient.iter().map(|x| x / norm.max(1e-6) as f32).collect();
            let exact: f64 = gradient.iter().zip(&along).map(|(g, d)| f64::from(g * d)).sum();
            let measured = slope(&trainer, &batch, &trainer.variables[i], &along, 1e-3);
            let error = (measured - exact).abs();
            assert!(error < 1e-2 * norm + 3e-4, "seed {seed}, {name}: {measured} for {exact}");
        }
    }
}

#[test]
fn a_step_follows_its_equations_and_decays_all_but_gains() {
    for seed in 0..6 {
        let mut random = Random::new(seed);
        let recipe = Recipe {
            lr: 0.02,
            warmup_steps: 0,
            weight_decay: 0.5,
            clip_norm: 0.25,
            sequences_per_batch: 3,
            ..Recipe::default()
        };
        let mut trainer = Trainer::new(random.config(), recipe, Seed::of_number(seed)).unwrap();
        let sequences = random.batch(&trainer.config, 3);
        let batch = Batch::new(&trainer.config, &sequences).unwrap();
        let (loss, gradients) = trainer.threads.install(|| trainer.gradients(&batch)).unwrap();
        let norm = adamw::norm(gradients.iter().map(Vec::as_slice));
        let before = trainer.values().unwrap();
        let report = trainer.step(&sequences).unwrap();
        assert_eq!((report.loss, report.gradient_norm), (loss, norm), "seed {seed}");
        let after = trainer.values().unwrap();
        for (i, slot) in trainer.slots.iter().enumerate() {
            let name = &slot.parts[0].0;
            let decay = if name.contains("norm") { 0.0 } else { 0.5 };
            for ((before, after), gradient) in before[i].iter().zip(&after[i]).zip(&gradients[i]) {
                let gradient = f64::from(*gradient) * (0.25 / norm).min(1.0);
                let before = f64::from(*before);
                // The averages of a first step, corrected, are the gradient and its square.
                let direction = gradient / (gradient.abs() + 1e-8) + decay * before;
                let exact = before - report.lr * direction;
                let error = (f64::from(*after) - exact).abs();
                assert!(error < 2e-6, "seed {seed}, {name}: {after}, not {exact}");
            }
        }
    }
}

#[test]
fn a_run_resumed_after_any_step_ends_with_the_same_bits() {
    for seed in 0..3 {
        let mut random = Random::new(seed);
        let config = random.config();
        let recipe = Recipe {
            lr: 0.05,
            warmup_steps: 2,
            total_steps: 5,
            weight_decay: random.pick(&[0.0, 0.1, 1.0]),
            beta1: random.pick(&[0.0, 0.9]),
            clip_norm: random.pick(&[0.1, 100.0]),
            sequences_per_batch: 2,
            ..Recipe::default()
        };
        let batches: Vec<_> = (0..6).map(|_| random.batch(&config, 2)).collect();
        let home = tempfile::tempdir().unwrap();
        let folder = |n_steps: usize| home.path().join(n_steps.to_string());
        let mut whole = Trainer::new(config, recipe, Seed::of_number(seed)).unwrap();
        let mut reports = Vec::new();
        for (n_steps, batch) in batches.iter().enumerate() {
            whole.save_checkpoint(&folder(n_steps), &[n_steps as u64]).unwrap();
            reports.push(whole.step(batch).unwrap());
        }
        for n_steps in 0..batches.len() {
            let (mut resumed, position) = Trainer::resume(&folder(n_steps)).unwrap();
            assert_eq!(position, [n_steps as u64], "seed {seed}");
            let rest = batches[n_steps..].iter().map(|batch| resumed.step(batch).unwrap());
            let rest: Vec<StepReport> = rest.collect();
            assert_eq!(rest, reports[n_steps..], "seed {seed}, from step {n_steps}");
            assert!(resumed.values().unwrap() == whole.values().unwrap(), "seed {seed}, {n_steps}");
            assert!(resumed.moments == whole.moments, "seed {seed}, from step {n_steps}");
        }
    }
}

/// The last gain and the projection to the vocabulary.
fn head(trainer: &Trainer) -> [&Var; 2] {
    let (gain, projection) = parameters::head(&trainer.variables, &trainer.config);
    [gain, projection]
}

#[test]
fn a_step_that_diverged_leaves_no_trace_in_the_steps_after_it() {
    let mut random = Random::new(4);
    let batches: Vec<_> = (0..3).map(|_| random.batch(&config(false), 2)).collect();
    let recipe = Recipe { sequences_per_batch: 2, ..Recipe::default() };
    let new = || Trainer::new(config(false), recipe.clone(), Seed::of_number(1)).unwrap();
    let (mut smooth, mut troubled) = (new(), new());
    for batch in &batches[..2] {
        assert_eq!(smooth.step(batch).unwrap(), troubled.step(batch).unwrap());
    }
    // A finite gain and a finite projection whose logits are not.
    let kept = head(&troubled).map(value);
    let [gain, projection] = head(&troubled);
    set(gain, &vec![3e38; kept[0].len()]);
    set(projection, &kept[1].iter().map(|x| x * 1e3).collect::<Vec<_>>());
    let before = troubled.values().unwrap();
    let error = troubled.step(&batches[2]).unwrap_err();
    assert!(matches!(error, Error::Diverged { step: 3, .. }), "{error}");
    assert_eq!(troubled.n_steps(), 2);
    assert!(troubled.values().unwrap() == before);
    for (variable, kept) in head(&troubled).into_iter().zip(&kept) {
        set(variable, kept);
    }
    assert_eq!(smooth.step(&batches[2]).unwrap(), troubled.step(&batches[2]).unwrap());
    assert!(smooth.values().unwrap() == troubled.values().unwrap());
}

#[test]
fn the_loss_of_many_sequences_is_the_mean_over_their_tokens() {
    for seed in 0..4 {
        let mut random = Random::new(seed);
        let trainer = uneven(random.config());
        // More than are measured at a time, and of unequal lengths.
        let sequences = random.batch(&trainer.config, 2 * SEQUENCES_PER_MEASUREMENT + 5);
        let (mut sum, mut n_tokens) = (0.0, 0);
        for sequence in &sequences {
            let n = sequence.len() - 1;
            sum += trainer.loss(std::slice::from_ref(sequence)).unwrap() * n as f64;
            n_tokens += n;
        }
        let (exact, found) = (sum / n_tokens as f64, trainer.loss(&sequences).unwrap());
        assert!((found - exact).abs() < 1e-5, "seed {seed}: {found}, not {exact}");
    }
}
