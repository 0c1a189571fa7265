//! Parameters in the layout that kernels want, read from a checkpoint piece by piece.

use crate::{
    arch::{Architecture, GatedMlp, Head, HeadNorms, Layer, Linear, Mlp, Norm, Order, Positions},
    checkpoint::{Checkpoint, Dtype, Tensor},
    error::{Error, Stop, refuse},
    health::{check_finite, untied},
    kernel::{
        gemm::{Panels, widen},
        memory::Buffer,
        simd::LANES,
    },
};
use protocol::ReasonCode::TensorMismatch;

/// Bytes that are read at a time, unless one row is longer.
const READ_BYTES: usize = 4 << 20;

/// All parameters of a model.
pub(crate) struct Parameters {
    pub(crate) embedding: Embedding,
    /// A row for each position, where positions are learned.
    pub(crate) positions: Option<Table>,
    pub(crate) layers: Vec<LayerParameters>,
    pub(crate) final_norm: Gain,
    pub(crate) head: Panels,
}

/// The parameters of one layer.
pub(crate) struct LayerParameters {
    pub(crate) attention_norm: Gain,
    /// Queries, keys and values, one after the other.
    pub(crate) inputs: Projection,
    /// Gains of each head of the queries and keys.
    pub(crate) head_norms: Option<[Gain; 2]>,
    pub(crate) output: Projection,
    pub(crate) mlp_norm: Gain,
    /// Where there are gates: sixteen of them, sixteen ups, and so on.
    pub(crate) up: Projection,
    pub(crate) down: Projection,
}

/// A matrix and what is added to its product.
pub(crate) struct Projection {
    pub(crate) panels: Panels,
    pub(crate) bias: Option<Buffer>,
}

impl Projection {
    /// The matrix and the bias.
    pub(crate) fn parts(&self) -> (&Panels, Option<&[f32]>) {
        (&self.panels, self.bias.as_deref())
    }
}

/// Gains of a norm, padded with zeros to whole vectors.
pub(crate) struct Gain {
    pub(crate) gain: Buffer,
    /// There where deviations from the mean are normed.
    pub(crate) bias: Option<Buffer>,
    pub(crate) width: usize,
    pub(crate) epsilon: f32,
}

/// The row of each token.
pub(crate) enum Embedding {
    /// The outputs of the head.
    Tied,
    /// Rows of their own.
    Own(Table),
}

/// Rows as published.
pub(crate) struct Table {
    bytes: Vec<u8>,
    dtype: Dtype,
    width: usize,
}

impl Table {
    /// The bytes of a row.
    fn row(&self, index: usize) -> &[u8] {
        let n_bytes = self.width * self.dtype.n_bytes() as usize;
        &self.bytes[index * n_bytes..(index + 1) * n_bytes]
    }
}

impl Parameters {
    /// Writes the embedding of a token, which must be in the vocabulary, at a position, which must
    /// be in the context.
    pub(crate) fn embed(&self, (token, position): (u32, u32), to: &mut [f32]) {
        match &self.embedding {
            Embedding::Tied => self.head.output(token as usize, to),
            Embedding::Own(table) => {
                widen(table.row(token as usize), table.dtype, to.iter_mut());
            }
        }
        if let Some(table) = &self.positions {
            let mut row = vec![0.0; table.width];
            widen(table.row(position as usize), table.dtype, row.iter_mut());
            to.iter_mut().zip(row).for_each(|(to, x)| *to += x);
        }
    }

