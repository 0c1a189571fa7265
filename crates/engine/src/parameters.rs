//! Parameters in the layout that kernels want.

mod reader;

use crate::{
    arch::{Architecture, Head},
    checkpoint::{Checkpoint, Dtype},
    error::Stop,
    kernel::{
        gemm::{Panels, widen},
        memory::Buffer,
    },
};
use reader::Reader;

/// All parameters of a model.
pub(crate) struct Parameters {
    pub(crate) rows: Rows,
    pub(crate) layers: Vec<LayerParameters>,
    pub(crate) head: Projection,
    pub(crate) final_norm: Option<Gain>,
}

/// How tokens become rows.
pub(crate) struct Rows {
    /// Rows of their own; without a table they are the outputs of the head.
    table: Option<Table>,
    scale: Option<f32>,
    /// A row for each position, where positions are learned.
    positions: Option<Table>,
    pub(crate) norm: Option<Gain>,
}

/// The parameters of one layer.
pub(crate) struct LayerParameters {
    pub(crate) attention_norms: Gains,
    /// Queries, keys and values, one after the other.
    pub(crate) inputs: Projection,
    /// Gains of all heads of the queries, and of the keys.
    pub(crate) head_norms: Option<[Gain; 2]>,
    pub(crate) output: Projection,
    pub(crate) mlp_norms: Gains,
    /// Where there are gates: sixteen of them, sixteen ups, and so on.
    pub(crate) up: Projection,
    pub(crate) down: Projection,
}

/// The gains of the norms around attention or a perceptron.
pub(crate) struct Gains {
    pub(crate) input: Option<Gain>,
    pub(crate) output: Option<Gain>,
    pub(crate) sum: Option<Gain>,
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
    /// There where deviations from the mean are normed; zeros if none are published.
    pub(crate) bias: Option<Buffer>,
    /// Numbers that are normed together.
    pub(crate) width: usize,
    pub(crate) epsilon: f32,
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

    /// Writes a row, widened.
    fn write(&self, index: usize, to: &mut [f32]) {
        widen(self.row(index), self.dtype, to.iter_mut());
    }
}

impl Parameters {
    /// Writes the row of a token, which must be in the vocabulary, at a position, which must be in
    /// the context; `row` is work space for one row.
    pub(crate) fn embed(&self, (token, position): (u32, u32), to: &mut [f32], row: &mut [f32]) {
        match &self.rows.table {
            None => self.head.panels.output(token as usize, to),
            Some(table) => table.write(token as usize, to),
        }
        if let Some(scale) = self.rows.scale {
            to.iter_mut().for_each(|x| *x *= scale);
        }
        if let Some(table) = &self.rows.positions {
            table.write(position as usize, row);
            to.iter_mut().zip(&*row).take(table.width).for_each(|(to, x)| *to += *x);
        }
    }

    /// Reads all parameters; the checkpoint must hold what the architecture demands.
    pub(crate) fn read(checkpoint: &Checkpoint, architecture: &Architecture) -> Result<Self, Stop> {
        let mut reader = Reader::new(checkpoint);
        reader.check_unused(architecture)?;
        let table = match &architecture.head {
            Head::Tied { .. } => None,
            Head::Own(_) => Some(reader.table(&architecture.embedding.table, 0)?),
        };
        let layers = architecture.layers.iter().map(|layer| reader.layer(layer));
        Ok(Self {
            layers: layers.collect::<Result<_, Stop>>()?,
            head: reader.head(architecture, 0..architecture.vocabulary)?,
            rows: reader.rows_of_tokens(architecture, table)?,
            final_norm: architecture.final_norm.as_ref().map(|n| reader.gain(n)).transpose()?,
        })
    }
}
