//! Qwen2 (and 2.5) and Qwen3: biases or norms on queries and keys, windows where they are wanted.

use super::{
    Architecture,
    gated::{self, Biases, Family, Windows},
    inconsistent,
};
use crate::{config::Fields, json::shorten};
use protocol::Reason;

const QWEN2: Family = Family {
    name: "qwen2",
    class: "Qwen2ForCausalLM",
    context: 32_768,
    n_kv_heads: Some(32),
    head_size: None,
    has_head_norms: false,
};

const QWEN3: Family = Family {
    name: "qwen3",
    class: "Qwen3ForCausalLM",
    context: 32_768,
    n_kv_heads: Some(32),
    head_size: Some(128),
    has_head_norms: true,
};

/// Size of a window, and the first layer that has one, where a config does not say.
const WINDOW: usize = 4096;
const WINDOWS_FROM_LAYER: usize = 28;

/// Reads the config of a Qwen2; absent keys have the defaults of transformers.
pub(super) fn describe_2(fields: &mut Fields) -> Result<Architecture, Reason> {
    let n_layers = gated::n_layers(fields)?;
    let windows = windows(fields, n_layers)?;
    let biases = Biases { inputs: true, output: false, mlp: false };
    gated::describe(fields, &QWEN2, n_layers, (biases, &windows))
}

/// Reads the config of a Qwen3.
pub(super) fn describe_3(fields: &mut Fields) -> Result<Architecture, Reason> {
    let n_layers = gated::n_layers(fields)?;
    let windows = windows(fields, n_layers)?;
    let attention = fields.boolean("attention_bias")?.unwrap_or(false);
    let biases = Biases { inputs: attention, output: attention, mlp: false };
    gated::describe(fields, &QWEN3, n_layers, (biases, &windows))
}

/// Windows need the switch; then a list of the layers' kinds counts, or else the first layer.
fn windows(fields: &mut Fields, n_layers: usize) -> Result<Windows, Reason> {
    let is_wanted = fields.boolean("use_sliding_window")?.unwrap_or(false);
    let has_none = fields.is_null("sliding_window");
    let size = gated::window(fields)?.unwrap_or(WINDOW);
    let first = fields.unsigned("max_window_layers", 0..=1 << 16)?.unwrap_or(WINDOWS_FROM_LAYER);
    let kinds = fields.texts("layer_types")?;
    let layers = match kinds {
        None => (0..n_layers).map(|layer| layer >= first).collect(),
        Some(kinds) if kinds.len() != n_layers => {
            return inconsistent(format!("{} `layer_types` for {n_layers} layers", kinds.len()));
        }
        Some(kinds) => kinds.iter().map(|kind| is_window(kind)).collect::<Result<Vec<_>, _>>()?,
    };
    Ok(if is_wanted && !has_none { Windows::Some(size, layers) } else { Windows::None })
}

fn is_window(kind: &str) -> Result<bool, Reason> {
    match kind {
        "full_attention" => Ok(false),
        "sliding_attention" => Ok(true),
        other => inconsistent(format!("the layer type `{}` is not supported", shorten(other))),
    }
}
