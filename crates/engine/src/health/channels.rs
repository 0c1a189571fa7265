//! What can be scaled against each other without a change of what a model computes.
//!
//! Between two parts of a model run channels: what a gain multiplies is read by a column of the
//! matrix behind it, what a row of the ups writes is read by a column of the downs, and what a row
//! of the values writes by columns of attention's output. Whoever scales one side of a channel up
//! and the other down changes no loss, but all gradients. So what counts is the product of both
//! sides, which such rescalings do not change, and how far they have been scaled apart.

use super::tensors::{Squares, TensorHealth, median, ratio};
use crate::{
    arch::{Heads, Linear},
    kernel::math,
};
use std::collections::BTreeMap;

/// What writes the inputs of a matrix.
pub(super) enum Before<'a> {
    /// The gains of this name, one for each.
    Gains(&'a str),
    /// Outputs of matrices, one after the other in the order in which they are used, from a number
    /// on.
    Outputs(&'a [Linear], usize),
    /// The same for values, each of which is read once by every head that shares it.
    Values(&'a [Linear], Heads),
}

impl<'a> Before<'a> {
    fn names(&self) -> Vec<&'a str> {
        match self {
            Self::Gains(name) => vec![name],
            Self::Outputs(matrices, _) | Self::Values(matrices, _) => {
                matrices.iter().map(|matrix| matrix.weight.as_str()).collect()
            }
        }
    }

    /// Sums of squares of what writes each of `n` inputs; nothing while some are unknown.
    fn squares(&self, known: &BTreeMap<&str, Squares>, n: usize) -> Option<Vec<f64>> {
        match self {
            Self::Gains(name) => known.get(name).map(|gains| gains.inputs.clone()),
            Self::Outputs(matrices, first) => {
                let used = used(matrices, known)?;
                used.get(*first..)?.get(..n).map(<[f64]>::to_vec)
            }
            Self::Values(matrices, heads) => {
                let Heads { n_heads, n_kv_heads, head_size } = *heads;
                let (used, first) = (used(matrices, known)?, (n_heads + n_kv_heads) * head_size);
                let value = |input: usize| {
                    let head = input / head_size / (n_heads / n_kv_heads);
                    used.get(first + head * head_size + input % head_size).copied()
                };
                (0..n).map(value).collect()
            }
        }
    }
}

/// Sums of squares of all outputs of some matrices, in the order in which they are used.
fn used(matrices: &[Linear], known: &BTreeMap<&str, Squares>) -> Option<Vec<f64>> {
    let mut used = vec![0.0; matrices.iter().map(|matrix| matrix.n_out).sum()];
    let mut start = 0;
    for matrix in matrices {
        let outputs = &known.get(matrix.weight.as_str())?.outputs;
        for (number, squares) in outputs.iter().enumerate() {
            *used.get_mut(start + matrix.order.place(number))? = *squares;
        }
        start += matrix.n_out;
    }
    Some(used)
}

/// Matrices whose inputs are compared with what writes them as soon as both have been read.
///
/// Sums are kept no longer than somebody waits for them: a layer or two at a time.
pub(super) struct Channels<'a> {
    before: BTreeMap<&'a str, Before<'a>>,
    known: BTreeMap<&'a str, Squares>,
    /// Matrices that wait for the sums of a tensor.
    waiting: BTreeMap<&'a str, Vec<&'a str>>,
}

/// What was found between a matrix and what writes its inputs.
pub(super) struct Found<'a> {
    /// The matrix.
    pub(super) name: &'a str,
    /// Sum of squares of the matrix after the gains before it, if those are what writes.
    squares_with_gains: Option<f64>,
    ratio: f64,
    decades: f64,
}

impl Found<'_> {
    /// Writes down what was found about a tensor.
    pub(super) fn note(&self, tensor: &mut TensorHealth) {
        let n: u64 = tensor.shape.iter().product();
        let rms = |squares: f64| (squares / n.max(1) as f64).sqrt();
        tensor.rms_with_gains = self.squares_with_gains.map(rms);
        tensor.channel_ratio = Some(self.ratio);
        tensor.channel_decades = Some(self.decades);
    }
}

impl<'a> Channels<'a> {
    /// Of matrices and what writes their inputs.
    pub(super) fn new(before: BTreeMap<&'a str, Before<'a>>) -> Self {
        let mut waiting: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (matrix, before) in &before {
            for name in before.names().into_iter().chain([*matrix]) {
                waiting.entry(name).or_default().push(*matrix);
            }
        }
        Self { before, known: BTreeMap::new(), waiting }
    }

