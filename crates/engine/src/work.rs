//! How much work it is to measure a sequence, by a formula and not by a clock.
//!
//! The formula is a rule of the protocol: a model whose work is beyond what a competition allows is
//! refused by every validator alike, on any processor, before anything is run. It counts what the
//! kernels do with their padding, in multiply-adds of a large product. `docs/protocol.md` writes it
//! down.

use crate::{
    arch::{Architecture, Attention, Layer, Norms},
    kernel::{gemm::DEPTH_BLOCK, head::BLOCK, simd::LANES},
};

// What things cost beside a multiply-add of a large product: a fit to the processor's time of 41
// models, all architectures and the oddest shapes among them, for AVX-512 and for AVX2, on a Xeon
// with SHA and AVX-512 instructions, one thread, release build. A multiply-add took 0.016 ns and
// 0.033 ns there; the fits by themselves are in brackets. `benches/work.rs` makes the comparison.

/// Laying out a number of a row for a product. [0; 16]
const LAID_OUT: u128 = 16;
/// Putting away a sum of a product, or a score. [0 to 23; 0]
const PUT_AWAY: u128 = 4;
/// Reading and writing a number once more: to norm it, to turn it, to keep it. [0 to 68; 0 to 1]
const TOUCHED: u128 = 8;
/// An exponential, or a bend of a perceptron that has one. [44 to 110; 18]
const EXPONENTIAL: u128 = 24;
/// A hyperbolic tangent with the division before it. [78; 178, few models have them]
const TANGENT: u128 = 48;
/// Beginning something for a row: a layer, a head, a block of the vocabulary.
/// [4,000 to 6,700; 1,600]
const BEGUN: u128 = 2_500;

/// Positions that a row reads beyond those that it sees, as tiles are cut.
const READ_BEYOND: u128 = 16;
/// The same where it sees a window: queries share what they read.
const READ_AROUND: u128 = 48;

/// The work of measuring a sequence of `n_tokens`, all but the last of which are run.
///
/// In multiply-adds; a number that does not fit stands as the largest.
pub(crate) fn of_sequence(architecture: &Architecture, n_tokens: u64) -> u64 {
    let n_rows = u128::from(n_tokens.saturating_sub(1));
    let layers = architecture.layers.iter().map(|layer| {
        let attention = &layer.attention;
        n_rows * layer_row(architecture, layer) + looks(attention, n_rows)
    });
    let work = n_rows * row(architecture) + layers.sum::<u128>();
    u64::try_from(work).unwrap_or(u64::MAX)
}

/// What a row takes outside of the layers.
fn row(architecture: &Architecture) -> u128 {
    let Architecture { hidden, vocabulary, .. } = *architecture;
    let norms = architecture.embedding.norm.iter().chain(&architecture.final_norm).count();
    let embedding = TOUCHED * padded(hidden) * (1 + norms as u128);
    let logit = EXPONENTIAL + architecture.logit_cap.map_or(0, |_| TANGENT);
    let n_blocks = vocabulary.div_ceil(BLOCK) as u128;
    let outputs = padded(vocabulary);
    embedding + product(hidden, outputs) + logit * outputs + BEGUN * n_blocks
}

/// What a row takes in a layer, but for looking at other rows.
fn layer_row(architecture: &Architecture, layer: &Layer) -> u128 {
    let hidden = architecture.hidden;
    let (attention, mlp) = (&layer.attention, &layer.mlp);
    let heads = attention.heads;
    let n_norms = n_norms(&layer.attention_norms) + n_norms(&layer.mlp_norms);
    let norms = TOUCHED * padded(hidden) * n_norms;
    let n_heads = (heads.n_heads + heads.n_kv_heads) as u128;
    let head_norms = match attention.head_norms {
        Some(_) => TOUCHED * n_heads * padded(heads.head_size),
        None => 0,
    };
    // Queries are turned and scaled, keys turned and kept, values kept.
    let moves = 2 * TOUCHED * n_heads * heads.head_size as u128;
    let inputs = product(hidden, padded(heads.inputs_width()));
    let output = product(heads.queries_width(), padded(hidden));
    let wide = padded(mlp.width());
    let up = product(hidden, if mlp.is_gated { 2 * wide } else { wide });
    let down = product(mlp.width(), padded(hidden));
    BEGUN + norms + head_norms + moves + inputs + output + up + EXPONENTIAL * wide + down
}

/// What looking at other rows takes in a layer, for all rows.
fn looks(attention: &Attention, n_rows: u128) -> u128 {
    let heads = attention.heads;
    let n_read = n_rows * (n_rows + 1) / 2 + READ_BEYOND * n_rows;
    // Scores outside of a window are not multiplied, but their shares are computed all the same.
    let n_seen = attention
        .window
        .map_or(n_read, |window| n_read.min(n_rows.saturating_mul(window as u128 + READ_AROUND)));
    let per_score = heads.head_size as u128 + padded(heads.head_size) + PUT_AWAY;
    let per_share = EXPONENTIAL + attention.score_cap.map_or(0, |_| TANGENT);
    heads.n_heads as u128 * (BEGUN * n_rows + per_score * n_seen + per_share * n_read)
}

/// A row times a matrix, whose outputs have been padded.
fn product(n_in: usize, outputs: u128) -> u128 {
    let (n_in, n_blocks) = (n_in as u128, n_in.div_ceil(DEPTH_BLOCK) as u128);
    n_in * outputs + LAID_OUT * n_in + PUT_AWAY * outputs * n_blocks
}

fn n_norms(norms: &Norms) -> u128 {
    norms.input.iter().chain(&norms.output).chain(&norms.sum).count() as u128
}

/// Whole panels.
fn padded(n: usize) -> u128 {
    n.next_multiple_of(LANES) as u128
}
