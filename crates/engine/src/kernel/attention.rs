//! Causal attention for a block of queries.
//!
//! The mask is structural: a score beyond the diagonal is overwritten with minus infinity, so
//! that its share is exactly zero whatever the parameters are. Nothing is ever added to a score.

use super::{
    Kernel,
    gemm::{DEPTH_BLOCK, TILE_ROWS, Tiles, chain, each_tile},
    math::{cap_lanes, exp_lanes},
    memory::Buffer,
    simd::{LANES, Simd, load, store},
};
use crate::error::Error;

/// Most queries of one block.
const QUERIES_MAX: usize = 48;
/// Scores of one block: what fits the L2 cache.
const SCORES_MAX: usize = 48 * 2048;

/// Shape of one head's keys and values for a sequence of at most `capacity` positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadShape {
    pub(crate) head_size: usize,
    pub(crate) capacity: usize,
}

impl HeadShape {
    /// Positions, rounded up to whole panels.
    fn padded(self) -> usize {
        self.capacity.next_multiple_of(LANES)
    }

    fn n_value_panels(self) -> usize {
        self.head_size.div_ceil(LANES)
    }

    /// Numbers of keys `[capacity / 16][head_size][16]` and of values
    /// `[head_size / 16][capacity][16]`.
    pub(crate) fn n_numbers(self) -> usize {
        self.padded() * (self.head_size + self.n_value_panels() * LANES)
    }

    /// Queries of one block, a whole number of tiles; the result does not depend on it.
    pub(crate) fn n_queries(self) -> usize {
        let n_fitting = SCORES_MAX / self.padded() / TILE_ROWS * TILE_ROWS;
        n_fitting.clamp(TILE_ROWS, QUERIES_MAX)
    }
}

/// Appends keys and values of new positions to one head's panels.
pub(crate) struct Remember<'a> {
    pub(crate) shape: HeadShape,
    /// Panels of keys, then panels of values.
    pub(crate) panels: &'a mut [f32],
    /// Rows of new positions, cut to start at the head's key; its value is `value` further.
    pub(crate) rows: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) value: usize,
    /// Position of the first row.
    pub(crate) first: usize,
    pub(crate) n_rows: usize,
}

impl Kernel for Remember<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (head_size, padded) = (self.shape.head_size, self.shape.padded());
        let (keys, values) = self.panels.split_at_mut(padded * head_size);
        for index in 0..self.n_rows {
            let position = self.first + index;
            let row = &self.rows[index * self.stride..];
            let start = position / LANES * head_size * LANES + position % LANES;
            let places = keys[start..].iter_mut().step_by(LANES);
            for (place, number) in places.zip(&row[..head_size]) {
                *place = *number;
            }
            let value = &row[self.value..self.value + head_size];
            for (panel, part) in value.chunks(LANES).enumerate() {
                let place = &mut values[(panel * padded + position) * LANES..];
                match part.first_chunk() {
                    Some(whole) => store(simd, simd.load(whole), place),
                    None => place[..part.len()].copy_from_slice(part),
                }
            }
        }
    }
}

/// Work space of attention, one per thread.
pub(crate) struct Scratch {
    scores: Buffer,
    partial: Buffer,
    /// One over the sum of each row's shares.
    scales: Buffer,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            scores: Buffer::default(),
            partial: Buffer::zeros(2 * QUERIES_MAX * LANES)?,
            scales: Buffer::zeros(QUERIES_MAX)?,
        })
    }

    /// Makes room for blocks of a sequence.
    pub(crate) fn reserve(&mut self, shape: HeadShape) -> Result<(), Error> {
        self.scores.reserve(shape.n_queries() * shape.padded())
    }
}

