//! Seeded random sampling of text into batches of tokens.
//!
//! A [`Source`] holds documents; [`sample::sample`] draws some with a seed, a [`Tokenizer`] turns
//! them into tokens, and [`pack::batches`] cuts the tokens into sequences of equal length.

pub mod error;
pub mod pack;
pub mod sample;
pub mod source;
pub mod tokenizer;

pub use error::Error;
pub use source::{FilesSource, GeneratedSource};
pub use tokenizer::Tokenizer;

use protocol::Digest;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which part of a source: what is trained on is never measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Documents for miners to train on.
    Train,
    /// Documents for validators to measure on.
    Evaluation,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Evaluation => "evaluation",
        })
    }
}

/// One text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Where it came from, such as `generated:1/evaluation/17`; enough to find it again.
    pub id: String,
    /// The text, UTF-8, never empty.
    pub text: String,
    /// Information content in nats under the true distribution, where that is known.
    pub entropy_nats: Option<f64>,
}

impl Document {
    /// Digest of the text, which names it whatever its id is.
    pub fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }
}

/// A collection of documents that anybody can draw from again with the same result.
pub trait Source: Send + Sync {
    /// What it is, in one line, for records and people.
    fn describe(&self) -> String;

    /// Digest that pins the content.
    fn digest(&self) -> Digest;

    /// Number of documents in a split.
    fn n_documents(&self, split: Split) -> u64;

    /// The document at `index`, below `n_documents`.
    fn document(&self, split: Split, index: u64) -> Result<Document, Error>;
}

/// Sequences of tokens that a loss is averaged over (the batch d of equation 1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Sequences of equal length; every token after the first of each is predicted.
    pub sequences: Vec<Vec<u32>>,
}
