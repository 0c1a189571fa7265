//! Sequences on their way through the layers, and the work spaces that they pass through.

use crate::{
    arch::{Architecture, Attention},
    error::{Error, Stop},
    kernel::{
        activation::Gates,
        attention::{self, HeadShape},
        gemm::{self, ROW_BLOCK, TILE_ROWS},
        head,
        memory::Buffer,
        simd::LANES,
    },
    parameters::Parameters,
};

/// Tokens that a batch should have: enough to keep the kernels busy, few enough for the caches.
pub(crate) const TOKENS_PER_BATCH: usize = 512;
/// What products, gates and the head write to on the way, rounded up.
const SCRATCH_BYTES: u64 = 2 << 20;

/// Distances between rows: odd numbers of cache lines, so that rows spread over the cache's sets.
#[derive(Clone, Copy)]
pub(crate) struct Strides {
    pub(crate) hidden: usize,
    /// Queries, keys and values of one row.
    pub(crate) inputs: usize,
    pub(crate) intermediate: usize,
}

impl Strides {
    pub(crate) fn of(architecture: &Architecture) -> Self {
        let padded = |width: usize| (width.div_ceil(LANES) | 1) * LANES;
        let layers = &architecture.layers;
        let inputs = layers.iter().map(|layer| layer.attention.heads.inputs_width());
        let intermediate = layers.iter().map(|layer| layer.mlp.width());
        Self {
            hidden: padded(architecture.hidden),
            inputs: padded(inputs.max().unwrap_or(0)),
            intermediate: padded(intermediate.max().unwrap_or(0)),
        }
    }
}

/// Work space of one thread.
pub(crate) struct WorkSpace {
    pub(crate) normed: Buffer,
    /// What attention or a perceptron gave, where it is normed before it is added.
    pub(crate) given: Buffer,
    pub(crate) intermediate: Buffer,
    pub(crate) product: gemm::Scratch,
    pub(crate) gates: Gates,
    pub(crate) attention: attention::Scratch,
    pub(crate) head: head::Scratch,
    /// Of the batch that this thread works on.
    pub(crate) memory: Memory,
}

impl WorkSpace {
    /// Enough for any batch of sequences of at most `n_positions`.
    pub(crate) fn new(architecture: &Architecture, n_positions: usize) -> Result<Self, Error> {
        let strides = Strides::of(architecture);
        let mut attention = attention::Scratch::new()?;
        for layer in &architecture.layers {
            attention.reserve(head_shape(&layer.attention, n_positions))?;
        }
        let has_output_norms = architecture.layers.iter().any(|layer| {
            layer.attention_norms.output.is_some() || layer.mlp_norms.output.is_some()
        });
        let given = if has_output_norms { ROW_BLOCK * strides.hidden } else { 0 };
        Ok(Self {
            normed: Buffer::zeros(ROW_BLOCK * strides.hidden)?,
            given: Buffer::zeros(given)?,
            intermediate: Buffer::zeros(ROW_BLOCK * strides.intermediate)?,
            product: gemm::Scratch::new(
                strides.hidden.max(strides.inputs).max(strides.intermediate),
            )?,
            gates: Gates::new()?,
            attention,
            head: head::Scratch::new()?,
            memory: Memory::default(),
        })
    }
}

impl WorkSpace {
    /// Bytes of a work space with the memory for a batch of `n_rows`, of which sequences have up to
    /// `n_positions`; a little more than it takes.
    pub(crate) fn n_bytes(
        architecture: &Architecture,
        (n_rows, n_positions): (usize, usize),
    ) -> u64 {
        // Each sequence's panels are padded on their own.
        let panels = |attention: &Attention| 2 * memory_numbers(attention, (1, n_rows));
        Self::n_bytes_with(architecture, (n_rows, n_positions), panels)
    }

    /// The same for a batch of `n_sequences` of `n_positions` each.
    pub(crate) fn n_bytes_of(
        architecture: &Architecture,
        (n_sequences, n_positions): (usize, usize),
    ) -> u64 {
        let n_rows = n_sequences.saturating_mul(n_positions);
        let panels = |attention: &Attention| memory_numbers(attention, (n_sequences, n_positions));
        Self::n_bytes_with(architecture, (n_rows, n_positions), panels)
    }

    /// The same with so many numbers of keys and values.
    fn n_bytes_with(
        architecture: &Architecture,
        (n_rows, n_positions): (usize, usize),
        panels: impl Fn(&Attention) -> u64,
    ) -> u64 {
        let strides = Strides::of(architecture);
        let attention = architecture.layers.iter().map(|layer| {
            let shape = head_shape(&layer.attention, n_positions);
            let scores = shape.n_queries() * n_positions.next_multiple_of(LANES);
            panels(&layer.attention).saturating_add(scores as u64)
        });
        let widest = strides.hidden.max(strides.inputs).max(strides.intermediate);
        let rows = ROW_BLOCK * (2 * strides.hidden + strides.intermediate + widest);
        let inputs = (n_rows as u64).saturating_mul(strides.inputs as u64);
        let numbers =
            inputs.saturating_add(attention.max().unwrap_or(0)).saturating_add(rows as u64);
        numbers.saturating_mul(4).saturating_add(SCRATCH_BYTES)
    }
}

