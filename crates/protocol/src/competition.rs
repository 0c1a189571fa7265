//! The rules of one contest as data: what `competitions/*.toml` hold.

mod builtin;
mod check;
mod pinned;

pub use check::is_name;
pub use pinned::{DatasetConfig, DrawRules, HubDataset, PinnedFile};

use crate::{
    AccountId, BlockHash, CompetitionId, Digest, Error, Revision, digest::canonical_json,
    duel::DuelRules,
};
use serde::{Deserialize, Serialize};

/// One contest with its limits and rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Competition {
    /// Short name, such as `tiny` or `7b`; `[a-z0-9-]{1,32}`.
    pub name: String,
    /// Number of the competition in commitments.
    pub id: CompetitionId,
    /// First block at which these rules hold.
    pub from_block: u64,
    /// First block at which they hold no longer; without it they hold until a version of a later
    /// first block does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_block: Option<u64>,
    /// Share of the subnet's weight that goes to this competition, in (0, 1].
    ///
    /// Relative: the shares of the competitions that run together are scaled to sum to 1.
    pub reward_share: f64,
    /// What a model may be.
    pub model: ModelLimits,
    /// How text becomes tokens.
    pub text: TextRules,
    /// Where fresh text comes from.
    pub dataset: DatasetRules,
    /// How much is measured, and when.
    pub evaluation: EvaluationRules,
    /// How losses become weights.
    pub scoring: ScoringRules,
}

impl Competition {
    /// Reads and checks the rules of one competition.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let competition: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            Error::CompetitionUnreadable {
                line: before.map_or(0, |before| before.matches('\n').count() + 1),
                message: error.message().replace('\n', " "),
            }
        })?;
        competition.check()?;
        Ok(competition)
    }

    /// Reads and checks the rules of one competition in the form that their digest is taken of.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        let competition: Self = serde_json::from_slice(bytes).map_err(|error| {
            Error::CompetitionUnreadable { line: error.line(), message: error.to_string() }
        })?;
        competition.check()?;
        Ok(competition)
    }

    /// The rules in the form that their digest is taken of: SHA-256 of these bytes.
    pub fn to_json(&self) -> Vec<u8> {
        canonical_json(self)
    }

    /// The competition of this name that comes with the program.
    pub fn builtin(name: &str) -> Result<Self, Error> {
        Self::from_toml(builtin::text(name)?)
    }

    /// The file of the competition of this name that comes with the program.
    pub fn builtin_text(name: &str) -> Result<&'static str, Error> {
        builtin::text(name)
    }

    /// Names of the competitions that come with the program, smallest model first.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        builtin::names()
    }

    /// Most work that measuring one sequence may take, in multiply-adds: `model.work_multiple`
    /// times one for each of `n_parameters_max` parameters and each token that predicts another.
    pub fn work_max(&self) -> u64 {
        let n_rows = (self.text.sequence_length as u64).saturating_sub(1);
        let once = self.model.n_parameters_max.saturating_mul(n_rows);
        once.saturating_mul(self.model.work_multiple)
    }

    /// Digest of the rules, recorded with every round.
    ///
    /// Taken of the values as canonical JSON: comments and layout of the file do not matter.
    pub fn digest(&self) -> Digest {
        Digest::of_json(self)
    }
}

/// Bounds that a model is checked against before any of its parameters is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelLimits {
    /// Fewest parameters, inclusive; tied tensors count once.
    pub n_parameters_min: u64,
    /// Most parameters, inclusive.
    pub n_parameters_max: u64,
    /// Most bytes of all files of the repo together.
    pub size_bytes_max: u64,
    /// Admitted architectures by the `model_type` of their config, such as `llama`.
    pub architectures: Vec<String>,
    /// Most work of measuring a sequence, in multiples of what `n_parameters_max` parameters take
    /// that are each multiplied once per token: see [`Competition::work_max`].
    #[serde(default = "work_multiple", skip_serializing_if = "is_usual_multiple")]
    pub work_multiple: u64,
    /// Most bytes of memory that measuring a model may take: see [`ModelLimits::memory_max`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes_max: Option<u64>,
    /// What parameters must be like for others to train on (section 3.4.3 of the paper).
    ///
    /// Without these, nothing is refused on that ground.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthLimits>,
}

/// Multiple of [`ModelLimits::work_multiple`] where a file names none.
pub const WORK_MULTIPLE: u64 = 4;

/// Memory besides the parameters where a file names no bound: activations, logits, text.
const WORKING_BYTES: u64 = 2 << 30;

/// What files mean that were written before there was a bound on work.
fn work_multiple() -> u64 {
    WORK_MULTIPLE
}

