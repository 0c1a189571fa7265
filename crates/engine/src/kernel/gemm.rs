//! Products of activations with packed parameters.
#![allow(unsafe_code)]

use super::{
    Kernel,
    math::cap_lanes,
    memory::Buffer,
    simd::{LANES, Simd, load, store},
};
use crate::{checkpoint::Dtype, error::Error};
use half::{bf16, f16};
use std::ops::Range;

/// Terms that one chain of multiply-adds covers; part of the definition of a product.
pub(crate) const DEPTH_BLOCK: usize = 256;
/// Rows of a register tile.
pub(crate) const TILE_ROWS: usize = 6;
/// Most rows of one call, so that a depth block of them stays in the L2 cache.
pub(crate) const ROW_BLOCK: usize = 192;
/// Panels that share one pass over the rows: 256 columns.
pub(crate) const PANEL_BLOCK: usize = 16;

/// Row-major activations: row `r` starts at `r * stride`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) n_rows: usize,
}

/// A parameter matrix `[n_out, n_in]` in panels of sixteen outputs: `[n_out / 16][n_in][16]`.
///
/// Outputs beyond the last are zero.
pub(crate) struct Panels {
    pub(crate) n_in: usize,
    pub(crate) n_panels: usize,
    numbers: Numbers,
}

/// Parameters as published: BF16 is widened block by block while it is used.
enum Numbers {
    Single(Buffer),
    Brain(Vec<u16>),
}

impl Panels {
    /// Zeros; stored as BF16 if `is_brain`.
    pub(crate) fn zeros(n_in: usize, n_out: usize, is_brain: bool) -> Result<Self, Error> {
        let n_panels = n_out.div_ceil(LANES);
        let n = n_panels * n_in * LANES;
        let numbers = if is_brain {
            let mut bits = Vec::new();
            let n_bytes = 2 * n as u64;
            bits.try_reserve_exact(n).map_err(|_| Error::OutOfMemory { n_bytes })?;
            bits.resize(n, 0);
            Numbers::Brain(bits)
        } else {
            Numbers::Single(Buffer::zeros(n)?)
        };
        Ok(Self { n_in, n_panels, numbers })
    }

    /// Writes the parameters of one output, `n_in` numbers in little-endian bytes.
    pub(crate) fn set_output(&mut self, output: usize, bytes: &[u8], dtype: Dtype) {
        let start = output / LANES * self.n_in * LANES + output % LANES;
        match (&mut self.numbers, dtype) {
            (Numbers::Brain(bits), Dtype::Bf16) => {
                let places = bits[start..].iter_mut().step_by(LANES);
                for (place, pair) in places.zip(bytes.as_chunks().0).take(self.n_in) {
                    *place = u16::from_le_bytes(*pair);
                }
            }
            (Numbers::Brain(_), _) => unreachable!("only BF16 parameters are stored as BF16"),
            (Numbers::Single(numbers), _) => {
                let places = numbers[start..].iter_mut().step_by(LANES);
                widen(bytes, dtype, places.take(self.n_in));
            }
        }
    }

    /// Writes the parameters of one input, in little-endian bytes, to the outputs named.
    pub(crate) fn set_input(
        &mut self,
        input: usize,
        outputs: impl Iterator<Item = usize>,
        bytes: &[u8],
        dtype: Dtype,
    ) {
        let n_in = self.n_in;
        let places = outputs.map(|output| (output / LANES * n_in + input) * LANES + output % LANES);
        match (&mut self.numbers, dtype) {
            (Numbers::Brain(bits), Dtype::Bf16) => {
                places.zip(bytes.as_chunks().0).for_each(|(place, pair)| {
                    bits[place] = u16::from_le_bytes(*pair);
                });
            }
            (Numbers::Brain(_), _) => unreachable!("only BF16 parameters are stored as BF16"),
            (Numbers::Single(numbers), _) => {
                let n_bytes = dtype.n_bytes() as usize;
                places.zip(bytes.chunks_exact(n_bytes)).for_each(|(place, bytes)| {
                    widen(bytes, dtype, numbers[place..].iter_mut().take(1));
                });
            }
        }
    }

    /// Copies the parameters of one output, widened.
    pub(crate) fn output(&self, output: usize, to: &mut [f32]) {
        let start = output / LANES * self.n_in * LANES + output % LANES;
        let to = to.iter_mut().take(self.n_in);
        match &self.numbers {
            Numbers::Single(numbers) => {
                to.zip(numbers[start..].iter().step_by(LANES)).for_each(|(to, n)| *to = *n);
            }
            Numbers::Brain(bits) => to
                .zip(bits[start..].iter().step_by(LANES))
                .for_each(|(to, bits)| *to = bf16::from_bits(*bits).to_f32()),
        }
    }

    /// The numbers of a panel for a range of inputs, widened into `scratch` if need be.
    #[inline(always)]
    fn block<'a>(&'a self, panel: usize, depth: Range<usize>, scratch: &'a mut [f32]) -> &'a [f32] {
        let start = panel * self.n_in;
        let range = (start + depth.start) * LANES..(start + depth.end) * LANES;
        match &self.numbers {
            Numbers::Single(numbers) => &numbers[range],
            Numbers::Brain(bits) => {
                let bits = &bits[range];
                let wide = &mut scratch[..bits.len()];
                for (wide, &bits) in wide.iter_mut().zip(bits) {
                    *wide = f32::from_bits(u32::from(bits) << 16);
                }
                wide
            }
        }
    }
}

