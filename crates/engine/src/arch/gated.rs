//! What Llama and its many relatives have in common: rotary attention whose heads may share keys
//! and values, a gated perceptron, and the names of the tensors.

use super::{
    Activation, Architecture, Attention, Head, HeadNorms, Heads, Layer, Linear, Mlp, Norm, Norms,
    Plain, Positions, Rope, Sizes, inconsistent, limits, rope::Spelling,
};
use crate::{config::Fields, json::shorten};
use protocol::Reason;

/// A member of the family, with what it takes where a config says nothing.
#[derive(Clone, Copy)]
pub(super) struct Family {
    pub(super) name: &'static str,
    /// Its class in transformers.
    pub(super) class: &'static str,
    pub(super) context: usize,
    /// Without a number, as many as heads.
    pub(super) n_kv_heads: Option<usize>,
    /// Without a number, the hidden size over the heads.
    pub(super) head_size: Option<usize>,
    pub(super) epsilon: f64,
    /// Key of the epsilon.
    pub(super) epsilon_key: &'static str,
    pub(super) is_tied: bool,
    pub(super) has_head_bias: bool,
    pub(super) rope: Spelling,
}

impl Family {
    /// What most members take.
    pub(super) const fn new(name: &'static str, class: &'static str, context: usize) -> Self {
        Self {
            name,
            class,
            context,
            n_kv_heads: None,
            head_size: None,
            epsilon: 1e-6,
            epsilon_key: "rms_norm_eps",
            is_tied: false,
            has_head_bias: false,
            rope: Spelling::WHOLE,
        }
    }
}

/// Which projections have biases.
#[derive(Clone, Copy, Default)]
pub(super) struct Biases {
    /// Queries, keys and values.
    pub(super) inputs: bool,
    /// What leaves attention.
    pub(super) output: bool,
    pub(super) mlp: bool,
}

/// What all layers of a model have in common.
pub(super) struct Body {
    family: Family,
    pub(super) sizes: Sizes,
    context: usize,
    pub(super) intermediate: usize,
    pub(super) heads: Heads,
    pub(super) epsilon: f32,
    pub(super) activation: Activation,
    rope: Rope,
    head: Head,
}

impl Body {
    /// Reads what the whole family spells alike; the first activation is the usual one.
    pub(super) fn read(
        fields: &mut Fields,
        family: &Family,
        activations: &[Activation],
    ) -> Result<Self, Reason> {
        fields.check_class(family.class);
        fields.check_dtype();
        let activation = Activation::read(fields, "hidden_act");
        let activation = activation.unwrap_or(activations[0]);
        if !activations.contains(&activation) {
            return inconsistent("`hidden_act` is not that of the published models");
        }
        let sizes = Sizes::read(fields);
        let hidden = sizes.hidden;
        let intermediate = fields.required("intermediate_size", 1..=limits::INTERMEDIATE_MAX);
        let context = fields.unsigned("max_position_embeddings", 1..=limits::CONTEXT_MAX);
        let context = context.unwrap_or(family.context);
        let epsilon = fields.real(family.epsilon_key, 1e-12..=1.0).unwrap_or(family.epsilon);
        let heads = heads(fields, family, hidden)?;
        let rope = Rope::read(fields, (heads.head_size, context), family.rope)?;
        let shape = (hidden, sizes.vocabulary);
        Ok(Self {
            family: *family,
            head: Head::read(
                fields,
                family.is_tied,
                Linear::new("lm_head", shape, family.has_head_bias),
            ),
            context: rope.context_max.map_or(context, |most| context.min(most)),
            sizes,
            intermediate,
            heads,
            epsilon: epsilon as f32,
            activation,
            rope,
        })
    }

    /// A layer with a root-mean-square norm before attention and one before the perceptron.
    pub(super) fn layer(&self, index: usize, biases: Biases) -> Layer {
        Layer {
            attention: self.attention(index, biases),
            attention_norms: Norms::before(self.rms(index, "input_layernorm")),
            mlp: self.mlp(index, biases.mlp),
            mlp_norms: Norms::before(self.rms(index, "post_attention_layernorm")),
            is_parallel: false,
        }
    }

    /// The whole model, the norm of whose rows is called `model.norm`.
    pub(super) fn finish(
        self,
        layer: impl Fn(&Self, usize) -> Layer,
        norm: fn(&str, usize, f32) -> Norm,
    ) -> Architecture {
        let norm = norm("model.norm", self.sizes.hidden, self.epsilon);
        self.finish_with(layer, norm)
    }

    /// The whole model.
    pub(super) fn finish_with(
        self,
        layer: impl Fn(&Self, usize) -> Layer,
        final_norm: Norm,
    ) -> Architecture {
        let layers = (0..self.sizes.n_layers).map(|index| layer(&self, index)).collect();
        Architecture::new(Plain {
            name: self.family.name,
            sizes: &self.sizes,
            context: self.context,
            table: "model.embed_tokens.weight",
            positions: Positions::Rotary(self.rope),
            layers,
            final_norm,
            head: self.head,
        })
    }

