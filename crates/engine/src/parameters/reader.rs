//! Parameters from a checkpoint, read piece by piece and packed.

use super::{Gain, Gains, LayerParameters, Projection, Rows, Table, TokenTable};
use crate::{
    arch::{Architecture, Head, HeadNorms, Layer, Linear, Norm, Norms, Positions},
    checkpoint::{Checkpoint, Dtype, Hashes, Tensor, check_finite},
    error::{Error, Stop, refuse},
    kernel::{
        memory::Buffer,
        panels::{Panels, widen},
        simd::LANES,
    },
};
use protocol::{Digest, Reason, ReasonCode::TensorMismatch};
use std::ops::Range;

/// Bytes that are read at a time, unless one row is longer.
const READ_BYTES: usize = 4 << 20;

/// Reads tensors row by row into one buffer.
pub(crate) struct Reader<'a> {
    checkpoint: &'a Checkpoint,
    buffer: Vec<u8>,
    /// Where somebody asks what is read.
    hashes: Option<Hashes>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint) -> Self {
        Self { checkpoint, buffer: Vec::new(), hashes: None }
    }

    /// The same, which goes on with hashes of what it reads, if there are any.
    pub(super) fn hashing(checkpoint: &'a Checkpoint, hashes: Option<Hashes>) -> Self {
        Self { checkpoint, buffer: Vec::new(), hashes }
    }

    /// The hashes of what was read.
    pub(super) fn into_hashes(self) -> Option<Hashes> {
        self.hashes
    }

    /// All parameters of a layer.
    pub(super) fn layer(&mut self, layer: &Layer) -> Result<LayerParameters, Stop> {
        let attention = &layer.attention;
        let width = layer.mlp.width();
        let as_used = |output: usize| output;
        let panel_by_panel = |output: usize| {
            let (side, number) = (output / width, output % width);
            (number / LANES * 2 + side) * LANES + number % LANES
        };
        let up = if layer.mlp.is_gated {
            self.projection(&layer.mlp.inputs, panel_by_panel)?
        } else {
            self.projection(&layer.mlp.inputs, as_used)?
        };
        let head_norms = match &attention.head_norms {
            Some(HeadNorms { query, key }) => {
                let heads = attention.heads;
                let query = self.head_gain(query, heads.queries_width())?;
                Some([query, self.head_gain(key, heads.keys_width())?])
            }
            None => None,
        };
        Ok(LayerParameters {
            attention_norms: self.gains(&layer.attention_norms)?,
            inputs: self.projection(&attention.inputs, as_used)?,
            head_norms,
            output: self.projection(std::slice::from_ref(&attention.output), as_used)?,
            mlp_norms: self.gains(&layer.mlp_norms)?,
            up,
            down: self.projection(std::slice::from_ref(&layer.mlp.down), as_used)?,
        })
    }

    /// The outputs of the head for a range of tokens.
    pub(super) fn head(
        &mut self,
        architecture: &Architecture,
        tokens: Range<usize>,
    ) -> Result<Projection, Stop> {
        let (weight, bias) = match &architecture.head {
            Head::Tied { bias, .. } => (&architecture.embedding.table, bias),
            Head::Own(linear) => (&linear.weight, &linear.bias),
        };
        let is_brain = self.tensor(weight)?.dtype == Dtype::Bf16;
        let mut panels = Panels::zeros(architecture.hidden, tokens.len(), is_brain)?;
        self.rows(weight, architecture.hidden, tokens.clone(), |output, bytes, dtype| {
            panels.set_output(output, bytes, dtype);
        })?;
        let bias = match bias {
            None => None,
            Some(name) => {
                let mut numbers = Buffer::zeros(panels.n_panels * LANES)?;
                self.rows(name, 1, tokens, |output, bytes, dtype| {
                    widen(bytes, dtype, numbers[output..].iter_mut().take(1));
                })?;
                Some(numbers)
            }
        };
        Ok(Projection { panels, bias })
    }

    /// What turns tokens into rows, around their table.
    pub(super) fn rows_of_tokens(
        &mut self,
        architecture: &Architecture,
        table: TokenTable,
    ) -> Result<Rows, Stop> {
        if let Head::Tied { copy, .. } = &architecture.head {
            self.check_copy(&architecture.embedding.table, copy)?;
        }
        let positions = match &architecture.positions {
            Positions::Learned { table, n_skipped } => Some(self.table(table, *n_skipped)?),
            Positions::Rotary(_) => None,
        };
        let norm = architecture.embedding.norm.as_ref();
        let norm = norm.map(|norm| self.gain(norm)).transpose()?;
        Ok(Rows { table, scale: architecture.embedding.scale, positions, norm })
    }

    /// What no loss depends on must be finite all the same, as every other parameter.
    pub(crate) fn check_unused(&mut self, architecture: &Architecture) -> Result<(), Stop> {
        let optional = architecture.optional().map(|optional| optional.name);
        let unused = architecture.unused.iter().map(|(name, _)| name.as_str());
        for name in optional.into_iter().chain(unused) {
            if self.checkpoint.tensors.contains_key(name) {
                self.check(name)?;
            }
        }
        Ok(())
    }

    /// Refuses a tensor that is not finite.
    pub(crate) fn check(&mut self, name: &str) -> Result<(), Stop> {
        let n_elements = self.tensor(name)?.shape.iter().product::<u64>();
        let n_elements = usize::try_from(n_elements).unwrap_or(usize::MAX);
        self.rows(name, 1, 0..n_elements, |_, _, _| ())
    }

    /// Packs matrices that share their input into one; `place` says where an output goes.
    fn projection(
        &mut self,
        parts: &[Linear],
        place: impl Fn(usize) -> usize,
    ) -> Result<Projection, Stop> {
        let n_in = parts[0].n_in;
        let n_out: usize = parts.iter().map(|part| part.n_out).sum();
        let mut is_brain = true;
        for part in parts {
            is_brain &= self.tensor(&part.weight)?.dtype == Dtype::Bf16;
        }
        let mut panels = Panels::zeros(n_in, place(n_out - 1) + 1, is_brain)?;
        let mut bias = None;
        let mut start = 0;
        for part in parts {
            let first = start;
            let place = |output| place(first + part.order.place(output));
            if part.is_transposed {
                self.rows(&part.weight, part.n_out, 0..n_in, |input, bytes, dtype| {
                    panels.set_input(input, (0..part.n_out).map(place), bytes, dtype);
                })?;
            } else {
                self.rows(&part.weight, n_in, 0..part.n_out, |output, bytes, dtype| {
                    panels.set_output(place(output), bytes, dtype);
                })?;
            }
            start += part.n_out;
            let Some(name) = &part.bias else { continue };
            let bias = match &mut bias {
                Some(bias) => bias,
                none => none.insert(Buffer::zeros(panels.n_panels * LANES)?),
            };
            self.rows(name, 1, 0..part.n_out, |output, bytes, dtype| {
                widen(bytes, dtype, bias[place(output)..].iter_mut().take(1));
            })?;
        }
        Ok(Projection { panels, bias })
    }

    fn gains(&mut self, norms: &Norms) -> Result<Gains, Stop> {
        let mut gain = |norm: &Option<Norm>| norm.as_ref().map(|n| self.gain(n)).transpose();
        Ok(Gains {
            input: gain(&norms.input)?,
            output: gain(&norms.output)?,
            sum: gain(&norms.sum)?,
        })
    }

    pub(crate) fn gain(&mut self, norm: &Norm) -> Result<Gain, Stop> {
        let mut gain = self.vector(&norm.gain, norm.width)?;
        gain[..norm.width].iter_mut().for_each(|gain| *gain += norm.gain_offset);
        let bias = match &norm.bias {
            Some(bias) => Some(self.vector(bias, norm.width)?),
            None if norm.has_mean => Some(Buffer::zeros(norm.width)?),
            None => None,
        };
        Ok(Gain { gain, bias, width: norm.width, epsilon: norm.epsilon })
    }

    /// The gains of all heads, one after the other; a single norm serves as many as there are.
    pub(crate) fn head_gain(&mut self, norms: &[Norm], n_columns: usize) -> Result<Gain, Stop> {
        let gains = norms.iter().map(|norm| self.gain(norm)).collect::<Result<Vec<_>, Stop>>()?;
        let (width, epsilon) = (gains[0].width, gains[0].epsilon);
        let repeated = |numbers: Vec<&[f32]>| -> Result<Buffer, Error> {
            let mut all = Buffer::zeros(n_columns)?;
            let heads = all[..n_columns].chunks_exact_mut(width);
            for (head, numbers) in heads.zip(numbers.iter().cycle()) {
                head.copy_from_slice(&numbers[..width]);
            }
            Ok(all)
        };
        let bias: Option<Vec<&[f32]>> = gains.iter().map(|gain| gain.bias.as_deref()).collect();
        Ok(Gain {
            gain: repeated(gains.iter().map(|gain| &*gain.gain).collect())?,
            bias: bias.map(repeated).transpose()?,
            width,
            epsilon,
        })
    }

    pub(crate) fn vector(&mut self, name: &str, width: usize) -> Result<Buffer, Stop> {
        let mut vector = Buffer::zeros(width)?;
        self.rows(name, width, 0..1, |_, bytes, dtype| widen(bytes, dtype, vector.iter_mut()))?;
        Ok(vector)
    }

    /// A table of rows, without the first few.
    pub(super) fn table(&mut self, name: &str, n_skipped: usize) -> Result<Table, Stop> {
        let Tensor { dtype, shape, n_bytes, .. } = self.tensor(name)?;
        let (dtype, n_bytes) = (*dtype, *n_bytes);
        let [n_rows, width] = [0, 1].map(|axis| shape.get(axis).map_or(0, |n| *n as usize));
        let mut bytes = Vec::new();
        let out_of_memory = || Error::OutOfMemory { n_bytes };
        let capacity = usize::try_from(n_bytes).map_err(|_| out_of_memory())?;
        bytes.try_reserve_exact(capacity).map_err(|_| out_of_memory())?;
        // Those that are skipped must be finite too.
        self.rows(name, width, 0..n_skipped, |_, _, _| ())?;
        self.rows(name, width, n_skipped..n_rows, |_, row, _| bytes.extend_from_slice(row))?;
        Ok(Table { bytes, dtype, width })
    }

    /// A tensor that repeats a tied table must repeat it bit for bit.
    pub(crate) fn check_copy(&mut self, original: &str, copy: &str) -> Result<(), Stop> {
        if !self.checkpoint.tensors.contains_key(copy) {
            return Ok(());
        }
        let (first, second) = (self.tensor(original)?, self.tensor(copy)?);
        let mut is_equal = first.dtype == second.dtype && first.n_bytes == second.n_bytes;
        let piece = |n_bytes: u64| usize::try_from(n_bytes).unwrap_or(READ_BYTES).min(READ_BYTES);
        let mut buffers = [vec![0; piece(first.n_bytes)], vec![0; piece(first.n_bytes)]];
        let mut at = 0;
        while is_equal && at < first.n_bytes {
            let n = piece(first.n_bytes - at);
            let [a, b] = &mut buffers;
            self.checkpoint.read(first, at, &mut a[..n])?;
            self.checkpoint.read(second, at, &mut b[..n])?;
            is_equal = a[..n] == b[..n];
            at += n as u64;
        }
        if is_equal { Ok(()) } else { Err(untied(original, copy).into()) }
    }

    /// Reads some rows of a tensor, numbered from zero, and checks that their numbers are finite.
    pub(crate) fn rows(
        &mut self,
        name: &str,
        width: usize,
        rows: Range<usize>,
        mut row: impl FnMut(usize, &[u8], Dtype),
    ) -> Result<(), Stop> {
        let checkpoint = self.checkpoint;
        let tensor = self.tensor(name)?;
        let row_bytes = width * tensor.dtype.n_bytes() as usize;
        let rows_per_piece = (READ_BYTES / row_bytes).max(1);
        let mut index = 0;
        for start in rows.clone().step_by(rows_per_piece) {
            let n = rows_per_piece.min(rows.end - start) * row_bytes;
            if self.buffer.len() < n {
                self.buffer.resize(n, 0);
            }
            let (at, bytes) = ((start * row_bytes) as u64, &mut self.buffer[..n]);
            checkpoint.read(tensor, at, bytes)?;
            check_finite(name, tensor.dtype, at, bytes)?;
            if let Some(hashes) = &mut self.hashes {
                hashes.take((name, tensor.dtype), at, bytes);
            }
            for bytes in bytes.chunks_exact(row_bytes) {
                row(index, bytes, tensor.dtype);
                index += 1;
            }
        }
        Ok(())
    }

    pub(super) fn tensor(&self, name: &str) -> Result<&'a Tensor, Stop> {
        match self.checkpoint.tensors.get(name) {
            Some(tensor) => Ok(tensor),
            None => refuse(TensorMismatch, format!("`{name}` is missing")),
        }
    }
}

