//! Causal attention for a block of queries.
//!
//! The mask is structural: a score beyond the diagonal is overwritten with minus infinity, so
//! that its share is exactly zero whatever the parameters are. Nothing is ever added to a score.

use super::{
    Kernel,
    gemm::{DEPTH_BLOCK, TILE_ROWS, chain, with_tile_rows},
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
            partial: Buffer::zeros(QUERIES_MAX * LANES)?,
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
            for panel in 0..self.shape.n_value_panels() {
                let n = self.shape.padded() * LANES;
                self.gather(simd, (head, panel), &values[panel * n..(panel + 1) * n]);
            }
        }
    }
}

impl Attend<'_> {
    /// Positions that some row of the tile at `row` may look at.
    fn n_visible(&self, row: usize) -> usize {
        self.first + (row + TILE_ROWS).min(self.n_rows)
    }

    /// First position that some row of the tile at `row`, or of a later one, may look at.
    fn first_visible(&self, row: usize) -> usize {
        (self.first + row + 1).saturating_sub(self.window)
    }

    fn tiles(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.n_rows).step_by(TILE_ROWS)
    }

    /// Scores of all rows up to the diagonal's panel: one chain over the head's numbers.
    #[inline(always)]
    fn score<S: Simd>(&mut self, simd: S, head: usize, keys: &[f32]) {
        let (head_size, padded) = (self.shape.head_size, self.shape.padded());
        let (panels, _) = keys.as_chunks::<LANES>();
        for (panel, keys) in panels.chunks_exact(head_size).enumerate() {
            let keys = keys.as_flattened();
            for row in self.tiles() {
                let is_ahead = panel * LANES >= self.n_visible(row);
                if is_ahead || (panel + 1) * LANES <= self.first_visible(row) {
                    continue;
                }
                let queries = &self.rows[row * self.stride + head * head_size..];
                let out = &mut self.scratch.scores[row * padded + panel * LANES..];
                with_tile_rows!((self.n_rows - row).min(TILE_ROWS), M => {
                    let scores = chain::<S, M>(simd, (queries, self.stride), keys);
                    for (index, scores) in scores.into_iter().enumerate() {
                        store(simd, scores, &mut out[index * padded..]);
                    }
                });
            }
        }
    }

    /// Turns the scores of one row into shares that are yet to be divided by their sum.
    #[inline(always)]
    fn share<S: Simd>(&mut self, simd: S, row: usize) {
        let padded = self.shape.padded();
        let n_keys = self.first + row + 1;
        let n_read = self.n_visible(row / TILE_ROWS * TILE_ROWS).next_multiple_of(LANES);
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

    /// Sixteen numbers of each row's result: a product over positions, in blocks of depth.
    #[inline(always)]
    fn gather<S: Simd>(&mut self, simd: S, (head, panel): (usize, usize), values: &[f32]) {
        let padded = self.shape.padded();
        let column = head * self.shape.head_size + panel * LANES;
        let width = LANES.min(self.shape.head_size - panel * LANES);
        for start in (0..self.first + self.n_rows).step_by(DEPTH_BLOCK) {
            for row in self.tiles() {
                let n_visible = self.n_visible(row);
                // A block of positions that all rows have left behind adds nothing but zeros.
                let first = self.first_visible(row) / DEPTH_BLOCK * DEPTH_BLOCK;
                if start >= n_visible || start < first {
                    continue;
                }
                let end = n_visible.min(start + DEPTH_BLOCK);
                let values = &values[start * LANES..end * LANES];
                let Scratch { scores, partial, scales } = &mut *self.scratch;
                let shares = &scores[row * padded + start..];
                let partial = &mut partial[row * LANES..];
                with_tile_rows!((self.n_rows - row).min(TILE_ROWS), M => {
                    let sums = chain::<S, M>(simd, (shares, padded), values);
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
                        let out = &mut self.rows[(row + index) * self.stride + column..];
                        if width == LANES {
                            store(simd, result, out);
                        } else {
                            out[..width].copy_from_slice(&simd.array(result)[..width]);
                        }
                    }
                });
            }
        }
    }
}
