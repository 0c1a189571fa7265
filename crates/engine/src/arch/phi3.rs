//! Phi-3 and Phi-4: Llama with matrices published as one, and long contexts by `LongRoPE`.

use super::{
    Activation, Architecture, Attention, Layer, Norm,
    gated::{self, Biases, Body, Family},
    rope::Spelling,
};
use crate::config::Fields;
use protocol::Reason;

const FAMILY: Family = Family {
    epsilon: 1e-5,
    rope: Spelling { original: Some(4096.0), ..Spelling::partial(1.0) },
    ..Family::new("phi3", "Phi3ForCausalLM", 4096)
};

/// Reads the config of a Phi-3; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    let window = gated::window(fields);
    let body = Body::read(fields, &FAMILY, &[Activation::Silu])?;
    let layer = |body: &Body, index| {
        let (attention, mlp) = body.fused(index);
        let attention = Attention { window, ..attention };
        Layer { attention, mlp, ..body.layer(index, Biases::default()) }
    };
    Ok(body.finish(layer, Norm::rms))
}
