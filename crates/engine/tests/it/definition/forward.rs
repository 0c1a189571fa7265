//! Rules 1 to 8 of `docs/protocol.md`, section "Loss", one number after the other.
//!
//! Written from the document; nothing of the engine's kernels is used. Every place where an order
//! of operations could be another asks the [`Order`].

use super::{
    functions::{Fused, Softmax, capped, erf, exp, fma, plain_sum, sin_cos, sum},
    net::{Activation, Layer, Matrix, Net, Norm},
    order::{Departure, Order},
};
use std::{f32::consts::FRAC_1_SQRT_2, f64::consts::PI, ops::Range};

/// Rows that share one pass over a matrix; changes no result.
const ROWS_AT_ONCE: usize = 8;

/// Rows of numbers.
type Rows = Vec<Vec<f32>>;

/// One model in one order of operations.
pub(super) struct Forward<'a> {
    pub(super) net: &'a Net,
    pub(super) order: Order,
}

impl Forward<'_> {
    /// Negative log-likelihoods in nats of the tokens that follow these positions.
    pub(super) fn nats(&self, tokens: &[u32], positions: &[usize]) -> Vec<f64> {
        let all: Vec<usize> = (0..tokens.len()).collect();
        let mut rows: Rows = tokens.iter().enumerate().map(|at| self.embed(at)).collect();
        for (index, layer) in self.net.layers.iter().enumerate() {
            // Only the last layer may leave out rows: the keys of all are needed before.
            let is_last = index + 1 == self.net.layers.len();
            rows = self.layer(layer, &rows, if is_last { positions } else { &all });
        }
        let rows: Rows = rows.iter().map(|row| self.norm(&self.net.final_norm, row)).collect();
        let logits = self.product(&self.net.head, &rows);
        let targets = positions.iter().map(|position| tokens[position + 1] as usize);
        logits.into_iter().zip(targets).map(|(row, target)| self.loss(row, target)).collect()
    }

    /// Rule 5.
    fn embed(&self, (position, token): (usize, &u32)) -> Vec<f32> {
        let hidden = self.net.hidden;
        let mut row = self.net.table[*token as usize * hidden..][..hidden].to_vec();
        if let Some(scale) = self.net.table_scale {
            row.iter_mut().for_each(|x| *x *= scale);
        }
        if let Some(positions) = &self.net.positions {
            add(&mut row, &positions[position * hidden..][..hidden]);
        }
        row
    }

    /// A layer for the rows at these positions.
    fn layer(&self, layer: &Layer, rows: &Rows, positions: &[usize]) -> Rows {
        let normed: Rows = rows.iter().map(|row| self.norm(&layer.attention_norm, row)).collect();
        let gathered = self.attention(layer, &normed, positions);
        let mut out: Rows = positions.iter().map(|position| rows[*position].clone()).collect();
        let mut parallel: Rows = positions.iter().map(|at| normed[*at].clone()).collect();
        if layer.mlp_norm.is_none() && self.order.departs(Departure::BranchesFirst) {
            let mut branches = self.product(&layer.output, &gathered);
            let given = self.product(&layer.down, &self.bent(layer, &parallel));
            branches.iter_mut().zip(&given).for_each(|(branch, given)| add(branch, given));
            out.iter_mut().zip(&branches).for_each(|(x, branch)| add(x, branch));
            return out;
        }
        self.add_product(&mut out, &layer.output, (&gathered, layer.gathered_norm.as_ref()));
        if let Some(norm) = &layer.mlp_norm {
            parallel = out.iter().map(|row| self.norm(norm, row)).collect();
        }
        let bent = self.bent(layer, &parallel);
        self.add_product(&mut out, &layer.down, (&bent, layer.given_norm.as_ref()));
        out
    }

    /// Rule 7: what is between the two products of a perceptron.
    fn bent(&self, layer: &Layer, rows: &Rows) -> Rows {
        let ups = self.product(&layer.up, rows);
        match &layer.gate {
            None => ups.iter().map(|up| up.iter().map(|x| self.bend(*x)).collect()).collect(),
            Some(gate) => {
                let gates = self.product(gate, rows);
                let gated = |(gates, ups): (&Vec<f32>, &Vec<f32>)| {
                    gates.iter().zip(ups).map(|(gate, up)| self.bend(*gate) * up).collect()
                };
                gates.iter().zip(&ups).map(gated).collect()
            }
        }
    }

    /// Rule 7: an activation.
    fn bend(&self, x: f32) -> f32 {
        let order = self.order;
        match self.net.activation {
            Activation::Silu if order.departs(Departure::SiluByInverse) => {
                x * (1.0 / (1.0 + exp(order, 0.0 - x)))
            }
            Activation::Silu => x / (1.0 + exp(order, 0.0 - x)),
            Activation::GeluTanh => {
                let slope = (-2.0 * (2.0 / PI).sqrt()) as f32;
                let fused = order.fused_unless(Departure::CubeRounded);
                let inner = fma(fused, x * x * x, 0.044_715, x);
                x / (1.0 + exp(order, slope * inner))
            }
            Activation::Gelu if order.departs(Departure::ErfRounded) => {
                x / 2.0 * (1.0 + erf(x * FRAC_1_SQRT_2))
            }
            Activation::Gelu => (x / 2.0).mul_add(erf(x * FRAC_1_SQRT_2), x / 2.0),
        }
    }

    /// Rule 7: adds a product, itself normed if there is a norm for it.
    fn add_product(&self, to: &mut Rows, matrix: &Matrix, (rows, norm): (&Rows, Option<&Norm>)) {
        let order = self.order;
        if let Some(norm) = norm {
            for (x, product) in to.iter_mut().zip(self.product(matrix, rows)) {
                add(x, &self.norm(norm, &product));
            }
        } else if order.departs(Departure::ChainFromResidual) {
            *to = self.chains(matrix, rows, |row, output| to[row][output]);
            self.add_bias(matrix, to);
        } else if order.departs(Departure::ResidualBeforeBias) {
            let products = self.chains(matrix, rows, |_, _| 0.0);
            to.iter_mut().zip(&products).for_each(|(x, product)| add(x, product));
            self.add_bias(matrix, to);
        } else {
            let products = self.product(matrix, rows);
            to.iter_mut().zip(&products).for_each(|(x, product)| add(x, product));
        }
    }

    /// Rule 2.
    fn product(&self, matrix: &Matrix, rows: &Rows) -> Rows {
        if self.order.departs(Departure::ChainFromBias) {
            let bias = matrix.bias.as_deref().unwrap_or(&[]);
            return self.chains(matrix, rows, |_, output| *bias.get(output).unwrap_or(&0.0));
        }
        let mut products = self.chains(matrix, rows, |_, _| 0.0);
        self.add_bias(matrix, &mut products);
        products
    }

    fn add_bias(&self, matrix: &Matrix, rows: &mut Rows) {
        if let Some(bias) = &matrix.bias {
            rows.iter_mut().for_each(|row| add(row, bias));
        }
    }

    /// Rule 2 without the bias: the first chain of an output starts from `start(row, output)`.
    fn chains(&self, matrix: &Matrix, rows: &Rows, start: impl Fn(usize, usize) -> f32) -> Rows {
        let n_in = matrix.inputs.len() / matrix.n_out;
        let fused = self.order.fused_unless(Departure::ProductRounded);
        let mut blocks = blocks(0, n_in, self.order.product_block);
        if self.order.departs(Departure::ChainsDescending) {
            blocks.reverse();
        }
        let mut out = Rows::new();
        for (group, rows) in rows.chunks(ROWS_AT_ONCE).enumerate() {
            let first = |row| {
                let row = group * ROWS_AT_ONCE + row;
                (0..matrix.n_out).map(|output| start(row, output)).collect()
            };
            let mut totals = Rows::new();
            for block in &blocks {
                let mut sums = match totals.is_empty() {
                    true => (0..rows.len()).map(first).collect(),
                    false => vec![vec![0.0; matrix.n_out]; rows.len()],
                };
                for input in block.clone() {
                    let column = &matrix.inputs[input * matrix.n_out..][..matrix.n_out];
                    for (row, sums) in rows.iter().zip(&mut sums) {
                        extend_chains(fused, row[input], column, sums);
                    }
                }
                if totals.is_empty() {
                    totals = sums;
                } else {
                    totals.iter_mut().zip(&sums).for_each(|(total, sums)| add(total, sums));
                }
            }
            out.extend(totals);
        }
        out
    }

    /// Rule 4.
    fn norm(&self, norm: &Norm, row: &[f32]) -> Vec<f32> {
        let order = self.order;
        let width = row.len() as f32;
        let mean_of = |sum: f32| match order.departs(Departure::MeanByInverse) {
            true => sum * (1.0 / width),
            false => sum / width,
        };
        let squares_of = |row: &[f32]| {
            let fused = order.fused_unless(Departure::SquaresRounded);
            mean_of(sum(order, row, |x, sum| fma(fused, x, x, sum)))
        };
        let mut row = row.to_vec();
        let mut squares = squares_of(&row);
        if norm.bias.is_some() {
            let mean = mean_of(plain_sum(order, &row));
            row.iter_mut().for_each(|x| *x -= mean);
            squares = match order.departs(Departure::VarianceOfSquares) {
                true => squares - mean * mean,
                false => squares_of(&row),
            };
        }
        let root = (squares + norm.epsilon).sqrt();
        let scale = 1.0 / root;
        let number = |(index, x): (usize, &f32)| {
            let published = norm.gain[index];
            let gain = if norm.is_less_one { 1.0 + published } else { published };
            let scaled = match order.departure {
                Some(Departure::DivisionByRoot) => x / root,
                _ => x * scale,
            };
            match &norm.bias {
                Some(bias) => {
                    let fused = order.fused_unless(Departure::NormBiasRounded);
                    fma(fused, scaled, gain, bias[index])
                }
                None => match order.departure {
                    Some(Departure::GainFirst) => x * gain * scale,
                    Some(Departure::GainTimesScale) => x * (scale * gain),
                    Some(Departure::OneOfGainFused) if norm.is_less_one => {
                        scaled.mul_add(published, scaled)
                    }
                    _ => scaled * gain,
                },
            }
        };
        row.iter().enumerate().map(number).collect()
    }

    /// Rule 8.
    fn loss(&self, logits: Vec<f32>, target: usize) -> f64 {
        let order = self.order;
        let cap = self.net.logit_cap;
        let logits: Vec<f32> = logits.into_iter().map(|logit| capped(order, logit, cap)).collect();
        let mut softmax = Softmax::START;
        for block in blocks(0, logits.len(), order.vocabulary_block) {
            let (top, shares) = self.shares(&logits[block]);
            softmax.merge(order, top, plain_sum(order, &shares));
        }
        softmax.nats(order, logits[target])
    }

    /// The greatest of some numbers, and e^(number − greatest) of each.
    pub(super) fn shares(&self, numbers: &[f32]) -> (f32, Vec<f32>) {
        let top = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        (top, numbers.iter().map(|number| exp(self.order, number - top)).collect())
    }
}

