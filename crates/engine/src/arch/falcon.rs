//! Falcon: one key for all queries, or the new decoder with a key for each group of them.

use super::{
    Activation, Architecture, Attention, Head, Heads, Layer, Linear, Mlp, Norm, Norms, Order,
    Plain, Positions, Rope, Sizes, gpt::check_switches, inconsistent, limits, rope::Spelling,
};
use crate::config::Fields;
use protocol::Reason;

/// Reads the config of a Falcon; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    fields.check_class("FalconForCausalLM");
    fields.check_dtype();
    // Positions as a penalty on scores, and a residual that later models dropped.
    let switches = [("alibi", false), ("apply_residual_connection_post_layernorm", false)];
    check_switches(fields, &switches);
    let shape = Shape::read(fields)?;
    let (hidden, vocabulary) = (shape.sizes.hidden, shape.sizes.vocabulary);
    let context = fields.unsigned("max_position_embeddings", 1..=limits::CONTEXT_MAX);
    let context = context.unwrap_or(2048);
    let rope = Rope::read(fields, (shape.heads.head_size, context), Spelling::WHOLE)?;
    let head = Head::read(fields, true, Linear::new("lm_head", (hidden, vocabulary), false));
    Ok(Architecture::new(Plain {
        name: "falcon",
        sizes: &shape.sizes,
        context: rope.context_max.map_or(context, |most| context.min(most)),
        table: "transformer.word_embeddings.weight",
        positions: Positions::Rotary(rope),
        layers: (0..shape.sizes.n_layers).map(|index| shape.layer(index)).collect(),
        final_norm: Norm::layer("transformer.ln_f", hidden, shape.epsilon),
        head,
    }))
}

/// Which norms stand before attention and the perceptron.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrangement {
    /// One after the other, each with a norm.
    Serial,
    /// Side by side behind one norm.
    OneNorm,
    /// Side by side, each with a norm.
    TwoNorms,
}

/// What all layers have in common.
struct Shape {
    sizes: Sizes,
    intermediate: usize,
    heads: Heads,
    epsilon: f32,
    activation: Activation,
    has_biases: bool,
    arrangement: Arrangement,
}

impl Shape {
    fn read(fields: &mut Fields) -> Result<Self, Reason> {
        let sizes = Sizes::read(fields);
        let n_heads = fields.required("num_attention_heads", 1..=limits::HEADS_MAX);
        let n_kv_heads = fields.unsigned("num_kv_heads", 1..=limits::HEADS_MAX);
        let is_new = fields.boolean("new_decoder_architecture").unwrap_or(false);
        let is_shared = fields.boolean("multi_query").unwrap_or(true);
        let is_parallel = fields.boolean("parallel_attn").unwrap_or(true);
        let n_norms = fields.unsigned("num_ln_in_parallel_attn", 1..=2);
        // The older decoders have one key, or as many as queries, whatever the number says.
        let n_kv_heads = match (is_new, is_shared) {
            (true, _) => n_kv_heads.unwrap_or(n_heads),
            (false, true) => 1,
            (false, false) => n_heads,
        };
        let arrangement = match (is_new, is_parallel, n_norms) {
            (true, true, None | Some(2)) => Arrangement::TwoNorms,
            (true, true, Some(_)) | (false, true, None | Some(1)) => Arrangement::OneNorm,
            (false, false, None) => Arrangement::Serial,
            _ => {
                return inconsistent(
                    "`new_decoder_architecture`, `parallel_attn` and `num_ln_in_parallel_attn` \
                     do not fit together",
                );
            }
        };
        let intermediate = fields.unsigned("ffn_hidden_size", 1..=limits::INTERMEDIATE_MAX);
        let activation = Activation::read(fields, "activation");
        Ok(Self {
            heads: Heads::of(sizes.hidden, n_heads, n_kv_heads)?,
            intermediate: intermediate.unwrap_or(4 * sizes.hidden),
            sizes,
            epsilon: fields.real("layer_norm_epsilon", 1e-12..=1.0).unwrap_or(1e-5) as f32,
            activation: activation.unwrap_or(Activation::Gelu),
            has_biases: fields.boolean("bias").unwrap_or(false),
            arrangement,
        })
    }

    fn layer(&self, index: usize) -> Layer {
        let (hidden, intermediate) = (self.sizes.hidden, self.intermediate);
        let module = |name: &str| format!("transformer.h.{index}.{name}");
        let linear = |name: &str, shape| Linear::new(&module(name), shape, self.has_biases);
        let norms = |name: &str| Norms::before(Norm::layer(&module(name), hidden, self.epsilon));
        let fused = (hidden, self.heads.inputs_width());
        let inputs = linear("self_attention.query_key_value", fused)
            .ordered(Order::GroupByGroup(self.heads));
        let output = linear("self_attention.dense", (hidden, hidden));
        let (attention_norms, mlp_norms) = match self.arrangement {
            Arrangement::Serial => (norms("input_layernorm"), norms("post_attention_layernorm")),
            Arrangement::OneNorm => (norms("input_layernorm"), Norms::default()),
            Arrangement::TwoNorms => (norms("ln_attn"), norms("ln_mlp")),
        };
        Layer {
            attention: Attention::new(self.heads, vec![inputs], output),
            attention_norms,
            mlp: Mlp {
                is_gated: false,
                inputs: vec![linear("mlp.dense_h_to_4h", (hidden, intermediate))],
                down: linear("mlp.dense_4h_to_h", (intermediate, hidden)),
                activation: self.activation,
            },
            mlp_norms,
            is_parallel: self.arrangement != Arrangement::Serial,
        }
    }
}
