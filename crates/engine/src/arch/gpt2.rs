//! GPT-2: learned positions, norms of deviations, a plain perceptron; transposed matrices.

use super::{
    Activation, Architecture, Attention, Head, Layer, Linear, Mlp, Norm, Positions, inconsistent,
    limits,
};
use crate::config::Fields;
use protocol::Reason;

/// Longest context: its table is a parameter.
const CONTEXT_MAX: u64 = 1 << 20;

/// Reads the config of a GPT-2; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    fields.check_class("GPT2LMHeadModel")?;
    fields.check_dtype()?;
    check_switches(fields)?;
    let hidden = fields.unsigned("n_embd", 1..=limits::HIDDEN_MAX)?.unwrap_or(768);
    let n_layers = fields.unsigned("n_layer", 1..=limits::LAYERS_MAX)?.unwrap_or(12);
    let n_heads = fields.unsigned("n_head", 1..=limits::HEADS_MAX)?.unwrap_or(12);
    let vocabulary = fields.unsigned("vocab_size", 1..=limits::VOCABULARY_MAX)?.unwrap_or(50_257);
    let context = fields.unsigned("n_positions", 1..=CONTEXT_MAX)?.unwrap_or(1024);
    if fields.unsigned("n_ctx", 1..=CONTEXT_MAX)?.is_some_and(|n_ctx| n_ctx != context) {
        return inconsistent("`n_ctx` and `n_positions` contradict each other");
    }
    let intermediate =
        fields.unsigned("n_inner", 1..=limits::INTERMEDIATE_MAX)?.unwrap_or(4 * hidden);
    let epsilon = fields.real("layer_norm_epsilon", 1e-12..=1.0)?.unwrap_or(1e-5) as f32;
    if !hidden.is_multiple_of(n_heads) || (hidden / n_heads) as u64 > limits::HEAD_SIZE_MAX {
        return inconsistent(format!("{n_heads} heads in a hidden size of {hidden}"));
    }
    let norm = |module: String| Norm {
        gain: format!("{module}.weight"),
        bias: Some(format!("{module}.bias")),
        width: hidden,
        epsilon,
    };
    let head = if fields.boolean("tie_word_embeddings")?.unwrap_or(true) {
        Head::Tied { copy: "lm_head.weight".into() }
    } else {
        Head::Own(Linear::new("lm_head", (hidden, vocabulary), false))
    };
    let layer = |index: usize| {
        let module = |name: &str| format!("transformer.h.{index}.{name}");
        let linear = |name, shape| Linear::new(&module(name), shape, true).transposed();
        Layer {
            attention_norm: norm(module("ln_1")),
            attention: Attention {
                inputs: vec![linear("attn.c_attn", (hidden, 3 * hidden))],
                output: linear("attn.c_proj", (hidden, hidden)),
                n_heads,
                n_kv_heads: n_heads,
                head_size: hidden / n_heads,
                head_norms: None,
                window: None,
            },
            mlp_norm: norm(module("ln_2")),
            mlp: Mlp::Plain {
                up: linear("mlp.c_fc", (hidden, intermediate)),
                down: linear("mlp.c_proj", (intermediate, hidden)),
                activation: Activation::GeluTanh,
            },
            is_parallel: false,
        }
    };
    Ok(Architecture {
        name: "gpt2",
        vocabulary,
        context,
        hidden,
        embedding: "transformer.wte.weight".into(),
        positions: Positions::Learned { table: "transformer.wpe.weight".into() },
        layers: (0..n_layers).map(layer).collect(),
        final_norm: norm("transformer.ln_f".into()),
        head,
    })
}

/// Switches must stand as every published model has them.
fn check_switches(fields: &mut Fields) -> Result<(), Reason> {
    if fields.text("activation_function")?.is_some_and(|name| name != "gelu_new") {
        return inconsistent("`activation_function` is not `gelu_new`");
    }
    let switches = [
        ("scale_attn_weights", true),
        ("scale_attn_by_inverse_layer_idx", false),
        // How intermediate results are rounded elsewhere; here they are single precision.
        ("reorder_and_upcast_attn", false),
    ];
    for (key, usual) in switches {
        if fields.boolean(key)?.is_some_and(|value| value != usual) {
            return inconsistent(format!("`{key}` is not {usual}"));
        }
    }
    Ok(())
}
