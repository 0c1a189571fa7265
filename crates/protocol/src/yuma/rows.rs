//! Sparse matrices by rows, with the few operations that an epoch needs.

use super::fixed::{self, Fixed};

/// One row: column and value, each column at most once.
pub(crate) type Row = Vec<(u16, Fixed)>;

/// Whole numbers from stored `u16` cells.
pub(crate) fn whole(cells: &[Vec<(u16, u16)>]) -> Vec<Row> {
    let row = |row: &Vec<(u16, u16)>| row.iter().map(|(j, v)| (*j, Fixed::whole(*v))).collect();
    cells.iter().map(row).collect()
}

/// Keeps the cells for which `keep(row, column)` holds.
pub(crate) fn retain(rows: &mut [Row], keep: impl Fn(usize, usize) -> bool) {
    for (i, row) in rows.iter_mut().enumerate() {
        row.retain(|(j, _)| keep(i, usize::from(*j)));
    }
}

/// Applies `change(row, column, value)` to every cell.
pub(crate) fn update(rows: &mut [Row], change: impl Fn(usize, usize, Fixed) -> Fixed) {
    for (i, row) in rows.iter_mut().enumerate() {
        for (j, value) in row {
            *value = change(i, usize::from(*j), *value);
        }
    }
}

/// Makes each row sum to one; a row of zeros stays.
pub(crate) fn normalize_rows(rows: &mut [Row]) {
    for row in rows {
        let total = fixed::sum(row.iter().map(|(_, value)| value));
        if total > Fixed::ZERO {
            row.iter_mut().for_each(|(_, value)| *value = value.div(total));
        }
    }
}

/// Divides each column by what `fold` makes of it; a column that folds to zero stays.
fn divide_columns(rows: &mut [Row], fold: impl Fn(Fixed, Fixed) -> Fixed) {
    let mut totals = vec![Fixed::ZERO; rows.len()];
    for (j, value) in rows.iter().flatten() {
        let total = &mut totals[usize::from(*j)];
        *total = fold(*total, *value);
    }
    update(rows, |_, j, value| match totals[j] {
        Fixed::ZERO => value,
        total => value.div(total),
    });
}

/// Makes each column sum to one; a column of zeros stays.
pub(crate) fn normalize_columns(rows: &mut [Row]) {
    divide_columns(rows, Fixed::plus);
}

/// Makes the largest of each column one; a column of zeros stays.
pub(crate) fn upscale_columns(rows: &mut [Row]) {
    divide_columns(rows, Ord::max);
}

/// Sum of each row.
pub(crate) fn sums(rows: &[Row]) -> Vec<Fixed> {
    rows.iter().map(|row| fixed::sum(row.iter().map(|(_, value)| value))).collect()
}

/// For each column, the sum over rows of value times the row's entry of `vector`.
pub(crate) fn by_column(rows: &[Row], vector: &[Fixed]) -> Vec<Fixed> {
    let mut result = vec![Fixed::ZERO; rows.len()];
    for (row, factor) in rows.iter().zip(vector) {
        for (j, value) in row {
            let sum = &mut result[usize::from(*j)];
            *sum = sum.plus(factor.times(*value));
        }
    }
    result
}

/// For each row, the sum over columns of value times the column's entry of `vector`.
pub(crate) fn by_row(rows: &[Row], vector: &[Fixed]) -> Vec<Fixed> {
    let dot = |row: &Row| {
        row.iter()
            .fold(Fixed::ZERO, |sum, (j, value)| sum.plus(vector[usize::from(*j)].times(*value)))
    };
    rows.iter().map(dot).collect()
}

/// Cuts every value to its column's `bound`; drops what a bound of zero cuts.
pub(crate) fn clip(rows: &[Row], bound: &[Fixed]) -> Vec<Row> {
    let clip_cell = |(j, value): &(u16, Fixed)| {
        let bound = bound[usize::from(*j)];
        if bound >= *value {
            Some((*j, *value))
        } else {
            (bound > Fixed::ZERO).then_some((*j, bound))
        }
    };
    rows.iter().map(|row| row.iter().filter_map(clip_cell).collect()).collect()
}

/// A row as a dense vector of `n` values; missing cells are zero.
pub(crate) fn dense(row: &Row, n: usize) -> Vec<Fixed> {
    let mut dense = vec![Fixed::ZERO; n];
    for (j, value) in row {
        dense[usize::from(*j)] = *value;
    }
    dense
}

/// The positive values of a dense vector, as a row.
pub(crate) fn sparse(dense: impl IntoIterator<Item = Fixed>) -> Row {
    (0..).zip(dense).filter(|(_, value)| *value > Fixed::ZERO).collect()
}
