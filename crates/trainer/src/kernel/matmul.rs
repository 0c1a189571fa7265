//! Products of matrices, by the `gemm` crate behind a checked door.

/// A matrix inside a slice: element (i, j) lies at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    n_rows: usize,
    n_columns: usize,
    row_stride: usize,
    column_stride: usize,
}

/// A row-major matrix to write to; rows may lie further apart than they are long.
pub(crate) struct MatrixMut<'a> {
    data: &'a mut [f32],
    n_rows: usize,
    n_columns: usize,
    row_stride: usize,
}

/// What becomes of the old content of the result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    /// It is replaced by the product.
    Replace,
    /// The product is added to it.
    Add,
}

/// Whether the last element of a matrix lies inside `len` elements.
fn fits(len: usize, rows: (usize, usize), columns: (usize, usize)) -> bool {
    if rows.0 == 0 || columns.0 == 0 {
        return true;
    }
    // A place that no number names lies in no slice.
    let last = |(n, stride): (usize, usize)| (n - 1).checked_mul(stride);
    let index = last(rows).zip(last(columns)).and_then(|(row, column)| row.checked_add(column));
    index.is_some_and(|index| index < len)
}

impl<'a> Matrix<'a> {
    /// A dense row-major matrix.
    pub(crate) fn new(data: &'a [f32], n_rows: usize, n_columns: usize) -> Self {
        Self::strided(data, n_rows, n_columns, n_columns)
    }

    /// A row-major matrix whose rows start `row_stride` elements apart.
    pub(crate) fn strided(
        data: &'a [f32],
        n_rows: usize,
        n_columns: usize,
        row_stride: usize,
    ) -> Self {
        assert!(fits(data.len(), (n_rows, row_stride), (n_columns, 1)), "matrix exceeds its slice");
        Self { data, n_rows, n_columns, row_stride, column_stride: 1 }
    }

    /// The transposed matrix, in place.
    pub(crate) fn t(self) -> Self {
        Self {
            data: self.data,
            n_rows: self.n_columns,
            n_columns: self.n_rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

impl<'a> MatrixMut<'a> {
    /// A dense row-major matrix.
    pub(crate) fn new(data: &'a mut [f32], n_rows: usize, n_columns: usize) -> Self {
        Self::strided(data, n_rows, n_columns, n_columns)
    }

    /// A row-major matrix whose rows start `row_stride` elements apart, at least their length.
    pub(crate) fn strided(
        data: &'a mut [f32],
        n_rows: usize,
        n_columns: usize,
        row_stride: usize,
    ) -> Self {
        assert!(row_stride >= n_columns, "rows overlap");
        assert!(fits(data.len(), (n_rows, row_stride), (n_columns, 1)), "matrix exceeds its slice");
        Self { data, n_rows, n_columns, row_stride }
    }
}

/// Writes the product `a` x `b` to `c`, or adds it to `c`, on all threads of the current pool.
///
/// The inner dimension is never split between threads, so their number changes no bit.
/// Panics when the shapes do not match, which is a mistake of the caller.
pub(crate) fn multiply(a: Matrix<'_>, b: Matrix<'_>, c: MatrixMut<'_>, write: Write) {
    match rayon::current_num_threads() {
        1 => multiply_alone(a, b, c, write),
        n => checked_gemm(a, b, c, write, gemm::Parallelism::Rayon(n)),
    }
}

/// [`multiply`] on the current thread alone, for tasks that run beside others.
pub(crate) fn multiply_alone(a: Matrix<'_>, b: Matrix<'_>, c: MatrixMut<'_>, write: Write) {
    checked_gemm(a, b, c, write, gemm::Parallelism::None);
}

// The view of `c` is given away so that nobody else writes while the product is written.
#[allow(unsafe_code, clippy::needless_pass_by_value)]
fn checked_gemm(
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: MatrixMut<'_>,
    write: Write,
    parallelism: gemm::Parallelism,
) {
    assert_eq!(a.n_columns, b.n_rows, "inner dimensions");
    assert_eq!((a.n_rows, b.n_columns), (c.n_rows, c.n_columns), "outer dimensions");
    let stride = |n: usize| isize::try_from(n).expect("slices have at most isize::MAX bytes");
    // SAFETY: the constructors checked that every (i, j) of the three matrices lies inside their
    // slices; `c` is borrowed mutably, has distinct rows, and so aliases neither input nor itself.
    unsafe {
        gemm::gemm(
            c.n_rows,
            c.n_columns,
            a.n_columns,
            c.data.as_mut_ptr(),
            1,
            stride(c.row_stride),
            write == Write::Add,
            a.data.as_ptr(),
            stride(a.column_stride),
            stride(a.row_stride),
            b.data.as_ptr(),
            stride(b.column_stride),
            stride(b.row_stride),
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests;