impl Forward<'_> {
    /// Rules 5 and 6: what the rows at these positions gather.
    fn attention(&self, layer: &Layer, normed: &Rows, positions: &[usize]) -> Rows {
        let [to_queries, to_keys, to_values] = &layer.inputs;
        let own: Rows = positions.iter().map(|position| normed[*position].clone()).collect();
        let mut queries = self.product(to_queries, &own);
        let mut keys = self.product(to_keys, normed);
        let values = self.product(to_values, normed);
        let norms = layer.head_norms.as_ref();
        for (query, position) in queries.iter_mut().zip(positions) {
            self.turn(query, norms.map(|norms| &norms[0]), *position);
            if !self.order.departs(Departure::ScoresScaled)
                && !self.order.departs(Departure::ScaledBeforeTurned)
            {
                query.iter_mut().for_each(|x| *x *= self.query_scale());
            }
        }
        for (position, key) in keys.iter_mut().enumerate() {
            self.turn(key, norms.map(|norms| &norms[1]), position);
        }
        // By the numbers of a head, so that one chain per position grows with each.
        let n_keys = keys[0].len();
        let numbers: Rows =
            (0..n_keys).map(|number| keys.iter().map(|key| key[number]).collect()).collect();
        let gather = |(query, position): (&Vec<f32>, &usize)| {
            let first = (position + 1).saturating_sub(layer.window);
            self.gather(query, (&numbers, &values), first..position + 1)
        };
        queries.iter().zip(positions).map(gather).collect()
    }

    fn query_scale(&self) -> f32 {
        match self.order.departs(Departure::ScaleInOtherPrecision) {
            true => self.net.other_query_scale,
            false => self.net.query_scale,
        }
    }

    /// Rules 4 and 5: norms and turns the heads of a row; scales queries early if an order says so.
    fn turn(&self, row: &mut [f32], norm: Option<&Norm>, position: usize) {
        let order = self.order;
        let is_query = row.len() == self.net.n_heads * self.net.head_size;
        for head in row.chunks_mut(self.net.head_size) {
            if let Some(norm) = norm {
                head.copy_from_slice(&self.norm(norm, head));
            }
            if is_query && order.departs(Departure::ScaledBeforeTurned) {
                head.iter_mut().for_each(|x| *x *= self.query_scale());
            }
            let half = self.net.frequencies.len();
            for (pair, frequency) in self.net.frequencies.iter().enumerate() {
                let angle = match order.departs(Departure::AngleInDouble) {
                    true => position as f64 * f64::from(*frequency),
                    false => f64::from(position as f32 * frequency),
                };
                let (sin, cos) = sin_cos(angle);
                let (sin, cos) = (sin as f32, cos as f32);
                let (a, b) = (head[pair], head[pair + half]);
                (head[pair], head[pair + half]) = match order.departure {
                    Some(Departure::RotationOtherWay) => {
                        ((-b).mul_add(sin, a * cos), a.mul_add(sin, b * cos))
                    }
                    Some(Departure::RotationRounded) => (a * cos - b * sin, b * cos + a * sin),
                    _ => (a.mul_add(cos, -(b * sin)), b.mul_add(cos, a * sin)),
                };
            }
        }
    }

    /// Rule 6: what a query gathers from the positions that it sees.
    fn gather(
        &self,
        query: &[f32],
        (keys, values): (&Rows, &Rows),
        seen: Range<usize>,
    ) -> Vec<f32> {
        let (order, size) = (self.order, self.net.head_size);
        let n_sharing = self.net.n_heads / self.net.n_kv_heads;
        let mut out = Vec::new();
        for (head, query) in query.chunks(size).enumerate() {
            let first = head / n_sharing * size;
            let scores = self.scores(query, &keys[first..first + size], seen.clone());
            let (_, shares) = self.shares(&scores[seen.clone()]);
            let mut all = vec![0.0; seen.end];
            all[seen.clone()].copy_from_slice(&shares);
            let total = plain_sum(order, &all);
            let scale = 1.0 / total;
            if order.departs(Departure::SharesScaled) {
                all.iter_mut().for_each(|share| *share *= scale);
            }
            let start = if order.departs(Departure::BlocksFromWindow) { seen.start } else { 0 };
            let mut gathered = vec![0.0; size];
            for block in blocks(start, seen.end, order.position_block) {
                let mut sums = vec![0.0; size];
                for position in block {
                    let value = &values[position][first..first + size];
                    extend_chains(Fused::Yes, all[position], value, &mut sums);
                }
                add(&mut gathered, &sums);
            }
            out.extend(gathered.into_iter().map(|sum| match order.departure {
                Some(Departure::DivisionBySum) => sum / total,
                Some(Departure::SharesScaled) => sum,
                _ => sum * scale,
            }));
        }
        out
    }

    /// Rule 6: scores of all positions up to the last that is seen.
    fn scores(&self, query: &[f32], keys: &[Vec<f32>], seen: Range<usize>) -> Vec<f32> {
        let order = self.order;
        let mut scores = vec![0.0; seen.end];
        for block in blocks(0, query.len(), order.score_block) {
            let mut sums = vec![0.0; seen.end];
            for number in block {
                extend_chains(Fused::Yes, query[number], &keys[number][..seen.end], &mut sums);
            }
            add(&mut scores, &sums);
        }
        if order.departs(Departure::ScoresScaled) {
            scores.iter_mut().for_each(|score| *score *= self.query_scale());
        }
        scores.iter().map(|score| capped(order, *score, self.net.score_cap)).collect()
    }
}

