//! The schedule at its edges, and numbers that no training works with.

use super::*;

#[test]
fn the_learning_rate_rises_linearly_and_falls_to_its_minimum() {
    let recipe = Recipe { warmup_steps: 10, total_steps: 110, ..Recipe::default() };
    assert_eq!(recipe.lr_at(5), recipe.lr / 2.0);
    assert_eq!(recipe.lr_at(10), recipe.lr);
    let middle = (recipe.lr + recipe.lr_min) / 2.0;
    assert!((recipe.lr_at(60) - middle).abs() < 1e-12);
    assert_eq!(recipe.lr_at(110), recipe.lr_min);
    assert_eq!(recipe.lr_at(u64::MAX), recipe.lr_min);
    assert!((1..110).all(|step| recipe.lr_at(step) > 0.0));
}

#[test]
fn a_schedule_of_any_length_rises_to_its_peak_and_falls_to_its_end() {
    for (warmup_steps, total_steps) in
        [(0, 1), (1, 1), (0, 2), (1, 2), (5, 5), (5, 6), (3, 40), (0, 1_000), (1_000, 1_000)]
    {
        let recipe = Recipe { warmup_steps, total_steps, ..Recipe::default() };
        recipe.check().unwrap();
        let what = format!("{warmup_steps} of {total_steps}");
        let rates: Vec<f64> = (0..=total_steps + 2).map(|step| recipe.lr_at(step)).collect();
        let (rising, falling) = rates.split_at(warmup_steps as usize + 1);
        assert!(rising.is_sorted_by(|a, b| a < b), "{what}: {rising:?}");
        assert!(falling.is_sorted_by(|a, b| a >= b), "{what}: {falling:?}");
        assert_eq!(rising[0], 0.0, "{what}");
        let (peak, allowed) = (rising[rising.len() - 1], recipe.lr * (1.0 + 1e-12));
        assert!(warmup_steps == 0 || peak * (1.0 + 1e-12) >= recipe.lr, "{what}: {peak}");
        assert!(peak <= allowed && falling[0] <= allowed, "{what}: {peak}, {}", falling[0]);
        assert!(falling.ends_with(&[recipe.lr_min; 2]), "{what}: {falling:?}");
    }
}

#[test]
fn a_recipe_out_of_range_is_refused_by_name() {
    type Change = fn(&mut Recipe, f64);
    let (infinite, nan) = (f64::INFINITY, f64::NAN);
    let changes: [(&str, Change, &[f64]); 10] = [
        ("lr", |recipe, x| recipe.lr = x, &[0.0, -1.0, infinite, nan]),
        ("lr_min", |recipe, x| recipe.lr_min = x, &[-1e-9, 1.0, infinite, nan]),
        ("total_steps", |recipe, x| recipe.total_steps = x as u64, &[0.0]),
        ("warmup_steps", |recipe, x| recipe.warmup_steps = x as u64, &[1_001.0, 1e19]),
        ("weight_decay", |recipe, x| recipe.weight_decay = x, &[-0.1, 1.1, nan]),
        ("beta1", |recipe, x| recipe.beta1 = x, &[-0.1, 1.0, infinite, nan]),
        ("beta2", |recipe, x| recipe.beta2 = x, &[-0.1, 1.0, infinite, nan]),
        ("adam_epsilon", |recipe, x| recipe.adam_epsilon = x, &[0.0, -1.0, infinite, nan]),
        ("clip_norm", |recipe, x| recipe.clip_norm = x, &[0.0, -1.0, infinite, nan]),
        ("sequences_per_batch", |recipe, x| recipe.sequences_per_batch = x as usize, &[0.0]),
    ];
    for (name, change, values) in changes {
        for value in values {
            let mut recipe = Recipe::default();
            change(&mut recipe, *value);
            let error = recipe.check().unwrap_err();
            assert!(matches!(error, Error::Recipe(_)), "{name} of {value}: {error:?}");
            assert!(error.to_string().contains(&format!("`{name}` must be")), "{value}: {error}");
        }
    }
}

#[test]
fn the_ends_of_every_range_are_allowed() {
    let recipe = Recipe::default();
    let all_steps = recipe.total_steps;
    for allowed in [
        Recipe { lr_min: 0.0, ..recipe },
        Recipe { lr_min: recipe.lr, ..recipe },
        Recipe { warmup_steps: all_steps, ..recipe },
        Recipe { weight_decay: 0.0, ..recipe },
        Recipe { weight_decay: 1.0, ..recipe },
        Recipe { beta1: 0.0, beta2: 0.0, ..recipe },
        Recipe { total_steps: u64::MAX, warmup_steps: u64::MAX, ..recipe },
    ] {
        allowed.check().unwrap();
    }
}

#[test]
fn a_recipe_survives_json_and_absent_numbers_have_their_defaults() {
    let recipe =
        Recipe { lr: 0.1 + 0.2, lr_min: 5e-324, total_steps: u64::MAX, ..Recipe::default() };
    let text = serde_json::to_string(&recipe).unwrap();
    assert_eq!(serde_json::from_str::<Recipe>(&text).unwrap(), recipe);
    let one = serde_json::from_str::<Recipe>("{\"lr\": 0.5}").unwrap();
    assert_eq!(one, Recipe { lr: 0.5, ..Recipe::default() });
    let error = serde_json::from_str::<Recipe>("{\"learning_rate\": 0.5}").unwrap_err();
    assert!(error.to_string().contains("learning_rate"), "{error}");
}
