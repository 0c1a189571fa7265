//! Texts to train and measure on: worlds of the generated corpus, and files if there are any.

use dataset::{FilesSource, GeneratedSource, Source, Split, Tokenizer, pack, sample};
use protocol::Seed;
use std::{error::Error, path::Path, sync::Arc};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Tokens per sequence and tokens of the vocabulary, as in the competition `tiny`.
pub(crate) const SEQUENCE_LENGTH: usize = 128;
pub(crate) const VOCABULARY: usize = 512;
/// Sequences per batch, as there.
pub(crate) const PER_BATCH: usize = 4;
/// Evaluation sequences of a text that are measured, if it has so many.
const N_SEQUENCES: usize = 800;
/// Documents that are drawn for them.
const N_DOCUMENTS: u64 = 1_500;

/// A text, the tokenizer trained on it, and sequences of its evaluation split.
pub(crate) struct Text {
    pub(crate) name: String,
    source: Arc<dyn Source>,
    tokenizer: Arc<Tokenizer>,
    /// Whole batches of [`PER_BATCH`] sequences that follow one another in the stream.
    pub(crate) sequences: Vec<Vec<u32>>,
}

impl Text {
    /// The world of a number.
    pub(crate) fn generated(world: u64, seed: Seed) -> Result<Self, Failure> {
        Self::new(format!("world {world}"), Arc::new(GeneratedSource::new(world)), seed)
    }

    /// A file or folder of text.
    pub(crate) fn file(path: &str, seed: Seed) -> Result<Self, Failure> {
        let name = Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self::new(name, Arc::new(FilesSource::open(Path::new(path))?), seed)
    }

    fn new(name: String, source: Arc<dyn Source>, seed: Seed) -> Result<Self, Failure> {
        let tokenizer = Tokenizer::train(&*source, VOCABULARY)?;
        let n = N_DOCUMENTS.min(source.n_documents(Split::Evaluation)) as usize;
        let documents = sample::sample(&*source, Split::Evaluation, seed.derive("evaluation"), n)?;
        let mut sequences = pack::pack(&documents, &tokenizer, SEQUENCE_LENGTH)?;
        sequences.truncate(N_SEQUENCES.min(sequences.len() / PER_BATCH * PER_BATCH));
        Ok(Self { name, source, tokenizer: Arc::new(tokenizer), sequences })
    }

    /// The training split as a stream of sequences.
    pub(crate) fn stream(&self, seed: Seed) -> Result<pack::TrainingStream, Failure> {
        let (source, tokenizer) = (Arc::clone(&self.source), Arc::clone(&self.tokenizer));
        Ok(pack::TrainingStream::new(source, tokenizer, seed, SEQUENCE_LENGTH)?)
    }
}
