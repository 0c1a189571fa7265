//! Phi-1 to 2: attention and perceptron side by side behind one norm, half of each head turned.

use super::{
    Activation, Architecture, Attention, HeadNorms, Layer, Linear, Mlp, Norm, Norms,
    gated::{Biases, Body, Family},
    rope::Spelling,
};
use crate::config::Fields;
use protocol::Reason;

const FAMILY: Family = Family {
    epsilon: 1e-5,
    epsilon_key: "layer_norm_eps",
    has_head_bias: true,
    rope: Spelling::partial(0.5),
    ..Family::new("phi", "PhiForCausalLM", 2048)
};

/// Activations that a config may name, the usual one first.
const ACTIVATIONS: [Activation; 4] =
    [Activation::GeluTanh, Activation::Gelu, Activation::Silu, Activation::Relu];

/// Reads the config of a Phi; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    let has_head_norms = fields.boolean("qk_layernorm").unwrap_or(false);
    let body = Body::read(fields, &FAMILY, &ACTIVATIONS)?;
    let norm = Norm::layer("model.final_layernorm", body.sizes.hidden, body.epsilon);
    Ok(body.finish_with(|body, index| layer(body, index, has_head_norms), norm))
}

fn layer(body: &Body, index: usize, has_head_norms: bool) -> Layer {
    let (hidden, heads) = (body.sizes.hidden, body.heads);
    let module = |name: &str| format!("model.layers.{index}.{name}");
    let linear = |name: &str, shape| Linear::new(&module(name), shape, true);
    let norm = |name: &str| vec![Norm::layer(&module(name), heads.head_size, body.epsilon)];
    let head_norms = has_head_norms.then(|| HeadNorms {
        query: norm("self_attn.q_layernorm"),
        key: norm("self_attn.k_layernorm"),
    });
    let output = linear("self_attn.dense", (heads.queries_width(), hidden));
    let biases = Biases { inputs: true, ..Biases::default() };
    Layer {
        attention: Attention { head_norms, output, ..body.attention(index, biases) },
        attention_norms: Norms::before(body.layer_norm(index, "input_layernorm")),
        mlp: Mlp {
            is_gated: false,
            inputs: vec![linear("mlp.fc1", (hidden, body.intermediate))],
            down: linear("mlp.fc2", (body.intermediate, hidden)),
            activation: body.activation,
        },
        mlp_norms: Norms::default(),
        is_parallel: true,
    }
}
