//! Llama 1 to 3 and everything published under `"model_type": "llama"`.

use super::{Architecture, Attention, GatedMlp, Head, Layer, Linear, Norm, Rope, inconsistent};
use crate::config::Fields;
use protocol::Reason;

/// Widest hidden state.
const HIDDEN_MAX: u64 = 1 << 16;
/// Widest perceptron.
const INTERMEDIATE_MAX: u64 = 1 << 20;
/// Most layers.
const LAYERS_MAX: u64 = 512;
/// Most heads.
const HEADS_MAX: u64 = 1 << 10;
/// Widest head.
const HEAD_SIZE_MAX: u64 = 512;
/// Largest vocabulary.
const VOCABULARY_MAX: u64 = 1 << 22;
/// Longest context.
const CONTEXT_MAX: u64 = 1 << 24;

/// Reads the config of a Llama; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    fields.check_class("LlamaForCausalLM")?;
    fields.check_dtype()?;
    if fields.text("hidden_act")?.is_some_and(|name| name != "silu" && name != "swish") {
        return inconsistent("`hidden_act` is not `silu`");
    }
    if fields.boolean("is_llama_config")? == Some(false) {
        return inconsistent("`is_llama_config` is false");
    }
    let hidden = fields.required("hidden_size", 1..=HIDDEN_MAX)?;
    let vocabulary = fields.required("vocab_size", 1..=VOCABULARY_MAX)?;
    let context = fields.unsigned("max_position_embeddings", 1..=CONTEXT_MAX)?.unwrap_or(2048);
    let epsilon = fields.real("rms_norm_eps", 1e-12..=1.0)?.unwrap_or(1e-6) as f32;
    let n_layers = fields.required("num_hidden_layers", 1..=LAYERS_MAX)?;
    let shape = Shape::read(fields, hidden)?;
    let rope = Rope::read(fields, shape.head_size)?;
    let norm = |module: String| Norm { gain: module + ".weight", width: hidden, epsilon };
    let head = if fields.boolean("tie_word_embeddings")?.unwrap_or(false) {
        Head::Tied { copy: "lm_head.weight".into() }
    } else {
        Head::Own(Linear::new("lm_head", (hidden, vocabulary), false))
    };
    Ok(Architecture {
        name: "llama",
        vocabulary,
        context,
        hidden,
        embedding: "model.embed_tokens.weight".into(),
        rope,
        layers: (0..n_layers)
            .map(|index| Layer {
                attention_norm: norm(format!("model.layers.{index}.input_layernorm")),
                attention: shape.attention(index),
                mlp_norm: norm(format!("model.layers.{index}.post_attention_layernorm")),
                mlp: shape.mlp(index),
            })
            .collect(),
        final_norm: norm("model.norm".into()),
        head,
    })
}

/// What all layers have in common.
struct Shape {
    hidden: usize,
    intermediate: usize,
    n_heads: usize,
    n_kv_heads: usize,
    head_size: usize,
    attention_bias: bool,
    mlp_bias: bool,
}

impl Shape {
    fn read(fields: &mut Fields, hidden: usize) -> Result<Self, Reason> {
        let intermediate = fields.required("intermediate_size", 1..=INTERMEDIATE_MAX)?;
        let n_heads = fields.required("num_attention_heads", 1..=HEADS_MAX)?;
        let n_kv_heads = fields.unsigned("num_key_value_heads", 1..=HEADS_MAX)?.unwrap_or(n_heads);
        if !n_heads.is_multiple_of(n_kv_heads) {
            return inconsistent(format!("{n_heads} heads share {n_kv_heads} key-value heads"));
        }
        let head_size = match fields.unsigned("head_dim", 2..=HEAD_SIZE_MAX)? {
            Some(head_size) => head_size,
            None if hidden.is_multiple_of(n_heads) => hidden / n_heads,
            None => return inconsistent(format!("{n_heads} heads in a hidden size of {hidden}")),
        };
        if !head_size.is_multiple_of(2) || head_size as u64 > HEAD_SIZE_MAX {
            return inconsistent(format!("heads of size {head_size}"));
        }
        let attention_bias = fields.boolean("attention_bias")?.unwrap_or(false);
        let mlp_bias = fields.boolean("mlp_bias")?.unwrap_or(false);
        Ok(Self { hidden, intermediate, n_heads, n_kv_heads, head_size, attention_bias, mlp_bias })
    }

    fn attention(&self, index: usize) -> Attention {
        let Self { hidden, n_heads, n_kv_heads, head_size, attention_bias, .. } = *self;
        let linear = |name: &str, shape| {
            Linear::new(&format!("model.layers.{index}.self_attn.{name}"), shape, attention_bias)
        };
        Attention {
            query: linear("q_proj", (hidden, n_heads * head_size)),
            key: linear("k_proj", (hidden, n_kv_heads * head_size)),
            value: linear("v_proj", (hidden, n_kv_heads * head_size)),
            output: linear("o_proj", (n_heads * head_size, hidden)),
            n_heads,
            n_kv_heads,
            head_size,
        }
    }

    fn mlp(&self, index: usize) -> GatedMlp {
        let Self { hidden, intermediate, mlp_bias, .. } = *self;
        let linear = |name: &str, shape| {
            Linear::new(&format!("model.layers.{index}.mlp.{name}"), shape, mlp_bias)
        };
        GatedMlp {
            gate: linear("gate_proj", (hidden, intermediate)),
            up: linear("up_proj", (hidden, intermediate)),
            down: linear("down_proj", (intermediate, hidden)),
        }
    }
}
