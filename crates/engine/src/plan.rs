//! How many sequences can wait between two layers of a model that is read layer by layer.

use crate::{
    Model,
    arch::{Architecture, Layer, Linear},
    batch::{Strides, WorkSpace},
    checkpoint::Dtype,
    error::Error,
    footprint::{self, PROGRAM_BYTES},
    kernel::{head::RowLoss, simd::LANES},
    parameters::head_part,
};
use std::ops::Range;

/// Layers, or parts of the head, that exist at a time: one is used, the next is read.
const N_PIECES: u64 = 2;

impl Model {
    /// How many of `n_threads` have the work space for groups of up to `largest` rows, of sequences
    /// of up to `longest`; one at least.
    pub(crate) fn threads_within_limit(
        &self,
        (largest, longest): (usize, usize),
        n_threads: usize,
    ) -> usize {
        let architecture = self.architecture();
        let space = WorkSpace::n_bytes(architecture, (largest, longest));
        let rows = row_bytes(architecture) * largest as u64;
        // Between two layers, groups of a model that is streamed wait with nobody.
        let (fixed, each) = match self.is_streamed() {
            true => (self.fixed_bytes(longest).saturating_add(rows), space),
            false => (self.fixed_bytes(longest), space.saturating_add(rows)),
        };
        let n_fitting = self.memory_limit().saturating_sub(fixed) / each.max(1);
        n_threads.min(usize::try_from(n_fitting).unwrap_or(usize::MAX)).max(1)
    }

    /// Cuts groups of sequences, each with its number of rows, into waves whose hidden states fit.
    ///
    /// An error where not even one group fits.
    pub(crate) fn waves(
        &self,
        (rows, longest): (&[usize], usize),
        n_threads: usize,
    ) -> Result<Vec<Range<usize>>, Error> {
        let architecture = self.architecture();
        let largest = rows.iter().copied().max().unwrap_or(0);
        let spaces = n_threads as u64 * WorkSpace::n_bytes(architecture, (largest, longest));
        let fixed = self.fixed_bytes(longest).saturating_add(spaces);
        let per_row = row_bytes(architecture);
        let limit = self.memory_limit();
        let needed = fixed.saturating_add(per_row * largest as u64);
        if needed > limit {
            return Err(Error::MemoryLimit { limit, needed });
        }
        let n_rows = usize::try_from((limit - fixed) / per_row).unwrap_or(usize::MAX);
        Ok(cut(rows, n_rows))
    }

    /// Bytes of everything but work spaces and rows.
    fn fixed_bytes(&self, longest: usize) -> u64 {
        let parameters = if self.is_streamed() {
            N_PIECES * self.piece_bytes() + self.parameters().bytes_for_rows()
        } else {
            self.kept_bytes()
        };
        PROGRAM_BYTES + parameters + footprint::angles(self.architecture(), longest)
    }

    /// Bytes of the largest layer or part of the head once it is packed.
    fn piece_bytes(&self) -> u64 {
        let architecture = self.architecture();
        let n_bytes = match self.inspection().dtypes[..] {
            [Dtype::Bf16] => 2,
            _ => 4,
        };
        let layers = architecture.layers.iter().map(layer_numbers);
        let head = head_part(architecture) * architecture.hidden;
        n_bytes * layers.chain([head as u64]).max().unwrap_or(0)
    }
}

/// Bytes of a row between two layers.
fn row_bytes(architecture: &Architecture) -> u64 {
    (4 * Strides::of(architecture).hidden + size_of::<RowLoss>() + 4) as u64
}

/// Numbers of a layer's matrices, their outputs padded to whole panels.
fn layer_numbers(layer: &Layer) -> u64 {
    let padded = |linear: &Linear| linear.n_in * (linear.n_out + LANES);
    layer.linears().map(padded).sum::<usize>() as u64
}

/// As many neighbours as have at most `n_rows_max` rows together.
fn cut(rows: &[usize], n_rows_max: usize) -> Vec<Range<usize>> {
    let mut waves: Vec<Range<usize>> = Vec::new();
    let mut n_rows = 0;
    for (index, &n) in rows.iter().enumerate() {
        match waves.last_mut() {
            Some(wave) if n_rows + n <= n_rows_max => wave.end = index + 1,
            _ => {
                waves.push(index..index + 1);
                n_rows = 0;
            }
        }
        n_rows += n;
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_take_what_fits() {
        assert_eq!(cut(&[3, 3, 3, 3, 3], 7), [0..2, 2..4, 4..5]);
        assert_eq!(cut(&[3, 3, 3], 100).len(), 1);
        assert_eq!(cut(&[5, 1, 1, 4], 5), [0..1, 1..3, 3..4]);
        assert_eq!(cut(&[], 5), []);
    }
}
