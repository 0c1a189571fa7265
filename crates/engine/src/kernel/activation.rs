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

/// The bend of a perceptron.
pub(crate) trait Bend {
    /// Bends each lane.
    fn bend<S: Simd>(&self, simd: S, x: S::V) -> S::V;
}

/// `x / (1 + exp(-x))`.
pub(crate) struct Silu;

impl Bend for Silu {
    #[inline(always)]
    fn bend<S: Simd>(&self, simd: S, x: S::V) -> S::V {
        let minus = simd.sub(simd.splat(0.0), x);
        simd.div(x, simd.add(simd.splat(1.0), exp_lanes(simd, minus)))
    }
}

/// `x (1 + erf(x / sqrt 2)) / 2`.
pub(crate) struct Gelu;

impl Bend for Gelu {
    #[inline(always)]
    fn bend<S: Simd>(&self, simd: S, x: S::V) -> S::V {
        let erf = erf_lanes(simd, simd.mul(x, simd.splat(FRAC_1_SQRT_2)));
        let half = simd.mul(x, simd.splat(0.5));
        simd.fma(half, erf, half)
    }
}

/// `x (1 + tanh(u)) / 2`, which is `x / (1 + exp(-2 u))`; `u = sqrt(2 / pi) (x + 0.044715 x^3)`.
pub(crate) struct GeluTanh;

impl Bend for GeluTanh {
    #[inline(always)]
    fn bend<S: Simd>(&self, simd: S, x: S::V) -> S::V {
        /// -2 sqrt(2 / pi).
        const SLOPE: f32 = -(FRAC_2_SQRT_PI * SQRT_2) as f32;
        let cube = simd.mul(simd.mul(x, x), x);
        let u = simd.fma(cube, simd.splat(0.044_715), x);
        let exp = exp_lanes(simd, simd.mul(u, simd.splat(SLOPE)));
        simd.div(x, simd.add(simd.splat(1.0), exp))
    }
}

/// `x` where it is positive, else zero.
pub(crate) struct Relu;

impl Bend for Relu {
    #[inline(always)]
    fn bend<S: Simd>(&self, simd: S, x: S::V) -> S::V {
        // A NaN stays: it stands second.
        simd.max(simd.splat(0.0), x)
    }
}

/// Writes the bent product.
pub(crate) struct Bent<'a, B> {
    pub(crate) to: Store<'a>,
    pub(crate) bend: B,
}

impl<B: Bend> Epilogue for Bent<'_, B> {
    #[inline(always)]
    fn tile<S: Simd, const M: usize>(
        &mut self,
        simd: S,
        (row, panel): (usize, usize),
        sums: [S::V; M],
    ) {
        let sums = with_bias(simd, self.to.bias, panel, sums);
        for (index, sum) in sums.into_iter().enumerate() {
            let out = &mut self.to.out[(row + index) * self.to.stride + panel * LANES..];
            store(simd, self.bend.bend(simd, sum), out);
        }
    }
}

/// Combines a gate panel and the up panel after it to `bend(gate) * up`.
pub(crate) struct Gated<'a, B> {
    pub(crate) to: Store<'a>,
    pub(crate) gates: &'a mut Gates,
    pub(crate) bend: B,
}

/// Gates of one panel that wait for their up panel.
pub(crate) struct Gates(Buffer);

impl Gates {
    /// Room for the rows of one product; its panels finish one after the other.
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self(Buffer::zeros(ROW_BLOCK * LANES)?))
    }
}

impl<B: Bend> Epilogue for Gated<'_, B> {
    #[inline(always)]
    fn tile<S: Simd, const M: usize>(
        &mut self,
        simd: S,
        (row, panel): (usize, usize),
        sums: [S::V; M],
    ) {
        let sums = with_bias(simd, self.to.bias, panel, sums);
        let is_gate = panel % 2 == 0;
        for (index, sum) in sums.into_iter().enumerate() {
            let gates = &mut self.gates.0[(row + index) * LANES..];
            if is_gate {
                store(simd, sum, gates);
            } else {
                let hidden = simd.mul(self.bend.bend(simd, load(simd, gates)), sum);
                let out = (row + index) * self.to.stride + panel / 2 * LANES;
                store(simd, hidden, &mut self.to.out[out..]);
            }
        }
    }
}
