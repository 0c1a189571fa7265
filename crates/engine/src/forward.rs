//! The forward pass: rows of hidden states through one layer after the other.
//!
//! Rows of several sequences lie one below the other, so that a product with a matrix covers all
//! of them; only attention looks at sequences. A layer takes nothing but its own parameters and
//! the rows, so that layers may be resident or read one by one.

use crate::{
    arch::{Activation, Architecture, Attention, Layer, Mlp},
    batch::{Batch, HeadMemory, QueryBlock, RowBlock, Strides, WorkSpace},
    error::Error,
    kernel::{
        self, InstructionSet,
        activation::{Gelu, SwiGlu},
        attention::{Attend, Remember},
        gemm::{Add, Product, Rows, Store},
        head::{CrossEntropy, RowLoss},
        memory::Buffer,
        norm::{HeadNorm, LayerNorm, RmsNorm},
        rotate::{Angles, Rotate},
        simd::LANES,
    },
    parameters::{Gain, LayerParameters, Parameters},
    pool,
};

/// What is the same for all rows of one call.
pub(crate) struct Forward<'a> {
    pub(crate) architecture: &'a Architecture,
    pub(crate) parameters: &'a Parameters,
    /// There where positions are rotary.
    pub(crate) angles: Option<&'a Angles>,
    pub(crate) set: InstructionSet,
    pub(crate) strides: Strides,
}

