//! How large the numbers of each tensor are, from one pass over its bytes.

use crate::{checkpoint::Dtype, kernel::panels::widen};
use std::cmp::Ordering;

/// Numbers that are widened at a time.
const BLOCK: usize = 4096;

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
    /// Greatest root mean square of a row over the median of all rows; of a vector, the greatest
    /// absolute value over the root mean square.
    pub row_ratio: f64,
    /// The same of columns; 1 for a vector.
    pub column_ratio: f64,
    /// Root mean square after the gains of the norm before it, where there is one: what the exact
    /// rescalings of gains and matrix do not change.
    pub rms_with_gains: Option<f64>,
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
    n: usize,
    n_subnormal: u64,
    greatest: f32,
    /// Sum of squares per row, and per column.
    rows: Vec<f64>,
    columns: Vec<f64>,
}

impl Sums {
    /// Of a tensor whose rows have `n_columns` numbers each.
    pub(super) fn new(dtype: Dtype, n_columns: usize, offset: f32) -> Self {
        let columns = vec![0.0; n_columns];
        let (n, n_subnormal, greatest) = (0, 0, 0.0);
        Self { dtype, n_columns, offset, n, n_subnormal, greatest, rows: Vec::new(), columns }
    }

    /// Takes the next bytes of the tensor, whole numbers.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let mut numbers = [0.0; BLOCK];
        let n_bytes = self.dtype.n_bytes() as usize;
        for bytes in bytes.chunks(BLOCK * n_bytes) {
            let mut rest = &mut numbers[..bytes.len() / n_bytes];
            widen(bytes, self.dtype, rest.iter_mut());
            self.n_subnormal += self.count_subnormal(bytes);
            while !rest.is_empty() {
                let column = self.n % self.n_columns;
                if column == 0 {
                    self.rows.push(0.0);
                }
                let n = rest.len().min(self.n_columns - column);
                let part = rest.split_off_mut(..n).unwrap_or_default();
                self.take_part(column, part);
            }
        }
    }

    /// Numbers of one row from a column on.
    fn take_part(&mut self, column: usize, part: &mut [f32]) {
        let (mut sum, mut greatest) = (0.0, self.greatest);
        for (number, column) in part.iter().zip(&mut self.columns[column..]) {
            let number = number + self.offset;
            let square = f64::from(number) * f64::from(number);
            *column += square;
            sum += square;
            greatest = greatest.max(number.abs());
        }
        self.greatest = greatest;
        if let Some(row) = self.rows.last_mut() {
            *row += sum;
        }
        self.n += part.len();
    }

    /// Numbers without exponent that are not zero.
    fn count_subnormal(&self, bytes: &[u8]) -> u64 {
        let narrow = |exponent: u16, rest: u16| {
            let pairs = bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair));
            pairs.filter(|bits| bits & exponent == 0 && bits & rest != 0).count()
        };
        let n = match self.dtype {
            Dtype::F32 => {
                let numbers = bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
                numbers.filter(|n| n & 0x7f80_0000 == 0 && n & 0x007f_ffff != 0).count()
            }
            Dtype::F16 => narrow(0x7c00, 0x03ff),
            Dtype::Bf16 => narrow(0x7f80, 0x007f),
        };
        n as u64
    }

    /// What the tensor is like, and the sums of squares over its inputs.
    pub(super) fn finish(
        self,
        name: &str,
        shape: &[u64],
        (role, inputs_are_rows): (Role, bool),
    ) -> (TensorHealth, Vec<f64>) {
        let total: f64 = self.rows.iter().sum();
        let rms = (total / self.n.max(1) as f64).sqrt();
        let is_vector = self.rows.len() <= 1;
        let (row_ratio, column_ratio) = if is_vector {
            (ratio(f64::from(self.greatest), rms), 1.0)
        } else {
            (ratio_to_median(&self.rows), ratio_to_median(&self.columns))
        };
        let health = TensorHealth {
            name: name.to_owned(),
            dtype: self.dtype,
            shape: shape.to_vec(),
            role,
            n_subnormal: self.n_subnormal,
            rms,
            greatest: f64::from(self.greatest),
            row_ratio,
            column_ratio,
            rms_with_gains: None,
        };
        (health, if inputs_are_rows { self.rows } else { self.columns })
    }
}

/// The root of the greatest sum of squares over the median.
fn ratio_to_median(squares: &[f64]) -> f64 {
    let mut sorted = squares.to_vec();
    let middle = sorted.len() / 2;
    let order = |a: &f64, b: &f64| a.partial_cmp(b).unwrap_or(Ordering::Equal);
    let (_, median, _) = sorted.select_nth_unstable_by(middle, order);
    let median = *median;
    let greatest = squares.iter().copied().fold(0.0, f64::max);
    ratio(greatest.sqrt(), median.sqrt())
}

/// One where both are zero.
fn ratio(greatest: f64, usual: f64) -> f64 {
    if greatest == 0.0 { 1.0 } else { greatest / usual }
}
