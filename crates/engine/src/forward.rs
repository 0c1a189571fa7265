//! The forward pass: rows of hidden states through one layer after the other.
//!
//! Rows of several sequences lie one below the other, so that a product with a matrix covers all
//! of them; only attention looks at sequences. A layer takes nothing but its own parameters and
//! the rows, so that layers may be resident or read one by one.

use crate::{
    arch::{Activation, Architecture, Attention, Layer},
    batch::{Batch, HeadMemory, Memory, QueryBlock, RowBlock, Strides, WorkSpace},
    error::Error,
    kernel::{
        self, InstructionSet,
        activation::{Bend, Bent, Gated, Gates, Gelu, GeluTanh, Relu, Silu},
        attention::{Attend, Remember},
        gemm::{self, Add, Capped, Product, Rows, Store},
        head::{CrossEntropy, RowLoss},
        memory::Buffer,
        norm::{HeadNorm, LayerNorm, RmsNorm},
        rotate::{Angles, Rotate},
        simd::LANES,
    },
    parameters::{Gain, LayerParameters, Projection},
    pool,
};
use std::ops::Range;

/// What is the same for all rows of one call.
pub(crate) struct Forward<'a> {
    pub(crate) architecture: &'a Architecture,
    /// There where positions are rotary.
    pub(crate) angles: Option<&'a Angles>,
    pub(crate) set: InstructionSet,
    pub(crate) strides: Strides,
    /// Asked before every piece of work; once true, what is computed means nothing.
    pub(crate) is_cancelled: &'a (dyn Fn() -> bool + Sync),
}

/// Rows of a batch, and the keys and values of their sequences.
pub(crate) struct Held<'a> {
    pub(crate) batch: &'a mut Batch,
    pub(crate) memory: &'a mut Memory,
}

/// The part of a head for some tokens of the vocabulary.
#[derive(Clone, Copy)]
pub(crate) struct HeadPart<'a> {
    pub(crate) head: &'a Projection,
    pub(crate) tokens: &'a Range<usize>,
}

/// What rows are measured by: for each of them its target, and the loss that goes on.
pub(crate) struct Marks<'a> {
    pub(crate) targets: &'a [u32],
    pub(crate) losses: &'a mut [RowLoss],
}

/// A product that is added to hidden states, and its norm if there is one.
#[derive(Clone, Copy)]
struct Summand<'a> {
    projection: &'a Projection,
    gain: Option<&'a Gain>,
}

