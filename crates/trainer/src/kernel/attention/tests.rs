//! Attention against its definition in double precision, query by query.

use super::*;
use crate::tests::{Random, assert_near, bits, doubles, slopes};

/// Packed rows of some sequences.
struct Case {
    plan: Plan,
    theta: f64,
    packed: Vec<f32>,
}

impl Case {
    fn new(random: &mut Random, heads: Heads, lengths: Vec<usize>) -> Self {
        let theta = random.pick(&[1.0, 10.0, 10_000.0]);
        let packed = random.floats(lengths.iter().sum::<usize>() * heads.packed_width());
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let rotation = Rotation::new(heads.width, theta, longest);
        Self { plan: Plan { heads, lengths, rotation }, theta, packed }
    }

    /// A few sequences, some of them longer than a block of queries.
    fn random(random: &mut Random) -> Self {
        let heads = heads(random);
        let n_sequences = random.size(1, 4);
        let mut length = || match random.size(0, 7) {
            0 => random.size(60, 140),
            _ => random.size(1, 12),
        };
        let lengths = (0..n_sequences).map(|_| length()).collect();
        Self::new(random, heads, lengths)
    }

    /// The rows of each sequence.
    fn cut<'a>(&self, mut rows: &'a [f32], width: usize) -> Vec<&'a [f32]> {
        let mut sequences = Vec::new();
        for n in &self.plan.lengths {
            let (own, others) = rows.split_at(n * width);
            sequences.push(own);
            rows = others;
        }
        assert!(rows.is_empty());
        sequences
    }
}

/// Grouped queries, as many keys as queries, or one key for all; of widths that fill no vector.
fn heads(random: &mut Random) -> Heads {
    let n_key = random.size(1, 3);
    Heads { n_query: n_key * random.size(1, 3), n_key, width: random.pick(&[2, 4, 6, 18]) }
}

/// A head turned by the angles of its position.
fn turned(head: &[f64], position: usize, theta: f64) -> Vec<f64> {
    let half = head.len() / 2;
    let mut turned = vec![0.0; head.len()];
    for pair in 0..half {
        let angle = position as f64 * theta.powf(-2.0 * pair as f64 / head.len() as f64);
        let (sine, cosine) = angle.sin_cos();
        turned[pair] = head[pair] * cosine - head[half + pair] * sine;
        turned[half + pair] = head[half + pair] * cosine + head[pair] * sine;
    }
    turned
}

/// The attention of one sequence to itself.
fn exact(heads: Heads, theta: f64, packed: &[f64]) -> Vec<f64> {
    let Heads { n_query, n_key, width } = heads;
    let rows: Vec<Vec<&[f64]>> = packed
        .chunks((n_query + 2 * n_key) * width)
        .map(|row| row.chunks(width).collect())
        .collect();
    let turned: Vec<Vec<Vec<f64>>> = rows
        .iter()
        .enumerate()
        .map(|(i, row)| row.iter().map(|head| turned(head, i, theta)).collect())
        .collect();
    let mut result = Vec::new();
    for (i, row) in turned.iter().enumerate() {
        for (head, query) in row[..n_query].iter().enumerate() {
            let group = head / (n_query / n_key);
            let seen = &turned[..=i];
            let dot = |key: &[f64]| query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>();
            let powers: Vec<f64> = seen
                .iter()
                .map(|row| (dot(&row[n_query + group]) / (width as f64).sqrt()).exp())
                .collect();
            let total: f64 = powers.iter().sum();
            for column in 0..width {
                let value = |row: &Vec<&[f64]>| row[n_query + n_key + group][column];
                let mixed = powers.iter().zip(&rows).map(|(power, row)| power * value(row));
                result.push(mixed.sum::<f64>() / total);
            }
        }
    }
    result
}

#[test]
fn attention_agrees_with_its_definition() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let case = Case::random(&mut random);
        let heads = case.plan.heads;
        let result = forward(&case.plan, &case.packed);
        let found = case.cut(&result, heads.result_width());
        for (found, packed) in found.iter().zip(case.cut(&case.packed, heads.packed_width())) {
            let exact = exact(heads, case.theta, &doubles(packed));
            // Angles of far positions are rounded as transformers rounds them.
            assert_near(found, &exact, 1e-4, &format!("seed {seed}, {heads:?}"));
        }
    }
}

/// Compares the gradient of every packed number with differences.
fn check_gradient(case: &Case, random: &mut Random, what: &str) {
    let Case { plan, theta, packed } = case;
    let heads = plan.heads;
    let result = forward(plan, packed);
    let gradient = random.floats(result.len());
    let found = backward(plan, packed, &result, &gradient);
    let found = case.cut(&found, heads.packed_width());
    let gradients = case.cut(&gradient, heads.result_width());
    let sequences = case.cut(packed, heads.packed_width()).into_iter().zip(gradients);
    for ((packed, gradient), found) in sequences.zip(found) {
        let slopes = slopes(packed, |packed| {
            let result = exact(heads, *theta, packed);
            result.iter().zip(gradient).map(|(x, g)| x * f64::from(*g)).sum()
        });
        assert_near(found, &slopes, 3e-4, what);
    }
}

