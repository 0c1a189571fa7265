//! Parameters on a GPU: matrices in BF16, gains and biases in F32.

use super::device::{Device, Gain, Matrix, Numbers};
use crate::{
    arch::{self, Architecture, Head, HeadNorms, Linear, Norm, Norms, Positions},
    checkpoint::{Checkpoint, Dtype},
    error::{Error, Stop},
    parameters::{self, Reader, fault},
};
use half::{bf16, f16};

/// All parameters of a model.
pub(super) struct Parameters {
    pub(super) table: Matrix,
    /// A row for each position, where positions are learned.
    pub(super) positions: Option<Matrix>,
    pub(super) embedding_norm: Option<Gain>,
    pub(super) layers: Vec<Layer>,
    pub(super) final_norm: Option<Gain>,
    /// Nothing where the table is the head.
    pub(super) head: Option<Matrix>,
    pub(super) head_bias: Option<Numbers<f32>>,
}

/// The parameters of one layer.
pub(super) struct Layer {
    pub(super) attention_norms: Gains,
    pub(super) inputs: Projection,
    pub(super) head_norms: Option<[Gain; 2]>,
    pub(super) output: Projection,
    pub(super) mlp_norms: Gains,
    /// All gates, then all ups.
    pub(super) up: Projection,
    pub(super) down: Projection,
}

/// The gains of the norms around attention or a perceptron.
pub(super) struct Gains {
    pub(super) input: Option<Gain>,
    pub(super) output: Option<Gain>,
    pub(super) sum: Option<Gain>,
}

/// A matrix and what is added to its product.
pub(super) struct Projection {
    pub(super) matrix: Matrix,
    pub(super) bias: Option<Numbers<f32>>,
}

impl Parameters {
    /// Reads all parameters, which must be finite; the checkpoint holds what is demanded.
    pub(super) fn read(
        of: (&Checkpoint, &Architecture),
        device: &Device,
        between: &dyn Fn(usize) -> Result<(), Error>,
    ) -> Result<Self, Stop> {
        Self::read_in_order(of, device, between).map_err(|stop| fault(of, stop, None))
    }

    fn read_in_order(
        (checkpoint, architecture): (&Checkpoint, &Architecture),
        device: &Device,
        between: &dyn Fn(usize) -> Result<(), Error>,
    ) -> Result<Self, Stop> {
        let mut loader = Loader { reader: Reader::new(checkpoint), device };
        loader.reader.check_unused(architecture)?;
        let hidden = architecture.hidden;
        let table = &architecture.embedding.table;
        let (head, bias) = match &architecture.head {
            Head::Tied { copy, bias } => {
                loader.reader.check_copy(table, copy)?;
                (None, bias)
            }
            Head::Own(linear) => (Some(&linear.weight), &linear.bias),
        };
        let mut layers = Vec::with_capacity(architecture.layers.len());
        for (index, layer) in architecture.layers.iter().enumerate() {
            between(index)?;
            layers.push(loader.layer(layer)?);
        }
        between(layers.len())?;
        let positions = match &architecture.positions {
            Positions::Learned { table, n_skipped } => {
                let rows = (*n_skipped, architecture.context);
                Some(loader.table(table, rows, hidden)?)
            }
            Positions::Rotary(_) => None,
        };
        let vocabulary = architecture.vocabulary;
        let bias = bias.as_ref().map(|name| loader.vector(name, vocabulary));
        Ok(Self {
            table: loader.table(table, (0, vocabulary), hidden)?,
            positions,
            embedding_norm: loader.gain(architecture.embedding.norm.as_ref())?,
            layers,
            final_norm: loader.gain(architecture.final_norm.as_ref())?,
            head: head.map(|name| loader.table(name, (0, vocabulary), hidden)).transpose()?,
            head_bias: bias.transpose()?,
        })
    }
}

/// Reads tensors and sends them to the GPU.
struct Loader<'a> {
    reader: Reader<'a>,
    device: &'a Device,
}

