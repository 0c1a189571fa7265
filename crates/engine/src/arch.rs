//! Architectures: what a model computes, described in terms of blocks that all of them share.
//!
//! An architecture is one file that turns a `config.json` into an [`Architecture`]. From that
//! description follow the tensors that a checkpoint must hold, the number of parameters, the work
//! per token and the forward pass; no architecture has a forward pass of its own.

mod gated;
mod gpt2;
mod gpt_neox;
mod llama;
mod mistral;
mod qwen;
mod rope;

use crate::{
    config::Fields,
    error::{Stop, refuse},
    json::shorten,
};
use protocol::{
    Reason,
    ReasonCode::{ArchitectureRefused, ConfigRefused},
};

pub(crate) use rope::Rope;

/// Architectures that the engine can run, by the `model_type` of their config.
pub const ARCHITECTURES: &[&str] = &["gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3"];

/// The largest sizes that are read; whatever is larger is refused before anything is allocated.
mod limits {
    /// Widest hidden state.
    pub(super) const HIDDEN_MAX: u64 = 1 << 16;
    /// Widest perceptron.
    pub(super) const INTERMEDIATE_MAX: u64 = 1 << 20;
    /// Most layers.
    pub(super) const LAYERS_MAX: u64 = 512;
    /// Most heads.
    pub(super) const HEADS_MAX: u64 = 1 << 10;
    /// Widest head.
    pub(super) const HEAD_SIZE_MAX: u64 = 512;
    /// Largest vocabulary.
    pub(super) const VOCABULARY_MAX: u64 = 1 << 22;
    /// Longest context.
    pub(super) const CONTEXT_MAX: u64 = 1 << 24;
}

/// A whole model: embedding, layers, final norm, head.
#[derive(Clone, Debug)]
pub(crate) struct Architecture {
    pub(crate) name: &'static str,
    pub(crate) vocabulary: usize,
    pub(crate) context: usize,
    pub(crate) hidden: usize,
    /// Name of the table with one row per token.
    pub(crate) embedding: String,
    pub(crate) positions: Positions,
    pub(crate) layers: Vec<Layer>,
    pub(crate) final_norm: Norm,
    pub(crate) head: Head,
}

/// How a model knows where a token stands.
#[derive(Clone, Debug)]
pub(crate) enum Positions {
    /// Queries and keys are turned.
    Rotary(Rope),
    /// A row for each position of the context is added to the embedding.
    Learned {
        /// Name of the table.
        table: String,
    },
}

/// Norm, attention, residual; norm, perceptron, residual.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// Whether the perceptron sees what attention saw, not what attention made of it.
    pub(crate) is_parallel: bool,
    pub(crate) attention_norm: Norm,
    pub(crate) attention: Attention,
    pub(crate) mlp_norm: Norm,
    pub(crate) mlp: Mlp,
}

/// A norm with a gain: of the mean square, or with a bias of the deviations from the mean.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub(crate) gain: String,
    /// There where deviations are normed.
    pub(crate) bias: Option<String>,
    pub(crate) width: usize,
    pub(crate) epsilon: f32,
}

/// `x W' + b`; the weight is `[n_out, n_in]`, or published the other way round.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: String,
    pub(crate) bias: Option<String>,
    pub(crate) n_in: usize,
    pub(crate) n_out: usize,
    pub(crate) is_transposed: bool,
    pub(crate) order: Order,
}

/// In which order the outputs of a matrix are published.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// In that in which they are used.
    AsUsed,
    /// Query, key and value of the first head, then those of the next; used are all queries first,
    /// then all keys, then all values.
    HeadByHead { head_size: usize, n_heads: usize },
}

impl Order {
    /// Where the output published as number `output` is used.
    pub(crate) fn place(self, output: usize) -> usize {
        match self {
            Self::AsUsed => output,
            Self::HeadByHead { head_size, n_heads } => {
                let (head, rest) = (output / (3 * head_size), output % (3 * head_size));
                let (part, number) = (rest / head_size, rest % head_size);
                (part * n_heads + head) * head_size + number
            }
        }
    }
}

