//! How much memory it takes to measure a model, from headers and config, before it is loaded.

use crate::{
    arch::{Architecture, Head, Layer, Linear, Norm, Positions},
    batch::{Strides, TOKENS_PER_BATCH, WorkSpace},
    checkpoint::{Checkpoint, Dtype},
    kernel::{head::RowLoss, rotate::Angles, simd::LANES},
};

/// What the program takes besides: code, stacks, tokens, the buffer that files are read into.
pub(crate) const PROGRAM_BYTES: u64 = 64 << 20;
/// What a layer takes besides its numbers: descriptions, names, and what rounding adds.
const LAYER_BYTES: u64 = 16 << 10;
/// Token, position and target of a row, and its loss as it is given.
const ROW_BYTES: usize = 20;

/// Most memory that measuring takes with all parameters in it; a little more than it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of the parameters as they are kept, and of the program.
    pub fixed_bytes: u64,
    /// Bytes of work space, and of the sequences that a thread takes through the layers.
    pub thread_bytes: u64,
}

impl Memory {
    /// Of measuring sequences of so many tokens.
    pub(crate) fn of(
        checkpoint: &Checkpoint,
        architecture: &Architecture,
        sequence_length: usize,
    ) -> Self {
        Self {
            fixed_bytes: PROGRAM_BYTES
                .saturating_add(parameters(checkpoint, architecture))
                .saturating_add(angles(architecture, sequence_length)),
            thread_bytes: thread(architecture, sequence_length),
        }
    }

    /// Bytes on so many threads.
    pub fn on_threads(self, n_threads: usize) -> u64 {
        self.fixed_bytes.saturating_add(self.thread_bytes.saturating_mul(n_threads as u64))
    }
}

/// Bytes of all parameters as they are kept: in panels of sixteen outputs, F16 widened.
pub(crate) fn parameters(checkpoint: &Checkpoint, architecture: &Architecture) -> u64 {
    let as_published = |name: &str| checkpoint.tensors.get(name).map_or(0, |tensor| tensor.n_bytes);
    let layers = architecture.layers.iter().map(|layer| layer_bytes(checkpoint, layer));
    let (head, bias) = match &architecture.head {
        Head::Tied { bias, .. } => (&architecture.embedding.table, bias),
        Head::Own(linear) => (&linear.weight, &linear.bias),
    };
    let outputs = padded(architecture.vocabulary);
    let head = architecture.hidden as u64 * outputs * number_bytes(checkpoint, &[head]);
    let bias = bias.as_ref().map_or(0, |_| 4 * outputs);
    let table = match &architecture.head {
        Head::Tied { .. } => 0,
        Head::Own(_) => as_published(&architecture.embedding.table),
    };
    let positions = match &architecture.positions {
        Positions::Learned { table, .. } => as_published(table),
        Positions::Rotary(_) => 0,
    };
    let norms = architecture.embedding.norm.iter().chain(&architecture.final_norm);
    let norms = norms.map(norm_bytes).sum::<u64>();
    layers.sum::<u64>() + head + bias + table + positions + norms
}

fn layer_bytes(checkpoint: &Checkpoint, layer: &Layer) -> u64 {
    let (attention, mlp) = (&layer.attention, &layer.mlp);
    let (inputs, wide) = (attention.heads.inputs_width(), padded(mlp.width()));
    let up = if mlp.is_gated { 2 * wide } else { wide };
    let matrices = [
        (&attention.inputs[..], padded(inputs)),
        (std::slice::from_ref(&attention.output), padded(attention.output.n_out)),
        (&mlp.inputs[..], up),
        (std::slice::from_ref(&mlp.down), padded(mlp.down.n_out)),
    ];
    let matrices = matrices.map(|(parts, outputs)| {
        let names: Vec<&String> = parts.iter().map(|part: &Linear| &part.weight).collect();
        let n_in = parts.first().map_or(0, |part| part.n_in) as u64;
        let bias = if parts.iter().any(|part| part.bias.is_some()) { 4 * outputs } else { 0 };
        n_in * outputs * number_bytes(checkpoint, &names) + bias
    });
    // The gains of all heads stand one after the other, those of a bias beside them.
    let head_norms = attention.head_norms.as_ref().map_or(0, |_| 8 * padded(inputs));
    let norms = layer.norms().map(norm_bytes).sum::<u64>();
    LAYER_BYTES + matrices.iter().sum::<u64>() + head_norms + norms
}

fn norm_bytes(norm: &Norm) -> u64 {
    8 * padded(norm.width)
}

/// Bytes of a number of matrices that are packed into one.
fn number_bytes(checkpoint: &Checkpoint, names: &[&String]) -> u64 {
    let dtype = |name: &&String| checkpoint.tensors.get(*name).map(|tensor| tensor.dtype);
    if names.iter().all(|name| dtype(name) == Some(Dtype::Bf16)) { 2 } else { 4 }
}

/// Bytes of the angles of a sequence, where positions are rotary.
pub(crate) fn angles(architecture: &Architecture, sequence_length: usize) -> u64 {
    match &architecture.positions {
        Positions::Rotary(rope) => Angles::n_bytes(rope, Angles::n_kept(sequence_length)),
        Positions::Learned { .. } => 0,
    }
}

/// Bytes of a thread's work space, and of the batch that it takes through the layers.
fn thread(architecture: &Architecture, sequence_length: usize) -> u64 {
    let n_positions = sequence_length.saturating_sub(1).max(1);
    let n_sequences = TOKENS_PER_BATCH.div_ceil(sequence_length.max(1));
    let n_rows = n_sequences.saturating_mul(n_positions) as u64;
    let hidden = Strides::of(architecture).hidden;
    let per_row = 4 * hidden + size_of::<RowLoss>() + ROW_BYTES;
    let space = WorkSpace::n_bytes_of(architecture, (n_sequences, n_positions));
    space.saturating_add(n_rows.saturating_mul(per_row as u64))
}

/// Whole panels.
fn padded(n: usize) -> u64 {
    n.next_multiple_of(LANES) as u64
}
