//! What Llama, Mistral and Qwen have in common: root-mean-square norms, rotary attention whose
//! heads may share keys and values, a gated perceptron. They differ in little but defaults.

use super::{
    Architecture, Attention, GatedMlp, Head, HeadNorms, Layer, Linear, Mlp, Norm, Positions, Rope,
    inconsistent, limits,
};
use crate::config::Fields;
use protocol::Reason;

/// One of the family, with what it takes where a config says nothing.
pub(super) struct Family {
    pub(super) name: &'static str,
    /// Its class in transformers.
    pub(super) class: &'static str,
    pub(super) context: usize,
    /// Without a number, as many as heads.
    pub(super) n_kv_heads: Option<usize>,
    /// Without a number, the hidden size over the heads.
    pub(super) head_size: Option<usize>,
    /// Whether queries and keys are normed head by head.
    pub(super) has_head_norms: bool,
}

/// Which projections have biases.
#[derive(Clone, Copy)]
pub(super) struct Biases {
    /// Queries, keys and values.
    pub(super) inputs: bool,
    /// What leaves attention.
    pub(super) output: bool,
    pub(super) mlp: bool,
}

/// Which layers look back no further than some positions.
pub(super) enum Windows {
    /// None.
    None,
    /// All.
    All(usize),
    /// Those of the list that say so.
    Some(usize, Vec<bool>),
}

impl Windows {
    fn of(&self, layer: usize) -> Option<usize> {
        match self {
            Self::None => None,
            Self::All(size) => Some(*size),
            Self::Some(size, layers) => layers.get(layer).copied()?.then_some(*size),
        }
    }
}

/// Number of layers.
pub(super) fn n_layers(fields: &mut Fields) -> Result<usize, Reason> {
    fields.required("num_hidden_layers", 1..=limits::LAYERS_MAX)
}

/// Size of a window, if the config names one.
pub(super) fn window(fields: &mut Fields) -> Result<Option<usize>, Reason> {
    fields.unsigned("sliding_window", 1..=limits::CONTEXT_MAX)
}

/// Reads what the whole family spells alike; `n_layers` has been read.
pub(super) fn describe(
    fields: &mut Fields,
    family: &Family,
    n_layers: usize,
    (biases, windows): (Biases, &Windows),
) -> Result<Architecture, Reason> {
    fields.check_class(family.class)?;
    fields.check_dtype()?;
    if fields.text("hidden_act")?.is_some_and(|name| name != "silu" && name != "swish") {
        return inconsistent("`hidden_act` is not `silu`");
    }
    let hidden = fields.required("hidden_size", 1..=limits::HIDDEN_MAX)?;
    let vocabulary = fields.required("vocab_size", 1..=limits::VOCABULARY_MAX)?;
    let context = fields.unsigned("max_position_embeddings", 1..=limits::CONTEXT_MAX)?;
    let epsilon = fields.real("rms_norm_eps", 1e-12..=1.0)?.unwrap_or(1e-6) as f32;
    let shape = Shape::read(fields, family, (hidden, epsilon), biases)?;
    let rope = Rope::read(fields, shape.head_size)?;
    let norm =
        |module: String| Norm { gain: module + ".weight", bias: None, width: hidden, epsilon };
    let head = if fields.boolean("tie_word_embeddings")?.unwrap_or(false) {
        Head::Tied { copy: "lm_head.weight".into() }
    } else {
        Head::Own(Linear::new("lm_head", (hidden, vocabulary), false))
    };
    let layer = |index: usize| Layer {
        attention_norm: norm(format!("model.layers.{index}.input_layernorm")),
        attention: shape.attention(index, windows.of(index)),
        mlp_norm: norm(format!("model.layers.{index}.post_attention_layernorm")),
        mlp: Mlp::Gated(shape.mlp(index)),
        is_parallel: false,
    };
    Ok(Architecture {
        name: family.name,
        vocabulary,
        context: context.unwrap_or(family.context),
        hidden,
        embedding: "model.embed_tokens.weight".into(),
        positions: Positions::Rotary(rope),
        layers: (0..n_layers).map(layer).collect(),
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
    biases: Biases,
    /// Epsilon of the norms of heads, where there are any.
    head_norms: Option<f32>,
}

impl Shape {
    fn read(
        fields: &mut Fields,
        family: &Family,
        (hidden, epsilon): (usize, f32),
        biases: Biases,
    ) -> Result<Self, Reason> {
        let intermediate = fields.required("intermediate_size", 1..=limits::INTERMEDIATE_MAX)?;
        let n_heads = fields.required("num_attention_heads", 1..=limits::HEADS_MAX)?;
        let n_kv_heads = fields.unsigned("num_key_value_heads", 1..=limits::HEADS_MAX)?;
        let n_kv_heads = match n_kv_heads {
            Some(n_kv_heads) => n_kv_heads,
            // A null is an answer here: as many as heads.
            None if fields.is_null("num_key_value_heads") => n_heads,
            None => family.n_kv_heads.unwrap_or(n_heads),
        };
        if !n_heads.is_multiple_of(n_kv_heads) {
            return inconsistent(format!("{n_heads} heads share {n_kv_heads} key-value heads"));
        }
        let head_size =
            fields.unsigned("head_dim", 2..=limits::HEAD_SIZE_MAX)?.or(family.head_size);
        let head_size = match head_size {
            Some(head_size) => head_size,
            None if hidden.is_multiple_of(n_heads) => hidden / n_heads,
            None => return inconsistent(format!("{n_heads} heads in a hidden size of {hidden}")),
        };
        if !head_size.is_multiple_of(2) || head_size as u64 > limits::HEAD_SIZE_MAX {
            return inconsistent(format!("heads of size {head_size}"));
        }
        let head_norms = family.has_head_norms.then_some(epsilon);
        Ok(Self { hidden, intermediate, n_heads, n_kv_heads, head_size, biases, head_norms })
    }

    fn attention(&self, index: usize, window: Option<usize>) -> Attention {
        let Self { hidden, n_heads, n_kv_heads, head_size, biases, .. } = *self;
        let module = |name: &str| format!("model.layers.{index}.self_attn.{name}");
        let input = |name: &str, n_heads: usize| {
            Linear::new(&module(name), (hidden, n_heads * head_size), biases.inputs)
        };
        let norm = |name: &str, epsilon| Norm {
            gain: module(name) + ".weight",
            bias: None,
            width: head_size,
            epsilon,
        };
        let norms =
            |epsilon| HeadNorms { query: norm("q_norm", epsilon), key: norm("k_norm", epsilon) };
        Attention {
            inputs: vec![
                input("q_proj", n_heads),
                input("k_proj", n_kv_heads),
                input("v_proj", n_kv_heads),
            ],
            output: Linear::new(&module("o_proj"), (n_heads * head_size, hidden), biases.output),
            n_heads,
            n_kv_heads,
            head_size,
            head_norms: self.head_norms.map(norms),
            window,
        }
    }

    fn mlp(&self, index: usize) -> GatedMlp {
        let Self { hidden, intermediate, biases, .. } = *self;
        let linear = |name: &str, shape| {
            Linear::new(&format!("model.layers.{index}.mlp.{name}"), shape, biases.mlp)
        };
        GatedMlp {
            gate: linear("gate_proj", (hidden, intermediate)),
            up: linear("up_proj", (hidden, intermediate)),
            down: linear("down_proj", (intermediate, hidden)),
        }
    }
}
