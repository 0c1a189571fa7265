//! Causal attention with rotary positions and grouped queries.
//!
//! A row of the packed input holds all query heads, then the key heads, then the value heads.
//! Scores exist for one block of queries at a time; the backward pass computes them again.

use super::{
    lanes::{dot, exp, max, sum, with_vectors},
    matmul::{Matrix, MatrixMut, Write, multiply_alone},
};
use rayon::prelude::*;

/// Queries whose scores exist at a time.
const QUERIES_PER_BLOCK: usize = 64;

/// Number and width of heads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    /// Query heads.
    pub(crate) n_query: usize,
    /// Key heads, and as many value heads; divides `n_query`.
    pub(crate) n_key: usize,
    /// Elements per head; even.
    pub(crate) width: usize,
}

/// Cosines and sines of the rotary embedding, one row of half a head per position.
#[derive(Debug)]
pub(crate) struct Rotation {
    cosines: Vec<f32>,
    sines: Vec<f32>,
    half: usize,
}

/// Everything about a batch that attention must know besides its numbers.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Number and width of heads.
    pub(crate) heads: Heads,
    /// Rows of each sequence, in order.
    pub(crate) lengths: Vec<usize>,
    /// At least as many positions as the longest sequence has rows.
    pub(crate) rotation: Rotation,
}

impl Heads {
    /// Elements of a packed row.
    pub(crate) fn packed_width(self) -> usize {
        (self.n_query + 2 * self.n_key) * self.width
    }

    /// Elements of a row of results.
    pub(crate) fn result_width(self) -> usize {
        self.n_query * self.width
    }

    /// Where key head `group` starts in a packed row.
    fn key(self, group: usize) -> usize {
        (self.n_query + group) * self.width
    }

    /// Where value head `group` starts in a packed row.
    fn value(self, group: usize) -> usize {
        (self.n_query + self.n_key + group) * self.width
    }

    /// The query heads that share key head `group`.
    fn queries(self, group: usize) -> std::ops::Range<usize> {
        let n = self.n_query / self.n_key;
        group * n..(group + 1) * n
    }

    /// Factor of the scores.
    fn scale(self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }
}

impl Rotation {
    /// The angles of the first `n_positions` positions, rounded as transformers rounds them.
    pub(crate) fn new(width: usize, theta: f64, n_positions: usize) -> Self {
        let half = width / 2;
        let frequencies: Vec<f32> =
            (0..half).map(|i| (1.0 / theta.powf(2.0 * i as f64 / width as f64)) as f32).collect();
        let angles = (0..n_positions)
            .flat_map(|position| frequencies.iter().map(move |f| f64::from(position as f32 * f)));
        let (cosines, sines) = angles.map(|a| (a.cos() as f32, a.sin() as f32)).unzip();
        Self { cosines, sines, half }
    }

    /// Rotates head by head: row i of `width` elements is position i. `source` holds the first
    /// row at its start and the others `stride` apart; results are dense and scaled.
    fn gather(&self, source: &[f32], stride: usize, scale: f32, result: &mut [f32]) {
        with_vectors(
            #[inline(always)]
            || {
                for (i, result) in result.chunks_exact_mut(2 * self.half).enumerate() {
                    let (cosines, sines) = self.position(i);
                    let row = &source[i * stride..i * stride + 2 * self.half];
                    let (low, high) = row.split_at(self.half);
                    let (result_low, result_high) = result.split_at_mut(self.half);
                    for j in 0..self.half {
                        result_low[j] = (low[j] * cosines[j] - high[j] * sines[j]) * scale;
                        result_high[j] = (high[j] * cosines[j] + low[j] * sines[j]) * scale;
                    }
                }
            },
        );
    }

    /// The transpose of [`Self::gather`]: rotates dense rows back and writes them `stride` apart.
    fn scatter(&self, rows: &[f32], scale: f32, target: &mut [f32], stride: usize) {
        with_vectors(
            #[inline(always)]
            || {
                for (i, row) in rows.chunks_exact(2 * self.half).enumerate() {
                    let (cosines, sines) = self.position(i);
                    let (low, high) = row.split_at(self.half);
                    let target = &mut target[i * stride..i * stride + 2 * self.half];
                    let (target_low, target_high) = target.split_at_mut(self.half);
                    for j in 0..self.half {
                        target_low[j] = (low[j] * cosines[j] + high[j] * sines[j]) * scale;
                        target_high[j] = (high[j] * cosines[j] - low[j] * sines[j]) * scale;
                    }
                }
            },
        );
    }