/// Attention of a block of queries; each query is replaced by what it gathered.
pub(crate) struct Attend<'a> {
    pub(crate) shape: HeadShape,
    /// Rows that start with the query heads, scaled and turned.
    pub(crate) rows: &'a mut [f32],
    pub(crate) stride: usize,
    pub(crate) n_rows: usize,
    /// Position of the first row.
    pub(crate) first: usize,
    pub(crate) n_heads: usize,
    /// Query heads that share a key-value head.
    pub(crate) n_sharing: usize,
    /// Positions that a query looks back at, its own included.
    pub(crate) window: usize,
    /// Scores become `cap tanh(score / cap)`.
    pub(crate) score_cap: Option<f32>,
    /// Panels of all key-value heads.
    pub(crate) panels: &'a [f32],
    pub(crate) scratch: &'a mut Scratch,
}

impl Kernel for Attend<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        for head in 0..self.n_heads {
            let start = head / self.n_sharing * self.shape.n_numbers();
            let panels = &self.panels[start..start + self.shape.n_numbers()];
            let (keys, values) = panels.split_at(self.shape.padded() * self.shape.head_size);
            self.score(simd, head, keys);
            for row in 0..self.n_rows {
                self.share(simd, row);
            }
            self.gather(simd, head, values);
            for row in 0..self.n_rows {
                self.mend(simd, (head, row), values);
            }
        }
    }
}

impl Attend<'_> {
    /// Positions that some of `n_rows` rows from `row` on may look at.
    fn n_visible(&self, row: usize, n_rows: usize) -> usize {
        self.first + row + n_rows
    }

    /// First position that the row at `row`, or a later one, may look at.
    fn first_visible(&self, row: usize) -> usize {
        (self.first + row + 1).saturating_sub(self.window)
    }

    /// Scores of all rows up to the diagonal's panel: one chain over the head's numbers.
    #[inline(always)]
    fn score<S: Simd>(&mut self, simd: S, head: usize, keys: &[f32]) {
        let n_panels = self.n_visible(0, self.n_rows).div_ceil(LANES);
        let mut panel = self.first_visible(0) / LANES;
        if const { S::TILE.1 >= 2 } {
            while panel + 2 <= n_panels {
                self.score_panels::<S, 2>(simd, (head, panel), keys);
                panel += 2;
            }
        }
        while panel < n_panels {
            self.score_panels::<S, 1>(simd, (head, panel), keys);
            panel += 1;
        }
    }

    #[inline(always)]
    fn score_panels<S: Simd, const P: usize>(
        &mut self,
        simd: S,
        (head, panel): (usize, usize),
        keys: &[f32],
    ) {
        let n = self.shape.head_size * LANES;
        let keys = std::array::from_fn(|index| {
            let start = (panel + index) * n;
            &keys[start..start + n]
        });
        each_tile(simd, self.n_rows, &mut Scores::<P> { attend: self, head, panel, keys });
    }

    /// Turns the scores of one row into shares that are yet to be divided by their sum.
    #[inline(always)]
    fn share<S: Simd>(&mut self, simd: S, row: usize) {
        let padded = self.shape.padded();
        let n_keys = self.first + row + 1;
        // As far as any row of its tile will read: tiles do not cross multiples of the largest.
        let tile = row / TILE_ROWS * TILE_ROWS;
        let n_rows = TILE_ROWS.min(self.n_rows - tile);
        let n_read = self.n_visible(tile, n_rows).next_multiple_of(LANES);
        let scores = &mut self.scratch.scores[row * padded..row * padded + n_read];
        if let Some(cap) = self.score_cap {
            for scores in scores.as_chunks_mut::<LANES>().0 {
                simd.store(cap_lanes(simd, simd.load(scores), cap), scores);
            }
        }
        scores[n_keys..].fill(f32::NEG_INFINITY);
        scores[..n_keys.saturating_sub(self.window)].fill(f32::NEG_INFINITY);
        let (scores, _) = scores.as_chunks_mut::<LANES>();
        let top = scores
            .iter()
            .fold(simd.splat(f32::NEG_INFINITY), |top, scores| simd.max(top, simd.load(scores)));
        let top = simd.splat(simd.greatest(top));
        let mut sum = simd.splat(0.0);
        for scores in scores {
            let share = exp_lanes(simd, simd.sub(simd.load(scores), top));
            sum = simd.add(sum, share);
            simd.store(share, scores);
        }
        self.scratch.scales[row] = 1.0 / simd.sum(sum);
    }

    /// What each row gathers: a product over positions, in blocks of depth.
    #[inline(always)]
    fn gather<S: Simd>(&mut self, simd: S, head: usize, values: &[f32]) {
        let n_panels = self.shape.n_value_panels();
        let mut panel = 0;
        if const { S::TILE.1 >= 2 } {
            while panel + 2 <= n_panels {
                self.gather_panels::<S, 2>(simd, (head, panel), values);
                panel += 2;
            }
        }
        while panel < n_panels {
            self.gather_panels::<S, 1>(simd, (head, panel), values);
            panel += 1;
        }
    }

    #[inline(always)]
    fn gather_panels<S: Simd, const P: usize>(
        &mut self,
        simd: S,
        (head, panel): (usize, usize),
        values: &[f32],
    ) {
        let n = self.shape.padded() * LANES;
        for start in (0..self.first + self.n_rows).step_by(DEPTH_BLOCK) {
            let values = std::array::from_fn(|index| {
                let values = &values[(panel + index) * n..(panel + index + 1) * n];
                &values[start * LANES..]
            });
            let n_rows = self.n_rows;
            let mut gathered = Gathered::<P> { attend: self, head, panel, start, values };
            each_tile(simd, n_rows, &mut gathered);
        }
    }
}