/// What stops the use of a model in which something was found while it was read or used.
///
/// It may have several faults, and the order in which parameters are read differs: what is in
/// memory, what is streamed and what is scanned must give one reason, the one a scan finds first.
/// One that was admitted under the root `expected` had none in its parameters: they changed at
/// rest, be it where no loss and no root depends on them, and that is our trouble.
pub(crate) fn fault(
    of: (&Checkpoint, &Architecture),
    found: Stop,
    expected: Option<Digest>,
) -> Stop {
    let reason = match found {
        Stop::Model(reason) => reason,
        us @ Stop::Us(_) => return us,
    };
    let (checkpoint, architecture) = of;
    match (check_all(checkpoint, architecture), expected) {
        (Err(Stop::Model(_)), Some(expected)) => Error::OtherModel { expected, found: None }.into(),
        (Err(first), _) => first,
        (Ok(()), Some(expected)) => checkpoint.blame(architecture, reason, expected),
        (Ok(()), None) => reason.into(),
    }
}

/// Checks in the order in which a scan does.
fn check_all(checkpoint: &Checkpoint, architecture: &Architecture) -> Result<(), Stop> {
    let mut reader = Reader::new(checkpoint);
    checkpoint.tensors.keys().try_for_each(|name| reader.check(name))?;
    match &architecture.head {
        Head::Tied { copy, .. } => reader.check_copy(&architecture.embedding.table, copy),
        Head::Own(_) => Ok(()),
    }
}

/// A tied head that is written out as well, but with other numbers.
fn untied(original: &str, copy: &str) -> Reason {
    Reason::new(TensorMismatch, format!("`{copy}` is not `{original}`, which it is tied to"))
}
