//! The norm of rows against its definition in double precision.

use super::*;
use crate::tests::{Random, assert_near, bits, doubles, slopes};

const ROWS: [usize; 6] = [1, 2, 63, 64, 65, 130];

fn exact(x: &[f64], gain: &[f64], eps: f64) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().zip(gain).map(|(x, gain)| x / (mean + eps).sqrt() * gain).collect()
}

/// `gradient` times the norm of a row.
fn along(gradient: &[f32], x: &[f64], gain: &[f64], eps: f64) -> f64 {
    let normed = exact(x, gain, eps);
    normed.iter().zip(gradient).map(|(normed, gradient)| normed * f64::from(*gradient)).sum()
}

#[test]
fn normed_rows_agree_with_their_definition() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let (n_rows, width) = (random.pick(&ROWS), random.size(1, 40));
        let eps = random.pick(&[1e-12, 1e-5, 0.1_f32]);
        let spread = random.pick(&[1e-3, 1.0, 1e6_f32]);
        let gain = random.floats(width);
        let x: Vec<f32> = random.floats(n_rows * width).iter().map(|x| x * spread).collect();
        for (found, x) in forward(&x, &gain, eps).chunks(width).zip(x.chunks(width)) {
            let exact = exact(&doubles(x), &doubles(&gain), f64::from(eps));
            let largest = exact.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
            assert_near(found, &exact, 5e-6 * largest, &format!("seed {seed}"));
        }
    }
}

#[test]
fn gradients_of_rows_and_gain_agree_with_differences() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let (n_rows, width) = (random.pick(&ROWS), random.size(1, 17));
        let eps = random.pick(&[1e-5, 0.1_f32]);
        let (x, gain) = (random.floats(n_rows * width), random.floats(width));
        let gradient = random.floats(n_rows * width);
        let mut of_x = gradient.clone();
        let of_gain = backward(&x, &gain, eps, &mut of_x);

        let (eps, gain_64) = (f64::from(eps), doubles(&gain));
        let rows = || x.chunks(width).zip(gradient.chunks(width));
        for (i, ((x, gradient), found)) in rows().zip(of_x.chunks(width)).enumerate() {
            let slopes = slopes(x, |x| along(gradient, x, &gain_64, eps));
            let mean = doubles(x).iter().map(|x| x * x).sum::<f64>() / width as f64;
            // A row that is nearly zero is blown up, and its rounding with it.
            let tolerance = 2e-5 / (mean + eps).sqrt();
            assert_near(found, &slopes, tolerance, &format!("seed {seed}, row {i}"));
        }
        let slopes = slopes(&gain, |gain| {
            rows().map(|(x, gradient)| along(gradient, &doubles(x), gain, eps)).sum()
        });
        assert_near(&of_gain, &slopes, 1e-5 * n_rows as f64, &format!("seed {seed}, gain"));
    }
}

#[test]
fn rows_of_zeros_stay_finite_in_both_directions() {
    let (x, gain) = ([0.0; 12], [2.0, -1.0, 0.5]);
    assert_eq!(
        bits(&forward(&x, &gain, 1e-6).iter().map(|x| x.abs()).collect::<Vec<_>>()),
        [0; 12]
    );
    let mut gradient = [1.0; 12];
    assert_eq!(backward(&x, &gain, 1e-6, &mut gradient), [0.0; 3]);
    // One over the root of epsilon, times the gain.
    for row in gradient.chunks(3) {
        assert_near(row, &[2e3, -1e3, 5e2], 1e-2, "at zero");
    }
}
