//! Gemma and Gemma 2: gains published less one, scaled embeddings; the second has norms on either
//! side, windows in every other layer, and caps on scores and logits.

use super::{
    Activation, Architecture, Attention, Embedding, Layer, Norm, Norms,
    gated::{self, Biases, Body, Family},
    inconsistent,
};
use crate::config::Fields;
use protocol::Reason;

const GEMMA: Family = Family {
    n_kv_heads: Some(16),
    head_size: Some(256),
    is_tied: true,
    ..Family::new("gemma", "GemmaForCausalLM", 8192)
};

const GEMMA2: Family = Family {
    n_kv_heads: Some(4),
    ..Family { name: "gemma2", class: "Gemma2ForCausalLM", ..GEMMA }
};

/// What Gemma 2 takes where a config says nothing; a null means none.
const WINDOW: usize = 4096;
const SCORE_CAP: f64 = 50.0;
const LOGIT_CAP: f64 = 30.0;
const QUERY_SCALAR: f64 = 256.0;

/// Reads the config of a Gemma; absent keys have the defaults of transformers.
pub(super) fn describe_1(fields: &mut Fields) -> Result<Architecture, Reason> {
    let (body, biases) = read(fields, &GEMMA)?;
    Ok(finish(body, |body, index| body.layer(index, biases)))
}

/// Reads the config of a Gemma 2.
pub(super) fn describe_2(fields: &mut Fields) -> Result<Architecture, Reason> {
    // Every other layer, as transformers wrote it for a while.
    fields.repeats("sliding_window_pattern", 2.0);
    let (body, biases) = read(fields, &GEMMA2)?;
    let scalar = fields.real("query_pre_attn_scalar", 1e-3..=1e6).unwrap_or(QUERY_SCALAR);
    let score_cap = cap(fields, "attn_logit_softcapping", SCORE_CAP);
    let logit_cap = cap(fields, "final_logit_softcapping", LOGIT_CAP);
    let has_none = fields.is_null("sliding_window");
    let size = gated::window(fields).unwrap_or(WINDOW);
    let n_layers = body.sizes.n_layers;
    let listed = gated::layer_types(fields, n_layers);
    let listed = listed.unwrap_or_else(|| (0..n_layers).map(|layer| layer % 2 == 0).collect());
    let scale = 1.0 / scalar.sqrt();
    let layer = |body: &Body, index: usize| {
        let norms = |input: &str, output: &str| Norms {
            input: Some(body.rms(index, input)),
            output: Some(body.rms(index, output)),
            sum: None,
        };
        let attention = Attention {
            scale: scale as f32,
            score_cap,
            window: (listed[index] && !has_none).then_some(size),
            ..body.attention(index, biases)
        };
        Layer {
            attention,
            attention_norms: norms("input_layernorm", "post_attention_layernorm"),
            mlp: body.mlp(index, false),
            mlp_norms: norms("pre_feedforward_layernorm", "post_feedforward_layernorm"),
            is_parallel: false,
        }
    };
    Ok(Architecture { logit_cap, ..finish(body, layer) })
}

fn read(fields: &mut Fields, family: &Family) -> Result<(Body, Biases), Reason> {
    // The old key means the approximation under either name.
    let old = Activation::read(fields, "hidden_act").unwrap_or(Activation::GeluTanh);
    let new = Activation::read(fields, "hidden_activation").unwrap_or(Activation::GeluTanh);
    if !matches!(old, Activation::Gelu | Activation::GeluTanh) || new != Activation::GeluTanh {
        return inconsistent("`hidden_activation` is not `gelu_pytorch_tanh`");
    }
    let attention = fields.boolean("attention_bias").unwrap_or(false);
    let body = Body::read(fields, family, &[Activation::GeluTanh])?;
    Ok((body, Biases { inputs: attention, output: attention, mlp: false }))
}

fn cap(fields: &mut Fields, key: &str, usual: f64) -> Option<f32> {
    let cap = fields.real(key, 1e-3..=1e6);
    let is_default = cap.is_none() && !fields.is_null(key);
    if is_default { Some(usual as f32) } else { cap.map(|cap| cap as f32) }
}

/// Scales the embedding and adds to every gain the one that is not published.
fn finish(body: Body, layer: impl Fn(&Body, usize) -> Layer) -> Architecture {
    let scale = (body.sizes.hidden as f64).sqrt() as f32;
    let mut model = body.finish(layer, Norm::rms);
    for layer in &mut model.layers {
        for norms in [&mut layer.attention_norms, &mut layer.mlp_norms] {
            let norms = norms.input.iter_mut().chain(&mut norms.output).chain(&mut norms.sum);
            norms.for_each(|norm| norm.gain_offset = 1.0);
        }
    }
    model.final_norm.iter_mut().for_each(|norm| norm.gain_offset = 1.0);
    let embedding = Embedding { scale: Some(scale), ..model.embedding };
    Architecture { embedding, ..model }
}