/// What is done to single rows where a value is not finite.
///
/// A tile multiplies what some of its queries see with shares of all of them, which are zero where
/// one does not see it. That adds nothing while values are finite, but zero times an infinite value
/// is a NaN, in a row to which it does not exist. How tiles are cut must not show, so that such a
/// row is gathered again, on its own.
impl Attend<'_> {
    /// Gathers a row again that something spoilt which it does not see.
    #[inline(always)]
    fn mend<S: Simd>(&mut self, simd: S, (head, row): (usize, usize), values: &[f32]) {
        let start = row * self.stride + head * self.shape.head_size;
        let gathered = &self.rows[start..start + self.shape.head_size];
        let is_finite = gathered.iter().fold(true, |all, number| all & number.is_finite());
        // Shares that are not finite spoil a row whatever it sees.
        if is_finite || !self.scratch.scales[row].is_finite() {
            return;
        }
        let tile = row / TILE_ROWS * TILE_ROWS;
        let n_rows = TILE_ROWS.min(self.n_rows - tile);
        let multiplied = self.first_visible(tile)..self.n_visible(tile, n_rows);
        let seen = self.first_visible(row)..self.n_visible(row, 1);
        let is_finite = |position: usize| self.is_finite_at(position, values);
        let mut unseen = (multiplied.start..seen.start).chain(seen.end..multiplied.end);
        // Backwards: after the first value that is not finite, no row looks far for one that it
        // does see.
        if !unseen.all(is_finite) && seen.rev().all(is_finite) {
            self.gather_row(simd, (head, row), values);
        }
    }

    /// Whether all numbers of a position's value are finite.
    fn is_finite_at(&self, position: usize, values: &[f32]) -> bool {
        (0..self.shape.head_size).all(|number| {
            let panel = number / LANES * self.shape.padded();
            values[(panel + position) * LANES + number % LANES].is_finite()
        })
    }

    /// What one row gathers from the positions that it sees.
    #[inline(always)]
    fn gather_row<S: Simd>(&mut self, simd: S, (head, row): (usize, usize), values: &[f32]) {
        let HeadShape { head_size, .. } = self.shape;
        let padded = self.shape.padded();
        let seen = self.first_visible(row)..self.n_visible(row, 1);
        let first = seen.start / DEPTH_BLOCK * DEPTH_BLOCK;
        let scale = simd.splat(self.scratch.scales[row]);
        for number in (0..head_size).step_by(LANES) {
            let values = &values[number / LANES * padded * LANES..];
            let mut total = simd.splat(0.0);
            for start in (first..seen.end).step_by(DEPTH_BLOCK) {
                let block = seen.start.max(start)..seen.end.min(start + DEPTH_BLOCK);
                let shares = &self.scratch.scores[row * padded + block.start..];
                let values = [&values[block.start * LANES..block.end * LANES]];
                let [[sum]] = chain::<S, 1, 1>(simd, (shares, padded), values);
                total = if start == first { sum } else { simd.add(total, sum) };
            }
            let result = simd.array(simd.mul(total, scale));
            let width = LANES.min(head_size - number);
            let out = &mut self.rows[row * self.stride + head * head_size + number..];
            out[..width].copy_from_slice(&result[..width]);
        }
    }
}

