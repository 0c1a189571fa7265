//! The forward pass on a GPU: the same blocks as on the CPU, in BF16.
//!
//! Matrices and what they are multiplied with are BF16, sums are F32, and so are the hidden states
//! that all layers add to, and the logits.

use super::{
    device::{Device, Numbers},
    launch::{
        Attend, Bending, Finish, Marks, NormTo, Out, QUERIES_PER_BLOCK, Rotation, Tables, Tokens,
        View,
    },
    parameters::{Gains, Layer as LayerParameters, Parameters, Projection},
};
use crate::{
    arch::{Architecture, Layer, Positions},
    error::Error,
    evaluate::tokens_run,
    kernel::rotate::Angles,
};
use half::bf16;
use std::ops::Range;

/// Most logits that exist at a time: one GiB.
const LOGITS_MAX: usize = 1 << 28;

/// What rows become in a layer, for as many rows as the largest group has.
pub(super) struct Space {
    n_rows_max: usize,
    hidden: Numbers<f32>,
    normed: Numbers<bf16>,
    inputs: Numbers<bf16>,
    up: Numbers<bf16>,
    bent: Numbers<bf16>,
    /// What attention or a perceptron gives, where it is normed before it is added.
    given: Numbers<f32>,
    logits: Numbers<f32>,
    nats: Numbers<f32>,
    tokens: Numbers<u32>,
    places: Numbers<u32>,
    targets: Numbers<u32>,
    blocks: Numbers<i32>,
    angles: Option<Numbers<f32>>,
}

/// Rows of some sequences, one below the other.
#[derive(Clone, Copy)]
struct Rows {
    n_rows: usize,
    n_blocks: usize,
}

/// A product that is added to hidden states, and its norms.
#[derive(Clone, Copy)]
struct Summand<'a> {
    projection: &'a Projection,
    norms: &'a Gains,
}

/// Everything that is the same for all rows.
pub(super) struct Forward<'a> {
    pub(super) architecture: &'a Architecture,
    pub(super) parameters: &'a Parameters,
    pub(super) device: &'a Device,
}

