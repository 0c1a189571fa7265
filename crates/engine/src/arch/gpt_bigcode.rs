//! GPT-BigCode (SantaCoder, StarCoder): GPT-2 whose queries share one key.

use super::{
    Architecture, Attention, Head, Heads, Layer, Linear, Order, Plain, Positions,
    gpt::{Gpt, Usual, check_switches},
    limits,
};
use crate::config::Fields;
use protocol::Reason;

const USUAL: Usual =
    Usual { hidden: 768, n_layers: 12, n_heads: 12, vocabulary: 50_257, context: 1024 };

/// Reads the config of a GPT-BigCode; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    fields.check_class("GPTBigCodeForCausalLM");
    check_switches(fields, &[("scale_attn_weights", true)]);
    let gpt = Gpt::read(fields, &USUAL, limits::LEARNED_CONTEXT_MAX)?;
    let is_shared = fields.boolean("multi_query").unwrap_or(true);
    let heads = Heads { n_kv_heads: if is_shared { 1 } else { gpt.heads.n_heads }, ..gpt.heads };
    let (hidden, vocabulary) = (gpt.sizes.hidden, gpt.sizes.vocabulary);
    let head = Head::read(fields, true, Linear::new("lm_head", (hidden, vocabulary), false));
    let layer = |index: usize| {
        let linear = |name: &str, width| {
            Linear::new(&format!("transformer.h.{index}.attn.{name}"), (hidden, width), true)
        };
        let inputs = linear("c_attn", heads.inputs_width()).ordered(Order::GroupByGroup(heads));
        Layer {
            attention: Attention::new(heads, vec![inputs], linear("c_proj", hidden)),
            attention_norms: gpt.before(index, "ln_1"),
            mlp: gpt.mlp(index, ["c_fc", "c_proj"]),
            mlp_norms: gpt.before(index, "ln_2"),
            is_parallel: false,
        }
    };
    let positions = Positions::Learned { table: "transformer.wpe.weight".into(), n_skipped: 0 };
    Ok(Architecture::new(Plain {
        name: "gpt_bigcode",
        sizes: &gpt.sizes,
        context: gpt.context,
        table: "transformer.wte.weight",
        positions,
        layers: gpt.layers(layer),
        final_norm: gpt.norm("transformer.ln_f"),
        head,
    }))
}
