//! Phi-1 to 2: attention and perceptron side by side behind one norm, half of each head turned.

use super::{
    Activation, Architecture, Attention, Head, HeadNorms, Heads, Layer, Linear, Mlp, Norm, Norms,
    Positions, Rope, Sizes, limits, rope::Spelling,
};
use crate::config::Fields;
use protocol::Reason;

/// Reads the config of a Phi; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    fields.check_class("PhiForCausalLM")?;
    fields.check_dtype()?;
    let shape = Shape::read(fields)?;
    let (hidden, vocabulary) = (shape.sizes.hidden, shape.sizes.vocabulary);
    let context = fields.unsigned("max_position_embeddings", 1..=limits::CONTEXT_MAX)?;
    let context = context.unwrap_or(2048);
    let rope = Rope::read(fields, (shape.heads.head_size, context), Spelling::partial(0.5))?;
    let head = Head::read(fields, false, ("lm_head", (hidden, vocabulary)), true)?;
    Ok(Architecture::new(
        "phi",
        (&shape.sizes, rope.context_max.map_or(context, |most| context.min(most))),
        ("model.embed_tokens.weight", Positions::Rotary(rope)),
        (0..shape.sizes.n_layers).map(|index| shape.layer(index)).collect(),
        (Norm::layer("model.final_layernorm", hidden, shape.epsilon), head),
    ))
}

/// What all layers have in common.
struct Shape {
    sizes: Sizes,
    intermediate: usize,
    heads: Heads,
    epsilon: f32,
    activation: Activation,
    has_head_norms: bool,
}

impl Shape {
    fn read(fields: &mut Fields) -> Result<Self, Reason> {
        let sizes = Sizes::read(fields)?;
        let n_heads = fields.required("num_attention_heads", 1..=limits::HEADS_MAX)?;
        let n_kv_heads = fields.unsigned("num_key_value_heads", 1..=limits::HEADS_MAX)?;
        let activation = Activation::read(fields, "hidden_act")?;
        Ok(Self {
            heads: Heads::of(sizes.hidden, n_heads, n_kv_heads.unwrap_or(n_heads))?,
            sizes,
            intermediate: fields.required("intermediate_size", 1..=limits::INTERMEDIATE_MAX)?,
            epsilon: fields.real("layer_norm_eps", 1e-12..=1.0)?.unwrap_or(1e-5) as f32,
            activation: activation.unwrap_or(Activation::GeluTanh),
            has_head_norms: fields.boolean("qk_layernorm")?.unwrap_or(false),
        })
    }

    fn layer(&self, index: usize) -> Layer {
        let (hidden, intermediate, heads) = (self.sizes.hidden, self.intermediate, self.heads);
        let module = |name: &str| format!("model.layers.{index}.{name}");
        let linear = |name: &str, shape| Linear::new(&module(name), shape, true);
        let norm = |name: &str, width| Norm::layer(&module(name), width, self.epsilon);
        let inputs = vec![
            linear("self_attn.q_proj", (hidden, heads.queries_width())),
            linear("self_attn.k_proj", (hidden, heads.keys_width())),
            linear("self_attn.v_proj", (hidden, heads.keys_width())),
        ];
        let output = linear("self_attn.dense", (heads.queries_width(), hidden));
        let head_norms = self.has_head_norms.then(|| HeadNorms {
            query: vec![norm("self_attn.q_layernorm", heads.head_size)],
            key: vec![norm("self_attn.k_layernorm", heads.head_size)],
        });
        Layer {
            attention: Attention { head_norms, ..Attention::new(heads, inputs, output) },
            attention_norms: Norms::before(norm("input_layernorm", hidden)),
            mlp: Mlp {
                is_gated: false,
                inputs: vec![linear("mlp.fc1", (hidden, intermediate))],
                down: linear("mlp.fc2", (intermediate, hidden)),
                activation: self.activation,
            },
            mlp_norms: Norms::default(),
            is_parallel: true,
        }
    }
}
