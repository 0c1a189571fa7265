//! Products of activations with packed parameters.
#![allow(unsafe_code)]

use super::{
    Kernel,
    math::cap_lanes,
    memory::Buffer,
    panels::Panels,
    simd::{LANES, Simd, load, store},
};
use crate::error::Error;
use std::{ops::Range, ptr};

/// Terms that one chain of multiply-adds covers; part of the definition of a product.
pub(crate) const DEPTH_BLOCK: usize = 256;
/// Rows that are cut off together: a multiple of every register tile.
pub(crate) const TILE_ROWS: usize = 12;
/// Most rows of one call, so that a depth block of them stays in the L2 cache.
pub(crate) const ROW_BLOCK: usize = 192;
/// Panels that share one pass over the rows: 256 columns.
pub(crate) const PANEL_BLOCK: usize = 16;

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Row-major activations: row `r` starts at `r * stride`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) n_rows: usize,
}

/// Work on `M` neighbouring rows and `P` neighbouring panels at a time.
pub(crate) trait Tiles<const P: usize> {
    /// Takes the rows from `row` on.
    fn tile<S: Simd, const M: usize>(&mut self, simd: S, row: usize);
}

/// Cuts rows into the largest tiles first; the result must not depend on it.
///
/// What instructions have no registers for is not compiled for them: `if const` says so before
/// there is any code of it.
#[inline(always)]
pub(crate) fn each_tile<S: Simd, const P: usize>(simd: S, n_rows: usize, work: &mut impl Tiles<P>) {
    let mut row = 0;
    if const { S::TILE.0 >= TILE_ROWS } {
        while n_rows - row >= TILE_ROWS {
            work.tile::<S, TILE_ROWS>(simd, row);
            row += TILE_ROWS;
        }
    }
    while n_rows - row >= 6 {
        work.tile::<S, 6>(simd, row);
        row += 6;
    }
    if n_rows - row >= 4 {
        work.tile::<S, 4>(simd, row);
        row += 4;
    }
    if n_rows - row >= 2 {
        work.tile::<S, 2>(simd, row);
        row += 2;
    }
    if n_rows - row >= 1 {
        work.tile::<S, 1>(simd, row);
    }
}

/// What happens to a finished tile of a product while it is in registers.
pub(crate) trait Epilogue {
    /// Takes `M` rows from `row` on and the sixteen columns of `panel`.
    fn tile<S: Simd, const M: usize>(&mut self, simd: S, place: (usize, usize), sums: [S::V; M]);

    /// All rows of these panels are finished.
    #[inline(always)]
    fn end_block<S: Simd>(&mut self, _simd: S, _panels: Range<usize>) {}
}

/// Work space of products, one per thread.
pub(crate) struct Scratch {
    partial: Buffer,
    widened: Buffer,
    /// Whole tiles of rows, term by term.
    packed: Buffer,
}

impl Scratch {
    /// Enough for products of rows of up to `n_in` numbers.
    pub(crate) fn new(n_in: usize) -> Result<Self, Error> {
        Ok(Self {
            packed: Buffer::zeros(ROW_BLOCK * n_in)?,
            partial: Buffer::zeros(ROW_BLOCK * PANEL_BLOCK * LANES)?,
            widened: Buffer::zeros(2 * DEPTH_BLOCK * LANES)?,
        })
    }
}

/// The product of at most [`ROW_BLOCK`] rows with all panels.
pub(crate) struct Product<'a, E> {
    pub(crate) rows: Rows<'a>,
    pub(crate) panels: &'a Panels,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) epilogue: E,
}

impl<E: Epilogue> Kernel for Product<'_, E> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let (Rows { data, stride, n_rows }, n_in) = (self.rows, self.panels.n_in);
        assert!(n_rows <= ROW_BLOCK && n_in <= stride, "rows of a product out of bounds");
        assert!(n_rows == 0 || data.len() >= (n_rows - 1) * stride + n_in, "rows are cut");
        let n_panels = self.panels.n_panels;
        let n_tiles = if S::TILE.0 == TILE_ROWS { n_rows / TILE_ROWS } else { 0 };
        let packed = n_tiles * TILE_ROWS * n_in;
        if self.scratch.packed.len() < packed {
            unreachable!("the scratch is made for the widest rows");
        }
        for (tile, packed) in
            self.scratch.packed[..packed].chunks_exact_mut(TILE_ROWS * n_in).enumerate()
        {
            pack((&data[tile * TILE_ROWS * stride..], stride), packed);
        }
        for first in (0..n_panels).step_by(PANEL_BLOCK) {
            let panels = first..n_panels.min(first + PANEL_BLOCK);
            for start in (0..n_in).step_by(DEPTH_BLOCK) {
                let depth = start..n_in.min(start + DEPTH_BLOCK);
                let mut panel = panels.start;
                if const { S::TILE.1 >= 2 } {
                    while panel + 2 <= panels.end {
                        self.panels::<S, 2>(simd, (&panels, panel), depth.clone());
                        panel += 2;
                    }
                }
                while panel < panels.end {
                    self.panels::<S, 1>(simd, (&panels, panel), depth.clone());
                    panel += 1;
                }
            }
            self.epilogue.end_block(simd, panels);
        }
    }
}