    /// Reads all parameters; the checkpoint must hold what the architecture demands.
    pub(crate) fn read(checkpoint: &Checkpoint, architecture: &Architecture) -> Result<Self, Stop> {
        let mut reader = Reader { checkpoint, buffer: Vec::new() };
        let table = Linear {
            weight: architecture.embedding.clone(),
            bias: None,
            n_in: architecture.hidden,
            n_out: architecture.vocabulary,
            is_transposed: false,
            order: Order::AsUsed,
        };
        let positions = match &architecture.positions {
            Positions::Learned { table } => Some(reader.table(table, architecture.hidden)?),
            Positions::Rotary(_) => None,
        };
        let (embedding, head) = match &architecture.head {
            Head::Tied { copy } => {
                let head = reader.projection(&[&table], one_after_the_other)?.panels;
                reader.check_copy(&architecture.embedding, copy)?;
                (Embedding::Tied, head)
            }
            Head::Own(head) => {
                let embedding = reader.table(&table.weight, table.n_in)?;
                (Embedding::Own(embedding), reader.projection(&[head], one_after_the_other)?.panels)
            }
        };
        let layers = architecture.layers.iter().map(|layer| reader.layer(layer));
        let layers = layers.collect::<Result<_, Stop>>()?;
        let final_norm = reader.gain(&architecture.final_norm)?;
        Ok(Self { embedding, positions, layers, final_norm, head })
    }
}

/// Which column of a packed matrix holds output `output` of part `part` that starts at `start`.
type Placement = fn(part: usize, start: usize, output: usize) -> usize;

fn one_after_the_other(_part: usize, start: usize, output: usize) -> usize {
    start + output
}

fn panel_by_panel(part: usize, _start: usize, output: usize) -> usize {
    (output / LANES * 2 + part) * LANES + output % LANES
}