/// Widens little-endian numbers exactly.
pub(crate) fn widen<'a>(bytes: &[u8], dtype: Dtype, to: impl Iterator<Item = &'a mut f32>) {
    match dtype {
        Dtype::F32 => {
            to.zip(bytes.as_chunks().0).for_each(|(to, b)| *to = f32::from_le_bytes(*b));
        }
        Dtype::F16 => {
            to.zip(bytes.as_chunks().0).for_each(|(to, b)| *to = f16::from_le_bytes(*b).to_f32());
        }
        Dtype::Bf16 => {
            to.zip(bytes.as_chunks().0).for_each(|(to, b)| *to = bf16::from_le_bytes(*b).to_f32());
        }
    }
}

/// Evaluates an expression with `M` as a constant from 1 to 6; does nothing for zero rows.
macro_rules! with_tile_rows {
    ($n_rows:expr, $m:ident => $do:expr) => {
        match $n_rows {
            0 => (),
            1 => with_tile_rows!(@ 1, $m, $do),
            2 => with_tile_rows!(@ 2, $m, $do),
            3 => with_tile_rows!(@ 3, $m, $do),
            4 => with_tile_rows!(@ 4, $m, $do),
            5 => with_tile_rows!(@ 5, $m, $do),
            _ => with_tile_rows!(@ 6, $m, $do),
        }
    };
    (@ $value:literal, $m:ident, $do:expr) => {{
        const $m: usize = $value;
        $do
    }};
}
pub(super) use with_tile_rows;

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
}

impl Scratch {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            partial: Buffer::zeros(ROW_BLOCK * PANEL_BLOCK * LANES)?,
            widened: Buffer::zeros(DEPTH_BLOCK * LANES)?,
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
        for first in (0..n_panels).step_by(PANEL_BLOCK) {
            let panels = first..n_panels.min(first + PANEL_BLOCK);
            for start in (0..n_in).step_by(DEPTH_BLOCK) {
                let depth = start..n_in.min(start + DEPTH_BLOCK);
                for panel in panels.clone() {
                    self.panel(simd, first, panel, depth.clone());
                }
            }
            self.epilogue.end_block(simd, panels);
        }
    }
}

impl<E: Epilogue> Product<'_, E> {
    /// One panel and depth block for all rows.
    #[inline(always)]
    fn panel<S: Simd>(&mut self, simd: S, first: usize, panel: usize, depth: Range<usize>) {
        let b = self.panels.block(panel, depth.clone(), &mut self.scratch.widened);
        let partial = &mut self.scratch.partial[(panel - first) * ROW_BLOCK * LANES..];
        let mut step = Step {
            rows: self.rows,
            b,
            partial,
            is_last: depth.end == self.panels.n_in,
            depth,
            panel,
            epilogue: &mut self.epilogue,
        };
        let n_rows = self.rows.n_rows;
        let whole = n_rows / TILE_ROWS * TILE_ROWS;
        for row in (0..whole).step_by(TILE_ROWS) {
            step.tile::<S, TILE_ROWS>(simd, row);
        }
        with_tile_rows!(n_rows - whole, M => step.tile::<S, M>(simd, whole));
    }
}

struct Step<'a, E> {
    rows: Rows<'a>,
    b: &'a [f32],
    partial: &'a mut [f32],
    is_last: bool,
    depth: Range<usize>,
    panel: usize,
    epilogue: &'a mut E,
}

impl<E: Epilogue> Step<'_, E> {
    #[inline(always)]
    fn tile<S: Simd, const M: usize>(&mut self, simd: S, row: usize) {
        let Rows { data, stride, .. } = self.rows;
        let mut sums =
            chain::<S, M>(simd, (&data[row * stride + self.depth.start..], stride), self.b);
        let partial = &mut self.partial[row * LANES..(row + M) * LANES];
        if self.depth.start > 0 {
            for (sum, before) in sums.iter_mut().zip(partial.as_chunks().0) {
                *sum = simd.add(simd.load(before), *sum);
            }
        }
        if self.is_last {
            self.epilogue.tile(simd, (row, self.panel), sums);
        } else {
            for (sum, place) in sums.iter().zip(partial.as_chunks_mut().0) {
                simd.store(*sum, place);
            }
        }
    }
}

/// `M` rows times one panel: each lane is one chain of multiply-adds in ascending order.
///
/// `rows` is the first number of the first row, and the distance between rows; `b` holds sixteen
/// numbers per term.
#[inline(always)]
pub(crate) fn chain<S: Simd, const M: usize>(
    simd: S,
    (rows, stride): (&[f32], usize),
    b: &[f32],
) -> [S::V; M] {
    let (terms, _) = b.as_chunks::<LANES>();
    assert!(rows.len() >= (M - 1) * stride + terms.len(), "rows shorter than the panel is deep");
    let mut sums = [simd.splat(0.0); M];
    for (k, term) in terms.iter().enumerate() {
        let term = simd.load(term);
        for (row, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `row * stride + k` is at most `(M - 1) * stride + terms.len() - 1`.
            let factor = unsafe { *rows.get_unchecked(row * stride + k) };
            *sum = simd.fma(simd.splat(factor), term, *sum);
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
        let capped = sums.map(|sum| cap_lanes(simd, sum, self.cap));
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
    match bias {
        None => sums,
        Some(bias) => {
            let bias = load(simd, &bias[panel * LANES..]);
            sums.map(|sum| simd.add(sum, bias))
        }
    }
}
