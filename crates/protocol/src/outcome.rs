//! Whose fault is it: the outcome of judging a stranger's model.

use crate::{Loss, text::shown};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What came of measuring one model; our own trouble is an `Err` around it, never a variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "detail")]
pub enum Outcome {
    /// Cross-entropy in nats per predicted token (equation 1), one per batch.
    Evaluated(Vec<Loss>),
    /// The model broke a rule.
    Disqualified(Reason),
}

/// Why a model is disqualified: a stable code for programs and a sentence for people.
///
/// The code alone is part of a verdict and of its record. What a sentence says may depend on which
/// of several faults was found first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The rule that was broken.
    pub code: ReasonCode,
    /// What exactly was found; names come from the stranger and are cut and escaped.
    pub detail: String,
}

/// The rule that a model broke; the names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonCode {
    /// The text on chain is not a commitment.
    CommitmentUnreadable,
    /// The commitment names a competition that does not run.
    CompetitionUnknown,
    /// The committed repo or revision is not on the hub.
    NotPublished,
    /// The bytes on the hub are not the committed ones.
    HashMismatch,
    /// The model has more bytes than the competition allows.
    TooLarge,
    /// A file of the model has a name or kind that is not admitted, or is missing.
    FileRefused,
    /// The header of a safetensors file breaks the policy.
    HeaderRefused,
    /// `config.json` cannot be read, or names something unsupported or out of range.
    ConfigRefused,
    /// The competition does not admit the architecture.
    ArchitectureRefused,
    /// Number of parameters outside the bounds of the competition.
    ParameterCount,
    /// Names, shapes or types of tensors differ from what the config demands.
    TensorMismatch,
    /// A parameter is NaN or infinite.
    NonFiniteParameters,
    /// Parameters are sized so that nobody could train the model further.
    UntrainableParameters,
    /// Vocabulary or context does not fit the competition's tokenizer or sequence length.
    VocabularyMismatch,
    /// The model predicts the text of the round no better than a table of its token frequencies.
    DegenerateOutput,
    /// The same model was committed to before, or in the same block by somebody else.
    Duplicate,
    /// A loss is NaN or infinite.
    NonFiniteLoss,
    /// The model takes longer to measure than the competition allows.
    TooSlow,
}

impl ReasonCode {
    /// Whether the owner of a model can bring it about and undo it by what it shows on the hub, so
    /// that the same commitment breaks the rule in one round and not in the next.
    ///
    /// What follows from the committed bytes, from the text or from other commitments is no such:
    /// it stays as it is for as long as the commitment does.
    pub fn is_of_owner(self) -> bool {
        match self {
            Self::NotPublished | Self::HashMismatch => true,
            Self::CommitmentUnreadable
            | Self::CompetitionUnknown
            | Self::TooLarge
            | Self::FileRefused
            | Self::HeaderRefused
            | Self::ConfigRefused
            | Self::ArchitectureRefused
            | Self::ParameterCount
            | Self::TensorMismatch
            | Self::VocabularyMismatch
            | Self::NonFiniteParameters
            | Self::UntrainableParameters
            | Self::DegenerateOutput
            | Self::Duplicate
            | Self::NonFiniteLoss
            | Self::TooSlow => false,
        }
    }
}

impl Reason {
    /// A reason with its detail cut to 300 characters and made fit to be shown.
    pub fn new(code: ReasonCode, detail: impl fmt::Display) -> Self {
        Self { code, detail: shown(&detail.to_string(), 300) }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}