struct Reader<'a> {
    checkpoint: &'a Checkpoint,
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn layer(&mut self, layer: &Layer) -> Result<LayerParameters, Stop> {
        let inputs: Vec<&Linear> = layer.attention.inputs.iter().collect();
        let (up, down) = match &layer.mlp {
            Mlp::Gated(GatedMlp { gate, up, down }) => {
                (self.projection(&[gate, up], panel_by_panel)?, down)
            }
            Mlp::Plain { up, down, .. } => (self.projection(&[up], one_after_the_other)?, down),
        };
        let head_norms = match &layer.attention.head_norms {
            Some(HeadNorms { query, key }) => Some([self.gain(query)?, self.gain(key)?]),
            None => None,
        };
        Ok(LayerParameters {
            head_norms,
            attention_norm: self.gain(&layer.attention_norm)?,
            inputs: self.projection(&inputs, one_after_the_other)?,
            output: self.projection(&[&layer.attention.output], one_after_the_other)?,
            mlp_norm: self.gain(&layer.mlp_norm)?,
            up,
            down: self.projection(&[down], one_after_the_other)?,
        })
    }

    /// Packs matrices that share their input into one.
    fn projection(&mut self, parts: &[&Linear], place: Placement) -> Result<Projection, Stop> {
        let n_in = parts[0].n_in;
        let starts = parts.iter().scan(0, |end, part| {
            let start = *end;
            *end += part.n_out;
            Some(start)
        });
        let parts: Vec<_> = parts.iter().zip(starts).enumerate().collect();
        let columns =
            parts.iter().map(|(index, (part, start))| place(*index, *start, part.n_out - 1) + 1);
        let n_columns = columns.max().unwrap_or(0);
        let mut is_brain = true;
        for (_, (part, _)) in &parts {
            is_brain &= self.tensor(&part.weight)?.dtype == Dtype::Bf16;
        }
        let mut panels = Panels::zeros(n_in, n_columns, is_brain)?;
        let mut bias = None;
        for (index, (part, start)) in parts {
            if part.is_transposed {
                self.rows(&part.weight, part.n_out, |input, bytes, dtype| {
                    let used = |output| place(index, start, part.order.place(output));
                    let places = (0..part.n_out).map(used);
                    panels.set_input(input, places, bytes, dtype);
                })?;
            } else {
                self.rows(&part.weight, n_in, |output, bytes, dtype| {
                    let used = place(index, start, part.order.place(output));
                    panels.set_output(used, bytes, dtype);
                })?;
            }
            let Some(name) = &part.bias else { continue };
            let bias = match &mut bias {
                Some(bias) => bias,
                none => none.insert(Buffer::zeros(panels.n_panels * LANES)?),
            };
            self.rows(name, 1, |output, bytes, dtype| {
                let used = place(index, start, part.order.place(output));
                widen(bytes, dtype, bias[used..].iter_mut().take(1));
            })?;
        }
        Ok(Projection { panels, bias })
    }

    fn gain(&mut self, norm: &Norm) -> Result<Gain, Stop> {
        let gain = self.vector(&norm.gain, norm.width)?;
        let bias = norm.bias.as_ref().map(|bias| self.vector(bias, norm.width)).transpose()?;
        Ok(Gain { gain, bias, width: norm.width, epsilon: norm.epsilon })
    }

    fn vector(&mut self, name: &str, width: usize) -> Result<Buffer, Stop> {
        let mut vector = Buffer::zeros(width)?;
        self.rows(name, width, |_, bytes, dtype| widen(bytes, dtype, vector.iter_mut()))?;
        Ok(vector)
    }

    fn table(&mut self, name: &str, width: usize) -> Result<Table, Stop> {
        let tensor = self.tensor(name)?;
        let (dtype, n_bytes) = (tensor.dtype, tensor.n_bytes);
        let mut bytes = Vec::new();
        let out_of_memory = || Error::OutOfMemory { n_bytes };
        let capacity = usize::try_from(n_bytes).map_err(|_| out_of_memory())?;
        bytes.try_reserve_exact(capacity).map_err(|_| out_of_memory())?;
        self.rows(name, width, |_, row, _| bytes.extend_from_slice(row))?;
        Ok(Table { bytes, dtype, width })
    }

    /// A tensor that repeats a tied table must repeat it bit for bit.
    fn check_copy(&mut self, original: &str, copy: &str) -> Result<(), Stop> {
        if !self.checkpoint.tensors.contains_key(copy) {
            return Ok(());
        }
        let (first, second) = (self.tensor(original)?, self.tensor(copy)?);
        let mut is_equal = first.dtype == second.dtype && first.n_bytes == second.n_bytes;
        let mut buffers = [vec![0; READ_BYTES], vec![0; READ_BYTES]];
        let mut at = 0;
        while is_equal && at < first.n_bytes {
            let n = READ_BYTES.min(usize::try_from(first.n_bytes - at).unwrap_or(READ_BYTES));
            let [a, b] = &mut buffers;
            self.checkpoint.read(first, at, &mut a[..n])?;
            self.checkpoint.read(second, at, &mut b[..n])?;
            is_equal = a[..n] == b[..n];
            at += n as u64;
        }
        if is_equal { Ok(()) } else { Err(untied(original, copy).into()) }
    }

    /// Reads a tensor row by row and checks that its numbers are finite.
    fn rows(
        &mut self,
        name: &str,
        n_in: usize,
        mut row: impl FnMut(usize, &[u8], Dtype),
    ) -> Result<(), Stop> {
        let checkpoint = self.checkpoint;
        let tensor = self.tensor(name)?;
        let row_bytes = n_in * tensor.dtype.n_bytes() as usize;
        let piece = (READ_BYTES / row_bytes).max(1) * row_bytes;
        let mut at = 0;
        let mut index = 0;
        while at < tensor.n_bytes {
            let n = piece.min(usize::try_from(tensor.n_bytes - at).unwrap_or(piece));
            if self.buffer.len() < n {
                self.buffer.resize(n, 0);
            }
            let bytes = &mut self.buffer[..n];
            checkpoint.read(tensor, at, bytes)?;
            check_finite(name, tensor.dtype, at, bytes)?;
            for bytes in bytes.chunks_exact(row_bytes) {
                row(index, bytes, tensor.dtype);
                index += 1;
            }
            at += n as u64;
        }
        Ok(())
    }

    fn tensor(&self, name: &str) -> Result<&'a Tensor, Stop> {
        match self.checkpoint.tensors.get(name) {
            Some(tensor) => Ok(tensor),
            None => refuse(TensorMismatch, format!("`{name}` is missing")),
        }
    }
}
