//! The sixteen lanes as one AVX-512 register.
#![allow(unsafe_code)]

use super::{
    Kernel,
    simd::{LANES, Simd},
};
use std::arch::x86_64::*;

/// Proof that the processor has AVX-512F: only [`run`] makes one.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

/// Runs a kernel with AVX-512, or portably where the processor lacks it.
pub(crate) fn run(kernel: impl Kernel) {
    if super::InstructionSet::Avx512.is_available() {
        // SAFETY: the processor has the features that the function is compiled for.
        unsafe { run_unchecked(kernel) }
    } else {
        kernel.run(super::portable::Portable);
    }
}

#[target_feature(enable = "avx512f,avx2,fma")]
fn run_unchecked(kernel: impl Kernel) {
    kernel.run(Avx512(()));
}

// SAFETY of every block below: an `Avx512` exists only below `run_unchecked`, so the processor
// has the instructions; loads and stores stay within the sixteen numbers.
impl Simd for Avx512 {
    type V = __m512;
    const TILE: (usize, usize) = (12, 2);

    #[inline(always)]
    fn prefetch(self, place: *const u8) {
        // SAFETY: a hint that never faults, wherever the place is.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(place.cast()) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::V {
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, vector: Self::V, to: &mut [f32; LANES]) {
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), vector) }
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn zero_below(self, x: Self::V, limit: Self::V, y: Self::V) -> Self::V {
        unsafe {
            let is_below = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, limit);
            _mm512_mask_blend_ps(is_below, y, _mm512_setzero_ps())
        }
    }

    #[inline(always)]
    fn power_of_two(self, biased: Self::V) -> Self::V {
        unsafe {
            let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(biased));
            let one = _mm512_castps_si512(_mm512_set1_ps(1.0));
            _mm512_castsi512_ps(_mm512_add_epi32(exponent, one))
        }
    }
}
