//! Root mean square norm of rows, with a gain.

use super::{
    ROWS_PER_TASK,
    lanes::{dot, with_vectors},
};
use rayon::prelude::*;

/// One over the root mean square of a row.
#[inline(always)]
fn scale(row: &[f32], eps: f32) -> f32 {
    1.0 / (dot(row, row) / row.len() as f32 + eps).sqrt()
}

/// Each row divided by its root mean square, times the gain.
pub(crate) fn forward(x: &[f32], gain: &[f32], eps: f32) -> Vec<f32> {
    let width = gain.len();
    let mut normed = vec![0.0; x.len()];
    let task = ROWS_PER_TASK * width;
    normed.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(normed, x)| {
        with_vectors(
            #[inline(always)]
            || {
                for (normed, x) in normed.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                    let scale = scale(x, eps);
                    for ((normed, x), gain) in normed.iter_mut().zip(x).zip(gain) {
                        *normed = x * scale * gain;
                    }
                }
            },
        );
    });
    normed
}

/// Turns `gradient`, that of the normed rows, into that of `x`; returns that of the gain.
pub(crate) fn backward(x: &[f32], gain: &[f32], eps: f32, gradient: &mut [f32]) -> Vec<f32> {
    let width = gain.len();
    let task = ROWS_PER_TASK * width;
    let of_gain: Vec<Vec<f32>> = gradient
        .par_chunks_mut(task)
        .zip(x.par_chunks(task))
        .map(|(gradient, x)| {
            let mut of_gain = vec![0.0; width];
            with_vectors(
                #[inline(always)]
                || {
                    for (gradient, x) in gradient.chunks_exact_mut(width).zip(x.chunks_exact(width))
                    {
                        backward_row(x, gain, eps, gradient, &mut of_gain);
                    }
                },
            );
            of_gain
        })
        .collect();
    let mut total = vec![0.0; width];
    for part in of_gain {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    total
}

#[inline(always)]
fn backward_row(x: &[f32], gain: &[f32], eps: f32, gradient: &mut [f32], of_gain: &mut [f32]) {
    let scale = scale(x, eps);
    for (((gradient, x), gain), of_gain) in gradient.iter_mut().zip(x).zip(gain).zip(of_gain) {
        *of_gain = (*gradient * scale).mul_add(*x, *of_gain);
        *gradient *= gain;
    }
    let shared = dot(gradient, x) * scale * scale * scale / x.len() as f32;
    for (gradient, x) in gradient.iter_mut().zip(x) {
        *gradient = scale.mul_add(*gradient, -(shared * x));
    }
}

#[cfg(test)]
mod tests;
