//! Seeded random sampling of text into batches of tokens.
//!
//! A [`Source`] holds documents; [`sample::sample`] draws some with a seed, a [`Tokenizer`] turns
//! them into tokens, and [`pack::batches`] cuts the tokens into sequences of equal length.

pub mod definition;
pub mod error;
#[cfg(test)]
#[path = "../../../testdata/json_suite.rs"]
mod json_suite;
pub mod mirror;
pub mod pack;
pub mod remote;
pub mod sample;
pub mod source;
pub mod table;
pub mod tokenizer;

pub use error::Error;
pub use mirror::Mirror;
pub use remote::RangeRead;
pub use source::{FilesSource, GeneratedSource, PinnedSource, plain_text};
pub use tokenizer::Tokenizer;

use protocol::{Digest, Seed};
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
    /// Where it came from, such as `generated:1/evaluation/17`; with the digest of the source it is
    /// enough to find it again, and it follows from that digest: records hold both.
    pub id: String,
    /// The text, UTF-8; empty only where a row of a pinned dataset has none.
    pub text: String,
    /// Information content in nats under the true distribution, where that is known.
    ///
    /// For people: its last bits may differ between machines, and nothing that is hashed holds it.
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
    /// What it is, in one line, for people; nothing that is hashed holds it.
    fn describe(&self) -> String;

    /// Digest that pins the content.
    fn digest(&self) -> Digest;

    /// Number of documents in a split.
    fn n_documents(&self, split: Split) -> u64;

    /// The document at `index`, below `n_documents`.
    fn document(&self, split: Split, index: u64) -> Result<Document, Error>;

    /// Documents of a split in the order of a draw, none twice; the same on every machine.
    ///
    /// Every document equally often at every place, unless the source says otherwise.
    fn draw(
        &self,
        split: Split,
        lot: Lot,
    ) -> Box<dyn Iterator<Item = Result<Document, Error>> + '_> {
        let indices = sample::Draw::new(lot.seed, self.n_documents(split));
        Box::new(indices.map(move |index| self.document(split, index)))
    }
}

/// Which of many draws: its randomness, and its place in their sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lot {
    /// Where all chance of the draw comes from.
    pub seed: Seed,
    /// Its number; sources may promise that draws in a row share no document.
    pub turn: u64,
}

impl From<Seed> for Lot {
    /// A draw that stands alone.
    fn from(seed: Seed) -> Self {
        Self { seed, turn: 0 }
    }
}

/// Sequences of tokens that a loss is averaged over (the batch d of equation 1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Sequences, of equal length where they are packed; every token after the first of each is
    /// predicted.
    pub sequences: Vec<Vec<u32>>,
}
