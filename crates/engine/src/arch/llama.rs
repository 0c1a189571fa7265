//! Llama 1 to 3 and everything published under `"model_type": "llama"`.

use super::{
    Activation, Architecture, Norm,
    gated::{Biases, Body, Family},
};
use crate::config::Fields;
use protocol::Reason;

const FAMILY: Family = Family::new("llama", "LlamaForCausalLM", 2048);

/// Reads the config of a Llama; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    fields.switch("is_llama_config", true);
    let attention = fields.boolean("attention_bias").unwrap_or(false);
    let mlp = fields.boolean("mlp_bias").unwrap_or(false);
    let biases = Biases { inputs: attention, output: attention, mlp };
    let body = Body::read(fields, &FAMILY, &[Activation::Silu])?;
    Ok(body.finish(|body, index| body.layer(index, biases), Norm::rms))
}
