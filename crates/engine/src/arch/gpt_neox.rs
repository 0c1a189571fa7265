//! GPT-NeoX and Pythia: rotation of a part of each head, attention and perceptron side by side.

use super::{
    Activation, Architecture, Attention, Head, Heads, Layer, Linear, Mlp, Norm, Norms, Order,
    Plain, Positions, Rope, Sizes, limits, rope::Spelling,
};
use crate::config::Fields;
use protocol::Reason;

/// A quarter of each head is turned where a config does not say.
const ROPE: Spelling =
    Spelling { theta: "rotary_emb_base", share: Some(("rotary_pct", 0.25)), original: None };

/// Reads the config of a GPT-NeoX; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    fields.check_class("GPTNeoXForCausalLM");
    fields.check_dtype();
    let shape = Shape::read(fields)?;
    let (hidden, vocabulary) = (shape.sizes.hidden, shape.sizes.vocabulary);
    let context = fields.unsigned("max_position_embeddings", 1..=limits::CONTEXT_MAX);
    let context = context.unwrap_or(2048);
    let rope = Rope::read(fields, (shape.heads.head_size, context), ROPE)?;
    let head = Head::read(fields, false, Linear::new("embed_out", (hidden, vocabulary), false));
    Ok(Architecture::new(Plain {
        name: "gpt_neox",
        sizes: &shape.sizes,
        context: rope.context_max.map_or(context, |most| context.min(most)),
        table: "gpt_neox.embed_in.weight",
        positions: Positions::Rotary(rope),
        layers: (0..shape.sizes.n_layers).map(|index| shape.layer(index)).collect(),
        final_norm: Norm::layer("gpt_neox.final_layer_norm", hidden, shape.epsilon),
        head,
    }))
}

/// What all layers have in common.
struct Shape {
    sizes: Sizes,
    intermediate: usize,
    heads: Heads,
    epsilon: f32,
    activation: Activation,
    attention_bias: bool,
    is_parallel: bool,
}

impl Shape {
    fn read(fields: &mut Fields) -> Result<Self, Reason> {
        let sizes = Sizes::read(fields);
        let n_heads = fields.required("num_attention_heads", 1..=limits::HEADS_MAX);
        let activation = Activation::read(fields, "hidden_act");
        Ok(Self {
            heads: Heads::of(sizes.hidden, n_heads, n_heads)?,
            sizes,
            intermediate: fields.required("intermediate_size", 1..=limits::INTERMEDIATE_MAX),
            epsilon: fields.real("layer_norm_eps", 1e-12..=1.0).unwrap_or(1e-5) as f32,
            activation: activation.unwrap_or(Activation::Gelu),
            attention_bias: fields.boolean("attention_bias").unwrap_or(true),
            is_parallel: fields.boolean("use_parallel_residual").unwrap_or(true),
        })
    }

    fn layer(&self, index: usize) -> Layer {
        let (hidden, intermediate) = (self.sizes.hidden, self.intermediate);
        let module = |name: &str| format!("gpt_neox.layers.{index}.{name}");
        let linear =
            |name: &str, width| Linear::new(&module(name), (hidden, width), self.attention_bias);
        let norms = |name: &str| Norms::before(Norm::layer(&module(name), hidden, self.epsilon));
        let order = Order::GroupByGroup(self.heads);
        let inputs = vec![linear("attention.query_key_value", 3 * hidden).ordered(order)];
        Layer {
            attention: Attention::new(self.heads, inputs, linear("attention.dense", hidden)),
            attention_norms: norms("input_layernorm"),
            mlp: Mlp {
                is_gated: false,
                inputs: vec![Linear::new(
                    &module("mlp.dense_h_to_4h"),
                    (hidden, intermediate),
                    true,
                )],
                down: Linear::new(&module("mlp.dense_4h_to_h"), (intermediate, hidden), true),
                activation: self.activation,
            },
            mlp_norms: norms("post_attention_layernorm"),
            is_parallel: self.is_parallel,
        }
    }
}
