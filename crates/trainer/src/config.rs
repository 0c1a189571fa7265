//! The shape of a Llama model, and its `config.json` as transformers writes it.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::{io::Read as _, path::Path};

/// Largest `config.json` that is read.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

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

    /// Reads the `config.json` of a folder: Llama type, in the spelling of transformers 4 or 5.
    ///
    /// Refuses what this crate would not train faithfully: other architectures or activations,
    /// biases, scaled rotary positions, heads that are not `hidden / n_heads` wide.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        let file = std::fs::File::open(&path).map_err(Error::io("read", &path))?;
        let mut text = String::new();
        file.take(CONFIG_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(Error::io("read", &path))?;
        if text.len() as u64 > CONFIG_BYTES_MAX {
            return Err(Error::malformed(&path, format!("more than {CONFIG_BYTES_MAX} bytes")));
        }
        let fields: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| Error::malformed(&path, error))?;
        let config =
            Self::from_fields(&fields).map_err(|reason| Error::malformed(&path, reason))?;
        config.check()?;
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

    fn from_fields(fields: &Map<String, Value>) -> Result<Self, String> {
        let fields = Fields(fields);
        fields.expect("model_type", "llama", None)?;
        fields.expect("hidden_act", "silu", Some("silu"))?;
        for bias in ["attention_bias", "mlp_bias"] {
            if fields.flag(bias, false)? {
                return Err(format!("`{bias}` is not supported"));
            }
        }
        let n_heads = fields.size("num_attention_heads")?;
        let config = Self {
            vocabulary: fields.size("vocab_size")?,
            hidden: fields.size("hidden_size")?,
            intermediate: fields.size("intermediate_size")?,
            n_layers: fields.size("num_hidden_layers")?,
            n_heads,
            n_kv_heads: fields.size_or("num_key_value_heads", n_heads)?,
            context: fields.size_or("max_position_embeddings", 2048)?,
            rope_theta: fields.rope_theta()?,
            rms_norm_eps: fields.number_or("rms_norm_eps", 1e-6)?,
            tied: fields.flag("tie_word_embeddings", false)?,
        };
        let width = config.hidden.checked_div(n_heads).unwrap_or(0);
        let head_width = fields.size_or("head_dim", width)?;
        if head_width != width {
            return Err(format!("`head_dim` is {head_width}, only {width} is supported"));
        }
        Ok(config)
    }
}

/// Fields of a `config.json`; a missing field and `null` are the same.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn size(&self, name: &str) -> Result<usize, String> {
        let value = self.get(name).ok_or_else(|| format!("`{name}` is missing"))?;
        let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
        size.ok_or_else(|| format!("`{name}` is {value}, not a size"))
    }

    fn size_or(&self, name: &str, default: usize) -> Result<usize, String> {
        self.get(name).map_or(Ok(default), |_| self.size(name))
    }

    fn number_or(&self, name: &str, default: f64) -> Result<f64, String> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_f64().ok_or_else(|| format!("`{name}` is {value}, not a number"))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_bool().ok_or_else(|| format!("`{name}` is {value}, not true or false"))
    }

    fn expect(&self, name: &str, wanted: &str, default: Option<&str>) -> Result<(), String> {
        let found = self.get(name).map_or(Value::from(default), Value::clone);
        if found == wanted {
            return Ok(());
        }
        Err(format!("`{name}` is {found}, only \"{wanted}\" is supported"))
    }

    /// The base of the rotary embedding: `rope_parameters` of transformers 5 or `rope_theta`.
    fn rope_theta(&self) -> Result<f64, String> {
        for name in ["rope_parameters", "rope_scaling"] {
            let Some(value) = self.get(name) else { continue };
            let rope = value.as_object().ok_or_else(|| format!("`{name}` is not an object"))?;
            let rope = Fields(rope);
            let kind = if rope.get("rope_type").is_some() { "rope_type" } else { "type" };
            rope.expect(kind, "default", Some("default"))?;
            if rope.get("rope_theta").is_some() {
                return rope.number_or("rope_theta", 10_000.0);
            }
        }
        self.number_or("rope_theta", 10_000.0)
    }
}