/// Causal attention; groups of query heads share a key-value head.
#[derive(Clone, Debug)]
pub(crate) struct Attention {
    /// Queries, keys and values one after the other, in as many matrices as are published.
    pub(crate) inputs: Vec<Linear>,
    pub(crate) output: Linear,
    pub(crate) n_heads: usize,
    pub(crate) n_kv_heads: usize,
    pub(crate) head_size: usize,
    pub(crate) head_norms: Option<HeadNorms>,
    /// How many positions a query looks back at, its own included; without a number, at all.
    pub(crate) window: Option<usize>,
}

/// Norms of each head of the queries and keys, before they are turned.
#[derive(Clone, Debug)]
pub(crate) struct HeadNorms {
    pub(crate) query: Norm,
    pub(crate) key: Norm,
}

/// What follows attention in a layer.
#[derive(Clone, Debug)]
pub(crate) enum Mlp {
    /// `down(silu(gate(x)) * up(x))`.
    Gated(GatedMlp),
    /// `down(gelu(up(x)))`.
    Plain {
        /// To the wider state.
        up: Linear,
        /// Back from it.
        down: Linear,
        /// Which GELU.
        activation: Activation,
    },
}

/// The bend of a plain perceptron.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `x (1 + erf(x / sqrt 2)) / 2`.
    Gelu,
    /// Its approximation with the hyperbolic tangent.
    GeluTanh,
}

/// `down(silu(gate(x)) * up(x))`.
#[derive(Clone, Debug)]
pub(crate) struct GatedMlp {
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
}

/// How hidden states become logits.
#[derive(Clone, Debug)]
pub(crate) enum Head {
    /// By the embedding table; a tensor of this name may repeat it bit for bit.
    Tied { copy: String },
    /// By a matrix of its own.
    Own(Linear),
}

/// A tensor that the config demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameter<'a> {
    pub(crate) name: &'a str,
    pub(crate) shape: Vec<u64>,
}

impl Architecture {
    /// Reads a config; `admitted` are the architectures of the competition.
    pub(crate) fn read(config: &[u8], admitted: &[String]) -> Result<Self, Stop> {
        let mut fields = Fields::parse(config)?;
        let Some(name) = fields.text("model_type")? else {
            return refuse(ConfigRefused, "`model_type` is missing");
        };
        if !admitted.contains(&name) {
            let detail = format!("`{}` is none of {}", shorten(&name), admitted.join(", "));
            return refuse(ArchitectureRefused, detail);
        }
        let architecture = match name.as_str() {
            "gpt2" => gpt2::describe(&mut fields)?,
            "gpt_neox" => gpt_neox::describe(&mut fields)?,
            "llama" => llama::describe(&mut fields)?,
            "mistral" => mistral::describe(&mut fields)?,
            "qwen2" => qwen::describe_2(&mut fields)?,
            "qwen3" => qwen::describe_3(&mut fields)?,
            _ => {
                let detail = format!("this engine cannot run `{}`", shorten(&name));
                return refuse(ArchitectureRefused, detail);
            }
        };
        fields.finish()?;
        Ok(architecture)
    }

