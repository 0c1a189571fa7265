//! Products against their definition, and the door that no wrong shape passes.

use super::*;
use crate::tests::{Random, bits, on_threads};
use std::panic::catch_unwind;

/// A random matrix that lies in a longer slice, as it is or transposed.
struct Operand {
    data: Vec<f32>,
    n_rows: usize,
    n_columns: usize,
    stride: usize,
    is_transposed: bool,
}

impl Operand {
    fn new(random: &mut Random, n_rows: usize, n_columns: usize) -> Self {
        let is_transposed = random.size(0, 1) == 1;
        let (n_outer, n_inner) =
            if is_transposed { (n_columns, n_rows) } else { (n_rows, n_columns) };
        let stride = n_inner + random.size(0, 3);
        let data = random.floats(n_outer * stride);
        Self { data, n_rows, n_columns, stride, is_transposed }
    }

    fn matrix(&self) -> Matrix<'_> {
        let Self { data, n_rows, n_columns, stride, is_transposed } = self;
        if *is_transposed {
            Matrix::strided(data, *n_columns, *n_rows, *stride).t()
        } else {
            Matrix::strided(data, *n_rows, *n_columns, *stride)
        }
    }

    fn at(&self, row: usize, column: usize) -> f64 {
        let (outer, inner) = if self.is_transposed { (column, row) } else { (row, column) };
        f64::from(self.data[outer * self.stride + inner])
    }
}

#[test]
fn a_product_agrees_with_its_definition_for_strided_and_transposed_matrices() {
    let a: Vec<f32> = (0..24).map(|i| (i as f32) * 0.5 - 3.0).collect();
    let b: Vec<f32> = (0..20).map(|i| 1.0 - (i as f32) * 0.25).collect();
    // `a` is 4 x 3 inside rows of 5, `b` is the transpose of 2 x 3 inside rows of 4.
    let mut c = vec![1.0; 4 * 6];
    for write in [Write::Replace, Write::Add] {
        let before = c.clone();
        multiply(
            Matrix::strided(&a, 4, 3, 5),
            Matrix::strided(&b, 2, 3, 4).t(),
            MatrixMut::strided(&mut c, 4, 2, 6),
            write,
        );
        for i in 0..4 {
            for j in 0..6 {
                let product: f32 =
                    if j < 2 { (0..3).map(|k| a[i * 5 + k] * b[j * 4 + k]).sum() } else { 0.0 };
                let kept = if j >= 2 || write == Write::Add { before[i * 6 + j] } else { 0.0 };
                assert_eq!(c[i * 6 + j], product + kept);
            }
        }
    }
}

#[test]
fn a_product_of_any_shape_is_exact_to_the_rounding_of_its_terms() {
    let sizes = [1, 2, 3, 5, 8, 15, 16, 17, 33, 64];
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let [n_rows, n_inner, n_columns] = [(); 3].map(|()| random.pick(&sizes));
        let a = Operand::new(&mut random, n_rows, n_inner);
        let b = Operand::new(&mut random, n_inner, n_columns);
        let stride = n_columns + random.size(0, 4);
        let before = random.floats(n_rows * stride);
        for write in [Write::Replace, Write::Add] {
            let mut c = before.clone();
            let target = MatrixMut::strided(&mut c, n_rows, n_columns, stride);
            multiply(a.matrix(), b.matrix(), target, write);
            for (place, (found, before)) in c.iter().zip(&before).enumerate() {
                let (row, column) = (place / stride, place % stride);
                if column >= n_columns {
                    assert_eq!(found.to_bits(), before.to_bits(), "seed {seed}: between rows");
                    continue;
                }
                let old = if write == Write::Add { f64::from(*before) } else { 0.0 };
                let (mut exact, mut size) = (old, old.abs());
                for k in 0..n_inner {
                    let term = a.at(row, k) * b.at(k, column);
                    exact += term;
                    size += term.abs();
                }
                let allowed = (n_inner + 2) as f64 * f64::from(f32::EPSILON) * size;
                let error = (f64::from(*found) - exact).abs();
                assert!(error <= allowed, "seed {seed}: {found} for {exact} at {row}, {column}");
            }
        }
    }
}

