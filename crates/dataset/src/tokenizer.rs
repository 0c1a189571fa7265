//! Turning text into tokens and back.

mod patterns;
mod ranks;

pub use ranks::Ranked;

use crate::{Error, Source, Split, sample::Draw};
use protocol::{Digest, Seed};
use serde::Deserialize;
use std::{fs, io::Read, path::Path};
use tokenizers::{
    AddedToken, TokenizerBuilder,
    decoders::DecoderWrapper,
    models::bpe::{BPE, BpeTrainerBuilder},
    normalizers::NormalizerWrapper,
    pre_tokenizers::byte_level::ByteLevel,
};

/// Name of the token that ends a document, where we train the tokenizer.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// Names under which the token that ends a document is looked for in a foreign tokenizer.
const END_OF_TEXT_NAMES: [&str; 4] = [END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>"];

/// Fewest tokens of a trained vocabulary: one per byte, and the end of text.
pub const VOCABULARY_MIN: usize = 257;
/// Most tokens of a vocabulary.
pub const VOCABULARY_MAX: usize = 1 << 20;
/// Bytes of text that a tokenizer is trained on, for each token it is to have.
const TRAINED_BYTES_PER_TOKEN: usize = 1 << 10;
/// Most bytes of text that a tokenizer is trained on.
const TRAINED_BYTES_MAX: usize = 4 << 20;
/// Largest `tokenizer.json` that is read.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Times that a pair of tokens must occur to be merged.
const FREQUENCY_MIN: u64 = 2;

/// A vocabulary with its rules, pinned by the digest of its `tokenizer.json`.
///
/// The end-of-text token comes out of [`encode`](Self::encode) for no text: text that spells its
/// name is encoded as text.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    json: Vec<u8>,
    digest: Digest,
    end_of_text: u32,
    vocabulary: usize,
}

impl Tokenizer {
    /// Trains byte-level BPE with `vocabulary` tokens, the end of text included, on the training
    /// split.
    ///
    /// The same source gives the same bytes. A corpus with little text gives fewer tokens than
    /// asked for: compare [`vocabulary`](Self::vocabulary).
    pub fn train(source: &dyn Source, vocabulary: usize) -> Result<Self, Error> {
        if !(VOCABULARY_MIN..=VOCABULARY_MAX).contains(&vocabulary) {
            let expected = "between 257 and 1048576";
            return Err(Error::OutOfRange { what: "vocabulary", found: vocabulary, expected });
        }
        let size_bytes = TRAINED_BYTES_MAX.min(vocabulary * TRAINED_BYTES_PER_TOKEN);
        let texts = training_texts(source, size_bytes)?;
        let name = format!("trained on {}", source.describe());
        let refuse = |detail: tokenizers::Error| Error::Tokenizer {
            name: name.clone(),
            detail: detail.to_string(),
        };
        let byte_level = ByteLevel::default().add_prefix_space(false);
        let mut trainer = BpeTrainerBuilder::new()
            .vocab_size(vocabulary)
            .min_frequency(FREQUENCY_MIN)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
            .build();
        let mut trained = TokenizerBuilder::new()
            .with_model(BPE::default())
            .with_normalizer(None::<NormalizerWrapper>)
            .with_pre_tokenizer(Some(byte_level))
            .with_post_processor(Some(byte_level))
            .with_decoder(Some(DecoderWrapper::from(byte_level)))
            .build()
            .map_err(refuse)?;
        trained.train(&mut trainer, texts.iter()).map_err(refuse)?;
        let json = trained.to_string(false).map_err(refuse)?;
        Self::from_json(&name, json.into_bytes(), None)
    }

