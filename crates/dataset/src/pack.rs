//! Cutting streams of documents into sequences of equal length.

use crate::{Batch, Document, Error, Lot, Source, Split, Tokenizer};
use protocol::{Digest, competition::Packing};

mod training;

#[cfg(test)]
mod tests;

pub use training::{Position, TrainingStream};

/// Tokens that the batches of one round may hold together.
pub const TOKENS_MAX: usize = 1 << 28;

/// How the text of a round is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackRules {
    /// Tokens per sequence, at least two; each sequence predicts one token fewer.
    pub sequence_length: usize,
    /// Batches per round, the m of equation 4.
    pub n_batches: usize,
    /// Sequences per batch.
    pub sequences_per_batch: usize,
    /// Whether sequences are pieces of one stream, or documents.
    pub packing: Packing,
}

/// What a round measures on.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// The documents in the order drawn. Packed, a part of the last one may be in no batch; per
    /// document, they are those that the sequences are cut from, one of each.
    pub documents: Vec<Document>,
    /// Tokens of each of these documents, its end of text included.
    pub lengths: Vec<u64>,
    /// The batches, `n_batches` of `sequences_per_batch` sequences each.
    pub batches: Vec<Batch>,
    /// Digest of the batches: equal exactly when all sequences are.
    pub digest: Digest,
    /// Information of the documents under the true distribution, where all of them know theirs.
    pub entropy_nats: Option<f64>,
}

impl Round {
    /// The perplexity per token that a perfect model would reach on whole documents.
    ///
    /// It is a lower bound for sequences: they also start inside documents, where even a perfect
    /// model has lost what stood before. It never enters a verdict, and its last bits may differ
    /// between machines.
    pub fn optimum_perplexity(&self) -> Option<f64> {
        self.optimum().map(f64::exp)
    }

    /// The same as a loss, in nats per token.
    pub fn optimum(&self) -> Option<f64> {
        self.entropy_nats.map(|nats| nats / self.n_tokens() as f64)
    }

    /// Tokens of all documents, their ends of text included.
    pub fn n_tokens(&self) -> u64 {
        self.lengths.iter().sum()
    }
}

/// Draws documents of the evaluation split until the batches are full.
///
/// Packed, the tokens of the documents, each followed by one end of text, form one stream; the
/// batches are its first `n_batches` x `sequences_per_batch` pieces of `sequence_length`. Per
/// document, each sequence is one document with its end of text, cut at `sequence_length`; nothing
/// is padded, and documents of a single token are passed over. No document is drawn twice.
pub fn batches(
    source: &dyn Source,
    tokenizer: &Tokenizer,
    lot: impl Into<Lot>,
    rules: PackRules,
) -> Result<Round, Error> {
    let needed = n_tokens_needed(rules)?;
    let n_sequences = needed / rules.sequence_length;
    let (mut documents, mut sequences) = (Vec::new(), Vec::new());
    let (mut stream, mut lengths) = (Vec::new(), Vec::new());
    for document in source.draw(Split::Evaluation, lot.into()) {
        let document = document?;
        let mut tokens = tokens_of(tokenizer, &document)?;
        // A single token predicts nothing.
        if rules.packing == Packing::PerDocument && tokens.len() < 2 {
            continue;
        }
        lengths.push(tokens.len() as u64);
        match rules.packing {
            Packing::Packed => {
                stream.append(&mut tokens);
                cut(&mut stream, rules.sequence_length, &mut sequences);
            }
            Packing::PerDocument => {
                tokens.truncate(rules.sequence_length);
                sequences.push(tokens);
            }
        }
        documents.push(document);
        if sequences.len() >= n_sequences {
            break;
        }
    }
    if sequences.len() < n_sequences {
        let (corpus, split) = (source.describe(), Split::Evaluation);
        return Err(match rules.packing {
            Packing::Packed => {
                let n_tokens = lengths.iter().sum::<u64>() as usize;
                Error::SourceTooSmall { corpus, split, n_tokens, needed }
            }
            Packing::PerDocument => {
                let (n_documents, needed) = (sequences.len(), n_sequences);
                Error::TooFewDocuments { corpus, split, n_documents, needed }
            }
        });
    }
    sequences.truncate(n_sequences);
    let batches: Vec<Batch> = sequences
        .chunks_exact(rules.sequences_per_batch)
        .map(|sequences| Batch { sequences: sequences.to_vec() })
        .collect();
    Ok(Round {
        entropy_nats: documents.iter().map(|document| document.entropy_nats).sum(),
        digest: digest(&batches),
        documents,
        batches,
        lengths,
    })
}

/// Moves whole sequences from the front of a stream to the end of `sequences`.
fn cut(stream: &mut Vec<u32>, sequence_length: usize, sequences: &mut Vec<Vec<u32>>) {
    let whole = stream.len() - stream.len() % sequence_length;
    let pieces = stream.drain(..whole).collect::<Vec<u32>>();
    sequences.extend(pieces.chunks_exact(sequence_length).map(<[u32]>::to_vec));
}

/// The sequences of some documents packed in order; the incomplete tail is dropped.
pub fn pack(
    documents: &[Document],
    tokenizer: &Tokenizer,
    sequence_length: usize,
) -> Result<Vec<Vec<u32>>, Error> {
    check_sequence_length(sequence_length)?;
    let mut stream = Vec::new();
    for document in documents {
        stream.extend(tokens_of(tokenizer, document)?);
    }
    Ok(stream.chunks_exact(sequence_length).map(<[u32]>::to_vec).collect())
}

/// Digest of batches: equal exactly when they have equal sequences in equal batches.
pub fn digest(batches: &[Batch]) -> Digest {
    let mut fields = Vec::new();
    for batch in batches {
        fields.push((batch.sequences.len() as u64).to_le_bytes().to_vec());
        fields.extend(batch.sequences.iter().map(|sequence| {
            sequence.iter().flat_map(|token| token.to_le_bytes()).collect::<Vec<u8>>()
        }));
    }
    let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
    Digest::of_fields("agon batches", &fields)
}

/// The tokens of a document with the one end of text that follows it.
fn tokens_of(tokenizer: &Tokenizer, document: &Document) -> Result<Vec<u32>, Error> {
    let mut tokens = tokenizer.encode(&document.text)?;
    tokens.push(tokenizer.end_of_text());
    Ok(tokens)
}

fn check_sequence_length(found: usize) -> Result<(), Error> {
    if (2..=TOKENS_MAX).contains(&found) {
        return Ok(());
    }
    let expected = "at least 2 and at most 268435456";
    Err(Error::OutOfRange { what: "the sequence length", found, expected })
}

fn n_tokens_needed(rules: PackRules) -> Result<usize, Error> {
    check_sequence_length(rules.sequence_length)?;
    let PackRules { sequence_length, n_batches, sequences_per_batch, .. } = rules;
    if n_batches == 0 || sequences_per_batch == 0 {
        let expected = "at least 1";
        return Err(Error::OutOfRange { what: "the sequences of a round", found: 0, expected });
    }
    let needed = n_batches.saturating_mul(sequences_per_batch).saturating_mul(sequence_length);
    if needed > TOKENS_MAX {
        let expected = "at most 268435456";
        return Err(Error::OutOfRange { what: "the tokens of a round", found: needed, expected });
    }
    Ok(needed)
}
