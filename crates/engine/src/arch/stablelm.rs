//! StableLM: Llama with layer norms, a quarter of each head turned, and parallel layers if wanted.

use super::{
    Activation, Architecture, Attention, HeadNorms, Layer, Norm, Norms,
    gated::{Biases, Body, Family},
    inconsistent,
    rope::Spelling,
};
use crate::config::Fields;
use protocol::Reason;

const FAMILY: Family = Family {
    n_kv_heads: Some(32),
    epsilon: 1e-5,
    epsilon_key: "layer_norm_eps",
    rope: Spelling::partial(0.25),
    ..Family::new("stablelm", "StableLmForCausalLM", 4096)
};

/// Most norms of heads: each is a tensor of its own.
const HEAD_NORMS_MAX: usize = 16_384;

/// Reads the config of a StableLM; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    let inputs = fields.boolean("use_qkv_bias").unwrap_or(false);
    let has_head_norms = fields.boolean("qk_layernorm").unwrap_or(false);
    let is_parallel = fields.boolean("use_parallel_residual").unwrap_or(false);
    let biases = Biases { inputs, ..Biases::default() };
    let body = Body::read(fields, &FAMILY, &[Activation::Silu])?;
    let n_norms = body.sizes.n_layers * (body.heads.n_heads + body.heads.n_kv_heads);
    if has_head_norms && n_norms > HEAD_NORMS_MAX {
        return inconsistent(format!("{n_norms} norms of heads"));
    }
    let layer = |body: &Body, index| {
        let norm = |name| Norms::before(body.layer_norm(index, name));
        let head_norms = has_head_norms.then(|| head_norms(body, index));
        Layer {
            attention: Attention { head_norms, ..body.attention(index, biases) },
            attention_norms: norm("input_layernorm"),
            mlp: body.mlp(index, false),
            mlp_norms: if is_parallel {
                Norms::default()
            } else {
                norm("post_attention_layernorm")
            },
            is_parallel,
        }
    };
    Ok(body.finish(layer, Norm::layer))
}

/// A norm without bias for each head.
fn head_norms(body: &Body, index: usize) -> HeadNorms {
    let norms = |side: &str, n_heads| {
        let norm = |head| {
            let module = format!("model.layers.{index}.self_attn.{side}_layernorm.norms.{head}");
            Norm { bias: None, ..Norm::layer(&module, body.heads.head_size, body.epsilon) }
        };
        (0..n_heads).map(norm).collect()
    };
    HeadNorms { query: norms("q", body.heads.n_heads), key: norms("k", body.heads.n_kv_heads) }
}