#[test]
fn the_gradient_of_attention_agrees_with_differences() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let heads = heads(&mut random);
        let lengths = (0..3).map(|_| random.size(1, 5)).collect();
        let case = Case::new(&mut random, heads, lengths);
        check_gradient(&case, &mut random, &format!("seed {seed}, {heads:?}"));
    }
    // Beyond one block of queries: keys gather gradients from both.
    let mut random = Random::new(99);
    let heads = Heads { n_query: 2, n_key: 1, width: 2 };
    let case = Case::new(&mut random, heads, vec![70, 1, 3]);
    check_gradient(&case, &mut random, "70 rows");
}

#[test]
fn a_later_row_changes_no_bit_of_an_earlier_result() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let (heads, n_rows) = (heads(&mut random), random.pick(&[2, 17, 64, 65, 130]));
        let mut case = Case::new(&mut random, heads, vec![n_rows]);
        let before = forward(&case.plan, &case.packed);
        let from = random.size(1, n_rows - 1);
        for x in &mut case.packed[from * heads.packed_width()..] {
            *x *= -3.0;
        }
        let after = forward(&case.plan, &case.packed);
        let kept = from * heads.result_width();
        assert!(bits(&before[..kept]) == bits(&after[..kept]), "seed {seed}: {from} of {n_rows}");
        assert!(before[kept..] != after[kept..], "seed {seed}: the row itself");
    }
}

#[test]
fn a_sequence_gives_the_same_bits_alone_and_in_a_batch() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let case = Case::random(&mut random);
        let heads = case.plan.heads;
        let result = forward(&case.plan, &case.packed);
        let gradient = random.floats(result.len());
        let of_packed = backward(&case.plan, &case.packed, &result, &gradient);
        let results = case.cut(&result, heads.result_width());
        let gradients = case.cut(&gradient, heads.result_width());
        let of_packed = case.cut(&of_packed, heads.packed_width());
        for (i, packed) in case.cut(&case.packed, heads.packed_width()).into_iter().enumerate() {
            let n_rows = case.plan.lengths[i];
            let rotation = Rotation::new(heads.width, case.theta, n_rows);
            let alone = Plan { heads, lengths: vec![n_rows], rotation };
            let result = forward(&alone, packed);
            assert!(bits(&result) == bits(results[i]), "seed {seed}, sequence {i}");
            let found = backward(&alone, packed, &result, gradients[i]);
            assert!(bits(&found) == bits(of_packed[i]), "seed {seed}, sequence {i}: gradient");
        }
    }
}

#[test]
fn equal_values_come_back_whatever_the_scores() {
    for seed in 0..12 {
        let mut random = Random::new(seed);
        let mut case = Case::random(&mut random);
        let heads = case.plan.heads;
        // From equal scores to those that no exponential holds.
        let spread = random.pick(&[0.0, 1.0, 100.0_f32]);
        let n_scored = (heads.n_query + heads.n_key) * heads.width;
        for row in case.packed.chunks_mut(heads.packed_width()) {
            let (scored, values) = row.split_at_mut(n_scored);
            scored.iter_mut().for_each(|x| *x *= spread);
            values.fill(0.75);
        }
        let result = forward(&case.plan, &case.packed);
        assert_near(&result, &vec![0.75; result.len()], 1e-5, &format!("seed {seed}, {spread}"));
    }
}

#[test]
fn a_rotation_keeps_lengths_and_is_undone_by_its_transpose() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let (width, n_rows) = (2 * random.size(1, 9), random.size(1, 50));
        let stride = width + random.size(0, 5);
        let rotation = Rotation::new(width, random.pick(&[1.0, 100.0, 10_000.0]), n_rows);
        let rows = random.floats(n_rows * stride);
        let mut turned = vec![0.0; n_rows * width];
        rotation.gather(&rows, stride, 0.5, &mut turned);
        let mut back = vec![7.0; n_rows * stride];
        rotation.scatter(&turned, 2.0, &mut back, stride);
        let squares = |row: &[f32]| doubles(row).iter().map(|x| x * x).sum::<f64>();
        for (i, turned) in turned.chunks(width).enumerate() {
            let row = &rows[i * stride..][..width];
            let (found, between) = back[i * stride..][..stride].split_at(width);
            let error = squares(row) - 4.0 * squares(turned);
            assert!(error.abs() < 1e-5, "seed {seed}, row {i}: off by {error}");
            assert_near(found, &doubles(row), 2e-6, &format!("seed {seed}, row {i}"));
            assert!(between.iter().all(|x| *x == 7.0), "seed {seed}: written between rows");
        }
    }
}
