//! Bart's decoder on its own: learned positions, and norms of sums.

use super::{
    Activation, Architecture, Attention, Embedding, Head, Heads, Layer, Linear, Mlp, Norm, Norms,
    Plain, Positions, Sizes, gpt::check_switches, limits,
};
use crate::config::Fields;
use protocol::Reason;

/// Epsilon of all norms.
const EPSILON: f32 = 1e-5;
/// Rows of the table of positions that serve nothing.
const N_SKIPPED: usize = 2;

/// Reads the config of a `BartForCausalLM`; absent keys have the defaults of transformers.
pub(super) fn describe(fields: &mut Fields) -> Result<Architecture, Reason> {
    fields.check_class("BartForCausalLM");
    fields.check_dtype();
    // Without an encoder there is nothing else to look at; the class is a decoder regardless.
    check_switches(fields, &[("normalize_before", false), ("add_final_layer_norm", false)]);
    fields.boolean("is_encoder_decoder");
    let shape = Shape::read(fields)?;
    let (hidden, vocabulary) = (shape.sizes.hidden, shape.sizes.vocabulary);
    let context = fields.unsigned("max_position_embeddings", 1..=limits::LEARNED_CONTEXT_MAX);
    let is_scaled = fields.boolean("scale_embedding").unwrap_or(false);
    let head = Head::read(fields, true, Linear::new("lm_head", (hidden, vocabulary), false));
    let table = "model.decoder.embed_positions.weight".into();
    let all = || 0..shape.sizes.n_layers;
    let norm = Norm::layer("model.decoder.layernorm_embedding", hidden, EPSILON);
    let mut model = Architecture::new(Plain {
        name: "bart",
        sizes: &shape.sizes,
        context: context.unwrap_or(1024),
        table: "model.decoder.embed_tokens.weight",
        positions: Positions::Learned { table, n_skipped: N_SKIPPED },
        layers: all().map(|index| shape.layer(index)).collect(),
        final_norm: norm.clone(),
        head,
    });
    model.final_norm = None;
    let scale = is_scaled.then(|| (hidden as f64).sqrt() as f32);
    model.embedding = Embedding { scale, norm: Some(norm), ..model.embedding };
    model.unused = all().flat_map(|index| shape.cross_attention(index)).collect();
    Ok(model)
}

/// What all layers have in common.
struct Shape {
    sizes: Sizes,
    heads: Heads,
    intermediate: usize,
    activation: Activation,
}

impl Shape {
    fn read(fields: &mut Fields) -> Result<Self, Reason> {
        let hidden = fields.unsigned("d_model", 1..=limits::HIDDEN_MAX).unwrap_or(1024);
        let n_heads = fields.unsigned("decoder_attention_heads", 1..=limits::HEADS_MAX);
        let n_heads = n_heads.unwrap_or(16);
        let n_layers = fields.unsigned("decoder_layers", 1..=limits::LAYERS_MAX);
        let vocabulary = fields.unsigned("vocab_size", 1..=limits::VOCABULARY_MAX);
        let intermediate = fields.unsigned("decoder_ffn_dim", 1..=limits::INTERMEDIATE_MAX);
        let activation = Activation::read(fields, "activation_function");
        // Two names of the encoder's sizes, of which nothing is read.
        fields.unsigned("num_hidden_layers", 0..=limits::LAYERS_MAX);
        fields.unsigned("num_attention_heads", 0..=limits::HEADS_MAX);
        Ok(Self {
            sizes: Sizes {
                hidden,
                n_layers: n_layers.unwrap_or(12),
                vocabulary: vocabulary.unwrap_or(50_265),
            },
            heads: Heads::of(hidden, n_heads, n_heads)?,
            intermediate: intermediate.unwrap_or(4096),
            activation: activation.unwrap_or(Activation::Gelu),
        })
    }

    fn linear(&self, index: usize, name: &str) -> Linear {
        let shape = (self.sizes.hidden, self.sizes.hidden);
        Linear::new(&format!("model.decoder.layers.{index}.{name}"), shape, true)
    }

    fn norm(&self, index: usize, name: &str) -> Norm {
        let module = format!("model.decoder.layers.{index}.{name}");
        Norm::layer(&module, self.sizes.hidden, EPSILON)
    }

    fn layer(&self, index: usize) -> Layer {
        let (hidden, intermediate) = (self.sizes.hidden, self.intermediate);
        let linear = |name: &str| self.linear(index, name);
        let norms = |name: &str| Norms { sum: Some(self.norm(index, name)), ..Norms::default() };
        let inputs =
            ["q_proj", "k_proj", "v_proj"].map(|name| linear(&format!("self_attn.{name}")));
        let up = Linear { n_out: intermediate, ..linear("fc1") };
        Layer {
            attention: Attention::new(self.heads, inputs.into(), linear("self_attn.out_proj")),
            attention_norms: norms("self_attn_layer_norm"),
            mlp: Mlp {
                is_gated: false,
                inputs: vec![up],
                down: Linear { n_in: intermediate, n_out: hidden, ..linear("fc2") },
                activation: self.activation,
            },
            mlp_norms: norms("final_layer_norm"),
            is_parallel: false,
        }
    }

    /// Attention to an encoder, which is not there.
    fn cross_attention(&self, index: usize) -> Vec<(String, Vec<u64>)> {
        let names = ["q_proj", "k_proj", "v_proj", "out_proj"];
        let linears = names.map(|name| self.linear(index, &format!("encoder_attn.{name}")));
        let norm = self.norm(index, "encoder_attn_layer_norm");
        let parameters = linears.iter().flat_map(Linear::parameters).chain(norm.parameters());
        parameters.map(|parameter| (parameter.name.to_owned(), parameter.shape)).collect()
    }
}
