//! The sixteen lanes as two AVX2 registers.
#![allow(unsafe_code)]

use super::{
    Kernel,
    simd::{LANES, Simd},
};
use std::arch::x86_64::*;

/// Proof that the processor has AVX2 and FMA: only [`run`] makes one.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// Runs a kernel with AVX2, or portably where the processor lacks it.
pub(crate) fn run(kernel: impl Kernel) {
    if super::InstructionSet::Avx2.is_available() {
        // SAFETY: the processor has the features that the function is compiled for.
        unsafe { run_unchecked(kernel) }
    } else {
        kernel.run(super::portable::Portable);
    }
}

#[target_feature(enable = "avx2,fma")]
fn run_unchecked(kernel: impl Kernel) {
    kernel.run(Avx2(()));
}

/// Applies an instruction to both halves.
///
/// SAFETY of every use: an `Avx2` exists only below `run_unchecked`, so the processor has the
/// instruction; none of them touches memory.
macro_rules! both {
    ($instruction:ident($($operand:expr),*)) => {
        unsafe { ($instruction($($operand.0),*), $instruction($($operand.1),*)) }
    };
}

impl Simd for Avx2 {
    type V = (__m256, __m256);
    const TILE: (usize, usize) = (6, 1);

    #[inline(always)]
    fn prefetch(self, place: *const u8) {
        // SAFETY: a hint that never faults, wherever the place is.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(place.cast()) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        // SAFETY: as for `both`.
        let half = unsafe { _mm256_set1_ps(value) };
        (half, half)
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::V {
        // SAFETY: as for `both`; both loads stay within the sixteen numbers.
        unsafe { (_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))) }
    }

    #[inline(always)]
    fn store(self, vector: Self::V, to: &mut [f32; LANES]) {
        // SAFETY: as for `both`; both stores stay within the sixteen numbers.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), vector.0);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), vector.1);
        }
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_div_ps(a, b))
    }

    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        both!(_mm256_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_max_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm256_min_ps(a, b))
    }

    #[inline(always)]
    fn zero_below(self, x: Self::V, limit: Self::V, y: Self::V) -> Self::V {
        // SAFETY: as for `both`.
        unsafe {
            (
                _mm256_andnot_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(x.0, limit.0), y.0),
                _mm256_andnot_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(x.1, limit.1), y.1),
            )
        }
    }

    #[inline(always)]
    fn power_of_two(self, biased: Self::V) -> Self::V {
        // SAFETY: as for `both`.
        let half = |half| unsafe {
            let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(half));
            _mm256_castsi256_ps(_mm256_add_epi32(
                exponent,
                _mm256_castps_si256(_mm256_set1_ps(1.0)),
            ))
        };
        (half(biased.0), half(biased.1))
    }
}
