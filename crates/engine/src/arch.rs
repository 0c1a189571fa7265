//! Architectures: what a model computes, described in terms of blocks that all of them share.
//!
//! An architecture is one file that turns a `config.json` into an [`Architecture`]. From that
//! description follow the tensors that a checkpoint must hold, the number of parameters, the work
//! per token and the forward pass; no architecture has a forward pass of its own.

mod agreement;
mod bart;
mod blocks;
mod falcon;
mod gated;
mod gemma;
mod gpt;
mod gpt2;
mod gpt_bigcode;
mod gpt_neox;
mod gptj;
mod llama;
mod mistral;
mod olmo2;
mod phi;
mod phi3;
mod qwen;
mod rope;
mod stablelm;

use crate::{
    config::Fields,
    error::{Stop, refuse},
    json::{shorten, text_of},
};
use protocol::{
    Reason,
    ReasonCode::{ArchitectureRefused, ConfigRefused},
};

pub(crate) use blocks::{
    Activation, Attention, Head, HeadNorms, Heads, Layer, Linear, Mlp, Norm, Norms, Order,
    Parameter,
};
pub(crate) use rope::Rope;

type Describe = fn(&mut Fields) -> Result<Architecture, Reason>;

/// What the engine can run, by the `model_type` of the config.
const DESCRIPTIONS: &[(&str, Describe)] = &[
    ("bart", bart::describe),
    ("falcon", falcon::describe),
    ("gemma", gemma::describe_1),
    ("gemma2", gemma::describe_2),
    ("gpt2", gpt2::describe),
    ("gpt_bigcode", gpt_bigcode::describe),
    ("gpt_neox", gpt_neox::describe),
    ("gptj", gptj::describe),
    ("llama", llama::describe),
    ("mistral", mistral::describe),
    ("olmo2", olmo2::describe),
    ("phi", phi::describe),
    ("phi3", phi3::describe),
    ("qwen2", qwen::describe_2),
    ("qwen3", qwen::describe_3),
    ("stablelm", stablelm::describe),
];

/// Architectures that the engine can run, by the `model_type` of their config.
pub fn architectures() -> impl Iterator<Item = &'static str> {
    DESCRIPTIONS.iter().map(|(name, _)| *name)
}

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
    /// Longest context whose positions are rows of a table.
    pub(super) const LEARNED_CONTEXT_MAX: u64 = 1 << 20;
}

/// A whole model: embedding, layers, final norm, head.
#[derive(Clone, Debug)]
pub(crate) struct Architecture {
    pub(crate) name: &'static str,
    pub(crate) vocabulary: usize,
    pub(crate) context: usize,
    pub(crate) hidden: usize,
    pub(crate) embedding: Embedding,
    pub(crate) positions: Positions,
    pub(crate) layers: Vec<Layer>,
    pub(crate) final_norm: Option<Norm>,
    pub(crate) head: Head,
    /// Logits become `cap tanh(logit / cap)`.
    pub(crate) logit_cap: Option<f32>,
    /// Tensors that are published with the model although no loss depends on them.
    pub(crate) unused: Vec<(String, Vec<u64>)>,
}

/// How a token becomes a row.
#[derive(Clone, Debug)]
pub(crate) struct Embedding {
    /// Name of the table with one row per token.
    pub(crate) table: String,
    /// What rows are multiplied with.
    pub(crate) scale: Option<f32>,
    /// Norm of the rows with their positions.
    pub(crate) norm: Option<Norm>,
}

impl Embedding {
    /// Rows as they are.
    fn plain(table: &str) -> Self {
        Self { table: table.to_owned(), scale: None, norm: None }
    }
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
        /// Rows before that of the first position, which serve nothing.
        n_skipped: usize,
    },
}

/// The sizes that every config has.
struct Sizes {
    hidden: usize,
    n_layers: usize,
    vocabulary: usize,
}

impl Sizes {
    /// Under the names that most configs give them.
    fn read(fields: &mut Fields) -> Self {
        Self {
            hidden: fields.required("hidden_size", 1..=limits::HIDDEN_MAX),
            n_layers: fields.required("num_hidden_layers", 1..=limits::LAYERS_MAX),
            vocabulary: fields.required("vocab_size", 1..=limits::VOCABULARY_MAX),
        }
    }
}

/// What makes up a model without anything unusual.
struct Plain<'a> {
    name: &'static str,
    sizes: &'a Sizes,
    context: usize,
    /// Name of the table with one row per token.
    table: &'a str,
    positions: Positions,
    layers: Vec<Layer>,
    final_norm: Norm,
    head: Head,
}

