//! Qwen2 (and 2.5) and Qwen3: biases or norms on queries and keys, windows where they are wanted.

use super::{
    Activation, Architecture, Attention, Layer, Norm,
    gated::{self, Biases, Body, Family},
};
use crate::config::Fields;
use protocol::Reason;

const QWEN2: Family =
    Family { n_kv_heads: Some(32), ..Family::new("qwen2", "Qwen2ForCausalLM", 32_768) };

const QWEN3: Family = Family {
    n_kv_heads: Some(32),
    head_size: Some(128),
    ..Family::new("qwen3", "Qwen3ForCausalLM", 32_768)
};

/// Size of a window, and the first layer that has one, where a config does not say.
const WINDOW: usize = 4096;
const WINDOWS_FROM_LAYER: usize = 28;

/// Reads the config of a Qwen2; absent keys have the defaults of transformers.
pub(super) fn describe_2(fields: &mut Fields) -> Result<Architecture, Reason> {
    let body = Body::read(fields, &QWEN2, &[Activation::Silu])?;
    let windows = windows(fields, body.sizes.n_layers);
    let biases = Biases { inputs: true, ..Biases::default() };
    let layer = |body: &Body, index| {
        let layer = body.layer(index, biases);
        Layer { attention: Attention { window: windows[index], ..layer.attention }, ..layer }
    };
    Ok(body.finish(layer, Norm::rms))
}

/// Reads the config of a Qwen3.
pub(super) fn describe_3(fields: &mut Fields) -> Result<Architecture, Reason> {
    let attention = fields.boolean("attention_bias").unwrap_or(false);
    let biases = Biases { inputs: attention, output: attention, mlp: false };
    let body = Body::read(fields, &QWEN3, &[Activation::Silu])?;
    let windows = windows(fields, body.sizes.n_layers);
    let layer = |body: &Body, index| {
        let layer = body.layer(index, biases);
        let head_size = body.heads.head_size;
        let head_norms = Some(body.head_norms(index, (head_size, head_size)));
        let attention = Attention { head_norms, window: windows[index], ..layer.attention };
        Layer { attention, ..layer }
    };
    Ok(body.finish(layer, Norm::rms))
}

/// Windows need the switch; then a list of the layers' kinds counts, or else the first layer.
fn windows(fields: &mut Fields, n_layers: usize) -> Vec<Option<usize>> {
    let is_wanted = fields.boolean("use_sliding_window").unwrap_or(false);
    let has_none = fields.is_null("sliding_window");
    let size = gated::window(fields).unwrap_or(WINDOW);
    let first = fields.unsigned("max_window_layers", 0..=1 << 16).unwrap_or(WINDOWS_FROM_LAYER);
    let listed = gated::layer_types(fields, n_layers);
    let listed = listed.unwrap_or_else(|| (0..n_layers).map(|layer| layer >= first).collect());
    let has_window = |listed: bool| listed && is_wanted && !has_none;
    listed.into_iter().map(|listed| has_window(listed).then_some(size)).collect()
}
