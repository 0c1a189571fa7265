//! OLMo 2: norms of what attention and perceptron give, and of all queries and keys together.

use super::{
    Activation, Architecture, Attention, Layer, Norm, Norms,
    gated::{Biases, Body, Family},
};
use crate::config::Fields;
use protocol::Reason;

const FAMILY: Family = Family { epsilon: 1e-5, ..Family::new("olmo2", "Olmo2ForCausalLM", 2048) };

/// Reads the config of an OLMo 2; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    let attention = fields.boolean("attention_bias").unwrap_or(false);
    let biases = Biases { inputs: attention, output: attention, mlp: false };
    let body = Body::read(fields, &FAMILY, &[Activation::Silu])?;
    let layer = |body: &Body, index| {
        let widths = (body.heads.queries_width(), body.heads.keys_width());
        let head_norms = Some(body.head_norms(index, widths));
        Layer {
            attention: Attention { head_norms, ..body.attention(index, biases) },
            attention_norms: Norms::after(body.rms(index, "post_attention_layernorm")),
            mlp: body.mlp(index, false),
            mlp_norms: Norms::after(body.rms(index, "post_feedforward_layernorm")),
            is_parallel: false,
        }
    };
    Ok(body.finish(layer, Norm::rms))
}