    /// Reads a `tokenizer.json`; with `pinned`, its digest must be that.
    ///
    /// The end of text is the token `end_of_text`, or else looked up by its usual names.
    /// A file whose added tokens leave a gap in the numbers is refused, and so is one with a
    /// regular expression that no known tokenizer has.
    pub fn load(
        path: &Path,
        pinned: Option<Digest>,
        end_of_text: Option<u32>,
    ) -> Result<Self, Error> {
        let name = path.display().to_string();
        let mut json = Vec::new();
        fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut json))
            .map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?;
        if json.len() as u64 > FILE_BYTES_MAX {
            let detail = format!("it has more than {FILE_BYTES_MAX} bytes");
            return Err(Error::Tokenizer { name, detail });
        }
        let found = Digest::of(&json);
        match pinned {
            Some(expected) if expected != found => {
                Err(Error::DigestMismatch { name, expected, found })
            }
            _ => Self::from_json(&name, json, end_of_text),
        }
    }

    /// Writes the `tokenizer.json` whose digest is [`digest`](Self::digest).
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        fs::write(path, &self.json).map_err(|source| Error::Io {
            action: "write",
            path: path.to_owned(),
            source,
        })
    }

    fn from_json(name: &str, json: Vec<u8>, end_of_text: Option<u32>) -> Result<Self, Error> {
        let refuse = |detail: String| Error::Tokenizer { name: name.to_owned(), detail };
        if let Some(detail) = patterns::refused(&json) {
            return Err(refuse(detail));
        }
        let mut inner =
            tokenizers::Tokenizer::from_bytes(&json).map_err(|e| refuse(e.to_string()))?;
        if let Some(detail) = renumbered(&inner, &json) {
            return Err(refuse(detail));
        }
        // Whatever a file says: no text is cut or padded, and none spells the end of text.
        inner.with_truncation(None).map_err(|e| refuse(e.to_string()))?;
        inner.with_padding(None);
        inner.set_encode_special_tokens(true);
        let greatest = inner.get_vocab(true).into_values().max();
        let vocabulary = greatest.map_or(0, |id| id as usize + 1);
        if vocabulary > VOCABULARY_MAX {
            return Err(refuse(format!("it has more than {VOCABULARY_MAX} tokens")));
        }
        let end_of_text = end_of_text
            .or_else(|| END_OF_TEXT_NAMES.iter().find_map(|name| inner.token_to_id(name)))
            .ok_or_else(|| refuse("no token of it ends a text".to_owned()))?;
        if end_of_text as usize >= vocabulary {
            let detail = format!("it has {vocabulary} tokens, so {end_of_text} cannot end a text");
            return Err(refuse(detail));
        }
        let digest = Digest::of(&json);
        Ok(Self { inner, json, digest, end_of_text, vocabulary })
    }

    /// The tokens of a text, without an end of text.
    ///
    /// A byte-level tokenizer loses nothing; a foreign one may normalise the text first.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = self.inner.encode_fast(text, false).map_err(|e| self.refuse(&e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of tokens; the end of text becomes its name, and broken UTF-8 is replaced.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, Error> {
        self.inner.decode(tokens, false).map_err(|e| self.refuse(&e))
    }

    fn refuse(&self, cause: &tokenizers::Error) -> Error {
        Error::Tokenizer { name: self.digest.to_string(), detail: cause.to_string() }
    }

    /// Digest of the `tokenizer.json`.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The number of tokens that a model must know: one more than the greatest token.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The token that ends every document.
    pub fn end_of_text(&self) -> u32 {
        self.end_of_text
    }
}

/// A token that the library gives another number than the file does, as it does behind a gap.
///
/// Silently, the tokens would not be those that models were trained on.
fn renumbered(tokenizer: &tokenizers::Tokenizer, json: &[u8]) -> Option<String> {
    let file: AddedTokens = serde_json::from_slice(json).ok()?;
    let wrong = file.added_tokens.into_iter().find_map(|token| {
        let found = tokenizer.token_to_id(&token.content)?;
        (found != token.id).then_some((token, found))
    });
    let (token, found) = wrong?;
    Some(format!("`{}` is token {} by the file, but would become {found}", token.content, token.id))
}

/// The part of a `tokenizer.json` that lists tokens added to the model's.
#[derive(Deserialize)]
struct AddedTokens {
    #[serde(default)]
    added_tokens: Vec<Added>,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
}

/// Documents of the training split in a fixed order until they have `enough_bytes`.
fn training_texts(source: &dyn Source, enough_bytes: usize) -> Result<Vec<String>, Error> {
    let seed = Seed::of_number(0).derive("tokenizer training");
    let mut size_bytes = 0;
    let mut texts = Vec::new();
    for index in Draw::new(seed, source.n_documents(Split::Train)) {
        let text = source.document(Split::Train, index)?.text;
        size_bytes += text.len();
        texts.push(text);
        if size_bytes >= enough_bytes {
            break;
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests;
