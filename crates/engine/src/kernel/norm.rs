//! Norms of hidden states.

use super::{
    Kernel,
    gemm::Rows,
    simd::{LANES, Simd},
};
use std::ops::Range;

/// `x / sqrt(mean(x^2) + epsilon) * gain` for each row; rows are padded with zeros to vectors.
pub(crate) struct RmsNorm<'a> {
    pub(crate) rows: Rows<'a>,
    /// One number per column, padded with zeros.
    pub(crate) gain: &'a [f32],
    /// Columns without the padding.
    pub(crate) width: usize,
    pub(crate) epsilon: f32,
    pub(crate) out: &'a mut [f32],
    pub(crate) out_stride: usize,
}

impl Kernel for RmsNorm<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let padded = self.width.next_multiple_of(LANES);
        let (gain, _) = self.gain[..padded].as_chunks::<LANES>();
        for (row, out) in self.out.chunks_mut(self.out_stride).take(self.rows.n_rows).enumerate() {
            let start = row * self.rows.stride;
            let (x, _) = self.rows.data[start..start + padded].as_chunks::<LANES>();
            let squares = x.iter().fold(simd.splat(0.0), |sum, x| {
                let x = simd.load(x);
                simd.fma(x, x, sum)
            });
            let mean = simd.sum(squares) / self.width as f32;
            let scale = simd.splat(1.0 / (mean + self.epsilon).sqrt());
            for ((x, gain), out) in x.iter().zip(gain).zip(out[..padded].as_chunks_mut().0) {
                simd.store(simd.mul(simd.mul(simd.load(x), scale), simd.load(gain)), out);
            }
        }
    }
}

/// `(x - mean) / sqrt(mean((x - mean)^2) + epsilon) * gain + bias` for each row, padded likewise.
pub(crate) struct LayerNorm<'a> {
    pub(crate) rows: Rows<'a>,
    /// One number per column, padded with zeros.
    pub(crate) gain: &'a [f32],
    /// The same.
    pub(crate) bias: &'a [f32],
    /// Columns without the padding.
    pub(crate) width: usize,
    pub(crate) epsilon: f32,
    pub(crate) out: &'a mut [f32],
    pub(crate) out_stride: usize,
}

impl Kernel for LayerNorm<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (width, padded) = (self.width, self.width.next_multiple_of(LANES));
        let (gain, _) = self.gain[..padded].as_chunks::<LANES>();
        let (bias, _) = self.bias[..padded].as_chunks::<LANES>();
        for (row, out) in self.out.chunks_mut(self.out_stride).take(self.rows.n_rows).enumerate() {
            let start = row * self.rows.stride;
            let (x, _) = self.rows.data[start..start + padded].as_chunks::<LANES>();
            let sums = x.iter().fold(simd.splat(0.0), |sum, x| simd.add(sum, simd.load(x)));
            let mean = simd.splat(simd.sum(sums) / width as f32);
            let (out, _) = out[..padded].as_chunks_mut::<LANES>();
            for (x, out) in x.iter().zip(&mut *out) {
                simd.store(simd.sub(simd.load(x), mean), out);
            }
            // The padding has no deviation.
            out.as_flattened_mut()[width..].fill(0.0);
            let squares = out.iter().fold(simd.splat(0.0), |sum, x| {
                let x = simd.load(x);
                simd.fma(x, x, sum)
            });
            let variance = simd.sum(squares) / width as f32;
            let scale = simd.splat(1.0 / (variance + self.epsilon).sqrt());
            for ((gain, bias), out) in gain.iter().zip(bias).zip(out) {
                let x = simd.mul(simd.load(out), scale);
                simd.store(simd.fma(x, simd.load(gain), simd.load(bias)), out);
            }
        }
    }
}

/// The root-mean-square norm for each head in a range of columns, in place.
///
/// Heads need not be whole vectors.
pub(crate) struct HeadNorm<'a> {
    pub(crate) rows: &'a mut [f32],
    pub(crate) stride: usize,
    /// Columns of the heads.
    pub(crate) heads: Range<usize>,
    /// One number per number of a head.
    pub(crate) gain: &'a [f32],
    pub(crate) epsilon: f32,
}

impl Kernel for HeadNorm<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.gain.len();
        for row in self.rows.chunks_mut(self.stride) {
            for head in row[self.heads.clone()].chunks_exact_mut(width) {
                let squares = head.chunks(LANES).fold(simd.splat(0.0), |sum, part| {
                    let mut lanes = [0.0; LANES];
                    lanes[..part.len()].copy_from_slice(part);
                    let x = simd.load(&lanes);
                    simd.fma(x, x, sum)
                });
                let mean = simd.sum(squares) / width as f32;
                let scale = 1.0 / (mean + self.epsilon).sqrt();
                head.iter_mut().zip(self.gain).for_each(|(x, gain)| *x = *x * scale * gain);
            }
        }
    }
}
