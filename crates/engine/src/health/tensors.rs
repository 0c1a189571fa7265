//! How large the numbers of each tensor are, from one pass over its bytes.

use crate::{checkpoint::Dtype, kernel::math};
use half::{f16, slice::HalfFloatSliceExt as _};

/// Numbers that are widened at a time.
const BLOCK: usize = 4096;
/// Sums that are kept side by side, so that they run in vectors; the order of additions is fixed.
const LANES: usize = 8;
/// All bits of the exponent of a single; subnormal numbers have none.
const EXPONENT: u32 = 0x7f80_0000;
/// Stands for zero where something is divided by it or its logarithm is taken.
const SMALLEST: f64 = f32::MIN_POSITIVE as f64;

/// What the numbers of a tensor are like.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorHealth {
    /// Name in the checkpoint.
    pub name: String,
    /// How it is stored.
    pub dtype: Dtype,
    /// Lengths of its dimensions.
    pub shape: Vec<u64>,
    /// What the tensor is for.
    pub role: Role,
    /// Numbers that are not zero but below the smallest normal number of their type.
    pub n_subnormal: u64,
    /// Root of the mean square.
    pub rms: f64,
    /// Greatest absolute value.
    pub greatest: f64,
    /// Greatest absolute value of a row over the root mean square of the same row, the rows being
    /// what stands for a token or makes an output; a vector is one row.
    pub peak: f64,
    /// Greatest root mean square of a row over the median of all rows; of a vector, the greatest
    /// absolute value over the root mean square.
    pub row_ratio: f64,
    /// The same of columns; 1 for a vector.
    pub column_ratio: f64,
    /// Root mean square after the gains of the norm before it, where there is one: what the exact
    /// rescalings of gains and matrix do not change.
    pub rms_with_gains: Option<f64>,
    /// Strength of the strongest input over that of the median one, where something before the
    /// matrix can be scaled against it: gains, what writes a neuron, or values.
    ///
    /// The strength of an input is its size in the matrix times the size of what writes it.
    pub channel_ratio: Option<f64>,
    /// Decades that the two sides of an input are scaled against each other, compared with the
    /// other inputs, at most; negative if what writes it is the smaller side.
    pub channel_decades: Option<f64>,
}

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Rows of tokens or positions.
    Table,
    /// A product, the head's included.
    Matrix,
    /// Multiplied with what a norm gives.
    Gain,
    /// Added to what a product or a norm gives.
    Bias,
    /// Published, but without use.
    Unused,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Table => "table",
            Self::Matrix => "matrix",
            Self::Gain => "gain",
            Self::Bias => "bias",
            Self::Unused => "unused",
        })
    }
}

/// Sums over the numbers of one tensor.
pub(super) struct Sums {
    dtype: Dtype,
    n_columns: usize,
    /// Added to every number: gains may be published less one.
    offset: f32,
    /// Whether rows are inputs, so that outputs are columns.
    inputs_are_rows: bool,
    n: usize,
    n_subnormal: u64,
    rows: Vec<Line>,
    /// Sum of squares per column.
    columns: Vec<f64>,
    /// Greatest absolute value per column, where outputs are columns.
    columns_greatest: Vec<f32>,
}

/// The sum of squares of a row or column, and its greatest absolute value.
#[derive(Clone, Copy, Default)]
struct Line {
    squares: f64,
    greatest: f32,
}

/// Sums of squares over each input and over each output of a tensor.
pub(super) struct Squares {
    pub(super) inputs: Vec<f64>,
    pub(super) outputs: Vec<f64>,
}

impl Sums {
    /// Of a tensor whose rows have `n_columns` numbers each.
    pub(super) fn new(dtype: Dtype, n_columns: usize, offset: f32, inputs_are_rows: bool) -> Self {
        Self {
            dtype,
            n_columns,
            offset,
            inputs_are_rows,
            n: 0,
            n_subnormal: 0,
            rows: Vec::new(),
            columns: vec![0.0; n_columns],
            columns_greatest: vec![0.0; if inputs_are_rows { n_columns } else { 0 }],
        }
    }

