//! Rotary positions.

use super::{Kernel, math, simd::Simd};
use crate::{arch::Rope, error::Error, kernel::memory::Buffer};

/// Fewest positions whose angles are computed: they are kept, so that most models do it once.
const POSITIONS_MIN: usize = 256;

/// Cosine and sine of every angle that a sequence needs, times the rotation's factor.
pub(crate) struct Angles {
    n_pairs: usize,
    pub(crate) n_positions: usize,
    /// Per position: cosines of all pairs, then sines.
    pub(crate) table: Buffer,
}

impl Angles {
    /// The angles of positions `0..n_positions`; an angle is rounded to `f32` before its cosine.
    pub(crate) fn new(rope: &Rope, n_positions: usize) -> Result<Self, Error> {
        let n_pairs = rope.frequencies.len();
        let mut table = Buffer::zeros(n_positions * n_pairs * 2)?;
        for (position, row) in table.chunks_exact_mut(n_pairs * 2).take(n_positions).enumerate() {
            let (cosines, sines) = row.split_at_mut(n_pairs);
            for ((cosine, sine), frequency) in cosines.iter_mut().zip(sines).zip(&rope.frequencies)
            {
                let (sin, cos) = math::sin_cos(f64::from(position as f32 * frequency));
                (*cosine, *sine) = (cos as f32 * rope.factor, sin as f32 * rope.factor);
            }
        }
        Ok(Self { n_pairs, n_positions, table })
    }

    /// Positions whose angles are kept for sequences of `n_positions`.
    pub(crate) fn n_kept(n_positions: usize) -> usize {
        n_positions.next_power_of_two().max(POSITIONS_MIN)
    }

    /// Bytes of the angles of `n_positions`.
    pub(crate) fn n_bytes(rope: &Rope, n_positions: usize) -> u64 {
        (n_positions as u64).saturating_mul(8 * rope.frequencies.len() as u64)
    }

    fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let width = 2 * self.n_pairs;
        self.table[position * width..(position + 1) * width].split_at(self.n_pairs)
    }
}

/// Turns heads by the angles of their positions, and scales the queries.
pub(crate) struct Rotate<'a> {
    /// Rows that start with the query heads, followed by the key heads.
    pub(crate) rows: &'a mut [f32],
    pub(crate) stride: usize,
    /// Position of each row in its sequence.
    pub(crate) positions: &'a [u32],
    /// Without angles, heads stay as they are.
    pub(crate) angles: Option<&'a Angles>,
    pub(crate) head_size: usize,
    pub(crate) n_heads: usize,
    pub(crate) n_kv_heads: usize,
    /// What queries are multiplied with after turning.
    pub(crate) scale: f32,
}

impl Kernel for Rotate<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let width = self.head_size;
        for (row, &position) in self.rows.chunks_mut(self.stride).zip(self.positions) {
            if let Some(angles) = self.angles {
                let (cosines, sines) = angles.at(position as usize);
                let heads = &mut row[..(self.n_heads + self.n_kv_heads) * width];
                heads.chunks_exact_mut(width).for_each(|head| turn(head, cosines, sines));
            }
            row[..self.n_heads * width].iter_mut().for_each(|x| *x *= self.scale);
        }
    }
}

#[inline(always)]
fn turn(head: &mut [f32], cosines: &[f32], sines: &[f32]) {
    // What is not turned follows what is.
    let (low, high) = head[..2 * cosines.len()].split_at_mut(cosines.len());
    for ((low, high), (cosine, sine)) in low.iter_mut().zip(high).zip(cosines.iter().zip(sines)) {
        let (a, b) = (*low, *high);
        *low = a.mul_add(*cosine, -(b * sine));
        *high = b.mul_add(*cosine, a * sine);
    }
}