/// `start..end` in blocks; the last may be shorter.
fn blocks(start: usize, end: usize, size: usize) -> Vec<Range<usize>> {
    let starts = (start..end).step_by(size.min(end.max(1)));
    starts.map(|start| start..end.min(start.saturating_add(size))).collect()
}

fn add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

/// The next term of many chains: `s = fma(x, w, s)`.
fn extend_chains(fused: Fused, x: f32, weights: &[f32], sums: &mut [f32]) {
    if fused == Fused::No {
        sums.iter_mut().zip(weights).for_each(|(sum, w)| *sum += x * w);
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        #[expect(unsafe_code, reason = "a function call for each multiply-add takes minutes")]
        // SAFETY: the processor has the instructions.
        unsafe {
            extend_fused_chains_with_fma(x, weights, sums);
        }
        return;
    }
    extend_fused_chains(x, weights, sums);
}

#[inline(always)]
fn extend_fused_chains(x: f32, weights: &[f32], sums: &mut [f32]) {
    sums.iter_mut().zip(weights).for_each(|(sum, w)| *sum = x.mul_add(*w, *sum));
}

/// The same in the processor's own instruction, which rounds once as well.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn extend_fused_chains_with_fma(x: f32, weights: &[f32], sums: &mut [f32]) {
    extend_fused_chains(x, weights, sums);
}