    /// The tensors that a checkpoint must hold, each once.
    pub(crate) fn parameters(&self) -> Vec<Parameter<'_>> {
        let table = vec![self.vocabulary as u64, self.hidden as u64];
        let mut all = vec![Parameter { name: &self.embedding, shape: table }];
        if let Positions::Learned { table } = &self.positions {
            let shape = vec![self.context as u64, self.hidden as u64];
            all.push(Parameter { name: table, shape });
        }
        for layer in &self.layers {
            all.extend(layer.attention_norm.parameters());
            all.extend(layer.mlp_norm.parameters());
            if let Some(HeadNorms { query, key }) = &layer.attention.head_norms {
                all.extend(query.parameters().chain(key.parameters()));
            }
            for linear in layer.linears() {
                all.extend(linear.parameters());
            }
        }
        all.extend(self.final_norm.parameters());
        if let Head::Own(linear) = &self.head {
            all.extend(linear.parameters());
        }
        all
    }

    /// The tensor that may repeat the table of a tied head.
    pub(crate) fn tied_copy<'a>(&self, copy: &'a str) -> Parameter<'a> {
        Parameter { name: copy, shape: vec![self.vocabulary as u64, self.hidden as u64] }
    }

    /// Number of parameters; a tied table counts once.
    pub(crate) fn n_parameters(&self) -> u64 {
        self.parameters().iter().map(|parameter| parameter.shape.iter().product::<u64>()).sum()
    }

    /// Floating-point operations per token in the projections, those of the head included.
    pub(crate) fn flops_per_token(&self) -> u64 {
        let linears = self.layers.iter().flat_map(Layer::linears);
        let weights: u64 = linears.map(|linear| linear.n_in as u64 * linear.n_out as u64).sum();
        2 * (weights + self.vocabulary as u64 * self.hidden as u64)
    }

    /// Floating-point operations of attention for a token that has `n_keys` positions to look at.
    pub(crate) fn attention_flops(&self, n_keys: u64) -> u64 {
        let flops = |attention: &Attention| {
            let n_seen = attention.window.map_or(n_keys, |window| n_keys.min(window as u64));
            4 * n_seen * attention.queries_width() as u64
        };
        self.layers.iter().map(|layer| flops(&layer.attention)).sum()
    }
}

impl Layer {
    /// All matrices of the layer.
    pub(crate) fn linears(&self) -> impl Iterator<Item = &Linear> {
        let Attention { inputs, output, .. } = &self.attention;
        let mlp = match &self.mlp {
            Mlp::Gated(GatedMlp { gate, up, down }) => vec![gate, up, down],
            Mlp::Plain { up, down, .. } => vec![up, down],
        };
        inputs.iter().chain([output]).chain(mlp)
    }
}

impl Mlp {
    /// Numbers between the two products of one row.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Gated(mlp) => mlp.gate.n_out,
            Self::Plain { up, .. } => up.n_out,
        }
    }
}

impl Attention {
    /// Numbers of the queries, keys and values of one row.
    pub(crate) fn inputs_width(&self) -> usize {
        self.queries_width() + 2 * self.keys_width()
    }

    /// Numbers of the queries of one row.
    pub(crate) fn queries_width(&self) -> usize {
        self.n_heads * self.head_size
    }

    /// Numbers of the keys of one row, and of its values.
    pub(crate) fn keys_width(&self) -> usize {
        self.n_kv_heads * self.head_size
    }
}

impl Norm {
    fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        let names = std::iter::once(&self.gain).chain(&self.bias);
        names.map(|name| Parameter { name, shape: vec![self.width as u64] })
    }
}

impl Linear {
    /// The matrix `<module>.weight`, with `<module>.bias` beside it or not.
    pub(crate) fn new(module: &str, (n_in, n_out): (usize, usize), has_bias: bool) -> Self {
        let bias = has_bias.then(|| format!("{module}.bias"));
        Self {
            weight: format!("{module}.weight"),
            bias,
            n_in,
            n_out,
            is_transposed: false,
            order: Order::AsUsed,
        }
    }

    /// The same, published the other way round.
    pub(crate) fn transposed(self) -> Self {
        Self { is_transposed: true, ..self }
    }

    /// The same, its outputs published in another order.
    pub(crate) fn ordered(self, order: Order) -> Self {
        Self { order, ..self }
    }

    fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        let mut shape = vec![self.n_out as u64, self.n_in as u64];
        if self.is_transposed {
            shape.reverse();
        }
        let bias = self.bias.iter().map(|name| Parameter { name, shape: vec![self.n_out as u64] });
        std::iter::once(Parameter { name: &self.weight, shape }).chain(bias)
    }
}

/// A config whose values are in range one by one but do not fit together.
pub(crate) fn inconsistent<T>(detail: impl std::fmt::Display) -> Result<T, Reason> {
    refuse(ConfigRefused, detail)
}
