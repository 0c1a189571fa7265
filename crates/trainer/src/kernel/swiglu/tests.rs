//! The gated unit against its definition in double precision.

use super::*;
use crate::tests::{Random, slopes};

fn exact(gate: f64, up: f64) -> f64 {
    gate / (1.0 + (-gate).exp()) * up
}

/// Rows of gates and ups within a spread, and their width.
fn gates_and_ups(random: &mut Random, spread: f32) -> (Vec<f32>, usize) {
    let (n_rows, width) = (random.pick(&[1, 3, 63, 64, 65, 130]), random.size(1, 40));
    let numbers = random.floats(2 * n_rows * width);
    (numbers.iter().map(|x| x * spread).collect(), width)
}

#[test]
fn gated_rows_agree_with_their_definition() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let spread = random.pick(&[0.01, 1.0, 30.0, 1_000.0]);
        let (gate_up, width) = gates_and_ups(&mut random, spread);
        let result = forward(&gate_up, width);
        assert_eq!(result.len() * 2, gate_up.len(), "seed {seed}");
        for (found, row) in result.chunks(width).zip(gate_up.chunks(2 * width)) {
            for (i, found) in found.iter().enumerate() {
                let exact = exact(f64::from(row[i]), f64::from(row[width + i]));
                let error = (f64::from(*found) - exact).abs();
                // The exponential saturates where nothing is left of the result.
                let allowed = 2e-6 * exact.abs() + 1e-30;
                assert!(error <= allowed, "seed {seed}: {found}, not {exact}");
            }
        }
    }
}

#[test]
fn gradients_of_gates_and_ups_agree_with_differences() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let spread = random.pick(&[0.01, 1.0, 30.0]);
        let (gate_up, width) = gates_and_ups(&mut random, spread);
        let gradient = random.floats(gate_up.len() / 2);
        let found = backward(&gate_up, width, &gradient);
        let rows = gate_up.chunks(2 * width).zip(found.chunks(2 * width));
        for ((row, found), gradient) in rows.zip(gradient.chunks(width)) {
            for (i, gradient) in gradient.iter().enumerate() {
                let pair = [row[i], row[width + i]];
                let slopes = slopes(&pair, |pair| exact(pair[0], pair[1]) * f64::from(*gradient));
                let size = f64::from((1.0 + pair[0].abs()) * (1.0 + pair[1].abs()));
                for (found, slope) in [found[i], found[width + i]].iter().zip(slopes) {
                    let error = (f64::from(*found) - slope).abs();
                    assert!(error <= 2e-6 * size, "seed {seed}: {found}, not {slope}, at {pair:?}");
                }
            }
        }
    }
}

#[test]
fn gates_beyond_the_exponential_open_and_close_without_overflow() {
    for gate in [88.0, 89.0, 1e4, 1e30_f32] {
        // Two gates, then two ups.
        let row = [gate, -gate, 2.0, 2.0];
        let result = forward(&row, 2);
        assert_eq!(result[0], 2.0 * gate);
        assert!(result[1] <= 0.0 && result[1] > -1e-6, "{} at {gate}", result[1]);
        let gradient = backward(&row, 2, &[1.0, 1.0]);
        assert!(gradient.iter().all(|x| x.is_finite()), "{gradient:?} at {gate}");
        assert_eq!(gradient[2], gate, "of an open gate's up");
    }
}