/// Whether rules say nothing that files without a bound do not mean: their digest is the same.
fn is_usual_multiple(multiple: &u64) -> bool {
    *multiple == WORK_MULTIPLE
}

impl ModelLimits {
    /// Most bytes of memory that measuring a model may take: what the file says, or the parameters
    /// of the largest model, widened and once more, and 2 GiB.
    pub fn memory_max(&self) -> u64 {
        let usual = self.size_bytes_max.saturating_mul(4).saturating_add(WORKING_BYTES);
        self.memory_bytes_max.unwrap_or(usual)
    }
}

/// Bounds within which parameters can be trained further.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthLimits {
    /// Largest share of subnormal numbers in a tensor.
    pub subnormal_share_max: f64,
    /// Most decades that the size of a matrix, and its size against the gains before it, may be
    /// away from what trained models have, and that two sides may be scaled against each other.
    pub decades_max: f64,
    /// Smallest root mean square of the gains of a norm.
    pub gain_min: f64,
    /// Greatest gain of a norm.
    pub gain_max: f64,
    /// Greatest number of a row over the root mean square of the same row.
    pub peak_max: f64,
    /// Greatest size of a row, a column or an input of a matrix, over the median of its rows,
    /// columns or inputs; the size of an input is counted with that of what writes it.
    pub row_ratio_max: f64,
    /// Learning rate of the training probe.
    pub probe_lr: f64,
    /// Steps of the training probe.
    pub probe_steps: u32,
    /// Most nats per token that the steps of the probe may add to the loss on held-out text.
    pub probe_increase_max: f64,
    /// Most decades that the gradient of a tensor over its parameters may be away from the median
    /// of tensors of its kind.
    pub probe_decades_max: f64,
}

impl Default for HealthLimits {
    fn default() -> Self {
        Self {
            subnormal_share_max: 0.001,
            decades_max: 2.0,
            gain_min: 0.01,
            gain_max: 100.0,
            peak_max: 25.0,
            row_ratio_max: 40.0,
            probe_lr: 3e-4,
            probe_steps: 12,
            probe_increase_max: 0.1,
            probe_decades_max: 2.0,
        }
    }
}

/// How text becomes sequences of tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextRules {
    /// Where the tokenizer comes from.
    pub tokenizer: TokenizerRules,
    /// Tokens per sequence; each sequence predicts one token fewer.
    pub sequence_length: usize,
    /// How documents become sequences.
    #[serde(default, skip_serializing_if = "Packing::is_default")]
    pub packing: Packing,
}

/// How documents become sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    /// One stream of all documents, each followed by one end of text, cut into equal pieces.
    #[default]
    Packed,
    /// One document per sequence, as in the paper's time: cut at the length, never padded.
    PerDocument,
}

impl Packing {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl TextRules {
    /// Number of tokens, special ones included.
    pub fn vocabulary(&self) -> usize {
        match &self.tokenizer {
            TokenizerRules::Trained { vocabulary, .. }
            | TokenizerRules::Hub { vocabulary, .. }
            | TokenizerRules::File { vocabulary, .. } => *vocabulary,
        }
    }
}

/// Where the tokenizer of a competition comes from, pinned by content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
pub enum TokenizerRules {
    /// Byte-level BPE trained on the training text of the dataset when the network is set up.
    Trained {
        /// Number of tokens, the end-of-text token included.
        vocabulary: usize,
        /// Digest of the `tokenizer.json` that training must give; absent until set up.
        sha256: Option<Digest>,
    },
    /// A `tokenizer.json` of a hub repo.
    Hub {
        /// Repo, such as `Xenova/gpt-4`.
        repo: String,
        /// Revision of the repo; absent until an organiser has pinned it, or where the file lies
        /// beside the competition file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<Revision>,
        /// Number of tokens, special ones included.
        vocabulary: usize,
        /// The token that ends a document.
        end_of_text: u32,
        /// Digest of the `tokenizer.json`; absent until an organiser has pinned it.
        sha256: Option<Digest>,
    },
    /// A `tokenizer.json` that lies beside the competition file, or anywhere on the machine.
    File {
        /// The file; a relative path starts at the folder of the competition file.
        path: String,
        /// Number of tokens, special ones included.
        vocabulary: usize,
        /// The token that ends a document.
        end_of_text: u32,
        /// Digest of the `tokenizer.json`.
        sha256: Digest,
    },
}

/// Where fresh text comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
pub enum DatasetRules {
    /// The bundled generator of stories, facts and arithmetic, with known entropy.
    Generated {
        /// Number that selects the world which the documents talk about.
        world: u64,
    },
    /// Text files: UTF-8 text, JSONL with a field `text`, or a directory of such.
    Files {
        /// A file or a directory; a relative path starts at the folder of the competition file.
        path: String,
        /// Digest over the documents; absent until set up.
        sha256: Option<Digest>,
    },
    /// A dataset on a hub.
    Hub(HubDataset),
}

/// How much is measured in a round, and when rounds are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationRules {
    /// Blocks between rounds: the hash of each block divisible by it seeds a round.
    pub blocks_per_round: u64,
    /// Blocks that a commitment must be older than the block that seeds the round.
    pub commitment_age_min: u64,
    /// Batches per round, the m of equation 4.
    pub n_batches: usize,
    /// Sequences per batch.
    pub sequences_per_batch: usize,
    /// Models that stay in the pool from round to round; new commitments come on top.
    pub n_models_kept: usize,
    /// Which definition of a loss's bits holds: [`ARITHMETIC`], which `docs/protocol.md` writes
    /// down, is the only one so far. Another one would come with another number, so that records
    /// tell by which they were made.
    #[serde(default = "arithmetic")]
    pub arithmetic: u32,
    /// Who draws which text.
    #[serde(default, skip_serializing_if = "Seeds::is_default")]
    pub seeds: Seeds,
    /// From when a commitment counts; with rule `duel` alone another than the default.
    #[serde(default, skip_serializing_if = "Published::is_default")]
    pub published: Published,
}

