//! Norms of hidden states.

use super::{
    Kernel,
    gemm::Rows,
    simd::{LANES, Simd},
};

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

/// The norm of each head in a range of columns, in place.
///
/// Heads need not be whole vectors.
pub(crate) struct HeadNorm<'a> {
    pub(crate) rows: &'a mut [f32],
    pub(crate) stride: usize,
    /// First column of the heads.
    pub(crate) first: usize,
    /// One number per column.
    pub(crate) gain: &'a [f32],
    /// The same, there where deviations from the mean are normed.
    pub(crate) bias: Option<&'a [f32]>,
    /// Columns that are normed together.
    pub(crate) width: usize,
    pub(crate) epsilon: f32,
}

impl Kernel for HeadNorm<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for row in self.rows.chunks_mut(self.stride) {
            let columns = &mut row[self.first..self.first + self.gain.len()];
            for (index, head) in columns.chunks_exact_mut(self.width).enumerate() {
                let own = index * self.width..(index + 1) * self.width;
                let gain = &self.gain[own.clone()];
                match self.bias {
                    None => rms(simd, head, gain, self.epsilon),
                    Some(bias) => deviations(simd, head, (gain, &bias[own]), self.epsilon),
                }
            }
        }
    }
}

#[inline(always)]
fn rms<S: Simd>(simd: S, head: &mut [f32], gain: &[f32], epsilon: f32) {
    let scale = scale(simd, head, epsilon);
    head.iter_mut().zip(gain).for_each(|(x, gain)| *x = *x * scale * gain);
}

#[inline(always)]
fn deviations<S: Simd>(simd: S, head: &mut [f32], (gain, bias): (&[f32], &[f32]), epsilon: f32) {
    let sums = head
        .chunks(LANES)
        .fold(simd.splat(0.0), |sum, part| simd.add(sum, simd.load(&padded(part))));
    let mean = simd.sum(sums) / head.len() as f32;
    head.iter_mut().for_each(|x| *x -= mean);
    let scale = scale(simd, head, epsilon);
    for (x, (gain, bias)) in head.iter_mut().zip(gain.iter().zip(bias)) {
        *x = (*x * scale).mul_add(*gain, *bias);
    }
}

/// One over the root of the mean square.
#[inline(always)]
fn scale<S: Simd>(simd: S, head: &[f32], epsilon: f32) -> f32 {
    let squares = head.chunks(LANES).fold(simd.splat(0.0), |sum, part| {
        let x = simd.load(&padded(part));
        simd.fma(x, x, sum)
    });
    let mean = simd.sum(squares) / head.len() as f32;
    1.0 / (mean + epsilon).sqrt()
}

#[inline(always)]
fn padded(part: &[f32]) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    lanes[..part.len()].copy_from_slice(part);
    lanes
}