impl<E: Epilogue> Product<'_, E> {
    /// What will be needed after a panel of a block of panels: the next panel, or the first of the
    /// next depth or block.
    fn next(
        &self,
        panels: &Range<usize>,
        panel: usize,
        depth: &Range<usize>,
    ) -> Option<Range<*const u8>> {
        let n_in = self.panels.n_in;
        let block = |start: usize| start..n_in.min(start + DEPTH_BLOCK);
        if panel < panels.end {
            Some(self.panels.bytes(panel, depth))
        } else if depth.end < n_in {
            Some(self.panels.bytes(panels.start + panel - panels.end, &block(depth.end)))
        } else if panel < self.panels.n_panels {
            Some(self.panels.bytes(panel, &block(0)))
        } else {
            None
        }
    }

    /// Some panels and one depth block for all rows.
    #[inline(always)]
    fn panels<S: Simd, const P: usize>(
        &mut self,
        simd: S,
        (panels, panel): (&Range<usize>, usize),
        depth: Range<usize>,
    ) {
        let next = std::array::from_fn(|index| {
            self.next(panels, panel + P + index, &depth).unwrap_or(ptr::null()..ptr::null())
        });
        let first = panels.start;
        let mut widened = self.scratch.widened.chunks_exact_mut(DEPTH_BLOCK * LANES);
        let b = std::array::from_fn(|index| {
            let scratch = widened.next().unwrap_or_default();
            self.panels.block(panel + index, depth.clone(), scratch)
        });
        let partial = &mut self.scratch.partial[(panel - first) * ROW_BLOCK * LANES..];
        let mut step = Step::<E, P> {
            rows: self.rows,
            packed: &self.scratch.packed,
            n_in: self.panels.n_in,
            next,
            b,
            partial,
            is_last: depth.end == self.panels.n_in,
            depth,
            panel,
            epilogue: &mut self.epilogue,
        };
        each_tile(simd, self.rows.n_rows, &mut step);
    }
}

struct Step<'a, E, const P: usize> {
    rows: Rows<'a>,
    packed: &'a [f32],
    n_in: usize,
    /// What should be in the cache after this.
    next: [Range<*const u8>; P],
    b: [&'a [f32]; P],
    partial: &'a mut [f32],
    is_last: bool,
    depth: Range<usize>,
    panel: usize,
    epilogue: &'a mut E,
}

impl<E: Epilogue, const P: usize> Tiles<P> for Step<'_, E, P> {
    #[inline(always)]
    fn tile<S: Simd, const M: usize>(&mut self, simd: S, row: usize) {
        let Rows { data, stride, .. } = self.rows;
        let sums = if const { M == TILE_ROWS } {
            let start = row * self.n_in + self.depth.start * M;
            let ahead = self.ahead(row / M);
            packed_chain::<S, M, P>(simd, &self.packed[start..], self.b, ahead)
        } else {
            let rows = (&data[row * stride + self.depth.start..], stride);
            chain::<S, M, P>(simd, rows, self.b)
        };
        for (index, mut sums) in sums.into_iter().enumerate() {
            let start = (index * ROW_BLOCK + row) * LANES;
            let partial = &mut self.partial[start..start + M * LANES];
            if self.depth.start > 0 {
                for (sum, before) in sums.iter_mut().zip(partial.as_chunks().0) {
                    *sum = simd.add(simd.load(before), *sum);
                }
            }
            if self.is_last {
                self.epilogue.tile(simd, (row, self.panel + index), sums);
            } else {
                for (sum, place) in sums.iter().zip(partial.as_chunks_mut().0) {
                    simd.store(*sum, place);
                }
            }
        }
    }
}

impl<E, const P: usize> Step<'_, E, P> {
    /// Where the share of the next panels starts that a tile should have fetched, and lines of it.
    fn ahead(&self, tile: usize) -> ([*const u8; P], usize) {
        let n_tiles = self.rows.n_rows / TILE_ROWS;
        let n_bytes = self.next[0].end.addr() - self.next[0].start.addr();
        let n_lines = n_bytes.div_ceil(LINE_BYTES).div_ceil(n_tiles);
        let start = |next: &Range<*const u8>| next.start.wrapping_add(tile * n_lines * LINE_BYTES);
        (std::array::from_fn(|index| start(&self.next[index])), n_lines)
    }
}

/// Brings the rows of one tile into the order in which [`packed_chain`] wants them.
#[inline(always)]
fn pack((rows, stride): (&[f32], usize), packed: &mut [f32]) {
    let n_in = packed.len() / TILE_ROWS;
    for row in 0..TILE_ROWS {
        let numbers = &rows[row * stride..row * stride + n_in];
        let places = packed[row..].iter_mut().step_by(TILE_ROWS);
        places.zip(numbers).for_each(|(place, number)| *place = *number);
    }
}