    /// Takes the sums of one tensor and compares what can be compared now.
    pub(super) fn take(&mut self, name: &str, squares: Squares) -> Vec<Found<'a>> {
        let Some((&name, waiting)) = self.waiting.get_key_value(name) else { return Vec::new() };
        self.known.insert(name, squares);
        let found: Vec<_> = waiting.iter().filter_map(|matrix| self.compare(matrix)).collect();
        for Found { name: matrix, .. } in &found {
            let names = self.before.get(matrix).map(Before::names).unwrap_or_default();
            for name in names.into_iter().chain([*matrix]) {
                let waiting = self.waiting.entry(name).or_default();
                waiting.retain(|waiting| waiting != matrix);
                if waiting.is_empty() {
                    self.known.remove(name);
                }
            }
        }
        found
    }

    fn compare(&self, matrix: &'a str) -> Option<Found<'a>> {
        let before = self.before.get(matrix)?;
        let read = &self.known.get(matrix)?.inputs;
        let written = before.squares(&self.known, read.len())?;
        let products: Vec<f64> = written.iter().zip(read).map(|(a, b)| a * b).collect();
        let is_gains = matches!(before, Before::Gains(_));
        Some(Found {
            name: matrix,
            squares_with_gains: is_gains.then(|| products.iter().sum()),
            ratio: peak(&products),
            decades: apart(&written, read),
        })
    }
}

/// The strongest of some channels over the median of those that are not dead.
fn peak(products: &[f64]) -> f64 {
    let greatest = products.iter().copied().fold(0.0, f64::max);
    ratio(greatest.sqrt(), median_alive(products).sqrt())
}

/// A dead channel, which writes or reads nothing but zeros, must not hide what is done to others.
fn median_alive(squares: &[f64]) -> f64 {
    median(squares.iter().copied().filter(|squares| *squares > 0.0).collect())
}

/// Decades that the sides of a channel are scaled against each other, of the channel where it is
/// most: both must be away from their median, to opposite sides.
///
/// A gain that happens to be small with a usual column behind it is a weak channel, no rescaling.
fn apart(written: &[f64], read: &[f64]) -> f64 {
    let medians = (median_alive(written), median_alive(read));
    let decades = |(a, b): (&f64, &f64)| {
        if *a == 0.0 || *b == 0.0 {
            return 0.0;
        }
        // Of squares: half a decade each, and both sides count.
        let (a, b) = (math::log10(a / medians.0), math::log10(b / medians.1));
        if a * b < 0.0 { a.abs().min(b.abs()).copysign(a) } else { 0.0 }
    };
    let all = written.iter().zip(read).map(decades);
    all.fold(0.0, |most: f64, decades| if decades.abs() > most.abs() { decades } else { most })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Order;

    fn squares(inputs: &[f64], outputs: &[f64]) -> Squares {
        Squares { inputs: inputs.to_vec(), outputs: outputs.to_vec() }
    }

    #[test]
    fn a_rescaling_is_seen_and_a_weak_channel_is_none() {
        // Squares: a factor of 30 up and down is nearly three decades of the quotient.
        let decades = apart(&[1.0, 900.0, 1.0], &[1.0, 1.0 / 900.0, 1.0]);
        assert!((decades - 900_f64.log10()).abs() < 1e-12, "{decades}");
        assert!(apart(&[1.0, 1.0 / 900.0, 1.0], &[1.0, 900.0, 1.0]) < -2.9);
        assert_eq!(apart(&[1.0, 1e-8, 1.0], &[1.0, 1.0, 1.0]), 0.0);
        assert_eq!(apart(&[1.0, 1e-8, 1.0], &[1.0, 0.5, 1.0]), 0.0);
        assert_eq!(apart(&[0.0, 0.0], &[1.0, 1.0]), 0.0);
    }

    #[test]
    fn attack_a_strong_channel_is_found_on_whichever_sides_its_strength_stands() {
        let usual = vec![1.0; 9];
        for (a, b) in [(900.0, 1.0), (30.0, 30.0), (1.0, 900.0), (1e6, 9e-4)] {
            let (mut written, mut read) = (usual.clone(), usual.clone());
            (written[4], read[4]) = (a, b);
            let products: Vec<f64> = written.iter().zip(&read).map(|(a, b)| a * b).collect();
            assert!((peak(&products) - 30.0).abs() < 1e-9, "{a} x {b}");
        }
        // Most neurons dead: the median is of the others.
        assert!((peak(&[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 900.0]) - 30.0).abs() < 1e-9);
    }

    #[test]
    fn values_are_found_among_fused_inputs_and_shared_by_heads() {
        let heads = Heads { n_heads: 2, n_kv_heads: 1, head_size: 1 };
        let order = Order::GroupByGroup(heads);
        let matrices = [Linear { order, ..Linear::new("in", (1, 4), false) }];
        let before = BTreeMap::from([("out.weight", Before::Values(&matrices, heads))]);
        let mut channels = Channels::new(before);
        assert!(channels.take("out.weight", squares(&[1.0, 4.0], &[1.0])).is_empty());
        assert!(channels.take("other", squares(&[1.0], &[1.0])).is_empty());
        // Queries, key, value: the value of 9 is read by both heads.
        let found = channels.take("in.weight", squares(&[1.0], &[1.0, 1.0, 1.0, 9.0]));
        let [found] = &found[..] else { panic!("{} found", found.len()) };
        assert_eq!((found.name, found.squares_with_gains), ("out.weight", None));
        assert_eq!(found.ratio, 1.0, "36 over the upper median of 9 and 36");
        assert!(channels.known.is_empty(), "nobody waits for sums any more");
    }
}
