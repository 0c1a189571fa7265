//! Differences of two models by the length of documents.

use crate::{
    figures::{Estimate, decimals, percent, values, with_interval},
    table::{Cell, Table, column},
};
use protocol::{Loss, record::DocumentDigest};

/// Classes of lengths: each has about as many documents as the others.
const CLASSES: usize = 5;

/// Losses of two models on one document, and how long it is.
#[derive(Clone, Copy)]
struct Pair {
    n_bytes: u64,
    /// By how much the second loss is lower.
    gain: f64,
}

/// Differences of two models by the bytes of documents: whether one is better at long texts or at
/// short ones. There are none where losses are not of one document each, or where the record does
/// not tell how long documents are.
pub(super) fn lengths(documents: &[DocumentDigest], (first, second): (&[Loss], &[Loss])) -> Table {
    let columns = vec![
        column("from_bytes", "From", "bytes"),
        column("to_bytes", "To", "bytes"),
        column("documents", "On", "documents"),
        column("difference", "Mean of a − b", "nats/token"),
        column("low", "At least", "nats/token, 95 %"),
        column("high", "At most", "nats/token, 95 %"),
        column("better", "b is better on", "share"),
    ];
    let mut table = Table::new("lengths", "By length of the document", columns);
    table.empty = "its record has no lengths of documents with a loss of their own";
    let gains = values(first).into_iter().zip(values(second)).map(|(a, b)| a - b);
    let pairs = documents.iter().zip(gains);
    let told = pairs.filter(|(document, gain)| document.n_bytes > 0 && gain.is_finite());
    let pairs = told.map(|(document, gain)| Pair { n_bytes: document.n_bytes, gain }).collect();
    table.rows = classes(pairs).iter().filter_map(|class| row(class)).collect();
    table
}

/// Pairs in classes from short to long; documents that are equally long are in the same one.
fn classes(mut pairs: Vec<Pair>) -> Vec<Vec<Pair>> {
    pairs.sort_by_key(|pair| pair.n_bytes);
    let n_each = pairs.len().div_ceil(CLASSES).max(1);
    let mut classes: Vec<Vec<Pair>> = Vec::new();
    for pair in pairs {
        match classes.last_mut() {
            Some(class)
                if class.len() < n_each
                    || class.last().is_some_and(|last| last.n_bytes == pair.n_bytes) =>
            {
                class.push(pair);
            }
            _ => classes.push(vec![pair]),
        }
    }
    classes
}

/// The row of a class.
fn row(class: &[Pair]) -> Option<Vec<Cell>> {
    let (shortest, longest) = (class.first()?, class.last()?);
    let gains: Vec<f64> = class.iter().map(|pair| pair.gain).collect();
    let mean = Estimate::of(&gains);
    // One document tells no interval.
    let interval = mean.filter(|mean| mean.n > 1).map(|mean| mean.interval());
    let (low, high) = interval.unzip();
    let better = gains.iter().filter(|gain| **gain > 0.0).count() as f64 / gains.len() as f64;
    let shown = with_interval(mean.map(|mean| mean.mean), mean.map(|mean| mean.error));
    Some(vec![
        Cell::count(shortest.n_bytes),
        Cell::count(longest.n_bytes),
        Cell::count(class.len() as u64),
        Cell::number(mean.map(|mean| mean.mean), shown),
        Cell::number(low, decimals(low, 4)),
        Cell::number(high, decimals(high, 4)),
        Cell::number(Some(better), percent(better)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(lengths: &[u64]) -> Vec<Vec<u64>> {
        let pair = |n_bytes: &u64| Pair { n_bytes: *n_bytes, gain: 0.5 };
        let classes = classes(lengths.iter().map(pair).collect());
        classes.iter().map(|class| class.iter().map(|pair| pair.n_bytes).collect()).collect()
    }

    #[test]
    fn classes_have_about_as_many_documents_each_and_equal_lengths_are_not_parted() {
        assert_eq!(of(&[]), Vec::<Vec<u64>>::new());
        assert_eq!(of(&[7]), [[7]]);
        assert_eq!(of(&[3, 1, 2, 5, 4]), [[1], [2], [3], [4], [5]]);
        assert_eq!(of(&[9; 20]), [[9; 20]]);
        assert_eq!(of(&[1, 1, 1, 2, 3]), [vec![1, 1, 1], vec![2], vec![3]]);
        let many: Vec<u64> = (0..1_003).map(|n| n * 7_919 % 1_009).collect();
        let classes = of(&many);
        assert_eq!(classes.len(), CLASSES);
        assert_eq!(classes.iter().map(Vec::len).sum::<usize>(), many.len());
        assert!(classes.iter().all(|class| (190..=201).contains(&class.len())));
        assert!(classes.windows(2).all(|two| two[0].last() < two[1].first()));
    }

    #[test]
    fn attack_lengths_of_any_size_are_classes() {
        let row = row(&[Pair { n_bytes: 1, gain: 0.5 }, Pair { n_bytes: u64::MAX, gain: -0.5 }]);
        let row = row.unwrap();
        let values = |at: usize| row[at].value.clone();
        assert_eq!([values(0), values(1), values(2)], [json!(1), json!(u64::MAX), json!(2)]);
        assert_eq!([values(3), values(6)], [json!(0.0), json!(0.5)]);
        assert_eq!(super::row(&[]), None);
    }
}