/// Scores of some panels of keys.
struct Scores<'a, 'b, const P: usize> {
    attend: &'a mut Attend<'b>,
    head: usize,
    panel: usize,
    keys: [&'a [f32]; P],
}

impl<const P: usize> Tiles<P> for Scores<'_, '_, P> {
    #[inline(always)]
    fn tile<S: Simd, const M: usize>(&mut self, simd: S, row: usize) {
        let Self { attend, head, panel, keys } = self;
        let is_ahead = *panel * LANES >= attend.n_visible(row, M);
        if is_ahead || (*panel + P) * LANES <= attend.first_visible(row) {
            return;
        }
        let padded = attend.shape.padded();
        let queries = &attend.rows[row * attend.stride + *head * attend.shape.head_size..];
        let scores = chain::<S, M, P>(simd, (queries, attend.stride), *keys);
        for (index, scores) in scores.into_iter().enumerate() {
            let out = &mut attend.scratch.scores[row * padded + (*panel + index) * LANES..];
            for (index, scores) in scores.into_iter().enumerate() {
                store(simd, scores, &mut out[index * padded..]);
            }
        }
    }
}

/// What rows gather from one block of positions.
struct Gathered<'a, 'b, const P: usize> {
    attend: &'a mut Attend<'b>,
    head: usize,
    panel: usize,
    /// First position of the block.
    start: usize,
    values: [&'a [f32]; P],
}

impl<const P: usize> Tiles<P> for Gathered<'_, '_, P> {
    #[inline(always)]
    fn tile<S: Simd, const M: usize>(&mut self, simd: S, row: usize) {
        let Attend { shape, ref mut rows, stride, ref mut scratch, .. } = *self.attend;
        let start = self.start;
        let n_visible = self.attend.first + row + M;
        // What all rows have left behind adds nothing but zeros.
        let first_visible = (self.attend.first + row + 1).saturating_sub(self.attend.window);
        let first = first_visible / DEPTH_BLOCK * DEPTH_BLOCK;
        if start >= n_visible || start < first {
            return;
        }
        let (padded, end) = (shape.padded(), n_visible.min(start + DEPTH_BLOCK));
        let begin = first_visible.max(start);
        let values =
            self.values.map(|values| &values[(begin - start) * LANES..(end - start) * LANES]);
        let Scratch { scores, partial, scales } = &mut **scratch;
        let sums = chain::<S, M, P>(simd, (&scores[row * padded + begin..], padded), values);
        for (place, sums) in sums.into_iter().enumerate() {
            let number = (self.panel + place) * LANES;
            let column = self.head * shape.head_size + number;
            let width = LANES.min(shape.head_size - number);
            let partial = &mut partial[(place * QUERIES_MAX + row) * LANES..];
            for (index, mut sum) in sums.into_iter().enumerate() {
                let before = &mut partial[index * LANES..];
                if start > first {
                    sum = simd.add(load(simd, before), sum);
                } else if start > 0 {
                    // What the blocks left behind would have come to.
                    sum = simd.add(simd.splat(0.0), sum);
                }
                if end < n_visible {
                    store(simd, sum, before);
                    continue;
                }
                let result = simd.mul(sum, simd.splat(scales[row + index]));
                let out = &mut rows[(row + index) * stride + column..];
                if width == LANES {
                    store(simd, result, out);
                } else {
                    out[..width].copy_from_slice(&simd.array(result)[..width]);
                }
            }
        }
    }
}
