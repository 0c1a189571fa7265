//! Turning text into tokens and back.

mod bpe;
mod contents;
mod part;
mod patterns;
mod ranks;

pub use ranks::Ranked;

use crate::{Error, Source, Split, sample::Draw};
use contents::Added;
use protocol::{Digest, Seed};
use std::{fs, io::Read, path::Path};
use tokenizers::{
    AddedToken, TokenizerBuilder,
    decoders::DecoderWrapper,
    models::bpe::{BPE, BpeTrainerBuilder},
    normalizers::NormalizerWrapper,
    pre_tokenizers::{PreTokenizerWrapper, byte_level::ByteLevel},
    processors::PostProcessorWrapper,
    tokenizer::SplitDelimiterBehavior,
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
    /// Byte-level BPE alone is taken, of which `contents.rs` knows every key: what depends on
    /// chance or loses text is refused with its place in the file. A file whose added tokens leave
    /// a gap in the numbers is refused, too.
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
        let added = contents::check(&json).map_err(refuse)?;
        let mut inner =
            tokenizers::Tokenizer::from_bytes(&json).map_err(|e| refuse(e.to_string()))?;
        if let Some(detail) = renumbered(&inner, &added) {
            return Err(refuse(detail));
        }
        // Whatever a file says: no text is cut or padded, none gets tokens around it, and none
        // spells the end of text.
        inner.with_truncation(None).map_err(|e| refuse(e.to_string()))?;
        inner.with_padding(None);
        inner.with_post_processor(None::<PostProcessorWrapper>);
        inner.set_encode_special_tokens(true);
        keep_what_is_no_word(&mut inner);
        let greatest = inner.get_vocab(true).into_values().max();
        let vocabulary = greatest.map_or(0, |id| id as usize + 1);
        if vocabulary > VOCABULARY_MAX {
            return Err(refuse(format!("it has more than {VOCABULARY_MAX} tokens")));
        }
        let end_of_text = end_of(&added, end_of_text, vocabulary).map_err(refuse)?;
        let digest = Digest::of(&json);
        let tokenizer = Self { inner, json, digest, end_of_text, vocabulary };
        if tokenizer.spells_end_of_text(&added)? {
            return Err(refuse(format!("its token {end_of_text} ends texts, yet text spells it")));
        }
        Ok(tokenizer)
    }

    /// The tokens of a text, without an end of text.
    ///
    /// Nothing of the text is lost, but that a foreign tokenizer may compose its letters (NFC).
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = self.inner.encode_fast(text, false).map_err(|e| self.refuse(&e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of tokens; the end of text becomes its name, and broken UTF-8 is replaced.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, Error> {
        self.inner.decode(tokens, false).map_err(|e| self.refuse(&e))
    }

    /// Whether the model has the end of text for the letters or the bytes of its name.
    fn spells_end_of_text(&self, added: &[Added]) -> Result<bool, Error> {
        let name = added.iter().find(|token| token.id == self.end_of_text);
        let spelt = [
            name.map_or_else(String::new, |token| token.content.clone()),
            self.decode(&[self.end_of_text])?,
        ];
        for text in spelt {
            if self.encode(&text)?.contains(&self.end_of_text) {
                return Ok(true);
            }
        }
        Ok(false)
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
fn renumbered(tokenizer: &tokenizers::Tokenizer, added: &[Added]) -> Option<String> {
    added.iter().find_map(|Added { id, content, .. }| {
        let found = tokenizer.token_to_id(content).filter(|found| found != id)?;
        Some(format!("`{content}` is token {id} by the file, but would become {found}"))
    })
}

/// Has splits that drop what is no word keep it: an expression in which every text is words gives
/// up on some, as on a million blanks in a row.
fn keep_what_is_no_word(tokenizer: &mut tokenizers::Tokenizer) {
    let Some(mut pre_tokenizer) = tokenizer.get_pre_tokenizer().cloned() else { return };
    let parts = match &mut pre_tokenizer {
        PreTokenizerWrapper::Sequence(sequence) => sequence.as_mut(),
        part => std::slice::from_mut(part),
    };
    for part in parts {
        if let PreTokenizerWrapper::Split(split) = part
            && split.behavior == SplitDelimiterBehavior::Removed
        {
            (split.behavior, split.invert) = (SplitDelimiterBehavior::Isolated, false);
        }
    }
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
}

/// The token that ends texts: the one of a number, or else the first with a usual name.
///
/// It must be special, for all other added tokens are looked for in texts.
fn end_of(added: &[Added], number: Option<u32>, vocabulary: usize) -> Result<u32, String> {
    let special = || added.iter().filter(|token| token.is_special);
    let Some(number) = number else {
        let named = |name: &&str| special().find(|token| token.content == **name);
        let found = END_OF_TEXT_NAMES.iter().find_map(named);
        return found.map(|token| token.id).ok_or_else(|| {
            let names = END_OF_TEXT_NAMES.join("`, `");
            format!("no token of it ends a text: none of `{names}` is added as special")
        });
    };
    if number as usize >= vocabulary {
        return Err(format!("it has {vocabulary} tokens, so {number} cannot end a text"));
    }
    let found = special().find(|token| token.id == number);
    found
        .map(|token| token.id)
        .ok_or_else(|| format!("its token {number} cannot end a text: it is not added as special"))
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
