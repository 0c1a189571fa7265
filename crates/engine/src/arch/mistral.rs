//! Mistral: each layer looks back over a window.

use super::{
    Activation, Architecture, Attention, Layer, Norm,
    gated::{self, Biases, Body, Family},
};
use crate::config::Fields;
use protocol::Reason;

const FAMILY: Family =
    Family { n_kv_heads: Some(8), ..Family::new("mistral", "MistralForCausalLM", 4096 * 32) };

/// The window where a config names none; a null means that there is none.
const WINDOW: usize = 4096;

/// Reads the config of a Mistral; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    let window = match gated::window(fields) {
        None if !fields.is_null("sliding_window") => Some(WINDOW),
        window => window,
    };
    let body = Body::read(fields, &FAMILY, &[Activation::Silu])?;
    let layer = |body: &Body, index| {
        let layer = body.layer(index, Biases::default());
        Layer { attention: Attention { window, ..layer.attention }, ..layer }
    };
    Ok(body.finish(layer, Norm::rms))
}
