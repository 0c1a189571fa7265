//! Arithmetic with a fixed order: the same bits on every instruction set, thread count and batch.
//!
//! Everything is written once over [`Simd`], sixteen lanes of `f32` with exactly rounded
//! operations. These rules define a loss; how work is cut into blocks, tiles and threads is not
//! among them:
//!
//! - **Product.** An element is, per block of [`gemm::DEPTH_BLOCK`] terms, one chain of fused
//!   multiply-adds in ascending order from zero; the chains are added in ascending order, then the
//!   bias. Parameters of every type are widened to `f32` exactly.
//! - **Sum over a vector.** Sixteen partial sums, element `i` in sum `i % 16` in ascending order,
//!   then added pairwise: `s[i] + s[i + 8]`, then 4, 2, 1.
//! - **Norm.** Sum of squares by fused multiply-adds; `scale = 1 / sqrt(sum / n + epsilon)`;
//!   `x * scale * gain`.
//! - **Rotation.** The angle `position * frequency` is rounded to `f32`, its cosine and sine
//!   computed in `f64` and rounded; `a cos - b sin` and `b cos + a sin` are a fused multiply-add of
//!   the first product to the rounded second. Queries are then multiplied by `1 / sqrt(size)`.
//! - **Attention.** A score is one chain over the head's numbers. A share is
//!   `exp(score - greatest)`, the shares' sum is a sum over a vector, the result a product of
//!   shares and values times one over that sum. What a query does not see is no term of any of
//!   these, not even where it is not finite.
//! - **Activations.** SiLU is `x / (1 + exp(-x))`; the others stand in [`activation`].
//! - **Loss.** Per block of 256 tokens of the vocabulary: the greatest logit and the sum over
//!   `exp(logit - greatest)`; blocks are combined in ascending order in `f64`, and the loss is
//!   `greatest - target + ln(sum)` in `f64`. Losses of a sequence are added in order in `f64`.
//! - **Functions.** Exponential, logarithm, sine, cosine, error function and hyperbolic tangent are
//!   our own polynomials ([`math`]), never the system's.
//!
//! A new instruction set is one more implementation of [`Simd`] and one more arm in [`run`].

pub(crate) mod activation;
pub(crate) mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod gemm;
pub(crate) mod head;
pub(crate) mod math;
pub(crate) mod memory;
pub(crate) mod norm;
pub(crate) mod panels;
mod portable;
pub(crate) mod rotate;
pub(crate) mod simd;

use crate::error::Error;
use simd::Simd;
use std::fmt;

/// What the processor can do; every choice gives the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstructionSet {
    /// Plain Rust, for any processor; slow where it has no fused multiply-add.
    Portable,
    /// 256-bit vectors with fused multiply-add, on x86-64.
    Avx2,
    /// 512-bit vectors, on newer x86-64.
    Avx512,
}

impl InstructionSet {
    /// All of them, slowest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// The fastest that this processor has.
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|set| set.is_available()).unwrap_or(Self::Portable)
    }

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("fma")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_available() && std::arch::is_x86_feature_detected!("avx512f")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// An error unless this processor has it.
    pub(crate) fn check(self) -> Result<Self, Error> {
        if self.is_available() { Ok(self) } else { Err(Error::NoSuchInstructions(self)) }
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512",
        })
    }
}

/// A piece of work written over any instruction set; `run` must be `#[inline(always)]`.
pub(crate) trait Kernel {
    fn run<S: Simd>(self, simd: S);
}

/// Runs a kernel on an instruction set, or portably where the processor lacks it.
pub(crate) fn run(set: InstructionSet, kernel: impl Kernel) {
    match set {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => avx2::run(kernel),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => avx512::run(kernel),
        _ => kernel.run(portable::Portable),
    }
}