/// Who must have the bytes of a commitment before it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Published {
    /// Each validator goes by what it sees itself.
    #[default]
    Own,
    /// Validators with two thirds of the stake, as they say on the chain
    /// ([`crate::publication`]).
    TwoThirds,
}

impl Published {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Who draws which text of a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seeds {
    /// Everybody draws the same, so that verdicts are equal to the bit.
    #[default]
    Shared,
    /// Each validator draws its own, so that errors are independent and evidence multiplies.
    Own,
}

impl Seeds {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The hash that a validator draws the text of a round from, where that of the block is
    /// `block_hash`.
    pub fn hash(self, block_hash: BlockHash, validator: AccountId) -> BlockHash {
        match self {
            Self::Shared => block_hash,
            Self::Own => {
                let fields: [&[u8]; 2] = [&block_hash.0, &validator.0];
                BlockHash(Digest::of_fields("agon own seed", &fields).0)
            }
        }
    }
}

/// Number of the order of floating-point operations that the engine computes losses in.
pub const ARITHMETIC: u32 = 1;

/// What files mean that were written before there was a choice.
fn arithmetic() -> u32 {
    ARITHMETIC
}

/// How losses become weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoringRules {
    /// The decision rule.
    pub rule: Rule,
    /// What is compared.
    pub loss: LossKind,
    /// Advantage of the earlier model.
    pub epsilon: Epsilon,
    /// Temperature T of the softmax (equation 6); with `succession` and `duel`, at most 0.2.
    pub temperature: f64,
    /// Weight of the old value in the moving average.
    pub alpha: f64,
    /// What duels are decided by; with rule `duel` alone, where it may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duel: Option<DuelRules>,
}

impl ScoringRules {
    /// What duels are decided by: those of the file, else the default; `None` with other rules.
    pub fn duel_rules(&self) -> Option<DuelRules> {
        (self.rule == Rule::Duel).then(|| self.duel.unwrap_or_default())
    }
}

/// How losses become weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The paper to the letter: a win per batch and pair (equations 3 to 5) among all models.
    ///
    /// Copies and models without merit earn weight and move that of others: no competition that
    /// comes with the program uses it.
    Wins,
    /// The reference since 2024-10: one comparison of mean losses, among competitive models only.
    ///
    /// A ladder of models, each a little better than the one before, earns and moves weight.
    Mean,
    /// The line of succession: equations 3 to 6 with one loss for the whole round, between the
    /// champion and the model that it took the crown from; everybody else has no weight.
    Succession,
    /// The crown passes by duels alone, which go on from round to round until they are decided with
    /// a stated chance of error: see [`crate::duel`]. Weight as with `succession`.
    Duel,
}

/// What a comparison looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// Equation 2, the paper's.
    Perplexity,
    /// Equation 1, the reference's.
    CrossEntropy,
}

/// Advantage of the earlier model, as a fraction of its loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
pub enum Epsilon {
    /// Always the same fraction.
    Fixed {
        /// The fraction, in [0, 1).
        value: f64,
    },
    /// From `start` down to `end` while the earlier model ages by `blocks`.
    Linear {
        /// Fraction at age zero, in [0, 1).
        start: f64,
        /// Fraction from age `blocks` on.
        end: f64,
        /// Blocks that the decay takes.
        blocks: u64,
    },
}

#[cfg(test)]
mod tests;