impl Loader<'_> {
    fn layer(&mut self, layer: &arch::Layer) -> Result<Layer, Stop> {
        let attention = &layer.attention;
        let head_norms = match &attention.head_norms {
            Some(HeadNorms { query, key }) => {
                let heads = attention.heads;
                let query = self.reader.head_gain(query, heads.queries_width())?;
                let key = self.reader.head_gain(key, heads.keys_width())?;
                Some([
                    self.send(&query, heads.queries_width())?,
                    self.send(&key, heads.keys_width())?,
                ])
            }
            None => None,
        };
        Ok(Layer {
            attention_norms: self.gains(&layer.attention_norms)?,
            inputs: self.projection(&attention.inputs)?,
            head_norms,
            output: self.projection(std::slice::from_ref(&attention.output))?,
            mlp_norms: self.gains(&layer.mlp_norms)?,
            up: self.projection(&layer.mlp.inputs)?,
            down: self.projection(std::slice::from_ref(&layer.mlp.down))?,
        })
    }

    /// Matrices that share their input, one below the other, their outputs in the order of use.
    fn projection(&mut self, parts: &[Linear]) -> Result<Projection, Stop> {
        let n_in = parts[0].n_in;
        let n_out: usize = parts.iter().map(|part| part.n_out).sum();
        let mut numbers = zeros(n_in * n_out)?;
        let mut bias = None;
        let mut first = 0;
        for part in parts {
            let place = |output| first + part.order.place(output);
            if part.is_transposed {
                self.reader.rows(&part.weight, part.n_out, 0..n_in, |input, bytes, dtype| {
                    for (output, x) in narrow(bytes, dtype).enumerate() {
                        numbers[place(output) * n_in + input] = x;
                    }
                })?;
            } else {
                self.reader.rows(&part.weight, n_in, 0..part.n_out, |output, bytes, dtype| {
                    write(bytes, dtype, &mut numbers[place(output) * n_in..][..n_in]);
                })?;
            }
            if let Some(name) = &part.bias {
                let part_bias = self.reader.vector(name, part.n_out)?;
                let bias = bias.get_or_insert_with(|| vec![0.0; n_out]);
                part_bias.iter().take(part.n_out).enumerate().for_each(|(output, x)| {
                    bias[place(output)] = *x;
                });
            }
            first += part.n_out;
        }
        let matrix = Matrix { numbers: self.device.upload(&numbers)?, n_in, n_out };
        let bias = bias.map(|bias| self.device.upload(&bias)).transpose()?;
        Ok(Projection { matrix, bias })
    }

    /// Some rows of a table.
    fn table(
        &mut self,
        name: &str,
        (n_skipped, n_rows): (usize, usize),
        width: usize,
    ) -> Result<Matrix, Stop> {
        let mut numbers = zeros(n_rows * width)?;
        // Those that are skipped must be finite too.
        self.reader.rows(name, width, 0..n_skipped, |_, _, _| ())?;
        self.reader.rows(name, width, n_skipped..n_skipped + n_rows, |row, bytes, dtype| {
            write(bytes, dtype, &mut numbers[row * width..][..width]);
        })?;
        Ok(Matrix { numbers: self.device.upload(&numbers)?, n_in: width, n_out: n_rows })
    }

    fn vector(&mut self, name: &str, width: usize) -> Result<Numbers<f32>, Stop> {
        let vector = self.reader.vector(name, width)?;
        Ok(self.device.upload(&vector[..width])?)
    }

    fn gains(&mut self, norms: &Norms) -> Result<Gains, Stop> {
        Ok(Gains {
            input: self.gain(norms.input.as_ref())?,
            output: self.gain(norms.output.as_ref())?,
            sum: self.gain(norms.sum.as_ref())?,
        })
    }

    fn gain(&mut self, norm: Option<&Norm>) -> Result<Option<Gain>, Stop> {
        let Some(norm) = norm else { return Ok(None) };
        let gain = self.reader.gain(norm)?;
        self.send(&gain, norm.width).map(Some)
    }

    /// The first `n_columns` gains and biases of a norm.
    fn send(&self, gain: &parameters::Gain, n_columns: usize) -> Result<Gain, Stop> {
        let parameters::Gain { gain, bias, width, epsilon } = gain;
        let bias = bias.as_ref().map(|bias| self.device.upload(&bias[..n_columns]));
        Ok(Gain {
            gain: self.device.upload(&gain[..n_columns])?,
            bias: bias.transpose()?,
            width: *width,
            epsilon: *epsilon,
        })
    }
}

fn zeros(n: usize) -> Result<Vec<bf16>, Error> {
    let mut numbers = Vec::new();
    let n_bytes = 2 * n as u64;
    numbers.try_reserve_exact(n).map_err(|_| Error::OutOfMemory { n_bytes })?;
    numbers.resize(n, bf16::ZERO);
    Ok(numbers)
}

fn write(bytes: &[u8], dtype: Dtype, to: &mut [bf16]) {
    to.iter_mut().zip(narrow(bytes, dtype)).for_each(|(to, x)| *to = x);
}

/// Published numbers, rounded to the nearest BF16.
fn narrow(bytes: &[u8], dtype: Dtype) -> impl Iterator<Item = bf16> + '_ {
    bytes.chunks_exact(dtype.n_bytes() as usize).map(move |bytes| match (dtype, bytes) {
        (Dtype::F32, &[a, b, c, d]) => bf16::from_f32(f32::from_le_bytes([a, b, c, d])),
        (Dtype::F16, &[a, b]) => bf16::from_f32(f16::from_le_bytes([a, b]).to_f32()),
        (_, bytes) => bf16::from_le_bytes([bytes[0], bytes[1]]),
    })
}
