//! The shape of a Llama model, and its `config.json` as transformers writes it.

use crate::error::{Error, Result};
use engine::Shape;
use protocol::files::CONFIG;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;

/// Largest value of every dimension but the number of layers.
const DIMENSION_MAX: usize = 1 << 24;

/// Largest number of layers.
const N_LAYERS_MAX: usize = 4096;

/// Most parameters of a model: with gradient and moments, F32 takes 16 bytes for each.
const N_PARAMETERS_MAX: u64 = 1 << 36;

/// The shape of a Llama model: everything but the numbers in its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Number of different tokens.
    pub vocabulary: usize,
    /// Width of the residual rows.
    pub hidden: usize,
    /// Width of the feed-forward part.
    pub intermediate: usize,
    /// Number of blocks.
    pub n_layers: usize,
    /// Query heads per block; divides `hidden` into heads of even width.
    pub n_heads: usize,
    /// Key and value heads per block; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Most tokens that a position can see, itself included.
    pub context: usize,
    /// Base of the rotary wavelengths.
    pub rope_theta: f64,
    /// Added to the mean square in norms.
    pub rms_norm_eps: f64,
    /// Whether the embedding is the output projection as well.
    pub tied: bool,
}

impl ModelConfig {
    /// Checks that the shape is possible and within limits; every constructor of a trainer does.
    pub fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Config(reason));
        let sizes = [
            ("vocabulary", self.vocabulary),
            ("hidden", self.hidden),
            ("intermediate", self.intermediate),
            ("n_layers", self.n_layers),
            ("n_heads", self.n_heads),
            ("n_kv_heads", self.n_kv_heads),
            ("context", self.context),
        ];
        for (name, size) in sizes {
            let max = if name == "n_layers" { N_LAYERS_MAX } else { DIMENSION_MAX };
            if !(1..=max).contains(&size) {
                return refuse(format!("`{name}` is {size}, not between 1 and {max}"));
            }
        }
        if !self.hidden.is_multiple_of(self.n_heads) {
            let (hidden, n_heads) = (self.hidden, self.n_heads);
            return refuse(format!("{n_heads} heads do not divide a hidden size of {hidden}"));
        }
        if !self.head_width().is_multiple_of(2) {
            let width = self.head_width();
            return refuse(format!("heads are {width} wide, rotary positions need an even width"));
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            let (n_heads, n_kv_heads) = (self.n_heads, self.n_kv_heads);
            return refuse(format!("{n_kv_heads} key heads do not divide {n_heads} query heads"));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta >= 1.0) {
            return refuse(format!("`rope_theta` is {}, not at least 1", self.rope_theta));
        }
        if !(self.rms_norm_eps > 0.0 && self.rms_norm_eps <= 0.1) {
            return refuse(format!("`rms_norm_eps` is {}, not in (0, 0.1]", self.rms_norm_eps));
        }
        match self.n_parameters() {
            Some(n) if n <= N_PARAMETERS_MAX => Ok(()),
            _ => refuse(format!("more than {N_PARAMETERS_MAX} parameters")),
        }
    }

    /// Number of parameters, tied ones once; `None` when it exceeds 64 bits.
    pub fn n_parameters(&self) -> Option<u64> {
        let size = |n: usize| u64::try_from(n).ok();
        let (hidden, intermediate) = (size(self.hidden)?, size(self.intermediate)?);
        let keys = size(self.n_kv_heads)?.checked_mul(hidden.checked_div(size(self.n_heads)?)?)?;
        // Query and output are hidden wide, key and value `keys`; three feed-forward matrices.
        let columns = hidden
            .checked_mul(2)?
            .checked_add(keys.checked_mul(2)?)?
            .checked_add(intermediate.checked_mul(3)?)?
            .checked_add(2)?;
        let layers = columns.checked_mul(hidden)?.checked_mul(size(self.n_layers)?)?;
        let table = size(self.vocabulary)?.checked_mul(hidden)?;
        let tables = table.checked_mul(if self.tied { 1 } else { 2 })?;
        layers.checked_add(tables)?.checked_add(hidden)
    }

    /// Elements per head.
    pub(crate) fn head_width(&self) -> usize {
        self.hidden / self.n_heads
    }

    /// Reads the `config.json` of a folder as the engine reads it, in any spelling of transformers.
    ///
    /// Refuses what this crate would not train faithfully: other architectures or activations,
    /// biases, scaled rotary positions, heads that are not `hidden / n_heads` wide.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(CONFIG);
        let shape = Shape::read(dir).map_err(|error| Error::of_engine(error, &path))?;
        let shape = shape.map_err(|reason| Error::malformed(&path, reason))?;
        let config = Self {
            vocabulary: shape.vocabulary,
            hidden: shape.hidden,
            intermediate: shape.intermediate,
            n_layers: shape.n_layers,
            n_heads: shape.n_heads,
            n_kv_heads: shape.n_kv_heads,
            context: shape.context,
            rope_theta: shape.rope_theta,
            rms_norm_eps: shape.rms_norm_eps,
            tied: shape.is_tied,
        };
        config.check()?;
        let (found, width) = (shape.head_size, config.head_width());
        if found != width {
            let reason = format!("`head_dim` is {found}, only {width} is supported");
            return Err(Error::malformed(&path, reason));
        }
        Ok(config)
    }

    /// The text of `config.json`: one spelling that transformers 4 and 5 both read.
    pub fn to_json(&self) -> String {
        let config = json!({
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": false,
            "attention_dropout": 0.0,
            "bos_token_id": null,
            "eos_token_id": null,
            "head_dim": self.head_width(),
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "max_position_embeddings": self.context,
            "mlp_bias": false,
            "model_type": "llama",
            "num_attention_heads": self.n_heads,
            "num_hidden_layers": self.n_layers,
            "num_key_value_heads": self.n_kv_heads,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_scaling": null,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": self.tied,
            "torch_dtype": "float32",
            "vocab_size": self.vocabulary,
        });
        format!("{config:#}\n")
    }
}

#[cfg(test)]
mod tests;