impl Forward<'_> {
    /// Runs all layers on as many threads as there are work spaces.
    ///
    /// Between layers, `is_cancelled` may stop it.
    pub(crate) fn layers(
        &self,
        batch: &mut Batch,
        spaces: &mut [WorkSpace],
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let n_threads = spaces.len();
        let all = self.architecture.layers.iter().zip(&self.parameters.layers);
        for (index, (layer, parameters)) in all.enumerate() {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            let attention = &layer.attention;
            pool::each(batch.row_blocks(n_threads), spaces, |block, space| {
                self.project_inputs(attention, parameters, block, space);
            });
            pool::each(batch.head_memories(index, attention), spaces, |memory, _| {
                self.remember(attention, memory);
            });
            pool::each(batch.query_blocks(index, attention), spaces, |block, space| {
                self.attend(attention, block, space);
            });
            pool::each(batch.row_blocks(n_threads), spaces, |mut block, space| {
                self.project_outputs(layer, parameters, &mut block, space);
            });
        }
        Ok(())
    }

    /// The loss of each row against its target; a row without successor has an arbitrary target.
    pub(crate) fn losses(
        &self,
        batch: &mut Batch,
        spaces: &mut [WorkSpace],
        targets: &[u32],
    ) -> Vec<RowLoss> {
        let mut losses = vec![RowLoss::START; targets.len()];
        let n_threads = spaces.len();
        let (mut rest, mut rest_targets) = (&mut losses[..], targets);
        let blocks = batch.row_blocks(n_threads).map(|block| {
            let n = block.positions.len();
            let losses = rest.split_off_mut(..n).unwrap_or_default();
            (block, losses, rest_targets.split_off(..n).unwrap_or_default())
        });
        pool::each(blocks, spaces, |(block, losses, targets), space| {
            let WorkSpace { normed, product, head, .. } = space;
            let rows = self.norm(&self.parameters.final_norm, &block, normed);
            let vocabulary = self.architecture.vocabulary;
            let epilogue = CrossEntropy { targets, losses, vocabulary, scratch: head };
            let panels = &self.parameters.head;
            kernel::run(self.set, Product { rows, panels, scratch: product, epilogue });
        });
        losses
    }

    /// The logits of all rows, each padded to whole panels.
    pub(crate) fn logits(&self, batch: &mut Batch, space: &mut WorkSpace) -> Result<Buffer, Error> {
        let panels = &self.parameters.head;
        let stride = panels.n_panels * LANES;
        let mut logits = Buffer::zeros(batch.n_rows() * stride)?;
        let mut rest = &mut logits[..];
        for block in batch.row_blocks(1) {
            let WorkSpace { normed, product, .. } = &mut *space;
            let rows = self.norm(&self.parameters.final_norm, &block, normed);
            let out = rest.split_off_mut(..rows.n_rows * stride).unwrap_or_default();
            let epilogue = Store { out, stride, bias: None };
            kernel::run(self.set, Product { rows, panels, scratch: product, epilogue });
        }
        Ok(logits)
    }

    /// Norm; queries, keys and values; rotation.
    fn project_inputs(
        &self,
        attention: &Attention,
        parameters: &LayerParameters,
        block: RowBlock<'_>,
        space: &mut WorkSpace,
    ) {
        let stride = self.strides.inputs;
        let rows = self.norm(&parameters.attention_norm, &block, &mut space.normed);
        let RowBlock { inputs, positions, .. } = block;
        let (panels, bias) = parameters.inputs.parts();
        let epilogue = Store { out: inputs, stride, bias };
        kernel::run(self.set, Product { rows, panels, scratch: &mut space.product, epilogue });
        if let Some([query, key]) = &parameters.head_norms {
            let (n_heads, n_kv_heads) = (attention.n_heads, attention.n_kv_heads);
            for (gain, first, n_heads) in [(query, 0, n_heads), (key, n_heads, n_kv_heads)] {
                let heads = first * attention.head_size..(first + n_heads) * attention.head_size;
                let (gain, epsilon) = (&gain.gain[..attention.head_size], gain.epsilon);
                kernel::run(self.set, HeadNorm { rows: inputs, stride, heads, gain, epsilon });
            }
        }
        let rotate = Rotate {
            rows: inputs,
            stride,
            positions,
            angles: self.angles,
            head_size: attention.head_size,
            n_heads: attention.n_heads,
            n_kv_heads: attention.n_kv_heads,
            scale: 1.0 / (attention.head_size as f32).sqrt(),
        };
        kernel::run(self.set, rotate);
    }

    /// Keys and values into panels.
    fn remember(&self, attention: &Attention, memory: HeadMemory<'_>) {
        let HeadMemory { shape, head, panels, rows, first, n_rows } = memory;
        let key = attention.queries_width() + head * attention.head_size;
        let remember = Remember {
            shape,
            panels,
            rows: &rows[key..],
            stride: self.strides.inputs,
            value: attention.keys_width(),
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
            n_heads: attention.n_heads,
            n_sharing: attention.n_heads / attention.n_kv_heads,
            window: attention.window.unwrap_or(usize::MAX),
            panels,
            scratch: &mut space.attention,
        };
        kernel::run(self.set, attend);
    }

    /// Output projection and residual; norm, perceptron and residual.
    fn project_outputs(
        &self,
        layer: &Layer,
        parameters: &LayerParameters,
        block: &mut RowBlock<'_>,
        space: &mut WorkSpace,
    ) {
        let Strides { hidden, inputs, intermediate } = self.strides;
        let n_rows = block.positions.len();
        let WorkSpace { normed, intermediate: wide, product: scratch, gates, .. } = space;

        if layer.is_parallel {
            // Before attention is added.
            self.norm(&parameters.mlp_norm, block, normed);
        }
        let rows = Rows { data: &*block.inputs, stride: inputs, n_rows };
        let (panels, bias) = parameters.output.parts();
        let epilogue = Add(Store { out: &mut *block.hidden, stride: hidden, bias });
        kernel::run(self.set, Product { rows, panels, scratch, epilogue });

        if !layer.is_parallel {
            self.norm(&parameters.mlp_norm, block, normed);
        }
        let rows = Rows { data: &*normed, stride: hidden, n_rows };
        let (panels, bias) = parameters.up.parts();
        match &layer.mlp {
            Mlp::Gated(_) => {
                let epilogue = SwiGlu { out: wide, stride: intermediate, bias, gates };
                kernel::run(self.set, Product { rows, panels, scratch: &mut *scratch, epilogue });
            }
            Mlp::Plain { activation: Activation::GeluTanh, .. } => {
                let epilogue = Gelu::<true>(Store { out: wide, stride: intermediate, bias });
                kernel::run(self.set, Product { rows, panels, scratch: &mut *scratch, epilogue });
            }
            Mlp::Plain { activation: Activation::Gelu, .. } => {
                let epilogue = Gelu::<false>(Store { out: wide, stride: intermediate, bias });
                kernel::run(self.set, Product { rows, panels, scratch: &mut *scratch, epilogue });
            }
        }

        let rows = Rows { data: wide, stride: intermediate, n_rows };
        let (panels, bias) = parameters.down.parts();
        let epilogue = Add(Store { out: &mut *block.hidden, stride: hidden, bias });
        kernel::run(self.set, Product { rows, panels, scratch, epilogue });
    }

    /// Writes the normed rows of a block to `out`.
    fn norm<'o>(&self, gain: &Gain, block: &RowBlock<'_>, out: &'o mut Buffer) -> Rows<'o> {
        let (stride, n_rows) = (self.strides.hidden, block.positions.len());
        let rows = Rows { data: block.hidden, stride, n_rows };
        let Gain { gain, bias, width, epsilon } = gain;
        let (width, epsilon, out_stride) = (*width, *epsilon, stride);
        let to = &mut *out;
        match bias {
            None => {
                let norm = RmsNorm { rows, gain, width, epsilon, out: to, out_stride };
                kernel::run(self.set, norm);
            }
            Some(bias) => {
                let norm = LayerNorm { rows, gain, bias, width, epsilon, out: to, out_stride };
                kernel::run(self.set, norm);
            }
        }
        Rows { data: out, stride, n_rows }
    }
}
