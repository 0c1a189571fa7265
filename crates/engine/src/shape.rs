//! The shape of a model for whoever trains it, as the engine reads it.
//!
//! Two readers of one file can see two models: what is trained must be what is measured.

use crate::{
    arch::{Architecture, Head, Positions},
    checkpoint,
    error::{Error, Stop, judge, refuse},
};
use protocol::{Reason, ReasonCode::ConfigRefused};
use std::path::Path;

/// The only type that has a shape.
const LLAMA: &str = "llama";

/// The sizes of a Llama without biases and with rotary positions that nothing stretches.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Number of different tokens.
    pub vocabulary: usize,
    /// Width of the rows between layers.
    pub hidden: usize,
    /// Width of the perceptrons.
    pub intermediate: usize,
    /// Number of layers.
    pub n_layers: usize,
    /// Query heads of a layer.
    pub n_heads: usize,
    /// Key and value heads of a layer.
    pub n_kv_heads: usize,
    /// Numbers of a head.
    pub head_size: usize,
    /// Longest sequence.
    pub context: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Added to the mean square in norms; the shortest decimal of what it is in single precision.
    pub rms_norm_eps: f64,
    /// Whether the head is the embedding.
    pub is_tied: bool,
}

impl Shape {
    /// Reads the config of the model in `dir`, which must be such a Llama.
    pub fn read(dir: &Path) -> Result<Result<Self, Reason>, Error> {
        judge(Self::try_read(dir))
    }

    fn try_read(dir: &Path) -> Result<Self, Stop> {
        let config = checkpoint::read_config(dir)?;
        let architecture = Architecture::read(&config, &[LLAMA.to_owned()])?;
        Ok(Self::of(&architecture)?)
    }

    fn of(architecture: &Architecture) -> Result<Self, Reason> {
        let Architecture { vocabulary, hidden, context, layers, .. } = architecture;
        let (Some(layer), Some(norm)) = (layers.first(), &architecture.final_norm) else {
            return refuse(ConfigRefused, "a model without layers");
        };
        let Positions::Rotary(rope) = &architecture.positions else {
            return refuse(ConfigRefused, "positions that are not rotary");
        };
        if !rope.is_plain() {
            return refuse(ConfigRefused, "`rope_type` is not `default`: positions are stretched");
        }
        let mut linears = layers.iter().flat_map(|layer| layer.linears());
        if linears.any(|linear| linear.bias.is_some()) {
            return refuse(ConfigRefused, "`attention_bias` or `mlp_bias` is true");
        }
        let heads = layer.attention.heads;
        Ok(Self {
            vocabulary: *vocabulary,
            hidden: *hidden,
            intermediate: layer.mlp.width(),
            n_layers: layers.len(),
            n_heads: heads.n_heads,
            n_kv_heads: heads.n_kv_heads,
            head_size: heads.head_size,
            context: *context,
            rope_theta: rope.theta,
            rms_norm_eps: shortest(norm.epsilon),
            is_tied: matches!(architecture.head, Head::Tied { .. }),
        })
    }
}

/// The shortest decimal that is this number in single precision.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_survives_single_precision() {
        for decimal in [1e-5_f64, 1e-6, 1e-12, 0.1, 3.25e-7] {
            assert_eq!(shortest(decimal as f32).to_bits(), decimal.to_bits());
        }
    }
}
