//! Text to train on, and fresh documents to measure on.

use crate::{
    contest::N_DOCUMENTS_MIN,
    models::options,
    texts::{Failure, SEQUENCE_LENGTH, VOCABULARY},
};
use dataset::{
    Document, Error, FilesSource, GeneratedSource, Source, Split, Tokenizer, pack::TrainingStream,
    sample::sample,
};
use engine::Model;
use protocol::{Digest, Loss, Seed, SequenceLoss, duel::DuelRules, loss};
use std::{ops::Range, path::Path, sync::Arc};

/// Most windows of one document.
const WINDOWS_MAX: usize = 4;
/// Fewest bytes of a document of a text, but for one that has no more lines.
const PIECE_BYTES_MIN: usize = 400;

/// A corpus, the tokenizer trained on it, and what is measured.
pub(crate) struct Corpus {
    pub(crate) name: String,
    /// Where all chance on this corpus comes from.
    pub(crate) seed: Seed,
    /// The documents of duels, in their order.
    pub(crate) documents: Vec<Measured>,
    source: Arc<dyn Source>,
    tokenizer: Arc<Tokenizer>,
    /// The first windows of the documents that the reference is measured on, then all windows of
    /// the documents of duels.
    sequences: Vec<Vec<u32>>,
    n_reference: usize,
}

/// A document of duels.
pub(crate) struct Measured {
    /// Digest of its text.
    pub(crate) id: Digest,
    /// Places of its windows: the first is what a duel measures. It is shorter than the others only
    /// if it is alone.
    pub(crate) windows: Range<usize>,
}

/// Losses of a model on a corpus.
pub(crate) struct Losses {
    /// The cross-entropy that gains are fractions of, if this is the champion.
    pub(crate) reference: Loss,
    /// Of all windows of the documents of duels.
    pub(crate) windows: Vec<SequenceLoss>,
}

impl Corpus {
    /// The corpus of the demo.
    pub(crate) fn generated(n_documents: usize, seed: Seed) -> Result<Self, Failure> {
        Self::new("generated".to_owned(), Arc::new(GeneratedSource::new(1)), (n_documents, seed))
    }

    /// A folder or a file of text.
    pub(crate) fn text(path: &Path, n_documents: usize, seed: Seed) -> Result<Self, Failure> {
        let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let pieces = Pieces::of(&FilesSource::open(path)?, n_reference() + n_documents)?;
        Self::new(name, Arc::new(pieces), (n_documents, seed))
    }

    fn new(
        name: String,
        source: Arc<dyn Source>,
        (n_documents, seed): (usize, Seed),
    ) -> Result<Self, Failure> {
        let seed = seed.derive(&name);
        let tokenizer = Tokenizer::train(&*source, VOCABULARY)?;
        let n_there = usize::try_from(source.n_documents(Split::Evaluation))?;
        let n = n_there.min(n_reference() + n_documents);
        if n < n_reference() + N_DOCUMENTS_MIN {
            let needed = n_reference() + N_DOCUMENTS_MIN;
            let found = format!("corpus `{name}` has {n} documents to measure on");
            return Err(format!("{found}: give at least {needed}, and as many to train on").into());
        }
        let drawn = sample(&*source, Split::Evaluation, seed.derive("documents"), n)?;
        let (for_reference, for_duels) = drawn.split_at(n_reference());
        let mut sequences = Vec::new();
        for document in for_reference {
            sequences.extend(windows(&tokenizer, document)?.into_iter().take(1));
        }
        let n_reference = sequences.len();
        let mut documents = Vec::new();
        for document in for_duels {
            let start = sequences.len() - n_reference;
            sequences.extend(windows(&tokenizer, document)?);
            let windows = start..sequences.len() - n_reference;
            documents.push(Measured { id: document.digest(), windows });
        }
        let tokenizer = Arc::new(tokenizer);
        Ok(Self { name, seed, documents, source, tokenizer, sequences, n_reference })
    }

    /// The training split as a stream of sequences, in an order of its own for each seed.
    pub(crate) fn stream(&self, seed: Seed) -> Result<TrainingStream, Failure> {
        let (source, tokenizer) = (Arc::clone(&self.source), Arc::clone(&self.tokenizer));
        Ok(TrainingStream::new(source, tokenizer, seed, SEQUENCE_LENGTH)?)
    }