    /// Takes the next bytes of the tensor, whole numbers.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let mut numbers = [0.0; BLOCK];
        let n_bytes = self.dtype.n_bytes() as usize;
        for bytes in bytes.chunks(BLOCK * n_bytes) {
            let numbers = &mut numbers[..bytes.len() / n_bytes];
            self.widen(bytes, numbers);
            let mut rest = &numbers[..];
            while !rest.is_empty() {
                let column = self.n % self.n_columns;
                if column == 0 {
                    self.rows.push(Line::default());
                }
                let (part, others) = rest.split_at(rest.len().min(self.n_columns - column));
                self.take_part(column, part);
                rest = others;
            }
        }
    }

    /// Widens numbers and counts those that are subnormal.
    ///
    /// What is subnormal as a single becomes zero, which it is in any sum of squares: there are
    /// processors on which arithmetic with it takes many times longer.
    fn widen(&mut self, bytes: &[u8], numbers: &mut [f32]) {
        if self.dtype == Dtype::F16 {
            let mut halves = [f16::ZERO; BLOCK];
            let halves = &mut halves[..numbers.len()];
            let pairs = bytes.as_chunks().0;
            halves.iter_mut().zip(pairs).for_each(|(half, b)| *half = f16::from_le_bytes(*b));
            let n = halves.iter().fold(0_u16, |n, half| {
                let bits = half.to_bits();
                n.wrapping_add(u16::from(bits & 0x7c00 == 0) & u16::from(bits & 0x03ff != 0))
            });
            self.n_subnormal += u64::from(n);
            halves.convert_to_f32_slice(numbers);
            return;
        }
        if self.dtype == Dtype::Bf16 {
            let pairs = bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair));
            let upper = |pair| f32::from_bits(u32::from(pair) << 16);
            numbers.iter_mut().zip(pairs).for_each(|(number, pair)| *number = upper(pair));
        } else {
            let quads = bytes.as_chunks().0;
            numbers.iter_mut().zip(quads).for_each(|(number, b)| *number = f32::from_le_bytes(*b));
        }
        // At most a block of them; additions that are checked do not run in vectors.
        let mut n = 0_u32;
        for number in numbers {
            let bits = number.to_bits();
            let is_small = bits & EXPONENT == 0;
            n = n.wrapping_add(u32::from(is_small) & u32::from(bits & !(1 << 31) != 0));
            *number = f32::from_bits(if is_small { 0 } else { bits });
        }
        self.n_subnormal += u64::from(n);
    }

    /// Numbers of one row from a column on.
    fn take_part(&mut self, column: usize, part: &[f32]) {
        let (mut sums, mut greatest) = ([0.0; LANES], [0.0; LANES]);
        let (parts, rest) = part.as_chunks::<LANES>();
        let (columns, rest_columns) = self.columns[column..][..part.len()].as_chunks_mut::<LANES>();
        let mut last = [0.0; LANES];
        for (numbers, columns) in parts.iter().zip(columns) {
            add(numbers, self.offset, columns, (&mut sums, &mut greatest));
        }
        if !rest.is_empty() {
            // Made up with what gives zero.
            let mut numbers = [-self.offset; LANES];
            numbers[..rest.len()].copy_from_slice(rest);
            add(&numbers, self.offset, &mut last, (&mut sums, &mut greatest));
            rest_columns.iter_mut().zip(last).for_each(|(column, square)| *column += square);
        }
        if self.inputs_are_rows {
            for (number, greatest) in part.iter().zip(&mut self.columns_greatest[column..]) {
                *greatest = greatest.max((number + self.offset).abs());
            }
        }
        if let Some(row) = self.rows.last_mut() {
            row.squares += sums.iter().sum::<f64>();
            row.greatest = greatest.into_iter().fold(row.greatest, f32::max);
        }
        self.n += part.len();
    }

    /// What the tensor is like, and the sums that its neighbours are compared with.
    pub(super) fn finish(self, name: &str, shape: &[u64], role: Role) -> (TensorHealth, Squares) {
        let rows: Vec<f64> = self.rows.iter().map(|row| row.squares).collect();
        let rms = (rows.iter().sum::<f64>() / self.n.max(1) as f64).sqrt();
        let greatest = self.rows.iter().map(|row| f64::from(row.greatest)).fold(0.0, f64::max);
        let is_vector = rows.len() <= 1;
        let (row_ratio, column_ratio) = if is_vector {
            (ratio(greatest, rms), 1.0)
        } else {
            (ratio_to_median(&rows), ratio_to_median(&self.columns))
        };
        let peak = |(squares, greatest): (f64, f32), n: usize| {
            ratio(f64::from(greatest), (squares / n.max(1) as f64).sqrt())
        };
        let peak = if self.inputs_are_rows {
            let outputs = self.columns.iter().copied().zip(self.columns_greatest);
            outputs.map(|output| peak(output, rows.len())).fold(0.0, f64::max)
        } else {
            let outputs = self.rows.iter().map(|row| (row.squares, row.greatest));
            outputs.map(|output| peak(output, self.n_columns)).fold(0.0, f64::max)
        };
        let health = TensorHealth {
            name: name.to_owned(),
            dtype: self.dtype,
            shape: shape.to_vec(),
            role,
            n_subnormal: self.n_subnormal,
            rms,
            greatest,
            peak,
            row_ratio,
            column_ratio,
            rms_with_gains: None,
            channel_ratio: None,
            channel_decades: None,
        };
        let (inputs, outputs) =
            if self.inputs_are_rows { (rows, self.columns) } else { (self.columns, rows) };
        (health, Squares { inputs, outputs })
    }
}

