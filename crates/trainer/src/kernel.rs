//! The arithmetic of one Llama block on plain slices, forward and backward.
//!
//! Every kernel writes each result in one fixed order of operations, so that its bits depend on
//! its input alone and not on the number of threads. Rows are positions of all sequences of a
//! batch, one after another; matrices are row-major.

pub(crate) mod attention;
pub(crate) mod head;
pub(crate) mod lanes;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod swiglu;

/// Rows that one task of a row-wise kernel takes; part of the definition of reductions over rows.
const ROWS_PER_TASK: usize = 64;

#[cfg(test)]
mod tests;
