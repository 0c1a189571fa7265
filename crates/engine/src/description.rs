//! What a model computes and with which numbers, however its files spell it.

use crate::arch::{
    Activation, Architecture, Attention, Embedding, Head, HeadNorms, Heads, Layer, Linear, Mlp,
    Norm, Norms, Order, Positions, Rope,
};
use std::ops::Range;

/// An architecture without the names of anything.
///
/// Two models with equal descriptions and equal numbers run the same operations on the same
/// singles. What a config says otherwise, its keys, defaults and the name of its type, is left out.
#[derive(Debug)]
pub(crate) struct Description {
    /// All sizes, switches and constants in a fixed order, integers in little endian.
    pub(crate) bytes: Vec<u8>,
    /// The numbers, in the order in which the description speaks of them.
    pub(crate) parts: Vec<Part>,
}

/// Numbers of a tensor that stand next to each other: all of it, unless several things share it.
#[derive(Debug)]
pub(crate) struct Part {
    /// Name in the checkpoint.
    pub(crate) name: String,
    /// From the first element on.
    pub(crate) elements: Range<u64>,
}

impl Description {
    /// Of all that the forward pass reads. A field that is new does not compile before it is here.
    pub(crate) fn of(architecture: &Architecture) -> Self {
        let Architecture {
            name: _,
            vocabulary,
            context,
            hidden,
            embedding,
            positions,
            layers,
            final_norm,
            head,
            logit_cap,
            unused: _,
        } = architecture;
        let Embedding { table, scale, norm } = embedding;
        let mut description = Self { bytes: Vec::new(), parts: Vec::new() };
        description.sizes(&[*vocabulary, *context, *hidden]);
        let table_size = vocabulary * hidden;
        description.part(table, 0..table_size);
        description.option(*scale, Self::single);
        description.option(norm.as_ref(), Self::norm);
        match positions {
            Positions::Rotary(rope) => description.rope(rope),
            Positions::Learned { table: rows, n_skipped } => {
                description.bytes.push(1);
                description.part(rows, n_skipped * hidden..(n_skipped + context) * hidden);
            }
        }
        description.sizes(&[layers.len()]);
        layers.iter().for_each(|layer| description.layer(layer, *context));
        description.option(final_norm.as_ref(), Self::norm);
        // A head that repeats the table is the table, whatever the config calls it.
        let (weight, bias) = match head {
            Head::Tied { copy: _, bias } => (table, bias),
            Head::Own(linear) => (&linear.weight, &linear.bias),
        };
        description.part(weight, 0..table_size);
        description.option(bias.as_ref(), |to, bias| to.part(bias, 0..*vocabulary));
        description.option(*logit_cap, Self::single);
        description
    }

    fn rope(&mut self, rope: &Rope) {
        // The base has gone into the frequencies, and the longest context into the model's.
        let Rope { theta: _, frequencies, factor, context_max: _ } = rope;
        self.bytes.push(0);
        self.sizes(&[frequencies.len()]);
        frequencies.iter().for_each(|frequency| self.single(*frequency));
        self.single(*factor);
    }

    fn layer(&mut self, layer: &Layer, context: usize) {
        let Layer { attention, attention_norms, mlp, mlp_norms, is_parallel } = layer;
        self.norms(attention_norms);
        self.attention(attention, context);
        self.norms(mlp_norms);
        self.mlp(mlp);
        self.bytes.push(u8::from(*is_parallel));
    }

    fn attention(&mut self, attention: &Attention, context: usize) {
        let Attention { heads, inputs, output, head_norms, scale, score_cap, window } = attention;
        self.heads(*heads);
        let keys = heads.keys_width();
        self.linears(inputs, &[heads.queries_width(), keys, keys]);
        self.option(head_norms.as_ref(), |to, HeadNorms { query, key }| {
            for norms in [query, key] {
                to.sizes(&[norms.len()]);
                norms.iter().for_each(|norm| to.norm(norm));
            }
        });
        self.linears(std::slice::from_ref(output), &[output.n_out]);
        self.single(*scale);
        self.option(*score_cap, Self::single);
        // A window as long as the context hides nothing.
        let window = window.filter(|window| *window < context);
        self.option(window, |to, window| to.sizes(&[window]));
    }

