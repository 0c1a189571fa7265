//! Activations of the perceptron.

use super::{
    gemm::{Epilogue, ROW_BLOCK, with_bias},
    math::exp_lanes,
    memory::Buffer,
    simd::{LANES, Simd, load, store},
};
use crate::error::Error;

/// Combines a gate panel and the up panel after it to `silu(gate) * up`.
pub(crate) struct SwiGlu<'a> {
    pub(crate) out: &'a mut [f32],
    pub(crate) stride: usize,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) gates: &'a mut Gates,
}

/// Gates of one panel that wait for their up panel.
pub(crate) struct Gates(Buffer);

impl Gates {
    /// Room for the rows of one product; its panels finish one after the other.
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self(Buffer::zeros(ROW_BLOCK * LANES)?))
    }
}

impl Epilogue for SwiGlu<'_> {
    #[inline(always)]
    fn tile<S: Simd, const M: usize>(
        &mut self,
        simd: S,
        (row, panel): (usize, usize),
        sums: [S::V; M],
    ) {
        let sums = with_bias(simd, self.bias, panel, sums);
        let is_gate = panel % 2 == 0;
        for (index, sum) in sums.into_iter().enumerate() {
            let gates = &mut self.gates.0[(row + index) * LANES..];
            if is_gate {
                store(simd, sum, gates);
            } else {
                let hidden = simd.mul(silu(simd, load(simd, gates)), sum);
                let out = (row + index) * self.stride + panel / 2 * LANES;
                store(simd, hidden, &mut self.out[out..]);
            }
        }
    }
}

/// `x / (1 + exp(-x))`.
#[inline(always)]
fn silu<S: Simd>(simd: S, x: S::V) -> S::V {
    let minus = simd.sub(simd.splat(0.0), x);
    simd.div(x, simd.add(simd.splat(1.0), exp_lanes(simd, minus)))
}