    /// The root-mean-square norm of this name in a layer.
    pub(super) fn rms(&self, index: usize, name: &str) -> Norm {
        Norm::rms(&format!("model.layers.{index}.{name}"), self.sizes.hidden, self.epsilon)
    }

    /// The layer norm of this name in a layer.
    pub(super) fn layer_norm(&self, index: usize, name: &str) -> Norm {
        Norm::layer(&format!("model.layers.{index}.{name}"), self.sizes.hidden, self.epsilon)
    }

    pub(super) fn attention(&self, index: usize, biases: Biases) -> Attention {
        let (hidden, heads) = (self.sizes.hidden, self.heads);
        let module = |name: &str| format!("model.layers.{index}.self_attn.{name}");
        let input = |name, width| Linear::new(&module(name), (hidden, width), biases.inputs);
        let inputs = vec![
            input("q_proj", heads.queries_width()),
            input("k_proj", heads.keys_width()),
            input("v_proj", heads.keys_width()),
        ];
        let shape = (heads.queries_width(), hidden);
        Attention::new(heads, inputs, Linear::new(&module("o_proj"), shape, biases.output))
    }

    /// Root-mean-square norms `q_norm` and `k_norm` of these widths.
    pub(super) fn head_norms(&self, index: usize, (query, key): (usize, usize)) -> HeadNorms {
        let norm = |name: &str, width| {
            let module = format!("model.layers.{index}.self_attn.{name}");
            vec![Norm::rms(&module, width, self.epsilon)]
        };
        HeadNorms { query: norm("q_norm", query), key: norm("k_norm", key) }
    }

    pub(super) fn mlp(&self, index: usize, has_biases: bool) -> Mlp {
        let (hidden, intermediate) = (self.sizes.hidden, self.intermediate);
        let linear = |name: &str, shape| {
            Linear::new(&format!("model.layers.{index}.mlp.{name}"), shape, has_biases)
        };
        let input = |name| linear(name, (hidden, intermediate));
        Mlp {
            is_gated: true,
            inputs: vec![input("gate_proj"), input("up_proj")],
            down: linear("down_proj", (intermediate, hidden)),
            activation: self.activation,
        }
    }

    /// The same with gates and ups in one matrix, and queries, keys and values in another.
    pub(super) fn fused(&self, index: usize) -> (Attention, Mlp) {
        let hidden = self.sizes.hidden;
        let linear = |name: &str, width| {
            Linear::new(&format!("model.layers.{index}.{name}"), (hidden, width), false)
        };
        let biases = Biases::default();
        let inputs = vec![linear("self_attn.qkv_proj", self.heads.inputs_width())];
        let attention = Attention { inputs, ..self.attention(index, biases) };
        let inputs = vec![linear("mlp.gate_up_proj", 2 * self.intermediate)];
        (attention, Mlp { inputs, ..self.mlp(index, false) })
    }
}

/// Reads how many heads there are, and how wide they are.
fn heads(fields: &mut Fields, family: &Family, hidden: usize) -> Result<Heads, Reason> {
    let n_heads = fields.required("num_attention_heads", 1..=limits::HEADS_MAX);
    let n_kv_heads = fields.unsigned("num_key_value_heads", 1..=limits::HEADS_MAX);
    let n_kv_heads = match n_kv_heads {
        Some(n_kv_heads) => n_kv_heads,
        // A null is an answer here: as many as heads.
        None if fields.is_null("num_key_value_heads") => n_heads,
        None => family.n_kv_heads.unwrap_or(n_heads),
    };
    let head_size = fields.unsigned("head_dim", 2..=limits::HEAD_SIZE_MAX).or(family.head_size);
    match head_size {
        Some(head_size) => Heads { n_heads, n_kv_heads, head_size }.check(),
        None => Heads::of(hidden, n_heads, n_kv_heads),
    }
}

/// Size of a window, if the config names one.
pub(super) fn window(fields: &mut Fields) -> Option<usize> {
    fields.unsigned("sliding_window", 1..=limits::CONTEXT_MAX)
}

/// For each layer, whether it looks back over a window, as `layer_types` lists it.
pub(super) fn layer_types(fields: &mut Fields, n_layers: usize) -> Option<Vec<bool>> {
    let kinds = fields.texts("layer_types")?;
    if kinds.len() != n_layers {
        fields.fault(format_args!("{} `layer_types` for {n_layers} layers", kinds.len()));
        return None;
    }
    let is_window = |kind: &String| match kind.as_str() {
        "full_attention" => Some(false),
        "sliding_attention" => Some(true),
        other => {
            fields.fault(format_args!("the layer type `{}` is not supported", shorten(other)));
            None
        }
    };
    kinds.iter().map(is_window).collect()
}
