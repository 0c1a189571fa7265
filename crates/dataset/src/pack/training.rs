//! The endless stream of sequences that a model is trained on.

use super::{check_sequence_length, tokens_of};
use crate::{Error, Source, Split, Tokenizer, sample::Shuffle};
use protocol::Seed;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A place in a training stream; a stream set to it goes on exactly from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Passes through the whole training split so far.
    pub epoch: u64,
    /// Documents used up in this epoch.
    pub n_documents: u64,
    /// Tokens used up of the document after those.
    pub n_tokens: usize,
}

/// Sequences of the training split without end, in a seeded order.
///
/// Each epoch goes once through all documents, in an order of its own. Documents are packed as in
/// [`batches`](super::batches), across epochs too, so that no token is dropped.
pub struct TrainingStream {
    source: Arc<dyn Source>,
    tokenizer: Arc<Tokenizer>,
    seed: Seed,
    sequence_length: usize,
    position: Position,
    shuffle: Shuffle,
    /// Tokens of the document at the position; empty when not yet read.
    document: Vec<u32>,
}

impl TrainingStream {
    /// The stream of a seed from its beginning.
    pub fn new(
        source: Arc<dyn Source>,
        tokenizer: Arc<Tokenizer>,
        seed: Seed,
        sequence_length: usize,
    ) -> Result<Self, Error> {
        check_sequence_length(sequence_length)?;
        let bound = source.n_documents(Split::Train);
        if bound == 0 {
            let (corpus, split) = (source.describe(), Split::Train);
            return Err(Error::SourceTooSmall {
                corpus,
                split,
                n_tokens: 0,
                needed: sequence_length,
            });
        }
        let shuffle = Shuffle::new(of_epoch(seed, 0), bound);
        let (position, document) = (Position::default(), Vec::new());
        Ok(Self { source, tokenizer, seed, sequence_length, position, shuffle, document })
    }

    /// Where the next sequence begins.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Makes the next sequence begin at a position of a stream with the same source, tokenizer and
    /// seed.
    pub fn set_position(&mut self, position: Position) -> Result<(), Error> {
        let bound = self.source.n_documents(Split::Train);
        let refuse = || Error::NoPosition(format!("{position:?}"));
        if position.n_documents >= bound {
            return Err(refuse());
        }
        let shuffle = Shuffle::new(of_epoch(self.seed, position.epoch), bound);
        let document = self.tokens_at(shuffle.at(position.n_documents))?;
        if position.n_tokens >= document.len() {
            return Err(refuse());
        }
        (self.position, self.shuffle, self.document) = (position, shuffle, document);
        Ok(())
    }

    /// The next `n` sequences.
    pub fn next_batch(&mut self, n: usize) -> Result<Vec<Vec<u32>>, Error> {
        self.take(n).collect()
    }

    fn tokens_at(&self, index: u64) -> Result<Vec<u32>, Error> {
        tokens_of(&self.tokenizer, &self.source.document(Split::Train, index)?)
    }

    fn next_sequence(&mut self) -> Result<Vec<u32>, Error> {
        let mut sequence = Vec::with_capacity(self.sequence_length);
        loop {
            if self.document.is_empty() {
                self.document = self.tokens_at(self.shuffle.at(self.position.n_documents))?;
            }
            let unused = &self.document[self.position.n_tokens..];
            let wanted = self.sequence_length - sequence.len();
            if wanted < unused.len() {
                sequence.extend_from_slice(&unused[..wanted]);
                self.position.n_tokens += wanted;
                return Ok(sequence);
            }
            sequence.extend_from_slice(unused);
            self.next_document();
            if sequence.len() == self.sequence_length {
                return Ok(sequence);
            }
        }
    }

    fn next_document(&mut self) {
        self.document.clear();
        self.position.n_tokens = 0;
        self.position.n_documents += 1;
        let bound = self.source.n_documents(Split::Train);
        if self.position.n_documents >= bound {
            self.position.n_documents = 0;
            self.position.epoch += 1;
            self.shuffle = Shuffle::new(of_epoch(self.seed, self.position.epoch), bound);
        }
    }
}

impl Iterator for TrainingStream {
    type Item = Result<Vec<u32>, Error>;

    /// The next sequence; never `None`.
    ///
    /// After an error the stream goes on behind what was read, and has lost the sequence begun.
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_sequence())
    }
}

fn of_epoch(seed: Seed, epoch: u64) -> Seed {
    seed.derive(&format!("training epoch {epoch}"))
}