/// The same as [`chain`] for rows that lie term by term: nothing but multiply-adds and their loads.
#[inline(always)]
fn packed_chain<S: Simd, const M: usize, const P: usize>(
    simd: S,
    rows: &[f32],
    b: [&[f32]; P],
    (ahead, n_lines): ([*const u8; P], usize),
) -> [[S::V; M]; P] {
    let n_terms = b[0].len() / LANES;
    let b = b.map(|b| &b[..n_terms * LANES]);
    let (rows, _) = rows[..n_terms * M].as_chunks::<M>();
    let mut sums = [[simd.splat(0.0); M]; P];
    for (k, factors) in rows.iter().enumerate() {
        if k < n_lines {
            ahead.iter().for_each(|ahead| simd.prefetch(ahead.wrapping_add(k * LINE_BYTES)));
        }
        let mut terms = [simd.splat(0.0); P];
        for (term, b) in terms.iter_mut().zip(b) {
            // SAFETY: every panel has sixteen numbers for each term.
            *term = simd.load(unsafe { &*b.as_ptr().add(k * LANES).cast() });
        }
        for (row, factor) in factors.iter().enumerate() {
            let factor = simd.splat(*factor);
            for (sums, term) in sums.iter_mut().zip(terms) {
                sums[row] = simd.fma(factor, term, sums[row]);
            }
        }
    }
    sums
}

/// `M` rows times `P` panels: each lane is one chain of multiply-adds in ascending order.
///
/// `rows` is the first number of the first row, and the distance between rows; each panel holds
/// sixteen numbers per term, and all have as many terms as the first.
#[inline(always)]
pub(crate) fn chain<S: Simd, const M: usize, const P: usize>(
    simd: S,
    (rows, stride): (&[f32], usize),
    b: [&[f32]; P],
) -> [[S::V; M]; P] {
    let n_terms = b[0].len() / LANES;
    let b = b.map(|b| &b[..n_terms * LANES]);
    assert!(rows.len() >= (M - 1) * stride + n_terms, "rows shorter than the panel is deep");
    let mut sums = [[simd.splat(0.0); M]; P];
    for k in 0..n_terms {
        let mut terms = [simd.splat(0.0); P];
        for (term, b) in terms.iter_mut().zip(b) {
            // SAFETY: every panel has sixteen numbers for each term.
            *term = simd.load(unsafe { &*b.as_ptr().add(k * LANES).cast() });
        }
        for row in 0..M {
            // SAFETY: `row * stride + k` is at most `(M - 1) * stride + n_terms - 1`.
            let factor = simd.splat(unsafe { *rows.get_unchecked(row * stride + k) });
            for (sums, term) in sums.iter_mut().zip(terms) {
                sums[row] = simd.fma(factor, term, sums[row]);
            }
        }
    }
    sums
}

/// Writes a product, plus a bias per column, to rows.
pub(crate) struct Store<'a> {
    pub(crate) out: &'a mut [f32],
    pub(crate) stride: usize,
    pub(crate) bias: Option<&'a [f32]>,
}

impl Epilogue for Store<'_> {
    #[inline(always)]
    fn tile<S: Simd, const M: usize>(
        &mut self,
        simd: S,
        (row, panel): (usize, usize),
        sums: [S::V; M],
    ) {
        let sums = with_bias(simd, self.bias, panel, sums);
        for (index, sum) in sums.into_iter().enumerate() {
            store(simd, sum, &mut self.out[(row + index) * self.stride + panel * LANES..]);
        }
    }
}

/// Adds a product, plus a bias per column, to rows.
pub(crate) struct Add<'a>(pub(crate) Store<'a>);

impl Epilogue for Add<'_> {
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
            store(simd, simd.add(load(simd, out), sum), out);
        }
    }
}

/// Writes a product, plus a bias per column, cut softly: `cap tanh(x / cap)`.
pub(crate) struct Capped<'a> {
    pub(crate) to: Store<'a>,
    pub(crate) cap: f32,
}

impl Epilogue for Capped<'_> {
    #[inline(always)]
    fn tile<S: Simd, const M: usize>(&mut self, simd: S, place: (usize, usize), sums: [S::V; M]) {
        let sums = with_bias(simd, self.to.bias, place.1, sums);
        let mut capped = sums;
        for sum in &mut capped {
            *sum = cap_lanes(simd, *sum, self.cap);
        }
        Store { bias: None, out: &mut *self.to.out, ..self.to }.tile(simd, place, capped);
    }
}

/// Adds the bias of a panel's columns, if there is one.
#[inline(always)]
pub(crate) fn with_bias<S: Simd, const M: usize>(
    simd: S,
    bias: Option<&[f32]>,
    panel: usize,
    sums: [S::V; M],
) -> [S::V; M] {
    let mut sums = sums;
    if let Some(bias) = bias {
        let bias = load(simd, &bias[panel * LANES..]);
        // A loop: the closure of a map would be a call that knows nothing of the instructions.
        for sum in &mut sums {
            *sum = simd.add(*sum, bias);
        }
    }
    sums
}
