//! Sixteen lanes of `f32`: the only vocabulary that kernels speak.

/// Lanes of a vector, columns of a panel, partial sums of a reduction.
pub(crate) const LANES: usize = 16;

/// Operations on sixteen lanes, each exactly rounded, so that every implementation agrees.
///
/// A value of the type proves that the processor has the instructions.
pub(crate) trait Simd: Copy {
    /// Sixteen numbers.
    type V: Copy;
    /// Rows and panels of the tile whose sums fill the registers.
    const TILE: (usize, usize);

    fn splat(self, value: f32) -> Self::V;
    fn load(self, from: &[f32; LANES]) -> Self::V;
    fn store(self, vector: Self::V, to: &mut [f32; LANES]);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c` with one rounding.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a` where `a > b`, else `b`: a NaN in `b` stays.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a` where `a < b`, else `b`: a NaN in `b` stays.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// Zero where `x < limit`, else `y`.
    fn zero_below(self, x: Self::V, limit: Self::V, y: Self::V) -> Self::V;
    /// 2 to the power `n` in [-126, 127], given the float `n + 1.5 * 2^23`.
    fn power_of_two(self, biased: Self::V) -> Self::V;

    /// Has the cache line at a place fetched into the L2 cache; changes no result.
    #[inline(always)]
    fn prefetch(self, _place: *const u8) {}

    /// The sixteen numbers.
    #[inline(always)]
    fn array(self, vector: Self::V) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        self.store(vector, &mut lanes);
        lanes
    }

    /// The sum of all lanes by the fixed tree.
    #[inline(always)]
    fn sum(self, vector: Self::V) -> f32 {
        let mut lanes = self.array(vector);
        for width in [8, 4, 2, 1] {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
        }
        lanes[0]
    }

    /// The greatest lane; NaN may or may not be noticed.
    #[inline(always)]
    fn greatest(self, vector: Self::V) -> f32 {
        let mut lanes = self.array(vector);
        for width in [8, 4, 2, 1] {
            for lane in 0..width {
                let other = lanes[lane + width];
                lanes[lane] = if lanes[lane] > other { lanes[lane] } else { other };
            }
        }
        lanes[0]
    }
}

/// Loads sixteen numbers that start a slice, which must be that long.
#[inline(always)]
pub(crate) fn load<S: Simd>(simd: S, from: &[f32]) -> S::V {
    match from.first_chunk() {
        Some(chunk) => simd.load(chunk),
        None => unreachable!("a row is padded to whole vectors"),
    }
}

/// Stores sixteen numbers to the start of a slice, which must be that long.
#[inline(always)]
pub(crate) fn store<S: Simd>(simd: S, vector: S::V, to: &mut [f32]) {
    match to.first_chunk_mut() {
        Some(chunk) => simd.store(vector, chunk),
        None => unreachable!("a row is padded to whole vectors"),
    }
}
