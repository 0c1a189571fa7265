//! Parameters in the layout that kernels want, in memory or read while they are used.

mod ahead;
mod reader;

use crate::{
    arch::{Architecture, Head, Layer},
    checkpoint::{Checkpoint, Dtype, Hashes, Tensor},
    error::{Error, Stop},
    kernel::{
        head::BLOCK,
        memory::Buffer,
        panels::{Panels, widen},
    },
};
use protocol::Digest;
pub(crate) use reader::{Reader, fault};
use std::ops::Range;

/// All parameters of a model.
pub(crate) struct Parameters {
    pub(crate) rows: Rows,
    pub(crate) final_norm: Option<Gain>,
    store: Store,
}

/// Where layers and head are.
enum Store {
    /// In memory.
    Resident { layers: Vec<LayerParameters>, head: Projection },
    /// In the files: each is read when its turn comes.
    Streamed(Streamed),
}

/// What stays in the files.
struct Streamed {
    checkpoint: Checkpoint,
    /// The tensor root that it must have, and the hashes of what is not read again.
    expected: Option<(Digest, Hashes)>,
}

/// What the rows of a model go through, one after the other.
pub(crate) enum Piece<'a> {
    /// A layer with its number.
    Layer(usize, &'a LayerParameters),
    /// The outputs of the head for some tokens, in the order of the vocabulary.
    Head(Range<usize>, &'a Projection),
}

/// The same, read from the files.
enum OwnPiece {
    Layer(usize, Box<LayerParameters>),
    Head(Range<usize>, Projection),
}

/// How tokens become rows.
pub(crate) struct Rows {
    table: TokenTable,
    scale: Option<f32>,
    /// A row for each position, where positions are learned.
    positions: Option<Table>,
    pub(crate) norm: Option<Gain>,
}

/// Where the rows of tokens are.
enum TokenTable {
    /// In memory.
    Own(Table),
    /// They are the outputs of the head, in memory.
    Head,
    /// In the files.
    Streamed(Tensor),
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
    /// Reads all parameters; the checkpoint must hold what the architecture demands, and have the
    /// root that is expected.
    pub(crate) fn read(
        (checkpoint, architecture): (&Checkpoint, &Architecture),
        expected: Option<Digest>,
        between: &dyn Fn(usize) -> Result<(), Error>,
    ) -> Result<Self, Stop> {
        let hashes = expected.map(|_| Hashes::new(architecture));
        let mut reader = Reader::hashing(checkpoint, hashes);
        let read = Self::read_to_stay(&mut reader, architecture, between)
            .map_err(|stop| fault((checkpoint, architecture), stop, expected))?;
        if let (Some(hashes), Some(expected)) = (reader.into_hashes(), expected) {
            hashes.expect(expected)?;
        }
        Ok(read)
    }

    fn read_to_stay(
        reader: &mut Reader<'_>,
        architecture: &Architecture,
        between: &dyn Fn(usize) -> Result<(), Error>,
    ) -> Result<Self, Stop> {
        reader.check_unused(architecture)?;
        let table = match &architecture.head {
            Head::Tied { .. } => TokenTable::Head,
            Head::Own(_) => TokenTable::Own(reader.table(&architecture.embedding.table, 0)?),
        };
        let mut layers = Vec::with_capacity(architecture.layers.len());
        for (index, layer) in architecture.layers.iter().enumerate() {
            between(index)?;
            layers.push(reader.layer(layer)?);
        }
        between(layers.len())?;
        let head = reader.head(architecture, 0..architecture.vocabulary)?;
        Ok(Self {
            store: Store::Resident { layers, head },
            rows: reader.rows_of_tokens(architecture, table)?,
            final_norm: architecture.final_norm.as_ref().map(|n| reader.gain(n)).transpose()?,
        })
    }

    /// Reads only what every row needs; the rest stays in the files.
    ///
    /// Whether layers and head are finite, and all of it has the root that is expected, shows when
    /// they are used, all of them at every use.
    pub(crate) fn stream(
        checkpoint: Checkpoint,
        architecture: &Architecture,
        expected: Option<Digest>,
    ) -> Result<Self, Stop> {
        let hashes = expected.map(|_| Hashes::new(architecture));
        let mut reader = Reader::hashing(&checkpoint, hashes);
        match Self::read_for_rows(&mut reader, architecture) {
            Ok((rows, final_norm)) => {
                let expected = expected.zip(reader.into_hashes());
                let store = Store::Streamed(Streamed { checkpoint, expected });
                Ok(Self { rows, final_norm, store })
            }
            Err(stop) => Err(fault((&checkpoint, architecture), stop, expected)),
        }
    }

    fn read_for_rows(
        reader: &mut Reader<'_>,
        architecture: &Architecture,
    ) -> Result<(Rows, Option<Gain>), Stop> {
        reader.check_unused(architecture)?;
        let table = &architecture.embedding.table;
        if matches!(architecture.head, Head::Own(_)) {
            // Only rows of tokens that occur will be read; a tied table is read as the head.
            reader.check(table)?;
        }
        let table = reader.tensor(table)?.clone();
        let rows = reader.rows_of_tokens(architecture, TokenTable::Streamed(table))?;
        let final_norm = architecture.final_norm.as_ref().map(|n| reader.gain(n)).transpose()?;
        Ok((rows, final_norm))
    }

    /// Whether layers and head are read while they are used.
    pub(crate) fn is_streamed(&self) -> bool {
        matches!(self.store, Store::Streamed(_))
    }

    /// Hands out each layer in order, then the head in one or more parts.
    ///
    /// What is streamed is read while the piece before it is used: two exist at a time.
    pub(crate) fn each(
        &self,
        architecture: &Architecture,
        mut run: impl FnMut(Piece<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let Streamed { checkpoint, expected } = match &self.store {
            Store::Streamed(streamed) => streamed,
            Store::Resident { layers, head } => {
                for (index, layer) in layers.iter().enumerate() {
                    run(Piece::Layer(index, layer))?;
                }
                return run(Piece::Head(0..architecture.vocabulary, head));
            }
        };
        let root = expected.as_ref().map(|(root, _)| *root);
        let hashes = expected.as_ref().map(|(_, hashes)| hashes.clone());
        let mut reader = Reader::hashing(checkpoint, hashes);
        let n_layers = architecture.layers.len();
        let vocabulary = architecture.vocabulary;
        let n_tokens = head_part(architecture);
        let n_pieces = n_layers + vocabulary.div_ceil(n_tokens);
        let read = |piece: usize| match architecture.layers.get(piece) {
            Some(layer) => Ok(OwnPiece::Layer(piece, Box::new(reader.layer(layer)?))),
            None => {
                let first = (piece - n_layers) * n_tokens;
                let tokens = first..vocabulary.min(first + n_tokens);
                Ok(OwnPiece::Head(tokens.clone(), reader.head(architecture, tokens)?))
            }
        };
        ahead::each(n_pieces, read, |piece| match piece {
            OwnPiece::Layer(index, layer) => run(Piece::Layer(index, &layer)),
            OwnPiece::Head(tokens, head) => run(Piece::Head(tokens, &head)),
        })
        .map_err(|stop| fault((checkpoint, architecture), stop, root))?;
        match (reader.into_hashes(), root) {
            (Some(hashes), Some(root)) => Ok(hashes.expect(root)?),
            _ => Ok(()),
        }
    }

    /// Bytes that stay in memory of a model that is read layer by layer.
    pub(crate) fn bytes_for_rows(&self) -> u64 {
        self.rows.positions.as_ref().map_or(0, |table| table.bytes.len() as u64)
    }

    /// Writes the row of a token, which must be in the vocabulary, at a position, which must be in
    /// the context; `space` is work space for one row.
    pub(crate) fn embed(
        &self,
        (token, position): (u32, u32),
        to: &mut [f32],
        space: &mut [f32],
    ) -> Result<(), Stop> {
        match (&self.rows.table, &self.store) {
            (TokenTable::Own(table), _) => table.write(token as usize, to),
            (TokenTable::Head, Store::Resident { head, .. }) => {
                head.panels.output(token as usize, to);
            }
            (TokenTable::Streamed(tensor), Store::Streamed(streamed)) => {
                read_row(&streamed.checkpoint, tensor, token, to)?;
            }
            _ => unreachable!("a table is where layers and head are"),
        }
        if let Some(scale) = self.rows.scale {
            to.iter_mut().for_each(|x| *x *= scale);
        }
        if let Some(table) = &self.rows.positions {
            table.write(position as usize, space);
            to.iter_mut().zip(&*space).take(table.width).for_each(|(to, x)| *to += *x);
        }
        Ok(())
    }
}

/// Tokens of a part of the head that takes about as much memory as a layer: whole blocks of 256.
pub(crate) fn head_part(architecture: &Architecture) -> usize {
    let weights = |layer: &Layer| layer.linears().map(|m| m.n_in * m.n_out).sum::<usize>();
    let layer = architecture.layers.iter().map(weights).max().unwrap_or(0);
    (layer / architecture.hidden).next_multiple_of(BLOCK).max(BLOCK)
}

fn read_row(
    checkpoint: &Checkpoint,
    tensor: &Tensor,
    token: u32,
    to: &mut [f32],
) -> Result<(), Error> {
    let width = tensor.shape.get(1).map_or(0, |width| *width as usize);
    let mut bytes = vec![0; width * tensor.dtype.n_bytes() as usize];
    let at = u64::from(token) * bytes.len() as u64;
    // Whether all of the table is finite is seen when the model is opened, or with the head.
    checkpoint.read(tensor, at, &mut bytes)?;
    widen(&bytes, tensor.dtype, to.iter_mut());
    Ok(())
}
