//! GPT-J: rotation of neighbouring numbers, attention and perceptron side by side behind one norm.

use super::{
    Architecture, Attention, Head, Layer, Linear, Norms, Order, Plain, Positions, Rope,
    gpt::{Gpt, Usual, check_switches},
    inconsistent, limits, rope,
};
use crate::config::Fields;
use protocol::Reason;

const USUAL: Usual =
    Usual { hidden: 4096, n_layers: 28, n_heads: 16, vocabulary: 50_400, context: 2048 };

/// Numbers of a head that are turned, where a config does not say.
const N_TURNED: usize = 64;

/// Reads the config of a GPT-J; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    fields.check_class("GPTJForCausalLM");
    check_switches(fields, &[("scale_attn_weights", true), ("rotary", true)]);
    if fields.is_null("rotary_dim") {
        return inconsistent("`rotary_dim` is null");
    }
    let gpt = Gpt::read(fields, &USUAL, limits::CONTEXT_MAX)?;
    let head_size = gpt.heads.head_size;
    let n_turned = fields.unsigned("rotary_dim", 2..=limits::HEAD_SIZE_MAX);
    let n_turned = rope::even(n_turned.unwrap_or(N_TURNED), head_size)?;
    let (hidden, vocabulary) = (gpt.sizes.hidden, gpt.sizes.vocabulary);
    let head = Head::read(fields, false, Linear::new("lm_head", (hidden, vocabulary), true));
    let order = Order::PairByPair { head_size, n_turned };
    let layer = |index: usize| {
        let linear = |name: &str| {
            let module = format!("transformer.h.{index}.attn.{name}");
            Linear::new(&module, (hidden, hidden), false)
        };
        let turned = |name| linear(name).ordered(order);
        let inputs = vec![turned("q_proj"), turned("k_proj"), linear("v_proj")];
        Layer {
            attention: Attention::new(gpt.heads, inputs, linear("out_proj")),
            attention_norms: gpt.before(index, "ln_1"),
            mlp: gpt.mlp(index, ["fc_in", "fc_out"]),
            mlp_norms: Norms::default(),
            is_parallel: true,
        }
    };
    Ok(Architecture::new(Plain {
        name: "gptj",
        sizes: &gpt.sizes,
        context: gpt.context,
        table: "transformer.wte.weight",
        positions: Positions::Rotary(Rope::plain(n_turned)),
        layers: gpt.layers(layer),
        final_norm: gpt.norm("transformer.ln_f"),
        head,
    }))
}
