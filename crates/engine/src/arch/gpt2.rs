//! GPT-2: learned positions, norms of deviations, a plain perceptron; transposed matrices.

use super::{
    Architecture, Attention, Head, Layer, Linear, Mlp, Plain, Positions,
    gpt::{Gpt, Usual, check_switches},
    limits,
};
use crate::config::Fields;
use protocol::Reason;

const USUAL: Usual =
    Usual { hidden: 768, n_layers: 12, n_heads: 12, vocabulary: 50_257, context: 1024 };

/// Reads the config of a GPT-2; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    fields.check_class("GPT2LMHeadModel");
    let switches = [("scale_attn_weights", true), ("scale_attn_by_inverse_layer_idx", false)];
    check_switches(fields, &switches);
    let gpt = Gpt::read(fields, &USUAL, limits::LEARNED_CONTEXT_MAX)?;
    let (hidden, vocabulary) = (gpt.sizes.hidden, gpt.sizes.vocabulary);
    let head = Head::read(fields, true, Linear::new("lm_head", (hidden, vocabulary), false));
    let layer = |index: usize| {
        let linear = |name: &str, shape| {
            Linear::new(&format!("transformer.h.{index}.attn.{name}"), shape, true).transposed()
        };
        let inputs = vec![linear("c_attn", (hidden, 3 * hidden))];
        let mlp = gpt.mlp(index, ["c_fc", "c_proj"]);
        let inputs_of_mlp = mlp.inputs.into_iter().map(Linear::transposed).collect();
        Layer {
            attention: Attention::new(gpt.heads, inputs, linear("c_proj", (hidden, hidden))),
            attention_norms: gpt.before(index, "ln_1"),
            mlp: Mlp { inputs: inputs_of_mlp, down: mlp.down.transposed(), ..mlp },
            mlp_norms: gpt.before(index, "ln_2"),
            is_parallel: false,
        }
    };
    let positions = Positions::Learned { table: "transformer.wpe.weight".into(), n_skipped: 0 };
    Ok(Architecture::new(Plain {
        name: "gpt2",
        sizes: &gpt.sizes,
        context: gpt.context,
        table: "transformer.wte.weight",
        positions,
        layers: gpt.layers(layer),
        final_norm: gpt.norm("transformer.ln_f"),
        head,
    }))
}