    #[inline(always)]
    fn position(&self, i: usize) -> (&[f32], &[f32]) {
        let range = i * self.half..(i + 1) * self.half;
        (&self.cosines[range.clone()], &self.sines[range])
    }
}

impl Plan {
    /// Cuts a slice with `width` elements per row into the sequences.
    fn sequences<'a>(&self, mut rows: &'a [f32], width: usize) -> Vec<&'a [f32]> {
        let mut take = |n: &usize| rows.split_off(..n * width).expect("as many rows as planned");
        self.lengths.iter().map(&mut take).collect()
    }

    /// Cuts a mutable slice with `width` elements per row into the sequences.
    fn sequences_mut<'a>(&self, mut rows: &'a mut [f32], width: usize) -> Vec<&'a mut [f32]> {
        let mut take =
            |n: &usize| rows.split_off_mut(..n * width).expect("as many rows as planned");
        self.lengths.iter().map(&mut take).collect()
    }
}

/// The attention of every sequence to itself; rows of `result_width` elements.
pub(crate) fn forward(plan: &Plan, packed: &[f32]) -> Vec<f32> {
    let heads = plan.heads;
    let n_rows = packed.len() / heads.packed_width();
    let mut result = vec![0.0; n_rows * heads.result_width()];
    plan.sequences_mut(&mut result, heads.result_width())
        .into_par_iter()
        .zip(plan.sequences(packed, heads.packed_width()))
        .for_each(|(result, packed)| Sequence::new(plan, packed).forward(result));
    result
}

/// The gradient of `packed` from the result and its gradient.
pub(crate) fn backward(plan: &Plan, packed: &[f32], result: &[f32], gradient: &[f32]) -> Vec<f32> {
    let heads = plan.heads;
    let mut of_packed = vec![0.0; packed.len()];
    plan.sequences_mut(&mut of_packed, heads.packed_width())
        .into_par_iter()
        .zip(plan.sequences(packed, heads.packed_width()))
        .zip(plan.sequences(result, heads.result_width()))
        .zip(plan.sequences(gradient, heads.result_width()))
        .for_each(|(((of_packed, packed), result), gradient)| {
            Sequence::new(plan, packed).backward(result, gradient, of_packed);
        });
    of_packed
}

/// One sequence with the scratch of its task.
struct Sequence<'a> {
    plan: &'a Plan,
    packed: &'a [f32],
    n_rows: usize,
    query: Vec<f32>,
    key: Vec<f32>,
    scores: Vec<f32>,
}

impl<'a> Sequence<'a> {
    fn new(plan: &'a Plan, packed: &'a [f32]) -> Self {
        let n_rows = packed.len() / plan.heads.packed_width();
        let head = vec![0.0; n_rows * plan.heads.width];
        let scores = vec![0.0; QUERIES_PER_BLOCK.min(n_rows) * n_rows];
        Self { plan, packed, n_rows, query: head.clone(), key: head, scores }
    }

    fn gather_key(&mut self, group: usize) {
        let heads = self.plan.heads;
        let source = &self.packed[heads.key(group)..];
        self.plan.rotation.gather(source, heads.packed_width(), 1.0, &mut self.key);
    }

    fn gather_query(&mut self, head: usize) {
        let heads = self.plan.heads;
        let source = &self.packed[head * heads.width..];
        self.plan.rotation.gather(source, heads.packed_width(), heads.scale(), &mut self.query);
    }