/// Numbers of the keys and values of sequences of `n_positions`.
fn memory_numbers(attention: &Attention, (n_sequences, n_positions): (usize, usize)) -> u64 {
    let per_head = head_shape(attention, n_positions).n_numbers() as u64;
    let n_heads = attention.heads.n_kv_heads as u64;
    per_head.saturating_mul(n_heads).saturating_mul(n_sequences as u64)
}

fn head_shape(attention: &Attention, capacity: usize) -> HeadShape {
    HeadShape { head_size: attention.heads.head_size, capacity }
}

/// A sequence among the rows of a batch.
#[derive(Clone, Copy)]
struct Span {
    /// Position of the first row in the sequence.
    first: usize,
    n_rows: usize,
    capacity: usize,
}

/// Hidden states of some sequences between two layers.
pub(crate) struct Batch {
    strides: Strides,
    spans: Vec<Span>,
    positions: Vec<u32>,
    hidden: Buffer,
}

/// What the rows of a batch become in a layer, and the keys and values that they look back at.
#[derive(Default)]
pub(crate) struct Memory {
    /// Queries, keys and values of each row; attention replaces the queries.
    inputs: Buffer,
    /// One for all layers, or one for each where positions follow later.
    panels: Vec<Buffer>,
}

impl Memory {
    /// Makes room for the rows of a batch; with `is_kept`, each layer has its own.
    pub(crate) fn reserve(
        &mut self,
        architecture: &Architecture,
        batch: &Batch,
        is_kept: bool,
    ) -> Result<(), Error> {
        let n_numbers = architecture.layers.iter().map(|layer| {
            let per_head = |span: &Span| head_shape(&layer.attention, span.capacity).n_numbers();
            batch.spans.iter().map(per_head).sum::<usize>() * layer.attention.heads.n_kv_heads
        });
        let n_numbers = n_numbers.max().unwrap_or(0);
        let n_panels = if is_kept { architecture.layers.len() } else { 1 };
        self.inputs.reserve(batch.n_rows() * batch.strides.inputs)?;
        self.panels.resize_with(n_panels, Buffer::default);
        self.panels.iter_mut().try_for_each(|panels| panels.reserve(n_numbers))
    }
}

/// Rows that go through the products together.
pub(crate) struct RowBlock<'a> {
    pub(crate) hidden: &'a mut [f32],
    pub(crate) inputs: &'a mut [f32],
    pub(crate) positions: &'a [u32],
}

/// One key-value head of one sequence, and the new rows that it should remember.
pub(crate) struct HeadMemory<'a> {
    pub(crate) shape: HeadShape,
    pub(crate) head: usize,
    pub(crate) panels: &'a mut [f32],
    pub(crate) rows: &'a [f32],
    pub(crate) first: usize,
    pub(crate) n_rows: usize,
}

/// Neighbouring queries of one sequence, and all that it remembers.
pub(crate) struct QueryBlock<'a> {
    pub(crate) shape: HeadShape,
    pub(crate) rows: &'a mut [f32],
    pub(crate) panels: &'a [f32],
    pub(crate) first: usize,
    pub(crate) n_rows: usize,
}

impl Batch {
    /// Starts sequences, of which each may be continued `n_more` times.
    pub(crate) fn start(
        architecture: &Architecture,
        parameters: &Parameters,
        sequences: &[&[u32]],
        n_more: usize,
    ) -> Result<Self, Stop> {
        let strides = Strides::of(architecture);
        let spans: Vec<_> = sequences
            .iter()
            .map(|tokens| Span { first: 0, n_rows: tokens.len(), capacity: tokens.len() + n_more })
            .collect();
        let n_rows = spans.iter().map(|span| span.n_rows).sum::<usize>();
        let mut batch = Self {
            strides,
            spans,
            positions: Vec::with_capacity(n_rows),
            hidden: Buffer::zeros(n_rows * strides.hidden)?,
        };
        batch.embed(parameters, sequences)?;
        Ok(batch)
    }

    /// Continues each sequence, of which only the last row was kept, by one token.
    pub(crate) fn follow(&mut self, parameters: &Parameters, tokens: &[u32]) -> Result<(), Stop> {
        for span in &mut self.spans {
            span.first += 1;
        }
        let sequences: Vec<_> = tokens.chunks(1).collect();
        self.embed(parameters, &sequences)
    }

    fn embed(&mut self, parameters: &Parameters, sequences: &[&[u32]]) -> Result<(), Stop> {
        self.positions.clear();
        for span in &self.spans {
            let positions = span.first..span.first + span.n_rows;
            self.positions.extend(positions.map(|position| position as u32));
        }
        let rows = self.hidden.chunks_mut(self.strides.hidden);
        let tokens = sequences.iter().copied().flatten();
        let mut space = vec![0.0; self.strides.hidden];
        for ((row, &token), &position) in rows.zip(tokens).zip(&self.positions) {
            parameters.embed((token, position), row, &mut space)?;
        }
        Ok(())
    }

