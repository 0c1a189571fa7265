//! GPT-NeoX and Pythia: rotation of a part of each head, attention and perceptron side by side.

use super::{
    Activation, Architecture, Attention, Head, Layer, Linear, Mlp, Norm, Order, Positions, Rope,
    inconsistent, limits,
};
use crate::config::Fields;
use protocol::Reason;

/// Share of a head that is turned, where a config does not say.
const ROTARY_SHARE: f64 = 0.25;

/// Reads the config of a GPT-NeoX; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    fields.check_class("GPTNeoXForCausalLM")?;
    fields.check_dtype()?;
    let shape = Shape::read(fields)?;
    let n_layers = fields.required("num_hidden_layers", 1..=limits::LAYERS_MAX)?;
    let vocabulary = fields.required("vocab_size", 1..=limits::VOCABULARY_MAX)?;
    let context = fields.unsigned("max_position_embeddings", 1..=limits::CONTEXT_MAX)?;
    let rope = Rope::read_partial(fields, shape.head_size(), ROTARY_SHARE)?;
    let hidden = shape.hidden;
    let head = if fields.boolean("tie_word_embeddings")?.unwrap_or(false) {
        Head::Tied { copy: "embed_out.weight".into() }
    } else {
        Head::Own(Linear::new("embed_out", (hidden, vocabulary), false))
    };
    Ok(Architecture {
        name: "gpt_neox",
        vocabulary,
        context: context.unwrap_or(2048),
        hidden,
        embedding: "gpt_neox.embed_in.weight".into(),
        positions: Positions::Rotary(rope),
        layers: (0..n_layers).map(|index| shape.layer(index)).collect(),
        final_norm: shape.norm("gpt_neox.final_layer_norm"),
        head,
    })
}

/// What all layers have in common.
struct Shape {
    hidden: usize,
    intermediate: usize,
    n_heads: usize,
    epsilon: f32,
    activation: Activation,
    attention_bias: bool,
    is_parallel: bool,
}

impl Shape {
    fn read(fields: &mut Fields) -> Result<Self, Reason> {
        let hidden = fields.required("hidden_size", 1..=limits::HIDDEN_MAX)?;
        let n_heads = fields.required("num_attention_heads", 1..=limits::HEADS_MAX)?;
        if !hidden.is_multiple_of(n_heads) || (hidden / n_heads) as u64 > limits::HEAD_SIZE_MAX {
            return inconsistent(format!("{n_heads} heads in a hidden size of {hidden}"));
        }
        let activation = match fields.text("hidden_act")?.as_deref() {
            None | Some("gelu") => Activation::Gelu,
            Some("gelu_new" | "gelu_pytorch_tanh") => Activation::GeluTanh,
            Some(_) => return inconsistent("`hidden_act` is no GELU"),
        };
        Ok(Self {
            hidden,
            intermediate: fields.required("intermediate_size", 1..=limits::INTERMEDIATE_MAX)?,
            n_heads,
            epsilon: fields.real("layer_norm_eps", 1e-12..=1.0)?.unwrap_or(1e-5) as f32,
            activation,
            attention_bias: fields.boolean("attention_bias")?.unwrap_or(true),
            is_parallel: fields.boolean("use_parallel_residual")?.unwrap_or(true),
        })
    }

    fn head_size(&self) -> usize {
        self.hidden / self.n_heads
    }

    fn norm(&self, module: &str) -> Norm {
        Norm {
            gain: format!("{module}.weight"),
            bias: Some(format!("{module}.bias")),
            width: self.hidden,
            epsilon: self.epsilon,
        }
    }

    fn layer(&self, index: usize) -> Layer {
        let (hidden, intermediate) = (self.hidden, self.intermediate);
        let module = |name: &str| format!("gpt_neox.layers.{index}.{name}");
        let order = Order::HeadByHead { head_size: self.head_size(), n_heads: self.n_heads };
        let fused = module("attention.query_key_value");
        let fused = Linear::new(&fused, (hidden, 3 * hidden), self.attention_bias).ordered(order);
        let output = Linear::new(&module("attention.dense"), (hidden, hidden), self.attention_bias);
        Layer {
            attention_norm: self.norm(&module("input_layernorm")),
            attention: Attention {
                inputs: vec![fused],
                output,
                n_heads: self.n_heads,
                n_kv_heads: self.n_heads,
                head_size: self.head_size(),
                head_norms: None,
                window: None,
            },
            mlp_norm: self.norm(&module("post_attention_layernorm")),
            mlp: Mlp::Plain {
                up: Linear::new(&module("mlp.dense_h_to_4h"), (hidden, intermediate), true),
                down: Linear::new(&module("mlp.dense_4h_to_h"), (intermediate, hidden), true),
                activation: self.activation,
            },
            is_parallel: self.is_parallel,
        }
    }
}
