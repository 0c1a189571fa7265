//! How far the parameters of two models are apart.

use crate::{
    checkpoint::{Checkpoint, Tensor, check_finite},
    error::{Error, Stop, judge},
    inspection::{no_limits, open},
    kernel::panels::widen,
};
use protocol::Reason;
use std::path::Path;

/// Numbers of either model that are read at a time.
const BLOCK: usize = 1 << 18;

/// How far a second model's parameters are from a first one's.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// Norm of the difference over that of the first model; infinite if that is all zeros.
    pub relative: f64,
    /// The same of each tensor, in order of their names.
    pub tensors: Vec<(String, f64)>,
}

/// Sums of squares: of the differences, and of the first model's numbers.
#[derive(Clone, Copy, Default)]
struct Squares {
    difference: f64,
    first: f64,
}

impl Squares {
    fn relative(self) -> f64 {
        if self.difference == 0.0 { 0.0 } else { (self.difference / self.first).sqrt() }
    }
}

/// Compares the parameters of the models in two folders, whichever types their files hold.
///
/// Reads both once and keeps none of them. A head that repeats the table it is tied to is passed
/// over; models whose tensors have not the same names and shapes have no distance, `None`. A
/// reason is that of the model which is refused, the first one's if both are.
pub fn delta(first: &Path, second: &Path) -> Result<Result<Option<Delta>, Reason>, Error> {
    judge(try_delta(first, second))
}

fn try_delta(first: &Path, second: &Path) -> Result<Option<Delta>, Stop> {
    let limits = no_limits();
    let (first, architecture) = open(first, (&limits).into())?;
    let (second, other) = open(second, (&limits).into())?;
    let mut parameters = architecture.parameters();
    let mut others = other.parameters();
    parameters.sort_by_key(|parameter| parameter.name);
    others.sort_by_key(|parameter| parameter.name);
    if parameters != others {
        return Ok(None);
    }
    let mut sum = Squares::default();
    let mut tensors = Vec::with_capacity(parameters.len());
    for parameter in parameters {
        let name = parameter.name;
        let (Some(a), Some(b)) = (first.tensors.get(name), second.tensors.get(name)) else {
            // A checkpoint that was opened has them all.
            return Ok(None);
        };
        let squares = compare(name, (&first, a), (&second, b))?;
        tensors.push((name.to_owned(), squares.relative()));
        sum.difference += squares.difference;
        sum.first += squares.first;
    }
    Ok(Some(Delta { relative: sum.relative(), tensors }))
}

fn compare(
    name: &str,
    first: (&Checkpoint, &Tensor),
    second: (&Checkpoint, &Tensor),
) -> Result<Squares, Stop> {
    let n_elements = first.1.n_bytes / first.1.dtype.n_bytes();
    let mut squares = Squares::default();
    let (mut bytes, mut numbers) = (Vec::new(), [Vec::new(), Vec::new()]);
    let mut at = 0;
    while at < n_elements {
        let n = usize::try_from(n_elements - at).unwrap_or(BLOCK).min(BLOCK);
        for ((checkpoint, tensor), numbers) in [first, second].into_iter().zip(&mut numbers) {
            let n_bytes = tensor.dtype.n_bytes();
            bytes.resize(n * n_bytes as usize, 0);
            checkpoint.read(tensor, at * n_bytes, &mut bytes)?;
            check_finite(name, tensor.dtype, at * n_bytes, &bytes)?;
            numbers.resize(n, 0.0);
            widen(&bytes, tensor.dtype, numbers.iter_mut());
        }
        let [a, b] = &numbers;
        for (a, b) in a.iter().zip(b) {
            let (a, difference) = (f64::from(*a), f64::from(*a) - f64::from(*b));
            squares.difference += difference * difference;
            squares.first += a * a;
        }
        at += n as u64;
    }
    Ok(squares)
}