    fn value(&self, group: usize, n_rows: usize) -> Matrix<'a> {
        let heads = self.plan.heads;
        let source = &self.packed[heads.value(group)..];
        Matrix::strided(source, n_rows, heads.width, heads.packed_width())
    }

    /// Probabilities of the queries `start..end`: rows of `end` elements, zero above the diagonal.
    fn probabilities(&mut self, start: usize, end: usize) -> &mut [f32] {
        let width = self.plan.heads.width;
        let scores = &mut self.scores[..(end - start) * end];
        multiply_alone(
            Matrix::new(&self.query[start * width..], end - start, width),
            Matrix::new(&self.key, end, width).t(),
            MatrixMut::new(scores, end - start, end),
            Write::Replace,
        );
        with_vectors(
            #[inline(always)]
            || {
                for (i, row) in scores.chunks_exact_mut(end).enumerate() {
                    let (seen, unseen) = row.split_at_mut(start + i + 1);
                    softmax(seen);
                    unseen.fill(0.0);
                }
            },
        );
        scores
    }

    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let n_rows = self.n_rows;
        let starts = (0..n_rows).step_by(QUERIES_PER_BLOCK);
        starts.map(move |start| (start, (start + QUERIES_PER_BLOCK).min(n_rows)))
    }

    fn forward(mut self, result: &mut [f32]) {
        let heads = self.plan.heads;
        let stride = heads.result_width();
        for group in 0..heads.n_key {
            self.gather_key(group);
            for head in heads.queries(group) {
                self.gather_query(head);
                for (start, end) in self.blocks() {
                    let value = self.value(group, end);
                    let scores = self.probabilities(start, end);
                    let result = &mut result[start * stride + head * heads.width..];
                    multiply_alone(
                        Matrix::new(scores, end - start, end),
                        value,
                        MatrixMut::strided(result, end - start, heads.width, stride),
                        Write::Replace,
                    );
                }
            }
        }
    }

    fn backward(mut self, result: &[f32], gradient: &[f32], of_packed: &mut [f32]) {
        let heads = self.plan.heads;
        let (width, stride) = (heads.width, heads.packed_width());
        let mut of_query = vec![0.0; self.n_rows * width];
        let mut of_key = vec![0.0; self.n_rows * width];
        let mut of_scores = vec![0.0; self.scores.len()];
        for group in 0..heads.n_key {
            self.gather_key(group);
            of_key.fill(0.0);
            for head in heads.queries(group) {
                self.gather_query(head);
                for (start, end) in self.blocks() {
                    let block = Block { start, end, group, head };
                    let of_value = &mut of_packed[heads.value(group)..];
                    let into = Gradients { scores: &mut of_scores, values: of_value };
                    self.backward_scores(block, result, gradient, into);
                    let of_scores = Matrix::new(&of_scores, end - start, end);
                    multiply_alone(
                        of_scores,
                        Matrix::new(&self.key, end, width),
                        MatrixMut::new(&mut of_query[start * width..], end - start, width),
                        Write::Replace,
                    );
                    multiply_alone(
                        of_scores.t(),
                        Matrix::new(&self.query[start * width..], end - start, width),
                        MatrixMut::new(&mut of_key, end, width),
                        Write::Add,
                    );
                }
                let target = &mut of_packed[head * width..];
                self.plan.rotation.scatter(&of_query, heads.scale(), target, stride);
            }
            let target = &mut of_packed[heads.key(group)..];
            self.plan.rotation.scatter(&of_key, 1.0, target, stride);
        }
    }

    /// The gradient of a block's scores before the softmax; adds that of the values.
    fn backward_scores(
        &mut self,
        block: Block,
        result: &[f32],
        gradient: &[f32],
        into: Gradients<'_>,
    ) {
        let Gradients { scores: of_scores, values: of_value } = into;
        let heads = self.plan.heads;
        let Block { start, end, group, head } = block;
        let (n, width, stride) = (end - start, heads.width, heads.result_width());
        let value = self.value(group, end);
        let probabilities = self.probabilities(start, end);
        let first = start * stride + head * width;
        let (result, gradient) = (&result[first..], &gradient[first..]);
        let gradient_rows = Matrix::strided(gradient, n, width, stride);
        multiply_alone(
            Matrix::new(probabilities, n, end).t(),
            gradient_rows,
            MatrixMut::strided(of_value, end, width, heads.packed_width()),
            Write::Add,
        );
        multiply_alone(gradient_rows, value.t(), MatrixMut::new(of_scores, n, end), Write::Replace);
        with_vectors(
            #[inline(always)]
            || {
                let rows = of_scores.chunks_exact_mut(end).zip(probabilities.chunks_exact(end));
                for (i, (of_scores, probabilities)) in rows.take(n).enumerate() {
                    let row = i * stride..i * stride + width;
                    let shared = dot(&gradient[row.clone()], &result[row]);
                    for (of_score, probability) in of_scores.iter_mut().zip(probabilities) {
                        *of_score = probability * (*of_score - shared);
                    }
                }
            },
        );
    }
}

/// Queries `start..end` of one head, which see the keys `0..end` of their group.
#[derive(Clone, Copy)]
struct Block {
    start: usize,
    end: usize,
    group: usize,
    head: usize,
}

/// Where the gradients of a block go.
struct Gradients<'a> {
    /// Of its scores before the softmax; what stood there is replaced.
    scores: &'a mut [f32],
    /// Of the values of its group, from its column on; they are added.
    values: &'a mut [f32],
}

/// Exponentials of a row, divided by their sum.
#[inline(always)]
fn softmax(row: &mut [f32]) {
    let largest = max(row);
    for x in row.iter_mut() {
        *x = exp(*x - largest);
    }
    let scale = 1.0 / sum(row);
    for x in row.iter_mut() {
        *x *= scale;
    }
}

#[cfg(test)]
mod tests;
