//! Llama 1 to 3 and everything published under `"model_type": "llama"`.

use super::{
    Architecture,
    gated::{self, Biases, Family, Windows},
    inconsistent,
};
use crate::config::Fields;
use protocol::Reason;

const FAMILY: Family = Family {
    name: "llama",
    class: "LlamaForCausalLM",
    context: 2048,
    n_kv_heads: None,
    head_size: None,
    has_head_norms: false,
};

/// Reads the config of a Llama; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    if fields.boolean("is_llama_config")? == Some(false) {
        return inconsistent("`is_llama_config` is false");
    }
    let n_layers = gated::n_layers(fields)?;
    let attention = fields.boolean("attention_bias")?.unwrap_or(false);
    let mlp = fields.boolean("mlp_bias")?.unwrap_or(false);
    let biases = Biases { inputs: attention, output: attention, mlp };
    gated::describe(fields, &FAMILY, n_layers, (biases, &Windows::None))
}