impl Architecture {
    /// A model of some layers without anything unusual.
    fn new(plain: Plain<'_>) -> Self {
        let Plain { name, sizes, context, table, positions, layers, final_norm, head } = plain;
        Self {
            name,
            vocabulary: sizes.vocabulary,
            context,
            hidden: sizes.hidden,
            embedding: Embedding::plain(table),
            positions,
            layers,
            final_norm: Some(final_norm),
            head,
            logit_cap: None,
            unused: Vec::new(),
        }
    }

    /// Reads a config; `admitted` are the architectures of the competition.
    pub(crate) fn read(config: &[u8], admitted: &[String]) -> Result<Self, Stop> {
        let mut fields = match Fields::parse(config) {
            Ok(fields) => fields,
            Err(fault) => {
                // That nobody runs the type says more than where the text stops to be JSON.
                text_of(config, "model_type")
                    .map_or(Ok(()), |name| find(&name, admitted).map(drop))?;
                return Err(fault.into());
            }
        };
        let Some(name) = fields.text("model_type") else {
            fields.verdict()?;
            return refuse(ConfigRefused, "`model_type` is missing");
        };
        let describe = find(&name, admitted)?;
        let model = match describe(&mut fields) {
            Ok(model) => model,
            // Values that do not fit together say nothing while some are none at all.
            Err(reason) => return Err(fields.verdict().err().unwrap_or(reason).into()),
        };
        if fields.verdict().is_ok() {
            agreement::check(&mut fields, &model);
        }
        fields.close();
        fields.verdict()?;
        Ok(model)
    }

    /// The tensors that a checkpoint must hold, each once.
    pub(crate) fn parameters(&self) -> Vec<Parameter<'_>> {
        let table = vec![self.vocabulary as u64, self.hidden as u64];
        let mut all = vec![Parameter { name: &self.embedding.table, shape: table }];
        if let Positions::Learned { table, n_skipped } = &self.positions {
            let shape = vec![(self.context + n_skipped) as u64, self.hidden as u64];
            all.push(Parameter { name: table, shape });
        }
        all.extend(self.layers.iter().flat_map(Layer::parameters));
        let norms = self.embedding.norm.iter().chain(&self.final_norm);
        all.extend(norms.flat_map(Norm::parameters));
        all.extend(self.unused.iter().map(Parameter::of));
        match &self.head {
            Head::Own(linear) => all.extend(linear.parameters()),
            Head::Tied { bias, .. } => {
                let shape = || vec![self.vocabulary as u64];
                all.extend(bias.iter().map(|name| Parameter { name, shape: shape() }));
            }
        }
        all
    }

    /// What a checkpoint may hold besides: a head that repeats the table it is tied to.
    pub(crate) fn optional(&self) -> Option<Parameter<'_>> {
        let shape = || vec![self.vocabulary as u64, self.hidden as u64];
        match &self.head {
            Head::Tied { copy, .. } => Some(Parameter { name: copy, shape: shape() }),
            Head::Own(_) => None,
        }
    }

    /// Names of the head's tensors, which stand beside the body.
    pub(crate) fn heads(&self) -> Vec<&str> {
        let (weight, bias) = match &self.head {
            Head::Tied { copy, bias } => (copy, bias),
            Head::Own(linear) => (&linear.weight, &linear.bias),
        };
        [weight].into_iter().chain(bias).map(String::as_str).collect()
    }

    /// How the names of all tensors of the body begin.
    pub(crate) fn prefix(&self) -> &str {
        self.embedding.table.split_inclusive('.').next().unwrap_or_default()
    }

    /// Modules that may have constants: attention of each layer, and the body for all of them.
    pub(crate) fn modules(&self) -> impl Iterator<Item = &str> {
        let inputs = self.layers.iter().filter_map(|layer| layer.attention.inputs.first());
        // Its name stands before that of the matrix and `weight`.
        let modules = inputs.filter_map(|linear| linear.weight.rsplitn(3, '.').nth(2));
        modules.chain([self.prefix().trim_end_matches('.')])
    }

    /// Number of parameters; a tied table counts once, constants do not.
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
            4 * n_seen * attention.heads.queries_width() as u64
        };
        self.layers.iter().map(|layer| flops(&layer.attention)).sum()
    }
}

/// The reader of a type's configs, if the competition admits it and the engine can run it.
fn find(name: &str, admitted: &[String]) -> Result<Describe, Reason> {
    if !admitted.iter().any(|admitted| admitted == name) {
        let detail = format!("`{}` is none of {}", shorten(name), admitted.join(", "));
        return refuse(ArchitectureRefused, detail);
    }
    match DESCRIPTIONS.iter().find(|(known, _)| *known == name) {
        Some((_, describe)) => Ok(*describe),
        None => refuse(ArchitectureRefused, format!("this engine cannot run `{}`", shorten(name))),
    }
}

/// A config whose values are in range one by one but do not fit together.
pub(crate) fn inconsistent<T>(detail: impl std::fmt::Display) -> Result<T, Reason> {
    refuse(ConfigRefused, detail)
}