#[test]
fn replacing_reads_nothing_of_what_was_there() {
    let mut random = Random::new(1);
    // One of each, one row, one column, few and many inner elements.
    for (n_rows, n_inner, n_columns) in
        [(1, 1, 1), (1, 40, 9), (9, 40, 1), (20, 2, 20), (40, 1_100, 40), (3, 0, 4)]
    {
        let a = Operand::new(&mut random, n_rows, n_inner);
        let b = Operand::new(&mut random, n_inner, n_columns);
        let product = |old: f32| {
            let mut c = vec![old; n_rows * n_columns];
            let target = MatrixMut::new(&mut c, n_rows, n_columns);
            multiply(a.matrix(), b.matrix(), target, Write::Replace);
            bits(&c)
        };
        let clean = product(0.0);
        assert!(product(f32::NAN) == clean, "{n_rows} x {n_inner} x {n_columns}");
        assert!(n_inner > 0 || clean.iter().all(|bits| *bits == 0), "no terms, no sum");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit_of_a_product() {
    for seed in 0..4 {
        let mut random = Random::new(seed);
        // Work enough to be shared, and inner dimensions on both sides of a block of 512.
        let (n_rows, n_columns) = (random.size(90, 130), random.size(90, 130));
        let n_inner = if seed % 2 == 0 { random.size(80, 500) } else { random.size(520, 700) };
        let a = Operand::new(&mut random, n_rows, n_inner);
        let b = Operand::new(&mut random, n_inner, n_columns);
        let product = |n_threads: usize| {
            let mut c = vec![0.5; n_rows * n_columns];
            on_threads(n_threads, || {
                let target = MatrixMut::new(&mut c, n_rows, n_columns);
                multiply(a.matrix(), b.matrix(), target, Write::Add);
            });
            bits(&c)
        };
        let alone = product(1);
        for n_threads in 2..=4 {
            assert!(product(n_threads) == alone, "seed {seed}, {n_threads} threads");
        }
    }
}

/// Whether a matrix of rows, columns and a stride in twelve elements is refused, to read from and
/// to write to.
fn is_refused(n_rows: usize, n_columns: usize, stride: usize) -> (bool, bool) {
    let data = [1.0; 12];
    let read = catch_unwind(|| Matrix::strided(&data, n_rows, n_columns, stride).n_rows);
    let written = catch_unwind(|| {
        let mut data = [1.0; 12];
        MatrixMut::strided(&mut data, n_rows, n_columns, stride).n_rows
    });
    (read.is_err(), written.is_err())
}

#[test]
fn a_matrix_that_exceeds_its_slice_is_refused() {
    for (n_rows, n_columns, stride) in
        [(3, 4, 4), (2, 4, 8), (1, 12, 99), (12, 1, 1), (1, 1, usize::MAX), (0, 5, 5), (5, 0, 0)]
    {
        assert_eq!(is_refused(n_rows, n_columns, stride), (false, false), "{n_rows}, {n_columns}");
    }
    for (n_rows, n_columns, stride) in
        [(4, 4, 4), (3, 4, 5), (2, 5, 8), (1, 13, 13), (13, 1, 1), (2, 2, usize::MAX)]
    {
        assert_eq!(is_refused(n_rows, n_columns, stride), (true, true), "{n_rows}, {n_columns}");
    }
    // Rows that overlap may be read, and not written.
    assert_eq!(is_refused(3, 4, 3), (false, true));
}

#[test]
fn a_matrix_whose_last_place_exceeds_all_numbers_is_refused() {
    assert_eq!(is_refused(4, 1, isize::MAX.cast_unsigned()), (true, true));
}

#[test]
fn a_product_of_shapes_that_do_not_match_is_refused() {
    let is_refused = |a: (usize, usize), b: (usize, usize), c: (usize, usize)| {
        let product = catch_unwind(|| {
            let (left, right) = (vec![1.0; a.0 * a.1], vec![1.0; b.0 * b.1]);
            let mut result = vec![0.0; c.0 * c.1];
            multiply(
                Matrix::new(&left, a.0, a.1),
                Matrix::new(&right, b.0, b.1),
                MatrixMut::new(&mut result, c.0, c.1),
                Write::Replace,
            );
        });
        product.is_err()
    };
    assert!(!is_refused((2, 3), (3, 4), (2, 4)));
    for (b, c) in [((4, 3), (2, 3)), ((2, 4), (2, 4)), ((3, 4), (4, 2)), ((3, 4), (2, 3))] {
        assert!(is_refused((2, 3), b, c), "2 x 3 by {b:?} into {c:?}");
    }
}
