//! Mistral: each layer looks back over a window.

use super::{
    Architecture,
    gated::{self, Biases, Family, Windows},
};
use crate::config::Fields;
use protocol::Reason;

const FAMILY: Family = Family {
    name: "mistral",
    class: "MistralForCausalLM",
    context: 4096 * 32,
    n_kv_heads: Some(8),
    head_size: None,
    has_head_norms: false,
};

/// The window where a config names none; a null means that there is none.
const WINDOW: usize = 4096;

/// Reads the config of a Mistral; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    let n_layers = gated::n_layers(fields)?;
    let windows = match gated::window(fields)? {
        Some(size) => Windows::All(size),
        None if fields.is_null("sliding_window") => Windows::None,
        None => Windows::All(WINDOW),
    };
    let biases = Biases { inputs: false, output: false, mlp: false };
    gated::describe(fields, &FAMILY, n_layers, (biases, &windows))
}