    /// What the engine says of a model.
    pub(crate) fn measure(&self, model: &Model) -> Result<Losses, Failure> {
        let losses = model.evaluate(&self.sequences, &options())?;
        let losses = losses.map_err(|reason| format!("{reason:?}"))?;
        let losses = losses.into_iter().map(|loss| {
            let n_tokens = u32::try_from(loss.n_tokens)?;
            Ok(SequenceLoss { n_tokens, cross_entropy: loss.cross_entropy })
        });
        let mut reference = losses.collect::<Result<Vec<_>, Failure>>()?;
        let windows = reference.split_off(self.n_reference);
        let reference: Vec<Loss> = reference.iter().map(|loss| loss.cross_entropy).collect();
        Ok(Losses { reference: loss::mean(&reference), windows })
    }
}

/// Documents that the reference is measured on: as many as of a crown at least.
fn n_reference() -> usize {
    DuelRules::default().n_documents_min as usize
}

/// The first windows of a document with its end of text: one, or several that are whole.
fn windows(tokenizer: &Tokenizer, document: &Document) -> Result<Vec<Vec<u32>>, Failure> {
    let mut tokens = tokenizer.encode(&document.text)?;
    tokens.push(tokenizer.end_of_text());
    let n_whole = (tokens.len() / SEQUENCE_LENGTH).clamp(1, WINDOWS_MAX);
    Ok(tokens.chunks(SEQUENCE_LENGTH).take(n_whole).map(<[u32]>::to_vec).collect())
}

/// Text in pieces, of which a part is never trained on.
///
/// A source of files keeps one document in ten for measuring, which is too few of a short text.
struct Pieces {
    description: String,
    digest: Digest,
    train: Vec<String>,
    evaluation: Vec<String>,
}

impl Pieces {
    /// Keeps `n_held_out` pieces for measuring, at most half of them.
    fn of(source: &dyn Source, n_held_out: usize) -> Result<Self, Failure> {
        let mut evaluation = Vec::new();
        for split in [Split::Train, Split::Evaluation] {
            for index in 0..source.n_documents(split) {
                evaluation.extend(cut(&source.document(split, index)?.text));
            }
        }
        // In an order by chance, whose beginning is not the beginning of the text.
        evaluation.sort_by_cached_key(|text| Digest::of(text.as_bytes()));
        evaluation.dedup();
        let train = evaluation.split_off(n_held_out.min(evaluation.len() / 2));
        let (whole, n) = (source.digest().0, (evaluation.len() as u64).to_le_bytes());
        let digest = Digest::of_fields("agon pieces of a source", &[&whole, &n]);
        let description = format!("pieces of {}", source.describe());
        Ok(Self { description, digest, train, evaluation })
    }

    fn of_split(&self, split: Split) -> &[String] {
        match split {
            Split::Train => &self.train,
            Split::Evaluation => &self.evaluation,
        }
    }
}

impl Source for Pieces {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    fn n_documents(&self, split: Split) -> u64 {
        self.of_split(split).len() as u64
    }

    fn document(&self, split: Split, index: u64) -> Result<Document, Error> {
        let pieces = self.of_split(split);
        let text = usize::try_from(index).ok().and_then(|index| pieces.get(index)).cloned();
        let text = text.ok_or_else(|| {
            let (corpus, n_documents) = (self.describe(), self.n_documents(split));
            Error::NoDocument { corpus, split, index, n_documents }
        })?;
        Ok(Document { id: format!("pieces/{split}/{index}"), text, entropy_nats: None })
    }
}

/// Lines of a text that are not blank, joined until they have [`PIECE_BYTES_MIN`].
fn cut(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match pieces.last_mut() {
            Some(last) if last.len() < PIECE_BYTES_MIN => {
                last.push('\n');
                last.push_str(line);
            }
            _ => pieces.push(line.to_owned()),
        }
    }
    if let [.., before, last] = &mut pieces[..]
        && last.len() < PIECE_BYTES_MIN
    {
        before.push('\n');
        before.push_str(last);
        pieces.pop();
    }
    pieces
}
