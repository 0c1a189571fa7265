//! Llama 1 to 3 and everything published under `"model_type": "llama"`.

use super::{
    Activation, Architecture, Norm,
    gated::{Biases, Body, Family},
    inconsistent,
};
use crate::config::Fields;
use protocol::Reason;

const FAMILY: Family = Family::new("llama", "LlamaForCausalLM", 2048);

/// Reads the config of a Llama; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    if fields.boolean("is_llama_config")? == Some(false) {
        return inconsistent("`is_llama_config` is false");
    }
    let attention = fields.boolean("attention_bias")?.unwrap_or(false);
    let mlp = fields.boolean("mlp_bias")?.unwrap_or(false);
    let biases = Biases { inputs: attention, output: attention, mlp };
    let body = Body::read(fields, &FAMILY, &[Activation::Silu])?;
    let n_pairs = body.heads.head_size as u64 / 2;
    let model = body.finish(|body, index| body.layer(index, biases), Norm::rms);
    let constant = |index| {
        let name = format!("model.layers.{index}.self_attn.rotary_emb.inv_freq");
        (name, vec![n_pairs])
    };
    let constants = (0..model.layers.len()).map(constant).collect();
    Ok(Architecture { constants, ..model })
}
