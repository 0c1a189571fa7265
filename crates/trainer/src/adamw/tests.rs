//! Steps against the equations of AdamW in double precision.

use super::*;
use crate::tests::{Random, bits, doubles};

/// One parameter and its moments.
struct Exact {
    value: f64,
    mean: f64,
    square: f64,
}

impl Exact {
    /// Algorithm 2 of Loshchilov and Hutter, "Decoupled Weight Decay Regularization".
    fn step(&mut self, recipe: &Recipe, step: u64, gradient: f64, decay: f64) {
        let Recipe { beta1, beta2, adam_epsilon, .. } = *recipe;
        self.mean = beta1 * self.mean + (1.0 - beta1) * gradient;
        self.square = beta2 * self.square + (1.0 - beta2) * gradient * gradient;
        let mean = self.mean / (1.0 - beta1.powi(step as i32));
        let square = self.square / (1.0 - beta2.powi(step as i32));
        let direction = mean / (square.sqrt() + adam_epsilon);
        self.value -= recipe.lr_at(step) * (direction + decay * self.value);
    }
}

fn recipe() -> Recipe {
    Recipe { lr: 0.01, lr_min: 0.001, warmup_steps: 5, total_steps: 50, ..Recipe::default() }
}

#[test]
fn many_steps_agree_with_the_equations() {
    let recipes = [
        recipe(),
        Recipe { beta1: 0.0, beta2: 0.0, ..recipe() },
        Recipe { beta1: 0.0, beta2: 0.999, ..recipe() },
        Recipe { weight_decay: 1.0, lr: 0.1, ..recipe() },
        Recipe { clip_norm: 0.01, adam_epsilon: 1e-3, ..recipe() },
        Recipe { clip_norm: 1e6, weight_decay: 0.0, ..recipe() },
    ];
    for (i, recipe) in recipes.iter().enumerate() {
        for decays in [true, false] {
            let mut random = Random::new(i as u64);
            let n = random.size(1, 60);
            let mut values = random.floats(n);
            let mut moments = Moments::zeros(n);
            let exact = |value: &f64| Exact { value: *value, mean: 0.0, square: 0.0 };
            let mut exact: Vec<Exact> = doubles(&values).iter().map(exact).collect();
            for step in 1..=60 {
                let size = random.pick(&[0.01, 1.0, 30.0_f32]);
                let gradient: Vec<f32> = random.floats(n).iter().map(|x| x * size).collect();
                let norm = norm(std::iter::once(gradient.as_slice()));
                Update::new(recipe, step, norm).apply(&mut values, &gradient, &mut moments, decays);
                let clip = (recipe.clip_norm / norm).min(1.0);
                let decay = if decays { recipe.weight_decay } else { 0.0 };
                for (exact, gradient) in exact.iter_mut().zip(&gradient) {
                    exact.step(recipe, step, f64::from(*gradient) * clip, decay);
                }
            }
            for (found, exact) in values.iter().zip(&exact) {
                let error = (f64::from(*found) - exact.value).abs();
                assert!(error < 5e-5, "recipe {i}: {found}, not {}", exact.value);
            }
            for ((mean, square), exact) in moments.mean.iter().zip(&moments.square).zip(&exact) {
                assert!((f64::from(*mean) - exact.mean).abs() < 1e-4, "recipe {i}: {mean}");
                let error = (f64::from(*square) - exact.square).abs();
                assert!(error < 1e-5 * (1.0 + exact.square), "recipe {i}: {square}");
            }
        }
    }
}

#[test]
fn a_gradient_beyond_the_limit_counts_by_its_direction_alone() {
    let mut random = Random::new(3);
    let (before, gradient) = (random.floats(40), random.floats(40));
    let stepped = |factor: f32| {
        let gradient: Vec<f32> = gradient.iter().map(|x| x * factor).collect();
        let norm = norm(std::iter::once(gradient.as_slice()));
        let (mut values, mut moments) = (before.clone(), Moments::zeros(40));
        // An epsilon so large that the size of a gradient matters.
        let recipe = Recipe { adam_epsilon: 0.1, ..recipe() };
        Update::new(&recipe, 1, norm).apply(&mut values, &gradient, &mut moments, true);
        (bits(&values), bits(&moments.mean), bits(&moments.square))
    };
    let whole = stepped(1.0);
    assert!(stepped(1_024.0) == whole, "clipped to the same step");
    assert!(stepped(1.0 / 1_024.0).0 != whole.0, "below the limit, smaller is smaller");
}

#[test]
fn a_parameter_without_a_gradient_only_decays() {
    let recipe = Recipe { lr: 0.5, warmup_steps: 0, weight_decay: 0.5, ..recipe() };
    let keep = (1.0 - recipe.lr_at(3) * 0.5) as f32;
    for decays in [true, false] {
        let (mut values, mut moments) = (vec![4.0, -8.0, 0.0], Moments::zeros(3));
        Update::new(&recipe, 3, 0.0).apply(&mut values, &[0.0; 3], &mut moments, decays);
        let factor = if decays { keep } else { 1.0 };
        assert_eq!(values, [4.0 * factor, -8.0 * factor, 0.0]);
        assert_eq!(moments, Moments::zeros(3));
    }
}

#[test]
fn the_global_norm_is_that_of_all_gradients_together() {
    let gradients = [vec![3.0, 0.0], vec![], vec![-4.0], vec![12.0]];
    assert_eq!(norm(gradients.iter().map(Vec::as_slice)), 13.0);
    // Squares that single precision does not hold.
    let large = [f32::MAX; 4];
    assert_eq!(norm([large.as_slice()].into_iter()), 2.0 * f64::from(f32::MAX));
    assert_eq!(norm(std::iter::empty()), 0.0);
}