    fn mlp(&mut self, mlp: &Mlp) {
        let Mlp { is_gated, inputs, down, activation } = mlp;
        let width = mlp.width();
        if *is_gated {
            self.bytes.push(1);
            self.linears(inputs, &[width, width]);
        } else {
            self.bytes.push(0);
            self.linears(inputs, &[width]);
        }
        self.linears(std::slice::from_ref(down), &[down.n_out]);
        self.bytes.push(match activation {
            Activation::Silu => 0,
            Activation::Gelu => 1,
            Activation::GeluTanh => 2,
            Activation::Relu => 3,
        });
    }

    /// Matrices that share their input; `uses` are the outputs that are used for one thing each.
    ///
    /// Published one by one or as one they are the same: what is published as one in the order of
    /// use is taken apart.
    fn linears(&mut self, linears: &[Linear], uses: &[usize]) {
        let mut start = 0;
        for linear in linears {
            let end = start + linear.n_out;
            if linear.is_transposed || !matches!(linear.order, Order::AsUsed) {
                self.bytes.push(1 + u8::from(linear.is_transposed));
                self.order(linear.order);
                self.outputs(linear, 0..linear.n_out);
            } else {
                let (mut from, mut border) = (start, 0_usize);
                for width in uses.iter().chain([&usize::MAX]) {
                    border = border.saturating_add(*width);
                    let to = border.min(end);
                    if from < to {
                        self.bytes.push(0);
                        self.outputs(linear, from - start..to - start);
                        from = to;
                    }
                }
            }
            start = end;
        }
    }

    /// Some outputs of a matrix, and what is added to them.
    fn outputs(&mut self, linear: &Linear, outputs: Range<usize>) {
        let Linear { weight, bias, n_in, n_out: _, is_transposed: _, order: _ } = linear;
        self.sizes(&[*n_in, outputs.len()]);
        self.part(weight, outputs.start * n_in..outputs.end * n_in);
        self.option(bias.as_ref(), |to, bias| to.part(bias, outputs));
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::AsUsed => self.bytes.push(0),
            Order::GroupByGroup(heads) => {
                self.bytes.push(1);
                self.heads(heads);
            }
            Order::PairByPair { head_size, n_turned } => {
                self.bytes.push(2);
                self.sizes(&[head_size, n_turned]);
            }
        }
    }

    fn heads(&mut self, Heads { n_heads, n_kv_heads, head_size }: Heads) {
        self.sizes(&[n_heads, n_kv_heads, head_size]);
    }

    fn norms(&mut self, Norms { input, output, sum }: &Norms) {
        for norm in [input, output, sum] {
            self.option(norm.as_ref(), Self::norm);
        }
    }

    fn norm(&mut self, norm: &Norm) {
        let Norm { has_mean, gain, gain_offset, bias, width, epsilon } = norm;
        self.bytes.push(u8::from(*has_mean));
        self.sizes(&[*width]);
        self.single(*gain_offset);
        self.single(*epsilon);
        self.part(gain, 0..*width);
        self.option(bias.as_ref(), |to, bias| to.part(bias, 0..*width));
    }

    fn part(&mut self, name: &str, elements: Range<usize>) {
        let elements = elements.start as u64..elements.end as u64;
        self.parts.push(Part { name: name.to_owned(), elements });
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bytes.push(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn sizes(&mut self, sizes: &[usize]) {
        self.bytes.extend(sizes.iter().flat_map(|size| (*size as u64).to_le_bytes()));
    }

    fn single(&mut self, number: f32) {
        self.bytes.extend(number.to_bits().to_le_bytes());
    }
}