/// Adds squares of numbers to those of their columns and to sums side by side.
#[inline(always)]
fn add(
    numbers: &[f32; LANES],
    offset: f32,
    columns: &mut [f64; LANES],
    (sums, greatest): (&mut [f64; LANES], &mut [f32; LANES]),
) {
    for lane in 0..LANES {
        let number = numbers[lane] + offset;
        let square = f64::from(number) * f64::from(number);
        columns[lane] += square;
        sums[lane] += square;
        let magnitude = number.abs();
        greatest[lane] = if magnitude > greatest[lane] { magnitude } else { greatest[lane] };
    }
}

/// The root of the greatest sum of squares over the median.
fn ratio_to_median(squares: &[f64]) -> f64 {
    let greatest = squares.iter().copied().fold(0.0, f64::max);
    ratio(greatest.sqrt(), median(squares.to_vec()).sqrt())
}

/// The middle one of some numbers, the upper one of two; zero of none.
pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    let middle = numbers.len() / 2;
    if numbers.is_empty() {
        return 0.0;
    }
    *numbers.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// One where both are zero; finite, so that it can be written down.
pub(super) fn ratio(greatest: f64, usual: f64) -> f64 {
    if greatest == 0.0 { 1.0 } else { greatest / usual.max(SMALLEST) }
}

/// Powers of ten; finite, so that they can be written down.
pub(super) fn decades(size: f64) -> f64 {
    math::log10(size.max(SMALLEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    fn health(dtype: Dtype, bytes: &[u8], shape: [u64; 2], inputs_are_rows: bool) -> TensorHealth {
        let mut sums = Sums::new(dtype, shape[1] as usize, 0.0, inputs_are_rows);
        sums.take(bytes);
        sums.finish("t", &shape, Role::Matrix).0
    }

    fn singles(numbers: &[f32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    #[test]
    fn sizes_are_those_computed_by_hand() {
        let found = health(Dtype::F32, &singles(&[3.0, -4.0, 0.0, 1.0, 1.0, -1.0]), [2, 3], false);
        assert_eq!(found.rms, (28.0_f64 / 6.0).sqrt());
        assert_eq!((found.greatest, found.n_subnormal), (4.0, 0));
        // The first row: 4 over the root of 25 / 3.
        assert!((found.peak - 4.0 / (25.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        // Sums of squares 25 and 3 of rows, 10, 17 and 1 of columns.
        assert_eq!(found.row_ratio, 1.0);
        assert!((found.column_ratio - (1.7_f64).sqrt()).abs() < 1e-12);
        let turned = health(Dtype::F32, &singles(&[3.0, -4.0, 0.0, 1.0, 1.0, -1.0]), [2, 3], true);
        // The third column: 1 over the root of 1 / 2.
        assert!((turned.peak - 2.0_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn sums_do_not_depend_on_how_the_bytes_are_read() {
        let numbers: Vec<f32> = (0..30_000).map(|i| (i * 7919 % 1000) as f32 - 500.0).collect();
        let bytes = singles(&numbers);
        let whole = health(Dtype::F32, &bytes, [3, 10_000], false);
        let mut sums = Sums::new(Dtype::F32, 10_000, 0.0, false);
        bytes.chunks(BLOCK * 4).for_each(|bytes| sums.take(bytes));
        assert_eq!(sums.finish("t", &[3, 10_000], Role::Matrix).0, whole);
    }

    #[test]
    fn subnormal_numbers_are_counted_in_every_type() {
        let numbers = [1.0, 0.0, -0.0, f32::MIN_POSITIVE, f32::MIN_POSITIVE / 2.0, -1e-45];
        let found = health(Dtype::F32, &singles(&numbers), [1, 6], false);
        assert_eq!((found.n_subnormal, found.greatest), (2, 1.0));
        let brains = numbers.map(|number| bf16::from_f32(number).to_le_bytes()).concat();
        assert_eq!(health(Dtype::Bf16, &brains, [1, 6], false).n_subnormal, 1);
        let halves = [1.0, 0.0, 6.2e-5, 5e-5, -6e-8, 0.5].map(|n| f16::from_f32(n).to_le_bytes());
        let found = health(Dtype::F16, &halves.concat(), [1, 6], false);
        assert_eq!((found.n_subnormal, found.greatest), (2, 1.0));
    }

    #[test]
    fn nothing_but_zeros_has_figures_that_can_be_written_down() {
        let found = health(Dtype::F32, &singles(&[0.0; 6]), [2, 3], false);
        let figures = [found.rms, found.peak, found.row_ratio, found.column_ratio];
        assert_eq!(figures, [0.0, 1.0, 1.0, 1.0]);
        let found = health(Dtype::F32, &singles(&[0.0, 0.0, 3e38, 0.0, 0.0, 0.0]), [3, 2], false);
        assert!([found.row_ratio, found.column_ratio].iter().all(|ratio| ratio.is_finite()));
    }
}
