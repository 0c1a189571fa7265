//! The projection to the vocabulary and the cross-entropy of its result, without the logits.
//!
//! Only the logits of one block of rows and 256 tokens exist at a time. Each block leaves its
//! greatest logit and a sum of exponentials per row, which are combined in `f64` in the order of
//! the vocabulary.

use super::{
    gemm::{Epilogue, PANEL_BLOCK, ROW_BLOCK, with_bias},
    math::{self, cap_lanes, exp_lanes},
    memory::Buffer,
    simd::{LANES, Simd, store},
};
use crate::error::Error;
use std::ops::Range;

/// Columns of one block.
pub(crate) const BLOCK: usize = PANEL_BLOCK * LANES;

/// The logarithm of a softmax, as far as the vocabulary has been seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowLoss {
    top: f64,
    sum: f64,
    target: f32,
}

impl RowLoss {
    /// Before the first block.
    pub(crate) const START: Self = Self { top: f64::NEG_INFINITY, sum: 0.0, target: f32::NAN };

    /// Negative log-likelihood of the target in nats, not below zero; NaN if a logit was NaN.
    pub(crate) fn nats(self) -> f64 {
        self.top - f64::from(self.target) + math::ln(self.sum)
    }

    /// Takes a block's greatest logit and the sum of `exp(logit - top)`.
    fn merge(&mut self, top: f32, sum: f32) {
        let (top, sum) = (f64::from(top), f64::from(sum));
        if top > self.top {
            self.sum = self.sum * math::exp(self.top - top) + sum;
            self.top = top;
        } else {
            self.sum += sum * math::exp(top - self.top);
        }
    }
}

/// Logits of one block of rows and columns, one per thread.
pub(crate) struct Scratch(Buffer);

impl Scratch {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self(Buffer::zeros(ROW_BLOCK * BLOCK)?))
    }
}

/// Gathers the loss of each row while the product with the head runs.
pub(crate) struct CrossEntropy<'a> {
    /// The token that each row should predict.
    pub(crate) targets: &'a [u32],
    pub(crate) losses: &'a mut [RowLoss],
    /// The tokens whose logits are computed.
    pub(crate) tokens: Range<usize>,
    /// One number per logit, padded with zeros to whole panels.
    pub(crate) bias: Option<&'a [f32]>,
    /// Logits become `cap tanh(logit / cap)`.
    pub(crate) cap: Option<f32>,
    pub(crate) scratch: &'a mut Scratch,
}

impl Epilogue for CrossEntropy<'_> {
    #[inline(always)]
    fn tile<S: Simd, const M: usize>(
        &mut self,
        simd: S,
        (row, panel): (usize, usize),
        sums: [S::V; M],
    ) {
        let column = panel % PANEL_BLOCK * LANES;
        let sums = with_bias(simd, self.bias, panel, sums);
        for (index, mut sum) in sums.into_iter().enumerate() {
            if let Some(cap) = self.cap {
                sum = cap_lanes(simd, sum, cap);
            }
            store(simd, sum, &mut self.scratch.0[(row + index) * BLOCK + column..]);
        }
    }

    #[inline(always)]
    fn end_block<S: Simd>(&mut self, simd: S, panels: Range<usize>) {
        let first = self.tokens.start;
        let end = (first + panels.end * LANES).min(self.tokens.end);
        let columns = first + panels.start * LANES..end;
        let n = columns.len();
        let rows = self.scratch.0.chunks_exact_mut(BLOCK);
        for ((logits, loss), &target) in rows.zip(self.losses.iter_mut()).zip(self.targets) {
            if columns.contains(&(target as usize)) {
                loss.target = logits[target as usize - columns.start];
            }
            logits[n..panels.len() * LANES].fill(f32::NEG_INFINITY);
            let (top, sum) = top_and_sum(simd, &logits[..panels.len() * LANES]);
            loss.merge(top, sum);
        }
    }
}

/// The greatest of whole vectors of logits and the sum of `exp(logit - greatest)`.
#[inline(always)]
fn top_and_sum<S: Simd>(simd: S, logits: &[f32]) -> (f32, f32) {
    let (logits, _) = logits.as_chunks::<LANES>();
    let top = logits
        .iter()
        .fold(simd.splat(f32::NEG_INFINITY), |top, logits| simd.max(top, simd.load(logits)));
    let top = simd.greatest(top);
    let sum = logits.iter().fold(simd.splat(0.0), |sum, logits| {
        let shifted = simd.sub(simd.load(logits), simd.splat(top));
        simd.add(sum, exp_lanes(simd, shifted))
    });
    (top, simd.sum(sum))
}