impl Forward<'_> {
    /// Runs one layer on as many threads as there are work spaces.
    pub(crate) fn layer(
        &self,
        index: usize,
        parameters: &LayerParameters,
        held: Held<'_>,
        spaces: &mut [WorkSpace],
    ) -> Result<(), Error> {
        let Held { batch, memory } = held;
        let n_threads = spaces.len();
        let layer = &self.architecture.layers[index];
        let of = (index, &layer.attention);
        self.each(batch.row_blocks(memory, n_threads), spaces, |block, space| {
            self.project_inputs(layer, parameters, block, space);
        })?;
        self.each(batch.head_memories(memory, of), spaces, |memory, _| {
            self.remember(&layer.attention, memory);
        })?;
        self.each(batch.query_blocks(memory, of), spaces, |block, space| {
            self.attend(&layer.attention, block, space);
        })?;
        self.each(batch.row_blocks(memory, n_threads), spaces, |mut block, space| {
            self.add_attention(layer, parameters, &mut block, space);
            self.add_mlp(layer, parameters, &mut block, space);
        })
    }

    /// Norms the rows of a batch where they are: those of the embedding, or of the last layer.
    pub(crate) fn norm_rows(
        &self,
        gain: Option<&Gain>,
        batch: &mut Batch,
        spaces: &mut [WorkSpace],
    ) -> Result<(), Error> {
        let Some(gain) = gain else { return Ok(()) };
        self.each(batch.hidden_blocks(spaces.len()), spaces, |(hidden, _), space| {
            self.norm_in_place(gain, hidden, space);
        })
    }

    /// Goes on with the loss of each row over some tokens.
    ///
    /// The rows have been normed.
    pub(crate) fn losses(
        &self,
        part: HeadPart<'_>,
        batch: &mut Batch,
        spaces: &mut [WorkSpace],
        marks: Marks<'_>,
    ) -> Result<(), Error> {
        let HeadPart { head, tokens } = part;
        let Marks { losses: mut rest, targets: mut rest_targets } = marks;
        let blocks = batch.hidden_blocks(spaces.len()).map(|(hidden, positions)| {
            let n = positions.len();
            let losses = rest.split_off_mut(..n).unwrap_or_default();
            (self.rows(hidden), losses, rest_targets.split_off(..n).unwrap_or_default())
        });
        self.each(blocks, spaces, |(rows, losses, targets), space| {
            let (panels, bias) = head.parts();
            let epilogue = CrossEntropy {
                targets,
                losses,
                tokens: tokens.clone(),
                bias,
                cap: self.architecture.logit_cap,
                scratch: &mut space.head,
            };
            let scratch = &mut space.product;
            kernel::run(self.set, Product { rows, panels, scratch, epilogue });
        })
    }

    /// The logits of all rows, which have been normed, each padded to whole panels.
    pub(crate) fn logits(
        &self,
        head: &Projection,
        batch: &mut Batch,
        space: &mut WorkSpace,
    ) -> Result<Buffer, Error> {
        let (panels, bias) = head.parts();
        let stride = panels.n_panels * LANES;
        let mut logits = Buffer::zeros(batch.n_rows() * stride)?;
        let mut rest = &mut logits[..];
        for (hidden, _) in batch.hidden_blocks(1) {
            let rows = self.rows(hidden);
            let out = rest.split_off_mut(..rows.n_rows * stride).unwrap_or_default();
            let (to, scratch) = (Store { out, stride, bias }, &mut space.product);
            match self.architecture.logit_cap {
                None => {
                    kernel::run(self.set, Product { rows, panels, scratch, epilogue: to });
                }
                Some(cap) => {
                    let epilogue = Capped { to, cap };
                    kernel::run(self.set, Product { rows, panels, scratch, epilogue });
                }
            }
        }
        Ok(logits)
    }

    /// Shares tasks among the threads; an error if the call was cancelled meanwhile.
    fn each<T: Send>(
        &self,
        tasks: impl Iterator<Item = T> + Send,
        spaces: &mut [WorkSpace],
        run: impl Fn(T, &mut WorkSpace) + Sync,
    ) -> Result<(), Error> {
        pool::each(tasks, spaces, |task, space| {
            if !(self.is_cancelled)() {
                run(task, space);
            }
        });
        if (self.is_cancelled)() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Norm; queries, keys and values; their norms; rotation.
    fn project_inputs(
        &self,
        layer: &Layer,
        parameters: &LayerParameters,
        block: RowBlock<'_>,
        space: &mut WorkSpace,
    ) {
        let (attention, stride) = (&layer.attention, self.strides.inputs);
        let heads = attention.heads;
        let RowBlock { hidden, inputs, positions } = block;
        let gain = parameters.attention_norms.input.as_ref();
        let rows = self.normed(gain, hidden, &mut space.normed);
        let (panels, bias) = parameters.inputs.parts();
        let epilogue = Store { out: inputs, stride, bias };
        kernel::run(self.set, Product { rows, panels, scratch: &mut space.product, epilogue });
        if let Some([query, key]) = &parameters.head_norms {
            let columns = [heads.queries_width(), heads.keys_width()];
            for (gain, first, n) in [(query, 0, columns[0]), (key, columns[0], columns[1])] {
                let Gain { width, epsilon, .. } = *gain;
                let (bias, gain) = (gain.bias.as_deref().map(|bias| &bias[..n]), &gain.gain[..n]);
                kernel::run(
                    self.set,
                    HeadNorm { rows: inputs, stride, first, gain, bias, width, epsilon },
                );
            }
        }
        let rotate = Rotate {
            rows: inputs,
            stride,
            positions,
            angles: self.angles,
            head_size: heads.head_size,
            n_heads: heads.n_heads,
            n_kv_heads: heads.n_kv_heads,
            scale: attention.scale,
        };
        kernel::run(self.set, rotate);
    }

    /// Keys and values into panels.
    fn remember(&self, attention: &Attention, memory: HeadMemory<'_>) {
        let HeadMemory { shape, head, panels, rows, first, n_rows } = memory;
        let heads = attention.heads;
        let key = heads.queries_width() + head * heads.head_size;
        let remember = Remember {
            shape,
            panels,
            rows: &rows[key..],
            stride: self.strides.inputs,
            value: heads.keys_width(),
            first,
            n_rows,
        };
        kernel::run(self.set, remember);
    }

    fn attend(&self, attention: &Attention, block: QueryBlock<'_>, space: &mut WorkSpace) {
        let QueryBlock { shape, rows, panels, first, n_rows } = block;
        let attend = Attend {
            shape,
            rows,
            stride: self.strides.inputs,
            n_rows,
            first,
            n_heads: attention.heads.n_heads,
            n_sharing: attention.heads.n_heads / attention.heads.n_kv_heads,
            window: attention.window.unwrap_or(usize::MAX),
            score_cap: attention.score_cap,
            panels,
            scratch: &mut space.attention,
        };
        kernel::run(self.set, attend);
    }

    /// What attention gathered, projected, normed if need be, and added.
    fn add_attention(
        &self,
        layer: &Layer,
        parameters: &LayerParameters,
        block: &mut RowBlock<'_>,
        space: &mut WorkSpace,
    ) {
        if layer.is_parallel {
            // What the perceptron will work on, before attention is added.
            let norms = [&parameters.mlp_norms.input, &parameters.attention_norms.input];
            let gain = norms.into_iter().find_map(Option::as_ref);
            self.normed(gain, block.hidden, &mut space.normed);
        }
        let n_rows = block.positions.len();
        let rows = Rows { data: &*block.inputs, stride: self.strides.inputs, n_rows };
        let gain = parameters.attention_norms.output.as_ref();
        let summand = Summand { projection: &parameters.output, gain };
        self.add(rows, summand, block.hidden, space);
        if let Some(gain) = &parameters.attention_norms.sum {
            self.norm_in_place(gain, block.hidden, space);
        }
    }

    /// The perceptron's result, normed if need be, and added.
    fn add_mlp(
        &self,
        layer: &Layer,
        parameters: &LayerParameters,
        block: &mut RowBlock<'_>,
        space: &mut WorkSpace,
    ) {
        let (n_rows, stride) = (block.positions.len(), self.strides.intermediate);
        let mut wide = std::mem::take(&mut space.intermediate);
        let WorkSpace { normed, product, gates, .. } = &mut *space;
        let rows = if layer.is_parallel {
            Rows { data: &*normed, stride: self.strides.hidden, n_rows }
        } else {
            self.normed(parameters.mlp_norms.input.as_ref(), block.hidden, normed)
        };
        let up = Up { set: self.set, rows, up: &parameters.up, layer };
        up.run(&mut wide, stride, (product, gates));

        let rows = Rows { data: &wide, stride, n_rows };
        let gain = parameters.mlp_norms.output.as_ref();
        let summand = Summand { projection: &parameters.down, gain };
        self.add(rows, summand, block.hidden, space);
        space.intermediate = wide;
        if let Some(gain) = &parameters.mlp_norms.sum {
            self.norm_in_place(gain, block.hidden, space);
        }
    }

    /// Adds a product to hidden states, itself normed if there is a norm for it.
    fn add(&self, rows: Rows<'_>, summand: Summand<'_>, hidden: &mut [f32], space: &mut WorkSpace) {
        let Summand { projection, gain } = summand;
        let (stride, scratch) = (self.strides.hidden, &mut space.product);
        let (panels, bias) = projection.parts();
        let Some(gain) = gain else {
            let epilogue = Add(Store { out: hidden, stride, bias });
            kernel::run(self.set, Product { rows, panels, scratch, epilogue });
            return;
        };
        let n_rows = rows.n_rows;
        let epilogue = Store { out: &mut space.given, stride, bias };
        kernel::run(self.set, Product { rows, panels, scratch, epilogue });
        let given = Rows { data: &space.given, stride, n_rows };
        self.norm(gain, given, &mut space.normed);
        hidden.iter_mut().zip(&*space.normed).for_each(|(x, given)| *x += given);
    }

    /// Normed rows, written to work space; without a norm the rows as they are.
    fn normed<'a>(&self, gain: Option<&Gain>, hidden: &'a [f32], to: &'a mut Buffer) -> Rows<'a> {
        let rows = self.rows(hidden);
        let Some(gain) = gain else { return rows };
        self.norm(gain, rows, to);
        Rows { data: to, ..rows }
    }

    fn norm_in_place(&self, gain: &Gain, hidden: &mut [f32], space: &mut WorkSpace) {
        self.norm(gain, self.rows(hidden), &mut space.normed);
        hidden.copy_from_slice(&space.normed[..hidden.len()]);
    }

    fn rows<'a>(&self, hidden: &'a [f32]) -> Rows<'a> {
        let stride = self.strides.hidden;
        Rows { data: hidden, stride, n_rows: hidden.len() / stride }
    }

    /// Writes normed rows to `out`.
    fn norm(&self, gain: &Gain, rows: Rows<'_>, out: &mut [f32]) {
        let out_stride = self.strides.hidden;
        let Gain { gain, bias, width, epsilon } = gain;
        let (width, epsilon) = (*width, *epsilon);
        match bias {
            None => {
                kernel::run(self.set, RmsNorm { rows, gain, width, epsilon, out, out_stride });
            }
            Some(bias) => {
                let norm = LayerNorm { rows, gain, bias, width, epsilon, out, out_stride };
                kernel::run(self.set, norm);
            }
        }
    }
}

