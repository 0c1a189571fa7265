//! How the configs of GPT-2, GPT-J and GPT-BigCode spell their sizes.

use super::{Activation, Heads, Layer, Linear, Mlp, Norm, Norms, Sizes, inconsistent, limits};
use crate::config::Fields;
use protocol::Reason;

/// What a config takes where it says nothing.
pub(super) struct Usual {
    pub(super) hidden: usize,
    pub(super) n_layers: usize,
    pub(super) n_heads: usize,
    pub(super) vocabulary: usize,
    pub(super) context: usize,
}

/// What all layers have in common.
pub(super) struct Gpt {
    pub(super) sizes: Sizes,
    pub(super) context: usize,
    /// One key for each query.
    pub(super) heads: Heads,
    pub(super) intermediate: usize,
    pub(super) epsilon: f32,
    pub(super) activation: Activation,
}

impl Gpt {
    /// Reads the sizes; `n_ctx`, where it is, repeats `n_positions`.
    pub(super) fn read(
        fields: &mut Fields,
        usual: &Usual,
        context_max: u64,
    ) -> Result<Self, Reason> {
        fields.check_dtype();
        let hidden = fields.unsigned("n_embd", 1..=limits::HIDDEN_MAX).unwrap_or(usual.hidden);
        let n_layers = fields.unsigned("n_layer", 1..=limits::LAYERS_MAX);
        let n_heads = fields.unsigned("n_head", 1..=limits::HEADS_MAX).unwrap_or(usual.n_heads);
        let vocabulary = fields.unsigned("vocab_size", 1..=limits::VOCABULARY_MAX);
        let context = fields.unsigned("n_positions", 1..=context_max).unwrap_or(usual.context);
        if fields.unsigned("n_ctx", 1..=context_max).is_some_and(|n_ctx| n_ctx != context) {
            return inconsistent("`n_ctx` and `n_positions` contradict each other");
        }
        let intermediate = fields.unsigned("n_inner", 1..=limits::INTERMEDIATE_MAX);
        let activation = Activation::read(fields, "activation_function");
        Ok(Self {
            sizes: Sizes {
                hidden,
                n_layers: n_layers.unwrap_or(usual.n_layers),
                vocabulary: vocabulary.unwrap_or(usual.vocabulary),
            },
            context,
            heads: Heads::of(hidden, n_heads, n_heads)?,
            intermediate: intermediate.unwrap_or(4 * hidden),
            epsilon: fields.real("layer_norm_epsilon", 1e-12..=1.0).unwrap_or(1e-5) as f32,
            activation: activation.unwrap_or(Activation::GeluTanh),
        })
    }

    /// The layer norm of this module.
    pub(super) fn norm(&self, module: &str) -> Norm {
        Norm::layer(module, self.sizes.hidden, self.epsilon)
    }

    /// Norms before the module `ln_1` or `ln_2` of a layer.
    pub(super) fn before(&self, index: usize, name: &str) -> Norms {
        Norms::before(self.norm(&format!("transformer.h.{index}.{name}")))
    }

    /// The perceptron of these two modules.
    pub(super) fn mlp(&self, index: usize, [up, down]: [&str; 2]) -> Mlp {
        let linear = |name: &str, shape| {
            Linear::new(&format!("transformer.h.{index}.mlp.{name}"), shape, true)
        };
        let (hidden, intermediate) = (self.sizes.hidden, self.intermediate);
        Mlp {
            is_gated: false,
            inputs: vec![linear(up, (hidden, intermediate))],
            down: linear(down, (intermediate, hidden)),
            activation: self.activation,
        }
    }

    /// All layers.
    pub(super) fn layers(&self, layer: impl Fn(usize) -> Layer) -> Vec<Layer> {
        (0..self.sizes.n_layers).map(layer).collect()
    }
}

/// Switches must stand as every published model has them.
pub(super) fn check_switches(fields: &mut Fields, switches: &[(&str, bool)]) {
    switches.iter().for_each(|(key, usual)| fields.switch(key, *usual));
}
