//! Activations of the perceptron.

use super::{
    gemm::{Epilogue, ROW_BLOCK, Store, with_bias},
    math::{erf_lanes, exp_lanes},
    memory::Buffer,
    simd::{LANES, Simd, load, store},
};
use crate::error::Error;
use std::{
    f32::consts::FRAC_1_SQRT_2,
    f64::consts::{FRAC_2_SQRT_PI, SQRT_2},
};

/// Combines a gate panel and the up panel after it to `silu(gate) * up`.
pub(crate) struct SwiGlu<'a> {
    pub(crate) out: &'a mut [f32],
    pub(crate) stride: usize,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) gates: &'a mut Gates,
}

/// Writes GELU of a product: exact, or by the approximation with the hyperbolic tangent.
pub(crate) struct Gelu<'a, const BY_TANH: bool>(pub(crate) Store<'a>);

impl<const BY_TANH: bool> Epilogue for Gelu<'_, BY_TANH> {
    #[inline(always)]
    fn tile<S: Simd, const M: usize>(
        &mut self,
        simd: S,
        (row, panel): (usize, usize),
        sums: [S::V; M],
    ) {
        let sums = with_bias(simd, self.0.bias, panel, sums);
        for (index, sum) in sums.into_iter().enumerate() {
            let out = &mut self.0.out[(row + index) * self.0.stride + panel * LANES..];
            let bent = if BY_TANH { gelu_tanh(simd, sum) } else { gelu(simd, sum) };
            store(simd, bent, out);
        }
    }
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

/// `x (1 + erf(x / sqrt 2)) / 2`.
#[inline(always)]
fn gelu<S: Simd>(simd: S, x: S::V) -> S::V {
    let erf = erf_lanes(simd, simd.mul(x, simd.splat(FRAC_1_SQRT_2)));
    let half = simd.mul(x, simd.splat(0.5));
    simd.fma(half, erf, half)
}

/// `x (1 + tanh(u)) / 2`, which is `x / (1 + exp(-2 u))`; `u = sqrt(2 / pi) (x + 0.044715 x^3)`.
#[inline(always)]
fn gelu_tanh<S: Simd>(simd: S, x: S::V) -> S::V {
    /// -2 sqrt(2 / pi).
    const SLOPE: f32 = -(FRAC_2_SQRT_PI * SQRT_2) as f32;
    let cube = simd.mul(simd.mul(x, x), x);
    let u = simd.fma(cube, simd.splat(0.044_715), x);
    let exp = exp_lanes(simd, simd.mul(u, simd.splat(SLOPE)));
    simd.div(x, simd.add(simd.splat(1.0), exp))
}

/// `x / (1 + exp(-x))`.
#[inline(always)]
fn silu<S: Simd>(simd: S, x: S::V) -> S::V {
    let minus = simd.sub(simd.splat(0.0), x);
    simd.div(x, simd.add(simd.splat(1.0), exp_lanes(simd, minus)))
}