/// The first product of a perceptron and its bend.
struct Up<'a> {
    set: InstructionSet,
    rows: Rows<'a>,
    up: &'a Projection,
    layer: &'a Layer,
}

impl Up<'_> {
    fn run(&self, out: &mut [f32], stride: usize, scratch: (&mut gemm::Scratch, &mut Gates)) {
        let to = Store { out, stride, bias: self.up.bias.as_deref() };
        match self.layer.mlp.activation {
            Activation::Silu => self.bend(Silu, to, scratch),
            Activation::Gelu => self.bend(Gelu, to, scratch),
            Activation::GeluTanh => self.bend(GeluTanh, to, scratch),
            Activation::Relu => self.bend(Relu, to, scratch),
        }
    }

    fn bend(
        &self,
        bend: impl Bend,
        to: Store<'_>,
        (scratch, gates): (&mut gemm::Scratch, &mut Gates),
    ) {
        let (rows, panels) = (self.rows, &self.up.panels);
        if self.layer.mlp.is_gated {
            let epilogue = Gated { to, gates, bend };
            kernel::run(self.set, Product { rows, panels, scratch, epilogue });
        } else {
            let epilogue = Bent { to, bend };
            kernel::run(self.set, Product { rows, panels, scratch, epilogue });
        }
    }
}
