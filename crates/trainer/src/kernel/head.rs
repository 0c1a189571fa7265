//! The projection to the vocabulary and its cross-entropy (equation 1), without all logits.
//!
//! Logits exist for one block of rows at a time. When gradients are wanted they are taken in the
//! same pass, so nothing is computed twice.

use super::{
    lanes::{exp, max, sum, with_vectors},
    matmul::{Matrix, MatrixMut, Write, multiply},
};
use rayon::prelude::*;

/// Rows whose logits exist at a time; part of the definition of the gradient's order.
const ROWS_PER_BLOCK: usize = 256;

/// Rows that one thread turns from logits into probabilities at a time.
const ROWS_PER_TASK: usize = 16;

/// The gradients of a mean cross-entropy.
pub(crate) struct Gradients {
    /// Of the rows.
    pub(crate) rows: Vec<f32>,
    /// Of the projection.
    pub(crate) weight: Vec<f32>,
}

/// The sum of -ln p(target) over all rows, in nats.
pub(crate) fn loss_sum(rows: &[f32], weight: &[f32], targets: &[u32], width: usize) -> f64 {
    let vocabulary = weight.len() / width;
    let mut logits = vec![0.0; ROWS_PER_BLOCK.min(targets.len()) * vocabulary];
    let blocks = rows.chunks(ROWS_PER_BLOCK * width).zip(targets.chunks(ROWS_PER_BLOCK));
    blocks
        .map(|(rows, targets)| {
            let logits = &mut logits[..targets.len() * vocabulary];
            project(rows, weight, width, logits);
            cross_entropy(logits, targets, vocabulary, None)
        })
        .sum()
}

/// The sum of -ln p(target) over all rows, and the gradients of its mean.
pub(crate) fn loss_and_gradients(
    rows: &[f32],
    weight: &[f32],
    targets: &[u32],
    width: usize,
) -> (f64, Gradients) {
    let vocabulary = weight.len() / width;
    let mut logits = vec![0.0; ROWS_PER_BLOCK.min(targets.len()) * vocabulary];
    let mut gradients = Gradients { rows: vec![0.0; rows.len()], weight: vec![0.0; weight.len()] };
    let share = 1.0 / targets.len() as f32;
    let blocks = rows
        .chunks(ROWS_PER_BLOCK * width)
        .zip(gradients.rows.chunks_mut(ROWS_PER_BLOCK * width))
        .zip(targets.chunks(ROWS_PER_BLOCK));
    let mut loss = 0.0;
    for ((rows, of_rows), targets) in blocks {
        let n = targets.len();
        let logits = &mut logits[..n * vocabulary];
        project(rows, weight, width, logits);
        loss += cross_entropy(logits, targets, vocabulary, Some(share));
        multiply(
            Matrix::new(logits, n, vocabulary),
            Matrix::new(weight, vocabulary, width),
            MatrixMut::new(of_rows, n, width),
            Write::Replace,
        );
        multiply(
            Matrix::new(logits, n, vocabulary).t(),
            Matrix::new(rows, n, width),
            MatrixMut::new(&mut gradients.weight, vocabulary, width),
            Write::Add,
        );
    }
    (loss, gradients)
}

fn project(rows: &[f32], weight: &[f32], width: usize, logits: &mut [f32]) {
    let (n, vocabulary) = (rows.len() / width, weight.len() / width);
    multiply(
        Matrix::new(rows, n, width),
        Matrix::new(weight, vocabulary, width).t(),
        MatrixMut::new(logits, n, vocabulary),
        Write::Replace,
    );
}

/// The sum of the rows' losses; given a `share`, turns the logits into `share` times its gradient.
fn cross_entropy(
    logits: &mut [f32],
    targets: &[u32],
    vocabulary: usize,
    share: Option<f32>,
) -> f64 {
    let losses: Vec<f64> = logits
        .par_chunks_mut(ROWS_PER_TASK * vocabulary)
        .zip(targets.par_chunks(ROWS_PER_TASK))
        .map(|(logits, targets)| {
            with_vectors(
                #[inline(always)]
                || {
                    let mut loss = 0.0;
                    for (row, target) in logits.chunks_exact_mut(vocabulary).zip(targets) {
                        loss += cross_entropy_row(row, *target as usize, share);
                    }
                    loss
                },
            )
        })
        .collect();
    losses.iter().sum()
}

#[inline(always)]
fn cross_entropy_row(row: &mut [f32], target: usize, share: Option<f32>) -> f64 {
    let largest = max(row);
    let shifted = f64::from(row[target]) - f64::from(largest);
    for x in row.iter_mut() {
        *x = exp(*x - largest);
    }
    let total = sum(row);
    if let Some(share) = share {
        let scale = share / total;
        for x in row.iter_mut() {
            *x *= scale;
        }
        row[target] -= share;
    }
    f64::from(total).ln() - shifted
}

#[cfg(test)]
mod tests;
