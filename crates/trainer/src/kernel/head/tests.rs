//! The projection and its cross-entropy against their definition in double precision.

use super::*;
use crate::tests::{Random, assert_near, doubles, slopes};

/// The sum of -ln p(target) over rows.
fn exact(rows: &[f64], weight: &[f64], targets: &[u32], width: usize) -> f64 {
    let loss = |(row, target): (&[f64], &u32)| {
        let product = |weight: &[f64]| weight.iter().zip(row).map(|(w, x)| w * x).sum::<f64>();
        let logits: Vec<f64> = weight.chunks(width).map(product).collect();
        logits.iter().map(|x| x.exp()).sum::<f64>().ln() - logits[*target as usize]
    };
    rows.chunks(width).zip(targets).map(loss).sum()
}

/// Rows, projection and targets of so many rows, tokens and columns.
fn case(random: &mut Random, sizes: (usize, usize, usize)) -> (Vec<f32>, Vec<f32>, Vec<u32>) {
    let (n_rows, vocabulary, width) = sizes;
    let targets = (0..n_rows).map(|_| random.size(0, vocabulary - 1) as u32).collect();
    (random.floats(n_rows * width), random.floats(vocabulary * width), targets)
}

/// Compares loss and gradients of one case with their definition.
fn check(random: &mut Random, sizes: (usize, usize, usize), what: &str) {
    let (n_rows, _, width) = sizes;
    let (rows, weight, targets) = case(random, sizes);
    let (rows_64, weight_64) = (doubles(&rows), doubles(&weight));
    let (loss, gradients) = loss_and_gradients(&rows, &weight, &targets, width);
    assert_eq!(loss, loss_sum(&rows, &weight, &targets, width), "{what}: with gradients");
    let expected = exact(&rows_64, &weight_64, &targets, width);
    let n = n_rows as f64;
    assert!((loss - expected).abs() <= 1e-5 * n, "{what}: {loss}, not {expected}");

    let of_rows = rows.chunks(width).zip(gradients.rows.chunks(width)).zip(targets.chunks(1));
    for (i, ((row, found), target)) in of_rows.enumerate() {
        let slopes = slopes(row, |row| exact(row, &weight_64, target, width) / n);
        assert_near(found, &slopes, 1e-5 / n, &format!("{what}: row {i}"));
    }
    let slopes = slopes(&weight, |weight| exact(&rows_64, weight, &targets, width) / n);
    assert_near(&gradients.weight, &slopes, 1e-5, &format!("{what}: projection"));
}

#[test]
fn losses_and_gradients_agree_with_their_definition() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let n_rows = random.pick(&[1, 2, 15, 16, 17, 40]);
        let sizes = (n_rows, random.pick(&[1, 2, 7, 16, 19]), random.pick(&[1, 3, 8, 17]));
        check(&mut random, sizes, &format!("seed {seed}, {sizes:?}"));
    }
}

#[test]
fn rows_beyond_one_block_of_logits_count_like_the_others() {
    for n_rows in [255, 256, 257, 513] {
        check(&mut Random::new(7), (n_rows, 5, 3), &format!("{n_rows} rows"));
    }
}

#[test]
fn a_hopeless_target_costs_what_its_logit_is_below_the_largest() {
    // One column, so that the projection is the logits.
    let weight = [0.0, 1_000.0, -500.0];
    for (target, nats) in [(0, 1_000.0), (1, 0.0), (2, 1_500.0)] {
        let (loss, gradients) = loss_and_gradients(&[1.0], &weight, &[target], 1);
        assert_eq!(loss, nats, "target {target}");
        // All of the probability is at the largest logit.
        let one_at = |place: u32| [0, 1, 2].map(|i| f64::from(u8::from(i == place)));
        let wanted: Vec<f64> =
            one_at(1).iter().zip(one_at(target)).map(|(p, target)| p - target).collect();
        assert_near(&gradients.weight, &wanted, 1e-30, &format!("target {target}"));
        assert!(gradients.rows[0].is_finite(), "target {target}");
    }
}
