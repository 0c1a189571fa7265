//! The gated unit of the feed-forward part: silu(gate) times up.

use super::{
    ROWS_PER_TASK,
    lanes::{sigmoid, with_vectors},
};
use rayon::prelude::*;

/// silu(gate) * up for rows that hold `width` gates and then `width` ups.
pub(crate) fn forward(gate_up: &[f32], width: usize) -> Vec<f32> {
    let mut result = vec![0.0; gate_up.len() / 2];
    let task = ROWS_PER_TASK * width;
    result.par_chunks_mut(task).zip(gate_up.par_chunks(2 * task)).for_each(|(result, gate_up)| {
        with_vectors(
            #[inline(always)]
            || {
                let rows = result.chunks_exact_mut(width).zip(gate_up.chunks_exact(2 * width));
                for (result, gate_up) in rows {
                    let (gate, up) = gate_up.split_at(width);
                    for ((result, gate), up) in result.iter_mut().zip(gate).zip(up) {
                        *result = gate * sigmoid(*gate) * up;
                    }
                }
            },
        );
    });
    result
}

/// The gradient of `gate_up` from that of the result.
pub(crate) fn backward(gate_up: &[f32], width: usize, gradient: &[f32]) -> Vec<f32> {
    let mut result = vec![0.0; gate_up.len()];
    let task = ROWS_PER_TASK * width;
    result
        .par_chunks_mut(2 * task)
        .zip(gate_up.par_chunks(2 * task))
        .zip(gradient.par_chunks(task))
        .for_each(|((result, gate_up), gradient)| {
            with_vectors(
                #[inline(always)]
                || {
                    let rows = result
                        .chunks_exact_mut(2 * width)
                        .zip(gate_up.chunks_exact(2 * width))
                        .zip(gradient.chunks_exact(width));
                    for ((result, gate_up), gradient) in rows {
                        backward_row(result, gate_up, gradient);
                    }
                },
            );
        });
    result
}

#[inline(always)]
fn backward_row(result: &mut [f32], gate_up: &[f32], gradient: &[f32]) {
    let width = gradient.len();
    let (of_gate, of_up) = result.split_at_mut(width);
    let (gate, up) = gate_up.split_at(width);
    let inputs = gate.iter().zip(up).zip(gradient);
    for ((of_gate, of_up), ((gate, up), gradient)) in of_gate.iter_mut().zip(of_up).zip(inputs) {
        let sigmoid = sigmoid(*gate);
        let silu = gate * sigmoid;
        *of_up = gradient * silu;
        *of_gate = gradient * up * sigmoid * (1.0 + gate - silu);
    }
}

#[cfg(test)]
mod tests;