impl Forward<'_> {
    /// Room for groups of up to `n_rows` rows and `n_sequences` sequences, with these angles.
    pub(super) fn space(
        &self,
        (n_rows, n_sequences): (usize, usize),
        angles: Option<&Angles>,
    ) -> Result<Space, Error> {
        let Self { architecture, device, .. } = *self;
        let layers = &architecture.layers;
        let widest = |width: fn(&Layer) -> usize| layers.iter().map(width).max().unwrap_or(0);
        let hidden = architecture.hidden;
        let inputs = widest(|layer| layer.attention.heads.inputs_width());
        let intermediate = widest(|layer| layer.mlp.width());
        let up = widest(|layer| if layer.mlp.is_gated { 2 } else { 1 } * layer.mlp.width());
        let is_given = layers.iter().any(|layer| {
            layer.attention_norms.output.is_some() || layer.mlp_norms.output.is_some()
        });
        let n_blocks = n_rows / QUERIES_PER_BLOCK + n_sequences;
        let n_logits = n_rows.min(self.rows_of_logits()) * self.logits_stride();
        Ok(Space {
            n_rows_max: n_rows,
            hidden: device.zeros(n_rows * hidden)?,
            normed: device.zeros(n_rows * hidden)?,
            inputs: device.zeros(n_rows * inputs)?,
            up: device.zeros(n_rows * up)?,
            bent: device.zeros(n_rows * intermediate)?,
            given: device.zeros(if is_given { n_rows * hidden } else { 0 })?,
            logits: device.zeros(n_logits)?,
            nats: device.zeros(n_rows)?,
            tokens: device.zeros(n_rows)?,
            places: device.zeros(n_rows)?,
            targets: device.zeros(n_rows)?,
            blocks: device.zeros(4 * n_blocks)?,
            angles: angles.map(|angles| device.upload(&angles.table)).transpose()?,
        })
    }

    /// The negative log-likelihoods of the successors of all tokens that are run.
    ///
    /// `between` is called after every layer, and after the head.
    pub(super) fn nats(
        &self,
        sequences: &[Vec<u32>],
        space: &mut Space,
        between: &dyn Fn(usize) -> Result<(), Error>,
    ) -> Result<Vec<f32>, Error> {
        let Self { architecture, parameters, device } = *self;
        let rows = self.start(sequences, space)?;
        if let Some(gain) = &parameters.embedding_norm {
            device.norm_in_place(gain, (&mut space.hidden, rows.n_rows))?;
        }
        for (layer, own) in architecture.layers.iter().zip(&parameters.layers) {
            self.layer(layer, own, rows, space)?;
            between(rows.n_rows)?;
        }
        self.losses(rows, space)?;
        let mut nats = vec![0.0; rows.n_rows];
        device.read(&space.nats, &mut nats)?;
        between(rows.n_rows)?;
        Ok(nats)
    }

    /// Sends tokens, their places and successors, and the rows of the tokens into `hidden`.
    fn start(&self, sequences: &[Vec<u32>], space: &mut Space) -> Result<Rows, Error> {
        let Self { architecture, parameters, device } = *self;
        let tokens: Vec<u32> =
            sequences.iter().flat_map(|tokens| tokens_run(tokens)).copied().collect();
        let n_rows = tokens.len();
        assert!(n_rows <= space.n_rows_max, "groups are no larger than the space for them");
        let places = sequences.iter().flat_map(|tokens| 0..tokens_run(tokens).len() as u32);
        let places: Vec<u32> = places.collect();
        let targets: Vec<u32> = sequences.iter().flat_map(|tokens| &tokens[1..]).copied().collect();
        let blocks = blocks(sequences);
        device.write(&tokens, &mut space.tokens)?;
        device.write(&places, &mut space.places)?;
        device.write(&targets, &mut space.targets)?;
        device.write(&blocks, &mut space.blocks)?;
        device.embed(
            Tables { tokens: &parameters.table, places: parameters.positions.as_ref() },
            Tokens { tokens: &space.tokens, places: &space.places, n: n_rows },
            architecture.embedding.scale.unwrap_or(1.0),
            &mut space.hidden,
        )?;
        Ok(Rows { n_rows, n_blocks: blocks.len() / 4 })
    }

    fn layer(
        &self,
        layer: &Layer,
        own: &LayerParameters,
        rows: Rows,
        space: &mut Space,
    ) -> Result<(), Error> {
        let (device, width, n_rows) = (self.device, self.architecture.hidden, rows.n_rows);
        let gain = own.attention_norms.input.as_ref();
        let to = NormTo::Bf16(&mut space.normed);
        device.norm(gain, View { numbers: &space.hidden, n_rows, stride: width }, to)?;
        self.attend(layer, own, rows, space)?;
        if layer.is_parallel {
            // What the perceptron works on, before attention is added.
            if let Some(gain) = &own.mlp_norms.input {
                let to = NormTo::Bf16(&mut space.normed);
                let rows = View { numbers: &space.hidden, n_rows, stride: width };
                device.norm(Some(gain), rows, to)?;
            }
            self.bend(layer, own, n_rows, space)?;
        }
        let heads = layer.attention.heads;
        let stride = heads.inputs_width();
        let given = &mut space.given;
        let from = View { numbers: &space.inputs, n_rows, stride };
        let summand = Summand { projection: &own.output, norms: &own.attention_norms };
        self.add(from, summand, &mut space.hidden, given)?;
        if !layer.is_parallel {
            let gain = own.mlp_norms.input.as_ref();
            let to = NormTo::Bf16(&mut space.normed);
            device.norm(gain, View { numbers: &space.hidden, n_rows, stride: width }, to)?;
            self.bend(layer, own, n_rows, space)?;
        }
        let from = View { numbers: &space.bent, n_rows, stride: layer.mlp.width() };
        let summand = Summand { projection: &own.down, norms: &own.mlp_norms };
        self.add(from, summand, &mut space.hidden, &mut space.given)
    }

    /// From normed rows to what attention gathers, which replaces the queries in `inputs`.
    fn attend(
        &self,
        layer: &Layer,
        own: &LayerParameters,
        Rows { n_rows, n_blocks }: Rows,
        space: &mut Space,
    ) -> Result<(), Error> {
        let (device, width) = (self.device, self.architecture.hidden);
        let attention = &layer.attention;
        let heads = attention.heads;
        let stride = heads.inputs_width();
        let Space { normed, inputs, places, angles, blocks, .. } = space;
        let Projection { matrix, bias } = &own.inputs;
        let rows = View { numbers: &*normed, n_rows, stride: width };
        device.multiply(rows, 0, matrix, Out { numbers: inputs, stride, is_added: false })?;
        if let Some(bias) = bias {
            device.add_bias_bf16(bias, View { numbers: &mut *inputs, n_rows, stride })?;
        }
        if let Some([query, key]) = &own.head_norms {
            let (queries, keys) = (heads.queries_width(), heads.keys_width());
            let rows = View { numbers: &mut *inputs, n_rows, stride };
            device.norm_heads(query, rows, 0..queries)?;
            let rows = View { numbers: &mut *inputs, n_rows, stride };
            device.norm_heads(key, rows, queries..queries + keys)?;
        }
        if let (Some(angles), Positions::Rotary(rope)) = (angles, &self.architecture.positions) {
            let rotation = Rotation {
                angles,
                places,
                n_pairs: rope.frequencies.len(),
                head_size: heads.head_size,
                n_heads: heads.n_heads + heads.n_kv_heads,
            };
            device.rotate(View { numbers: &mut *inputs, n_rows, stride }, &rotation)?;
        }
        let attend = Attend {
            n_heads: heads.n_heads,
            n_kv_heads: heads.n_kv_heads,
            head_size: heads.head_size,
            scale: attention.scale,
            score_cap: attention.score_cap,
            window: attention.window,
        };
        let rows = View { numbers: inputs, n_rows, stride };
        device.attend(rows, (blocks, n_blocks), &attend)
    }

    /// From normed rows to `bent`.
    fn bend(
        &self,
        layer: &Layer,
        own: &LayerParameters,
        n_rows: usize,
        space: &mut Space,
    ) -> Result<(), Error> {
        let (device, width, mlp) = (self.device, self.architecture.hidden, &layer.mlp);
        let Space { normed, up, bent, .. } = space;
        let Projection { matrix, bias } = &own.up;
        let rows = View { numbers: &*normed, n_rows, stride: width };
        let out = Out { numbers: &mut *up, stride: matrix.n_out, is_added: false };
        device.multiply(rows, 0, matrix, out)?;
        let bending = Bending {
            bias: bias.as_ref(),
            is_gated: mlp.is_gated,
            activation: mlp.activation,
            width: mlp.width(),
        };
        device.bend((up, n_rows), &bending, bent)
    }

    /// Adds a product to hidden states, itself normed if there is a norm for it, and norms the sum
    /// if there is one for that.
    fn add(
        &self,
        rows: View<&Numbers<bf16>>,
        summand: Summand<'_>,
        hidden: &mut Numbers<f32>,
        given: &mut Numbers<f32>,
    ) -> Result<(), Error> {
        let (device, width, n_rows) = (self.device, self.architecture.hidden, rows.n_rows);
        let Summand { projection, norms } = summand;
        let Projection { matrix, bias } = projection;
        let is_added = norms.output.is_none();
        let to = if is_added { &mut *hidden } else { &mut *given };
        let out = Out { numbers: &mut *to, stride: width, is_added };
        device.multiply(rows, 0, matrix, out)?;
        if let Some(bias) = bias {
            device.add_bias_f32(bias, View { numbers: to, n_rows, stride: width })?;
        }
        if let Some(gain) = &norms.output {
            let rows = View { numbers: &*given, n_rows, stride: width };
            device.norm(Some(gain), rows, NormTo::Sum(hidden))?;
        }
        if let Some(gain) = &norms.sum {
            device.norm_in_place(gain, (hidden, n_rows))?;
        }
        Ok(())
    }

    /// Final norm, head and losses, as many rows at a time as there is room for logits.
    fn losses(&self, Rows { n_rows, .. }: Rows, space: &mut Space) -> Result<(), Error> {
        let Self { architecture, parameters, device } = *self;
        let width = architecture.hidden;
        let Space { hidden, normed, logits, nats, targets, .. } = space;
        let gain = parameters.final_norm.as_ref();
        let rows = View { numbers: &*hidden, n_rows, stride: width };
        device.norm(gain, rows, NormTo::Bf16(&mut *normed))?;
        let head = parameters.head.as_ref().unwrap_or(&parameters.table);
        let stride = self.logits_stride();
        let finish = Finish {
            vocabulary: architecture.vocabulary,
            bias: parameters.head_bias.as_ref(),
            cap: architecture.logit_cap,
        };
        for Range { start, end } in chunks(n_rows, self.rows_of_logits()) {
            let n = end - start;
            let rows = View { numbers: &*normed, n_rows: n, stride: width };
            let out = Out { numbers: &mut *logits, stride, is_added: false };
            device.multiply(rows, start, head, out)?;
            let rows = View { numbers: &*logits, n_rows: n, stride };
            device.cross_entropy(rows, finish, Marks { targets, nats, first: start })?;
        }
        Ok(())
    }

    /// Numbers from one row of logits to the next; products are faster when it is even.
    fn logits_stride(&self) -> usize {
        self.architecture.vocabulary.next_multiple_of(8)
    }

    fn rows_of_logits(&self) -> usize {
        (LOGITS_MAX / self.logits_stride()).max(1)
    }
}

fn chunks(n: usize, n_max: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n).step_by(n_max).map(move |start| start..n.min(start + n_max))
}

/// Blocks of queries, as attention takes them. Those that look back furthest start first.
fn blocks(sequences: &[Vec<u32>]) -> Vec<i32> {
    let mut blocks = Vec::new();
    let mut first = 0;
    for tokens in sequences {
        let n_rows = tokens_run(tokens).len();
        let queries = (0..n_rows).step_by(QUERIES_PER_BLOCK);
        blocks.extend(queries.map(|query| [first, n_rows as i32, query as i32, 0]));
        first += n_rows as i32;
    }
    blocks.sort_by_key(|[_, _, query, _]| std::cmp::Reverse(*query));
    blocks.into_iter().flatten().collect()
}