    /// Keeps only the last row of each sequence; what it remembers stays.
    pub(crate) fn keep_last_rows(&mut self) {
        let stride = self.strides.hidden;
        let mut end = 0;
        for (index, span) in self.spans.iter_mut().enumerate() {
            end += span.n_rows;
            self.hidden.copy_within((end - 1) * stride..end * stride, index * stride);
            self.positions[index] = self.positions[end - 1];
            span.first += span.n_rows - 1;
            span.n_rows = 1;
        }
        self.positions.truncate(self.spans.len());
    }

    /// The rows in blocks that keep `n_threads` equally busy.
    pub(crate) fn row_blocks<'a>(
        &'a mut self,
        memory: &'a mut Memory,
        n_threads: usize,
    ) -> impl Iterator<Item = RowBlock<'a>> + Send {
        let n = rows_per_block(self.n_rows(), n_threads);
        let n_numbers = self.n_rows() * self.strides.inputs;
        let inputs = memory.inputs[..n_numbers].chunks_mut(n * self.strides.inputs);
        self.hidden_blocks(n_threads).zip(inputs).map(|((hidden, positions), inputs)| RowBlock {
            hidden,
            inputs,
            positions,
        })
    }

    /// The same of the hidden states alone, with their positions.
    pub(crate) fn hidden_blocks(
        &mut self,
        n_threads: usize,
    ) -> impl Iterator<Item = (&mut [f32], &[u32])> + Send {
        let n = rows_per_block(self.n_rows(), n_threads);
        // Fewer than at the start where only the last rows were kept.
        let hidden = &mut self.hidden[..self.positions.len() * self.strides.hidden];
        hidden.chunks_mut(n * self.strides.hidden).zip(self.positions.chunks(n))
    }

    /// Number of sequences.
    pub(crate) fn n_sequences(&self) -> usize {
        self.spans.len()
    }

    /// Number of rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.positions.len()
    }

    /// Every key-value head of every sequence.
    pub(crate) fn head_memories<'a>(
        &'a self,
        memory: &'a mut Memory,
        (layer, attention): (usize, &'a Attention),
    ) -> impl Iterator<Item = HeadMemory<'a>> + Send {
        let index = layer % memory.panels.len();
        let (mut panels, mut rows) = (&mut memory.panels[index][..], &memory.inputs[..]);
        let stride = self.strides.inputs;
        self.spans.iter().flat_map(move |span| {
            let shape = head_shape(attention, span.capacity);
            let n = shape.n_numbers() * attention.heads.n_kv_heads;
            let own = panels.split_off_mut(..n).unwrap_or_default();
            let own_rows = rows.split_off(..span.n_rows * stride).unwrap_or_default();
            own.chunks_mut(shape.n_numbers()).enumerate().map(move |(head, panels)| {
                let (first, n_rows) = (span.first, span.n_rows);
                HeadMemory { shape, head, panels, rows: own_rows, first, n_rows }
            })
        })
    }

    /// Every block of queries.
    pub(crate) fn query_blocks<'a>(
        &'a self,
        memory: &'a mut Memory,
        (layer, attention): (usize, &'a Attention),
    ) -> impl Iterator<Item = QueryBlock<'a>> + Send {
        let index = layer % memory.panels.len();
        let (mut panels, mut rows) = (&memory.panels[index][..], &mut memory.inputs[..]);
        let stride = self.strides.inputs;
        self.spans.iter().flat_map(move |span| {
            let shape = head_shape(attention, span.capacity);
            let n = shape.n_numbers() * attention.heads.n_kv_heads;
            let panels = panels.split_off(..n).unwrap_or_default();
            let rows = rows.split_off_mut(..span.n_rows * stride).unwrap_or_default();
            let blocks = rows.chunks_mut(shape.n_queries() * stride).enumerate();
            // The last queries look back furthest: whoever takes them should start first.
            blocks.rev().map(move |(block, rows)| {
                let first = span.first + block * shape.n_queries();
                QueryBlock { shape, panels, first, n_rows: rows.len() / stride, rows }
            })
        })
    }
}

/// Rows of a block: whole tiles, as many blocks as a multiple of the threads.
fn rows_per_block(n_rows: usize, n_threads: usize) -> usize {
    let n_blocks = n_rows.div_ceil(ROW_BLOCK).max(1).next_multiple_of(n_threads);
    n_rows.div_ceil(n_blocks).max(1).next_multiple_of(TILE_ROWS).min(ROW_BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_rows_are_whole_tiles_and_spread_over_the_threads() {
        assert_eq!(rows_per_block(1024, 2), 180);
        assert_eq!(rows_per_block(512, 1), 180);
        assert_eq!(rows_per_block(10, 8), 12);
        assert_eq!(rows_per_block(1, 1), 12);
        assert_eq!(rows_per_block(192, 1), 192);
    }
}
